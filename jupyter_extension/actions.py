"""The requests of the panel by name: one table, used by the Jupyter server and by the kernel.

Every request takes JSON and gives JSON. It runs in a thread of the caller and imports no author's code.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from datetime import date
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, TypeAlias

from data_engine.client import Workspace
from data_engine.commands.fields import ANY_TEXT, COUNT, FLAG, PATH, PATHS, TEXT, Field, Fields, checked
from data_engine.engine.left_behind import is_source_gone
from data_engine.errors import FlowValidationError, WorkspaceError
from data_engine.files import create_exclusive, file_exists
from data_engine.formatting import plural
from data_engine.ledger.outputs import written_here
from data_engine.model import WrittenFile
from data_engine.nofollow import opened, remove_tree
from data_engine.notebook.flow_files import module_files
from data_engine.notebook.module_sets import file_facts
from data_engine.platforms.names import real_path, with_home
from data_engine.record import as_json, frozen
from data_engine.status.lineage import Lineage
from data_engine.status.openings import opening_of
from data_engine.version import __version__
from data_engine.view.feed import ViewSender, from_child
from data_engine.view.lineage import ROOM, lineage_svg
from data_engine.view.trends import rejected_view, trends_view
from data_engine.workspace.layout import is_workspace
from data_engine.workspace.machine import (
    load_machine_settings,
    machine_id,
    save_machine_settings,
)
from data_engine.workspace.provision import example_notebook, provision_workspace
from data_engine.workspace.select import discover_workspaces, select_workspace, use_workspace
from jupyter_extension.command_actions import command_action, command_actions
from jupyter_extension.details import RunView, debug_frames, flow_details, is_on_another_host, run_details, run_view
from jupyter_extension.files import flow_files
from jupyter_extension.inspect_child import ask_child
from jupyter_extension.page import VERBS_OF_PAGE, ask, fields_of_verb

Args: TypeAlias = Mapping[str, Any]
_MOST_TODAY, _RUNS_OF_RULES = 5000, 30


def answer(root: str | None, action: str, args: Args) -> dict[str, Any]:
    """The answer to a request about the workspace at `root`: `{"result": ...}` or `{"error": {what, where, fix}}`.

    Example:
        >>> answer(None, "dance", {})["error"]["what"]
        "the panel knows no action 'dance'"
    """
    try:
        values = check(action, args)
        if action in _ANYWHERE:
            return {"result": _ANYWHERE[action][0](root, **values)}
        if root is None:
            raise WorkspaceError("no workspace is chosen", where="the panel", fix="choose one at the top of the panel")
        ws = Workspace(root)
        if action in _IN_WORKSPACE:
            return {"result": as_json(_IN_WORKSPACE[action][0](ws, **values))}
        if action in VERBS_OF_PAGE:
            return {"result": ask(ws, action, values)}
        act = command_action(action)
        assert act is not None, "it was checked"
        return {"result": as_json(act[0](ws, values))}
    except FlowValidationError as error:
        return {"error": error.as_dict()}
    except Exception as error:  # whatever it is, the page must be told
        what = f"{action} failed: {type(error).__name__}: {error}"
        return {"error": {"what": what, "where": None, "fix": "`data-engine doctor` checks this machine"}}


def answer_and_look(feed: ViewSender | None, root: str | None, action: str, args: Args) -> dict[str, Any]:
    """Answer a request, and let the workspace's feed look at once where it changes something."""
    if feed is None or not changes(action):
        return answer(root, action, args)
    ask = partial(answer, root, action, args)
    response = feed.while_starts(ask) if action == "start_engine" else ask()
    feed.look()
    return response


def check(action: str, args: Args) -> Args:
    """The arguments of an action, each of its type; those it does not know are left out.

    Raises:
        BadRequestError: one is missing, or of the wrong type.
        FlowValidationError: there is no such action.

    Example:
        >>> check("reset", {})
        {'flow': None}
    """
    fields = fields_of(action)
    if fields is None:
        raise FlowValidationError(
            f"the panel knows no action {action!r}",
            where="the request",
            fix="restart JupyterLab and reload the page: one of the two is older than the installed package",
        )
    return checked(args, fields, action)


def place_of(ws: Workspace) -> dict[str, str]:
    """Identify this workspace and its state on this machine."""
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


