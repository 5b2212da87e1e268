"""What `%flow backfill` does."""

from __future__ import annotations

from argparse import Namespace
from typing import Any

from data_engine.errors import FlowValidationError
from jupyter_extension.given_words import params_of
from jupyter_extension.own_flow import UserNames, own_name


def backfill(given: Namespace, names: UserNames) -> Any:
    """List the runs of a backfill, or begin it; or tell of one, end it, or run again what failed of it."""
    from data_engine.client import Workspace
    from data_engine.status.sentences import none_named_words, nothing_words

    ws = Workspace.current()
    if given.status:
        return ws.backfills() if given.subject is None else ws.backfill_status(given.subject)
    if given.stop or given.retry:
        if given.subject is None:
            do = "--stop" if given.stop else "--retry"
            fix = f"%flow backfill ID {do}; %flow backfill --status lists their ids"
            raise FlowValidationError("which backfill?", where="%flow backfill", fix=fix)
        return ws.stop_backfill(given.subject) if given.stop else ws.retry_backfill(given.subject)
    name = given.subject or own_name(names, "backfill")
    reprocess: Any = given.reprocess or "failed"
    params = params_of(given)
    shown = ws.backfill(name, given.since, given.until, given.where, params, reprocess, dry_run=True)
    assert shown is not None
    if not shown.total:
        print(none_named_words(shown) or nothing_words(shown))
        return shown
    if not given.yes:
        print("Nothing was started. Repeat it with --yes to run exactly these, after everything that is due.")
        return shown
    return ws.backfill(name, given.since, given.until, given.where, params, reprocess, digest=shown.digest)
