"""Whether a module that is gone lies under another name now: a rename is told by what the file holds."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from data_engine.notebook.module_sets import own_code


def moved_to(file: str, was: bytes, new: Mapping[str, bytes]) -> str | None:
    """The one of the `new` files, by name, that the module `file` with the content `was` has become; None where none or
    several could be.

    It runs the same code; or it is a notebook that holds more than half of the other's code cells, by id and text.

    Example:
        >>> moved_to("claims.py", b"x = 1", {"claims 2013.py": b"x = 1", "parts.py": b"y = 1"})
        'claims 2013.py'
    """
    alike = {name: data for name, data in new.items() if Path(name).suffix == Path(file).suffix}
    code = own_code(Path(file), was, None)  # under one name: the text of a compiled notebook begins with it
    same = [name for name, data in alike.items() if own_code(Path(file), data, None) == code]
    if not same and file.endswith(".ipynb"):
        cells = _code_cells(was)
        same = [name for name, data in alike.items() if 2 * len(cells & _code_cells(data)) > len(cells)]
    return same[0] if len(same) == 1 else None


def _code_cells(notebook: bytes) -> set[tuple[str, str]]:
    """The code cells of a notebook by id and text; none where it cannot be read or its cells have no ids."""
    try:
        cells = json.loads(notebook)["cells"]
        return {(cell["id"], "".join(cell["source"])) for cell in cells if cell["cell_type"] == "code"}
    except (ValueError, KeyError, TypeError, RecursionError):
        return set()
