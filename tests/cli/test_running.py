"""`run --once`: every source is tried, every run has its line and its record, and the exit code tells."""

from __future__ import annotations

from pathlib import Path

import pytest

from data_engine import FlowValidationError, Workspace
from tests.cli.conftest import Cli
from tests.support import WorkspaceFiles

READ = """
    from data_engine import Flow

    def read(context):
        text = context.source.path.read_text()
        if text == "bad":
            raise KeyError("amount")
        return text

    def build():
        return Flow(group="G").watch(mode="manual", source="../in", extensions=".txt").step(read, save_as="text")
"""

COLLECTS = """
    from data_engine import Flow

    def read(files):
        return [file.path.read_text() for file in files]

    def build():
        return Flow(group="G").watch(mode="manual", source="../in"{batch}).collect(".txt").step(lambda context: read(context.current))
"""

LOOK = """
    import os
    from data_engine import Flow

    LOADED_IN = os.getcwd()

    def look(context):
        context.log(f"loaded in {LOADED_IN}, runs in {os.getcwd()} with {dict(context.params)}")

    def build():
        return Flow(group="G").step(look)
"""


@pytest.fixture(autouse=True)
def inside(ws: WorkspaceFiles, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ws.root)


def filled(ws: WorkspaceFiles, *texts: str) -> None:
    for number, text in enumerate(texts):
        ws.source(f"in/{number}.txt", text)
    ws.notebook("claims", READ)


def test_every_source_has_its_line_and_its_record(cli: Cli, ws: WorkspaceFiles) -> None:
    filled(ws, "a", "b")

    answer = cli("run", "--once", "claims")

    assert answer.code == 0
    lines = answer.out.splitlines()
    assert [line.split()[:3] for line in lines[:2]] == [["success", "claims", "0.txt"], ["success", "claims", "1.txt"]]
    assert lines[2].startswith("2 runs: 2 success, 0 failed")
    assert [run.status for run in Workspace(ws.root).runs()] == ["success", "success"]


def test_a_failure_is_placed_in_its_cell_and_the_others_run(cli: Cli, ws: WorkspaceFiles) -> None:
    """The error stands under its run's line, with cell and line; the exit code is 1."""
    filled(ws, "a", "bad", "c")

    answer = cli("run", "--once", "claims")

    assert answer.code == 1
    assert [line.split()[0] for line in answer.out.splitlines() if "claims  " in line] == [
        "success",
        "failed",
        "success",
    ]
    assert "KeyError: 'amount'" in answer.out
    assert 'claims.ipynb, cell 1, line 6: raise KeyError("amount")' in answer.out
    assert "3 runs: 2 success, 1 failed" in answer.out


def test_on_error_raise_leaves_the_rest(cli: Cli, ws: WorkspaceFiles) -> None:
    """The failure is told once."""
    filled(ws, "a", "bad", "c")

    answer = cli("run", "--once", "claims", "--on-error", "raise")

    assert answer.code == 1
    assert answer.out.count("KeyError: 'amount'") == 1
    assert answer.err == "warning: claims is not deployed: it runs here as it is now, and nothing runs it by itself\n"
    assert "2 runs: 1 success, 1 failed" in answer.out


def test_without_a_name_every_flow_runs_whatever_the_others_do(cli: Cli, ws: WorkspaceFiles) -> None:
    """A module that does not import and a flow that fails are told; the rest runs; the exit code is 1."""
    filled(ws, "bad")
    ws.module("broken", "def build(:")
    ws.notebook("look", LOOK)

    answer = cli("run", "--once", "--yes")

    assert answer.code == 1
    assert [line.split()[:2] for line in answer.out.splitlines() if line[0] != " "][:3] == [
        ["broken", "broken"],
        ["failed", "claims"],
        ["success", "look"],
    ]
    assert "2 runs: 1 success, 1 failed, 1 flow could not run" in answer.out


