"""The top-level statements of a notebook in their order, and those that may have bound a name last."""

from __future__ import annotations

import ast
import builtins
import sys
from bisect import bisect_left
from collections.abc import Collection, Iterable, Iterator, Sequence

from data_engine.notebook import effects
from data_engine.notebook.analysis import MUTATORS, analyse
from data_engine.notebook.magics import ParsedCell, ParsedStatement
from data_engine.notebook.names import CALL, CHANGE, LOAD, MUTATE, Names, Path, dotted
from data_engine.notebook.read import TextCell

END = sys.maxsize
"""The place after the last statement, where functions look names up when a flow runs."""

DEFINITIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
IMPORTS = (ast.Import, ast.ImportFrom)
DISPLAY_CALLS = frozenset({"preview", "run_once", "show", "display", "plot"})
"""Calls that say a statement is there to be looked at."""

_COMPOUND = {ast.If, ast.Try, ast.TryStar, ast.With, ast.AsyncWith, ast.For, ast.AsyncFor, ast.While, ast.Match}
_DEEPEST_ALIAS = 20


BUILTINS = frozenset(dir(builtins)) | {
    "__name__", "__file__", "__doc__", "__spec__", "__loader__", "__package__", "__builtins__", "__annotations__",
    "__dict__", "__class__", "display", "get_ipython",
}  # fmt: skip
"""Names that need no definition; `get_ipython` is refused on its own grounds."""


class Statement:
    """One top-level statement in its place; `index` counts the notebook's statements, `number` its code cells.

    `definite` are the names it binds whatever happens (None: all it binds). `is_main` marks what runs only under
    `if __name__ == "__main__"`.
    """

    def __init__(self, index: int, cell: ParsedCell, parsed: ParsedStatement) -> None:
        self.index = index
        self.cell = cell
        self.number = cell.cell.number
        self.node = parsed.node
        self.names: Names = parsed.names
        self.line = parsed.line
        self.magic = parsed.magic
        self.magic_line = parsed.magic_line
        self.is_skipped = cell.verdict == "skip"
        self.is_main = isinstance(self.node, ast.If) and _is_main_test(self.node.test)
        self.definite: frozenset[str] | None = None
        if type(self.node) in _COMPOUND and self.names.binds:
            sure = None if self.is_main else _surely_bound([self.node])
            self.definite = frozenset(sure or ())

    @property
    def label(self) -> str:
        """The statement's name in messages: what it defines, or its place."""
        first = next(iter(self.names.binds), None)
        return f"`{first}` in cell {self.number}" if first else self.place

    @property
    def place(self) -> str:
        """Its cell and line."""
        return f"cell {self.number}, line {self.line}"


