"""Check the rows of the shared history: which are left out when segments are taken in or folded, and why.

A row that no Data Engine writes is left out: with a version that no commit of that generation can have, which would beat
every later row for ever; with a status or a time that is none, which would fail at each reading; with a name that leads out
of its folder. It is left out alone, with a warning: one odd row of one machine must not make the workspace unusable for all.

What may be legitimate is let in, and is harmless until somebody uses it: an output lies where its author put it. So nothing
that is stored is opened unless a person asks for it.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import datetime
from typing import Any

from data_engine.argument_checks import is_unicode
from data_engine.ledger.rows import LONGEST_FRAMES, drift_of, frames_of, restored
from data_engine.ledger.segments import TABLES
from data_engine.model import RUN_STATUSES

LONGEST_TEXT = 1_000_000
"""Characters of a message, an error or a label; whoever publishes a longer one cuts it."""

LONGEST_SEEN = 32_000_000
"""Characters of the sources of a run that begins, a hundred thousand files are 10 million; a longer list is not published."""

LARGEST_REV = 2**40
"""A ledger counts its transactions: five in a second are 2**40 after 6,900 years."""

_LONGEST_NAME = 1_000
_LONGEST_PATH = 40_000
"""Windows has paths of 32,767 characters; a path that is no Unicode is up to six times as long as it looks."""

_LARGEST_COUNT = 2**31
_TIME = re.compile(r"(?:19[7-9]\d|2\d{3})-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,6})?\+00:00", re.ASCII)
"""As `utc_text` writes it. Years beyond make trouble in other zones, and before 1970 on Windows."""

_ID = re.compile(r"[^\x00-\x1f\x7f/\\]{1,200}")
_NO_NAME = re.compile(r"[\x00-\x1f\x7f/\\]")
_SET = re.compile(r"(?:[0-9a-f]{24}|[0-9a-f]{64})?")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_DRIVE = re.compile(r"[A-Za-z]:/")
_WORD = re.compile(r"[\w.+-]{1,60}", re.ASCII)


def refused_rows(table: str, columns: Sequence[Sequence[Any]], *, token: int) -> dict[int, str]:
    """The numbers of the rows to leave out, each with its reason; `token` is that of the generation that lists their segment.

    Example:
        >>> columns = [["claims", "claims"], ["out/a.csv", "../../etc/passwd"], [7, 7], [12, 13]]
        >>> refused_rows("outputs", columns, token=7)
        {1: "output_path cannot be '../../etc/passwd'"}
        >>> refused_rows("outputs", columns, token=6)[0]
        'fencing_token cannot be 7'
    """
    out: dict[int, str] = {}
    checks = _CHECKS | _OWN_CHECKS.get(table, {}) | {"fencing_token": lambda value: 1 <= value <= token}
    for name, column in zip(TABLES[table].columns, columns, strict=True):
        check = checks[name]
        # Most columns hold few different values.
        bad = {
            value for value in set(column) if not (name in TABLES[table].optional if value is None else check(value))
        }
        if bad:
            for number, value in enumerate(column):
                if value in bad:
                    out.setdefault(number, f"{name} cannot be {value[:60] if isinstance(value, str) else value!r}")
    for first, second in _TOGETHER.get(table, ()):
        pair = (columns[list(TABLES[table].columns).index(name)] for name in (first, second))
        for number, (left, right) in enumerate(zip(*pair, strict=True)):
            if (left is None) != (right is None):
                out.setdefault(number, f"{first} and {second} come together")
    return out


def is_absolute(path: str) -> bool:
    """Whether any system calls this path absolute; the empty path counts."""
    return not path or path[0] == "/" or path[:2] == "\\\\" or path[1:3] in (":\\", ":/")


def is_inside(path: str) -> bool:
    """Whether a path, with slashes of either kind, stays in the folder it is joined to; "" is the folder itself.

    Example:
        >>> [is_inside(path) for path in ("a/b.csv", "", "a/../b.csv", "/etc/passwd", "..\\\\x", "C:/x", "..a")]
        [True, True, False, False, False, False, True]
    """
    parts = restored(path).replace("\\", "/")
    return not parts.startswith("/") and _DRIVE.match(parts) is None and ".." not in parts.split("/")


def _is_text(value: str) -> bool:
    return len(value) <= LONGEST_TEXT


def _is_name(value: str) -> bool:
    """The name of a flow, which is that of a file without its ending; "" for none."""
    name = restored(value)
    return len(name) <= _LONGEST_NAME and name not in (".", "..") and _NO_NAME.search(name) is None


def _is_id(value: str) -> bool:
    return _ID.fullmatch(value) is not None


def _is_inner(value: str) -> bool:
    return len(value) <= _LONGEST_PATH and "\0" not in value and is_inside(value)


def _is_path(value: str) -> bool:
    is_there = 0 < len(value) <= _LONGEST_PATH and "\0" not in value
    return is_there and (is_absolute(value) or is_inside(value))


def _is_root(value: str) -> bool:
    return len(value) <= _LONGEST_PATH and "\0" not in value


def _is_time(value: str) -> bool:
    if _TIME.fullmatch(value) is None:
        return False
    try:
        datetime.fromisoformat(value)
    except ValueError:  # the 30th of February
        return False
    return True


def _is_count(value: int) -> bool:
    return 0 <= value < _LARGEST_COUNT


def _is_seen(value: str) -> bool:
    """A text of `rows.seen_as_text`."""
    rows = _json_of(value, LONGEST_SEEN)
    return isinstance(rows, list) and all(isinstance(row, list) and _is_seen_source(row) for row in rows)


def _is_seen_source(row: list[Any]) -> bool:
    if len(row) != 5:
        return False
    root, path, size, mtime, digest = row
    is_key = isinstance(root, str) and isinstance(path, str) and _is_root(root) and _is_inner(path)
    return is_key and _is_mark([size, mtime]) and (digest is None or (isinstance(digest, str) and _is_id(digest)))


def _is_set(value: str) -> bool:
    """The name of a set of modules, which is looked for in a folder; a withdrawal has none."""
    return _SET.fullmatch(value) is not None


def _is_list(value: str) -> bool:
    """A short list as JSON, of numbers, texts or pairs of texts."""
    entries = _json_of(value)
    return isinstance(entries, list) and all(_is_item(entry) for entry in entries)


def _json_of(value: str, longest: int = LONGEST_TEXT) -> object:
    """The value of a JSON text; None of a text that is too long, or no JSON."""
    with suppress(ValueError, RecursionError):
        return json.loads(value) if len(value) <= longest else None
    return None


def _is_item(entry: object) -> bool:
    if isinstance(entry, list):
        return len(entry) == 2 and all(isinstance(part, str) for part in entry)
    return isinstance(entry, str) or (type(entry) is int and 0 <= entry < _LARGEST_COUNT)


def _is_word(value: str) -> bool:
    """A word of ours, which later versions may have more of."""
    return _WORD.fullmatch(value) is not None


def _is_object(value: str) -> bool:
    """The parameters of a run, as JSON."""
    return isinstance(_json_of(value), dict)


def is_compared(value: object) -> bool:
    """Whether this object of JSON can be how a notebook compared with its kernel.

    Example:
        >>> is_compared({"at_utc": "", "differences": [], "changed": [3]}), is_compared({"at_utc": "", "changed": ["3"]})
        (True, False)
    """
    if not isinstance(value, dict):
        return False
    at_utc, cells, differences = value.get("at_utc", ""), value.get("changed", []), value.get("differences", [])
    is_dated = isinstance(at_utc, str) and (at_utc == "" or _is_time(at_utc))
    is_listed = isinstance(cells, list) and all(type(cell) is int and 0 <= cell < _LARGEST_COUNT for cell in cells)
    return is_dated and is_listed and isinstance(differences, list) and all(map(is_unicode, differences))


def _is_rule_counts(value: str) -> bool:
    """The counts of a run's checks: rows of a check's name, a rule's name and three counts."""
    rows, kinds = _json_of(value), [str, str, int, int, int]
    return isinstance(rows, list) and all(
        isinstance(row, list)
        and list(map(type, row)) == kinds
        and all(0 <= count < _LARGEST_COUNT for count in row[2:])
        for row in rows
    )


