"""`Flow.report`: what a page shows of each kind of object, what it never does, and which mistakes are told when the flow is built."""

from __future__ import annotations

import base64
import re
import sys
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, datetime
from html.parser import HTMLParser
from pathlib import Path
from types import ModuleType
from typing import Any

import duckdb
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data_engine import Flow, FlowValidationError, Secret
from data_engine.docs.site import HERE
from data_engine.flow.report_page import MOST_BYTES, is_page
from data_engine.flow.shown_objects import safe_html, shown
from tests.support import examples

FRAME = pl.DataFrame({"city": ["Oslo", "Bergen", None], "amount": [3.0, 12.25, None], "day": [date(2026, 1, 5)] * 3})
PIXEL = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)


def page_of(*objects: Any, root: Path, params: Any = None, **options: Any) -> str:
    """The page of a flow that saves these objects, as `a`, `b` ..."""
    flow = Flow(group="Tests", name="delays").mirror(root=root)
    names = [chr(ord("a") + at) for at in range(len(objects))]
    for name, value in zip(names, objects, strict=True):
        flow = flow.step(lambda context, value=value: value, save_as=name)
    flow.report(*names, **options).run_once(params=params)
    return (root / "delays.html").read_text(encoding="utf-8")


def rows_in(html: str) -> list[list[str]]:
    """The cells of a page's tables, row by row."""
    return [re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row) for row in re.findall(r"<tr>(.*?)</tr>", html)]


# -- what is shown -----------------------------------------------------------------------------------------------------


class Rich:
    """An object with one display."""

    def __init__(self, **displays: Any) -> None:
        for name, data in displays.items():
            setattr(self, f"_repr_{name}_", lambda data=data: data)


def drawn_by(library: str, module: str, name: str, **methods: Any) -> Any:
    """A stand-in for a figure of a library that may not be installed."""
    return type(name, (), {"__module__": f"{library}.{module}", **methods})()


def relation() -> Any:
    claims = FRAME.to_arrow()  # noqa: F841  (DuckDB finds it by its name)
    return duckdb.connect().sql("SELECT * FROM claims")


def no_engine(*_: object, **__: object) -> bytes:
    raise ValueError("Image export requires the kaleido package")


PICTURE = '<img alt="it" src="data:image/png;base64,iVBORw0KGgo'
FRAMES: dict[str, Callable[[], Any]] = {
    "polars": lambda: FRAME,
    "lazy": FRAME.lazy,
    "pandas": FRAME.to_pandas,
    "arrow": FRAME.to_arrow,
    "relation": relation,
}
DISPLAYS: dict[str, tuple[Callable[[], Any], str]] = {
    "altair": (
        lambda: drawn_by("altair", "v6.api", "Chart", to_dict=dict, save=lambda _, file, format: file.write(PIXEL)),
        PICTURE,
    ),
    "plotly": (lambda: drawn_by("plotly", "graph_objs", "Figure", to_image=lambda _, format: PIXEL), PICTURE),
    "plotly without kaleido": (
        lambda: drawn_by(
            "plotly", "graph_objs", "Figure", to_image=no_engine, _repr_html_=lambda _: "<script>draw()</script>"
        ),
        '<p class="none">Plotly draws a picture of it with kaleido: pip install kaleido</p>',
    ),
    "png": (lambda: Rich(png=PIXEL), PICTURE),
    "jpeg": (lambda: Rich(jpeg=b"\xff\xd8x"), '<img alt="it" src="data:image/jpeg;base64,/9h4">'),
    "svg": (lambda: Rich(svg="<svg/>"), '<img alt="it" src="data:image/svg+xml;base64,PHN2Zy8+">'),
    "markdown": (lambda: Rich(markdown="*late*", html="<p>other</p>"), "<p><em>late</em></p>"),
    "html": (lambda: Rich(html="<p>late <b>today</b></p>"), "<p>late <b>today</b></p>"),
    "text": (lambda: "late <b>", '<p class="text">late &lt;b&gt;</p>'),
    "anything": (lambda: {"late": 3}, "<pre>{&#x27;late&#x27;: 3}</pre>"),
    "an address": (object, "<pre>&lt;object&gt;</pre>"),
}


@pytest.mark.parametrize("make", FRAMES.values(), ids=FRAMES)
def test_every_kind_of_frame_is_the_same_table(make: Callable[[], Any]) -> None:
    """The first rows, how many there are, numbers with the same decimals, dates short, and a mark for what is missing."""
    entry = shown(make(), name="it", rows=2)

    assert rows_in(entry.html) == [
        ["city", "amount", "day"],
        ["Oslo", "3.00", "2026-01-05"],
        ["Bergen", "12.25", "2026-01-05"],
    ]
    assert entry.about == "2 of 3 rows"
    assert entry.html.count('class="number"') == 3
    assert rows_in(shown(make(), name="it", rows=9).html)[3] == ["<i>–</i>", "<i>–</i>", "2026-01-05"]


