"""Record what each replaced entry point touches: `original(*args, **kwargs)` is called, and its files are added to `logs`.
What is not surely seen counts as unseen."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

from data_engine.engine.access.access_log import Kind, ReadLog, not_logged
from data_engine.engine.access.file_events import about_to_write, carried, carry_into
from data_engine.platforms.files import path_of_folder

_PATH_WORDS = frozenset(
    """source sources path paths file files io filepath filepath_or_buffer path_or_buf path_or_buffer path_or_file where filename
    database name uri input_file path_or_paths fname path_or_glob file_glob""".split()
)
_Args = tuple[Any, ...]
_Kwargs = dict[str, Any]


def reader(kind: Kind) -> Callable[..., Any]:
    def note(original: Any, logs: tuple[ReadLog, ...], args: _Args, kwargs: _Kwargs) -> Any:
        arguments = [*args[:1], *(value for word, value in kwargs.items() if word in _PATH_WORDS)]
        record_paths(arguments, kind, logs)
        return original(*args, **kwargs)

    return note


def method_reader(original: Any, logs: tuple[ReadLog, ...], args: _Args, kwargs: _Kwargs) -> Any:
    return reader("content")(partial(original, args[0]), logs, args[1:], kwargs)


def record_open(original: Any, logs: tuple[ReadLog, ...], args: _Args, kwargs: _Kwargs) -> Any:
    file = args[0] if args else kwargs.get("file")
    mode = args[1] if len(args) > 1 else kwargs.get("mode", "r")
    if isinstance(file, int):
        if file <= 2:
            mark_unseen(logs, "the keyboard or a pipe")
        return original(*args, **kwargs)
    if isinstance(mode, str) and not ("w" in mode or "x" in mode):
        record_paths([file], "content", logs, native=False, is_appended="a" in mode)
    return original(*args, **kwargs)


def record_os_open(original: Any, logs: tuple[ReadLog, ...], args: _Args, kwargs: _Kwargs) -> Any:
    flags = args[1] if len(args) > 1 else kwargs.get("flags", 0)
    path = args[0] if args else kwargs.get("path")
    is_anew = bool(flags & os.O_TRUNC or flags & os.O_EXCL)
    if kwargs.get("dir_fd") is not None:
        mark_unseen(logs, "a file relative to an open folder")
    elif not is_anew:
        record_paths([path], "content", logs, native=False)
    if kwargs.get("dir_fd") is None:
        return original(*args, **kwargs)
    folder = path_of_folder(kwargs["dir_fd"])
    if flags & (os.O_WRONLY | os.O_RDWR) and folder is not None and path is not None:
        about_to_write(os.path.join(folder, os.fsdecode(path)))
    with not_logged():  # the event does not tell of the open folder
        return original(*args, **kwargs)


_WALKERS = frozenset(
    {"os", "glob", "pathlib", "pathlib._local", "pathlib._abc", "pathlib._os", "shutil", "data_engine.flow.scan"}
)
_LOOKERS = frozenset(
    {"pathlib", "pathlib._local", "pathlib._abc", "genericpath", "posixpath", "ntpath", "zipfile", "shutil"}
)


def record_stat(original: Any, logs: tuple[ReadLog, ...], args: _Args, kwargs: _Kwargs) -> Any:
    caller = sys._getframe(2)
    if caller.f_globals.get("__name__") in _LOOKERS and caller.f_code.co_name == "stat" and caller.f_back is not None:
        caller = caller.f_back
    if caller.f_code.co_name == "_stat" and caller.f_globals.get("__name__") == "shutil":
        return original(*args, **kwargs)  # a copy looks whether its target is a pipe; its source is opened
    is_question = caller.f_globals.get("__name__") in _LOOKERS
    question: Kind = "folder" if caller.f_code.co_name in ("is_dir", "isdir") else "kind"
    path = args[0] if args else kwargs.get("path")
    if kwargs.get("dir_fd") is not None:
        mark_unseen(logs, "a file relative to an open folder")
    elif not isinstance(path, int):
        follows = kwargs.get("follow_symlinks", True)
        record_paths([path], question if is_question else "stat" if follows else "link", logs, native=False)
        if not follows:
            record_paths([path], "kind", logs, native=False)
    return original(*args, **kwargs)


def record_lstat(original: Any, logs: tuple[ReadLog, ...], args: _Args, kwargs: _Kwargs) -> Any:
    path = args[0] if args else kwargs.get("path")
    if not isinstance(path, int):
        record_paths([path], "kind", logs, native=False)
        record_paths([path], "stat", logs, native=False)
    return original(*args, **kwargs)


def record_listing(original: Any, logs: tuple[ReadLog, ...], args: _Args, kwargs: _Kwargs) -> Any:
    path = args[0] if args else kwargs.get("path", ".")
    is_scan = (
        getattr(original, "__name__", "") == "scandir" and sys._getframe(2).f_globals.get("__name__") not in _WALKERS
    )
    if isinstance(path, int):
        mark_unseen(logs, "an open folder")
    else:
        record_paths(["." if path is None else path], "entries" if is_scan else "names", logs, native=False)
    return original(*args, **kwargs)


_QUESTIONS: dict[str, Kind] = {
    **dict.fromkeys(("getsize", "getmtime", "getctime", "getatime", "samefile"), "stat"),
    "realpath": "link",
    "isdir": "folder",
}


def record_question(original: Any, logs: tuple[ReadLog, ...], args: _Args, kwargs: _Kwargs) -> Any:
    name = getattr(original, "__name__", "").removeprefix("_path_")  # as some are called on Windows
    is_copy = name == "samefile" and sys._getframe(2).f_globals.get("__name__") == "shutil"
    if not is_copy:  # which looks whether its target is its source
        paths = [value for value in args if not isinstance(value, (int, bool))]
        record_paths(paths, _QUESTIONS.get(name, "kind"), logs, native=False)
    with not_logged():
        return original(*args, **kwargs)


def record_unseen(reason: str) -> Callable[..., Any]:
    def note(original: Any, logs: tuple[ReadLog, ...], args: _Args, kwargs: _Kwargs) -> Any:
        mark_unseen(logs, reason)
        return original(*args, **kwargs)

    return note


def record_sample(original: Any, logs: tuple[ReadLog, ...], args: _Args, kwargs: _Kwargs) -> Any:
    if kwargs.get("seed") is None and kwargs.get("random_state") is None:
        mark_unseen(logs, f"random numbers ({getattr(original, '__name__', 'sample')} without a seed)")
    return original(*args, **kwargs)


def record_rank(original: Any, logs: tuple[ReadLog, ...], args: _Args, kwargs: _Kwargs) -> Any:
    if "random" in (*args[1:2], kwargs.get("method")) and kwargs.get("seed") is None:
        mark_unseen(logs, "random numbers (a rank without a seed)")
    return original(*args, **kwargs)


def record_thread(original: Any, logs: tuple[ReadLog, ...], args: _Args, kwargs: _Kwargs) -> Any:
    """Start a thread: what it changes is the step's."""
    carry_into(args[0])
    return original(*args, **kwargs)


