"""A wrong request ends with 2, says the fix on standard error, and changes nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

from data_engine.cli.output import Failed, exit_code
from data_engine.errors import (
    FlowExecutionError,
    FlowStoppedError,
    FlowValidationError,
    GroupBusyError,
    LedgerError,
    OwnedElsewhereError,
    SettingsError,
)
from tests.cli.conftest import Cli
from tests.support import WorkspaceFiles

FLOW = """
    from data_engine import Flow

    def build():
        return Flow(group="G").watch(mode="manual", source="../in").step(lambda context: 1, save_as="one")
"""

WRONG = {
    "no such command": (["frob"], "No such command", "data-engine --help"),
    "a misspelt command": (["stauts"], "Did you mean 'status'", "data-engine --help"),
    "a misspelt command of a group": (["lease", "stauts"], "Did you mean 'status'", "data-engine lease --help"),
    "a flow is missing": (["rollback"], "which flow?", "data-engine rollback NAME"),
    "a run is missing": (["compare", "3f"], "Missing argument 'RUN'", "data-engine compare --help"),
    "two flows to deploy": (["deploy", "a", "b"], "unexpected extra argument", "takes one name: call it once for each"),
    "a command without its group": (["create", "here"], "a command of workspace", "data-engine workspace create here"),
    "two flows to run": (["run", "a", "b"], "2 flows", "name one"),
    "a name where none is taken": (["status", "clams"], "unexpected extra", "data-engine status --help"),
    "no such option": (["list", "--frob"], "No such option", "data-engine list --help"),
    "a command of workspace is missing": (["workspace"], "Missing command", "data-engine workspace --help"),
    "an argument is missing": (["secret", "set"], "Missing argument 'NAME'", "data-engine secret set --help"),
    "the log of no run": (["log"], "there is no run yet", "data-engine run NAME"),
    "a global option after the command": (["list", "--workspace", "x"], "--workspace", "before the command"),
    "no workspace there": (["--workspace", "nowhere", "list"], "does not exist", "workspace create"),
    "an unknown flow to show": (["show", "clams"], "'clams' is not available", "did you mean claims?"),
    "a flow to show in other letters": (["show", "CLAIMS"], "'CLAIMS' is not available", "did you mean claims?"),
    "a flow to show with a line in it": (["show", "cla-ims"], "'cla-ims' is not available", "did you mean claims?"),
    "an object in other letters": (["preview", "claims", "--use", "One"], "saves an object 'One'", "did you mean one?"),
    "an unknown flow to preview": (["preview", "clams"], "'clams' is not available", "did you mean claims?"),
    "an unknown flow to compile": (["compile", "clams"], "'clams' is not available", "did you mean claims?"),
    "an unknown flow to check": (["compile", "clams", "--check"], "'clams' is not available", "did you mean claims?"),
    "an unknown flow to run": (["run", "--once", "clams"], "'clams' is not available", "did you mean claims?"),
    "an unknown flow's runs": (["runs", "clams"], "'clams' is not available", "did you mean claims?"),
    "an unknown flow's rejected rows": (["rejected", "clams"], "'clams' is not available", "did you mean claims?"),
    "an unknown flow to reset": (["reset", "clams", "--yes"], "'clams' is not available", "did you mean claims?"),
    "an unknown object": (["preview", "claims", "--use", "two"], "saves an object 'two'", "saved objects: one"),
    "an unknown file to preview": (["preview", "claims", "--source", "x.csv"], "Source file not found", "name a file"),
    "an unknown file to run": (["run", "--once", "claims", "--source", "x.csv"], "not found", "name a file"),
    "a file without its flow": (["run", "--once", "--source", "x.csv"], "not of which flow", "--once NAME"),
    "a parameter without a value": (["preview", "claims", "--param", "x"], "'x' gives no", "--set x=VALUE"),
    "parameters that are not JSON": (["preview", "claims", "--params", "{x"], "it is not JSON", "--set NAME=VALUE"),
    "an unknown word after a failure": (["run", "--once", "--on-error", "x"], "'x' is not one of", "run --help"),
    "what is neither a flow's nor a file's runs": (
        ["runs", "nope"],
        "'nope' is not available",
        "; else `data-engine list`",
    ),
    "a misspelt flow's runs": (["runs", "clams"], "'clams' is not available", "did you mean claims? Else `data-engine"),
    "a misspelt file": (
        ["run", "--once", "claims", "--source", "aa.csv"],
        "not found",
        "did you mean a.csv? Else name",
    ),
    "a file that is not there": (["run", "--once", "claims", "--source", "q"], "not found", ": a.csv"),
    "a path in place of a name": (
        ["show", "flow_modules/claims.ipynb"],
        "a flow is named without folder",
        "did you mean claims?",
    ),
    "a file without build() by its name": (
        ["deploy", "biuld"],
        "biuld.ipynb is not a flow",
        "rename its biuld() to build(), or let biuld define build()",
    ),
    "a copy to explain": (
        ["explain", "flow_modules/claims-Copy1.ipynb"],
        "claims-Copy1.ipynb is not a flow",
        "rename it",
    ),
    "a copy by its name": (
        ["explain", "claims-Copy1"],
        "claims-Copy1.ipynb is not a flow",
        "*-Copy<n> are never flows",
    ),
    "a misspelt flow behind a note": (
        ["deploy", "--note", "fix", "clams"],
        "'clams' is not available",
        "did you mean claims?",
    ),
    "an unknown run": (["log", "3f"], "there is no run '3f'", "data-engine runs"),
    "an unknown status": (["runs", "--status", "lost"], "'lost' is not one of", "data-engine runs --help"),
    "a limit of nothing": (["runs", "--limit", "0"], "--limit", "data-engine runs --help"),
    "reset of nothing": (["reset"], "either a flow or --all", "data-engine reset FLOW"),
    "reset of one and all": (["reset", "claims", "--all"], "either a flow or --all", "data-engine reset FLOW"),
    "reset off a terminal": (["reset", "claims"], "no terminal to ask on", "add --yes"),
    "use of no workspace": (["workspace", "use", "nowhere"], "does not exist", "workspace create"),
    "fork of no workspace": (["workspace", "fork", "nowhere"], "does not exist", "workspace create"),
    "a workspace that is a file": (["workspace", "create", "flow_modules/claims.ipynb"], "is a file", "move it away"),
    "a demo in a file": (["demo", "flow_modules/claims.ipynb"], "is a file", "move it away"),
}


@pytest.fixture(autouse=True)
def inside(ws: WorkspaceFiles, monkeypatch: pytest.MonkeyPatch) -> None:
    ws.notebook("claims", FLOW)
    ws.notebook("claims-Copy1", FLOW)
    ws.notebook("monthly parts", FLOW)
    ws.notebook("biuld", FLOW.replace("build()", "biuld()"))
    ws.source("in/a.csv")
    monkeypatch.chdir(ws.root)


@pytest.mark.parametrize(("arguments", "what", "fix"), WRONG.values(), ids=WRONG)
def test_a_wrong_request_ends_with_2_and_its_fix(
    cli: Cli, ws: WorkspaceFiles, arguments: list[str], what: str, fix: str
) -> None:
    """Nothing is on standard output, the error and its fix are on standard error, and no run was recorded."""
    answer = cli(*arguments)

    assert (answer.code, answer.out) == (2, "")
    assert what in answer.err.splitlines()[0]
    assert fix in answer.err.partition("fix:")[2]
    assert "Traceback" not in answer.err
    assert cli("runs", "--json").json == []


@pytest.mark.parametrize("name", ["no such option", "an unknown flow to run"])
def test_with_json_the_error_is_a_document_on_standard_output(cli: Cli, name: str) -> None:
    """`{error: {what, where, fix}}`, with the same exit code, whoever found the mistake."""
    arguments, what, fix = WRONG[name]

    answer = cli(*arguments, "--json")

    assert (answer.code, answer.err) == (2, "")
    assert set(answer.json) == {"error"}
    assert set(answer.json["error"]) == {"what", "where", "fix"}
    assert what in answer.json["error"]["what"]
    assert fix in answer.json["error"]["fix"]


def test_wrong_settings_are_a_wrong_request(cli: Cli, ws: WorkspaceFiles) -> None:
    """The file and the key are named, and nothing runs."""
    ws.source("config/data_engine.toml", '[limits]\nrun_timeout = "soon"')

    answer = cli("run", "--once", "--yes")

    assert answer.code == 2
    assert "data_engine.toml: limits.run_timeout" in answer.err


def test_outside_of_any_workspace_the_ways_to_one_are_told(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path / "here")

    answer = cli("list")

    assert answer.code == 2
    assert "data-engine workspace use PATH" in answer.err


def test_exit_codes() -> None:
    """The word for each: 1 it failed, 2 wrong, 3 owned elsewhere, 130 interrupted; wrapping a failure hides no owner."""
    step = FlowExecutionError(flow_name="a", phase="step", detail="KeyError: 'x'")
    codes: dict[int, list[BaseException]] = {
        1: [
            step,
            GroupBusyError("busy"),
            FlowStoppedError("stopped"),
            Failed(FlowValidationError("x")),
            RuntimeError(),
        ],
        2: [FlowValidationError("x"), SettingsError("x"), LedgerError("x")],
        3: [OwnedElsewhereError("anna's"), Failed(OwnedElsewhereError("anna's"))],
        130: [KeyboardInterrupt()],
    }

    assert {code: {exit_code(error) for error in errors} for code, errors in codes.items()} == {c: {c} for c in codes}


def test_words_behind_a_secret_are_not_said_again(cli: Cli) -> None:
    """One of them may be its value."""
    answer = cli("secret", "remove", "dwh", "hunter22")

    assert answer.code == 2
    assert "hunter22" not in answer.err.partition("fix:")[2]


@pytest.mark.parametrize(
    "name", ["x" * 3_000, "x" * 300, "é" * 200, "a\nb", "\udcff"], ids=lambda name: ascii(name)[:5]
)
@pytest.mark.parametrize("command", ["compile", "show", "explain", "deployments", "runs", "enable"])
def test_a_name_that_no_file_can_have_is_an_error_of_ours(
    ws: WorkspaceFiles, cli: Cli, monkeypatch: pytest.MonkeyPatch, command: str, name: str
) -> None:
    """However long it is."""
    monkeypatch.chdir(ws.root)

    answer = cli(command, name)

    assert answer.code in (1, 2)
    assert "unexpected" not in answer.err
    assert "fix:" in answer.err
