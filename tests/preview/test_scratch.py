"""A preview changes nothing that production reads: it writes to scratch, which begins as production is."""

from __future__ import annotations

import os
import re
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from contextlib import closing
from pathlib import Path

import duckdb
import pytest

from data_engine.engine import scratch
from data_engine.engine.memo.caption import PreviewSummary, caption
from data_engine.engine.preview import clear_preview_cache, last_report
from data_engine.errors import FlowStoppedError, FlowValidationError
from data_engine.workspace import secret_store
from data_engine.workspace.provision import provision_workspace
from tests.preview.conftest import Cells, ran, reasons
from tests.support import WorkspaceFiles

FLOW = """
from pathlib import Path
from data_engine import Flow
import duckdb, sqlite3

def read(context): return context.source.path.read_text()
{steps}
def build():
    return (Flow(group="G", name="f").watch(mode="manual", source={source!r}).mirror(root={mirror!r})
            .step(read, save_as="raw"){chain})
"""


class Bench:
    """A flow in cells with one source, its mirror, and the workspace it belongs to."""

    def __init__(self, cells: Cells, folder: Path) -> None:
        self.cells, self.folder = cells, folder
        self.out = folder / "out"
        (folder / "in").mkdir()
        (folder / "in" / "a.csv").write_text("new")
        self.root = folder / "ws"
        provision_workspace(self.root, example=False)

    def flow(self, steps: str) -> Bench:
        names = [line.split("(")[0][4:] for line in steps.splitlines() if line.startswith("def ")]
        chain = "".join(f'.step({name}, save_as="{name}")' for name in names)
        self.cells.run(FLOW.format(steps=steps, chain=chain, source=str(self.folder / "in"), mirror=str(self.out)))
        self.cells.run(
            f"from dataclasses import replace\n_made = build\ndef build(): return replace(_made(), _workspace_root=Path({str(self.root)!r}))"
        )
        return self

    def database(self, name: str) -> Path:
        return self.root / "databases" / name


@pytest.fixture
def bench(cells: Cells, tmp_path: Path) -> Bench:
    return Bench(cells, tmp_path)


def report() -> PreviewSummary:
    found = last_report()
    assert found is not None
    return found


WRITE = """
def write(context):
    target = context.mirror.with_suffix(".txt")
    before = target.read_text() if target.exists() else "nothing"
    target.write_text(context.current)
    return before
"""


def test_a_preview_overwrites_no_output_of_production(bench: Bench) -> None:
    """It sees what production has there, as often as it is asked."""
    bench.out.mkdir()
    target = bench.out / "a.txt"
    target.write_text("300 rows")
    bench.flow(WRITE)

    for _ in range(2):
        assert bench.cells.preview(fresh=True) == "300 rows"
        assert target.read_text() == "300 rows"
    assert report().wrote == (target,)
    assert "preview f of a.csv" in caption(report())
    assert "wrote a.txt (scratch)" in caption(report())


def test_only_with_write_it_writes_where_production_does(bench: Bench) -> None:
    bench.flow(WRITE)

    assert bench.cells.preview(write=True) == "nothing"

    assert (bench.out / "a.txt").read_text() == "new"
    assert "WROTE IN PRODUCTION: a.txt" in caption(report())


def test_what_steps_write_is_there_for_later_ones_and_reused_with_them(bench: Bench) -> None:
    """An edit of the last step runs the last step only, on the files that earlier ones left."""
    bench.flow(WRITE + "def look(context): return context.mirror.with_suffix('.txt').read_text() + '1'\n")
    assert bench.cells.preview() == "new1"
    assert bench.cells.preview() == "new1"
    assert ran() == []

    bench.flow(WRITE + "def look(context): return context.mirror.with_suffix('.txt').read_text() + '2'\n")
    assert bench.cells.preview() == "new2"
    assert ran() == ["look"]
    assert not bench.out.exists()


def test_a_step_runs_again_when_what_it_was_given_of_production_is_not_as_it_was(bench: Bench) -> None:
    bench.out.mkdir()
    target = bench.out / "a.txt"
    target.write_text("one")
    bench.flow(WRITE)
    assert bench.cells.preview() == "one"

    target.write_text("other")

    assert bench.cells.preview() == "other"
    assert reasons()["write"] == "file a.txt changed"


