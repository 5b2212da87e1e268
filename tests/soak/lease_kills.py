"""`python -m tests.soak.lease_kills [N] [SEED]`: kill -9 owners of a real folder at N random instants.

Three contenders claim, commit, fold, collect and hand over on one folder; one of them is killed somewhere in it and starts
again. At the end every row that somebody was told is committed is there, and the workspace can be claimed.
"""

from __future__ import annotations

import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from data_engine.lease.generations import path_of
from tests.lease.contenders import LIMITS, observer_at, rows_at
from tests.support import end_now

ROOT = Path(__file__).parents[2]
NAMES = ("a", "b", "c")


@contextmanager
def contender(folder: Path, name: str, output: Path, *turns: str) -> Iterator[subprocess.Popen[bytes]]:
    """A running contender; killed at the end if it still runs."""
    with output.open("ab") as file:
        child = subprocess.Popen(
            [sys.executable, "-m", "tests.lease.contenders", str(folder), name, *turns], stdout=file, cwd=ROOT
        )
    try:
        yield child
    finally:
        child.kill()
        child.wait()


def kill_at_random(folder: Path, outputs: Path, kills: int, rng: random.Random) -> Counter[str]:
    """So many kills; what they hit, as far as the folder shows it.

    Raises:
        AssertionError: a row that was told is committed is gone.
    """
    hit: Counter[str] = Counter()
    children: dict[str, subprocess.Popen[bytes]] = {}
    try:
        for name in NAMES:
            children[name] = start(folder, name, outputs)
        for _ in range(kills):
            if rng.random() < 0.7:
                wait_until_more_than(size_of(outputs), outputs)
            else:
                time.sleep(rng.uniform(0, 0.3))
            name = rng.choice((owner_of(folder), *NAMES))
            time.sleep(rng.uniform(0, 0.02))
            end_now(children[name].pid)
            children[name].wait()
            hit[what_was_hit(folder, name)] += 1
            children[name] = start(folder, name, outputs)
    finally:
        for child in children.values():
            child.kill()
            child.wait()
    check(folder, outputs)
    return hit


def start(folder: Path, name: str, outputs: Path) -> subprocess.Popen[bytes]:
    """A contender that shows what it did in a file of its own: a kill may cut its last line short."""
    with (outputs / f"{name}-{len(list(outputs.iterdir()))}").open("xb") as file:
        return subprocess.Popen(
            [sys.executable, "-m", "tests.lease.contenders", str(folder), name], stdout=file, cwd=ROOT
        )


def owner_of(folder: Path) -> str:
    """Who owns, or did last."""
    top = observer_at(folder, "reader").poll().top
    return top.by.machine_id if top is not None and top.by.machine_id in NAMES else NAMES[0]


def what_was_hit(folder: Path, name: str) -> str:
    """The newest generation if it was the killed one's, and what it had begun after it."""
    top = observer_at(folder, "reader").poll().top
    if top is None or top.by.machine_id != name:
        return "not owning"
    has_begun = any(path.name.startswith("stage-") for path in (folder / path_of(top.number)).iterdir())
    return f"after its {top.kind}{', the next one begun' if has_begun else ''}"


def wait_until_more_than(size: int, outputs: Path) -> None:
    """Until contenders have told more."""
    wait_for(lambda: size_of(outputs) > size)


def check(folder: Path, outputs: Path) -> None:
    """Every told row is there, none twice, and somebody else can take over."""
    told = told_rows(outputs)
    rows = rows_at(folder)
    lost = sorted(set(told) - set(rows))
    assert not lost, f"committed and lost: {lost}"
    assert len(rows) == len(set(rows)), "a row is there twice"
    heir = observer_at(folder, "heir")
    wait_for(lambda: heir.poll().is_claimable)
    held = heir.claim(heir.poll())
    held.heartbeat()
    held.collect()
    assert sorted(rows_at(folder)) == sorted(rows)
    held.release()


def told_rows(outputs: Path) -> list[str]:
    """What contenders said is committed, without lines cut short."""
    lines = [line for path in outputs.iterdir() for line in path.read_text().split("\n")[:-1]]
    return [line for line in lines if not line.startswith("#")]


def size_of(outputs: Path) -> int:
    return sum(path.stat().st_size for path in outputs.iterdir())


def wait_for(done: Callable[[], bool], *, limit_s: float = 60.0) -> None:
    """Until `done()`; the limit is for a machine that is stuck."""
    until_s = time.monotonic() + limit_s
    while not done():
        assert time.monotonic() < until_s, "nothing happens any more"
        time.sleep(LIMITS.poll_s / 8)


def main() -> None:
    """N kills on one folder."""
    kills = int(sys.argv[1]) if len(sys.argv) > 1 else 200
    seed = int(sys.argv[2]) if len(sys.argv) > 2 else random.SystemRandom().randrange(10**9)
    print(f"{kills} kills, seed {seed}", flush=True)
    with tempfile.TemporaryDirectory() as name:
        folder, outputs = Path(name) / "share", Path(name) / "outputs"
        folder.mkdir()
        outputs.mkdir()
        hit = kill_at_random(folder, outputs, kills, random.Random(seed))
        rows = len(told_rows(outputs))
    for what, count in sorted(hit.items()):
        print(f"{count:8,}  {what}")
    print(f"{kills} kills over {rows} committed rows: none lost, none twice, the workspace free to take")


if __name__ == "__main__":
    main()
