"""The words of the ownership protocol and its decisions: frozen values in, frozen values out; nothing is read or written.

A record on the share is 16 hex digits of a SHA-256, a line feed, and one JSON object. Fields nobody knows are ignored; an
entry with a higher `format` than ours is not understood.

Whoever can write to the share can write a record, with its right checksum. So a record is believed only where each field it
has is of the field's type and within bounds that no Data Engine reaches; else it is damaged.

No time written by another machine is ever compared: silence is measured on the clock of the one who listens.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from functools import cache
from typing import Any, Literal

from data_engine.errors import FlowValidationError
from data_engine.lease.fields import checked_flag, checked_name, checked_number, checked_seconds, checked_text, shown
from data_engine.ledger.segments import LARGEST_SEGMENT_BYTES

FORMAT = 2
"""2: repairs stand in the list, and a list may go on at a higher number. Who knows only 1 observes and never owns."""

LARGEST_ENTRY_BYTES = 4_000_000
"""Of an entry's file; one that lists a thousand segments has 100 kB. Parsed, the worst of this size takes 100 MB for a moment."""

LARGEST_HEARTBEAT_BYTES = 64_000
"""Of a heartbeat's or a request's file, which have 400 bytes."""

MOST_SEGMENTS = 20_000
"""Of an entry, in all its tables."""

TABLES = ("runs", "step_runs", "logs", "file_state", "outputs", "schedule_slots", "flow_switches", "resets")
Kind = Literal["genesis", "claim", "commit", "renew", "release", "repair"]
State = Literal["available", "reserved", "owned", "mine", "stale", "unreachable", "damaged"]

NEVER = float("-inf")
_KINDS = ("genesis", "claim", "commit", "renew", "release", "repair")
_UNOWNED = ("genesis", "release", "repair")
_KEPT_REPAIRS = 16
_SEGMENT_NAME = re.compile(r"([0-9]{10})-[0-9A-Za-z_-]{1,64}\.parquet")
_TABLE_NAME = re.compile(r"[a-z][a-z0-9_]{0,63}")
_DIGEST = re.compile(r"[0-9a-f]{16}")


class LeaseOutcome(Exception):
    """What the protocol may answer besides success; input and output errors stay `OSError`."""


class Fenced(LeaseOutcome):
    """Somebody else owns the workspace now, or this lease has been released. `generation` is the newest generation seen."""

    def __init__(self, what: str, generation: Generation | None = None) -> None:
        super().__init__(what)
        self.generation = generation


class Lost(LeaseOutcome):
    """The number was taken, or the view it was based on is out of date: look again."""


class InDoubt(LeaseOutcome):
    """The share did not say whether the generation was published: call again, or poll after a claim."""


class Damaged(LeaseOutcome):
    """Something published cannot be read as it was written. `file` is where, relative to the state folder, if it is one file;
    with `is_foreign` something that is not Data Engine's lies there.

    Example:
        >>> error = Damaged("is missing", file="state/runs/0000000012-9f3c.parquet")
        >>> str(error), error.file
        ('state/runs/0000000012-9f3c.parquet is missing', 'state/runs/0000000012-9f3c.parquet')
    """

    def __init__(self, why: str, *, file: str = "", is_foreign: bool = False) -> None:
        super().__init__(f"{file} {why}" if file else why)
        self.file = file
        self.is_foreign = is_foreign


class NewerFormat(Damaged):
    """Written by a newer Data Engine, which this one does not understand."""


class Replaced(Damaged):
    """The list holds another generation at a number than the one this machine has seen there."""


class StaleView(OSError):
    """The share shows less than this machine has already seen."""


class ShorterList(StaleView):
    """The list ends before the highest generation this machine has seen."""


