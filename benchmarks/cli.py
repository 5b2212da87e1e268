"""How long the commands that only look take without a daemon, when nothing has changed, and in how much memory."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.figures import finish, report

RUNS = 11
COMMANDS = (["status"], ["list"], ["runs"], ["explain", "claims"])
MODULE = """
from data_engine import Flow

def build():
    return Flow(group="G").watch(mode="poll", source="../in", interval="5s").step(len)
"""


def cost_of(environment: dict[str, str], *words: str) -> tuple[float, float]:
    """CPU seconds of a command in a fresh process, and its MB at the most."""
    wait4: Any = getattr(os, "wait4", None)
    if wait4 is None:
        raise SystemExit("Windows does not tell what a process that ended has taken")
    process = subprocess.Popen(
        [sys.executable, "-m", "data_engine", *words], env=environment, stdout=subprocess.DEVNULL
    )
    _, status, usage = wait4(process.pid, 0)
    assert status == 0, words
    return usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024


def main() -> None:
    """The commands and `--help` in turn, so that all meet the same weather."""
    with tempfile.TemporaryDirectory() as name:
        modules = Path(name) / "ws" / "flow_modules"
        modules.mkdir(parents=True)
        (Path(name) / "ws" / "in").mkdir()
        (modules / "claims.py").write_text(MODULE)
        environment = os.environ | {
            "DATA_ENGINE_STATE_ROOT": f"{name}/state",
            "DATA_ENGINE_WORKSPACE_ROOT": f"{name}/ws",
        }
        every = [*COMMANDS, ["--help"]]
        for words in every:
            cost_of(environment, *words)
        costs = [[cost_of(environment, *words) for words in every] for _ in range(RUNS)]
        cpu_s = [statistics.median(row[number][0] for row in costs) for number in range(len(every))]
        for number, words in enumerate(COMMANDS):
            note = f"{cpu_s[number]:.2f} s"
            report(f"data-engine {words[0]}, by --help", cpu_s[number] / cpu_s[-1], 2, "x", note)
            report(f"data-engine {words[0]}, memory", max(row[number][1] for row in costs), 45, "MB")
    finish()


if __name__ == "__main__":
    main()
