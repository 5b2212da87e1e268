"""`python -m tests.house`: how large the house is and how it hangs together, each figure beside its limit. Exit code 1 when one is over."""

from __future__ import annotations

import ast
import re
import sys
import tokenize
from collections.abc import Iterable
from dataclasses import dataclass

from tests.sources import ROOT, product_files
from tests.test_floors import imports_of

MOST_PARAMETERS = 8


@dataclass(frozen=True)
class Figure:
    """A number, what it is to be at most, and what it may not grow beyond until it is."""

    name: str
    found: int
    limit: int
    until_then: int | None = None

    @property
    def is_over(self) -> bool:
        """More than it may be today."""
        return self.found > (self.limit if self.until_then is None else self.until_then)

    def __str__(self) -> str:
        state = "OVER" if self.is_over else "ok" if self.found <= self.limit else "shrinking"
        return f"{self.name:60} {self.found:8,}  limit {self.limit:8,}  {state}"


def read_sources() -> dict[str, str]:
    """The modules of the product by their names."""
    return {path.relative_to(ROOT).as_posix(): path.read_text(encoding="utf-8") for path in product_files()}


def figures() -> list[Figure]:
    """All of them."""
    sources = read_sources()
    architecture = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    glossary = (ROOT / "data_engine/docs/pages/glossary.md").read_text(encoding="utf-8")
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    return [
        Figure("lines", sum(text.count("\n") for text in sources.values()), 75_000, 96_225),
        Figure("lines of code", sum(code_lines(text) for text in sources.values()), 51_000, 64_855),
        Figure("modules", len(sources), 270, 338),
        Figure("functions with more than eight parameters", len(with_many_parameters(sources)), 0, 7),
        Figure("packages in circles of imports", sum(map(len, circles(sources))), 0),
        Figure("lines of ARCHITECTURE.md", architecture.count("\n"), 200),
        Figure("rows 'to change X open Y'", _rows(architecture.partition("| to change |")[2]), 25),
        Figure("words of the glossary", sum(map(_rows, glossary.split("| word | what it means |")[1:])), 60),
        Figure("words of README.md", len(readme.split()), 1_200),
        Figure("lines of CHANGELOG.md that are not released", changelog.split("\n## ")[1].count("\n"), 120),
    ]


def _rows(text: str) -> int:
    """The rows of the table that it begins with, below its heading."""
    return len(re.findall(r"^\| ", text.partition("\n\n")[0], re.MULTILINE))


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


def main(arguments: Iterable[str] = ()) -> int:
    """Print the figures; with `--which` the functions and packages that are meant, too."""
    found = figures()
    print(*found, sep="\n")
    if "--which" in arguments:
        sources = read_sources()
        print(*with_many_parameters(sources), *(", ".join(sorted(one)) for one in circles(sources)), sep="\n")
    return 1 if any(one.is_over for one in found) else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
