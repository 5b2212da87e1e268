"""Alarms of silent owners: who claims, who tells, when another may, and what lies in the way on the share."""

from __future__ import annotations

import errno
from collections.abc import Callable, Collection
from dataclasses import replace
from typing import Any, cast

import pytest

from data_engine.daemon.silence import AlarmOutbox, OwnerWatch
from data_engine.lease.alarms import AGAIN_S, KEEP_ALARMS, ROOT, Alarm, AlarmClaim, AlarmFiles, claim_of
from data_engine.lease.generations import path_of
from data_engine.lease.held_lease import HeldLease
from data_engine.lease.observer import Observer
from data_engine.lease.protocol import Damaged, InDoubt, View
from data_engine.lease.records import encode
from tests.lease.bench import Bench, fail

ALL = ("silent_owner", "recovered", "unreachable")


class Outbox:
    """What a machine would send: by the message's id "waiting" or "sent", and what it has told of ends and of the share."""

    def __init__(self) -> None:
        self.can_tell: Collection[str] = ALL
        self.whole = True
        self.states: dict[str, str] = {}
        self.about: dict[str, Alarm] = {}
        self.ends: list[str] = []
        self.told: list[str] = []
        self.is_away = False
        self.last: Alarm | None = None

    def kinds(self) -> Collection[str]:
        return self.can_tell

    def is_whole(self) -> bool:
        return self.whole

    def id_of(self, alarm: Alarm) -> str:
        return f"silent_owner {alarm.number}"

    def put(self, alarm: Alarm) -> None:
        self.states.setdefault(self.id_of(alarm), "waiting")
        self.about[self.id_of(alarm)] = alarm
        self.last = alarm

    def kept(self) -> Alarm | None:
        return self.last

    def is_told(self, alarm: Alarm) -> bool:
        return self.states.get(self.id_of(alarm)) == "sent"

    def end(self, alarm: Alarm, over: str = "") -> None:
        if not self.is_told(alarm):
            self.states.pop(self.id_of(alarm), None)
        elif over:
            self.ends.append(over)
        self.last = None

    def put_away(self, why: str) -> None:
        self.told.append(f"away: {why}")
        self.is_away = True

    def put_back(self) -> None:
        self.told.append("back")
        self.is_away = False

    def is_away_told(self) -> bool:
        return self.is_away


class Machine:
    """A machine on a bench that looks and watches."""

    def __init__(self, bench: Bench, name: str, *, outbox: Outbox | None = None, daemon: str = "1") -> None:
        self.bench, self.name = bench, name
        self.observer: Observer = bench.machine(name, daemon=daemon)
        self.outbox = outbox or Outbox()
        self.held: HeldLease | None = None
        folder = bench.folders[name]
        self.alarms = AlarmFiles(folder, bench.new_id)
        self.watch = OwnerWatch(
            self.alarms,
            cast(AlarmOutbox, self.outbox),
            self.observer.me,
            oldest=self.observer.oldest,
            new_id=bench.new_id,
            utc=lambda: "2026-01-05T03:12:00+00:00",
            clock=lambda: bench.now,
        )

    def look(self) -> View:
        """One look, as the keeper does it."""
        view = self.observer.poll()
        self.watch.look(view, self.held)
        return view

    def send(self) -> list[str]:
        """Send what waits; what that was."""
        due = [key for key, state in self.outbox.states.items() if state == "waiting"]
        self.outbox.states |= dict.fromkeys(due, "sent")
        return due

    def own(self) -> HeldLease:
        """Claim the workspace."""
        self.held = self.observer.claim(self.observer.poll())
        return self.held


def passes(bench: Bench, seconds: float, *machines: Machine) -> None:
    """So much time, in which these machines look every ten seconds."""
    end_s = bench.now + seconds
    while bench.now < end_s:
        bench.now = min(end_s, bench.now + 10)
        for one in machines:
            one.look()


@pytest.fixture
def bench() -> Bench:
    return Bench()


def silent_owner(bench: Bench, *watchers: Machine, end: Callable[[HeldLease], object] = lambda held: None) -> Alarm:
    """An owner of which nothing is seen, after its `end`, until just before it may be taken over."""
    owner = Machine(bench, "A")
    held = owner.own()
    held.heartbeat()
    end(held)
    for one in watchers:
        one.look()
    passes(bench, 80, *watchers)
    return Alarm(held.head.number, held.head.nonce)


