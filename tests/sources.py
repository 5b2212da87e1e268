"""The modules of the product, as the tests of its structure read them."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).parent.parent


def product_files() -> list[Path]:
    """All of them; what npm installs for checking the front end is nobody's."""
    found = (path for package in ("data_engine", "jupyter_extension") for path in (ROOT / package).rglob("*.py"))
    return sorted(path for path in found if "node_modules" not in path.parts)
