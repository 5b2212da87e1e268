"""Every sentence of the tables of reasons, states and causes, and what a reason says to do, in one file: a change of words is one diff there.

Written anew with `WRITE_GOLDEN=1`.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

from data_engine.cause import SENTENCES
from data_engine.formatting import clock_text, time_text, zoned_text
from data_engine.reasons.kinds import (
    Asked,
    Broken,
    ByHand,
    Changed,
    DaemonSilent,
    DaysUnknown,
    Disabled,
    Done,
    Edited,
    EngineOff,
    Expected,
    FeedShrunk,
    Freed,
    GroupRun,
    Held,
    HeldSlot,
    Interrupted,
    LastRunFailed,
    LastRunWarned,
    LastWritten,
    Late,
    Locked,
    Looks,
    MayBeOutput,
    ModuleGone,
    More,
    NameFiltered,
    NeedsHash,
    New,
    NoFiles,
    NotDeployed,
    NotListed,
    NotLookedAt,
    NotThere,
    NotYet,
    Other,
    Outdated,
    Overlong,
    OwnedElsewhere,
    OwnOutput,
    Requested,
    Retried,
    RetryLater,
    RowsRecorded,
    Running,
    Settling,
    Slot,
    SlotsPassed,
    Stopping,
    Tick,
    Trouble,
    Undeployed,
    Unreachable,
    UpstreamRunning,
    WaitingForGroup,
    WaitingForOwnRun,
    WaitingForShare,
    WaitingForWorker,
    WaitsForSettling,
)
from data_engine.reasons.remedies import KINDS, Reason, remedy_of
from data_engine.status.record import FlowStatus, State

NOON = "2026-06-01T12:00:00.000000+00:00"
RUN = "0123456789ab"
GOLDEN = Path(__file__).parent / "sentences.txt"
FILE = "/in/a.csv"

GROUP_RUN = GroupRun("audit", RUN, 77)
VARIANTS: tuple[Reason, ...] = (
    New(),
    Changed(),
    Interrupted(),
    Freed("failed"),
    Retried(1, 2),
    Slot(NOON),
    Slot(NOON, is_missed=True, skipped_before_utc=NOON),
    Slot(NOON, is_missed=True, is_freed=True),
    Tick(3),
    Asked(),
    Done(RUN, NOON),
    Done(RUN, NOON, by_earlier=True),
    Done(None, None),
    NotThere(),
    NotThere(near=("may.csv", "day.csv")),
    NotThere("success", RUN, NOON),
    NotThere("failed", None, None),
    Settling(0.5),
    WaitsForSettling(2, 0.5),
    Locked("Microsoft Excel (process 7)"),
    NeedsHash(),
    Held(NOON, "failed", "KeyError: 3", RUN),
    Held(NOON, "stopped", None, RUN),
    Held(None, "failed"),
    HeldSlot(NOON, NOON, "it died"),
    HeldSlot(NOON, None),
    FeedShrunk(8, 10),
    FeedShrunk(1_200, 3_000, ("claims", "parts"), RUN, NOON),
    UpstreamRunning("clean", None, NOON),
    UpstreamRunning("clean", RUN, NOON),
    RetryLater(NOON, 1, 2, "KeyError: 3", RUN),
    RetryLater(NOON, 1, 2),
    Running(),
    Running(RUN),
    Running(RUN, 77),
    NameFiltered(".git"),
    NameFiltered("~$claims.xlsx"),
    NotListed((".csv", ".xlsx")),
    OwnOutput(),
    MayBeOutput(),
    NoFiles(),
    NotYet(None),
    NotYet(NOON),
    NotYet(NOON, "Europe/Berlin"),
    NotYet(NOON, "Europe/Berlin", NOON, "config/holidays.txt"),
    DaysUnknown("No such file", "config/holidays.txt"),
    ByHand(),
    Unreachable(NOON, "No such file", "/in"),
    Unreachable(NOON, "No such file"),
    Disabled(),
    Disabled("anna@ANNA-PC", NOON, "stock  taking"),
    Disabled("anna@ANNA-PC"),
    OwnedElsewhere("ANNA-PC"),
    OwnedElsewhere("ANNA-PC", is_engine_on=True),
    OwnedElsewhere("ANNA-PC", is_engine_on=False),
    EngineOff(),
    WaitingForGroup("G"),
    WaitingForGroup("G", (GROUP_RUN, GROUP_RUN)),
    WaitingForGroup("G", (GroupRun("audit", RUN, 77, in_daemon=False),)),
    WaitingForWorker(),
    WaitingForShare(),
    WaitingForOwnRun(),
    Looks(5.0),
    Looks(5.0, took_s=12.0, wakes=True),
    Broken("it does not parse", "claims.ipynb, cell 3", "close the bracket"),
    Edited((3, 7), "SyntaxError", ("rates.py",)),
    Edited((3,), None, (), "audit"),
    Edited(rolled_back_to=RUN, rolled_back_utc=NOON),
    ModuleGone("claims.ipynb"),
    ModuleGone("claims.ipynb", renamed_to="parts"),
    ModuleGone("claims.ipynb", moved_to="old/claims.ipynb"),
    Undeployed("claims", NOON, "anna@ANNA-PC"),
    Undeployed("claims", NOON, "anna@ANNA-PC", is_kept=False),
    Undeployed("claims", NOON, "anna@ANNA-PC", "parts"),
    NotDeployed("claims"),
    NotDeployed("claims", "it has no steps"),
    NotDeployed("claims", None, None, "audit"),
    NotDeployed("claims", "it has no steps", None, "audit"),
    NotDeployed("claims", goes_live_s=0.0),
    NotDeployed("claims", doubtful=True),
    Requested("ANNA-PC was asked to run claims: no answer yet"),
    Stopping(RUN),
    Trouble("the disk is full"),
    Trouble("the disk is full", "empty the bin"),
    NotLookedAt(),
    DaemonSilent(7),
    Expected(NOON, "Europe/Berlin"),
    Late(NOON, "Europe/Berlin"),
    Late(NOON, "Europe/Berlin", "the engine is off"),
    Overlong(NOON, 1800.0, "", "Europe/Berlin"),
    Overlong(NOON, 1800.0, RUN, "Europe/Berlin"),
    Overlong(NOON, 1800.0, RUN, "Europe/Berlin", 77),
    LastRunFailed("failed", RUN, NOON),
    LastRunFailed("stopped", RUN, NOON),
    LastRunFailed("killed", RUN, NOON, "killed by request"),
    *(LastRunFailed("abandoned", RUN, NOON, "it died", again) for again in ("slot", "newest_slot", "interval")),
    *(LastRunFailed("abandoned", RUN, NOON, None, again) for again in ("backfill", "nothing")),
    LastWritten(FILE),
    LastWritten("/out/a.csv", RUN, NOON),
    LastWritten("/out/a.csv", RUN, NOON, "month=2026-06", ("/in/a.csv",), 2, "changed"),
    LastWritten("/out/a.csv", RUN, NOON, "", ("/in/a.csv", "/b", "/c", "/d", "/e"), 0, "gone"),
    LastWritten("/out/a.csv", RUN, NOON, "month=2026-06", state="gone"),
    *(LastWritten("/out/a.csv", RUN, NOON, state=state) for state in ("source_gone", "set_aside")),
    LastWritten("/out/a.csv", RUN, NOON, state="as_written"),
    RowsRecorded("sales"),
    RowsRecorded("sales", RUN, NOON, 1200, "file_key", "{jan}.csv"),
    RowsRecorded("sales", RUN, NOON, 1, "month"),
    RowsRecorded("sales", RUN, NOON, 3),
    LastRunWarned(1, RUN),
    LastRunWarned(1200, RUN),
    Outdated("/ref/products.csv", 9),
    Outdated("/ref/products.csv", 1, "gone"),
    Outdated("/ref/products.csv", 3, by_hand=True),
    Outdated("/ref/products.csv", 9, "as_read"),
    Outdated("/ref/products.csv", 1, run_id=RUN, at_utc=NOON, output="/out/a.csv"),
    Outdated("/ref/products.csv", 1, "gone", run_id=RUN, at_utc=NOON),
    SlotsPassed(1, NOON, NOON, "Europe/Berlin"),
    SlotsPassed(1200, NOON, NOON, "Europe/Berlin"),
    More(1200),
    Other("of tomorrow"),
)
BLOCKED = ((), ("engine_off",), ("disabled", "engine_off", "daemon_ending"), ("not_deployed",), ("undeployed",))


def remedies(why: Reason) -> Iterator[tuple[str, str]]:
    """What is said to do about it, and where: each once, of the flow and of a file, alone and beside what else keeps the flow."""
    told = set()
    for source in (None, FILE):
        for mend in (None, "correct the column"):
            for blocked in BLOCKED:
                for is_batch in (False, True):
                    said = remedy_of(why, "monthly", source, mend, blocked, is_batch=is_batch)
                    if said is not None and said not in told:
                        told.add(said)
                        about = [source and "a file", mend and "mend", *blocked, is_batch and "batch"]
                        yield ", ".join(filter(None, about)), said


def local_minute(utc: str) -> str:
    return time_text(utc)[:-3]


def lines() -> Iterator[str]:
    for why in VARIANTS:
        yield f"{why.kind} | {' '.join(why.row.look)} | {why.text}"
        for about, said in remedies(why):
            yield f"    {about or 'flow'} -> {said}"


def lines_of_states_and_causes() -> Iterator[str]:
    """What a flow does, and why a run ended."""
    for kind in get_args(State):
        mark = FlowStatus("claims", state_kind=kind).mark
        yield f"{kind} | {mark.tone} {mark.shape} | {mark.word}"
    for kind, sentence in SENTENCES.items():
        yield f"{kind} | {sentence}"


def test_the_sentences_are_those_of_the_golden_file() -> None:
    """Times as this machine's clock shows them stand in brackets."""
    found = "\n".join(line.replace("\n", "\\n") for line in (*lines(), *lines_of_states_and_causes())) + "\n"
    for name, words in (("zoned", zoned_text), ("time", time_text), ("clock", clock_text), ("minute", local_minute)):
        found = found.replace(words(NOON), f"<{name}>")
    if os.environ.get("WRITE_GOLDEN"):
        GOLDEN.write_text(found, encoding="utf-8")

    assert found.splitlines() == GOLDEN.read_text(encoding="utf-8").splitlines()
    assert {why.kind for why in VARIANTS} == set(KINDS)
