"""Runs in worker processes: what comes home, what is put back between two jobs, and who may use a worker again."""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from pathlib import Path

import psutil
import pytest

from data_engine.cause import Cause
from data_engine.clock import boot_clock
from data_engine.daemon import worker_pool
from data_engine.engine.candidates import Source
from data_engine.engine.local_workspace import local_workspace
from data_engine.errors import FlowValidationError, LedgerError
from data_engine.ledger.logs import FIRST_LINES, MOST_LINES, gap
from data_engine.model import Event, LogLine, RunStarted, SourceKey, StepProgress, StepStarted
from data_engine.notebook.catalog import entry_of_message
from data_engine.scheduler.executor import Job, SourceRun
from tests.daemon.worker_harness import Shop, number_in, play, until
from tests.support import ON_WINE, WorkspaceFiles

C_LIBRARY = "ucrtbase" if sys.platform == "win32" else None
REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.fixture(autouse=True)
def importable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(REPOSITORY))


def flow(ws: WorkspaceFiles, name: str, body: str, *, top: str = "", steps: str = ".step(work)") -> None:
    lines = "\n".join(f"    {line}" for line in body.strip("\n").split("\n"))
    ws.module(
        name,
        f"import os, sys, time\nfrom data_engine import Flow\n{top}\ndef work(context):\n{lines}\n"
        f"def build():\n    return Flow(group='G'){steps}\n",
    )


def test_a_run_comes_home_as_events(ws: WorkspaceFiles) -> None:
    """In their order, with the id it was given, its params, its source's key and its outputs."""
    ws.source("in/a.csv")
    flow(
        ws,
        "a",
        "print(context.params['n'], context.source.path.name)\ncontext.progress(1, 2)\n"
        "out = context.config.config_dir.parent / 'out.txt'\nout.write_text('x')\nreturn out",
        steps=".watch(mode='poll', source='../in', interval='5s').step(work, label='Work')",
    )
    run = SourceRun(Source(ws.root / "in", ws.root / "in/a.csv", SourceKey("../in", "a.csv")), "r1")

    async def scene() -> None:
        async with Shop(ws) as shop:
            shop.workers.submit(Job("job", "run", "a", None, (run,), {"n": 5}))
            end = await shop.end()

            kinds = [type(one).__name__ for one in shop.events]
            assert kinds == ["RunStarted", "StepStarted", "LogLine", "StepProgress", "StepFinished", "RunFinished"]
            started = shop.events[0]
            assert isinstance(started, RunStarted)
            assert (started.run_id, started.flow, started.key) == ("r1", "a", SourceKey("../in", "a.csv"))
            assert started.seen == ()  # with params that no scheduled run is given it settles nothing
            assert shop.log("r1") == ["INFO 5 a.csv"]
            assert shop.finished("r1").seen == started.seen
            assert shop.finished("r1").status == "success"
            assert (end.status, end.error, end.cause, end.not_begun) == ("done", None, None, ())
            assert isinstance(shop.events[3], StepProgress)

    play(scene())


def test_a_question_in_a_worker_fails_at_once_and_names_a_parameter(ws: WorkspaceFiles) -> None:
    """Nobody sits before a daemon: the step does not wait."""
    flow(ws, "asks", "return input('month? ')")

    async def scene() -> None:
        async with Shop(ws) as shop:
            shop.workers.submit(Job("job", "run", "asks", None, (SourceRun(run_id="r1"),)))
            await shop.end()

            finished = shop.finished("r1")
            assert finished.status == "failed"
            assert "nobody answers input() in production: take a parameter" in str(finished.error)

    play(scene())


