"""How a flow module stands to what production runs."""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import datetime
from typing import Any, ClassVar, Literal

from data_engine.record import Record, frozen


@frozen
class Standing(Record):
    """How a module stands to what is deployed of it. Of an edit: the `cells` and `helpers` that differ, where they are known,
    and the `error` that keeps it from being good. `goes_live_s`, seconds since the epoch, is when it is deployed by itself;
    `shares_with` is the deployed flow whose mirror it would write too, which a person has to confirm. A module that is "gone"
    runs on as it is deployed; `file` is what it was called, and `renamed_to` the module that it is now, as far as that shows;
    `moved_to` is where a notebook of its name lies in a subfolder. Nobody has edited one that is as it was before production was
    `rolled_back_to` an earlier deployment. `digest` changes with the code of an edit, or of a module that is not deployed.

    Example:
        >>> Standing("as_deployed").text, Standing("edited", (3, 7), "SyntaxError: oh").edit
        ('as deployed', 'edited, not deployed: cells 3, 7\\nSyntaxError: oh')
        >>> Standing("edited", (3,), rolled_back_to="3693cb92aa", rolled_back_utc="2026-01-05T06:00:00+00:00").text[:24]
        'rolled back to 3693cb92 '
        >>> print(Standing("gone", file="claims.ipynb").edit)
        claims.ipynb is gone; production runs on as it was deployed
        to get it back: `data-engine restore claims`; to end it: `data-engine undeploy claims`
    """

    sparse: ClassVar = (
        "helpers",
        "goes_live_s",
        "shares_with",
        "file",
        "renamed_to",
        "moved_to",
        "rolled_back_to",
        "rolled_back_utc",
        "digest",
    )

    kind: Literal["as_deployed", "not_deployed", "edited", "gone"]
    cells: tuple[int, ...] = ()
    error: str | None = None
    helpers: tuple[str, ...] = ()
    goes_live_s: float | None = None
    shares_with: str | None = None
    file: str = ""
    renamed_to: str | None = None
    moved_to: str | None = None
    rolled_back_to: str | None = None
    rolled_back_utc: str | None = None
    digest: str = ""

    @property
    def is_edited(self) -> bool:
        """Whether the module differs from what is deployed of it."""
        return self.kind == "edited"

    @property
    def is_edit_broken(self) -> bool:
        """Whether an error keeps that edit from being deployed."""
        return self.is_edited and self.error is not None

    @property
    def text(self) -> str:
        """One line for people."""
        if self.kind == "gone":
            gone = "is gone"
            if self.renamed_to is not None:
                gone = f"was renamed to {self.renamed_to}{self.file[self.file.rfind('.') :]}"
            elif self.moved_to is not None:
                gone = f"is in a subfolder now ({self.moved_to}), which is not searched for flows"
            return f"{self.file} {gone}; production runs on as it was deployed"
        words = self._edited_words if self.is_edited else self.kind.replace("_", " ")
        if self.goes_live_s is None:
            return words
        return f"{words} (goes live in {max(0.0, self.goes_live_s - time.time()):.0f} s)"

    @property
    def _edited_words(self) -> str:
        if self.rolled_back_to is None:
            return edited_words(self.cells, self.helpers)
        what = "the notebook differs" if self.cells or not self.helpers else "the helpers differ"
        where = _where(self.cells, self.helpers)
        back = f"rolled back to {self.rolled_back_to[:8]} on {_day_words(self.rolled_back_utc)}; {what}"
        return f"{back}: {where}" if where else back

    @property
    def edit(self) -> str | None:
        """An edit for people, on further lines its error or what can be done about it; None without one."""
        if self.kind == "gone":
            return f"{self.text}\n{self.fix}"
        return (self.text + (f"\n{self.error}" if self.error else "")) if self.is_edited else None

    @property
    def fix(self) -> str | None:
        """What helps where the module is gone: both ways on; None else."""
        from data_engine.typed import typed

        if self.kind != "gone":
            return None
        flow = self.file.rpartition(".")[0]
        end = f"to end it: `{typed('undeploy', flow)}`"
        if self.renamed_to is not None:
            return f"to let production run it: `{typed('deploy', self.renamed_to)}`; {end}"
        if self.moved_to is not None:
            return f"to continue with it: move it back into flow_modules itself; {end}"
        return f"to get it back: `{typed('restore', flow)}`; {end}"

    def as_json(self) -> dict[str, Any]:
        """As the JSON of a flow holds it: in words under `deployment`, and for programs under `standing`."""
        return {"deployment": self.text, "standing": self.as_dict()}


AS_DEPLOYED, NOT_DEPLOYED = Standing("as_deployed"), Standing("not_deployed")


def edited_words(cells: Sequence[int], helpers: Sequence[str] = ()) -> str:
    """An edit that is not deployed, for people.

    Example:
        >>> edited_words((3, 7)), edited_words((), ["flow_helpers/rates.py"]), edited_words(())
        ('edited, not deployed: cells 3, 7', 'edited, not deployed: flow_helpers/rates.py', 'edited, not deployed')
    """
    what = _where(cells, helpers)
    return f"edited, not deployed: {what}" if what else "edited, not deployed"


def _day_words(utc: str | None) -> str:
    return "?" if utc is None else f"{datetime.fromisoformat(utc).astimezone():%Y-%m-%d %H:%M}"


def _where(cells: Sequence[int], helpers: Sequence[str]) -> str:
    return ", ".join([*([cells_text(cells)] if cells else []), *helpers])


def cells_text(cells: Sequence[int]) -> str:
    """Cells by their numbers, for people.

    Example:
        >>> cells_text((3,)), cells_text((3, 7))
        ('cell 3', 'cells 3, 7')
    """
    return f"cell{'s' if len(cells) > 1 else ''} {', '.join(map(str, cells))}"
