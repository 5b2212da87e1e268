"""A golden keeps a result that was right, and says when the code gives another one."""

from __future__ import annotations

import errno
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from data_engine.client import Workspace
from data_engine.errors import FlowExecutionError, FlowValidationError
from data_engine.plan import keeping
from data_engine.plan.golden import Golden, read_golden
from data_engine.plan.keeping import COPIED_BYTES
from data_engine.verbs import Flow
from tests.plan.production import FLOW, Production

KEPT = "clean_df-april.csv"


def flow(production: Production) -> Flow:
    return production.ws.load_flow("sales")


def keep(production: Production, **options: Any) -> Golden:
    return flow(production).golden(**{"use": "clean_df", "source": "april.csv", "key": "id", **options})


def statuses(production: Production, name: str | None = None) -> dict[str, str]:
    return {one.name: one.status for one in production.ws.test(name)}


def folder(production: Production) -> Path:
    return production.files.root / "goldens" / "sales"


@pytest.mark.parametrize("place", ["goldens", "goldens/sales", "goldens/sales/data"])
def test_a_golden_is_not_kept_through_a_link(production: Production, tmp_path: Path, place: str) -> None:
    """Others may write to the workspace's folder; nothing is made where it leads."""
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    link = production.files.root / place
    link.parent.mkdir(parents=True, exist_ok=True)
    link.symlink_to(elsewhere)

    with pytest.raises(FlowValidationError, match="cannot be kept: it is a link"):
        keep(production)

    assert list(elsewhere.iterdir()) == []


def test_a_golden_holds_until_the_code_gives_another_result(production: Production) -> None:
    """Then it says what differs; and it says so whatever production has meanwhile."""
    keep(production)
    assert statuses(production) == {KEPT: "holds"}

    production.edit(least="1")

    (found,) = production.ws.test("sales")
    assert (found.status, found.text) == ("differs", "1 row removed")
    assert found.difference is not None
    assert found.difference.samples[0].key == {"id": 1}


def test_a_golden_that_fails_for_the_first_file_names_another(production: Production) -> None:
    """Nobody named that one: which it is, and what takes the next. Of a file that was named nothing is said of others."""
    (production.files.root / "in" / "april.csv").write_text("id\n")
    said = 'april.csv is the first of 3 files: source="june.csv" (--source in %flow) takes another one'

    with pytest.raises(FlowExecutionError) as unnamed:
        keep(production, source=None)
    with pytest.raises(FlowExecutionError) as named:
        keep(production)

    assert str(unnamed.value.fix).endswith(said)
    assert "is the first of" not in str(named.value.fix)
    assert keep(production, source="june.csv").use == "clean_df"


def test_the_header_is_readable_and_the_data_beside_it(production: Production) -> None:
    """Git shows what changed; the data is left out of it."""
    golden = keep(production)

    header = (folder(production) / f"{KEPT}.toml").read_text(encoding="utf-8")
    assert header.startswith("# What clean_df must be; `data-engine test` compares it.\n")
    assert '"id: Int64"' in header
    assert "rows = 3" in header
    assert read_golden(folder(production) / f"{KEPT}.toml") == golden
    data = folder(production) / "data" / KEPT
    assert pl.read_parquet(data / "result.parquet").height == 3
    assert (data / "source" / "april.csv").read_bytes() == (production.files.root / "in/april.csv").read_bytes()
    assert str(golden) == f"golden sales/{KEPT}: clean_df of april.csv, 3 rows; columns id: Int64, amount: Int64"


def test_git_leaves_the_data_out(production: Production) -> None:
    """In a new workspace by its own file, in an older one by a file beside the goldens, which is nobody's else."""
    keep(production)
    assert "**/data/" in (production.files.root / "goldens/.gitignore").read_text(encoding="utf-8").splitlines()

    made = Workspace.create(production.files.root.parent / "fresh")
    made.load_flow("example").golden()
    assert "goldens/**/data/" in made.layout.gitignore_path.read_text(encoding="utf-8").splitlines()
    assert not (made.root / "goldens/.gitignore").exists()


def test_the_source_is_the_kept_one(production: Production) -> None:
    """A file that was replaced, or is gone, is no difference of the code."""
    keep(production)
    production.put("april.csv", "id,amount\n9,9\n")
    assert statuses(production) == {KEPT: "holds"}
    (production.files.root / "in/april.csv").unlink()

    assert statuses(production) == {KEPT: "holds"}


