"""Finds the good rows of a frame: evaluates all rules in one pass, and returns the kind of frame that came."""

from __future__ import annotations

import re
import uuid
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import cached_property
from typing import Any, NamedTuple

import polars as pl

from data_engine.errors import FlowValidationError
from data_engine.flow.batch import frame_kind, is_relation
from data_engine.flow.compared import (
    ComparedTerms,
    asks_for_nan,
    both,
    compared_in_sql,
    holds_floats,
    nan_rows,
    nan_values,
)
from data_engine.flow.rules import CheckResult, CheckRules, Rule
from data_engine.formatting import beginning, first_few, plural
from data_engine.model import RuleCount
from data_engine.suggestions import near_offer

ROW, RULES = "_row", "_rules"
_OWN_COLUMNS = (ROW, RULES, "_check", "_run", "_source")
_NOT_IN_ARROW = ("BIT", "TIME WITH TIME ZONE")
"""Types of DuckDB of which Arrow loses something: they are read as text."""
_MOST_ROWS = 5
_MOST_COLUMNS = 8
_LONGEST_VALUE = 60


def judge(value: Any, check: CheckRules) -> CheckedFrame:
    """The frame judged by the rules of the check.

    Raises:
        FlowValidationError: it is no frame, or a rule cannot be asked of it.
    """
    frame = _frame_of(value, check)
    if taken := [name for name in frame.columns if frame.same(name) in _OWN_COLUMNS]:
        raise _wrong(
            check, f"the frame has a column {taken[0]!r}, as rejected rows get", "drop or rename it before the check"
        )
    if doubled := [name for name, times in Counter(map(frame.same, frame.columns)).items() if times > 1]:
        what = f"the frame has {Counter(map(frame.same, frame.columns))[doubled[0]]} columns {doubled[0]!r}"
        raise _wrong(check, what, "rename or drop all but one of them before the check")
    answers = _ask_schema(frame, check) if check.schema is not None else frame.ask(check)
    return CheckedFrame(frame, check, answers)


class RuleResult(NamedTuple):
    """The answer of a rule: for each row, or one for the frame; `columns` are those that it reads."""

    rule: str
    rows: pl.Series | None
    of_frame: bool | None = None
    columns: tuple[str, ...] = ()

    def counted(self, check: str) -> RuleCount:
        """The number of rows for which it is false, and null."""
        if self.rows is None:
            return RuleCount(check, self.rule, 1, int(self.of_frame is False), int(self.of_frame is None))
        unknown = self.rows.null_count()
        return RuleCount(
            check, self.rule, len(self.rows), len(self.rows) - unknown - int(self.rows.sum() or 0), unknown
        )


