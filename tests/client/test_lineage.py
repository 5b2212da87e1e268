"""What feeds what: from runs, and from what flows declare before they ran."""

from __future__ import annotations

import pytest

from data_engine import Workspace
from data_engine.errors import FlowValidationError
from data_engine.status.lineage import Lineage
from data_engine.view.layers import ranks
from data_engine.view.lineage import lineage_card
from data_engine.view.text import text
from tests.cli.conftest import Cli, cli  # noqa: F401
from tests.support import WorkspaceFiles

CLEAN = """
    from pathlib import Path
    from data_engine import Flow

    def clean(context):
        (Path(context.source.root).parent / "rates.csv").read_text()
        target = context.mirror.file(context.source.path.name)
        target.write_text(context.source.path.read_text())
        return target

    def build():
        watched = Flow(group="A").watch(mode="poll", source="../in", interval="30s", extensions=".csv")
        return watched.mirror(root="../parts/clean").step(clean)
"""
TOTAL = """
    from pathlib import Path
    from data_engine import Flow

    def add(context):
        target = context.mirror.file("total.csv")
        target.write_text("".join(path.read_text() for path in sorted(Path(context.source.root).rglob("*.csv"))))
        return target

    def build():
        watched = Flow(group="B").watch(mode="poll", source="../parts", interval="30s", run_as="batch", extensions=".csv")
        return watched.mirror(root="../sum").step(add)
"""


@pytest.fixture
def workspace(ws: WorkspaceFiles) -> Workspace:
    ws.notebook("clean", CLEAN)
    ws.notebook("total", TOTAL)
    ws.source("rates.csv")
    for number in range(6):
        ws.source(f"in/{number}.csv")
    return Workspace(ws.root)


@pytest.fixture
def after_runs(workspace: Workspace) -> Workspace:
    workspace.load_flow("clean").run_once()
    workspace.load_flow("total").run_once()
    return workspace


def edges(shown: Lineage) -> set[tuple[str, str]]:
    return {(edge.source, edge.target) for edge in shown.edges}


def test_what_flows_declare_is_known_before_they_ran(workspace: Workspace) -> None:
    shown = workspace.lineage("clean")

    assert edges(shown) == {("in/", "clean"), ("clean", "parts/clean/")}
    assert {edge.run_id for edge in shown.edges} == {None}
    assert shown.edges[0].text == "clean reads in/: no run has yet"


def test_of_a_flow_what_its_runs_have_read_and_written(after_runs: Workspace) -> None:
    """Folders stand for their files; the file that was read beside the source is one of its own."""
    shown = after_runs.lineage("clean")

    assert edges(shown) == {("in/", "clean"), ("rates.csv", "clean"), ("clean", "parts/clean/")}
    assert {node.id: (node.kind, node.count) for node in shown.nodes} == {
        "clean": ("flow", None),
        "in/": ("folder", 6),
        "rates.csv": ("file", None),
        "parts/clean/": ("folder", 6),
    }
    run_ids = {run.run_id for run in after_runs.runs("clean")}
    assert {edge.run_id for edge in shown.edges} <= run_ids


@pytest.mark.parametrize(
    ("subject", "depth", "expected"),
    [
        ("rates.csv", 1, {("rates.csv", "clean")}),
        ("parts/clean/3.csv", 1, {("clean", "parts/clean/3.csv"), ("parts/clean/3.csv", "total")}),
        ("parts/clean", 1, {("clean", "parts/clean/"), ("parts/clean/", "total")}),
        ("parts", 1, {("clean", "parts/"), ("parts/", "total")}),
        ("total", 1, {("parts/clean/", "total"), ("total", "sum/")}),
        ("total", 3, {("parts/clean/", "total"), ("total", "sum/"), ("clean", "parts/clean/"), ("in/", "clean"), ("rates.csv", "clean")}),
        ("in/new.csv", 1, {("in/new.csv", "clean")}),
        ("in/new.txt", 1, set()),
        (None, 1, {("in/", "clean"), ("rates.csv", "clean"), ("clean", "parts/clean/"), ("parts/clean/", "total"), ("total", "sum/")}),
    ],
)  # fmt: skip
def test_so_many_edges_each_way(
    after_runs: Workspace, subject: str | None, depth: int, expected: set[tuple[str, str]]
) -> None:
    assert edges(after_runs.lineage(subject, depth)) == expected


def test_a_path_is_seen_from_the_workspace_or_from_here(
    after_runs: Workspace, ws: WorkspaceFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ws.root / "parts")

    assert edges(after_runs.lineage("clean/3.csv")) == edges(after_runs.lineage("parts/clean/3.csv"))
    assert after_runs.lineage("clean").nodes[0].kind == "flow"  # a flow before a folder
    assert after_runs.lineage(ws.root / "rates.csv").subject == "rates.csv"


