"""Finds the names that one top-level statement binds, reads, changes and calls, without executing anything."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from data_engine.notebook.names import (
    CALL,
    CHANGE,
    HINT,
    LOAD,
    MUTATE,
    NOTE,
    NOTHING,
    SQL,
    TABLE,
    TYPE,
    Bare,
    Names,
    changed_by_keyword,
    elements,
    first_text,
    is_container,
    path_of,
    reads_tables,
    sql_text,
    texts_in,
)

MUTATORS = frozenset(
    {"append", "appendleft", "extend", "extendleft", "insert", "remove", "pop", "popleft", "popitem", "clear", "sort",
     "reverse", "rotate", "update", "setdefault", "add", "discard", "difference_update", "intersection_update",
     "symmetric_difference_update", "subtract", "move_to_end", "__setitem__", "__delitem__"}
)  # fmt: skip
"""Methods that change a list, dict, set or deque in place."""

_ARGUMENT_MUTATORS = frozenset({"shuffle", "heappush", "heappop", "heapify", "heapreplace", "insort", "insort_left"})
_IN_PLACE = frozenset({"inplace", "in_place", "out"})
SQL_CALLS = frozenset({"sql", "query", "execute", "eval"})
_LATER_CALLS = frozenset(
    {"preview", "run_once", "show", "open", "input", "urlopen", "read_text", "read_bytes", "write_text", "write_bytes",
     "sql", "execute", "table", "basicConfig", "setLevel", "addHandler", "dictConfig", "fileConfig", "setlocale",
     "filterwarnings", "simplefilter", "load_dotenv", "seed", "set_option", "putenv", "setcontext", "set_tbl_rows"}
)  # fmt: skip

MODULE, CLASS, FUNCTION = 0, 1, 2
"""The kinds of scopes."""

_GENERICS = frozenset(
    {"list", "dict", "tuple", "set", "frozenset", "type", "Sequence", "Mapping", "Callable", "Optional"}
)
_COPIES = (ast.Call, ast.BinOp, ast.List, ast.Dict, ast.Set, ast.ListComp, ast.DictComp, ast.SetComp)


def analyse(statement: ast.stmt) -> Names:
    """The names of one top-level statement.

    Raises:
        RecursionError: the statement is nested too deeply.

    Example:
        >>> names = analyse(ast.parse("def clean(frame, rate=RATE): return frame * LIMIT").body[0])
        >>> list(names.binds), list(names.now), list(names.later)
        (['clean'], ['RATE'], ['LIMIT'])
    """
    visitor = _Visitor()
    visitor.visit(statement)
    return visitor.out


_FIELDS: dict[type, tuple[str, ...]] = {}
"""The fields of nodes without a handler that can hold names."""


class _Scope:
    __slots__ = ("bound", "globals", "kind", "lines", "nonlocals", "parent", "shadows", "sql_texts", "uses")

    def __init__(self, kind: int, parent: _Scope | None) -> None:
        self.kind = kind
        self.parent = parent
        self.bound: set[str] = set()
        self.globals: set[str] = set()
        self.nonlocals: set[str] = set()
        self.shadows: list[set[str]] = []
        self.uses: dict[str, int] = {}
        self.lines: dict[str, int] = {}
        self.sql_texts: list[str] = []


class _Visitor:
    """A walk over one statement in the order in which Python meets its names; `out` collects them."""

    def __init__(self) -> None:
        self.out = Names()
        self.scope = _Scope(MODULE, None)
        self.scope.uses, self.scope.lines = self.out.now, self.out.now_lines
        self.functions = 0
        self.guards = 0  # inside what may run without a name
        self.import_guards = 0  # inside what may run without an import
        self.elements: dict[str, tuple[str, ...]] = {}  # loop variables, and the names they are elements of
        self.blocks: list[set[str]] = [set()]  # at module level: what is surely bound by now, block by block
        self.undoing = 0

    def visit(self, node: Any) -> None:
        handler = _HANDLERS.get(node.__class__)
        if handler is not None:
            handler(self, node)
            return
        fields = _FIELDS.get(node.__class__)
        if fields is None:
            fields = tuple(field for field in node._fields if field not in ("ctx", "op", "ops"))
            _FIELDS[node.__class__] = fields
        for field in fields:
            value = getattr(node, field, None)
            if value.__class__ is list:
                for child in value:
                    if isinstance(child, ast.AST):
                        self.visit(child)
            elif isinstance(value, ast.AST):
                self.visit(value)

    # scopes

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
        """Visit statements that may or may not run: afterwards it is not sure that their names are bound."""
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

    def open_function(self) -> _Scope:
        self.functions += 1
        self.scope = _Scope(FUNCTION, self.scope)
        return self.scope

    def close_function(self) -> None:
        scope = self.scope
        outer: _Scope = scope.parent  # type: ignore[assignment]
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

    def note_parameters(
        self, scope: _Scope, parameters: Iterable[ast.arg], copied: Mapping[str, int] = NOTHING
    ) -> None:
        """Remember what the function just read does with its parameters."""
        for parameter in parameters:
            flags = scope.uses.get(parameter.arg, 0)
            if flags & SQL:
                self.out.sql_parameters = True
            flags = copied.get(parameter.arg, flags) & (CHANGE | MUTATE)
            if flags:
                changed = self.out.changed_parameters
                self.out.changed_parameters = {**changed, parameter.arg: changed.get(parameter.arg, 0) | flags}

    def type_parameters(self, node: Any) -> set[str]:
        """The names of `[T: Base]`; their bounds are looked up only on demand."""
        parameters = getattr(node, "type_params", ())
        names = {parameter.name for parameter in parameters}
        for parameter in parameters:
            for part in ast.walk(parameter):
                if isinstance(part, ast.Name) and part.id not in names:
                    self.use(part.id, TYPE, part.lineno)
        return names

    def note_value(self, target: ast.AST, value: ast.expr) -> None:
        """Remember what a name is bound to: a container, the object of another path, or a type."""
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

    def note_await(self, line: int) -> None:
        if not self.functions and self.out.await_line is None:
            self.out.await_line = line

    def annotation(self, node: ast.expr) -> None:
        """Use the names in an annotation: never read in function bodies, else read now unless annotations are lazy."""
        flag = HINT if self.scope.kind == FUNCTION else NOTE
        if isinstance(node, ast.Name):  # nearly always
            self.use(node.id, flag, node.lineno)
            return
        for part in ast.walk(node):
            if part.__class__ is ast.Name:
                self.use(part.id, flag, part.lineno)
            elif isinstance(part, ast.Constant) and isinstance(part.value, str):
                for word in sorted(sql_text(part.value)[1]):
                    self.use(word, TYPE, part.lineno)

    # statements

    def visit_FunctionDef(self, node: Any) -> None:
        self.visit_all(node.decorator_list)
        arguments = node.args
        self.visit_all(arguments.defaults)
        self.visit_all(arguments.kw_defaults)
        self.bind(node.name, node.lineno)
        shadow = self.type_parameters(node)
        if shadow:
            self.scope.shadows.append(shadow)
        parameters = parameters_of(arguments)
        for parameter in parameters:
            if parameter.annotation is not None:
                self.annotation(parameter.annotation)
        if node.returns is not None:
            self.annotation(node.returns)
        scope = self.open_function()
        scope.bound.update(parameter.arg for parameter in parameters)
        copied: dict[str, int] = {}  # parameters, and what was done to them before they became something else
        for statement in node.body:
            self.visit(statement)
            if statement.__class__ is ast.Assign and isinstance(statement.value, _COPIES):
                for target in statement.targets:
                    if isinstance(target, ast.Name):
                        copied.setdefault(target.id, scope.uses.get(target.id, 0))
        if self.functions == 1:
            self.note_parameters(scope, parameters, copied)
        self.close_function()
        if shadow:
            self.scope.shadows.pop()

    visit_AsyncFunctionDef = visit_FunctionDef

    def visit_Lambda(self, node: ast.Lambda) -> None:
        self.visit_all(node.args.defaults)
        self.visit_all(node.args.kw_defaults)
        scope = self.open_function()
        parameters = parameters_of(node.args)
        scope.bound.update(parameter.arg for parameter in parameters)
        self.visit(node.body)
        if self.functions == 1:
            self.note_parameters(scope, parameters)
        self.close_function()

    def visit_ClassDef(self, node: Any) -> None:
        self.visit_all(node.decorator_list)
        shadow = self.type_parameters(node)
        if shadow:
            self.scope.shadows.append(shadow)
        self.visit_all(node.bases)
        self.visit_all(keyword.value for keyword in node.keywords)
        self.scope = _Scope(CLASS, self.scope)
        self.scope.bound.update(("__module__", "__qualname__"))
        for statement in node.body:
            self.visit(statement)
        self.scope = self.scope.parent  # type: ignore[assignment]
        if shadow:
            self.scope.shadows.pop()
        self.bind(node.name, node.lineno)

    def visit_TypeAlias(self, node: Any) -> None:
        self.bind(node.name.id, node.lineno)
        scope = self.open_function()  # the value is evaluated when somebody asks for it
        scope.bound.update(self.type_parameters(node))
        self.visit(node.value)
        self.close_function()

    def visit_Import(self, node: ast.Import) -> None:
        for alias in node.names:
            name = alias.asname or alias.name.partition(".")[0]
            self.bind(name, node.lineno)
            if self.scope.kind == MODULE:
                self.out.imports[name] = alias.name if alias.asname else name
                if not alias.asname and "." in alias.name:
                    self.out.additive.add(name)

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        if node.level and not self.import_guards:
            self.out.relative_line = self.out.relative_line or node.lineno
        if node.module == "__future__" and not node.level and self.scope.kind == MODULE:
            self.out.future = tuple(alias.name for alias in node.names)
            return
        for alias in node.names:
            if alias.name == "*":
                self.out.star = "." * node.level + (node.module or "")
                continue
            name = alias.asname or alias.name
            self.bind(name, node.lineno)
            if self.scope.kind == MODULE:
                self.out.imports[name] = f"{'.' * node.level}{node.module or ''}.{alias.name}"

    def visit_Assign(self, node: ast.Assign) -> None:
        value = node.value
        self.visit(value.value if isinstance(value, ast.Attribute) else value)  # `add = ROWS.append` is only a name
        for target in node.targets:
            self.bind_target(target)
            if self.scope.kind == MODULE:
                self.note_value(target, node.value)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        if node.value is not None:
            self.visit(node.value)
        self.annotation(node.annotation)
        if node.value is not None:
            self.bind_target(node.target)
            if self.scope.kind == MODULE:
                self.note_value(node.target, node.value)
                if path_of(node.annotation)[-1] == "TypeAlias":
                    self.annotation(node.value)
        elif self.scope.kind == FUNCTION and isinstance(node.target, ast.Name):
            self.bind(node.target.id, node.lineno)

    def visit_AugAssign(self, node: ast.AugAssign) -> None:
        self.visit(node.value)
        if isinstance(node.target, ast.Name):
            self.use(node.target.id, LOAD | MUTATE, node.lineno)
            self.bind(node.target.id, node.lineno)
            if self.scope.kind == MODULE:
                self.out.aliases[node.target.id] = (node.target.id,)  # still what it was
        else:
            self.write(node.target)

    def visit_NamedExpr(self, node: ast.NamedExpr) -> None:
        self.visit(node.value)
        self.bind(node.target.id, node.lineno)
        if self.scope.kind == MODULE:
            self.note_value(node.target, node.value)

    def visit_Delete(self, node: ast.Delete) -> None:
        targets: list[ast.expr] = [*node.targets]
        for target in targets:
            if isinstance(target, (ast.Tuple, ast.List)):  # `del (a, b)`
                targets += target.elts
            elif not isinstance(target, ast.Name):
                self.write(target)
            elif self.scope.kind == MODULE:
                self.out.deletes.add(target.id)
            else:
                self.bind(target.id, node.lineno)

    def visit_Global(self, node: ast.Global) -> None:
        if self.scope.kind != MODULE:
            self.scope.globals.update(node.names)

    def visit_Nonlocal(self, node: ast.Nonlocal) -> None:
        self.scope.nonlocals.update(node.names)

    def visit_Expr(self, node: ast.Expr) -> None:
        value = node.value
        call = value.value if isinstance(value, ast.Await) else value
        if not self.functions and isinstance(call, ast.Call):
            self.out.bare.append(Bare(path_of(call), node.lineno, first_text(call)))
        self.visit(value)

    def visit_For(self, node: Any) -> None:
        if node.__class__ is ast.AsyncFor:
            self.note_await(node.lineno)
        self.visit(node.iter)
        self.blocks.append(set())
        self.bind_target(node.target, is_target=True)
        outer_elements = self.elements
        self.elements = outer_elements | elements(node.target, node.iter)
        self.visit_all(node.body)
        self.elements = outer_elements
        self.blocks.pop()
        self.visit_block(node.orelse)

    visit_AsyncFor = visit_For

    def visit_While(self, node: ast.While) -> None:
        self.visit(node.test)
        self.visit_block(node.body)
        self.visit_block(node.orelse)

    def visit_With(self, node: Any) -> None:
        if node.__class__ is ast.AsyncWith:
            self.note_await(node.lineno)
        undoes = False
        for item in node.items:
            undoes = undoes or not UNDOING_WITHS.isdisjoint(path_of(item.context_expr))
            self.undoing += undoes
            self.visit(item.context_expr)
            self.undoing -= undoes
            if item.optional_vars is not None:
                self.bind_target(item.optional_vars, is_target=True)
                if self.scope.kind == MODULE:
                    self.note_value(item.optional_vars, item.context_expr)
        self.undoing += undoes
        self.visit_all(node.body)
        self.undoing -= undoes

    visit_AsyncWith = visit_With

    def visit_If(self, node: ast.If) -> None:
        while True:
            guarded = any(
                isinstance(part, ast.Call) and isinstance(part.func, ast.Name) and part.func.id in _NAME_PROBES
                for part in ast.walk(node.test)
            )
            only_types = path_of(node.test)[-1] == "TYPE_CHECKING"
            self.guards += guarded
            self.import_guards += only_types
            self.visit(node.test)
            self.visit_block(node.body)
            self.import_guards -= only_types
            self.guards -= guarded
            if len(node.orelse) == 1 and node.orelse[0].__class__ is ast.If:
                node = node.orelse[0]
                continue
            self.visit_block(node.orelse)
            return

    def visit_Try(self, node: Any) -> None:
        guarded = any(_catches(handler, _NAME_ERRORS) for handler in node.handlers)
        import_guarded = any(handler.type is None or _catches(handler, _IMPORT_ERRORS) for handler in node.handlers)
        self.guards += guarded
        self.import_guards += import_guarded
        self.visit_block(node.body)
        self.import_guards -= import_guarded
        self.guards -= guarded
        for handler in node.handlers:
            if handler.type is not None:
                self.visit(handler.type)
            if handler.name and self.scope.kind == FUNCTION:
                self.scope.bound.add(handler.name)
            shadow = {handler.name} if handler.name else set()
            self.scope.shadows.append(shadow)
            self.visit_block(handler.body)
            self.scope.shadows.pop()
        self.visit_block(node.orelse)
        self.visit_all(node.finalbody)

    visit_TryStar = visit_Try

    def visit_Match(self, node: ast.Match) -> None:
        self.visit(node.subject)
        for case in node.cases:
            self.visit_block(case.body, case.pattern, case.guard)

    def visit_MatchAs(self, node: Any) -> None:
        if node.pattern is not None:
            self.visit(node.pattern)
        if node.name:
            self.bind(node.name, node.lineno)

    def visit_MatchStar(self, node: Any) -> None:
        if node.name:
            self.bind(node.name, node.lineno)

    def visit_MatchMapping(self, node: Any) -> None:
        self.visit_all(node.keys)
        self.visit_all(node.patterns)
        if node.rest:
            self.bind(node.rest, node.lineno)

    # expressions

    def visit_Name(self, node: ast.Name) -> None:
        self.use(node.id, LOAD, node.lineno)

    def visit_Constant(self, node: ast.Constant) -> None:
        value = node.value
        if self.functions and value.__class__ is str and reads_tables(value):
            scope = self.scope
            while scope.kind != FUNCTION:
                scope = scope.parent  # type: ignore[assignment]
            scope.sql_texts.append(value)

    def visit_Attribute(self, node: Any) -> None:
        if node.attr in MUTATORS and node.value.__class__ is ast.Name:
            self.use(node.value.id, MUTATE, node.lineno)  # `map(ROWS.append, found)`
        while node.__class__ is ast.Attribute:
            node = node.value
        self.visit(node)

    def visit_Call(self, node: Any) -> None:
        """Visit a call and the links of a fluent chain, without recursion: flows are chains."""
        while True:
            kind = node.__class__
            if kind is ast.Attribute:
                node = node.value
                continue
            if kind is not ast.Call:
                break
            self.note_call(node)
            for argument in node.args:
                self.visit(argument)
            for keyword in node.keywords:
                self.visit(keyword.value)
            node = node.func
            if node.__class__ is ast.Lambda:  # it runs where it is written
                self.scope.shadows.append({parameter.arg for parameter in parameters_of(node.args)})
                self.visit(node.body)
                self.scope.shadows.pop()
                node = node.args  # their defaults
        self.visit(node)

    def note_call(self, node: ast.Call) -> None:
        """Note what a call changes or queries, and the call itself."""
        function = node.func
        name = ""
        if function.__class__ is ast.Attribute:
            name = function.attr
            if name in MUTATORS:
                self.method_change(function, name)
        elif function.__class__ is ast.Name:
            name = function.id
            self.use(name, CALL, node.lineno)
            if name == "next" and node.args and node.args[0].__class__ is ast.Name:
                self.use(node.args[0].id, CHANGE, node.lineno)
            if name in ("setattr", "delattr"):
                self.first_argument_change(node, CHANGE)
        if name in _ARGUMENT_MUTATORS:
            self.first_argument_change(node, MUTATE)
        for keyword in node.keywords:
            if keyword.arg in _IN_PLACE:
                path = changed_by_keyword(function, keyword)
                if path[0] and "()" not in path:
                    self.use(path[0], CHANGE, node.lineno)
        if name in SQL_CALLS:
            self.sql_call(node)
        elif name in FORMULA_CALLS:
            self.formula_call(node)
        if not self.functions:
            self.out.calls.append((path_of(node), node, bool(self.undoing)))
            return
        self.out.inner_calls.append(node)
        if name in _LATER_CALLS or name.startswith(("read_", "scan_")):
            self.out.later_calls.append(path_of(node))

    def method_change(self, function: ast.expr, name: str) -> None:
        """Use what `ROWS.append(1)` changes; but `FRAMES["a"].sort()` may be a frame's sort, which changes nothing."""
        path = path_of(function)
        is_whole = len(path) == 2 and path[0] not in self.elements
        if path[0] and (is_whole or name not in ("sort", "reverse", "rotate", "subtract")):
            self.use(path[0], MUTATE, function.lineno)

    def first_argument_change(self, call: ast.Call, flags: int) -> None:
        """Use what `shuffle(ROWS)` or `setattr(config, "a", 1)` changes."""
        if call.args and (root := path_of(call.args[0])[0]):
            self.use(root, flags, call.lineno)

    def sql_call(self, node: ast.Call) -> None:
        for argument in (*node.args, *(keyword.value for keyword in node.keywords)):
            for text in texts_in(argument):
                tables, words = sql_text(text)
                for word in sorted(words):
                    self.use(word, TABLE if word in tables else HINT, argument.lineno)
            for part in ast.walk(argument):
                if isinstance(part, ast.Name):
                    self.use(part.id, SQL, argument.lineno)

    def formula_call(self, node: ast.Call) -> None:
        for argument in formulas(node):
            if isinstance(argument, ast.Name):
                self.use(argument.id, SQL, argument.lineno)
            for word in called_in(argument):
                self.use(word, HINT, argument.lineno)

    def visit_BinOp(self, node: Any) -> None:
        rights = []
        while node.__class__ is ast.BinOp:
            rights.append(node.right)
            node = node.left
        self.visit(node)
        for right in reversed(rights):
            self.visit(right)

    def visit_ListComp(self, node: Any) -> None:
        shadow: set[str] = set()
        self.scope.shadows.append(shadow)
        outer_elements = self.elements
        for generator in node.generators:
            if generator.is_async:
                self.note_await(node.lineno)
            self.visit(generator.iter)
            variables = elements(generator.target, generator.iter)
            shadow.update(variables)
            self.elements = self.elements | variables
            self.visit_all(generator.ifs)
        if node.__class__ is ast.DictComp:
            self.visit(node.key)
            self.visit(node.value)
        else:
            self.visit(node.elt)
        self.elements = outer_elements
        self.scope.shadows.pop()
        if not self.functions:
            self.out.comprehension_targets |= shadow

    visit_SetComp = visit_DictComp = visit_GeneratorExp = visit_ListComp

    def visit_Await(self, node: ast.Await) -> None:
        self.note_await(node.lineno)
        self.visit(node.value)


