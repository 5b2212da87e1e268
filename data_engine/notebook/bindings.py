"""What names mean and objects hold while a statement is followed: bound, stored, changed and used up, without executing anything."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any

from data_engine.notebook import effects, kinds
from data_engine.notebook.shapes import path_of, says_in_place
from data_engine.notebook.statements import END, Statement
from data_engine.notebook.values import NOBODY_KNOWS, NONE, PLAIN, Code, Origin, Outcome, Touch, Value, element, join


class Bindings:
    """Follows one statement; what its calls do is told by `called`."""

    def __init__(
        self,
        value_of: Callable[[str, int], Value],
        kind_of: Callable[[Origin], str],
        plain_kind: Callable[[str], str],
        statement: Statement,
        out: Outcome,
    ) -> None:
        self.value_of = value_of
        self.kind_of = kind_of
        self.plain_kind = plain_kind
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
        self.undoing = 0  # inside a `with` that takes its set-up back
        self.place: tuple[int, str] | None = None  # the call in the statement that led here

    # touches

    def touch(self, verb: str, origins: frozenset[Origin], node: Any, text: str = "") -> None:
        """Note that objects may be changed."""
        if origins:
            line, call = self.place or (node.lineno, text or shown(node))
            self.out.touches.setdefault(Touch(verb, origins, line, call))

    def consume(self, value: Value, node: Any, *, surely: bool = True) -> None:
        """Note that a value is read to its end (`surely`), or handed to what may read or draw from it."""
        if value.kind == kinds.ITERATOR:
            self.touch("uses up", value.origins, node)
        elif value.is_instance:
            self.special(value, ("__iter__", "__next__"), node)
        elif surely and (value.kind == kinds.RELATION or (value.kind == kinds.UNKNOWN and value.may_run_out)):
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
        return self.value_of(name, END if self.around and self.is_late() else self.at)

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
            if value.text != kinds.FIXED and (value.part or value.places) and not self.is_written_once():
                value = value.mixed
            self.env[name] = join([known, value]) if known is not None and self.branches else value

    def is_written_once(self) -> bool:
        """Whether a container written here stays as it is within the statement."""
        return not self.around and isinstance(self.owner.node, (ast.Assign, ast.AnnAssign))

    def assign(self, target: Any, value: Value, source: Any = None) -> None:
        if isinstance(target, ast.Name):
            self.store(target.id, value, target)
        elif isinstance(target, (ast.Tuple, ast.List)):
            self._unpack(target, value, source)
        elif isinstance(target, ast.Starred):
            self.assign(target.value, Value(kinds.CONTAINER, NONE, value.all))
        else:
            into = self.eval(target.value)
            self.write(target, value)
            if isinstance(target, ast.Subscript) and isinstance(target.slice, ast.Slice):
                self.consume(value, target, surely=False)
            if not (isinstance(target, ast.Subscript) and into.kind == kinds.FRAME):  # it takes a copy of a column
                asks = isinstance(target, ast.Subscript) and says_in_place(target.slice, source)
                held = value.all | {kinds.IN_PLACE} if asks else value.all
                self.put_in(path_of(target)[0], into, held)

    def _unpack(self, target: ast.Tuple | ast.List, value: Value, source: Any) -> None:
        """Bind each of several targets: to its own part of what is written there, or to any part of what nobody knows."""
        parts = source.elts if isinstance(source, (ast.Tuple, ast.List)) else ()
        if len(parts) == len(target.elts) and not _has_star(target):
            for part, each in zip(target.elts, [self.eval(part) for part in parts], strict=True):
                self.assign(part, each)
        elif len(value.places) == len(target.elts) and value.text == kinds.FIXED and not _has_star(target):
            for part, each in zip(target.elts, value.places, strict=True):
                is_new = each.kind in (kinds.PLAIN, kinds.POLARS, kinds.MODULE)
                self.assign(part, each if is_new else replace(each, origins=each.origins | value.origins))
        else:
            self.consume(value, target, surely=False)
            for part in target.elts:
                drawn = self._drawn_in(target) if value.kind == kinds.PLOT and part is target.elts[0] else NONE
                each = element(value)
                self.assign(part, replace(each, origins=each.origins | drawn) if drawn else each)

    def _drawn_in(self, target: ast.Tuple | ast.List) -> frozenset[Origin]:
        """What is part of the first of several charts: the axes of a figure, as `fig, ax = plt.subplots()` gives them."""
        names = (part.id for each in target.elts[1:] for part in ast.walk(each) if isinstance(part, ast.Name))
        return NONE if self.around else frozenset((self.owner.index, name) for name in names)

    def put_in(self, root: str, into: Value, origins: frozenset[Origin]) -> None:
        """Note that an object, and so what the name `root` leads to, holds these from now on."""
        if root in self.env:
            self.env[root] = replace(self.env[root].mixed, held=self.env[root].held | origins)
        self.store_in(into.all if into.kind == kinds.UNKNOWN else into.origins, origins)

    def store_in(self, into: frozenset[Origin], origins: frozenset[Origin]) -> None:
        """Note that objects may hold these from now on."""
        if into and origins:
            self.out.stores.append((into, origins))

    def write(self, target: Any, new: Value = NOBODY_KNOWS) -> None:
        """An attribute or element is assigned or deleted."""
        value = self.eval(target.value)
        if isinstance(target, ast.Subscript):
            part = self.eval(target.slice)
            if value.kind == kinds.GLOBALS:
                self.touch("sets", named(part.text), target)
            self.special(value, ("__setitem__",), target, [part, new])
        else:
            self.special(value, ("__setattr__",), target, [PLAIN, new])
            self.special(value, (target.attr,), target, [new], maker="setter")
            if (described := self.of_class(value, target.attr)) is not None:
                self.special(described, ("__set__",), target, [value, new])
            if value.kind == kinds.MODULE and value.text == "sys.modules":
                self.touch("sets", named(target.attr), target)
            setting = f"{value.text}.{target.attr} ="
            if value.kind == kinds.MODULE and self.around and not self.undoing and effects.is_setup(setting):
                self.touch("sets up the process", frozenset({("process", setting.removesuffix(" ="))}), target)
        if value.kind != kinds.CELL:  # a row is a copy
            self.touch("changes", itself(value) if isinstance(target, ast.Subscript) else value.origins, target)

    def special(
        self, value: Value, names: Iterable[str], node: Any, arguments: Sequence[Value] = (), maker: str = ""
    ) -> Value | None:
        """What syntax runs in the notebook's own classes, such as `__getitem__`; None where it runs nothing of them."""
        raise NotImplementedError

    def of_class(self, value: Value, name: str) -> Value | None:
        """The object of the notebook's classes that the class of an object holds under this name, None for none."""
        raise NotImplementedError

    def decorated(self, decorator: ast.expr, value: Value) -> Value:
        """What a decorator makes of a function."""
        raise NotImplementedError

    def eval(self, node: Any) -> Value:
        """What an expression may give."""
        raise NotImplementedError


