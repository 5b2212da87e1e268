"""Which files, databases and logs a call writes, by what it is given."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator

from data_engine.notebook import effects, kinds
from data_engine.notebook.files_named import written_by_call, written_by_path, written_by_shell, written_by_sql
from data_engine.notebook.own_code import Given
from data_engine.notebook.results import DUCKDB, QUERIES, Results
from data_engine.notebook.values import Value

_RUNS_SHELL = re.compile(r"os\.(system|popen)|subprocess\.\w+")
_LOGS = frozenset({"debug", "info", "warning", "error", "exception", "critical", "log"})


class Writes(Results):
    """Notes what calls write."""

    def _write(self, files: Iterable[str], node: ast.Call) -> None:
        """Note the files that a call writes; a database in memory is none."""
        names = frozenset(("file", name) for name in files if not name.startswith(":"))
        self.touch("writes", names, node)

    def write_by_function(self, dotted: str, given: Given) -> None:
        """Note what a function writes."""
        files = [*_files(dotted, given)]
        self._write(files, given.node)
        if dotted.startswith(("logging.", "loguru.")):
            self.log(dotted.rpartition(".")[2], given.node, is_logger=True)
            self.touch("logs to", frozenset(("logfile", name) for name in files), given.node)
        if _RUNS_SHELL.fullmatch(dotted):
            self._write(written_by_shell(given.first.text), given.node)
        if dotted.startswith("duckdb.") and dotted != "duckdb.connect":
            self._query(DUCKDB, dotted.rpartition(".")[2], given)

    def write_by_method(self, base: Value, name: str, given: Given) -> None:
        """Note what a method writes."""
        if base.kind == kinds.PLAIN:
            mode = given.named_texts.get("mode", "")
            for path in base.names or filter(None, [base.text]):
                self._write(written_by_path(name, path, given.texts, mode), given.node)
            return
        self._write(_files(f".{name}", given), given.node)
        if base.kind == kinds.CONNECTION:
            self._query(Value(kinds.CONNECTION, text=base.text), name, given)
        elif name == "to_sql":
            self._write(
                (value.text for value in given.values if value.kind == kinds.CONNECTION and value.text), given.node
            )

    def _query(self, database: Value, name: str, given: Given) -> None:
        """Note what an SQL text does to a database, and to the file that it lies in."""
        if name in QUERIES:
            text = given.first.text
            self._write(written_by_sql(text), given.node)
            if not effects.looks(text):
                self.touch("changes", database.origins, given.node)
                self._write([database.text] if database.text else [], given.node)
        elif name in ("register", "unregister", "create_function", "append"):
            self.touch("changes", database.origins, given.node)

    def log(self, method: str, node: ast.Call, *, is_logger: bool) -> None:
        """Note that a logger writes its files, whichever they are."""
        if is_logger and method in _LOGS:
            self.touch("writes", kinds.LOG, node)


def _files(dotted: str, given: Given) -> Iterator[str]:
    """The files that a call writes, of a name that may be one of several each of them."""
    yield from written_by_call(dotted, given.texts, given.named_texts)
    for place, value in enumerate(given.arguments):
        for name in value.names:
            texts = [*given.texts[:place], name, *given.texts[place + 1 :]]
            yield from written_by_call(dotted, texts, given.named_texts)
    for keyword, value in given.keywords.items():
        for name in value.names:
            yield from written_by_call(dotted, given.texts, given.named_texts | {keyword: name})
