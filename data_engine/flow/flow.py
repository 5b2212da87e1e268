"""The flow: a frozen value that says when, from where, which steps, and to where."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import KW_ONLY, dataclass, field, fields, replace
from itertools import zip_longest
from os import PathLike
from pathlib import Path

from data_engine.argument_checks import check_argument, checked
from data_engine.display_hook import Displayable
from data_engine.errors import FlowValidationError, UnknownVerbError
from data_engine.flow.paths import author_path
from data_engine.flow.scan import parse_extensions
from data_engine.flow.spec import (
    Collect,
    Map,
    StepSpec,
    check_count,
    check_step,
    default_label,
    function_name,
    map_takes_context,
    title_text,
)
from data_engine.record import frozen
from data_engine.suggestions import nearest_name

TYPE_CHECKING = False
if TYPE_CHECKING:
    from datetime import date, timedelta
    from typing import Any, Literal, Self, TypeAlias

    from data_engine.flow.context import FlowContext
    from data_engine.flow.expectation import AlertRule, Expectation
    from data_engine.flow.parameters import Parameters
    from data_engine.flow.trigger import Trigger

    Duration: TypeAlias = str | timedelta
    PathText: TypeAlias = str | PathLike[str]


_OTHER_WORDS = {
    ("cron", "daily", "every", "schedule"): '.watch(mode="schedule", time="07:00")',
    ("input", "poll", "source"): '.watch(mode="poll", source="../in", interval="30s")',
    ("output", "target"): '.mirror(root="../out")',
    ("add", "add_step", "then"): ".step(...)",
}
"""Verbs that people may guess, with the right one."""


@frozen
class MirrorSpec:
    """The place of a flow's outputs: the folder here, the text its author wrote, and whether they appear all at once."""

    root: Path
    root_as_authored: str
    staged: bool = False


@frozen
class Shape:
    """What a flow does, as far as two calls of one `build` give it alike: functions stand by their code."""

    group: str
    trigger: object
    mirror: MirrorSpec | None
    steps: tuple[tuple[object, ...], ...]

    @classmethod
    def of(cls, flow: Flow) -> Shape:
        """The shape of a flow."""
        steps = ((step.label, step.use, step.save_as, step.function_name, _code_of(step.fn)) for step in flow.steps)
        return cls(flow.group, flow.trigger, flow.mirror_spec, tuple(steps))

    def differences(self, other: Shape) -> tuple[str, ...]:
        """What this one has otherwise than the `other`, each in a word or two.

        Example:
            >>> flow = Flow(group="Claims").step(len)
            >>> Shape.of(flow.step(str)).differences(Shape.of(flow))
            ('step Str',)
        """
        names = ("group", "trigger", "mirror")
        found = [f"its {name}" for name in names if getattr(self, name) != getattr(other, name)]
        pairs = zip_longest(self.steps, other.steps)
        found += [f"step {(mine or theirs)[0]}" for mine, theirs in pairs if mine != theirs]
        return tuple(found)


def _code_of(fn: object) -> object:
    function = getattr(fn, "fn", fn)
    return getattr(function, "__code__", None)


