"""A process that is asked to end while its loop runs ends what the loop does; later Ctrl-C interrupts as it always does."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from data_engine.platforms.processes import new_event_loop, on_end_signals
from tests.platforms.as_windows import as_windows

OF_THIS_SYSTEM = [signal.SIGINT, signal.SIGTERM, *([signal.SIGBREAK] if sys.platform == "win32" else [])]


@pytest.fixture(autouse=True)
def handlers() -> Iterator[None]:
    numbers = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGBREAK", "SIGUSR1") if hasattr(signal, name)]
    before = {number: signal.getsignal(number) for number in numbers}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def is_heard(loop: asyncio.AbstractEventLoop, hear: Callable[[Any, Any], None], number: int) -> bool:
    """Whether the loop is told when the signal comes while it runs; it is closed afterwards."""

    async def wait() -> bool:
        asked = asyncio.Event()
        hear(asyncio.get_running_loop(), asked.set)
        asyncio.get_running_loop().call_soon(signal.raise_signal, number)
        return await asyncio.wait_for(asked.wait(), 20)

    try:
        return loop.run_until_complete(wait())
    finally:
        loop.close()


@pytest.mark.parametrize("number", OF_THIS_SYSTEM, ids=lambda number: number.name)
def test_what_asks_for_the_end_ends_what_the_loop_does(number: signal.Signals) -> None:
    """Ctrl-C, a plain `kill`, and on Windows Ctrl-Break, which is also what closes a console."""
    assert is_heard(new_event_loop(), on_end_signals, number)


def test_ctrl_c_interrupts_once_the_loop_is_closed() -> None:
    assert is_heard(new_event_loop(), on_end_signals, signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)


@pytest.mark.parametrize("name", ["SIGINT", "SIGBREAK", "SIGTERM"])
def test_on_windows_all_three_end_the_loop_and_interrupt_later(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """Handlers of Python stay when a loop is closed there: with nothing to end they interrupt."""
    processes = as_windows(monkeypatch, "data_engine.platforms.processes")
    number = getattr(signal, name)

    assert is_heard(processes.new_event_loop(), processes.on_end_signals, number)
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(number)
