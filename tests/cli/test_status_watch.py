"""`status --watch` in a real terminal, with a real daemon: it shows what is, asks before it does, and leaves as it came."""

from __future__ import annotations

import io
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from rich.console import Console

from data_engine import Workspace
from data_engine.cli.watch import WatchScreen
from tests.cli.conftest import Cli
from tests.support import WorkspaceFiles, end_now, until

if TYPE_CHECKING:
    from tests.cli.terminal import Terminal

needs_pty = pytest.mark.skipif(
    sys.platform == "win32",
    reason="Windows has no pseudo terminal that a test could open; the tests below without a terminal are the twin",
)
DOWN = "\x1b[B"
ALTERNATE_ON, ALTERNATE_OFF = b"\x1b[?1049h", b"\x1b[?1049l"

POLLED = """
    from data_engine import Flow

    def read(context):
        text = context.source.path.read_text()
        print("reading", context.source.path.name)
        if text == "bad":
            raise KeyError("amount")
        return text

    def build():
        return Flow(group="Claims").watch(mode="poll", source="../in", interval="100ms", settle=0).step(read)
"""
SLOW = """
    import time
    from pathlib import Path
    from data_engine import Flow

    def work(context):
        for number in range(100_000):
            time.sleep(0.02)
            context.progress(number, 100_000)

    def build():
        return Flow(group="Slow").step(work)
"""


@pytest.fixture
def workspace(ws: WorkspaceFiles) -> Iterator[Workspace]:
    ws.notebook("claims", POLLED)
    ws.notebook("slow", SLOW)
    (ws.root / "in").mkdir()
    found = Workspace(ws.root)
    yield found
    found.kill()


@pytest.fixture
def watch(workspace: Workspace) -> Iterator[Callable[..., Terminal]]:
    from tests.cli.terminal import Terminal

    opened: list[Terminal] = []

    def start(**how: Any) -> Terminal:
        opened.append(Terminal("--workspace", workspace.root, "status", "--watch", **how))
        return opened[-1]

    yield start
    for one in opened:
        one.__exit__()


@needs_pty
def test_a_run_begins_only_after_it_was_shown_and_asked(
    workspace: Workspace, ws: WorkspaceFiles, watch: Callable[..., Terminal]
) -> None:
    """`r` asks; `n` leaves it; `y` does it, and its end is seen without a key."""
    for name in ("a.csv", "b.csv"):
        ws.source(f"in/{name}")
    workspace.start()
    until(
        lambda: (
            {flow.name for flow in workspace.status().flows if flow.deployment_status.kind == "as_deployed"}
            >= {"claims"}
        )
    )
    terminal = watch()
    terminal.wait_for("claims", "daemon running")
    terminal.type("r")
    asked = terminal.wait_for("y yes   n no")
    terminal.type("\r")  # Enter is no yes
    terminal.type("n")
    terminal.wait_for("Nothing was done.")
    before = workspace.runs("claims")
    terminal.type("r")
    terminal.wait_for("y yes   n no")
    terminal.type("y")
    terminal.wait_for("success")

    assert "Run claims now?" in asked
    assert before == []
    until(lambda: [run.status for run in workspace.runs("claims")] == ["success", "success"])
    terminal.type("l")
    terminal.wait_for("Read: reading", "success in")
    terminal.type("q")
    terminal.wait_for("FLOW")
    terminal.type("q")
    assert terminal.end() == 0
    assert terminal.is_as_before()
    assert terminal.raw.count(ALTERNATE_ON) == terminal.raw.count(ALTERNATE_OFF) == 1


@needs_pty
def test_what_is_held_is_seen_and_tried_again(
    workspace: Workspace, ws: WorkspaceFiles, watch: Callable[..., Terminal]
) -> None:
    """A failure comes to the screen by itself; `t` says how many files would be tried again."""
    workspace.start_engine()
    terminal = watch()
    terminal.wait_for("engine on", "polling")
    ws.source("in/a.csv", "bad")
    terminal.wait_for("failed", "1 held")
    ws.source("in/a.csv", "bad")  # the same text: its time alone makes it due, and it fails again
    until(lambda: len(workspace.runs("claims")) >= 2)
    terminal.type("t")
    terminal.wait_for("Try the held file of claims again?")
    terminal.type("y")
    terminal.wait_for("1 held source runs again.")

    until(lambda: len(workspace.runs("claims")) >= 3)


@needs_pty
def test_a_run_is_followed_and_stopped(workspace: Workspace, watch: Callable[..., Terminal]) -> None:
    """Its step and progress are seen as they are; `s` says what it ends."""
    workspace.start()
    workspace.run("slow", wait=False)
    terminal = watch()
    first = terminal.wait_for("RUNNING (1)", "of 100,000")
    terminal.type(DOWN)
    terminal.wait_for("> slow")
    until(lambda: terminal.text != first)
    terminal.type("s")
    terminal.wait_for("Stop the runs of slow? They end at their next step, map item,")
    terminal.type("y")
    terminal.wait_for("stopped")

    assert "RUNNING" not in terminal.wait_for("The runs of slow end at their next step")
    assert workspace.runs("slow")[0].status == "stopped"