class CheckedFrame:
    """A frame with the answers of the rules."""

    def __init__(self, frame: _Frame, check: CheckRules, answers: Sequence[RuleResult]) -> None:
        self._frame, self._check, self._answers = frame, check, answers
        self.rows = frame.height
        self.counts = tuple(answer.counted(check.label) for answer in answers)

    @cached_property
    def _is_good(self) -> pl.Series | None:
        """For each row whether it may go on; None where all may."""
        broken = [
            answer.rows
            for answer, count in zip(self._answers, self.counts, strict=True)
            if answer.rows is not None and (count.failed or count.unknown)
        ]
        if not broken:
            return None
        good = broken[0]
        for rows in broken[1:]:
            good = good & rows
        return good.fill_null(False)

    @cached_property
    def rejected(self) -> int:
        """The number of rows that may not go on."""
        return 0 if self._is_good is None else self.rows - int(self._is_good.sum())

    @property
    def broken_about_frame(self) -> list[RuleCount]:
        """The rules about the whole frame that are not true."""
        pairs = zip(self._answers, self.counts, strict=True)
        return [count for answer, count in pairs if answer.rows is None and (count.failed or count.unknown)]

    def good(self, *, is_all: bool) -> Any:
        """The rows that may go on, or all of them, as the kind of frame that came; computed no second time."""
        return self._frame.whole() if is_all or self._is_good is None else self._frame.take(self._is_good)

    def result(self, *, with_frame: bool) -> CheckResult:
        """The result to record."""
        frame = self.rejected_rows() if with_frame and self.rejected else None
        return CheckResult(self._check.label, self.counts, self.rows, self.rejected if with_frame else None, frame)

    def rejected_rows(self) -> pl.DataFrame:
        """The rejected rows in Polars, with their number and the rules that are not true of them."""
        return self._frame.some(self._is_bad).with_columns(self._marks())

    def rejected_as_given(self) -> Any:
        """The same as the kind of frame that came."""
        return self._frame.marked(self._bad, self._marks())

    @cached_property
    def _is_bad(self) -> pl.Series:
        return pl.repeat(False, self.rows, eager=True) if self._is_good is None else ~self._is_good

    @cached_property
    def _bad(self) -> Any:
        return self._frame.take(self._is_bad)

    def _marks(self) -> tuple[pl.Series, pl.Series]:
        numbers = self._is_bad.arg_true().cast(pl.Int64).alias(ROW)
        about_rows = [answer for answer in self._answers if answer.rows is not None]
        rules = [answer.rows.alias(str(at)) for at, answer in enumerate(about_rows) if answer.rows is not None]
        if not rules or numbers.is_empty():
            return numbers, pl.Series(RULES, [], pl.List(pl.String))
        answers = pl.DataFrame(rules)[numbers].with_columns(pl.all().fill_null(False))
        ways = answers.unique()  # few ways to be bad, whose rules are named once
        named = [
            [answer.rule for answer, is_true in zip(about_rows, way, strict=True) if not is_true]
            for way in ways.iter_rows()
        ]
        marks = ways.with_columns(pl.Series(RULES, named, pl.List(pl.String)))
        return numbers, answers.join(marks, on=answers.columns, how="left", maintain_order="left")[RULES]

    def words_of(self, count: RuleCount) -> str:
        """The failure of a rule in words, with the first rows and the columns that it reads."""
        answer = next(answer for answer in self._answers if answer.rule == count.rule)
        if answer.rows is None:
            return f"{count.rule} is {'unknown' if count.unknown else 'not true'} of the frame of {plural(self.rows, 'row')}"
        is_bad = ~answer.rows.fill_null(False)
        at = is_bad.arg_true().head(_MOST_ROWS)
        rows = self._frame.some(pl.repeat(False, self.rows, eager=True).scatter(at, True))
        columns = [name for name in answer.columns if name in rows.columns][:_MOST_COLUMNS]
        lines = [
            f"row {row}" + (f" ({', '.join(f'{name}={_shown(values[name])}' for name in columns)})" if columns else "")
            for row, values in zip(at, rows.iter_rows(named=True), strict=True)
        ]
        unknown = f", {count.unknown:,} of them unknown" if count.unknown else ""
        bad = count.failed + count.unknown
        return f"{count.rule} is not true of {bad:,} of {plural(count.rows, 'row')}{unknown}: {first_few(lines, _MOST_ROWS, more=bad - len(lines))}"


def _shown(value: object) -> str:
    return "null" if value is None else beginning(repr(value) if isinstance(value, str) else str(value), _LONGEST_VALUE)


# -- kinds of frames -----------------------------------------------------------------------------------------------------


class _Frame:
    """A frame of Polars; the subclasses read and return other kinds."""

    def __init__(self, frame: Any) -> None:
        self.frame = frame

    @property
    def columns(self) -> list[str]:
        return list(self.frame.columns)

    @property
    def height(self) -> int:
        return int(self.frame.height)

    def same(self, column: str) -> str:
        """One text for all names that mean the same column."""
        return column

    def polars(self, columns: Sequence[str] | None = None) -> pl.DataFrame:
        """The frame in Polars; at least these columns."""
        return self.frame  # type: ignore[no-any-return]

    def ask(self, check: CheckRules) -> list[RuleResult]:
        """The answer of each rule."""
        rules = {rule.name: _expression(rule, check) for rule in check.each}
        return _ask(self.polars(_read_by(rules, self.columns)), rules, check, self.columns)

    def take(self, rows: pl.Series) -> Any:
        """Some of the rows."""
        if 2 * int(rows.sum() or 0) < len(rows):
            return self.frame[rows.arg_true()]
        return self.frame.lazy().filter(rows).collect()  # on all cores

    def some(self, rows: pl.Series) -> pl.DataFrame:
        """Some of the rows in Polars."""
        return _as_polars(self.take(rows))

    def whole(self) -> Any:
        """All rows."""
        return self.frame

    def marked(self, rows: Any, marks: Sequence[pl.Series]) -> Any:
        """These rows with more columns."""
        return rows.with_columns(marks)


