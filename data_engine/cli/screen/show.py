"""The screen itself: it draws what `drawing.py` says, hands keys to `keys.py`, follows the daemon, and does what was said yes to.

It follows the workspace as the panel does, by the daemon's stream; nothing is asked again and again. Requests are made in
threads, so that keys and drawing never wait for a daemon.
"""

from __future__ import annotations

import asyncio
import contextlib
import io
import sys
import threading
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING, Any

from prompt_toolkit.application import Application
from prompt_toolkit.formatted_text import StyleAndTextTuples
from prompt_toolkit.input.defaults import create_input
from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent
from prompt_toolkit.layout import FormattedTextControl, Layout, Window
from prompt_toolkit.output.defaults import create_output
from prompt_toolkit.styles import Style

from data_engine.cli.output import say
from data_engine.cli.screen.cells import signs_for
from data_engine.cli.screen.drawing import LOG_FRAME, Size, draw
from data_engine.cli.screen.keys import Do, LookFirst, Quit, Read, pressed
from data_engine.cli.screen.questions import retry_question, run_question
from data_engine.cli.screen.state import OpenLog, Question, Said, Seen
from data_engine.cli.terminal import no_screen
from data_engine.client import Workspace
from data_engine.errors import FlowValidationError
from data_engine.feed import Feed
from data_engine.platforms.processes import on_end_signals
from data_engine.status.sentences import first_line
from data_engine.status.view import PanelView
from data_engine.typed import typed

if TYPE_CHECKING:
    from jupyter_extension.files import FilesView

_KEYS = (*"rsthlqyn?jk", "up", "down", "pageup", "pagedown", "home", "end", "escape", "c-c")
_ESCAPE_S = 0.1
"""How long after Esc the rest of an arrow key may come, over a slow line."""
_TICK_S = 1.0
_FILES_LOOKED_AT, _MOST_HELD = 20, 1000
_STYLES = {
    "good": "ansigreen",
    "bad": "ansired",
    "warn": "ansiyellow",
    "live": "ansicyan",
    "idle": "",
    "dim": "dim",
    "key": "bold",
    "ask": "bold ansiyellow",
    "chosen": "bold",
}


def show(ws: Workspace) -> int:
    """Show the screen until somebody leaves it.

    Raises:
        FlowValidationError: the terminal shows none.
        KeyboardInterrupt: it was left by Ctrl-C.
    """
    return WatchScreen(ws).run()


