"""The documentation as a site: laid out from all its sources and built by Sphinx, for the wheel, or on this machine from a checkout."""

from __future__ import annotations

import hashlib
import json
import posixpath
import re
import shutil
import tempfile
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from data_engine import private
from data_engine.errors import FlowValidationError, WorkspaceError
from data_engine.files import rename_folder
from data_engine.version import __version__
from data_engine.workspace.machine import private_state_root

HERE = Path(__file__).parent
FIRST = "index.html"
_FIRST_PAGE = "index.md"
_QUESTIONS = "I want to ..."

_BUILT = HERE / "built"
"""The site, in an installed package."""
_ROOT = HERE.parent.parent
_PAGES = "data_engine/docs/pages"
_TEXTS = ("CHANGELOG.md", "SECURITY.md")
_LINK = re.compile(r"\]\(([^)\s:#]+)((?:#[^)\s]*)?)\)")
_SEARCHED = re.compile(r"^<!-- search: (.+) -->$", re.MULTILINE)
_QUESTION = re.compile(r"^\|.*\]\((howto/[\w-]+)\.md\) \|$", re.MULTILINE)


def sources() -> dict[str, str]:
    """Each file that the site is made of: its name among the site's sources, and where it is in the checkout.

    Example:
        >>> places = sources()
        >>> places["index.md"], places["guides/01_first_flow.md"]
        ('data_engine/docs/pages/index.md', 'notebooks/01_first_flow.ipynb')
    """
    pages = [path.relative_to(HERE / "pages").as_posix() for path in sorted((HERE / "pages").rglob("*.md"))]
    notebooks = _ROOT / "notebooks"
    return (
        {name: f"{_PAGES}/{name}" for name in pages}
        | {name: name for name in _TEXTS}
        | {f"guides/{path.stem}.md": f"notebooks/{path.name}" for path in sorted(notebooks.glob("*.ipynb"))}
        | {f"images/{path.name}": f"notebooks/images/{path.name}" for path in sorted(notebooks.glob("images/*.png"))}
    )


def guide_page(notebook: str) -> str:
    """A guide as a page: its texts as they are, its cells as code.

    Example:
        >>> print(guide_page('{"cells": [{"cell_type": "markdown", "source": ["# One"]}, {"cell_type": "code", "source": ["1 + 1"]}]}'))
        # One
        <BLANKLINE>
        ```ipython3
        1 + 1
        ```
        <BLANKLINE>
    """
    parts = []
    for cell in json.loads(notebook)["cells"]:
        text = "".join(cell["source"])
        parts.append(text if cell["cell_type"] == "markdown" else f"```ipython3\n{text}\n```")
    return "\n\n".join(parts) + "\n"


def contents(pages: Iterable[str], first: str) -> str:
    """The site's table of contents, which its `first` page ends with: the questions in its order, not listed a second time, and the
    others by their names.

    Example:
        >>> print(contents(["howto/b.md", "guides/1.md", "figures.md", "glossary.md"], "| question | [B](howto/b.md) |"))
        <BLANKLINE>
        ```{toctree}
        :hidden:
        :caption: I want to ...
        <BLANKLINE>
        howto/b
        ```
        <BLANKLINE>
        ```{toctree}
        :maxdepth: 1
        :caption: Guides
        <BLANKLINE>
        guides/1
        ```
        <BLANKLINE>
        ```{toctree}
        :maxdepth: 1
        :caption: Reference
        <BLANKLINE>
        glossary
        figures
        ```
        <BLANKLINE>
    """
    names = sorted(name.removesuffix(".md") for name in pages if name.endswith(".md") and name != _FIRST_PAGE)
    parts = {
        _QUESTIONS: list(dict.fromkeys(_QUESTION.findall(first))),
        "Guides": [name for name in names if name.startswith("guides/")],
        "How it works": [name for name in names if name.startswith("topics/")],
        "Reference": sorted((name for name in names if name.startswith("reference/") or "/" not in name), key=_place),
    }
    lists = []
    for caption, stems in parts.items():
        option = ":hidden:" if caption == _QUESTIONS else ":maxdepth: 1"
        lists.append(
            f"\n```{{toctree}}\n{option}\n:caption: {caption}\n\n" + "\n".join(stems) + "\n```\n" if stems else ""
        )
    return "".join(lists)


def _place(name: str) -> tuple[bool, bool, str]:
    """The glossary, the reference, and what else there is."""
    return name != "glossary", "/" not in name, name


def linked(text: str, name: str, places: Mapping[str, str]) -> str:
    """A page with its links as the site has them: what it calls by its place in the project is called by its page.

    Example:
        >>> places = {"topics/a.md": "docs/topics/a.md", "guides/1.md": "notebooks/1.ipynb"}
        >>> linked("[one](../../notebooks/1.ipynb), [none](b.md), [out](https://example.org)", "topics/a.md", places)
        '[one](../guides/1.md), [none](b.md), [out](https://example.org)'
    """
    pages = {place: page for page, place in places.items()}

    def of_site(match: re.Match[str]) -> str:
        page = pages.get(posixpath.normpath(posixpath.join(posixpath.dirname(places[name]), match[1])))
        if page is None:
            return match[0]
        return f"]({posixpath.relpath(page, posixpath.dirname(name) or '.')}{match[2]})"

    return _LINK.sub(of_site, text)


