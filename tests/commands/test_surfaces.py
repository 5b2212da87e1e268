"""Every command is on every surface: what is derived has it by itself, and what is written by hand is held against the registry."""

from __future__ import annotations

import asyncio
import os
import re
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import pytest

import jupyter_extension
from data_engine import Workspace
from data_engine.cli.app import make_command
from data_engine.cli.terminal import SCREENS
from data_engine.commands.command import Acknowledged, Command, Owner, Refusal, Situation, unless
from data_engine.commands.fields import FLOW, BadRequestError, argument
from data_engine.commands.registry import COMMANDS, command_of, request_of
from data_engine.daemon.api import DaemonApi
from data_engine.daemon.owner import DaemonOwner
from data_engine.status.record import FlowStatus, WorkspaceStatus
from data_engine.view.panel import flow_buttons, workspace_buttons
from data_engine.view.verb import Option, parameters_of
from data_engine.view.verbs import VERBS
from jupyter_extension.actions import all_actions, answer
from jupyter_extension.commands import all_commands
from tests.commands.command_table import PAGE, row, text_with_table
from tests.support import WorkspaceFiles

METHOD = {
    "look": "restore",  # which tells the daemon what it has written
}
"""Methods of `Workspace` that are not called as their command is."""
SHELL = {
    "stop-flow": "stop",
    "stop-run": "stop",
    "kill-run": "kill",
    "shutdown": "stop",
    "start-engine": "start",
    "stop-engine": "stop",
    "stop-backfill": "backfill",
    "retry-backfill": "backfill",
    "set-interpreter": "",
    "look": "",
    "request-control": "lease request",
    "withdraw-request": "lease",
    "release-control": "lease release",
    "take-over": "lease take-over",
    "repair-lease": "lease repair",
}
"""Commands of the shell that are not called as their command is; "" for those that the shell needs none for."""


def missing() -> list[str]:
    """What a surface that is written by hand lacks."""
    page = PAGE.read_text(encoding="utf-8")
    found = []
    for name, kind in COMMANDS.items():
        method, words = METHOD.get(name, name.replace("-", "_")), SHELL.get(name, name)
        if not (getattr(Workspace, method, None) or _no_method).__doc__:
            found.append(f"{name}: no method Workspace.{method} with a docstring")
        if words and words.split()[0] not in VERBS:
            found.append(f"{name}: no command data-engine {words}")
        if row(kind) not in page:
            found.append(f"{name}: not in {PAGE.name}, which `WRITE_GOLDEN=1 pytest tests/commands` writes")
    return found


def _no_method() -> None: ...


@dataclass(frozen=True, slots=True)
class Touch(Command[Acknowledged]):
    """Touch a flow."""

    name: ClassVar = "touch"
    asks: ClassVar = ("touch", {})

    flow: str = field(metadata=argument(FLOW, "The flow."))

    def check(self, at: Situation) -> Refusal | None:
        return unless(at.flow(self.flow), "unknown", "there is no such flow")

    async def carry_out(self, owner: Owner) -> Acknowledged:
        TOUCHED.append((self.flow, owner.asker.machine))
        return Acknowledged()


TOUCHED: list[tuple[str, str]] = []


@pytest.fixture
def touch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(COMMANDS, "touch", Touch)
    TOUCHED.clear()


def test_every_command_is_on_every_surface_that_is_written_by_hand() -> None:
    assert missing() == []


def test_the_table_of_the_documentation_is_made_of_the_registry() -> None:
    """`WRITE_GOLDEN=1` writes it anew."""
    if os.environ.get("WRITE_GOLDEN"):
        PAGE.write_text(text_with_table(), encoding="utf-8")

    assert PAGE.read_text(encoding="utf-8") == text_with_table()


def test_a_new_command_is_missed_where_surfaces_are_written_by_hand(touch: None) -> None:
    assert missing() == [
        "touch: no method Workspace.touch with a docstring",
        "touch: no command data-engine touch",
        "touch: not in owner.md, which `WRITE_GOLDEN=1 pytest tests/commands` writes",
    ]


