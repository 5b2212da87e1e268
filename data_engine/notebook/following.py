"""Follows objects through the statements and expressions of a notebook, without executing anything.

Names are bound to values as Python would bind them, in order; what is in a branch or loop may run or not.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from typing import Any

from data_engine.notebook import kinds, learning
from data_engine.notebook.analysis import UNDOING_WITHS
from data_engine.notebook.bindings import Bindings, itself
from data_engine.notebook.shapes import path_of, says_in_place
from data_engine.notebook.statements import FUNCTIONS
from data_engine.notebook.values import (
    NOBODY_KNOWS,
    NONE,
    PLAIN,
    Code,
    OwnClass,
    Value,
    element,
    join,
    part_of,
)


class Follower(Bindings):
    """Follows the parts of a statement; what its calls do is told by `called`."""

    # statements

    def block(self, statements: Iterable[ast.stmt]) -> None:
        """What may run or not."""
        self.branches += 1
        for statement in statements:
            self.statement(statement)
        self.branches -= 1

    def statement(self, node: Any) -> None:
        """Take in one statement, of whatever kind."""
        _STATEMENTS.get(node.__class__, Follower.parts)(self, node)

    def _assignment(self, node: ast.Assign) -> None:
        sequences = (ast.Tuple, ast.List)
        is_split = isinstance(node.value, sequences) and isinstance(node.targets[0], sequences)
        value = NOBODY_KNOWS if is_split else self.eval(node.value)
        for target in node.targets:
            self.assign(target, value, node.value)

    def _annotated(self, node: ast.AnnAssign) -> None:
        if node.value is not None:
            self.assign(node.target, self.eval(node.value))

    def _deletion(self, node: ast.Delete) -> None:
        for target in node.targets:
            if isinstance(target, (ast.Attribute, ast.Subscript)):
                self.write(target)

    def _loop(self, node: ast.For | ast.AsyncFor) -> None:
        iterable = self.eval(node.iter)
        self.consume(iterable, node.iter)
        self.branches += 1
        for target, value in self._turns(node.target, node.iter, iterable):
            self.assign(target, value)
        self.branches -= 1
        self.block([*node.body, *node.orelse])

    def _with(self, node: ast.With | ast.AsyncWith) -> None:
        undone = 0
        for item in node.items:
            is_undone = undoes(item.context_expr)
            self.undoing += is_undone
            undone += is_undone
            value = self.eval(item.context_expr)
            entered = self.special(value, ("__enter__", "__aenter__"), item.context_expr)
            self.special(value, ("__exit__", "__aexit__"), item.context_expr)
            if item.optional_vars is not None:
                self.assign(item.optional_vars, value if entered is None else entered)
        for statement in node.body:
            self.statement(statement)
        self.undoing -= undone

    def _definition(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> None:
        defaults = [self.eval(part) for part in (*node.args.defaults, *node.args.kw_defaults) if part is not None]
        value = replace(self.function(node), held=NONE.union(*(value.all for value in defaults)))
        for decorator in reversed(node.decorator_list):
            value = self.decorated(decorator, value)
        self.store(node.name, value, node)

    def _class(self, node: ast.ClassDef) -> None:
        for part in (*node.decorator_list, *node.bases, *(keyword.value for keyword in node.keywords)):
            self.eval(part)
        if not self.around:
            known, self.env = self.env, {}
            for statement in node.body:
                self.statement(statement)
            self.env = known
        self.store(node.name, Value(kinds.FUNCTION, classes=() if self.around else (OwnClass(self.owner, node),)), node)

    def _return(self, node: ast.Return) -> None:
        if node.value is not None:
            self.returns.append(self.eval(node.value))

    def _import(self, node: ast.Import) -> None:
        for alias in node.names:
            top = alias.name.partition(".")[0]
            self.store(alias.asname or top, Value(kinds.MODULE, text=alias.name if alias.asname else top), node)

    def _import_from(self, node: ast.ImportFrom) -> None:
        for alias in node.names:
            value = Value(kinds.MODULE, text=f"{node.module or ''}.{alias.name}")
            self.store(alias.asname or alias.name.partition(".")[0], value, node)

    def parts(self, node: Any) -> None:
        """An `if`, `while`, `try`, `match` or the like: whatever is in it may run."""
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.stmt):
                self.block([child])
            elif isinstance(child, ast.expr):
                self.eval(child)
            else:
                self.parts(child)

    def _match(self, node: ast.Match) -> None:
        """What a pattern binds is the subject or a part of it."""
        subject = self.eval(node.subject)
        part = element(subject)
        for case in node.cases:
            self.branches += 1
            for pattern in ast.walk(case.pattern):
                name = getattr(pattern, "rest", None) if isinstance(pattern, ast.MatchMapping) else None
                name = name or (pattern.name if isinstance(pattern, (ast.MatchAs, ast.MatchStar)) else None)
                if name:
                    self.store(name, subject if pattern is case.pattern else part, node)
            if case.guard is not None:
                self.eval(case.guard)
            self.block(case.body)
            self.branches -= 1

    def _augmented(self, node: ast.AugAssign) -> None:
        added = self.eval(node.value)
        if not isinstance(node.target, ast.Name):
            self.write(node.target)
            return
        name = node.target.id
        value = self.lookup(name)
        self.consume(added, node.value, surely=False)
        self.special(value, ("__iadd__", "__ior__", "__isub__"), node, [added])
        if value.kind == kinds.MODULE and added.kind == kinds.CONTAINER:
            self.touch("changes", itself(value), node, f"{name} +=")
        if value.kind not in (kinds.PLAIN, kinds.POLARS, kinds.MODULE, kinds.CELL):
            self.touch("changes" if value.kind != kinds.UNKNOWN else "may change", value.origins, node, f"{name} +=")
        self.store_in(value.origins, added.all)
        self.store(name, replace(value, held=value.held | added.all) if added.kind != kinds.PLAIN else value, node)

    # expressions

    def eval(self, node: Any) -> Value:
        """What an expression may give."""
        return _EXPRESSIONS.get(node.__class__, Follower._pieces)(self, node)

    def _pieces(self, node: Any) -> Value:
        """F-strings, slices and the like."""
        for child in ast.iter_child_nodes(node):
            self.eval(child)
        return PLAIN

    def _formatted(self, node: ast.JoinedStr) -> Value:
        """An f-string, with "*" where it holds what nobody knows."""
        parts = [self.eval(part.value if isinstance(part, ast.FormattedValue) else part) for part in node.values]
        for part in parts:
            self.special(part, ("__format__", "__str__", "__repr__"), node)
        return Value(
            kinds.PLAIN, text="".join(part.text if part.kind == kinds.PLAIN and part.text else "*" for part in parts)
        )

    def _starred(self, node: ast.Starred) -> Value:
        value = self.eval(node.value)
        self.consume(value, node.value)
        return value

    def _attribute(self, node: ast.Attribute) -> Value:
        value = self.eval(node.value)
        found = self.special(value, (node.attr,), node, maker="property")
        if found is None and (described := self.of_class(value, node.attr)) is not None:
            found = self.special(described, ("__get__",), node, [value, PLAIN])
        if found is None:
            self.special(value, ("__getattr__",), node, [PLAIN])
        return self.attribute(value, node.attr) if found is None else found

    def _bare(self, node: ast.Expr) -> None:
        """An expression for itself: `first >> second` is there for what it does."""
        self.eval(node.value)
        if isinstance(node.value, ast.BinOp) and isinstance(node.value.op, (ast.RShift, ast.LShift)):
            for part in (node.value.left, node.value.right):
                value = self.eval(part)
                if value.kind == kinds.UNKNOWN and not value.is_instance:
                    self.touch("may change", value.all, node.value)

    def _children(self, node: Any) -> list[Value]:
        return [self.eval(child) for child in ast.iter_child_nodes(node) if isinstance(child, ast.expr)]

    def _display(self, node: ast.List | ast.Tuple | ast.Set | ast.Dict) -> Value:
        found = self._children(node)
        if isinstance(node, ast.Tuple) and all(value.kind == kinds.PLAIN for value in found):
            return PLAIN
        held = NONE.union(*(value.all for value in found))
        text = "inplace" if isinstance(node, ast.Dict) and asks_in_place(node) else ""
        is_known = not any(
            kinds.may_be_called(value.bound, is_surely=False) for value in found
        )  # none like `rows.append`
        code = tuple(code for value in found for code in value.code) if is_known else ()
        value = Value(kinds.CONTAINER, NONE, held, text, code=code)
        if isinstance(node, ast.Tuple):
            return replace(value, text=kinds.FIXED, part=part_of(found), places=tuple(found) if is_known else ())
        if not self.is_written_once():
            return value
        if isinstance(node, ast.Dict) and None not in node.keys:
            return _dict_of(value, found[: len(node.keys)], found[len(node.keys) :])
        return replace(value, part=part_of(found))

    def _named(self, node: ast.NamedExpr) -> Value:
        value = self.eval(node.value)
        self.assign(node.target, value)
        return value

    def _yield(self, node: ast.Yield) -> Value:
        self.returns.append(self.eval(node.value) if node.value is not None else PLAIN)
        return NOBODY_KNOWS

    def _yield_from(self, node: ast.YieldFrom) -> Value:
        value = self.eval(node.value)
        self.returns.append(value)
        return value

    def _combined(self, node: ast.BinOp | ast.Compare | ast.UnaryOp) -> Value:
        found = self._children(node)
        if own := self._own_operator(node, found):
            return own
        met = {value.kind for value in found}
        if met == {kinds.MODEL}:  # models of lmfit are added to one
            text = found[0].text if {value.text for value in found} == {learning.ANEW} else ""
            return Value(kinds.MODEL, NONE, NONE.union(*(learning.without_learnt(value.all) for value in found)), text)
        if met == {kinds.PLAIN} or (isinstance(node, ast.BinOp) and isinstance(node.op, ast.Div) and found[1].text):
            return _joined(node, found)
        for wanted in (kinds.POLARS, kinds.FRAME, kinds.DATA, kinds.ARRAY):
            if wanted in met:
                return Value(wanted)
        if kinds.CONTAINER in met:
            return Value(kinds.CONTAINER, NONE, NONE.union(*(value.all for value in found)))
        return NOBODY_KNOWS

    def _own_operator(self, node: ast.BinOp | ast.Compare | ast.UnaryOp, found: list[Value]) -> Value | None:
        """What an operator runs in the notebook's classes; `in` also reads what it looks into."""
        if isinstance(node, ast.Compare):
            for operator, value in zip(node.ops, found[1:], strict=True):
                is_asked = isinstance(operator, (ast.In, ast.NotIn))
                if is_asked and self.special(value, ("__contains__",), node, [found[0]]) is None:
                    self.consume(value, node, surely=False)
        elif isinstance(node, ast.BinOp) and any(value.is_instance for value in found):
            left, right = found
            name = _OPERATORS[type(node.op)]
            return self.special(left, (f"__{name}__",), node, [right]) or self.special(
                right, (f"__r{name}__",), node, [left]
            )
        return None

    def attribute(self, value: Value, name: str) -> Value:
        if value.kind == kinds.MODULE:
            return Value(kinds.MODULE, text=f"{value.text}.{name}")
        if value.either:
            return replace(join([self.attribute(each, name) for each in value.alternatives]), bound=(name,))
        if value.kind == kinds.FRAME:
            if kinds.is_of_labels(name):
                return Value(kinds.FRAME, value.all)
            return Value(kinds.ARRAY if name == "values" else kinds.FRAME, value.data, labels=value.labels)
        if value.kind in (kinds.PLAIN, kinds.POLARS):
            return Value(value.kind)
        if value.kind in (kinds.ARRAY, kinds.DATA, kinds.PLOT, kinds.CELL):
            return replace(value, bound=(name,))
        if value.kind in kinds.TRAINED:
            part = kinds.part_of(value.kind, name)
            leads_on = part == kinds.DATA or value.text == learning.RESULTS
            return Value(part, value.all if leads_on else value.origins, value.held, bound=(name,))
        return Value(kinds.UNKNOWN, value.all, value.held, code=() if value.is_instance else value.code, bound=(name,))

    def _subscript(self, node: ast.Subscript) -> Value:
        value = self.eval(node.value)
        part = self.eval(node.slice)
        if (found := self.special(value, ("__getitem__",), node, [part])) is not None:
            return found
        if value.kind == kinds.DEFAULTS and isinstance(node.ctx, ast.Load):
            self.touch("may change", value.origins, node)
        if value.kind in kinds.TABLES:
            is_copy = isinstance(node.slice, (ast.Compare, ast.BinOp, ast.List, ast.UnaryOp))
            shared = NONE if is_copy and not _is_number(node.slice) else value.data
            return Value(value.kind, shared, labels=value.labels)
        if value.kind in (kinds.PLOT, kinds.CELL, kinds.MODULE) or value.kind in kinds.TRAINED:
            return value
        if value.kind in (kinds.POLARS, kinds.PLAIN):
            return Value(value.kind)
        if value.kind == kinds.CONTAINER and isinstance(node.slice, ast.Slice):
            return Value(kinds.CONTAINER, NONE, value.all, part=element(value) if value.part is not None else None)
        return replace(value.entry, code=value.code)

    def _comprehension(self, node: Any) -> Value:
        known = dict(self.env)
        before = len(self.out.touches)
        is_lazy = isinstance(node, ast.GeneratorExp)
        iterables = []
        for generator in node.generators:
            iterable = self.eval(generator.iter)
            iterables.append(iterable)
            if not is_lazy:
                self.consume(iterable, generator.iter)
            for target, value in self._turns(generator.target, generator.iter, iterable):
                for part in ast.walk(target):
                    if isinstance(part, ast.Name):
                        self.env[part.id] = value if part is target else element(value)
                        self.locals.add(part.id)
            for test in generator.ifs:
                self.eval(test)
        found = (
            [self.eval(node.key), self.eval(node.value)] if isinstance(node, ast.DictComp) else [self.eval(node.elt)]
        )
        self.env.clear()
        self.env.update(known)
        held = NONE.union(*(value.all for value in (*found, *(iterables if is_lazy else ()))))
        if is_lazy:
            return self.lazy(before, iterables, held)
        value = Value(kinds.CONTAINER, NONE, held)
        if not self.is_written_once():
            return value
        return (
            _dict_of(value, found[:1], found[1:])
            if isinstance(node, ast.DictComp)
            else replace(value, part=part_of(found))
        )

    def _turns(self, target: ast.expr, node: ast.expr, iterable: Value) -> Iterator[tuple[ast.expr, Value]]:
        """What each part of a loop's target may be: `zip` and `enumerate` give theirs to each, and a list as written."""
        parts = target.elts if isinstance(target, (ast.Tuple, ast.List)) else []
        given = _given_by_turns(node)
        if len(parts) > 1 and len(given) == len(parts):
            for part, each in zip(parts, given, strict=True):
                if each is None:
                    yield part, PLAIN
                else:
                    yield from self._turns(part, each, self.eval(each))
        elif rows := _rows_of(node):
            yield from self._turns_as_written(target, parts, rows)
        elif cells := self._cells(node):
            has_label = len(parts) == 2 and path_of(node)[-2] in ("iterrows", "items")
            if has_label:
                yield parts[0], PLAIN
            yield (parts[1] if has_label else target), cells
        else:
            yield target, self._turn(target, iterable)

    def _turns_as_written(
        self, target: ast.expr, parts: list[ast.expr], rows: list[ast.expr]
    ) -> Iterator[tuple[ast.expr, Value]]:
        """What the rows of a list as written give to a loop's target, or to each part of it where all rows have as many."""
        tuples = [row for row in rows if isinstance(row, ast.Tuple) and len(row.elts) == len(parts)]
        if len(parts) > 1 and len(tuples) == len(rows):
            for place, part in enumerate(parts):
                yield part, join([self.eval(row.elts[place]) for row in tuples])
        else:
            yield target, join([self.eval(row) for row in rows])

    def _cells(self, node: ast.expr) -> Value | None:
        """What `frame.iterrows()` and its like give at each turn; None for anything else."""
        if not isinstance(node, ast.Call) or path_of(node)[-2:][0] not in _ROW_BY_ROW:
            return None
        whole = self.eval(node.func.value) if isinstance(node.func, ast.Attribute) else NOBODY_KNOWS
        return Value(kinds.CELL, whole.data) if whole.kind == kinds.FRAME else None

    def _turn(self, target: ast.expr, iterable: Value) -> Value:
        value = Value(kinds.CELL, iterable.data) if iterable.kind == kinds.FRAME else element(iterable)
        is_open = value.kind == kinds.UNKNOWN and not value.code and not value.either
        if isinstance(target, ast.Name) and is_open and not self.around:
            return replace(value, kind=self.plain_kind(target.id))
        return value

    def function(self, node: Any) -> Value:
        """A function made here: what it shares with its surroundings has a token."""
        if not self.around:
            token = frozenset({(self.at, "")}) if isinstance(node, ast.Lambda) and node.args.defaults else NONE
            return Value(kinds.FUNCTION, token, code=(Code(self.owner, node, None, token),))
        token = frozenset({(self.at, "")}) | self.around[-1].token
        return Value(kinds.FUNCTION, token, code=(Code(self.owner, node, self.env, token),))

    def called(self, node: ast.Call) -> Value:
        """What a call gives, with what it does noted."""
        raise NotImplementedError


