"""Importing every flow module in a process of its own, so that one that never returns, or dies, costs only its entry."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from data_engine.errors import FlowExecutionError, FlowValidationError
from data_engine.platforms.processes import apart, program_of
from data_engine.record import frozen
from data_engine.version import import_folder

if TYPE_CHECKING:
    from data_engine.notebook.catalog import CatalogEntry

_MOST_ENDLESS = 3
_CODE = "import sys; sys.path.append(sys.argv[1]); from data_engine.daemon.import_check import describe; describe(*sys.argv[2:])"


@frozen
class ImportedModule:
    """A flow module and, when it cannot be a flow, the error's `what`, `where` and `fix`; `alerts_to` names whom it has told."""

    name: str
    error: dict[str, str | None] | None
    alerts_to: tuple[str, ...] = ()


def import_modules(folder: Path, *, limit_s: float = 20.0) -> list[ImportedModule]:
    """Every flow module of the authored `folder`, imported and built; `limit_s` is for all of them together.

    A module that takes longer, or ends the process, has that as its error and the others are tried again without it; after
    three such the rest is left untried.

    Raises:
        FlowValidationError: the folder cannot be read.
        OSError: no process can be started.
    """
    bad: dict[str, str] = {}
    while True:
        begun, answer, how = _attempt(folder, bad, limit_s)
        if answer is not None and "error" in answer:
            raise FlowValidationError(**answer["error"])
        if answer is not None:
            return [
                ImportedModule(entry["name"], entry["error"], tuple(entry["alerts_to"])) for entry in answer["entries"]
            ]
        if not begun:
            raise OSError(how)
        bad[begun] = how
        if len(bad) >= _MOST_ENDLESS:
            return [ImportedModule(name, _bad(name, detail).as_dict()) for name, detail in bad.items()]


def describe(folder: str, bad: str) -> None:
    """The child's part: print each module's name before it is imported, and in the end all entries."""
    from data_engine.notebook.catalog import read_catalog
    from data_engine.notebook.load import FlowModules

    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what modules print is not ours to read

    def say(message: dict[str, Any]) -> None:
        answers.write(json.dumps(message) + "\n")
        answers.flush()

    known_bad = {name: _bad(name, detail) for name, detail in json.loads(bad).items()}
    try:
        entries = read_catalog(FlowModules(Path(folder)), begin=lambda name: say({"begin": name}), known_bad=known_bad)
    except FlowValidationError as error:
        say({"error": error.as_dict()})
    else:
        say({"entries": [_told(entry) for entry in entries]})


def _told(entry: CatalogEntry) -> dict[str, Any]:
    rules = () if entry.flow is None else entry.flow.alerts
    to = [name for rule in rules for name in rule.to or ()]
    return {"name": entry.name, "error": entry.error and entry.error.as_dict(), "alerts_to": to}


def _attempt(folder: Path, bad: dict[str, str], limit_s: float) -> tuple[str, dict[str, Any] | None, str]:
    """The last module begun, the answer if there was one, and how the process ended otherwise."""
    with tempfile.TemporaryFile() as said:  # not a pipe: what a module leaves running could hold it open
        program, environment = program_of(sys.executable, os.environ)
        child = subprocess.Popen(
            [program, "-P", "-B", "-c", _CODE, import_folder(), str(folder), json.dumps(bad)],
            stdin=subprocess.DEVNULL,
            stdout=said,
            stderr=subprocess.DEVNULL,
            cwd=folder,
            env=environment,
            **apart(),
        )
        try:
            how = f"it ended the process that imported it (exit code {child.wait(limit_s)})"
        except subprocess.TimeoutExpired:
            how = f"importing it did not end within {limit_s:g} s"
        finally:
            _end(child)
        said.seek(0)
        lines = [json.loads(line) for line in said.read().splitlines() if line.endswith(b"}")]
    begun = [line["begin"] for line in lines if "begin" in line]
    answer = lines[-1] if lines and "begin" not in lines[-1] else None
    return begun[-1] if begun else "", answer, how


def _end(child: subprocess.Popen[bytes]) -> None:
    import psutil

    family: list[psutil.Process] = []
    with suppress(psutil.Error):
        family = psutil.Process(child.pid).children(recursive=True)
    for one in family:
        with suppress(psutil.Error):
            one.kill()
    child.kill()
    child.wait()


def _bad(name: str, detail: str) -> FlowExecutionError:
    fix = "move what takes long or ends the process out of the module's top level, into a step"
    return FlowExecutionError(flow_name=name, phase="import", detail=detail, fix=fix)