class _Lazy(_Frame):
    """A LazyFrame, computed once; its rows are lazy again."""

    def __init__(self, frame: pl.LazyFrame) -> None:
        super().__init__(frame.collect())

    def take(self, rows: pl.Series) -> pl.LazyFrame:
        return self.frame.filter(rows).lazy()  # type: ignore[no-any-return]

    def whole(self) -> pl.LazyFrame:
        return self.frame.lazy()  # type: ignore[no-any-return]


class _Arrow(_Frame):
    @property
    def columns(self) -> list[str]:
        return list(self.frame.column_names)

    @property
    def height(self) -> int:
        return int(self.frame.num_rows)

    def polars(self, columns: Sequence[str] | None = None) -> pl.DataFrame:
        return _as_polars(self.frame if columns is None else self.frame.select(columns))

    def take(self, rows: pl.Series) -> Any:
        return self.frame.filter(rows.to_arrow())

    def marked(self, rows: Any, marks: Sequence[pl.Series]) -> Any:
        return _with_columns(rows, marks)


class _Pandas(_Frame):
    @property
    def columns(self) -> list[str]:
        return [str(name) for name in self.frame.columns]

    @property
    def height(self) -> int:
        return len(self.frame)

    def polars(self, columns: Sequence[str] | None = None) -> pl.DataFrame:
        names = self.columns
        return _as_polars(
            self.frame if columns is None else self.frame.iloc[:, [names.index(name) for name in columns]]
        )

    def ask(self, check: CheckRules) -> list[RuleResult]:
        """Empty values are NaN in pandas: a rule that asks for NaN is given them so, each other one as null."""
        answers = {answer.rule: answer for answer in super().ask(check)}
        rules = {rule.name: _expression(rule, check) for rule in check.each}
        about_nan = {name: rule for name, rule in rules.items() if asks_for_nan(rule)}
        if about_nan:
            names = _read_by(about_nan, self.columns) or self.columns
            at = [self.columns.index(name) for name in names]
            frame = _of_pandas(self.frame.iloc[:, at], nan_to_null=False)
            answers |= {answer.rule: answer for answer in _ask(frame, about_nan, check, self.columns)}
        return list(answers.values())

    def take(self, rows: pl.Series) -> Any:
        return self.frame[rows.to_numpy()]

    def marked(self, rows: Any, marks: Sequence[pl.Series]) -> Any:
        rows = rows.copy()
        more_levels = [""] * (rows.columns.nlevels - 1)
        for mark in marks:
            rows[(mark.name, *more_levels) if more_levels else mark.name] = mark.to_list()
        return rows


