"""How a second preview runs only what changed.

runner.py           the loop over a flow's steps: what is reused, what runs and what is kept of it
cache.py            what is kept; the least recently used is dropped first
staleness.py        why a kept result is not what its step would give now
watched_context.py  the context of a previewed step, which notices what is looked at
fingerprint.py      a step's key: its code and everything that code reaches
tracer.py           follows code to what it reaches
content.py          the content of values in bytes
query_texts.py      what texts in code would mean as queries
bytecode.py         what a code object names, calls and holds
libraries.py        which libraries only compute, and which read what nobody sees
interceptors.py     the entry points of readers, replaced while a preview runs
recorders.py        what each of them records
access_log.py       what a step read and wrote, and whose reads these are
sql.py              the files and frames a SQL text reads
signatures.py       whether a file or folder is as it was
value_copy.py       sound copies of results
caption.py          the line under a preview
"""
