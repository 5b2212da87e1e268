"""What the screen of `status --watch` shows: a pure function of what is known, what a person does, the size and the clock."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_engine.cli.screen.cells import ASCII, broken, cell, clean, cut, width
from data_engine.cli.screen.drawing import Size, draw
from data_engine.cli.screen.keys import pressed
from data_engine.cli.screen.questions import stop_question
from data_engine.cli.screen.state import OpenLog, Question, Said, Seen
from tests.cli.screens import NARROW, NOW, WIDE, active, busy_view, elsewhere, flow, run, screen, view_of

GOLDEN = Path(__file__).parent / "golden"


def styles_of(view: Any, word: str) -> set[str]:
    """The styles of the pieces in which a word is shown."""
    return {style for line in draw(view, Seen(), WIDE, NOW) for style, text in line if word in text}


@pytest.mark.parametrize(
    ("name", "seen", "size"),
    [
        ("overview_80x24", Seen(), NARROW),
        ("overview_200x50", Seen(), WIDE),
        ("failing_80x24", Seen(chosen="claims"), NARROW),
        ("broken_80x24", Seen(chosen="renamed"), NARROW),
        ("keys_80x24", Seen(chosen="new_one", shows_keys=True), NARROW),
        (
            "question_80x24",
            Seen("claims", question=stop_question(busy_view().flows["rates"], busy_view())),
            NARROW,
        ),
    ],
)
def test_the_screen_looks_as_it_was_looked_at(name: str, seen: Seen, size: Size) -> None:
    """Golden screens; UPDATE_GOLDEN=1 writes them anew, for a look with one's own eyes."""
    shown, path = screen(busy_view(), seen, size), GOLDEN / f"screen_{name}.txt"
    if os.environ.get("UPDATE_GOLDEN"):
        path.write_text(shown, encoding="utf-8")

    assert shown == path.read_text(encoding="utf-8")


def test_a_flow_that_somebody_should_look_at_never_looks_good() -> None:
    """Polling, and with held files: red, with the shape of a failure, whatever it does besides."""
    view = view_of(flow("claims", held=3, last_run=run("claims", "failed")))
    good = view_of(flow("claims", last_run=run("claims")))

    assert (view.flows["claims"].mark.tone, view.flows["claims"].mark.word) == ("bad", "polling")
    assert "chosen bad" in styles_of(view, "polling")
    assert "chosen good" in styles_of(good, "polling")


def test_every_state_is_a_word_in_letters_that_any_terminal_has() -> None:
    """Where the encoding has no shapes they are plain letters, and the words stay."""
    shown = screen(view_of(flow("claims", held=3), active_runs=[active("claims", done=1, total=2)]), signs=ASCII)

    assert shown.isascii()
    assert "polling" in shown
    assert "#####..... 1 of 2" in shown


def test_a_run_that_ends_and_runs_that_wait_are_told() -> None:
    """Beside what runs now."""
    waits = {"flow": "claims", "group": "Claims", "count": 12, "source": None, "why": {"kind": "waiting_for_own_run"}}
    view = view_of(
        flow("claims", "stopping"),
        active_runs=[active("claims", stopping=True)],
        waiting_runs=[waits],
        engine={"on": True},
    )

    shown = screen(view, size=WIDE).splitlines()

    assert any("stopping  b.csv  Read  12 waiting" in line for line in shown)


def test_what_is_expected_of_a_flow_is_told_with_the_time_that_is_left() -> None:
    """And a flow that is late is one that somebody should look at."""
    due = {"kind": "expected", "due_utc": "2026-01-05T11:12:00+00:00", "tz": "UTC"}
    late = {"kind": "late", "since_utc": "2026-01-05T10:00:00+00:00", "tz": "UTC", "reason": "the engine is off"}
    view = view_of(flow("claims", expected=due), flow("rates", expected=late, last_run=run("rates")))

    assert "12 min left" in screen(view)
    assert "the engine is off" in screen(view, Seen(chosen="rates"))
    assert (view.flows["claims"].mark.tone, view.flows["rates"].mark.tone) == ("good", "bad")


def test_who_owns_the_workspace_is_told() -> None:
    """Another workstation, with what is known of its engine, and who watches it; nothing of ownership where one works alone."""
    theirs = screen(view_of(flow("claims", "poll_ready"), on=False, lease=elsewhere()))
    silent = screen(view_of(flow("claims"), lease=elsewhere(state="takeover_available")))
    watched = screen(view_of(flow("claims"), lease=elsewhere(watched_by=["ben-pc"], is_watching=True)))

    assert "ann-pc has control, its engine is on" in theirs
    assert "ann-pc sends no sign of life" in silent
    assert "watched by this workstation and ben-pc\n" in watched
    assert "control" not in screen(view_of(flow("claims")))


def test_without_a_daemon_that_is_said() -> None:
    """Also that an engine goes on with the next one, with what to do."""
    shown = screen(view_of(flow("claims", "poll_ready"), running=False, engine={"on": False, "goes_on": True}))

    assert "daemon not running" in shown
    assert "start the engine" in " ".join(shown.split())


