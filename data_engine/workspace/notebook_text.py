"""The text of a notebook that a person begins with."""

from __future__ import annotations

import json
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
            cell |= {"execution_count": None, "outputs": []}
        written.append(cell | {"source": source.splitlines(keepends=True)})
    metadata = {
        "kernelspec": {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
    }
    notebook = {"cells": written, "metadata": metadata, "nbformat": 4, "nbformat_minor": 5}
    return json.dumps(notebook, indent=1, ensure_ascii=False) + "\n"
