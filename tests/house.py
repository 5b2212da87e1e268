"""`python -m tests.house`: how large the house is, by room. Exit code 1 where packages import each other in a circle."""

from __future__ import annotations

import ast
import sys
import tokenize

from tests.sources import ROOT, product_files
from tests.test_floors import imports_of

MOST_PARAMETERS = 8


def read_sources() -> dict[str, str]:
    """The modules of the product by their names."""
    return {path.relative_to(ROOT).as_posix(): path.read_text(encoding="utf-8") for path in product_files()}


def rooms(sources: dict[str, str]) -> dict[str, tuple[int, int, int]]:
    """The lines, lines of code and modules of each package; a module beside the packages counts for the one above.

    Example:
        >>> rooms({"data_engine/a/x.py": "x = 1\\n\\n", "data_engine/b.py": "y = 2\\n"})
        {'data_engine.a': (2, 1, 1), 'data_engine': (1, 1, 1)}
    """
    found: dict[str, tuple[int, int, int]] = {}
    for name, text in sources.items():
        room = ".".join(name.split("/")[:2]) if name.count("/") > 1 else name.split("/")[0]
        lines, code, modules = found.get(room, (0, 0, 0))
        found[room] = lines + text.count("\n"), code + code_lines(text), modules + 1
    return found


def code_lines(source: str) -> int:
    """The lines with a token of the program: no blank one, comment or docstring.

    Example:
        >>> code_lines('\"\"\"What.\"\"\"\\n\\nx = [  # one\\n    1,\\n]\\n')
        3
    """
    lines: set[int] = set()
    at_start = True
    skipped = (tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER)
    for token in tokenize.generate_tokens(iter(source.splitlines(keepends=True)).__next__):
        if token.type in (tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT):
            at_start = True
        elif token.type not in skipped and not (at_start and token.type == tokenize.STRING):
            at_start = False
            lines.update(range(token.start[0], token.end[0] + 1))
    return len(lines)


def with_many_parameters(sources: dict[str, str]) -> list[str]:
    """The functions and constructors that take more than eight, `self` not counted, each with its place."""
    found = []
    for name, text in sources.items():
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
                given = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
                count = sum(one.arg not in ("self", "cls") for one in given)
                if count > MOST_PARAMETERS:
                    found.append(f"{name}:{node.lineno} {node.name} takes {count}")
    return found


def circles(sources: dict[str, str]) -> list[set[str]]:
    """The packages that import each other, directly or by others; a module beside the packages stands for itself."""
    graph: dict[str, set[str]] = {}
    for name, text in sources.items():
        module = name.removesuffix(".py").replace("/", ".").removesuffix(".__init__")
        for one in imports_of(text, module):
            graph.setdefault(_package(one.importer), set()).add(_package(one.imported))
    reached = {package: _reached(graph, package) for package in graph}
    found = {frozenset(other for other in reached[one] if one in reached.get(other, ())) for one in graph}
    return sorted((set(one) for one in found if len(one) > 1), key=len)


def _reached(graph: dict[str, set[str]], package: str) -> set[str]:
    found: set[str] = set()
    left = {package}
    while left:
        left = set().union(*(graph.get(one, set()) for one in left)) - found
        found |= left
    return found


def _package(module: str) -> str:
    return ".".join(module.split(".")[:2])


def main() -> int:
    """Print the figures; 1 where there is a circle."""
    sources = read_sources()
    found = rooms(sources)
    print(f"{'room':32} {'lines':>8} {'code':>8} {'modules':>8}")
    for room, counts in (
        *sorted(found.items(), key=lambda item: -item[1][0]),
        ("all", tuple(map(sum, zip(*found.values(), strict=True)))),
    ):
        print(f"{room:32} {counts[0]:8,} {counts[1]:8,} {counts[2]:8,}")
    many, loops = with_many_parameters(sources), circles(sources)
    print(f"\nfunctions with more than {MOST_PARAMETERS} parameters: {len(many)}", *many, sep="\n  ")
    print(f"circles of packages: {len(loops)}", *loops, sep="\n  ")
    return 1 if loops else 0


if __name__ == "__main__":
    sys.exit(main())
