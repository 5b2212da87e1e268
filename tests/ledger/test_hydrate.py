"""What one machine committed, every machine has after a refresh; what was done is not done again; nothing is for ever running."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from data_engine.errors import RefusedSegmentError
from data_engine.ledger import deployments, parquet_process
from data_engine.ledger.ledger import Ledger
from data_engine.ledger.requests import RequestRow, RequestRows
from data_engine.ledger.share import SharedHistory
from data_engine.ledger.wall_clock import Believed
from data_engine.model import Deployment, SeenSource, Switch
from tests.ledger.events import begin, end, finish, line, seen, start
from tests.ledger.sharing import Machine, machines, mounted

KEY = seen().key
DEPLOYED = Deployment("d" * 32, 0, "claims", "deploy", "5f" * 12, "c0" * 32, at_utc="2026-01-01T00:00:00.000000+00:00")


@pytest.fixture
def three(tmp_path: Path) -> Iterator[list[Machine]]:
    """Three machines with three mount paths."""
    with machines(tmp_path, "/mnt/a/ws", "/mnt/b/ws", "/mnt/c/ws") as made:
        yield made


def work(machine: Machine, run_id: str, *, status: str = "success", flow: str = "claims", **more: object) -> None:
    """One whole run over a.csv."""
    sees = (seen(**more),)  # type: ignore[arg-type]
    machine.ledger.record(start(run_id, flow=flow, sees=sees, source=mounted("/mnt/a/ws/in/a.csv")))
    machine.ledger.record(
        begin(run_id), end(run_id, outputs=(mounted("/mnt/a/ws/out/x.csv"), mounted("/elsewhere/y.csv")))
    )
    machine.ledger.record(line(run_id, flow=flow))
    machine.ledger.record(finish(run_id, status, seen=sees))


def everything(machine: Machine) -> tuple[object, ...]:
    """All a person could see of the runs, and all a plan could."""
    ledger = machine.ledger
    ledger.flush()
    runs = {run.run_id: run for run in ledger.runs(limit=1000)}
    return (
        {run_id: (run.flow, run.status, run.error, run.cause) for run_id, run in runs.items()},
        {run_id: [(step.index, step.status) for step in ledger.steps(run_id)] for run_id in runs},
        {run_id: ledger.log(run_id) for run_id in runs},
        ledger.source_states("claims"),
        ledger.served_slots("claims"),
        ledger.switches(),
    )


def test_an_observer_sees_what_was_committed(three: list[Machine]) -> None:
    """Runs with steps and logs, sources, slots, switches; paths inside the workspace as they are on its own mount."""
    a, b, _ = three
    a.claim()
    work(a, "r1")
    a.ledger.serve_slot("claims", "2026-01-01T00:00:00+00:00", "r1")
    a.ledger.set_switch("claims", Switch(False))
    a.commit()
    b.refresh()

    assert everything(b) == everything(a)
    assert b.ledger.outputs("claims") == {mounted("/mnt/b/ws/out/x.csv"), mounted("/elsewhere/y.csv")}
    assert [run.source for run in b.ledger.runs()] == [mounted("/mnt/b/ws/in/a.csv")]


def test_a_run_is_seen_while_it_runs_and_when_it_has_ended(three: list[Machine]) -> None:
    """Published twice; the second time with all that came after."""
    a, b, _ = three
    a.claim()
    a.ledger.record(start("r1"), begin("r1"))
    a.commit()
    b.refresh()
    assert [run.status for run in b.ledger.running()] == ["started"]

    a.ledger.record(end("r1"), finish("r1"))
    a.commit()
    b.refresh()
    assert everything(b) == everything(a)
    assert b.ledger.running() == []


def test_nothing_is_new_after_a_commit(three: list[Machine]) -> None:
    """A row that changed while the commit was under way is new again."""
    a = three[0]
    a.claim()
    a.ledger.record(start("r1"))
    assert a.token is not None
    batch = a.share.unpublished(a.token)
    a.ledger.record(finish("r1"))
    a.share.mark_published(batch, 2)
    again = a.commit()
    assert again is not None
    assert set(again.tables) == {"runs"}
    assert a.commit() is None


def test_what_was_lost_on_its_way_is_published_with_the_next_commit(three: list[Machine]) -> None:
    """Whether the commit or only its answer was lost: nobody has a row twice, nobody lacks one."""
    a, b, _ = three
    a.claim()
    for number, (landed, answered) in enumerate([(False, False), (True, False), (True, True)]):
        work(a, f"r{number}", path=f"{number}.csv")
        a.ledger.record(line("", f"of nobody {number}"))
        a.commit(landed=landed, answered=answered)
    b.refresh()

    assert everything(b) == everything(a)
    assert len(b.ledger.rows("SELECT * FROM logs WHERE run_id IS NULL")) == 3


def test_who_switched_a_flow_travels_and_what_an_older_version_wrote_still_holds(three: list[Machine]) -> None:
    """Its rows tell only whether; a newer one tells who, where, when and why, also with a name that is no Unicode."""
    a, b, _ = three
    said = Switch(False, "j\udcf6rg", "PC7", "2026-11-27T17:03:00.000000+00:00", "stock-taking")
    a.claim()
    a.ledger.set_switch("old", Switch(False))
    a.ledger.set_switch("claims", said)
    with a.ledger.writing() as (connection, rev):  # as an older version left it
        connection.execute(
            "UPDATE flow_switches SET decided_by = NULL, machine = NULL, note = NULL, rev = ? WHERE flow_name = 'old'",
            (rev,),
        )
    a.commit()
    b.refresh()

    assert b.ledger.switches() == a.ledger.switches() == {"claims": said, "old": Switch(False)}
    b.claim()
    b.ledger.set_switch("claims", Switch(True, "ben", "PC8", said.at_utc))
    b.commit()
    a.refresh()
    assert a.ledger.switches()["claims"] == Switch(True, "ben", "PC8", said.at_utc)


def test_an_own_commit_that_comes_back_undoes_nothing(three: list[Machine]) -> None:
    """Its answer was lost, and the row has changed since."""
    a, b, _ = three
    a.claim()
    a.ledger.set_switch("claims", Switch(True))
    a.commit(answered=False)
    a.ledger.set_switch("claims", Switch(False))
    a.refresh()
    assert a.ledger.switches() == {"claims": Switch(False)}
    a.commit()
    b.refresh()
    assert b.ledger.switches() == {"claims": Switch(False)}


def test_many_rows_go_in_several_commits(three: list[Machine]) -> None:
    """Each within the limit, and nothing twice."""
    a, b, _ = three
    a.claim()
    for number in range(20):
        work(a, f"r{number}", path=f"{number}.csv")
    batches = []
    while (batch := a.commit(limit=5)) is not None:
        batches.append(batch)
    b.refresh()

    assert len(batches) > 2
    assert everything(b) == everything(a)


def test_a_taker_over_does_nothing_again_that_was_done(three: list[Machine]) -> None:
    """The state is keyed by what the author wrote, not by a mount."""
    a, b, _ = three
    a.claim()
    work(a, "r1")
    a.commit()
    b.claim()

    state = b.ledger.source_states("claims")[KEY]
    assert (state.status, state.success) == ("success", seen().signature)


def test_what_ran_where_the_workspace_was_lost_is_abandoned(three: list[Machine]) -> None:
    """By the new owner for everybody, with its steps and its source, which is due; meanwhile every observer says so itself."""
    a, b, c = three
    a.claim()
    a.ledger.record(start("r1", sees=(seen(),)), begin("r1"))
    a.commit()
    c.refresh()
    assert b.claim() == ["r1"]
    c.refresh()
    presumed = c.ledger.run("r1")
    b.commit()
    c.refresh()

    assert presumed is not None
    assert (presumed.status, presumed.finished_at_utc) == ("abandoned", None)
    assert everything(c) == everything(b)
    run = c.ledger.run("r1")
    assert run is not None
    assert (run.status, run.finished_at_utc is None) == ("abandoned", False)
    state = c.ledger.source_states("claims")[KEY]
    assert (state.status, state.abandoned_in_a_row, state.success) == ("abandoned", 1, None)


def test_an_observer_that_saw_a_run_abandoned_takes_over_later(three: list[Machine]) -> None:
    """What it only presumed is settled and published."""
    a, b, c = three
    a.claim()
    a.ledger.record(start("r1", sees=(seen(),)), begin("r1"))
    a.commit()
    a.release()
    b.refresh()
    assert b.claim() == ["r1"]
    b.commit()
    c.refresh()

    assert everything(c) == everything(b)
    assert [step.finished_at_utc is None for step in c.ledger.steps("r1")] == [False]


def test_what_a_machine_knows_of_its_own_run_wins_over_a_presumption(three: list[Machine]) -> None:
    """A run that another machine called abandoned ended well after all; its machine tells when it owns again."""
    a, b, c = three
    a.claim()
    a.ledger.record(start("r1", sees=(seen(),)), begin("r1"))
    a.commit()
    b.claim()
    b.commit()
    a.refresh()
    assert [run.status for run in a.ledger.running()] == ["started"]
    assert [step.status for step in a.ledger.steps("r1")] == ["started"]
    a.ledger.record(end("r1"), finish("r1", seen=(seen(),)))
    a.claim()
    a.commit()
    for machine in (b, c):
        machine.refresh()
        assert everything(machine) == everything(a)
    assert c.ledger.source_states("claims")[KEY].success == seen().signature


def test_recovery_leaves_runs_of_other_machines_alone(three: list[Machine]) -> None:
    """They have no runner here."""
    a, b, _ = three
    a.claim()
    a.ledger.record(start("r1"))
    a.commit()
    b.refresh()

    assert b.ledger.recover() == []
    assert [run.run_id for run in b.ledger.running()] == ["r1"]
    assert b.ledger.running_with_pids() == []


def test_a_run_that_outlives_a_claim_of_its_machine_runs_on_for_everybody(three: list[Machine]) -> None:
    """The new claim publishes it again under the new token, with its steps."""
    a, b, _ = three
    a.claim()
    a.ledger.record(start("r1"), begin("r1"))
    a.commit()
    a.release()
    b.refresh()
    assert b.ledger.running() == []
    a.claim()
    a.commit()
    b.refresh()

    assert everything(b) == everything(a)
    assert [run.run_id for run in b.ledger.running()] == ["r1"]


def test_a_state_others_have_settled_since_is_not_published_over_theirs(three: list[Machine]) -> None:
    """The lost machine's row goes: the source is done again rather than never. Its run stays in the history."""
    a, b, c = three
    a.claim()
    work(a, "r1", size=1)
    a.commit()
    work(a, "r2", size=2)
    b.claim()
    work(b, "r3", size=3, status="failed")
    b.commit()
    a.claim()
    a.commit()
    c.refresh()

    assert {run.run_id for run in c.ledger.runs()} == {"r1", "r2", "r3"}
    for machine in three[::2]:
        state = machine.ledger.source_states("claims")[KEY]
        assert (state.last_run_id, state.status, state.success_run_id) == ("r3", "failed", "r1")


