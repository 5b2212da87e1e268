"""The public `Flow`: the value of `flow/` with the verbs that lead into the engine and the runs in this process."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields

from data_engine.argument_checks import checked
from data_engine.errors import FlowValidationError
from data_engine.flow import flow as value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from os import PathLike
    from typing import Any, Literal

    from data_engine.compare.profile import Profile
    from data_engine.flow.context import FlowContext
    from data_engine.plan.golden import Golden

    PathText = str | PathLike[str]


if "IPython" in sys.modules:
    from data_engine.kernel_imports import watch_imports

    watch_imports()


@dataclass(frozen=True, init=False, repr=False, eq=False)
class Flow(value.Flow):
    """A flow: its group, trigger, mirror and steps. Every verb returns a new flow; flows are equal by value.

    In a module the file's stem is the name. Flows of one group never run at the same time on one machine.

    Raises:
        FlowValidationError: a blank group, name or label, or any other type; a mirror root that is the source folder
            of a flow that takes every extension.

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
    @checked()
    def of(cls, flow: value.Flow) -> Flow:
        """`flow` with its verbs.

        Example:
            >>> Flow.of(value.Flow("Demo").step(str)).run_once()[0].flow_name
            'flow'
        """
        return flow if isinstance(flow, cls) else cls(**{spec.name: getattr(flow, spec.name) for spec in fields(flow)})

    @checked()
    def preview(
        self,
        *,
        use: str | None = None,
        source: PathText | None = None,
        params: Mapping[str, Any] | None = None,
        fresh: bool = False,
        against: Literal["deployed"] | None = None,
        key: str | Sequence[str] | None = None,
        write: bool = False,
        force: bool = False,
    ) -> Any:
        """The object named `use` (by default the last result), made here and now by the same code as production.

        Where several steps save that name, it is the last one's result, and the caption says so.

        Runs for one source: the one given, else the first in sort order. What steps write to `context.mirror` and
        `context.database` goes to a scratch folder of this machine, and beside it nothing that exists is changed: a step that would
        overwrite, move or remove something fails before it does. With `write=True` it goes where production writes.

        Steps whose code, inputs and reads are as they were in this process are not run again; `fresh=True` runs them all. `params`
        are what `context.params` holds.

        With `against="deployed"` it is the `Difference` between that object of the deployed flow and of this one; rows are
        matched by the columns `key`; without one whole rows are compared.

        Raises:
            FlowValidationError: no steps, no such object, no source to preview, or called while a flow module loads. With
                `against=`: never deployed, or a step reaches servers, mail or programs, without `force=True`.
            FlowExecutionError: a step raised.
            OwnedElsewhereError, GroupBusyError: with `write=True`, another workstation owns the workspace, or the flow is
                running; without `force=True`.

        Example:
            >>> flow = Flow(group="Demo").step(lambda context: [1, 2], save_as="numbers").step(lambda context: sum(context.current))
            >>> flow.preview(use="numbers"), flow.preview()
            ([1, 2], 3)
        """
        if against is not None or key is not None:
            check_against(against, key=key, write=write)
            from data_engine.plan.making import against_deployed

            return against_deployed(self, use=use, source=source, params=params, key=key, fresh=fresh, force=force)
        from data_engine.engine.preview import preview

        return preview(self, use=use, source=source, params=params, fresh=fresh, write=write, force=force)

    @checked()
    def profile(
        self,
        use: str | None = None,
        source: PathText | None = None,
        params: Mapping[str, Any] | None = None,
    ) -> Profile:
        """What each column of the frame `use` (by default the last result) holds: nulls, distinct values, smallest, largest, mean, the most
        frequent values and their distribution.

        The frame is made as by `preview`, and stays where it is: of it only these values are computed, in one pass, of the first 200 columns.

        Raises:
            FlowValidationError: as `preview`, or the object is no frame.
            FlowExecutionError: a step raised, or the query of a lazy frame.

        Example:
            >>> import polars as pl
            >>> flow = Flow(group="Demo").step(lambda context: pl.DataFrame({"city": ["Bonn", "Bonn", None]}), save_as="raw_df")
            >>> city = flow.profile("raw_df").shown[0]
            >>> city.nulls, city.distinct, city.frequent[0].rows
            (1, 1, 2)
        """
        from data_engine.engine.preview import profile

        return profile(self, use=use, source=source, params=params)

    @checked()
    def golden(
        self,
        use: str | None = None,
        source: PathText | None = None,
        params: Mapping[str, Any] | None = None,
        key: str | Sequence[str] | None = None,
        *,
        drop: str | Sequence[str] = (),
        tolerance: float = 1e-9,
        share: bool = False,
        name: str | None = None,
        update: bool = False,
    ) -> Golden:
        """Keep the object `use` (by default the last result) of this source (by default the first) as the result that is right from now on.

        It is made now, and kept in the workspace's `goldens/<flow>/` with its source (files above 10 MB by their hash) and
        params: a header to review in Git, and data that Git leaves out unless `share`. Columns in `drop` are not kept. `data-engine
        test` and `ws.test()` compare it with what the code gives then, rows by `key`, floats within `tolerance`.

        Raises:
            FlowValidationError: the flow belongs to no workspace, there is a golden of this name and no `update`, the result
                cannot be kept, or a column that is named is missing.
            FlowExecutionError: a step raised.

        Example:
            >>> import tempfile
            >>> from data_engine import Workspace
            >>> ws = Workspace.create(tempfile.mkdtemp())
            >>> golden = ws.load_flow("example").golden(name="first")
            >>> golden.name, [result.status for result in ws.test()]
            ('first', ['holds'])
        """
        from data_engine.plan.keeping import GoldenSpec, keep

        return keep(self, GoldenSpec(use, source, params, key, drop, tolerance, share, name, bool(update)))

    @checked()
    def run_once(
        self,
        *,
        source: PathText | None = None,
        params: Mapping[str, Any] | None = None,
        on_error: Literal["raise", "continue"] = "raise",
        edited: bool = False,
        force: bool = False,
    ) -> list[FlowContext]:
        """One finished context for each source, whatever its freshness; recorded when the flow belongs to a workspace.

        With `on_error="continue"` every source is tried, and the context of one that failed has its `error`. `source` is one file,
        `params` what `context.params` holds.

        Where the flow is deployed and its code is not what is deployed (in a kernel: what ran there), nothing runs: look at the edit
        with `preview`, or deploy it. `edited=True` runs it all the same; the runs are marked "not deployed", and change nothing of
        what is due, done or held.

        Raises:
            FlowExecutionError: a step raised (`on_error="raise"`); its `.completed` holds the finished contexts.
            FlowValidationError: wrong input, or called while a flow module loads. The code is not what is deployed, and there is no
                `edited=True`. A deployed flow of another name writes the same mirror, and there is no `force=True`.
            FlowStoppedError: a step asked for a stop, or the run's time was up; its `.completed` likewise.
            OwnedElsewhereError: another workstation owns the workspace, and there is no `force=True`.

        Example:
            >>> flow = Flow(group="Demo").step(lambda context: 1 / context.params["by"])
            >>> [context.current for context in flow.run_once(params={"by": 4})]
            [0.25]
            >>> [type(context.error.__cause__) for context in flow.run_once(params={"by": 0}, on_error="continue")]
            [<class 'ZeroDivisionError'>]
        """
        from data_engine.runs import run_once

        return run_once(self, source=source, params=params, on_error=on_error, edited=edited, force=force)

    @checked()
    def run(self, *, edited: bool = False, force: bool = False) -> list[FlowContext]:
        """Run the flow here whenever it is due, until Ctrl-C; a manual flow once, with a context for each source.

        Contexts of a flow that polls or has a schedule are not kept: the answer is empty. `edited` is as in `run_once`.

        Raises:
            FlowValidationError: wrong input, or called while a flow module loads. The code is not what is deployed, and there is no
                `edited=True`.
            FlowExecutionError: the flow is manual and a step raised.
            OwnedElsewhereError: another workstation owns the workspace, and there is no `force=True`.

        Example:
            >>> [context.current for context in Flow(group="Demo").step(lambda context: 42).run()]
            [42]
        """
        from data_engine.runs import run

        return run(self, edited=edited, force=force)

    @checked()
    def form(self, *, use: str | None = None, source: PathText | None = None) -> Any:
        """A form for a notebook: a field for each parameter of `Flow.params`, and a button that previews with them.

        Its `values` are what was typed, for `run_once(params=form.values)`.

        Example:
            >>> flow = Flow(group="Demo").step(lambda context: 42)
            >>> flow.form().values
            {}
        """
        from data_engine.display_hook import form_of

        return form_of(self, use=use, source=source)

    @checked()
    def show(self) -> Any:
        """The final result of a flow with exactly one source, from a run that is recorded where the flow belongs to a workspace.

        Raises:
            FlowValidationError: more or less than one source, or the code is not what is deployed.
            FlowExecutionError: a step raised.
            OwnedElsewhereError: another workstation owns the workspace.

        Example:
            >>> Flow(group="Demo").step(lambda context: 42).show()
            42
        """
        from data_engine.runs import show

        return show(self)


def check_against(against: object, *, key: object, write: bool) -> None:
    """Refuse arguments of a preview that do not go together.

    Raises:
        FlowValidationError: `against` is not "deployed", `key` without it, or `write` with it.
    """
    where = "Flow.preview(against=...)"
    if against is None:
        raise FlowValidationError(
            f"key={key!r} pairs rows of two versions, and no other version is named",
            where=where,
            fix='add against="deployed"',
        )
    if against != "deployed":
        raise FlowValidationError(
            f"a preview cannot be compared with {against!r}", where=where, fix='write against="deployed"'
        )
    if write:
        raise FlowValidationError(
            "write=True and against= cannot be combined: a comparison changes nothing", where=where, fix="leave one out"
        )
