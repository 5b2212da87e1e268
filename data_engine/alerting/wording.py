"""The words of a message about a trouble: its subject, its line, and the facts below it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import datetime, tzinfo
from pathlib import PurePath
from typing import Any, Literal

from data_engine.formatting import cli_line, duration_text, plural
from data_engine.ledger.troubles import LONGEST_PART, TroubleKey, TroubleRecord
from data_engine.message import Notice
from data_engine.reasons.kinds import FeedShrunk
from data_engine.secret import masked

_LONGEST_ERROR = 4000
_SAID = ("source", "step", "cell", "detail", "error", "reason", "fix", "at_utc", "within_s", "run_id")
_SEE_WHY = "see why: {explain}"
_TO_DO = {
    "code_raised": "correct the notebook and deploy it",
    "module_broken": "correct the notebook and deploy it",
    "feed_changed": "correct the source; or let it pass from now on with --accept",
    "input_wrong": "correct the input; or correct how the notebook reads it, then deploy the notebook",
    "secret_missing": "keep the secret on the machine that runs the flow: data-engine secret set, in a terminal there",
    "target_held": "close the output in the other program",
    "time_limit": "find out what takes so long, or give it more time ([limits] run_timeout)",
}
"""The remedy for a failure, by the kind of its cause."""


def failure(
    flow: str,
    kind: str,
    cause: Mapping[str, Any] | None,
    error: str | None,
    *,
    again: Literal["retry", "run"] = "retry",
) -> tuple[TroubleKey, dict[str, Any]]:
    """The key of a failure and its facts, from the cause of its run and the error's text.

    `again` is the command that runs it once more: "retry" for a held file, "run" for anything else.

    Example:
        >>> cause = {"kind": "code_raised", "step": "Clean", "detail": "KeyError: 'amount'",
        ...     "places": [{"notebook": "claims.ipynb", "cell": 4, "line": 3}]}
        >>> key, facts = failure("claims", "failed", cause, "Flow claims failed ...")
        >>> key
        TroubleKey(flow='claims', kind='failed', step='Clean', error_type='KeyError', cell='claims.ipynb, cell 4')
        >>> facts["cell"], facts["detail"]
        ('claims.ipynb, cell 4, line 3', "KeyError: 'amount'")
        >>> failure("claims", "failed", {"kind": "target_held"}, None, again="run")[1]["fix"]
        'close the output in the other program, then: data-engine run claims'
    """
    data = cause or {}
    step, detail = str(data.get("step") or ""), masked(str(data.get("detail") or ""))
    error_type = detail.partition(":")[0].strip() or str(data.get("kind") or "")
    place = next((place for place in data.get("places") or () if isinstance(place, Mapping)), {})
    notebook = PurePath(str(place.get("notebook") or "")).name
    cell = ", ".join(filter(None, [notebook, f"cell {place['cell']}" if place.get("cell") is not None else ""]))
    line = f", line {place['line']}" if cell and place.get("line") is not None else ""
    parts = (part[:LONGEST_PART] for part in (step, error_type, cell))
    to_do = _TO_DO.get(str(data.get("kind")), _SEE_WHY)
    facts = {
        "step": step,
        "cell": f"{cell}{line}",
        "detail": detail[:500],
        "error": masked(error or "")[:_LONGEST_ERROR],
        "fix": f"{to_do.format(explain=cli_line('explain', flow))}, then: {cli_line(again, flow)}",
    }
    return TroubleKey(flow, kind, *parts), {name: value for name, value in facts.items() if value}


def subject(trouble: TroubleRecord, file: str | None = None) -> str:
    """The trouble in a few words, for the first line of a mail; a failure with its `file`.

    Example:
        >>> bad = TroubleRecord(TroubleKey("claims", "failed", "Clean", "KeyError"), "", {"detail": "KeyError: 'amount'"})
        >>> subject(bad)
        "claims failed in Clean: KeyError: 'amount'"
        >>> subject(bad, "may.csv")
        "claims failed with may.csv in Clean: KeyError: 'amount'"
    """
    key, facts = trouble.key, trouble.detail
    flow = key.flow or "the workspace"
    what = facts.get("detail") or key.error_type
    if key.kind == "drift":
        return f"the feed of {flow} has changed: {what}"
    if key.error_type == FeedShrunk.kind:
        return f"{flow} is held: {what}"
    if key.kind in ("failed", "held"):
        where = f" in {key.step}" if key.step else ""
        held = "" if key.kind == "failed" else " and is not tried again by itself"
        which = "" if file is None else f" with {file}"
        return f"{flow} failed{which}{where}{held}" + (f": {what}" if what else "")
    return f"{flow} {_STATES.get(key.kind, key.kind)}"


_STATES = {
    "missed": "did not start",
    "late": "is late",
    "overlong": "runs too long",
    "rejected": "rejects rows",
}


def notice(trouble: TroubleRecord, zone: tzinfo | None, *, more: int = 0) -> Notice:
    """The notice about a trouble; `zone` is that of its times (None: this machine's), `more` counts like ones."""
    facts = {name: trouble.detail.get(name) for name in _SAID}
    since = shown_time(trouble.since_utc, zone)
    return Notice(
        _headline(trouble, facts, zone),
        flow=trouble.key.flow or None,
        source=_text(facts["source"]),
        step=_text(facts["step"]) or trouble.key.step or None,
        cell=_text(facts["cell"]) or trouble.key.cell or None,
        error=_text(facts["error"]) or _text(facts["detail"]),
        reason=_text(facts["reason"]),
        since=since if not trouble.again else f"{since}, and again",
        fix=_text(facts["fix"]) or _fix(trouble.key, facts),
        more=more,
    )


def good_again(trouble: TroubleRecord, zone: tzinfo | None, *, is_all_good: bool = True) -> Notice:
    """The notice that a trouble is over, and whether all of its flow's are."""
    how = "has recovered" if is_all_good else "no longer has this trouble, but still has others"
    lasted_s = seconds_of(trouble.recovered_at_utc) - seconds_of(trouble.since_utc)
    return Notice(
        f"{trouble.key.flow} {how}: {_STATES_OVER.get(trouble.key.kind, trouble.key.kind)}"
        f" for {duration_text(max(0.0, lasted_s))}, until {shown_time(trouble.recovered_at_utc or '', zone)}.",
        flow=trouble.key.flow or None,
        step=trouble.key.step or None,
        cell=_text(trouble.detail.get("cell")) or trouble.key.cell or None,
        since=shown_time(trouble.since_utc, zone),
    )


_STATES_OVER = {"failed": "it failed", "held": "it was held", "missed": "it did not start", "late": "it was late"} | {
    "overlong": "its runs took too long",
    "rejected": "it rejected rows",
    "drift": "its feed was not as before",
}


def digest_subject(flow: str, kinds: Sequence[str], failures: int) -> str:
    """The subject of the message after the first one about a flow.

    Example:
        >>> digest_subject("claims", ["late"], 9_999), digest_subject("claims", ["failed", "late"], 0)
        ('claims: 9,999 more runs failed; late', 'claims: failed, late')
    """
    parts = []
    if failures:
        parts.append(f"{plural(failures, 'more run')} failed")
        kinds = [kind for kind in kinds if kind != "failed"]
    if kinds:
        parts.append(", ".join(dict.fromkeys(kinds)))
    return f"{flow}: {'; '.join(parts)}"


def _headline(trouble: TroubleRecord, facts: Mapping[str, Any], zone: tzinfo | None) -> str:
    key = trouble.key
    since = shown_time(trouble.since_utc, zone)
    if key.kind == "missed":
        return f'"{key.flow}" did not start at {since}.'
    if key.kind == "late":
        return f'"{key.flow}" has been late since {since}.'
    if key.kind == "overlong":
        within_s = facts["within_s"]
        limit = f" It may take {duration_text(within_s)}." if isinstance(within_s, (int, float)) else ""
        return f'A run of "{key.flow}" takes too long: it began at {since}.{limit}'
    return f"{subject(trouble)}."


def _fix(key: TroubleKey, facts: Mapping[str, Any]) -> str:
    see_why = _SEE_WHY.format(explain=cli_line("explain", key.flow))
    if key.kind in ("failed", "held"):
        return f"{see_why}, then: {cli_line('retry', key.flow)}"
    if key.kind == "overlong":
        return f"see what it does: data-engine status; end that run: data-engine stop {facts['run_id'] or 'RUN'}"
    if key.kind == "drift":
        return (
            f"see what it wrote: {cli_line('log', str(facts['run_id'] or 'RUN'))}; a deploy of steps that fit ends this"
        )
    if key.kind == "rejected":
        return f"see them: {cli_line('rejected', key.flow)}; as a workbook: {cli_line('rejected', key.flow, '--excel', 'FILE')}"
    return see_why


def _text(value: Any) -> str | None:
    return str(value) if value else None


def shown_time(utc: str, zone: tzinfo | None) -> str:
    """A stored time for people, in `zone` (None: this machine's); any other text stays as it is.

    Example:
        >>> from datetime import UTC
        >>> shown_time("2026-01-05T03:12:00+00:00", UTC), shown_time("?", UTC)
        ('2026-01-05 03:12:00 UTC', '?')
    """
    try:
        local = datetime.fromisoformat(utc).astimezone(zone)
    except (ValueError, OverflowError):  # what another machine wrote
        return utc
    return f"{local:%Y-%m-%d %H:%M:%S} {local.tzname() or ''}".rstrip()


def seconds_of(utc: str | None) -> float:
    """A stored time in seconds; 0 for any other text, as another machine may have written it."""
    try:
        return datetime.fromisoformat(utc or "").timestamp()
    except ValueError:
        return 0.0


_FORM = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://\S+", re.ASCII)


def has_form(text: str) -> bool:
    """Whether a text has the form of an address: one word that names its service.

    Example:
        >>> has_form("json://hook.example/path"), has_form("ann@example.com"), has_form("json://one json://two")
        (True, False, False)
    """
    return _FORM.fullmatch(text.strip()) is not None


def address_fix(name: str) -> str:
    """The fix for the secret `name` that holds no address that Apprise knows.

    Example:
        >>> address_fix("ops").partition(",")[0]
        'data-engine secret set ops'
    """
    form = "mailtos://USER:PASSWORD@HOST?to=NAME@DOMAIN, with %40 for an @ in USER or PASSWORD"
    return (
        f"{cli_line('secret', 'set', name)}, with an address as Apprise writes it (github.com/caronc/apprise): {form}"
    )
