"""What people are told of one file that fails, whenever the daemon is killed: each thing that is kept is a point at which it is."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from itertools import product
from pathlib import Path

import pytest

from data_engine import Flow
from data_engine.cause import Cause
from data_engine.daemon import alerter
from data_engine.engine.local_workspace import LocalWorkspace, local_workspace
from data_engine.ledger import outbox
from data_engine.model import RunFinished, RunStarted, SeenSource, Signature, SourceKey
from tests.alerts.conftest import AT_S
from tests.alerts.test_alerter import Around, Scene
from tests.support import WorkspaceFiles

DIGEST_S = 2.0
WHY = Cause("code_raised", {"step": "One", "detail": "ValueError: no"})


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(alerter, "_SOON_S", 0.0)
    monkeypatch.setattr(alerter, "_PAUSE_S", 0.0)


class Holding(Around):
    """An owner that holds what failed."""

    def held(self, flow: str) -> int:
        return 1


class Files:
    """A folder of files, each of which fails whenever it is tried."""

    def __init__(self, root: Path, run_as: str) -> None:
        files = WorkspaceFiles(root, f'[alerts]\nto = ["ops"]\ndigest = "{DIGEST_S:g}s"\n')
        self.home: LocalWorkspace = local_workspace(files.root)
        self.folder = self.home.layout.root / "in"
        self.folder.mkdir()
        self.run_as = run_as
        self.flow = Flow("G", "a").watch(mode="poll", source=self.folder, interval="5s", run_as=run_as)
        self.runs = 0

    def seen(self, name: str) -> SeenSource:
        path = self.folder / name
        path.touch()
        size, mtime_ns = path.stat().st_size, path.stat().st_mtime_ns
        return SeenSource(SourceKey(self.folder.as_posix(), name), Signature(size, mtime_ns))

    def life(self, daemon: Scene, name: str) -> Iterator[Callable[[], Awaitable[None]]]:
        """What one daemon does with a file that is due: after each of these it may be killed."""
        self.runs += 1
        seen, run_id = self.seen(name), f"r{self.runs}"
        of_batch = self.run_as == "batch"
        began = RunStarted(
            run_id, "a", "G", str(self.folder / name), daemon.now_s, None if of_batch else seen.key, (seen,)
        )
        ended = RunFinished(run_id, "failed", daemon.now_s + 0.2, 0.2, why=WHY, seen=(seen,))
        ledger = daemon.home.ledger()

        async def begin() -> None:
            ledger.record(began)
            daemon.alerter.heard("a", [began])

        async def end() -> None:
            daemon.now_s += 0.2
            ledger.record(ended)

        async def hear() -> None:
            daemon.alerter.heard("a", [ended])

        async def refuse() -> None:
            for delivery in outbox.due(ledger, daemon.now_s):
                outbox.failed(ledger, [delivery.message_id], delivery.to, daemon.now_s, "the server is down")

        async def wait() -> None:
            daemon.now_s += DIGEST_S + 0.1
            daemon.alerter.tick()

        return iter((begin, end, hear, daemon.decided, refuse, wait, daemon.decided))


async def live(files: Files, kills: tuple[int, ...], pause_s: float, *names: str) -> list[str]:
    """The subjects of all messages, where each daemon but the last is killed after so many steps and the next tries the files again."""
    now_s = 0.0
    for kill in (*kills, None):
        daemon = Scene(files.home, Holding(files.flow))
        daemon.now_s += now_s
        open_runs = [run.run_id for run in files.home.ledger().runs("a") if run.status == "started"]
        for run_id in open_runs:
            files.home.ledger().record(RunFinished(run_id, "abandoned", daemon.now_s, 0.0))
        daemon.alerter.tick()
        await daemon.decided()
        for name in names:
            for step in list(files.life(daemon, name))[:kill]:
                await step()
        for task in daemon.tasks:
            task.cancel()
        now_s = daemon.now_s - AT_S + pause_s
    daemon.now_s += 10 * DIGEST_S
    daemon.alerter.tick()
    await daemon.decided()
    return daemon.subjects()


@pytest.mark.parametrize("run_as", ["individual", "batch"])
@pytest.mark.parametrize("pause_s", [0.1, 0.9, 3.0])
def test_one_file_that_fails_is_told_once(tmp_path: Path, run_as: str, pause_s: float) -> None:
    """A daemon that starts tries what is held again; that the same file fails again is no news."""
    told = {}
    for number, kills in enumerate([*product(range(8)), *product(range(8), range(8))]):
        files = Files(tmp_path / str(number), run_as)
        told[kills] = asyncio.run(live(files, kills, pause_s, "a.csv"))

    assert {kills: words for kills, words in told.items() if words != ["a failed in One: ValueError: no"]} == {}


@pytest.mark.parametrize("pause_s", [0.1, 0.9])
def test_another_file_that_fails_is_counted(tmp_path: Path, pause_s: float) -> None:
    """Once, however often it is tried; what fails after the digest is the same trouble, which is told once."""
    for number, kill in enumerate(range(2, 6)):
        files = Files(tmp_path / str(number), "individual")
        told = asyncio.run(live(files, (kill, kill), pause_s, "a.csv", "b.csv"))

        assert told == ["a failed in One: ValueError: no", "a: 1 more run failed"], kill
