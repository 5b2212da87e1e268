"""Look before a library writes: native writers raise no audit event.

A writer is a function that gets its target, or a class whose objects write. A class of C code cannot be changed; its name in the module
is taken by a double, a class that looks first.
"""

from __future__ import annotations

import copy
import os
import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from urllib.request import url2pathname

from data_engine.engine.access.access_log import ReadLog, active_logs, current_files, is_not_logged, not_logged
from data_engine.engine.access.file_events import (
    about_to_make_folder,
    about_to_move,
    about_to_remove,
    about_to_write,
    carried,
    guards_here,
    made,
)
from data_engine.files import files_below

_Args = tuple[Any, ...]
_Kwargs = dict[str, Any]
_Logs = tuple[ReadLog, ...]

_TARGET_WORDS = "path path_or_buf file target where dest dst sink output_file excel_writer workbook file_name source filename fname".split()


def writer(at: int) -> Callable[..., Any]:
    """The recorder of a function whose target is the argument number `at`, or is named."""

    def look(original: Any, logs: _Logs, args: _Args, kwargs: _Kwargs) -> Any:
        named = next((word for word in _TARGET_WORDS if word in kwargs), None)
        target = args[at] if len(args) > at else kwargs.get(named or "")
        if type(target).__name__ == "PartitionBy":
            with _partitioned(target) as partitions:
                args = (*args[:at], partitions, *args[at + 1 :]) if len(args) > at else args
                return original(*args, **(kwargs if named is None else {**kwargs, named: partitions}))
        path = local_path(target, kwargs.get("filesystem"))
        if path is not None:
            about_to_write(path)
        result = original(*args, **kwargs)
        if path is not None and args and at and (files := current_files()) is not None:
            shape = getattr(args[0], "shape", None)
            if isinstance(shape, tuple) and len(shape) == 2:  # the frame that is written
                files.rows[os.path.abspath(path)] = shape[0]
        return result

    look.is_of_runs = True  # type: ignore[attr-defined]
    return look


def moded(look: Callable[..., Any], read: Callable[..., Any]) -> Callable[..., Any]:
    """The recorder of a function that opens its first argument to write, or, by its `mode` or `flag`, to read."""

    def open_it(original: Any, logs: _Logs, args: _Args, kwargs: _Kwargs) -> Any:
        mode = args[1] if len(args) > 1 else kwargs.get("mode", kwargs.get("flag", "r"))
        note = read if str(mode) in ("r", "rb") else look
        return note(original, logs, args, kwargs)

    open_it.is_of_runs = True  # type: ignore[attr-defined]
    return open_it


def local_path(target: object, filesystem: Any = None) -> str | None:
    """The path on this machine that a writer is given; None of an open file and of an address.

    Example:
        >>> local_path("file:///out/a%20b.csv"), local_path(Path("a.csv")), local_path("s3://bucket/a.csv"), local_path(None)
        ('/out/a b.csv', 'a.csv', None, None)
    """
    if not isinstance(target, (str, bytes, os.PathLike)):
        return None
    text = os.fsdecode(target)
    if isinstance(filesystem, str):
        text, filesystem = f"{filesystem.rstrip('/')}/{text.lstrip('/')}", None
    while getattr(filesystem, "type_name", None) == "subtree":
        text, filesystem = os.path.join(filesystem.base_path, text.lstrip("/")), filesystem.base_fs
    if filesystem is not None and getattr(filesystem, "type_name", None) != "local":
        return None  # another machine, or one in Python, which opens files itself
    if text[:5].lower() == "file:":
        return url2pathname(urlsplit(text).path)
    return None if "://" in text or not text else os.path.expanduser(text)


@contextmanager
def filling(folder: str, can_replace: Callable[[str], bool], name: str) -> Iterator[None]:
    """Inside, a writer makes files below a folder, such as `name`, and can replace those that are there and so called."""
    with not_logged():
        is_new = not os.path.lexists(folder)
        before = () if is_new else tuple(map(str, files_below(Path(folder))))
    for path in before:
        if can_replace(os.path.basename(path)):
            about_to_write(path)
    if is_new:
        about_to_make_folder(folder)
    if (first := os.path.join(folder, name)) not in before:
        about_to_write(first)
    try:
        yield
    finally:
        with not_logged():
            after = [str(path) for path in files_below(Path(folder))]
        made(path for path in after if path not in set(before))