class Statements:
    """All statements of a notebook. `events` are the statements that bind a name, in order, without skipped cells.

    `repeats` maps an import that was made before to the cell that made it; `changes` maps a statement and a name it binds to
    the statements that change that object in place; `epochs` numbers the stretches in which functions see the same bindings;
    `packages` are the imports, with the name they bind, by top-level package; `texts` are the cells that are no code.
    """

    def __init__(self, cells: Sequence[ParsedCell], texts: Sequence[TextCell] = ()) -> None:
        self.cells = cells
        self.texts = texts
        self.all: list[Statement] = []
        for cell in cells:
            for parsed in cell.statements:
                self.all.append(Statement(len(self.all), cell, parsed))
        live = [statement for statement in self.all if not statement.is_skipped]
        self.future = tuple(sorted({name for statement in live for name in statement.names.future}))
        self.lazy_annotations = "annotations" in self.future or sys.version_info >= (3, 14)
        self.events: dict[str, list[Statement]] = {}
        self.repeats: dict[int, int] = {}
        self._collect_events(live)
        self._indexes = {name: [statement.index for statement in events] for name, events in self.events.items()}
        self.epochs = self._count_epochs()
        self.packages: dict[str, list[tuple[Statement, str]]] = {}
        for statement in live:
            for name, imported in statement.names.imports.items():
                self.packages.setdefault(imported.partition(".")[0], []).append((statement, name))
        self._stars = [statement.names.star for statement in live if statement.names.star]
        self._methods = {
            name
            for statement in live
            for name, alias in statement.names.aliases.items()
            if len(alias) > 1 and alias[-1] in MUTATORS
        }
        self.changes: dict[tuple[int, str], list[Statement]] = {}
        self._functions: list[frozenset[int]] = []
        self._attach_changes(live)

    def reaching(self, name: str, at: int) -> tuple[list[Statement], list[Statement]]:
        """The statements that may have bound `name` last before statement `at`, latest first, and those it was only a target of.

        Several may have: all behind the last one that is sure to.
        """
        strong: list[Statement] = []
        weak: list[Statement] = []
        events = self.events.get(name)
        if events is None:
            return strong, weak
        place = len(events) if at == END else bisect_left(self._indexes[name], at)
        while place:
            place -= 1
            statement = events[place]
            if name in statement.names.targets:
                weak.append(statement)
                continue
            strong.append(statement)
            is_sure = statement.definite is None or name in statement.definite
            if is_sure and name not in statement.names.additive:
                break
        return strong, weak

    def dotted_name(self, name: str) -> str:
        """The dotted name of a name that nothing binds: from the package of a `*` import, rather the author's or a library's than Python's."""
        if not self._stars or not name or name in BUILTINS:
            return name
        star = next(
            (star for star in reversed(self._stars) if star.partition(".")[0] not in sys.stdlib_module_names),
            self._stars[-1],
        )
        return f"{star}.{name}"

    def resolve(self, path: Path, statement: Statement, depth: int = 0) -> str:
        """The dotted name of an access path in `statement`; its root is "?" when it is an object made in the notebook."""
        root = path[0]
        owners, _ = self.reaching(root, statement.index)
        owner = owners[0] if owners else statement
        if owners and root in owner.names.imports:
            return dotted((owner.names.imports[root], *path[1:]))
        if not owners and root not in statement.names.binds:
            return dotted((self.dotted_name(root) or "?", *path[1:]))
        alias = owner.names.aliases.get(root)
        if alias and alias[0] != root and depth < _DEEPEST_ALIAS:
            return dotted((self.resolve(alias, owner, depth + 1), *path[1:]))
        return dotted((root if root == "build" else "?", *path[1:]))

    def is_container(self, name: str, at: int) -> bool:
        """Whether `name` is a list, dict, set or deque as the notebook wrote it."""
        return any(own in owner.names.containers for owner, own in self._makers(name, at, with_copies=True))

    def is_changed(self, name: str, flags: int, at: int, taken: Collection[int]) -> bool:
        """Whether flags say that what `name` means at statement `at` is changed, and a statement of `taken` made that."""
        if not flags & CHANGE and not (flags & MUTATE and self.is_container(name, at)):
            return False
        return any(owner.index in taken for owner, _ in self._makers(name, at))

    def _makers(
        self, name: str, at: int, *, with_copies: bool = False, depth: int = 0
    ) -> Iterator[tuple[Statement, str]]:
        """The statements that may have made the object called `name` at statement `at`, under this and its other names, or what it
        is a copy of; each with its name there."""
        for owner in self.reaching(name, at)[0]:
            yield owner, name
            alias = owner.names.aliases.get(name)
            is_same = alias and (is_same_object(alias) or (with_copies and alias[1:] == ("copy", "()")))
            if alias and is_same and depth < _DEEPEST_ALIAS:
                yield from self._makers(alias[0], owner.index, with_copies=with_copies, depth=depth + 1)

    def bound_method(self, name: str, at: int) -> str:
        """The container that calling `name` changes, after `add = ROWS.append`; "" for none."""
        for owner in self.reaching(name, at)[0] if name in self._methods else ():
            alias = owner.names.aliases.get(name, ())
            if len(alias) == 2 and alias[1] in MUTATORS and self.is_container(alias[0], owner.index):
                return alias[0]
        return ""

    def is_setup(self, statement: Statement) -> bool:
        """Whether the statement sets up the whole process, beyond a `with` that undoes it."""
        names = statement.names
        if statement.is_main or statement.magic or isinstance(statement.node, DEFINITIONS):
            return False
        marks = [(path, undoing) for path, _, undoing in names.calls]
        marks += [((*path, " ="), undoing) for path, _, undoing in names.writes]
        if type(statement.node) in _COMPOUND and any(not DISPLAY_CALLS.isdisjoint(path) for path, _ in marks):
            return False
        return any(
            path[0] and not undoing and effects.is_setup(self.resolve(path, statement)) for path, undoing in marks
        )

    def done_by(self, function: str, at: int) -> set[str]:
        """The `effects.kinds` of calling a function of the notebook, by itself and through others."""
        done: set[str] = set()
        indexes: set[int] = set()
        names = [function]
        while names:
            for owner in self.reaching(names.pop(), at)[0]:
                if owner.index in indexes or not isinstance(owner.node, FUNCTIONS):
                    continue
                indexes.add(owner.index)
                for path in owner.names.later_calls:
                    done |= effects.kinds(self.resolve(path, owner))
                names += [name for name, flags in owner.names.later.items() if flags & CALL]
        return done

    def functions_in(self, statement: Statement) -> list[Statement]:
        """The statements whose functions may be called through what `statement` binds: itself, and those it is made from."""
        while len(self._functions) <= statement.index:
            other = self.all[len(self._functions)]
            functions = frozenset({other.index} if other.names.later else ())
            for name, flags in other.names.now.items():
                if flags & LOAD:
                    for maker in self.reaching(name, other.index)[0]:
                        if not self._functions[maker.index] <= functions:
                            functions |= self._functions[maker.index]
            self._functions.append(functions)
        return [self.all[index] for index in sorted(self._functions[statement.index])]

    def _collect_events(self, live: Iterable[Statement]) -> None:
        for statement in live:
            is_import = isinstance(statement.node, IMPORTS)
            repeated = 0
            for name in statement.names.binds:
                events = self.events.setdefault(name, [])
                if is_import and events and name not in statement.names.additive:
                    last = events[-1]
                    if isinstance(last.node, IMPORTS) and last.names.imports[name] == statement.names.imports[name]:
                        repeated += 1
                        self.repeats[statement.index] = last.number
                        continue
                events.append(statement)
            if repeated != len(statement.names.binds):
                self.repeats.pop(statement.index, None)

    def _count_epochs(self) -> list[int]:
        read_later = {name for statement in self.all for name in statement.names.later}
        moves = {
            statement.index
            for name, events in self.events.items()
            if len(events) > 1 and name in read_later
            for statement in events
        }
        epochs, epoch = [], 0
        for index in range(len(self.all) + 1):
            epochs.append(epoch)
            epoch += index in moves
        return epochs

    def _attach_changes(self, live: Iterable[Statement]) -> None:
        for statement in live:
            if statement.is_main:
                continue
            for name, flags in statement.names.now.items():
                if flags & CHANGE or (flags & MUTATE and self.is_container(name, statement.index)):
                    self._attach(statement, name, statement.index, 0)
                    self._attach_to_package(statement, name)
                elif flags & CALL and (whole := self.bound_method(name, statement.index)):
                    self._attach(statement, whole, statement.index, 0)

    def _attach_to_package(self, change: Statement, name: str) -> None:
        """A module that is changed is changed for whoever imports from its package."""
        for owner in self.reaching(name, change.index)[0]:
            if name in owner.names.imports:
                for statement, other in self.packages[owner.names.imports[name].partition(".")[0]]:
                    changes = self.changes.setdefault((statement.index, other), [])
                    if change not in changes[-1:]:
                        changes.append(change)

    def _attach(self, change: Statement, name: str, at: int, depth: int) -> None:
        for owner in self.reaching(name, at)[0]:
            changes = self.changes.setdefault((owner.index, name), [])
            if (changes and changes[-1] is change) or depth > _DEEPEST_ALIAS:
                continue
            changes.append(change)
            for twin in _twins(owner.node, name):
                self._attach(change, twin, owner.index + 1, depth + 1)
            alias = owner.names.aliases.get(name)
            if alias and is_same_object(alias):
                self._attach(change, alias[0], owner.index, depth + 1)


