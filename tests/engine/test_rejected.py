"""Rejected rows on the disk: there before the outputs of their run, those of one run, and gone when none are rejected."""

from __future__ import annotations

import errno
import multiprocessing
import os
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import duckdb
import polars as pl
import pytest

from data_engine import Flow, FlowExecutionError, FlowValidationError, Workspace
from data_engine.engine.local_workspace import local_workspace
from data_engine.engine.quarantine import Quarantine, rejected_rows
from data_engine.flow.context import FlowContext
from data_engine.flow.rules import CheckResult
from data_engine.status.build import rejected_now
from tests.engine import rejecting
from tests.engine.rejecting import KINDS, flow_of, put_source, versions

ENGINE = [f"data_engine.engine.{name}" for name in ("run", "recording", "quarantine", "publication", "stage")]
FRAME = pl.DataFrame({"id": [1, 2, 3], "amount": [1.0, -2.0, None]})


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return Workspace.create(tmp_path / "ws").root


def flow_with(root: Path, *frames: pl.DataFrame, **options: Any) -> Flow:
    """A flow that checks each of the frames."""
    flow = Flow(group="G", name="claims", _workspace_root=root)
    for frame in frames:
        flow = flow.step(lambda context, frame=frame: frame)
        flow = flow.check({"positive": "amount > 0"}, on_fail="quarantine", **options)
    return flow


def kept(root: Path, name: str = "all") -> pl.DataFrame:
    return pl.read_parquet(root / "rejected" / "claims" / f"{name}.parquet")


def test_rejected_rows_have_their_columns_and_where_they_come_from(root: Path) -> None:
    """And the folder is nothing for Git."""
    (context,) = flow_with(root, FRAME).run_once()
    found = kept(root)

    assert found.columns == ["id", "amount", "_row", "_rules", "_check", "_run", "_source"]
    assert found.select("id", "_row", "_check").rows() == [(2, 1, "Check"), (3, 2, "Check")]
    assert set(found["_run"]) == {context.metadata["run_id"]}
    assert (root / "rejected" / ".gitignore").read_text() == "*\n"
    assert [one["rules"] for one in rejected_rows(root)] == [{"positive": 2}]
    assert rejected_now(local_workspace(root).ledger()) == {("claims", ""): 2}


def test_rows_of_several_checks_lie_in_one_file(root: Path) -> None:
    """A column that one lacks is null, and one of two types is text."""
    other = pl.DataFrame({"id": ["x"], "amount": [0.0], "more": [[1, 2]]})
    flow_with(root, FRAME, other).run_once()

    assert kept(root).select("id", "amount", "more", "_check").rows() == [
        ("2", -2.0, None, "Check"),
        ("3", None, None, "Check"),
        ("x", 0.0, [1, 2], "Check 2"),
    ]
    assert rejected_rows(root)[0].rows == 3


def test_the_next_good_run_replaces_or_removes_them(root: Path) -> None:
    """A run that fails changes nothing, and so does a preview."""
    flow_with(root, FRAME).run_once()

    def fail(context: FlowContext) -> None:
        raise ValueError("no")

    with pytest.raises(FlowExecutionError):
        flow_with(root, FRAME.head(1)).step(fail).run_once()
    flow_with(root, FRAME.head(1)).preview()
    assert kept(root).height == 2
    flow_with(root, FRAME.head(2)).run_once()
    assert kept(root).height == 1
    flow_with(root, FRAME.head(1)).run_once()
    assert rejected_rows(root) == []
    assert not (root / "rejected/claims/all.parquet").exists()


def test_a_check_that_was_removed_leaves_no_rows_behind(root: Path) -> None:
    """The next good run of that source has none."""
    flow_with(root, FRAME).run_once()
    replace(flow_with(root, FRAME), steps=flow_with(root, FRAME).steps[:1]).run_once()

    assert rejected_rows(root) == []
    assert rejected_now(local_workspace(root).ledger()) == {}


def test_each_source_has_a_file_of_its_own(root: Path) -> None:
    """By its path inside the source folder."""
    for name in ("a.csv", "b.csv"):
        put_source(root, 1, bad=2, name=name)
    flow_of(root, "staged file").run_once()

    assert [(one.flow, one.source, one.rows) for one in rejected_rows(root)] == [
        ("claims", "a.csv", 2),
        ("claims", "b.csv", 2),
    ]
    assert kept(root, "a.csv")["_source"].unique().to_list() == ["a.csv"]


LONG = "é" * 110 + "0123456789"  # 230 bytes


@pytest.mark.parametrize(
    "names",
    [
        ("a.csv", "a.csv.parquet/x.csv"),
        ("A.PARQUET/x.csv", "A.PARQUET~/x.csv"),
        (".hidden.csv", "b/.c/d.csv"),
        (f"{LONG}1.csv", f"{LONG}2.csv", f"{'n' * 251}.csv", f"{'f' * 240}.d/{'n' * 251}.csv"),
        ("a'b.csv", "ü [1].csv", "x~.csv"),
    ],
)
def test_each_source_of_any_name_has_a_file_of_its_own(root: Path, names: tuple[str, ...]) -> None:
    """Which is listed, replaced and removed."""
    for number, name in enumerate(names):
        keep(root, name, FRAME.head(number % 3 + 1))
        keep(root, name, FRAME.head(number % 3 + 1))

    found = {str(one.source): one for one in rejected_rows(root, "claims")}
    assert set(found) == set(names)
    assert len(list((root / "rejected").rglob("*.parquet"))) == len(names)
    for number, name in enumerate(names):
        assert pl.read_parquet(found[name].path, glob=False).height == number % 3 + 1
        place(root, name).forget()
    assert rejected_rows(root) == []


