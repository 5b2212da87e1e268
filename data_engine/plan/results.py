"""How goldens fared, as values; without anything that could run one."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import field
from typing import ClassVar

from data_engine.compare.difference import Difference
from data_engine.errors import FlowValidationError
from data_engine.formatting import cli_line
from data_engine.plan.golden import Golden
from data_engine.record import Record, frozen

STATUSES = ("holds", "differs", "failed", "not compared", "updated")
"""Every word a golden's status can be."""


@frozen
class GoldenResult(Record):
    """How one golden fared. `status` is one of `STATUSES`: `difference` says what differs, `why` what failed, or what kept it
    from being compared, at `where`.

    Example:
        >>> result = GoldenResult("sales", "clean_df", "not compared", why="its source may.csv has changed since")
        >>> result.is_bad, result.text
        (False, 'its source may.csv has changed since')
    """

    computed: ClassVar = ("text",)

    flow: str
    name: str
    status: str
    golden: Golden | None = field(default=None, metadata={"of": Golden.read})
    difference: Difference | None = field(default=None, metadata={"of": Difference.read})
    why: str | None = None
    where: str | None = None
    elapsed_s: float = 0.0

    @property
    def is_bad(self) -> bool:
        """Whether it differs, or could not be made."""
        return self.status in ("differs", "failed")

    @property
    def text(self) -> str:
        """What there is to say beside the status."""
        if self.difference is not None and not self.difference.equal:
            return self.difference.text
        return f"{self.why} ({self.where})" if self.why and self.where else self.why or ""


def worst(results: Iterable[GoldenResult]) -> dict[str, list[GoldenResult]]:
    """The goldens that do not hold, by flow."""
    found: dict[str, list[GoldenResult]] = {}
    for one in results:
        if one.is_bad:
            found.setdefault(one.flow, []).append(one)
    return found


def not_held(flow: str, results: list[GoldenResult]) -> FlowValidationError:
    """The error of a deploy whose goldens do not hold."""
    told = "; ".join(f"{one.name} {one.status}: {one.text}" for one in results)
    return FlowValidationError(
        f"{flow} is not deployed: {len(results)} of its goldens {'does' if len(results) == 1 else 'do'} not hold: {told}",
        where=f'flow "{flow}", [deploy] gate = "golden"',
        fix=f"see `{cli_line('test', flow)}`; when the new result is right, `{cli_line('test', flow, '--update')}`, or deploy with --approve",
    )
