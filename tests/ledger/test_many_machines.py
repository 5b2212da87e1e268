"""Whatever machines do, and whatever is lost on the way: what was committed is everywhere, and nothing is taken for done wrongly."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import hypothesis.strategies as st
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from data_engine.model import Switch
from tests.ledger.events import begin, end, finish, line, seen, start
from tests.ledger.sharing import Folder, Machine
from tests.support import examples_on_files, native

MACHINES = st.integers(0, 2)
FLOWS = st.sampled_from(["claims", "audit"])
FILES = st.sampled_from(["a.csv", "b.csv"])
SLOTS = st.sampled_from([f"2026-01-0{day}T00:00:00+00:00" for day in (1, 2)])


class Workspace(RuleBasedStateMachine):
    """Three ledgers and one folder, and what really happened, which no single machine need know.

    Every run sees a size of its own, so a state tells which run it comes from.
    """

    def __init__(self) -> None:
        super().__init__()
        self.home = tempfile.TemporaryDirectory()
        self.folder = Folder()
        self.machines = [self.machine(number) for number in range(3)]
        self.runs: dict[str, tuple[int, str, str, int]] = {}
        self.open: list[str] = []
        self.ended: dict[str, str] = {}
        self.committed: set[str] = set()
        self.forgotten: set[str] = set()
        self.unlearned: list[set[str]] = [set(), set(), set()]
        """Per machine the flows that were reset elsewhere since it last looked."""

    def machine(self, number: int) -> Machine:
        return Machine(self.folder, Path(self.home.name) / str(number) / "ledger.sqlite", Path(f"/mnt/{number}/ws"))

    def teardown(self) -> None:
        try:
            self.all_see_the_same_in_the_end()
        finally:
            for machine in self.machines:
                machine.close()
            self.home.cleanup()

    @property
    def owners(self) -> list[Machine]:
        """The owner, if it is alive."""
        return [machine for machine in self.machines if machine.is_owner]

    @property
    def owner(self) -> Machine:
        return self.owners[0]

    # -- what happens -------------------------------------------------------------------------------------------------

    @rule(n=MACHINES, flow=FLOWS, file=FILES)
    def a_run_begins(self, n: int, flow: str, file: str) -> None:
        size = len(self.runs) + 1
        run_id = f"r{size:03}"
        self.machines[n].ledger.record(
            start(run_id, flow=flow, at=size, sees=(seen(file, size),)), begin(run_id), line(run_id, flow=flow)
        )
        self.runs[run_id] = n, flow, file, size
        self.open.append(run_id)

    @precondition(lambda self: self.open)
    @rule(data=st.data(), status=st.sampled_from(["success", "failed"]))
    def a_run_ends(self, data: st.DataObject, status: str) -> None:
        self.end(data.draw(st.sampled_from(self.open)), status)

    @rule(n=MACHINES, flow=FLOWS, slot=SLOTS, enabled=st.booleans())
    def a_slot_is_served_and_a_flow_switched(self, n: int, flow: str, slot: str, enabled: bool) -> None:
        self.machines[n].ledger.serve_slot(flow, slot, f"r{len(self.runs):03}")
        self.machines[n].ledger.set_switch(flow, Switch(enabled))

    @rule(n=MACHINES)
    def a_machine_takes_over(self, n: int) -> None:
        self.machines[n].claim()
        self.learn(n)

    @precondition(lambda self: self.owners)
    @rule()
    def the_owner_releases(self) -> None:
        self.owner.release()

    @precondition(lambda self: self.owners)
    @rule(landed=st.booleans(), answered=st.booleans(), limit=st.sampled_from([1, 3, 1000]))
    def a_commit_is_lost_or_short(self, landed: bool, answered: bool, limit: int) -> None:
        self.owner.commit(landed=landed, answered=answered, limit=limit)

    @precondition(lambda self: self.owners)
    @rule()
    def the_owner_commits(self) -> None:
        self.commit_all(self.owner)

    @rule(n=MACHINES)
    def a_machine_refreshes(self, n: int) -> None:
        self.machines[n].refresh()
        self.learn(n)

    @precondition(lambda self: self.owners)
    @rule(data=st.data(), answered=st.booleans())
    def the_owner_folds(self, data: st.DataObject, answered: bool) -> None:
        chosen = {}
        for table, names in self.folder.head.files.items():
            if len(names) > 1:
                first = data.draw(st.integers(0, len(names) - 2))
                chosen[table] = names[first : data.draw(st.integers(first + 2, len(names)))]
        if chosen:
            self.owner.fold(chosen, answered=answered)

    @precondition(lambda self: self.owners)
    @rule(flow=FLOWS)
    def the_owner_resets_a_flow(self, flow: str) -> None:
        n = self.machines.index(self.owner)
        known = self.flows_of(self.owner)
        if flow in known and not any(self.runs[run_id][:2] == (n, flow) for run_id in self.open):
            self.owner.ledger.reset_flow(flow)
            self.commit_all(self.owner)
            self.forgotten |= {run_id for run_id, run in self.runs.items() if run[1] == flow}
            for other in {0, 1, 2} - {n}:
                self.unlearned[other].add(flow)

    @rule(n=MACHINES)
    def a_daemon_dies_and_comes_back(self, n: int) -> None:
        self.machines[n].close()
        self.machines[n] = self.machine(n)
        self.machines[n].ledger.recover(now_s=5.0)
        for run_id in [run_id for run_id in self.open if self.runs[run_id][0] == n]:
            self.open.remove(run_id)
            self.ended[run_id] = "abandoned"

    # -- what must hold -----------------------------------------------------------------------------------------------

    @invariant()
    def no_source_is_taken_for_done_that_was_not(self) -> None:
        for machine in self.machines:
            for flow in ("claims", "audit"):
                for key, state in machine.ledger.source_states(flow).items():
                    if state.success is not None:
                        run_id = f"r{state.success.size_bytes:03}"
                        assert self.ended[run_id] == "success"
                        assert self.runs[run_id][1:3] == (flow, key.path)
                        assert state.success_run_id == run_id
                    assert state.status != "success" or state.success == state.last

    @invariant()
    def an_own_run_is_as_it_really_is(self) -> None:
        for n, machine in enumerate(self.machines):
            for run_id, (where, *_) in self.runs.items():
                run = machine.ledger.run(run_id) if where == n else None
                assert run is None or run.status == self.ended.get(run_id, "started")

    def all_see_the_same_in_the_end(self) -> None:
        """Each machine owns once more, then everybody looks; a newcomer too."""
        for n, machine in enumerate(self.machines):
            machine.refresh()
            self.learn(n)
            own = {run_id for run_id in self.open if self.machines[self.runs[run_id][0]] is machine}
            running = {run.run_id for run in machine.ledger.running()}
            theirs = {run_id for run_id, run in self.runs.items() if self.machines[run[0]] in self.owners}
            # An owner that died still has its lease, until somebody takes over.
            assert running <= own | theirs or (not self.owners and self.folder.head.owner is not None)
            there = {run.run_id: run.status for run in machine.ledger.runs(limit=1000)}
            for run_id in self.committed - self.forgotten:
                assert there[run_id] == self.ended[run_id]
            assert not there.keys() & self.forgotten
        for run_id in list(self.open):
            self.end(run_id, "success")
        for machine in self.machines:
            machine.claim()
            self.commit_all(machine)
        newcomer = self.machine(3)
        self.machines.append(newcomer)
        for machine in self.machines:
            machine.refresh()
        views = [self.view(machine) for machine in self.machines]
        assert views[1:] == views[:1] * 3
        assert views[0]["runs"] == {
            run_id: (flow, self.ended[run_id])
            for run_id, (_, flow, _, _) in self.runs.items()
            if run_id not in self.forgotten
        }
        for state in views[0]["states"].values():
            assert state.success_run_id not in self.forgotten

    def view(self, machine: Machine) -> dict[str, Any]:
        ledger = machine.ledger
        runs = ledger.runs(limit=1000)
        return {
            "runs": {run.run_id: (run.flow, run.status) for run in runs},
            "steps": {
                run.run_id: [(s.label, s.status, s.finished_at_utc) for s in ledger.steps(run.run_id)] for run in runs
            },
            "logs": {run.run_id: ledger.log(run.run_id) for run in runs},
            "states": {key: s for flow in ("claims", "audit") for key, s in ledger.source_states(flow).items()},
            "slots": {flow: ledger.served_slots(flow) for flow in ("claims", "audit")},
            "switches": ledger.switches(),
            "outputs": {
                path.replace("\\", "/").removeprefix(f"/mnt/{self.machines.index(machine)}")
                for path in ledger.outputs("claims")
            },
        }

    # -- how ----------------------------------------------------------------------------------------------------------

    def end(self, run_id: str, status: str) -> None:
        n, _, file, size = self.runs[run_id]
        self.machines[n].ledger.record(
            end(run_id, outputs=(native(f"/mnt/{n}/ws/{file}.out"),)),
            finish(run_id, status, at=size, seen=(seen(file, size),)),
        )
        self.open.remove(run_id)
        self.ended[run_id] = status

    def learn(self, n: int) -> None:
        """What began here without knowledge of a reset is forgotten with the rest: done again rather than never."""
        flows, self.unlearned[n] = self.unlearned[n], set()
        self.forgotten |= {run_id for run_id, run in self.runs.items() if run[0] == n and run[1] in flows}

    def commit_all(self, machine: Machine) -> None:
        while machine.commit() is not None:
            pass
        n = self.machines.index(machine)
        self.committed |= {run_id for run_id in self.ended if self.runs[run_id][0] == n}

    def flows_of(self, machine: Machine) -> set[str]:
        return set(machine.ledger.last_runs()) | {
            flow for flow in ("claims", "audit") if machine.ledger.source_states(flow)
        }


Workspace.TestCase.settings = settings(max_examples=examples_on_files(8), stateful_step_count=40, deadline=None)
TestWorkspace = Workspace.TestCase
