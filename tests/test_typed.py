"""A command that a message offers works as it is typed: names are quoted for the shell."""

from __future__ import annotations

import ast
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest

import data_engine
from data_engine.formatting import cli_line, magic_line
from data_engine.notebook.deploy import not_deployed
from data_engine.platforms.host import shell_line
from data_engine.status.record import FlowStatus
from data_engine.status.sentences import held_text
from tests.sources import product_files

ROOT = Path(data_engine.__file__).parent.parent
_COMMAND = re.compile(r"(?:data-engine|%flow) [a-z][a-z-]*(?: --[a-z-]+)* $")


def unquoted(source: str) -> Iterator[str]:
    """The commands in f-strings whose next word is a value that nothing quotes."""
    for node in ast.walk(ast.parse(source)) if re.search("(data-engine|%flow) [a-z]", source) else ():
        if isinstance(node, ast.JoinedStr):
            for before, value in zip(node.values, node.values[1:], strict=False):
                is_command = isinstance(before, ast.Constant) and _COMMAND.search(str(before.value))
                if is_command and isinstance(value, ast.FormattedValue):
                    yield f"{str(before.value)[-40:]}{{{ast.unparse(value.value)}}}"


def test_no_message_puts_a_flow_into_a_command_without_quoting_it() -> None:
    found = {
        f"{path.relative_to(ROOT).as_posix()}: {one}"
        for path in product_files()
        for one in unquoted(path.read_text(encoding="utf-8"))
    }
    assert {one for one in found if not _QUIET.search(one)} == set()


_QUIET = re.compile(r"data-engine (secret|alert) |stop |data-engine backfill (--|\{chosen)|magics.py: %flow ")
"""Names of secrets, ids of runs and backfills: none has a letter that a shell reads."""


def test_the_check_finds_what_it_is_for() -> None:
    assert list(unquoted("f'data-engine deploy {flow}'")) == ["data-engine deploy {flow}"]
    assert list(unquoted("f'{cli_line(1, flow)} and data-engine status'")) == []


@pytest.mark.parametrize("name", ["monthly claims", "it's", "a&b", "claims"])
def test_a_name_comes_out_of_the_shell_as_it_is(name: str) -> None:
    assert shlex.split(magic_line("deploy", name)) == ["%flow", "deploy", name]
    assert cli_line("deploy", name) == shell_line(["data-engine", "deploy", name])


def test_hints_quote_a_name_with_a_space() -> None:
    quoted = shell_line(["monthly claims"])

    assert f"data-engine explain {quoted}" in str(held_text(FlowStatus("monthly claims", held=1)))
    assert f"data-engine run --once {quoted}" in str(not_deployed("monthly claims", "x").fix)
