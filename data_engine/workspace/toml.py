"""Settings files as text: read with the place of every mistake, changed with comments and order kept."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from data_engine.errors import SettingsError
from data_engine.platforms.files import content_of

_HEADER = re.compile(r"\s*\[\s*([\w-]+)\s*\]")
_SETTING = re.compile(r"\s*([\w-]+)\s*=")


def read_toml_text(path: Path) -> str | None:
    """The file's text with its line ends, without a byte order mark; None when there is no file.

    Raises:
        SettingsError: it cannot be read, or is not UTF-8.
    """
    try:
        return content_of(path).decode("utf-8-sig")
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
    import tomllib

    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        example = "state_root = 'C:\\data'" if "\\" in str(error) else 'mode = "ask"'
        raise SettingsError(
            f"not a TOML file: {error}", where=where, fix=f"correct that line; texts need quotes: {example}"
        ) from error
    except RecursionError as error:
        raise SettingsError("not a settings file: nested too deeply", where=where, fix="remove that value") from error


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
                raise SettingsError(f"{section} is not a table", where=f"{where}: {section}", fix=f"write [{section}]")
        if value is not None:
            table[key] = value
        elif key in table:
            del table[key]
        return tomlkit.dumps(document)
    except TOMLKitError as error:
        raise SettingsError(f"not a TOML file: {error}", where=where, fix="correct that line") from error


def unknown_key(key: str, known: Iterable[str]) -> str:
    """The sentence about a key that does not exist, with the known key that looks most like it.

    Example:
        >>> unknown_key("deploy.quite", ["deploy.mode", "deploy.quiet"])
        'unknown setting "deploy.quite": did you mean "deploy.quiet"?'
        >>> unknown_key("heartbeat", ["timezone", "lease.heartbeat"])
        'unknown setting "heartbeat": did you mean "lease.heartbeat"?'
    """
    import difflib

    names = tuple(known)
    same_end = [name for name in names if name.rpartition(".")[2] == key.rpartition(".")[2]]
    nearest = difflib.get_close_matches(key, same_end or names, n=1, cutoff=0.0)[0]
    return f'unknown setting "{key}": did you mean "{nearest}"?'


def ignored_key(key: str, value: object, known: Iterable[str], *, text: str, where: str) -> str:
    """The warning of a key or a section of the file `where`, which holds `text`, that nobody reads: its line, what was meant,
    and what there is.

    Example:
        >>> keys, text = ["deploy.mode", "deploy.quiet", "retry.delay"], 'x = 1\\n[depoly]\\nmode = "ask"'
        >>> ignored_key("depoly", {"mode": "ask"}, keys, text=text, where="a.toml")
        'a.toml, line 2: unknown section [depoly], which is ignored: did you mean [deploy]? The sections are [deploy], [retry]'
        >>> ignored_key("retry.dealy", "3s", keys, text='[retry]\\ndealy = "3s"', where="a.toml")
        'a.toml, line 2: unknown setting "retry.dealy", which is ignored: did you mean "retry.delay"? [retry] takes delay'
    """
    import difflib

    names, line = tuple(known), _line_of(text, key)
    place = where if line is None else f"{where}, line {line}"
    section, dot, _ = key.rpartition(".")
    if isinstance(value, dict) and not dot:
        sections = tuple(dict.fromkeys(name.partition(".")[0] for name in names if "." in name))
        near = difflib.get_close_matches(key, sections, n=1)
        meant = f"did you mean [{near[0]}]? " if near else ""
        there = ", ".join(f"[{name}]" for name in sections)
        return f"{place}: unknown section [{key}], which is ignored: {meant}The sections are {there}"
    what, _, meant = unknown_key(key, names).partition(": ")
    beside = ", ".join(name.rpartition(".")[2] for name in names if name.rpartition(".")[0] == section)
    return f"{place}: {what}, which is ignored: {meant} {f'[{section}] takes' if dot else 'Above the sections are'} {beside}"


def _line_of(text: str, dotted_key: str) -> int | None:
    """The line that begins the section, or sets the key; None where it is written in a way that is not looked for."""
    section = ""
    for number, line in enumerate(text.splitlines(), 1):
        if header := _HEADER.match(line):
            section = header[1]
            if section == dotted_key:
                return number
        elif (setting := _SETTING.match(line)) and ".".join(filter(None, (section, setting[1]))) == dotted_key:
            return number
    return None