class _Relation(_Frame):
    """A relation of DuckDB, read once together with the answers; its rows are a relation over the table that was read."""

    columns: Any = None

    def __init__(self, relation: Any) -> None:
        super().__init__(relation)
        self.columns = list(relation.columns)
        self._table: Any = None
        self._name = f"checked_{uuid.uuid4().hex}"  # nobody else's, in the connection, the columns and the rules

    @property
    def height(self) -> int:
        return int(self._read().num_rows)

    def same(self, column: str) -> str:
        return column.lower()

    def _query(self, sql: str) -> Any:
        """A relation of this statement, in which `{self._name}` is the one that is checked."""
        return self.frame.query(self._name, sql)

    def _read(self) -> Any:
        if self._table is None:
            self._table = self._with(())
        return self._table

    def polars(self, columns: Sequence[str] | None = None) -> pl.DataFrame:
        return _as_polars(self._read().select(columns or self.columns))

    def ask(self, check: CheckRules) -> list[RuleResult]:
        texts = {rule.name: str(rule.says) for rule in check.each if isinstance(rule.says, str)}
        compared = {name: self._compared(name, text, check) for name, text in texts.items()}
        about_rows = [name for name, text in texts.items() if self._is_about_rows(name, text, check)]
        try:
            answers = self._of_rows({name: texts[name] for name in about_rows}, compared)
            for name in texts.keys() - set(about_rows):
                answers[name] = RuleResult(name, None, self._of_frame(texts[name], compared[name]))
        except Exception as error:
            raise _wrong(
                check, f"DuckDB cannot ask the rules: {error}", "correct the rule or the query before it"
            ) from error
        others = {rule.name: rule.says for rule in check.each if rule.name not in answers}
        if others:
            frame = self.polars(_read_by(others, self.columns))
            answers |= {answer.rule: answer for answer in _ask(frame, others, check)}
        return [answers[rule.name] for rule in check.each]

    def _of_rows(self, texts: Mapping[str, str], compared: Mapping[str, ComparedTerms]) -> dict[str, RuleResult]:
        """The answers of rules about rows, which are read together with the rows."""
        asked = list(dict.fromkeys([*texts.values(), *(said for name in texts for said in compared[name].operands)]))
        table, width = self._with(asked), len(self.columns)
        values = {text: pl.Series(pl.from_arrow(table.column(width + at))) for at, text in enumerate(asked)}
        self._table = table.select(list(range(width)))
        answers = {}
        for name, text in texts.items():
            rows = _but_unknown(values[text].cast(pl.Boolean), _nan_in(values, compared[name].operands))
            words = {word.strip('"').lower() for word in re.findall(r"[^\W\d]\w*|\"[^\"]+\"", text)}
            columns = tuple(column for column in self.columns if column.lower() in words)
            answers[name] = RuleResult(name, rows, columns=columns)
        return answers

    def _with(self, texts: Sequence[str], relation: Any = None) -> Any:
        """The relation, or another of the same columns, as a table, with the values of these texts of SQL as more columns."""
        kinds = zip(self.columns, map(str, self.frame.types), strict=True)
        exact = [
            f"CAST({_quoted(name)} AS VARCHAR) AS {_quoted(name)}" for name, kind in kinds if kind in _NOT_IN_ARROW
        ]
        every = f"* REPLACE ({', '.join(exact)})" if exact else "*"
        more = "".join(f", ({text}\n) AS {self._name}_{at}" for at, text in enumerate(texts))
        return (
            (self.frame if relation is None else relation)
            .query(self._name, f"SELECT {every}{more} FROM {self._name}")
            .to_arrow_table()
        )

    def _of_frame(self, text: str, compared: ComparedTerms) -> bool | None:
        """The value of a rule about the frame; None where something that it compares is NaN."""

        def values(said: str) -> pl.Series:
            return pl.Series(pl.from_arrow(self._over(self._read(), f"SELECT ({said}\n)").to_arrow_table().column(0)))

        operands = {said: values(said) for said in compared.operands}
        unknown = _nan_in(operands, compared.operands)
        return None if unknown is not None else values(text).cast(pl.Boolean)[0]

    def _compared(self, name: str, text: str, check: CheckRules) -> ComparedTerms:
        """What a rule compares that can be NaN; one that can be asked only within its rule stands for the columns of the rule."""
        try:
            compared = compared_in_sql(
                text, self.columns, lambda said: str(self._query(f"SELECT {said}").fetchall()[0][0])
            )
        except Exception:  # DuckDB's parser does not give the rule in parts
            compared = ComparedTerms((), tuple(column for column in self.columns if column.lower() in text.lower()))
            compared = compared._replace(operands=tuple(map(_quoted, compared.columns)))
        if compared.changes_rows:
            raise _of_shape(check, name, "unnest gives several values for a row")
        operands: dict[str, None] = {}
        for said in compared.operands:
            kinds = self._floats([said])
            if kinds is None:
                operands |= dict.fromkeys(map(_quoted, compared.columns))
            elif kinds:
                operands[said] = None
        return compared._replace(operands=tuple(said for said in operands if self._floats([said])))

    def _floats(self, said: Sequence[str]) -> bool | None:
        """Whether these values of SQL can be NaN; None where they cannot be asked."""
        with suppress(Exception):  # the relation refuses them: None
            kinds = self._query(f"SELECT {', '.join(said)} FROM (SELECT * FROM {self._name} LIMIT 0)").types
            return any(re.search(r"\b(FLOAT|DOUBLE)\b", str(kind)) for kind in kinds)
        return None

    def _is_about_rows(self, name: str, text: str, check: CheckRules) -> bool:
        """Whether a rule has one value for each row: then it has no value without rows."""
        try:
            none = self._query(f"SELECT ({text}\n) AS said FROM (SELECT * FROM {self._name} LIMIT 0)")
            kind, values = str(none.types[0]), none.fetchall()
        except Exception as error:
            unknown = re.search(r'column "([^"]+)"', str(error))
            raise _of_rule(check, name, str(error), unknown and unknown[1], self.columns) from error
        if kind not in ("BOOLEAN", '"NULL"', "NULL"):
            raise _no_booleans(check, name, kind)
        return not values

    def take(self, rows: pl.Series) -> Any:
        return self._relation(self._read().filter(rows.to_arrow()))

    def some(self, rows: pl.Series) -> pl.DataFrame:
        return _as_polars(self._read().filter(rows.to_arrow()))

    def whole(self) -> Any:
        return self._relation(self._read())

    def marked(self, rows: Any, marks: Sequence[pl.Series]) -> Any:
        return self._relation(_with_columns(self._with((), rows), marks))

    def _relation(self, read: Any) -> Any:
        """A relation of the same connection, with the types of this one."""
        kinds = dict(zip(self.columns, map(str, self.frame.types), strict=True))
        columns = ", ".join(
            f"CAST({_quoted(name)} AS {kinds[name]}) AS {_quoted(name)}" if name in kinds else _quoted(name)
            for name in read.column_names
        )
        return self._over(read, f"SELECT {columns}")

    def _over(self, table: Any, select: str) -> Any:
        """A relation of this SELECT over an Arrow table, which DuckDB finds by its name among those of this module."""
        name = f"table_{uuid.uuid4().hex}"
        globals()[name] = table
        try:
            return self._query(f"{select} FROM {name}")
        finally:
            del globals()[name]


