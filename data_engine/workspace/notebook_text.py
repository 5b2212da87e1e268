"""The text of a notebook that a person begins with."""

from __future__ import annotations

import json
import platform
from collections.abc import Iterable
from typing import Any


def notebook_text(cells: Iterable[tuple[str, str, str]]) -> str:
    """A notebook (nbformat 4.5) of these cells: "code" or "markdown", an id, and the source of each.

    Example:
        >>> json.loads(notebook_text([("code", "one", "1 + 1")]))["cells"][0]["source"]
        ['1 + 1']
    """
    written: list[dict[str, Any]] = []
    for kind, name, source in cells:
        cell: dict[str, Any] = {"cell_type": kind, "id": name, "metadata": {}}
        if kind == "code":
            cell = {"cell_type": kind, "execution_count": None, "id": name, "metadata": {}, "outputs": []}
        written.append(cell | {"source": source.splitlines(keepends=True)})
    return _text({"cells": written, "metadata": _of_this_python(), "nbformat": 4, "nbformat_minor": 5})


def for_this_python(text: str) -> str:
    """The notebook, saying of Python what the kernel of this one will.

    JupyterLab puts that in when it opens a notebook, which then counts as unsaved.

    Example:
        >>> shipped = '{"cells": [], "metadata": {"language_info": {"name": "python"}}, "nbformat": 4, "nbformat_minor": 5}'
        >>> json.loads(for_this_python(shipped))["metadata"]["language_info"]["version"] == platform.python_version()
        True
    """
    notebook = json.loads(text)
    return _text(notebook | {"metadata": notebook["metadata"] | _of_this_python()})


def _of_this_python() -> dict[str, Any]:
    return {
        "kernelspec": {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"},
        "language_info": {
            "codemirror_mode": {"name": "ipython", "version": 3},
            "file_extension": ".py",
            "mimetype": "text/x-python",
            "name": "python",
            "nbconvert_exporter": "python",
            "pygments_lexer": "ipython3",
            "version": platform.python_version(),
        },
    }


def _text(notebook: dict[str, Any]) -> str:
    return json.dumps(notebook, indent=1, ensure_ascii=False) + "\n"
