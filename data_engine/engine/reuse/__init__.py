"""How a second preview runs only what changed.

walk.py        the walk over a flow's steps: what is kept, what runs and why; the cache
keys.py        a step's key: its code and everything that code reaches
bytecode.py    what a code object names, calls and holds
libraries.py   which libraries only compute, and which read what nobody sees
doors.py       the entry points of readers, replaced while a preview runs
notes.py       what each of them notes
sightings.py   what a step read and wrote, and who is looking
sql.py         the files and frames a SQL text reads
signatures.py  whether a file or folder is as it was
kept.py        sound copies of results
caption.py     the line under a preview
"""
