"""`deploy` and `undeploy`: what production runs, and what of the modules it does not."""

from __future__ import annotations

import sys
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer

from data_engine.cli.looks import in_flow_modules, say_settings
from data_engine.cli.options import AsJson, FlowName, SomeFlowName, Wait, chosen_workspace
from data_engine.cli.output import complain, print_json, say
from data_engine.counted import counted
from data_engine.cut import first_few
from data_engine.notebook.standing import NOT_DEPLOYED
from data_engine.platforms.terminals import is_terminal
from data_engine.typed import typed

if TYPE_CHECKING:
    from data_engine.client import Workspace
    from data_engine.engine.starting import GoingLive, Starting
    from data_engine.engine.status import FlowStatus
    from data_engine.ledger.switch import Switch
    from data_engine.model import Deployment
    from data_engine.notebook.catalog import CatalogEntry
    from data_engine.notebook.standing import Standing
    from data_engine.scheduler.source_memory import KnownSources

_MOST_NAMED = 5
INDENT = 14
"""How many characters of a line are the word that says what it is about."""

Note = Annotated[str, typer.Option("--note", metavar="TEXT", help="The reason, for the history.")]
Yes = Annotated[
    bool, typer.Option("--yes", help="Do not ask, and deploy even if another deployed flow writes to the same mirror.")
]


def deploy(
    ctx: typer.Context,
    name: SomeFlowName = None,
    note: Note = "",
    yes: Yes = False,
    approve: Annotated[
        bool, typer.Option("--approve", help="Deploy even if its goldens do not hold; who approved it is recorded.")
    ] = False,
    replaces: Annotated[
        str | None,
        typer.Option("--replaces", metavar="FLOW", help="The earlier flow that NAME replaces; its notebook is gone."),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only show what would go live, how it runs by itself, and what starts.")
    ] = False,
    wait: Wait = True,
    as_json: AsJson = False,
) -> int:
    """Let production run the modules as they are now: the flow NAME alone, or every one that nobody has undeployed.

    Without NAME it first shows what would go live, how it runs by itself, and what starts at once, and asks where there is a
    terminal. Only what compiles, builds and has steps is deployed. Ends with 1 when a module is not deployed; its flow stays on
    the last deployment, and `rollback` takes a deployment back.
    """
    ws = chosen_workspace(ctx)
    if dry_run:
        _say_going_live(ws, name, as_json)
        return 0
    if name is None and not (yes or as_json) and not _is_wanted(ws):
        say("Nothing was deployed.")
        return 1
    before = _before(ws, name)
    with in_flow_modules(ws):
        entries = ws.deploy(name, note, yes, wait, approve, replaces)
    return _tell(ws, name, entries, before, note, as_json) if entries or wait else say_left(as_json)


class _Before(NamedTuple):
    """What was before a deploy: the `ids` of all deployments, how each module stood, the flows of which files were `damaged`, and
    what was `known` of the sources of the flow that was named."""

    ids: set[str]
    stood: Mapping[str, Standing]
    damaged: set[str]
    known: Mapping[str, KnownSources]


def _before(ws: Workspace, name: str | None) -> _Before:
    from data_engine.engine.offline import OfflineFacts
    from data_engine.notebook.flow_files import module_files

    stood = ws.home.deployments().standing(module_files(ws.layout.flow_modules_dir))
    damaged = _damaged(ws, [flow for flow, one in stood.items() if one.kind == "as_deployed" and name in (None, flow)])
    known = {} if name is None else {name: OfflineFacts(ws.home).memory(name)}
    return _Before({one.id for one in ws.deployments()}, stood, damaged, known)