def test_a_source_that_is_one_file_is_a_file(workspace: Workspace, ws: WorkspaceFiles) -> None:
    ws.notebook("single", CLEAN.replace("../in", "../in/0.csv").replace("parts/clean", "one"))
    assert edges(workspace.lineage("single")) == {("in/0.csv", "single"), ("single", "one/")}

    workspace.load_flow("single").run_once()

    assert edges(workspace.lineage("single")) == {("in/0.csv", "single"), ("rates.csv", "single"), ("single", "one/")}


def test_a_table_names_who_wrote_it_and_who_reads_its_database(workspace: Workspace, ws: WorkspaceFiles) -> None:
    ws.notebook(
        "load",
        """
        import polars as pl
        from data_engine import Flow
        from data_engine.helpers.duckdb import replace_table

        def load(context):
            replace_table(context.database("w.duckdb"), "sales", df=pl.DataFrame({"a": [1, 2]}))

        def build():
            return Flow(group="A").step(load)
        """,
    )
    workspace.load_flow("load").run_once()

    (edge,) = workspace.lineage("w.duckdb:sales").edges

    assert (edge.source, edge.target, edge.rows) == ("load", "w.duckdb:sales", 2)
    for name in ("databases/w.duckdb:sales", str(ws.root / "databases" / "w.duckdb") + ":sales"):
        assert workspace.lineage(name) == workspace.lineage("w.duckdb:sales")


def test_who_writes_a_table_writes_its_database_and_feeds_who_reads_it(
    workspace: Workspace,
    ws: WorkspaceFiles,
    cli: Cli,  # noqa: F811
) -> None:
    """Not as if it read the database: in the map, around the file, in its log, and when it is deployed; also of map items elsewhere."""
    ws.notebook(
        "load",
        """
        import polars as pl
        from data_engine import Flow
        from data_engine.helpers.duckdb import replace_rows_by_file

        def load(context, item):
            replace_rows_by_file(
                context.database("w.duckdb"), "sales", df=pl.DataFrame({"a": [item]}), file_hash=str(item)
            )

        def build():
            return Flow(group="A").step(lambda context: (1, 2)).map(load, max_parallel=2)
        """,
    )
    ws.source("config/data_engine.toml", '[executor]\nkind = "processes"\nworkers = 2\n')
    ws.notebook(
        "count",
        """
        from data_engine import Flow
        from data_engine.helpers.duckdb import read_sql

        def count(context):
            return read_sql(db_path=context.database("w.duckdb", read_only=True), sql="SELECT count(*) FROM sales").item()

        def build():
            return Flow(group="B").step(count)
        """,
    )
    workspace.load_flow("load").run_once()
    (counted,) = workspace.load_flow("count").run_once()

    assert counted.current == 2
    assert edges(workspace.lineage("load")) == {("load", "databases/w.duckdb")}
    both = {("load", "databases/w.duckdb"), ("databases/w.duckdb", "count")}
    assert edges(workspace.lineage("databases/w.duckdb")) == both
    assert edges(workspace.lineage()) >= both
    assert edges(workspace.lineage("databases")) == {("load", "databases/"), ("databases/", "count")}
    words = cli("--workspace", ws.root, "log", workspace.runs("load")[0].run_id).out
    assert "w.duckdb (sales)" in words.partition("Wrote")[2].partition("\n")[0]
    cli("--workspace", ws.root, "deploy", "count")
    assert "load: what it writes is read by count" in cli("--workspace", ws.root, "deploy", "load").out


@pytest.mark.parametrize("is_own", [False, True], ids=["helpers", "own connection"])
def test_who_reads_a_database_and_writes_to_it_does_both(
    workspace: Workspace,
    ws: WorkspaceFiles,
    cli: Cli,  # noqa: F811
    is_own: bool,
) -> None:
    ws.notebook(
        "load",
        """
        import polars as pl
        from data_engine import Flow
        from data_engine.helpers.duckdb import replace_table

        def load(context):
            replace_table(context.database("w.duckdb"), "sales", df=pl.DataFrame({"a": [1, 2]}))

        def build():
            return Flow(group="A").step(load)
        """,
    )
    read = (
        """
            with duckdb.connect(str(context.database("w.duckdb"))) as conn:
                total = conn.sql("SELECT sum(a) AS a FROM sales").pl()"""
        if is_own
        else """
            total = read_sql(db_path=context.database("w.duckdb", read_only=True), sql="SELECT sum(a) AS a FROM sales")"""
    )
    ws.notebook(
        "total",
        f"""
        import duckdb
        from data_engine import Flow
        from data_engine.helpers.duckdb import read_sql, replace_table

        def total(context):{read}
            replace_table(context.database("w.duckdb"), "totals", df=total)

        def build():
            return Flow(group="B").step(total)
        """,
    )
    workspace.load_flow("load").run_once()
    workspace.load_flow("total").run_once()

    database = "databases/w.duckdb"
    assert edges(workspace.lineage("load")) == {("load", database)}
    assert edges(workspace.lineage("total")) == {(database, "total"), ("total", database)}
    assert edges(workspace.lineage("w.duckdb:sales")) == {("load", "w.duckdb:sales"), ("w.duckdb:sales", "total")}
    assert edges(workspace.lineage("w.duckdb:totals")) == {("total", "w.duckdb:totals")}
    words = cli("--workspace", ws.root, "log", workspace.runs("total")[0].run_id).out
    assert "w.duckdb" in words.partition("Read")[2].partition("\n")[0]
    assert "w.duckdb (totals)" in words.partition("Wrote")[2].partition("\n")[0]


