"""The goldens of what is to go live run in a process of their own, for `[deploy] gate = "golden"`.

No line of an author's code runs in the daemon, and code that hangs or ends its process holds up its own deploy only.
"""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path
from typing import Any

from data_engine.engine.local_workspace import LocalWorkspace, local_workspace
from data_engine.errors import FlowValidationError
from data_engine.planning.golden import flows_with_goldens, goldens_folder, goldens_of
from data_engine.planning.plan import LIMIT_S
from data_engine.planning.results import GoldenResult, not_held, worst
from data_engine.platforms.processes import apart
from data_engine.typed import typed
from data_engine.version import import_folder

_CODE = (
    "import sys; sys.path.append(sys.argv[1]); from data_engine.deploy.golden_runs import child; child(*sys.argv[2:])"
)


def facts_of(home: LocalWorkspace, names: Collection[str] | None = None) -> dict[str, object]:
    """Of each flow with goldens, or of these, their headers as they are: equal while nobody keeps or updates one."""
    goldens = goldens_folder(home)
    return {
        name: _facts(goldens, name)
        for name in (flows_with_goldens(goldens) if names is None else names)
        if goldens_of(goldens, name)
    }


def _facts(goldens: Path, name: str) -> tuple[tuple[str, int, int], ...]:
    found = []
    for path in goldens_of(goldens, name):
        with suppress(OSError):
            facts = path.stat()
            found.append((path.name, facts.st_size, facts.st_mtime_ns))
    return tuple(found)


def run_goldens(
    home: LocalWorkspace, content: Path, names: Collection[str], interpreter: str, *, limit_s: float = LIMIT_S
) -> dict[str, FlowValidationError]:
    """Run the goldens of these flows in a process of their own; for each flow whose goldens do not hold the error.

    Without an answer within `limit_s` all of them are in question.
    """
    with tempfile.TemporaryFile() as said:  # not a pipe: what a module leaves running could hold it open
        try:
            process = subprocess.Popen(
                [interpreter, "-P", "-B", "-c", _CODE, import_folder(), str(home.layout.root), str(content), *names],
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=subprocess.DEVNULL,
                cwd=home.layout.flow_modules_dir,
                **apart(),
            )
        except OSError as error:
            return {name: _unanswered(name, f"no process can be started: {error.strerror}") for name in names}
        try:
            how = f"the process that ran them ended (exit code {process.wait(limit_s)})"
        except subprocess.TimeoutExpired:
            how = f"they did not end within {limit_s:g} s"
        finally:
            process.kill()
            process.wait()
        said.seek(0)
        lines = said.read().splitlines()
    try:
        told: dict[str, Any] = json.loads(lines[-1])
        results = [GoldenResult.read(one) for one in told["results"]]
    except (IndexError, ValueError, KeyError, TypeError):
        return {name: _unanswered(name, how) for name in names}
    return {name: not_held(name, bad) for name, bad in worst(results).items()}


def child(root: str, content: str, *names: str) -> None:
    """The child's part: run them, and print what was found."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what steps print is not the answer
    from data_engine.notebook.load import FlowModules
    from data_engine.planning.testing import check_goldens

    home = local_workspace(Path(root))
    modules = FlowModules(
        home.layout.flow_modules_dir, cache_dir=home.local.compiled_flow_modules_dir, content=Path(content)
    )
    results = check_goldens(home, modules, names)
    answers.write(json.dumps({"results": [one.as_dict() for one in results]}, default=str) + "\n")
    answers.flush()


def _unanswered(name: str, how: str) -> FlowValidationError:
    return FlowValidationError(
        f"{name} is not deployed: its goldens could not be run: {how}",
        where=f'flow "{name}", [deploy] gate = "golden"',
        fix=f"see `{typed('test', name)}`; to deploy it all the same: --approve",
    )