@dataclass(frozen=True, slots=True)
class Limits:
    """How often the owner speaks and how long its silence must last; every other limit scales with these two.

    Of two clocks that run 10 % apart none lets two machines work at once while a finished write is seen within
    `stale_after_s` * 2 / 9.

    Example:
        >>> limits = Limits(30, 90)
        >>> limits.renew_after_s, limits.work_deadline_s, limits.poll_s, limits.max_gap_s
        (45.0, 60.0, 10.0, 30.0)
        >>> limits.handoff_grace_s, limits.request_expiry_s, limits.commit_spacing_s
        (90, 180, 5.0)
    """

    heartbeat_s: float = 30.0
    stale_after_s: float = 90.0

    def __post_init__(self) -> None:
        known = all(isinstance(value, (int, float)) for value in (self.heartbeat_s, self.stale_after_s))
        if not known or not 0 < self.heartbeat_s <= self.stale_after_s / 3 * (1 + 1e-9) < math.inf:
            raise FlowValidationError(
                f"heartbeat {self.heartbeat_s!r} s and stale_after {self.stale_after_s!r} s do not go together",
                where="[lease]",
                mend="give a positive heartbeat and a stale_after of at least 3 heartbeats",
            )

    @property
    def renew_after_s(self) -> float:
        """A heartbeat that begins or ends this long after the last proof proves nothing: a generation must be won."""
        return self.stale_after_s / 2

    @property
    def work_deadline_s(self) -> float:
        """No new work this long after the last proof of ownership."""
        return self.stale_after_s * 2 / 3

    @property
    def poll_s(self) -> float:
        """How often an observer looks."""
        return self.stale_after_s / 9

    @property
    def max_gap_s(self) -> float:
        """After a longer hole between two looks an observer begins to count silence anew."""
        return self.stale_after_s / 3

    @property
    def handoff_grace_s(self) -> float:
        """Others leave a workspace that was handed to somebody alone this long."""
        return self.stale_after_s

    @property
    def request_expiry_s(self) -> float:
        """A request that has not been repeated this long is gone."""
        return self.stale_after_s * 2

    @property
    def request_repeat_s(self) -> float:
        """How often a requester repeats its request."""
        return self.stale_after_s * 2 / 3

    @property
    def commit_spacing_s(self) -> float:
        """At most one commit per this time."""
        return self.heartbeat_s / 6

    @property
    def retry_s(self) -> float:
        """A heartbeat that met an error is tried again after this time."""
        return self.heartbeat_s / 6


@dataclass(frozen=True, slots=True)
class Identity:
    """Who speaks: one daemon of one machine.

    `daemon_id` is new for every process. `lock_id` is the random id kept beside the local lock of this workspace and
    `host_id` the operating system's own; both empty for a process that never claims.
    """

    machine_id: str
    daemon_id: str
    host_name: str = ""
    pid: int = 0
    app_version: str = ""
    lock_id: str = ""
    host_id: str = ""

    @property
    def shown(self) -> str:
        """What people know the machine by."""
        return self.host_name or self.machine_id


@dataclass(frozen=True, slots=True)
class Segment:
    """One immutable file of a table: `state/<table>/<name>`; the name begins with the generation it was written for."""

    name: str
    size_bytes: int
    digest: str


@dataclass(frozen=True, slots=True)
class Fold:
    """Replace these neighbouring segments of one table by one new segment, or by none (`content` None: retention).

    Example:
        >>> Fold(("0000000003-a.parquet", "0000000004-b.parquet"), b"PAR1...").content is None
        False
    """

    names: tuple[str, ...]
    content: bytes | None


@dataclass(frozen=True, slots=True)
class Repair:
    """That a damaged list was repaired: generation `number` goes on from `base` (-1: from none), so that what was published
    between the two, and some segments of `tables`, are lost on the share. Whoever still holds such rows publishes them again.
    """

    number: int
    nonce: str
    base: int
    tables: tuple[str, ...]
    by: str = ""
    at_utc: str = ""


