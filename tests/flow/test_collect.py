"""What `collect` finds: the candidates a watcher would see, in path order."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_engine import Batch, FileRef, Flow
from data_engine.flow.locations import SourceContext
from data_engine.flow.scan import is_candidate_name, walk
from tests.flow.running import current, failing, files_in

NOISE = (
    ".hidden.csv",
    "._a.csv",
    "~$a.csv",
    ".~lock.a.csv#",
    "a.csv~",
    "a.csv.tmp",
    "a.csv.TEMP",
    "a.csv.part",
    "a.csv.partial",
    "a.csv.crdownload",
    "a.csv.download",
    "a.csv.swp",
)


def names(batch: Batch[FileRef], root: Path) -> list[str]:
    return [ref.path.relative_to(root.resolve()).as_posix() for ref in batch]


def collected(root: Path, extensions: Any = ".csv", **options: Any) -> list[str]:
    return names(current(Flow("G").collect(extensions, root=root, **options)), root)


def test_it_returns_a_batch_of_file_refs_with_absolute_paths(tmp_path: Path) -> None:
    """Ready for `open` and for a map."""
    files_in(tmp_path / "in", "a.csv")

    batch = current(Flow("G").collect(".csv", root=tmp_path / "in"))

    assert batch == Batch((FileRef(tmp_path / "in/a.csv"),))
    assert batch[0].path.is_absolute()


def test_only_files_with_the_extensions_whatever_their_case(tmp_path: Path) -> None:
    """Compound extensions are matched at the end of the name."""
    root = files_in(tmp_path, "a.csv", "B.CSV", "c.csv.gz", "d.gz", "e.txt", "csv", "f.xcsv")

    assert collected(root, "csv") == ["B.CSV", "a.csv"]
    assert collected(root, ".CSV.GZ") == ["c.csv.gz"]
    assert collected(root, [".gz", ".txt"]) == ["c.csv.gz", "d.gz", "e.txt"]


def test_hidden_temporary_and_lock_files_are_skipped(tmp_path: Path) -> None:
    """Nothing unfinished, also when its extension is asked for."""
    root = files_in(tmp_path, "a.csv", *NOISE)

    assert collected(root, [".csv", ".tmp", ".part", ".swp", "csv#", "csv~"]) == ["a.csv"]
    assert not any(is_candidate_name(name) for name in NOISE)


def test_hidden_folders_are_not_entered(tmp_path: Path) -> None:
    """Notebook checkpoints and repositories hold copies of everything."""
    root = files_in(tmp_path, "x/a.csv", ".ipynb_checkpoints/a.csv", "x/.git/a.csv", "~$x/a.csv")

    assert collected(root, recursive=True) == ["x/a.csv"]


def test_sub_folders_only_on_request_in_path_order(tmp_path: Path) -> None:
    """One order for every file system; a folder named like a file is a folder."""
    root = files_in(tmp_path, "b.csv", "a/z.csv", "a/a.csv", "a-b/x.csv", "c.csv/inner.csv", "C2.csv")

    assert collected(root) == ["C2.csv", "b.csv"]
    assert collected(root, recursive=True) == ["C2.csv", "a-b/x.csv", "a/a.csv", "a/z.csv", "b.csv", "c.csv/inner.csv"]


def test_linked_files_count_and_linked_folders_are_not_followed(tmp_path: Path) -> None:
    """A link to a parent would never end; a dangling link is no file."""
    root = files_in(tmp_path / "in", "a.csv")
    files_in(tmp_path / "far", "b.csv")
    (root / "link.csv").symlink_to(tmp_path / "far/b.csv")
    (root / "up").symlink_to(tmp_path)
    (root / "dead.csv").symlink_to(tmp_path / "nothing")

    batch = current(Flow("G").collect(".csv", root=root, recursive=True))

    assert batch.paths() == (root / "a.csv", tmp_path / "far/b.csv")
    assert batch[1] == FileRef(root / "link.csv")


def test_a_collected_ref_equals_one_made_from_the_path(tmp_path: Path) -> None:
    """Also in sub-folders and through a linked root, so refs can be looked up in sets."""
    files_in(tmp_path / "real", "sub/a.csv")
    (tmp_path / "root").symlink_to(tmp_path / "real")

    batch = current(Flow("G").collect(".csv", root=tmp_path / "root", recursive=True))

    assert set(batch) == {FileRef(tmp_path / "root/sub/a.csv")}


def test_without_root_it_looks_in_the_source_root(tmp_path: Path) -> None:
    """The folder that is watched; a batch flow needs no second path."""
    root = files_in(tmp_path, "a.csv")

    assert names(current(Flow("G").collect(".csv"), source=SourceContext(root)), root) == ["a.csv"]


def test_without_root_and_source_there_is_nowhere_to_look() -> None:
    """The fix names both ways."""
    error = failing_step(Flow("G").collect(".csv"))

    assert "requires an explicit root or a flow context with source" in error
    assert "root=" in error


@pytest.mark.parametrize("recursive", [True, False])
def test_a_root_that_does_not_exist_is_an_error_that_names_it(tmp_path: Path, recursive: bool) -> None:
    """Never an empty batch: that would look like a quiet day."""
    root = tmp_path / "not-there"

    text = failing_step(Flow("G").collect(".csv", root=root, recursive=recursive))

    assert str(root) in text
    assert "create the folder" in text


def test_a_root_that_is_a_file_is_an_error(tmp_path: Path) -> None:
    """No raw NotADirectoryError."""
    files_in(tmp_path, "a.csv")

    assert str(tmp_path / "a.csv") in failing_step(Flow("G").collect(".csv", root=tmp_path / "a.csv"))


def test_an_empty_root_is_an_empty_batch(tmp_path: Path) -> None:
    """A folder that is there may well be empty."""
    batch = current(Flow("G").collect(".csv", root=tmp_path))

    assert not batch
    assert len(batch) == 0


def failing_step(flow: Flow) -> str:
    from data_engine import FlowExecutionError

    with pytest.raises(FlowExecutionError) as caught:
        current(flow)
    assert caught.value.fix
    return str(caught.value)


def test_what_is_skipped_is_not_visited(tmp_path: Path) -> None:
    """A flow's own mirror inside its source, and nothing but it."""
    root = files_in(tmp_path, "a.csv", "out/b.csv", "out2/c.csv", "x/out/d.csv")

    found = sorted(name for name, _ in walk(root, (".csv",), skip=root / "out"))

    assert found == ["a.csv", "out2/c.csv", "x/out/d.csv"]


