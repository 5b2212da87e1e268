"""`run(*flows)` here in this process: files dropped are run, schedules tick, nothing ends it but Ctrl-C.

A thread plays the person: it waits for conditions, then sends the interrupt that Ctrl-C would.
"""

from __future__ import annotations

import _thread
import os
import signal
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from data_engine import Flow, FlowExecutionError, FlowValidationError, Workspace, load_flow, run
from data_engine.files import write_text_atomic
from data_engine.flow.trigger import Schedule
from data_engine.model import Event, RunFinished, RunStarted, Switch, utc_text
from data_engine.scheduler.foreground import run_until_interrupted
from tests.support import PATIENCE, WorkspaceFiles, until

LIMIT_S = 20.0


def running(person: Callable[[], None], *flows: Flow, **options: Any) -> list[Any]:
    """What the continuous run returns when a person has done their part and pressed Ctrl-C."""
    failures: list[BaseException] = []

    def play() -> None:
        try:
            person()
        except BaseException as error:
            failures.append(error)
        finally:
            press_ctrl_c()

    thread = threading.Thread(target=play)
    thread.start()
    try:
        answer = run_until_interrupted(flows, **options) if options else run(*flows)
    finally:
        thread.join()
    if failures:
        raise failures[0]
    return answer


def press_ctrl_c() -> None:
    """What a terminal sends; it wakes the main thread from whatever it waits for."""
    if hasattr(signal, "pthread_kill"):
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)
    else:
        _thread.interrupt_main()  # the same as a console does, for this process alone


class Seen:
    """A step that remembers what it was run for."""

    def __init__(self, *, fail_on: str = "") -> None:
        self.names: list[str] = []
        self.fail_on = fail_on

    def __call__(self, context: Any) -> Any:
        name = "-" if context.source is None or context.source.path is None else context.source.path.name
        self.names.append(name)
        if name == self.fail_on:
            raise ValueError("boom")
        return name


@pytest.fixture
def inbox(tmp_path: Path) -> Path:
    (tmp_path / "in").mkdir()
    return (tmp_path / "in").resolve()


def put(path: Path, text: str) -> None:
    """A file that is whole when it is first seen."""
    write_text_atomic(path, text, durable=False)


def polling(inbox: Path, step: Callable[[Any], Any], name: str = "poll", **options: Any) -> Flow:
    given: dict[str, Any] = {"interval": "50ms", "settle": 0, **options}
    return Flow(group="G", name=name).watch(mode="poll", source=inbox, **given).step(step)


def test_the_backlog_and_what_is_dropped_later_is_run_once(inbox: Path) -> None:
    seen = Seen()
    (inbox / "a.csv").write_text("x")

    def person() -> None:
        until(lambda: seen.names == ["a.csv"])
        (inbox / "b.csv.part").write_text("x")
        (inbox / "b.csv.part").rename(inbox / "b.csv")
        until(lambda: len(seen.names) == 2)
        put(inbox / "a.csv", "longer")
        until(lambda: len(seen.names) == 3)

    assert running(person, polling(inbox, seen)) == []
    assert seen.names == ["a.csv", "b.csv", "a.csv"]


def test_what_a_step_writes_among_its_sources_is_no_source(inbox: Path) -> None:
    """Also where the step does not return it: a flow without a workspace knows what it writes, too."""
    ran: list[str] = []

    def clean(context: Any) -> None:
        ran.append(context.source.path.name)
        context.source.file(f"clean_{context.source.path.name}").write_text("x")

    def person() -> None:
        put(inbox / "a.csv", "x")
        until(lambda: len(ran) == 1)
        time.sleep(0.5)
        put(inbox / "b.csv", "x")
        until(lambda: "b.csv" in ran)
        time.sleep(0.5)

    running(person, polling(inbox, clean))
    assert ran == ["a.csv", "b.csv"]


