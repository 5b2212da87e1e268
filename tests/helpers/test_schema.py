"""Names made alike, and schemas applied part by part."""

from __future__ import annotations

from typing import Any

import polars as pl
import pytest

from data_engine.errors import FlowValidationError
from data_engine.helpers import TableSchema, normalize_column_name, normalize_column_names, normalized_column_renames


@pytest.mark.parametrize(
    ("name", "normal"),
    [
        ("Claim # Id", "claim#id"),
        ("Workflow\tTo", "workflow_to"),
        ("  A  B ", "a_b"),
        ("a / b - c _ d \\ e", "a/b-c_d\\e"),
        ("Größe É", "größe_é"),
        ("", ""),
        ("already_fine", "already_fine"),
    ],
)
def test_a_name_becomes_normal(name: str, normal: str) -> None:
    """And stays so."""
    assert normalize_column_name(name) == normal
    assert normalize_column_name(normal) == normal


def test_only_changed_names_are_renamed() -> None:
    """In a frame of either kind; unknown names do not matter."""
    frame = pl.DataFrame({"Claim Id": [1], "amount": [2], "Other Name": [3]})

    assert normalized_column_renames(frame.columns) == {"Claim Id": "claim_id", "Other Name": "other_name"}
    assert normalize_column_names(frame).columns == ["claim_id", "amount", "other_name"]
    assert normalize_column_names(frame, ["Claim Id", "no such"]).columns == ["claim_id", "amount", "Other Name"]
    assert isinstance(normalize_column_names(frame.lazy()), pl.LazyFrame)


@pytest.mark.parametrize("columns", [["A b", "a  b"], ["a_b", "A b"]])
def test_names_that_would_collide_are_refused(columns: list[str]) -> None:
    """Both are named."""
    frame = pl.DataFrame({name: [1] for name in columns})

    for call in (lambda: normalize_column_names(frame), lambda: normalized_column_renames(columns)):
        with pytest.raises(FlowValidationError, match=f'"{columns[0]}" and "{columns[1]}" would both be called "a_b"'):
            call()


def test_a_name_collides_with_one_that_is_not_renamed_too() -> None:
    """Where only some are normalized."""
    with pytest.raises(FlowValidationError, match="would both"):
        normalize_column_names(pl.DataFrame({"a_b": [1], "A b": [1]}), ["A b"])


def test_each_part_of_a_schema_is_applied_on_its_own() -> None:
    """To eager and lazy frames."""
    schema = TableSchema(
        columns=("id", "day"), dtypes={"id": pl.Int64, "day": pl.Date}, rename={"Claim": "id"}, drop=("x", "not there")
    )
    frame = pl.DataFrame({"Claim": ["1"], "day": ["2024-05-06"], "x": [1], "n": [2]})

    for given in (frame, frame.lazy()):
        renamed = schema.rename.apply(given)
        typed = schema.dtypes.apply(schema.drop.apply(renamed))
        kept = schema.columns.apply(typed).lazy().collect()
        assert typed.lazy().collect().schema == {"id": pl.Int64, "day": pl.Date, "n": pl.String}
        assert kept.columns == ["id", "day"]


def test_text_in_iso_form_becomes_dates_and_times() -> None:
    """As a schema for CSV files needs it."""
    frame = pl.DataFrame(
        {"d": ["2024-05-06"], "t": ["12:30:00"], "m": ["2024-05-06 12:30:00"], "z": ["2024-05-06T12:30:00"]}
    )
    schema = TableSchema(dtypes={"d": pl.Date, "t": pl.Time, "m": pl.Datetime, "z": pl.Datetime("ms", "UTC")})

    for given in (frame, frame.lazy()):
        typed = schema.dtypes.apply(given).lazy().collect()
        assert typed.schema == {"d": pl.Date, "t": pl.Time, "m": pl.Datetime("us"), "z": pl.Datetime("ms", "UTC")}
        assert typed.null_count().row(0) == (0, 0, 0, 0)


def test_parts_are_plain_containers() -> None:
    """Tuples and dicts, equal to those they were given."""
    schema = TableSchema(columns=["a"], dtypes=[("a", pl.Int64)], rename=(("b", "a"),), drop=["c"])

    assert schema.columns == ("a",)
    assert schema.dtypes == {"a": pl.Int64}
    assert schema.rename == {"b": "a"}
    assert schema.drop == ("c",)
    assert schema == TableSchema(("a",), {"a": pl.Int64}, {"b": "a"}, ("c",))
    assert TableSchema().columns == ()
    with pytest.raises(AttributeError):
        schema.columns = ()  # type: ignore[misc,assignment]


def test_a_schema_normalizes_the_names_it_knows() -> None:
    """Or all, when it names none."""
    frame = pl.DataFrame({"Claim Id": [1], "Other Name": [2]})

    assert TableSchema(columns=["Claim Id"]).normalize_column_names(frame).columns == ["claim_id", "Other Name"]
    assert TableSchema(columns=["Claim Id"]).columns.normalize_column_names(frame).columns == ["claim_id", "Other Name"]
    assert TableSchema().normalize_column_names(df=frame).columns == ["claim_id", "other_name"]
    assert TableSchema(drop=["Claim Id"]).drop.apply(df=frame).columns == ["Other Name"]


