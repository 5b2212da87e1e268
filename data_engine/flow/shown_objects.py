"""Objects as safe HTML for a page: frames as tables of our own, pictures as data, rich displays by IPython's formatters, and text.

Nothing of an object can act in the page: a picture, SVG too, is an image, which runs nothing; HTML and Markdown are reduced to
plain elements by bleach, which comes with JupyterLab.
"""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Callable, Sequence
from datetime import date, datetime, time
from functools import cache
from html import escape
from io import BytesIO
from typing import Any, NamedTuple

from data_engine.flow.batch import frame_kind
from data_engine.formatting import beginning, both_ends, first_few, plural

_LONGEST_TEXT = 20_000
_LONGEST_CELL = 200
_MOST_COLUMNS = 40
_MOST_UPRIGHT = 12
"""More columns are printed on paper across."""
_MOST_DECIMALS = 4
_INSTALL = {
    "altair": ("Altair", "vl-convert-python"),
    "plotly": ("Plotly", "kaleido"),
}
"""The libraries whose figures are drawn by a program of the page, with what each draws a picture with."""


class ShownObject(NamedTuple):
    """An object as HTML, what a line below it says of it, and why it is not shown as a picture, for the log."""

    html: str
    about: str = ""
    trouble: str = ""


def shown(value: Any, *, name: str, rows: int) -> ShownObject:
    """The object as a page shows it: a frame with its first `rows`, a figure as a picture, else its richest display.

    Example:
        >>> import polars as pl
        >>> shown(pl.DataFrame({"<b>": [1, 2, 3]}), name="df", rows=2)
        ShownObject(html='<div class="wide"><table><thead><tr><th class="number">&lt;b&gt;</th></tr></thead><tbody><tr><td \
class="number">1</td></tr><tr><td class="number">2</td></tr></tbody></table></div>', about='2 of 3 rows', trouble='')
        >>> shown("late <today>", name="note", rows=2).html
        '<p class="text">late &lt;today&gt;</p>'
    """
    frame = _frame_of(value, rows)
    if frame is not None:
        return _table(*frame)
    if isinstance(value, str):
        return ShownObject(f'<p class="text">{escape(both_ends(value, _LONGEST_TEXT))}</p>')
    library = type(value).__module__.partition(".")[0]
    if library in _INSTALL and (hasattr(value, "to_image") or hasattr(value, "to_dict")):
        return _drawn(value, name, *_INSTALL[library])
    return _rich(value, name)


# -- frames ------------------------------------------------------------------------------------------------------------


def _frame_of(value: Any, rows: int) -> tuple[Any, int] | None:
    """The first rows of a frame in Polars, and the number of all; None for another object."""
    library, _, name = frame_kind(value).partition(".")
    if not library:
        return None
    import polars as pl

    if library == "polars":
        if name == "LazyFrame":
            head, count = pl.collect_all([value.head(rows), value.select(pl.len())])
            return head, count.item()
        frame = value.to_frame() if name == "Series" else value
        return frame.head(rows), frame.height
    if library == "pandas":
        frame = value.to_frame() if name == "Series" else value
        return _from_pandas(frame.head(rows)), len(frame)
    if library == "pyarrow":
        return _from_arrow(value.slice(0, rows)), value.num_rows
    return _from_arrow(value.limit(rows).to_arrow_table()), value.shape[0]


def _from_arrow(table: Any) -> Any:
    import polars as pl

    def column(values: Any) -> Any:
        try:
            return pl.Series(pl.from_arrow(values))
        except Exception:  # a type that Polars has not, such as an interval
            return [None if value is None else str(value) for value in values.to_pylist()]

    return pl.DataFrame({name: column(values) for name, values in zip(table.schema.names, table.columns, strict=True)})


