"""What running a statement may change, found by following objects from name to name without executing anything.

A `Value` says what an expression may give: its kind, the bindings whose object it may be (`origins`) and those whose object
it may hold (`held`). A `Touch` is one change, draw or write of such objects. Functions of the notebook are followed with
what they are given, see `own_code.py`.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Collection
from contextlib import suppress
from dataclasses import replace
from functools import cached_property

from data_engine.notebook import effects, kinds, learning, streams
from data_engine.notebook.bindings import at_risk, itself, module_of, named
from data_engine.notebook.files_named import names_in
from data_engine.notebook.own_code import Given
from data_engine.notebook.results import may_change_arguments, result_of_method
from data_engine.notebook.shapes import as_of_a_list, first_text, path_of, spelled_out, texts_in
from data_engine.notebook.statements import END, FUNCTIONS, Statement, Statements
from data_engine.notebook.stores import Stores
from data_engine.notebook.values import NOBODY_KNOWS, NONE, PLAIN, Code, Origin, Outcome, Value, element, join
from data_engine.notebook.writes import Writes

_PUTS_IN = frozenset("append appendleft extend extendleft add update insert setdefault put push __setitem__".split())
_CHANGED_KEYWORDS = frozenset({"out", "file", "stream"})
"""What a call is given to write into, by its keyword."""
_DRAWN_INTO = frozenset({"ax", "axes", "cax", "fig", "figure"})
"""The chart that a call is given to draw into, by its keyword."""
_SPREAD = 8
"""As many parameters as `*values` may fill."""
_TIMERS = frozenset({"time", "timeit", "prun", "memit", "mprun", "lprun"})
_TIMER_OPTIONS = re.compile(r"^(\s*-\w+(\s*\d+)?(?=\s))+\s*")
_PER_CELL = frozenset({"apply", "map", "applymap", "transform", "agg", "aggregate"})
_MAPS = frozenset({"map", "filter", "apply", "starmap", "submit"})
_CHARTS = frozenset({"plot", "hist", "boxplot"})
_CHANGED = {kinds.ITERATOR: "uses up", kinds.STREAM: "draws from"}
_ASKED = {
    "str": ("__str__", "__repr__"), "repr": ("__repr__",), "print": ("__str__", "__repr__"), "format": ("__format__", "__str__"),
    "len": ("__len__",), "bool": ("__bool__", "__len__"), "int": ("__int__",), "float": ("__float__",), "hash": ("__hash__",),
}  # fmt: skip
_GIVES_CHUNKS = frozenset({"chunksize", "iterator"})
_READ_IN_TURN = frozenset({"fetchone", "fetchall", "fetchmany", "close", "read", "readline", "readlines"})
"""What is used of an object that gives its rows in turn."""
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
        return join(found) if found else Value(kinds.MODULE, text=self.statements.dotted_name(name))

    def made_by(self, owner: Statement, name: str) -> Value:
        """What a statement binds a name to."""
        return self._bound(owner, name, END)

    def read_with(self, value: Value) -> frozenset[Origin]:
        """What reading a value may read: what it may be or hold, and the classes that it shares things with."""
        classes = list(value.classes)
        for one in classes:
            paths = (path_of(base) for base in one.node.bases)
            bases = (self.value(path[0], one.owner.index).classes for path in paths if len(path) == 1)
            classes += [each for found in bases for each in found if each not in classes]
        return value.all.union((one.owner.index, one.node.name) for one in classes) if classes else value.all

    def texts(self, statement: Statement) -> frozenset[str]:
        """Every text that a statement holds."""
        found = self._texts.get(statement.index)
        if found is None:
            found = self._texts[statement.index] = frozenset(
                name for text in texts_in(statement.node) for name in names_in(text)
            )
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
            name = learning.plain_name(name)
            return self.made_by(self.statements.all[index], name).kind if name else kinds.UNKNOWN
        return kinds.STREAM if index == "stream" else kinds.UNKNOWN

    def _bound(self, owner: Statement, name: str, at: int) -> Value:
        imported = owner.names.imports.get(name)
        if imported is not None:
            return Value(kinds.MODULE, text=imported)
        value = self.outcome(owner).bound.get(name, NOBODY_KNOWS)
        learns_anew = value.text == learning.ANEW and not self._remembers
        if value.kind in (kinds.PLAIN, kinds.MODULE):
            return value
        if value.kind == kinds.UNKNOWN and not value.code and not value.either:
            value = replace(value, kind=self.plain_kind(name))
        if (
            value.kind == kinds.UNKNOWN
            and not value.either
            and owner.names.aliases.get(name, ("",))[-1] == "()"
            and self._used_on(name) <= _READ_IN_TURN
        ):
            value = replace(value, may_run_out=True)  # a call gave it, and nothing indexes, measures or looks into it
        own = (owner.index, name)
        value = replace(value, origins=value.origins | ({own, learning.learnt(own)} if learns_anew else {own}))
        known_until = min(self._running, default=END)
        if value.part or value.places:
            if at > known_until or self._stores.are_changed(owner.index, at, value.origins):
                value = value.mixed
            elif self._stores.are_changed(owner.index, at, value.held):
                value = value.shallow
        stored = self._stores.between(owner.index, at, value.all, known_until=known_until)
        return replace(value, held=value.held | stored) if stored else value

    @cached_property
    def _text(self) -> str:
        return "\n".join(cell.cell.text for cell in self.statements.cells)

    @cached_property
    def _remembers(self) -> bool:
        return learning.remembers(self._text)

    def _used_on(self, name: str) -> set[str]:
        """What the notebook's text does with a name: attributes, "[]" and "len"."""
        found = self._uses.get(name)
        if found is None:
            parts = re.findall(rf"\b{re.escape(name)}\s*(?:\.\s*(\w+)|(\[))|\blen\(\s*{re.escape(name)}\b", self._text)
            found = self._uses[name] = {attribute or ("[]" if index else "len") for attribute, index in parts}
        return found


