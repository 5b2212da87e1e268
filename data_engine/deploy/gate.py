"""The gate of a deploy, `[deploy] gate = "golden"`: whether what is to go live may, by its goldens.

What reads and runs goldens is imported where there is such a gate.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from data_engine.engine.local_workspace import LocalWorkspace
from data_engine.errors import FlowValidationError

GATE = "golden"


@dataclass(slots=True)
class GoldenGate:
    """Whether flows may go live by their goldens, which `interpreter` runs. What was found is remembered as long as code and goldens stay the same."""

    home: LocalWorkspace
    interpreter: Callable[[], str] = lambda: sys.executable
    _known: dict[str, tuple[object, FlowValidationError | None]] = field(default_factory=dict)

    def refuse(self, content: Path, digests: dict[str, str], *, is_approved: bool) -> dict[str, FlowValidationError]:
        """Of the flows with these `digests`, whose modules lie in `content`, those whose goldens do not hold, and why."""
        if self.home.settings().deploy.gate != GATE or is_approved:
            return {}
        from data_engine.deploy.golden_runs import facts_of, run_goldens

        seen = {name: (digests[name], facts) for name, facts in facts_of(self.home, digests).items()}
        unknown = [name for name, facts in seen.items() if self._known.get(name, (None,))[0] != facts]
        if unknown:
            found = run_goldens(self.home, content, unknown, self.interpreter())
            self._known |= {name: (seen[name], found.get(name)) for name in unknown}
        return {name: error for name in seen if (error := self._known[name][1]) is not None}


def golden_facts(home: LocalWorkspace) -> object:
    """What tells that goldens were kept or updated, where they are a gate."""
    if home.settings().deploy.gate != GATE:
        return None
    from data_engine.deploy.golden_runs import facts_of

    return facts_of(home)