@needs_pty
def test_a_daemon_that_dies_and_comes_back_is_seen(workspace: Workspace, watch: Callable[..., Terminal]) -> None:
    """Within seconds, and the screen stays; keys say what they would do without it."""
    workspace.start()
    terminal = watch()
    terminal.wait_for("daemon running", "claims")
    end_now(workspace.status().daemon.pid or 0)
    terminal.wait_for("daemon not running", timeout_s=8)
    terminal.type(DOWN)
    terminal.type("r")
    terminal.wait_for("No daemon runs on this machine: one is started for it.")
    terminal.type("n")
    workspace.start()
    terminal.wait_for("daemon running", timeout_s=8)
    terminal.type("q")

    assert terminal.end() == 0


@needs_pty
def test_a_window_may_change_its_size(workspace: Workspace, watch: Callable[..., Terminal]) -> None:
    terminal = watch()
    terminal.wait_for("claims", "FLOW")
    terminal.resize(200, 50)
    terminal.wait_for("GROUP")
    terminal.resize(30, 8)
    until(lambda: "GROUP" not in terminal.text)
    terminal.resize(80, 24)
    terminal.wait_for("FLOW", "q quit")


@needs_pty
@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 0), (None, 130)])
def test_however_it_ends_the_terminal_is_as_it_was(
    watch: Callable[..., Terminal], number: signal.Signals | None, code: int
) -> None:
    """By a plain kill, and by Ctrl-C."""
    terminal = watch()
    terminal.wait_for("claims")
    if number is None:
        terminal.type("\x03")
    else:
        terminal.process.send_signal(number)

    assert terminal.end() == code
    assert terminal.is_as_before()
    assert terminal.raw.rstrip().count(ALTERNATE_OFF) == 1


@needs_pty
@pytest.mark.parametrize("kind", ["dumb", "unknown", ""])
def test_a_terminal_that_can_show_no_screen_says_so(workspace: Workspace, kind: str) -> None:
    """With what shows the same there."""
    from tests.cli.terminal import Terminal

    with Terminal("--workspace", workspace.root, "status", "--watch", columns=200, TERM=kind) as terminal:
        assert terminal.end() == 2
        said = terminal.wait_for("fix:") if "fix:" not in terminal.text else terminal.text

    assert f"this terminal cannot move its cursor (TERM is {kind!r})" in said
    assert "`data-engine status --json`" in said
    assert ALTERNATE_ON not in terminal.raw


def test_without_a_terminal_it_refuses_with_the_fix(workspace: Workspace, cli: Cli) -> None:
    """A pipe, a file, a scheduled task: nobody could press a key."""
    refused = cli("--workspace", workspace.root, "status", "--watch")

    assert refused.code == 2
    assert "a screen needs a terminal" in refused.err
    assert "`data-engine status --json` prints for programs" in refused.err
    assert refused.out == ""


def test_a_screen_and_one_document_are_not_both(workspace: Workspace, cli: Cli) -> None:
    refused = cli("--workspace", workspace.root, "status", "--watch", "--json")

    assert refused.code == 2
    assert "--watch shows a screen" in refused.json["error"]["what"]


def test_what_only_looks_stays_without_the_screen(workspace: Workspace) -> None:
    """`status` alone is asked most often."""
    code = (
        "import sys; from data_engine.cli.app import run; run(['--workspace', sys.argv[1], 'status']); "
        "print([name for name in ('data_engine.cli.watch', 'rich.live', 'rich.layout') if name in sys.modules])"
    )
    repository = str(Path(__file__).parents[2])
    told = subprocess.run(
        [sys.executable, "-c", code, str(workspace.root)], capture_output=True, text=True, check=True, cwd=repository
    )

    assert told.stdout.rstrip().endswith("[]")


def test_of_many_flows_the_chosen_one_is_seen_and_nothing_is_obeyed(ws: WorkspaceFiles) -> None:
    """However long the list, small the terminal, and strange a title."""
    for number in range(40):
        ws.module(
            f"flow_{number:02}",
            "from data_engine import Flow\ndef build():\n    return Flow(group='[red]G\\x1b[2J').step(len)",
        )
    shown = io.StringIO()
    console = Console(file=shown, width=80, height=24, markup=False, highlight=False, emoji=False)
    screen = WatchScreen(Workspace(ws.root), console)
    screen.look()

    assert all(screen.press("down") for _ in range(35))
    console.print(screen.drawn(), height=24)

    lines = shown.getvalue().splitlines()
    assert len(lines) == 24
    assert max(map(len, lines)) <= 80
    assert any(line.startswith("> flow_35") for line in lines)
    assert "\x1b" not in shown.getvalue()
    assert "q quit" in lines[-1]


def test_no_key_begins_anything_without_a_yes(ws: WorkspaceFiles) -> None:
    """A key that does nothing now says why; q leaves, and in a question it is a no."""
    ws.notebook("claims", POLLED)
    (ws.root / "in").mkdir()
    shown = io.StringIO()
    screen = WatchScreen(Workspace(ws.root), Console(file=shown, width=200, height=24))
    screen.look()

    def text_after(*keys: str) -> str:
        shown.truncate(0)
        assert all(screen.press(key) for key in keys)
        screen._console.print(screen.drawn(), height=24)
        return shown.getvalue()

    assert "Stop claims: not now, nothing of it runs." in text_after("s")
    assert "Retry claims: not now, nothing of it is held." in text_after("t")
    assert "Log claims: not now, it never ran on this machine." in text_after("l")
    assert "Run claims now?" in text_after("r")
    assert "Run claims now?" in text_after("enter", "x", "down")
    assert "Nothing was done." in text_after("q")
    assert "try its held files again" in text_after("?")
    assert not screen.press("q")
    assert Workspace(ws.root).runs() == []
