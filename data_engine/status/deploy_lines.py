"""The effects of a deploy: what goes live, what starts at once, which files were done before, and the lines that say so."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType

from data_engine.engine.local_workspace import LocalWorkspace
from data_engine.engine.run_sources import with_shared_mirror
from data_engine.flow.flow import Flow
from data_engine.flow.trigger import Poll, Schedule
from data_engine.formatting import cli_line, first_few, plural, zoned_text
from data_engine.ledger.deployments import published
from data_engine.model import Deployment, Switch
from data_engine.notebook.catalog import CatalogEntry, read_catalog, with_no_steps_refused
from data_engine.notebook.deployment_status import AS_DEPLOYED, NOT_DEPLOYED, DeploymentStatus, live_deployments
from data_engine.notebook.deployments import deployed_entries
from data_engine.planning.due import PlannedFlow
from data_engine.reasons.kinds import NotThere, OwnOutput, Unreachable
from data_engine.record import frozen
from data_engine.scheduler.folder_poller import KnownSources
from data_engine.scheduler.schedule_clock import owed_slots
from data_engine.status.build import HeldFiles
from data_engine.status.deployed_before import left_out
from data_engine.status.explain import WOULD_RUN, look_now
from data_engine.status.lineage import lineage
from data_engine.status.offline import OfflineFacts
from data_engine.status.places import count_gone
from data_engine.status.record import WorkspaceStatus


def going_live_lines(going: Sequence[GoingLive], status: Callable[[], WorkspaceStatus]) -> list[str]:
    """What a deploy would change, a line for each flow; asks `status` only where something starts."""
    is_on = is_engine_on(status()) if any(flow.starting.text for flow in going) else True
    return [flow.text(is_on=is_on) for flow in going]


def is_engine_on(status: WorkspaceStatus) -> bool:
    """Whether what is due runs now; another workstation's engine is taken to be on."""
    return status.lease.is_elsewhere or status.engine.on is not False


def starting_lines(starts: Mapping[str, Starting], status: Callable[[], WorkspaceStatus]) -> list[str]:
    """A line for each flow that starts something at once."""
    starts = {flow: start for flow, start in sorted(starts.items()) if start.text}
    is_on = is_engine_on(status()) if starts else True
    return [f"starts        {flow}: {start.when(is_on=is_on, how=cli_line('start'))}" for flow, start in starts.items()]


def lines_after(
    home: LocalWorkspace,
    new: Sequence[Deployment],
    entries: Iterable[CatalogEntry],
    starts: Mapping[str, Starting],
    left: Mapping[str, Deployment],
    status: Callable[[], WorkspaceStatus],
) -> tuple[list[str], list[str]]:
    """The lines after a deploy: what starts at once, then what it means for files and other flows; `left` were left out."""
    files, switches = files_before(home, new, entries), home.ledger().switches()
    disabled = [flow for flow, switch in switches.items() if not switch.is_enabled]
    is_on = is_engine_on(status()) if any(before.held for before in files.values()) else True
    feeds = feeds_lines(home, (row.flow for row in new if row.kind != "withdraw"))
    lines = (*undeployed_lines(new), *left_out_lines(left), *feeds, *disabled_lines(new, switches))
    return starting_lines(starts, status), [*lines, *files_before_lines(files, disabled=disabled, is_engine_on=is_on)]


def deployed_flows(home: LocalWorkspace) -> list[Flow]:
    """The flows as they are deployed, without those that cannot be had here, or are broken."""
    deployments = home.deployments()
    entries = deployed_entries(deployments, deployments.deployed(), home.deployed_descriptions())
    return [entry.flow for entry in entries if entry.flow is not None]


def feeds_lines(home: LocalWorkspace, names: Iterable[str]) -> list[str]:
    """A line for each of these deployed flows whose outputs or tables other deployed flows read."""
    deployed, lines = {flow.name or "" for flow in deployed_flows(home)}, []
    for name in sorted(deployed & set(names)):
        edges = lineage(home, name, depth=2).edges
        written = {edge.target for edge in edges if edge.source == name}
        if readers := deployed.intersection(edge.target for edge in edges if edge.source in written) - {name}:
            lines.append(f"feeds         {name}: what it writes is read by {', '.join(sorted(readers))}")
    return lines


