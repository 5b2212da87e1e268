"""`python -m tests.soak.link_kills [KILLS] [SEED]`: kill -9 what publishes, tidies and undoes, while links are put in its way.

One process runs a flow with a staged mirror, sweeps its stages, and moves outputs aside and back, again and again, and is killed
at random instants. All the time, but while the flow's own code writes, another one replaces folders and files beside and below
the mirror, the stages and what was moved aside by links to somebody's home and by pipes, puts lists there, and takes them away
again. After each kill nothing in that home has changed, each output is whole, and each file that was moved aside lies somewhere,
once, as it was. Then a run in peace puts all outputs of its version in place. POSIX only: it forks.
"""

from __future__ import annotations

import json
import mmap
import os
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import NoReturn

from data_engine import Flow, Workspace
from data_engine.engine.left_behind import SET_ASIDE, LeftBehind, put_back, set_aside
from data_engine.engine.local_workspace import local_workspace
from data_engine.engine.publication import STAGING, tidy
from data_engine.errors import FlowStoppedError, FlowValidationError
from data_engine.flow.context import FlowContext
from data_engine.ledger.outputs import runs_of_stages
from data_engine.workspace.machine import machine_id

OUTPUTS = ("a.txt", "sub/b.txt", "sub/deep/c.txt")
KEPT = tuple(f"old/{number}.txt" for number in range(10))
_MAY_ATTACK, _IS_ATTACKING, _HAS_BEGUN = 0, 1, 2
_COUNTS = ("links put in", "published", "refused", "moved aside", "moved back")
_LIMIT_S = 120.0


