"""`runs`, `log` and `reset`: what ran on this machine."""

from __future__ import annotations

import io
import re
import shlex
import time
from datetime import date, datetime

import pytest

from data_engine import FlowValidationError, Workspace
from data_engine.ledger.wall_clock import accept_clock
from data_engine.model import RunFinished, RunStarted
from tests.cli.conftest import Cli
from tests.support import WorkspaceFiles

CLAIMS = """
    from data_engine import Flow

    def read(context):
        print("reading")
        context.log("half way")
        if context.source.path.read_text() == "bad":
            raise KeyError("amount")

    def build():
        return Flow(group="G").watch(mode="manual", source="../in").step(read)
"""


@pytest.fixture(autouse=True)
def ran(ws: WorkspaceFiles, monkeypatch: pytest.MonkeyPatch, cli: Cli) -> None:
    monkeypatch.chdir(ws.root)
    ws.notebook("claims", CLAIMS)
    ws.notebook(
        "other", "from data_engine import Flow", 'def build():\n    return Flow(group="G").step(lambda context: 1)'
    )
    ws.source("in/a.csv", "good")
    ws.source("in/b.csv", "bad")
    cli("run", "--once", "--yes")


def test_runs_are_listed_newest_first(cli: Cli) -> None:
    rows = [line.split()[1:4] for line in cli("runs").out.splitlines()[-3:]]

    assert [row[0] for row in rows] == ["other", "claims", "claims"]
    assert [row[2] for row in rows[1:]] == ["failed", "success"]


def test_runs_of_a_flow_a_status_and_a_number(cli: Cli) -> None:
    def sources(*options: object) -> list[str]:
        return [run["source"][-5:] for run in cli("runs", "claims", "--json", *options).json]

    assert sources() == ["b.csv", "a.csv"]
    assert sources("--limit", 1) == ["b.csv"]
    assert sources("--status", "success") == ["a.csv"]
    assert sources("--status", "killed") == []
    assert "No such runs" in cli("runs", "claims", "--status", "killed").out


def test_runs_of_a_source_by_its_name_or_path(cli: Cli) -> None:
    """In every flow; a name that is neither a flow's nor a source's is refused as before."""
    (path,) = {run["source"] for run in cli("runs", "--json").json if (run["source"] or "").endswith("b.csv")}

    assert [run["source"] for run in cli("runs", "b.csv", "--json").json] == [path]
    assert [run["source"] for run in cli("runs", path, "--json").json] == [path]
    assert [run["status"] for run in cli("runs", "b.csv", "--json", "--status", "failed").json] == ["failed"]
    assert cli("runs", "csv").code == 2


def test_runs_of_a_source_in_python_as_in_the_shell(cli: Cli, ws: WorkspaceFiles) -> None:
    workspace = Workspace(ws.root)

    assert [run.as_dict()["run_id"] for run in workspace.runs("b.csv")] == [
        run["run_id"] for run in cli("runs", "b.csv", "--json").json
    ]
    assert len(workspace.runs(str(ws.root / "in" / "b.csv"))) == 1
    with pytest.raises(FlowValidationError, match=r"'c\.csv'") as caught:
        workspace.runs("c.csv")
    assert "data-engine list" in (caught.value.fix or "")


def test_what_the_limit_leaves_out_is_told_with_what_tells_it(cli: Cli) -> None:
    """Below the table, and beside JSON."""
    for _ in range(10):
        cli("run", "--once", "claims")
    told = cli("runs", "claims", "--status", "failed", "--limit", 4)
    assert told.err.startswith("The newest 4 of 11 runs: `")
    again = told.err.split("`")[1]
    assert again == "data-engine runs claims --limit 11 --status failed"
    assert len(cli(*shlex.split(again)[1:], "--json").json) == 11
    assert cli(*shlex.split(again)[1:]).err == ""

    as_json = cli("runs", "--json")
    assert (len(as_json.json), as_json.err.split(":")[0]) == (20, "The newest 20 of 23 runs")
    again = as_json.err.split("`")[1]
    assert len(cli(*shlex.split(again)[1:], "--json").json) == 23


