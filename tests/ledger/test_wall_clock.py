"""What is old is removed only by a clock that is believed; what a clock in doubt wrote makes it no more believed."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from data_engine.ledger.ledger import Ledger
from data_engine.ledger.wall_clock import (
    Believed,
    Doubted,
    KnownClocks,
    WallClock,
    accept_clock,
    accepted,
    after,
    judge,
    kept_doubt,
    went_on_s,
    with_record,
)
from tests.ledger.events import finish, start
from tests.ledger.sharing import machines

DAY_S = 86_400.0
NOW_S = 20_000 * DAY_S
"""The newest record of the tables is from then."""
KNOWN = KnownClocks(believed_s=NOW_S, highest_s=NOW_S)
DOUBTED = replace(KNOWN, doubted_s=NOW_S + 400 * DAY_S, ran_s=0.5 * DAY_S)


# -- the decision ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ahead_days", "known", "server_days", "went_on_days", "is_believed"),
    [
        pytest.param(2, KNOWN, None, 0, True, id="two days after the newest record"),
        pytest.param(2.001, KNOWN, None, 0, False, id="more than two days after it"),
        pytest.param(-2, KNOWN, None, 0, True, id="two days before it"),
        pytest.param(
            -2.001, KNOWN, None, 0, False, id="more than two days before it: the battery of the clock is empty"
        ),
        pytest.param(400, KnownClocks(), None, 0, True, id="no record: nothing can be lost"),
        pytest.param(400, KNOWN, 2, 0, True, id="the file server's clock agrees, to two days"),
        pytest.param(400, KNOWN, -2, 0, True, id="the file server's clock agrees, behind"),
        pytest.param(400, KNOWN, -2.001, 0, False, id="the file server's clock does not agree"),
        pytest.param(0, KNOWN, -400, 0, False, id="near the newest record, and the file server says another time"),
        pytest.param(400, KnownClocks(), -400, 0, False, id="no record, and the file server says another time"),
        pytest.param(400, KNOWN, None, 1, True, id="the daemon has run a day under it"),
        pytest.param(400, KNOWN, None, 0.999, False, id="the daemon has not run a day under it"),
        pytest.param(400, DOUBTED, None, 0.5, True, id="a day in two parts, with a restart between"),
        pytest.param(400, DOUBTED, None, 0.499, False, id="not quite a day in two parts"),
        pytest.param(403, DOUBTED, None, 0.5, False, id="the part before was under another clock"),
        pytest.param(400, KNOWN, -400, 9, False, id="days do not count where the file server says another time"),
        pytest.param(
            400, replace(DOUBTED, server_ahead_s=-400 * DAY_S), None, 9, False, id="what the server said last stands"
        ),
        pytest.param(401, accepted(KNOWN, NOW_S + 400 * DAY_S), None, 0, True, id="somebody has accepted it"),
        pytest.param(401, accepted(KNOWN, NOW_S + 400 * DAY_S), -400, 0, True, id="accepted, whatever the server says"),
        pytest.param(403, accepted(KNOWN, NOW_S + 400 * DAY_S), -400, 0, False, id="another time than was accepted"),
    ],
)
def test_a_time_is_believed_or_not(
    ahead_days: float, known: KnownClocks, server_days: float | None, went_on_days: float, is_believed: bool
) -> None:
    server_ahead_s = None if server_days is None else server_days * DAY_S
    verdict = judge(NOW_S + ahead_days * DAY_S, known, server_ahead_s=server_ahead_s, went_on_s=went_on_days * DAY_S)

    assert isinstance(verdict, Believed if is_believed else Doubted)
    assert verdict.now_s == NOW_S + ahead_days * DAY_S


@pytest.mark.parametrize(
    ("known", "ahead_days", "server_days", "kept"),
    [
        pytest.param(
            KNOWN,
            1,
            None,
            KnownClocks(believed_s=NOW_S + DAY_S, highest_s=NOW_S + DAY_S),
            id="the newest record goes along",
        ),
        pytest.param(KNOWN, -1, None, KNOWN, id="and not back by a little"),
        pytest.param(
            KNOWN, -400, 0, replace(KNOWN, believed_s=NOW_S - 400 * DAY_S), id="back where the file server says so"
        ),
        pytest.param(
            KNOWN, 400, None, replace(KNOWN, doubted_s=NOW_S + 400 * DAY_S), id="a clock in doubt leaves it alone"
        ),
        pytest.param(DOUBTED, 1, None, KnownClocks(NOW_S + DAY_S, NOW_S + DAY_S), id="the clock is right again"),
        pytest.param(accepted(KNOWN, NOW_S), 0, None, accepted(KNOWN, NOW_S), id="accepted while nobody knows better"),
        pytest.param(accepted(KNOWN, NOW_S), 0, 0, KNOWN, id="accepted until the file server agrees"),
    ],
)
def test_what_is_kept_of_a_time_that_was_judged(
    known: KnownClocks, ahead_days: float, server_days: float | None, kept: KnownClocks
) -> None:
    server_ahead_s = None if server_days is None else server_days * DAY_S
    verdict = judge(NOW_S + ahead_days * DAY_S, known, server_ahead_s=server_ahead_s)

    assert after(known, verdict, server_ahead_s=server_ahead_s) == kept


@pytest.mark.parametrize(
    ("walled_s", "booted_s", "went_on"),
    [
        (600, 600, 600),
        (63 * 3600, 63 * 3600, 63 * 3600),
        (4200, 600, 600),
        (4201, 600, 0),
        (-3000, 600, 600),
        (-3001, 600, 0),
    ],
)
def test_a_clock_that_was_set_begins_anew(walled_s: float, booted_s: float, went_on: float) -> None:
    """Sleep is no setting: the other clock counts it. Corrections of up to an hour are none either."""
    assert went_on_s((NOW_S, 50.0), (NOW_S + walled_s, 50.0 + booted_s)) == went_on


def test_the_newest_record_of_others_is_one_to_be_near_to() -> None:
    assert with_record(KnownClocks(), 5.0) == KnownClocks(5.0, 5.0)
    assert with_record(KNOWN, NOW_S + 5).believed_s == NOW_S + 5
    assert with_record(KNOWN, NOW_S - 5) == KNOWN


def test_a_doubt_says_what_is_seen_and_what_to_do() -> None:
    """With the file server's clock only the people can know; without it time will tell."""
    behind = Doubted(NOW_S, NOW_S + 30 * DAY_S)
    told = Doubted(NOW_S, NOW_S, NOW_S - 400 * DAY_S)

    assert "30 days before the newest record" in behind.text
    assert "--accept-clock" in behind.fix
    assert "a day" in behind.fix
    assert "that of the file server" in told.text
    assert "newest record" not in told.text
    assert "a day" not in told.fix


