"""`list`, `show` and `compile`: the flows as they are, broken ones with their reason."""

from __future__ import annotations

import re
from unittest.mock import ANY

import pytest

from data_engine import Workspace
from data_engine.formatting import zoned_text
from jupyter_extension.display import bundle
from tests.cli.conftest import Cli
from tests.support import WorkspaceFiles

CLAIMS = [
    "import polars as pl\nfrom data_engine import Flow\nDESCRIPTION = 'All [red]claims[/red]'",
    "def read(context):\n    return 1",
    "read(None)\n1 + 1",
    """
    def build():
        return (
            Flow(group="Claims").watch(mode="poll", source="../in", interval="30s").mirror(root="../out")
            .step(read, save_as="raw").step(read, use="raw")
        )
    """,
]


@pytest.fixture(autouse=True)
def inside(ws: WorkspaceFiles, monkeypatch: pytest.MonkeyPatch) -> None:
    ws.notebook("claims", *CLAIMS)
    monkeypatch.chdir(ws.root)


def test_list_shows_every_flow_and_reports_broken_ones(cli: Cli, ws: WorkspaceFiles) -> None:
    """A broken module is listed, its error is told, and the command itself did what it was asked: 0."""
    ws.module("broken", "def build(:")

    answer = cli("list")

    assert answer.code == 0
    rows = [line.split() for line in answer.out.splitlines()]
    assert ["broken", "Broken", "broken", "not", "deployed"] in rows
    assert [
        "claims",
        "Claims",
        "Claims",
        "poll",
        "every",
        "30",
        "s",
        "when",
        "files",
        "change",
        "in",
        "not",
        "deployed",
    ] in rows
    assert "error: broken.py is broken: " in answer.out
    assert "broken.py, line 1" not in answer.out
    assert "broken.py, line 1" in str(cli("show", "broken").err)


def test_an_unknown_option_is_shown_once_in_its_line_and_with_the_right_one_alone(cli: Cli, ws: WorkspaceFiles) -> None:
    """The line of the source says which call it is, and the nearest option needs no list of the others."""
    ws.module(
        "broken",
        'from data_engine import Flow\n\n\ndef build():\n    return Flow("x").watch(mode="poll", sorce="in")\n',
    )

    lines = str(cli("show", "broken").err).splitlines()

    assert lines[1:] == [
        '  where: broken.py, line 5: return Flow("x").watch(mode="poll", sorce="in")',
        "  fix:   did you mean source=?",
    ]


def test_warnings_are_said_by_show_and_compile_and_not_in_each_list(cli: Cli, ws: WorkspaceFiles) -> None:
    """Neither those of the code nor a source folder that is not there."""
    steps = '.watch(mode="poll", source="../away", interval="1s").step(len, save_as="size").step(str, save_as="size")'
    ws.module("pasted", f"from data_engine import Flow\ndef build():\n    return Flow(group='G'){steps}")
    warned = "'size' is saved by 2 steps (step 1 'Len', step 2 'Str')"

    listed, shown = cli("list"), cli("show", "pasted").out

    assert "warning" not in listed.out + listed.err
    assert warned in shown
    assert "away does not exist" in shown
    assert warned in cli("compile").out


def test_list_of_an_empty_workspace_says_so(cli: Cli, ws: WorkspaceFiles) -> None:
    (ws.modules / "claims.ipynb").unlink()

    assert "no flows" in cli("list").out
    assert cli("list", "--json").json == []


def test_list_json_has_the_keys_of_status_and_the_error(cli: Cli, ws: WorkspaceFiles) -> None:
    ws.module("broken", "def build(:")

    broken, claims = cli("list", "--json").json

    assert {key: claims[key] for key in ("name", "group", "title", "mode", "error")} == {
        "name": "claims",
        "group": "Claims",
        "title": "Claims",
        "mode": "poll",
        "error": None,
    }
    assert (broken["name"], set(broken["error"])) == ("broken", {"what", "where", "fix"})


def test_show_tells_everything_about_a_flow(cli: Cli, ws: WorkspaceFiles) -> None:
    """Texts are the author's, brackets and all; the last run is told after one."""
    ws.source("in/a.csv")

    before = cli("show", "claims")
    cli("run", "--once", "claims")
    after = cli("show", "claims")

    assert before.code == 0
    assert "All [red]claims[/red]" in before.out
    assert "last run    never on this machine" in before.out
    assert "last run    success" in after.out
    assert [line.split() for line in before.out.splitlines()[-2:]] == [["Read", "read", "raw"], ["Read", "read", "raw"]]


