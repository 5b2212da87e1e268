"""`status --watch`: the status as a screen that follows it, drawn by Rich, with keys that run, stop, retry and open a log.

Requests and looks at the workspace are made in threads, so that keys and drawing never wait for a daemon. Nothing is begun or
ended without a `y`.
"""

from __future__ import annotations

import io
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from rich.console import Console, Group, RenderableType
from rich.layout import Layout
from rich.live import Live
from rich.table import Table
from rich.text import Text

from data_engine.cli.output import complain, say, status_style
from data_engine.errors import FlowValidationError
from data_engine.files import file_exists
from data_engine.formatting import cli_line, duration_text, local_time, plural, visible, zoned_text
from data_engine.marks import Mark
from data_engine.platforms.host import IS_STYLED_BY_CALLS
from data_engine.platforms.terminals import is_terminal, pressed_keys
from data_engine.reasons.remedies import STOPS_AT
from data_engine.record import frozen
from data_engine.status.sentences import ends_text, freed_text, last_run_line, reason_of
from data_engine.view.card import plain
from data_engine.view.status import daemon_pairs

if TYPE_CHECKING:
    from data_engine.client import Workspace
    from data_engine.status.record import FlowStatus, WorkspaceStatus
    from data_engine.view.verb import Place

KEYS = {
    "r": ("run", "run the flow; asks"),
    "s": ("stop", "stop its runs; asks"),
    "t": ("retry", "try its held files again; asks"),
    "l": ("log", "the log of its run, or of its last one"),
    "up, down": ("", "choose a flow; also k and j, page up and down, home and end"),
    "q": ("quit", "the daemon and its runs go on"),
}
"""Each key with its word, and what it does."""
_LOOK_S, _LOOK_ALONE_S = 1.0, 4.0
"""The pause between looks at the workspace, with a daemon that answers and without one."""
_TICK_S = 0.5
_PAGE = 10
_MOST_RUNNING, _MOST_WARNINGS, _MOST_LOG_LINES = 5, 3, 2000
_ASKED_ROWS = len(KEYS)
_WHERE = "data-engine status --watch"
_FIX = "`data-engine status` prints once, `data-engine status --json` prints for programs"
_LEVELS = {"ERROR": "red", "CRITICAL": "red", "WARNING": "yellow"}


@frozen
class Question:
    """A question to a person: the `action` of the key y, and the text while it is `busy`."""

    text: str
    busy: str
    action: Callable[[], str]


@frozen
class OpenLog:
    """The log of a run: its lines once they are read; `at` is the first line that is shown, None where the end is followed."""

    run_id: str
    title: str
    lines: tuple[Text, ...] | None = None
    at: int | None = None


