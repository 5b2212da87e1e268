"""What version 0.3.9 of the older system leaves of a workspace: in the workspace, on the share and on the machine.

older = OlderSystem(tmp_path / "team" / "claims", tmp_path / "older")
older.run("claims", source=file, at_s=...)     a run with its step, its file's state and its output
older.write_ledger(); older.publish(); older.marker("available")
"""

from __future__ import annotations

import hashlib
import json
import os
import socket
import sqlite3
import uuid
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

SCHEMA = """
CREATE TABLE runs (run_id TEXT PRIMARY KEY, flow_name TEXT NOT NULL, group_name TEXT NOT NULL, source_path TEXT,
    status TEXT NOT NULL, started_at_utc TEXT NOT NULL, finished_at_utc TEXT, error_text TEXT);
CREATE TABLE step_runs (id INTEGER PRIMARY KEY, run_id TEXT NOT NULL REFERENCES runs(run_id), flow_name TEXT NOT NULL,
    step_label TEXT NOT NULL, status TEXT NOT NULL, started_at_utc TEXT NOT NULL, finished_at_utc TEXT, elapsed_ms INTEGER,
    error_text TEXT, output_path TEXT);
CREATE TABLE file_state (flow_name TEXT NOT NULL, source_path TEXT NOT NULL, mtime_ns INTEGER NOT NULL,
    size_bytes INTEGER NOT NULL, last_success_run_id TEXT, last_success_at_utc TEXT, last_status TEXT NOT NULL,
    last_error_text TEXT, PRIMARY KEY (flow_name, source_path));
CREATE TABLE logs (id INTEGER PRIMARY KEY, run_id TEXT, flow_name TEXT, step_label TEXT, level TEXT NOT NULL,
    message TEXT NOT NULL, created_at_utc TEXT NOT NULL);
CREATE INDEX idx_runs ON runs (flow_name, started_at_utc DESC);
"""
COLUMNS = {
    "runs": "run_id flow_name group_name source_path status started_at_utc finished_at_utc error_text".split(),
    "step_runs": (
        "id run_id flow_name step_label status started_at_utc finished_at_utc elapsed_ms error_text output_path".split()
    ),
    "logs": "id run_id flow_name step_label level message created_at_utc".split(),
    "file_state": (
        "flow_name source_path mtime_ns size_bytes last_success_run_id last_success_at_utc last_status last_error_text".split()
    ),
}
NUMBERS = ("id", "elapsed_ms", "mtime_ns", "size_bytes")


def utc(at_s: float) -> str:
    return datetime.fromtimestamp(at_s, UTC).isoformat()


def older_hash(relative: str) -> str:
    """`context.metadata["file_hash"]` of the older system."""
    return hashlib.sha1(relative.encode()).hexdigest()


