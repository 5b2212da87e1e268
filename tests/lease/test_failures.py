"""What happens when something fails: every row of the protocol's table of failures, one machine and one fault at a time."""

from __future__ import annotations

import errno
from typing import Any

import pytest

from data_engine.errors import OwnedElsewhereError, WorkspaceError
from data_engine.lease.folder import GENERATIONS
from data_engine.lease.generations import KEEP, path_of
from data_engine.lease.held_lease import HeldLease
from data_engine.lease.observer import Observer
from data_engine.lease.protocol import Damaged, Fenced, Fold, InDoubt, Limits, Lost, View
from data_engine.lease.records import encode
from data_engine.lease.repair import Repaired
from data_engine.lease.status import status_of
from tests.lease.bench import Bench, fail
from tests.lease.mutants import broken
from tests.lease.snapshots import snapshot_of

AWAY = OSError(errno.EHOSTDOWN, "host is down")
FULL = OSError(errno.ENOSPC, "no space left")
TIMED_OUT = OSError(errno.EIO, "timed out")


class Killed(BaseException):
    """The process ends here."""


def kill_at(operation: str, path: str = "") -> Any:
    def interfere(name: str, args: tuple[Any, ...]) -> None:
        if name == operation and args[0].startswith(path):
            raise Killed

    return interfere


def entry_path(number: int) -> str:
    return f"{path_of(number)}/entry.json"


def lose_answer(bench: Bench, name: str, number: int) -> None:
    """The generation `number` is published, the answer is lost, and then it cannot be looked up."""

    def interfere(operation: str, args: tuple[Any, ...]) -> None:
        if operation == "rename_dir" and args[1] == path_of(number):
            bench.folders[name].before = fail(AWAY, "read", path=entry_path(number))
            raise TIMED_OUT

    bench.folders[name].after = interfere


def fix(bench: Bench, name: str) -> None:
    bench.folders[name].before = bench.folders[name].after = lambda name, args: None


def damage(bench: Bench, path: str) -> None:
    bench.share.files[path] = bench.share.files[path][:-3] + b"???"


def repaired_by(observer: Observer, view: View) -> Repaired:
    """What a repair of something that is damaged did."""
    repaired = observer.repair(view)
    assert repaired is not None
    return repaired


def test_a_crash_before_the_rename_leaves_only_a_stage_that_collection_takes_along() -> None:
    """Nothing is visible, nobody waits, and nothing stays behind."""
    bench = Bench()
    observer = bench.machine("A")
    bench.folders["A"].before = kill_at("rename_dir", f"{path_of(0)}/stage-")
    with pytest.raises(Killed):
        observer.claim(observer.poll())

    other, held = bench.owner("B")
    for _ in range(KEEP + 1):
        held.commit({"runs": b"1"})
    held.collect()

    assert held.token == 1
    assert [n for n in bench.share.folders if "stage-" in n] == []
    assert bench.share.listdir(GENERATIONS) == [f"{n:010d}" for n in range(3, 7)]
    assert other.poll().state == "mine"


def test_a_crash_after_the_rename_is_an_owner_that_never_spoke() -> None:
    """Owner by the list; its silence is counted from the first look, and the next owner repairs the markers."""
    bench = Bench()
    observer = bench.machine("A")
    bench.folders["A"].after = kill_at("rename_dir", f"{path_of(0)}/stage-")
    with pytest.raises(Killed):
        observer.claim(observer.poll())
    heir = bench.machine("B")

    assert bench.watch(heir, 89.9).state == "owned"
    view = bench.watch(heir, 0.1)
    held = heir.claim(view)
    held.heartbeat()

    assert (view.state, held.token) == ("stale", 2)
    assert bench.share.listdir("leased/w") == ["token-0000000002"]
    assert bench.share.listdir("available") == []


