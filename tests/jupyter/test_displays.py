"""What a cell shows for our values: pictures and tables in HTML, the same in words, and safe whatever names hold."""

from __future__ import annotations

import importlib
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from datetime import UTC
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_engine import Flow
from data_engine.cause import Cause
from data_engine.cause import other as other_cause
from data_engine.display_hook import Listing, bundle_of
from data_engine.errors import FlowExecutionError, FlowValidationError, NotebookCompileError
from data_engine.flow.batch import Batch, FileRef, ItemError
from data_engine.marks import Mark
from data_engine.model import RUN_STATUSES, LogEntry, Run, StepRun
from data_engine.notebook.compile import compile_notebook
from data_engine.notebook.deployment_status import NOT_DEPLOYED, DeploymentStatus
from data_engine.reasons.kinds import ByHand, EngineOff, Held, LastRunWarned, New, Other, Settling
from data_engine.status.explain import Explanation
from data_engine.status.record import DaemonFacts, EngineFacts, FlowStatus, WorkspaceStatus
from data_engine.view.errors import error_card
from data_engine.view.flow_picture import flow_card, lines_of, side_lanes
from data_engine.view.flows import reasons_card
from data_engine.view.notebooks import cell_lines, compile_card
from data_engine.view.results import batch_card, contexts_card, short_text
from data_engine.view.runs import log_card, runs_card, steps_card
from data_engine.view.status import status_card
from data_engine.view.text import text
from data_engine.view.timeline import MOST_LANES, runs_picture, steps_picture
from data_engine.workspace.layout import CurrentNotebook
from jupyter_extension import display
from jupyter_extension.display import bundle
from jupyter_extension.html import STYLE, html
from tests.jupyter.conftest import Shell
from tests.support import WorkspaceFiles

ROOT = Path(__file__).parent.parent.parent
NOON_S = 1_767_614_400.0
"""2026-01-05 12:00 UTC."""


def read(context: Any) -> Any:
    return 21


def tidy(context: Any) -> Any:
    return context.current


FLOW = (
    Flow(group="Flights", name="daily_flights")
    .watch(mode="poll", source="/data/flights", interval="30s", extensions=[".csv", ".xlsx"], max_parallel=2)
    .mirror(root="/out/flights")
    .step(read, save_as="raw_df")
    .step(tidy, save_as="clean_df")
    .collect(".csv", root="/data/more", save_as="files")
    .map(str, max_parallel=3, save_as="texts")
    .step(tidy, use="raw_df", label="Totals <of> the day & night")
    .step(tidy, use="clean_df")
    .step(tidy, use="nobody")
)
LIVE = FlowStatus(
    "flights",
    state_kind="polling",
    deployment_status=DeploymentStatus("edited", (3, 7)),
    next_run_utc="2026-01-05T12:00:30+00:00",
    last_run=Run("r1", "flights", "G", None, "failed", "2026-01-05T11:59:00+00:00"),
)


def run(number: int, flow: str = "claims", status: str = "success", **more: Any) -> Run:
    at = f"2026-01-05T{6 + number // 60:02}:{number % 60:02}:00+00:00"
    elapsed_s = None if status == "started" else 0.25 * number
    return Run(f"{number:032x}", flow, "G", f"/in/day {number}.csv", status, at, None, elapsed_s, **more)


