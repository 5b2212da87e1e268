"""Keep the inputs of a step that failed, for a replay: what cannot have changed since the step was given it.

Before each step the inputs are noted (`GivenInputs`), which costs no copy: a Polars frame is cloned, all else is only referred to.
When a step has failed, and the end of its run is recorded, what is sure to be as it was given goes into one private file on this
machine (`keep`): Polars frames, Arrow tables, plain values, texts and paths. What is not kept has its reason in `missing`.
"""

from __future__ import annotations

import hashlib
import io
import json
import logging
import os
import pickle
import shutil
import sys
import time
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import FunctionType, MappingProxyType, ModuleType
from typing import Any, NamedTuple

from data_engine import private, secret
from data_engine.engine.memo.values import FIXED, holds_arrays, is_unchanged, paths_in
from data_engine.errors import FlowExecutionError
from data_engine.files import atomic_target, trouble_of
from data_engine.flow.batch import Batch, FileRef
from data_engine.flow.context import FlowContext
from data_engine.flow.control import ItemFailed
from data_engine.flow.noted import type_and_shape
from data_engine.flow.spec import Map, StepSpec
from data_engine.formatting import beginning, size_text
from data_engine.notebook.locate import author_frame
from data_engine.platforms.files import open_to_read
from data_engine.record import frozen
from data_engine.workspace.settings import ReplaySettings

log = logging.getLogger(__name__)

ITEM_LOCALS = "_data_engine_locals"
"""The attribute of an error that brings its variables home from a process of items."""

_CHANGEABLE = "it could have changed since the step was given it"
_A_SECRET = "it holds a secret"
_NEWEST = 3
_MOST_FRAMES = 1_000
_MOST_ITEMS = 1_000_000
_MOST_LOCALS = 200
_LONGEST_LOCAL = 200
_RESERVE_BYTES = 16 * 1024**2
_MOST_LEFTOVER_S = 3600.0
_PIECE = 4 * 1024**2
_END = ".replay"


class _Noted(NamedTuple):
    value: Any
    clone: Any
    at_step: int


class GivenInputs:
    """The inputs of a step as they are before it: its current object, the saved objects and the run's metadata.

    One serves a whole run, and takes what is new at each step: a frame is cloned once.
    """

    __slots__ = ("_noted", "_step", "current", "metadata", "objects")

    def __init__(self) -> None:
        self._noted: dict[int, _Noted] = {}  # by the identity of the frame, or of the batch of frames
        self._step = 0
        self.current: Any = None
        self.objects: dict[str, Any] = {}
        self.metadata: dict[str, Any] = {}

    def note(self, context: FlowContext) -> None:
        """Take the inputs of the step that is about to begin."""
        self._step += 1
        self.current = context.current
        if self.metadata or context.metadata:
            self.metadata = context.metadata.copy()
        before, objects = self._noted, context.objects
        if not (objects or before or self.objects) and type(self.current) in FIXED:
            return
        self.objects = objects = objects.copy()
        noted: dict[int, _Noted] = {}
        for value in (self.current, *objects.values()):
            if (key := id(value)) in before:
                noted[key] = before[key]
            elif (is_frame := _CLASSES.get(kind := type(value))) or (is_frame is None and _is_cloned(kind)):
                clone = _clone(value)
                if clone is not None:
                    noted[key] = _Noted(value, clone, self._step)
        self._noted = noted

    def as_given(self, value: Any) -> Any:
        """One of these inputs as it was given: a frame's clone."""
        entry = self._noted.get(id(value))
        return value if entry is None else entry.clone

    def _is_clone(self, value: Any) -> bool:
        """Whether the frame is a clone, or in a batch of such, of what nobody has changed before the step."""
        for entry in self._noted.values():
            clones = entry.clone.items if type(entry.clone) is Batch else (entry.clone,)
            if any(value is clone for clone in clones):
                return entry.at_step == self._step or is_unchanged(entry.value, entry.clone)
        return False

    def why_not_kept(self, value: Any) -> str | None:
        """Why the value, one of these inputs `as_given` or in one, is not kept; None where it is as it was given."""
        todo, count = [value], 0
        while todo:
            part = todo.pop()
            kind = type(part)
            count += 1
            if count > _MOST_ITEMS:
                return f"it has more than {_MOST_ITEMS:,} parts"
            if kind in (str, bytes) or isinstance(part, (Path, FileRef)):
                text = part if kind in (str, bytes) else str(part)
                if secret.masked_in(text) != text:
                    return _A_SECRET
            if kind in FIXED:
                continue
            if kind in (tuple, frozenset):
                todo += part
            elif kind is Batch:
                todo += part.items
            elif (why := self._why_not(part, kind)) is not None:
                return why
        return None

    def _why_not(self, value: Any, kind: type) -> str | None:
        library = kind.__module__.partition(".")[0]
        if kind is secret.Secret:
            return _A_SECRET
        if self._is_clone(value):
            dtypes = value.dtypes if hasattr(value, "dtypes") else [value.dtype]
            return "it is a frame of Python objects" if "Object" in repr(dtypes) else None
        if library == "pyarrow" and kind.__name__ in ("Table", "RecordBatch"):
            return None
        if library in ("pandas", "numpy", "polars") and kind.__name__ != "LazyFrame":
            return _CHANGEABLE
        if kind in (list, dict, set, bytearray):
            return _CHANGEABLE
        return f"{_a(kind.__name__)} cannot be kept"


