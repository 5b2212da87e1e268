"""The card that a cell shows, as a value: a title, facts, pictures and tables; as HTML and, for a terminal, as text.

The HTML stands alone: no scripts, nothing loaded, colours from the theme around it: VS Code's where there is VS Code, else Jupyter's, else
light or dark as the system is. VS Code goes first because its notebooks define some of Jupyter's names too, and not all of them for the
theme that is on. Texts that nobody reads to their end are cut, and say how much was left out: what a value holds must not fill the notebook.

Reference:
    https://code.visualstudio.com/api/references/theme-color
    https://jupyterlab.readthedocs.io/en/stable/developer/css.html
"""

from __future__ import annotations

import json
import textwrap
import unicodedata
from collections.abc import Iterable, Sequence
from html import escape
from pathlib import Path
from typing import TypeAlias

from data_engine.formatting import MOST_CELL, MOST_TEXT, both_ends
from data_engine.marks import Mark, Shape
from data_engine.record import frozen

_SHORT = 24

_MOST_LINES = 200_000
"""Characters of lines such as code, which are read in one piece."""

MOST_ROWS = 20
"""Tables in a cell hold so many rows; the rest is counted."""


@frozen
class Code:
    """Text in the fixed font: a path, an id, a line of code. `whole` is shown when the pointer rests on it."""

    text: str
    whole: str = ""


@frozen
class Faint:
    """Text that matters less."""

    text: str


@frozen
class Link:
    """Text in the fixed font that leads to a place in JupyterLab, such as a cell."""

    text: str
    href: str


@frozen
class Marked:
    """Text in the fixed font with marked parts: each part, and whether it is marked."""

    parts: tuple[tuple[str, bool], ...]

    @property
    def text(self) -> str:
        """The whole of it; what is marked stands in brackets where several parts are there."""
        return "".join(f"[{text}]" if is_marked and len(self.parts) > 1 else text for text, is_marked in self.parts)


Cell: TypeAlias = str | Code | Faint | Link | Mark | Marked


@frozen
class Table:
    """Columns and rows; the columns in `right` are aligned so. `more` rows are not shown."""

    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    right: tuple[str, ...] = ()
    more: int = 0


@frozen
class Picture:
    """An SVG element, safe to embed, and the same in words (none where a table says it anyway)."""

    svg: str
    text: str = ""


@frozen
class Note:
    """A sentence with a mark in front, and its fix below."""

    mark: Mark
    fix: str = ""


@frozen
class Lines:
    """Lines in the fixed font, such as code; folded away under a `summary` where there is one.

    What is `only_folded` is left out where nothing can be folded: in text.
    """

    lines: tuple[str, ...]
    summary: str = ""
    only_folded: bool = False


@frozen
class Pairs:
    """Names with their values, one below the other; those without a value are left out."""

    pairs: tuple[tuple[str, Cell], ...]


@frozen
class Section:
    """Parts under a title of their own; folded away where they matter less."""

    title: Cell
    parts: tuple[Part, ...]
    is_folded: bool = False


Part: TypeAlias = "Table | Picture | Note | Lines | Pairs | Section"


@frozen
class Card:
    """One output: a title with a few facts beside it, and what is below."""

    title: str
    facts: tuple[Cell, ...] = ()
    parts: tuple[Part, ...] = ()
    tone: str = ""


def table(
    columns: Sequence[str], rows: Iterable[Sequence[Cell]], *, right: Sequence[str] = (), total: int = 0
) -> Table:
    """A table without the columns that are empty in every row; `total` counts all rows when `rows` are only some."""
    data = [tuple(row) for row in rows]
    full = [n for n in range(len(columns)) if not data or any(_plain(row[n]) for row in data)]
    cells = tuple(tuple(row[n] for n in full) for row in data)
    return Table(tuple(columns[n] for n in full), cells, tuple(right), max(0, total - len(data)))


# -- how it looks -------------------------------------------------------------------------------------------------

_NARROW = frozenset("iljI.,:;'|!`")
_SLIM = frozenset('frt()[]{}/\\-" ')
_WIDE = frozenset("mwMW@%&—…")
_NARROWEST = 0.3


def _drawings() -> dict[Shape, str]:
    """The drawing of each shape. They stand in a module of the panel, which is JSON after its first two words."""
    module = (Path(__file__).parent / "static" / "shapes.js").read_text(encoding="utf-8")
    shapes: dict[Shape, str] = json.loads(module.removeprefix("export default "))
    return shapes


_PATHS = _drawings()


