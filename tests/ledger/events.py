"""The events the tests record, short to write."""

from __future__ import annotations

from data_engine.model import (
    LogLine,
    RunFinished,
    RunStarted,
    SeenSource,
    Signature,
    SourceKey,
    StepFinished,
    StepStarted,
)


def seen(path: str = "a.csv", size: int = 10, mtime: int = 100, digest: str | None = None) -> SeenSource:
    return SeenSource(SourceKey("../in", path), Signature(size, mtime, digest))


def start(
    run_id: str,
    *,
    flow: str = "claims",
    group: str = "G",
    source: str | None = None,
    at: float = 0.0,
    sees: object = (),
) -> RunStarted:
    assert isinstance(sees, tuple)
    return RunStarted(run_id, flow, group, source, at, sees[0].key if sees else None, sees)


def begin(run_id: str, index: int = 0, at: float = 1.0) -> StepStarted:
    return StepStarted(run_id, index, f"Step {index}", at)


def end(run_id: str, index: int = 0, at: float = 2.0, **more: object) -> StepFinished:
    return StepFinished(run_id, index, f"Step {index}", "success", at, 1.0)._replace(**more)


def line(run_id: str, message: str = "hello", at: float = 1.5, flow: str = "claims") -> LogLine:
    return LogLine(run_id, flow, None, "INFO", message, at)


def finish(run_id: str, status: str = "success", at: float = 3.0, **more: object) -> RunFinished:
    return RunFinished(run_id, status, at, 3.0)._replace(**more)