def test_a_lost_answer_to_the_rename_is_looked_up() -> None:
    """An error is not taken at its word: the own nonce says that it was won."""
    bench = Bench()
    observer = bench.machine("A")
    bench.folders["A"].after = fail(TIMED_OUT, "rename_dir", path=path_of(0))

    held = observer.claim(observer.poll())

    assert (held.token, held.can_work(), len(bench.share.listdir(GENERATIONS))) == (1, True, 2)


def test_a_claim_in_doubt_is_found_by_the_next_look_and_must_prove_itself() -> None:
    """It may work only after it has won a generation."""
    bench = Bench()
    observer = bench.machine("A")
    view = observer.poll()
    lose_answer(bench, "A", 1)
    with pytest.raises(InDoubt):
        observer.claim(view)
    fix(bench, "A")

    view = observer.poll()
    held = observer.claim(view)

    assert (view.state, held.token, held.can_work()) == ("mine", 1, False)
    assert observer.claim(observer.poll()) is held
    held.heartbeat()
    assert (held.can_work(), held.head.kind) == (True, "renew")


def test_an_owner_whose_heartbeat_fails_stops_at_its_deadline() -> None:
    """60 s after the last proof nothing new may begin; the proof counts from when the heartbeat began."""
    bench = Bench()
    _, held = bench.owner()
    held.heartbeat()
    bench.folders["A"].before = fail(AWAY, "read", "write", "listdir")
    bench.now += 30

    with pytest.raises(OSError, match="host is down"):
        held.heartbeat()

    bench.now = 1059.9
    assert held.can_work()
    bench.now = held.work_until
    assert (held.can_work(), held.work_until, held.is_over) == (False, 1060.0, False)


def test_an_owner_that_slept_has_to_win_a_generation() -> None:
    """Writing the heartbeat again would prove nothing."""
    bench = Bench()
    _, held = bench.owner()
    bench.now += 3600
    assert not held.can_work()

    held.heartbeat()

    assert (held.head.kind, held.head.token, held.can_work()) == ("renew", 1, True)


def test_an_owner_that_slept_too_long_is_fenced_and_can_do_nothing() -> None:
    """Whatever it tries raises and says who owns now; the new owner's history is untouched."""
    bench = Bench()
    _, held = bench.owner()
    held.commit({"runs": b"1"})
    heir = bench.machine("B")
    new = heir.claim(bench.watch(heir, 90))
    head = new.commit({"runs": b"2"})

    with pytest.raises(Fenced, match="belongs to B-PC now") as fenced:
        held.commit({"runs": b"3"})

    assert fenced.value.generation is not None
    assert fenced.value.generation.by.machine_id == "B"
    assert (held.is_over, held.can_work(), held.work_until) == (True, False, float("-inf"))
    bench.done.clear()
    for call in (held.heartbeat, held.commit, held.collect, held.release):
        with pytest.raises(Fenced):
            call()
    assert bench.written == []
    assert heir.poll().top == head


def test_of_two_that_take_over_at_once_one_wins() -> None:
    """Both saw the same; the other sees a foreign nonce and looks again."""
    bench = Bench()
    bench.owner()
    one, two = bench.machine("B"), bench.machine("C")
    for _ in range(10):
        views = one.poll(), two.poll()
        bench.now += 10

    held = one.claim(views[0])
    with pytest.raises(Lost):
        two.claim(views[1])

    assert (held.token, two.poll().state) == (2, "owned")


def test_a_silent_owner_that_speaks_at_the_last_moment_is_left_alone() -> None:
    """The heartbeat is read once more before the takeover."""
    bench = Bench()
    _, held = bench.owner()
    heir = bench.machine("B")
    view = bench.watch(heir, 90)
    held.announce("idle")

    with pytest.raises(Lost, match="alive"):
        heir.claim(view)


def test_a_late_heartbeat_of_a_fenced_owner_is_ignored() -> None:
    """It has the wrong token: it is neither news nor an end of the silence."""
    bench = Bench()
    _, late = bench.owner()
    heir, third = bench.machine("B"), bench.machine("C")
    heir.claim(bench.watch(heir, 90))
    third.poll()
    bench.now += 10
    late.announce("running")

    view = third.poll()

    assert (view.state, view.silent_s, view.heartbeat_age_s) == ("owned", 10, 10)


