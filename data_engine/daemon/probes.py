"""What a drive and this machine really do: each function tries one thing and says what it saw.

All may raise `OSError`: then nothing was learnt.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from contextlib import suppress
from itertools import pairwise
from pathlib import Path

from data_engine.platforms.processes import apart, detached

_BARE_PYTHON = (sys.executable, "-I", "-S", "-c")

_LOOK = """
import os, sys, time
folder, name, limit_s = sys.argv[1], sys.argv[2], float(sys.argv[3])
os.listdir(folder)
print("looking", flush=True)
until_s = time.monotonic() + limit_s
while time.monotonic() < until_s:
    if name in os.listdir(folder):
        print(time.monotonic(), flush=True)
        break
    time.sleep(0.0005)
"""

_LEAVE_A_CHILD = """
import json, subprocess, sys
none = subprocess.DEVNULL
child = [sys.executable, "-I", "-S", "-c", "import time; time.sleep(20)"]
print(subprocess.Popen(child, stdin=none, stdout=none, stderr=none, **json.loads(sys.argv[1])).pid)
"""


def stamp_step_s(folder: Path, *, limit_s: float = 2.2) -> float | None:
    """The smallest step between modification times of one file that is written again and again; None: no step seen."""
    path = folder / "written"
    until_s = time.monotonic() + limit_s
    stamps: set[int] = set()
    while len(stamps) < 6 and time.monotonic() < until_s:
        path.write_bytes(b"x")
        stamps.add(path.stat().st_mtime_ns)
    ordered = sorted(stamps)
    return min((later - earlier for earlier, later in pairwise(ordered)), default=0) / 1e9 or None


def visibility_delay_s(folder: Path, *, limit_s: float = 5.0) -> float | None:
    """How long after it was written another process of this machine lists a new file; None: not within `limit_s`."""
    name = "new"
    with subprocess.Popen(
        [*_BARE_PYTHON, _LOOK, str(folder), name, str(limit_s)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        **apart(),
    ) as looker:
        assert looker.stdout is not None
        try:
            if looker.stdout.readline().strip() != b"looking":
                raise OSError("another process cannot list the folder")
            (folder / name).write_bytes(b"x")
            written_s = time.monotonic()  # one clock for all processes of a machine, on every platform we know
            seen = looker.stdout.readline().strip()
        finally:
            looker.kill()
    return max(0.0, float(seen) - written_s) if seen else None


def ends_with_its_parent(*, watch_s: float = 0.1) -> str | None:
    """Why a process that is started as the daemon is does not outlive its parent; None when it does."""
    import psutil

    parent = subprocess.run(
        [*_BARE_PYTHON, _LEAVE_A_CHILD, json.dumps(detached()[-1])],
        capture_output=True,
        text=True,
        timeout=10,
        check=False,
        **apart(),
    )
    if parent.returncode != 0:
        return f"it could not be started: {parent.stderr.strip().splitlines()[-1:] or parent.returncode}"
    try:
        child = psutil.Process(int(parent.stdout))
        child.wait(timeout=watch_s)
    except psutil.TimeoutExpired:
        with suppress(psutil.Error):
            child.kill()
        return None
    except psutil.NoSuchProcess:
        pass
    return "it ended with its parent"
