"""The site: built without a warning, every link leads somewhere, and nothing is fetched from elsewhere."""

from __future__ import annotations

import json
import re
import sys
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

from data_engine.docs import site
from data_engine.errors import FlowValidationError, WorkspaceError
from data_engine.private import exposures
from data_engine.workspace.settings import DEFAULT_SETTINGS_TEXT
from tests.docs.built import built_site

REPOSITORY = Path(__file__).parents[2]


@dataclass
class _Page(HTMLParser):
    """What a page links to, loads, and can be linked to."""

    links: list[str] = field(default_factory=list)
    loads: list[str] = field(default_factory=list)
    anchors: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        super().__init__()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.anchors |= {given["id"] or ""} if "id" in given else set()
        if tag == "a" and given.get("href"):
            self.links.append(given["href"] or "")
        elif (tag == "link" and given.get("rel") == "stylesheet") or tag in ("script", "img", "iframe"):
            self.loads += [value for name in ("href", "src") if (value := given.get(name))]


def read(path: Path) -> _Page:
    page = _Page()
    page.feed(path.read_text(encoding="utf-8"))
    return page


def dead_links(folder: Path) -> list[str]:
    """Links within a site that lead to no file, or to no place in it."""
    pages = {path: read(path) for path in folder.rglob("*.html")}
    dead = []
    for path, page in pages.items():
        for link in (*page.links, *page.loads):
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            if target.is_dir():
                target /= "index.html"
            there = target.is_file() and (
                not parts.fragment or target not in pages or unquote(parts.fragment) in pages[target].anchors
            )
            if not there:
                dead.append(f"{path.relative_to(folder)}: {link}")
    return dead


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return built_site(tmp_path_factory)


def test_every_link_leads_somewhere(built: Path) -> None:
    """Also to a heading inside a page, a style and a picture."""
    assert dead_links(built) == []
    assert len(list(built.rglob("*.html"))) > 40


def test_nothing_is_fetched_from_elsewhere(built: Path) -> None:
    """No font, script, style or picture of another host: it works in a train, and tells nobody."""
    outside = [
        f"{path.name}: {load}" for path in built.rglob("*.html") for load in read(path).loads if urlsplit(load).netloc
    ]
    imported = [
        path.name for path in built.rglob("*.css") if re.search(r"@import|url\(['\"]?(https?:)?//", path.read_text())
    ]

    assert outside == []
    assert imported == []


@pytest.mark.parametrize("page", sorted(path.stem for path in (site.HERE / "pages" / "howto").glob("*.md")))
def test_the_first_page_names_every_question(built: Path, page: str) -> None:
    """What is not in its table is not found."""
    assert f"howto/{page}.html" in read(built / "index.html").links


@pytest.mark.parametrize(
    ("word", "page"),
    [
        ("mail", "howto/be-told"),
        ("password", "howto/passwords"),
        ("secret", "howto/passwords"),
        ("postgr", "howto/postgres"),
        ("rollback", "howto/undo"),
        ("holiday", "howto/business-days"),
        ("panda", "howto/pandas"),
        ("encod", "howto/encoding"),
        ("upgrad", "howto/upgrade"),
        ("uninstal", "howto/uninstall"),
        ("troubleshoot", "howto/troubleshoot"),
        ("backfil", "howto/again"),
        ("systemd", "howto/logon"),
        ("leas", "glossary"),
        ("daemon", "glossary"),
        ("replace_rows_by_fil", "howto/databases"),
    ],
)
def test_the_search_finds_the_page(built: Path, word: str, page: str) -> None:
    """By the word a person types, as the index has its stem; the index is a file beside the pages."""
    text = (built / "searchindex.js").read_text(encoding="utf-8")
    index = json.loads(text.removeprefix("Search.setIndex(").removesuffix(")"))
    found: set[int] = set()
    for kind in ("terms", "titleterms"):
        numbers = index[kind].get(word, [])
        found |= set(numbers if isinstance(numbers, list) else [numbers])

    assert page in {index["docnames"][number] for number in found}


