"""What Polars writes for the names that people know from pandas, from lists and from Python's texts; of pandas, those it had once.

A name of pandas may be like another one of Polars that runs and does something else (`dropna`, `drop_nans`), so these tables come before any
guess. Pure; `{0}` stands for what was asked. What follows a blank and a bracket is for people, what stands before it is code that runs.
"""

from __future__ import annotations

_NO_INDEX = "nothing, as a Polars frame has no index"
_BY_VALUE = "(calls Python for each value; an expression, such as {0} * 2, is faster)"
_FILES = ("csv", "parquet", "json", "excel")

_COLUMN = {
    "apply": f"{{0}}.map_elements(lambda value: value) {_BY_VALUE}",
    "argmax": "{0}.arg_max()",
    "argmin": "{0}.arg_min()",
    "astype": "{0}.cast(pl.Float64)",
    "between": "{0}.is_between(1, 3)",
    "bfill": '{0}.fill_null(strategy="backward")',
    "combine_first": 'pl.coalesce("a", "b")',
    "cummax": "{0}.cum_max()",
    "cummin": "{0}.cum_min()",
    "cumprod": "{0}.cum_prod()",
    "cumsum": "{0}.cum_sum()",
    "div": "{0} / 2",
    "drop_duplicates": "{0}.unique(maintain_order=True)",
    "dropna": "{0}.drop_nulls()",
    "duplicated": "~{0}.is_first_distinct()",
    "ffill": '{0}.fill_null(strategy="forward")',
    "fillna": "{0}.fill_null(0)",
    "idxmax": "{0}.arg_max() (the number of the row)",
    "idxmin": "{0}.arg_min() (the number of the row)",
    "isin": "{0}.is_in([1, 2])",
    "isna": "{0}.is_null()",
    "isnull": "{0}.is_null()",
    "mask": "pl.when(pl.col('a') > 1).then(None).otherwise(pl.col('a'))",
    "nlargest": "{0}.top_k(5)",
    "notna": "{0}.is_not_null()",
    "notnull": "{0}.is_not_null()",
    "nsmallest": "{0}.bottom_k(5)",
    "nunique": "{0}.n_unique()",
    "sort_values": "{0}.sort()",
    "to_datetime": '{0}.cast(pl.String).str.to_datetime("%Y", strict=False)',
    "where": "pl.when(pl.col('a') > 1).then(pl.col('a'))",
}
"""Of a column that is at hand or one of an expression."""

_OF_COLUMNS = {
    "abs": "{0}.abs()",
    "add": "{0} + 1",
    "clip": "{0}.clip(0, 10)",
    "diff": "{0}.diff()",
    "map": f"{{0}}.map_elements(lambda value: value) {_BY_VALUE}",
    "mode": "{0}.mode()",
    "mul": "{0} * 2",
    "pct_change": "{0}.pct_change()",
    "rank": "{0}.rank()",
    "replace": "{0}.replace({{1: 2}})",
    "round": "{0}.round(2)",
    "sub": "{0} - 1",
}
"""Which columns of Polars have, and its frames have not."""

_OF_SERIES = {
    "sub": "{0} - 1",
    "mul": "{0} * 2",
    "add": "{0} + 1",
    "at": "{0}[0]",
    "copy": "{0}.clone()",
    "empty": "{0}.is_empty()",
    "groupby": 'frame.group_by("a")',
    "iat": "{0}[0]",
    "iloc": "{0}[0]",
    "items": "enumerate({0})",
    "loc": "{0}.filter({0} > 1) (values by a condition), {0}[0] (one value)",
    "reset_index": f"{_NO_INDEX} (frame.with_row_index() numbers the rows)",
    "rolling": "{0}.rolling_mean(3)",
    "size": "{0}.len()",
    "to_csv": '{0}.to_frame().write_csv("a.csv")',
    "to_dict": "{0}.to_list()",
    "tolist": "{0}.to_list()",
    "transform": 'frame.select(pl.col("a").sum().over("b"))',
    "values": "{0}.to_numpy()",
}

_OF_EXPR = {
    "groupby": '{0}.sum().over("b")',
    "rename": '{0}.alias("c")',
    "tolist": 'frame["a"].to_list()',
    "transform": '{0}.sum().over("b")',
    "values": 'frame["a"].to_numpy()',
}

