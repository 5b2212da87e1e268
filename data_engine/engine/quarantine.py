"""The rejected rows of a workspace: `rejected/<flow>/<path inside the source>.parquet` holds those of the source's last good run.

A folder whose name ends in `.parquet` gets a `~` there, so that it cannot be in the way of a file; of a name that is too long for a file
the beginning stands, and a hash of the whole.

A run's rows are there before its outputs take their place, and what has no rejected rows any more is removed after: killed in between,
a run leaves no output whose rejected rows are missing, and is done again. Each file takes its place by one rename, and says in its
footer what it holds, which is read without a library.

Reference: https://github.com/apache/parquet-format, FileMetaData and `key_value_metadata`, the last of its fields but the writer's name.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import field
from pathlib import Path
from typing import Any, ClassVar

from data_engine.engine.access.access_log import not_logged
from data_engine.engine.candidates import Source
from data_engine.errors import FlowValidationError
from data_engine.files import atomic_target, rename_folder, trouble_of
from data_engine.flow.check import Check
from data_engine.flow.flow import Flow
from data_engine.flow.rules import CheckResult
from data_engine.nofollow import inside, opened, opened_file, walk
from data_engine.platforms.files import read_at
from data_engine.record import Record, frozen

FOLDER = "rejected"
_MARK = b"data_engine.rejected"
_TAIL_BYTES = 8
_LONGEST_SHEET = 31
_LONGEST_NAME = 255 - len(".parquet") - len("..0123456789ab.tmp")
_LONGEST_CELL = 32_767
_MOST_FOOTER_BYTES = 16 * 1024**2


@frozen
class RejectedRows(Record):
    """The rejected rows of one source of a flow: how many, and how many of them break each rule.

    `source` is its path inside the source folder, None of a run for all; `path` the file that holds the rows.
    """

    sparse: ClassVar = ("run_id", "path")

    flow: str
    source: str | None
    rows: int
    rules: Mapping[str, int] = field(default_factory=dict)
    run_id: str = ""
    path: str = ""


class Quarantine:
    """The place of the rejected rows of one run."""

    def __init__(self, root: Path, flow: str, source: Source, run_id: str) -> None:
        self._root, self._run_id = root, run_id
        self._source = None if source.path is None else (source.key and source.key.path) or source.path.name
        *inner, name = (self._source or "all").split("/")
        self._folders = (FOLDER, flow, *map(_folder_name, inner))
        self._name = f"{_short(name)}.parquet"

    def keep(self, checked: Sequence[CheckResult]) -> None:
        """Replace the last rejected rows by those of these checks; without any the last ones stay.

        Raises:
            FlowValidationError: they cannot be written.
        """
        checks = [check for check in checked if check.frame is not None and check.rejected]
        if not checks:
            return
        try:
            with not_logged(), opened(self._root) as root, inside(root, self._folders, make=True) as folder:
                with suppress(FileExistsError), (self._root / FOLDER / ".gitignore").open("x") as file:
                    file.write("*\n")
                for left in folder.names():  # of a run that died
                    if left.startswith(f".{self._name}.") and left.endswith(".tmp"):
                        os.unlink(folder.at(left), dir_fd=folder.descriptor)
                with atomic_target(folder.path / self._name) as fresh:
                    self._write(checks, fresh)
        except Exception as error:
            from polars.exceptions import PolarsError

            if not isinstance(error, (OSError, PolarsError)):
                raise
            path = self._root.joinpath(*self._folders, self._name)
            raise FlowValidationError(
                f"the rejected rows cannot be written: {_trouble_of(error)}",
                where=str(path),
                fix="check that the workspace can be written and has room, and run it again: nothing was published, and the rows "
                "of the last good run are still there",
            ) from error

    def forget(self, *, but_of: str | None = None) -> None:
        """Remove what an earlier run has left there, unless that is the run `but_of`."""
        with suppress(OSError), opened(self._root) as root, inside(root, self._folders) as folder:
            with opened_file(folder, self._name) as descriptor:
                footer = _footer_of(descriptor)
            if footer.get("run") not in (self._run_id, but_of):
                os.unlink(folder.at(self._name), dir_fd=folder.descriptor)

    def _write(self, checks: Sequence[CheckResult], fresh: Path) -> None:
        import polars as pl

        frames = [check.frame.with_columns(_check=pl.lit(check.label)) for check in checks]
        whole = _together(frames)
        ours = ("_row", "_rules", "_check")
        rules = Counter(rule for broken in whole["_rules"] for rule in broken)
        footer = {"run": self._run_id, "source": self._source, "rows": whole.height, "rules": rules}
        whole.select(
            pl.exclude(ours), *ours, _run=pl.lit(self._run_id), _source=pl.lit(self._source, pl.String)
        ).write_parquet(fresh, metadata={_MARK.decode(): json.dumps(footer)})


def _trouble_of(error: Exception) -> str:
    """The reason in words; Polars names the system's only in its text."""
    found = re.search(r"\(os error (\d+)\)", str(error))
    return trouble_of(OSError(int(found[1]), os.strerror(int(found[1]))) if found else error)


