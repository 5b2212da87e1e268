"""`python -m tests.soak.commands`: every command of the page of commands as a person types it, JupyterLab answering, a preview in a kernel.

The installed program runs the demo, then the commands on its workspace, with two machines where one has to ask the other.
Nothing of it is in this process, so it shows what an installation can do; `python -m tests.windows --module tests.soak.commands`
shows it under Wine. A command of the table that is not run here is an error.
"""

from __future__ import annotations

import json
import os
import re
import secrets
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import quote

import psutil

from tests.support import until

ROOT = Path(__file__).parent.parent.parent
PROGRAM = Path(sys.executable).with_name("data-engine.exe" if sys.platform == "win32" else "data-engine")
LIMIT_S = 120.0
LAB_LIMIT_S = 240.0
SLOW = """
import time
from data_engine import Flow

def wait(context):
    for _ in range(600):
        time.sleep(0.1)
        context.progress(0, 1)

def build():
    return Flow(group="Slow").step(wait)
"""
WATCHED = """
from data_engine import Flow

def read(context):
    text = context.source.path.read_text()
    if text == "bad":
        raise ValueError("bad")
    return text

def build():
    return Flow(group="Watched").watch(mode="poll", source="../watched", interval="1s", settle=0).step(read)
"""


class Machine:
    """One machine, with state and settings of its own, and the program as a person calls it."""

    def __init__(self, name: str, home: Path) -> None:
        self.name = name
        self.ran: list[str] = []
        self.environment = {
            key: value for key, value in os.environ.items() if not key.startswith(("DATA_ENGINE_", "JPY_", "JUPYTER"))
        } | {
            "DATA_ENGINE_MACHINE_ID": name,
            "DATA_ENGINE_STATE_ROOT": str(home / name / "state"),
            "XDG_CONFIG_HOME": str(home / name / "config"),
            "WIN_PD_OVERRIDE_LOCAL_APPDATA": str(home / name / "config"),
            **{f"JUPYTER_{kind}_DIR": str(home / name / kind) for kind in ("CONFIG", "DATA", "RUNTIME")},
        }

    def popen(self, *words: str, folder: Path, out: Path) -> subprocess.Popen[bytes]:
        """The command, while it runs; what it prints goes into the file, as a daemon it starts would keep a pipe open."""
        self.ran.append(" ".join(words))
        with out.open("wb") as file:
            return subprocess.Popen(
                [str(PROGRAM), *words],
                cwd=folder,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
            )

    def __call__(self, *words: str, folder: Path, code: int | None = 0, says: str = "") -> str:
        """What the command printed; it ends with `code` and what it prints has `says` in it. The time it took is told."""
        begun_s = time.monotonic()
        printed = self.quiet(*words, folder=folder, code=code, says=says)
        print(f"ok  {time.monotonic() - begun_s:5.1f} s  {self.name}: data-engine {' '.join(words)}", flush=True)
        return printed

    def quiet(self, *words: str, folder: Path, code: int | None = 0, says: str = "") -> str:
        """The same, and nothing is told. None: with whichever code."""
        out = Path(self.environment["DATA_ENGINE_STATE_ROOT"]).parent / "out.txt"
        out.parent.mkdir(parents=True, exist_ok=True)
        process = self.popen(*words, folder=folder, out=out)
        try:
            ended = process.wait(LIMIT_S)
        except subprocess.TimeoutExpired:
            end_all(process)
            ended = None
        printed = out.read_text(encoding="utf-8", errors="replace")
        if ended is None or code not in (None, ended) or says not in printed:
            raise AssertionError(f"{' '.join(words)} ended with {ended}, wanted {code} and {says!r}:\n{printed}")
        return printed


def commands_of_page() -> set[str]:
    """What the page of commands names, without arguments and options."""
    found: set[str] = set()
    for line in (ROOT / "data_engine/docs/pages/reference/commands.md").read_text(encoding="utf-8").splitlines():
        if not line.startswith("| `data-engine "):
            continue
        for text in re.findall(r"`([^`]+)`", line.split(" | ")[0]):
            words = text.removeprefix("data-engine ").replace("[", " ").replace("]", " ").split()
            name = [word for word in words if re.fullmatch(r"[a-z]+(-[a-z]+)*", word)]
            options = [
                word for word in words if word in ("--once", "--watch", "--accept-clock", "--no-engine", "--withdraw")
            ]
            found.add(" ".join(name))
            found |= {" ".join([*name, option]) for option in options}
    return found


def left_out(ran: list[str]) -> list[str]:
    """The commands of that page that are none of these."""
    return sorted(
        named for named in commands_of_page() if not any(set(named.split()) <= set(one.split()) for one in ran)
    )


