"""A workspace is moved from the older system: what has run does not run again, what is new does, and nothing is doubled."""

from __future__ import annotations

import io
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from data_engine import Workspace
from tests.daemon.support import ended
from tests.importing.conftest import Claims, Cli, files_of
from tests.older_system import could_own
from tests.support import until


@pytest.fixture
def moved(claims: Claims) -> Iterator[Workspace]:
    """The workspace as this system knows it; its daemon ends with the test."""
    workspace = Workspace(claims.root)
    yield workspace
    workspace.kill()


def test_nothing_runs_again(cli: Cli, claims: Claims, moved: Workspace) -> None:
    """With a real daemon: what is new runs, then what changed."""
    for number, name in enumerate(("a.csv", "2026/b.csv", "c.csv"), start=1):
        claims.has_run(name, number, number * 10)
    claims.add_totals()
    claims.older.run("totals", at_s=time.time() - 1800, files=sorted(claims.source.rglob("*.csv"))[:1], group="Totals")
    claims.left()

    told = cli("import", claims.root, "--yes")

    assert (told.code, "Taken over: 4 runs, what is known of" in told.out) == (0, True), told
    claims.put("new.csv", 99)
    moved.deploy()
    moved.start()
    moved.start_engine()
    (run,) = until(lambda: [one for one in ended(moved, "claims", 4) if one.deployment_id is not None])
    assert (Path(run.source or "").name, run.status) == ("new.csv", "success")
    claims.put("2026/b.csv", 5)
    until(lambda: len([one for one in moved.runs("claims") if one.deployment_id and one.status == "success"]) == 2)
    time.sleep(1.5)  # some scans more
    assert {Path(one.source or "").name for one in moved.runs("claims") if one.deployment_id} == {"new.csv", "b.csv"}


def test_a_batch_that_has_read_all_does_not_run_again(cli: Cli, claims: Claims, moved: Workspace) -> None:
    """The older system notes only the first file of several; a file that was surely there before the run was read by it."""
    for name in ("a.csv", "b.csv"):
        claims.put(name, 1)
    claims.add_totals()
    claims.older.run("totals", at_s=time.time() + 120, files=[claims.source / "a.csv"], group="Totals")
    claims.left()

    assert cli("import", claims.root, "--yes").code == 0

    states = moved.home.ledger().source_states("totals")
    assert {key.path: state.status for key, state in states.items()} == {"a.csv": "success", "b.csv": "success"}


def test_the_plan_is_shown_first_and_changes_nothing(cli: Cli, claims: Claims) -> None:
    claims.has_run("a.csv", 1)
    claims.older.settings(workspace_collection_root=str(claims.root.parent), default_workspace_id="claims")
    claims.left()
    before = files_of(claims.root)

    shown = cli("import", claims.root, "--dry-run")

    assert shown.code == 0
    for words in (
        "seal      no daemon",
        "1 run with their steps",
        "1 source file",
        "collection_root = ",
    ):
        assert words in shown.out, words
    assert files_of(claims.root) == before
    refused = cli("import", claims.root)
    assert (refused.code, "--yes" in refused.err) == (2, True)


