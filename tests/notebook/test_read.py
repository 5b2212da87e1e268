"""What a notebook file gives as code cells, and what is said of files that are none."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from data_engine.errors import NotebookCompileError
from data_engine.notebook.flow_files import how_to_be_a_flow
from data_engine.notebook.read import NotebookCell, read_cells

PATH = Path("claims.ipynb")


def code(source: Any, **more: Any) -> dict[str, Any]:
    return {"cell_type": "code", "metadata": {}, "outputs": [], "execution_count": None, "source": source} | more


def notebook(*cells: Any, minor: int = 5, **more: Any) -> bytes:
    content = {"nbformat": 4, "nbformat_minor": minor, "metadata": {}, "cells": list(cells)} | more
    return json.dumps(content).encode()


def problem_of(data: bytes) -> NotebookCompileError:
    with pytest.raises(NotebookCompileError) as caught:
        read_cells(data, path=PATH)
    return caught.value


def test_only_code_cells_count() -> None:
    """Numbers go by code cells, so that markdown between them moves nothing; empty code cells do count."""
    data = notebook(
        {"cell_type": "markdown", "id": "m", "metadata": {}, "source": "# x = 1"},
        code("a = 1", id="first"),
        {"cell_type": "raw", "id": "r", "metadata": {}, "source": "y"},
        code("", id="empty"),
        {"cell_type": "of the future", "source": 3},
        code(["b = 2\n", "c = 3"], id="last", execution_count=7),
    )

    assert read_cells(data, path=PATH) == (
        NotebookCell(1, "first", "a = 1"),
        NotebookCell(2, "empty", ""),
        NotebookCell(3, "last", "b = 2\nc = 3", execution_count=7),
    )


@pytest.mark.parametrize("minor", [0, 1, 2, 3, 4, 5, 9])
def test_every_minor_of_nbformat_4_is_read(minor: int) -> None:
    """4.0 to 4.5, and what comes after, differ in nothing the compiler reads."""
    assert [cell.text for cell in read_cells(notebook(code("a = 1"), minor=minor), path=PATH)] == ["a = 1"]


def test_nbformat_3_is_upgraded() -> None:
    """Old notebooks keep their cells under worksheets and call the source input."""
    cells = [
        {"cell_type": "heading", "level": 1, "metadata": {}, "source": "Title"},
        {"cell_type": "code", "collapsed": False, "input": "a = 1\nb = 2", "language": "python", "metadata": {}}
        | {"outputs": [], "prompt_number": 4},
    ]
    old = {
        "metadata": {"name": ""},
        "nbformat": 3,
        "nbformat_minor": 0,
        "worksheets": [{"cells": cells, "metadata": {}}],
    }

    first = read_cells(json.dumps(old).encode(), path=PATH)

    assert first == (NotebookCell(1, "cell-1", "a = 1\nb = 2", execution_count=4),)
    assert read_cells(json.dumps(old).encode(), path=PATH) == first


def test_missing_doubled_and_odd_ids_get_stable_ones() -> None:
    """Links go by cell id, so each cell has one of its own, the same whenever the file is read."""
    data = notebook(code("a"), code("b", id="x"), code("c", id="x"), code("d", id=5), code("e", id="no good"))

    ids = [cell.id for cell in read_cells(data, path=PATH)]

    assert ids == ["cell-1", "x", "cell-3", "cell-4", "cell-5"]
    assert ids == [cell.id for cell in read_cells(data, path=PATH)]


def test_an_id_that_is_taken_is_not_given_again() -> None:
    """A cell may be called cell-2 and stand elsewhere."""
    ids = [cell.id for cell in read_cells(notebook(code("a", id="cell-2"), code("b")), path=PATH)]

    assert len(set(ids)) == 2


def test_tags_are_read_and_wrong_ones_ignored() -> None:
    """Tags steer the compiler; whatever else stands in the metadata does not hurt."""
    cells = [
        code("a", metadata={"tags": ["keep", "keep", 3, None]}),
        code("b", metadata={"tags": "keep"}),
        code("c", metadata=None),
        code("d", metadata=[1]),
    ]

    tags = [cell.tags for cell in read_cells(notebook(*cells), path=PATH)]

    assert tags == [frozenset({"keep"}), frozenset(), frozenset(), frozenset()]


@pytest.mark.parametrize("count", [None, "7", True, 1.5, [1]])
def test_an_odd_execution_count_is_none(count: Any) -> None:
    """Counts are for people; a strange one is not worth an error."""
    assert read_cells(notebook(code("a", execution_count=count)), path=PATH)[0].execution_count is None


def test_line_ends_become_newlines() -> None:
    """Line numbers are the same whatever editor wrote the file."""
    assert read_cells(notebook(code("a\r\nb\rc\n")), path=PATH)[0].text == "a\nb\nc\n"


def test_a_byte_order_mark_is_no_content() -> None:
    """Some Windows tools write one."""
    assert read_cells(b"\xef\xbb\xbf" + notebook(code("a")), path=PATH)[0].text == "a"


def test_a_huge_integer_in_an_output_does_not_matter() -> None:
    """Python refuses to convert integers of more than 4300 digits; outputs are not ours to judge."""
    data = notebook(code("a")).replace(b'"outputs": []', b'"outputs": [' + b"9" * 5000 + b"]")

    assert read_cells(data, path=PATH)[0].text == "a"


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "empty"),
        (b" \n", "empty"),
        (b"def build(): ...", "not JSON"),
        (b'{"cells": [', "not JSON"),
        (b"\xff\xfe{\x00}\x00", "not UTF-8"),
        (b"[" * 100_000, "nested too deeply"),
        (b"[1]", "a list, not a notebook"),
        (b'"x"', "a text, not a notebook"),
        (b"null", "null, not a notebook"),
        (b"{}", "no list of cells"),
        (b'{"nbformat": 4, "cells": {}}', "an object, not a list"),
        (b'{"nbformat": "four", "cells": []}', "not a version number"),
        (b'{"nbformat": true, "cells": []}', "not a version number"),
        (b'{"nbformat": 4.0, "cells": []}', "not a version number"),
        (b'{"nbformat": 5, "cells": []}', "nbformat 5"),
        (b'{"nbformat": 3, "worksheets": 7}', "cannot be upgraded"),
        (b'{"nbformat": 4, "cells": [3]}', "entry 1"),
        (notebook(code("a"))[:-30], "not JSON"),
    ],
)
def test_what_is_no_notebook_is_named_as_such(data: bytes, words: str) -> None:
    """Every damaged file gives the one typed error, with the file, the reason and a fix."""
    error = problem_of(data)

    assert words in error.detail
    assert error.cell == "claims.ipynb"
    assert error.fix


def test_git_conflict_markers_are_recognised() -> None:
    """The commonest damage in a team has its own fix."""
    data = b'{"cells": [\n<<<<<<< HEAD\n1\n=======\n2\n>>>>>>> branch\n]}'

    assert "Git conflict" in problem_of(data).detail
    assert "resolve the conflict" in str(problem_of(data).fix)
    assert "Git conflict" in problem_of(data.replace(b"=======\n2\n>>>>>>> branch\n", b"")).detail


@pytest.mark.parametrize("data", [b'{"cells": [', b"\xff\xfe", b"[1]"])
def test_a_file_that_nothing_opens_names_the_way_to_an_older_one(data: bytes) -> None:
    """`restore` overwrites nothing, so the file is renamed first."""
    fix = str(problem_of(data).fix)

    assert fix.index("rename the file") < fix.index("`data-engine restore claims`") < fix.index(".ipynb_checkpoints")
    assert "save it again" not in fix


@pytest.mark.parametrize("source", [None, 3, {"a": 1}, ["x", 3], [["x"]], True])
def test_a_damaged_cell_is_named_by_its_number(source: Any) -> None:
    """A person opens the notebook and looks for the cell."""
    assert problem_of(notebook(code("a"), code(source))).cell == "claims.ipynb, cell 2"


def test_a_conflict_marker_in_a_cell_is_told_as_one() -> None:
    """As a tool for merging notebooks leaves it, in a file that is good JSON."""
    from data_engine.notebook.compile import compile_with_codes

    text = "x = 1\n<<<<<<< local\ny = 1\n=======\ny = 2\n>>>>>>> remote\n"
    with pytest.raises(NotebookCompileError) as caught:
        compile_with_codes(read_cells(notebook(code(text), code("def build():\n    return y")), path=PATH), path=PATH)[
            0
        ]
    assert "conflict marker of Git" in caught.value.detail
    assert "line 2" in str(caught.value)


def test_a_notebook_of_another_language_is_told_as_that(tmp_path: Path) -> None:
    """It may have a build() of its own; flows are Python."""
    path = tmp_path / "report.ipynb"
    path.write_text('{"cells": [], "metadata": {"kernelspec": {"language": "R", "name": "ir"}}, "nbformat": 4}')

    assert how_to_be_a_flow("report", path, is_scratch=False) == (
        "write report in Python: it is a notebook of R, and flows are Python"
    )
