"""`data-engine doctor` on a shared history: damage is found and named, and nothing is changed."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import pytest

from data_engine import Workspace
from data_engine.daemon.doctor import check_shared_history
from data_engine.daemon.doctor_checks import Finding
from data_engine.lease.folder import OsFolder
from data_engine.lease.held_lease import HeldLease
from data_engine.lease.observer import Observer
from data_engine.lease.protocol import Identity, Limits
from data_engine.ledger.share import SharedHistory

Harm = Callable[[Path], None]


@pytest.fixture
def shared(tmp_path: Path) -> tuple[Workspace, HeldLease]:
    """A workspace that ANNA-PC owns, with two segments; this machine has seen all of it."""
    ws = Workspace.create(tmp_path / "team")
    state = ws.home.layout.workspace_state_dir
    me = Identity("anna", "d1", "ANNA-PC")
    observer = Observer(OsFolder(state), me, workspace=ws.home.local.identity, limits=Limits(), holds_lock=lambda: True)
    held = observer.claim(observer.poll())
    for _ in range(2):
        held.commit({"runs": b"PAR1"})
    held.heartbeat()
    SharedHistory(ws.home.ledger(), ws.root).note_list(*observer.known_list)
    return ws, held


def findings(ws: Workspace) -> dict[str, Finding]:
    return {one.name: one for one in check_shared_history(ws.home.layout, ws.home.local)}


def digest(folder: Path) -> str:
    parts = [f"{path} {path.is_file() and path.read_bytes()!r}" for path in sorted(folder.rglob("*"))]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def test_a_whole_history_is_fine(shared: tuple[Workspace, HeldLease]) -> None:
    ws, _ = shared
    found = findings(ws)
    assert {name: one.ok for name, one in found.items()} == {"shared history": True, "heartbeat": True, "links": True}
    assert found["shared history"].measured == "generation 3 and its 2 segments are complete"


def first(state: Path, pattern: str) -> Path:
    return sorted(state.glob(pattern))[0]


def turn_back(state: Path) -> None:
    newest = sorted((state / "state" / "generations").iterdir())[-1]
    (newest / "entry.json").unlink()
    newest.rmdir()


@pytest.mark.parametrize(
    ("harm", "name", "measured", "fix"),
    [
        (lambda state: first(state, "state/runs/*").unlink(), "shared history", "missing or not what", "lease repair"),
        (
            lambda state: first(state, "state/runs/*").write_bytes(b"????"),
            "shared history",
            "missing or not what was written: runs/",
            "data-engine lease repair, on ANNA-PC",
        ),
        (turn_back, "shared history", "the list ends at generation 2, 3 was seen before", "lease repair"),
        (
            lambda state: first(state, "state/generations/*3/entry.json").write_bytes(b"{}"),
            "shared history",
            "generation 3: the checksum does not match",
            "lease repair",
        ),
        (
            lambda state: first(state, "leases/*").write_bytes(b"torn"),
            "heartbeat",
            "is no heartbeat",
            "writes it again",
        ),
        (
            lambda state: first(state, "leases/*").unlink(),
            "heartbeat",
            "its heartbeat is missing",
            "ANNA-PC is running",
        ),
        (
            lambda state: (state / "state" / "generations" / "0000000003" / "stage-x").symlink_to(state.parent),
            "links",
            "left alone: state/generations/0000000003/stage-x",
            "take them away",
        ),
        (
            lambda state: (state / "state" / "runs" / "away").symlink_to(state.parent),
            "links",
            "left alone: state/runs/away",
            "take them away",
        ),
    ],
)
def test_damage_is_found_and_nothing_is_changed(
    shared: tuple[Workspace, HeldLease], harm: Harm, name: str, measured: str, fix: str
) -> None:
    ws, _ = shared
    state = ws.home.layout.workspace_state_dir
    harm(state)
    before = digest(state)

    found = findings(ws)[name]

    assert digest(state) == before
    assert found.ok is False
    assert measured in found.measured
    assert fix in (found.fix or "")