class WatchScreen:
    """A workspace in a terminal. All of it happens in the terminal's loop, but for the requests, whose answers come back to it."""

    def __init__(self, ws: Workspace) -> None:
        self._ws = ws
        self._feed: Feed[PanelView] = Feed(ws, lambda view: view)
        self._view: PanelView | None = None
        self._seen = Seen()
        self._signs = signs_for(sys.stdout.encoding)
        self._doing: threading.Thread | None = None
        self._is_reading = self._is_stale = False
        self._looks = 0
        self._answer: Said | None = None
        try:
            self._application = self._made()
        except Exception as error:  # of the terminal's own: on Windows there may be no console behind the streams
            raise no_screen(error) from error

    def run(self) -> int:
        """Show it; 0 when it was left."""
        complaints = io.StringIO()
        leave = self._feed.listen(self._told)
        try:
            with contextlib.redirect_stderr(complaints), contextlib.suppress(EOFError):  # a terminal that went away
                self._application.run(pre_run=self._begun)
        finally:
            leave()
            sys.stderr.write(complaints.getvalue())
        self._wait_for_answer()
        return 0

    def _made(self) -> Application[None]:
        bindings = KeyBindings()
        for key in _KEYS:
            bindings.add(key, eager=True)(self._on_key)
        body = Window(FormattedTextControl(self._text, focusable=True, show_cursor=False), always_hide_cursor=True)
        made: Application[None] = Application(
            layout=Layout(body),
            key_bindings=bindings,
            style=Style.from_dict(_STYLES),
            full_screen=True,
            input=create_input(),
            output=create_output(sys.stdout),
        )
        made.ttimeoutlen = made.timeoutlen = _ESCAPE_S
        return made

    # -- drawing

    def _text(self) -> StyleAndTextTuples:
        size = self._application.output.get_size()
        lines = draw(self._view, self._seen, Size(size.columns, size.rows), datetime.now().astimezone(), self._signs)
        found: StyleAndTextTuples = []
        for number, line in enumerate(lines):
            if number:
                found.append(("", "\n"))
            found += [(" ".join(f"class:{word}" for word in style.split()), text) for style, text in line]
        return found

    def _begun(self) -> None:
        on_end_signals(asyncio.get_running_loop(), lambda: self._exit(None))
        self._application.create_background_task(self._tick())

    async def _tick(self) -> None:
        """Let the clocks of running work go on, and draw for the window as it is; nobody looks at the workspace for it."""
        while True:
            await asyncio.sleep(_TICK_S)
            log, active = self._seen.log, () if self._view is None else self._view.active
            if active or self._is_of_another_size():
                self._application.invalidate()
            is_open = log is not None and any(run.run_id == log.run_id for run in active)
            if is_open or self._is_stale:
                self._read()

    def _is_of_another_size(self) -> bool:
        """Whether the window is not as large as what is drawn.

        Without a signal the library asks for the size now and then, and misses one that was drawn and is gone when it asks again.
        """
        size, drawn = self._application.output.get_size(), self._application.renderer.last_rendered_screen
        return drawn is not None and (drawn.width, drawn.height) != (size.columns, size.rows)

    def _told(self, view: PanelView) -> None:
        """In the thread that follows the workspace."""
        self._in_loop(lambda: self._show(view))

    def _show(self, view: PanelView) -> None:
        self._view = view
        self._is_stale = True

    # -- keys, and what they ask for

    def _on_key(self, event: KeyPressEvent) -> None:
        key = event.key_sequence[0].key
        if key == "c-c":
            self._exit(KeyboardInterrupt)
            return
        rows = self._application.output.get_size().rows
        self._seen, wish = pressed(str(getattr(key, "value", key)), self._view, self._seen, rows - LOG_FRAME)
        match wish:
            case Quit():
                self._exit(None)
            case LookFirst(verb, flow):
                self._looks += 1
                number = self._looks
                self._aside(lambda: self._looked_up(verb, flow), lambda found: self._asked(number, found))
            case Do(action, args):
                self._doing = self._aside(lambda: self._done(action, dict(args)), self._said)
            case Read():
                self._read()
        self._application.invalidate()

    def _exit(self, error: type[BaseException] | None) -> None:
        if self._application.is_done:
            return
        if error is None:
            self._application.exit()
        else:
            self._application.exit(exception=error)

    def _looked_up(self, verb: str, flow: str) -> Question | Said:
        from jupyter_extension.details import flow_entry  # the screen is there before what its keys need is loaded
        from jupyter_extension.files import flow_files

        view = self._view
        row = None if view is None else view.flows.get(flow)
        if view is None or row is None:
            return Said(f"{flow} is not there any more.", "warn")
        try:
            if verb == "retry":
                files = flow_files(self._ws, flow, search="", group="held", limit=_FILES_LOOKED_AT)
                return retry_question(row, view, files)
            entry = flow_entry(self._ws, flow)
            has_source = entry.get("source") is not None
            there = flow_files(self._ws, flow, search="", group="", limit=_FILES_LOOKED_AT) if has_source else None
            return run_question(row, view, entry, there)
        except FlowValidationError as error:
            return _refused(error)

    def _asked(self, number: int, found: Question | Said) -> None:
        if self._seen.looking is None or number != self._looks:  # somebody pressed Esc meanwhile
            return
        if isinstance(found, Question):
            self._seen = replace(self._seen, looking=None, question=found, said=None)
        else:
            self._seen = replace(self._seen, looking=None, said=found)

    def _done(self, action: str, args: dict[str, Any]) -> Said:
        from jupyter_extension.actions import answer

        told = answer(str(self._ws.root), action, args)
        self._feed.look()
        if "error" in told:
            error = told["error"]
            return Said(" ".join(filter(None, [f"{error['what']}.", error["fix"]])), "bad")
        result = told["result"]
        return Said(str(result if isinstance(result, str) else result.get("said", "Done.")), "good")

    def _said(self, said: Said) -> None:
        self._doing = None
        self._seen = replace(self._seen, doing=None, said=said)

    def _read(self) -> None:
        """Read what is open, in a thread; what changes meanwhile is read a second later."""
        log = self._seen.log
        if log is not None and not self._is_reading:
            self._is_reading, self._is_stale = True, False
            self._aside(lambda: self._lines_of(log), lambda lines: self._show_lines(log, lines))

    def _lines_of(self, log: OpenLog) -> tuple[tuple[str, str], ...]:
        from jupyter_extension.details import run_details
        from jupyter_extension.files import flow_files

        try:
            if log.run_id is not None:
                return log_lines(run_details(self._ws, log.run_id))
            return held_lines(flow_files(self._ws, log.flow, search="", group="held", limit=_MOST_HELD))
        except Exception as error:  # whatever it is, the person must be told
            return (("bad", f"It cannot be read: {first_line(error)}"),)

    def _show_lines(self, asked: OpenLog, lines: tuple[tuple[str, str], ...]) -> None:
        self._is_reading = False
        log = self._seen.log
        if log is None:
            return
        if (log.run_id, log.flow) != (asked.run_id, asked.flow):  # another was opened meanwhile
            self._read()
            return
        is_first_list = log.run_id is None and log.lines is None
        self._seen = replace(self._seen, log=replace(log, lines=lines, at=0 if is_first_list else log.at))

    # -- threads

    def _aside(self, work: Callable[[], Any], then: Callable[[Any], None]) -> threading.Thread:
        """Do `work` in a thread of its own, and `then` with its result in the loop."""

        def go() -> None:
            try:
                found = work()
            except Exception as error:  # whatever it is, the person must be told
                found = Said(f"{type(error).__name__}: {first_line(error)}", "bad")
            if isinstance(found, Said):
                self._answer = found
            self._in_loop(lambda: then(found))

        thread = threading.Thread(target=go, name="data-engine-screen", daemon=True)
        thread.start()
        return thread

    def _in_loop(self, work: Callable[[], None]) -> None:
        def go() -> None:
            work()
            self._application.invalidate()

        loop = self._application.loop
        if loop is None:
            go()  # before the screen is there, and after it was left
        else:
            with contextlib.suppress(RuntimeError):  # it has just been left
                loop.call_soon_threadsafe(go)

    def _wait_for_answer(self) -> None:
        """Nobody leaves without the answer to what they said yes to."""
        doing, what = self._doing, self._seen.doing
        if doing is None:
            return
        say(f"{what}: waiting for the answer")
        doing.join()
        if self._answer is not None:
            say(self._answer.text)