def test_a_state_that_nobody_else_has_settled_is_published_later(three: list[Machine]) -> None:
    """Rows of an earlier ownership are not lost because a generation lacks them."""
    a, b, _ = three
    a.claim()
    work(a, "r1")
    b.claim()
    work(b, "r2", path="b.csv")
    b.commit()
    a.refresh()
    assert {key.path for key in a.ledger.source_states("claims")} == {"a.csv", "b.csv"}
    a.claim()
    a.commit()
    b.refresh()

    assert everything(b) == everything(a)
    assert len(b.ledger.runs()) == 2


def test_the_newest_of_a_switch_and_of_a_slot_stays(three: list[Machine]) -> None:
    """A change that was made in knowledge of the published one wins; one that was made without goes."""
    a, b, _ = three
    a.claim()
    a.ledger.set_switch("claims", Switch(False))
    a.commit()
    b.claim()
    b.ledger.set_switch("claims", Switch(True))
    a.ledger.set_switch("claims", Switch(False))
    b.commit()
    a.claim()
    assert a.ledger.switches() == {"claims": Switch(True)}
    a.ledger.set_switch("claims", Switch(False))
    a.commit()
    b.refresh()
    assert b.ledger.switches() == {"claims": Switch(False)}


def test_a_reset_reaches_every_machine_and_holds(three: list[Machine]) -> None:
    """All that is older goes, also what was never published; what is newer stays; folding brings nothing back."""
    a, b, c = three
    a.claim()
    work(a, "r1")
    work(a, "other", flow="audit")
    a.commit()
    work(a, "r2")
    b.claim()
    c.refresh()
    assert b.ledger.reset_flow("claims") == 1
    work(b, "r3", size=3)
    b.commit()
    for machine in (a, c):
        machine.refresh()
    b.fold(dict(b.folder.head.files))
    for machine in (a, c):
        machine.refresh()
        assert {run.run_id for run in machine.ledger.runs()} == {"other", "r3"}
        assert (machine.ledger.log("r1"), machine.ledger.steps("r1")) == ([], [])
        assert machine.ledger.source_states("claims") == b.ledger.source_states("claims")
    a.claim()
    a.commit()
    b.refresh()
    assert {run.run_id for run in b.ledger.runs()} == {"other", "r3"}


