"""One thread looks at all flows: each when its time has come, and one that hangs holds up no other."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from data_engine.planning.due import NotDue
from data_engine.scheduler import trigger_set
from data_engine.scheduler.trigger_set import Trigger, TriggerLoop
from tests.support import PATIENCE, until


class Look:
    """A planner of a schedule whose looks are counted, with the thread of each; one hangs while `goes_on` is cleared."""

    held = None

    trigger: Trigger

    def __init__(self) -> None:
        self.threads: list[threading.Thread] = []
        self.goes_on = threading.Event()
        self.goes_on.set()

    def check(self, **now: Any) -> Any:
        self.threads.append(threading.current_thread())
        self.goes_on.wait(60)
        return NotDue(None, None)  # type: ignore[arg-type]


@pytest.fixture
def loop(monkeypatch: pytest.MonkeyPatch) -> TriggerLoop:
    monkeypatch.setattr(trigger_set, "_CLOCK_EVERY_S", 0.02)
    monkeypatch.setattr(trigger_set, "_LONG_S", 0.5 * PATIENCE)
    monkeypatch.setattr(trigger_set, "_STUCK_S", 0.2)
    return TriggerLoop()


@pytest.fixture
def looks(loop: TriggerLoop) -> Iterator[list[Look]]:
    """Three flows that are looked at again and again."""
    looks = [Look() for _ in range(3)]
    for number, one in enumerate(looks):
        planned: Any = SimpleNamespace(flow=f"f{number}")
        make: Any = lambda wake, one=one: one  # noqa: E731
        one.trigger = Trigger(loop, planned, make, lambda trigger, dues: None, lambda trigger, error: None)
    yield looks
    for one in looks:
        one.goes_on.set()
        one.trigger.close()


def test_all_flows_are_looked_at_by_one_thread(looks: list[Look]) -> None:
    """But for the first look of each, which may have to read much."""
    until(lambda: all(len(look.threads) > 10 for look in looks))

    assert len({look.threads[0] for look in looks}) == 3
    assert len({thread for look in looks for thread in look.threads[5:10]}) == 1


def test_a_flow_whose_look_hangs_holds_up_no_other(loop: TriggerLoop, looks: list[Look]) -> None:
    """Also where its looks were short before; when it goes on it is looked at again, from a thread of its own."""
    until(lambda: all(len(look.threads) > 3 for look in looks))
    looks[0].goes_on.clear()
    until(lambda: all(not thread.is_alive() or thread is looks[0].threads[-1] for thread in looks[0].threads))
    held_up = looks[0].threads[-1]

    def others_go_on(counts: tuple[int, ...]) -> bool:
        loop.tick()
        return all(len(look.threads) > count for look, count in zip(looks[1:], counts, strict=True))

    counts = tuple(len(look.threads) + 5 for look in looks[1:])
    until(lambda: others_go_on(counts))
    assert held_up.is_alive()
    count = len(looks[0].threads)
    looks[0].goes_on.set()
    until(lambda: len(looks[0].threads) > count + 3)
    until(lambda: not held_up.is_alive())


def test_no_thread_is_left_when_all_are_closed(looks: list[Look]) -> None:
    """A kernel runs flows again and again."""
    until(lambda: all(len(look.threads) > 3 for look in looks))

    for one in looks:
        one.trigger.close()

    threads = {thread for look in looks for thread in look.threads}
    until(lambda: not any(thread.is_alive() for thread in threads))
