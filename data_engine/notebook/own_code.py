"""Follows calls into the notebook's own functions and classes, also those that syntax makes: `with box`, `box[1]`, `@counted`.

A function is followed with what it is given, as deep as `_DEEPEST`; beyond, whatever it is given counts as changed.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

from data_engine.notebook import kinds
from data_engine.notebook.bindings import shown
from data_engine.notebook.following import Follower
from data_engine.notebook.shapes import is_container, is_false, path_of
from data_engine.notebook.statements import DEFINITIONS, FUNCTIONS
from data_engine.notebook.values import NOBODY_KNOWS, NONE, PLAIN, Code, Origin, OwnClass, Value, element, join

_DEEPEST = 6


@dataclass(frozen=True, slots=True, eq=False)
class Given:
    """A call with what it is given; `values` are all of it, by place or by name."""

    node: ast.Call
    arguments: list[Value]
    keywords: dict[str, Value]

    @property
    def values(self) -> list[Value]:
        """All of it, by place or by name."""
        return [*self.arguments, *self.keywords.values()]

    @property
    def texts(self) -> list[str]:
        """The texts that are given by place, "" where there is none or nobody knows it."""
        return [value.text if value.kind == kinds.PLAIN else "" for value in self.arguments]

    @property
    def named_texts(self) -> dict[str, str]:
        """The texts that are given by name."""
        return {name: value.text for name, value in self.keywords.items() if value.kind == kinds.PLAIN and value.text}

    @property
    def first(self) -> Value:
        """What stands first."""
        return self.arguments[0] if self.arguments else NOBODY_KNOWS

    @property
    def all(self) -> frozenset[Origin]:
        """What all of it may be or hold."""
        return NONE.union(*(value.all for value in self.values))

    @property
    def exposed(self) -> frozenset[Origin]:
        """What the function may change."""
        return NONE.union(*(value.exposed for value in self.values))

    @property
    def code(self) -> tuple[Code, ...]:
        """The functions of the notebook among it."""
        return tuple(code for value in self.values for code in value.code)

    @property
    def is_in_place(self) -> bool:
        """Whether it asks for the object itself to be changed, as `inplace=True` does."""
        spread = self.keywords.get("**")
        if spread is not None and spread.kind == kinds.CONTAINER and (spread.text or kinds.IN_PLACE in spread.held):
            return True
        return any(one.arg in ("inplace", "in_place") and not is_false(one.value) for one in self.node.keywords)

    @property
    def denied(self) -> set[str]:
        """The keywords that are given as `False`, or as nothing."""
        return {keyword.arg or "" for keyword in self.node.keywords if is_false(keyword.value)}


class OwnCode(Follower):
    """Runs functions, classes and special methods of the notebook."""

    @contextmanager
    def led_by(self, node: Any) -> Iterator[None]:
        """What is touched inside was led to by this call, or by the one that led to it."""
        outer, self.place = self.place, self.place or (node.lineno, shown(node, is_read=True))
        yield
        self.place = outer

    def own(self, callee: Value, given: Given) -> Value:
        """A call of a function, a class or an object of a class of the notebook."""
        with self.led_by(given.node):
            if callee.classes and not callee.is_instance:
                return self._instance(callee, given)
            codes = [*self.methods(callee, "__call__")] if callee.is_instance else []
            return join(
                [self.call(code, given.arguments, given.keywords, callee.held) for code in codes or callee.code]
            )

    def special(
        self, value: Value, names: Iterable[str], node: Any, arguments: Sequence[Value] = (), maker: str = ""
    ) -> Value | None:
        """What syntax runs in the notebook's own classes, such as `__getitem__`; None where it runs nothing of them."""
        if not value.is_instance:
            return None
        codes = [code for name in names for code in self.methods(value, name, maker)]
        if not codes:
            return None
        with self.led_by(node):
            return join([self.call(code, [*arguments], {}) for code in codes])

    def decorated(self, decorator: ast.expr, value: Value) -> Value:
        """What a decorator of the notebook makes of a function; any other gives a function that runs it."""
        callee = self.eval(decorator)
        if not (callee.code or callee.classes):
            maker = self.eval(decorator.func) if isinstance(decorator, ast.Call) else callee
            return self.cached(value) if kinds.keeps_results(maker.text) else value
        node = ast.copy_location(ast.Call(decorator, [], []), decorator)
        found = self.own(callee, Given(node, [value], {}))
        return found if found.code or found.is_instance else value

    def cached(self, value: Value) -> Value:
        """A function that keeps what it gave, as `functools.cache` makes it."""
        cache = frozenset({(code.owner.index, getattr(code.owner.node, "name", "")) for code in value.code})
        if not self.around and not isinstance(self.owner.node, DEFINITIONS):
            cache |= {(self.at, "")}
        codes = tuple(replace(code, cache=cache) for code in value.code)
        return replace(value, origins=value.origins | cache, code=codes)

    def _instance(self, callee: Value, given: Given) -> Value:
        classes = callee.classes
        me = Value(self._kind_of_class(classes), classes=classes, is_instance=True)
        known = NONE  # what gives an object that was made before
        for code in (*self._of_metaclass(callee), *self.methods(callee, "__new__")):
            is_static = code.me is None
            known |= self.call(
                code, [callee, *given.arguments] if is_static else given.arguments, given.keywords
            ).origins
        me = replace(me, origins=known)
        for name in ("__init__", "__post_init__"):
            for code in self.methods(me, name):
                self.call(code, given.arguments, given.keywords)
        return replace(me, held=given.exposed, code=given.code)

    def _of_metaclass(self, callee: Value) -> Iterator[Code]:
        for one in self._family(callee.classes):
            for keyword in one.node.keywords:
                if keyword.arg == "metaclass":
                    meta = self.value_of(path_of(keyword.value)[0], one.owner.index)
                    yield from self.methods(replace(callee, classes=meta.classes, is_instance=True), "__call__")

    def call(
        self, code: Code, arguments: Sequence[Value], keywords: Mapping[str, Value], defaults: frozenset[Origin] = NONE
    ) -> Value:
        """Run a function with what it is given."""
        arguments = [*code.before, *arguments]
        given = NONE.union(*(value.exposed for value in (*arguments, *keywords.values())))
        if len(self.around) >= _DEEPEST or any(other.node is code.node for other in self.around):
            if self.place:
                self.touch("may change", given, code.node)
            return Value(kinds.UNKNOWN, NONE, given)
        known = (self.env, self.globals, self.nonlocals, self.locals, self.returns, self.branches)
        node = code.node
        before = len(self.out.touches)
        self.env, self.globals, self.nonlocals, self.returns, self.branches = {}, set(), set(), [], 0
        self._bind_parameters(code, arguments, {**dict(code.named), **keywords}, defaults)
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
        if code.cache:
            found = self._kept(code, found)
        self.env, self.globals, self.nonlocals, self.locals, self.returns, self.branches = known
        if not isinstance(node, ast.Lambda) and _is_generator(node):
            return self.lazy(before, [*arguments, *keywords.values()], found.all)
        return found

    def _kept(self, code: Code, found: Value) -> Value:
        """What a function gives that keeps its results, and gives the same object again; calling it fills what it keeps."""
        place = code.cache | (code.me.origins if code.me is not None else NONE)
        if self.place:
            self.touch("fills the cache of", place, code.node)
        return found if found.kind in (kinds.PLAIN, kinds.POLARS) else replace(found, origins=found.origins | place)

    def _bind_parameters(
        self, code: Code, arguments: Sequence[Value], keywords: Mapping[str, Value], defaults: frozenset[Origin]
    ) -> None:
        args = code.node.args
        names = [parameter.arg for parameter in (*args.posonlyargs, *args.args)]
        values = [code.me, *arguments] if code.me is not None else list(arguments)
        own = frozenset({(code.owner.index, getattr(code.owner.node, "name", ""))}) | code.token | defaults
        fallback: dict[str, Any] = dict(zip(reversed(names), reversed(args.defaults), strict=False))
        fallback |= {a.arg: d for a, d in zip(args.kwonlyargs, args.kw_defaults, strict=True) if d is not None}
        spread = keywords.get("**")
        for name in (*names, *(parameter.arg for parameter in args.kwonlyargs)):
            default = fallback.get(name)
            is_lasting = default is not None and not isinstance(default, (ast.Constant, ast.UnaryOp, ast.Lambda))
            self.env[name] = Value(kinds.UNKNOWN, own) if is_lasting else PLAIN if default is not None else NOBODY_KNOWS
            if isinstance(default, ast.Name) and code.env is None:
                known = self.value_of(default.id, code.owner.index)
                self.env[name] = replace(known, origins=known.origins | own) if known.kind != kinds.MODULE else known
            if spread is not None:
                self.env[name] = element(spread)
        for name, value in zip(names, values, strict=False):
            self.env[name] = value
        rest = values[len(names) :]
        if args.vararg:
            self.env[args.vararg.arg] = _pack(rest)
        spare, spare_names = [], keywords.keys() - self.env.keys()
        for name, value in keywords.items():
            if name in self.env:
                self.env[name] = value
            else:
                spare.append(value)
        if args.kwarg:
            text = "inplace" if not spare_names.isdisjoint(("inplace", "in_place")) else ""
            self.env[args.kwarg.arg] = replace(_pack(spare), text=text)

    def _kind_of_class(self, classes: Sequence[OwnClass]) -> str:
        """The kind of what classes make, where they are made from one of a known package that learns."""
        bases = (self.eval(base) for one in classes for base in one.node.bases)
        found = {kinds.made_by(base.text) for base in bases if base.kind == kinds.MODULE}
        return next((kind for kind in sorted(found & kinds.TRAINED)), kinds.UNKNOWN)

    # classes

    def methods(self, value: Value, name: str, maker: str = "") -> Iterator[Code]:
        """The code of a method in the notebook's classes; `maker` is how its decorator's name ends, for a property."""
        waiting = list(value.classes)
        for one in waiting:
            owner, node = one
            found = [part for part in node.body if isinstance(part, FUNCTIONS) and part.name == name]
            found = [part for part in found if not maker or any(word.endswith(maker) for word in _makers(part))]
            if found:
                makers = _makers(found[-1])
                is_bound = "staticmethod" not in makers and (value.is_instance or "classmethod" in makers)
                for code in self._as_decorated(Code(owner, found[-1])):
                    yield replace(code, me=value if is_bound else None)
                continue
            waiting += [other for other in self._bases(one) if other not in waiting]

    def _as_decorated(self, code: Code) -> tuple[Code, ...]:
        """What the notebook's decorators make of a method; what they do themselves is done when the class is made."""
        known = dict(self.out.touches)
        value = Value(kinds.FUNCTION, code=(code,))
        for decorator in reversed(code.node.decorator_list):
            value = self.decorated(decorator, value)
        self.out.touches.clear()
        self.out.touches.update(known)
        return value.code or (code,)

    def _bases(self, one: OwnClass) -> list[OwnClass]:
        paths = (path_of(base) for base in one.node.bases)
        return [each for path in paths if len(path) == 1 for each in self.value_of(path[0], one.owner.index).classes]

    def _family(self, classes: Sequence[OwnClass]) -> list[OwnClass]:
        """Classes with those that they are made from, as far as the notebook defines them."""
        found = list(classes)
        for one in found:
            found += [other for other in self._bases(one) if other not in found]
        return found

    def class_of(self, value: Value) -> Value:
        """What `type(value)` gives."""
        origins = frozenset((owner.index, node.name) for owner, node in value.classes)
        return Value(kinds.FUNCTION, origins, classes=value.classes)

    def class_of_class(self, value: Value) -> Value:
        """What `type(Base)` gives: the metaclass, where the notebook defines it."""
        makers = (
            keyword
            for one in self._family(value.classes)
            for keyword in one.node.keywords
            if keyword.arg == "metaclass"
        )
        return join([self.eval(maker.value) for maker in makers])

    def parent(self) -> Value:
        """What `super()` gives: the object, as one of the classes that the one at hand is made from."""
        me = self.around[-1].me
        if me is None:
            return NOBODY_KNOWS
        here = [one for one in self._family(me.classes) if self.around[-1].node in one.node.body]
        return replace(me, classes=tuple(base for one in here for base in self._bases(one)))

    def attribute(self, value: Value, name: str) -> Value:
        """What an attribute may be; an object shares the lists that its class holds."""
        found = super().attribute(value, name)
        if not value.is_instance:
            return found
        if name == "__class__":
            return self.class_of(value)
        shared = {(one.owner.index, one.node.name) for one in self._family(value.classes) if _holds(one.node, name)}
        if (other := self.of_class(value, name)) is not None:
            return replace(other, origins=found.origins | other.origins)
        return replace(found, origins=found.origins | shared, code=value.code)

    def of_class(self, value: Value, name: str) -> Value | None:
        """The object of the notebook's classes that the class of an object holds under this name, None for none."""
        for one in self._family(value.classes) if value.is_instance else ():
            held = _held(one.node, name)
            made = path_of(held) if isinstance(held, ast.Call) else ()
            classes = self.value_of(made[0], one.owner.index).classes if len(made) == 2 else ()
            if classes:
                origin = frozenset({(one.owner.index, one.node.name)})
                return Value(kinds.UNKNOWN, origin, classes=classes, is_instance=True)
        return None


