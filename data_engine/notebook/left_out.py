"""Warns, by names only, of what leaving statements out may change: bare calls of needed objects, random streams, files."""

from __future__ import annotations

import ast
import re
from collections.abc import Collection, Iterator, Sequence
from functools import cached_property

from data_engine.formatting import cells_text, plural
from data_engine.notebook import effects
from data_engine.notebook.diagnostics import Diagnostic
from data_engine.notebook.magics import ParsedCell
from data_engine.notebook.names import HINT, LOAD, TABLE, dotted, path_of, texts_in
from data_engine.notebook.statements import DEFINITIONS, END, IMPORTS, Statement, Statements

_READ = LOAD | HINT | TABLE
_KEEP = "put `#| keep` at the top of {} if production needs it, or call it inside a step"
_FROM_FLOW_MODULES = "write paths relative to the flow_modules folder: every run starts there"

_SEEDS = re.compile(r"(?P<stream>(?:.*\.)?random)\.(?:seed|setstate|set_state)\(\)")
_MAKES_STREAM = re.compile(r"(?:.*\.)?random\.(?:default_rng|RandomState|Generator|Random)\(\)")
_DRAWS = re.compile(r"(?P<stream>(?:.*\.)?random)\.(?!seed\b|default_rng\b|get_?state\b|set_?state\b)[a-z]\w*\(\)")
_DRAWS_NOTHING = frozenset({"seed", "getstate", "get_state", "bit_generator", "spawn"})

CHANGES = re.compile(
    r"(partial_|re)?fit(_|$)|(train|update|append|extend|insert|remove|clear|reset|close|load|push|pop|put|write)$"
)
"""Methods that change their own object, by their names."""
_CHANGES_FOLDER = re.compile(r"os\.f?chdir\(\)|contextlib\.chdir\(\)\.__enter__\(\)")

_WRITES = re.compile(
    r"(.*\.)?(to_(?!dict|list|numpy|pandas)\w+|(write|sink|save)_?\w*|dump|imsave|imwrite|urlretrieve|touch|ExcelWriter|FileHandler)"
    r"|shutil\.copy\w*"
)
"""Functions and methods that write the files that their arguments name."""
_OPENS = frozenset({"open", "ZipFile", "TarFile", "File", "HDFStore"})
_PASSES_ON = frozenset("Path PurePath str join joinpath fspath items values keys enumerate zip sorted".split())
"""Calls whose results hold the texts of their arguments."""
_FILE = re.compile(r"[^\n*{}]*\w\.\w+")
_WRITES_FILE = re.compile(r"\s*%%(?:writefile|file)\s+(?:-a\s+|--append\s+)?[\"']?([^\s\"']+)")
_DEEPEST = 3


