"""Which statements of a notebook `build()` needs, and why: the rule of the compiler, pure over parsed cells.

From `build` and `DESCRIPTION` names are followed to the statements that bind them, as they stand where the name is read
(functions read when they are called, so at the end of the notebook, and also where something kept may call them). What
changes a needed object, sets up the process, or registers a definition is kept beside them. What is kept only because of
such a guess never makes a notebook fail: when it cannot be kept it is left out with a warning.
"""

from __future__ import annotations

import ast
import builtins
import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from data_engine.notebook import effects
from data_engine.notebook.call_graph import Body, CallGraph
from data_engine.notebook.diagnostics import (
    MARKED_KEEP,
    SETS_UP,
    Diagnostic,
    Selection,
    Want,
    forbidden,
    unsupplied,
    warnings_of,
)
from data_engine.notebook.magics import ParsedCell
from data_engine.notebook.missed import Missed, Reads, cells_text, missed, warnings_about, written_by_cells
from data_engine.notebook.names import CALL, HINT, LOAD, NOTE, SQL, TABLE, TYPE
from data_engine.notebook.shapes import path_of, reads_tables, sql_words, texts_in
from data_engine.notebook.statements import DEFINITIONS, DISPLAY_CALLS, END, IMPORTS, Statement, Statements
from data_engine.notebook.touches import Objects

_GIVEN = frozenset(dir(builtins)) | {
    "__name__", "__file__", "__doc__", "__spec__", "__loader__", "__package__", "__builtins__", "__annotations__",
    "__dict__", "__class__", "display", "get_ipython",
}  # fmt: skip
"""Names that need no definition; `get_ipython` is refused on its own grounds."""


@dataclass(frozen=True, slots=True)
class Decision:
    """Whether one statement goes to production, and why."""

    line: int
    taken: bool
    why: str


@dataclass(frozen=True, slots=True)
class Slice:
    """The decisions, one tuple per cell and one entry per statement of the cell.

    `is_flow` is False for a notebook without `build`; `problem` says why there can be no module; `future` are the
    `from __future__` features that hold for the whole module.
    """

    decisions: tuple[tuple[Decision, ...], ...]
    warnings: tuple[Diagnostic, ...] = ()
    problem: Diagnostic | None = None
    future: tuple[str, ...] = ()
    is_flow: bool = True


def slice_cells(cells: Sequence[ParsedCell]) -> Slice:
    """What `build()` needs of these cells.

    Example:
        >>> from data_engine.notebook.magics import parse_cell
        >>> from data_engine.notebook.read import NotebookCell
        >>> text = "rate = 0.2\\nscratch = 1\\ndef build(): return rate"
        >>> [decision.taken for decision in slice_cells([parse_cell(NotebookCell(1, "a", text))]).decisions[0]]
        [True, False, True]
    """
    statements = Statements(cells)
    if all("build" in statement.names.targets for statement in statements.events.get("build", ())):
        broken = next((cell for cell in cells if cell.problem and _means_build(cell)), None)
        if broken is None:
            return Slice(_decisions(statements, {}, "the notebook has no build()"), is_flow=False)
        number = broken.cell.number
        what = f"cell {number}, which holds build(), does not parse: {broken.problem}"
        problems = [Diagnostic(what, number, broken.problem_line, "fix the cell")]
        return _failed(statements, problems)
    problems = list(_contradictions(cells))
    if problems:
        return _failed(statements, problems)
    slicer = _Slicer(statements)
    slicer.take_roots()
    problems = slicer.problems or slicer.open_problems()
    if problems:
        return _failed(statements, problems)
    refused = slicer.try_the_probable()
    problems = slicer.problems or slicer.open_problems()
    if problems:
        return _failed(statements, problems)
    selection = slicer.selection()
    warnings = sorted(
        [*refused, *warnings_of(statements, selection), *_about_missed(slicer)],
        key=lambda diagnostic: (*_place(diagnostic), diagnostic.message),
    )
    decisions = _decisions(statements, selection.taken, "build() does not need it", selection.followed)
    return Slice(decisions, tuple(dict.fromkeys(warnings)), future=statements.future)


