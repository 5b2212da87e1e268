"""A plan says what an edit does to the data that production saw, and changes nothing."""

from __future__ import annotations

import pytest

from data_engine.client import Workspace
from data_engine.errors import FlowExecutionError, FlowValidationError
from data_engine.plan.plan import Plan
from data_engine.view.differences import plan_card
from data_engine.view.text import text as card_text
from tests.plan.production import FLOW, Production, cells, scratch_files
from tests.support import WorkspaceFiles


def test_an_edit_that_loses_rows_is_seen_in_rows(production: Production) -> None:
    """Which cell, which object and which file, with samples; and production is as it was."""
    before = production.outputs()
    production.edit(least="1")

    plan = production.ws.plan("sales")

    assert [(one.where, one.cell) for one in plan.cells] == [("cell 3", 3)]
    assert plan.cells[0].lines == (
        '-     return context.current.filter(pl.col("amount") > 0)',
        '+     return context.current.filter(pl.col("amount") > 1)',
    )
    assert [one.name for one in plan.sources] == ["june.csv", "may.csv", "april.csv"]
    assert plan.objects["raw_df"].equal
    clean = plan.objects["clean_df"]
    assert (clean.rows.before, clean.rows.removed, clean.rows.added) == (9, 1, 0)
    assert clean.text == "1 row removed, in 1 of 3 (april.csv)"
    assert clean.parts["april.csv"].samples[0].differs["amount"] == (1, None)
    assert plan.outputs["april.parquet"].rows.removed == 1
    assert plan.outputs["may.parquet"].equal
    assert not plan.equal
    assert production.outputs() == before


def test_an_edit_that_changes_nothing_is_told_so(production: Production) -> None:
    """Another spelling of the same is a difference in code and none in data."""
    production.edit(least="0.0")

    plan = production.ws.plan("sales")

    assert plan.equal
    assert plan.text == "no difference in 3 sources"
    assert plan.cells


def test_rows_are_paired_by_the_key(production: Production) -> None:
    """What changed is told by column then, for objects and for outputs."""
    production.edit(FLOW.replace("> {least})", '> 0).with_columns(pl.col("amount") * 2)'))

    plan = production.ws.plan("sales", sources=1, key="id")

    assert plan.objects["clean_df"].changed_values == {"amount": 3}
    assert plan.outputs["june.parquet"].samples[0].key == {"id": 1}


def test_sources_that_were_left_out_are_counted(production: Production) -> None:
    """So that a plan of a few is not taken for one of all."""
    production.edit(FLOW, least="1")

    notes = [production.ws.plan("sales", sources=count).notes for count in (2, 3)]

    assert notes[0] == ("of the 3 sources that production has read, the last 2; --sources N takes more",)
    assert notes[1] == ()


def test_a_key_that_no_table_has_is_an_error_that_names_the_nearest_column(production: Production) -> None:
    with pytest.raises(FlowValidationError) as refused:
        production.ws.plan("sales", key="idd")

    assert "idd" in refused.value.what
    assert "id" in (refused.value.fix or "").replace("idd", "")


def test_an_object_that_cannot_be_made_is_told_with_its_side(production: Production) -> None:
    flow = production.ws.load_flow("sales")
    with pytest.raises(FlowValidationError, match="as it is now"):
        flow.step(lambda context: 1 / 0, save_as="clean_df").preview(use="clean_df", against="deployed")


def test_one_object_may_be_asked_for(production: Production) -> None:
    """Later steps are not run then, and no outputs compared."""
    plan = production.ws.plan("sales", use="raw_df", sources=2)

    assert (list(plan.objects), dict(plan.outputs), len(plan.sources)) == (["raw_df"], {}, 2)


