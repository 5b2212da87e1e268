"""The tests side by side, and what failed once more, alone."""

from __future__ import annotations

import os
import subprocess
import tempfile
from pathlib import Path

from tests.conftest import FAILED_LIST

ROOT = Path(__file__).parent.parent
PROCESSES = ("-n", str(min((os.cpu_count() or 1) + 4, 8)), "--dist", "loadfile", "--no-loadscope-reorder")
"""Most tests of daemons wait; several processes share the waiting. What stays together, and in which order, is in conftest.py."""
MOST_AGAIN = 25
"""So many tests that failed are run again; of more the machine is not the cause."""
TIMES_AGAIN = 2
_FAILED = 1


def run_tests(python: str | Path, arguments: list[str]) -> int:
    """The exit code of the tests: side by side, and what failed again, alone, as a busy machine breaks timing."""
    code, failed = _pytest(python, [*PROCESSES, *arguments])
    for _ in range(TIMES_AGAIN):
        if code != _FAILED or not 0 < len(failed) <= MOST_AGAIN:
            break
        print(f"== {len(failed)} tests failed; again, alone:", *failed, sep="\n   ", flush=True)
        code, failed = _pytest(python, failed)
    return code


def _pytest(python: str | Path, arguments: list[str]) -> tuple[int, list[str]]:
    """Its exit code, and the names of the tests that failed."""
    with tempfile.TemporaryDirectory() as folder:
        failed_list = Path(folder) / "failed"
        environment = os.environ | {FAILED_LIST: str(failed_list)}
        code = subprocess.run([python, "-m", "pytest", *arguments], cwd=ROOT, env=environment, check=False).returncode
        return code, failed_list.read_text(encoding="utf-8").splitlines() if failed_list.exists() else []