class WatchScreen:
    """A workspace in a terminal: its status, the keys of a person, and how both are drawn."""

    def __init__(self, ws: Workspace, console: Console) -> None:
        self._ws = ws
        self._console = console
        self._status: WorkspaceStatus | None = None
        self._trouble = ""
        self._chosen = ""
        self._question: Question | None = None
        self._message = Text()
        self._busy = ""
        self._doing: threading.Thread | None = None
        self._log: OpenLog | None = None
        self._shows_keys = False
        self._wake = threading.Event()
        self._has_left = False

    def show(self) -> int:
        """Show it until somebody leaves it; 0.

        Raises:
            KeyboardInterrupt: it was left by Ctrl-C.
        """
        threading.Thread(target=self._follow, name="data-engine-watch", daemon=True).start()
        live = Live(
            console=self._console, screen=True, auto_refresh=False, redirect_stdout=False, redirect_stderr=False
        )
        with _ended_by_signal(), _kept_output(), pressed_keys(sys.stdin) as wait, live:
            before: object = None
            try:
                while True:
                    if (state := self._drawn_state()) != before:
                        live.update(self.drawn(), refresh=True)
                        before = state
                    if not all(self.press(key) for key in wait(_TICK_S)):
                        break
            except EOFError:  # a terminal that went away
                pass
            finally:
                self._has_left = True
                self._wake.set()
        doing, busy = self._doing, self._busy
        if doing is not None:  # nobody leaves without the answer to a question that was confirmed
            say(f"{busy}: waiting for the answer")
            doing.join()
            say(self._message.plain)
        return 0

    # -- the status

    def look(self) -> None:
        """Read the status, and the log that is open."""
        try:
            self._status, self._trouble = self._ws.status(), ""
            log = self._log
            if log is not None:
                lines = tuple(self._log_lines(log.run_id))
                if self._log is not None and self._log.run_id == log.run_id:  # it may have been scrolled meanwhile
                    self._log = replace(self._log, lines=lines)
        except FlowValidationError as error:
            self._trouble = f"{error.what}. {error.fix or ''}"

    def _follow(self) -> None:
        while not self._has_left:
            self.look()
            answers = self._status is not None and self._status.daemon.answers
            self._wake.wait(_LOOK_S if answers else _LOOK_ALONE_S)
            self._wake.clear()

    def _log_lines(self, run_id: str) -> Iterator[Text]:
        run = self._ws.run_record(run_id)
        entries = self._ws.log(run.run_id)
        if (left_out := len(entries) - _MOST_LOG_LINES) > 0:
            yield Text(f"{left_out:,} earlier lines are left out: {cli_line('log', run.run_id[:8])}", "dim")
        for entry in entries[-_MOST_LOG_LINES:]:
            at = datetime.fromisoformat(entry.created_at_utc).astimezone()
            level = "" if entry.level == "INFO" else f" {entry.level}"
            text = f"{at:%H:%M:%S}{level} {entry.step or '-'}: {visible(entry.message)}"
            yield Text(text, _LEVELS.get(entry.level, ""))
        for line in (run.error or "").splitlines():
            yield Text(visible(line), "red")
        took = "" if run.elapsed_s is None else f" in {duration_text(run.elapsed_s)}"
        yield Text(f"{run.status}{took}", status_style(run.status))

    # -- keys

    def press(self, key: str) -> bool:
        """Do what a key means here; False where the screen is left by it."""
        if self._question is not None:
            self._answer(key, self._question)
        elif self._log is not None:
            self._scroll(key, self._log)
        elif key == "q":
            return False
        elif key == "?":
            self._shows_keys = not self._shows_keys
        elif key == "escape":
            self._shows_keys, self._message = False, Text()
        elif key in ("r", "s", "t", "l"):
            self._ask(key)
        else:
            self._move(key)
        return True

    def _answer(self, key: str, question: Question) -> None:
        if key == "y":
            self._question = None
            self._do(question)
        elif key in ("n", "q", "escape"):
            self._question, self._message = None, Text("Nothing was done.")

    def _do(self, question: Question) -> None:
        def go() -> None:
            try:
                self._message = Text(visible(question.action()), "green")
            except FlowValidationError as error:
                self._message = Text(visible(f"{error.what}. {error.fix or ''}"), "red")
            except Exception as error:  # whatever it is, the person must be told
                self._message = Text(visible(f"{type(error).__name__}: {error}"), "red")
            self._busy, self._doing = "", None
            self._wake.set()

        self._busy, self._message = question.busy, Text()
        self._doing = threading.Thread(target=go, name="data-engine-watch-request", daemon=True)
        self._doing.start()

    def _ask(self, key: str) -> None:
        flow, status = self._chosen_flow(), self._status
        if flow is None or status is None:
            return
        why = why_not(key, flow, status)
        if why is not None:
            self._message = Text(f"{KEYS[key][0].capitalize()} {visible(flow.name)}: not now, {why}.", "yellow")
        elif key == "l":
            run_id = next((run.run_id for run in status.active_runs if run.flow == flow.name), None)
            run_id = run_id or (flow.last_run.run_id if flow.last_run else "")
            self._log = OpenLog(run_id, f"{visible(flow.name)}, run {run_id[:8]}")
            self._wake.set()
        elif self._doing is None:
            self._shows_keys = False
            self._question = question_of(key, flow, status, self._ws)

    def _scroll(self, key: str, log: OpenLog) -> None:
        if key in ("escape", "l", "q"):
            self._log = None
            return
        page = max(self._console.size.height - 3, 1)
        last = max(len(log.lines or ()) - page, 0)
        at = last if log.at is None else log.at
        to = {"up": at - 1, "k": at - 1, "down": at + 1, "j": at + 1, "pageup": at - page, "pagedown": at + page}
        first = (to | {"home": 0, "end": last}).get(key)
        if first is not None:
            self._log = replace(log, at=max(first, 0) if first < last else None)

    def _move(self, key: str) -> None:
        names = [flow.name for flow in self._status.flows] if self._status is not None else []
        flow = self._chosen_flow()
        if flow is None:
            return
        at = names.index(flow.name)
        to = {"up": at - 1, "k": at - 1, "down": at + 1, "j": at + 1, "pageup": at - _PAGE, "pagedown": at + _PAGE}
        row = (to | {"home": 0, "end": len(names)}).get(key, at)
        self._chosen, self._message = names[min(max(row, 0), len(names) - 1)], Text()

    def _chosen_flow(self) -> FlowStatus | None:
        flows = self._status.flows if self._status is not None else ()
        return next((flow for flow in flows if flow.name == self._chosen), flows[0] if flows else None)

    # -- drawing

    def _drawn_state(self) -> object:
        """All that the screen depends on: while it is equal, nothing is drawn. Active runs are shown with their seconds."""
        running_s = time.time() // 1 if self._status is not None and self._status.active_runs else None
        keys = (self._chosen, self._question, self._message, self._busy, self._log, self._shows_keys)
        return self._status, self._trouble, keys, self._console.size, running_s

    def drawn(self) -> RenderableType:
        """The whole screen."""
        if self._log is not None:
            return self._drawn_log(self._log)
        status = self._status
        if status is None:
            return Group(Text(visible(self._trouble) or "Reading the workspace...", "red" if self._trouble else ""))
        head = list(self._head(status))
        running = list(_run_rows(status))
        bottom = self._bottom(status)
        high = self._console.size.height - len(head) - len(running) - _ASKED_ROWS - 3
        screen = Layout()
        parts = [
            Layout(Group(*head), size=len(head)),
            Layout(self._flows(status, max(high, 1)), ratio=1),
            Layout(Group(*running), size=len(running), visible=bool(running)),
            Layout(bottom, size=_ASKED_ROWS + 1),
            Layout(self._key_line(status), size=1),
        ]
        screen.split_column(*parts)
        return screen

    def _head(self, status: WorkspaceStatus) -> Iterator[Text]:
        yield _row(f"{status.workspace_id}  {status.workspace_root}", "bold")
        for name, cell in daemon_pairs(status):
            yield _row(f"{name:8} {plain(cell)}", "yellow" if isinstance(cell, Mark) and cell.tone == "warn" else "")
        if status.lease.is_worth_words:
            yield from (_row(line) for line in status.lease.lines)
        for warning in status.warnings[:_MOST_WARNINGS]:
            yield _row(f"warning  {warning}", "yellow")
        if self._trouble:
            yield _row(self._trouble, "red")
        yield Text()

    def _flows(self, status: WorkspaceStatus, high: int) -> RenderableType:
        """The list, moved so that the chosen flow is in it."""
        chosen = self._chosen_flow()
        if chosen is None:
            return Text("There are no flows yet.")
        is_wide = self._console.size.width >= 100
        shown = Table(box=None, pad_edge=False, expand=True, header_style="dim", padding=(0, 2, 0, 0))
        for name in ("  FLOW", *(["GROUP"] if is_wide else []), "STATE", "NEXT", "LAST RUN"):
            shown.add_column(name, no_wrap=True, overflow="ellipsis")
        shown.add_column("REASON", no_wrap=True, overflow="ellipsis", ratio=1)
        at = [flow.name for flow in status.flows].index(chosen.name)
        first = min(max(at - high // 2, 0), max(len(status.flows) - high, 0))
        for flow in status.flows[first : first + high]:
            is_chosen = flow is chosen
            cells = [
                f"{'>' if is_chosen else ' '} {flow.name}",
                *([flow.group or ""] if is_wide else []),
                flow.state_text,
                zoned_text(flow.next_run_utc, flow.tz),
                last_run_line(flow, file_exists),
                "; ".join(text.partition("\n")[0] for text in (flow.edit, reason_of(flow)) if text),
            ]
            style = "red" if flow.is_failing else "green" if flow.state_kind == "running" else ""
            shown.add_row(*(Text(visible(cell or "")) for cell in cells), style=f"bold {style}" if is_chosen else style)
        return shown

    def _bottom(self, status: WorkspaceStatus) -> RenderableType:
        """A question, the keys, or the whole reason of the chosen flow and the last message."""
        rule = Text("-" * self._console.size.width, "dim")
        if self._question is not None:
            return Group(rule, Text(visible(self._question.text), "bold yellow"))
        if self._shows_keys:
            return Group(rule, *(_row(f"{key:9} {does}") for key, (_, does) in KEYS.items()))
        flow = self._chosen_flow()
        message = Text(f"{self._busy}...", "cyan") if self._busy else self._message
        reason = "" if flow is None else "; ".join(filter(None, (flow.name, flow.trigger.strip("-"), reason_of(flow))))
        return Group(rule, message, Text(visible(reason))) if message else Group(rule, Text(visible(reason)))

    def _key_line(self, status: WorkspaceStatus) -> Text:
        if self._question is not None:
            return Text("y yes   n no", "bold")
        flow, line = self._chosen_flow(), Text(no_wrap=True)
        for key in ("r", "s", "t", "l"):
            may = flow is not None and why_not(key, flow, status) is None
            line.append(f"{key} {KEYS[key][0]}   " if may else f"({key} {KEYS[key][0]})   ", "bold" if may else "dim")
        return line.append("? keys   q quit", "bold")

    def _drawn_log(self, log: OpenLog) -> RenderableType:
        width, high = self._console.size.width, max(self._console.size.height - 3, 1)
        lines = [Text("Reading...")] if log.lines is None else log.lines
        part = lines[-high:] if log.at is None else lines[log.at : log.at + high]
        rows = [row for line in part for row in line.wrap(self._console, width)]
        screen = Layout()
        screen.split_column(
            Layout(Group(Text(log.title, "bold"), Text("-" * width, "dim")), size=2),
            Layout(Group(*(rows[-high:] if log.at is None else rows[:high]))),
            Layout(Text("up down scroll   end newest   esc back", "bold"), size=1),
        )
        return screen


def why_not(key: str, flow: FlowStatus, status: WorkspaceStatus) -> str | None:
    """Why a key does nothing for the flow now; None where it does."""
    flows = {run.flow for run in status.active_runs} | {runs.flow for runs in status.waiting_runs}
    is_active = flow.name in flows
    if key == "s":
        return None if is_active else "nothing of it runs"
    if key == "t":
        return None if flow.held else "nothing of it is held"
    if key == "l":
        return None if is_active or flow.last_run is not None else "it never ran on this machine"
    return None


def question_of(key: str, flow: FlowStatus, status: WorkspaceStatus, ws: Workspace) -> Question:
    """The question before a flow is run, stopped or tried again."""
    name = flow.name
    if key == "s":
        disables = flow.mode != "manual" and flow.enabled
        then = f" It runs by itself, so it is disabled until `{cli_line('enable', name)}`." if disables else ""
        text = f"Stop the runs of {name}? They end at their {STOPS_AT}.{then}"
        return Question(text, f"Asked to stop {name}", lambda: ends_text(name, is_disabled=ws.stop_flow(name)))
    where = [] if status.daemon.running else ["No daemon runs on this machine: one is started for it."]
    if key == "t":
        files = "the held file" if flow.held == 1 else f"the {flow.held:,} held files"
        text = " ".join([f"Try {files} of {name} again?", *where])
        return Question(text, f"Asked to try {name} again", lambda: freed_text(ws.retry(name)))
    edit = [f"What is deployed runs, without your edit ({flow.edit})."] if flow.deployment_status.is_edited else []
    text = " ".join([f"Run {name} now?", *edit, *where])
    return Question(text, f"Asked to run {name}", lambda: _begin(ws, name))


def _begin(ws: Workspace, name: str) -> str:
    runs: list[Any] = ws.run(name, wait=False)
    return f"{plural(len(runs), 'run')} of {name} {'begins' if len(runs) == 1 else 'begin'}."


def _run_rows(status: WorkspaceStatus) -> Iterator[Text]:
    """The runs under way, one a line."""
    if status.active_runs:
        yield Text(f"RUNNING ({len(status.active_runs)})", "dim")
    for run in status.active_runs[:_MOST_RUNNING]:
        began, state = datetime.fromisoformat(run.started_at_utc), "stopping" if run.stopping else ""
        took = duration_text(round(max((datetime.now(UTC) - began).total_seconds(), 0)))
        done = "" if run.done is None else f"{run.done:,} of {run.total:,}" if run.total else f"{run.done:,} done"
        facts = (run.flow, run.source or "", run.step or "", done, state)
        yield _row(f"  {'  '.join(filter(None, (*facts, f'since {local_time(run.started_at_utc)}', took)))}", "green")
    if (more := len(status.active_runs) - _MOST_RUNNING) > 0:
        yield Text(f"  and {more:,} more", "dim")


def _row(text: str, style: str = "") -> Text:
    """One row of the screen, its control characters made visible."""
    return Text(visible(text), style, no_wrap=True, overflow="ellipsis")


@contextmanager
def _ended_by_signal() -> Iterator[None]:
    """Inside, a plain kill leaves the screen, and the terminal as it was."""

    def leave(*_: object) -> None:
        raise SystemExit(0)

    before = signal.signal(signal.SIGTERM, leave)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@contextmanager
def _kept_output() -> Iterator[None]:
    """Inside, nothing but the screen is printed; complaints are printed afterwards."""
    complaints = io.StringIO()
    try:
        with redirect_stdout(io.StringIO()), redirect_stderr(complaints):
            yield
    finally:
        if complaints.getvalue():
            complain(complaints.getvalue().rstrip())


def watch(place: Place, values: Mapping[str, Any]) -> int:
    """Show the screen until somebody leaves it.

    Raises:
        FlowValidationError: a program reads, keys or output do not belong to a terminal, or it can move no cursor.
    """
    if place.reader == "program":
        what = "--watch shows a screen, and --json prints one document"
        raise FlowValidationError(what, where="data-engine status", fix="leave one of them out")
    for stream, name in ((sys.stdout, "output"), (sys.stdin, "input")):
        if not is_terminal(stream):
            what = f"a screen needs a terminal, and standard {name} is not one"
            raise FlowValidationError(what, where=_WHERE, fix=_FIX)
    kind = os.environ.get("TERM", "")
    if not IS_STYLED_BY_CALLS and kind in ("", "dumb", "unknown"):
        what = f"this terminal cannot move its cursor (TERM is {kind!r})"
        fix = f"if it can, set TERM to its real type, such as xterm-256color; {_FIX}"
        raise FlowValidationError(what, where=_WHERE, fix=fix)
    return WatchScreen(place.workspace, Console(file=sys.stdout, markup=False, highlight=False, emoji=False)).show()