def test_an_edit_that_fails_is_part_of_the_plan(production: Production) -> None:
    """On which sources and where in which cell; the deployed side ran."""
    bad = (
        '> 0).with_columns(x=1 / (pl.col("amount").first() - 1) if context.current["amount"][0] != 1 else int("oops"))'
    )
    production.edit(FLOW.replace("> {least})", bad))

    plan = production.ws.plan("sales")

    (error,) = plan.errors
    assert (error.side, error.source) == ("current", "april.csv")
    assert error.where == "sales.ipynb, cell 3, line 2"
    assert plan.text.startswith("the edit fails on 1 of 3: sales.ipynb, cell 3, line 2")
    assert len(plan.objects["clean_df"].parts) == 2


def test_an_edit_that_does_not_compile_is_part_of_the_plan(production: Production) -> None:
    """There is no data to compare, and the reason is told."""
    production.edit(FLOW.replace("return (", "return nowhere + ("), least="1")

    plan = production.ws.plan("sales")

    assert plan.errors[0].side == "current"
    assert "nowhere" in plan.errors[0].error
    assert not plan.objects
    assert not plan.equal


def test_a_flow_that_was_never_deployed_has_no_plan(production: Production) -> None:
    """And is told what to do."""
    production.files.module("other", "from data_engine import Flow\ndef build(): return Flow('G').step(str)")

    with pytest.raises(FlowValidationError, match="never deployed") as caught:
        production.ws.plan("other")

    assert "data-engine deploy other" in (caught.value.fix or "")


def test_sources_that_are_not_what_production_saw_are_told(production: Production) -> None:
    """One that vanished, and one that changed."""
    (production.files.root / "in/june.csv").unlink()
    production.put("may.csv", "id,amount\n1,2\n9,9\n")

    plan = production.ws.plan("sales")

    assert [one.name for one in plan.sources] == ["april.csv"]
    assert plan.notes == (
        "not planned with june.csv: not there any more",
        "not planned with may.csv: changed since production read it",
    )


def test_a_removed_and_a_new_object_are_on_one_side(production: Production) -> None:
    """An object that a version does not save, and a file that only one writes."""
    text = FLOW.replace('save_as="clean_df"', 'save_as="tidy_df"').replace('".parquet"', '".pq"')
    production.edit(text, least="0")

    plan = production.ws.plan("sales", sources=1)

    assert {name: one.text for name, one in plan.objects.items()} == {
        "raw_df": "equal", "clean_df": "only before", "tidy_df": "only after"
    }  # fmt: skip
    assert {name: one.text for name, one in plan.outputs.items()} == {
        "june.parquet": "only before", "june.pq": "only after"
    }  # fmt: skip


APPENDS = FLOW.replace(
    """    target = context.mirror.with_suffix(".parquet")
    context.current.write_parquet(target)""",
    """    target = context.mirror.root_file("all.parquet")
    known = [pl.read_parquet(target)] if target.exists() else []
    pl.concat([*known, context.current]).write_parquet(target)""",
)


def test_sources_go_into_one_scratch_in_order_beside_what_production_has(production: Production) -> None:
    """A flow that reads its own output goes on from production's, and each source from the one before."""
    production.edit(APPENDS, least="0")
    production.ws.deploy("sales")
    production.ws.load_flow("sales").run_once(source="april.csv")
    production.edit(APPENDS, least="40")

    plan = production.ws.plan("sales", sources=2)

    found = plan.outputs["all.parquet"]
    assert (found.rows.before, found.rows.after) == (3 + 6, 3 + 2)
    assert production.ws.plan("sales", sources=2).outputs["all.parquet"].rows == found.rows


def test_a_second_plan_reuses_what_did_not_change(production: Production, capsys: pytest.CaptureFixture[str]) -> None:
    """Reading is not done again; what comes of it is the same."""
    production.edit(FLOW.replace("def read(context):", "def read(context):\n    print('reads')"), least="0")
    production.ws.deploy("sales")
    production.ws.plan("sales")
    capsys.readouterr()
    production.edit(FLOW.replace("def read(context):", "def read(context):\n    print('reads')"), least="1")

    plan = production.ws.plan("sales")

    assert capsys.readouterr().out.count("reads") == 0
    assert plan.objects["clean_df"].rows.removed == 1