@dataclass(frozen=True, slots=True)
class Generation:
    """One generation: who appended it under which token, and every segment of every table.

    `at_utc` is shown to people and never compared. `limits` are the owner's; None before the first claim. `goes_on_at` is
    where the next generation stands when it is not the next number: after a repair of a list that had lost its end, so that
    no number is used twice. `repairs` are the newest repairs of the list, oldest first; every later generation has them.
    """

    number: int
    kind: Kind
    token: int
    nonce: str
    by: Identity
    engine_on: bool = False
    limits: Limits | None = None
    handoff_to: str = ""
    handoff_name: str = ""
    at_utc: str = ""
    files: Mapping[str, tuple[Segment, ...]] = field(default_factory=dict)
    goes_on_at: int = 0
    repairs: tuple[Repair, ...] = ()

    @property
    def next_number(self) -> int:
        """Where the generation after this one stands."""
        return self.goes_on_at or self.number + 1

    @property
    def is_owned(self) -> bool:
        """Whether somebody owns the workspace by this generation."""
        return self.kind not in _UNOWNED

    @property
    def names(self) -> frozenset[str]:
        """The names of all its segments."""
        return frozenset(segment.name for segments in self.files.values() for segment in segments)

    def record(self) -> dict[str, Any]:
        """What is stored."""
        by = asdict(self.by)
        limits = {} if self.limits is None else asdict(self.limits)
        files = {table: [[s.name, s.size_bytes, s.digest] for s in rows] for table, rows in self.files.items()}
        own = {f.name: getattr(self, f.name) for f in fields(self) if f.name not in _NESTED}
        repairs = [asdict(one) for one in self.repairs]
        return {"format": FORMAT, **by, **own, **limits, "files": files, "repairs": repairs}


_NESTED = ("by", "limits", "files", "repairs")


@dataclass(frozen=True, slots=True)
class LeaseRecord:
    """The owner's heartbeat. Other machines look at `token` and `beat`; `stale_after_s` tells a repair how long to wait."""

    workspace: str
    token: int
    beat: int
    machine_id: str
    host_name: str = ""
    daemon_id: str = ""
    pid: int = 0
    status: str = ""
    app_version: str = ""
    started_at_utc: str = ""
    last_checkpoint_at_utc: str = ""
    snapshot_generation_id: int = 0
    stale_after_s: float = 0.0

    @property
    def shown(self) -> str:
        """What people know the owner by."""
        return self.host_name or self.machine_id


@dataclass(frozen=True, slots=True)
class Request:
    """Somebody asks for the workspace; `beat` counts its repetitions."""

    workspace: str
    request_id: str
    beat: int
    requester_machine_id: str
    requester_host_name: str = ""
    requester_daemon_id: str = ""
    requester_pid: int = 0
    requester_client_kind: str = "ui"
    requested_at_utc: str = ""

    @property
    def shown(self) -> str:
        """What people know the requester by."""
        return self.requester_host_name or self.requester_machine_id


@dataclass(frozen=True, slots=True)
class Observed:
    """What one observer has seen so far, in seconds of its own clock. `mark` only ever moves forward.

    `moved_s`: when the newest sign of the owner was first seen; `silent_since_s`: since when silence counts, which is
    later after a hole in the looking; `polled_s`: the last successful look; `token_s`: when the token was first seen.
    """

    mark: tuple[int, int] = (-1, -1)
    moved_s: float = NEVER
    silent_since_s: float = NEVER
    polled_s: float = NEVER
    token: int = -1
    token_s: float = NEVER
    request_mark: tuple[str, int] = ("", -1)
    request_s: float = NEVER


@dataclass(frozen=True, slots=True)
class Damage:
    """What of the published state cannot be read as it was written, as this machine has noticed it.

    `file` is where, relative to the state folder, if it is one file; `since_utc` is shown to people. `kind` says what helps:
    a repair, an update of Data Engine ("newer"), or that somebody takes away what lies there ("foreign"). A "heartbeat" is
    written anew by its owner.
    """

    what: str
    file: str = ""
    since_utc: str = ""
    kind: Literal["history", "newer", "foreign", "heartbeat"] = "history"

    @classmethod
    def of(cls, error: Exception, since_utc: str) -> Damage:
        """The damage that an error tells of."""
        if isinstance(error, NewerFormat):
            return cls(f"update needed: {error}", error.file, since_utc, "newer")
        if isinstance(error, Damaged):
            return cls(str(error), error.file, since_utc, "foreign" if error.is_foreign else "history")
        return cls(str(error), "", since_utc)


