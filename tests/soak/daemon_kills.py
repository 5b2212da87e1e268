"""`python -m tests.soak.daemon_kills [KILLS] [FILES] [SEED]`: kill -9 the daemon and its workers while files arrive.

Files are dropped in bursts, some replaced later, and processes killed at random instants: workers, the daemon, and the
daemon while it starts. A killed daemon is started again; its engine must come back on by itself. At the end every file
is done by the ledger and in truth, no run is left `started`, and no process of the workspace is left. The seed is
printed; give it again to repeat a campaign (as far as the machine does the same).
"""

from __future__ import annotations

import hashlib
import os
import random
import statistics
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import psutil

from data_engine import FlowValidationError, Workspace
from data_engine.daemon.control import read_endpoint
from data_engine.engine.local_workspace import forget_workspaces
from data_engine.files import write_text_atomic
from data_engine.model import Run, Signature, SourceKey, SourceState
from tests.support import ON_WINE, PATIENCE, WorkspaceFiles

FLOW = "poll"
MODULE = """
    import hashlib
    import time
    from data_engine import Flow
    from data_engine.files import write_text_atomic

    def read(context):
        text = context.source.path.read_text()
        time.sleep(int(text.split()[0]) / 1000)
        return text

    def write(context):
        target = context.mirror.with_suffix(".out")
        write_text_atomic(target, hashlib.sha256(context.current.encode()).hexdigest(), durable=False)
        return target

    def build():
        return (
            Flow(group="G")
            .watch(mode="poll", source="../in", interval="200ms", extensions=".txt", settle=0, max_parallel=2)
            .mirror(root="../out").step(read).step(write)
        )
"""


@dataclass
class Report:
    """What a campaign did."""

    seed: int
    files: int = 0
    replaced: int = 0
    kills: Counter[str] = field(default_factory=Counter)
    starts_s: list[float] = field(default_factory=list)
    engine_s: list[float] = field(default_factory=list)
    runs: Counter[str] = field(default_factory=Counter)
    held: Counter[str] = field(default_factory=Counter)
    interrupted: int = 0
    seconds: float = 0.0

    def __str__(self) -> str:
        kills = ", ".join(f"{count} {what}" for what, count in sorted(self.kills.items()))
        runs = ", ".join(f"{count} {status}" for status, count in sorted(self.runs.items()))
        held = ", ".join(f"{count} {how}" for how, count in sorted(self.held.items())) or "none"
        return (
            f"{self.kills.total()} kills ({kills}) over {self.files} files ({self.replaced} replaced once) "
            f"in {self.seconds:.0f} s, seed {self.seed}\n"
            f"runs: {runs}; files whose run was hit: {self.interrupted}; held at the end and freed: {held}\n"
            f"restart: {_times(self.starts_s)}; engine on again: {_times(self.engine_s)}"
        )


