"""Finish what runs that are over have left beside a mirror or the databases, where that changes tables: in a process of its own, since a
daemon imports no data library."""

from __future__ import annotations

import json
import time
from functools import partial
from pathlib import Path

from data_engine.answering_process import AnsweringProcess, NoAnswer, ParentProcess
from data_engine.engine.kept_tables import LIST
from data_engine.engine.local_workspace import LocalWorkspace
from data_engine.engine.publication import left_stages, tidy
from data_engine.ledger.outputs import runs_of_stages
from data_engine.storage_version import new_databases

_LIMIT_S = 600.0


def tidy_with_tables(final_root: Path, home: LocalWorkspace, *, machine: str, is_owner: bool) -> int:
    """As `publication.tidy`, of stages with kept rows, too; a database that is in use is tried again at the next time."""
    runs = partial(runs_of_stages, home.local.ledger_path)
    publications = (left.run.publication for left in left_stages(final_root, runs) if left.run is not None)
    if not any(file.name == LIST for record in publications if record is not None for file in record.files):
        return tidy(final_root, machine=machine, runs=runs, is_owner=is_owner, now_s=time.time())
    ask = {
        "final_root": str(final_root),
        "ledger": str(home.local.ledger_path),
        "databases": str(home.databases),
        "new": [home.settings().databases.storage_version, home.database_lead],
        "machine": machine,
        "is_owner": is_owner,
    }
    try:
        with AnsweringProcess(f"{__name__}:answer") as process:
            return int(process.ask(json.dumps(ask).encode(), _LIMIT_S))
    except NoAnswer:
        return 0


def answer(asker: ParentProcess) -> None:
    """The process's part."""
    ask = json.loads(asker.receive())
    with new_databases(*ask["new"]):
        count = tidy(
            Path(ask["final_root"]),
            machine=ask["machine"],
            runs=partial(runs_of_stages, Path(ask["ledger"])),
            is_owner=ask["is_owner"],
            now_s=time.time(),
            databases=Path(ask["databases"]),
        )
    asker.send(str(count).encode())