@dataclass(frozen=True, slots=True)
class View:
    """What one look showed and what it means here; `limits` are those of the owner, else one's own.

    `available`, `stale` and `mine` may be claimed (`mine`: a claim of this daemon whose answer was lost). `reserved` is
    handed over to somebody who has not taken it yet. `why` says what is wrong when it is `unreachable` or `damaged`; then
    `silent_s` is for how long this machine has known of the damage and heard nothing of an owner. `damage` is what is
    damaged; where only the heartbeat is, `top` is there.
    """

    state: State
    limits: Limits
    top: Generation | None = None
    lease: LeaseRecord | None = None
    request: Request | None = None
    silent_s: float = 0.0
    heartbeat_age_s: float | None = None
    owned_for_s: float = 0.0
    why: str = ""
    damage: Damage | None = None

    @property
    def is_claimable(self) -> bool:
        """Whether `Observer.claim` may try."""
        return self.state in ("available", "stale", "mine")


def encode(record: Mapping[str, Any]) -> bytes:
    """A record as it is stored.

    Example:
        >>> encode({"beat": 1})
        b'5c0b170b22647e5e\\n{"beat":1}'
        >>> decode(encode({"beat": 1}))
        {'beat': 1}
    """
    body = json.dumps(record, sort_keys=True, separators=(",", ":")).encode()
    return f"{digest(body)}\n".encode() + body


