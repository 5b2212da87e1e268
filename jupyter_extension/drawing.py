"""The look of displays and panel: the shapes of marks, texts cut to an estimated width, and the theme's colours and fonts.

Each colour is VS Code's where there is VS Code, else Jupyter's, else light or dark as the system is. VS Code goes first because its
notebooks define some of Jupyter's names too, and not all of them for the theme that is on.

Reference:
    https://code.visualstudio.com/api/references/theme-color
    https://jupyterlab.readthedocs.io/en/stable/developer/css.html
"""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Sequence
from pathlib import Path

from data_engine.marks import Mark, Shape
from data_engine.record import frozen

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