def _tell(
    ws: Workspace, name: str | None, entries: Sequence[CatalogEntry], before: _Before, note: str, as_json: bool
) -> int:
    """Say what came of it; the exit code."""
    from data_engine.engine.deployed_before import left_out
    from data_engine.engine.starting import starting_now

    refused = [entry for entry in entries if entry.error is not None]
    new = [one for one in ws.deployments() if one.id not in before.ids]
    changed = {one.flow for one in new} | {flow for flow, one in before.stood.items() if one.kind != "as_deployed"}
    left = left_out(ws.home, {entry.name for entry in entries}) if name is None else {}
    mended = before.damaged - changed
    lost = mended & _damaged(ws, mended)
    starts = starting_now(ws.home, new, entries, before.known)
    if as_json:
        print_json([*_as_json(ws, entries, changed, mended - lost, new, starts), *_left_as_json(ws, left)])
    else:
        say_settings(ws)
        _say_entries(entries, changed, mended)
        _say_lost_note(note, [*new, *refused])
        _say_mended(mended - lost, lost)
        _say_what_follows(ws, entries, new, left, starts)
        if name is not None and not refused:
            _say_compared(ws, entries)
    return 1 if refused or lost else 0


def _say_compared(ws: Workspace, entries: Sequence[CatalogEntry]) -> None:
    """Say how the notebook that was named compared with its kernel."""
    from data_engine.proof.kept import verdict_words

    for entry in entries:
        if words := verdict_words(ws.home, entry.path):
            say(f"{'compared':<{INDENT}}{entry.name}: {words}")


def _is_wanted(ws: Workspace) -> bool:
    """Whether everything is to go live, as somebody says who has seen what that is; without a terminal it is."""
    if not is_terminal(sys.stdin):
        return True
    going = _say_going_live(ws, None, as_json=False)
    return not going or typer.confirm(f"Deploy {'it' if going == 1 else f'all {going}'}?", err=True)


def _say_going_live(ws: Workspace, name: str | None, as_json: bool) -> int:
    """What a deploy would change, a line for each flow; how many lines."""
    from data_engine.engine.starting import going_live

    with in_flow_modules(ws):
        going = going_live(ws.home, name)
    if as_json:
        is_on = is_engine_on(ws)
        print_json([asdict(one) | {"standing": one.standing.as_dict(), "text": one.text(is_on=is_on)} for one in going])
        return len(going)
    for line in going_live_lines(ws, going):
        say(f"would change  {line}")
    if not going:
        say("Nothing would change.")
    return len(going)


def going_live_lines(ws: Workspace, going: Sequence[GoingLive]) -> list[str]:
    """What a deploy would change, a line for each flow."""
    is_on = is_engine_on(ws) if any(one.starting.text for one in going) else True
    return [one.text(is_on=is_on, how=typed("start")) for one in going]


def is_engine_on(ws: Workspace) -> bool:
    """Whether what is due runs now; of another workstation's engine that is believed."""
    status = ws.status()
    return status.lease.is_elsewhere or status.engine.on is not False


def starting_lines(ws: Workspace, starts: Mapping[str, Starting]) -> list[str]:
    """A line for each flow of which something starts at once."""
    told = {flow: one for flow, one in sorted(starts.items()) if one.text}
    is_on = is_engine_on(ws) if told else True
    return [f"starts        {flow}: {one.when(is_on=is_on, how=typed('start'))}" for flow, one in told.items()]


def _say_lost_note(note: str, belongs_to: Sequence[object]) -> None:
    """That a note is not kept, where one was given that belongs to nothing."""
    if note and not belongs_to:
        complain("warning: the note is not kept: nothing was deployed that it would belong to", style="yellow")


def _say_mended(mended: Collection[str], lost: Collection[str]) -> None:
    """Of which flows damaged files were written again, and of which that could not be done."""
    from data_engine.daemon.deployed_sets import lost_words

    for line in mended_lines(mended):
        say(line)
    if lost:
        complain(lost_words(lost), style="red")


def _damaged(ws: Workspace, flows: Collection[str]) -> set[str]:
    """Those of the flows of which a file of what they run is missing or damaged, on the share or here; none where that cannot be seen."""
    from data_engine.daemon.deployed_sets import Checked, mend

    try:
        found = mend(ws.home, flows, may_write=False) if flows else Checked()
    except OSError:
        return set()
    return {*found.mended, *found.lost}


def mended_lines(flows: Collection[str]) -> list[str]:
    """A line for each flow that was deployed before, and of which files had to be written again.

    Example:
        >>> mended_lines({"claims"})
        ['repaired      claims: deployed files were missing or damaged, and are restored']
    """
    return [f"repaired      {flow}: deployed files were missing or damaged, and are restored" for flow in sorted(flows)]