def _makers(node: ast.FunctionDef | ast.AsyncFunctionDef) -> set[str]:
    return {path_of(maker)[-1] for maker in node.decorator_list}


def _holds(node: ast.ClassDef, name: str) -> bool:
    """Whether a class body gives all its objects one list, dict or iterator of this name."""
    value = _held(node, name)
    return value is not None and (is_container(value) or path_of(value)[0] in ("itertools", "iter"))


def _held(node: ast.ClassDef, name: str) -> ast.expr | None:
    """What a class body gives all its objects under this name."""
    for part in node.body:
        value = part.value if isinstance(part, (ast.Assign, ast.AnnAssign)) else None
        targets = part.targets if isinstance(part, ast.Assign) else [getattr(part, "target", None)]
        is_named = any(isinstance(target, ast.Name) and target.id == name for target in targets)
        if is_named and value is not None:
            return value
    return None


def _pack(values: Sequence[Value]) -> Value:
    """What `*args` or `**kwargs` hold."""
    codes = tuple(code for value in values for code in value.code)
    return Value(kinds.CONTAINER, NONE, NONE.union(*(value.all for value in values)), code=codes)


def _is_generator(node: Any) -> bool:
    return any(isinstance(part, (ast.Yield, ast.YieldFrom)) for part in ast.walk(node))
