"""Requests between workstations: the owner's daemon carries each out at most once, with an answer; an observer's daemon leaves them,
renews them, and waits for the answers."""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
import os
import time
import uuid
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from data_engine.clock import boot_clock
from data_engine.commands import deployments
from data_engine.daemon.ownership import Ownership
from data_engine.engine.local_workspace import LocalWorkspace
from data_engine.errors import FlowValidationError, OwnedElsewhereError
from data_engine.lease.folder import OsFolder, drive_text
from data_engine.lease.requests import (
    INTERRUPTED,
    LONGEST_ARGUMENTS,
    LONGEST_S,
    RENEW_S,
    SILENT_S,
    PublishOutcome,
    RemoteRequest,
    RequestFiles,
    Seen,
    judge,
    look_again,
)
from data_engine.ledger.requests import RequestRow, RequestRows
from data_engine.model import utc_text
from data_engine.platforms import access
from data_engine.record import frozen
from data_engine.workspace.machine import load_machine_settings, machine_id, person

log = logging.getLogger(__name__)

_LAPSED_S = 0.1
_DEPLOYS = frozenset(command.asks[0] for command in deployments.COMMANDS)


Handle = Callable[[RemoteRequest], Awaitable[tuple[str, dict[str, Any]]]]
"""Does what a request asks for; the outcome and the answer."""


@frozen
class Pace:
    """How an inbox waits: `in_thread` does what may hang on the share."""

    in_thread: Callable[..., Awaitable[Any]] = asyncio.to_thread
    pause: Callable[[float], Awaitable[None]] = asyncio.sleep
    clock: Callable[[], float] = boot_clock


class RequestInbox:
    """Looks for requests while the workspace is ours, and carries them out with `handle`. `look` is called again and again.

    `setting` is what this machine does for others, `file_owner` who owns a request's file.
    """

    def __init__(
        self,
        files: RequestFiles,
        rows: RequestRows,
        owner: Ownership,
        handle: Handle,
        spawn: Callable[[Coroutine[Any, Any, None]], object],
        *,
        pace: Pace | None = None,
        setting: Callable[[], str] = lambda: load_machine_settings().requests,
        file_owner: Callable[[str], str] = lambda request_id: "",
    ) -> None:
        self._files = files
        self._rows = rows
        self._owner = owner
        self._handle = handle
        self._spawn = spawn
        pace = pace or Pace()
        self._in_thread, self._pause, self._clock = pace.in_thread, pace.pause, pace.clock
        self._setting = setting
        self._file_owner = file_owner
        self._sightings: dict[str, Seen] = {}
        self._token: int | None = None
        self._looked_s = 0.0
        self._running: set[str] = set()

    @property
    def is_busy(self) -> bool:
        """Whether a request is being carried out."""
        return bool(self._running)

    async def look(self) -> None:
        """Look once: take what is new, answer what expired or was interrupted, remove what is answered.

        Raises:
            OSError: the share is away.
            FlowValidationError: nothing can be published just now.
        """
        token = self._owner.token
        if token is None or not self._owner.can_work():
            return
        listed = await self._in_thread(self._files.listed)
        is_first, now_s = token != self._token, self._clock()
        before = {} if is_first else self._sightings
        has_paused = now_s - self._looked_s >= SILENT_S  # what is new after that may have been given up long ago
        self._sightings, self._looked_s = look_again(before, listed, now_s), now_s
        if is_first:
            await self._answer_interrupted()
        for request_id, request in listed.items():
            is_running = request_id in self._running
            row = self._rows.known([request_id]).get(request_id)  # now: others were waited for meanwhile
            state = None if row is None else row.state
            move = judge(
                self._sightings[request_id],
                state=state,
                is_running=is_running,
                lay_there=is_first or (has_paused and request_id not in before),
                now_s=self._clock(),
            )
            if move == "take":
                await self._take(request)
            elif isinstance(move, PublishOutcome):
                await self._publish(answer_row(request, move.outcome, {"what": move.why}))
                await self._in_thread(self._files.remove, request_id)
            elif move == "remove":
                await self._in_thread(self._files.remove, request_id)
        self._token = token

    async def _answer_interrupted(self) -> None:
        """Answer what an earlier owner has taken and not answered: it is not begun again."""
        for row in self._rows.unanswered():
            if row.request_id not in self._running:
                answer = json.dumps({"what": INTERRUPTED})
                await self._publish(replace(row, state="answered", outcome="interrupted", answer=answer))

    async def _take(self, request: RemoteRequest) -> None:
        setting = self._setting()
        if why := refusal(request, setting):
            await self._publish(answer_row(request, "refused", {"what": why, "is_off": True}))
            await self._in_thread(self._files.remove, request.request_id)
            return
        request = replace(request, file_owner=await self._in_thread(self._file_owner, request.request_id))
        await self._publish(taken_row(request))
        self._running.add(request.request_id)
        self._spawn(self._carry_out(request, self._owner.token))

    async def _carry_out(self, request: RemoteRequest, token: int | None) -> None:
        try:
            while not self._owner.can_work():  # it has lapsed, and goes on, or is fenced and begins nothing
                if self._owner.token != token:
                    return
                await self._pause(_LAPSED_S)
            try:
                outcome, answer = await self._handle(request)
            except FlowValidationError as error:
                outcome, answer = "refused", error.as_dict()
            except Exception as error:
                log.exception("a request failed")
                outcome, answer = "failed", {"what": f"{type(error).__name__}: {error}"}
            log.info("%s of %s, asked by %s@%s: %s", request.verb, request.flow, request.by, request.host_name, outcome)
            try:
                await self._publish(answer_row(request, outcome, answer))
                await self._in_thread(self._files.remove, request.request_id)
            except (FlowValidationError, OSError) as error:  # whoever owns next says that it was interrupted
                log.warning("the answer to a request was not published: %s", error)
        finally:
            self._running.discard(request.request_id)

    async def _publish(self, row: RequestRow) -> None:
        await self._owner.publish(lambda: self._rows.write([row]))


