"""Whether what is published in a workspace can be read as it was written: every segment is read, and nothing is changed."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

from data_engine.cut import first_few
from data_engine.daemon.finding import Finding
from data_engine.lease.folder import GENERATIONS, OsFolder, drive_words
from data_engine.lease.generations import GenerationList
from data_engine.lease.heartbeat_files import HeartbeatFiles
from data_engine.lease.protocol import TABLES, Damage, Damaged, Generation, ShorterList
from data_engine.lease.removal import NOT_OURS
from data_engine.ledger.connection import connect_to_look, known_list
from data_engine.nofollow import opened
from data_engine.workspace.layout import LocalLayout, WorkspaceLayout

_REPAIR = "data-engine lease repair"
_NAMED = 3
_NOTICES = ("leases", "leased", "available", "stale", "control_requests", "alarms")
_PLACES = ("", "state", GENERATIONS, *(f"state/{table}" for table in TABLES), *_NOTICES)
_LOOKED_INTO = 50


def check_shared_history(layout: WorkspaceLayout, local: LocalLayout) -> Iterator[Finding]:
    """The list of generations against what this machine has seen, each segment it lists, the heartbeat, and links."""
    folder = OsFolder(layout.workspace_state_dir)
    known, nonce, repairs = _known_list(local.ledger_path)
    generations = GenerationList(folder, max(0, known), nonce=nonce, repairs=repairs)
    try:
        top = generations.top()
        yield _list(generations, top)
        if top is not None:
            yield _heartbeat(folder, local.identity, top)
    except (Damaged, ShorterList) as error:
        damage = Damage.of(error, "")
        fix = {"newer": "update Data Engine on this machine", "foreign": f"remove it, then {_REPAIR}"}
        yield Finding("shared history", False, damage.what, fix.get(damage.kind, _REPAIR))
    except OSError as error:
        if not layout.workspace_state_dir.exists():
            if known > 0:
                yield Finding(
                    "shared history", False, f".workspace_state is gone, generation {known} was seen before", _REPAIR
                )
                return
            yield _list(generations, None)
            return
        yield Finding("shared history", None, f"it cannot be read: {drive_words(error)}")
    yield _foreign(layout.workspace_state_dir)


def _list(generations: GenerationList, top: Generation | None) -> Finding:
    if top is None:
        return Finding("shared history", True, "nobody has owned this workspace yet")
    broken = [f"{table}/{name}" for table, names in generations.broken_segments(top).items() for name in names]
    count = sum(len(segments) for segments in top.files.values())
    if not broken:
        return Finding("shared history", True, f"generation {top.number} and its {count} segments are complete")
    again = generations.top()
    if again is not None and again.nonce != top.nonce:  # it has moved on meanwhile
        return _list(generations, again)
    measured = f"missing or not what was written: {first_few(broken, _NAMED)}"
    return Finding("shared history", False, measured, f"{_REPAIR}, on {top.by.shown}" if top.is_owned else _REPAIR)


def _heartbeat(folder: OsFolder, workspace: str, top: Generation) -> Finding:
    heartbeat_files = HeartbeatFiles(
        folder, workspace, lambda: "", lambda: datetime.now(UTC).isoformat(timespec="seconds")
    )
    lease = heartbeat_files.lease()
    if not top.is_owned:
        return Finding("heartbeat", True, "nobody owns the workspace")
    if heartbeat_files.broken is not None:
        return Finding(
            "heartbeat", False, heartbeat_files.broken.what, f"{top.by.shown} writes it again while its daemon runs"
        )
    if lease is None or lease.token != top.token:
        measured = f"{top.by.shown} owns the workspace, and its heartbeat is missing"
        return Finding("heartbeat", False, measured, f"check whether the daemon of {top.by.shown} is running")
    return Finding("heartbeat", True, f"of {lease.shown}")


def _foreign(state_dir: Path) -> Finding:
    """Links and mount points among the shared files, which nothing follows, and what was found there before."""
    found: list[str] = []
    places = [*_PLACES, NOT_OURS]
    for place in places:
        try:
            with opened(state_dir, place) as there:
                entries = there.entries()
        except OSError:  # not there; or a link, which is named by the folder above it
            continue
        inside = [f"{place}/{entry.name}".lstrip("/") for entry in entries if entry.kind == "folder"]
        places += inside[:_LOOKED_INTO] if place == GENERATIONS else []
        found += [
            f"{place}/{entry.name}".lstrip("/") for entry in entries if entry.kind == "foreign" or place == NOT_OURS
        ]
    if not found:
        return Finding("links", True, "none among the shared files")
    named = first_few(list(dict.fromkeys(found)), _NAMED)
    return Finding("links", False, f"in {state_dir}, not Data Engine's and left alone: {named}", "take them away")


def _known_list(ledger: Path) -> tuple[int, str, frozenset[str]]:
    """What this machine's ledger knows of the list; nothing where there is no ledger that says so."""
    nothing: tuple[int, str, frozenset[str]] = (-1, "", frozenset())
    if not ledger.exists():
        return nothing
    try:
        with closing(connect_to_look(ledger)) as connection:
            return known_list(connection)
    except (sqlite3.Error, TypeError):
        return nothing
