"""The schema and its history: each script takes the file from one version to the next, in one transaction.

Column names follow the older system where it had the column. `rev` is the revision of the row's last change; a
publisher takes the rows newer than the last one it published, so every table that travels has it. A script that has
been released is never edited; statements end with a semicolon and hold no other.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from pathlib import Path

from data_engine.errors import LedgerError

# The tables of 0.1.0. `seen_token` and `seen_rev` are the version of the published row that a row was taken from or is based on;
# rows that were taken in have rev 0 and stay out of the indexes. `taken_segments` are the segments taken in, `own_tokens` the fencing
# tokens this ledger has published under, `known_list` what is known of the list of generations beside its highest number, and
# `accounted_repairs` the repairs whose losses were made good from here.
_FIRST = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
INSERT INTO meta VALUES ('rev', 0), ('published_rev', 0), ('known_generation', -1), ('hydrated_generation', -1),
    ('seen_token', 0), ('seen_rev', 0);
CREATE TABLE settings (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;

CREATE TABLE runners (
    runner_id TEXT PRIMARY KEY, pid INTEGER NOT NULL, create_time REAL NOT NULL, started_at_utc TEXT NOT NULL
) WITHOUT ROWID;

CREATE TABLE runs (
    run_id TEXT PRIMARY KEY NOT NULL,
    flow_name TEXT NOT NULL,
    group_name TEXT NOT NULL,
    source_path TEXT,
    source_root TEXT,
    source_key TEXT,
    status TEXT NOT NULL,
    started_at_utc TEXT NOT NULL,
    finished_at_utc TEXT,
    elapsed_s REAL,
    error_text TEXT,
    cause TEXT,
    runner_id TEXT,
    started_seen TEXT,
    rev INTEGER NOT NULL,
    seen_token INTEGER NOT NULL DEFAULT 0,
    seen_rev INTEGER NOT NULL DEFAULT 0
);
CREATE INDEX runs_by_start ON runs (started_at_utc);
CREATE INDEX runs_by_flow ON runs (flow_name, started_at_utc);
CREATE INDEX runs_by_source ON runs (source_path, started_at_utc) WHERE source_path IS NOT NULL;
CREATE INDEX runs_open ON runs (runner_id) WHERE status = 'started';
CREATE INDEX runs_by_rev ON runs (rev) WHERE rev > 0;
CREATE INDEX runs_presumed ON runs (run_id) WHERE status = 'abandoned' AND finished_at_utc IS NULL;

CREATE TABLE step_runs (
    run_id TEXT NOT NULL,
    step_index INTEGER NOT NULL,
    flow_name TEXT NOT NULL,
    step_label TEXT NOT NULL,
    status TEXT NOT NULL,
    started_at_utc TEXT NOT NULL,
    finished_at_utc TEXT,
    elapsed_s REAL,
    error_text TEXT,
    output_path TEXT,
    rev INTEGER NOT NULL,
    seen_token INTEGER NOT NULL DEFAULT 0,
    seen_rev INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (run_id, step_index)
) WITHOUT ROWID;
CREATE INDEX step_runs_by_rev ON step_runs (rev) WHERE rev > 0;

CREATE TABLE logs (
    id INTEGER PRIMARY KEY,
    run_id TEXT,
    line_no INTEGER,
    run_bytes INTEGER,
    flow_name TEXT,
    step_label TEXT,
    level TEXT NOT NULL,
    message TEXT NOT NULL,
    created_at_utc TEXT NOT NULL,
    rev INTEGER NOT NULL
);
CREATE UNIQUE INDEX logs_by_run ON logs (run_id, line_no);
CREATE INDEX logs_by_time ON logs (created_at_utc);
CREATE INDEX logs_by_rev ON logs (rev) WHERE rev > 0;

CREATE TABLE file_state (
    flow_name TEXT NOT NULL,
    source_root TEXT NOT NULL,
    source_key TEXT NOT NULL,
    size_bytes INTEGER NOT NULL,
    mtime_ns INTEGER NOT NULL,
    content_hash TEXT,
    last_status TEXT NOT NULL,
    last_error_text TEXT,
    last_run_id TEXT,
    last_at_utc TEXT,
    success_size_bytes INTEGER,
    success_mtime_ns INTEGER,
    success_content_hash TEXT,
    last_success_run_id TEXT,
    last_success_at_utc TEXT,
    abandoned_in_a_row INTEGER NOT NULL DEFAULT 0,
    rev INTEGER NOT NULL,
    seen_token INTEGER NOT NULL DEFAULT 0,
    seen_rev INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (flow_name, source_root, source_key)
) WITHOUT ROWID;
CREATE INDEX file_state_by_rev ON file_state (rev) WHERE rev > 0;

CREATE TABLE outputs (
    flow_name TEXT NOT NULL, output_path TEXT NOT NULL, rev INTEGER NOT NULL, PRIMARY KEY (flow_name, output_path)
) WITHOUT ROWID;

CREATE INDEX outputs_by_rev ON outputs (rev) WHERE rev > 0;

CREATE TABLE schedule_slots (
    flow_name TEXT NOT NULL, slot_utc TEXT NOT NULL, run_id TEXT, rev INTEGER NOT NULL,
    seen_token INTEGER NOT NULL DEFAULT 0, seen_rev INTEGER NOT NULL DEFAULT 0, PRIMARY KEY (flow_name, slot_utc)
) WITHOUT ROWID;
CREATE INDEX slots_by_rev ON schedule_slots (rev) WHERE rev > 0;
CREATE TABLE flow_switches (
    flow_name TEXT PRIMARY KEY, enabled INTEGER NOT NULL, rev INTEGER NOT NULL,
    seen_token INTEGER NOT NULL DEFAULT 0, seen_rev INTEGER NOT NULL DEFAULT 0
) WITHOUT ROWID;
CREATE TABLE tombstones (
    flow_name TEXT PRIMARY KEY, reset_at_utc TEXT NOT NULL, rev INTEGER NOT NULL,
    seen_token INTEGER NOT NULL DEFAULT 0, seen_rev INTEGER NOT NULL DEFAULT 0
) WITHOUT ROWID;

CREATE TABLE taken_segments (
    shared_table TEXT NOT NULL, name TEXT NOT NULL, newest_utc TEXT, PRIMARY KEY (shared_table, name)
) WITHOUT ROWID;
CREATE TABLE own_tokens (token INTEGER PRIMARY KEY);
CREATE TABLE known_list (
    number INTEGER NOT NULL, nonce TEXT NOT NULL, is_repair INTEGER NOT NULL, PRIMARY KEY (is_repair, nonce)
) WITHOUT ROWID;
CREATE TABLE accounted_repairs (nonce TEXT PRIMARY KEY) WITHOUT ROWID;
"""

