"""A share that was damaged, turned back or filled with links: what is claimed, what is repaired, and what is told."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from data_engine.errors import OwnedElsewhereError, WorkspaceError
from data_engine.lease.folder import NOT_OURS
from data_engine.lease.generations import GENERATIONS, KEEP, path_of
from data_engine.lease.held_lease import HeldLease
from data_engine.lease.observer import Observer
from data_engine.lease.protocol import Damaged, Fenced, Lost
from data_engine.lease.status import LeaseStatus, status_of
from data_engine.ledger.segments import TABLES
from tests.lease.bench import Bench
from tests.lease.mutants import broken


def told(observer: Observer) -> LeaseStatus:
    return status_of(observer.poll(), observer.me)


def backup(bench: Bench) -> Callable[[], None]:
    """Keep a copy of the share as it is; what comes back restores it."""
    files, folders = dict(bench.share.files), {path: set(names) for path, names in bench.share.folders.items()}

    def restore() -> None:
        bench.share.files = dict(files)
        bench.share.folders = {path: set(names) for path, names in folders.items()}

    return restore


def turned_back(*, kept: int = 2, lost: int = 3) -> tuple[Bench, Observer, HeldLease, dict[str, Observer]]:
    """A owned, a backup was restored that lacks its last generations, and B and C had seen all of them."""
    bench = Bench()
    observer, held = bench.owner()
    for number in range(kept):
        held.commit({"runs": f"kept {number}".encode()})
    restore = backup(bench)
    for number in range(lost):
        held.commit({"runs": f"lost {number}".encode()})
    others = {name: bench.machine(name) for name in "BC"}
    for other in others.values():
        other.poll()
    restore()
    return bench, observer, held, others


# -- a history is claimed whole, or not at all ------------------------------------------------------------------------


@pytest.mark.parametrize("table", ["runs", "logs"])
def test_nobody_claims_a_history_of_which_a_segment_is_missing(table: str) -> None:
    """Not even of a table that is only for people to see; the claim says which file, and changes nothing."""
    bench = Bench()
    _, held = bench.owner()
    held.commit({table: b"1"})
    held.release()
    (segment,) = held.head.files[table]
    bench.share.unlink(f"state/{table}/{segment.name}")
    heir = bench.machine("B")
    view = heir.poll()
    bench.done.clear()

    with pytest.raises(Damaged, match="is missing") as refused:
        heir.claim(view)

    assert refused.value.file == f"state/{table}/{segment.name}"
    assert bench.written == []
    assert heir.poll().state == "available"


@pytest.mark.parametrize("content", [b"?", b"", b"longer than it was"])
def test_nobody_claims_a_history_of_which_a_segment_is_not_what_was_written(content: bytes) -> None:
    """It says which file; nothing is written."""
    bench = Bench()
    _, held = bench.owner()
    held.commit({"runs": b"1"})
    held.release()
    (segment,) = held.head.files["runs"]
    bench.share.files[f"state/runs/{segment.name}"] = content
    heir = bench.machine("B")
    view = heir.poll()
    bench.done.clear()

    with pytest.raises(Damaged) as refused:
        heir.claim(view)

    assert refused.value.file == f"state/runs/{segment.name}"
    assert bench.written == []


def test_a_segment_that_was_collected_meanwhile_is_no_damage() -> None:
    """There is a newer generation, so the view is out of date and nothing more."""
    bench = Bench()
    _, held = bench.owner()
    held.commit({"runs": b"1"})
    heir = bench.machine("B")
    view = bench.watch(heir, 90)
    bench.share.unlink(f"state/runs/{held.head.files['runs'][0].name}")
    held.commit({"runs": b"2"})

    with pytest.raises(Lost, match="out of date"):
        heir.claim(view)


@pytest.mark.parametrize("harm", ["entry", "folder", "both"])
def test_an_older_generation_whose_entry_vanished_is_not_taken_for_the_end_of_the_list(harm: str) -> None:
    """A machine that last looked before it would else go on from there, and nobody would notice that there are two lists."""
    bench = Bench()
    _, held = bench.owner()
    late = bench.machine("B")
    late.poll()
    for _ in range(3):
        held.commit({"runs": b"1"})
    bench.share.unlink(f"{path_of(2)}/entry.json")
    if harm != "entry":
        bench.share.rmdir(path_of(2))
    if harm == "both":
        bench.share.unlink(f"{path_of(1)}/entry.json")
        bench.share.rmdir(path_of(1))

    assert (late.poll().state, late.poll().top) == ("owned", held.head)


def test_a_folder_that_only_looks_like_a_generation_holds_up_nobody() -> None:
    """It is told and left alone, however high its number."""
    bench = Bench()
    observer, held = bench.owner()
    bench.share.mkdir(path_of(9_999_999_999))
    fresh = bench.machine("B")

    assert (fresh.poll().state, fresh.poll().top) == ("owned", held.head)
    assert held.commit({"runs": b"1"}).number == 2
    held.collect()
    assert observer.left_alone == {path_of(9_999_999_999): "it is no generation: it holds no entry"}


# -- repair -----------------------------------------------------------------------------------------------------------


def test_a_repair_of_a_restored_backup_is_numbered_above_all_that_was_seen() -> None:
    """So no number and no token is used twice; machines that saw more, or nothing, follow without a repair of their own."""
    bench, owner, held, others = turned_back()
    bench.watch(others["C"], 10)
    view = bench.watch(owner, 180)
    assert view.state == "damaged"

    repaired = owner.repair(view)

    assert repaired is not None
    assert (repaired.generation.number, repaired.lost_generations) == (7, (4, 5, 6))
    assert repaired.generation.repairs[-1].tables == tuple(TABLES)
    with pytest.raises(Fenced):
        held.heartbeat()
    assert {name: one.poll().state for name, one in others.items()} == {"B": "available", "C": "available"}
    assert bench.machine("D").poll().top == repaired.generation
    new = others["B"].claim(others["B"].poll())
    assert new.token == 8
    assert others["C"].poll().top == new.head
    again = bench.machine("A", daemon="2", known=owner.known_list[0])
    assert again.poll().state == "owned"


def test_an_older_generation_is_never_taken_for_the_newest() -> None:
    """A share that shows less than was seen shows nothing that can be believed."""
    bench, _, _, others = turned_back()
    assert bench.watch(others["B"], 60).top is None
    with broken("forgets_what_it_knew"):
        assert others["C"].poll().top is not None


def goes_on_where_the_backup_ended() -> bool:
    """Whether a machine that had seen nothing of the lost end can claim beside a repair that was made meanwhile."""
    bench, owner, _, _ = turned_back()
    late = bench.machine("L", known=3)
    view = bench.watch(late, 90)
    repaired = owner.repair(bench.watch(owner, 180))
    assert repaired is not None
    try:
        late.claim(view)
    except Lost:
        assert late.poll().top == repaired.generation
        assert sorted(bench.share.listdir(GENERATIONS))[-2:] == [f"{number:010d}" for number in (4, 7)]
        return False
    return True


def test_a_machine_that_knew_less_cannot_go_on_where_the_backup_ended() -> None:
    """The place after it is taken; that turn leads to the repair."""
    assert not goes_on_where_the_backup_ended()
    with broken("repairs_without_a_turn"):
        assert goes_on_where_the_backup_ended()


def test_a_machine_that_had_seen_more_than_the_one_that_repairs_follows_as_well() -> None:
    """Its number goes back, because the list tells of a repair that it did not know."""
    bench, owner, held, _ = turned_back()
    more = bench.machine("M", known=40)
    repaired = owner.repair(bench.watch(owner, 180))
    assert repaired is not None

    assert (more.poll().top, more.known_list[0]) == (repaired.generation, 7)
    known, nonce, repairs = more.known_list
    restarted = bench.machine("M", daemon="2", known=known, nonce=nonce, repairs=repairs)
    assert restarted.poll().top == repaired.generation
    assert held.is_over


def test_a_repair_that_was_broken_off_half_way_is_ended_by_the_next_one() -> None:
    """The turn was made and the repair was not: nobody claims, and the next repair goes on where that one wanted to."""
    bench, owner, _, others = turned_back()
    view = bench.watch(owner, 180)

    def die(name: str, args: tuple[object, ...]) -> None:
        if name == "rename_dir" and args[1] == path_of(7):
            raise KeyboardInterrupt

    bench.folders["A"].before = die
    with pytest.raises(KeyboardInterrupt):
        owner.repair(view)
    assert bench.watch(others["B"], 180).state == "damaged"
    with pytest.raises(Lost):
        others["B"].claim(others["B"].poll())

    repaired = others["B"].repair(bench.watch(others["B"], 180))

    assert repaired is not None
    assert repaired.generation.number == 7
    assert others["C"].poll().top == repaired.generation


def test_a_list_that_is_gone_altogether_begins_again_above_what_was_seen() -> None:
    """Only on a machine that has seen it: any other could not tell it from a new workspace."""
    bench, owner, _, _ = turned_back()
    for path in [path for path in bench.share.files if path.startswith("state/")]:
        bench.share.unlink(path)
    for path in sorted((path for path in bench.share.folders if path.startswith("state/")), reverse=True):
        bench.share.rmdir(path)
    assert owner.poll().state == "unreachable"

    repaired = owner.repair(bench.watch(owner, 180))

    assert repaired is not None
    assert (repaired.generation.number, repaired.generation.files) == (7, {})
    assert bench.machine("D").poll().top == repaired.generation
    assert owner.claim(owner.poll()).token == 8


def test_a_list_that_went_on_from_a_backup_without_a_repair_is_damage_to_who_knew_another() -> None:
    """A machine that had seen nothing of the lost end owns by it: who had seen it does not mix the two up."""
    bench, owner, _, others = turned_back(lost=1)
    fresh = bench.machine("F")
    new = fresh.claim(bench.watch(fresh, 90))
    for _ in range(3):
        new.commit({"runs": b"new"})

    view = bench.watch(others["B"], 1)
    assert (view.state, view.why) == (
        "damaged",
        f"{path_of(4)} holds another generation than this machine has seen there",
    )
    with pytest.raises(Lost):
        others["B"].claim(view)
    for _ in range(10):
        new.heartbeat()
        bench.watch(others["B"], 20)
    with pytest.raises(OwnedElsewhereError, match="F-PC is at work") as refused:
        others["B"].repair(others["B"].poll())
    assert "data-engine lease release" in str(refused.value.fix)  # a repair at F would find nothing
    assert fresh.repair(fresh.poll()) is None

    new.release()
    repaired = others["B"].repair(bench.watch(others["B"], 90))
    assert repaired is not None
    assert fresh.poll().top == repaired.generation
    assert owner.poll().top == repaired.generation


def test_a_repair_is_refused_while_an_owner_is_at_work_and_changes_nothing_where_all_is_well() -> None:
    bench = Bench()
    observer, held = bench.owner()
    held.commit({"runs": b"1"})
    other = bench.machine("B")
    bench.done.clear()

    with pytest.raises(OwnedElsewhereError, match="A-PC owns the workspace"):
        other.repair(other.poll())
    assert observer.repair(observer.poll()) is None

    assert bench.written == []
    assert held.can_work()


def test_what_is_not_ours_in_the_way_of_a_repair_is_named() -> None:
    """It is not removed, and nothing is written through it."""
    bench, owner, _, _ = turned_back()
    bench.share.link(path_of(3))
    view = bench.watch(owner, 180)

    with pytest.raises(WorkspaceError, match="not Data Engine's") as refused:
        owner.repair(view)

    assert path_of(3) in refused.value.what
    assert refused.value.fix == "take it away, then repair again"
    assert bench.share.links == {path_of(3)}


# -- what does not belong there ---------------------------------------------------------------------------------------


def test_a_link_among_the_stages_is_kept_elsewhere_and_collection_goes_on() -> None:
    """Nothing behind it is looked at; it is told where it is now."""
    bench = Bench()
    observer, held = bench.owner()
    bench.share.link(f"{path_of(1)}/stage-x")
    bench.share.mkdir(f"{path_of(1)}/my documents")
    bench.share.write(f"{path_of(1)}/my documents/thesis.docx", b"years")
    for _ in range(3 * KEEP):
        held.commit({"runs": b"1"})

    held.collect()

    assert len(bench.share.listdir(GENERATIONS)) == KEEP
    assert bench.share.links == {f"{NOT_OURS}/0000000001-stage-x"}
    assert bench.share.files[f"{NOT_OURS}/0000000001-my documents/thesis.docx"] == b"years"
    assert set(observer.left_alone) == {f"{NOT_OURS}/0000000001-stage-x", f"{NOT_OURS}/0000000001-my documents"}


def test_what_was_taken_away_is_not_told_any_more() -> None:
    """The next collection looks whether it is still there."""
    bench = Bench()
    observer, held = bench.owner()
    paths = [f"{path_of(0)}/stage-x", "control_requests/w.json", "state/logs/0000000001-x.parquet"]
    for path in paths:
        bench.share.link(path)
    bench.machine("B").request_control()
    for _ in range(3 * KEEP):
        held.commit({"runs": b"1"})
    held.collect()
    told = set(observer.left_alone)
    assert told

    for path in list(bench.share.links):
        bench.share.links.discard(path)
    held.collect()

    assert observer.left_alone == {}


@pytest.mark.parametrize(
    "path", ["leased/w", "available/w", "stale", "leased", "state/logs/0000000001-x.parquet", "control_requests/w.json"]
)
def test_a_link_in_place_of_a_marker_costs_no_heartbeat(path: str) -> None:
    """Markers inform: the owner goes on, and says what lies there."""
    bench = Bench()
    observer, held = bench.owner()
    bench.share.link(path)
    for _ in range(2 * KEEP):
        bench.now += 30
        held.heartbeat()
        held.commit({"runs": b"1"})
        held.collect()

    assert held.can_work()
    assert bench.share.links == {path}
    assert path == "control_requests/w.json" or any(
        told.startswith(path) or path.startswith(told) for told in observer.left_alone
    )
    held.release()
    assert bench.share.links == {path}
    assert bench.machine("B").poll().state == "available"


def test_a_link_in_place_of_the_heartbeat_is_kept_elsewhere() -> None:
    """The owner writes it anew; nothing is written through the link."""
    bench = Bench()
    _, held = bench.owner()
    bench.share.link("leases/w.json")
    other = bench.machine("B")

    held.heartbeat()

    assert len(bench.share.links) == 1
    assert next(iter(bench.share.links)).startswith(f"{NOT_OURS}/")
    assert other.poll().state == "owned"


# -- what is told -----------------------------------------------------------------------------------------------------


def test_a_heartbeat_that_stays_damaged_is_told_with_its_file_and_free_to_take_when_its_owner_is_silent() -> None:
    bench = Bench()
    bench.owner()
    bench.share.files["leases/w.json"] = b"torn"
    observer = bench.machine("B")
    assert bench.watch(observer, 29).state == "owned"
    bench.watch(observer, 2)

    status = told(observer)
    assert (status.state, status.owner is not None, status.damage) == (
        "damaged",
        True,
        {
            "what": "leases/w.json is no heartbeat: the checksum does not match",
            "file": "leases/w.json",
            "noticed_by": "B-PC",
            "since_utc": "2026-01-01T00:00:00+00:00",
            "fix": "A-PC writes it again within a heartbeat; if it does not, look on that machine for the reason",
            "kind": "heartbeat",
        },
    )

    assert bench.watch(observer, 60).state == "stale"
    assert observer.claim(observer.poll()).can_work()


def test_damage_of_the_list_is_told_with_its_file_and_what_helps() -> None:
    bench = Bench()
    _, held = bench.owner()
    held.commit({"runs": b"1"})
    bench.share.files[f"{path_of(2)}/entry.json"] = b"torn"
    observer = bench.machine("B")

    status = told(observer)

    assert status.damage is not None
    assert (status.state, status.damage["file"], status.damage["fix"]) == (
        "damaged",
        f"{path_of(2)}/entry.json",
        "data-engine lease repair",
    )
    assert status.lines == (
        "damaged: generation 2: the checksum does not match",
        "noticed by B-PC, since 2026-01-01T00:00:00+00:00",
        "fix: data-engine lease repair",
    )
