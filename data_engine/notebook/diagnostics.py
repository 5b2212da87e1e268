"""The compiler's messages to an author: why a notebook cannot become a module, and warnings of one that can."""

from __future__ import annotations

import ast
import re
from collections.abc import Collection, Iterator, Mapping, Sequence

from data_engine.flow.object_names import how_to_take
from data_engine.notebook import effects
from data_engine.notebook.magics import parse_cell
from data_engine.notebook.mistakes import may_name_secret, secret_text, written_secrets
from data_engine.notebook.names import HINT, LOAD, Path, dotted, names_in, texts_in
from data_engine.notebook.read import NotebookCell
from data_engine.notebook.statements import DEFINITIONS, Statement, Statements
from data_engine.record import frozen
from data_engine.suggestions import syntax_fix
from data_engine.workspace.layout import kernel_shell

SETS_UP = "sets up the process"
MARKED_KEEP = "its cell is marked keep"
"""Reasons for taking a statement that say its author means its effect."""

_PLAIN_ASSIGNMENT = "give `{}` its value in an assignment of its own"
_FULL_NAME = "write the full name, such as `from flow_helpers.tables import lookup`"
_KEEP_CALL = "put `#| keep` at the top of the cell if production needs it, or call it inside a step"
_PROCESS_MAGIC = re.compile(r"the line magic %(env|set_env|cd|dotenv|pushd|popd)")


@frozen
class Diagnostic:
    """Something about a line of a cell, and its fix; `may_change` is the needed name that a left-out call may change."""

    message: str
    cell: int
    line: int
    fix: str | None = None
    may_change: str = ""


def cell_fix(problem: str, line: int) -> str:
    """The fix of a cell that does not parse, by Python's message about this line.

    Example:
        >>> cell_fix("expected ':'", 2), cell_fix("invalid syntax", 2)
        ('end the line with a colon', 'correct line 2 of the cell')
    """
    return syntax_fix(problem) or f"correct line {line} of the cell"


@frozen
class Want:
    """The need of a name: the statement and line that use it, before statement `at`. No statement means the flow itself.

    `target` is the statement that has the name as its loop or with variable, when nothing else supplies it.
    """

    name: str
    at: int
    user: Statement | None
    line: int
    target: Statement | None = None

    @property
    def label(self) -> str:
        """The user's name in messages."""
        return self.user.label if self.user else "the flow"

    @property
    def cell(self) -> int:
        """The cell of the user."""
        return self.user.number if self.user else 1


@frozen
class SliceResult:
    """The result of slicing: `taken` maps statements to reasons, `followed` are the names needed when the flow runs.

    `changed` maps those that were taken because they change an object in place to its name.

    `shadowed` are wants that a left-out loop also sets, `starred` those that only a star import can supply.
    """

    taken: Mapping[int, str]
    changed: Mapping[int, str]
    followed: Collection[str]
    shadowed: Sequence[Want]
    starred: Sequence[tuple[Want, Statement]]


def unsupplied(statements: Statements, want: Want) -> Diagnostic:
    """Why nothing in the notebook supplies a needed name."""
    name = want.name
    if want.target is not None:
        kind = "`with`" if isinstance(want.target.node, (ast.With, ast.AsyncWith)) else "loop"
        return Diagnostic(
            f"{want.label} needs `{name}`, which is only the variable of a {kind} in {want.target.place};"
            " production does not run that",
            want.cell,
            want.line,
            _PLAIN_ASSIGNMENT.format(name),
        )
    later = [statement for statement in statements.events.get(name, ()) if statement.index > want.at]
    if later:
        return Diagnostic(
            f"{want.label} uses `{name}` before {later[0].place} defines it; your kernel has it from an earlier run",
            want.cell,
            want.line,
            f"move the definition of `{name}` above its use",
        )
    shell = kernel_shell()
    where = "is unknown" if shell is None or name not in shell.user_ns else "exists only in your kernel's memory"
    return (
        _made_by_unreadable_cell(statements, want)
        or _saved_by_step(statements, want)
        or _made_out_of_reach(statements, want)
        or _stands_in_text(statements, want)
        or Diagnostic(
            f"`{name}` {where}: {want.label} uses it and no cell defines it",
            want.cell,
            want.line,
            _fix_missing(statements, name),
        )
    )


