"""Several workstations on one machine: each has a state root of its own, and so a daemon and a name of its own."""

from __future__ import annotations

import http.client
import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil

from data_engine import Workspace
from data_engine.daemon.control import API, DaemonClient, read_endpoint, read_token
from data_engine.errors import OwnedElsewhereError
from data_engine.platforms.processes import program_of
from data_engine.workspace.identity import local_layout
from data_engine.workspace.layout import LocalLayout, WorkspaceLayout
from tests.support import PATIENCE, until

REPOSITORY = Path(__file__).parents[2]

SETTINGS = '[deploy]\nmode = "auto"\nquiet = "0s"\n[lease]\nheartbeat = "500ms"\nstale_after = "4s"\n'
POLL = """
import time
from pathlib import Path
from data_engine import Flow

def begin(context):
    with open(Path(__file__).parent.parent / "begun.txt", "a") as file:
        file.write(context.source.path.name + " begin\\n")
    wanted = context.source.path.read_text()
    if wanted.startswith("until "):
        while not Path(__file__).parent.parent.joinpath(wanted.removeprefix("until ")).exists():
            time.sleep(0.01)
    else:
        time.sleep(float(wanted))

def finish(context):
    with open(Path(__file__).parent.parent / "begun.txt", "a") as file:
        file.write(context.source.path.name + " finish\\n")

def build():
    return Flow(group="Poll").watch(mode="poll", source="../in", interval="200ms", settle=0).step(begin).step(finish)
"""
"""Each source says how long its first step takes: seconds, or until a file of the workspace is there."""


def _read_events(answer: http.client.HTTPResponse, told: list[dict[str, Any]]) -> None:
    with suppress(OSError, ValueError, AttributeError, http.client.HTTPException):
        while line := answer.readline():
            if line.startswith(b"data: "):
                told.append(json.loads(line[6:]))


