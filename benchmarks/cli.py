"""How long the start of the command line takes: help and looks without a daemon, when nothing has changed, and in how much memory."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.figures import finish, report

RUNS = 15
LIBRARIES = ("-c", "import typer, rich.console, rich.table")
"""What each command is measured by: the libraries alone, in the same run."""
LOOKS = (["status"], ["list"], ["show", "claims"], ["runs"], ["log", "claims"], ["explain", "claims"])
MODULE = """
from data_engine import Flow

def build():
    return Flow(group="G").watch(mode="poll", source="../in", interval="5s").step(len)
"""


def cost_of(environment: dict[str, str], *words: str) -> tuple[float, float]:
    """CPU seconds of Python with these words in a fresh process, and its MB at the most."""
    wait4: Any = getattr(os, "wait4", None)
    if wait4 is None:
        raise SystemExit("Windows does not tell what a process that ended has taken")
    quiet = subprocess.DEVNULL
    process = subprocess.Popen([sys.executable, *words], env=environment, stdout=quiet, stderr=quiet)
    _, _, usage = wait4(process.pid, 0)  # `log` of a flow that never ran ends with 2, and has looked for it
    return usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024


def main() -> None:
    """The libraries, `--help` and the looks in turn, so that all meet the same weather; of each the least."""
    with tempfile.TemporaryDirectory() as name:
        modules = Path(name) / "ws" / "flow_modules"
        modules.mkdir(parents=True)
        (Path(name) / "ws" / "in").mkdir()
        (modules / "claims.py").write_text(MODULE)
        environment = {one: value for one, value in os.environ.items() if one != "PYTHONDONTWRITEBYTECODE"} | {
            "DATA_ENGINE_STATE_ROOT": f"{name}/state",
            "DATA_ENGINE_WORKSPACE_ROOT": f"{name}/ws",
            "PYTHONPYCACHEPREFIX": f"{name}/bytecode",
        }
        every = [LIBRARIES, *(("-m", "data_engine", *words) for words in (["--help"], *LOOKS))]
        for words in every:
            cost_of(environment, *words)
        costs = [[cost_of(environment, *words) for words in every] for _ in range(RUNS)]
        least_s = [min(row[number][0] for row in costs) for number in range(len(every))]
        for number, words in enumerate(every[1:], 1):
            what, note = f"data-engine {words[2]}", f"{1000 * least_s[number]:.0f} ms"
            report(f"{what}, by the import of typer and rich", least_s[number] / least_s[0], 1.5, "x", note)
            report(f"{what}, memory", max(row[number][1] for row in costs), 60, "MB")
    finish()


if __name__ == "__main__":
    main()
