"""`python -m tests` checks everything: format, lint, types, the front end, tests, guides. Arguments go to pytest."""

from __future__ import annotations

import shutil
import subprocess
import sys
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
        print("==", " ".join(check), flush=True)
        code = subprocess.run([sys.executable, "-m", *check], cwd=ROOT, check=False).returncode
        if code:
            return code
    code = _front_end()
    if code:
        return code
    print("== pytest", flush=True)
    return subprocess.run([sys.executable, "-m", "pytest", *sys.argv[1:]], cwd=ROOT, check=False).returncode


def _front_end() -> int:
    """Check the panel's JavaScript; where Node or its packages are not there, say so and go on."""
    npm = shutil.which("npm")
    if npm is None:
        print("== front end: skipped, there is no npm", flush=True)
        return 0
    if not (ROOT / "node_modules").is_dir():
        print("== npm install", flush=True)
        if subprocess.run([npm, "install", "--no-audit", "--no-fund"], cwd=ROOT, check=False).returncode:
            print("== front end: skipped, its packages cannot be installed", flush=True)
            return 0
    for script in FRONT_END:
        print("== npm run", script, flush=True)
        code = subprocess.run([npm, "run", "--silent", script], cwd=ROOT, check=False).returncode
        if code:
            return code
    return 0


if __name__ == "__main__":
    sys.exit(main())
