"""Flow modules become registered modules; workspaces never mix; edits are seen; broken ones cost only themselves."""

from __future__ import annotations

import importlib
import pickle
import typing
from pathlib import Path

import pytest

from data_engine import FlowExecutionError, FlowValidationError, Workspace, discover_flows, load_flow
from tests.support import WorkspaceFiles

ONE = """
    from data_engine import Flow

    def one(context):
        return 1

    def build():
        return Flow(group="G").step(one)
"""


def with_helper(ws: WorkspaceFiles, value: str) -> None:
    ws.helper("values", f"VALUE = {value!r}\n")
    ws.notebook(
        "claims",
        """
        from data_engine import Flow
        from flow_helpers.values import VALUE

        def early(context):
            return VALUE

        def late(context):
            import importlib
            from flow_helpers import values
            import flow_helpers.values as again
            return [context.current, values.VALUE, again.VALUE, importlib.import_module("flow_helpers.values").VALUE]

        def build():
            return Flow(group="G").step(early).step(late)
        """,
    )


def test_helpers_import_at_the_top_and_inside_steps(ws: WorkspaceFiles) -> None:
    with_helper(ws, "a")

    assert load_flow("claims", data_root=ws.root).run_once()[0].current == ["a"] * 4


def test_importlib_is_the_flows_own_and_stays_as_it_is_for_everybody_else(ws: WorkspaceFiles) -> None:
    """Flow code reaches its helpers by importlib however it imports that; no other code of the process does."""
    with_helper(ws, "a")
    ws.module(
        "by_name",
        """
        import importlib
        import importlib.util as util
        import importlib.metadata
        from importlib import import_module
        from data_engine import Flow

        def look(context):
            found = [importlib.import_module("flow_helpers.values"), import_module("flow_helpers.values")]
            return [one.VALUE for one in found], import_module("json").__name__, util is importlib.util

        def build():
            return Flow(group="G").step(look)
        """,
    )

    found = load_flow("by_name", data_root=ws.root).run_once()[0].current

    assert found == (["a", "a"], "json", True)
    assert importlib.import_module.__module__ == "importlib"
    with pytest.raises(ModuleNotFoundError):
        importlib.import_module("flow_helpers.values")


def test_two_workspaces_with_equally_named_helpers_never_mix(tmp_path: Path) -> None:
    first, second = WorkspaceFiles(tmp_path / "one"), WorkspaceFiles(tmp_path / "two")
    with_helper(first, "first")
    with_helper(second, "second")

    flows = [load_flow("claims", data_root=files.root) for files in (first, second)]

    assert [flow.run_once()[0].current for flow in flows] == [["first"] * 4, ["second"] * 4]


def test_an_edited_helper_is_seen_by_the_next_load(ws: WorkspaceFiles) -> None:
    """Content decides, not time stamps: the edit keeps size and could fall into the same clock tick."""
    with_helper(ws, "a")
    load_flow("claims", data_root=ws.root).run_once()
    ws.helper("values", "VALUE = 'b'\n")

    assert load_flow("claims", data_root=ws.root).run_once()[0].current == ["b"] * 4


def test_nothing_is_written_beside_the_authors_files(ws: WorkspaceFiles) -> None:
    with_helper(ws, "a")
    before = sorted(ws.modules.rglob("*"))

    load_flow("claims", data_root=ws.root).run_once()

    assert sorted(ws.modules.rglob("*")) == before


def test_a_sibling_without_build_is_an_importable_module_and_no_flow(ws: WorkspaceFiles) -> None:
    ws.module("rates", "RATE = 7\n")
    ws.notebook(
        "claims",
        """
        from data_engine import Flow
        from rates import RATE
        def build():
            return Flow(group="G").step(lambda context: RATE)
        """,
    )

    assert [flow.name for flow in discover_flows(data_root=ws.root)] == ["claims"]
    assert load_flow("claims", data_root=ws.root).run_once()[0].current == 7


def test_step_functions_pickle_and_string_annotations_resolve(ws: WorkspaceFiles) -> None:
    ws.notebook(
        "claims",
        """
        from __future__ import annotations
        from dataclasses import dataclass
        from data_engine import Flow

        @dataclass
        class Row:
            amount: int

        def make(context) -> Row:
            return Row(3)

        def build():
            return Flow(group="G").step(make)
        """,
    )
    flow = load_flow("claims", data_root=ws.root)
    make = flow.steps[0].fn

    assert pickle.loads(pickle.dumps(make)) is make
    row = pickle.loads(pickle.dumps(make(None)))  # type: ignore[arg-type]
    assert row.amount == 3
    assert typing.get_type_hints(make)["return"] is type(row)