def _made_by_unreadable_cell(statements: Statements, want: Want) -> Diagnostic | None:
    word = re.compile(rf"\b{re.escape(want.name)}\b")
    for cell in statements.cells:
        number = cell.cell.number
        if cell.problem and word.search(cell.cell.text):
            return Diagnostic(
                f"cell {number} does not parse ({cell.problem}), and {want.label} needs `{want.name}`",
                number,
                cell.problem_line,
                f"{cell_fix(cell.problem, cell.problem_line)}; or define `{want.name}` in another cell",
            )
        if cell.language and word.search(cell.cell.text):
            return Diagnostic(
                f"{want.label} needs `{want.name}`, which cell {number} may make, but that is a {cell.language} cell",
                want.cell,
                want.line,
                f"make `{want.name}` in Python",
            )
    return None


def _made_out_of_reach(statements: Statements, want: Want) -> Diagnostic | None:
    name = want.name
    for statement in statements.all:
        if statement.magic and any(name in re.findall(r"\w+", text) for text in texts_in(statement.node)):
            reason = f"which only {statement.magic} in {statement.place} may make; production does not run that"
            fix = f"give `{name}` its value in plain Python"
        elif statement.is_skipped and name in statement.names.binds:
            reason = f"which is defined only in {statement.place}, and that cell is marked skip"
            fix = "remove the mark, or move the definition into a cell without it"
        elif name in statement.names.bound_globals:
            reason = f"which only a call of {statement.label} sets; such calls stay in the notebook"
            fix = f"assign `{name}` at the top of a cell, or put `#| keep` at the top of the cell with the call"
        elif name in statement.names.comprehension_targets:
            reason = f"which is only the variable of a comprehension in {statement.place}"
            fix = _PLAIN_ASSIGNMENT.format(name)
        else:
            continue
        return Diagnostic(f"{want.label} needs `{name}`, {reason}", want.cell, want.line, fix)
    return None


def _saved_by_step(statements: Statements, want: Want) -> Diagnostic | None:
    """The problem of a name that is no variable, but the `save_as` of a step."""
    for statement in statements.all:
        for part in ast.walk(statement.node) if isinstance(statement.node, DEFINITIONS) else ():
            is_saved = isinstance(part, ast.keyword) and part.arg == "save_as" and isinstance(part.value, ast.Constant)
            if is_saved and part.value.value == want.name:  # type: ignore[attr-defined]
                what = f"`{want.name}` is what a step saves (cell {statement.number}), and no variable: {want.label} uses it as one"
                return Diagnostic(what, want.cell, want.line, how_to_take(want.name))
    return None


def _stands_in_text(statements: Statements, want: Want) -> Diagnostic | None:
    """The problem of a name that only the code in a Markdown or raw cell makes."""
    for text in statements.texts:
        parsed = parse_cell(NotebookCell(text.after + 1, "", text.text))
        if any(want.name in statement.names.binds for statement in parsed.statements):
            where = f"below cell {text.after}" if text.after else "above cell 1"
            what = f"`{want.name}` is made only in a {text.kind} cell ({where}), which is not run: {want.label} uses it"
            return Diagnostic(what, want.cell, want.line, "make it a code cell: select it, press Esc, then Y")
    return None


def _fix_missing(statements: Statements, name: str) -> str:
    import difflib

    fix = f"define `{name}` in a cell, or import it"
    runs = [
        statement for statement in statements.all if statement.magic in ("the line magic %run", "the line magic %pylab")
    ]
    if runs:
        return f"{fix} (if {runs[0].magic} in {runs[0].place} made it, import it from a module instead)"
    near = difflib.get_close_matches(name, [other for other in statements.events if other != name], n=1, cutoff=0.75)
    return f"{fix}; did you mean `{near[0]}`?" if near else fix