_FRAME = {
    "agg": '{0}.select(pl.col("b").sum())',
    "aggregate": '{0}.select(pl.col("b").sum())',
    "append": "pl.concat([{0}, other])",
    "apply": '{0}.with_columns(pl.col("a") * 2) (an expression; .map_elements(function) calls Python for each value)',
    "applymap": "{0}.with_columns(pl.all() * 2) (an expression; .map_elements(function) calls Python for each value)",
    "assign": '{0}.with_columns(c=pl.col("a") * 2)',
    "astype": '{0}.cast({{"a": pl.Float64}})',
    "at": '{0}[0, "a"]',
    "bfill": '{0}.fill_null(strategy="backward")',
    "copy": "{0}.clone()",
    "drop_duplicates": "{0}.unique(maintain_order=True)",
    "dropna": "{0}.drop_nulls()",
    "duplicated": "~{0}.select(first=pl.struct(pl.all()).is_first_distinct())['first']",
    "empty": "{0}.is_empty()",
    "ffill": '{0}.fill_null(strategy="forward")',
    "fillna": "{0}.fill_null(0)",
    "get": '{0}["a"]',
    "groupby": '{0}.group_by("a")',
    "iat": '{0}[0, "a"]',
    "iloc": '{0}[0:5] (rows by their number), {0}[0, "a"] (a cell)',
    "index": f"{_NO_INDEX} ({{0}}.with_row_index() numbers the rows)",
    "info": "{0}.schema",
    "insert": '{0}.with_columns(pl.lit(1).alias("c"))',
    "isna": "{0}.select(pl.all().is_null())",
    "isnull": "{0}.select(pl.all().is_null())",
    "items": "{0}.iter_columns()",
    "iterrows": "{0}.iter_rows(named=True)",
    "itertuples": "{0}.iter_rows()",
    "ix": '{0}[0:5] (rows by their number), {0}[0, "a"] (a cell)',
    "keys": "{0}.columns",
    "len": "{0}.height",
    "loc": '{0}.filter(pl.col("a") > 1) (rows by a condition), {0}["a"] (a column)',
    "map": '{0}.with_columns(pl.col("a") * 2) (an expression; .map_elements(function) calls Python for each value)',
    "melt": '{0}.unpivot(on=["b"], index="a")',
    "merge": '{0}.join(other, on="a")',
    "nlargest": '{0}.top_k(5, by="b")',
    "notna": "{0}.select(pl.all().is_not_null())",
    "notnull": "{0}.select(pl.all().is_not_null())",
    "nsmallest": '{0}.bottom_k(5, by="b")',
    "nunique": "{0}.select(pl.all().n_unique())",
    "pivot_table": '{0}.pivot(on="a", index="b", values="b", aggregate_function="sum")',
    "pop": '{0}.drop("a")',
    "query": '{0}.filter(pl.col("a") > 1)',
    "resample": 'frame.group_by_dynamic("day", every="1mo").agg(pl.col("b").sum())',
    "reset_index": f"{_NO_INDEX} ({{0}}.with_row_index() numbers the rows)",
    "select_dtypes": "{0}.select(pl.selectors.numeric())",
    "set_index": f"{_NO_INDEX} (its columns stay columns)",
    "size": "{0}.height (rows)",
    "sort_index": '{0}.sort("a")',
    "sort_values": '{0}.sort("a")',
    "T": "{0}.transpose()",
    "to_sql": '{0}.write_database("table", connection)',
    "to_string": "str({0})",
    "tolist": "{0}.rows()",
    "value_counts": '{0}["a"].value_counts()',
    "values": "{0}.to_numpy()",
    **{f"to_{kind}": f'{{0}}.write_{kind}("a.{"xlsx" if kind == "excel" else kind}")' for kind in _FILES},
}

_OF_LAZY = {
    **{f"to_{kind}": f'{{0}}.sink_{kind}("a.{kind}")' for kind in _FILES if kind not in ("excel", "json")},
    "to_excel": '{0}.collect().write_excel("a.xlsx")',
    "to_json": '{0}.sink_ndjson("a.json")',
    "to_sql": '{0}.collect().write_database("table", connection)',
    "duplicated": _FRAME["duplicated"].replace("{0}", "{0}.collect()"),
    "keys": "{0}.collect_schema().names()",
    "info": "{0}.collect_schema()",
    "pivot_table": _FRAME["pivot_table"].replace("{0}", "{0}.collect()"),
    "iloc": "{0}.slice(0, 5) (rows by their number)",
    "ix": "{0}.slice(0, 5) (rows by their number)",
    "loc": '{0}.filter(pl.col("a") > 1) (rows by a condition), {0}.select("a") (a column)',
    "T": "{0}.collect().transpose()",
    "value_counts": '{0}.group_by("a").len()',
    **{
        name: f"{{0}}.collect(){_FRAME[name].removeprefix('{0}')}"
        for name in ("at", "empty", "get", "iat", "items", "iterrows", "itertuples", "len", "size", "tolist", "values")
    },
}

