"""What leaving statements out may change, by names only: bare calls of needed objects, random streams, set-up, files."""

from __future__ import annotations

import ast
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from functools import cached_property

from data_engine.notebook import effects
from data_engine.notebook.call_graph import Body, CallGraph
from data_engine.notebook.diagnostics import Diagnostic
from data_engine.notebook.files_named import (
    may_be_in_folder,
    may_be_one_file,
    names_in,
    written_by_call,
    written_by_path,
    written_by_shell,
    written_by_sql,
)
from data_engine.notebook.magics import ParsedCell
from data_engine.notebook.names import HINT, LOAD, TABLE
from data_engine.notebook.shapes import path_of
from data_engine.notebook.statements import DEFINITIONS, DISPLAY_CALLS, END, IMPORTS, Statement, Statements
from data_engine.record import frozen

_READ = LOAD | HINT | TABLE
_KEEP = "put `#| keep` at the top of cell {} if production needs it, or call it inside a step"
_FROM_FLOW_MODULES = "write paths relative to the flow_modules folder: every run starts there"

_SEEDS = re.compile(r"(?P<stream>(?:.*\.)?random|\w+)\.(?:seed|setstate|set_state|manual_seed|set_random_seed)\(\)")
_MAKES_STREAM = re.compile(r"(?:.*\.)?random\.(?:default_rng|RandomState|Generator|Random)\(\)")
_DRAWS = re.compile(
    r"(?P<module>(?:.*\.)?random)\.(?!seed\b|default_rng\b|get_?state\b|set_?state\b)[a-z]\w*\(\)"
    r"|(?P<package>\w+)\.(?:rand\w*|normal|multinomial|bernoulli|poisson)\(\)"
)
_DRAWS_NOTHING = frozenset({"seed", "getstate", "get_state", "bit_generator", "spawn"})

CHANGES = re.compile(
    r"(partial_|re)?fit(_|$)|(train|update|append|extend|insert|remove|clear|reset|close|load|push|pop|put|write)$"
)
"""Methods that change their own object, by their names."""
_LISTS = frozenset({"listdir", "scandir", "walk", "iterdir", "glob", "rglob", "iglob"})
_SQL = frozenset({"sql", "query", "execute"})
_RUNS_SHELL = re.compile(r"os\.(system|popen)\(\)|subprocess\.\w+\(\)")
_CHANGES_FOLDER = re.compile(r"os\.f?chdir\(\)|contextlib\.chdir\(\)\.__enter__\(\)")
_WRITES_FILE = re.compile(r"\s*%%(?:writefile|file)\s+(?:-a\s+|--append\s+)?[\"']?([^\s\"']+)")
_SHELLS = frozenset({"%%bash", "%%sh", "%%script", "%%system", "%%!"})
_SHELL_LINE = re.compile(r"\s*(\w+\s*=\s*)?!")
_DOES = {
    **dict.fromkeys(("remove", "unlink", "rmdir", "rmtree"), "removes"),
    **dict.fromkeys(("rename", "renames", "move"), "moves"),
    **dict.fromkeys(("mkdir", "makedirs"), "makes"),
}
"""What else than to write a file a function does, by its name."""
_JOIN_TEXTS = frozenset({"Path()", "PurePath()", "str()", "join()", "joinpath()", "fspath()"})
_DEEPEST = 8
_MOST_TURNS = 20
_NOTHING: Mapping[str, str] = {}


@frozen
class _Call:
    """One call that a left-out statement makes, itself or through functions of the notebook.

    `line` and `shown` are those of the statement's own call, `given` the texts that the parameters around `node` stand for.
    """

    dotted: str
    node: ast.Call
    line: int
    shown: str
    given: Mapping[str, str]