def test_a_daemon_that_does_not_answer_is_not_shown_as_none() -> None:
    shown = screen(
        view_of(flow("claims", "poll_ready"), daemon={"running": True, "pid": 7, "silent": True}, engine={"on": None})
    )

    assert "engine not known" in shown
    assert "daemon does not answer" in shown
    assert "The daemon (pid 7) does not answer: wait until it answers, or end it: `data-engine kill`" in " ".join(
        shown.split()
    )


def test_before_the_first_word_it_says_what_it_waits_for() -> None:
    assert screen(None).startswith("Reading the workspace…\n")


def test_a_workspace_without_flows_says_so() -> None:
    """And its keys say why they do nothing."""
    view = view_of()

    assert "There are no flow modules yet." in screen(view)
    assert "run: not now, there is no flow" in screen(view, Seen(shows_keys=True))


def test_a_long_list_moves_with_the_chosen_flow() -> None:
    """The chosen one is always seen, and where in the list one is."""
    view = view_of(*[flow(f"flow_{number:03}") for number in range(500)])
    for at in (0, 7, 250, 499):
        shown = screen(view, Seen(chosen=f"flow_{at:03}"))

        assert f"❯ ◐ Flow {at:03}" in shown
        assert "/500" in shown


@pytest.mark.parametrize("size", [Size(39, 24), Size(80, 9)])
def test_a_window_that_is_too_small_says_so(size: Size) -> None:
    assert "The window is smaller than 40 x 10." in screen(busy_view(), size=size)


def test_what_was_said_and_what_is_under_way_stand_below_the_list() -> None:
    view = view_of(flow("claims"))

    assert "Not now: run Claims" in screen(view, Seen(said=Said("Not now: run Claims: no.", "warn")))
    assert "Asked to run Claims…" in screen(view, Seen(doing="Asked to run Claims"))


@pytest.mark.parametrize(
    ("name", "title", "is_shown"),
    [
        ("claims_daily", "Claims Daily", False),
        ("Claims daily", "Claims Daily", True),
        ("claims daily", "Claims Daily", True),
        ("claims", "Our claims", True),
    ],
)
def test_a_name_that_its_title_does_not_tell_stands_beside_it(name: str, title: str, is_shown: bool) -> None:
    """A command takes the name with its capitals and blanks, which the title has otherwise."""
    shown = screen(view_of(flow(name, title=title)))

    assert (f"{title}  {name}" in shown) == is_shown


def test_a_question_takes_the_keys() -> None:
    """What would happen is written out, and the only keys are yes and no."""
    asked = Question("Run Claims now? One run.", "run", {"flow": "claims"}, "Asked to run Claims")
    shown = screen(view_of(flow("claims")), Seen(question=asked))

    assert "Run Claims now? One run." in shown
    assert shown.rstrip().splitlines()[-1] == "y yes   n no"


def test_a_log_is_shown_from_its_end_and_where_one_has_scrolled() -> None:
    """Only its last lines at first; a long line is broken, not cut."""
    lines = tuple(("", f"line {number}") for number in range(1000))
    log = OpenLog("r1", "claims", "Claims, run r1", (*lines, ("", "x" * 200)))
    end = screen(busy_view(), Seen(log=log))
    seen, _ = pressed("home", busy_view(), Seen(log=log))

    assert "line 999" in end
    assert end.count("x") == 200
    assert "line 0\n" in screen(busy_view(), seen)
    assert "line 999" not in screen(busy_view(), seen)


def test_a_name_that_would_move_the_cursor_is_shown_as_letters() -> None:
    """A file's name may hold anything, and so may a title or a log."""
    view = view_of(flow("claims", title="a\x1b[2Jb\nc"), active_runs=[active("claims", source="/in/\x1b]0;x\x07.csv")])
    shown = screen(view, Seen(log=OpenLog("r1", "claims", "t", (("", "\x1b[31mred\r\n"),)))) + screen(view)

    assert not [letter for letter in shown if not letter.isprintable() and letter != "\n"]


LETTERS = st.text(st.sampled_from("ab é報告\t\n\x1b…👍\u0301\udcff"), max_size=40)


@given(LETTERS, st.integers(0, 30))
def test_a_text_takes_exactly_the_room_it_has(text: str, room: int) -> None:
    """Cut with a sign, or filled up; never wider, whatever its letters."""
    assert width(cell(text, room)) == room
    assert width(cut(text, room)) <= room


@given(LETTERS, st.integers(2, 30))
def test_a_broken_text_loses_no_letter(text: str, room: int) -> None:
    """But for the spaces where it is broken."""
    rows = list(broken(text, room))

    assert all(width(row) <= room for row in rows)
    assert "".join(rows).replace(" ", "") == clean(text).replace(" ", "")


@given(st.integers(1, 250), st.integers(1, 80), st.sampled_from([None, "claims", "renamed", "gone"]), st.booleans())
def test_every_size_is_filled_and_never_exceeded(columns: int, rows: int, chosen: str | None, shows_keys: bool) -> None:
    """Somebody drags the window's corner."""
    for view in (busy_view(), view_of(), None):
        screen(view, Seen(chosen=chosen, shows_keys=shows_keys), Size(columns, rows))
