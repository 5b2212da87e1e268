"""`plan`, `test` and `preview --against` in a terminal."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from data_engine.engine.scratch import remove_scratch
from data_engine.plan.plan import Plan, PlannedSource, SideError
from tests.cli.conftest import Cli
from tests.plan.production import FLOW, Production
from tests.plan.test_plan import SENDS


@pytest.fixture
def production(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Production:
    remove_scratch()
    made = Production.live(tmp_path / "ws")
    monkeypatch.chdir(made.files.root)
    return made


def test_a_plan_shows_code_rows_and_samples(cli: Cli, production: Production) -> None:
    """Differences are no failure; the next step is named."""
    production.edit(least="1")

    answer = cli("plan", "sales", "--sources", 3)

    assert answer.code == 0
    lines = answer.out.splitlines()
    assert lines[0].startswith("Plan of sales  differs  3 sources  deployed ")
    assert '  +     return context.current.filter(pl.col("amount") > 1)' in lines
    assert "clean_df: 1 row removed, in 1 of 3 (april.csv)" in lines
    assert ["removed", "1", "1"] in map(str.split, lines)
    assert lines[-1] == "To let production run it: data-engine deploy sales"
    assert answer.err == ""


def test_a_plan_as_json_has_the_names_of_the_contract(cli: Cli, production: Production) -> None:
    """And the samples, as plain values."""
    production.edit(least="1")

    told = cli("plan", "sales", "--key", "id", "--use", "clean_df", "--json").json

    assert {"flow", "cells", "sources", "objects", "outputs", "errors", "not_held_back", "elapsed_s"} <= told.keys()
    part = told["objects"]["clean_df"]["parts"]["april.csv"]
    assert {"equal", "columns", "order", "rows", "changed_values", "samples"} <= part.keys()
    assert part["samples"] == [{"kind": "removed", "key": {"id": 1}, "differs": {"amount": [1, None]}}]


def test_without_a_name_every_edited_flow_is_planned(cli: Cli, production: Production) -> None:
    """And only those."""
    assert cli("plan").out == "No deployed flow was edited.\n"
    assert cli("plan", "--json").json == []
    production.edit(least="1")

    assert [one["flow"] for one in cli("plan", "--json").json] == ["sales"]
    assert cli("plan").out.startswith("Plan of sales  differs")


def test_an_edit_that_fails_ends_a_plan_with_1(cli: Cli, production: Production) -> None:
    """It would fail in production."""
    production.edit(FLOW.replace("> {least})", "> 0) + 1 / 0"))

    answer = cli("plan", "sales")

    assert answer.code == 1
    said = "the edit fails on june.csv at sales.ipynb, cell 3, line 2: ZeroDivisionError: division by zero"
    assert said in answer.out
    assert "Correct the flow first" in answer.out
    assert "To let production run it" not in answer.out


def test_a_plan_of_a_flow_that_changes_a_file_beside_its_mirror_offers_the_objects_before(
    cli: Cli, production: Production
) -> None:
    """Both versions fail, which is said once."""
    (production.files.root / "log.txt").write_text("as it was", encoding="utf-8")
    production.edit(
        FLOW.replace("def write(context):", "def write(context):\n    open('../log.txt', 'w').close()"), least="0"
    )
    production.ws.deploy("sales")

    answer = cli("plan", "sales", "--sources", 1)

    assert answer.out.count("WriteRefusedError") == 1
    assert answer.out.splitlines()[0].startswith("Plan of sales  both versions fail  1 source")
    assert "data-engine plan sales --use clean_df" in answer.out
    assert cli("plan", "sales", "--use", "clean_df").out.startswith("Plan of sales  equal")


def test_an_edit_that_mends_some_files_may_go_live(
    cli: Cli, production: Production, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What fails still has failed before: the edit is no worse, and its deploy is named."""
    failed = [SideError("deployed", name, "odd") for name in ("a.txt", "b.txt")]
    sources = (PlannedSource("a.txt", None), PlannedSource("b.txt", None))
    plan = Plan("sales", sources=sources, errors=(*failed, SideError("current", "b.txt", "odd")))
    monkeypatch.setattr("data_engine.client.Workspace.plan", lambda *_: plan)

    answer = cli("plan", "sales")

    assert answer.code == 0
    assert "the edit mends 1 of 2" in answer.out
    assert (answer.out.count("odd"), "both versions fail on b.txt: odd" in answer.out) == (2, True)
    assert "To let production run it: data-engine deploy sales" in answer.out
    assert "Correct the flow first" not in answer.out


