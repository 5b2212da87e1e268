"""The guides and the demo's notebooks are run as a reader runs them: top to bottom, in a kernel of their own."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import pytest

from data_engine import Workspace, load_flow
from data_engine.demo.content import FLOWS, lay_out
from data_engine.engine.local_workspace import forget_workspaces
from tests.support import PATIENCE

pytestmark = pytest.mark.timeout(300 * PATIENCE)
REPOSITORY = Path(__file__).parents[2]
GUIDES = sorted((REPOSITORY / "notebooks").glob("*.ipynb"))


@pytest.fixture
def run_guide(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Run a notebook in a fresh kernel of this interpreter, in a folder of its own; its cells by id."""
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, [str(REPOSITORY), os.environ.get("PYTHONPATH")])))
    monkeypatch.setenv("DATA_ENGINE_STATE_ROOT", str(tmp_path / "state"))
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    for name in ("JPY_SESSION_NAME", "DATA_ENGINE_NOTEBOOK"):
        monkeypatch.delenv(name, raising=False)

    def run(path: Path, folder: Path = tmp_path, slower: tuple[str, str] | None = None) -> dict[str, Any]:
        import nbformat
        from nbclient import NotebookClient

        text = path.read_text(encoding="utf-8")
        if slower is not None:
            assert slower[0] in text
            text = text.replace(*slower)
        notebook = nbformat.reads(text, as_version=4)
        resources = {"metadata": {"path": str(folder)}}
        NotebookClient(notebook, timeout=180 * PATIENCE, kernel_name="python3", resources=resources).execute()
        return {cell.id: cell for cell in notebook.cells if cell.cell_type == "code"}

    return run


def _printed(cell: Any) -> str:
    """What a cell shows, with the paths of any system written with `/`."""
    texts = [output.get("text") or output.get("data", {}).get("text/plain", "") for output in cell.outputs]
    shown = "".join(texts)
    return (
        shown if os.sep == "/" else shown.replace(r"\\", "/").replace("\\", "/")
    )  # twice where a text is shown as Python


def _raised(cell: Any) -> tuple[str, str]:
    error = next(output for output in cell.outputs if output.output_type == "error")
    return error.ename, error.evalue


def test_a_first_flow_shows_what_its_text_says(run_guide: Any) -> None:
    """Previews, runs and errors of the first guide give the results its text promises."""
    cells = run_guide(REPOSITORY / "notebooks" / "01_first_flow.ipynb")

    assert "shape: (3, 2)" in _printed(cells["preview-raw"])
    assert "310" in _printed(cells["preview-clean"])
    assert _printed(cells["nothing-written"]) == "False"
    assert "2024-01.csv -> clean/2024-01.parquet\n2024-02.csv -> clean/2024-02.parquet\n" in _printed(cells["run"])
    assert "shape: (4, 2)" in _printed(cells["result"])
    assert "shape: (2, 2)" in _printed(cells["show"])
    assert "2024-02.csv done\n2024-03.csv failed\n" in _printed(cells["continue"])
    errors = {name: _raised(cells[name]) for name in ("error-option", "error-name", "error-step")}
    assert [kind for kind, _ in errors.values()] == ["FlowValidationError", "FlowValidationError", "FlowExecutionError"]
    assert all("fix:" in text for kind, text in errors.values() if kind == "FlowValidationError")
    assert "saved objects: raw_df, clean_df" in errors["error-name"][1]
    assert 'step "Drop Empty"' in errors["error-step"][1]
    assert "2024-03.csv" in errors["error-step"][1]


def test_batch_and_mirror_shows_what_its_text_says(run_guide: Any) -> None:
    """Batches, item errors, parallel maps and the mirror's paths come out as the second guide promises."""
    cells = run_guide(REPOSITORY / "notebooks" / "02_batch_and_mirror.ipynb")

    assert "3 ('february.csv', 'january.csv', 'january.csv')\nnorth february True\n" in _printed(cells["collect"])
    assert "shape: (4, 3)" in _printed(cells["map"])
    kind, text = _raised(cells["error-raise"])
    assert kind == "FlowExecutionError"
    assert "item 3 of 4" in text
    assert "march.csv" in text
    assert "left out: march.csv - ComputeError" in _printed(cells["item-error"])
    assert "4 items: 3 good, 1 failed\nmarch.csv\n" in _printed(cells["frames"])
    assert _printed(cells["parallel"]).count("(0, 1, 4, 9, 16, 25, 36, 49)") == 2
    assert "out/north/january/notes.json" in _printed(cells["mirror"])
    assert "does not name a file inside its folder" in _raised(cells["error-escape"])[1]
    text = _raised(cells["error-collision"])[1]
    assert "january.csv" in text
    assert "january.txt" in text
    assert "region,pieces\nnorth,17\nsouth,9\n" in _printed(cells["batch"])
    assert "'totals/north/february.total'" in _printed(cells["staged-run"])
    assert "march" not in _printed(cells["staged-run"])


