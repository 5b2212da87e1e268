"""What is to be told now, once: of what is seen of a flow, and what was told before. Pure: values in, values out.

a trouble that is new                told at once; what follows in its flow within `digest` waits
the same trouble again               nothing
more rejected rows than were told    told as a new one
what followed, when `digest` is over one message, when anything did
good again                           told to those who were told of the trouble
nobody to be told                    nothing is kept
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, tzinfo

from data_engine.alerting.wording import digest_subject, good_again, notice, subject
from data_engine.flow.expectation import AlertRule
from data_engine.formatting import plural
from data_engine.ledger.troubles import Trouble, TroubleKey
from data_engine.message import Notice, message_id
from data_engine.model import Run, utc_text
from data_engine.record import frozen
from data_engine.workspace.settings import AlertSettings

MOST_OF_A_FLOW = 20
"""Troubles that are open at once; what differs beyond that is one more trouble."""

MOST_AT_ONCE = 5
"""More first messages than that to the same people at one moment are one message."""

OF_FAILURES = ("failed", "held")
_ORDER = (*OF_FAILURES, "missed", "overlong", "late", "rejected")


@frozen
class Recipients:
    """Who is told of a flow's troubles: the workspace's `[alerts]`, or what the flow says in their place."""

    settings: AlertSettings
    rules: tuple[AlertRule, ...] = ()

    def of(self, kind: str, *, and_of: str | None = None) -> tuple[str, ...]:
        """The secrets of those who are told of this kind (and of the other one too).

        Example:
            >>> settings = AlertSettings(to=("ops",))
            >>> boss = AlertRule(to=("boss",), on=("late",))
            >>> Recipients(settings).of("late"), Recipients(settings, (boss,)).of("late"), Recipients(settings, (boss,)).of("failed")
            (('ops',), ('boss',), ())
        """
        found: dict[str, None] = {}
        for rule in self.rules or (AlertRule(),):
            on = self.settings.on if rule.on is None else rule.on
            if kind in on and (and_of is None or and_of in on):
                found.update(dict.fromkeys(self.settings.to if rule.to is None else rule.to))
        return tuple(found)

    @property
    def are_any(self) -> bool:
        """Whether anybody is told of anything."""
        return any((self.settings.to if rule.to is None else rule.to) for rule in self.rules or (AlertRule(),))


@frozen
class Telling:
    """A message to come: the same `id` whoever decides on it."""

    kind: str
    flow: str | None
    subject: str
    notices: tuple[Notice, ...]
    id: str
    to: tuple[str, ...]
    is_first: bool = False


@frozen
class Decision:
    """What to keep of a flow's troubles, what to tell, and when to decide again by itself (None: when something happens)."""

    changed: tuple[Trouble, ...] = ()
    tellings: tuple[Telling, ...] = ()
    next_s: float | None = None


def decide(
    flow: str,
    known: Iterable[Trouble],
    seen: Sequence[Trouble],
    over: Mapping[TroubleKey, str],
    recipients: Recipients,
    *,
    failures: int,
    now_s: float,
    zone: tzinfo | None = None,
) -> Decision:
    """What to do about one flow now.

    `known` are its troubles as they are kept, `seen` those that are there now as far as they were looked for, `over` says of
    troubles when they ended. `failures` counts the runs that failed since the first message of a digest.
    """
    before = {one.key: one for one in known}
    after = _with_seen(before, seen, recipients, now_s)
    after = _with_over(after, over)
    ends_s = _window_end(after.values())
    digest_s = recipients.settings.digest_s
    tellings: list[Telling] = []
    if ends_s is None or ends_s <= now_s:
        if ends_s is not None:
            after, told = _end_digest(flow, after, recipients, failures, now_s, zone)
        else:
            after, told = _tell_first(flow, after, recipients, digest_s, now_s, zone)
        tellings += told
        ends_s = _window_end(after.values())
    at_utc = utc_text(now_s)
    changed = tuple(replace(one, at_utc=at_utc) for key, one in after.items() if one != before.get(key))
    return Decision(changed, tuple(tellings), ends_s)


def rejection(source: str, run: Run) -> Trouble:
    """That the newest good run of a source rejects rows."""
    rules = Counter[str]()
    for one in run.checks:
        rules[one.rule] += one.failed + one.unknown
    broken = {rule: rows for rule, rows in rules.items() if rows}
    told = ", ".join(f"{rule} {rows:,}" for rule, rows in broken.items())
    detail = f"{plural(run.rejected or 0, 'row')}: {told}"
    said = {"source": run.source, "key": source, "run_id": run.run_id, "detail": detail, "rules": broken}
    return Trouble(TroubleKey(run.flow, "rejected", error_type=source), run.last_at_utc, said)


