"""What a run is warned of that loses data without failing: files that nobody collects, outputs that replace one another, and objects
that a step changes under a later one."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from data_engine import Workspace
from data_engine.ledger.run_warnings import warnings_of
from tests.support import ON_WINE, WorkspaceFiles

BATCH = """
    from pathlib import Path
    from data_engine import Flow
    def all_of_them(context):
        return [Path(one).read_text() for one in context.current]
    def build():
        return (Flow(group="G").watch(mode="poll", source="../inbox", interval="1s", settle=0, run_as="batch")
                .collect(".csv").step(all_of_them))
"""
ONE = """
    from data_engine import Flow
    def write(context):
        target = context.mirror.file("all.txt")
        target.write_text(context.source.path.read_text())
        return target
    def build():
        return (Flow(group="G").watch(mode="poll", source="../inbox", interval="1s", settle=0)
                .mirror(root="../out", staged=True).step(write))
"""


def warnings(ws: Workspace, flow: str) -> list[list[str]]:
    """What each run of the flow has warned of, the oldest first."""
    runs = list(reversed(ws.runs(flow)))
    said = [[line.message for line in ws.log(run.run_id) if line.level == "WARNING"] for run in runs]
    counted = warnings_of(ws.home.ledger(), [run.run_id for run in runs])
    assert [counted.get(run.run_id, 0) for run in runs] == [len(each) for each in said]
    return said


def test_a_batch_tells_what_it_does_not_collect_and_did_not_read_it(ws: WorkspaceFiles) -> None:
    ws.notebook("all", BATCH)
    ws.source("inbox/x.csv", "1")
    ws.source("inbox/sub/y.csv", "2")
    workspace = Workspace(ws.root)
    workspace.load_flow("all").run_once()

    (run,) = workspace.runs("all")
    assert [Path(one.path).name for one in run.inputs] == ["x.csv"]
    assert warnings(workspace, "all") == [
        [
            "1 of 2 watched files was not collected, and counts as done all the same: sub/y.csv; "
            "collect(..., recursive=True) takes subfolders"
        ]
    ]


@pytest.mark.parametrize(
    ("written", "by"),
    [
        ('.collect(".csv")', '.collect(".csv", recursive=True)'),
        ('.collect(".csv").step(all_of_them)', ".step(print)"),
        (
            "Path(one).read_text() for one in context.current",
            'one.read_text() for one in context.source.root.rglob("*.csv")',
        ),
    ],
)
def test_a_batch_that_takes_all_is_warned_of_nothing(ws: WorkspaceFiles, written: str, by: str) -> None:
    ws.notebook("all", BATCH.replace(written, by))
    ws.source("inbox/x.csv", "1")
    ws.source("inbox/sub/y.csv", "2")
    workspace = Workspace(ws.root)
    workspace.load_flow("all").run_once()

    (run,) = workspace.runs("all")
    assert {Path(one.path).name for one in run.inputs} == {"x.csv", "y.csv"}
    assert warnings(workspace, "all") == [[]]


def test_one_output_for_several_files_is_told(ws: WorkspaceFiles) -> None:
    """The first run replaces nothing; of a file that is gone nothing is said."""
    ws.notebook("one", ONE)
    for name in ("m1", "m2", "m3"):
        ws.source(f"inbox/{name}.csv", name)
    workspace = Workspace(ws.root)
    workspace.load_flow("one").run_once()

    first, *others = warnings(workspace, "one")
    assert first == []
    assert [len(said) for said in others] == [1, 1]
    assert others[0][0].startswith(
        "all.txt now holds m2.csv alone, and no longer what an earlier run made of m1.csv: for one file from all sources, "
        'watch(run_as="batch") with collect(...)'
    )
    assert "context.mirror.with_extension(...)" in others[0][0]


def test_another_process_knows_what_is_replaced(ws: WorkspaceFiles, monkeypatch: pytest.MonkeyPatch) -> None:
    ws.notebook("one", ONE)
    ws.source("inbox/m1.csv", "1")
    ws.source("inbox/m2.csv", "2")
    workspace = Workspace(ws.root)
    workspace.load_flow("one").run_once(source="m1.csv")
    monkeypatch.setattr("data_engine.engine.recording._written", {})
    workspace.load_flow("one").run_once(source="m2.csv")
    assert [len(said) for said in warnings(workspace, "one")] == [0, 1]

    (ws.root / "inbox" / "m1.csv").unlink()
    (ws.root / "inbox" / "m2.csv").unlink()
    ws.source("inbox/m3.csv", "3")
    workspace.load_flow("one").run_once()
    assert [len(said) for said in warnings(workspace, "one")] == [0, 1, 0]


@pytest.mark.skipif(ON_WINE, reason="Wine tells the time of a file's content as the time when it was made")
def test_a_file_that_came_later_replaces_on_purpose(ws: WorkspaceFiles) -> None:
    """As where the newest delivery counts; an old time of its content does not make it one that waited."""
    ws.notebook("one", ONE)
    ws.source("inbox/m1.csv", "1")
    workspace = Workspace(ws.root)
    workspace.load_flow("one").run_once()
    os.utime(ws.source("inbox/m2.csv", "2"), (0, 0))
    workspace.load_flow("one").run_once(source="m2.csv")

    assert warnings(workspace, "one") == [[], []]


@pytest.mark.parametrize(
    "line",
    [
        'target = context.mirror.file("all.txt"); old = target.read_text() if target.exists() else ""; target.write_text(old + "1")',
        'target = context.mirror.file("all.txt"); (lambda file: (file.write("1"), file.close()))(open(target, "a"))',
        'target = context.mirror.file("all.txt"); file = target.open("a"); file.write("1"); file.close()',
        'target = context.mirror.file("all.db"); target.write_bytes(b"1")',
        'target = context.mirror.with_extension(".txt"); target.write_text("1")',
    ],
)
def test_an_output_that_keeps_what_it_held_is_no_loss(ws: WorkspaceFiles, line: str) -> None:
    written = 'target = context.mirror.file("all.txt")\n        target.write_text(context.source.path.read_text())'
    ws.notebook("one", ONE.replace(written, line).replace(", staged=True", ""))
    for name in ("m1", "m2"):
        ws.source(f"inbox/{name}.csv", name)
    workspace = Workspace(ws.root)
    workspace.load_flow("one").run_once()

    assert warnings(workspace, "one") == [[], []]


def test_a_file_that_is_done_again_replaces_its_own(ws: WorkspaceFiles) -> None:
    ws.notebook("one", ONE)
    ws.source("inbox/m1.csv", "1")
    workspace = Workspace(ws.root)
    for _ in range(2):
        workspace.load_flow("one").run_once()

    assert warnings(workspace, "one") == [[], []]


def test_a_file_that_is_away_at_the_end_of_its_run_is_not_said_to_be_due(ws: WorkspaceFiles) -> None:
    """Moved back as it was it counts as done, as the log says."""
    lines = "context.source.path.rename(context.source.root.parent / 'a.csv')"
    ws.notebook("one", ONE.replace("return target", f"{lines}\n        return target"))
    source = ws.source("inbox/a.csv", "1")
    workspace = Workspace(ws.root)
    workspace.load_flow("one").run_once()

    ((said,),) = warnings(workspace, "one")
    assert said.startswith(f"{source} was gone when the run ended: it counts as done")
    (ws.root / "a.csv").rename(source)
    assert [row.why.kind for row in workspace.explain(str(source))] == ["done"]


SHARED = """
    import copy
    import polars as pl
    from data_engine import Flow
    def read(context):
        return MADE
    def change(context):
        data = context.current
        CHANGE
        return data
    def look(context):
        return len(context.current)
    def build():
        return FLOW
