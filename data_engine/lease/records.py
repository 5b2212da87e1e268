"""Encode and decode the records on the share: 16 hex digits of a SHA-256, a line feed, and one JSON object.

Fields nobody knows are ignored; a generation with a higher `format` than ours is not understood. Whoever can write to the share
can write a record, with its right checksum. So a record is believed only where each field it has is of the field's type and
within bounds that no Data Engine reaches; else it is damaged.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import MISSING, fields, replace
from functools import cache
from typing import Any

from data_engine.formatting import beginning
from data_engine.lease.protocol import (
    FORMAT,
    KEPT_REPAIRS,
    KINDS,
    MOST_SEGMENTS,
    NESTED,
    SEGMENT_NAME,
    Damaged,
    Generation,
    HandoverRequest,
    Identity,
    Kind,
    LeaseRecord,
    Limits,
    NewerFormat,
    Repair,
    Segment,
)
from data_engine.ledger.segments import LARGEST_SEGMENT_BYTES

LARGEST_ENTRY_BYTES = 4_000_000
"""The size of an entry's file: with a thousand segments it has 100 kB. Parsed, the worst of this size takes 100 MB for a moment."""

LARGEST_HEARTBEAT_BYTES = 64_000
"""The size of a heartbeat's or a request's file, which have 400 bytes."""

LONGEST_STALE_AFTER_S = 86_400.0
"""The settings allow no longer one: nobody can be made to wait for ever until an owner may be taken over."""

_LONGEST_TEXT = 1_000
_LARGEST_NUMBER = 10**10 - 1
"""The largest number of ten digits. Generations, tokens, beats and process ids stay far below it."""

_NO_TEXT = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff\u2028\u2029]")
"""The characters that no name of a machine has, and a terminal may take for an order."""

_TABLE_NAME = re.compile(r"[a-z][a-z0-9_]{0,63}")
_DIGEST = re.compile(r"[0-9a-f]{16}")


# -- each field: of its type, within bounds that no Data Engine reaches; what is none is a `ValueError` or `TypeError` that names it --


def checked_text(name: str, value: Any) -> str:
    """A name for people or machines, of one line."""
    if not isinstance(value, str) or len(value) > _LONGEST_TEXT or _NO_TEXT.search(value) is not None:
        raise ValueError(f"{name} is {shown(value)}")
    return value


def checked_number(name: str, value: Any) -> int:
    """A count or an id of a process; a bool is none."""
    if type(value) is not int or not 0 <= value <= _LARGEST_NUMBER:
        raise ValueError(f"{name} is {shown(value)}")
    return value


def checked_seconds(name: str, value: Any) -> float:
    """A time limit."""
    if type(value) not in (int, float) or not 0 <= value <= LONGEST_STALE_AFTER_S:
        raise ValueError(f"{name} is {shown(value)}")
    return float(value)


def checked_flag(name: str, value: Any) -> bool:
    """A yes or no."""
    if not isinstance(value, bool):
        raise TypeError(f"{name} is {shown(value)}")
    return value


def checked_name(pattern: re.Pattern[str], text: Any) -> str:
    """A text of this form."""
    if not isinstance(text, str) or not pattern.fullmatch(text):
        raise ValueError(f"name {shown(text)}")
    return text


def shown(value: Any) -> str:
    """The value in at most a line: a number may have thousands of digits, and a list thousands of items."""
    if isinstance(value, str):
        return repr(value[:60])
    is_short = isinstance(value, float) or (isinstance(value, int) and abs(value) < 2**64)
    return repr(value) if is_short else f"a {type(value).__name__}"


# -- records ---------------------------------------------------------------------------------------------------------------


def encode(record: Mapping[str, Any]) -> bytes:
    """A record as it is stored.

    Example:
        >>> encode({"beat": 1})
        b'5c0b170b22647e5e\\n{"beat":1}'
        >>> decode(encode({"beat": 1}))
        {'beat': 1}
    """
    body = json.dumps(record, sort_keys=True, separators=(",", ":")).encode()
    return f"{digest(body)}\n".encode() + body


