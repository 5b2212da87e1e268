"""The comparison over the forms of real notebooks: what differs is told, and what is right gets no alarm."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.notebook.generated import generate
from tests.notebook.test_slice_forms import FORMS, RIGHT
from tests.proof.oracle import judge

pytestmark = [
    pytest.mark.skipif(not hasattr(os, "fork"), reason="the oracle forks"),
    pytest.mark.filterwarnings("ignore"),  # of pandas, about what these notebooks use
]
GENERATED = 60
"""`python -m tests.soak.slices` judges the slices of as many as it is told."""


@pytest.mark.parametrize("name", FORMS)
def test_a_form_never_differs_in_silence(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the slice leaves out is named by its value, told as doubt, or, only of files, by its name."""
    pytest.importorskip("pandas")
    monkeypatch.chdir(tmp_path)

    judged = judge(FORMS[name])

    assert judged.kind in ("right", "named", "doubt", "by names", "varies"), judged
    assert judged.kind != "by names" or "which build() reads" in judged.detail, judged


@pytest.mark.parametrize("name", RIGHT)
def test_a_right_notebook_has_no_alarm(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a notebook tries out, looks at and copies differs in nothing."""
    pytest.importorskip("pandas")
    monkeypatch.chdir(tmp_path)

    judged = judge(RIGHT[name])

    assert judged.kind in ("right", "void"), judged  # void: without a library that it imports


def test_what_is_generated_never_differs_in_silence() -> None:
    """Streams, fits, changes in place, helpers with `global`, aliases, closures and loops, at random."""
    judged = [judge(generate(seed).cells) for seed in range(GENERATED)]

    kinds = [one.kind for one in judged]
    assert "silent" not in kinds, [one for one in judged if one.kind == "silent"][:2]
    assert kinds.count("right") > 10
    assert kinds.count("named") > 2


@pytest.mark.parametrize(
    ("cells", "kind"),
    [
        (("a = [1]", "a.append(2)", "def build():\n    return a"), "right"),
        (("a = iter([1, 2])", "print(list(a))", "def build():\n    return list(a)"), "named"),
        (("a = [1]", "%time b = a", "def build():\n    return b"), "refused"),
        (("def build():\n    return missing",), "refused"),
        (("import time\na = time.time()", "def build():\n    return a"), "varies"),
    ],
)
def test_the_oracle_sees_what_differs(cells: tuple[str, ...], kind: str) -> None:
    """The oracle itself: a value that differs, one that does not, and one that is made anew each time."""
    judged = judge(cells)

    assert judged.kind == kind, judged