def test_a_heartbeat_that_ended_late_proves_nothing() -> None:
    """It began at 43 s, was frozen inside, and ended at 95 s, after a takeover at 90 s."""
    assert not works_after_a_frozen_heartbeat()
    with broken("slow_heartbeat_counts"):
        assert works_after_a_frozen_heartbeat()


def works_after_a_frozen_heartbeat() -> bool:
    bench = Bench()
    _, held = bench.owner()
    heir = bench.machine("B")
    new: list[HeldLease] = []
    bench.watch(heir, 43)

    def freeze(name: str, args: tuple[Any, ...]) -> None:
        if name == "replace":
            bench.folders["A"].before = lambda name, args: None
            new.append(heir.claim(bench.watch(heir, 52)))
            new[0].heartbeat()

    bench.folders["A"].before = freeze
    held.heartbeat()
    assert new[0].can_work()
    return held.can_work()


def test_a_share_that_is_away_says_nothing_about_the_owner() -> None:
    """An observer that could not look for longer than the longest hole counts the silence anew."""
    bench = Bench()
    bench.owner()
    observer = bench.machine("B")
    bench.watch(observer, 80)
    bench.folders["B"].before = fail(AWAY, "read", "listdir")
    assert bench.watch(observer, 40).state == "unreachable"
    assert status_of(observer.poll(), observer.me).words == "unreachable: host is down"
    bench.folders["B"].before = lambda name, args: None

    assert observer.poll().silent_s == 0
    assert bench.watch(observer, 89).state == "owned"
    assert bench.watch(observer, 1).state == "stale"


def test_a_full_disk_publishes_nothing() -> None:
    """The caller keeps its rows; once there is room the same commit succeeds."""
    bench = Bench()
    observer, held = bench.owner()
    bench.folders["A"].before = fail(FULL, "write")
    with pytest.raises(OSError, match="no space left"):
        held.commit({"runs": b"1"})
    bench.folders["A"].before = lambda name, args: None

    assert observer.poll().top == held.head
    assert held.commit({"runs": b"1"}).number == 2


def test_a_read_only_share_is_observed_and_not_claimed() -> None:
    """Looking works; claiming raises what the drive said."""
    bench = Bench()
    bench.owner()[1].release()
    observer = bench.machine("B")
    refused = OSError(errno.EROFS, "read-only file system")
    bench.folders["B"].before = fail(refused, "mkdir", "write", "rename_dir", "replace")
    view = observer.poll()
    assert view.state == "available"

    with pytest.raises(OSError, match="read-only"):
        observer.claim(view)


@pytest.mark.parametrize("content", [None, b"", b"torn", encode({"beat": "x"})])
def test_a_missing_or_torn_heartbeat_is_no_news(content: bytes | None) -> None:
    """Never a sign of death: the threshold still has to pass, and the owner writes it again."""
    bench = Bench()
    _, held = bench.owner()
    observer = bench.machine("B")
    observer.poll()
    if content is None:
        bench.share.unlink("leases/w.json")
    else:
        bench.share.files["leases/w.json"] = content
    bench.now += 10

    assert (observer.poll().state, observer.poll().silent_s) == ("owned", 10)
    held.heartbeat()
    assert observer.poll().silent_s == 0


def test_markers_that_contradict_the_list_are_repaired_and_never_an_error() -> None:
    """What is shown comes from the list."""
    bench = Bench()
    _, held = bench.owner()
    bench.share.mkdir("available/w")
    bench.share.write("leased/w/token-0000000009", b"?")
    bench.share.unlink("leased/w/token-0000000001")
    assert bench.machine("B").poll().state == "owned"

    held.heartbeat()

    assert bench.share.listdir("available") == []
    assert bench.share.listdir("leased/w") == ["token-0000000001"]


