"""`python -m tests.soak.cluster_kills [KILLS] [FILES] [SEED]`: kill -9 what runs on a cluster while files arrive.

Files are dropped in bursts, some replaced later, and killed at random instants are the cluster's workers (one, or all), its
scheduler, the daemon, and processes of the nodes; now and then a worker stands still for a while. What was killed is
started again. At the end every version of every file is recorded as done exactly once, and no run is left `started`.
"""

from __future__ import annotations

import os
import random
import sys
import tempfile
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path

import psutil

from data_engine import FlowValidationError, Workspace
from data_engine.files import write_text_atomic
from tests.daemon.dask_cluster import DaskCluster
from tests.support import WorkspaceFiles, end_now, pause, resume

MODULE = """
    import time
    from data_engine import Flow

    def read(context):
        text = context.source.path.read_text()
        time.sleep(0.05)
        out = context.mirror.with_suffix(".out")
        out.write_text(text)
        return out

    def build():
        return (
            Flow(group="G")
            .watch(mode="poll", source="../in", interval="1s", settle=0, max_parallel=8, extensions=".txt")
            .mirror(root="../out", staged=True)
            .step(read)
        )
"""


class Campaign:
    """One campaign over a workspace whose runs are on a cluster of three workers."""

    def __init__(self, folder: Path, kills: int, files: int, seed: int) -> None:
        self.dice = random.Random(seed)
        self.kills, self.files = kills, files
        os.environ["DATA_ENGINE_STATE_ROOT"] = str(folder / "machine")
        self.ws = WorkspaceFiles(folder / "ws", '[deploy]\nmode = "auto"\nquiet = "0s"\n')
        (self.ws.root / "in").mkdir()
        self.cluster = DaskCluster(folder / "cluster", workers=3)
        self.ws.source("config/data_engine.toml", self.cluster.settings())
        self.ws.notebook("poll", MODULE)
        self.workspace = Workspace(self.ws.root)
        self.versions: Counter[str] = Counter()
        self.killed: Counter[str] = Counter()

    def run(self) -> list[str]:
        """What is wrong in the end."""
        self.workspace.start_engine()
        every = max(1, self.files // max(1, self.kills))
        for number in range(self.files):
            self.drop(f"{number:04d}.txt")
            if number % 9 == 8:
                self.drop(f"{self.dice.randrange(number):04d}.txt")
            if number % every == every - 1 and sum(self.killed.values()) < self.kills:
                time.sleep(self.dice.uniform(0.0, 1.5))
                self.kill_something()
        return self.verdict()

    def drop(self, name: str) -> None:
        """A new version of a file."""
        self.versions[name] += 1
        write_text_atomic(self.ws.root / "in" / name, f"{name} {self.versions[name]} " + "x" * self.versions[name])

    def kill_something(self) -> None:
        """And start it again."""
        what = self.dice.choices(["worker", "process", "daemon", "scheduler", "all", "pause"], [6, 6, 3, 1, 1, 1])[0]
        self.killed[what] += 1
        alive = [one for one in self.cluster.workers if one.poll() is None]
        if what == "worker" and alive:
            end_now(self.dice.choice(alive).pid)
        elif what == "all":
            for one in alive:
                end_now(one.pid)
        elif what == "process" and alive:
            with suppress(psutil.Error, IndexError):
                end_now(self.dice.choice(psutil.Process(self.dice.choice(alive).pid).children()).pid)
        elif what == "daemon":
            with suppress(FlowValidationError, psutil.Error, TypeError):
                end_now(self.workspace.status()["daemon"]["pid"])
        elif what == "scheduler":
            end_now(self.cluster.scheduler.pid)
            self.cluster.restart_scheduler()
        elif what == "pause" and alive:
            one = self.dice.choice(alive)
            pause(one.pid)
            time.sleep(3)
            resume(one.pid)
        self.mend()

    def mend(self) -> None:
        """Three workers, and a daemon."""
        for _ in range(3 - sum(one.poll() is None for one in self.cluster.workers)):
            self.cluster.add_worker()
        with suppress(FlowValidationError):
            self.workspace.start()

    def verdict(self, patience_s: float = 240.0) -> list[str]:
        """Wait until all is done, and see how often each version was."""
        deadline_s = time.monotonic() + patience_s
        while time.monotonic() < deadline_s:
            self.mend()
            held = {one["source"]: one["reason"] for one in self.workspace.explain("poll") if one["source"]}
            if any(reason.startswith("held") for reason in held.values()):
                self.workspace.retry("poll")
            if len(held) == self.files and all(reason.startswith("already done") for reason in held.values()):
                break
            time.sleep(1)
        wrong = []
        runs = self.workspace.runs("poll", limit=10 * self.files)
        print(Counter(run.status for run in runs), dict(self.killed))
        wrong += [f"{run.run_id} is left {run.status}" for run in runs if run.status == "started"]
        done = Counter(Path(run.source or "").name for run in runs if run.status == "success")
        for name, versions in self.versions.items():
            if not 1 <= done[name] <= versions:
                wrong.append(f"{name}: {done[name]} successes of {versions} versions")
            out = self.ws.root / "out" / Path(name).with_suffix(".out")
            content = (self.ws.root / "in" / name).read_text()
            if not out.exists() or out.read_text() != content:
                wrong.append(f"{out} is not what its source is")
        return wrong

    def close(self) -> None:
        """End everything."""
        with suppress(FlowValidationError):
            self.workspace.kill()
        self.cluster.close()


def main() -> None:
    given = [int(one) for one in sys.argv[1:]]
    kills, files, seed = [*given, *(60, 500, random.randrange(10**6))[len(given) :]]
    print(f"{kills} kills over {files} files, seed {seed}")
    with tempfile.TemporaryDirectory() as folder:
        campaign = Campaign(Path(folder), kills, files, seed)
        try:
            wrong = campaign.run()
        finally:
            campaign.close()
    print("\n".join(wrong[:20]) or "all is done, once")
    sys.exit(bool(wrong))


if __name__ == "__main__":
    main()