@contextmanager
def _partitioned(target: Any) -> Iterator[Any]:
    """A copy of Polars' target of many files that looks at each path; by default their names are numbers."""
    inner = target._pl_partition_by
    folder, provider = local_path(inner.base_path), inner.file_path_provider
    if folder is None or not guards_here():
        yield target
    elif provider is None:
        with filling(folder, re.compile(r"[0-9a-f]{8}\.\w+").fullmatch, "00000000"):  # type: ignore[arg-type]
            yield target
    else:

        def look(about: Any) -> Any:
            path = provider(about)
            if isinstance(path, (str, os.PathLike)):
                about_to_write(os.path.join(folder, os.fspath(path)))
            return path

        looking = copy.copy(target)
        looking._pl_partition_by = replace(inner, file_path_provider=carried(look))
        yield looking


def write_dataset(original: Any, logs: _Logs, args: _Args, kwargs: _Kwargs) -> Any:
    """PyArrow's writer of many files: by its settings it fails where files are, replaces those with its names, or removes all."""
    place = args[1] if len(args) > 1 else kwargs.get("base_dir")
    folder = local_path(place, kwargs.get("filesystem"))
    if folder is None or not guards_here():
        return original(*args, **kwargs)
    template = args[2] if len(args) > 2 else kwargs.get("basename_template")
    pattern = re.escape(template or "part-{i}").replace(r"\{i\}", r"\d+") + ("" if template else r"\.\w+")
    behavior = kwargs.get("existing_data_behavior", "error")
    can_replace: dict[str, Callable[[str], bool]] = {
        "error": lambda name: False,
        "overwrite_or_ignore": lambda name: re.fullmatch(pattern, name) is not None,
    }
    with filling(folder, can_replace.get(behavior, lambda name: True), (template or "part-{i}").replace("{i}", "0")):
        return original(*args, **kwargs)


def copy_files(original: Any, logs: _Logs, args: _Args, kwargs: _Kwargs) -> Any:
    """PyArrow's copying of a file, or of all in a folder."""
    names = ("source", "destination", "source_filesystem", "destination_filesystem")
    given = {**dict(zip(names, args, strict=False)), **kwargs}
    source, target = given.get("source"), local_path(given.get("destination"), given.get("destination_filesystem"))
    folder = local_path(source, given.get("source_filesystem"))
    if target is not None and folder is not None and os.path.isdir(folder):
        for path in files_below(Path(folder)):
            about_to_write(os.path.join(target, path.relative_to(folder)))
    elif target is not None and hasattr(source, "base_dir"):  # which files is for PyArrow to say
        with filling(target, lambda name: True, "new"):
            return original(*args, **kwargs)
    elif target is not None:
        about_to_write(target)
    return original(*args, **kwargs)


for _note in (write_dataset, copy_files):
    _note.is_of_runs = True  # type: ignore[attr-defined]


# -- classes of C code -------------------------------------------------------------------------------------------------------


class _Doubling(type):
    """The class of doubles: what the original takes for its own is the double's own too."""

    def __instancecheck__(cls, value: object) -> bool:
        return (
            isinstance(value, cls.__mro__[1]) if "_records_reads" in cls.__dict__ else super().__instancecheck__(value)
        )

    def __subclasscheck__(cls, other: type) -> bool:
        return (
            issubclass(other, cls.__mro__[1]) if "_records_reads" in cls.__dict__ else super().__subclasscheck__(other)
        )


class Double:
    """The row of a class of C code in the table: `make` gives what the double has in place of the original's."""

    is_of_runs = True

    def __init__(self, make: Callable[[type], dict[str, Any]]) -> None:
        self._make = make

    def of(self, original: type) -> type:
        """The double of a class."""
        about = {"__module__": original.__module__, "__qualname__": original.__qualname__, "__doc__": original.__doc__}
        own = {"_records_reads": True, **about, **self._make(original)}
        double: type = _Doubling(original.__name__, (original,), own)
        return double