def test_what_a_reused_step_wrote_is_as_it_left_it(bench: Bench) -> None:
    """Also where a later step, which is not part of this preview any more, had changed it."""
    bench.flow(
        WRITE
        + "def change(context):\n    context.mirror.with_suffix('.txt').write_text('changed')\n"
        + "def look(context): return context.mirror.with_suffix('.txt')\n"
    )
    assert bench.cells.preview().read_text() == "changed"
    bench.flow(WRITE + "def look(context): return context.mirror.with_suffix('.txt')\n")

    assert bench.cells.preview().read_text() == "new"
    assert reasons()["write"] is None


def test_a_folder_is_handed_out_with_all_that_production_has_in_it(bench: Bench) -> None:
    (bench.out / "deep").mkdir(parents=True)
    (bench.out / "deep" / "b.txt").write_text("b")
    bench.flow(
        "def all(context):\n    root = context.mirror.root\n    (root / 'c.txt').write_text('c')\n"
        "    (root / 'deep' / 'b.txt').unlink()\n    return sorted(p.name for p in root.rglob('*.txt'))\n"
    )

    assert bench.cells.preview() == ["c.txt"]
    assert [path.name for path in bench.out.rglob("*.txt")] == ["b.txt"]
    assert {path.name for path in report().wrote} == {"b.txt", "c.txt"}


def test_databases_are_copies_with_what_their_log_holds(bench: Bench) -> None:
    """A SQLite database that is written meanwhile, and a DuckDB file; production keeps both as they are."""
    with closing(sqlite3.connect(bench.database("s.sqlite"), isolation_level=None)) as production:
        production.execute("PRAGMA journal_mode = WAL")
        production.execute("CREATE TABLE t (x)")
        production.execute("INSERT INTO t VALUES (1)")
        with duckdb.connect(str(bench.database("d.duckdb"))) as con:
            con.execute("CREATE TABLE t AS SELECT 1 AS x")
        bench.flow(
            "def write(context):\n"
            "    with sqlite3.connect(context.database('s.sqlite')) as con:\n"
            "        con.execute('INSERT INTO t VALUES (2)')\n        con.commit()\n"
            "        one = con.execute('SELECT count(*) FROM t').fetchone()[0]\n    con.close()\n"
            "    with duckdb.connect(str(context.database('d.duckdb'))) as con:\n"
            "        con.execute('INSERT INTO t VALUES (2)')\n"
            "        return one, con.execute('SELECT count(*) FROM t').fetchone()[0]\n"
        )

        for _ in range(2):
            assert bench.cells.preview() == (2, 2)
        assert ran() == []

        assert production.execute("SELECT count(*) FROM t").fetchone() == (1,)
    with duckdb.connect(str(bench.database("d.duckdb")), read_only=True) as con:
        assert con.execute("SELECT count(*) FROM t").fetchone() == (1,)


def test_a_live_database_is_productions_own(bench: Bench) -> None:
    with duckdb.connect(str(bench.database("d.duckdb"))) as con:
        con.execute("CREATE TABLE t AS SELECT 1 AS x")
    bench.flow("def path(context): return str(context.database('d.duckdb', read_only=True, live=True))\n")

    assert bench.cells.preview() == str(bench.database("d.duckdb"))


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="pipes of POSIX")
def test_pipes_that_others_put_into_the_mirror_or_beside_a_database_are_not_waited_for(bench: Bench) -> None:
    """What is copied in is plain files."""
    with duckdb.connect(str(bench.database("d.duckdb"))) as con:
        con.execute("CREATE TABLE t AS SELECT 1 AS x")
    (bench.out / "deep").mkdir(parents=True)
    for place in (bench.out / "a.txt", bench.out / "deep" / "b.txt", bench.database("d.duckdb.wal")):
        os.mkfifo(place)
    bench.flow(
        "def look(context):\n"
        "    places = context.mirror.with_extension('.txt'), context.mirror.dir, context.database('d.duckdb')\n"
        "    return [place.exists() for place in places]\n"
    )

    assert bench.cells.preview() == [False, True, True]


