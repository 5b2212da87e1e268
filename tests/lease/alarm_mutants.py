"""One broken rule of the alarms each; the schedules of alarm_schedules.py must catch every one.

That a claim is prepared inside of what it follows is shown in test_alarms.py: it matters once in a hundred thousand schedules.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, replace
from typing import Any
from unittest.mock import patch

from data_engine.daemon import silence as silence_module
from data_engine.daemon.silence import OwnerWatch
from data_engine.lease.alarms import ROOT, Alarm, AlarmClaim, AlarmFiles, Move, PursuedAlarm, judge
from data_engine.lease.folder import make, remove
from data_engine.lease.protocol import View
from data_engine.lease.records import encode

_claim, _do, _go_on, _judge = AlarmFiles.claim, OwnerWatch._do, OwnerWatch._go_on, judge


def empty_folder_claims(self: AlarmFiles, alarm: Alarm, count: int, by: AlarmClaim) -> bool:
    """The alarm is claimed by making an empty folder, and what it says is written into it."""
    make(self.folder, ROOT)
    place = alarm.claimed_at(count)
    try:
        self.folder.mkdir(place)
    except FileExistsError:
        return False
    self.folder.write(f"{place}/entry.json", encode(asdict(by)))
    return True


def sent_before_the_answer(self: OwnerWatch, move: Move, one: PursuedAlarm) -> None:
    """It is recorded that people were told before the notifier has answered."""
    if move == "notify":
        self._alarms.note_sent(one.alarm, "")
    _do(self, move, one)


def claimed_without_waiting(one: PursuedAlarm, *others: Any, **more: Any) -> Move:
    """What another machine has claimed, and not told yet, is claimed anew at once."""
    return _judge(replace(one, claim_s=float("-inf")), *others, **more)


def never_claimed_anew(one: PursuedAlarm, *others: Any, **more: Any) -> Move:
    """A claim that has told nobody stays for ever."""
    move = _judge(one, *others, **more)
    return "wait" if move == "claim" and one.claims else move


def error_believed(self: AlarmFiles, alarm: Alarm, count: int, by: AlarmClaim) -> bool:
    """An error of the rename is taken for a success: "the answer will have been lost"."""
    stage = f"{alarm.prepared_in(count)}/stage-{by.nonce}"
    try:
        self.folder.mkdir(stage)
    except FileNotFoundError:
        return False
    self.folder.write(f"{stage}/entry.json", encode(asdict(by)))
    make(self.folder, ROOT)
    with suppress(OSError):
        self.folder.rename_dir(stage, alarm.claimed_at(count))
    return True


def told_by_who_came_too_late(self: AlarmFiles, alarm: Alarm, count: int, by: AlarmClaim) -> bool:
    """Who has seen no claim tells, whoever wins the rename."""
    return _claim(self, alarm, count, by) or True


def forgotten_when_lost(self: OwnerWatch, one: PursuedAlarm, view: View) -> None:
    """What another machine has claimed is that machine's, whatever becomes of it."""
    _go_on(self, one, view)
    now = self._silence
    if now is not None and now.claims and not now.is_kept:
        self._silence = replace(now, look_s=float("inf"))


def collected_at_once(self: AlarmFiles, oldest: int) -> None:
    """An owner removes every alarm, also of a generation that is there."""
    for number in self.listed():
        self.left_alone |= remove(self.folder, f"{ROOT}/{number:010d}")


def owner_of_old_news(one: PursuedAlarm, view: View) -> str:
    """A machine that has slept itself takes that for the owner's return."""
    return f"{one.alarm.owner} gives signs of life again" if view.state == "owned" else ""


def shut_down_in_order(view: View) -> bool:
    """An owner that gives the workspace up before its machine is shut down is no silence, whatever its engine was to do."""
    return False


MUTANTS: dict[str, tuple[Any, str, Callable[..., Any]]] = {
    "empty_folder_claims": (AlarmFiles, "claim", empty_folder_claims),
    "sent_before_the_answer": (OwnerWatch, "_do", sent_before_the_answer),
    "claimed_without_waiting": (silence_module, "judge", claimed_without_waiting),
    "never_claimed_anew": (silence_module, "judge", never_claimed_anew),
    "error_believed": (AlarmFiles, "claim", error_believed),
    "told_by_who_came_too_late": (AlarmFiles, "claim", told_by_who_came_too_late),
    "forgotten_when_lost": (OwnerWatch, "_go_on", forgotten_when_lost),
    "collected_at_once": (AlarmFiles, "collect", collected_at_once),
    "owner_of_old_news": (silence_module, "how_over", owner_of_old_news),
    "shut_down_in_order": (silence_module, "is_unattended", shut_down_in_order),
}


@contextmanager
def broken(name: str) -> Iterator[None]:
    """The product with this rule broken."""
    target, attribute, replacement = MUTANTS[name]
    with patch.object(target, attribute, replacement):
        yield
