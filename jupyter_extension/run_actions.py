"""What the panel asks for that runs a flow, and what is asked back before files that are done run again."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeAlias

from data_engine.client import Workspace
from data_engine.counted import counted
from data_engine.errors import FlowValidationError
from data_engine.flow.parameter_values import Given
from data_engine.record import as_json
from jupyter_extension.details import flow_entry
from jupyter_extension.files import flow_files
from jupyter_extension.run_question import MOST_DUE, RunQuestion, run_question, with_unsaved

Args: TypeAlias = Mapping[str, Any]


def run(ws: Workspace, args: Args) -> dict[str, Any]:
    """Run a flow; asked to `take` what it asks first, it asks where a polled flow has more than one file, or one that is done, and where
    files of it are `unsaved` in JupyterLab."""
    name, take = args["flow"], args["take"]
    if take not in ("ask", "due", "all"):
        raise FlowValidationError(f"a run cannot take {take!r}", where="the panel", fix="reload the page")
    given = {key: Given.text(value) if isinstance(value, str) else value for key, value in args["params"].items()}
    if take == "ask" and (question := _question(ws, name, args["source"], args["unsaved"])) is not None:
        return {"run_ids": [], "question": as_json(question)}
    if take == "due":
        sources: list[str | None] = [*_due_sources(ws, name)]
        if not sources:
            return {"run_ids": [], "said": f"No file of {name} is due any more."}
    else:
        sources = [args["source"]]
    run_ids = [run_id for one in sources for run_id in ws.run(name, wait=False, source=one, params=given)]
    if not run_ids and (told := asked(ws, f"run {name}")):
        return {"run_ids": [], "said": told}
    if not run_ids:
        return {"run_ids": [], "said": f"{name} has no source file to run with."}
    return {"run_ids": run_ids, "said": f"{name}: {counted(len(run_ids), 'run')} started."}


def _question(ws: Workspace, name: str, source: str | None, unsaved: list[str]) -> RunQuestion | None:
    """What is asked first: of the flow's files, unless it is to run for one `source`, and of edits that are not saved, which no run takes."""
    question = None if source is not None else _run_question(ws, name)
    return with_unsaved(question, unsaved) if unsaved and name in ws.home.deployments().deployed() else question


def _run_question(ws: Workspace, name: str) -> RunQuestion | None:
    """What is asked before the flow runs for its files; None where it is not polled, or runs once for all of them."""
    try:
        entry = flow_entry(ws, name)
        if entry["mode"] != "poll" or (entry.get("options") or {}).get("run_as") == "batch":
            return None
        files = flow_files(ws, name, search="", group="", limit=0)
    except FlowValidationError:  # the run itself says what is wrong
        return None
    counts = {group: count for group, _, count in files.groups}
    return run_question(entry["title"], counts, may_choose=not ws.lease().is_elsewhere)


def _due_sources(ws: Workspace, name: str) -> list[str]:
    """The files of a flow that wait for a run, or are held."""
    found = (flow_files(ws, name, search="", group=group, limit=MOST_DUE) for group in ("held", "waiting"))
    return [one.path for files in found for one in files.files]


def asked(ws: Workspace, what: str) -> str | None:
    """That the owner was asked to do it, where that is another workstation; its answer comes with the status."""
    lease = ws.lease()
    if lease.owner is None or lease.is_mine:
        return None
    return f"{lease.owner['host_name']} was asked to {what}."
