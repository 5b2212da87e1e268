"""Which runs were of code that production does not run any more, as far as their records tell."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeVar

from data_engine.engine.reasons import Done
from data_engine.ledger.deployments import deployments_of, published
from data_engine.ledger.ledger import Ledger
from data_engine.model import Deployment
from data_engine.notebook.history import live

_Row = TypeVar("_Row", bound=Any)


def tell_earlier(
    rows: Sequence[_Row], ran_earlier: Callable[[str, Sequence[str]], Collection[str]], flow: str | None = None
) -> list[_Row]:
    """The rows, all of one `flow` or each of its own, of which those whose `why` is that they are done by the code of an earlier
    deployment say so; `ran_earlier` is `FactSource.ran_earlier_code`."""
    done: dict[str, list[str]] = {}
    for row in rows:
        if isinstance(row.why, Done) and row.why.run_id is not None:
            done.setdefault(flow or row.flow, []).append(row.why.run_id)
    earlier = {run_id for name, run_ids in done.items() for run_id in ran_earlier(name, run_ids)}

    def is_earlier(why: object) -> bool:
        return isinstance(why, Done) and why.run_id in earlier

    return [replace(row, why=replace(row.why, by_earlier=True)) if is_earlier(row.why) else row for row in rows]


def ran_earlier_code(ledger: Ledger, flow: str, run_ids: Collection[str]) -> frozenset[str]:
    """Those of these runs of the flow that ran another deployment's code than it runs now.

    Raises:
        LedgerError: the history cannot be read.
    """
    if not run_ids:
        return frozenset()
    return with_earlier_code(published(ledger, flow), flow, deployments_of(ledger, run_ids))


def with_earlier_code(history: Sequence[Deployment], flow: str, ran: Mapping[str, str]) -> frozenset[str]:
    """The same of what the runs `ran`: by their ids those of deployments, of which the ones that are not known tell nothing.

    Example:
        >>> one, two, same = (Deployment(f"d{n}", n, "claims", "deploy", "s", code) for n, code in ((1, "a"), (2, "b"), (3, "b")))
        >>> sorted(with_earlier_code([same, two, one], "claims", {"r1": "d1", "r2": "d2", "r3": "d3", "r4": "d9"}))
        ['r1']
    """
    now = live(history).get(flow)
    if now is None:
        return frozenset()
    other = {one.id for one in history if one.flow == flow and one.digest != now.digest}
    return frozenset(run_id for run_id, deployment in ran.items() if deployment in other)