def _nan_in(values: Mapping[str, pl.Series], operands: Sequence[str]) -> pl.Series | None:
    """Where one of these values is NaN, or holds it; None where none is."""
    found = None
    for operand in operands:
        if holds_floats(values[operand].dtype) and (rows := nan_values(values[operand])).any():
            found = both(found, rows)
    return found


def _but_unknown(rows: pl.Series, unknown: pl.Series | None) -> pl.Series:
    """The answers of a rule, null where something that it compares is NaN."""
    if unknown is None:
        return rows
    return pl.select(pl.when(~(unknown if len(unknown) > 1 else pl.lit(unknown[0]))).then(rows)).to_series()


def _with_columns(table: Any, columns: Sequence[pl.Series]) -> Any:
    for column in columns:
        table = table.append_column(column.name, column.to_arrow())
    return table


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


_KINDS: dict[str, type[_Frame]] = {
    "polars.DataFrame": _Frame,
    "polars.LazyFrame": _Lazy,
    "pandas.DataFrame": _Pandas,
    "pyarrow.Table": _Arrow,
    "duckdb.DuckDBPyRelation": _Relation,
}


def _frame_of(value: Any, check: CheckRules) -> _Frame:
    if adapter := _KINDS.get(frame_kind(value)):
        return adapter(value)
    what = "nothing" if value is None else f"a value of type {type(value).__name__}"
    raise _wrong(
        check,
        f"it looks at a frame, and was given {what}",
        "let the step before return a Polars frame or LazyFrame, a pandas frame, an Arrow table or a DuckDB relation, or name one with use=",
    )


def _as_polars(frame: Any) -> pl.DataFrame:
    """A frame of any kind in Polars; columns that it cannot hold become text."""
    if isinstance(frame, pl.LazyFrame):
        return frame.collect()
    if isinstance(frame, pl.DataFrame):
        return frame
    if is_relation(frame):
        frame = frame.to_arrow_table()
    return _of_arrow(frame) if type(frame).__module__.partition(".")[0] == "pyarrow" else _of_pandas(frame)


