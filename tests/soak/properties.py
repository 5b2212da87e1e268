"""`python -m tests.soak.properties [TIMES] [PATHS]`: the properties of the tests with TIMES as many examples as a run of all tests takes.

PATHS are those of pytest; without any, the files with properties. The exit code is pytest's.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.support import MANY

TESTS = Path(__file__).parents[1]


def main(times: str = "10", *paths: str) -> int:
    """The exit code of the tests."""
    files = [
        path for path in sorted(TESTS.rglob("test_*.py")) if "\nfrom hypothesis" in path.read_text(encoding="utf-8")
    ]
    command = [sys.executable, "-m", "pytest", "-o", "timeout=0", *(paths or map(str, files))]
    return subprocess.run(command, cwd=TESTS.parent, env=os.environ | {MANY: times}, check=False).returncode


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