def test_show_json_has_steps_and_last_run(cli: Cli) -> None:
    shown = cli("show", "claims", "--json").json

    assert shown["steps"] == [
        {"label": "Read", "function": "read", "use": None, "save_as": "raw"},
        {"label": "Read", "function": "read", "use": "raw", "save_as": None},
    ]
    assert shown["last_run"] is None


def test_show_of_a_broken_module_fails_with_its_reason(cli: Cli, ws: WorkspaceFiles) -> None:
    ws.module("broken", "def build(:")

    answer = cli("show", "broken")

    assert answer.code == 1
    assert "broken.py, line 1" in answer.err


def test_compile_says_of_each_statement_whether_and_why(cli: Cli) -> None:
    """Nothing is executed: `read(None)` in a cell and the build are only read."""
    answer = cli("compile", "claims", "--all")

    assert answer.code == 0
    rows = [line.split() for line in answer.out.splitlines()]
    assert any({"taken", "def", "read(context):"} <= set(row) for row in rows)
    assert any({"left", "1", "+"} <= set(row) for row in rows)


def test_compile_json_has_source_warnings_and_cells(cli: Cli) -> None:
    compiled = cli("compile", "claims", "--json").json

    assert set(compiled) == {
        "name",
        "path",
        "source",
        "warnings",
        "cells",
        "deployment",
        "deployment_status",
        "diff",
        "compared",
    }
    assert "def read(context):" in compiled["source"]
    assert "1 + 1" not in compiled["source"]
    assert [
        (cell["number"], [statement["taken"] for statement in cell["statements"]]) for cell in compiled["cells"]
    ] == [
        (1, [True, True, True]),
        (2, [True]),
        (3, [False, False]),
        (4, [True]),
    ]


def test_compile_of_a_python_module_says_that_it_runs_whole(cli: Cli, ws: WorkspaceFiles) -> None:
    ws.module("plain", "from data_engine import Flow\ndef build():\n    return Flow(group='G')")

    assert "the whole of it" in cli("compile", "plain").out
    assert "def build()" in cli("compile", "plain", "--json").json["source"]
    ws.module("plain", "def build(:\n")
    wrong = cli("compile", "plain")
    assert wrong.code == 1
    assert "SyntaxError" in wrong.err
    assert "plain.py, line 1" in wrong.err


def test_compile_fails_on_what_production_cannot_have(cli: Cli, ws: WorkspaceFiles) -> None:
    ws.notebook("forgot", "def build():\n    return rate")

    answer = cli("compile", "forgot")

    assert answer.code == 1
    assert "`rate`" in answer.err
    assert "fix:" in answer.err


@pytest.mark.parametrize("options", [[], ["--check"], ["--json"], ["--check", "--json"]])
def test_compile_without_a_name_fails_when_any_module_is_broken(
    cli: Cli, ws: WorkspaceFiles, options: list[str]
) -> None:
    """Good alone: 0. A module that compiles and does not build counts as broken."""
    assert cli("compile", *options).code == 0
    ws.notebook("raises", "def build():\n    raise KeyError('x')")

    answer = cli("compile", *options)

    assert answer.code == 1
    assert "raises" in answer.out + answer.err


def test_check_says_only_what_is_wrong(cli: Cli, ws: WorkspaceFiles) -> None:
    ws.notebook("raises", "def build():\n    raise KeyError('x')")

    assert "good    claims.ipynb" in cli("compile").out
    checked = cli("compile", "--check")
    assert checked.out.startswith("2 modules, 1 broken, 0 with warnings, 0 edited\n")
    assert "claims" not in checked.out
    assert "raises.ipynb, cell 1, line 2" in checked.out
    assert cli("compile", "--check", "claims").code == 0
    assert cli("compile", "--check", "raises").code == 1


