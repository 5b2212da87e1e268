"""`python -m tests.soak.kernels [VERSION ...]`: the panel's journeys with a busy and a restarted kernel, with older versions of ipykernel.

They differ in which thread hears of a click while a cell runs; the panel must not. Each version is installed into a folder of
its own, from which only the kernels import. Needs a package index, and Chromium as the tests of the panel do.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

VERSIONS = ("6.29.5", "6.31.0", "7.3.0", "7.4.0")
JOURNEYS = "cell_runs or without_the_server or reopened or failing"
ROOT = Path(__file__).parent.parent.parent


def journeys(version: str, folder: Path) -> bool:
    """Whether the journeys pass with that version in the kernels."""
    install = [
        sys.executable,
        "-m",
        "pip",
        "install",
        "-q",
        "--no-deps",
        "--target",
        str(folder),
        f"ipykernel=={version}",
    ]
    subprocess.run(install, check=True)
    command = [sys.executable, "-m", "pytest", str(ROOT / "tests" / "panel" / "test_journeys.py"), "-q", "-k", JOURNEYS]
    done = subprocess.run(
        command,
        cwd=ROOT,
        env=os.environ | {"PANEL_KERNEL_PATH": str(folder), "PANEL_KERNEL_VERSION": version},
        check=False,
    )
    return done.returncode == 0


def main() -> int:
    """The number of versions with which something failed."""
    failed = []
    for version in sys.argv[1:] or VERSIONS:
        with tempfile.TemporaryDirectory(prefix="kernels-") as folder:
            passed = journeys(version, Path(folder))
        print(f"ipykernel {version}: {'ok' if passed else 'FAILED'}", flush=True)
        failed += [] if passed else [version]
    return len(failed)


if __name__ == "__main__":
    sys.exit(main())
