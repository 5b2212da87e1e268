"""Turn values and errors into bytes for another process, and back; and give an item there the context of its step.

Functions of the author's travel by value (cloudpickle), with what they close over: the other process has no notebook. What
the workspace's helper modules define travels by name; the other process imports them from the same content. A large frame or
array travels as its Arrow or plain bytes, through a file where both processes see one. An error keeps its traceback's
lines, so that it leads to its cell, and the errors that led to it.

What of a context is small travels along: the source, the places, the params. The objects of earlier steps are fetched from the run when
an item looks at them. Where to write is asked of the run, whose stage or scratch folder knows what was handed out.
"""

from __future__ import annotations

import io
import marshal
import os
import pickle
import sys
import types
import uuid
from collections import UserDict, deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from copy import copy
from dataclasses import replace
from functools import cache, partial
from itertools import islice
from pathlib import Path, PurePath
from types import FunctionType, MappingProxyType
from typing import Any, NamedTuple

import cloudpickle
from tblib import Traceback

from data_engine import secret
from data_engine.errors import FlowValidationError, message_of
from data_engine.flow.batch import FileRef
from data_engine.flow.context import FlowContext, WorkspaceConfigContext
from data_engine.flow.control import StepControl
from data_engine.flow.locations import IN_PLACE, Places
from data_engine.flow.parameters import GivenParams
from data_engine.keeping import Order
from data_engine.platforms.files import open_to_read
from data_engine.record import frozen

LARGE_BYTES = 10 * 1024 * 1024
"""A value from this size on goes through a file, where both processes see one."""

FLOWS = "data_engine_flows"
_DEEPEST = 6


class Payload(NamedTuple):
    """A packed value: in `data` and `buffers`, or in a file; of an item also its `order` among the calls that give rows for tables."""

    data: bytes
    buffers: tuple[Any, ...] = ()
    file: str | None = None
    order: Order = ()

    @property
    def size_bytes(self) -> int:
        """The size in memory."""
        return len(self.data) + sum(map(len, self.buffers))


def pack(
    value: object, what: str, *, folder: Path | None = None, root: Path | None = None, with_secrets: bool = True
) -> Payload:
    """`value` as bytes; `what` names it in errors ("an item"). With a `folder` a large one is put into a file there.

    With a `root` paths below it travel by their part inside it, and are below the other end's root there. Secrets travel
    only `with_secrets`, on a way nobody else sees; else by their names, and the other end asks its own machine for them.

    Raises:
        FlowValidationError: it, or something in it, cannot leave this process; names that.
    """
    views: list[memoryview] = []

    def keep(buffer: pickle.PickleBuffer) -> bool:
        try:
            views.append(buffer.raw())
        except BufferError:  # its bytes are not in one row: they go with the rest
            return True
        return False

    file = io.BytesIO()
    try:
        with secret.travelling():
            _pickler(root, with_secrets)(file, protocol=5, buffer_callback=keep).dump(value)
    except Exception as error:
        raise _cannot_travel(what, value, error) from error
    data = file.getvalue()
    if folder is None or len(data) + sum(view.nbytes for view in views) < LARGE_BYTES:
        return Payload(data, tuple(map(bytes, views)))
    path = folder / uuid.uuid4().hex
    with open(path, "wb") as stream:
        stream.write(data)
        stream.writelines(views)
    return Payload(b"", (len(data), *(view.nbytes for view in views)), str(path))


def unpack(parcel: Payload, *, is_last: bool = True, root: Path | None = None) -> Any:
    """The value of a parcel; its file is removed where this `is_last`. `root` is what this end has for the other's root."""
    if parcel.file is None:
        return _Unpickler(io.BytesIO(parcel.data), buffers=parcel.buffers, root=root).load()
    content = bytearray(os.path.getsize(parcel.file))
    with open_to_read(parcel.file) as stream:
        stream.readinto(content)
    if is_last:
        with suppress(OSError):
            os.unlink(parcel.file)
    parts, start = [], 0
    for size in parcel.buffers:
        parts.append(memoryview(content)[start : start + size])
        start += size
    return _Unpickler(io.BytesIO(parts[0]), buffers=parts[1:], root=root).load()


class _Unpickler(pickle.Unpickler):
    def __init__(self, stream: io.BytesIO, *, buffers: Any, root: Path | None) -> None:
        super().__init__(stream, buffers=buffers)
        self._root = root

    def persistent_load(self, pid: Any) -> Any:
        kind, parts = pid
        if kind == "secret":
            from data_engine.workspace.secret_store import find_secret

            return find_secret(parts[0])
        if self._root is None:
            raise pickle.UnpicklingError(f"a path below the workspace came where none is known: {'/'.join(parts)}")
        path = self._root.joinpath(*parts)
        return path if kind == "path" else FileRef(path)


