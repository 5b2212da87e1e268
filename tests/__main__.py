"""`python -m tests` checks everything: format, lint, types, the front end, tests, guides. Arguments go to pytest.

Types and the front end are checked beside the tests, most of which wait. The tests of `tests/newest.py` then run once more on the
newest Python of the machine; `--one-python` leaves them to whoever starts that by itself.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests import newest
from tests.again import run_tests

ROOT = Path(__file__).parent.parent
QUICK = (("ruff", "format", "--check", "."), ("ruff", "check", "."))
"""What is seen at once, so before anything else begins."""
TYPES = tuple(
    ("mypy", "--platform", system, "--cache-dir", f".mypy_cache/{system}") for system in ("linux", "darwin", "win32")
)
FRONT_END = ("lint", "types", "test")
"""The scripts of `jupyter_extension/package.json` that check the panel's JavaScript."""


def main() -> int:
    """The first failing check's exit code, 0 when all pass."""
    arguments = [one for one in sys.argv[1:] if one != "--one-python"]
    # Compiled modules are kept, whatever this machine's rule is: else each daemon and worker of a test compiles all of them anew.
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    code = _text(QUICK)
    if code:
        return code
    with ThreadPoolExecutor(1) as beside:
        checked = beside.submit(lambda: _text(TYPES) or _front_end())
        print(f"== pytest on Python 3.{sys.version_info.minor}", flush=True)
        tested = run_tests(sys.executable, arguments)
        code = checked.result() or tested
    if code or "--one-python" in sys.argv:
        return code
    code = newest.main(arguments)
    return 0 if code == newest.NONE_NEWER else code


def _text(checks: Iterable[tuple[str, ...]]) -> int:
    """The exit code of the first that failed, after all of them."""
    codes = [_told(" ".join(check), [sys.executable, "-m", *check]) for check in checks]
    return next(filter(None, codes), 0)


def _front_end() -> int:
    """Check the panel's JavaScript; where Node or its packages are not there, say so and go on."""
    npm = shutil.which("npm")
    if npm is None:
        print("\n== front end: skipped, there is no npm", flush=True)
        return 0
    prefix = ["--prefix", "jupyter_extension"]
    is_installed = (ROOT / "jupyter_extension" / "node_modules").is_dir()
    if not is_installed and _told("npm install", [npm, *prefix, "install", "--no-audit", "--no-fund"]):
        print("\n== front end: skipped, its packages cannot be installed", flush=True)
        return 0
    codes = [_told(f"npm run {script}", [npm, *prefix, "run", "--silent", script]) for script in FRONT_END]
    return next(filter(None, codes), 0)


def _told(name: str, command: list[str]) -> int:
    """Its exit code; what it says comes in one piece, as the tests print beside it."""
    done = subprocess.run(command, cwd=ROOT, check=False, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    said = done.stdout.decode("utf-8", "replace")
    print(f"\n== {name}{': FAILED' if done.returncode else ''}\n{said}", end="", flush=True)
    return done.returncode


if __name__ == "__main__":
    sys.exit(main())