def test_the_successor_of_a_dead_daemon_of_the_same_machine_takes_over_at_once() -> None:
    """It holds the local lock, and lock and host are the same: the predecessor is dead."""
    bench = Bench()
    bench.owner("A")
    successor = bench.machine("A", daemon="2")
    view = successor.poll()

    held = successor.claim(view)

    assert (view.state, held.token, held.can_work()) == ("stale", 2, True)
    assert status_of(view, successor.me).words == (
        "the daemon of this workstation that owned it is gone, takeover available"
    )


@pytest.mark.parametrize("other", [{"lock_id": "x"}, {"host_id": "x"}, {"holds_lock": False}])
def test_what_may_be_another_machine_waits_like_one(other: dict[str, Any]) -> None:
    """A cloned machine id, a home folder on two hosts, a second daemon beside the living one."""
    bench = Bench()
    bench.owner("A")

    assert bench.machine("A", daemon="2", **other).poll().state == "owned"


def test_without_the_local_lock_nothing_is_claimed() -> None:
    """Two daemons of one machine cannot both try."""
    bench = Bench()
    observer = bench.machine("A", holds_lock=False)

    with pytest.raises(Lost, match="lock"):
        observer.claim(observer.poll())


def test_collection_stops_at_what_cannot_be_removed_and_goes_on_next_time() -> None:
    """A scanner holds a folder open; no younger generation is removed before it."""
    bench = Bench()
    _, held = bench.owner()
    for _ in range(8):
        held.commit({"runs": b"1"})
    bench.folders["A"].before = fail(PermissionError(errno.EACCES, "in use"), "rmdir", path=path_of(2))

    with pytest.raises(PermissionError):
        held.collect()

    assert bench.share.listdir(GENERATIONS)[0] == f"{2:010d}"
    bench.folders["A"].before = lambda name, args: None
    held.collect()
    assert bench.share.listdir(GENERATIONS) == [f"{n:010d}" for n in range(6, 10)]


def test_names_that_are_not_ours_are_left_alone() -> None:
    """Finder, Explorer, editors and the workspace's identity live in the same folder."""
    bench = Bench()
    _, held = bench.owner()
    names = [".DS_Store", "identity.json", "before_1f/state", "state/.DS_Store", f"{GENERATIONS}/.DS_Store"]
    names += ["state/runs/Thumbs.db", "state/runs/notes-0000000001.txt", "stale/._x", "leases/other.json.1.tmp"]
    names += [f"{GENERATIONS}/12", ".probe-1.tmp"]
    bench.share.mkdir("before_1f")
    for name in names:
        bench.share.write(name, b"?")
    for _ in range(2 * KEEP):
        held.commit({"runs": b"1"})

    held.collect()

    assert bench.machine("B").poll().top == held.head
    assert [name for name in names if name not in bench.share.files] == []


def test_a_folder_with_such_names_inside_a_generation_goes_with_it() -> None:
    """What Finder left in an old generation does not keep it for ever."""
    bench = Bench()
    _, held = bench.owner()
    bench.share.write(f"{path_of(1)}/.DS_Store", b"?")
    for _ in range(2 * KEEP):
        held.commit({"runs": b"1"})

    held.collect()

    assert f"{1:010d}" not in bench.share.listdir(GENERATIONS)


def test_a_newer_format_is_not_claimed_and_asks_for_an_update() -> None:
    """Nor can it be repaired away."""
    bench = Bench()
    bench.owner()
    record = bench.machine("Z").poll().top
    assert record is not None
    bench.share.files[entry_path(1)] = encode(record.record() | {"format": 99, "app_version": "7.0"})
    observer = bench.machine("B")
    view = bench.watch(observer, 100)

    with pytest.raises(Lost):
        observer.claim(view)
    with pytest.raises(WorkspaceError) as refused:
        observer.repair(view)

    assert status_of(view, observer.me).words == ("damaged: update needed: generation 1 was written by Data Engine 7.0")
    assert refused.value.fix == "update Data Engine on this machine"


