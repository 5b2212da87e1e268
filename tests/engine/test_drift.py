"""The decision what of a frame's columns is not as before, over any frames."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from data_engine import Workspace
from data_engine.ledger.feed_schemas import KnownFrames, known_frames
from data_engine.ledger.ledger import Ledger
from data_engine.ledger.rows import drift_as_text, drift_of, frames_as_text, frames_of
from data_engine.model import FeedSchema, Frame, RunFinished, RunSpent, RunStarted
from data_engine.planning.drift import difference, drift
from tests.support import examples

NAMES = st.sampled_from(["day", "Day", "day ", "fare", "carrier", "ü", "\ufeffday"])
TYPES = st.sampled_from(["Int64", "String", "Float64"])
COLUMNS = st.dictionaries(NAMES, TYPES, max_size=5).map(lambda columns: tuple(columns.items()))


RAW = st.just("raw")


def frames(names: st.SearchStrategy[str] = RAW) -> st.SearchStrategy[Frame]:
    return st.builds(Frame, names, st.sampled_from(["c0de", "0ther"]), COLUMNS)


KNOWN = st.lists(
    st.builds(KnownFrames, st.lists(frames(), max_size=2).map(tuple), st.none() | st.just("a.csv")), max_size=4
)


@given(frames(), frames())
@settings(max_examples=examples(200))
def test_a_difference_leads_from_one_frame_to_the_other(before: Frame, now: Frame) -> None:
    """And there is none where both have the same columns."""
    change = difference(before, now)

    columns = dict(before.columns)
    if change is not None:
        assert change.text
        for name in change.gone:
            del columns[name]
        for name, was, kind in change.retyped:
            assert columns[name] == was
            columns[name] = kind
        columns |= {name: dict(now.columns)[name] for name in change.new}
    assert columns == dict(now.columns)


@given(frames(), st.data())
@settings(max_examples=examples(100))
def test_the_order_of_columns_is_no_difference(frame: Frame, data: st.DataObject) -> None:
    other = frame._replace(columns=tuple(data.draw(st.permutations(frame.columns))))

    assert difference(frame, other) is None


@given(frames(), KNOWN)
@settings(max_examples=examples(200))
def test_drift_is_what_no_run_had_after_the_same_steps(frame: Frame, known: list[KnownFrames]) -> None:
    like = [other for run in known for other in run.frames if other[:2] == frame[:2]]

    found = drift([frame], known)

    assert bool(found) == (bool(like) and all(dict(other.columns) != dict(frame.columns) for other in like))


@given(st.lists(st.lists(frames(st.sampled_from(["raw", "tidy"])), max_size=2).map(tuple), max_size=8))
@settings(max_examples=examples(200))
def test_each_change_is_told_once_however_runs_alternate(runs: list[tuple[Frame, ...]]) -> None:
    """No set of frames drifts a second time, and nothing of one run is said twice."""
    known: list[KnownFrames] = []
    told: list[Any] = []
    for run in runs:
        changes = drift(run, known)
        parts = [(kind, part) for change in changes for kind in ("gone", "new", "retyped") for part in change[kind]]
        assert len(parts) == len(set(parts))
        told += [run] if changes else []
        known.insert(0, KnownFrames(run))
    assert len(told) == len(set(told))


@given(st.lists(frames(), min_size=1, max_size=3).map(tuple))
@settings(max_examples=examples(100))
def test_frames_and_changes_are_read_as_they_were_written(given_frames: tuple[Frame, ...]) -> None:
    changes = [change for frame in given_frames if (change := difference(Frame("raw", "", ()), frame))]

    assert frames_of(frames_as_text(given_frames)) == given_frames
    assert list(drift_of(drift_as_text(changes))) == changes


def good_run(ledger: Ledger, number: int, digest: str, sent: tuple[Frame, ...] | None) -> list[Any]:
    run_id = f"{number:032x}"
    spent = RunSpent(schema=FeedSchema(digest, sent))
    return [
        RunStarted(run_id, "flights", "G", None, float(number)),
        RunFinished(run_id, "success", float(number), 0.0, spent=spent),
    ]


def test_a_hundred_thousand_runs_of_one_schema_are_one_row(tmp_path: Any) -> None:
    """And what they had is found at once, beside the other one of a supplier who came once."""
    ledger = Workspace.create(tmp_path / "ws").home.ledger()
    raw = (Frame("raw", "c0de", (("day", "Date"),)),)
    other = (Frame("raw", "c0de", (("date", "Date"),)),)
    for start in range(0, 100_000, 10_000):
        events = [
            event
            for number in range(start, start + 10_000)
            for event in good_run(ledger, number, "a", raw if not number else None)
        ]
        ledger.record(*events)
    ledger.record(*good_run(ledger, 100_000, "b", other))

    assert ledger.rows("SELECT count(*), sum(length(frames)) < 200 FROM frame_schemas") == [(2, 1)]
    assert [run.frames for run in known_frames(ledger, "flights")] == [other, raw]