def test_check_prints_warnings_and_passes(cli: Cli, ws: WorkspaceFiles) -> None:
    """A warning is no error: 0, with the text."""
    read = "import duckdb\ncon = duckdb.connect()"
    ws.notebook(
        "reads", "from data_engine import Flow", read, "def build():\n    return Flow(group='R').step(lambda c: con)"
    )

    for name in ((), ("reads",)):
        checked = cli("compile", "--check", *name)
        assert checked.code == 0
        assert "good    reads.ipynb" in checked.out
        assert "warning: reads.ipynb, cell 2, line 2: duckdb.connect()" in checked.out


def test_deploy_and_what_compile_says_of_it(cli: Cli, ws: WorkspaceFiles) -> None:
    """A deployed module that is not current fails the check; a broken one is not deployed and ends with 1."""
    assert "claims.ipynb (not deployed)" in cli("compile").out
    assert (cli("deploy", "claims").code, cli("compile", "--check").code) == (0, 0)

    ws.notebook("claims", "from data_engine import Flow", "def build():\n    return Flow(group='Other')")
    checked = cli("compile", "--check")
    assert checked.code == 1
    assert "claims.ipynb (edited, not deployed: cell" in checked.out

    shown = cli("compile", "claims")
    assert "+     return Flow(group='Other')" in shown.out
    assert {"cell", "lines"} == set(cli("compile", "claims", "--json").json["diff"][0])

    ws.notebook("claims", "from data_engine import Flow", "def build():\n    return Flow(group=rate)")
    refused = cli("deploy", "--yes")
    assert refused.code == 1
    assert "not deployed  claims.ipynb" in refused.out
    assert "`rate`" in refused.out

    (ws.root / "flow_modules" / "claims.ipynb").unlink()
    assert "undeployed    claims: its module is gone" in cli("deploy", "--yes").out


def test_a_deploy_of_everything_tells_programs_what_it_left_out(cli: Cli, ws: WorkspaceFiles) -> None:
    """A flow that somebody undeployed, and who; one that is asked for by its name is not left out."""
    ws.source("config/data_engine.toml", '[deploy]\nmode = "ask"\n')
    for name in ("orders", "audit"):
        ws.module(name, "from data_engine import Flow\ndef build(): return Flow(group='G').step(lambda context: 1)")
    cli("deploy", "--yes")
    assert cli("undeploy", "orders").code == 0

    audit, *_, orders = cli("deploy", "--yes", "--json").json
    assert (audit["name"], audit["left_out"], audit["deployment_status"]["kind"]) == ("audit", None, "as_deployed")
    assert (orders["name"], orders["changed"], orders["error"]) == ("orders", False, None)
    assert (orders["path"], orders["deployment_status"]["kind"]) == (str(ws.modules / "orders.py"), "not_deployed")
    assert orders["left_out"] == {"by": cli("deployments", "orders", "--json").json[0]["who"], "at_utc": ANY}
    (orders,) = cli("deploy", "orders", "--json").json
    assert (orders["changed"], orders["left_out"]) == (True, None)


def test_a_deploy_says_which_files_were_done_before_and_stay_so(cli: Cli, ws: WorkspaceFiles) -> None:
    """Also by a draft that ran by hand: what it wrote stays, and the command that does them again is named."""
    ws.source("in/a.csv")
    ws.source("in/b.csv")
    text = """
        from data_engine import Flow
        def build():
            return Flow(group="G").watch(mode="poll", source="../in", interval="1s", settle=0).step(lambda context: {value})
        """
    ws.module("polled", text.format(value=1))
    assert cli("run", "polled", "--once").code == 0
    ws.module("polled", text.format(value=2))

    said = cli("deploy", "polled").out

    assert "polled: 2 files were done before and count as done." in said
    assert "To do them again: data-engine backfill polled --reprocess all" in said
    assert "not again" not in cli("deploy", "polled").out