RUNS = [run(7 * n, ("claims", "report")[n % 2], RUN_STATUSES[n % 6]) for n in range(12)]
RUNS[2] = run(
    14, status="failed", error="KeyError: 'amount'\n  where: claims.ipynb, cell 4, line 3", why=Cause("code_raised")
)
STEPS = [
    StepRun("3f" * 16, 0, "Read", "success", "2026-01-05T06:30:00+00:00", None, 1.2),
    StepRun("3f" * 16, 1, "Clean", "failed", "2026-01-05T06:30:01.2+00:00", None, 0.3, "KeyError: 'amount'"),
]
STATUS = WorkspaceStatus.read(
    {
        "workspace_id": "claims",
        "workspace_root": "/srv/claims",
        "daemon": {"running": True, "pid": 123, "version": "0.1.0"},
        "engine": {"on": True, "stopping": False},
        "lease": {"state": "owned", "owner": {"machine_id": "m", "host_name": "desk-7"}, "token": 3},
        "flows": [
            {"name": "claims", "group": "G", "state_kind": "polling",
             "next_run_utc": "2026-01-05T06:30:00+00:00", "last_run": RUNS[1].as_dict(), "held": 2},
            {"name": "report", "group": "G", "state_kind": "broken",
             "why": {"kind": "broken", "what": "NameError: name 'x' is not defined"},
             "next_run_utc": None, "last_run": None, "held": 0},
            {"name": "hourly", "group": "G", "state_kind": "disabled", "why": {"kind": "disabled"}, "next_run_utc": None,
             "held": 0, "last_run": None, "deployment_status": {"kind": "edited", "cells": [2]}},
        ],
        "active_runs": [{"run_id": "3f" * 16, "flow": "claims", "group": "G", "pid": 123, "in_daemon": True, "source": "/in/a.csv", "step": "Clean",
                         "started_at_utc": "2026-01-05T06:30:00+00:00"}],
    }
)  # fmt: skip
REASONS = [
    Explanation("claims", f"/in/{number}.csv", why)
    for number, why in enumerate([New(), Held(None, "failed", "KeyError"), Settling(0.6)])
]
BATCH: Batch[Any] = Batch(
    (FileRef._resolved("/in/a.csv"), 5, "text", ItemError(Path("/in/c.csv"), ValueError("no rows")))
)


def failure() -> FlowExecutionError:
    error = FlowExecutionError(
        flow_name="claims", phase="step", detail="KeyError: 'amount'", step_label="Clean", function_name="clean",
        source_path="/in/a.csv", fix="check the column names",
    )  # fmt: skip
    error.set_place("claims.ipynb, cell 4 (In [12]), line 3", "    return frame['amount']")
    error.trace = ("claims.ipynb, cell 4 (In [12]), line 3", "    return frame['amount']")
    return error


def contexts() -> Any:
    flow = Flow(group="G", name="claims").step(read, save_as="number")
    bad = Flow(group="G", name="claims").step(lambda context: {}["amount"], label="Clean")
    return [*flow.run_once(), *bad.run_once(on_error="continue")]


CARDS = {
    "flow": lambda: flow_card(FLOW, now_s=NOON_S),
    "flow_live": lambda: flow_card(FLOW, now_s=NOON_S, live=LIVE),
    "flow_small": lambda: flow_card(Flow(group="Hello").step(read), now_s=NOON_S),
    "runs": lambda: runs_card(RUNS, now_s=NOON_S, zone=UTC),
    "steps": lambda: steps_card(STEPS, now_s=NOON_S),
    "status": lambda: status_card(STATUS),
    "reasons": lambda: reasons_card(REASONS),
    "batch": lambda: batch_card(BATCH),
    "error": lambda: error_card(failure(), "claims.ipynb#cell-id=abc"),
    "contexts": lambda: contexts_card(contexts()),
    "log": lambda: log_card([LogEntry("3f", "claims", "Read", "WARNING", "late", "2026-01-05T06:30:00+00:00")]),
}


