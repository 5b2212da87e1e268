"""The panel's plan of a flow: made in a process of its own, and drawn as a cell draws it."""

from __future__ import annotations

from dataclasses import replace

from data_engine.client import Workspace
from data_engine.errors import error_of
from data_engine.feed import child_json
from data_engine.marks import Mark, mark_of
from data_engine.planning.plan import Plan
from data_engine.proof.kept import compared
from data_engine.proof.kernel import compare_here
from data_engine.record import frozen
from jupyter_extension.card import html
from jupyter_extension.difference_card import plan_data_card

LIMIT_S = 1800.0
"""Two versions at their limits, and the time around them."""


@frozen
class PlanView:
    """A plan as the page shows it: how it ended, in words, and its data as HTML. `needs` are steps that a person has to allow first.

    `cells` has the changed lines of each place in the code; `live` is the deployment that it was compared with, `digest` changes with the
    code of the edit.
    """

    flow: str
    mark: Mark
    text: str
    cells: tuple[tuple[str, tuple[str, ...]], ...] = ()
    html: str = ""
    needs: tuple[str, ...] = ()
    live: str | None = None
    digest: str | None = None


def plan_view(ws: Workspace, flow: str, *, sources: int, key: tuple[str, ...], yes: bool) -> PlanView:
    """The plan of the flow, or what a person has to allow before one is made.

    Raises:
        FlowValidationError: there is none; says why.
    """
    options = [
        "--sources",
        str(sources),
        *(part for one in key for part in ("--key", one)),
        *(["--yes"] if yes else []),
    ]
    live = next((one.id for one in ws.deployments(flow) if one.is_live), None)
    digest = ws.home.deployments().digest_of(flow)
    found = child_json(ws.root, "plan", flow, *options, timeout_s=LIMIT_S)
    if "error" in found:
        if needs := found.get("not_held_back"):
            texts = tuple(f"{one['step']}: {one['why']}" for one in needs)
            view = PlanView(flow, Mark("asks first", "warn", "triangle"), str(found["error"]["what"]), needs=texts)
            return replace(view, live=live, digest=digest)
        raise error_of(found["error"])
    view = view_of(Plan.read(found))
    path = ws.layout.flow_modules_dir / f"{flow}.ipynb"
    compare_here(ws.home, path)
    verdict = compared(ws.home, path)
    text = view.text if verdict is None else f"{view.text}; {flow}.ipynb: {verdict.words}"
    return replace(view, text=text, live=live, digest=digest)


def view_of(plan: Plan) -> PlanView:
    """The plan for the page."""
    mark = mark_of("equal" if plan.equal else "differs")
    if any(one.side == "current" for one in plan.errors):
        mark = Mark("the edit fails", "bad", "cross")
    cells = tuple((one.where, one.lines) for one in plan.cells)
    return PlanView(plan.flow, mark, plan.text, cells, html(plan_data_card(plan, samples=True)))


def given_key(text: str) -> tuple[str, ...]:
    """The columns that a person typed, separated by commas.

    Example:
        >>> given_key(" id, day ,"), given_key("")
        (('id', 'day'), ())
    """
    return tuple(part.strip() for part in text.split(",") if part.strip())
