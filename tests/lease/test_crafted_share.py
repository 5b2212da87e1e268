"""What a hostile writer puts on a real share: the owner goes on publishing, an observer says what is wrong, both stay up."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from data_engine.lease.records import digest, encode
from tests.lease.test_keeper import Machine
from tests.ledger.crafted import good, segment
from tests.support import until


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[tuple[Path, Machine, Machine]]:
    """The share, its owner and an observer."""
    share = tmp_path / "share"
    share.mkdir()
    owner, observer = (Machine(name, share, tmp_path / "state") for name in ("ann", "ben"))
    try:
        owner.keeper.own().result(10)
        yield share, owner, observer
    finally:
        observer.close()
        owner.close()


def publish(share: Path, table: str, data: bytes) -> str:
    """Let the newest entry list these bytes too; its checksum is right, and the segment's."""
    generation = max((share / "state" / "generations").glob("*/entry.json"))
    record = json.loads(generation.read_bytes().partition(b"\n")[2])
    name = f"{record['number']:010d}-ff.parquet"
    (share / "state" / table / name).write_bytes(data)
    record["files"].setdefault(table, []).append([name, len(data), digest(data)])
    generation.write_bytes(encode(record))
    return name


def test_a_crafted_segment_keeps_nobody_from_working(pair: tuple[Path, Machine, Machine]) -> None:
    """The observer names it; the owner neither reads nor needs it."""
    share, owner, observer = pair
    owner.run("r1")
    until(lambda: observer.runs() == {"r1"})
    name = publish(share, "runs", b"no parquet")
    number = owner.share.known_list[0]
    owner.run("r2")
    until(lambda: owner.share.known_list[0] > number)
    until(lambda: observer.keeper.state.trouble)

    assert f"state/runs/{name}" in str(observer.keeper.state.trouble)
    assert observer.runs() == {"r1"}
    assert owner.keeper.state.token is not None
    assert owner.keeper.state.trouble is None
    assert owner.keeper.can_work()


def test_a_crafted_row_is_left_out_and_the_others_are_there(pair: tuple[Path, Machine, Machine]) -> None:
    """One that would beat every later row for ever, and one that leads out of its folder."""
    share, owner, observer = pair
    owner.run("r1")
    until(lambda: observer.runs() == {"r1"})
    odd = [good("runs", run_id="r8", fencing_token=2**62), good("runs", run_id="r9", source_key="../../x")]
    publish(share, "runs", segment("runs", *odd, good("runs", run_id="r7")))
    owner.run("r2")
    until(lambda: "r2" in observer.runs())

    assert observer.runs() == {"r1", "r2", "r7"}
    until(lambda: str(observer.share.left_out).startswith("2 rows of the shared history were left out"))
    until(lambda: observer.keeper.state.trouble == observer.share.left_out)
