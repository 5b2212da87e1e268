"""Texts for people: masked and cut to a readable length, counted, dated, and commands to type."""

from __future__ import annotations

import re
import reprlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TypeVar

from data_engine.platforms.host import shell_line
from data_engine.secret import masked

_Value = TypeVar("_Value")

MOST_TEXT = 20_000
"""Characters of one text, such as an error's, that are shown."""

MOST_CELL = 4_000
"""Characters of one cell of a table, or of one line of code."""


_OBEYED = re.compile(r"[\x00-\x08\x0a-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]")
"""Control characters except the tab, and those that reverse the direction of text."""


def visible(text: str) -> str:
    """`text` as one line that is safe to print: a file's name may hold characters that clear a screen or reverse words.

    Example:
        >>> visible("a\\x1b[2J\\nb.csv"), visible("Zürich 1.csv")
        ('a\\\\x1b[2J\\\\nb.csv', 'Zürich 1.csv')
    """
    return _OBEYED.sub(lambda match: match[0].encode("unicode_escape").decode(), text)


def visible_lines(text: str) -> str:
    """`text` likewise, with its line ends."""
    return "\n".join(visible(line.removesuffix("\r")) for line in text.split("\n"))


def both_ends(text: str, most: int) -> str:
    """The text, secrets masked, or both ends of one that is longer than `most`: an error's message is at its end.

    Example:
        >>> both_ends("a" * 100 + "KeyError: 3", 90)
        'aaaaaaaaaaaaaaa … 66 characters are left out … aaaaaaaaaaaaaaaaaaaKeyError: 3'
    """
    text = masked(text)
    if len(text) <= most:
        return text
    room = max(most - 45, 0)
    last = room * 2 // 3
    first = room - last
    return f"{text[:first]} … {len(text) - room:,} characters are left out … {text[len(text) - last :]}"


def beginning(text: str, most: int) -> str:
    """The text, secrets masked, or the beginning of one that is longer than `most`, with an ellipsis.

    It masks before it cuts, so half of a secret is never left.

    Example:
        >>> beginning("supplier", 8), beginning("suppliers", 8)
        ('supplier', 'supplie…')
    """
    text = masked(text)
    return text if len(text) <= most else f"{text[: most - 1]}…"


class ShortRepr(reprlib.Repr):
    """A `reprlib.Repr` that masks secrets in a text before it cuts it.

    Example:
        >>> short = ShortRepr()
        >>> short.maxstring = 12
        >>> short.repr(["a" * 20, 1])
        "['aaa...aaaa', 1]"
    """

    def repr_str(self, x: str, level: int) -> str:
        return super().repr_str(masked(x), level)


class TextEnd:
    """The last whole lines of a stream: of a line whose beginning is gone nothing is shown, for it may begin within a secret.

    Example:
        >>> end = TextEnd(8)
        >>> for data in (b"first\\nsec", b"ond\\nlast"):
        ...     end.add(data)
        >>> end.text()
        'last'
    """

    def __init__(self, most_bytes: int) -> None:
        self._most_bytes = most_bytes
        self._data = b""
        self._is_cut = False

    def add(self, data: bytes) -> None:
        """Take what has been read."""
        data = self._data + data
        self._is_cut = self._is_cut or len(data) > self._most_bytes
        self._data = data[-self._most_bytes :]

    def text(self) -> str:
        """The lines, secrets masked."""
        data = self._data.partition(b"\n")[2] if self._is_cut else self._data
        return masked(data.decode(errors="replace")).strip()


def first_few(texts: Sequence[str], most: int, between: str = ", ", *, more: int = 0) -> str:
    """The first `most` of the texts in one line, and the number of the others; `more` counts those that are not in `texts`.

    Example:
        >>> first_few("abc", 3), first_few("abcde", 3), first_few("abcde", 3, "; ")
        ('a, b, c', 'a, b, c and 2 more', 'a; b; c; and 2 more')
        >>> first_few("ab", 3, more=1200)
        'a, b and 1,200 more'
    """
    more += max(0, len(texts) - most)
    last = "" if not more else f"{' ' if between == ', ' else between}and {more:,} more"
    return between.join(texts[:most]) + last


def plural(number: int, noun: str, several: str | None = None) -> str:
    """A count with its noun; `several` is the plural, by default the `noun` with an "s".

    Example:
        >>> plural(1, "run"), plural(1200, "run"), plural(0, "failure")
        ('1 run', '1,200 runs', '0 failures')
        >>> plural(1, "file is", "files are"), plural(2, "file is", "files are")
        ('1 file is', '2 files are')
    """
    return f"{number:,} {noun if number == 1 else several or f'{noun}s'}"


def cells_text(cells: Sequence[int]) -> str:
    """Cells by their numbers.

    Example:
        >>> cells_text((3,)), cells_text((3, 7))
        ('cell 3', 'cells 3, 7')
    """
    return f"cell{'s' if len(cells) > 1 else ''} {', '.join(map(str, cells))}"


def path_in(root: Path, path: str) -> str:
    """A path relative to `root` where it lies in it, else unchanged.

    Example:
        >>> path_in(Path("/team/claims"), "/team/claims/data/in"), path_in(Path("/team/claims"), "/data")
        ('data/in', '/data')
    """
    return Path(path).relative_to(root).as_posix() if Path(path).is_relative_to(root) else path


def size_text(size_bytes: float) -> str:
    """A size for people, in the largest unit that leaves no zero.

    Example:
        >>> [size_text(size) for size in (0, 999, 1_000, 250_000, 5_000_000, 3_200_000_000)]
        ['0 bytes', '999 bytes', '1 KB', '250 KB', '5 MB', '3.2 GB']
    """
    for unit, factor in (("GB", 1e9), ("MB", 1e6), ("KB", 1e3)):
        if size_bytes >= factor:
            return f"{size_bytes / factor:,.3g} {unit}"
    return f"{size_bytes:,.0f} bytes"


