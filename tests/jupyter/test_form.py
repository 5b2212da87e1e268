"""The form of a flow: a field for each parameter, and a button that previews with what is in them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from typing import Literal

import polars as pl
import pytest

from data_engine import Flow, Secret
from jupyter_extension.fold import PROFILE_MIME


@dataclass
class Plain:
    """What to read.

    days: How many days back.
    """

    month: date = date(2013, 1, 1)
    kind: Literal["all", "late"] = "all"
    is_full: bool = False
    days: int = 3


def test_it_previews_with_what_was_typed(capsys: pytest.CaptureFixture[str]) -> None:
    form = Flow(group="G").params(Plain).step(lambda context: context.params).form()

    assert [field.description for field in form.fields.values()] == ["Month", "Kind", "Is full", "Days"]
    form.fields["month"].value, form.fields["kind"].value, form.fields["is_full"].value = "2013-03", "late", True
    form.button.click()
    assert form.values == {"month": "2013-03", "kind": "late", "is_full": True}
    assert "Plain(month=datetime.date(2013, 3, 1), kind='late', is_full=True, days=3)" in capsys.readouterr().out


def test_a_mistake_is_told_below_and_names_the_field() -> None:
    form = Flow(group="G").params(Plain).step(lambda context: context.params).form()

    form.fields["days"].value = "<few>"
    form.button.click()

    assert "parameter days: it cannot be &#x27;&lt;few&gt;&#x27;" in form.message.value
    assert not form.button.disabled


def test_a_secret_is_no_field_to_type_into(monkeypatch: pytest.MonkeyPatch) -> None:
    """It says whether it is there, and what to do where it is not."""

    @dataclass
    class Login:
        dwh: Secret

    flow = Flow(group="G").params(Login).step(lambda context: context.params.dwh.reveal())
    assert "is missing: data-engine secret set dwh" in flow.form().fields["dwh"].value

    monkeypatch.setenv("DATA_ENGINE_SECRET_DWH", "correct horse")
    form = flow.form()

    assert "is on this machine" in form.fields["dwh"].value
    assert form.values == {}


def test_below_a_frame_is_the_fold_with_its_profile(capsys: pytest.CaptureFixture[str]) -> None:
    """In the form's own output, and below nothing else."""
    Flow(group="G").step(lambda context: pl.DataFrame({"a": [1]})).form().button.click()
    assert PROFILE_MIME in capsys.readouterr().out

    Flow(group="G").step(lambda context: [1]).form().button.click()
    assert PROFILE_MIME not in capsys.readouterr().out
