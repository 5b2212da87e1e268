"""`python -m tests.skips`: what is skipped on Windows by its mark, why, and which test is its twin there; read from the sources.

What finds out only while it runs that it cannot, and skips then, is told by `python -m tests.windows`.
"""

from __future__ import annotations

import ast
import os
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

ROOT = Path(__file__).parent.parent
_TWIN = re.compile(r"tests/[\w/]+(\.py)?")
_WINDOWS: dict[str, Any] = {
    "sys": SimpleNamespace(platform="win32"),
    "os": SimpleNamespace(name="nt", path=os.path, symlink=None),
    "time": SimpleNamespace(),
    "signal": SimpleNamespace(),
    "shutil": SimpleNamespace(which=lambda name: None),
    "nofollow": SimpleNamespace(_HAS_DESCRIPTORS=False),
    "hasattr": hasattr,
    "ON_WINDOWS": True,
    "ON_WINE": False,
    "__builtins__": {},
}
"""What a condition may ask, as it is on Windows."""


@dataclass(frozen=True)
class Skip:
    """A mark that skips on Windows."""

    file: str
    line: int
    tests: str
    reason: str

    @property
    def twins(self) -> list[str]:
        """The files that the reason names, where the same is tested on Windows."""
        return [found[0] for found in _TWIN.finditer(self.reason)]


def skips_of(source: str, file: str = "") -> Iterator[Skip]:
    """The marks of a file of tests that skip on Windows.

    Example:
        >>> [one.tests for one in skips_of("@pytest.mark.skipif(os.name == 'nt', reason='r')\\ndef test_a(): ...")]
        ['test_a']
    """
    if "skipif" not in source:
        return
    tree = ast.parse(source)
    owners = {
        id(mark): node.name
        for node in ast.walk(tree)
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef))
        for mark in node.decorator_list
    }
    for node in ast.walk(tree):
        is_mark = isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "skipif"
        if is_mark and ast.unparse(node.func) == "pytest.mark.skipif" and _holds(node.args[0]):
            reason = next((one.value for one in node.keywords if one.arg == "reason"), None)
            text = str(reason.value) if isinstance(reason, ast.Constant) else ""
            yield Skip(file, node.lineno, owners.get(id(node)) or _named(tree, node), text)


def skips() -> Iterator[Skip]:
    """Those of all tests."""
    for path in sorted((ROOT / "tests").rglob("test_*.py")):
        yield from skips_of(path.read_text(encoding="utf-8"), path.relative_to(ROOT).as_posix())


def _holds(condition: ast.expr) -> bool:
    """Whether the condition is true on Windows; one that asks more than that is not known here."""
    try:
        return bool(eval(ast.unparse(condition), dict(_WINDOWS)))
    except (NameError, AttributeError):
        return False


def _named(tree: ast.Module, mark: ast.Call) -> str:
    """Which tests a mark with a name is of: the whole file's, those it is put on, or a case of one."""
    for node in tree.body:
        if isinstance(node, ast.Assign) and any(one is mark for one in ast.walk(node.value)):
            name = ast.unparse(node.targets[0])
            if name == "pytestmark":
                return "all"
            marked = [
                one.name
                for one in ast.walk(tree)
                if isinstance(one, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef))
                and any(ast.unparse(found) == name for found in one.decorator_list)
            ]
            return ", ".join(marked) or f"the cases marked `{name}`"
    return "a case"


def main() -> int:
    """Print the table."""
    found = list(skips())
    for one in found:
        print(f"{one.file}:{one.line}  {one.tests}\n    {one.reason}")
    print(f"\n{len(found)} marks skip on Windows, {sum(bool(one.twins) for one in found)} of them name a twin")
    return 0


if __name__ == "__main__":
    sys.exit(main())