def record_submit(original: Any, logs: tuple[ReadLog, ...], args: _Args, kwargs: _Kwargs) -> Any:
    """Submit a call to a pool of threads: what it changes is the step's."""
    return original(*args[:1], carried(args[1]), *args[2:], **kwargs) if len(args) > 1 else original(*args, **kwargs)


def mark_unseen(logs: tuple[ReadLog, ...], reason: str) -> None:
    """Note in each log why there may be more than it has."""
    for log in logs:
        log.mark_unseen(reason)


def record_paths(
    values: Iterable[object], kind: Kind, logs: tuple[ReadLog, ...], *, native: bool = True, is_appended: bool = False
) -> None:
    """Note each path in `values`; native readers also take patterns, folders and addresses."""
    with not_logged():
        for value in values:
            texts = _texts_of(value)
            if texts is None:
                mark_unseen(logs, f"a reader given a {type(value).__name__}")
                continue
            for text in filter(None, texts):
                if native and "://" in text:
                    mark_unseen(logs, f"the address {text.partition('?')[0]}")
                    continue
                path = os.path.abspath(os.path.expanduser(text) if native else text)
                is_pattern = native and any(letter in text for letter in "*?[") and not os.path.exists(path)
                if path.startswith(("/proc/", "/sys/")) or (path.startswith("/dev/") and path != os.devnull):
                    mark_unseen(logs, path)
                    continue
                for log in logs:
                    if is_appended:
                        log.append(path, kind)
                    else:
                        log.note("tree" if is_pattern else kind, path)


def _texts_of(value: object) -> list[str] | None:
    """The paths in an argument, [] for open files and other data, None when unknown."""
    if isinstance(value, (str, os.PathLike)):
        return [os.fsdecode(value)]
    if isinstance(value, bytes):
        return [os.fsdecode(value)] if len(value) < 4096 and b"\n" not in value and b"\0" not in value else []
    if value is None or isinstance(value, (int, io.IOBase, bytearray, memoryview)) or hasattr(value, "read"):
        return []
    if isinstance(value, (list, tuple, set, frozenset)):
        lists = [_texts_of(item) for item in value]
        return None if None in lists else [text for texts in lists for text in texts or ()]
    module = type(value).__module__.partition(".")[0]
    return [] if module in ("pyarrow", "polars", "pandas", "numpy", "duckdb", "_duckdb", "_polars_runtime_32") else None
