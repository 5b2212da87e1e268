"""Every page of "I want to ..." does what it says: its files, cells and commands, top to bottom in a fresh workspace."""

from __future__ import annotations

import importlib.util
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from data_engine.workspace.provision import provision_workspace
from tests.docs.pages import HOWTO, Command, Part, Reader, commands_of, parts

PAGES = sorted(HOWTO.glob("*.md"))
bash = pytest.mark.skipif(
    os.name == "posix" and shutil.which("bash") is None, reason="the commands are run by bash, on Windows one by one"
)


def skip_where_a_shell_is_missing(found: list[Part]) -> None:
    """On Windows a command is started without one."""
    if os.name != "posix":
        try:
            for part in found:
                if part.kind == "bash":
                    commands_of(part.text)
        except ValueError as error:
            pytest.skip(f"a shell of POSIX, or git: {error}")


@pytest.fixture
def reader(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Reader]:
    """Somebody with a new workspace, who is in its folder."""
    root = provision_workspace(tmp_path / "pages", example=False).root
    monkeypatch.chdir(root)
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path))
    for who in ("AUTHOR", "COMMITTER"):
        monkeypatch.setenv(f"GIT_{who}_NAME", "Ann")
        monkeypatch.setenv(f"GIT_{who}_EMAIL", "ann@example.org")
    reader = Reader(root)
    yield reader
    reader.leave()


@pytest.mark.timeout(300)
@bash
@pytest.mark.parametrize("page", PAGES, ids=[page.stem for page in PAGES])
def test_the_page_does_what_it_says(reader: Reader, page: Path) -> None:
    """Nothing on it is only read: a reader copies it."""
    found = list(parts(page.read_text(encoding="utf-8")))
    skip_where_a_shell_is_missing(found)
    for part in found:
        if part.kind == "needs" and importlib.util.find_spec(part.text) is None:
            pytest.skip(f"{part.text} is not installed")
        reader.do(part)


@pytest.mark.timeout(300)
@bash
def test_the_first_flow_of_the_readme_does_what_it_says(reader: Reader) -> None:
    """The first that anybody tries; the parts before it make the environment that this runs in."""
    text = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
    first = text[text.index("\n## The first flow") : text.index("\n## How do I")]
    for part in parts(first):
        reader.do(part)

    reader.do(Part("wait", "Path('output/claims/january.parquet').exists()", 0))
    reader.do(Part("check", "pl.read_parquet('output/claims/january.parquet')['amount'].sum() == 200", 0))


@pytest.mark.parametrize("page", PAGES, ids=[page.stem for page in PAGES])
def test_a_page_is_checked(page: Path) -> None:
    """It runs something, and says what must hold then; a page of pictures and promises would pass."""
    kinds = [part.kind for part in parts(page.read_text(encoding="utf-8"))]

    assert "bash" in kinds
    assert "check" in kinds[kinds.index("bash") :]


def test_the_page_is_read_as_it_is_meant() -> None:
    """A file, its second cell, what is run, what is only read, and what must hold."""
    page = (
        "# A\n\nIn `a/b.ipynb`:\n\n```python\nx = 1\n```\n\nand `a/b.ipynb`:\n\n```python\ny = 2\n```\n\n"
        "```bash\nls\n```\n\n<!-- wait: 1 -->\n<!-- check: 2 -->\n\n```text\nno\n```\n\n| `a.md`: |\n|---|\n\n```python\nz\n```\n"
    )

    assert list(parts(page)) == [
        Part("file", "x = 1\n", 5, "a/b.ipynb"),
        Part("file", "y = 2\n", 11, "a/b.ipynb"),
        Part("bash", "ls\n", 15),
        Part("wait", "1", 19),
        Part("check", "2", 20),
        Part("python", "z\n", 29),
    ]


def test_a_line_of_bash_is_read_where_there_is_none() -> None:
    """What needs a shell or another program is told, and its page is left out there."""
    block = "data-engine deploy x --note 'a b'    # why\npython -V > v.txt || true\n"

    assert commands_of(block) == [
        Command(["data-engine", "deploy", "x", "--note", "a b"], None, False),
        Command(["python", "-V"], "v.txt", True),
    ]
    for line in ("git add --all", "python x | python y", "cd ../mine", "python x >> a"):
        with pytest.raises(ValueError, match=line.split()[0]):
            commands_of(line)


def test_what_does_not_hold_is_told(reader: Reader) -> None:
    """A command that fails, and a check that is false, end the page."""
    with pytest.raises(AssertionError, match="ended with 2"):
        reader.do(Part("bash", "data-engine run nothing --once\n", 1))
    with pytest.raises(AssertionError, match="line 7"):
        reader.do(Part("check", "1 == 2", 7))