def test_a_reset_that_was_never_answered_holds(three: list[Machine]) -> None:
    """What was published before it under the same token does not come back with the owner's own segments."""
    a, b, c = three
    a.claim()
    work(a, "r1")
    a.commit(answered=False)
    a.ledger.reset_flow("claims")
    a.refresh()
    assert a.ledger.runs() == []
    assert a.ledger.source_states("claims") == {}
    a.commit(answered=False)
    for machine in (a, b):
        machine.refresh()
        assert machine.ledger.source_states("claims") == {}
    c.claim()
    assert c.ledger.source_states("claims") == {}


def test_a_reset_that_was_made_without_owning_counts_from_the_next_claim(three: list[Machine]) -> None:
    """What others did meanwhile is forgotten too: the sources are done again rather than never."""
    a, b, c = three
    a.claim()
    work(a, "r1")
    a.commit()
    b.refresh()
    b.ledger.reset_flow("claims")
    work(a, "r2", size=2)
    a.commit()
    b.refresh()
    assert {run.run_id for run in b.ledger.runs()} == {"r2"}
    b.claim()
    b.commit()
    for machine in (a, b, c):
        machine.refresh()
        assert machine.ledger.runs() == []
        assert machine.ledger.source_states("claims") == {}


def test_a_reset_of_what_is_not_known_here_yet_counts_as_well(three: list[Machine]) -> None:
    """A machine that has never looked at the shared history resets a flow, or every flow it has modules of."""
    a, b, c = three
    for machine, reset in (
        (b, lambda: b.ledger.reset_flow("claims")),
        (c, lambda: c.ledger.reset_all(["claims", "idle"])),
    ):
        a.claim()
        work(a, f"before {machine}")
        work(a, f"other {machine}", flow="audit")
        a.commit()
        assert reset() == 0
        machine.claim()
        machine.commit()
        assert {run.flow for run in machine.ledger.runs()} == {"audit"}
        assert (machine.ledger.source_states("claims"), len(machine.ledger.source_states("audit"))) == ({}, 1)


