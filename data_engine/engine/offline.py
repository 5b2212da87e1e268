"""A workspace while no daemon of it runs here: its status and its reasons, from the deployments, the ledger and one look."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from data_engine.engine.explain import (
    broken_row,
    edit_rows,
    flows_of_file,
    nothing_to_explain,
    offline_rows,
    reason_row,
)
from data_engine.engine.held_files import HeldFiles
from data_engine.engine.home import Home
from data_engine.engine.lookout import Memory
from data_engine.engine.plan import Rules, Watch, why_blocked
from data_engine.engine.reasons import ByHand, EngineOff, Running
from data_engine.engine.status import DaemonFacts, EngineFacts, FlowFacts, WorkspaceFacts, active_runs, owned_elsewhere
from data_engine.flow.trigger import Poll
from data_engine.lease.glance import glance
from data_engine.lease.status import LeaseStatus, lease_facts
from data_engine.ledger.belief import clock_warnings
from data_engine.ledger.wall_clock import kept_doubt
from data_engine.notebook.catalog import CatalogEntry, read_catalog
from data_engine.workspace.machine import machine_id


def offline_facts(home: Home, *, interpreter: str | None, was_engine_on: bool) -> WorkspaceFacts:
    """What a status tells; `interpreter` is the one that is recorded for the workers, `was_engine_on` what the last daemon
    left to the next one.

    Raises:
        FlowValidationError: the flow_modules folder cannot be read.
    """
    ledger = home.ledger()
    ledger.recover()
    last, switches, standing = ledger.last_runs(), ledger.switches(), _standing(home)
    watches = [Watch.of(known.entry.flow) for known in standing.values() if known.entry.flow is not None]
    held, lease, error = HeldFiles(ledger).of(watches), offline_lease(home), home.settings_error()
    settings_warnings = () if error is not None else home.settings().warnings
    elsewhere = owned_elsewhere(lease, machine_id())
    return WorkspaceFacts(
        home.layout.workspace_id,
        str(home.layout.root),
        flows=[
            replace(
                known,
                last_run=last.get(name),
                is_enabled=switches.get(name, True),
                held=len(held.get(name, ())),
            )
            for name, known in standing.items()
        ],
        active=active_runs(ledger),
        lease=lease_facts(lease),
        elsewhere=elsewhere,
        engine=EngineFacts(goes_on=was_engine_on and elsewhere is None),
        trouble=None if error is None else error.as_dict(),
        warnings=(*settings_warnings, *clock_warnings(kept_doubt(ledger, time.time()))),
        daemon=DaemonFacts(interpreter=interpreter),
    )


def offline_lease(home: Home) -> LeaseStatus:
    """Who owns the workspace, as one look shows it.

    Raises:
        WorkspaceError: this machine's state cannot be used.
    """
    return glance(home.layout.workspace_state_dir, home.local.identity, state_root=home.local.state_root)


def explain_offline(home: Home, subject: str, file: str) -> list[dict[str, Any]]:
    """Why the flow `subject` does not run, or the file at `file`, which may be `subject` inside a flow's source.

    Raises:
        FlowValidationError: neither a flow nor a source file.
    """
    standing = _standing(home)
    if subject in standing:
        known = standing[subject]
        return [*edit_rows(subject, known.edit), *_reasons(home, known.entry, None)]
    watches = {name: None if one.entry.flow is None else Watch.of(one.entry.flow) for name, one in standing.items()}
    rows = []
    for watch, inside, ruled_out in flows_of_file(Path(file), watches, named=subject):
        rows += [ruled_out] if ruled_out is not None else _reasons(home, standing[watch.flow].entry, inside or None)
    if not rows:
        raise nothing_to_explain(subject, standing)
    return rows


def _standing(home: Home) -> dict[str, FlowFacts]:
    """Each flow as the next daemon finds it: what is deployed where the module is broken now, else the module."""
    deployments = home.deployments()
    deployed, edits = deployments.deployed(), deployments.edits()
    found = {}
    for entry in read_catalog(home.modules()):
        edit, modules = edits.get(entry.name), None
        if edit is not None and entry.error is not None:
            edit, modules = f"{edit}\n{entry.error}", deployments.modules_of(entry.name)
        if modules is not None:
            old = {one.name: one for one in read_catalog(modules)}.get(entry.name)
            entry = entry if old is None or old.error is not None else old
        found[entry.name] = FlowFacts(entry, is_deployed=entry.name in deployed, edit=edit)
    return found


def _reasons(home: Home, entry: CatalogEntry, path: str | None) -> list[dict[str, Any]]:
    if entry.flow is None:
        return [broken_row(entry.name, entry.error)]
    ledger, watch = home.ledger(), Watch.of(entry.flow)
    under_way = {run.source for run in active_runs(ledger) if run.flow == entry.name}
    elsewhere = owned_elsewhere(offline_lease(home), machine_id())
    blocked = why_blocked(watch.flow, switches=ledger.switches(), is_engine_on=False, elsewhere=elsewhere)
    if isinstance(watch.trigger, Poll) and blocked is not None:
        memory = Memory(ledger.source_states(entry.name), ledger.outputs(entry.name))
        rules = Rules.of(home.settings())
        return offline_rows(watch, memory, rules, blocked, path=path, under_way=under_way)
    why = Running() if under_way else ByHand() if watch.trigger.mode == "manual" else blocked
    return [reason_row(entry.name, None, (why or EngineOff()).text)]
