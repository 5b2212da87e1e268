"""How a second preview runs only what changed.

runner.py       the loop over a flow's steps: what is reused, what runs and what is kept of it
cache.py        what is kept, the least recently used dropped first, and why it cannot be reused
fingerprint.py  a step's key: its code and everything that code reaches
values.py       the content of values, sound copies of results, and what texts mean as queries
caption.py      the line under a preview

What steps read is recorded in `data_engine/engine/access/`.
"""
