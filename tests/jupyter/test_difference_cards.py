"""What a cell shows of differences, plans and goldens; samples are not saved with the notebook."""

from __future__ import annotations

import json
from pathlib import Path

import polars as pl
import pytest

from data_engine.compare.comparing import compare
from data_engine.engine.scratch import remove_scratch
from data_engine.view.differences import difference_card, goldens_card, marked, plan_card
from data_engine.view.text import text
from jupyter_extension.display import bundle
from jupyter_extension.html import html
from tests.jupyter.conftest import Shell
from tests.plan.production import Production

LONG = "The quick brown fox jumps over the lazy dog and runs away"


def test_a_changed_row_shows_only_what_differs() -> None:
    """Numbers are aligned, the changed part of a long text is marked."""
    before = pl.DataFrame({"id": [1, 2], "note": [LONG, "b"], "amount": [5, 1000], "same": [1, 1]})
    after = before.with_columns(note=pl.col("note").str.replace("lazy", "tired"), amount=pl.col("amount") * 2)

    card = difference_card(compare(before, after, key="id"), samples=True)

    shown = text(card).splitlines()
    assert shown[-3].split() == "id note before note after amount before amount after".split()
    assert "…ps over the [lazy] dog and run…  …ps over the [tired] dog and run…" in shown[-2]
    assert shown[-1].endswith("         1000          2000")
    assert "<mark>lazy</mark>" in html(card)
    assert "same before" not in text(card)


def test_the_part_that_differs() -> None:
    """Of texts that begin and end alike, the middle; of others the whole."""
    assert [one.text for one in marked("ab", "ab")] == ["ab", "ab"]
    assert [one.text for one in marked("aXb", "ab")] == ["a[X]b", "ab"]
    assert [one.text for one in marked("", "ab")] == ["", "ab"]
    assert [one.text for one in marked("aa", "aaa")] == ["aa", "aa[a]"]


def test_odd_values_do_no_harm() -> None:
    """Neither markup nor control letters reach the page as they are."""
    before, after = (pl.DataFrame({"<b>": [value]}) for value in ("<script>alert(1)</script>", "\0<i>"))

    shown = html(difference_card(compare(before, after), samples=True))

    assert "<script>" not in shown
    assert "<i>" not in shown
    assert "&lt;b&gt;" in shown


def test_what_is_saved_holds_no_samples_unless_asked() -> None:
    """They are rows of somebody's data, and a notebook goes far."""
    found = compare(pl.DataFrame({"name": ["Anna Secret"]}), pl.DataFrame({"name": ["Otto Hidden"]}))

    saved = bundle(found)

    assert saved is not None
    assert "Secret" not in json.dumps(saved)
    assert "2 rows in .samples" in saved["text/plain"]
    assert "Anna Secret" in text(difference_card(found, samples=True))


def test_a_live_notebook_shows_samples_in_a_widget(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whose content is not saved."""
    found = compare(pl.DataFrame({"name": ["Anna Secret"]}), pl.DataFrame({"name": ["Otto Hidden"]}))
    monkeypatch.setattr("jupyter_extension.display.kernel_shell", lambda: shell.ipython)

    shown = bundle(found)

    assert shown is not None
    assert "application/vnd.jupyter.widget-view+json" in shown
    assert "Secret" not in json.dumps(shown)


@pytest.fixture
def production(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Production:
    remove_scratch()
    made = Production.live(tmp_path / "ws")
    monkeypatch.chdir(made.files.root)
    return made


def test_the_magics_are_the_verbs(shell: Shell, production: Production) -> None:
    """Plan, golden, test, and a preview against what is deployed."""
    found = shell.run("%flow plan sales --sources 1 --key id")
    assert found is not None, shell.out
    assert found.equal
    assert shell.run("%flow golden sales --use clean_df --source april.csv --key id").rows == 3
    assert [one.status for one in shell.run("%flow test sales")] == ["holds"]
    assert shell.run("%flow preview sales --use clean_df --against deployed").equal
    production.edit(least="1")
    assert shell.run("%flow plan sales").objects["clean_df"].rows.removed == 1
    assert "removed   1       1" not in shell.out  # a saved notebook keeps no rows
    assert [one.status for one in shell.run("%flow test sales")] == ["differs"]
    assert "removed   1       1" not in shell.out
    assert [one.status for one in shell.run("%flow test --all --update")] == ["updated"]
    assert shell.run("%flow plan sales --sources many") is None
    assert "'many' is not a whole number" in shell.out


def test_the_cards_of_a_plan_and_of_goldens(production: Production) -> None:
    """What differs comes first, with its rows; failures are marks."""
    production.ws.load_flow("sales").golden("clean_df", "april.csv", key="id")
    production.ws.load_flow("sales").golden("raw_df", "may.csv", key="id")
    production.edit(least="1")

    plan = production.ws.plan("sales", key="id")
    told = text(plan_card(plan, samples=False))
    goldens = text(goldens_card(production.ws.test(), samples=False))

    assert "removed   1       1" not in told
    assert "removed   1       1" in text(plan_card(plan, samples=True))
    assert told.index("clean_df: 1 row removed") < told.index("Data, equal: raw_df")
    assert goldens.splitlines()[0] == "2 goldens  1 holds  1 differs"
    assert "data-engine test --update" in goldens
