"""The Python face: a workspace, its flows and history, and its daemon."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from data_engine.backfill_verbs import BackfillVerbs
from data_engine.daemon_verbs import DaemonVerbs
from data_engine.errors import FlowValidationError
from data_engine.flow.suggestions import typed_verbs
from data_engine.given import (
    given_day,
    given_folder,
    given_limit,
    given_text,
    given_workspace,
)
from data_engine.planning_verbs import PlanningVerbs
from data_engine.platforms.names import with_home
from data_engine.shown import Listing
from data_engine.verbs import Flow
from data_engine.workspace.layout import WorkspaceLayout

TYPE_CHECKING = False
if TYPE_CHECKING:
    from datetime import date

    from data_engine.engine.left_behind import LeftBehind
    from data_engine.model import LogEntry, Run, StepRun
    from data_engine.notebook.catalog import CatalogEntry
    from data_engine.status.explain import Explanation
    from data_engine.status.run_comparison import Comparison
    from data_engine.status.trends import Trends
    from data_engine.workspace.settings import WorkspaceSettings


class Workspace(BackfillVerbs, DaemonVerbs, PlanningVerbs):
    """One workspace folder: its flows, its history on this machine, and its settings.

    Raises:
        WorkspaceError: `path` is not a workspace.

    Example:
        >>> import tempfile
        >>> ws = Workspace.create(tempfile.mkdtemp())
        >>> [flow.name for flow in ws.flows()]
        ['example']
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.root = given_workspace(path)

    @classmethod
    def create(cls, path: str | os.PathLike[str]) -> Workspace:
        """A workspace at `path`, provisioned with what is missing; nothing that exists is changed.

        Raises:
            WorkspaceError: a file is in the way, or the folder cannot be written.

        Example:
            >>> import tempfile
            >>> ws = Workspace.create(tempfile.mkdtemp())
            >>> [path.name for path in ws.layout.flow_modules_dir.glob("*.ipynb")]
            ['example.ipynb']
        """
        from data_engine.workspace.provision import provision_workspace

        return cls(provision_workspace(given_folder(path, "Workspace.create(path)")).root)

    @classmethod
    def current(cls) -> Workspace:
        """The workspace of this kernel's notebook or script, else of the working directory, else the selected one.

        Raises:
            WorkspaceError: there is none; says how to choose one.

        Example:
            >>> import tempfile
            >>> ws = Workspace.create(tempfile.mkdtemp())
            >>> import os
            >>> before = os.getcwd()
            >>> os.chdir(ws.root)
            >>> Workspace.current() == ws
            True
            >>> os.chdir(before)
        """
        from data_engine.workspace.select import select_workspace

        return cls(select_workspace().root)

    def __repr__(self) -> str:
        return f"Workspace({str(self.root)!r})"

    def __eq__(self, other: object) -> bool:
        return self.root == other.root if isinstance(other, Workspace) else NotImplemented

    def __hash__(self) -> int:
        return hash(self.root)

    @property
    def workspace_id(self) -> str:
        """The name people see: the folder's."""
        return self.layout.workspace_id

    @property
    def layout(self) -> WorkspaceLayout:
        """Every path of the shared folder."""
        return WorkspaceLayout(self.root)

    def settings(self) -> WorkspaceSettings:
        """The workspace's settings.

        Raises:
            SettingsError: `config/data_engine.toml` holds an invalid value.

        Example:
            >>> import tempfile
            >>> ws = Workspace.create(tempfile.mkdtemp())
            >>> ws.settings().freshness, ws.settings().lease.heartbeat_s
            ('signature', 30.0)
        """
        return self.home.settings()

    def catalog(self) -> tuple[CatalogEntry, ...]:
        """One entry for each flow module, sorted by name; a broken module has its `error` instead of a flow.

        Raises:
            FlowValidationError: the flow_modules folder cannot be read.

        Example:
            >>> import tempfile
            >>> ws = Workspace.create(tempfile.mkdtemp())
            >>> [(entry.name, entry.mode, entry.steps, entry.error) for entry in ws.catalog()]
            [('example', 'manual', ('Make Sales', 'Add Up'), None)]
        """
        from data_engine.notebook.catalog import read_catalog

        return read_catalog(self.home.modules())

    def flows(self) -> tuple[Flow, ...]:
        """The good flows, sorted by name; `catalog()` lists the broken modules, too.

        Raises:
            FlowValidationError: the flow_modules folder cannot be read.

        Example:
            >>> import tempfile
            >>> ws = Workspace.create(tempfile.mkdtemp())
            >>> [flow.title for flow in ws.flows()]
            ['Example']
        """
        return tuple(Flow.of(entry.flow) for entry in self.catalog() if entry.flow is not None)

    def load_flow(self, name: str) -> Flow:
        """The flow of the module `name`, executed afresh.

        Raises:
            FlowValidationError: no such module, or it is broken.

        Example:
            >>> import tempfile
            >>> ws = Workspace.create(tempfile.mkdtemp())
            >>> ws.load_flow("example").preview(use="totals").rows()
            [('coffee', 4.5), ('tea', 5.5)]
        """
        from data_engine.status.deployed_before import find_flow

        modules = self.home.modules()
        return Flow.of(modules.load(find_flow(self.home, name)).flow)

    def deployment(self, name: str) -> str:
        """How the flow's module stands to what production runs, in a few words.

        "as deployed", "not deployed", or "edited, not deployed" with the cells that differ; after a rollback, while the module is as it
        was deployed before, "rolled back to" that deployment with its time and those cells.

        Raises:
            FlowValidationError: no such module, and none is deployed.

        Example:
            >>> import tempfile
            >>> from data_engine import Workspace
            >>> ws = Workspace.create(tempfile.mkdtemp())
            >>> before = ws.deployment("example")
            >>> _ = ws.deploy("example")
            >>> before, ws.deployment("example")
            ('not deployed', 'as deployed')
        """
        return self.standing(name).text

    def restore(self, name: str, to: str | None = None, *, copy: bool = False) -> tuple[Path, ...]:
        """The module of the flow `name` as it was deployed last, or in the deployment `to`, put back into `flow_modules`; what was
        written: the module, and those of its helpers that are not there. What production runs stays as it is. The name may be that
        of the module's file, or its path. A notebook that was renamed, or moved into a subfolder, is written a second time only as a `copy`.

        Raises:
            FlowValidationError: a module of this name is there, nothing is overwritten; it lies elsewhere now; or it was never deployed,
                or is not kept.

        Example:
            >>> import tempfile
            >>> ws = Workspace.create(tempfile.mkdtemp())
            >>> _ = ws.deploy("example")
            >>> (ws.layout.flow_modules_dir / "example.ipynb").unlink()
            >>> ws.standing("example").kind, [path.name for path in ws.restore("example")], ws.standing("example").kind
            ('gone', ['example.ipynb'], 'as_deployed')
        """
        from data_engine.notebook.catalog import check_flow_name
        from data_engine.notebook.history import to_restore
        from data_engine.notebook.restoring import restore
        from data_engine.status.deployed_before import flow_called, history_of, refuse_second_copy

        to = None if to is None else given_text(to, "restore(to=...)")
        rows = history_of(self.home)
        name = flow_called(rows, check_flow_name(name))
        chosen = to_restore(rows, name, to)
        deployments = self.home.deployments()
        deployments.copy_of(chosen.set_id)
        if not copy:
            refuse_second_copy(self.home, rows, name, chosen.set_id)
        contents = deployments.contents_of(chosen.set_id) or {}
        written = restore(name, contents, self.layout.flow_modules_dir)
        with suppress(FlowValidationError):  # it is put back; a daemon that cannot look now sees it at its next look
            self.link.ask(lambda daemon: daemon.post("/look"), otherwise=dict)
        return written

    def left_behind(self, name: str | None = None) -> list[LeftBehind]:
        """The outputs, of the flow `name` or of all, whose source files are gone; as far as the history goes back.

        A file that several sources were written to counts when all of them are gone; of a source folder that cannot be reached nothing is
        known. `set_aside` moves them out of the mirror.

        Raises:
            FlowValidationError: there is no such flow.

        Example:
            >>> import tempfile
            >>> ws = Workspace.create(tempfile.mkdtemp())
            >>> ws.left_behind()
            []
        """
        from data_engine.engine.left_behind import MOST_RUNS, left_behind
        from data_engine.ledger.former_places import written_here

        return Listing(
            left_behind(
                written_here(self.home.ledger(), self.layout, MOST_RUNS),
                self._in_production(name),
            )
        )

    def set_aside(self, name: str | None = None) -> list[Path]:
        """Move what `left_behind(name)` lists out of the mirrors, into a hidden folder beside each; where it is now.

        Nothing is deleted, and `put_back` moves it back. This makes no flow due that reads there.

        Raises:
            FlowValidationError: there is no such flow, or a file cannot be moved.
            OwnedElsewhereError: another workstation owns the workspace.

        Example:
            >>> import tempfile
            >>> ws = Workspace.create(tempfile.mkdtemp())
            >>> ws.set_aside(), ws.put_back()
            ([], [])
        """
        from data_engine.engine.left_behind import set_aside
        from data_engine.lease.peek import refuse_owned_elsewhere

        refuse_owned_elsewhere(self.layout.workspace_state_dir, self.home.local.identity, what="moving outputs aside")
        return Listing(set_aside(self.left_behind(name)))

    def put_back(self, name: str | None = None) -> list[Path]:
        """Move back what `set_aside` moved last, except where there is a new file; where they are now.

        Raises:
            FlowValidationError: there is no such flow, or a file cannot be moved.
            OwnedElsewhereError: another workstation owns the workspace.

        Example:
            >>> import tempfile
            >>> ws = Workspace.create(tempfile.mkdtemp())
            >>> ws.put_back()
            []
        """
        from data_engine.engine.left_behind import put_back
        from data_engine.lease.peek import refuse_owned_elsewhere

        refuse_owned_elsewhere(self.layout.workspace_state_dir, self.home.local.identity, what="moving outputs back")
        specs = (flow.mirror_spec for flow in self._in_production(name))
        return Listing(put_back(spec.root for spec in specs if spec is not None))

    def _in_production(self, name: str | None = None) -> list[Flow]:
        """The good flows as they are, and as they are deployed where their modules are gone; the one of this name.

        Raises:
            FlowValidationError: there is no such flow.
        """
        from data_engine.notebook.catalog import check_flow_name, read_catalog
        from data_engine.notebook.deployed import deployed_entries
        from data_engine.status.deployed_before import find_to_tidy

        deployments = self.home.deployments()
        there = read_catalog(self.home.modules(), kept=self.home.descriptions())
        gone = deployments.deployed().keys() - {entry.name for entry in there}
        entries = [*there, *deployed_entries(deployments, gone)]
        if name is not None and check_flow_name(name) not in {entry.name for entry in entries}:
            find_to_tidy(self.home, name)
        return [Flow.of(one.flow) for one in entries if one.flow is not None and name in (None, one.name)]

    def runs(
        self,
        flow: str | None = None,
        limit: int = 100,
        *,
        status: str | None = None,
        since: str | date | None = None,
        until: str | date | None = None,
    ) -> list[Run]:
        """The newest runs, newest first; of one flow when named, also under the names that it had before, or of a source file.

        With a `status` ("failed") those that have it; with `since` and `until` those that began in that range: days, months ("2013-03") or
        times of this machine's clock, both included. A run for a slot has the zone of its schedule (`tz`), in which it is shown.

        Raises:
            LedgerError: the history cannot be read, or no run has that status.
            FlowValidationError: there is and was no such flow, nor a run of such a file (names the nearest); `limit` is not a whole
                number, or a text is not a day.

        Example:
            >>> import tempfile
            >>> ws = Workspace.create(tempfile.mkdtemp())
            >>> _ = ws.load_flow("example").run_once()
            >>> [(run.flow, run.status) for run in ws.runs(limit=5)]
            [('example', 'success')]
            >>> ws.runs(until="2013-03")
            []
        """
        from data_engine.ledger.warned import with_warnings
        from data_engine.notebook.catalog import check_flow_name
        from data_engine.status.runs import find_runs, wanted_runs, with_zones

        given_limit(limit)
        ledger = self.home.ledger()
        ledger.recover()
        name = None if flow is None else check_flow_name(flow)
        days = given_day(since, "runs(since=...)"), given_day(until, "runs(until=...)")
        wanted = wanted_runs(None if status is None else given_text(status, "runs(status=...)"), *days)
        return Listing(with_zones(self.home, with_warnings(ledger, find_runs(self.home, name, limit, wanted).runs)))

    def log(self, run_id: str) -> list[LogEntry]:
        """What the run printed and logged, oldest first.

        Raises:
            FlowValidationError: there is no such run.

        Example:
            >>> import tempfile
            >>> ws = Workspace.create(tempfile.mkdtemp())
            >>> code = "from data_engine import Flow\\ndef build(): return Flow('Demo').step(lambda context: print('hello'))"
            >>> _ = (ws.layout.flow_modules_dir / "greet.py").write_text(code)
            >>> _ = ws.load_flow("greet").run_once()
            hello
            >>> [(line.level, line.message) for line in ws.log(ws.runs("greet")[0].run_id)]
            [('INFO', 'hello')]
        """
        return Listing(self.home.ledger().log(self.run_record(run_id).run_id))

    def steps(self, run_id: str) -> list[StepRun]:
        """The run's steps, in order.

        Raises:
            FlowValidationError: there is no such run.

        Example:
            >>> import tempfile
            >>> ws = Workspace.create(tempfile.mkdtemp())
            >>> _ = ws.load_flow("example").run_once()
            >>> [(step.label, step.status, step.rows_out) for step in ws.steps(ws.runs()[0].run_id)]
            [('Make Sales', 'success', 3), ('Add Up', 'success', 2)]
        """
        return Listing(self.home.ledger().steps(self.run_record(run_id).run_id))

    def compare(self, run_a: str, run_b: str) -> Comparison:
        """What differs from one run to another, the most important first: code by cell, params, inputs, environment, rows, durations.

        Raises:
            FlowValidationError: there is no such run.

        Example:
            >>> import tempfile
            >>> ws = Workspace.create(tempfile.mkdtemp())
            >>> _ = [ws.load_flow("example").run_once() for _ in range(2)]
            >>> newer, older = ws.runs()
            >>> ws.compare(older.run_id, newer.run_id).is_equal
            True
        """
        from data_engine.status.run_comparison import compare

        a, b = self.run_record(run_a), self.run_record(run_b)
        return compare(self.home, a, b)

    def trends(self, flow: str) -> Trends:
        """How many rows the flow's outputs and steps had and how long they took, over its newest good runs that were given the same.

        After 50 such runs what is unusual is marked: values that fewer than one of 1,000 such runs would have.

        Raises:
            FlowValidationError: there is no such flow, neither as a module nor in the history.
            LedgerError: the history cannot be read.

        Example:
            >>> import tempfile
            >>> ws = Workspace.create(tempfile.mkdtemp())
            >>> _ = [ws.load_flow("example").run_once() for _ in range(2)]
            >>> found = ws.trends("example")
            >>> found.runs, [(one.name, [point.value for point in one.points]) for one in found.trends if one.kind == "rows"]
            (2, [('Make Sales', [3.0, 3.0]), ('Add Up', [2.0, 2.0])])
        """
        from data_engine.notebook.catalog import check_flow_name, find_module
        from data_engine.status.trends import trends_of

        ledger = self.home.ledger()
        if not ledger.runs(check_flow_name(flow), 1):
            find_module(self.home.modules(), flow)
        return trends_of(ledger, flow)

    def reset(self, flow: str | None = None) -> int:
        """Forget the history and freshness of `flow` (of every flow without one) on this machine; how many runs were removed.

        Every source is due again, at once if a daemon runs; a schedule does not catch up what was before.

        Raises:
            FlowValidationError: no such flow, neither as a module nor in the history; a run of it is under way, here or in
                another process of this machine.
            OwnedElsewhereError: another workstation owns the workspace, and its history.

        Example:
            >>> import tempfile
            >>> ws = Workspace.create(tempfile.mkdtemp())
            >>> _ = ws.load_flow("example").run_once()
            >>> ws.reset("example"), ws.runs()
            (1, [])
        """
        from data_engine.notebook.catalog import check_flow_name
        from data_engine.status.offline import reset_offline

        name = None if flow is None else check_flow_name(flow)
        return self.link.ask(
            lambda daemon: int(daemon.post("/reset", {"flow": name})["count"]),
            otherwise=lambda: reset_offline(self.home, name),
        )

    def explain(self, flow_or_path: str | os.PathLike[str]) -> list[Explanation]:
        """Why a flow, or a source file, does or does not run: `flow`, `source`, `reason` and `next_run_utc` of each; for an output, who wrote it.

        `why` holds the reason for programs: its `kind` and data. A row without a source is about the whole flow. A file is
        named by its path, or by its path inside the source.

        Raises:
            FlowValidationError: neither a flow, nor a source file, nor an output.

        Example:
            >>> import tempfile
            >>> Workspace.create(tempfile.mkdtemp()).explain("example")[0].reason
            'not deployed: data-engine deploy example'
        """
        from data_engine.daemon.control import LONG_S
        from data_engine.status.explain import Explanation, explain

        subject = os.fspath(flow_or_path)
        file = str(Path(with_home(subject)).resolve())
        return Listing(
            self.link.ask(
                lambda daemon: [
                    Explanation.read(row)
                    for row in daemon.get("/explain", timeout_s=LONG_S, subject=subject, file=file)["reasons"]
                ],
                otherwise=lambda: explain(self._offline(), self._offline().facts(), subject, file),
            )
        )


typed_verbs(Workspace)
