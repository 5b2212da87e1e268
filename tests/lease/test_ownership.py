"""Owning, sharing and handing over when nothing fails: what each call gives, and what it costs on the share."""

from __future__ import annotations

import pytest

from data_engine.lease.generations import KEEP
from data_engine.lease.observer import Observer
from data_engine.lease.protocol import Fenced, Fold, Lost
from data_engine.lease.status import LeaseStatus, status_of
from data_engine.ledger.segments import TABLES
from tests.lease.bench import Bench
from tests.lease.snapshots import snapshot_of


def words(observer: Observer) -> str:
    return status_of(observer.poll(), observer.me).words


def test_a_claim_takes_exactly_what_was_seen() -> None:
    """What is newest by then does not matter: a view out of date claims nothing."""
    bench = Bench()
    _, held = bench.owner("A")
    held.release()
    observer = bench.machine("B")
    view = observer.poll()
    bench.owner("C")[1].release()

    with pytest.raises(Lost):
        observer.claim(view)

    assert observer.claim(observer.poll()).token == 5


def test_takeover_is_offered_at_the_threshold_and_not_before() -> None:
    """89.9 s of silence: no, 90 s: yes; the words count down."""
    bench = Bench()
    _, held = bench.owner("A")
    observer = bench.machine("B")
    bench.watch(observer, 20)
    held.heartbeat()

    assert bench.watch(observer, 40).state == "owned"
    assert words(observer) == "owned by A-PC for 1 min"
    bench.watch(observer, 10)
    assert words(observer) == "owned by A-PC for 1 min, takeover available in 40 s"
    assert bench.watch(observer, 39.9).state == "owned"
    assert bench.watch(observer, 0.1).state == "stale"
    assert words(observer) == "owned by A-PC for 1 min, takeover available"


def test_the_silent_owners_marks_are_set_aside_for_people() -> None:
    """Its heartbeat can still be looked at, and the newest eight such bundles are kept."""
    bench = Bench()
    for _ in range(12):
        observer, held = bench.owner("A") if not bench.share.folders.get("leased") else (None, None)
        if held is not None:
            held.heartbeat()
        heir = bench.machine("B", daemon=str(bench.now))
        view = bench.watch(heir, 90)
        new = heir.claim(view)
        new.heartbeat()
        del observer
    new.collect()

    bundles = bench.share.listdir("stale")
    assert len(bundles) == 8
    assert all(bench.share.listdir(f"stale/{name}")[0] == "lease.json" for name in bundles)


def test_a_hand_over_goes_to_who_asked() -> None:
    """The owner sees the request, agrees, and the requester may claim at once; others wait a threshold."""
    bench = Bench()
    owner, held = bench.owner("A")
    asking, third = bench.machine("B"), bench.machine("C")
    asking.poll()
    asking.request_control("cli")
    view = owner.poll()
    assert words(owner) == "owned by this workstation, control requested by B-PC"
    assert words(asking) == "owned by A-PC, control requested by B-PC"

    held.release(view.request)

    assert third.poll().state == "reserved"
    assert words(third) == "handed over to B-PC, which has not taken it yet; free for others in 1 min 30 s"
    with pytest.raises(Lost, match="reserved"):
        third.claim(third.poll())
    new = asking.claim(asking.poll())
    new.heartbeat()
    assert (new.token, new.head.handoff_to) == (3, "")
    assert bench.share.listdir("control_requests") == []
    with pytest.raises(Fenced):
        held.commit({"runs": b"1"})


def test_what_was_handed_over_and_not_taken_is_free_after_a_threshold() -> None:
    """Nobody is locked out by a requester that died."""
    bench = Bench()
    owner, held = bench.owner("A")
    bench.machine("B").request_control()
    held.release(owner.poll().request)
    third = bench.machine("C")

    assert bench.watch(third, 89.9).state == "reserved"
    assert bench.watch(third, 0.1).state == "available"


def test_a_request_that_is_not_repeated_is_gone() -> None:
    """180 s of the owner's own clock after it was last seen to move; repeating keeps it."""
    bench = Bench()
    owner, _ = bench.owner("A")
    asking = bench.machine("B")
    asking.request_control()
    assert bench.watch(owner, 179.9).request is not None
    assert asking.repeat_request()

    assert bench.watch(owner, 179.9).request is not None
    assert bench.watch(owner, 20).request is None
    assert words(owner).startswith("owned by this workstation for 6 min")


def test_the_last_requester_wins() -> None:
    """Who was replaced is told when it repeats, and does not fight."""
    bench = Bench()
    owner, _ = bench.owner("A")
    one, two = bench.machine("B"), bench.machine("C")
    one.request_control()
    two.request_control()

    assert not one.repeat_request()
    one.withdraw_request()
    request = owner.poll().request
    assert request is not None
    assert (request.shown, two.repeat_request()) == ("C-PC", True)
    two.withdraw_request()
    assert (owner.poll().request, two.repeat_request()) == (None, False)


def test_a_request_of_the_owner_itself_is_none() -> None:
    """It claimed meanwhile by itself."""
    bench = Bench()
    owner, _ = bench.owner("A")
    owner.request_control()

    assert owner.poll().request is None