def test_a_broken_module_alone_fails(cli: Cli, ws: WorkspaceFiles) -> None:
    """The request was right, the flow was not: 1, with the line."""
    ws.module("broken", "import json\n1 / 0\ndef build(): ...")

    answer = cli("run", "--once", "broken")

    assert answer.code == 1
    assert "ZeroDivisionError" in answer.err
    assert "broken.py, line 2" in answer.err


def test_a_module_that_gives_no_flow_fails(cli: Cli, ws: WorkspaceFiles) -> None:
    """Nothing raised in it, but it is not what a flow module must be; the request was right all the same."""
    ws.module("eager", "def build(day): ...")

    answer = cli("run", "--once", "eager")

    assert answer.code == 1
    assert "must not accept any parameters" in answer.err


@pytest.mark.parametrize(
    "command",
    [
        "run --once loop",
        "run --once",
        "preview loop",
        "compile --check",
        "deploy loop",
        "show loop",
    ],
)
def test_a_mirror_into_its_own_source_is_refused_on_every_way(cli: Cli, ws: WorkspaceFiles, command: str) -> None:
    own = ws.source("in/a.txt", "as it came")
    ws.module(
        "loop",
        """
        from data_engine import Flow

        def write(context):
            context.mirror.file("a.txt").write_text("overwritten")

        def build():
            return Flow(group="G").watch(mode="poll", source="../in", interval="1s").mirror(root="../in").step(write)
        """,
    )

    answer = cli(*command.split())

    assert answer.code == 1
    assert "is the source folder itself" in answer.out + answer.err
    assert own.read_text() == "as it came"


def test_an_empty_source_folder_is_told(cli: Cli, ws: WorkspaceFiles) -> None:
    filled(ws)
    (ws.root / "in").mkdir()

    answer = cli("run", "--once", "claims")

    assert answer.code == 0
    assert f"no files to run for in {ws.root / 'in'}" in answer.out


def test_modules_load_and_run_in_the_authored_folder(cli: Cli, ws: WorkspaceFiles) -> None:
    """As in JupyterLab; and the shell's own folder is as it was."""
    ws.notebook("look", LOOK)

    cli("run", "--once", "look", "--param", "minutes=15", "--param", "day=2013-01-05", "--params", '{"all": true}')

    (entry,) = Workspace(ws.root).log(Workspace(ws.root).runs()[0].run_id)
    modules = ws.root / "flow_modules"
    params = {"minutes": 15, "day": "2013-01-05", "all": True}
    assert entry.message == f"loaded in {modules}, runs in {modules} with {params}"
    assert Path.cwd() == ws.root


@pytest.mark.parametrize("source", ["in/1.txt", "1.txt", "./in/../in/1.txt"])
def test_a_source_is_named_as_the_shell_or_its_folder_sees_it(cli: Cli, ws: WorkspaceFiles, source: str) -> None:
    filled(ws, "a", "b")

    answer = cli("run", "--once", "claims", "--source", source)

    assert answer.code == 0
    assert [run.source for run in Workspace(ws.root).runs()] == [str(ws.root / "in" / "1.txt")]


def test_a_file_of_another_extension_is_refused_before_anything_runs(cli: Cli, ws: WorkspaceFiles) -> None:
    """As the engine would pass it over; the fix takes it in."""
    filled(ws, "a")
    ws.source("in/1.csv")

    answer = cli("run", "--once", "claims", "--source", "1.csv")

    assert answer.code == 2
    assert "claims does not run for 1.csv: it takes .txt" in answer.err
    assert "add the extension to watch(extensions=...)" in answer.err
    assert Workspace(ws.root).runs() == []
    assert cli("run", "--once", "claims", "--source", "0.txt").code == 0