def test_runs_of_a_range_of_days(cli: Cli, ws: WorkspaceFiles) -> None:
    """By the day on which they began here; as in a backfill the last day is in it. In Python and in a cell as in the shell."""
    ledger = Workspace(ws.root).home.ledger()
    for number, at in enumerate((datetime(2013, 3, 1), datetime(2013, 3, 1, 23, 59), datetime(2013, 3, 2))):
        at_s = at.timestamp()
        ledger.record(
            RunStarted(f"r{number}", "claims", "G", None, at_s), RunFinished(f"r{number}", "failed", at_s, 1.0)
        )

    def found(*options: object) -> list[str]:
        return [run["run_id"] for run in cli("runs", "--json", *options).json]

    assert found("--since", "2013-03-01", "--until", "2013-03-01") == ["r1", "r0"]
    assert found("--until", "2013-03") == ["r2", "r1", "r0"]
    assert found("claims", "--since", "2013-03-01T12:00", "--until", "2013-03", "--status", "failed") == ["r2", "r1"]
    assert len(found("--since", "2013-03-03")) == 3
    assert (
        "2 of 3 runs: `data-engine runs --limit 3 --until 2013-03`"
        in cli("runs", "--until", "2013-03", "--limit", 2).err
    )
    wrong = cli("runs", "--since", "soon")
    assert (wrong.code, "since cannot be 'soon'" in wrong.err, "backfill" in wrong.err) == (2, True, False)
    assert cli("runs", "--since", "2013-03-02", "--until", "2013-03-01").code == 2

    python = Workspace(ws.root).runs("claims", since=date(2013, 3, 2), until="2013-03-02", status="failed")
    assert [run.run_id for run in python] == ["r2"]
    with pytest.raises(FlowValidationError, match="since"):
        Workspace(ws.root).runs(since=3)  # type: ignore[arg-type]


def test_a_deployment_by_the_beginning_of_its_id(cli: Cli) -> None:
    """A name that is neither a flow's nor a deployment's is refused, not called undeployed."""
    assert cli("deploy", "claims", "--note", "as agreed").code == 0
    (made,) = cli("deployments", "claims", "--json").json

    assert cli("deployments", made["id"][:8], "--json").json == [made]
    assert "as agreed" in cli("deployments", made["id"][:8]).out
    assert cli("deployments", "nobody").code == 2


def test_runs_of_a_flow_that_is_gone_are_still_there(cli: Cli, ws: WorkspaceFiles) -> None:
    (ws.modules / "claims.ipynb").unlink()

    assert len(cli("runs", "claims", "--json").json) == 2
    assert cli("reset", "claims", "--yes").code == 0
    assert cli("runs", "claims").code == 2


def test_the_log_of_a_run_by_the_beginning_of_its_id(cli: Cli) -> None:
    (run,) = cli("runs", "claims", "--status", "failed", "--json").json

    told = cli("log", run["run_id"][:9])
    facts = cli("log", run["run_id"][:9], "--json").json

    assert told.code == 0
    assert "half way" in told.out
    assert "KeyError: 'amount'" in told.out
    assert facts["run"] == run
    assert [(step["label"], step["status"]) for step in facts["steps"]] == [("Read", "failed")]
    assert [line["message"] for line in facts["log"]][:2] == ["reading", "half way"]


def test_a_run_from_the_future_is_marked_and_is_not_the_last(cli: Cli, ws: WorkspaceFiles) -> None:
    """In the table, in its log and in JSON; the status and `show` tell of the newest of the others."""
    ledger, at_s = Workspace(ws.root).home.ledger(), time.time() + 400 * 86_400
    ledger.record(RunStarted("ahead", "claims", "G", None, at_s), RunFinished("ahead", "success", at_s, 1.0))

    assert ["(from the future)" in line for line in cli("runs").out.splitlines()[-4:]] == [True, False, False, False]
    assert "(from the future)" in cli("log", "ahead").out
    newest, *others = cli("runs", "--json").json
    assert (newest["run_id"], newest["from_the_future"]) == ("ahead", True)
    assert {run["from_the_future"] for run in others} == {False}
    last = next(flow["last_run"] for flow in cli("status", "--json").json["flows"] if flow["name"] == "claims")
    assert last["run_id"] == cli("show", "claims", "--json").json["last_run"]["run_id"] != "ahead"


