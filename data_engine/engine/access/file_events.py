"""Show a guard what a step is about to write, remove or move: one audit hook for all that Python does to files.

Native writers go past Python; `interceptors` shows theirs with `about_to_write`. A guard collects and refuses; it never opens a file.

Reference: https://docs.python.org/3/library/audit_events.html; a hook cannot be removed, so there is one for the life of the process,
which costs one lookup an event while nothing is guarded.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import thread as pool_threads
from contextlib import contextmanager
from contextvars import ContextVar
from functools import wraps
from typing import Any, ClassVar

from data_engine.engine.access.access_log import active_logs, is_not_logged, not_logged
from data_engine.errors import FlowValidationError
from data_engine.platforms.files import path_of_folder


class ChangeRefusedError(FlowValidationError):
    """A step was about to change a file that it must not change; nothing was done."""


class FileGuard:
    """Allow or refuse a change of a file, by its absolute path. Several threads may call it at once; a copy works in another process.

    A method that refuses raises an error and adds it to `refused`: a step that swallows it fails all the same. These allow everything.
    `keeps_databases`: databases are guarded too, and kept from statements that change them.
    """

    keeps_databases: ClassVar = False

    def __init__(self) -> None:
        self.refused: list[ChangeRefusedError] = []
        self._new: dict[str, None] = {}

    def about_to_write(self, path: str) -> None:
        """A file is about to be made, written, emptied or replaced; of a folder, files in it."""

    def about_to_link(self, path: str, target: str) -> None:
        """A file is about to get a second name; what is written by that name is written to both."""
        self.about_to_write(target)

    def made(self, paths: Iterable[str]) -> None:
        """Note files that a writer has made whose names are known only afterwards."""

    def about_to_remove(self, path: str) -> None:
        """A file, or a folder with all that is in it, is about to be removed."""

    def about_to_move(self, path: str, target: str) -> None:
        """A file or a folder is about to be moved."""

    def about_to_make_folder(self, path: str) -> None:
        """A folder is about to be made."""

    def about_to_write_unread(self, statement: str) -> None:
        """A statement of SQL is about to run that may write a file, and whose file cannot be read from it."""

    def about_to_open_database(self, path: str) -> None:
        """A DuckDB database is about to be opened to write."""

    def about_to_connect(self, path: str) -> None:
        """A SQLite database is about to be opened, past the functions by which it is kept from statements that change it."""

    def protects(self, path: str) -> bool:
        """Whether this database must not change."""
        return False

    def refuse_database(self, path: str) -> None:
        """A statement that would change a database is refused; this raises nothing."""

    def written(self) -> tuple[str, ...]:
        """The files that were written since the last call: an item in another process sends them home."""
        new, self._new = self._new, {}
        return tuple(new)

    def note_written(self, paths: Iterable[str]) -> None:
        """Note the files that a copy in another process has seen written."""
        self._new.update(dict.fromkeys(paths))


class guarding:
    """Inside, what this context, this thread and the threads that it starts change is shown to the guard first."""

    __slots__ = ("_before", "_guard", "_thread", "_token")

    def __init__(self, guard: FileGuard | None) -> None:
        self._guard = guard

    def __enter__(self) -> None:
        if self._guard is not None:
            _install()
        self._thread = threading.get_ident()
        self._before = _of_threads.get(self._thread)
        _of_threads[self._thread] = self._guard
        self._token = _current.set(self._guard)

    def __exit__(self, *_: object) -> None:
        _current.reset(self._token)
        if self._before is None:
            del _of_threads[self._thread]
        else:
            _of_threads[self._thread] = self._before


def current_guard() -> FileGuard | None:
    """The guard of the run or preview that this context belongs to."""
    return _current.get()


def guards_here() -> tuple[FileGuard, ...]:
    """The guards that judge what happens here: that of the context, else of the thread, which an empty context does not leave. A
    thread that `threading` has not started, such as one of a library's own, may work for any: all judge it."""
    guard = _current.get() or _of_threads.get(threading.get_ident())
    if guard is not None:
        return (guard,)
    guards = [guard for guard in list(_of_threads.values()) if guard is not None]
    return () if not guards or _is_started_here() else tuple({id(guard): guard for guard in guards}.values())


