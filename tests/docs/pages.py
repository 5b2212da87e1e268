"""The pages as a reader follows them: which file a block is, which block is run, and what must hold afterwards."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any, Literal

from markdown_it import MarkdownIt

from data_engine import Workspace, load_flow
from data_engine.docs.site import HERE
from tests.support import PATIENCE, notebook_bytes

HOWTO = HERE / "pages" / "howto"
SECRET = "correct horse battery"
"""What is typed where a command asks for a value."""
WITHIN_S = 40 * PATIENCE
"""How long what a page waits for may take."""
_FILE = re.compile(r"`([\w./~ äöü-]+\.\w+)`:$")
_NOTE = re.compile(r"^<!-- (check|wait|needs|types): (.*) -->$")

Kind = Literal["file", "python", "bash", "check", "wait", "needs", "types"]


@dataclass(frozen=True)
class Part:
    """One thing to do: write a file, run a block, or check whether something holds."""

    kind: Kind
    text: str
    line: int
    path: str = ""


def parts(page: str) -> Iterator[Part]:
    """What a page asks for, in order. A block below "`some/file.txt`:" is that file; one of Python or Bash is run, any other is only read."""
    said = ""
    before = ""
    for token in MarkdownIt().enable("table").parse(page):
        line = (token.map or [0])[0] + 1
        if token.type == "inline" and before == "paragraph_open":
            said = token.content
        elif token.type == "html_block" and (note := _NOTE.match(token.content.strip())):
            yield Part(note[1], note[2], line)  # type: ignore[arg-type]
        elif token.type == "fence":
            named = _FILE.search(said)
            if named:
                yield Part("file", token.content, line, named[1])
            elif token.info in ("python", "bash"):
                yield Part(token.info, token.content, line)  # type: ignore[arg-type]
            said = ""
        before = token.type


@dataclass(frozen=True)
class Command:
    """A line of a block of Bash that needs no shell."""

    words: list[str]
    into: str | None
    may_fail: bool


def commands_of(block: str) -> list[Command]:
    """The lines of a block of Bash, whose only signs are `> file` and `|| true` at their end.

    Raises:
        ValueError: a line needs a shell, or another program than those that the pages bring.
    """
    found = []
    for line in block.splitlines():
        words, into = shlex.split(line, comments=True), None
        if may_fail := words[-2:] == ["||", "true"]:
            words = words[:-2]
        if words[-2:-1] == [">"]:
            words, into = words[:-2], words[-1]
        if (
            not words
            or words[0] not in ("data-engine", "jupyter", "python", "sed")
            or {"|", "||", ">", ">>"} & {*words}
        ):
            raise ValueError(line)
        found.append(Command(words, into, may_fail))
    return found


def sqlite_rows(path: str, query: str) -> list[tuple[Any, ...]]:
    """What a query of a database file gives; the file is free again when this returns."""
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute(query).fetchall()


def _path() -> str:
    return os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])


class Webhook:
    """A server on this machine that keeps what is sent to it."""

    def __init__(self) -> None:
        messages: list[str] = []

        class Keep(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                messages.append(self.rfile.read(int(self.headers["Content-Length"])).decode())
                self.send_response(200)
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                """Say nothing."""

        self.messages = messages
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Keep)
        self._thread = Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()
        self.address = f"json://127.0.0.1:{self._server.server_port}"

    def end(self) -> None:
        """Answer no more."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class Reader:
    """Follows a page in a workspace: what it was told, and what the last command said."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.cells: dict[str, list[str]] = {}
        self.names: dict[str, Any] = {"__name__": "__page__"}
        self.output = ""
        self.typed = SECRET
        self.webhook: Webhook | None = None

    def do(self, part: Part) -> None:
        """One part.

        Raises:
            AssertionError: a command fails, or what must hold does not.
        """
        if part.kind == "file":
            self.write(part.path, part.text)
        elif part.kind == "types":
            self.webhook = Webhook()
            self.typed = self.webhook.address
        elif part.kind == "python":
            os.chdir(self.root / "flow_modules")
            exec(compile(part.text, "page", "exec"), self.names)
            os.chdir(self.root)
        elif part.kind == "bash":
            self.run(part.text)
        elif part.kind == "check":
            assert self.holds(part.text), f"line {part.line}: {part.text}\n\n{self.output}"
        elif part.kind == "wait":
            until_s = time.monotonic() + WITHIN_S
            while not self.holds(part.text):
                assert time.monotonic() < until_s, f"line {part.line}: {part.text}\n\n{self.output}"
                time.sleep(0.2)

    def write(self, path: str, text: str) -> None:
        """A file of the workspace; a second block of a notebook is its next cell."""
        target = self.root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        if target.suffix == ".ipynb":
            self.cells.setdefault(path, []).append(text)
            target.write_bytes(notebook_bytes(*self.cells[path]))
        else:
            target.write_text(text, encoding="utf-8")

    def run(self, commands: str) -> None:
        """The commands in one shell, as they stand, and on Windows one by one; the first that fails is an error."""
        if os.name == "posix":
            code, self.output = self._done(["bash", "-euo", "pipefail", "-c", commands])
            assert code == 0, f"ended with {code}:\n{commands}\n{self.output}"
            return
        said = ""
        for command in commands_of(commands):
            if command.words[0] == "sed":
                self._edit(*command.words[2:])
                continue
            program = shutil.which(command.words[0], path=_path())
            assert program is not None, command.words[0]
            code, output = self._done([program, *command.words[1:]])
            if command.into:
                self.write(command.into, output)
            else:
                said += output
            assert code == 0 or command.may_fail, f"ended with {code}:\n{commands}\n{said}"
        self.output = said

    def _done(self, command: list[str]) -> tuple[int, str]:
        done = subprocess.run(
            command,
            cwd=self.root,
            env=os.environ | {"PATH": _path()},
            input=f"{self.typed}\n",
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        return done.returncode, done.stdout

    def _edit(self, substitution: str, path: str) -> None:
        """What `sed` does with an `s/one/other/`: it stands for an edit in JupyterLab."""
        _, one, other, _ = substitution.split("/")
        target = self.root / path
        target.write_text(target.read_text(encoding="utf-8").replace(one, other), encoding="utf-8")

    def told(self, text: str) -> bool:
        """Whether a message with this text has come to the webhook."""
        return self.webhook is not None and any(text in message for message in self.webhook.messages)

    def leave(self) -> None:
        """End what was begun."""
        Workspace(self.root).kill()
        if self.webhook is not None:
            self.webhook.end()

    def holds(self, expression: str) -> bool:
        """Whether it is true now, seen from the workspace's folder."""
        import polars as pl

        import data_engine
        from data_engine.helpers import read_sql

        ws = Workspace(self.root)
        known = {
            "Path": Path,
            "data_engine": data_engine,
            "load_flow": load_flow,
            "output": self.output,
            "pl": pl,
            "read_sql": read_sql,
            "sqlite_rows": sqlite_rows,
            "sys": sys,
            "told": self.told,
            "ws": ws,
        }
        return bool(eval(expression, known))
