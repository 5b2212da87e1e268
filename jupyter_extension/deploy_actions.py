"""What the panel asks for that changes what production runs, or shows what would change."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeAlias

from data_engine.client import Workspace
from data_engine.daemon.deploying import Outcome
from data_engine.errors import error_of
from data_engine.typed import typed
from jupyter_extension.feed import daemon_of, from_child
from jupyter_extension.planning import given_key, plan_view
from jupyter_extension.view import as_json

Args: TypeAlias = Mapping[str, Any]


def deploy(ws: Workspace, args: Args) -> str:
    """Let production run the modules as they are."""
    flow, force, approve = args["flow"], args["force"], args["approve"]
    daemon = daemon_of(ws)
    if daemon is not None:
        told = daemon.post("/deploy", {"flow": flow, "force": force, "approve": approve, "wait": False}, timeout_s=60.0)
        if "request_id" in told:
            return f"{told['owner']} was asked to deploy {flow or 'every good module'}."
        outcome = Outcome.read(told)
        refused = [entry.error for entry in outcome.entries if entry.error is not None]
        if flow is not None and refused:
            raise refused[0]
        if outcome.renamed:
            names = ", ".join(f"{new}, which was {old}" for old, new in outcome.renamed.items())
            return f"Production runs {names}."
        if outcome.withdrawn:
            names = ", ".join(outcome.withdrawn)
            return f"Production runs every good module as it is now, and {names} no more: the module is gone."
    else:
        options = [*(["--yes"] if force else []), *(["--approve"] if approve else [])]
        entries = from_child(ws.root, "deploy", *([] if flow is None else [flow]), *options)
        told_of = [entry["error"] for entry in entries if entry["error"] is not None]
        if flow is not None and told_of:
            raise error_of(told_of[0])
    return f"Production runs {flow or 'every good module'} as it is now."


def plan(ws: Workspace, args: Args) -> Any:
    """What a deploy would change."""
    key = given_key(args["key"])
    return as_json(plan_view(ws, args["flow"], sources=args["sources"], key=key, yes=args["yes"]))


def rollback(ws: Workspace, args: Args) -> str:
    """Let production run a flow as it was deployed before."""
    row = ws.rollback(args["flow"], args["to"], wait=False)
    if row is None:
        return f"The owner was asked to roll back {args['flow']}."
    return f"Production runs {row.flow} again as it was deployed in {(row.of or row.id)[:8]}."


def undeploy(ws: Workspace, args: Args) -> str:
    """Let production run a flow no more."""
    if ws.undeploy(args["flow"], wait=False) is None:
        return f"The owner was asked to undeploy {args['flow']}."
    again = typed("rollback", args["flow"])
    return f"Production does not run {args['flow']} any more. To let it run again as it was deployed: {again}"


def restore(ws: Workspace, args: Args) -> str:
    """Put a module that is gone back as it was deployed."""
    return f"Wrote {', '.join(path.name for path in ws.restore(args['flow']))}, as it was deployed."