class KeptInputs(NamedTuple):
    """The inputs that a run has kept: those of `names` that are not in `missing` (name -> why). "current" and "item" have theirs
    there, too; `has_item` says that the step is a map, whose item number `item_index` failed. `call` is a line that calls the step. `params` and `metadata` are those that the history cannot have."""

    run_id: str
    flow: str
    step: str
    step_index: int
    call: str
    has_item: bool
    item_index: int
    names: tuple[str, ...]
    current: Any
    item: Any
    objects: Mapping[str, Any]
    params: Mapping[str, Any]
    metadata: Mapping[str, Any]
    missing: Mapping[str, str]
    locals: Mapping[str, str]

    @property
    def kept_names(self) -> list[str]:
        """The names of what is kept, as `missing` has the others."""
        names = ["current", *(["item"] if self.has_item else []), *self.names]
        return [name for name in names if name not in self.missing]

    @property
    def size_bytes(self) -> int:
        """The bytes of the values that are kept; what is in two of them counts once."""
        return _size_of((self.current, self.item, *self.objects.values()), set())


@frozen
class FailedStep:
    """A step that has failed, with its number, the error and what it was given; `params` are the values that its run was given, `written` the
    folders where it writes: a path there leads elsewhere in a replay. `metadata` is the author's, as plain values."""

    run_id: str
    flow: str
    index: int
    step: StepSpec
    error: FlowExecutionError
    given: GivenInputs
    params: Mapping[str, Any]
    written: tuple[Path, ...] = ()
    metadata: Mapping[str, Any] = MappingProxyType({})

    @property
    def key(self) -> str:
        """The flow, the step and the error, as which the newest runs are kept."""
        frame = author_frame(self.error.__cause__)
        place = None if frame is None else (frame.f_code.co_filename, frame.f_code.co_name)
        parts = (self.flow, self.step.label, type(self.error.__cause__).__name__, place)
        return hashlib.sha256(repr(parts).encode("utf-8", "surrogatepass")).hexdigest()[:16]

    def inputs(self, most_bytes: int) -> KeptInputs:
        """What can be kept of its inputs, in at most so many bytes."""
        given, failed = self.given, self.error.__context__  # the step loop raised while it handled that
        missing: dict[str, str] = {}
        left, ids, has_arrays = most_bytes, set[int](), self._has_arrays()

        def take(name: str, value: Any) -> Any:
            nonlocal left
            why = given.why_not_kept(value)
            if why is None and any(
                Path(path).is_relative_to(folder) for path in paths_in(value) for folder in self.written
            ):
                why = "it names a file that the run wrote"
            if why is None and has_arrays and any(_is_frame(part) for part in _frames_in(value)):
                why = "it may share its memory with an array that could have changed"
            more = set(ids)
            size = 0 if why else _size_of(value, more)
            if why is None and size > left:
                why = f"it is larger than [replay] size = {size_text(most_bytes)} allows"
            if why is not None:
                missing[name] = why
                return None
            left -= size
            ids.update(more)
            return value

        item: Any = None
        if isinstance(failed, ItemFailed):
            batch = given.as_given(given.current)
            is_there = type(batch) is Batch and failed.index < len(batch.items)
            item = take("item", batch.items[failed.index] if is_there else failed.item)
        current = take("current", given.as_given(given.current))
        objects = {name: take(name, given.as_given(value)) for name, value in given.objects.items()}
        kept = {name: value for name, value in objects.items() if name not in missing}
        as_given = {name: value for name, value in given.metadata.items() if given.why_not_kept(value) is None}
        metadata = {**self.metadata, **as_given}
        metadata.pop("step_outputs", None)
        params = {name: value for name, value in self.params.items() if given.why_not_kept(value) is None}
        has_item = isinstance(failed, ItemFailed)
        return KeptInputs(
            self.run_id,
            self.flow,
            self.step.label,
            step_index=self.index,
            call=call_of(self.step, has_item=has_item),
            has_item=has_item,
            item_index=failed.index if isinstance(failed, ItemFailed) else 0,
            names=tuple(given.objects),
            current=current,
            item=item,
            objects=kept,
            params=params,
            metadata=metadata,
            missing=missing,
            locals=locals_of(self.error.__cause__),
        )

    def _has_arrays(self) -> bool:
        return any(map(holds_arrays, (self.given.current, *self.given.objects.values())))


