"""What is due and why: each case is a sentence, judged from plain values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_engine import Flow
from data_engine.model import RunFinished, SeenSource, Signature, SourceKey, SourceState, Switch, utc_text
from data_engine.planning.due import (
    Due,
    NotDue,
    PlannedFlow,
    SeenFile,
    SourceRules,
    Verdict,
    is_same_time,
    judge,
    judge_batch,
    next_in_group,
    state_after,
    why_blocked,
    why_no_candidate,
)
from data_engine.reasons.kinds import (
    Changed,
    Disabled,
    Done,
    EngineOff,
    Freed,
    Held,
    Interrupted,
    Locked,
    MayBeOutput,
    NameFiltered,
    NeedsHash,
    New,
    NoFiles,
    NotListed,
    OwnedElsewhere,
    OwnOutput,
    Retried,
    RetryLater,
    Settling,
    WaitsForSettling,
)
from data_engine.reasons.remedies import Reason

POLL: dict[str, Any] = {"mode": "poll", "source": "/in", "interval": "30s"}
WATCH = PlannedFlow.of(Flow("G", "claims").watch(**POLL, settle=2))
KEY = WATCH.key("a.csv")
OLD, NEW = Signature(5, 1_700_000_000_123_456_789), Signature(6, 1_700_000_050_123_456_789)
TOUCHED = Signature(5, 1_700_000_099_987_654_321)
NOON_S = 1_700_000_000.0


class Seen(NamedTuple):
    key: SourceKey
    file: SeenFile
    output: OwnOutput | MayBeOutput | None = None


def seen(
    signature: Signature = OLD,
    *,
    quiet_s: float = 60.0,
    key: SourceKey = KEY,
    is_output: bool = False,
    locked_by: str | None = None,
) -> Seen:
    file = SeenFile(signature, 100.0, 100.0 + quiet_s, locked_by=locked_by)
    return Seen(key, file, OwnOutput() if is_output else None)


def state(status: str, last: Signature = OLD, **changes: Any) -> SourceState:
    good = {"success": last, "success_run_id": "r1", "success_at_utc": utc_text(NOON_S)} if status == "success" else {}
    known = {"last_run_id": "r1", "last_at_utc": utc_text(NOON_S), **good, **changes}
    return SourceState("claims", KEY, status, last, **known)


def plan_sources(
    planned: PlannedFlow,
    candidates: Sequence[Seen],
    states: Mapping[SourceKey, SourceState],
    rules: SourceRules,
    *,
    now_s: float,
) -> list[Verdict]:
    """A verdict for each candidate of a poll flow, in their order; for a batch the one of its folder."""
    settle_s = 2.0
    verdicts = [
        judge(key, file, states.get(key), rules, settle_s=settle_s, now_s=now_s, output=output)
        for key, file, output in candidates
    ]
    if planned.trigger != BATCH.trigger:
        return verdicts
    seen = (SeenSource(key, file.signature) for key, file, output in candidates if output is None or key in states)
    return [judge_batch(planned.key(""), verdicts, seen)]


def why(candidate: Seen, known: SourceState | None, *, now_s: float = NOON_S, **rules: Any) -> Reason:
    states = {} if known is None else {KEY: known}
    (verdict,) = plan_sources(WATCH, [candidate], states, SourceRules(**rules), now_s=now_s)
    assert verdict.key == KEY
    if isinstance(verdict, Due):
        assert verdict.seen == (SeenSource(KEY, candidate.file.signature),)
    return verdict.why


HELD = Held(utc_text(NOON_S), "failed", "boom")


@pytest.mark.parametrize(
    ("candidate", "known", "reason"),
    [
        pytest.param(seen(), None, New(), id="a file nobody has run is due"),
        pytest.param(seen(quiet_s=1.5), None, Settling(0.5), id="not before it was quiet for the settle time"),
        pytest.param(seen(quiet_s=2.0), None, New(), id="exactly the settle time is enough"),
        pytest.param(seen(), state("success"), Done("r1", utc_text(NOON_S)), id="done when equal to the last good run"),
        pytest.param(
            seen(quiet_s=0), state("success"), Done("r1", utc_text(NOON_S)), id="what is done need not settle again"
        ),
        pytest.param(seen(NEW), state("success"), Changed(), id="due again when it changed"),
        pytest.param(seen(NEW, quiet_s=1), state("success"), Settling(1.0), id="a change settles as well"),
        pytest.param(seen(locked_by="Excel"), None, Locked("Excel"), id="what nobody may read now is not due"),
        pytest.param(
            seen(quiet_s=0, locked_by="Excel"), None, Locked("Excel"), id="who locks it is told, not how long"
        ),
        pytest.param(
            seen(locked_by="Excel"), state("success"), Done("r1", utc_text(NOON_S)), id="done also while it is locked"
        ),
        pytest.param(seen(TOUCHED), state("success"), Changed(), id="touched is changed where signatures decide"),
        pytest.param(seen(), state("failed", error="boom\n  where: x"), HELD, id="failed and unchanged is held"),
        pytest.param(seen(), state("stopped"), Held(utc_text(NOON_S), "stopped"), id="stopped is held, never done"),
        pytest.param(seen(), state("killed"), Held(utc_text(NOON_S), "killed"), id="killed is held"),
        pytest.param(seen(NEW), state("failed"), Changed(), id="a held file that changes is due"),
        pytest.param(
            seen(),
            state("failed", success=OLD, error="boom"),
            HELD,
            id="held also when an earlier run of the same content was good",
        ),
        pytest.param(
            seen(OLD),
            state("failed", NEW, success=OLD, success_run_id="r0", success_at_utc=utc_text(1.0)),
            Done("r0", utc_text(1.0)),
            id="restored to what the last good run read: done",
        ),
        pytest.param(
            seen(), state("abandoned", abandoned_in_a_row=1), Interrupted(), id="abandoned once is due at once"
        ),
        pytest.param(
            seen(),
            state("abandoned", abandoned_in_a_row=2),
            Held(utc_text(NOON_S), "abandoned"),
            id="abandoned twice in a row is held",
        ),
        pytest.param(seen(is_output=True), None, OwnOutput(), id="what the flow wrote itself is no source"),
        pytest.param(
            seen(is_output=True),
            state("success"),
            Done("r1", utc_text(NOON_S)),
            id="a source that a step also returned stays a source",
        ),
    ],
)
def test_a_source_is_due_or_not(candidate: Seen, known: SourceState | None, reason: Reason) -> None:
    assert why(candidate, known) == reason


def test_a_held_source_is_freed_by_the_id_of_its_bad_run() -> None:
    """So the next bad run holds it again, whatever the clocks say."""
    failed = state("failed", last_run_id="r7")

    assert why(seen(), failed, freed=frozenset({"r7"})) == Freed("failed")
    assert isinstance(why(seen(), failed._replace(last_run_id="r8"), freed=frozenset({"r7"})), Held)


def test_twice_abandoned_is_freed_by_a_person() -> None:
    assert why(seen(), state("abandoned", abandoned_in_a_row=2), freed=frozenset({"r1"})) == Freed("abandoned")


@pytest.mark.parametrize(
    ("failures", "after_s", "reason"),
    [
        (1, 29.0, RetryLater(utc_text(NOON_S + 30), 1, 2, "boom")),
        (1, 30.0, Retried(1, 2)),
        (2, 59.0, RetryLater(utc_text(NOON_S + 60), 2, 2, "boom")),
        (2, 60.0, Retried(2, 2)),
        (3, 9999.0, HELD),
        (0, 9999.0, HELD),
    ],
)
def test_retries_wait_twice_as_long_each_time_and_end(failures: int, after_s: float, reason: Reason) -> None:
    """A failure count of 0 is a bad end that retries do not count, such as a stop."""
    known = state("failed", error="boom")

    assert why(seen(), known, now_s=NOON_S + after_s, failures={KEY: failures}, retries=2) == reason


HASHED = state("success", OLD._replace(content_hash="aa"))


@pytest.mark.parametrize(
    ("candidate", "known", "reason"),
    [
        pytest.param(seen(), HASHED, Done("r1", utc_text(NOON_S)), id="no hash is needed where nothing moved"),
        pytest.param(seen(TOUCHED), HASHED, NeedsHash(), id="a touched file is hashed"),
        pytest.param(seen(TOUCHED, quiet_s=1), HASHED, Settling(1.0), id="not before it has settled"),
        pytest.param(
            seen(TOUCHED._replace(content_hash="aa")), HASHED, Done("r1", utc_text(NOON_S)), id="equal content is done"
        ),
        pytest.param(seen(TOUCHED._replace(content_hash="bb")), HASHED, Changed(), id="other content is due"),
        pytest.param(seen(NEW._replace(content_hash="aa")), HASHED, Changed(), id="another size is other content"),
        pytest.param(seen(NEW), HASHED, NeedsHash(), id="a run is recorded with the hash of what it read"),
        pytest.param(seen(), None, NeedsHash(), id="also the first"),
        pytest.param(
            seen(TOUCHED._replace(content_hash="aa")),
            state("failed", OLD._replace(content_hash="aa"), error="boom"),
            HELD,
            id="touching a held file frees nothing",
        ),
        pytest.param(
            seen(TOUCHED._replace(content_hash="aa")),
            state("success"),
            Changed(),
            id="without an old hash time decides",
        ),
    ],
)
def test_where_content_decides(candidate: Seen, known: SourceState | None, reason: Reason) -> None:
    assert why(candidate, known, by_content=True) == reason


@pytest.mark.parametrize(
    ("one", "other", "is_same"),
    [
        pytest.param(1_700_000_000_123_456_789, 1_700_000_000_123_456_700, True, id="a server with 100 ns"),
        pytest.param(1_700_000_000_123_456_789, 1_700_000_000_000_000_000, True, id="a server with seconds, cut off"),
        pytest.param(1_700_000_000_923_456_789, 1_700_000_001_000_000_000, True, id="a server with seconds, rounded"),
        pytest.param(1_700_000_000_000_000_000, 1_700_000_001_000_000_000, False, id="two whole seconds"),
        pytest.param(1_700_000_000_123_456_789, 1_700_000_000_123_456_788, False, id="both fine"),
        pytest.param(1_700_000_000_123_000_000, 1_700_000_000_125_000_000, False, id="both with milliseconds"),
        pytest.param(0, 0, True, id="no time at all"),
    ],
)
def test_times_compare_at_the_coarser_granularity(one: int, other: int, is_same: bool) -> None:
    assert is_same_time(one, other) is is_same
    assert is_same_time(other, one) is is_same


@given(st.integers(0, 2**62), st.sampled_from([1, 100, 1_000, 1_000_000, 1_000_000_000]))
def test_a_rounded_copy_of_a_time_is_the_same_time(time_ns: int, unit_ns: int) -> None:
    assert is_same_time(time_ns, time_ns // unit_ns * unit_ns)


# -- batches ------------------------------------------------------------------------------------------------------

BATCH = PlannedFlow.of(Flow("G", "claims").watch(**POLL, settle=2, run_as="batch"))
B = BATCH.key("b.csv")


def batch(*candidates: Seen, states: dict[SourceKey, SourceState] | None = None) -> Verdict:
    (verdict,) = plan_sources(BATCH, candidates, states or {}, SourceRules(), now_s=NOON_S)
    return verdict


def test_a_batch_settles_exactly_the_candidates_it_started_with() -> None:
    """Those that are done as well: one run stands for the whole folder."""
    verdict = batch(seen(), seen(NEW, key=B), states={KEY: state("success")})

    assert verdict == Due(BATCH.key(""), New(), (SeenSource(KEY, OLD), SeenSource(B, NEW)))


def test_a_batch_waits_while_any_candidate_settles() -> None:
    assert batch(seen(), seen(NEW, quiet_s=0.5, key=B)) == NotDue(BATCH.key(""), WaitsForSettling(1, 1.5))


def test_a_batch_waits_for_a_candidate_that_nobody_may_read_now() -> None:
    assert batch(seen(), seen(NEW, key=B, locked_by="Excel")) == NotDue(BATCH.key(""), Locked("Excel"))


def test_a_batch_whose_files_are_done_is_done() -> None:
    """A deletion makes nothing due: what is gone is no candidate."""
    assert batch(seen(), states={KEY: state("success"), B: state("success")}) == NotDue(
        BATCH.key(""), Done("r1", utc_text(NOON_S))
    )


def test_a_batch_without_files_has_nothing_to_run() -> None:
    assert batch() == NotDue(BATCH.key(""), NoFiles())


def test_a_failed_batch_is_held() -> None:
    assert batch(seen(), states={KEY: state("failed", error="boom")}) == NotDue(BATCH.key(""), HELD)


def test_a_batch_takes_no_file_the_flow_wrote() -> None:
    verdict = batch(seen(), seen(key=B, is_output=True))

    assert isinstance(verdict, Due)
    assert verdict.seen == (SeenSource(KEY, OLD),)


# -- around -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "why"),
    [
        ("a.csv", None),
        ("deep/a.CSV", None),
        ("a.csv.gz", None),
        ("a.xlsx", NotListed((".csv", ".csv.gz"))),
        ("~$a.csv", NameFiltered("~$a.csv")),
        ("a.csv.part", NameFiltered("a.csv.part")),
        (".git/a.csv", NameFiltered(".git")),
        ("out/a.csv", OwnOutput()),
    ],
)
def test_a_name_alone_can_rule_a_file_out(path: str, why: Reason | None) -> None:
    flow = Flow("G", "claims").watch(**POLL, extensions=[".csv", "csv.gz"]).mirror(root="/in/out")

    assert why_no_candidate(PlannedFlow.of(flow), path) == why


def test_a_source_inside_the_mirror_is_no_output() -> None:
    """Only a mirror inside the source rules out what lies under it."""
    flow = Flow("G", "claims").watch(**POLL).mirror(root="/")

    assert why_no_candidate(PlannedFlow.of(flow), "a.csv") is None


def test_what_blocks_a_whole_flow_is_named() -> None:
    anna = OwnedElsewhere("anna", is_engine_on=True)
    assert why_blocked(Switch(False)) == Disabled()
    assert why_blocked(Switch(), unasked=anna) == anna
    assert why_blocked(None, is_engine_on=False) == EngineOff()
    assert why_blocked(None) is None


def test_the_flow_whose_turn_is_longest_ago_is_next() -> None:
    """A busy folder has its turn, then every other flow that waits, then again."""
    turns: dict[str, int] = {}
    order = []
    for number in range(1, 7):
        waiting = ["busy", "other"] if number < 3 else ["busy", "other", "nightly"]
        name = next_in_group(waiting, turns)
        assert name is not None
        turns[name] = number
        order.append(name)

    assert order == ["busy", "other", "nightly", "busy", "other", "nightly"]
    assert next_in_group([], turns) is None


def test_planning_needs_no_code_of_the_author() -> None:
    """So the daemon can plan what a worker has described."""
    import pickle

    watch = PlannedFlow.of(Flow("G", "claims").watch(**POLL).step(lambda context: 1).mirror(root="/out"))

    assert pickle.loads(pickle.dumps(watch)) == watch
    assert watch.mirror == Path("/out").resolve()


def test_abandoned_ends_are_counted_in_a_row() -> None:
    known = None
    counts = []
    for status in ("abandoned", "abandoned", "success", "abandoned"):
        known = state_after(known, "claims", SeenSource(KEY, OLD), RunFinished("r", status, NOON_S, 1.0))
        counts.append(known.abandoned_in_a_row)

    assert counts == [1, 2, 0, 1]
