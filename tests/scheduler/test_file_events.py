"""Events of folders as wake-ups: they come, and a watcher that ends harms nothing else of this process."""

from __future__ import annotations

import threading
import time
from pathlib import Path

from watchdog.events import FileSystemEventHandler

from data_engine.platforms.drives import new_observer
from data_engine.scheduler.scanner import FileEvents
from tests.support import PATIENCE


def test_what_changes_in_a_folder_is_told(tmp_path: Path) -> None:
    told = threading.Event()
    events = FileEvents()
    assert events.watch(tmp_path, lambda path: told.set() if path.endswith("a.txt") else None, recursive=True)

    (tmp_path / "a.txt").write_text("x")

    assert told.wait(5 * PATIENCE)
    events.close()


def test_a_folder_that_is_written_to_steadily_is_told_at_once(tmp_path: Path) -> None:
    """A program that appends lines, or copies many files: nobody waits until it is done. FSEvents may tell several as one."""
    told, writes = threading.Event(), 0
    events = FileEvents()
    assert events.watch(tmp_path, lambda path: told.set() if path.endswith("a.txt") else None, recursive=True)
    while not told.is_set() and writes < 15 * PATIENCE:
        with (tmp_path / "a.txt").open("a") as file:
            file.write("x")
        writes += 1
        time.sleep(0.2)
    events.close()

    assert told.is_set()
    assert writes <= 5 * PATIENCE  # a second


def test_a_watcher_that_ends_twice_takes_no_handle_of_others_along(tmp_path: Path) -> None:
    """By itself when its folder goes, then by whoever ends it: a file that was opened between may have the number of its handle."""
    observer = new_observer()
    observer.start()
    observer.schedule(FileSystemEventHandler(), str(tmp_path))
    (watcher,) = observer.emitters
    watcher.stop()
    watcher.join()
    files = [(tmp_path / f"file {number}").open("w+b") for number in range(50)]

    observer.stop()
    observer.join()

    for file in files:
        file.write(b"x")
        file.close()
