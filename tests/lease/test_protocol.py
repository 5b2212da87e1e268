"""The decisions of the protocol as plain values: limits, records, the rule of silence, folding."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_engine.errors import FlowValidationError
from data_engine.lease.protocol import (
    FORMAT,
    Damaged,
    Fold,
    Generation,
    HandoverRequest,
    Identity,
    LeaseRecord,
    Limits,
    NewerFormat,
    Observed,
    Segment,
    folded,
    is_of_this_machine,
    next_generation,
    observe,
)
from data_engine.lease.records import decode, digest, encode, generation_of, lease_of, request_of

A = Identity("A", "A1", "ANNA-PC", 7, "1.0", "lock-A", "host-A")
LIMITS = Limits(30, 90)
SEGMENTS = tuple(Segment(f"{n:010d}-{letter}.parquet", n, "00" * 8) for n, letter in enumerate("abcde"))
CLAIM = Generation(4, "claim", 4, "n4", A, True, LIMITS, files={"runs": SEGMENTS})


@pytest.mark.parametrize(
    ("heartbeat_s", "stale_after_s"),
    [(0, 90), (-1, 90), (31, 90), (30, 0), (math.nan, 90), (30, math.nan), (30, math.inf), ("30", 90), (None, None)],
)
def test_limits_that_cannot_hold_are_refused(heartbeat_s: float, stale_after_s: float) -> None:
    """Three heartbeats must fit into the threshold."""
    with pytest.raises(FlowValidationError, match="cannot be combined"):
        Limits(heartbeat_s, stale_after_s)


@given(st.floats(0.01, 1e5), st.floats(1.0, 100.0))
def test_every_limit_scales_so_that_the_margins_stay(heartbeat_s: float, ratio: float) -> None:
    """Clocks that run 10 % apart never let an owner work while an observer may take over, whatever the settings."""
    limits = Limits(heartbeat_s, 3 * heartbeat_s * ratio)

    assert limits.heartbeat_s < limits.renew_after_s < limits.work_deadline_s < limits.stale_after_s
    assert limits.work_deadline_s / 0.9 < limits.stale_after_s / 1.1
    seen_within_s = limits.stale_after_s * 2 / 9
    assert limits.renew_after_s / 0.9 + seen_within_s + limits.poll_s <= limits.stale_after_s / 1.1 * 1.0001
    assert limits.poll_s < limits.max_gap_s


def test_an_entry_comes_back_as_it_was_written() -> None:
    """Every field survives the share."""
    generation = replace(CLAIM, handoff_to="B", handoff_name="BERT-PC", at_utc="2026-01-01T00:00:00+00:00")

    assert generation_of(encode(generation.record()), 4) == generation


def test_fields_nobody_knows_are_ignored() -> None:
    """An older Data Engine reads what a newer one of the same format wrote."""
    record = CLAIM.record() | {"colour": "blue"}
    record["files"]["later_table"] = [["0000000004-x.parquet", 1, "00" * 8]]

    generation = generation_of(encode(record), 4)

    assert replace(generation, files={"runs": SEGMENTS}) == CLAIM
    assert next_generation(generation, "commit", A, "n5", "").files["later_table"][0].name == "0000000004-x.parquet"


def test_a_higher_format_is_told_with_its_version() -> None:
    """It is not taken for damage that could be repaired."""
    record = CLAIM.record() | {"format": FORMAT + 1, "app_version": "9.1", "files": "another shape"}

    with pytest.raises(NewerFormat, match=r"generation 4 was written by Data Engine 9\.1"):
        generation_of(encode(record), 4)


@pytest.mark.parametrize(
    "changes",
    [
        {"number": 5},
        {"kind": "surprise"},
        {"token": "4"},
        {"token": 5},
        {"token": 2**62},
        {"kind": "commit", "token": -1},
        {"kind": ["claim"]},
        {"pid": True},
        {"pid": 1e300},
        {"beat": None, "pid": None},
        {"engine_on": 1},
        {"nonce": "x" * 1001},
        {"host_name": "PC\x1b[2J"},
        {"host_name": "PC\udc80"},
        {"host_name": {}},
        {"handoff_to": ["B"]},
        {"files": {"runs": [["0000000004-x.parquet", 1, "00" * 8]] * 20_001}},
        {"files": {f"t{n}": [] for n in range(20_001)}},
        {"files": {"runs": {"0000000004-x.parquet": [1, "00" * 8]}}},
        {"files": {"runs": ["0000000004-x.parquet"]}},
        {"files": {"runs": [["0000000004-x.parquet", 2**40, "00" * 8]]}},
        {"files": {"runs": [["0000000004-x.parquet", -1, "00" * 8]]}},
        {"files": {"runs": [["0000000004-x.parquet", True, "00" * 8]]}},
        {"files": {"runs": [["0000000004-x.parquet", 1, "../../etc/passwd"]]}},
        {"files": {"runs": [["0000000004-" + "x" * 65 + ".parquet", 1, "00" * 8]]}},
        {"files": {"runs": [["٠000000004-x.parquet", 1, "00" * 8]]}},
        {"files": {"runs": [[["0000000004-x.parquet"], 1, "00" * 8]]}},
        {"files": []},
        {"files": {"runs": [["0000000004-x.parquet", 1]]}},
        {"files": {"runs": [["../../0000000004-x.parquet", 1, "00" * 8]]}},
        {"files": {"../runs": [["0000000004-x.parquet", 1, "00" * 8]]}},
        {"files": {"runs": [["0000000004-x.parquet", "many", "00" * 8]]}},
        {"heartbeat_s": -1},
        {"stale_after_s": "soon"},
        {"stale_after_s": 1e9},
        {"heartbeat_s": 10**400, "stale_after_s": 10**401},
        {"heartbeat_s": True},
    ],
)
def test_what_is_no_entry_is_damaged(changes: dict[str, object]) -> None:
    """A right checksum over a wrong content, also one that points outside its folder, is never believed."""
    with pytest.raises(Damaged):
        generation_of(encode(CLAIM.record() | changes), 4)


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_damaged(data: bytes) -> None:
    """Nothing else leaks."""
    with pytest.raises(Damaged):
        decode(data)


@given(st.integers(0, 400), st.integers(1, 255))
def test_one_changed_byte_is_noticed(at: int, change: int) -> None:
    """The checksum covers all of the entry."""
    data = bytearray(encode(CLAIM.record()))
    data[at % len(data)] ^= change

    with pytest.raises(Damaged):
        generation_of(bytes(data), 4)


NOTICE = {"workspace": "w", "beat": 1}


@pytest.mark.parametrize(
    "changes",
    [
        {"beat": "x"},
        {"beat": 2**62},
        {"beat": -1},
        {"beat": True},
        {"beat": 1.5},
        {"workspace": []},
        {"workspace": "w\n"},
    ],
)
def test_a_heartbeat_or_request_that_is_none_is_damaged(changes: dict[str, object]) -> None:
    """Neither has a right to break anybody's look."""
    with pytest.raises(Damaged):
        request_of(encode(NOTICE | {"request_id": "r", "requester_machine_id": "B"} | changes))
    with pytest.raises(Damaged):
        lease_of(encode(NOTICE | {"token": 4, "machine_id": "A"} | changes))