def test_a_folder_that_cannot_be_read_is_told_and_the_rest_is_found(tmp_path: Path) -> None:
    """With `on_error` a scan outlives it; without, it is the caller's."""
    root = tmp_path / "gone"
    told: list[OSError] = []

    assert list(walk(root, None, on_error=told.append)) == []
    assert [error.filename for error in told] == [str(root)]
    with pytest.raises(OSError, match="gone"):
        list(walk(root, None))


NAME = st.text(alphabet=st.sampled_from("ab.~$#_-Tmpcsv"), min_size=1, max_size=12).filter(lambda n: n.strip(".") != "")


@given(st.sets(NAME, min_size=1, max_size=6))
def test_walking_and_the_name_filter_agree(tmp_path_factory: pytest.TempPathFactory, found: set[str]) -> None:
    """The two places that know the filter say the same of every name."""
    root = files_in(tmp_path_factory.mktemp("walk"), *found)

    assert {name for name, _ in walk(root, None)} == {name for name in os.listdir(root) if is_candidate_name(name)}


@given(NAME)
def test_unfinished_names_are_never_candidates(name: str) -> None:
    """Whatever the name before or after the mark."""
    for text in (f".{name}", f"~${name}", f"{name}~", f"{name}.tmp", f"{name}.PART", f"{name}.crdownload"):
        assert not is_candidate_name(text)


def test_a_file_need_not_be_readable_to_be_collected(tmp_path: Path) -> None:
    """Collecting opens nothing."""
    root = files_in(tmp_path, "a.csv")
    (root / "a.csv").chmod(0)

    assert collected(root) == ["a.csv"]


def test_errors_of_authoring_come_before_the_run() -> None:
    """A wrong extension is told by `collect`, not in the night."""
    assert failing(lambda: Flow("G").collect("")).where == "Flow.collect(extensions)"