def test_a_new_command_is_a_request_to_another_workstation(touch: None) -> None:
    assert request_of(Touch("claims")) == ("touch", {})
    assert command_of("touch", "claims", {}) == Touch("claims")


def test_a_new_command_is_a_route_of_the_daemon(touch: None, ws: WorkspaceFiles) -> None:
    """Its body is checked before anything is done."""
    home = Workspace(ws.root).home

    async def post(body: dict[str, Any]) -> dict[str, Any]:
        ready = asyncio.Event()
        ready.set()
        daemon: Any = SimpleNamespace(
            home=home, ledger=home.ledger(), ready=ready, ownership=SimpleNamespace(asks=None)
        )
        api = DaemonApi(daemon, daemon_id="d", version="1", shut_down=None)
        api.owner = DaemonOwner(
            daemon,
            lambda: WorkspaceStatus("ws", "/ws", flows=(FlowStatus("claims"),)),
            lambda: False,
            lambda kill: None,
        )
        return await api.commands["touch"](body)

    assert asyncio.run(post({"flow": "claims"})) == {}
    with pytest.raises(BadRequestError, match="flow must be a text"):
        asyncio.run(post({}))
    assert [flow for flow, _ in TOUCHED] == ["claims"]


def test_a_new_command_is_an_action_and_a_button_of_the_panel(touch: None, ws: WorkspaceFiles) -> None:
    status = WorkspaceStatus("ws", "/ws", flows=(FlowStatus("claims"),))

    assert "touch" in all_actions()
    assert answer(str(ws.root), "touch", {"flow": "claims"}) == {"result": "Done: touch claims."}
    assert answer(str(ws.root), "touch", {})["error"]["what"] == "flow must be a text, not None"
    assert [flow for flow, _ in TOUCHED] == ["claims"]
    assert flow_buttons(status.flows[0], status)["touch"] is None
    assert flow_buttons(FlowStatus("other"), status)["touch"] == "there is no such flow"


@pytest.mark.parametrize("name", [name for name, verb in VERBS.items() if verb.twin])
def test_a_verb_has_the_same_options_in_a_terminal_and_in_a_cell(name: str) -> None:
    """But for those of one of them `only`; a cell shows its answer, and prints no JSON."""
    only = {
        (parameter.about.only, flag)
        for parameter in parameters_of(VERBS[name].load())
        if isinstance(parameter.about, Option)
        for flag in parameter.flags
    }
    shell = {
        param.secondary_opts[0] if param.secondary_opts else param.opts[0]
        for param in make_command().commands[name].loaded().params  # type: ignore[attr-defined]  # of a `LazyCommand`
        if param.param_type_name == "option"
    }
    cell = {option.name for option in all_commands()[name].options}

    screen = {"--watch"} if name in SCREENS else set[str]()
    assert {option for option in shell - cell if ("shell", option) not in only} == {"--json"} | screen
    assert {option for option in cell - shell if ("cell", option) not in only} == set()


def test_the_page_asks_only_for_actions_and_buttons_that_there_are() -> None:
    """The panel's JavaScript is written by hand."""
    folder = Path(jupyter_extension.__file__).parent / "static"
    text = "".join(path.read_text(encoding="utf-8") for path in sorted(folder.glob("*.js")))
    status = WorkspaceStatus("ws", "/ws", flows=(FlowStatus("claims"),))
    buttons = {*workspace_buttons(status, machine_id=None), *flow_buttons(status.flows[0], status)}

    assert set(re.findall(r'\.(?:act|call)\("(\w+)"|\bdoes\("(\w+)"', text)) - _pairs(all_actions()) == set()
    assert set(re.findall(r"\bbuttons\.(\w+)", text)) - buttons == set()


def _pairs(names: list[str]) -> set[tuple[str, str]]:
    return {("", name) for name in names} | {(name, "") for name in names}
