"""The format of DuckDB databases: new ones get a format that every workstation can open; a file that is too new is reported."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from pathlib import Path

from data_engine.user_files import head_of

OLDEST = "v1.5.0"
"""The oldest DuckDB that `pyproject.toml` allows; new databases have its format, unless a workspace sets another."""

_OPTION = "storage_compatibility_version"
_RELEASES = ((69, "2.0"), (68, "1.5"), (67, "1.4"), (66, "1.3"), (65, "1.2"), (64, "1.0"))
"""The number in a file, and the first release that writes it. Reference: https://duckdb.org/docs/stable/internals/storage"""

_MOST_FILES = 100
_ATTACH = r"(?i)\battach\s+(?:or\s+replace\s+)?(?:database\s+)?(?:if\s+not\s+exists\s+)?'((?:[^']|'')+)'(?:\s+as\s+[^\s(;]+)?\s*(\([^)]*\))?"
_OTHERWISE = r"\btype\b(?!\s+'?duckdb)|storage_version|read_only|encryption"
_SCHEME = r"(?i):|[a-z][a-z0-9+]+:"

_wanted: ContextVar[tuple[str, str] | None] = ContextVar("storage_version", default=None)


def lead_below(folder: Path) -> str:
    """The beginning of each real path in this folder, for `new_databases`."""
    return os.path.join(os.path.realpath(folder), "")


@contextmanager
def new_databases(version: str, lead: str) -> Iterator[None]:
    """Inside, new databases below a folder (its `lead_below`) have the format of this DuckDB version; map threads inherit that."""
    token = _wanted.set((version, lead))
    try:
        yield
    finally:
        _wanted.reset(token)


def new_databases_here() -> tuple[str, str] | None:
    """The arguments of `new_databases` in this context; None outside."""
    return _wanted.get()


def wanted_version() -> str:
    """The format of new databases in this context."""
    choice = _wanted.get()
    return OLDEST if choice is None else choice[0]


def make_missing(path: str) -> None:
    """Make a database that is about to be connected to, if it is below the folder of `new_databases` and missing.

    A later connection, with whatever options, keeps its format. Where it cannot be made, that connection fails with the reason.
    """
    choice = _wanted.get()
    if choice is not None and os.path.realpath(path).startswith(choice[1]):
        make_database(path, choice[0])


def make_attached(sql: str) -> None:
    """The same as `make_missing` for the databases that the ATTACH statements of a text would make."""
    for path in attached_files(sql) if _wanted.get() is not None else ():
        make_missing(path)


def attached_files(sql: str) -> list[str]:
    """The DuckDB files that a text attaches, without those whose format or kind it names itself.

    Example:
        >>> attached_files("ATTACH IF NOT EXISTS 'a.duckdb' AS a; attach 'b' (read_only)")
        ['a.duckdb']
        >>> attached_files("ATTACH 'dbname=x' AS p (TYPE postgres); ATTACH 'md:x'; ATTACH ':memory:' AS m")
        []
    """
    files = [(path.replace("''", "'"), options.lower()) for path, options in re.findall(_ATTACH, sql)]
    return [path for path, options in files if not re.search(_OTHERWISE, options) and not re.match(_SCHEME, path)]


def make_database(path: str, version: str) -> None:
    """Make an empty database of that format, unless a file is there or this machine's DuckDB does not know the format."""
    import duckdb

    if not os.path.lexists(path) and os.path.isdir(os.path.dirname(os.path.abspath(path))):
        with suppress(duckdb.Error):
            duckdb.connect(path, config={_OPTION: version}).close()


def is_made_here(config: object) -> bool:
    """Whether the options of a connection name the format."""
    return isinstance(config, dict) and _OPTION in config


def number_of(path: str | os.PathLike[str]) -> int | None:
    """The number of a database's format, from its bytes 12 to 20; None for any other file.

    Example:
        >>> import tempfile
        >>> path = tempfile.mkdtemp() + "/mart.duckdb"
        >>> make_database(path, "v1.5.0")
        >>> number_of(path)
        68
    """
    with suppress(OSError):
        head = head_of(Path(path), 20)
        return int.from_bytes(head[12:20], "little") if head[8:12] == b"DUCK" else None
    return None


def too_new(folder: Path) -> tuple[str, ...]:
    """A sentence for each database in the folder that the DuckDB of this machine cannot read, of the first hundred files; none where that one is
    newer than all that are known here.

    Example:
        >>> import tempfile
        >>> folder = Path(tempfile.mkdtemp())
        >>> _ = (folder / "mart.duckdb").write_bytes(bytes(8) + b"DUCK" + (999).to_bytes(8, "little"))
        >>> too_new(folder)[0].partition(", and")[0]
        'mart.duckdb was made by a newer DuckDB'
    """
    from importlib.metadata import version

    here = version("duckdb")
    own = _parts(here)
    if own > _parts(_RELEASES[0][1]):
        return ()
    reads = max((number for number, release in _RELEASES if _parts(release) <= own), default=0)
    with suppress(OSError):
        paths = sorted(path for path in folder.iterdir() if path.is_file())[:_MOST_FILES]
        return tuple(
            f"{path.name} was made by a newer DuckDB, and the one of this machine, {here}, cannot read it: pip install -U duckdb"
            for path in paths
            if (number_of(path) or 0) > reads
        )
    return ()


def _parts(release: str) -> tuple[int, ...]:
    return tuple(map(int, re.findall(r"\d+", release)[:2]))


def fix_of_newer(message: str, file: str = "it") -> str | None:
    """The fix for DuckDB's refusal of a `file` from a newer version, with both versions; None for any other message.

    Example:
        >>> fix = fix_of_newer("storage version number 69, but we can only read storage versions between 64 and 68.", "mart.duckdb")
        >>> fix.partition(": ")[0]
        'mart.duckdb was made by DuckDB 2.0 or newer, and the one here reads what 1.5 and older made'
        >>> fix_of_newer("version number 90, but we can only read version 69").partition(", and")[0]
        'it was made by a DuckDB newer than 2.0'
    """
    match = re.search(
        r"version number (\d+), but we can only read (?:storage )?versions? (?:between \d+ and )?(\d+)", message
    )
    if match is None:
        return None
    writer, reader = _release(int(match[1])), _release(int(match[2]))
    made = (
        f"DuckDB {writer} or newer" if writer != reader else f"a DuckDB newer than {reader}"
    )  # which nobody knows here
    return (
        f"{file} was made by {made}, and the one here reads what {reader} and older made: install the newer one here,"
        " `pip install -U duckdb`; or, on the workstation that made it, copy it into a file that all read:"
        f" ATTACH 'new.duckdb' AS new (STORAGE_VERSION '{OLDEST}'), then COPY FROM DATABASE. What runs make has that format by itself"
    )


def _release(number: int) -> str:
    return next((release for oldest, release in _RELEASES if number >= oldest), "1.0")