_OVER = ("cummax", "cummin", "cumprod", "cumsum", "diff", "pct_change", "rank", "shift", "ffill", "bfill")
_EACH = ("std", "var", "mode", "unique")
_GROUPS = {
    "aggregate": '{0}.agg(pl.col("b").sum())',
    "apply": '{0}.agg(pl.col("b").sum()) (an expression; {0}.map_groups(function) calls Python for each group)',
    "count": "{0}.len()",
    "cumcount": 'frame.with_columns(number=pl.int_range(pl.len()).over("a"))',
    "filter": 'frame.filter(pl.col("b").sum().over("a") > 1)',
    "get_group": 'frame.filter(pl.col("a") == 1)',
    "nunique": '{0}.agg(pl.col("b").n_unique())',
    "pipe": '{0}.agg(pl.col("b").sum())',
    "reset_index": f"{_NO_INDEX} (the keys are columns)",
    "size": "{0}.len()",
    "transform": 'frame.with_columns(pl.col("b").sum().over("a"))',
    "value_counts": 'frame.group_by("a", "b").len()',
    **{
        name: f'frame.with_columns({(_COLUMN | _OF_COLUMNS).get(name, "{0}.shift(1)").format("""pl.col("b")""")}.over("a"))'
        for name in _OVER
    },
    **{name: f'{{0}}.agg(pl.col("b").{name}())' for name in _EACH},
}

_TEXT = {
    "capitalize": "{0}.to_titlecase()",
    "cat": 'pl.concat_str("a", "b")',
    "count": '{0}.count_matches("x")',
    "endswith": '{0}.ends_with("x")',
    "findall": '{0}.extract_all("x")',
    "fullmatch": '{0}.contains("^x$")',
    "get": "{0}.slice(0, 1)",
    "isdigit": r'{0}.contains(r"^\d+$")',
    "isnumeric": r'{0}.contains(r"^\d+$")',
    "len": "{0}.len_chars()",
    "ljust": "{0}.pad_end(10)",
    "lower": "{0}.to_lowercase()",
    "lstrip": "{0}.strip_chars_start()",
    "match": '{0}.contains("^x")',
    "removeprefix": '{0}.strip_prefix("x")',
    "removesuffix": '{0}.strip_suffix("x")',
    "rjust": "{0}.pad_start(10)",
    "rstrip": "{0}.strip_chars_end()",
    "startswith": '{0}.starts_with("x")',
    "strip": "{0}.strip_chars()",
    "title": "{0}.to_titlecase()",
    "upper": "{0}.to_uppercase()",
}

_TIME = {
    "day_name": '{0}.to_string("%A")',
    "dayofweek": "{0}.weekday() (1 is Monday)",
    "dayofyear": "{0}.ordinal_day()",
    "days": "{0}.total_days()",
    "floor": '{0}.truncate("1d")',
    "isocalendar": "{0}.week()",
    "month_name": '{0}.to_string("%B")',
    "normalize": '{0}.truncate("1d")',
    "seconds": "{0}.total_seconds()",
    "to_period": '{0}.truncate("1mo")',
    "tz_convert": '{0}.convert_time_zone("Europe/Berlin")',
    "tz_localize": '{0}.replace_time_zone("Europe/Berlin")',
    "weekofyear": "{0}.week()",
}

_MODULE = {
    "ExcelWriter": 'frame.write_excel("a.xlsx", worksheet="May")',
    "NA": "None",
    "NaN": "None",
    "NaT": "None",
    "Timestamp": "datetime.datetime(2026, 1, 31)",
    "get_dummies": "frame.to_dummies()",
    "isna": 'pl.col("a").is_null()',
    "isnull": 'pl.col("a").is_null()',
    "melt": 'frame.unpivot(on=["b"], index="a")',
    "merge": 'frame.join(other, on="a")',
    "nan": "None",
    "notna": 'pl.col("a").is_not_null()',
    "notnull": 'pl.col("a").is_not_null()',
    "pivot_table": 'frame.pivot(on="a", index="b", values="b", aggregate_function="sum")',
    "read_sql": "pl.read_database(query, connection)",
    "set_option": "pl.Config.set_tbl_rows(20)",
    "to_datetime": 'pl.col("a").str.to_datetime("%d.%m.%Y")',
    "to_numeric": 'pl.col("a").cast(pl.Float64)',
    "unique": 'pl.col("a").unique()',
}

