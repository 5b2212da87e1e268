"""The real folder: what the protocol needs of a drive, and how unfit ones are told."""

from __future__ import annotations

import errno
import os
import stat
import subprocess
import sys
import tracemalloc
from pathlib import Path
from typing import Any

import pytest

from data_engine.errors import WorkspaceError
from data_engine.lease.folder import NotOursError, OsFolder, host_id, lock_id, probe, sync_client
from data_engine.nofollow import NotFollowedError
from tests.lease.simulated_share import Share


def test_a_folder_is_never_renamed_onto_a_filled_one(tmp_path: Path) -> None:
    """The arbiter rests on it; both stay as they were."""
    folder = OsFolder(tmp_path)
    for name in ("a", "b"):
        folder.mkdir(name)
        folder.write(f"{name}/entry", name.encode())

    with pytest.raises(OSError, match=r"."):
        folder.rename_dir("a", "b")

    assert (folder.read("a/entry"), folder.read("b/entry")) == (b"a", b"b")


def test_a_file_is_created_once(tmp_path: Path) -> None:
    """A second creation is refused."""
    folder = OsFolder(tmp_path)
    folder.write("a", b"1")

    with pytest.raises(FileExistsError):
        folder.write("a", b"2")

    assert folder.read("a") == b"1"


def test_a_folder_in_place_of_a_file_is_told_as_what_it_is(tmp_path: Path) -> None:
    """Once for each time that it is asked for; nothing stays open."""
    folder = OsFolder(tmp_path)
    folder.mkdir("a")
    before = len(os.listdir("/proc/self/fd")) if sys.platform == "linux" else 0

    for _ in range(3):
        with pytest.raises(NotOursError, match="not a regular file") as refused:
            folder.read("a")
        assert refused.value.filename == str(tmp_path / "a")

    assert sys.platform != "linux" or len(os.listdir("/proc/self/fd")) == before


def test_a_file_that_could_not_be_written_is_not_left_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A full disk leaves no torn file under the name."""

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "no space left")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="no space"):
        OsFolder(tmp_path).write("a", b"1")

    assert not (tmp_path / "a").exists()


@pytest.mark.skipif(os.name == "nt", reason="modes of POSIX")
def test_colleagues_can_read_what_is_written(tmp_path: Path) -> None:
    """The modes a plain open and mkdir give."""
    folder = OsFolder(tmp_path)
    folder.mkdir("a")
    folder.write("a/b", b"1")
    (tmp_path / "plain").touch()
    (tmp_path / "folder").mkdir()

    def mode(name: str) -> int:
        return stat.S_IMODE((tmp_path / name).stat().st_mode)

    assert (mode("a/b"), mode("a")) == (mode("plain"), mode("folder"))


@pytest.mark.skipif(sys.platform == "win32", reason="an answer of NFS, which Windows words as ENOENT")
def test_a_name_that_another_client_took_away_is_not_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """NFS answers ESTALE in place of ENOENT; it is asked again, then told as what it is."""
    asked = []
    real = os.open

    def stale(path: str, flags: int, *args: Any, **others: Any) -> int:
        if path != "a":
            return real(path, flags, *args, **others)
        asked.append(path)
        raise OSError(errno.ESTALE, "stale file handle", path)

    monkeypatch.setattr(os, "open", stale)
    with pytest.raises(FileNotFoundError):
        OsFolder(tmp_path).read("a")

    assert len(asked) == 6


def test_a_name_that_somebody_has_open_is_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An SMB mount of Linux answers EBUSY until the reader has closed it."""
    folder = OsFolder(tmp_path)
    folder.write("a", b"1")
    refused = [OSError(errno.EBUSY, "busy")] * 2
    real = os.unlink

    def busy(path: str, **others: Any) -> None:
        if refused:
            raise refused.pop()
        real(path, **others)

    monkeypatch.setattr(os, "unlink", busy)
    folder.unlink("a")

    assert not refused
    assert not (tmp_path / "a").exists()


def test_a_local_folder_is_fit_and_the_probe_leaves_nothing(tmp_path: Path) -> None:
    """An empty list means fit."""
    before = list(tmp_path.iterdir())

    assert probe(OsFolder(tmp_path)) == []
    assert list(tmp_path.iterdir()) == before


class Replacing(Share):
    """A server whose folder rename replaces filled folders."""

    def rename_dir(self, src: str, dst: str) -> None:
        for name in list(self.folders.get(dst, ())):
            self.unlink(f"{dst}/{name}")
        super().rename_dir(src, dst)


class Overwriting(Share):
    """A server without exclusive create."""

    def write(self, path: str, data: bytes) -> None:
        if path in self.files:
            self.files[path] = data
        else:
            super().write(path, data)