def shape_svg(mark: Mark, x: float = 0, y: float = 0, *, title: str = "") -> str:
    """The mark's shape as a group of 12 by 12 at (x, y) inside a picture; `title` is escaped already."""
    tip = f"<title>{title}</title>" if title else ""
    return f'<g class="de-{mark.tone}" transform="translate({x:g} {y:g})">{tip}{_PATHS[mark.shape]}</g>'


def icon_svg(mark: Mark) -> str:
    """The mark's shape as a picture of its own, for a line of text; the word must stand beside it."""
    return (
        f'<svg class="de-icon de-{mark.tone}" width="12" height="12" viewBox="0 0 12 12" aria-hidden="true">'
        f"{_PATHS[mark.shape]}</svg>"
    )


def width(text: str, size: float = 13.0, *, is_mono: bool = False) -> float:
    """About how many pixels `text` takes at `size` pixels, rather too many than too few.

    Example:
        >>> width("Read") < width("WWWW"), width("ab", is_mono=True)
        (True, 15.86)
    """
    return sum(map(_mono_em if is_mono else _em, text)) * size


def fit(text: str, room: float, size: float = 13.0, *, is_mono: bool = False) -> str:
    """`text` on one line, cut with an ellipsis where it would take more than `room` pixels.

    Example:
        >>> fit("Build the yearly summary", 90)
        'Build the y…'
    """
    most = int(room / (size * _NARROWEST)) + 2  # letters that could fit: a long text costs no more
    text = " ".join(text[: 4 * most].split())[:most]
    if width(text, size, is_mono=is_mono) <= room:
        return text
    while text and width(f"{text}…", size, is_mono=is_mono) > room:
        text = text[:-1]
    return f"{text.rstrip()}…"


def _em(letter: str) -> float:
    if letter in _NARROW:
        return _NARROWEST
    if letter in _SLIM:
        return 0.42
    if letter in _WIDE:
        return 0.95
    if letter.isascii():
        return 0.7 if letter.isupper() else 0.59
    return 1.05 if unicodedata.east_asian_width(letter) in "WF" else 0.75


def _mono_em(letter: str) -> float:
    return 0.61 if letter.isascii() or unicodedata.east_asian_width(letter) not in "WF" else 1.22


@frozen
class Token:
    """A colour or font by its purpose, and the theme's names for it: the first that exists is taken."""

    name: str
    themes: str
    plain: str
    """The value where none exists."""
    dark: str = ""
    """The same where the system is dark, if it differs."""

    def declared(self, plain: str) -> str:
        """The CSS declaration of this token.

        Example:
            >>> Token("fg", "--vscode-foreground --jp-ui-font-color1", "black").declared("black")
            '--de-fg:var(--vscode-foreground,var(--jp-ui-font-color1,black));'
        """
        value = plain
        for name in reversed(self.themes.split()):
            value = f"var({name},{value})"
        return f"--de-{self.name}:{value};"


TOKENS = (
    Token("fg", "--vscode-editor-foreground --jp-ui-font-color1", "#212121", "#e3e3e3"),
    Token("dim", "--vscode-breadcrumb-foreground --jp-ui-font-color2", "#616161", "#a8a8a8"),
    Token("line", "--vscode-notebook-cellBorderColor --jp-border-color2", "#e0e0e0", "#424242"),
    Token("back", "--vscode-editor-background --jp-layout-color1", "#ffffff", "#1e1e1e"),
    Token("soft", "--vscode-editorWidget-background --jp-layout-color2", "#f5f5f5", "#2b2b2b"),
    Token("accent", "--vscode-textLink-foreground --jp-brand-color1", "#1976d2", "#64b5f6"),
    Token("good", "--vscode-charts-green --jp-success-color1", "#388e3c", "#66bb6a"),
    Token("bad", "--vscode-list-errorForeground --vscode-errorForeground --jp-error-color1", "#d32f2f", "#ef5350"),
    Token(
        "warn",
        "--vscode-list-warningForeground --vscode-editorWarning-foreground --jp-warn-color1",
        "#ef6c00",
        "#ffa726",
    ),
    Token("font", "--vscode-font-family --jp-ui-font-family", "system-ui,sans-serif"),
    Token("mono", "--vscode-editor-font-family --jp-code-font-family", "monospace"),
)
"""The colours and fonts of texts; the displays have no others."""

