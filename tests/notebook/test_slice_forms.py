"""Forms that real notebooks hold and no generator makes: run whole and as their slices, none may differ in silence.

`forms.txt` holds them, one under each `## name`, its cells parted by `---`.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.notebook.generated import Generated, judge

TEXT = (Path(__file__).parent / "forms.txt").read_text(encoding="utf-8")
FORMS = {
    name.strip(): tuple(cell.strip("\n") for cell in re.split(r"^---\n", f"{cells}\n", flags=re.MULTILINE))
    for name, _, cells in (part.partition("\n") for part in re.split(r"^## ", TEXT, flags=re.MULTILINE)[1:])
}


@pytest.mark.parametrize("name", FORMS)
def test_a_form_never_differs_in_silence(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the slice leaves out is kept or told, and following what is told makes both equal."""
    pytest.importorskip("pandas")
    pytest.importorskip("numpy")
    monkeypatch.chdir(tmp_path)

    verdict = judge(Generated(0, FORMS[name]))

    assert verdict.kind in ("equal", "different, warned"), verdict.detail


def test_there_are_forms() -> None:
    """A lost file of forms must not pass for a green run."""
    assert len(FORMS) >= 80