class LeftOut:
    """What names tell of the statements that are not among `taken`."""

    def __init__(self, statements: Statements, taken: Collection[int], call_graph: CallGraph) -> None:
        self.statements = statements
        self.call_graph = call_graph
        self._turns: dict[int, list[Mapping[str, str]]] = {}
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
        for statement in self.left:
            told: set[object] = set()
            calls = [*self._calls(statement)]
            for call in calls:
                if stream := self._stream(call, statement):
                    draws.setdefault(stream, []).append((statement.number, call.line, call.shown))
                    told.add(call.line)
                for diagnostic in self._about_process(call, statement):
                    if diagnostic not in told and not self._runs_a_flow(calls):
                        told.add(diagnostic)
                        yield diagnostic
                for file in self._files(call, statement):
                    if file not in told and self._is_read(file, statement.index):
                        told.add(file)
                        verb = _DOES.get(call.dotted.removesuffix("()").rpartition(".")[2], "writes")
                        yield _of_file(call.shown, verb, file, statement.number, call.line)
            if not statement.magic:
                yield from (found for found in self._about_bare(statement) if found.line not in told)
        for cell in self.statements.cells:
            yield from self._about_cell(cell)
        for stream, places in draws.items():
            yield _of_stream(stream, places)

    # bare calls

    def _about_bare(self, statement: Statement) -> Iterator[Diagnostic]:
        """A method that is called for itself, on a needed object of the notebook, and does not plainly look.

        What the last line of a cell gives is shown: there only what sounds like a change is one.
        """
        is_shown = statement.node is statement.cell.statements[-1].node
        for path, line, text in statement.names.bare:
            name, method = path[0], path[-2]
            if len(path) != 3 or self.last.get(name, -1) <= statement.index or effects.only_looks(method, text):
                continue
            if is_shown and not CHANGES.match(method) and not effects.sounds_like_setup(method):
                continue
            owners = self.statements.reaching(name, statement.index)[0]
            is_object = any(
                owner in self.taken and name not in owner.names.imports and not isinstance(owner.node, DEFINITIONS)
                for owner in owners
            )
            if is_object:
                shown = effects.dotted(path[:-1])
                what = f"`{shown}(...)` may change `{name}`, which build() needs, and is left out"
                yield Diagnostic(what, statement.number, line, _KEEP.format(statement.number), name)

    @cached_property
    def last(self) -> dict[str, int]:
        """Where each name is read last by what is taken."""
        found: dict[str, int] = {}
        for statement in self.taken:
            found.update((name, statement.index) for name, flags in statement.names.now.items() if flags & _READ)
        found.update(
            (name, END) for statement in self.taken for name, flags in statement.names.later.items() if flags & _READ
        )
        return found

    # calls, also through the notebook's own functions

    def _calls(self, statement: Statement) -> Iterator[_Call]:
        for path, node, undoing in statement.names.calls:
            if undoing:
                continue
            dotted = self.statements.resolve(path, statement)
            shown = statement.magic and f"%{statement.magic.rpartition('%')[2]} {effects.dotted(path[:-1])}"
            shown = shown or effects.dotted(path[:-1])
            yield _Call(dotted, node, node.lineno, f"{shown}(...)", _NOTHING)
            seen: set[int] = set()
            for body in self.call_graph.called(path, statement.index):
                texts = self._handed(node, body, statement, _NOTHING)
                for inner, owner, given in self._inner(body, texts, seen):
                    yield _Call(
                        self.statements.resolve(path_of(inner), owner), inner, node.lineno, f"{shown}(...)", given
                    )

    def _inner(
        self, body: Body, given: Mapping[str, str], seen: set[int]
    ) -> Iterator[tuple[ast.Call, Statement, Mapping[str, str]]]:
        """The calls that a body makes, and those of what it calls."""
        if id(body.names) in seen or len(seen) > 30:
            return
        seen.add(id(body.names))
        for call in body.names.inner_calls:
            yield call, body.owner, given
            for callee in self.call_graph.called(path_of(call), END):
                yield from self._inner(callee, self._handed(call, callee, body.owner, given), seen)

    def _handed(self, call: ast.Call, body: Body, statement: Statement, around: Mapping[str, str]) -> Mapping[str, str]:
        """The texts that a call gives to the parameters of a body."""
        return {
            parameter: text
            for parameter in body.parameters
            for value in self.call_graph.given(call, body, parameter)
            if (text := self.text(value, statement, around))
        }

    def _runs_a_flow(self, calls: Sequence[_Call]) -> bool:
        return any(not DISPLAY_CALLS.isdisjoint(call.dotted.removesuffix("()").split(".")[-1:]) for call in calls)

    # random streams and the process

    def _stream(self, call: _Call, statement: Statement) -> str:
        """The seeded stream that a call draws from and something taken draws from later; "" for none."""
        root, *rest = path_of(call.node)
        if len(rest) == 2 and rest[0] not in _DRAWS_NOTHING and self._is_seeded_generator(root, statement.index):
            return root if self.last.get(root, -1) > statement.index else ""
        match = _DRAWS.fullmatch(call.dotted)
        stream = match and (match["module"] or match["package"])
        if not stream or not self._seeds(stream):
            return ""
        return stream if self._draws_on(stream, statement.index) else ""

    def _is_seeded_generator(self, name: str, at: int) -> bool:
        for owner in self.statements.reaching(name, at)[0]:
            for path, node, _ in owner.names.calls:
                if (
                    _MAKES_STREAM.fullmatch(self.statements.resolve(path, owner))
                    and owner.names.aliases.get(name) == path
                ):
                    return bool(node.args or node.keywords)
        return False

    def _seeds(self, stream: str) -> list[int]:
        """Where what is taken seeds a stream."""
        return [statement.index for statement, match in self._seedings if match == stream]

    @cached_property
    def _seedings(self) -> list[tuple[Statement, str]]:
        return [
            (statement, match["stream"])
            for statement in self.taken
            for path, _, _ in statement.names.calls
            if (match := _SEEDS.fullmatch(self.statements.resolve(path, statement)))
        ]

    def _draws_on(self, stream: str, at: int) -> bool:
        """Whether something taken draws from a stream after `at`, with nothing that seeds it between."""
        seeds = self._seeds(stream)
        return any(
            drawn == stream and place > at and not any(at < seed <= place for seed in seeds)
            for drawn, place in self._drawn
        )

    @cached_property
    def _drawn(self) -> list[tuple[str, int]]:
        """The streams that what is taken draws from, and where."""
        found = []
        for statement in self.taken:
            calls = [(path, statement.index) for path, _, _ in statement.names.calls]
            inner = [path_of(call) for call in statement.names.inner_calls]
            if not any(_SEEDS.fullmatch(self.statements.resolve(path, statement)) for path in inner):
                calls += [(path, END) for path in inner]
            for path, place in calls:
                match = _DRAWS.fullmatch(self.statements.resolve(path, statement))
                if match:
                    found.append((match["module"] or match["package"], place))
        return found

    def _about_process(self, call: _Call, statement: Statement) -> Iterator[Diagnostic]:
        """What a call sets up in a function, or the folder that it changes to."""
        number = statement.number
        if _CHANGES_FOLDER.fullmatch(call.dotted):
            is_itself = call.shown == "os.chdir(...)"
            what = f"`{call.shown}` {'' if is_itself else 'changes the working directory and '}is left out"
            yield Diagnostic(what, number, call.line, _FROM_FLOW_MODULES)
        elif effects.is_setup(call.dotted):
            if match := _SEEDS.fullmatch(call.dotted):
                if not self._draws_after(match["stream"], statement.index):
                    return
                what = f"`{call.shown}` seeds `{match['stream']}`, which build() needs, and is left out"
            else:
                what = f"`{call.shown}` sets up the process by `{call.dotted.removesuffix('()')}` and is left out"
            yield Diagnostic(what, number, call.line, _KEEP.format(number))

    def _draws_after(self, stream: str, at: int) -> bool:
        return any(drawn == stream and place > at for drawn, place in self._drawn)

    # files

    def _files(self, call: _Call, statement: Statement) -> Iterator[str]:
        """The files that a call writes, moves or deletes under a name that stands in the notebook."""
        if statement.index not in self._turns:
            self._turns[statement.index] = self._by_turns(statement)
        for texts in self._turns[statement.index]:
            yield from self._files_of(call, statement, {**texts, **call.given})

    def _by_turns(self, statement: Statement) -> list[Mapping[str, str]]:
        """The texts that the variables of a statement's loops stand for, by turns: those in what is looped over, as written."""
        loops = [part for part in ast.walk(statement.node) if isinstance(part, (ast.For, ast.comprehension))]
        targets = {part.id for loop in loops for part in ast.walk(loop.target) if isinstance(part, ast.Name)}
        texts: dict[str, None] = {}
        for loop in loops:
            written = [loop.iter]
            for name in [part.id for part in ast.walk(loop.iter) if isinstance(part, ast.Name)]:
                owners = self.statements.reaching(name, statement.index)[0]
                written += [value for owner in owners if (value := getattr(owner.node, "value", None)) is not None]
            parts = (
                part for value in written for part in ast.walk(value) if isinstance(part, (ast.Constant, ast.JoinedStr))
            )
            texts.update((self.text(part, statement, _NOTHING), None) for part in parts)
        texts.pop("", None)
        turns: list[Mapping[str, str]] = [dict.fromkeys(targets, text) for text in list(texts)[:_MOST_TURNS]]
        return turns or [_NOTHING]

    def _files_of(self, call: _Call, statement: Statement, given: Mapping[str, str]) -> Iterator[str]:
        node = call.node
        texts = [self.text(value, statement, given) for value in node.args]
        named = {keyword.arg: self.text(keyword.value, statement, given) for keyword in node.keywords if keyword.arg}
        dotted = call.dotted.removesuffix("()")
        base = self.text(node.func.value, statement, given) if isinstance(node.func, ast.Attribute) else ""
        found = written_by_path(dotted.rpartition(".")[2], base, texts, named.get("mode", "")) if base else []
        if found:
            pass
        elif _RUNS_SHELL.fullmatch(call.dotted):
            found = written_by_shell("".join(texts[:1]))
        elif dotted.rpartition(".")[2] in _SQL:
            sql = "".join(texts[:1])
            found = [*written_by_sql(sql), *([] if effects.looks(sql) else self._database(node, statement))]
        else:
            found = written_by_call(dotted, texts, named)
        yield from (file for file in found if file and not file.startswith(":"))

    def _database(self, node: ast.Call, statement: Statement) -> Iterator[str]:
        """The file of the connection that a call is made on, as `connect("a.db")` names it."""
        root = path_of(node)[0]
        for owner in [*self.statements.reaching(root, statement.index)[0], statement]:
            for path, call, _ in owner.names.calls:
                if path[-2] == "connect" and call.args and root in owner.names.binds:
                    yield self.text(call.args[0], owner, _NOTHING)

    def _about_cell(self, cell: ParsedCell) -> Iterator[Diagnostic]:
        """Cells of `%%writefile` or a shell, and shell lines, whose file something taken names."""
        if cell.verdict == "skip":
            return
        for line, shown, file in _files_of_cell(cell):
            if self._is_read(file, -1, may_list=False):
                fix = f"write `{file}` in a step, or keep the file beside the notebook"
                what = f"`{shown}` writes `{file}`, which build() reads, and is left out"
                yield Diagnostic(what, cell.cell.number, line, fix)

    def _is_read(self, file: str, at: int, *, may_list: bool = True) -> bool:
        means = may_be_in_folder if may_list and self._lists_folders else may_be_one_file
        return any(place > at and means(file, text) for text, place in self._texts_read.items())

    @cached_property
    def _texts_read(self) -> dict[str, int]:
        """Each text that may name a file, and where it is read last; with the modules that are imported."""
        found: dict[str, int] = {}
        for statement in self.taken:
            names = statement.names
            place = END if isinstance(statement.node, DEFINITIONS) or names.later else statement.index
            value = statement.node.value if isinstance(statement.node, (ast.Assign, ast.AnnAssign)) else None
            if value is not None and self._is_text(value, statement):
                place = max([place, *(self.last.get(name, -1) for name in names.binds)])
            texts = [f"{imported.partition('.')[0]}.py" for imported in names.imports.values()]
            for node in ast.walk(statement.node):
                if isinstance(node, (ast.Constant, ast.JoinedStr, ast.BinOp)):
                    texts += names_in(self.text(node, statement, _NOTHING))
            for text in filter(None, texts):
                found[text] = max(place, found.get(text, -1))
        return found

    def _is_text(self, value: ast.expr, statement: Statement) -> bool:
        """Whether a value is a text, a path, or a list of them as written."""
        parts = value.elts if isinstance(value, (ast.List, ast.Tuple)) else [value]
        parts = parts if not isinstance(value, ast.Dict) else value.values
        return bool(parts) and all(self.text(part, statement, _NOTHING) for part in parts)

    @cached_property
    def _lists_folders(self) -> bool:
        """Whether anything taken asks which files a folder holds."""
        calls = [path for statement in self.taken for path, _, _ in statement.names.calls]
        calls += [path_of(call) for statement in self.taken for call in statement.names.inner_calls]
        return any(path[-2] in _LISTS for path in calls if len(path) > 1)

    def text(self, node: ast.expr, statement: Statement, given: Mapping[str, str], depth: int = 0) -> str:
        """The text or path that an expression plainly is, "*" where nobody knows a part of it; "" for anything else."""
        if depth > _DEEPEST:
            return ""
        if isinstance(node, ast.Constant):
            return node.value if isinstance(node.value, str) else ""
        if isinstance(node, ast.JoinedStr):
            return "".join(str(part.value) if isinstance(part, ast.Constant) else "*" for part in node.values)
        if isinstance(node, ast.Name):
            return given.get(node.id, "") or self._named_text(node.id, statement, depth)
        parts, between = _text_parts(node)
        texts = [self.text(part, statement, given, depth + 1) for part in parts]
        return between.join(text or "*" for text in texts) if any(texts) else ""

    def _named_text(self, name: str, statement: Statement, depth: int) -> str:
        at = END if isinstance(statement.node, DEFINITIONS) else statement.index
        for owner in self.statements.reaching(name, at)[0]:
            value = owner.node.value if isinstance(owner.node, (ast.Assign, ast.AnnAssign)) else None
            if value is not None and owner is not statement:
                return self.text(value, owner, _NOTHING, depth + 1)
        return ""