CONTROLS = (
    Token("link", "--vscode-textLink-foreground --jp-content-link-color", "#1976d2", "#64b5f6"),
    Token("input", "--vscode-input-background --jp-input-background", "#f5f5f5", "#2b2b2b"),
    Token("press", "--vscode-button-background --jp-accept-color-normal", "#1976d2"),
    Token("press-hover", "--vscode-button-hoverBackground --jp-accept-color-hover", "#1565c0"),
    Token("on-press", "--vscode-button-foreground", "#fff"),
    Token("asks", "--vscode-statusBarItem-errorBackground --jp-warn-color-normal", "#d32f2f"),
    Token("on-asks", "--vscode-statusBarItem-errorForeground", "#fff"),
)
"""The colours of the panel's controls."""


def rules(selector: str, tokens: Sequence[Token] = TOKENS) -> str:
    """The CSS rules that declare `tokens` as `--de-...` for `selector`.

    Example:
        >>> rules("p", [Token("back", "--vscode-editor-background", "white", "black")])
        'p{--de-back:var(--vscode-editor-background,white);}@media(prefers-color-scheme:dark){p{--de-back:var(--vscode-editor-background,black);}}'
    """
    day = "".join(token.declared(token.plain) for token in tokens)
    night = "".join(token.declared(token.dark) for token in tokens if token.dark)
    return f"{selector}{{{day}}}@media(prefers-color-scheme:dark){{{selector}{{{night}}}}}"


# -- as HTML -------------------------------------------------------------------------------------------------------


def html(card: Card) -> str:
    """The card as one HTML element with its own style."""
    edge = f" de-edge-{card.tone}" if card.tone else ""
    return f'<div class="de-card{edge}">{STYLE}{_head(card)}{"".join(map(_part, card.parts))}</div>'


def _head(card: Card) -> str:
    facts = "".join(f'<span class="de-fact">{_cell(fact)}</span>' for fact in card.facts)
    return f'<div class="de-head"><span class="de-title">{clean(card.title)}</span>{facts}</div>'


def _part(part: Part) -> str:
    if isinstance(part, Picture):
        return f'<div class="de-picture">{part.svg}</div>'
    if isinstance(part, Note):
        fix = f'<div class="de-fix">{clean(part.fix)}</div>' if part.fix else ""
        return f'<div class="de-note">{icon_svg(part.mark)}<div>{clean(part.mark.word)}{fix}</div></div>'
    if isinstance(part, Lines):
        lines = "\n".join(_bounded(part.lines))
        code = f'<div class="de-lines">{clean(lines, len(lines))}</div>' if part.lines else ""
        return f"<details><summary>{clean(part.summary)}</summary>{code}</details>" if part.summary else code
    if isinstance(part, Section):
        is_open = "" if part.is_folded else " open"
        inside = "".join(map(_part, part.parts))
        return f'<details class="de-part"{is_open}><summary>{_cell(part.title)}</summary>{inside}</details>'
    if isinstance(part, Pairs):
        pairs = [(name, _cell(cell)) for name, cell in part.pairs]
        return f'<dl class="de-pairs">{"".join(f"<dt>{clean(name)}</dt><dd>{cell}</dd>" for name, cell in pairs if cell)}</dl>'
    return _table(part)


def _table(part: Table) -> str:
    right = [column in part.right for column in part.columns]
    head = "".join(
        f'<th scope="col"{_kind(is_right, False)}>{clean(column)}</th>'
        for is_right, column in zip(right, part.columns, strict=True)
    )
    rows = "".join(f"<tr>{''.join(map(_td, part.columns, right, row))}</tr>" for row in part.rows)
    more = f'<div class="de-more">and {part.more:,} more</div>' if part.more else ""
    return f'<div class="de-scroll"><table class="de-table"><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div>{more}'


def _td(column: str, is_right: bool, cell: Cell) -> str:
    attribute = f' data-of="{clean(column)}"' if column else ""  # names it where there is no room for a head
    return f"<td{attribute}{_kind(is_right, len(_plain(cell)) > _SHORT)}>{_cell(cell)}</td>"


def _kind(is_right: bool, may_wrap: bool) -> str:
    return ' class="de-right"' if is_right else ' class="de-wrap"' if may_wrap else ""


def _cell(cell: Cell) -> str:
    if isinstance(cell, Mark):
        return f'<span class="de-mark">{icon_svg(cell)}<span>{_short(cell.word)}</span></span>'
    if isinstance(cell, Code):
        tip = f' title="{_short(cell.whole)}"' if cell.whole and cell.whole != cell.text else ""
        return f'<span class="de-code"{tip}>{_short(cell.text)}</span>' if cell.text else ""
    if isinstance(cell, Marked):
        texts = (f"<mark>{_short(text)}</mark>" if is_marked else _short(text) for text, is_marked in cell.parts)
        return f'<span class="de-code">{"".join(texts)}</span>'
    if isinstance(cell, Link):
        return f'<a class="de-code" href="{clean(cell.href)}">{_short(cell.text)}</a>'
    if isinstance(cell, Faint):
        return f'<span class="de-faint">{_short(cell.text)}</span>'
    return _short(cell)


