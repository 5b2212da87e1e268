"""A verb that the panel asks for: its card as HTML, or the question that a person answers first.

A verb that executes flow modules runs in a process of its own; the others run here, and compile nothing.
"""

from __future__ import annotations

import inspect
import json
import os
import re
import sys
from collections.abc import Collection, Mapping
from dataclasses import replace
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from data_engine.client import Workspace
from data_engine.commands.fields import ANY_TEXT, COUNT, FLAG, TEXT, TEXTS, Field, Fields
from data_engine.errors import FlowValidationError, NotHeldBackError
from data_engine.formatting import commands_worded, first_few
from data_engine.marks import Mark
from data_engine.proof.kernel import compared_now
from data_engine.view.card import Card, Lines, Note
from data_engine.view.deployments import kernel_question
from data_engine.view.differences import plan_data_card
from data_engine.view.feed import child_answer
from data_engine.view.svg import clean
from data_engine.view.text import text
from data_engine.view.verb import Place, Subject, VerbParameter, parameters_of
from data_engine.view.verbs import VERBS
from jupyter_extension.html import html

if TYPE_CHECKING:
    from data_engine.verbs import Flow

VERBS_OF_PAGE = ("deploy", "rollback", "undeploy", "restore", "plan", "compare")
LIMIT_S = 1800.0
"""The time of two versions at their limits, with a margin."""
_MOST_LISTED = 12
_COUNT = re.compile(r"[\d,]+ files?")
_BUTTONS = {
    "backfill": "Backfill",
    "retry": "Retry",
    "enable": "Enable",
    "start": "Start engine",
    "status": "this panel",
    "deploy": "Deploy",
    "rollback": "Roll back",
}
"""The panel's words for commands of the shell."""
_ALONE = ("start", "status")
_OFFERED = ("backfill", "retry")
"""Buttons beside an answer about a flow."""
_REPROCESS = ((), ("--reprocess", "all"), ("--reprocess", "outdated"))


class Page(Place):
    """The panel, which asks for a verb; a question whose key is among the `agreed` was answered with yes."""

    def __init__(self, workspace: Workspace, agreed: Collection[str] = ()) -> None:
        self._workspace, self._agreed = workspace, agreed
        self.question: dict[str, Any] | None = None
        self.notes: list[Note] = []

    @property
    def workspace(self) -> Workspace:
        """The workspace that the panel shows."""
        return self._workspace

    def flow_name(self, name: str | None) -> str:
        """The name, which must be there."""
        if name is None:
            raise FlowValidationError("which flow?", where="the panel", fix="reload the page")
        return name

    def flow(self, name: str | None) -> Flow:
        """The flow as it is saved."""
        return self.workspace.load_flow(self.flow_name(name))

    def tell(self, note: Note) -> None:
        """Show a note above the answer."""
        self.notes.append(note)

    def confirm(self, question: Card, what: str, *, yes: bool) -> bool:
        """Whether a person has agreed to exactly this; else the page asks, and repeats the request with the question's key."""
        words = _COUNT.sub("files", text(question))  # they come and go while somebody reads
        key = sha256(words.encode(errors="replace")).hexdigest()[:16]
        if yes or key in self._agreed:
            return True
        lines = [line for part in question.parts if isinstance(part, Lines) for line in part.lines]
        told = first_few(lines, _MOST_LISTED, "\n")
        self.question = {"text": told, "answers": [[question.title.rstrip("?"), key]]}
        return False


@cache
def fields_of_verb(name: str) -> Fields:
    """The fields of a request for the verb: its parameters, the keys of `agreed` questions, and the digest of the code that is `shown`."""
    fields = {one.name: _field(one) for one in parameters_of(VERBS[name].load())}
    return fields | {"agreed": TEXTS.or_else(()), "shown": TEXT.optional}


def _field(parameter: VerbParameter) -> Field:
    kinds = (parameter.kind, *get_args(parameter.kind))
    one = TEXT if isinstance(parameter.about, Subject) else ANY_TEXT
    field = TEXTS if parameter.is_repeated else FLAG if bool in kinds else COUNT if int in kinds else one
    return field if parameter.default is inspect.Parameter.empty else field.or_else(parameter.default)


def ask(ws: Workspace, verb: str, values: Mapping[str, Any]) -> dict[str, Any]:
    """The answer of the verb: its card as `html`, whether it `is_bad`, and the flows that it `offers` to backfill and to retry; or the
    `question` before it. A plan also has the deployment that is `live`, and a `digest` that changes with the code of the edit.

    Raises:
        FlowValidationError: the verb's own error; or its process took too long.
    """
    flow = values.get("name")
    if verb in ("deploy", "plan") and flow is not None:
        compared_now(ws.home, _notebook(ws, flow))  # this process may be its kernel
    if verb == "plan" or (verb == "deploy" and (flow is None or ws.link.find() is None)):
        return _apart(ws, verb, values)
    return _answer(ws, verb, values)


