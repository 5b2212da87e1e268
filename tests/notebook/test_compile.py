"""What the compiler hands on: module text, chunks, code that knows its cells, reasons, and typed errors."""

from __future__ import annotations

import ast
import json
import traceback
import warnings
from pathlib import Path
from typing import Any

import pytest

from data_engine.errors import FlowValidationError, NotebookCompileError
from data_engine.notebook.compile import compile_notebook, compile_with_codes
from data_engine.notebook.compiled import CompiledNotebook
from data_engine.notebook.read import NotebookCell
from tests.support import native, notebook_bytes

PATH = Path("/ws/flow_modules/claims.ipynb")
BUILD = "def build():\n    return 1"


def cells(*texts: str) -> list[NotebookCell]:
    return [NotebookCell(number, f"c{number}", text) for number, text in enumerate(texts, start=1)]


def compiled(*texts: str) -> CompiledNotebook:
    return compile_with_codes(cells(*texts), PATH)[0]


def run(*texts: str) -> dict[str, Any]:
    """The names of the compiled module after its code has run."""
    namespace: dict[str, Any] = {"__name__": "claims"}
    for _, code in compile_with_codes(cells(*texts), PATH)[1]:
        exec(code, namespace)
    return namespace


def test_a_chunk_keeps_the_cells_line_numbers_and_blanks_the_rest() -> None:
    """Every kept line stands where it stands in the cell; the whole text stays beside it for tracebacks."""
    text = "print(1)\n\n# The rate.\nrate = [\n    1,\n]\nprint(2); low = 3; print(3); high = 4  # end\nprint(4)"

    chunk = compiled(text, "def build():\n    return rate, low, high").chunks[0]

    assert chunk.text == "\n\n# The rate.\nrate = [\n    1,\n]\nlow = 3; high = 4  # end\n"
    assert (chunk.cell, chunk.cell_id, chunk.original) == (1, "c1", text)


def test_chunks_are_the_module() -> None:
    """Chunks compiled one by one and the module text hold the same statements."""
    notebook = compiled(
        "a = 1; print(a)\n%time\nb = '''\n\n'''", "%%time\nc = a; d = (b,\n c); print(d)", "def build(): return d"
    )

    parts = [ast.dump(node) for chunk in notebook.chunks for node in ast.parse(chunk.text).body]

    assert parts == [ast.dump(node) for node in ast.parse(notebook.source).body]


def test_code_knows_cell_line_and_column() -> None:
    """Python's own traceback underlines the failing part of the cell's line."""
    texts = ("x = 0", "print(1); y = [\n    1,\n]; z = 1 / x", "def build(): return z")
    codes = compile_with_codes(cells(*texts), PATH)[1]
    namespace: dict[str, Any] = {}
    exec(codes[0][1], namespace)

    with pytest.raises(ZeroDivisionError) as caught:
        exec(codes[1][1], namespace)
    frame = traceback.extract_tb(caught.value.__traceback__)[-1]

    assert (frame.filename, frame.lineno) == (native("/ws/flow_modules/claims.ipynb, cell 2"), 3)
    assert texts[1].split("\n")[2][frame.colno : frame.end_colno] == "1 / x"


def test_cells_run_in_order_in_one_namespace() -> None:
    """The code objects together are the module."""
    names = run("rate = 2\nscratch = 1", "def double(x):\n    return x * rate", "def build():\n    return double(21)")

    assert names["build"]() == 42
    assert "scratch" not in names


def test_future_imports_hold_for_every_chunk() -> None:
    """A cell above the import is lazy about annotations too."""
    names = run("def clean(x: int): ...", "from __future__ import annotations", "def build(): return clean")

    assert names["clean"].__annotations__ == {"x": "int"}
    assert "annotations" not in names


def test_without_future_imports_annotations_are_evaluated() -> None:
    """The compiler's own future imports do not leak into the notebook."""
    assert run("def clean(x: int): ...\ndef build(): return clean")["clean"].__annotations__ == {"x": int}


