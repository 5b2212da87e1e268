"""In the kernel of a notebook in `flow_modules`, a bare `build()` is the production flow, and errors speak of cells."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

import pytest

from data_engine import Workspace
from tests.support import WorkspaceFiles, notebook_bytes


def run_in_kernel(path: Path, monkeypatch: pytest.MonkeyPatch, cwd: Path | None = None) -> list[str]:
    """Each code cell's output (or error) text after the notebook ran in a kernel of its own."""
    import nbformat
    from nbclient import NotebookClient

    monkeypatch.setenv("JPY_SESSION_NAME", str(path))
    notebook = nbformat.read(path, as_version=4)
    resources = {"metadata": {"path": str(cwd or path.parent)}}
    client = NotebookClient(notebook, timeout=60, allow_errors=True, resources=resources, kernel_name="python3")
    client.execute()
    return [text_of(cell) for cell in notebook.cells]


def text_of(cell: Any) -> str:
    parts = []
    for output in cell.outputs:
        if output.output_type == "error":
            parts.append("\n".join(output.traceback))
        elif output.output_type == "stream":
            parts.append(output.text)
        else:
            parts.append(output.data["text/plain"])
    return re.sub(r"\x1b\[[0-9;]*m", "", "\n".join(parts))


CELLS = (
    """
    from data_engine import Flow
    from flow_helpers.parse import number
    """,
    "scratch = 1",
    """
    def read(context):
        # the file's text
        text = context.source.path.read_text()
        return number(text)
    """,
    """
    def double(context):
        return context.current * context.config.require("rates")["rate"]

    def build():
        flow = Flow(group="G").watch(mode="manual", source="../in", extensions=".txt").mirror(root="../out")
        return flow.step(read, save_as="number").step(double)
    """,
)


@pytest.fixture
def claims(ws: WorkspaceFiles) -> WorkspaceFiles:
    ws.source("in/a.txt", "21")
    ws.source("in/b.txt", "no number")
    ws.source("config/rates.toml", "rate = 2")
    ws.helper("parse", "def number(text):\n    return int(text)\n")
    return ws