_STATEMENTS: dict[type[ast.AST], Callable[[Follower, Any], object]] = {
    ast.Expr: Follower._bare,
    ast.Assign: Follower._assignment,
    ast.AnnAssign: Follower._annotated,
    ast.AugAssign: Follower._augmented,
    ast.Delete: Follower._deletion,
    **dict.fromkeys((ast.For, ast.AsyncFor), Follower._loop),
    **dict.fromkeys((ast.With, ast.AsyncWith), Follower._with),
    **dict.fromkeys(FUNCTIONS, Follower._definition),
    ast.ClassDef: Follower._class,
    ast.Match: Follower._match,
    ast.Return: Follower._return,
    ast.Global: lambda follower, node: follower.globals.update(node.names),
    ast.Nonlocal: lambda follower, node: follower.nonlocals.update(node.names),
    ast.Import: Follower._import,
    ast.ImportFrom: Follower._import_from,
}
"""How each kind of statement is followed; of any other, whatever is in it may run."""

_EXPRESSIONS: dict[type[ast.AST], Callable[[Follower, Any], Value]] = {
    ast.Name: lambda follower, node: follower.lookup(node.id),
    ast.Constant: lambda _, node: Value(kinds.PLAIN, text=node.value) if isinstance(node.value, str) else PLAIN,
    ast.Call: lambda follower, node: follower.called(node),
    ast.Attribute: Follower._attribute,
    ast.JoinedStr: Follower._formatted,
    ast.Subscript: Follower._subscript,
    **dict.fromkeys((ast.List, ast.Tuple, ast.Set, ast.Dict), Follower._display),
    **dict.fromkeys((ast.BinOp, ast.Compare, ast.UnaryOp), Follower._combined),
    ast.BoolOp: lambda follower, node: join(follower._children(node)),
    ast.IfExp: lambda follower, node: join(follower._children(node)[1:]),
    ast.Lambda: lambda follower, node: follower.function(node),
    **dict.fromkeys((ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp), Follower._comprehension),
    ast.NamedExpr: Follower._named,
    ast.Await: lambda follower, node: follower.eval(node.value),
    ast.Starred: Follower._starred,
    ast.Yield: Follower._yield,
    ast.YieldFrom: Follower._yield_from,
}
"""What each kind of expression may give; of any other, its parts are followed and it is plain."""