def test_a_command_under_a_clock_far_ahead_removes_nothing_until_the_clock_is_accepted(
    cli: Cli, ws: WorkspaceFiles
) -> None:
    """And it is told, without a daemon too."""
    ledger, year_ago_s = Workspace(ws.root).home.ledger(), time.time() - 400 * 86_400
    ledger.record(RunStarted("old", "claims", "G", None, year_ago_s), RunFinished("old", "success", year_ago_s, 1.0))
    accept_clock(ledger, year_ago_s)

    cli("run", "--once", "--yes")
    assert cli("log", "old").code == 0
    assert "--accept-clock" in cli("status").out
    (warning,) = cli("status", "--json").json["warnings"]
    assert "400 days after the newest record" in warning
    assert cli("doctor").code == 1

    assert cli("doctor", "--accept-clock").code == 0
    assert cli("status", "--json").json["warnings"] == []
    cli("run", "--once", "--yes")
    assert cli("log", "old").code == 2


def test_reset_forgets_one_flow_or_all(cli: Cli) -> None:
    assert cli("reset", "claims", "--yes", "--json").json == {"flow": "claims", "runs": 2}
    assert [run["flow"] for run in cli("runs", "--json").json] == ["other"]
    assert "Forgot 1 run of every flow" in cli("reset", "--all", "--yes").out
    assert cli("runs", "--json").json == []


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(("typed", "code", "left"), [("y\n", 0, 0), ("n\n", 1, 3), ("\n", 1, 3), ("", 130, 3)])
def test_on_a_terminal_reset_asks(cli: Cli, monkeypatch: pytest.MonkeyPatch, typed: str, code: int, left: int) -> None:
    """Only a yes forgets; an end of input is as good as Ctrl-C."""
    monkeypatch.setattr("sys.stdin", _Terminal(typed))
    monkeypatch.setattr(
        "data_engine.platforms.terminals._is_console", lambda stream: True, raising=False
    )  # Windows is asked, too

    answer = cli("reset", "--all")

    assert (answer.code, len(cli("runs", "--json").json)) == (code, left)
    assert "every source is due again?" in answer.err


def test_the_warnings_of_a_run_are_counted_where_runs_are_told(cli: Cli, ws: WorkspaceFiles) -> None:
    """Beside its status; and of a flow's last run in its status and explanation, with the way to read them."""
    text = "from data_engine import Flow\ndef build():\n    return Flow(group='G').step({step})\n"
    ws.module("quiet", text.format(step="lambda context: context.log('all is well')"))
    workspace = Workspace(ws.root)
    workspace.load_flow("quiet").run_once()
    assert "warning" not in cli("--workspace", ws.root, "runs").out

    ws.module("loud", text.format(step="lambda context: [context.log(str(n), level='WARNING') for n in range(2)]"))
    workspace.load_flow("loud").run_once()
    (run,) = workspace.runs("loud")

    loud, quiet = cli("--workspace", ws.root, "runs", "--limit", 2).out.splitlines()[-2:]
    assert re.search("loud +success +2 warnings ", loud)
    assert "warning" not in quiet
    counts = {one["flow"]: one["warnings"] for one in cli("--workspace", ws.root, "runs", "--json").json}
    assert (counts["loud"], counts["quiet"]) == (2, 0)
    said = "2 warnings in its last run"
    assert " success, 2 warnings, 20" in cli("--workspace", ws.root, "status").out
    (told,) = [one for one in workspace.explain("loud") if said in one.reason]
    assert told.fix == f"`data-engine log {run.run_id[:8]}` shows them"
    assert not any("warning" in one.reason for one in workspace.explain("quiet"))