class Emptying(Share):
    """A server that removes filled folders."""

    def rmdir(self, path: str) -> None:
        for name in list(self.folders.get(path, ())):
            if f"{path}/{name}" in self.files:
                self.unlink(f"{path}/{name}")
            else:
                self.rmdir(f"{path}/{name}")
        super().rmdir(path)


class Forgetful(Share):
    """A server that keeps showing a replaced file."""

    def replace(self, src: str, dst: str) -> None:
        self.unlink(src)


class ReadOnly(Share):
    def mkdir(self, path: str) -> None:
        raise OSError(errno.EROFS, "read-only file system")


@pytest.mark.parametrize(
    ("kind", "told"),
    [
        (Share, []),
        (Replacing, ["a folder rename replaced a filled folder"]),
        (Overwriting, ["an exclusive create replaced a file"]),
        (Emptying, ["a filled folder was removed"]),
        (Forgetful, ["a replaced file still shows its old content"]),
        (ReadOnly, ["nothing can be written: read-only file system"]),
    ],
)
def test_the_probe_tells_what_a_drive_cannot_give(kind: type[Share], told: list[str]) -> None:
    """Each thing the protocol rests on, and it cleans up after itself."""
    share = kind()

    assert probe(share) == told
    assert share.folders == {"": set()}


@pytest.mark.parametrize(
    ("path", "client"),
    [
        ("/home/ann/OneDrive/claims", "OneDrive"),
        ("/mnt/c/Users/ann/OneDrive - Acme Ltd/claims", "OneDrive"),
        ("/Users/ann/Library/CloudStorage/OneDrive-Acme/claims", "OneDrive"),
        ("/Users/ann/Library/CloudStorage/Dropbox/claims", "Dropbox"),
        ("/home/ann/Dropbox (Acme)/claims", "Dropbox"),
        ("/Users/ann/Library/CloudStorage/GoogleDrive-ann@acme.com/My Drive/claims", "Google Drive"),
        ("G:/My Drive/claims", "Google Drive"),
        ("/Users/ann/Library/Mobile Documents/com~apple~CloudDocs/claims", "iCloud Drive"),
        ("/home/ann/Nextcloud/claims", "Nextcloud"),
        ("/home/ann/ownCloud/claims", "ownCloud"),
        ("/Users/ann/Box Sync/claims", "Box"),
        ("/srv/dropboxes/claims", None),
        ("/srv/box/claims", None),
        ("/team/onedriver/claims", None),
        ("/team/claims", None),
    ],
)
def test_sync_clients_are_told_by_their_folders(path: str, client: str | None) -> None:
    """Names that merely contain theirs are left alone."""
    assert sync_client(Path(path)) == client


def test_sync_clients_are_told_by_what_they_leave_and_say(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder may have been given any name."""
    shared, other = tmp_path / "shared", tmp_path / "other"
    for folder in (shared, other):
        (folder / "claims").mkdir(parents=True)
    assert sync_client(shared / "claims") is None
    (shared / ".dropbox.cache").mkdir()
    monkeypatch.setenv("OneDriveCommercial", str(other))

    assert (sync_client(shared / "claims"), sync_client(other / "claims")) == ("Dropbox", "OneDrive")
    assert sync_client(tmp_path) is None


def test_the_lock_has_an_id_of_its_own(tmp_path: Path) -> None:
    """Made once, random, and never the same for two state roots."""
    one, two = tmp_path / "one" / "id", tmp_path / "two" / "id"

    assert lock_id(one) == lock_id(one) != lock_id(two)
    assert len(lock_id(one)) == 32


def test_a_lock_id_that_cannot_be_kept_is_told(tmp_path: Path) -> None:
    """The fix names the folder's rights."""
    (tmp_path / "file").touch()

    with pytest.raises(WorkspaceError, match="cannot be kept"):
        lock_id(tmp_path / "file" / "id")


def test_every_process_of_a_machine_has_the_same_host_id() -> None:
    """And it names the host, because images may share the rest."""
    code = "from data_engine.lease.folder import host_id; print(host_id())"
    root = str(Path(__file__).parents[2])
    other = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True).stdout

    assert host_id() == other.strip()


def test_errors_of_the_drive_stay_what_they_are(tmp_path: Path) -> None:
    """The protocol tells not found, exists and the rest apart."""
    folder: Any = OsFolder(tmp_path)
    folder.mkdir("a")
    folder.write("a/b", b"1")

    for call, path, error in (
        (folder.read, "x", FileNotFoundError),
        (folder.listdir, "x", FileNotFoundError),
        (folder.listdir, "a/b", NotADirectoryError),
        (folder.mkdir, "a", FileExistsError),
        (folder.unlink, "x", FileNotFoundError),
        (folder.rmdir, "x", FileNotFoundError),
        (folder.rmdir, "a", OSError),
    ):
        with pytest.raises(error):
            call(path)


