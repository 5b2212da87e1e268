"""`%flow` in a shell: each subcommand gives what its plain Python twin gives, and mistakes end in a message with the fix."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import sysconfig
import threading
from pathlib import Path

import pytest
from IPython.core.oinspect import getdoc

from data_engine import Workspace
from data_engine.errors import FlowExecutionError, FlowValidationError
from data_engine.formatting import cli_line
from data_engine.platforms.host import shell_line
from data_engine.platforms.processes import interrupt_main_thread
from data_engine.workspace.provision import example_notebook
from jupyter_extension.cell_hints import in_cell, shell_of
from jupyter_extension.commands import all_commands
from tests.jupyter.conftest import Shell
from tests.support import WorkspaceFiles, notebook_bytes, until

SLOW_BUILD = "def build():\n    return Flow(group='G').step(wait)"
ROOT = Path(__file__).parent.parent.parent
CELLS = (
    "from data_engine import Flow",
    "def read(context):\n    return 21",
    "def double(context):\n    return context.current * context.params.get('by', 2)",
    "def build():\n    return Flow(group='G').step(read, save_as='number').step(double, save_as='twice')",
)


@pytest.fixture
def claims(ws: WorkspaceFiles, monkeypatch: pytest.MonkeyPatch) -> WorkspaceFiles:
    ws.notebook("claims", *CELLS)
    monkeypatch.setenv("DATA_ENGINE_WORKSPACE_ROOT", str(ws.root))
    return ws


def message(shell: Shell) -> str:
    assert isinstance(shell.error, FlowValidationError)
    return shell.out


def test_loading_is_idempotent_and_unloading_leaves_nothing(shell: Shell) -> None:
    """Twice loaded there is one magic and one completer; unloaded there is neither."""
    from data_engine import load_ipython_extension, unload_ipython_extension

    load_ipython_extension(shell.ipython)
    load_ipython_extension(shell.ipython)
    assert len(shell.ipython.Completer.custom_matchers) == 1

    unload_ipython_extension(shell.ipython)
    unload_ipython_extension(shell.ipython)
    assert "flow" not in shell.ipython.magics_manager.magics["line"]
    assert shell.ipython.Completer.custom_matchers == []


@pytest.mark.parametrize(
    ("cell", "told"),
    [
        ("def build():\n    Flow(group='G')", "build() returns nothing: its `return` is missing."),
        ("build = build()", "`build` becomes what build() returned"),
        ("total = 5", ""),
        ("def build():\n    return Flow(group='G')", ""),
    ],
)
def test_a_wrong_build_is_told_below_its_cell(shell: Shell, cell: str, told: str) -> None:
    """At once, before anything is drawn or deployed; a good cell says nothing."""
    shell.run("from data_engine import Flow\nbuild = lambda: Flow(group='G')")

    shell.run(cell)

    assert told in shell.out if told else shell.out == ""


def test_loading_starts_nothing_and_imports_no_data_library() -> None:
    """In a fresh interpreter, whose shell is there already: no Polars, no DuckDB, no nbformat, no tornado, in 0.3 s of CPU."""
    code = (
        "import sys, time\n"
        "from IPython.core.interactiveshell import InteractiveShell\n"
        "from traitlets.config import Config\n"
        "config = Config(); config.HistoryManager.enabled = False\n"
        "shell = InteractiveShell.instance(config=config)\n"
        "before, t = set(sys.modules), time.process_time()\n"
        "shell.run_line_magic('load_ext', 'data_engine')\n"
        "print(time.process_time() - t < 0.3, [n for n in 'polars duckdb nbformat tornado typer'.split() "
        "if n in set(sys.modules) - before], 'subprocess' in set(sys.modules) - before)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "True [] False"


def test_preview_is_the_notebooks_own_build(shell: Shell) -> None:
    for cell in CELLS:
        shell.run(cell)

    assert shell.run("%flow preview --use number") == 21
    assert shell.run("%flow preview") == 42
    assert shell.run("%flow preview --param by=3 --fresh") == 63
    assert shell.run("%flow preview --set by=3 --fresh") == shell.run("%flow preview by=3 --fresh") == 63
    assert shell.run("x = %flow preview\nx + 1") == 43


def test_a_named_preview_is_the_module_as_saved(shell: Shell, claims: WorkspaceFiles) -> None:
    shell.run("def build():\n    raise AssertionError")

    assert shell.run("%flow preview claims --use=number") == 21


def test_run_once_gives_contexts_also_of_sources_that_failed(shell: Shell, claims: WorkspaceFiles) -> None:
    contexts = shell.run("%flow run claims --once --param by=0.5")

    assert [context.current for context in contexts] == [10.5]


def test_compile_says_what_production_takes_and_how_it_is_deployed(shell: Shell, claims: WorkspaceFiles) -> None:
    shell.run("%flow compile claims")

    assert "4 of 4 statements in production  not deployed" in shell.out


def test_show_draws_the_flow_and_says_what_production_runs_of_it(shell: Shell, claims: WorkspaceFiles) -> None:
    """Its steps once: HTML has the picture, text a table."""
    shown = shell.run("%flow show claims")
    assert re.search(r"^production +not deployed$", shell.out, re.MULTILINE)
    assert re.search(r"^last run +never on this machine$", shell.out, re.MULTILINE)
    assert re.search(r"^Double +double +twice$", shell.out, re.MULTILINE)
    assert "step 1" not in shell.out
    drawn = shown._repr_mimebundle_()["text/html"]
    assert (drawn.count("<svg"), drawn.count("<table")) == (1, 0)

    shell.run("%flow run claims --once")
    shell.run("%flow show claims")
    assert re.search(r"^last run +success, 20", shell.out, re.MULTILINE)


def test_deploy_gives_the_entries_and_a_broken_one_is_raised(shell: Shell, claims: WorkspaceFiles) -> None:
    assert [entry.name for entry in shell.run("%flow deploy claims")] == ["claims"]
    assert "deployed      claims.ipynb" in shell.out

    claims.notebook("claims", "def build():\n    return 1 / 0")
    shell.run("%flow deploy claims")
    assert isinstance(shell.error, FlowExecutionError)

    shell.run("%flow deploy --all --yes")
    assert shell.error is None
    assert "not deployed  claims.ipynb: " in shell.out

    shell.run("%flow deployments claims")
    assert re.search(r"^Id +Flow +When +Who +What", shell.out, re.MULTILINE)
    assert re.search(r"claims  20\S+ \S+  \S+@\S+ +live", shell.out)


def test_a_deploy_of_everything_in_a_cell_shows_what_would_change_until_it_is_confirmed(
    shell: Shell, claims: WorkspaceFiles
) -> None:
    """A deploy of one flow says in a line what starts."""
    polled = "Flow(group='P').watch(mode='poll', source='../in', interval='1s').step(print)"
    for name in ("polled", "draft"):
        claims.notebook(name, f"from data_engine import Flow\n\ndef build():\n    return {polled}")
    claims.source("in/a.csv")
    shell.run("%flow deploy polled")
    assert "polled: 1 file runs once the engine is on (%flow start)" in shell.out

    shell.run("%flow deploy --all")
    assert "draft (not deployed): every 1 s when files change; 1 file runs once the engine is on" in shell.out
    assert "Repeat the line with --yes to do it: without a name every module goes live." in shell.out
    shell.run("from data_engine import Workspace")
    assert shell.run("Workspace.current().deployment('draft')") == "not deployed"

    shell.run("%flow deploy --all --yes")
    assert "draft: 1 file runs once the engine is on" in shell.out
    assert shell.run("Workspace.current().deployment('draft')") == "as deployed"


def test_nothing_is_deployed_while_the_notebook_has_unsaved_edits(
    shell: Shell, claims: WorkspaceFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its file holds older code than the cells; --yes takes the file as it is, and a saved one goes, also with a cell twice."""
    monkeypatch.setattr(type(shell.ipython), "kernel", object(), raising=False)
    monkeypatch.setenv("DATA_ENGINE_NOTEBOOK", str(claims.modules / "claims.ipynb"))
    workspace = Workspace(claims.root)
    edited = (*CELLS[:2], CELLS[2].replace("2)", "3)"), CELLS[3])
    for cell in edited:
        shell.ipython.run_cell(cell, store_history=True)

    shell.run("%flow deploy")
    assert "claims.ipynb was not saved since In [3] ran" in message(shell)
    assert "Ctrl+S" in shell.out
    assert "%flow deploy claims --yes" in shell.out
    assert workspace.deployments() == []

    shell.run("%flow deploy --yes")
    assert [one.flow for one in workspace.deployments()] == ["claims"]

    claims.notebook("claims", *edited, edited[2])
    shell.run("%flow deploy")
    assert shell.error is None
    assert len(workspace.deployments()) == 2


