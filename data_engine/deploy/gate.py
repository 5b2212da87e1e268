"""The gate of a deploy, `[deploy] gate = "golden"`: a flow goes live only if its goldens hold.

They run in a process of their own: no author's code runs in the daemon, and code that hangs or ends its process delays its own
deploy only. The code that reads and runs goldens is imported only with such a gate.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Collection
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from data_engine.answering_process import AnsweringProcess, NoAnswer, ParentProcess
from data_engine.engine.local_workspace import LocalWorkspace, local_workspace
from data_engine.errors import FlowValidationError
from data_engine.formatting import cli_line

GATE = "golden"
_CHILD = f"{__name__}:child"


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


def run_goldens(
    home: LocalWorkspace, content: Path, names: Collection[str], interpreter: str
) -> dict[str, FlowValidationError]:
    """Run the goldens of these flows in a process of their own; the error of each flow whose goldens do not hold.

    Without an answer within the limit of a plan each flow has an error.
    """
    from data_engine.plan.golden import GoldenResult, not_held, worst
    from data_engine.plan.plan import LIMIT_S

    request = json.dumps([str(home.layout.root), str(content), *names]).encode()
    try:
        folder = home.layout.flow_modules_dir
        with AnsweringProcess(_CHILD, interpreter=interpreter, folder=folder, owns_session=True) as process:
            results = [GoldenResult.read(golden) for golden in json.loads(process.ask(request, LIMIT_S))]
    except OSError as error:
        return {name: _unanswered(name, f"no process can be started: {error.strerror}") for name in names}
    except NoAnswer as ended:
        return {name: _unanswered(name, str(ended)) for name in names}
    return {name: not_held(name, bad) for name, bad in worst(results).items()}


def child(asker: ParentProcess) -> None:
    """Run the goldens in the child process, and send the results."""
    sys.dont_write_bytecode = True
    root, content, *names = json.loads(asker.receive())
    from data_engine.notebook.load import FlowModules
    from data_engine.plan.keeping import check_goldens

    home = local_workspace(Path(root))
    modules = FlowModules(
        home.layout.flow_modules_dir, cache_dir=home.local.compiled_flow_modules_dir, content=Path(content)
    )
    results = check_goldens(home, modules, names)
    asker.send(json.dumps([golden.as_dict() for golden in results], default=str).encode())


def _unanswered(name: str, how: str) -> FlowValidationError:
    return FlowValidationError(
        f"{name} is not deployed: its goldens could not be run: {how}",
        where=f'flow "{name}", [deploy] gate = "golden"',
        fix=f"see `{cli_line('test', name)}`; to deploy it all the same: --approve",
    )
