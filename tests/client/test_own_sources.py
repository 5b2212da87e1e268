"""A flow that writes the very file it reads is refused before anything is lost, and does not run without end."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from data_engine import Flow, FlowContext, FlowExecutionError, FlowValidationError, Workspace, load_flow
from tests.support import WorkspaceFiles, until

DATA = "a,b\n1,x\n"
BATCH = 'mode="poll", run_as="batch", source="../in", interval="100ms", settle=0, extensions="csv"'
WRITERS = {
    "open": "with open(path, 'w') as file: file.write('ruined')",
    "append": "open(path, 'a').write('ruined')",
    "os.open": "os.write(os.open(path, os.O_WRONLY | os.O_TRUNC), b'ruined')",
    "Path.write_text": "path.write_text('ruined')",
    "another spelling": "open(path.parent / '..' / 'in' / path.name, 'w').write('ruined')",
    "rename onto it": "fresh = path.with_suffix('.tmp'); fresh.write_text('ruined'); fresh.replace(path)",
    "shutil": "fresh = path.with_suffix('.tmp'); fresh.write_text('ruined'); shutil.move(fresh, path)",
    "polars": "pl.read_csv(path).with_columns(c=1).write_csv(path)",
    "polars lazily": "pl.DataFrame({'a': [1]}).lazy().sink_csv(path)",
    "our atomic helper": "write_text_atomic(path, 'ruined')",
    "pandas": "import pandas as pd; pd.DataFrame({'a': [1]}).to_csv(path)",
    "a query": "query = f\"copy (select * from frame) to '{path}'\"; frame = pl.DataFrame({'a': [1]}); duckdb.sql(query)",
    "a connection": "duckdb.connect().execute('COPY (select 1 as a) TO ?', [str(path)])",
    "a relation": "duckdb.sql('select 1 as a').write_csv(str(path))",
}
COPY = "duckdb.sql(f\"copy (select 1 as a) to '{path}'\")"
FLOW = """
    import os, shutil
    from pathlib import Path
    import duckdb
    import polars as pl
    from data_engine import Flow
    from data_engine.files import write_text_atomic

    def clean(context):
        path = context.source.path
        {write}
        return path

    def build():
        return Flow(group="G").watch({watch}).step(clean)
"""
POLL = 'mode="poll", source="../in", interval="100ms", settle=0, extensions="csv"'


@pytest.fixture
def source(ws: WorkspaceFiles, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(ws.modules)
    return ws.source("in/a.csv", DATA)


@pytest.fixture
def daemon(ws: WorkspaceFiles) -> Iterator[Workspace]:
    workspace = Workspace(ws.root)
    yield workspace
    workspace.kill()


def write(ws: WorkspaceFiles, statement: str, watch: str = POLL) -> Any:
    if "pandas" in statement:
        pytest.importorskip("pandas")
    ws.module("claims", FLOW.format(write=statement, watch=watch))
    return load_flow("claims", data_root=ws.root)


@pytest.mark.parametrize("statement", WRITERS.values(), ids=WRITERS)
def test_a_poll_flow_cannot_overwrite_its_source(ws: WorkspaceFiles, source: Path, statement: str) -> None:
    """Whatever writes it: the run fails before, and says what to do."""
    flow = write(ws, statement)

    with pytest.raises(FlowExecutionError, match="the flow's own source") as caught:
        flow.run_once()

    assert source.read_text() == DATA
    assert caught.value.fix is not None
    assert caught.value.fix.startswith("nothing was written. Write to another folder")
    (run,) = Workspace(ws.root).runs("claims")
    assert run.status == "failed"
    assert run.why is not None
    assert (run.why.kind, run.why["path"]) == ("overwrites_source", str(source))


MAP = """
    from data_engine import Flow

    def clean(file):
        {write}
        return file.path

    def build():
        return Flow(group="G").watch({watch}).collect("csv").map(clean{options})
