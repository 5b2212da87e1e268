"""Objects that several steps are given: a generator that is used up, and one that a step changes, are told with their fix."""

from __future__ import annotations

import pytest

from data_engine import Workspace
from data_engine.engine.preview import last_report
from data_engine.errors import FlowExecutionError
from tests.preview.conftest import Cells
from tests.support import WorkspaceFiles

GENERATOR = """
from data_engine import Flow

def rows(context):
    return (row for row in range(3))

def count(context):
    return len(list(context.current))

def write(context):
    return CALL

def build():
    return Flow(group="G"NAME).step(rows, save_as="raw").step(count).step(write, use="raw")
"""
USED_UP = (
    "raw is a generator, which is read once, and gives step 'Write' nothing more: "
    "let the step that makes it return list(...)"
)


def cells_of(call: str, name: str = ', name="claims"') -> str:
    return GENERATOR.replace("CALL", call).replace("NAME", name)


def warned() -> list[str]:
    report = last_report()
    assert report is not None
    return [said for step in report.steps for said in step.warned]


def test_a_generator_that_is_used_up_is_told_in_previews_each_time(cells: Cells) -> None:
    """The steps read nothing of it, and succeed."""
    cells.run(cells_of("len(list(context.current))"))

    for _ in range(2):
        assert cells.preview() == 0
        assert warned() == [USED_UP]


def test_a_generator_that_is_used_up_is_told_in_the_log_of_a_run(ws: WorkspaceFiles) -> None:
    """As a warning of the run, which succeeds."""
    ws.notebook("claims", cells_of("len(list(context.current))", ""))
    workspace = Workspace(ws.root)
    workspace.load_flow("claims").run_once()
    [run] = workspace.runs("claims")

    assert run.status == "success"
    assert [line.message for line in workspace.log(run.run_id) if line.level == "WARNING"] == [USED_UP]


def test_a_step_that_fails_for_want_of_rows_names_the_generator(cells: Cells) -> None:
    """The error itself says nothing of it."""
    cells.run(cells_of("next(context.current)"))
    with pytest.raises(FlowExecutionError) as caught:
        cells.preview()

    assert caught.value.fix is not None
    assert USED_UP in caught.value.fix


@pytest.mark.parametrize("rows", ["list(range(3))", "iter(range(3))", "{}.items()"])
def test_nothing_is_said_of_what_can_be_read_again_or_cannot_be_told(cells: Cells, rows: str) -> None:
    """Only a generator tells that it has nothing more."""
    cells.run(cells_of("1").replace("(row for row in range(3))", rows))
    cells.preview()

    assert warned() == []


def test_a_generator_that_one_step_begins_and_another_goes_on_with_is_fine(cells: Cells) -> None:
    """Such as one that reads the header first."""
    cells.run(cells_of("list(context.current)").replace("len(list(context.current))", "next(context.current)"))

    assert cells.preview() == [1, 2]
    assert warned() == []


CHANGED = """
import copy
IMPORTS
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
FLOW = 'Flow("G", "claims").step(read, save_as="raw").step(change, save_as="new").step(look).step(look, use="raw", label="Write")'


def changing(made: str, change: str, flow: str = FLOW) -> str:
    """The cells of a flow whose second step changes what the first has made, if by pandas, where that is installed."""
    imports = ""
    if "pd." in made:
        pytest.importorskip("pandas")
        imports = "import pandas as pd"
    return CHANGED.replace("IMPORTS", imports).replace("MADE", made).replace("CHANGE", change).replace("FLOW", flow)


@pytest.mark.parametrize(
    ("made", "change"),
    [
        ("[1]", "data.append(2)"),
        ("{'a': [1]}", "data['a'].append(2)"),
        ("pd.DataFrame({'a': [1]})", "data['b'] = 2"),
        ("pd.DataFrame({'a': [1]})", "data.loc[0, 'a'] = 2"),
    ],
)
def test_an_object_that_a_step_changes_and_another_uses_later_is_told_once_each_time(
    cells: Cells, made: str, change: str
) -> None:
    """As in production, the later step gets what became of it; steps between, which change nothing, are not named."""
    cells.run(changing(made, change))

    for _ in range(2):
        cells.preview()
        assert warned() == [
            "step 'Change' changes raw itself, so step 'Write', which uses raw later, is given it changed: "
            "let it change a copy (copy.deepcopy), and return that"
        ]


@pytest.mark.parametrize(
    ("change", "flow"),
    [
        ("data = copy.deepcopy(data); data.append(2)", FLOW),
        ("data.append(2)", 'Flow("G", "claims").step(read, save_as="raw").step(change, save_as="new")'),
        ("data.append(2)", FLOW.replace('"new"', '"raw", use="raw"')),
        ("data.append(2)", FLOW.replace(".step(look)", '.step(read, save_as="raw")')),
    ],
    ids=["a copy", "nobody uses it", "replaced on purpose", "made anew"],
)
def test_nothing_is_said_where_no_later_step_is_given_the_change(cells: Cells, change: str, flow: str) -> None:
    """The change is as good as a new object there."""
    cells.run(changing("[1]", change, flow))
    cells.preview()

    assert warned() == []
