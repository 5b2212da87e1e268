"""Ctrl-C at every instant in which a run takes what only one may have: whoever keeps the traceback keeps nothing else."""

from __future__ import annotations

import gc
import logging
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from data_engine import Flow, Workspace
from data_engine.engine.capture import captured, is_captured
from data_engine.engine.groups import holding_group
from data_engine.flow.control import StepControl
from data_engine.locks import GroupLock, Holding, OsLock
from tests.support import WorkspaceFiles

Make = Callable[[], AbstractContextManager[Any]]


@pytest.fixture(autouse=True)
def nothing_is_collected() -> Iterator[None]:
    """A Ctrl-C within the finalizer of what other tests left behind is raised nowhere."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def strike(make: Make, at: int) -> KeyboardInterrupt | None:
    """What is raised when Ctrl-C strikes at the event of this number while `make()` is entered; None when it has fewer."""
    here = sys._getframe()
    left = at

    def trace(frame: FrameType, event: str, argument: object) -> Any:
        nonlocal left
        is_entered = event == "return" and frame.f_back is here  # no instruction follows at which one could strike
        if event == "exception" or is_entered:
            return trace
        left -= 1
        if left < 0:
            sys.settrace(None)
            signal.raise_signal(signal.SIGINT)
        return trace

    try:
        sys.settrace(trace)
        with make():
            sys.settrace(None)
    except KeyboardInterrupt as error:
        return error
    finally:
        sys.settrace(None)
    return None


def strike_everywhere(make: Make, check: Callable[[], None]) -> None:
    kept: list[KeyboardInterrupt] = []
    while (error := strike(make, len(kept))) is not None:
        kept.append(error)
        check()
    assert len(kept) > 5
    with make():
        pass
    check()


def test_a_group_is_free_again(ws: WorkspaceFiles) -> None:
    home = Workspace(ws.root).home
    flow = Flow(group="G", name="claims")

    def check() -> None:
        lock = GroupLock(home.local.locks_dir, "G")
        assert lock.try_acquire()
        lock.release()
        with holding_group(flow, home):
            pass

    strike_everywhere(lambda: holding_group(flow, home), check)


def test_the_streams_of_the_process_are_back() -> None:
    streams = sys.stdout, sys.stderr
    handlers = list(logging.root.handlers)

    def check() -> None:
        assert (sys.stdout, sys.stderr) == streams
        assert logging.root.handlers == handlers
        assert not is_captured()

    strike_everywhere(lambda: captured(StepControl()), check)
    strike_everywhere(lambda: captured(StepControl(), prints=False), check)


def test_a_lock_is_free_again(tmp_path: Path) -> None:
    path = tmp_path / "a.lock"

    def make() -> Holding:
        lock = OsLock(path)
        return Holding(lock, lock.wait)

    def check() -> None:
        lock = OsLock(path)
        assert lock.try_acquire()
        lock.release()

    strike_everywhere(make, check)