"""
FLOW = 'Flow(group="G").step(read, save_as="raw").step(change, save_as="new").step(look).step(look, use="raw", label="Write")'


@pytest.mark.parametrize(
    ("made", "change", "flow", "is_told"),
    [
        ("[1]", "data.append(2)", FLOW, True),
        ("{'a': [1]}", "data['a'].append(2)", FLOW, True),
        ("pl.DataFrame({'a': [1]})", "data[0, 'a'] = 2", FLOW, True),
        ("[1]", "data = copy.deepcopy(data); data.append(2)", FLOW, False),
        ("[1]", "data.append(2)", FLOW.replace('.step(look, use="raw", label="Write")', ""), False),
        ("[1]", "data.append(2)", FLOW.replace('"new"', '"raw", use="raw"'), False),
        ("[1]", "data.append(2)", FLOW.replace(".step(look)", '.step(read, save_as="raw")'), False),
        ("[b'x' * 9_000_000]", "data.append(2)", FLOW, False),
    ],
    ids=["list", "dict", "frame", "a copy", "nobody uses it", "replaced on purpose", "made anew", "large"],
)
def test_a_run_warns_where_a_step_changes_what_a_later_one_takes(
    ws: WorkspaceFiles, made: str, change: str, flow: str, is_told: bool
) -> None:
    """As its preview does, once; a large object is not copied for that."""
    ws.notebook("shared", SHARED.replace("MADE", made).replace("CHANGE", change).replace("FLOW", flow))
    workspace = Workspace(ws.root)
    workspace.load_flow("shared").run_once()

    told = (
        "step 'Change' changes raw itself, so step 'Write', which uses raw later, is given it changed: "
        "let it change a copy (copy.deepcopy), and return that"
    )
    assert warnings(workspace, "shared") == [[told] if is_told else []]


def test_an_object_that_cannot_be_compared_disturbs_no_run(ws: WorkspaceFiles) -> None:
    """What it does when it is copied or compared is not the run's error."""
    odd = "class Odd:\n        __class__ = property(lambda self: 1 / 0)\n"
    made = SHARED.replace("    def read", f"    {odd}    def read", 1).replace("MADE", "[{1: Odd()}]")
    ws.notebook("shared", made.replace("CHANGE", "data.append(2)").replace("FLOW", FLOW))
    workspace = Workspace(ws.root)
    workspace.load_flow("shared").run_once()

    assert warnings(workspace, "shared") == [[]]