@pytest.fixture(autouse=True)
def utc(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    import time

    if sys.platform == "win32":
        if time.timezone:
            pytest.skip("Windows has no tzset, and this machine's clock is not on UTC")
        yield
        return
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.mark.parametrize("name", CARDS)
def test_a_card_is_as_it_was_looked_at(name: str, golden: Any) -> None:
    """HTML (without the style, which all share) and text, byte by byte: the same values, the same output."""
    card = CARDS[name]()

    assert html(card) == html(CARDS[name]())
    golden(f"{name}.html", html(card).replace(STYLE, "").replace("><", ">\n<") + "\n")
    golden(f"{name}.txt", text(card) + "\n")


class _Checker(HTMLParser):
    """Fails where an element is not closed in its order, and collects what could load or run something."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: set[str] = set()
        self.links: list[tuple[str, str | None]] = []
        self.words: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.links += [(name, value) for name, value in attrs if name in ("href", "src", "style") or name[:2] == "on"]
        self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words.append(data)


TAGS = set(
    "div span style table thead tbody tr th td svg g path rect circle text tspan title desc a dl dt dd details summary".split()
)


def checked(shown: str) -> _Checker:
    checker = _Checker()
    checker.feed(shown)
    checker.close()
    assert checker.open == []
    assert checker.tags <= TAGS
    for picture in re.findall(r"<svg.*?</svg>", shown, re.DOTALL):
        ElementTree.fromstring(picture)
    return checker


@pytest.mark.parametrize("name", CARDS)
def test_a_card_is_whole_and_loads_nothing(name: str) -> None:
    """No scripts, no handlers, no address but the link to a cell; each picture is XML by itself and tells what it shows."""
    shown = html(CARDS[name]())
    checker = checked(shown)

    assert [link for link in checker.links if link != ("href", "claims.ipynb#cell-id=abc")] == []
    assert "http" not in shown.replace('xmlns="http://www.w3.org/2000/svg"', "")
    assert "@import" not in shown
    assert "url(" not in shown
    for picture in re.findall(r"<svg[^>]*>", shown):
        assert 'aria-hidden="true"' in picture or ('role="img"' in picture and "aria-label=" in picture)


ODD = st.text(min_size=1, max_size=40).filter(str.strip) | st.sampled_from(
    [
        '<script>alert("x")</script>',
        "a&b",
        "</svg>",
        "'\"><img src=x onerror=y>",
        "\x00\x1b[31m",
        "\ud800",
        "ä\u0301漢字🙂",
        "x\ny",
    ]
)


@given(group=ODD, label=ODD, saved=ODD, source=ODD)
def test_odd_names_stay_text_in_a_picture(group: str, label: str, saved: str, source: str) -> None:
    """Whatever people call things: nothing of it becomes markup, and the picture stays XML."""
    flow = Flow(group=group, label=label).step(read, save_as=saved if saved.strip() != "current" else "x", label=label)
    with suppress(FlowValidationError):  # a pattern, an address, the home of somebody who is not there...
        flow = flow.mirror(root=source)

    shown = html(flow_card(flow.step(read, use=saved, label=label), now_s=NOON_S))
    text(flow_card(flow, now_s=NOON_S))

    assert set(checked(shown).tags) <= TAGS - {"a"}
    shown.encode()


def test_a_status_tells_of_the_warnings_of_a_flows_last_run() -> None:
    flow = replace(LIVE, warned=LastRunWarned(2, "r1"))

    assert "failed, 2 warnings, 2026" in text(status_card(replace(STATUS, flows=(flow,))))
    assert "warning" not in text(status_card(replace(STATUS, flows=(LIVE,))))


def test_a_status_that_lacks_what_other_workstations_ran_says_so() -> None:
    behind = replace(STATUS, lease=replace(STATUS.lease, is_behind=True))

    assert "not all of what other workstations ran is known here" in text(status_card(behind))
    assert "other workstations" not in text(status_card(STATUS))


def test_an_engine_that_ends_its_work_is_told_as_stopping() -> None:
    stopping = replace(STATUS, engine=EngineFacts(on=True, stopping=True))

    assert re.search("^engine +stopping$", text(status_card(stopping)), re.MULTILINE)


def test_a_daemon_that_does_not_answer_is_not_told_as_none() -> None:
    silent = DaemonFacts(running=True, pid=7, silent=True)
    told = text(status_card(replace(STATUS, daemon=silent, engine=EngineFacts(on=None))))

    assert "daemon  pid 7 is there, and does not answer\n" in told
    assert "engine  not known\n" in told
    assert "wait until it answers, or end it: `data-engine kill`" in told


@given(flow=ODD, source=ODD, error=ODD, status=st.sampled_from(RUN_STATUSES) | ODD)
def test_odd_names_stay_text_in_tables_and_timelines(flow: str, source: str, error: str, status: str) -> None:
    runs = [
        Run(flow, flow, flow, source, status, "2026-01-05T06:30:00+00:00", None, 1.0, error, other_cause(error))
    ] * 2
    steps = [StepRun(flow, 0, flow, status, "2026-01-05T06:30:00+00:00", None, None, error, source)]
    cards = [
        runs_card(runs, now_s=NOON_S),
        steps_card(steps, now_s=NOON_S),
        reasons_card([Explanation(flow, source, Other(error))]),
        batch_card(Batch((source, ItemError(source, ValueError(error))))),
        error_card(FlowValidationError(error, where=source, fix=flow)),
    ]
    for card in cards:
        checked(html(card))
        html(card).encode()
        text(card)


def test_a_flow_shows_its_picture_without_the_extension(shell: Shell, ws: WorkspaceFiles) -> None:
    """As the last expression of a cell; plain IPython takes the words, a front end that can, the picture."""
    shell.run("%unload_ext data_engine")
    shell.run("from data_engine import Flow\nflow = Flow(group='G', name='n').step(len, save_as='size')\nflow")
    assert "step 1   Len  len  saves size" in shell.out

    data, _ = shell.ipython.display_formatter.format(shell.ipython.user_ns["flow"])
    assert "<svg" in data["text/html"]
    assert data["text/plain"].splitlines()[0] == "N  n  group G  manual"


@pytest.mark.parametrize("value", [Listing(RUNS), Listing(STEPS), STATUS, Listing(REASONS), BATCH, failure(), FLOW])
def test_each_of_our_values_shows_itself_in_html_and_in_words(value: Any, shell: Shell) -> None:
    """IPython's own printers of lists, dicts and exceptions do not stand in the way."""
    data, _ = shell.ipython.display_formatter.format(value)

    assert data["text/html"].startswith('<div class="de-card')
    assert data["text/plain"] == bundle(value)["text/plain"]  # type: ignore[index]


@pytest.mark.parametrize("value", [Listing([]), Listing([1]), Listing([RUNS[0], STEPS[0]])])
def test_what_has_no_card_is_shown_as_python_shows_it(value: Any, shell: Shell) -> None:
    plain = dict(value) if isinstance(value, dict) else list(value)

    assert bundle(value) is None
    assert shell.ipython.display_formatter.format(value) == shell.ipython.display_formatter.format(plain)


def test_a_card_inside_a_container_is_shown_as_python_shows_it(shell: Shell) -> None:
    """Only what the cell returns is a card; what lies in a dict of the author's is not."""

    shown, plain = (
        shell.ipython.display_formatter.format({"batch": BATCH, "status": status, "runs": runs})
        for status, runs in ((STATUS, Listing(RUNS)), (STATUS.as_dict(), RUNS))
    )

    assert shown == plain


def test_results_are_lists_as_before(ws: WorkspaceFiles) -> None:
    """What shows itself as a table is equal to a list, prints as one and pickles."""
    import pickle

    runs = Listing(RUNS)

    assert runs == RUNS
    assert repr(runs) == repr(RUNS)
    assert pickle.loads(pickle.dumps(runs)) == RUNS
    assert type(Flow(group="G").step(read).run_once()) is Listing


def test_nothing_below_knows_of_the_displays() -> None:
    """The face of the package names the panel and the magics; the display hook imports who shows a value by its name."""
    package = ROOT / "data_engine"
    knows = {
        path.relative_to(package).as_posix()
        for path in package.rglob("*.py")
        if re.search(r"^\s+(from|import) jupyter_extension", path.read_text(encoding="utf-8"), re.MULTILINE)
        and not path.is_relative_to(package / "cli")  # beside the displays: its screen follows the panel's status
    }

    assert knows == {"__init__.py"}


def test_a_value_shows_itself_without_load_ext() -> None:
    assert bundle_of(Flow(group="G")) == bundle(Flow(group="G"))
    assert bundle_of(object()) is None


def test_a_flow_is_no_slower_to_import() -> None:
    """`shown` brings nothing along."""
    code = (
        "import sys\nfrom data_engine import Flow\nprint([n for n in sys.modules if n.startswith('jupyter_extension')])"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "[]"


# -- the picture's own rules ---------------------------------------------------------------------------------------


def test_a_step_that_replaces_an_object_unasked_is_drawn_with_the_step_that_saved_it() -> None:
    """In the picture and its words; not where it takes the object that it replaces."""
    pasted = Flow(group="G").step(read, save_as="df").step(tidy, save_as="df")
    refined = Flow(group="G").step(read, save_as="df").step(tidy, use="df", save_as="df")

    shown, meant = (flow_card(flow, now_s=NOON_S) for flow in (pasted, refined))

    assert "saves df (step 1 saves it too)" in text(shown)
    assert ">step 1 saves it too</text>" in html(shown)
    assert "saves it too" not in html(meant)


def test_an_object_taken_from_the_step_before_needs_no_side_line() -> None:
    flow = Flow(group="G").step(read, save_as="a").step(tidy, use="a").step(tidy, use="a")

    assert side_lanes(tuple(lines_of(flow, now_s=0))) == {1: 0}


@given(st.lists(st.tuples(st.sampled_from("abcd"), st.sampled_from("abcd")), min_size=1, max_size=12))
def test_side_lines_that_meet_never_share_a_lane(steps: list[tuple[str, str]]) -> None:
    """Two objects whose lines touch the same rows can be told apart."""
    flow = Flow(group="G")
    for saved, used in steps:
        flow = flow.step(tidy, save_as=saved, use=used)
    lines = tuple(lines_of(flow, now_s=0))
    lanes = side_lanes(lines)
    spans = {
        start: max(row for row, line in enumerate(lines) if line.origin == start and start != row - 1)
        for start in lanes
    }

    for one in lanes:
        for other in lanes:
            if one < other <= spans[one]:
                assert lanes[one] != lanes[other]


NEXT = {
    "a poll without a daemon": ({"mode": "poll", "source": "/in", "interval": "5s"}, None, "once it is deployed and the engine is on"),
    "an interval": ({"mode": "schedule", "interval": "15m"}, None, "15 min after the engine was started"),
    "a wall clock": ({"mode": "schedule", "time": "08:15", "tz": "Europe/Berlin"}, None, "Tue 2026-01-06 08:15"),
    "a cron line": ({"mode": "schedule", "cron": "0 18 * * 1-5", "tz": "UTC"}, None, "Mon 2026-01-05 18:00"),
    "with a daemon": ({"mode": "schedule", "time": "08:15"}, LIVE, "2026-01-05 12:00:30"),
    "with a daemon, in a zone": ({"mode": "schedule", "time": "08:15"}, replace(LIVE, tz="Asia/Tokyo"), "2026-01-05 21:00:30 Asia/Tokyo"),
    "running": ({"mode": "manual"}, FlowStatus("n", state_kind="running"), "running now"),
    "blocked": (
        {"mode": "poll", "source": "/in", "interval": "5s"},
        FlowStatus("n", state_kind="poll_ready", why=EngineOff()),
        "the engine is off",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", NEXT)
def test_the_next_run_is_told(name: str) -> None:
    watch, live, told = NEXT[name]

    lines = list(lines_of(Flow(group="G").watch(**watch), now_s=NOON_S, live=live, zone="UTC"))

    assert told in next(line.text for line in lines if line.kind == "next")


@pytest.mark.parametrize(
    ("live", "told"),
    [
        (None, []),
        (FlowStatus("n", why=ByHand()), []),
        (FlowStatus("n", deployment_status=NOT_DEPLOYED), ["by hand, once it is deployed"]),
    ],
    ids=["without a daemon", "deployed", "not deployed"],
)
def test_that_a_flow_runs_by_hand_is_told_once(live: FlowStatus | None, told: list[str]) -> None:
    lines = list(lines_of(Flow(group="G").step(tidy), now_s=NOON_S, live=live))

    assert [line.text for line in lines if line.kind in ("trigger", "next")] == ["by hand", *told]


def test_a_flow_without_steps_says_so_and_what_to_add() -> None:
    assert text(flow_card(Flow("K", "extra"), now_s=NOON_S)).splitlines() == [
        "Extra  extra  group K  manual  no steps yet: add .step(...)",
        "trigger  by hand",
    ]
    assert "no steps" not in text(flow_card(Flow("K", "extra").step(tidy), now_s=NOON_S))


WORDS = {
    "0 6 * * 1-5": "at 06:00 on business days (Monday to Friday)",
    "*/10 8-17 * * 1-5": "every 10th minute from 08:00 to 17:59 on business days (Monday to Friday)",
    "0 0 1 * *": "at 00:00 on the first day of every month",
}


@pytest.mark.parametrize("cron", WORDS)
def test_a_cron_line_is_told_in_words_with_its_next_five_times_and_their_zone(cron: str) -> None:
    """The line itself stands beside them; the times are the zone's own, and say so."""
    flow = Flow(group="G").watch(mode="schedule", cron=cron, tz="Europe/Berlin")

    lines = {line.kind: line for line in lines_of(flow, now_s=NOON_S)}

    assert lines["trigger"].text == f"{WORDS[cron]}, Europe/Berlin"
    assert lines["trigger"].detail == f"cron {cron}"
    assert lines["times"].text.endswith(" (Europe/Berlin)")
    assert len(re.findall(r"\d\d:\d\d", lines["times"].text)) == 5


def test_a_picture_says_that_its_notebook_is_no_flow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A notebook in a subfolder previews and draws like a flow; its picture tells that production never sees it."""
    place = CurrentNotebook(tmp_path / "flow_modules" / "old" / "claims.ipynb", "notebook")
    monkeypatch.setattr("jupyter_extension.display.current_notebook", lambda: place)
    monkeypatch.setattr("jupyter_extension.display.authored_folder", lambda: tmp_path / "flow_modules")

    assert "old/claims.ipynb is not a flow: it is in a subfolder" in _text(Flow(group="G"))


def test_a_picture_tells_the_notebook_from_production() -> None:
    """The schedule that is drawn is the notebook's; next run, last run and error are production's, and say so."""
    edited = Flow(group="G").watch(mode="schedule", time="23:59", source="/in").step(read)
    failed = replace(LIVE, last_run=run(1, status="failed", error="boom\n  where: x"))
    lines = {line.kind: line for line in lines_of(edited, now_s=NOON_S, live=failed, is_source_there=False)}
    new = [
        line.text
        for line in lines_of(
            edited, now_s=NOON_S, live=FlowStatus("n", deployment_status=NOT_DEPLOYED, last_run=failed.last_run)
        )
        if line.kind in ("next", "last", "error")
    ]

    assert lines["trigger"].text == "every day at 23:59"
    assert {lines[kind].detail for kind in ("next", "last", "error")} == {"in production"}
    assert lines["error"].text == "boom"
    assert lines["source"].state == Mark("does not exist", "bad", "cross")
    assert new == ["once it is deployed"]


def test_a_zone_is_the_workspaces_where_the_flow_names_none() -> None:
    flow = Flow(group="G").watch(mode="schedule", time="08:15")

    lines = {
        zone: next(line.text for line in lines_of(flow, now_s=NOON_S, zone=zone) if line.kind == "next")
        for zone in ("UTC", "America/New_York")
    }

    assert lines["UTC"].startswith("Tue 2026-01-06 08:15")
    assert lines["America/New_York"].startswith("Mon 2026-01-05 08:15")


# -- timelines -----------------------------------------------------------------------------------------------------


def test_a_failure_is_never_hidden_behind_the_runs_on_its_spot() -> None:
    """A thousand good runs in the same minute: the mark there is the failure's, and its tip counts them all."""
    runs = [run(0, status="success") for _ in range(1000)] + [run(0, status="failed"), run(500)]

    picture = runs_picture(runs, now_s=NOON_S, zone=UTC)

    assert "1,001 runs: 1 failed, 1,000 success" in picture
    assert re.findall('<g class="([^"]+)"', picture) == ["de-bad", "de-good"]


def test_a_run_from_the_future_is_marked_in_the_table_and_stretches_no_picture() -> None:
    ahead = replace(run(0), started_at_utc="2027-02-09T12:00:00+00:00", from_the_future=True)
    shown = html(runs_card([ahead, run(7), run(14)], now_s=NOON_S, zone=UTC))

    assert shown.count("(from the future)") == 1
    assert 'aria-label="2 runs by time' in shown


def test_a_timeline_holds_the_newest_flows() -> None:
    runs = [run(number, flow=f"flow-{number:02}") for number in range(20)]

    picture = runs_picture(runs, now_s=NOON_S, zone=UTC)

    assert [f"flow-{number:02}<" in picture for number in range(20)] == [
        number >= 20 - MOST_LANES for number in range(20)
    ]


@pytest.mark.parametrize("minutes", [0, 1, 59, 60 * 5, 60 * 24 * 3, 60 * 24 * 400])
def test_a_timeline_of_any_length_has_few_ticks_with_their_times(minutes: int) -> None:
    from datetime import datetime, timedelta

    begin = datetime(2026, 1, 5, 6, 30, tzinfo=UTC)
    runs = [
        Run("a", "f", "g", None, "success", (begin + timedelta(minutes=at)).isoformat(), None, 1.0)
        for at in (0, minutes)
    ]

    times = re.findall(r'<text class="de-a"[^>]*>([^<]+)<', runs_picture(runs, now_s=NOON_S, zone=UTC))

    assert 1 <= len(times) <= 7
    assert re.match(r"20\d\d-\d\d-\d\d", times[0])


@pytest.mark.parametrize(("status", "took"), [("started", "12 h"), ("abandoned", "")])
def test_a_step_of_an_abandoned_run_counts_no_time(status: str, took: str) -> None:
    """Nobody knows when it ended; one that runs takes until now."""
    from data_engine.model import utc_text

    picture = steps_picture([StepRun("a", 0, "Read", status, utc_text(NOON_S - 12 * 3600))], now_s=NOON_S)

    assert f"Read: {', '.join(filter(None, (status, took)))}<" in picture


@given(
    st.lists(
        st.tuples(st.integers(0, 10**8), st.none() | st.floats(0, 10**6), st.sampled_from(RUN_STATUSES)), max_size=30
    )
)
def test_marks_and_bars_lie_inside_the_picture(given_runs: list[tuple[int, float | None, str]]) -> None:
    from data_engine.model import utc_text

    runs = [Run("a", "f", "g", None, status, utc_text(at_s), None, took_s) for at_s, took_s, status in given_runs]
    steps = [StepRun("a", 0, "s", status, utc_text(at_s), None, took_s) for at_s, took_s, status in given_runs]

    for picture in (runs_picture(runs, now_s=NOON_S, zone=UTC), steps_picture(steps, now_s=NOON_S)):
        ElementTree.fromstring(picture)
        for x in re.findall(r"translate\(([-\d.e+]+) ", picture):
            assert 0 <= float(x) <= 628
        for x, wide in re.findall(r'x="([-\d.]+)" y="[-\d.]+" width="([-\d.]+)"', picture):
            assert 0 <= float(x) <= float(x) + float(wide) <= 640


# -- tables --------------------------------------------------------------------------------------------------------


def test_large_results_show_their_first_rows_and_count_the_rest() -> None:
    card = batch_card(Batch(tuple(range(100_000))))

    assert text(card).endswith("and 99,980 more")
    assert len(html(card)) < 20_000


class Expensive:
    """Its text costs a lot, or raises."""

    def __repr__(self) -> str:
        raise RuntimeError("no")


def test_a_value_in_brief_never_raises_and_never_runs_a_query() -> None:
    import duckdb
    import polars as pl

    frame = pl.DataFrame({"a": [1, 2, 3]})
    relation = duckdb.connect().sql("select error('was run')")

    assert short_text(frame) == "DataFrame, 3 rows × 1 column"
    assert short_text(frame["a"]) == "Series, 3 values"
    assert short_text(frame.lazy()) == "LazyFrame"
    assert short_text(relation) == "DuckDBPyRelation"
    assert short_text([frame]) == "[DataFrame, 3 rows × 1 column]"
    assert short_text(Expensive()) == "<Expensive>"
    assert len(short_text(dict.fromkeys(range(1000), "x" * 1000))) <= 80


def test_a_compile_report_shows_each_statement_and_its_reason(ws: WorkspaceFiles, golden: Any) -> None:
    path = ws.notebook(
        "claims",
        "import polars as pl\nfrom data_engine import Flow",
        "lookup = pl.read_csv('lookup.csv')\nlookup.head()",
        "def read(context):\n    return lookup",
        "def build():\n    return Flow(group='G').step(read)",
        "build().preview()",
    )

    compiled = compile_notebook(path)
    card = compile_card(
        compiled, texts=cell_lines(path), deployment="edited, not deployed: cells 2", diff={2: ["- a", "+ b"]}
    )

    golden("compile.html", html(card).replace(STYLE, "").replace("><", ">\n<") + "\n")
    golden("compile.txt", text(card) + "\n")
    checked(html(card))
    assert "build().preview()" in text(compile_card(compiled, texts=cell_lines(path), is_whole=True))


def test_a_compiled_notebook_of_a_workspace_says_how_it_is_deployed(ws: WorkspaceFiles) -> None:
    from data_engine import Workspace

    path = ws.notebook("claims", "from data_engine import Flow\ndef build():\n    return Flow(group='G').step(print)")
    assert "not deployed" in _text(compile_notebook(path))

    Workspace(ws.root).deploy("claims")
    assert "as deployed" in _text(compile_notebook(path))

    ws.notebook("claims", "from data_engine import Flow\ndef build():\n    return Flow(group='H').step(print)")
    told = _text(compile_notebook(path))
    assert "edited, not deployed: cell 1" in told
    assert "+     return Flow(group='H').step(print)" in told or "+    return Flow(group='H').step(print)" in told


def test_a_compile_error_is_a_card_with_its_cell() -> None:
    error = NotebookCompileError(
        flow_name="claims", detail="`rate` exists only in your kernel's memory", cell="claims.ipynb, cell 3, line 2", fix="define it"
    )  # fmt: skip

    assert _text(error).splitlines()[1:] == ["where  claims.ipynb, cell 3, line 2", "fix    define it"]


def _text(value: Any) -> str:
    shown = bundle(value)
    assert shown is not None
    return str(shown["text/plain"])


def test_a_check_stands_in_the_picture_with_its_rules_and_what_becomes_of_other_rows() -> None:
    flow = Flow(group="G", name="claims").step(len, label="Read")
    flow = flow.check({"positive": "amount > 0", "known": "id IS NOT NULL"}, on_fail="quarantine", rejected="bad_df")

    line = next(one for one in lines_of(flow, now_s=0.0) if one.kind == "check")

    assert (line.node, line.text) == ("2", "Check")
    assert line.detail == "positive, known: other rows are kept apart as bad_df"
    shown = bundle(flow)
    assert shown is not None
    checked(shown["text/html"])
    assert "step 2   Check" in shown["text/plain"]


@pytest.mark.parametrize("name", [*display._KINDS, *display._LISTINGS])
def test_each_name_that_has_a_card_is_a_class_of_ours(name: str) -> None:
    """Cards are found by the names of classes, so that a picture imports only what it draws."""
    module, _, kind = name.rpartition(".")

    assert display._name_of(getattr(importlib.import_module(module), kind)) == name


def test_the_first_picture_of_a_flow_imports_no_data_library_and_no_commands() -> None:
    """A kernel waits for it: `%load_ext` and a picture load what they need."""
    text = """
import sys
from IPython.core.interactiveshell import InteractiveShell
shell = InteractiveShell.instance()
shell.run_line_magic("load_ext", "data_engine")
from data_engine import Flow
assert "text/html" in shell.display_formatter.format(Flow(group="Sales", name="daily").step(len))[0]
heavy = {"polars", "duckdb", "sphinx", "pandas", "data_engine.commands.registry", "data_engine.client", "data_engine.plan.plan"}
print(sorted(heavy & {*sys.modules}))
"""
    said = subprocess.check_output([sys.executable, "-P", "-W", "ignore", "-c", text], text=True)

    assert said.splitlines()[-1] == "[]"