def end_all(process: subprocess.Popen[bytes]) -> None:
    """End a program with what it started: an environment's program on Windows is a launcher."""
    with suppress(psutil.Error):
        for child in psutil.Process(process.pid).children(recursive=True):
            with suppress(psutil.Error):
                child.kill()
    process.kill()
    process.wait()


def alone(machine: Machine, home: Path) -> None:
    """The commands that one machine needs."""
    demo = home / "demo"
    machine("demo", str(demo), folder=home, says="lab")
    (demo / "flow_modules" / "slow.py").write_text(SLOW, encoding="utf-8")
    (demo / "flow_modules" / "watched.py").write_text(WATCHED, encoding="utf-8")
    (demo / "watched").mkdir()
    first = min(path.stem for path in (demo / "flow_modules").glob("*.ipynb"))

    def do(*words: str, **wanted: Any) -> str:
        return machine(*words, folder=demo, **wanted)

    machine("workspace", "create", str(home / "second"), folder=home)
    machine("workspace", "use", str(home / "second"), folder=home, says="settings.toml")
    machine("workspace", "list", folder=home, says="second")
    machine("workspace", "use", str(demo), folder=home)
    do("list", says=first)
    do("show", first, says=first)
    do("compile", first)
    do("compile", "--check")
    do("preview", first)
    do("run", "--once", first)
    do("deploy", "--note", "first")
    do("deployments", "slow", says="first")
    (demo / "flow_modules" / "slow.py").write_text(SLOW + "\n# again\n\nX = 1\n", encoding="utf-8")
    do("deploy", "slow", "--note", "second", "--yes")
    do("rollback", "slow")
    do("start", "--no-engine")
    do("run", first)
    do("start")
    (demo / "watched" / "a.txt").write_text("bad", encoding="utf-8")
    held = str(demo / "watched" / "a.txt")
    until(lambda: "held since" in machine.quiet("explain", held, folder=demo))
    do("explain", held)
    do("explain", "watched")
    (demo / "watched" / "a.txt").write_text("good", encoding="utf-8")
    do("retry", "watched", "--source", held)
    do("status", says="slow")
    for verb, ended in (("stop", "stopped"), ("kill", "killed")):
        waiting = machine.popen("run", "slow", folder=demo, out=home / "run.txt")

        def newest() -> dict[str, Any]:
            return next(iter(json.loads(machine.quiet("runs", "slow", "--json", folder=demo))), {"status": "none"})

        do(verb, until(lambda: (run := newest())["status"] == "started" and run)["run_id"])
        until(lambda ended=ended: newest()["status"] == ended)  # type: ignore[misc]
        waiting.wait(LIMIT_S)
    do("runs", says="slow")
    do("log", json.loads(do("runs", "--json"))[0]["run_id"])
    do("disable", "watched")
    do("enable", "watched")
    do("docs", says="index.html")
    do("doctor", code=None, says="checks,")  # a machine that is busy has something wrong
    do("doctor", "--accept-clock", code=None, says="checks,")
    do("lease", "status")
    do("kill")
    do("reset", "watched", "--yes")
    do("start")
    do("stop")
    watched_on(machine, demo)


def watched_on(machine: Machine, demo: Path) -> None:
    """`run --watch` runs what comes; here it is ended from outside, as no Ctrl-C reaches one process on Windows."""
    out = demo.parent / "watch.txt"
    (demo / "watched" / "b.txt").write_text("good", encoding="utf-8")
    process = machine.popen("run", "--watch", "watched", folder=demo, out=out)
    try:
        until(lambda: "b.txt" in machine.quiet("runs", "watched", folder=demo))
    finally:
        end_all(process)
    print(f"ok          {machine.name}: data-engine run --watch", flush=True)


def two(anna: Machine, ben: Machine, home: Path) -> None:
    """What one machine asks of another, on one folder; then a copy of it that gets an identity of its own."""
    demo = home / "demo"
    settings = demo / "config" / "data_engine.toml"
    settings.write_text(
        settings.read_text(encoding="utf-8") + '\n[lease]\nheartbeat = "2s"\nstale_after = "20s"\n', encoding="utf-8"
    )
    anna("start", folder=demo)
    ben("start", folder=demo, code=3, says="anna")
    ben("start", "--no-engine", folder=demo)
    ben("lease", "request", folder=demo)
    ben("lease", "request", "--withdraw", folder=demo)
    ben("lease", "request", folder=demo)
    anna("lease", "release", "--now", folder=demo)
    until(lambda: json.loads(ben.quiet("lease", "status", "--json", folder=demo))["state"] == "mine")
    ben("lease", "repair", folder=demo)
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if process.environ().get("DATA_ENGINE_MACHINE_ID") == "ben" and process.pid != os.getpid():
                process.kill()
    until(
        lambda: json.loads(anna.quiet("lease", "status", "--json", folder=demo))["state"] == "takeover_available",
        LIMIT_S * 2,
    )
    anna("lease", "take-over", folder=demo)
    anna("kill", folder=demo)


