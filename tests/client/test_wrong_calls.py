"""Whatever a Workspace is given, the answer is a typed error with a fix: no library's or Python's own error comes through."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import date
from pathlib import Path
from typing import Any

import pytest

import data_engine
from data_engine import Flow, FlowValidationError, Workspace
from tests.support import WorkspaceFiles

POLL = """
    from data_engine import Flow
    def build():
        return Flow(group="P").watch(mode="poll", source="../in", interval="1s").step(lambda context: 1)
"""
CIRCLE: dict[str, Any] = {}
CIRCLE["self"] = CIRCLE
NO_NAMES: list[Any] = [None, 5, "", " ", ["poll"], "nope", "../poll", "po\0ll", "po\udcffll"]
NO_PATHS: list[Any] = [5, ["a"], b"a", object()]


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workspace]:
    """One workspace whose daemon and engine run, for all of them: nothing here may change it."""
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("running")
        patch.setenv("DATA_ENGINE_STATE_ROOT", str(folder / "state"))
        patch.setenv("XDG_CONFIG_HOME", str(folder / "config"))
        ws = WorkspaceFiles(folder / "ws")
        ws.source("in/a.csv")
        ws.notebook("poll", POLL)
        found = Workspace(ws.root)
        found.start_engine()
        yield found
        found.kill()


@pytest.fixture(autouse=True)
def its_machine(running: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATA_ENGINE_STATE_ROOT", str(running.root.parent / "state"))


CALLS: list[tuple[str, Callable[[Workspace, Any], object], list[Any]]] = [
    ("run a name", lambda ws, it: ws.run(it), NO_NAMES),
    ("run a source", lambda ws, it: ws.run("poll", source=it), [*NO_PATHS, "", "nope.csv", "/etc/passwd", "a\0"]),
    (
        "run with params",
        lambda ws, it: ws.run("poll", params=it),
        [5, "a=1", [1], {1: 2}, {"a": object()}, {"a": {1}}, {"day": date(2013, 1, 5)}, CIRCLE, {"a": "x" * 2_000_000}],
    ),
    ("stop a run", lambda ws, it: ws.stop_run(it), [None, 5, "", "zz", ["a"], b"zz"]),
    ("kill a run", lambda ws, it: ws.kill_run(it), [None, 5, "", "zz", b"zz"]),
    ("retry a flow", lambda ws, it: ws.retry(it), [it for it in NO_NAMES if it is not None]),
    ("retry a source", lambda ws, it: ws.retry("poll", it), [*NO_PATHS, "", "nope.csv"]),
    ("retry a source of no flow", lambda ws, it: ws.retry(source=it), ["a.csv"]),
    ("enable", lambda ws, it: ws.enable(it), NO_NAMES),
    ("disable", lambda ws, it: ws.disable(it), NO_NAMES),
    ("deploy", lambda ws, it: ws.deploy(it), [it for it in NO_NAMES if it is not None]),
    ("undeploy", lambda ws, it: ws.undeploy(it), NO_NAMES),
    ("restore", lambda ws, it: ws.restore(it), [*NO_NAMES, "poll"]),
    ("what a flow left", lambda ws, it: ws.left_behind(it), [it for it in NO_NAMES if it is not None]),
    ("set aside", lambda ws, it: ws.set_aside(it), [it for it in NO_NAMES if it is not None]),
    ("put back", lambda ws, it: ws.put_back(it), [it for it in NO_NAMES if it is not None]),
    ("explain", lambda ws, it: ws.explain(it), [None, *NO_PATHS, "nope", "/tmp", "a\0"]),
    ("runs of a flow", lambda ws, it: ws.runs(it), [5, "", ["poll"]]),
    ("so many runs", lambda ws, it: ws.runs(limit=it), [-1, "5", 2.5, True]),
    ("log", lambda ws, it: ws.log(it), [None, 5, "", "zz", ["a"]]),
    ("steps", lambda ws, it: ws.steps(it), [None, 5, "", "zz"]),
    ("a run", lambda ws, it: ws.run_record(it), [None, 5, "", "zz"]),
    ("wait", lambda ws, it: ws.wait(it), [["zz"], None, 5, "zz", b"zz", [5], [b"zz"]]),
    ("how a flow is deployed", lambda ws, it: ws.deployment(it), NO_NAMES),
    ("reset", lambda ws, it: ws.reset(it), [5, "", ["poll"]]),
    ("load a flow", lambda ws, it: ws.load_flow(it), NO_NAMES),
    ("an interpreter", lambda ws, it: ws.set_interpreter(it), [5, "", "/nowhere/python", "a\0"]),
    (
        "a workspace",
        lambda ws, it: Workspace(it),
        [None, 5, "", "a\0", "/nowhere", "x" * 300, "a\ud800", Path("/etc/passwd"), b"/tmp"],
    ),
    (
        "a new workspace",
        lambda ws, it: Workspace.create(it),
        [None, 5, "", "a\0", "x" * 300, "a\ud800", Path("/etc/passwd"), b"/tmp"],
    ),
]


@pytest.mark.parametrize(
    ("call", "values"), [(call, values) for _, call, values in CALLS], ids=[one[0] for one in CALLS]
)
def test_a_wrong_call_says_what_where_and_the_fix(
    running: Workspace, call: Callable[[Workspace, Any], object], values: list[Any]
) -> None:
    before = len(running.runs())
    for value in values:
        with pytest.raises(FlowValidationError) as caught:
            call(running, value)
        error = caught.value
        assert error.what
        assert error.where, f"{value!r}: {error}"
        assert error.fix, f"{value!r}: {error}"
        assert "the daemon failed" not in error.what, f"{value!r}: {error}"
        assert "does not answer" not in error.what, f"{value!r}: {error}"
    assert len(running.runs()) == before


NO_TRUTHS: list[Any] = ["no", "", 0, 1, None, [], b"yes"]
TRUTHS: list[tuple[str, Callable[[Workspace, Any], object]]] = [
    ("preview write", lambda ws, it: ws.load_flow("poll").preview(write=it)),
    ("preview force", lambda ws, it: ws.load_flow("poll").preview(force=it)),
    ("preview fresh", lambda ws, it: ws.load_flow("poll").preview(fresh=it)),
    ("golden share", lambda ws, it: ws.load_flow("poll").golden(share=it)),
    ("run_once force", lambda ws, it: ws.load_flow("poll").run_once(force=it)),
    ("run force", lambda ws, it: data_engine.run(ws.load_flow("poll"), force=it)),
    ("deploy force", lambda ws, it: ws.deploy("poll", force=it)),
    ("deploy approve", lambda ws, it: ws.deploy("poll", approve=it)),
    ("rollback wait", lambda ws, it: ws.rollback("poll", wait=it)),
    ("run wait", lambda ws, it: ws.run("poll", it)),
    ("backfill dry_run", lambda ws, it: ws.backfill("poll", dry_run=it)),
    ("plan yes", lambda ws, it: ws.plan("poll", yes=it)),
    ("test update", lambda ws, it: ws.test("poll", it)),
    ("restore copy", lambda ws, it: ws.restore("poll", copy=it)),
    ("release now", lambda ws, it: ws.release_control(it)),
    ("staged", lambda ws, it: Flow("G").mirror(root="out", staged=it)),
    ("read only", lambda ws, it: Flow("G").step(lambda context: context.database("a.duckdb", it)).run_once()),
]


@pytest.mark.parametrize(("name", "call"), TRUTHS, ids=[name for name, _ in TRUTHS])
def test_a_switch_is_true_or_false_and_nothing_that_counts_as_it(
    name: str, call: Callable[[Workspace, Any], object], running: Workspace
) -> None:
    """preview(write="no") would write in production."""
    for wrong in NO_TRUTHS:
        with pytest.raises(
            FlowValidationError, match=r"(takes True or False|neither True nor False|must be True or False)"
        ) as refused:
            call(running, wrong)
        assert refused.value.fix, wrong