def test_guides_glossary_and_docstrings_are_pages(built: Path) -> None:
    """From their one source each: nothing of them is written twice."""
    guide = (built / "guides" / "01_first_flow.html").read_text(encoding="utf-8")
    assert "A first flow" in guide
    assert "fencing token" in (built / "glossary.html").read_text(encoding="utf-8")
    assert {"data_engine.Flow.watch", "data_engine.Workspace"} <= read(built / "reference" / "python.html").anchors
    assert "data_engine.helpers.networkdays" in read(built / "reference" / "helpers.html").anchors
    assert "--accept-clock" in (built / "reference" / "commands.html").read_text(encoding="utf-8")
    assert "retention_days" in (built / "reference" / "settings.html").read_text(encoding="utf-8")


def test_dead_links_are_found(tmp_path: Path) -> None:
    """A checker that overlooks one kind would pass every site."""
    (tmp_path / "a.html").write_text(
        '<a href="b.html">1</a><a href="#no">2</a><a href="c.html#yes">3</a><img src="d.png">'
    )
    (tmp_path / "c.html").write_text('<h1 id="yes">4</h1><a href="https://example.org/x">5</a>')

    assert dead_links(tmp_path) == ["a.html: b.html", "a.html: #no", "a.html: d.png"]


def test_a_page_with_a_fault_builds_no_site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is told by page and line; a site with a dead link is none."""

    def lay_out(folder: Path) -> None:
        folder.mkdir()
        (folder / "index.md").write_text("# One\n\n[two](two.md#nowhere)\n")

    monkeypatch.setattr(site, "lay_out", lay_out)
    with pytest.raises(FlowValidationError, match="the documentation cannot be built"):
        site.build(tmp_path / "out")


def test_the_site_is_made_once_for_its_content(monkeypatch: pytest.MonkeyPatch) -> None:
    """Asked again it is there at once; other content is another site, and the one before goes."""
    built = []

    def build(folder: Path) -> None:
        built.append(folder)
        (folder / site.FIRST).write_text("here")

    monkeypatch.setattr(site, "build", build)
    first = site.make()
    assert (first / site.FIRST).read_text() == "here"
    assert exposures(first) == []  # other users cannot open it, as doctor asks of all that is kept here
    assert site.make() == first
    assert len(built) == 1
    monkeypatch.setattr(site, "_digest", lambda: "other")
    newest = site.make()

    assert len(built) == 2
    assert [path.name for path in newest.parent.iterdir()] == ["other"]


def test_without_what_builds_it_the_command_that_installs_it_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """A person with a checkout has not asked for it; the wheel holds the site."""
    monkeypatch.setitem(sys.modules, "myst_parser", None)

    with pytest.raises(FlowValidationError, match="takes the package myst_parser") as told:
        site.make()

    assert ".[docs]" in str(told.value)
    assert list(site.site_folder().parent.iterdir()) == []


def test_a_site_that_cannot_be_made_leaves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Half a site would be taken for one."""

    def build(folder: Path) -> None:
        (folder / "half.html").write_text("half")
        raise OSError("no room")

    monkeypatch.setattr(site, "build", build)
    with pytest.raises(OSError, match="no room"):
        site.make()

    assert list(site.site_folder().parent.iterdir()) == []


def test_the_links_of_the_readme_lead_to_files() -> None:
    """Read on the forge, where no builder checks them."""
    text = (REPOSITORY / "README.md").read_text(encoding="utf-8")
    local = [link for link in re.findall(r"\]\(([^)#\s]+)", text) if "://" not in link]

    assert len(local) > 20
    assert [link for link in local if not (REPOSITORY / link).exists()] == []
    assert len(text.split()) <= 1200


