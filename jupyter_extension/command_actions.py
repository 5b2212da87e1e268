"""The panel's actions for a workspace's owner: each command of the registry, and the question before it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

from data_engine.client import Workspace
from data_engine.commands.command import Command
from data_engine.commands.fields import TEXT, TEXTS, Fields, kinds_of, of_json
from data_engine.commands.registry import COMMANDS
from data_engine.commands.runs import Run, StartBackfill, StopFlow
from data_engine.commands.switches import ReleaseControl
from data_engine.daemon.link import ForwardedRequest
from data_engine.errors import FlowValidationError
from data_engine.flow.parameters import TypedValue
from data_engine.formatting import plural
from data_engine.status.sentences import ends_text, never_begins_text
from jupyter_extension.details import flow_entry
from jupyter_extension.files import flow_files
from jupyter_extension.outcomes import outcome_message
from jupyter_extension.page import VERBS_OF_PAGE

Args: TypeAlias = Mapping[str, Any]
Act: TypeAlias = Callable[[Workspace, Args], Any]
Question: TypeAlias = dict[str, Any]
"""A question to a person: a `text`, and `answers`, each a label and the argument that the action then gets."""


def carry_out(ws: Workspace, kind: type[Command[Any]], args: Args) -> Any:
    """Send a command to the owner; the message of its outcome, or that another workstation was asked, whose answer comes with the status."""
    command = of_json(kind, args, kind.name)
    answer = ws.link.send(command, waits=False)
    if isinstance(answer, ForwardedRequest):
        return f"{answer.owner} was asked to {command.phrase}."
    return outcome_message(ws, command, answer)


# -- actions that ask first, or carry out several commands -------------------------------------------------------------------


def _shutdown(ws: Workspace, args: Args) -> str:
    ws.stop_engine()
    ws.shutdown()
    return "The daemon ends when its running work is done."


def _release(ws: Workspace, args: Args) -> str:
    why = ws.release_control(now=args["now"]).said
    when = "now" if args["now"] else "when running work is done"
    return f"Control is given up {when}." if why is None else str(why)


def _stop_run(ws: Workspace, args: Args) -> Any:
    if args["run_id"] is None:
        return carry_out(ws, StopFlow, args)
    run_ids = _run_ids(ws, args)
    had_begun = [ws.stop_run(run_id) for run_id in run_ids]
    if any(had_begun):
        return ends_text()
    return never_begins_text(ws.home.ledger().run(run_ids[0]) if run_ids else None)


def _kill_run(ws: Workspace, args: Args) -> str:
    for run_id in _run_ids(ws, args):
        ws.kill_run(run_id)
    return "Its process was ended."


def _run_ids(ws: Workspace, args: Args) -> list[str]:
    if args["run_id"] is not None:
        return [args["run_id"]]
    flow, daemon = of_json(StopFlow, args, "stop_run").flow, ws.link.find()
    active = [] if daemon is None else daemon.get("/status")["active_runs"]
    run_ids = [run["run_id"] for run in active if run["flow"] == flow and run["in_daemon"]]
    if not run_ids:
        raise FlowValidationError(f"no run of {flow} is under way", where="the panel", fix="it has just ended")
    return run_ids


def _backfill(ws: Workspace, args: Args) -> dict[str, Any]:
    """The runs of a backfill that is asked about, or the message that it has begun."""
    params = {key: TypedValue.text(value) if isinstance(value, str) else value for key, value in args["params"].items()}
    try:
        backfill = ws.backfill(
            args["flow"],
            args["since"],
            args["until"],
            args["where"],
            params,
            args["reprocess"],
            dry_run=args["dry_run"],
            digest=args["digest"],
            wait=False,
        )
    except FlowValidationError as error:
        raise of_form(error) from error
    if backfill is None:
        return {"said": _owner_message(ws, f"backfill {args['flow']}") or "Its owner was asked."}
    if args["dry_run"]:
        return {
            "total": backfill.total,
            "digest": backfill.digest,
            "known": backfill.known,
            "planned": backfill.planned[:50],
        }
    return {"said": f"{backfill.flow}: {plural(backfill.total, 'run')}, after everything that is due."}


_FIELDS = {"since": "From", "until": "To the end of", "where": "Files"}
_DAYS = "write a day as 2026-12-31, a month as 2026-12, or a time as 2026-12-31T06:00"


def of_form(error: FlowValidationError) -> FlowValidationError:
    """The error of a backfill, which names the field of the panel's form in place of the argument.

    Example:
        >>> of_form(FlowValidationError("since cannot be '31.12.2026'", where="backfill(since=...)", fix="...")).what
        "From cannot be '31.12.2026'"
    """
    for argument, label in _FIELDS.items():
        if error.where == f"backfill({argument}=...)":
            what = error.what.removeprefix(f"{argument} ")
            what = f"{label} {what}" if what != error.what else f"{label}: {what}"
            return FlowValidationError(what, where="", fix=_DAYS if argument != "where" else error.fix)
    if error.where == "backfill(since=..., until=...)":
        return FlowValidationError(error.what, where="", fix='give a "From" that is before "To the end of"')
    return error


# -- run ------------------------------------------------------------------------------------------------------------------


def _run(ws: Workspace, args: Args) -> dict[str, Any]:
    """Run a flow. With `take="ask"` it asks first where a polled flow has more than one file, or one that is done, and where
    files of it are `unsaved` in JupyterLab."""
    name, take = args["flow"], args["take"]
    if take not in ("ask", "due", "all"):
        raise FlowValidationError(f"a run cannot take {take!r}", where="the panel", fix="reload the page")
    params = {key: TypedValue.text(value) if isinstance(value, str) else value for key, value in args["params"].items()}
    if take == "ask":
        question = None if args["source"] is not None else _run_question(ws, name)
        if args["unsaved"] and name in ws.home.deployments().deployed():  # edits that are not saved, which no run takes
            question = with_unsaved(question, args["unsaved"])
        if question is not None:
            return {"run_ids": [], "question": question}
    if take == "due":
        views = (flow_files(ws, name, search="", group=group, limit=MOST_DUE) for group in _DUE)
        sources: list[str | None] = [file.path for view in views for file in view.files]
        if not sources:
            return {"run_ids": [], "said": f"No file of {name} is due any more."}
    else:
        sources = [args["source"]]
    run_ids = [run_id for source in sources for run_id in ws.run(name, wait=False, source=source, params=params)]
    if not run_ids and (message := _owner_message(ws, f"run {name}")):
        return {"run_ids": [], "said": message}
    if not run_ids:
        return {"run_ids": [], "said": f"{name} has no source file to run with."}
    return {"run_ids": run_ids, "said": _begun_text(ws, name, len(run_ids))}


def _begun_text(ws: Workspace, name: str, count: int) -> str:
    """That so many runs have started; where all of them wait, for what."""
    waiting = (entry for entry in ws.status().waiting_runs if entry.flow == name and entry.why is not None)
    waits = next((entry.text for entry in waiting if entry.count >= count), None)
    return waits or f"{name}: {plural(count, 'run')} started."


def _run_question(ws: Workspace, name: str) -> Question | None:
    """The question before the flow runs for its files; None where it is not polled, or runs once for all of them."""
    try:
        entry = flow_entry(ws, name)
        if entry["mode"] != "poll" or (entry.get("options") or {}).get("run_as") == "batch":
            return None
        files = flow_files(ws, name, search="", group="", limit=0)
    except FlowValidationError:  # the run itself says what is wrong
        return None
    counts = {group: count for group, _, count in files.groups}
    return run_question(entry["title"], counts, may_choose=not ws.lease().is_elsewhere)


def _owner_message(ws: Workspace, what: str) -> str | None:
    """The message that the owner was asked, where that is another workstation; its answer comes with the status."""
    lease = ws.lease()
    if lease.owner is None or lease.is_mine:
        return None
    return f"{lease.owner['host_name']} was asked to {what}."


_A_RUN: Fields = {"run_id": TEXT.optional, "flow": TEXT.optional}
_BY_HAND: dict[str, tuple[Act, Fields]] = {
    "shutdown": (_shutdown, {}),
    "release_control": (_release, kinds_of(ReleaseControl)),
    "stop_run": (_stop_run, _A_RUN),
    "kill_run": (_kill_run, _A_RUN),
    "backfill": (_backfill, kinds_of(StartBackfill)),
    "run": (_run, kinds_of(Run) | {"take": TEXT.or_else("all"), "unsaved": TEXTS.or_else([])}),
}
_NOT_HERE = frozenset({"look", "set_interpreter", *VERBS_OF_PAGE})
"""Commands that the panel has another way for."""


def command_action(name: str) -> tuple[Act, Fields] | None:
    """The panel's action of a command by its name, and its fields; None where there is no such command."""
    kind = COMMANDS.get(name.replace("_", "-"))
    if kind is None or name in _NOT_HERE:
        return None
    return _BY_HAND.get(name) or (lambda ws, args: carry_out(ws, kind, args), kinds_of(kind))