def is_same_object(alias: Path) -> bool:
    """Whether what the path gives is its root or a part of it, so that changing the one changes the other."""
    return all(part != "()" or alias[i - 1] in ("get", "setdefault") for i, part in enumerate(alias))


def _twins(node: ast.stmt, name: str) -> list[str]:
    """The other names of the same object in `first = second = []`."""
    if not isinstance(node, ast.Assign) or len(node.targets) == 1:
        return []
    names = [target.id for target in node.targets if isinstance(target, ast.Name)]
    return [other for other in names if other != name] if name in names else []


def _is_main_test(test: ast.expr) -> bool:
    return (
        isinstance(test, ast.Compare)
        and isinstance(test.ops[0], ast.Eq)
        and any(isinstance(part, ast.Name) and part.id == "__name__" for part in (test.left, *test.comparators))
    )


def _surely_bound(statements: Iterable[ast.stmt]) -> set[str] | None:
    """The names that running `statements` to their end always binds; None when they never come to their end."""
    bound: set[str] = set()
    for statement in statements:
        kind = type(statement)
        if kind in (ast.Return, ast.Raise, ast.Continue, ast.Break):
            return None
        if isinstance(statement, ast.If):
            branches = [_surely_bound(statement.body), _surely_bound(statement.orelse)]
        elif isinstance(statement, ast.Try) or kind.__name__ == "TryStar":
            branches = [_surely_bound([*statement.body, *statement.orelse])]  # type: ignore[attr-defined]
            branches += [_surely_bound(handler.body) for handler in statement.handlers]  # type: ignore[attr-defined]
            bound |= _surely_bound(statement.finalbody) or set()  # type: ignore[attr-defined]
        elif isinstance(statement, (ast.With, ast.AsyncWith)):
            branches = [_surely_bound(statement.body)]
        elif isinstance(statement, ast.Match):
            branches = [_surely_bound(case.body) for case in statement.cases]
            if not any(
                case.guard is None and isinstance(case.pattern, ast.MatchAs) and case.pattern.pattern is None
                for case in statement.cases
            ):
                branches.append(set())
        elif isinstance(statement, (ast.For, ast.AsyncFor, ast.While)):
            continue
        else:
            bound.update(analyse(statement).binds)
            continue
        ends = [branch for branch in branches if branch is not None]
        if not ends:
            return None
        bound |= set.intersection(*ends)
    return bound
