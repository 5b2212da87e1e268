"""What a backfill would run: the files or slots of a flow, as they are here and now."""

from __future__ import annotations

import time
import uuid
from collections.abc import Mapping
from typing import Any

from data_engine.engine.candidates import candidates, signature_of, startup_sources
from data_engine.engine.local_workspace import LocalWorkspace
from data_engine.engine.params import is_as_scheduled
from data_engine.errors import FlowValidationError
from data_engine.flow.flow import Flow
from data_engine.flow.paths import portable_text
from data_engine.flow.trigger import Poll, Schedule
from data_engine.ledger.backfills import BackfillRow, ends_of_slots, ends_of_sources
from data_engine.model import Backfill, Signature, utc_text
from data_engine.scheduler.backfill import (
    Chosen,
    SeenFile,
    Wanted,
    choose_files,
    choose_slots,
    ends_of_states,
    has_slots,
)
from data_engine.scheduler.slots import zone_of
from data_engine.typed import typed


def choose(home: LocalWorkspace, flow: Flow, wanted: Wanted) -> Chosen:
    """The runs that are wanted, exactly; looks at the folder, and at the history.

    Raises:
        FlowValidationError: the flow has neither files nor slots, a text is no day, or the folder cannot be read.
    """
    trigger, ledger, name = flow.trigger, home.ledger(), flow.name or ""
    zone = zone_of((trigger.tz if isinstance(trigger, Schedule) else None) or home.settings().timezone)
    if isinstance(trigger, Schedule) and has_slots(trigger):
        paths = [None if one.key is None else one.key.path for one in startup_sources(flow)]
        if wanted.where is not None and trigger.source is None:
            raise _no_files(name, "where")
        return choose_slots(trigger, paths, ends_of_slots(ledger, name), wanted, zone, now_s=time.time())
    if trigger is None or trigger.source is None:
        raise FlowValidationError(
            f"{name} has neither files nor slots to run again",
            where="backfill",
            fix=f"run it by hand, with parameters if it takes any: {typed('run', name)}",
        )
    if not trigger.source.is_dir():
        files = [SeenFile("", signature_of(trigger.source))]
        return choose_files(files, ends_of_sources(ledger, name), wanted, zone)
    if trigger.run_as == "batch":
        for given in ("since", "until", "where"):
            if getattr(wanted, given) is not None:
                raise _no_files(name, given)
        return choose_files([SeenFile("", None)], ends_of_sources(ledger, name), wanted, zone)
    files = [SeenFile(portable_text(path), _signature(entry)) for path, entry in candidates(flow)]
    if isinstance(trigger, Poll):
        ends = ends_of_states(files, ledger.source_states(name), trigger.source_as_authored or "")
    else:
        ends = ends_of_sources(ledger, name)
    return choose_files(files, ends, wanted, zone)


def new_row(
    flow: Flow, wanted: Wanted, chosen: Chosen, params: Mapping[str, Any], *, by: str, backfill_id: str | None
) -> BackfillRow:
    """A backfill of these runs, about to begin."""
    asked = {"since": wanted.since, "until": wanted.until, "where": wanted.where, "reprocess": wanted.reprocess}
    return BackfillRow(
        backfill_id or uuid.uuid4().hex,
        flow.name or "",
        chosen.kind,
        asked,
        params,
        is_as_scheduled(flow, params),
        by,
        utc_text(time.time()),
        total=len(chosen.planned),
    )


def listed(flow: Flow, wanted: Wanted, chosen: Chosen, params: Mapping[str, Any]) -> Backfill:
    """What would run, for who is asked whether it shall."""
    return Backfill(
        "",
        flow.name or "",
        "planned",
        len(chosen.planned),
        kind=chosen.kind,
        since=wanted.since,
        until=wanted.until,
        where=wanted.where,
        reprocess=wanted.reprocess,
        params=dict(params),
        digest=chosen.digest,
        known=chosen.known,
        planned=chosen.planned,
        nearest=chosen.nearest,
    )


def _signature(entry: Any) -> Signature | None:
    try:
        facts = entry.stat()
    except OSError:
        return None
    return Signature(facts.st_size, facts.st_mtime_ns)


def _no_files(name: str, given: str) -> FlowValidationError:
    return FlowValidationError(
        f"{name} does not run file by file, and {given} chooses files",
        where=f"backfill({given}=...)",
        fix=f"leave {given} out",
    )