def test_preview_and_compile_shows_what_its_text_says(run_guide: Any) -> None:
    """What is taken, errors by cell, what a second preview runs, and what is deployed."""
    cells = run_guide(REPOSITORY / "notebooks" / "03_preview_and_compile.ipynb")

    assert "describe" not in _printed(cells["compile"])
    assert "COLUMNS.append('day')" in _printed(cells["compile"])
    cases = _printed(cells["cases"])
    assert "error: `X` is unknown" in cases
    assert "warning: pl.read_csv() reads data when the module is loaded" in cases
    assert "left   %matplotlib inline" in cases
    missed = _printed(cells["missed"])
    assert "`rng.random(...)` draws from `rng` and is left out (cell 2)" in missed
    assert "`model.fit(...)` may change `model`, which build() needs, and is left out" in missed
    assert "cell 2: taken  `configure` changes what build() needs" in missed
    assert "failing.ipynb, cell 2, line 3" in _raised(cells["error"])[1]
    assert "failed - " in _printed(cells["history"])
    captions = {name: _printed(cells[name]) for name in cells if name.startswith("preview-")}
    assert "raw_df, scaled_df ran: first preview" in captions["preview-flow"]
    assert "raw_df, scaled_df reused" in captions["preview-again"]
    assert "raw_df reused" in captions["preview-constant"]
    assert "scaled_df ran: constant RATE changed" in captions["preview-constant"]
    assert "raw_df, scaled_df reused" in captions["preview-comment"]
    assert "drawn_df ran: depends on something that cannot be tracked" in captions["preview-clock"]
    assert "raw_df, scaled_df ran: fresh=True" in captions["preview-fresh"]
    before, deployed, edited, broken, *_ = _printed(cells["deploy"]).splitlines()
    assert (before, deployed, edited[:20]) == ("not deployed", "as deployed", "edited, not deployed")
    back, *_, after = _printed(cells["rollback"]).splitlines()
    assert back == "rollback amounts were right [] live"
    assert after.startswith("rolled back to ")
    assert after.endswith("; the notebook differs: cells 3, 4")
    assert "cell 4 does not parse" in broken
    assert "production has: 300 rows" in _printed(cells["scratch-run"])
    assert "production still has: 300 rows" in _printed(cells["scratch-run"])
    assert "wrote total.txt (scratch)" in _printed(cells["scratch-run"])


def test_schedules_and_polling_shows_what_its_text_says(run_guide: Any) -> None:
    """A daemon runs dropped files, holds a failed one, knows the next slot, and ends when told."""
    cells = run_guide(REPOSITORY / "notebooks" / "04_schedules_and_polling.ipynb")

    assert _printed(cells["start"]) == "amounts monday.csv success\n['total of monday.csv']\n"
    assert _printed(cells["drop"]) == "monday.csv success\ntuesday.csv success\nwednesday.csv failed\n"
    explained = _printed(cells["explain"])
    assert "tuesday.csv - already done\nwednesday.csv - held\n" in explained
    assert "~$monday.csv - name filtered" in explained
    assert _printed(cells["fix"]) == "wednesday.csv success\n"
    assert "amounts polling None\n" in _printed(cells["status"])
    assert "nightly scheduled next run known\n" in _printed(cells["status"])
    by_hand = r"nightly success\ndisabled by \S+ on \S+ \S+: stock-taking\nthursday.csv\n"
    assert re.fullmatch(by_hand, _printed(cells["hand"]))
    assert _printed(cells["stop"]) == "5 runs are in the history\n"


