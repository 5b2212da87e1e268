"""What the panel asks for that changes what production runs, or shows what would change."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, TypeAlias

from data_engine.client import Workspace
from data_engine.counted import counted
from data_engine.cut import first_few
from data_engine.daemon.deploying import Outcome
from data_engine.engine.deployed_before import left_out
from data_engine.engine.files_before import FilesBefore, files_before
from data_engine.engine.starting import Starting, starting_now
from data_engine.errors import error_of
from data_engine.given import given_text
from data_engine.typed import typed
from jupyter_extension.feed import daemon_of, from_child
from jupyter_extension.planning import given_key, plan_view
from jupyter_extension.view import as_json

Args: TypeAlias = Mapping[str, Any]
_MOST_LISTED = 12


def deploy(ws: Workspace, args: Args) -> Any:
    """Let production run the modules as they are. What the panel had `shown` of the flow may be another than what is deployed now; what
    a deploy of everything would change is asked first, until that was `listed`."""
    if not args["listed"] and (question := _question(ws, args["flow"])) is not None:
        return {"question": question}
    flow, force, approve, note = args["flow"], args["force"], args["approve"], given_text(args["note"], "the note")
    daemon = daemon_of(ws)
    if daemon is None:
        options = [*(["--yes"] if force else []), *(["--approve"] if approve else []), f"--note={note}"]
        return _without_a_daemon(ws, flow, options, args["shown"])
    told = daemon.post(
        "/deploy", {"flow": flow, "force": force, "approve": approve, "note": note, "wait": False}, timeout_s=60.0
    )
    if "request_id" in told:
        now = None if flow is None else ws.home.deployments().digest_of(flow)
        return f"{told['owner']} was asked to deploy {flow or 'every good module'}." + _newer_words(args["shown"], now)
    outcome = Outcome.read(told)
    refused = [entry.error for entry in outcome.entries if entry.error is not None]
    if flow is not None and refused:
        raise refused[0]
    said = _outcome_words(flow, outcome) + _left_out(ws, flow, {entry.name for entry in outcome.entries})
    files = files_before(ws.home, outcome.deployments, outcome.entries)
    starts = starting_now(ws.home, outcome.deployments, outcome.entries)
    is_told = any(one.held for one in files.values()) or any(one.text for one in starts.values())
    is_on = bool(daemon.get("/status")["engine"]["on"]) if is_told else False
    said += starts_words(starts, is_on=is_on)
    return _with_what_follows(ws, said, files, flow, args["shown"], is_engine_on=is_on)


def _question(ws: Workspace, flow: str | None) -> dict[str, Any] | None:
    """What is asked before a flow, or everything, is deployed; None where there is nothing to ask."""
    if flow is not None:
        return _kernel_question(ws, flow)
    found = from_child(ws.root, "deploy", "--dry-run")
    if not found:
        return None
    text = first_few([f"\u2022 {one['text']}" for one in found], _MOST_LISTED, "\n")
    return {
        "text": f"This would change:\n{text}",
        "answers": [["Deploy it" if len(found) == 1 else f"Deploy all {len(found)}", "listed"]],
    }


def _kernel_question(ws: Workspace, flow: str) -> dict[str, Any] | None:
    """What is asked where these very cells were compared with their kernel, and something differed."""
    from data_engine.proof.kept import differences_now

    verdict = differences_now(ws.home, ws.layout.flow_modules_dir / f"{flow}.ipynb")
    if verdict is None:
        return None
    differences = first_few([f"\u2022 {one}" for one in verdict.told()], _MOST_LISTED, "\n")
    text = f"{flow}.ipynb is not as in {verdict.kernel_words}:\n{differences}"
    return {"text": text, "answers": [["Deploy it all the same", "listed"]]}


def starts_words(starts: Mapping[str, Starting], *, is_on: bool) -> str:
    """What starts at once; "" where nothing does.

    Example:
        >>> starts_words({"claims": Starting(3), "rates": Starting()}, is_on=True)
        ' claims: 3 files run now.'
        >>> starts_words({}, is_on=True)
        ''
    """
    told = [f"{flow}: {one.when(is_on=is_on)}" for flow, one in sorted(starts.items()) if one.text]
    return f" {'; '.join(told)}." if told else ""


def _without_a_daemon(ws: Workspace, flow: str | None, options: list[str], shown: str | None) -> Any:
    entries = from_child(ws.root, "deploy", *([] if flow is None else [flow]), *options)
    told_of = [entry["error"] for entry in entries if entry["error"] is not None]
    if flow is not None and told_of:
        raise error_of(told_of[0])
    files = {one["name"]: FilesBefore(**one["files_before"]) for one in entries}
    starts = {one["name"]: Starting(**one["starts"]) for one in entries}
    said = (
        _runs_now(flow)
        + starts_words(starts, is_on=False)
        + _left_out(ws, flow, {one["name"] for one in entries if one["left_out"] is None})
    )
    return _with_what_follows(ws, said, files, flow, shown, is_engine_on=False)


def _with_what_follows(
    ws: Workspace,
    said: str,
    files: Mapping[str, FilesBefore],
    flow: str | None,
    shown: str | None,
    *,
    is_engine_on: bool,
) -> str | dict[str, Any]:
    """What was said, and that it was a newer edit than the panel had shown; with `again`, the flow whose files count as done as they were
    done before, of which Backfill does them again, and with `held` the one of which Retry tries held files again."""
    pointer = ws.home.deployments().deployed().get(flow or "")
    said += _newer_words(shown, None if pointer is None else pointer.digest)
    done = {name: one.done for name, one in files.items() if one.done}
    held = {name: one.held for name, one in files.items() if one.held}
    if not done and not held:
        return said
    switches = ws.home.ledger().switches()
    disabled = {name for name in held if name in switches and not switches[name].is_enabled}
    said = " ".join(filter(None, (said, held_words(held, disabled, is_engine_on=is_engine_on), done_words(done))))
    retried = flow if held and is_engine_on and not disabled else None
    return {"said": said, "again": flow if done else None, "held": retried}


def held_words(held: Mapping[str, int], disabled: Collection[str] = (), *, is_engine_on: bool = True) -> str:
    """That files are held, and what tries them again; "" where there are none.

    Example:
        >>> held_words({"claims": 1}), held_words({})
        ('1 file is held: Retry tries it again.', '')
        >>> held_words({"claims": 1, "rates": 2}, {"rates"})
        'claims: 1 file is held, rates: 2 files are held: Retry tries them again, once rates is enabled.'
        >>> held_words({"claims": 2}, is_engine_on=False)
        '2 files are held: they are tried again when the engine starts.'
    """
    if not held:
        return ""
    told, is_one = _told(held, "file is held", "files are held"), [*held.values()] == [1]
    again = (
        f"Retry tries {'it' if is_one else 'them'} again"
        if is_engine_on
        else f"{'it is' if is_one else 'they are'} tried again when the engine starts"
    )
    off = ", ".join(sorted(disabled))
    once = f", once {off} {'is' if len(disabled) == 1 else 'are'} enabled" if off else ""
    return f"{told}: {again}{once}."


def _told(counts: Mapping[str, int], one: str, many: str) -> str:
    """How many files of each flow, which is named where there are several."""
    told = {flow: counted(count, one, many) for flow, count in sorted(counts.items())}
    return ", ".join(words if len(told) == 1 else f"{flow}: {words}" for flow, words in told.items())


def _newer_words(shown: str | None, digest: str | None) -> str:
    if shown is None or digest in (None, shown):
        return ""
    return " It was saved once more after the panel showed it: what was saved last is deployed."


def done_words(done: Mapping[str, int]) -> str:
    """That files were done before, by code that may have been another; "" where none were.

    Example:
        >>> done_words({"claims": 1204})
        '1,204 files were done before and count as done: Backfill does them again.'
        >>> done_words({"claims": 1, "rates": 2})
        'claims: 1 file was, rates: 2 files were done before and count as done: Backfill does them again.'
    """
    if not done:
        return ""
    told, is_one = _told(done, "file was", "files were"), [*done.values()] == [1]
    return f"{told} done before and count{'s' if is_one else ''} as done: Backfill does {'it' if is_one else 'them'} again."


def _outcome_words(flow: str | None, outcome: Outcome) -> str:
    if outcome.renamed:
        return f"Production runs {', '.join(f'{new}, which was {old}' for old, new in outcome.renamed.items())}."
    if outcome.withdrawn:
        names = ", ".join(outcome.withdrawn)
        return f"Production runs every good module as it is now. It no longer runs {names}: the module is gone."
    return _runs_now(flow)


def _runs_now(flow: str | None) -> str:
    return f"Production runs {flow or 'every good module'} as it is now."


def _left_out(ws: Workspace, flow: str | None, but: Collection[str]) -> str:
    """That a deploy of everything left flows out as somebody undeployed them; "" where it did not, or one was asked for."""
    left = left_out(ws.home, but) if flow is None else {}
    return (
        f" Left out (undeployed): {', '.join(left)}; a flow's own Deploy lets production run it again." if left else ""
    )


def plan(ws: Workspace, args: Args) -> Any:
    """What a deploy would change."""
    key = given_key(args["key"])
    return as_json(plan_view(ws, args["flow"], sources=args["sources"], key=key, yes=args["yes"]))


def rollback(ws: Workspace, args: Args) -> str:
    """Let production run a flow as it was deployed before."""
    row = ws.rollback(args["flow"], args["to"], wait=False)
    if row is None:
        return f"The owner was asked to roll back {args['flow']}."
    return f"Production runs {row.flow} again as it was deployed in {(row.of or row.id)[:8]}."


def undeploy(ws: Workspace, args: Args) -> str:
    """Let production run a flow no more."""
    if ws.undeploy(args["flow"], wait=False) is None:
        return f"The owner was asked to undeploy {args['flow']}."
    again = typed("rollback", args["flow"])
    return f"Production does not run {args['flow']} any more. To let it run again as it was deployed: {again}"


def restore(ws: Workspace, args: Args) -> str:
    """Put a module that is gone back as it was deployed."""
    return f"Wrote {', '.join(path.name for path in ws.restore(args['flow']))}, as it was deployed."
