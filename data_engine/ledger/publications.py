"""What runs were about to publish of their stages: as the row of a run has it, and asked for by run.

The row is this machine's own, or came with the shared history under its owner's fencing token. So it is what says which files
of a stage may take their place; nothing that lies in the stage does.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Collection, Iterable, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple

from data_engine.ledger.rows import restored, storable
from data_engine.model import PublishStarted, StagedFile

_ASKED_AT_ONCE = 500
_ASK = """
SELECT run_id, flow_name, source_root, source_key, status, runner_id IS NOT NULL, publication FROM runs WHERE run_id IN
"""


class RunOfStage(NamedTuple):
    """A run as its stage is judged by it: `source` is the identity of its source, `is_own` whether this machine has run it,
    `publication` what it was about to publish when it ended."""

    run_id: str
    flow: str
    source: tuple[str, str] | None
    status: str
    is_own: bool
    publication: PublishStarted | None


def runs_of_stages(ledger_path: Path, run_ids: Collection[str]) -> Mapping[str, RunOfStage]:
    """By their ids the runs that the ledger knows; none where it cannot be read, as on a node of a cluster.

    It is opened to read only: a worker has no ledger of its own.
    """
    asked = list(run_ids)
    if not asked:
        return {}
    found: dict[str, RunOfStage] = {}
    try:
        with closing(sqlite3.connect(f"{ledger_path.absolute().as_uri()}?mode=ro", uri=True)) as connection:
            for at in range(0, len(asked), _ASKED_AT_ONCE):
                some = storable(asked[at : at + _ASKED_AT_ONCE])
                for row in connection.execute(f"{_ASK} ({', '.join('?' * len(some))})", some):
                    found[row[0]] = _run_of(*row)
    except sqlite3.Error:
        return {}
    return found


def publication_as_text(event: PublishStarted) -> str | None:
    """The publication as the row of its run has it; None when all has taken its place.

    Example:
        >>> publication_as_text(PublishStarted("3f", "out", (StagedFile("a.csv", 5, 7),)))
        '["out",[["a.csv",5,7,null,null]],null,null]'
    """
    if not event.files:
        return None
    return json.dumps(event[1:], separators=(",", ":"))


def files_of(packed: Iterable[Any]) -> tuple[StagedFile, ...]:
    """The files of a publication, from JSON's lists."""
    return tuple(
        StagedFile(name, size, time_ns, digest, replaces and tuple(replaces))
        for name, size, time_ns, digest, replaces in packed
    )


def _run_of(
    run_id: str, flow: str, root: str | None, key: str | None, status: str, is_own: int, text: str | None
) -> RunOfStage:
    publication = None
    if text is not None:
        mirror, packed, made_of, code = json.loads(text)
        files = tuple(one._replace(name=restored(one.name)) for one in files_of(packed))
        publication = PublishStarted(run_id, restored(mirror), files, made_of and tuple(made_of), code)
    source = None if root is None or key is None else (restored(root), restored(key))
    return RunOfStage(run_id, restored(flow), source, status, bool(is_own), publication)