def _has_star(target: ast.Tuple | ast.List) -> bool:
    return any(isinstance(part, ast.Starred) for part in target.elts)


def shown(node: Any, *, is_read: bool = False) -> str:
    if isinstance(node, ast.Call):
        return f"{effects.dotted(path_of(node.func))}(...)"
    if isinstance(node, (ast.Attribute, ast.Subscript)):
        return effects.dotted(path_of(node)) + ("" if is_read and isinstance(node.ctx, ast.Load) else " =")
    if isinstance(node, ast.expr):
        return effects.dotted(path_of(node)) or ast.unparse(node)[:40]
    return type(node).__name__.lower()


def module_of(dotted: str) -> frozenset[Origin]:
    """What stands for the modules of the package that a dotted name begins with."""
    return frozenset({("module", dotted.partition(".")[0])})


def itself(value: Value) -> frozenset[Origin]:
    """What stands for an object: for one that another module of the user's holds, that module."""
    is_held = value.kind == kinds.MODULE and "." in value.text and not kinds.is_known_package(value.text)
    return module_of(value.text) if is_held else value.origins


def at_risk(value: Value) -> frozenset[Origin]:
    """What a function that nobody knows may change of what it is given; of an imported module its attributes."""
    if value.kind == kinds.MODULE and "." not in value.text:
        return module_of(value.text)
    return NONE if value.kind in (kinds.PLAIN, kinds.POLARS, kinds.FUNCTION) else value.all


def named(text: str) -> frozenset[Origin]:
    """The name that is set under a text, which may be any where nobody knows it."""
    return frozenset({("name", text)} if text and "*" not in text else {("text", "")})