def damaged_list() -> tuple[Bench, HeldLease, Observer]:
    """A owns generation 3; the entry is damaged on the drive; B looks."""
    bench = Bench()
    _, held = bench.owner()
    held.commit({"runs": b"kept"}, engine_on=True)
    held.commit({"runs": b"lost"})
    damage(bench, entry_path(3))
    return bench, held, bench.machine("B")


def test_a_damaged_newest_generation_stops_everybody() -> None:
    """No claims, no commits, no takeover; the owner lapses."""
    bench, held, observer = damaged_list()
    view = bench.watch(observer, 500)

    for call in (held.commit, held.heartbeat, held.release, held.collect):
        with pytest.raises(Damaged):
            call()
    with pytest.raises(Lost):
        observer.claim(view)

    assert (view.state, held.can_work(), held.is_over) == ("damaged", False, False)
    assert status_of(view, observer.me).words == "damaged: generation 3: the checksum does not match"


def test_a_repair_goes_on_from_the_newest_readable_one_and_says_what_is_lost() -> None:
    """Nobody owns the workspace then; everybody goes on, also who had not seen the damage."""
    bench, held, observer = damaged_list()
    late = bench.machine("C", known=2)

    repaired = repaired_by(observer, bench.watch(observer, 90))

    assert (repaired.lost_generations, repaired.lost_segments) == ((3,), ())
    assert (repaired.generation.number, repaired.generation.is_owned, repaired.generation.engine_on) == (4, False, True)
    snapshot = snapshot_of(late)
    assert snapshot is not None
    assert list(snapshot.new["runs"].values()) == [b"kept"]
    with pytest.raises(Fenced):
        held.heartbeat()
    assert late.claim(late.poll()).token == 5


def test_collection_goes_on_past_a_damaged_generation() -> None:
    """Nobody can read its segments any more; it is removed when its turn comes."""
    bench, _, observer = damaged_list()
    observer.repair(bench.watch(observer, 90))
    held = observer.claim(observer.poll())

    held.collect()

    assert bench.share.listdir("state/runs") == [segment.name for segment in held.head.files["runs"]]
    for _ in range(KEEP):
        held.commit({"logs": b"x"})
    held.collect()
    assert f"{3:010d}" not in bench.share.listdir(GENERATIONS)


def test_a_repair_waits_until_the_owner_must_have_stopped() -> None:
    """An owner that cannot read the list works on until its deadline; damage that went away begins the wait anew."""
    bench, held, observer = damaged_list()
    view = bench.watch(observer, 60)

    with pytest.raises(WorkspaceError, match="may still be at work") as early:
        observer.repair(view)
    assert early.value.fix == "try again in 30 s"
    torn = bench.share.files[entry_path(3)]
    bench.share.files[entry_path(3)] = encode(held.head.record())
    observer.poll()
    bench.share.files[entry_path(3)] = torn
    bench.now += 31

    with pytest.raises(WorkspaceError):
        observer.repair(observer.poll())
    assert observer.repair(bench.watch(observer, 90)) is not None


def test_a_repair_waits_as_long_as_the_owner_whose_claim_is_damaged_may_work() -> None:
    """Its limits are in the damaged entry; its heartbeat tells them, too."""
    bench = Bench()
    bench.owner("A")[1].release()
    _, held = bench.owner("C", limits=Limits(60, 300))
    damage(bench, entry_path(3))
    observer = bench.machine("B")
    view = bench.watch(observer, 199)
    assert held.can_work()

    with pytest.raises(WorkspaceError, match="C-PC may still be at work"):
        observer.repair(view)

    assert repaired_by(observer, bench.watch(observer, 101)).lost_generations == (3,)


def test_a_look_that_took_long_has_seen_the_damage_only_at_its_end() -> None:
    """A machine that was suspended inside its look must not count from before."""
    bench, _, observer = damaged_list()

    def sleep(name: str, args: tuple[Any, ...]) -> None:
        bench.now += 100
        fix(bench, "B")

    bench.folders["B"].before = sleep
    assert observer.poll().silent_s == 0
    assert observer.poll().silent_s == 0