def test_folded_segments_say_the_same(three: list[Machine]) -> None:
    """To one who never saw their parts, and to one who saw them all and more."""
    a, b, c = three
    a.claim()
    for number in range(6):
        work(a, f"r{number}", size=number)
        a.commit()
        b.refresh()
    first = {table: names[:4] for table, names in a.folder.head.files.items() if len(names) > 4}
    a.fold(first)
    for machine in (b, c):
        machine.refresh()
        assert everything(machine) == everything(a)
    a.folder.fetched.clear()
    a.refresh()
    assert a.folder.fetched == []


def test_a_fold_of_what_was_not_all_taken_in_is_taken_in_itself(three: list[Machine]) -> None:
    """So that its age is known, and nothing in it is missed."""
    a = three[0]
    a.claim()
    work(a, "r1")
    a.commit(answered=False)
    work(a, "r2")
    a.commit()
    a.fold({"runs": a.folder.head.files["runs"]})
    (name,) = a.folder.head.files["runs"]
    assert name not in a.share.seen
    a.refresh()
    assert name in a.share.seen
    assert len(a.ledger.runs()) == 2


def test_segments_are_folded_by_themselves_when_there_are_many(three: list[Machine]) -> None:
    """After 200 small commits the list is short, and each row was written a few times only."""
    a, b, _ = three
    a.claim()
    for number in range(200):
        a.ledger.record(start(f"r{number}"), finish(f"r{number}", seen=(seen(),)))
        a.commit()
        a.fold()
    b.refresh()

    assert everything(b) == everything(a)
    assert max(map(len, a.folder.head.files.values())) <= 32
    assert (
        sum(map(len, a.folder.data.values()))
        <= 8 * sum(len(content) for (_, name), content in a.folder.data.items() if name in b.folder.fetched)
        + 200 * 3000
    )


