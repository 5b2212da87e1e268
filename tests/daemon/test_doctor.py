"""The doctor: each check tells the good from the bad, and none leaves anything behind or changes what is there."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from data_engine import Workspace
from data_engine.daemon.control import Endpoint, write_endpoint
from data_engine.daemon.doctor import (
    Finding,
    check_age,
    check_daemon,
    check_drive,
    check_ledger,
    check_machine_settings,
    check_modules,
    check_state_root,
    check_sync_client,
    examine,
    judge_clock,
    judge_stamps,
    judge_visibility,
    smallest_stale_after_s,
)
from data_engine.daemon.doctor_checks import check_config, check_secrets, ends_with_its_parent
from data_engine.lease.folder import probe_folder
from data_engine.ledger.ledger import Ledger
from data_engine.ledger.wall_clock import accept_clock
from data_engine.workspace.layout import LocalLayout
from data_engine.workspace.machine import machine_settings_path
from data_engine.workspace.settings import LeaseSettings
from tests.support import PATIENCE, WorkspaceFiles

FLOW = "from data_engine import Flow\ndef build():\n    return Flow(group='G')\n"


OF_THE_MACHINE = ("long paths", "sleep")
"""Advice on this machine's own settings, which is no fault of a workspace."""


def everything_in(*folders: Path) -> dict[str, tuple[int, bytes | None]]:
    """Every path below the folders with its change time and content."""
    return {
        str(path): (path.stat().st_mtime_ns if path.is_file() else 0, path.read_bytes() if path.is_file() else None)
        for folder in folders
        for path in folder.rglob("*")
    }


def by_name(findings: list[Finding]) -> dict[str, Finding]:
    return {finding.name: finding for finding in findings}


@pytest.mark.parametrize(("step_s", "ok"), [(0.004, True), (1.0, True), (2.0, False), (None, False)])
def test_stamps_may_be_a_second_coarse(step_s: float | None, ok: bool) -> None:
    """As coarse as planning bears."""
    assert judge_stamps(step_s).ok is ok


@pytest.mark.parametrize(
    ("delay_s", "lease", "ok"),
    [
        (20.0, LeaseSettings(), True),
        (20.1, LeaseSettings(), False),
        (20.1, LeaseSettings(stale_after_s=91), True),
        (0.01, LeaseSettings(heartbeat_s=2, stale_after_s=6), True),
        (None, LeaseSettings(), False),
    ],
)
def test_stale_after_bears_the_delay_the_protocol_allows(delay_s: float | None, lease: LeaseSettings, ok: bool) -> None:
    """20 s at 90 s, and in proportion; the value to set is told."""
    finding = judge_visibility(delay_s, lease)

    assert finding.ok is ok
    if delay_s == 20.1 and not ok:
        assert finding.fix == f'write stale_after = "{smallest_stale_after_s(20.1, 30)}s" below [lease]'
        assert "stale_after 91 s" in finding.measured


def test_a_detached_process_outlives_its_parent_and_is_ended() -> None:
    """Nothing of the check runs on."""
    before = {process.pid for process in psutil.process_iter()}

    assert ends_with_its_parent() is None

    sleepers = [
        process
        for process in psutil.process_iter(["pid", "cmdline", "status"])
        if process.pid not in before and "time.sleep(20)" in " ".join(process.info["cmdline"] or ())
    ]
    psutil.wait_procs(sleepers, timeout=5)
    assert [p for p in sleepers if p.is_running() and p.status() != psutil.STATUS_ZOMBIE] == []


def test_a_good_workspace_has_nothing_wrong_and_nothing_is_left_or_changed(ws: WorkspaceFiles, tmp_path: Path) -> None:
    """Neither in the workspace nor in this machine's folders, whether it was used before or not."""
    ws.module("claims", FLOW)
    before = everything_in(tmp_path)

    fresh = list(examine(Workspace(ws.root).layout))

    assert [one for one in fresh if one.ok is not True and one.name not in OF_THE_MACHINE] == []
    assert everything_in(tmp_path) == before

    Workspace(ws.root).home.ledger().close()
    before = everything_in(tmp_path)

    used = by_name(list(examine(Workspace(ws.root).layout)))

    assert "is whole" in used["run history"].measured
    assert everything_in(tmp_path) == before


def test_a_config_file_that_cannot_be_read_is_named_with_its_line(ws: WorkspaceFiles) -> None:
    """Else the first run that needs it tells, perhaps at night; the settings are a check of their own."""
    ws.source("config/data_engine.toml", "days = [")
    ws.source("config/rates.toml", "rate = 2")
    layout = Workspace(ws.root).layout
    assert (check_config(layout).ok, check_config(layout).measured) == (True, "rates can be read")

    ws.source("config/holidays.toml", 'days = ["2026-01-01"')

    found = check_config(layout)
    assert found.ok is False
    assert "holidays.toml is not TOML" in found.measured
    assert "line 1" in found.measured or "end of document" in found.measured


