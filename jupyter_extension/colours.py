"""The colours and fonts of everything shown, displays and panel alike: whoever shows it, it looks as if it belonged there.

Each is VS Code's where there is VS Code, else Jupyter's, else light or dark as the system is. VS Code goes first because its
notebooks define some of Jupyter's names too, and not all of them for the theme that is on.

Reference:
    https://code.visualstudio.com/api/references/theme-color
    https://jupyterlab.readthedocs.io/en/stable/developer/css.html
"""

from __future__ import annotations

from collections.abc import Sequence

from data_engine.record import frozen


@frozen
class Token:
    """A colour (or font) by what it is for, and the theme's names it is taken from: the first that there is."""

    name: str
    themes: str
    plain: str
    """Where there is none."""
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
"""What is read: the displays have no more."""

CONTROLS = (
    Token("link", "--vscode-textLink-foreground --jp-content-link-color", "#1976d2", "#64b5f6"),
    Token("input", "--vscode-input-background --jp-input-background", "#f5f5f5", "#2b2b2b"),
    Token("press", "--vscode-button-background --jp-accept-color-normal", "#1976d2"),
    Token("press-hover", "--vscode-button-hoverBackground --jp-accept-color-hover", "#1565c0"),
    Token("on-press", "--vscode-button-foreground", "#fff"),
    Token("asks", "--vscode-statusBarItem-errorBackground --jp-warn-color-normal", "#d32f2f"),
    Token("on-asks", "--vscode-statusBarItem-errorForeground", "#fff"),
)
"""What is pressed and typed into: the panel's."""


def rules(selector: str, tokens: Sequence[Token] = TOKENS) -> str:
    """The CSS rules that declare `tokens` as `--de-...` on what `selector` finds.

    Example:
        >>> rules("p", [Token("back", "--vscode-editor-background", "white", "black")])
        'p{--de-back:var(--vscode-editor-background,white);}@media(prefers-color-scheme:dark){p{--de-back:var(--vscode-editor-background,black);}}'
    """
    day = "".join(token.declared(token.plain) for token in tokens)
    night = "".join(token.declared(token.dark) for token in tokens if token.dark)
    return f"{selector}{{{day}}}@media(prefers-color-scheme:dark){{{selector}{{{night}}}}}"