class OlderSystem:
    """A workspace of the older system. `rows` are what it has recorded, by table."""

    def __init__(self, root: Path, state_root: Path) -> None:
        self.root, self.state_root, self.older_id = root, state_root, root.name
        self.shared = root / ".workspace_state"
        self.rows: dict[str, list[dict[str, Any]]] = {table: [] for table in COLUMNS}
        for name in ("flow_modules/flow_helpers", "config", "databases", ".vscode"):
            (root / name).mkdir(parents=True, exist_ok=True)
        environment = {"DATA_ENGINE_WORKSPACE_ROOT": str(root), "DATA_ENGINE_WORKSPACE_ID": root.name}
        (root / ".vscode" / "settings.json").write_text(
            json.dumps({"terminal.integrated.env.linux": environment}, indent=2) + "\n", encoding="utf-8"
        )
        digits = hashlib.sha1(os.path.abspath(root).replace("\\", "/").encode()).hexdigest()[:12]
        self.runtime = state_root / "artifacts" / "runtime_state" / f"{root.name}_{digits}"
        self.ledger_path = self.runtime / "runtime_cache.sqlite"

    def run(
        self,
        flow: str,
        source: Path | str | None = None,
        *,
        at_s: float,
        status: str = "success",
        run_id: str = "",
        output: Path | None = None,
        files: list[Path] | None = None,
        group: str = "Claims",
        as_path: str | None = None,
    ) -> str:
        """A run as it is recorded; of a polled flow with the state of its file (of a batch, of `files`).

        `as_path` is what another workstation calls the source.
        """
        run_id = run_id or uuid.uuid4().hex
        path = as_path or (None if source is None else str(source).replace("\\", "/"))
        ended = None if status == "started" else utc(at_s + 1.5)
        error = f'Flow "{flow}" failed in step "Load" (function load): ValueError: bad' if status == "failed" else None
        self.rows["runs"].append(
            dict(zip(COLUMNS["runs"], (run_id, flow, group, path, status, utc(at_s), ended, error), strict=True))
        )
        step = (len(self.rows["step_runs"]) + 1, run_id, flow, "Load", status if status != "stopped" else "success")
        times = (utc(at_s), ended, None if ended is None else 1500)
        told = (*step, *times, error, None if output is None else str(output))
        self.rows["step_runs"].append(dict(zip(COLUMNS["step_runs"], told, strict=True)))
        if error is not None:
            number = len(self.rows["logs"]) + 1
            line = (number, run_id, flow, "Load", "ERROR", error, utc(at_s + 1.5))
            self.rows["logs"].append(dict(zip(COLUMNS["logs"], line, strict=True)))
        for one in files or ([Path(source)] if source is not None else []):
            self.file(flow, one, status, run_id, at_s + 1.5, path=as_path)
        return run_id

    def file(self, flow: str, file: Path, status: str, run_id: str, at_s: float, *, path: str | None = None) -> None:
        """The state of a source file, as it lies there now."""
        facts = file.stat()
        text = path or str(file).replace("\\", "/")
        known = [row for row in self.rows["file_state"] if (row["flow_name"], row["source_path"]) == (flow, text)]
        row = known[0] if known else dict.fromkeys(COLUMNS["file_state"])
        row |= {"flow_name": flow, "source_path": text, "mtime_ns": facts.st_mtime_ns, "size_bytes": facts.st_size}
        row |= {"last_status": status, "last_error_text": "ValueError: bad" if status == "failed" else None}
        if status == "success":
            row |= {"last_success_run_id": run_id, "last_success_at_utc": utc(at_s)}
        if not known:
            self.rows["file_state"].append(row)

    def write_ledger(self) -> Path:
        """The ledger of this machine."""
        self.runtime.mkdir(parents=True, exist_ok=True)
        with closing(sqlite3.connect(self.ledger_path)) as connection:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.executescript(SCHEMA)
            for table, rows in self.rows.items():
                marks = ", ".join("?" * len(COLUMNS[table]))
                connection.executemany(
                    f"INSERT INTO {table} VALUES ({marks})",
                    [tuple(row[name] for name in COLUMNS[table]) for row in rows],
                )
            connection.commit()
        return self.ledger_path

    def publish(self) -> None:
        """What all workstations see: a table without rows has no file, but the logs."""
        for table, rows in self.rows.items():
            folder = self.shared / "state" / table
            folder.mkdir(parents=True, exist_ok=True)
            if not rows and table != "logs":
                continue
            kinds = {name: pa.int64() if name in NUMBERS else pa.string() for name in COLUMNS[table]}
            columns = {"snapshot_generation_id": pa.array(["g1"] * len(rows), pa.string())}
            columns |= {name: pa.array([row[name] for row in rows], kind) for name, kind in kinds.items()}
            pq.write_table(pa.table(columns), folder / f"{self.older_id}.parquet")

    def settings(self, **values: str) -> Path:
        """The settings of this machine."""
        path = self.state_root / "settings" / "app_settings.sqlite"
        path.parent.mkdir(parents=True, exist_ok=True)
        with closing(sqlite3.connect(path)) as connection:
            connection.execute("CREATE TABLE settings (key TEXT PRIMARY KEY, value TEXT)")
            connection.executemany("INSERT INTO settings VALUES (?, ?)", values.items())
            connection.commit()
        return path

    def marker(self, state: str) -> Path:
        """The marker that says who owns: `available` or `leased`."""
        for name in ("available", "leased", "stale", "leases", "control_requests"):
            (self.shared / name).mkdir(parents=True, exist_ok=True)
        path = self.shared / state / self.older_id
        path.mkdir()
        return path

    def heartbeat(
        self, at_s: float, *, written_s: float | None = None, machine: str = "old-host", pid: int = 4711
    ) -> Path:
        """The heartbeat of an owner, which says it was at `at_s`; its file is as old unless `written_s` says otherwise."""
        path = self.shared / "leases" / f"{self.older_id}.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        texts = {"snapshot_generation_id": "g1", "workspace_id": self.older_id, "machine_id": machine}
        texts |= {"host_name": machine, "daemon_id": "d1", "status": "idle", "last_checkpoint_at_utc": utc(at_s)}
        texts |= {"started_at_utc": utc(at_s - 600), "app_version": "0.3.9"}
        pq.write_table(pa.table({name: [text] for name, text in texts.items()} | {"pid": [pid]}), path)
        os.utime(path, (written_s or at_s, written_s or at_s))
        return path


def this_host() -> str:
    """What the older system calls this machine."""
    return socket.gethostname()


def could_own(shared: Path, older_id: str, now_s: float) -> bool:
    """Whether a daemon of the older system that starts now would own the workspace, by its own rules."""
    available, leased = shared / "available" / older_id, shared / "leased" / older_id
    if available.exists() and leased.exists():
        return False  # it raises "invalid marker state"
    if not leased.exists():
        return True
    try:
        row = pq.read_table(shared / "leases" / f"{older_id}.parquet").to_pylist()[0]
        heartbeat = datetime.fromisoformat(row["last_checkpoint_at_utc"])
    except (OSError, pa.ArrowException, ValueError, IndexError):
        return True
    return row["machine_id"] == this_host() or now_s - heartbeat.timestamp() >= 90
