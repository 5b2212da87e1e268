"""What running a statement may change, found by following objects from name to name without executing anything.

A `Value` says what an expression may give: its kind, the bindings whose object it may be (`origins`) and those whose object
it may hold (`held`). A `Touch` is one change, draw or write of such objects. Functions of the notebook are followed with
what they are given, as deep as `_DEEPEST`; beyond, whatever they are given counts as changed.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any

from data_engine.notebook import effects, kinds
from data_engine.notebook.shapes import first_text, path_of, texts_in
from data_engine.notebook.statements import END, FUNCTIONS, Statement, Statements

Origin = tuple[Any, str]
"""A binding, by its statement's index and its name; or what a call made for its closures ("" for the name); or one of
("name", a rebound global), ("stream", a package), ("file", its name), ("text", any name)."""

NONE: frozenset[Origin] = frozenset()
_DEEPEST = 6
_WRITERS = frozenset({"write_text", "write_bytes", "savefig", "save", "savez", "savetxt", "dump"})
_FUNCTION_NODES = (*FUNCTIONS, ast.Lambda)


@dataclass(frozen=True, slots=True)
class Touch:
    """What a statement may do to objects: `verb` is "changes", "may change", "draws from", "uses up", "sets" or "writes"."""

    verb: str
    origins: frozenset[Origin]
    line: int
    shown: str


@dataclass(frozen=True, slots=True, eq=False)
class Code:
    """A function of the notebook. `env` are the variables around it, `token` what stands for them; `me` its own object."""

    owner: Statement
    node: Any
    env: Mapping[str, Value] | None = None
    token: frozenset[Origin] = NONE
    me: Value | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Value:
    """What an expression may give. `text` is a constant's or an import's dotted name; `code` what a call of it runs.

    `bound` is a method that is not called yet; `may_run_out` says of an unknown object that it may be an iterator.
    """

    kind: str = kinds.UNKNOWN
    origins: frozenset[Origin] = NONE
    held: frozenset[Origin] = NONE
    text: str = ""
    code: tuple[Code, ...] = ()
    classes: tuple[Statement, ...] = ()
    is_instance: bool = False
    bound: tuple[str, ...] = ()
    may_run_out: bool = False

    @property
    def all(self) -> frozenset[Origin]:
        """What it may be or hold."""
        return self.origins | self.held if self.held else self.origins

    @property
    def exposed(self) -> frozenset[Origin]:
        """What somebody who is handed it may change: of a function only what it holds."""
        return self.held if self.kind == kinds.FUNCTION else self.all


PLAIN = Value(kinds.PLAIN)
NOBODY_KNOWS = Value()


def join(values: Iterable[Value]) -> Value:
    """What may be any of these.

    Example:
        >>> join([PLAIN, PLAIN]).kind, join([PLAIN, NOBODY_KNOWS]).kind
        ('plain', 'unknown')
    """
    found = list(values)
    if len(found) == 1:
        return found[0]
    if not found:
        return NOBODY_KNOWS
    kind = found[0].kind if len({value.kind for value in found}) == 1 else kinds.UNKNOWN
    return Value(
        kind,
        NONE.union(*(value.origins for value in found)),
        NONE.union(*(value.held for value in found)),
        found[0].text if len({value.text for value in found}) == 1 else "",
        tuple(dict.fromkeys(code for value in found for code in value.code)),
        tuple(dict.fromkeys(each for value in found for each in value.classes)),
        any(value.is_instance for value in found),
    )


@dataclass(slots=True)
class Outcome:
    """What running one statement comes to: values bound, what was stored in objects of a name, touches, seeds."""

    bound: dict[str, Value] = field(default_factory=dict)
    stores: dict[str, frozenset[Origin]] = field(default_factory=dict)
    touches: dict[Touch, None] = field(default_factory=dict)
    seeds: set[str] = field(default_factory=set)


class Objects:
    """The objects of a notebook, as far as its text tells; each statement is followed once, when it is asked for."""

    def __init__(self, statements: Statements) -> None:
        self.statements = statements
        self._outcomes: dict[int, Outcome] = {}
        self._texts: dict[int, frozenset[str]] = {}
        self._attributes: dict[str, set[str]] | None = None

    def outcome(self, statement: Statement) -> Outcome:
        """What running a statement at its place comes to."""
        found = self._outcomes.get(statement.index)
        if found is None:
            found = self._outcomes[statement.index] = Outcome()  # a statement that leads back to itself finds nothing
            with suppress(RecursionError):  # nested too deeply to follow: what is known so far
                _Run(self, statement, found).statement(statement.node)
        return found

    def value(self, name: str, at: int) -> Value:
        """What a module-level name may be before statement `at`."""
        owners = self.statements.reaching(name, at)
        found = [self._bound(owner, name, at) for owner in (*owners[0], *owners[1])]
        return join(found) if found else Value(kinds.MODULE, text=name)

    def made_by(self, owner: Statement, name: str) -> Value:
        """What a statement binds a name to."""
        return self._bound(owner, name, END)

    def texts(self, statement: Statement) -> frozenset[str]:
        """Every text that a statement holds."""
        found = self._texts.get(statement.index)
        if found is None:
            found = self._texts[statement.index] = frozenset(texts_in(statement.node))
        return found

    def body(self, statement: Statement) -> Outcome:
        """What the functions that a statement defines may do when they are called."""
        found = Outcome()
        run = _Run(self, statement, found)
        for node in ast.walk(statement.node):
            if isinstance(node, _FUNCTION_NODES):
                run.call(Code(statement, node), [], {})
        return found

    def _bound(self, owner: Statement, name: str, at: int) -> Value:
        imported = owner.names.imports.get(name)
        if imported is not None:
            return Value(kinds.MODULE, text=imported)
        value = self.outcome(owner).bound.get(name, NOBODY_KNOWS)
        if value.kind in (kinds.PLAIN, kinds.MODULE):
            return value
        if value.kind == kinds.UNKNOWN and not value.code and kinds.is_plainly_a_frame(self._used_on(name)):
            value = replace(value, kind=kinds.FRAME)
        elif (
            value.kind == kinds.UNKNOWN and owner.names.aliases.get(name, ("",))[-1] == "()" and not self._used_on(name)
        ):
            value = replace(value, may_run_out=True)  # a call gave it, and nothing indexes, measures or looks into it
        for change in self.statements.changes.get((owner.index, name), ()):
            if owner.index < change.index < at:
                value = replace(value, held=value.held | self.outcome(change).stores.get(name, NONE))
        return replace(value, origins=value.origins | {(owner.index, name)})

    def _used_on(self, name: str) -> set[str]:
        if self._attributes is None:
            self._attributes = {}
            for statement in self.statements.all:
                for node in ast.walk(statement.node):
                    if isinstance(node, (ast.Attribute, ast.Subscript)) and isinstance(node.value, ast.Name):
                        part = node.attr if isinstance(node, ast.Attribute) else "[]"
                        self._attributes.setdefault(node.value.id, set()).add(part)
                    elif isinstance(node, ast.Call) and path_of(node.func) == ("len",) and node.args:
                        self._attributes.setdefault(path_of(node.args[0])[0], set()).add("len")
        return self._attributes.get(name, set())


class _Run:
    """Follows one statement, with all that it calls."""

    def __init__(self, objects: Objects, statement: Statement, out: Outcome) -> None:
        self.objects = objects
        self.at = statement.index
        self.owner = statement
        self.out = out
        self.env: dict[str, Value] = out.bound
        self.around: list[Code] = []  # the functions it is in
        self.globals: set[str] = set()
        self.nonlocals: set[str] = set()
        self.locals: set[str] = set()  # parameters and what the function at hand assigns
        self.returns: list[Value] = []
        self.branches = 0
        self.place: tuple[int, str] | None = None  # the call in the statement that led here

    # touches

    def touch(self, verb: str, origins: frozenset[Origin], node: Any, shown: str = "") -> None:
        """Note that objects may be changed."""
        if origins:
            line, text = self.place or (node.lineno, shown or _shown(node))
            self.out.touches.setdefault(Touch(verb, origins, line, text))

    def consume(self, value: Value, node: Any, *, surely: bool = True) -> None:
        """Note that a value is read to its end (`surely`), or handed to what may read or draw from it."""
        if value.kind == kinds.ITERATOR:
            self.touch("uses up", value.origins, node)
        elif surely and value.kind == kinds.UNKNOWN and value.may_run_out:
            self.touch("may use up", value.origins, node)
        elif value.kind == kinds.STREAM:
            self.touch("draws from", value.origins, node)

    def lazy(self, before: int, parts: Iterable[Value], held: frozenset[Origin]) -> Value:
        """An iterator over `parts`: to use it up is to use up those, and to do what making it has noted since `before`."""
        done = (touch.origins for touch in list(self.out.touches)[before:])
        inner = (part.origins for part in parts if part.kind == kinds.ITERATOR or part.may_run_out)
        return Value(kinds.ITERATOR, NONE.union(*done, *inner), held)

    # names

    def lookup(self, name: str) -> Value:
        """What a name means where it is read."""
        if self.around and name not in self.globals:
            if name in self.env and (name in self.locals or name not in self.nonlocals):
                return self.env[name]
            code = self.around[-1]
            if code.env is not None and name in code.env:
                value = code.env[name]
                return replace(value, origins=value.origins | code.token)
            if name in self.locals:
                return NOBODY_KNOWS
        elif not self.around and name in self.env:
            value = self.env[name]
            keeps = value.kind in (kinds.PLAIN, kinds.MODULE)
            return value if keeps else replace(value, origins=value.origins | {(self.owner.index, name)})
        return self.objects.value(name, END if self.around and self.is_late() else self.at)

    def is_late(self) -> bool:
        """Whether the code at hand is only looked at, not called from its statement."""
        return self.place is None

    def store(self, name: str, value: Value, node: Any) -> None:
        """Bind a name."""
        if self.around and name in self.globals:
            self.touch("sets", frozenset({("name", name)}), node, f"{name} =")
        elif self.around and name in self.nonlocals:
            self.touch("changes", self.around[-1].token, node, f"{name} =")
        else:
            known = self.env.get(name)
            self.env[name] = join([known, value]) if known is not None and self.branches else value

    def assign(self, target: Any, value: Value, source: Any = None) -> None:
        if isinstance(target, ast.Name):
            self.store(target.id, value, target)
        elif isinstance(target, (ast.Tuple, ast.List)):
            parts = source.elts if isinstance(source, (ast.Tuple, ast.List)) else ()
            if len(parts) == len(target.elts) and not any(isinstance(part, ast.Starred) for part in target.elts):
                for part, each in zip(target.elts, [self.eval(part) for part in parts], strict=True):
                    self.assign(part, each)
            else:
                for part in target.elts:
                    self.assign(part, _element(value))
        elif isinstance(target, ast.Starred):
            self.assign(target.value, Value(kinds.CONTAINER, NONE, value.all))
        else:
            self.write(target)
            root = path_of(target)[0]
            if root in self.env:
                self.env[root] = replace(self.env[root], held=self.env[root].held | value.all)
            if not self.around and root:
                self.out.stores[root] = self.out.stores.get(root, NONE) | value.all

    def write(self, target: Any) -> None:
        """An attribute or element is assigned or deleted."""
        value = self.eval(target.value)
        if isinstance(target, ast.Subscript):
            part = self.eval(target.slice)
            if value.kind == kinds.GLOBALS:
                self.touch("sets", frozenset({("name", part.text)} if part.text else {("text", "")}), target)
        self.touch("changes", value.origins, target)

    # statements

    def block(self, statements: Iterable[ast.stmt]) -> None:
        """What may run or not."""
        self.branches += 1
        for statement in statements:
            self.statement(statement)
        self.branches -= 1

    def statement(self, node: Any) -> None:
        kind = node.__class__
        if kind is ast.Expr:
            self.eval(node.value)
        elif kind is ast.Assign:
            is_split = isinstance(node.value, (ast.Tuple, ast.List)) and isinstance(
                node.targets[0], (ast.Tuple, ast.List)
            )
            value = NOBODY_KNOWS if is_split else self.eval(node.value)
            for target in node.targets:
                self.assign(target, value, node.value)
        elif kind is ast.AnnAssign:
            if node.value is not None:
                self.assign(node.target, self.eval(node.value))
        elif kind is ast.AugAssign:
            self.augmented(node)
        elif kind is ast.Delete:
            for target in node.targets:
                if isinstance(target, (ast.Attribute, ast.Subscript)):
                    self.write(target)
        elif kind in (ast.For, ast.AsyncFor):
            iterable = self.eval(node.iter)
            self.consume(iterable, node.iter)
            self.branches += 1
            self.assign(node.target, _element(iterable))
            self.branches -= 1
            self.block([*node.body, *node.orelse])
        elif kind in (ast.With, ast.AsyncWith):
            for item in node.items:
                value = self.eval(item.context_expr)
                if item.optional_vars is not None:
                    self.assign(item.optional_vars, value)
            for statement in node.body:
                self.statement(statement)
        elif kind in FUNCTIONS:
            defaults = [self.eval(part) for part in (*node.args.defaults, *node.args.kw_defaults) if part is not None]
            for decorator in node.decorator_list:
                self.eval(decorator)
            held = NONE.union(*(value.all for value in defaults)) if defaults else NONE
            self.store(node.name, replace(self.function(node), held=held), node)
        elif kind is ast.ClassDef:
            self.store(node.name, Value(kinds.FUNCTION, classes=() if self.around else (self.owner,)), node)
        elif kind is ast.Return:
            if node.value is not None:
                self.returns.append(self.eval(node.value))
        elif kind is ast.Global:
            self.globals.update(node.names)
        elif kind is ast.Nonlocal:
            self.nonlocals.update(node.names)
        elif kind in (ast.Import, ast.ImportFrom):
            for alias in node.names:
                dotted = alias.name if kind is ast.Import else f"{node.module or ''}.{alias.name}"
                name = alias.asname or alias.name.partition(".")[0]
                self.store(
                    name, Value(kinds.MODULE, text=dotted if alias.asname or kind is ast.ImportFrom else name), node
                )
        else:
            self.parts(node)

    def parts(self, node: Any) -> None:
        """An `if`, `while`, `try`, `match` or the like: whatever is in it may run."""
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.stmt):
                self.block([child])
            elif isinstance(child, ast.expr):
                self.eval(child)
            else:
                self.parts(child)

    def augmented(self, node: ast.AugAssign) -> None:
        added = self.eval(node.value)
        if not isinstance(node.target, ast.Name):
            self.write(node.target)
            return
        name = node.target.id
        value = self.lookup(name)
        if value.kind not in (kinds.PLAIN, kinds.POLARS, kinds.MODULE):
            self.touch("changes" if value.kind != kinds.UNKNOWN else "may change", value.origins, node, f"{name} +=")
        self.store(name, replace(value, held=value.held | added.all) if added.kind != kinds.PLAIN else value, node)

    # expressions

    def eval(self, node: Any) -> Value:
        """What an expression may give."""
        kind = node.__class__
        if kind is ast.Name:
            return self.lookup(node.id)
        if kind is ast.Constant:
            return Value(kinds.PLAIN, text=node.value) if isinstance(node.value, str) else PLAIN
        if kind is ast.Call:
            return self.called(node)
        if kind is ast.Attribute:
            return self.attribute(self.eval(node.value), node.attr)
        if kind is ast.Subscript:
            return self.subscript(node)
        if kind in (ast.List, ast.Tuple, ast.Set, ast.Dict):
            found = [self.eval(child) for child in ast.iter_child_nodes(node) if isinstance(child, ast.expr)]
            held = NONE.union(*(value.all for value in found)) if found else NONE
            code = tuple(code for value in found for code in value.code)
            return Value(kinds.CONTAINER, NONE, held, code=code)
        if kind in (ast.BinOp, ast.Compare, ast.UnaryOp, ast.BoolOp, ast.IfExp):
            return self.combined(node, kind)
        if kind is ast.Lambda:
            return self.function(node)
        if kind in (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp):
            return self.comprehension(node)
        if kind is ast.NamedExpr:
            value = self.eval(node.value)
            self.assign(node.target, value)
            return value
        if kind in (ast.Await, ast.Starred, ast.YieldFrom):
            value = self.eval(node.value)
            self.returns.extend([value] if kind is ast.YieldFrom else [])
            return value
        if kind is ast.Yield:
            self.returns.append(self.eval(node.value) if node.value is not None else PLAIN)
            return NOBODY_KNOWS
        for child in ast.iter_child_nodes(node):  # f-strings, slices
            self.eval(child)
        return PLAIN

    def combined(self, node: Any, kind: type) -> Value:
        found = [self.eval(child) for child in ast.iter_child_nodes(node) if isinstance(child, ast.expr)]
        if kind in (ast.BoolOp, ast.IfExp):
            return join(found[1:] if kind is ast.IfExp else found)
        if all(value.kind == kinds.PLAIN for value in found):
            return PLAIN
        for wanted in (kinds.POLARS, kinds.FRAME, kinds.ARRAY):
            if any(value.kind == wanted for value in found):
                return Value(wanted)
        if any(value.kind == kinds.CONTAINER for value in found):
            return Value(kinds.CONTAINER, NONE, NONE.union(*(value.held for value in found)))
        return NOBODY_KNOWS

    def attribute(self, value: Value, name: str) -> Value:
        if value.kind == kinds.MODULE:
            return Value(kinds.MODULE, text=f"{value.text}.{name}")
        if value.kind == kinds.FRAME:
            return Value(kinds.ARRAY if name == "values" else kinds.FRAME, value.all)
        if value.kind in (kinds.PLAIN, kinds.POLARS):
            return Value(value.kind)
        if value.kind == kinds.ARRAY:
            return value
        return Value(kinds.UNKNOWN, value.all, value.held, code=() if value.is_instance else value.code, bound=(name,))

    def subscript(self, node: ast.Subscript) -> Value:
        value = self.eval(node.value)
        self.eval(node.slice)
        if value.kind == kinds.DEFAULTS and isinstance(node.ctx, ast.Load):
            self.touch("may change", value.origins, node)
        if value.kind in (kinds.FRAME, kinds.ARRAY):
            is_copy = isinstance(node.slice, (ast.Compare, ast.BinOp, ast.List, ast.UnaryOp))
            return Value(value.kind, NONE if is_copy and not _is_number(node.slice) else value.all)
        if value.kind in (kinds.POLARS, kinds.PLAIN):
            return Value(value.kind)
        if value.kind == kinds.MODULE:
            return value
        if value.kind == kinds.CONTAINER and isinstance(node.slice, ast.Slice):
            return Value(kinds.CONTAINER, NONE, value.held)
        return replace(_element(value), code=value.code)

    def comprehension(self, node: Any) -> Value:
        known = dict(self.env)
        before = len(self.out.touches)
        is_lazy = isinstance(node, ast.GeneratorExp)
        iterables = []
        for generator in node.generators:
            iterable = self.eval(generator.iter)
            iterables.append(iterable)
            if not is_lazy:
                self.consume(iterable, generator.iter)
            self._bind_loop(generator.target, iterable)
            for test in generator.ifs:
                self.eval(test)
        found = (
            [self.eval(node.key), self.eval(node.value)] if isinstance(node, ast.DictComp) else [self.eval(node.elt)]
        )
        self.env.clear()
        self.env.update(known)
        held = NONE.union(*(value.all for value in found))
        return self.lazy(before, iterables, held) if is_lazy else Value(kinds.CONTAINER, NONE, held)

    def _bind_loop(self, target: ast.expr, iterable: Value) -> None:
        for part in ast.walk(target):
            if isinstance(part, ast.Name):
                self.env[part.id] = _element(iterable)
                self.locals.add(part.id)

    def function(self, node: Any) -> Value:
        """A function made here: what it shares with its surroundings has a token."""
        if not self.around:
            return Value(kinds.FUNCTION, code=(Code(self.owner, node),))
        token = frozenset({(self.at, "")}) | self.around[-1].token
        return Value(kinds.FUNCTION, token, code=(Code(self.owner, node, self.env, token),))

    # calls

    def called(self, node: ast.Call) -> Value:
        """What a call gives, with what it does noted."""
        arguments = [self.eval(argument) for argument in node.args]
        keywords = {keyword.arg or "**": self.eval(keyword.value) for keyword in node.keywords}
        if "out" in keywords:
            self.touch("changes", keywords["out"].origins, node)
        function = node.func
        if isinstance(function, ast.Name) and function.id == "build" and not self.around:
            return NOBODY_KNOWS  # a flow of its own, which runs what it needs afresh
        if isinstance(function, ast.Attribute):
            base = self.eval(function.value)
            if base.kind != kinds.MODULE:
                return self.method(node, base, function.attr, arguments, keywords)
            callee = self.attribute(base, function.attr)
        else:
            callee = self.eval(function)
        if callee.kind == kinds.MODULE:
            return self.imported(node, callee.text, arguments, keywords)
        if callee.classes or callee.code:
            return self.own(node, callee, arguments, keywords)
        self.hand_over(node, arguments, keywords)
        for value in (*arguments, *keywords.values()):
            self.consume(value, node, surely=False)
        self.touch("may change", callee.all, node)
        return Value(kinds.UNKNOWN, NONE, callee.all.union(*(value.all for value in arguments)))

    def own(self, node: ast.Call, callee: Value, arguments: list[Value], keywords: dict[str, Value]) -> Value:
        """A call of a function or class of the notebook."""
        outer, self.place = self.place, self.place or (node.lineno, _shown(node))
        if callee.classes and not callee.is_instance:
            given = NONE.union(*(value.exposed for value in (*arguments, *keywords.values())))
            me = Value(kinds.UNKNOWN, NONE, NONE, classes=callee.classes, is_instance=True)
            for name in ("__new__", "__init__", "__post_init__"):
                for code in self.methods(callee.classes, name, me):
                    self.call(code, arguments, keywords)
            handed = tuple(code for value in (*arguments, *keywords.values()) for code in value.code)
            found = replace(me, held=given, code=handed)
        else:
            found = join([self.call(code, arguments, keywords, callee.held) for code in callee.code])
        self.place = outer
        return found

    def call(
        self, code: Code, arguments: Sequence[Value], keywords: Mapping[str, Value], defaults: frozenset[Origin] = NONE
    ) -> Value:
        """Run a function with what it is given."""
        given = NONE.union(*(value.exposed for value in (*arguments, *keywords.values())))
        if len(self.around) >= _DEEPEST or any(other.node is code.node for other in self.around):
            if self.place:
                self.touch("may change", given, code.node)
            return Value(kinds.UNKNOWN, NONE, given)
        known = (self.env, self.globals, self.nonlocals, self.locals, self.returns, self.branches)
        node = code.node
        before = len(self.out.touches)
        self.env, self.globals, self.nonlocals, self.returns, self.branches = {}, set(), set(), [], 0
        self._bind_parameters(code, arguments, keywords, defaults)
        self.locals = set(self.env)
        self.around.append(code)
        if isinstance(node, ast.Lambda):
            self.returns.append(self.eval(node.body))
        else:
            for part in node.body:
                if isinstance(part, (ast.Global, ast.Nonlocal)):
                    self.statement(part)
            for part in node.body:
                self.statement(part)
        self.around.pop()
        found = join(self.returns) if self.returns else PLAIN
        self.env, self.globals, self.nonlocals, self.locals, self.returns, self.branches = known
        if not isinstance(node, ast.Lambda) and _is_generator(node):
            return self.lazy(before, [*arguments, *keywords.values()], found.all)
        return found

    def _bind_parameters(
        self, code: Code, arguments: Sequence[Value], keywords: Mapping[str, Value], defaults: frozenset[Origin]
    ) -> None:
        args = code.node.args
        names = [parameter.arg for parameter in (*args.posonlyargs, *args.args)]
        values = [code.me, *arguments] if code.me is not None else list(arguments)
        own = frozenset({(code.owner.index, getattr(code.owner.node, "name", ""))}) | code.token | defaults
        fallback: dict[str, Any] = dict(zip(reversed(names), reversed(args.defaults), strict=False))
        fallback |= {a.arg: d for a, d in zip(args.kwonlyargs, args.kw_defaults, strict=True) if d is not None}
        for name in (*names, *(parameter.arg for parameter in args.kwonlyargs)):
            default = fallback.get(name)
            is_lasting = default is not None and not isinstance(default, (ast.Constant, ast.UnaryOp, ast.Lambda))
            self.env[name] = Value(kinds.UNKNOWN, own) if is_lasting else PLAIN if default is not None else NOBODY_KNOWS
        for name, value in zip(names, values, strict=False):
            self.env[name] = value
        rest = values[len(names) :]
        if args.vararg:
            self.env[args.vararg.arg] = Value(kinds.CONTAINER, NONE, NONE.union(*(value.all for value in rest)))
        spare = []
        for name, value in keywords.items():
            if name in self.env:
                self.env[name] = value
            else:
                spare.append(value)
        if args.kwarg:
            self.env[args.kwarg.arg] = Value(kinds.CONTAINER, NONE, NONE.union(*(value.all for value in spare)))

    def methods(self, classes: Sequence[Statement], name: str, me: Value) -> Iterator[Code]:
        """The code of a method in the notebook's classes."""
        waiting = list(classes)
        for owner in waiting:
            found = [part for part in owner.node.body if isinstance(part, FUNCTIONS) and part.name == name]  # type: ignore[attr-defined]
            if found:
                makers = {path_of(maker)[-1] for maker in found[-1].decorator_list}
                yield Code(owner, found[-1], me=None if "staticmethod" in makers else me)
                continue
            for base in owner.node.bases:  # type: ignore[attr-defined]
                value = self.objects.value(path_of(base)[0], owner.index) if len(path_of(base)) == 1 else NOBODY_KNOWS
                waiting += [other for other in value.classes if other not in waiting]

    def hand_over(self, node: ast.Call, arguments: Iterable[Value], keywords: Mapping[str, Value]) -> None:
        """Functions that are handed over are probably called, with parts of what else is handed over."""
        values = [*arguments, *keywords.values()]
        codes = [code for value in values for code in value.code]
        is_mapping = path_of(node.func)[-1] in ("map", "filter", "apply", "starmap", "submit")
        for place, value in enumerate(values):
            is_called = kinds.may_be_called(value.bound, is_surely=is_mapping and place == 0)
            self.touch("may change", value.all if is_called else NONE, node)
        if not codes:
            return
        others = join([_element(value) for value in values if not value.code] or [NOBODY_KNOWS])
        outer, self.place = self.place, self.place or (node.lineno, _shown(node))
        for code in codes:
            self.call(code, [others] * len(code.node.args.args), {})
        self.place = outer

    def imported(self, node: ast.Call, dotted: str, arguments: list[Value], keywords: dict[str, Value]) -> Value:
        """A call of an imported or built-in function."""
        values = [*arguments, *keywords.values()]
        given = NONE.union(*(value.exposed for value in values))
        first = arguments[0] if arguments else NOBODY_KNOWS
        before = len(self.out.touches)
        self.hand_over(node, arguments, keywords)
        if stream := kinds.draws_from(dotted, set(keywords)):
            self.touch("draws from", frozenset({("stream", stream)}), node)
        if seeded := kinds.seeds(dotted):
            self.out.seeds.add(seeded)
        if kinds.changes_argument(dotted) or dotted in ("setattr", "delattr"):
            self.touch("changes", first.origins, node)
        elif dotted in ("exec", "eval", "compile"):
            words = frozenset({("text", first.text)})
            self.touch("may change" if dotted != "exec" else "sets", words if dotted == "exec" else NONE, node)
        elif not kinds.leaves_arguments_alone(dotted) and "." in dotted and not dotted.rpartition(".")[2][:1].isupper():
            risky = [value for value in values if value.kind not in (kinds.PLAIN, kinds.POLARS, kinds.FUNCTION)]
            self.touch("may change", NONE.union(*(value.all for value in risky)), node)
        self.written(node, dotted, first, arguments, keywords)
        kind = kinds.made_by(dotted)
        if kind == kinds.ITERATOR:
            return self.lazy(before, values, given)
        if "." in dotted or kinds.iterates(dotted):
            for value in values:
                self.consume(value, node, surely="." not in dotted)
        if dotted in ("min", "max", "next", "getattr", "copy.copy", "functools.partial", "sum"):
            return replace(_element(first), origins=first.all, code=first.code)
        how = kinds.shares_arguments(dotted)
        if how == "view":
            return Value(kinds.ARRAY, first.all)
        code = tuple(code for value in values for code in value.code) if kind == kinds.UNKNOWN else ()
        return Value(kind, NONE, given if how == "parts" else NONE, code=code)

    def written(
        self, node: ast.Call, name: str, first: Value, arguments: Sequence[Value], keywords: Mapping[str, Value]
    ) -> None:
        """Note the file that a call writes."""
        last = name.rpartition(".")[2]
        texts = [value.text for value in (*arguments, *keywords.values()) if value.text and value.kind == kinds.PLAIN]
        if last == "open":
            mode = keywords.get("mode") or (arguments[1] if len(arguments) > 1 else PLAIN)
            writes = not set(mode.text).isdisjoint("wax+")
        else:
            writes = last.startswith(("to_", "write_", "sink_")) or last in _WRITERS
        if writes and texts:
            self.touch("writes", frozenset({("file", texts[0])}), node)

    def method(
        self, node: ast.Call, base: Value, name: str, arguments: list[Value], keywords: dict[str, Value]
    ) -> Value:
        """A call of a method."""
        values = [*arguments, *keywords.values()]
        self.hand_over(node, arguments, keywords)
        for value in values if not base.classes else ():
            self.consume(value, node, surely=name == "join")
        if base.classes:
            codes = list(self.methods(base.classes, name, base))
            if codes:
                outer, self.place = self.place, self.place or (node.lineno, _shown(node))
                found = join([self.call(code, arguments, keywords) for code in codes])
                self.place = outer
                return found
        is_inplace = any(
            keyword.arg in ("inplace", "in_place") and not _is_false(keyword.value) for keyword in node.keywords
        )
        changes = True if is_inplace else kinds.changes_itself(base.kind, name, first_text(node), bool(node.args))
        if base.kind == kinds.ITERATOR and changes:
            self.touch("uses up", base.origins, node)
        elif base.kind == kinds.STREAM and changes:
            self.touch("draws from", base.origins, node)
        elif changes is not False:
            reach = base.origins if changes else base.all
            self.touch("changes" if changes else "may change", reach, node)
        if base.kind == kinds.STREAM and name == "shuffle" and arguments:
            self.touch("changes", arguments[0].origins, node)
        if name == "to_sql":
            self.touch("changes", NONE.union(*(value.origins for value in values)), node)
        if name == "sample" and base.kind == kinds.FRAME and "random_state" not in keywords:
            self.touch("draws from", frozenset({("stream", "numpy.random")}), node)
        if name in ("sample", "shuffle") and base.kind == kinds.POLARS and "seed" not in keywords:
            self.touch("draws from", frozenset({("stream", "polars")}), node)
        self.written(node, name, base, [*arguments, *([base] if base.text else [])], keywords)
        if base.kind in (kinds.CONTAINER, kinds.DEFAULTS) and name in ("append", "extend", "add", "update", "insert"):
            root = path_of(node.func)[0]
            given = NONE.union(*(value.all for value in values)) if values else NONE
            if root in self.env:
                self.env[root] = replace(self.env[root], held=self.env[root].held | given)
            if not self.around and root:
                self.out.stores[root] = self.out.stores.get(root, NONE) | given
        if base.kind == kinds.STREAM and name in ("sample", "choice", "choices"):
            return Value(kinds.UNKNOWN, NONE, NONE.union(*(value.all for value in values)))
        kind, shares = kinds.result_of(base.kind, name)
        if not shares:
            return Value(kind, text=base.text if kind == kinds.PLAIN else "")
        if kind in (kinds.ESTIMATOR, kinds.FRAME, kinds.ARRAY):
            return Value(kind, base.origins, base.held)
        return Value(kind, NONE, base.all.union(*(value.all for value in values)))


def _element(value: Value) -> Value:
    """What a part of a value may be."""
    if value.kind in (kinds.FRAME, kinds.ARRAY):
        return Value(value.kind, value.origins)
    if value.kind in (kinds.PLAIN, kinds.POLARS):
        return Value(value.kind)
    if value.kind in (kinds.CONTAINER, kinds.ITERATOR, kinds.DEFAULTS):
        return Value(kinds.UNKNOWN, value.all, value.held, code=value.code, classes=value.classes)
    return Value(kinds.UNKNOWN, value.all, value.held, code=value.code)


def _shown(node: Any) -> str:
    if isinstance(node, ast.Call):
        return f"{effects.dotted(path_of(node.func))}(...)"
    if isinstance(node, (ast.Attribute, ast.Subscript)):
        return f"{effects.dotted(path_of(node))} ="
    return effects.dotted(path_of(node)) if isinstance(node, ast.expr) else type(node).__name__.lower()


def _is_generator(node: Any) -> bool:
    return any(isinstance(part, (ast.Yield, ast.YieldFrom)) for part in ast.walk(node))


def _is_false(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and not node.value


def _is_number(node: ast.expr) -> bool:
    return isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub)