def test_sharing_a_workspace_shows_what_its_text_says(run_guide: Any) -> None:
    """One owner, a hand-over by consent, a takeover after a death; nothing is run again and nothing is lost."""
    # A command comes too early for a takeover only where it takes less than the threshold.
    threshold = ('stale_after = \\"3s\\"', f'stale_after = \\"{3 * PATIENCE}s\\"')
    cells = run_guide(REPOSITORY / "notebooks" / "05_sharing_a_workspace.ipynb", slower=threshold)

    assert "anna: owned by this workstation\n" in _printed(cells["own"])
    assert "owned by anna - exit code 3\n" in _printed(cells["own"])
    assert "[('monday.csv', 'success')]\nanna owns the workspace, and its engine is on\n" in _printed(cells["observe"])
    assert "anna: owned by this workstation, control requested by ben\n" in _printed(cells["hand-over"])
    assert "ben:  owned by this workstation\n" in _printed(cells["hand-over"])
    both = "[('monday.csv', 'success'), ('tuesday.csv', 'success')]"
    assert both in _printed(cells["no-rerun"])
    assert "takeover available\nowned by this workstation\n" in _printed(cells["death"])
    assert f"{both} engine on: True" in _printed(cells["death"])
    assert "shape: (2, 2)" in _printed(cells["files"])


def test_the_control_panel_shows_what_its_text_says(run_guide: Any) -> None:
    """Magic, panel, runs, errors by cell, retry, parameters, stop and deployment come out as the sixth guide promises."""
    cells = run_guide(REPOSITORY / "notebooks" / "06_control_panel.ipynb")

    assert "Previews keep 0 bytes" in _printed(cells["magic"])
    assert "step 1    Read      read                   saves claims_df" in _printed(cells["magic"])
    assert "daily_claims" in _printed(cells["status"])
    live = cells["panel"].outputs[0]["data"]
    assert live["application/vnd.data-engine.panel+json"]["view"]["flows"]["daily_claims"]["mark"]["word"] == "failing"
    assert "application/vnd.jupyter.widget-view+json" in live
    assert "Run this cell again to go live." in live["text/html"]
    assert "3 runs  2 failed, 1 success" in _printed(cells["runs"])
    assert "<svg" in cells["runs"].outputs[0]["data"]["text/html"]
    assert "monday.csv     already done" in _printed(cells["explain"])
    errors = _printed(cells["error"])
    assert "daily_claims.ipynb, cell 3, line 3" in errors
    assert "wednesday.csv - " in errors
    assert _printed(cells["fix"]) == "[('tuesday.csv', 'success'), ('wednesday.csv', 'failed')]\n"
    assert _printed(cells["params"]) == "success ['month 1', 'month 2']\nstopped\n"
    assert "edited, not deployed: cell 2\n" in _printed(cells["deploy"])
    assert any(output.get("text", "").startswith("as deployed\n") for output in cells["deploy"].outputs)
    assert _printed(cells["deploy"]).endswith("rollback\n")
    assert "engine  on" in _printed(cells["saved"])
    assert "The daemon ends" in _printed(cells["end"])


def test_warehouse_helpers_shows_what_its_text_says(run_guide: Any) -> None:
    """A star schema of 14 files: nothing twice, keys for ever, what exists is named, and what would be lost is refused."""
    cells = run_guide(REPOSITORY / "notebooks" / "07_warehouse_helpers.ipynb")

    assert _printed(cells["file"]) == "(842, 842)"
    assert "'route_key']" in _printed(cells["dimension"])
    assert _printed(cells["again"]) == "10 new routes; the others kept their keys: True\n"
    assert "shape: (842, 6)" in _printed(cells["flow"])
    stored = "14 files, 12208 flights\ndim_date 14 rows, 14 keys\ndim_route 186 rows, 186 keys\ndim_plane 2632 rows, 2632 keys\n"
    assert stored in _printed(cells["run"])
    assert "│ false   ┆ 3053    ┆" in _printed(cells["ask"])
    assert "│ HA      ┆ 213       ┆ JFK    ┆ HNL  │" in _printed(cells["back"])
    kind, text = _raised(cells["error"])
    assert kind == "FlowValidationError"
    assert 'there is no table "flight"' in text
    assert '"dim_carrier", "dim_date", "dim_plane", "dim_route", "flights"' in text
    assert "│ UA      ┆ 2.5  ┆ new  │" in _printed(cells["widen"])
    kind, text = _raised(cells["refused"])
    assert kind == "FlowValidationError"
    assert "'2,5', that it cannot hold" in text
    assert "│ 7   ┆ 630            ┆ EWR    ┆ CLT  ┆ 2     ┆ CLT  │" in _printed(cells["visits"])
    assert _printed(cells["upkeep"]) == "True\nroutes.parquet\n"


