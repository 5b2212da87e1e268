"""Commands cross processes and workstations: their fields become JSON and come back, and a request means what it always meant."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_engine.commands.command import Command
from data_engine.commands.deployments import Deploy, Rollback, Undeploy
from data_engine.commands.fields import (
    ANY_TEXT,
    DAY,
    FLAG,
    FLOW,
    OBJECT,
    SET_ID,
    TEXT,
    BadRequestError,
    Field,
    arguments_of,
    of_json,
    to_json,
)
from data_engine.commands.registry import COMMANDS, command_of, request_of
from data_engine.commands.runs import Retry, RetryBackfill, Run, StartBackfill, StopBackfill
from data_engine.commands.switches import Disable, Enable
from data_engine.errors import FlowValidationError

SET = "0123456789abcdef01234567"
TEXTS = st.text("abcxyz ü", min_size=1, max_size=8).filter(str.strip)
GOOD: dict[str, st.SearchStrategy[Any]] = {
    TEXT.words: TEXTS,
    FLAG.words: st.booleans(),
    SET_ID.words: st.just(SET),
    OBJECT.words: st.dictionaries(TEXTS, st.integers() | TEXTS, max_size=2),
    "an object of comparisons": st.dictionaries(TEXTS, st.just({"at_utc": "", "differences": ["x"], "changed": [3]})),
    "a path": TEXTS,
}


def values_of(kind: Field) -> st.SearchStrategy[Any]:
    """Values of this kind, and none where it may be missing."""
    return GOOD[kind.words] if kind.is_required or kind.default is not None else GOOD[kind.words] | st.none()


@pytest.mark.parametrize("name", sorted(COMMANDS))
@given(data=st.data())
def test_a_command_comes_back_from_json_as_it_was(name: str, data: st.DataObject) -> None:
    kind = COMMANDS[name]
    values = {field: data.draw(values_of(one.kind)) for field, one in arguments_of(kind).items()}
    command = kind(**values)

    assert of_json(kind, json.loads(json.dumps(to_json(command))), name) == command


REQUESTS: list[tuple[Command[Any], str, dict[str, Any]]] = [
    (
        Deploy("claims", "why", force=True, set_id=SET),
        "deploy",
        {"set_id": SET, "note": "why", "force": True, "approve": False},
    ),
    (
        Deploy("new", replaces="old", set_id=SET),
        "deploy",
        {"set_id": SET, "note": "", "force": False, "approve": False, "replaces": "old"},
    ),
    (Undeploy("claims", "gone"), "deploy", {"withdraw": True, "note": "gone"}),
    (Rollback("claims", "1a2b", "bad"), "rollback", {"to": "1a2b", "note": "bad"}),
    (Run("claims", "in/a.csv", {"month": 3}), "run", {"source": "in/a.csv", "params": {"month": 3}}),
    (Retry("claims", "a.csv"), "retry", {"source": "a.csv"}),
    (Retry(), "retry", {}),
    (Retry("claims", accept=True), "retry", {"accept": True}),
    (Enable("claims"), "enable", {}),
    (Disable("claims", "stock-taking"), "disable", {"note": "stock-taking"}),
    (
        StartBackfill("claims", "2013-03", None, "a*", "all", {"x": 1}, digest="d1"),
        "backfill",
        {"since": "2013-03", "where": "a*", "reprocess": "all", "params": {"x": 1}, "digest": "d1"},
    ),
    (StopBackfill("b7", "claims"), "backfill", {"do": "stop", "id": "b7"}),
    (RetryBackfill("b7", "claims"), "backfill", {"do": "retry", "id": "b7"}),
]


@pytest.mark.parametrize(("command", "verb", "given"), REQUESTS, ids=[one[0].phrase for one in REQUESTS])
def test_a_request_on_the_share_has_the_words_it_always_had(
    command: Command[Any], verb: str, given: dict[str, Any]
) -> None:
    """Workstations of a team are not updated in one moment: both read what the other one left."""
    read = command_of(verb, getattr(command, "flow", None) or "", given)

    assert request_of(command) == (verb, given)
    assert type(read) is type(command)
    assert request_of(read) == (verb, given)


def test_every_command_that_can_be_asked_for_has_its_request_here() -> None:
    assert {type(command) for command, _, _ in REQUESTS} == {kind for kind in COMMANDS.values() if kind.asks}


@pytest.mark.parametrize(
    ("verb", "flow", "given"),
    [
        ("dance", "claims", {}),
        ("run", "", {}),
        ("run", "claims", {"source": "../../etc/passwd"}),
        ("run", "claims", {"params": [1]}),
        ("deploy", "claims", {}),
        ("deploy", "claims", {"set_id": "../../x"}),
        ("backfill", "claims", {"do": "stop"}),
        ("rollback", "claims", {"to": 3}),
    ],
)
def test_a_request_that_nobody_can_mean_is_refused(verb: str, flow: str, given: dict[str, Any]) -> None:
    with pytest.raises(FlowValidationError) as refused:
        command_of(verb, flow, given)
    assert refused.value.fix


def test_what_belongs_to_this_machine_only_is_in_no_request() -> None:
    """Who asks again with the id of a deployment gets that one; the owner makes its own ids."""
    assert "id" not in request_of(Rollback("claims"))[1]
    assert "dry_run" not in request_of(StartBackfill("claims", dry_run=True))[1]


def test_a_field_of_the_wrong_type_is_named() -> None:
    with pytest.raises(BadRequestError, match="to must be a text, not 3"):
        of_json(Rollback, {"flow": "claims", "to": 3}, "rollback")


def test_every_field_has_its_line_of_help() -> None:
    """Each surface shows it."""
    helps = {
        f"{name}.{field}": one.help for name, kind in COMMANDS.items() for field, one in arguments_of(kind).items()
    }

    assert [name for name, help in helps.items() if not help.endswith((".", "or all."))] == []
    assert all((kind.__doc__ or "").strip().endswith(".") for kind in COMMANDS.values())
    assert {TEXT.words, ANY_TEXT.words, DAY.words, FLOW.words} == {"a text"}