def log_lines(details: dict[str, Any]) -> tuple[tuple[str, str], ...]:
    """A run's log as rows of a screen: its facts, its lines with their local times, and its error."""
    found = [("dim", f"{label}: {words}") for label, words in details["facts"]]
    if details["left_out"]:
        found.append(("dim", f"{details['left_out']:,} earlier lines are left out: data-engine log"))
    for line in details["lines"]:
        at = datetime.fromisoformat(line["at_utc"]).astimezone()
        step = f" {line['step']}:" if line["step"] else ""
        level = "" if line["level"] == "INFO" else f" {line['level']}"
        tone = "bad" if line["level"] in ("ERROR", "CRITICAL") else "warn" if line["level"] == "WARNING" else ""
        first, *more = str(line["message"]).splitlines() or [""]
        found.append((tone, f"{at:%H:%M:%S}{level}{step} {first}"))
        found += [(tone, f"         {text}") for text in more]
    found += [("bad", text) for text in str(details["error"] or "").splitlines()]
    run = details["run"]
    found.append(
        (run.mark.tone, run.mark.word if run.elapsed_s is None else f"{run.mark.word} in {run.elapsed_s:.2f} s")
    )
    return tuple(found)


def held_lines(files: FilesView) -> tuple[tuple[str, str], ...]:
    """The held files of a flow, each with its reason."""
    found = []
    for one in files.files:
        found += [("bold", one.name), ("bad", f"  {one.reason}")]
    if files.found > len(files.files):
        found.append(("dim", f"and {files.found - len(files.files):,} more: {typed('explain', files.flow)}"))
    return tuple(found)


def _refused(error: FlowValidationError) -> Said:
    return Said(" ".join(filter(None, [f"{error.what}.", error.fix])), "bad")