def test_one_file_of_a_batch_is_refused_before_anything_runs(cli: Cli, ws: WorkspaceFiles) -> None:
    """It would be a run of all of them, that counts for one; the fix runs it, and `explain` names it so."""
    filled(ws, "a", "b")
    ws.notebook("totals", COLLECTS.replace("{batch}", ', run_as="batch"'))

    answer = cli("run", "--once", "totals", "--source", "1.txt")

    assert answer.code == 2
    assert "totals runs for all files of its source at once" in answer.err
    assert "it cannot run for 1.txt alone" in answer.err
    assert "`data-engine run totals` runs it for all of them" in answer.err
    assert Workspace(ws.root).runs() == []
    with pytest.raises(FlowValidationError, match="all files of its source at once"):
        Workspace(ws.root).load_flow("totals").run_once(source="1.txt")
    assert cli("run", "--once", "totals").code == 0


def test_a_run_for_one_file_that_reads_others_says_so(cli: Cli, ws: WorkspaceFiles) -> None:
    """As one does that collects them; not a run for all, where each file has its own line."""
    filled(ws, "a", "b", "c")
    ws.notebook("totals", COLLECTS.replace("{batch}", ""))

    answer = cli("run", "--once", "totals", "--source", "1.txt")

    assert "it read 2 other files of that folder, too: 0.txt, 2.txt" in answer.out
    assert "it read" not in cli("run", "--once", "totals").out
    assert "it read" not in cli("run", "--once", "claims", "--source", "1.txt").out


def test_json_gives_the_runs_and_what_could_not_run(cli: Cli, ws: WorkspaceFiles) -> None:
    """Runs as `runs --json` shows them, in the order they ran; the error of a module has its three parts."""
    filled(ws, "a", "bad")
    ws.module("broken", "def build(:")

    answer = cli("run", "--once", "--yes", "--json")

    assert answer.code == 1
    assert answer.json["runs"] == list(reversed(cli("runs", "--json").json))
    assert [run["status"] for run in answer.json["runs"]] == ["success", "failed"]
    assert [(item["flow"], set(item["error"])) for item in answer.json["broken"]] == [
        ("broken", {"what", "where", "fix"})
    ]


def test_a_typed_parameter_is_taken_as_typed(cli: Cli, ws: WorkspaceFiles) -> None:
    """`--set code=1e3` is the text 1e3 where a text is declared; a wrong value is exit 2, and no run."""
    ws.notebook(
        "typed",
        "from dataclasses import dataclass\nfrom data_engine import Flow",
        "@dataclass\nclass Settings:\n    code: str = ''\n    days: int = 1",
        "def look(context):\n    print(context.params)",
        "def build():\n    return Flow(group='G').params(Settings).step(look)",
    )

    assert "code='1e3', days=2" in cli("run", "--once", "typed", "--set", "code=1e3", "--set", "days=2").out
    assert "code='007'" in cli("preview", "typed", "--set", "code=007").out
    for command in (("run", "--once", "--yes"), ("preview",)):
        answer = cli(*command, "typed", "--set", "days=few")
        assert answer.code == 2
        assert "parameter days: it cannot be 'few'" in answer.err
    assert len(Workspace(ws.root).runs()) == 1


WRITES = """
    from data_engine import Flow

    def write(context):
        target = context.mirror.with_suffix(".txt")
        target.write_text(context.source.path.read_text() + "{name}")
        return target

    def build():
        return Flow(group="G").watch(mode="manual", source="../{source}").mirror(root="../{mirror}").step(write)
"""


def test_all_flows_run_each_after_those_whose_outputs_it_reads(cli: Cli, ws: WorkspaceFiles) -> None:
    """Whatever their names are; a broken one is told, and the others run."""
    ws.source("in/1.txt", "")
    ws.notebook("a_last", WRITES.format(name="c", source="data/second", mirror="data/third"))
    ws.notebook("b_second", WRITES.format(name="b", source="data/first", mirror="data/second"))
    ws.notebook("c_first", WRITES.format(name="a", source="in", mirror="data/first"))
    ws.notebook("d_broken", "def build(): return rate")

    answer = cli("run", "--once", "--yes")

    assert (ws.root / "data/third/1.txt").read_text() == "abc"
    assert [line.split()[1] for line in answer.out.splitlines() if line.startswith("success")] == [
        "c_first",
        "b_second",
        "a_last",
    ]
    assert answer.code == 1