def test_a_database_that_somebody_writes_is_waited_for_and_its_holder_named(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("data_engine.engine.read_copies.WAIT_FOR_FIRST_S", 0.3)
    bench.flow(
        "def look(context):\n    try:\n        context.database('d.duckdb')\n    except Exception:\n        pass\n"
    )
    code = f"import duckdb, time; con = duckdb.connect({str(bench.database('d.duckdb'))!r}); print('open', flush=True); time.sleep(60)"
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        holder.stdout.readline()
        with pytest.raises(FlowValidationError) as caught:
            bench.cells.preview()
        holder.kill()

    # Wine tells only that somebody has it; on Windows the one that is started in an environment is a launcher.
    assert re.search(
        r"\(process \d+\)|another program" if os.name == "nt" else rf"\(process {holder.pid}\)", caught.value.what
    )
    assert "read_only=True" in str(caught.value.fix)

    with duckdb.connect(str(bench.database("d.duckdb"))), pytest.raises(FlowValidationError) as caught:
        bench.cells.preview()
    assert re.search(f"this process{'|another program' * (os.name == 'nt')}", caught.value.what)


def test_too_much_to_copy_stops_the_preview_and_says_what_would_help(bench: Bench) -> None:
    (bench.root / "config" / "data_engine.toml").write_text('[preview]\ncopy_limit = "1kB"\n')
    bench.out.mkdir()
    (bench.out / "a.txt").write_bytes(b"x" * 2000)
    bench.flow(
        "def write(context):\n    try:\n        context.mirror.with_suffix('.txt')\n    except Exception:\n        return 'went on'\n"
    )

    with pytest.raises(FlowValidationError) as caught:
        bench.cells.preview()

    assert not isinstance(caught.value, FlowStoppedError)
    assert "a.txt" in caught.value.what
    assert "copy_limit" in str(caught.value.fix)
    assert "use=" in str(caught.value.fix)
    assert bench.cells.preview(use="raw") == "new"


OUTSIDE = """
def outside(context):
    for name in {names!r}:
        (Path({folder!r}) / name).write_text("new")
        print("wrote", name)
"""


def test_a_new_file_outside_the_contexts_folders_is_written_and_told(bench: Bench, tmp_path: Path) -> None:
    bench.flow(OUTSIDE.format(names=["mine.txt", "other.txt"], folder=str(tmp_path)))

    bench.cells.preview()

    both = f"{tmp_path / 'mine.txt'}, {tmp_path / 'other.txt'}"
    assert f"wrote outside the context's folders, for real: {both} ·" in caption(report())


def test_of_many_files_written_outside_the_rest_is_named_by_its_folder(bench: Bench, tmp_path: Path) -> None:
    bench.flow(OUTSIDE.format(names=[f"{number}.txt" for number in range(12)], folder=str(tmp_path)))

    bench.cells.preview()

    assert f"{tmp_path / '9.txt'} and 2 more in {tmp_path} ·" in caption(report())


def test_a_preview_that_fails_tells_what_it_has_written_outside(
    bench: Bench, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bench.flow(OUTSIDE.format(names=["mine.txt"], folder=str(tmp_path)) + "    raise ValueError('boom')\n")

    with pytest.raises(FlowValidationError, match="boom"):
        bench.cells.preview()

    told = (
        f"the preview of f did not finish, and wrote outside the context's folders, for real: {tmp_path / 'mine.txt'}"
    )
    assert told in capsys.readouterr().err


def test_what_our_own_writing_notes_on_this_machine_is_not_told(bench: Bench) -> None:
    """A workbook that is written whole leaves a note beside, until it is there."""
    bench.flow(
        "from data_engine.unfinished import noted_target\n"
        "def book(context):\n"
        "    with noted_target(context.mirror.with_suffix('.xlsx')) as fresh: fresh.write_text('x')\n"
    )

    bench.cells.preview()

    assert "outside the context" not in caption(report())


def test_a_temporary_file_is_no_writing_to_its_folder(
    bench: Bench, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Python opens the folder of a temporary file, and makes the file there."""
    bench.flow(
        "import tempfile\n"
        "def passing(context):\n"
        f"    with tempfile.NamedTemporaryFile(dir={str(tmp_path)!r}), tempfile.TemporaryFile(dir={str(tmp_path)!r}): pass\n"
        "    with tempfile.NamedTemporaryFile(), tempfile.TemporaryFile(): pass\n"
    )

    bench.cells.preview()

    assert "outside the context" not in caption(report())
    told = capsys.readouterr().err
    assert f" {tmp_path} for real" not in told
    assert f" {tempfile.gettempdir()} for real" not in told


def test_of_a_folder_that_is_written_into_the_files_are_told(bench: Bench, tmp_path: Path) -> None:
    parts = tmp_path / "parts"
    parts.mkdir()
    bench.flow(
        "import duckdb\n"
        "def write(context):\n"
        f"    with duckdb.connect() as db: db.execute(\"COPY (SELECT 1 AS a, 2 AS b) TO '{parts.as_posix()}'"
        ' (FORMAT parquet, PARTITION_BY (a), OVERWRITE_OR_IGNORE)")\n'
    )

    bench.cells.preview()

    assert f"wrote outside the context's folders, for real: {parts / 'a=1' / 'data_0.parquet'} ·" in caption(report())


def test_what_the_looking_for_a_secret_writes_is_not_the_steps(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A keyring's own files are none of the step's."""

    def keyring() -> None:
        (tmp_path / "cache of a keyring").write_text("x")

    monkeypatch.setattr(secret_store, "_keyring", keyring)
    bench.flow("def ask(context):\n    context.secret('nowhere')\n")

    with pytest.raises(FlowValidationError, match="the secret 'nowhere' is not on this machine"):
        bench.cells.preview()

    assert (tmp_path / "cache of a keyring").exists()
    assert "for real" not in capsys.readouterr().err


def test_our_own_files_are_part_of_no_key(bench: Bench) -> None:
    """The ledger changes all the time."""
    ledger = bench.root / ".workspace_state" / "anything"
    ledger.parent.mkdir(exist_ok=True)
    ledger.write_text("1")
    bench.flow(f"def look(context): return Path({str(ledger)!r}).read_text()\n")
    bench.cells.preview()
    ledger.write_text("2")
    bench.cells.preview()

    assert ran() == []


def test_items_of_a_map_write_to_scratch_side_by_side(bench: Bench) -> None:
    bench.flow("def paths(context): return [f'{n}.txt' for n in range(20)]\n")
    bench.cells.run(
        "def one(context, name):\n    path = context.mirror.root_file(name)\n    path.write_text(name)\n    return path\n"
        "_paths = build\ndef build(): return _paths().map(one, max_parallel=4, save_as='written')"
    )

    batch = bench.cells.preview()

    assert [path.read_text() for path in batch] == [f"{n}.txt" for n in range(20)]
    assert len(report().wrote) == 20
    assert not bench.out.exists()


def test_scratch_of_a_kernel_that_was_killed_is_removed_by_the_next(bench: Bench, tmp_path: Path) -> None:
    """And its own when it ends by itself."""
    code = f"""
import os, sys
from pathlib import Path
from dataclasses import replace
from data_engine import Flow
def write(context):
    context.mirror.root_file("a.txt").write_text("x")
    if len(sys.argv) > 1: os._exit(0)
flow = replace(Flow(group="G", name="f").mirror(root={str(bench.out)!r}).step(write), _workspace_root=Path({str(bench.root)!r}))
flow.preview()
"""
    environment = dict(os.environ)
    base = next(iter(_scratch_folders(environment, code, "die")))
    left = [path for path in base.iterdir() if path.is_dir()]
    assert len(left) == 1
    subprocess.run([sys.executable, "-c", code], env=environment, check=True, capture_output=True)

    assert list(base.iterdir()) == []


def _scratch_folders(environment: dict[str, str], code: str, *arguments: str) -> list[Path]:
    subprocess.run([sys.executable, "-c", code, *arguments], env=environment, check=True, capture_output=True)
    root = Path(environment["DATA_ENGINE_STATE_ROOT"])
    return [path for path in root.rglob("scratch") if path.is_dir()]


def test_what_was_brought_in_once_is_not_copied_again_while_production_has_the_same(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither a file nor a database, whether the step runs again or is reused; and a result that names one still finds it."""
    bench.out.mkdir()
    (bench.out / "a.txt").write_text("production")
    with duckdb.connect(str(bench.database("d.duckdb"))) as con:
        con.execute("CREATE TABLE t AS SELECT 1 AS x")
    copied: list[str] = []
    for name in ("clone_or_copy",):
        real = getattr(scratch, name)
        monkeypatch.setattr(
            scratch, name, lambda one, *others, real=real: (copied.append(one.name), real(one, *others))[1]
        )
    bench.flow("def both(context): return context.mirror.with_suffix('.txt'), context.database('d.duckdb')\n")

    for fresh in (False, False, True):
        path, place = bench.cells.preview(fresh=fresh)
        assert path.read_text() == "production"
        assert place.exists()

    assert copied == ["a.txt", "d.duckdb"]
    (bench.out / "a.txt").write_text("production has moved on")
    assert bench.cells.preview()[0].read_text() == "production has moved on"


def test_a_preview_lets_go_of_no_lock_that_the_kernel_has_on_a_database(bench: Bench) -> None:
    """Closing a file would end all locks of its process on it: a transaction that is open in a cell stays alone."""
    path = bench.database("s.sqlite")
    with closing(sqlite3.connect(path, isolation_level=None)) as mine:
        mine.execute("CREATE TABLE t (x)")
        mine.execute("BEGIN IMMEDIATE")
        bench.flow("def look(context): return context.database('s.sqlite').exists()\n")
        assert bench.cells.preview() is True

        code = f"import sqlite3; sqlite3.connect({str(path)!r}, timeout=0, isolation_level=None).execute('BEGIN IMMEDIATE')"
        other = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)

    assert "database is locked" in other.stderr


def opened_for_writing(path: Path) -> str:
    """What another process is told that opens the DuckDB file to write it."""
    code = f"import duckdb; duckdb.connect({str(path)!r})"
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False).stderr


def test_a_preview_lets_go_of_no_lock_of_a_database_that_the_kernel_reads(bench: Bench) -> None:
    """The file is copied while a cell has it open read-only: nobody may write it under that cell."""
    path = bench.database("d.duckdb")
    with duckdb.connect(str(path)) as con:
        con.execute("CREATE TABLE t AS SELECT 1 AS x")
    with duckdb.connect(str(path), read_only=True):
        assert "IO Error" in opened_for_writing(path)
        bench.flow("def look(context): return context.database('d.duckdb').stat().st_size\n")
        assert bench.cells.preview() == path.stat().st_size

        assert "IO Error" in opened_for_writing(path)


def test_what_the_drive_clones_is_no_copy(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever its size; the limit is for what has to be copied."""
    bench.out.mkdir()
    (bench.out / "a.txt").write_bytes(bytes(3_000_000))
    (bench.root / "config" / "data_engine.toml").write_text('[preview]\ncopy_limit = "100kB"\n')
    bench.flow("def written(context): return context.mirror.with_suffix('.txt')\n")
    with pytest.raises(FlowValidationError, match="would have to copy"):
        bench.cells.preview()

    def cloned(source: Path, target: Path) -> bool:
        shutil.copy2(source, target)
        return True

    monkeypatch.setattr(scratch, "clone", cloned)

    assert bench.cells.preview().exists()


def kept_files(bench: Bench) -> list[Path]:
    """The copies that are kept of what steps wrote to scratch."""
    place = bench.cells.preview().parent.parent
    return [path for path in (place / "kept").rglob("*") if path.is_file()]


def test_what_is_kept_of_scratch_goes_with_the_preview_cache(bench: Bench) -> None:
    """Each edit of a step keeps one more, but none longer than its entry, and not more than `[preview] cache` in all."""
    (bench.root / "config" / "data_engine.toml").write_text('[preview]\ncache = "1MB"\n')
    for number in range(5):
        bench.flow(
            "def write(context):\n    target = context.mirror.with_suffix('.bin')\n"
            f"    target.write_bytes(bytes([{number}]) * 300_000)\n    return target\n"
        )
        bench.cells.preview()

    assert len(kept_files(bench)) == 3
    found = kept_files(bench)
    clear_preview_cache()
    assert not any(path.exists() for path in found)


def test_a_preview_makes_no_history_where_this_machine_has_none(ws: WorkspaceFiles) -> None:
    """What is deployed is asked of it only where it is."""
    from data_engine import Workspace, load_flow

    ws.module(
        "f", "from data_engine import Flow\ndef build(): return Flow(group='G').step(lambda context: 1, save_as='one')"
    )

    assert load_flow("f", data_root=ws.root).preview() == 1
    assert not Workspace(ws.root).home.local.ledger_path.exists()