def call_of(step: StepSpec, *, has_item: bool = True) -> str:
    """The line that calls the function of a step, in a cell where `replay` is the replay and `context` its context; a map needs its
    failing item for that.

    Example:
        >>> from data_engine import Flow
        >>> def clean(context): ...
        >>> def read(item): ...
        >>> [call_of(step) for step in Flow("G").collect(".csv", root=".").map(read).step(clean).steps]
        ['replay.run()', 'read(replay.item)', 'clean(context)']
    """
    fn: Any = step.fn.fn if isinstance(step.fn, Map) else step.fn
    name = getattr(fn, "__name__", "")
    is_named = name.isidentifier() and (isinstance(fn, type) or getattr(fn, "__code__", None) is not None)
    if not is_named or hasattr(fn, "__self__") or (isinstance(step.fn, Map) and not has_item):
        return "replay.run()"
    if isinstance(step.fn, Map):
        return f"{name}(context, replay.item)" if step.fn.takes_context else f"{name}(replay.item)"
    return f"{name}(context)"


def why_no_room(folder: Path, inputs: KeptInputs) -> str | None:
    """Why the inputs cannot be written to the folder, as far as a look tells; None where there is room."""
    try:
        private.make_folder(folder)
        is_full = shutil.disk_usage(folder).free < inputs.size_bytes + _RESERVE_BYTES
    except OSError as error:
        return trouble_of(error)
    return "the disk is full" if is_full else None


def keep(folder: Path, inputs: KeptInputs, key: str, settings: ReplaySettings) -> None:
    """Write the inputs to the private folder, whole or not at all; older ones make room. Where they cannot be written, why is kept
    in their place, if it can be. An error costs no more than the inputs."""
    target = folder / f"{inputs.run_id}-{key}{_END}"
    try:
        remove_old(folder, settings, room_bytes=inputs.size_bytes)
        _write_whole(target, inputs)
        remove_old(folder, settings)
    except Exception as error:  # whatever an object does when it is written: the run has ended, and is recorded
        words = secret.masked(trouble_of(error))
        log.warning("the inputs of run %s are not kept for a replay: %s", inputs.run_id[:8], words)
        with suppress(Exception):
            _write_whole(target, _without(inputs, inputs.kept_names, words))