def _kill(ws: Workspace) -> str:
    return "Ended the daemon and its workers." if ws.kill() else "No daemon was running."


def _today(ws: Workspace) -> Any:
    """The runs that began today, by this machine's clock, by flow; the newest first."""
    runs: dict[str, list[RunView]] = {}
    for run in ws.runs(limit=_MOST_TODAY, since=date.today()):
        runs.setdefault(run.flow, []).append(run_view(run))
    return runs


def _lineage(ws: Workspace, x: str, width: int) -> Any:
    """The picture of what feeds what around `x`, of all flows without one, for so many pixels, and a sentence for each edge."""
    value = _lineage_of(ws.root, file_facts(ws.layout.flow_modules_dir), ws.home.ledger().data_version(), x)
    return {"svg": lineage_svg(value, width, leads=True), "edges": [edge.text for edge in value.edges]}


@lru_cache(maxsize=16)
def _lineage_of(root: Path, modules: object, history: int, x: str) -> Lineage:
    return Lineage.read(from_child(root, "lineage", *filter(None, [x])))


def _clear_debug(ws: Workspace) -> str:
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
    message = f"Removed {plural(count, 'saved frame')}."
    return f"{message} Not removed, because Data Engine did not write them: {left} in {folder}." if left else message


def _inspect(ws: Workspace, path: str, **request: Any) -> Any:
    text = with_home(path)  # as steps write it, or as the list of outputs shows it
    places = [os.path.normpath(os.path.join(place, text)) for place in (ws.layout.flow_modules_dir, ws.root)]
    return ask_child(request | {"path": next(filter(os.path.exists, places), places[0])})


def _settings(ws: Workspace) -> Any:
    settings, error = ws.home.settings_shown(), ws.home.settings_error()
    executable, collection = ws.interpreter(), load_machine_settings().collection_root
    is_venv = (Path(executable).parent.parent / "pyvenv.cfg").is_file()
    return {
        "machine": {"collection_root": None if collection is None else str(collection)},
        "interpreter": {"executable": executable, "kind": "virtual environment" if is_venv else "system or global"},
        "workspace": {
            "file": str(ws.layout.settings_path),
            "warnings": [*settings.warnings] if error is None else [f"{error.where}: {error.what}; fix: {error.fix}"],
        },
        "version": __version__,
    }


def _reload(ws: Workspace) -> str:
    """List the modules' folder once, for a drive that reports changes late: readers look every second anyway."""
    os.listdir(ws.layout.flow_modules_dir)
    return "Reloaded flow definitions."


def _set_interpreter(ws: Workspace, path: str) -> str:
    text = path.strip()
    ws.set_interpreter(text or None)
    return f"Runs use {text}." if text else "Runs use the Python that starts the daemon."


def _workspaces(root: str | None, near: list[str]) -> Any:
    """The workspaces of the collection, beside the current one and under `near`; each once, by its real path."""
    names: dict[str, str] = {}
    machine = load_machine_settings()
    collection = os.environ.get("DATA_ENGINE_WORKSPACE_COLLECTION_ROOT") or machine.collection_root
    places: list[Path | str | None] = [collection, Path(root).parent if root else None, *near]
    selected = None
    with suppress(FlowValidationError):
        selected = str(select_workspace().root)
        places.append(Path(selected).parent)
    if root is not None and not is_workspace(root):
        root = None
    for folder in filter(None, [root, selected]):
        names[real_path(folder)] = Path(real_path(folder)).name
    for place in [path for path in places if path]:
        for layout in discover_workspaces(place):
            names.setdefault(real_path(layout.root), Path(real_path(layout.root)).name)
    first = next(iter(names)) if root or selected or len(names) == 1 else None
    listed = [{"root": path, "id": name} for path, name in sorted(names.items(), key=lambda item: item[1].casefold())]
    return {"workspaces": listed, "selected": first}


def _save_settings(root: str | None, collection_root: str) -> str:
    """Save this machine's folder of workspaces, which must exist; an empty text removes it."""
    text = collection_root.strip()
    folder = with_home(text)
    if os.path.isabs(folder) and not os.path.isdir(folder):
        what = "is a file, and no folder" if os.path.exists(folder) else "does not exist or cannot be reached"
        raise WorkspaceError(
            f"{text} {what}", where="Workspace folder", fix="correct the path, or make the folder first"
        )
    save_machine_settings(collection_root=Path(folder) if text else None)
    return f"Workspace folder: {text}" if text else "No workspace folder is set."