def gathered(tellings: Sequence[Telling], workspace: str) -> list[Telling]:
    """The tellings, the first messages to the same people as one where many flows fail at one moment."""
    by_people: dict[tuple[str, ...], list[Telling]] = {}
    for one in tellings:
        if one.is_first:
            by_people.setdefault(one.to, []).append(one)
    found = [one for one in tellings if not one.is_first or len(by_people[one.to]) <= MOST_AT_ONCE]
    for to, many in by_people.items():
        if len(many) > MOST_AT_ONCE:
            notices = tuple(notice for one in many for notice in one.notices)
            flows = len({one.flow for one in many})
            words = f"{workspace}: trouble in {flows:,} flows"
            found.append(
                Telling("digest", None, words, notices, message_id("many", *(one.id for one in many)), to, True)
            )
    return found


def _with_seen(
    known: Mapping[TroubleKey, Trouble], seen: Iterable[Trouble], recipients: Recipients, now_s: float
) -> dict[TroubleKey, Trouble]:
    after = dict(known)
    for one in seen:
        if not recipients.of(one.key.kind):
            continue
        key = one.key
        is_open = key in after and not after[key].is_closed
        if not is_open and sum(not other.is_closed for other in after.values()) >= MOST_OF_A_FLOW:
            key = TroubleKey(key.flow, key.kind, error_type="and others")
        before = after.get(key)
        if before is None or before.is_closed:
            after[key] = replace(one, key=key, digest_until_utc=None if before is None else before.digest_until_utc)
        elif (more := _more_rejected(before, one)) is not None:
            after[key] = more
        elif before.recovered_at_utc is not None and one.since_utc > before.recovered_at_utc:
            after[key] = replace(before, recovered_at_utc=None, again=before.again + 1)
    return after


def _more_rejected(before: Trouble, seen: Trouble) -> Trouble | None:
    """The trouble as it is to be told again, where a later run rejects more rows by one of the rules than people were told of."""
    told = before.detail.get("rules")
    if before.key != seen.key or seen.key.kind != "rejected" or not isinstance(told, dict):
        return None
    rules: dict[str, int] = {rule: rows for rule, rows in told.items() if isinstance(rows, int)}
    if all(rows <= rules.get(rule, 0) for rule, rows in seen.detail["rules"].items()):
        return None
    most = dict(Counter(rules) | Counter(seen.detail["rules"]))
    said = {**seen.detail, "rules": most}
    return replace(before, since_utc=seen.since_utc, detail=said, told_at_utc=None, recovered_at_utc=None)


def _with_over(known: Mapping[TroubleKey, Trouble], over: Mapping[TroubleKey, str]) -> dict[TroubleKey, Trouble]:
    return {
        key: replace(one, recovered_at_utc=over[key])
        if key in over and not one.is_closed and one.recovered_at_utc is None and one.since_utc <= over[key]
        else one
        for key, one in known.items()
    }


def _window_end(troubles: Iterable[Trouble]) -> float | None:
    ends = [one.digest_until_utc for one in troubles if one.digest_until_utc is not None]
    return max((datetime.fromisoformat(end).timestamp() for end in ends), default=None)


def _ordered(troubles: Iterable[Trouble]) -> list[Trouble]:
    order = {kind: number for number, kind in enumerate(_ORDER)}
    return sorted(troubles, key=lambda one: (order.get(one.key.kind, len(order)), one.since_utc, one.key))


def _tell_first(
    flow: str,
    known: dict[TroubleKey, Trouble],
    recipients: Recipients,
    digest_s: float,
    now_s: float,
    zone: tzinfo | None,
) -> tuple[dict[TroubleKey, Trouble], list[Telling]]:
    """Tell what is new, and what is good again, while nothing waits for a digest."""
    after, tellings = dict(known), list[Telling]()
    news, over = list[Trouble](), list[Trouble]()
    for one in _ordered(known.values()):
        if one.is_closed:
            continue
        if one.recovered_at_utc is not None:
            after[one.key] = replace(one, is_closed=True)
            if one.told_at_utc is not None or one.message_id is not None:
                over.append(one)
        elif one.told_at_utc is None:
            news.append(one)
    for to, ones in _by_people(news, recipients):
        told = message_id("trouble", *ones[0].key, ones[0].since_utc)
        for number, one in enumerate(ones):
            after[one.key] = replace(
                one,
                told_at_utc=utc_text(now_s),
                message_id=told,
                digest_until_utc=utc_text(now_s + digest_s) if digest_s and not number else None,
            )
        notices = tuple(notice(one, zone) for one in ones)
        tellings.append(Telling(ones[0].key.kind, flow, subject(ones[0]), notices, told, to, is_first=True))
    is_all_good = all(one.is_closed for one in after.values())
    tellings += _recovered(flow, over, recipients, is_all_good=is_all_good, zone=zone)
    return after, tellings