def forbidden(statements: Statements, statement: Statement, want: Want | None) -> Iterator[Diagnostic]:
    """Why production cannot run a statement that it needs, whatever names that uses; `want` is the need."""
    names = statement.names
    user = f"; {want.label} needs `{want.name}` from it" if want and want.user else ""
    number = statement.number
    if statement.magic:
        around = _around_magic(statement.node, want.name) if user and want else ""
        needed = user.removesuffix(" from it") + around if around else user
        yield Diagnostic(
            f"production cannot run {statement.magic}{needed}", number, statement.magic_line, "write it in plain Python"
        )
    if names.await_line:
        what = f"`await` at the top of a cell does not work in a module{user}"
        yield Diagnostic(what, number, names.await_line, "call asyncio.run(...) inside a step")
    if names.relative_line:
        what = f"a notebook has no package to import from relatively{user}"
        yield Diagnostic(what, number, names.relative_line, _FULL_NAME)
    if statement.is_main:
        what = f'`if __name__ == "__main__"` is not true in production{user}'
        yield Diagnostic(what, number, statement.line, "define it outside the `if`")
    for uses, lines in ((names.now, names.now_lines), (names.later, names.later_lines)):
        if uses.get("get_ipython", 0) & (LOAD | HINT):
            fix = "keep IPython's tools in cells that build() does not need, or mark the cell `#| skip`"
            yield Diagnostic(f"`get_ipython` does not exist in production{user}", number, lines["get_ipython"], fix)
    for path, call, _ in names.calls:
        runs_one_inside = len(path) == 2 and "flow" in statements.done_by(path[0], statement.index)
        if runs_one_inside or "flow" in effects.kinds(statements.resolve(path, statement)):
            shown = f"{path[0] if runs_one_inside else path[-2]}()"
            value = f"`{want.name}` comes from {shown}" if want else f"{shown} runs a flow"
            yield Diagnostic(
                f"{value} in cell {number}, and production has no such value{user}",
                number,
                call.lineno,
                "move the work into a step, and take the value from `context.current` or `context.objects`",
            )
            return


def looked_up(statements: Statements, statement: Statement) -> set[str]:
    """The names that a statement with `globals()` may look up: those of its texts, and those that begin or end with one."""
    names = statement.names
    if "globals" not in names.now and "globals" not in names.later:
        return set()
    texts = {text for text in texts_in(statement.node) if len(text) > 1}
    return {
        name
        for name in statements.events
        if name in texts or any(len(text) > 2 and (name.startswith(text) or name.endswith(text)) for text in texts)
    }


def _around_magic(node: ast.stmt, name: str) -> str:
    """The words for the block around a magic that makes a name; "" where the magic itself makes it."""
    if not isinstance(node, (ast.For, ast.AsyncFor, ast.While, ast.With, ast.If, ast.Try)):
        return ""
    for part in ast.walk(node):
        if isinstance(part, (ast.For, ast.AsyncFor)) and name in names_in(part.target):
            return ", a variable of the loop around it"
        is_magic = isinstance(part, ast.Assign) and "get_ipython" in names_in(part.value)
        if is_magic and any(name in names_in(target) for target in part.targets):  # type: ignore[attr-defined]
            return ""
    return " from the block around it"


def warnings_of(statements: Statements, selection: SliceResult) -> Iterator[Diagnostic]:
    """The warnings of a notebook that compiles."""
    yield from _about_cells(statements)
    yield from _about_names(statements, selection)
    with_secrets = {cell.cell.number for cell in statements.cells if may_name_secret(cell.cell.text)}
    build = max((statement.number for statement in statements.events.get("build", ())), default=0)
    for statement in statements.all:
        if statement.index in selection.taken:
            why = selection.taken[statement.index]
            yield from _about_input(statements, statement, why)
            for secret, line in written_secrets(statement.node) if statement.number in with_secrets else ():
                what, fix = secret_text(secret)
                yield Diagnostic(what, statement.number, line, fix)
            if statement.number > build and (name := selection.changed.get(statement.index)):
                what = f"`{name}` is changed in place below build(), in production too"
                yield Diagnostic(
                    what, statement.number, statement.line, "mark the cell `#| skip` if it only tries something out"
                )
        elif not statement.is_skipped:
            yield from _about_left_out(statements, statement, selection)


def _about_cells(statements: Statements) -> Iterator[Diagnostic]:
    for cell in statements.cells:
        number = cell.cell.number
        if cell.problem and cell.verdict != "skip":
            what = f"the cell does not parse and is left out: {cell.problem}"
            yield Diagnostic(what, number, cell.problem_line, "fix it, or mark it `#| skip`")
        if cell.mistaken_directive is not None:
            line, word, fix = cell.mistaken_directive
            yield Diagnostic(f"`#| {word}` means nothing here", number, line, fix)