def _about_missed(slicer: _Slicer) -> list[Diagnostic]:
    """What left-out statements may do to what is needed, and what will be needed once those are kept too."""
    statements = slicer.statements
    objects = Objects(statements)
    reads = Reads(statements, objects, slicer.taken)
    found = missed(statements, reads)
    told = {each for _, each in found}
    later: list[tuple[Missed, str]] = []
    kept: set[int] = set()
    new = found
    while numbers := sorted({statement.number for statement, _ in new} - kept):
        kept.update(numbers)
        for statement in statements.all:
            if statement.number in numbers and not statement.magic:
                slicer.attempt(statement, MARKED_KEEP)
        new = [entry for entry in missed(statements, Reads(statements, objects, slicer.taken)) if entry[1] not in told]
        told.update(each for _, each in new)
        later += [(each, cells_text(numbers)) for _, each in new]
    return [*warnings_about([*(each for _, each in found), *written_by_cells(statements.cells, reads)], later)]


def _failed(statements: Statements, problems: Iterable[Diagnostic]) -> Slice:
    decisions = _decisions(statements, {}, "the notebook does not compile")
    return Slice(decisions, problem=min(problems, key=_place), future=statements.future)


def _place(diagnostic: Diagnostic) -> tuple[int, int]:
    return diagnostic.cell, diagnostic.line


def _means_build(cell: ParsedCell) -> bool:
    if cell.verdict == "skip":
        return False
    return re.search(r"^\s*(?:async\s+)?def\s+build\b|^\s*build\s*=", cell.cell.text, re.MULTILINE) is not None


def _contradictions(cells: Iterable[ParsedCell]) -> Iterator[Diagnostic]:
    for cell in cells:
        number = cell.cell.number
        if cell.verdict == "both":
            yield Diagnostic(f"cell {number} is marked keep and skip at once", number, 1, "take one of the marks off")
        elif cell.verdict == "keep" and cell.problem:
            what = f"cell {number} is marked keep but does not parse: {cell.problem}"
            yield Diagnostic(what, number, cell.problem_line, "fix the cell")
        elif cell.verdict == "keep" and cell.language:
            what = f"cell {number} is marked keep but is a {cell.language} cell"
            yield Diagnostic(what, number, 1, "write it in Python, or take the mark off")


@dataclass(frozen=True, slots=True)
class _Soft:
    """A name that is meant if it exists: from SQL, a text annotation or a guarded read."""

    want: Want
    is_table: bool


