"""A worker process as its daemon holds it: two channels, two text streams, the end of it and of all it started.

`Child` is the same on each system; how the two find each other is not. On POSIX a worker inherits its sockets and leads a
session. On Windows it is put into a job object that ends with the daemon, and connects to a port of this machine with a
secret that it reads from its standard input: in an environment the process that is started is a launcher and not the Python
that answers, and a socket cannot be given to a process whose number is not known yet.
"""

from __future__ import annotations

import sys

if sys.platform == "win32":
    from data_engine.platforms._child_windows import Child
else:
    from data_engine.platforms._child_posix import Child

__all__ = ["Child"]