"""


@pytest.mark.parametrize("options", ["", ", max_parallel=2"])
def test_a_map_cannot_overwrite_the_files_of_its_batch(ws: WorkspaceFiles, source: Path, options: str) -> None:
    ws.source("in/b.csv", DATA)
    ws.module("claims", MAP.format(write="file.path.write_text('ruined')", watch=BATCH, options=options))

    with pytest.raises(FlowExecutionError, match="the flow's own source"):
        load_flow("claims", data_root=ws.root).run_once()

    assert source.read_text() == (source.parent / "b.csv").read_text() == DATA


def test_nor_where_its_items_run_in_other_processes(ws: WorkspaceFiles, source: Path) -> None:
    ws.source("in/b.csv", DATA)
    ws.source("config/data_engine.toml", '[executor]\nkind = "processes"\n')
    ws.module("claims", MAP.format(write="open(file.path, 'w').write('x')", watch=BATCH, options=", max_parallel=2"))

    with pytest.raises(FlowExecutionError, match="the flow's own source"):
        load_flow("claims", data_root=ws.root).run_once()

    assert source.read_text() == (source.parent / "b.csv").read_text() == DATA


def test_an_output_in_the_folder_of_a_batch_may_be_written_again(ws: WorkspaceFiles, source: Path) -> None:
    """It is known as an output, also to a run by hand."""
    flow = write(ws, "path = context.source.root / 'sum.csv'; pl.DataFrame({'a': [1]}).write_csv(path)", BATCH)

    for _ in range(2):
        flow.run_once()

    assert (source.parent / "sum.csv").read_text() == "a\n1\n"
    assert {state.key.path for state in states(ws)} == {"a.csv"}


def states(ws: WorkspaceFiles) -> Any:
    return Workspace(ws.root).home.ledger().source_states("claims").values()


def test_a_staged_mirror_around_the_source_publishes_nothing_over_it(ws: WorkspaceFiles, source: Path) -> None:
    ws.module(
        "claims",
        """
        from data_engine import Flow

        def clean(context):
            context.mirror.root_file("first.txt").write_text("ruined")
            context.mirror.root_file("in/a.csv").write_text("ruined")

        def build():
            watched = Flow(group="G").watch(mode="poll", run_as="batch", source="../data/in", interval="1s")
            return watched.mirror(root="../data", staged=True).step(clean)
        """,
    )
    source = ws.source("data/in/a.csv", DATA)

    with pytest.raises(FlowValidationError, match="the flow's own source"):
        load_flow("claims", data_root=ws.root).run_once()

    assert source.read_text() == DATA
    assert not (ws.root / "data" / "first.txt").exists()
    (run,) = Workspace(ws.root).runs("claims")
    assert run.why is not None
    assert run.why.kind == "overwrites_source"


@pytest.mark.parametrize("watch", ['mode="manual", source="../in"', 'mode="schedule", time="07:00", source="../in"'])
@pytest.mark.parametrize("run_as", ["individual", "batch"])
@pytest.mark.parametrize("statement", [WRITERS["Path.write_text"], WRITERS["polars"]], ids=["Python", "polars"])
def test_no_run_overwrites_its_sources_whatever_starts_it(
    ws: WorkspaceFiles, source: Path, watch: str, run_as: str, statement: str
) -> None:
    here = "path = path or context.source.root / 'a.csv'; "
    flow = write(ws, here + statement, f'{watch}, run_as="{run_as}"')

    with pytest.raises(FlowExecutionError, match="the flow's own source"):
        flow.run_once()

    assert source.read_text() == DATA


def test_a_run_that_swallows_the_refusal_fails_all_the_same(ws: WorkspaceFiles, source: Path) -> None:
    swallow = "\n        ".join(("try:", "    path.write_text('ruined')", "except Exception:", "    pass"))
    flow = write(ws, swallow, 'mode="manual", source="../in"')

    with pytest.raises(FlowExecutionError, match="the flow's own source") as caught:
        flow.run_once()

    assert source.read_text() == DATA
    assert "claims.py, line" in str(caught.value)
    (run,) = Workspace(ws.root).runs("claims")
    assert run.status == "failed"


THREADS = {
    "thread": "import threading; one = threading.Thread(target=path.write_text, args=('x',)); one.start(); one.join()",
    "pool": "from concurrent.futures import ThreadPoolExecutor; ThreadPoolExecutor(1).submit(path.write_text, 'x').exception()",
}


def sources_of_no_workspace(folder: Path) -> Path:
    for name in ("a.csv", "b.csv"):
        (folder / "in").mkdir(exist_ok=True)
        (folder / "in" / name).write_text(DATA)
    return folder / "in"


def test_without_a_workspace_the_step_that_swallows_the_refusal_is_the_last(tmp_path: Path) -> None:
    """Nobody hears of its steps there."""
    source, later = sources_of_no_workspace(tmp_path), list[str]()

    def clean(context: FlowContext) -> None:
        with suppress(FlowValidationError):
            context.source.path.write_text("ruined")  # type: ignore[union-attr]

    flow = Flow("G", name="own").watch(mode="poll", source=source, interval="1s").step(clean, label="Clean")
    with pytest.raises(FlowExecutionError) as raised:
        flow.step(lambda context: later.append("went on")).run_once()

    assert (raised.value.step_label, later, (source / "a.csv").read_text()) == ("Clean", [], DATA)


@pytest.mark.skipif(os.name == "nt", reason="links need a right there")
def test_a_folder_that_becomes_a_link_to_the_sources_is_seen_as_that(tmp_path: Path) -> None:
    """What was known of it when the file before was written counts no longer."""
    source, out = sources_of_no_workspace(tmp_path), tmp_path / "out"
    out.mkdir()

    def write(context: FlowContext) -> None:
        (out / context.source.path.name).write_text("ruined")  # type: ignore[union-attr]
        shutil.rmtree(out)
        out.symlink_to(source)

    flow = Flow("G", name="own").watch(mode="poll", source=source, interval="1s").step(write)
    with pytest.raises(FlowExecutionError, match="own source") as raised:
        flow.run_once()

    assert (len(raised.value.completed), (source / "b.csv").read_text()) == (1, DATA)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
@pytest.mark.parametrize("statement", THREADS.values(), ids=THREADS)
def test_a_thread_that_a_step_starts_is_refused_too(ws: WorkspaceFiles, source: Path, statement: str) -> None:
    with pytest.raises(FlowExecutionError, match="the flow's own source"):
        write(ws, statement, 'mode="manual", source="../in"').run_once()

    assert source.read_text() == DATA


def test_queries_of_a_flow_that_copies_elsewhere_are_answered_as_ever(ws: WorkspaceFiles, source: Path) -> None:
    """They find frames by the names of variables, of a function and of its module, and take parameters."""
    ws.module(
        "claims",
        """
        import duckdb
        import polars as pl
        from data_engine import Flow

        RATES = pl.DataFrame({"rate": [2]})

        def clean(context):
            frame = pl.DataFrame({"a": [1]})
            target = context.source.root.parent / "out.csv"
            with duckdb.connect() as connection:
                connection.execute("create table t as select a * rate * ? as b from frame, RATES", [3])
                connection.execute(f"copy t to '{target}'")
            return duckdb.sql("select a from frame").fetchall(), target.read_text()

        def build():
            return Flow(group="G").watch(WATCH).step(clean)
        """.replace("WATCH", POLL),
    )

    (done,) = load_flow("claims", data_root=ws.root).run_once()

    assert done.current == ([(1,)], "b\n6\n")
    (run,) = Workspace(ws.root).runs("claims")
    assert [Path(one.path).name for one in run.inputs] == ["a.csv", "out.csv"]


@pytest.mark.parametrize("watch", [POLL, 'mode="manual", source="../in"', BATCH])
def test_moving_its_source_away_is_no_overwriting_and_is_told(ws: WorkspaceFiles, source: Path, watch: str) -> None:
    write(ws, f"path = Path({str(source)!r}); path = path.rename(path.with_suffix('.done'))", watch).run_once()

    assert source.with_suffix(".done").read_text() == DATA
    (run,) = Workspace(ws.root).runs("claims")
    told = [line.message for line in Workspace(ws.root).log(run.run_id)]
    assert f"moved or removed {source}, of the flow's own sources" in told


@pytest.mark.parametrize("watch", [POLL, 'mode="manual", source="../in"'])
@pytest.mark.parametrize("statement", [WRITERS["open"], WRITERS["polars"], COPY], ids=["open", "polars", "copy"])
def test_a_preview_never_overwrites_the_source(ws: WorkspaceFiles, source: Path, statement: str, watch: str) -> None:
    """Production reads it; a preview changes nothing of that."""
    flow = write(ws, statement, watch)

    with pytest.raises(FlowExecutionError, match=r"the preview would change .*the flow's own sources"):
        flow.preview()

    assert source.read_text() == DATA


@pytest.mark.parametrize("watch", [POLL, 'mode="manual", source="../in"'])
@pytest.mark.parametrize(
    "statement",
    [
        "path.unlink()",
        "os.remove(path)",
        "path.rename(path.with_suffix('.done'))",
        "shutil.move(path, path.parent.parent / 'a.csv')",
        "shutil.rmtree(path.parent)",
    ],
)
def test_a_preview_never_takes_the_source_away(ws: WorkspaceFiles, source: Path, statement: str, watch: str) -> None:
    """The archive of a flow that moves what it has read, or a cleaning up: production may, a preview only where it is told to."""
    flow = write(ws, f"{statement}; path = 'gone'", watch)

    with pytest.raises(FlowExecutionError, match=r"the preview would (remove|move) ") as caught:
        flow.preview()

    assert source.read_text() == DATA
    assert caught.value.fix is not None
    assert "preview(write=True)" in caught.value.fix
    flow.preview(write=True)
    assert not source.exists()


def test_a_preview_that_writes_for_real_does_what_production_does(ws: WorkspaceFiles, source: Path) -> None:
    with pytest.raises(FlowExecutionError, match="the flow's own source"):
        write(ws, WRITERS["open"]).preview(write=True)
    assert source.read_text() == DATA

    other = ws.source("other/b.csv", DATA)
    write(ws, f"Path({str(other)!r}).write_text('new')", 'mode="manual", source="../in"').preview(write=True)
    assert other.read_text() == "new"


def test_a_file_is_held_and_says_why(ws: WorkspaceFiles, source: Path, daemon: Workspace) -> None:
    """In the daemon: it fails once, whatever `[retry]` says, stays as it was, and runs when the flow was put right."""
    ws.source("config/data_engine.toml", '[retry]\nretries = 5\ndelay = "1s"\n[deploy]\nmode = "auto"\nquiet = "0s"\n')
    ws.module("claims", FLOW.format(write=WRITERS["polars"], watch=POLL))
    daemon.start_engine()
    until(lambda: daemon.runs("claims") and daemon.runs("claims")[0].finished_at_utc)
    ws.source("in/b.csv", DATA)
    until(lambda: len([run for run in daemon.runs("claims") if run.status == "failed"]) == 2)

    (told,) = daemon.explain(source)
    assert (told.why.kind, told.cause and told.cause.kind) == ("held", "overwrites_source")
    assert "the flow's own source" in told.why.text
    until(lambda: next(flow for flow in daemon.status().flows if flow.name == "claims").held == 2)
    assert source.read_text() == DATA

    ws.module("claims", FLOW.format(write="pass", watch=POLL))
    daemon.deploy("claims")
    daemon.retry("claims")
    until(lambda: len([run for run in daemon.runs("claims") if run.status == "success"]) == 2)
    assert len(daemon.runs("claims")) == 4
