"""What leaving statements out may cost: which of them may change what `build()` needs, and the warnings that say so.

A left-out statement is missed when it may change, use up, draw from, set or write something that a kept statement reads
after it. See `touches.py` for how objects are followed.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

from data_engine.notebook import effects, kinds, learning
from data_engine.notebook.diagnostics import Diagnostic
from data_engine.notebook.files_named import may_be_in_folder, may_be_one_file, written_by_shell
from data_engine.notebook.idle import Matters, matters_of
from data_engine.notebook.magics import ParsedCell
from data_engine.notebook.names import CHANGE, HINT, LOAD, MUTATE, TABLE
from data_engine.notebook.shapes import path_of
from data_engine.notebook.statements import DEFINITIONS, END, FUNCTIONS, IMPORTS, Statement, Statements
from data_engine.notebook.touches import Objects
from data_engine.notebook.values import Origin, Touch, Value

_READ = LOAD | HINT | TABLE
_CHANGES = frozenset({"changes", "may change", "sets"})
_DRAWN = frozenset({kinds.PLOT, kinds.STREAM})
"""Kinds that a kept loop may use without giving anything of them: what it shows and what it simulates."""
_LISTS = frozenset({"listdir", "scandir", "walk", "iterdir", "glob", "rglob", "iglob"})
_ASKS_DUCKDB = re.compile(r"duckdb\.(?!connect\b)\w+\(\)")
_SHELLS = frozenset({"%%bash", "%%sh", "%%script", "%%system", "%%!"})
_SHELL_LINE = re.compile(r"\s*(\w+\s*=\s*)?!")
_DOES = {
    **dict.fromkeys(("remove", "unlink", "rmdir", "rmtree"), "removes"),
    **dict.fromkeys(("rename", "renames", "move"), "moves"),
    **dict.fromkeys(("mkdir", "makedirs"), "makes"),
}
"""What else than to write a file a function does, by its name."""
_WRITES_FILE = re.compile(r"\s*%%(?:writefile|file)\s+(?:-a\s+|--append\s+)?[\"']?([^\s\"']+)")


@dataclass(frozen=True, slots=True)
class Missed:
    """One thing that a left-out statement may do to something needed: `verb` and `names` as in the sentence."""

    cell: int
    line: int
    verb: str
    names: tuple[str, ...]
    shown: str
    is_magic: bool = False

    @property
    def call(self) -> tuple[int, int, str]:
        """Where and what it is."""
        return self.cell, self.line, self.shown


class Reads:
    """What the taken statements read, and the last place where they do."""

    def __init__(self, statements: Statements, objects: Objects, taken: Collection[int]) -> None:
        self.statements = statements
        self.objects = objects
        self.indexes = frozenset(taken)
        self.taken = [statements.all[index] for index in sorted(taken)]
        self._matters: dict[int, Matters] = {}

    @cached_property
    def names(self) -> dict[str, int]:
        """Where each name is read last."""
        found: dict[str, int] = {}
        for statement in self.taken:
            found.update((name, statement.index) for name, flags in statement.names.now.items() if flags & _READ)
        found.update(
            (name, END) for statement in self.taken for name, flags in statement.names.later.items() if flags & _READ
        )
        return found

    @cached_property
    def last(self) -> dict[Origin, int]:
        """Where each object is read last."""
        found: dict[Origin, int] = {}
        for statement in self.taken:
            for name, flags in statement.names.now.items():
                if flags & _READ:
                    value = self.objects.value(name, statement.index)
                    if value.kind in _DRAWN and name not in self.what_matters(statement).names:
                        continue
                    for origin in self._read(name, value, [statement]):
                        found[origin] = max(statement.index, found.get(origin, -1))
        for name, at in self.names.items():
            for owner in self.statements.events.get(name, ()) if at == END else ():
                if owner.index in self.indexes:
                    users = [statement for statement in self.taken if name in statement.names.later]
                    made = self._read(name, self.objects.made_by(owner, name), users)
                    found.update((origin, END) for origin in made)
        return found

    def _read(self, name: str, value: Value, users: Iterable[Statement]) -> frozenset[Origin]:
        """What statements read of the value of a name; to fit an estimator anew is not to ask what it learnt."""
        read = self.objects.read_with(value)
        gone = value.origins - learning.without_learnt(value.origins)
        if gone and not any(learning.asks_what_was_learnt(user.node, name, self._dotted(user)) for user in users):
            return read - gone
        return read

    def what_matters(self, statement: Statement) -> Matters:
        """What of a loop or branch gives what is read after it; of any other statement, all matters."""
        found = self._matters.get(statement.index)
        if found is None:
            needed = {name for name, last in self.names.items() if last > statement.index}
            found = matters_of(self.objects, statement, needed)
            self._matters[statement.index] = found
        return found

    def _dotted(self, statement: Statement) -> Callable[[tuple[str, ...]], str]:
        return lambda path: self.statements.resolve(path, statement)

    def needs(self, origin: Origin, at: int) -> bool:
        """Whether something taken reads it after statement `at`."""
        asked = _NEEDS.get(origin[0])
        return self.last.get(origin, -1) > at if asked is None else asked(self, origin[1], at)

    def _reads_name(self, name: str, at: int) -> bool:
        return self.names.get(name, -1) > at

    def _reads_text(self, text: str, at: int) -> bool:
        words = set(re.findall(r"[^\W\d]\w*", text))
        return any(last > at and (not words or read in words) for read, last in self.names.items())

    def _reads_file(self, name: str, at: int) -> bool:
        means = may_be_in_folder if self.lists_folders else may_be_one_file
        return any(place > at and means(name, text) for text, place in self.files.items())

    def _reads_log(self, _: str, at: int) -> bool:
        return any(self._reads_file(file, at) for file in self.log_files)

    def _reads_package(self, name: str, at: int) -> bool:
        return any(
            owner.index in self.indexes and self.names.get(imported, -1) > at
            for owner, imported in self.statements.packages.get(name, ())
        )

    def _asks_database(self, _: str, at: int) -> bool:
        return self.default_database > at

    def _asks_chart(self, _: str, at: int) -> bool:
        cell = self.statements.all[at].cell  # a new one for each cell
        return any(
            s.cell is cell and s.index > at and not self.objects.outcome(s).asks <= self.what_matters(s).idle
            for s in self.taken
        )

    def _reads_imported(self, dotted: str, at: int) -> bool:
        """Whether a function of another module is read after `at`, by its own name or by its module's."""
        imports = self.statements.packages.get(dotted.partition(".")[0], ())
        modules = (
            local
            for owner, local in imports
            if owner.index in self.indexes and f"{dotted}.".startswith(f"{owner.names.imports[local]}.")
        )
        return any(self.names.get(name, -1) > at for name in (dotted.rpartition(".")[2], *modules))

    def goes_stale(self, origins: Collection[Origin], at: int) -> bool:
        """Whether anything after `at` binds or changes what functions read that keep what they gave."""
        waiting = [self.statements.all[index] for index, _ in origins if isinstance(index, int)]
        own = frozenset[Origin]().union(*map(_function_itself, waiting))
        names: dict[str, None] = {}
        for owner in waiting:
            for name, flags in owner.names.later.items():
                if flags & LOAD and name not in names:
                    names[name] = None
                    waiting += self.statements.reaching(name, END)[0]
        read = frozenset(origins).union(*(self.objects.value(name, END).all for name in names))
        read = (read - own) | {("name", name) for name in names}  # what they gave is no reason to give anything else
        return any(
            not names.keys().isdisjoint(statement.names.binds)
            or any(flags & (CHANGE | MUTATE) and name in names for name, flags in statement.names.now.items())
            or any(touch.verb in _CHANGES and touch.origins & read for touch in self.objects.outcome(statement).touches)
            for statement in self.statements.all[at + 1 :]
            if not statement.is_skipped and not isinstance(statement.node, IMPORTS)
        )

    @cached_property
    def log_files(self) -> set[str]:
        """The files that the taken statements log to."""
        touches = (touch for statement in self.taken for touch in self.objects.outcome(statement).touches)
        return {name for touch in touches if touch.verb == "logs to" for _, name in touch.origins}

    @cached_property
    def lists_folders(self) -> bool:
        """Whether anything taken asks which files a folder holds."""
        calls = [path for statement in self.taken for path, _, _ in statement.names.calls]
        calls += [path_of(call) for statement in self.taken for call in statement.names.inner_calls]
        return any(path[-2] in _LISTS for path in calls if len(path) > 1)

    @cached_property
    def files(self) -> dict[str, int]:
        """Where each text, or a path made from it, is read last; with the modules that are imported from files."""
        found: dict[str, int] = {}
        reach = {name: END for statement in self.taken for name in statement.names.later}
        for statement in reversed(self.taken):
            names = statement.names
            place = END if isinstance(statement.node, DEFINITIONS) else statement.index
            if self._makes_texts(statement):
                place = max([place, *(reach.get(name, -1) for name in names.binds)])
            reach.update((name, max(reach.get(name, -1), place)) for name in names.now)
            modules = (f"{imported.partition('.')[0]}.py" for imported in names.imports.values())
            for text in (*self.objects.texts(statement), *modules):
                found[text] = max(place, found.get(text, -1))
        return found

    def _makes_texts(self, statement: Statement) -> bool:
        """Whether what a statement binds is only text, paths or lists of them, and not what stands in a file."""
        resolved = (self.statements.resolve(path, statement) for path, _, _ in statement.names.calls)
        if any(not effects.kinds(name).isdisjoint(("read", "io")) for name in resolved):
            return False
        return all(
            self.objects.made_by(statement, name).kind in (kinds.PLAIN, kinds.CONTAINER)
            for name in statement.names.binds
        )

    @cached_property
    def default_database(self) -> int:
        """Where DuckDB's own database is asked last."""
        last = -1
        for statement in self.taken if "duckdb" in self.statements.packages else ():
            inner = [(path_of(call), END) for call in statement.names.inner_calls]
            for path, place in [*((path, statement.index) for path, _, _ in statement.names.calls), *inner]:
                if _ASKS_DUCKDB.match(self.statements.resolve(path, statement)):
                    last = max(last, place)
        return last

    def _draws_after(self, stream: str, at: int) -> bool:
        return any(stream in self.objects.outcome(s).seeds for s in self.taken) and self._draws_on(stream, at)

    def _draws_on(self, stream: str, at: int) -> bool:
        """Whether something taken draws from a stream after `at`, with nothing that seeds it between."""
        seeded = {s.index for s in self.taken if stream in self.objects.outcome(s).seeds}
        return any(
            drawn == stream and place > at and not any(at < seed <= place for seed in seeded)
            for drawn, place in self.draws
        )

    @cached_property
    def draws(self) -> list[tuple[str, int]]:
        """The process-wide streams that are drawn from, and where; END for draws in functions that seed nothing."""
        return [*self._found_draws()]

    def _found_draws(self) -> Iterator[tuple[str, int]]:
        for statement in self.taken:
            outcomes = [(self.objects.outcome(statement), statement.index)]
            if statement.names.later:
                inner = self.objects.body(statement)
                outcomes += [] if inner.seeds else [(inner, END)]
            for outcome, place in outcomes:
                drawn = [
                    (touch.line, name) for touch in outcome.touches for kind, name in touch.origins if kind == "stream"
                ]
                idle = self.what_matters(statement).idle if drawn and place != END else ()
                yield from ((name, place) for line, name in drawn if line not in idle)


