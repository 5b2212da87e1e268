"""Requests of a machine that only observes to the owner's daemon: each is left, renewed, and its answer waited for."""

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
from data_engine.errors import FlowValidationError, OwnedElsewhereError
from data_engine.lease.folder import OsFolder, drive_words
from data_engine.lease.requests import LONGEST_ARGUMENTS, LONGEST_S, RENEW_S, Request, RequestFiles
from data_engine.ledger.requests import RequestRow, RequestRows
from data_engine.model import utc_text
from data_engine.workspace.machine import machine_id, person

_LOOK_EVERY_S = 1.0
_MOST_GIVEN_UP = 20


@dataclass(slots=True)
class SentRequest:
    """A request of this machine: who was asked, and since when it waits, on this process's clock.

    `given_up` says why nobody waits for it any more.
    """

    request: Request
    owner: str
    since_s: float
    renewed_s: float
    given_up: str | None = None


class RequestSender:
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
        self.sent: dict[str, SentRequest] = {}

    @property
    def is_waiting(self) -> bool:
        """Whether an answer is waited for."""
        return any(one.given_up is None for one in self.sent.values())

    async def send(self, verb: str, flow: str | None, arguments: dict[str, Any], *, waits: bool = True) -> SentRequest:
        """Leave a request; without `waits` it is not renewed, and expires 3 min after the owner has seen it.

        Raises:
            FlowValidationError: what is asked for is longer than any request may be.
            OwnedElsewhereError: the share cannot be written.
        """
        text = json.dumps(arguments)
        if len(text) > LONGEST_ARGUMENTS:
            raise FlowValidationError(
                f"the request has {len(text):,} characters, and may have {LONGEST_ARGUMENTS:,}",
                where=verb,
                fix="give shorter parameters, or a shorter note",
            )
        by, host_name = person()
        request = Request(
            uuid.uuid4().hex,
            verb,
            flow or "",
            text,
            by,
            machine_id(),
            host_name,
            utc_text(time.time()),
        )
        try:
            await asyncio.to_thread(self._files.put, request)
        except OSError as error:
            raise OwnedElsewhereError(
                f"the request cannot be written to the shared folder: {drive_words(error)}",
                where=str(self._home.layout.workspace_state_dir / "requests"),
                fix="check whether the drive is connected and writable",
            ) from error
        now_s = time.monotonic()
        sent = SentRequest(request, self._owner() or "its owner", now_s, now_s)
        self._forget_old()
        self.sent[request.request_id] = sent
        self._spawn(self._wait(sent, waits))
        self._tell()
        return sent

    async def answer(self, request_id: str, timeout_s: float) -> dict[str, Any]:
        """What came of the request: its `state`, `outcome` and `answer`; "pending" after `timeout_s` without any."""
        until_s = time.monotonic() + timeout_s
        while True:
            row = self._row(request_id)
            if row is not None and row.state == "answered":
                answer = json.loads(row.answer or "{}")
                return {"state": "answered", "outcome": row.outcome, "answer": answer, "run_ids": list(row.run_ids)}
            sent = self.sent.get(request_id)
            if sent is None or sent.given_up is not None:
                why = "this machine's daemon does not wait for it" if sent is None else sent.given_up
                return {"state": "answered", "outcome": "expired", "answer": {"what": why}, "run_ids": []}
            if time.monotonic() >= until_s:
                return {"state": "pending", "owner": sent.owner}
            await asyncio.sleep(min(0.2, timeout_s))

    def _forget_old(self) -> None:
        """Of those that were given up the newest stay, for who asks what came of them."""
        given_up = [request_id for request_id, one in self.sent.items() if one.given_up is not None]
        for request_id in given_up[:-_MOST_GIVEN_UP]:
            del self.sent[request_id]

    def _row(self, request_id: str) -> RequestRow | None:
        return RequestRows(self._home.ledger()).known([request_id]).get(request_id)

    async def _wait(self, sent: SentRequest, waits: bool) -> None:
        request = sent.request
        try:
            while True:
                await asyncio.sleep(_LOOK_EVERY_S)
                self._look()
                row = self._row(request.request_id)
                if row is not None and row.state == "answered":
                    self.sent.pop(request.request_id, None)
                    return
                now_s = time.monotonic()
                is_taken = row is not None
                if not is_taken and (now_s - sent.since_s > LONGEST_S or self._owner() is None):
                    sent.given_up = f"{sent.owner} did not take it in time"
                    await asyncio.to_thread(self._remove, request.request_id)
                    return
                if waits and now_s - sent.renewed_s >= RENEW_S and not is_taken:
                    sent.renewed_s = now_s
                    sent.request = request = replace(request, beat=request.beat + 1)
                    await asyncio.to_thread(self._renew, request)
        finally:
            sent.given_up = sent.given_up or "this machine's daemon no longer waits for it"
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
