"""Flight times as the airlines write them: 517 is 05:17 and 2400 is midnight at the end of the day."""

from __future__ import annotations

import polars as pl


def minutes_of_day(hhmm: str) -> pl.Expr:
    """Minutes after midnight for an hhmm column; null stays null.

    Example:
        >>> pl.DataFrame({"dep_time": [517, 2400, None]}).select(minutes_of_day("dep_time"))["dep_time"].to_list()
        [317, 1440, None]
    """
    clock = pl.col(hhmm)
    return clock // 100 * 60 + clock % 100


def at_clock(day: pl.Expr, hhmm: str) -> pl.Expr:
    """The moment of `day` at an hhmm column's time, in local time.

    Example:
        >>> from datetime import date
        >>> frame = pl.DataFrame({"day": [date(2013, 1, 1)], "dep_time": [2400]})
        >>> frame.select(at_clock(pl.col("day"), "dep_time")).item()
        datetime.datetime(2013, 1, 2, 0, 0)
    """
    return day.cast(pl.Datetime("us")) + pl.duration(minutes=minutes_of_day(hhmm))
