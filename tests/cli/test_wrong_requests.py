"""A wrong request ends with 2, says the fix on standard error, and changes nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

from data_engine.cli.failure import Failed, exit_code
from data_engine.errors import (
    FlowExecutionError,
    FlowStoppedError,
    FlowValidationError,
    GroupBusyError,
    LedgerError,
    OwnedElsewhereError,
    SettingsError,
)
from data_engine.typed import typed
from tests.cli.conftest import Cli
from tests.support import WorkspaceFiles

FLOW = """
    from data_engine import Flow

    def build():
        return Flow(group="G").watch(mode="manual", source="../in").step(lambda context: 1, save_as="one")
"""

WRONG = {
    "no such command": (["frob"], "No such command", "data-engine --help"),
    "the older system's create": (
        ["create", "workspace", "x"],
        "create workspace",
        "data-engine workspace create PATH",
    ),
    "the older system's list of daemons": (["doctor", "daemons"], "doctor daemons", "data-engine status"),
    "the older system's window": (["start", "gui"], "start gui", "data-engine panel"),
    "the older system's terminal": (["start", "tui"], "start tui", "data-engine status --watch"),
    "no such option": (["list", "--frob"], "No such option", "data-engine list --help"),
    "a command of workspace is missing": (["workspace"], "Missing command", "data-engine workspace --help"),
    "an argument is missing": (["show"], "Missing argument", "data-engine show --help"),
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
    "an unknown flow to reset": (["reset", "clams", "--yes"], "'clams' is not available", "did you mean claims?"),
    "an unknown object": (["preview", "claims", "--use", "two"], "saves an object 'two'", "saved objects: one"),
    "an unknown file to preview": (["preview", "claims", "--source", "x.csv"], "Source file not found", "name a file"),
    "an unknown file to run": (["run", "--once", "claims", "--source", "x.csv"], "not found", "name a file"),
    "a file without its flow": (["run", "--once", "--source", "x.csv"], "not of which flow", "--once NAME"),
    "a parameter without a value": (["preview", "claims", "--param", "x"], "'x' gives no", "--set x=VALUE"),
    "parameters that are not JSON": (["preview", "claims", "--params", "{x"], "it is not JSON", "--set NAME=VALUE"),
    "an unknown word after a failure": (["run", "--once", "--on-error", "x"], "'x' is not one of", "run --help"),
    "a word for another command": (["rename", "a", "b"], "No such command 'rename'", "data-engine deploy NEW_NAME"),
    "a plural": (["logs", "claims"], "No such command 'logs'", "data-engine log RUN"),
    "a word in a group": (["workspace", "rename", "a"], "No such command 'rename'", "one of create, list, use, fork"),
    "removing a workspace": (
        ["workspace", "remove", "a"],
        "No such command 'remove'",
        "`data-engine kill`), then delete its folder",
    ),
    "no word in a group": (["lease"], "Missing command", "status, request, release, take-over, repair"),
    "a flow is missing": (["rollback"], "Missing argument", "write data-engine rollback NAME (`data-engine list`"),
    "flows are missing": (["enable"], "Missing argument", "write data-engine enable NAME... (`data-engine list`"),
    "a run is missing": (["compare", "3f"], "Missing argument", "data-engine compare RUN RUN (`data-engine runs`"),
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
        "let biuld define build()",
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
    "two flows to deploy": (
        ["deploy", "a", "b"],
        "unexpected extra argument",
        "one flow at a time: `data-engine deploy a`, then `data-engine deploy b`; or none for all of them: `data-engine deploy`",
    ),
    "two flows to undeploy": (
        ["undeploy", "a", "b", "--note", "bye"],
        "unexpected extra argument",
        "`data-engine undeploy a --note bye`, then `data-engine undeploy b --note bye`; or see",
    ),
    "two flows to stop": (
        ["stop", "a", "b"],
        "unexpected extra argument",
        "`data-engine stop a`, then `data-engine stop b`; or see",  # without a name it is the engine that stops
    ),
    "two flows to run": (
        ["run", "a", "b"],
        "2 flows",
        "one flow at a time: `data-engine run a`, then `data-engine run b`",
    ),
    "two flows to run here": (
        ["run", "--once", "a", "b"],
        "2 flows",
        "`data-engine run b --once`; or none for all of them: `data-engine run --once`",
    ),
    "two runs to log": (["log", "3f", "4a"], "unexpected extra", "one run at a time: `data-engine log 3f`, then"),
    "three runs to compare": (["compare", "3f", "4a", "5b"], "unexpected extra", "`data-engine compare 3f 4a`"),
    "a name where none is taken": (["status", "clams"], "unexpected extra", "`data-engine status`"),
    "a flow where none is taken": (["status", "claims"], "unexpected extra", "`data-engine show claims` shows the"),
    "a flow to start": (
        ["start", "claims"],
        "unexpected extra",
        "`data-engine run claims` runs the flow now, `data-engine",
    ),
    "a flow to kill": (["kill", "claims"], "unexpected extra", " `data-engine stop claims` ends the flow's runs"),
    "an option without its dashes": (["docs", "open"], "unexpected extra", "as an option: `data-engine docs --open`"),
    "a file beside its flow, to run": (
        ["run", "claims", "in/a.csv"],
        "2 flows",
        "name a file with --source: `data-engine run claims --source in/a.csv`",
    ),
    "a file beside its flow, to backfill": (
        ["backfill", "claims", "in/a.csv", "--reprocess", "all"],
        "unexpected extra",
        "name a file with --where: `data-engine backfill claims --reprocess all --where a.csv`; or",
    ),
    "a file beside its flow, to preview": (
        ["preview", "a.csv", "claims"],
        "unexpected extra",
        "`data-engine preview claims --source a.csv`; or",
    ),
    "a secret is missing": (
        ["secret", "set"],
        "Missing argument",
        "write data-engine secret set NAME, which asks for the value (`data-engine secret list` shows the secrets); or see",
    ),
    "a secret to forget is missing": (
        ["secret", "remove"],
        "Missing argument",
        "write data-engine secret remove NAME (`data-engine secret list` shows the secrets); or see",
    ),
    "a flow in place of a command": (["claims"], "No such command 'claims'", "`data-engine explain claims` why"),
    "a name with a blank": (["show", "monthly", "parts"], "unexpected extra", typed("show", "monthly parts")),
    "a folder with a blank": (
        ["workspace", "create", "my", "flows"],
        "extra",
        typed("workspace", "create", "my flows"),
    ),
    "a note with a blank": (
        ["deploy", "claims", "--note", "letzte", "Woche"],
        "unexpected extra argument",
        f"`{typed('deploy', 'claims', '--note', 'letzte Woche')}`",
    ),
    "a note with a blank, of all flows": (
        ["deploy", "--note", "letzte", "Woche"],
        "'Woche' is not available",
        f"`{typed('deploy', '--note', 'letzte Woche')}`",
    ),
    "a note with a blank before the flow": (
        ["undeploy", "--note", "letzte", "Woche", "claims"],
        "unexpected extra argument",
        f"`{typed('undeploy', '--note', 'letzte Woche', 'claims')}`",
    ),
    "a note with a blank and no flow": (
        ["rollback", "--note", "letzte", "Woche"],
        "Woche was never deployed",
        f"`{typed('rollback', 'NAME', '--note', 'letzte Woche')}`",
    ),
    "a file with a blank": (
        ["preview", "claims", "--source", "my", "file.csv"],
        "unexpected extra argument",
        f"`{typed('preview', 'claims', '--source', 'my file.csv')}`",
    ),
    "a value with a blank": (
        ["preview", "claims", "--set", "title=letzte", "Woche"],
        "unexpected extra argument",
        f"`{typed('preview', 'claims', '--set', 'title=letzte Woche')}`",
    ),
    "a pattern that the shell has replaced": (
        ["backfill", "claims", "--where", "a.csv", "b.csv"],
        "unexpected extra argument",
        f"`{typed('backfill', 'claims', '--where', '*.csv')}`",
    ),
    "a parameter without its option": (
        ["preview", "claims", "month=2"],
        "unexpected extra argument",
        f"`{typed('preview', 'claims', '--set', 'month=2')}`",
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

    answer = cli("run", "--once")

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