def _say_what_follows(
    ws: Workspace,
    entries: Sequence[CatalogEntry],
    new: Sequence[Deployment],
    left: Mapping[str, Deployment],
    starts: Mapping[str, Starting],
) -> None:
    """What these deployments mean for files and for other flows, and what was left out."""
    switches = ws.home.ledger().switches()
    for line in starting_lines(ws, starts):
        say(line)
    lines = (*undeployed_lines(new), *left_out_lines(left), *disabled_lines(new, switches))
    for line in (*lines, *lines_of_files_before(ws, new, entries)):
        complain(line, style="yellow")
    for warning in dict.fromkeys(warning for entry in entries for warning in entry.warnings):
        complain(f"warning: {warning}", style="yellow")
    say_others_not_deployed(ws, but={*left, *(entry.name for entry in entries)})


def _as_json(
    ws: Workspace,
    entries: Sequence[CatalogEntry],
    changed: Collection[str],
    mended: Collection[str],
    new: Sequence[Deployment],
    starts: Mapping[str, Starting],
) -> list[dict[str, Any]]:
    """What came of each module, for programs."""
    from data_engine.engine.files_before import FilesBefore, files_before
    from data_engine.engine.starting import Starting

    files = files_before(ws.home, new, entries)
    standing = ws.home.deployments().standing(entry.name for entry in entries)
    return [
        {
            "name": entry.name,
            "path": str(entry.path),
            "warnings": list(entry.warnings),
            "error": None if entry.error is None else entry.error.as_dict(),
            "changed": entry.error is None and entry.name in changed,
            "mended": entry.name in mended,
            "left_out": None,
            "files_before": asdict(files.get(entry.name, FilesBefore())),
            "starts": asdict(starts.get(entry.name, Starting())),
        }
        | standing[entry.name].as_json()
        for entry in entries
    ]


def _left_as_json(ws: Workspace, left: Mapping[str, Deployment]) -> list[dict[str, Any]]:
    """What a deploy of everything left out, for programs: who undeployed it, and when."""
    from data_engine.notebook.flow_files import module_files

    files = module_files(ws.layout.flow_modules_dir)
    standing = ws.home.deployments().standing(left)
    return [
        {
            "name": flow,
            "path": str(files[flow][0]),
            "warnings": [],
            "error": None,
            "changed": False,
            "mended": False,
            "left_out": {"by": row.who, "at_utc": row.at_utc},
            "files_before": {"done": 0, "held": 0},
            "starts": {"files": 0, "is_batch": False, "slots": []},
        }
        | standing[flow].as_json()
        for flow, row in left.items()
    ]


def _say_entries(entries: Sequence[CatalogEntry], changed: Collection[str], mended: Collection[str]) -> None:
    """What came of each module; of those that are as they were, if there are several, how many. Those `mended` are told elsewhere."""
    as_before = [entry for entry in entries if entry.error is None and entry.name not in {*changed, *mended}]
    for entry in entries:
        if entry.error is not None:
            complain(f"not deployed  {entry.path.name}: {entry.error}", style="red")
        elif entry.name in changed:
            say(f"deployed      {entry.path.name}")
    if as_before:
        what = as_before[0].path.name if len(as_before) == 1 else f"{len(as_before):,} flows"
        say(f"unchanged     {what}: as deployed before")


def lines_of_files_before(ws: Workspace, new: Sequence[Deployment], entries: Iterable[CatalogEntry]) -> list[str]:
    """What is told of the files of the flows that were deployed anew: which count as done, which are held and what tries them again."""
    from data_engine.engine.files_before import files_before, files_before_lines

    found = files_before(ws.home, new, entries)
    if not any(files.held for files in found.values()):
        return files_before_lines(found)
    disabled = [flow for flow, switch in ws.home.ledger().switches().items() if not switch.is_enabled]
    return files_before_lines(found, disabled=disabled, is_engine_on=is_engine_on(ws))