def _use(root: str | None, path: str) -> str:
    """Make this workspace the default one."""
    layout = use_workspace(Path(path))
    return f"{layout.workspace_id} is the default workspace from now on."


def _provision(root: str | None, path: str) -> Any:
    """Create a workspace, or its missing parts."""
    text = with_home(path)
    if not os.path.isabs(text):
        collection = load_machine_settings().collection_root
        if collection is None:
            raise WorkspaceError(f"{text!r} is not an absolute path", where="the panel", fix="give the full path")
        text = str(collection / text)
    report = provision_workspace(text)
    names = ", ".join(str(path.relative_to(report.root)) for path in report.created if report.root in path.parents)
    message = f"Workspace {report.root.name}: {f'created {names}' if names else 'nothing was missing'}."
    return {"root": str(report.root), "said": message}


def _is_sort(value: Any) -> bool:
    return isinstance(value, list) and all(
        isinstance(pair, list) and len(pair) == 2 and isinstance(pair[0], str) and isinstance(pair[1], bool)
        for pair in value
    )


def _is_filters(value: Any) -> bool:
    return isinstance(value, list) and all(
        isinstance(row, dict) and isinstance(row.get("column"), str) and isinstance(row.get("op"), str) for row in value
    )


def _holds(**fields: Field) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, dict) and all(field.fits(value.get(name)) for name, field in fields.items())


_NAMES = Field("a list of names", lambda value: isinstance(value, list) and all(isinstance(key, str) for key in value))
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
_LOOKS = frozenset(
    "flow files plan run_details replay compare trends rejected today lineage debug inspect outputs settings clear_debug workspaces save_settings use provision".split()
)


def fields_of(action: str) -> Fields | None:
    """The fields of an action; None for an unknown one."""
    if action in VERBS_OF_PAGE:
        return fields_of_verb(action)
    entry = _ANYWHERE.get(action) or _IN_WORKSPACE.get(action) or command_action(action)
    return None if entry is None else entry[1]


def changes(action: str) -> bool:
    """Whether the action may change the status."""
    return action not in _LOOKS


def all_actions() -> list[str]:
    """The names of all actions."""
    return [*_IN_WORKSPACE, *VERBS_OF_PAGE, *command_actions(), *_ANYWHERE]


MOST_RUNS = 20_000
"""Files of so many newest runs are listed."""

_listings: dict[Path, tuple[int, list[WrittenFile]]] = {}


@frozen
class OutputView:
    """A file that a flow wrote, as its newest run left it. `folder` is below the workspace where it lies there; `is_there` is None
    where its drive was not asked, or gives no answer; `is_source_gone`: every source it was written for is known to be gone."""

    path: str
    name: str
    folder: str
    flow: str
    run_id: str
    at_utc: str
    size_bytes: int | None
    rows: int | None
    is_there: bool | None
    is_source_gone: bool = False


@frozen
class OutputsView:
    """The files that were asked for, the newest first; `total` counts all, `found` those that pass the search."""

    total: int
    found: int
    files: tuple[OutputView, ...]


def flow_outputs(ws: Workspace, *, flow: str = "", search: str, limit: int) -> OutputsView:
    """The files of `flow`, else of all flows, of which each word of `search` is in the path or the flow's name.

    The workspace's own folder does not count, because it is in every path. A pasted whole path finds its file.

    Raises:
        LedgerError: the history cannot be read.
    """
    ledger = ws.home.ledger()
    version = ledger.data_version()
    listing = _listings.get(ws.root)
    if listing is None or listing[0] != version:
        listing = _listings[ws.root] = (version, written_here(ledger, ws.layout, MOST_RUNS))
    root = f"{ws.root}{os.sep}"
    words = search.replace(root, "").casefold().split()
    listed = [row for row in listing[1] if flow in ("", row.flow)]
    matches = [
        row for row in listed if all(word in f"{row.path.removeprefix(root)} {row.flow}".casefold() for word in words)
    ]
    page = matches[:limit]
    states = _states_of([row for row in page if not is_on_another_host(row.path, ws.root)])
    return OutputsView(
        len(listed), len(matches), tuple(_view(row, ws.root, *states.get(row.path, _UNKNOWN)) for row in page)
    )