def _end_digest(
    flow: str,
    known: dict[TroubleKey, Trouble],
    recipients: Recipients,
    failures: int,
    now_s: float,
    zone: tzinfo | None,
) -> tuple[dict[TroubleKey, Trouble], list[Telling]]:
    """Tell as one what has followed the first message, when anything did."""
    opener = next(one for one in known.values() if one.digest_until_utc is not None)
    ordered = [one for one in _ordered(known.values()) if not one.is_closed]
    there = [one for one in ordered if one.recovered_at_utc is None]
    over = [one for one in ordered if one.recovered_at_utc is not None and (one.told_at_utc or one.message_id)]
    tellings = _digests(flow, opener, there, recipients, failures, zone)
    tellings += _recovered(flow, over, recipients, is_all_good=not there, zone=zone, failures=failures)
    told = tellings[0].id if tellings else None
    return {key: _after_digest(one, told, recipients, utc_text(now_s)) for key, one in known.items()}, tellings


def _after_digest(one: Trouble, message: str | None, recipients: Recipients, now_utc: str) -> Trouble:
    is_over = one.recovered_at_utc is not None
    if one.is_closed or not (is_over or recipients.of(one.key.kind)):  # nobody any more; told when somebody is there
        return replace(one, digest_until_utc=None)
    return replace(
        one,
        told_at_utc=one.told_at_utc or now_utc,
        message_id=one.message_id or message,
        digest_until_utc=None,
        again=0,
        is_closed=is_over,
    )


def _digests(
    flow: str,
    opener: Trouble,
    there: Sequence[Trouble],
    recipients: Recipients,
    failures: int,
    zone: tzinfo | None,
) -> list[Telling]:
    """What is new or came again of the troubles that are there, and how many runs failed besides; [] where nothing did."""
    follows = [one for one in there if one.told_at_utc is None or one.again]
    counted = [one for one in there if failures and one.key == opener.key and one.key.kind in OF_FAILURES]
    found = []
    for to, ones in _by_people([one for one in there if one in follows or one in counted], recipients):
        first = next((one for one in ones if one.key.kind in OF_FAILURES), None)
        count = 0 if first is None else failures
        notices = tuple(notice(one, zone, more=count if one is first else 0) for one in ones)
        words = digest_subject(flow, [one.key.kind for one in ones if one in follows], count)
        told = message_id("digest", *opener.key, opener.since_utc, opener.told_at_utc, *to)
        found.append(Telling("digest", flow, words, notices, told, to))
    return found


def _recovered(
    flow: str,
    over: Sequence[Trouble],
    recipients: Recipients,
    *,
    is_all_good: bool,
    zone: tzinfo | None,
    failures: int = 0,
) -> list[Telling]:
    found = []
    for to, ones in _by_people(over, recipients, and_of="recovered"):
        words = (
            f"{flow} has recovered"
            if is_all_good
            else f"{flow}: no longer {', '.join(dict.fromkeys(o.key.kind for o in ones))}"
        )
        if failures:
            words += f", after {plural(failures, 'more failure')}"
        told = message_id("recovered", *ones[0].key, ones[0].since_utc, ones[0].recovered_at_utc)
        notices = tuple(good_again(one, zone, is_all_good=is_all_good) for one in ones)
        found.append(Telling("recovered", flow, words, notices, told, to))
    return found


def _by_people(
    troubles: Iterable[Trouble], recipients: Recipients, and_of: str | None = None
) -> list[tuple[tuple[str, ...], list[Trouble]]]:
    """The troubles by who is told of them; of what nobody is told now people are told when somebody is there again."""
    found: dict[tuple[str, ...], list[Trouble]] = {}
    for one in troubles:
        found.setdefault(recipients.of(one.key.kind, and_of=and_of), []).append(one)
    return [(to, ones) for to, ones in found.items() if to]
