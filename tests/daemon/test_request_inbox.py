"""What becomes of requests in time, on a real folder with a clock of its own: they are done once, or expire."""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import Callable, Coroutine, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from data_engine import FlowValidationError, Workspace
from data_engine.daemon import requests
from data_engine.daemon.requests import Pace, RequestInbox, RequestSender
from data_engine.deploy.sets import DeployedSets
from data_engine.lease.folder import OsFolder
from data_engine.lease.requests import LONGEST_S, RENEW_S, SILENT_S, RemoteRequest, RequestFiles
from data_engine.ledger.requests import RequestRow


class Share:
    """An owner whose share can be away, its rows, and a clock that is set by hand."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self.files = RequestFiles(OsFolder(folder), lambda: uuid.uuid4().hex[:8])
        self.rows: dict[str, RequestRow] = {}
        self.done: list[str] = []
        self.now_s = 1000.0
        self.token: int | None = 1
        self.is_away = False
        self._tasks: list[asyncio.Task[None]] = []
        self.inbox = self.new_inbox()

    def new_inbox(self) -> RequestInbox:
        return RequestInbox(
            self.files, self, self, self.handle, self.spawn, pace=Pace(clock=lambda: self.now_s), setting=lambda: "all"
        )

    async def handle(self, request: RemoteRequest) -> tuple[str, dict[str, Any]]:
        self.done.append(request.flow)
        return "done", {}

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        self._tasks.append(asyncio.get_running_loop().create_task(work))

    def can_work(self) -> bool:
        return True  # the drive goes away a moment after this was asked

    async def publish(self, write: Callable[[], None]) -> None:
        if self.is_away:
            raise FlowValidationError("the share is away")
        write()

    def known(self, ids: Iterable[str]) -> dict[str, RequestRow]:
        return {one: self.rows[one] for one in ids if one in self.rows}

    def unanswered(self) -> list[RequestRow]:
        return [row for row in self.rows.values() if row.state == "taken"]

    def write(self, rows: Sequence[RequestRow]) -> None:
        self.rows |= {row.request_id: row for row in rows}

    def look(self, after_s: float = 1.0) -> None:
        async def look_and_wait() -> None:
            await self.inbox.look()
            while self._tasks:
                await self._tasks.pop()

        self.now_s += after_s
        asyncio.run(look_and_wait())

    def asks(self, flow: str = "hand") -> RemoteRequest:
        request = RemoteRequest(
            uuid.uuid4().hex, "run", flow, "{}", "eve", "eves", "EVE-PC", "2026-01-01T00:00:00+00:00"
        )
        self.files.put(request)
        return request

    def renews(self, request: RemoteRequest) -> RemoteRequest:
        renewed = replace(request, beat=request.beat + 1)
        self.files.put(renewed)
        return renewed

    def outcome(self, request: RemoteRequest) -> str | None:
        row = self.rows.get(request.request_id)
        return None if row is None else row.outcome


@pytest.fixture
def share(tmp_path: Path) -> Share:
    share = Share(tmp_path / "state")
    share.look()
    return share


def test_a_request_that_nobody_renews_expires(share: Share) -> None:
    """One whose asker is gone is not done when the owner can work again."""
    request = share.asks()
    share.is_away = True
    with pytest.raises(FlowValidationError):
        share.look()
    share.is_away = False

    share.look(after_s=SILENT_S)

    assert (share.outcome(request), share.done) == ("expired", [])
    assert share.files.listed() == {}


def test_a_request_that_is_renewed_is_done_when_the_owner_can(share: Share) -> None:
    request = share.asks()
    share.is_away = True
    for _ in range(int(SILENT_S // RENEW_S) + 1):
        request = share.renews(request)
        with pytest.raises(FlowValidationError):
            share.look(after_s=RENEW_S)
    share.is_away = False

    share.look()

    assert (share.outcome(request), share.done) == ("done", ["hand"])


def test_none_is_done_that_has_waited_for_ten_minutes(share: Share) -> None:
    request = share.asks()
    share.is_away = True
    for _ in range(int(LONGEST_S // RENEW_S) + 1):
        request = share.renews(request)
        with pytest.raises(FlowValidationError):
            share.look(after_s=RENEW_S)
    share.is_away = False

    share.look()

    assert (share.outcome(request), share.done) == ("expired", [])


def test_what_an_owner_finds_after_a_pause_has_lain_there(share: Share) -> None:
    """A laptop that was shut, or a share that was away: whoever asked meanwhile may have given up hours ago."""
    request = share.asks()

    share.look(after_s=SILENT_S)
    assert (share.outcome(request), share.done) == ("expired", [])

    share.asks("next")
    share.look()
    assert share.done == ["next"]


def test_an_expired_request_put_back_from_a_backup_is_not_done(share: Share) -> None:
    request = share.asks()
    share.look(after_s=SILENT_S)
    share.files.put(request)

    share.look()

    assert (share.outcome(request), share.done) == ("expired", [])
    assert share.files.listed() == {}


def test_two_that_contradict_are_done_in_the_order_of_their_names(share: Share) -> None:
    one, other = sorted((share.asks("on"), share.asks("off")), key=lambda request: request.request_id)

    share.look()

    assert share.done == [one.flow, other.flow]
    assert [share.outcome(request) for request in (one, other)] == ["done", "done"]


def test_a_set_that_a_request_names_is_not_removed(tmp_path: Path) -> None:
    """Also when nothing has pointed to it for long: its asker found it there."""
    home = Workspace.create(tmp_path / "ws").home
    now_s = [0.0]
    sets = DeployedSets(home, lambda: now_s[0])
    files = home.deployment_files()
    asked, other = files.put({"a.py": b"1"}), files.put({"b.py": b"2"})
    arguments = json.dumps({"set_id": asked})
    request = RemoteRequest(
        uuid.uuid4().hex, "deploy", "a", arguments, "eve", "eves", "EVE-PC", "2026-01-01T00:00:00+00:00"
    )
    RequestFiles(OsFolder(home.layout.workspace_state_dir), lambda: "x").put(request)
    sets.collect(lambda: True)
    now_s[0] = 4000.0

    sets.collect(lambda: True)

    assert files.whole([asked], lambda path: True).keys() == {asked}
    assert not files.whole([other], lambda path: True)


def test_what_was_given_up_is_not_remembered_for_ever(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(requests, "_LOOK_EVERY_S", 0.0)
    home = Workspace.create(tmp_path / "ws").home

    async def send_many() -> RequestSender:
        tasks: list[Any] = []
        loop = asyncio.get_running_loop()
        sender = RequestSender(
            home, lambda: None, lambda: None, lambda work: tasks.append(loop.create_task(work)), lambda: None
        )
        for _ in range(50):
            await sender.send("run", "hand", {})
            while tasks:
                await tasks.pop()
        return sender

    sender = asyncio.run(send_many())

    assert not sender.is_waiting
    assert len(sender.sent) < 30


def test_a_request_that_no_owner_would_read_is_refused(tmp_path: Path) -> None:
    home = Workspace.create(tmp_path / "ws").home
    sender = RequestSender(home, lambda: None, lambda: None, lambda work: None, lambda: None)

    with pytest.raises(FlowValidationError, match="characters"):
        asyncio.run(sender.send("deploy", "hand", {"note": "x" * 100_000}))