class Campaign:
    """One workspace that files are dropped into and whose processes are killed."""

    module = MODULE

    def __init__(self, ws: WorkspaceFiles, *, kills: int, files: int, seed: int) -> None:
        self.report = Report(seed)
        self._kills, self._files = kills, files
        self._rng = random.Random(seed)
        ws.source("config/data_engine.toml", '[deploy]\nmode = "auto"\nquiet = "0s"\n')
        ws.notebook(FLOW, self.module)
        self._in = ws.root / "in"
        self._in.mkdir()
        self._texts: dict[str, list[str]] = {}
        self.workspace = Workspace(ws.root)

    def run(self) -> Report:
        """Do all of it; raises AssertionError at what is not right."""
        begun_s = time.monotonic()
        self.workspace.start_engine()
        try:
            for number in range(self._kills):
                share = self._files * (number + 1) // self._kills
                self._drop(share - len(self._texts))
                time.sleep(self._rng.expovariate(1 / 0.15))
                self._kill_something()
            self._settle()
            self._check()
            self.workspace.shutdown()
            until(lambda: not self._processes(), "a process of the workspace is left")
        finally:
            self.workspace.kill()
        self.report.seconds = time.monotonic() - begun_s
        return self.report

    # -- dropping --------------------------------------------------------------------------------------------------

    def _drop(self, count: int) -> None:
        for _ in range(count):
            name = f"{len(self._texts):05d}.txt"
            self._texts[name] = []
            self._put(name)
            self.report.files += 1
        once = [name for name, texts in self._texts.items() if len(texts) == 1]
        for name in self._rng.sample(once, min(len(once), count // 8)):
            self._put(name)
            self.report.replaced += 1

    def _put(self, name: str) -> None:
        texts = self._texts[name]
        texts.append(
            f"{self._rng.choice((0, 1, 5, 30))} version {len(texts)} of {name} {'x' * self._rng.randrange(99)}"
        )
        write_text_atomic(self._in / name, texts[-1], durable=False)

    # -- killing ---------------------------------------------------------------------------------------------------

    def _kill_something(self) -> None:
        daemon = self._daemon()
        if self._rng.random() < 0.65:
            # A moment without workers is part of it: then the one that comes next is hit, maybe while it starts.
            workers = until(lambda: self._workers(daemon), "the daemon has no workers")
            self._kill(self._rng.choice(workers), "workers")
            return
        left = [daemon, *self._workers(daemon)]
        self._kill(daemon, "daemons")
        is_hit_again = self._rng.random() < 0.25
        if is_hit_again:
            self._kill_while_it_starts()
        begun_s = time.monotonic()
        self.workspace.start()
        start_s = time.monotonic() - begun_s
        assert not [one for one in left if is_alive(one)], (
            "a worker of a daemon that was killed outlives the next start"
        )
        until(lambda: self.workspace.status()["engine"]["on"], "the engine does not come back on by itself")
        if not is_hit_again:
            self.report.starts_s.append(start_s)
            self.report.engine_s.append(time.monotonic() - begun_s)
        until(self._is_flow_good, "the flow is broken after a restart")

    def _is_flow_good(self) -> bool:
        return [flow["error"] for flow in self.workspace.status()["flows"]] == [None]

    def _kill_while_it_starts(self) -> None:
        def start() -> None:
            with suppress(FlowValidationError):  # it was killed before it answered
                self.workspace.start()

        starting = threading.Thread(target=start)
        starting.start()
        time.sleep(self._rng.uniform(0.0, 0.6))
        is_daemon_spared = self._rng.random() < 0.5
        for process in self._processes():
            is_worker = "data_engine.daemon.worker" in self._command(process)
            if is_worker or not is_daemon_spared:
                self._kill(process, "workers of a starting daemon" if is_worker else "starting daemons")
        starting.join()

    def _kill(self, process: psutil.Process, what: str) -> None:
        with suppress(psutil.NoSuchProcess):
            process.kill()
            self.report.kills[what] += 1
            if "daemons" in what:  # whoever starts a daemon while another is dying finds that one
                psutil.wait_procs([process], timeout=5)

    def _command(self, process: psutil.Process) -> list[str]:
        try:
            return process.cmdline()
        except psutil.Error:
            return []

    def _daemon(self) -> psutil.Process:
        endpoint = read_endpoint(self.workspace.home.local)
        assert endpoint is not None
        assert endpoint.is_alive(), "the daemon is gone and nobody killed it"
        return psutil.Process(endpoint.pid)

    def _workers(self, daemon: psutil.Process) -> list[psutil.Process]:
        """Its processes that run flows; the one that reads and writes Parquet for it runs none, and ends a moment after it."""
        found = []
        for one in daemon.children():
            with suppress(psutil.NoSuchProcess):
                if is_alive(one) and not any("parquet_process" in word for word in one.cmdline()):
                    found.append(one)
        return found

    def _processes(self) -> list[psutil.Process]:
        """Every living process of the workspace: they all work in its runtime folder, or are told its root."""
        found = []
        runtime, root = str(self.workspace.home.local.runtime_dir), str(self.workspace.root)
        for process in psutil.process_iter():
            with suppress(psutil.Error, OSError):
                if is_alive(process) and is_made(process) and (process.cwd() == runtime or root in process.cmdline()):
                    found.append(process)
        return found

    # -- the end ---------------------------------------------------------------------------------------------------

    def _settle(self) -> None:
        """Wait for what is due, then free what is held, as a person would: some by name, the rest at once."""
        until(self._is_quiet, "files are left that nobody runs and nothing holds", timeout_s=120)
        held = self._not_done()
        retried, rest = set(held[::2][:20]), set(held) - set(held[::2][:20])
        for name in sorted(retried):
            self.workspace.retry(FLOW, self._in / name)
        until(lambda: retried.isdisjoint(self._not_done()), "a retried file is not run")
        assert set(self._not_done()) == rest, "a file was run again though nobody freed it"
        if rest:
            self.workspace.stop_engine()
            self.workspace.start_engine()
        until(lambda: not self._not_done() and self._is_quiet(), "a file that was held is not run", timeout_s=60)
        self.report.held = Counter({"by retry": len(retried), "by starting the engine": len(rest)})

    def _is_quiet(self) -> bool:
        """Whether no run is under way and every file is done as it is now, or held as it is now."""
        states = self._states()
        for name in self._texts:
            state = states.get(name)
            if state is None or state.last[:2] != self._signature(name)[:2]:
                return False
            if state.status == "abandoned" and state.abandoned_in_a_row < 2:
                return False
        return not self.workspace.status()["active_runs"]

    def _not_done(self) -> list[str]:
        states = self._states()
        return sorted(name for name in self._texts if name not in states or states[name].status != "success")

    def _states(self) -> dict[str, SourceState]:
        states = self.workspace.home.ledger().source_states(FLOW)
        return {key.path: state for key, state in states.items()}

    def _signature(self, name: str) -> Signature:
        facts = (self._in / name).stat()
        return Signature(facts.st_size, facts.st_mtime_ns)

    def _check(self) -> None:
        runs = self.workspace.runs(limit=1_000_000)
        self.report.runs.update(run.status for run in runs)
        by_file: dict[str, list[Run]] = {name: [] for name in self._texts}
        for run in runs:
            assert run.status in ("success", "failed", "abandoned"), f"{run.run_id} ended as {run.status}: {run.cause}"
            assert run.status == "success" or run.cause or run.error, f"{run.run_id} {run.status} has no cause"
            by_file[Path(run.source or "").name].append(run)
        states = self.workspace.home.ledger().source_states(FLOW)
        assert {key.path for key in states} == set(self._texts), "the ledger knows other files than were dropped"
        for name, texts in self._texts.items():
            self._check_file(name, texts, by_file[name], states)
        self.report.interrupted = sum(any(run.status != "success" for run in runs) for runs in by_file.values())

    def _check_file(self, name: str, texts: list[str], runs: list[Run], states: dict[SourceKey, SourceState]) -> None:
        state = next(state for key, state in states.items() if key.path == name)
        good = [run for run in runs if run.status == "success"]
        assert state.status == "success", f"{name} is {state.status}"
        assert state.success is not None
        assert state.success[:2] == self._signature(name)[:2], f"{name} is done by another signature"
        assert state.success_run_id in {run.run_id for run in good}, f"the run that did {name} is not in the history"
        self._check_output(name, hashlib.sha256(texts[-1].encode()).hexdigest())
        assert 1 <= len(good) <= len(texts), f"{name} ran well {len(good)} times for {len(texts)} versions"

    def _check_output(self, name: str, digest: str) -> None:
        output = self.workspace.root / "out" / Path(name).with_suffix(".out")
        assert output.is_file(), f"{name} is done without output"
        assert output.read_text() == digest, f"{name}: the output is wrong"


T = TypeVar("T")
HALF_MADE_BYTES = 8_000_000
"""What a process without its program has at most; a Python that has begun has more."""


def until(question: Callable[[], T], what: str, timeout_s: float = 30.0) -> T:
    """The first answer that is true; AssertionError with `what` when none comes."""
    deadline_s = time.monotonic() + timeout_s * PATIENCE
    while time.monotonic() < deadline_s:
        answer = question()
        if answer:
            return answer
        time.sleep(0.05)
    raise AssertionError(f"{what} (waited {timeout_s:g} s)")


def is_alive(process: psutil.Process) -> bool:
    """Whether it runs: a zombie does not."""
    try:
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def is_made(process: psutil.Process) -> bool:
    """Whether there is a program in it: under Wine one stays for ever whose maker was killed while it made it."""
    return not ON_WINE or process.memory_info().rss > HALF_MADE_BYTES


def _times(seconds: list[float]) -> str:
    if not seconds:
        return "none"
    return f"{len(seconds)} times, median {statistics.median(seconds):.2f} s, longest {max(seconds):.2f} s"


def main() -> None:
    """KILLS kills over FILES files."""
    given = [int(text) for text in sys.argv[1:]]
    kills, files, seed = [*given, *(300, 3000, random.SystemRandom().randrange(10**9))[len(given) :]]
    print(f"{kills} kills over {files} files, seed {seed}", flush=True)
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as name:  # what went wrong may have files open
        os.environ["DATA_ENGINE_STATE_ROOT"] = str(Path(name) / "state")
        os.environ["XDG_CONFIG_HOME"] = str(Path(name) / "config")
        try:
            print(Campaign(WorkspaceFiles(Path(name) / "ws"), kills=kills, files=files, seed=seed).run(), flush=True)
        except BaseException:
            print(log_tail(Path(name)), file=sys.stderr)
            raise
        finally:
            forget_workspaces()  # a file that is open cannot be removed on Windows
    print("none lost, none wrong, none left started, no process left")


def log_tail(folder: Path) -> str:
    """The end of the daemon's log, for whoever looks into a failure."""
    return "\n".join(path.read_text(errors="replace")[-6000:] for path in folder.rglob("daemon.log"))


if __name__ == "__main__":
    main()
