"""What steps read and write: recorded for a run and for the keys of previews, and held back where a preview or a run must not write.

access_log.py       what a step read and wrote, whose reads these are, and whether a file or folder is as it was
interceptors.py     the table of the readers and writers that are replaced while steps run
recorders.py        what each of them records; what a SQL text reads
file_events.py      what Python changes, seen before it happens
guards.py           what a preview must not change, and what a run must not: its own sources
doubts.py           what was read otherwise than its author meant
code.py             whose code is what, which libraries only compute, and what a code object names, calls and holds
"""
