"""What a drive and this machine really do: each function tries one thing in a folder of its own and says what it saw.

All may raise `OSError`: then nothing was learnt. What is made here is removed by whoever made the folder.
"""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from itertools import pairwise
from pathlib import Path

from data_engine.files import replace_file
from data_engine.nofollow import remove_tree
from data_engine.platforms.drives import network_drive
from data_engine.platforms.processes import apart, detached
from data_engine.record import frozen
from data_engine.scheduler.file_events import FileEvents

_RACERS = 4
_RACES = 10
_FEWEST_REPLACEMENTS = 20
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


@contextmanager
def probe_folder(parent: Path) -> Iterator[Path]:
    """A new folder in `parent` that scans skip; it is gone afterwards."""
    folder = parent / f".probe-{secrets.token_hex(6)}.tmp"
    folder.mkdir()
    try:
        yield folder
    finally:
        remove_tree(parent, folder)


def creators_that_won(folder: Path) -> list[int]:
    """For each of several names, how many of the threads that created it exclusively at once were told they did."""

    def create(path: Path) -> bool:
        start.wait()
        try:
            os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL))
        except FileExistsError:
            return False
        return True

    start = threading.Barrier(_RACERS)
    with ThreadPoolExecutor(_RACERS) as pool:
        return [sum(pool.map(create, [folder / f"race-{number}"] * _RACERS)) for number in range(_RACES)]


@frozen
class Replaced:
    """What a reader saw of a file that was replaced `times` times: how often it was `absent` or `torn`."""

    times: int
    reads: int
    absent: int
    torn: int


def replace_under_a_reader(
    folder: Path, *, replace: Callable[[Path, Path], object] = replace_file, for_s: float = 0.2
) -> Replaced:
    """Replace a file again and again, at least 20 times, while another thread reads it."""
    target, fresh = folder / "replaced", folder / "fresh"
    contents = (b"a" * 8192, b"b" * 8192)
    target.write_bytes(contents[0])
    ended = threading.Event()
    saw = {"reads": 0, "absent": 0, "torn": 0}

    def read() -> None:
        while not ended.is_set():
            saw["reads"] += 1
            began_s = time.monotonic()
            try:
                saw["torn"] += target.read_bytes() not in contents
            except FileNotFoundError:
                saw["absent"] += 1
            except OSError:
                pass  # Windows, in the instant of the replacement: no news
            # Where an open file cannot be replaced, a reader that never pauses would keep it for itself.
            ended.wait(3 * (time.monotonic() - began_s))

    reader = threading.Thread(target=read)
    reader.start()
    times, until_s = 0, time.monotonic() + for_s
    try:
        while times < _FEWEST_REPLACEMENTS or time.monotonic() < until_s:
            times += 1
            fresh.write_bytes(contents[times % 2])
            replace(fresh, target)
    finally:
        ended.set()
        reader.join()
    return Replaced(times, **saw)


def clock_offset_s(folder: Path) -> float:
    """How far the clock that stamps files on this drive is ahead of this machine's; 0 when it agrees, below 0 behind.

    Told by a new folder: a client may stamp a file that it writes by its own clock, and tell the server later.
    """
    path = folder / "stamped"
    before_s = time.time()
    path.mkdir()
    after_s = time.time()
    stamp_s = path.stat().st_mtime
    return stamp_s - min(max(stamp_s, before_s), after_s)


def server_ahead_s(folder: Path) -> float | None:
    """How far the clock of the file server that has `folder` is ahead of this machine's; None for a local drive's."""
    if network_drive(folder) is None:
        return None
    with probe_folder(folder) as probed:
        return clock_offset_s(probed)


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


def event_delay_s(folder: Path, *, limit_s: float = 2.0) -> float | None:
    """How long after a file is made a file-system event tells of it; None: none within `limit_s`, or no watching."""
    told = threading.Event()
    path = folder / "told"
    events = FileEvents()
    try:
        if not events.watch(folder, lambda changed: told.set() if changed == str(path) else None, recursive=False):
            return None
        made_s = time.monotonic()
        path.write_bytes(b"x")
        return time.monotonic() - made_s if told.wait(limit_s) else None
    finally:
        events.close()


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
