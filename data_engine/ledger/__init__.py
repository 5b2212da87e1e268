"""The run ledger of one workspace on one machine: what ran, how it ended, and what each source looked like.

ledger.py           Ledger: recording and every question
ledger_file.py      its file; group commit: events wait in memory and are written together
journal.py          what happens in a worker, in a file until the ledger has it; recovery of a dead daemon's
last_lines.py       how a long log ended, in a file that outlives its worker
log_limits.py       how much of what one run prints is kept
writer.py           a batch of events as rows, inside one transaction
rows.py             rows as records
connection.py       SQLite as this house uses it: WAL, transactions with a revision, errors with a fix
migrations.py       the schema and its history
maintenance.py      abandoning lost runs, retention, reset
share.py            Share: what goes out to the shared history and what comes in
replication.py      the statements of that, with the one rule of which row is newer
segments.py         rows as Parquet bytes and back, and folding; says how a daemon uses Share
checks.py           which rows of a segment are taken in
belief.py           whether the machine's clock is believed for removing what is old: pure decisions
wall_clock.py       the clock as one process judges it, again and again
parquet_process.py  the short-lived child that has PyArrow, so that a daemon need not
"""