def test_what_lies_beside_the_source_is_read_where_it_is(production: Production) -> None:
    """Only the source itself is the kept one; paths from its folder lead where they lead in production."""
    (production.files.root / "rates.txt").write_text("2", encoding="utf-8")
    rate = "int((context.source.root.parent / 'rates.txt').read_text())"
    production.edit(FLOW.replace("> {least})", f"> 0).with_columns(pl.col('amount') * {rate})"))

    golden = keep(production)

    assert pl.read_parquet(golden.result(production.files.root / "goldens"))["amount"].to_list() == [2, 4, 100]
    assert statuses(production) == {KEPT: "holds"}


def test_a_large_source_is_kept_by_its_hash(production: Production) -> None:
    """When it has changed that is told, and nothing is compared."""
    path = production.put("large.csv", "id,amount\n" + "1,1\n" * (COPIED_BYTES // 4 + 1))
    golden = keep(production, source="large.csv", key=None)
    assert golden.source is not None
    assert not golden.source.files[0].is_copied
    assert not (folder(production) / "data" / golden.name / "source").exists()
    assert statuses(production) == {golden.name: "holds"}

    path.write_text("id,amount\n" + "1,2\n" * (COPIED_BYTES // 4 + 1), encoding="utf-8")

    (found,) = production.ws.test("sales")
    assert (found.status, found.why, found.is_bad) == ("not compared", "its source large.csv has changed since", False)


def test_data_that_is_not_here_is_told(production: Production) -> None:
    """As on another machine, where Git brought only the header."""
    golden = keep(production)
    for path in sorted(golden.folder(production.files.root / "goldens").rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    golden.folder(production.files.root / "goldens").rmdir()

    (found,) = production.ws.test("sales")

    assert found.status == "not compared"
    assert "Git leaves it out" in found.text


def test_a_golden_is_not_replaced_unasked(production: Production) -> None:
    """With update it is, and moved where it is to be shared."""
    first = keep(production)
    with pytest.raises(FlowValidationError, match="already"):
        keep(production)

    again = keep(production, share=True, update=True)

    assert not first.folder(production.files.root / "goldens").exists()
    assert again.result(production.files.root / "goldens").parts[-3:] == ("shared", KEPT, "result.parquet")
    assert statuses(production) == {KEPT: "holds"}


def test_update_keeps_what_differs_now(production: Production) -> None:
    """From the source that is kept; what holds is left alone."""
    keep(production)
    keep(production, source="june.csv")
    header = (folder(production) / "clean_df-june.csv.toml").read_bytes()
    production.edit(least="1")
    production.put("april.csv", "id,amount\n9,9\n")

    found = {one.name: one.status for one in production.ws.test("sales", update=True)}

    assert found == {KEPT: "updated", "clean_df-june.csv": "holds"}
    assert statuses(production) == {KEPT: "holds", "clean_df-june.csv": "holds"}
    assert (folder(production) / "clean_df-june.csv.toml").read_bytes() == header
    updated = read_golden(folder(production) / f"{KEPT}.toml").result(production.files.root / "goldens")
    assert pl.read_parquet(updated)["id"].to_list() == [2, 3]
    assert [path.name for path in sorted((folder(production) / "data").iterdir())] == [
        updated.parent.name,
        "clean_df-june.csv",
    ]


@pytest.mark.parametrize("share", [False, True])
def test_a_process_that_is_killed_while_it_replaces_a_golden_leaves_the_one_that_was(
    production: Production, share: bool
) -> None:
    """Whenever it is: new data counts once the header names it; what was left goes with the next update."""
    keep(production, share=share)
    place = folder(production) / ("shared" if share else "data")
    production.edit(least="1")
    script = (
        "import os, sys; from data_engine.plan import keeping; from data_engine import Workspace\n"
        "keeping.write_text_atomic = lambda *told: os._exit(9)\n"
        "Workspace(sys.argv[1]).test('sales', update=True)"
    )
    done = subprocess.run([sys.executable, "-c", script, str(production.files.root)], check=False, timeout=60)
    assert done.returncode == 9
    assert len(list(place.iterdir())) == 2

    assert statuses(production) == {KEPT: "differs"}
    production.edit(least="0")
    assert statuses(production) == {KEPT: "holds"}
    keep(production, share=share, update=True)

    assert statuses(production) == {KEPT: "holds"}
    assert len(list(place.iterdir())) == 1


def test_a_golden_that_cannot_be_replaced_is_the_one_that_was(
    production: Production, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The drive is full when its header is written; nothing else is left."""
    keep(production)
    production.edit(least="1")

    def full(*told: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", "goldens")

    monkeypatch.setattr(keeping, "write_text_atomic", full)
    with pytest.raises(FlowValidationError, match="cannot be kept"):
        keep(production, update=True)

    assert [path.name for path in (folder(production) / "data").iterdir()] == [KEPT]
    assert statuses(production) == {KEPT: "differs"}


def test_columns_may_be_dropped(production: Production) -> None:
    """What is of no matter, or personal, is neither kept nor compared."""
    golden = keep(production, drop=["amount"])

    assert golden.columns == ("id: Int64",)
    assert pl.read_parquet(golden.result(production.files.root / "goldens")).columns == ["id"]
    assert statuses(production) == {KEPT: "holds"}


def test_values_and_files_are_kept_too(production: Production) -> None:
    """A value as JSON, a file as it is."""
    production.edit(
        FLOW.replace("def build", "def total(context):\n    return {'sum': context.objects['clean_df']['amount'].sum(), 'mean': float('nan')}\n\ndef build")
        .replace(".step(write)", '.step(total, save_as="totals").step(write, use="clean_df")'),
        least="0",
    )  # fmt: skip

    value = keep(production, use="totals", key=None)
    file = keep(production, use=None, key=None)

    assert (value.kind, file.kind, file.file) == ("value", "file", "april.parquet")
    kept = json.loads(value.result(production.files.root / "goldens").read_text(encoding="utf-8"))
    assert kept == {"sum": 53, "mean": {"float": "nan"}}
    assert set(statuses(production).values()) == {"holds"}
    production.edit(
        FLOW.replace("def build", "def total(context):\n    return {'sum': 0, 'mean': 1.0}\n\ndef build")
        .replace(".step(write)", '.step(total, save_as="totals").step(write, use="clean_df")'),
        least="20",
    )  # fmt: skip
    assert set(statuses(production).values()) == {"differs"}


def test_a_golden_that_cannot_be_made_any_more_failed(production: Production) -> None:
    """With the cell; so it is for a flow that does not compile."""
    keep(production)
    production.edit(FLOW.replace("> {least})", "> 0).select(1 / 0)"))

    (found,) = production.ws.test("sales")

    assert (found.status, found.where) == ("failed", "sales.ipynb, cell 3, line 2")
    production.edit(FLOW.replace("return (", "return nowhere + ("), least="1")
    assert statuses(production) == {KEPT: "failed"}


def test_a_damaged_header_failed(production: Production) -> None:
    """And one that leads out of the folder is refused."""
    keep(production)
    header = folder(production) / f"{KEPT}.toml"
    header.write_text(header.read_text(encoding="utf-8").replace('path = "april.csv"', 'path = "../../april.csv"'))
    assert "leads out of its folder" in production.ws.test("sales")[0].text

    header.write_text("kind = ", encoding="utf-8")

    (found,) = production.ws.test("sales")
    assert found.status == "failed"
    assert found.text.startswith(f"{KEPT}.toml is not a golden's header")


def test_a_batch_is_kept_with_all_its_files(production: Production) -> None:
    """And run as one."""
    production.edit(
        FLOW.replace('mode="poll"', 'mode="poll", run_as="batch"')
        .replace("pl.read_csv(context.source.path)", "pl.read_csv(context.source.root / '*.csv')")
        .replace('context.mirror.with_suffix(".parquet")', 'context.mirror.file("all.parquet")'),
        least="0",
    )
    golden = keep(production, source=None, key=None)
    production.put("july.csv", "id,amount\n9,9\n")

    assert golden.source is not None
    assert [one.path for one in golden.source.files] == ["april.csv", "june.csv", "may.csv"]
    assert statuses(production) == {"clean_df": "holds"}


WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "no such object": ({"use": "nothing"}, "saves an object 'nothing'"),
    "no such source": ({"source": "nothing.csv"}, "Source file not found"),
    "a key it lacks": ({"key": "day"}, "key= names 'day'"),
    "a column it lacks": ({"drop": ["day"]}, "drop= names 'day'"),
    "a tolerance that is none": ({"tolerance": 3}, "is not a number from 0"),
    "a param that no header holds": ({"params": {"a": object()}}, "the param 'a' is object"),
    "no name": ({"name": " "}, "a golden cannot be called ' '"),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_cannot_be_kept_is_refused_and_leaves_nothing(name: str, production: Production) -> None:
    """Neither a header nor data."""
    options, what = WRONG[name]

    with pytest.raises(FlowValidationError, match=what):
        keep(production, **options)

    left = [path for path in (production.files.root / "goldens").rglob("*") if path.is_file()]
    assert left == []


def test_a_result_that_nobody_can_keep_is_refused(production: Production) -> None:
    """By its type."""
    production.edit(FLOW.replace("> {least})", "> 0).lazy, object()"))

    with pytest.raises(FlowValidationError, match=r"the result\[0\] is \w+, which cannot be kept"):
        keep(production, key=None)


def test_a_flow_of_no_workspace_keeps_none() -> None:
    """There is no place for it."""
    with pytest.raises(FlowValidationError, match="belongs to no workspace"):
        Flow("Demo").step(str).golden()


def test_testing_a_flow_without_goldens_says_how_to_keep_one(production: Production) -> None:
    """And of all flows there is nothing to say."""
    assert production.ws.test() == []
    with pytest.raises(FlowValidationError, match="sales has no goldens"):
        production.ws.test("sales")


def test_params_are_kept_and_used(production: Production) -> None:
    """The same params make the same result."""
    production.edit(FLOW.replace("{least}", 'context.params.get("least", 0)'))
    golden = keep(production, params={"least": 20})

    assert golden.rows == 1
    assert statuses(production) == {KEPT: "holds"}


def test_nothing_of_production_changes(production: Production) -> None:
    """Keeping and testing run into scratch."""
    before = production.outputs()
    keep(production, use=None, key=None)
    production.edit(least="20")

    production.ws.test()

    assert production.outputs() == before


SECRETS = """
from data_engine import Flow
import polars as pl

def read(context):
    word = context.secret("warehouse").reveal()
    frame = pl.DataFrame({"id": [1], "url": [f"postgres://ann:{word}@dwh"], "list": [[word]], "plain": ["x"]})
    report = context.mirror.root / "report.txt"
    report.write_text(f"from {word}")
    return frame, {"word": word}, report

def frame(context):
    return context.current[0]

def value(context):
    return context.objects["read"][1]

def report(context):
    return context.objects["read"][2]

def build():
    return (
        Flow(group="Sales").watch(mode="manual", source="../in/april.csv").mirror(root="../out")
        .step(read, save_as="read").step(frame, save_as="frame").step(value, save_as="value").step(report, save_as="report")
    )
"""


@pytest.mark.parametrize(
    ("use", "drop", "what"),
    [
        ("frame", [], "in its column 'url'"),
        ("frame", ["url"], "in its column 'list'"),
        ("value", [], "the text of a secret: it"),
        ("report", [], "in report.txt"),
    ],
)
def test_a_secret_is_never_kept(
    production: Production, monkeypatch: pytest.MonkeyPatch, use: str, drop: list[str], what: str
) -> None:
    """Neither as a text of its own nor within one; nothing of what was begun is left."""
    word = "correct horse battery"
    monkeypatch.setenv("DATA_ENGINE_SECRET_WAREHOUSE", word)
    production.edit(SECRETS)

    with pytest.raises(FlowValidationError, match=what):
        flow(production).golden(use=use, drop=drop)

    left = [path for path in (production.files.root / "goldens").rglob("*") if path.is_file()]
    assert all(word not in path.read_text(encoding="utf-8", errors="replace") for path in left)
    assert not list(folder(production).glob("*.toml"))

    flow(production).golden(use="frame", drop=["url", "list"])
    assert statuses(production) == {"frame-april.csv": "holds"}


@pytest.mark.parametrize("is_deployed_first", [False, True])
def test_a_golden_follows_the_rename_of_its_flow(production: Production, is_deployed_first: bool) -> None:
    """Whether it is compared before or after production follows the new name."""
    keep(production)
    modules = production.files.root / "flow_modules"
    (modules / "sales.ipynb").rename(modules / "monthly.ipynb")
    if is_deployed_first:
        production.ws.deploy("monthly")

    assert [(one.flow, one.name, one.status) for one in production.ws.test()] == [("monthly", KEPT, "holds")]
    assert statuses(production, "monthly") == {KEPT: "holds"}
    assert not folder(production).exists()
