"""The magic `%flow`, with help and completion; `kernel_extension` gives it to a kernel."""

from __future__ import annotations

import argparse
import inspect
import re
import shlex
import textwrap
from collections.abc import Sequence
from typing import Any, NoReturn

from data_engine.errors import FlowValidationError, ShortInterrupt
from data_engine.formatting import cli_line, magic_line
from data_engine.notebook.flow_files import module_files
from data_engine.notebook.locate import annotate
from data_engine.platforms.host import SHELL_ESCAPE
from data_engine.suggestions import nearest_name
from data_engine.view.verbs import VERBS
from data_engine.workspace.select import select_workspace
from jupyter_extension.commands import Command, all_commands, in_this_kernel
from jupyter_extension.own_flow import UserNames

_NAME = "flow"
_PARAMETER = re.compile(r"[A-Za-z_]\w*=")
"""A parameter with its value."""


def run_line(line: str, names: UserNames) -> Any:
    """Run `%flow <line>` with the notebook's names; the cell shows the value.

    Raises:
        FlowValidationError: a mistake in the line or in what it asks for; a notebook shows the message and no frames.
        KeyboardInterrupt: it was interrupted; a notebook shows one line.

    Example:
        >>> try:
        ...     run_line("depoly", {})
        ... except FlowValidationError as error:
        ...     print(error.fix.partition("?")[0])
        did you mean %flow deploy
    """
    try:
        words = _split(line)
        if not words or words[0] in ("-h", "--help", "help", "?"):
            print(overview())
            return None
        command = _command(words[0], line.strip())
        args = _parse(command, words[1:])
        return None if args is None else command.do(args, names)
    except KeyboardInterrupt as raised:
        if isinstance(raised, ShortInterrupt):
            raise
        raise ShortInterrupt(f"%{_NAME} {line.strip()} was interrupted") from None
    except FlowValidationError as error:
        typed_line = f"%{_NAME} {line}".rstrip()
        if error.trace and "run_line_magic" in error.trace[-1]:
            error.trace = (typed_line,)
        elif not error.trace:
            error.trace = (typed_line, *annotate(error).trace)
        if error.fix is not None:
            error.fix = in_this_kernel(error.fix)
        raise


def overview() -> str:
    """The help of `%flow?`.

    Example:
        >>> overview().splitlines()[0]
        'Preview, compile, deploy and run flows, and see what they do.'
    """
    wide = max(map(len, all_commands()))
    lines = [f"    %flow {command.name:{wide}}  {command.summary}" for command in all_commands().values()]
    twins = [f"    {command.name:{wide}}  {command.twin}" for command in all_commands().values()]
    return "\n".join(
        [
            "Preview, compile, deploy and run flows, and see what they do.",
            "",
            *lines,
            "",
            "`%flow NAME --help` shows the options of each. The same in plain Python, after",
            "`from data_engine import Workspace, clear_preview_cache, compile_notebook, load_flow`:",
            "",
            *twins,
        ]
    )


def _split(line: str) -> list[str]:
    lexer = shlex.shlex(line, posix=True)
    lexer.whitespace_split = True
    lexer.commenters = ""
    lexer.escape = SHELL_ESCAPE
    try:
        return list(lexer)
    except ValueError as error:
        raise FlowValidationError(
            f"the line cannot be read: {str(error).lower()}", where=f"%{_NAME}", fix="close the quotation mark"
        ) from None


def _command(word: str, line: str) -> Command:
    if word in all_commands():
        return all_commands()[word]
    names = ", ".join(all_commands())
    if word in VERBS:
        command = in_this_kernel(f"`{_in_the_shell(line)}`")
        fix = f"type {command}" if "`!" in command else f"type {command} in a terminal"
        raise FlowValidationError(f"%flow has no {word!r}: it is a command of the shell", where=f"%{_NAME}", fix=fix)
    near = nearest_name(word, all_commands())
    fix = f"did you mean %flow {near}? " if near else ""
    raise FlowValidationError(f"%flow knows no {word!r}", where=f"%{_NAME}", fix=f"{fix}It knows {names}")


def _in_the_shell(line: str) -> str:
    """The line as a command of the shell, with the name of a flow that holds blanks as one word."""
    word, *names = _split(line)
    name = " ".join(names)
    try:
        is_flow = len(names) > 1 and name in module_files(select_workspace().flow_modules_dir)
    except FlowValidationError:
        is_flow = False
    return cli_line(word, name) if is_flow else f"data-engine {line}"


def _as_filed(word: str) -> str:
    """A word that may be the name of a flow, as its file has it."""
    if word.isascii():
        return word
    from data_engine.client import Workspace
    from data_engine.notebook.flow_files import as_filed

    try:
        return as_filed(Workspace.current().layout.flow_modules_dir, word)
    except FlowValidationError:  # whoever needs a workspace says so
        return word


class _Parser(argparse.ArgumentParser):
    """Raises our errors, where argparse would end the kernel."""

    def error(self, message: str) -> NoReturn:
        raise FlowValidationError(
            message.replace("argument ", ""), where=f"{self.prog}", fix=f"see {self.prog} --help"
        ) from None


def _parser_of(command: Command) -> _Parser:
    parser = _Parser(prog=f"%flow {command.name}", add_help=False, allow_abbrev=False)
    for option in command.options:
        if option.name == "--set":
            parser.add_argument("--set", "--param", action="append", default=[])
        elif option.value:
            parser.add_argument(option.name, action="append" if option.is_repeated else "store")
        else:
            parser.add_argument(option.name, action="store_true")
    parser.add_argument("-h", "--help", action="store_true")
    parser.add_argument("subjects", nargs="*")
    return parser