def undeployed_lines(new: Sequence[Deployment]) -> list[str]:
    """A line for each flow that these new deployments let run no more.

    Example:
        >>> from data_engine.model import Deployment
        >>> undeployed_lines([Deployment("d1", 1, "claims", "withdraw", "")])
        ['undeployed    claims: its module is gone, so production does not run it any more. To let it run again as it was deployed: data-engine rollback claims']
        >>> undeployed_lines([Deployment("d1", 1, "parts", "deploy", "s1"), Deployment("d2", 2, "claims", "withdraw", "", of="d1")])
        ['renamed       claims is parts now: production runs that in its place, and what claims has done counts as done']
    """
    names = {one.id: one.flow for one in new}
    lines = []
    for one in new:
        if one.kind != "withdraw":
            continue
        if one.of in names:
            now = names[one.of]
            lines.append(
                f"renamed       {one.flow} is {now} now: production runs that in its place, and what {one.flow} has done counts as done"
            )
        else:
            lines.append(
                f"undeployed    {one.flow}: its module is gone, so production does not run it any more."
                f" To let it run again as it was deployed: {typed('rollback', one.flow)}"
            )
    return sorted(lines)


def disabled_lines(new: Sequence[Deployment], switches: Mapping[str, Switch]) -> list[str]:
    """A line for each flow that was deployed and does not run by itself, because somebody had disabled it.

    Example:
        >>> from data_engine.ledger.switch import Switch
        >>> from data_engine.model import Deployment
        >>> disabled_lines([Deployment("d1", 1, "claims", "deploy", "s1")], {"claims": Switch(False)})
        ['disabled      claims: it stays disabled, and runs by hand only. To let it run by itself: data-engine enable claims']
    """
    return [
        f"disabled      {flow}: it stays disabled, and runs by hand only. To let it run by itself: {typed('enable', flow)}"
        for flow in sorted({one.flow for one in new if one.kind != "withdraw"})
        if flow in switches and not switches[flow].is_enabled
    ]


def left_out_lines(left: Mapping[str, Deployment]) -> list[str]:
    """A line for each flow that a deploy of everything left as somebody undeployed it.

    Example:
        >>> from data_engine.model import Deployment
        >>> left_out_lines({"claims": Deployment("d1", 1, "claims", "withdraw", "", by="anna", machine="ANNA-PC")})
        ['left out      claims: anna@ANNA-PC undeployed it. To let production run it again, as it is now: data-engine deploy claims']
    """
    return [
        f"left out      {flow}: {one.who} undeployed it. To let production run it again, as it is now: {typed('deploy', flow)}"
        for flow, one in left.items()
    ]


def undeploy(ctx: typer.Context, name: FlowName, note: Note = "", wait: Wait = True, as_json: AsJson = False) -> int:
    """Stop running a flow in production, whether its notebook is there or gone. `rollback` undoes that."""
    row = chosen_workspace(ctx).undeploy(name, note, wait)
    if row is None:
        return say_left(as_json)
    if as_json:
        print_json(row.as_dict())
        return 0
    say(f"Production does not run {name} any more. To let it run again as it was deployed: {typed('rollback', name)}")
    return 0


def say_others_not_deployed(ws: Workspace, but: set[str]) -> None:
    """In one line how many other flows are not deployed as they are now; without those that somebody undeployed."""
    from data_engine.engine.deployed_before import left_out

    known, status = {*but, *left_out(ws.home, but)}, ws.status()
    if status.lease.state in ("unreachable", "damaged"):
        fix = f"; fix: {status.lease.fix}" if status.lease.damage is not None else ""
        complain(
            f"warning: other workstations do not know yet what is deployed: {status.lease.words}{fix}", style="yellow"
        )
    others = to_deploy([flow for flow in status.flows if flow.name not in known], ws.layout.flow_modules_dir)
    if (line := others_words(others)) is not None:
        complain(line, style="yellow")