_SHOWN = {
    "DataFrame": "frame",
    "LazyFrame": "frame",
    "Series": "column",
    "Expr": 'pl.col("a")',
    "GroupBy": 'frame.group_by("a")',
    "LazyGroupBy": 'frame.group_by("a")',
    "ExprStringNameSpace": 'pl.col("a").str',
    "StringNameSpace": "column.str",
    "ExprDateTimeNameSpace": 'pl.col("day").dt',
    "DateTimeNameSpace": "column.dt",
    "module": "pl",
}
"""How a fix calls what was asked, by the name of its class."""

_OF_KIND = {
    "DataFrame": _FRAME,
    "LazyFrame": _FRAME | _OF_LAZY,
    "Series": _COLUMN | _OF_SERIES,
    "Expr": _COLUMN | _OF_EXPR,
    "GroupBy": _GROUPS,
    "LazyGroupBy": _GROUPS,
    "ExprStringNameSpace": _TEXT,
    "StringNameSpace": _TEXT,
    "ExprDateTimeNameSpace": _TIME,
    "DateTimeNameSpace": _TIME,
    "module": _MODULE,
}

_PANDAS = {
    "append": "pd.concat([{0}, other])",
    "applymap": "{0}.map(lambda value: value)",
    "as_matrix": "{0}.to_numpy()",
    "iteritems": "{0}.items()",
    "ix": "{0}.loc[0], or {0}.iloc[0] (by number)",
}
"""Of frames and series of pandas, which earlier versions had."""

_OPTIONS = {
    ("concat", "axis"): 'how="horizontal" puts frames side by side; without it they come below one another',
    ("concat", "join"): 'how="diagonal" takes the columns of all, and leaves empty what a frame lacks',
    ("drop", "axis"): 'leave it out: drop("a") takes a column away, filter(pl.col("a") > 1) rows',
    ("drop", "columns"): 'give the columns without a name: drop("a", "b")',
    ("drop", "index"): 'rows are taken away by a condition: filter(pl.col("a") > 1)',
    (
        "drop_nulls",
        "how",
    ): "leave it out; frame.filter(~pl.all_horizontal(pl.all().is_null())) takes away rows without any value",
    ("fill_null", "method"): 'write strategy="forward" or strategy="backward"',
    ("join", "rsuffix"): "did you mean suffix=?",
    ("rename", "columns"): 'give the names without one: rename({"old": "new"})',
    ("rename", "index"): "leave it out: a Polars frame has no index",
    (
        "to_dict",
        "orient",
    ): "frame.to_dicts() gives a dict for each row, frame.to_dict(as_series=False) a list for each column",
}
"""By the name of a method, and an option that pandas has for it."""

_LITERAL = "literal=True takes the text as it is, without it its letters have the meaning of a regular expression"
_HORIZONTAL = 'pl.{0}_horizontal("a", "b") goes over columns'
_IN_PLACE = (
    "nothing of Polars changes a frame in place: leave it out, and give the result a name, frame = frame.{0}(...)"
)


def polars_for(kind: str, name: str) -> str | None:
    """What Polars writes for a name that its class `kind` ("module": Polars itself) does not have; None where that is not known.

    Example:
        >>> polars_for("DataFrame", "dropna"), polars_for("Expr", "isna"), polars_for("DataFrame", "colums")
        ('frame.drop_nulls()', 'pl.col("a").is_null()', None)
    """
    words, shown = _OF_KIND.get(kind, {}), _SHOWN.get(kind, "")
    if name in words:
        return words[name].format(shown)
    of_column = (_COLUMN | _OF_COLUMNS).get(name) if kind in ("DataFrame", "LazyFrame") else None
    if of_column is not None:
        return f'{shown}.with_columns({of_column.partition(" (")[0].format("""pl.col("a")""")})'
    return None


def pandas_for(kind: str, name: str) -> str | None:
    """What pandas of today writes for a name that its frames and series had once; None of other names.

    Example:
        >>> pandas_for("DataFrame", "append"), pandas_for("DataFrame", "merge")
        ('pd.concat([frame, other])', None)
    """
    return _PANDAS[name].format(_SHOWN[kind]) if name in _PANDAS and kind in ("DataFrame", "Series") else None


def option_for(method: str, option: str) -> str | None:
    """What a method of Polars takes for an option that pandas has; None where that is not known.

    Example:
        >>> option_for("rename", "columns"), option_for("sort", "descending")
        ('give the names without one: rename({"old": "new"})', None)
    """
    if option == "inplace":
        return _IN_PLACE.format(method)
    if option == "axis" and method in ("sum", "mean", "min", "max"):
        return _HORIZONTAL.format(method)
    if option == "regex" and method in ("contains", "replace", "replace_all"):
        return _LITERAL
    return _OPTIONS.get((method, option))
