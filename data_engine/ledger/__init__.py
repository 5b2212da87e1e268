"""The run ledger of one workspace on one machine: what ran, how it ended, and what each source looked like.

ledger.py       Ledger: recording and every question
commit.py       group commit: events wait in memory and are written together
writer.py       a batch of events as rows, inside one transaction
rows.py         rows as records
connection.py   SQLite as this house uses it: WAL, transactions with a revision, errors with a mend
migrations.py   the schema and its history
"""
