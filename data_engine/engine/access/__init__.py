"""What steps read and write: recorded for a run and for the keys of previews, and held back where a preview or a run must not write.

access_log.py       what a step read and wrote, and whose reads these are
interceptors.py     the table of the readers and writers that are replaced while steps run
recorders.py        what each of them records; what a SQL text reads
signatures.py       whether a file or folder is as it was
file_events.py      what Python changes, seen before it happens
preview_guard.py    what a preview must not change
own_sources.py      what a run must not change: its own sources
doubts.py           what was read otherwise than its author meant
libraries.py        which libraries only compute, and which read what nobody sees
bytecode.py         what a code object names, calls and holds
"""
