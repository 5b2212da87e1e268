"""The walk over a flow's steps that runs only what changed, and the cache it takes results from.

A step's key is made of its code, what it consumes and the run's facts. Behind the key lies an entry: the result, where one can
be kept, and everything the step read. When all of that is as it was, the step's *out key* is known without running it; it
stands for the result in the keys of later steps, kept or not. A step whose reads are not all seen, or that changes
something beside its result, gets a new out key each time, and everything after it runs too.

A step runs in the state it would find if all before it had just run: its inputs are handed out once for each preview, so
what is one object in production is one object here. Where that cannot be had (a step that changes its input, whose value
another step's result holds too), the walk starts over and makes every value in order.
"""

from __future__ import annotations

import os
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from data_engine.engine.candidates import Source
from data_engine.engine.memo.access_log import AccessLog, Namespace
from data_engine.engine.memo.fingerprint import CodeFingerprint, code_fingerprint, digest_of, value_digest, world
from data_engine.engine.memo.interceptors import Interceptors, intercepted
from data_engine.engine.memo.libraries import is_authored
from data_engine.engine.memo.signatures import Kind, Signature, compare, signature_of
from data_engine.engine.memo.value_copy import (
    CannotCopy,
    copy_of,
    holds_arrays,
    is_lazy,
    is_unchanged,
    mutable_ids,
    paths_in,
)
from data_engine.flow.context import FlowContext, WorkspaceConfigContext
from data_engine.flow.control import StepControl
from data_engine.flow.flow import Flow
from data_engine.flow.spec import Collect, Map, StepSpec
from data_engine.flow.steps import note_outputs, outputs_of, run_steps
from data_engine.model import Event

DEFAULT_CACHE_BYTES = 1024**3
"""What a flow that belongs to no workspace may keep."""

_MAX_ENTRIES = 2000
_Reads = dict[tuple[Kind, str], Signature]


@dataclass(frozen=True, slots=True)
class StepReport:
    """What a preview did with one step: `ran` and `why`, or reused since `at_s`; `not_kept` says why its result is not kept.

    `name` is what people call it: what it saves, else its label.
    """

    name: str
    ran: bool
    why: str | None = None
    at_s: float = 0.0
    not_kept: str | None = None


@dataclass(slots=True)
class _CacheEntry:
    out_key: bytes
    reads: _Reads
    frames: dict[tuple[int, str], tuple[Namespace, bytes]]
    files: _Reads
    unseen: str | None
    needs_order: bool
    not_kept: str | None
    is_stateful: bool
    same_as: str | None
    shares: bool
    at_s: float
    classes: frozenset[type] = frozenset()
    value: Any = None
    size_bytes: int = 0


@dataclass(frozen=True, slots=True)
class _Past:
    """What a step was made of when it was last previewed, to say what changed."""

    parts: Mapping[str, bytes]
    consumed: Mapping[str, bytes]


