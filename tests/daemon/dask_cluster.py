"""A Dask cluster of separate processes, as a team has one: a scheduler and workers with state roots of their own."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
import time
from pathlib import Path

from data_engine.platforms.processes import end_session

_PATIENCE_S = 60.0
REPOSITORY = Path(__file__).resolve().parents[2]
QUIET = {
    "DASK_DISTRIBUTED__WORKER__PROFILE__ENABLED": "False",
    "DASK_DISTRIBUTED__ADMIN__SYSTEM_MONITOR__INTERVAL": "2s",
    "DASK_DISTRIBUTED__ADMIN__TICK__INTERVAL": "200ms",
}
"""As in a local cluster of ours: else each of its processes looks at its threads a hundred times a second."""


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


class DaskCluster:
    """`dask scheduler` and `dask worker` processes; `mount` is where the workers have the workspace. With `has_nanny` each
    worker is a child of its process, which starts another one under the same address when it dies."""

    def __init__(
        self, folder: Path, mount: Path | None = None, *, workers: int = 2, threads: int = 1, has_nanny: bool = False
    ) -> None:
        self._folder, self.mount, self._has_nanny = folder, mount, has_nanny
        self._threads = threads
        self.workers: list[subprocess.Popen[bytes]] = []
        self.port = 0
        self.scheduler = self._start_scheduler()
        for _ in range(workers):
            self.add_worker()

    @property
    def address(self) -> str:
        return f"tcp://127.0.0.1:{self.port}"

    def settings(self, rest: str = "") -> str:
        """Of a workspace whose runs go there."""
        return f'[executor]\nkind = "dask"\nruns = "dask"\nscheduler = "{self.address}"\n{rest}'

    def add_worker(self) -> subprocess.Popen[bytes]:
        number = len(self.workers)
        environment = {**os.environ, "DATA_ENGINE_STATE_ROOT": str(self._folder / f"state{number}")}
        if self.mount is not None:
            environment["DATA_ENGINE_WORKSPACE_ROOT"] = str(self.mount)
        scratch = self._folder / f"scratch{number}"
        command = ["worker", self.address, "--nthreads", str(self._threads), "--no-dashboard"]
        command += ["--worker-port", str(_free_port())] if self._has_nanny else ["--no-nanny"]
        command += ["--local-directory", str(scratch), "--death-timeout", "30"]
        self.workers.append(self._dask(command, environment, f"worker{number}.log"))
        return self.workers[-1]

    def wait_for_workers(self) -> None:
        """Return when all workers that are there have joined."""
        deadline_s = time.monotonic() + _PATIENCE_S
        for number, process in enumerate(self.workers):
            said = self._folder / f"worker{number}.log"
            while process.poll() is None and "Registered to" not in said.read_text():
                assert time.monotonic() < deadline_s, said.read_text()
                time.sleep(0.05)

    def restart_scheduler(self) -> None:
        """A new one under the old address, where the old one has been ended."""
        self.scheduler.wait()
        self.scheduler = self._start_scheduler(self.port)

    def close(self) -> None:
        for process in (*self.workers, self.scheduler):
            if process.poll() is None:
                end_session(process.pid)
            process.wait()

    def _start_scheduler(self, port: int = 0) -> subprocess.Popen[bytes]:
        said = self._folder / "scheduler.log"
        said.unlink(missing_ok=True)
        command = ["scheduler", "--host", "127.0.0.1", "--port", str(port), "--no-dashboard", "--no-show"]
        process = self._dask(command, dict(os.environ), "scheduler.log")
        deadline_s = time.monotonic() + _PATIENCE_S
        while time.monotonic() < deadline_s:
            found = re.search(r"Scheduler at: +tcp://127\.0\.0\.1:(\d+)", said.read_text() if said.exists() else "")
            if found:
                self.port = int(found[1])
                return process
            time.sleep(0.05)
        raise AssertionError(f"no scheduler: {said.read_text()}")

    def _dask(self, arguments: list[str], environment: dict[str, str], said: str) -> subprocess.Popen[bytes]:
        self._folder.mkdir(parents=True, exist_ok=True)
        with (self._folder / said).open("wb") as file:
            return subprocess.Popen(
                [sys.executable, "-m", "dask", *arguments],
                env=environment | QUIET,
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=file,
                cwd=self._folder,
                start_new_session=sys.platform != "win32",
            )
