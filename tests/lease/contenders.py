"""Real processes on a real folder: a contender claims, commits and hands over as fast as it can, and says what it did.

    python -m tests.lease.contenders FOLDER NAME [TURNS]

Each line of its output is one row it was told is committed. It ends when it has owned TURNS times; without, never.
"""

from __future__ import annotations

import json
import math
import os
import random
import sys
import time
from pathlib import Path

from data_engine.lease.folder import OsFolder
from data_engine.lease.held_lease import HeldLease
from data_engine.lease.observer import Observer
from data_engine.lease.protocol import Fold, Identity, LeaseOutcome, Limits, View
from tests.lease.snapshots import snapshot_of
from tests.support import PATIENCE

LIMITS = Limits(0.05 * PATIENCE, 0.15 * PATIENCE)
"""As short as an owner can keep to them: one that is too slow for its own beats loses each turn."""


def observer_at(folder: Path, name: str) -> Observer:
    """A machine of its own per name, a daemon of its own per process."""
    me = Identity(name, f"{name}-{os.getpid()}", name, os.getpid(), "1.0", f"lock-{name}", "host")
    return Observer(OsFolder(folder), me, workspace="w", limits=LIMITS, holds_lock=lambda: True)


def rows_at(folder: Path) -> list[str]:
    """Every row of the newest generation, in order, with doubles."""
    snapshot = snapshot_of(observer_at(folder, "reader"))
    assert snapshot is not None
    contents = snapshot.new.get("runs", {}).values()
    return [row for content in contents for row in json.loads(content)]


def contend(folder: Path, name: str, turns: float) -> None:
    """Print each row once it is committed."""
    observer, turn, tries = observer_at(folder, name), 0, 0
    while turn < turns:
        try:
            view = observer.poll()
            if view.is_claimable:
                tries += 1
                take_a_turn(observer, view, f"{name}-{os.getpid()}-{tries}")
                turn += 1
            elif view.state == "owned" and random.random() < 0.3:
                observer.request_control()
        except (LeaseOutcome, OSError) as error:
            print(f"# {type(error).__name__}: {error}", flush=True)
        time.sleep(random.random() * LIMITS.poll_s)


def take_a_turn(observer: Observer, view: View, row: str) -> None:
    """Claim, commit a few rows, fold, collect, hand over."""
    held = observer.claim(view)
    held.heartbeat()
    for number in range(random.randrange(1, 6)):
        held.commit({"runs": json.dumps([f"{row}-{number}"]).encode()}, fold=halves(observer, held))
        print(f"{row}-{number}", flush=True)
        held.collect()
    held.release(observer.poll().request)


def halves(observer: Observer, held: HeldLease) -> dict[str, Fold]:
    """All segments but the newest as one, when there are many."""
    names = tuple(segment.name for segment in held.head.files.get("runs", ())[:-1])
    if len(names) < 8:
        return {}
    observer.poll()
    rows = [row for name in names for row in json.loads(observer.fetch("runs", name))]
    return {"runs": Fold(names, json.dumps(rows).encode())}


if __name__ == "__main__":
    contend(Path(sys.argv[1]), sys.argv[2], float(sys.argv[3]) if len(sys.argv) > 3 else math.inf)