@cache
def _pickler(root: Path | None, with_secrets: bool) -> type[_Pickler]:
    if root is None and with_secrets:
        return _Pickler
    lead = None if root is None else root.parts

    class Apart(_Pickler):
        def persistent_id(self, value: Any) -> Any:
            if not with_secrets and isinstance(value, secret.Secret):
                return ("secret", (value.name,))
            if lead is not None and isinstance(value, (PurePath, FileRef)):
                path = value.path if isinstance(value, FileRef) else value
                if path.parts[: len(lead)] == lead:
                    return ("ref" if isinstance(value, FileRef) else "path", path.parts[len(lead) :])
            return None

    return Apart


class _Pickler(cloudpickle.Pickler):  # type: ignore[misc]
    def reducer_override(self, value: Any) -> Any:
        kind = type(value)
        if kind is types.MappingProxyType:
            return types.MappingProxyType, (value | {},)
        if kind is types.CodeType:  # with the name of its file, which leads to its cell
            return marshal.loads, (marshal.dumps(value),)
        if kind.__module__.startswith("polars."):
            polars = sys.modules["polars"]
            if kind is polars.DataFrame and _is_plain(value, polars):
                return _frame_of, (pickle.PickleBuffer(_arrow_bytes(value)),)
            if kind is polars.Series and _is_plain(value.to_frame(), polars):
                return _series_of, (value.name, pickle.PickleBuffer(_arrow_bytes(value.to_frame("value"))))
        if kind is type and value.__module__ == "pyo3_runtime" and value is _polars_panic():  # no module has it by name
            return _polars_panic, ()
        if isinstance(value, (types.FunctionType, type)):
            _send_flow_module_by_value(value.__module__)
        return super().reducer_override(value)


def _is_plain(frame: Any, polars: Any) -> bool:
    """Whether Arrow's file format can hold it."""
    return polars.Object not in frame.dtypes and bool(frame.width)


def _arrow_bytes(frame: Any) -> memoryview:
    stream = io.BytesIO()
    frame.write_ipc(stream, compression="uncompressed")
    return stream.getbuffer()


def _frame_of(content: Any) -> Any:
    import polars

    return polars.read_ipc(content if isinstance(content, bytes) else bytes(content))


def _series_of(name: str, content: Any) -> Any:
    return _frame_of(content).to_series().rename(name)


def _polars_panic() -> Any:
    """The class of Polars' panics; None where it cannot be imported."""
    with suppress(ImportError):
        from polars.exceptions import PanicException

        return PanicException
    return None


def _send_flow_module_by_value(name: str | None) -> None:
    """Let what a flow's own module defines travel by value; its helpers and siblings are imported at the other end."""
    if name is None or not name.startswith(f"{FLOWS}.") or name in cloudpickle.list_registry_pickle_by_value():
        return
    module = sys.modules.get(name)
    if module is not None and callable(getattr(module, "build", None)):
        cloudpickle.register_pickle_by_value(module)


# -- errors ------------------------------------------------------------------------------------------------------------


@frozen
class PackedError:
    """An error, the lines of its traceback, and its causes. `content` is None where only its name and text can travel."""

    content: bytes | None
    kind: str
    text: str
    lines: dict[str, Any] | None
    cause: PackedError | None
    context: PackedError | None
    is_context_hidden: bool


def pack_error(error: BaseException, *, root: Path | None = None) -> PackedError:
    """An error with its chain; one that cannot travel keeps its name and text."""
    ids: set[int] = set()

    def packed(link: BaseException | None) -> PackedError | None:
        if link is None or id(link) in ids:
            return None
        ids.add(id(link))
        content: bytes | None = None
        with suppress(Exception):  # of the author's class: an error that cannot travel is sent as its text
            link.args = secret.masked_in(link.args)
            parcel = pack(link, "an error", root=root, with_secrets=False)
            unpack(parcel, root=root)  # its own __init__ may want what it was not given
            content = parcel.data
        trace = link.__traceback__
        return PackedError(
            content,
            type(link).__name__,
            secret.masked(message_of(link)),
            None if trace is None else Traceback(trace).to_dict(),
            packed(link.__cause__),
            packed(link.__context__),
            link.__suppress_context__,
        )

    record = packed(error)
    assert record is not None
    return record


