"""The difference of two values as a frozen value, for programs and for people."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Generic, TypeVar

from data_engine.display_hook import Displayable
from data_engine.formatting import first_few, plural
from data_engine.record import Record, frozen

T = TypeVar("T")

MOST_SAMPLES = 20
"""A difference shows so many rows."""

_MOST_NAMES = 4


class Named(Mapping[str, T], Generic[T]):
    """A mapping that nobody changes, in the order it was given.

    Example:
        >>> Named({"b": 1, "a": 2}), Named({"a": 1}) == {"a": 1}, Named()
        (Named({'b': 1, 'a': 2}), True, Named({}))
    """

    __slots__ = ("_values",)

    def __init__(self, values: Mapping[str, T] | None = None) -> None:
        self._values: dict[str, T] = dict(values or {})

    def __getitem__(self, name: str) -> T:
        return self._values[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __hash__(self) -> int:
        return hash(tuple(self._values))

    def __repr__(self) -> str:
        return f"Named({self._values!r})"


@frozen
class Retyped(Record):
    """A column whose type is another, by Polars' names of types. `matters` is False where only the way it is kept differs: the
    zone of an instant, a category or a text. Where no value of the one type is comparable to the other, `is_compared` is False.
    """

    column: str
    before: str
    after: str
    matters: bool = True
    is_compared: bool = True


@frozen
class ColumnDifference(Record):
    """How the columns differ, by name."""

    added: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    retyped: tuple[Retyped, ...] = field(default=(), metadata={"of": Retyped.read})

    @property
    def are_equal(self) -> bool:
        """Whether both sides have the same columns, as far as that matters."""
        return not self.added and not self.removed and not any(column.matters for column in self.retyped)


@frozen
class Order(Record):
    """Whether rows that both sides have, or columns, come in another order."""

    rows: bool = False
    columns: bool = False


@frozen
class Rows(Record):
    """How many rows there were `before` and are `after`, and how many of them differ. Only a key tells what `changed`."""

    before: int = 0
    after: int = 0
    added: int = 0
    removed: int = 0
    changed: int = 0

    @property
    def are_equal(self) -> bool:
        """Whether both sides have the same rows."""
        return not (self.added or self.removed or self.changed)


@frozen
class Duplicates(Record):
    """How many keys occur more than once, on each side. Rows of such a key are compared as wholes."""

    before: int = 0
    after: int = 0


@frozen
class Sample(Record):
    """A row that differs: `kind` is "added", "removed" or "changed", `key` what it is known by.

    `differs` has the value before and after of each column that differs; a row that is on one side only has None on the other.
    """

    kind: str
    key: Mapping[str, Any] = field(default_factory=Named)
    differs: Mapping[str, tuple[Any, Any]] = field(default_factory=Named)


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Difference(Displayable, Record):
    """The difference of two values, one `before` and one `after`, which are given in a few words.

    `kind` is "table", "value" (JSON and what equals it, where `samples` are the places that differ), "file" (compared by its
    bytes), "parts" (a list, a workbook, a database: `parts` has the difference of each), "missing" (it is on one side only) or
    "unknown" (it cannot be compared, and `notes` say why). `changed_values` counts for each column how many values differ.

    Example:
        >>> import polars as pl
        >>> from data_engine.compare.comparing import compare
        >>> before = pl.DataFrame({"id": [1, 2, 3], "amount": [10, 20, 30]})
        >>> difference = compare(before, pl.DataFrame({"id": [1, 2], "amount": [10, 25]}), key=["id"])
        >>> difference.equal, difference.rows.removed, dict(difference.changed_values), str(difference)
        (False, 1, {'amount': 1}, '1 row removed, 1 changed (amount 1)')
        >>> difference.samples[-1].differs["amount"], difference["rows"]["before"]
        ((20, 25), 3)
    """

    computed: ClassVar = ("equal", "text")

    kind: str = "table"
    before: str = ""
    after: str = ""
    columns: ColumnDifference = field(default_factory=ColumnDifference, metadata={"of": ColumnDifference.read})
    order: Order = field(default_factory=Order, metadata={"of": Order.read})
    rows: Rows = field(default_factory=Rows, metadata={"of": Rows.read})
    changed_values: Mapping[str, int] = field(default_factory=Named, metadata={"of": Named})
    samples: tuple[Sample, ...] = field(default=(), metadata={"of": Sample.read})
    key: tuple[str, ...] = ()
    duplicates: Duplicates = field(default_factory=Duplicates, metadata={"of": Duplicates.read})
    parts: Mapping[str, Difference] = field(default_factory=Named, metadata={"of": lambda data: read_differences(data)})
    notes: tuple[str, ...] = ()
    is_same: bool = True

    @property
    def equal(self) -> bool:
        """Whether the two are the same in all that matters; their order does not."""
        are_parts = all(part.equal for part in self.parts.values())
        return self.is_same and self.columns.are_equal and self.rows.are_equal and are_parts

    @property
    def text(self) -> str:
        """The difference in a few words."""
        return _in_text(self)

    def __str__(self) -> str:
        return self.text

    def __repr__(self) -> str:
        return f"<Difference: {self.text}>"


def read_differences(values: Mapping[str, Any]) -> Named[Difference]:
    """The differences by name, read from plain values."""
    return Named({name: Difference.read(value) for name, value in values.items()})


# -- in words --------------------------------------------------------------------------------------------------------------


def _in_text(difference: Difference) -> str:
    """The difference in one line, the most telling first."""
    words = [
        *_kind_text(difference),
        *_column_text(difference.columns),
        *_row_text(difference),
        *_part_text(difference.parts, not difference.rows.are_equal),
    ]
    if not words and not (difference.kind == "missing" and difference.notes):
        words = ["equal" if difference.equal else "differs"]
    return ", ".join([*words, *_aside_text(difference), *difference.notes])


def _kind_text(difference: Difference) -> Iterator[str]:
    if difference.kind == "value" and not difference.is_same and difference.rows.changed:
        yield plural(difference.rows.changed, "value differs", "values differ")
    elif difference.kind == "file" and not difference.equal:
        yield "its bytes differ"
    elif difference.kind == "unknown":
        yield "cannot be compared"


def _column_text(columns: ColumnDifference) -> Iterator[str]:
    for word, names in (("removed", columns.removed), ("added", columns.added)):
        if names:
            yield f"{'column' if len(names) == 1 else 'columns'} {first_few(names, _MOST_NAMES)} {word}"
    for column in columns.retyped:
        if column.matters:
            yield f"{column.column} is {column.after}, was {column.before}{'' if column.is_compared else ' (values not compared)'}"


def _row_text(difference: Difference) -> Iterator[str]:
    if difference.kind not in ("table", "parts"):
        return
    rows, noun = difference.rows, " row"
    by_count = sorted(difference.changed_values.items(), key=lambda pair: -pair[1])
    changed = f"changed ({first_few([f'{name} {number:,}' for name, number in by_count], _MOST_NAMES)})"
    for number, word in ((rows.removed, "removed"), (rows.added, "added"), (rows.changed, changed)):
        if number:
            yield f"{number:,}{noun}{'s' if noun and number != 1 else ''} {word}"
            noun = ""


def _part_text(parts: Mapping[str, Difference], is_summed: bool) -> Iterator[str]:
    different = {name: part for name, part in parts.items() if not part.equal}
    if len(different) == 1 and not is_summed:
        ((name, part),) = different.items()
        yield f"{name}: {_in_text(part)}"
    elif different and is_summed:
        yield f"in {len(different)} of {len(parts)} ({first_few(list(different), _MOST_NAMES)})"
    elif different:
        yield f"{first_few(list(different), _MOST_NAMES)} differ"


def _aside_text(difference: Difference) -> Iterator[str]:
    """The differences that do not matter."""
    if difference.order.columns:
        yield "columns in another order"
    if difference.order.rows:
        yield "rows in another order"
    for column in difference.columns.retyped:
        if not column.matters:
            yield f"{column.column} is kept as {column.after}, was {column.before}"
    twice = max(difference.duplicates.before, difference.duplicates.after)
    if twice:
        yield plural(twice, "key occurs more than once", "keys occur more than once")
