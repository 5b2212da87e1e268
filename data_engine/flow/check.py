"""A check as a step: it decides which rows go on, and what happens to the others."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from dataclasses import field, replace
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

from data_engine.errors import FeedChangedError, FlowValidationError
from data_engine.flow.batch import columns_of
from data_engine.flow.rules import MOST_RULES, CheckRules, rules_of, wrong_option
from data_engine.formatting import cli_line, first_few, plural
from data_engine.model import RuleCount, changes_text
from data_engine.record import frozen

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import FrameType
    from typing import Any

    from data_engine.flow.checking import CheckedFrame
    from data_engine.flow.context import FlowContext
    from data_engine.flow.spec import StepSpec

_OWN_FOLDER = str(Path(__file__).parent.parent) + os.sep
_BECOMES = {"fail": "or the run fails", "warn": "or it is told", "quarantine": "other rows are kept apart"}
ON_FAIL = tuple(_BECOMES)


class SplitRows(NamedTuple):
    """The rows that go on, and the rejected rows where they have a name; both as the kind of frame that came."""

    good: Any
    rejected: Any

    @classmethod
    def pick(cls, value: Any, name: str | None, rejected: str | None) -> Any:
        """The object of this name in a step's value; `rejected` is the check's name for the rejected rows."""
        if not isinstance(value, cls):
            return value
        return value.rejected if name is not None and name == rejected else value.good


@frozen
class Check:
    """A step that passes on the rows of which every rule is true, as `Flow.check` says; with `as_before` only where the columns are those of
    a good run. `written_at` is the file, line and module where it was written, for the errors of its runs."""

    rules: CheckRules
    on_fail: str = "fail"
    at_most: float | None = None
    rejected: str | None = None
    as_before: bool = False
    written_at: tuple[str, int, str] | None = field(default=None, repr=False, compare=False)

    def __call__(self, context: FlowContext) -> Any:
        good, rejected = self.apart(context)
        if self.rejected is not None:
            context.objects[self.rejected] = rejected
        return good

    @property
    def words(self) -> str:
        """The rules, and what happens to rows that break them, for people."""
        most = "" if self.at_most is None else f", at most {self.at_most:.4g} of all rows"
        named = "" if self.rejected is None else f" as {self.rejected}"
        names = [*(["columns as before"] if self.as_before else []), *self.rules.names]
        return f"{first_few(names, MOST_RULES)}: {_BECOMES[self.on_fail]}{named}{most}"

    def apart(self, context: FlowContext) -> SplitRows:
        """The rows that go on, and the rejected rows where they have a name.

        Raises:
            FeedChangedError: the columns are not as before.
            FlowValidationError: the rules cannot be asked, or rows must not go on.
        """
        try:
            if self.as_before:
                self._judge_columns(context)
            if not self.rules.names:
                return SplitRows(context.current, None)
            from data_engine.flow.checking import judge

            return self._apart(context, judge(context.current, self.rules))
        except FlowValidationError as error:
            error.written_at = self.written_at
            raise

    def _judge_columns(self, context: FlowContext) -> None:
        label, feed = repr(self.rules.label), context.control.feed
        where = f"Flow.check(schema='as_before', label={label})"
        if not columns_of(context.current):
            what = f"check {label} got {type(context.current).__name__}, and no frame whose columns could be compared"
            fix = "let the step before return a frame, or name one with use="
            raise FlowValidationError(what, where=where, fix=fix)
        changes = () if feed is None else feed.judge(self.rules.label, context.current)
        if not changes:
            return
        words = changes_text(changes)
        if self.on_fail == "warn":
            context.log(words, level="WARNING")
            return
        fix = _TO_ACCEPT.format(retry=cli_line("retry", context.flow_name, "--accept"))
        error = FeedChangedError(
            f"check {label} is not passed: {'; '.join([words, *self._broken(context)])}", where=where, fix=fix
        )
        error.changes = changes
        raise error

    def _broken(self, context: FlowContext) -> list[str]:
        """The rules that are not true of a frame whose columns are not as before; none where one cannot be asked of it."""
        if not self.rules.names:
            return []
        from data_engine.flow.checking import judge

        try:
            judgement = judge(context.current, self.rules)
        except FlowValidationError:  # of a column that is gone
            return []
        return [judgement.words_of(count) for count in judgement.counts if count.failed or count.unknown]

    def _apart(self, context: FlowContext, judgement: CheckedFrame) -> SplitRows:
        broken = [count for count in judgement.counts if count.failed or count.unknown]
        is_quarantine = self.on_fail == "quarantine"
        result = judgement.result(with_frame=is_quarantine)
        context.control.checked.append(result)
        context.control.findings.append(result.words)
        if wrong := judgement.broken_about_frame if is_quarantine else broken if self.on_fail == "fail" else ():
            fix = _TO_FAIL if self.on_fail == "fail" else _ABOUT_FRAME
            raise self._stopped("is not passed", judgement, wrong, fix)
        if self.at_most is not None and judgement.rejected > Fraction(repr(self.at_most)) * judgement.rows:
            bad, rows = judgement.rejected, judgement.rows
            what = f"would reject {bad:,} of {plural(rows, 'row')} ({bad / rows:.2%}), more than at_most={self.at_most}"
            raise self._stopped(what, judgement, broken, _TOO_MANY)
        if broken:
            context.log(result.finding, level="INFO" if is_quarantine else "WARNING")
        rejected = None if self.rejected is None else judgement.rejected_as_given()
        return SplitRows(judgement.good(is_all=not is_quarantine), rejected)

    def _stopped(
        self, what: str, judgement: CheckedFrame, broken: Sequence[RuleCount], fix: str
    ) -> FlowValidationError:
        label, details = repr(self.rules.label), "; ".join(judgement.words_of(count) for count in broken)
        return FlowValidationError(f"check {label} {what}: {details}", where=f"Flow.check(..., label={label})", fix=fix)


_TO_ACCEPT = "correct the source; or let this pass too from now on: `{retry}`; or correct the steps and deploy them"
_TO_FAIL = (
    'correct the data or the rule; on_fail="quarantine" lets the good rows go on and keeps the others apart, '
    'on_fail="warn" lets all go on'
)
_ABOUT_FRAME = "correct the data or the rule: a rule about the whole frame rejects no single row"
_TOO_MANY = "look at the source: it may be another one than expected; or raise at_most="


def make_check(
    rules: object, *, schema: object, on_fail: object, at_most: object, rejected: object, label: str
) -> Check:
    """The check that these options of `Flow.check` mean.

    Raises:
        FlowValidationError: no rules, a value that is no rule, or a wrong option.
    """
    if schema not in (None, "as_before"):
        what = f"schema={schema!r} is not possible"
        raise wrong_option(
            what, "schema", 'schema="as_before", or leave it out; a dataframely Schema is given as rules'
        )
    if on_fail not in ON_FAIL:
        raise wrong_option(f"on_fail={on_fail!r} is not possible", "on_fail", f"use {', '.join(map(repr, ON_FAIL))}")
    if at_most is not None:
        if isinstance(at_most, bool) or not isinstance(at_most, (int, float)) or not 0 <= at_most <= 1:
            raise wrong_option(
                f"at_most={at_most!r} is no share of rows from 0 to 1", "at_most", "at_most=0.01 is one in a hundred"
            )
        if on_fail != "quarantine":
            raise wrong_option(
                "at_most= limits what is rejected", "at_most", 'give on_fail="quarantine" too, or leave it out'
            )
    if rules is None and schema is not None and (on_fail == "quarantine" or rejected is not None):
        raise wrong_option("only rules reject rows", "rules", 'give rules too, or on_fail="fail" or "warn"')
    name = None if rejected is None else str(rejected).strip()
    if rejected is not None and (not isinstance(rejected, str) or not name or name == "current"):
        raise wrong_option(f"rejected={rejected!r} is no name of an object", "rejected", 'rejected="bad_df"')
    limit = None if at_most is None else float(at_most)
    judged = CheckRules(label) if rules is None and schema is not None else rules_of(rules, label)
    return Check(judged, str(on_fail), limit, name, schema is not None, _author_line())


def _author_line() -> tuple[str, int, str] | None:
    """The file, line and module outside of this package that is being executed."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and frame.f_code.co_filename.startswith(_OWN_FOLDER):
        frame = frame.f_back
    if frame is None:
        return None
    return frame.f_code.co_filename, frame.f_lineno, str(frame.f_globals.get("__name__", ""))


def with_rejected_named(steps: Sequence[StepSpec]) -> tuple[StepSpec, ...]:
    """The steps, whose checks give their rejected rows a name where they have none, to be compared."""
    return tuple(
        replace(step, fn=replace(step.fn, rejected=f"rejected by {step.label}"))
        if isinstance(step.fn, Check) and step.fn.on_fail == "quarantine" and step.fn.rejected is None
        else step
        for step in steps
    )


def names_saved(step: StepSpec) -> tuple[str, ...]:
    """The names under which a step saves: of its result, and of the rejected rows of a check."""
    rejected = step.fn.rejected if isinstance(step.fn, Check) else None
    return tuple(name for name in (step.save_as, rejected) if name is not None)
