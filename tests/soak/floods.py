"""`python -m tests.soak.floods [SIZE_GB] [FILES]`: a step that prints 2 GB, and 10,000 files at once, under the whole daemon.

Each way of printing (lines from Python, one endless line from Python, C code, a child process) must end with a bounded
log of its first and last lines that says how much it left out, while the daemon stays small and answers. Of the files each must be run exactly once.
"""

from __future__ import annotations

import os
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

from data_engine import Workspace
from data_engine.daemon.control import DaemonClient
from data_engine.ledger.logs import MOST_BYTES, MOST_LINES
from data_engine.model import Run
from tests.soak.daemon_kills import until
from tests.support import WorkspaceFiles

PRINTS = """
    import ctypes
    import os
    import subprocess
    import sys
    from data_engine import Flow

    def flood(context):
        size, how = context.params["bytes"], context.params["how"]
        if how == "lines":
            for _ in range(size // 1000):
                print("x" * 999)
        elif how == "endless line":
            for _ in range(size // 100_000):
                print("x" * 100_000, end="")
        elif how == "written":
            piece = b"x" * 1_000_000
            for _ in range(size // len(piece)):
                os.write(1, piece)
        elif how == "c code":
            text = b"x" * 9_999
            puts = ctypes.CDLL("ucrtbase" if sys.platform == "win32" else None).puts
            for _ in range(size // 10_000):
                puts(text)
        else:
            child = f"import sys; sys.stdout.buffer.write(bytes({size}))"
            subprocess.run([sys.executable, "-c", child], stderr=subprocess.STDOUT, check=True)
        if how in ("lines", "endless line"):
            print("\\nthe last line")
        else:
            os.write(1, b"\\nthe last line\\n")

    def build():
        return Flow(group="P").step(flood)
"""
FILES = """
    from data_engine import Flow

    def read(context):
        return len(context.source.path.read_text())

    def build():
        return (
            Flow(group="F").watch(mode="poll", source="../in", interval="500ms", extensions=".txt", settle=0, max_parallel=2)
            .step(read)
        )
"""
WAYS = ("lines", "endless line", "written", "c code", "a child")
MOST_GROWTH_MB = 60.0
LONGEST_ANSWER_S = 2.0


@dataclass
class Peak:
    """The most memory the daemon had, and its slowest answer, while something went on."""

    before_mb: float
    rss_mb: float = 0.0
    answer_s: float = 0.0

    @property
    def growth_mb(self) -> float:
        """How much larger it became."""
        return self.rss_mb - self.before_mb