def test_the_file_of_a_usual_name_is_called_by_it(root: Path) -> None:
    """Inside the folders of the source."""
    keep(root, "2024/a b.csv", FRAME)

    assert (root / "rejected/claims/2024/a b.csv.parquet").is_file()


def place(root: Path, name: str, run: str = "2") -> Quarantine:
    """The place of the rejected rows of this source."""
    key = SimpleNamespace(path=name)
    return Quarantine(root, "claims", SimpleNamespace(path=Path(name), key=key), run)  # type: ignore[arg-type]


def keep(root: Path, name: str, frame: pl.DataFrame) -> None:
    """Keep these as its rejected rows."""
    marked = frame.with_columns(_row=pl.lit(0), _rules=pl.concat_list(pl.lit("positive")))
    place(root, name, "1").keep([CheckResult("Check", (), frame.height, frame.height, marked)])


@pytest.mark.parametrize(
    "error",
    [
        pl.exceptions.ComputeError(
            "parquet: File out of specification: underlying IO error: No space left (os error 28)"
        ),
        OSError(errno.ENOSPC, "No space left on device"),
    ],
    ids=["polars", "system"],
)
def test_a_full_disk_is_told_and_loses_nothing(root: Path, monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    """The outputs and the rejected rows of the last good run stay; with room the next run is good."""
    put_source(root, 1, bad=1)
    flow_of(root, "staged file").run_once()
    put_source(root, 2, bad=2)

    def full(*given: object, **options: object) -> None:
        raise error

    with monkeypatch.context() as patched:
        patched.setattr(pl.DataFrame, "write_parquet", full)
        with pytest.raises(FlowValidationError, match="rejected rows cannot be written: the disk is full") as caught:
            flow_of(root, "staged file").run_once()
    assert str(root / "rejected") in str(caught.value)
    assert versions(root) == ({1}, {1})
    flow_of(root, "staged file").run_once()
    assert versions(root) == ({2}, {2})


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs a device that is full")
def test_polars_says_so_that_a_disk_is_full() -> None:
    """In a text, which is read for its number."""
    with pytest.raises(pl.exceptions.PolarsError, match=r"\(os error 28\)"):
        FRAME.write_parquet("/dev/full")


@pytest.mark.parametrize(
    "sql", ["INTERVAL 3 DAYS", "12345678901234567890::BIGNUM", "MAP {'a': 1}", "'101'::BIT", "NULL"]
)
def test_rejected_rows_of_a_relation_are_kept_whatever_their_types(root: Path, sql: str) -> None:
    """As text where there is no other way."""
    flow = Flow(group="G", name="claims", _workspace_root=root)
    flow = flow.step(lambda context: duckdb.connect().sql(f"SELECT -1 AS amount, {sql} AS x"))
    flow.check({"positive": "amount > 0"}, on_fail="quarantine").run_once()

    assert kept(root).height == 1


def test_a_flow_of_no_workspace_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It has no folder for them."""
    monkeypatch.chdir(tmp_path)
    replace(flow_with(tmp_path, FRAME), _workspace_root=None).run_once()

    assert not list(tmp_path.rglob("*.parquet"))


def test_a_target_that_has_changed_leaves_the_rejected_rows_as_they_were(root: Path) -> None:
    """The run fails before anything takes its place."""
    put_source(root, 1, bad=1)
    flow_of(root, "staged file").run_once()
    put_source(root, 2, bad=2)
    flow = flow_of(root, "staged file")

    def meddle(context: FlowContext) -> list[Path]:
        (root / "out" / "a.csv").write_text("version,amount\n9,9\n")
        return list(context.current)

    with pytest.raises(FlowValidationError, match="changed"):
        flow.step(meddle).run_once()
    assert kept(root, "a.csv")["version"].to_list() == [1]


def test_columns_with_the_names_of_ours_are_refused(root: Path) -> None:
    """They would be lost."""
    for name in ("_row", "_rules", "_check", "_run", "_source"):
        with pytest.raises(FlowValidationError, match=name):
            flow_with(root, FRAME.with_columns(pl.lit(1).alias(name))).run_once()


@pytest.mark.parametrize("kind", KINDS[:3])
def test_killed_at_any_instant_no_output_is_newer_than_its_rejected_rows(root: Path, kind: str) -> None:
    """Staged, the rows are there before the outputs; in place the run is done again. No file ever holds rows of two runs."""
    put_source(root, 1, bad=2)
    flow_of(root, kind).run_once()
    for bad in (1, 0):
        for at in range(1, 30):
            version = 100 * (bad + 1) + at
            put_source(root, version, bad=bad)
            if is_over := run_apart(root, kind, at) == 0:
                break
            out, rejected = versions(root)
            if kind.startswith("staged") and bad and version in out:
                assert rejected == {version}
            elif kind.startswith("staged") and out != {version}:
                assert rejected, "the outputs that are there have had rejected rows"
            flow_of(root, kind).run_once()
            assert versions(root) == ({version}, {version} if bad else set())
            put_source(root, version, bad=2)
            flow_of(root, kind).run_once()
        assert is_over


def run_apart(root: Path, kind: str, at: int) -> int | None:
    """The exit code of a run in a process of its own, which dies at that file operation; a fork of one that has all imported, where there are forks."""
    context = multiprocessing.get_context("spawn" if sys.platform == "win32" else "forkserver")
    context.set_forkserver_preload([rejecting.__name__, local_workspace.__module__, "data_engine.runs", *ENGINE])
    process = context.Process(target=rejecting.run_in, args=(dict(os.environ), str(root), kind, str(at)))
    process.start()
    process.join()
    return process.exitcode
