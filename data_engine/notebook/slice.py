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
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from data_engine.notebook import effects
from data_engine.notebook.magics import ParsedCell, Statement
from data_engine.notebook.names import (
    CALL,
    CHANGE,
    HINT,
    LOAD,
    MUTATE,
    NOTE,
    SQL,
    TABLE,
    Names,
    Path,
    analyse,
    path_of,
    sql_words,
    surely_bound,
    texts_in,
)

_END = sys.maxsize
_GIVEN = frozenset(dir(builtins)) | {
    "__name__", "__file__", "__doc__", "__spec__", "__loader__", "__package__", "__builtins__", "__annotations__",
    "__dict__", "__class__", "display",
}  # fmt: skip
_KEEP = "put `#| keep` at the top of the cell if production needs it"
_COMPOUND = {ast.If, ast.Try, ast.TryStar, ast.With, ast.AsyncWith, ast.For, ast.AsyncFor, ast.While, ast.Match}
_SETS_UP = "sets up the process"
_MARKED_KEEP = "its cell is marked keep"
_DEFINITIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
_IMPORTS = (ast.Import, ast.ImportFrom)
_LOOKS = frozenset({"preview", "run_once", "show", "display", "plot"})
_PROCESS_MAGIC = re.compile(r"the line magic %(env|set_env|cd|dotenv|pushd|popd)$")


@dataclass(frozen=True, slots=True)
class Decision:
    """Whether one statement goes to production, and why."""

    line: int
    taken: bool
    why: str


@dataclass(frozen=True, slots=True)
class Remark:
    """Something to tell the author about a line of a cell: a warning, or why the notebook cannot be compiled."""

    message: str
    cell: int
    line: int
    mend: str | None = None


@dataclass(frozen=True, slots=True)
class Slice:
    """The decisions, one tuple per cell and one entry per statement of the cell.

    `is_flow` is False for a notebook without `build`; `problem` says why there can be no module; `future` are the
    `from __future__` features that hold for the whole module.
    """

    decisions: tuple[tuple[Decision, ...], ...]
    warnings: tuple[Remark, ...] = ()
    problem: Remark | None = None
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
    return _Slicer(cells).run()


class _Unit:
    """One top-level statement in its place."""

    __slots__ = (
        "cell",
        "definite",
        "index",
        "is_main",
        "is_skipped",
        "line",
        "magic",
        "magic_line",
        "names",
        "node",
        "number",
    )

    def __init__(self, index: int, cell: ParsedCell, statement: Statement) -> None:
        self.index = index
        self.cell = cell
        self.number = cell.cell.number
        self.node = statement.node
        self.names: Names = statement.names
        self.line = statement.line
        self.magic = statement.magic
        self.magic_line = statement.magic_line
        self.is_skipped = cell.verdict == "skip"
        self.is_main = isinstance(self.node, ast.If) and _is_main_test(self.node.test)
        self.definite: frozenset[str] | None = None  # None: all it binds
        if type(self.node) in _COMPOUND and self.names.binds:
            self.definite = frozenset(surely_bound([self.node], _binds) or ()) if not self.is_main else frozenset()

    @property
    def label(self) -> str:
        first = next(iter(self.names.binds), None)
        return f"`{first}` in cell {self.number}" if first else f"cell {self.number}, line {self.line}"

    @property
    def place(self) -> str:
        return f"cell {self.number}, line {self.line}"


_Wanted: TypeAlias = tuple[str, _Unit | None, int]


@dataclass(frozen=True, slots=True)
class _Open:
    """A needed name nothing supplies yet: `target` is the unit that has it as a loop or with target, if any."""

    name: str
    at: int
    user: _Unit | None
    line: int
    target: _Unit | None


@dataclass(frozen=True, slots=True)
class _Soft:
    """A name that is meant if it exists."""

    name: str
    at: int
    user: _Unit
    line: int
    is_table: bool


