"""Write files that another process may read: atomic replace, exclusive create, durable writes, bounded retries.

Reference: POSIX rename(2) replaces its target atomically; on Windows `os.replace` fails with WinError 5, 32 or 33
while anything has the target open, on an SMB mount of Linux with EBUSY, so it is tried again for a bounded time.
"""

from __future__ import annotations

import errno
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from data_engine.platforms.files import is_open_elsewhere, who_holds
from data_engine.platforms.names import real_path

_RETRY_DELAYS_S = (0.02, 0.05, 0.1, 0.2, 0.4)
_PLAIN = 0o666
"""The mode of a plain `open`, before the umask."""


def resolve(path: Path) -> Path:
    """`path`, absolute, with its links followed; it need not exist.

    Raises:
        OSError: its links lead in a circle.
    """
    resolved = Path(real_path(path))
    try:
        os.stat(resolved)
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise
    return resolved


@contextmanager
def atomic_target(
    target: Path, *, durable: bool = True, mode: int = _PLAIN, fresh: Path | None = None
) -> Iterator[Path]:
    """A fresh path beside `target` to write to; on a clean exit it replaces `target`, on any error `target` stays.

    The file gets the mode of a plain `open`, so colleagues on a shared folder can read it; with another `mode` it is made
    first, empty, with that one. The name begins with a dot and ends in `.tmp`, which watching and collecting skip. A link
    at `target` is replaced, never followed.

    Raises:
        OSError: the folder cannot be written or the disk is full; nothing is left behind.

    Example:
        >>> import tempfile
        >>> folder = Path(tempfile.mkdtemp())
        >>> with atomic_target(folder / "a.txt") as fresh:
        ...     _ = fresh.write_text("whole")
        >>> (folder / "a.txt").read_text(), sorted(p.name for p in folder.iterdir())
        ('whole', ['a.txt'])
    """
    fresh = fresh or fresh_name(target)
    try:
        if mode != _PLAIN:
            os.close(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode))
        yield fresh
        if durable:
            sync_file(fresh)
        replace_file(fresh, target)
    except BaseException:
        with suppress(OSError):
            fresh.unlink()
        raise
    if durable:
        sync_folder(target.parent)


def fresh_name(target: Path) -> Path:
    """A name beside `target` that nobody has, for `atomic_target`.

    Example:
        >>> fresh_name(Path("out/a.txt")).match("out/.a.txt.*.tmp")
        True
    """
    return target.with_name(f".{target.name}.{os.urandom(6).hex()}.tmp")


def write_text_atomic(target: Path, text: str, *, durable: bool = True, mode: int = _PLAIN) -> None:
    """Replace `target` by `text` (UTF-8, line ends as given), or leave it as it was."""
    with atomic_target(target, durable=durable, mode=mode) as fresh:
        fresh.write_text(text, encoding="utf-8", newline="")


def write_bytes_atomic(target: Path, data: bytes, *, durable: bool = True, mode: int = _PLAIN) -> None:
    """Replace `target` by `data`, or leave it as it was."""
    with atomic_target(target, durable=durable, mode=mode) as fresh:
        fresh.write_bytes(data)


def create_exclusive(target: Path, text: str, *, mode: int = _PLAIN) -> bool:
    """Create `target` with `text` unless it exists; whether it was created. What exists is never touched.

    The content is complete whenever the name is visible on file systems with hard links; elsewhere the name comes
    first (O_EXCL) and the content an instant later.
    """
    fresh = fresh_name(target)
    try:
        _write_new(fresh, text, mode)
        try:
            os.link(fresh, target)
        except FileExistsError:
            raise
        except OSError:  # this drive has no hard links
            _write_new(target, text, mode)
    except FileExistsError:
        return False
    finally:
        with suppress(OSError):
            fresh.unlink()
    return True