@pytest.fixture
def away(tmp_path: Path) -> tuple[OsFolder, Path]:
    """A shared folder with a link out of it, and what the link leads to."""
    docs = tmp_path / "docs"
    (docs / "inner").mkdir(parents=True)
    (docs / "thesis.docx").write_text("years")
    (tmp_path / "share").mkdir()
    (tmp_path / "share" / "link").symlink_to(docs)
    (tmp_path / "share" / "file").symlink_to(docs / "thesis.docx")
    return OsFolder(tmp_path / "share"), docs


@pytest.mark.parametrize(
    "deed",
    [
        lambda folder: folder.listdir("link"),
        lambda folder: folder.read("link/thesis.docx"),
        lambda folder: folder.read("file"),
        lambda folder: folder.write("link/new", b"1"),
        lambda folder: folder.mkdir("link/new"),
        lambda folder: folder.unlink("link/thesis.docx"),
        lambda folder: folder.unlink("link"),
        lambda folder: folder.unlink("file"),
        lambda folder: folder.rmdir("link/inner"),
        lambda folder: folder.rmdir("link"),
        lambda folder: folder.rename_dir("link", "moved"),
        lambda folder: folder.rename_dir("link/inner", "moved"),
        lambda folder: (folder.write("mine", b"1"), folder.replace("mine", "file")),
        lambda folder: (folder.write("mine", b"1"), folder.replace("mine", "link/thesis.docx")),
        lambda folder: folder.replace("link/thesis.docx", "mine"),
    ],
)
def test_nothing_is_done_through_a_link(away: tuple[OsFolder, Path], deed: Any) -> None:
    """Neither what it leads to nor the link itself is touched."""
    folder, docs = away

    with pytest.raises(NotFollowedError):
        deed(folder)

    assert sorted(path.name for path in docs.iterdir()) == ["inner", "thesis.docx"]
    assert (docs / "thesis.docx").read_text() == "years"
    assert (folder.root / "link").is_symlink()
    assert (folder.root / "file").is_symlink()


def test_a_link_may_be_moved_as_itself(away: tuple[OsFolder, Path]) -> None:
    """So that it can be kept elsewhere."""
    folder, docs = away
    folder.replace("link", "kept")
    assert ((folder.root / "kept").readlink(), folder.kind("kept"), sorted(folder.listdir(""))) == (
        docs,
        "foreign",
        ["file", "kept"],
    )


def test_the_root_itself_may_be_a_link(away: tuple[OsFolder, Path]) -> None:
    """Where a workspace lies is the user's choice."""
    folder, docs = away
    assert OsFolder(folder.root / "link").read("thesis.docx") == b"years"
    assert docs.exists()


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="pipes of POSIX")
def test_only_regular_files_of_a_size_that_can_be_are_read(tmp_path: Path) -> None:
    """A pipe would be waited for for ever, and a huge file would fill the memory."""
    folder = OsFolder(tmp_path)
    os.mkfifo(tmp_path / "pipe")
    with (tmp_path / "huge").open("wb") as file:
        file.truncate(10**12)
    folder.write("fine", b"12345")

    for name, limit, why in (
        ("pipe", 10, "not a regular file"),
        ("huge", 10**9, "more than"),
        ("fine", 4, "more than"),
    ):
        with pytest.raises(NotOursError, match=why):
            folder.read(name, limit)
    assert folder.read("fine", 5) == b"12345"


def test_a_read_takes_as_much_room_as_the_file_and_not_as_it_might(tmp_path: Path) -> None:
    """Windows touches all room that a read is given."""
    (tmp_path / "beat").write_bytes(b"short")
    folder = OsFolder(tmp_path)
    folder.read("beat")

    tracemalloc.start()
    try:
        assert folder.read("beat") == b"short"
        assert tracemalloc.get_traced_memory()[1] < 1_000_000
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("size", [0, 3, 7])
def test_of_a_file_that_grows_while_it_is_read_nothing_is_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    """It had `size` bytes when it was looked at."""
    (tmp_path / "log").write_bytes(b"1234567" * 20_000)
    look = os.fstat
    monkeypatch.setattr(
        os, "fstat", lambda file: os.stat_result([*look(file)[:6], min(size, look(file).st_size), *look(file)[7:10]])
    )
    folder = OsFolder(tmp_path)

    assert folder.read("log") == b"1234567" * 20_000
    with pytest.raises(NotOursError, match="more than"):
        folder.read("log", 139_999)


def test_a_folder_with_too_many_names_is_not_believed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("data_engine.lease.folder.LARGEST_LISTING", 3)
    for name in "abcd":
        (tmp_path / name).touch()

    with pytest.raises(NotOursError, match="more than 3 names"):
        OsFolder(tmp_path).listdir("")
