"""Follows names from `build` and `DESCRIPTION` to the statements that supply them.

A statement is taken where a name is read (functions read at the end of the notebook, and where a taken statement may call them).
Statements that change a needed object, set up the process or register a definition are taken too: where that is a guess and fails,
they are left out with a warning.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator
from dataclasses import replace
from functools import cached_property
from typing import Any

from data_engine.notebook import effects
from data_engine.notebook.call_graph import CallGraph, FunctionBody
from data_engine.notebook.diagnostics import (
    MARKED_KEEP,
    SETS_UP,
    Diagnostic,
    SliceResult,
    Want,
    forbidden,
    looked_up,
    unsupplied,
)
from data_engine.notebook.names import (
    CALL,
    HINT,
    LOAD,
    NOTE,
    SQL,
    TABLE,
    TYPE,
    Path,
    dotted,
    path_of,
    reads_tables,
    sql_text,
    texts_in,
)
from data_engine.notebook.statements import BUILTINS, DEFINITIONS, DISPLAY_CALLS, END, IMPORTS, Statement, Statements


class Slicer:
    """Follows names from the roots. What is taken may be forgotten again when it was only tried."""

    def __init__(self, statements: Statements) -> None:
        self.statements = statements
        self.taken: dict[int, str] = {}
        self.changed: dict[int, str] = {}
        self.wants: dict[int, Want] = {}
        self.followed: dict[str, None] = {}
        self.early: dict[tuple[int, int], None] = {}
        self.open: list[Want] = []
        self.shadowed: list[Want] = []
        self.soft: list[
            tuple[Want, bool]
        ] = []  # meant if it exists: by SQL (and whether as a table), an annotation, a guarded read
        self.problems: list[Diagnostic] = []
        self.work: list[Statement] = []
        self.call_graph = CallGraph(statements)
        self.has_sql_wrappers = any(statement.names.sql_parameters for statement in statements.all)

    def take_roots(self) -> None:
        """Take what production runs whatever build() needs, then build, DESCRIPTION and all they need."""
        used = _used_names(self.statements)
        for statement in self.statements.all:
            names = statement.names
            if statement.is_skipped:
                continue
            if names.future:
                self.take(statement, "holds for the whole module")
            elif (
                statement.cell.verdict == "keep"
                and not isinstance(statement.node, ast.Pass)
                and (not statement.magic or names.binds)
            ):
                self.take(statement, MARKED_KEEP)
            elif names.star is not None and names.relative_line is None:
                self.take(statement, "`*` may bring any name")
            elif self._is_effect_import(statement, used):
                self.take(statement, "imported for its effect: nothing uses its name")
            elif self.statements.is_setup(statement):
                self.take(statement, SETS_UP)
        self.need(Want("build", END, None, 1))
        if "DESCRIPTION" in self.statements.events:
            self.need(Want("DESCRIPTION", END, None, 1))
        self.follow()

    def _is_effect_import(self, statement: Statement, used: set[str]) -> bool:
        names = statement.names
        if (
            not names.imports
            or names.relative_line
            or statement.index in self.statements.repeats
            or statement.is_main
            or statement.magic
        ):
            return False
        if not used.isdisjoint(names.binds) or names.calls or names.writes:
            return False
        return isinstance(statement.node, (*IMPORTS, ast.If, ast.Try))

    def take(self, statement: Statement, why: str, want: Want | None = None) -> None:
        """Keep a statement; what it needs is followed later."""
        if statement.index in self.taken:
            return
        self.taken[statement.index] = why
        if want is not None:
            self.wants[statement.index] = want
        self.work.append(statement)

    def supply(self, owner: Statement, want: Want, why: str) -> None:
        """Keep the statement that binds a wanted name, and what changes that object in place."""
        self.take(owner, why, want)
        for change in self.statements.changes.get((owner.index, want.name), ()):
            if change.index not in self.taken:
                self.changed[change.index] = want.name
            self.take(change, f"changes `{want.name}` in place", want)

    def follow(self) -> None:
        """Take everything that what was taken needs."""
        while self.work:
            statement = self.work.pop()
            names = statement.names
            self.problems += forbidden(self.statements, statement, self.wants.get(statement.index))
            for name, flags in names.now.items():
                is_read = flags & LOAD or (flags & NOTE and not self.statements.lazy_annotations)
                self._follow_name(Want(name, statement.index, statement, names.now_lines[name]), flags, bool(is_read))
            for name, flags in names.later.items():
                self._follow_name(Want(name, END, statement, names.later_lines[name]), flags, bool(flags & LOAD))
            for name in looked_up(self.statements, statement):
                self.soft.append((Want(name, END, statement, statement.line), False))
            if self.has_sql_wrappers:
                self._follow_handed_sql(statement)
            if names.later and not isinstance(statement.node, DEFINITIONS):
                self._take_early(statement, statement.index)  # `sorted(rows, key=lambda row: RANK[row])`

    def _follow_name(self, want: Want, flags: int, is_read: bool) -> None:
        if is_read:
            self.need(want)
        if flags & (NOTE | TYPE):
            self.soft.append((replace(want, at=END), False))
        if flags & (HINT | TABLE):
            self.soft.append((want, bool(flags & TABLE)))
        if flags & SQL:
            self._note_sql(want)

    def _note_sql(self, want: Want) -> None:
        """Note the names in an SQL text that reaches `sql()` by a module-level name."""
        for owner in self.statements.reaching(want.name, want.at)[0]:
            if isinstance(owner.node, IMPORTS):
                continue
            self._note_tables(texts_in(owner.node), want)

    def _follow_handed_sql(self, statement: Statement) -> None:
        """Note the names in SQL texts that a function of the notebook takes as a parameter: `q("select day from lookup")`."""
        for value, at in self.call_graph.sql_in(statement):
            texts = list(texts_in(value))
            for part in ast.walk(value):
                if isinstance(part, ast.Name):
                    if part.id in statement.names.later or part.id in statement.names.now:
                        self._note_sql(Want(part.id, at, statement, part.lineno))
                    else:  # a local variable: one of these texts, perhaps
                        texts += [text for text in texts_in(statement.node) if reads_tables(text)]
            self._note_tables(texts, Want("", at, statement, value.lineno))

    def _note_tables(self, texts: Iterable[str], want: Want) -> None:
        for text in texts:
            tables, words = sql_text(text)
            for word in sorted(words & self.statements.events.keys()):
                self.soft.append((replace(want, name=word), word in tables))

    def need(self, want: Want) -> None:
        """Take all that may supply a name where it is read."""
        name, at = want.name, want.at
        if at == END:
            if name in self.followed:
                return
            self.followed[name] = None
        strong, weak = self.statements.reaching(name, at)
        if strong:
            if weak and weak[0].index > strong[0].index:
                self.shadowed.append(replace(want, target=weak[0]))
            why = f"`{name}` is used by {want.user.label}" if want.user else f"the flow's `{name}`"
            for owner in strong:
                self.supply(owner, want, why)
                if at != END:
                    self._take_early(owner, at)
        elif weak:
            self.open.append(replace(want, target=weak[0]))
        elif name not in BUILTINS:
            self.open.append(want)

    def _take_early(self, owner: Statement, at: int) -> None:
        """Take what `owner`'s functions read if they are called at `at` already, before the end of the notebook."""
        waiting = [owner]
        while waiting:
            for statement in self.statements.functions_in(waiting.pop()):
                key = (statement.index, self.statements.epochs[at])
                if key in self.early:
                    continue
                self.early[key] = None
                for name, flags in statement.names.later.items():
                    if flags & LOAD:
                        want = Want(name, at, statement, statement.names.later_lines[name])
                        for supplier in self.statements.reaching(name, at)[0]:
                            self.supply(supplier, want, f"`{name}` is used by {statement.label}")
                            waiting.append(supplier)

    def open_problems(self, first: int = 0) -> list[Diagnostic]:
        """Why the wants from number `first` on cannot be met by what is taken."""
        if len(self.open) == first:
            return []
        set_by_calls = {name for index in self.taken for name in self.statements.all[index].names.bound_globals}
        star = self._last_star()
        return [
            unsupplied(self.statements, want)
            for want in self.open[first:]
            if (want.target is not None and want.target.index not in self.taken)
            or (want.target is None and star is None and want.name not in set_by_calls)
        ]

    def _last_star(self) -> Statement | None:
        stars = [
            statement
            for statement in self.statements.all
            if statement.names.star is not None and statement.index in self.taken
        ]
        return stars[-1] if stars else None

    def selection(self) -> SliceResult:
        """The result of slicing."""
        star = self._last_star()
        starred = [(want, star) for want in self.open if want.target is None and star is not None]
        return SliceResult({**self.taken}, {**self.changed}, [*self.followed], [*self.shadowed], starred)

    # what is only probably meant

    def attempt(self, statement: Statement, why: str, want: Want | None = None) -> Diagnostic | None:
        """Take `statement` and all it needs, or nothing; then the problem that prevents it."""
        tables: list[dict[Any, Any]] = [self.taken, self.wants, self.followed, self.early]
        lists: list[list[Any]] = [self.open, self.shadowed, self.soft, self.problems]
        sizes = [len(part) for part in (*tables, *lists)]
        if want is None:
            self.take(statement, why)
        else:
            self.supply(statement, want, why)
        self.follow()
        problems = self.problems[sizes[-1] :] or self.open_problems(sizes[len(tables)])
        if not problems:
            return None
        for table, size in zip(tables, sizes, strict=False):
            while len(table) > size:
                table.popitem()
        for entries, size in zip(lists, sizes[len(tables) :], strict=True):
            del entries[size:]
        return min(problems, key=place_of)

    def try_the_probable(self) -> list[Diagnostic]:
        """Take registrations and softly meant names as long as that brings new ones; warnings for what was refused."""
        refused: dict[int, tuple[str, Diagnostic]] = {}
        tried = 0
        before = -1
        while before != len(self.taken):
            before = len(self.taken)
            for statement, why in [*self._registrations(), *self._registering_calls()]:
                problem = self.attempt(statement, why) if statement.index not in self.taken else None
                if problem:
                    refused[statement.index] = (why, problem)
            while tried < len(self.soft) and not self.problems:
                tried += 1
                self._try_soft(*self.soft[tried - 1])
        warnings = []
        for index, (why, problem) in refused.items():
            statement = self.statements.all[index]
            if index not in self.taken:
                what = f"{statement.label} is {why} but cannot go to production and is left out: {problem.message}"
                line = problem.line if problem.cell == statement.number else statement.line
                fix = "fix that, or mark the cell `#| skip` if production does not need it"
                warnings.append(Diagnostic(what, statement.number, line, fix))
        return warnings

    def _try_soft(self, want: Want, is_table: bool) -> None:
        strong, weak = self.statements.reaching(want.name, want.at)
        if not strong and weak and is_table and weak[0].index not in self.taken:
            self.problems.append(unsupplied(self.statements, replace(want, target=weak[0])))
        for owner in strong:
            problem = self.attempt(owner, f"`{want.name}` is named by {want.label}", want)
            if problem and is_table:
                self.problems.append(problem)

    def _registrations(self) -> Iterator[tuple[Statement, str]]:
        """Definitions that a decorator, base or metaclass which is needed or imported may have recorded somewhere."""
        for statement in self.statements.all:
            node = statement.node
            if (
                statement.is_skipped
                or statement.magic
                or statement.index in self.taken
                or not isinstance(node, DEFINITIONS)
            ):
                continue
            makers = list(node.decorator_list)
            if isinstance(node, ast.ClassDef):
                makers += [*node.bases, *(keyword.value for keyword in node.keywords if keyword.arg == "metaclass")]
            maker = next((maker for maker in makers if self._registers(maker, statement)), None) or self._recorder(
                statement
            )
            if maker is not None:
                yield statement, f"registered by `{dotted(path_of(maker))}`"

    def _registers(self, maker: ast.expr, statement: Statement) -> bool:
        path = path_of(maker)
        for owner in self.statements.reaching(path[0], statement.index)[0]:
            if path[0] in owner.names.imports:
                if effects.may_register(self.statements.resolve(path, statement)):
                    return True
            elif owner.index in self.taken:
                return True
        return False

    def _recorder(self, statement: Statement) -> ast.expr | None:
        """The decorator, base or metaclass of a definition whose code in the notebook changes a needed object."""
        node = statement.node
        if not isinstance(node, DEFINITIONS) or self.call_graph.own.isdisjoint(statement.names.now):
            return None
        for maker in node.decorator_list:
            bodies = self.call_graph.called((*path_of(maker), "()"), statement.index)
            if any(self._changes_needed(body, statement) for body in bodies):
                return maker
        if isinstance(node, ast.ClassDef):
            makers = [(base, False) for base in node.bases]
            makers += [(keyword.value, True) for keyword in node.keywords if keyword.arg == "metaclass"]
            for maker, is_metaclass in makers:
                hooks = self.call_graph.hooks(path_of(maker), statement.index, is_metaclass=is_metaclass)
                if any(self._changes_needed(body, statement) for body in hooks):
                    return maker
        return None

    def _registering_calls(self) -> Iterator[tuple[Statement, str]]:
        """Statements that call what changes a needed object: `register("a")`, `x = Check("a")`, `add(ROWS)`."""
        for statement in self.statements.all:
            if statement.is_skipped or statement.index in self.taken or statement.is_main or statement.magic:
                continue
            if self.call_graph.own.isdisjoint(statement.names.now):
                continue
            for path, call, _ in statement.names.calls:
                bodies = self.call_graph.called(path, statement.index)
                if any(self._changes_needed(body, statement, call) for body in bodies):
                    yield statement, f"`{dotted(path[:-1])}` changes what build() needs"
                    break
                if base := self._needed_base(path, call, statement):
                    yield statement, f"registered by `{base}`"
                    break

    def _needed_base(self, path: Path, call: ast.Call, statement: Statement) -> str:
        """The needed class that `type("Kid", (Base,), {})` makes a class of, "" for none."""
        bases = call.args[1] if path[-2:-1] in (("type",), ("new_class",)) and len(call.args) > 1 else None
        for base in bases.elts if isinstance(bases, (ast.Tuple, ast.List)) else ():
            owners = self.statements.reaching(path_of(base)[0], statement.index)[0]
            if any(owner.index in self.taken and isinstance(owner.node, ast.ClassDef) for owner in owners):
                return path_of(base)[0]
        return ""

    @cached_property
    def in_runs(self) -> set[int]:
        """The statements a run may call or use: reached from build() without what only a value at module level calls."""
        indexes: set[int] = set()
        names = ["build", "DESCRIPTION"]
        while names:
            for statement in self.statements.reaching(names.pop(), END)[0]:
                if statement.index not in indexes:
                    indexes.add(statement.index)
                    names += [name for name, flags in statement.names.later.items() if flags & LOAD]
                    names += [name for name, flags in statement.names.now.items() if flags & LOAD and not flags & CALL]
        return indexes

    def _changes_needed(self, body: FunctionBody, statement: Statement, call: ast.Call | None = None) -> bool:
        """Whether running a body at `statement` changes an object that was taken, by its name or as what `call` hands it.

        What a run itself may call is called here to try it out; only a needed class is made an object of in earnest.
        """
        names = body.owner.names
        roots = self.statements.reaching(path_of(call)[0], statement.index)[0] if call else []
        if not body.is_constructor and any(owner.index in self.in_runs for owner in (body.owner, *roots)):
            return False
        if "build" in names.later or any(not DISPLAY_CALLS.isdisjoint(path) for path in names.later_calls):
            return False
        changed = list(self.call_graph.effects_of(body).names.items())
        if call is not None:
            changed += self.call_graph.changed_by(call, path_of(call), body)
        return any(self.statements.is_changed(name, flags, statement.index, self.taken) for name, flags in changed)


def place_of(diagnostic: Diagnostic) -> tuple[int, int]:
    """The cell and line of a diagnostic, for sorting."""
    return diagnostic.cell, diagnostic.line


def _used_names(statements: Statements) -> set[str]:
    """Every name any statement, magic line or broken cell uses."""
    used: set[str] = set()
    for statement in statements.all:
        used.update(statement.names.now, statement.names.later)
        if statement.magic:
            for text in texts_in(statement.node):
                used.update(re.findall(r"\w+", text))
    for cell in statements.cells:
        if cell.problem:
            used.update(re.findall(r"\w+", cell.cell.text))
    return used