def undeployed_lines(new: Sequence[Deployment]) -> list[str]:
    """A line for each flow that these new deployments end.

    Example:
        >>> from data_engine.model import Deployment
        >>> undeployed_lines([Deployment("d1", 1, "claims", "withdraw", "")])
        ['undeployed    claims: its module is gone, so production does not run it any more. To let it run again as it was deployed: data-engine rollback claims']
        >>> undeployed_lines([Deployment("d1", 1, "parts", "deploy", "s1"), Deployment("d2", 2, "claims", "withdraw", "", of="d1")])
        ['renamed       claims is parts now: production runs that in its place, and what claims has done counts as done']
    """
    names = {row.id: row.flow for row in new}
    lines = []
    for row in new:
        if row.kind != "withdraw":
            continue
        if row.of in names:
            now = names[row.of]
            lines.append(
                f"renamed       {row.flow} is {now} now: production runs that in its place, and what {row.flow} has done counts as done"
            )
        else:
            lines.append(
                f"undeployed    {row.flow}: its module is gone, so production does not run it any more."
                f" To let it run again as it was deployed: {cli_line('rollback', row.flow)}"
            )
    return sorted(lines)


def disabled_lines(new: Sequence[Deployment], switches: Mapping[str, Switch]) -> list[str]:
    """A line for each deployed flow that does not run by itself, because somebody had disabled it.

    Example:
        >>> from data_engine.model import Switch
        >>> from data_engine.model import Deployment
        >>> disabled_lines([Deployment("d1", 1, "claims", "deploy", "s1")], {"claims": Switch(False)})
        ['disabled      claims: it stays disabled, and runs by hand only. To let it run by itself: data-engine enable claims']
    """
    return [
        f"disabled      {flow}: it stays disabled, and runs by hand only. To let it run by itself: {cli_line('enable', flow)}"
        for flow in sorted({row.flow for row in new if row.kind != "withdraw"})
        if flow in switches and not switches[flow].is_enabled
    ]


def left_out_lines(left: Mapping[str, Deployment]) -> list[str]:
    """A line for each flow that a deploy of everything left undeployed.

    Example:
        >>> from data_engine.model import Deployment
        >>> left_out_lines({"claims": Deployment("d1", 1, "claims", "withdraw", "", by="anna", machine="ANNA-PC")})
        ['left out      claims: anna@ANNA-PC undeployed it. To let production run it again, as it is now: data-engine deploy claims']
    """
    return [
        f"left out      {flow}: {row.who} undeployed it. To let production run it again, as it is now: {cli_line('deploy', flow)}"
        for flow, row in left.items()
    ]


def files_before_lines(
    before: Mapping[str, FilesBefore],
    *,
    disabled: Iterable[str] = (),
    is_engine_on: bool = True,
) -> list[str]:
    """A line for the files that other code may have done before, and one for each flow's held files.

    Example:
        >>> files_before_lines({"claims": FilesBefore(done=1204)})
        ['not again     claims: 1,204 files were done before and count as done. To do them again: data-engine backfill claims --reprocess all']
        >>> files_before_lines({"claims": FilesBefore(done=1204), "sales": FilesBefore(done=5)})
        ['not again     2 flows: 1,209 files were done before and count as done. To do them again: data-engine backfill NAME --reprocess all']
        >>> files_before_lines({"claims": FilesBefore(held=1)})
        ['held          claims: 1 file is held, as its last run failed or was stopped. To try it again: data-engine retry claims']
        >>> files_before_lines({"claims": FilesBefore(held=2)}, is_engine_on=False)
        ['held          claims: 2 files are held, as their last run failed or was stopped. To try them again: data-engine start']
    """
    off = set(disabled)
    lines = []
    done = {flow: files.done for flow, files in before.items() if files.done}
    if done:
        flow, who = (*done, *done) if len(done) == 1 else ("NAME", f"{len(done)} flows")
        count = sum(done.values())
        words = "1 file was done before and counts" if count == 1 else f"{count:,} files were done before and count"
        again = cli_line("backfill", flow, "--reprocess", "all")
        lines.append(f"not again     {who}: {words} as done. To do {'it' if count == 1 else 'them'} again: {again}")
    for flow, files in sorted(before.items()):
        if files.held:
            is_one = files.held == 1
            words = f"{plural(files.held, 'file is', 'files are')} held, as {'its' if is_one else 'their'} last run failed or was stopped"
            ways = [cli_line("enable", flow)] if flow in off else []
            ways.append(cli_line("retry", flow) if is_engine_on else cli_line("start"))
            lines.append(
                f"held          {flow}: {words}. To try {'it' if is_one else 'them'} again: {', then '.join(ways)}"
            )
    return lines