def _about_names(statements: Statements, selection: SliceResult) -> Iterator[Diagnostic]:
    for name in selection.followed:
        yield from _about_duplicates(statements, name)
    for want in selection.shadowed:
        if want.target is not None and want.target.index not in selection.taken:
            owner = statements.reaching(want.name, want.at)[0][0]
            yield Diagnostic(
                f"a left-out loop or `with` also sets `{want.name}`; production uses the value of {owner.place}",
                want.target.number,
                want.target.line,
                f"use another name than `{want.name}` here",
            )
    for want, star in selection.starred:
        module = star.names.star
        yield Diagnostic(
            f"`{want.name}` must come from `from {module} import *` in cell {star.number}: nothing else defines it",
            want.cell,
            want.line,
            f"write `from {module} import {want.name}`",
        )


def _about_duplicates(statements: Statements, name: str) -> Iterator[Diagnostic]:
    events = [statement for statement in statements.events.get(name, ()) if name not in statement.names.targets]
    while events and name in events[-1].names.now:
        events.pop()  # a link of a chain, made from the one before
    if not events:
        return
    last = events[-1]
    earlier = [statement.number for statement in events[:-1] if statement.number != last.number]
    is_sure = last.definite is None or name in last.definite
    if earlier and is_sure and name not in last.names.additive:
        numbers = [str(number) for number in dict.fromkeys([*earlier, last.number])]
        yield Diagnostic(
            f"`{name}` is defined in cells {', '.join(numbers[:-1])} and {numbers[-1]}; the last one wins",
            last.number,
            last.names.binds[name],
            "rename one, or delete what is out of date",
        )


def _about_input(statements: Statements, statement: Statement, why: str) -> Iterator[Diagnostic]:
    if why in (SETS_UP, MARKED_KEEP) or isinstance(statement.node, DEFINITIONS):
        return
    for path, call, _ in statement.names.calls:
        kinds = effects.kinds(statements.resolve(path, statement))
        if len(path) == 2:
            kinds |= statements.done_by(path[0], statement.index)
        shown = dotted(path)
        if "read" in kinds:
            what = f"{shown} reads data when the module is loaded, outside every step"
            yield Diagnostic(
                what, statement.number, call.lineno, "did you mean `context.current`? Read the data inside a step"
            )
            return
        if "io" in kinds:
            what = f"{shown} does input or output when the module is loaded, outside every step"
            yield Diagnostic(what, statement.number, call.lineno, "move it into a step or use `context.config`")
            return


def _about_left_out(statements: Statements, statement: Statement, selection: SliceResult) -> Iterator[Diagnostic]:
    number = statement.number
    if match := _PROCESS_MAGIC.fullmatch(statement.magic):
        fix = "runs start in the flow_modules folder" if match[1] in ("cd", "pushd", "popd") else "use os.environ"
        yield Diagnostic(f"{statement.magic} is not run in production", number, statement.line, fix)
    if statement.magic or statement.is_main:
        return
    for name in sorted(statement.names.deletes):
        owners = statements.reaching(name, statement.index)[0]
        if name in selection.followed and any(owner.index in selection.taken for owner in owners):
            what = f"`del {name}` is left out: build() needs `{name}`"
            yield Diagnostic(what, number, statement.line, f"keep `{name}`, or rename it")
    if statement.names.relative_line and not isinstance(statement.node, DEFINITIONS):
        what = "a notebook has no package to import from relatively; the import is left out"
        yield Diagnostic(what, number, statement.names.relative_line, _FULL_NAME)
    for path, line, text in statement.names.bare:
        if _may_set_up(statements, statement, path, text, selection):
            yield Diagnostic(
                f"`{dotted(path[:-1])}(...)` is left out: it is not known what the call changes, so production does not make it",
                number,
                line,
                _KEEP_CALL,
            )


def _may_set_up(statements: Statements, statement: Statement, path: Path, text: str, selection: SliceResult) -> bool:
    """Whether a left-out call of something imported, which stands alone, may set something up."""
    owners = statements.reaching(path[0], statement.index)[0]
    imported = owners[0].names.imports.get(path[0]) if owners else None
    if imported is None or "()" in path[:-1]:
        return False
    if len(path) == 2:
        return effects.sounds_like_setup(imported)
    name = f"{imported}.{path[-2]}"
    package = statements.packages[imported.partition(".")[0]]
    is_needed = any(importer.index in selection.taken for importer, _ in package)
    return is_needed and not effects.only_looks(path[-2], text) and effects.sounds_like_setup(name)