def test_one_of_two_tells_and_the_other_waits(bench: Bench) -> None:
    """At the threshold, not before; what was sent is on the share, and the other machine looks no more."""
    ben, cat = Machine(bench, "B"), Machine(bench, "C")
    alarm = silent_owner(bench, ben, cat)
    assert (ben.outbox.states, cat.outbox.states) == ({}, {})

    passes(bench, 10, ben, cat)

    assert (ben.outbox.states, cat.outbox.states) == ({"silent_owner 1": "waiting"}, {})
    about = ben.outbox.about["silent_owner 1"]
    assert (about.owner, about.engine_on, about.since_utc) == ("A-PC", False, "2026-01-05T03:12:00+00:00")
    assert ben.send() == ["silent_owner 1"]
    assert not ben.alarms.look(alarm).is_sent
    ben.look()
    assert cat.alarms.look(alarm).is_sent
    passes(bench, 2 * AGAIN_S, ben, cat)
    assert (ben.send(), cat.send(), cat.outbox.states) == ([], [], {})


def test_who_cannot_tell_claims_nothing(bench: Bench) -> None:
    """Nor who is not to tell of silent owners."""
    ben, cat = Machine(bench, "B"), Machine(bench, "C")
    ben.outbox.can_tell, cat.outbox.can_tell = (), ("recovered",)
    silent_owner(bench, ben, cat)

    passes(bench, 100, ben, cat)

    assert ROOT not in bench.share.folders


def test_who_reaches_only_some_lets_others_go_first(bench: Bench) -> None:
    """For a threshold more; then it tells whom it can."""
    ben = Machine(bench, "B")
    ben.outbox.whole = False
    silent_owner(bench, ben)
    passes(bench, 90, ben)
    assert ben.outbox.states == {}

    passes(bench, 10, ben)

    assert ben.outbox.states == {"silent_owner 1": "waiting"}


def test_a_claim_that_tells_nobody_is_followed_by_one_more(bench: Bench) -> None:
    """After ten minutes of the watcher's own clock, and never by a third; what still waits elsewhere is dropped once people were told."""
    ben, cat, dan = Machine(bench, "B"), Machine(bench, "C"), Machine(bench, "D")
    alarm = silent_owner(bench, ben, cat, dan)
    passes(bench, 10, ben, cat, dan)
    passes(bench, AGAIN_S - 20, ben, cat)
    assert (cat.alarms.look(alarm).claims, cat.outbox.states) == (1, {})

    passes(bench, 80, cat)
    assert (cat.alarms.look(alarm).claims, list(cat.outbox.states)) == (2, ["silent_owner 1"])
    passes(bench, 3 * AGAIN_S, dan)
    assert (dan.alarms.look(alarm).claims, dan.outbox.states) == (2, {})

    assert cat.send() == ["silent_owner 1"]
    cat.look()
    passes(bench, 60, ben)
    assert ben.outbox.states == {}


def test_a_machine_that_froze_may_tell_once_more(bench: Bench) -> None:
    """It held the first claim, and wakes when the second has told: the same id, once, and nothing after it."""
    ben, cat = Machine(bench, "B"), Machine(bench, "C")
    silent_owner(bench, ben, cat)
    passes(bench, 10, ben, cat)
    passes(bench, AGAIN_S + 70, cat)
    assert cat.send() == ["silent_owner 1"]

    assert ben.send() == ["silent_owner 1"]
    passes(bench, 2 * AGAIN_S, ben, cat)
    assert (ben.send(), cat.send()) == ([], [])


def test_a_daemon_sends_what_its_predecessor_has_claimed(bench: Bench) -> None:
    """It died before it sent the message, which is in the outbox: the next one on this machine sends it, and records it."""
    ben = Machine(bench, "B")
    alarm = silent_owner(bench, ben)
    passes(bench, 10, ben)

    again = Machine(bench, "B", outbox=ben.outbox, daemon="2")
    passes(bench, 2 * AGAIN_S, again)
    assert again.alarms.look(alarm).claims == 1

    assert again.send() == ["silent_owner 1"]
    again.look()
    assert again.alarms.look(alarm).is_sent


def test_a_claim_before_the_outbox_is_followed_by_its_own_machine_too(bench: Bench) -> None:
    """It died between the claim and its outbox: nobody has the message, and ten minutes later somebody does."""
    ben = Machine(bench, "B")
    alarm = silent_owner(bench, ben)
    passes(bench, 10, ben)

    again = Machine(bench, "B", daemon="2")
    passes(bench, 90, again)
    passes(bench, AGAIN_S - 20, again)
    assert (again.alarms.look(alarm).claims, again.send()) == (1, [])
    passes(bench, 80, again)
    assert (again.alarms.look(alarm).claims, again.send()) == (2, ["silent_owner 1"])