def test_only_what_was_not_seen_is_fetched(three: list[Machine]) -> None:
    """Nothing when nothing changed, also for a ledger that was opened again."""
    a, b, _ = three
    a.claim()
    work(a, "r1")
    a.commit()
    b.refresh()
    b.folder.fetched.clear()
    b.refresh()
    SharedHistory(b.ledger, Path("/mnt/b/ws")).hydrate(
        a.folder.head.number, a.folder.head.files, b.folder.fetch, owner=a.token
    )
    assert b.folder.fetched == []
    a.ledger.set_switch("claims", Switch(True))
    a.commit()
    b.refresh()
    assert b.folder.fetched == a.folder.head.files["flow_switches"]


def test_what_the_share_lost_stays_here(three: list[Machine]) -> None:
    """Retention drops whole segments there; a ledger removes its own rows by its own retention."""
    a, b, c = three
    a.claim()
    work(a, "r1")
    a.commit()
    b.refresh()
    files = a.folder.head.files
    at = Believed(10 * 86_400.0, 10 * 86_400.0)
    old = a.share.expired(files, retention_days=1, at=at)
    assert set(old) == {"runs", "step_runs", "logs"}
    assert a.share.expired(files, retention_days=30, at=at) == {}
    a.drop(old)
    for machine in (b, c):
        machine.refresh()
    assert [run.run_id for run in b.ledger.runs()] == ["r1"]
    assert c.ledger.runs() == []
    assert c.ledger.source_states("claims") == b.ledger.source_states("claims")


def test_an_older_generation_changes_nothing(three: list[Machine]) -> None:
    """A stale view costs time only."""
    a, b, _ = three
    a.claim()
    work(a, "r1")
    a.commit()
    old = a.folder.head
    a.ledger.set_switch("claims", Switch(True))
    a.commit()
    b.refresh()
    b.share.hydrate(old.number, old.files, b.folder.fetch, owner=None)
    b.folder.fetched.clear()
    b.refresh()
    assert b.folder.fetched == []