_ROW_BY_ROW = frozenset({"iterrows", "itertuples", "items", "tolist", "to_list", "unique"})
_OPERATORS = {
    ast.Add: "add", ast.Sub: "sub", ast.Mult: "mul", ast.MatMult: "matmul", ast.Div: "truediv", ast.FloorDiv: "floordiv", ast.Mod: "mod",
    ast.Pow: "pow", ast.LShift: "lshift", ast.RShift: "rshift", ast.BitOr: "or", ast.BitAnd: "and", ast.BitXor: "xor",
}  # fmt: skip


def _dict_of(value: Value, keys: list[Value], entries: list[Value]) -> Value:
    """A dict as written, with what its keys and its entries may be where that is known."""
    known = [part for part in (part_of(keys), part_of(entries)) if part is not None]
    return value if len(known) < 2 else replace(value, part=part_of([*keys, *entries]), places=tuple(known))


def undoes(node: ast.expr) -> bool:
    """Whether a `with` takes back what it sets up."""
    return not UNDOING_WITHS.isdisjoint(path_of(node))


def _joined(node: ast.BinOp | ast.Compare | ast.UnaryOp, found: list[Value]) -> Value:
    """The text of `folder / name` or `folder + name`, with "*" for what nobody knows."""
    if not isinstance(node, ast.BinOp) or not any(value.text for value in found):
        return PLAIN
    between = "/" if isinstance(node.op, ast.Div) else "" if isinstance(node.op, ast.Add) else None
    return PLAIN if between is None else Value(kinds.PLAIN, text=between.join(value.text or "*" for value in found))


def _given_by_turns(node: ast.expr) -> list[ast.expr | None]:
    """What `zip` or `enumerate` gives an element of at each turn, None for a number."""
    if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Name) or node.keywords:
        return []
    if node.func.id == "enumerate":
        return [None, *node.args]
    return [*node.args] if node.func.id == "zip" else []


def _rows_of(node: ast.expr) -> list[ast.expr]:
    """What a list or tuple as written consists of."""
    rows = node.elts if isinstance(node, (ast.List, ast.Tuple)) else []
    return [] if any(isinstance(row, ast.Starred) for row in rows) else rows


def asks_in_place(node: ast.Dict) -> bool:
    """Whether a dict holds what asks a method to change its own object: `{"inplace": True}`.

    Example:
        >>> asks_in_place(ast.parse("{'inplace': True}", mode="eval").body), asks_in_place(ast.parse("{'a': 1}", mode="eval").body)
        (True, False)
    """
    return any(says_in_place(key, value) for key, value in zip(node.keys, node.values, strict=True))


def _is_number(node: ast.expr) -> bool:
    return isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub)
