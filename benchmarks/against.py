"""Whether this revision is slower than another: `python -m benchmarks.against REVISION [NAME] [ARGUMENT ...]`.

The script `benchmarks/NAME.py` of this revision (`runs` by default), which uses public means only and prints one figure a line, is
run in turn here and in an environment of its own for the other revision: a worktree of Git and a virtual environment beside it, kept
in the folder for temporary files. Of each figure the best of a few rounds counts; less is better, but for a unit that ends in `/s`. The exit code is 1 where one is worse by more than a tenth.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
ROUNDS = 3
ALLOWED = 1.1

_FIGURE = re.compile(r"(?P<name>.+?)\s+(?P<value>-?[\d.]+)(?:\t| )(?P<unit>\S+)(?:$|\s+limit\s)")
"""A line of a benchmark: a name, a value and a unit with tabs between, or with its limit as `benchmarks.figures.report` prints it."""

Figures = dict[str, tuple[float, str]]


def environment_of(revision: str) -> Path:
    """The Python of an environment in which that revision is installed; made when it is first asked for."""
    commit = subprocess.check_output(["git", "rev-parse", "--verify", f"{revision}^{{commit}}"], cwd=ROOT, text=True)
    folder = Path(tempfile.gettempdir()) / f"data-engine-{commit[:12]}"
    python = folder / ".venv" / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    if not (folder / ".ready").exists():
        subprocess.run(["git", "worktree", "prune"], cwd=ROOT, check=True)
        if not folder.exists():
            subprocess.run(
                ["git", "worktree", "add", "--quiet", "--detach", folder, commit.strip()], cwd=ROOT, check=True
            )
        venv.create(folder / ".venv", with_pip=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", "--editable", f"{folder}[test]"], check=True)
        (folder / ".ready").touch()
    return python


def figures(python: Path, script: Path, arguments: list[str]) -> Figures:
    """What the script prints there."""
    kept = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "PYTHONDONTWRITEBYTECODE")}
    command: list[str | Path] = [python, "-P", script, *arguments]
    done = subprocess.run(command, cwd=tempfile.gettempdir(), text=True, env=kept, stdout=subprocess.PIPE, check=False)
    if done.returncode > 1:  # 1: a figure is over its limit, which is another question
        done.check_returncode()
    rows = filter(None, map(_FIGURE.match, done.stdout.splitlines()))
    return {row["name"]: (float(row["value"]), row["unit"]) for row in rows}


def better(one: tuple[float, str], other: tuple[float, str]) -> tuple[float, str]:
    """The better of two figures."""
    return max(one, other) if one[1].endswith("/s") else min(one, other)


def times_slower(here: tuple[float, str], there: tuple[float, str]) -> float:
    """How many times as slow `here` is."""
    return there[0] / here[0] if here[1].endswith("/s") else here[0] / there[0]


def main() -> None:
    """Print each figure of both, and leave with 1 where this revision is slower."""
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    revision, name, *arguments = [*sys.argv[1:], *["runs"][len(sys.argv) - 2 :]]
    pythons = {"here": Path(sys.executable), "there": environment_of(revision)}
    best: dict[str, Figures] = {"here": {}, "there": {}}
    for _ in range(ROUNDS):
        for side, python in pythons.items():
            for figure, found in figures(python, ROOT / "benchmarks" / f"{name}.py", arguments).items():
                best[side][figure] = better(found, best[side].get(figure, found))
    slower = []
    for figure, here in best["here"].items():
        there = best["there"].get(figure)
        if there is None:
            print(f"{figure:<44} {here[0]:>10,.1f} {here[1]}")
            continue
        ratio = times_slower(here, there)
        print(
            f"{figure:<44} {here[0]:>10,.1f} {here[1]:<8} {revision}: {there[0]:>10,.1f}  {1 / ratio:.2f} times as fast"
        )
        slower += [figure] if ratio > ALLOWED else []
    sys.exit(f"slower: {', '.join(slower)}" if slower else 0)


if __name__ == "__main__":
    main()
