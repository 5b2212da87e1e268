"""Decide which messages about a flow's troubles to send now, each once. Pure: values in, values out.

a new trouble                        sent at once; later ones of its flow within `digest` wait
the same trouble again               nothing
more rejected rows than in a message sent as a new one
the end of `digest`                  one message, if troubles waited
good again                           sent to those who had a message about the trouble
no recipients                        nothing is kept
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, tzinfo

from data_engine.alerting.wording import digest_subject, good_again, notice, seconds_of, subject
from data_engine.flow.expectation import AlertRule
from data_engine.formatting import cli_line, plural
from data_engine.ledger.outputs import NewPage
from data_engine.ledger.troubles import TroubleKey, TroubleRecord
from data_engine.message import Notice, message_id
from data_engine.model import Run, RunFinished, changes_text, utc_text
from data_engine.reasons.kinds import FeedShrunk, HeldSlot
from data_engine.record import frozen
from data_engine.workspace.settings import AlertSettings

MOST_OF_A_FLOW = 20
"""Open troubles of a flow; all further ones are one more."""

MOST_AT_ONCE = 5
"""More first messages than this to the same people at one moment become one message."""

_LOOK_AGAIN_S = 2.0
"""How long until a backfill is looked at again, whose reports go as one message."""

OF_FAILURES = ("failed", "held")
_ORDER = (*OF_FAILURES, "missed", "overlong", "late", "rejected", "drift")


@frozen
class Recipients:
    """The recipients of a flow's alerts: those of the workspace's `[alerts]`, or of the flow's own rules."""

    settings: AlertSettings
    rules: tuple[AlertRule, ...] = ()

    def of(self, kind: str, *, and_of: str | None = None) -> tuple[str, ...]:
        """The secrets of the recipients of this kind (who also get the kind `and_of`, if given).

        Example:
            >>> settings = AlertSettings(to=("ops",))
            >>> boss = AlertRule(to=("boss",), on=("late",))
            >>> Recipients(settings).of("late"), Recipients(settings, (boss,)).of("late"), Recipients(settings, (boss,)).of("failed")
            (('ops',), ('boss',), ())
        """
        names: dict[str, None] = {}
        others = [rule for rule in self.rules if rule.on != ("report",)]  # which leaves the other alerts as they are
        for rule in self.rules if kind == "report" else others or (AlertRule(),):
            on = self.settings.on if rule.on is None else rule.on
            if kind in on and (and_of is None or and_of in on):
                names.update(dict.fromkeys(self.settings.to if rule.to is None else rule.to))
        return tuple(names)

    @property
    def are_any(self) -> bool:
        """Whether there are any recipients."""
        return any((self.settings.to if rule.to is None else rule.to) for rule in self.rules or (AlertRule(),))


@frozen
class Telling:
    """A message to send; its `id` is the same, whichever machine decides on it."""

    kind: str
    flow: str | None
    subject: str
    notices: tuple[Notice, ...]
    id: str
    to: tuple[str, ...]
    is_first: bool = False
    attachment: str | None = None


@frozen
class AlertDecision:
    """The troubles to keep, the messages to send, and when to decide again (None: when something happens)."""

    changed: tuple[TroubleRecord, ...] = ()
    tellings: tuple[Telling, ...] = ()
    next_s: float | None = None


def decide(
    flow: str,
    known: Iterable[TroubleRecord],
    seen: Sequence[TroubleRecord],
    over: Mapping[TroubleKey, str],
    recipients: Recipients,
    *,
    failures: int,
    now_s: float,
    zone: tzinfo | None = None,
) -> AlertDecision:
    """Decide about one flow now.

    `known` are its kept troubles, `seen` those of now, as far as anybody looked, `over` the times when troubles ended.
    `failures` counts the runs that failed since the first message of a digest.
    """
    before = {trouble.key: trouble for trouble in known}
    after = _with_seen(before, seen, recipients, now_s)
    after = _with_over(after, over)
    ends_s = _window_end(after.values())
    digest_s = recipients.settings.digest_s
    tellings: list[Telling] = []
    if ends_s is None or ends_s <= now_s:
        if ends_s is not None:
            after, messages = _end_digest(flow, after, recipients, failures, now_s, zone)
        else:
            after, messages = _tell_first(flow, after, recipients, digest_s, now_s, zone)
        tellings += messages
        ends_s = _window_end(after.values())
    at_utc = utc_text(now_s)
    changed = tuple(replace(trouble, at_utc=at_utc) for key, trouble in after.items() if trouble != before.get(key))
    return AlertDecision(changed, tuple(tellings), ends_s)


