"""What the doctor says of the operating system."""

from __future__ import annotations

import pytest

from data_engine import Workspace
from data_engine.daemon.doctor import examine
from data_engine.daemon.doctor_checks import check_duckdb, check_system, judge_duckdb
from data_engine.platforms import host
from data_engine.workspace.layout import WorkspaceLayout
from tests.support import WorkspaceFiles


@pytest.mark.parametrize(("is_on", "ok"), [(True, True), (False, None)])
def test_paths_that_are_too_long_are_told_before_they_are_met(is_on: bool, ok: bool | None) -> None:
    """They are no fault of the machine, so the doctor does not fail of them."""
    (finding,) = check_system(is_on, None)

    assert finding.ok is ok
    assert "259 characters" in finding.measured


@pytest.mark.parametrize(("after_s", "said"), [(0, "does not sleep by itself"), (900, "after 15 min without input")])
def test_a_machine_that_sleeps_is_told(after_s: int, said: str) -> None:
    """With what lets flows run at night."""
    (finding,) = check_system(None, after_s)

    assert said in finding.measured
    assert not after_s or host.STAY_AWAKE in str(finding.fix)


def test_only_questions_of_this_system_are_answered(ws: WorkspaceFiles) -> None:
    """And the doctor asks them."""
    names = [finding.name for finding in check_system(host.takes_long_paths(), host.sleeps_after_s())]

    asked = [finding.name for finding in examine(WorkspaceLayout(ws.root))]
    assert [name for name in asked if name in ("long paths", "sleep")] == names
    assert ("long paths" in names) == (host.takes_long_paths() is not None)
    assert list(check_system(None, None)) == []


def test_workstations_with_another_duckdb_are_named(ws: WorkspaceFiles) -> None:
    """By their newest runs. It is a fault where one cannot open what the others make."""
    ws.module("one", "from data_engine import Flow\ndef build(): return Flow('G').step(lambda context: 1)\n")
    found = Workspace(ws.root)
    found.load_flow("one").run_once()
    (run,) = found.runs()

    databases = found.layout.databases_dir
    finding = check_duckdb(found.home.local, databases, "v1.5.0")
    apart = judge_duckdb({"here": "2.0.1", "ann@ws2": "1.5.6"}, "v2.0.0")

    assert finding.ok
    assert str(run.by) in finding.measured
    assert apart.ok is False
    assert "1.5.6 (ann@ws2)" in apart.measured
    assert 'storage_version = "v1.5.0"' in str(apart.fix)
    databases.mkdir(exist_ok=True)
    (databases / "mart.duckdb").write_bytes(bytes(8) + b"DUCK" + (999).to_bytes(8, "little"))
    assert "mart.duckdb" in check_duckdb(found.home.local, databases, "v1.5.0").measured
