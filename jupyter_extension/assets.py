"""The panel's front end as text: what anywidget and the labextension load."""

from __future__ import annotations

import json
import re
from pathlib import Path

from jupyter_extension.html import CONTROLS, TOKENS, rules

STATIC = Path(__file__).parent / "static"
ENTRY = "panel.js"
_LOADER = "loader.js"
PAGE = "page"
_TYPES = re.compile(r"^[ \t]*/\*\*.*?\*/[ \t]*$", re.MULTILINE | re.DOTALL)
_ANY_BASE = '{"baseUrl": "/"}'


def panel_js() -> str:
    """One ES module with the panel's modules as texts: `load()` links and imports them, `render` is anywidget's.

    A notebook's widget reaches the page as one text, from which no relative import leads anywhere; `loader.js` says how the
    modules find each other all the same.
    """
    modules = {
        path.name: without_types(_text(path.name)) for path in sorted(STATIC.glob("*.js")) if path.name != _LOADER
    }
    return (
        f"{_text(_LOADER)}\n"
        f"export const load = loaderOf({json.dumps(modules)}, {json.dumps(ENTRY)});\n"
        "export default { render: async (given) => (await load()).default.render(given) };\n"
    )


def without_types(code: str) -> str:
    """The code without its type comments (a sixth of it), which no page needs; its lines keep their numbers.

    Example:
        >>> without_types("/** @param {string} text */\\nfunction say(text) {}  // aloud\\n")
        '\\nfunction say(text) {}  // aloud\\n'
    """
    return _TYPES.sub(lambda match: "\n" * match[0].count("\n"), code)


def panel_css() -> str:
    """The panel's style, with the colours it shares with the displays."""
    return rules(".de-panel", (*TOKENS, *CONTROLS)) + "\n" + _text("panel.css")


def page_html(base_url: str) -> str:
    """The panel as a page of its own, for a server whose addresses begin with `base_url`."""
    config = json.dumps({"baseUrl": base_url}).replace("<", "\\u003c")
    return _text(f"{PAGE}/panel_page.html").replace(_ANY_BASE, config)


def page_js() -> str:
    """The script of that page: it loads the panel as JupyterLab does."""
    return _text(f"{PAGE}/panel_page.js")


def _text(name: str) -> str:
    return (STATIC / name).read_text(encoding="utf-8")