def test_the_status_has_what_programs_ask_for() -> None:
    """The owner and the requester by machine and host, the token, ages by the observer's own clock."""
    bench = Bench()
    _, held = bench.owner("A")
    observer = bench.machine("B")
    assert status_of(bench.machine("X").poll(), observer.me).state == "owned"
    observer.poll()
    observer.request_control()
    bench.now += 10

    status = status_of(observer.poll(), observer.me)

    assert (status.state, status.token, status.heartbeat_age_s, status.is_mine) == ("control_requested", 1, 10, False)
    assert status.owner == {
        "machine_id": "A", "host_name": "A-PC", "daemon_id": "A1", "pid": 4711, "app_version": "1.0",
    }  # fmt: skip
    assert status.requested_by is not None
    assert (status.requested_by["machine_id"], status.requested_by["host_name"]) == ("B", "B-PC")
    assert (status.takeover_in_s, status.is_overdue) == (80, False)
    held.release()
    assert status_of(observer.poll(), observer.me) == LeaseStatus("available", token=1)


def test_a_reader_gets_only_the_segments_it_has_not_seen() -> None:
    """And knows from the entry which of those it has are still part of the whole."""
    bench = Bench()
    _, held = bench.owner("A")
    held.commit({"runs": b"a", "logs": b"l"})
    reader = bench.machine("B")
    first = snapshot_of(reader)
    assert first is not None
    held.commit({"runs": b"b"})
    bench.done.clear()

    second = snapshot_of(reader, first.generation.names)

    assert second is not None
    assert [list(contents.values()) for contents in second.new.values()] == [[], [b"b"]]
    assert len([path for name, path in bench.done if path.startswith("state/runs/")]) == 1
    assert first.generation.names < second.generation.names


def test_a_reader_begins_again_when_what_it_reads_is_collected() -> None:
    """It gets one whole generation, never a mixture."""
    bench = Bench()
    _, held = bench.owner("A")
    held.commit({"runs": b"a"})
    held.commit({"runs": b"b"})
    reader = bench.machine("B")
    reader.poll()

    def collect_meanwhile(name: str, args: tuple[object, ...]) -> None:
        if str(args[0]).startswith("state/runs/"):
            bench.folders["B"].before = lambda name, args: None
            fold = Fold(tuple(segment.name for segment in held.head.files["runs"]), b"ab")
            held.commit(fold={"runs": fold})
            for _ in range(KEEP):
                held.commit({"logs": b"x"})
            held.collect()

    bench.folders["B"].before = collect_meanwhile
    snapshot = snapshot_of(reader)

    assert snapshot is not None
    assert list(snapshot.new["runs"].values()) == [b"ab"]


def test_a_commit_carries_all_tables_and_the_engine() -> None:
    """One generation; the engine's state stays until it is switched."""
    bench = Bench()
    observer, held = bench.owner("A")
    held.commit(dict.fromkeys(TABLES, b"1"), engine_on=True)
    generation = held.commit({"runs": b"2"})
    held.release()

    assert {table: len(rows) for table, rows in generation.files.items()} == dict.fromkeys(TABLES, 1) | {"runs": 2}
    assert observer.claim(observer.poll()).head.engine_on


def test_retention_drops_whole_segments() -> None:
    """Their files go with the next collections."""
    bench = Bench()
    _, held = bench.owner("A")
    old = [held.commit({"runs": b"old"}).files["runs"][-1].name for _ in range(2)]
    held.commit({"runs": b"new"}, fold={"runs": Fold(tuple(old), None)})
    for _ in range(KEEP):
        held.commit({"logs": b"x"})

    held.collect()

    assert bench.share.listdir("state/runs") == [held.head.files["runs"][0].name]


def test_a_commit_that_cannot_be_meant_writes_nothing() -> None:
    """An unknown table, or a fold of what is not there."""
    bench = Bench()
    _, held = bench.owner("A")
    names = [held.commit({"runs": b"1"}).files["runs"][-1].name for _ in range(3)]
    bench.done.clear()

    with pytest.raises(ValueError, match="no table 'run'"):
        held.commit({"run": b"1"})
    with pytest.raises(ValueError, match="not there"):
        held.commit({"logs": b"1"}, fold={"runs": Fold((names[0], "0000000001-x.parquet"), b"1")})
    with pytest.raises(ValueError, match="no neighbours"):
        held.commit(fold={"runs": Fold((names[0], names[2]), b"1")})

    assert bench.written == []


def test_an_idle_owner_costs_one_small_file_a_heartbeat() -> None:
    """Two operations that write: the new record and its rename. Looking writes nothing."""
    bench = Bench()
    observer, held = bench.owner("A")
    held.heartbeat()
    bench.done.clear()

    held.heartbeat()
    observer.poll()
    bench.machine("B").poll()

    assert [name for name, _ in bench.written] == ["write", "replace"]


def test_a_segment_is_fetched_for_folding_by_its_name() -> None:
    """Only what the newest generation lists."""
    bench = Bench()
    observer, held = bench.owner("A")
    name = held.commit({"runs": b"a"}).files["runs"][0].name

    assert observer.fetch("runs", name) == b"a"
    with pytest.raises(FileNotFoundError):
        observer.fetch("runs", "0000000009-x.parquet")


def test_the_highest_generation_is_remembered_for_the_next_daemon() -> None:
    """Then a share that shows less is noticed."""
    bench = Bench()
    observer, held = bench.owner("A")
    held.commit({"runs": b"a"})

    assert observer.known_list[0] == 2
    assert bench.machine("A", daemon="2", known=7).poll().state == "unreachable"