def clean(text: str, most: int = MOST_TEXT) -> str:
    """`text` for HTML and SVG, of a longer one than `most` its two ends: markup escaped, and what no XML may hold (control
    letters, halves of pairs) replaced."""
    text = both_ends(text, most)
    if text.isascii() and text.isprintable():
        return escape(text)
    return escape("".join(letter if _may_stand(letter) else "\ufffd" for letter in text))


def _short(text: str) -> str:
    return clean(text, MOST_CELL)


def _bounded(lines: Iterable[str]) -> list[str]:
    """The lines up to a limit, and the number of the rest."""
    shown, room, left_out = list[str](), _MOST_LINES, 0
    for line in lines:
        if room > 0:
            shown.append(both_ends(line, MOST_CELL))
            room -= len(shown[-1]) + 1
        else:
            left_out += 1
    return [*shown, f"… {left_out:,} more lines are left out"] if left_out else shown


def _may_stand(letter: str) -> bool:
    code = ord(letter)
    return letter in "\t\n" or (
        code >= 0x20 and not 0x7F <= code < 0xA0 and not 0xD800 <= code < 0xE000 and code & 0xFFFE != 0xFFFE
    )


STYLE = (
    "<style>"
    f"{rules('.de-card')}"
    ".de-card{color:var(--de-fg);font:13px/1.5 var(--de-font);max-width:100%;padding:2px 0 4px}"
    ".de-card *{box-sizing:border-box}"
    ".de-card.de-edge-bad{border-left:3px solid var(--de-bad);padding-left:12px}"
    ".de-card.de-edge-warn{border-left:3px solid var(--de-warn);padding-left:12px}"
    ".de-card .de-good{color:var(--de-good)}.de-card .de-bad{color:var(--de-bad)}.de-card .de-warn{color:var(--de-warn)}"
    ".de-card .de-live{color:var(--de-accent)}.de-card .de-idle{color:var(--de-dim)}"
    ".de-card .de-head{display:flex;flex-wrap:wrap;align-items:baseline;gap:2px 12px;margin:0 0 4px}"
    ".de-card .de-title{font-weight:600;font-size:14px;overflow-wrap:anywhere}"
    ".de-card .de-fact{color:var(--de-dim)}.de-card .de-faint{color:var(--de-dim)}"
    ".de-card .de-icon{flex:none;vertical-align:-1px;overflow:visible}"
    ".de-card .de-mark,.de-card .de-note,.de-card summary{overflow-wrap:anywhere}"
    ".de-card .de-mark{display:inline-flex;align-items:baseline;gap:6px}.de-card .de-mark .de-icon,.de-card .de-note .de-icon{position:relative;top:1px}"
    ".de-card .de-picture{overflow-x:auto}.de-card .de-picture svg{display:block}"
    ".de-card .de-note{display:flex;gap:8px;align-items:baseline;margin:4px 0}.de-card .de-fix{color:var(--de-dim)}"
    ".de-card .de-code{font:12px var(--de-mono);overflow-wrap:anywhere}"
    ".de-card a.de-code{color:var(--de-accent)}"
    ".de-card .de-pairs{display:grid;grid-template-columns:max-content minmax(0,1fr);gap:2px 16px;margin:2px 0 4px;padding:0}"
    ".de-card .de-pairs dt{color:var(--de-dim);font-weight:400;margin:0;padding:0;float:none;display:block}"
    ".de-card .de-pairs dd{margin:0;padding:0;overflow-wrap:anywhere}"
    ".de-card .de-lines{font:12px/1.5 var(--de-mono);color:var(--de-fg);background:var(--de-soft);margin:4px 0;"
    "padding:6px 10px;border-radius:2px;overflow-x:auto;white-space:pre}"
    ".de-card mark{background:var(--de-soft);color:inherit;border-bottom:2px solid var(--de-warn);padding:0 1px}"
    ".de-card .de-part{margin:6px 0}.de-card .de-part>summary{color:var(--de-fg)}"
    ".de-card .de-part>:not(summary){margin-left:14px}"
    ".de-card summary{cursor:pointer;color:var(--de-dim);margin:4px 0 0}"
    ".de-card summary .de-mark{display:inline}.de-card summary .de-icon{margin-right:6px}"  # beside the triangle, also where it wraps
    ".de-card .de-scroll{overflow-x:auto;container-type:inline-size}"
    ".de-card .de-table{border-collapse:collapse;margin:2px 0;font-size:13px;table-layout:auto;width:auto;border:none}"
    ".de-card .de-table th,.de-card .de-table td{text-align:left!important;vertical-align:baseline;padding:3px 12px 3px 0;"
    "border:none;border-bottom:1px solid var(--de-line);white-space:nowrap;max-width:560px;background:none;line-height:1.5;"
    "font-variant-numeric:tabular-nums}"
    ".de-card .de-table th{font-weight:500;color:var(--de-dim);white-space:nowrap;font-size:12px}"
    ".de-card .de-table .de-right{text-align:right!important;white-space:nowrap}"
    ".de-card .de-table .de-wrap{white-space:normal;min-width:110px}"
    ".de-card .de-table thead,.de-card .de-table tbody tr{background:none!important}"
    ".de-card .de-table tbody tr:hover{background:var(--de-soft)!important}"
    ".de-card .de-table tbody tr:last-child td{border-bottom:none}"
    "@container (max-width:400px){"  # a row becomes lines of names and values
    ".de-card .de-table,.de-card .de-table tbody{display:block}.de-card .de-table thead{display:none}"
    ".de-card .de-table tbody tr{display:flex;flex-wrap:wrap;gap:0 12px;padding:3px 0;border-bottom:1px solid var(--de-line)}"
    ".de-card .de-table tbody tr:last-child{border-bottom:none}"
    ".de-card .de-table td,.de-card .de-table .de-right,.de-card .de-table .de-wrap{display:block;border:none;padding:0;min-width:0;"
    "max-width:100%;white-space:normal;overflow-wrap:anywhere;text-align:left!important}"
    ".de-card .de-table td:empty{display:none}"
    ".de-card .de-table td[data-of]::before{content:attr(data-of) ' ';color:var(--de-dim);font-size:12px}}"
    ".de-card .de-more{color:var(--de-dim);font-size:12px}"
    "</style>"
)