def test_every_statement_has_its_reason() -> None:
    """`data-engine compile` prints a line per statement; numbers, ids and lines are those of the notebook."""
    notebook = compiled(
        "import os\nimport readline\nimport math\nRATE = 1",
        "%time\nmath.pi\n@staticmethod\ndef clean(): return RATE",
        "%%bash\nls",
        "x = (",
        "#| skip\ny = 1",
        "os.environ['A'] = '1'\nRATE = 2",
        "import os",
        "def build(): return clean",
    )

    found = [
        (cell.number, statement.line, statement.taken, statement.why)
        for cell in notebook.cells
        for statement in cell.statements
    ]

    assert found == [
        (1, 1, True, "`os` is used by cell 6, line 1"),
        (1, 2, True, "imported for its effect: nothing uses its name"),
        (1, 3, False, "used only by what is left out"),
        (1, 4, False, "cell 6 defines `RATE` again"),
        (2, 1, False, "the line magic %time stays in the notebook"),
        (2, 2, False, "build() does not need it"),
        (2, 3, True, "`clean` is used by `build` in cell 8"),
        (3, 1, False, "a %%bash cell stays in the notebook"),
        (4, 1, False, "the cell does not parse: '(' was never closed"),
        (5, 2, False, "its cell is marked skip"),
        (6, 1, True, "sets up the process"),
        (6, 2, True, "`RATE` is used by `clean` in cell 2"),
        (7, 1, False, "imported in cell 1 already"),
        (8, 1, True, "the flow's `build`"),
    ]
    assert [cell.id for cell in notebook.cells] == [f"c{number}" for number in range(1, 9)]


@pytest.mark.parametrize(
    "texts", [(), ("",), ("x = 1",), ("for build in [1]: pass",), ("#| skip\n" + BUILD,), ("x = (",)]
)
def test_a_notebook_without_build_is_scratch(texts: tuple[str, ...]) -> None:
    """Scratch notebooks are no flows and no errors: an empty module."""
    notebook = compiled(*texts)

    assert (notebook.is_flow, notebook.chunks, notebook.source, notebook.warnings) == (False, (), "", ())
    assert all(not statement.taken for cell in notebook.cells for statement in cell.statements)


@pytest.mark.parametrize("tag", ["keep", "skip"])
def test_tags_mean_what_the_comments_mean(tag: str) -> None:
    """A tag set in JupyterLab's sidebar works like the comment."""
    by_comment = compiled(f"#| {tag}\nprint(1)", BUILD)
    tagged = [NotebookCell(1, "c1", "\nprint(1)", frozenset({tag})), NotebookCell(2, "c2", BUILD)]

    assert compile_with_codes(tagged, PATH)[0].source == by_comment.source


def test_outputs_counts_and_metadata_change_nothing(tmp_path: Path) -> None:
    """Running the notebook and saving it deploys nothing new."""
    plain = json.loads(notebook_bytes("rate = 1\nprint(rate)", "x = (", "def build():\n    return rate"))
    first = tmp_path / "claims.ipynb"
    first.write_text(json.dumps(plain))
    before = compile_notebook(first)
    for number, cell in enumerate(plain["cells"], start=5):
        cell["execution_count"] = number
        cell["outputs"] = [{"output_type": "stream", "name": "stdout", "text": ["def build(): ..."]}]
        cell["metadata"] = {"collapsed": True, "tags": ["remove-input"]}
    plain["metadata"] = {"kernelspec": {"name": "other"}}
    plain["cells"].insert(1, {"cell_type": "markdown", "id": "m", "metadata": {}, "source": "# Title"})
    first.write_text(json.dumps(plain, indent=4))

    assert compile_notebook(first) == before


def test_a_warning_reads_like_an_error_place() -> None:
    """Warnings name notebook, cell and line the way tracebacks do."""
    warning = compiled("import polars as pl", "\nrates = pl.read_csv('x')", "def build(): return rates").warnings[0]

    assert (warning.cell, warning.line, warning.notebook) == (2, 2, "claims.ipynb")
    assert str(warning).startswith("claims.ipynb, cell 2, line 2: pl.read_csv() reads data")
    assert "context.current" in str(warning.fix)


def test_a_method_of_a_needed_object_that_ends_a_cell_is_left_out_with_a_way_to_keep_it() -> None:
    """As one that stands before other lines; a look is none."""
    notebook = compiled(
        "class Tool:\n    rate = 1\nTOOL = Tool()\nTOOL.tune(5)",
        "TOOL.describe()",
        "def build():\n    return TOOL.rate",
    )

    (warning,) = notebook.warnings
    assert "tune" not in notebook.source
    assert warning.message == "`TOOL.tune(...)` may change `TOOL`, which build() needs, and is left out"
    assert warning.fix == "put `#| keep` at the top of cell 1 if production needs it, or call it inside a step"


