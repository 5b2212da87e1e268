"""What running a statement may change, found by following objects from name to name without executing anything.

A `Value` says what an expression may give: its kind, the bindings whose object it may be (`origins`) and those whose object
it may hold (`held`). A `Touch` is one change, draw or write of such objects. Functions of the notebook are followed with
what they are given, as deep as `_DEEPEST`; beyond, whatever they are given counts as changed.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any

from data_engine.notebook import kinds
from data_engine.notebook.following import Follower, shown
from data_engine.notebook.shapes import first_text, path_of, texts_in
from data_engine.notebook.statements import END, FUNCTIONS, Statement, Statements
from data_engine.notebook.values import NOBODY_KNOWS, NONE, PLAIN, Code, Origin, Outcome, Value, element, join

_DEEPEST = 6
_WRITERS = frozenset({"write_text", "write_bytes", "savefig", "save", "savez", "savetxt", "dump"})
_FUNCTION_NODES = (*FUNCTIONS, ast.Lambda)


class Objects:
    """The objects of a notebook, as far as its text tells; each statement is followed once, when it is asked for."""

    def __init__(self, statements: Statements) -> None:
        self.statements = statements
        self._outcomes: dict[int, Outcome] = {}
        self._texts: dict[int, frozenset[str]] = {}
        self._uses: dict[str, set[str]] = {}
        self._text = ""

    def outcome(self, statement: Statement) -> Outcome:
        """What running a statement at its place comes to."""
        found = self._outcomes.get(statement.index)
        if found is None:
            found = self._outcomes[statement.index] = Outcome()  # a statement that leads back to itself finds nothing
            with suppress(RecursionError):  # nested too deeply to follow: what is known so far
                self._run(statement, found).statement(statement.node)
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
        for change in self.statements.changes.get((owner.index, name), ()):
            if owner.index < change.index < at:
                value = replace(value, held=value.held | self.outcome(change).stores.get(name, NONE))
        return replace(value, origins=value.origins | {(owner.index, name)})

    def _used_on(self, name: str) -> set[str]:
        """What the notebook's text does with a name: attributes, "[]" and "len"."""
        found = self._uses.get(name)
        if found is None:
            self._text = self._text or "\n".join(cell.cell.text for cell in self.statements.cells)
            parts = re.findall(rf"\b{re.escape(name)}\s*(?:\.\s*(\w+)|(\[))|\blen\(\s*{re.escape(name)}\b", self._text)
            found = self._uses[name] = {attribute or ("[]" if index else "len") for attribute, index in parts}
        return found


