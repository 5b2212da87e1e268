"""A process that is asked to end while its loop runs ends what the loop does; later Ctrl-C interrupts as it always does."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Iterator

import pytest

from data_engine.platforms.processes import new_event_loop, on_end_signals


@pytest.fixture(autouse=True)
def handlers() -> Iterator[None]:
    numbers = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGBREAK") if hasattr(signal, name)]
    before = {number: signal.getsignal(number) for number in numbers}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def test_ctrl_c_ends_what_the_loop_does_and_interrupts_once_it_is_closed() -> None:
    async def wait() -> bool:
        asked = asyncio.Event()
        on_end_signals(asyncio.get_running_loop(), asked.set)
        asyncio.get_running_loop().call_soon(signal.raise_signal, signal.SIGINT)
        return await asyncio.wait_for(asked.wait(), 20)

    loop = new_event_loop()
    assert loop.run_until_complete(wait())
    loop.close()

    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)
