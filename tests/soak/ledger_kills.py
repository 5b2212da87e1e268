"""`python -m tests.soak.ledger_kills [N]`: kill -9 a process that records runs, N times at random instants.

After each kill the ledger must open, be consistent, hold every run that was told to be finished, and have no run left
`started`. The seed is printed; give it as second argument to repeat a campaign.
"""

from __future__ import annotations

import random
import sqlite3
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from data_engine.ledger.ledger import Ledger
from tests.support import end_now

RECORDER = """
import sys, time, uuid
from pathlib import Path
from data_engine.ledger.ledger import Ledger
from data_engine.model import *
ledger = Ledger.open(Path(sys.argv[1]))
key = SourceKey("../in", "a.csv")
seen = (SeenSource(key, Signature(1, 2)),)
while True:
    run_id = uuid.uuid4().hex
    ledger.record(RunStarted(run_id, "f", "g", "/in/a.csv", time.time(), key, seen))
    for index in range(3):
        ledger.record(StepStarted(run_id, index, f"Step {index}", time.time()))
        ledger.record(LogLine(run_id, "f", f"Step {index}", "INFO", "line", time.time()))
        ledger.record(StepFinished(run_id, index, f"Step {index}", "success", time.time(), 0.001))
    ledger.record(RunFinished(run_id, "success", time.time(), 0.01, None, None, seen))
    print(run_id, flush=True)
"""


def one_kill(path: Path, rng: random.Random) -> int:
    """How many runs the child had finished when it was killed."""
    child = subprocess.Popen([sys.executable, "-c", RECORDER, str(path)], stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    finished = [child.stdout.readline().strip()]
    time.sleep(rng.expovariate(1 / 0.05))
    end_now(child.pid)
    finished += child.stdout.read().split()
    child.wait()
    child.stdout.close()
    finished = [run_id for run_id in finished if len(run_id) == 32]

    with Ledger.open(path) as ledger:
        ledger.recover()
        assert ledger.running() == [], "a run is left started"
        for run_id in finished:
            run = ledger.run(run_id)
            assert run is not None, f"{run_id} was finished and is gone"
            assert run.status == "success", f"{run_id} was finished and is {run.status}"
            assert [step.status for step in ledger.steps(run_id)] == ["success"] * 3
            assert len(ledger.log(run_id)) == 3
        assert all(run.status in ("success", "abandoned") for run in ledger.runs(limit=10_000))
    connection = sqlite3.connect(path)
    assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    connection.close()
    return len(finished)


def main() -> None:
    """N kills on one ledger."""
    kills = int(sys.argv[1]) if len(sys.argv) > 1 else 300
    seed = int(sys.argv[2]) if len(sys.argv) > 2 else random.SystemRandom().randrange(10**9)
    print(f"{kills} kills, seed {seed}", flush=True)
    rng = random.Random(seed)
    with tempfile.TemporaryDirectory() as name:
        runs = sum(one_kill(Path(name) / "ledger.sqlite", rng) for _ in range(kills))
    print(f"{kills} kills over {runs} finished runs: none lost, none left started, every reopening consistent")


if __name__ == "__main__":
    main()