def _of_arrow(table: Any) -> pl.DataFrame:
    if not any(map(_is_foreign, table.schema.types)):
        with suppress(Exception):  # a type that Polars does not have: column by column
            return pl.DataFrame(pl.from_arrow(table))
    columns = {}
    for name, column in zip(table.column_names, table.columns, strict=True):
        columns[name] = _series(name, column, pl.from_arrow, column.to_pylist, is_text=_is_foreign(column.type))
    return pl.DataFrame(columns)


def _is_foreign(kind: Any) -> bool:
    """Whether an Arrow type is, or holds, one that Polars does not have: it panics at an interval within a list."""
    import pyarrow as pa

    inner = [kind.field(at).type for at in range(kind.num_fields)]
    return pa.types.is_interval(kind) or pa.types.is_union(kind) or any(map(_is_foreign, inner))


def _of_pandas(frame: Any, *, nan_to_null: bool = True) -> pl.DataFrame:
    def read(column: Any) -> Any:
        return pl.from_pandas(column, nan_to_null=nan_to_null)

    columns = {}
    for at, name in enumerate(frame.columns):
        column = frame.iloc[:, at]
        columns[str(name)] = _series(str(name), column, read, column.tolist)
    return pl.DataFrame(columns)


def _series(
    name: str, column: Any, read: Callable[[Any], Any], values: Callable[[], list[Any]], *, is_text: bool = False
) -> pl.Series:
    """A column in Polars; as text where it is of a type that Polars does not have, or of several."""
    if not is_text:
        with suppress(Exception):  # values of several types: as text
            return pl.Series(name, read(column))
    return pl.Series(name, [None if value is None else str(value) for value in values()], pl.String)


# -- rules ---------------------------------------------------------------------------------------------------------------


def _expression(rule: Rule, check: CheckRules) -> pl.Expr:
    if not isinstance(rule.says, str):
        return rule.says  # type: ignore[no-any-return]
    try:
        return pl.sql_expr(rule.says)
    except Exception as error:
        raise _of_rule(check, rule.name, str(error)) from error


def _columns_of(expression: pl.Expr) -> tuple[str, ...] | None:
    """The columns that an expression reads; None where only the frame tells, as of `pl.all()`."""
    with suppress(Exception):  # an expression without columns of its own: None
        if not expression.meta.has_multiple_outputs():
            return tuple(dict.fromkeys(expression.meta.root_names()))
    return None


def _read_by(rules: Mapping[str, pl.Expr], columns: Sequence[str]) -> list[str] | None:
    """The columns that the rules read, None for all."""
    reads: dict[str, None] = {}
    for expression in rules.values():
        names = _columns_of(expression)
        if not names or not set(names) <= set(columns):
            return None
        reads.update(dict.fromkeys(names))
    return list(reads)


def _ask(
    frame: pl.DataFrame, rules: Mapping[str, pl.Expr], check: CheckRules, columns: Sequence[str] | None = None
) -> list[RuleResult]:
    """The answer of each rule for the frame, all in one pass; `columns` are all that it has, where only some are here."""
    columns = frame.columns if columns is None else columns
    for name, expression in rules.items():
        for column in _columns_of(expression) or ():
            if column not in columns:
                raise _of_rule(check, name, f"there is no column {column!r}", column, columns)
    few = pl.concat([frame.head(2), frame.head(2)])  # enough to tell one value for the frame from one a row
    said = [expression.implode().alias(str(at)) for at, expression in enumerate(rules.values())]
    try:
        shapes, values = few.select(said), frame.select(said)
    except Exception as error:
        raise _which(frame, rules, check, error) from error
    answers = []
    for at, (name, expression) in enumerate(rules.items()):
        is_about_frame = len(shapes.to_series(at)[0]) == 1
        series = _booleans(name, values.to_series(at)[0], check)
        if len(series) != (1 if is_about_frame else frame.height):
            raise _of_length(check, name, len(series), frame.height)
        unknown = nan_rows(frame, expression)
        if is_about_frame:
            answers.append(RuleResult(name, None, None if unknown is not None else series[0]))
        else:
            answers.append(RuleResult(name, _but_unknown(series, unknown), None, _columns_of(expression) or ()))
    return answers