def _text_parts(node: ast.expr) -> tuple[Sequence[ast.expr], str]:
    """The expressions that a text or path is put together from, and what stands between them."""
    if isinstance(node, ast.BinOp) and isinstance(node.op, (ast.Div, ast.Add)):
        return (node.left, node.right), "/" if isinstance(node.op, ast.Div) else ""
    if isinstance(node, ast.Call) and effects.dotted(path_of(node)).rpartition(".")[2] in _JOIN_TEXTS:
        return node.args, "/"
    return (), ""


def _files_of_cell(cell: ParsedCell) -> Iterator[tuple[int, str, str]]:
    """The files that a cell writes beside Python: the line, what writes, the file."""
    if match := _WRITES_FILE.match(cell.cell.text):
        yield 1, "%%writefile", match[1]
    is_shell = cell.language in _SHELLS
    for number, text in enumerate(cell.cell.text.split("\n"), start=1):
        if is_shell or _SHELL_LINE.match(text):
            for file in written_by_shell(text):
                yield number, cell.language if is_shell else f"!{text.partition('!')[2].strip()}"[:40], file


def _of_file(shown: str, verb: str, file: str, cell: int, line: int) -> Diagnostic:
    what = f"`{shown}` {verb} `{file}`, which build() reads, and is left out"
    return Diagnostic(what, cell, line, _KEEP.format(cell))


def _of_stream(stream: str, places: Sequence[tuple[int, int, str]]) -> Diagnostic:
    """The draws of one stream are told once, with all their cells."""
    cells = cells_text(sorted({cell for cell, _, _ in places}))
    cell, line, shown = min(places)
    what = f"`{shown}` draws from `{stream}` and is left out ({cells}), so build() gets other numbers from it"
    return Diagnostic(what, cell, line, f"put `#| keep` at the top of {cells}, or give build() a generator of its own")


def cells_text(numbers: Sequence[int]) -> str:
    """Cells by their numbers.

    Example:
        >>> cells_text([3]), cells_text([3, 5, 7])
        ('cell 3', 'cells 3, 5 and 7')
    """
    texts = [str(number) for number in numbers]
    listed = " and ".join([", ".join(texts[:-1]), texts[-1]] if len(texts) > 1 else texts)
    return f"cell{'s' if len(texts) > 1 else ''} {listed}"
