"""The documentation as a site: laid out from all its sources, built by Sphinx, kept on this machine by what it was made of."""

from __future__ import annotations

import hashlib
import json
import posixpath
import re
import shutil
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path

from data_engine import private
from data_engine.errors import FlowValidationError, WorkspaceError
from data_engine.files import rename_folder
from data_engine.version import __version__
from data_engine.workspace.machine import private_state_root

HERE = Path(__file__).parent
FIRST = "index.html"
_FIRST_PAGE = "index.md"

_OTHERS = 2
"""How many sites of other content stay."""

_PAGES = "data_engine/docs/pages"
_PACKED = HERE / "beside"
"""In an installed package: what lies beside the packages in a checkout."""
_BESIDE = _PACKED if _PACKED.is_dir() else HERE.parent.parent
_TEXTS = ("GLOSSARY.md", "CHANGELOG.md", "SECURITY.md")
_LINK = re.compile(r"\]\(([^)\s:#]+)((?:#[^)\s]*)?)\)")
_SEARCHED = re.compile(r"^<!-- search: (.+) -->$", re.MULTILINE)
_QUESTION = re.compile(r"^\|.*\]\((howto/[\w-]+)\.md\) \|$", re.MULTILINE)


def sources() -> dict[str, str]:
    """Each file that the site is made of: its name among the site's sources, and where it is in the project.

    Example:
        >>> found = sources()
        >>> found["index.md"], found["guides/01_first_flow.md"]
        ('data_engine/docs/pages/index.md', 'notebooks/01_first_flow.ipynb')
    """
    pages = [path.relative_to(HERE / "pages").as_posix() for path in sorted((HERE / "pages").rglob("*.md"))]
    notebooks = _BESIDE / "notebooks"
    return (
        {name: f"{_PAGES}/{name}" for name in pages}
        | {name: name for name in _TEXTS}
        | {f"guides/{path.stem}.md": f"notebooks/{path.name}" for path in sorted(notebooks.glob("*.ipynb"))}
        | {f"images/{path.name}": f"notebooks/images/{path.name}" for path in sorted(notebooks.glob("images/*.png"))}
    )


def file_of(place: str) -> Path:
    """The file at a place in the project, in a checkout as in an installed package."""
    return HERE / "pages" / place.removeprefix(f"{_PAGES}/") if place.startswith(_PAGES) else _BESIDE / place


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
    """The site's table of contents, which its `first` page ends with: the questions in its order, the others by their names.

    Example:
        >>> print(contents(["howto/b.md", "guides/1.md", "figures.md", "GLOSSARY.md"], "| question | [B](howto/b.md) |"))
        <BLANKLINE>
        ```{toctree}
        :hidden:
        :caption: I want to ...
        <BLANKLINE>
        howto/b
        ```
        <BLANKLINE>
        ```{toctree}
        :hidden:
        :caption: Guides
        <BLANKLINE>
        guides/1
        ```
        <BLANKLINE>
        ```{toctree}
        :hidden:
        :caption: Reference
        <BLANKLINE>
        GLOSSARY
        figures
        ```
        <BLANKLINE>
    """
    names = sorted(name.removesuffix(".md") for name in pages if name.endswith(".md") and name != _FIRST_PAGE)
    parts = {
        "I want to ...": list(dict.fromkeys(_QUESTION.findall(first))),
        "Guides": [name for name in names if name.startswith("guides/")],
        "How it works": [name for name in names if name.startswith("topics/")],
        "Reference": sorted((name for name in names if name.startswith("reference/") or "/" not in name), key=_place),
    }
    return "".join(
        f"\n```{{toctree}}\n:hidden:\n:caption: {caption}\n\n" + "\n".join(found) + "\n```\n"
        for caption, found in parts.items()
        if found
    )


def _place(name: str) -> tuple[bool, bool, str]:
    """The glossary, the reference, and what else there is."""
    return name != "GLOSSARY", "/" not in name, name