def test_a_generation_without_its_entry_is_repaired_as_well() -> None:
    """The drive lost the file but not the folder: nobody could ever append again."""
    bench, held, observer = damaged_list()
    bench.share.mkdir(f"{path_of(3)}/stage-x")
    bench.share.unlink(entry_path(3))
    assert bench.watch(observer, 179).state == "unreachable"  # it may be a late cache
    view = bench.watch(observer, 1)
    assert view.state == "damaged"
    with pytest.raises(Lost):
        observer.claim(view)

    repaired = repaired_by(observer, view)

    assert repaired.lost_generations == (3,)
    assert observer.claim(observer.poll()).token == 5
    with pytest.raises(Fenced):
        held.heartbeat()


def behind_a_late_cache() -> tuple[Observer, View, HeldLease]:
    """C has repaired the list a moment ago and owns; B, which looked before, sees the new numbers, but not their entries."""
    bench, _, observer = damaged_list()
    other = bench.machine("C")
    view = bench.watch(observer, 90)
    bench.watch(other, 90)
    other.repair(other.poll())
    heir = other.claim(other.poll())
    heir.commit({"runs": b"1"})

    def hide(name: str, args: tuple[Any, ...]) -> None:
        if name == "read" and args[0] in {entry_path(number) for number in (4, 5, 6)}:
            raise FileNotFoundError(errno.ENOENT, "not found", args[0])

    bench.folders["B"].before = hide
    return observer, view, heir


def test_a_repair_never_gives_up_what_a_late_cache_does_not_show() -> None:
    """An exclusive create in a number tells that its entry is there."""
    observer, view, heir = behind_a_late_cache()
    with pytest.raises(Lost, match="generation 6 is not as it was seen"):
        observer.repair(view)
    assert heir.commit({"runs": b"2"}).number == 7

    observer, view, heir = behind_a_late_cache()
    with broken("repairs_by_a_cache"):
        assert repaired_by(observer, view).lost_generations == (3, 4, 5, 6)


def test_a_repair_drops_segments_that_are_gone_or_damaged() -> None:
    """One rotten segment must not keep every machine from the history for ever."""
    bench = Bench()
    observer, held = bench.owner()
    for content in (b"one", b"two", b"three"):
        held.commit({"runs": content})
    held.release()
    names = [segment.name for segment in held.head.files["runs"]]
    bench.share.unlink(f"state/runs/{names[0]}")
    damage(bench, f"state/runs/{names[2]}")
    with pytest.raises((Damaged, OSError)):
        snapshot_of(observer)

    repaired = repaired_by(observer, observer.poll())

    assert repaired.lost_segments == (f"runs/{names[0]}", f"runs/{names[2]}")
    assert repaired.lost_generations == ()
    snapshot = snapshot_of(observer)
    assert snapshot is not None
    assert snapshot.new == {"runs": {names[1]: b"two"}}


def test_nothing_is_repaired_that_is_whole_or_owned() -> None:
    """A healthy list is left as it is."""
    bench = Bench()
    observer, held = bench.owner()
    other = bench.machine("B")
    bench.done.clear()

    with pytest.raises(OwnedElsewhereError, match="A-PC owns the workspace"):
        other.repair(other.poll())
    assert observer.repair(observer.poll()) is None

    assert bench.written == []
    assert held.can_work()  # so nothing had to stop


def test_a_restored_backup_is_told_and_accepted_only_on_request() -> None:
    """First it may be a late cache; when it stays, it is damage; nothing is claimed meanwhile."""
    bench = Bench()
    _, held = bench.owner()
    backup = dict(bench.share.files), {path: set(names) for path, names in bench.share.folders.items()}
    held.commit({"runs": b"1"})
    observer = bench.machine("B")
    observer.poll()
    bench.share.files, bench.share.folders = backup

    early = bench.watch(observer, 179)
    assert early.state == "unreachable"
    view = bench.watch(observer, 1)
    assert (view.state, view.why) == ("damaged", "the list ends at generation 1, 2 was seen before")
    with pytest.raises(OSError, match="2 was seen before"):
        held.commit({"runs": b"2"})
    with pytest.raises(WorkspaceError, match="cannot be reached"):
        observer.repair(early)

    repaired = repaired_by(observer, view)

    assert (repaired.generation.number, repaired.lost_generations, observer.known_list[0]) == (4, (2,), 4)
    assert observer.poll().state == "available"


