"""What of a run's log counts as a warning, how many it has, asked again only of runs that may still warn, and in which words."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import islice
from typing import TYPE_CHECKING, Any

from data_engine.formatting import plural

if TYPE_CHECKING:
    from data_engine.ledger.ledger import Ledger
    from data_engine.model import Run

_AT_ONCE = 500
_ALWAYS = ("WARNING",)
_WHERE_IT_WENT_WELL = ("ERROR", "CRITICAL")


def counts_as_warning(level: str, status: str) -> bool:
    """Whether a line of this level counts, in the log of a run that ended so: an error does where the run went well all the same.

    What was only written to standard error does not count.

    Example:
        >>> counts_as_warning("ERROR", "success"), counts_as_warning("ERROR", "failed"), counts_as_warning("STDERR", "success")
        (True, False, False)
    """
    return level in _ALWAYS or (level in _WHERE_IT_WENT_WELL and status == "success")


def warned_words(count: int) -> str:
    """So many warnings, as every screen says it; "" for none.

    Example:
        >>> warned_words(1), warned_words(1200), warned_words(0)
        ('1 warning', '1,200 warnings', '')
    """
    return "" if not count else plural(count, "warning")


class Warned:
    """The counts of one ledger; those of runs that have ended are kept as long as they are asked for."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._known: dict[str, int] = {}

    def of(self, runs: Iterable[Run]) -> dict[str, int]:
        """By its id the count of each run that has warned.

        Raises:
            LedgerError: the history cannot be read.
        """
        asked = list(runs)
        known = {run.run_id: self._known[run.run_id] for run in asked if run.run_id in self._known}
        new = dict.fromkeys((run.run_id for run in asked if run.run_id not in known), 0)
        new |= warnings_of(self._ledger, new)
        self._known = known | {
            run.run_id: new[run.run_id] for run in asked if run.run_id in new and run.finished_at_utc
        }
        return {run_id: count for run_id, count in (known | new).items() if count}


def runs_as_json(ledger: Ledger, runs: Sequence[Run]) -> list[dict[str, Any]]:
    """Runs as the JSON of commands holds them: each with the number of its warnings.

    Raises:
        LedgerError: the history cannot be read.
    """
    return [run.as_dict() | {"warnings": run.warnings} for run in with_warnings(ledger, runs)]


def with_warnings(ledger: Ledger, runs: Iterable[Run]) -> list[Run]:
    """The runs, each with the number of its warnings.

    Raises:
        LedgerError: the history cannot be read.
    """
    asked = list(runs)
    warned = warnings_of(ledger, [run.run_id for run in asked])
    return [replace(run, warnings=warned.get(run.run_id, 0)) for run in asked]


def warnings_of(ledger: Ledger, run_ids: Iterable[str]) -> dict[str, int]:
    """How many warnings each of these runs has in its log, of those that have any.

    Raises:
        LedgerError: the history cannot be read.
    """
    levels = [*_ALWAYS, *_WHERE_IT_WENT_WELL]
    found: dict[str, int] = {}
    ids: Iterator[str] = iter(run_ids)
    while some := list(islice(ids, _AT_ONCE)):
        with ledger.reading() as connection:
            rows = connection.execute(
                "SELECT logs.run_id, level, runs.status, count(*) FROM logs JOIN runs ON runs.run_id = logs.run_id"
                f" WHERE logs.run_id IN ({', '.join('?' * len(some))}) AND level IN ({', '.join('?' * len(levels))})"
                " GROUP BY logs.run_id, level",
                [*some, *levels],
            ).fetchall()
        for run_id, level, status, count in rows:
            if counts_as_warning(level, status):
                found[run_id] = found.get(run_id, 0) + count
    return found


def warning_texts(ledger: Ledger, runs: Sequence[Run], most: int = 5) -> list[str]:
    """What these runs have warned of, in the order it was logged, each text once; of the first `most` runs that have, `most` texts.

    Raises:
        LedgerError: the history cannot be read.
    """
    warned = warnings_of(ledger, [run.run_id for run in runs])
    chosen = [run for run in runs if run.run_id in warned][:most]
    lines = ((run.status, line) for run in chosen for line in ledger.log(run.run_id))
    texts = dict.fromkeys(line.message for status, line in lines if counts_as_warning(line.level, status))
    return list(texts)[:most]