def test_what_a_predecessor_did_not_tell_is_dropped_when_it_is_over(bench: Bench) -> None:
    """Nobody was told of the silence, so nobody is told of its end."""
    ben, owner = Machine(bench, "B"), Machine(bench, "A")
    held = owner.own()
    held.heartbeat()
    ben.look()
    passes(bench, 100, ben)
    assert ben.outbox.states == {"silent_owner 1": "waiting"}

    held.heartbeat()
    again = Machine(bench, "B", outbox=ben.outbox, daemon="2")
    again.look()

    assert (again.outbox.states, again.outbox.ends) == ({}, [])


def test_a_daemon_records_what_its_predecessor_has_told(bench: Bench) -> None:
    """It died between the notifier's answer and the record: nobody is told again."""
    ben = Machine(bench, "B")
    alarm = silent_owner(bench, ben)
    passes(bench, 10, ben)
    ben.send()

    again = Machine(bench, "B", outbox=ben.outbox, daemon="2")
    again.look()

    assert (again.send(), again.alarms.look(alarm)) == ([], replace(again.alarms.look(alarm), claims=1, is_sent=True))


@pytest.mark.parametrize("is_restarted", [False, True])
def test_the_end_is_told_once_by_who_told_of_the_silence(bench: Bench, is_restarted: bool) -> None:
    """Also by its next daemon; not before it is so, and by nobody else."""
    ben, cat = Machine(bench, "B"), Machine(bench, "C")
    owner = Machine(bench, "A")
    held = owner.own()
    held.heartbeat()
    for one in (owner, ben, cat):
        one.look()
    passes(bench, 90, ben, cat)
    assert ben.send() == ["silent_owner 1"]
    passes(bench, 100, ben, cat)
    assert (ben.send(), cat.send(), ben.outbox.ends) == ([], [], [])

    if is_restarted:
        ben = Machine(bench, "B", outbox=ben.outbox, daemon="2")
    held.heartbeat()  # which renews
    passes(bench, 2 * AGAIN_S, owner, cat, ben)

    told = [one.outbox.ends for one in (owner, ben, cat)]
    assert told == [[], ["A-PC gives signs of life again"], []]


def test_the_end_is_told_when_somebody_else_takes_over(bench: Bench) -> None:
    """It says who."""
    ben, cat = Machine(bench, "B"), Machine(bench, "C")
    silent_owner(bench, ben, cat)
    passes(bench, 10, ben, cat)
    ben.send()
    ben.look()

    cat.own()
    ben.look()

    assert ben.outbox.ends == ["C-PC owns the workspace now"]


def test_a_machine_that_slept_does_not_take_that_for_the_owners_return(bench: Bench) -> None:
    """It begins to count the silence anew, and the alarm stays."""
    ben = Machine(bench, "B")
    silent_owner(bench, ben)
    passes(bench, 10, ben)
    ben.send()
    ben.look()

    bench.now += 1000
    assert ben.look().state == "owned"

    assert ben.outbox.ends == []


def test_a_dead_daemon_of_this_machine_is_no_silent_machine(bench: Bench) -> None:
    """The next one may take the workspace at once; other machines tell where nobody does."""
    silent_owner(bench)
    again = Machine(bench, "A", daemon="2")

    passes(bench, 200, again)

    assert (again.look().state, again.outbox.states) == ("stale", {})


@pytest.mark.parametrize("place", [ROOT, f"{ROOT}/0000000001"])
def test_a_link_in_the_way_is_put_aside(bench: Bench, place: str) -> None:
    """Nothing goes through it, it is kept and told, and the alarm is claimed."""
    ben = Machine(bench, "B")
    alarm = silent_owner(bench, ben)
    if place != ROOT:
        bench.share.mkdir(ROOT)
    bench.share.link(place)

    passes(bench, 10, ben)

    assert [path for path in bench.share.links if path.startswith("not_ours/")]
    assert ben.alarms.look(alarm).claims == 1
    assert list(ben.alarms.left_alone.values()) == [f"it was {place}, and is not Data Engine's"]


