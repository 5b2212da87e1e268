"""Settings files as text: read with the place of every mistake, changed with comments and order kept."""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from data_engine.errors import SettingsError


def read_toml_text(path: Path) -> str | None:
    """The file's text with its line ends, without a byte order mark; None when there is no file.

    Raises:
        SettingsError: it cannot be read, or is not UTF-8.
    """
    try:
        return path.read_bytes().decode("utf-8-sig")
    except FileNotFoundError:
        return None
    except UnicodeDecodeError as error:
        raise SettingsError(f"the file is not UTF-8: {error}", where=str(path), fix="save it as UTF-8") from error
    except OSError as error:
        raise SettingsError(
            f"the file cannot be read: {error}", where=str(path), fix="make it a readable file"
        ) from error


def parse_toml(text: str, *, where: str) -> dict[str, Any]:
    """The document as plain values.

    Raises:
        SettingsError: not TOML; the message holds the line.
    """
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        example = "state_root = 'C:\\data'" if "\\" in str(error) else 'mode = "ask"'
        raise SettingsError(
            f"not a TOML file: {error}", where=where, fix=f"correct that line; texts need quotes: {example}"
        ) from error
    except RecursionError as error:
        raise SettingsError("not a settings file: nested too deeply", where=where, fix="take that value out") from error


def changed_toml(text: str, dotted_key: str, value: str | int | None, *, where: str) -> str:
    """`text` with one key set, or taken out when `value` is None; every other line stays as it is.

    Raises:
        SettingsError: not TOML, or the key's section is not a table.

    Example:
        >>> print(changed_toml('# ours\\n[deploy]  # how\\nmode = "auto"\\n', "deploy.mode", "ask", where="x.toml"))
        # ours
        [deploy]  # how
        mode = "ask"
        <BLANKLINE>
    """
    import tomlkit
    from tomlkit.exceptions import TOMLKitError

    parse_toml(text, where=where)  # the strict reader first: it decides what is TOML, here as when loading
    try:
        document = tomlkit.parse(text)
        *sections, key = dotted_key.split(".")
        table: Any = document
        for section in sections:
            if section not in table:
                if value is None:
                    return text
                table[section] = tomlkit.table()
            table = table[section]
            if not isinstance(table, dict):
                raise SettingsError(f"{section} is no table", where=f"{where}: {section}", fix=f"write [{section}]")
        if value is not None:
            table[key] = value
        elif key in table:
            del table[key]
        return tomlkit.dumps(document)
    except TOMLKitError as error:
        raise SettingsError(f"not a TOML file: {error}", where=where, fix="correct that line") from error


def unknown_key(key: str, known: Iterable[str]) -> str:
    """The sentence about a key nobody reads, with the known key that looks most like it.

    Example:
        >>> unknown_key("deploy.quite", ["deploy.mode", "deploy.quiet"])
        'unknown setting "deploy.quite"; the nearest known one is "deploy.quiet"'
        >>> unknown_key("heartbeat", ["timezone", "lease.heartbeat"])
        'unknown setting "heartbeat"; the nearest known one is "lease.heartbeat"'
    """
    names = tuple(known)
    same_end = [name for name in names if name.rpartition(".")[2] == key.rpartition(".")[2]]
    nearest = difflib.get_close_matches(key, same_end or names, n=1, cutoff=0.0)[0]
    return f'unknown setting "{key}"; the nearest known one is "{nearest}"'