def test_a_drive_nothing_can_be_written_to_is_told_once(tmp_path: Path) -> None:
    """No check fails on it one by one."""
    (tmp_path / "file").touch()

    (finding,) = check_drive(tmp_path / "file", LeaseSettings())

    assert (finding.name, finding.ok) == ("drive", False)
    assert finding.fix is not None


def test_the_drive_is_measured(tmp_path: Path) -> None:
    """Each check says what it saw, and the probe folder is gone."""
    found = by_name(list(check_drive(tmp_path, LeaseSettings())))

    assert list(found) == ["drive", "one owner", "clock", "time stamps", "visibility", "file-system events"]
    assert "smallest safe stale_after 90 s" in found["visibility"].measured
    assert all(finding.ok for finding in found.values())
    assert list(tmp_path.glob(".probe*")) == []


def test_the_age_of_history_is_judged_by_the_clock_and_nothing_is_kept_of_it(ws: WorkspaceFiles) -> None:
    """Both sides of two days after the newest record; a ledger that is open elsewhere is read too."""
    home = Workspace(ws.root).home
    ledger, day_s = home.ledger(), 86_400.0
    accept_clock(ledger, 20_000 * day_s)

    def judged(days: float) -> Finding:
        return check_age(home.local.ledger_path, ws.root, now_s=(20_000 + days) * day_s)

    assert [judged(days).ok for days in (0, 2, 2.001, 400, 0)] == [True, True, False, False, True]
    assert "doctor --accept-clock" in str(judged(400).fix)
    assert check_age(None, ws.root).ok is True
    assert check_age(ws.source("no_ledger.sqlite", "x" * 5000), ws.root).ok is None


def test_the_probe_folder_goes_also_when_a_check_fails(tmp_path: Path) -> None:
    """Whatever is in it by then."""

    def fail() -> None:
        with probe_folder(tmp_path) as folder:
            (folder / "deep").mkdir()
            (folder / "deep" / "file").touch()
            raise OSError("gone")

    with pytest.raises(OSError, match="gone"):
        fail()

    assert list(tmp_path.glob(".probe*")) == []


def test_looking_at_a_copied_workspace_does_not_settle_its_identity(ws: WorkspaceFiles, tmp_path: Path) -> None:
    """A copy is forked by whoever first uses it, which sets shared state aside; the doctor only looks."""
    Workspace(ws.root).home.ledger().close()
    copy = shutil.copytree(ws.root, tmp_path / "copy")
    before = everything_in(tmp_path)

    found = by_name(list(examine(Workspace(copy).layout)))

    assert found["run history"].measured == "none on this machine yet"
    assert everything_in(tmp_path) == before


@pytest.mark.parametrize(
    ("offset_s", "ok", "said"),
    [
        (0.0, True, "agrees"),
        (5.0, True, "5.00 s ahead"),
        (-5.1, False, "5.10 s behind"),
        (90.0, False, "90.00 s ahead"),
    ],
)
def test_clocks_may_be_five_seconds_apart(offset_s: float, ok: bool, said: str) -> None:
    """More is wrong; the seconds and the side are told."""
    finding = judge_clock(offset_s)

    assert (finding.ok, said in finding.measured) == (ok, True)


@pytest.mark.parametrize(
    ("path", "client"),
    [
        ("/home/ann/OneDrive - Acme/claims", "OneDrive"),
        ("/home/ann/Dropbox (Acme)/claims", "Dropbox"),
        ("/Users/ann/Library/CloudStorage/GoogleDrive-ann@acme.com/My Drive/claims", "Google Drive"),
        ("/Users/ann/Library/Mobile Documents/com~apple~CloudDocs/claims", "iCloud"),
        ("/srv/dropboxes/claims", None),
        ("/srv/team/onedriver/claims", None),
    ],
)
def test_folders_of_sync_clients_are_refused_with_the_reason(path: str, client: str | None) -> None:
    """By the folder's whole name."""
    finding = check_sync_client(Path(path))

    assert finding.ok is (client is None)
    assert client is None or f"copied by {client}" in finding.measured


def test_a_state_root_that_cannot_be_used_says_what_to_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file in its way, a sync client's folder, a relative path."""
    (tmp_path / "file").touch()
    for wrong in (tmp_path / "file" / "state", tmp_path / "Dropbox" / "state", Path("state")):
        monkeypatch.setenv("DATA_ENGINE_STATE_ROOT", str(wrong))

        finding = check_state_root()

        assert (finding.ok, bool(finding.fix)) == (False, True), wrong
    assert not (tmp_path / "Dropbox").exists()


def test_settings_nobody_reads_are_told(ws: WorkspaceFiles) -> None:
    """In both files; a wrong value is told with its place, and the other checks go on."""
    machine_settings_path().parent.mkdir(parents=True)
    machine_settings_path().write_text('colection_root = "/team"\n')
    ws.source("config/data_engine.toml", '[lease]\nheartbeat = "soon"\n')

    found = by_name(list(examine(Workspace(ws.root).layout)))

    assert "colection_root" in found["machine settings"].measured
    assert check_machine_settings().ok is False
    assert found["workspace settings"].ok is False
    assert "lease.heartbeat" in found["workspace settings"].measured
    assert found["one owner"].ok is True


