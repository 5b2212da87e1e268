"""`python -m tests` checks everything: format, lint, types, the front end, tests, guides. Arguments go to pytest.

The tests then run once more on the newest Python of the machine, in an environment `.venv-3.N` beside the first, without
the slow folders: what differs between Pythons is in the code that a process runs, not in starting many.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.conftest import FAILED_LIST

ROOT = Path(__file__).parent.parent
CHECKS = (
    ("ruff", "format", "--check", "."),
    ("ruff", "check", "."),
    *(
        ("mypy", "--platform", system, "--cache-dir", f".mypy_cache/{system}")
        for system in ("linux", "darwin", "win32")
    ),
)
FRONT_END = ("lint", "types", "test")
"""The scripts of package.json that check the panel's JavaScript."""
SLOW = ("daemon", "panel", "soak", "jupyter", "notebooks")
"""Folders of tests that start servers, browsers and kernels; they run on one Python only."""
PROCESSES = ("-n", str(min((os.cpu_count() or 1) + 2, 4)), "--dist", "loadfile", "--no-loadscope-reorder")
"""Most tests of daemons wait; several processes share the waiting. What stays together, and in which order, is in conftest.py."""
NEWEST_WITHIN = "TESTS_NEWEST_WITHIN"
"""In the environment: so many seconds after the start the newest Python is left out, for a run that must end in time."""
MOST_AGAIN = 25
"""So many tests that failed are run again; of more the machine is not the cause."""
TIMES_AGAIN = 2
_FAILED, _NO_TESTS = 1, 5


def main() -> int:
    """The first failing check's exit code, 0 when all pass."""
    began_s = time.monotonic()
    # Compiled modules are kept, whatever this machine's rule is: else each daemon and worker of a test compiles all of them anew.
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    code = _check_text() or _front_end()
    if code:
        return code
    print(f"== pytest on Python 3.{sys.version_info.minor}", flush=True)
    code = _run_tests(sys.executable, sys.argv[1:])
    if not code and time.monotonic() - began_s > float(os.environ.get(NEWEST_WITHIN, "inf")):
        print("== the newest Python of this machine: left out, there is no time left for it", flush=True)
        return 0
    return code or _check_newest()


def _check_text() -> int:
    """The exit code of the first check that failed; all run side by side, as each takes one core only."""

    def check(command: tuple[str, ...]) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", *command],
            cwd=ROOT,
            check=False,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )

    code = 0
    with ThreadPoolExecutor(os.cpu_count()) as threads:
        for command, done in zip(CHECKS, threads.map(check, CHECKS), strict=True):
            print("==", " ".join(command))
            print(done.stdout, end="", flush=True)
            code = code or done.returncode
    return code


def _run_tests(python: str | Path, arguments: list[str]) -> int:
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


def _check_newest() -> int:
    """The exit code of the tests that are not slow, on the newest Python; 0 where there is none but the running one."""
    minor, python = next(filter(_makes_environments, _newer_pythons()), (0, ""))
    if not minor:
        print(f"== no newer Python than 3.{sys.version_info.minor} that can make environments: one Python is tested")
        return 0
    print(f"== pytest on Python 3.{minor}, without {', '.join(SLOW)}", flush=True)
    folder = ROOT / f".venv-3.{minor}"
    environment = folder / ("Scripts" if os.name == "nt" else "bin") / "python"
    left_out = [f"--ignore=tests/{name}" for name in SLOW]
    for command in (
        [python, "-m", "venv", folder],
        [environment, "-m", "pip", "install", "-q", "-e", ".[test]"],
    ):
        code = subprocess.run(command, cwd=ROOT, check=False).returncode
        if code:
            return code
    code = _run_tests(environment, [*left_out, *sys.argv[1:]])
    return 0 if code == _NO_TESTS and sys.argv[1:] else code


def _newer_pythons() -> list[tuple[int, str]]:
    """Each `python3.N` on the path that is newer than the running one, the newest first, with its N."""
    found = []
    for folder in os.get_exec_path():
        for name in os.listdir(folder) if os.path.isdir(folder) else ():
            match = re.fullmatch(r"python3\.(\d+)(\.exe)?", name)
            if match and int(match[1]) > sys.version_info.minor:
                found.append((int(match[1]), os.path.join(folder, name)))
    return sorted(found, key=lambda one: -one[0])


def _makes_environments(found: tuple[int, str]) -> bool:
    """Whether this Python runs (a version manager's may not) and has what makes environments."""
    return not subprocess.run([found[1], "-c", "import ensurepip, venv"], capture_output=True, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
