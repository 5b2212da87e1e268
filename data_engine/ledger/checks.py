"""What a row of the shared history may hold: which rows are left out when segments are taken in or folded, and why.

A row is left out where no Data Engine writes such a one: a version that no commit of that generation can have, which would
beat every later row for ever; a word that is no status, a time that is none, which others would stumble over each time they
look; a name that leads out of its folder. It is left out alone, and told: the rest of its segment is as good as before, and one
odd row of one machine must not make the workspace unusable for all.

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
from data_engine.ledger.rows import restored
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
"""Windows has paths of 32,767 characters; one that is no Unicode is up to six times as long as it looks."""

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
    """The numbers of the rows to leave out, each with why; `token` is that of the generation that lists their segment.

    Example:
        >>> columns = [["claims", "claims"], ["out/a.csv", "../../etc/passwd"], [7, 7], [12, 13]]
        >>> refused_rows("outputs", columns, token=7)
        {1: "output_path cannot be '../../etc/passwd'"}
        >>> refused_rows("outputs", columns, token=6)[0]
        'fencing_token cannot be 7'
    """
    out: dict[int, str] = {}
    optional = _OPTIONAL.get(table, ())
    checks = _CHECKS | _OWN_CHECKS.get(table, {}) | {"fencing_token": lambda value: 1 <= value <= token}
    for name, column in zip(TABLES[table].columns, columns, strict=True):
        check = checks[name]
        # Most columns hold few different values.
        bad = {value for value in set(column) if not (name in optional if value is None else check(value))}
        if bad:
            for number, value in enumerate(column):
                if value in bad:
                    out.setdefault(number, f"{name} cannot be {_shown(value)}")
    for one, other in _TOGETHER.get(table, ()):
        pair = (columns[list(TABLES[table].columns).index(name)] for name in (one, other))
        for number, (left, right) in enumerate(zip(*pair, strict=True)):
            if (left is None) != (right is None):
                out.setdefault(number, f"{one} and {other} come together")
    return out


def is_absolute(path: str) -> bool:
    """Whether any system calls it so; the empty path counts."""
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
    """The name of a flow: of a file without its ending, or "" of one that has none."""
    name = restored(value)
    return len(name) <= _LONGEST_NAME and name not in (".", "..") and _NO_NAME.search(name) is None


def _is_id(value: str) -> bool:
    return _ID.fullmatch(value) is not None


def _is_slot_run(value: str) -> bool:
    """A slot that was served without any run has none."""
    return value == "" or _is_id(value)


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


def _is_size(value: int) -> bool:
    return value >= 0


def _is_status(value: str) -> bool:
    return value in RUN_STATUSES


def _is_seen(value: str) -> bool:
    """What `rows.seen_as_text` gives."""
    if len(value) > LONGEST_SEEN:
        return False
    try:
        rows = json.loads(value)
    except (ValueError, RecursionError):
        return False
    return isinstance(rows, list) and all(isinstance(row, list) and _is_seen_source(row) for row in rows)


def _is_seen_source(row: list[Any]) -> bool:
    if len(row) != 5:
        return False
    root, path, size, mtime, digest = row
    is_key = isinstance(root, str) and isinstance(path, str) and _is_root(root) and _is_inner(path)
    is_mark = type(size) is int and type(mtime) is int and 0 <= size < 2**63 and -(2**63) <= mtime < 2**63
    return is_key and is_mark and (digest is None or (isinstance(digest, str) and _is_id(digest)))


def _is_any(value: object) -> bool:
    return True


def _is_set(value: str) -> bool:
    """The name of a set of modules, which is looked for in a folder; a withdrawal has none."""
    return _SET.fullmatch(value) is not None


def _is_list(value: str) -> bool:
    """A short list as JSON, of numbers, texts or pairs of texts."""
    found = _json_of(value)
    return isinstance(found, list) and all(_is_item(one) for one in found)


def _json_of(value: str) -> object:
    with suppress(ValueError, RecursionError):
        return json.loads(value) if len(value) <= LONGEST_TEXT else None
    return None


def _is_item(one: object) -> bool:
    if isinstance(one, list):
        return len(one) == 2 and all(isinstance(part, str) for part in one)
    return isinstance(one, str) or (type(one) is int and 0 <= one < _LARGEST_COUNT)


def _is_word(value: str) -> bool:
    """A word of ours, which later versions may have more of."""
    return _WORD.fullmatch(value) is not None


def _is_object(value: str) -> bool:
    """The parameters of a run, as JSON."""
    try:
        return len(value) <= LONGEST_TEXT and isinstance(json.loads(value), dict)
    except (ValueError, RecursionError):
        return False


def is_compared(told: object) -> bool:
    """How a notebook compared with its kernel, as an object of JSON.

    Example:
        >>> is_compared({"at_utc": "", "differences": [], "changed": [3]}), is_compared({"at_utc": "", "changed": ["3"]})
        (True, False)
    """
    if not isinstance(told, dict):
        return False
    at_utc, changed, differences = told.get("at_utc", ""), told.get("changed", []), told.get("differences", [])
    is_dated = isinstance(at_utc, str) and (at_utc == "" or _is_time(at_utc))
    is_listed = isinstance(changed, list) and all(type(one) is int and 0 <= one < _LARGEST_COUNT for one in changed)
    return is_dated and is_listed and isinstance(differences, list) and all(map(is_unicode, differences))


def _is_compared_text(value: str) -> bool:
    return _is_object(value) and is_compared(json.loads(value))


def _is_rule_counts(value: str) -> bool:
    """What the checks of a run have found: names of a check and a rule, and three counts, each."""
    found, kinds = _json_of(value), [str, str, int, int, int]
    return isinstance(found, list) and all(
        isinstance(one, list)
        and list(map(type, one)) == kinds
        and all(0 <= count < _LARGEST_COUNT for count in one[2:])
        for one in found
    )


def _is_files(value: str) -> bool:
    """What `rows.files_as_text` gives."""
    told = _json_of(value)
    if not isinstance(told, dict) or not isinstance(told.get("files"), list) or type(told.get("more")) is not int:
        return False
    return 0 <= told["more"] < _LARGEST_COUNT and all(isinstance(row, list) and _is_file(row) for row in told["files"])


def _is_file(row: list[Any]) -> bool:
    if len(row) != 4 or not isinstance(row[0], str) or not _is_path(row[0]):
        return False
    return all(one is None or (type(one) is int and -(2**63) <= one < 2**63) for one in row[1:])


def _is_publication(value: str) -> bool:
    """What `publications.publication_as_text` gives: names that stay inside the mirror, which is one folder's name."""
    try:
        told = json.loads(value) if len(value) <= LONGEST_SEEN else None
    except (ValueError, RecursionError):
        return False
    if not isinstance(told, list) or len(told) != 4:
        return False
    mirror, files, made_of, code = told
    is_told = isinstance(mirror, str) and mirror != "" and _is_name(mirror) and isinstance(code, str | None)
    is_listed = isinstance(files, list) and all(isinstance(row, list) and _is_staged(row) for row in files)
    return is_told and is_listed and _is_mark(made_of)