def test_no_step_runs_before_the_start_of_its_run_is_kept(ws: WorkspaceFiles) -> None:
    """Whoever is killed in the first step: the start is in the worker's journal, and the end of the run before."""
    told = ws.root / "told"
    flow(
        ws,
        "a",
        f"from pathlib import Path\n"
        f"for one in Path({str(ws.root.parent / 'journals')!r}).iterdir():\n"
        f"    if one.stat().st_size: open({str(told)!r}, 'w').write(one.read_text())",
    )

    async def scene() -> None:
        async with Shop(ws) as shop:
            await shop.run("a", "one", "two")

    play(scene())
    kinds = [(line[0], line[1]) for line in map(json.loads, told.read_text().splitlines())]
    kept = [("RunStarted", "one"), ("StepStarted", "one"), ("StepFinished", "one"), ("RunFinished", "one")]
    assert kinds == [*kept, ("RunStarted", "two"), ("StepStarted", "two")]


def test_a_start_that_cannot_be_kept_is_no_run(ws: WorkspaceFiles) -> None:
    """The job is refused for now, nothing of it runs, and the worker is as good as before."""
    resource = pytest.importorskip("resource", reason="Windows bounds no file sizes")
    mark = ws.root / "mark"
    flow(ws, "a", f"open({str(mark)!r}, 'a').write('ran ')")

    async def scene() -> None:
        async with Shop(ws, limit=1) as shop:
            await shop.run("a", "first")
            await until(shop.is_idle)
            for pid in shop.alive():  # as on a drive that is full: files cannot grow any more
                psutil.Process(pid).rlimit(psutil.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY))
            refused = await shop.run("a", "bad", "later")

            assert (refused.status, refused.is_passing) == ("refused", True)
            assert "the start of a run cannot be kept" in str(refused.error and refused.error["what"])
            assert [one.run_id for one in refused.not_begun] == ["bad", "later"]
            assert (shop.begun(), mark.read_text()) == (["first"], "ran ")
            for pid in shop.alive():
                psutil.Process(pid).rlimit(psutil.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
            assert (await shop.run("a", "good")).status == "done"

    play(scene())


def test_what_cannot_be_recorded_yet_is_kept(ws: WorkspaceFiles) -> None:
    """The runs go on, the journal is not emptied, and afterwards it is."""
    flow(ws, "a", "pass")
    trouble = [True]

    def before(event: Event) -> None:
        if trouble[0]:
            raise LedgerError("the ledger is locked")

    async def scene() -> None:
        async with Shop(ws, limit=1, before=before) as shop:
            assert (await shop.run("a", "one")).status == "done"
            assert any(b'"RunFinished","one"' in one.read_bytes() for one in shop.journals.iterdir())
            trouble[0] = False
            await shop.run("a", "two", job_id="2")  # on whichever worker
            assert b"".join(one.read_bytes() for one in shop.journals.iterdir()) == b""

    play(scene())


def test_a_job_of_many_sources_shares_one_pass(ws: WorkspaceFiles) -> None:
    """The module is executed once for its sources, and afresh for the next job."""
    flow(ws, "a", "STATE.append(1)\nprint(len(STATE))", top="STATE = []")

    async def scene() -> None:
        async with Shop(ws) as shop:
            await shop.run("a", "1", "2")
            await until(shop.is_idle)
            await shop.run("a", "3")

            assert [shop.log(one) for one in ("1", "2", "3")] == [["INFO 1"], ["INFO 2"], ["INFO 1"]]

    play(scene())


def test_a_failed_run_leaves_the_others_of_its_job_alone(ws: WorkspaceFiles) -> None:
    """The error names its step and line."""
    flow(ws, "a", "raise KeyError('x') if context.metadata['run_id'] == '1' else SystemExit(3)")

    async def scene() -> None:
        async with Shop(ws) as shop:
            end = await shop.run("a", "1", "2")

            assert [shop.finished(one).status for one in ("1", "2")] == ["failed", "failed"]
            assert "KeyError" in str(shop.finished("1").error)
            assert "a.py, line" in str(shop.finished("1").error)
            assert "SystemExit: 3" in str(shop.finished("2").error)
            assert end.status == "done"

    play(scene())


def test_results_that_cannot_be_pickled_are_no_trouble(ws: WorkspaceFiles) -> None:
    """Results stay where they are; only what happened travels."""
    flow(ws, "a", "return (one for one in [lambda: 1])")

    async def scene() -> None:
        async with Shop(ws) as shop:
            assert (await shop.run("a")).status == "done"
            assert shop.finished().status == "success"

    play(scene())


def test_a_worker_is_used_again(ws: WorkspaceFiles, monkeypatch: pytest.MonkeyPatch) -> None:
    """Third-party imports stay. Runs that are soon over need no second worker."""
    monkeypatch.setattr(worker_pool, "_SPARE_AFTER_S", 600)
    flow(ws, "a", "import wave\nprint(os.getpid(), not hasattr(wave, 'used'))\nwave.used = True")

    async def scene() -> None:
        async with Shop(ws) as shop:
            await shop.run("a", "1")
            await until(shop.is_idle)
            await shop.run("a", "2")

            first, second = shop.log("1")[0].split(), shop.log("2")[0].split()
            assert first[1] == second[1]
            assert (first[2], second[2]) == ("True", "False")
            assert shop.workers.free() == 2
            assert len(shop.remembered) == 1

    play(scene())


def test_a_worker_is_ready_to_take_over_from_a_long_run(ws: WorkspaceFiles, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is warm before there is a second job."""
    monkeypatch.setattr(worker_pool, "_SPARE_AFTER_S", 0.1)
    flow(ws, "a", "while not os.path.exists('go'): time.sleep(0.01)")

    async def scene() -> None:
        async with Shop(ws) as shop:
            shop.submit("a")
            await until(lambda: any(one.is_free for one in shop.workers._handles))
            assert len(shop.alive()) == 2
            (ws.modules / "go").touch()
            await shop.end()

    play(scene())


def test_everything_is_put_back_between_two_jobs(ws: WorkspaceFiles) -> None:
    """Directory, environment, search path, signal handlers, logging, and whatever replaced the streams."""
    flow(
        ws,
        "a",
        "import logging, signal, warnings, locale\n"
        "print(os.getcwd() == FOLDER, 'X' in os.environ, 'PATH' in os.environ, 'x' in sys.path, signal.getsignal(signal.SIGTERM),"
        " logging.root.level, len(warnings.filters), os.getpid())\n"
        "os.chdir('/'); os.environ['X'] = '1'; os.environ.pop('PATH', None); sys.path.append('x')\n"
        "signal.signal(signal.SIGTERM, lambda *a: None); logging.basicConfig(level=5, force=True)\n"
        "warnings.simplefilter('ignore'); os.umask(0o077)",
        top=f"FOLDER = {str(ws.modules)!r}",
    )

    async def scene() -> None:
        async with Shop(ws) as shop:
            await shop.run("a", "1")
            pid = int(shop.log("1")[0].split()[-1])
            await until(shop.is_idle)
            assert os.path.samefile(psutil.Process(pid).cwd(), local_workspace(ws.root).local.runtime_dir)
            await shop.run("a", "2")

            assert shop.log("1") == shop.log("2")
            assert shop.log("1")[0].startswith("INFO True False True False")

    play(scene())


@pytest.mark.parametrize(
    "leak",
    [
        "import threading; threading.Thread(target=time.sleep, args=(600,)).start()",
        "import subprocess; subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'])",
        "KEPT.append(open(os.path.join(FOLDER, 'kept'), 'w'))",
    ],
    ids=["thread", "child", "file"],
)
def test_a_worker_that_holds_on_to_something_is_replaced(ws: WorkspaceFiles, leak: str) -> None:
    """And what it holds ends with it: threads, child processes, open files of the workspace."""
    flow(
        ws,
        "a",
        f"import wave\nKEPT = wave.__dict__.setdefault('kept', [])\nprint(os.getpid())\n{leak}",
        top=f"FOLDER = {str(ws.root)!r}",
    )

    async def scene() -> None:
        async with Shop(ws) as shop:
            await shop.run("a", "1")
            pid = int(shop.log("1")[0].split()[1])

            await until(lambda: pid in shop.forgotten)
            assert shop.finished("1").status == "success"
            assert (await shop.run("a", "2")).status == "done"
            assert shop.log("2")[0].split()[1] != str(pid)

    play(scene())


def test_all_that_is_printed_is_in_the_log(ws: WorkspaceFiles) -> None:
    """By Python, by plain threads, by C code, by child processes; once, and before its step ends."""
    flow(
        ws,
        "a",
        "import ctypes, logging, subprocess, threading\n"
        "print('python')\nprint('to stderr', file=sys.stderr)\nlogging.warning('logged')\n"
        "thread = threading.Thread(target=print, args=('thread',)); thread.start(); thread.join()\n"
        f"ctypes.CDLL({C_LIBRARY!r}).puts(b'from c')\nsubprocess.run([sys.executable, '-c', 'print(\\'child\\')'])\n"
        "subprocess.run('echo bad>&2', shell=True)\n"
        "if hasattr(os, 'fork'):\n"
        "    pid = os.fork()\n    if pid == 0:\n        print('fork'); os._exit(0)\n    os.waitpid(pid, 0)\n"
        "else:\n    print('fork')\n"
        "sys.stdout.buffer.write(b'no newline')",
        top="print('at import')",
    )

    async def scene() -> None:
        async with Shop(ws) as shop:
            await shop.run("a")

            info = ["at import", "child", "fork", "from c", "no newline", "python", "thread"]
            assert sorted(shop.log()) == [
                *(f"INFO {text}" for text in info),
                "STDERR bad",
                "STDERR to stderr",
                "WARNING logged",
            ]
            assert type(shop.events[-1]).__name__ == "RunFinished"

    play(scene())


def test_what_is_written_belongs_to_the_step_that_wrote_it(ws: WorkspaceFiles) -> None:
    """Also what C code and children write, in steps too short for anybody to look between them."""
    flow(
        ws,
        "a",
        f"import ctypes\nctypes.CDLL({C_LIBRARY!r}).puts(b'from c')\nprint('python')",
        steps=".step(len, label='Quiet').step(work, label='One').step(work, label='Two')".replace("len", "repr"),
    )

    async def scene() -> None:
        async with Shop(ws) as shop:
            await shop.run("a", "1", "2", "3")

            lines = [(one.run_id, one.step, one.message) for one in shop.events if isinstance(one, LogLine)]
            assert sorted(lines) == [
                (run_id, step, text) for run_id in "123" for step in ("One", "Two") for text in ("from c", "python")
            ]

    play(scene())


def test_a_flood_of_text_is_bounded(ws: WorkspaceFiles) -> None:
    """Whether Python prints it or a child writes it: the first and last lines are kept, and how many are not is said."""
    printed_lines, written_lines = (MOST_LINES + 2_000, 500_000) if ON_WINE else (30_000, 2_000_000)
    flow(
        ws,
        "a",
        f"import subprocess\nfor number in range({printed_lines}):\n    print('line', number)\n"
        "subprocess.run([sys.executable, '-c', "
        f"'import sys; sys.stdout.buffer.write((chr(121) + chr(10)).encode() * {written_lines})'])",
    )

    async def scene() -> None:
        async with Shop(ws) as shop:
            await shop.run("a")

            log = shop.log()
            assert len(log) == 2 * MOST_LINES + 2
            assert [line for line in log if line.startswith("WARNING")] == [
                f"WARNING {gap(printed_lines - MOST_LINES)}",
                f"WARNING {gap(written_lines - MOST_LINES)}",
            ]
            printed = [line for line in log if line.startswith("INFO line")]
            assert (printed[0], printed[-1]) == ("INFO line 0", f"INFO line {printed_lines - 1}")
            assert printed[FIRST_LINES - 1 : FIRST_LINES + 1] == [
                f"INFO line {FIRST_LINES - 1}",
                f"INFO line {printed_lines - MOST_LINES + FIRST_LINES}",
            ]
            assert shop.finished().status == "success"

    play(scene())


def test_the_last_step_has_ended_while_rows_wait_for_their_database(ws: WorkspaceFiles) -> None:
    """Nobody is shown it as running while the rows are applied."""
    release, held = ws.root / "release", ws.root / "held"
    hold = (
        "import duckdb, pathlib, sys, time; c = duckdb.connect(sys.argv[1]); pathlib.Path(sys.argv[2]).touch()\n"
        "while not pathlib.Path(sys.argv[3]).exists(): time.sleep(0.01)"
    )
    flow(
        ws,
        "rows",
        "db = context.database('w.duckdb')\n"
        "helpers.replace_table(db, 't', df=pl.DataFrame({'a': [1]}), wait='120s')\n"
        f"subprocess.Popen([sys.executable, '-c', {hold!r}, str(db), {str(held)!r}, {str(release)!r}])\n"
        f"while not os.path.exists({str(held)!r}): time.sleep(0.01)",
        top="import subprocess\nimport polars as pl\nfrom data_engine import helpers",
    )

    async def scene() -> None:
        async with Shop(ws) as shop:
            shop.submit("rows")
            await until(lambda: shop.steps() == [("Work", "success")])
            assert "job" not in shop.ends
            release.touch()
            await shop.end()
            assert shop.finished().status == "success"

    play(scene())


def test_a_stop_ends_the_run_at_its_next_step(ws: WorkspaceFiles) -> None:
    """Also at a log line or progress call; runs that wait in the same job are stopped before their first step."""
    flow(ws, "a", "while True:\n    context.progress(0)\n    time.sleep(0.01)")

    async def scene() -> None:
        async with Shop(ws) as shop:
            shop.submit("a", "1", "2")
            await shop.started("1")
            assert shop.workers.stop("2")
            assert list(shop.workers.running()) == ["1"]
            assert shop.workers.stop("1")
            assert not shop.workers.stop("unknown")
            end = await shop.end()

            assert [shop.finished(one).status for one in ("1", "2")] == ["stopped", "stopped"]
            assert shop.steps("2") == []
            assert end.status == "done"

    play(scene())


def test_work_waits_when_its_permission_runs_out(ws: WorkspaceFiles) -> None:
    """At the next step, until it is renewed; also a worker that is started later knows."""
    flow(ws, "a", "pass", steps=".step(work).step(work)")

    async def scene() -> None:
        async with Shop(ws) as shop:
            shop.workers.set_work_until(boot_clock() - 1)
            shop.submit("a")
            await until(lambda: len(shop.alive()) == 2)
            await asyncio.sleep(0.2)
            assert shop.begun() == []
            shop.workers.set_work_until(boot_clock() + 60)
            await shop.end()

            assert shop.finished().status == "success"

    play(scene())


def test_permission_that_runs_out_inside_a_run_holds_its_next_step(ws: WorkspaceFiles) -> None:
    mark = ws.root / "go"
    flow(ws, "a", f"while not os.path.exists({str(mark)!r}):\n    time.sleep(0.01)", steps=".step(work).step(work)")

    async def scene() -> None:
        async with Shop(ws) as shop:
            shop.submit("a")
            await shop.started()
            shop.workers.set_work_until(boot_clock() - 1)
            await asyncio.sleep(0.5)  # until it has heard of it
            mark.touch()
            await until(lambda: bool(shop.steps()))
            await asyncio.sleep(0.2)
            assert sum(isinstance(one, StepStarted) for one in shop.events) == 1
            shop.workers.set_work_until(None)
            await shop.end()

            assert len(shop.steps()) == 2

    play(scene())


NO_LOOP = pytest.mark.skipif(
    sys.platform == "win32", reason="a worker's connections are taken by the loop, which is held"
)


@pytest.mark.parametrize("is_known", [True, pytest.param(False, marks=NO_LOOP)])
def test_what_is_stopped_and_allowed_at_once_goes_no_further(ws: WorkspaceFiles, is_known: bool) -> None:
    """As where a workspace is owned again: the stop holds for the run that waits, also where nobody has heard of it yet."""
    mark, in_it = ws.root / "go", ws.root / "in_it"
    wait = f"open({str(in_it)!r}, 'w').close()\nwhile not os.path.exists({str(mark)!r}):\n    time.sleep(0.01)"
    flow(ws, "a", wait, steps=".step(work).step(work)")

    async def scene() -> None:
        async with Shop(ws) as shop:
            shop.submit("a")
            if is_known:
                await shop.started()
            while not in_it.exists():  # the loop is held: it hears of nothing
                time.sleep(0.01)
            shop.workers.set_work_until(boot_clock() - 1)
            await asyncio.sleep(0.5)  # until it has heard of it
            mark.touch()
            time.sleep(0.5)
            shop.workers.wind_down(stop_for=Cause("owned_meanwhile"))
            shop.workers.set_work_until(None)
            await shop.end()

            assert shop.finished().status == "stopped"
            assert sum(isinstance(one, StepStarted) for one in shop.events) == 1

    play(scene())


def test_modules_come_from_the_deployed_set(ws: WorkspaceFiles) -> None:
    """With the authored names; an edit does not reach a run of what is deployed."""
    flow(ws, "a", "print('old', __file__)")
    stored = local_workspace(ws.root).deployments().store()
    flow(ws, "a", "print('new')")

    async def scene() -> None:
        async with Shop(ws) as shop:
            await shop.run("a", "1", content=str(stored.folder))
            await shop.run("a", "2")

            assert shop.log("1") == [f"INFO old {ws.modules / 'a.py'}"]
            assert shop.log("2") == ["INFO new"]

    play(scene())


def test_a_broken_module_has_no_run(ws: WorkspaceFiles) -> None:
    """The job's end says what, where and how to fix; nothing began."""
    ws.module("a", "from data_engine import Flow\ndef build():\n    return 1 / 0\n")

    async def scene() -> None:
        async with Shop(ws) as shop:
            end = await shop.run("a")

            assert (end.status, shop.events, len(end.not_begun)) == ("refused", [], 1)
            assert end.error is not None
            assert "ZeroDivisionError" in str(end.error["what"])
            assert "a.py, line 3" in str(end.error["where"])

    play(scene())


def test_flows_are_described_without_being_imported_here(ws: WorkspaceFiles) -> None:
    flow(ws, "good", "pass", steps=".watch(mode='poll', source='../in', interval='5s', extensions='csv').step(work)")
    ws.module("broken", "def build(:\n")

    async def scene() -> None:
        async with Shop(ws) as shop:
            shop.workers.submit(Job("d", "describe"))
            shop.workers.submit(Job("one", "describe", "good"))
            end, one = await shop.end("d"), await shop.end("one")

            assert end.described is not None
            assert one.described == (end.described[1],)
            broken, good = (entry_of_message(entry) for entry in end.described)
            assert "SyntaxError" in str(broken.error)
            assert good.flow is not None
            assert good.flow.trigger is not None
            assert (good.name, good.mode, good.flow.trigger.extensions) == ("good", "poll", (".csv",))

    play(scene())


def test_params_must_be_json(ws: WorkspaceFiles) -> None:
    async def scene() -> None:
        async with Shop(ws) as shop:
            with pytest.raises(FlowValidationError, match="cannot be sent"):
                shop.workers.submit(Job("job", "run", "a", None, (SourceRun(),), {"n": {1, 2}}))
            assert shop.workers.free() == 2

    play(scene())


def test_closing_lets_running_work_finish(ws: WorkspaceFiles) -> None:
    """And leaves no worker; every pid that was remembered is forgotten."""
    mark = ws.root / "go"
    pid_file = ws.root / "pid"
    flow(
        ws,
        "a",
        f"open({str(pid_file)!r}, 'w').write(str(os.getpid()))\n"
        f"while not os.path.exists({str(mark)!r}):\n    time.sleep(0.01)",
    )

    async def scene() -> None:
        shop = Shop(ws)
        await shop.workers.start()
        shop.submit("a")
        await shop.started()
        closing = asyncio.create_task(shop.workers.close())
        await until(lambda: number_in(pid_file) > 0)
        mark.touch()
        await asyncio.wait_for(closing, 30)

        assert shop.finished().status == "success"
        assert sorted(shop.forgotten) == sorted(shop.remembered)

    play(scene())