def test_a_deploy_says_which_files_were_done_before(shell: Shell, claims: WorkspaceFiles) -> None:
    """By a draft that ran by hand: they are not done again, and the command that does them is named."""
    claims.source("config/data_engine.toml", '[deploy]\nmode = "ask"\n')
    claims.source("in/a.csv")
    claims.notebook(
        "polled",
        "from data_engine import Flow",
        "def build():\n    return Flow(group='G').watch(mode='poll', source='../in', interval='1s', settle=0).step(str)",
    )
    shell.run("from data_engine import Workspace")
    shell.run("_ = Workspace.current().load_flow('polled').run_once()")
    shell.run("%flow deploy polled")
    assert " polled: 1 file was done before and counts as done." in shell.out
    assert ": %flow backfill polled --reprocess all" in shell.out


def test_the_warnings_of_runs_are_told_in_their_cards(shell: Shell, claims: WorkspaceFiles) -> None:
    """Of runs made here and of those of the history; a run without any, and a table of such runs, say nothing of it."""
    claims.notebook(
        "claims",
        "import logging",
        "from data_engine import Flow",
        "def read(context):\n    logging.warning('odd')\n    context.log('odder', level='warning')",
        "def build():\n    return Flow(group='G').step(read)",
    )
    claims.notebook(
        "quiet", "from data_engine import Flow", "def build():\n    return Flow(group='G').step(lambda c: 1)"
    )
    shell.run("from data_engine import Workspace\nws = Workspace.current()")

    (context,) = shell.run("ws.load_flow('claims').run_once()")
    assert context.warnings == 2
    assert "2 warnings" in shell.out
    (run,) = shell.run("ws.runs()")
    assert (run.warnings, run["warnings"]) == (2, 2)
    assert "2 warnings" in shell.out
    shell.run("ws.load_flow('quiet').run_once()")
    assert "warning" not in shell.out
    shell.run("ws.runs('quiet')")
    assert "warning" not in shell.out


