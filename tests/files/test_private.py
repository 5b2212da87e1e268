"""What is private is this user's alone: whatever the umask, whoever made it, and only on this side of a link."""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from data_engine import private
from data_engine.errors import WorkspaceError
from data_engine.files import write_bytes_atomic, write_text_atomic
from data_engine.locks import OsLock
from data_engine.nofollow import NotFollowedError
from data_engine.platforms import access

pytestmark = pytest.mark.skipif(
    sys.platform == "win32", reason="modes of POSIX; tests/platforms/test_access.py is the twin"
)


@pytest.fixture(params=[0o000, 0o022, 0o077], ids="umask {:03o}".format)
def umask(request: pytest.FixtureRequest) -> Iterator[int]:
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


def modes(folder: Path) -> dict[str, int]:
    """The mode of each folder and file below, by its path there; the folder itself is "."."""
    found = {path.relative_to(folder).as_posix(): path for path in [folder, *folder.rglob("*")]}
    return {name: stat.S_IMODE(path.lstat().st_mode) for name, path in found.items() if not path.is_symlink()}


def old_tree(root: Path) -> Path:
    """A folder as earlier versions left it."""
    (root / "artifacts" / "locks").mkdir(parents=True)
    (root / "artifacts" / "ledger").write_text("x")
    (root / "artifacts" / "locks" / "group.lock").touch()
    for folder in (root, root / "artifacts", root / "artifacts" / "locks"):
        folder.chmod(0o755)
    (root / "artifacts" / "ledger").chmod(0o644)
    (root / "artifacts" / "locks" / "group.lock").chmod(0o755)
    return root


REPAIRED = {
    ".": 0o700,
    "artifacts": 0o700,
    "artifacts/ledger": 0o600,
    "artifacts/locks": 0o700,
    "artifacts/locks/group.lock": 0o600,
}


def test_what_is_made_is_private_whatever_the_umask(tmp_path: Path, umask: int) -> None:
    """Folders with all above them up to the root, files of every kind, locks."""
    root = tmp_path / "root"
    private.settle(root)
    private.make_folder(root / "a" / "b")
    private.make_file(root / "a" / "ledger")
    with open(root / "a" / "log", "a", opener=private.open_file):
        pass
    write_text_atomic(root / "a" / "text", "x", mode=private.FILE)
    write_bytes_atomic(root / "a" / "bytes", b"x", mode=private.FILE)
    lock = OsLock(root / "locks" / "a.lock")
    assert lock.try_acquire()
    lock.release()

    assert {mode for name, mode in modes(root).items() if (root / name).is_dir()} == {0o700}
    assert {mode for name, mode in modes(root).items() if (root / name).is_file()} == {0o600}
    assert len(modes(root)) == 9
    assert private.exposures(root) == []


def test_what_is_shared_keeps_the_mode_of_a_plain_open(tmp_path: Path, umask: int) -> None:
    """So that colleagues can read it."""
    write_text_atomic(tmp_path / "shared", "x")
    (tmp_path / "plain").touch()

    assert modes(tmp_path)["shared"] == modes(tmp_path)["plain"] == 0o666 & ~umask


def test_an_open_root_is_repaired_with_all_in_it(tmp_path: Path) -> None:
    """As the first process of this version finds what an earlier one made."""
    root = old_tree(tmp_path / "root")
    assert {one.path.name for one in private.exposures(root)} == {"root", "ledger", "group.lock"}

    private.settle(root)

    assert modes(root) == REPAIRED
    assert private.exposures(root) == []


def test_a_closed_root_is_only_looked_at(tmp_path: Path) -> None:
    """Every kernel does so at its first flow; the daemon looks at the rest."""
    root = old_tree(tmp_path / "root")
    root.chmod(0o700)
    before = modes(root)

    private.settle(root)

    assert modes(root) == before
    private.fix(root)
    assert modes(root) == REPAIRED


def test_repairing_stays_on_this_side_of_a_link(tmp_path: Path) -> None:
    """What a link leads to keeps its mode; the link is told."""
    docs = tmp_path / "docs"
    docs.mkdir(mode=0o755)
    (docs / "letter").touch(mode=0o644)
    root = old_tree(tmp_path / "root")
    (root / "artifacts" / "docs").symlink_to(docs)
    (root / "artifacts" / "letter").symlink_to(docs / "letter")
    before = modes(docs)

    left = private.fix(root)

    assert [one.path.name for one in left] == ["docs", "letter"]
    assert modes(docs) == before
    assert modes(root) == REPAIRED
    assert [str(one) for one in private.exposures(root)] == [str(one) for one in left]


def test_a_file_that_was_open_is_closed_where_it_is_used(tmp_path: Path) -> None:
    """Without a daemon that repairs all: its lock, its log, its ledger."""
    for name in ("a.lock", "log", "ledger"):
        (tmp_path / name).touch()
        (tmp_path / name).chmod(0o755)

    lock = OsLock(tmp_path / "a.lock")
    lock.try_acquire()
    lock.release()
    with open(tmp_path / "log", "a", opener=private.open_file):
        pass
    private.make_file(tmp_path / "ledger")

    assert {modes(tmp_path)[name] for name in ("a.lock", "log", "ledger")} == {0o600}


def test_links_are_refused_where_something_is_written(tmp_path: Path) -> None:
    """At the file, at its folder, and anywhere on the way from the root."""
    docs, root = tmp_path / "docs", tmp_path / "root"
    docs.mkdir()
    private.settle(root)
    (root / "docs").symlink_to(docs)
    (root / "file").symlink_to(docs / "new")

    for action in (
        lambda: private.make_folder(root / "docs"),
        lambda: private.make_folder(root / "docs" / "a" / "b"),
        lambda: private.open_file(root / "docs" / "new", os.O_RDWR | os.O_CREAT),
        lambda: private.open_file(root / "file", os.O_RDWR | os.O_CREAT),
        lambda: private.make_file(root / "file"),
        lambda: private.make_file(root / "docs" / "new"),
    ):
        with pytest.raises(NotFollowedError):
            action()
    assert list(docs.iterdir()) == []


def test_the_root_may_be_a_link_of_the_users_own(tmp_path: Path) -> None:
    """To another local drive, for one."""
    (tmp_path / "big").mkdir(mode=0o755)
    (tmp_path / "root").symlink_to(tmp_path / "big")

    private.settle(tmp_path / "root")
    private.make_file(tmp_path / "root" / "ledger")

    assert modes(tmp_path / "big") == {".": 0o700, "ledger": 0o600}


@pytest.mark.skipif(sys.platform == "win32" or os.getuid() != 0, reason="only root can give a folder away")
def test_a_root_of_another_user_is_refused(tmp_path: Path) -> None:
    """It is not taken over, and not used either: they could read all that is put there."""
    root = old_tree(tmp_path / "root")
    os.chown(root, 65534, 65534)
    before = modes(root)

    with pytest.raises(WorkspaceError, match=r"belongs to another user \(uid 65534\)") as caught:
        private.settle(root)

    assert "state root of their own" in str(caught.value.fix)
    assert modes(root) == before


def test_a_drive_that_keeps_no_modes_is_worked_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The doctor tells; the tree is walked once and not at every look."""
    root = old_tree(tmp_path / "root")
    monkeypatch.setattr(access, "close", lambda path, facts, *, dir_fd=None: None)

    private.settle(root)
    monkeypatch.setattr(private, "fix", lambda path: pytest.fail("walked again"))
    private.settle(root)

    assert private.exposures(root)