def constructor(look: Callable[..., Any]) -> Double:
    """The double of a class whose objects write from when they are made; they are the original's. `look` is its recorder as a function."""

    def make(original: type) -> dict[str, Any]:
        def new(cls: type, *args: Any, **kwargs: Any) -> Any:
            return seen(look, original, *args, **kwargs)

        return {"__new__": new}

    return Double(make)


def creator(name: str, look: Callable[..., Any]) -> Double:
    """The double of a class with a static method that writes."""

    def make(original: type) -> dict[str, Any]:
        return {name: staticmethod(lambda *args, **kwargs: seen(look, getattr(original, name), *args, **kwargs))}

    return Double(make)


def seen(look: Callable[..., Any], original: Any, *args: Any, **kwargs: Any) -> Any:
    """Call an original by its recorder, with the logs of this context."""
    return original(*args, **kwargs) if is_not_logged() else look(original, active_logs(), args, kwargs)


def _filesystem(original: type) -> dict[str, Any]:
    """What a file system of PyArrow does, looked at before."""

    def looking(name: str, look: Callable[..., None]) -> Callable[..., Any]:
        method = getattr(original, name)

        def call(self: Any, *args: Any, **kwargs: Any) -> Any:
            paths = [
                local_path(path, self) for path in (*args[:2], *kwargs.values()) if isinstance(path, (str, os.PathLike))
            ]
            if paths and None not in paths:
                look(*paths)
            return method(self, *args, **kwargs)

        return call

    def empty(folder: str, *_: str) -> None:
        for path in files_below(Path(folder)):
            about_to_remove(str(path))

    def base_fs(self: Any) -> Any:
        return _guarded(original.base_fs.__get__(self))  # type: ignore[attr-defined]

    own = {
        "open_output_stream": looking("open_output_stream", lambda path, *_: about_to_write(path)),
        "open_append_stream": looking("open_append_stream", lambda path, *_: about_to_write(path)),
        "delete_file": looking("delete_file", lambda path, *_: about_to_remove(path)),
        "delete_dir": looking("delete_dir", lambda path, *_: about_to_remove(path)),
        "delete_dir_contents": looking("delete_dir_contents", empty),
        "move": looking("move", about_to_move),
        "copy_file": looking("copy_file", lambda path, target: about_to_write(target)),
        "create_dir": looking("create_dir", lambda path, *_: about_to_make_folder(path)),
        "from_uri": staticmethod(lambda uri: _guarded_uri(original.from_uri(uri))),  # type: ignore[attr-defined]
    }
    return own | ({"base_fs": property(base_fs)} if hasattr(original, "base_fs") else {})


def _guarded_uri(found: tuple[Any, str]) -> tuple[Any, str]:
    return _guarded(found[0]), found[1]


def _guarded(filesystem: Any) -> Any:
    """The file system as an object of the class that stands in `pyarrow.fs`."""
    import pyarrow.fs as fs

    kind = type(filesystem).__name__
    if kind == "SubTreeFileSystem":
        return fs.SubTreeFileSystem(filesystem.base_path, filesystem.base_fs)
    return fs.LocalFileSystem() if kind == "LocalFileSystem" else filesystem


FILESYSTEM = Double(_filesystem)


def pool_call(original: Any, logs: _Logs, args: _Args, kwargs: _Kwargs) -> Any:
    """A call that a pool of threads gets: what it changes is the step's. One of processes pickles its calls."""
    if len(args) > 1 and "Thread" in type(args[0]).__name__:
        return original(args[0], carried(args[1]), *args[2:], **kwargs)
    return original(*args, **kwargs)


pool_call.is_of_runs = True  # type: ignore[attr-defined]


def suffixed(suffixes: Iterable[str]) -> Callable[..., Any]:
    """The recorder of a function that writes files called as its first argument, with a suffix each."""

    def look(original: Any, logs: _Logs, args: _Args, kwargs: _Kwargs) -> Any:
        if args and (path := local_path(args[0])) is not None:
            for suffix in suffixes:
                about_to_write(path + suffix)
        return original(*args, **kwargs)

    look.is_of_runs = True  # type: ignore[attr-defined]
    return look