class PreviewCache:
    """Results of previewed steps, the least recently used dropped first; safe for several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._entries: OrderedDict[bytes, _CacheEntry] = OrderedDict()
        self._pasts: OrderedDict[tuple[str, ...], _Past] = OrderedDict()
        self._in_order: set[tuple[str, ...]] = set()
        self._used_bytes = 0

    @property
    def used_bytes(self) -> int:
        """The estimated size of what is kept."""
        return self._used_bytes

    def clear(self) -> None:
        """Forget everything."""
        with self._lock:
            self._entries.clear()
            self._pasts.clear()
            self._used_bytes = 0

    def get(self, key: bytes) -> _CacheEntry | None:
        """The entry of a key, now the most recently used."""
        with self._lock:
            entry = self._entries.get(key)
            if entry is not None:
                self._entries.move_to_end(key)
            return entry

    def put(self, key: bytes, entry: _CacheEntry, limit_bytes: int) -> None:
        """Keep an entry, dropping the least recently used ones beyond `limit_bytes`."""
        with self._lock:
            before = self._entries.pop(key, None)
            self._used_bytes += entry.size_bytes - (before.size_bytes if before is not None else 0)
            self._entries[key] = entry
            while self._entries and (self._used_bytes > limit_bytes or len(self._entries) > _MAX_ENTRIES):
                _, dropped = self._entries.popitem(last=False)
                self._used_bytes -= dropped.size_bytes

    def needs_order(self, place: tuple[str, ...]) -> bool:
        """Whether a step of this flow changed more than its result last time."""
        return place in self._in_order

    def set_order(self, place: tuple[str, ...], *, needed: bool) -> None:
        """Remember whether one did."""
        with self._lock:
            self._in_order.discard(place)
            if needed:
                self._in_order.add(place)

    def past(self, place: tuple[str, ...], now: _Past) -> _Past | None:
        """What the step at `place` was made of last time; from now on it is `now`."""
        with self._lock:
            before = self._pasts.pop(place, None)
            self._pasts[place] = now
            while len(self._pasts) > _MAX_ENTRIES:
                self._pasts.popitem(last=False)
            return before


class PreviewContext(FlowContext):
    """A context that notices which of its tables a step looks at, by whatever way."""

    @property
    def __dict__(self) -> dict[str, Any]:  # type: ignore[override]
        state = _state(self)
        state.setdefault("_looked_at", set()).update(("objects", "metadata"))
        return state

    @property
    def objects(self) -> dict[str, Any]:
        """As `FlowContext.objects`."""
        return self._noticed("objects")

    @objects.setter
    def objects(self, value: dict[str, Any]) -> None:
        _state(self)["objects"] = value

    @property
    def metadata(self) -> dict[str, Any]:
        """As `FlowContext.metadata`."""
        return self._noticed("metadata")

    @metadata.setter
    def metadata(self, value: dict[str, Any]) -> None:
        _state(self)["metadata"] = value

    def _noticed(self, name: str) -> dict[str, Any]:
        state = _state(self)
        state.setdefault("_looked_at", set()).add(name)
        found: dict[str, Any] = state[name]
        return found


def _state(context: FlowContext) -> dict[str, Any]:
    """The context's attributes, without being noticed."""
    found: dict[str, Any] = vars(FlowContext)["__dict__"].__get__(context)
    return found


class _StartOver(BaseException):
    """What was reused so far does not fit what a step did; a BaseException, so that no step swallows it."""


