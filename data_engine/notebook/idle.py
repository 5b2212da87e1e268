"""Parts of a kept loop or branch that only draw a chart or give what nothing needs, so that it does not matter what they read."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass

from data_engine.notebook import kinds
from data_engine.notebook.shapes import path_of
from data_engine.notebook.statements import Statement
from data_engine.notebook.touches import Objects
from data_engine.notebook.values import NONE, Origin

_DRAWN_INTO = frozenset({"ax", "axes", "cax", "fig", "figure"})
_MAY_FAIL = ("get_", "remove")
"""How the names of methods begin that may fail where something was not drawn before."""
_NEED_WHAT_IS_DRAWN = frozenset({"gci", "colorbar", "clim"})
_BLOCKS = (ast.For, ast.If, ast.While, ast.With, ast.Try)
_NEVER_IDLE = (ast.NamedExpr, ast.Await, ast.Yield, ast.YieldFrom)


@dataclass(frozen=True, slots=True)
class Matters:
    """What matters of a statement: the names that it reads there, and the lines where it does nothing that does."""

    names: frozenset[str]
    idle: frozenset[int]


@dataclass(slots=True, eq=False)
class _Part:
    """A simple statement (`node`), or what leads to such: the head of a loop or branch, with the names it binds."""

    nodes: list[ast.AST]
    binds: frozenset[str]
    leads_to: list[_Part]
    node: ast.stmt | None = None
    matters: bool = False


def what_matters(
    node: ast.stmt,
    needed: Collection[str],
    is_harmless: Callable[[ast.stmt, Collection[str]], bool],
    is_chart: Callable[[str], bool],
) -> Matters:
    """What of a statement gives what is `needed` after it.

    `is_harmless` tells whether a part changes nothing but charts that none of these names leads to, and streams of random
    numbers; `is_chart` whether a name is a chart's.

    Example:
        >>> loop = ast.parse("for x in rows:\\n  ax.plot(x)\\n  total = total + x").body[0]
        >>> found = what_matters(loop, {"total"}, lambda *_: True, lambda name: name == "ax")
        >>> sorted(found.names), sorted(found.idle)
        (['rows', 'total', 'x'], [2])
    """
    parts = [*_parts([node])]
    names = set(needed)
    read: set[str] = set()
    is_found = True
    while is_found:
        is_found = False
        for part in parts:
            if part.matters or not _does_something(part, names, is_harmless, is_chart):
                continue
            part.matters = is_found = True
            found = {name for inner in part.nodes for each in ast.walk(inner) for name in _names(each)}
            names |= found
            read |= found
    busy = {line for part in parts if part.matters for line in _lines(part)}
    idle = {line for part in parts if not part.matters for line in _lines(part)} - busy
    return Matters(frozenset(read), frozenset(idle))


class Block:
    """What is known of a loop or branch: which of its names are charts, and what its parts change."""

    def __init__(self, objects: Objects, statement: Statement) -> None:
        self.objects = objects
        self.at = statement.index
        self.outcome = objects.outcome(statement)
        self.charts = frozenset(name for name in statement.names.now if self.is_chart(name))

    def is_chart(self, name: str) -> bool:
        """Whether a name is a chart's before the statement or within it."""
        bound = self.outcome.bound.get(name)
        found = (
            (self.objects.value(name, self.at), bound) if bound is not None else (self.objects.value(name, self.at),)
        )
        return any(value.kind == kinds.PLOT or kinds.PLOT in value.either for value in found)

    def is_harmless(self, node: ast.stmt, names: Collection[str]) -> bool:
        """Whether a part changes nothing but charts that none of these names leads to, and streams; one for itself must draw."""
        touches = [
            touch for touch in self.outcome.touches if node.lineno <= touch.line <= (node.end_lineno or node.lineno)
        ]
        drawn = {origin for touch in touches for origin in touch.origins if self._is_of_chart(origin)}
        if drawn & self._reach(names) or (not drawn and isinstance(node, ast.Expr)):
            return False
        return all(
            origin in drawn or (touch.verb == "draws from" and self.objects.kind_of(origin) == kinds.STREAM)
            for touch in touches
            for origin in touch.origins
        )

    def draws_where_it_matters(self, found: Matters) -> bool:
        """Whether what matters reads or changes a chart."""
        touches = (touch for touch in self.outcome.touches if touch.line not in found.idle)
        is_drawn = any(self._is_of_chart(origin) for touch in touches for origin in touch.origins)
        return is_drawn or not self.outcome.asks <= found.idle or not self.charts.isdisjoint(found.names)

    def _is_of_chart(self, origin: Origin) -> bool:
        return origin == kinds.CHART or self.objects.kind_of(origin) == kinds.PLOT

    def _reach(self, names: Collection[str]) -> frozenset[Origin]:
        return NONE.union(*(self.objects.value(name, self.at + 1).all for name in names))