def searched(text: str) -> str:
    """A page with the words that people look for it by, which its sources hold in a comment, as entries of the site's index.

    The search shows a page that has what was typed as an entry before all that only have the words in their text.

    Example:
        >>> print(searched("# Stop\\n\\n<!-- search: cancel, abort -->\\n"))
        # Stop
        <BLANKLINE>
        ```{index} ! cancel, ! abort
        ```
        <BLANKLINE>
    """

    def entries(match: re.Match[str]) -> str:
        return f"```{{index}} {', '.join(f'! {word.strip()}' for word in match[1].split(','))}\n```"

    return _SEARCHED.sub(entries, text)


def lay_out(folder: Path) -> None:
    """Write the site's sources into an empty folder."""
    places = sources()
    for name, place in places.items():
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if not name.endswith(".md"):
            shutil.copyfile((_ROOT / place), target)
            continue
        text = (_ROOT / place).read_text(encoding="utf-8")
        if place.endswith(".ipynb"):
            text = guide_page(text)
        elif name == _FIRST_PAGE:
            text += contents(places, text)
        elif name == "CHANGELOG.md":  # it has every word, and answers no question
            text = f"---\nnosearch: true\n---\n\n{text}"
        target.write_text(searched(linked(text, name, places)), encoding="utf-8")


def require_builder() -> None:
    """Refuse to go on where the packages that build the site are missing.

    Raises:
        FlowValidationError: it is not; names the extra.
    """
    try:
        import furo  # noqa: F401
        import myst_parser  # noqa: F401
        import sphinx  # noqa: F401
    except ImportError as error:
        raise FlowValidationError(
            f"the documentation of a source checkout is built on this machine, which takes the package {error.name}",
            where=str(_ROOT),
            fix="python -m pip install -e '.[docs]', then data-engine docs",
        ) from error


def build(folder: Path) -> None:
    """Make the site in `folder`; it works from there without a network and without a server.

    Raises:
        FlowValidationError: a page has a fault, such as a link that leads nowhere; Sphinx has told which on standard error. Or
            Sphinx is not installed.
    """
    require_builder()
    from sphinx.cmd.build import build_main

    with tempfile.TemporaryDirectory(prefix="data-engine-docs-") as scratch:
        pages, doctrees = Path(scratch) / "pages", Path(scratch) / "doctrees"
        lay_out(pages)
        options = ["-b", "html", "-q", "-W", "--keep-going", "-c", str(HERE), "-d", str(doctrees)]
        code = build_main([*options, str(pages), str(folder)])
    if code:
        raise FlowValidationError(
            "the documentation cannot be built",
            where=str(HERE / "pages"),
            fix="the errors are listed above, by page and line",
        )


def site_folder() -> Path:
    """The folder with the site: in the package, or, of a checkout, where this machine keeps it once it is built.

    Raises:
        WorkspaceError: this machine's state cannot be kept.
    """
    return _BUILT if _BUILT.is_dir() else private_state_root() / "docs" / _digest()


def make(begin: Callable[[], None] = lambda: None) -> Path:
    """The folder with the site, which is built unless it is there, after a call of `begin`; those of other content are removed.

    Raises:
        FlowValidationError: as `build`.
        WorkspaceError: as `site_folder`; or the site cannot be put there.
    """
    target = site_folder()
    if not (target / FIRST).is_file():
        target.parent.mkdir(parents=True, exist_ok=True)
        require_builder()
        begin()
        fresh = Path(tempfile.mkdtemp(prefix=".new-", dir=target.parent))
        try:
            build(fresh)
            private.fix(fresh)
            _put(fresh, target)
        finally:
            shutil.rmtree(fresh, ignore_errors=True)
        for other in target.parent.glob("[!.]*"):  # `.new-...`: another process is making one
            if other != target:
                shutil.rmtree(other, ignore_errors=True)
    return target


def _put(fresh: Path, target: Path) -> None:
    try:
        rename_folder(fresh, target)
    except OSError as error:
        if not (target / FIRST).is_file():  # else another process was quicker
            raise WorkspaceError(
                f"the documentation is made, but cannot be kept: {error.strerror or error}",
                where=str(target),
                fix="remove that folder if it is there, then try again",
            ) from error


def _digest() -> str:
    """The digest of the site's sources: the pages and the modules with docstrings, by their size and time."""
    digest = hashlib.sha1(__version__.encode(), usedforsecurity=False)
    for path in (*(_ROOT / place for place in sources().values()), *sorted(HERE.parent.rglob("*.py"))):
        facts = path.stat()
        digest.update(f"\0{path.name} {facts.st_size} {facts.st_mtime_ns}".encode())
    return digest.hexdigest()[:16]
