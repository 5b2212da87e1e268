"""One version of a flow, run over sources into a scratch folder of its own, within a time."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from data_engine.cause import Cause
from data_engine.engine.candidates import Source
from data_engine.engine.local_workspace import LocalWorkspace
from data_engine.engine.preview import make_runner
from data_engine.engine.run import item_executor, outcome_of, require_source, require_steps
from data_engine.engine.run_sources import preview_files
from data_engine.engine.scratch import forget_scratch, scratch_of
from data_engine.errors import FlowExecutionError, FlowStoppedError, FlowValidationError
from data_engine.flow.control import RunInterrupted, StepControl
from data_engine.flow.flow import Flow
from data_engine.model import Event
from data_engine.notebook.locate import annotate
from data_engine.plan.plan import LIMIT_S, SideError
from data_engine.platforms.processes import interrupt_main_thread


class Side:
    """One version of a flow: `flow` is settled, `of` tells it from the other one. `outside` are files it wrote outside the context's folders.

    Its scratch folder stays for the next plan of this process, so that steps which wrote there can be reused.
    """

    def __init__(
        self,
        of: str,
        flow: Flow,
        home: LocalWorkspace,
        *,
        params: Mapping[str, Any],
        fresh: bool = False,
        sink: Callable[[Event], None] = lambda event: None,
    ) -> None:
        settings = home.settings()
        self.of = of
        self.flow = flow
        self.elapsed_s = 0.0
        self.outside: dict[str, None] = {}
        self._home = home
        self._items = item_executor(home, stays_here=True)
        self._params = params
        self._fresh = fresh
        self._limit_s = settings.limits.run_timeout_s or LIMIT_S
        self._sink = sink
        self.scratch = scratch_of(flow, home, limit_bytes=settings.preview.copy_limit_bytes, of=f"~{of}")
        self.scratch.begin_anew()

    def run(self, source: Source, stop: int, names: Collection[str]) -> dict[str, Any]:
        """The objects `names` after `stop` steps for `source`; what it wrote is there for the next one.

        Raises: what ended it, as `preview` does; KeyboardInterrupt.
        """
        require_steps(self.flow)
        require_source(self.flow, source)
        started_s = time.perf_counter()
        left_s = self._limit_s - self.elapsed_s

        def may_work() -> None:
            if time.perf_counter() - started_s > left_s:
                raise RunInterrupted("killed", Cause("time_limit", {"limit_s": self._limit_s}))

        control = StepControl(
            emit=self._sink, may_work=may_work, spread=self._items.spread, run_id="plan", flow=self.flow.name or ""
        )
        runner = make_runner(
            self.flow,
            source,
            home=self._home,
            params=self._params,
            control=control,
            scratch=self.scratch,
            fresh=self._fresh,
        )
        try:
            with _ended_after(left_s, self._limit_s):
                objects = runner.run(stop, names)
        except BaseException as raised:
            error = outcome_of(raised)[2]
            if error is raised:
                raise
            raise error from raised.__cause__
        finally:
            self.elapsed_s += time.perf_counter() - started_s
            self.outside.update(dict.fromkeys(runner.outside))
            preview_files(self._home).add(runner.outside)
        if not self.scratch.go_on():
            self._fresh = True  # a step that starts over could not find everything as it was
        return objects

    def outputs(self) -> dict[str, Path]:
        """The files it has written by what people call them: the path in the mirror, or below `databases/`."""
        mirror = None if self.flow.mirror_spec is None else self.flow.mirror_spec.root
        return {_label(final, mirror, self._home): path for final, path in sorted(self.scratch.written.items())}

    def end(self) -> None:
        """End the side, and remove what earlier plans left in its folder."""
        self._items.close()
        self.scratch.end()

    def forget(self) -> None:
        """Remove all that it left."""
        self._items.close()
        forget_scratch(self.scratch)


def side_error(of: str, source: str | None, raised: BaseException) -> SideError:
    """The error that kept one version from running, as a plan shows it.

    Raises:
        KeyboardInterrupt: that is what was raised.
    """
    if isinstance(raised, FlowExecutionError):
        annotate(raised)
        return SideError(of, source, raised.detail.partition("\n")[0], raised.cell or raised.where)
    if isinstance(raised, FlowValidationError):
        annotate(raised)
        return SideError(of, source, raised.what, raised.where)
    if isinstance(raised, FlowStoppedError):
        return SideError(of, source, str(raised))
    raise raised


def _label(final: Path, mirror: Path | None, home: LocalWorkspace) -> str:
    for root in (mirror, home.layout.root):
        if root is not None and final.is_relative_to(root):
            return final.relative_to(root).as_posix()
    return str(final)


@contextmanager
def _ended_after(left_s: float, limit_s: float) -> Iterator[None]:
    """Inside, the main thread is interrupted when the time is over, also where a step never asks whether it may go on.

    Raises:
        RunInterrupted: it was.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    lock = threading.Lock()
    state = {"is_over": False, "has_struck": False}

    def strike() -> None:
        with lock:
            if not state["is_over"]:
                state["has_struck"] = True
                interrupt_main_thread()

    timer = threading.Timer(max(0.0, left_s) + 0.05, strike)  # a step that asks ends by that
    timer.daemon = True
    timer.start()
    try:
        try:
            yield
        finally:
            timer.cancel()
            with lock:
                state["is_over"] = True
            if state["has_struck"]:
                time.sleep(0.05)  # the interrupt is met here, if nowhere before
    except KeyboardInterrupt:
        if not state["has_struck"]:
            raise
        raise RunInterrupted("killed", Cause("time_limit", {"limit_s": limit_s})) from None
