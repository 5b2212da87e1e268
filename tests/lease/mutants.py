"""One broken rule each. The checker must catch every one of them, or a green run of the product means nothing.

Each mutant replaces functions of the product while its context is open.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from typing import Any
from unittest.mock import patch

from data_engine.lease import lease as lease_module
from data_engine.lease import protocol
from data_engine.lease.folder import FileSystem
from data_engine.lease.generations import KEEP, Generations, path_of, remove, unlink
from data_engine.lease.lease import HeldLease, Observer
from data_engine.lease.protocol import (
    TABLES,
    Entry,
    Fenced,
    Fold,
    InDoubt,
    Limits,
    Lost,
    Request,
    Segment,
    View,
    digest,
    encode,
)

Broken = tuple[Any, str, Any]
MUTANTS: dict[str, tuple[str, tuple[Broken, ...]]] = {}


@contextmanager
def broken(name: str) -> Iterator[None]:
    """The product with this rule broken."""
    with ExitStack() as stack:
        for target, attribute, replacement in MUTANTS[name][1]:
            stack.enter_context(patch.object(target, attribute, replacement))
        yield


def mutant(what: str, *places: tuple[Any, str]) -> Callable[[Any], Any]:
    """The decorated function stands in for each of `places`; `what` says which rule that breaks."""

    def register(function: Any) -> Any:
        MUTANTS[function.__name__] = (what, tuple((target, attribute, function) for target, attribute in places))
        return function

    return register


_top, _collect, _snapshot = Generations.top, Generations.collect, Generations.snapshot
_newest_readable = Generations.newest_readable
_poll, _claim, _repair, _heartbeat = Observer.poll, Observer.claim, Observer.repair, HeldLease.heartbeat
_next_entry, _folded, _view_of = protocol.next_entry, protocol.folded, protocol.view_of


def _prepare(folder: FileSystem, stage: str, entry: Entry) -> None:
    folder.mkdir(stage)
    folder.write(f"{stage}/entry.json", encode(entry.record()))


def _nonce_at(self: Generations, number: int) -> str | None:
    found = self.look(number)
    return found.nonce if isinstance(found, Entry) else None


@mutant("an error of the rename is believed: lost answers are not looked up", (Generations, "publish"))
def rename_error_believed(self: Generations, entry: Entry, after: Entry | None, **others: Any) -> None:
    stage = f"{path_of(entry.number - 1)}/stage-{entry.nonce}"
    try:
        _prepare(self.folder, stage, entry)
        self.folder.rename_dir(stage, path_of(entry.number))
    except FileNotFoundError:
        raise Lost("collected") from None
    except FileExistsError:
        raise Lost("taken") from None
    except OSError:
        pass  # "it will have worked"
    self._saw(entry)


@mutant("the stage lies outside its predecessor: collected numbers can be won again", (Generations, "publish"))
def stage_elsewhere(self: Generations, entry: Entry, after: Entry | None, **others: Any) -> None:
    stage = f"state/stage-{entry.nonce}"
    _prepare(self.folder, stage, entry)
    for _ in range(3):
        with suppress(OSError):
            self.folder.rename_dir(stage, path_of(entry.number))
        try:
            if _nonce_at(self, entry.number) != entry.nonce:
                raise Lost("taken")
        except OSError:
            continue
        self._saw(entry)
        return
    raise InDoubt(entry.kind)


@mutant("the number is an empty folder and the record is written into it", (Generations, "publish"))
def made_then_written(self: Generations, entry: Entry, after: Entry | None, **others: Any) -> None:
    try:
        self.folder.mkdir(path_of(entry.number))
    except FileExistsError:
        raise Lost("taken") from None
    self.folder.write(f"{path_of(entry.number)}/entry.json", encode(entry.record()))
    self._saw(entry)


@mutant("collection does not go oldest first", (Generations, "collect"))
def collects_newest_first(self: Generations, head: Entry) -> None:
    for number in reversed(self.numbers() or []):
        if number <= head.number - KEEP:
            remove(self.folder, path_of(number))


@mutant("collection removes whatever the newest generation does not list", (Generations, "collect"))
def collects_unlisted(self: Generations, head: Entry) -> None:
    for table in TABLES:
        for name in self.folder.listdir(f"state/{table}"):
            if name not in head.names:
                unlink(self.folder, f"state/{table}/{name}")
    _collect(self, head)


@mutant("collection goes by what the folder still shows, not by the own head", (Generations, "collect"))
def collects_by_listing(self: Generations, head: Entry) -> None:
    numbers = self.numbers() or []
    found = [self.look(n) for n in numbers if head.number - KEEP < n <= head.number]
    live = {name for entry in found if isinstance(entry, Entry) for name in entry.names}
    for table in TABLES:
        for name in self.folder.listdir(f"state/{table}"):
            if name not in live and int(name[:10]) <= head.number:
                unlink(self.folder, f"state/{table}/{name}")
    for number in numbers:
        if number > head.number - KEEP:
            break
        remove(self.folder, path_of(number))


@mutant("segments are named by their number only, so that two writers collide", (Generations, "upload"))
def shared_names(self: Generations, table: str, number: int, nonce: str, content: bytes) -> Segment:
    name = f"{number:010d}-data.parquet"
    temp = f"state/{table}/{number:010d}-{nonce}.tmp"
    self.folder.write(temp, content)
    self.folder.replace(temp, f"state/{table}/{name}")
    return Segment(name, len(content), digest(content))


@mutant("work goes on until the release is confirmed", (HeldLease, "release"))
def works_until_released(self: HeldLease, handoff_to: Request | None = None) -> None:
    target = "" if handoff_to is None else handoff_to.requester_machine_id
    self._append("release", lambda head: {"handoff_to": target})
    self.is_over = True
    self._seat.notices.remove_lease()
    self._seat.notices.mark_available()


@mutant("the owner looks at the heartbeat file, not at the list, before it appends", (HeldLease, "_resync"))
def trusts_the_lease(self: HeldLease) -> None:
    lease = self._seat.notices.lease()
    if self.is_over or (lease is not None and lease.daemon_id != self._seat.me.daemon_id):
        self.is_over = True
        raise Fenced("the lease says so")
    top = self._seat.generations.top()
    assert top is not None
    self.head = top


@mutant("after a lapse the owner just writes its heartbeat again", (HeldLease, "heartbeat"))
def resumes_by_heartbeat(self: HeldLease, status: str = "idle") -> None:
    start_s = self._seat.clock()
    self._resync()
    self.announce(status)
    self._proved_s = max(self._proved_s, start_s)


@mutant("a heartbeat that ended long after it began still counts", (HeldLease, "heartbeat"))
def slow_heartbeat_counts(self: HeldLease, status: str = "idle") -> None:
    if self._seat.clock() - self._proved_s >= self.limits.renew_after_s:
        self._append("renew", lambda head: {})
    start_s = self._seat.clock()
    self._resync()
    self.announce(status)
    self._proved_s = max(self._proved_s, start_s)


@mutant("a proof counts from its end, and the deadline is as long as the threshold", (HeldLease, "heartbeat"))
def proof_at_end(self: HeldLease, status: str = "idle") -> None:
    _heartbeat(self, status)
    self._proved_s = self._seat.clock() + self.limits.stale_after_s - self.limits.work_deadline_s


@mutant("a missing heartbeat is a dead owner", (Observer, "poll"))
def missing_is_stale(self: Observer) -> View:
    view = _poll(self)
    return replace(view, state="stale") if view.state == "owned" and view.lease is None else view


@mutant("an observer that slept counts its own sleep as silence", (Observer, "poll"))
def counts_its_own_sleep(self: Observer) -> View:
    self._seen = replace(self._seen, polled_s=self._seat.clock())
    return _poll(self)


@mutant("whatever is newest is claimed, not what was seen", (Observer, "claim"))
def claims_the_newest(self: Observer, view: View, taken: Any = ()) -> HeldLease:
    return _claim(self, replace(view, top=self._generations.top()), taken)


@mutant("observers go by their own limits, not by the owner's", (lease_module, "view_of"))
def own_limits(*args: Any, limits: Limits, **others: Any) -> View:
    return _view_of(*args, limits=Limits(10, 30), **others)


@mutant("what was handed over to somebody is free for all at once", (lease_module, "view_of"))
def handoff_ignored(*args: Any, **others: Any) -> View:
    view = _view_of(*args, **others)
    return replace(view, state="available") if view.state == "reserved" else view


@mutant("a claim begins with the engine off", (lease_module, "next_entry"))
def engine_forgotten(prev: Entry, kind: protocol.Kind, *args: Any, **changes: Any) -> Entry:
    return _next_entry(prev, kind, *args, **(changes | {"engine_on": False} if kind == "claim" else changes))


@mutant("a claim keeps the limits of the owner before", (lease_module, "next_entry"))
def limits_forgotten(prev: Entry, kind: protocol.Kind, *args: Any, **changes: Any) -> Entry:
    limits = prev.limits or changes.get("limits")
    return _next_entry(prev, kind, *args, **(changes | {"limits": limits} if kind == "claim" else changes))


@mutant("a fold replaces the whole table", (lease_module, "folded"))
def fold_replaces_all(
    table: str, segments: tuple[Segment, ...], fold: Fold, new: Segment | None
) -> tuple[Segment, ...]:
    kept = _folded(table, segments, fold, new)
    return kept if new is None else (new,)


@mutant("a folded segment goes to the end", (lease_module, "folded"))
def fold_at_the_end(table: str, segments: tuple[Segment, ...], fold: Fold, new: Segment | None) -> tuple[Segment, ...]:
    kept = _folded(table, segments, fold, None)
    return kept if new is None or kept == segments else (*kept, new)


@mutant("a repair does not wait until the owner must have stopped", (Observer, "repair"))
def repairs_at_once(self: Observer, view: View) -> Any:
    return _repair(self, replace(view, silent_s=1e9))


@mutant("a repair goes on from the generation before the newest readable one", (Generations, "newest_readable"))
def repairs_too_far_back(self: Generations, numbers: list[int]) -> tuple[Entry | None, list[int]]:
    newest, missing = _newest_readable(self, numbers)
    older = [n for n in numbers if newest is not None and n < newest.number]
    is_behind = newest is not None and newest.number < numbers[-1]
    return _newest_readable(self, older) if older and is_behind else (newest, missing)


@mutant("a repair takes for lost what a cache does not show", (Generations, "give_up"))
def repairs_by_a_cache(self: Generations, number: int) -> None:
    pass


@mutant("a snapshot mixes what it read of two generations", (Generations, "snapshot"))
def mixed_snapshot(self: Generations, seen: Any = ()) -> Any:
    snapshot = _snapshot(self, seen)
    if snapshot is None or seen:
        return snapshot
    later = self.top()
    return replace(snapshot, entry=later or snapshot.entry)


@mutant("the newest generation is the one known, however old", (Generations, "top"))
def forgets_what_it_knew(self: Generations) -> Entry | None:
    self.known, self.nonce = 0, ""
    return _top(self)


@mutant("any other machine's owner is taken for a dead predecessor of this one", (lease_module, "is_of_this_machine"))
def every_machine_is_this_one(top: Entry, me: protocol.Identity) -> bool:
    return top.by.daemon_id != me.daemon_id