def test_a_module_is_executed_afresh_by_each_load(ws: WorkspaceFiles) -> None:
    ws.module(
        "counter",
        """
        from data_engine import Flow
        SEEN = []
        def count(context):
            SEEN.append(1)
            return len(SEEN)
        def build():
            return Flow(group="G").step(count)
        """,
    )

    assert [load_flow("counter", data_root=ws.root).run_once()[0].current for _ in range(3)] == [1, 1, 1]


def test_discovery_survives_broken_modules(ws: WorkspaceFiles, capsys: pytest.CaptureFixture[str]) -> None:
    ws.notebook("good", ONE)
    ws.notebook("raises", "1 / 0\n1", ONE.replace("return 1", "return missing"), "missing = 1 / 0")
    (ws.modules / "no_json.ipynb").write_bytes(b"{nope")
    ws.module("syntax", "def build(:\n")
    ws.module("no_import", "import does_not_exist_anywhere\ndef build(): ...\n")
    ws.module("no_flow", "def build():\n    return 5\n")
    ws.module("asks", "def build(x):\n    return x\n")
    ws.module("leaves", "import sys\nsys.exit(3)\ndef build(): ...\n")
    ws.module("panics", "class PanicException(BaseException): ...\nraise PanicException('gave up')\ndef build(): ...\n")
    ws.module("twice", ONE.replace("\n    ", "\n"))
    ws.notebook("twice", ONE)

    flows = discover_flows(data_root=ws.root)

    assert [flow.name for flow in flows] == ["good"]
    errors = {entry.name: entry.error for entry in Workspace(ws.root).catalog() if entry.error is not None}
    assert set(errors) == {"raises", "no_json", "syntax", "no_import", "no_flow", "asks", "leaves", "panics", "twice"}
    texts = {name: str(error) for name, error in errors.items()}
    assert "division by zero" in texts["raises"]
    assert "raises.ipynb, cell 3, line 1" in texts["raises"]
    assert "syntax.py, line 1" in texts["syntax"]
    assert "No module named 'does_not_exist_anywhere'" in texts["no_import"]
    assert "did not return a Flow" in texts["no_flow"]
    assert "must not accept any parameters" in texts["asks"]
    assert "conflict between .ipynb and .py" in texts["twice"]
    assert "no_json.ipynb is broken" in capsys.readouterr().err


def test_what_is_no_flow_is_not_reported_as_broken(ws: WorkspaceFiles) -> None:
    ws.notebook("good", ONE)
    ws.notebook("scratch", "x = 1")
    ws.notebook("Untitled1", "def build(:")
    ws.notebook("good-Copy1", "def build(:")
    ws.notebook("_draft", "def build(:")
    ws.module("__init__", "")
    (ws.modules / ".ipynb_checkpoints").mkdir()

    assert [entry.name for entry in Workspace(ws.root).catalog()] == ["good"]


def test_an_unknown_flow_names_those_there_are(ws: WorkspaceFiles) -> None:
    ws.notebook("good", ONE)

    with pytest.raises(FlowValidationError, match=r"'nope' is not available.*Available flow modules: good\."):
        load_flow("nope", data_root=ws.root)


def test_another_name_than_the_files_is_refused(ws: WorkspaceFiles) -> None:
    ws.notebook("claims", ONE.replace('group="G"', 'group="G", name="other"'))

    with pytest.raises(FlowValidationError, match="must not override the module-defined flow name"):
        load_flow("claims", data_root=ws.root)


def test_running_while_a_module_loads_is_refused(ws: WorkspaceFiles) -> None:
    ws.module("claims", ONE.replace("\n    ", "\n") + "\nbuild().preview()\n")

    with pytest.raises(FlowValidationError, match="not available inside compiled flow modules") as caught:
        load_flow("claims", data_root=ws.root)
    assert "claims.py, line" in str(caught.value)


