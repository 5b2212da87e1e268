"""The words of the ownership protocol and its decisions: frozen values in, frozen values out; nothing is read or written.

The rule of silence, and what a look at the share means, come last; records.py says how all of it lies on the share. No time written
by another machine is ever compared: silence is measured on the clock of the one who listens.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import asdict, field, fields, replace
from typing import Any, Literal

from data_engine.errors import FlowValidationError
from data_engine.record import frozen
from data_engine.workspace.settings import LEAST_HEARTBEATS

FORMAT = 4
"""2: repairs stand in the list, and a list may go on at a higher number. 3: deployments and requests travel: who does not know
them would run what nobody deployed. 4: the troubles that people were told of travel: who does not know them would tell them
again. Who knows only an earlier format observes and never owns."""


MOST_SEGMENTS = 20_000
"""The most segments of an entry, in all its tables."""

Kind = Literal["genesis", "claim", "commit", "renew", "release", "repair"]

NEVER = float("-inf")
KINDS = ("genesis", "claim", "commit", "renew", "release", "repair")
_UNOWNED = ("genesis", "release", "repair")
KEPT_REPAIRS = 16
SEGMENT_NAME = re.compile(r"([0-9]{10})-[0-9A-Za-z_-]{1,64}\.parquet")


class LeaseOutcome(Exception):
    """An answer of the protocol besides success; input and output errors stay `OSError`."""


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


@frozen
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
        are_numbers = all(isinstance(value, (int, float)) for value in (self.heartbeat_s, self.stale_after_s))
        if not are_numbers or not 0 < self.heartbeat_s <= self.stale_after_s / LEAST_HEARTBEATS * (1 + 1e-9) < math.inf:
            raise FlowValidationError(
                f"heartbeat {self.heartbeat_s!r} s and stale_after {self.stale_after_s!r} s cannot be combined",
                where="[lease]",
                fix=f"give a positive heartbeat and a stale_after of at least {LEAST_HEARTBEATS} heartbeats",
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


@frozen
class Identity:
    """The identity of one daemon on one machine.

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
        """The machine's name for people."""
        return self.host_name or self.machine_id


@frozen
class Segment:
    """One immutable file of a table: `state/<table>/<name>`; the name begins with the generation it was written for."""

    name: str
    size_bytes: int
    digest: str


@frozen
class Fold:
    """Replace these neighbouring segments of one table by one new segment, or by none (`content` None: retention).

    Example:
        >>> Fold(("0000000003-a.parquet", "0000000004-b.parquet"), b"PAR1...").content is None
        False
    """

    names: tuple[str, ...]
    content: bytes | None


@frozen
class Repair:
    """A repair of a damaged list: generation `number` goes on from `base` (-1: from none), so that what was published
    between the two, and some segments of `tables`, are lost on the share. Whoever still holds such rows publishes them again.
    """

    number: int
    nonce: str
    base: int
    tables: tuple[str, ...]
    by: str = ""
    at_utc: str = ""


@frozen
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
        """The record as it is stored."""
        by = asdict(self.by)
        limits = {} if self.limits is None else asdict(self.limits)
        files = {table: [[s.name, s.size_bytes, s.digest] for s in rows] for table, rows in self.files.items()}
        own = {f.name: getattr(self, f.name) for f in fields(self) if f.name not in NESTED}
        repairs = [asdict(repair) for repair in self.repairs]
        return {"format": FORMAT, **by, **own, **limits, "files": files, "repairs": repairs}


NESTED = ("by", "limits", "files", "repairs")


@frozen
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
        """The owner's name for people."""
        return self.host_name or self.machine_id


@frozen
class HandoverRequest:
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
        """The requester's name for people."""
        return self.requester_host_name or self.requester_machine_id


@frozen
class Damage:
    """A part of the published state that cannot be read as it was written, as this machine has noticed it.

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


def folded(table: str, segments: tuple[Segment, ...], fold: Fold, new: Segment | None) -> tuple[Segment, ...]:
    """The table's segments with those of `fold` replaced by `new`, at their place, all others kept.

    None of them there: it was done by an earlier commit whose answer was lost, and the segments stay as they are.

    Raises:
        ValueError: some are there and some not, or they are no neighbours; readers go by the order.
    """
    places = [at for at, segment in enumerate(segments) if segment.name in fold.names]
    if not places:
        return segments
    if len(places) != len(set(fold.names)):
        raise ValueError(f"{table}: {len(set(fold.names)) - len(places)} of the segments to fold are not there")
    if fold.content is not None and places[-1] - places[0] + 1 != len(places):
        raise ValueError(f"{table}: the segments to fold are no neighbours")
    put = () if new is None else (new,)
    rest = tuple(segment for segment in segments[places[0] :] if segment.name not in fold.names)
    return segments[: places[0]] + put + rest


def segment_number(name: str) -> int | None:
    """The generation a segment was written for; None when the name is not one of ours.

    Example:
        >>> segment_number("0000000012-9f3c.parquet"), segment_number(".DS_Store")
        (12, None)
    """
    match = SEGMENT_NAME.fullmatch(name)
    return int(match[1]) if match else None


State = Literal["available", "reserved", "owned", "mine", "stale", "unreachable", "damaged"]


@frozen
class Observed:
    """The observations of one observer so far, in seconds of its own clock. `mark` only ever moves forward.

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


@frozen
class View:
    """The result of one look and its meaning here; `limits` are those of the owner, else of this machine.

    `available`, `stale` and `mine` may be claimed (`mine`: a claim of this daemon whose answer was lost). `reserved` is
    handed over to somebody who has not taken it yet. When it is `unreachable`, `away` is the drive's error. When it is
    `damaged`, `damage` tells of it; `top` is there where only the heartbeat is, and `silent_s` is for how long this machine
    has known of the damage and heard nothing of an owner.
    """

    state: State
    limits: Limits
    top: Generation | None = None
    lease: LeaseRecord | None = None
    request: HandoverRequest | None = None
    silent_s: float = 0.0
    heartbeat_age_s: float | None = None
    owned_for_s: float = 0.0
    away: str = ""
    damage: Damage | None = None

    @property
    def why(self) -> str:
        """The reason when it is `unreachable` or `damaged`."""
        return self.away if self.damage is None else self.damage.what

    @property
    def is_claimable(self) -> bool:
        """Whether `Observer.claim` may try."""
        return self.state in ("available", "stale", "mine")


def observe(
    seen: Observed,
    top: Generation,
    lease: LeaseRecord | None,
    request: HandoverRequest | None,
    *,
    before_s: float,
    after_s: float,
    limits: Limits,
) -> Observed:
    """The observations after a look that began at `before_s` and ended at `after_s`.

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
    request: HandoverRequest | None,
    *,
    before_s: float,
    limits: Limits,
    me: Identity,
    is_dead_here: bool,
) -> View:
    """The meaning of a look to `me`; `is_dead_here`: the owner was a daemon of this machine that is known to be gone."""
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
