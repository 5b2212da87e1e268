"""What a frozen value is, beyond the examples of `data_engine/record.py`."""

from __future__ import annotations

import pickle
from dataclasses import FrozenInstanceError, field, fields, replace
from typing import ClassVar

import pytest

from data_engine.record import Record, frozen


@frozen
class Place(Record):
    """A field that is called like what makes another one."""

    unit: ClassVar = "m"

    id: str
    set_id: str = ""
    names: list[str] = field(default_factory=list)


@frozen
class Marked(Place):
    """One field more, and another default."""

    set_id: str = "inherited"
    mark: int = 0


def test_fields_may_be_called_as_one_likes() -> None:
    """Each field has its own value, whatever another one is called; a default that is made is made for each value."""
    one, other = Place("a", set_id="s"), Place("b")
    one.names.append("x")

    assert (one.id, one.set_id, other.set_id, other.names) == ("a", "s", "", [])
    assert [each.name for each in fields(Place)] == ["id", "set_id", "names"]


def test_a_class_below_has_the_fields_above_it() -> None:
    """In the order of a dataclass, each once."""
    value = Marked("a", mark=3)

    assert [each.name for each in fields(Marked)] == ["id", "set_id", "names", "mark"]
    assert dict(replace(value, id="b")) == {"id": "b", "set_id": "inherited", "names": [], "mark": 3}
    assert pickle.loads(pickle.dumps(value)) == value


def test_no_field_can_be_changed() -> None:
    """Neither set nor taken away, and no other attribute either."""
    with pytest.raises(FrozenInstanceError):
        Place("a").id = "b"  # type: ignore[misc]
    with pytest.raises(FrozenInstanceError):
        del Place("a").id
    with pytest.raises(FrozenInstanceError):
        Place("a").other = 1  # type: ignore[attr-defined]


def test_a_property_of_a_frozen_class_asks_its_base_by_super() -> None:
    """Though the class is made anew, after Python has bound `super()` to the first."""

    @frozen
    class Base(Record):
        x: int

        @property
        def shown(self) -> str:
            return f"{self.x}"

        def doubled(self) -> int:
            return 2 * self.x

    @frozen
    class Derived(Base):
        unit: str = "s"

        @property
        def shown(self) -> str:
            return f"{super().shown} {self.unit}"

        def doubled(self) -> int:
            return super().doubled() + 1

    assert (Derived(2).shown, Derived(2).doubled()) == ("2 s", 5)
