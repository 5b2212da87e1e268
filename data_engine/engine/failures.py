"""What went wrong, in a line, for screens where the flow and its source stand beside it anyway."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from data_engine.engine.flow_reasons import LastRunFailed
from data_engine.engine.reasons import Held, Reason, RetryLater


def short_error(error: str | None, cause: Mapping[str, Any] | None) -> str:
    """The error of a run or a step in a line: its step and what was raised there, as far as its cause tells; else its first line.

    Example:
        >>> short_error("Flow \\"claims\\" failed in step ...", {"kind": "code_raised", "step": "Read", "detail": "KeyError: 3"})
        'Read: KeyError: 3'
        >>> short_error(None, {"detail": "KeyError: 3", "helper": "flow_helpers/rates.py, line 7",
        ...                    "places": [{"notebook": "claims.ipynb", "cell": 4, "line": 2}]})
        'KeyError: 3 (flow_helpers/rates.py, line 7, called in claims.ipynb, cell 4, line 2)'
        >>> short_error("the time limit was reached\\n  where: ...", {"kind": "time_limit"})
        'the time limit was reached'
    """
    detail, step = (cause or {}).get("detail"), (cause or {}).get("step")
    if detail:
        through = _through(cause or {})
        return f"{step}: {detail}{through}" if step else f"{detail}{through}"
    return first_line(error)


def _through(cause: Mapping[str, Any]) -> str:
    """The helper in which the code of a run raised, and the cell that led there, in brackets; "" where it was in no helper."""
    spots = [cause["helper"]] if cause.get("helper") else []
    for one in places_of(cause):
        line = f", line {one['line']}" if one.get("line") else ""
        spots.append(f"{one.get('notebook')}, cell {one.get('cell')}{line}")
    if not cause.get("helper") and len(spots) < 2:
        return ""
    return f" ({', called in '.join(spots[:2])})"


def short_reason(why: Reason, cause: Mapping[str, Any] | None) -> str:
    """The reason in a line; `cause` is why the last run of a held source ended as it did."""
    if isinstance(why, (Held, RetryLater, LastRunFailed)) and cause is not None and cause.get("detail"):
        why = replace(why, error=short_error(why.error, cause))
    return first_line(why.text)


def places_of(
    told: Mapping[str, Any] | None, *, was: str | None = None, now: str | None = None
) -> tuple[Mapping[str, Any], ...]:
    """The notebook cells that an error, or the cause of a run, names: `{notebook, cell, line}`, each once.

    A notebook that `was` called so then is told as it is called `now`.

    Example:
        >>> places_of({"places": [{"notebook": "claims.ipynb", "cell": 1, "line": 2}]}, was="claims", now="parts")
        ({'notebook': 'parts.ipynb', 'cell': 1, 'line': 2},)
    """
    found: list[Mapping[str, Any]] = []
    for place in (told or {}).get("places") or ():
        if was != now and place.get("notebook") == f"{was}.ipynb":
            place = {**place, "notebook": f"{now}.ipynb"}
        if place not in found:
            found.append(place)
    return tuple(found)


def first_line(words: object) -> str:
    """The first line that says something.

    Example:
        >>> first_line("\\n\\nKeyError: 3\\n  where: ..."), first_line(None)
        ('KeyError: 3', '')
    """
    return next((line for line in str(words or "").splitlines() if line.strip()), "").strip()