class _Slicer:
    def __init__(self, cells: Sequence[ParsedCell]) -> None:
        self.cells = cells
        self.units: list[_Unit] = []
        for cell in cells:
            for statement in cell.statements:
                self.units.append(_Unit(len(self.units), cell, statement))
        live = [unit for unit in self.units if not unit.is_skipped]
        self.future = tuple(sorted({name for unit in live for name in unit.names.future}))
        self.lazy_annotations = "annotations" in self.future or sys.version_info >= (3, 14)
        self.events: dict[str, list[_Unit]] = {}
        self.repeats: dict[int, int] = {}
        self._collect_events(live)
        self.epochs = self._count_epochs()
        self.attached: dict[tuple[int, str], list[_Unit]] = {}
        self._attach_changes(live)
        self.stars: list[_Unit] = []

        self.taken: dict[int, str] = {}
        self.wanted: dict[int, _Wanted] = {}
        self.ended: dict[str, None] = {}
        self.early: dict[tuple[int, int], None] = {}
        self.open: list[_Open] = []
        self.shadowed: list[_Open] = []
        self.problems: list[Remark] = []
        self.soft: list[_Soft] = []
        self.work: list[_Unit] = []
        self.warnings: list[Remark] = []

    # what is there

    def _collect_events(self, live: Iterable[_Unit]) -> None:
        for unit in live:
            is_import = isinstance(unit.node, _IMPORTS)
            repeated = 0
            for name in unit.names.binds:
                events = self.events.setdefault(name, [])
                if is_import and events and name not in unit.names.additive:
                    last = events[-1]
                    if isinstance(last.node, _IMPORTS) and last.names.imports[name] == unit.names.imports[name]:
                        repeated += 1
                        self.repeats[unit.index] = last.number
                        continue
                events.append(unit)
            if repeated != len(unit.names.binds):
                self.repeats.pop(unit.index, None)

    def _count_epochs(self) -> list[int]:
        read_later = {name for unit in self.units for name in unit.names.later}
        moves = {
            unit.index
            for name, events in self.events.items()
            if len(events) > 1 and name in read_later
            for unit in events
        }
        epochs, epoch = [], 0
        for index in range(len(self.units) + 1):
            epochs.append(epoch)
            epoch += index in moves
        return epochs

    def reaching(self, name: str, at: int) -> tuple[list[_Unit], list[_Unit]]:
        """The units that may have bound `name` last before unit number `at`, and those that only used it as a target."""
        strong: list[_Unit] = []
        weak: list[_Unit] = []
        for unit in reversed(self.events.get(name, ())):
            if unit.index >= at:
                continue
            if name in unit.names.targets:
                weak.append(unit)
                continue
            strong.append(unit)
            is_sure = unit.definite is None or name in unit.definite
            if is_sure and name not in unit.names.additive:
                break
        return strong, weak

    def resolve(self, path: Path, unit: _Unit, depth: int = 0) -> str:
        """The dotted name of an access path in `unit`; its root is "?" when it is an object made in the notebook."""
        root = path[0]
        found, _ = self.reaching(root, unit.index)
        alias: Path | None = None
        owner = unit
        if found:
            owner = found[0]
            if root in owner.names.imports:
                return effects.dotted((owner.names.imports[root], *path[1:]))
            alias = owner.names.aliases.get(root)
        elif root in unit.names.aliases:
            alias = unit.names.aliases[root]
        elif root not in unit.names.binds:
            return effects.dotted((root or "?", *path[1:]))
        if alias and alias[0] != root and depth < 5:
            return effects.dotted((self.resolve(alias, owner, depth + 1), *path[1:]))
        return effects.dotted((root if root == "build" else "?", *path[1:]))

    def _attach_changes(self, live: Iterable[_Unit]) -> None:
        for unit in live:
            if unit.is_main:
                continue
            for name, flags in unit.names.now.items():
                if flags & CHANGE or (flags & MUTATE and self.is_container(name, unit.index)):
                    self._attach(unit, name, unit.index, 0)

    def _attach(self, change: _Unit, name: str, at: int, depth: int) -> None:
        for owner in self.reaching(name, at)[0]:
            changes = self.attached.setdefault((owner.index, name), [])
            if change in changes or depth > 20:
                continue
            changes.append(change)
            alias = owner.names.aliases.get(name)
            if alias and _is_same_object(alias):
                self._attach(change, alias[0], owner.index, depth + 1)

    def is_container(self, name: str, at: int, depth: int = 0) -> bool:
        for owner in self.reaching(name, at)[0]:
            if name in owner.names.containers:
                return True
            alias = owner.names.aliases.get(name)
            if alias and depth < 20 and (_is_same_object(alias) or alias[1:] == ("copy", "()")):
                return self.is_container(alias[0], owner.index, depth + 1)
        return False

    def is_setup(self, unit: _Unit) -> bool:
        names = unit.names
        if unit.is_main or unit.magic or isinstance(unit.node, _DEFINITIONS):
            return False
        marks = [("()", path, undoing) for path, _, undoing in names.calls]
        marks += [(" =", path, undoing) for path, _, undoing in names.writes]
        if type(unit.node) in _COMPOUND and any(not _LOOKS.isdisjoint(path) for _, path, _ in marks):
            return False
        for mark, path, undoing in marks:
            full = path if mark == "()" else (*path, mark)
            if path[0] and not undoing and effects.is_setup(self.resolve(full, unit)):
                return True
        return False

    # following names

    def take(self, unit: _Unit, why: str, wanted: _Wanted | None = None) -> None:
        if unit.index in self.taken:
            return
        self.taken[unit.index] = why
        if wanted is not None:
            self.wanted[unit.index] = wanted
        self.work.append(unit)

    def follow(self) -> None:
        """Take everything the work list needs."""
        while self.work:
            unit = self.work.pop()
            self._check(unit)
            names = unit.names
            for name, flags in names.now.items():
                line = names.now_lines.get(name, unit.line)
                if flags & LOAD or (flags & NOTE and not self.lazy_annotations):
                    self.need(name, unit.index, unit, line)
                if flags & (HINT | TABLE | NOTE):
                    self.soft.append(_Soft(name, unit.index, unit, line, bool(flags & TABLE)))
                if flags & SQL:
                    self._soft_texts(name, unit.index, unit, line)
            for name, flags in names.later.items():
                line = names.later_lines.get(name, unit.line)
                if flags & LOAD:
                    self.need(name, _END, unit, line)
                if flags & (HINT | TABLE | NOTE):
                    self.soft.append(_Soft(name, _END, unit, line, bool(flags & TABLE)))
                if flags & SQL:
                    self._soft_texts(name, _END, unit, line)
            if not isinstance(unit.node, _DEFINITIONS) and names.later:
                self._take_early(unit, unit.index)  # `sorted(rows, key=lambda row: RANK[row])`

    def supply(self, owner: _Unit, name: str, why: str, wanted: _Wanted) -> None:
        """Take the unit that binds `name`, and what changes that object in place."""
        self.take(owner, why, wanted)
        for change in self.attached.get((owner.index, name), ()):
            self.take(change, f"changes `{name}` in place")

    def _soft_texts(self, name: str, at: int, user: _Unit, line: int) -> None:
        """The names in an SQL text that reaches `sql()` by a module-level name."""
        for owner in self.reaching(name, at)[0]:
            if isinstance(owner.node, _IMPORTS):
                continue
            for text in texts_in(owner.node):
                tables, words = sql_words(text)
                for word in sorted(words & self.events.keys()):
                    self.soft.append(_Soft(word, at, user, line, word in tables))

    def need(self, name: str, at: int, user: _Unit | None, line: int) -> None:
        if at == _END:
            if name in self.ended:
                return
            self.ended[name] = None
        strong, weak = self.reaching(name, at)
        if strong:
            if weak and weak[0].index > strong[0].index:
                self.shadowed.append(_Open(name, at, user, line, weak[0]))
            why = f"`{name}` is used by {user.label}" if user else f"the flow's `{name}`"
            for owner in strong:
                self.supply(owner, name, why, (name, user, line))
                if at != _END:
                    self._take_early(owner, at)
        elif weak:
            self.open.append(_Open(name, at, user, line, weak[0]))
        elif name not in _GIVEN:
            self.open.append(_Open(name, at, user, line, None))

    def _take_early(self, owner: _Unit, at: int) -> None:
        """What `owner`'s functions read if they are called at `at` already, before the end of the notebook."""
        stack = [owner]
        while stack:
            unit = stack.pop()
            key = (unit.index, self.epochs[at])
            if key in self.early:
                continue
            self.early[key] = None
            for name, flags in unit.names.later.items():
                if flags & LOAD:
                    for found in self.reaching(name, at)[0]:
                        self.supply(found, name, f"`{name}` is used by {unit.label}", (name, unit, unit.line))
                        stack.append(found)
            for name, flags in unit.names.now.items():
                if flags & LOAD:
                    stack.extend(self.reaching(name, unit.index)[0])

    def _check(self, unit: _Unit) -> None:
        """Problems a kept statement has wherever its names come from."""
        names = unit.names
        wanted = self.wanted.get(unit.index)
        user = f"; {wanted[1].label} needs `{wanted[0]}` from it" if wanted and wanted[1] else ""
        if unit.magic:
            self._problem(
                f"production cannot run {unit.magic}{user}", unit, unit.magic_line, "write it in plain Python"
            )
        if names.await_line:
            self._problem(
                f"`await` at the top of a cell does not work in a module{user}",
                unit,
                names.await_line,
                "call asyncio.run(...) inside a step",
            )
        if names.relative_line:
            self._problem(
                f"a notebook has no package to import from relatively{user}",
                unit,
                names.relative_line,
                "write the full name, such as `from flow_helpers.tables import lookup`",
            )
        if unit.is_main:
            self._problem(
                f'`if __name__ == "__main__"` is not true in production{user}', unit, unit.line, "define it outside the `if`"
            )  # fmt: skip
        for lines, uses in ((names.now_lines, names.now), (names.later_lines, names.later)):
            if uses.get("get_ipython", 0) & (LOAD | HINT):
                self._problem(
                    f"`get_ipython` does not exist in production{user}",
                    unit,
                    lines.get("get_ipython", unit.line),
                    "keep IPython's tools in cells that build() does not need, or mark the cell `#| skip`",
                )
        for path, line, _ in names.calls:
            called = self.resolve(path, unit)
            is_hidden = len(path) == 2 and "flow" in self._done_by(path[0], unit.index)
            if effects.runs_a_flow(called) or is_hidden:
                what = f"{path[0]}()" if is_hidden else f"{path[-2]}()"
                value = f"`{wanted[0]}` comes from {what}" if wanted else f"{what} runs a flow"
                self._problem(
                    f"{value} in cell {unit.number}, and production has no such value{user}",
                    unit,
                    line,
                    "move the work into a step, and take the value from `context.current` or `context.objects`",
                )
                break

    def _done_by(self, function: str, at: int, seen: frozenset[int] = frozenset()) -> frozenset[str]:
        """What calling a function of the notebook does: "flow" (it runs one), "read", "io"."""
        done: set[str] = set()
        for owner in self.reaching(function, at)[0]:
            if not isinstance(owner.node, _FUNCTIONS) or owner.index in seen:
                continue
            for path in owner.names.later_calls:
                done |= _kinds(self.resolve(path, owner))
            for name, flags in owner.names.later.items():
                if flags & CALL:
                    done |= self._done_by(name, at, seen | {owner.index})
        return frozenset(done)

    def _problem(self, message: str, unit: _Unit, line: int, mend: str) -> None:
        self.problems.append(Remark(message, unit.number, line, mend))

    # trying what is only probably meant

    def attempt(self, unit: _Unit, why: str, wanted: _Wanted | None = None) -> Remark | None:
        """Take `unit` and all it needs, or nothing; the problem that prevents it."""
        marks = self._marks()
        if wanted is None:
            self.take(unit, why)
        else:
            self.supply(unit, wanted[0], why, wanted)
        self.follow()
        problems = self.problems[marks[-1] :] or list(self._open_problems(self.open[marks[4] :]))
        if not problems:
            return None
        self._forget(marks)
        return min(problems, key=lambda remark: (remark.cell, remark.line))

    def _marks(self) -> tuple[int, ...]:
        parts = (self.taken, self.wanted, self.ended, self.early, self.open, self.shadowed, self.soft, self.problems)
        return tuple(len(part) for part in parts)

    def _forget(self, marks: tuple[int, ...]) -> None:
        tables: list[dict[int, str] | dict[int, _Wanted] | dict[str, None] | dict[tuple[int, int], None]]
        tables = [self.taken, self.wanted, self.ended, self.early]
        for table, size in zip(tables, marks, strict=False):
            while len(table) > size:
                table.popitem()
        lists: list[list[_Open] | list[_Soft] | list[Remark]] = [self.open, self.shadowed, self.soft, self.problems]
        for entries, size in zip(lists, marks[4:], strict=True):
            del entries[size:]

    def _registrations(self) -> Iterator[tuple[_Unit, str]]:
        """Definitions a decorator, base or metaclass that is needed or imported may have recorded somewhere."""
        for unit in self.units:
            if unit.is_skipped or unit.magic or unit.index in self.taken or not isinstance(unit.node, _DEFINITIONS):
                continue
            makers = [path_of(decorator) for decorator in unit.node.decorator_list]
            if isinstance(unit.node, ast.ClassDef):
                makers += [path_of(base) for base in unit.node.bases]
                makers += [path_of(keyword.value) for keyword in unit.node.keywords if keyword.arg == "metaclass"]
            for path in makers:
                for owner in self.reaching(path[0], unit.index)[0]:
                    is_imported = path[0] in owner.names.imports
                    if is_imported and not effects.may_register(self.resolve(path, unit)):
                        continue
                    if is_imported or owner.index in self.taken or owner.index in self.registrars:
                        yield unit, f"registered by `{effects.dotted(path)}`"
                        break
                else:
                    continue
                break

    def _find_registrars(self) -> set[int]:
        """Functions build() does not name that change a needed object when they are called: `register("a")`."""
        found = set()
        for unit in self.units:
            if unit.index in self.taken or unit.is_skipped or not isinstance(unit.node, _FUNCTIONS):
                continue
            if "build" in unit.names.later or any(not _LOOKS.isdisjoint(path) for path in unit.names.later_calls):
                continue
            for name, flags in unit.names.later.items():
                owners = self.reaching(name, _END)[0]
                is_change = flags & CHANGE or (flags & MUTATE and self.is_container(name, _END))
                if is_change and any(owner.index in self.taken for owner in owners):
                    found.add(unit.index)
        return found

    def _registering_calls(self) -> Iterator[tuple[_Unit, str]]:
        for unit in self.units:
            if unit.is_skipped or unit.index in self.taken or unit.is_main or unit.magic:
                continue
            for path, _, _ in unit.names.bare:
                if len(path) == 2 and any(
                    owner.index in self.registrars for owner in self.reaching(path[0], unit.index)[0]
                ):
                    yield unit, f"`{path[0]}` changes what build() needs"
                    break

    def try_the_probable(self) -> None:
        """Take registrations and softly meant names, as long as that brings new ones."""
        self.registrars = self._find_registrars()
        refused: dict[int, tuple[str, Remark]] = {}
        done = 0
        while True:
            before = len(self.taken)
            for unit, why in [*self._registrations(), *self._registering_calls()]:
                if unit.index not in self.taken:
                    problem = self.attempt(unit, why)
                    if problem:
                        refused[unit.index] = (why, problem)
            while done < len(self.soft):
                soft = self.soft[done]
                done += 1
                self._try_soft(soft)
                if self.problems:
                    return
            if len(self.taken) == before:
                break
        for index, (why, problem) in refused.items():
            unit = self.units[index]
            if index not in self.taken:
                self.warn(
                    f"{unit.label} is {why} but cannot go to production and is left out: {problem.message}",
                    unit,
                    problem.line if problem.cell == unit.number else unit.line,
                    "mend that, or mark the cell `#| skip` if production does not need it",
                )

    def _try_soft(self, soft: _Soft) -> None:
        strong, weak = self.reaching(soft.name, soft.at)
        if not strong:
            if weak and soft.is_table and weak[0].index not in self.taken:
                self.problems += self._open_problems([_Open(soft.name, soft.at, soft.user, soft.line, weak[0])])
            return
        for owner in strong:
            if owner.index in self.taken:
                continue
            wanted = (soft.name, soft.user, soft.line)
            problem = self.attempt(owner, f"`{soft.name}` is named by {soft.user.label}", wanted)
            if problem and soft.is_table:
                self.problems.append(problem)

    # what nothing supplies

    def _open_problems(self, entries: Iterable[_Open]) -> Iterator[Remark]:
        set_by_taken = {name for index in self.taken for name in self.units[index].names.bound_globals}
        has_star = any(star.index in self.taken for star in self.stars)
        for entry in entries:
            if entry.target is not None:
                if entry.target.index not in self.taken:
                    yield self._target_problem(entry, entry.target)
            elif entry.name not in set_by_taken and not has_star and entry.name != "get_ipython":
                yield self._missing_problem(entry)

    def _target_problem(self, entry: _Open, target: _Unit) -> Remark:
        kind = "`with`" if isinstance(target.node, (ast.With, ast.AsyncWith)) else "loop"
        return Remark(
            f"{_user(entry)} needs `{entry.name}`, which is only the variable of a {kind} in {target.place};"
            " production does not run that",
            entry.user.number if entry.user else target.number,
            entry.line,
            f"give `{entry.name}` its value in an assignment of its own",
        )

    def _missing_problem(self, entry: _Open) -> Remark:
        name = entry.name
        number = entry.user.number if entry.user else 1
        later = [unit for unit in self.events.get(name, ()) if unit.index > entry.at]
        if later:
            return Remark(
                f"{_user(entry)} uses `{name}` before {later[0].place} defines it; your kernel has it from an earlier run",
                number,
                entry.line,
                f"move the definition of `{name}` above its use",
            )
        opening = f"`{name}` exists only in your kernel's memory: {_user(entry)} uses it and no cell defines it"
        for cell in self.cells:
            if (cell.problem or cell.language) and re.search(rf"\b{re.escape(name)}\b", cell.cell.text):
                if cell.problem:
                    return Remark(
                        f"cell {cell.cell.number} does not parse ({cell.problem}), and {_user(entry)} needs `{name}`",
                        cell.cell.number,
                        cell.problem_line,
                        f"mend the cell, or define `{name}` in another",
                    )
                return Remark(
                    f"{_user(entry)} needs `{name}`, which cell {cell.cell.number} may make, but that is a {cell.language} cell",
                    number,
                    entry.line,
                    f"make `{name}` in Python",
                )
        for unit in self.units:
            if unit.magic and unit.number and any(re.search(rf"\b{re.escape(name)}\b", t) for t in texts_in(unit.node)):
                return Remark(
                    f"{opening}, only {unit.magic} in {unit.place} names it",
                    number,
                    entry.line,
                    f"give `{name}` its value in plain Python",
                )
            if unit.is_skipped and name in unit.names.binds:
                return Remark(
                    f"{_user(entry)} needs `{name}`, which is defined only in {unit.place}, and that cell is marked skip",
                    number,
                    entry.line,
                    "take the mark off, or move the definition into a cell without it",
                )
            if name in unit.names.bound_globals:
                return Remark(
                    f"{_user(entry)} needs `{name}`, which only a call of {unit.label} sets; such calls stay in the notebook",
                    number,
                    entry.line,
                    f"assign `{name}` at the top of a cell, or put `#| keep` at the top of the cell with the call",
                )
            if name in unit.names.comprehension_targets:
                return Remark(
                    f"{_user(entry)} needs `{name}`, which is only the variable of a comprehension in {unit.place}",
                    number,
                    entry.line,
                    f"give `{name}` its value in an assignment of its own",
                )
            if name == "run" or unit.magic == "the line magic %run":
                continue
        return Remark(opening, number, entry.line, self._mend_missing(name))

    def _mend_missing(self, name: str) -> str:
        import difflib

        mend = f"define `{name}` in a cell, or import it"
        runs = [unit for unit in self.units if unit.magic in ("the line magic %run", "the line magic %pylab")]
        if runs:
            return f"{mend} (if {runs[0].magic} in {runs[0].place} made it, import it from a module instead)"
        near = difflib.get_close_matches(name, [known for known in self.events if known != name], n=1, cutoff=0.75)
        return f"{mend}; did you mean `{near[0]}`?" if near else mend

    # the whole

    def run(self) -> Slice:
        has_build = any("build" not in unit.names.targets for unit in self.events.get("build", ()))
        if not has_build:
            broken = next((cell for cell in self.cells if cell.problem and _means_build(cell.cell.text)), None)
            if broken is not None and broken.verdict != "skip":
                number = broken.cell.number
                return self._failed(
                    [Remark(f"cell {number}, which holds build(), does not parse: {broken.problem}", number, broken.problem_line, "mend the cell")]
                )  # fmt: skip
            return Slice(self._decide("the notebook has no build()"), is_flow=False)
        self._check_verdicts()
        self.stars = [unit for unit in self.units if unit.names.star is not None and not unit.is_skipped]
        self._take_roots()
        self.follow()
        problems = self.problems or list(self._open_problems(self.open))
        if problems:
            return self._failed(problems)
        self.try_the_probable()
        problems = self.problems or list(self._open_problems(self.open))
        if problems:
            return self._failed(problems)
        self._collect_warnings()
        unique = dict.fromkeys(sorted(self.warnings, key=lambda remark: (remark.cell, remark.line, remark.message)))
        return Slice(self._decide("build() does not need it"), tuple(unique), future=self.future)

    def _failed(self, problems: Sequence[Remark]) -> Slice:
        first = min(problems, key=lambda remark: (remark.cell, remark.line))
        return Slice(self._decide("the notebook does not compile"), problem=first, future=self.future)

    def _check_verdicts(self) -> None:
        for cell in self.cells:
            number = cell.cell.number
            if cell.verdict == "both":
                self.problems.append(
                    Remark(f"cell {number} is marked keep and skip at once", number, 1, "take one of the marks off")
                )
            elif cell.verdict == "keep" and cell.problem:
                what = f"cell {number} is marked keep but does not parse: {cell.problem}"
                self.problems.append(Remark(what, number, cell.problem_line, "mend the cell"))
            elif cell.verdict == "keep" and cell.language:
                what = f"cell {number} is marked keep but is a {cell.language} cell"
                self.problems.append(Remark(what, number, 1, "write it in Python, or take the mark off"))

    def _take_roots(self) -> None:
        used = self._used_names()
        for unit in self.units:
            names = unit.names
            if unit.is_skipped:
                continue
            if names.future:
                self.take(unit, "holds for the whole module")
            elif (
                unit.cell.verdict == "keep" and not isinstance(unit.node, ast.Pass) and (not unit.magic or names.binds)
            ):
                self.take(unit, _MARKED_KEEP)
            elif names.star is not None:
                if names.relative_line is None:
                    self.take(unit, "`*` may bring any name")
            elif self._is_effect_import(unit, used):
                self.take(unit, "imported for its effect: nothing uses its name")
            elif self.is_setup(unit):
                self.take(unit, _SETS_UP)
        self.need("build", _END, None, 1)
        if "DESCRIPTION" in self.events:
            self.need("DESCRIPTION", _END, None, 1)

    def _used_names(self) -> set[str]:
        used: set[str] = set()
        for unit in self.units:
            used.update(unit.names.now)
            used.update(unit.names.later)
            if unit.magic:
                for text in texts_in(unit.node):
                    used.update(re.findall(r"\w+", text))
        for cell in self.cells:
            if cell.problem:
                used.update(re.findall(r"\w+", cell.cell.text))
        return used

    def _is_effect_import(self, unit: _Unit, used: set[str]) -> bool:
        names = unit.names
        if not names.imports or names.relative_line or unit.index in self.repeats or unit.is_main or unit.magic:
            return False
        if not used.isdisjoint(names.binds) or names.calls or names.writes:
            return False
        return isinstance(unit.node, (*_IMPORTS, ast.If, ast.Try))

    def _decide(self, otherwise: str) -> tuple[tuple[Decision, ...], ...]:
        decisions: list[list[Decision]] = [[] for _ in self.cells]
        places = {id(cell): place for place, cell in enumerate(self.cells)}
        for unit in self.units:
            is_taken = unit.index in self.taken
            why = self.taken[unit.index] if is_taken else self._why_left(unit, otherwise)
            decisions[places[id(unit.cell)]].append(Decision(unit.line, is_taken, why))
        for place, cell in enumerate(self.cells):
            if cell.language:
                decisions[place].append(Decision(1, False, f"a {cell.language} cell stays in the notebook"))
            elif cell.problem:
                decisions[place].append(Decision(cell.problem_line, False, f"the cell does not parse: {cell.problem}"))
        return tuple(tuple(entries) for entries in decisions)

    def _why_left(self, unit: _Unit, otherwise: str) -> str:
        if unit.is_skipped:
            return "its cell is marked skip"
        if unit.magic:
            return f"{unit.magic} stays in the notebook"
        if not self.taken:
            return otherwise
        if unit.index in self.repeats:
            return f"imported in cell {self.repeats[unit.index]} already"
        if isinstance(unit.node, _IMPORTS):
            return "used only by what is left out"
        for name in unit.names.binds:
            winners = self.reaching(name, _END)[0]
            if name in self.ended and winners and name not in unit.names.targets:
                return f"cell {winners[0].number} defines `{name}` anew"
        return otherwise

    # warnings

    def warn(self, message: str, unit: _Unit, line: int, mend: str | None) -> None:
        self.warnings.append(Remark(message, unit.number, line, mend))

    def _collect_warnings(self) -> None:
        self._warn_of_cells()
        self._warn_of_names()
        for unit in self.units:
            if unit.index in self.taken:
                if not isinstance(unit.node, _DEFINITIONS):
                    self._warn_of_input(unit)
            elif not unit.is_skipped:
                self._warn_of_left_out(unit)

    def _warn_of_cells(self) -> None:
        for cell in self.cells:
            number = cell.cell.number
            if cell.problem and cell.verdict != "skip":
                message = f"the cell does not parse and is left out: {cell.problem}"
                self.warnings.append(Remark(message, number, cell.problem_line, "mend it, or mark it `#| skip`"))
            if cell.mistaken_directive is not None:
                line, word, near = cell.mistaken_directive
                self.warnings.append(
                    Remark(f"`#| {word}` means nothing here", number, line, f"did you mean `#| {near}`?")
                )

    def _warn_of_names(self) -> None:
        for name in self.ended:
            events = [unit for unit in self.events.get(name, ()) if name not in unit.names.targets]
            strong = self.reaching(name, _END)[0]
            if not strong or strong[0] is not events[-1]:
                continue
            last = strong[0]
            earlier = [unit for unit in events[:-1] if unit.number != last.number]
            is_plain = last.definite is None or name in last.definite
            if earlier and is_plain and name not in last.names.now and name not in last.names.additive:
                numbers = list(dict.fromkeys(unit.number for unit in [*earlier, last]))
                self.warn(
                    f"`{name}` is defined in cells {_listed(numbers)}; the last one wins",
                    last,
                    last.names.binds[name],
                    "rename one, or delete what is out of date",
                )
        for entry in self.shadowed:
            target = entry.target
            if target is not None and target.index not in self.taken:
                owner = self.reaching(entry.name, entry.at)[0][0]
                self.warn(
                    f"a left-out loop or `with` also sets `{entry.name}`; production takes the one of {owner.place}",
                    target,
                    target.line,
                    f"use another name than `{entry.name}` here",
                )
        stars = [star for star in self.stars if star.index in self.taken]
        for entry in self.open:
            if entry.target is None and stars and entry.user is not None:
                self.warn(
                    f"`{entry.name}` must come from `from {stars[-1].names.star} import *` in cell {stars[-1].number}:"
                    " nothing else defines it",
                    entry.user,
                    entry.line,
                    f"write `from {stars[-1].names.star} import {entry.name}`",
                )

    def _warn_of_input(self, unit: _Unit) -> None:
        if self.taken[unit.index] in (_SETS_UP, _MARKED_KEEP):
            return
        for path, line, _ in unit.names.calls:
            kinds = _kinds(self.resolve(path, unit))
            if len(path) == 2:
                kinds |= self._done_by(path[0], unit.index)
            shown = effects.dotted(path)
            if "read" in kinds:
                self.warn(
                    f"{shown} reads data when the module is loaded, outside every step",
                    unit,
                    line,
                    "did you mean `context.current`? Read the data inside a step",
                )
                return
            if "io" in kinds:
                self.warn(
                    f"{shown} does input or output when the module is loaded, outside every step",
                    unit,
                    line,
                    "move it into a step or use `context.config`",
                )
                return

    def _warn_of_left_out(self, unit: _Unit) -> None:
        if match := _PROCESS_MAGIC.match(unit.magic):
            self.warn(
                f"{unit.magic} is not run in production",
                unit,
                unit.line,
                "runs start in the flow_modules folder" if match[1] in ("cd", "pushd", "popd") else "use os.environ",
            )
        if unit.magic or unit.is_main:
            return
        for name in sorted(unit.names.deletes):
            owners = self.reaching(name, unit.index)[0]
            if name in self.ended and any(owner.index in self.taken for owner in owners):
                self.warn(
                    f"`del {name}` is left out: build() needs `{name}`", unit, unit.line, f"keep `{name}`, or rename it"
                )
        if unit.names.relative_line and unit.names.star is None and not isinstance(unit.node, _DEFINITIONS):
            self.warn(
                "a notebook has no package to import from relatively; the import is left out",
                unit,
                unit.names.relative_line,
                "write the full name, such as `from flow_helpers.tables import lookup`",
            )
        for path, line, text in unit.names.bare:
            if self.resolve(path, unit) == "os.chdir()":
                mend = "write paths relative to the flow_modules folder: every run starts there"
                self.warn("`os.chdir(...)` is left out", unit, line, mend)
            elif self._is_lost_call(path, text, unit):
                self.warn(
                    f"`{effects.dotted(path).removesuffix('()')}(...)` is left out: production runs no calls that stand alone",
                    unit,
                    line,
                    f"{_KEEP}, or call it inside a step",
                )

    def _is_lost_call(self, path: Path, text: str, unit: _Unit) -> bool:
        """Whether leaving out a call that stands alone may be missed in production."""
        owners = self.reaching(path[0], unit.index)[0]
        if not owners:
            return False
        owner = owners[0]
        method = path[-2] if path[-1] == "()" else ""
        if path[0] in owner.names.imports:
            if len(path) == 2:
                return effects.sounds_like_setup(owner.names.imports[path[0]].rpartition(".")[2])
            is_known = not effects.only_looks(method, text) and effects.sounds_like_setup(method)
            return owner.index in self.taken and is_known
        if len(path) == 2 and owner.index not in self.taken:
            done = self._done_by(path[0], unit.index)
            return "setup" in done and "flow" not in done
        if owner.index not in self.taken or len(path) == 2 or isinstance(owner.node, _FUNCTIONS):
            return False
        return not effects.only_looks(method, text)


