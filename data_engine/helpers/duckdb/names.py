"""Names as DuckDB compares them: quoted always, and equal whatever the case of their ASCII letters."""

from __future__ import annotations

import re
from collections.abc import Iterable

from data_engine.errors import FlowValidationError
from data_engine.formatting import first_few

_UPPER_TO_LOWER = {code: code + 32 for code in range(ord("A"), ord("Z") + 1)}
_PART = re.compile(r'\s*(?:"((?:[^"]|"")*)"|([^\s".][^.]*|))\s*(\.|$)', re.DOTALL)
_SHOWN = 20


def quoted(name: str) -> str:
    """`name` as an SQL identifier.

    Example:
        >>> print(quoted('6" pipes'))
        "6"" pipes"
    """
    return '"' + name.replace('"', '""') + '"'


def text_literal(text: str) -> str:
    """`text` as an SQL string.

    Example:
        >>> text_literal("it's")
        "'it''s'"
    """
    return "'" + text.replace("'", "''") + "'"


def folded(name: str) -> str:
    """The form of a name that DuckDB compares: A to Z are the same as a to z, all other letters only equal themselves.

    Example:
        >>> folded("Straße ID") == folded("straße id"), folded("É") == folded("é")
        (True, False)
    """
    return name.translate(_UPPER_TO_LOWER)


def find(name: str, names: Iterable[str]) -> str | None:
    """The one of `names` that DuckDB takes for `name`: the very same, else one in another case.

    Example:
        >>> find("ID", ["id", "name"]), find("ID", ["name"])
        ('id', None)
    """
    names = list(names)
    if name in names:
        return name
    key = folded(name)
    return next((candidate for candidate in names if folded(candidate) == key), None)


def free_name(name: str, taken: Iterable[str]) -> str:
    """`name`, with as many `_` behind it as it takes to be none of `taken`.

    Example:
        >>> free_name("row", ["id"]), free_name("row", ["ROW", "row_"])
        ('row', 'row__')
    """
    taken = list(taken)
    while find(name, taken) is not None:
        name += "_"
    return name


def table_parts(table: object) -> tuple[str, ...]:
    """The one to three parts of a table's name: `table`, `schema.table` or `database.schema.table`.

    A part in double quotes may hold dots; a quote inside it is doubled.

    Raises:
        TypeError: not a text.
        FlowValidationError: an empty part, more than three, or a NUL.

    Example:
        >>> table_parts("mart.sales"), table_parts('mart."net.sales"'), table_parts('6" pipes')
        (('mart', 'sales'), ('mart', 'net.sales'), ('6" pipes',))
    """
    if not isinstance(table, str):
        raise TypeError(f"table must be a text, not {type(table).__name__}")
    parts = []
    position = 0
    while True:
        match = _PART.match(table, position)
        if match is None:  # a quote that never ends
            parts.append("")
            break
        parts.append(match[1].replace('""', '"') if match[1] is not None else match[2].strip())
        position = match.end()
        if not match[3]:
            break
    if not all(parts) or len(parts) > 3 or "\0" in table:
        raise FlowValidationError(
            f"Table name must be non-empty, of one to three parts between dots: {table!r}",
            where="table=",
            fix='write "sales" or "mart.sales"; a name that holds a dot goes in double quotes: \'mart."net.sales"\'',
        )
    return tuple(parts)


def column_list(value: object, *, argument: str) -> list[str]:
    """One name or several as a list of names, without doubles.

    Raises:
        TypeError: not a text or texts.
        FlowValidationError: none, or a blank one.
    """
    names: list[object] = [value] if isinstance(value, str) or not isinstance(value, Iterable) else list(value)
    if not all(isinstance(name, str) for name in names):
        raise TypeError(f"{argument} must be a column name or a list of them, not {value!r}")
    texts = [str(name) for name in names]
    if not texts or not all(name.strip() for name in texts):
        raise FlowValidationError(f"{argument} needs at least one non-empty column name", where=f"{argument}={value!r}")
    return list(dict.fromkeys(texts))


def names_text(names: Iterable[str]) -> str:
    """Names for a message: the first twenty.

    Example:
        >>> names_text(["a", "b c"]), names_text([])
        ('"a", "b c"', 'none')
    """
    return first_few([f'"{name}"' for name in names], _SHOWN) or "none"
