"""Opening files, locks, drives and names, as each system has them."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from data_engine.errors import FlowValidationError
from data_engine.files import rename_folder, replace_file
from data_engine.flow.paths import inside
from data_engine.platforms import files as opened
from data_engine.platforms import names
from data_engine.platforms.drives import network_drive
from data_engine.platforms.files import (
    OWN,
    content_of,
    is_locked,
    is_open_elsewhere,
    is_placeholder,
    open_shared,
    open_to_read,
    read_at,
    who_locks,
    write_at,
)
from data_engine.platforms.host import shell_line
from tests.platforms.as_windows import as_windows

ON_WINDOWS = sys.platform == "win32"


def test_a_file_that_is_open_by_us_can_be_read_renamed_and_removed_by_others(tmp_path: Path) -> None:
    """Nobody waits for a handle of ours."""
    path = tmp_path / "a"
    descriptor = open_shared(path, os.O_RDWR | os.O_CREAT)
    os.write(descriptor, b"text")

    assert path.read_bytes() == b"text"
    path.rename(tmp_path / "b")
    (tmp_path / "b").unlink()
    os.close(descriptor)


def test_a_file_that_is_read_can_be_replaced_by_its_owner(tmp_path: Path) -> None:
    """As Excel does when it saves: it renames the old one and puts the new one in its place."""
    path = tmp_path / "a.csv"
    path.write_bytes(b"a\r\n\x1ab")
    with open_to_read(path) as file:
        assert file.read(2) == b"a\r"
        path.rename(tmp_path / "old.csv")
        path.write_bytes(b"new")
        (tmp_path / "old.csv").unlink()
        assert file.read() == b"\n\x1ab"

    assert content_of(path) == b"new"
    with pytest.raises(FileNotFoundError):
        open_to_read(tmp_path / "gone")
    with pytest.raises(OSError, match=r"."):
        content_of(tmp_path)


@pytest.mark.parametrize(
    ("flags", "before", "after"),
    [
        (os.O_RDWR | os.O_CREAT, b"old", b"new"),
        (os.O_RDWR | os.O_CREAT | os.O_TRUNC, b"longer", b"new"),
        (os.O_WRONLY | os.O_APPEND, b"old", b"oldnew"),
        (os.O_WRONLY | os.O_CREAT | os.O_EXCL, None, b"new"),
    ],
)
def test_flags_mean_what_they_mean_to_the_system(
    tmp_path: Path, flags: int, before: bytes | None, after: bytes
) -> None:
    """Bytes are kept as they are: no line ends are made."""
    path = tmp_path / "a"
    if before is not None:
        path.write_bytes(before)
    descriptor = open_shared(path, flags)
    assert os.write(descriptor, b"new") == 3
    os.close(descriptor)

    assert path.read_bytes() == after


def test_what_is_there_or_is_not_there_is_told_as_ever(tmp_path: Path) -> None:
    """With the class of the error and the path in it."""
    (tmp_path / "a").touch()
    with pytest.raises(FileNotFoundError) as gone:
        open_shared(tmp_path / "b", os.O_RDONLY)
    with pytest.raises(FileExistsError):
        open_shared(tmp_path / "a", os.O_WRONLY | os.O_CREAT | os.O_EXCL)

    assert gone.value.filename == str(tmp_path / "b")


def test_a_place_in_a_file_is_read_and_written(tmp_path: Path) -> None:
    descriptor = os.open(tmp_path / "a", os.O_RDWR | os.O_CREAT | OWN)

    assert write_at(descriptor, b"a\r\nb\x1ac", 2) == 6
    assert (read_at(descriptor, 10, 0), read_at(descriptor, 2, 3)) == (b"\0\0a\r\nb\x1ac", b"\r\n")
    os.close(descriptor)


def test_a_lock_is_shared_or_alone(tmp_path: Path) -> None:
    """Any number may share it; who wants it alone waits for them, and they for that one."""
    one, two, three = (os.open(tmp_path / "a", os.O_RDWR | os.O_CREAT | OWN) for _ in range(3))
    opened.lock_shared(one)
    opened.lock_shared(two)
    with pytest.raises(OSError, match=r".*"):
        opened.lock(three)
    opened.unlock(one)
    opened.unlock(two)
    opened.lock(three)
    for other in (one, two):
        with pytest.raises(OSError, match=r".*"):
            opened.lock_shared(other)
    for descriptor in (one, two, three):
        os.close(descriptor)


@pytest.mark.skipif(not ON_WINDOWS, reason="elsewhere an open file can be replaced")
def test_a_target_that_somebody_holds_is_told_by_its_number_and_tried_again(tmp_path: Path) -> None:
    """As Excel holds a workbook: no word of the system's message is read, which is in the user's language."""
    target, fresh = tmp_path / "a.csv", tmp_path / "b.csv"
    target.write_text("old")
    fresh.write_text("new")
    with target.open():
        with pytest.raises(PermissionError) as held:
            replace_file(fresh, target)
        assert is_open_elsewhere(held.value)
        assert "open" in str(held.value)
        assert fresh.exists()
    replace_file(fresh, target)

    assert target.read_text() == "new"


@pytest.mark.skipif(not ON_WINDOWS, reason="numbers of Windows; tests/engine/test_stages.py asks with others")
@pytest.mark.parametrize(
    ("number", "is_open"), [(5, True), (32, True), (33, True), (1224, True), (2, False), (112, False), (183, False)]
)
def test_which_numbers_say_that_somebody_has_a_file_open(number: int, is_open: bool) -> None:
    """Not that it is gone, that the drive is full, or that the name is taken."""
    assert is_open_elsewhere(OSError(None, "Zugriff verweigert", "a", number)) is is_open


@pytest.mark.parametrize(("refusals", "is_renamed"), [(3, True), (99, False)])
def test_a_folder_is_renamed_once_nobody_looks_into_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, refusals: int, is_renamed: bool
) -> None:
    """As a virus scanner does with what was just written. Wine renames such a folder, so it is refused here."""
    fresh, target = tmp_path / "fresh", tmp_path / "target"
    fresh.mkdir()
    left, rename = [None] * refusals, os.rename

    def refuse(old: Path, new: Path) -> None:
        if left:
            left.pop()
            raise OSError(errno.EBUSY, "busy", str(old), *([5] if ON_WINDOWS else []))
        rename(old, new)

    monkeypatch.setattr(os, "rename", refuse)
    with suppress(OSError):
        rename_folder(fresh, target)

    assert (target.is_dir(), fresh.is_dir()) == (is_renamed, not is_renamed)


def test_a_folder_that_is_there_is_told_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another process was quicker: nobody waits."""
    (tmp_path / "fresh").mkdir()
    (tmp_path / "target").mkdir()
    (tmp_path / "target" / "a.txt").touch()
    monkeypatch.setattr(time, "sleep", lambda _: pytest.fail("it waited"))

    with pytest.raises(OSError, match="target"):
        rename_folder(tmp_path / "fresh", tmp_path / "target")


