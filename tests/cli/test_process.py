"""What only a process of its own can show: pipes, encodings, signals, and a quick start."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest

from data_engine import Workspace
from data_engine.cli.app import LazyCommand, make_command
from tests.cli.conftest import REPOSITORY, Cli
from tests.support import WorkspaceFiles

Process = Callable[..., "subprocess.Popen[bytes]"]

NOISY = """
    import subprocess
    import sys
    from data_engine import Flow

    def read(context):
        print("from the step", flush=True)
        subprocess.run([sys.executable, "-c", "print('from its child')"], stderr=subprocess.DEVNULL, check=False)

    def build():
        return Flow(group="G", label="Größe ✓").watch(mode="manual", source="../in").step(read)
"""


@pytest.fixture(autouse=True)
def inside(ws: WorkspaceFiles, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ws.root)
    ws.notebook("noisy", NOISY)
    ws.source("in/a.csv")
    ws.source("in/b.csv")


def test_a_reader_that_goes_away_changes_no_run(process: Process, ws: WorkspaceFiles) -> None:
    """`data-engine run --once | head -1`: the steps that print, and all later runs, end as they would."""
    reading, writing = os.pipe()
    os.close(reading)
    run = process("run", "--once", "--yes", stdout=writing)
    os.close(writing)

    err = run.communicate()[1]
    assert (err.count(b"\n"), err.startswith(b"warning: noisy is not deployed"), run.returncode) == (1, True, 0)
    assert [run.status for run in Workspace(ws.root).runs()] == ["success", "success"]


def test_json_is_alone_on_standard_output(process: Process) -> None:
    """Whatever steps and their children print goes to standard error."""
    run = process("run", "--once", "--yes", "--json")
    out, err = run.communicate()

    assert [item["status"] for item in json.loads(out)["runs"]] == ["success", "success"]
    assert err.count(b"from the step") == err.count(b"from its child") == 2


def test_a_terminal_without_our_letters_shows_what_it_can(process: Process) -> None:
    """In JSON they are UTF-8 all the same."""
    table = process("list", env={"PYTHONIOENCODING": "ascii"})
    document = process("list", "--json", env={"PYTHONIOENCODING": "ascii"})

    out, err = table.communicate()
    assert (table.returncode, err) == (0, b"")
    assert b"Gr??e ?" in out
    assert json.loads(document.communicate()[0].decode())[0]["title"] == "Größe ✓"


@pytest.mark.parametrize(
    "command",
    [
        ["demo"],
        ["list"],
        ["list", "--json"],
        ["status"],
        ["explain", "noisy"],
        ["run", "--once", "--yes"],
        ["doctor"],
        ["service", "status"],
    ],
    ids=" ".join,
)
def test_a_console_of_western_windows_gets_what_its_letters_can_say(process: Process, command: list[str]) -> None:
    """As PowerShell 5 and pipes have it: an umlaut stays, a tick that is not among its letters does not end the command."""
    done = process(*command, env={"PYTHONIOENCODING": "cp1252", "COLUMNS": "160"})
    out, err = done.communicate()
    encoding = "utf-8" if "--json" in command else "cp1252"

    assert done.returncode in ((0, 1) if command == ["doctor"] else (0,)), err.decode(encoding)
    said = (out + err).decode(encoding)
    assert "Traceback" not in said
    assert "UnicodeEncodeError" not in said
    assert out
    drawn = [line for line in said.splitlines() if "??" in line]  # a frame or a bar that became question marks
    assert drawn == []
    if command == ["list"]:
        assert "Größe ?" in said


@pytest.mark.skipif(sys.platform != "linux", reason="the file system refuses such a name")
def test_file_names_that_are_no_utf8_are_told_apart(process: Process, ws: WorkspaceFiles) -> None:
    """On a line for people as in JSON."""
    for name in (b"\xfe.csv", b"\xff.csv"):
        ws.source("in/" + os.fsdecode(name))

    out, _ = process("run", "--once", "--yes").communicate()

    assert b" \\udcfe.csv " in out
    assert b" \\udcff.csv " in out


@pytest.mark.skipif(os.name != "posix" or not os.path.exists("/dev/full"), reason="needs /dev/full")
def test_output_that_cannot_be_written_is_an_error(process: Process) -> None:
    with open("/dev/full", "wb") as full:
        run = process("list", stdout=full)

    assert run.communicate()[1] == b"error: the output could not be written: No space left on device\n"
    assert run.returncode == 1


@pytest.mark.skipif(
    os.name != "posix",
    reason="no Ctrl-C can be sent to one process of a console on Windows; tests/client/test_foreground.py is the twin",
)
@pytest.mark.parametrize("options", [[], ["--json"]])
def test_ctrl_c_ends_with_130_and_the_run_is_recorded(process: Process, ws: WorkspaceFiles, options: list[str]) -> None:
    ws.module(
        "slow",
        """
        import sys, time
        from data_engine import Flow

        def nap(context):
            print("begun", file=sys.stderr, flush=True)
            time.sleep(60)

        def build():
            return Flow(group="S").step(nap)
        """,
    )
    run = process("run", "--once", "slow", *options)
    assert run.stderr is not None
    assert run.stderr.readline().startswith(b"warning: slow is not deployed")
    assert run.stderr.readline() == b"begun\n"
    run.send_signal(signal.SIGINT)
    out, err = run.communicate()

    assert run.returncode == 130
    assert b"Traceback" not in out + err
    assert "interrupted" in (json.loads(out)["error"]["what"] if options else err.decode())
    assert options or out.decode().splitlines()[-1].startswith("1 run: 0 success, 0 failed, 1 stopped, ")
    assert [run.status for run in Workspace(ws.root).runs("slow")] == ["stopped"]


@pytest.mark.skipif(
    sys.platform == "win32",
    reason="no Ctrl-C can be sent to one process of a console on Windows; tests/client/test_foreground.py is the twin",
)
@pytest.mark.parametrize("command", ["list", "compile --check", "status"])
def test_ctrl_c_names_the_module_that_does_not_end_to_load(process: Process, ws: WorkspaceFiles, command: str) -> None:
    good = "from data_engine import Flow\n\ndef build():\n    return Flow(group='G').step(print)"
    ws.module("a_good_one", good)
    ws.module("hangs", "import sys, time\nprint('begun', file=sys.stderr, flush=True)\ntime.sleep(600)\n" + good)
    asked = process(*command.split())
    assert asked.stderr is not None
    assert asked.stderr.readline() == b"begun\n"
    asked.send_signal(signal.SIGINT)
    err = asked.communicate()[1].decode()

    assert (asked.returncode, "Traceback" in err) == (130, False)
    assert f"interrupted while {ws.modules / 'hangs.py'} was loaded" in err


@pytest.mark.skipif(os.name != "posix", reason="needs a pseudo-terminal")
@pytest.mark.parametrize(
    ("variables", "is_coloured"),
    [({"TERM": "xterm"}, True), ({"TERM": "xterm", "NO_COLOR": "1"}, False), ({"TERM": "dumb"}, False)],
)
def test_terminals_get_colour_unless_they_refuse_it(
    process: Process, ws: WorkspaceFiles, variables: dict[str, str], is_coloured: bool
) -> None:
    """Whatever its encoding, the terminal is shown what it can show."""
    ws.module("broken", "def build(:")
    variables = {"COLUMNS": "200", "PYTHONIOENCODING": "ascii", **variables}

    shown = _on_a_terminal(process, "list", env=variables)

    assert "Gr??e ?" in shown
    assert ("\x1b[31m" in shown) is is_coloured


def test_no_colour_off_terminals(process: Process) -> None:
    assert b"\x1b" not in b"".join(process("list", env={"TERM": "xterm"}).communicate())


def _on_a_terminal(process: Process, *arguments: str, env: dict[str, str]) -> str:
    reading, terminal = os.openpty()
    run = process(*arguments, stdout=terminal, stderr=terminal, env=env)
    os.close(terminal)
    shown = b""
    try:
        while part := os.read(reading, 65536):
            shown += part
    except OSError:  # how Linux says that the other end is closed
        pass
    os.close(reading)
    assert run.wait() == 0
    return shown.decode()


UNWANTED = ("data_engine.client", "data_engine.cli.looks", "rich", "polars", "sqlite3", "nbformat", "asyncio")


@pytest.mark.parametrize(
    ("arguments", "unwanted"),
    [(["--version"], UNWANTED), (["--help"], UNWANTED)],
)
def test_version_and_help_import_next_to_nothing(arguments: list[str], unwanted: tuple[str, ...]) -> None:
    done = imported_by(arguments, unwanted)

    assert done.stderr == "[]\n"
    assert "data-engine" in done.stdout


UNWANTED_IN_LOOKS = (
    *("pydantic", "polars", "nbformat", "asyncio", "data_engine.lease.observer", "data_engine.ledger.writer"),
    *("data_engine.ledger.share", "data_engine.commands.command", "data_engine.status.deploy_lines"),
)


@pytest.mark.parametrize(
    "look", [["status"], ["list"], ["show", "claims"], ["runs"], ["runs", "claims"], ["explain", "claims"]]
)
def test_a_look_imports_nothing_that_it_does_not_use(look: list[str], ws: WorkspaceFiles) -> None:
    ws.module("claims", "from data_engine import Flow\n\ndef build():\n    return Flow(group='G').step(print)")

    assert imported_by(look, UNWANTED_IN_LOOKS).stderr.splitlines()[-1] == "[]"


def imported_by(arguments: list[str], names: tuple[str, ...]) -> subprocess.CompletedProcess[str]:
    """A process with the command line, at the end of whose standard error stands which of these modules it has imported."""
    code = f"""
