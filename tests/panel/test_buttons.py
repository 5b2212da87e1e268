"""The panel's words for commands: of those that a card was given by its own sentences, and of nothing that only looks like one."""

from __future__ import annotations

from typing import Any

import pytest

from data_engine.formatting import cli_line, commands_worded
from data_engine.status.deploy_lines import FilesBefore, files_before_lines
from data_engine.view.card import Card, Lines, Note
from data_engine.view.svg import clean
from jupyter_extension import page
from jupyter_extension.html import html
from jupyter_extension.page import in_panel

FLOWS = ("sales", "sales.v2", "Köln", "my flow", 'a"b', "R&D", "it's", "a--yes", "<b>", "NAME", "sales,v2", "$(x)")


def drawn(*lines: str, worded: dict[str, tuple[str, ...]]) -> tuple[str, list[tuple[str, ...]]]:
    return in_panel(
        html(Card("", (), (Lines(lines), Note.warning(lines[0], lines[-1])))),
        {clean(line): words for line, words in worded.items()},
    )


@pytest.mark.parametrize("flow", FLOWS)
def test_a_button_is_of_the_flow_that_the_card_means(flow: str) -> None:
    """Whatever it is called, also beside one whose name begins like it."""
    with commands_worded() as worded:
        lines = files_before_lines({flow: FilesBefore(done=2, held=1)})
        other = (
            f"until it is enabled: {cli_line('enable', 'sales')}; `{cli_line('deploy', flow, '--yes')}` asks nothing"
        )

    shown, there = drawn(*lines, other, worded=worded)

    assert set(there) == {("backfill", flow, "--reprocess", "all"), ("retry", flow), ("enable", "sales")}
    assert "To do them again: Backfill" in shown
    assert "To try it again: Retry" in shown
    assert "until it is enabled: Enable;" in shown
    assert f"`{clean(cli_line('deploy', flow, '--yes'))}` asks nothing" in shown


@pytest.mark.parametrize("text", [
    "KeyError: data-engine retry sales",
    "`data-engine backfill sales --reprocess all`.csv",
    "note: data-engine start, data-engine status; data-engine deploy sales",
    "data-engine retry sales.v2", "data-engine retry sales-2", "/in/data-engine retry salesman", "data-engine retry sales --accept",
])  # fmt: skip
def test_a_text_that_looks_like_a_command_stays_as_it_is(text: str) -> None:
    """An error's message, a file's name, somebody's note: beside a command of the card, too."""
    with commands_worded() as worded:
        line = f"held: {cli_line('retry', 'my flow')}"
        cli_line("retry", "sales", "--force")

    shown, there = drawn(line, text, worded=worded)

    assert there == [("retry", "my flow")] * 2  # in the lines and in the note
    assert shown.count(clean(text)) == 2


@pytest.mark.parametrize("flow", ["sales", "sales.v2", "Köln", "my flow", 'a"b'])
def test_an_answer_offers_its_own_flow_or_nothing(flow: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not one that its texts name, and nothing of the placeholder where several flows are meant."""

    class Saying:
        value = error = None
        code, notes = 0, (Note.warning("ValueError: data-engine retry budget"),)

        def __init__(self, asked: str) -> None:
            self.asked = asked

        def card(self) -> Card:
            done = files_before_lines({self.asked: FilesBefore(done=2), "other": FilesBefore(done=2, held=1)})
            return Card("", (), (Lines((*done, *files_before_lines({self.asked: FilesBefore(held=1)}))),))

    class Verb:
        def load(self) -> Any:
            return lambda place, name, **more: Saying(name)

    monkeypatch.setattr(page, "VERBS", {"restore": Verb()})

    found = page._answer(None, "restore", {"name": flow, "agreed": (), "shown": None})  # type: ignore[arg-type]

    assert found["offers"] == {"retry": flow}
    assert "ValueError: data-engine retry budget" in found["html"]


def test_what_is_worded_elsewhere_is_not_collected() -> None:
    """Only inside, and the inner one takes its own."""
    cli_line("retry", "before")
    with commands_worded() as outer:
        with commands_worded() as inner:
            cli_line("retry", "inner")
        cli_line("retry", "outer")
    cli_line("retry", "after")

    assert [*outer.values()] == [("retry", "outer")]
    assert [*inner.values()] == [("retry", "inner")]