@dataclass(frozen=True, eq=False)
class Flow(Displayable):
    """A flow as a value: its group, trigger, mirror and steps. Every verb returns a new flow; flows are equal by value.

    Authors get `data_engine.Flow`, which can also be previewed and run (`data_engine.verbs`, where its docstring is); each verb here
    returns a flow of the class it is called on.

    Raises:
        FlowValidationError: as there.
    """

    group: str
    name: str | None = None
    label: str | None = None
    _: KW_ONLY  # what the verbs below fill in
    trigger: Trigger | None = None
    mirror_spec: MirrorSpec | None = None
    steps: tuple[StepSpec, ...] = ()
    _workspace_root: Path | None = field(default=None, repr=False)
    parameters: Parameters | None = None
    expectations: tuple[Expectation, ...] = ()
    alerts: tuple[AlertRule, ...] = ()
    collects: tuple[Collect, ...] = ()  # those among its steps
    _set: Path | None = field(default=None, repr=False)  # the folder of the set that its module was loaded from, if any
    _edited: str | None = field(default=None, repr=False)  # what of its code is not as it is deployed; of a run
    _built: Shape | None = field(default=None, repr=False)  # what the `build` of its module gave, where one was loaded

    def __post_init__(self) -> None:
        for field_name in ("name", "label"):
            value = getattr(self, field_name)
            if value is not None and not (isinstance(value, str) and value.strip()):
                raise FlowValidationError(
                    f"the flow's {field_name}, when provided, must be a non-blank text, not {value!r}",
                    where=f"Flow({field_name}=...)",
                    fix=f"leave {field_name}= out, or give it some letters",
                )
        if not isinstance(self.group, str) or not self.group.strip():
            raise FlowValidationError(
                f"the flow's group must be a non-blank text, not {self.group!r}",
                where="Flow(group=...)",
                fix='Flow(group="Claims")',
            )
        for field_name in ("mirror_spec", "steps", "parameters", "expectations", "alerts"):
            check_argument("Flow", field_name, Flow.__annotations__[field_name], getattr(self, field_name))
        if self.trigger is not None and not hasattr(self.trigger, "mode"):
            raise FlowValidationError(
                f"the flow's trigger cannot be {self.trigger!r}", where="Flow(trigger=...)", fix="use .watch(mode=...)"
            )
        if self.mirrors_into_source and self.trigger is not None and self.trigger.extensions is None:
            raise FlowValidationError(
                f"the mirror root {self.trigger.source} is the source folder itself: the flow would overwrite its "
                "own sources and read its own output",
                where="Flow.mirror(root=...)",
                fix="mirror into another folder (one inside the source folder is skipped when watching), or say which files "
                'are sources: extensions=[".xlsx"]',
            )
        if self.parameters is not None and self.parameters.required and self.mode != "manual":
            name = self.parameters.required[0]
            raise FlowValidationError(
                f"parameter {name} has no default, and a flow that runs by itself is given no parameters",
                where=f"Flow.params({self.parameters.title})",
                fix=f'give {name} a default, or let somebody run the flow: .watch(mode="manual")',
            )
        if self.expectations:
            from data_engine.flow.expectation import check_grace

            check_grace(self.expectations, self.trigger)

    def __eq__(self, other: object) -> bool:
        return self._values() == other._values() if isinstance(other, Flow) else NotImplemented

    def __hash__(self) -> int:
        return hash(self._values())

    def _values(self) -> tuple[object, ...]:
        return tuple(getattr(self, attribute.name) for attribute in fields(self))

    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any:
            what = f"{type(self).__name__!r} object has no attribute {name!r}"
            if name.startswith("_"):
                raise AttributeError(what)
            near = nearest_name(name, dir(type(self)))
            example = next((verb for words, verb in _OTHER_WORDS.items() if name in words), None)
            raise UnknownVerbError(
                f"{what}: write {example}" if example else f"{what}: did you mean {near!r}?" if near else what
            )

    @property
    def mode(self) -> str:
        """ "manual", "poll" or "schedule"."""
        return "manual" if self.trigger is None else self.trigger.mode

    @property
    def mirrors_into_source(self) -> bool:
        """Whether the mirror root is the source folder; only what has none of the sources' extensions can be written then."""
        source = None if self.trigger is None else self.trigger.source
        return self.mirror_spec is not None and self.mirror_spec.root == source

    @property
    def is_staged(self) -> bool:
        """Whether the outputs of a run appear all at once, when it has succeeded."""
        return self.mirror_spec is not None and self.mirror_spec.staged

    @property
    def last_saved(self) -> str | None:
        """The name of the last object that a step saves, such as the frame before it is written; None where none does."""
        return next((step.save_as for step in reversed(self.steps) if step.save_as is not None), None)

    @property
    def title(self) -> str:
        """The title for people: the label, or the name in words."""
        return self.label or title_text(self.name or "", "Flow")

    # -- authoring -------------------------------------------------------------------------------------------------

    @checked(
        only=(),
        example='.watch(mode="poll", source="../in", interval="30s"), or .watch(mode="schedule", cron="0 7 * * 1-5") for 07:00 from Monday'
        " to Friday",
    )
    def watch(
        self,
        *,
        mode: Literal["manual", "poll", "schedule"],
        run_as: Literal["individual", "batch"] = "individual",
        max_parallel: int = 1,
        source: PathText | None = None,
        interval: Duration | None = None,
        time: str | list[str] | tuple[str, ...] | set[str] | None = None,
        cron: str | None = None,
        tz: str | None = None,
        extensions: str | list[str] | tuple[str, ...] | set[str] | None = None,
        settle: int | Duration = 1,
        catch_up: Literal["latest", "all", "none"] = "latest",
        skip: str | date | Iterable[str | date] | None = None,
        shrink: Literal["hold", "tell"] = "hold",
    ) -> Self:
        """The flow with this trigger.

        Args:
            mode: "manual"; "poll" (needs `source` and `interval`); "schedule" (exactly one of `interval`, `time`, `cron`).
            run_as: "individual" runs once for each source file, "batch" once for the whole folder, when what ran or was due in the flows
                that write it is done.
            max_parallel: how many sources of this flow may run at once; in the daemon each of these runs has a process, and so a module, of its own.
            source: a file or a folder (searched with its subfolders); it need not exist yet.
            interval: a positive duration: "10ms" "5s" "15m" "1.5h" "2d" "1w", or a timedelta.
            time: "HH:MM" or several of them, wall-clock in `tz`.
            cron: five fields, wall-clock in `tz`.
            tz: an IANA zone; by default the workspace's `timezone`, else the machine's.
            extensions: which files count; one text means one extension, compound ones (".csv.gz") work; case is ignored.
            settle: poll only: how long (whole seconds, or a duration) a file must look the same before it is due.
            catch_up: wall-clock only: slots missed while nothing ran are run for the "latest", "all" or "none" of them.
            skip: wall-clock only: days without slots: dates, or the name of a file in `config/` with one date a line ("holidays.txt"),
                which is read each time.
            shrink: batches only: "hold" one that comes by itself with less than half of the sources, or files of a `collect`, of the last
                good run, and at least three fewer, until they are back or somebody accepts it; "tell" runs it, with a warning in its log.

        Raises:
            FlowValidationError: an option is wrong, missing, or belongs to another mode; `source` is the mirror root, and `extensions` names none.

        Example:
            >>> flow = Flow(group="Claims").watch(mode="poll", source="/in", interval="30s", extensions="xlsx")
            >>> flow.trigger.interval_seconds, flow.trigger.extensions
            (30.0, ('.xlsx',))
        """
        from data_engine.flow.trigger import make_trigger

        trigger = make_trigger(
            mode=mode,
            run_as=run_as,
            max_parallel=max_parallel,
            source=source,
            interval=interval,
            time=time,
            cron=cron,
            tz=tz,
            extensions=extensions,
            settle=settle,
            catch_up=catch_up,
            skip=skip,
            shrink=shrink,
        )
        return replace(self, trigger=trigger)

    @checked(only=())
    def mirror(self, *, root: PathText, staged: bool = False) -> Self:
        """The flow with `context.mirror` under `root`.

        A root inside the source folder is skipped when looking for sources. With `staged` a run writes to a stage beside
        the root; when it has succeeded, all that is there takes its place at once, and a run that fails changes nothing.
        The source folder itself can be the root of a flow that names the extensions of its sources, and writes others.

        Raises:
            FlowValidationError: `root` is not a path, or the source folder of a flow that takes every extension.

        Example:
            >>> flow = Flow(group="Claims").mirror(root="/out", staged=True)
            >>> flow.is_staged
            True
        """
        authored = author_path(root, where="Flow.mirror(root=...)")
        check_argument("Flow.mirror", "staged", "bool", staged)
        return replace(self, mirror_spec=MirrorSpec(authored.path, authored.text, staged))

    @checked(only=())
    def params(self, settings: type) -> Self:
        """The flow whose parameters are the fields of this dataclass; `context.params` is an instance of it in every run.

        A field is of type `str int float bool date datetime time timedelta Decimal Path`, an `Enum`, a `Literal`, a
        `list[...]` of these, `X | None`, or `Secret`, which is asked for by the field's name. Its default is what a run
        gets that was given nothing. What a form shows beside it comes from `field(metadata={"label": ..., "help": ...})`,
        or from its line in the class's docstring.

        Raises:
            FlowValidationError: not a dataclass, a type or a default that no parameter can have; or the flow runs by itself,
                and a parameter has no default.

        Example:
            >>> from dataclasses import dataclass
            >>> from datetime import date
            >>> from data_engine import Flow
            >>> @dataclass
            ... class Settings:
            ...     month: date = date(2013, 1, 1)
            >>> flow = Flow(group="Flights").params(Settings).step(lambda context: context.params.month)
            >>> flow.preview(params={"month": "2013-03"})
            datetime.date(2013, 3, 1)
        """
        from data_engine.flow.parameters import parameters_of

        return replace(self, parameters=parameters_of(settings))

    @checked(only=())
    def expect(
        self,
        *,
        by: str | list[str] | tuple[str, ...] | set[str] | None = None,
        every: Duration | None = None,
        within: Duration | None = None,
        grace: Duration | None = None,
        days: str | list[str] | tuple[str, ...] | set[str] | None = None,
        tz: str | None = None,
    ) -> Self:
        """The flow with this expectation: what is late is shown everywhere, and sent to those of `[alerts]`.

        Several calls add up. A run with other params than the defaults, or for an old slot, does not count.

        Args:
            by: "HH:MM" or several of them: a success on each day by then.
            every: a success at least once within every such interval.
            within: how long a run may take.
            grace: how late a time of a schedule may begin before it counts as missed; by default 5 minutes, and an hour while it waits
                for flows that feed it.
            days: with `by`: "mon-fri", "mon,thu", or a list; by default every day.
            tz: with `by`: an IANA zone; by default the workspace's `timezone`, else the machine's.

        Raises:
            FlowValidationError: nothing is expected, an option is wrong, or it was said before; `grace` of a flow without times.

        Example:
            >>> flow = Flow(group="Claims").watch(mode="schedule", time="06:00").expect(by="07:00", days="mon-fri", within="30m")
            >>> flow.expectations[0].by, flow.expectations[0].within_s
            (('07:00',), 1800.0)
        """
        from data_engine.flow.expectation import make_expectation, with_expectation

        new = make_expectation(by=by, every=every, within=within, grace=grace, days=days, tz=tz)
        return replace(self, expectations=with_expectation(self.expectations, new))

    @checked(only=())
    def alert(
        self,
        *,
        to: str | list[str] | tuple[str, ...] | None = None,
        on: str | list[str] | tuple[str, ...] | set[str] | None = None,
    ) -> Self:
        """The flow whose troubles are sent to these, instead of those that the workspace's `[alerts]` name.

        `to` are names of secrets that hold addresses ([] is nobody); `on` are kinds: "failed", "held", "missed", "late",
        "overlong", "rejected", "recovered", and "report": when a run has made a new page by `report`, it is sent. A call `on=["report"]`
        alone leaves all other alerts as they are. What is left out is as in `[alerts]`. Several calls tell several people of several kinds.

        Raises:
            FlowValidationError: neither is given, a text that is not the name of a secret, or an unknown kind.

        Example:
            >>> flow = Flow(group="Claims").alert(to="ops", on=["failed", "recovered"]).alert(to=["boss"], on=["late"])
            >>> [rule.to for rule in flow.alerts]
            [('ops',), ('boss',)]
        """
        from data_engine.flow.expectation import make_alert

        return replace(self, alerts=(*self.alerts, make_alert(to=to, on=on)))

    @checked(only=())
    def step(
        self,
        fn: Callable[[FlowContext], Any],
        *,
        use: str | None = None,
        save_as: str | None = None,
        label: str | None = None,
    ) -> Self:
        """The flow with one more step: `fn(context)`, whose result becomes `context.current`.

        `use` names an earlier object to make current first, `save_as` names the result; where several steps give the same name, the last
        one's result has it. A returned `Path` that exists
        (or a list, tuple or Batch of them) is recorded as the step's output.

        Raises:
            FlowValidationError: `fn` cannot be called with one context, or a blank name.

        Example:
            >>> flow = Flow(group="Demo").step(lambda context: 21, save_as="half").step(lambda context: 2 * context.current, use="half")
            >>> flow.last_saved, [step.use for step in flow.steps]
            ('half', [None, 'half'])
        """
        check_step(fn, "step")
        return self._with(fn, use, save_as, label, default_label(fn), function_name(fn), "step")

    @checked(only=())
    def map(
        self,
        fn: Callable[..., Any],
        *,
        use: str | None = None,
        save_as: str | None = None,
        label: str | None = None,
        max_parallel: int | None = None,
        on_error: Literal["raise", "collect"] = "raise",
    ) -> Self:
        """The flow with a step that calls `fn(item)` or `fn(context, item)` for each item of the current batch.

        The result is a `Batch` in input order. `max_parallel` runs so many items at once: in threads, in processes or on a
        cluster, as the workspace's `[executor]` says. With `on_error="collect"` a
        failed item's place holds an `ItemError(item, error)` and the others go on; with "raise" the first error in input
        order ends the step.

        Raises:
            FlowValidationError: `fn` fits neither call, or an option is wrong. At run time: no items, or none to iterate.

        Example:
            >>> from data_engine import Flow
            >>> flow = Flow(group="Demo").step(lambda context: [1, 0]).map(lambda item: 1 / item, on_error="collect")
            >>> batch = flow.preview()
            >>> batch.ok().items, len(batch.errors())
            ((1.0,), 1)
        """
        takes_context = map_takes_context(fn)
        if max_parallel is not None:
            check_count(max_parallel, "max_parallel", "Flow.map")
        check_argument("Flow.map", "on_error", "Literal['raise', 'collect']", on_error)
        call = Map(fn, takes_context, max_parallel, on_error == "collect")
        return self._with(call, use, save_as, label, default_label(fn), function_name(fn), "map")

    step_each = map

    @checked(only=())
    def collect(
        self,
        extensions: str | list[str] | tuple[str, ...] | set[str],
        *,
        root: PathText | None = None,
        recursive: bool = False,
        use: str | None = None,
        save_as: str | None = None,
        label: str | None = None,
    ) -> Self:
        """The flow with a step that finds files and returns them as a `Batch` of `FileRef`, in path order.

        It looks in `root`, or in the source's root without one, with `recursive` in its subfolders too, and skips hidden,
        temporary and lock files as watching does.

        Raises:
            FlowValidationError: wrong extensions or root. At run time: a folder that does not exist.

        Example:
            >>> import tempfile
            >>> from data_engine import Flow
            >>> folder = Path(tempfile.mkdtemp())
            >>> _ = [(folder / name).write_text("1") for name in ("b.csv", "a.csv", "~$a.csv", "notes.txt")]
            >>> Flow(group="Demo").collect(".csv", root=folder).preview().names()
            ('a.csv', 'b.csv')
        """
        where = "Flow.collect(extensions)"
        suffixes = parse_extensions(extensions, where=where)
        if suffixes is None:
            raise FlowValidationError(
                "At least one extension is required", where=where, fix='collect(".csv") or collect([".csv", ".xlsx"])'
            )
        check_argument("Flow.collect", "recursive", "bool", recursive)
        folder = None if root is None else author_path(root, where="Flow.collect(root=...)")
        call = Collect(suffixes, folder, recursive)
        flow = self._with(call, use, save_as, label, "Collect Files", "collect", "collect")
        return replace(flow, collects=(*self.collects, call))

    @checked(only=())
    def check(
        self,
        rules: Mapping[str, Any] | type | None = None,
        *,
        schema: Literal["as_before"] | None = None,
        use: str | None = None,
        save_as: str | None = None,
        on_fail: Literal["fail", "warn", "quarantine"] = "fail",
        at_most: float | None = None,
        rejected: str | None = None,
        label: str | None = None,
    ) -> Self:
        """The flow with a step that looks at each row of the current frame, and lets those go on of which every rule is true.

        The frame is a Polars DataFrame or LazyFrame, a pandas frame, an Arrow table or a DuckDB relation; the result is of the same kind,
        with the same columns, types and order. A rule with one value for the whole frame (`pl.len() > 0`) judges the frame.

        With `schema="as_before"`, alone or beside rules, its columns and their types must be, in any order, those of a good run since the
        last deploy that changed the steps before; the first run sets them. Where they are not, nothing after it runs and the source is held,
        until somebody accepts it (`data-engine retry NAME --accept`) or the source is as before; with on_fail="warn" that is only told.

        Args:
            rules: name -> a Polars expression, or its text in SQL ("amount > 0"; of a relation in DuckDB's); or a dataframely Schema.
                Null is not true, nor is NaN in what a rule compares: such a row is rejected, and counted as unknown.
            on_fail: "fail" ends the run there; "warn" lets all rows go on and records it; with "quarantine" the good rows go on, and the
                others go to `rejected/` in the workspace when the run has succeeded.
            at_most: with "quarantine": the share of rejected rows (0 to 1) above which the run fails.
            rejected: the name of an object with the rejected rows, for `preview(use=...)`.

        Raises:
            FlowValidationError: neither rules nor a schema, or an option is wrong. At run time: a rule that names no column or gives no
                booleans, rows that must not go on; a FeedChangedError where columns are not as before.

        Example:
            >>> import polars as pl
            >>> from data_engine import Flow
            >>> flow = Flow(group="Demo").step(lambda context: pl.DataFrame({"amount": [3, -1, None]}))
            >>> flow.check({"positive": "amount > 0"}, on_fail="quarantine").preview()["amount"].to_list()
            [3]
            >>> flow.check(schema="as_before").steps[-1].fn.words
            'columns as before: or the run fails'
        """
        from data_engine.flow.check import Check, make_check

        number = 1 + sum(isinstance(step.fn, Check) for step in self.steps)
        title = _object_name(label, "label", "check") or ("Check" if number == 1 else f"Check {number}")
        check = make_check(rules, schema=schema, on_fail=on_fail, at_most=at_most, rejected=rejected, label=title)
        return self._with(check, use, save_as, title, title, "check", "check")

    @checked(only=())
    def report(
        self,
        *objects: str,
        to: str | None = None,
        rows: int = 50,
        title: str | None = None,
        note: str | None = None,
        label: str | None = None,
    ) -> Self:
        """The flow with a step that writes these saved objects as a page for people, and passes on what is current.

        The page is one file of HTML in the mirror, which needs no network and runs no script: its title, its note, the source or slot,
        the parameters (a secret as `***`), the objects as a notebook shows them, and what checks have found. The same objects give
        the same bytes.

        Args:
            objects: the names that earlier steps gave by `save_as`.
            to: the name of the page beside the source's place in the mirror, such as "delays.html"; by default the source's with
                `.html`, without a source the flow's.
            rows: the most rows of a frame that are shown; how many there are is said below them.
            title: by default the flow's name in words.
            note: a text below the title.

        Raises:
            FlowValidationError: no `mirror` before it, no object or one that no step before it saves, two reports of one name, or a wrong
                option.

        Example:
            >>> import tempfile
            >>> from data_engine import Flow
            >>> flow = Flow(group="Demo", name="delays").mirror(root=tempfile.mkdtemp()).step(lambda context: "12 late", save_as="text")
            >>> (context,) = flow.report("text", title="Delays").run_once()
            >>> [path.name for path in context.mirror.root.iterdir()], context.current
            (['delays.html'], '12 late')
        """
        from data_engine.flow.report import Report, make_report

        number = 1 + sum(isinstance(step.fn, Report) for step in self.steps)
        name = _object_name(label, "label", "report") or ("Report" if number == 1 else f"Report {number}")
        has_mirror = self.mirror_spec is not None
        report = make_report(objects, steps=self.steps, has_mirror=has_mirror, to=to, rows=rows, title=title, note=note)
        return self._with(report, None, None, name, name, "report", "report")

    def _with(
        self,
        fn: Callable[[FlowContext], Any],
        use: object,
        save_as: object,
        label: object,
        default: str,
        name: str,
        verb: str,
    ) -> Self:
        saved = _object_name(save_as, "save_as", verb)
        if saved == "current":
            raise FlowValidationError(
                "save_as cannot overwrite 'current'", where=f"Flow.{verb}", fix="choose another name, or leave it out"
            )
        step = StepSpec(fn, _object_name(use, "use", verb), saved, _object_name(label, "label", verb) or default, name)
        return replace(self, steps=(*self.steps, step))


Flow.__init__ = checked(  # type: ignore[method-assign]
    only=(), public=("group", "name", "label"), example='Flow(group="Sales")'
)(Flow.__init__)


def _object_name(value: object, option: str, verb: str) -> str | None:
    if value is None:
        return None
    if not isinstance(value, str) or not value.strip():
        raise FlowValidationError(
            f"{option} must be a non-blank text, not {value!r}", where=f"Flow.{verb}", fix=f"leave {option}= out"
        )
    return value.strip()
