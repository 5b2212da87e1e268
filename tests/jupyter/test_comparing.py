"""`%flow compile --compare` and `%flow deploy` in a notebook's kernel: what differs from production is named, and asked."""

from __future__ import annotations

import pytest

from data_engine import Workspace
from data_engine.engine.preview import last_report
from data_engine.errors import FlowValidationError, NotAsInKernelError
from data_engine.proof.kernel import compare_own
from data_engine.proof.verdict_store import compared
from jupyter_extension.actions import answer
from tests.jupyter.conftest import Shell
from tests.support import WorkspaceFiles

CELLS = (
    "from data_engine import Flow\nRATES = {'EUR': 1.0}",
    "def rates(context):\n    return RATES\ndef build():\n    return Flow(group='G').step(rates)",
    "kept = vars()['RATES']\nkept['EUR'] = 1.1",
)


@pytest.fixture
def here(ws: WorkspaceFiles, shell: Shell, monkeypatch: pytest.MonkeyPatch) -> WorkspaceFiles:
    """A workspace whose notebook `claims` this kernel runs."""
    monkeypatch.setenv("DATA_ENGINE_WORKSPACE_ROOT", str(ws.root))
    monkeypatch.setenv("DATA_ENGINE_NOTEBOOK", str(ws.modules / "claims.ipynb"))
    monkeypatch.setattr(type(shell.ipython), "kernel", object(), raising=False)
    return ws


def run(shell: Shell, here: WorkspaceFiles, *cells: str) -> None:
    """Save the notebook, and run its cells."""
    here.notebook("claims", *cells)
    for cell in cells:
        shell.ipython.run_cell(cell, store_history=True)


def test_what_differs_is_named_with_its_cell_and_not_deployed_until_it_is_answered(
    shell: Shell, here: WorkspaceFiles
) -> None:
    """Both values and the left-out cell that changed one; `--yes` answers; the verdict is told from then on."""
    run(shell, here, *CELLS)

    shell.run("%flow deploy")
    assert "`RATES['EUR']` is 1.1 here, 1.0 in production: cell 3 changes it and is left out" in shell.out
    assert "Nothing was deployed" in shell.out
    assert "Repeat the line with --yes" in shell.out
    assert Workspace(here.root).deployments() == []

    shell.run("%flow deploy --yes")
    assert "`RATES['EUR']`" in shell.out
    (deployed,) = Workspace(here.root).deployments()
    assert deployed.compared is not None
    assert "is 1.1 here" in deployed.compared.differences[0]

    shell.run("%flow compile")
    assert "compared: not as in the kernel of " in shell.out


def test_where_the_slice_fails_the_left_out_cells_that_it_needs_are_named(shell: Shell, here: WorkspaceFiles) -> None:
    """The whole notebook runs: what it needs is kept by the named cells, not by running all cells again."""
    cells = (
        "from data_engine import Flow\nclass Model: pass\nmodel = Model()",
        "unused = 1",
        "fitted = vars()['model']\nfitted.rate = 2",
        "RATE = model.rate",
        "def rates(context):\n    return RATE\ndef build():\n    return Flow(group='G').step(rates)",
    )
    run(shell, here, *cells)

    shell.run("%flow compile --compare")
    assert "has no attribute 'rate'" in shell.out
    assert "put `#| keep` at the top of cell 3, which production leaves out" in shell.out


def test_a_deploy_by_python_is_compared_too(shell: Shell, here: WorkspaceFiles) -> None:
    """What differs is an error, and nothing is deployed but with `force`."""
    run(shell, here, *CELLS)
    shell.run(f"from data_engine import Workspace\nws = Workspace({str(here.root)!r})")

    shell.run("ws.deploy('claims')")
    assert isinstance(shell.error, NotAsInKernelError)
    assert "`RATES['EUR']` is 1.1 here" in shell.error.what
    assert Workspace(here.root).deployments() == []

    shell.run("ws.deploy('claims', force=True)")
    assert shell.error is None
    assert [one.flow for one in Workspace(here.root).deployments()] == ["claims"]