def test_an_error_that_is_logged_counts_where_the_run_went_well_and_what_is_only_written_does_not(
    cli: Cli, ws: WorkspaceFiles
) -> None:
    """Libraries write progress to standard error. In a run that failed the errors are why, and only its warnings count."""
    ws.module(
        "mixed",
        """
        import logging, sys
        from data_engine import Flow

        def good(context):
            context.log("3 rows have no day", level="ERROR")
            logging.getLogger("lib").critical("disk is nearly full")
            print("100%", file=sys.stderr)

        def bad(context):
            if context.params.get("fail"):
                context.log("nothing else", level="WARNING")
                raise ValueError("no such column")

        def build():
            return Flow(group="G").step(good).step(bad)
        """,
    )

    went_well = cli("--workspace", ws.root, "run", "--once", "mixed")
    assert went_well.code == 0
    assert re.search(r"^success +mixed +\S+ m?s, 2 warnings$", went_well.out, re.M)
    assert "          warning: 3 rows have no day\n          warning: disk is nearly full\n" in went_well.out
    assert re.search(r"^1 run: 1 success, 0 failed, 2 warnings, ", went_well.out, re.M)
    (run,) = Workspace(ws.root).runs("mixed")
    assert (
        f"last run    success, 2 warnings, {run.started_at_utc[:2]}" in cli("--workspace", ws.root, "show", "mixed").out
    )
    assert cli("--workspace", ws.root, "show", "mixed", "--json").json["last_run"]["warnings"] == 2
    log = cli("--workspace", ws.root, "log", run.run_id).out
    assert "success  2 warnings  started " in log
    assert re.search("Good +stderr +100%$", log, re.M)

    went_wrong = cli("--workspace", ws.root, "run", "--once", "mixed", "--set", "fail=yes")
    assert re.search(r"^failed +mixed +\S+ m?s, 1 warning$", went_wrong.out, re.M)
    assert "1 run: 0 success, 1 failed, 1 warning, " in went_wrong.out
    counts = [one["warnings"] for one in cli("--workspace", ws.root, "runs", "mixed", "--json").json]
    assert counts == [1, 2]


def test_a_flow_in_place_of_a_run_to_compare_is_told_with_its_newest_run(cli: Cli) -> None:
    """In the first place and in the second; of what is neither only that there is no such run."""
    cli("run", "--once", "other")
    cli("run", "--once", "claims")
    newest, *_ = [run["run_id"] for run in cli("runs", "other", "--json").json]

    for words in (("other", newest), (newest, "other")):
        answer = cli("compare", *words)
        assert answer.code == 2
        assert f"other is a flow; the id of its newest run (success) is {newest[:8]}" in answer.err
    assert "is a flow" not in cli("compare", newest, "nobody").err


def test_a_comparison_of_runs_that_were_not_seen_to_read_says_so(cli: Cli) -> None:
    """Where files were recorded it does not."""
    for _ in range(2):
        cli("run", "--once", "other")
        cli("run", "--once", "claims")

    def compared(*name: str) -> str:
        newest, before = [run["run_id"] for run in cli("runs", *name, "--json").json][:2]
        return str(cli("compare", before, newest).out)

    assert "no file that they read was seen: what a step reads by a pattern" in compared("other")
    assert "was seen" not in compared("b.csv")


@pytest.mark.parametrize(
    ("helper", "cell", "spots"),
    [
        ("def number(text):\n    return int(text)\n", "import flow_helpers", "(flow_helpers/parse.py, line 2, called in claims.ipynb, cell 4, line 2)"),
        ("", "def number(text):\n    return int(text)", "(claims.ipynb, cell 3, line 2, called in claims.ipynb, cell 4, line 2)"),
    ],
    ids=["a helper's file", "another cell"],
)  # fmt: skip
def test_explain_names_the_helper_that_failed_and_the_cell_that_led_there(
    cli: Cli, ws: WorkspaceFiles, helper: str, cell: str, spots: str
) -> None:
    """Where it is to be mended, and which call met it."""
    ws.source("in/a.txt", "x")
    ws.helper("parse", helper)
    ws.notebook(
        "claims",
        "from data_engine import Flow",
        "from flow_helpers.parse import number" if helper else "pass",
        cell,
        "def read(context):\n    return number(context.source.path.read_text())",
        "def build():\n    return Flow(group='G').watch(mode='poll', source='../in', interval='1s', settle=0).step(read)",
    )
    assert cli("--workspace", ws.root, "run", "--once", "claims").code == 1
    assert cli("--workspace", ws.root, "deploy", "claims").code == 0

    told = cli("--workspace", ws.root, "explain", "claims")

    assert spots in " ".join(told.out.replace("claims   in/a.txt", "").split())