def _from_pandas(frame: Any) -> Any:
    """The frame in Polars, with an index that says something as its first columns; of mixed types as text."""
    import polars as pl

    if any(frame.index.names) or type(frame.index).__name__ != "RangeIndex":
        frame = frame.reset_index()
    frame = frame.set_axis(
        [" ".join(map(str, at)) if isinstance(at, tuple) else str(at) for at in frame.columns], axis=1
    )
    frame = frame.loc[:, ~frame.columns.duplicated()]
    try:
        return pl.from_pandas(frame)
    except Exception:  # a column of several types, which Arrow does not hold
        return pl.from_pandas(frame.astype(str))


def _table(frame: Any, count: int) -> ShownObject:
    left_out = frame.columns[_MOST_COLUMNS:]
    columns = [_Column(frame[name]) for name in frame.columns[:_MOST_COLUMNS]]
    head = "".join(f"<th{column.style}>{escape(column.name)}</th>" for column in columns)
    body = "".join(f"<tr>{''.join(cells)}</tr>" for cells in zip(*(column.cells() for column in columns), strict=True))
    about = plural(count, "row") if count <= frame.height else f"{frame.height:,} of {plural(count, 'row')}"
    if left_out:
        about += f"; {len(left_out):,} of {len(frame.columns):,} columns are left out: {first_few(left_out, 3)}"
    kind = "wide" if len(columns) <= _MOST_UPRIGHT else "wide across"
    table = f'<div class="{kind}"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'
    return ShownObject(table, about)


class _Column:
    """A column of a table: numbers at the right with the same decimals, dates short."""

    def __init__(self, series: Any) -> None:
        self.name = str(series.name)
        self.values: list[Any] = series.to_list()
        self.style = ' class="number"' if series.dtype.is_numeric() else ""
        self._text = self._text_of_times() if series.dtype.is_temporal() else self._text_of_numbers()

    def cells(self) -> list[str]:
        """The column's cells in HTML."""
        opening, text = f"<td{self.style}>", self._text
        missing = f"{opening}<i>–</i></td>"
        return [missing if value is None else f"{opening}{escape(text(value))}</td>" for value in self.values]

    def _text_of_numbers(self) -> Callable[[Any], str]:
        floats = [value for value in self.values if isinstance(value, float)]
        if not floats:
            return _cell_text
        most = 2 if any(abs(value) >= 10 for value in floats) else _MOST_DECIMALS
        decimals = max(len(f"{value:.{most}f}".rstrip("0").partition(".")[2]) for value in floats)
        least = 10**-most

        def text(value: float) -> str:
            return f"{value:.3g}" if 0 < abs(value) < least else f"{value:.{decimals}f}"

        return text

    def _text_of_times(self) -> Callable[[Any], str]:
        times = [value for value in self.values if isinstance(value, (datetime, time))]
        is_midnight = all(isinstance(at, datetime) and (at.hour, at.minute, at.second) == (0, 0, 0) for at in times)
        unit = "seconds" if any(at.second for at in times) else "minutes"

        def text(value: Any) -> str:
            if isinstance(value, datetime):
                return value.date().isoformat() if is_midnight else value.isoformat(" ", unit)
            if isinstance(value, time):
                return value.isoformat(unit)
            return value.isoformat() if isinstance(value, date) else str(value)

        return text


def _cell_text(value: Any) -> str:
    text = value if isinstance(value, str) else str(value).lower() if isinstance(value, bool) else str(value)
    return text if len(text) <= _LONGEST_CELL else both_ends(text, _LONGEST_CELL)


# -- figures and rich displays -----------------------------------------------------------------------------------------


def _drawn(value: Any, name: str, library: str, distribution: str) -> ShownObject:
    """A figure as a picture, drawn by its library; where that cannot, the line that says what to install."""
    try:
        if hasattr(value, "to_image"):
            data = value.to_image(format="png")
        else:
            file = BytesIO()
            value.save(file, format="png")
            data = file.getvalue()
    except Exception as error:  # of whatever it draws with
        hint = f"{library} draws a picture of it with {distribution}: pip install {distribution}"
        return ShownObject(
            f'<p class="none">{hint}</p>', "", beginning(f"{hint} ({type(error).__name__}: {error})", 500)
        )
    return ShownObject(_image("png", data, name))