def test_a_bare_preview_has_the_name_paths_and_config_of_production(
    claims: WorkspaceFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = claims.notebook(
        "claims",
        *CELLS,
        "build().preview(use='number')",
        "build().preview()",
        "[(c.flow_name, c.current, str(c.mirror.root)) for c in build().run_once(source='a.txt')]",
        "build().trigger.source",
    )

    texts = run_in_kernel(path, monkeypatch)

    assert texts[4].splitlines()[0] == "21"
    assert texts[5].splitlines()[0] == "42"
    assert f"('claims', 42, {str(claims.root / 'out')!r})" in " ".join(texts[6].split())
    assert texts[7] == repr(claims.root / "in")


def test_a_failing_step_shows_its_cells_and_nothing_else(
    claims: WorkspaceFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = claims.notebook("claims", *CELLS, "build().preview(source='b.txt')", "build().run_once(on_error='raise')")

    texts = run_in_kernel(path, monkeypatch)

    for number in (4, 5):
        lines = texts[number].splitlines()
        assert "claims.ipynb, cell 3 (In [3]), line 4" in lines
        assert "    return number(text)" in lines
        assert "flow_helpers/parse.py, line 2" in lines
        assert lines[-2].startswith(
            'FlowExecutionError: Flow "claims" failed in step "Read" (function read) for source'
        )
        assert "data_engine/" not in texts[number].replace(str(claims.root), "")


def test_an_import_of_another_flows_code_names_that_notebook(
    claims: WorkspaceFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`load_flow(...).run_once()` in a cell speaks of the loaded notebook's cells, not of the running one's."""
    claims.notebook("claims", *CELLS)
    path = claims.notebook("other", "from data_engine import load_flow", "load_flow('claims').run_once(source='b.txt')")

    text = run_in_kernel(path, monkeypatch)[1]

    assert "claims.ipynb, cell 3, line 4" in text
    assert "other.ipynb" not in text


def test_a_renamed_notebook_is_said_not_guessed(claims: WorkspaceFiles, monkeypatch: pytest.MonkeyPatch) -> None:
    path = claims.notebook(
        "claims",
        *CELLS,
        "import os; os.rename('claims.ipynb', 'renamed.ipynb')",
        "build().run_once()",
        "build().preview(write=True)",
    )

    texts = run_in_kernel(path, monkeypatch)

    for number in (5, 6):
        assert "this notebook is no longer there: it was renamed or moved since the kernel started" in texts[number]


def test_a_preview_of_cells_tells_a_forgotten_return(claims: WorkspaceFiles, monkeypatch: pytest.MonkeyPatch) -> None:
    path = claims.notebook(
        "claims",
        "from data_engine import Flow\ndef read(context):\n    context.source.path.read_text()",
        "Flow(group='G').watch(mode='manual', source='../in').step(read, save_as='raw_df').preview()",
        "from data_engine.engine.preview import last_report; last_report().steps[0].warned",
    )

    texts = run_in_kernel(path, monkeypatch)

    assert "raw_df is None: is the `return` of read missing?" in texts[2]


def test_a_preview_goes_on_when_its_notebook_was_renamed(
    claims: WorkspaceFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It looks at the cells of the kernel, and says that the file is gone; where its folder is gone too, nothing can be found."""
    path = claims.notebook(
        "claims",
        *CELLS,
        "import os; os.rename('claims.ipynb', 'renamed.ipynb')",
        "build().preview()",
        "from data_engine.engine.preview import last_report; last_report().notes",
        "os.rename('../flow_modules', '../elsewhere')",
        "build().preview()",
    )

    texts = run_in_kernel(path, monkeypatch)

    assert texts[5].splitlines()[0] == "42"
    gone = "claims.ipynb was renamed or moved since the kernel started: restart the kernel to run or deploy its flow"
    assert gone in texts[6]
    if sys.platform != "win32":  # which keeps the folder that a process is in
        assert "this notebook is no longer there" in texts[8]


def test_a_helper_edited_since_its_import_is_told_with_the_cell_to_run_again(
    claims: WorkspaceFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The kernel holds the old code; after its import cell ran again the new code is there and nothing is said."""
    edit = "from pathlib import Path\nPath('flow_helpers/parse.py').write_text('def number(text):\\n    return -int(text)\\n')"
    path = claims.notebook(
        "claims",
        *CELLS,
        "build().preview(use='number')",
        edit,
        "build().preview(use='number')",
        "from flow_helpers.parse import number",
        "build().preview(use='number')",
    )

    texts = run_in_kernel(path, monkeypatch)

    told = "flow_helpers/parse.py changed since this kernel imported it: run cell 1, 8 again to use it"
    assert [told in text for text in (texts[4], texts[6], texts[8])] == [False, True, False]
    assert "21" in texts[6].splitlines()
    assert "-21" in texts[8].splitlines()


def test_helpers_are_found_wherever_the_kernel_works(
    claims: WorkspaceFiles, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """As in VS Code, whose kernels may be started in the folder that is open; and so are their files."""
    claims.source("flow_modules/flow_helpers/rates.sql", "select 2")
    path = claims.notebook(
        "claims",
        "from data_engine import Flow",
        "from flow_helpers.parse import number\nnumber('4')",
        "import importlib.resources as r\nr.files('flow_helpers').joinpath('rates.sql').read_text()",
    )

    assert run_in_kernel(path, monkeypatch, cwd=tmp_path)[1:] == ["4", "'select 2'"]


def test_an_edited_helper_is_taken_the_first_time_its_cell_runs_again(
    claims: WorkspaceFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    helper = claims.root / "flow_modules" / "flow_helpers" / "parse.py"
    path = claims.notebook(
        "claims",
        "from data_engine import Flow\nfrom pathlib import Path",
        "from flow_helpers.parse import number",
        f"_ = Path({str(helper)!r}).write_text('def number(text):\\n    return 10 * int(text) # edited\\n')",
        "from flow_helpers.parse import number\nnumber('4')",
    )

    assert run_in_kernel(path, monkeypatch)[3] == "40"


@pytest.mark.parametrize(
    "build",
    [
        'Flow(group="G").watch(mode="schedule", time="25:00")',
        'Flow(group="G").watch(mode="schedule", cron="* *")',
        'Flow(group="G").watch(mode="schedule", time="08:00", tz="Europe/Berlinn")',
        'Flow(group="G").watch(mode="poll", source="../in", interval="5 beats")',
        'Flow(group="G").step(5)',
    ],
)
def test_a_mistake_in_build_is_a_few_lines(claims: WorkspaceFiles, monkeypatch: pytest.MonkeyPatch, build: str) -> None:
    """The cell and its line, what is wrong and the fix; none of our own frames."""
    path = claims.notebook("claims", "from data_engine import Flow", f"def build():\n    return {build}", "build()")

    shown = run_in_kernel(path, monkeypatch)[2]

    assert "cell 2 (In [2]), line 2" in shown or "In [2], line 2" in shown, shown
    assert "fix:" in shown
    assert "data_engine/" not in shown
    assert len(shown.splitlines()) < 14, shown
    assert sum("In [2]" in line for line in shown.splitlines()) == 1, shown  # the place is given once


INTERRUPTED = (
    (".preview()", "the preview of claims was interrupted in step 'Wait'"),
    (".run_once()", "the run of claims was interrupted; what had begun is recorded as stopped"),
)


def test_a_mistake_with_the_workspace_is_a_few_lines(ws: WorkspaceFiles, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where nothing but the workspace was imported."""
    (ws.modules / "look.ipynb").write_bytes(
        notebook_bytes("from data_engine import Workspace\nws = Workspace.current()", 'ws.database("none.duckdb")')
    )
    _, shown = run_in_kernel(ws.modules / "look.ipynb", monkeypatch)

    assert shown.startswith("look.ipynb, cell 2")
    assert "there is no database none.duckdb" in shown
    assert "data_engine/" not in shown


@pytest.mark.parametrize(("call", "said"), INTERRUPTED)
def test_an_interrupted_call_is_one_line(
    claims: WorkspaceFiles, monkeypatch: pytest.MonkeyPatch, call: str, said: str
) -> None:
    cells = (
        "from data_engine import Flow\nimport signal, time",
        "def wait(context):\n    signal.raise_signal(signal.SIGINT)\n    time.sleep(30)",
        f"Flow(group='G', name='claims').step(wait){call}",
    )

    shown = run_in_kernel(claims.notebook("claims", *cells), monkeypatch)[2]

    assert shown.strip().splitlines()[-1] == f"KeyboardInterrupt: {said}"
    assert "Traceback" not in shown, shown


def test_the_whole_chain_of_causes_is_shown_by_cells(claims: WorkspaceFiles, monkeypatch: pytest.MonkeyPatch) -> None:
    path = claims.notebook(
        "claims",
        "from data_engine import Flow",
        """
        def parse(text):
            return int(text)

        def read(context):
            try:
                return parse("x")
            except ValueError as error:
                raise RuntimeError("the file is wrong") from error
        """,
        "def build():\n    return Flow(group='G').step(read)",
        "build().preview()",
    )

    lines = run_in_kernel(path, monkeypatch)[3].splitlines()

    first = lines.index("ValueError: invalid literal for int() with base 10: 'x'")
    (second,) = [number for number, line in enumerate(lines) if "RuntimeError: the file is wrong" in line]
    assert lines[first - 2 : first] == ["claims.ipynb, cell 2 (In [2]), line 2", "    return int(text)"]
    assert lines[first + 1] == "which was the direct cause of:"
    assert lines[second - 3 : second] == [
        "claims.ipynb, cell 2 (In [2]), line 8",
        '    raise RuntimeError("the file is wrong") from error',
        "",
    ]


def test_broken_helpers_are_named_by_file_and_line(claims: WorkspaceFiles, monkeypatch: pytest.MonkeyPatch) -> None:
    """A syntax error, an import error and an error in build(), each found through load_flow."""
    claims.helper("parse", "def number(text):\n    return (\n")
    claims.notebook("claims", *CELLS)
    claims.notebook(
        "missing",
        "from data_engine import Flow",
        "import not_there",
        "def build():\n    return Flow(group=not_there.G)",
    )
    claims.notebook("wrong", "from data_engine import Flow", "def build():\n    return Flow(group='G').step(5)")
    loads = [f"load_flow({name!r})" for name in ("claims", "missing", "wrong")]
    path = claims.notebook("other", "from data_engine import load_flow", *loads)

    texts = run_in_kernel(path, monkeypatch)

    assert "flow_helpers/parse.py, line 2" in texts[1]
    assert "SyntaxError: '(' was never closed" in texts[1]
    assert "missing.ipynb, cell 2, line 1" in texts[2]
    assert "No module named 'not_there'" in texts[2]
    assert "wrong.ipynb, cell 2, line 2" in texts[3]
    assert "a step must be callable" in texts[3]


def test_the_caption_compares_what_ran_with_what_is_deployed(
    claims: WorkspaceFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The notebook's file is as deployed; the kernel has run another function, which nobody saved."""
    path = claims.notebook("claims", *CELLS)
    Workspace(claims.root).deploy()
    edited = """
        def double(context):
            return 3 * context.current

        print(build().preview())
    """
    path = claims.notebook("other", *CELLS, "print(build().preview())", edited)
    name = path.read_bytes()
    path.unlink()
    copy = claims.root / "flow_modules" / "copy.ipynb"
    copy.write_bytes(name)
    monkeypatch.setenv("DATA_ENGINE_NOTEBOOK", str(claims.root / "flow_modules" / "claims.ipynb"))

    *_, as_deployed, changed = run_in_kernel(copy, monkeypatch)

    assert "same code as the deployed flow" in as_deployed
    assert "what ran differs from the deployed flow: double (In [6])" in changed


def test_the_caption_takes_no_saved_edit_for_what_ran(claims: WorkspaceFiles, monkeypatch: pytest.MonkeyPatch) -> None:
    """An edit counts once its cell has run, and a helper once it was imported again; a statement that binds no name counts, too."""
    path = claims.notebook("claims", *CELLS)
    Workspace(claims.root).deploy()
    quiet = "import warnings\nwarnings.simplefilter('ignore')"
    twice = CELLS[3].replace("context.current *", "2 * context.current *")
    (claims.root / "edited").write_bytes(notebook_bytes(*CELLS[:3], twice))
    (claims.root / "quiet").write_bytes(notebook_bytes(CELLS[0], quiet, CELLS[2], twice))
    cells = (
        "import shutil",
        *CELLS,
        "build().preview()",
        "shutil.copy('../edited', 'claims.ipynb')\nbuild().preview()",
        "shutil.copy('../quiet', 'claims.ipynb')\nbuild().preview()",
        quiet,
        "build().preview()",
        "with open('flow_helpers/parse.py', 'a') as file:\n    print('RATE = 1', file=file)\nbuild().preview()",
        "def double(context):\n    return 5 * context.current\nbuild().preview()",
        "from data_engine import load_flow\nload_flow('claims').preview()",
    )
    copy = claims.notebook("copy", *cells)
    monkeypatch.setenv("DATA_ENGINE_NOTEBOOK", str(path))

    texts = run_in_kernel(copy, monkeypatch)

    as_deployed, saved, effect_saved, _, effect_ran, helper_saved, ran, loaded = texts[5:]
    for text in (as_deployed, saved, effect_saved):
        assert "same code as the deployed flow" in text, text
    assert "what ran differs from the deployed flow: In [9]" in effect_ran
    assert "parse.py changed since this kernel imported it" in helper_saved
    assert "what ran differs from the deployed flow: In [9], double (In [12])" in ran
    assert "differs from the deployed flow: cells 2, 4, flow_helpers/parse.py" in loaded


def test_a_changed_working_directory_is_told_under_a_preview(
    claims: WorkspaceFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`%cd ..`: what steps open by relative paths is not what production opens."""
    path = claims.notebook("claims", *CELLS, "build().preview()", "%cd -q ..", "build().preview()")

    *_, before, _, after = run_in_kernel(path, monkeypatch)

    assert "%cd" not in before
    assert f"this kernel works in {claims.root} (%cd)" in after


def test_only_what_is_there_is_said_to_be_in_the_kernels_memory(
    claims: WorkspaceFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else it is unknown, and the nearest name is the fix."""
    path = claims.notebook(
        "claims",
        "from data_engine import Flow, compile_notebook\nget_ipython().user_ns['rate'] = 2\nrates = 1",
        "def double(context):\n    return {name}",
        "def build():\n    return Flow(group='G').step(double)",
        "compile_notebook('claims.ipynb')",
    )
    for name, said in {
        "rate": "`rate` exists only in your kernel's memory",
        "ratex": "`ratex` is unknown: `double` in cell 2 uses it and no cell defines it",
    }.items():
        text = path.read_text(encoding="utf-8")
        path.write_text(text.replace("{name}", name), encoding="utf-8")
        shown = run_in_kernel(path, monkeypatch)[-1]
        path.write_text(text, encoding="utf-8")

        assert said in shown
        assert "did you mean `rates`?" in shown


def test_code_that_ran_and_is_not_what_is_deployed_is_not_run_over_the_outputs(
    ws: WorkspaceFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What ran counts, saved or not: an edit that ran is named by its cell, and one that did not run keeps nobody from anything."""
    import nbformat
    from nbclient import NotebookClient

    ws.source("config/rates.toml", "rate = 2\n")
    ws.source("in/a.txt", "21")
    ws.helper("parse", "def number(text):\n    return int(text)\n")
    path = ws.notebook("claims", *CELLS)
    workspace = Workspace(ws.root)
    workspace.deploy("claims")
    monkeypatch.setenv("JPY_SESSION_NAME", str(path))
    calls = (
        "build().run_once()[0].current",
        "build().run()[0].current",
        "get_ipython().run_line_magic('load_ext', 'data_engine'); get_ipython().run_line_magic('flow', 'run --once')[0].current",
        "build().run_once(edited=True)[0].current",
    )
    edit = (*CELLS[:3], CELLS[3].replace("context.current *", "context.current + 1 *"))

    def told(*cells: str) -> list[str]:
        notebook = nbformat.reads(notebook_bytes(*cells), as_version=4)
        NotebookClient(
            notebook,
            timeout=60,
            allow_errors=True,
            resources={"metadata": {"path": str(path.parent)}},
            kernel_name="python3",
        ).execute()
        return [text_of(cell) for cell in notebook.cells[-len(calls) :]]

    *refused, ran = told(*edit, *calls)

    assert all("what ran differs from the deployed flow: double (In [4])" in text for text in refused)
    assert all("preview" in text and "deploy" in text for text in refused)
    assert ran == "23"
    assert [run.edited for run in workspace.runs("claims")] == ["double (In [4])"]

    ws.notebook("claims", *edit)
    assert told(*CELLS, *calls) == ["42"] * 4
    assert [run.edited for run in workspace.runs("claims")][:4] == [None] * 4


def test_a_flow_that_is_not_as_build_gives_it_is_an_edit(
    claims: WorkspaceFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a cell and loaded from its file; a flow that no `build` made, too. Where nothing is deployed it runs."""
    extra, flow = "lambda context: 'extra'", "__import__('data_engine').load_flow('claims')"
    cells = (
        f"build().step({extra}).run_once(source='a.txt')[0].current",
        f"{flow}.step({extra}).run_once(source='a.txt')[0].current",
        f"build().step({extra}).run_once(source='a.txt', edited=True)[0].current",
        "build().run_once(source='a.txt')[0].current",
        f"{flow}.run_once(source='a.txt')[0].current",
        f"Flow(group='G').step({extra}).run()[0].current",
    )
    path = claims.notebook("claims", *CELLS, *cells)
    claims.source("config/rates.toml", "rate = 2\n")
    assert run_in_kernel(path, monkeypatch)[-6].startswith("'extra'")
    workspace = Workspace(claims.root)
    workspace.deploy("claims")
    before = len(workspace.runs("claims"))

    here, loaded, edited, as_built, as_loaded, made = run_in_kernel(path, monkeypatch)[-6:]

    for text in (here, loaded):
        assert "this flow is not as build() gives it: step Lambda" in text
    assert "not as build() gives it: its trigger, its mirror, step " in made
    assert [edited, as_built, as_loaded] == ["'extra'", "42", "42"]
    assert [run.edited for run in workspace.runs("claims")[: len(workspace.runs("claims")) - before]] == [
        None,
        None,
        "step Lambda",
    ]


def test_the_preview_of_a_report_shows_its_page_in_the_cell(
    ws: WorkspaceFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a frame without scripts, above what the flow passes on; with the rows that a hostile source names, as text."""
    import nbformat
    from nbclient import NotebookClient

    path = ws.notebook(
        "delays",
        """
        import polars as pl
        from data_engine import Flow

        def read(context):
            return pl.DataFrame({"<script>x()</script>": [1]})

        def build():
            return Flow(group="G").mirror(root="../out").step(read, save_as="df").report("df", title="Delays")
        """,
        "build().preview()",
        "build().preview()",
    )
    monkeypatch.setenv("JPY_SESSION_NAME", str(path))
    notebook = nbformat.read(path, as_version=4)
    resources = {"metadata": {"path": str(path.parent)}}
    NotebookClient(notebook, timeout=60, resources=resources, kernel_name="python3").execute()

    for cell in notebook.cells[1:]:
        shown = [
            output.data["text/html"]
            for output in cell.outputs
            if output.get("data", {}).get("text/plain") == "report delays.html"
        ]
        assert len(shown) == 1
        assert shown[0].startswith('<iframe sandbox class="de-report" title="delays.html" srcdoc="')
        assert "<script" not in shown[0]
        assert "&amp;lt;script&amp;gt;x()" in shown[0]
    assert not (ws.root / "out").exists()