def test_a_flow_is_undeployed_and_its_notebook_restored(shell: Shell, claims: WorkspaceFiles) -> None:
    """Production runs it no more, and again; a notebook that is gone is put back, and one that is there left alone."""
    claims.source("config/data_engine.toml", '[deploy]\nmode = "ask"\n')
    shell.run("from data_engine import Workspace")
    shell.run("%flow deploy claims")
    shell.run("%flow undeploy claims")
    assert "%flow rollback claims" in shell.out
    assert shell.run("Workspace.current().deployment('claims')") == "not deployed"
    shell.run("%flow deploy --all --yes")
    assert "To let production run it again, as it is now: %flow deploy claims" in shell.out
    assert shell.run("Workspace.current().deployment('claims')") == "not deployed"
    shell.run("%flow rollback claims")
    assert shell.run("Workspace.current().deployment('claims')") == "as deployed"

    notebook = claims.root / "flow_modules" / "claims.ipynb"
    before = notebook.read_bytes()
    notebook.unlink()
    shell.run("%flow restore claims")
    assert notebook.read_bytes() == before
    shell.run("%flow restore claims")
    assert isinstance(shell.error, FlowValidationError)


def test_a_module_is_compiled_as_a_whole(shell: Shell, claims: WorkspaceFiles) -> None:
    claims.module("plain", "from data_engine import Flow\ndef build():\n    return Flow(group='G')\n")

    shell.run("%flow compile plain")
    assert "plain.py is a Python module: production runs the whole of it.\n" in shell.out


def test_status_and_stop_need_no_daemon(shell: Shell, claims: WorkspaceFiles) -> None:
    assert shell.run("%flow status").flows[0].name == "claims"
    assert re.search(r"^daemon +not running\nengine +off$", shell.out, re.MULTILINE)

    shell.run("%flow stop")
    assert shell.out == "Out[0]: No daemon was running.\n"


def test_cache_tells_what_is_kept_and_forgets_it(shell: Shell) -> None:
    for cell in CELLS:
        shell.run(cell)
    shell.run("%flow preview")

    shell.run("%flow cache")
    assert shell.out.startswith("Previews keep ")
    assert not shell.out.startswith("Previews keep 0 bytes")
    shell.run("%flow cache clear")
    shell.run("%flow cache info")
    assert shell.out.startswith("Previews keep 0 bytes")


def test_starting_says_what_is_not_deployed_as_in_a_terminal(shell: Shell, claims: WorkspaceFiles) -> None:
    """In one line, with what to type; the status is what `%flow status` shows."""
    claims.source("config/data_engine.toml", '[deploy]\nmode = "ask"\n')
    for name in ("north", "south", "west"):
        claims.notebook(name, "from data_engine import Flow\ndef build():\n    return Flow('G').step(str)")
    (claims.modules / "example.ipynb").write_text(example_notebook(), encoding="utf-8")

    try:
        shell.run("%flow start")
    finally:
        Workspace(claims.root).kill()

    assert shell.out.startswith("It keeps running")
    assert "The engine is on: 0 of 5 flows run by themselves." in shell.out
    assert "Not deployed, so nothing of them runs by itself: claims, example, north and 2 more." in shell.out