def _folder_name(name: str) -> str:
    return f"{name}~" if name.rstrip("~").lower().endswith(".parquet") else name


def _short(name: str) -> str:
    """The name of a source's file, of which a long one gives way to a hash: `.parquet` and the name of an unfinished file need room."""
    data = os.fsencode(name)
    if len(data) <= _LONGEST_NAME:
        return name
    digest = hashlib.sha256(data).hexdigest()[:16]
    return f"{data[: _LONGEST_NAME - len(digest) - 1].decode(errors='ignore')}~{digest}"


def quarantine_of(root: Path, flow: Flow) -> Path | None:
    """`root`, where runs of the flow may reject rows, or have done so; else None."""
    return root if puts_apart(flow) or os.path.isdir(rejected_folder(root, flow.name or "")) else None


def puts_apart(flow: Flow) -> bool:
    """Whether a check of the flow keeps apart the rows that it rejects."""
    return any(isinstance(step.fn, Check) and step.fn.on_fail == "quarantine" for step in flow.steps)


def rejected_rows(root: Path, flow: str | None = None) -> list[RejectedRows]:
    """The rejected rows of the workspace at `root`, of one flow or of all."""
    rows = []
    with suppress(FileNotFoundError, NotADirectoryError), opened(root, Path(FOLDER, flow or "")) as place:
        for file in walk(place):
            names = (*((flow,) if flow else ()), *file.folder, file.name)
            is_kept = len(names) > 1 and not names[0].startswith(".")  # what was moved aside lies in a hidden folder
            if not is_kept or not file.is_regular or not file.name.endswith(".parquet"):
                continue
            footer: Mapping[str, Any] = {}
            with suppress(OSError), inside(place, file.folder) as folder, opened_file(folder, file.name) as descriptor:
                footer = _footer_of(descriptor)
            if footer:
                facts = footer["source"], footer["rows"], footer.get("rules", {}), footer["run"]
                rows.append(RejectedRows(names[0], *facts, str(root.joinpath(FOLDER, *names))))
    return rows


def rejected_folder(root: Path, flow: str) -> Path:
    """The folder of the rejected rows of a flow."""
    return root / FOLDER / flow


def follow_rename(root: Path, old: str, new: str) -> None:
    """Move the rejected rows of a flow to the name that its notebook has now; where that has some of its own, both stay."""
    with suppress(OSError):
        rename_folder(rejected_folder(root, old), rejected_folder(root, new))


def check_workbook_name(path: str | os.PathLike[str]) -> None:
    """Refuse a file that is no workbook, and one that is there: somebody may have written into it.

    Raises:
        FlowValidationError: its name does not end in `.xlsx`, it exists, or its folder does not.
    """
    if Path(path).suffix.lower() != ".xlsx":
        near = Path(path).with_suffix(".xlsx") if Path(path).name else "rejected.xlsx"
        what = f"{os.fspath(path)!r} is no name of a workbook"
        raise FlowValidationError(what, where="--excel", fix=f"name a file that ends in .xlsx, such as {near}")
    if os.path.lexists(path):
        what = f"{os.fspath(path)!r} is there, and is not overwritten"
        raise FlowValidationError(what, where="--excel", fix="name another file, or remove that one")
    if not Path(path).absolute().parent.is_dir():
        what = f"there is no folder {str(Path(path).parent)!r}"
        raise FlowValidationError(what, where="--excel", fix="make it, or name another file")


