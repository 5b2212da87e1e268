"""The cores of a machine, divided among processes that work at the same time.

Polars and OpenMP read their share from the environment when they load; DuckDB is told after each connecting. What an author
has set stays.
"""

from __future__ import annotations

import importlib.abc
import importlib.machinery
import importlib.util
import os
import sys
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import wraps
from typing import Any

from data_engine.record import frozen

VARIABLES = ("POLARS_MAX_THREADS", "OMP_NUM_THREADS")
DUCKDB_THREADS = "DATA_ENGINE_DUCKDB_THREADS"
"""Tells a process of ours how many threads DuckDB may use in it."""

_reported: set[str] = set()
_lock = threading.Lock()


@frozen
class Share:
    """The threads that each of so many processes gets for its libraries.

    Example:
        >>> Share.of(3, cores=8), Share.of(8, cores=2).threads
        (Share(processes=3, threads=2), 1)
        >>> Share.of(2, cores=8).environment({"OMP_NUM_THREADS": "1"})
        {'POLARS_MAX_THREADS': '4', 'DATA_ENGINE_DUCKDB_THREADS': '4'}
    """

    processes: int
    threads: int

    @classmethod
    def of(cls, processes: int, *, cores: int | None = None) -> Share:
        """The share of one of `processes`, of `cores` (those of this machine by default)."""
        return cls(processes, max(1, (cores or os.cpu_count() or 1) // max(1, processes)))

    def environment(self, variables: Mapping[str, str]) -> dict[str, str]:
        """What is to be added to the environment of such a process."""
        names = [name for name in VARIABLES if not variables.get(name)]
        return dict.fromkeys([*names, DUCKDB_THREADS], str(self.threads))

    def tell_once(self, say: Callable[[str], None], at_once: int) -> None:
        """Say it in the log of the first run of this process."""
        set_by_hand = [f"{name}={value}" for name in VARIABLES if (value := os.environ.get(name))]
        rest = f"; set by you: {', '.join(set_by_hand)}" if set_by_hand else ""
        text = f"items run in {at_once} processes; Polars, OpenMP and DuckDB use {self.threads} threads in each{rest}"
        with _lock:
            is_new = text not in _reported
            _reported.add(text)
        if is_new:
            say(text)


def limit_duckdb() -> None:
    """Let each database that DuckDB opens in this process use so many threads as the process was told, unless its opener says how many."""
    threads = int(os.environ.get(DUCKDB_THREADS) or 0)
    if not threads:
        return
    if "duckdb" in sys.modules:
        _limit(sys.modules["duckdb"], threads)
    else:
        sys.meta_path.insert(0, _WhenImported(threads))


class _WhenImported(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Loads DuckDB as it is loaded without this, and then sets its threads."""

    def __init__(self, threads: int) -> None:
        self._threads = threads
        self._loader: Any = None

    def find_spec(self, name: str, path: Any, target: Any = None) -> importlib.machinery.ModuleSpec | None:
        if name != "duckdb":
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(name)
        if spec is not None:
            self._loader, spec.loader = spec.loader, self
        return spec

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> Any:
        return self._loader.create_module(spec)

    def exec_module(self, module: Any) -> None:
        self._loader.exec_module(module)
        _limit(module, self._threads)


def _limit(duckdb: Any, threads: int) -> None:
    connect = duckdb.connect

    @wraps(connect)
    def connect_with_share(*arguments: Any, **options: Any) -> Any:
        connection = connect(*arguments, **options)
        config = options.get("config") or (arguments[2] if len(arguments) > 2 else None) or {}
        if "threads" not in config:
            with suppress(duckdb.Error):
                connection.execute(f"SET GLOBAL threads = {threads}")
        return connection

    duckdb.connect = connect_with_share
    with suppress(duckdb.Error):
        duckdb.execute(f"SET GLOBAL threads = {threads}")