# What is not released yet, in one script: an edit of it raises its number, so that a ledger of a build in between is told.
_NEXT = """
-- What `cause` says in words, rows from before have only the words
ALTER TABLE runs ADD COLUMN cause_kind TEXT;
ALTER TABLE runs ADD COLUMN cause_data TEXT;

-- What production runs of each flow, where it reads, and how it compared with the kernel of its notebook, and what other machines asked for, taken before it is begun
CREATE TABLE deployments (
    deployment_id TEXT PRIMARY KEY NOT NULL,
    number INTEGER NOT NULL,
    flow_name TEXT NOT NULL,
    kind TEXT NOT NULL,
    set_id TEXT NOT NULL,
    digest TEXT NOT NULL,
    decided_by TEXT NOT NULL,
    machine TEXT NOT NULL,
    at_utc TEXT NOT NULL,
    note TEXT NOT NULL,
    cells TEXT NOT NULL,
    helpers TEXT NOT NULL,
    git_commit TEXT,
    git_dirty INTEGER,
    config TEXT NOT NULL,
    points_to TEXT,
    asked_by TEXT,
    mirror TEXT,
    watches TEXT,
    compared TEXT,
    rev INTEGER NOT NULL,
    seen_token INTEGER NOT NULL DEFAULT 0,
    seen_rev INTEGER NOT NULL DEFAULT 0
);
CREATE INDEX deployments_by_rev ON deployments (rev) WHERE rev > 0;
CREATE TABLE requests (
    request_id TEXT NOT NULL,
    verb TEXT NOT NULL,
    flow_name TEXT NOT NULL,
    state TEXT NOT NULL,
    outcome TEXT,
    answer TEXT,
    run_ids TEXT NOT NULL,
    asked_by TEXT NOT NULL,
    machine TEXT NOT NULL,
    file_owner TEXT,
    at_utc TEXT NOT NULL,
    rev INTEGER NOT NULL,
    seen_token INTEGER NOT NULL DEFAULT 0,
    seen_rev INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (request_id, state)
);
CREATE INDEX requests_by_rev ON requests (rev) WHERE rev > 0;

-- Who began a run, why, with which parameters and code, on which files, and what it took, rows of steps
ALTER TABLE runs ADD COLUMN trigger_kind TEXT;
ALTER TABLE runs ADD COLUMN trigger_detail TEXT;
ALTER TABLE runs ADD COLUMN run_by TEXT;
ALTER TABLE runs ADD COLUMN params TEXT;
ALTER TABLE runs ADD COLUMN deployment_id TEXT;
ALTER TABLE runs ADD COLUMN git_commit TEXT;
ALTER TABLE runs ADD COLUMN git_dirty INTEGER;
ALTER TABLE runs ADD COLUMN python TEXT;
ALTER TABLE runs ADD COLUMN environment TEXT;
ALTER TABLE runs ADD COLUMN inputs TEXT;
ALTER TABLE runs ADD COLUMN outputs TEXT;
ALTER TABLE runs ADD COLUMN peak_memory_bytes INTEGER;
ALTER TABLE runs ADD COLUMN cpu_s REAL;
ALTER TABLE step_runs ADD COLUMN rows_in INTEGER;
ALTER TABLE step_runs ADD COLUMN rows_out INTEGER;
CREATE TABLE environments (
    digest TEXT PRIMARY KEY NOT NULL,
    python TEXT NOT NULL,
    distributions TEXT NOT NULL,
    rev INTEGER NOT NULL,
    seen_token INTEGER NOT NULL DEFAULT 0,
    seen_rev INTEGER NOT NULL DEFAULT 0
);
CREATE INDEX environments_by_rev ON environments (rev) WHERE rev > 0;

-- What somebody asked to be run once more, run by run, and the slot that a run was for
ALTER TABLE runs ADD COLUMN scheduled_for TEXT;
CREATE INDEX runs_by_slot ON runs (flow_name, scheduled_for) WHERE scheduled_for IS NOT NULL;
CREATE INDEX runs_by_backfill ON runs (trigger_detail) WHERE trigger_kind = 'backfill';
CREATE INDEX runs_with_params ON runs (flow_name, source_key, finished_at_utc)
    WHERE params IS NOT NULL AND status = 'success';
CREATE TABLE backfills (
    backfill_id TEXT PRIMARY KEY NOT NULL,
    flow_name TEXT NOT NULL,
    kind TEXT NOT NULL,
    asked TEXT NOT NULL,
    params TEXT NOT NULL,
    is_as_scheduled INTEGER NOT NULL,
    asked_by TEXT NOT NULL,
    at_utc TEXT NOT NULL,
    state TEXT NOT NULL,
    round INTEGER NOT NULL,
    total INTEGER NOT NULL,
    ended INTEGER NOT NULL,
    failed INTEGER NOT NULL,
    rev INTEGER NOT NULL,
    seen_token INTEGER NOT NULL DEFAULT 0,
    seen_rev INTEGER NOT NULL DEFAULT 0
);
CREATE INDEX backfills_by_rev ON backfills (rev) WHERE rev > 0;
CREATE TABLE backfill_items (
    backfill_id TEXT NOT NULL,
    number INTEGER NOT NULL,
    source_key TEXT,
    slot_utc TEXT,
    at_utc TEXT NOT NULL,
    rev INTEGER NOT NULL,
    seen_token INTEGER NOT NULL DEFAULT 0,
    seen_rev INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (backfill_id, number)
) WITHOUT ROWID;
CREATE INDEX backfill_items_by_rev ON backfill_items (rev) WHERE rev > 0;

-- Messages to people until each recipient has got them. They do not travel: whoever sends has the addresses, which are secrets
CREATE TABLE outbox (
    message_id TEXT PRIMARY KEY NOT NULL,
    kind TEXT NOT NULL,
    flow_name TEXT,
    subject TEXT NOT NULL,
    body_text TEXT NOT NULL,
    body_html TEXT NOT NULL,
    size_bytes INTEGER NOT NULL,
    at_utc TEXT NOT NULL
);
CREATE INDEX outbox_by_time ON outbox (at_utc);
CREATE TABLE deliveries (
    message_id TEXT NOT NULL,
    recipient TEXT NOT NULL,
    state TEXT NOT NULL,
    tries INTEGER NOT NULL DEFAULT 0,
    put_utc TEXT NOT NULL,
    next_try_utc TEXT,
    tried_utc TEXT,
    answered_utc TEXT,
    last_error TEXT,
    has_it TEXT NOT NULL DEFAULT '',
    PRIMARY KEY (message_id, recipient)
) WITHOUT ROWID;
CREATE INDEX deliveries_waiting ON deliveries (next_try_utc) WHERE state = 'waiting';

-- What people were told of: shared, so that a new owner neither repeats nor forgets. And the newest success of a flow, at once
CREATE TABLE troubles (
    flow_name TEXT NOT NULL,
    kind TEXT NOT NULL,
    step TEXT NOT NULL,
    error_type TEXT NOT NULL,
    cell TEXT NOT NULL,
    since_utc TEXT NOT NULL,
    detail TEXT NOT NULL,
    told_at_utc TEXT,
    message_id TEXT,
    digest_until_utc TEXT,
    recovered_at_utc TEXT,
    is_closed INTEGER NOT NULL,
    again INTEGER NOT NULL,
    at_utc TEXT NOT NULL,
    rev INTEGER NOT NULL,
    seen_token INTEGER NOT NULL DEFAULT 0,
    seen_rev INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (flow_name, kind, step, error_type, cell)
) WITHOUT ROWID;
CREATE INDEX troubles_by_rev ON troubles (rev) WHERE rev > 0;
CREATE INDEX runs_good ON runs (flow_name, finished_at_utc) WHERE status = 'success';

-- Who enabled or disabled a flow, when and why, rows from before do not tell
ALTER TABLE flow_switches ADD COLUMN decided_by TEXT;
ALTER TABLE flow_switches ADD COLUMN machine TEXT;
ALTER TABLE flow_switches ADD COLUMN at_utc TEXT;
ALTER TABLE flow_switches ADD COLUMN note TEXT;

-- What a run was about to publish of its stage: the one record by which somebody else may finish it
ALTER TABLE runs ADD COLUMN publication TEXT;

-- What the checks of a run have found, and how many rows they have put apart
ALTER TABLE runs ADD COLUMN checks TEXT;
ALTER TABLE runs ADD COLUMN rejected INTEGER;

-- Which runs could put rows apart, by source, only good ones did
CREATE INDEX runs_checked ON runs (flow_name, source_key, finished_at_utc, rejected) WHERE rejected IS NOT NULL;
"""

