"""The requests of other workstations to the owner: files on the share, and the decision about each.

    requests/<request id>.json    who asks for what, with a beat that the asker renews while it waits

Nothing in a request is executed or used as a path. It is carried out at most once: the owner publishes that it has taken it
before it begins, and what came of it afterwards; a later owner that finds it taken and not answered begins nothing.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict, fields, replace
from typing import Any, Literal, TypeAlias

from data_engine.lease.folder import FileSystem, names_in, put, unlink
from data_engine.lease.protocol import Damaged
from data_engine.lease.records import checked_number, checked_text, decode, encode
from data_engine.nofollow import NotFollowedError
from data_engine.record import frozen

ROOT = "requests"
RENEW_S = 30.0
SILENT_S = 180.0
"""By the owner's clock: an asker whose beat has not moved for so long is gone."""

LONGEST_S = 600.0
"""A request that waits for longer, by the owner's clock, is not carried out any more."""

LARGEST_REQUEST_BYTES = 64_000
LONGEST_ARGUMENTS = 30_000
"""The length as JSON, whose quotes and slashes take two letters in the file."""

MOST_REQUESTS = 1_000
"""The most requests at once; of more only the first are read."""

_VERB = re.compile(r"[a-z][a-z-]{0,40}")
_ID = re.compile(r"[0-9a-f]{32}")
_NAME = re.compile(r"([0-9a-f]{32})\.json")
_TEMP = re.compile(r"[0-9a-f]{32}\.json\.[0-9a-z]+\.tmp")


@frozen
class RemoteRequest:
    """A request of somebody on another machine. `arguments` is a JSON object; `at_utc` is display only.

    `file_owner` is who owns the file on the share, as far as the system says; `by` is what the request claims.
    """

    request_id: str
    verb: str
    flow: str
    arguments: str
    by: str
    machine_id: str
    host_name: str
    at_utc: str
    beat: int = 0
    file_owner: str = ""

    @property
    def values(self) -> dict[str, Any]:
        """The arguments."""
        values = json.loads(self.arguments)
        assert isinstance(values, dict)
        return values

    @property
    def set_id(self) -> str:
        """The set that a request to deploy names; "" of any other."""
        return str(self.values.get("set_id", "")) if self.verb == "deploy" else ""


@frozen
class Seen:
    """The sighting of a request: since when, its beat, and when that moved last, on this owner's clock."""

    since_s: float
    beat: int
    moved_s: float


@frozen
class PublishOutcome:
    """Publish this outcome, carry nothing out, and remove the file."""

    outcome: Literal["expired", "interrupted"]
    why: str


Move: TypeAlias = PublishOutcome | Literal["take", "remove", "leave"]
"""Carry a request out, after it was published as taken; remove the file of an answered one; or leave one that is being carried out."""


def judge(seen: Seen, *, state: str | None, is_running: bool, lay_there: bool, now_s: float) -> Move:
    """The move for a request whose file lies there. `state` is what was published of it: "taken", "answered" or nothing;
    `lay_there` says that it did so before this owner looked.

    Example:
        >>> new = Seen(since_s=0.0, beat=1, moved_s=0.0)
        >>> judge(new, state=None, is_running=False, lay_there=False, now_s=0.0)
        'take'
        >>> judge(new, state=None, is_running=False, lay_there=True, now_s=0.0).outcome
        'expired'
        >>> judge(new, state="taken", is_running=False, lay_there=False, now_s=0.0).outcome
        'interrupted'
        >>> judge(new, state="answered", is_running=False, lay_there=False, now_s=0.0)
        'remove'
    """
    if state == "answered":
        return "remove"
    if is_running:
        return "leave"
    if state == "taken":
        return PublishOutcome("interrupted", INTERRUPTED)
    if lay_there:
        return PublishOutcome("expired", "it was sent before this owner began to look")
    if now_s - seen.moved_s >= SILENT_S:
        return PublishOutcome("expired", "nobody was waiting for it any more")
    if now_s - seen.since_s >= LONGEST_S:
        return PublishOutcome("expired", "it was not carried out within 10 minutes")
    return "take"


INTERRUPTED = "the owner ended while it carried the request out: check what was done, and ask again for the rest"


def look_again(seen: Mapping[str, Seen], listed: Mapping[str, RemoteRequest], now_s: float) -> dict[str, Seen]:
    """The sightings of the requests that lie there now; those that are gone are forgotten."""
    sightings: dict[str, Seen] = {}
    for request_id, request in listed.items():
        before = seen.get(request_id, Seen(now_s, request.beat, now_s))
        has_moved = before.beat != request.beat
        sightings[request_id] = replace(before, beat=request.beat, moved_s=now_s) if has_moved else before
    return sightings


class RequestFiles:
    """The requests of one workspace on the share; `new_id` names what is being written.

    Every method raises `OSError` where the share is away, full or read-only.

    Example:
        >>> import tempfile
        >>> from pathlib import Path
        >>> from data_engine.lease.folder import OsFolder
        >>> files = RequestFiles(OsFolder(Path(tempfile.mkdtemp())), iter("abcdef").__next__)
        >>> files.put(RemoteRequest("0" * 32, "run", "claims", "{}", "anna", "m1", "ANNA-PC", "2026-01-01T00:00:00+00:00"))
        >>> [request.flow for request in files.listed().values()], files.remove("0" * 32), files.listed()
        (['claims'], None, {})
    """

    def __init__(self, folder: FileSystem, new_id: Callable[[], str]) -> None:
        self.folder = folder
        self._new_id = new_id

    def put(self, request: RemoteRequest) -> None:
        """Leave the request, or renew it: with one beat more than before."""
        record = asdict(request)
        del record["file_owner"]
        put(self.folder, _path(request.request_id), encode(record), self._new_id())

    def listed(self) -> dict[str, RemoteRequest]:
        """The requests that lie there and can be read; a damaged one is none."""
        requests: dict[str, RemoteRequest] = {}
        names = (name for name in names_in(self.folder, ROOT) if _NAME.fullmatch(name))
        for name in sorted(names)[:MOST_REQUESTS]:
            with suppress(FileNotFoundError, NotFollowedError, IsADirectoryError, Damaged):
                request = request_of(self.folder.read(f"{ROOT}/{name}", LARGEST_REQUEST_BYTES))
                if f"{request.request_id}.json" == name:
                    requests[request.request_id] = request
        return requests

    def remove(self, request_id: str) -> None:
        """Take a request away; nothing where it is gone."""
        unlink(self.folder, _path(request_id))


def request_of(data: bytes) -> RemoteRequest:
    """The request stored as `data`.

    Raises:
        Damaged: it is none.
    """
    record = decode(data, LARGEST_REQUEST_BYTES)
    try:
        values: dict[str, Any] = {}
        for field in fields(RemoteRequest):
            if field.name in ("beat", "arguments", "file_owner"):
                continue
            values[field.name] = checked_text(field.name, record[field.name])
        values["beat"] = checked_number("beat", record["beat"])
        arguments = record["arguments"]
        if not isinstance(arguments, str) or not isinstance(json.loads(arguments), dict):
            raise TypeError("its arguments are no object")
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        raise Damaged(f"no request: {type(error).__name__}: {error}") from None
    request = RemoteRequest(**values, arguments=arguments)
    if not _ID.fullmatch(request.request_id) or not _VERB.fullmatch(request.verb):
        raise Damaged("no request: it has no id, or no verb")
    return request


def _path(request_id: str) -> str:
    if not _ID.fullmatch(request_id):
        raise ValueError(f"no id of a request: {request_id!r}")
    return f"{ROOT}/{request_id}.json"
