"""Every public callable, given anything at all, answers or raises a typed error: no error of Python's or a library's comes through."""

from __future__ import annotations

import contextlib
import inspect
import io
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest

import data_engine
from data_engine import Batch, FileRef, Flow, FlowContext, ItemError, Secret, Workspace, helpers
from data_engine.flow.locations import MirrorContext, SourceContext
from tests.arguments import calls_of, trouble
from tests.support import WorkspaceFiles

MANUAL = """
    from data_engine import Flow
    def build():
        return Flow(group="G").step(lambda context: 1, save_as="one")
"""
POLL = """
    from data_engine import Flow
    def build():
        return Flow(group="P").watch(mode="poll", source="../in", interval="1s").step(lambda context: 1)
"""
SKIPPED = {
    "current": "it takes nothing, and looks for a workspace around the tests",
    "kill": "it takes nothing, and ends the daemon that the others ask",
    "shutdown": "it takes nothing, and ends the daemon that the others ask",
    "home": "",
}


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workspace]:
    """A workspace whose daemon runs."""
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("running")
        patch.setenv("DATA_ENGINE_STATE_ROOT", str(folder / "state"))
        patch.setenv("XDG_CONFIG_HOME", str(folder / "config"))
        ws = WorkspaceFiles(folder / "ws")
        ws.source("in/a.csv")
        ws.notebook("poll", POLL)
        ws.notebook("manual", MANUAL)
        found = Workspace(ws.root)
        found.deploy()
        found.start_engine()
        yield found
        found.kill()


@pytest.fixture(autouse=True)
def its_machine(running: Workspace, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("DATA_ENGINE_STATE_ROOT", str(running.root.parent / "state"))
    monkeypatch.chdir(tmp_path)


def public(owner: Any) -> list[str]:
    """The names of what can be called, its constructor as ""."""
    found = ["__init__"] if inspect.isclass(owner) else []
    for name in dir(owner):
        value = inspect.getattr_static(owner, name)
        value = value.__func__ if isinstance(value, (classmethod, staticmethod)) else value
        if not name.startswith("_") and inspect.isfunction(value) and name not in SKIPPED:
            found.append(name)
    return found


def check(
    calls: list[tuple[str, Callable[..., Any], dict[str, Any]]],
    *,
    each: int,
    is_ours: bool = True,
    helper: bool = False,
) -> None:
    """Make the calls; fail by all that came raw."""
    raw: dict[str, str] = {}
    for title, call, required in calls:
        for args, given in calls_of(call, required, 1, each=each, is_ours=is_ours):
            with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
                found = trouble(lambda args=args, given=given, call=call: call(*args, **given), helper=helper)  # type: ignore[misc]
            if found is not None:
                raw.setdefault(f"{title}: {found}", f"{title}({args!r:.80}, {given!r:.200}): {found}")
    assert not raw, f"{len(raw)} raw errors:\n" + "\n".join(raw.values())


def test_no_verb_of_a_workspace_raises_a_raw_error(running: Workspace) -> None:
    required = {
        "name": "poll",
        "flow": "poll",
        "flow_or_path": "poll",
        "run_id": "nope",
        "run_a": "nope",
        "run_b": "nope",
        "backfill_id": "nope",
        "path": "nope",
        "run_ids": [],
    }
    quick = {"wait": False}
    calls = [(f"Workspace.{name}", getattr(running, name), required | quick) for name in public(Workspace)[1:]]
    check([("Workspace", Workspace, {}), *calls], each=7)


def test_no_verb_of_a_flow_raises_a_raw_error(running: Workspace) -> None:
    flow = running.load_flow("manual")
    required = {
        "group": "G",
        "fn": lambda context: 1,
        "extensions": ".csv",
        "root": "../out",
        "mode": "manual",
        "flow": flow,
    }
    verbs = [name for name in public(Flow)[1:] if name != "params"]
    calls = [(f"Flow.{name}", getattr(flow, name), required) for name in verbs]
    check([("Flow", Flow, required), ("Flow.params", flow.params, {}), *calls], each=12)


def test_no_member_of_a_context_raises_a_raw_error(running: Workspace, tmp_path: Path) -> None:
    running.load_flow("manual").run_once()
    seen: list[FlowContext] = []
    root = tmp_path / "in"
    root.mkdir()
    (root / "a.csv").write_text("a\n1\n")
    flow = Flow("G").watch(mode="poll", source=root, interval="1s").mirror(root=tmp_path / "out").step(seen.append)
    flow.run_once()
    (context,) = seen
    assert context.source is not None
    assert context.mirror is not None
    members = {
        "context": (context, FlowContext),
        "context.source": (context.source, SourceContext),
        "context.mirror": (context.mirror, MirrorContext),
        "context.config": (context.config, type(context.config)),
        "context.params": (context.params, type(context.params)),
        "Batch": (Batch((FileRef("a.csv"),)), Batch),
        "FileRef": (FileRef("a.csv"), FileRef),
        "Secret": (Secret("a", "bbbbbb"), Secret),
    }
    if context.debug is not None:
        members["context.debug"] = (context.debug, type(context.debug))
    required = {"name": "a", "message": "a", "done": 1, "value": 1, "frame": pl.DataFrame({"a": [1]})}
    calls = [
        (f"{title}.{name}", getattr(value, name), required)
        for title, (value, kind) in members.items()
        for name in public(kind)
        if name != "__init__"
    ]
    made = [
        ("Batch", Batch, {}),
        ("FileRef", FileRef, {}),
        ("ItemError", ItemError, {"item": 1, "error": ValueError()}),
    ]
    check([*made, *calls], each=12, is_ours=False)
    # last: each value that it is made of is hidden from then on in whatever is written
    check([("Secret", Secret, {"name": "a", "value": "bbbbbb"})], each=45, is_ours=False, helper=True)


def test_no_function_of_the_package_raises_a_raw_error(running: Workspace) -> None:
    functions = [name for name in data_engine.__all__ if inspect.isfunction(getattr(data_engine, name))]
    required = {"name": "manual", "data_root": running.root, "path": running.layout.flow_modules_dir / "manual.ipynb"}
    check([(name, getattr(data_engine, name), required) for name in functions], each=45)


@pytest.mark.filterwarnings(
    "ignore::pytest.PytestUnraisableExceptionWarning"
)  # a file of XlsxWriter, which ends by an error
def test_no_helper_raises_a_raw_error(tmp_path: Path) -> None:
    frame = pl.DataFrame({"a": [1, 2], "b": ["x", None]})
    helpers.replace_table(tmp_path / "mart.duckdb", "t", df=frame)
    required = {
        "db_path": tmp_path / "mart.duckdb",
        "table": "t",
        "df": frame,
        "lf": frame.lazy(),
        "frame": frame,
        "on": "a",
        "key_column": "a",
        "select": "a",
        "columns": ["a"],
        "column": "a",
        "is_in": [1],
        "sql": "SELECT 1",
        "file_hash": "h",
        "value": "a",
        "by": "a",
        "sort_by": "b",
        "name": "a",
        "path": tmp_path / "out.bin",
        "start": "2013-01-01",
        "end": "2013-01-02",
        "days": 3,
        "file_hash_column": "file_hash",
        "wait": "1s",
    }
    functions = [name for name in helpers.__all__ if inspect.isfunction(getattr(helpers, name))]
    check([(name, getattr(helpers, name), required) for name in functions], each=4, is_ours=False, helper=True)
