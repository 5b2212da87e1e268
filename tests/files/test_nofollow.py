"""Nothing below a root is followed out of it: not when it is opened, not when it is listed, not when it is removed."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from data_engine import nofollow
from data_engine.nofollow import Entry, NotFollowedError, check_own, opened, remove_tree


@pytest.fixture
def docs(tmp_path: Path) -> Path:
    """Somebody's documents, outside."""
    folder = tmp_path / "docs"
    folder.mkdir()
    (folder / "letter.txt").write_text("dear")
    return folder


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "root"
    folder.mkdir()
    return folder


@pytest.fixture(params=["descriptors", "paths"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Both ways of reaching a folder: the one of POSIX, and the one of Windows."""
    if request.param == "paths":
        monkeypatch.setattr(nofollow, "_HAS_DESCRIPTORS", False)
    return str(request.param)


@contextmanager
def mounted(source: Path, target: Path) -> Iterator[None]:
    """`source` at `target` as well; skips where nobody may do that."""
    if os.name != "posix" or subprocess.run(["mount", "--bind", source, target], capture_output=True).returncode:
        pytest.skip("this user may not mount")
    try:
        yield
    finally:
        subprocess.run(["umount", target], check=True)


def test_a_tree_goes_but_for_the_links_in_it(root: Path, docs: Path, way: str) -> None:
    """They are told, and so they keep the folders around them; where they lead to stays as it is."""
    (root / "old" / "deep" / "deeper").mkdir(parents=True)
    (root / "old" / "deep" / "link").symlink_to(docs)
    (root / "old" / "deep" / "letter").symlink_to(docs / "letter.txt")
    (root / "old" / "deep" / "deeper" / "a").touch()
    (root / "old" / "a").touch()

    left = remove_tree(root, "old")

    assert [one.path for one in left] == [root / "old/deep/letter", root / "old/deep/link"]
    assert sorted(path.relative_to(root).as_posix() for path in root.rglob("*")) == [
        *("old", "old/deep", "old/deep/letter", "old/deep/link")
    ]
    assert (docs / "letter.txt").read_text() == "dear"


def test_what_takes_the_place_of_an_open_folder_is_not_used(root: Path, docs: Path) -> None:
    """POSIX goes on in the folder that was opened; Windows lets nobody put anything in its place."""
    (root / "a" / "b").mkdir(parents=True)
    with opened(root, "a/b") as place:
        for name in ("a", "a/b"):
            try:
                (root / name).rename(root / "away")
                (root / name).symlink_to(docs, target_is_directory=True)
            except PermissionError:
                assert sys.platform == "win32"
                continue
            assert sys.platform != "win32"
            break
        os.close(os.open(place.at("new"), os.O_CREAT | os.O_WRONLY, dir_fd=place.descriptor))

    assert sorted(os.listdir(docs)) == ["letter.txt"]
    assert [path.name for path in root.rglob("new")] == ["new"]
    (root / "a").rename(root / "elsewhere")  # it is let go of at the end


@pytest.mark.parametrize("name", ["link", "link/letter.txt", "link/nothing"])
def test_a_link_and_what_lies_behind_it_is_not_removed(root: Path, docs: Path, way: str, name: str) -> None:
    """It is told as what was left."""
    (root / "link").symlink_to(docs)

    left = remove_tree(root, root / name)

    assert [one.path for one in left] == [root / "link"]
    assert "link" in left[0].why
    assert (docs / "letter.txt").exists()
    assert (root / "link").is_symlink()


def test_what_is_not_there_is_nothing_left(root: Path, way: str) -> None:
    """Neither the path nor the folder above it."""
    assert remove_tree(root, "a") == []
    assert remove_tree(root, "a/b") == []
    (root / "file").touch()
    assert remove_tree(root, "file") == []
    assert list(root.iterdir()) == []


def test_the_root_itself_may_be_a_link(tmp_path: Path, root: Path, way: str) -> None:
    """It is the user's choice where it lies."""
    (tmp_path / "alias").symlink_to(root)
    (root / "old").mkdir()

    assert remove_tree(tmp_path / "alias", "old") == []
    with opened(tmp_path / "alias") as place:
        assert place.entries() == []


def test_nothing_beside_the_root_is_reached(root: Path, docs: Path, way: str) -> None:
    """Nor the root itself."""
    for path in ("../docs", docs, "", "."):
        with pytest.raises(ValueError, match="root"):
            remove_tree(root, path)
    assert (docs / "letter.txt").exists()


def test_a_listing_says_what_does_not_belong(root: Path, docs: Path, way: str) -> None:
    """A link to a file, to a folder, to nothing."""
    (root / "a").symlink_to(docs)
    (root / "b").symlink_to(docs / "letter.txt")
    (root / "c").symlink_to("nothing")
    (root / "d").mkdir()
    (root / "e").touch()

    with opened(root) as place:
        found = place.entries()

    assert found == [*(Entry(name, "foreign") for name in "abc"), Entry("d", "folder"), Entry("e", "file")]


def test_a_folder_is_reached_only_through_folders(root: Path, docs: Path, way: str) -> None:
    """A link on the way is another error than a file in it or a missing one."""
    (root / "ours").mkdir()
    (root / "ours" / "link").symlink_to(docs)
    (root / "file").touch()

    with opened(root, "ours") as place:
        assert (place.path, place.names()) == (root / "ours", ["link"])
    with pytest.raises(NotFollowedError) as error, opened(root, "ours/link"):
        pass
    assert error.value.filename == str(root / "ours/link")
    with pytest.raises(NotADirectoryError), opened(root, "file"):
        pass
    with pytest.raises(FileNotFoundError), opened(root, "nothing/deeper"):
        pass


def test_a_path_for_others_is_checked_to_its_end(root: Path, docs: Path, way: str) -> None:
    """What is not there yet is good."""
    (root / "ours").mkdir()
    (root / "ours" / "file").symlink_to(docs / "letter.txt")
    (root / "link").symlink_to(docs)

    check_own(root, "ours/new")
    check_own(root, "new/newer")
    check_own(root, root)
    for wrong in ("ours/file", "link", "link/letter.txt", "link/new"):
        with pytest.raises(NotFollowedError):
            check_own(root, wrong)


def test_a_mounted_folder_is_left_alone(root: Path, docs: Path) -> None:
    """Also one of the same drive, which has the same device number."""
    (root / "old" / "mount").mkdir(parents=True)
    (root / "old" / "a").touch()

    with mounted(docs, root / "old" / "mount"):
        left = remove_tree(root, "old")
        with opened(root, "old") as place:
            entries = place.entries()
        with pytest.raises(NotFollowedError), opened(root, "old/mount"):
            pass

    assert [one.path for one in left] == [root / "old/mount"]
    assert entries == [Entry("mount", "foreign")]
    assert (docs / "letter.txt").exists()


def test_the_root_may_be_a_mount(root: Path, docs: Path) -> None:
    """Only what is mounted below it counts."""
    with mounted(docs, root), opened(root) as place:
        assert place.entries() == [Entry("letter.txt", "file")]


@pytest.mark.skipif(
    not nofollow._HAS_DESCRIPTORS, reason="a folder where a drive is mounted is a reparse point there, as junctions are"
)
def test_another_device_is_left_alone(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where no mount can be made to try it: the number of the open folder decides."""
    (root / "old" / "other").mkdir(parents=True)
    (root / "old" / "other" / "file").touch()
    other = (root / "old" / "other").stat().st_ino
    monkeypatch.setattr(nofollow, "_device", lambda fd, sees_binds: (1 + (os.fstat(fd).st_ino == other), ""))

    left = remove_tree(root, "old")

    assert [one.path for one in left] == [root / "old/other"]
    assert (root / "old/other/file").exists()


def test_what_cannot_be_removed_does_not_keep_the_rest(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is told with the drive's own words."""
    for name in ("a", "held", "z"):
        (root / name).touch()
    unlink = os.unlink

    def refuse(path: str, *, dir_fd: int | None = None) -> None:
        if os.path.basename(path) == "held":
            raise PermissionError(13, "Permission denied", path)
        unlink(path, dir_fd=dir_fd)

    monkeypatch.setattr(os, "unlink", refuse)
    left = [one for name in ("a", "held", "z") for one in remove_tree(root, name)]

    assert list(map(str, left)) == [f"{root / 'held'}: Permission denied"]
    assert [path.name for path in root.iterdir()] == ["held"]


def test_no_descriptor_stays_open(root: Path, docs: Path) -> None:
    """Whatever was met."""
    (root / "old" / "deep").mkdir(parents=True)
    (root / "old" / "link").symlink_to(docs)
    before = psutil.Process().num_handles() if sys.platform == "win32" else psutil.Process().num_fds()

    for _ in range(3):
        remove_tree(root, "old")
        with pytest.raises(NotFollowedError), opened(root, "old/link/deeper"):
            pass
        with pytest.raises(FileNotFoundError), opened(root, "old/nothing"):
            pass

    assert (psutil.Process().num_handles() if sys.platform == "win32" else psutil.Process().num_fds()) == before
