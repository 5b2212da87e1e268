"""What is said beside a deploy: what goes live, what of it starts at once, and which flows are not deployed as they are."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

from data_engine.engine.local_workspace import LocalWorkspace
from data_engine.formatting import cli_line, plural
from data_engine.ledger.switch import Switch
from data_engine.model import Deployment
from data_engine.notebook.catalog import CatalogEntry
from data_engine.status.record import WorkspaceStatus
from data_engine.status.starting import FilesBefore, GoingLive, Starting, files_before

INDENT = 14
"""How many characters of a line are the word that says what it is about."""
_MOST_NAMED = 5


def going_live_lines(going: Sequence[GoingLive], status: Callable[[], WorkspaceStatus]) -> list[str]:
    """What a deploy would change, a line for each flow; the `status` is asked only where something starts."""
    is_on = is_engine_on(status()) if any(one.starting.text for one in going) else True
    return [one.text(is_on=is_on) for one in going]


def is_engine_on(status: WorkspaceStatus) -> bool:
    """Whether what is due runs now; of another workstation's engine that is believed."""
    return status.lease.is_elsewhere or status.engine.on is not False


def starting_lines(starts: Mapping[str, Starting], status: Callable[[], WorkspaceStatus]) -> list[str]:
    """A line for each flow of which something starts at once."""
    told = {flow: one for flow, one in sorted(starts.items()) if one.text}
    is_on = is_engine_on(status()) if told else True
    return [f"starts        {flow}: {one.when(is_on=is_on, how=cli_line('start'))}" for flow, one in told.items()]


def lines_of_files_before(
    home: LocalWorkspace,
    new: Sequence[Deployment],
    entries: Iterable[CatalogEntry],
    status: Callable[[], WorkspaceStatus],
) -> list[str]:
    """What is told of the files of the flows that were deployed anew: which count as done, which are held and what tries them again."""
    found = files_before(home, new, entries)
    if not any(files.held for files in found.values()):
        return files_before_lines(found)
    disabled = [flow for flow, switch in home.ledger().switches().items() if not switch.is_enabled]
    return files_before_lines(found, disabled=disabled, is_engine_on=is_engine_on(status()))


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
                f" To let it run again as it was deployed: {cli_line('rollback', one.flow)}"
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
        f"disabled      {flow}: it stays disabled, and runs by hand only. To let it run by itself: {cli_line('enable', flow)}"
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
        f"left out      {flow}: {one.who} undeployed it. To let production run it again, as it is now: {cli_line('deploy', flow)}"
        for flow, one in left.items()
    ]


def files_before_lines(
    found: Mapping[str, FilesBefore],
    *,
    disabled: Iterable[str] = (),
    is_engine_on: bool = True,
    command: Callable[..., str] = cli_line,
) -> list[str]:
    """A line for each flow that has files which were done before, by code that may have been another, and one for its held files.

    `command` names what does them again, of a verb and the words behind it.

    Example:
        >>> files_before_lines({"claims": FilesBefore(done=1204)})
        ['not again     claims: 1,204 files were done before and count as done. To do them again: data-engine backfill claims --reprocess all']
        >>> files_before_lines({"claims": FilesBefore(held=1)})
        ['held          claims: 1 file is held, as its last run failed or was stopped. To try it again: data-engine retry claims']
        >>> files_before_lines({"claims": FilesBefore(held=2)}, is_engine_on=False)
        ['held          claims: 2 files are held, as their last run failed or was stopped. To try them again: data-engine start']
    """
    off = set(disabled)
    lines = []
    for flow, files in sorted(found.items()):
        if files.done:
            one = files.done == 1
            told = "1 file was done before and counts" if one else f"{files.done:,} files were done before and count"
            again = command("backfill", flow, "--reprocess", "all")
            lines.append(f"not again     {flow}: {told} as done. To do {'it' if one else 'them'} again: {again}")
        if files.held:
            one = files.held == 1
            told = f"{plural(files.held, 'file is', 'files are')} held, as {'its' if one else 'their'} last run failed or was stopped"
            ways = [command("enable", flow)] if flow in off else []
            ways.append(command("retry", flow) if is_engine_on else command("start"))
            lines.append(
                f"held          {flow}: {told}. To try {'it' if one else 'them'} again: {', then '.join(ways)}"
            )
    return lines