def _write_whole(target: Path, inputs: KeptInputs) -> None:
    with atomic_target(target, durable=False, mode=private.FILE) as fresh:
        _write(fresh, inputs)
        if secret.knows_any() and _has_secret(fresh):
            _write(fresh, _without(inputs, _with_frames(inputs), "it, or another frame of the step, holds a secret"))


def kept_inputs(folder: Path, run_id: str, settings: ReplaySettings) -> KeptInputs | None:
    """The inputs that the run has kept here and that have not expired; None where there are none, or they cannot be read."""
    for file in _files(folder):
        if file.run_id == run_id and time.time() - file.at_s <= settings.keep_s:
            try:
                return _read(folder / file.name)
            except Exception as error:  # another version of a library wrote it: as good as gone
                log.warning("what run %s has kept cannot be read: %s", run_id[:8], trouble_of(error))
    return None


class KeptFacts(NamedTuple):
    """What a run has kept, without the values: the line that calls the step, the names of what is kept, why the others are not, and
    the author's variables at the failing line."""

    call: str = "replay.run()"
    kept: tuple[str, ...] = ()
    missing: Mapping[str, str] = {}
    locals: Mapping[str, str] = {}


def kept_facts(folder: Path, run_id: str) -> KeptFacts:
    """What the run has kept here; empty where that is nothing. No frame is read for it, and nothing unpacked."""
    for file in _files(folder):
        if file.run_id == run_id:
            with suppress(OSError, ValueError, KeyError, TypeError, zipfile.BadZipFile):
                with zipfile.ZipFile(folder / file.name) as content:
                    call, kept, missing, texts = json.loads(content.read("facts"))
                return KeptFacts(call, tuple(kept), missing, texts)
    return KeptFacts()


def remove_old(folder: Path, settings: ReplaySettings, *, room_bytes: int = 0) -> None:
    """Remove what is kept too long, what is not among the newest three of its flow, step and error, and the oldest beyond the total,
    with room for so many bytes."""
    now_s, total = time.time(), room_bytes
    counts: dict[str, int] = {}
    for file in _files(folder):
        counts[file.key] = counts.get(file.key, 0) + 1
        total += file.size_bytes
        if now_s - file.at_s > settings.keep_s or counts[file.key] > _NEWEST or total > settings.total_bytes:
            total -= file.size_bytes
            with suppress(OSError):
                os.unlink(folder / file.name)
    for name, at_s in _leftovers(folder):
        if now_s - at_s > _MOST_LEFTOVER_S:
            with suppress(OSError):
                os.unlink(folder / name)


def locals_of(error: BaseException | None) -> dict[str, str]:
    """The author's variables at the line that raised: each as a short text, secrets masked. No `repr` of an author's class is called."""
    texts: dict[str, str] | None = getattr(error, ITEM_LOCALS, None)
    if texts is not None:
        return texts
    frame = author_frame(error)
    if frame is None or frame.f_code.co_name == "<module>":
        return {}
    texts = {}
    for name, value in list(frame.f_locals.items())[:_MOST_LOCALS]:
        if not name.startswith(("__", ".")) and not isinstance(value, (FunctionType, ModuleType, type, FlowContext)):
            texts[name] = local_text(value)
    return texts