def copied(machine: Machine, home: Path) -> None:
    """A copied workspace gets an identity of its own."""
    import shutil

    shutil.copytree(home / "second", home / "copy")
    machine("workspace", "fork", str(home / "copy"), folder=home)


@contextmanager
def laboratory(machine: Machine, demo: Path) -> Iterator[tuple[str, str]]:
    """`data-engine lab`, while it runs: its address and token."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    token = secrets.token_hex(16)
    out = demo.parent / "lab.txt"
    options = (
        "--no-browser",
        f"--port={port}",
        f"--IdentityProvider.token={token}",
        *(("--allow-root",) if hasattr(os, "geteuid") and os.geteuid() == 0 else ()),
    )
    process = machine.popen("lab", *options, folder=demo, out=out)
    try:
        yield f"http://127.0.0.1:{port}", token
    except BaseException:
        print(out.read_text(encoding="utf-8", errors="replace")[-3000:])
        raise
    finally:
        end_all(process)


def answers(machine: Machine, demo: Path) -> None:
    """JupyterLab is up, its server extension answers, and a kernel of it previews a flow of the workspace."""
    begun_s = time.monotonic()
    with laboratory(machine, demo) as (base, token):

        def ask(path: str, body: object = None) -> bytes | None:
            data = None if body is None else json.dumps(body).encode()
            request = urllib.request.Request(f"{base}{path}", data, {"Authorization": f"token {token}"})
            with suppress(OSError), urllib.request.urlopen(request, timeout=LIMIT_S) as answer:
                return bytes(answer.read())
            return None

        page = until(lambda: ask("/lab"), LAB_LIMIT_S)
        assert b"jupyter-config-data" in page
        print(f"ok  {time.monotonic() - begun_s:5.1f} s  JupyterLab shows its page", flush=True)
        hello = ask("/data-engine/hello", {"root": str(demo)})
        assert hello is not None, "the server extension does not answer"
        print(f"ok  {time.monotonic() - begun_s:5.1f} s  its server extension says {hello[:120]!r}", flush=True)
        request = urllib.request.Request(
            f"{base}/data-engine/events?root={quote(str(demo))}", headers={"Authorization": f"token {token}"}
        )
        with urllib.request.urlopen(request, timeout=LIMIT_S) as stream:
            assert stream.readline() == b"event: view\n"
            flows = sorted(json.loads(stream.readline().removeprefix(b"data: "))["flows"])
        print(f"ok  {time.monotonic() - begun_s:5.1f} s  the panel's stream shows {flows}", flush=True)


def previewed(environment: Mapping[str, str], demo: Path) -> None:
    """A preview of the first flow in a real kernel."""
    from jupyter_client.manager import start_new_kernel

    begun_s = time.monotonic()
    manager, client = start_new_kernel(
        kernel_name="python3", startup_timeout=LIMIT_S, cwd=str(demo / "flow_modules"), env=dict(environment)
    )
    try:
        name = min(path.stem for path in (demo / "flow_modules").glob("*.ipynb"))
        code = f"%load_ext data_engine\nfrom data_engine import load_flow\nprint('made', type(load_flow({name!r}, data_root={str(demo)!r}).preview()).__name__)"
        printed: list[str] = []

        def hear(message: dict[str, Any]) -> None:
            content = message["content"]
            printed.append(str(content.get("text", "")) + "\n".join(content.get("traceback", [])))

        reply = client.execute_interactive(code, output_hook=hear, timeout=LIMIT_S)
        assert reply["content"]["status"] == "ok", "".join(printed)
        assert "made" in "".join(printed), printed
        print(
            f"ok  {time.monotonic() - begun_s:5.1f} s  a kernel previews {name}: {''.join(printed).strip()[-200:]!r}",
            flush=True,
        )
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)


def main() -> int:
    """Do all of it."""
    begun_s = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="de-", ignore_cleanup_errors=True) as folder:
        home = Path(folder).resolve()
        anna, ben = Machine("anna", home), Machine("ben", home)
        try:
            alone(anna, home)
            two(anna, ben, home)
            copied(anna, home)
            answers(anna, home / "demo")
            previewed(anna.environment, home / "demo")
        finally:
            for machine in (anna, ben):
                with suppress(OSError, AssertionError):
                    machine("kill", folder=home / "demo")
    missing = left_out(anna.ran + ben.ran)
    assert not missing, f"not run: {missing}"
    print(f"every command of the page of commands, JupyterLab and a kernel, in {time.monotonic() - begun_s:.0f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
