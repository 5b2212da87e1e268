"""What a command prints: lines and tables for people, or one JSON document for programs.

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
from typing import TYPE_CHECKING, Any, BinaryIO, TextIO

from data_engine.cli.plain import (
    Table,
    fitted,
    is_wider,
    lines_of,
    ragged,
    rule_is_known,
    stacked,
    styled,
    terminal_width,
    text_of,
)
from data_engine.cut import visible, visible_lines

if TYPE_CHECKING:
    pass

"""What stands behind the start of a run that a wrong clock dated later than now."""

_WIDE = 10_000
_PIPED = 120
"""How wide a table is where no terminal says it."""
_STATUS_STYLES = {"success": "green", "failed": "red", "killed": "red", "abandoned": "red", "stopped": "yellow"}

_OBEYED_IN_JSON = re.compile(r"[\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]")
"""What a terminal may obey and JSON does not escape."""

_NO_READER = (errno.EPIPE, errno.EINVAL)  # on Windows a closed pipe is EINVAL

_LENIENT = "data_engine.lenient"

_answer: BinaryIO | None = None


def say(thing: str | Table = "", style: str | None = None) -> None:
    """Print to standard output, coloured on terminals only. Texts are taken as they are: brackets mean nothing, and control characters
    are shown and not obeyed."""
    _print(visible_lines(thing) if isinstance(thing, str) else thing, style or "", sys.stdout)


def complain(text: str = "", style: str | None = None) -> None:
    """Print to standard error likewise."""
    _print(visible_lines(text), style or "", sys.stderr)


def print_version() -> None:
    """Print the program's name and version."""
    from data_engine.version import __version__

    print(f"data-engine {__version__}")


def table(
    *columns: str,
    right: Sequence[str] = (),
    cut: Sequence[str] = (),
    wrap: Sequence[str] = (),
    spare: Sequence[str] = (),
    whole: str = "",
) -> Table:
    """An empty table with these columns; add rows of texts and `say` it. What the other arguments mean is in `Table`."""
    return Table(columns, tuple(right), tuple(cut), tuple(wrap), tuple(spare), whole)


def status_style(status: str) -> str:
    """The colour of a run's status; the word is always shown with it."""
    return _STATUS_STYLES.get(status, "")


def print_json(value: object, *, indent: int | None = 2) -> None:
    """Print `value` as one JSON document in UTF-8, whatever the terminal's encoding; on one line without `indent`."""
    text = json.dumps(plain(value), ensure_ascii=False, indent=indent, allow_nan=False)
    text = _OBEYED_IN_JSON.sub(lambda one: f"\\u{ord(one[0]):04x}", text) + "\n"  # the same data
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
    kept = _keep_descriptor(lost)
    before = _answer
    _answer = kept or sys.stdout.buffer
    try:
        with redirect_stdout(sys.stderr):
            yield
    finally:
        _answer = before
        if kept is not None:
            os.dup2(kept.fileno(), 1)
            kept.close()


@contextmanager
def lenient_streams() -> Iterator[list[OSError]]:
    """Inside, nothing that prints fails: letters the terminal lacks become "?", bytes of a file name that are no
    UTF-8 are told as \\udcff, what nobody can take is dropped.

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


def _replaced(error: UnicodeError) -> tuple[str, int]:
    assert isinstance(error, UnicodeEncodeError)
    lost = error.object[error.start : error.end]
    return "".join(f"\\u{ord(one):x}" if "\ud800" <= one <= "\udfff" else "?" for one in lost), error.end


codecs.register_error(_LENIENT, _replaced)


def _keep_descriptor(lost: list[OSError]) -> BinaryIO | None:
    # Child processes and native libraries write to descriptor 1, not to sys.stdout.
    try:
        if sys.stdout.fileno() != 1:
            return None
    except (OSError, ValueError):
        return None
    sys.stdout.flush()
    kept = io.BufferedWriter(_OpenEnd(os.dup(1), lost, closefd=True))
    os.dup2(2, 1)
    return kept


def _print(thing: str | Table, style: str, stream: TextIO) -> None:
    """Print without Rich where that looks the same."""
    width = terminal_width(stream)
    note = None
    if width is not None and isinstance(thing, Table):
        made, note = _fitted(thing, width or _PIPED, is_screen=width > 0)
        if width and made.rows and is_wider(made, width):
            _print_stacked(thing, width, stream)
            return
        thing = made
    if width is not None:
        lines = (
            lines_of(thing, most=width or _WIDE, coloured=width > 0, rule="─" if rule_is_known(stream) else "-")
            if isinstance(thing, Table)
            else [styled(text_of(line), style if width else "") for line in thing.split("\n")]
        )
        if lines is not None and (isinstance(thing, str) or not width or rule_is_known(stream)):
            lines = ragged(lines) if isinstance(thing, Table) and not width else lines
            stream.write("".join(f"{line}\n" for line in lines))
            _print_note(note, stream)
            return
    _print_with_rich(thing, style, stream)
    _print_note(note, stream)


def _print_stacked(thing: Table, width: int, stream: TextIO) -> None:
    for number, (lines, style) in enumerate(stacked(thing, width)):
        if number:
            _print("", "", stream)
        _print("\n".join(lines), style, stream)


def _fitted(wide: Table, most: int, *, is_screen: bool) -> tuple[Table, str | None]:
    """The table in so many columns, and what tells whole what was cut for it."""
    made, is_cut = fitted(wide, most, is_screen=is_screen)
    return made, f"… {wide.whole}" if is_cut and wide.whole else None


def _print_note(note: str | None, stream: TextIO) -> None:
    if note is not None:
        stream.write("\n")
        _print(visible(note), "", stream)


def _print_with_rich(thing: str | Table, style: str, stream: TextIO) -> None:
    from rich import table
    from rich.box import SIMPLE_HEAD
    from rich.console import Console

    console = Console(file=stream, markup=False, highlight=False, emoji=False)
    is_file = not console.is_terminal
    note = None
    if isinstance(thing, Table):
        made, note = _fitted(thing, _PIPED if is_file else console.width, is_screen=not is_file)
        if not is_file and made.rows and is_wider(made, console.width):
            _print_stacked(thing, console.width, stream)
            return
        thing = made
    if is_file:
        console.width = _WIDE  # a file or a program gets whole lines
    if isinstance(thing, str):
        console.print(thing, style=style or None, soft_wrap=True)
        return
    drawing = table.Table(box=SIMPLE_HEAD, header_style="bold", pad_edge=False, show_edge=False)
    for column in thing.columns:
        drawing.add_column(column, justify="right" if column in thing.right else "left", overflow="fold")
    for cells, row_style in thing.rows:
        drawing.add_row(*cells, style=row_style or None)
    if is_file:
        with console.capture() as drawn:
            console.print(drawing)
        stream.write("".join(f"{line}\n" for line in ragged(drawn.get().splitlines())))
    else:
        console.print(drawing)
    _print_note(note, stream)