@pytest.mark.parametrize("what", ["entry.json", "sent.json"])
def test_a_link_among_the_files_of_an_alarm_is_none_of_them(bench: Bench, what: str) -> None:
    """A claim that cannot be read is somebody's, and is followed after ten minutes; a record that cannot be read is none."""
    ben, cat = Machine(bench, "B"), Machine(bench, "C")
    alarm = silent_owner(bench, ben, cat)
    passes(bench, 10, ben, cat)
    bench.share.link(f"{alarm.path}/{what}")

    passes(bench, AGAIN_S + 70, cat)

    assert cat.send() == ["silent_owner 1"]
    cat.look()
    assert cat.alarms.look(alarm).is_sent
    assert len(bench.share.links) == 1


def test_an_owner_keeps_the_newest_alarms_and_none_too_few(bench: Bench) -> None:
    """An alarm goes after its generation; what lies in it and is not ours stays, with its folder."""
    owner = Machine(bench, "A")
    held = owner.own()
    bench.share.mkdir(ROOT)
    for number in range(20):
        bench.share.mkdir(f"{ROOT}/{number:010d}")
        bench.share.write(f"{ROOT}/{number:010d}/entry.json", b"x")
    bench.share.write(f"{ROOT}/0000000003/mine.txt", b"x")
    owner.look()
    assert len(owner.alarms.listed()) == 20  # generation 0 is there

    for _ in range(30):
        held.commit(engine_on=True)
        held.collect()
    passes(bench, 60, owner)

    assert owner.alarms.listed() == [3, *range(20 - KEEP_ALARMS, 20)]
    assert owner.alarms.left_alone == {f"{ROOT}/0000000003/mine.txt": "it is not Data Engine's"}
    assert bench.share.files[f"{ROOT}/0000000003/mine.txt"] == b"x"


def test_a_late_claim_wins_nothing_that_was_removed(bench: Bench) -> None:
    """It is prepared inside of its generation, which goes first."""
    ben = Machine(bench, "B")
    owner = Machine(bench, "A")
    held = owner.own()
    alarm = Alarm(held.head.number, held.head.nonce)
    by = AlarmClaim(held.head.nonce, "ab", "B", "B-PC", "")
    for _ in range(8):
        held.commit(engine_on=True)
        held.collect()
    assert path_of(alarm.number) not in bench.share.folders

    assert not ben.alarms.claim(alarm, 0, by)
    assert not ben.alarms.claim(alarm, 1, by)
    assert ben.alarms.listed() == []


@pytest.mark.parametrize("count", [0, 1])
def test_a_claim_under_way_wins_nothing_that_was_removed(bench: Bench, count: int) -> None:
    """All was prepared when its machine froze; meanwhile the owner came back, worked, and tidied up."""
    ben, owner = Machine(bench, "B"), Machine(bench, "A")
    held = owner.own()
    alarm = Alarm(held.head.number, held.head.nonce)
    by = AlarmClaim(held.head.nonce, "ab", "B", "B-PC", "")
    assert count == 0 or ben.alarms.claim(alarm, 0, replace(by, nonce="aa"))
    tidy = AlarmFiles(bench.folders["A"], bench.new_id, keep=0)

    def go_on(name: str, args: tuple[Any, ...]) -> None:
        if name == "rename_dir" and not held.head.number > 20:
            while held.head.number <= 20:
                held.commit(engine_on=True)
                held.collect()
            tidy.collect(owner.observer.oldest())

    bench.folders["B"].before = go_on

    with pytest.raises(InDoubt):
        ben.alarms.claim(alarm, count, by)
    assert ben.alarms.listed() == []


def test_what_was_told_is_not_recorded_where_the_alarm_was_removed(bench: Bench) -> None:
    """No folder of an alarm appears but by a claim."""
    ben = Machine(bench, "B")

    ben.alarms.note_sent(Alarm(7, "9f3c"), "")

    assert ROOT not in bench.share.folders


def test_a_lost_answer_of_a_claim_is_looked_up(bench: Bench) -> None:
    """The rename was done and reported as an error: it is told all the same, and once."""
    ben = Machine(bench, "B")
    silent_owner(bench, ben)
    bench.folders["B"].after = fail(OSError(errno.EIO, "timed out"), "rename_dir", times=1)

    passes(bench, 10, ben)

    assert ben.send() == ["silent_owner 1"]


def test_a_share_that_is_full_is_told_by_each_for_itself(bench: Bench) -> None:
    """Nobody can claim the alarm: after a threshold each machine says that it cannot use the share, once, and later that it can."""
    ben = Machine(bench, "B")
    silent_owner(bench, ben)
    bench.folders["B"].before = fail(OSError(errno.ENOSPC, "No space left on device"), "mkdir", "write")

    for _ in range(30):
        bench.now += 10
        with pytest.raises(OSError, match="No space"):
            ben.look()

    assert ben.outbox.told == [
        "away: an owner is not heard of, and the alarm cannot be claimed: [Errno 28] No space left on device"
    ]
    bench.folders["B"].before = lambda name, args: None
    passes(bench, 100, ben)
    assert ben.outbox.told[1:] == ["back"]
    assert ben.send() == ["silent_owner 1"]


