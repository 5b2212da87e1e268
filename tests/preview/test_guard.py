"""Beside its scratch folder a preview changes nothing that exists, whichever Python code or library tries to."""

from __future__ import annotations

import logging
import os
import sqlite3
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import duckdb
import polars as pl
import pytest

from data_engine.engine.access.file_events import guarding
from data_engine.engine.access.guards import PreviewGuard, WriteRefusedError, free_folders
from data_engine.engine.memo.caption import caption
from data_engine.engine.preview import last_report
from data_engine.errors import FlowExecutionError
from tests.preview.conftest import Cells
from tests.preview.test_scratch import Bench

pytestmark = [  # a step that is refused closes nothing, and the collector finds its connection in another test
    pytest.mark.filterwarnings("ignore:unclosed database:ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]
CHANGES = {
    "open": "open(old, 'w').write('x')",
    "append": "open(old, 'a').write('x')",
    "update": "open(old, 'r+b').write(b'x')",
    "FileIO": "import io; io.FileIO(old, 'w').write(b'x')",
    "os.open": "os.open(old, os.O_WRONLY)",
    "os.open in an open folder": "os.open('old.txt', os.O_WRONLY, dir_fd=os.open(folder, os.O_RDONLY))",
    "write_text": "old.write_text('x')",
    "touch": "old.touch()",
    "truncate": "os.truncate(old, 0)",
    "remove": "os.remove(old)",
    "unlink in an open folder": "os.unlink('old.txt', dir_fd=os.open(folder, os.O_RDONLY))",
    "rename away": "old.rename(folder / 'new.txt')",
    "move to the archive": "shutil.move(str(old), str(folder / 'archive'))",
    "copy over it": "shutil.copyfile(context.source.path, old)",
    "replace it": "fresh = folder / 'fresh.tmp'; fresh.write_text('x'); os.replace(fresh, old)",
    "rmtree": "shutil.rmtree(folder)",
    "rmtree without errors": "shutil.rmtree(folder, ignore_errors=True)",
    "rmdir": "os.rmdir(folder / 'archive')",
    "a link": "os.symlink(old, folder / 'link'); (folder / 'link').write_text('x')",
    "polars": "pl.DataFrame({'a': [1]}).write_csv(old)",
    "polars lazily": "pl.LazyFrame({'a': [1]}).sink_parquet(old)",
    "pyarrow": "import pyarrow.parquet as pq; pq.write_table(pl.DataFrame({'a': [1]}).to_arrow(), old)",
    "excel": "pl.DataFrame({'a': [1]}).write_excel(old)",
    "xlsxwriter": "import xlsxwriter; book = xlsxwriter.Workbook(str(old)); book.add_worksheet(); book.close()",
    "pandas": "import pandas as pd; pd.DataFrame({'a': [1]}).to_csv(old)",
    "duckdb copy": "duckdb.sql(f\"copy (select 1) to '{old}'\")",
    "duckdb parameter": "duckdb.connect().execute('copy (select 1) to ?', [str(old)])",
    "duckdb relation": "duckdb.sql('select 1 as a').write_csv(str(old))",
    "duckdb": "duckdb.connect(str(folder / 'db.duckdb')).execute('create table t as select 1')",
    "duckdb attached": "duckdb.connect().execute(f\"attach '{folder / 'db.duckdb'}' as other\")",
    "sqlite": "import sqlite3; c = sqlite3.connect(folder / 'db.sqlite'); c.execute('insert into t values (2)'); c.commit()",
    "sqlite attached": "import sqlite3; c = sqlite3.connect(':memory:'); c.execute('attach ? as o', [str(folder / 'db.sqlite')])"
    "; c.execute('delete from o.t'); c.commit()",
    "a thread": "import threading; t = threading.Thread(target=old.write_text, args=('x',)); t.start(); t.join()",
    "a pool": "from concurrent.futures import ThreadPoolExecutor as P; P(1).submit(old.write_text, 'x').exception()",
    "asyncio": "import asyncio; asyncio.run(asyncio.to_thread(old.write_text, 'x'))",
    "a swallowed refusal": "import contextlib\n    with contextlib.suppress(Exception): old.unlink()",
    "a swallowed statement": "import contextlib, sqlite3\n    c = sqlite3.connect(folder / 'db.sqlite')\n"
    "    with contextlib.suppress(Exception): c.execute('delete from t')",
}
STEP = """
import os, shutil, duckdb
import polars as pl
def change(context):
    folder = Path({folder!r})
    old = folder / "old.txt"
    {statement}
"""


@pytest.fixture
def bench(cells: Cells, tmp_path: Path) -> Bench:
    return Bench(cells, tmp_path)


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    """A folder with things that are nobody's of the preview."""
    folder = tmp_path / "outside"
    (folder / "archive").mkdir(parents=True)
    (folder / "old.txt").write_text("old")
    with duckdb.connect(str(folder / "db.duckdb")) as db:
        db.execute("create table t as select 1 as a")
    with sqlite3.connect(folder / "db.sqlite") as lite:
        lite.execute("create table t (a)")
        lite.execute("insert into t values (1)")
    lite.close()
    return folder


def content(folder: Path) -> dict[str, tuple[bytes, int]]:
    files = [path for path in folder.rglob("*") if path.is_file() and path.name not in ("fresh.tmp", "link")]
    return {str(path): (path.read_bytes(), path.stat().st_mtime_ns) for path in files}


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning", "ignore::ResourceWarning")
@pytest.mark.parametrize("statement", CHANGES.values(), ids=CHANGES)
def test_nothing_that_exists_is_changed(bench: Bench, outside: Path, statement: str) -> None:
    if "pandas" in statement:
        pytest.importorskip("pandas")
    if "symlink" in statement or "dir_fd" in statement:
        pytest.importorskip("fcntl")
    before = content(outside)
    bench.flow(STEP.format(folder=str(outside), statement=statement))

    with pytest.raises(FlowExecutionError, match="the preview would ") as caught:
        bench.cells.preview()

    assert isinstance(caught.value.__cause__, WriteRefusedError)
    assert content(outside) == before
    assert caught.value.cell is not None
    assert caught.value.fix is not None
    assert "use='raw'" in caught.value.fix
    assert "preview(write=True)" in caught.value.fix


SEEN_AFTERWARDS = {
    "a program": "import subprocess, sys; subprocess.run([sys.executable, '-c', f'open({str(old)!r}, \"w\").write(\"program\")'])",
    "a program and what is read": "import subprocess, sys; old.read_text()"
    "; subprocess.run([sys.executable, '-c', f'open({str(old)!r}, \"a\").write(\"more\")'])",
    "a handle of before": "HANDLE.write('x')",
    "a handle of before, flushed": "HANDLE.write('x'); HANDLE.flush()",
    "a thread of before": "QUEUE.put(old); DONE.wait(10)",
    "a SQLite connection of before": "LITE.execute('insert into t values (2)'); LITE.commit()",
}


@pytest.mark.filterwarnings("ignore::ResourceWarning")
@pytest.mark.parametrize("statement", SEEN_AFTERWARDS.values(), ids=SEEN_AFTERWARDS)
def test_what_no_hook_can_stop_is_seen_after_the_step(bench: Bench, outside: Path, statement: str) -> None:
    import queue
    import threading

    tasks: queue.Queue[Path] = queue.Queue()
    done = threading.Event()

    def work() -> None:
        tasks.get().write_text("changed")
        done.set()

    names = bench.cells.names
    lite = sqlite3.connect(outside / "db.sqlite")
    with open(outside / "old.txt", "a") as handle:
        names |= {"HANDLE": handle, "LITE": lite, "QUEUE": tasks, "DONE": done}
        if "QUEUE" in statement:
            threading.Thread(target=work, daemon=True).start()
        names["OLD"] = str(outside / "old.txt")
        bench.flow(STEP.format(folder=str(outside), statement=f"OLD; {statement}"))

        with pytest.raises(FlowExecutionError, match=r"(old\.txt|db\.sqlite.*) changed while the step ran"):
            bench.cells.preview()
    lite.close()


READS = {
    "sqlite": "import sqlite3; c = sqlite3.connect(folder / 'db.sqlite'); got = c.execute('select a from t').fetchone()[0]; c.close()",
    "duckdb": "with duckdb.connect(str(folder / 'db.duckdb'), read_only=True) as c: got = c.execute('from t').fetchone()[0]",
    "duckdb attached": "with duckdb.connect() as c:\n"
    "        c.execute(f\"attach '{folder / 'db.duckdb'}' as o (read_only)\"); got = c.execute('from o.t').fetchone()[0]",
    "a scratch database": "import sqlite3; c = sqlite3.connect(context.mirror.file('s.sqlite')); c.execute('create table t (a)')"
    "; c.execute('insert into t values (1)'); c.commit(); got = c.execute('select a from t').fetchone()[0]; c.close()",
    "devnull": "import subprocess, sys; subprocess.run([sys.executable, '-c', '1'], stdout=subprocess.DEVNULL); got = 1",
    "temporary files": "import tempfile\n    with tempfile.NamedTemporaryFile('w') as f, tempfile.TemporaryDirectory() as d:\n"
    "        f.write('x'); (Path(d) / 'a').write_text('1'); shutil.copy(old, Path(d) / 'a'); got = 1",
    "a folder that is open": "import os; at = os.open(folder, os.O_RDONLY); got = os.open('old.txt', os.O_RDONLY, dir_fd=at) > 0",
}


@pytest.mark.parametrize("statement", READS.values(), ids=READS)
def test_reading_and_passing_files_are_free(bench: Bench, outside: Path, statement: str) -> None:
    if "dir_fd" in statement:
        pytest.importorskip("fcntl")
    bench.flow(STEP.format(folder=str(outside), statement=f"{statement}\n    return int(got)"))

    assert bench.cells.preview() == 1


def test_what_previews_made_previews_may_change_until_somebody_else_has(bench: Bench, tmp_path: Path) -> None:
    bench.flow(
        "def make(context):\n    made = context.source.root.parent / 'made'\n    made.mkdir(exist_ok=True)\n"
        "    (made / 'a.txt').write_text(context.current)\n"
    )
    bench.cells.preview()
    bench.cells.preview(fresh=True)

    made = tmp_path / "made" / "a.txt"
    assert f"for real: {made}" in caption(last_report())  # type: ignore[arg-type]
    made.write_text("a person's")
    with pytest.raises(FlowExecutionError, match="would change"):
        bench.cells.preview(fresh=True)
    assert made.read_text() == "a person's"


def test_a_preview_may_move_and_remove_what_it_has_made(bench: Bench, tmp_path: Path) -> None:
    bench.flow(
        "import shutil\n"
        "def make(context):\n    place = context.source.root.parent\n"
        "    (place / 'fresh').mkdir(); (place / 'fresh' / 'a').write_text('1'); (place / 'fresh').rename(place / 'done')\n"
        "    (place / 'done' / 'a').write_text('2'); shutil.rmtree(place / 'done')\n"
        "    (place / 'b').write_text('1'); (place / 'b').replace(place / 'c'); return (place / 'c').read_text()\n"
    )

    assert bench.cells.preview() == "1"
    assert not (tmp_path / "done").exists()


def test_nothing_new_comes_into_the_folder_of_the_sources_or_the_mirror(bench: Bench, tmp_path: Path) -> None:
    for place in ("in/b.csv", "in/deep/b.csv", "out/b.csv"):
        bench.flow(
            f"def make(context):\n    new = Path({str(tmp_path / place)!r})\n    new.parent.mkdir(parents=True, exist_ok=True)\n"
            "    new.write_text('x')\n"
        )
        with pytest.raises(FlowExecutionError, match=r"would make the new file .*(own sources|flow's mirror)"):
            bench.cells.preview()
        assert not (tmp_path / place).exists()


def test_items_in_other_processes_change_nothing_either(bench: Bench, outside: Path) -> None:
    (bench.root / "config" / "data_engine.toml").write_text('[executor]\nkind = "processes"\n')
    bench.flow("def names(context): return ['old.txt', 'new.txt']\n")
    for collect in ("", ', on_error="collect"'):
        bench.cells.run(
            f"def one(context, name):\n    (Path({str(outside)!r}) / name).write_text('x')\n"
            f"_names = build\ndef build(): return _names().map(one, max_parallel=2{collect})"
        )
        with pytest.raises(FlowExecutionError, match="would change"):
            bench.cells.preview()
        bench.cells.run("build = _names")

    assert (outside / "old.txt").read_text() == "old"


def test_what_an_item_in_another_process_has_made_is_told(bench: Bench, tmp_path: Path) -> None:
    (bench.root / "config" / "data_engine.toml").write_text('[executor]\nkind = "processes"\n')
    bench.flow("def names(context): return ['a.txt', 'b.txt']\n")
    bench.cells.run(
        f"def one(context, name):\n    (Path({str(tmp_path)!r}) / name).write_text('x')\n"
        "_names = build\ndef build(): return _names().map(one, max_parallel=2)"
    )

    bench.cells.preview()

    assert {path.name for path in last_report().outside} == {"a.txt", "b.txt"}  # type: ignore[union-attr]
    bench.cells.preview(fresh=True)


def test_an_edited_helper_is_imported(bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its compiled file takes the place of the one before."""
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    monkeypatch.syspath_prepend(str(tmp_path))
    helper = tmp_path / "a_helper.py"
    for value in (1, 22):
        helper.write_text(f"VALUE = {value}\n")
        sys.modules.pop("a_helper", None)
        bench.flow("def use(context):\n    import a_helper\n    return a_helper.VALUE\n")
        assert bench.cells.preview(fresh=True) == value
    assert list((tmp_path / "__pycache__").glob("a_helper*"))


def test_a_log_that_is_being_written_goes_on(bench: Bench, tmp_path: Path) -> None:
    handler = logging.FileHandler(tmp_path / "run.log")
    logger = logging.getLogger("author")
    logger.addHandler(handler)
    try:
        bench.flow(
            "import logging\ndef tell(context):\n    logging.getLogger('author').warning('x')\n"
            "    for one in logging.getLogger('author').handlers: one.close()\n    logging.getLogger('author').warning('y')\n"
        )
        bench.cells.preview()
    finally:
        logger.removeHandler(handler)
        handler.close()
    assert (tmp_path / "run.log").read_text() == "x\ny\n"


def test_other_threads_of_the_kernel_are_not_held_back(bench: Bench, outside: Path) -> None:
    """They were there before, and save notebooks and histories: files that no step names."""
    import queue
    import threading

    asked: queue.Queue[Path | None] = queue.Queue()
    done = threading.Event()

    def save() -> None:
        while (path := asked.get()) is not None:
            path.write_text("saved")
            done.set()

    thread = threading.Thread(target=save)
    thread.start()
    bench.cells.names["_kernel"] = (asked, done)
    bench.flow(f"def wait(context):\n    _kernel[0].put(Path({str(outside)!r}) / 'old.txt'); _kernel[1].wait(10)\n")
    try:
        bench.cells.preview()
    finally:
        asked.put(None)
        thread.join()

    assert (outside / "old.txt").read_text() == "saved"
    assert last_report().outside == ()  # type: ignore[union-attr]


@pytest.fixture
def guard(tmp_path: Path) -> Iterator[PreviewGuard]:
    made = PreviewGuard(tools=(f"{tmp_path}{os.sep}tools{os.sep}",), read={str(tmp_path / "tools" / "in"): "x"})
    with guarding(made):
        yield made


def test_what_tools_keep_for_a_user_is_free_but_for_what_production_reads(guard: PreviewGuard, tmp_path: Path) -> None:
    guard.about_to_remove(str(tmp_path / "tools" / "cache"))
    (guard_free := tmp_path / "tools" / "settings.ini").parent.mkdir()
    guard_free.write_text("x")
    guard_free.unlink()

    (tmp_path / "tools" / "in").mkdir()
    with pytest.raises(WriteRefusedError):
        (tmp_path / "tools" / "in" / "a.csv").write_text("x")


def test_the_temporary_folder_is_free_unless_the_workspace_lies_in_it(tmp_path: Path) -> None:
    temporary = os.path.realpath(tempfile.gettempdir()) + os.sep
    assert temporary in free_folders(Path("/somewhere/else"))[1]
    assert temporary not in free_folders(Path(temporary) / "ws")[1]


def test_a_frame_in_the_same_process_is_none_of_a_previews(outside: Path) -> None:
    """Nothing is guarded outside of a preview."""
    pl.DataFrame({"a": [1]}).write_csv(outside / "old.txt")
    os.remove(outside / "old.txt")