def decide_reports(
    flow: str,
    known: TroubleRecord | None,
    pages: Sequence[NewPage],
    recipients: Recipients,
    *,
    is_backfilling: bool,
    now_s: float,
) -> AlertDecision:
    """Decide about the pages that runs of a flow have made since the last message, oldest first: one message with the newest.

    `known` is the record of that message. Within `digest` of it, and during a backfill, they wait.
    """
    to = recipients.of("report")
    if not to or not pages:
        return AlertDecision()
    until_s = 0.0 if known is None else seconds_of(known.told_at_utc) + recipients.settings.digest_s
    if is_backfilling or now_s < until_s:
        return AlertDecision(next_s=max(until_s, now_s + _LOOK_AGAIN_S if is_backfilling else 0.0))
    newest, count = pages[-1], len(pages)
    message, at_utc = message_id("report", flow, newest.run_id, newest.path), utc_text(now_s)
    record = TroubleRecord(
        TroubleKey(flow, "report"),
        newest.at_utc,
        {"page": newest.path},
        told_at_utc=at_utc,
        message_id=message,
        is_closed=True,
        at_utc=at_utc,
    )
    words = f"{flow}: a new report" if count == 1 else f"{flow}: {count:,} new reports, the newest of them"
    about = Notice(newest.text, flow=flow, source=newest.source, page=newest.path, more=count - 1)
    return AlertDecision((record,), (Telling("report", flow, words, (about,), message, to, attachment=newest.path),))


def is_failure(end: Run | RunFinished) -> bool:
    """Whether a run that ended so has failed: it was not ended by a person.

    Example:
        >>> from data_engine.cause import Cause
        >>> is_failure(RunFinished("3f", "killed", 0.0, 1.0, why=Cause("time_limit", {"limit_s": 9.0})))
        True
    """
    is_out_of_time = end.why is not None and end.why.kind == "time_limit"
    return end.status == "failed" or (end.status == "killed" and is_out_of_time)


def held_trouble(flow: str, why: HeldSlot | FeedShrunk, now_utc: str) -> TroubleRecord:
    """The trouble of a flow whose slot or batch is held; it is there since `now_utc` where its reason does not say since when.

    Example:
        >>> held_trouble("claims", HeldSlot("2026-01-05T06:30:00+00:00", None, "its process died"), "").key.error_type
        'abandoned'
    """
    if isinstance(why, HeldSlot):
        key, detail = TroubleKey(flow, "held", error_type="abandoned"), {"reason": why.text, "detail": why.cause}
        return TroubleRecord(key, why.since_utc or why.slot_utc, detail)
    fix = f"put them back, or accept it: {cli_line('retry', flow, '--accept')}"
    detail = {"reason": why.text, "detail": why.what, "fix": fix}
    return TroubleRecord(TroubleKey(flow, "held", error_type=why.kind), why.since_utc or now_utc, detail)


def rejection(source: str, run: Run) -> TroubleRecord:
    """The trouble of a source whose newest good run rejects rows."""
    rules = Counter[str]()
    for check in run.checks:
        rules[check.rule] += check.failed + check.unknown
    broken = {rule: rows for rule, rows in rules.items() if rows}
    words = ", ".join(f"{rule} {rows:,}" for rule, rows in broken.items())
    detail = f"{plural(run.rejected or 0, 'row')}: {words}"
    facts = {"source": run.source, "key": source, "run_id": run.run_id, "detail": detail, "rules": broken}
    return TroubleRecord(TroubleKey(run.flow, "rejected", error_type=source), run.last_at_utc, facts)


def drifted(run: Run, readers: Sequence[str]) -> TroubleRecord:
    """The trouble of a flow whose good run had columns that no run had before; `readers` are the deployed flows that read what it writes.

    Example:
        >>> from data_engine.model import FrameChange
        >>> run = Run("3f", "claims", "G", None, "success", "t0", drift=(FrameChange("raw_df", new=("note",)),))
        >>> drifted(run, ["totals"]).detail["reason"]
        'what it writes is read by totals'
    """
    parts = [(change.name, change.gone, change.new, change.retyped) for change in run.drift]
    facts = {"source": run.source, "run_id": run.run_id, "detail": changes_text(run.drift)}
    if readers:
        facts["reason"] = f"what it writes is read by {', '.join(readers)}"
    return TroubleRecord(TroubleKey(run.flow, "drift", error_type=message_id(*parts)[:12]), run.last_at_utc, facts)


