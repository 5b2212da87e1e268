"""Forms that real notebooks hold and no generator makes.

`forms.txt` holds those whose slice a left-out statement changes, `right.txt` those whose slice is as good as the notebook: one
under each `## name`, its cells parted by `---`.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from data_engine.errors import NotebookCompileError
from data_engine.notebook.compile import compile_with_codes
from data_engine.notebook.read import NotebookCell

HERE = Path(__file__).parent


def forms(name: str) -> dict[str, tuple[str, ...]]:
    """The cells of each form in a file."""
    parts = re.split(r"^## ", (HERE / name).read_text(encoding="utf-8"), flags=re.MULTILINE)[1:]
    split = (part.partition("\n") for part in parts)
    return {
        title.strip(): tuple(cell.strip("\n") for cell in re.split(r"^---\n", f"{cells}\n", flags=re.MULTILINE))
        for title, _, cells in split
    }


FORMS = forms("forms.txt")
RIGHT = forms("right.txt")


@pytest.mark.parametrize("name", [*FORMS, *RIGHT])
def test_a_form_compiles_or_says_why_not(name: str) -> None:
    """No form breaks the compiler."""
    texts = FORMS.get(name) or RIGHT[name]
    cells = [NotebookCell(number, f"c{number}", text) for number, text in enumerate(texts, start=1)]

    try:
        source = compile_with_codes(cells, Path("flow.ipynb"))[0].source
    except NotebookCompileError as error:
        source = f"build is refused in {error.cell}"

    assert "build" in source


def test_names_alone_alarm_on_few_right_notebooks() -> None:
    """What a notebook tries out, looks at and copies is mostly left out without a word."""
    alarmed = []
    for name, texts in RIGHT.items():
        cells = [NotebookCell(number, f"c{number}", text) for number, text in enumerate(texts, start=1)]
        if any("left out" in warning.message for warning in compile_with_codes(cells, Path("flow.ipynb"))[0].warnings):
            alarmed.append(name)

    assert len(alarmed) <= 8, alarmed


def test_there_are_forms() -> None:
    """A lost file of forms must not pass for a green run."""
    assert len(FORMS) >= 140
    assert len(RIGHT) >= 60
