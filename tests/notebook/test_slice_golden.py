"""The slice rule in examples: one file of `golden/` per claim, with the cells, then the module, warnings or error.

A file begins with the claim. `=== cell n` opens a cell; `=== module` is the compiled source without its first line,
`=== warnings` and `=== error` are the texts people see. The notebook is called flow.ipynb.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from data_engine.errors import NotebookCompileError
from data_engine.notebook.compile import compile_with_codes
from data_engine.notebook.read import NotebookCell

GOLDEN = Path(__file__).parent / "golden"
CASES = sorted(GOLDEN.glob("*.txt"))


def sections(text: str) -> dict[str, str]:
    """The named parts of a golden file."""
    parts = re.split(r"^=== (.+)\n", text, flags=re.MULTILINE)
    return dict(zip(parts[1::2], (part.rstrip("\n") for part in parts[2::2]), strict=True))


def compiled(cells: list[NotebookCell]) -> dict[str, str]:
    """What the compiler makes of the cells, in the shape of a golden file."""
    try:
        notebook = compile_with_codes(cells, Path("flow.ipynb"))[0]
    except NotebookCompileError as error:
        return {"error": str(error)}
    found = {"module": notebook.source.partition("\n")[2].strip("\n")}
    if notebook.warnings:
        found["warnings"] = "\n".join(str(warning) for warning in notebook.warnings)
    return found


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.stem)
def test_the_module_warnings_and_errors_are_those_written_down(case: Path) -> None:
    """Each claim of the slice rule holds for its example, to the letter."""
    expected = sections(case.read_text(encoding="utf-8"))
    texts = [expected.pop(name) for name in list(expected) if name.startswith("cell ")]
    cells = [NotebookCell(number, f"c{number}", text) for number, text in enumerate(texts, start=1)]

    assert compiled(cells) == expected


def test_there_are_examples() -> None:
    """The rule is wide; a lost folder of examples must not pass for a green run."""
    assert len(CASES) >= 40
