"""The tests, arranged by behaviour; `python -m tests` runs every check."""