def test_a_late_cache_is_not_accepted_by_a_repair() -> None:
    """Only a list that was told to be shorter may be; nothing was damaged here."""
    bench = Bench()
    observer, held = bench.owner()
    held.release()
    view = observer.poll()
    bench.share.folders[GENERATIONS].discard(f"{2:010d}")

    with pytest.raises(OSError, match="2 was seen before"):
        observer.repair(view)

    assert observer.known_list[0] == 2


def test_an_unmounted_share_is_no_new_workspace() -> None:
    """The folder itself is gone: unreachable. It is there and holds no list: available, and looking makes nothing."""
    bench = Bench()
    observer = bench.machine("A")
    assert (observer.poll().state, snapshot_of(observer), bench.written) == ("available", None, [])
    del bench.share.folders[""]

    assert observer.poll().state == "unreachable"


def test_of_two_first_claims_one_wins() -> None:
    """The list itself appears by one rename."""
    bench = Bench()
    one, two = bench.machine("A"), bench.machine("B")
    views = one.poll(), two.poll()
    held = one.claim(views[0])

    with pytest.raises(Lost, match="first"):
        two.claim(views[1])

    assert (held.token, [n for n in bench.share.folders if n.startswith("init-")]) == (1, [])


def test_a_commit_in_doubt_may_be_repeated_with_its_fold() -> None:
    """The first one had landed: its fold is done and left out, its rows are there twice, by key once."""
    bench = Bench()
    _, held = bench.owner()
    for content in (b"a", b"b"):
        held.commit({"runs": content})
    fold = {"runs": Fold(tuple(segment.name for segment in held.head.files["runs"]), b"ab")}
    lose_answer(bench, "A", 4)
    with pytest.raises(InDoubt):
        held.commit({"runs": b"c"}, fold=fold)
    fix(bench, "A")

    generation = held.commit({"runs": b"c"}, fold=fold, engine_on=True)

    contents = [bench.share.files[f"state/runs/{segment.name}"] for segment in generation.files["runs"]]
    assert (generation.number, contents, generation.engine_on) == (5, [b"ab", b"c", b"c"], True)


def test_a_release_in_doubt_forbids_work_and_may_be_repeated() -> None:
    """From the call on nothing may work; when the first one had landed the second says so."""
    bench = Bench()
    observer, held = bench.owner()
    lose_answer(bench, "A", 2)
    with pytest.raises(InDoubt):
        held.release()
    assert (held.can_work(), held.is_over) == (False, False)
    fix(bench, "A")

    held.release()

    assert (held.is_over, observer.poll().state) == (True, "available")
    assert bench.share.listdir("available") == ["w"]


def test_a_release_that_failed_may_be_taken_back_by_winning() -> None:
    """The owner changed its mind while the share was away."""
    bench = Bench()
    _, held = bench.owner()
    bench.folders["A"].before = fail(AWAY, "mkdir", times=1)
    with pytest.raises(OSError, match="host is down"):
        held.release()

    held.heartbeat()

    assert (held.head.kind, held.can_work()) == ("renew", True)


def test_observers_go_by_the_limits_of_the_owner() -> None:
    """An edit of the settings holds from the next claim; until then what the owner promised counts."""
    bench = Bench()
    bench.owner("A", limits=Limits(60, 240))
    quick = bench.machine("B", limits=Limits(1, 3))
    view = quick.poll()
    assert view.limits == Limits(60, 240)

    assert bench.watch(quick, 239).state == "owned"
    view = bench.watch(quick, 1)
    held = quick.claim(view)

    assert (view.state, held.limits) == ("stale", Limits(1, 3))
