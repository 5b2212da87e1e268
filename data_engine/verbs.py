"""What a flow can do: `Flow`, the value of `flow/` with the verbs that lead into the engine and the runs made here."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass, fields

from data_engine.errors import FlowValidationError, place_with
from data_engine.flow import flow as value
from data_engine.flow.suggestions import checked_call

TYPE_CHECKING = False
if TYPE_CHECKING:
    from os import PathLike
    from typing import Any, Literal

    from data_engine.flow.context import FlowContext

    PathText = str | PathLike[str]


def _place(error: FlowValidationError) -> None:
    """Say which cell a mistake in `build()` came from."""
    from data_engine.notebook.locate import annotate

    annotate(error)


place_with(_place)
if "ipykernel" in sys.modules:
    from data_engine.kernel_imports import watch_imports

    watch_imports()


@dataclass(frozen=True, init=False, repr=False, eq=False)
class Flow(value.Flow):
    """A flow: its group, trigger, mirror and steps. Every verb returns a new flow; flows are equal by value.

    In a module the file's stem is the name. Flows of one group never run at the same time on one machine.

    Raises:
        FlowValidationError: a blank group, name or label, or any other type; a mirror root that is the source folder.

    Example:
        >>> def double(context):
        ...     return context.current * 2
        >>> base = Flow(group="Demo").step(lambda context: 21, label="Start")
        >>> flow = base.step(double, save_as="answer")
        >>> flow.mode, [step.label for step in flow.steps], len(base.steps)
        ('manual', ['Start', 'Double'], 1)
        >>> flow.preview(use="answer")
        42
    """

    @classmethod
    def of(cls, flow: value.Flow) -> Flow:
        """`flow` with its verbs.

        Example:
            >>> Flow.of(value.Flow("Demo").step(str)).run_once()[0].flow_name
            'flow'
        """
        return flow if isinstance(flow, cls) else cls(**{one.name: getattr(flow, one.name) for one in fields(flow)})

    @checked_call
    def preview(
        self,
        *,
        use: str | None = None,
        source: PathText | None = None,
        params: Mapping[str, Any] | None = None,
        fresh: bool = False,
        write: bool = False,
        force: bool = False,
    ) -> Any:
        """The object named `use` (the last result without it), made here and now by the same code as production.

        Runs for one source: the one given, else the first in sort order. What steps write to `context.mirror` and
        `context.database` goes to a scratch folder of this machine, so that nothing changes that production reads; with
        `write=True` it goes where production writes.

        Raises:
            FlowValidationError: no steps, no such object, no source to preview, or called while a flow module loads.
            FlowExecutionError: a step raised.
            OwnedElsewhereError, GroupBusyError: with `write=True`, another workstation owns the workspace, or the flow is
                running; without `force=True`.
        """
        from data_engine.engine.preview import preview

        return preview(self, use=use, source=source, params=params, fresh=fresh, write=write, force=force)

    @checked_call
    def run_once(
        self,
        *,
        source: PathText | None = None,
        params: Mapping[str, Any] | None = None,
        on_error: Literal["raise", "continue"] = "raise",
        force: bool = False,
    ) -> list[FlowContext]:
        """One finished context for each source, whatever its freshness; recorded when the flow belongs to a workspace.

        Raises:
            FlowExecutionError: a step raised (`on_error="raise"`); its `.completed` holds the finished contexts.
            FlowValidationError: wrong input, or called while a flow module loads.
        """
        from data_engine.runs import run_once

        return run_once(self, source=source, params=params, on_error=on_error, force=force)

    @checked_call
    def run(self, *, force: bool = False) -> list[FlowContext]:
        """Run the flow here whenever it is due, until Ctrl-C; a manual flow once, with a context for each source.

        Contexts of a flow that polls or has a schedule are not kept: the answer is empty.

        Raises:
            FlowValidationError: wrong input, or called while a flow module loads.
            FlowExecutionError: the flow is manual and a step raised.
        """
        from data_engine.runs import run

        return run(self, force=force)

    def show(self) -> Any:
        """The final result of a flow with exactly one source, from a recorded run.

        Raises:
            FlowValidationError: more or less than one source.
            FlowExecutionError: a step raised.
        """
        from data_engine.runs import show

        return show(self)
