PRAGMA user_version = 6;
BEGIN TRANSACTION;
CREATE TABLE accounted_repairs (nonce TEXT PRIMARY KEY) WITHOUT ROWID;
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
    rev INTEGER NOT NULL,
    seen_token INTEGER NOT NULL DEFAULT 0,
    seen_rev INTEGER NOT NULL DEFAULT 0
);
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
    rev INTEGER NOT NULL, seen_token INTEGER NOT NULL DEFAULT 0, seen_rev INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (flow_name, source_root, source_key)
) WITHOUT ROWID;
INSERT INTO "file_state" VALUES('claims','../in','a.csv',10,7,NULL,'success',NULL,'r1','1970-01-01T00:16:43.000000+00:00',10,7,NULL,'r1','1970-01-01T00:16:43.000000+00:00',0,2,0,0);
CREATE TABLE flow_switches (flow_name TEXT PRIMARY KEY, enabled INTEGER NOT NULL, rev INTEGER NOT NULL, seen_token INTEGER NOT NULL DEFAULT 0, seen_rev INTEGER NOT NULL DEFAULT 0) WITHOUT ROWID;
INSERT INTO "flow_switches" VALUES('claims',0,5,0,0);
CREATE TABLE known_list (number INTEGER NOT NULL, nonce TEXT NOT NULL, is_repair INTEGER NOT NULL,
    PRIMARY KEY (is_repair, nonce)) WITHOUT ROWID;
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
INSERT INTO "logs" VALUES(1,'r1',1,6,'claims','Read','INFO','3 rows','1970-01-01T00:16:41.500000+00:00',2);
CREATE TABLE meta (key TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
INSERT INTO "meta" VALUES('hydrated_generation',-1);
INSERT INTO "meta" VALUES('known_generation',-1);
INSERT INTO "meta" VALUES('published_rev',0);
INSERT INTO "meta" VALUES('rev',5);
INSERT INTO "meta" VALUES('seen_rev',0);
INSERT INTO "meta" VALUES('seen_token',0);
CREATE TABLE outputs (
    flow_name TEXT NOT NULL, output_path TEXT NOT NULL, rev INTEGER NOT NULL, PRIMARY KEY (flow_name, output_path)
) WITHOUT ROWID;
INSERT INTO "outputs" VALUES('claims','/ws/out/a.parquet',2);
CREATE TABLE own_tokens (token INTEGER PRIMARY KEY);
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
CREATE TABLE runners (
    runner_id TEXT PRIMARY KEY, pid INTEGER NOT NULL, create_time REAL NOT NULL, started_at_utc TEXT NOT NULL
) WITHOUT ROWID;
INSERT INTO "runners" VALUES('24881-261392293305088f',24881,1795717541.95,'2026-11-26T18:25:42.797928+00:00');
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
    rev INTEGER NOT NULL
, seen_token INTEGER NOT NULL DEFAULT 0, seen_rev INTEGER NOT NULL DEFAULT 0, cause_kind TEXT, cause_data TEXT);
INSERT INTO "runs" VALUES('r1','claims','G','/ws/in/a.csv','../in','a.csv','success','1970-01-01T00:16:40.000000+00:00','1970-01-01T00:16:43.000000+00:00',3.0,NULL,NULL,'24881-261392293305088f',NULL,2,0,0,NULL,NULL);
INSERT INTO "runs" VALUES('r2','claims','G',NULL,NULL,NULL,'failed','1970-01-01T00:33:20.000000+00:00','1970-01-01T00:33:21.000000+00:00',1.0,'no','the code raised','24881-261392293305088f',NULL,4,0,0,'code_raised','{"step":"Read"}');
CREATE TABLE schedule_slots (
    flow_name TEXT NOT NULL, slot_utc TEXT NOT NULL, run_id TEXT, rev INTEGER NOT NULL, seen_token INTEGER NOT NULL DEFAULT 0, seen_rev INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (flow_name, slot_utc)
) WITHOUT ROWID;
CREATE TABLE settings (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
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
    rev INTEGER NOT NULL, seen_token INTEGER NOT NULL DEFAULT 0, seen_rev INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (run_id, step_index)
) WITHOUT ROWID;
INSERT INTO "step_runs" VALUES('r1',0,'claims','Read','success','1970-01-01T00:16:41.000000+00:00','1970-01-01T00:16:42.000000+00:00',1.0,NULL,'/ws/out/a.parquet',2,0,0);
CREATE TABLE taken_segments (
    shared_table TEXT NOT NULL, name TEXT NOT NULL, newest_utc TEXT, PRIMARY KEY (shared_table, name)
) WITHOUT ROWID;
CREATE TABLE tombstones (flow_name TEXT PRIMARY KEY, reset_at_utc TEXT NOT NULL, rev INTEGER NOT NULL, seen_token INTEGER NOT NULL DEFAULT 0, seen_rev INTEGER NOT NULL DEFAULT 0) WITHOUT ROWID;
CREATE INDEX runs_by_start ON runs (started_at_utc);
CREATE INDEX runs_by_flow ON runs (flow_name, started_at_utc);
CREATE INDEX runs_by_source ON runs (source_path, started_at_utc) WHERE source_path IS NOT NULL;
CREATE INDEX runs_open ON runs (runner_id) WHERE status = 'started';
CREATE UNIQUE INDEX logs_by_run ON logs (run_id, line_no);
CREATE INDEX logs_by_time ON logs (created_at_utc);
CREATE INDEX runs_by_rev ON runs (rev) WHERE rev > 0;
CREATE INDEX step_runs_by_rev ON step_runs (rev) WHERE rev > 0;
CREATE INDEX logs_by_rev ON logs (rev) WHERE rev > 0;
CREATE INDEX file_state_by_rev ON file_state (rev) WHERE rev > 0;
CREATE INDEX outputs_by_rev ON outputs (rev) WHERE rev > 0;
CREATE INDEX slots_by_rev ON schedule_slots (rev) WHERE rev > 0;
CREATE INDEX runs_presumed ON runs (run_id) WHERE status = 'abandoned' AND finished_at_utc IS NULL;
CREATE INDEX deployments_by_rev ON deployments (rev) WHERE rev > 0;
CREATE INDEX requests_by_rev ON requests (rev) WHERE rev > 0;
COMMIT;
