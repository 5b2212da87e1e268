"""Alerts: `python -m benchmarks.alerting`: how soon a failure is a message, what ten thousand of them cost, and what it costs to
wait for the deadlines of 500 flows. The decisions and what keeps them are those of the daemon; runs are told, not run."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import tempfile
import time
import tracemalloc
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from benchmarks.figures import finish, report
from data_engine import Flow, FlowContext
from data_engine.cause import Cause
from data_engine.daemon.alerter import Alerter
from data_engine.engine.local_workspace import LocalWorkspace
from data_engine.model import RunFinished, RunStarted
from data_engine.scheduler.dispatcher import ReadyFlow
from data_engine.workspace.identity import local_layout
from data_engine.workspace.layout import WorkspaceLayout

FLOWS, FAILURES = 500, 10_000
_BEAT_S = 2.0


def nothing_to_do(context: FlowContext) -> None:
    """A step."""


class Around:
    """An owner whose flows never run by themselves."""

    is_engine_on = False

    def __init__(self, flows: Mapping[str, ReadyFlow]) -> None:
        self._flows = flows

    def tells_of_flows(self) -> bool:
        return True

    def ready_flows(self) -> Mapping[str, ReadyFlow]:
        return self._flows

    def held(self, flow: str) -> int:
        return 0

    def tell(self) -> None:
        """Nobody looks."""


class Nothing:
    """A dispatcher and triggers without work."""

    active: ClassVar[dict[str, Any]] = {}
    alerts: ClassVar[Any] = None

    def why_waiting(self, flow: str, others: object) -> None:
        """Nothing waits."""

    def handed_out(self) -> list[Any]:
        return []

    def names(self) -> list[str]:
        return []

    def why(self, flow: str) -> None:
        """Nothing is known."""


def made(root: Path, flows: list[Flow], *, alerts: str) -> tuple[Alerter, LocalWorkspace]:
    """The alerter of a workspace with these flows in production."""
    (root / "flow_modules").mkdir(parents=True)
    (root / "config").mkdir()
    (root / "config" / "data_engine.toml").write_text(alerts)
    layout = WorkspaceLayout(root)
    home = LocalWorkspace(layout, local_layout(layout), keeps_settings=True)
    home.refresh_settings()
    around = Around({flow.name or "": ReadyFlow(flow) for flow in flows})
    nothing: Any = Nothing()
    return Alerter(home, nothing, nothing, around, asyncio.ensure_future, sender="here"), home


def failed(number: int, flow: str = "claims") -> list[Any]:
    at_s = time.time()
    cause = Cause(
        "code_raised", {"step": "Clean", "detail": "KeyError: 'amount'", "places": [{"notebook": "c.ipynb", "cell": 4}]}
    )
    return [
        RunStarted(f"r{number}", flow, "G", f"/in/{number}.csv", at_s),
        RunFinished(f"r{number}", "failed", at_s, 0.01, "Flow failed " * 20, cause),
    ]


def messages(home: LocalWorkspace) -> list[str]:
    connection = sqlite3.connect(home.ledger().path)
    try:
        return [kind for (kind,) in connection.execute("SELECT kind FROM outbox ORDER BY rowid")]
    finally:
        connection.close()


async def until(home: LocalWorkspace, count: int, timeout_s: float = 20.0) -> None:
    """Return when so many messages are there."""
    end_s = time.monotonic() + timeout_s
    while len(messages(home)) < count and time.monotonic() < end_s:
        await asyncio.sleep(0.005)


async def soon(root: Path) -> None:
    """A failure of a flow that was good: until its message is in the outbox, where the notifier takes it."""
    flows = [Flow("G", f"f{number}").step(nothing_to_do) for number in range(100)]
    alerter, home = made(root, flows, alerts='[alerts]\nto = ["ops"]\n')
    alerter.tick()
    await asyncio.sleep(1.5)
    times = []
    for number in range(100):
        began_s = time.monotonic()
        alerter.heard(f"f{number}", failed(number, f"f{number}"))
        await until(home, number + 1)
        times.append(time.monotonic() - began_s)
    report("failure to its message in the outbox, p99 of 100", sorted(times)[98], 5.0, "s")
    home.ledger().close()


async def many(root: Path) -> None:
    """Ten thousand failures, heard as fast as they can be; the loop's own time is what runs would wait for."""
    flow = Flow("G", "claims").step(nothing_to_do)
    alerter, home = made(root, [flow], alerts='[alerts]\nto = ["ops"]\ndigest = "3s"\n')
    alerter.tick()
    await asyncio.sleep(1.0)
    home.ledger().record(*failed(-1))
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    spent_s = 0.0
    for first in range(0, FAILURES, 100):
        events = [event for number in range(first, first + 100) for event in failed(number)]
        home.ledger().record(*events)
        began_s = time.process_time()
        alerter.heard("claims", events)
        spent_s += time.process_time() - began_s
        await asyncio.sleep(0)
    peak = tracemalloc.get_traced_memory()[1] - before
    tracemalloc.stop()
    for _ in range(6):
        await asyncio.sleep(1.0)
        alerter.tick()
    await asyncio.sleep(1.0)
    report(
        f"messages of {FAILURES:,} failures in one pass",
        float(len(messages(home))),
        2.0,
        "messages",
        ", ".join(messages(home)),
    )
    report(f"memory of hearing {FAILURES:,} failures, at its peak", peak / 1e6, 5.0, "MB")
    report("hearing of a failure", spent_s / FAILURES * 1e6, 200.0, "us")
    home.ledger().close()


async def idle(root: Path) -> None:
    """500 flows of which something is expected by a time of each day, and nothing happens."""
    flows = [
        Flow("G", f"f{number}")
        .watch(mode="schedule", time="06:00")
        .expect(by="07:00", days="mon-fri")
        .step(nothing_to_do)
        for number in range(FLOWS)
    ]
    alerter, home = made(root, flows, alerts='[alerts]\nto = ["ops"]\n')
    alerter.tick()
    for _ in range(20):
        await asyncio.sleep(0.5)
        alerter.tick()
    beats = 2_000
    began_s = time.process_time()
    for _ in range(beats):
        alerter.tick()
    spent_s = (time.process_time() - began_s) / beats
    report(f"idle cost of the expectations of {FLOWS} flows", spent_s / _BEAT_S * 100, 0.05, "% core")
    home.ledger().close()


def main() -> None:
    for number, one in enumerate((soon, many, idle)):
        with tempfile.TemporaryDirectory() as folder:
            os.environ["DATA_ENGINE_STATE_ROOT"] = f"{folder}/state"
            asyncio.run(one(Path(folder) / f"w{number}"))
    finish()


if __name__ == "__main__":
    main()