def decode(data: bytes, largest: int = LARGEST_ENTRY_BYTES) -> dict[str, Any]:
    """The record stored as `data`.

    Raises:
        Damaged: the checksum does not match, it is no JSON object, or it is larger than `largest`.
    """
    if len(data) > largest:
        raise Damaged(f"{len(data):,} bytes are more than any record has")
    head, _, body = data.partition(b"\n")
    if digest(body).encode() != head:
        raise Damaged("the checksum does not match")
    try:
        record = json.loads(body, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise Damaged(f"no JSON: {str(error)[:200]}") from None
    if not isinstance(record, dict):
        raise Damaged("no JSON object")
    return record


def digest(data: bytes) -> str:
    """16 hex digits of the SHA-256."""
    return hashlib.sha256(data).hexdigest()[:16]


def generation_of(data: bytes, number: int) -> Generation:
    """The entry stored as `data` under `number`.

    Raises:
        NewerFormat: its format is higher than ours.
        Damaged: it is not what a generation writes.
    """
    try:
        record = decode(data)
    except Damaged as error:
        raise Damaged(f"generation {number}: {error}") from None
    written = record.get("format")
    if isinstance(written, int) and written > FORMAT:
        raise NewerFormat(f"generation {number} was written by Data Engine {_version_shown(record)}".rstrip())
    try:
        limits = Limits(**_known(Limits, record)) if "heartbeat_s" in record else None
        known = {name: record[name] for name in record if name not in _NESTED}
        generation = Generation(**_known(Generation, known), by=Identity(**_known(Identity, record)), limits=limits)
        generation = replace(generation, files=_files(record["files"]), repairs=_repairs(record.get("repairs", [])))
    except (TypeError, ValueError, KeyError) as error:
        raise Damaged(f"generation {number} is no entry: {type(error).__name__}: {error}") from None
    is_claim = generation.kind in ("claim", "repair")
    if generation.number != number or generation.token > number or (is_claim and generation.token != number):
        raise Damaged(
            f"generation {number} holds entry {generation.number} of kind {generation.kind!r}, token {generation.token}"
        )
    if generation.goes_on_at and generation.goes_on_at <= number:
        raise Damaged(f"generation {number} goes on at {generation.goes_on_at}")
    return generation


def lease_of(data: bytes) -> LeaseRecord:
    """The heartbeat stored as `data`.

    Raises:
        Damaged: it is none.
    """
    try:
        return LeaseRecord(**_known(LeaseRecord, decode(data, LARGEST_HEARTBEAT_BYTES)))
    except (TypeError, ValueError) as error:
        raise Damaged(f"no heartbeat: {error}") from None


def request_of(data: bytes) -> Request:
    """The request stored as `data`.

    Raises:
        Damaged: it is none.
    """
    try:
        return Request(**_known(Request, decode(data, LARGEST_HEARTBEAT_BYTES)))
    except (TypeError, ValueError) as error:
        raise Damaged(f"no request: {error}") from None


def next_generation(prev: Generation, kind: Kind, by: Identity, nonce: str, at_utc: str, **changes: Any) -> Generation:
    """The generation after `prev`: it inherits all that `changes` does not name; a claim's number is its token.

    Raises:
        Damaged: it would list more files than anybody reads.
    """
    number = prev.next_number
    changes = {"handoff_to": "", "handoff_name": "", "goes_on_at": 0, **changes}
    token = number if kind in ("claim", "repair") else prev.token
    count = sum(len(segments) for segments in changes.get("files", prev.files).values())
    if count > MOST_SEGMENTS:
        raise Damaged(f"generation {number} would list {count:,} files")
    return replace(prev, number=number, kind=kind, token=token, nonce=nonce, by=by, at_utc=at_utc, **changes)


def with_repair(repairs: tuple[Repair, ...], repair: Repair) -> tuple[Repair, ...]:
    """The repairs of a list and one more; the oldest are forgotten."""
    return (*repairs, repair)[-_KEPT_REPAIRS:]


def folded(table: str, segments: tuple[Segment, ...], fold: Fold, new: Segment | None) -> tuple[Segment, ...]:
    """The table's segments with those of `fold` replaced by `new`, at their place, all others kept.

    None of them there: it was done by an earlier commit whose answer was lost, and the segments stay as they are.

    Raises:
        ValueError: some are there and some not, or they are no neighbours; readers go by the order.
    """
    named = [at for at, segment in enumerate(segments) if segment.name in fold.names]
    if not named:
        return segments
    if len(named) != len(set(fold.names)):
        raise ValueError(f"{table}: {len(set(fold.names)) - len(named)} of the segments to fold are not there")
    if fold.content is not None and named[-1] - named[0] + 1 != len(named):
        raise ValueError(f"{table}: the segments to fold are no neighbours")
    put = () if new is None else (new,)
    rest = tuple(segment for segment in segments[named[0] :] if segment.name not in fold.names)
    return segments[: named[0]] + put + rest


def segment_number(name: str) -> int | None:
    """The generation a segment was written for; None when the name is not one of ours.

    Example:
        >>> segment_number("0000000012-9f3c.parquet"), segment_number(".DS_Store")
        (12, None)
    """
    match = _SEGMENT_NAME.fullmatch(name)
    return int(match[1]) if match else None


def observe(
    seen: Observed,
    top: Generation,
    lease: LeaseRecord | None,
    request: Request | None,
    *,
    before_s: float,
    after_s: float,
    limits: Limits,
) -> Observed:
    """What has been seen after a look that began at `before_s` and ended at `after_s`.

    The rule of silence: it begins anew when (generation, beat under the current token) moves forward, and when nobody
    was looking for longer than `max_gap_s`. A missing or damaged heartbeat, or one with another token, is no news.
    """
    mark = (top.number, lease.beat if lease is not None and lease.token == top.token else -1)
    if mark > seen.mark:
        seen = replace(seen, mark=mark, moved_s=after_s, silent_since_s=after_s)
    elif after_s - seen.polled_s > limits.max_gap_s:
        seen = replace(seen, silent_since_s=after_s)
    if top.token != seen.token:
        seen = replace(seen, token=top.token, token_s=before_s)
    request_mark = ("", -1) if request is None else (request.request_id, request.beat)
    if request is not None and request_mark != seen.request_mark:
        seen = replace(seen, request_mark=request_mark, request_s=after_s)
    return replace(seen, polled_s=after_s)


def view_of(
    seen: Observed,
    top: Generation,
    lease: LeaseRecord | None,
    request: Request | None,
    *,
    before_s: float,
    limits: Limits,
    me: Identity,
    is_dead_here: bool,
) -> View:
    """What a look means to `me`; `is_dead_here`: the owner was a daemon of this machine that is known to be gone."""
    silent_s = max(0.0, before_s - seen.silent_since_s)
    is_live = request is not None and before_s - seen.request_s < limits.request_expiry_s
    is_own = is_live and request is not None and request.requester_daemon_id == top.by.daemon_id and top.is_owned
    return View(
        _state(top, silent_s, limits, me, is_dead_here),
        limits,
        top,
        lease,
        request if is_live and not is_own else None,
        silent_s,
        max(0.0, before_s - seen.moved_s) if top.is_owned else None,
        max(0.0, before_s - seen.token_s) if top.is_owned else 0.0,
    )


def is_of_this_machine(top: Generation, me: Identity) -> bool:
    """Whether `top` was appended by a daemon that held the very lock `me` holds, on the same operating system.

    A home folder shared by two hosts, or one machine id in a container image, does not match.
    """
    pairs = (
        (top.by.machine_id, me.machine_id),
        (top.by.lock_id, me.lock_id),
        (top.by.host_id, me.host_id),
    )
    return all(theirs and theirs == ours for theirs, ours in pairs) and top.by.daemon_id != me.daemon_id


def _state(top: Generation, silent_s: float, limits: Limits, me: Identity, is_dead_here: bool) -> State:
    if top.is_owned:
        if top.by.daemon_id == me.daemon_id:
            return "mine"
        return "stale" if is_dead_here or silent_s >= limits.stale_after_s else "owned"
    if top.handoff_to not in ("", me.machine_id) and silent_s < limits.handoff_grace_s:
        return "reserved"
    return "available"


def _known(kind: type, record: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of `kind` that the record has, each checked; those of other kinds than the four are built elsewhere."""
    return {name: check(name, record[name]) for name, check in _checks(kind).items() if name in record}


@cache
def _checks(kind: type) -> dict[str, Callable[[str, Any], Any]]:
    return {one.name: _CHECKS[str(one.type)] for one in fields(kind) if str(one.type) in _CHECKS}


def _kind(name: str, value: Any) -> Kind:
    if value not in _KINDS:
        raise ValueError(f"{name} is {shown(value)}")
    kind: Kind = value
    return kind


_CHECKS: dict[str, Callable[[str, Any], Any]] = {
    "str": checked_text,
    "int": checked_number,
    "float": checked_seconds,
    "bool": checked_flag,
    "Kind": _kind,
}


def _files(tables: Any) -> dict[str, tuple[Segment, ...]]:
    if not isinstance(tables, dict) or not all(isinstance(rows, list) for rows in tables.values()):
        raise ValueError("its files are no lists by table")
    count = sum(len(rows) for rows in tables.values())
    if max(count, len(tables)) > MOST_SEGMENTS:
        raise ValueError(f"it lists {max(count, len(tables)):,} files")
    return {checked_name(_TABLE_NAME, table): tuple(_segment(row) for row in rows) for table, rows in tables.items()}


def _segment(row: Any) -> Segment:
    if not isinstance(row, list):
        raise TypeError(f"a file is {shown(row)}")
    name, size, checksum = row
    if type(size) is not int or not 0 <= size <= LARGEST_SEGMENT_BYTES:
        raise ValueError(f"the size of {shown(name)} is {shown(size)}")
    return Segment(checked_name(_SEGMENT_NAME, name), size, checked_name(_DIGEST, checksum))


def _repairs(rows: Any) -> tuple[Repair, ...]:
    if not isinstance(rows, list) or len(rows) > _KEPT_REPAIRS:
        raise ValueError("its repairs are no short list")
    return tuple(_repair(row) for row in rows)


def _repair(row: Any) -> Repair:
    if not isinstance(row, dict) or not isinstance(row["tables"], list) or len(row["tables"]) > MOST_SEGMENTS:
        raise TypeError(f"a repair is {shown(row)}")
    base = row["base"]
    if base != -1:
        checked_number("base", base)
    tables = tuple(checked_name(_TABLE_NAME, table) for table in row["tables"])
    known = {name: value for name, value in row.items() if name not in ("tables", "base")}
    return Repair(**_known(Repair, known), base=base, tables=tables)


def _version_shown(record: Mapping[str, Any]) -> str:
    try:
        return checked_text("app_version", record.get("app_version"))[:60]
    except ValueError:
        return ""


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is no number")
