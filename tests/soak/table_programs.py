"""`python -m tests.soak.table_programs [PROGRAMS] [SEED]`: random programs of calls that give rows for tables, kept and written at once.

Two databases, map items on threads and, each tenth, in processes, reads of what was given, `publish()`, failures in between: the same tables
after success, those from before after a failure.
"""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

from tests.engine.kept_programs import compare


def main(programs: int = 300, seed: int = 1000) -> None:
    """So many programs from this seed on."""
    with tempfile.TemporaryDirectory() as state:
        os.environ["DATA_ENGINE_STATE_ROOT"] = state
        for number in range(seed, seed + programs):
            with tempfile.TemporaryDirectory() as folder:
                compare(number, Path(folder), "processes" if number % 10 == 0 else "threads")
    print(f"{programs} programs from seed {seed}: the same tables")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