class Floods:
    """One workspace whose daemon is flooded."""

    def __init__(self, ws: WorkspaceFiles) -> None:
        ws.source("config/data_engine.toml", '[deploy]\nmode = "auto"\nquiet = "0s"\n[executor]\nworkers = 2\n')
        ws.notebook("prints", PRINTS)
        ws.notebook("files", FILES)
        self.folder = ws.root / "in"
        self.folder.mkdir()
        self.workspace = Workspace(ws.root)
        self.workspace.start()
        self._daemon = psutil.Process(self.workspace.status()["daemon"]["pid"])

    def close(self) -> None:
        """End the daemon and its workers."""
        self.workspace.kill()

    def prints(self, how: str, size: int) -> Peak:
        """Let a step print so many bytes; raises AssertionError at what is not right."""
        ledger = self.workspace.home.local.ledger_path
        before_mb = ledger.stat().st_size / 1e6
        with self._watched() as peak:
            (run,) = self.workspace.run("prints", params={"how": how, "bytes": size})
        assert isinstance(run, Run)
        assert run.status == "success", f"{how}: {run.error}"
        log = self.workspace.log(run.run_id)
        told = [line.message for line in log if "left out here" in line.message]
        kept_of_a_piece = 10 if how == "endless line" else 1  # of its 100,000 letters MAX_LINE
        assert told or size < kept_of_a_piece * MOST_BYTES, f"{how}: nothing is said of what was left out"
        assert len(log) <= 2 * MOST_LINES + 2
        assert log[-1].message == "the last line", f"{how}: the end of the log is not kept"
        kept = sum(len(line.message) for line in log)
        assert kept <= 2 * MOST_BYTES + 200_000, f"{how}: {kept:,} characters are kept"
        assert ledger.stat().st_size / 1e6 - before_mb < 25, f"{how}: the ledger grew too much"
        self._check(peak, how)
        return peak

    def files(self, count: int, timeout_s: float = 600) -> tuple[float, Peak]:
        """Drop so many files at once; the seconds until all were run."""
        for number in range(count):
            (self.folder / f"{number:05d}.txt").write_text("x")
        begun_s = time.monotonic()
        ledger = self.workspace.home.ledger()
        with self._watched() as peak:
            self.workspace.start_engine()
            until(lambda: len(ledger.source_states("files")) == count, "files are left", timeout_s)
            until(lambda: not self.workspace.status()["active_runs"], "a run does not end")
        took_s = time.monotonic() - begun_s
        runs = Counter((run.source, run.status) for run in self.workspace.runs("files", 10 * count))
        assert set(runs.values()) == {1}, f"run more than once: {runs.most_common(3)}"
        assert {status for _, status in runs} == {"success"}
        assert len(runs) == count
        self._check(peak, f"{count} files")
        return took_s, peak

    def long_engine(self, count: int, burst: int = 100) -> list[float]:
        """Drop so many files in bursts; the daemon's memory in MB after each tenth of them."""
        self.workspace.start_engine()
        ledger = self.workspace.home.ledger()
        samples = []
        for first in range(0, count, burst):
            for number in range(first, first + burst):
                (self.folder / f"long{number:06d}.txt").write_text("x")
            until(lambda first=first: len(ledger.source_states("files")) >= first + burst, "files are left", 120)  # type: ignore[misc]
            if (first + burst) % (count // 10) == 0:
                samples.append(self._daemon.memory_info().rss / 1e6)
        return samples

    @contextmanager
    def _watched(self) -> Iterator[Peak]:
        peak = Peak(self._daemon.memory_info().rss / 1e6)
        is_over = threading.Event()
        client = DaemonClient.connect(self.workspace.home.local)
        assert client is not None

        def watch() -> None:
            while not is_over.wait(0.05):
                peak.rss_mb = max(peak.rss_mb, self._daemon.memory_info().rss / 1e6)
                asked_s = time.monotonic()
                client.get("/status")
                peak.answer_s = max(peak.answer_s, time.monotonic() - asked_s)

        watching = threading.Thread(target=watch)
        watching.start()
        try:
            yield peak
        finally:
            is_over.set()
            watching.join()
            client.close()

    def _check(self, peak: Peak, what: str) -> None:
        assert peak.growth_mb < MOST_GROWTH_MB, f"{what}: the daemon grew by {peak.growth_mb:.0f} MB"
        assert peak.answer_s < LONGEST_ANSWER_S, f"{what}: the daemon needed {peak.answer_s:.1f} s to answer"


def main() -> None:
    """2 GB of prints in each way, then 10,000 files at once, then a long engine."""
    size = int(float(sys.argv[1]) * 1e9) if len(sys.argv) > 1 else 2_000_000_000
    count = int(sys.argv[2]) if len(sys.argv) > 2 else 10_000
    with tempfile.TemporaryDirectory() as name:
        os.environ["DATA_ENGINE_STATE_ROOT"] = str(Path(name) / "state")
        os.environ["XDG_CONFIG_HOME"] = str(Path(name) / "config")
        floods = Floods(WorkspaceFiles(Path(name) / "ws"))
        try:
            for how in WAYS:
                begun_s = time.monotonic()
                peak = floods.prints(how, size)
                print(
                    f"{size / 1e9:g} GB as {how}: {time.monotonic() - begun_s:.0f} s, daemon +{peak.growth_mb:.0f} MB, "
                    f"slowest answer {peak.answer_s * 1000:.0f} ms",
                    flush=True,
                )
            took_s, peak = floods.files(count)
            print(
                f"{count:,} files at once: {took_s:.1f} s, each once, daemon +{peak.growth_mb:.0f} MB, "
                f"slowest answer {peak.answer_s * 1000:.0f} ms",
                flush=True,
            )
            samples = floods.long_engine(3000)
            print("a long engine, MB after each 300 of 3,000 files:", " ".join(f"{one:.1f}" for one in samples))
            assert samples[-1] - samples[2] < 5, "the daemon's memory grows"
        finally:
            floods.close()


if __name__ == "__main__":
    main()
