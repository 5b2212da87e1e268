"""The values that `collect` and `map` pass from step to step: batches of files, values and item errors."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Generic, TypeAlias, TypeVar, overload

from data_engine.argument_checks import is_text
from data_engine.display_hook import Displayable
from data_engine.errors import FlowValidationError, message_of
from data_engine.platforms.names import real_path
from data_engine.record import frozen

T = TypeVar("T")


class FileRef(os.PathLike[str]):
    """A collected file: `open(ref)` and every library that takes paths accept it. Equal by absolute path; immutable.

    Example:
        >>> ref = FileRef("/in/claims.tar.gz")
        >>> ref.name, ref.stem, ref.suffix, str(ref.parent)
        ('claims.tar.gz', 'claims.tar', '.gz', '/in')
    """

    __slots__ = ("_text",)
    _text: str

    def __init__(self, path: str | os.PathLike[str]) -> None:
        if not isinstance(path, (str, os.PathLike)):
            raise FlowValidationError(
                f"FileRef cannot be made from {type(path).__name__} {path!r}", where="FileRef(path)", fix="give a path"
            )
        text = os.fspath(path)
        if not is_text(text) or not text.strip():
            raise FlowValidationError(f"FileRef cannot be made from {text!r}", where="FileRef(path)", fix="name a file")
        object.__setattr__(self, "_text", real_path(text))

    @classmethod
    def _resolved(cls, text: str) -> FileRef:
        """A reference to a path that is absolute and resolved already; collecting 2,000 files must not stat them."""
        ref = cls.__new__(cls)
        object.__setattr__(ref, "_text", text)
        return ref

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"FileRef is immutable; cannot set {name!r}")

    def __delattr__(self, name: str) -> None:
        raise AttributeError(f"FileRef is immutable; cannot delete {name!r}")

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return FileRef._resolved, (self._text,)

    @property
    def path(self) -> Path:
        """The absolute path."""
        return Path(self._text)

    @property
    def name(self) -> str:
        """The file name with its extension."""
        return os.path.basename(self._text)

    @property
    def stem(self) -> str:
        """The file name without its last extension."""
        return self.path.stem

    @property
    def suffix(self) -> str:
        """The last extension with its dot, or ""."""
        return self.path.suffix

    @property
    def parent(self) -> Path:
        """The folder the file is in."""
        return self.path.parent

    def exists(self) -> bool:
        """Whether the file is still there.

        Example:
            >>> FileRef("/nowhere/a.csv").exists()
            False
        """
        return os.path.exists(self._text)

    def __fspath__(self) -> str:
        return self._text

    def __str__(self) -> str:
        return self._text

    def __repr__(self) -> str:
        return f"FileRef({self._text!r})"

    def __eq__(self, other: object) -> bool:
        return self._text == other._text if isinstance(other, FileRef) else NotImplemented

    def __hash__(self) -> int:
        return hash(self._text)


@frozen
class ItemError:
    """The entry of `map(on_error="collect")` in the place of an item whose call raised.

    Example:
        >>> print(ItemError("b.csv", ValueError("no rows")))
        b.csv: ValueError: no rows
    """

    item: Any
    error: BaseException

    def __str__(self) -> str:
        return f"{self.item}: {type(self.error).__name__}: {message_of(self.error)}"


@dataclass(frozen=True)
class Batch(Generic[T], Displayable):
    """An ordered tuple of items, as `collect` finds them and `map` returns them. An empty batch is falsy.

    Example:
        >>> batch = Batch((Path("/in/a.csv"), Path("/in/b.csv")))
        >>> len(batch), batch.names(), batch[-1].name, batch[:1]
        (2, ('a.csv', 'b.csv'), 'b.csv', (PosixPath('/in/a.csv'),))
    """

    items: tuple[T, ...]

    _repr_pretty_ = Displayable._repr_pretty_  # IPython takes a class's own `__repr__` for nearer than what it inherits

    def __post_init__(self) -> None:
        items: object = self.items
        if not isinstance(items, tuple):
            if isinstance(items, (str, bytes)) or not isinstance(items, Iterable):
                raise FlowValidationError(
                    f"a batch cannot be made from {type(items).__name__} {items!r}",
                    where="Batch(items)",
                    fix="give a tuple or list of items",
                )
            object.__setattr__(self, "items", tuple(items))

    def __iter__(self) -> Iterator[T]:
        return iter(self.items)

    def __len__(self) -> int:
        return len(self.items)

    @overload
    def __getitem__(self, index: int) -> T: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[T, ...]: ...
    def __getitem__(self, index: int | slice) -> T | tuple[T, ...]:
        return self.items[index]

    def names(self) -> tuple[str, ...]:
        """Each item's `name` (called if it is a method).

        Raises:
            FlowValidationError: an item has no usable name.

        Example:
            >>> Batch((FileRef("/in/a.csv"), Path("/in/b.csv"))).names()
            ('a.csv', 'b.csv')
        """
        return tuple(_item_name(item) for item in self.items)

    def paths(self) -> tuple[Path, ...]:
        """Each item's `path`, or the item itself when it is a path.

        Raises:
            FlowValidationError: an item has no usable path.

        Example:
            >>> Batch((FileRef("/in/a.csv"), Path("/in/b.csv"))).paths()
            (PosixPath('/in/a.csv'), PosixPath('/in/b.csv'))
        """
        return tuple(_item_path(item) for item in self.items)

    def ok(self) -> Batch[T]:
        """The items that are not `ItemError`s, in order.

        Example:
            >>> Batch((1, ItemError("b.csv", ValueError("no rows")))).ok()
            Batch(items=(1,))
        """
        return Batch(tuple(item for item in self.items if not isinstance(item, ItemError)))

    def errors(self) -> Batch[ItemError]:
        """The `ItemError`s, in order.

        Example:
            >>> [error.item for error in Batch((1, ItemError("b.csv", ValueError("no rows")))).errors()]
            ['b.csv']
        """
        return Batch(tuple(item for item in self.items if isinstance(item, ItemError)))


def _item_name(item: object) -> str:
    name = getattr(item, "name", None)
    if callable(name):
        name = name()
    if not isinstance(name, str):
        raise _unusable(item, "name")
    return name


def _item_path(item: object) -> Path:
    path = item if isinstance(item, Path) else getattr(item, "path", None)
    if not isinstance(path, Path):
        raise _unusable(item, "path")
    return path


def _unusable(item: object, part: str) -> FlowValidationError:
    what = f"{type(item).__name__} {item!r} has no usable {part}"
    return FlowValidationError(what, where=f"Batch.{part}s()", fix="batch files or paths")


_PARQUET = (".parquet", ".pq")


def rows_of(value: object) -> int | None:
    """The rows of a DataFrame or an Arrow table, the items of a Batch, or the rows of the Parquet file that a path names; else None.

    A lazy frame, a relation or a query is never run for it.

    Example:
        >>> rows_of(Batch((1, 2, 3))), rows_of([1, 2]), rows_of(None)
        (3, None, None)
    """
    kind: Any = type(value)
    counter = _counter_of(kind)
    if counter is None:
        return None
    with suppress(Exception):  # another library's value
        return counter(value)
    return None


Columns: TypeAlias = tuple[Sequence[Any], Sequence[Any]]
"""The names of a frame's columns and their types, as its library has them."""