class Campaign:
    """`folder` gets all of it; `counts` says what was done."""

    def __init__(self, folder: Path, *, kills: int, seed: int) -> None:
        self.folder, self.kills, self.seed = folder, kills, seed
        self.share, self.out, self.home = folder / "share", folder / "share" / "out", folder / "home"
        self.counts: Counter[str] = Counter()
        self._rng = random.Random(seed)
        self._flags = mmap.mmap(-1, 64)
        self._numbers = memoryview(self._flags).cast("Q")

    def run(self) -> Counter[str]:
        """Do all of it; raises AssertionError at what is not right."""
        self._prepare()
        home = _state_of(self.home)
        with self._forked(self._attack):
            for number in range(1, self.kills + 1):
                with self._forked(partial(self._work, self._rng.random())) as pid:
                    self._wait_for(lambda: self._flags[_HAS_BEGUN] == 1, pid)
                    time.sleep(self._rng.expovariate(1 / 0.2))
                self.counts["kills"] += 1
                self._stop_attack()
                assert _state_of(self.home) == home, f"kill {number}: the home has changed"
                self._check_files(number)
                if number % 10 == 0 or number == self.kills:
                    self._check_run_in_peace(number)
                    assert _state_of(self.home) == home, f"kill {number}: the home has changed in peace"
        self.counts.update({name: self._numbers[1 + at] for at, name in enumerate(_COUNTS)})
        return self.counts

    def _count(self, what: str, count: int = 1) -> None:
        self._numbers[1 + _COUNTS.index(what)] += count

    def _prepare(self) -> None:
        for name in ("in", "share/out/old", "home/.ssh", "home/sub/deep", "home/out/old"):
            (self.folder / name).mkdir(parents=True)
        (self.folder / "in" / "a.csv").write_text("a")
        for name in (".bashrc", ".ssh/id_rsa", *OUTPUTS, "out/a.txt", "out/old/0.txt"):
            (self.home / name).write_text(f"mine: {name}")
        for name in KEPT:
            (self.out / name).write_text(f"{name} end")
        self._root = Workspace.create(self.folder / "ws").root
        self._machine = machine_id(local_workspace(self._root).local.state_root)

    # -- what is killed ----------------------------------------------------------------------------------------------------

    def _flow(self, version: str) -> Flow:
        def write(context: FlowContext) -> None:
            assert context.mirror is not None
            self._stop_attack()
            for name in OUTPUTS:
                context.mirror.root_file(name).write_text(f"{name} {version} end")
            self._flags[_MAY_ATTACK] = self._flags[_HAS_BEGUN] = 1

        flow = Flow(group="G", name="f", _workspace_root=self._root).watch(mode="manual", source=self.folder / "in")
        return flow.mirror(root=self.out, staged=True).step(write)

    def _work(self, seed: float) -> None:
        rng = random.Random(seed)
        runs = partial(runs_of_stages, local_workspace(self._root).local.ledger_path)
        flows = [self._flow("x" * rng.randrange(1, 2000)) for _ in range(20)]
        for flow in flows * 100:
            try:
                flow.run_once()
                self._count("published")
            except (FlowValidationError, FlowStoppedError):
                self._count("refused")
            with suppress(FlowValidationError):
                tidy(self.out, machine=self._machine, runs=runs, is_owner=True, now_s=time.time() + 120)
            some = [LeftBehind(str(self.out / name), "f", "", "", str(self.out)) for name in rng.sample(KEPT, 4)]
            with suppress(FlowValidationError):
                self._count("moved aside", len(set_aside(some)))
            with suppress(FlowValidationError):
                self._count("moved back", len(put_back([self.out])))

    # -- who puts links in -------------------------------------------------------------------------------------------------

    def _attack(self) -> None:
        rng = random.Random(self.seed + 1)
        targets = [self.home, self.home / ".ssh", self.home / "sub", self.home / "out"]
        attic = self.folder / "share" / "attic"
        attic.mkdir()
        number = 0
        while True:
            self._flags[_IS_ATTACKING] = 1  # before it is asked: who stops it then sees it, or is seen
            if not self._flags[_MAY_ATTACK]:
                self._flags[_IS_ATTACKING] = 0
                time.sleep(0.0005)
                continue
            number += 1
            self._count("links put in")
            with suppress(OSError):
                self._attack_once(rng, targets, attic / f"{number}.txt")  # what cannot be put back is looked for here

    def _attack_once(self, rng: random.Random, targets: list[Path], aside: Path) -> None:
        places = [path for path in self.share.rglob("*") if "attic" not in path.parts and not path.is_symlink()]
        if not places:
            return
        place = rng.choice(places)
        if rng.random() < 0.1:
            self._plant_list(rng, targets)
            return
        if rng.random() < 0.2 and place.is_dir():
            extra = place / rng.choice(["key", "a.txt", "b.txt", "sub", "deep", "out"])
            (os.mkfifo if rng.random() < 0.3 else partial(os.symlink, rng.choice(targets)))(extra)
            time.sleep(rng.random() / 500)
            extra.unlink()
            return
        os.rename(place, aside)
        try:
            if aside.is_dir() or rng.random() < 0.5:
                place.symlink_to(rng.choice(targets))
            else:
                os.mkfifo(place)
            time.sleep(rng.random() / 200)
            place.unlink()
        finally:
            if not os.path.lexists(place):
                os.rename(aside, place)

    def _plant_list(self, rng: random.Random, targets: list[Path]) -> None:
        staging = self.share / STAGING
        stage = staging / f"{self._machine}-{rng.getrandbits(64):x}"
        stage.symlink_to(rng.choice(targets))
        told = {"final_root": str(self.out), "machine": self._machine, "run_id": "r", "flow": "f"}
        names = [(path.name, path.stat().st_size, path.stat().st_mtime_ns) for path in self.home.iterdir()]
        stage.with_name(f"{stage.name}.json").write_text(json.dumps({**told, "files": names}))
        link = self.share / SET_ASIDE / "9999-01-01_00-00-00"
        with suppress(OSError):
            link.symlink_to(self.home)
        time.sleep(rng.random() / 200)
        for path in (stage, stage.with_name(f"{stage.name}.json"), link):
            path.unlink(missing_ok=True)

    def _stop_attack(self) -> None:
        """Wait until the other process has taken its links away."""
        self._flags[_MAY_ATTACK] = 0
        deadline_s = time.monotonic() + _LIMIT_S
        while self._flags[_IS_ATTACKING]:
            assert time.monotonic() < deadline_s, "the attacker hangs"
            time.sleep(0.0005)

    # -- what must hold ----------------------------------------------------------------------------------------------------

    def _check_files(self, number: int) -> None:
        found: Counter[str] = Counter()
        for path in self.share.rglob("*"):
            if path.is_symlink() or not path.is_file() or STAGING in path.parts or path.suffix != ".txt":
                continue
            text = path.read_text()
            assert text.endswith(" end"), f"kill {number}: {path} is not whole: {text[:80]!r}"
            found[text.split()[0]] += 1
        for name in KEPT:
            assert found[name] == 1, f"kill {number}: {name} is there {found[name]} times"

    def _check_run_in_peace(self, number: int) -> None:
        """Where links were in the way when folders were made, others lie in their place now; then those are moved away."""
        version = str(number)

        def run() -> None:
            self._flow_in_peace(version).run_once()

        with self._forked(run) as pid:
            _, status = self._waited(pid)
        assert status == 0, f"kill {number}: the run in peace failed"
        assert {name: (self.out / name).read_text() for name in OUTPUTS} == {
            name: f"{name} {version} end" for name in OUTPUTS
        }
        self.counts["runs in peace"] += 1

    def _flow_in_peace(self, version: str) -> Flow:
        def write(context: FlowContext) -> None:
            assert context.mirror is not None
            for name in OUTPUTS:
                context.mirror.root_file(name).write_text(f"{name} {version} end")

        flow = Flow(group="G", name="f", _workspace_root=self._root).watch(mode="manual", source=self.folder / "in")
        return flow.mirror(root=self.out, staged=True).step(write)

    # -- processes ---------------------------------------------------------------------------------------------------------

    @contextmanager
    def _forked(self, work: Callable[[], None]) -> Iterator[int]:
        """A child that does this; killed at the end."""
        self._flags[_HAS_BEGUN] = 0
        pid = os.fork()
        if pid == 0:
            _do(work)
        try:
            yield pid
        finally:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
            with suppress(ChildProcessError):
                os.waitpid(pid, 0)

    def _waited(self, pid: int) -> tuple[int, int]:
        deadline_s = time.monotonic() + _LIMIT_S
        while True:
            ended, status = os.waitpid(pid, os.WNOHANG)
            if ended:
                return ended, status
            assert time.monotonic() < deadline_s, "it hangs"
            time.sleep(0.002)

    def _wait_for(self, is_so: Callable[[], bool], pid: int) -> None:
        deadline_s = time.monotonic() + _LIMIT_S
        while not is_so():
            assert os.waitpid(pid, os.WNOHANG) == (0, 0), "it has ended"
            assert time.monotonic() < deadline_s, "it hangs"
            time.sleep(0.002)


