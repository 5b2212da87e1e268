"""A replay fails as the run did: the same error, by the same inputs, and nothing of production changes."""

from __future__ import annotations

import gc
import hashlib
from pathlib import Path
from typing import Any

import pytest

from data_engine import FlowExecutionError, Workspace
from data_engine.flow.control import ItemFailed
from data_engine.replay import Replay
from tests.replay.failures import FAILURES, Failure
from tests.support import WorkspaceFiles


def failed_run(ws: WorkspaceFiles, failure: Failure) -> Workspace:
    """The workspace after the failure."""
    ws.source("config/rates.toml", "rate = 2")
    for name in "abc":
        ws.source(f"in/{name}.csv", f"{name}\n")
    if failure.settings:
        ws.source("config/data_engine.toml", failure.settings)
    if failure.helper:
        ws.helper("rates", failure.helper)
    ws.notebook("claims", *failure.cells())
    workspace = Workspace(ws.root)
    [*_, context] = workspace.load_flow("claims").run_once(params=failure.params, on_error="continue")
    assert isinstance(context.error, FlowExecutionError), context.error
    del context
    gc.collect()  # a traceback may hold a connection
    return workspace


def raised_by(replay: Replay) -> BaseException:
    """The error of the line that calls the step, as a cell has it."""
    fn: Any = replay.step.fn
    while hasattr(fn, "fn"):
        fn = fn.fn
    names = dict(getattr(fn, "__globals__", {}))
    try:
        eval(replay.call, {getattr(fn, "__name__", "_"): fn, **names, "replay": replay, "context": replay.context})
    except FlowExecutionError as error:
        return error.__cause__ or error
    except ItemFailed as error:
        return error.error
    except BaseException as error:
        return error
    raise AssertionError(f"{replay.call} raised nothing")


def snapshot(root: Path) -> dict[str, str]:
    """Every file of a folder with its bytes."""
    return {
        str(path): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(root.rglob("*"))
        if path.is_file() and "__pycache__" not in path.parts
    }


@pytest.mark.parametrize("failure", FAILURES, ids=[failure.name for failure in FAILURES])
def test_the_error_of_the_run_is_raised_again_and_nothing_changes(ws: WorkspaceFiles, failure: Failure) -> None:
    """The same type and message by the same line, what was not kept is told, and workspace and outputs stay byte for byte."""
    workspace = failed_run(ws, failure)
    run = workspace.runs(status="failed")[0] if failure.watch else workspace.runs()[0]
    before = snapshot(ws.root)

    replay = workspace.replay(run.run_id[:8])
    error = raised_by(replay)

    words = f"{type(error).__name__}: "
    assert words in replay.error, (error, replay.error)
    text = getattr(error, "what", None) or str(error)
    assert text.partition("\n")[0] in replay.error
    assert snapshot(ws.root) == before
    told = [why for name, why in replay.missing.items() if name in ("current", "item", *replay.context.objects)]
    assert bool(told) is not failure.is_kept, replay.missing
    assert all("made again" in why for why in told), replay.missing
    with pytest.raises(FlowExecutionError) as raised:
        replay.run()
    assert type(raised.value.__cause__) is type(error) or type(error).__name__ == type(raised.value.__cause__).__name__
    assert snapshot(ws.root) == before


def test_there_are_a_hundred_failures() -> None:
    """Each kind of step is among them."""
    assert len(FAILURES) >= 100
