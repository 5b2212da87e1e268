"""The effects of calling the notebook's own functions and classes, from their bodies and those they call.

`reg("a")` runs the body of `reg`; `Check("a")` runs the constructor of a class, `checks.add("a")` a method of it after
`checks = Checks()`, and `class Positive(Check)` the hooks of a base.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from data_engine.notebook.analysis import SQL_CALLS, analyse, parameters_of
from data_engine.notebook.names import CALL, CHANGE, MUTATE, Names, Path, names_in, path_of
from data_engine.notebook.statements import END, FUNCTIONS, Statement, Statements, is_same_object

_CONSTRUCTORS = ("__new__", "__init__", "__post_init__", "__set_name__")
_CALL_ITSELF = ("()",)
_DEEPEST = 10


@dataclass(frozen=True, slots=True, eq=False)
class FunctionBody:
    """One function, lambda or method. `owner` is the statement that defines it, `rest` its `*args`, `me` a method's own object, which is
    not among the `positional`; or ""."""

    owner: Statement
    names: Names
    parameters: tuple[str, ...]
    positional: tuple[str, ...]
    rest: str = ""
    me: str = ""
    is_constructor: bool = False


@dataclass(slots=True)
class BodyEffects:
    """The effects of a body, by itself and through others, on module-level names and on its parameters, as flags; `sql` are the
    parameters whose text reaches `sql` or the like."""

    names: dict[str, int] = field(default_factory=dict)
    parameters: dict[str, int] = field(default_factory=dict)
    sql: set[str] = field(default_factory=set)


class CallGraph:
    """The notebook's own functions and methods, looked up when a call of theirs is met."""

    def __init__(self, statements: Statements) -> None:
        self.statements = statements
        self.own = self._own_names()
        self._bodies: dict[int, FunctionBody] = {}
        self._effects: dict[int, BodyEffects] = {}

    def called(self, path: Path, at: int, depth: int = 0) -> Iterator[FunctionBody]:
        """The bodies that a call of `path` runs at statement `at`; the path ends with "()"."""
        if path[0] not in self.own or depth > _DEEPEST:
            return
        rest = path[1:]
        for owner in self.statements.reaching(path[0], at)[0]:
            node = owner.node
            if isinstance(node, FUNCTIONS):
                if not set(rest) - {"()"}:  # also what a function returns: it may be one of its own inner functions
                    yield self._body(owner, node)
            elif isinstance(node, ast.ClassDef):
                yield from self._called_on(owner, rest)
            elif (value := _lambda_of(node)) is not None:
                if rest == _CALL_ITSELF:
                    yield self._body(owner, value)
            elif alias := owner.names.aliases.get(path[0]):
                yield from self.called((*alias, *rest), owner.index, depth + 1)

    def hooks(self, base: Path, at: int, *, is_metaclass: bool) -> Iterator[FunctionBody]:
        """The bodies that run when a class is made with this base or metaclass."""
        for owner in self._classes(base, at):
            if is_metaclass:
                yield from self._methods(owner, ("__prepare__", "__new__", "__init__"))
                continue
            yield from self._methods(owner, ("__init_subclass__",))
            for ancestor in self._family(owner):
                for keyword in ancestor.node.keywords:  # type: ignore[attr-defined]
                    if keyword.arg == "metaclass":
                        yield from self.hooks(path_of(keyword.value), ancestor.index, is_metaclass=True)

    def effects_of(self, body: FunctionBody) -> BodyEffects:
        """The effects of running a body."""
        key = id(body.names)
        if key in self._effects:
            return self._effects[key]
        names = body.names
        effects = self._effects[key] = BodyEffects()  # a body that calls itself finds what is known so far
        for name, flags in names.later.items():
            if flags & (CHANGE | MUTATE):
                effects.names[name] = flags & (CHANGE | MUTATE)
            if flags & CALL and (whole := self.statements.bound_method(name, END)):
                effects.names[whole] = effects.names.get(whole, 0) | MUTATE
        effects.parameters.update({name: names.changed_parameters.get(name, 0) for name in body.parameters})
        for call in names.inner_calls:
            path = path_of(call)
            if len(path) > 1 and path[-2] in SQL_CALLS:
                first = call.args[:1] or [keyword.value for keyword in call.keywords]
                effects.sql |= set(body.parameters).intersection(name for value in first for name in names_in(value))
            of_me = body.me and path[0] == body.me
            called = self._called_on(body.owner, path[1:]) if of_me else self.called(path, END)
            for callee in called if of_me or path[0] in names.later else ():
                self._add(effects, body, call, callee)
        return effects

    def arguments_for(self, call: ast.Call, body: FunctionBody, parameter: str) -> Iterator[ast.expr]:
        """The arguments of a call for a parameter of the body that it runs."""
        for place, value in enumerate(call.args):
            if parameter == (body.positional[place] if place < len(body.positional) else body.rest):
                yield value
        for keyword in call.keywords:
            if keyword.arg == parameter:
                yield keyword.value

    def changed_by(self, call: ast.Call, path: Path, body: FunctionBody) -> Iterator[tuple[str, int]]:
        """The names whose objects a call changes, as its own object or as arguments, with the flags."""
        for parameter, flags in self.effects_of(body).parameters.items():
            if not flags:
                continue
            if parameter == body.me and not body.is_constructor:
                yield path[0], CHANGE
            for value in self.arguments_for(call, body, parameter):
                argument = path_of(value)
                if is_same_object(argument):
                    yield argument[0], flags

    def sql_in(self, statement: Statement) -> Iterator[tuple[ast.expr, int]]:
        """The arguments of a statement for parameters that reach `sql` or the like, and where the names in them are looked up."""
        calls = [(path, call, statement.index) for path, call, _ in statement.names.calls]
        calls += [(path_of(call), call, END) for call in statement.names.inner_calls]
        for path, call, at in calls:
            if isinstance(statement.node, ast.ClassDef) and path[0] in ("self", "cls"):
                bodies = self._called_on(statement, path[1:])
            else:
                bodies = self.called(path, at)
            for body in bodies:
                for parameter in sorted(self.effects_of(body).sql):
                    for value in self.arguments_for(call, body, parameter):
                        yield value, at

    # finding bodies

    def _own_names(self) -> frozenset[str]:
        """The names that may lead to a body: definitions but build(), lambdas, and what is made from them."""
        own: set[str] = set()
        for statement in self.statements.all:
            if statement.is_skipped:
                continue
            if isinstance(statement.node, (*FUNCTIONS, ast.ClassDef)) or _lambda_of(statement.node) is not None:
                own.update(statement.names.binds)
            else:
                own.update(name for name, alias in statement.names.aliases.items() if alias[0] in own)
        return frozenset(own - {"build"})

    def _body(
        self, owner: Statement, node: ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda, me: bool = False
    ) -> FunctionBody:
        body = self._bodies.get(id(node))
        if body is None:
            arguments = node.args
            positional = tuple(parameter.arg for parameter in (*arguments.posonlyargs, *arguments.args))
            body = self._bodies[id(node)] = FunctionBody(
                owner,
                owner.names if node is owner.node or isinstance(node, ast.Lambda) else analyse(node),
                tuple(parameter.arg for parameter in parameters_of(arguments)),
                positional[1:] if me else positional,
                arguments.vararg.arg if arguments.vararg else "",
                positional[0] if me and positional else "",
                is_constructor=getattr(node, "name", "") in _CONSTRUCTORS,
            )
        return body

    def _called_on(self, owner: Statement, rest: Path) -> Iterator[FunctionBody]:
        """The bodies that `Class()`, `Class.method()`, `Class().method()` and `Class()()` run."""
        if rest == _CALL_ITSELF:
            yield from self._methods(owner, _CONSTRUCTORS)
        elif rest == ("()", "()"):
            yield from self._methods(owner, ("__call__",))
        else:
            method = rest[1:] if rest[:1] == _CALL_ITSELF else rest
            if len(method) == 2 and method[1] == "()":
                yield from self._methods(owner, method[:1])

    def _methods(self, owner: Statement, names: Iterable[str]) -> Iterator[FunctionBody]:
        rest = set(names)
        for ancestor in self._family(owner):
            for node in ancestor.node.body:  # type: ignore[attr-defined]
                if isinstance(node, FUNCTIONS) and node.name in rest:
                    rest.discard(node.name)
                    is_static = any(path_of(maker) == ("staticmethod",) for maker in node.decorator_list)
                    yield self._body(ancestor, node, me=not is_static)

    def _family(self, owner: Statement) -> list[Statement]:
        """The statement of a class, and those of its bases as far as the notebook defines them."""
        family = [owner]
        for statement in family:
            for base in statement.node.bases:  # type: ignore[attr-defined]
                family += [other for other in self._classes(path_of(base), statement.index) if other not in family]
        return family

    def _classes(self, path: Path, at: int) -> list[Statement]:
        owners = self.statements.reaching(path[0], at)[0] if path[1:] in ((), ("[]",)) else []
        return [owner for owner in owners if isinstance(owner.node, ast.ClassDef)]

    def _add(self, effects: BodyEffects, body: FunctionBody, call: ast.Call, callee: FunctionBody) -> None:
        """Add the effects of a call inside `body`: on module-level names, and on its own parameters."""
        inner = self.effects_of(callee)
        for name, flags in list(inner.names.items()):
            effects.names[name] = effects.names.get(name, 0) | flags
        if callee.me and callee.owner is body.owner and body.me:
            effects.parameters[body.me] |= inner.parameters.get(callee.me, 0)
        for parameter, flags in list(inner.parameters.items()):
            for value in self.arguments_for(call, callee, parameter) if flags else ():
                path = path_of(value)
                if not is_same_object(path):
                    continue
                into = effects.parameters if path[0] in body.parameters else effects.names
                if path[0] in body.parameters or path[0] in body.names.later:
                    into[path[0]] = into.get(path[0], 0) | flags
        for parameter in sorted(inner.sql):
            for value in self.arguments_for(call, callee, parameter):
                effects.sql |= names_in(value).intersection(body.parameters)


def _lambda_of(node: ast.stmt) -> ast.Lambda | None:
    value = node.value if isinstance(node, (ast.Assign, ast.AnnAssign)) else None
    return value if isinstance(value, ast.Lambda) else None
