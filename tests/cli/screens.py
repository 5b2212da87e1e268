"""Workspaces as the screen is told of them, and its lines as text."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta, timezone
from typing import Any

from data_engine.cli.screen.cells import UNICODE, Line, Signs, width
from data_engine.cli.screen.drawing import Size, draw
from data_engine.cli.screen.state import Seen
from data_engine.status.record import WorkspaceStatus
from jupyter_extension.view import PanelView, render

NOW = datetime(2026, 1, 5, 12, 0, tzinfo=timezone(timedelta(hours=1)))
ME, ANN = {"machine_id": "me-1", "host_name": "my-pc"}, {"machine_id": "ann-1", "host_name": "ann-pc"}
NARROW, WIDE = Size(80, 24), Size(200, 50)


def flow(name: str, state: str = "polling", **changes: Any) -> dict[str, Any]:
    return {
        "name": name,
        "group": "Claims",
        "title": name.replace("_", " ").capitalize(),
        "mode": "poll",
        "trigger": "every 5 s when files change",
        "enabled": True,
        "state_kind": state,
        "why": None,
        "standing": {"kind": "as_deployed"},
        "held": 0,
        "next_run_utc": None,
        "last_run": None,
        "error": None,
    } | changes


def run(flow_name: str, status: str = "success", **changes: Any) -> dict[str, Any]:
    return {
        "run_id": f"r-{flow_name}",
        "flow": flow_name,
        "group": "Claims",
        "source": "/team/claims/in/a.csv",
        "status": status,
        "started_at_utc": "2026-01-05T10:30:00+00:00",
        "finished_at_utc": "2026-01-05T10:30:02+00:00",
        "elapsed_s": 2.0,
        "error": None,
        "why": None if status == "success" else {"kind": "code_raised", "detail": "KeyError: 'amount'", "step": "Read"},
    } | changes


def active(flow_name: str, **changes: Any) -> dict[str, Any]:
    return {
        "run_id": f"a-{flow_name}",
        "flow": flow_name,
        "group": "Claims",
        "source": "/team/claims/in/b.csv",
        "step": "Read",
        "started_at_utc": "2026-01-05T10:59:48+00:00",
        "in_daemon": True,
        "pid": 7,
    } | changes


def view_of(*flows: dict[str, Any], on: bool = True, running: bool = True, **changes: Any) -> PanelView:
    lease = {"state": "mine" if on else "available", "owner": ME, "token": 1, "is_shared": False}
    found = {
        "workspace_id": "claims",
        "workspace_root": "/team/claims",
        "daemon": {"running": running, "pid": 7, "version": "0.1.0"},
        "engine": {"on": on and running},
        "lease": lease,
        "flows": list(flows),
        "active_runs": [],
    }
    return render(WorkspaceStatus.read(found | changes), machine_id="me-1")


def elsewhere(**changes: Any) -> dict[str, Any]:
    return {"state": "owned", "owner": ANN, "token": 3, "heartbeat_age_s": 2.0, "engine_on": True} | changes


def busy_view() -> PanelView:
    """A workspace with something of everything."""
    return view_of(
        flow("daily_report", "scheduled", mode="schedule", trigger="07:00", next_run_utc="2026-01-06T06:00:00+00:00",
             last_run=run("daily_report"), group="Reports"),
        flow("claims", "polling", held=3, last_run=run("claims", "failed")),
        flow("rates", "running", last_run=run("rates", "started", elapsed_s=None, finished_at_utc=None)),
        flow("new_one", "not_deployed", mode="manual", trigger="-", standing={"kind": "not_deployed"}, group=""),
        flow("renamed", "broken", error={"what": "the module does not compile: name 'pl' is not defined",
             "where": "renamed.ipynb, cell 3, line 1", "fix": "import polars as pl in a cell above"}),
        flow("報告書", "disabled", enabled=False, why={"kind": "disabled"}, last_run=run("報告書", "abandoned",
             started_at_utc="2025-12-01T08:00:00+00:00", finished_at_utc=None, elapsed_s=None)),
        active_runs=[active("rates", done=40, total=100), active("claims", in_daemon=False, pid=99, step=None)],
        warnings=["config/data_engine.toml: nobody reads 'timezon', did you mean 'timezone'?"],
    )  # fmt: skip


def text_of(lines: Sequence[Line]) -> str:
    """The screen as a person reads it."""
    return "\n".join("".join(text for _, text in line).rstrip() for line in lines) + "\n"


def screen(
    view: PanelView | None,
    seen: Seen | None = None,
    size: Size = NARROW,
    *,
    signs: Signs = UNICODE,
    now: datetime = NOW,
) -> str:
    """The screen as text, checked to fit."""
    lines = draw(view, seen or Seen(), size, now, signs)
    assert len(lines) == size.rows
    assert all(sum(width(text) for _, text in line) <= size.columns for line in lines)
    return text_of(lines)