# -- one process after another ------------------------------------------------------------------------------------------


@dataclass
class Station:
    """A machine's clocks, and its file server's word: `server_days` ahead, None where there is none."""

    ledger: Ledger
    wall_s: float = NOW_S
    boot_s: float = 1000.0
    server: Callable[[], float | None] = lambda: None
    process: WallClock = field(init=False)

    def __post_init__(self) -> None:
        self.start()

    def start(self, *, runs: bool = True) -> None:
        """Another daemon (or, without `runs`, a command) begins."""
        self.process = WallClock(
            self.ledger, lambda: self.server(), runs=runs, wall=lambda: self.wall_s, clock=lambda: self.boot_s
        )

    def passes(self, days: float) -> None:
        self.wall_s += days * DAY_S
        self.boot_s += days * DAY_S

    def is_believed(self) -> bool:
        return isinstance(self.process.judge(), Believed)


@pytest.fixture
def station(ledger: Ledger) -> Station:
    """A machine whose ledger knows the time of the newest record."""
    made = Station(ledger)
    assert made.is_believed()
    return made


def test_a_clock_far_ahead_is_not_believed_for_what_it_wrote_itself(station: Station) -> None:
    """Not by another daemon, not by a command, however much is recorded meanwhile; the right one is, at once."""
    station.wall_s += 400 * DAY_S
    for number in range(3):
        station.start(runs=number != 1)
        assert not station.is_believed()
        station.ledger.record(start(f"r{number}", at=station.wall_s))
        station.ledger.record(finish(f"r{number}", at=station.wall_s))
    station.wall_s -= 400 * DAY_S

    assert station.is_believed()
    assert kept_doubt(station.ledger, station.wall_s) is None


