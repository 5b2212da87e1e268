"""`python -m tests.lanes`: what `.ci/run` runs once the machine is set up, in lanes, each with its verdict at the end.

A lane that fails fails the run, at once. One for which no time is left, which did not finish in its time, or which cannot be had here is named as
skipped. `--already SECONDS` counts what the set-up took.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from tests.windows import NO_WINE, NOT_FINISHED

ROOT = Path(__file__).parent.parent
END_S = 45 * 60
"""No lane begins that would not end by then: on a machine of two cores that does nothing else all of them have ended long before."""
SKIPPED = {NOT_FINISHED: "skipped in part, it did not finish in its time", NO_WINE: "skipped, it cannot be had here"}


@dataclass(frozen=True)
class Lane:
    """What runs in a process of its own when the minutes that it takes are left.

    What it needs is prepared while the first lane runs, most of whose tests wait; where that fails the lane tries again and says so.
    """

    name: str
    minutes: float
    command: tuple[str, ...]
    prepare: tuple[str, ...] = ()


LANES = (
    Lane("checks and tests", 0, ("-m", "tests", "--one-python")),
    Lane("the newest Python", 2, ("-m", "tests.newest"), ("-m", "tests.newest", "--prepare")),
    Lane("a plain install", 1, ("-m", "tests.release"), ("-m", "tests.release", "--prepare")),
    Lane(
        "Windows under Wine",
        3,
        ("-m", "tests.windows", "--telling", "--together", "--within", "3"),
        ("-m", "tests.windows", "--telling", "--prepare"),
    ),
    Lane(
        "a plain install under Wine",
        2,
        ("-m", "tests.windows", "--plain", "--within", "2"),
        ("-m", "tests.windows", "--plain", "--prepare"),
    ),
)


def run_lanes(lanes: Sequence[Lane], already_s: float = 0.0, end_s: float = END_S) -> int:
    """The exit code of the first lane that fails, else 0; says at the end what each gave."""
    began_s = time.monotonic() - already_s
    said = []
    with ThreadPoolExecutor(1) as beside:
        prepared = [beside.submit(_prepare, lane.prepare) for lane in lanes]
        for lane, ready in zip(lanes, prepared, strict=True):
            code = 0
            lane_began_s = time.monotonic()
            if lane_began_s - began_s + lane.minutes * 60 > end_s:
                said.append(f"{lane.name}: skipped, it takes {lane.minutes:g} minutes and that much time is not left")
                continue
            ready.result()
            print(f"\n==== {lane.name}", flush=True)
            code = subprocess.run([sys.executable, *lane.command], cwd=ROOT, check=False).returncode
            how = SKIPPED.get(code, f"FAILED with {code}") if code else "passed"
            said.append(f"{lane.name}: {how} ({time.monotonic() - lane_began_s:.0f} s)")
            if code and code not in SKIPPED:
                break
            code = 0
        beside.shutdown(wait=False, cancel_futures=True)
        after = (time.monotonic() - began_s) / 60
        print(f"\n==== {'FAILED' if code else 'passed'} after {after:.1f} minutes", *said, sep="\n", flush=True)
    return code


def _prepare(command: tuple[str, ...]) -> None:
    if command:
        nice = ("nice",) if os.name == "posix" else ()
        subprocess.run([*nice, sys.executable, *command], cwd=ROOT, check=False, capture_output=True)


def main() -> int:
    """All lanes."""
    parser = argparse.ArgumentParser(prog="python -m tests.lanes", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--already", type=float, default=0.0, metavar="SECONDS", help="that the set-up has taken")
    return run_lanes(LANES, parser.parse_args().already)


if __name__ == "__main__":
    sys.exit(main())