def matters_of(objects: Objects, statement: Statement, needed: Collection[str]) -> Matters:
    """What of a statement gives what is `needed` after it: all of one that is no loop or branch, and charts all or none."""
    everything = Matters(frozenset(statement.names.now), frozenset())
    if not isinstance(statement.node, _BLOCKS):
        return everything
    block = Block(objects, statement)
    found = what_matters(statement.node, needed, block.is_harmless, block.is_chart)
    return Matters(found.names | block.charts, frozenset()) if block.draws_where_it_matters(found) else found


def _does_something(
    part: _Part,
    names: Collection[str],
    is_harmless: Callable[[ast.stmt, Collection[str]], bool],
    is_chart: Callable[[str], bool],
) -> bool:
    if not part.binds.isdisjoint(names):
        return True
    if part.node is None:
        return not part.leads_to or any(other.matters for other in part.leads_to)
    return not (_may_be_idle(part.node, is_chart) and is_harmless(part.node, names))


def _may_be_idle(node: ast.stmt, is_chart: Callable[[str], bool]) -> bool:
    """Whether it is a call for itself or binds names only, and does not fail where a chart was not drawn into before."""
    if isinstance(node, ast.Assign):
        if not all(
            isinstance(part, (ast.Name, ast.Tuple, ast.Store)) for each in node.targets for part in ast.walk(each)
        ):
            return False
    elif not (isinstance(node, ast.Expr) and isinstance(node.value, ast.Call)):
        return False
    drawn: set[int] = set()
    for part in ast.walk(node):
        if isinstance(part, _NEVER_IDLE) or (isinstance(part, ast.Attribute) and part.attr in _NEED_WHAT_IS_DRAWN):
            return False
        if isinstance(part, ast.Call):
            drawn.update(_drawn_into(part))
    charts = (part for part in ast.walk(node) if isinstance(part, ast.Name) and is_chart(part.id))
    return all(id(part) in drawn or isinstance(part.ctx, ast.Store) for part in charts)


def _drawn_into(call: ast.Call) -> Iterator[int]:
    """The names of what a call draws into: `axes[0].plot(x)`, `heatmap(x, ax=axes[0])`."""
    given = [keyword.value for keyword in call.keywords if keyword.arg in _DRAWN_INTO]
    if isinstance(call.func, ast.Attribute) and not call.func.attr.startswith(_MAY_FAIL):
        given.append(call.func.value)
    for value in given:
        if set(path_of(value)[1:]) <= {"[]"}:
            while isinstance(value, ast.Subscript):
                value = value.value
            yield id(value)


def _names(node: ast.AST) -> list[str]:
    """The names that an expression reads, or that its text may, as that of `eval` and SQL does."""
    if isinstance(node, ast.Name):
        return [node.id]
    is_text = isinstance(node, ast.Constant) and isinstance(node.value, str)
    return re.findall(r"[^\W\d]\w*", node.value) if is_text else []  # type: ignore[attr-defined]


def _parts(nodes: Collection[ast.stmt]) -> Iterator[_Part]:
    for node in nodes:
        bodies = [getattr(node, name, []) for name in ("body", "orelse", "finalbody")]
        bodies += [each.body for name in ("handlers", "cases") for each in getattr(node, name, [])]
        inner = [part for body in bodies for part in _parts(body)]
        if not inner or isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            stored = {
                each.id for each in ast.walk(node) if isinstance(each, ast.Name) and isinstance(each.ctx, ast.Store)
            }
            yield _Part([node], frozenset(stored), [], node)
            continue
        if isinstance(node, ast.For):
            binds = {part.id for part in ast.walk(node.target) if isinstance(part, ast.Name)}
            yield _Part([node.target, node.iter], frozenset(binds), inner)
        elif isinstance(node, ast.If):
            yield _Part([node.test], frozenset(), inner)
        else:
            yield _Part(
                [each for each in ast.iter_child_nodes(node) if not isinstance(each, ast.stmt)], frozenset(), []
            )
        yield from inner


def _lines(part: _Part) -> Iterator[int]:
    for node in part.nodes:
        for each in ast.walk(node):
            if isinstance(each, (ast.stmt, ast.expr)):
                yield from range(each.lineno, (each.end_lineno or each.lineno) + 1)
