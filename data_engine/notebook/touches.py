"""What running a statement may change, found by following objects from name to name without executing anything.

A `Value` says what an expression may give: its kind, the bindings whose object it may be (`origins`) and those whose object
it may hold (`held`). A `Touch` is one change, draw or write of such objects. Functions of the notebook are followed with
what they are given, as deep as `_DEEPEST`; beyond, whatever they are given counts as changed.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import Any, NamedTuple

from data_engine.notebook import kinds
from data_engine.notebook.following import Follower, shown
from data_engine.notebook.shapes import first_text, path_of, texts_in
from data_engine.notebook.statements import END, FUNCTIONS, Statement, Statements
from data_engine.notebook.stores import Stores
from data_engine.notebook.values import NOBODY_KNOWS, NONE, PLAIN, Code, Origin, Outcome, OwnClass, Value, element, join

_DEEPEST = 6
_WRITERS = frozenset({"write_text", "write_bytes", "savefig", "save", "savez", "savetxt", "dump"})
_PUTS_IN = frozenset("append appendleft extend extendleft add update insert setdefault put push __setitem__".split())
_GIVES_ELEMENT = frozenset({"min", "max", "next", "getattr", "copy.copy", "functools.partial", "sum"})
_CHARTS = frozenset({"plot", "hist", "boxplot"})
_KEEPS_PARTS = kinds.TABLES | kinds.TRAINED | {kinds.PLOT}
_CHANGED = {kinds.ITERATOR: "uses up", kinds.STREAM: "draws from"}
_FUNCTION_NODES = (*FUNCTIONS, ast.Lambda)


class Objects:
    """The objects of a notebook, as far as its text tells; each statement is followed once, when it is asked for."""

    def __init__(self, statements: Statements) -> None:
        self.statements = statements
        self._outcomes: dict[int, Outcome] = {}
        self._stores = Stores(statements.all, self.outcome)
        self._running: list[int] = []
        self._texts: dict[int, frozenset[str]] = {}
        self._uses: dict[str, set[str]] = {}
        self._text = ""

    def outcome(self, statement: Statement) -> Outcome:
        """What running a statement at its place comes to."""
        found = self._outcomes.get(statement.index)
        if found is None:
            found = self._outcomes[statement.index] = Outcome()  # a statement that leads back to itself finds nothing
            self._running.append(statement.index)
            with suppress(RecursionError):  # nested too deeply to follow: what is known so far
                self._run(statement, found).statement(statement.node)
            self._running.pop()
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
        run = self._run(statement, found)
        for node in ast.walk(statement.node):
            if isinstance(node, _FUNCTION_NODES):
                run.call(Code(statement, node), [], {})
        return found

    def _run(self, statement: Statement, found: Outcome) -> _Run:
        return _Run(self.value, self.kind_of, self.plain_kind, statement, found)

    def plain_kind(self, name: str) -> str:
        """The kind that a name's object plainly is, by what the notebook does with it."""
        return kinds.plainly(self._used_on(name))

    def kind_of(self, origin: Origin) -> str:
        """The kind of what a binding holds."""
        index, name = origin
        if isinstance(index, int):
            return self.made_by(self.statements.all[index], name).kind if name else kinds.UNKNOWN
        return kinds.STREAM if index == "stream" else kinds.UNKNOWN

    def _bound(self, owner: Statement, name: str, at: int) -> Value:
        imported = owner.names.imports.get(name)
        if imported is not None:
            return Value(kinds.MODULE, text=imported)
        value = self.outcome(owner).bound.get(name, NOBODY_KNOWS)
        if value.kind in (kinds.PLAIN, kinds.MODULE):
            return value
        if value.kind == kinds.UNKNOWN and not value.code:
            value = replace(value, kind=self.plain_kind(name))
        if value.kind == kinds.UNKNOWN and owner.names.aliases.get(name, ("",))[-1] == "()" and not self._used_on(name):
            value = replace(value, may_run_out=True)  # a call gave it, and nothing indexes, measures or looks into it
        value = replace(value, origins=value.origins | {(owner.index, name)})
        stored = self._stores.between(owner.index, at, value.all, known_until=min(self._running, default=END))
        return replace(value, held=value.held | stored) if stored else value

    def _used_on(self, name: str) -> set[str]:
        """What the notebook's text does with a name: attributes, "[]" and "len"."""
        found = self._uses.get(name)
        if found is None:
            self._text = self._text or "\n".join(cell.cell.text for cell in self.statements.cells)
            parts = re.findall(rf"\b{re.escape(name)}\s*(?:\.\s*(\w+)|(\[))|\blen\(\s*{re.escape(name)}\b", self._text)
            found = self._uses[name] = {attribute or ("[]" if index else "len") for attribute, index in parts}
        return found


