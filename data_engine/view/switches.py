"""What runs by itself: flows that are enabled or disabled, and failed sources that are tried again."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Annotated

from data_engine.commands.fields import help_of
from data_engine.commands.runs import Retry
from data_engine.commands.switches import Disable, Enable
from data_engine.errors import FlowValidationError
from data_engine.formatting import cli_line
from data_engine.notebook.deployments import deployed_flow
from data_engine.status.deploy_lines import Starting, starting
from data_engine.status.deployed_before import find_flow
from data_engine.status.sentences import freed_text
from data_engine.view.flows import FlowName, unknown_flow_of_source
from data_engine.view.verb import Answer, Option, Place, Subject, Wait, said, was_asked

if TYPE_CHECKING:
    from data_engine.status.record import WorkspaceStatus

FlowNames = Annotated[list[str], Subject("NAME", "The flows: their files' names without the ending.", "flows")]


def retry(
    place: Place,
    name: FlowName = None,
    source: Annotated[str | None, Option(help_of(Retry, "source"), "PATH")] = None,
    accept: Annotated[bool, Option(help_of(Retry, "accept"))] = False,
    wait: Wait = True,
) -> Answer:
    """Try failed sources again: of one flow, of all, or one file."""
    if source is not None and (name := place.own_name(name)) is None:
        raise unknown_flow_of_source("retry", "FLOW", "--source", "PATH")
    freed = place.workspace._do(Retry(name, place.path(source), accept or None), wait)
    if freed is None:
        return was_asked()
    words = freed_text(freed.freed, freed.accepted, freed.left)
    runs = cli_line("runs", *([] if name is None else [name]))
    then = f" `{runs}` shows the result." if freed.freed or freed.accepted else ""
    facts = {"freed": freed.freed, "accepted": freed.accepted, "left": freed.left}
    return said(f"{words}{then}", {"flow": name, "source": source} | facts)


def enable(place: Place, names: FlowNames, wait: Wait = True) -> Answer:
    """Let flows run by themselves again."""
    ws = place.workspace
    before = ws.status()
    disabled = set() if before.lease.is_elsewhere else {flow.name for flow in before.flows if not flow.enabled}

    def switch(name: str) -> Answer:
        starts = _starting(place, name) if name in disabled else Starting()
        if ws._do(Enable(name), wait) is None:
            return was_asked()
        facts = {"flow": name, "enabled": True, "slots": starts.slots, "files": starts.files}
        lines = enabled_text(before, name), starts.when(is_on=before.engine.on is True, how=cli_line("start"))
        return said("\n".join(filter(None, lines)), facts)

    return _switched(place, names, switch)


def enabled_text(status: WorkspaceStatus, name: str) -> str:
    """The sentence about a flow that was enabled.

    Example:
        >>> from data_engine.status.record import FlowStatus, WorkspaceStatus
        >>> enabled_text(WorkspaceStatus("c", "/c", flows=(FlowStatus("claims", mode="manual"),)), "claims")
        'claims is enabled. It has no trigger: it runs when somebody runs it (data-engine run claims).'
    """
    if _is_not_deployed(status, name):
        return f"{name} is enabled, but runs by itself only when it is deployed: {cli_line('deploy', name)}"
    if _is_manual(status, name):
        return f"{name} is enabled. It has no trigger: it runs when somebody runs it ({cli_line('run', name)})."
    return f"{name} is enabled: it runs as its trigger says while the engine is on."


def disable(
    place: Place,
    names: FlowNames,
    note: Annotated[str, Option(help_of(Disable, "note"), "TEXT")] = "",
    wait: Wait = True,
) -> Answer:
    """Let flows run by hand only. Who disabled them, and when, is recorded and shown."""
    ws = place.workspace
    status = ws.status()

    def switch(name: str) -> Answer:
        if ws._do(Disable(name, note), wait) is None:
            return was_asked()
        return said(disabled_text(status, name), {"flow": name, "enabled": False})

    return _switched(place, names, switch)


def disabled_text(status: WorkspaceStatus, name: str) -> str:
    """The sentence about a flow that was disabled."""
    back = cli_line("enable", name)
    if _is_not_deployed(status, name):
        return f"{name} is not deployed, so nothing of it runs by itself. Once it is deployed, it runs by hand only, until you enable it: {back}"
    if _is_manual(status, name):
        return f"{name} has no trigger, so it runs by hand only as before; with one it does so too, until it is enabled: {back}"
    return f"{name} runs by hand only, until it is enabled: {back}"


def _switched(place: Place, names: Sequence[str], switch: Callable[[str], Answer]) -> Answer:
    """Switch several flows, or none where the name of one is misspelt."""
    home = place.workspace.home
    named = list(dict.fromkeys(names or [place.flow_name(None)]))
    if len(named) > 1:
        deployed = home.deployments().deployed()
        for name in named:
            if name not in deployed:
                find_flow(home, name)
    first, *more = [switch(name) for name in named]
    if not more:
        return first
    lines = dict.fromkeys(one.card().title for one in (first, *more))
    return said("\n".join(lines), [one.facts() for one in (first, *more)])


def _is_not_deployed(status: WorkspaceStatus, name: str) -> bool:
    """Whether the flow is not deployed; False where another workstation owns the workspace."""
    found = status.flow(name)
    return found is not None and not status.lease.is_elsewhere and found.deployment_status.kind == "not_deployed"


def _is_manual(status: WorkspaceStatus, name: str) -> bool:
    found = status.flow(name)
    return found is not None and found.mode == "manual"


def _starting(place: Place, name: str) -> Starting:
    """What starts once a disabled flow is enabled; nothing where that is not known."""
    home = place.workspace.home
    with suppress(FlowValidationError), place.inside():  # it is enabled all the same
        if (flow := deployed_flow(home.deployments(), name)) is not None:
            return starting(home, flow)
    return Starting()