_UNKNOWN: tuple[bool | None, bool] = (None, False)


def _states_of(files: Sequence[WrittenFile]) -> dict[str, tuple[bool | None, bool]]:
    """Whether each path exists, and whether its source is gone, as far as the drives answer within a second."""
    states: dict[str, tuple[bool | None, bool]] = {}

    def look(_: str) -> bool:
        states.update((file.path, (os.path.exists(file.path), is_source_gone(file))) for file in files)
        return True

    file_exists("", look)
    return dict(states)


def _view(file: WrittenFile, root: Path, is_there: bool | None, is_source_gone: bool) -> OutputView:
    folder, name = os.path.split(file.path)
    inside = os.path.relpath(folder, root) if Path(folder).is_relative_to(root) else folder
    size = (file.size_bytes, file.rows)
    return OutputView(file.path, name, inside, file.flow, file.run_id, file.at_utc, *size, is_there, is_source_gone)


def new_flow_notebook(folder: Path, name: str = "new_flow") -> Path:
    """A runnable notebook in `folder`, called `name` or, where that is taken, `name_2`, `name_3`, ...; its path.

    Raises:
        FlowValidationError: the name cannot be a flow's, or the folder cannot be written.
    """
    if not name.replace("_", "a").replace("-", "a").isalnum() or name.startswith("_"):
        raise FlowValidationError(
            f"{name!r} cannot be a flow's name",
            where="new flow",
            fix="use letters, digits and '_', beginning with a letter",
        )
    taken = module_files(folder)
    stem, number = name, 2
    while stem in taken:
        stem, number = f"{name}_{number}", number + 1
    path = folder / f"{stem}.ipynb"
    try:
        create_exclusive(path, example_notebook("New"))
    except OSError as error:
        raise WorkspaceError(
            f"{path} cannot be written: {error.strerror}", where=str(folder), fix="make the folder writable"
        ) from error
    return path


_IN_WORKSPACE: dict[str, tuple[Callable[..., Any], Fields]] = {
    "kill": (_kill, {}),
    "flow": (flow_details, {"flow": TEXT, "limit": COUNT.or_else(100)}),
    "files": (
        flow_files,
        {"flow": TEXT, "search": ANY_TEXT.or_else(""), "group": ANY_TEXT.or_else(""), "limit": COUNT.or_else(300)},
    ),
    "run_details": (run_details, {"run_id": TEXT}),
    "replay": (lambda ws, run_id: opening_of(ws.home, ws.run_record(run_id)), {"run_id": TEXT}),
    "trends": (lambda ws, flow: trends_view(ws.trends(flow)), {"flow": TEXT}),
    "today": (_today, {}),
    "lineage": (_lineage, {"x": ANY_TEXT.or_else(""), "width": COUNT.or_else(ROOM)}),
    "rejected": (lambda ws, flow: rejected_view(ws.rejected(flow), ws.runs(flow, _RUNS_OF_RULES)), {"flow": TEXT}),
    "debug": (lambda ws: {"frames": debug_frames(ws)}, {}),
    "clear_debug": (_clear_debug, {}),
    "inspect": (_inspect, _LOOK),
    "outputs": (
        flow_outputs,
        {"flow": ANY_TEXT.or_else(""), "search": ANY_TEXT.or_else(""), "limit": COUNT.or_else(200)},
    ),
    "new_flow": (
        lambda ws, name: {"path": str(new_flow_notebook(ws.layout.flow_modules_dir, name or "new_flow"))},
        {"name": ANY_TEXT.optional},
    ),
    "reload": (_reload, {}),
    "settings": (_settings, {}),
    "set_interpreter": (_set_interpreter, {"path": ANY_TEXT.or_else("")}),
}
"""Actions of a workspace that are no commands for its owner."""
_ANYWHERE: dict[str, tuple[Callable[..., Any], Fields]] = {
    "workspaces": (_workspaces, {"near": PATHS.or_else([])}),
    "save_settings": (_save_settings, {"collection_root": ANY_TEXT.or_else("")}),
    "use": (_use, {"path": PATH}),
    "provision": (_provision, {"path": PATH}),
}