def test_a_deploy_says_which_files_are_held_and_what_tries_them_again(cli: Cli, ws: WorkspaceFiles) -> None:
    """Also a file that was done once: it does not count as done. One that changed since, or that another source had, is not held."""
    ws.source("config/data_engine.toml", '[deploy]\nmode = "ask"\n')
    for name in ("a", "b", "c"):
        ws.source(f"in/{name}.csv", name)
    text = """
        from data_engine import Flow
        def read(context):
            {line}
        def build():
            return Flow(group="G").watch(mode="poll", source="../{folder}", interval="1s", settle=0).step(read)
        """

    def edit(line: str, folder: str = "in") -> None:
        ws.module("polled", text.format(line=line, folder=folder))

    edit("return 1")
    assert cli("run", "polled", "--once").code == 0
    edit("1 / 0")
    for name in ("a", "b"):
        assert cli("run", "polled", "--once", "--source", f"{name}.csv").code == 1
    ws.source("in/b.csv", "changed")
    edit("return 2")

    (first,) = cli("deploy", "polled", "--json").json
    edit("return 3")
    off = cli("deploy", "polled").out
    cli("disable", "polled")
    edit("return 4")
    disabled = cli("deploy", "polled").out
    ws.source("other/d.csv")
    edit("return 5", "other")

    assert first["files_before"] == {"done": 1, "held": 1}
    assert "not again     polled: 1 file was done before and counts as done." in off
    assert "held          polled: 1 file is held, as its last run failed or was stopped." in off
    assert "stopped. To try it again: data-engine start\n" in off
    assert "To try it again: data-engine enable polled, then data-engine start" in disabled
    assert "held  " not in cli("deploy", "polled").out


def test_show_tells_the_next_times_of_a_schedule(cli: Cli, ws: WorkspaceFiles, monkeypatch: pytest.MonkeyPatch) -> None:
    """In its own zone by name, also while no engine runs; `list` keeps many times short, so that what follows is seen."""
    next_utc = "2026-06-01T12:00:00.000000+00:00"
    monkeypatch.setattr(Workspace, "next_runs", lambda self: {"daily": next_utc})
    ws.module(
        "daily",
        """
        from data_engine import Flow
        def build():
            times = [f"{hour}:30" for hour in range(6, 18)]
            return Flow(group="G").watch(mode="schedule", time=times, tz="Asia/Tokyo").step(len)
        """,
    )

    shown, listed = cli("show", "daily"), cli("list")

    assert "every day at 06:30, 07:30, 08:30 and 9 more times until 17:30, Asia/Tokyo" in shown.out
    assert re.search(r"next times .*(\d\d:30.*){5}\(Asia/Tokyo\)", shown.out)
    assert len(cli("show", "daily", "--json").json["next_times_utc"]) == 5
    assert "10:30" not in listed.out
    assert zoned_text(next_utc, "Asia/Tokyo") in listed.out


def test_a_notebook_in_a_subfolder_is_named_by_all_who_list(cli: Cli, ws: WorkspaceFiles) -> None:
    """It looks like a flow and is none: `list`, `compile` and whoever asks for it by name say so; a folder `_old` is nobody's."""
    for folder in ("sub", "_old"):
        (ws.modules / folder).mkdir()
        ws.notebook(f"{folder}/inner", *CLAIMS)

    told = "sub/inner.ipynb is not a flow: it is in a subfolder. Move it into flow_modules itself"
    assert [told in cli(*words).err for words in (("list",), ("compile",), ("show", "inner"))] == [True, True, True]
    assert "_old" not in cli("list").err


def test_a_copy_of_a_notebook_is_named_as_one(cli: Cli, ws: WorkspaceFiles) -> None:
    """As JupyterLab's Duplicate makes it; a copy without `build()`, and one a person put aside, are nobody's."""
    for name in ("claims", "claims-Copy1", "_claims-Copy2"):
        ws.notebook(name, *CLAIMS)
    ws.notebook("notes-Copy1", "x = 1")

    told = "claims-Copy1.ipynb is a copy: rename it to make it a flow."
    assert [one for one in cli("list").err.splitlines() if "Copy" in one] == [f"warning: {told}"]
    assert told in cli("compile").err
    assert cli("status", "--json").json["not_flows"] == [told[:-1]]


def test_a_reason_is_whole_in_further_lines(cli: Cli, ws: WorkspaceFiles) -> None:
    """However long the flow's name is."""
    name = "totals_of_all_regions_by_month_end"
    ws.notebook(
        name, "from data_engine import Flow", "def build():\n    return Flow(group='Regions of the north').step(str)"
    )

    status, reasons = cli("status").out, cli("explain", name).out

    (row,) = [line for line in status.splitlines() if line.startswith(name)]
    assert row.endswith("data-engine deploy")
    assert "…" not in status
    assert status.splitlines()[status.splitlines().index(row) + 1].strip() == name
    assert f"data-engine deploy {name}" in " ".join(reasons.split())