def _is_staged(row: list[Any]) -> bool:
    if len(row) != 5:
        return False
    name, size, mtime, digest, replaces = row
    is_file = isinstance(name, str) and name != "" and _is_inner(name) and _is_mark([size, mtime])
    return is_file and _is_mark(replaces) and (digest is None or (isinstance(digest, str) and _is_sha256(digest)))


def _is_mark(pair: Any) -> bool:
    """A size and a time, or None."""
    if pair is None:
        return True
    if not isinstance(pair, list) or len(pair) != 2 or not all(type(one) is int for one in pair):
        return False
    size, time_ns = pair
    return bool(0 <= size < 2**63 and -(2**63) <= time_ns < 2**63)


def _is_sha256(value: str) -> bool:
    return _SHA256.fullmatch(value) is not None


_CHECKS: dict[str, Callable[[Any], bool]] = {
    **dict.fromkeys(("run_id", "last_run_id", "last_success_run_id", "content_hash", "success_content_hash"), _is_id),
    **dict.fromkeys(("status", "last_status"), _is_status),
    **dict.fromkeys(("started_at_utc", "finished_at_utc", "created_at_utc", "last_at_utc", "slot_utc"), _is_time),
    **dict.fromkeys(("scheduled_for",), _is_time),
    **dict.fromkeys(("round", "total", "ended", "failed"), _is_count),
    "backfill_id": _is_id,
    "asked": _is_object,
    **dict.fromkeys(("since_utc", "told_at_utc", "digest_until_utc", "recovered_at_utc"), _is_time),
    **dict.fromkeys(("step", "error_type", "cell"), _is_text),
    "detail": _is_object,
    "message_id": _is_id,
    "is_closed": (0, 1).__contains__,
    "again": _is_count,
    "is_as_scheduled": (0, 1).__contains__,
    **dict.fromkeys(("last_success_at_utc", "reset_at_utc"), _is_time),
    **dict.fromkeys(("group_name", "step_label", "level", "message"), _is_text),
    **dict.fromkeys(("error_text", "last_error_text", "cause", "cause_kind", "cause_data"), _is_text),
    **dict.fromkeys(("step_index", "line_no", "abandoned_in_a_row"), _is_count),
    **dict.fromkeys(("size_bytes", "success_size_bytes"), _is_size),
    **dict.fromkeys(("mtime_ns", "success_mtime_ns", "enabled"), _is_any),
    **dict.fromkeys(("source_path", "output_path"), _is_path),
    **dict.fromkeys(("deployment_id", "points_to", "request_id"), _is_id),
    **dict.fromkeys(
        ("decided_by", "machine", "note", "git_commit", "asked_by", "file_owner", "answer", "mirror", "watches"),
        _is_text,
    ),
    **dict.fromkeys(("cells", "helpers", "config", "run_ids"), _is_list),
    **dict.fromkeys(("trigger_kind", "environment", "python"), _is_word),
    **dict.fromkeys(("trigger_detail", "run_by"), _is_text),
    **dict.fromkeys(("inputs", "outputs"), _is_files),
    **dict.fromkeys(("peak_memory_bytes", "rows_in", "rows_out", "rejected"), _is_size),
    "checks": _is_rule_counts,
    "publication": _is_publication,
    "compared": _is_compared_text,
    "params": _is_object,
    "cpu_s": lambda value: math.isfinite(value) and value >= 0,
    "distributions": _is_list,
    "at_utc": _is_time,
    "number": lambda value: 1 <= value <= LARGEST_REV,
    "kind": ("deploy", "rollback", "withdraw").__contains__,
    "set_id": _is_set,
    "digest": _is_set,
    "git_dirty": (0, 1).__contains__,
    "verb": ("deploy", "rollback", "run", "retry", "enable", "disable", "backfill").__contains__,
    "state": ("taken", "answered").__contains__,
    "outcome": ("done", "refused", "failed", "expired", "interrupted").__contains__,
    "flow_name": _is_name,
    "source_root": _is_root,
    "source_key": _is_inner,
    "started_seen": _is_seen,
    "elapsed_s": math.isfinite,
    "rev": lambda value: 1 <= value <= LARGEST_REV,
}
_OWN_CHECKS: dict[str, dict[str, Callable[[Any], bool]]] = {
    "schedule_slots": {"run_id": _is_slot_run},
    "environments": {"digest": _is_word},
    "backfills": {
        "kind": ("files", "slots").__contains__,
        "state": ("running", "done", "stopped").__contains__,
    },
    "backfill_items": {"number": _is_count},
    "troubles": {"kind": _is_word},
}
_OPTIONAL = {
    "runs": (
        "source_path source_root source_key finished_at_utc elapsed_s error_text cause cause_kind cause_data started_seen"
        " trigger_kind trigger_detail run_by params deployment_id git_commit git_dirty python environment inputs outputs"
        " peak_memory_bytes cpu_s scheduled_for publication checks rejected"
    ).split(),
    "step_runs": "finished_at_utc elapsed_s error_text output_path rows_in rows_out".split(),
    "logs": "run_id line_no flow_name step_label".split(),
    "file_state": (
        "content_hash last_error_text last_run_id last_at_utc success_size_bytes success_mtime_ns success_content_hash"
        " last_success_run_id last_success_at_utc"
    ).split(),
    "schedule_slots": ["run_id"],
    "flow_switches": "decided_by machine at_utc note".split(),
    "deployments": "git_commit git_dirty points_to asked_by mirror watches compared".split(),
    "requests": "outcome answer file_owner".split(),
    "backfill_items": ["source_key", "slot_utc"],
    "troubles": "told_at_utc message_id digest_until_utc recovered_at_utc".split(),
}
_TOGETHER = {"logs": [("run_id", "line_no")], "file_state": [("success_size_bytes", "success_mtime_ns")]}


def _shown(value: object) -> str:
    return repr(value[:60] if isinstance(value, str) else value)
