"""Outputs are moved aside and back as plain files only, and never through a link that somebody put beside the mirror."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from data_engine.engine.left_behind import SET_ASIDE, LeftBehind, put_back, set_aside
from data_engine.errors import FlowValidationError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder that others may write to, with a mirror of two outputs, and somebody's home beside it."""
    for name in ("share/out/sub", "home/sub"):
        (tmp_path / name).mkdir(parents=True)
    for name in ("share/out/a.txt", "share/out/sub/b.txt"):
        (tmp_path / name).write_text(name)
    (tmp_path / "home" / "id_rsa").write_text("private")
    (tmp_path / "home" / "sub" / "b.txt").write_text("mine")
    return tmp_path


def left(folder: Path, *names: str) -> list[LeftBehind]:
    out = folder / "share" / "out"
    return [LeftBehind(str(out / name), "f", "gone", "", str(out)) for name in names]


def files(folder: Path) -> list[str]:
    found = [path for path in folder.rglob("*") if path.is_file() and not path.is_symlink()]
    return sorted(path.relative_to(folder).as_posix() for path in found)


def test_what_was_moved_aside_comes_back(folder: Path) -> None:
    out = folder / "share" / "out"

    moved = set_aside(left(folder, "a.txt", "sub/b.txt"))
    assert files(out) == []
    assert [path.is_file() for path in moved] == [True, True]
    assert put_back([out]) == [out / "a.txt", out / "sub" / "b.txt"]

    assert files(folder / "share") == ["out/a.txt", "out/sub/b.txt"]
    assert sorted(path.name for path in (folder / "share").iterdir()) == ["out"]


@pytest.mark.parametrize("place", [".", "stamp", "mirror", "mirror/sub"])
def test_a_link_among_what_was_moved_aside_is_not_followed_back(folder: Path, place: str) -> None:
    """Neither for the newest time, as one of the year 9999, nor for any part of the way; all else comes back."""
    out, aside = folder / "share" / "out", folder / "share" / SET_ASIDE
    if place != ".":
        set_aside(left(folder, "a.txt"))
    stamp = aside / "9999-01-01_00-00-00"
    link = {".": aside, "stamp": stamp, "mirror": stamp / "out", "mirror/sub": stamp / "out" / "ssh"}[place]
    link.parent.mkdir(parents=True, exist_ok=True)
    link.symlink_to(folder / "home")

    back = put_back([out])

    assert back == ([] if place == "." else [out / "a.txt"])
    assert files(folder / "home") == ["id_rsa", "sub/b.txt"]
    assert "id_rsa" not in str(files(folder / "share"))


def test_a_link_inside_the_mirror_is_followed_neither_away_nor_back(folder: Path) -> None:
    out = folder / "share" / "out"
    (out / "sub").rename(folder / "kept")
    (out / "sub").symlink_to(folder / "home" / "sub")
    with pytest.raises(FlowValidationError, match="it is a link"):
        set_aside(left(folder, "sub/b.txt"))
    assert files(folder / "home") == ["id_rsa", "sub/b.txt"]

    (out / "sub").unlink()
    (folder / "kept").rename(out / "sub")
    set_aside(left(folder, "sub/b.txt"))
    (out / "sub").rmdir()
    (out / "sub").symlink_to(folder / "home")
    with pytest.raises(FlowValidationError, match="it is a link"):
        put_back([out])
    assert files(folder / "home") == ["id_rsa", "sub/b.txt"]


def test_a_path_that_leads_out_of_its_mirror_is_not_moved(folder: Path) -> None:
    """A row of the history may be anybody's."""
    with pytest.raises(FlowValidationError, match="leads out of its mirror"):
        set_aside(left(folder, "../../home/id_rsa"))
    assert files(folder / "home") == ["id_rsa", "sub/b.txt"]


def test_links_and_pipes_are_moved_neither_away_nor_back(folder: Path) -> None:
    out = folder / "share" / "out"
    (out / "key").symlink_to(folder / "home" / "id_rsa")
    os.mkfifo(out / "pipe")
    assert set_aside(left(folder, "key", "pipe")) == []

    set_aside(left(folder, "a.txt"))
    (aside,) = (folder / "share" / SET_ASIDE).glob("*/out")
    (aside / "key").symlink_to(folder / "home" / "id_rsa")
    os.mkfifo(aside / "other")
    assert put_back([out]) == [out / "a.txt"]
    assert sorted(path.name for path in out.iterdir()) == ["a.txt", "key", "pipe", "sub"]


def test_an_earlier_time_is_looked_at_where_of_the_newest_nothing_can_go_back(folder: Path) -> None:
    out = folder / "share" / "out"
    set_aside(left(folder, "sub/b.txt"), now_s=1_000.0)
    set_aside(left(folder, "a.txt"), now_s=2_000.0)
    (out / "a.txt").write_text("new")

    assert put_back([out]) == [out / "sub" / "b.txt"]
    assert (out / "a.txt").read_text() == "new"
    (out / "a.txt").unlink()
    assert put_back([out]) == [out / "a.txt"]


def test_the_last_time_is_told_across_a_change_of_the_clock(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """When clocks go back an hour, what was moved aside afterwards is later all the same; so is what a local time says."""
    monkeypatch.setenv("TZ", "Europe/Berlin")
    time.tzset()
    try:
        out, aside = folder / "share" / "out", folder / "share" / SET_ASIDE
        before_s = 1_792_889_700.0  # 2026-10-25 02:15 in summer
        set_aside(left(folder, "sub/b.txt"), now_s=before_s)
        set_aside(left(folder, "a.txt"), now_s=before_s + 2_700)  # 02:00 in winter
        earlier = aside / "2026-10-25_01-30-00" / "out"
        earlier.mkdir(parents=True)
        (earlier / "of an earlier version.txt").write_text("x")

        assert [put_back([out]) for _ in range(4)] == [
            [out / "a.txt"],
            [out / "sub" / "b.txt"],
            [out / "of an earlier version.txt"],
            [],
        ]
    finally:
        monkeypatch.undo()
        time.tzset()


def test_what_is_moved_aside_twice_within_a_second_is_kept_twice(folder: Path) -> None:
    out = folder / "share" / "out"
    for text in ("one", "two"):
        (out / "a.txt").write_text(text)
        set_aside(left(folder, "a.txt"))

    assert sorted(path.read_text() for path in (folder / "share" / SET_ASIDE).rglob("a.txt")) == ["one", "two"]