@pytest.mark.parametrize(("make", "html"), DISPLAYS.values(), ids=DISPLAYS)
def test_each_kind_of_object_is_shown_as_the_page_says(make: Callable[[], Any], html: str) -> None:
    """As the table in "A report of each run"."""
    assert shown(make(), name="it", rows=50).html.strip().startswith(html)


def test_a_matplotlib_figure_is_a_picture_also_without_pyplot(monkeypatch: pytest.MonkeyPatch) -> None:
    """The library itself where it is installed, else a figure like its own."""
    matplotlib = pytest.importorskip("matplotlib.figure") if "matplotlib" in sys.modules else None
    if matplotlib is None:
        module = ModuleType("matplotlib.figure")
        canvas = type("Canvas", (), {"print_figure": lambda self, file, **options: file.write(PIXEL)})()
        figure_class = type(
            "Figure", (), {"__module__": "matplotlib.figure", "axes": [1], "lines": [], "dpi": 100, "canvas": canvas}
        )
        for name in ("get_facecolor", "get_edgecolor"):
            setattr(figure_class, name, lambda self: "white")
        monkeypatch.setitem(sys.modules, "matplotlib.figure", module)
        figure = figure_class()
    else:
        figure = matplotlib.Figure()
        figure.subplots().bar(["EWR"], [3])

    assert shown(figure, name="it", rows=50).html.startswith(PICTURE)


def test_the_page_of_the_documentation_names_every_kind() -> None:
    """Each kind of the table there is one of those that are tested here."""
    text = (HERE / "pages" / "howto" / "run-report.md").read_text(encoding="utf-8")
    (table,) = re.findall(r"\| object \| shown as \|\n\|---\|---\|\n((?:\|.*\n)+)", text)

    kinds = [row.split("|")[1].strip() for row in table.splitlines()]
    assert [re.sub(r"[^a-z_ ]", "", kind.lower()).split()[:4] for kind in kinds] == [
        "a frame of polars".split(),
        "a matplotlib figure or".split(),
        "an altair chart".split(),
        "a plotly figure".split(),
        "what has _repr_png_ _repr_jpeg_".split(),
        "what has _repr_markdown_".split(),
        "what has _repr_html_".split(),
        "a text".split(),
        "anything else".split(),
    ]


@pytest.mark.parametrize(
    ("values", "cells"),
    [
        ([1, 20, None], ["1", "20", "<i>–</i>"]),
        ([0.5, 1234567.123], ["0.50", "1234567.12"]),
        ([0.5, 0.12345], ["0.5000", "0.1235"]),
        ([1e-9, 2.0], ["1e-09", "2"]),
        ([datetime(2026, 1, 5), datetime(2026, 1, 6)], ["2026-01-05", "2026-01-06"]),
        ([datetime(2026, 1, 5, 6, 30)], ["2026-01-05 06:30"]),
        ([datetime(2026, 1, 5, 6, 30, 1)], ["2026-01-05 06:30:01"]),
        ([True, False], ["true", "false"]),
        ([[1, 2]], ["[1, 2]"]),
    ],
)
def test_values_are_short(values: list[Any], cells: list[str]) -> None:
    """Numbers with the decimals they need, at most four; times without what all of them lack."""
    assert [row[0] for row in rows_in(shown(pl.DataFrame({"x": values}), name="x", rows=50).html)[1:]] == cells


@pytest.mark.parametrize(
    "frame",
    [
        pd.DataFrame({"a": [1, "x"]}),
        pd.DataFrame({"a": [1.0]}, index=pd.Index(["k"], name="key")),
        pd.DataFrame({"a": [1, 1], "b": [1, 2]}).groupby("a").agg({"b": ["min", "max"]}),
        pd.Series([1, 2], name="a"),
        pl.Series("a", [1, 2]),
        pl.DataFrame({"a": [b"x"], "o": [{"x": 1}]}),
        pl.DataFrame({f"c{at}": [1] for at in range(50)}),
        pl.DataFrame(),
        pa.table({"a": pa.array([(1, 2, 3)], pa.month_day_nano_interval())}),
        duckdb.sql("SELECT INTERVAL 1 DAY AS i"),
    ],
    ids=lambda frame: type(frame).__name__,
)
def test_odd_frames_are_tables_too(frame: Any) -> None:
    """An index, columns of several levels or types, types that Polars lacks, many columns, none at all."""
    entry = shown(frame, name="it", rows=50)

    assert entry.html.startswith('<div class="wide')
    assert len(rows_in(entry.html)[0]) <= 40