def command_actions() -> list[str]:
    """The names of all actions that are commands."""
    return [action for name in COMMANDS if command_action(action := name.replace("-", "_")) is not None]


TO_RUN = ("held", "running", "waiting", "done")
"""The groups of files that a run by hand takes: all that exist, whatever their state."""

_DUE = ("held", "waiting")
MOST_DUE = 200
"""At most so many files are run one by one."""


def run_question(title: str, counts: Mapping[str, int], *, may_choose: bool = True) -> Question | None:
    """The question before a polled flow with so many files of each group runs; None where one file runs that is not done.

    With `may_choose`, those that are due can be run alone.

    Example:
        >>> run_question("Sales", {"waiting": 3, "done": 4})
        {'text': 'Run Sales: 3 files are due, 4 are done.', 'answers': [('Run the 3 due', 'due'), ('Run all 7', 'all')]}
        >>> run_question("Sales", {"done": 2})["answers"]
        [('Run both again', 'all')]
        >>> run_question("Sales", {"waiting": 1})
    """
    done = counts.get("done", 0) + counts.get("running", 0)
    due, total = sum(counts.get(group, 0) for group in _DUE), sum(counts.get(group, 0) for group in TO_RUN)
    if total == 0 or (total == 1 and not done):
        return None
    held, running = counts.get("held", 0), counts.get("running", 0)
    parts = [(due - held, "due"), (held, "held"), (running, "running"), (done - running, "done")]
    (first, group), *rest = [(count, word) for count, word in parts if count]
    lead = f"{plural(first, 'file is', 'files are')} {group}"
    text = ", ".join([lead, *(f"{plural(count, 'is', 'are')} {word}" for count, word in rest)])
    some = "due" if not held else "held" if held == due else "due or held"
    again = " again" if due == 0 else ""
    everything = f"Run {'it' if total == 1 else 'both' if total == 2 else f'all {total:,}'}{again}"
    answers = [(everything, "all")]
    if done and due and due <= MOST_DUE and may_choose:
        answers.insert(0, (f"Run the {due:,} {some}" if due > 1 else f"Run the one {some}", "due"))
    return {"text": f"Run {title}: {text}.", "answers": answers}


def with_unsaved(question: Question | None, files: Sequence[str]) -> Question:
    """The question where files of the flow have edits that are not saved, and the flow runs without them.

    Example:
        >>> with_unsaved(None, ["sales.ipynb"])
        {'text': 'sales.ipynb has unsaved edits: the flow runs as it is deployed, without them.', 'answers': [('Run it', 'all')]}
        >>> with_unsaved(run_question("Sales", {"done": 2}), ["sales.ipynb"])["text"]
        'sales.ipynb has unsaved edits: the flow runs as it is deployed, without them. Run Sales: 2 files are done.'
    """
    warning = f"{', '.join(files)} {'has' if len(files) == 1 else 'have'} unsaved edits: the flow runs as it is deployed, without them."
    if question is None:
        return {"text": warning, "answers": [("Run it", "all")]}
    return question | {"text": f"{warning} {question['text']}"}