def _function_itself(statement: Statement) -> set[Origin]:
    """What stands for a function that a statement makes, and for what that keeps."""
    names = statement.names.binds if isinstance(statement.node, FUNCTIONS) else ()
    return {(statement.index, name) for name in ("", *names)}


_NEEDS: dict[object, Callable[[Reads, str, int], bool]] = {
    "name": Reads._reads_name,
    "text": Reads._reads_text,
    "file": Reads._reads_file,
    "log": Reads._reads_log,
    "logfile": lambda *_: False,
    "module": Reads._reads_package,
    "imported": Reads._reads_imported,
    "database": Reads._asks_database,
    "stream": Reads._draws_after,
    "seed": Reads._draws_on,
    "process": lambda *_: True,
    "chart": Reads._asks_chart,
}
"""Who tells whether something outside of the notebook's objects is read after a statement."""


def missed(statements: Statements, reads: Reads) -> list[tuple[Statement, Missed]]:
    """What the left-out statements may do to what the taken ones need, in order."""
    found: list[tuple[Statement, Missed]] = []
    for statement in statements.all:
        if (
            statement.index in reads.indexes
            or statement.is_skipped
            or statement.is_main
            or isinstance(statement.node, IMPORTS)
        ):
            continue
        touches = reads.objects.outcome(statement).touches
        found += [(statement, each) for each in _of_statement(statement, touches, reads)]
    return found