def test_the_demos_notebooks_run_in_a_kernel_after_their_flows_ran(
    run_guide: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Opened in JupyterLab, every cell of the demo's notebooks works, with the paths, config and database of production."""
    monkeypatch.setenv("DATA_ENGINE_STATE_ROOT", str(tmp_path / "state"))
    root = Workspace.create(tmp_path / "data-engine-demo").root
    lay_out(root)
    cells = {}
    for name in FLOWS:
        load_flow(name, data_root=root).run_once()
        notebook = root / "flow_modules" / f"{name}.ipynb"
        monkeypatch.setenv("DATA_ENGINE_NOTEBOOK", str(notebook))
        cells[name] = run_guide(notebook, notebook.parent)
    forget_workspaces()

    assert "shape: (842, 19)" in _printed(cells["daily_flights"]["preview-raw"])
    assert "shape: (720, 14)" in _printed(cells["daily_flights"]["preview-weekend"])
    assert "2013-01-14.parquet" in _printed(cells["carrier_summary"]["preview-files"])
    assert "shape: (3, 6)" in _printed(cells["delay_report"]["preview-airports"])


@pytest.mark.parametrize(
    "path",
    [*GUIDES, *sorted((REPOSITORY / "data_engine" / "demo" / "flow_modules").glob("*.ipynb"))],
    ids=lambda path: path.name,
)
def test_shipped_notebooks_are_valid_and_hold_no_results(path: Path) -> None:
    """A shipped notebook is valid, names a kernel, and holds neither outputs nor counts, so that diffs show only text."""
    import nbformat

    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)

    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert (notebook.nbformat, notebook.nbformat_minor) == (4, 5)
    assert notebook.metadata.kernelspec.name == "python3"
    assert [cell.id for cell in code if cell.outputs or cell.execution_count is not None] == []


def test_scale_shows_what_its_text_says(run_guide: Any) -> None:
    """The same results in threads, processes and on a cluster of this machine, and the same errors."""
    cells = run_guide(REPOSITORY / "notebooks" / "09_scale.ipynb")

    totals = str([3 * number for number in range(12)])
    assert _printed(cells["threads"]).startswith(f"({totals}, 1, True)totals is not deployed: ")
    assert _printed(cells["processes"]).endswith(f"({totals}, 2, False)")  # after its bar, where processes begin slowly
    assert "connection (a Connection) cannot travel to another process" in _printed(cells["travel"])
    assert "(0, 1, 3)\n2: ProcessDiedError: its process died: exit code 3" in _printed(cells["death"])
    assert f"({totals}, 2, False)" in _printed(cells["dask"])
    assert "success\nruns on tls://127.0.0.1:" in _printed(cells["runs"])


def test_plans_and_goldens_show_what_the_text_says(run_guide: Any) -> None:
    """An edit that loses rows is seen before it is deployed, and a golden stops it."""
    cells = run_guide(REPOSITORY / "notebooks" / "08_plan_and_goldens.ipynb")

    plan = _printed(cells["plan"])
    assert "flights_df: 39 rows removed, in 1 of 3 (2013-01-01.csv)\n" in plan
    assert "39 rows in .samples" not in plan
    assert "cell 4 | 39 rows removed, 0 changed\nequal\n" in _printed(cells["facts"])
    assert "39 rows removed\nremoved ['flight_date', 'carrier', 'flight', 'origin']\n" in _printed(cells["against"])
    assert "flights_df of 2013-01-01.csv, 842 rows\n" in _printed(cells["golden"])
    assert "['holds']" in _printed(cells["golden"])
    assert _printed(cells["test"]) == "differs | 39 rows removed\n"
    assert "daily_flights is not deployed: 1 of its goldens does not hold" in _printed(cells["gate"])
    assert "['updated']\nNone | only flights with weather\n" in _printed(cells["update"])
    assert "1 row changed (fare 1), columns in another order, rows in another order\n" in _printed(cells["compare"])