def _kinds(called: str) -> set[str]:
    kinds = set()
    if effects.is_setup(called):
        kinds.add("setup")
    if effects.runs_a_flow(called):
        kinds.add("flow")
    if effects.reads_data(called):
        kinds.add("read")
    elif effects.reads_or_writes(called):
        kinds.add("io")
    return kinds


def _binds(statement: ast.stmt) -> Iterable[str]:
    return analyse(statement).binds


def _is_same_object(alias: Path) -> bool:
    """Whether what the path gives is its root or a part of it, so that changing the one changes the other."""
    return all(part != "()" or alias[i - 1] in ("get", "setdefault") for i, part in enumerate(alias))


def _is_main_test(test: ast.expr) -> bool:
    return isinstance(test, ast.Compare) and any(
        isinstance(part, ast.Name) and part.id == "__name__" for part in (test.left, *test.comparators)
    )


def _means_build(text: str) -> bool:
    return re.search(r"^\s*(?:async\s+)?def\s+build\b|^\s*build\s*=", text, re.MULTILINE) is not None


def _user(entry: _Open) -> str:
    return entry.user.label if entry.user else "the flow"


def _listed(numbers: Sequence[int]) -> str:
    return f"{', '.join(str(number) for number in numbers[:-1])} and {numbers[-1]}"