def _parse(command: Command, words: Sequence[str]) -> argparse.Namespace | None:
    """Parse the words; None when they asked for help, which is printed."""
    parser = _parser_of(command)
    args, unknown = parser.parse_known_intermixed_args(list(words))
    if args.help:
        print(_help(command))
        return None
    if "set" in args:
        args.set += [word for word in args.subjects if _PARAMETER.match(word)]
        args.subjects = [word for word in args.subjects if not _PARAMETER.match(word)]
    subjects = [*args.subjects, *(word for word in unknown if not word.startswith("-"))]
    for word in unknown:
        if word.startswith("-"):
            raise _unknown_option(command, word.partition("=")[0])
    _refuse_params(command, subjects)
    if len(subjects) > bool(command.takes):
        what = f"takes only one {command.takes}" if command.takes else "takes no name"
        raise FlowValidationError(
            f"%flow {command.name} {what}, and is given {' and '.join(map(repr, subjects))}",
            where=f"%flow {command.name}",
            fix=f"write {command.usage}",
        )
    args.subject = _as_filed(subjects[0]) if subjects else None
    if command.takes == "clear or info" and args.subject not in (None, "clear", "info"):
        raise FlowValidationError(
            f"%flow {command.name} does not know {args.subject!r}", where=f"%flow {command.name}", fix=command.usage
        )
    return args


def _refuse_params(command: Command, subjects: Sequence[str]) -> None:
    """Refuse a parameter where a name may stand, of a command that takes none."""
    pairs = [word for word in subjects if _PARAMETER.match(word)]
    if not pairs or command.takes != "flow":
        return
    fix = f"leave it out; {', '.join(entry.name for entry in all_commands().values() if entry.takes_params)} take parameters"
    if command.name == "test":
        fix = f"leave it out: a golden is tested with the parameters that it was kept with; {magic_line('golden', *pairs)} keeps one with these"
    raise FlowValidationError(
        f"%flow {command.name} takes no parameters, and was given {' and '.join(map(repr, pairs))}",
        where=f"%flow {command.name}",
        fix=fix,
    )


def _unknown_option(command: Command, word: str) -> FlowValidationError:
    names = [option.name for option in command.options]
    near = nearest_name(word, names)
    fix = f"did you mean {near}?" if near else f"it has {', '.join(names)}" if names else "leave it out"
    return FlowValidationError(f"%flow {command.name} has no option {word}", where=f"%flow {command.name}", fix=fix)


def _help(command: Command) -> str:
    options = [(f"{option.name} {option.value}".rstrip(), option.help) for option in command.options]
    wide = max((len(name) for name, _ in options), default=0)
    lines = [command.usage, "", *textwrap.wrap(command.summary, 100), ""]
    lines += [f"  {name:{wide}}  {text}" for name, text in options] + [""] * bool(options)
    return "\n".join([*lines, "In plain Python:", f"  {command.twin}"])


_SAVED = re.compile(r"""\bsave_as\s*=\s*(["'])(?P<name>[^"'\n]+)\1""")


def complete(before: str, names: UserNames) -> list[str]:
    """The words that fit behind `before`, the line up to the cursor; none leaves it to IPython's own completers.

    Example:
        >>> complete("%flow cache ", {})
        ['clear', 'info']
    """
    words = before.split()
    if not words or words[0] != "%flow" or (len(words) == 1 and not before[-1:].isspace()):
        return []
    words = words[1:]
    if before[-1:].isspace():
        words.append("")
    try:
        return _choices(words, names)
    except (FlowValidationError, OSError, UnicodeError):
        return []


def _choices(words: list[str], names: UserNames) -> list[str]:
    if len(words) == 1:
        return list(all_commands())
    command = all_commands().get(words[0])
    if command is None:
        return []
    before, word = words[-2], words[-1]
    options = {option.name: option for option in command.options}
    if word.startswith("-") and "=" not in word:
        return [*(name for name, option in options.items() if name not in words or option.is_repeated), "--help"]
    asking = word.partition("=")[0] if "=" in word else before
    subjects = _subjects(words[1:-1], {name for name, option in options.items() if option.value})
    if asking in options and options[asking].value:
        return _saved_names(subjects[0] if subjects else None, names) if asking == "--use" else []
    if subjects or command.takes in ("", "run"):
        return []
    if command.takes == "object":
        return _saved_names(None, names)
    return (
        ["clear", "info"]
        if command.takes == "clear or info"
        else sorted(module_files(select_workspace().flow_modules_dir))
    )


def _subjects(words: list[str], with_value: set[str]) -> list[str]:
    """Those words that are neither options nor their values."""
    return [
        word
        for number, word in enumerate(words)
        if not word.startswith("-") and (number == 0 or words[number - 1] not in with_value)
    ]


def _saved_names(flow: str | None, names: UserNames) -> list[str]:
    """The objects the text of the flow saves, in its order: of the module, or of the notebook's own build()."""
    if flow is None:
        try:
            source = inspect.getsource(names["build"])
        except (KeyError, TypeError):
            return []
        return _saved_in(source)
    from data_engine.notebook.read import read_cells

    notebook = select_workspace().flow_modules_dir / f"{flow}.ipynb"
    if notebook.is_file():
        return _saved_in("\n".join(cell.text for cell in read_cells(notebook.read_bytes(), path=notebook)))
    return _saved_in(notebook.with_suffix(".py").read_text(encoding="utf-8"))


def _saved_in(source: str) -> list[str]:
    return list(dict.fromkeys(match["name"] for match in _SAVED.finditer(source)))