def owner_of_file(folder: Path, request_id: str) -> str:
    """The owner of a request's file, as far as the system says."""
    path = folder / "requests" / f"{request_id}.json"
    with suppress(OSError):
        return access.owner(path, os.stat(path, follow_symlinks=False)) or access.user_name()
    return ""


def refusal(request: RemoteRequest, setting: str) -> str | None:
    """Why this machine does not do what is asked for, by its setting `[daemon] requests`; None where it does.

    Example:
        >>> ask = RemoteRequest("0" * 32, "deploy", "claims", "{}", "anna", "m1", "ANNA-PC", "")
        >>> refusal(ask, "all"), refusal(ask, "no-deploy")
        (None, 'this machine takes no deployments from others: [daemon] requests = "no-deploy" in its settings.toml')
    """
    if setting == "off":
        return 'this machine takes no requests: [daemon] requests = "off" in its settings.toml'
    if setting == "no-deploy" and request.verb in _DEPLOYS:
        return 'this machine takes no deployments from others: [daemon] requests = "no-deploy" in its settings.toml'
    return None


def run_id_of(request_id: str, number: int) -> str:
    """The id of a run that a request begins, the first has number 0: the same whoever derives it.

    Example:
        >>> run_id_of("0" * 32, 0) == run_id_of("0" * 32, 0) != run_id_of("0" * 32, 1)
        True
    """
    return hashlib.sha256(f"{request_id} {number}".encode()).hexdigest()[:32]


def taken_row(request: RemoteRequest) -> RequestRow:
    """The row of a request that is about to be carried out."""
    return RequestRow(
        request.request_id,
        request.verb,
        request.flow,
        "taken",
        run_ids=(run_id_of(request.request_id, 0),) if request.verb == "run" else (),
        by=request.by,
        machine=request.host_name,
        file_owner=request.file_owner or None,
        at_utc=utc_text(time.time()),
    )


def answer_row(request: RemoteRequest, outcome: str, answer: dict[str, Any]) -> RequestRow:
    """The row of a request with its outcome and answer."""
    return replace(
        taken_row(request),
        state="answered",
        outcome=outcome,
        answer=json.dumps(answer),
        run_ids=tuple(answer.get("run_ids", ())),
    )


_LOOK_EVERY_S = 1.0
_MOST_GIVEN_UP = 20


@dataclass(slots=True)
class SentRequest:
    """A request of this machine: who was asked, and since when it waits, on this process's clock.

    `given_up` says why nobody waits for it any more.
    """

    request: RemoteRequest
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
        return any(sent.given_up is None for sent in self.sent.values())

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
        request = RemoteRequest(
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
                f"the request cannot be written to the shared folder: {drive_text(error)}",
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
        """The request's `state`, `outcome` and `answer`; "pending" after `timeout_s` without any."""
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
        """Forget all but the newest of the requests that were given up."""
        ids = [request_id for request_id, sent in self.sent.items() if sent.given_up is not None]
        for request_id in ids[:-_MOST_GIVEN_UP]:
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

    def _renew(self, request: RemoteRequest) -> None:
        with suppress(OSError):
            if request.request_id in self._files.listed():  # an owner that has answered it has taken it away
                self._files.put(request)

    def _remove(self, request_id: str) -> None:
        with suppress(OSError):
            self._files.remove(request_id)
