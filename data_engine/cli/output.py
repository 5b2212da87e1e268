"""The output of a command: lines and tables for people, or one JSON document for programs; and its exit code after an error.

Neither a closed pipe nor a terminal that lacks our letters ends a command: what cannot be shown is left out, and the
work goes on.
"""

from __future__ import annotations

import codecs
import errno
import io
import json
import math
import os
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout
from datetime import date, time
from typing import TYPE_CHECKING, Any, BinaryIO, Literal, TextIO

from data_engine.errors import (
    FlowExecutionError,
    FlowStoppedError,
    FlowValidationError,
    GroupBusyError,
    NotHeldBackError,
    OwnedElsewhereError,
    RequestFailedError,
    message_of,
)
from data_engine.formatting import visible, visible_lines
from data_engine.marks import Mark
from data_engine.view.card import Card, Cell, Column, Lines, Note, Pairs, Part, Picture, Section, Table
from data_engine.view.card import plain as plain_cell

if TYPE_CHECKING:
    import rich.table
    from rich.console import Console, ConsoleOptions
    from rich.measure import Measurement
    from rich.text import Text


_WIDE = 10_000
_GAP = 3
_NARROWEST = 16
"""Of a column whose texts are cut or wrapped."""
_SHRINKING = ("name", "path", "text")
"""Kinds of columns whose texts are cut or wrapped."""
_PIPED = 120
"""The width of a table without a terminal."""
_STATUS_STYLES = {"success": "green", "failed": "red", "killed": "red", "abandoned": "red", "stopped": "yellow"}

_TONES = {"bad": "red", "warn": "yellow"}
"""The colours of marks that somebody should see."""

_OBEYED_IN_JSON = r"[\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]"
"""What a terminal may obey and JSON does not escape."""

_NO_READER = (errno.EPIPE, errno.EINVAL)  # on Windows a closed pipe is EINVAL

_LENIENT = "data_engine.lenient"

_answer: BinaryIO | None = None


def say(text: str = "", style: str | None = None) -> None:
    """Print to standard output, coloured on terminals only. Texts are taken as they are: brackets mean nothing, and control characters
    are shown and not obeyed."""
    _print(visible_lines(text), style or "", sys.stdout)


def say_card(card: Card) -> None:
    """Print a card to standard output; of a table that is too wide its columns say what is cut, wrapped or left out."""
    has_begun = False
    if title := "  ".join(filter(None, [*card.title.splitlines()[:1], *map(plain_cell, card.facts)])):
        say("\n".join([title, *card.title.splitlines()[1:]]))
        has_begun = True
    for part in map(_in_words, card.parts):
        if isinstance(part, Table) and has_begun:
            say("")
        has_begun |= _say_part(part, "")


def _in_words(part: Part) -> Part:
    """The part; of a picture the same in words or as a table."""
    if isinstance(part, Picture):
        return part.text if isinstance(part.text, Table) else Lines(tuple(part.text.splitlines()))
    return part


def _say_part(part: Part, indent: str) -> bool:
    """Print a part, which is no picture; whether there was anything to print."""
    match part:
        case Pairs():
            pairs = [(name, cell) for name, cell in part.pairs if plain_cell(cell)]
            widest = max((len(name) for name, _ in pairs), default=0) + 2
            for name, cell in pairs:
                text = cell if isinstance(cell, str) else plain_cell(cell)
                lines = f"{name:{widest}}{text}".split("\n")
                say(
                    "\n".join(f"{indent}{' ' * widest if n else ''}{line}" for n, line in enumerate(lines)),
                    _cell_style(cell),
                )
        case Note():
            _say_note(part, indent, sys.stdout)
        case Lines():
            if not part.only_folded:
                for line in (*filter(None, [part.summary]), *part.lines):
                    say(f"{indent}{line}")
        case Section():
            say("")
            say(f"{indent}{plain_cell(part.title)}", "bold")
            for inner in map(_in_words, part.parts):
                _say_part(inner, f"{indent}  ")
        case Table():
            _print_table(part, sys.stdout)
    return not isinstance(part, (Lines, Pairs)) or bool(part.lines if isinstance(part, Lines) else part.pairs)


def say_note(note: Note) -> None:
    """Print a note to standard error, with its fix."""
    _say_note(note, "", sys.stderr)


def _say_note(note: Note, indent: str, stream: TextIO) -> None:
    kind = {"bad": "error: ", "warn": "warning: "}.get(note.mark.tone, "")
    _print(visible_lines(f"{indent}{kind}{note.mark.word}"), _TONES.get(note.mark.tone, ""), stream)
    if note.fix:
        fix = note.fix.replace("\n", f"\n{indent}       ")
        _print(visible_lines(f"{indent}  fix: {fix}"), "", stream)