def gathered(tellings: Sequence[Telling], workspace: str) -> list[Telling]:
    """Merge the first messages to the same people into one where many flows fail at one moment."""
    by_people: dict[tuple[str, ...], list[Telling]] = {}
    for telling in tellings:
        if telling.is_first:
            by_people.setdefault(telling.to, []).append(telling)
    merged = [telling for telling in tellings if not telling.is_first or len(by_people[telling.to]) <= MOST_AT_ONCE]
    for to, many in by_people.items():
        if len(many) > MOST_AT_ONCE:
            notices = tuple(notice for telling in many for notice in telling.notices)
            flows = len({telling.flow for telling in many})
            words = f"{workspace}: trouble in {flows:,} flows"
            merged.append(
                Telling("digest", None, words, notices, message_id("many", *(telling.id for telling in many)), to, True)
            )
    return merged


def _with_seen(
    troubles: Mapping[TroubleKey, TroubleRecord], seen: Iterable[TroubleRecord], recipients: Recipients, now_s: float
) -> dict[TroubleKey, TroubleRecord]:
    after = dict(troubles)
    for trouble in seen:
        if not recipients.of(trouble.key.kind):
            continue
        key = trouble.key
        is_open = key in after and not after[key].is_closed
        if not is_open and sum(not other.is_closed for other in after.values()) >= MOST_OF_A_FLOW:
            key = TroubleKey(key.flow, key.kind, error_type="and others")
        before = after.get(key)
        if before is None or before.is_closed:
            after[key] = replace(trouble, key=key, digest_until_utc=None if before is None else before.digest_until_utc)
        elif (more := _more_rejected(before, trouble)) is not None:
            after[key] = more
        elif before.recovered_at_utc is not None and trouble.since_utc > before.recovered_at_utc:
            after[key] = replace(before, recovered_at_utc=None, again=before.again + 1)
    return after


def _more_rejected(before: TroubleRecord, seen: TroubleRecord) -> TroubleRecord | None:
    """The trouble to send again, where a later run rejects more rows by a rule than the last message said; else None."""
    broken = before.detail.get("rules")
    if before.key != seen.key or seen.key.kind != "rejected" or not isinstance(broken, dict):
        return None
    rules: dict[str, int] = {rule: rows for rule, rows in broken.items() if isinstance(rows, int)}
    if all(rows <= rules.get(rule, 0) for rule, rows in seen.detail["rules"].items()):
        return None
    most = dict(Counter(rules) | Counter(seen.detail["rules"]))
    facts = {**seen.detail, "rules": most}
    return replace(before, since_utc=seen.since_utc, detail=facts, told_at_utc=None, recovered_at_utc=None)


def _with_over(
    troubles: Mapping[TroubleKey, TroubleRecord], over: Mapping[TroubleKey, str]
) -> dict[TroubleKey, TroubleRecord]:
    return {
        key: replace(trouble, recovered_at_utc=over[key])
        if key in over and not trouble.is_closed and trouble.recovered_at_utc is None and trouble.since_utc <= over[key]
        else trouble
        for key, trouble in troubles.items()
    }


def _window_end(troubles: Iterable[TroubleRecord]) -> float | None:
    ends = [trouble.digest_until_utc for trouble in troubles if trouble.digest_until_utc is not None]
    return max((datetime.fromisoformat(end).timestamp() for end in ends), default=None)


def _ordered(troubles: Iterable[TroubleRecord]) -> list[TroubleRecord]:
    rank = {kind: number for number, kind in enumerate(_ORDER)}
    return sorted(troubles, key=lambda trouble: (rank.get(trouble.key.kind, len(rank)), trouble.since_utc, trouble.key))


def _tell_first(
    flow: str,
    troubles: dict[TroubleKey, TroubleRecord],
    recipients: Recipients,
    digest_s: float,
    now_s: float,
    zone: tzinfo | None,
) -> tuple[dict[TroubleKey, TroubleRecord], list[Telling]]:
    """Send new troubles, and those that are good again, while no digest is open."""
    after, tellings = dict(troubles), list[Telling]()
    news, over = list[TroubleRecord](), list[TroubleRecord]()
    for trouble in _ordered(troubles.values()):
        if trouble.is_closed:
            continue
        if trouble.recovered_at_utc is not None:
            after[trouble.key] = replace(trouble, is_closed=True)
            if trouble.told_at_utc is not None or trouble.message_id is not None:
                over.append(trouble)
        elif trouble.told_at_utc is None:
            news.append(trouble)
    for to, group in _by_people(news, recipients):
        message = message_id("trouble", *group[0].key, group[0].since_utc)
        for number, trouble in enumerate(group):
            after[trouble.key] = replace(
                trouble,
                told_at_utc=utc_text(now_s),
                message_id=message,
                digest_until_utc=utc_text(now_s + digest_s) if digest_s and not number else None,
            )
        notices = tuple(notice(trouble, zone) for trouble in group)
        tellings.append(Telling(group[0].key.kind, flow, subject(group[0]), notices, message, to, is_first=True))
    is_all_good = all(trouble.is_closed for trouble in after.values())
    tellings += _recovered(flow, over, recipients, is_all_good=is_all_good, zone=zone)
    return after, tellings


