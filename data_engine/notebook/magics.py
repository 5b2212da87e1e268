"""Parses a cell's text into its statements: IPython's magics, shell lines and help are set aside, directives are read.

A cell is parsed as it is first; only when that fails is it given to IPython's own transformer, whose result keeps the
cell's line numbers here.
"""

from __future__ import annotations
import __future__

import ast
import gc
import io
import re
import threading
import tokenize
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal

from data_engine.formatting import beginning
from data_engine.notebook.analysis import analyse
from data_engine.notebook.names import Names
from data_engine.notebook.read import NotebookCell, conflict_line
from data_engine.record import frozen

Verdict = Literal["keep", "skip", "both"]

_TRANSPARENT = frozenset({"time", "capture", "prun", "snakeviz", "pyinstrument", "scalene", "lprun", "mprun"})
"""Cell magics that run their cell as it is, in the notebook's own names."""

_TRANSPARENT_LINE = frozenset({"time", "prun"})
"""Line magics whose argument is a statement that runs in the notebook's own names."""

_CELL_MAGIC = re.compile(r"[ \t]*%%([\w.+-]+)(.*)")
_DIRECTIVE = re.compile(r"#\s*\|\s*([\w-]+)\s*", re.ASCII)
_MARK = re.compile(r"#\s*\|\s*(?:keep|skip)\b", re.ASCII | re.IGNORECASE)
_MAGIC_LINE = re.compile(r"\s*(?:[\w\s,]*=\s*)?%(?:%)?([\w.]+)\s*(.*)")
_transforms = 500  # IPython's own limit


@frozen
class ParsedStatement:
    """One top-level statement. `magic` names the part of IPython in it ("the line magic %time"), "" for none."""

    node: ast.stmt
    names: Names
    line: int
    magic: str = ""
    magic_line: int = 1


@frozen
class ParsedCell:
    """A cell's statements, or the reason there are none: `problem` (with `problem_line`) or another `language`.

    `lines` is the text the statements' positions refer to; its line numbers are the cell's. `mistaken_directive` is the
    line, word and fix of a directive that does nothing.
    """

    cell: NotebookCell
    lines: tuple[str, ...]
    statements: tuple[ParsedStatement, ...] = ()
    verdict: Verdict | None = None
    language: str = ""
    problem: str = ""
    problem_line: int = 1
    mistaken_directive: tuple[int, str, str] | None = None


def parse_cell(cell: NotebookCell) -> ParsedCell:
    """The statements of one cell, with their names. Never raises, whatever the text holds.

    Example:
        >>> parsed = parse_cell(NotebookCell(1, "a", "%%time\\nrate = 0.2\\n!ls"))
        >>> [(statement.line, statement.magic) for statement in parsed.statements]
        [(2, ''), (3, 'the shell line !ls')]
    """
    text = cell.text
    verdict, mistaken = _directives(cell)
    magic_lines: dict[int, str] = {}
    captured: list[tuple[str, str]] = []
    tree, problem, problem_line = _parse(text)
    if tree is None:
        text, captured, language = _see_through(text)
        if language:
            return ParsedCell(cell, (), verdict=verdict, language=language, mistaken_directive=mistaken)
        tree, problem, problem_line = _parse(text)
        if tree is None:
            text, magic_lines = _transform(text)
            tree, later_problem, later_line = _parse(text)
            if magic_lines:
                problem, problem_line = later_problem, later_line
    lines = tuple(text.split("\n"))
    statements: list[ParsedStatement] = []
    if tree is not None:
        try:
            statements = [_statement(node, lines, magic_lines) for node in tree.body]
        except RecursionError:
            problem, problem_line = "it is nested too deeply", 1
        else:
            problem, problem_line = _impossible_future(statements)
    if problem:
        return ParsedCell(
            cell,
            lines,
            verdict=verdict,
            problem=problem,
            problem_line=problem_line,
            mistaken_directive=mistaken,
        )
    mistaken = mistaken or _misplaced(text, statements)
    for name, magic in captured:
        names = Names()
        names.binds[name] = 1
        statements.insert(0, ParsedStatement(ast.Pass(lineno=1, col_offset=0), names, 1, magic))
    return ParsedCell(cell, lines, tuple(statements), verdict=verdict, mistaken_directive=mistaken)


_quiet = threading.Lock()


@contextmanager
def quiet_syntax() -> Iterator[None]:
    """Silence Python's warnings about code that is parsed or compiled: the notebook had them. Also stop its search for cycles: the
    objects made of a notebook are needed until the end, and searching them takes a sixth of the time.
    """
    with _quiet, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        is_collecting = gc.isenabled()
        gc.disable()
        try:
            yield
        finally:
            if is_collecting:
                gc.enable()


def _parse(text: str) -> tuple[ast.Module | None, str, int]:
    try:
        return ast.parse(text), "", 1
    except (RecursionError, MemoryError):
        return None, "it is nested too deeply", 1
    except UnicodeEncodeError as error:
        return None, "it holds half of a character (a lone surrogate)", _line_of(text, error.start)
    except (SyntaxError, ValueError) as error:
        if "\0" in text:  # one or the other, as the Python version has it
            return None, "it holds a NUL character", _line_of(text, text.index("\0"))
        if conflict := conflict_line(text):
            return (
                None,
                "it holds a conflict marker of Git: keep one side, and take the lines with <<<<<<<, ======= and >>>>>>> out",
                conflict,
            )
        line = error.lineno if isinstance(error, SyntaxError) else None
        return None, str(getattr(error, "msg", error)), line or 1