def test_a_cell_that_makes_a_value_is_not_blamed_for_it(shell: Shell, here: WorkspaceFiles) -> None:
    """Though a line of it is left out: the cell that changed the value later is."""
    run(shell, here, f"{CELLS[0]}\nRATES.get('EUR')", *CELLS[1:])

    shell.run("%flow compile --compare")

    assert "production: cell 3 changes it and is left out" in shell.out


def test_the_panel_asks_by_what_its_kernel_holds_now(shell: Shell, here: WorkspaceFiles) -> None:
    """It compares where it is answered by the kernel, and by what JupyterLab lets the kernel execute."""
    run(shell, here, *CELLS)

    asked = answer(str(here.root), "deploy", {"name": "claims"})["result"]["question"]["text"]
    assert "is 1.1 here, 1.0 in production: cell 3" in asked

    shell.run("kept['EUR'] = 1.2")
    compare_own(str(here.root), str(here.modules / "claims.ipynb"))
    verdict = compared(Workspace(here.root).home, here.modules / "claims.ipynb")
    assert verdict is not None
    assert "is 1.2 here" in verdict.differences[0]


def test_a_plan_tells_how_the_kernel_compares(shell: Shell, here: WorkspaceFiles) -> None:
    """Before it runs anything."""
    run(shell, here, *CELLS)
    shell.run("%flow deploy --yes")

    shell.run("%flow plan")

    assert "is 1.1 here, 1.0 in production" in shell.out


def test_what_is_the_same_is_deployed_without_a_word(shell: Shell, here: WorkspaceFiles) -> None:
    """A kept cell makes both the same; an edit afterwards was not compared."""
    run(shell, here, *CELLS[:2], f"#| keep\n{CELLS[2]}")

    shell.run("%flow compile --compare")
    assert "the same in this kernel and in production" in shell.out

    shell.run("%flow deploy")
    assert "RATES" not in shell.out
    assert [one.compared and one.compared.differences for one in Workspace(here.root).deployments()] == [()]

    here.notebook("claims", *CELLS[:2], f"#| keep\n{CELLS[2]}\nkept['USD'] = 2")
    shell.run("%flow compile")
    assert "not compared with a kernel since cell 3 changed" in shell.out


def test_what_a_real_notebook_does_beside_is_no_difference(shell: Shell, here: WorkspaceFiles) -> None:
    """Previews, helpers, looks and scratch frames: the values of production are the same."""
    here.helper("shop", "import polars as pl\nRATE = 2\ndef clean(frame):\n    return frame.filter(pl.col('a') > RATE)")
    here.source("in/a.csv", "a\n1\n5\n")
    run(
        shell,
        here,
        "from dataclasses import dataclass\nimport json\nimport polars as pl\nfrom polars import read_csv\n"
        "from data_engine import Flow\nfrom flow_helpers.shop import clean",
        "COLUMNS = {'a', 'b', 'c'}\n@dataclass(frozen=True)\nclass Rule:\n    name: str\nRULES = [Rule('x')]",
        "frame = pl.DataFrame({'a': [1]})\nframe.head()",
        "def read(context):\n    found = read_csv(context.source.path)\n    print(json.dumps(found.columns), COLUMNS, RULES)\n"
        "    return clean(pl.read_csv(context.source.path).select(pl.col('a').cast(pl.Int64)))",
        "def build():\n    return Flow(group='G').watch(mode='manual', source='../in').step(read, save_as='raw')",
        "build().preview()\nbuild().preview(use='raw')",
    )
    assert shell.ipython.user_ns["frame"] is not None

    shell.run("%flow compile --compare")

    assert shell.error is None
    assert "the same in this kernel and in production" in shell.out, shell.out