def test_a_refresh_that_breaks_off_changes_nothing(three: list[Machine]) -> None:
    """A segment that is gone: nothing of the generation is there, and the next refresh has it all. A refused one is kept in mind."""
    a, b, _ = three
    a.claim()
    work(a, "r1")
    a.ledger.set_switch("claims", Switch(False))
    a.commit()
    name = a.folder.head.files["flow_switches"][0]
    good = a.folder.data.pop(("flow_switches", name))
    with pytest.raises(KeyError):
        b.refresh()
    a.folder.data["flow_switches", name] = good[:-20]
    with pytest.raises(RefusedSegmentError, match="refused"):
        b.refresh()
    assert (b.ledger.runs(), b.share.seen) == ([], frozenset())
    a.folder.data["flow_switches", name] = good
    fetched = list(b.folder.fetched)
    with pytest.raises(RefusedSegmentError, match="refused"):
        b.refresh()
    assert b.folder.fetched == fetched
    b.share = SharedHistory(b.ledger, Path("/mnt/b/ws"), perform=parquet_process.perform)
    b.refresh()
    assert everything(b) == everything(a)


def test_runs_recorded_without_a_daemon_go_with_the_next_commit(three: list[Machine], tmp_path: Path) -> None:
    """Another process of this machine has the same ledger."""
    a, b, _ = three
    with Ledger.open(a.ledger.path) as other:
        other.record(start("r1"), finish("r1"))
    a.claim()
    a.commit()
    b.refresh()
    assert [run.run_id for run in b.ledger.runs()] == ["r1"]


def test_what_is_known_of_the_list_is_there_when_the_ledger_is_opened_again(three: list[Machine]) -> None:
    """The number may go back: only with a repair, which the observer tells."""
    a = three[0]
    assert a.share.known_list == (-1, "", frozenset())
    for known in ((7, "n7", set()), (3, "n3", {"r1"}), (4, "n4", {"r1", "r2"})):
        a.share.note_list(*known)
    with Ledger.open(a.ledger.path) as again:
        assert SharedHistory(again, Path("/")).known_list == (4, "n4", {"r1", "r2"})


def lose(a: Machine, table: str, *, base: int) -> dict[str, tuple[int, tuple[str, ...]]]:
    """A generation of nobody that has lost all segments of a table, after a repair that went on from `base`."""
    a.folder.append(None, {name: ([] if name == table else names) for name, names in a.folder.head.files.items()})
    return {"r1": (base, (table,))}


def test_rows_of_lost_segments_are_published_again_by_whoever_holds_them(three: list[Machine]) -> None:
    """Also rows that another machine had published; a machine without them gets them from there."""
    a, b, c = three
    a.claim()
    a.ledger.record(start("r1"), finish("r1"))
    a.commit()
    b.refresh()
    repairs = lose(a, "runs", base=a.folder.head.number)
    head = a.folder.head
    b.share.hydrate(head.number, head.files, b.folder.fetch, owner=None, repairs=repairs)
    c.refresh()
    assert c.ledger.runs() == []

    b.claim()
    b.commit()
    c.refresh()

    assert [run.run_id for run in c.ledger.runs()] == ["r1"]


def test_a_run_whose_end_was_lost_ended_as_its_source_says(three: list[Machine]) -> None:
    """Its row says that it runs, that of its source that it went well: no owner does the file again."""
    a, b, c = three
    a.claim()
    a.ledger.record(start("r1", sees=(seen(),)))
    a.commit()
    begun = a.folder.head.files["runs"]
    a.ledger.record(finish("r1", seen=(seen(),)))
    a.commit()
    a.folder.append(None, a.folder.head.files | {"runs": begun})

    assert b.claim() == []
    b.commit()
    c.refresh()

    for machine in (b, c):
        assert [run.status for run in machine.ledger.runs()] == ["success"]
        state = machine.ledger.source_states("claims")[KEY]
        assert (state.status, state.last_run_id, state.abandoned_in_a_row) == ("success", "r1", 0)