# -- as text -------------------------------------------------------------------------------------------------------


def text(card: Card) -> str:
    """The card for a terminal; columns are aligned by how wide letters are there."""
    parts = [part for part in map(_text_part, card.parts) if part]
    title = both_ends(card.title, MOST_TEXT)
    return "\n".join(["  ".join(filter(None, [title, *map(_plain, card.facts)])), *parts])


def _text_part(part: Part) -> str:
    match part:
        case Picture():
            return part.text
        case Note():
            word, fix = both_ends(part.mark.word, MOST_TEXT), both_ends(part.fix, MOST_TEXT)
            return f"{word}\n  fix: {fix}" if fix else word
        case Lines():
            lines = [] if part.only_folded else [f"    {line}" for line in _bounded(part.lines)]
            return "\n".join([part.summary, *lines] if part.summary and not part.only_folded else lines)
        case Section():
            title, inside = _plain(part.title), "\n".join(filter(None, map(_text_part, part.parts)))
            return f"{title}\n{textwrap.indent(inside, '  ')}" if inside else title
        case Pairs():
            pairs = [(name, cell) for name, cell in ((name, _plain(cell)) for name, cell in part.pairs) if cell]
            widest = max((_cells_wide(name) for name, _ in pairs), default=0)
            return "\n".join(f"{_pad(name, widest, False)}  {cell}" for name, cell in pairs)
        case Table():
            return _text_table(part)


def _text_table(table: Table) -> str:
    rows = [table.columns, *(tuple(map(_plain, row)) for row in table.rows)]
    widths = [max(map(_cells_wide, column)) for column in zip(*rows, strict=True)]
    right = [column in table.right for column in table.columns]
    lines = [
        "  ".join(_pad(cell, width, at) for cell, width, at in zip(row, widths, right, strict=True)).rstrip()
        for row in rows
    ]
    return "\n".join([*lines, f"and {table.more:,} more"] if table.more else lines)


def _plain(cell: Cell) -> str:
    whole = cell if isinstance(cell, str) else cell.word if isinstance(cell, Mark) else cell.text
    line = both_ends(whole, MOST_CELL)
    return " ".join(line.split()) if "\n" in line else line


def _pad(cell: str, width: int, right: bool) -> str:
    fill = " " * (width - _cells_wide(cell))
    return fill + cell if right else cell + fill


def _cells_wide(cell: str) -> int:
    return len(cell) if cell.isascii() else sum(1 + (unicodedata.east_asian_width(letter) in "WF") for letter in cell)