class LeftOutStatements:
    """The warnings, by names only, of the statements that are not among `taken`."""

    def __init__(self, statements: Statements, taken: Collection[int]) -> None:
        self.statements = statements
        self.taken = [statements.all[index] for index in sorted(taken)]
        self.left = [
            statement
            for statement in statements.all
            if statement.index not in taken
            and not statement.is_skipped
            and not statement.is_main
            and not isinstance(statement.node, (*DEFINITIONS, *IMPORTS))
        ]

    def diagnostics(self) -> Iterator[Diagnostic]:
        """The warnings."""
        draws: dict[str, list[tuple[int, int, str]]] = {}
        bare: dict[str, list[tuple[int, int, str]]] = {}
        for statement in self.left:
            drawn_at = set()
            for path, node, undoing in statement.names.calls:
                if undoing:
                    continue
                called, shown = self.statements.resolve(path, statement), self._words_of(path, statement)
                if stream := self._stream(called, node, statement):
                    draws.setdefault(stream, []).append((statement.number, node.lineno, shown))
                    drawn_at.add(node.lineno)
                if _CHANGES_FOLDER.fullmatch(called):
                    does = "" if shown == "os.chdir(...)" else "changes the working directory and "
                    what = f"`{shown}` {does}is left out"
                    yield Diagnostic(what, statement.number, node.lineno, _FROM_FLOW_MODULES)
                yield from self._about_files(called, node, statement)
            for name, line, shown in () if statement.magic else self._bare(statement):
                if line not in drawn_at:
                    bare.setdefault(name, []).append((statement.number, line, shown))
        for cell in self.statements.cells:
            yield from self._about_cell(cell)
        for stream, places in draws.items():
            number, line, shown = min(places)
            cells = cells_text(sorted({place[0] for place in places}))  # one warning for the draws of a stream
            what = f"`{shown}` draws from `{stream}` and is left out ({cells}), so build() gets other numbers from it"
            fix = f"put `#| keep` at the top of {cells}, or give build() a generator of its own"
            yield Diagnostic(what, number, line, fix)
        for name, places in bare.items():
            number, line, shown = min(places)
            cells = cells_text(sorted({place[0] for place in places}))  # and one for all calls of a name
            others = f" and {plural(len(places) - 1, 'other call')}" if len(places) > 1 else ""
            are = "are" if others else "is"
            what = f"`{shown}`{others} may change `{name}`, which build() needs, and {are} left out"
            yield Diagnostic(what, number, line, _KEEP.format(cells), name)

    def _words_of(self, path: Sequence[str], statement: Statement) -> str:
        magic = f"%{statement.magic.rpartition('%')[2]} " if statement.magic else ""
        return f"{magic}{dotted(path[:-1])}(...)"

    # bare calls

    def _bare(self, statement: Statement) -> Iterator[tuple[str, int, str]]:
        """The methods that are called for themselves on a needed object of the notebook and do more than look: its name, line and call."""
        for path, line, text in statement.names.bare:
            name, method = path[0], path[-2]
            if len(path) != 3 or self._last_reads.get(name, -1) <= statement.index or effects.only_looks(method, text):
                continue
            owners = self.statements.reaching(name, statement.index)[0]
            is_object = any(
                owner in self.taken and name not in owner.names.imports and not isinstance(owner.node, DEFINITIONS)
                for owner in owners
            )
            if is_object:
                yield name, line, f"{dotted(path[:-1])}(...)"

    @cached_property
    def _last_reads(self) -> dict[str, int]:
        """The place where each name is read last by the taken statements."""
        places: dict[str, int] = {}
        for statement in self.taken:
            places.update((name, statement.index) for name, flags in statement.names.now.items() if flags & _READ)
        places.update(
            (name, END) for statement in self.taken for name, flags in statement.names.later.items() if flags & _READ
        )
        return places

    # random streams

    def _stream(self, called: str, node: ast.Call, statement: Statement) -> str:
        """The seeded stream that a call draws from, and a taken statement later; "" for none."""
        root, *rest = path_of(node)
        if len(rest) == 2 and rest[0] not in _DRAWS_NOTHING and self._is_seeded_generator(root, statement.index):
            return root if self._last_reads.get(root, -1) > statement.index else ""
        match = _DRAWS.fullmatch(called)
        if match is None:
            return ""
        stream = match["stream"]
        seeded, drawn = self._streams
        seeds = seeded.get(stream, [])
        is_drawn_on = any(
            place > statement.index and not any(statement.index < seed <= place for seed in seeds)
            for place in drawn.get(stream, [])
        )
        return stream if seeds and is_drawn_on else ""

    def _is_seeded_generator(self, name: str, at: int) -> bool:
        for owner in self.statements.reaching(name, at)[0]:
            for path, node, _ in owner.names.calls:
                is_maker = _MAKES_STREAM.fullmatch(self.statements.resolve(path, owner))
                if is_maker and owner.names.aliases.get(name) == path:
                    return bool(node.args or node.keywords)
        return False

    @cached_property
    def _streams(self) -> tuple[dict[str, list[int]], dict[str, list[int]]]:
        """The places where taken statements seed streams, and where they draw from them, by stream."""
        seeded: dict[str, list[int]] = {}
        drawn: dict[str, list[int]] = {}
        for statement in self.taken:
            calls = [
                (self.statements.resolve(path, statement), statement.index) for path, _, _ in statement.names.calls
            ]
            inner = [self.statements.resolve(path_of(call), statement) for call in statement.names.inner_calls]
            for called, place in calls:
                if match := _SEEDS.fullmatch(called):
                    seeded.setdefault(match["stream"], []).append(place)
            if not any(map(_SEEDS.fullmatch, inner)):
                calls += [(called, END) for called in inner]
            for called, place in calls:
                if match := _DRAWS.fullmatch(called):
                    drawn.setdefault(match["stream"], []).append(place)
        return seeded, drawn

    # files

    def _about_files(self, called: str, node: ast.Call, statement: Statement) -> Iterator[Diagnostic]:
        """Warn of files that a call writes, and that a taken statement reads by a text."""
        values = self._written_by(called.removesuffix("()"), node)
        files = {text.rstrip("/") for value in values for text in self._texts_of(value, statement)}
        for file in sorted(files):
            if _FILE.fullmatch(file) and self._is_read(file, statement.index):
                shown = self._words_of(path_of(node), statement)
                what = f"`{shown}` writes `{file}`, which build() reads, and is left out"
                yield Diagnostic(what, statement.number, node.lineno, _KEEP.format(f"cell {statement.number}"))

    def _written_by(self, called: str, node: ast.Call) -> list[ast.expr]:
        """The expressions that name the files a call writes."""
        last = called.rpartition(".")[2]
        arguments = [*node.args, *(keyword.value for keyword in node.keywords)]
        base = [node.func.value] if isinstance(node.func, ast.Attribute) else []
        if last in _OPENS:
            modes = "".join(text for value in arguments for text in texts_in(value) if len(text) <= 3)
            return [*base, *arguments] if set(modes) & set("wax+") else []
        if not _WRITES.fullmatch(called):
            return []
        return [*base, *arguments] if last in ("write_text", "write_bytes", "touch") else arguments

    def _texts_of(self, node: ast.AST, statement: Statement, depth: int = 0) -> Iterator[str]:
        """The texts in an expression and in the values of its names."""
        if depth > _DEEPEST:
            return
        if isinstance(node, ast.Constant):
            yield from [node.value] if isinstance(node.value, str) else []
        elif isinstance(node, ast.Name):
            for owner in self.statements.reaching(node.id, statement.index)[0]:
                if isinstance(owner.node, (ast.Assign, ast.AnnAssign)) and owner.node.value and owner is not statement:
                    yield from self._texts_of(owner.node.value, owner, depth + 1)
        elif not isinstance(node, ast.Call) or path_of(node)[-2] in _PASSES_ON:
            for part in ast.iter_child_nodes(node):
                yield from self._texts_of(part, statement, depth)

    def _about_cell(self, cell: ParsedCell) -> Iterator[Diagnostic]:
        """Warn of a cell of `%%writefile` whose file a taken statement names."""
        match = _WRITES_FILE.match(cell.cell.text)
        if match and cell.verdict != "skip" and self._is_read(file := match[1], -1):
            fix = f"write `{file}` in a step, or keep the file beside the notebook"
            yield Diagnostic(
                f"`%%writefile` writes `{file}`, which build() reads, and is left out", cell.cell.number, 1, fix
            )

    def _is_read(self, file: str, at: int) -> bool:
        """Whether a taken statement names a file after `at`, by the last part of its path."""
        return self._texts_read.get(_last_part(file), -1) > at

    @cached_property
    def _texts_read(self) -> dict[str, int]:
        """The last part of each text that may name a file, and where it is read last; with the modules that are imported."""
        places: dict[str, int] = {}
        for statement in self.taken:
            names, value = statement.names, getattr(statement.node, "value", None)
            place = END if isinstance(statement.node, DEFINITIONS) or names.later else statement.index
            if not isinstance(value, ast.Call) or path_of(value)[-2] in _PASSES_ON:
                place = max([place, *(self._last_reads.get(name, -1) for name in names.binds)])
            texts = [f"{imported.partition('.')[0]}.py" for imported in names.imports.values()]
            for text in [*texts, *texts_in(statement.node)]:
                places[_last_part(text)] = max(place, places.get(_last_part(text), -1))
        return places


def _last_part(path: str) -> str:
    return re.split(r"[/\\]", path.rstrip("/\\"))[-1]