def test_relative_paths_start_at_the_flow_modules_folder(ws: WorkspaceFiles) -> None:
    ws.notebook(
        "claims", ONE.replace('group="G")', 'group="G").watch(mode="manual", source="../in").mirror(root="../out")')
    )

    flow = load_flow("claims", data_root=ws.root)

    assert flow.trigger is not None
    assert flow.mirror_spec is not None
    assert (flow.trigger.source, flow.mirror_spec.root) == (ws.root / "in", ws.root / "out")


def test_two_flows_with_one_mirror_root_are_warned_about(ws: WorkspaceFiles) -> None:
    for name in ("a", "b"):
        ws.notebook(name, ONE.replace('group="G")', 'group="G").mirror(root="../out")'))

    warnings = [entry.warnings for entry in Workspace(ws.root).catalog()]

    assert all("shared by a, b" in texts[-1] for texts in warnings)


CIRCLES = {
    "two": ({"a": ("../x", "../y"), "b": ("../y", "../x"), "c": ("../z", "../x")}, {"a", "b"}),
    "three": ({"a": ("../x", "../z"), "b": ("../y", "../x"), "c": ("../z/deep", "../y")}, {"a", "b", "c"}),
    "a chain": ({"a": ("../x", "../w"), "b": ("../y", "../x"), "c": ("../z", "../y")}, set()),
    "a part of a mirror": ({"a": ("../x", "../y"), "b": ("../y", "../x/deep")}, {"a", "b"}),
    "itself": ({"a": ("../x/out", "../x")}, set()),
}


@pytest.mark.parametrize(("flows", "told"), CIRCLES.values(), ids=CIRCLES)
def test_flows_that_write_what_another_watches_in_a_circle_are_told_of_it(
    ws: WorkspaceFiles, flows: dict[str, tuple[str, str]], told: set[str]
) -> None:
    """Each makes the next one due, without end."""
    for name, (mirror, source) in flows.items():
        watch = f'group="G").watch(mode="poll", interval="1s", source="{source}").mirror(root="{mirror}")'
        ws.notebook(name, ONE.replace('group="G")', watch))

    entries = Workspace(ws.root).catalog()

    assert {entry.name for entry in entries if any("this never ends" in text for text in entry.warnings)} == told


def test_catalog_remembers_what_did_not_change(ws: WorkspaceFiles) -> None:
    """Nothing is executed twice for one content, and an edit is seen at once."""
    ws.source("counted.txt", "")
    ws.module(
        "claims",
        f"""
        from pathlib import Path
        from data_engine import Flow
        log = Path({str(ws.root / "counted.txt")!r})
        log.write_text(log.read_text() + "x")
        def build():
            return Flow(group="G")
        """,
    )
    workspace = Workspace(ws.root)

    workspace.catalog()
    workspace.catalog()
    assert (ws.root / "counted.txt").read_text() == "x"

    ws.helper("new", "A = 1\n")
    workspace.catalog()
    assert (ws.root / "counted.txt").read_text() == "xx"


def test_a_failing_step_names_notebook_cell_and_line(ws: WorkspaceFiles) -> None:
    ws.notebook(
        "claims",
        "from data_engine import Flow",
        "scratch = 1",
        """
        def clean(context):
            rows = [1]

            return rows[5]
        """,
        "def build():\n    return Flow(group='G').step(clean)",
        counts=True,
    )

    with pytest.raises(FlowExecutionError) as caught:
        load_flow("claims", data_root=ws.root).run_once()

    assert caught.value.cell == "claims.ipynb, cell 3 (In [3]), line 4"
    assert caught.value.source_line == "    return rows[5]"
    assert "IndexError: list index out of range" in str(caught.value)
    assert "return rows[5]" in str(caught.value)
    assert Workspace(ws.root).runs()[0].error == str(caught.value)


def test_a_failing_helper_is_named_by_its_authored_path(ws: WorkspaceFiles) -> None:
    ws.helper("parse", "def number(text):\n    return int(text)\n")
    ws.notebook(
        "claims",
        """
        from data_engine import Flow
        from flow_helpers.parse import number
        def build():
            return Flow(group="G").step(lambda context: ["1", "x"]).map(number)
        """,
    )

    with pytest.raises(FlowExecutionError, match=r"\(item 2 of 2: x\)") as caught:
        load_flow("claims", data_root=ws.root).run_once()

    error = caught.value
    assert error.cell == "flow_helpers/parse.py, line 2"
    assert error.where == "flow_helpers/parse.py, line 2: return int(text)"  # a map calls the helper itself


