"""How one cell's text becomes statements: magics set aside, line numbers kept, directives read."""

from __future__ import annotations

import gc
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import pytest

from data_engine.notebook.magics import parse_cell, quiet_syntax
from data_engine.notebook.read import NotebookCell


def cell(text: str, *tags: str) -> NotebookCell:
    return NotebookCell(1, "a", text, frozenset(tags))


def lines(text: str) -> list[tuple[int, str]]:
    """The line of each statement and what of IPython it holds."""
    return [(statement.line, statement.magic) for statement in parse_cell(cell(text)).statements]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("x = 1\n%matplotlib inline\ny = 2", [(1, ""), (2, "the line magic %matplotlib"), (3, "")]),
        ("!ls \\\n  -l\n\ny = 2", [(1, "the shell line !ls \\"), (4, "")]),
        ("files = !ls *.csv\nx = 1", [(1, "the shell line files = !ls *.csv"), (2, "")]),
        ("x = %time f()\n", [(1, "the line magic %time")]),
        ("df?\n?df\nx = 1", [(1, "the help line df?"), (2, "the help line ?df"), (3, "")]),
        ("def f():\n    !ls\n    return 1\nx = 2", [(1, "the shell line !ls"), (4, "")]),
        ("\n\n%%time\n\nx = 1", [(5, "")]),
        ("%%time\n%%capture --no-stderr\nx = 1\n!ls", [(3, ""), (4, "the shell line !ls")]),
        (">>> x = 1\n>>> y = 2", [(1, ""), (2, "")]),
        ("  x = 1\n  y = 2", [(1, ""), (2, "")]),
        ("s = '''\n%not_a_magic\n!nor this\n'''\n%time", [(1, ""), (5, "the line magic %time")]),
        ("x = (5\n% 3)\n", [(1, "")]),
        ("/f 1 2", [(1, "the IPython line /f 1 2")]),
    ],
)
def test_ipython_lines_are_set_aside_and_line_numbers_stay(text: str, expected: list[tuple[int, str]]) -> None:
    """A statement's line is the line people see in the cell, whatever stands above it."""
    assert lines(text) == expected


def test_the_line_of_a_magic_inside_a_statement_is_known() -> None:
    """An error about a magic points at it, not at the function around it."""
    statement = parse_cell(cell("def f():\n    x = 1\n    !ls\n")).statements[0]

    assert (statement.line, statement.magic_line) == (1, 3)


@pytest.mark.parametrize("magic", ["bash", "html", "sql", "timeit", "writefile a.py", "unknown_magic", "script perl"])
def test_cells_of_another_language_are_not_parsed(magic: str) -> None:
    """Their text may be anything; only the magic's name is kept."""
    parsed = parse_cell(cell(f"%%{magic}\n(((\n"))

    assert (parsed.language, parsed.problem, parsed.statements) == (f"%%{magic.split()[0]}", "", ())


@pytest.mark.parametrize(
    ("text", "problem", "line"),
    [
        ("x = 1\ny = (", "'(' was never closed", 2),
        ("x = 1\n  y = 2", "unexpected indent", 2),
        ("%time\nx = = 1", "invalid syntax", 2),
        ("x = 1\ny = 'a\0b'", "NUL", 2),
        ("x = 1\n# \ud800", "surrogate", 2),
        ("(" * 5000, "too many nested parentheses", 1),
        ("x = " + "-" * 200_000 + "1", "nested too deeply", 1),
        ("x = " + "not " * 1500 + "1", "nested too deeply", 1),
        ("x = 1\nfrom __future__ import braces", "future feature braces is not defined", 2),
    ],
    ids=lambda value: str(value)[:20].encode("ascii", "replace").decode() if isinstance(value, str) else None,
)
def test_a_cell_that_cannot_be_parsed_says_why(text: str, problem: str, line: int) -> None:
    """Whatever the text holds, parsing ends with statements or a reason, never with an exception."""
    parsed = parse_cell(cell(text))

    assert problem in parsed.problem
    assert parsed.problem_line == line
    assert parsed.statements == ()