class _Slicer:
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
        self.soft: list[_Soft] = []
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
            if self.has_sql_wrappers:
                self._follow_handed_sql(statement)
            if names.later and not isinstance(statement.node, DEFINITIONS):
                self._take_early(statement, statement.index)  # `sorted(rows, key=lambda row: RANK[row])`

    def _follow_name(self, want: Want, flags: int, is_read: bool) -> None:
        if is_read:
            self.need(want)
        if flags & (NOTE | TYPE):
            self.soft.append(_Soft(replace(want, at=END), is_table=False))
        if flags & (HINT | TABLE):
            self.soft.append(_Soft(want, bool(flags & TABLE)))
        if flags & SQL:
            self._note_sql(want)

    def _note_sql(self, want: Want) -> None:
        """The names in an SQL text that reaches `sql()` by a module-level name."""
        for owner in self.statements.reaching(want.name, want.at)[0]:
            if isinstance(owner.node, IMPORTS):
                continue
            self._note_tables(texts_in(owner.node), want)

    def _follow_handed_sql(self, statement: Statement) -> None:
        """The names in SQL texts that a function of the notebook takes as a parameter: `q("select day from lookup")`."""
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
            tables, words = sql_words(text)
            for word in sorted(words & self.statements.events.keys()):
                self.soft.append(_Soft(replace(want, name=word), word in tables))

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
        elif name not in _GIVEN:
            self.open.append(want)

    def _take_early(self, owner: Statement, at: int) -> None:
        """What `owner`'s functions read if they are called at `at` already, before the end of the notebook."""
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
                        for found in self.statements.reaching(name, at)[0]:
                            self.supply(found, want, f"`{name}` is used by {statement.label}")
                            waiting.append(found)

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

    def selection(self) -> Selection:
        """What it came to."""
        star = self._last_star()
        starred = [(want, star) for want in self.open if want.target is None and star is not None]
        return Selection({**self.taken}, {**self.changed}, [*self.followed], [*self.shadowed], starred, self.call_graph)

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
        return min(problems, key=_place)

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
                self._try_soft(self.soft[tried - 1])
        warnings = []
        for index, (why, problem) in refused.items():
            statement = self.statements.all[index]
            if index not in self.taken:
                what = f"{statement.label} is {why} but cannot go to production and is left out: {problem.message}"
                line = problem.line if problem.cell == statement.number else statement.line
                fix = "fix that, or mark the cell `#| skip` if production does not need it"
                warnings.append(Diagnostic(what, statement.number, line, fix))
        return warnings

    def _try_soft(self, soft: _Soft) -> None:
        want = soft.want
        strong, weak = self.statements.reaching(want.name, want.at)
        if not strong and weak and soft.is_table and weak[0].index not in self.taken:
            self.problems.append(unsupplied(self.statements, replace(want, target=weak[0])))
        for owner in strong:
            problem = self.attempt(owner, f"`{want.name}` is named by {want.label}", want)
            if problem and soft.is_table:
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
                yield statement, f"registered by `{effects.dotted(path_of(maker))}`"

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
                    yield statement, f"`{effects.dotted(path[:-1])}` changes what build() needs"
                    break

    @cached_property
    def in_runs(self) -> set[int]:
        """The statements a run may call or use: reached from build() without what only a value at module level calls."""
        found: set[int] = set()
        names = ["build", "DESCRIPTION"]
        while names:
            for statement in self.statements.reaching(names.pop(), END)[0]:
                if statement.index not in found:
                    found.add(statement.index)
                    names += [name for name, flags in statement.names.later.items() if flags & LOAD]
                    names += [name for name, flags in statement.names.now.items() if flags & LOAD and not flags & CALL]
        return found

    def _changes_needed(self, body: Body, statement: Statement, call: ast.Call | None = None) -> bool:
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


def _decisions(
    statements: Statements, taken: Mapping[int, str], otherwise: str, followed: Collection[str] = ()
) -> tuple[tuple[Decision, ...], ...]:
    decisions: dict[int, list[Decision]] = {id(cell): [] for cell in statements.cells}
    for statement in statements.all:
        why = taken.get(statement.index) or (_why_left(statements, statement, followed) if taken else "") or otherwise
        decisions[id(statement.cell)].append(Decision(statement.line, statement.index in taken, why))
    for cell in statements.cells:
        if cell.language:
            decisions[id(cell)].append(Decision(1, False, f"a {cell.language} cell stays in the notebook"))
        elif cell.problem:
            why = f"the cell does not parse: {cell.problem}"
            decisions[id(cell)].append(Decision(cell.problem_line, False, why))
    return tuple(tuple(entries) for entries in decisions.values())


def _why_left(statements: Statements, statement: Statement, followed: Collection[str]) -> str:
    """Why a statement is left out, "" for no reason but that nothing needs it."""
    if statement.is_skipped:
        return "its cell is marked skip"
    if statement.magic:
        return f"{statement.magic} stays in the notebook"
    if statement.index in statements.repeats:
        return f"imported in cell {statements.repeats[statement.index]} already"
    if isinstance(statement.node, IMPORTS):
        return "used only by what is left out"
    for name in statement.names.binds:
        if name in followed and name not in statement.names.targets:
            return f"cell {statements.reaching(name, END)[0][0].number} defines `{name}` anew"
    return ""