import sys
from data_engine.cli.app import run
assert run({arguments}) == 0
print([name for name in {names} if name in sys.modules], file=sys.stderr)
"""
    return subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
    )


def test_the_unexpected_is_one_line_and_how_to_see_more(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    """A mistake of ours ends with 1 and without a traceback."""

    def explode(*_: object, **named: object) -> None:
        raise RuntimeError("boom")

    monkeypatch.setattr("data_engine.view.flows.read_catalog", explode)

    answer = cli("list")

    assert answer.code == 1
    assert answer.err.splitlines()[0] == "error: unexpected RuntimeError: boom"
    assert "--debug" in answer.err
    assert "Traceback" not in answer.err
    assert cli("list", "--json").json["error"]["what"] == "unexpected RuntimeError: boom"


@pytest.mark.parametrize(
    ("options", "variables"),
    [(["--debug"], {}), ([], {"DATA_ENGINE_DEBUG": "1"})],
    ids=["--debug", "DATA_ENGINE_DEBUG"],
)
def test_debug_shows_the_traceback(
    cli: Cli, ws: WorkspaceFiles, monkeypatch: pytest.MonkeyPatch, options: list[str], variables: dict[str, str]
) -> None:
    """Of any error, with the author's own exception; the answer is the same otherwise."""
    ws.module("broken", "def build():\n    return 1 / 0")
    for name, value in variables.items():
        monkeypatch.setenv(name, value)

    answer = cli(*options, "show", "broken")

    assert answer.code == 1
    assert answer.err.startswith("Traceback")
    assert "ZeroDivisionError: division by zero" in answer.err


def test_help_is_what_nothing_asks_for(cli: Cli) -> None:
    answer = cli()

    assert answer.code == 0
    assert answer.out.startswith("Usage: data-engine")


def usages(command: Any, name: str, parent: Any = None) -> list[str]:
    """The usage lines of a command and of all below it."""
    command = command.loaded() if isinstance(command, LazyCommand) else command
    context = command.make_context(name, [], parent=parent, resilient_parsing=True)
    below = getattr(command, "commands", {})
    return [command.get_usage(context), *(line for one in below for line in usages(below[one], one, context))]


def test_a_name_in_a_usage_has_one_pair_of_brackets() -> None:
    """And tells once that several may stand there; of every command."""
    lines = usages(make_command(), "data-engine")
    twice = [line for line in lines if re.search(r"\[\[|\{\{|\.\.\.\W*\.\.\.", line)]

    assert twice == []
    assert "Usage: data-engine run [OPTIONS] [NAME]..." in lines
    assert any(line.startswith("Usage: data-engine alert test ") for line in lines)
