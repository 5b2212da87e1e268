"""The daemon's log is bounded, private to this machine, and has what went wrong."""

from __future__ import annotations

from data_engine import Workspace
from data_engine.daemon.__main__ import LOG_BYTES, LOG_FILES
from tests.support import WorkspaceFiles, until


def test_the_log_is_rotated_and_stays_bounded(ws: WorkspaceFiles) -> None:
    """A daemon that finds a full log goes on in a new one, keeps the old ones for a while, and never has more than four."""
    workspace = Workspace(ws.root)
    local = workspace.home.local
    local.runtime_dir.mkdir(parents=True, exist_ok=True)
    for number in range(1, LOG_FILES + 1):
        local.daemon_log_path.with_name(f"daemon.log.{number}").write_text(f"old {number}\n")
    local.daemon_log_path.write_text("x" * (LOG_BYTES - 10) + "\n", newline="\n")
    workspace.start()
    try:
        until(lambda: "listens on port" in local.daemon_log_path.read_text())
    finally:
        workspace.kill()
    logs = sorted(path.name for path in local.runtime_dir.glob("daemon.log*"))

    assert logs == ["daemon.log", *(f"daemon.log.{number}" for number in range(1, LOG_FILES + 1))]
    assert local.daemon_log_path.stat().st_size < LOG_BYTES
    assert local.daemon_log_path.with_name("daemon.log.1").stat().st_size == LOG_BYTES - 9
    assert local.daemon_log_path.with_name(f"daemon.log.{LOG_FILES}").read_text() == f"old {LOG_FILES - 1}\n"
