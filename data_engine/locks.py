"""OS locks that end with their process, however it ends: one per runner, one per group; Ctrl-C waits while one is taken.

The files stay empty; only the lock on them means something. They are private: whoever can open one, be it to read, can
hold its lock and with it a group or a start for ever. A lock is never shared with a forked child, so a step that
forks cannot keep its run's group busy or its dead runner alive.

A lock belongs to the open file and so excludes threads of one process as well (`platforms.files`).
"""

from __future__ import annotations

import hashlib
import os
import signal
import sys
import threading
import time
import weakref
from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any, Generic, TypeVar

from data_engine import nofollow, private
from data_engine.errors import GroupBusyError, LedgerError
from data_engine.files import trouble_of
from data_engine.platforms import files
from data_engine.platforms.processes import at_fork

T = TypeVar("T")

# The functions of `signal` look each handler up among its enums, 10 to 15 us a call: several times in every recorded run.
_raw: Any = sys.modules.get("_signal", signal)
_SIGINT = int(signal.SIGINT)
_RAISES = signal.default_int_handler


class InterruptsHeld:
    """Inside, a Ctrl-C of the main thread waits; it is raised at the end. Other handlers stay as they are.

    So nothing is left half acquired. A `with` over a generator has moments in which the generator holds the lock and nobody
    can release it yet: an exception then keeps the generator, and so the lock, for as long as somebody keeps the traceback,
    as IPython does.

    Reference: https://docs.python.org/3/library/signal.html, handlers run in the main thread, between any two instructions.

    Example:
        >>> try:
        ...     with InterruptsHeld():
        ...         signal.raise_signal(signal.SIGINT)
        ...         print("goes on")
        ... except KeyboardInterrupt:
        ...     print("then stops")
        goes on
        then stops
    """

    __slots__ = ("_is_holding", "_is_pressed")

    def __init__(self) -> None:
        self._is_holding = self._is_pressed = False

    def __enter__(self) -> None:
        if _raw.getsignal(_SIGINT) is _RAISES:
            try:
                _raw.signal(_SIGINT, self._note)
            except ValueError:  # no other thread than the main one is struck
                return
            self._is_holding = True

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._is_holding:
            _raw.signal(_SIGINT, _RAISES)
            if self._is_pressed:
                raise KeyboardInterrupt

    def _note(self, number: int, frame: FrameType | None) -> None:
        self._is_pressed = True


class SafeAcquire(ABC, Generic[T]):
    """A `with` that also lets go when an exception strikes while it acquires.

    A class and no generator: an exception between a generator's `yield` and the first line inside keeps it suspended, and its
    locks held, for as long as somebody keeps the traceback.

    Example:
        >>> class Door(SafeAcquire[str]):
        ...     def take(self) -> str:
        ...         raise KeyboardInterrupt
        ...     def let_go(self) -> None:
        ...         print("closed")
        >>> try:
        ...     with Door():
        ...         pass
        ... except KeyboardInterrupt:
        ...     print("stops")
        closed
        stops
    """

    @abstractmethod
    def take(self) -> T:
        """Acquire it; the value of the `with`."""

    @abstractmethod
    def let_go(self) -> None:
        """Release what was taken, if anything was."""

    def __enter__(self) -> T:
        try:
            return self.take()
        except BaseException:
            self.let_go()
            raise

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.let_go()


# Not the filelock library: only its newest releases let go in forked children, those install an audit hook that every
# later event of the process pays for (Python 3.12 up), and its import costs 60 ms at a kernel's first run.
_LONGEST_PAUSE_S = 0.05


class OsLock:
    """A lock on the file `path`, free again when its holder releases it or its process ends.

    Two objects exclude each other, also in one thread. Any thread may release.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "a.lock"
        >>> first, second = OsLock(path), OsLock(path)
        >>> first.try_acquire(), second.try_acquire()
        (True, False)
        >>> first.release()
        >>> second.try_acquire()
        True
        >>> second.release()
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._descriptor: int | None = None

    @property
    def is_held(self) -> bool:
        """Whether this object holds the lock."""
        return self._descriptor is not None

    def try_acquire(self) -> bool:
        """Take the lock if it is free; whether this object holds it now. Creates the file and its folder.

        Raises:
            LedgerError: the lock file cannot be made.
        """
        if self.is_held:
            return False
        try:
            with InterruptsHeld():
                return self._take()
        except KeyboardInterrupt:  # whoever called does not learn that it was taken
            self.release()
            raise

    def _take(self) -> bool:
        with _gate:
            if self._descriptor is not None:
                return False
            try:
                descriptor = self._open()
            except OSError as error:
                raise LedgerError(
                    f"the lock file cannot be opened: {trouble_of(error)}",
                    where=str(self.path),
                    fix="make its folder writable for this user",
                ) from error
            try:
                files.lock(descriptor)
            except OSError:
                os.close(descriptor)
                return False
            self._descriptor = descriptor
            _held.add(self)
            return True

    def wait(self, waiting: Callable[[], None] | None = None, timeout_s: float | None = None) -> bool:
        """Take the lock, waiting until it is free; False when it was not within `timeout_s`.

        `waiting` is called before each pause and may raise to give up.

        Raises:
            LedgerError: the lock file cannot be made.
        """
        deadline_s = None if timeout_s is None else time.monotonic() + timeout_s
        pause_s = 0.001
        while not self.try_acquire():
            if deadline_s is not None and time.monotonic() >= deadline_s:
                return False
            if waiting is not None:
                waiting()
            time.sleep(pause_s)
            pause_s = min(pause_s * 2, _LONGEST_PAUSE_S)
        return True

    def release(self) -> None:
        """Let go; does nothing when it is not held."""
        if self._descriptor is None:
            return
        with InterruptsHeld():
            with _gate:
                descriptor, self._descriptor = self._descriptor, None
                _held.discard(self)
            if descriptor is not None:
                # Unlocked by name, not just closed: a child forked this instant may not have closed its copy yet.
                with suppress(OSError):
                    files.unlock(descriptor)
                os.close(descriptor)

    def _open(self) -> int:
        try:
            return private.open_file(self.path, os.O_RDWR | os.O_CREAT)
        except FileNotFoundError:
            private.make_folder(self.path.parent)
            return private.open_file(self.path, os.O_RDWR | os.O_CREAT)


class Holding(SafeAcquire[None]):
    """Holds `lock`, which `acquire` takes, inside a `with`.

    Example:
        >>> import tempfile
        >>> lock = OsLock(Path(tempfile.mkdtemp()) / "a.lock")
        >>> with Holding(lock, lock.wait):
        ...     lock.is_held
        True
        >>> lock.is_held
        False
    """

    def __init__(self, lock: OsLock, acquire: Callable[[], object]) -> None:
        self._lock = lock
        self._acquire = acquire

    def take(self) -> None:
        """Take the lock."""
        self._acquire()

    def let_go(self) -> None:
        """Release the lock."""
        self._lock.release()


class RunnerLock(OsLock):
    """Held for the life of one recorder of runs; whoever finds it free knows that the recorder is gone."""

    def __init__(self, folder: Path, runner_id: str) -> None:
        super().__init__(folder / f"{runner_id}.lock")

    def release(self) -> None:
        """Let go and remove the file; a runner's id is never used again."""
        was_held = self.is_held
        super().release()
        if was_held:
            self.remove()

    def remove(self) -> None:
        """Remove the file of a runner that is gone."""
        nofollow.remove_tree(self.path.parent.parent, self.path)