def local_text(value: Any) -> str:
    """A variable in at most 200 letters; an object by its type and shape.

    Example:
        >>> local_text({"a": 1}), local_text([object()]), local_text(object()), local_text(None)
        ("{'a': 1}", 'list of 1', 'object', 'None')
    """
    kind = type(value)
    text = name = type_and_shape(value)
    if kind is secret.Secret:
        text = secret.MASK
    elif isinstance(value, (Path, FileRef)):
        text = str(value)
    elif kind in FIXED:
        text = repr(value) if kind not in (str, bytes) else repr(secret.masked_in(value)[: _LONGEST_LOCAL + 1])
    elif kind in (list, tuple, set, frozenset, dict, Batch):
        parts = [*value, *value.values()] if kind is dict else list(value) if len(value) < _LONGEST_LOCAL else [value]
        is_plain = kind is not Batch and all(type(part) in FIXED for part in parts)
        text = repr(value) if is_plain and len(value) < _LONGEST_LOCAL else f"{name} of {len(value):,}"
    return beginning(text, _LONGEST_LOCAL)


_CLASSES: dict[type, bool] = {}
"""Whether values of a class are cloned: asked before each step, so it is looked up once."""


def _is_cloned(kind: type) -> bool:
    """Whether values of this class are cloned: Polars frames, and batches, which may hold some."""
    is_polars = kind.__module__.startswith("polars.") and kind.__name__ in ("DataFrame", "Series")
    if (
        kind is Batch or is_polars or kind.__module__.partition(".")[0] not in ("__main__", "data_engine_flows")
    ):  # those come and go
        _CLASSES[kind] = kind is Batch or is_polars
    return kind is Batch or is_polars


def _clone(value: Any) -> Any:
    """A clone of a frame, or of a batch of some frames; None of another batch."""
    if type(value) is not Batch:
        return value.clone()
    items = value.items
    if not items or len(items) > _MOST_FRAMES or not all(map(_is_frame, items)):
        return None
    return Batch(tuple(item.clone() if hasattr(item, "clone") else item for item in items))


def _a(name: str) -> str:
    return f"{'an' if name[:1].lower() in 'aeiou' else 'a'} {name}"


# -- files --------------------------------------------------------------------------------------------------------------


class _File(NamedTuple):
    name: str
    run_id: str
    key: str
    size_bytes: int
    at_s: float


def _files(folder: Path) -> list[_File]:
    """The whole files of the folder, the newest first."""
    files = []
    for entry in _entries(folder):
        run_id, _, key = entry.name.removesuffix(_END).partition("-")
        if entry.name.endswith(_END) and not entry.name.startswith("."):
            with suppress(OSError):
                facts = entry.stat(follow_symlinks=False)
                files.append(_File(entry.name, run_id, key, facts.st_size, facts.st_mtime))
    return sorted(files, key=lambda file: file.at_s, reverse=True)


def _leftovers(folder: Path) -> Iterator[tuple[str, float]]:
    """What a killed writer has left."""
    for entry in _entries(folder):
        if entry.name.startswith("."):
            with suppress(OSError):
                yield entry.name, entry.stat(follow_symlinks=False).st_mtime


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return list(entries)
    except OSError:
        return []


def _write(path: Path, inputs: KeptInputs) -> None:
    with zipfile.ZipFile(path, "w") as file:
        content = io.BytesIO()
        _Pickler(content, file).dump(tuple(inputs))
        file.writestr("inputs", content.getvalue())
        facts = KeptFacts(inputs.call, tuple(inputs.kept_names), dict(inputs.missing), dict(inputs.locals))
        file.writestr("facts", json.dumps(facts))


def _read(path: Path) -> KeptInputs:
    with zipfile.ZipFile(path) as file:
        return KeptInputs(*_Unpickler(io.BytesIO(file.read("inputs")), file).load())


