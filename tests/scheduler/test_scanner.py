"""What the scanner sees: every candidate as it is, each change once, and nothing forgotten that it could not look at."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from data_engine.flow.scan import walk
from data_engine.model import Signature
from data_engine.scheduler.scanner import Scan, Scanner
from tests.support import examples_on_files, said_of_nothing


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "in").mkdir()
    return (tmp_path / "in").resolve()


def write(path: Path, text: str = "x", mtime_s: float | None = None) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    if mtime_s is not None:
        os.utime(path, (mtime_s, mtime_s))
    return path


def names(found: Scan) -> list[str]:
    return sorted(found.seen)


def test_each_candidate_is_seen_once_until_it_changes(root: Path) -> None:
    write(root / "a.csv")
    write(root / "deep/er/b.CSV")
    scanner = Scanner(root, (".csv",))

    assert names(scanner.scan()) == ["a.csv", "deep/er/b.CSV"]
    assert names(scanner.scan()) == []
    write(root / "a.csv", "xx")
    os.utime(root / "deep/er/b.CSV", (5, 5))
    assert names(scanner.scan()) == ["a.csv", "deep/er/b.CSV"]
    assert scanner.signature("a.csv") == Signature(2, (root / "a.csv").stat().st_mtime_ns)


@pytest.mark.parametrize(
    "name",
    ["a.txt", ".a.csv", "~$a.csv", "a.csv.part", "a.csv~", ".git/a.csv", "sub/.ipynb_checkpoints/a.csv", "out/a.csv"],
)
def test_what_is_no_candidate_is_not_seen(root: Path, name: str) -> None:
    """By any way of looking: neither in a scan nor when an event names it."""
    scanner = Scanner(root, (".csv",), skip=root / "out")
    path = write(root / name)

    assert names(scanner.scan()) == []
    assert names(scanner.look_at([str(path)])) == []
    assert names(scanner.look_at([str(path.parent)])) == []


def test_a_folder_named_like_a_file_is_looked_into(root: Path) -> None:
    write(root / "x.csv/a.csv")

    assert names(Scanner(root, (".csv",)).scan()) == ["x.csv/a.csv"]


@pytest.mark.skipif(not hasattr(os, "symlink"), reason="needs links")
def test_linked_files_count_and_linked_folders_are_not_followed(root: Path, tmp_path: Path) -> None:
    write(tmp_path / "other/a.csv")
    (root / "link.csv").symlink_to(tmp_path / "other/a.csv")
    (root / "folder").symlink_to(tmp_path / "other")
    (root / "broken.csv").symlink_to(tmp_path / "nowhere")
    scanner = Scanner(root, (".csv",))

    assert names(scanner.scan()) == ["link.csv"]
    assert names(scanner.look_at([str(root / "folder"), str(root / "broken.csv")])) == []


def test_what_is_gone_is_told_once(root: Path) -> None:
    write(root / "a.csv")
    write(root / "sub/b.csv")
    scanner = Scanner(root, None)
    scanner.scan()
    (root / "a.csv").unlink()
    shutil.rmtree(root / "sub")

    assert sorted(scanner.scan().gone) == ["a.csv", "sub/b.csv"]
    assert scanner.scan().gone == []
    assert list(scanner.files()) == []


def test_an_event_shows_one_file_without_a_scan(root: Path) -> None:
    """Also a new folder, a file renamed into place, and one that went away."""
    write(root / "a.csv")
    scanner = Scanner(root, (".csv",))
    scanner.scan()
    write(root / "new/deep/b.csv")
    write(root / "c.csv.part").rename(root / "c.csv")
    (root / "a.csv").unlink()

    assert names(scanner.look_at([str(root / "new/deep/b.csv")])) == ["new/deep/b.csv"]
    assert names(scanner.look_at([str(root / "c.csv.part"), str(root / "c.csv")])) == ["c.csv"]
    assert scanner.look_at([str(root / "a.csv")]).gone == ["a.csv"]
    assert names(scanner.scan()) == []


def test_a_path_outside_the_root_is_nobodys(root: Path, tmp_path: Path) -> None:
    scanner = Scanner(root, None)
    scanner.scan()

    assert scanner.look_at([str(write(tmp_path / "inside.csv")), str(write(tmp_path / "in2/a.csv"))]) == Scan(
        {}, [], {}
    )


def test_a_vanished_root_is_trouble_and_forgets_nothing(root: Path) -> None:
    """A share that is away is not a folder that was emptied."""
    write(root / "a.csv")
    scanner = Scanner(root, None)
    scanner.scan()
    root.rename(root.with_name("away"))

    found = scanner.scan()

    assert (found.seen, found.gone) == ({}, [])
    assert found.troubles == {"": said_of_nothing()}
    root.with_name("away").rename(root)
    assert scanner.scan() == Scan({}, [], {})


@pytest.fixture
def closed(root: Path) -> Iterator[Path]:
    folder = root / "closed"
    write(folder / "b.csv")
    yield folder
    folder.chmod(0o700)


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="needs permissions that bind")
def test_a_folder_without_permission_is_trouble_and_the_rest_is_seen(root: Path, closed: Path) -> None:
    scanner = Scanner(root, None)
    scanner.scan()
    closed.chmod(0)
    write(root / "a.csv")

    found = scanner.scan()

    assert (names(found), found.gone, found.troubles) == (["a.csv"], [], {"closed/": "Permission denied"})


def test_a_single_file_is_its_own_source(root: Path) -> None:
    path = root / "rates.csv"
    scanner = Scanner(path, (".csv",))

    assert scanner.scan().troubles == {"": said_of_nothing()}
    write(path)
    assert names(scanner.scan()) == [""]
    assert names(scanner.scan()) == []
    assert scanner.see_again("") == scanner.signature("")


def test_what_was_forgotten_is_new_to_the_next_scan(root: Path) -> None:
    write(root / "a.csv")
    scanner = Scanner(root, None)
    scanner.scan()

    scanner.forget("a.csv")

    assert names(scanner.scan()) == ["a.csv"]


def test_a_folder_that_comes_back_in_place_of_another_is_looked_through_to_its_depth(root: Path) -> None:
    """Its event names only the folder; what lies deep in it differs from what was there before."""
    away = root.parent / "away"
    write(root / "sub" / "deep" / "e.csv")
    (root / "sub").rename(away)
    write(away / "deep" / "e.csv", "longer")
    write(root / "sub" / "deep" / "e.csv")
    scanner = Scanner(root, (".csv",))
    scanner.scan()

    shutil.rmtree(root / "sub")
    away.rename(root / "sub")
    found = scanner.look_at([str(root / "sub")])

    assert names(found) == ["sub/deep/e.csv"]
    assert found.seen["sub/deep/e.csv"].size_bytes == len("longer")


NAMES = st.sampled_from(
    ["a.csv", "b.csv", "c.txt", ".hidden.csv", "d.csv.part", "sub/a.csv", "sub/deep/e.csv", ".git/f.csv"]
)


class AnyFileOperation(RuleBasedStateMachine):
    """Whatever happens to a folder, what the scanner holds is what a walk finds, and each change was told."""

    def __init__(self) -> None:
        super().__init__()
        import tempfile

        self.base = Path(tempfile.mkdtemp()).resolve()
        self.root = self.base / "in"
        self.root.mkdir()
        self.scanner = Scanner(self.root, (".csv",))
        self.scanner.scan()
        self.told: dict[str, Signature] = {}
        self.touched: set[str] = set()
        self.clock = 1_000_000_000

    def teardown(self) -> None:
        shutil.rmtree(self.base)

    @rule(name=NAMES, text=st.text("xy", max_size=3))
    def write(self, name: str, text: str) -> None:
        path = self.root / name
        if any(parent.is_file() for parent in path.parents) or path.is_dir():
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        self.clock += 1
        os.utime(path, (self.clock, self.clock))
        self.touched.add(str(path))

    @rule(name=NAMES)
    def delete(self, name: str) -> None:
        (self.root / name).unlink(missing_ok=True)
        self.touched.add(str(self.root / name))

    @rule(name=NAMES, other=NAMES)
    def move(self, name: str, other: str) -> None:
        one, two = self.root / name, self.root / other
        if one.is_file() and not two.is_dir() and two.parent.is_dir():
            one.replace(two)
            self.touched |= {str(one), str(two)}

    @rule()
    def delete_folder(self) -> None:
        shutil.rmtree(self.root / "sub", ignore_errors=True)
        self.touched.add(str(self.root / "sub"))

    @precondition(lambda self: not (self.base / "away").exists() and (self.root / "sub").exists())
    @rule()
    def move_folder_out(self) -> None:
        (self.root / "sub").rename(self.base / "away")
        self.touched.add(str(self.root / "sub"))

    @precondition(lambda self: (self.base / "away").exists() and not (self.root / "sub").exists())
    @rule()
    def move_folder_in(self) -> None:
        (self.base / "away").rename(self.root / "sub")
        self.touched.add(str(self.root / "sub"))

    @rule()
    def scan(self) -> None:
        self.take(self.scanner.scan())

    @rule()
    def look_where_events_say(self) -> None:
        self.take(self.scanner.look_at(sorted(self.touched)))

    def take(self, found: Scan) -> None:
        self.touched.clear()
        assert found.troubles == {}
        for name in found.gone:
            del self.told[name]
        for name, signature in found.seen.items():
            assert self.told.get(name) != signature
            self.told[name] = signature

    @invariant()
    def what_was_told_is_what_it_holds(self) -> None:
        assert dict(self.scanner.files()) == self.told

    @invariant()
    def after_a_look_it_is_what_a_walk_finds(self) -> None:
        if not self.touched:
            there = {name: entry.stat() for name, entry in walk(self.root, (".csv",))}
            assert self.told == {name: Signature(facts.st_size, facts.st_mtime_ns) for name, facts in there.items()}


TestAnyFileOperation = AnyFileOperation.TestCase
TestAnyFileOperation.settings = settings(max_examples=examples_on_files(30), stateful_step_count=25, deadline=None)


def test_new_files_come_first_where_folders_say_so(root: Path) -> None:
    """Folder after folder, the one a name was added to last before the others; nothing is given for what is as it was."""
    for number, folder in enumerate(("a", "b", "c", "d")):
        write(root / folder / "x.csv")
        os.utime(root / folder, (100 if folder == "b" else number, 100 if folder == "b" else number))
    scanner = Scanner(root, (".csv",))

    parts = [names(found) for found in scanner.scan_by_folder(newest_first=True)]

    assert parts == [["b/x.csv"], ["d/x.csv"], ["c/x.csv"], ["a/x.csv"]]
    assert list(scanner.scan_by_folder(newest_first=True)) == []