UNDOING_WITHS = frozenset({"catch_warnings", "localcontext", "Config", "StringCache", "option_context", "errstate"})
_NAME_PROBES = frozenset({"globals", "locals", "dir", "vars"})
_NAME_ERRORS = frozenset({"NameError"})
_IMPORT_ERRORS = frozenset({"ImportError", "Exception", "BaseException"})


def _catches(handler: ast.ExceptHandler, errors: frozenset[str]) -> bool:
    return handler.type is not None and any(
        isinstance(part, ast.Name) and part.id in errors for part in ast.walk(handler.type)
    )


_HANDLERS: dict[type, Callable[[_Visitor, Any], None]] = {
    getattr(ast, name.removeprefix("visit_")): method
    for name, method in vars(_Visitor).items()
    if name.startswith("visit_") and hasattr(ast, name.removeprefix("visit_"))  # newer Pythons have more
}


FORMULA_CALLS = frozenset(
    {"ols", "wls", "gls", "glm", "gee", "rlm", "logit", "probit", "mnlogit", "poisson", "negativebinomial", "quantreg", "mixedlm",
     "phreg", "from_formula", "dmatrix", "dmatrices"}
)  # fmt: skip
"""Calls that take a formula, `"sold ~ per_day(price)"`, whose functions are the notebook's."""
_CALLED = re.compile(r"([^\W\d]\w*)\s*\(")


def formulas(call: ast.Call) -> list[ast.expr]:
    """The formulas of a call that takes one: its first argument, and `formula=`."""
    return [*call.args[:1], *(keyword.value for keyword in call.keywords if keyword.arg == "formula")]


def called_in(formula: ast.expr) -> Iterator[str]:
    """The functions that a formula calls.

    Example:
        >>> list(called_in(ast.parse("'sold ~ per_day(price) + C(shop)'", mode="eval").body))
        ['per_day', 'C']
    """
    for text in texts_in(formula):
        yield from _CALLED.findall(text)


def _add_sql(scope: _Scope, text: str) -> None:
    tables, words = sql_text(text)
    for word in sorted(words):
        scope.uses[word] = scope.uses.get(word, 0) | (TABLE if word in tables else HINT)
        scope.lines.setdefault(word, 1)


def parameters_of(arguments: ast.arguments) -> list[ast.arg]:
    parameters = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]
    if arguments.vararg:
        parameters.append(arguments.vararg)
    if arguments.kwarg:
        parameters.append(arguments.kwarg)
    return parameters