def _booleans(name: str, values: pl.Series, check: CheckRules) -> pl.Series:
    if values.dtype not in (pl.Boolean, pl.Null):
        raise _no_booleans(check, name, str(values.dtype))
    return values.cast(pl.Boolean)


def _which(
    frame: pl.DataFrame, rules: Mapping[str, pl.Expr], check: CheckRules, error: Exception
) -> FlowValidationError:
    """The error of the rule that cannot be evaluated."""
    for name, expression in rules.items():
        try:
            answer = frame.select(expression)
        except pl.exceptions.ColumnNotFoundError as wrong:
            column = str(wrong).partition("\n")[0].strip('"')
            return _of_rule(check, name, f"there is no column {column!r}", column, frame.columns)
        except Exception as wrong:
            return _of_rule(check, name, str(wrong))
        if answer.width == 1 and answer.height not in (1, frame.height):
            return _of_length(check, name, answer.height, frame.height)
        if answer.width != 1:
            return _of_rule(check, name, f"it gives {answer.width} columns: pl.all_horizontal(...) makes one of them")
    return _wrong(check, f"the rules cannot be asked: {error}", "correct them")


def _ask_schema(frame: _Frame, check: CheckRules) -> list[RuleResult]:
    """The answers of the rules of a dataframely Schema. A null satisfies the rules of a nullable column; a value that cannot be read as
    the column's type breaks the rule `column|dtype`, and no other column's.

    The rules come from `_validation_rules`: dataframely 3.1 publishes those of a column (`Column.validation_rules`), but of a Schema
    only their verdicts (`Schema.filter`), in which null counts as true.
    """
    schema = check.schema
    columns = schema.columns()
    for name in columns:
        if name not in frame.columns:
            raise _of_rule(check, name, f"there is no column {name!r}", name, frame.columns)
    came = frame.polars(list(columns))
    read = {name: kind for name, kind in columns.items() if not kind.validate_dtype(came.schema[name])}
    cast = came.with_columns(pl.col(name).cast(kind.dtype, strict=False) for name, kind in read.items())
    rules = {f"{name}|dtype": pl.lit(came[name].is_null() | cast[name].is_not_null()) for name in read}
    for name, rule in schema._validation_rules(with_cast=False).items():
        is_of_column = "|" in name and name.partition("|")[0] in columns
        rules[name] = rule.expr.fill_null(True) if is_of_column else rule.expr
    return _ask(cast, rules, check)


# -- errors --------------------------------------------------------------------------------------------------------------


def _of_rule(
    check: CheckRules, name: str, why: str, column: str | None = None, columns: Sequence[str] = ()
) -> FlowValidationError:
    offer = "" if column is None else near_offer(column, columns)
    fix = f"{offer}name one of its columns: {first_few(list(columns), 20)}"
    if column is None:
        fix = "correct the rule, or cast what it reads: a column of a CSV is text where one of its values is no number"
    return _wrong(check, f"rule {_rule_text(check, name)} cannot be asked: {why}", fix)


def _of_length(check: CheckRules, name: str, length: int, height: int) -> FlowValidationError:
    return _of_shape(check, name, f"it gives {plural(length, 'value')} for {plural(height, 'row')}")


def _of_shape(check: CheckRules, name: str, what: str) -> FlowValidationError:
    return _wrong(
        check,
        f"rule {_rule_text(check, name)} cannot be asked: {what}",
        "let it give one value for each row, or one for the frame: a rule leaves out no rows",
    )


def _no_booleans(check: CheckRules, name: str, kind: str) -> FlowValidationError:
    return _wrong(check, f"rule {_rule_text(check, name)} gives {kind} and no booleans", 'compare: "amount > 0"')


def _rule_text(check: CheckRules, name: str) -> str:
    text = next((str(rule.says) for rule in check.each if rule.name == name), None)
    return repr(name) if text is None else f"{name!r} ({text})"


def _wrong(check: CheckRules, what: str, fix: str) -> FlowValidationError:
    return FlowValidationError(
        f"check {check.label!r}: {what}", where=f"Flow.check(..., label={check.label!r})", fix=fix
    )