def test_an_error_carries_place_line_and_fix() -> None:
    """The parts are there for panels and `--json`, not only the text."""
    with pytest.raises(NotebookCompileError) as caught:
        compiled("x = 1", "def build():\n    return x * rate")

    error = caught.value
    assert error.flow_name == "claims"
    assert error.cell == "claims.ipynb, cell 2, line 2"
    assert error.source_line == "    return x * rate"
    assert error.detail.startswith("`rate` is unknown")
    assert error.fix == "define `rate` in a cell, or import it"


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("x = 1\nreturn x", 2),
        ("x = 1\nyield x", 2),
        ("for x in [1]:\n    pass\nelse:\n    break", 4),
        ("def f(a, a): ...", 1),
        ("def f():\n    x = 1\n    global x", 3),
        ("x = 1\n__debug__ = 2", 2),
    ],
)
def test_what_python_refuses_after_parsing_is_an_error_with_its_line(text: str, line: int) -> None:
    """Such cells never ran in the kernel either; when production needs them, that is said at compile time."""
    with pytest.raises(NotebookCompileError) as caught:
        compiled(f"#| keep\n{text}", BUILD)

    assert caught.value.cell == f"claims.ipynb, cell 1, line {line + 1}"


def test_python_warnings_of_the_authors_text_stay_in_the_notebook() -> None:
    """An invalid escape was warned of when the cell ran; a strict filter must not turn it into a broken cell."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        notebook = compiled(
            r"pattern = '\d'" + "\nassert (pattern, 'x')\nok = pattern is 'x'", "def build(): return ok"
        )

    assert [statement.taken for statement in notebook.cells[0].statements] == [True, False, True]


def test_deep_nesting_is_an_error_and_no_crash() -> None:
    """What the parser takes, the code generator may refuse."""
    text = "x = " + "(" * 90 + "1" + ")" * 90 + "\n" + "\n".join("    " * depth + "if True:" for depth in range(95))

    with pytest.raises(NotebookCompileError, match="does not parse"):
        compiled("#| keep\n" + text, BUILD)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("missing.ipynb", "cannot be read"),
        ("folder.ipynb", "cannot be read"),
        ("module.py", "runs whole"),
        ("text.ipynb", "not JSON"),
    ],
)
def test_a_file_that_cannot_be_compiled_is_named(tmp_path: Path, name: str, words: str) -> None:
    """Whatever is wrong with the path, the error is the typed one."""
    (tmp_path / "folder.ipynb").mkdir()
    (tmp_path / "module.py").write_text("x = 1")
    (tmp_path / "text.ipynb").write_text("x = 1")

    with pytest.raises(NotebookCompileError) as caught:
        compile_notebook(f"{tmp_path}/{name}")

    assert words in caught.value.detail
    assert caught.value.fix


@pytest.mark.parametrize("path", [None, 3, b"claims.ipynb", ["claims.ipynb"], True])
def test_what_is_no_path_is_refused(path: Any) -> None:
    """A wrong type is a mistake with a fix, not an AttributeError."""
    with pytest.raises(FlowValidationError, match="takes a path"):
        compile_notebook(path)


def test_a_relative_path_is_made_absolute(ws: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Code objects carry the whole authored path, so that errors find the file from anywhere."""
    ws.notebook("claims", BUILD)
    monkeypatch.chdir(ws.modules)

    assert compile_notebook("claims.ipynb").path == ws.modules / "claims.ipynb"


def test_a_bracketed_del_is_read_like_any_other() -> None:
    """`del (a, b)` names its targets in one node."""
    text = "a, b, c = 1, 2, 3\ndel (a, [b])"

    assert [one.message for one in compiled(text, "def build():\n    return c").warnings] == []
    assert "a" in compiled(text, "def build():\n    return a").warnings[0].message


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ('PASSWORT = "hunter2-2024"', ["PASSWORT"]),
        ('DB = {}\nDB["password"] = "hunter2"', ["password"]),
        ('def build():\n    token = "ghp_abc"\n    return connect(api_key="k1", user="anna")', ["token", "api_key"]),
        ('token_count = "many"\nPASSWORD_COLUMN = "pw"\nTOKEN = "token"', []),
        ('PASSWORD = ""\nSECRET = "<your secret>"\ntoken = "${TOKEN}"\npwd = 3', []),
        ('import os\npassword = os.environ["DB_PASSWORD"]', []),
        ('def build():\n    return frame.with_columns(token="token_raw")', []),
    ],
)
def test_a_secret_that_stands_in_a_kept_cell_is_warned_of(text: str, names: list[str]) -> None:
    used = "PASSWORT, DB, token_count, PASSWORD_COLUMN, TOKEN, PASSWORD, SECRET, token, pwd, password"
    known = [name for name in used.split(", ") if f"{name} = " in text and "build" not in text]
    build = "connect = frame = print" if "build" in text else f"def build():\n    return {', '.join(known)}"
    found = [one for one in compiled(text, build).warnings if "holds a secret" in str(one)]

    assert [str(one).partition("`")[2].partition("`")[0] for one in found] == names
    assert all("secret set" in str(one) and "hunter2" not in str(one).partition("\n")[0] for one in found)


