"""What in a workspace's modules needs a look before they run here: found in their text, nothing is executed.

The older system ran every cell of a notebook, counted polls where this one counts seconds, and had other names inside.
"""

from __future__ import annotations

import ast
import inspect
import json
import os
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from data_engine.duration import parse_duration
from data_engine.errors import FlowValidationError, NotebookCompileError
from data_engine.notebook import effects
from data_engine.notebook.compile import compile_cells
from data_engine.notebook.compiled import CompiledNotebook
from data_engine.notebook.magics import ParsedCell, parse_cell, quiet_syntax
from data_engine.notebook.read import read_cells

_EXPRESSIONS = ("networkdays", "workday", "visit_counter")
"""Helpers whose column has another name here."""

_NAMELESS = frozenset({"filter", "when", "then", "otherwise", "sort", "group_by", "sort_by", "over", "alias", "print"})
_INSIDE = frozenset({"file", "root_file", "namespaced_file", "database", "get", "require", "published", "final"})
"""Methods of the context whose name must stay in its folder."""

_PARTS = ("columns", "dtypes", "rename", "drop")
_INNER = ("authoring", "core", "runtime", "hosts", "platform", "ui", "services", "application", "views", "domain")
_INTERPRETER = re.compile(r'"python\.defaultInterpreterPath"\s*:\s*("(?:[^"\\]|\\.)*")')
_ONLY_SHOWS = frozenset({"print", "display", "help", "dir", "len", "type", "repr"})


@dataclass(frozen=True, slots=True)
class Edit:
    """Something to look at: `cell` and `line` count as in a notebook; `cell` is None in a `.py` file."""

    module: str
    cell: int | None
    line: int
    what: str
    fix: str

    @property
    def place(self) -> str:
        """Where it is.

        Example:
            >>> Edit("claims.ipynb", 4, 2, "", "").place, Edit("rates.py", None, 7, "", "").place
            ('claims.ipynb, cell 4, line 2', 'rates.py, line 7')
        """
        return f"{self.module}, {'' if self.cell is None else f'cell {self.cell}, '}line {self.line}"

    def as_dict(self) -> dict[str, Any]:
        """As `--json` prints it."""
        return {"module": self.module, "cell": self.cell, "line": self.line, "what": self.what, "fix": self.fix}


def find_edits(flow_modules: Path) -> list[Edit]:
    """What to look at in every module and helper of the folder, in their order, and in the editor's settings beside it.

    Raises:
        OSError: the folder cannot be read.
    """
    found: list[Edit] = []
    for path in sorted(flow_modules.glob("*.ipynb")):
        if not path.name.startswith("."):
            found += edits_of_notebook(path)
    for path in sorted([*flow_modules.glob("*.py"), *(flow_modules / "flow_helpers").rglob("*.py")]):
        found += edits_of_module(path, path.relative_to(flow_modules).as_posix())
    editor = ".vscode/settings.json"
    return found + edits_of_editor(flow_modules.parent / editor, editor)


def edits_of_notebook(path: Path) -> list[Edit]:
    """What to look at in a notebook."""
    name = path.name
    try:
        cells = read_cells(path.read_bytes(), path=path)
        with quiet_syntax():
            parsed = [parse_cell(cell) for cell in cells]
    except (NotebookCompileError, OSError) as error:
        what = error.detail if isinstance(error, NotebookCompileError) else str(error)
        return [Edit(name, None, 1, f"it cannot be read: {what}", "open it in JupyterLab and save it")]
    found: list[Edit] = []
    try:
        compiled = compile_cells(cells, path)
    except NotebookCompileError as error:
        place = error.places[0] if error.places else {}
        found.append(Edit(name, place.get("cell"), place.get("line") or 1, str(error.detail), error.fix or ""))
    else:
        found += _left_out(compiled, parsed)
    names = _helper_names(statement.node for cell in parsed for statement in cell.statements)
    for cell in parsed:
        tree = ast.Module([statement.node for statement in cell.statements], [])
        found += [Edit(name, cell.cell.number, *one) for one in _in_tree(tree, names)]
    return sorted(dict.fromkeys(found), key=lambda edit: (edit.cell or 0, edit.line, edit.what))


def edits_of_module(path: Path, name: str) -> list[Edit]:
    """What to look at in a `.py` file, which runs whole here too."""
    try:
        with quiet_syntax():
            tree = ast.parse(path.read_bytes())
    except (SyntaxError, ValueError, OSError) as error:
        line = getattr(error, "lineno", None) or 1
        return [Edit(name, None, line, f"it cannot be read: {error}", "correct it")]
    return [Edit(name, None, *one) for one in sorted(_in_tree(tree, _helper_names(tree.body)))]