class _Run(Follower):
    """Follows one statement, with all that it calls."""

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
        held = callee.all.union(*(value.all for value in arguments))
        return Value(kinds.UNKNOWN, held, held)

    def own(self, node: ast.Call, callee: Value, arguments: list[Value], keywords: dict[str, Value]) -> Value:
        """A call of a function or class of the notebook."""
        outer, self.place = self.place, self.place or (node.lineno, shown(node))
        if callee.classes and not callee.is_instance:
            given = NONE.union(*(value.exposed for value in (*arguments, *keywords.values())))
            me = Value(self.kind_of_class(callee.classes), classes=callee.classes, is_instance=True)
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

    def kind_of_class(self, classes: Sequence[Statement]) -> str:
        """The kind of what classes make, where they are made from one of a known package that learns."""
        bases = (self.eval(base) for owner in classes for base in owner.node.bases)  # type: ignore[attr-defined]
        found = {kinds.made_by(base.text) for base in bases if base.kind == kinds.MODULE}
        return next((kind for kind in sorted(found & kinds.TRAINED)), kinds.UNKNOWN)

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
                value = self.value_of(path_of(base)[0], owner.index) if len(path_of(base)) == 1 else NOBODY_KNOWS
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
        others = join([element(value) for value in values if not value.code] or [NOBODY_KNOWS])
        outer, self.place = self.place, self.place or (node.lineno, shown(node))
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
        if kinds.draws_a_chart(dotted):
            self.touch("changes", frozenset({kinds.CHART}), node)
            self.out.asks = self.out.asks or kinds.asks_the_chart(dotted, has_arguments=bool(values))
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
        if kind not in kinds.TRAINED:
            for value in values:
                self.train(value, node)
        if "." in dotted or kinds.iterates(dotted):
            for value in values:
                self.consume(value, node, surely="." not in dotted)
        if dotted in ("min", "max", "next", "getattr", "copy.copy", "functools.partial", "sum"):
            return replace(element(first), origins=first.all, code=first.code)
        how = kinds.shares_arguments(dotted)
        if how == "view":
            return Value(kinds.ARRAY, first.all)
        if how == "parts" and kind == kinds.FRAME:
            data = next(
                (value for value in (first, keywords.get("data")) if value is not NOBODY_KNOWS and value), PLAIN
            )
            is_copied = data.kind == kinds.CONTAINER and "copy" not in keywords
            is_copied = is_copied and all(self.kind_of(each) in kinds.VALUES for each in data.held)
            held = NONE if is_copied else data.all
            return Value(kind, NONE, held, labels=given - held)
        code = tuple(code for value in values for code in value.code) if kind == kinds.UNKNOWN else ()
        if kinds.overwrites(dotted, {keyword.arg or "" for keyword in node.keywords if _is_false(keyword.value)}):
            given |= {kinds.OVERWRITES}
            self.touch("may change", first.all, node)
        if kinds.trains_by_chance(dotted, set(keywords)):
            given |= {kinds.GLOBAL_STREAM}
        is_open = kind == kinds.UNKNOWN and not kinds.leaves_arguments_alone(dotted) and "." in dotted
        return Value(kind, given if is_open else NONE, given if how == "parts" else NONE, code=code)

    def train(self, value: Value, node: ast.Call) -> None:
        """Note the streams that an estimator draws from as it is trained."""
        if value.kind in kinds.TRAINED:
            streams = (each for each in value.held if self.kind_of(each) == kinds.STREAM)
            self.touch("draws from", frozenset(streams), node)

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
        if base.kind != kinds.PLAIN:  # a text or a flow calls nothing it is given now
            self.hand_over(node, arguments, keywords)
        if name.startswith(("to_", "write_")):
            buffers = (value.origins for value in values if value.kind == kinds.ITERATOR)
            self.touch("changes", NONE.union(*buffers), node)
        for value in values if not base.classes else ():
            self.consume(value, node, surely=name == "join")
        if base.classes:
            codes = list(self.methods(base.classes, name, base))
            if codes:
                outer, self.place = self.place, self.place or (node.lineno, shown(node))
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
            reach = base.origins if changes or base.kind == kinds.PLOT else base.all
            if base.kind in kinds.TRAINED:  # what it learns from stays as it is
                holds_others = base.kind == kinds.PIPELINE or (base.kind == kinds.ESTIMATOR and changes is None)
                reach = base.origins.union(
                    each
                    for each in base.held
                    if holds_others and self.kind_of(each) not in (*kinds.VALUES, kinds.STREAM)
                )
            self.touch("changes" if changes else "may change", reach, node)
        if (base.kind == kinds.PLOT and changes) or (base.kind == kinds.FRAME and name in ("plot", "hist", "boxplot")):
            self.touch("changes", frozenset({kinds.CHART}), node)
        if base.kind == kinds.STREAM and name == "shuffle" and arguments:
            self.touch("changes", arguments[0].origins, node)
        if name == "to_sql":
            self.touch("changes", NONE.union(*(value.origins for value in values)), node)
        if base.kind in kinds.TRAINED and kinds.OVERWRITES in base.held:
            self.touch("may change", NONE.union(*(value.all for value in values)), node)
        if name in ("rvs", "generate_sample", "simulate") and keywords.keys().isdisjoint(("random_state", "rng")):
            self.touch("draws from", frozenset({kinds.GLOBAL_STREAM}), node)
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
        if changes is not False or name in ("split", "sample"):
            self.train(base, node)
        kind, shares = kinds.result_of(base.kind, name)
        shares = shares or (name == "astype" and "copy" in keywords)
        if not shares:
            return Value(kind, text=base.text if kind == kinds.PLAIN else "")
        if base.kind == kinds.PLOT and kind == kinds.DATA:
            return Value(kind, base.all)
        if kind in kinds.TABLES or kind in kinds.TRAINED or kind == kinds.PLOT:
            return Value(kind, base.origins, base.held)
        held = base.all.union(*(value.all for value in values))
        return Value(kind, base.all if kind == kinds.UNKNOWN and base.kind == kinds.UNKNOWN else NONE, held)


def _is_generator(node: Any) -> bool:
    return any(isinstance(part, (ast.Yield, ast.YieldFrom)) for part in ast.walk(node))


def _is_false(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and not node.value