def _do(work: Callable[[], None]) -> NoReturn:
    """Work as a forked child, silently, and end without what the parent does at its end."""
    try:
        silent = os.open(os.devnull, os.O_WRONLY)
        for descriptor in (1, 2):
            os.dup2(silent, descriptor)
        work()
    except BaseException:
        os._exit(1)
    os._exit(0)


def _state_of(folder: Path) -> dict[str, tuple[int, int, str]]:
    found = {}
    for path in folder.rglob("*"):
        facts = path.lstat()
        found[str(path)] = facts.st_ino, facts.st_mtime_ns, path.read_text() if path.is_file() else ""
    return found


def main() -> None:
    """KILLS kills."""
    given = [int(text) for text in sys.argv[1:]]
    kills, seed = [*given, *(500, random.SystemRandom().randrange(10**9))[len(given) :]]
    print(f"{kills} kills, seed {seed}", flush=True)
    with tempfile.TemporaryDirectory() as name:
        os.environ["DATA_ENGINE_STATE_ROOT"] = str(Path(name) / "state")
        os.environ["XDG_CONFIG_HOME"] = str(Path(name) / "config")
        began_s = time.monotonic()
        counts = Campaign(Path(name).resolve(), kills=kills, seed=seed).run()
    print(", ".join(f"{count} {what}" for what, count in counts.items()), f"in {time.monotonic() - began_s:.0f} s")


if __name__ == "__main__":
    main()
