"""Find the DuckDB type that holds the values of two, and what a cast loses: plain functions over type names."""

from __future__ import annotations

import re

_SIGNED = {"TINYINT": 8, "SMALLINT": 16, "INTEGER": 32, "BIGINT": 64, "HUGEINT": 128}
_UNSIGNED = {"UTINYINT": 8, "USMALLINT": 16, "UINTEGER": 32, "UBIGINT": 64, "UHUGEINT": 128}
_DIGITS = {8: 3, 16: 5, 32: 10, 64: 20, 128: 38}
_EXACT_IN_DOUBLE = {"TINYINT", "SMALLINT", "INTEGER", "UTINYINT", "USMALLINT", "UINTEGER", "FLOAT", "DOUBLE"}
_NAIVE = ["DATE", "TIMESTAMP_S", "TIMESTAMP_MS", "TIMESTAMP", "TIMESTAMP_NS"]
_ZONED = ["TIMESTAMP WITH TIME ZONE", "TIMESTAMPTZ_NS"]
_TIMES = ["TIME", "TIME_NS"]
_FIRST_NS, _LAST_NS = "TIMESTAMP '1677-09-22'", "TIMESTAMP '2262-04-11'"
"""The whole days that moments in nanoseconds reach."""
_DECIMAL = re.compile(r"DECIMAL\((\d+),(\d+)\)")


def common_type(kind: str, other: str) -> str | None:
    """The narrowest type for the values of both, of whole numbers, decimals, floats, dates and times; else None.

    Text is no common type: it holds everything and means nothing.

    Example:
        >>> common_type("INTEGER", "DOUBLE"), common_type("DATE", "TIMESTAMP"), common_type("BIGINT", "VARCHAR")
        ('DOUBLE', 'TIMESTAMP', None)
        >>> common_type("UBIGINT", "INTEGER"), common_type("DECIMAL(5,2)", "BIGINT"), common_type("INTEGER[]", "BIGINT[]")
        ('HUGEINT', 'DECIMAL(22,2)', 'BIGINT[]')
    """
    if kind == other:
        return kind
    if kind.endswith("[]") and other.endswith("[]"):
        inner = common_type(kind[:-2], other[:-2])
        return None if inner is None else f"{inner}[]"
    for ladder in (_NAIVE, _ZONED, _TIMES):
        if kind in ladder and other in ladder:
            return max(kind, other, key=ladder.index)
    return _common_number(kind, other)


def _common_number(kind: str, other: str) -> str | None:
    kinds = {_kind(kind), _kind(other)}
    if None in kinds:
        return None
    if "float" in kinds:
        small = all(name == "FLOAT" or _bits(name) <= 16 for name in (kind, other))
        return "FLOAT" if small else "DOUBLE"
    if "decimal" in kinds:
        (digits, scale), (other_digits, other_scale) = _decimal(kind), _decimal(other)
        scale = max(scale, other_scale)
        return f"DECIMAL({min(38, max(digits, other_digits) + scale)},{scale})"
    if kinds == {"signed"} or kinds == {"unsigned"}:
        return max(kind, other, key=_bits)
    signed, unsigned = (kind, other) if kind in _SIGNED else (other, kind)
    bits = max(_SIGNED[signed], _UNSIGNED[unsigned] * 2)
    return next((name for name, size in _SIGNED.items() if size >= bits), None)


def _kind(name: str) -> str | None:
    if name in _SIGNED:
        return "signed"
    if name in _UNSIGNED:
        return "unsigned"
    if name in ("FLOAT", "DOUBLE"):
        return "float"
    return "decimal" if _DECIMAL.fullmatch(name) else None


def _bits(name: str) -> int:
    return _SIGNED.get(name) or _UNSIGNED.get(name) or 999


def _decimal(name: str) -> tuple[int, int]:
    """Digits before and after the point."""
    match = _DECIMAL.fullmatch(name)
    return (int(match[1]) - int(match[2]), int(match[2])) if match else (_DIGITS[_bits(name)], 0)


def is_same_kind(kind: str, other: str) -> bool:
    """Whether both are whole numbers, decimals, floats, times of one kind: types that differ in size or grain only.

    Example:
        >>> is_same_kind("INTEGER", "UBIGINT"), is_same_kind("INTEGER", "DOUBLE"), is_same_kind("DATE", "TIMESTAMP")
        (True, False, False)
    """
    if kind.endswith("[]") and other.endswith("[]"):
        return is_same_kind(kind[:-2], other[:-2])
    if any(kind in ladder and other in ladder for ladder in (_NAIVE[1:], _ZONED, _TIMES)):
        return True
    kinds = {_kind(kind), _kind(other)}
    return None not in kinds and (len(kinds) == 1 or kinds == {"signed", "unsigned"})


def may_lose(source: str, target: str) -> bool:
    """Whether a cast may change a value or fail; where it cannot, nobody need look at the values.

    Example:
        >>> may_lose("INTEGER", "DOUBLE"), may_lose("BIGINT", "DOUBLE"), may_lose("DOUBLE", "INTEGER")
        (False, True, True)
        >>> may_lose("DATE", "TIMESTAMP_NS"), may_lose("DECIMAL(5,2)", "DECIMAL(22,2)"), may_lose("BIGINT", "DECIMAL(38,20)")
        (True, False, True)
    """
    if source.endswith("[]") and target.endswith("[]"):
        return may_lose(source[:-2], target[:-2])
    if common_type(source, target) != target:
        return source != target
    if target == "DOUBLE":
        return source not in _EXACT_IN_DOUBLE
    if target == "FLOAT":
        return source != "FLOAT" and _bits(source) > 16
    if _kind(target) == "decimal":
        return any(need > room for need, room in zip(_decimal(source), _decimal(target), strict=True))
    # A DATE and each coarser moment reach further than the next finer one.
    return source != target and (target in _NAIVE or target in _ZONED)


def is_comparable(kind: str, other: str) -> bool:
    """Whether values of the two can be the same: a moment in a zone is no clock's reading.

    Example:
        >>> is_comparable("DATE", "TIMESTAMP WITH TIME ZONE"), is_comparable("VARCHAR", "INTEGER")
        (False, True)
    """
    return not ((kind in _NAIVE and other in _ZONED) or (kind in _ZONED and other in _NAIVE))


def tried(value: str, source: str, target: str) -> str:
    """SQL for `value`, of type `source`, as `target`; null where that has no place for it.

    Example:
        >>> print(tried("x", "DOUBLE", "INTEGER"))
        TRY_CAST(x AS INTEGER)
    """
    cast = f"TRY_CAST({value} AS {target})"
    if target == "TIMESTAMP_NS" and source in _NAIVE[1:-1]:  # DuckDB 1.x raises here, try or not
        return f"CASE WHEN {value} BETWEEN {_FIRST_NS} AND {_LAST_NS} THEN {cast} END"
    return cast


def kept_by(value: str, source: str, target: str) -> str:
    """An SQL condition: `value`, of type `source`, is null or comes back the same from a cast to `target`.

    Example:
        >>> print(kept_by("x", "DOUBLE", "INTEGER"))
        (x IS NULL OR TRY_CAST(TRY_CAST(x AS INTEGER) AS DOUBLE) IS NOT DISTINCT FROM x)
    """
    if not is_comparable(source, target):
        return f"({value} IS NULL)"
    back = tried(tried(value, source, target), target, source)
    return f"({value} IS NULL OR {back} IS NOT DISTINCT FROM {value})"
