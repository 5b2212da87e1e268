"""The scopes of one top-level statement: which names it binds, reads and changes in each, by Python's rules."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Mapping
from typing import Any

from data_engine.notebook.names import (
    CHANGE,
    HINT,
    LOAD,
    MUTATE,
    NOTE,
    NOTHING,
    SQL,
    TABLE,
    TYPE,
    Names,
    is_container,
    path_of,
    sql_words,
)

MODULE, CLASS, FUNCTION = 0, 1, 2
"""The kinds of scopes."""

_GENERICS = frozenset(
    {"list", "dict", "tuple", "set", "frozenset", "type", "Sequence", "Mapping", "Callable", "Optional"}
)


class Scope:
    __slots__ = ("bound", "globals", "kind", "lines", "nonlocals", "parent", "shadows", "sql_texts", "uses")

    def __init__(self, kind: int, parent: Scope | None) -> None:
        self.kind = kind
        self.parent = parent
        self.bound: set[str] = set()
        self.globals: set[str] = set()
        self.nonlocals: set[str] = set()
        self.shadows: list[set[str]] = []
        self.uses: dict[str, int] = {}
        self.lines: dict[str, int] = {}
        self.sql_texts: list[str] = []


class ScopeTracker:
    """The names of a statement, told one by one in the order in which Python would meet them; `out` is what is known."""

    def __init__(self) -> None:
        self.out = Names()
        self.scope = Scope(MODULE, None)
        self.scope.uses, self.scope.lines = self.out.now, self.out.now_lines
        self.functions = 0
        self.guards = 0  # inside what may run without a name
        self.import_guards = 0  # inside what may run without an import
        self.elements: dict[str, tuple[str, ...]] = {}  # loop variables, and the names they are elements of
        self.blocks: list[set[str]] = [set()]  # at module level: what is surely bound by now, block by block
        self.undoing = 0

    def visit(self, node: Any) -> None:
        """Tell the names of a node and of all in it."""
        raise NotImplementedError

    def visit_all(self, nodes: Iterable[ast.AST | None]) -> None:
        for node in nodes:
            if node is not None:
                self.visit(node)

    def use(self, name: str, flags: int, line: int) -> None:
        if flags & (CHANGE | MUTATE) and name in self.elements:
            for whole in self.elements[name]:
                self.use(whole, flags & (CHANGE | MUTATE), line)
        scope = self.scope
        while True:
            for shadow in scope.shadows:
                if name in shadow:
                    return
            if scope.kind != CLASS:
                break
            if name in scope.bound:
                return
            scope = scope.parent  # type: ignore[assignment]
        if scope.kind == MODULE and name in self.out.binds:
            if any(name in block for block in self.blocks):
                return
            flags = (flags & ~LOAD) | (HINT if flags & LOAD else 0)
        elif flags & LOAD and self.guards:
            flags = (flags & ~LOAD) | HINT
        known = scope.uses.get(name, 0)
        if (flags & LOAD and not known & LOAD) or not known:
            scope.lines[name] = line
        scope.uses[name] = known | flags

    def bind(self, name: str, line: int, *, is_target: bool = False) -> None:
        scope = self.scope
        if name in scope.globals:
            self.out.bound_globals.add(name)
            self.out.later[name] = self.out.later.get(name, 0) | HINT | CHANGE
            self.out.later_lines.setdefault(name, line)
            return
        if scope.kind != MODULE:
            if name not in scope.nonlocals:
                scope.bound.add(name)
            return
        binds = self.out.binds
        if is_target and name not in binds:
            self.out.targets.add(name)
        elif not is_target:
            self.out.targets.discard(name)
        binds.setdefault(name, line)
        self.blocks[-1].add(name)

    def visit_block(self, statements: Iterable[ast.AST], *first: ast.AST | None) -> None:
        """Visit what may run or not: what it binds is not sure afterwards."""
        self.blocks.append(set())
        self.visit_all(first)
        self.visit_all(statements)
        self.blocks.pop()

    def bind_target(self, target: ast.AST, *, is_target: bool = False) -> None:
        kind = target.__class__
        if kind is ast.Name:
            self.bind(target.id, target.lineno, is_target=is_target)  # type: ignore[attr-defined]
        elif kind is ast.Tuple or kind is ast.List:
            for element in target.elts:  # type: ignore[attr-defined]
                self.bind_target(element, is_target=is_target)
        elif kind is ast.Starred:
            self.bind_target(target.value, is_target=is_target)  # type: ignore[attr-defined]
        else:
            self.write(target)

    def write(self, target: Any) -> None:
        path = path_of(target)
        if path[0]:
            self.use(path[0], CHANGE, target.lineno)
        if self.functions:
            self.out.later_calls.append((*path, " ="))
        else:
            self.out.writes.append((path, target.lineno, bool(self.undoing)))
        self.visit(target.value)
        if target.__class__ is ast.Subscript:
            self.visit(target.slice)

    def open_function(self) -> Scope:
        self.functions += 1
        self.scope = Scope(FUNCTION, self.scope)
        return self.scope

    def close_function(self) -> None:
        scope = self.scope
        outer: Scope = scope.parent  # type: ignore[assignment]
        self.functions -= 1
        self.scope = outer
        if scope.sql_texts and any(flags & SQL and name in scope.bound for name, flags in scope.uses.items()):
            for text in scope.sql_texts:  # a local variable is given to sql(): one of these texts, perhaps
                _add_sql(scope, text)
        while outer.kind == CLASS:
            outer = outer.parent  # type: ignore[assignment]
        uses, lines = (self.out.later, self.out.later_lines) if outer.kind == MODULE else (outer.uses, outer.lines)
        for name, flags in scope.uses.items():
            into, into_lines = uses, lines
            if name in scope.globals:
                into, into_lines = self.out.later, self.out.later_lines
            elif name in scope.bound or any(name in shadow for shadow in outer.shadows):
                continue
            known = into.get(name, 0)
            if (flags & LOAD and not known & LOAD) or not known:
                into_lines[name] = scope.lines[name]
            into[name] = known | flags

    def note_parameters(self, scope: Scope, parameters: Iterable[ast.arg], copied: Mapping[str, int] = NOTHING) -> None:
        """Remember what the function just read does with what it is given."""
        for parameter in parameters:
            flags = scope.uses.get(parameter.arg, 0)
            if flags & SQL:
                self.out.sql_parameters = True
            flags = copied.get(parameter.arg, flags) & (CHANGE | MUTATE)
            if flags:
                changed = self.out.changed_parameters
                self.out.changed_parameters = {**changed, parameter.arg: changed.get(parameter.arg, 0) | flags}

    def type_parameters(self, node: Any) -> set[str]:
        """The names of `[T: Base]`; what bounds them is only looked up when somebody asks."""
        parameters = getattr(node, "type_params", ())
        names = {parameter.name for parameter in parameters}
        for parameter in parameters:
            for part in ast.walk(parameter):
                if isinstance(part, ast.Name) and part.id not in names:
                    self.use(part.id, TYPE, part.lineno)
        return names

    def note_value(self, target: ast.AST, value: ast.expr) -> None:
        """Remember what a name is bound to: a container, the same as another path, or a type."""
        if isinstance(target, ast.Name):
            if isinstance(value, ast.Subscript) and path_of(value.value)[-1] in _GENERICS:
                self.annotation(value)
            if is_container(value):
                self.out.containers.add(target.id)
            elif (path := path_of(value))[0]:
                self.out.aliases[target.id] = path
        elif isinstance(target, (ast.Tuple, ast.List)) and isinstance(value, (ast.Tuple, ast.List)):
            for part, part_value in zip(target.elts, value.elts, strict=False):
                self.note_value(part, part_value)

    def _function_scope(self) -> Scope:
        scope = self.scope
        while scope.kind != FUNCTION:
            scope = scope.parent  # type: ignore[assignment]
        return scope

    def note_await(self, line: int) -> None:
        if not self.functions and self.out.await_line is None:
            self.out.await_line = line

    def annotation(self, node: ast.expr) -> None:
        """Names in annotations: never read in function bodies, else read now unless annotations are lazy."""
        flag = HINT if self.scope.kind == FUNCTION else NOTE
        if isinstance(node, ast.Name):  # nearly always
            self.use(node.id, flag, node.lineno)
            return
        for part in ast.walk(node):
            if part.__class__ is ast.Name:
                self.use(part.id, flag, part.lineno)
            elif isinstance(part, ast.Constant) and isinstance(part.value, str):
                for word in sorted(sql_words(part.value)[1]):
                    self.use(word, TYPE, part.lineno)


def _add_sql(scope: Scope, text: str) -> None:
    tables, words = sql_words(text)
    for word in sorted(words):
        scope.uses[word] = scope.uses.get(word, 0) | (TABLE if word in tables else HINT)
        scope.lines.setdefault(word, 1)


def parameters_of(arguments: ast.arguments) -> list[ast.arg]:
    found = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]
    if arguments.vararg:
        found.append(arguments.vararg)
    if arguments.kwarg:
        found.append(arguments.kwarg)
    return found
