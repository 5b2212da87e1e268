"""The run ledger of one workspace on one machine: what ran, how it ended, and what each source looked like.

ledger.py           Ledger: its file, recording, and every question
journal.py          what happens in a worker, in a file until the ledger has it; recovery of a dead daemon's, and how a long log ended
logs.py             how much of the log of a run is kept, and what of it counts as a warning
run_warnings.py     how many warnings runs have, and what they say
writer.py           a batch of events as rows, inside one transaction
rows.py             rows as records
connection.py       SQLite with WAL, transactions with a revision, group commit, errors with a fix
migrations.py       the schema and its history
maintenance.py      abandoning lost runs, reset
outputs.py          the files that runs wrote, and where they are now
share.py            Share: what goes out to the shared history and what comes in
replication.py      the statements of that, with the one rule of which row is newer
segments.py         rows as Parquet bytes and back, and folding; says how a daemon uses Share
checks.py           which rows of a segment are taken in
wall_clock.py       whether the machine's clock is believed for removing what is old, and the removal
parquet_process.py  the short-lived child that has PyArrow, so that a daemon need not
"""