def test_the_daemon_is_started_used_and_stopped(shell: Shell, claims: WorkspaceFiles) -> None:
    """start, run, explain, status and stop against a daemon of this test's own workspace."""
    from data_engine import Workspace
    from data_engine.daemon import link

    try:
        shell.run("%flow start --no-engine")
        assert shell.run("%flow status").daemon.running
        assert not shell.run("%flow status").engine.on
        runs = shell.run("%flow run claims")
        assert [(run.flow, run.status) for run in runs] == [("claims", "success")]
        assert "1 run  1 success" in shell.out
        shell.run("%flow run claims mnat=1 by=3")
        assert shell.out.startswith("warning: no step has read the params mnat, which the run was given\n")
        shell.run("from data_engine import load_flow\nload_flow('claims')")
        assert re.search(r"^last run  20\S+ \S+ +success, in production$", shell.out, re.MULTILINE)
        assert shell.run("%flow run claims --no-wait") != []
        assert {one.flow for one in shell.run("%flow explain claims")} == {"claims"}  # and the run that may go on
        shell.run("%flow start")
        assert "The engine is on: " in shell.out
        assert "It keeps running when this kernel or JupyterLab ends: %flow stop ends it" in shell.out
        shell.run("%flow stop")
        assert shell.out == "Out[0]: The daemon ends when its running work is done.\n"
    finally:
        Workspace(claims.root).kill()
        for known in link._clients.values():
            known.close()