def _is_feed(parts: object) -> bool:
    """The counts of what a batch takes, by name."""
    counts = parts.values() if isinstance(parts, dict) else (None,)
    return all(type(count) is int and 0 <= count < _LARGEST_COUNT for count in counts)


def _is_reports(value: str) -> bool:
    """The pages of a run: rows of a path, the digest of its bytes and a text."""
    rows = _json_of(value)
    return isinstance(rows, list) and all(
        isinstance(row, list)
        and list(map(type, row)) == [str, str, str]
        and _is_path(row[0])
        and _SHA256.fullmatch(row[1]) is not None
        for row in rows
    )


def _is_files(value: str) -> bool:
    """A text of `rows.files_as_text`."""
    facts = _json_of(value)
    if not isinstance(facts, dict) or not isinstance(facts.get("files"), list) or type(facts.get("more")) is not int:
        return False
    return 0 <= facts["more"] < _LARGEST_COUNT and all(
        isinstance(row, list) and _is_file(row) for row in facts["files"]
    )


def _is_file(row: list[Any]) -> bool:
    if len(row) not in (4, 5) or not isinstance(row[0], str) or not _is_path(row[0]):
        return False
    return all(number is None or (type(number) is int and -(2**63) <= number < 2**63) for number in row[1:])


def _is_references(value: str) -> bool:
    """A text of `rows.references_as_text`."""
    rows = _json_of(value)
    return isinstance(rows, list) and all(isinstance(row, list) and _is_reference(row) for row in rows)


