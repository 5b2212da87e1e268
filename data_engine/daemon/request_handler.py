"""What a request of another workstation asks for is done here: its arguments checked, by the same ways as for who asks here."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection
from dataclasses import replace
from typing import Any, Protocol, cast

from data_engine.daemon.deploying import Asked, Outcome
from data_engine.daemon.request_inbox import run_id_of
from data_engine.errors import FlowValidationError
from data_engine.lease.requests import Request
from data_engine.ledger.checks import is_inside
from data_engine.ledger.ledger import Ledger
from data_engine.ledger.switch import Switch
from data_engine.model import Backfill, Deployment
from data_engine.notebook.catalog import check_flow_name
from data_engine.scheduler.backfill import Reprocess, Wanted

_SET_ID = re.compile(r"[0-9a-f]{24}")
_LONGEST_NOTE = 2_000


class Verbs(Protocol):
    """What a request can ask a daemon to do; each raises `FlowValidationError` where it refuses."""

    ledger: Ledger

    async def until_ready(self) -> None:
        """Return once the daemon knows its flows."""

    async def deploy_set(self, set_id: str, asked: Asked) -> Outcome:
        """Deploy exactly this set."""

    async def deploy(self, asked: Asked) -> Outcome:
        """Withdraw a flow."""

    async def roll_back(self, name: str, to: str | None, asked: Asked) -> Deployment:
        """Let the flow run what it ran before."""

    async def run(
        self, name: str, source: str | None, params: dict[str, Any], run_id: Callable[[int], str], by: str | None
    ) -> list[str]:
        """Run the flow, with these ids, for this person."""

    async def until_ended(self, run_ids: Collection[str]) -> None:
        """Return when these runs have ended."""

    async def retry(self, flow: str | None, source: str | None) -> int:
        """Hold failed sources no longer."""

    async def switch(self, name: str, switch: Switch) -> None:
        """Let the flow run by itself, or not."""

    async def backfill(
        self,
        name: str,
        wanted: Wanted,
        params: dict[str, Any],
        *,
        digest: str | None,
        backfill_id: str | None,
        by: str | None,
    ) -> Backfill:
        """Run the flow again for what is wanted."""

    async def stop_backfill(self, backfill_id: str) -> Backfill:
        """Begin no more runs of a backfill."""

    async def retry_backfill(self, backfill_id: str) -> Backfill:
        """Run again what failed of a backfill."""


async def handle(commands: Verbs, request: Request) -> tuple[str, dict[str, Any]]:
    """What the request asks for is done: its outcome, "done", "refused" or "failed", and an answer as JSON.

    Raises:
        FlowValidationError: it is refused; says why.
    """
    await commands.until_ready()
    given, flow = request.given, request.flow
    if flow or request.verb not in ("deploy", "retry"):
        check_flow_name(flow)
    note = _text(given, "note")[:_LONGEST_NOTE]
    is_confirmed, is_approved = (given.get(word) is True for word in ("force", "approve"))
    asked = Asked(flow or None, note, is_confirmed, request.by, request.host_name, request.file_owner, is_approved)
    match request.verb:
        case "deploy" if given.get("withdraw") is True:
            return "done", (await commands.deploy(replace(asked, is_withdrawal=True))).as_dict()
        case "deploy":
            set_id = _text(given, "set_id")
            if not _SET_ID.fullmatch(set_id):
                raise FlowValidationError("the request names no set", where="deploy", fix="deploy again")
            outcome = await commands.deploy_set(set_id, replace(asked, replaces=_text(given, "replaces") or None))
            refused = [entry.error for entry in outcome.entries if entry.error is not None]
            if flow and refused:
                raise refused[0]
            return "done", outcome.as_dict()
        case "rollback":
            return "done", (await commands.roll_back(flow, _text(given, "to") or None, asked)).as_dict()
        case "run":
            return await _run(commands, request)
        case "retry":
            return "done", {"freed": await commands.retry(flow or None, _source(given))}
        case "enable" | "disable":
            is_enabled = request.verb == "enable"
            await commands.switch(flow, Switch.now(is_enabled, request.by, request.host_name, note=note))
            return "done", {}
        case "backfill":
            return "done", {"backfill": (await _backfill(commands, request)).as_dict()}
    raise FlowValidationError(f"there is no request {request.verb!r}", where="request", fix="update data-engine here")


async def _backfill(commands: Verbs, request: Request) -> Backfill:
    """Begin one, whose id is that of the request; or stop one, or try again what failed of it."""
    given = request.given
    match _text(given, "do"):
        case "stop":
            return await commands.stop_backfill(_text(given, "id"))
        case "retry":
            return await commands.retry_backfill(_text(given, "id"))
    begun = await commands.backfill(
        request.flow,
        Wanted(
            _text(given, "since") or None,
            _text(given, "until") or None,
            _text(given, "where") or None,
            _reprocess(given),
        ),
        _params(given),
        digest=_text(given, "digest") or None,
        backfill_id=request.request_id,
        by=f"{request.by}@{request.host_name}",
    )
    return replace(begun, planned=())


def _reprocess(given: dict[str, Any]) -> Reprocess:
    word: Any = _text(given, "reprocess") or "failed"
    return cast(Reprocess, word)  # `Wanted` refuses any other


def _params(given: dict[str, Any]) -> dict[str, Any]:
    params = given.get("params", {})
    if not isinstance(params, dict):
        raise FlowValidationError("params are not an object", where="request", fix="give values by name")
    return params


async def _run(commands: Verbs, request: Request) -> tuple[str, dict[str, Any]]:
    run_ids = await commands.run(
        request.flow,
        _source(request.given),
        _params(request.given),
        lambda number: run_id_of(request.request_id, number),
        f"{request.by}@{request.host_name}",
    )
    await commands.until_ended(run_ids)
    commands.ledger.flush()
    statuses = [None if (run := commands.ledger.run(one)) is None else run.status for one in run_ids]
    is_good = all(status == "success" for status in statuses)
    return ("done" if is_good else "failed"), {"run_ids": run_ids, "statuses": statuses}


def _source(given: dict[str, Any]) -> str | None:
    """The source file by its path inside the flow's source; nothing outside of it can be named."""
    source = _text(given, "source")
    if source and not is_inside(source):
        raise FlowValidationError(
            "a source of a request is named by its path inside the flow's source folder",
            where="source",
            fix="give that path",
        )
    return source or None


def _text(given: dict[str, Any], name: str) -> str:
    value = given.get(name) or ""
    if not isinstance(value, str):
        raise FlowValidationError(f"{name} is not a text", where="request", fix="ask again")
    return value