@pytest.mark.parametrize(
    ("parts", "error", "message"),
    [
        ({"columns": ["a", "a"]}, ValueError, '"a" twice'),
        ({"columns": [" "]}, ValueError, "blank"),
        ({"columns": "ab"}, TypeError, "columns cannot be"),
        ({"columns": [1]}, TypeError, "name columns by texts"),
        ({"dtypes": {"": pl.Int64}}, ValueError, "blank"),
        ({"dtypes": ["a"]}, TypeError, "must be a dict"),
        ({"dtypes": [("a", pl.Int64), ("a", pl.String)]}, ValueError, '"a" twice'),
        ({"dtypes": {"a": "int"}}, TypeError, "must be one of Polars"),
        ({"dtypes": {"a": None}}, TypeError, "must be one of Polars"),
        ({"rename": {"a": ""}}, ValueError, "blank"),
        ({"rename": {"a": "c", "b": "c"}}, ValueError, '"c" twice'),
        ({"rename": {"a": 1}}, TypeError, "by texts"),
        ({"drop": ["a", "a"]}, ValueError, '"a" twice'),
        ({"drop": 3}, TypeError, "drop cannot be"),
    ],
)
def test_a_wrong_schema_is_refused_when_it_is_made(parts: dict[str, Any], error: type[Exception], message: str) -> None:
    """With the part that is wrong."""
    with pytest.raises(error, match=message):
        TableSchema(**parts)


@pytest.mark.parametrize(
    ("value", "kind"),
    [(1.5, pl.Int64), (1.5, int), (float("nan"), pl.Int8), (float("inf"), pl.Int64), (300.0, pl.Int8), ("01/02/2024", pl.Date), ("1.2.2024", pl.Date), ("01/02/2024 10:00", pl.Datetime), ("2024-13-01", pl.Date)],
)  # fmt: skip
@pytest.mark.parametrize("is_lazy", [False, True])
def test_a_value_that_would_become_another_is_refused(value: Any, kind: Any, is_lazy: bool) -> None:
    """Nothing is cut, and no form of a date is guessed."""
    frame = pl.DataFrame({"a": [None, value]})
    apply = TableSchema(dtypes={"a": kind}).dtypes.apply

    with pytest.raises((FlowValidationError, pl.exceptions.PolarsError), match=r"conversion from|could not|cannot be"):
        apply(frame.lazy()).collect() if is_lazy else apply(frame)


def test_whole_floats_become_whole_numbers() -> None:
    """And nulls stay."""
    schema = TableSchema(dtypes={"a": pl.Int64, "b": int})

    assert schema.dtypes.apply(pl.DataFrame({"a": [1.0, None], "b": [-2.0, 0.0]})).rows() == [(1, -2), (None, 0)]


def test_a_lazy_query_that_fails_is_a_value_error() -> None:
    """When its columns are asked for."""
    broken = pl.LazyFrame({"a": [1]}).select("b")

    for call in (normalize_column_names, TableSchema(columns=["a"]).columns.apply, TableSchema(drop=["a"]).drop.apply):
        with pytest.raises(FlowValidationError, match="query of the LazyFrame fails"):
            call(broken)


@pytest.mark.parametrize(
    ("apply", "message"),
    [
        (lambda frame: TableSchema(columns=["a", "z"]).columns.apply(frame), r'no column "z"(.|\n)*it has "a", "b"'),
        (lambda frame: TableSchema(dtypes={"z": pl.Int64}).dtypes.apply(frame), 'no column "z"'),
        (lambda frame: TableSchema(rename={"z": "y"}).rename.apply(frame), 'no column "z"'),
        (lambda frame: TableSchema(rename={"a": "b"}).rename.apply(frame), 'more than one column "b"'),
        (lambda frame: TableSchema(dtypes={"a": pl.Int64}).dtypes.apply(frame), "cannot be of its type"),
    ],
)
def test_a_frame_that_does_not_fit_is_refused(apply: Any, message: str) -> None:
    """With the columns it has."""
    with pytest.raises(FlowValidationError, match=message):
        apply(pl.DataFrame({"a": ["x"], "b": [1]}))
    with pytest.raises(TypeError, match="frame must be"):
        apply({"a": 1})


@pytest.mark.parametrize("name", ["*", "^a.*$"])
def test_a_column_called_as_a_pattern_is_only_itself(name: str) -> None:
    """Polars would take the name for all columns like it."""
    frame = pl.DataFrame({"abc": ["x"], name: [1.0]})

    for given in (frame, frame.lazy()):
        assert TableSchema(columns=[name]).columns.apply(given).lazy().collect().rows() == [(1.0,)]
        assert TableSchema(drop=[name]).drop.apply(given).lazy().collect().rows() == [("x",)]
        assert TableSchema(dtypes={name: pl.Int64}).dtypes.apply(given).lazy().collect().rows() == [("x", 1)]
