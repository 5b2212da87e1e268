"""Trying code in a Python that is perhaps another one than this."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping

from data_engine.platforms.processes import apart, program_of

_TRY_S = 60.0


def tried(python: str, code: str, environment: Mapping[str, str]) -> tuple[str, str | None]:
    """The last line that `code` prints in a fresh process of that Python, in an empty folder; and why it failed, None where it
    did not."""
    import tempfile

    program, started_in = program_of(python, environment)
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:  # Windows removes none that a process is in
        try:
            process = subprocess.run(
                [program, "-P", "-c", code],
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                errors="replace",
                timeout=_TRY_S,
                cwd=folder,
                env=started_in,
                check=False,
                **apart(),
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            return "", str(error)
    if process.returncode != 0:
        return "", _last_line(process.stderr) or f"it ended with exit code {process.returncode}"
    return _last_line(process.stdout), None


def _last_line(text: str) -> str:
    return text.strip().rpartition("\n")[2].strip()