# -- the page ----------------------------------------------------------------------------------------------------------


@dataclass
class Settings:
    token: Secret
    month: str = "2026-01"


def test_a_page_has_title_note_source_parameters_objects_and_checks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A secret is in no page, neither as a parameter nor in an object."""
    monkeypatch.setenv("DATA_ENGINE_SECRET_TOKEN", "correct-horse-9")
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "may.csv").write_text("amount\n3\n-1\n")
    flow = (
        Flow(group="Tests", name="delays")
        .watch(mode="manual", source=tmp_path / "in")
        .mirror(root=tmp_path / "out")
        .params(Settings)
        .step(lambda context: pl.read_csv(context.source.path), save_as="df")
        .check({"positive": "amount > 0"}, on_fail="warn")
        .step(lambda context: f"asked with {context.params.token.reveal()}", save_as="text")
        .report("df", "text", title="Delays", note="By hand.")
    )

    flow.run_once()

    page = (tmp_path / "out" / "may.html").read_text()
    for part in (
        "<h1>Delays</h1>",
        "By hand.",
        "<dd>may.csv</dd>",
        "<dd>2026-01</dd>",
        "<dd>***</dd>",
        "asked with ***",
        "broken (positive 1)",
    ):
        assert part in page, part
    assert "correct-horse" not in page


def test_the_same_objects_give_the_same_bytes(tmp_path: Path) -> None:
    """In another run, at another time."""
    objects = [FRAME, {"b", "a", "c"}, object(), Rich(svg="<svg/>")]

    pages = {page_of(*objects, root=tmp_path / name) for name in ("one", "two")}

    assert len(pages) == 1


def test_a_page_needs_no_network_and_allows_no_script(tmp_path: Path) -> None:
    """By its policy, which stands before anything else that it holds."""
    page = page_of(FRAME, root=tmp_path)

    assert is_page(page)
    assert "default-src 'none'" in page[:250]
    assert "script" not in page
    assert "http" not in page.replace("http-equiv", "")


def test_a_page_is_at_most_2_mb(tmp_path: Path) -> None:
    """What does not fit is left out, page and log say so, and what follows is there."""
    large = Rich(png=PIXEL + bytes(3_000_000))

    page = page_of(large, FRAME, root=tmp_path)

    assert len(page.encode()) < MOST_BYTES
    assert "a is left out" in page
    assert "Oslo" in page


def test_a_frame_names_how_many_rows_there_are(tmp_path: Path) -> None:
    """50 of 12,206 rows, unless rows= says otherwise."""
    frame = pl.DataFrame({"n": range(12_206)})

    assert "50 of 12,206 rows" in page_of(frame, root=tmp_path)
    assert "3 of 12,206 rows" in page_of(frame, root=tmp_path, rows=3)


def test_a_report_passes_on_what_is_current(tmp_path: Path) -> None:
    """And is an output of its step."""
    flow = Flow(group="Tests", name="delays").mirror(root=tmp_path).step(lambda context: 3, save_as="n")

    (context,) = flow.report("n").step(lambda context: context.current + 1).run_once()

    assert context.current == 4
    assert context.metadata["step_outputs"] == {"Report": tmp_path / "delays.html"}


# -- hostile objects ---------------------------------------------------------------------------------------------------


class Acting(HTMLParser):
    """Collects what could act in a page: elements and attributes."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in (
            "script",
            "iframe",
            "object",
            "embed",
            "svg",
            "form",
            "input",
            "link",
            "style",
            "base",
            "meta",
            "math",
            "template",
        ):
            self.found.append(tag)
        for name, value in attrs:
            if name.startswith("on") or (
                name in ("href", "src", "action", "srcdoc", "xlink:href") and not _is_harmless(tag, value or "")
            ):
                self.found.append(f"{tag} {name}={value}")


def _is_harmless(tag: str, value: str) -> bool:
    return value.startswith("data:image/" if tag == "img" else ("https://", "http://", "mailto:"))


def acting(html: str) -> list[str]:
    parser = Acting()
    parser.feed(html)
    parser.close()
    return parser.found


