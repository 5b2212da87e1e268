"""Batches, file references and item errors as values."""

from __future__ import annotations

import copy
import os
import pickle
from dataclasses import FrozenInstanceError
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_engine import Batch, FileRef, FlowValidationError, ItemError
from tests.flow.running import failing


@given(st.lists(st.integers()))
def test_a_batch_is_a_sequence(items: list[int]) -> None:
    """Length, iteration, truth, index and slices are those of its tuple."""
    batch = Batch(tuple(items))

    assert list(batch) == items
    assert len(batch) == len(items)
    assert bool(batch) is bool(items)
    assert batch[:2] == tuple(items[:2])
    assert batch[::-1] == tuple(reversed(items))
    if items:
        assert batch[0] == items[0]
        assert batch[-1] == items[-1]
        assert items[0] in batch


def test_an_index_beyond_the_end_is_an_index_error() -> None:
    """Python's own container protocol."""
    with pytest.raises(IndexError):
        Batch((1,))[1]


def test_a_batch_is_frozen_and_equal_by_value() -> None:
    """Steps cannot change each other's batches."""
    batch: Any = Batch((1, 2))

    assert batch == Batch((1, 2))
    assert batch != Batch((2, 1))
    assert hash(batch) == hash(Batch((1, 2)))
    with pytest.raises(FrozenInstanceError):
        batch.items = ()


class Named:
    def __init__(self, name: Any, path: Any = None) -> None:
        self.name = name
        self.path = path


def test_names_are_those_of_the_items() -> None:
    """Files, paths, and whatever has a name, also as a method."""
    assert Batch((FileRef("/in/a.csv"), Path("/in/b.csv"), Named("c"), Named(lambda: "d"))).names() == (
        "a.csv",
        "b.csv",
        "c",
        "d",
    )


def test_paths_are_those_of_the_items() -> None:
    """A path is its own path."""
    assert Batch((FileRef("/in/a.csv"), Path("b.csv"), Named("c", Path("c")))).paths() == (
        Path("/in/a.csv").absolute(),
        Path("b.csv"),
        Path("c"),
    )


@pytest.mark.parametrize("item", [5, None, "text", Named(5), Named(lambda: None), Named(None)])
def test_items_without_a_name_are_told(item: Any) -> None:
    """No raw AttributeError."""
    assert "usable name" in failing(lambda: Batch((item,)).names()).what


@pytest.mark.parametrize("item", [5, None, "text", Named("x", "x"), Named("x", 5)])
def test_items_without_a_path_are_told(item: Any) -> None:
    """No raw AttributeError; a text is no path here."""
    assert "usable path" in failing(lambda: Batch((item,)).paths()).what


def test_ok_and_errors_split_a_batch() -> None:
    """In order; together they are the whole."""
    error = ItemError("b", ValueError("no"))
    batch: Batch[Any] = Batch(("a", error, "c"))

    assert batch.ok() == Batch(("a", "c"))
    assert batch.errors() == Batch((error,))
    assert Batch(("a",)).errors() == Batch(())
    assert str(error) == "b: ValueError: no"


# -- file references ---------------------------------------------------------------------------------------------------


def test_a_file_ref_knows_its_parts(tmp_path: Path) -> None:
    """Like a path; the stem keeps inner extensions."""
    ref = FileRef(tmp_path / "y.tar.gz")

    assert (ref.name, ref.stem, ref.suffix, ref.parent) == ("y.tar.gz", "y.tar", ".gz", tmp_path)
    assert ref.path == tmp_path / "y.tar.gz"
    assert str(ref) == os.fspath(ref) == str(tmp_path / "y.tar.gz")
    assert repr(ref) == f"FileRef({str(ref)!r})"
    assert not ref.exists()


def test_everything_that_takes_a_path_takes_a_file_ref(tmp_path: Path) -> None:
    """`open`, `Path`, `os.stat`."""
    (tmp_path / "a.txt").write_text("hello", encoding="utf-8")
    ref = FileRef(str(tmp_path / "a.txt"))

    with open(ref, encoding="utf-8") as file:
        assert file.read() == "hello"
    assert Path(ref).stat().st_size == os.stat(ref).st_size == 5
    assert ref.exists()


def test_file_refs_are_equal_by_absolute_path(tmp_path: Path) -> None:
    """Relative or through a link: one file, one reference. A path is no reference."""
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")

    assert FileRef("x/../a.csv") == FileRef(Path.cwd() / "a.csv")
    assert FileRef(tmp_path / "link/a") == FileRef(tmp_path / "real/a")
    assert len({FileRef("a"), FileRef("./a"), FileRef("b")}) == 2
    assert FileRef("a") != FileRef("a").path
    assert FileRef(FileRef("a")) == FileRef("a")


def test_a_file_ref_is_immutable() -> None:
    """It is a key in sets and dicts."""
    ref = FileRef("/in/a.csv")
    for name in ("path", "_text", "anything"):
        with pytest.raises(AttributeError):
            setattr(ref, name, "x")
        with pytest.raises(AttributeError):
            delattr(ref, name)

    assert str(ref) == str(Path("/in/a.csv").absolute())


def test_file_refs_and_batches_pickle_and_copy() -> None:
    """They travel to worker processes."""
    batch = Batch((FileRef("/in/a.csv"), FileRef("/in/b.csv")))

    assert pickle.loads(pickle.dumps(batch)) == batch
    assert copy.deepcopy(batch) == batch


@pytest.mark.parametrize("value", [None, 5, b"/in/a.csv", ["a"], "", "  ", "a\0b"])
def test_what_names_no_file_is_refused(value: Any) -> None:
    """A blank text is not the working directory."""
    assert "FileRef cannot be made from" in failing(lambda: FileRef(value)).what


def test_a_batch_is_made_of_any_items_in_order_and_of_nothing_else() -> None:
    """A text is no items, though it can be looped over."""
    made: Any = Batch
    assert made([1, 2]) == made(n for n in (1, 2)) == Batch((1, 2))
    for wrong in (5, "abc", b"abc", None):
        with pytest.raises(FlowValidationError, match="a batch cannot be made from"):
            made(wrong)
