"""The floors of the package, as its docstring draws them: imports only point down.

Below a floor are all floors with a smaller number; modules of one floor may use each other, but not in a circle.
"""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import NamedTuple

import pytest

import data_engine
from tests.sources import product_files

PACKAGE = Path(data_engine.__file__).parent
ROOT = PACKAGE.parent
OURS = ("data_engine", "jupyter_extension")
HEAVY = ["polars", "duckdb", "pyarrow", "pandas", "numpy", "IPython", "nbformat", "tornado", "sqlite3", "typer"]


class Import(NamedTuple):
    """One import of a module of ours: who, whom, in which function ("" at the top), on which line."""

    importer: str
    imported: str
    function: str
    line: int
    only_types: bool

    def __str__(self) -> str:
        return f"{self.importer}:{self.line} imports {self.imported}"


def imports_of(source: str, importer: str) -> Iterator[Import]:
    """What `source` imports of ours, also inside functions and for types only."""

    def visit(node: ast.AST, function: str, only_types: bool) -> Iterator[Import]:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, (ast.Import, ast.ImportFrom)):
                for imported in _targets(child):
                    yield Import(importer, imported, function, child.lineno, only_types)
            elif isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef)):
                yield from visit(child, function or child.name, only_types)
            elif isinstance(child, ast.If) and "TYPE_CHECKING" in ast.dump(child.test):
                yield from visit(child, function, True)
            else:
                yield from visit(child, function, only_types)

    yield from visit(ast.parse(source), "", False)


def _targets(node: ast.Import | ast.ImportFrom) -> Iterator[str]:
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names if alias.name.split(".")[0] in OURS)
        return
    assert node.level == 0, f"line {node.lineno}: write imports in full"
    module = node.module or ""
    if module.split(".")[0] not in OURS:
        return
    for alias in node.names:
        if module == "data_engine" and alias.name in data_engine._HOMES:
            yield data_engine._HOMES[alias.name]  # a public name stands for its home
        elif (ROOT / module.replace(".", "/") / f"{alias.name}.py").exists() or is_package(f"{module}.{alias.name}"):
            yield f"{module}.{alias.name}"
        else:
            yield module


def is_package(module: str) -> bool:
    return (ROOT / module.replace(".", "/") / "__init__.py").exists()


def module_of(path: Path) -> str:
    name = ".".join(path.relative_to(ROOT).with_suffix("").parts)
    return name.removesuffix(".__init__")


@cache
def all_imports() -> list[Import]:
    """Every import of ours in the package and the JupyterLab extension."""
    return [
        found for path in product_files() for found in imports_of(path.read_text(encoding="utf-8"), module_of(path))
    ]


@cache
def floors() -> dict[str, int]:
    """Each top-level module or package of `data_engine` with its floor, read from the package's docstring."""
    found = {}
    for line in (data_engine.__doc__ or "").splitlines():
        if match := re.match(r"    (\d+) +(.*)", line):
            for name in re.findall(r"(\w+)(?:\.py|/)(?=\s|$)", match[2]):
                found[name] = int(match[1])
    return found


def floor_of(module: str) -> int:
    """The face of the package, which names where the public names live, is above all."""
    if module == "data_engine":
        return max(floors().values()) + 1
    if module == "data_engine.__main__":
        return max(floors().values())
    return floors()[module.split(".")[0] if module.startswith("jupyter_extension") else module.split(".")[1]]


def is_lowest(module: str) -> bool:
    return floor_of(module) == 0


def test_the_docstring_of_the_package_places_every_module() -> None:
    """On one floor; and names none that is not there."""
    there = {path.stem for path in PACKAGE.glob("*.py") if not path.stem.startswith("__")}
    there |= {path.parent.name for path in PACKAGE.glob("*/__init__.py")} | {"jupyter_extension"}

    assert set(floors()) == there


def test_imports_only_point_down() -> None:
    """Also inside functions, for types, and from JupyterLab's part; there is no exception."""
    upward = [str(found) for found in all_imports() if floor_of(found.imported) > floor_of(found.importer)]

    assert upward == []


def test_the_lowest_floor_stands_alone() -> None:
    """Modules and packages of floor 0 import none but each other."""
    outside = [str(found) for found in all_imports() if is_lowest(found.importer) and not is_lowest(found.imported)]

    assert outside == []


@pytest.mark.skipif(not (PACKAGE / "helpers").exists(), reason="there are no helpers yet")
def test_helpers_are_a_leaf() -> None:
    """They know the lowest floor only: frames and databases, not flows."""
    outside = [
        str(found)
        for found in all_imports()
        if found.importer.startswith("data_engine.helpers")
        and not is_lowest(found.imported)
        and not found.imported.startswith("data_engine.helpers")
    ]

    assert outside == []


