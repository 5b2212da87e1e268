"""Bringing a workspace from the older system: its history, what has run already, and the settings of this machine.

older_history.py    what the older system recorded, as rows of this one
places.py           where it keeps its settings and ledgers on this machine
older_lease.py      who owns the workspace there, and the one rename after which nobody can
placing.py          absolute paths of any workstation as sources of flows: pure
move.py             the plan, and carrying it out
"""