def test_a_side_that_never_ends_is_ended(production: Production) -> None:
    """By the limit of runs, also where a step never asks."""
    production.files.source("config/data_engine.toml", '[limits]\nrun_timeout = "300ms"\n')
    production.edit(
        FLOW.replace("return context.current.filter", "import time; time.sleep(60)\n    return context.current.filter"),
        least="0",
    )

    plan = production.ws.plan("sales", sources=1)

    assert [(one.side, one.source) for one in plan.errors] == [("current", "june.csv")]
    assert "time limit of 0.3 s" in plan.errors[0].error


def test_ctrl_c_leaves_nothing(production: Production) -> None:
    """Neither scratch files nor a changed production."""
    before = production.outputs()
    production.edit(FLOW.replace("    return target", "    raise KeyboardInterrupt"), least="0")

    with pytest.raises(KeyboardInterrupt):
        production.ws.plan("sales")

    assert scratch_files(production.ws) == []
    assert production.outputs() == before


SENDS = FLOW.replace("    return target", "    import smtplib\n    smtplib.SMTP if target else None\n    return target")


def test_steps_that_are_not_held_back_are_named_before_they_run(production: Production) -> None:
    """A plan of them is made only by who says so, and names them."""
    production.edit(SENDS, least="0")

    with pytest.raises(FlowValidationError, match="uses smtplib") as caught:
        production.ws.plan("sales")

    assert "--yes" in (caught.value.fix or "")
    assert production.ws.plan("sales", yes=True).not_held_back[0].text == "Write: uses smtplib"


def test_a_plan_crosses_processes(production: Production) -> None:
    """As JSON it is the same."""
    production.edit(least="1")

    plan = production.ws.plan("sales")

    assert Plan.read(plan.as_dict()).text == plan.text
    assert set(plan.as_dict()) >= {
        "flow",
        "cells",
        "sources",
        "objects",
        "outputs",
        "errors",
        "not_held_back",
        "elapsed_s",
    }


def test_a_preview_against_what_is_deployed(production: Production) -> None:
    """Gives the difference of one object, for one source."""
    production.edit(least="1")
    flow = production.ws.load_flow("sales")

    found = flow.preview(use="clean_df", source="april.csv", against="deployed", key="id")

    assert found.text == "1 row removed"
    assert flow.preview(use="clean_df", against="deployed").equal is False
    assert flow.preview(use="raw_df", against="deployed").equal


@pytest.mark.parametrize(
    ("options", "what"),
    [
        ({"against": "main"}, "takes 'deployed' or None"),
        ({"key": "id"}, "no other version is named"),
        ({"against": "deployed", "write": True}, "cannot be combined"),
        ({"against": "deployed", "use": "nothing"}, "no step of flow 'sales' saves an object 'nothing'"),
        ({"against": "deployed", "key": 3}, "takes a text or a list of texts"),
    ],
)
def test_wrong_previews_against(production: Production, options: dict[str, object], what: str) -> None:
    """Each is refused with what is wrong."""
    with pytest.raises(FlowValidationError, match=what):
        production.ws.load_flow("sales").preview(**options)


def test_a_preview_against_raises_what_a_step_raises(production: Production) -> None:
    """As any preview does."""
    production.edit(FLOW.replace("> {least})", "> 0) + 1 / 0"))

    with pytest.raises(FlowExecutionError, match="cell 3"):
        production.ws.load_flow("sales").preview(against="deployed")


@pytest.mark.parametrize(
    ("sources", "what"),
    [(0, "at least 1"), (-1, "at least 1"), *((one, "takes a whole number") for one in (True, "3", 1.5))],
)
def test_wrong_numbers_of_sources(production: Production, sources: object, what: str) -> None:
    """Refused before anything runs."""
    with pytest.raises(FlowValidationError, match=what):
        production.ws.plan("sales", sources=sources)  # type: ignore[arg-type]


