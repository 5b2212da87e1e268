"""`python -m tests.newest`: tests on the newest Python of this machine, in an environment `.venv-3.N` of its own. Arguments go to pytest.

It takes the folders that read code: compiled notebooks, bytecode, the texts of errors, files. What differs between Pythons is there, not in
starting many processes, servers and browsers. The whole suite runs on each Python on the forge. `--prepare` only makes the environment.

Exit codes: 0 when they pass, 77 where there is no newer Python that can make environments, else those of pip and pytest.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from tests.again import ROOT, run_tests
from tests.support import MANY

FOLDERS = (
    "compare",
    "files",
    "flow",
    "notebook",
    "platforms",
    "preview",
    "proof",
    "scheduler",
    "workspace",
)
NONE_NEWER = 77
_NO_TESTS = 5


def main(arguments: Sequence[str]) -> int:
    """The exit code of the tests on the newest Python."""
    minor, python = next(filter(_makes_environments, _newer_pythons()), (0, ""))
    if not minor:
        print(f"== no newer Python than 3.{sys.version_info.minor} that can make environments: one Python is tested")
        return NONE_NEWER
    environment = ROOT / f".venv-3.{minor}" / ("Scripts" if os.name == "nt" else "bin") / "python"
    for command in (
        [python, "-m", "venv", ROOT / f".venv-3.{minor}"],
        [environment, "-m", "pip", "install", "-q", "--no-compile", "-e", ".[test]"],
    ):
        code = subprocess.run(command, cwd=ROOT, check=False).returncode
        if code:
            return code
    if "--prepare" in arguments:
        return 0
    print(f"== pytest on Python 3.{minor}: {', '.join(FOLDERS)}", flush=True)
    others = sorted(one for one in (ROOT / "tests").iterdir() if one.name not in FOLDERS and _has_tests(one))
    left_out = [f"--ignore={one.relative_to(ROOT).as_posix()}" for one in others]
    os.environ.setdefault(MANY, "0.25")  # what is found with any data was found on the first Python
    code = run_tests(environment, [*left_out, *arguments])
    return 0 if code == _NO_TESTS and arguments else code


def _has_tests(path: Path) -> bool:
    return path.is_dir() or path.name.startswith("test_")


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
    sys.exit(main(sys.argv[1:]))
