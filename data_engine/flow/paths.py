"""Resolves a path in `source=` or `root=`, and gives it the text that all workstations agree on.

Relative means: relative to the authored `flow_modules` folder whenever the code belongs to a flow module (loaded, run as
a script, or run in the kernel of a notebook that lives there), otherwise relative to the working directory.
"""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path

from data_engine import files
from data_engine.errors import FlowValidationError
from data_engine.platforms.names import compared, real_path, why_foreign, why_refused, why_too_long
from data_engine.record import frozen
from data_engine.workspace.layout import authored_folder

_ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:/{1,2}(?=[^/])|file:/+")
_module_folder: ContextVar[Path | None] = ContextVar("module_folder", default=None)


@frozen
class AuthoredPath:
    """A path as the author wrote it (`text`: forward slashes, NFC, no trailing slash) and where it is here (`path`)."""

    text: str
    path: Path

    def __str__(self) -> str:
        return str(self.path)


@contextmanager
def module_folder(folder: Path) -> Iterator[None]:
    """A context in which relative paths start at `folder`: a flow module is being imported or its `build()` runs."""
    token = _module_folder.set(folder)
    try:
        yield
    finally:
        _module_folder.reset(token)


def loading_module_folder() -> Path | None:
    """The `flow_modules` folder whose module is being imported or built right now, else None."""
    return _module_folder.get()


def base_folder() -> Path:
    """The folder relative paths are relative to at this moment."""
    return _module_folder.get() or authored_folder() or Path.cwd()


def author_path(value: object, *, where: str) -> AuthoredPath:
    """`value` as written and resolved (`~` expanded, links followed); it need not exist.

    Raises:
        FlowValidationError: not a text or path, blank, with a NUL byte in it, an address, a pattern that is not the name of a folder
            here, or a path of another system; names `where`.

    Example:
        >>> with module_folder(Path("/ws/flow_modules")):
        ...     author_path("../in//", where="example")
        AuthoredPath(text='../in', path=PosixPath('/ws/in'))
    """
    if not isinstance(value, (str, os.PathLike)) or not isinstance(raw := os.fspath(value), str):
        raise FlowValidationError(
            f"a path cannot be {type(value).__name__} {value!r}", where=where, fix="give a text or a pathlib.Path"
        )
    if not raw.strip() or "\0" in raw:
        raise FlowValidationError(f"the path {raw!r} is blank or impossible", where=where, fix="name a file or folder")
    if (address := _ADDRESS.match(raw)) is not None:
        raise FlowValidationError(
            f"{raw} is an address, not a folder or file",
            where=where,
            fix=f"name a folder that this machine sees, and let a step fetch from {address[0]}... itself",
        )
    if (foreign := why_foreign(raw)) is not None:
        raise FlowValidationError(
            f"{raw} is {foreign}, and cannot exist on this machine",
            where=where,
            fix="name the folder as this machine sees it, where its drive is mounted; or by its path from flow_modules, such as ../in,"
            " which is the same on every machine",
        )
    try:
        path = Path(raw).expanduser()
        resolved = files.resolve(path if path.is_absolute() else base_folder() / path)
    except (RuntimeError, OSError, UnicodeError) as error:
        raise FlowValidationError(
            f"the path {raw!r} cannot be resolved: {error}", where=where, fix="check the spelling and the links in it"
        ) from error
    if "*" in raw and not os.path.lexists(resolved):
        raise FlowValidationError(
            f"{raw} is a pattern, not a folder or file",
            where=where,
            fix=_without_pattern(raw, is_watched="watch" in where),
        )
    return AuthoredPath(portable_text(raw), resolved)


def _without_pattern(raw: str, *, is_watched: bool) -> str:
    """The fix that replaces a pattern."""
    folder = portable_text(raw).partition("*")[0].rpartition("/")[0]
    give = f'give "{folder}"' if folder else "name the folder"
    suffix = Path(raw).suffix
    return (
        f'{give}, and choose its files with extensions="{suffix}"'
        if is_watched and suffix and "*" not in suffix
        else give
    )


def portable_text(path: str | os.PathLike[str]) -> str:
    """The text all workstations agree on: forward slashes, NFC, no doubled or trailing slash.

    Example:
        >>> portable_text("..\\\\in\\\\a.csv"), portable_text("in//x/"), portable_text("/")
        ('../in/a.csv', 'in/x', '/')
    """
    text = os.fspath(path).replace("\\", "/")
    if not text.isascii():
        import unicodedata

        text = unicodedata.normalize("NFC", text)
    lead = "//" if text.startswith("//") else "/" if text.startswith("/") else ""
    return (lead + "/".join(part for part in text.split("/") if part not in ("", "."))) or "."


def inside(root: Path, name: object, *, where: str, start: Path | None = None) -> Path:
    """`start/name` (`start` is `root` when not given), refused when `name` is absolute, blank, or leaves `root`.

    `..` may climb from `start` up to `root`, never out of it, and neither may a link.

    Raises:
        FlowValidationError: names `where`, the name and the root.
    """
    if not isinstance(name, (str, os.PathLike)) or not isinstance(text := os.fspath(name), str):
        raise FlowValidationError(
            f"a file name cannot be {type(name).__name__} {name!r}", where=where, fix="give a relative file name"
        )
    if not text.strip() or "\0" in text:
        raise FlowValidationError("the file name must be non-empty", where=where, fix="give a relative file name")
    if os.path.isabs(text) or text.startswith(("/", "\\")) or Path(text).drive:
        raise FlowValidationError(
            f"the name must be relative, not {text!r}", where=where, fix=f"give a name inside {root}"
        )
    if (wrong := why_refused(text)) is not None:
        raise _no_file(text, where, wrong)
    target = os.path.normpath(os.path.join(start or root, text))
    base = os.path.normpath(root)
    if target in (base, os.path.normpath(start or root)) or not _is_under(target, base) or _leads_out(target, base):
        raise FlowValidationError(
            f"the name {text!r} does not name a file inside its folder", where=where, fix=f"stay inside {root}"
        )
    if (wrong := why_too_long(target)) is not None:
        raise _no_file(text, where, wrong)
    return Path(target)


def _no_file(text: str, where: str, wrong: tuple[str, str]) -> FlowValidationError:
    return FlowValidationError(f"the name {text!r} cannot be a file here: {wrong[0]}", where=where, fix=wrong[1])


def make_folder(folder: Path, *, workspace: Path | None) -> None:
    """Make `folder` and its missing parents, but never the workspace: a missing one was deleted, or is on a share that is away,
    and nothing may be written in its place.

    Raises:
        OSError: the folder cannot be made.
    """
    try:
        folder.mkdir(exist_ok=True)
    except FileNotFoundError:
        if workspace is not None and folder.is_relative_to(workspace) and not workspace.is_dir():
            raise FileNotFoundError(errno.ENOENT, f"the workspace {workspace} is gone") from None
        folder.mkdir(parents=True, exist_ok=True)


def _leads_out(target: str, base: str) -> bool:
    try:
        return not _is_under(real_path(target), real_path(base))
    except (OSError, UnicodeError):  # a name this machine cannot have
        return True


def _is_under(target: str, base: str) -> bool:
    target, base = compared(target), compared(base)
    return target == base or target.startswith(base.rstrip(os.sep) + os.sep)