@pytest.mark.parametrize(("saw", "status"), [(seen(), "success"), (seen(size=6), "abandoned")])
def test_a_source_that_was_done_since_is_not_done_again_for_a_lost_run(
    three: list[Machine], saw: SeenSource, status: str
) -> None:
    """Only where it is still as the lost run saw it."""
    a, b, c = three
    a.claim()
    a.ledger.record(start("r1", sees=(saw,), at=50.0))
    a.commit()
    c.refresh()
    a.folder.append(None, {"runs": []})  # the others never see it
    b.claim()
    b.ledger.record(start("r2", sees=(seen(),), at=60.0), finish("r2", seen=(seen(),), at=70.0))
    b.commit()

    assert c.claim() == ["r1"]

    assert c.ledger.source_states("claims")[KEY].status == status


def test_a_repair_is_made_good_once(three: list[Machine]) -> None:
    """Every later generation tells of it; nothing is published a second time."""
    a, b, _ = three
    a.claim()
    a.ledger.record(start("r1"), finish("r1"))
    a.commit()
    b.refresh()
    repairs = lose(a, "runs", base=a.folder.head.number)
    for _ in range(2):
        head = a.folder.append(None)
        b.share.hydrate(head.number, head.files, b.folder.fetch, owner=None, repairs=repairs)
    b.claim()
    b.commit()
    head = b.folder.head
    b.share.hydrate(head.number, head.files, b.folder.fetch, owner=b.token, mine=True, repairs=repairs)

    assert b.share.unpublished(b.token or 0) is None


@pytest.mark.parametrize("status", ["stopped", "failed", "abandoned"])
def test_a_file_that_the_next_owner_has_done_stays_done_when_the_run_of_the_last_one_ends_late(
    three: list[Machine], status: str
) -> None:
    """Its machine hung: it hears of the good run first, and only then how its own has ended."""
    a, b, c = three
    a.claim()
    a.ledger.record(start("r1", sees=(seen(),), at=50.0))
    a.commit()
    b.claim()
    b.ledger.record(start("r2", sees=(seen(),), at=60.0), finish("r2", seen=(seen(),), at=70.0))
    b.commit()
    a.refresh()

    a.ledger.record(finish("r1", status, seen=(seen(),), at=80.0))
    a.claim()
    a.commit()
    c.refresh()

    for one in (a, c):
        state = one.ledger.source_states("claims")[KEY]
        assert (state.status, state.last_run_id) == ("success", "r2")
    assert {run.run_id: run.status for run in c.ledger.runs()} == {"r1": status, "r2": "success"}


@pytest.mark.parametrize("base", [0, None])
def test_what_holds_once_it_is_published_goes_on_holding_when_it_is_lost_and_published_again(
    three: list[Machine], base: int | None
) -> None:
    """At who published it and at who had it from the share: before anybody owns again, under each new token, for all."""
    a, b, c = three
    a.claim()
    deployments.add(a.ledger, [DEPLOYED])
    taken = RequestRow("0" * 32, "run", "claims", "taken", at_utc=DEPLOYED.at_utc)
    RequestRows(a.ledger).write([taken, replace(taken, state="answered", outcome="done")])
    a.commit()
    b.refresh()

    def seen_at(*some: Machine) -> list[object]:
        """The deployments and the unanswered requests of each."""
        return [
            ([one.id for one in deployments.published(each.ledger)], RequestRows(each.ledger).unanswered())
            for each in some
        ]

    repairs: dict[str, tuple[int, tuple[str, ...]]] = {}
    for owner in (b, a):
        at = a.folder.head.number if base is None else base
        a.folder.append(None, {**a.folder.head.files, "deployments": [], "requests": []})
        repairs[f"r{len(repairs)}"] = (at, ("deployments", "requests"))
        head = a.folder.head
        for one in (a, b):
            one.share.hydrate(head.number, head.files, one.folder.fetch, owner=None, repairs=repairs)
        assert seen_at(a, b) == [([DEPLOYED.id], [])] * 2
        owner.claim()
        owner.release()
        owner.claim()  # again, before what was lost was published
        assert seen_at(owner) == [([DEPLOYED.id], [])]
        owner.commit()
        c.refresh()
        assert seen_at(a, b, c) == [([DEPLOYED.id], [])] * 3
    assert RequestRows(c.ledger).known([taken.request_id])[taken.request_id].state == "answered"


