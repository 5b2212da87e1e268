"""What is started so that a machine stays awake."""

from __future__ import annotations

import pytest

from data_engine.platforms import awake


@pytest.mark.parametrize(
    ("system", "line"),
    [
        ("darwin", "caffeinate -i -w 4711"),
        ("linux", "systemd-inhibit --what=sleep:idle --who=Data Engine --why=run 3 cat"),
    ],
)
def test_the_program_ends_with_the_process_that_needs_it(system: str, line: str) -> None:
    """`-i`: the machine does not fall asleep by itself, `-w`: until that process ends; `cat` ends with its standard input."""
    assert " ".join(awake.command(system, "run 3", 4711)) == line