HOSTILE = [
    "<script>x()</script>",
    "<SCRIPT SRC=//x.example></SCRIPT>",
    '<img src=x onerror="x()">',
    '<a href="javascript:x()">a</a>',
    '<a href=" java\tscript:x()">a</a>',
    '<a href="data:text/html,<script>x()</script>">a</a>',
    '<svg onload="x()"><script>x()</script></svg>',
    "<math><mtext><table><mglyph><style><img src=x onerror=x()>",
    '<iframe srcdoc="<script>x()</script>"></iframe>',
    "<style>@import url(//x.example)</style>",
    '<p style="background:url(https://x.example/seen)">a</p>',
    '<form action="https://x.example"><input name=a></form>',
    '<meta http-equiv="refresh" content="0;url=https://x.example">',
    "<!--<img src=x onerror=x()>-->",
    "</section></body><script>x()</script>",
]


@pytest.mark.parametrize("text", HOSTILE)
@pytest.mark.parametrize("kind", ["html", "markdown", "svg", "text", "column", "value", "name of a source"])
def test_nothing_of_an_object_acts_in_a_page(tmp_path: Path, kind: str, text: str) -> None:
    """Whichever way it comes; and its text stays to be read where it is text."""
    if kind == "name of a source":
        page = page_of("a", root=tmp_path, title=text, note=text, params={text: text})
    else:
        makes: dict[str, Callable[[], Any]] = {
            "html": lambda: Rich(html=text),
            "markdown": lambda: Rich(markdown=text),
            "svg": lambda: Rich(svg=text),
            "text": lambda: text,
            "column": lambda: pl.DataFrame({text: [1]}),
            "value": lambda: pl.DataFrame({"a": [text]}),
        }
        page = page_of(makes[kind](), root=tmp_path)

    body = page.partition("<body>")[2]
    assert acting(body) == []
    assert "url(" not in re.sub(r"<pre>.*?</pre>|<td>.*?</td>|<t[hd].*?</t[hd]>|<p.*?</p>", "", body) or kind != "html"


@given(
    st.text(alphabet=st.sampled_from(list("<>/\"'= \t\n!-&;:abcdefgijlmnoprstuvx()")), max_size=80)
    | st.lists(st.sampled_from(HOSTILE)).map("".join)
)
@settings(max_examples=examples(150), deadline=None)
def test_no_html_acts_when_it_is_made_safe(text: str) -> None:
    """Broken pieces of it neither."""
    assert acting(safe_html(text)) == []


# -- mistakes ----------------------------------------------------------------------------------------------------------

SAVED = Flow(group="Tests").mirror(root="/out").step(len, save_as="late_df")
MISTAKES: dict[str, tuple[Callable[[], Flow], str]] = {
    "no mirror": (lambda: Flow(group="T").step(len, save_as="df").report("df"), "a report needs a mirror"),
    "no object": (lambda: SAVED.report(), "it names no object"),
    "an object that no step saves": (lambda: SAVED.report("late"), "no step before it saves 'late'"),
    "the object itself": (lambda: SAVED.report(FRAME), "not given as a DataFrame"),  # type: ignore[arg-type]
    "two of the default name": (lambda: SAVED.report("late_df").report("late_df"), "two reports have the default name"),
    "two of one name": (
        lambda: SAVED.report("late_df", to="a.html").report("late_df", to="a.html"),
        "two reports have to='a.html'",
    ),
    "another kind of file": (lambda: SAVED.report("late_df", to="a.pdf"), "is no name of a page"),
    "a place elsewhere": (lambda: SAVED.report("late_df", to="../a.html"), "is no name of a page"),
    "no rows": (lambda: SAVED.report("late_df", rows=0), "rows=0"),
    "all rows": (lambda: SAVED.report("late_df", rows=10**6), "rows=1000000 is more than 10,000"),
    "an empty title": (lambda: SAVED.report("late_df", title=" "), "title=' ' is no text"),
    "a note of another type": (lambda: SAVED.report("late_df", note=3), "note=3"),  # type: ignore[arg-type]
}


@pytest.mark.parametrize(("build", "words"), MISTAKES.values(), ids=MISTAKES)
def test_a_mistake_is_told_when_the_flow_is_built(build: Callable[[], Flow], words: str) -> None:
    """With the fix."""
    with pytest.raises(FlowValidationError) as error:
        build()

    assert words in error.value.what
    assert error.value.fix


def test_a_mistyped_name_is_told_with_the_right_one() -> None:
    """And what is saved."""
    with pytest.raises(FlowValidationError) as error:
        SAVED.report("late_fd")

    assert "late_df" in str(error.value.fix)


def test_two_reports_of_a_run_that_meet_at_one_place_are_an_error(tmp_path: Path) -> None:
    """The default name is known only in a run."""
    flow = Flow(group="Tests", name="delays").mirror(root=tmp_path).step(lambda context: 3, save_as="n")

    with pytest.raises(FlowValidationError, match=r"would both be delays\.html"):
        flow.report("n").report("n", to="delays.html").run_once()