def test_what_was_decided_and_never_published_does_not_begin_to_hold_by_a_repair(three: list[Machine]) -> None:
    """Its machine was fenced before it could publish."""
    a, b, _ = three
    a.claim()
    deployments.add(a.ledger, [DEPLOYED])
    repairs = {"r1": (0, ("deployments",))}
    b.claim()
    head = b.folder.append(None)

    a.share.hydrate(head.number, head.files, a.folder.fetch, owner=None, repairs=repairs)
    assert deployments.published(a.ledger) == []
    a.claim()
    a.commit()
    b.refresh()

    assert deployments.published(a.ledger) == deployments.published(b.ledger) == []


def test_after_a_list_that_lost_its_end_what_is_done_then_is_newer_than_what_was_lost(three: list[Machine]) -> None:
    """Tokens beyond the generation it goes on from never were, as far as others know, and may be given again."""
    a, b, c = three
    a.claim()
    work(a, "r1")
    a.commit()
    b.refresh()
    kept = a.folder.head
    for _ in range(3):  # a token that is lost later
        c.claim()
    c.ledger.record(start("r2", sees=(seen(),), at=600.0), finish("r2", "failed", seen=(seen(),), at=700.0))
    c.commit()
    a.refresh()
    assert a.ledger.source_states("claims")[KEY].status == "failed"

    del a.folder.chain[a.folder.chain.index(kept) + 1 :]
    repairs = {"x": (kept.number, ("file_state",))}
    head = b.folder.append(None)
    b.share.hydrate(head.number, head.files, b.folder.fetch, owner=None, repairs=repairs)
    b.claim()
    work(b, "r3")
    b.commit()
    head = b.folder.head
    a.share.hydrate(head.number, head.files, a.folder.fetch, owner=head.owner, repairs=repairs)

    assert a.ledger.source_states("claims")[KEY].last_run_id == "r3"


def test_what_must_outlive_a_power_cut_is_written_through(three: list[Machine]) -> None:
    """A commit with synchronous FULL, all others as before."""
    ledger = three[0].ledger
    with ledger.writing(durable=True) as (connection, _):
        assert connection.execute("PRAGMA synchronous").fetchone() == (2,)
    with ledger.writing() as (connection, _):
        assert connection.execute("PRAGMA synchronous").fetchone() == (1,)


def test_texts_that_are_no_unicode_travel(three: list[Machine]) -> None:
    """A file name of odd bytes is the same source, and the same output, on the other machine."""
    a, b, _ = three
    odd = "b\udcff.csv"
    a.claim()
    a.ledger.record(start("r1", sees=(seen(odd),)), end("r1", outputs=(mounted(f"/mnt/a/ws/{odd}"),)), line("r1", odd))
    a.ledger.record(finish("r1", seen=(seen(odd),)))
    a.commit()
    b.refresh()
    assert everything(b) == everything(a)
    assert b.ledger.outputs("claims") == {mounted(f"/mnt/b/ws/{odd}")}


def test_the_child_gives_the_same(tmp_path: Path) -> None:
    """The Parquet process reads and writes what this one would."""
    with machines(tmp_path, "/mnt/a/ws", "/mnt/b/ws") as (a, b):
        for machine, root in ((a, "/mnt/a/ws"), (b, "/mnt/b/ws")):
            machine.share = SharedHistory(machine.ledger, Path(root))
        a.claim()
        work(a, "r1")
        a.commit()
        b.refresh()
        assert everything(b) == everything(a)
        name = a.folder.head.files["runs"][0]
        a.folder.data["runs", name] = b"no parquet"
        with Ledger.open(tmp_path / "c.sqlite") as third, pytest.raises(RefusedSegmentError, match="refused") as caught:
            SharedHistory(third, Path("/")).hydrate(9, a.folder.head.files, a.folder.fetch, owner=None)
        assert caught.value.fix
