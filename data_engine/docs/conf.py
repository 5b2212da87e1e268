"""Configure Sphinx to make the site: Markdown by MyST, the reference by autodoc, and nothing that a page would fetch from elsewhere."""

from __future__ import annotations

import json
import re
from typing import Any

from data_engine.version import __version__

project = "Data Engine"
release = version = __version__
copyright = "the authors of Data Engine"
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
myst_heading_anchors = 3
highlight_language = "none"
default_role = "literal"
smartquotes = False

autodoc_member_order = "bysource"
autodoc_typehints = "none"
autodoc_preserve_defaults = True
autodoc_mock_imports = [
    "anywidget",
    "traitlets",
]  # an isolated build has the tools of the documentation and nothing of JupyterLab
napoleon_numpy_docstring = False

html_static_path = ["search.js"]
html_theme = "furo"
html_title = "Data Engine"
html_copy_source = False
html_show_sphinx = False
html_show_copyright = False
html_sidebars = {"index": ["sidebar/brand.html", "sidebar/search.html"]}  # its table and lists are the navigation
html_theme_options: dict[str, Any] = {"navigation_with_keys": True}

_CODE = re.compile(r"(?<!`)`([^`]+)`(?!`)(\w?)")
_EXAMPLE = re.compile(r"(?=^ *>>>)", re.MULTILINE)


def setup(app: Any) -> None:
    """Read what stands between backticks in our docstrings as Markdown does: as it is, also before a letter ("the `Flow`s")."""
    app.connect("autodoc-process-docstring", lambda *arguments: as_restructured(arguments[-1]))
    app.connect("doctree-read", lambda app, page: lead_to_the_page(page))
    texts: dict[str, str] = {}
    app.connect("doctree-resolved", lambda app, page, name: texts.update({name: as_text(page)}))
    app.connect("html-page-context", lambda app, name, *_: add_search(app, texts) if name == "search" else None)


def add_search(app: Any, texts: dict[str, str]) -> None:
    """Give the page of the search its script, and the text of each page for the excerpts."""
    app.add_js_file(None, body=f"const TEXTS = {json.dumps(texts)}".replace("</", "<\\/"), priority=900)
    app.add_js_file("search.js", priority=901)


def as_text(page: Any) -> str:
    """The text of a page on one line, without comments."""
    from docutils import nodes

    blocks = (block for block in page.findall(nodes.TextElement) if not isinstance(block.parent, nodes.TextElement))
    return " ".join(
        " ".join(block.astext() for block in blocks if not isinstance(block, nodes.comment | nodes.raw)).split()
    )


def lead_to_the_page(page: Any) -> None:
    """Let the words that a page is looked for by lead to its beginning, as its text does: else the search lists the page twice."""
    from sphinx import addnodes

    for node in page.findall(addnodes.index):
        node["entries"] = [
            (kind, word, "" if main else place, main, key) for kind, word, place, main, key in node["entries"]
        ]


def as_restructured(lines: list[str]) -> None:
    """Write the code of a docstring as reStructuredText has it; examples stay as they are.

    Example:
        >>> lines = ["The `Flow`s run."]
        >>> as_restructured(lines)
        >>> lines[0].replace(chr(92), "/")
        'The ``Flow``/ s run.'
    """
    paragraphs = [_EXAMPLE.split(paragraph, maxsplit=1) for paragraph in "\n".join(lines).split("\n\n")]
    for parts in paragraphs:
        parts[0] = _CODE.sub(lambda match: f"``{match[1]}``" + (f"\\ {match[2]}" if match[2] else ""), parts[0])
    lines[:] = "\n\n".join("".join(parts) for parts in paragraphs).split("\n")