class _Pickler(pickle.Pickler):
    """Frames go into entries of their own, by Arrow IPC, each once."""

    def __init__(self, stream: io.BytesIO, file: zipfile.ZipFile) -> None:
        super().__init__(stream, protocol=5)
        self._file = file
        self._written: dict[int, tuple[str, int]] = {}

    def persistent_id(self, obj: Any) -> tuple[str, int] | None:
        if not _is_frame(obj):
            return None
        pid = self._written.get(id(obj))
        if pid is None:
            kind = f"{type(obj).__module__.partition('.')[0]}.{type(obj).__name__}"
            pid = self._written[id(obj)] = kind, len(self._written)
            with self._file.open(str(pid[1]), "w", force_zip64=True) as stream:
                _write_frame(obj, kind, stream)
        return pid


def _write_frame(frame: Any, kind: str, stream: Any) -> None:
    if kind.startswith("polars."):
        (frame.to_frame() if kind == "polars.Series" else frame).write_ipc(stream, compression="uncompressed")
        return
    import pyarrow.ipc

    with pyarrow.ipc.new_stream(stream, frame.schema) as writer:
        writer.write(frame)


class _Unpickler(pickle.Unpickler):
    def __init__(self, stream: io.BytesIO, file: zipfile.ZipFile) -> None:
        super().__init__(stream)
        self._file = file
        self._frames: dict[int, Any] = {}

    def persistent_load(self, pid: Any) -> Any:
        kind, number = pid
        if number not in self._frames:
            self._frames[number] = _read_frame(kind, self._file.read(str(number)))
        return self._frames[number]


def _read_frame(kind: str, data: bytes) -> Any:
    if kind.startswith("polars."):
        import polars

        frame = polars.read_ipc(io.BytesIO(data))
        return frame.to_series() if kind == "polars.Series" else frame
    import pyarrow.ipc

    with pyarrow.ipc.open_stream(data) as reader:
        return reader.read_all() if kind == "pyarrow.Table" else reader.read_next_batch()


def _has_secret(path: Path) -> bool:
    """Whether a secret stands anywhere in the file, whose frames are not compressed."""
    rest = ""
    with open_to_read(path) as stream:
        while data := stream.read(_PIECE):
            text = rest + data.decode("utf-8", "replace")
            if secret.masked(text) != text:
                return True
            rest = text[-4096:]
    return False


def _with_frames(inputs: KeptInputs) -> list[str]:
    """The names of what is kept that holds a frame."""
    values = {"current": inputs.current, "item": inputs.item}
    return [
        name for name in inputs.kept_names if any(True for _ in _frames_in(values.get(name, inputs.objects.get(name))))
    ]


def _without(inputs: KeptInputs, names: Sequence[str], why: str) -> KeptInputs:
    """The inputs without these."""
    return inputs._replace(
        current=None if "current" in names else inputs.current,
        item=None if "item" in names else inputs.item,
        objects={name: value for name, value in inputs.objects.items() if name not in names},
        missing={**inputs.missing, **dict.fromkeys(names, why)},
    )


# -- frames ---------------------------------------------------------------------------------------------------------------


def _frames_in(value: Any) -> Iterator[Any]:
    """The frames in a value that is kept, itself among them."""
    if _is_frame(value):
        yield value
    elif type(value) in (tuple, frozenset, Batch):
        for part in value:
            yield from _frames_in(part)


def _is_frame(value: Any) -> bool:
    kind = type(value)
    library = kind.__module__.partition(".")[0]
    names = {"polars": ("DataFrame", "Series"), "pyarrow": ("Table", "RecordBatch")}.get(library, ())
    return kind.__name__ in names and kind is getattr(sys.modules.get(library), kind.__name__, None)


def _size_of(value: Any, ids: set[int]) -> int:
    """The bytes of a value that is kept, without what is in `ids` already; its parts are there afterwards."""
    if id(value) in ids:
        return 0
    ids.add(id(value))
    if _is_frame(value):
        return int(value.estimated_size() if type(value).__module__.startswith("polars") else value.nbytes)
    if type(value) in (tuple, frozenset, Batch):
        return 64 + sum(_size_of(part, ids) for part in value)
    return sys.getsizeof(value)
