"""What is a terminal, and what only looks like one."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from data_engine.platforms.terminals import is_terminal


def test_no_file_pipe_or_null_device_is_a_terminal(tmp_path: Path) -> None:
    """Windows' C runtime takes the null device for one, as each device of characters."""
    reading, writing = os.pipe()
    with open(os.devnull) as nobody, open(tmp_path / "a", "w") as file, open(reading) as pipe:
        assert not any(map(is_terminal, (nobody, file, pipe, None)))
    os.close(writing)
    assert not is_terminal(nobody)


def test_a_program_whose_input_is_the_null_device_asks_nothing() -> None:
    """A task of Windows' scheduler has it so: a question would end as interrupted."""
    code = "import sys; from data_engine.platforms.terminals import is_terminal; print(is_terminal(sys.stdin))"
    done = subprocess.run(
        [sys.executable, "-c", code], stdin=subprocess.DEVNULL, capture_output=True, text=True, check=True, timeout=60
    )

    assert done.stdout.strip() == "False"


@pytest.mark.skipif(sys.platform == "win32", reason="a terminal of POSIX is made")
def test_a_terminal_is_one() -> None:
    """A pair of pseudo-terminals."""
    assert sys.platform != "win32"
    main, other = os.openpty()
    with open(other) as terminal:
        assert is_terminal(terminal)
    os.close(main)
