"""The profile of a frame: as a card, and the verb that asks for it."""

from __future__ import annotations

from typing import Annotated, Any

from data_engine.compare.profile import ColumnProfile, Profile
from data_engine.errors import FlowExecutionError, FlowValidationError, OwnedElsewhereError, WorkspaceError
from data_engine.flow.parameters import read_params
from data_engine.formatting import cli_line
from data_engine.view.card import Card, Cell, Code, Column, Picture, Table
from data_engine.view.results import short_text
from data_engine.view.svg import clean
from data_engine.view.verb import Answer, Option, Params, Place, Source, Subject

_WIDE, _HIGH = 100, 20
_LEAST = 100
"""A value is frequent to a reader that one row in so many has."""
_BLOCKS = "▁▂▃▄▅▆▇█"
_HEADS = (
    Column("Column", "name"),
    Column("Type"),
    Column("Distribution", is_spare=True),
    Column("Nulls", "number"),
    Column("NaN", "number"),
    Column("Distinct", "number"),
    Column("Smallest", "text"),
    Column("Largest", "text"),
    Column("Mean", "number"),
    Column("Most frequent", "text"),
    Column("Note", "text"),
)


def profile(
    place: Place,
    use: Annotated[str | None, Subject("OBJECT", "The object; by default the last result.", "object")] = None,
    flow: Annotated[str | None, Option("The flow that has it; in a cell by default this notebook's.", "NAME")] = None,
    source: Source = None,
    param: Params = None,
) -> Answer:
    """What each column of a frame holds: nulls, distinct values, smallest, largest, mean, most frequent, and their distribution."""
    if flow is None and place.names is None:
        fix = f"name it: {cli_line('profile')} OBJECT --flow NAME; `{cli_line('list')}` shows them"
        raise FlowValidationError("which flow?", where=cli_line("profile"), fix=fix)
    params, file = read_params(param), place.path(source)
    with place.inside():
        try:
            found: Profile = place.flow(flow).profile(use, file, params)
        except (WorkspaceError, OwnedElsewhereError):
            raise
        except FlowExecutionError as error:
            raise place.failed(error) from error
    return Answer(lambda: profile_card(found), found.as_dict, value=found)


def profile_card(profile: Profile) -> Card:
    """A row for each column, with a small picture of its distribution; of a wide frame how many columns are left out."""
    rows = [_row(column, profile.rows) for column in profile.shown]
    full = [number for number in range(len(_HEADS)) if number < 2 or any(row[number] for row in rows)]
    heads = tuple(_HEADS[number] for number in full)
    cells = tuple(tuple(row[number] for number in full) for row in rows)
    left_out = profile.columns - len(rows)
    facts = (profile.text, f"the first {len(rows)} columns") if left_out else (profile.text,)
    return Card("Profile", facts, (Table(heads, cells, left_out, len(rows)),) if rows else ())


def _row(column: ColumnProfile, rows: int) -> tuple[Cell, ...]:
    frequent = [one for one in column.frequent if one.rows * _LEAST >= rows]
    return (
        Code(column.name),
        column.type,
        _distribution(column, rows),
        _share(column.nulls, rows),
        _share(column.nans, rows),
        "" if column.distinct is None else f"{column.distinct:,}",
        _value(column.smallest),
        _value(column.largest),
        _value(column.mean),
        ", ".join(f"{_value(one.value)} ({one.rows:,})" for one in frequent),
        column.note,
    )


def _value(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.6g}"
    return short_text(value) if isinstance(value, str) else str(value)


def _share(count: int, rows: int) -> str:
    """A count with its share of the rows; "" for none.

    Example:
        >>> _share(0, 9), _share(3, 9), _share(1, 1_000)
        ('', '3 (33 %)', '1 (<1 %)')
    """
    if not count:
        return ""
    percent = 100 * count / rows
    return f"{count:,} ({'<1' if percent < 1 else f'{percent:.0f}'} %)"


def _distribution(column: ColumnProfile, rows: int) -> Cell:
    """The histogram as bars; of texts the shares of the most frequent values in one bar, the rest faint."""
    if column.histogram:
        most = max(column.histogram)
        width = _WIDE / len(column.histogram)
        bars = [
            _bar(number * width, _HIGH * count / most, width - 1, 1.0)
            for number, count in enumerate(column.histogram)
            if count
        ]
        blocks = "".join(_BLOCKS[-(-7 * count // most)] if count else " " for count in column.histogram)
        tip = f"rows from {_value(column.smallest)} to {_value(column.largest)}"
        return _picture(bars, tip, blocks)
    if not column.frequent:
        return ""
    bars, left = [_bar(0, _HIGH / 2, _WIDE, 0.15)], 0.0
    for number, one in enumerate(column.frequent):
        share = _WIDE * one.rows / rows
        bars.append(_bar(left, _HIGH / 2, max(share - 0.5, 0.5), 1 - 0.15 * number))
        left += share
    return _picture(
        bars, f"{sum(one.rows for one in column.frequent):,} of {rows:,} rows have one of the most frequent values"
    )


def _bar(x: float, height: float, width: float, opacity: float) -> str:
    high = max(height, 1.0)
    return f'<rect x="{x:.1f}" y="{_HIGH - high:.1f}" width="{width:.1f}" height="{high:.1f}" fill-opacity="{opacity:.2f}"/>'


def _picture(bars: list[str], tip: str, text: str = "") -> Picture:
    svg = (
        f'<svg class="de-profile" xmlns="http://www.w3.org/2000/svg" role="img" aria-label="{clean(tip)}" width="{_WIDE}" height="{_HIGH}"'
        f' viewBox="0 0 {_WIDE} {_HIGH}" fill="var(--de-accent,currentColor)"><title>{clean(tip)}</title>{"".join(bars)}</svg>'
    )
    return Picture(svg, text)