def _write_new(path: Path, text: str, mode: int) -> None:
    """Write a file that must not exist, and keep it through a power cut; it is gone again where that fails."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8", newline="") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
    except BaseException:
        with suppress(OSError):
            path.unlink()
        raise


def replace_file(fresh: Path, target: Path, *, before: Callable[[], None] = lambda: None) -> None:
    """`os.replace`, tried again for up to 0.8 s while a reader on Windows or on SMB has the target open.

    `before` is called before each try, and may raise to give up.

    Raises:
        OSError: it cannot be replaced; says whether somebody still has it open, and who, where known.
    """

    def replace() -> None:
        before()
        os.replace(fresh, target)

    try:
        _try_again(replace)
    except OSError as error:
        if not is_open_elsewhere(error):
            raise
        holder = who_holds(target)
        what = f"{holder} has it open" if holder else "another program has it open, or it may not be replaced"
        what = f"{what} ({error.strerror})"
        raise OSError(error.errno, what, str(target), getattr(error, "winerror", None)) from error


def rename_folder(fresh: Path, target: Path) -> None:
    """`os.rename`, tried again for up to 0.8 s: Windows renames no folder in which any program, such as a virus scanner, has a
    file open.

    Raises:
        OSError: it cannot be renamed, for example onto another folder.
    """
    _try_again(lambda: os.rename(fresh, target))


def _try_again(change: Callable[[], None]) -> None:
    """Make the change; try again for up to 0.8 s while somebody has the file open."""
    for delay_s in _RETRY_DELAYS_S:
        try:
            change()
        except OSError as error:
            if not is_open_elsewhere(error):
                raise
            time.sleep(delay_s)
        else:
            return
    change()


def sync_file(path: Path) -> None:
    """Ask the drive to keep the file's content through a power cut."""
    descriptor = os.open(path, os.O_RDWR)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_folder(folder: Path) -> None:
    """Ask the drive to keep the folder's names; does nothing where folders cannot be synced (Windows, some mounts)."""
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except OSError:
        return
    try:
        with suppress(OSError):
            os.fsync(descriptor)
    finally:
        os.close(descriptor)


def is_full(error: Exception) -> bool:
    """Whether the error says that the disk is full.

    Example:
        >>> is_full(OSError(errno.ENOSPC, "No space left on device")), is_full(ValueError())
        (True, False)
    """
    return isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)


def trouble_of(error: Exception) -> str:
    """The reason of an error, in words a person can act on.

    Example:
        >>> trouble_of(OSError(errno.ENOSPC, "No space left on device")), trouble_of(PermissionError(13, "Permission denied"))
        ('the disk is full', 'Permission denied')
    """
    if not isinstance(error, OSError):
        return str(error)
    return "the disk is full" if is_full(error) else error.strerror or str(error)


def identity_of(path: str | Path) -> tuple[int, int, int] | None:
    """Size, modification time and inode number of the file, which differ for another file in its place; None when it is gone, or no
    file can have that name."""
    try:
        facts = os.stat(path)
    except (OSError, ValueError):
        return None
    return facts.st_size, facts.st_mtime_ns, facts.st_ino


def files_below(folder: Path) -> Iterator[Path]:
    """Every file below a folder, in sort order of each; links to folders are not followed."""
    for parent, folders, names in os.walk(folder):
        folders.sort()
        for name in sorted(names):
            yield Path(parent, name)


PATIENCE_S = 1.0
MOST_STUCK = 4
_stuck: list[threading.Thread] = []


def file_exists(path: str, look: Callable[[str], bool] = os.path.exists) -> bool | None:
    """Whether the file exists; None when its drive does not answer within a second, or too many others still wait for an answer.

    Example:
        >>> file_exists(os.curdir), file_exists("no such file")
        (True, False)
    """
    _stuck[:] = [thread for thread in _stuck if thread.is_alive()]
    if len(_stuck) >= MOST_STUCK:
        return None
    answers: list[bool] = []
    thread = threading.Thread(target=lambda: answers.append(look(path)), name="data-engine-look", daemon=True)
    thread.start()
    thread.join(PATIENCE_S)
    if not answers:
        _stuck.append(thread)
    return answers[0] if answers else None
