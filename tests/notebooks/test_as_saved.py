"""The guides and the demo's notebooks are written as JupyterLab writes them, so that saving one changes nothing else."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from data_engine.demo.content import FLOWS, lay_out

ROOT = Path(__file__).parents[2]
GUIDES = sorted((ROOT / "notebooks").glob("*.ipynb"))


def as_saved(text: str) -> str:
    import nbformat  # a second, which not each process that collects this needs

    nbformat.validate(json.loads(text))
    return f"{nbformat.writes(nbformat.reads(text, as_version=4))}\n"


@pytest.mark.parametrize("path", GUIDES, ids=lambda path: path.stem)
def test_a_guide_is_as_it_would_be_saved(path: Path) -> None:
    text = path.read_text(encoding="utf-8")

    assert as_saved(text) == text


def test_the_demos_notebooks_are_as_they_would_be_saved_here(tmp_path: Path) -> None:
    """They say of Python what the kernel here says, which JupyterLab would add else; of the rest nothing is changed."""
    from ipykernel.ipkernel import IPythonKernel

    lay_out(tmp_path)

    for name in FLOWS:
        text = (tmp_path / "flow_modules" / f"{name}.ipynb").read_text(encoding="utf-8")
        shipped = json.loads((ROOT / "data_engine" / "demo" / "flow_modules" / f"{name}.ipynb").read_text("utf-8"))
        assert as_saved(text) == text
        assert json.loads(text)["metadata"]["language_info"] == IPythonKernel.language_info
        assert json.loads(text)["cells"] == shipped["cells"]