def test_the_command_line_and_jupyterlabs_part_do_not_import_each_other() -> None:
    """What both say of a workspace lies below both, in `status/`."""
    sides = ("data_engine.cli.", "jupyter_extension.")
    across = [
        str(found)
        for found in all_imports()
        for one, other in (sides, sides[::-1])
        if found.importer.startswith(one) and found.imported.startswith(other)
    ]

    assert across == []


def test_no_modules_import_each_other_in_a_circle() -> None:
    """Neither at import time nor later, inside functions or for types."""
    graph: dict[str, set[str]] = {}
    for found in all_imports():
        graph.setdefault(found.importer, set()).add(found.imported)
    try:
        order = list(TopologicalSorter(graph).static_order())
    except CycleError as error:
        pytest.fail(" -> ".join(error.args[1]))

    assert order


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("from data_engine.client import Workspace", [("data_engine.client", "", False)]),
        ("import data_engine.client as c", [("data_engine.client", "", False)]),
        ("from data_engine import Workspace", [("data_engine.client", "", False)]),
        ("from data_engine import __version__", [("data_engine.version", "", False)]),
        ("import jupyter_extension.panel", [("jupyter_extension.panel", "", False)]),
        ("def f():\n  from jupyter_extension import panel", [("jupyter_extension.panel", "f", False)]),
        ("from data_engine.flow import scan", [("data_engine.flow.scan", "", False)]),
        ("from data_engine import flow", [("data_engine.flow", "", False)]),
        ("class A:\n  def f(self):\n    if 1:\n      import data_engine.client", [("data_engine.client", "f", False)]),
        ("if TYPE_CHECKING:\n  from data_engine.client import home", [("data_engine.client", "", True)]),
        ("import os\nfrom data_engines import x", []),
    ],
)
def test_the_reader_of_imports_sees_every_spelling(source: str, expected: list[tuple[str, str, bool]]) -> None:
    """A checker that overlooks one kind would pass everything."""
    found = [(one.imported, one.function, one.only_types) for one in imports_of(source, "data_engine.errors")]

    assert found == expected


def in_fresh_python(code: str) -> str:
    return subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.strip()


def test_the_flow_class_loads_no_heavy_library() -> None:
    """`from data_engine import Flow` is the first line of every notebook and every worker."""
    code = f"import sys\nfrom data_engine import Flow\nprint([n for n in {HEAVY} if n in sys.modules])"

    assert in_fresh_python(code) == "[]"


def test_writing_a_flow_loads_no_heavy_library() -> None:
    """Nor do the verbs: a catalog of fifty flows is built without the data libraries."""
    code = (
        "import sys\nfrom data_engine import Flow, Batch, FileRef, FlowContext, ItemError\n"
        "flow = Flow('G', 'n').watch(mode='poll', source='in', interval='5s', extensions='csv').mirror(root='out')\n"
        "flow.collect('.csv').map(str, on_error='collect').step(print, save_as='x').watch(mode='schedule', time='08:00')\n"
        f"print([n for n in {HEAVY} if n in sys.modules])"
    )

    assert in_fresh_python(code) == "[]"


def test_a_script_that_asks_for_a_workspace_loads_little_more_than_a_flow() -> None:
    """What its verbs need is loaded when they are used: the ledger, the lease, the compiler and the daemon's client."""
    code = "import sys\n{}\nprint(sum(n.startswith('data_engine.') for n in sys.modules))"
    flow = int(in_fresh_python(code.format("from data_engine import Flow")))

    assert int(in_fresh_python(code.format("from data_engine import Workspace, load_flow, discover_flows"))) < flow + 10


def test_the_package_itself_loads_none_of_its_modules() -> None:
    """Names are looked up when they are first used."""
    code = "import sys, data_engine\nprint([n for n in sys.modules if n.startswith('data_engine.')])"

    assert in_fresh_python(code) == "[]"


def test_a_daemon_that_starts_loads_nothing_that_only_steps_and_gates_need() -> None:
    """Each module that is loaded is several looks at files, which a scanner of viruses makes slow."""
    others = (
        *("data_engine.engine.recording", "data_engine.plan.golden", "importlib.abc", "importlib.metadata"),
        *("xml.sax", "urllib.request", "polars", "pyarrow", "duckdb"),
    )
    code = f"import sys, data_engine.daemon.__main__\nprint([n for n in {others} if n in sys.modules])"

    assert in_fresh_python(code) == "[]"