_THEN = """
-- What of the code of a run was not as it was deployed
ALTER TABLE runs ADD COLUMN edited TEXT;

-- How many sources a good batch took, less what it moved or removed itself: a later one with far fewer is held
ALTER TABLE runs ADD COLUMN feed TEXT;
CREATE INDEX runs_with_feed ON runs (flow_name, source_root, finished_at_utc) WHERE feed IS NOT NULL;
CREATE INDEX file_state_by_hash ON file_state (flow_name, success_content_hash) WHERE success_content_hash IS NOT NULL;
"""

_FRAMES = """
-- The columns of the frames of a run: each set of them once. A run whose feed a person accepted counts as a good one
CREATE TABLE frame_schemas (
    digest TEXT PRIMARY KEY NOT NULL,
    frames TEXT NOT NULL,
    rev INTEGER NOT NULL,
    seen_token INTEGER NOT NULL DEFAULT 0,
    seen_rev INTEGER NOT NULL DEFAULT 0
);
CREATE INDEX frame_schemas_by_rev ON frame_schemas (rev) WHERE rev > 0;
ALTER TABLE runs ADD COLUMN schema TEXT;
ALTER TABLE runs ADD COLUMN drift TEXT;
ALTER TABLE runs ADD COLUMN accepted INTEGER;
CREATE INDEX runs_by_schema ON runs (flow_name, schema, finished_at_utc)
    WHERE schema IS NOT NULL AND edited IS NULL AND (status = 'success' OR accepted = 1);
CREATE INDEX runs_drifted ON runs (flow_name, finished_at_utc) WHERE drift IS NOT NULL;
"""

