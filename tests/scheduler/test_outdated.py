"""Which outputs are outdated, against one who knows every content; and what it costs to know it."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis import example, given, settings

from data_engine import Flow
from data_engine.engine.references import References
from data_engine.ledger.ledger import Ledger
from data_engine.ledger.references import GoodRun, Sighting, put_sightings
from data_engine.model import Reference, RunFinished, RunSpent, RunStarted, SourceKey, utc_text
from data_engine.notebook.mirror_warnings import Folders
from data_engine.planning.outdated import current, looked, not_references, outdated
from data_engine.workspace.layout import WorkspaceLayout
from tests.support import examples

UNITS = ("a.csv", "b.csv", "c.csv")
DEEDS = st.one_of(
    st.tuples(st.just("write"), st.integers(0, 2)),
    st.tuples(st.sampled_from(["touch", "remove", "look"]), st.none()),
    st.tuples(st.sampled_from(["begin", "end", "run"]), st.sampled_from(UNITS)),
)


class World:
    """One reference, and runs that read it; `content` is what it holds, None where it is gone."""

    def __init__(self) -> None:
        self.now_s = 0
        self.content: int | None = 0
        self.time_ns = 0
        self.begun: dict[str, tuple[int | None, GoodRun]] = {}
        self.done: dict[str, tuple[int | None, GoodRun]] = {}
        self.seen: dict[str, Sighting] = {}

    def version(self) -> Reference:
        return Reference("ref.csv", 10, self.time_ns, str(self.content))

    def do(self, deed: str, what: Any) -> None:
        self.now_s += 1
        match deed:
            case "write":
                self.content, self.time_ns = what, self.now_s
            case "touch":
                self.time_ns = self.now_s
            case "remove":
                self.content = None
            case "begin":
                read = () if self.content is None else (self.version(),)
                run = GoodRun("sales", f"r{self.now_s}", utc_text(self.now_s), "", what, None, read)
                self.begun[what] = self.content, run
            case "end" if what in self.begun:
                self.done[what] = self.begun.pop(what)
            case "run":
                self.do("begin", what)
                self.do("end", what)
            case "look":
                self.look()

    def look(self) -> None:
        runs = [run for _, run in self.done.values()]
        for before in current(runs, self.seen).values():
            facts = None if self.content is None else (10, self.time_ns)

            def hashed(size: int, time_ns: int, before: Reference = before) -> Reference:
                assert (size, time_ns) != before[1:3], "its content is read only where size or time moved"
                return self.version()

            new = looked(before, facts, hashed)
            if new is not None:
                self.seen["ref.csv"] = Sighting(new, utc_text(self.now_s))

    def outdated(self) -> set[str | None]:
        runs = [run for _, run in self.done.values()]
        return {row.run.source for row in outdated(runs, current(runs, self.seen), {}, lambda ids: {})}


@given(st.lists(DEEDS, max_size=30))
@settings(max_examples=examples(200))
def test_after_a_look_those_are_outdated_whose_run_has_read_another_content(deeds: list[tuple[str, Any]]) -> None:
    """Whatever was written, touched, reverted, removed and run meanwhile."""
    world = World()
    for deed in deeds:
        world.do(*deed)

    world.do("look", None)

    read = {unit: content for unit, (content, run) in world.done.items() if run.references}
    assert world.outdated() == {unit for unit, content in read.items() if content != world.content}


@given(st.lists(DEEDS, max_size=30), st.sampled_from(UNITS))
@example([("run", "a.csv"), ("write", 1), ("look", None), ("write", 2)], "a.csv")
@settings(max_examples=examples(200))
def test_what_was_run_a_moment_ago_is_never_outdated(deeds: list[tuple[str, Any]], unit: str) -> None:
    """Also before somebody has looked, as where no engine is on."""
    world = World()
    for deed in deeds:
        world.do(*deed)

    world.do("run", unit)

    assert unit not in world.outdated()


@pytest.mark.parametrize(
    ("what", "places", "writers", "expected"),
    [
        ("a file that nobody writes", {}, {}, set()),
        ("what another flow writes", {"other": Folders(Path("/out"))}, {"/out/x.csv": {"other"}}, set()),
        ("what it writes itself", {}, {"/out/x.csv": {"sales"}}, {"/out/x.csv"}),
        (
            "what a flow writes that it feeds",
            {"sales": Folders(Path("/sales")), "next": Folders(Path("/out"), (Path("/sales"),))},
            {"/out/x.csv": {"next"}},
            {"/out/x.csv"},
        ),
        (
            "what is written after two others",
            {
                "sales": Folders(Path("/sales")),
                "next": Folders(Path("/next"), (Path("/sales"),)),
                "last": Folders(Path("/out"), (Path("/next"),)),
            },
            {"/out/x.csv": {"last"}},
            {"/out/x.csv"},
        ),
    ],
)
def test_what_comes_from_the_flow_itself_is_no_reference(
    what: str, places: Mapping[str, Folders], writers: Mapping[str, set[str]], expected: set[str]
) -> None:
    """Else it would be outdated for ever: each run writes it anew."""
    run = GoodRun("sales", "r1", "", "", "a.csv", None, (Reference("/out/x.csv", 1, 1),))

    assert not_references([run], {"sales": Folders()} | dict(places), writers).get("sales", set()) == expected


def test_an_output_belongs_to_the_newest_run_that_wrote_it() -> None:
    """A nightly report that each run overwrites is one output, whatever its slots before were made with."""
    old, new = Reference("ref.csv", 1, 1, "a"), Reference("ref.csv", 1, 2, "b")
    runs = [
        GoodRun("report", "r1", "1", "1", None, "monday", (old,)),
        GoodRun("report", "r2", "2", "2", None, "tuesday", (old,)),
        GoodRun("report", "r3", "3", "3", None, "wednesday", (new,)),
    ]
    outputs = {"r1": ("report.xlsx", "monday.csv"), "r2": ("report.xlsx",), "r3": ("report.xlsx",)}

    rows = outdated(runs, {"ref.csv": new}, {}, lambda ids: {run_id: outputs[run_id] for run_id in ids})

    assert [(row.run.run_id, row.outputs) for row in rows] == [("r1", ("monday.csv",))]


OUTPUTS, REFERENCES = 20_000, 10


def test_twenty_thousand_outputs_with_ten_references_cost_ten_looks(tmp_path: Path) -> None:
    """And nothing that only asks looks at a file."""
    flow = Flow("Sales", "sales").watch(mode="poll", source=tmp_path / "in", interval="1s")
    files = [tmp_path / f"ref{number}.csv" for number in range(REFERENCES)]
    for file in files:
        file.write_text("1")
    read = tuple(Reference(str(file), 1, file.stat().st_mtime_ns, "ab" * 32) for file in files)
    looks = Counter[str]()

    def facts(path: str) -> os.stat_result:
        looks[path] += 1
        return os.stat(path)

    with Ledger.open(tmp_path / "state" / "ledger.sqlite") as ledger:
        references = References(ledger, WorkspaceLayout(tmp_path), facts)
        events: list[RunStarted | RunFinished] = []
        for number in range(OUTPUTS):
            source, spent = f"{number}.csv", RunSpent(references=read)
            events.append(RunStarted(f"r{number}", "sales", "Sales", f"/in/{source}", 1.0, SourceKey("in", source)))
            events.append(RunFinished(f"r{number}", "success", 2.0, 1.0, spent=spent))
        ledger.record(*events)
        assert references.outdated([flow]) == []
        references.look([flow])

        assert len(looks) == looks.total() == REFERENCES

        put_sightings(ledger, [Reference(str(files[0]))], utc_text(9.0))
        assert len(references.outdated([flow])) == OUTPUTS
        assert looks.total() == REFERENCES
