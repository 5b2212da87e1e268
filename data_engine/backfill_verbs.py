"""Backfills from Python: runs for a range once more, how far they are, and their end."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from data_engine.given import given_day, given_text
from data_engine.owners_verbs import OwnersVerbs
from data_engine.shown import Listing

TYPE_CHECKING = False
if TYPE_CHECKING:
    from datetime import date

    from data_engine.model import Backfill
    from data_engine.scheduler.backfill import Reprocess


class BackfillVerbs(OwnersVerbs):
    """The verbs of a workspace that run a flow again for a range of its files or slots."""

    def backfill(
        self,
        name: str,
        since: str | date | None = None,
        until: str | date | None = None,
        where: str | None = None,
        params: Mapping[str, Any] | None = None,
        reprocess: Reprocess = "failed",
        dry_run: bool = False,
        wait: bool = True,
        digest: str | None = None,
    ) -> Backfill | None:
        """Run the flow again for a range: its files, by their modification time and name, or its slots; after all that is due.

        `since` and `until` are days ("2013-03-01"), months ("2013-03", all of it) or times, in the flow's zone, both in the
        range. `reprocess` says which of them: "failed" (held, or the last run failed), "missing" (no success) or "all".
        With `dry_run=True` they are only listed (`planned`); with the `digest` of that list exactly those run, or none. Without
        it begins at once, in the daemon (started if need be); `backfills()` and `backfill_status(id)` show its progress.

        A success with the params of a run that comes by itself counts as one; with other `params` a run changes neither
        what is due nor what is held. Where another workstation owns the workspace its owner is asked; with `wait=False` the
        answer, None, is not waited for.

        Raises:
            FlowValidationError: no such flow, params that it does not take, no day, or nothing that could be run again.
            RequestFailedError, RequestExpiredError: the owner refused it, or did not take it.

        Example:
            >>> import tempfile
            >>> from data_engine import Workspace
            >>> ws = Workspace.create(tempfile.mkdtemp())
            >>> code = (
            ...     "from data_engine import Flow\\n"
            ...     "def build(): return Flow('Demo').watch(mode='poll', source='../in', interval='5s').step(lambda context: 1)"
            ... )
            >>> _ = (ws.layout.flow_modules_dir / "daily.py").write_text(code)
            >>> (ws.root / "in").mkdir()
            >>> _ = (ws.root / "in" / "a.csv").write_text("1")
            >>> _ = ws.deploy("daily")
            >>> listed = ws.backfill("daily", reprocess="missing", dry_run=True)
            >>> [one.source for one in listed.planned]
            ['a.csv']
            >>> begun = ws.backfill("daily", reprocess="missing", digest=listed.digest)
            >>> begun.total, ws.backfill_status(begun.id).id == begun.id, ws.kill()
            (1, True, True)
        """
        from data_engine.engine.params import check_params
        from data_engine.notebook.catalog import check_flow_name
        from data_engine.scheduler.backfill import Wanted

        wanted = Wanted(
            given_day(since, "backfill(since=...)"),
            given_day(until, "backfill(until=...)"),
            None if where is None else given_text(where, "backfill(where=...)"),
            reprocess,
        )
        body: dict[str, Any] = {
            "flow": check_flow_name(name),
            "since": wanted.since,
            "until": wanted.until,
            "where": wanted.where,
            "reprocess": wanted.reprocess,
            "params": self._sendable(name, check_params(params)),
            "dry_run": dry_run,
            "digest": digest,
        }
        return self._ask_of_backfill("/backfill", body, wait)

    def backfills(self, name: str | None = None) -> list[Backfill]:
        """The newest backfills, of one flow when named, the newest first, each with how far it is.

        Raises:
            LedgerError: the history cannot be read.

        Example:
            >>> import tempfile
            >>> from data_engine import Workspace
            >>> Workspace.create(tempfile.mkdtemp()).backfills()
            []
        """
        from data_engine.notebook.catalog import check_flow_name

        return Listing(self._backfills(None if name is None else check_flow_name(name), None))

    def backfill_status(self, backfill_id: str) -> Backfill:
        """One backfill: how far it is, what it was to run (`planned`) and the runs that were begun (`runs`).

        Raises:
            FlowValidationError: there is none with this id, or that begins so.

        Example:
            >>> import tempfile
            >>> from data_engine import FlowValidationError, Workspace
            >>> ws = Workspace.create(tempfile.mkdtemp())
            >>> try:
            ...     ws.backfill_status("b7")
            ... except FlowValidationError as error:
            ...     print(error.what)
            there is no backfill 'b7'
        """
        return self._in_zone(self._backfills(None, given_text(backfill_id, "backfill id"))[0])

    def stop_backfill(self, backfill_id: str, wait: bool = True) -> Backfill | None:
        """Begin no more runs of a backfill; what runs of it ends by itself.

        Raises:
            FlowValidationError: there is none with this id, or it does not run.
            RequestFailedError, RequestExpiredError: the owner refused it, or did not take it.

        Example:
            >>> import tempfile
            >>> from data_engine import FlowValidationError, Workspace
            >>> ws = Workspace.create(tempfile.mkdtemp())
            >>> try:
            ...     ws.stop_backfill("b7")
            ... except FlowValidationError as error:
            ...     print(error.what)
            there is no backfill 'b7'
            >>> ws.kill()
            True
        """
        return self._do_with_backfill("stop", backfill_id, wait)

    def retry_backfill(self, backfill_id: str, wait: bool = True) -> Backfill | None:
        """Run again what failed of a backfill that has ended, and what a stop left out; it keeps its id.

        Raises:
            FlowValidationError: there is none with this id, it runs, or nothing of it failed.
            RequestFailedError, RequestExpiredError: the owner refused it, or did not take it.

        Example:
            >>> import tempfile
            >>> from data_engine import FlowValidationError, Workspace
            >>> ws = Workspace.create(tempfile.mkdtemp())
            >>> try:
            ...     ws.retry_backfill("b7")
            ... except FlowValidationError as error:
            ...     print(error.what)
            there is no backfill 'b7'
            >>> ws.kill()
            True
        """
        return self._do_with_backfill("retry", backfill_id, wait)

    def _do_with_backfill(self, do: str, backfill_id: str, wait: bool) -> Backfill | None:
        body = {"do": do, "id": given_text(backfill_id, "backfill id")}
        return self._ask_of_backfill("/backfill-do", body, wait)

    def _ask_of_backfill(self, path: str, body: dict[str, Any], wait: bool) -> Backfill | None:
        from data_engine.model import Backfill

        told = self.link.start().post(path, body | {"wait": wait})
        answer = self._answer(told, wait)
        return None if answer is None else self._in_zone(Backfill.read(answer["backfill"]))

    def _backfills(self, name: str | None, backfill_id: str | None) -> list[Backfill]:
        from data_engine.daemon.backfiller import backfills_told
        from data_engine.model import Backfill

        return self.link.ask(
            lambda daemon: [
                Backfill.read(one) for one in daemon.get("/backfills", flow=name, id=backfill_id)["backfills"]
            ],
            otherwise=lambda: backfills_told(self.home.ledger(), (), name, backfill_id),
        )

    def _in_zone(self, found: Backfill) -> Backfill:
        """With the zone that its slots are told in."""
        from data_engine.status.runs import slot_zone

        return replace(found, tz=slot_zone(self.home, found.flow)) if found.kind == "slots" else found
