"""One broken rule each. The checker must catch every one of them, or a green run of the product means nothing.

Each mutant replaces functions of the product while its context is open.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from typing import Any
from unittest.mock import patch

from data_engine.lease import generations as generations_module
from data_engine.lease import held_lease as held_lease_module
from data_engine.lease import observer as observer_module
from data_engine.lease import protocol
from data_engine.lease import repair as repair_module
from data_engine.lease.folder import FileSystem, remove, unlink
from data_engine.lease.generations import KEEP, GenerationList, path_of
from data_engine.lease.held_lease import HeldLease
from data_engine.lease.observer import Observer
from data_engine.lease.protocol import (
    Fenced,
    Fold,
    Generation,
    HandoverRequest,
    InDoubt,
    Limits,
    Lost,
    Segment,
    View,
    view_of,
)
from data_engine.lease.records import digest, encode
from data_engine.ledger.segments import TABLES

Broken = tuple[Any, str, Any]
MUTANTS: dict[str, tuple[str, tuple[Broken, ...]]] = {}


@contextmanager
def broken(name: str) -> Iterator[None]:
    """The product with this rule broken."""
    with ExitStack() as stack:
        for target, attribute, replacement in MUTANTS[name][1]:
            stack.enter_context(patch.object(target, attribute, replacement, create=attribute == "max"))
        yield


def mutant(what: str, *places: tuple[Any, str]) -> Callable[[Any], Any]:
    """The decorated function stands in for each of `places`; `what` says which rule that breaks."""

    def register(function: Any) -> Any:
        MUTANTS[function.__name__] = (what, tuple((target, attribute, function) for target, attribute in places))
        return function

    return register


_top, _collect = GenerationList.top, GenerationList.collect
_newest_readable, _publish = GenerationList.newest_readable, GenerationList.publish
_poll, _claim, _repair, _heartbeat = Observer.poll, Observer.claim, Observer.repair, HeldLease.heartbeat
_check_whole = GenerationList.check_whole
_next_generation, _folded, _view_of = protocol.next_generation, protocol.folded, view_of


def _prepare(folder: FileSystem, stage: str, generation: Generation) -> None:
    folder.mkdir(stage)
    folder.write(f"{stage}/entry.json", encode(generation.record()))


def _nonce_at(self: GenerationList, number: int) -> str | None:
    found = self.look(number)
    return found.nonce if isinstance(found, Generation) else None


@mutant("an error of the rename is believed: lost answers are not looked up", (GenerationList, "publish"))
def rename_error_believed(
    self: GenerationList, generation: Generation, after: Generation | None, **others: Any
) -> None:
    stage = f"{path_of(generation.number - 1)}/stage-{generation.nonce}"
    try:
        _prepare(self.folder, stage, generation)
        self.folder.rename_dir(stage, path_of(generation.number))
    except FileNotFoundError:
        raise Lost("collected") from None
    except FileExistsError:
        raise Lost("taken") from None
    except OSError:
        pass  # "it will have worked"
    self._saw(generation)


@mutant("the stage lies outside its predecessor: collected numbers can be won again", (GenerationList, "publish"))
def stage_elsewhere(self: GenerationList, generation: Generation, after: Generation | None, **others: Any) -> None:
    stage = f"state/stage-{generation.nonce}"
    _prepare(self.folder, stage, generation)
    for _ in range(3):
        with suppress(OSError):
            self.folder.rename_dir(stage, path_of(generation.number))
        try:
            if _nonce_at(self, generation.number) != generation.nonce:
                raise Lost("taken")
        except OSError:
            continue
        self._saw(generation)
        return
    raise InDoubt(generation.kind)


@mutant("the number is an empty folder and the record is written into it", (GenerationList, "publish"))
def made_then_written(self: GenerationList, generation: Generation, after: Generation | None, **others: Any) -> None:
    try:
        self.folder.mkdir(path_of(generation.number))
    except FileExistsError:
        raise Lost("taken") from None
    self.folder.write(f"{path_of(generation.number)}/entry.json", encode(generation.record()))
    self._saw(generation)


@mutant("collection does not go oldest first", (GenerationList, "collect"))
def collects_newest_first(self: GenerationList, head: Generation) -> None:
    for number in reversed(self.numbers() or []):
        if number <= head.number - KEEP:
            remove(self.folder, path_of(number))


@mutant("collection removes whatever the newest generation does not list", (GenerationList, "collect"))
def collects_unlisted(self: GenerationList, head: Generation) -> None:
    for table in TABLES:
        for name in self.folder.listdir(f"state/{table}"):
            if name not in head.names:
                unlink(self.folder, f"state/{table}/{name}")
    _collect(self, head)


@mutant("collection goes by what the folder still shows, not by the own head", (GenerationList, "collect"))
def collects_by_listing(self: GenerationList, head: Generation) -> None:
    numbers = self.numbers() or []
    found = [self.look(n) for n in numbers if head.number - KEEP < n <= head.number]
    live = {name for generation in found if isinstance(generation, Generation) for name in generation.names}
    for table in TABLES:
        for name in self.folder.listdir(f"state/{table}"):
            if name not in live and int(name[:10]) <= head.number:
                unlink(self.folder, f"state/{table}/{name}")
    for number in numbers:
        if number > head.number - KEEP:
            break
        remove(self.folder, path_of(number))


@mutant("segments are named by their number only, so that two writers collide", (GenerationList, "upload"))
def shared_names(self: GenerationList, table: str, number: int, nonce: str, content: bytes) -> Segment:
    name = f"{number:010d}-data.parquet"
    temp = f"state/{table}/{number:010d}-{nonce}.tmp"
    self.folder.write(temp, content)
    self.folder.replace(temp, f"state/{table}/{name}")
    return Segment(name, len(content), digest(content))


@mutant("work goes on until the release is confirmed", (HeldLease, "release"))
def works_until_released(self: HeldLease, handoff_to: HandoverRequest | None = None) -> None:
    target = "" if handoff_to is None else handoff_to.requester_machine_id
    self._append("release", lambda head: {"handoff_to": target})
    self.is_over = True
    self._participant.heartbeat_files.remove_lease()
    self._participant.heartbeat_files.mark_available()


@mutant("the owner looks at the heartbeat file, not at the list, before it appends", (HeldLease, "_resync"))
def trusts_the_lease(self: HeldLease) -> None:
    lease = self._participant.heartbeat_files.lease()
    if self.is_over or (lease is not None and lease.daemon_id != self._participant.me.daemon_id):
        self.is_over = True
        raise Fenced("the lease says so")
    top = self._participant.generations.top()
    assert top is not None
    self.head = top


@mutant("after a lapse the owner just writes its heartbeat again", (HeldLease, "heartbeat"))
def resumes_by_heartbeat(self: HeldLease, status: str = "idle") -> None:
    start_s = self._participant.clock()
    self._resync()
    self.announce(status)
    self._proved_s = max(self._proved_s, start_s)


@mutant("a heartbeat that ended long after it began still counts", (HeldLease, "heartbeat"))
def slow_heartbeat_counts(self: HeldLease, status: str = "idle") -> None:
    if self._participant.clock() - self._proved_s >= self.limits.renew_after_s:
        self._append("renew", lambda head: {})
    start_s = self._participant.clock()
    self._resync()
    self.announce(status)
    self._proved_s = max(self._proved_s, start_s)


@mutant("a proof counts from its end, and the deadline is as long as the threshold", (HeldLease, "heartbeat"))
def proof_at_end(self: HeldLease, status: str = "idle") -> None:
    _heartbeat(self, status)
    self._proved_s = self._participant.clock() + self.limits.stale_after_s - self.limits.work_deadline_s


@mutant("a missing heartbeat is a dead owner", (Observer, "poll"))
def missing_is_stale(self: Observer) -> View:
    view = _poll(self)
    return replace(view, state="stale") if view.state == "owned" and view.lease is None else view


@mutant("an observer that slept counts its own sleep as silence", (Observer, "poll"))
def counts_its_own_sleep(self: Observer) -> View:
    self._seen = replace(self._seen, polled_s=self._participant.clock())
    return _poll(self)


@mutant("whatever is newest is claimed, not what was seen", (Observer, "claim"))
def claims_the_newest(self: Observer, view: View) -> HeldLease:
    return _claim(self, replace(view, top=self.generations.top()))


@mutant("observers go by their own limits, not by the owner's", (observer_module, "view_of"))
def own_limits(*args: Any, limits: Limits, **others: Any) -> View:
    return _view_of(*args, limits=Limits(10, 30), **others)


@mutant("what was handed over to somebody is free for all at once", (observer_module, "view_of"))
def handoff_ignored(*args: Any, **others: Any) -> View:
    view = _view_of(*args, **others)
    return replace(view, state="available") if view.state == "reserved" else view


@mutant("a claim begins with the engine off", (observer_module, "next_generation"))
def engine_forgotten(prev: Generation, kind: protocol.Kind, *args: Any, **changes: Any) -> Generation:
    return _next_generation(prev, kind, *args, **(changes | {"engine_on": False} if kind == "claim" else changes))


@mutant("a claim keeps the limits of the owner before", (observer_module, "next_generation"))
def limits_forgotten(prev: Generation, kind: protocol.Kind, *args: Any, **changes: Any) -> Generation:
    limits = prev.limits or changes.get("limits")
    return _next_generation(prev, kind, *args, **(changes | {"limits": limits} if kind == "claim" else changes))


@mutant("a fold replaces the whole table", (held_lease_module, "folded"))
def fold_replaces_all(
    table: str, segments: tuple[Segment, ...], fold: Fold, new: Segment | None
) -> tuple[Segment, ...]:
    kept = _folded(table, segments, fold, new)
    return kept if new is None else (new,)


@mutant("a folded segment goes to the end", (held_lease_module, "folded"))
def fold_at_the_end(table: str, segments: tuple[Segment, ...], fold: Fold, new: Segment | None) -> tuple[Segment, ...]:
    kept = _folded(table, segments, fold, None)
    return kept if new is None or kept == segments else (*kept, new)


@mutant("a repair does not wait until the owner must have stopped", (Observer, "repair"))
def repairs_at_once(self: Observer, view: View) -> Any:
    return _repair(self, replace(view, silent_s=1e9))


@mutant("a repair goes on from the generation before the newest readable one", (GenerationList, "newest_readable"))
def repairs_too_far_back(self: GenerationList, numbers: list[int]) -> tuple[Generation | None, list[int]]:
    newest, missing = _newest_readable(self, numbers)
    older = [n for n in numbers if newest is not None and n < newest.number]
    is_behind = newest is not None and newest.number < numbers[-1]
    return _newest_readable(self, older) if older and is_behind else (newest, missing)


@mutant("a repair takes for lost what a cache does not show", (GenerationList, "give_up"))
def repairs_by_a_cache(self: GenerationList, number: int) -> None:
    pass


@mutant("the newest generation is the one known, however old", (GenerationList, "top"))
def forgets_what_it_knew(self: GenerationList) -> Generation | None:
    self.known, self.nonce = 0, ""
    return _top(self)


@mutant(
    "any other machine's owner is taken for a dead predecessor of this one", (observer_module, "is_of_this_machine")
)
def every_machine_is_this_one(top: Generation, me: protocol.Identity) -> bool:
    return top.by.daemon_id != me.daemon_id


@mutant("a history is claimed without looking whether it is whole", (GenerationList, "check_whole"))
def claims_what_is_not_whole(self: GenerationList, generation: Generation, taken: Any = ()) -> None:
    pass


@mutant("a claim only looks for the segments, and reads none", (GenerationList, "check_whole"))
def claims_without_reading(self: GenerationList, generation: Generation, taken: Any = ()) -> None:
    _check_whole(self, generation, generation.names)


@mutant("a repair is numbered from the list it found", (repair_module, "max"))
def repairs_from_the_list(*numbers: int) -> int:
    return min(numbers)


@mutant("a repair leaves the place free where the list ended", (GenerationList, "publish"))
def repairs_without_a_turn(
    self: GenerationList, generation: Generation, after: Generation | None, *, in_number: int | None = None
) -> None:
    if generation.goes_on_at:
        self.turned_from = generation.number - 1, after  # type: ignore[attr-defined]
    elif generation.kind == "repair" and in_number == getattr(self, "turned_from", (-1, None))[0] + 1:
        number, before = self.turned_from  # type: ignore[attr-defined]
        _publish(self, generation, before, in_number=number)
    else:
        _publish(self, generation, after, in_number=in_number)


@mutant("what lies in the way of a collection is left where it is", (generations_module, "put_aside"))
def leaves_it_in_the_way(folder: FileSystem, path: str, prefix: str) -> dict[str, str]:
    return {path: "left"}


@mutant("the list ends where the next number is not found", (GenerationList, "top"))
def ends_at_a_hole(self: GenerationList) -> Generation | None:
    number = self.known
    try:
        newest = self.look(number)
    except FileNotFoundError:
        return _top(self)
    while True:
        following = newest.next_number if isinstance(newest, Generation) else number + 1
        try:
            newest = self.look(following)
        except FileNotFoundError:
            break
        number = following
    if isinstance(newest, protocol.Damaged):
        raise newest
    self._saw(newest)
    return newest