def _of_statement(statement: Statement, touches: Iterable[Touch], reads: Reads) -> Iterator[Missed]:
    told: set[tuple[int, tuple[str, ...]]] = set()
    for touch in sorted(touches, key=lambda touch: (touch.line, touch.verb.startswith("may "))):
        needed = [origin for origin in touch.origins if reads.needs(origin, statement.index)]
        names = tuple(dict.fromkeys(_name(origin, reads) for origin in sorted(needed, key=_latest_first)))
        if touch.verb == "sets up the process" and _tries_a_flow(statement, reads.statements):
            continue
        if touch.verb == "fills the cache of" and needed and not reads.goes_stale(touch.origins, statement.index):
            continue
        is_file = all(kind in ("file", "log") for kind, _ in needed)
        place = (0 if is_file else touch.line, names)  # a file is told once: where it is opened
        if names and place not in told:
            told.add(place)
            verb = "writes" if is_file else touch.verb
            yield Missed(statement.number, touch.line, verb, names, touch.shown, bool(statement.magic))


def _tries_a_flow(statement: Statement, statements: Statements) -> bool:
    """Whether it calls a function that only tries the flow out."""
    calls = (path[0] for path, _, _ in statement.names.calls if len(path) == 2)
    return any("flow" in statements.done_by(name, statement.index) for name in calls)