_OUTDATED = """
-- What a good run read beside its source, each set of versions once, and how such files were when somebody looked at them last
ALTER TABLE runs ADD COLUMN reads TEXT;
CREATE INDEX runs_with_reads ON runs (flow_name) WHERE reads IS NOT NULL;
CREATE INDEX runs_newest_good ON runs (flow_name, source_root, source_key, scheduled_for, finished_at_utc) WHERE status = 'success';
CREATE TABLE read_sets (
    digest TEXT PRIMARY KEY NOT NULL,
    files TEXT NOT NULL,
    rev INTEGER NOT NULL,
    seen_token INTEGER NOT NULL DEFAULT 0,
    seen_rev INTEGER NOT NULL DEFAULT 0
);
CREATE INDEX read_sets_by_rev ON read_sets (rev) WHERE rev > 0;
CREATE TABLE reference_files (
    reference_path TEXT PRIMARY KEY NOT NULL,
    size_bytes INTEGER,
    mtime_ns INTEGER,
    content_hash TEXT,
    at_utc TEXT NOT NULL,
    rev INTEGER NOT NULL,
    seen_token INTEGER NOT NULL DEFAULT 0,
    seen_rev INTEGER NOT NULL DEFAULT 0
);
CREATE INDEX reference_files_by_rev ON reference_files (rev) WHERE rev > 0;
"""