def _is_reference(row: list[Any]) -> bool:
    if len(row) != 4 or not isinstance(row[0], str) or not _is_path(row[0]):
        return False
    return _is_mark(row[1:3]) and (
        row[3] is None or (isinstance(row[3], str) and _SHA256.fullmatch(row[3]) is not None)
    )


def _is_publication(value: str) -> bool:
    """A text of `rows.publication_as_text`: names that stay inside the mirror, which is one folder's name."""
    parts = _json_of(value, LONGEST_SEEN)
    if not isinstance(parts, list) or len(parts) != 4:
        return False
    mirror, files, made_of, code = parts
    is_named = isinstance(mirror, str) and mirror != "" and _is_name(mirror) and isinstance(code, str | None)
    is_listed = isinstance(files, list) and all(isinstance(row, list) and _is_staged(row) for row in files)
    return is_named and is_listed and _is_mark(made_of)


def _is_staged(row: list[Any]) -> bool:
    if len(row) != 5:
        return False
    name, size, mtime, digest, replaces = row
    is_file = isinstance(name, str) and name != "" and _is_inner(name) and _is_mark([size, mtime])
    is_digest = digest is None or (isinstance(digest, str) and _SHA256.fullmatch(digest) is not None)
    return is_file and _is_mark(replaces) and is_digest


def _is_mark(pair: Any) -> bool:
    """A size and a time, or None."""
    if pair is None:
        return True
    if not isinstance(pair, list) or len(pair) != 2 or not all(type(number) is int for number in pair):
        return False
    size, time_ns = pair
    return bool(0 <= size < 2**63 and -(2**63) <= time_ns < 2**63)


_NAMES: dict[Callable[[Any], bool], str] = {
    _is_id: "run_id last_run_id last_success_run_id content_hash success_content_hash backfill_id message_id deployment_id points_to"
    " request_id",
    RUN_STATUSES.__contains__: "status last_status",
    _is_time: "started_at_utc finished_at_utc created_at_utc last_at_utc last_success_at_utc slot_utc scheduled_for reset_at_utc at_utc"
    " since_utc told_at_utc digest_until_utc recovered_at_utc",
    _is_count: "round total ended failed again step_index line_no abandoned_in_a_row",
    _is_text: "step error_type cell group_name step_label level message error_text last_error_text cause cause_kind cause_data"
    " trigger_detail run_by decided_by machine note git_commit asked_by file_owner answer mirror watches edited",
    _is_object: "asked detail params metadata",
    _is_list: "cells helpers config run_ids distributions",
    _is_path: "source_path output_path reference_path",
    _is_word: "trigger_kind environment python schema reads",
    _is_files: "inputs outputs",
    _is_set: "set_id digest",
    (0, 1).__contains__: "is_closed is_as_scheduled git_dirty accepted",
    (lambda value: value >= 0): "size_bytes success_size_bytes peak_memory_bytes rows_in rows_out rejected",
    (lambda value: True): "mtime_ns success_mtime_ns enabled",
    (lambda value: 1 <= value <= LARGEST_REV): "number rev",
}
_CHECKS: dict[str, Callable[[Any], bool]] = {
    **{name: check for check, names in _NAMES.items() for name in names.split()},
    "checks": _is_rule_counts,
    "frames": lambda value: len(value) <= LONGEST_FRAMES and bool(frames_of(value)),
    "drift": lambda value: len(value) <= LONGEST_FRAMES and bool(drift_of(value)),
    "publication": _is_publication,
    "files": _is_references,
    "reports": _is_reports,
    "feed": lambda value: _is_feed(_json_of(value)),
    "compared": lambda value: is_compared(_json_of(value)),
    "cpu_s": lambda value: math.isfinite(value) and value >= 0,
    "elapsed_s": math.isfinite,
    "kind": ("deploy", "rollback", "withdraw").__contains__,
    "verb": ("deploy", "rollback", "run", "retry", "enable", "disable", "backfill").__contains__,
    "state": ("taken", "answered").__contains__,
    "outcome": ("done", "refused", "failed", "expired", "interrupted").__contains__,
    "flow_name": _is_name,
    "source_root": _is_root,
    "source_key": _is_inner,
    "started_seen": _is_seen,
}
_OWN_CHECKS: dict[str, dict[str, Callable[[Any], bool]]] = {
    "schedule_slots": {"run_id": lambda value: value == "" or _is_id(value)},  # "" was served without any run
    "environments": {"digest": _is_word},
    "read_sets": {"digest": _is_word},
    "frame_schemas": {"digest": _is_word},
    "backfills": {
        "kind": ("files", "slots").__contains__,
        "state": ("running", "done", "stopped").__contains__,
    },
    "backfill_items": {"number": _is_count},
    "troubles": {"kind": _is_word},
    "reference_files": {"content_hash": lambda value: _SHA256.fullmatch(value) is not None},
}
_TOGETHER = {
    "logs": [("run_id", "line_no")],
    "file_state": [("success_size_bytes", "success_mtime_ns")],
    "reference_files": [("size_bytes", "mtime_ns")],
}