def _line_of(text: str, place: int) -> int:
    return text.count("\n", 0, place) + 1


def _statement(node: ast.stmt, lines: tuple[str, ...], magic_lines: dict[int, str]) -> ParsedStatement:
    line = first_line(node, lines)
    names = analyse(node)
    for number in range(line, (node.end_lineno or line) + 1) if magic_lines else ():
        if number in magic_lines:
            _bind_timed(magic_lines[number], names)
            return ParsedStatement(node, names, line, _describe(magic_lines[number]), number)
    return ParsedStatement(node, names, line)


def first_line(node: ast.stmt, lines: tuple[str, ...]) -> int:
    """The line a statement begins on, its decorators included."""
    decorators = getattr(node, "decorator_list", None)
    if not decorators:
        return node.lineno
    line: int = decorators[0].lineno
    while line > 1 and not lines[line - 1].lstrip().startswith("@"):
        line -= 1
    return line


def _impossible_future(statements: list[ParsedStatement]) -> tuple[str, int]:
    for statement in statements:
        for name in statement.names.future:
            if not hasattr(__future__, name) or name == "barry_as_FLUFL":
                return f"future feature {name} is not defined", statement.line
    return "", 1


def _directives(cell: NotebookCell) -> tuple[Verdict | None, tuple[int, str, str] | None]:
    marks = {"keep", "skip"} & cell.tags
    mistaken = None
    if "#" in cell.text:
        for number, line in enumerate(cell.text.split("\n"), start=1):
            stripped = line.strip()
            if stripped and not stripped.startswith(("#", "%%")):
                break
            match = _DIRECTIVE.fullmatch(stripped)
            if match is None:
                continue
            word = match[1].lower()
            if word in ("keep", "skip"):
                marks.add(word)
            elif mistaken is None:
                import difflib

                near = difflib.get_close_matches(word, ("keep", "skip"), n=1, cutoff=0.7)
                if near:
                    mistaken = (number, match[1], f"did you mean `#| {near[0]}`?")
    if len(marks) == 2:
        return "both", mistaken
    return ("keep" if "keep" in marks else "skip" if marks else None), mistaken


def _misplaced(text: str, statements: list[ParsedStatement]) -> tuple[int, str, str] | None:
    """A keep or skip behind the first statement of a cell, where nobody reads it."""
    if not statements or not _MARK.search(text):
        return None
    try:
        for token in tokenize.generate_tokens(io.StringIO(text).readline):
            match = _DIRECTIVE.fullmatch(token.string) if token.type == tokenize.COMMENT else None
            if match and match[1].lower() in ("keep", "skip") and token.start[0] >= statements[0].line:
                return token.start[0], match[1], "move it to the top of the cell: it holds for all of it"
    except (tokenize.TokenError, SyntaxError):
        pass  # Python's two tokenizers differ on odd text; the parser took it, so the cell itself is fine
    return None


def _see_through(text: str) -> tuple[str, list[tuple[str, str]], str]:
    """The text below transparent cell magics, the names those bind, and the magic that makes it another language."""
    captured: list[tuple[str, str]] = []
    lines = text.split("\n")
    for number, line in enumerate(lines):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        match = _CELL_MAGIC.fullmatch(line)
        if match is None:
            break
        name, rest = match[1], match[2]
        if name not in _TRANSPARENT:
            return text, [], f"%%{name}"
        if name == "capture":
            captured += [(word, "the cell magic %%capture") for word in rest.split() if word.isidentifier()]
        lines[number] = ""
    return "\n".join(lines), captured, ""


def _transform(text: str) -> tuple[str, dict[int, str]]:
    """The text with IPython's line syntax as Python calls, same line numbers, and the raw text of each such line."""
    from IPython.core.inputtransformer2 import TransformerManager, leading_empty_lines

    manager: Any = TransformerManager()  # type: ignore[no-untyped-call]
    lines = [line + "\n" for line in text.split("\n")]
    magic_lines: dict[int, str] = {}
    try:
        for clean in manager.cleanup_transforms:
            if clean is not leading_empty_lines:
                cleaned = clean(lines)
                if len(cleaned) == len(lines):
                    lines = cleaned
        for _ in range(_transforms):
            changed, after = manager.do_one_token_transform(lines)
            if not changed:
                break
            first = next((i for i, pair in enumerate(zip(lines, after, strict=False)) if pair[0] != pair[1]), None)
            if first is None:
                break
            missing = len(lines) - len(after)
            if missing < 0:
                break
            raw = "".join(lines[first : first + missing + 1])
            after[first + 1 : first + 1] = ["\n"] * missing
            magic_lines[first + 1] = raw.strip()
            lines = after
    except Exception:  # half-written text makes the tokenizer raise; then the cell just does not parse
        return text, {}
    return "".join(lines)[:-1], magic_lines


def _bind_timed(magic: str, names: Names) -> None:
    """`%time x = f()` binds `x` in the notebook."""
    match = _MAGIC_LINE.match(magic)
    if match and match[1] in _TRANSPARENT_LINE:
        tree, _, _ = _parse(match[2])
        for node in tree.body if tree else ():
            names.binds.update(analyse(node).binds)


def _describe(magic: str) -> str:
    line = magic.split("\n")[0].strip()
    shown = beginning(line, 40)
    if match := _MAGIC_LINE.match(line):
        return f"the line magic %{match[1]}"
    if "?" in line and (line.startswith("?") or line.endswith("?")):
        return f"the help line {shown}"
    if "!" in line:
        return f"the shell line {shown}"
    return f"the IPython line {shown}"