@dataclass
class PreviewRunner:
    """One preview of a flow: `run` gives the value of its last step and tells what became of each."""

    flow: Flow
    context: FlowContext
    control: StepControl
    source: Source
    cache: PreviewCache
    limit_bytes: int = DEFAULT_CACHE_BYTES
    fresh: bool = False
    sink: Callable[[Event], None] = lambda event: None
    reports: dict[int, StepReport] = field(default_factory=dict)
    may_write: Callable[[Path], None] = lambda target: None
    wrote: dict[Path, None] = field(default_factory=dict)

    def run(self, stop: int) -> Any:
        """The value after the first `stop` steps, at least one.

        Raises: as `run_steps`.
        """
        self._as_given = dict(_state(self.context))
        self._metadata = dict(self.context.metadata)
        self.context.__class__ = PreviewContext
        flow_place = self._place(0)[:4]
        self._in_order = self.fresh or self.cache.needs_order(flow_place)
        self._needs_order = False
        self._reasons: dict[int, str] = {}
        with Interceptors() as self._interceptors:
            while True:
                self._begin()
                try:
                    value = self._walk(stop)
                except _StartOver:
                    self.fresh = self._in_order  # the second time nothing is taken from the cache
                    self._in_order = True
                else:
                    self.cache.set_order(flow_place, needed=self._needs_order)
                    return value

    def _begin(self) -> None:
        state = _state(self.context)
        state.clear()
        state.update(self._as_given, metadata={**self._metadata, "step_outputs": {}}, objects={})
        self._writer: str | None = None
        self._made: set[int] = set()
        self._live: dict[int, Any] = {}
        self._codes: list[CodeFingerprint] = []
        self._keys: list[bytes] = []
        self._entries: list[_CacheEntry] = []
        self._inputs: list[int | None] = []
        self._saved: list[dict[str, int]] = []
        self._compared: dict[tuple[Kind, str, Signature], Signature | None] = {}
        self._facts = digest_of(*self._run_facts())
        self._params = value_digest(dict(self.context.params))

    def _walk(self, stop: int) -> Any:
        saved: dict[str, int] = {}
        for index, step in enumerate(self.flow.steps[:stop]):
            by_name = step.use is not None and step.use != "current"
            self._inputs.append(saved.get(step.use or "") if by_name else (index - 1 if index else None))
            self._saved.append(dict(saved))
            self._take(index, step)
            if step.save_as is not None:
                saved[step.save_as] = index
        return self._value(stop - 1)

    # -- deciding ------------------------------------------------------------------------------------------------------

    def _take(self, index: int, step: StepSpec) -> None:
        """Reuse step number `index` or run it."""
        code = code_fingerprint(step)
        parts = {**code.parts, **world()}
        consumed = self._consumed(index, code)
        key = digest_of(self._facts, sorted(parts.items()), sorted(consumed.items()))
        self._codes.append(code)
        self._keys.append(key)
        past = self.cache.past(self._place(index), _Past(parts, consumed))
        entry = self.cache.get(key)
        unseen = code.unseen or self._unseen_state(index, code)
        if self._params is None:
            unseen = unseen or "params whose content nobody can tell"
        why: str | None
        if self.fresh:
            why = "fresh=True"
        elif self._writer is not None:
            why = f"{self._writer} writes to the context"
        elif unseen is not None:
            why = f"reads what cannot be seen: {unseen}"
        elif entry is None:
            why = self._difference(past, parts, consumed)
        elif entry.unseen is not None:
            why = entry.unseen
        else:
            why = self._moved(entry) or self._defined_anew(entry)
        if why is not None:
            why = self._reasons.setdefault(index, why)
            if entry is not None and entry.needs_order and not self._in_order:
                raise _StartOver
            self._run(index, why, unseen)
            return
        assert entry is not None
        self._entries.append(entry)
        earlier = self._reasons.get(index)  # it ran before the walk started over
        self.reports[index] = StepReport(_name(step), earlier is not None, earlier, entry.at_s, entry.not_kept)
        if self._in_order and entry.shares:
            self._run(index, "its result is part of another's", None)
        elif self._in_order:
            self._value(index)

    def _run_facts(self) -> list[object]:
        flow, source = self.flow, self.source
        mirror = None if flow.mirror_spec is None else str(flow.mirror_spec.root)
        extensions = None if flow.trigger is None else flow.trigger.extensions
        place = (str(source.root), str(source.path), source.key, str(self.context.workspace_root))
        return [flow.name, flow.group, mirror, extensions, place, self.context.source is None]

    def _consumed(self, index: int, code: CodeFingerprint) -> dict[str, bytes]:
        before = self._inputs[index]
        found = {} if before is None else {_name(self.flow.steps[before]): self._entries[before].out_key}
        if code.names_objects:
            found |= {f"{name} (saved)": self._entries[at].out_key for name, at in self._saved[index].items()}
        found["params"] = self._params or b""
        return found

    def _unseen_state(self, index: int, code: CodeFingerprint) -> str | None:
        """A saved handle or generator this step can reach, which an earlier step may have used up."""
        if code.odd_metadata:
            return "metadata that differs from run to run"
        for name, at in self._saved[index].items():
            if self._entries[at].is_stateful and (code.names_objects or at == self._inputs[index]):
                return f"the state of {name}"
        return None

    @staticmethod
    def _difference(past: _Past | None, parts: Mapping[str, bytes], consumed: Mapping[str, bytes]) -> str:
        if past is None:
            return "first preview"
        changed = [label for label in {**parts, **past.parts} if parts.get(label) != past.parts.get(label)]
        if changed:
            told = [label for label in changed if label in parts and label in past.parts and label[:4] != "its "]
            own = "its code" if "its code" in changed else changed[0]
            return f"{told[0].partition('#')[0] if told else own} changed"
        moved = [name for name in {**consumed, **past.consumed} if consumed.get(name) != past.consumed.get(name)]
        if moved:
            return "params changed" if moved[0] == "params" else f"{moved[0].partition(' (')[0]} before it changed"
        return "its result is no longer kept"

    def _moved(self, entry: _CacheEntry) -> str | None:
        """What the entry read or left behind that is not as it was."""
        for (kind, path), before in entry.reads.items():
            now = self._compare(kind, path, before)
            if now is None:
                return f"{self._path_name(path)} changed"
            entry.reads[kind, path] = now
        for (kind, path), before in entry.files.items():
            now = self._compare(kind, path, before)
            if now is None:
                return f"file {os.path.basename(path)} is {'changed' if os.path.exists(path) else 'gone'}"
            entry.files[kind, path] = now
        for (_, name), (space, digest) in entry.frames.items():
            if name not in space or value_digest(space[name]) != digest:
                return f"constant {name} changed"
        return None

    def _defined_anew(self, entry: _CacheEntry) -> str | None:
        """Which class of the kept result is no longer the one the code means: `isinstance` would tell them apart."""
        now = frozenset[int]().union(*(code.classes for code in self._codes))
        return next(
            (
                f"class {kind.__name__} was defined anew"
                for kind in entry.classes
                if id(kind) not in now and is_authored(kind.__module__)
            ),
            None,
        )

    def _compare(self, kind: Kind, path: str, before: Signature) -> Signature | None:
        known = (kind, path, before)
        if known not in self._compared:
            self._compared[known] = compare(kind, path, before)
        return self._compared[known]

    def _path_name(self, path: str) -> str:
        name = os.path.basename(path) or path
        if self.source.path is not None and path == str(self.source.path):
            return f"source {name}"
        root = self.context.workspace_root
        if root is not None and os.path.dirname(path) == str(root / "config"):
            return f"config {name}"
        return f"database {name}" if root is not None and path.startswith(str(root / "databases")) else f"file {name}"

    def _place(self, index: int) -> tuple[str, ...]:
        names = [_name(step) for step in self.flow.steps[: index + 1]]
        place = (str(self.context.workspace_root), self.flow.name or "", self.flow.group, str(self.source.path))
        return (*place, names[-1], str(names.count(names[-1])))

    # -- values ----------------------------------------------------------------------------------------------------------

    def _value(self, index: int) -> Any:
        """The one object that is this step's result in this preview."""
        if index in self._live:
            return self._live[index]
        entry = self._entries[index]
        if entry.same_as is not None:
            at = self._inputs[index] if entry.same_as == "" else self._saved[index][entry.same_as]
            assert at is not None
            self._live[index] = self._value(at)
        elif entry.not_kept is None:
            self._live[index] = copy_of(entry.value).value
        else:
            self._run(index, f"its result is not kept ({entry.not_kept})", None)
            if self._entries[index].out_key != entry.out_key:
                raise _StartOver
        return self._live[index]

    # -- running ---------------------------------------------------------------------------------------------------------

    def _run(self, index: int, why: str, unseen: str | None) -> None:
        step, code, state = self.flow.steps[index], self._codes[index], _state(self.context)
        before, saved = self._inputs[index], self._saved[index]
        if self._writer is None:
            by_name = step.use if step.use != "current" else None
            is_open = code.names_objects or code.odd_metadata or self._in_order or by_name not in (None, *saved)
            if code.odd_metadata:
                for at in range(index):
                    self._value(at)
            objects = {name: self._value(at) for name, at in saved.items() if is_open or name == by_name}
            state.update(current=None if before is None else self._value(before), objects=objects)
        access_log = AccessLog(value_digest)
        self._renew_context(index, access_log)
        if self.source.path is not None:
            access_log.read("content", str(self.source.path))
        literals = _looks_at(code.literals)
        parts, given = {**code.parts, **world()}, _given(state, step)
        for event in run_steps(
            _only(self.flow, _seen_step(step, self._interceptors, access_log, code)), self.context, control=self.control
        ):
            self.sink(event)
        self._compared.clear()
        value = state["current"]
        looked_at: set[str] = state.pop("_inside", set())
        is_odd = ("objects" in looked_at and not code.names_objects) or (
            "metadata" in looked_at and not code.names_metadata
        )
        if is_odd:
            access_log.mark_unseen("the context as a whole")
        is_writer = _given(state, step) != given
        impure = self._impurity(index, parts)
        if is_writer or self._writer is not None:
            # From here on the context is handed on as it is, as in a run: nobody knows what later steps take from it.
            self._writer = self._writer or _name(step)
            impure = impure or ("it" if is_writer else self._writer) + " writes to the context"
        needs_order = is_odd or impure is not None
        self._made.add(index)
        self._live[index] = value
        self._store(index, why, value, access_log, literals, unseen, impure, needs_order=needs_order)
        self._needs_order = self._needs_order or needs_order
        if needs_order and not self._in_order and (is_odd or not self._made.issuperset(range(index))):
            raise _StartOver

    def _renew_context(self, index: int, access_log: AccessLog) -> None:
        """What a step reads through the context must be read for it, not remembered from an earlier step."""
        context, state = self.context, _state(self.context)

        def note(target: Path) -> None:
            self.may_write(target)
            self.wrote.setdefault(target)
            access_log.targets.setdefault(str(target))

        state["config"] = WorkspaceConfigContext(context.workspace_root)
        if context.mirror is not None:
            state["mirror"] = replace(context.mirror, on_target=note)
        if self._writer is None:
            state["metadata"]["step_outputs"] = {}
            for at in range(index):
                if at in self._live and outputs_of(self._live[at]):
                    note_outputs(context, self.flow.steps[at].label, self._live[at])
        state.pop("_looked_at", None)

    def _impurity(self, index: int, parts: Mapping[str, bytes]) -> str | None:
        """What the step changed beside making its result and writing to the context."""
        after = {**code_fingerprint(self.flow.steps[index]).parts, **world()}
        changed = next((label for label in {**parts, **after} if parts.get(label) != after.get(label)), None)
        if changed is not None:
            return f"it changes {changed}"
        for at in {self._inputs[index], *self._saved[index].values()}:
            if at is None or at not in self._live:
                continue
            entry = self._entries[self._origin(at)]
            if entry.not_kept is None and not is_unchanged(self._live[at], entry.value):
                return f"it changes {_name(self.flow.steps[at])} in place"
        return None

    def _origin(self, index: int) -> int:
        """The step whose value is handed on as the result of step number `index`."""
        entry = self._entries[index]
        if entry.same_as is None:
            return index
        at = self._inputs[index] if entry.same_as == "" else self._saved[index][entry.same_as]
        assert at is not None
        return self._origin(at)

    def _store(
        self,
        index: int,
        why: str,
        value: Any,
        access_log: AccessLog,
        literals: _Reads,
        unseen: str | None,
        impure: str | None,
        *,
        needs_order: bool,
    ) -> None:
        step, key = self.flow.steps[index], self._keys[index]
        missed = unseen or access_log.unseen
        reason = impure or (None if missed is None else f"reads what cannot be seen: {missed}")
        reads = {**literals, **access_log.reads}
        reads = {
            place: seen
            for place, seen in reads.items()
            if place in access_log.reads or place[1] not in access_log.written
        }
        paths = [*access_log.written, *access_log.targets, *(os.path.abspath(path) for path in paths_in(value))]
        files: _Reads = {}
        for path in dict.fromkeys(paths):
            kind: Kind = "kind" if os.path.isdir(path) else "content"
            files[kind, path] = signature_of(kind, path)
        entry = _CacheEntry(
            out_key=b"",
            reads=reads,
            frames=access_log.frames,
            files=files,
            unseen=reason,
            needs_order=needs_order,
            not_kept=None,
            is_stateful=False,
            same_as=None,
            shares=False,
            at_s=time.time(),
        )
        if reason is not None:
            entry.out_key = os.urandom(32)
        elif isinstance(step.fn, Collect):  # what else lies in the folder is no matter
            entry.out_key = digest_of(key, value_digest(value) or os.urandom(32), _facts_of(files))
        else:
            frames = sorted((name, digest) for (_, name), (_, digest) in access_log.frames.items())
            entry.out_key = digest_of(key, _facts_of(reads), frames, _facts_of(files))
        self._keep(index, entry, value)
        if len(self._entries) == index:
            self._entries.append(entry)
        else:
            self._entries[index] = entry
        self.cache.put(key, entry, self.limit_bytes)
        self.reports[index] = StepReport(_name(step), True, why, entry.at_s, entry.not_kept)

    def _keep(self, index: int, entry: _CacheEntry, value: Any) -> None:
        """Put a copy of the value into its entry, or say why there is none."""
        given = {"": self._inputs[index], **self._saved[index]}
        others = {name: self._live[at] for name, at in given.items() if at is not None and at in self._live}
        try:
            copied, size_bytes, classes = copy_of(value, apart=any(map(holds_arrays, others.values())))
        except CannotCopy as error:
            entry.not_kept = str(error)
            entry.is_stateful = not is_lazy(value) and entry.not_kept != "over 50 MB"
            return
        mine = mutable_ids(value)
        entry.same_as = next((name for name, other in others.items() if other is value and mine), None)
        if entry.same_as is None:
            if size_bytes > self.limit_bytes:
                entry.not_kept = "larger than the preview cache"
                return
            entry.value, entry.size_bytes, entry.classes = copied, size_bytes, classes
            entry.shares = bool(mine) and any(not mine.isdisjoint(mutable_ids(other)) for other in others.values())