def _cell_style(cell: Cell) -> str:
    return _TONES.get(cell.tone, "") if isinstance(cell, Mark) else ""


def complain(text: str = "", style: str | None = None) -> None:
    """Print to standard error likewise."""
    _print(visible_lines(text), style or "", sys.stderr)


def status_style(status: str) -> str:
    """The colour of a run's status; the word is always shown with it."""
    return _STATUS_STYLES.get(status, "")


def print_json(value: object, *, indent: int | None = 2) -> None:
    """Print `value` as one JSON document in UTF-8, whatever the terminal's encoding; on one line without `indent`."""
    text = json.dumps(plain(value), ensure_ascii=False, indent=indent, allow_nan=False)
    text = re.sub(_OBEYED_IN_JSON, lambda match: f"\\u{ord(match[0]):04x}", text) + "\n"  # the same data
    data = text.encode("utf-8", "backslashreplace")  # a file name that is no Unicode: \udcff, as JSON writes it
    answer = _answer or sys.stdout.buffer
    answer.write(data)
    answer.flush()


def plain(value: object) -> Any:
    """`value` in JSON's own types: times as ISO-8601, what is not finite as null, anything unknown as its text.

    Example:
        >>> plain({"day": date(2013, 1, 5), "mean": float("nan"), 1: (True, None)})
        {'day': '2013-01-05', 'mean': None, '1': [True, None]}
    """
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): plain(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [plain(inner) for inner in value]
    if isinstance(value, (date, time)):
        return value.isoformat()
    return str(value)


@contextmanager
def only_json(lost: list[OSError]) -> Iterator[None]:
    """Inside, whatever flows and libraries print goes to standard error; standard output is kept for `print_json`.

    `lost` is that of `lenient_streams`.
    """
    global _answer
    output = _keep_descriptor(lost)
    before = _answer
    _answer = output or sys.stdout.buffer
    try:
        with redirect_stdout(sys.stderr):
            yield
    finally:
        _answer = before
        if output is not None:
            os.dup2(output.fileno(), 1)
            output.close()


@contextmanager
def lenient_streams() -> Iterator[list[OSError]]:
    """Inside, nothing that prints fails: letters the terminal lacks become "?", bytes of a file name that are no
    UTF-8 are written as \\udcff, what no stream takes is dropped.

    What could not be written is collected (a full disk); a reader that went away is not worth a word.
    """
    before = sys.stdout, sys.stderr
    lost: list[OSError] = []
    sys.stdout, sys.stderr = (_lenient(stream, lost) for stream in before)
    try:
        yield lost
    finally:
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        sys.stdout, sys.stderr = before


class _OpenEnd(io.FileIO):
    """A descriptor that takes everything, and keeps the reason when it could not pass it on."""

    def __init__(self, descriptor: int, lost: list[OSError], *, closefd: bool) -> None:
        super().__init__(descriptor, "w", closefd=closefd)
        self._lost = lost

    def write(self, data: Any, /) -> int:
        try:
            return super().write(data)
        except OSError as error:
            if error.errno not in _NO_READER:
                self._lost.append(error)
            return memoryview(data).nbytes


def _lenient(stream: TextIO | None, lost: list[OSError]) -> TextIO:
    if stream is None:  # started without that stream
        return open(os.devnull, "w", encoding="utf-8")
    if not isinstance(stream, io.TextIOWrapper):
        return stream
    stream.reconfigure(errors=_LENIENT)
    try:
        descriptor, is_terminal = stream.fileno(), stream.isatty()
    except (OSError, ValueError):
        return stream  # a test's
    if is_terminal:
        return stream
    # Otherwise `data-engine run --once | head` would fail the runs whose steps print.
    return io.TextIOWrapper(
        io.BufferedWriter(_OpenEnd(descriptor, lost, closefd=False)),
        encoding=stream.encoding,
        errors=_LENIENT,
        line_buffering=stream.line_buffering or stream.write_through,  # PYTHONUNBUFFERED: there is a buffer below now
    )


def _substitute(error: UnicodeError) -> tuple[str, int]:
    assert isinstance(error, UnicodeEncodeError)
    lost = error.object[error.start : error.end]
    return "".join(f"\\u{ord(letter):x}" if "\ud800" <= letter <= "\udfff" else "?" for letter in lost), error.end


codecs.register_error(_LENIENT, _substitute)


def _keep_descriptor(lost: list[OSError]) -> BinaryIO | None:
    # Child processes and native libraries write to descriptor 1, not to sys.stdout.
    try:
        if sys.stdout.fileno() != 1:
            return None
    except (OSError, ValueError):
        return None
    sys.stdout.flush()
    output = io.BufferedWriter(_OpenEnd(os.dup(1), lost, closefd=True))
    os.dup2(2, 1)
    return output


def _print(text: str, style: str, stream: TextIO) -> None:
    if not style or not stream.isatty():
        stream.write(f"{text}\n")
        return
    from rich.text import Text

    _console(stream).print(Text(text, style), soft_wrap=True)


def _console(stream: TextIO) -> Console:
    from rich.console import Console

    return Console(file=stream, markup=False, highlight=False, emoji=False)


def _print_table(shown: Table, stream: TextIO) -> None:
    """The table as wide as the terminal; for a file or a pipe as wide as a page, and wider where what may not be cut needs it."""
    rows = [tuple(map(_text_of, shown.columns, row)) for row in shown.rows]
    styles = [next(filter(None, map(_cell_style, row)), "") for row in shown.rows]
    named = [n for n, column in enumerate(shown.columns) if column.name or any(row[n] for row in rows)]
    console = _console(stream)
    if not console.is_terminal:
        console.width = max(_PIPED, _least_width(shown, rows, named))
    at = _fitting(shown, rows, named, console.width)
    drawn = _drawn(shown, rows, styles, at, is_squeezed=_least_width(shown, rows, at) > console.width)
    is_narrow = console.measure(drawn, options=console.options.update(width=_WIDE)).maximum > console.width
    if console.is_terminal:
        console.print(drawn)
    else:
        with console.capture() as captured:
            console.print(drawn)
        stream.write("".join(f"{line.rstrip()}\n" for line in captured.get().splitlines()))
    if shown.more:
        _print(f"and {shown.more:,} more", "", stream)
    is_short = any(shown.columns[n].is_spare for n in named if n not in at)
    if shown.whole and (is_short or (is_narrow and _is_cut(shown, rows, at, drawn, console))):
        _print(f"\n… {shown.whole}", "", stream)


def _fitting(shown: Table, rows: Sequence[Sequence[str]], at: Sequence[int], width: int) -> list[int]:
    """The columns of `at` that are shown: those that say nothing are left out first, then the spare ones."""
    left = list(at)
    empty = [n for n in at if rows and not any(row[n] for row in rows)]
    for n in (*empty, *(n for n in at if shown.columns[n].is_spare and n not in empty)):
        if _least_width(shown, rows, left) <= width:
            break
        left.remove(n)
    return left


def _text_of(column: Column, cell: Cell) -> str:
    """The text of a cell, of one line but in a column whose texts go on."""
    if column.kind == "text":
        return visible_lines(cell if isinstance(cell, str) else plain_cell(cell))
    return visible(plain_cell(cell))


def _least_width(shown: Table, rows: Sequence[Sequence[str]], at: Sequence[int]) -> int:
    """The width in columns of a terminal of the columns `at`, where all that may be cut or wrapped is."""
    from rich.cells import cell_len

    taken = _GAP * (len(at) - 1)
    for n in at:
        column = shown.columns[n]
        widest = max(map(cell_len, [column.name, *(row[n] for row in rows)]))
        taken += min(widest, _NARROWEST) if column.kind in _SHRINKING else widest
    return taken


def _is_cut(
    shown: Table,
    rows: Sequence[Sequence[str]],
    at: Sequence[int],
    drawn: rich.table.Table,
    console: Console,
) -> bool:
    """Whether a text is cut; one that only goes on in further lines is not."""
    lines = ("".join(segment.text for segment in line) for line in console.render_lines(drawn))
    text = "\n".join(lines)
    return any(row[n] not in text for n in at if shown.columns[n].kind in ("name", "path") for row in rows)


def _drawn(
    shown: Table,
    rows: Sequence[Sequence[str]],
    styles: Sequence[str],
    at: Sequence[int],
    *,
    is_squeezed: bool,
) -> rich.table.Table:
    """The table as Rich draws it. Of one that `is_squeezed`, as its terminal is too narrow, the texts of all columns but ids may wrap."""
    import rich.table
    from rich.box import SIMPLE_HEAD
    from rich.text import Text

    drawn = rich.table.Table(box=SIMPLE_HEAD, header_style="bold", pad_edge=False, show_edge=False)
    for n in at:
        column = shown.columns[n]
        may_shrink = column.kind in _SHRINKING or (is_squeezed and column.kind != "id")
        justify: Literal["left", "right"] = "right" if column.kind == "number" else "left"
        drawn.add_column(column.name.upper(), justify=justify, no_wrap=not may_shrink, overflow="fold")
    for row, style in zip(rows, styles, strict=True):
        texts: list[_Path | Text] = []
        for n in at:
            kind = shown.columns[n].kind
            is_cut = kind == "name"
            texts.append(
                _Path(row[n])
                if kind == "path"
                else Text(row[n], no_wrap=is_cut, overflow="ellipsis" if is_cut else "fold")
            )
        drawn.add_row(*texts, style=style or None)
    return drawn


class _Path:
    """A path that is cut at its beginning where it is too long: the file's name says more than its folders."""

    def __init__(self, text: str) -> None:
        self._text = text

    def __rich_measure__(self, console: Console, options: ConsoleOptions) -> Measurement:
        from rich.cells import cell_len
        from rich.measure import Measurement

        return Measurement(min(cell_len(self._text), 1), cell_len(self._text)).clamp(max_width=options.max_width)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[Text]:
        from rich.cells import cell_len, set_cell_size
        from rich.text import Text

        shown = self._text
        if cell_len(shown) > options.max_width:
            shown = f"…{set_cell_size(shown[::-1], max(options.max_width - 1, 0))[::-1]}"
        yield Text(shown, no_wrap=True)


_GLOBAL_OPTIONS = {
    "--workspace": "data-engine --workspace PATH COMMAND",
    "--debug": "data-engine --debug COMMAND",
    "--version": "data-engine --version",
}


class Failed(Exception):
    """The request was right, and what it asked for failed: exit code 1. `error` says why."""

    def __init__(self, error: FlowValidationError) -> None:
        super().__init__(str(error))
        self.error = error


def exit_code(error: BaseException) -> int:
    """The exit code that an error ends the program with."""
    if isinstance(error, KeyboardInterrupt):
        return 130
    cause = error.error if isinstance(error, Failed) else error
    if isinstance(cause, OwnedElsewhereError):
        return 3
    if isinstance(error, Failed) or isinstance(cause, (FlowExecutionError, GroupBusyError, RequestFailedError)):
        return 1
    return 2 if isinstance(cause, FlowValidationError) or _is_usage_error(error) else 1


def tell_error(error: BaseException, as_json: bool) -> int:
    """Print what went wrong, where, and the fix; the exit code."""
    facts = _facts(error)
    if as_json:
        steps = [step.as_dict() for step in error.steps] if isinstance(error, NotHeldBackError) else []
        print_json({"error": facts} | ({"not_held_back": steps} if steps else {}))
    else:
        what, *more = str(facts["what"]).splitlines() or [""]
        complain(what if isinstance(error, KeyboardInterrupt) else f"error: {what}", style="bold red")
        for line in more:
            complain(f"  {line}")
        for part in ("where", "fix"):
            if facts[part]:
                words = str(facts[part]).replace("\n", f"\n{' ' * 9}")
                complain(f"  {part + ':':6} {words}")
    return exit_code(error)


def _facts(error: BaseException) -> dict[str, str | None]:
    if isinstance(error, Failed):
        error = error.error
    if isinstance(error, FlowValidationError):
        return error.as_dict()
    if isinstance(error, KeyboardInterrupt):
        return {"what": str(error) or "interrupted", "where": None, "fix": None}
    if isinstance(error, FlowStoppedError):
        return {"what": str(error), "where": None, "fix": None}
    if _is_usage_error(error):
        return _usage_facts(error)
    return {
        "what": f"unexpected {type(error).__name__}: {message_of(error)}",
        "where": None,
        "fix": "see where it came from: set DATA_ENGINE_DEBUG=1, or put --debug before the command",
    }


def _usage_facts(error: Any) -> dict[str, str | None]:
    """Typer's message about a line that it cannot read."""
    path = error.ctx.command_path if error.ctx is not None else "data-engine"
    misplaced = _GLOBAL_OPTIONS.get(getattr(error, "option_name", ""))  # of an option the command does not know
    fix = f"see `{path} --help`" if misplaced is None else f"write it before the command: {misplaced}"
    if error.ctx is not None and error.ctx.params.get("name") and "unexpected extra argument" in error.format_message():
        fix = f"`{path}` takes one name: call it once for each; a name that holds blanks stands in quotation marks"
    return {"what": error.format_message(), "where": path, "fix": fix}


def _is_usage_error(error: BaseException) -> bool:
    # typer brings its own click or uses the installed one: the errors of both have a message of their own.
    return hasattr(error, "format_message") and hasattr(error, "exit_code")