_REPORTS = """
-- The pages of the reports of a good run, and the page that a message brings
ALTER TABLE runs ADD COLUMN reports TEXT;
CREATE INDEX runs_with_reports ON runs (flow_name, finished_at_utc) WHERE reports IS NOT NULL;
ALTER TABLE outbox ADD COLUMN attachment TEXT;
"""

_METADATA = """
-- What the author of a flow noted of a run
ALTER TABLE runs ADD COLUMN metadata TEXT;
"""

MIGRATIONS: Mapping[int, str] = {
    4: _FIRST,
    16: _NEXT,
    17: _THEN,
    18: _FRAMES,
    19: _OUTDATED,
    20: _REPORTS,
    21: _METADATA,
}
"""The script that leads to each version, ascending: from no file to the first, from each to the following; `PRAGMA user_version` says
where a file is."""


def newest_version(migrations: Mapping[int, str] = MIGRATIONS) -> int:
    """The version that the last of these scripts leads to."""
    return max(migrations)


def migrate(connection: sqlite3.Connection, path: Path, migrations: Mapping[int, str] = MIGRATIONS) -> None:
    """Bring the file to the newest version; a crash in between leaves it at a whole earlier one.

    Raises:
        LedgerError: the file was written by a newer Data Engine, by a build that was never released, or by the older system.
        sqlite3.Error: the file cannot be written.
    """
    newest = newest_version(migrations)
    while (version := _version(connection)) != newest:
        if version > newest:
            raise LedgerError(
                f"the run history has version {version}, and this Data Engine knows versions up to {newest}",
                where=str(path),
                fix="update data-engine",
            )
        if version and version not in migrations:
            raise LedgerError(
                f"the run history has version {version}, of a Data Engine that was never released",
                where=str(path),
                fix="move the file away: a new history begins, and takes in what is published in the workspace",
            )
        connection.execute("BEGIN IMMEDIATE")
        try:
            # Asked again, because another process may have migrated while this one waited for the lock.
            if _version(connection) == version:
                if version == 0 and _has_foreign_tables(connection):
                    raise LedgerError(
                        "the file is a ledger of the older system (py-data-engine), which stays as it is",
                        where=str(path),
                        fix="unset DATA_ENGINE_RUNTIME_DB_PATH; `data-engine import WORKSPACE` takes its history over",
                    )
                following = min(number for number in migrations if number > version)
                for statement in migrations[following].split(";"):
                    connection.execute(statement)
                connection.execute(f"PRAGMA user_version = {following}")
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise


def _has_foreign_tables(connection: sqlite3.Connection) -> bool:
    """Whether a file without a version has a table of runs, as the older system's has."""
    return bool(connection.execute("SELECT EXISTS (SELECT 1 FROM sqlite_master WHERE name = 'runs')").fetchone()[0])


def _version(connection: sqlite3.Connection) -> int:
    return int(connection.execute("PRAGMA user_version").fetchone()[0])