def test_equal_code_is_equal_though_both_versions_fail_on_some_sources(
    cli: Cli, production: Production, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is gained by a deploy, so none is offered."""
    sources = (PlannedSource("a.txt", None), PlannedSource("b.txt", None))
    both = [SideError(side, "b.txt", "odd") for side in ("deployed", "current")]
    plan = Plan("sales", sources=sources, errors=tuple(both))
    monkeypatch.setattr("data_engine.client.Workspace.plan", lambda *_: plan)

    answer = cli("plan", "sales")

    assert answer.out.startswith("Plan of sales  equal")
    assert answer.out.count("odd") == 1
    assert "To let production run it" not in answer.out
    assert not replace(plan, errors=(both[0], replace(both[1], error="odder"))).equal


@pytest.mark.parametrize(
    ("arguments", "what"),
    [
        (("plan", "nobody"), "Flow module 'nobody' is not available"),
        (("plan", "sales", "--sources", 0), "sources=0 must be a whole number"),
        (("plan", "sales", "--key", "nope"), "nope"),
        (("plan", "sales", "--use", "nothing"), "saves an object 'nothing'"),
        (("preview", "sales", "--against", "main"), "cannot be compared with 'main'"),
        (("preview", "sales", "--key", "id"), "no other version is named"),
        (("test", "sales"), "sales has no goldens"),
    ],
)
def test_wrong_requests_end_with_2(cli: Cli, production: Production, arguments: tuple[str, ...], what: str) -> None:
    """Each says what is wrong and what to do."""
    answer = cli(*arguments)

    assert answer.code == 2
    assert what in answer.err
    assert "fix:" in answer.err


def test_steps_that_are_not_held_back_need_a_yes(cli: Cli, production: Production) -> None:
    """Without a terminal nothing is asked, and nothing run."""
    production.edit(SENDS, least="0")

    refused = cli("plan", "sales")
    made = cli("plan", "sales", "--yes")

    assert (refused.code, made.code) == (2, 0)
    assert "uses smtplib" in refused.err
    assert "ran for real: Write: uses smtplib" in made.out


def test_goldens_in_a_terminal(cli: Cli, production: Production) -> None:
    """0 while they hold, 1 when one differs, and 0 again after an update."""
    assert cli("test").out.startswith("There are no goldens.")
    production.ws.load_flow("sales").golden("clean_df", "april.csv", key="id")
    assert cli("test").code == 0
    production.edit(least="1")

    differs = cli("test", "sales")

    assert differs.code == 1
    assert "1 row removed" in differs.out
    assert cli("test", "--json").json[0]["difference"]["rows"]["removed"] == 1
    assert cli("test", "sales", "--update").code == 0
    assert cli("test").code == 0


def test_a_preview_against_what_is_deployed(cli: Cli, production: Production) -> None:
    """One object, for one source."""
    production.edit(least="1")

    answer = cli("preview", "sales", "--use", "clean_df", "--source", "in/april.csv", "--against", "deployed", "--json")

    assert answer.code == 0
    assert answer.json["text"] == "1 row removed"


SECRET = "correct horse battery staple, all of it"


def test_a_secret_in_a_frame_is_shown_by_no_plan_and_no_preview(
    cli: Cli, production: Production, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a terminal, in JSON and as a value; it is compared as it is."""
    monkeypatch.setenv("DATA_ENGINE_SECRET_DWH", SECRET)
    production.edit(FLOW.replace("> {least})", '> 0).with_columns(by=pl.lit("nobody"))'))
    production.go()
    url = 'pl.lit("pg://ann:" + context.secret("dwh").reveal() + "@dwh")'
    production.edit(FLOW.replace("> {least})", f"> 0).with_columns(by={url})"))

    plan = production.ws.plan("sales")
    shown = [repr(plan), str(plan.as_dict())]
    for command in (["plan", "sales"], ["preview", "sales", "--use", "clean_df"]):
        shown += [cli(*command).out, cli(*command, "--json").out]
    against = cli("preview", "sales", "--use", "clean_df", "--against", "deployed", "--json").out

    assert plan.objects["clean_df"].rows.added
    assert "pg://ann:***@dwh" in against
    assert not [text for text in (*shown, against) if "correct" in text or "battery" in text]
