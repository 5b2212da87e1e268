"""When a file counts as unchanged: by its times, and by its content where times could hide a change."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest

from data_engine.engine.access.access_log import UNREADABLE, compare, signature_of

LONG_AGO = (1_000_000_000, 1_000_000_000)
ALL_KINDS = ["content", "stat", "kind", "folder", "names", "entries", "link", "database", "tree"]


@pytest.mark.parametrize("kind", ALL_KINDS)
def test_what_nobody_touched_is_as_it_was(tmp_path: Path, kind: str) -> None:
    """Files, folders, and what is not there."""
    (tmp_path / "a").write_text("1")
    for path in (tmp_path / "a", tmp_path, tmp_path / "none"):
        before = signature_of(kind, str(path))  # type: ignore[arg-type]
        assert compare(kind, str(path), before) is not None  # type: ignore[arg-type]


def test_a_young_file_counts_by_content_too(tmp_path: Path) -> None:
    """Two writes within one tick of the clock leave equal times; only the content tells."""
    path = tmp_path / "a"
    path.write_text("1")
    before = signature_of("content", str(path))

    assert before.fresh_ns > 0
    assert before.content is not None
    assert compare("content", str(path), replace(before, content="what it held a moment before")) is None


def test_an_old_file_counts_by_its_times(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_text("1")
    facts = path.stat()
    before = signature_of("content", str(path), now_ns=facts.st_ctime_ns + 2_000_000_001)

    assert (before.fresh_ns, before.content) == (0, None)
    assert signature_of("content", str(path), now_ns=facts.st_ctime_ns + 1_999_999_999).fresh_ns > 0


def test_a_young_file_settles_once_it_is_old(tmp_path: Path) -> None:
    """After its content was compared later than any clock is coarse, its times suffice."""
    path = tmp_path / "a"
    path.write_text("1")
    before = signature_of("content", str(path))
    an_hour_ago = replace(before, fresh_ns=before.fresh_ns - 3_600_000_000_000)

    settled = compare("content", str(path), an_hour_ago)
    assert settled is not None
    assert (settled.fresh_ns, settled.content) == (0, None)
    assert compare("content", str(path), before) == before


def test_a_young_file_too_large_to_read_is_never_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "a"
    with path.open("wb") as file:
        file.truncate(65 * 1024 * 1024)
    before = signature_of("content", str(path))

    assert before.content is None
    assert compare("content", str(path), before) is None
    facts = path.stat()
    assert (
        compare("content", str(path), signature_of("content", str(path), now_ns=facts.st_ctime_ns + 3_000_000_000))
        is not None
    )


def test_a_device_is_never_as_it_was() -> None:
    assert signature_of("content", os.devnull) is UNREADABLE
    assert compare("content", os.devnull, UNREADABLE) is None


def test_a_database_counts_with_its_log(tmp_path: Path) -> None:
    """An empty log, as opening makes one, is no change; one with something in it is."""
    path = tmp_path / "d"
    path.write_text("1")
    before = signature_of("database", str(path))
    (tmp_path / "d-wal").touch()
    assert compare("database", str(path), before) is not None
    (tmp_path / "d-wal").write_text("x")

    assert compare("database", str(path), before) is None


def test_a_pattern_counts_by_what_lies_where_it_starts(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in/a1.csv").write_text("1")
    pattern = str(tmp_path / "in/a*.csv")
    before = signature_of("tree", pattern)
    (tmp_path / "other").write_text("")
    assert compare("tree", pattern, before) is not None
    (tmp_path / "in/a2.csv").write_text("")

    assert compare("tree", pattern, before) is None