HELPED = (
    "from data_engine import Flow\nfrom flow_helpers.parse import number, watched",
    "def read(context):\n    rows = ['1', 'x']\n    return [number(row) for row in rows]",
)


def test_a_failure_in_a_helper_names_the_cell_that_led_there(ws: WorkspaceFiles) -> None:
    """The helper's line and the cell's: in the error, in the run's cause, and where the page's link leads."""
    ws.helper(
        "parse",
        "def number(text):\n    return int(text)\n\ndef watched(flow):\n    return flow.watch(mode='sometimes')\n",
    )
    ws.notebook("claims", *HELPED, "def build():\n    return Flow(group='G').step(read)")
    ws.notebook("wrong", *HELPED, "def build():\n    return watched(Flow(group='G').step(read))")
    (run,) = Workspace(ws.root).run("claims")
    with pytest.raises(FlowValidationError) as caught:
        load_flow("wrong", data_root=ws.root)

    assert (
        "flow_helpers/parse.py, line 2: return int(text) (called in claims.ipynb, cell 2, line 3: return [number"
        in run.error
    )
    assert run.why["helper"] == "flow_helpers/parse.py, line 2"
    assert run.why["places"] == [{"notebook": "claims.ipynb", "cell": 2, "line": 3}]
    assert "flow_helpers/parse.py, line 5" in str(caught.value.where)
    assert "called in wrong.ipynb, cell 3, line 2" in str(caught.value.where)
    assert caught.value.places == ({"notebook": "wrong.ipynb", "cell": 3, "line": 2},)


def test_a_failure_in_a_function_of_another_cell_names_the_cell_that_called_it(ws: WorkspaceFiles) -> None:
    """In the error, in the run's cause, and where its links lead; a step that fails in its own cell names that one alone."""
    read = HELPED[1] + "\n\ndef alone(context):\n    return number('1') / 0"
    ws.notebook(
        "claims",
        "from data_engine import Flow",
        "def number(text):\n    return int(text)",
        read,
        "def build():\n    return Flow(group='G').step(read)",
    )
    ws.notebook(
        "alone",
        "from data_engine import Flow",
        "def number(text):\n    return int(text)",
        read,
        "def build():\n    return Flow(group='G').step(alone)",
    )

    (run,), (alone,) = Workspace(ws.root).run("claims"), Workspace(ws.root).run("alone")

    assert (
        "where: claims.ipynb, cell 2, line 2: return int(text) (called in claims.ipynb, cell 3, line 3: return"
        in run.error
    )
    assert [(place["cell"], place["line"]) for place in run.why["places"]] == [(2, 2), (3, 3)]
    assert "helper" not in run.why
    assert "where: alone.ipynb, cell 3, line 6: return number('1') / 0" in alone.error
    assert [(place["cell"], place["line"]) for place in alone.why["places"]] == [(3, 6)]


def test_a_helper_that_cannot_be_parsed_names_the_cell_that_imports_it(ws: WorkspaceFiles) -> None:
    """The line that is wrong, and the import."""
    ws.helper("parse", "def number(text)\n    return int(text)\n")
    ws.notebook(
        "claims",
        "from data_engine import Flow",
        "from flow_helpers.parse import number",
        "def build():\n    return Flow(group='G').step(number)",
    )
    with pytest.raises(FlowValidationError) as caught:
        load_flow("claims", data_root=ws.root)

    assert "flow_helpers/parse.py, line 1" in str(caught.value.where)
    assert "called in claims.ipynb, cell 2, line 1" in str(caught.value.where)
    assert caught.value.places == ({"notebook": "claims.ipynb", "cell": 2, "line": 1},)


def test_an_authoring_mistake_names_its_cell(ws: WorkspaceFiles) -> None:
    ws.notebook("claims", "from data_engine import Flow", "def build():\n    return Flow(group='').step(print)")

    with pytest.raises(FlowValidationError) as caught:
        load_flow("claims", data_root=ws.root)

    assert "claims.ipynb, cell 2, line 2" in str(caught.value)


def test_build_errors_name_their_cell(ws: WorkspaceFiles) -> None:
    ws.notebook("claims", "from data_engine import Flow", "def build():\n    return Flow(group={}['x'])")

    with pytest.raises(FlowExecutionError, match=r"failed during build\(\)") as caught:
        load_flow("claims", data_root=ws.root)

    assert caught.value.cell == "claims.ipynb, cell 2, line 2"
