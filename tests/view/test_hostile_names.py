"""Names of flows, groups, folders, files, tables and columns are text wherever they are drawn: none becomes markup, and none is changed."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from data_engine import Flow
from data_engine.compare.comparing import compare
from data_engine.compare.profile import profile_of
from data_engine.errors import FlowValidationError
from data_engine.flow.batch import Batch
from data_engine.flow.report_page import framed
from data_engine.message import Notice, message
from data_engine.model import Run, RunTrigger
from data_engine.status.lineage import Lineage, LineageEdge, LineageNode
from data_engine.status.record import FlowStatus, WorkspaceStatus
from data_engine.view.differences import difference_card
from data_engine.view.errors import error_card
from data_engine.view.flow_picture import flow_card
from data_engine.view.lineage import lineage_card, lineage_svg
from data_engine.view.profile import profile_card
from data_engine.view.results import batch_card
from data_engine.view.runs import run_card, runs_card
from data_engine.view.status import status_card
from data_engine.view.timeline import runs_picture
from jupyter_extension.display import bundle
from jupyter_extension.html import html
from jupyter_extension.page import in_panel

HOSTILE = (
    "<img src=x onerror=alert(1)>",
    "R&D",
    'a"b',
    "a'b onmouseover='alert(1)",
    "{{tone:x}}",
    "</title></svg><script>alert(1)</script>",
    "&lt;b&gt;",
    "${x}$&",
)
AT = datetime(2026, 1, 5, tzinfo=UTC)


class Markup(HTMLParser):
    """The names of the elements and of their attributes, and all that is text or the value of an attribute."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.words: set[str] = set()
        self.texts: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.words |= {tag, *(name for name, _ in attrs)}
        self.texts += [value or "" for _, value in attrs]

    def handle_data(self, data: str) -> None:
        self.texts.append(data)

    def handle_comment(self, data: str) -> None:
        self.words.add("comment")


def known(name: str) -> Lineage:
    """The name as a flow, a folder, a file and a table, and as that of the cell's notebook."""
    folder, file, table = f"{name}_in/", f"{name}.csv", f"mart.duckdb:{name}"
    nodes = (
        LineageNode(name, "flow"),
        LineageNode(folder, "folder", f"/ws/{folder}", 2),
        LineageNode(file, "file", f"/ws/{file}"),
        LineageNode(table, "table", f"/ws/{table}"),
    )
    edges = [LineageEdge(place.id, name, name, "0123456789ab", AT.isoformat(), cell=name) for place in nodes[1:3]]
    return Lineage("", nodes, (*edges, LineageEdge(name, table, name)))


def a_run(name: str) -> Run:
    trigger = RunTrigger("hand", name)
    return Run(
        "0123456789ab", name, name, f"{name}.csv", "failed", AT.isoformat(), error=f"{name} is bad", trigger=trigger
    )


def a_page(name: str, folder: Path) -> str:
    flow = Flow(group=name, name="page").mirror(root=folder)
    frame = pl.DataFrame({name: [name]})
    flow = flow.step(lambda context: frame, save_as=name).report(name, title=name, note=name)
    flow.run_once(params={name: name})
    return (folder / "page.html").read_text(encoding="utf-8")


def cell_of(value: Any) -> str:
    shown = bundle(value)
    assert shown is not None
    return str(shown["text/html"])


def mail(name: str) -> str:
    facts = Notice(f"{name} failed.", flow=name, source=f"{name}.csv", step=name, cell=name, error=name, fix=name)
    return message("failed", name, [facts], id="3f", to=["ops"], at=AT, sender=name).html


def a_flow(name: str) -> Flow:
    return Flow(group=name, name=name).step(len, label=name, save_as=name)


SURFACES: dict[str, Callable[[str, Path], str]] = {
    "map of the panel": lambda name, folder: lineage_svg(known(name), leads=True),
    "map of the panel, narrow": lambda name, folder: lineage_svg(known(name), 240, leads=True),
    "lineage of a cell": lambda name, folder: cell_of(known(name)),
    "lineage of a verb": lambda name, folder: html(lineage_card(known(name))),
    "status": lambda name, folder: html(
        status_card(WorkspaceStatus(name, f"/{name}", flows=(FlowStatus(name, name, name),)))
    ),
    "runs": lambda name, folder: html(runs_card([a_run(name)], now_s=0.0)),
    "run": lambda name, folder: html(run_card(a_run(name), (), ())),
    "picture of runs": lambda name, folder: runs_picture([a_run(name)], now_s=0.0),
    "picture of a flow": lambda name, folder: html(flow_card(a_flow(name), now_s=0.0)),
    "error": lambda name, folder: html(error_card(FlowValidationError(name, where=name, fix=name))),
    "profile": lambda name, folder: html(profile_card(profile_of(pl.DataFrame({name: ["a", name, name]})))),
    "batch": lambda name, folder: html(batch_card(Batch((Path(f"/{name}/{name}.csv"), name)))),
    "difference": lambda name, folder: html(
        difference_card(compare(pl.DataFrame({name: [name]}), pl.DataFrame({name: ["b"], "c": [1]})), samples=True)
    ),
    "answer in the panel": lambda name, folder: in_panel(
        html(lineage_card(known(name))), {f"data-engine retry {name}": ("retry", name)}
    )[0],
    "page of a report": a_page,
    "page in a notebook": lambda name, folder: framed("<p></p>", name),
    "mail": lambda name, folder: mail(name),
}


@pytest.mark.parametrize("name", HOSTILE)
@pytest.mark.parametrize("surface", [*SURFACES])
def test_a_name_is_text_wherever_it_is_drawn(surface: str, name: str, tmp_path: Path) -> None:
    """The elements and attributes are those of a harmless name, and the name is read as it is."""
    harmless = Markup(SURFACES[surface](("claims" * 9)[: len(name)], tmp_path / "a"))
    hostile = Markup(SURFACES[surface](name, tmp_path / "b"))

    assert hostile.words <= harmless.words | {"title"}  # of what has no room
    assert any(name in text for text in hostile.texts)