_MOST_TIMES = 5


@frozen
class Starting:
    """The number of due `files` of a flow, in one run where it `is_batch`, and the `slots` that its schedule still owes, in words."""

    files: int = 0
    is_batch: bool = False
    slots: tuple[str, ...] = ()

    @property
    def text(self) -> str:
        """The runs to come, in words; "" for none.

        Example:
            >>> Starting(2000).text, Starting(12, is_batch=True).text, Starting().text
            ('2,000 files', 'a batch of 12 files', '')
            >>> Starting(slots=("2026-12-24 07:00 UTC",)).text
            '1 slot that it missed: 2026-12-24 07:00 UTC'
        """
        if self.slots:
            return f"{plural(len(self.slots), 'slot')} that it missed: {first_few(self.slots, _MOST_TIMES)}"
        files = plural(self.files, "file") if self.files else ""
        return f"a batch of {files}" if files and self.is_batch else files

    def when(self, *, is_on: bool, how: str = "") -> str:
        """The runs to come, and when: now, or once the engine is on, with the command `how`; "" for none.

        Example:
            >>> Starting(2000).when(is_on=True), Starting(1).when(is_on=False, how="data-engine start")
            ('2,000 files run now', '1 file runs once the engine is on (data-engine start)')
        """
        if not self.text:
            return ""
        is_one = self.is_batch or len(self.slots) == 1 or self.files == 1
        at = "now" if is_on else f"once the engine is on ({how})" if how else "once the engine is on"
        what, colon, times = self.text.partition(":")
        return f"{what} {'runs' if is_one else 'run'} {at}{colon}{times}"


@frozen
class GoingLive:
    """A flow that a deploy changes: its `deployment_status`, how it runs by itself (`runs`, "" where it does not), what of it is
    `starting` at once, and whether somebody disabled it."""

    flow: str
    deployment_status: DeploymentStatus
    runs: str = ""
    starting: Starting = Starting()
    is_disabled: bool = False

    @property
    def ends(self) -> bool:
        """Whether production stops running it: its module is gone, and was not renamed."""
        return self.deployment_status.kind == "gone" and self.deployment_status.renamed_to is None

    def text(self, *, is_on: bool) -> str:
        """One line for people; `is_on` is that of `Starting.when`.

        Example:
            >>> GoingLive("claims", NOT_DEPLOYED, "every 30 s when files change", Starting(2000)).text(is_on=True)
            'claims (not deployed): every 30 s when files change; 2,000 files run now'
            >>> GoingLive("report", DeploymentStatus("edited", (3,))).text(is_on=True)
            'report (edited, not deployed: cell 3): by hand only'
            >>> GoingLive("sales", DeploymentStatus("gone", file="sales.ipynb")).text(is_on=True)
            'sales.ipynb is gone: production stops running sales'
        """
        if self.deployment_status.kind == "gone":
            what = self.deployment_status.text.partition("; production")[0]
            return (
                f"{what}: {f'production stops running {self.flow}' if self.ends else 'production runs it by that name'}"
            )
        words = ["by hand only" if not self.runs else f"disabled, else {self.runs}" if self.is_disabled else self.runs]
        if not self.is_disabled:
            words += filter(None, [self.starting.when(is_on=is_on)])
        if (other := self.deployment_status.shares_with) is not None:
            again = cli_line("deploy", self.flow, "--yes")
            words.append(f"only by `{again}`, as {other}, which is deployed, writes to the same mirror")
        return f"{self.flow} ({self.deployment_status.text}): {'; '.join(words)}"


def going_live(home: LocalWorkspace, name: str | None = None) -> list[GoingLive]:
    """The flows that a deploy of `name`, or of everything, changes: those that would run, and those whose modules are gone.

    Raises:
        FlowValidationError: the modules or the settings cannot be read.
    """
    deployments = home.deployments()
    entries = with_no_steps_refused(read_catalog(home.modules(), cache=home.descriptions(), warns=False))
    authored, deployed = deployments.authored(), deployments.deployed()
    edits, live = deployments.edits_among(authored), list(live_deployments(published(home.ledger())).values())
    undeployed, switches = left_out(home, ()), home.ledger().switches()
    gone = {flow: edit for flow, edit in edits.items() if edit.kind == "gone"}
    was = {edit.renamed_to: flow for flow, edit in gone.items() if edit.renamed_to is not None}
    going = []
    for entry in entries:
        status = edits.get(entry.name, AS_DEPLOYED) if entry.name in deployed else NOT_DEPLOYED
        is_asked = entry.name == name or (name is None and entry.name not in undeployed)
        if entry.flow is None or not is_asked or status == AS_DEPLOYED:
            continue
        status = with_shared_mirror(home, entry, status, live)
        start = starting(home, entry.flow, was=was.get(entry.name))
        off = entry.name in switches and not switches[entry.name].is_enabled
        going.append(GoingLive(entry.name, status, "" if entry.trigger == "-" else entry.trigger, start, off))
    ends = [flow for flow in gone if name is None or was.get(name) == flow]
    return [*going, *(GoingLive(flow, gone[flow]) for flow in sorted(ends))]