PAGES = site.HERE / "pages"
TEXTS = [*sorted(PAGES.rglob("*.md")), *(REPOSITORY / name for name in ("README.md", "SECURITY.md"))]
OF_DOCSTRINGS = ("python", "helpers")


@pytest.mark.parametrize("path", TEXTS, ids=[path.stem for path in TEXTS])
def test_a_text_is_plain_markdown(path: Path) -> None:
    """It is read on the forge as well, which knows no directives and no comments but those of HTML; a bar in a cell of a table ends
    the cell, also within code."""
    text = path.read_text(encoding="utf-8")
    rows = [len(re.findall(r"(?<!\\)\|", line)) for line in text.splitlines() if line.startswith("| ")]
    heads = [len(line.strip("|").split("|")) + 1 for line in text.splitlines() if line.startswith("|---")]

    assert not re.search(r"^% ", text, re.MULTILINE)
    assert ("```{" in text) == (path.stem in OF_DOCSTRINGS)
    assert set(rows) <= set(heads)


def test_the_settings_page_has_every_line_of_the_settings() -> None:
    """As a new workspace has them."""
    text = (PAGES / "reference" / "settings.md").read_text(encoding="utf-8")

    assert text.partition("```toml\n")[2].partition("```")[0] == DEFAULT_SETTINGS_TEXT


def test_readme_links_the_page_of_all_questions() -> None:
    """Who reads on the forge looks there."""
    assert "(data_engine/docs/pages/index.md)" in (REPOSITORY / "README.md").read_text(encoding="utf-8")


def test_notes_for_the_tests_are_not_seen(built: Path) -> None:
    """They are comments."""
    shown = re.sub(r"<!--.*?-->", "", (built / "howto" / "undo.html").read_text(encoding="utf-8"), flags=re.DOTALL)

    assert "first version" in shown
    assert "ws.log(" not in shown


def test_a_site_that_cannot_be_put_in_its_place_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """Something is in the way; a path that leads nowhere would be opened."""
    monkeypatch.setattr(site, "build", lambda folder: (folder / site.FIRST).write_text("here"))
    (site.site_folder() / "half").mkdir(parents=True)

    with pytest.raises(WorkspaceError, match="cannot be kept"):
        site.make()
    assert [path.name for path in site.site_folder().parent.iterdir()] == [site.site_folder().name]


@pytest.mark.parametrize(
    ("typed", "page"),
    [
        ("decimal comma", "encoding"),
        ("umlaut", "encoding"),
        ("date format", "encoding"),
        ("header row", "messy-files"),
        ("email", "be-told"),
        ("cancel", "stop"),
        ("run again", "again"),
        ("schedule every day", "schedule"),
        ("time zone", "schedule"),
        ("timezone", "schedule"),
        ("go back", "undo"),
        ("undo deploy", "undo"),
        ("rerun last month", "again"),
        ("run again last month", "again"),
        ("disk full", "troubleshoot"),
        ("compare two runs", "what-happened"),
        ("run b after a", "after-another"),
    ],
)
def test_what_people_type_leads_to_its_page(built: Path, typed: str, page: str) -> None:
    """As an entry of the site's index, which the search shows before everything else; it leads to no other page, and to its
    beginning: with a place in the page the search would list it twice."""
    script = (built / "searchindex.js").read_text(encoding="utf-8")
    index = json.loads(script[script.index("{") : script.rindex("}") + 1])

    assert [(index["docnames"][at], place, is_main) for at, place, is_main in index["indexentries"][typed]] == [
        (f"howto/{page}", "", True)
    ]


def test_the_changelog_is_not_searched(built: Path) -> None:
    """It has every word, and answers no question."""
    script = (built / "searchindex.js").read_text(encoding="utf-8")
    index = json.loads(script[script.index("{") : script.rindex("}") + 1])
    changelog = index["docnames"].index("CHANGELOG")

    assert not any(changelog in (at if isinstance(at, list) else [at]) for at in index["terms"].values())
