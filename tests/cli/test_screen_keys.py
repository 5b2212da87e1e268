"""What the keys of `status --watch` do: nothing is begun or ended but by a `y` to a question that says what that would be."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_engine.cli.screen.keys import Do, LookFirst, Quit, Read, pressed, why_not
from data_engine.cli.screen.questions import retry_question, run_question, stop_question
from data_engine.cli.screen.state import OpenLog, Question, Said, Seen
from data_engine.marks import Mark
from jupyter_extension.files import FilesView, FileView
from tests.cli.screens import active, busy_view, elsewhere, flow, run, view_of

ENTRY: dict[str, Any] = {"source": "/team/claims/in", "options": {"run_as": "individual"}, "parameters": None}
ASKED = Question("Run Claims now? One run.", "run", {"flow": "claims"}, "Asked to run Claims")
EVERY_KEY = (*"rsthlqyn?jkx", "up", "down", "pageup", "pagedown", "home", "end", "escape", "enter")


def files(*names: str, held: int = 0, gone: int = 0, notes: tuple[str, ...] = ()) -> FilesView:
    """A folder of these files, the first `held` of them held, and as many more that are gone."""
    shown = [
        FileView(
            name, name, Mark("held"), "held", {"kind": "held"}, None, None, None, None if at < held else "no", None
        )
        for at, name in enumerate(names)
    ]
    counts = {"held": held, "gone": gone, "done": len(names) - held}
    groups = tuple((group, group, number) for group, number in counts.items() if number)
    return FilesView("claims", len(names) + gone, groups, len(names), tuple(shown), notes, None, None, 2.0)


def test_run_first_looks_what_would_run() -> None:
    """The key alone starts nothing."""
    seen, wish = pressed("r", view_of(flow("claims")), Seen())

    assert wish == LookFirst("run", "claims")
    assert seen.looking == "Looking up what would run of Claims"


@pytest.mark.parametrize("key", [key for key in EVERY_KEY if key != "y"])
def test_only_y_says_yes(key: str) -> None:
    """Neither Enter nor the key that asked does: it is pressed twice by mistake."""
    _, wish = pressed(key, view_of(flow("claims")), Seen(question=ASKED))

    assert wish is None


def test_y_does_what_was_asked_and_n_does_nothing() -> None:
    view = view_of(flow("claims"))
    yes, wish = pressed("y", view, Seen(question=ASKED))
    no, nothing = pressed("n", view, Seen(question=ASKED))

    assert (wish, yes.question, yes.doing) == (Do("run", {"flow": "claims"}), None, "Asked to run Claims")
    assert (nothing, no.question, no.said) == (None, None, Said("Nothing was done."))


@given(st.lists(st.sampled_from([key for key in EVERY_KEY if key != "y"]), max_size=12))
def test_whatever_is_pressed_nothing_is_done_without_y(keys: list[str]) -> None:
    """A cat on the keyboard starts nothing."""
    seen = Seen()
    for key in keys:
        seen, wish = pressed(key, busy_view(), seen)

        assert not isinstance(wish, Do)
        assert seen.doing is None


def test_y_without_a_question_means_nothing() -> None:
    """Typed ahead, before the question was there."""
    assert pressed("y", view_of(flow("claims")), Seen(looking="Looking")) == (Seen(looking="Looking"), None)


@pytest.mark.parametrize(
    ("key", "view", "why"),
    [
        pytest.param(
            "r",
            view_of(flow("claims"), lease=elsewhere(state="takeover_available")),
            "ann-pc has control of this workspace",
            id="an owner that is not heard of cannot be asked",
        ),
        pytest.param("r", view_of(flow("claims", "broken")), "the module is broken: fix it first", id="broken"),
        pytest.param(
            "r", view_of(flow("claims", "not_deployed")), "it is not deployed: deploy it first", id="undeployed"
        ),
        pytest.param("s", view_of(flow("claims")), "no run of it is under way", id="nothing runs"),
        pytest.param(
            "s",
            view_of(flow("claims"), active_runs=[active("claims", in_daemon=False, pid=99)]),
            "it runs in a kernel or a command line (process 99): stop it there",
            id="it runs elsewhere on this machine",
        ),
        pytest.param(
            "t",
            view_of(flow("claims", "poll_ready", held=2), on=False),
            "the engine is off; starting it tries held files again",
            id="engine off",
        ),
        pytest.param("h", view_of(flow("claims")), "nothing of it is held", id="nothing held"),
        pytest.param("l", view_of(flow("claims")), "it never ran on this machine", id="no run"),
        pytest.param("r", view_of(), "there is no flow", id="no flow"),
    ],
)
def test_a_key_that_does_nothing_says_why_as_the_panel_does(key: str, view: Any, why: str) -> None:
    seen, wish = pressed(key, view, Seen())

    assert wish is None
    assert seen.said is not None
    assert why in seen.said.text
    assert why_not(key, view.flows.get("claims")) == why


def test_moving_chooses_a_flow_and_stays_in_the_list() -> None:
    view = view_of(*[flow(name) for name in "abc"])
    seen = Seen()
    chosen = []
    for key in ("down", "j", "down", "up", "k", "k", "end", "home", "pagedown", "pageup"):
        seen, _ = pressed(key, view, seen)
        chosen.append(seen.chosen)

    assert "".join(map(str, chosen)) == "bccbaacaca"


def test_a_flow_that_goes_while_it_is_chosen_leaves_the_first() -> None:
    seen, wish = pressed("r", view_of(flow("a"), flow("b")), Seen(chosen="gone"))

    assert wish == LookFirst("run", "a")
    assert seen.looking is not None


def test_the_log_of_the_run_under_way_goes_before_the_last_one() -> None:
    last = flow("claims", last_run=run("claims"))
    seen, wish = pressed("l", view_of(last, active_runs=[active("claims")]), Seen())
    _, other = pressed("l", view_of(last), Seen())

    assert (wish, other) == (Read("claims", "a-claims"), Read("claims", "r-claims"))
    assert seen.log is not None
    assert seen.log.run_id == "a-claims"


@pytest.mark.parametrize("key", ["q", "escape", "l"])
def test_a_log_is_left_for_the_list_and_the_screen_by_q(key: str) -> None:
    """`q` in a log is a step back, as in a pager."""
    view = view_of(flow("claims"))
    seen, wish = pressed(key, view, Seen(log=OpenLog("r", "claims", "t", (("", "x"),))))

    assert (seen.log, wish) == (None, None)
    assert pressed("q", view, seen)[1] == Quit()
    assert pressed("q", None, Seen())[1] == Quit()


def test_a_log_follows_its_end_until_somebody_scrolls() -> None:
    """And again when its last line is reached."""
    log = OpenLog("r", "claims", "t", tuple(("", str(number)) for number in range(100)))
    view, seen = view_of(flow("claims")), Seen(log=log)
    places = []
    for key in ("up", "pageup", "down", "home", "up", "end", "down", "k", "j"):
        seen, _ = pressed(key, view, seen, page=20)
        assert seen.log is not None
        places.append(seen.log.at)

    assert places == [79, 59, 60, 0, 0, None, None, 79, None]


# -- what is asked ---------------------------------------------------------------------------------------------------


def asked(view: Any, entry: Any = ENTRY, there: FilesView | None = None) -> str:
    found = run_question(view.flows["claims"], view, entry, there)
    return found.text


def test_a_run_by_hand_names_what_it_takes() -> None:
    """A person may think of one file, and the folder holds five hundred."""
    view = view_of(flow("claims"))
    many = asked(view, there=files(*[f"{number:03}.csv" for number in range(500)], gone=2))

    assert many == (
        "Run Claims now? 500 runs, one for each file of its source, also those that are done: "
        "000.csv, 001.csv, 002.csv and 497 more."
    )
    assert asked(view, there=files("a.csv")) == "Run Claims now? One run, for a.csv."
    assert asked(view, there=None) == "Run Claims now? One run; it has no source files."


def test_a_batch_is_one_run() -> None:
    entry = ENTRY | {"options": {"run_as": "batch"}}

    assert "One run over its whole source, 3 files now." in asked(
        view_of(flow("claims")), entry, files("a.csv", "b.csv", "c.csv")
    )


def test_where_there_is_nothing_to_run_nothing_is_asked() -> None:
    view = view_of(flow("claims"))
    empty = run_question(view.flows["claims"], view, ENTRY, files(notes=("no file is there",)))
    required = ENTRY | {"parameters": [{"name": "month", "has_default": False}, {"name": "all", "has_default": True}]}
    unknown = run_question(view.flows["claims"], view, required, files("a.csv"))

    assert empty == Said("Claims has no source file to run with: no file is there.", "warn")
    assert isinstance(unknown, Said)
    assert "data-engine run claims --set month=..." in unknown.text


def test_what_a_person_might_not_expect_is_told_before() -> None:
    """The edit that would not run, the daemon that would be started, the workstation that would be asked."""
    edited = flow("claims", standing={"kind": "edited", "cells": [3]})
    silent, theirs = view_of(edited, running=False), view_of(flow("claims"), lease=elsewhere())

    assert "What is deployed runs, without your edit" in asked(silent)
    assert "No daemon runs on this machine: one is started for it." in asked(silent)
    assert "ann-pc has control, its engine is on: it will be asked to do this." in asked(theirs)


def test_a_retry_names_the_held_files() -> None:
    view = view_of(flow("claims", held=2))
    row = view.flows["claims"]
    found = retry_question(row, view, files("a.csv", "b.csv", "c.csv", held=2))

    assert isinstance(found, Question)
    assert (found.text, found.action, found.args) == (
        "Try the 2 held files of Claims again? a.csv, b.csv.",
        "retry",
        {"flow": "claims"},
    )
    assert retry_question(row, view, files("a.csv")) == Said("Nothing of Claims is held any more.")


def test_a_stop_says_that_a_flow_is_disabled_for_it() -> None:
    """Only one that runs by itself; it would begin again at once."""
    polled = view_of(flow("claims"), active_runs=[active("claims"), active("claims", run_id="a2")])
    by_hand = view_of(flow("claims", mode="manual"), active_runs=[active("claims")])

    assert stop_question(polled.flows["claims"], polled).text == (
        "Stop the 2 runs of Claims? They end at their next step, map item, context.log or context.progress. "
        "It runs by itself, so it is disabled until `data-engine enable claims`."
    )
    assert stop_question(by_hand.flows["claims"], by_hand).text == (
        "Stop the run of Claims? It ends at its next step, map item, context.log or context.progress."
    )