def _latest_first(origin: Origin) -> tuple[int, str]:
    return (-origin[0] if isinstance(origin[0], int) else 0), origin[1]


def _name(origin: Origin, reads: Reads) -> str:
    kind, name = origin
    if kind == "text":
        words = re.findall(r"[^\W\d]\w*", name)
        return next((word for word in words if word in reads.names), "any name")
    if kind == "log":
        return min(file for file in reads.log_files if reads.needs(("file", file), -1))
    if kind == "imported":
        return name.rpartition(".")[2]
    if not name:
        return next(iter(reads.statements.all[kind].names.binds), "it")
    return learning.plain_name(name) if isinstance(kind, int) else name


def written_by_cells(cells: Sequence[ParsedCell], reads: Reads) -> Iterator[Missed]:
    """Cells of `%%writefile` or a shell, and shell lines, whose file something taken names."""
    for cell in cells:
        if cell.verdict == "skip":
            continue
        for line, shown, file in _files_of_cell(cell):
            if any(may_be_one_file(file, text) for text in reads.files):
                yield Missed(cell.cell.number, line, "writes", (file,), shown)


def _files_of_cell(cell: ParsedCell) -> Iterator[tuple[int, str, str]]:
    """The files that a cell writes beside Python: the line, what writes, the file."""
    if match := _WRITES_FILE.match(cell.cell.text):
        yield 1, "%%writefile", match[1]
    is_shell = cell.language in _SHELLS
    for number, text in enumerate(cell.cell.text.split("\n"), start=1):
        if is_shell or _SHELL_LINE.match(text):
            for file in written_by_shell(text):
                yield number, cell.language if is_shell else f"!{text.partition('!')[2].strip()}"[:40], file


def warnings_about(found: Sequence[Missed], later: Sequence[tuple[Missed, str]] = ()) -> Iterator[Diagnostic]:
    """The warnings; `later` are what is missed only once other cells are kept. Draws of one stream are told once."""
    draws: dict[tuple[str, ...], list[Missed]] = {}
    for each, first in [*((each, "") for each in found), *later]:
        if each.verb == "draws from":
            draws.setdefault(each.names, []).append(each)
            continue
        yield _told(each, first)
    for stream, each_draw in draws.items():
        numbers = sorted({draw.cell for draw in each_draw})
        places = cells_text(numbers)
        first_draw = min(each_draw, key=lambda draw: (draw.cell, draw.line))
        names = _listed([f"`{name}`" for name in stream[:3]])
        yield Diagnostic(
            f"`{first_draw.shown}` draws from {names} and is left out ({places}), so build() gets other numbers from it",
            first_draw.cell,
            first_draw.line,
            f"put `#| keep` at the top of {places}, or give build() a generator of its own",
        )


def _told(each: Missed, first: str) -> Diagnostic:
    """One warning; `first` are the cells that must be kept before it matters."""
    names = _listed([f"`{name}`" for name in each.names[:3]]) if each.names != ("any name",) else "any name"
    needs = "which build() reads" if each.verb == "writes" else "which build() needs"
    if first:
        needs = f"which is needed once {first} {'are' if first.startswith('cells') else 'is'} kept"
    fix = f"put `#| keep` at the top of cell {each.cell} if production needs it, or call it inside a step"
    verb = (
        _DOES.get(each.shown.removesuffix("(...)").rpartition(".")[2], each.verb)
        if each.verb == "writes"
        else each.verb
    )
    what = f"{verb} {names}, {needs}, and is left out"
    if each.verb == "changes the working directory":
        what = f"{each.verb} and is left out" if each.shown != "os.chdir(...)" else "is left out"
        fix = "write paths relative to the flow_modules folder: every run starts there"
    elif each.is_magic:
        fix = f"write it without `{each.shown.split()[0]}`, or call it inside a step"
    elif each.verb == "writes" and each.shown.startswith(("%%", "!")):
        fix = f"write `{each.names[0]}` in a step, or keep the file beside the notebook"
    elif each.verb == "sets up the process":
        what = f"{each.verb} by {names} and is left out"
    return Diagnostic(f"`{each.shown}` {what}", each.cell, each.line, fix)


def cells_text(numbers: Sequence[int]) -> str:
    """Cells by their numbers.

    Example:
        >>> cells_text([3]), cells_text([3, 5, 7])
        ('cell 3', 'cells 3, 5 and 7')
    """
    return f"cell{'s' if len(numbers) > 1 else ''} {_listed([str(number) for number in numbers])}"


def _listed(texts: Sequence[str]) -> str:
    return " and ".join([", ".join(texts[:-1]), texts[-1]] if len(texts) > 1 else texts)