def test_nothing_is_asked_about_a_plan_that_was_not_shown(
    cli: Cli, claims: Claims, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With --json it is printed when all is done; at a terminal too."""
    claims.has_run("a.csv", 1)
    claims.left()
    terminal = io.StringIO("y\n")
    monkeypatch.setattr(terminal, "isatty", lambda: True)
    monkeypatch.setattr(sys, "stdin", terminal)

    refused = cli("import", claims.root, "--json")

    assert refused.code == 2
    assert refused.json["error"]["what"].endswith("and with --json nothing is asked")
    assert could_own(claims.older.shared, "claims", time.time())


def test_nothing_of_the_older_system_is_changed_but_its_marker(cli: Cli, claims: Claims, tmp_path: Path) -> None:
    claims.has_run("a.csv", 1)
    claims.older.settings(workspace_collection_root=str(claims.root.parent))
    claims.left()
    share, machine = files_of(claims.root), files_of(claims.older.runtime)

    assert cli("import", claims.root, "--yes").code == 0

    now = files_of(claims.root)
    assert {path: now[path] for path in share} == share
    assert {path: one for path, one in files_of(claims.older.runtime).items() if path in machine} == machine
    assert set(files_of(claims.older.runtime)) == set(machine)
    assert not could_own(claims.older.shared, "claims", time.time())
    assert not could_own(claims.older.shared, "claims", time.time() + 10**7)


def test_a_second_time_changes_nothing(cli: Cli, claims: Claims, moved: Workspace) -> None:
    claims.has_run("a.csv", 1)
    claims.left()
    cli("import", claims.root, "--yes")
    version = moved.home.ledger().version()

    again = cli("import", claims.root, "--yes")

    assert (again.code, "Nothing was changed." in again.out) == (0, True)
    assert moved.home.ledger().version() == version


def test_the_newest_of_ledger_and_share_counts(cli: Cli, claims: Claims, moved: Workspace) -> None:
    """Another workstation has owned since: it ran b.csv anew, and failed at a.csv."""
    now = time.time()
    a, b = claims.has_run("a.csv", 1, at_s=now - 7200), claims.has_run("b.csv", 2, at_s=now - 7200)
    claims.older.write_ledger()
    b.write_text("amount\n7\n8\n", encoding="utf-8")
    claims.older.run("claims", b, at_s=now - 600)
    claims.older.run("claims", a, at_s=now - 600, status="failed")
    claims.older.publish()
    claims.older.marker("available")

    shown = cli("import", claims.root, "--yes")

    assert shown.code == 0
    states = {key.path: state for key, state in moved.home.ledger().source_states("claims").items()}
    assert (states["b.csv"].status, states["b.csv"].last.size_bytes) == ("success", b.stat().st_size)
    assert (states["a.csv"].status, states["a.csv"].success) == ("failed", None)
    assert "claims: 1 failed" in shown.out
    assert [run.status for run in moved.runs("claims")].count("failed") == 1
    (failed,) = [run for run in moved.runs("claims") if run.status == "failed"]
    assert [line.level for line in moved.log(failed.run_id)] == ["ERROR"]
    assert [step.status for step in moved.steps(failed.run_id)] == ["failed"]


def test_rows_travel_to_other_workstations(
    cli: Cli, claims: Claims, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from data_engine.engine.local_workspace import forget_workspaces

    claims.has_run("a.csv", 1)
    claims.left()
    assert cli("import", claims.root, "--yes").code == 0
    forget_workspaces()
    monkeypatch.setenv("DATA_ENGINE_STATE_ROOT", str(tmp_path / "other" / "state"))
    other = Workspace(claims.root)

    other.disable("claims")  # owns it for one commit

    assert [run.status for run in other.runs("claims")] == ["success"]
    states = other.home.ledger().source_states("claims")
    assert [(key.path, state.status) for key, state in states.items()] == [("a.csv", "success")]
    other.kill()


def test_files_that_another_workstation_calls_otherwise(cli: Cli, claims: Claims, moved: Workspace) -> None:
    """The share is Z: there; which folder of it is the source is told by files that are here with their size and time."""
    for name in ("a.csv", "deep/b.csv"):
        path = claims.put(name, 1)
        claims.older.run("claims", path, at_s=time.time() - 60, as_path=f"Z:/team/data/in/{name}")
    claims.older.run("claims", claims.put("gone.csv", 1), at_s=time.time() - 60, as_path="Z:/other/gone.csv")
    (claims.source / "gone.csv").write_text("amount\n1\n2\n")
    claims.older.publish()
    claims.older.marker("available")

    shown = cli("import", claims.root, "--yes", "--json")

    assert shown.json["by_flow"] == [{"flow": "claims", "status": "success", "files": 2}]
    assert [one["path"] for one in shown.json["unplaced"]] == ["Z:/other/gone.csv"]
    assert {key.path for key in moved.home.ledger().source_states("claims")} == {"a.csv", "deep/b.csv"}


def test_settings_of_the_machine_are_taken_over_where_none_are_set(cli: Cli, claims: Claims, tmp_path: Path) -> None:
    from data_engine.workspace.machine import load_machine_settings, save_machine_settings

    save_machine_settings(default_workspace="mine")
    claims.has_run("a.csv", 1)
    claims.older.settings(workspace_collection_root=str(claims.root.parent), default_workspace_id="claims")
    claims.left()

    shown = cli("import", claims.root, "--yes")

    settings = load_machine_settings()
    assert (settings.collection_root, settings.default_workspace) == (claims.root.parent, "mine")
    assert "default_workspace is claims in the older system, and stays as it is set here" in shown.out


def test_what_a_reset_has_forgotten_stays_so(cli: Cli, claims: Claims, moved: Workspace) -> None:
    claims.has_run("a.csv", 1)
    claims.left()
    cli("import", claims.root, "--yes")
    moved.reset("claims")

    cli("import", claims.root, "--yes")

    assert moved.runs("claims") == []
    assert len(moved.home.ledger().source_states("claims")) == 0


def test_a_module_that_does_not_load_yet_can_follow(cli: Cli, claims: Claims, moved: Workspace) -> None:
    """Its files are taken over by the import after its correction."""
    from tests.support import notebook_bytes

    claims.has_run("a.csv", 1)
    claims.left()
    path = claims.root / "flow_modules" / "claims.ipynb"
    good = path.read_bytes()
    path.write_bytes(notebook_bytes("def build():\n    return rate"))

    first = cli("import", claims.root, "--yes")
    assert "its module does not load yet" in first.out
    assert len(moved.home.ledger().source_states("claims")) == 0
    path.write_bytes(good)
    second = cli("import", claims.root, "--yes", "--json")

    assert (second.json["files"], second.json["runs"]) == (1, 0)
    assert len(moved.home.ledger().source_states("claims")) == 1


def test_what_was_cut_short_or_failed_is_not_taken_for_done(cli: Cli, claims: Claims, moved: Workspace) -> None:
    """The older system would never have run them again."""
    for name, status in (("failed.csv", "failed"), ("stopped.csv", "stopped"), ("cut.csv", "started")):
        claims.has_run(name, 1, status=status)
    claims.left()
    cli("import", claims.root, "--yes")

    states = {key.path: state for key, state in moved.home.ledger().source_states("claims").items()}

    assert {name: state.status for name, state in states.items()} == {
        "failed.csv": "failed",
        "stopped.csv": "stopped",
        "cut.csv": "abandoned",
    }
    assert all(state.last_run_id for state in states.values())
    assert {run.status for run in moved.runs("claims")} == {"failed", "stopped", "abandoned"}
