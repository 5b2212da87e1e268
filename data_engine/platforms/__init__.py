"""The differences between Linux, macOS and Windows, each in one module, and `sys.platform` nowhere else.

    files.py        flags to open with, handles that let others read, rename and delete, why an open failed, locks, who has a file open
    processes.py    start detached, the tree and its end, start times, memory, exit codes
    child.py        a worker process as its daemon holds it: channels, text streams, end of the tree
    parent.py       the other side: how a worker finds its daemon and ends with it
    access.py       who may read a file or folder: modes, or an access list
    drives.py       kinds of drives, and what a path leads to, the library that watches folders
    copies.py       clones of files, and who holds one open for writing
    names.py        file names that a system refuses
    service.py      what starts a program at logon and again when it dies, and what tells one logon from the next
    awake.py        keeping the machine from going to sleep
    host.py         the system's own id, who runs this process, the shell people type into, what it says of sleep and long paths

What is the same on all systems is said once, below the implementations. The long one of `child.py` for Windows is `_child_windows.py`.
`data_engine/clock.py` has the clocks. Nothing here knows flows, runs or the ledger.
"""