def test_a_batch_is_planned_as_one(production: Production) -> None:
    """With what changed since told."""
    batch = (
        FLOW.replace('mode="poll"', 'mode="poll", run_as="batch"')
        .replace("pl.read_csv(context.source.path)", "pl.read_csv(context.source.root / '*.csv')")
        .replace('context.mirror.with_suffix(".parquet")', 'context.mirror.file("all.parquet")')
    )
    production.edit(batch, least="0")
    production.ws.deploy("sales")
    production.ws.load_flow("sales").run_once()
    production.put("may.csv", "id,amount\n1,1\n")
    production.edit(batch, least="1")

    plan = production.ws.plan("sales")

    assert [one.name for one in plan.sources] == ["in"]
    assert plan.objects["clean_df"].rows.removed == 2
    assert plan.notes == ("changed since production read it: may.csv",)


def test_a_flow_without_a_source_is_planned_once(production: Production) -> None:
    """And a value that is no table is compared by what it is."""
    text = "from data_engine import Flow\ndef build():\n    return Flow(group='G').step(lambda context: {'rate': 1}, save_as='rates')\n"
    production.files.module("rates", text)
    production.ws.deploy("rates")
    production.files.module("rates", text.replace("1}", "2}"))

    plan = production.ws.plan("rates")

    assert plan.cells[0].where == "rates.py"
    assert plan.objects["rates"].samples[0].differs == {"value": (1, 2)}
    assert plan.objects["rates"].samples[0].key == {"path": "rate"}


def test_a_helper_that_changed_is_told_with_its_lines(production: Production) -> None:
    """And what it does to the data."""
    text = FLOW.replace("import polars as pl\n", "import polars as pl\nfrom flow_helpers.least import LEAST\n")
    production.files.helper("least", "LEAST = 0\n")
    production.edit(text, least="LEAST")
    production.ws.deploy("sales")
    production.files.helper("least", "LEAST = 1\n")

    plan = production.ws.plan("sales")

    assert [(one.where, one.lines) for one in plan.cells] == [("flow_helpers/least.py", ("- LEAST = 0", "+ LEAST = 1"))]
    assert plan.objects["clean_df"].rows.removed == 1


def test_config_that_changed_since_is_told(production: Production) -> None:
    """Both versions read it as it is now; one that the flow does not read is none of it."""
    production.files.source("config/rates.toml", "rate = 1\n")
    before = production.ws.plan("sales").config
    production.edit(FLOW.replace("    return target", "    context.config.get('rates')\n    return target"), least="0")

    assert (before, production.ws.plan("sales").config) == ((), ("rates.toml",))


def test_what_is_too_large_to_copy_is_told_of_its_side(production: Production) -> None:
    """With the way out; the other side ran."""
    database = production.files.root / "databases" / "all.duckdb"
    database.parent.mkdir()
    database.write_bytes(b"x" * 5000)
    production.files.source("config/data_engine.toml", '[preview]\ncopy_limit = "1KiB"\n')
    production.edit(
        FLOW.replace("    return target", "    context.database('all.duckdb')\n    return target"), least="0"
    )

    plan = production.ws.plan("sales", sources=1)

    assert [one.side for one in plan.errors] == ["current"]
    assert "all.duckdb has 5 KB, and a read copy may have 1.02 KB" in plan.errors[0].error


def test_a_source_of_the_old_version_that_the_edit_does_not_read(production: Production) -> None:
    """The edit looks elsewhere: that is its failure, by source."""
    (production.files.root / "other").mkdir()
    production.edit(FLOW.replace("../in", "../other"), least="0")

    plan = production.ws.plan("sales", sources=1)

    assert "is not under the flow's source" in plan.errors[0].error
    assert plan.errors[0].source == "june.csv"