def starting(
    home: LocalWorkspace, flow: Flow, *, was: str | None = None, before: KnownSources | None = None
) -> Starting:
    """The runs of the flow that start at once; `was` is its earlier name, whose work counts for it, `before` what was known of
    its sources, where some may have run since.

    Raises:
        LedgerError: the history cannot be read.
        FlowValidationError: the settings cannot be read.
    """
    watch = PlannedFlow.of(flow)
    watch = watch if was is None else replace(watch, flow=was)
    if isinstance(watch.trigger, Schedule):
        zone = watch.trigger.tz or home.settings().timezone
        owed = owed_slots(home.ledger(), watch, settings=home.settings(), now_s=time.time())
        return Starting(slots=tuple(zoned_text(slot, zone) for slot in owed))
    if not isinstance(watch.trigger, Poll):
        return Starting()
    verdicts = [verdict for _, verdict in look_now(OfflineFacts(home), watch, before).listing()]
    due = sum(verdict is not None and isinstance(verdict.why, WOULD_RUN) for verdict in verdicts)
    if watch.trigger.run_as != "batch" or not due:
        return Starting(due)
    gone = (NotThere, OwnOutput, Unreachable)
    return Starting(sum(verdict is None or not isinstance(verdict.why, gone) for verdict in verdicts), is_batch=True)


def starting_now(
    home: LocalWorkspace,
    new: Sequence[Deployment],
    entries: Iterable[CatalogEntry],
    before: Mapping[str, KnownSources] = MappingProxyType({}),
) -> dict[str, Starting]:
    """The runs that start at once, by newly deployed flow that nobody has disabled; `before` is what was known of their sources.

    Raises:
        LedgerError: the history cannot be read.
        FlowValidationError: the settings cannot be read.
    """
    switches, followed = home.ledger().switches(), {row.of for row in new if row.kind == "withdraw"}
    flows = {entry.name: entry.flow for entry in entries}
    starts = {}
    for row in new:
        flow, switch = flows.get(row.flow), switches.get(row.flow)
        if row.kind == "deploy" and flow is not None and (switch is None or switch.is_enabled):
            sources = None if row.id in followed else before.get(row.flow)
            starts[row.flow] = starting(home, flow, before=sources)
    return starts


@frozen
class FilesBefore:
    """How many files of a flow were `done` before, and so are not done again, and how many are `held`: their last run failed or
    was stopped."""

    done: int = 0
    held: int = 0


def files_before(
    home: LocalWorkspace, new: Sequence[Deployment], entries: Iterable[CatalogEntry]
) -> dict[str, FilesBefore]:
    """The numbers for each newly deployed flow that has such files; `entries` are the deployed modules.

    Files that are gone do not count, where a look at all of them is quick.
    """
    flows = {entry.name: entry.flow for entry in entries}
    deployed = {row.flow: row.at_utc for row in new if row.kind == "deploy"}
    before = {name: _of_flow(home, name, flows.get(name), at_utc) for name, at_utc in sorted(deployed.items())}
    return {name: files for name, files in before.items() if files.done or files.held}


def _of_flow(home: LocalWorkspace, name: str, flow: Flow | None, until_utc: str) -> FilesBefore:
    ledger = home.ledger()
    states = ledger.source_states(name).items()
    done = [key for key, state in states if state.status == "success" and (state.last_at_utc or "") <= until_utc]
    held = 0
    if flow is not None and isinstance(flow.trigger, Poll):
        watch = PlannedFlow.of(flow)
        done = [key for key in done if key == watch.key(key.path)]
        held = len(HeldFiles(ledger).of([watch]).get(name, ()))
    places = [home.layout.flow_modules_dir / Path(key.root).expanduser() / key.path for key in done]
    return FilesBefore(len(places) - count_gone(places), held)