def columns_of(value: object) -> tuple[Columns, ...]:
    """The columns of a frame of Polars or pandas, an Arrow table or a relation of DuckDB; of a Batch those of each different kind of
    frame in it. Nothing is computed for it; a scan that a LazyFrame resolves for it is not resolved again when it is collected.

    Example:
        >>> import polars as pl
        >>> columns_of(pl.DataFrame({"day": ["x"], "amount": [3]})), columns_of([1, 2])
        (((['day', 'amount'], [String, Int64]),), ())
    """
    if isinstance(value, Batch):
        kinds: list[tuple[dict[Any, Any], Columns]] = []
        for item in value:
            for names, types in columns_of(item):
                if all(known != dict(zip(names, types, strict=True)) for known, _ in kinds):
                    kinds.append((dict(zip(names, types, strict=True)), (names, types)))
        return tuple(columns for _, columns in kinds)
    reader = _COLUMNS.get(frame_kind(value))
    if reader is not None:
        with suppress(Exception):  # a lazy frame that cannot be resolved; its step will fail
            return (reader(value),)
    return ()


_COLUMNS: dict[str, Callable[[Any], Columns]] = {
    "polars.DataFrame": lambda frame: (frame.columns, frame.dtypes),
    "polars.LazyFrame": lambda lazy: ((schema := lazy.collect_schema()).names(), schema.dtypes()),
    "pandas.DataFrame": lambda frame: (list(frame.columns), list(frame.dtypes)),
    "pyarrow.Table": lambda table: (table.schema.names, table.schema.types),
    "pyarrow.RecordBatch": lambda table: (table.schema.names, table.schema.types),
    "duckdb.DuckDBPyRelation": lambda relation: (relation.columns, relation.types),
}
"""By `frame_kind`."""