def test_an_interrupted_run_is_one_line_and_goes_on_in_the_daemon(
    shell: Shell, ws: WorkspaceFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ctrl-C ends the waiting only; the cell says so, and how to end the run."""
    from data_engine import Workspace
    from data_engine.daemon import link

    ws.notebook(
        "slow", "import time\nfrom data_engine import Flow", "def wait(context):\n    time.sleep(60)", SLOW_BUILD
    )
    workspace = Workspace(ws.root)
    workspace.deploy("slow")
    monkeypatch.setenv("DATA_ENGINE_WORKSPACE_ROOT", str(ws.root))

    def interrupt() -> None:
        until(lambda: workspace.status().active_runs)
        interrupt_main_thread()

    try:
        workspace.start()
        presses = threading.Thread(target=interrupt)
        presses.start()
        shell.run("%flow run slow")
        presses.join()

        assert isinstance(shell.error, KeyboardInterrupt)
        assert re.fullmatch(
            r"KeyboardInterrupt: interrupted here only: run \w{8} goes on in the daemon; .* ends it", shell.out.strip()
        )
        assert [run.flow for run in workspace.status().active_runs] == ["slow"]
    finally:
        workspace.kill()
        for known in link._clients.values():
            known.close()


MISTAKES = {
    "%flow previw": ["knows no 'previw'", "did you mean %flow preview?"],
    "%flow xyz": ["knows no 'xyz'", "It knows list, show, preview, deploy"],
    "%flow preview --usee raw": ["has no option --usee", "did you mean --use?"],
    "%flow status --json": ["has no option --json", "leave it out"],
    "%flow preview --use": ["--use: expected one argument", "see %flow preview --help"],
    "%flow preview a b": ["takes only one flow, and is given 'a' and 'b'", "write %flow preview"],
    "%flow deploy claims --note letzte Woche": ["only one flow", "write %flow deploy"],
    "%flow run --watch": ["has no option --watch", "it has"],
    "%flow show --json": ["has no option --json", "leave it out"],
    "%flow test by=2": ["takes no parameters, and was given 'by=2'", "%flow golden by=2 keeps one with these"],
    "%flow test claims by=2": ["takes no parameters", "with the parameters that it was kept with"],
    "%flow compile claims by=2": [
        "takes no parameters",
        "leave it out; preview, run, plan, profile, golden, backfill take parameters",
    ],
    "%flow status --watch": ["has no option --watch", "leave it out"],
    "%flow status claims": ["takes no name", "write %flow status"],
    "%flow preview 'claims": ["no closing quotation", "close the quotation mark"],
    "%flow preview": ["no cell of this notebook has defined build() yet", "run the cell that defines build()"],
    "%flow preview nosuch": ["Available flow modules: claims", "check the spelling"],
    "%flow preview claim": ["Flow module 'claim' is not available", "did you mean claims?"],
    "%flow preview claims --use clean": ["saves an object 'clean'", "saved objects: number, twice"],
    "%flow preview claims --source a.csv": ["the flow has no source", "leave source= out"],
    "%flow preview claims --param x": ["'x' gives no parameter", "--set x=VALUE"],
    "%flow compile": ["which flow?", "%flow compile NAME"],
    "%flow deploy": ["which flow? This kernel does not know which notebook it runs", "%flow deploy NAME; or say which"],
    "%flow deploy claims --all": ["cannot be combined", "%flow deploy --all"],
    "%flow compare claims": ["has no 'compare': it is a command of the shell", "type `!data-engine compare claims`"],
    "%flow secret set ops": [
        "has no 'secret': it is a command of the shell",
        "type `data-engine secret set ops` in a terminal",
    ],
    "%flow cache empty": ["does not know 'empty'", "%flow cache [clear|info]"],
}


@pytest.mark.parametrize("line", MISTAKES)
def test_a_mistake_is_a_short_typed_message_with_its_fix(line: str, shell: Shell, claims: WorkspaceFiles) -> None:
    """No frames of ours: the line that was typed, what is wrong, where, and the fix."""
    shell.run(line)

    lines = message(shell).splitlines()
    what, fix = MISTAKES[line]
    assert lines[0] == line
    assert lines[1] == ""
    assert what in lines[2]
    assert fix in "\n".join(part for part in lines if part.startswith("  fix:"))
    assert len(lines) <= 6


def test_a_kernel_that_was_not_told_its_notebook_takes_it_from_a_variable(
    shell: Shell, claims: WorkspaceFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As the message says, where nbclient or papermill runs the notebook; the shell of a kernel knows its folder."""
    monkeypatch.setattr(type(shell.ipython), "kernel", object(), raising=False)
    shell.run("%flow compile")
    assert "%env DATA_ENGINE_NOTEBOOK=PATH" in shell.out

    monkeypatch.setenv("DATA_ENGINE_NOTEBOOK", "")  # put back as it was
    shell.run(f"%env DATA_ENGINE_NOTEBOOK={claims.root / 'flow_modules' / 'claims.ipynb'}")
    shell.run("%flow compile")
    assert "claims.ipynb  4 of 4 statements" in shell.out


@pytest.mark.parametrize(("below", "before"), [("", ".."), ("drafts", "../drafts")])
def test_a_notebook_that_lies_in_no_flow_modules_is_told_where_flows_lie(
    shell: Shell, claims: WorkspaceFiles, monkeypatch: pytest.MonkeyPatch, below: str, before: str
) -> None:
    """Its own name is no way on, nor the spelling: only a move is, and what changes with it is said."""
    monkeypatch.setattr(type(shell.ipython), "kernel", object(), raising=False)
    notebook = claims.root / below / "Untitled.ipynb"
    notebook.parent.mkdir(exist_ok=True)
    notebook.write_bytes(notebook_bytes(*CELLS))
    monkeypatch.setenv("DATA_ENGINE_NOTEBOOK", str(notebook))
    way_on = (
        f"move it into {claims.modules} (in JupyterLab drag it there) and rename it (files called _*, Untitled* and *-Copy<n> are"
        f' never flows); its relative paths begin there then: "inbox" becomes "{before}/inbox"'
    )

    shell.run("%flow deploy")
    assert f"which flow? {notebook} is not a flow: production runs only notebooks of flow_modules" in message(shell)
    assert f"{way_on}; or name another flow: %flow deploy NAME" in shell.out

    for line in ("%flow deploy Untitled", "%flow compile Untitled"):
        shell.run(line)
        assert f"{notebook} is not a flow: production runs only notebooks of flow_modules" in message(shell), line
        assert way_on in shell.out
        assert "spelling" not in shell.out

    shell.run("%flow deploy Untitld")
    assert "spelling" in message(shell)
    assert "move it" not in shell.out
    shell.run("%flow compile claims")
    assert shell.error is None


def test_what_to_type_is_said_as_a_cell_takes_it(shell: Shell, claims: WorkspaceFiles) -> None:
    """`%flow` where it has the command; another one with `!`; and where `%flow` is not loaded, all with `!`."""
    claims.notebook(
        "claims", "from data_engine import Flow\ndef build():\n    return Flow(group='G').step(lambda c: 1 / 0)"
    )
    shell.run("%flow run claims --once")

    shell.run("%flow explain claims")
    assert "`%flow deploy claims` lets production run it" in shell.out
    assert " data-engine " not in shell.out
    assert "`data-engine " not in shell.out

    shell.run("explained = %flow explain claims\n%unload_ext data_engine\nexplained")
    assert "`!data-engine deploy claims` lets production run it" in shell.out

    shell.run("%load_ext data_engine\n%flow run nosuch")
    assert "data-engine list" not in shell.out.replace("!data-engine list", "")


def test_a_hint_works_where_the_environment_is_not_on_path(
    shell: Shell, claims: WorkspaceFiles, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """As in a kernel that JupyterLab or VS Code starts by its spec: the cell runs as it is told, also beside a `json.py`."""
    scripts = sysconfig.get_path("scripts")
    monkeypatch.setenv("PATH", without(scripts))
    (claims.root / "flow_modules" / "json.py").write_text("raise ImportError('not the library')\n", encoding="utf-8")
    monkeypatch.chdir(claims.root / "flow_modules")
    shell.run("%flow lease status")
    hint = message(shell).partition("type `")[2].partition("`")[0]

    assert hint.startswith("!")
    assert hint.endswith(" -P -m data_engine lease status")
    line = shell.ipython.var_expand(hint.removeprefix("!"))
    done = subprocess.run(line, shell=True, capture_output=True, text=True, check=True)
    assert done.stdout


def without(folder: str) -> str:
    """PATH without this folder."""
    return os.pathsep.join(one for one in os.environ["PATH"].split(os.pathsep) if one != folder)


@pytest.mark.skipif(sys.platform == "win32", reason="a command is a program there, not a script with a mark")
def test_the_command_of_another_environment_is_not_told(
    shell: Shell, claims: WorkspaceFiles, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """It may be of another version, and lacks what the flows import; a link into this environment is this one."""
    command = Path(sysconfig.get_path("scripts")) / "data-engine"
    other, ours = tmp_path / "other", tmp_path / "links"
    for folder in (other, ours):
        folder.mkdir()
    (other / "data-engine").write_text("#!/bin/sh\n", encoding="utf-8")
    (other / "data-engine").chmod(0o755)
    (ours / "data-engine").symlink_to(command)
    rest = without(str(command.parent))

    for first, is_ours in ((other, False), (ours, True)):
        monkeypatch.setenv("PATH", os.pathsep.join([str(first), rest]))
        shell.run("%flow doctor")
        assert ("`!data-engine doctor`" in message(shell)) == is_ours


def test_a_path_with_blanks_braces_and_marks_reaches_the_shell(shell: Shell) -> None:
    told = in_cell("`data-engine retry claims`", {}, shell_of("/my {venv}/<a>/python", None, "/my {venv}/<a>"))

    line = shell.ipython.var_expand(told.strip("`").removeprefix("!"))
    assert line == f"{shell_line(['/my {venv}/<a>/python', '-P', '-m', 'data_engine'])} retry claims"


def test_a_card_shows_the_hint_as_text(shell: Shell, claims: WorkspaceFiles, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where the path of the interpreter holds what HTML reads."""
    monkeypatch.setattr("jupyter_extension.display.shell_here", lambda: "!'/a <b>/python' -m data_engine")
    shell.run("%unload_ext data_engine")
    claims.notebook("claims", *CELLS)

    bundle = Workspace(claims.root).explain("claims")._repr_mimebundle_()

    assert "`!'/a <b>/python' -m data_engine deploy claims`" in bundle["text/plain"]
    assert "/a &lt;b&gt;/python" in bundle["text/html"]
    assert "<b>" not in bundle["text/html"]


def test_a_name_with_blanks_is_quoted_in_what_is_to_be_typed(shell: Shell, claims: WorkspaceFiles) -> None:
    """Also where it was typed without."""
    claims.notebook(
        "daily sales", "from data_engine import Flow", "def build():\n    return Flow(group='G').step(print)"
    )
    shell.run("%flow compare daily sales")
    assert f"`!{cli_line('compare', 'daily sales')}`" in message(shell)
    shell.run("%flow compare claims sales")
    assert "`!data-engine compare claims sales`" in message(shell)
    shell.run("%flow compile 'daily sale'")
    assert f"did you mean {cli_line('daily sales').partition(' ')[2]}?" in message(shell)


def test_runs_and_log_show_what_ran(shell: Shell, claims: WorkspaceFiles) -> None:
    """As `ws.runs()` and `ws.log()`; without a name the runs of all flows."""
    claims.notebook("other", "from data_engine import Flow", "def build():\n    return Flow(group='G').step(print)")
    claims.notebook(
        "claims",
        "from data_engine import Flow",
        "def build():\n    return Flow(group='G').step(lambda c: print('hello'))",
    )
    shell.run("%flow run claims --once\n%flow run other --once")
    assert [run.flow for run in shell.run("%flow runs")] == ["other", "claims"]
    assert [run.flow for run in shell.run("%flow runs --limit 1")] == ["other"]
    assert [run.flow for run in shell.run("%flow runs claims --since 2013-01 --status success")] == ["claims"]
    assert shell.run("%flow runs --until 2013-01") == []
    (run,) = shell.run("%flow runs claims")
    assert "claims" in shell.out
    assert [line.message for line in shell.run(f"%flow log {run.run_id[:8]}")] == ["hello"]

    assert shell.run("%flow log") == shell.run("%flow log " + shell.run("%flow runs")[0].run_id[:8])
    shell.run("%flow log nosuch")
    assert "nosuch" in message(shell)
    shell.run("%flow runs --limit many")
    assert "'many' is not a whole number" in message(shell)


def test_the_log_of_a_failed_run_shows_its_error(shell: Shell, claims: WorkspaceFiles) -> None:
    """As the hint of a failed flow says."""
    claims.notebook(
        "claims", "from data_engine import Flow", "def build():\n    return Flow(group='G').step(lambda c: 1 / 0)"
    )
    shell.run("%flow run claims --once")
    (run,) = shell.run("%flow runs claims")

    shell.run(f"%flow log {run.run_id[:8]}")

    assert "division by zero" in shell.out


def test_the_error_of_a_preview_is_said_as_a_cell_takes_it(shell: Shell, claims: WorkspaceFiles) -> None:
    """Of a plain call in Python too; who reads the error as text has the command of the shell."""
    build = "def build():\n    return Flow(group='G').mirror(root='../out').step(len)"
    claims.notebook("claims", "from data_engine import Flow", build)
    claims.notebook("twin", "from data_engine import Flow", build)
    shell.run("%flow deploy claims")

    shell.run("from data_engine import Workspace\nWorkspace.current().load_flow('twin').preview(write=True)")
    assert "to let both write there: `%flow deploy twin --yes`; " in shell.out
    assert "`data-engine deploy twin --yes`" in str(shell.error)

    shell.run("%unload_ext data_engine\nWorkspace.current().load_flow('twin').preview(write=True)")
    assert "to let both write there: `!data-engine deploy twin --yes`; " in shell.out


def test_a_secret_in_a_helper_is_told_by_compile_and_deploy(shell: Shell, claims: WorkspaceFiles) -> None:
    """By file and line; once, also where two flows use the helper."""
    claims.helper("shop", "TOKEN = 'h4rd-to-guess'")
    for name in ("claims", "other"):
        claims.notebook(name, "from flow_helpers.shop import TOKEN", *CELLS[:-1], f"{CELLS[-1]}.step(lambda c: TOKEN)")

    for line in ("%flow compile claims", "%flow deploy claims", "%flow deploy --all --yes"):
        shell.run(line)
        assert shell.out.count("flow_helpers/shop.py, line 1: `TOKEN` holds a secret") == 1
        assert "h4rd" not in shell.out


@pytest.mark.parametrize(
    ("build", "what"),
    [
        ("build = 5", "build is not a function but 5"),
        ("def build():\n    return 5", "build() returned int, not a Flow"),
    ],
)
def test_a_build_that_is_none_is_told(build: str, what: str, shell: Shell) -> None:
    shell.run(build)
    shell.run("%flow preview")

    assert what in message(shell)


def test_a_failing_step_shows_the_authors_line(shell: Shell) -> None:
    """As `build().preview()` does, and nothing of the magic."""
    shell.run("from data_engine import Flow\ndef bad(context):\n    return {}['amount']")
    shell.run("def build():\n    return Flow(group='G').step(bad)")
    shell.run("%flow preview")

    assert "return {}['amount']" in message(shell)
    assert "KeyError: 'amount'" in shell.out
    assert "run_line" not in shell.out


def test_a_wrong_call_in_build_is_placed_as_by_a_call_in_a_cell(shell: Shell) -> None:
    """Its cell, its line and the line's text; nothing of the magic."""
    shell.run("from data_engine import Flow")
    shell.run(
        "def build():\n    flow = Flow(group='G')\n    return flow.watch(mode='poll', source='../in', interval='soon')"
    )
    shell.run("build().preview()")
    by_call = message(shell)

    shell.run("%flow preview")

    by_magic = message(shell)
    place = "In [1], line 3\n    return flow.watch(mode='poll', source='../in', interval='soon')"
    assert place in by_call
    assert place in by_magic
    assert by_magic.partition(place)[2] == by_call.partition(place)[2]
    assert "run_line" not in by_magic


def test_a_mistake_in_the_authors_build_keeps_its_frames(shell: Shell) -> None:
    """It is no mistake in the line: Python's own traceback names the cell."""
    shell.run("def build():\n    return undefined_name")
    shell.run("%flow preview")

    assert isinstance(shell.error, NameError)
    assert "undefined_name" in shell.out


def test_a_misspelt_verb_is_told_without_frames_of_ours(shell: Shell) -> None:
    """The author's line, and the nearest verb; whoever asks whether there is one is answered."""
    shell.run("from data_engine import Flow\nbuild = lambda: Flow(group='G')\nbuild().preveiw()")

    assert isinstance(shell.error, AttributeError)
    assert "build().preveiw()" in shell.out
    assert "did you mean 'preview'?" in shell.out
    assert "flow.py" not in shell.out
    assert shell.run("hasattr(build(), 'preveiw'), getattr(build(), 'preveiw', 3)") == (False, 3)


def test_the_help_tells_every_subcommand_and_its_python_twin(shell: Shell) -> None:
    """`%flow?` and a bare `%flow` say the same."""
    shell.run("%flow")
    told = shell.out
    help_text = getdoc(shell.ipython.find_line_magic("flow")) or ""

    assert told.strip() == help_text.strip()
    for command in all_commands().values():
        assert command.summary in told
        assert command.twin in told


@pytest.mark.parametrize("name", all_commands())
def test_each_subcommand_has_help_that_runs_nothing(name: str, shell: Shell) -> None:
    command = all_commands()[name]
    for option in ("--help", "-h", "--nonsense --help"):
        assert shell.run(f"%flow {name} {option}") is None
        assert shell.error is None
        assert command.usage in shell.out
        assert command.twin in shell.out
        assert all(option.name in shell.out and option.help in shell.out for option in command.options)


def test_the_twins_are_python(shell: Shell) -> None:
    """What the help offers parses, and its names exist."""
    import ast

    import data_engine

    known = {*data_engine.__all__, "data_engine", "build"}
    for command in all_commands().values():
        for part in command.twin.replace("with --once:", "").replace("with --no-engine: .start()", "").split(";"):
            if part.strip():
                names = {node.id for node in ast.walk(ast.parse(part.strip())) if isinstance(node, ast.Name)}
                assert names <= known, part


def test_the_panel_is_shown_or_what_it_lacks_is_told(
    shell: Shell, claims: WorkspaceFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown = shell.run("%flow panel")
    assert type(shown).__name__ == "Panel"
    shown.close()

    monkeypatch.setitem(sys.modules, "jupyter_extension.panel", None)
    shell.run("%flow panel")
    assert "pip install anywidget" in message(shell)


def test_a_path_with_spaces_is_quoted(shell: Shell, claims: WorkspaceFiles) -> None:
    claims.source("in/a b.csv")
    claims.module(
        "files",
        """
        from data_engine import Flow
        def build():
            return Flow(group='G').watch(mode='manual', source='../in').step(lambda context: context.source.path.name)
        """,
    )

    assert shell.run('%flow preview files --source "a b.csv"') == "a b.csv"


COMPLETIONS = {
    "%flow ": list(all_commands()),
    "%flow sh": ["show"],
    "%flow show ": ["claims"],
    "%flow st": ["start", "stop", "status"],
    "%flow preview ": ["claims"],
    "%flow preview cl": ["claims"],
    "%flow preview claims --use ": ["number", "twice"],
    "%flow preview claims --use n": ["number"],
    "%flow preview --use number cl": ["claims"],
    "%flow preview claims --fresh --u": ["--use"],
    "%flow preview claims --use number --": [
        "--source",
        "--set",
        "--fresh",
        "--against",
        "--key",
        "--write",
        "--force",
        "--help",
    ],
    "%flow cache ": ["clear", "info"],
    "%flow status --": ["--help"],
}


@pytest.mark.parametrize("text", COMPLETIONS)
def test_the_tab_key_offers_what_fits(text: str, shell: Shell, claims: WorkspaceFiles) -> None:
    assert shell.complete(text) == COMPLETIONS[text]


def test_the_tab_key_knows_the_objects_of_the_notebooks_own_build(shell: Shell) -> None:
    """Read from its text: nothing is run."""
    shell.run(
        "def build():\n    raise AssertionError\n    Flow(group='G').step(f, save_as='mine').step(g, save_as = \"too\")"
    )

    assert shell.complete("%flow preview --use ") == ["mine", "too"]


@pytest.mark.parametrize("text", ["flow = bu", "flow.st", "%flow nonsense --u", "%flow preview --use x --use"])
def test_the_tab_key_never_fails_and_leaves_python_alone(text: str, shell: Shell) -> None:
    """Without a workspace, in an unknown subcommand, and where `flow` is a variable."""
    shell.run("build = 1")

    assert not set(shell.complete(text)) & set(all_commands())


@pytest.mark.skipif(sys.platform == "darwin", reason="there both are one name")
def test_a_flow_that_a_mac_named_is_found_as_everybody_types_it(shell: Shell, claims: WorkspaceFiles) -> None:
    claims.notebook("ta\u0308glich", *CELLS)

    found = shell.run("%flow explain täglich")

    assert shell.error is None
    assert {row.flow for row in found} == {"ta\u0308glich"}


def test_each_line_of_a_cell_shows_its_answer(
    shell: Shell, ws: WorkspaceFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    """IPython shows the value of the last line alone; one that is given a name is not shown."""
    ws.notebook("claims", "from data_engine import Flow\n\ndef build():\n    return Flow(group='C').step(len)")
    monkeypatch.chdir(ws.root)

    shell.run("%flow list\nkept = %flow runs claims\n%flow enable claims")

    assert shell.error is None
    assert shell.out.count("claims is enabled") == 1
    assert "Group" in shell.out.partition("claims is enabled")[0]
    assert "No runs" not in shell.out