def is_runner_gone(folder: Path, runner_id: str) -> bool:
    """Whether nobody holds the runner's lock any more. A missing file counts as gone; one that cannot be opened does not.

    Any number of processes may ask at once.
    """
    return _is_free(RunnerLock(folder, runner_id).path)


def _is_free(path: Path) -> bool:
    with InterruptsHeld(), _gate:  # a child forked now would keep the descriptor
        try:
            descriptor = private.open_file(path, os.O_RDWR)
        except FileNotFoundError:
            return True
        except OSError:
            return not path.exists()
        try:
            files.lock_shared(descriptor)
        except OSError:
            return False
        else:
            files.unlock(descriptor)
            return True
        finally:
            os.close(descriptor)


@lru_cache(maxsize=256)
def _paths_of_group(folder: Path, group: str) -> tuple[Path, Path]:
    # Hashed, because a group's name may hold what a file's name cannot.
    digest = hashlib.sha256(group.encode("utf-8", "surrogatepass")).hexdigest()[:24]
    return folder / f"group-{digest}.lock", folder / f"group-{digest}.asked"


class GroupLock(OsLock, SafeAcquire["GroupLock"]):
    """Held while a flow of `group` runs, by one thread of one process of this machine at a time.

    Example:
        >>> import tempfile
        >>> folder = Path(tempfile.mkdtemp())
        >>> with GroupLock(folder, "Claims"):
        ...     GroupLock(folder, "Claims").try_acquire(), GroupLock(folder, "Other").is_held
        (False, False)
    """

    def __init__(self, folder: Path, group: str) -> None:
        lock, request = _paths_of_group(folder, group)
        super().__init__(lock)
        self.group = group
        self._asking = OsLock(request)

    def ask_first(self) -> None:
        """Go first: no run that is only due begins in the group until this has had the lock, or has let go.

        For runs that a person waits for; of several one goes first, the others wait a little longer.
        """
        self._asking.try_acquire()

    @property
    def gives_way(self) -> bool:
        """Whether another run, which a person asked for, goes first in the group."""
        return not self._asking.is_held and os.access(self._asking.path, os.F_OK) and not _is_free(self._asking.path)

    def try_acquire(self) -> bool:
        """Take the lock if it is free and nobody goes first; whether this object holds it now."""
        if self.gives_way or not super().try_acquire():
            return False
        self._asking.release()
        return True

    def release(self) -> None:
        """Let go, also of having asked first; does nothing when neither was done."""
        self._asking.release()
        super().release()

    def acquire(self, waiting: Callable[[], None] | None = None, timeout_s: float | None = None) -> None:
        """Take the lock, waiting until it is free; `waiting` is called before each pause and may raise to give up.

        Raises:
            GroupBusyError: it was not free within `timeout_s`.
            LedgerError: the lock file cannot be made.
        """
        if not self.wait(waiting, timeout_s):
            raise GroupBusyError(
                f'group "{self.group}" is still running after {timeout_s:g} s',
                where=f'group "{self.group}"',
                fix="wait for its run to end, or stop it",
            )

    def take(self) -> GroupLock:
        """Take the lock, for a `with`."""
        self.acquire()
        return self

    def let_go(self) -> None:
        """Let go, at the end of a `with`."""
        self.release()


_gate = threading.Lock()
_held: weakref.WeakSet[OsLock] = weakref.WeakSet()


def _let_go_in_child() -> None:
    # Closing a child's copy leaves the parent's lock alone; keeping it would hold the lock after the parent's death.
    for lock in list(_held):
        descriptor, lock._descriptor = lock._descriptor, None
        if descriptor is not None:
            with suppress(OSError):
                os.close(descriptor)
    _held.clear()
    _gate.release()


at_fork(before=_gate.acquire, in_parent=_gate.release, in_child=_let_go_in_child)
