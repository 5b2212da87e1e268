"""What the generated notebooks import: an estimator, a table and helpers, with methods whose names tell nothing."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any


class Mean:
    """An estimator: `fit` learns, `predict` tells."""

    def __init__(self, start: float = 0) -> None:
        self.seen = [start]

    def fit(self, numbers: Iterable[float]) -> Mean:
        """Learn from numbers, beside what it knows."""
        self.seen += list(numbers)
        return self

    def predict(self, number: float) -> float:
        """Tell something that depends on all it has learnt."""
        return number + sum(place * each for place, each in enumerate(self.seen, start=1))

    def fit_predict(self, numbers: list[float]) -> list[float]:
        """Learn, and tell of each."""
        self.fit(numbers)
        return [self.predict(number) for number in numbers]


class Table:
    """Columns of numbers, changed in place by some methods and not by others."""

    def __init__(self, **columns: list[float]) -> None:
        self.columns = columns

    def __getitem__(self, name: str) -> list[float]:
        return self.columns.get(name, [])

    def __setitem__(self, name: str, values: list[float]) -> None:
        self.columns[name] = values

    def head(self) -> Table:
        """A new table."""
        return Table(**{name: values[:1] for name, values in self.columns.items()})

    def copy(self) -> Table:
        """A new table."""
        return Table(**{name: list(values) for name, values in self.columns.items()})

    def drop(self, name: str, inplace: bool = False) -> Table | None:
        """A table without a column: this one with `inplace`."""
        if not inplace:
            return Table(**{key: values for key, values in self.columns.items() if key != name})
        self.columns.pop(name, None)
        return None

    def pop(self, name: str) -> list[float]:
        """Take a column out."""
        return self.columns.pop(name, [])

    def sort(self) -> None:
        """Order every column in place."""
        for values in self.columns.values():
            values.sort()

    def __repr__(self) -> str:
        return f"Table({self.columns!r})"


def train(model: Mean, numbers: list[float]) -> float:
    """Fit what it is given."""
    return model.fit(numbers).predict(1)


def double(numbers: list[float]) -> None:
    """Change a list in place."""
    numbers[:] = [2 * number for number in numbers]


def total(numbers: Iterable[float]) -> float:
    """Only read."""
    return sum(numbers)


def countdown(start: int) -> Iterator[int]:
    """A generator."""
    yield from range(start, 0, -1)


def shown(value: Any) -> str:
    """A value as a text that two runs can be compared by."""
    return repr(value)


LIMIT = 1
_ids: list[int] = []


known: list[Any] = []


def first_known() -> Any:
    """What stands first in `known`, or None."""
    return known[0] if known else None


def next_id() -> int:
    """A number that nobody got before, as long as the process lives."""
    _ids.append(len(_ids) + 1)
    return _ids[-1]


def restart_ids() -> None:
    """From now on numbers begin with 1 again."""
    _ids.clear()


class Pool:
    """Things that are handed out one after the other."""

    def __init__(self, things: list[Any]) -> None:
        self.things = things

    def get_one(self) -> Any:
        """The next thing; it is not in the pool any more."""
        return self.things.pop(0)