class _Given(NamedTuple):
    """A call with what it is given; `values` are all of it, by place or by name."""

    node: ast.Call
    arguments: list[Value]
    keywords: dict[str, Value]
    values: list[Value]

    @property
    def first(self) -> Value:
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
        return any(one.arg in ("inplace", "in_place") and not _is_false(one.value) for one in self.node.keywords)

    @property
    def denied(self) -> set[str]:
        """The keywords that are given as `False`, or as nothing."""
        return {keyword.arg or "" for keyword in self.node.keywords if _is_false(keyword.value)}


class _Run(Follower):
    """Follows one statement, with all that it calls."""

    def called(self, node: ast.Call) -> Value:
        """What a call gives, with what it does noted."""
        arguments = [self.eval(argument) for argument in node.args]
        keywords = {keyword.arg or "**": self.eval(keyword.value) for keyword in node.keywords}
        given = _Given(node, arguments, keywords, [*arguments, *keywords.values()])
        if "out" in given.keywords:
            self.touch("changes", given.keywords["out"].origins, node)
        function = node.func
        if isinstance(function, ast.Name) and function.id == "build" and not self.around:
            return NOBODY_KNOWS  # a flow of its own, which runs what it needs afresh
        if not isinstance(function, ast.Attribute):
            return self._call_of(self.eval(function), given)
        base = self.eval(function.value)
        if base.kind != kinds.MODULE:
            return self._method(base, function.attr, given)
        return self._call_of(self.attribute(base, function.attr), given)

    def _call_of(self, callee: Value, given: _Given) -> Value:
        if callee.kind == kinds.MODULE:
            return self._imported(callee.text, given)
        if callee.classes or callee.code:
            return self._own(callee, given)
        self._hand_over(given)
        for value in given.values:
            self.consume(value, given.node, surely=False)
        self.touch("may change", callee.all, given.node)
        self.store_in(callee.all, given.all)
        held = callee.all.union(*(value.all for value in given.arguments))
        return Value(kinds.UNKNOWN, held, held)

    # -- functions and classes of the notebook

    @contextmanager
    def _led_by(self, node: ast.Call) -> Iterator[None]:
        """What is touched inside was led to by this call, or by the one that led to it."""
        outer, self.place = self.place, self.place or (node.lineno, shown(node))
        yield
        self.place = outer

    def _own(self, callee: Value, given: _Given) -> Value:
        """A call of a function or class of the notebook."""
        with self._led_by(given.node):
            if callee.classes and not callee.is_instance:
                return self._instance(callee.classes, given)
            return join([self.call(code, given.arguments, given.keywords, callee.held) for code in callee.code])

    def _instance(self, classes: tuple[OwnClass, ...], given: _Given) -> Value:
        me = Value(self._kind_of_class(classes), classes=classes, is_instance=True)
        for name in ("__new__", "__init__", "__post_init__"):
            for code in self._methods(classes, name, me):
                self.call(code, given.arguments, given.keywords)
        return replace(me, held=given.exposed, code=given.code)

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

    def _kind_of_class(self, classes: Sequence[OwnClass]) -> str:
        """The kind of what classes make, where they are made from one of a known package that learns."""
        bases = (self.eval(base) for one in classes for base in one.node.bases)
        found = {kinds.made_by(base.text) for base in bases if base.kind == kinds.MODULE}
        return next((kind for kind in sorted(found & kinds.TRAINED)), kinds.UNKNOWN)

    def _methods(self, classes: Sequence[OwnClass], name: str, me: Value) -> Iterator[Code]:
        """The code of a method in the notebook's classes."""
        waiting = list(classes)
        for owner, node in waiting:
            found = [part for part in node.body if isinstance(part, FUNCTIONS) and part.name == name]
            if found:
                makers = {path_of(maker)[-1] for maker in found[-1].decorator_list}
                yield Code(owner, found[-1], me=None if "staticmethod" in makers else me)
                continue
            for base in node.bases:
                value = self.value_of(path_of(base)[0], owner.index) if len(path_of(base)) == 1 else NOBODY_KNOWS
                waiting += [other for other in value.classes if other not in waiting]

    def _hand_over(self, given: _Given) -> None:
        """Functions that are handed over are probably called, with parts of what else is handed over."""
        values = given.values
        is_mapping = path_of(given.node.func)[-1] in ("map", "filter", "apply", "starmap", "submit")
        for place, value in enumerate(values):
            if kinds.may_be_called(value.bound, is_surely=is_mapping and place == 0):
                self.touch("may change", value.all, given.node)
                self.store_in(value.all, NONE.union(*(other.all for other in values if other is not value)))
        codes = given.code
        if not codes:
            return
        others = join([element(value) for value in values if not value.code] or [NOBODY_KNOWS])
        with self._led_by(given.node):
            for code in codes:
                self.call(code, [others] * len(code.node.args.args), {})

    # -- imported and built-in functions

    def _imported(self, dotted: str, given: _Given) -> Value:
        """A call of an imported or built-in function."""
        before = len(self.out.touches)
        self._hand_over(given)
        if stream := kinds.draws_from(dotted, set(given.keywords)):
            self.touch("draws from", frozenset({("stream", stream)}), given.node)
        if kinds.draws_a_chart(dotted):
            self.touch("changes", frozenset({kinds.CHART}), given.node)
            self.out.asks = self.out.asks or kinds.asks_the_chart(dotted, has_arguments=bool(given.values))
        if seeded := kinds.seeds(dotted):
            self.out.seeds.add(seeded)
        self._change_arguments(dotted, given)
        self._write(dotted, given.first, given.arguments, given)
        kind = kinds.made_by(dotted)
        if kind == kinds.ITERATOR:
            return self.lazy(before, given.values, given.exposed)
        for value in given.values if kind not in kinds.TRAINED else ():
            self._train(value, given.node)
        if "." in dotted or kinds.iterates(dotted):
            for value in given.values:
                self.consume(value, given.node, surely="." not in dotted)
        return self._result_of_imported(dotted, kind, given)

    def _result_of_imported(self, dotted: str, kind: str, given: _Given) -> Value:
        if dotted in _GIVES_ELEMENT:
            return replace(element(given.first), origins=given.first.all, code=given.first.code)
        how = kinds.shares_arguments(dotted)
        if how == "view":
            return Value(kinds.ARRAY, given.first.all)
        if how == "parts" and kind == kinds.FRAME:
            return self._frame_of(given)
        reach = given.exposed | self._learns_with(dotted, given)
        held = reach if how == "parts" else NONE
        if kind != kinds.UNKNOWN:
            return Value(kind, NONE, held)
        is_open = "." in dotted and not kinds.leaves_arguments_alone(dotted)
        return Value(kind, reach if is_open else NONE, held, code=given.code)

    def _frame_of(self, given: _Given) -> Value:
        """A frame, which copies lists of plain data; of what is not its data it only has labels."""
        found = (value for value in (given.first, given.keywords.get("data")) if value is not None)
        data = next((value for value in found if value is not NOBODY_KNOWS), PLAIN)
        is_copied = data.kind == kinds.CONTAINER and "copy" not in given.keywords
        is_copied = is_copied and all(self.kind_of(each) in kinds.VALUES for each in data.held)
        held = NONE if is_copied else data.all
        return Value(kinds.FRAME, NONE, held, labels=given.exposed - held)

    def _learns_with(self, dotted: str, given: _Given) -> frozenset[Origin]:
        """What an estimator holds besides what it is given: leave to overwrite its data, the stream it draws from."""
        found = NONE
        if kinds.overwrites(dotted, given.denied):
            found |= {kinds.OVERWRITES}
            self.touch("may change", given.first.all, given.node)
        if kinds.trains_by_chance(dotted, set(given.keywords)):
            found |= {kinds.GLOBAL_STREAM}
        return found

    def _train(self, value: Value, node: ast.Call) -> None:
        """Note the streams that an estimator draws from as it is trained."""
        if value.kind in kinds.TRAINED:
            streams = (each for each in value.held if self.kind_of(each) == kinds.STREAM)
            self.touch("draws from", frozenset(streams), node)

    def _change_arguments(self, dotted: str, given: _Given) -> None:
        """Note what an imported function may do to what it is given."""
        if kinds.changes_argument(dotted) or dotted in ("setattr", "delattr"):
            self.touch("changes", given.first.origins, given.node)
            self.store_in(given.first.origins, NONE.union(*(value.all for value in given.values[1:])))
        elif dotted == "exec":
            self.touch("sets", frozenset({("text", given.first.text)}), given.node)
        elif _may_change_arguments(dotted):
            safe = (kinds.PLAIN, kinds.POLARS, kinds.FUNCTION)
            risky = NONE.union(*(value.all for value in given.values if value.kind not in safe))
            self.touch("may change", risky, given.node)

    def _write(self, name: str, first: Value, arguments: Sequence[Value], given: _Given) -> None:
        """Note the file that a call writes."""
        last = name.rpartition(".")[2]
        values = (*arguments, *given.keywords.values())
        texts = [value.text for value in values if value.text and value.kind == kinds.PLAIN]
        if last == "open":
            mode = given.keywords.get("mode") or (arguments[1] if len(arguments) > 1 else PLAIN)
            writes = not set(mode.text).isdisjoint("wax+")
        else:
            writes = last.startswith(("to_", "write_", "sink_")) or last in _WRITERS
        if writes and texts:
            self.touch("writes", frozenset({("file", texts[0])}), given.node)

    # -- methods

    def _method(self, base: Value, name: str, given: _Given) -> Value:
        """A call of a method."""
        if base.kind != kinds.PLAIN:  # a text or a flow calls nothing it is given now
            self._hand_over(given)
        if name.startswith(("to_", "write_")):
            buffers = (value.origins for value in given.values if value.kind == kinds.ITERATOR)
            self.touch("changes", NONE.union(*buffers), given.node)
        if not base.classes:
            for value in given.values:
                self.consume(value, given.node, surely=name == "join")
        elif codes := list(self._methods(base.classes, name, base)):
            with self._led_by(given.node):
                return join([self.call(code, given.arguments, given.keywords) for code in codes])
        changes = self._change_object(base, name, given)
        self._change_by_method(base, name, given)
        if stream := kinds.draws_by_method(base.kind, name, given.keywords):
            self.touch("draws from", frozenset({("stream", stream)}), given.node)
        self._write(name, base, [*given.arguments, *([base] if base.text else [])], given)
        if base.kind in (kinds.CONTAINER, kinds.DEFAULTS, kinds.UNKNOWN) and name in _PUTS_IN:
            self.put_in(path_of(given.node.func)[0], base, given.all)
        if changes is not False or name in ("split", "sample"):
            self._train(base, given.node)
        return _result_of_method(base, name, given)

    def _change_object(self, base: Value, name: str, given: _Given) -> bool | None:
        """Note what a method may do to its own object; tell whether it changes it, None where nobody knows."""
        node = given.node
        changes = given.is_in_place or kinds.changes_itself(base.kind, name, first_text(node), bool(node.args))
        if changes is not False:
            verb = _CHANGED.get(base.kind, "changes") if changes else "may change"
            self.touch(verb, self._reach(base, surely=changes is True), node)
        if (base.kind == kinds.PLOT and changes) or (base.kind == kinds.FRAME and name in _CHARTS):
            self.touch("changes", frozenset({kinds.CHART}), node)
        return changes

    def _reach(self, base: Value, *, surely: bool) -> frozenset[Origin]:
        """What a method may change that changes its object; what an object learns from stays as it is."""
        if base.kind not in kinds.TRAINED:
            return base.origins if surely or base.kind == kinds.PLOT else base.all
        if base.kind == kinds.PIPELINE or (base.kind == kinds.ESTIMATOR and not surely):
            others = (each for each in base.held if self.kind_of(each) not in (*kinds.VALUES, kinds.STREAM))
            return base.origins.union(others)
        return base.origins

    def _change_by_method(self, base: Value, name: str, given: _Given) -> None:
        """Note what a method does to what it is given."""
        if base.kind == kinds.STREAM and name == "shuffle":
            self.touch("changes", given.first.origins, given.node)
        elif name == "to_sql":
            self.touch("changes", NONE.union(*(value.origins for value in given.values)), given.node)
        if base.kind in kinds.TRAINED and kinds.OVERWRITES in base.held:
            self.touch("may change", given.all, given.node)


def _may_change_arguments(dotted: str) -> bool:
    """Whether nobody knows that it leaves them alone: a function of another package, which makes no object of a class."""
    makes_object = dotted.rpartition(".")[2][:1].isupper()
    return "." in dotted and not makes_object and not kinds.leaves_arguments_alone(dotted)


def _result_of_method(base: Value, name: str, given: _Given) -> Value:
    if base.kind == kinds.STREAM and name in ("sample", "choice", "choices"):
        return Value(kinds.UNKNOWN, NONE, given.all)
    kind, shares = kinds.result_of(base.kind, name)
    if not (shares or (name == "astype" and "copy" in given.keywords)):
        return Value(kind, text=base.text if kind == kinds.PLAIN else "")
    if base.kind == kinds.PLOT and kind == kinds.DATA:
        return Value(kind, base.all)
    if kind in _KEEPS_PARTS:
        return Value(kind, base.origins, base.held)
    nobody_knows = kind == base.kind == kinds.UNKNOWN
    return Value(kind, base.all if nobody_knows else NONE, base.all | given.all)


def _is_generator(node: Any) -> bool:
    return any(isinstance(part, (ast.Yield, ast.YieldFrom)) for part in ast.walk(node))


def _is_false(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and not node.value