def _answer(ws: Workspace, verb: str, values: Mapping[str, Any]) -> dict[str, Any]:
    page, given = Page(ws, values["agreed"]), {name: values[name] for name in values.keys() - {"agreed", "shown"}}
    flow, more = given.get("name"), {}
    if "wait" in given:
        given["wait"] = False  # what another workstation answers comes with the status
    if verb == "plan":
        flow = page.flow_name(flow)
        live = next((row.id for row in ws.deployments(flow) if row.is_live), None)
        more = {"live": live, "digest": ws.home.deployments().digest_of(flow)}
    if verb == "deploy" and flow is not None:
        if values["shown"] not in (None, ws.home.deployments().digest_of(flow)):
            newer = "It was saved once more after the panel showed it: what was saved last is deployed."
            page.tell(Note(Mark(newer)))
        question = kernel_question(ws.home, _notebook(ws, flow))
        if question is not None and not page.confirm(question, "", yes=False):
            return {"question": page.question}
    with commands_worded() as worded:
        try:
            answer = VERBS[verb].load()(page, **given)
        except NotHeldBackError:
            if page.question is None:
                raise
        if page.question is not None:
            return {"question": page.question}
        if answer.error is not None:
            raise answer.error
        card = answer.card() if verb != "plan" else plan_data_card(answer.value, samples=True)
    commands = {clean(line): words for line, words in worded.items()}
    shown, there = in_panel(html(replace(card, parts=(*page.notes, *card.parts, *answer.notes))), commands)
    offers = {name: flow for name, *rest in there if name in _OFFERED and rest[0] == flow}
    return {"html": shown, "is_bad": answer.code != 0, "offers": offers} | more


def _notebook(ws: Workspace, flow: str) -> Path:
    return ws.layout.flow_modules_dir / f"{flow}.ipynb"


def in_panel(text: str, commands: Mapping[str, tuple[str, ...]]) -> tuple[str, list[tuple[str, ...]]]:
    """The text with the panel's words for these commands, which were worded into it; and the words of those that stand there and have
    a button. What only looks like a command stays as it is, unless it is one of these to the letter.

    Example:
        >>> commands = {"data-engine retry a": ("retry", "a"), "data-engine deploy a --yes": ("deploy", "a", "--yes")}
        >>> in_panel("held: data-engine retry a", commands)
        ('held: Retry', [('retry', 'a')])
        >>> in_panel("`data-engine retry a` or data-engine deploy a --yes; data-engine retry a.b, data-engine start", commands)
        ('Retry or data-engine deploy a --yes; data-engine retry a.b, data-engine start', [('retry', 'a')])
    """
    lines = sorted(commands, key=len, reverse=True)
    if not lines:
        return text, []
    there: list[tuple[str, ...]] = []

    def with_button(match: re.Match[str]) -> str:
        words = commands[match[2]]
        if (button := _button_of(words)) is None:
            return match[0]
        there.append(words)
        return button

    pattern = rf"(?<![\w/.-])(`?)({'|'.join(map(re.escape, lines))})(?![\w-]|\.\w| -)\1"
    return re.sub(pattern, with_button, text), there


def _button_of(words: tuple[str, ...]) -> str | None:
    verb, *rest = words
    has_button = not rest if verb in _ALONE else bool(rest) and tuple(rest[1:]) in _REPROCESS
    return _BUTTONS.get(verb) if has_button else None


# -- in a process of its own ------------------------------------------------------------------------------------------


def _apart(ws: Workspace, verb: str, values: Mapping[str, Any]) -> dict[str, Any]:
    request = json.dumps({"root": str(ws.root), "verb": verb, "values": dict(values)})
    answer: dict[str, Any] = child_answer(
        ws.layout.flow_modules_dir, "jupyter_extension.page", request=request, timeout_s=LIMIT_S
    )
    return answer


def main() -> None:
    """Answer the request on standard input, as JSON; what flow modules print goes to standard error."""
    with open(os.dup(1), "w", encoding="utf-8") as output:
        os.dup2(2, 1)
        request = json.load(sys.stdin)
        try:
            answer = _answer(Workspace(request["root"]), request["verb"], request["values"])
        except FlowValidationError as error:
            answer = {"error": error.as_dict()}
        json.dump(answer, output)


if __name__ == "__main__":
    main()