def test_files_that_are_read_by_a_pattern_are_known_by_name(
    workspace: Workspace, ws: WorkspaceFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What Polars, and a query of DuckDB, find by it: so that outputs are outdated when one of them changes."""
    ws.notebook(
        "rates",
        """
        import duckdb
        import polars as pl
        from data_engine import Flow

        def read(context):
            return pl.scan_csv("../rates/*.csv").collect().height + duckdb.sql("FROM read_csv('../units/*.csv')").pl().height

        def build():
            return Flow(group="A").step(read)
        """,
    )
    for name in ("rates/a.csv", "rates/b.csv", "units/c.csv"):
        ws.source(name, "x\n1\n")
    monkeypatch.chdir(ws.modules)
    workspace.load_flow("rates").run_once()

    read = {"rates/a.csv", "rates/b.csv", "units/c.csv"}
    assert edges(workspace.lineage("rates")) == {(name, "rates") for name in read}
    ws.source("rates/b.csv", "x\n22\n")
    assert "b.csv has changed since 1 output was made" in [row.reason for row in workspace.explain("rates/b.csv")]


@pytest.mark.parametrize("kind", ["threads", "processes"])
def test_what_items_read_in_other_processes_is_known(
    workspace: Workspace, ws: WorkspaceFiles, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    """As on threads: the file beside the source is a reference, those that a collect takes are none."""
    ws.source("config/data_engine.toml", f'[executor]\nkind = "{kind}"\nworkers = 2\n')
    ws.notebook(
        "items",
        """
        from pathlib import Path
        from data_engine import Flow

        def each(item):
            return item.path.read_text() + Path("../rates.csv").read_text()

        def build():
            return Flow(group="A").collect(".csv", root="../in").map(each, max_parallel=2)
        """,
    )
    monkeypatch.chdir(ws.modules)
    workspace.load_flow("items").run_once()

    assert edges(workspace.lineage("items")) == {("in/", "items"), ("rates.csv", "items")}
    for name in ("rates.csv", "in/1.csv"):
        ws.source(name, "other")
    assert "rates.csv has changed since 1 output was made" in [row.reason for row in workspace.explain("rates.csv")]
    with pytest.raises(FlowValidationError, match="neither a flow nor a file of"):
        workspace.explain("in/1.csv")  # of no flow's source, and no reference


def test_nothing_is_known_of_what_nobody_reads(workspace: Workspace, cli: Cli) -> None:  # noqa: F811
    with pytest.raises(FlowValidationError, match="nothing is known of elsewhere"):
        workspace.lineage("elsewhere/a.csv")
    with pytest.raises(FlowValidationError, match="depth is 0"):
        workspace.lineage("clean", 0)
    with pytest.raises(FlowValidationError, match="leave it out for all flows"):
        workspace.lineage(" ")

    assert cli("--workspace", workspace.root, "lineage", "elsewhere/a.csv").code == 2


@pytest.mark.parametrize(("typed", "meant"), [("claen", "clean"), ("rate.csv", "rates.csv")])
def test_a_misspelt_name_gets_the_nearest(after_runs: Workspace, typed: str, meant: str) -> None:
    with pytest.raises(FlowValidationError, match=f"did you mean {meant}\\?"):
        after_runs.lineage(typed)


def test_the_rows_that_a_frame_is_written_with_are_known(workspace: Workspace, ws: WorkspaceFiles) -> None:
    """Of whatever Polars writes from a frame as a whole; not of a file that is opened again behind it."""
    ws.notebook(
        "write",
        """
        import polars as pl
        from data_engine import Flow

        def write(context):
            df, out = pl.DataFrame({"a": [1, 2, 3]}), context.mirror.file
            df.write_csv(out("a.csv"))
            df.write_ndjson(out("a.ndjson"))
            df.write_ipc(out("a.arrow"))
            df.write_parquet(out("a.parquet"))
            df.write_csv(out("more.csv"))
            with open(out("more.csv"), "a") as file:
                file.write("4\\n")
            return df

        def build():
            return Flow(group="A").mirror(root="../out").step(write)
        """,
    )
    workspace.load_flow("write").run_once()
    (run,) = workspace.runs("write")

    rows = {file.path.rpartition("/")[2]: file.rows for file in run.outputs}
    assert rows == {"a.csv": 3, "a.ndjson": 3, "a.arrow": 3, "a.parquet": 3, "more.csv": None}
    (edge,) = workspace.lineage("out/a.csv").edges
    assert edge.text.startswith("write writes out/a.csv in cell 1: 3 rows, run ")


def test_a_broken_flow_is_a_flow(ws: WorkspaceFiles, workspace: Workspace) -> None:
    ws.notebook("broken", "def build():\n    return 1")

    assert [node.kind for node in workspace.lineage("broken").nodes] == ["flow"]


def test_it_is_typed_shown_and_read_by_programs(after_runs: Workspace, cli: Cli) -> None:  # noqa: F811
    facts = cli("--workspace", after_runs.root, "lineage", "clean", "--json").json
    assert Lineage.read(facts) == after_runs.lineage("clean")
    assert {"source", "target", "flow", "run_id", "at_utc", "rows", "cell", "text"} == facts["edges"][0].keys()

    words = cli("--workspace", after_runs.root, "lineage", "rates.csv", "--depth", "2").out
    assert "clean reads rates.csv in cell 1: run " in words
    assert "clean writes parts/clean/ in cell 1: run " in words
    assert "parts/clean/: 6 files" in cli("--workspace", after_runs.root, "lineage", "clean").out


def test_its_picture_goes_from_left_to_right(after_runs: Workspace) -> None:
    shown = after_runs.lineage()

    column = ranks([node.id for node in shown.nodes], [(edge.source, edge.target) for edge in shown.edges])
    assert column == {"in/": 0, "rates.csv": 0, "clean": 1, "parts/clean/": 2, "total": 3, "sum/": 4}
    svg = after_runs.lineage()._repr_mimebundle_()["text/html"]
    assert svg.count("<rect") == 6
    assert all(edge.text in text(lineage_card(shown)) for edge in shown.edges)


def test_the_map_has_each_flow_with_its_state(workspace: Workspace, ws: WorkspaceFiles, cli: Cli) -> None:  # noqa: F811
    ws.notebook("broken", "def build():\n    return 1")
    ws.notebook(
        "alone",
        CLEAN.replace('.watch(mode="poll", source="../in", interval="30s", extensions=".csv")', "").replace(
            '.mirror(root="../parts/clean")', ""
        ),
    )
    workspace.deploy("clean", force=True)

    shown = workspace.lineage()

    assert {node.id: node.mark and node.mark.word for node in shown.nodes if node.kind == "flow"} == {
        "alone": "not deployed",
        "broken": "broken",
        "clean": "idle",
        "total": "not deployed",
    }
    assert {node.mark for node in shown.nodes if node.kind != "flow"} == {None}
    assert {node.mark for node in workspace.lineage("clean").nodes} == {None}
    assert "clean: idle" in cli("--workspace", workspace.root, "lineage").out
    assert Lineage.read(cli("--workspace", workspace.root, "lineage", "--json").json) == shown


def test_an_edge_names_the_cell_that_opens_the_file_or_whose_step_writes_it(
    workspace: Workspace, ws: WorkspaceFiles
) -> None:
    ws.notebook(
        "cells",
        "from pathlib import Path\nfrom data_engine import Flow",
        "def rates(context):\n    return (Path(context.source.root).parent / 'rates.csv').read_text()",
        "def read(context):\n    return rates(context) + context.source.path.read_text()",
        "def write(context):\n    target = context.mirror.file('all.csv')\n    target.write_text(context.current)\n    return target",
        "def build():\n    return Flow(group='A').watch(mode='manual', source='../in/0.csv').mirror(root='../cells').step(read).step(write)",
    )
    workspace.load_flow("cells").run_once()

    found = {(edge.source, edge.target): edge.cell for edge in workspace.lineage("cells").edges}
    assert found == {("in/0.csv", "cells"): "cell 3", ("rates.csv", "cells"): "cell 2", ("cells", "cells/"): "cell 4"}
    (edge,) = [edge for edge in workspace.lineage("rates.csv").edges if edge.flow == "cells"]
    assert edge.text.startswith("cells reads rates.csv in cell 2: run ")
    assert workspace.lineage("cells/all.csv").edges[0].cell == "cell 4"
    assert workspace.lineage(workspace.root / "cells").edges[0].cell == "cell 4"