def write_workbook(rows: Sequence[RejectedRows], path: str | os.PathLike[str]) -> Path:
    """The absolute path of the workbook, after the rows of each flow were written to a sheet of its name there.

    What does not fit a cell is told in it, a list stands there as text, and names that Excel takes for one get a number.

    Raises:
        FlowValidationError: as of `check_workbook_name`, it cannot be written, or more rows than a sheet holds.
    """
    import polars as pl

    from data_engine.helpers.excel import misfit, write_sheets

    check_workbook_name(path)

    sheets: dict[str, Any] = {}
    for flow in dict.fromkeys(entry.flow for entry in rows):
        whole = _together([pl.read_parquet(entry.path, glob=False) for entry in rows if entry.flow == flow])
        whole = whole.with_columns(pl.col("_rules").list.join(", "))
        name = re.sub(r"[\[\]:*?/\\']", "_", flow)[:_LONGEST_SHEET]
        while name.lower() in map(str.lower, sheets):
            name = f"{name[: _LONGEST_SHEET - 3]}_{len(sheets) + 1}"
        sheets[name] = _for_excel(
            whole, {column.name for column in whole if misfit(column) or column.dtype.is_nested()}
        )
    return write_sheets(sheets, path)


def _for_excel(frame: Any, misfits: set[str]) -> Any:
    """The frame, of which these columns become texts that fit a cell, and columns of one name for Excel get a number."""
    import polars as pl

    def cell(value: object) -> str | None:
        if isinstance(value, bytes):
            return f"({len(value):,} bytes)"
        text = None if value is None else str(value)
        told = f"... ({len(text):,} characters)" if text else ""
        return text if text is None or len(text) <= _LONGEST_CELL else text[: _LONGEST_CELL - len(told)] + told

    def columns() -> Iterator[Any]:
        taken: set[str] = set()
        for column in frame:
            name, number = column.name or "column", 1
            while name.casefold() in taken:
                number += 1
                name = f"{column.name or 'column'} {number}"
            taken.add(name.casefold())
            if column.name in misfits:
                is_plain = column.dtype.is_nested() or column.dtype in (pl.Object, pl.Binary)
                values = column if is_plain else column.cast(pl.String)
                column = pl.Series(name, [cell(value) for value in values.to_list()], pl.String)
            yield column.alias(name)

    return pl.DataFrame(list(columns()))


def _footer_of(descriptor: int) -> Mapping[str, Any]:
    """The footer of a file of rejected rows; {} of any other file."""
    size = os.fstat(descriptor).st_size
    tail = read_at(descriptor, _TAIL_BYTES, max(0, size - _TAIL_BYTES))
    length = int.from_bytes(tail[:4], "little")
    if tail[4:] != b"PAR1" or not 0 < length <= min(size, _MOST_FOOTER_BYTES):
        return {}
    marked = read_at(descriptor, length, size - _TAIL_BYTES - length).rpartition(_MARK)[2]
    with suppress(ValueError, UnicodeDecodeError):
        text = marked[marked.index(b'{"run"') :].decode("ascii", errors="replace")
        footer: Any = json.JSONDecoder().raw_decode(text)[0]
        is_ours = isinstance(footer.get("rows"), int) and isinstance(footer.get("run"), str) and "source" in footer
        return footer if is_ours else {}
    return {}


def _together(frames: Sequence[Any]) -> Any:
    """All rows as one frame: a column that some lack is null there, and one of several types, or of Python objects, is text."""
    import polars as pl

    kinds: dict[str, set[Any]] = {}
    for frame in frames:
        for name, kind in frame.schema.items():
            kinds.setdefault(name, set()).add(kind)
    mixed = {name for name, several in kinds.items() if len(several) > 1 or any(kind.is_object() for kind in several)}
    return pl.concat([_as_text(frame, mixed) for frame in frames], how="diagonal")


def _as_text(frame: Any, names: set[str]) -> Any:
    import polars as pl

    def text(column: Any) -> Any:
        if column.dtype.is_nested() or column.dtype.is_object():
            values = [None if value is None else str(value) for value in column.to_list()]
            return pl.Series(column.name, values, pl.String)
        if column.dtype == pl.Binary:  # not all of it may be text
            return pl.Series(
                column.name, [value and value.decode(errors="replace") for value in column.to_list()], pl.String
            )
        return column.cast(pl.String)

    return frame.with_columns([text(frame[name]) for name in frame.columns if name in names])