def _end_digest(
    flow: str,
    troubles: dict[TroubleKey, TroubleRecord],
    recipients: Recipients,
    failures: int,
    now_s: float,
    zone: tzinfo | None,
) -> tuple[dict[TroubleKey, TroubleRecord], list[Telling]]:
    """Send what followed the first message as one message, if anything did."""
    opener = next(trouble for trouble in troubles.values() if trouble.digest_until_utc is not None)
    ordered = [trouble for trouble in _ordered(troubles.values()) if not trouble.is_closed]
    ongoing = [trouble for trouble in ordered if trouble.recovered_at_utc is None]
    over = [trouble for trouble in ordered if trouble not in ongoing and (trouble.told_at_utc or trouble.message_id)]
    tellings = _digests(flow, opener, ongoing, recipients, failures, zone)
    tellings += _recovered(flow, over, recipients, is_all_good=not ongoing, zone=zone, failures=failures)
    message = tellings[0].id if tellings else None
    at_utc = utc_text(now_s)
    return {key: _after_digest(trouble, message, recipients, at_utc) for key, trouble in troubles.items()}, tellings


def _after_digest(trouble: TroubleRecord, message: str | None, recipients: Recipients, now_utc: str) -> TroubleRecord:
    is_over = trouble.recovered_at_utc is not None
    if trouble.is_closed or not (is_over or recipients.of(trouble.key.kind)):  # told when somebody is there
        return replace(trouble, digest_until_utc=None)
    return replace(
        trouble,
        told_at_utc=trouble.told_at_utc or now_utc,
        message_id=trouble.message_id or message,
        digest_until_utc=None,
        again=0,
        is_closed=is_over,
    )


def _digests(
    flow: str,
    opener: TroubleRecord,
    ongoing: Sequence[TroubleRecord],
    recipients: Recipients,
    failures: int,
    zone: tzinfo | None,
) -> list[Telling]:
    """The messages of a digest: new and repeated troubles, and how many more runs failed; [] for none."""
    follows = [trouble for trouble in ongoing if trouble.told_at_utc is None or trouble.again]
    more = [trouble for trouble in ongoing if failures and trouble.key == opener.key and opener.key.kind in OF_FAILURES]
    tellings = []
    for to, group in _by_people([trouble for trouble in ongoing if trouble in follows or trouble in more], recipients):
        first = next((trouble for trouble in group if trouble.key.kind in OF_FAILURES), None)
        count = 0 if first is None else failures
        notices = tuple(notice(trouble, zone, more=count if trouble is first else 0) for trouble in group)
        words = digest_subject(flow, [trouble.key.kind for trouble in group if trouble in follows], count)
        message = message_id("digest", *opener.key, opener.since_utc, opener.told_at_utc, *to)
        tellings.append(Telling("digest", flow, words, notices, message, to))
    return tellings


def _recovered(
    flow: str,
    over: Sequence[TroubleRecord],
    recipients: Recipients,
    *,
    is_all_good: bool,
    zone: tzinfo | None,
    failures: int = 0,
) -> list[Telling]:
    tellings = []
    for to, group in _by_people(over, recipients, and_of="recovered"):
        words = (
            f"{flow} has recovered"
            if is_all_good
            else f"{flow}: no longer {', '.join(dict.fromkeys(trouble.key.kind for trouble in group))}"
        )
        if failures:
            words += f", after {plural(failures, 'more failure')}"
        message = message_id("recovered", *group[0].key, group[0].since_utc, group[0].recovered_at_utc)
        notices = tuple(good_again(trouble, zone, is_all_good=is_all_good) for trouble in group)
        tellings.append(Telling("recovered", flow, words, notices, message, to))
    return tellings


def _by_people(
    troubles: Iterable[TroubleRecord], recipients: Recipients, and_of: str | None = None
) -> list[tuple[tuple[str, ...], list[TroubleRecord]]]:
    """The troubles by their recipients; those without any wait until there are some."""
    groups: dict[tuple[str, ...], list[TroubleRecord]] = {}
    for trouble in troubles:
        groups.setdefault(recipients.of(trouble.key.kind, and_of=and_of), []).append(trouble)
    return [(to, group) for to, group in groups.items() if to]