def test_a_secret_in_a_cell_that_stays_in_the_notebook_is_no_matter() -> None:
    assert compiled('PASSWORT = "hunter2"', BUILD).warnings == ()


@pytest.mark.parametrize(
    ("kinds", "texts", "said"),
    [
        (["markdown", "code"], ["import polars as pl", ""], "only in a Markdown cell (above cell 1), which is not run"),
        (
            ["code", "raw"],
            ["x = 1", "%matplotlib inline\npl = 1"],
            "only in a raw cell (below cell 1), which is not run",
        ),
        (["markdown"], ["We import polars as pl, as everybody does."], "is unknown"),
        (["markdown"], ["```python\nimport polars as pl\n```"], "is unknown"),
        (["markdown"], ["pl: polars"], "is unknown"),
        (["markdown"], ["import polars"], "is unknown"),
        (["heading"], ["import polars as pl"], "is unknown"),
    ],
)
def test_a_name_that_only_a_cell_without_code_makes_is_told_so(
    tmp_path: Path, kinds: list[str], texts: list[str], said: str
) -> None:
    """A cell turned into Markdown by a slip of the keys is not seen by people; what only mentions the name makes nothing."""
    notebook = json.loads(notebook_bytes(*texts, "def build():\n    return pl"))
    for cell, kind in zip(notebook["cells"], kinds, strict=False):
        cell["cell_type"] = kind
    path = tmp_path / "claims.ipynb"
    path.write_text(json.dumps(notebook))

    with pytest.raises(NotebookCompileError) as caught:
        compile_notebook(path)

    assert said in caught.value.detail
    assert ("make it a code cell: select it, press Esc, then Y" in str(caught.value.fix)) is (
        "which is not run" in said
    )


def test_a_name_that_a_code_cell_makes_too_is_none_of_markdown(tmp_path: Path) -> None:
    """Whatever stands in the text around it."""
    notebook = json.loads(notebook_bytes("rate = 1", "rate = 2", "def build():\n    return rate"))
    notebook["cells"][0]["cell_type"] = "markdown"
    notebook["cells"][0]["source"] = [None, 1]
    path = tmp_path / "claims.ipynb"
    path.write_text(json.dumps(notebook))

    assert "rate = 2" in compile_notebook(path).source


@pytest.mark.parametrize(
    ("line", "fix"),
    [
        ("rate = “x”", "write straight quotes: \" or '"),
        ("rate =\u00a01", "a blank there is a special one, as pages and mails have them: delete it, and type it again"),
        ("rate = (1", "add the closing bracket, or take out the one that is too many"),
        ("rate = [1)", "add the closing bracket, or take out the one that is too many"),
        ("rate = 1)", "add the closing bracket, or take out the one that is too many"),
        ("rate = 'x", "end the text with the quotes that it begins with"),
        ("def rate():\nreturn 1", "begin the lines below it further right, by four blanks"),
        ("x = 1\n  rate = 2", "begin the line where the lines of the same block begin"),
        ("def rate()\n    return 1", "end the line with a colon"),
        ("rate = 1 +", "correct line 1 of the cell"),
        ("rate = 'never closed' +", "correct line 1 of the cell"),
    ],
)
def test_a_slip_of_the_keys_is_told_with_what_to_write(line: str, fix: str) -> None:
    """What Python itself says of it is kept."""
    with pytest.raises(NotebookCompileError) as caught:
        compiled(line, "def build():\n    return rate")

    assert caught.value.fix == f"{fix}; or define `rate` in another cell"
    assert "does not parse (" in caught.value.detail