@pytest.mark.timeout(300)
def test_parameters_and_again_shows_what_its_text_says(run_guide: Any) -> None:
    """One grammar, errors that name the field, hidden secrets, what runs are recorded with, and what differs."""
    cells = run_guide(REPOSITORY / "notebooks" / "10_parameters_and_again.ipynb")

    assert "8 4" in _printed(cells["declare"])
    errors = {name: _raised(cells[name])[1] for name in ("error-value", "error-name")}
    assert "parameter month: it cannot be 'February'" in errors["error-value"]
    assert "did you mean month?" in errors["error-name"]
    assert "{'month': '2013-02'}" in _printed(cells["form"])
    assert "connecting with ***" in _printed(cells["secret"])
    assert "postgresql://ann:***@dwh refused it" in _printed(cells["secret"])
    assert "hand None [('Read', None, 3), ('Choose', 3, 2), ('Total', 2, None)]" in _printed(cells["again"])
    assert "hand {'month': '2013-02-01', 'least': 1}" in _printed(cells["again"])
    assert "['sales.csv'] True" in _printed(cells["again"])
    assert "2 runs planned ['march_1.csv', 'march_2.csv'] {'all': 2, 'missing': 2, 'failed': 0}" in _printed(
        cells["march"]
    )
    month = {"month": "2013-03-01"}
    ran = [(f"march_{day}.csv", "success", month) for day in (1, 2)]
    assert f"2 of 2, done {ran}" in _printed(cells["begin"])
    nights = ("2026-03-28 02:30:00+01:00", "2026-03-29 03:00:00+02:00", "2026-03-30 02:30:00+02:00")
    assert "".join(f"['for {night}']\n" for night in nights) in _printed(cells["slots"])
    told = _printed(cells["compare"])
    assert (
        told.index("code: cell 5") < told.index("params: month: - → 2013-02-01") < told.index("rows: Choose out: 2 → 1")
    )


def test_told_in_time_shows_what_its_text_says(run_guide: Any) -> None:
    """A failure, its end, a flow that is late and a server that is away are told, each once."""
    cells = run_guide(REPOSITORY / "notebooks" / "11_told_in_time.ipynb")

    assert _printed(cells["test"]) == "team: sent  0 - Test message\n"
    failed = _printed(cells["fail"])
    assert failed.startswith("claims failed in ")
    for fact in ("Flow: claims", "monday.csv", "claims.ipynb, cell 3, line 2", "amount", "data-engine retry claims"):
        assert fact in failed
    assert _printed(cells["once"]) == "0 more\nclaims has recovered\n"
    assert "report is late\n" in _printed(cells["expect"])
    assert "What to do: see why: data-engine explain report" in _printed(cells["expect"])
    assert "team failed waiting - True\n" in _printed(cells["down"])
    assert "['claims failed in Total']\n" in _printed(cells["down"])
    assert _printed(cells["end"]) == "ended\n"


@pytest.mark.timeout(300)
def test_checks_show_what_the_text_says(run_guide: Any) -> None:
    """Errors that name rows and the line of the check, rows that are kept apart until they are right, and a plan of another rule."""
    cells = run_guide(REPOSITORY / "notebooks" / "12_checks.ipynb")

    kind, text = _raised(cells["error-fail"])
    assert kind == "FlowExecutionError"
    assert "positive is not true of 2 of 5 rows, 1 of them unknown: row 1 (amount=-3), row 3 (amount=null)" in text
    assert "In [2], line 2: claims.check(RULES)" in text
    assert "shape: (3, 4)" in _printed(cells["preview"])
    assert "Check: 3 of 5 rows rejected (positive 2, unique_id 2)" in _printed(cells["preview"])
    assert "3 of 5 rows (60.00%), more than at_most=0.1" in _raised(cells["error-at-most"])[1]
    assert "may.csv 3 {'positive': 2, 'unique_id': 2}\n" in _printed(cells["module"])
    assert "shape: (3, 6)" in _printed(cells["rows"])
    assert "[('positive', 5, 1, 1), ('unique_id', 5, 2, 0)]\n" in _printed(cells["told"])
    assert "rejected.xlsx" in _printed(cells["told"])
    assert "[('claims', 3)]\n" in _printed(cells["told"])
    assert "[] 5\n" in _printed(cells["corrected"])
    assert "2 rows added, in 2 of 2 (may.csv, june.csv)\n" in _printed(cells["plan"])


def test_lineage_shows_what_its_text_says(run_guide: Any) -> None:
    """What flows declare, then what runs have read and written, with the cell that did; each picture is drawn."""
    cells = run_guide(REPOSITORY / "notebooks" / "13_lineage.ipynb")

    assert "daily_flights reads data/flights/: no run has yet" in _printed(cells["declared"])
    for name in ("declared", "map", "who", "hit"):
        assert 'class="de-lineage"' in cells[name].outputs[-1]["data"]["text/html"]
    assert "carrier_summary" in cells["map"].outputs[-1]["data"]["text/html"]
    who = (
        "daily_flights writes output/daily_flights/ in cell 5\ncarrier_summary reads output/daily_flights/ in cell 2\n"
    )
    assert who in _printed(cells["who"])
    assert "'output/delay_report/'" in _printed(cells["hit"])
    assert _printed(cells["facts"]) == "daily_flights cell 4 True\n"