def test_a_flow_that_would_overwrite_its_source_runs_once_and_leaves_it(inbox: Path) -> None:
    ran: list[str] = []

    def clean(context: Any) -> None:
        ran.append(context.source.path.name)
        context.source.path.write_text("ruined")

    def person() -> None:
        put(inbox / "a.csv", "x")
        until(lambda: len(ran) == 1)
        time.sleep(0.5)

    running(person, polling(inbox, clean))
    assert ran == ["a.csv"]
    assert (inbox / "a.csv").read_text() == "x"


def test_events_find_a_file_long_before_the_next_scan(inbox: Path) -> None:
    seen = Seen()

    def person() -> None:
        put(inbox / "first.csv", "x")
        until(lambda: seen.names == ["first.csv"])  # from the first scan or from an event
        (inbox / "sub").mkdir()
        put(inbox / "sub" / "second.csv", "x")
        until(lambda: len(seen.names) == 2)

    running(person, polling(inbox, seen, interval="1h"))


def test_a_source_that_comes_later_is_found(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Until then it is said, once, that it is not there."""
    seen = Seen()
    inbox = tmp_path / "later"

    def person() -> None:
        until(lambda: "unreachable since" in capsys.readouterr().err)
        inbox.mkdir()
        put(inbox / "a.csv", "x")
        until(lambda: seen.names == ["a.csv"])

    running(person, polling(inbox, seen))


def test_a_failure_is_one_line_and_the_others_run(inbox: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It is not tried again until the file changes."""
    seen = Seen(fail_on="bad.csv")
    (inbox / "bad.csv").write_text("x")
    (inbox / "good.csv").write_text("x")

    def person() -> None:
        until(lambda: len(seen.names) == 2)
        put(inbox / "more.csv", "x")
        until(lambda: len(seen.names) == 3)

    running(person, polling(inbox, seen))

    assert sorted(seen.names) == ["bad.csv", "good.csv", "more.csv"]
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith('failed: Flow "poll" failed in step "Seen"')
    assert "ValueError: boom (run " in line


def test_interval_schedules_tick_and_a_busy_folder_starves_none(inbox: Path) -> None:
    """They are of one group: between two sources the schedule has its turn."""
    order: list[str] = []
    for number in range(30):
        (inbox / f"{number:02}.csv").write_text("x")

    def slow(context: Any) -> None:
        order.append(context.source.path.name)
        time.sleep(0.02)

    ticking = (
        Flow(group="G", name="tick").watch(mode="schedule", interval="50ms").step(lambda context: order.append("tick"))
    )

    running(lambda: until(lambda: len(order) > 31), polling(inbox, slow), ticking)

    assert "tick" in order[:20]
    assert order.count("tick") > 2


def test_flows_of_one_group_take_turns_and_groups_run_side_by_side(inbox: Path) -> None:
    together: dict[str, int] = {"G": 0, "H": 0}
    most = dict(together)
    meeting = threading.Barrier(2)
    met: list[bool] = []

    def step(context: Any) -> None:
        together[context.group] += 1
        most[context.group] = max(most[context.group], together[context.group])
        if not met and context.flow_name in ("g1", "h1"):
            meeting.wait(LIMIT_S)  # passes only when both groups are running
            met.append(True)
        together[context.group] -= 1

    (inbox / "a.csv").write_text("x")
    flows = [
        Flow(group=group, name=name).watch(mode="poll", source=inbox, interval="50ms", settle=0).step(step)
        for group, name in (("G", "g1"), ("G", "g2"), ("H", "h1"))
    ]

    running(lambda: until(lambda: bool(met)), *flows)

    assert most == {"G": 1, "H": 1}


def test_several_sources_of_one_flow_run_at_once_when_it_allows_it(inbox: Path) -> None:
    for name in ("a.csv", "b.csv"):
        (inbox / name).write_text("x")
    meeting = threading.Barrier(2)
    met: list[str] = []

    def step(context: Any) -> None:
        meeting.wait(LIMIT_S)
        met.append(context.source.path.name)

    running(lambda: until(lambda: len(met) == 2), polling(inbox, step, max_parallel=2))


def test_ctrl_c_lets_the_running_step_end_and_records_the_run_as_stopped(ws: WorkspaceFiles) -> None:
    """The next step does not begin; the file is held, not done, and the next start runs it."""
    ws.source("in/a.csv")
    ws.module(
        "claims",
        f"""
        import time
        from pathlib import Path
        from data_engine import Flow

        def first(context):
            Path(context.source.root, "..", "begun").touch()
            time.sleep({0.3 * PATIENCE})
            Path(context.source.root, "..", "ended").touch()

        def second(context):
            Path(context.source.root, "..", "second").touch()

        def build():
            return Flow(group="G").watch(mode="poll", source="../in", interval="50ms", settle=0).step(first).step(second)
        """,
    )
    flow = load_flow("claims", data_root=ws.root)

    assert running(lambda: until((ws.root / "begun").exists), flow) == []

    (record,) = Workspace(ws.root).runs()
    assert (record.status, record.cause) == ("stopped", "interrupted")
    assert (ws.root / "ended").exists()
    assert not (ws.root / "second").exists()
    running(lambda: until((ws.root / "second").exists), flow)
    assert [one.status for one in Workspace(ws.root).runs()] == ["success", "stopped"]


def test_what_was_done_before_is_not_run_again(ws: WorkspaceFiles) -> None:
    """By the ledger: also when another process or `run_once` did it."""
    ws.source("in/a.csv")
    ws.module("claims", POLLED)
    flow = load_flow("claims", data_root=ws.root)
    flow.run_once()

    def person() -> None:
        ws.source("in/b.csv")
        until(lambda: len(Workspace(ws.root).runs()) == 2)

    running(person, flow)

    assert [Path(one.source or "").name for one in Workspace(ws.root).runs()] == ["b.csv", "a.csv"]


POLLED = """
    from data_engine import Flow

    def read(context):
        return context.source.path.read_text()

    def build():
        return Flow(group="G").watch(mode="poll", source="../in", interval="50ms", settle=0).step(read, save_as="text")
"""


def test_a_disabled_flow_does_not_run(ws: WorkspaceFiles) -> None:
    ws.source("in/a.csv")
    ws.module("off", POLLED)
    ws.module("on", POLLED)
    Workspace(ws.root).home.ledger().set_switch("off", Switch(False))

    running(
        lambda: until(lambda: bool(Workspace(ws.root).runs("on"))),
        *(load_flow(name, data_root=ws.root) for name in ("off", "on")),
    )

    assert Workspace(ws.root).runs("off") == []


def test_a_slot_missed_while_nothing_ran_is_caught_up_once(ws: WorkspaceFiles) -> None:
    """By the slots in the ledger; the second start owes nothing."""
    ws.module(
        "nightly",
        """
        from data_engine import Flow

        def build():
            return Flow(group="G").watch(mode="schedule", cron="0 0 1 1 *", tz="UTC").step(lambda context: 1)
        """,
    )
    flow = load_flow("nightly", data_root=ws.root)
    ledger = Workspace(ws.root).home.ledger()
    ledger.serve_slot("nightly", utc_text(0.0), "long ago")

    running(lambda: until(lambda: any(one.status == "success" for one in Workspace(ws.root).runs())), flow)
    tick = Flow(group="T", name="tick").watch(mode="schedule", interval="50ms").step(ticks := Seen())
    running(lambda: until(lambda: len(ticks.names) > 2), flow, tick)

    assert len(Workspace(ws.root).runs("nightly")) == 1
    assert len(ledger.served_slots("nightly")) == 2


def test_a_new_schedule_owes_nothing_for_the_past(ws: WorkspaceFiles) -> None:
    ws.module(
        "nightly",
        """
        from data_engine import Flow

        def build():
            return Flow(group="G").watch(mode="schedule", time=["00:00", "06:00", "12:00"]).step(lambda context: 1)
        """,
    )
    tick = Flow(group="T", name="tick").watch(mode="schedule", interval="50ms").step(ticks := Seen())

    running(lambda: until(lambda: len(ticks.names) > 2), load_flow("nightly", data_root=ws.root), tick)

    assert Workspace(ws.root).runs("nightly") == []


def test_a_second_ctrl_c_leaves_at_once_and_the_run_is_recorded(
    ws: WorkspaceFiles, capsys: pytest.CaptureFixture[str]
) -> None:
    ws.source("in/a.csv")
    release, begun = threading.Event(), threading.Event()

    def hang(context: Any) -> None:
        begun.set()
        release.wait(LIMIT_S)

    ws.module("claims", POLLED)
    flow = load_flow("claims", data_root=ws.root)
    flow = Flow(group="G", name="claims", trigger=flow.trigger, _workspace_root=ws.root).step(hang)

    def person() -> None:
        until(begun.is_set)
        press_ctrl_c()
        until(lambda: "Ctrl-C again leaves at once" in capsys.readouterr().err)

    with pytest.raises(KeyboardInterrupt):
        running(person, flow)

    (record,) = Workspace(ws.root).runs()
    release.set()
    assert (record.status, record.why and record.why.kind) == ("killed", "left_behind")
    until(lambda: not any(one.name == "scheduler" or one.name.startswith("run ") for one in threading.enumerate()))


# -- manual flows -------------------------------------------------------------------------------------------------


def test_manual_flows_run_once_and_give_their_contexts(inbox: Path) -> None:
    for name in ("a.csv", "b.csv"):
        (inbox / name).write_text(name)
    files = Flow(group="G", name="files").watch(mode="manual", source=inbox).step(Seen())
    plain = Flow(group="H", name="plain").step(lambda context: 42)

    contexts = run(files, plain)

    assert sorted(str(context.current) for context in contexts) == ["42", "a.csv", "b.csv"]
    assert [context.current for context in plain.run()] == [42]


def test_a_failing_manual_flow_raises_with_what_was_finished(inbox: Path) -> None:
    for name in ("a.csv", "bad.csv", "c.csv"):
        (inbox / name).write_text(name)
    flow = Flow(group="G", name="files").watch(mode="manual", source=inbox).step(Seen(fail_on="bad.csv"))

    with pytest.raises(FlowExecutionError, match="boom") as caught:
        run(flow)

    assert [context.current for context in caught.value.completed] == ["a.csv"]


def test_a_manual_flow_among_others_runs_once_at_the_start(inbox: Path) -> None:
    once, ticks = Seen(), Seen()
    manual = Flow(group="G", name="manual").step(once)
    ticking = Flow(group="G", name="tick").watch(mode="schedule", interval="20ms").step(ticks)

    running(lambda: until(lambda: len(ticks.names) > 3 and bool(once.names)), manual, ticking)

    assert once.names == ["-"]


# -- wrong requests -----------------------------------------------------------------------------------------------


def test_what_cannot_be_run_is_refused_at_once(inbox: Path) -> None:
    flow = polling(inbox, Seen())
    calls: tuple[Callable[[], object], ...] = (
        lambda: run(),
        lambda: run("claims"),  # type: ignore[arg-type]
        lambda: run(flow, flow),
        lambda: run(flow.mirror(root=inbox)),
    )
    for call in calls:
        with pytest.raises(FlowValidationError) as caught:
            call()
        assert caught.value.fix


# -- with modules that are edited ---------------------------------------------------------------------------------


def test_every_event_is_heard_in_order(inbox: Path) -> None:
    (inbox / "a.csv").write_text("x")
    heard: list[Event] = []

    running(
        lambda: until(lambda: any(isinstance(event, RunFinished) for event in heard)),
        polling(inbox, Seen()),
        listen=heard.append,
    )

    assert isinstance(heard[0], RunStarted)
    assert isinstance(heard[-1], RunFinished)
    assert len({event.run_id for event in heard}) == 1


def test_a_lookout_that_loses_its_ledger_for_a_while_goes_on(
    ws: WorkspaceFiles, capsys: pytest.CaptureFixture[str]
) -> None:
    """Settings that say nonsense are told once, and looked at again."""
    ws.source("in/a.csv")
    ws.module("claims", POLLED)
    flow = load_flow("claims", data_root=ws.root)
    path = ws.root / "config" / "data_engine.toml"
    path.parent.mkdir(exist_ok=True)
    path.write_text("[retry]\nretries = 'many'\n")

    def person() -> None:
        until(lambda: "retries" in capsys.readouterr().err)
        path.write_text("")
        os.utime(path, (1, 1))
        until(lambda: bool(Workspace(ws.root).runs()))

    running(person, flow)


FAILS_AT_FIRST = """
    from pathlib import Path
    from data_engine import Flow

    def read(context):
        tried = Path(context.source.root, "..", "tried")
        if not tried.exists():
            tried.touch()
            raise ValueError("the first time")

    def build():
        return Flow(group="G").watch(mode="poll", source="../in", interval="50ms", settle=0).step(read)
"""


def test_an_edited_retry_setting_holds_at_once(ws: WorkspaceFiles) -> None:
    """Also for a source that has failed before; nothing is started anew."""
    ws.source("in/a.csv")
    ws.module("claims", FAILS_AT_FIRST)
    flow = load_flow("claims", data_root=ws.root)

    def statuses() -> list[str]:
        return [run.status for run in Workspace(ws.root).runs()]

    def person() -> None:
        until(lambda: statuses() == ["failed"])
        ws.source("config/data_engine.toml", "[retry]\nretries = 1\ndelay = '10ms'\n")
        until(lambda: statuses() == ["success", "failed"])

    running(person, flow)


def test_an_edited_freshness_setting_holds_at_once(ws: WorkspaceFiles) -> None:
    """By content, a file that was only touched is not due; by its time it was."""
    ws.source("config/data_engine.toml", "freshness = 'content'\n")
    source = ws.source("in/a.csv")
    ws.module("claims", POLLED)
    flow = load_flow("claims", data_root=ws.root)

    def count() -> int:
        return len(Workspace(ws.root).runs())

    def person() -> None:
        until(lambda: count() == 1)
        os.utime(source, (1, 1))
        ws.source("in/b.csv")
        until(lambda: count() == 2)  # of the new file; the touched one is as it was
        ws.source("config/data_engine.toml", "freshness = 'signature'\n")
        until(lambda: count() == 3)

    running(person, flow)


def test_an_edited_time_zone_holds_at_once(ws: WorkspaceFiles) -> None:
    """A slot that is far away in one zone is a moment ago in the other, and owed as soon as that is the workspace's."""
    now = datetime.now(UTC)
    ws.source("config/data_engine.toml", "timezone = 'Etc/GMT+11'\n")
    ws.module(
        "daily",
        f"""
        from data_engine import Flow

        def build():
            at = "{now + timedelta(hours=1):%H:%M}"
            return Flow(group="G").watch(mode="schedule", time=at).step(lambda context: 1)
        """,
    )
    flow = load_flow("daily", data_root=ws.root)
    assert isinstance(flow.trigger, Schedule)
    ledger = Workspace(ws.root).home.ledger()
    ledger.set_setting("schedule of daily", f"{flow.trigger.cron_lines[0]} @ ")
    ledger.serve_slot("daily", utc_text(now.timestamp() - 60), "long ago")
    tick = Flow(group="T", name="tick").watch(mode="schedule", interval="50ms").step(ticks := Seen())

    def person() -> None:
        until(lambda: len(ticks.names) > 2)
        assert Workspace(ws.root).runs("daily") == []
        ws.source("config/data_engine.toml", "timezone = 'Etc/GMT-1'\n")
        until(lambda: bool(Workspace(ws.root).runs("daily")))

    running(person, flow, tick)