def is_lazy_frame(value: object) -> bool:
    """Whether a value is a LazyFrame of Polars.

    Example:
        >>> import polars as pl
        >>> is_lazy_frame(pl.LazyFrame({"a": [1]})), is_lazy_frame(pl.DataFrame({"a": [1]}))
        (True, False)
    """
    polars: Any = sys.modules.get("polars")
    return polars is not None and isinstance(value, polars.LazyFrame)


_FRAMES = {
    "polars": ("DataFrame", "LazyFrame", "Series"),
    "pandas": ("DataFrame", "Series"),
    "pyarrow": ("Table", "RecordBatch"),
    "duckdb": ("DuckDBPyRelation",),
}


def frame_kind(value: object) -> str:
    """The library and class of a frame, also of a subclass; "" for any other value. No library is imported for it.

    Example:
        >>> import polars as pl
        >>> frame_kind(pl.LazyFrame({"a": [1]})), frame_kind([1])
        ('polars.LazyFrame', '')
    """
    kind: Any = type(value)
    return _frame_kind(kind)


def is_relation(value: object) -> bool:
    """Whether a value is a relation of DuckDB."""
    return frame_kind(value) == "duckdb.DuckDBPyRelation"


@lru_cache(maxsize=1000)
def _frame_kind(kind: Any) -> str:
    for base in kind.__mro__:
        library = base.__module__.partition(".")[0].removeprefix("_")
        if base.__name__ in _FRAMES.get(library, ()):
            return f"{library}.{base.__name__}"
    return ""


def parquet_rows(path: str) -> int | None:
    """The row count of a Parquet file, by a library that is loaded already; None without one, or of no Parquet file."""
    if not path.lower().endswith(_PARQUET):
        return None
    with suppress(Exception):  # it is damaged, or gone: its reader will fail
        if (parquet := sys.modules.get("pyarrow.parquet")) is not None:
            return int(parquet.read_metadata(path).num_rows)
        if (polars := sys.modules.get("polars")) is not None:
            return int(polars.scan_parquet(path, glob=False).select(polars.len()).collect().item())
        if (duckdb := sys.modules.get("duckdb")) is not None:
            with duckdb.connect() as connection:
                row = connection.execute("SELECT num_rows FROM parquet_file_metadata(?)", [path]).fetchone()
                return int(row[0])
    return None


@lru_cache(maxsize=1000)  # classes may be made anew for each run
def _counter_of(kind: Any) -> Callable[[Any], int | None] | None:
    if kind is Batch:
        return len
    if issubclass(kind, Path):
        return lambda path: parquet_rows(str(path))
    return _ROWS.get(_frame_kind(kind))


_ROWS: dict[str, Callable[[Any], int]] = {
    "polars.DataFrame": lambda frame: int(frame.height),
    "pandas.DataFrame": len,
    "pyarrow.Table": lambda table: int(table.num_rows),
    "pyarrow.RecordBatch": lambda table: int(table.num_rows),
}
"""By `frame_kind`."""