def test_a_share_that_is_away_is_told_once_a_trouble(bench: Bench) -> None:
    """After the threshold, not before; a moment in which it answers is no end; a restart forgets nothing."""
    ben = Machine(bench, "B")
    Machine(bench, "A").own()
    ben.look()
    away, here = fail(OSError(errno.EHOSTDOWN, "Host is down"), "read", "listdir"), bench.folders["B"].before
    bench.folders["B"].before = away
    passes(bench, 90, ben)
    assert ben.outbox.told == []
    passes(bench, 100, ben)
    assert ben.outbox.told == ["away: Host is down"]

    bench.folders["B"].before = here
    passes(bench, 50, ben)
    bench.folders["B"].before = away
    passes(bench, 200, ben)
    assert ben.outbox.told == ["away: Host is down"]

    again = Machine(bench, "B", outbox=ben.outbox, daemon="2")
    passes(bench, 100, again)
    assert ben.outbox.told == ["away: Host is down", "back"]


@pytest.mark.parametrize(
    "record",
    [
        {},
        {"generation": "a"},
        {**dict.fromkeys(AlarmClaim.__dataclass_fields__, "a"), "nonce": 7},
        {**dict.fromkeys(AlarmClaim.__dataclass_fields__, "a"), "host_name": "a\x1b[31m"},
        {**dict.fromkeys(AlarmClaim.__dataclass_fields__, "a"), "host_name": "a" * 2000},
    ],
)
def test_a_claim_that_no_data_engine_writes_is_none(record: dict[str, object]) -> None:
    """Whoever can write to the share can write one, with its right checksum."""
    with pytest.raises(Damaged):
        claim_of(encode(record))


def ended_owner(bench: Bench, *watchers: Machine, engine_on: bool = True) -> Alarm:
    """The same of an owner that gives the workspace up first, as a daemon does whose machine is shut down."""

    def end(held: HeldLease) -> None:
        held.commit(engine_on=engine_on)
        held.release()

    return silent_owner(bench, *watchers, end=end)


def test_an_engine_that_nobody_runs_is_told(bench: Bench) -> None:
    """A machine that was shut down in order, its engine on, is told as one that died; its end too, once somebody stays its owner."""
    ben, cat = Machine(bench, "B"), Machine(bench, "C")
    alarm = ended_owner(bench, ben, cat)
    assert (ben.outbox.states, cat.outbox.states) == ({}, {})

    passes(bench, 10, ben, cat)
    assert (ben.send(), cat.send()) == ([f"silent_owner {alarm.number}"], [])
    about = ben.outbox.about[f"silent_owner {alarm.number}"]
    assert (about.owner, about.engine_on, about.has_ended) == ("A-PC", True, True)

    owner = Machine(bench, "A", daemon="2")
    owner.own().heartbeat()
    passes(bench, 80, ben, cat)
    assert [*ben.outbox.ends, *cat.outbox.ends] == []
    assert owner.held is not None
    owner.held.heartbeat()
    passes(bench, 20, ben, cat)
    assert (ben.outbox.ends, cat.outbox.ends) == (["A-PC gives signs of life again"], [])


def test_an_engine_that_was_stopped_is_not_missed(bench: Bench) -> None:
    """Whoever ends it on purpose has it off, and nobody is told."""
    ben = Machine(bench, "B")
    ended_owner(bench, ben, engine_on=False)

    passes(bench, 300, ben)

    assert ben.outbox.states == {}


def test_a_deployment_meanwhile_is_no_news(bench: Bench) -> None:
    """It owns the workspace for a moment, and leaves the engine as it was: people are not told once more."""
    ben = Machine(bench, "B")
    alarm = ended_owner(bench, ben)
    passes(bench, 10, ben)
    assert ben.send() == [f"silent_owner {alarm.number}"]

    visitor = Machine(bench, "D")
    for _ in range(2):
        visitor.own().heartbeat()
        ben.look()
        assert visitor.held is not None
        visitor.held.release()
        passes(bench, 300, ben)

    assert list(ben.outbox.states) == [f"silent_owner {alarm.number}"]