def unpack_error(packed: PackedError, *, root: Path | None = None) -> BaseException:
    """The error, with a traceback that has the lines it had."""
    error: BaseException
    try:
        assert packed.content is not None
        error = unpack(Payload(packed.content), root=root)
    except Exception:
        error = type(packed.kind, (RuntimeError,), {"__module__": __name__})(packed.text)
    if packed.lines is not None:
        error.__traceback__ = Traceback.from_dict(packed.lines).as_traceback()
    error.__cause__ = None if packed.cause is None else unpack_error(packed.cause, root=root)
    error.__context__ = None if packed.context is None else unpack_error(packed.context, root=root)
    error.__suppress_context__ = packed.is_context_hidden
    return error


# -- what cannot travel ------------------------------------------------------------------------------------------------


def _cannot_travel(what: str, value: object, error: BaseException) -> FlowValidationError:
    name = _culprit(value) or f"{what} ({_kind(value)})"
    of = "" if name.startswith(what) else f"{what}: "
    return FlowValidationError(
        f"{of}{name} cannot travel to another process: {message_of(error)}",
        where='Flow.map with [executor] kind = "processes" or "dask"',
        fix="make it inside the function (open connections and files there, return a list instead of a generator), or set "
        'kind = "threads" in config/data_engine.toml',
    )


def _culprit(value: object) -> str | None:
    """The name of the innermost part of `value` that cannot be packed; None where that is the value itself."""
    ids: set[int] = set()

    def look(owner: object, depth: int) -> str | None:
        for name, part in _parts(owner):
            if id(part) in ids:
                continue
            ids.add(id(part))
            try:
                with secret.travelling():
                    _Pickler(io.BytesIO(), protocol=5).dump(part)
            except Exception:
                deeper = look(part, depth + 1) if depth < _DEEPEST else None
                return deeper or f"{name} ({_kind(part)})"
        return None

    return look(value, 0)


def _parts(value: object) -> Iterator[tuple[str, object]]:
    if isinstance(value, types.MethodType):
        yield "self", value.__self__
    elif isinstance(value, types.FunctionType):
        cells = value.__closure__ or ()
        for name, cell in zip(value.__code__.co_freevars, cells, strict=False):
            with suppress(ValueError):
                yield name, cell.cell_contents
        for name in _global_names(value.__code__):
            if name in value.__globals__:
                yield name, value.__globals__[name]
        for part in value.__defaults__ or ():
            yield "a default", part
    elif isinstance(value, Mapping):
        yield from ((f"[{key!r}]", part) for key, part in value.items())
    elif isinstance(value, (list, tuple, set, frozenset)):
        yield from ((f"[{number}]", part) for number, part in enumerate(value))
    elif not isinstance(value, type):
        yield from _attributes(value)


def _global_names(code: types.CodeType) -> Iterator[str]:
    yield from code.co_names
    for part in code.co_consts:
        if isinstance(part, types.CodeType):
            yield from _global_names(part)


def _attributes(value: object) -> Iterable[tuple[str, object]]:
    names: dict[str, object] = dict(getattr(value, "__dict__", {}))
    for slot in getattr(type(value), "__slots__", ()):
        with suppress(AttributeError):
            names[slot] = getattr(value, slot)
    return names.items()


def _kind(value: object) -> str:
    name = type(value).__name__
    return f"an {name}" if name[:1].lower() in "aeiou" else f"a {name}"


Frame = tuple[Any, ...]


Ask = Callable[[str, tuple[Any, ...]], Any]
"""Asks the run a question, by its name and arguments, and gives the answer or raises what it raised."""

_WAYS = ("root", "enter", "database", "final", "publish")


_AS_THEY_ARE = ("flow_name", "group", "source", "scheduled_for", "workspace_root")


def facts_of(context: FlowContext) -> dict[str, Any]:
    """The part of a run's context that travels with each map. Its tables are not looked at, which a preview would notice."""
    own: dict[str, Any] = vars(FlowContext)["__dict__"].__get__(context)
    debug = copy(context.debug)
    if debug is not None:
        debug.control = None
    return {
        **{name: own[name] for name in _AS_THEY_ARE},
        "mirror": None if context.mirror is None else replace(context.mirror, places=IN_PLACE),
        "params": dict(context.params) if isinstance(context.params, MappingProxyType) else context.params,
        "debug": debug,
        "is_in_place": context.places is IN_PLACE,
        "objects": tuple(own["objects"]),
        "metadata": tuple(own["metadata"]),
    }


def answer(context: FlowContext, question: str, arguments: tuple[Any, ...]) -> Any:
    """The run's answer to an item's question; the other side of `Ask`."""
    if question in _WAYS:
        *positional, named = arguments
        return getattr(context.places, question)(*positional, **named)
    if question == "current":
        return context.current
    (name,) = arguments
    return {"objects": context.objects, "metadata": context.metadata}[question][name]


