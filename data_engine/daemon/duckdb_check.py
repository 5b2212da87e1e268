"""Which DuckDB the workstations of a workspace run with, by the environments of their newest runs; the history is only looked at."""

from __future__ import annotations

import json
import re
import sqlite3
from contextlib import closing, suppress
from importlib.metadata import version

from data_engine.daemon.finding import Finding
from data_engine.ledger.connection import connect_to_look
from data_engine.workspace.layout import LocalLayout

_NEWEST = """
    SELECT run_by, distributions, max(started_at_utc) FROM runs JOIN environments ON digest = environment
    WHERE run_by IS NOT NULL GROUP BY run_by
"""


def check_duckdb(local: LocalLayout, storage_version: str) -> Finding:
    """Whether each workstation that ran flows has a DuckDB that opens what the others make."""
    found: dict[str, str] = {"here": version("duckdb")}
    with suppress(sqlite3.Error, ValueError), closing(connect_to_look(local.ledger_path)) as connection:
        for run_by, distributions, _ in connection.execute(_NEWEST):
            for name, _, number in (str(one).partition(" ") for one in json.loads(distributions)):
                if name.lower() == "duckdb":
                    found[run_by] = number
    return judge_duckdb(found, storage_version)


def judge_duckdb(found: dict[str, str], storage_version: str) -> Finding:
    """The finding about the versions of DuckDB, by who ran with them.

    Example:
        >>> judge_duckdb({"here": "2.0.1", "ann@ws2": "1.5.6"}, "v1.5.0").ok
        True
        >>> judge_duckdb({"here": "2.0.1", "ann@ws2": "1.5.6"}, "v2.0.0").fix
        '[databases] storage_version = "v1.5.0" in config/data_engine.toml, or install a newer DuckDB for ann@ws2'
    """
    by_version: dict[str, list[str]] = {}
    for who, number in found.items():
        by_version.setdefault(number, []).append(who)
    told = "; ".join(f"{number} ({', '.join(who)})" for number, who in sorted(by_version.items()))
    measured = f"{told}; databases that runs make have the format of {storage_version}"
    old = [number for number in by_version if _release(number) < _release(storage_version)]
    if not old:
        return Finding("duckdb versions", True, measured)
    oldest = ".".join(map(str, min(map(_release, old))))
    who = ", ".join(one for number in old for one in by_version[number])
    fix = f'[databases] storage_version = "v{oldest}.0" in config/data_engine.toml, or install a newer DuckDB for {who}'
    return Finding("duckdb versions", False, measured, fix)


def _release(number: str) -> tuple[int, ...]:
    return tuple(map(int, re.findall(r"\d+", number)[:2]))