def test_elsewhere_there_is_nothing_to_compare(
    shell: Shell, ws: WorkspaceFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another notebook's kernel says so; a deploy does not speak of it."""
    monkeypatch.setenv("DATA_ENGINE_WORKSPACE_ROOT", str(ws.root))
    ws.notebook("claims", *CELLS)

    shell.run("%flow compile claims")
    assert "compared" not in shell.out
    shell.run("%flow deploy claims --yes")
    assert "compared" not in shell.out

    shell.run("%flow compile claims --compare")
    assert isinstance(shell.error, FlowValidationError)
    assert "compile claims --run" in shell.out


def test_a_preview_tells_what_is_no_longer_as_it_was_compared(shell: Shell, here: WorkspaceFiles) -> None:
    """Of what it fingerprints anyway, as long as the slice is the same; nothing where nothing was compared."""
    run(shell, here, *CELLS[:2])
    shell.run("_ = build().preview()")
    assert notes() == ()

    shell.run("%flow deploy")
    shell.run("_ = build().preview()")
    assert notes() == ("same code as the deployed flow",)

    shell.run("vars()['RATES']['EUR'] = 1.2")
    shell.run("_ = build().preview()")
    assert notes() == ("`RATES` is {'EUR': 1.2} here, {'EUR': 1.0} in production",)

    here.notebook("claims", *CELLS[:2], "RATES = {}")
    shell.run("_ = build().preview()")
    assert not any("`RATES`" in note for note in notes())


def notes() -> tuple[str, ...]:
    """What the last preview's caption told beside its steps."""
    report = last_report()
    assert report is not None
    return (*report.notes, *report.standing)


def test_a_module_that_ends_its_process_is_asked_about(
    shell: Shell, here: WorkspaceFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would end production's, too; no cell is named, so none is to be kept."""
    monkeypatch.setenv("JPY_SESSION_NAME", "claims.ipynb")  # production does not have it
    cells = (
        "import os\nfrom data_engine import Flow\nRATE = 1 if 'JPY_SESSION_NAME' in os.environ else os._exit(3)",
        "def rates(context):\n    return RATE\ndef build():\n    return Flow(group='G').step(rates)",
    )
    run(shell, here, *cells)

    shell.run("%flow deploy")

    assert "could not be compared: the notebook's module ended with exit code 3 (production would, too)" in shell.out
    assert "keep" not in shell.out
    assert Workspace(here.root).deployments() == []


def test_a_step_that_opens_a_file_is_the_same(shell: Shell, here: WorkspaceFiles) -> None:
    """A kernel has an `open` of its own, which warns; production has Python's."""
    cells = (
        "from data_engine import Flow",
        "def count(context):\n    with open('a.txt') as file:\n        return len(file.read())",
        "def build():\n    return Flow(group='G').step(count)",
    )
    run(shell, here, *cells)
    assert "open" in shell.ipython.user_ns

    shell.run("%flow compile --compare")

    assert "the same in this kernel and in production" in shell.out


def test_a_cell_that_was_not_run_is_named_and_none_is_to_be_kept(shell: Shell, here: WorkspaceFiles) -> None:
    """Neither is another cell that has nothing to do with it."""
    cells = (
        "%config InlineBackend.rc = {}",
        "from data_engine import Flow\nRATES = {'EUR': 1.0}",
        "RATES['EUR'] = 1.1",
        "def rates(context):\n    return RATES\ndef build():\n    return Flow(group='G').step(rates)",
    )
    here.notebook("claims", *cells)
    for cell in (*cells[:2], cells[3]):
        shell.ipython.run_cell(cell, store_history=True)

    shell.run("%flow compile --compare")

    assert "`RATES['EUR']` is 1.0 here, 1.1 in production: cell 3 has not run" in shell.out
    assert "keep" not in shell.out

    here.notebook("claims", *cells[:2], f"missing\n{cells[2]}", cells[3])
    shell.ipython.run_cell(f"missing\n{cells[2]}", store_history=True)
    shell.run("%flow compile --compare")

    assert "cell 3 has not run to its end" in shell.out