def linked(text: str, name: str, found: Mapping[str, str]) -> str:
    """A page with its links as the site has them: what it calls by its place in the project is called by its page.

    Example:
        >>> found = {"topics/a.md": "docs/topics/a.md", "guides/1.md": "notebooks/1.ipynb"}
        >>> linked("[one](../../notebooks/1.ipynb), [none](b.md), [out](https://example.org)", "topics/a.md", found)
        '[one](../guides/1.md), [none](b.md), [out](https://example.org)'
    """
    pages = {place: page for page, place in found.items()}

    def of_site(match: re.Match[str]) -> str:
        page = pages.get(posixpath.normpath(posixpath.join(posixpath.dirname(found[name]), match[1])))
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

    def entries(found: re.Match[str]) -> str:
        return f"```{{index}} {', '.join(f'! {word.strip()}' for word in found[1].split(','))}\n```"

    return _SEARCHED.sub(entries, text)


def lay_out(folder: Path) -> None:
    """Write the site's sources into an empty folder."""
    found = sources()
    for name, place in found.items():
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if not name.endswith(".md"):
            shutil.copyfile(file_of(place), target)
            continue
        text = file_of(place).read_text(encoding="utf-8")
        if place.endswith(".ipynb"):
            text = guide_page(text)
        elif name == _FIRST_PAGE:
            text += contents(found, text)
        elif name == "CHANGELOG.md":  # it has every word, and answers no question
            text = f"---\nnosearch: true\n---\n\n{text}"
        target.write_text(searched(linked(text, name, found)), encoding="utf-8")


def build(folder: Path) -> None:
    """Make the site in `folder`; it works from there without a network and without a server.

    Raises:
        FlowValidationError: a page has a fault, such as a link that leads nowhere; Sphinx has told which on standard error.
    """
    from sphinx.cmd.build import build_main

    with tempfile.TemporaryDirectory(prefix="data-engine-docs-") as made:
        pages, kept = Path(made) / "pages", Path(made) / "doctrees"
        lay_out(pages)
        options = ["-b", "html", "-q", "-W", "--keep-going", "-c", str(HERE), "-d", str(kept)]
        code = build_main([*options, str(pages), str(folder)])
    if code:
        raise FlowValidationError(
            "the documentation cannot be built",
            where=str(HERE / "pages"),
            fix="the errors are listed above, by page and line",
        )


def kept_at() -> Path:
    """The folder on this machine where the site of this content is, or will be.

    Raises:
        WorkspaceError: this machine's state cannot be kept.
    """
    return private_state_root() / "docs" / _digest()


def make() -> Path:
    """The folder with the site, which is built unless it is there; those of long ago are removed.

    Raises:
        FlowValidationError: as `build`.
        WorkspaceError: as `kept_at`; or the site cannot be put there.
    """
    target = kept_at()
    if not (target / FIRST).is_file():
        target.parent.mkdir(parents=True, exist_ok=True)
        fresh = Path(tempfile.mkdtemp(prefix=".new-", dir=target.parent))
        try:
            build(fresh)
            private.fix(fresh)
            _put(fresh, target)
        finally:
            shutil.rmtree(fresh, ignore_errors=True)
        for other in _outdated(target):
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


def _outdated(target: Path) -> list[Path]:
    """Other sites but the newest: another environment may show one, or be making it."""
    others = [path for path in target.parent.iterdir() if path != target]
    return sorted(others, key=_changed_s)[:-_OTHERS]


def _changed_s(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:  # another process has just removed it
        return 0.0


def _digest() -> str:
    """What the site is made of, in short: the pages by their text, the docstrings by their files' size and time."""
    found = hashlib.sha1(__version__.encode(), usedforsecurity=False)
    for name, place in sources().items():
        found.update(f"\0{name}\0".encode() + file_of(place).read_bytes())
    for path in sorted(HERE.parent.rglob("*.py")):
        facts = path.stat()
        found.update(f"\0{path.name} {facts.st_size} {facts.st_mtime_ns}".encode())
    return found.hexdigest()[:16]