@pytest.mark.parametrize(
    "changes", [{}, {"request_id": 4}, {"requester_pid": "1"}, {"requester_host_name": "x" * 1001}]
)
def test_a_request_needs_all_it_has(changes: dict[str, object]) -> None:
    """Who asks, and by which id."""
    record = NOTICE | ({"request_id": "r", "requester_machine_id": "B"} | changes if changes else {})
    with pytest.raises(Damaged):
        request_of(encode(record))


@pytest.mark.parametrize("changes", [{}, {"token": None}, {"stale_after_s": 1e12}, {"stale_after_s": -1}])
def test_a_heartbeat_needs_all_it_has(changes: dict[str, object]) -> None:
    """Whose it is, and what it makes a repair wait for is a day at most."""
    record = NOTICE | ({"token": 4, "machine_id": "A"} | changes if changes else {})
    with pytest.raises(Damaged):
        lease_of(encode(record))


@pytest.mark.parametrize(
    "body",
    [
        b"[" * 500_000,
        b'{"a":' * 200_000,
        b'{"number":' + b"9" * 100_000 + b"}",
        b'{"stale_after_s":NaN}',
        b'{"stale_after_s":-Infinity}',
        b'{"host_name":"' + b"x" * 5_000_000 + b'"}',
        b"\xff\xfe",
    ],
    ids=["deep list", "deep object", "long number", "no number", "infinite", "large", "no text"],
)
def test_a_record_made_to_hurt_is_damaged(body: bytes) -> None:
    """With its right checksum: nested too deep, too long, or no JSON."""
    data = digest(body).encode() + b"\n" + body

    for read in (decode, lease_of, request_of, lambda data: generation_of(data, 4)):
        with pytest.raises(Damaged) as caught:
            read(data)
        assert len(str(caught.value)) < 300


def test_an_entry_that_nobody_would_read_is_not_written() -> None:
    """The owner notices before it is published."""
    with pytest.raises(Damaged, match="would list 20,001 files"):
        next_generation(CLAIM, "commit", A, "n5", "", files={"runs": SEGMENTS[:1] * 20_001})


def test_records_are_json_that_people_can_read() -> None:
    """One line of checksum, one of JSON."""
    head, body = encode(CLAIM.record()).decode().split("\n")

    assert (len(head), json.loads(body)["host_name"], json.loads(body)["format"]) == (16, "ANNA-PC", 4)