def about_to_write(path: str) -> None:
    """Show a file that a native writer is about to make to the guard and to the logs of this context.

    Raises:
        FlowValidationError: it is refused.
    """
    _show(_written, path)


def about_to_remove(path: str) -> None:
    """As `about_to_write`, of a file or folder that a native function is about to remove."""
    _show(_removed, path)


def about_to_move(path: str, target: str) -> None:
    """As `about_to_write`, of a file or folder that a native function is about to move."""
    _show(_moved, path, target)


def about_to_make_folder(path: str) -> None:
    """As `about_to_write`, of a folder that a native function is about to make."""
    _show(_folder_made, path)


def made(paths: Iterable[str]) -> None:
    """Show files that a native writer has made, whose names are known only afterwards."""
    paths = tuple(paths)
    for guard in guards_here() if paths and not is_not_logged() else ():
        guard.made(paths)
    for log in active_logs():
        for path in paths:
            log.wrote(path)


def about_to_open_database(path: str) -> None:
    """Show a DuckDB database that is about to be opened to write.

    Raises:
        FlowValidationError: it is refused.
    """
    _show(_database_opened, path)


def about_to_write_unread(statement: str) -> None:
    """Show a statement that may write a file which cannot be read from it.

    Raises:
        FlowValidationError: it is refused.
    """
    for guard in () if is_not_logged() else guards_here():
        with not_logged():
            guard.about_to_write_unread(statement)


@contextmanager
def failing_when_refused() -> Iterator[None]:
    """Inside, a call whose change was refused fails by that, whatever its outcome.

    Raises:
        FlowValidationError: the first change that was refused.
    """
    try:
        yield
    except BaseException as error:
        _raise_refused(error)
        raise
    _raise_refused(None)


def _raise_refused(error: BaseException | None) -> None:
    guard = _current.get()
    if guard is not None and guard.refused and guard.refused[0] not in (error, getattr(error, "error", None)):
        first = guard.refused[0]
        raise first.with_traceback(first.__traceback__ or (None if error is None else error.__traceback__)) from None


def carry_into(thread: threading.Thread) -> None:
    """Give a thread that a step starts the step's guard; a thread of a pool may serve others later, and gets it with each call."""
    if getattr(thread, "_target", None) is not _POOL_WORKER:
        thread.run = carried(thread.run)  # type: ignore[method-assign]


def carried(fn: Callable[..., Any]) -> Callable[..., Any]:
    """`fn`, which another thread will call, under the guard of this context."""
    guard = next(iter(guards_here()), None)
    if guard is None:
        return fn

    @wraps(fn, updated=())
    def under_the_guard(*args: Any, **kwargs: Any) -> Any:
        with guarding(guard):
            return fn(*args, **kwargs)

    return under_the_guard


_POOL_WORKER = vars(pool_threads)["_worker"]
_current: ContextVar[FileGuard | None] = ContextVar("file_guard", default=None)
_of_threads: dict[int, FileGuard | None] = {}
"""The guard of each thread that goes through guarded code now."""

_lock = threading.Lock()
_is_installed = False


def _install() -> None:
    global _is_installed
    with _lock:
        if not _is_installed:
            sys.addaudithook(_made_hook(_EVENTS, _of_threads, _show))
            _is_installed = True


def _made_hook(
    events: Mapping[str, Callable[..., str | None]],
    guarded: Mapping[int, FileGuard | None],
    show: Callable[..., None],
) -> Callable[[str, tuple[Any, ...]], None]:
    """Make the hook; with names of its own, since it is called when the interpreter ends and this module's are gone."""

    seer_of, writes, reads = events.get, _WRITES, _READ_MODES

    def hook(event: str, args: tuple[Any, ...]) -> None:
        see = seer_of(event)
        if see is not None and guarded and (event != "open" or args[2] & writes or args[1] not in reads):
            show(see, *args)

    return hook


def _is_started_here() -> bool:
    """Whether Python's `threading` has started this thread, before the step did: it is somebody else's."""
    thread = threading.get_ident()
    return any(one.ident == thread and type(one).__name__ != "_DummyThread" for one in threading.enumerate())


def _show(see: Callable[..., str | None], *args: Any) -> None:
    """Show the guards here an event; the path that is written goes to the logs too."""
    if is_not_logged() or not (guards := guards_here()):
        return
    logs = active_logs()
    path = None
    with not_logged():
        for guard in guards:
            path = see(guard, *args)
    if path is not None:
        for log in logs:
            log.wrote(path)


