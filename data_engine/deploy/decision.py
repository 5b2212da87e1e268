"""What becomes of the modules that were looked at: decided once for every deploy, with a daemon and without, asked for or by itself."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from data_engine.deploy.deploying import Asked, Looked, decide, leaving, renames_of, undeployed_of
from data_engine.deploy.gate import GoldenGate
from data_engine.deploy.sets import mended
from data_engine.engine.local_workspace import LocalWorkspace
from data_engine.ledger import deployments as ledger_rows
from data_engine.notebook import history
from data_engine.notebook.catalog import CatalogEntry
from data_engine.notebook.deploy import Deploy, HeldBack, Move, mirror_key
from data_engine.notebook.deployments import Pointer


@dataclass(frozen=True, slots=True)
class Decision:
    """The move of each module; the flows `going` live and those `gone`, which run no more; the new names of flows by which production
    follows them (`renames`: old by new), and the flows that somebody had undeployed."""

    moves: Mapping[str, Move]
    going: frozenset[str]
    gone: frozenset[str]
    renames: Mapping[str, str]
    undeployed: frozenset[str]


def decision(
    home: LocalWorkspace,
    looked: Looked,
    asked: Asked | None,
    gate: GoldenGate,
    *,
    pointers: Mapping[str, Pointer],
    is_all: bool,
    goes_live: bool,
    unchanged_for_s: Callable[[str, str], float],
) -> Decision:
    """What to do about the modules: of what somebody `asked` for, or by the rule alone; nothing goes live unless it `goes_live`.

    `is_all`: a flow whose module is gone runs no more. Reads the history, the sets and, as a gate, the goldens; changes nothing.

    Raises:
        FlowValidationError: what was asked for cannot be.
    """

    def mirror_of(entry: CatalogEntry) -> str | None:
        return mirror_key(entry.mirror, home.layout.flow_modules_dir)

    past = ledger_rows.published(home.ledger())
    renames = renames_of(home, looked, pointers, past, mirror_of, asked=asked)
    undeployed = undeployed_of(looked, past)
    moves = decide(
        looked,
        pointers,
        history.live(past).values(),
        asked=asked,
        settings=home.settings().deploy,
        mirror_of=mirror_of,
        unchanged_for_s=unchanged_for_s,
        renames=renames,
        is_all=is_all and asked is not None,  # by itself the other one goes first
        undeployed=undeployed,
        lost=mended(home, asked, looked, pointers).lost,
    )
    going = {name for name, move in moves.items() if isinstance(move, Deploy)} if goes_live else set()
    if going:
        digests = {name: looked.stored.digests[name] for name in going}
        held = gate.refuse(looked.stored.folder, digests, is_approved=asked is not None and asked.is_approved)
        moves |= {name: HeldBack(error) for name, error in held.items()}
        going -= held.keys()
    gone = leaving(pointers, looked, renames, going, is_all=is_all)
    return Decision(moves, frozenset(going), frozenset(gone), renames, frozenset(undeployed))