def test_a_claim_inherits_all_but_the_token_and_the_limits() -> None:
    """The engine's state and the history travel with the workspace; a hand-over is over once it was taken."""
    released = next_generation(CLAIM, "release", A, "n5", "", handoff_to="B", handoff_name="BERT-PC")
    theirs = Identity("B", "B1")

    claim = next_generation(released, "claim", theirs, "n6", "now", limits=Limits(1, 3))

    assert claim == Generation(6, "claim", 6, "n6", theirs, True, Limits(1, 3), at_utc="now", files={"runs": SEGMENTS})


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        ("bc", "aNde"),
        ("ab", "Ncde"),
        ("e", "abcdN"),
        ("abcde", "N"),
        ("xy", "abcde"),
    ],
)
def test_a_fold_takes_the_place_of_its_segments(names: str, expected: str) -> None:
    """All others are kept, in order; when none is there any more it was done already."""
    named = {s.name[11]: s for s in SEGMENTS}
    new = Segment("0000000009-N.parquet", 9, "00")
    fold = Fold(tuple(f"{'abcdexy'.index(letter):010d}-{letter}.parquet" for letter in names), b"")

    kept = folded("runs", SEGMENTS, fold, new)

    assert [s.name[11] for s in kept] == list(expected)
    assert set(kept) - {new} <= set(named.values())


def test_a_fold_that_would_change_the_order_or_guess_is_refused() -> None:
    """Readers take the later of two rows with one key."""
    names = [segment.name for segment in SEGMENTS]
    new = Segment("0000000009-N.parquet", 9, "00")

    with pytest.raises(ValueError, match="no neighbours"):
        folded("runs", SEGMENTS, Fold((names[0], names[2]), b""), new)
    with pytest.raises(ValueError, match="1 of the segments to fold are not there"):
        folded("runs", SEGMENTS, Fold((names[0], "0000000000-x.parquet"), b""), new)
    assert folded("runs", SEGMENTS, Fold((names[0], names[2]), None), None) == (SEGMENTS[1], *SEGMENTS[3:])


def lease(beat: int, token: int = 4) -> LeaseRecord:
    return LeaseRecord("w", token, beat, "A")


def look(seen: Observed, at_s: float, record: LeaseRecord | None, generation: Generation = CLAIM) -> Observed:
    return observe(seen, generation, record, None, before_s=at_s, after_s=at_s, limits=LIMITS)


@pytest.mark.parametrize(
    ("record", "generation", "begins_anew"),
    [
        (lease(6), CLAIM, True),
        (lease(5), replace(CLAIM, number=5), True),
        (lease(5), CLAIM, False),
        (lease(4), CLAIM, False),
        (None, CLAIM, False),
        (lease(9, token=3), CLAIM, False),
        (lease(99), replace(CLAIM, number=3), False),
    ],
    ids=["next beat", "next generation", "same beat", "older beat", "no heartbeat", "another token", "older list"],
)
def test_only_a_step_forward_ends_the_silence(
    record: LeaseRecord | None, generation: Generation, begins_anew: bool
) -> None:
    """What is missing, older, or of another owner is no news."""
    seen = look(look(Observed(), 1000, lease(5)), 1010, lease(5))

    after = look(seen, 1020, record, generation)

    assert after.silent_since_s == (1020 if begins_anew else 1000)
    assert after.mark >= seen.mark


def test_a_hole_in_the_looking_is_no_silence() -> None:
    """30 s between two looks count, 30.1 s do not."""
    seen = look(Observed(), 1000, lease(5))

    assert look(seen, 1030, lease(5)).silent_since_s == 1000
    assert look(seen, 1030.1, lease(5)).silent_since_s == 1030.1
    assert look(seen, 1030.1, lease(5)).moved_s == 1000


@pytest.mark.parametrize("change", ["machine_id", "lock_id", "host_id"])
def test_only_the_very_same_machine_is_a_predecessor(change: str) -> None:
    """A home folder on two hosts, a machine id in an image, or a cloned state root do not match."""
    successor = replace(A, daemon_id="A2")
    other: dict[str, Any] = {change: "other"}
    none: dict[str, Any] = {change: ""}

    assert is_of_this_machine(CLAIM, successor)
    assert not is_of_this_machine(CLAIM, replace(successor, **other))
    assert not is_of_this_machine(replace(CLAIM, by=replace(A, **none)), replace(successor, **none))
    assert not is_of_this_machine(CLAIM, A)


def test_requests_come_back_as_they_were_written() -> None:
    """Every field survives the share."""
    request = HandoverRequest("w", "r1", 3, "B", "BERT-PC", "B1", 8, "cli", "2026-01-01T00:00:00+00:00")
    record = {name: getattr(request, name) for name in request.__dataclass_fields__}

    assert request_of(encode(record)) == request