def test_a_long_sum_is_not_nested() -> None:
    """A thousand terms are parsed as deep as a thousand brackets, but people write such texts."""
    parsed = parse_cell(cell("x = " + " + ".join(f"'{number}'" for number in range(900))))

    assert parsed.problem == ""
    assert len(parsed.statements) == 1


@pytest.mark.parametrize(
    ("text", "tags", "verdict"),
    [
        ("#| keep\nx = 1", (), "keep"),
        ("#|skip", (), "skip"),
        ("\n# A note\n# | keep \nx = 1", (), "keep"),
        ("%%time\n#| keep\nx = 1", (), "keep"),
        ("#| keep\n%%time\nx = 1", (), "keep"),
        ("#| Keep\nx = 1", (), "keep"),
        ("x = 1\n#| keep", (), None),
        ("x = 1  #| keep", (), None),
        ("#| echo: false\n#| skip\nx", (), "skip"),
        ("# keep", (), None),
        ("x = 1", ("keep",), "keep"),
        ("x = 1", ("skip", "other"), "skip"),
        ("x = 1", ("Skip",), None),
        ("#| keep\nx = 1", ("skip",), "both"),
    ],
)
def test_directives_and_tags(text: str, tags: tuple[str, ...], verdict: str | None) -> None:
    """`#| keep` and `#| skip` count at the top of a cell, and tags of those names mean the same."""
    assert parse_cell(cell(text, *tags)).verdict == verdict


@pytest.mark.parametrize(("text", "near"), [("#| kepp", "keep"), ("x\n#| kepp", None), ("#| export", None)])
def test_a_directive_one_letter_off_is_noticed(text: str, near: str | None) -> None:
    """Other tools have directives of their own; only near misses of ours are pointed out."""
    mistaken = parse_cell(cell(text)).mistaken_directive

    assert (mistaken[2] if mistaken else None) == (f"did you mean `#| {near}`?" if near else None)


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("x = 1\n#| keep\ny = 2", (2, "keep")),
        ("x = 1  #| skip", (1, "skip")),
        ("%time\nif x:\n    # | Keep\n    y = 2", (3, "Keep")),
        ("#| keep\nx = 1", None),
        ("#| skip\nx = 1\n#| keep", (3, "keep")),
        ("x = '''\n#| keep\n'''", None),
        ("x = 1\n# write #| keep at the top", None),
    ],
)
def test_a_directive_that_is_not_at_the_top_is_noticed(text: str, place: tuple[int, str] | None) -> None:
    """Below code a directive does nothing, which its author cannot see; text and prose are no directives."""
    mistaken = parse_cell(cell(text)).mistaken_directive

    assert (mistaken[:2] if mistaken else None) == place
    assert mistaken is None or "top of the cell" in mistaken[2]


def test_plain_cells_need_no_ipython() -> None:
    """The import costs more than compiling the whole notebook."""
    program = (
        "import sys\n"
        "from data_engine.notebook.magics import parse_cell\n"
        "from data_engine.notebook.read import NotebookCell\n"
        "parse_cell(NotebookCell(1, 'a', '%%time\\nx = 1'))\n"
        "parse_cell(NotebookCell(2, 'b', 'y = 5 % 3'))\n"
        "print('IPython' in sys.modules)"
    )

    result = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=sys.path[0]
    )

    assert result.stdout.strip() == "False"


@pytest.mark.parametrize("was_on", [True, False])
def test_the_search_for_cycles_is_as_it_was_after_a_notebook_was_parsed(was_on: bool) -> None:
    """Whatever happened meanwhile, and when several threads do it."""

    def fail() -> bool:
        with suppress(ValueError), quiet_syntax():
            is_on = gc.isenabled()
            raise ValueError
        return is_on

    (gc.enable if was_on else gc.disable)()
    try:
        with ThreadPoolExecutor(4) as threads:
            assert not any(done.result() for done in [threads.submit(fail) for _ in range(40)])
        assert gc.isenabled() == was_on
    finally:
        gc.enable()