def decode(data: bytes, largest: int = LARGEST_ENTRY_BYTES) -> dict[str, Any]:
    """The record stored as `data`.

    Raises:
        Damaged: the checksum does not match, it is not JSON object, or it is larger than `largest`.
    """
    if len(data) > largest:
        raise Damaged(f"{len(data):,} bytes are more than any record has")
    head, _, body = data.partition(b"\n")
    if digest(body).encode() != head:
        raise Damaged("the checksum does not match")
    try:
        record = json.loads(body, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise Damaged(f"no JSON: {beginning(str(error), 200)}") from None
    if not isinstance(record, dict):
        raise Damaged("no JSON object")
    return record


def digest(data: bytes) -> str:
    """16 hex digits of the SHA-256."""
    return hashlib.sha256(data).hexdigest()[:16]


def generation_of(data: bytes, number: int) -> Generation:
    """The entry stored as `data` under `number`.

    Raises:
        NewerFormat: its format is higher than ours.
        Damaged: it is not what a generation writes.
    """
    try:
        record = decode(data)
    except Damaged as error:
        raise Damaged(f"generation {number}: {error}") from None
    version = record.get("format")
    if isinstance(version, int) and version > FORMAT:
        raise NewerFormat(f"generation {number} was written by Data Engine {_version_shown(record)}".rstrip())
    try:
        limits = Limits(**_known(Limits, record)) if "heartbeat_s" in record else None
        values = {name: record[name] for name in record if name not in NESTED}
        generation = Generation(**_known(Generation, values), by=Identity(**_known(Identity, record)), limits=limits)
        generation = replace(generation, files=_files(record["files"]), repairs=_repairs(record.get("repairs", [])))
    except (TypeError, ValueError, KeyError) as error:
        raise Damaged(f"generation {number} is no entry: {type(error).__name__}: {error}") from None
    is_claim = generation.kind in ("claim", "repair")
    if generation.number != number or generation.token > number or (is_claim and generation.token != number):
        raise Damaged(
            f"generation {number} holds entry {generation.number} of kind {generation.kind!r}, token {generation.token}"
        )
    if generation.goes_on_at and generation.goes_on_at <= number:
        raise Damaged(f"generation {number} goes on at {generation.goes_on_at}")
    return generation


def lease_of(data: bytes) -> LeaseRecord:
    """The heartbeat stored as `data`.

    Raises:
        Damaged: it is none.
    """
    return LeaseRecord(**fields_of(LeaseRecord, data, "heartbeat"))


def request_of(data: bytes) -> HandoverRequest:
    """The request stored as `data`.

    Raises:
        Damaged: it is none.
    """
    return HandoverRequest(**fields_of(HandoverRequest, data, "request"))


def fields_of(kind: type, data: bytes, name: str, largest: int = LARGEST_HEARTBEAT_BYTES) -> dict[str, Any]:
    """The fields of a `kind`, which people call `name`, that is stored as `data`: all of them, each checked by its type.

    Raises:
        Damaged: it is none.
    """
    try:
        values = _known(kind, decode(data, largest))
    except (TypeError, ValueError) as error:
        raise Damaged(f"no {name}: {error}") from None
    missing = [field.name for field in fields(kind) if field.default is MISSING and field.name not in values]
    if missing:
        raise Damaged(f"no {name}: it has no {missing[0]}")
    return values


def _known(kind: type, record: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of `kind` that the record has, each checked; those of other kinds than the four are built elsewhere."""
    return {name: check(name, record[name]) for name, check in _checks(kind).items() if name in record}


@cache
def _checks(kind: type) -> dict[str, Callable[[str, Any], Any]]:
    return {field.name: _CHECKS[str(field.type)] for field in fields(kind) if str(field.type) in _CHECKS}


def _kind(name: str, value: Any) -> Kind:
    if value not in KINDS:
        raise ValueError(f"{name} is {shown(value)}")
    kind: Kind = value
    return kind


_CHECKS: dict[str, Callable[[str, Any], Any]] = {
    "str": checked_text,
    "int": checked_number,
    "float": checked_seconds,
    "bool": checked_flag,
    "Kind": _kind,
}


def _files(tables: Any) -> dict[str, tuple[Segment, ...]]:
    if not isinstance(tables, dict) or not all(isinstance(rows, list) for rows in tables.values()):
        raise ValueError("its files are no lists by table")
    count = sum(len(rows) for rows in tables.values())
    if max(count, len(tables)) > MOST_SEGMENTS:
        raise ValueError(f"it lists {max(count, len(tables)):,} files")
    return {checked_name(_TABLE_NAME, table): tuple(_segment(row) for row in rows) for table, rows in tables.items()}


def _segment(row: Any) -> Segment:
    if not isinstance(row, list):
        raise TypeError(f"a file is {shown(row)}")
    name, size, checksum = row
    if type(size) is not int or not 0 <= size <= LARGEST_SEGMENT_BYTES:
        raise ValueError(f"the size of {shown(name)} is {shown(size)}")
    return Segment(checked_name(SEGMENT_NAME, name), size, checked_name(_DIGEST, checksum))


def _repairs(rows: Any) -> tuple[Repair, ...]:
    if not isinstance(rows, list) or len(rows) > KEPT_REPAIRS:
        raise ValueError("its repairs are no short list")
    return tuple(_repair(row) for row in rows)


def _repair(row: Any) -> Repair:
    if not isinstance(row, dict) or not isinstance(row["tables"], list) or len(row["tables"]) > MOST_SEGMENTS:
        raise TypeError(f"a repair is {shown(row)}")
    base = row["base"]
    if base != -1:
        checked_number("base", base)
    tables = tuple(checked_name(_TABLE_NAME, table) for table in row["tables"])
    values = {name: value for name, value in row.items() if name not in ("tables", "base")}
    return Repair(**_known(Repair, values), base=base, tables=tables)


def _version_shown(record: Mapping[str, Any]) -> str:
    try:
        return checked_text("app_version", record.get("app_version"))[:60]
    except ValueError:
        return ""


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not a number")
