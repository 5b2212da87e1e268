"""A plan as a frozen value: the code that differs, and what that does to the data."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import ClassVar

from data_engine.compare.difference import Difference, Named, read_differences
from data_engine.display_hook import Displayable
from data_engine.formatting import plural
from data_engine.record import Record, frozen

_MOST_NAMES = 3
LIMIT_S = 600.0
"""The time that a version may take without `[limits] run_timeout`."""

SIDES = {"deployed": "the deployed version", "current": "the edit"}
BOTH = "both"


@frozen
class CodeChange(Record):
    """A cell, or a helper file, whose code differs: the lines that went ("- ...") and came ("+ ..."). `cell` is its number."""

    where: str
    lines: tuple[str, ...] = ()
    cell: int | None = None


@frozen
class PlannedSource(Record):
    """A source that both versions ran for: its `name` in the source folder, where it is, and when production last read it."""

    name: str
    path: str | None = None
    seen_at_utc: str | None = None


@frozen
class SideError(Record):
    """The error that kept a version, "deployed", "current" or "both", from running for a source (None: for all)."""

    side: str
    source: str | None
    error: str
    where: str | None = None

    @property
    def text(self) -> str:
        """The error in one line."""
        place = f" at {self.where}" if self.where else ""
        subject = "both versions fail" if self.side == BOTH else f"{SIDES[self.side]} fails"
        return f"{subject}{f' on {self.source}' if self.source else ''}{place}: {self.error}"


@frozen
class NotHeldBack(Record):
    """A step that writes elsewhere than through its context, so that a plan cannot hold it back: `why` tells how that shows."""

    step: str
    why: str

    @property
    def text(self) -> str:
        """The step and the reason in one line."""
        return f"{self.step}: {self.why}"


@frozen
class Elapsed(Record):
    """The seconds each version took, with what was reused of earlier previews."""

    deployed: float = 0.0
    current: float = 0.0


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Plan(Displayable, Record):
    """The changes that deploying a flow would make: `cells` of code, and by name the saved `objects` and the `outputs`.

    Both versions ran over the `sources` in order, each into a scratch folder of its own that began as production is. What
    failed is in `errors`; `config` names the config files that the flow may read and that changed since the deployment: both read them as they are now.

    Example:
        >>> plan = Plan("claims", errors=(SideError("current", "may.csv", "no column net", "cell 4, line 2"),))
        >>> plan.equal, plan.text
        (False, 'the edit fails on may.csv at cell 4, line 2: no column net')
    """

    computed: ClassVar = ("equal", "text")

    flow: str
    deployment: str = ""
    cells: tuple[CodeChange, ...] = field(default=(), metadata={"of": CodeChange.read})
    sources: tuple[PlannedSource, ...] = field(default=(), metadata={"of": PlannedSource.read})
    objects: Mapping[str, Difference] = field(default_factory=Named, metadata={"of": read_differences})
    outputs: Mapping[str, Difference] = field(default_factory=Named, metadata={"of": read_differences})
    errors: tuple[SideError, ...] = field(default=(), metadata={"of": SideError.read})
    not_held_back: tuple[NotHeldBack, ...] = field(default=(), metadata={"of": NotHeldBack.read})
    elapsed_s: Elapsed = field(default_factory=Elapsed, metadata={"of": Elapsed.read})
    config: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def equal(self) -> bool:
        """Whether both versions gave the same, and failed alike on the sources on which they failed; not where that are all."""
        is_alike = not self.is_worse and all(error.side == BOTH for error in self.failures)
        return is_alike and all(part.equal for part in (*self.objects.values(), *self.outputs.values()))

    @property
    def mends(self) -> str:
        """On how many sources the deployed version fails and the edit does not, in words; "" where there is none, or it is the other way too."""
        before, after = self._failed
        return (
            f"the edit mends {len(before - after)} of {len(self.sources)}"
            if None not in before and after < before
            else ""
        )

    @property
    def is_worse(self) -> bool:
        """Whether the edit fails on a source on which the deployed version does not, or on all."""
        before, after = self._failed
        return not after <= before or (bool(after) and len(after) >= len(self.sources))

    @property
    def _failed(self) -> tuple[set[str | None], ...]:
        """The sources on which each version fails."""
        return tuple({error.source for error in self.errors if error.side == side} for side in SIDES)

    @property
    def failures(self) -> tuple[SideError, ...]:
        """The errors, each once: one that both versions have on a source is of "both", at its place in the edit."""
        alike = {(error.source, error.error) for error in self.errors if error.side == "deployed"}
        alike &= {(error.source, error.error) for error in self.errors if error.side == "current"}
        return tuple(
            replace(error, side=BOTH) if (error.source, error.error) in alike else error
            for error in self.errors
            if error.side == "current" or (error.source, error.error) not in alike
        )

    @property
    def text(self) -> str:
        """The plan in a few words."""
        parts = [
            *filter(None, [self.mends]),
            *_failures(self.failures, len(self.sources)),
            *_difference_texts("", self.objects),
            *_difference_texts("output ", self.outputs),
        ]
        return "; ".join(parts) or f"no difference in {plural(len(self.sources), 'source')}"

    def __str__(self) -> str:
        return self.text

    def __repr__(self) -> str:
        return f"<Plan of {self.flow}: {self.text}>"


def _failures(errors: tuple[SideError, ...], sources: int) -> Iterator[str]:
    for side, subject in (*SIDES.items(), (BOTH, "both versions")):
        of_side = [error for error in errors if error.side == side]
        if of_side:
            on = f" on {len(of_side)} of {sources}" if sources > 1 and of_side[0].source else ""
            first = of_side[0]
            verb = "fail" if side == BOTH else "fails"
            yield first.text if not on else f"{subject} {verb}{on}: {first.where or first.error}"


def _difference_texts(lead: str, differences: Mapping[str, Difference]) -> Iterator[str]:
    for name, difference in differences.items():
        if not difference.equal:
            yield f"{lead}{name}: {difference.text}"