# -- each event, with its arguments as Python gives them; the path that is written by it -----------------------------------

_WRITES = os.O_WRONLY | os.O_RDWR | os.O_TRUNC | os.O_APPEND | os.O_CREAT
_WRITE_MODES = frozenset("wax+")
"""What opens to write where C code opens by a mode alone, as the key log of `ssl` does; its flags are 0."""
_READ_MODES = (None, "r", "rb", "rt")
"""The modes of nearly all files that are opened to read, None by `os.open`: by the flags it is known that none is written."""


def _written(guard: FileGuard, path: object, folder: Any = -1) -> str | None:
    full = _full(path, folder)
    if full is not None:
        guard.about_to_write(full)
    return full


def _opened(guard: FileGuard, path: object, mode: object, flags: int) -> str | None:
    """Show a file that is opened to write; of a folder opened so, as by `tempfile`, the file in it raises its own event."""
    is_write = flags & _WRITES or not _WRITE_MODES.isdisjoint(mode if isinstance(mode, str) else "")
    is_file = isinstance(path, (str, bytes, os.PathLike)) and not os.path.isdir(path)
    return _written(guard, path) if is_write and is_file else None


def _changed(guard: FileGuard, path: object, *rest: Any) -> str | None:
    """`os.truncate`, and the times or the mode of a file."""
    return _written(guard, path, rest[-1] if len(rest) > 1 else -1)


def _marked(guard: FileGuard, path: object, *rest: Any) -> str | None:
    """The owner or an extended attribute of a file."""
    return _written(guard, path)


def _linked(guard: FileGuard, source: object, target: object, *folders: Any) -> str | None:
    full, new = _full(source, folders[0] if folders else -1), _full(target, folders[-1] if folders else -1)
    if full is not None and new is not None:
        guard.about_to_link(full, new)
    return new


def _named(guard: FileGuard, source: object, target: object, folder: Any = -1) -> str | None:
    return _written(guard, target, folder)


def _copied(guard: FileGuard, source: object, target: object, flags: int) -> str | None:
    """`shutil.copy2` on Windows, which raises no other event."""
    return _written(guard, target)


def _removed(guard: FileGuard, path: object, folder: Any = -1) -> None:
    if (full := _full(path, folder)) is not None:
        guard.about_to_remove(full)


def _moved(guard: FileGuard, path: object, target: object, folder: Any = -1, target_folder: Any = -1) -> str | None:
    full, new = _full(path, folder), _full(target, target_folder)
    if full is not None and new is not None:
        guard.about_to_move(full, new)
    return new


def _database_opened(guard: FileGuard, path: str) -> None:
    if (full := _full(path)) is not None:
        guard.about_to_open_database(full)


def _sqlite_opened(guard: FileGuard, database: object) -> None:
    if guard.keeps_databases and isinstance(database, (str, bytes, os.PathLike)):
        guard.about_to_connect(os.fsdecode(database))


def _folder_made(guard: FileGuard, path: object, mode: object = None, folder: Any = -1) -> None:
    if (full := _full(path, folder)) is not None:
        guard.about_to_make_folder(full)


_EVENTS: dict[str, Callable[..., str | None]] = {
    "open": _opened,
    "os.truncate": _changed,
    "os.utime": _changed,
    "os.chmod": _changed,
    "os.chown": _marked,
    "os.setxattr": _marked,
    "os.removexattr": _marked,
    "os.link": _linked,
    "os.symlink": _named,
    "_winapi.CopyFile2": _copied,
    "os.remove": _removed,
    "os.rmdir": _removed,
    "shutil.rmtree": _removed,
    "os.rename": _moved,
    "os.mkdir": _folder_made,
    "sqlite3.connect": _sqlite_opened,
}


def _full(path: object, folder: Any = -1) -> str | None:
    """The absolute path of a file; None where there is none, and where its open `folder` is unknown."""
    text = os.fsdecode(path) if isinstance(path, (str, bytes, os.PathLike)) else None
    if not text or "\0" in text:
        return None
    if isinstance(folder, int) and folder >= 0 and not os.path.isabs(text):
        root = path_of_folder(folder)
        return None if root is None else os.path.join(root, text)
    return os.path.abspath(text)