class Station:
    """One workstation that shares the workspace at `root`."""

    def __init__(self, name: str, root: Path, state: Path) -> None:
        self.name = name
        self.root = root
        self._state = state / name
        known = {key: value for key, value in os.environ.items() if not key.startswith("DATA_ENGINE")}
        self._environment = known | {
            "DATA_ENGINE_STATE_ROOT": str(self._state),
            "DATA_ENGINE_MACHINE_ID": name,
            "PYTHONPATH": str(REPOSITORY),
        }
        self._local: LocalLayout | None = None
        self._client: DaemonClient | None = None
        self._process: subprocess.Popen[bytes] | None = None

    def knows(self, secret: str, value: str) -> None:
        """Let its daemon, once it is started, have this secret."""
        self._environment[f"DATA_ENGINE_SECRET_{secret.upper()}"] = value

    def command(self, *arguments: str) -> tuple[int, Any]:
        """The exit code and the JSON of a command of its command line."""
        done = self._asked(*arguments, "--json")
        assert done.stdout, done.stderr
        return done.returncode, json.loads(done.stdout)

    def says(self, *arguments: str) -> str:
        """What a command of its command line prints for people."""
        done = self._asked(*arguments)
        return done.stdout + done.stderr

    def _asked(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "data_engine", "--workspace", str(self.root), *arguments]
        return subprocess.run(
            command, env=self._environment, capture_output=True, text=True, check=False, timeout=60 * PATIENCE
        )

    def start(self, *, engine: bool = True) -> Station:
        """Start its daemon, and its engine where it may."""
        program, environment = program_of(sys.executable, self._environment)
        process = subprocess.Popen(
            [program, "-P", "-m", "data_engine.daemon", str(self.root)],
            env=environment,
            start_new_session=True,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        self._process = process
        until(lambda: (found := read_endpoint(self.local)) is not None and found.pid == process.pid)
        if engine:
            self.daemon.post("/start-engine", {}, timeout_s=30 * PATIENCE)
        return self

    def lease_do(self, what: str, **more: Any) -> None:
        """What `data-engine lease` does."""
        self.daemon.post(f"/{what}", more, timeout_s=30 * PATIENCE)

    def take_over(self) -> None:
        """Take the workspace over as soon as it may: silence begins anew where this machine was too busy to look."""

        def is_taken() -> bool:
            until(lambda: self.lease["state"] == "takeover_available")
            with suppress(OwnedElsewhereError):
                self.lease_do("take-over")
                return True
            return False

        until(is_taken)

    @property
    def local(self) -> LocalLayout:
        """Its own folder for the workspace; the share, which may hang later, is asked once."""
        if self._local is not None:
            return self._local
        before = {name: os.environ.get(name) for name in ("DATA_ENGINE_STATE_ROOT",)}
        os.environ["DATA_ENGINE_STATE_ROOT"] = str(self._state)
        try:
            self._local = local_layout(WorkspaceLayout(self.root))
        finally:
            for name, value in before.items():
                os.environ.pop(name, None) if value is None else os.environ.__setitem__(name, value)
        return self._local

    @property
    def daemon(self) -> DaemonClient:
        """Its running daemon."""
        if self._client is not None and not self._client.endpoint.is_alive():
            self._client.close()
            self._client = None
        if self._client is None:
            self._client = DaemonClient.connect(self.local)
        assert self._client is not None
        return self._client

    @property
    def pid(self) -> int:
        """Of its daemon."""
        return self.daemon.endpoint.pid

    @property
    def lease(self) -> dict[str, Any]:
        """The lease as its daemon sees it."""
        found: dict[str, Any] = self.daemon.get("/status")["lease"]
        return found

    @contextmanager
    def events(self) -> Iterator[list[dict[str, Any]]]:
        """Somebody watches its daemon, as a panel does; the statuses that were sent, as they come."""
        connection = http.client.HTTPConnection("127.0.0.1", self.daemon.endpoint.port)
        try:
            connection.request("GET", f"{API}/events", headers={"Authorization": f"Bearer {read_token(self.local)}"})
            answer = connection.getresponse()
            assert answer.status == 200
            told: list[dict[str, Any]] = []
            reader = threading.Thread(target=_read_events, args=(answer, told), daemon=True)
            reader.start()
            yield told
        finally:
            if connection.sock is not None:
                connection.sock.shutdown(socket.SHUT_RDWR)
            connection.close()

    def runs(self) -> dict[str, list[str]]:
        """The statuses of the runs of each source, oldest first."""
        found: dict[str, list[str]] = {}
        for run in reversed(self.daemon.get("/runs", limit=1000)["runs"]):
            found.setdefault(Path(run["source"] or "").name, []).append(run["status"])
        return found

    def end(self) -> None:
        """Kill its daemon and all it runs."""
        if self._client is not None:
            self._client.close()
            self._client = None
        endpoint = read_endpoint(self.local)
        if endpoint is not None and endpoint.is_alive():
            process = psutil.Process(endpoint.pid)
            for one in [*process.children(recursive=True), process]:
                with suppress(psutil.NoSuchProcess):
                    one.kill()
        if self._process is not None:
            self._process.wait()


Make = Callable[[str], Station]


def shared_workspace(root: Path, **modules: str) -> Path:
    """A workspace with these flow modules, the folder `in`, and short times."""
    ws = Workspace.create(root)
    (ws.root / "config" / "data_engine.toml").write_text(SETTINGS)
    (ws.root / "flow_modules" / "example.ipynb").unlink()
    for name, text in modules.items():
        (ws.root / "flow_modules" / f"{name}.py").write_text(text)
    (ws.root / "in").mkdir()
    return ws.root


def drop(team: Path, name: str, seconds: float | str = 0) -> None:
    """A source file whose first step takes so long, or `until` a file of the workspace is there."""
    half = team / f"{name}.half"
    half.write_text(str(seconds))
    half.replace(team / "in" / name)


def begun(team: Path) -> list[str]:
    """The steps that began, in order."""
    path = team / "begun.txt"
    return path.read_text().splitlines() if path.exists() else []
