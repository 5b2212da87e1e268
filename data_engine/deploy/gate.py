"""The gate of a deploy, `[deploy] gate = "golden"`: a flow goes live only if its goldens hold.

They run in a process of their own: no author's code runs in the daemon, and code that hangs or ends its process delays its own
deploy only. The code that reads and runs goldens is imported only with such a gate.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from data_engine.engine.local_workspace import LocalWorkspace, local_workspace
from data_engine.errors import FlowValidationError
from data_engine.formatting import cli_line
from data_engine.platforms.processes import apart, end_session, program_of
from data_engine.version import import_folder

GATE = "golden"
_CODE = "import sys; sys.path.append(sys.argv[1]); from data_engine.deploy.gate import child; child(*sys.argv[2:])"


@dataclass(slots=True)
class GoldenGate:
    """Refuses flows whose goldens do not hold; `interpreter` runs them. Remembers each answer while code and goldens are the same."""

    home: LocalWorkspace
    interpreter: Callable[[], str] = lambda: sys.executable
    _known: dict[str, tuple[object, FlowValidationError | None]] = field(default_factory=dict)

    def refuse(self, content: Path, digests: dict[str, str], *, is_approved: bool) -> dict[str, FlowValidationError]:
        """The errors of the flows whose goldens do not hold, by name; their modules lie in `content`, `digests` are theirs."""
        if self.home.settings().deploy.gate != GATE or is_approved:
            return {}
        facts = {name: (digests[name], headers) for name, headers in facts_of(self.home, digests).items()}
        unknown = [name for name, key in facts.items() if self._known.get(name, (None,))[0] != key]
        if unknown:
            errors = run_goldens(self.home, content, unknown, self.interpreter())
            self._known |= {name: (facts[name], errors.get(name)) for name in unknown}
        return {name: error for name in facts if (error := self._known[name][1]) is not None}


def golden_facts(home: LocalWorkspace) -> object:
    """A value that changes when goldens are kept or updated; None where they are no gate."""
    if home.settings().deploy.gate != GATE:
        return None
    return facts_of(home)


def facts_of(home: LocalWorkspace, names: Collection[str] | None = None) -> dict[str, object]:
    """The state of the golden headers of each flow, or of `names`: equal while nobody keeps or updates one."""
    from data_engine.plan.golden import flows_with_goldens, goldens_folder, goldens_of

    goldens = goldens_folder(home)
    return {
        name: _facts(paths)
        for name in (flows_with_goldens(goldens) if names is None else names)
        if (paths := goldens_of(goldens, name))
    }


def _facts(paths: Collection[Path]) -> tuple[tuple[str, int, int], ...]:
    stats = []
    for path in paths:
        with suppress(OSError):
            facts = path.stat()
            stats.append((path.name, facts.st_size, facts.st_mtime_ns))
    return tuple(stats)


def written_by(command: Sequence[str], *, folder: Path | None, limit_s: float) -> tuple[list[bytes], int | None]:
    """Run authors' code in a Python process in `folder`: its output lines and exit code, None where it and all it started was ended
    after `limit_s`.

    Raises:
        OSError: it cannot be started.
    """
    with tempfile.TemporaryFile() as written:  # not a pipe: what a module leaves running could hold it open
        program, environment = program_of(command[0], os.environ)
        child = subprocess.Popen(
            [program, *command[1:]],
            stdin=subprocess.DEVNULL,
            stdout=written,
            stderr=subprocess.DEVNULL,
            cwd=folder,
            env=environment,
            **apart(),
        )
        try:
            with suppress(subprocess.TimeoutExpired):
                child.wait(limit_s)
        finally:
            if (status := child.returncode) is None:
                end_session(child.pid)
                child.wait()
        written.seek(0)
        return written.read().splitlines(), status


def run_goldens(
    home: LocalWorkspace, content: Path, names: Collection[str], interpreter: str
) -> dict[str, FlowValidationError]:
    """Run the goldens of these flows in a process of their own; the error of each flow whose goldens do not hold.

    Without an answer within the limit of a plan each flow has an error.
    """
    from data_engine.plan.golden import GoldenResult, not_held, worst
    from data_engine.plan.plan import LIMIT_S

    command = [interpreter, "-P", "-B", "-c", _CODE, import_folder(), str(home.layout.root), str(content), *names]
    try:
        lines, status = written_by(command, folder=home.layout.flow_modules_dir, limit_s=LIMIT_S)
    except OSError as error:
        return {name: _unanswered(name, f"no process can be started: {error.strerror}") for name in names}
    how = f"they did not end within {LIMIT_S:g} s"
    if status is not None:
        how = f"the process that ran them ended (exit code {status})"
    try:
        answer: dict[str, Any] = json.loads(lines[-1])
        results = [GoldenResult.read(golden) for golden in answer["results"]]
    except (IndexError, ValueError, KeyError, TypeError):
        return {name: _unanswered(name, how) for name in names}
    return {name: not_held(name, bad) for name, bad in worst(results).items()}


def child(root: str, content: str, *names: str) -> None:
    """Run the goldens in the child process, and print the results."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what steps print is not the answer
    from data_engine.notebook.load import FlowModules
    from data_engine.plan.keeping import check_goldens

    home = local_workspace(Path(root))
    modules = FlowModules(
        home.layout.flow_modules_dir, cache_dir=home.local.compiled_flow_modules_dir, content=Path(content)
    )
    results = check_goldens(home, modules, names)
    answers.write(json.dumps({"results": [golden.as_dict() for golden in results]}, default=str) + "\n")
    answers.flush()


def _unanswered(name: str, how: str) -> FlowValidationError:
    return FlowValidationError(
        f"{name} is not deployed: its goldens could not be run: {how}",
        where=f'flow "{name}", [deploy] gate = "golden"',
        fix=f"see `{cli_line('test', name)}`; to deploy it all the same: --approve",
    )