@pytest.mark.skipif(not ON_WINDOWS, reason="only Windows knows such a state")
def test_a_file_that_nobody_else_may_read_now_is_locked(tmp_path: Path) -> None:
    """A program that writes it has it for itself; when it lets go it is no longer."""
    path = tmp_path / "a.xlsx"
    path.write_text("x")
    hold = (
        "import ctypes, sys; k = ctypes.windll.kernel32; k.CreateFileW.restype = ctypes.c_void_p\n"
        "h = k.CreateFileW(sys.argv[1], 0xC0000000, 0, None, 3, 0x80, None); print(h, flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", hold, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as holder:
        assert holder.stdout is not None
        holder.stdout.readline()
        assert is_locked(str(path))
        assert who_locks(str(path)) is not None
    assert not is_locked(str(path))
    assert who_locks(str(path)) is None
    assert not is_locked(str(tmp_path / "gone"))


def test_a_plain_file_is_no_placeholder(tmp_path: Path) -> None:
    (tmp_path / "a").touch()

    assert not is_placeholder((tmp_path / "a").stat())


@pytest.mark.parametrize(
    ("attributes", "is_elsewhere"),
    [
        (0x20, False),  # an ordinary file
        (0x8_0020, False),  # pinned: "always keep on this device"
        (0x400, False),  # a reparse point alone, as a link is
        (0x1000, True),  # offline: an archive, and older OneDrive
        (0x4_0000, True),  # recall on open
        (0x40_0420, True),  # recall on data access: OneDrive's "online only"
    ],
)
def test_a_placeholder_is_told_by_its_attributes_on_windows(
    monkeypatch: pytest.MonkeyPatch, attributes: int, is_elsewhere: bool
) -> None:
    files = as_windows(monkeypatch, "data_engine.platforms.files")

    assert files.is_placeholder(SimpleNamespace(st_file_attributes=attributes)) is is_elsewhere


@pytest.mark.skipif(ON_WINDOWS, reason="flags of macOS; the test above is the twin")
@pytest.mark.parametrize(("flags", "is_elsewhere"), [(0, False), (0x40, False), (0x4000_0040, True)])
def test_a_placeholder_is_told_by_its_flags_on_macos(flags: int, is_elsewhere: bool) -> None:
    """SF_DATALESS: iCloud has moved the content out."""
    assert is_placeholder(cast(os.stat_result, SimpleNamespace(st_flags=flags))) is is_elsewhere


@pytest.mark.parametrize("is_elsewhere", [False, True])
def test_who_locks_a_file_opens_no_placeholder(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, is_elsewhere: bool
) -> None:
    """It would fetch the content of every file of a folder that a scan meets."""
    holders = as_windows(monkeypatch, "data_engine.platforms.files")
    opened: list[str] = []
    monkeypatch.setattr(holders, "is_placeholder", lambda facts: is_elsewhere)
    monkeypatch.setattr(holders, "is_locked", lambda path: bool(opened.append(path)) or True)
    monkeypatch.setattr(holders, "who_holds", lambda path: "Excel")
    (tmp_path / "a.xlsx").touch()

    assert holders.who_locks(str(tmp_path / "a.xlsx")) == (None if is_elsewhere else "Excel")
    assert bool(opened) is not is_elsewhere
    assert holders.who_locks(str(tmp_path / "gone")) is None


@pytest.mark.parametrize(
    ("tag", "is_itself"),
    [(0, True), (0x9000_601A, True), (0xA000_0003, False)],
    ids=["folder", "folder of OneDrive", "junction"],
)
def test_a_junction_is_no_folder_to_look_through(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, tag: int, is_itself: bool
) -> None:
    """It may lead to a folder above it, as several in a user's own folder do; what OneDrive keeps is looked through."""
    files = as_windows(monkeypatch, "data_engine.platforms.files")
    facts = SimpleNamespace(st_reparse_tag=tag)
    entry = SimpleNamespace(is_dir=lambda **_: True, stat=lambda **_: facts)

    assert files.is_folder_itself(entry) is is_itself
    monkeypatch.setattr(os, "lstat", lambda path: facts)
    assert files.is_link("a") is not is_itself


@pytest.mark.parametrize(
    ("typed", "real", "listed"),
    [
        ("C:\\in\\A.CSV", "C:\\In\\a.csv", "C:\\In\\a.csv"),
        ("C:\\in\\link.csv", "D:\\far\\a.csv", "C:\\in\\link.csv"),
    ],
    ids=["other case", "a link"],
)
def test_a_file_is_known_by_the_name_in_its_folder(
    monkeypatch: pytest.MonkeyPatch, typed: str, real: str, listed: str
) -> None:
    """Else what is run by hand as A.CSV would be another source than the a.csv of a scan; a linked file keeps its own name."""
    windows = as_windows(monkeypatch, "data_engine.platforms.names")
    monkeypatch.setattr(windows, "real_path", lambda path: real)
    monkeypatch.setattr(windows, "compared", str.lower)

    assert windows.as_listed(typed) == listed


def test_this_folder_is_on_a_local_drive(tmp_path: Path) -> None:
    assert network_drive(tmp_path) is None
    assert network_drive(tmp_path / "not" / "there") is None


@pytest.mark.skipif(not ON_WINDOWS, reason="paths of Windows")
def test_a_unc_path_is_on_a_network_drive() -> None:
    """Also of a server that does not answer, without a look at it."""
    assert network_drive(Path(r"\\server\share\folder")) == "network drive"


WRONG = [
    "aux",
    "AUX.csv",
    "con",
    "nul.tar.gz",
    "com1",
    "lpt9.txt",
    "a.",
    "a ",
    "a:b",
    "what?.csv",
    "a|b",
    "sub/prn",
    "sub. /x",
]
RIGHT = ["auxiliary.csv", "console", "com0", "com10", "a.b", ".hidden", "..", "sub/../a", "ünï.csv", "a b.csv"]


@pytest.mark.parametrize("name", WRONG)
def test_a_name_that_windows_cannot_keep_is_refused_with_the_fix(tmp_path: Path, name: str) -> None:
    """Before anything is written; elsewhere it is a name like others."""
    if not ON_WINDOWS:
        assert names.why_refused(name) is None
        return
    with pytest.raises(FlowValidationError, match="cannot be a file here: Windows") as refused:
        inside(tmp_path, f"x/{name}", where="here")
    assert refused.value.fix


@pytest.mark.parametrize("name", RIGHT)
def test_other_names_are_taken(name: str) -> None:
    assert names.why_refused(name) is None


WORDS = ["plain", r"C:\my flows", "a&b", "it's", "a b", "100%", "$x"]


@pytest.mark.parametrize("word", WORDS)
def test_a_word_that_is_typed_as_the_hint_says_comes_as_it_is(word: str) -> None:
    """Of the shell that people have: there a hint can be copied whole."""
    if ON_WINDOWS and "$" in word:
        pytest.skip("PowerShell reads it in double quotes, so it is in single ones, which the prompt does not know")
    line = shell_line([sys.executable, "-c", "import sys; print(sys.argv[1])", word])
    assert subprocess.run(line, shell=True, capture_output=True, text=True, check=True).stdout == f"{word}\n"


POWERSHELL_ENDS = set(" \t;&|()<>{},@#`$\"'")
"""What ends a bare word of PowerShell, or means something in or before it."""


def powershell_word(text: str) -> str:
    """What PowerShell takes for one typed argument; ValueError where that is no such word, or not the whole text.

    Reference: about_Quoting_Rules: in double quotes `$` and a backtick are read, `""` is one; in single ones only `''` is.
    """
    mark = text[:1]
    if mark not in ("'", '"'):
        if not text or set(text) & POWERSHELL_ENDS:
            raise ValueError(f"no word: {text}")
        return text
    inside = text[1:-1].replace(mark * 2, "\0")
    if text[-1] != mark or len(text) < 2 or mark in inside or (mark == '"' and set(inside) & set("$`")):
        raise ValueError(f"no word: {text}")
    return inside.replace("\0", mark)


@pytest.mark.parametrize("text", ["", "a b", "a&b", "$x", '"$x"', '"a', "'it's'", "it's"])
def test_the_reader_of_powershells_words_refuses_what_is_none(text: str) -> None:
    with pytest.raises(ValueError, match="no word"):
        powershell_word(text)


@pytest.mark.parametrize(
    "word",
    [
        *WORDS,
        "",
        r"C:\a;b",
        r"\\server\share\a,b",
        "(x)",
        "{x}",
        "@x",
        "#1",
        "a`b",
        "$x's",
        "`it's`",
        "a^b",
        "a!b",
        "<a>|b",
    ],
)
def test_on_windows_a_word_of_a_hint_is_one_of_powershell(monkeypatch: pytest.MonkeyPatch, word: str) -> None:
    """The shell that a new terminal of Windows opens; the command prompt reads the same, but for `$`, a backtick and `%`."""
    host = as_windows(monkeypatch, "data_engine.platforms.host")

    line = host.shell_line(["data-engine", word])
    assert powershell_word(line.removeprefix("data-engine ")) == word
