"""Hints that name a command of the shell, as a cell of a notebook takes them, and how a cell calls the command line."""

from __future__ import annotations

import functools
import os
import re
import shutil
import sys
import sysconfig
from collections.abc import Collection, Mapping

from data_engine.platforms.host import shell_line

_HINT = re.compile(r"(?<![/\\!\w.-])(`?)data-engine ([a-z][a-z-]*)([^`<\n;,)]*)")
"""Not in a path, and not what `!` hands to the shell already."""
_OPTION = re.compile(r"--[a-z-]+")
_ONLY_IN_A_TERMINAL = ("secret", "import", "lab", "--watch")
"""They ask something, or go on until Ctrl-C: a cell would hang."""
ON_PATH = "!data-engine"


def in_cell(text: str, magics: Mapping[str, Collection[str]], shell: str = ON_PATH) -> str:
    """The text, with each command of the shell in it as a cell takes it: `%flow` where that has the command and its options.

    `magics` are the options of each subcommand of `%flow` there is, `shell` is what a cell calls the command line with
    (`shell_of`). What a cell cannot do stays a command of the shell.

    Example:
        >>> in_cell("not deployed: data-engine deploy claims; or `data-engine retry claims`", {"deploy": ["--yes"]})
        'not deployed: %flow deploy claims; or `!data-engine retry claims`'
        >>> in_cell("`data-engine deploy --json`, `data-engine secret set ops`", {"deploy": ["--yes"]})
        '`!data-engine deploy --json`, `data-engine secret set ops`'
        >>> in_cell("/home/anna/data-engine deploy/a.csv, `!data-engine deploy`", {"deploy": ["--yes"]})
        '/home/anna/data-engine deploy/a.csv, `!data-engine deploy`'
        >>> in_cell("`data-engine retry claims`", {}, "!/venv/bin/python -P -m data_engine")
        '`!/venv/bin/python -P -m data_engine retry claims`'
    """

    def of_cell(match: re.Match[str]) -> str:
        tick, word, rest = match.groups()
        options = _OPTION.findall(rest)
        if word in magics and set(options) <= {*magics[word]}:
            return f"{tick}%flow {word}{rest}"
        if not tick or any(part in _ONLY_IN_A_TERMINAL for part in (word, *options)):
            return match[0]
        return f"`{shell} {word}{rest}"

    return _HINT.sub(of_cell, text)


def shell_of(python: str, command: str | None, scripts: str) -> str:
    """The words by which a cell calls the command line of its kernel's environment.

    `python` is the kernel's interpreter, `scripts` the folder for the commands of its environment, `command` the `data-engine`
    that the shell finds, with its links followed; None where it finds none. One of another environment is not called: it may
    be of another version and lack the libraries of the flows.

    Example:
        >>> shell_of("/venv/bin/python", "/venv/bin/data-engine", "/venv/bin")
        '!data-engine'
        >>> shell_of("/venv/bin/python", "/other/bin/data-engine", "/venv/bin")
        '!/venv/bin/python -P -m data_engine'
    """
    if command is not None and _folder(command) in (_folder(python), os.path.normcase(scripts)):
        return ON_PATH
    # -P: no module of the notebook's folder stands in for a library
    line = shell_line([python, "-P", "-m", "data_engine"])
    return "!" + line.replace("{", "{{").replace("}", "}}")  # IPython puts values of the notebook in for braces


def shell_here() -> str:
    """The words by which a cell of this kernel calls the command line; looked up once for each PATH."""
    return _shell_with(os.environ.get("PATH", ""))


@functools.cache
def _shell_with(path: str) -> str:
    command = shutil.which("data-engine", path=path)
    folder, name = os.path.split(sys.executable)
    python = os.path.join(os.path.realpath(folder), name)  # the interpreter itself may be a link out of its environment
    scripts = os.path.realpath(sysconfig.get_path("scripts"))
    return shell_of(python, None if command is None else os.path.realpath(command), scripts)


def _folder(path: str) -> str:
    return os.path.normcase(os.path.dirname(path))
