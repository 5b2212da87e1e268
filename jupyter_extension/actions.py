"""What the panel can ask for, by name: one table of requests, used by the Jupyter server and by the kernel.

Every request takes JSON and gives JSON. It runs in a thread of the caller's and imports no code of an author's.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeAlias

from data_engine.client import Workspace
from data_engine.counted import counted
from data_engine.cut import first_few
from data_engine.daemon.fields import ANY_TEXT, COUNT, FLAG, OBJECT, PATH, PATHS, TEXT, TEXTS, Field, Fields, checked
from data_engine.errors import FlowValidationError, WorkspaceError
from data_engine.flow.debug import json_safe
from data_engine.flow.parameter_values import Given
from data_engine.nofollow import opened, remove_tree
from data_engine.platforms.names import with_home
from data_engine.status.sentences import ends_words, freed_words, never_begins_words
from data_engine.version import __version__
from data_engine.workspace.machine import (
    machine_id,
)
from jupyter_extension import deploy_actions, machine_actions, run_actions
from jupyter_extension.details import debug_frames, flow_details, run_details
from jupyter_extension.feed import daemon_of
from jupyter_extension.files import flow_files
from jupyter_extension.inspect_child import ask_child
from jupyter_extension.outputs import flow_outputs
from jupyter_extension.run_actions import asked
from jupyter_extension.template import new_flow_notebook
from jupyter_extension.trends import trends_view
from jupyter_extension.view import as_json

Args: TypeAlias = Mapping[str, Any]


def answer(root: str | None, action: str, args: Args) -> dict[str, Any]:
    """The answer to a request about the workspace at `root`: `{"result": ...}` or `{"error": {what, where, fix}}`.

    Example:
        >>> answer(None, "dance", {})["error"]["what"]
        "the panel knows no action 'dance'"
    """
    try:
        given = check(action, args)
        if action in _ANYWHERE:
            return {"result": _ANYWHERE[action][0](root, given)}
        if root is None:
            raise WorkspaceError("no workspace is chosen", where="the panel", fix="choose one at the top of the panel")
        return {"result": _IN_WORKSPACE[action][0](Workspace(root), given)}
    except FlowValidationError as error:
        return {"error": error.as_dict()}
    except Exception as error:  # whatever it is, the page must be told
        what = f"{action} failed: {type(error).__name__}: {error}"
        return {"error": {"what": what, "where": None, "fix": "`data-engine doctor` checks this machine"}}


def check(action: str, args: Args) -> Args:
    """The arguments of an action, each of its type; those it does not know are left out.

    Raises:
        BadRequestError: one is missing, or of the wrong type.
        FlowValidationError: there is no such action.

    Example:
        >>> check("reset", {})
        {'flow': None}
    """
    if action not in _ANYWHERE and action not in _IN_WORKSPACE:
        raise FlowValidationError(
            f"the panel knows no action {action!r}",
            where="the request",
            fix="restart JupyterLab and reload the page: one of the two is older than the installed package",
        )
    fields = _ANYWHERE[action][1] if action in _ANYWHERE else _IN_WORKSPACE[action][1]
    return checked(args, fields, action)


def place_of(ws: Workspace) -> dict[str, str]:
    """What tells this workspace, as this machine keeps it, from any other place of the same name."""
    local = ws.home.local
    return {
        "root": str(ws.root),
        "identity": local.identity,
        "machine_id": machine_id(),
        "runtime_dir": str(local.runtime_dir),
    }


def is_here(place: Mapping[str, Any]) -> bool:
    """Whether this process sees the same workspace with the same state of the same machine."""
    try:
        return place_of(Workspace(str(place.get("root", "")))) == dict(place)
    except FlowValidationError:
        return False


# -- of a workspace ------------------------------------------------------------------------------------------------


def _start_daemon(ws: Workspace, args: Args) -> str:
    ws.start()
    return "The daemon runs; it outlives this kernel and JupyterLab."


def _shutdown(ws: Workspace, args: Args) -> str:
    ws.stop_engine()
    ws.shutdown()
    return "The daemon ends when its running work is done."


def _kill(ws: Workspace, args: Args) -> str:
    return "Ended the daemon and its workers." if ws.kill() else "No daemon was running."


def _start_engine(ws: Workspace, args: Args) -> str:
    ws.start_engine()
    flows = ws.status().flows
    undeployed = [flow.name for flow in flows if flow.state_kind == "not_deployed"]
    edited = [flow.name for flow in flows if flow.standing.is_edited and flow.standing.rolled_back_to is None]
    told = ["The engine is on."]
    if undeployed:
        what = "is not deployed yet, so it does" if len(undeployed) == 1 else "are not deployed yet, so they do"
        told.append(f"{first_few(undeployed, 3)} {what} not run: open the flow and press Deploy.")
    if edited:
        what = "was edited and runs as it was" if len(edited) == 1 else "were edited and run as they were"
        told.append(f"{first_few(edited, 3)} {what} deployed before.")
    return " ".join(told)


def _stop_engine(ws: Workspace, args: Args) -> str:
    ws.stop_engine()
    return "The engine is off; running work finishes."


def _backfill(ws: Workspace, args: Args) -> dict[str, Any]:
    """What would run, or that it has begun."""
    given = {key: Given.text(value) if isinstance(value, str) else value for key, value in args["params"].items()}
    try:
        found = ws.backfill(
            args["flow"],
            args["since"],
            args["until"],
            args["where"],
            given,
            args["reprocess"],
            dry_run=args["dry_run"],
            digest=args["digest"],
            wait=False,
        )
    except FlowValidationError as error:
        raise of_form(error) from error
    if found is None:
        return {"said": asked(ws, f"backfill {args['flow']}") or "Its owner was asked."}
    if args["dry_run"]:
        return {
            "total": found.total,
            "digest": found.digest,
            "known": as_json(found.known),
            "planned": as_json(found.planned[:50]),
        }
    return {"said": f"{found.flow}: {counted(found.total, 'run')}, after everything that is due."}


_FIELDS = {"since": "From", "until": "To the end of", "where": "Files"}
_DAYS = "write a day as 2026-12-31, a month as 2026-12, or a time as 2026-12-31T06:00"


def of_form(error: FlowValidationError) -> FlowValidationError:
    """The error of a backfill, which names the field of the panel's form in place of the argument.

    Example:
        >>> of_form(FlowValidationError("since cannot be '31.12.2026'", where="backfill(since=...)", fix="...")).what
        "From cannot be '31.12.2026'"
    """
    for argument, label in _FIELDS.items():
        if error.where == f"backfill({argument}=...)":
            what = error.what.removeprefix(f"{argument} ")
            what = f"{label} {what}" if what != error.what else f"{label}: {what}"
            return FlowValidationError(what, where="", fix=_DAYS if argument != "where" else error.fix)
    if error.where == "backfill(since=..., until=...)":
        return FlowValidationError(error.what, where="", fix='give a "From" that is before "To the end of"')
    return error


def _stop_backfill(ws: Workspace, args: Args) -> str:
    ws.stop_backfill(args["id"], wait=False)
    return (
        asked(ws, "stop the backfill") or "The backfill starts no more runs; runs that have begun go on to their end."
    )


def _retry_backfill(ws: Workspace, args: Args) -> str:
    ws.retry_backfill(args["id"], wait=False)
    return asked(ws, "go on with the backfill") or "The backfill goes on with the runs that are left."


def _stop_run(ws: Workspace, args: Args) -> str:
    if args["run_id"] is None:
        flow = checked(args, {"flow": TEXT}, "stop_run")["flow"]
        what = ends_words(flow)
        return f"{what} It is disabled until you enable it again." if ws.stop_flow(flow) else what
    run_ids = _run_ids(ws, args)
    had_begun = [ws.stop_run(run_id) for run_id in run_ids]
    if any(had_begun):
        return ends_words()
    return never_begins_words(ws.home.ledger().run(run_ids[0]) if run_ids else None)


def _kill_run(ws: Workspace, args: Args) -> str:
    for run_id in _run_ids(ws, args):
        ws.kill_run(run_id)
    return "Its process was ended."


def _run_ids(ws: Workspace, args: Args) -> list[str]:
    if args["run_id"] is not None:
        return [args["run_id"]]
    flow, daemon = checked(args, {"flow": TEXT}, "stop_run")["flow"], daemon_of(ws)
    active = [] if daemon is None else daemon.get("/status")["active_runs"]
    found = [run["run_id"] for run in active if run["flow"] == flow and run["in_daemon"]]
    if not found:
        raise FlowValidationError(f"no run of {flow} is under way", where="the panel", fix="it has just ended")
    return found


def _retry(ws: Workspace, args: Args) -> str:
    freed = ws.retry(args["flow"], args["source"], wait=False)
    return asked(ws, "retry held files") or freed_words(freed)


def _enable(ws: Workspace, args: Args) -> str:
    ws.enable(args["flow"], wait=False)
    return asked(ws, f"enable {args['flow']}") or f"{args['flow']} runs by itself when the engine is on."


def _disable(ws: Workspace, args: Args) -> str:
    ws.disable(args["flow"], wait=False, note=args["note"])
    return asked(ws, f"disable {args['flow']}") or f"{args['flow']} runs by hand only."


def _reset(ws: Workspace, args: Args) -> str:
    flow = args["flow"]
    count = ws.reset(flow)
    return f"Forgot {counted(count, 'run')} of {flow or 'every flow'}; its files are new again."


def _lease(ws: Workspace, args: Args) -> str:
    does = args["do"]
    if does == "request":
        ws.request_control()
        return "Control requested: this workstation gets it when the owner agrees."
    if does == "withdraw":
        ws.withdraw_request()
        return "The request for control is withdrawn."
    if does == "release":
        why = ws.release_control(now=args["now"]).said
        when = "now" if args["now"] else "when running work is done"
        return f"Control is given up {when}." if why is None else str(why)
    if does == "take-over":
        ws.take_over()
        return "This workstation has control."
    if does == "repair":
        return ws.repair_lease()
    raise FlowValidationError(f"the lease knows no {does!r}", where="the panel", fix="reload the page")


def _flow(ws: Workspace, args: Args) -> Any:
    return as_json(flow_details(ws, args["flow"], limit=args["limit"]))


def _files(ws: Workspace, args: Args) -> Any:
    asked = {name: args[name] for name in ("search", "group", "limit")}
    return as_json(flow_files(ws, args["flow"], **asked))


def _outputs(ws: Workspace, args: Args) -> Any:
    return as_json(flow_outputs(ws, search=args["search"], limit=args["limit"]))


def _run_details(ws: Workspace, args: Args) -> Any:
    return as_json(run_details(ws, args["run_id"]))


def _compare(ws: Workspace, args: Args) -> Any:
    return {"lines": ws.compare(args["run_a"], args["run_b"]).lines()}


def _trends(ws: Workspace, args: Args) -> Any:
    return as_json(trends_view(ws.trends(args["flow"])))


def _debug(ws: Workspace, args: Args) -> Any:
    return {"frames": debug_frames(ws)}


def _clear_debug(ws: Workspace, args: Args) -> str:
    folder, count, left = ws.home.local.debug_dir, 0, 0
    try:
        with opened(folder.parent, folder) as place:
            saved = [entry for entry in place.entries() if "__" in entry.name]
    except FileNotFoundError:
        saved = []
    except OSError as error:
        raise WorkspaceError(
            f"the saved frames cannot be removed: {error.strerror}", where=str(folder), fix="remove it yourself"
        ) from error
    for name, kind in saved:
        if kind == "file" and not remove_tree(folder.parent, folder / name):
            count += name.endswith(".json")
        else:
            left += 1
    said = f"Removed {counted(count, 'saved frame')}."
    return f"{said} Not removed, because Data Engine did not write them: {left} in {folder}." if left else said


def _inspect(ws: Workspace, args: Args) -> Any:
    text = with_home(args["path"])  # as steps write it, or as the list of outputs shows it
    places = [os.path.normpath(os.path.join(place, text)) for place in (ws.layout.flow_modules_dir, ws.root)]
    return ask_child({**args, "path": next(filter(os.path.exists, places), places[0])})


def _new_flow(ws: Workspace, args: Args) -> Any:
    return {"path": str(new_flow_notebook(ws.layout.flow_modules_dir, args["name"] or "new_flow"))}


def _settings(ws: Workspace, args: Args) -> Any:
    settings, error = ws.home.settings_shown(), ws.home.settings_error()
    return {
        "machine": machine_actions.machine(),
        "interpreter": _interpreter(ws),
        "workspace": {
            "file": str(ws.layout.settings_path),
            "warnings": [*settings.warnings] if error is None else [f"{error.where}: {error.what}; fix: {error.fix}"],
            "values": json_safe(settings),
        },
        "places": {
            "flow_modules": str(ws.layout.flow_modules_dir),
            "databases": str(ws.layout.databases_dir),
            "history": str(ws.home.local.ledger_path),
            "daemon_log": str(ws.home.local.daemon_log_path),
        },
        "version": __version__,
    }


def _reload(ws: Workspace, args: Args) -> str:
    """Whoever reads the modules looks every second by itself; this is for a drive that tells of changes late."""
    os.listdir(ws.layout.flow_modules_dir)
    return "Reloaded flow definitions."


def _set_interpreter(ws: Workspace, args: Args) -> str:
    text = args["path"].strip()
    ws.set_interpreter(text or None)
    return f"Runs use {text}." if text else "Runs use the Python that starts the daemon."


def _interpreter(ws: Workspace) -> dict[str, str]:
    """The Python that workers use."""
    executable = ws.interpreter()
    is_venv = (Path(executable).parent.parent / "pyvenv.cfg").is_file()
    return {"executable": executable, "kind": "virtual environment" if is_venv else "system or global"}


def _is_sort(value: Any) -> bool:
    return isinstance(value, list) and all(
        isinstance(one, list) and len(one) == 2 and isinstance(one[0], str) and isinstance(one[1], bool)
        for one in value
    )


def _is_filters(value: Any) -> bool:
    return isinstance(value, list) and all(
        isinstance(one, dict) and isinstance(one.get("column"), str) and isinstance(one.get("op"), str) for one in value
    )


def _holds(**fields: Field) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, dict) and all(field.fits(value.get(name)) for name, field in fields.items())


_A_FLOW: Fields = {"flow": TEXT}
_SOME_FLOW: Fields = {"flow": TEXT.optional}
_A_RUN: Fields = {"run_id": TEXT.optional, "flow": TEXT.optional}
_BACKFILL: Fields = {
    "flow": TEXT,
    **dict.fromkeys(("since", "until", "where", "digest"), TEXT.optional),
    "reprocess": TEXT.or_else("failed"),
    "params": OBJECT.or_else({}),
    "dry_run": FLAG.or_else(False),
}
_NAMES = Field("a list of names", lambda value: isinstance(value, list) and all(isinstance(one, str) for one in value))
_LOOK: Fields = {
    "path": PATH,
    "sheet": ANY_TEXT.optional,
    "offset": COUNT.or_else(0),
    "limit": COUNT.or_else(200),
    "sort": Field("a list of [column, is descending]", _is_sort).or_else([]),
    "filters": Field("a list of {column, op, value}", _is_filters).or_else([]),
    "distinct": ANY_TEXT.optional,
    "export": FLAG.or_else(False),
    "first": COUNT.or_else(0),
    "copy": Field("{first, count, columns}", _holds(first=COUNT, count=COUNT, columns=_NAMES)).optional,
    "code": ANY_TEXT.optional,
    "part": Field("{name, offset}", _holds(name=ANY_TEXT, offset=COUNT)).optional,
}
_IN_WORKSPACE: dict[str, tuple[Callable[[Workspace, Args], Any], Fields]] = {
    "start_daemon": (_start_daemon, {}),
    "shutdown": (_shutdown, {}),
    "kill": (_kill, {}),
    "start_engine": (_start_engine, {}),
    "stop_engine": (_stop_engine, {}),
    "run": (
        run_actions.run,
        {
            "flow": TEXT,
            "source": PATH.optional,
            "params": OBJECT.or_else({}),
            "take": TEXT.or_else("all"),
            "unsaved": TEXTS.or_else([]),
        },
    ),
    "backfill": (_backfill, _BACKFILL),
    "backfill_stop": (_stop_backfill, {"id": TEXT}),
    "backfill_retry": (_retry_backfill, {"id": TEXT}),
    "stop_run": (_stop_run, _A_RUN),
    "kill_run": (_kill_run, _A_RUN),
    "retry": (_retry, {"flow": TEXT.optional, "source": PATH.optional}),
    "enable": (_enable, _A_FLOW),
    "disable": (_disable, {"flow": TEXT, "note": ANY_TEXT.or_else("")}),
    "deploy": (
        deploy_actions.deploy,
        {
            "flow": TEXT.optional,
            "force": FLAG.or_else(False),
            "approve": FLAG.or_else(False),
            "note": ANY_TEXT.or_else(""),
            "shown": TEXT.optional,
            "listed": FLAG.or_else(False),
        },
    ),
    "plan": (
        deploy_actions.plan,
        {"flow": TEXT, "sources": COUNT.or_else(3), "key": ANY_TEXT.or_else(""), "yes": FLAG.or_else(False)},
    ),
    "rollback": (deploy_actions.rollback, {"flow": TEXT, "to": TEXT.optional}),
    "undeploy": (deploy_actions.undeploy, _A_FLOW),
    "restore": (deploy_actions.restore, _A_FLOW),
    "reset": (_reset, _SOME_FLOW),
    "lease": (_lease, {"do": TEXT, "now": FLAG.or_else(False)}),
    "flow": (_flow, {"flow": TEXT, "limit": COUNT.or_else(100)}),
    "files": (
        _files,
        {"flow": TEXT, "search": ANY_TEXT.or_else(""), "group": ANY_TEXT.or_else(""), "limit": COUNT.or_else(300)},
    ),
    "run_details": (_run_details, {"run_id": TEXT}),
    "compare": (_compare, {"run_a": TEXT, "run_b": TEXT}),
    "trends": (_trends, {"flow": TEXT}),
    "debug": (_debug, {}),
    "clear_debug": (_clear_debug, {}),
    "inspect": (_inspect, _LOOK),
    "outputs": (_outputs, {"search": ANY_TEXT.or_else(""), "limit": COUNT.or_else(200)}),
    "new_flow": (_new_flow, {"name": ANY_TEXT.optional}),
    "reload": (_reload, {}),
    "settings": (_settings, {}),
    "set_interpreter": (_set_interpreter, {"path": ANY_TEXT.or_else("")}),
}
_ANYWHERE: dict[str, tuple[Callable[[str | None, Args], Any], Fields]] = {
    "workspaces": (machine_actions.workspaces, {"near": PATHS.or_else([])}),
    "save_settings": (machine_actions.save_settings, {"collection_root": ANY_TEXT.or_else("")}),
    "use": (machine_actions.use, {"path": PATH}),
    "provision": (machine_actions.provision, {"path": PATH}),
}
ACTIONS: Mapping[str, Fields] = {name: fields for name, (_, fields) in (_IN_WORKSPACE | _ANYWHERE).items()}
"""What each action takes."""

CHANGES = frozenset(_IN_WORKSPACE) - {
    "flow",
    "files",
    "plan",
    "run_details",
    "compare",
    "trends",
    "debug",
    "inspect",
    "outputs",
    "settings",
    "clear_debug",
}
"""The actions after which the status may be another."""