def _rich(value: Any, name: str) -> ShownObject:
    formatters = _formatters()
    for kind, make in _DISPLAYS:
        data = formatters[kind](value)
        if data is not None:
            return ShownObject(make(data, name))
    text = re.sub(r" at 0x[0-9A-Fa-f]+", "", str(formatters["text/plain"](value)))  # an address differs in each run
    return ShownObject(f"<pre>{escape(both_ends(text, _LONGEST_TEXT))}</pre>")


@cache
def _formatters() -> Any:
    """IPython's formatters, which in a process without a kernel know Matplotlib's figures by us."""
    from IPython.core.formatters import DisplayFormatter

    formatters = DisplayFormatter().formatters
    formatters["image/png"].for_type_by_name("matplotlib.figure", "Figure", _figure)
    formatters["image/png"].for_type_by_name("matplotlib.axes._axes", "Axes", lambda axes: _figure(axes.figure))
    return formatters


def _figure(figure: Any) -> Any:
    from IPython.core.pylabtools import print_figure

    draw: Any = print_figure
    return draw(figure, "png", metadata={"Software": None})


def _image(kind: str, data: Any, name: str) -> str:
    if isinstance(data, tuple):  # with its size, as IPython's Image gives it
        data = data[0]
    text = (
        data
        if isinstance(data, str) and kind != "svg+xml"
        else b64encode(data.encode() if isinstance(data, str) else data).decode()
    )
    return f'<img alt="{escape(name)}" src="data:image/{kind};base64,{escape("".join(text.split()))}">'


def _markdown(text: Any, name: str) -> str:
    import mistune

    markdown: Any = mistune.create_markdown(plugins=["table", "strikethrough"])
    return safe_html(markdown(str(text)))


_DISPLAYS: Sequence[tuple[str, Callable[[Any, str], str]]] = (
    ("image/png", lambda data, name: _image("png", data, name)),
    ("image/jpeg", lambda data, name: _image("jpeg", data, name)),
    ("image/svg+xml", lambda data, name: _image("svg+xml", data, name)),
    ("text/markdown", _markdown),
    ("text/html", lambda data, name: safe_html(str(data))),
)
"""The displays that a page knows, the first that an object has is taken; each as HTML."""

_ELEMENTS = frozenset(
    "a abbr b blockquote br caption code col colgroup dd del details div dl dt em figcaption figure h1 h2 h3 h4 h5 h6 hr i img ins kbd"
    " li mark ol p pre q s samp section small span strong sub summary sup table tbody td tfoot th thead tr tt u ul var wbr".split()
)
_ATTRIBUTES = frozenset("align alt colspan height rowspan scope style title width".split())
_UNSEEN = re.compile(r"<(script|style|title)\b.*?(</\1\s*>|\Z)", re.DOTALL | re.IGNORECASE)
"""Elements whose content is no text to read; that they do nothing is for the cleaner to see to."""


def safe_html(html: str) -> str:
    """The HTML without what could act or ask a server: plain elements, links to pages and addresses, pictures that it holds itself.

    Example:
        >>> safe_html('<b onclick="x()">late</b><script>x()</script><a href="javascript:x()">why</a>')
        '<b>late</b><a>why</a>'
        >>> safe_html('<img src="https://example.org/seen.png"><a href="https://example.org">more</a>')
        '<img><a href="https://example.org">more</a>'
    """
    return str(_cleaner().clean(_UNSEEN.sub("", html)))


@cache
def _cleaner() -> Any:
    from bleach.css_sanitizer import CSSSanitizer
    from bleach.sanitizer import Cleaner

    return Cleaner(
        tags=_ELEMENTS,
        attributes=_is_kept,
        protocols=["http", "https", "mailto", "data"],
        css_sanitizer=CSSSanitizer(),
        strip=True,
    )


def _is_kept(element: str, attribute: str, value: str) -> bool:
    if attribute == "href":
        return element == "a" and value.strip().lower().startswith(("https://", "http://", "mailto:"))
    if attribute == "src":
        return element == "img" and value.strip().lower().startswith("data:image/")
    return attribute in _ATTRIBUTES