class FarContext(FlowContext):
    """A context in another process than its run, made from `facts_of` the run's context."""

    _current: _Fetched

    def __init__(self, facts: dict[str, Any], control: StepControl, ask: Ask) -> None:
        places = IN_PLACE if facts["is_in_place"] else _FarPlaces(ask)
        mirror, debug, params = facts["mirror"], facts["debug"], facts["params"]
        if debug is not None:
            debug.control = control
        self.__dict__.update({name: facts[name] for name in _AS_THEY_ARE})
        self.__dict__.update(
            mirror=None if mirror is None else replace(mirror, places=places),
            objects=_Fetched(facts["objects"], lambda name: ask("objects", (name,))),
            metadata=_Fetched(facts["metadata"], lambda name: ask("metadata", (name,))),
            config=WorkspaceConfigContext(facts["workspace_root"]),
            debug=debug,
            params=MappingProxyType(GivenParams(params)) if type(params) is dict else params,
            error=None,
            control=control,
            places=places,
            _current=_Fetched(("current",), lambda name: ask("current", ())),
        )

    @property
    def current(self) -> Any:
        """The batch that the map goes through."""
        return self._current["current"]

    @current.setter
    def current(self, value: Any) -> None:
        self._current["current"] = value


class _FarPlaces(Places):
    """The places where the run writes. The folder for a mirror root does not change in a run, so it is asked for once."""

    def __init__(self, ask: Ask) -> None:
        self._ask = ask
        self._roots: dict[Path, Path] = {}

    def root(self, final: Path) -> Path:
        if final not in self._roots:
            self._roots[final] = Path(self._ask("root", (final, {})))
        return self._roots[final]

    def enter(self, place: Path, *, is_folder: bool) -> None:
        self._ask("enter", (place, {"is_folder": is_folder}))

    def database(self, final: Path, *, read_only: bool) -> Path:
        return Path(self._ask("database", (final, {"read_only": read_only})))

    def final(self, path: Path) -> Path:
        for final, root in self._roots.items():
            if path.is_relative_to(root):
                return final / path.relative_to(root)
        return Path(self._ask("final", (path, {})))

    def publish(self) -> None:
        self._ask("publish", ({},))


class _Fetched(UserDict[str, Any]):
    """A mapping whose values are fetched when they are looked at."""

    def __init__(self, names: tuple[str, ...], fetch: Callable[[str], Any]) -> None:
        super().__init__(dict.fromkeys(names, _FAR))
        self._fetch = fetch

    def __getitem__(self, name: str) -> Any:
        value = self.data[name]
        if value is _FAR:
            value = self.data[name] = self._fetch(name)
        return value

    def __repr__(self) -> str:
        return repr(dict(self))


_FAR = object()


_MOST_NAMES = 100
_MOST_VALUES = 1_000
_CONTAINERS = (list, dict, set, bytearray, deque)

Look = dict[str, tuple[int, ...]]
"""By name the identity of its value, and of a container its length and the identities of its items."""


class LostChanges:
    """Compares the globals and the closure of a map's function before and after its items.

    Example:
        >>> seen = []
        >>> changes = LostChanges(lambda item: seen.append(item))
        >>> changes.names(), seen.append(1), changes.names(), changes.names()
        ([], None, ['seen'], [])
    """

    def __init__(self, call: Any) -> None:
        while isinstance(call, partial):
            call = call.func
        call = getattr(call, "__func__", call)
        self._fn = call if isinstance(call, FunctionType) else None
        self._before = self._look()

    def names(self) -> list[str]:
        """The names whose values have changed since the last time."""
        before, self._before = self._before, self._look()
        return sorted(name for name in before | self._before if before.get(name) != self._before.get(name))

    def _look(self) -> Look:
        if self._fn is None:
            return {}
        code = self._fn.__code__
        named = {name: self._fn.__globals__[name] for name in code.co_names if name in self._fn.__globals__}
        for name, cell in zip(code.co_freevars, self._fn.__closure__ or (), strict=False):
            try:
                named[name] = cell.cell_contents
            except ValueError:  # it is not bound yet
                continue
        return {name: _look_at(value) for name, value in islice(named.items(), _MOST_NAMES)}


def _look_at(value: Any) -> tuple[int, ...]:
    if not isinstance(value, _CONTAINERS):
        return (id(value),)
    inside: Iterable[Any] = value.values() if isinstance(value, dict) else value
    return (id(value), len(value), *map(id, islice(inside, _MOST_VALUES)))