def edits_of_editor(path: Path, name: str) -> list[Edit]:
    """Where VS Code is told to use another Python: in its terminals `data-engine` would be the older system's."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError):
        return []
    for number, line in enumerate(lines, start=1):
        found = _INTERPRETER.search(line)
        if found and os.path.normcase(python := _json_text(found[1])) != os.path.normcase(sys.executable):
            return [
                Edit(
                    name,
                    None,
                    number,
                    f"VS Code uses {python}",
                    f"set it to the Python of this system: {sys.executable}",
                )
            ]
    return []


def _json_text(text: str) -> str:
    try:
        return str(json.loads(text))
    except ValueError:
        return text


def _left_out(compiled: CompiledNotebook, parsed: list[ParsedCell]) -> Iterator[Edit]:
    """Calls that the older system made when it loaded the notebook, and production here does not."""
    name = compiled.path.name
    told = set()
    for warning in compiled.warnings:
        told.add((warning.cell, warning.line))
        yield Edit(name, warning.cell, warning.line, warning.message, warning.fix or "")
    if not compiled.is_flow:
        return
    for cell, decided in zip(parsed, compiled.cells, strict=True):
        for statement, decision in zip(cell.statements, decided.statements, strict=False):
            call = _bare_call(statement.node)
            if decision.taken or call is None or statement.magic or (decided.number, statement.line) in told:
                continue
            if not _only_shows(call):
                what = f"`{ast.unparse(call.func)}(...)` was called when the module was loaded; here it stays in the notebook"
                fix = "call it in a step, or put `#| keep` at the top of the cell if production needs it"
                yield Edit(name, decided.number, statement.line, what, fix)


def _bare_call(node: ast.stmt) -> ast.Call | None:
    return node.value if isinstance(node, ast.Expr) and isinstance(node.value, ast.Call) else None


def _only_shows(call: ast.Call) -> bool:
    if isinstance(call.func, ast.Name):
        return call.func.id in _ONLY_SHOWS
    if not isinstance(call.func, ast.Attribute):
        return False
    method = call.func.attr
    is_run = method in ("preview", "run_once", "show", "run") and _starts_with_build(call)
    return is_run or effects.only_looks(method, _first_text(call))


def _starts_with_build(call: ast.Call) -> bool:
    node: ast.expr = call
    while isinstance(node, (ast.Call, ast.Attribute)):
        node = node.func if isinstance(node, ast.Call) else node.value
    return isinstance(node, ast.Name) and node.id in ("build", "flow", "load_flow")


def _first_text(call: ast.Call) -> str:
    first = call.args[0] if call.args else None
    return first.value if isinstance(first, ast.Constant) and isinstance(first.value, str) else ""


def _in_tree(tree: ast.AST, helpers: Mapping[str, str]) -> Iterator[tuple[int, str, str]]:
    """Line, what and fix of all that stands anywhere in a module or cell; `helpers` are the names of ours that are imported."""
    parents = {child: node for node in ast.walk(tree) for child in ast.iter_child_nodes(node)}
    for node in ast.walk(tree):
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            yield from _about_import(node)
        elif isinstance(node, ast.Call):
            yield from _about_watch(node)
            yield from _about_helper(node, helpers, parents)
            yield from _about_schema(node)
            yield from _about_names(node)


def _about_import(node: ast.Import | ast.ImportFrom) -> Iterator[tuple[int, str, str]]:
    from data_engine import helpers

    public = sys.modules["data_engine"].__all__  # loaded with any module of it
    fix = "import what `data_engine` and `data_engine.helpers` offer, or write it yourself"
    if isinstance(node, ast.Import):
        for alias in node.names:
            first, _, rest = alias.name.partition(".")
            if first == "data_engine" and rest.split(".")[0] in _INNER:
                yield node.lineno, f"`import {alias.name}`: this part of the older system is not here", fix
        return
    module = node.module or ""
    if module.split(".")[0] != "data_engine" or node.level:
        return
    inner = module.partition(".")[2]
    for alias in node.names:
        if inner.split(".")[0] in _INNER or (not inner and alias.name in _INNER):
            yield node.lineno, f"`from {module} import {alias.name}`: this part of the older system is not here", fix
        elif alias.name == "*":
            continue
        elif not inner and alias.name not in public and alias.name not in ("helpers", "errors", "__version__"):
            yield node.lineno, f"`from data_engine import {alias.name}`: there is no such name", fix
        elif inner.split(".")[0] == "helpers" and alias.name not in (*helpers.__all__, *helpers._MODULES):
            yield node.lineno, f"`from {module} import {alias.name}`: there is no such helper", fix


def _about_watch(call: ast.Call) -> Iterator[tuple[int, str, str]]:
    if not isinstance(call.func, ast.Attribute) or call.func.attr != "watch":
        return
    options = {keyword.arg: keyword.value for keyword in call.keywords if keyword.arg}
    settle = options.get("settle")
    if settle is None or _constant(options.get("mode")) != "poll":
        return
    count, interval = _constant(settle), _constant(options.get("interval"))
    if isinstance(count, int) and not isinstance(count, bool) and isinstance(interval, str):
        if count == 0:
            return
        try:
            seconds = parse_duration(interval, where="interval=") * count
        except FlowValidationError:
            seconds = None
        if seconds is not None:
            same = f'settle="{seconds:g}s"'
            what = f"settle={count} was {count} polls of {interval}; here it is {count} s"
            yield settle.lineno, what, f"write {same} to wait as long as before"
            return
    what = "settle counted polls; here it is seconds, or a duration"
    yield settle.lineno, what, 'write how long a file must look the same, such as settle="30s"'


def _about_helper(
    call: ast.Call, helpers: Mapping[str, str], parents: Mapping[ast.AST, ast.AST]
) -> Iterator[tuple[int, str, str]]:
    name = _called_helper(call, helpers)
    if name is None:
        return
    if name in _EXPRESSIONS and not _has_name(call, parents):
        what = f"{name}(...) without a name: its column is called {name!r} here"
        yield call.lineno, what, f'write {name}(...).alias("...")'
    is_method = (
        isinstance(call.func, ast.Attribute)
        and isinstance(call.func.value, ast.Attribute)
        and call.func.value.attr == "de"
    )
    known = _keywords_of(name)
    if known is None:
        return
    for keyword in call.keywords:
        if keyword.arg is not None and (
            keyword.arg not in known or (is_method and keyword.arg in ("df", "lf", "frame"))
        ):
            fix = "leave it out: the frame is given already" if is_method else f"it takes {', '.join(known)}"
            yield keyword.value.lineno, f"{name}({keyword.arg}=...): there is no such argument", fix


def _called_helper(call: ast.Call, helpers: Mapping[str, str]) -> str | None:
    func = call.func
    if isinstance(func, ast.Name):
        return helpers.get(func.id)
    if isinstance(func, ast.Attribute) and isinstance(func.value, ast.Attribute) and func.value.attr == "de":
        return func.attr
    if isinstance(func, ast.Attribute) and isinstance(func.value, ast.Name) and helpers.get(func.value.id) == "*":
        return func.attr
    return None


def _helper_names(nodes: Iterable[ast.AST]) -> dict[str, str]:
    """What names stand for helpers; "*" is a module of them."""
    found: dict[str, str] = {}
    for node in (inner for one in nodes for inner in ast.walk(one)):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("data_engine"):
            for alias in node.names:
                is_module = node.module == "data_engine" and alias.name == "helpers"
                if is_module or (node.module == "data_engine.helpers" and alias.name in ("duckdb", "polars", "schema")):
                    found[alias.asname or alias.name] = "*"
                elif node.module != "data_engine":
                    found[alias.asname or alias.name] = alias.name
        elif isinstance(node, ast.Import):
            found |= {
                alias.asname: "*"
                for alias in node.names
                if alias.asname and alias.name.startswith("data_engine.helpers")
            }
    return found


def _keywords_of(name: str) -> tuple[str, ...] | None:
    """The arguments of a helper; None for no helper, and for one that takes any."""
    from data_engine import helpers

    function: Callable[..., Any] | None = getattr(helpers, name, None) if name in helpers.__all__ else None
    if function is None or inspect.isclass(function):
        return None
    parameters = inspect.signature(function).parameters.values()
    if any(one.kind is inspect.Parameter.VAR_KEYWORD for one in parameters):
        return None
    return tuple(one.name for one in parameters)


def _has_name(call: ast.AST, parents: Mapping[ast.AST, ast.AST]) -> bool:
    """Whether what a helper gives is named where it stands, or needs no name."""
    node = call
    while (above := parents.get(node)) is not None:
        if isinstance(above, ast.keyword):
            return above.arg is not None
        if isinstance(above, ast.Attribute):
            if above.attr in _NAMELESS or above.attr == "name":
                return True
        elif isinstance(above, ast.Call):
            if above.func is not node:
                return isinstance(above.func, ast.Attribute) and above.func.attr in _NAMELESS
        elif not isinstance(above, (ast.BinOp, ast.UnaryOp, ast.Compare, ast.List, ast.Tuple, ast.IfExp)):
            return False
        node = above
    return False


def _about_schema(call: ast.Call) -> Iterator[tuple[int, str, str]]:
    """The parts of a `TableSchema` take their frame as `df=`."""
    func = call.func
    is_part = isinstance(func, ast.Attribute) and isinstance(func.value, ast.Attribute) and func.value.attr in _PARTS
    if isinstance(func, ast.Attribute) and is_part and func.attr in ("apply", "normalize_column_names"):
        for keyword in call.keywords:
            if keyword.arg not in (None, "df"):
                what = f"{ast.unparse(func)}({keyword.arg}=...): there is no such argument"
                yield call.lineno, what, "it takes the frame as df="


def _about_names(call: ast.Call) -> Iterator[tuple[int, str, str]]:
    """Names that leave their folder, which the older system let pass."""
    if not isinstance(call.func, ast.Attribute) or call.func.attr not in _INSIDE or not call.args:
        return
    owner = ast.unparse(call.func.value)
    text = _first_text(call)
    if ".." in text.replace("\\", "/").split("/") and owner.split(".")[0] in ("context", "ctx"):
        yield (
            call.lineno,
            f"{owner}.{call.func.attr}({text!r}) leaves its folder, which is refused here",
            "name a file inside it",
        )


def _constant(node: ast.expr | None) -> object:
    return node.value if isinstance(node, ast.Constant) else None
