"""Forms that real notebooks hold and no generator makes: run whole and as their slices, none may differ in silence.

`forms.txt` holds them, one under each `## name`, its cells parted by `---`; `right.txt` holds right notebooks, which get no alarm.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.notebook.generated import Generated, judge

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


@pytest.mark.filterwarnings("ignore")  # of pandas, about what these notebooks use
@pytest.mark.parametrize("name", FORMS)
def test_a_form_never_differs_in_silence(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the slice leaves out is kept or told, and following what is told makes both equal."""
    pytest.importorskip("pandas")
    pytest.importorskip("numpy")
    monkeypatch.chdir(tmp_path)

    verdict = judge(Generated(0, FORMS[name]))

    assert verdict.kind in ("equal", "different, warned"), verdict.detail


@pytest.mark.filterwarnings("ignore")  # of pandas, about what these notebooks use
@pytest.mark.parametrize("name", RIGHT)
def test_a_right_notebook_has_no_alarm(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a notebook tries out, looks at and copies is left out without a word."""
    pytest.importorskip("pandas")
    pytest.importorskip("numpy")
    monkeypatch.chdir(tmp_path)

    verdict = judge(Generated(0, RIGHT[name]))

    assert verdict.kind == "equal", verdict.detail


def test_there_are_forms() -> None:
    """A lost file of forms must not pass for a green run."""
    assert len(FORMS) >= 140
    assert len(RIGHT) >= 60