def time_text(utc: str | None) -> str:
    """A stored time as this machine's clock shows it; "?" where it is not known."""
    return "?" if utc is None else datetime.fromisoformat(utc).astimezone().strftime("%Y-%m-%d %H:%M:%S")


def day_time(utc: str) -> str:
    """A stored time as this machine's clock shows it, without the year."""
    return local_time(utc)[len("2026-") :]


def zoned_text(utc: str | None, tz: str | None = None) -> str:
    """A stored time of a schedule in its zone, which is named; "" for None.

    Without a zone by this machine's clock, with its offset from UTC: the machine may be far from its reader.

    Example:
        >>> zoned_text("2026-01-05T06:30:00+00:00", "Europe/Berlin")
        '2026-01-05 07:30:00 Europe/Berlin'
    """
    if utc is None:
        return ""
    if tz is not None:
        from zoneinfo import ZoneInfo

        return f"{datetime.fromisoformat(utc).astimezone(ZoneInfo(tz)):%Y-%m-%d %H:%M:%S} {tz}"
    at = datetime.fromisoformat(utc).astimezone()
    return f"{at:%Y-%m-%d %H:%M:%S} {offset_text(at)}"


def offset_text(at: datetime) -> str:
    """The offset of a time from UTC.

    Example:
        >>> [offset_text(datetime.fromisoformat(f"2026-01-05T06:00:00{zone}")) for zone in ("+01:00", "-09:30", "+00:00")]
        ['UTC+1', 'UTC-9:30', 'UTC']
    """
    minutes = round((at.utcoffset() or timedelta()).total_seconds() / 60)
    hours, rest = divmod(abs(minutes), 60)
    return "UTC" + (f"{'-' if minutes < 0 else '+'}{hours}" + (f":{rest:02}" if rest else "") if minutes else "")


def clock_text(utc: str, tz: str | None = None) -> str:
    """A stored time in a zone (None: this machine's): the time alone if it is today there, else with its date.

    The zone is named, except this machine's own.

    Example:
        >>> clock_text("2026-01-05T06:00:00+00:00", "Europe/Berlin")
        'Mon 2026-01-05 07:00 Europe/Berlin'
    """
    from zoneinfo import ZoneInfo

    at = datetime.fromisoformat(utc)
    local, now = (moment.astimezone(None if tz is None else ZoneInfo(tz)) for moment in (at, datetime.now(UTC)))
    words = local.strftime("%H:%M" if local.date() == now.date() else "%a %Y-%m-%d %H:%M")
    return words if tz is None else f"{words} {tz}"


def local_time(utc: str | None) -> str:
    """A stored time as this machine's clock shows it; "" for None."""
    return "" if utc is None else time_text(utc)


def duration_text(seconds: float | None) -> str:
    """A duration for people, in at most two units; "" for None.

    Example:
        >>> [duration_text(seconds) for seconds in (0, 0.503, 1.53, 40, 75.2, 300, 7_300, 180_000, None)]
        ['<1 ms', '503 ms', '1.5 s', '40 s', '1 min 15 s', '5 min', '2 h 1 min', '2 d 2 h', '']
    """
    if seconds is None:
        return ""
    if seconds < 0.0005:
        return "<1 ms"
    if seconds < 0.9995:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 59.95:
        return f"{f'{seconds:.1f}'.removesuffix('.0')} s"
    whole = round(seconds)
    sizes = ((86_400, "d"), (3_600, "h"), (60, "min"), (1, "s"))
    at = next(at for at, (size, _) in enumerate(sizes) if whole >= size)
    (size, unit), (small, small_unit) = sizes[at : at + 2]
    rest = whole % size // small
    return f"{whole // size} {unit}" + (f" {rest} {small_unit}" if rest else "")


def cli_line(*words: str) -> str:
    """`data-engine` and these words, each quoted where the shell needs it; `magic_line` is the same for a cell.

    Example:
        >>> cli_line("deploy", "claims"), magic_line("deploy", "claims")
        ('data-engine deploy claims', '%flow deploy claims')
        >>> magic_line("rollback", "monthly claims")
        "%flow rollback 'monthly claims'"
    """
    line = visible(shell_line(["data-engine", *words]))
    if (worded := _worded.get()) is not None:
        worded[line] = words
    return line


_worded: ContextVar[dict[str, tuple[str, ...]] | None] = ContextVar("worded_commands", default=None)


@contextmanager
def commands_worded() -> Iterator[dict[str, tuple[str, ...]]]:
    """Collect the commands that texts are given inside, each line with its words: what else looks like a command is somebody's text.

    Example:
        >>> with commands_worded() as commands:
        ...     text = f"To do it again: {cli_line('retry', 'my flow')}. Not by: data-engine retry claims"
        >>> list(commands.values())
        [('retry', 'my flow')]
    """
    worded: dict[str, tuple[str, ...]] = {}
    token = _worded.set(worded)
    try:
        yield worded
    finally:
        _worded.reset(token)


def magic_line(*words: str) -> str:
    """`%flow` and these words, as a cell takes them."""
    import shlex

    return visible(f"%flow {shlex.join(words)}")


def by_name(named: Iterable[tuple[str, _Value]]) -> dict[str, _Value]:
    """The values by their names; a number is added to a name that is there already.

    Example:
        >>> by_name([("Clean", 1), ("Clean", 2)])
        {'Clean': 1, 'Clean (2)': 2}
    """
    values: dict[str, _Value] = {}
    for given, value in named:
        name, number = given, 2
        while name in values:
            name, number = f"{given} ({number})", number + 1
        values[name] = value
    return values