def test_the_status_of_sixteen_flows_fits_120_columns(
    cli: Cli, ws: WorkspaceFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two lines a flow at most, also where flows have failed with a long error."""
    for number in range(15):
        ws.module(
            f"claims_of_region_{number}",
            "from data_engine import Flow\ndef fail(context):\n    raise ValueError('it is wrong ' * 30)\n\n"
            "def build():\n    return Flow(group='Claims').watch(mode='manual').step(fail)",
        )
    cli("run", "--once", "--yes")
    for name, value in {"FORCE_COLOR": "1", "NO_COLOR": "1", "TERM": "xterm", "COLUMNS": "120"}.items():
        monkeypatch.setenv(name, value)

    lines = re.sub("\x1b[^m]*m", "", cli("status").out).splitlines()

    assert len(lines) <= 6 + 2 * 16, "\n".join(lines)
    assert max(map(len, lines)) <= 120
    assert sum("failed" in line for line in lines) == 16


def test_what_is_expected_is_told(cli: Cli, ws: WorkspaceFiles) -> None:
    """`list` and `show` say what is expected; `list --json` has it for programs."""
    ws.notebook(
        "claims",
        """
        from data_engine import Flow

        def build():
            return Flow(group="G").expect(by="07:00", days="mon-fri", within="30m").step(lambda context: 1, label="One")
        """,
    )

    words = "done by 07:00 on business days (Monday to Friday); a run takes no longer than 30m"
    listed = cli("list").out
    assert words[:20] in listed
    assert "… `data-engine show NAME` shows it in full." in listed
    assert f"expected    {words}" in cli("show", "claims").out
    (entry,) = cli("list", "--json").json
    assert entry["expectations"] == [
        {"by": ["07:00"], "days": [0, 1, 2, 3, 4], "within": "30m", "within_s": 1800.0},
    ]
    assert entry["expected"] is None


def test_a_deploy_tells_what_it_did_not_take(cli: Cli, ws: WorkspaceFiles) -> None:
    """A note of nothing that was deployed, and a section of the settings that nobody reads."""
    assert "note" not in cli("deploy", "claims", "--note", "first").err
    ws.source("config/data_engine.toml", '[deployment]\ngate = "golden"\n')

    answer = cli("deploy", "claims", "--note", "why I did it")

    assert answer.code == 0
    assert "the note is not kept" in answer.err
    assert "did you mean [deploy]?" in answer.err
    assert [one.note for one in Workspace(ws.root).deployments("claims")] == ["first"]


@pytest.mark.parametrize(
    "asked", [["show"], ["compile"], ["compile", "--check"], ["preview"], ["deploy"], ["plan"], ["test"]]
)
def test_whatever_needs_a_notebook_says_that_it_is_gone(cli: Cli, ws: WorkspaceFiles, asked: list[str]) -> None:
    """With both ways on, and not that the flow's name may be misspelt."""
    cli("deploy", "claims")
    (ws.modules / "claims.ipynb").unlink()

    answer = cli(asked[0], "claims", *asked[1:])

    assert answer.code != 0
    assert "claims.ipynb is gone; production runs on as it was deployed" in answer.err
    assert "`data-engine restore claims`" in answer.err


def test_a_failure_whose_file_was_deleted_says_so(cli: Cli, ws: WorkspaceFiles) -> None:
    """As soon as it is deleted, in a cell and by the flow's name too; not while it is there, nor when its whole folder is away."""
    watch = '.watch(mode="poll", source="../in", interval="1s")'
    ws.notebook(
        "claims", f'from data_engine import Flow\ndef build():\n    return Flow("G"){watch}.step(lambda c: 1 / 0)'
    )
    bad = ws.source("in/bad.csv")
    cli("run", "--once", "claims")

    def told() -> tuple[bool, bool, bool]:
        in_a_cell = bundle(Workspace(ws.root).status())["text/plain"]
        is_listed, is_shown = (
            " failed (its file is gone), " in cli(*look).out for look in (["status"], ["show", "claims"])
        )
        return is_listed, is_shown, " failed (its file is gone), " in in_a_cell

    assert told() == (False, False, False)
    bad.unlink()
    assert told() == (True, True, True)
    (ws.root / "in").rmdir()
    assert told() == (False, False, False)