class _Run(Writes):
    """Follows one statement, with all that it calls."""

    def called(self, node: ast.Call) -> Value:
        """What a call gives, with what it does noted."""
        node = spelled_out(node)
        function = node.func
        if isinstance(function, ast.Name) and function.id == "super" and self.around:
            return self.parent()
        if isinstance(function, ast.Attribute) and function.attr == "run_line_magic":
            return self._timed(node)
        arguments = [each for argument in node.args for each in self._given_by(argument, node)]
        keywords = {keyword.arg or "**": self.eval(keyword.value) for keyword in node.keywords}
        given = Given(node, arguments, keywords)
        for name in _CHANGED_KEYWORDS & keywords.keys():
            self.touch("changes", keywords[name].origins, node)
        for name in _DRAWN_INTO & keywords.keys():
            if keywords[name].kind in (kinds.PLOT, kinds.UNKNOWN) and not self.eval(function).code:
                self.touch("changes", keywords[name].origins, node)
        if isinstance(function, ast.Name) and function.id == "build" and not self.around:
            return NOBODY_KNOWS  # a flow of its own, which runs what it needs afresh
        if not isinstance(function, ast.Attribute):
            return self._call_of(self.eval(function), given)
        base = self.eval(function.value)
        if base.kind != kinds.MODULE:
            return self._method(base, function.attr, given)
        return self._call_of(self.attribute(base, function.attr), given)

    def _given_by(self, argument: ast.expr, node: ast.Call) -> list[Value]:
        """What an argument gives, which is several with a star."""
        if not isinstance(argument, ast.Starred):
            return [self.eval(argument)]
        inner = argument.value
        if isinstance(inner, (ast.List, ast.Tuple)) and not any(isinstance(part, ast.Starred) for part in inner.elts):
            return [self.eval(part) for part in inner.elts]
        value = self.eval(inner)
        self.consume(value, node)
        return [element(value)] * _SPREAD

    def _timed(self, node: ast.Call) -> Value:
        """What `%time` and its like run."""
        texts = [part.value if isinstance(part, ast.Constant) else "" for part in node.args]
        if len(texts) == 2 and texts[0] in _TIMERS:
            code = _TIMER_OPTIONS.sub("", str(texts[1]))
            with suppress(SyntaxError, ValueError):
                tree = ast.parse(code)
                outer, self.place = self.place, (node.lineno, f"%{texts[0]} {code}"[:40])
                for statement in tree.body:
                    self.statement(statement)
                self.place = outer
        return PLAIN

    def _call_of(self, callee: Value, given: Given) -> Value:
        if callee.kind == kinds.MODULE:
            return self._imported(callee.text, given)
        if callee.classes or callee.code:
            return self.own(callee, given)
        if callee.kind in kinds.COMPUTE:
            return Value(kinds.DATA)
        self._hand_over(given)
        for value in given.values:
            self.consume(value, given.node, surely=False)
        self.touch("may change", callee.all, given.node)
        self.store_in(callee.all, given.all)
        held = callee.all.union(*(value.all for value in given.arguments))
        return Value(kinds.UNKNOWN, held, held)

    def _hand_over(self, given: Given, whole: Value | None = None, *, is_known: bool = False) -> None:
        """Functions that are handed over are probably called, with parts of what else is handed over; or with `whole`.

        Who is known (`is_known`) gives them such parts themselves, not something of his own that holds them.
        """
        values = given.values
        for place, value in enumerate(values):
            is_mapped = bool(value.bound) and place == 0 and path_of(given.node.func)[-1] in _MAPS
            if kinds.may_be_called(value.bound, is_surely=is_mapped):
                self.touch("may change", value.all, given.node)
                self.store_in(value.all, NONE.union(*(other.all for other in values if other is not value)))
        codes = given.code
        if not codes:
            return
        others = (
            join([element(value) for value in values if not value.code] or [NOBODY_KNOWS]) if whole is None else whole
        )
        if not is_known:
            others = replace(others, either=frozenset())
        with self.led_by(given.node):
            for code in codes:
                self.call(code, [others] * len(code.node.args.args), {})

    # -- imported and built-in functions

    def _imported(self, dotted: str, given: Given) -> Value:
        """A call of an imported or built-in function."""
        before = len(self.out.touches)
        if (found := self.function_from(dotted, given)) is not None:
            return found
        self._hand_over(given, is_known=kinds.is_known_package(dotted))
        self._ask(dotted, given)
        self._change_process(dotted, given)
        if stream := streams.draws_from(dotted, set(given.keywords)):
            self.touch("draws from", frozenset({("stream", stream)}), given.node)
        if kinds.draws_a_chart(dotted):
            self.touch("changes", frozenset({kinds.CHART}), given.node)
            if kinds.asks_the_chart(dotted, has_arguments=bool(given.values)):
                self.out.asks.add(self.place[0] if self.place else given.node.lineno)
        self._change_arguments(dotted, given)
        self.write_by_function(dotted, given)
        kind = kinds.made_by(dotted)
        if kind == kinds.FRAME and not _GIVES_CHUNKS.isdisjoint(given.keywords):
            return Value(kinds.ITERATOR)
        if kind == kinds.ITERATOR:
            if dotted == "iter" and len(given.arguments) > 1:
                self.touch("may change", given.first.all, given.node)
            found = self.lazy(before, given.values, given.exposed)
            return replace(found, kind=kinds.CONTAINER, may_run_out=True) if dotted == "itertools.tee" else found
        for value in given.values if kind not in kinds.TRAINED else ():
            self._train(value, given.node)
        if "." in dotted or kinds.iterates(dotted):
            for value in given.values:
                self.consume(value, given.node, surely="." not in dotted)
        return self.result_of_imported(dotted, kind, given)

    def _ask(self, dotted: str, given: Given) -> None:
        """What `str`, `len`, `print` and their like run in the notebook's classes."""
        for name in _ASKED.get(dotted, ()):
            for value in given.arguments:
                self.special(value, (name,), given.node)
        if dotted == "next":
            self.special(given.first, ("__next__",), given.node)
            if given.first.kind == kinds.UNKNOWN and not given.first.is_instance:
                self.touch("may use up", given.first.all, given.node)

    def _change_process(self, dotted: str, given: Given) -> None:
        """Note what a function sets up or seeds for the whole process; what stands at module level is kept."""
        node = given.node
        if seeded := streams.seeds(dotted):
            self.out.seeds.add(seeded)
        module = (
            given.first.text
            if dotted == "importlib.reload"
            else dotted
            if kinds.changes_module(dotted, as_list=as_of_a_list(node))
            else ""
        )
        if module:
            self.touch("may change", module_of(module), node)
        if kinds.moves_on(dotted) and not given.values:
            self.touch("may change", frozenset({("imported", dotted)}), node)
        if self.undoing:
            return
        if dotted in ("os.chdir", "os.fchdir"):
            self.touch("changes the working directory", frozenset({("process", dotted)}), node)
        elif self.around and seeded:
            self.touch("seeds", frozenset({("seed", seeded)}), node)
        elif self.around and effects.is_setup(f"{dotted}()"):
            self.touch("sets up the process", frozenset({("process", dotted)}), node)

    def _train(self, value: Value, node: ast.Call) -> None:
        """Note the streams that an estimator draws from as it is trained."""
        if value.kind in kinds.TRAINED:
            drawn = (each for each in value.held if self.kind_of(each) == kinds.STREAM)
            self.touch("draws from", frozenset(drawn), node)

    def _change_arguments(self, dotted: str, given: Given) -> None:
        """Note what an imported function may do to what it is given."""
        second = given.arguments[1] if len(given.arguments) > 1 else NOBODY_KNOWS
        if dotted == "setattr" and given.first.text == "sys.modules":
            self.touch("sets", named(second.text), given.node)
        if dotted in ("type", "types.new_class") and len(given.arguments) > 1:
            self.touch("may change", second.all, given.node)  # a class tells those that it is made from
        if dotted == "struct.pack_into":
            self.touch("changes", second.origins, given.node)
        elif (dotted.startswith(("numpy.", "skimage.")) and "copy" in given.denied) or given.is_in_place:
            self.touch("may change", given.first.all, given.node)
        elif place := kinds.place_of_out(dotted, len(given.arguments)):
            self.touch("changes", given.arguments[place].origins, given.node)
        if kinds.changes_argument(dotted) or dotted in ("setattr", "delattr"):
            self.touch("changes", itself(given.first), given.node)
            self.store_in(given.first.origins, NONE.union(*(value.all for value in given.values[1:])))
        elif dotted == "exec":
            text = given.first.text
            self.touch("sets", frozenset({("text", "" if "*" in text else text)}), given.node)
        elif may_change_arguments(dotted):
            self.touch("may change", NONE.union(*map(at_risk, given.values)), given.node)

    # -- methods

    def _method(self, base: Value, name: str, given: Given) -> Value:
        """A call of a method."""
        if base.either:
            return join([self._method(each, name, given) for each in base.alternatives])
        if base.kind != kinds.PLAIN:  # a text or a flow calls nothing it is given now
            self._hand_over(given, self._handed_by(base, name, given), is_known=base.kind != kinds.UNKNOWN)
        self.log(name, given.node, is_logger=base.kind == kinds.UNKNOWN)
        if name.startswith(("to_", "write_")):
            buffers = (value.origins for value in given.values if value.kind == kinds.ITERATOR)
            self.touch("changes", NONE.union(*buffers), given.node)
        if not base.classes:
            for value in given.values:
                self.consume(value, given.node, surely=name == "join")
        if name == "__new__":
            return Value()
        if name == "__enter__" and not base.is_instance:
            verb = "changes the working directory" if base.text == kinds.GOES else "sets up the process"
            self.touch(verb, frozenset({("process", name)}), given.node)
        if codes := self._codes_of(base, name):
            with self.led_by(given.node):
                return join([self.call(code, given.arguments, given.keywords) for code in codes])
        changes = self._change_object(base, name, given)
        self._change_by_method(base, name, given)
        if stream := streams.draws_by_method(base.kind, name, given.keywords):
            self.touch("draws from", frozenset({("stream", stream)}), given.node)
        self.write_by_method(base, name, given)
        if base.kind in (kinds.CONTAINER, kinds.DEFAULTS, kinds.UNKNOWN) and name in _PUTS_IN:
            self.put_in(path_of(given.node.func)[0], base, given.all)
        if changes is not False or name in ("split", "sample"):
            self._train(base, given.node)
        return result_of_method(base, name, given)

    def _handed_by(self, base: Value, name: str, given: Given) -> Value | None:
        """What a method of a frame gives the functions it is handed; None where that is not known."""
        if base.kind != kinds.FRAME or "groupby" in path_of(given.node.func):
            return None
        if name == "pipe":
            return base
        return Value(kinds.CELL, base.data) if name in _PER_CELL else None

    def _codes_of(self, base: Value, name: str) -> list[Code]:
        """What a method runs of the notebook's classes, or of the functions that the object was given."""
        codes = list(self.methods(base, name))
        if not codes and base.is_instance:
            codes = list(self.methods(base, "run")) if name == "start" else list(base.code)  # a thread
        return codes

    def _change_object(self, base: Value, name: str, given: Given) -> bool | None:
        """Note what a method may do to its own object; tell whether it changes it, None where nobody knows."""
        node = given.node
        changes = (given.is_in_place and base.kind != kinds.CELL) or kinds.changes_itself(
            base.kind, name, first_text(node) or given.first.text, bool(node.args)
        )
        if changes is not False:
            verb = _CHANGED.get(base.kind, "changes") if changes else "may change"
            reach = self._reach(
                base, surely=changes is True, results_only=learning.changes_results_only(base.text, name)
            )
            self.touch(verb, learning.fitted(reach) if learning.fits(name, self._said(base, given)) else reach, node)
        if (base.kind == kinds.PLOT and changes) or (base.kind == kinds.FRAME and name in _CHARTS):
            self.touch("changes", frozenset({kinds.CHART}), node)
        return changes

    def _said(self, base: Value, given: Given) -> Collection[str]:
        """The keywords that a method is given; of a model also those of lmfit that a dict may hold."""
        is_open = base.kind == kinds.MODEL and "**" in given.keywords
        return {*given.keywords, "nan_policy"} if is_open else given.keywords.keys()

    def _reach(self, base: Value, *, surely: bool, results_only: bool) -> frozenset[Origin]:
        """What a method may change that changes its object; what an object learns from stays as it is."""
        if base.text == kinds.CAREFUL:
            return frozenset(each for each in base.all if self.kind_of(each) not in kinds.VALUES)
        if base.text == learning.RESULTS and not results_only:
            return base.origins.union(each for each in base.held if self.kind_of(each) not in kinds.VALUES)
        if base.kind not in kinds.TRAINED:
            return base.origins if surely or base.kind == kinds.PLOT else base.all
        if base.kind == kinds.PIPELINE or (base.kind == kinds.ESTIMATOR and not surely):
            others = (each for each in base.held if self.kind_of(each) not in (*kinds.VALUES, kinds.STREAM))
            return base.origins.union(others)
        return base.origins

    def _change_by_method(self, base: Value, name: str, given: Given) -> None:
        """Note what a method does to what it is given."""
        if base.kind == kinds.GLOBALS and name in kinds.CHANGERS[kinds.GLOBALS]:
            names = [named(key) for key in given.keywords if key != "**"]
            is_open = bool(given.arguments) or "**" in given.keywords
            self.touch("sets", NONE.union(*names, *([named("")] if is_open else [])), given.node)
        if name in ("readinto", "readinto1", "recv_into"):
            self.touch("changes", given.first.origins, given.node)
        if base.kind == kinds.STREAM and name == "shuffle":
            self.touch("changes", given.first.origins, given.node)
        elif name == "to_sql":
            self.touch("changes", NONE.union(*(value.origins for value in given.values)), given.node)
        if base.kind in kinds.TRAINED and kinds.OVERWRITES in base.held:
            self.touch("may change", given.all, given.node)