def test_steps_that_print_and_fail_leave_no_scratch_of_a_failed_source(production: Production) -> None:
    """What a source wrote before it failed is no output of the next one's state."""
    bad = "    return target if context.source.path.name != 'june.csv' else 1 / 0"
    production.edit(FLOW.replace("    return target", bad), least="0")

    plan = production.ws.plan("sales")

    assert [one.source for one in plan.errors] == ["june.csv"]
    assert plan.outputs["june.parquet"].text == "only before"
    assert plan.outputs["may.parquet"].equal


FRAGILE = """
from data_engine import Flow

def read(context):
    text = context.source.path.read_text()
    {mended}
    if "odd" in text:
        raise ValueError("odd")
    if not text.isdigit():
        raise ValueError("letters")
    return int(text)

def build():
    return Flow(group="G").watch(mode="poll", source="../in", interval="5s", settle=0).step(read, save_as="number")
"""


def test_a_plan_of_a_flow_that_never_succeeded_says_what_the_edit_mends(
    ws: WorkspaceFiles,
) -> None:
    """It takes files that failed, one of each error before a second of the same, and says what is better before what is not."""
    production = Workspace(ws.root)
    for name, text in {"a.txt": "x", "b.txt": "y", "c.txt": "odd", "d.txt": "1"}.items():
        ws.source(f"in/{name}", text)
    ws.notebook("fragile", *cells(FRAGILE.replace("{mended}", "pass")))
    production.deploy("fragile")
    for name in ("a.txt", "b.txt", "c.txt"):
        with pytest.raises(FlowExecutionError):
            production.load_flow("fragile").run_once(source=name)
    ws.notebook("fragile", *cells(FRAGILE.replace("{mended}", "text = text.translate({120: '1', 121: '2'})")))

    plan = production.plan("fragile")

    assert {one.name for one in plan.sources} == {"a.txt", "b.txt", "c.txt"}
    assert plan.text.startswith("the edit mends 2 of 3; ")
    assert plan.text.index("mends") < plan.text.index("fails")
    assert [one.name for one in production.plan("fragile", sources=2).sources] == ["a.txt", "c.txt"]
    assert "the edit mends 2 of 3" in card_text(plan_card(plan, samples=True))


def test_a_plan_takes_files_whose_last_run_failed_beside_those_that_went_well(ws: WorkspaceFiles) -> None:
    """A few; an edit that leaves them as they are is no worse, and one that breaks a good file is."""
    production = Workspace(ws.root)
    for name, text in {"a.txt": "x", "b.txt": "2", "c.txt": "odd", "d.txt": "y", "e.txt": "z"}.items():
        ws.source(f"in/{name}", text)
    ws.notebook("fragile", *cells(FRAGILE.replace("{mended}", "pass")))
    production.deploy("fragile")
    with pytest.raises(FlowExecutionError):
        production.load_flow("fragile").run_once()
    for name in ("c.txt", "d.txt", "e.txt"):
        with pytest.raises(FlowExecutionError):
            production.load_flow("fragile").run_once(source=name)
    production.load_flow("fragile").run_once(source="b.txt")

    def plan_with(statement: str) -> Plan:
        ws.notebook("fragile", *cells(FRAGILE.replace("{mended}", statement)))
        return production.plan("fragile")

    mends = plan_with("text = text.translate({120: '1', 121: '2'})")
    assert [one.name for one in mends.sources] == ["b.txt", "a.txt", "c.txt", "d.txt"]
    assert mends.text.startswith("the edit mends 2 of 4; ")
    assert mends.notes == ("also 3 of 4 sources whose last run failed",)
    assert not plan_with("text = text + ''").is_worse
    assert plan_with("text = text.replace('2', 'two')").is_worse


def test_the_code_of_a_plan_is_the_two_versions(production: Production) -> None:
    """Not line by line in turn, which nobody can read as code."""
    changed = FLOW.replace("    target = context", "    place = context").replace("parquet(target)", "parquet(place)")
    production.edit(changed.replace("return target", "return place"), least="0")

    (change,) = production.ws.plan("sales", sources=1).cells

    assert [line[0] for line in change.lines] == ["-", "-", "-", "+", "+", "+"]
