"""A card as HTML, for a cell.

The HTML stands alone: no scripts, nothing loaded, colours from the theme around it: VS Code's where there is VS Code, else Jupyter's, else
light or dark as the system is. VS Code goes first because its notebooks define some of Jupyter's names too, and not all of them for the
theme that is on. Texts that nobody reads to their end are cut, and say how much was left out: what a value holds must not fill the notebook.

Reference:
    https://code.visualstudio.com/api/references/theme-color
    https://jupyterlab.readthedocs.io/en/stable/developer/css.html
"""

from __future__ import annotations

from collections.abc import Sequence

from data_engine.formatting import MOST_CELL
from data_engine.marks import Mark
from data_engine.record import frozen
from data_engine.view.card import (
    Card,
    Cell,
    Code,
    Column,
    Faint,
    Lines,
    Link,
    Marked,
    Note,
    Pairs,
    Part,
    Picture,
    Section,
    Table,
    plain,
)
from data_engine.view.svg import clean, icon_svg
from data_engine.view.text import bounded_lines

_SHORT = 24


def html(card: Card) -> str:
    """The card as one HTML element with its own style."""
    edge = f" de-edge-{card.tone}" if card.tone else ""
    return f'<div class="de-card{edge}">{STYLE}{_head(card)}{"".join(map(_part, card.parts))}</div>'


def _head(card: Card) -> str:
    if not card.title and not card.facts:
        return ""
    facts = "".join(f'<span class="de-fact">{_cell(fact)}</span>' for fact in card.facts)
    return f'<div class="de-head"><span class="de-title">{clean(card.title)}</span>{facts}</div>'


def _part(part: Part) -> str:
    if isinstance(part, Picture):
        return f'<div class="de-picture">{part.svg}</div>'
    if isinstance(part, Note):
        fix = f'<div class="de-fix">{clean(part.fix)}</div>' if part.fix else ""
        return f'<div class="de-note">{icon_svg(part.mark)}<div>{clean(part.mark.word)}{fix}</div></div>'
    if isinstance(part, Lines):
        lines = "\n".join(bounded_lines(part.lines))
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
    heads = (f'<th scope="col"{_kind(column, False)}>{clean(column.name)}</th>' for column in part.columns)
    head = "".join(heads)
    rows = "".join(f"<tr>{''.join(map(_td, part.columns, row))}</tr>" for row in part.rows[: part.most])
    left_out = part.more + max(0, len(part.rows) - part.most)
    more = f'<div class="de-more">and {left_out:,} more</div>' if left_out else ""
    return f'<div class="de-scroll"><table class="de-table"><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div>{more}'


def _td(column: Column, cell: Cell) -> str:
    attribute = f' data-of="{clean(column.name)}"' if column.name else ""  # names it where there is no room for a head
    return f"<td{attribute}{_kind(column, len(plain(cell)) > _SHORT)}>{_cell(cell)}</td>"


def _kind(column: Column, may_wrap: bool) -> str:
    return ' class="de-right"' if column.kind == "number" else ' class="de-wrap"' if may_wrap else ""


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
    if isinstance(cell, Picture):
        return cell.svg
    return _short(cell)


def _short(text: str) -> str:
    return clean(text, MOST_CELL)


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
    ".de-card .de-note{display:flex;gap:8px;align-items:baseline;margin:4px 0;white-space:pre-line}.de-card .de-fix{color:var(--de-dim)}"
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
