"""Flows that run as they become due, here in the caller's process, until somebody stops them.

One thread for each group does its runs, one flow at a time; one for each poll flow looks at its source, so that a share
that hangs holds up nobody else. What is due is decided by `plan`, through a `Lookout` or a `Clockwork`.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from contextvars import copy_context
from pathlib import Path

from data_engine.cause import Cause
from data_engine.engine.groups import holding_group
from data_engine.engine.home import home_of, settle_flow
from data_engine.engine.lines import (
    LONGEST_WAIT_S,
    ClockLine,
    Line,
    ManualLine,
    Pass,
    PollLine,
    Surroundings,
    end_left_behind,
)
from data_engine.engine.plan import Watch, next_in_group
from data_engine.errors import FlowStoppedError, FlowValidationError, LedgerError
from data_engine.flow.context import FlowContext
from data_engine.flow.control import RunInterrupted
from data_engine.flow.flow import Flow
from data_engine.model import Event, RunFinished, RunStarted

_BEAT_S = 0.5
_ASLEEP_AFTER_S = 90.0
_RELOAD_EVERY_S = 5.0
_KINDS = {"poll": PollLine, "schedule": ClockLine, "manual": ManualLine}


def run_until_interrupted(
    flows: Sequence[Flow],
    *,
    load: Callable[[str], Flow] | None = None,
    reread: Callable[[], Sequence[Flow] | None] | None = None,
    listen: Callable[[Event], None] | None = None,
    upkeep: Callable[[], None] | None = None,
) -> list[FlowContext]:
    """Run `flows` as they become due until Ctrl-C; when all of them are manual, run each once and return the contexts.

    Manual flows among others run once at the start. At Ctrl-C the running steps end, their runs are recorded as stopped, and
    the call returns; a second one leaves at once. `load` executes a flow's module afresh for each pass; `reread` gives the
    flows as they are now, None while nothing has changed; `listen` gets every event of every run, one at a time; `upkeep` is
    called now and then.

    Raises:
        FlowValidationError: two flows have one name.
        FlowExecutionError: all flows are manual, and one failed; `.completed` holds the finished contexts.
        KeyboardInterrupt: a second Ctrl-C, or one while manual flows ran.
    """
    once = reread is None and all(flow.mode == "manual" for flow in flows)
    engine = _Engine(load=load, listen=listen or tell_failure, once=once)
    try:
        engine.set_flows(flows)
        try:
            while not engine.is_done():
                engine.nudged.wait(_BEAT_S)
                engine.nudged.clear()
                engine.beat(reread, upkeep)
        except KeyboardInterrupt:
            engine.stop()
            if engine.active:
                _tell("stopping after the running step; Ctrl-C again leaves at once")
            engine.join()
            if once:
                raise
    except KeyboardInterrupt:
        engine.leave()
        raise
    finally:
        engine.close()
    if engine.error is not None:
        if isinstance(engine.error, (FlowValidationError, FlowStoppedError)):
            engine.error.completed = engine.contexts
        raise engine.error
    return engine.contexts


def tell_failure(event: Event) -> None:
    """Say one line about a run that did not succeed."""
    if isinstance(event, RunFinished) and event.status != "success":
        why = (event.error or event.cause or "").partition("\n")[0]
        _tell(f"{event.status}: {why} (run {event.run_id[:8]})")


def _tell(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


class _Engine:
    """The groups of one continuous run, and its lines by workspace and name.

    With `once` contexts are kept, and the first error stops everything.
    """

    def __init__(self, *, load: Callable[[str], Flow] | None, listen: Callable[[Event], None], once: bool) -> None:
        self.contexts: list[FlowContext] = []
        self.error: BaseException | None = None
        self.active: dict[str, tuple[Line, RunStarted]] = {}
        self.nudged = threading.Event()
        self._around = Surroundings(load, self._hear, self._finished)
        self._once = once
        self._listen = listen
        self._listen_lock = threading.Lock()
        self._last_beat_s = self._around.on_since_s
        self._lines: dict[tuple[Path | None, str], Line] = {}
        self._groups: dict[tuple[Path | None, str], _Group] = {}
        self._versions: dict[Path, tuple[int, float]] = {}
        self._told = ""

    def set_flows(self, flows: Iterable[Flow]) -> None:
        """Run these flows from now on: those that changed anew, those that are no longer there not at all.

        Raises:
            FlowValidationError: two flows have one name.
        """
        wanted: dict[tuple[Path | None, str], Flow] = {}
        for flow in map(settle_flow, flows):
            key = (flow._workspace_root, flow.name or "")
            if key in wanted:
                raise FlowValidationError(
                    f"two flows are named {flow.name!r}; the names must be unique",
                    where="run(*flows)",
                    mend="give each flow once, or name it: Flow(group=..., name=...)",
                )
            wanted[key] = flow
        for key in self._lines.keys() - wanted.keys():
            self._lines.pop(key).retire()
        for key, flow in wanted.items():
            line = self._lines.get(key)
            if line is not None and line.watch == Watch.of(flow):
                continue
            if line is not None:
                line.retire()
            self._lines[key] = self._begin(flow, is_new=line is None)

    def _begin(self, flow: Flow, *, is_new: bool) -> Line:
        key = (flow._workspace_root, flow.group)
        group = self._groups.get(key)
        if group is None:
            group = self._groups[key] = _Group(self._around, self.nudged.set, self._failed if self._once else None)
        line = _KINDS[flow.mode](self._around, flow, home_of(flow), is_new=is_new, wake=group.wake)
        group.add(line)
        return line

    def is_done(self) -> bool:
        """Whether nothing more will run: somebody stopped it, or each of the manual flows has run."""
        return self._around.stopping.is_set() or (
            self._once and all(group.is_idle() for group in self._groups.values())
        )

    def beat(self, reread: Callable[[], Sequence[Flow] | None] | None, upkeep: Callable[[], None] | None) -> None:
        """Called twice a second: notice that the machine slept, what others wrote, and that the flows were edited."""
        now_s = time.time()
        if now_s - self._last_beat_s > _ASLEEP_AFTER_S:
            self._around.on_since_s = now_s
        self._last_beat_s = now_s
        try:
            if not self._once:
                self._notice_others()
            if reread is not None and (flows := reread()) is not None:
                self.set_flows(flows)
            if upkeep is not None:
                upkeep()
        except FlowValidationError as error:
            if str(error) != self._told:
                self._told = str(error)
                _tell(f"warning: {error.what}")

    def _notice_others(self) -> None:
        for root, home in {line.home.layout.root: line.home for line in self._lines.values() if line.home}.items():
            version, at_s = self._versions.get(root, (None, 0.0))
            if time.monotonic() - at_s < _RELOAD_EVERY_S:
                continue
            now = home.ledger().data_version()
            self._versions[root] = (now, time.monotonic())
            if version not in (None, now):
                for line in self._lines.values():
                    if line.home is not None and line.home.layout.root == root:
                        line.reload()

    def stop(self) -> None:
        """Let the running steps end, and start nothing more."""
        self._around.stopping.set()
        for group in self._groups.values():
            group.wake()
        self.nudged.set()

    def join(self) -> None:
        """Wait until all runs have ended."""
        for group in self._groups.values():
            while group.thread.is_alive():
                group.thread.join(_BEAT_S)

    def leave(self) -> None:
        """Leave the running steps behind; their runs are recorded as killed."""
        self.stop()
        for line, started in list(self.active.values()):
            with suppress(LedgerError):
                end_left_behind(line, started, Cause("left_behind"))

    def close(self) -> None:
        """End what looks at sources."""
        self.stop()
        for line in self._lines.values():
            line.retire()
        self._around.events.close()

    def _hear(self, line: Line, event: Event) -> None:
        if isinstance(event, RunStarted):
            self.active[event.run_id] = (line, event)
        elif isinstance(event, RunFinished):
            self.active.pop(event.run_id, None)
        line.note(event)
        with self._listen_lock:
            self._listen(event)

    def _finished(self, context: FlowContext) -> None:
        if not self._once:
            return
        if context.error is None:
            self.contexts.append(context)
        elif not isinstance(context.error, FlowStoppedError) or not self._around.stopping.is_set():
            self._failed(context.error)

    def _failed(self, error: BaseException) -> None:
        self.error = self.error or error
        self.stop()


class _Group:
    """The lines of one group and the thread that runs them, one at a time."""

    def __init__(
        self, around: Surroundings, when_idle: Callable[[], None], on_error: Callable[[BaseException], None] | None
    ) -> None:
        self.thread = threading.Thread(target=self._serve, name="group", daemon=True)
        self._around = around
        self._when_idle = when_idle
        self._on_error = on_error
        self._lines: list[Line] = []
        self._coming: list[Line] = []
        self._turns: dict[str, int] = {}
        self._turn_count = 0
        self._woken = threading.Event()
        self._is_busy = False

    def add(self, line: Line) -> None:
        """Take a line in, once the turn that is under way has ended."""
        self._coming.append(line)
        if self.thread.ident is None:
            self.thread.start()
        self.wake()

    def wake(self) -> None:
        """Something may be due, or everything stops."""
        self._woken.set()

    def is_idle(self) -> bool:
        """Whether no line has anything to run."""
        # In this order: the thread is busy before it takes anything away.
        has_work = bool(self._coming) or any(line.is_ready() for line in self._lines)
        return not has_work and not self._is_busy

    def _serve(self) -> None:
        while not self._around.stopping.is_set():
            self._is_busy = True
            self._woken.clear()
            self._lines = [line for line in self._lines if not line.is_retired]
            while self._coming:
                self._coming[0].start()
                self._lines.append(self._coming.pop(0))
            line = self._next_line()
            if line is None:
                self._is_busy = False
                self._when_idle()
                self._woken.wait(min((line.wait_s() for line in self._lines), default=LONGEST_WAIT_S))
                continue
            try:
                self._turn(line)
            except RunInterrupted:
                break
            except BaseException as error:
                line.pause(error)
                if self._on_error is not None:
                    self._on_error(error)
        self._is_busy = False
        self._when_idle()

    def _next_line(self) -> Line | None:
        ready = {line.watch.flow: line for line in self._lines if line.is_ready()}
        name = next_in_group(ready, self._turns)
        if name is None:
            return None
        self._turn_count += 1
        self._turns[name] = self._turn_count
        return ready[name]

    def _turn(self, line: Line) -> None:
        by_hand = line.flow.mode == "manual"
        with holding_group(line.flow, line.home, by_hand=by_hand, waiting=self._around.may_work) as gives_way:
            work = line.begin()
            if work is None:
                return
            self._run(line, work, gives_way)
            if not work.jobs:
                line.current = None
                line.end(work)

    def _run(self, line: Line, work: Pass, gives_way: Callable[[], bool]) -> None:
        """Run jobs of the pass, `max_parallel` at once, until it is over, another flow of the group or a person waits."""
        errors: list[BaseException] = []

        def drain() -> None:
            has_run = False
            while (
                not self._around.stopping.is_set()
                and not errors
                and not (has_run and (gives_way() or self._others_wait(line)))
            ):
                try:
                    job = work.jobs.popleft()
                except IndexError:
                    return
                has_run = True
                try:
                    line.run(work, job)
                except BaseException as error:
                    errors.append(error)

        count = min(line.watch.trigger.max_parallel, len(work.jobs))
        helpers = [
            threading.Thread(target=copy_context().run, args=(drain,), name="source", daemon=True)
            for _ in range(count - 1)
        ]
        for helper in helpers:
            helper.start()
        drain()
        for helper in helpers:
            helper.join()
        if errors:
            raise errors[0]

    def _others_wait(self, line: Line) -> bool:
        return any(other is not line and other.is_ready() for other in self._lines)
