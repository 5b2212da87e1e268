"""`python -m tests` checks everything: format, lint, types, the front end, tests, guides. Arguments go to pytest."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).parent.parent
CHECKS = (
    ("ruff", "format", "--check", "."),
    ("ruff", "check", "."),
    ("mypy",),
)
FRONT_END = ("lint", "types", "test")
"""The scripts of package.json that check the panel's JavaScript."""


def main() -> int:
    """The first failing check's exit code, 0 when all pass."""
    for check in CHECKS:
        code = _run([sys.executable, "-m", *check], " ".join(check))
        if code:
            return code
    return _front_end() or _run([sys.executable, "-m", "pytest", *sys.argv[1:]], "pytest")


def _front_end() -> int:
    """Check the panel's JavaScript; where Node or its packages are not there, say so and go on."""
    npm = shutil.which("npm")
    if npm is None:
        print("== front end: skipped, there is no npm", flush=True)
        return 0
    if not (ROOT / "node_modules").is_dir() and _run([npm, "install", "--no-audit", "--no-fund"], "npm install"):
        print("== front end: skipped, its packages cannot be installed", flush=True)
        return 0
    for script in FRONT_END:
        code = _run([npm, "run", "--silent", script], f"npm run {script}")
        if code:
            return code
    return 0


def _run(command: Sequence[str], name: str) -> int:
    print("==", name, flush=True)
    return subprocess.run(command, cwd=ROOT, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