def test_a_day_under_a_clock_counts_across_restarts(station: Station) -> None:
    """Nine hours a day, after a week away from a machine without a file server; commands do not count."""
    station.passes(7)
    seen = []
    for _ in range(4):
        station.start()
        seen.append(station.is_believed())
        for _ in range(9):
            station.passes(1 / 24)
            seen.append(station.is_believed())
        station.start(runs=False)
        station.passes(15 / 24)

    assert seen == [False] * 26 + [True] * 14


def test_a_machine_that_slept_a_week_is_believed_when_it_wakes(station: Station) -> None:
    """Its daemon has been there all the time."""
    station.passes(7)

    assert station.is_believed()


def test_a_clock_that_is_set_while_the_daemon_runs_has_its_day_before_it(station: Station) -> None:
    station.passes(5)
    station.wall_s += 400 * DAY_S
    assert not station.is_believed()
    station.passes(0.9)
    assert not station.is_believed()
    station.wall_s += 400 * DAY_S
    station.passes(0.9)
    assert not station.is_believed()
    station.passes(1)
    assert station.is_believed()


def test_the_file_servers_clock_decides_and_its_silence_changes_nothing(station: Station) -> None:
    """What it said last of this clock stands while it cannot be asked."""

    def silent() -> float | None:
        raise OSError("Host is down")

    station.wall_s += 400 * DAY_S
    station.server = lambda: -400 * DAY_S
    assert not station.is_believed()
    station.server = silent
    station.passes(1.5)
    assert not station.is_believed()
    doubt = kept_doubt(station.ledger, station.wall_s)
    assert doubt is not None
    assert "file server" in doubt.text
    station.server = lambda: 1.0
    assert station.is_believed()


def test_a_clock_that_somebody_accepts_is_believed_from_then_on(station: Station) -> None:
    """By a running daemon too; a jump from there is a new doubt."""
    station.wall_s += 400 * DAY_S
    assert not station.is_believed()
    assert kept_doubt(station.ledger, station.wall_s) is not None
    accept_clock(station.ledger, station.wall_s)

    assert station.is_believed()
    assert kept_doubt(station.ledger, station.wall_s) is None
    station.wall_s += 3 * DAY_S
    assert not station.is_believed()


def test_a_doubt_is_told_once_in_the_log(station: Station, caplog: pytest.LogCaptureFixture) -> None:
    """And that it is over."""
    caplog.set_level(logging.INFO)
    station.wall_s += 400 * DAY_S
    for _ in range(3):
        station.is_believed()
    station.wall_s -= 400 * DAY_S
    station.is_believed()

    assert [(record.levelname, "accept-clock" in record.message) for record in caplog.records] == [
        ("WARNING", True),
        ("INFO", False),
    ]


# -- what counts as the newest record -----------------------------------------------------------------------------------


def test_what_others_published_is_a_record_but_for_what_is_from_the_future(tmp_path: Path) -> None:
    """A machine that is new to a workspace, with a clock far ahead, does not believe itself."""
    with machines(tmp_path, "/mnt/a", "/mnt/b", "/mnt/c") as (a, b, c):
        a.claim()
        a.ledger.record(start("r1", at=NOW_S))
        a.ledger.record(finish("r1", at=NOW_S))
        a.commit()
        for machine, days in ((b, 400), (c, -1)):
            head = machine.folder.head
            at_s = NOW_S + days * DAY_S
            machine.share.hydrate(head.number, head.files, machine.folder.fetch, owner=a.token, now_s=at_s)

        doubted = WallClock(b.ledger, lambda: None, wall=lambda: NOW_S + 400 * DAY_S).judge()
        believed = WallClock(c.ledger, lambda: None, wall=lambda: NOW_S - DAY_S).judge()

        assert isinstance(doubted, Doubted)
        assert doubted.newest_s == NOW_S
        assert believed == Believed(NOW_S - DAY_S, NOW_S - DAY_S)