def _name(step: StepSpec) -> str:
    return step.save_as or step.label


def _only(flow: Flow, step: StepSpec) -> Flow:
    return replace(flow, steps=(step,))


def _seen_step(step: StepSpec, interceptors: Interceptors, access_log: AccessLog, code: CodeFingerprint) -> StepSpec:
    """The step with its function watched."""
    fn: Any = step.fn
    fn = replace(fn, fn=intercepted(fn.fn)) if isinstance(fn, Map) else intercepted(fn)

    def watched(context: FlowContext) -> Any:
        state = _state(context)
        state["_looked_at"] = set()
        with interceptors.intercept(access_log, code.captured):
            try:
                return fn(context)
            finally:
                state["_inside"] = state.pop("_looked_at", set())

    return replace(step, fn=watched)


def _looks_at(literals: frozenset[str]) -> _Reads:
    """Paths written in the code: a native reader nobody watches may be given one."""
    found: _Reads = {}
    for text in literals:
        path = os.path.abspath(os.path.expanduser(text))
        kind: Kind = "content" if os.path.isfile(path) else "kind"
        found[kind, path] = signature_of(kind, path)
    return found


def _facts_of(looks: Mapping[Any, Signature]) -> list[tuple[str, str, str | None]]:
    return sorted((repr(place), repr(seen.facts), seen.content) for place, seen in looks.items())


def _given(state: Mapping[str, Any], step: StepSpec) -> object:
    """What a step could change about the context itself: its attributes, its saved objects, its metadata."""
    skipped = ("current", "objects", "control", "metadata", "_inside", "_looked_at")
    own = {name: id(value) for name, value in state.items() if name not in skipped}
    objects = {name: id(value) for name, value in state["objects"].items() if name != step.save_as}
    metadata = {name: id(value) for name, value in state["metadata"].items() if name != "step_outputs"}
    outputs = state["metadata"].get("step_outputs")
    if isinstance(outputs, dict):  # the step's own may be numbered
        outputs = {name: id(value) for name, value in outputs.items() if not str(name).startswith(step.label)}
    return own, objects, value_digest(dict(state["params"])), metadata, outputs
