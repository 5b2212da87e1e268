"""Asking the owner's daemon from a machine that only observes: a request is left, renewed, and its answer waited for."""

from __future__ import annotations

import asyncio
import json
import os
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from data_engine.engine.local_workspace import LocalWorkspace
from data_engine.errors import OwnedElsewhereError
from data_engine.lease.folder import OsFolder, drive_words
from data_engine.lease.requests import LONGEST_S, RENEW_S, Request, RequestFiles
from data_engine.ledger import requests as rows
from data_engine.ledger.requests import RequestRow
from data_engine.model import utc_text
from data_engine.workspace.machine import machine_id, person

_LOOK_EVERY_S = 1.0


@dataclass(slots=True)
class Pending:
    """A request of this machine: who was asked, and since when it waits, on this process's clock."""

    request: Request
    owner: str
    since_s: float
    renewed_s: float
    given_up: str | None = None

    def as_dict(self) -> dict[str, Any]:
        """For the status."""
        request = self.request
        return {"request_id": request.request_id, "verb": request.verb, "flow": request.flow, "owner": self.owner}


class Asker:
    """The requests this daemon has left. `look` lets the share be looked at now, `owner` names who owns it (None: nobody)."""

    def __init__(
        self,
        home: LocalWorkspace,
        look: Callable[[], Any],
        owner: Callable[[], str | None],
        spawn: Callable[[Any], object],
        tell: Callable[[], None],
    ) -> None:
        self._home = home
        self._look = look
        self._owner = owner
        self._spawn = spawn
        self._tell = tell
        self._files = RequestFiles(OsFolder(home.layout.workspace_state_dir), lambda: os.urandom(6).hex())
        self.pending: dict[str, Pending] = {}

    @property
    def is_waiting(self) -> bool:
        """Whether an answer is waited for."""
        return any(one.given_up is None for one in self.pending.values())

    async def ask(self, verb: str, flow: str | None, arguments: dict[str, Any], *, waits: bool = True) -> Pending:
        """Leave a request; without `waits` it is not renewed, and expires 3 min after the owner has seen it.

        Raises:
            OwnedElsewhereError: the share cannot be written.
        """
        by, host_name = person()
        request = Request(
            uuid.uuid4().hex,
            verb,
            flow or "",
            json.dumps(arguments),
            by,
            machine_id(),
            host_name,
            utc_text(time.time()),
        )
        try:
            await asyncio.to_thread(self._files.put, request)
        except OSError as error:
            raise OwnedElsewhereError(
                f"the request cannot be left: {drive_words(error)}",
                where=str(self._home.layout.workspace_state_dir / "requests"),
                fix="check whether the drive is connected and writable",
            ) from error
        now_s = time.monotonic()
        pending = Pending(request, self._owner() or "its owner", now_s, now_s)
        self.pending[request.request_id] = pending
        self._spawn(self._wait(pending, waits))
        self._tell()
        return pending

    async def answer(self, request_id: str, timeout_s: float) -> dict[str, Any]:
        """What came of the request: its `state`, `outcome` and `answer`; "pending" after `timeout_s` without any."""
        until_s = time.monotonic() + timeout_s
        while True:
            row = self._row(request_id)
            if row is not None and row.state == "answered":
                answer = json.loads(row.answer or "{}")
                return {"state": "answered", "outcome": row.outcome, "answer": answer, "run_ids": list(row.run_ids)}
            pending = self.pending.get(request_id)
            if pending is None or pending.given_up is not None:
                why = "this machine's daemon does not wait for it" if pending is None else pending.given_up
                return {"state": "answered", "outcome": "expired", "answer": {"what": why}, "run_ids": []}
            if time.monotonic() >= until_s:
                return {"state": "pending", "owner": pending.owner}
            await asyncio.sleep(min(0.2, timeout_s))

    def _row(self, request_id: str) -> RequestRow | None:
        return rows.known(self._home.ledger(), [request_id]).get(request_id)

    async def _wait(self, pending: Pending, waits: bool) -> None:
        request = pending.request
        try:
            while True:
                await asyncio.sleep(_LOOK_EVERY_S)
                self._look()
                row = self._row(request.request_id)
                if row is not None and row.state == "answered":
                    self.pending.pop(request.request_id, None)
                    return
                now_s = time.monotonic()
                is_taken = row is not None
                if not is_taken and (now_s - pending.since_s > LONGEST_S or self._owner() is None):
                    pending.given_up = f"{pending.owner} did not take it in time"
                    await asyncio.to_thread(self._remove, request.request_id)
                    return
                if waits and now_s - pending.renewed_s >= RENEW_S and not is_taken:
                    pending.renewed_s = now_s
                    pending.request = request = replace(request, beat=request.beat + 1)
                    await asyncio.to_thread(self._renew, request)
        finally:
            self._tell()

    def _renew(self, request: Request) -> None:
        try:
            if request.request_id in self._files.listed():  # an owner that has answered it has taken it away
                self._files.put(request)
        except OSError:
            return

    def _remove(self, request_id: str) -> None:
        try:
            self._files.remove(request_id)
        except OSError:
            return