def test_a_run_history_is_judged_and_not_changed(tmp_path: Path) -> None:
    """Whole, in use, damaged, no history at all, of a newer version; nothing appears beside it."""
    path = tmp_path / "history" / "ledger.sqlite"
    assert check_ledger(path).ok is True
    assert not path.parent.exists()

    with Ledger.open(path):
        assert check_ledger(path).ok is True
    assert [entry.name for entry in path.parent.iterdir()] == [path.name]
    assert check_ledger(path).ok is True
    assert [entry.name for entry in path.parent.iterdir()] == [path.name]

    connection = sqlite3.connect(path)
    connection.execute("PRAGMA user_version = 999")
    connection.close()
    assert check_ledger(path).fix == "update data-engine"

    with path.open("r+b") as file:
        file.seek(4096)
        file.write(os.urandom(8192))
    assert (check_ledger(path).ok, "damaged" in check_ledger(path).measured) == (False, True)

    path.write_bytes(b"no database" * 100)
    assert (check_ledger(path).ok, "not a run history" in check_ledger(path).measured) == (False, True)


def test_a_daemon_that_died_is_told_with_the_end_of_its_log(tmp_path: Path) -> None:
    """Its endpoint is still there, its process is not."""
    local = LocalLayout(tmp_path, identity="a", workspace_id="ws")
    assert check_daemon(local).ok is True
    write_endpoint(local, Endpoint(os.getpid(), 1.0, 1, "0", "x", str(tmp_path)), "secret")
    local.daemon_log_path.write_text("".join(f"line {number}\n" for number in range(20)))

    finding = check_daemon(local)

    assert finding.ok is False
    assert finding.measured.endswith("line 15\nline 16\nline 17\nline 18\nline 19")


def test_every_module_is_imported_in_a_process_of_its_own(ws: WorkspaceFiles) -> None:
    """Broken ones are told with their cell; what they print, write or leave in memory is not ours."""
    ws.module("good", "print('{}')\n" + FLOW)
    ws.notebook(
        "bad", "from data_engine import Flow\nrate = 1 / 0", "def build():\n    return Flow(group='G', label=rate)"
    )
    before = everything_in(ws.root)

    summary, broken = check_modules(ws.modules)

    assert (summary.ok, summary.measured.startswith("1 of 2 import")) == (False, True)
    assert broken.name == "flow module bad"
    assert "ZeroDivisionError" in broken.measured
    assert "bad.ipynb, cell 1" in broken.measured
    assert everything_in(ws.root) == before


@pytest.mark.parametrize(
    ("ends", "said"), [("os._exit(7)", "exit code 7"), ("time.sleep(60)", "was not imported within")]
)
def test_a_module_that_dies_or_never_returns_is_named(ws: WorkspaceFiles, ends: str, said: str) -> None:
    """Its process is ended."""
    pid_file = ws.root / "pid"
    ws.module("a_good", FLOW)
    ws.module("b_bad", f"import os, time\nopen({str(pid_file)!r}, 'w').write(str(os.getpid()))\n{ends}\n{FLOW}")

    (finding,) = check_modules(ws.modules, limit_s=3 * PATIENCE)

    assert finding.ok is False
    assert finding.measured.startswith("b_bad ")
    assert said in finding.measured
    assert not psutil.pid_exists(int(pid_file.read_text()))


def test_the_checks_need_no_heavy_library() -> None:
    """`data-engine doctor` also runs where one of them is broken."""
    code = (
        "import sys, data_engine.daemon.doctor; print([n for n in ('polars', 'duckdb', 'pyarrow') if n in sys.modules])"
    )

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=Path(__file__).parents[2])

    assert done.stdout.strip() == "[]", done.stderr


def test_secrets_that_deployed_flows_ask_for_are_named(ws: WorkspaceFiles, monkeypatch: pytest.MonkeyPatch) -> None:
    """By a field of their parameters, in a step, or in a helper; what is not deployed asks for nothing."""
    ws.notebook(
        "claims",
        "from dataclasses import dataclass\nfrom data_engine import Flow, Secret\nfrom flow_helpers.mail import send",
        "@dataclass\nclass Settings:\n    dwh: Secret",
        "def build():\n    return Flow(group='G').params(Settings).step(send)",
    )
    ws.helper("mail", "def send(context):\n    return context.secret('ops_mail')")
    ws.notebook(
        "draft", "from data_engine import Flow", "def build():\n    return Flow('G').step(lambda c: c.secret('x'))"
    )
    found = Workspace(ws.root)
    found.deploy("claims")
    monkeypatch.setenv("DATA_ENGINE_SECRET_DWH", "correct horse")

    finding = check_secrets(found.home.local)
    assert (finding.ok, finding.measured) == (False, "missing on this machine: ops_mail (claims)")
    monkeypatch.setenv("DATA_ENGINE_SECRET_OPS_MAIL", "correct horse")
    assert check_secrets(found.home.local).ok