def to_deploy(flows: Sequence[FlowStatus], folder: Path) -> dict[str, Standing]:
    """The flows that are not deployed as they are now, each with how it stands; without those that nobody has ever deployed and
    that are broken, or the example as it came with the workspace.
    """
    from data_engine.workspace.provision import is_example

    return {
        flow.name: flow.standing
        for flow in flows
        if flow.standing.kind != "as_deployed"
        and not (
            flow.standing.kind == "not_deployed"
            and (flow.state_kind == "broken" or is_example(folder / f"{flow.name}.ipynb"))
        )
    }


def others_words(others: Mapping[str, Standing]) -> str | None:
    """How many of these flows differ from what is deployed of them, and how many are not deployed at all; None without any.

    Example:
        >>> from data_engine.notebook.standing import NOT_DEPLOYED, Standing
        >>> others_words({"claims": Standing("edited"), "parts": NOT_DEPLOYED, "rates": NOT_DEPLOYED})
        'Other flows: 1 differs from what is deployed, 2 are not deployed; `data-engine list` shows them.'
        >>> others_words({})
    """
    never = sum(one.kind == "not_deployed" for one in others.values())
    edited = len(others) - never
    told = [
        *([f"{counted(edited, 'differs', 'differ')} from what is deployed"] if edited else []),
        *([f"{counted(never, 'is', 'are')} not deployed"] if never else []),
    ]
    shows = f"`{typed('list')}` shows {'it' if len(others) == 1 else 'them'}"
    return f"Other flows: {', '.join(told)}; {shows}." if told else None


def say_not_deployed(ws: Workspace) -> None:
    """Name the flows that are not deployed as they are now."""
    for line in lines_to_deploy(ws, ws.status().flows):
        complain(line, style="yellow")


def lines_to_deploy(ws: Workspace, found: Sequence[FlowStatus]) -> Sequence[str]:
    """Which of the flows are not deployed as they are now, and how to deploy them; without those that somebody undeployed."""
    from data_engine.engine.deployed_before import left_out

    known = left_out(ws.home, ())
    flows = [flow for flow in found if flow.name not in known]
    alone = {flow.name: flow.standing for flow in flows} if len(flows) == 1 else {}
    return not_deployed_lines(to_deploy(flows, ws.layout.flow_modules_dir) or alone)


def not_deployed_lines(standing: Mapping[str, Standing]) -> Sequence[str]:
    """A line for each flow whose module is not as deployed; one for all that were never deployed, where there are several.

    Example:
        >>> from data_engine.notebook.standing import AS_DEPLOYED, NOT_DEPLOYED
        >>> not_deployed_lines({"claims": NOT_DEPLOYED, "parts": AS_DEPLOYED})
        ['claims: not deployed. To let production run it: data-engine deploy claims']
        >>> not_deployed_lines({"claims": NOT_DEPLOYED, "parts": replace(NOT_DEPLOYED, digest="c0ffee")})
        ['Not deployed: claims, parts; `data-engine deploy NAME` lets production run one.']
    """
    differs = {name: one for name, one in sorted(standing.items()) if one.kind != "as_deployed"}
    never = {name: one for name, one in differs.items() if replace(one, digest="") == NOT_DEPLOYED}
    if len(never) > 1:
        differs = {name: one for name, one in differs.items() if name not in never}
        names = first_few(sorted(never), _MOST_NAMED)
        return [
            *not_deployed_lines(differs),
            f"Not deployed: {names}; `{typed('deploy')} NAME` lets production run one.",
        ]
    return [f"{name}: {one.text}. {_sentence(one.fix) or _way_to_deploy(name, one)}" for name, one in differs.items()]


def _sentence(text: str | None) -> str:
    return "" if not text else text[0].upper() + text[1:]


def _way_to_deploy(name: str, standing: Standing) -> str:
    if standing.shares_with is None:
        return f"To let production run it: {typed('deploy', name)}"
    return (
        f"{standing.shares_with}, which is deployed, writes to the same mirror: give this flow its own,"
        f" or let both write there: {typed('deploy', name, '--yes')}"
    )


def say_left(as_json: bool) -> int:
    """That the owner was asked, and where its answer is told; exit code 0."""
    if as_json:
        print_json({"asked": True})
    else:
        say("The owner was asked; `data-engine status` shows the answer.")
    return 0
