"""Sentences that several screens share: the command line, the cards in a notebook, the panel."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from os.path import dirname
from typing import Any

from data_engine.formatting import beginning, cli_line, local_time, plural
from data_engine.ledger.logs import warned_text
from data_engine.message import Undelivered
from data_engine.model import ActiveRun, Backfill, FrameChange, Run, changes_text, ended_badly
from data_engine.platforms.host import shell_line
from data_engine.reasons.kinds import ByHand, EngineOff, Held, LastRunFailed, NotYet, RetryLater, Stopping
from data_engine.reasons.remedies import SHORT_ID, STOPS_AT, Reason
from data_engine.status.record import FlowStatus

GOES_ON = "the daemon is not running; the engine is on again as soon as a daemon starts"
"""For a daemon that died with its engine on: the next one turns it on by itself."""


def ends_text(flow: str | None = None, *, is_disabled: bool = False) -> str:
    """Say when a run that was asked to stop ends, or all runs of a flow, which may be disabled by that.

    Example:
        >>> ends_text(), ends_text("claims")[:26]
        ('It ends at its next step, map item, context.log or context.progress.', 'The runs of claims end at ')
    """
    if flow is None:
        return f"It ends at its {STOPS_AT}."
    then = f" It is disabled: `{cli_line('enable', flow)}` lets it run by itself again." if is_disabled else ""
    return f"The runs of {flow} end at their {STOPS_AT}.{then}"


def never_begins_text(run: Run | None) -> str:
    """Say what becomes of a run that was ended while it waited for its turn; `run` is its record by now.

    Example:
        >>> from data_engine.model import RunTrigger
        >>> began = {"run_id": "3f", "flow": "claims", "group": "C", "status": "stopped", "started_at_utc": ""}
        >>> never_begins_text(Run(source=None, trigger=RunTrigger("hand"), **began))
        'It was still waiting, and will not start; it is recorded as stopped.'
        >>> never_begins_text(Run(source="/in/a.csv", trigger=RunTrigger("file"), **began)).partition(". ")[2]
        'Its file is held: `data-engine retry claims --source /in/a.csv` runs it again.'
    """
    words = "It was still waiting, and will not start; it is recorded as stopped."
    if run is None or run.trigger is None or run.trigger.kind not in ("file", "retry"):
        return words
    source = ["--source", run.source] if run.source else []
    return f"{words} Its file is held: `{cli_line('retry', run.flow, *source)}` runs it again."


_MOST_OF_NOTE = 100
"""Characters of an error in the row of its flow; `data-engine explain` has all of it."""

_MOST_OF_ERROR = 200
"""Characters of a server's answer; the daemon's log and `status --json` have more of it."""


def held_text(flow: FlowStatus) -> str | None:
    """Say why files of a flow are held: the last one with its error, and how many more; None for no files, and where something else
    keeps the flow from running.

    Example:
        >>> run = Run("3f", "claims", "C", "/in/a.csv", "failed", "", error="ValueError: no amount")
        >>> held_text(FlowStatus("claims", held=2, last_run=run)), held_text(FlowStatus("claims", held=2))
        ('a.csv: ValueError: no amount; 1 more is held', '`data-engine explain claims` says why')
        >>> held_text(FlowStatus("claims", held=2, why=ByHand())), held_text(FlowStatus("claims"))
        (None, None)
    """
    if not flow.held or not (flow.why is None or isinstance(flow.why, EngineOff)):
        return None
    last = flow.last_run
    if last is None or last.source is None or last.status not in _ENDED:
        return f"`{cli_line('explain', flow.name)}` says why"
    name = last.source.replace("\\", "/").rstrip("/").rpartition("/")[2]
    more = flow.held - 1
    rest = f"; {more:,} more {'is' if more == 1 else 'are'} held" if more else ""
    error = beginning(first_line(short_error(last.error or last.cause, last.why)), _MOST_OF_NOTE)
    return f"{name}: {error}{rest}"


_MOST_CHANGED = 2


def changed_text(flow: FlowStatus) -> str | None:
    """Say which references have changed since outputs of the flow were made; None without any.

    Example:
        >>> from data_engine.reasons.kinds import Outdated
        >>> changed = [Outdated(f"/ref/{name}.csv", 9) for name in ("products", "rates", "units")]
        >>> changed_text(FlowStatus("claims", changed=tuple(changed[:1])))
        'products.csv has changed since 9 outputs were made'
        >>> changed_text(FlowStatus("claims", changed=tuple(changed)))[-64:]
        'rates.csv has changed since 9 outputs were made; 1 more file has'
    """
    left = len(flow.changed) - _MOST_CHANGED
    more = [f"{plural(left, 'more file has', 'more files have')}"] if left > 0 else []
    return "; ".join([*(why.text for why in flow.changed[:_MOST_CHANGED]), *more]) or None


def drift_text(changes: Sequence[FrameChange]) -> str | None:
    """Say how the feed of a flow has changed; None where it has not.

    Example:
        >>> drift_text([FrameChange("raw_df", new=("note",), until="may.csv")]), drift_text([])
        ('its feed has changed: raw_df: `note` is new; it was as before until may.csv', None)
    """
    return f"its feed has changed: {changes_text(changes)}" if changes else None


def undeployed_text(flow: str) -> str:
    """Say that a flow was undeployed, and what lets it run again."""
    again = cli_line("rollback", flow)
    return f"Production does not run {flow} any more. To let it run again as it was deployed: {again}"


def freed_text(count: int, accepted: Sequence[str] = (), left: Sequence[str] = ()) -> str:
    """Say how many sources a retry has freed, what it has `accepted`, and what is `left` held until somebody accepts it.

    Example:
        >>> freed_text(2), freed_text(0)
        ('2 held sources run again.', 'Nothing is held; `data-engine explain FLOW` says why it does not run.')
        >>> freed_text(0, ["claims: 8 of the 10 sources that its last good run took are gone"])
        'Accepted: claims: 8 of the 10 sources that its last good run took are gone.'
    """
    words = [f"Accepted: {what}." for what in accepted]
    words += [
        f"Still held: {what}; `{cli_line('retry', what.partition(':')[0], '--accept')}` accepts it." for what in left
    ]
    if count or not words:
        words.insert(0, _freed(count))
    return " ".join(words)


def _freed(count: int) -> str:
    if not count:
        return "Nothing is held; `data-engine explain FLOW` says why it does not run."
    return "1 held source runs again." if count == 1 else f"{count:,} held sources run again."


def told_once(messages: Sequence[Undelivered]) -> list[tuple[Undelivered, int]]:
    """The newest undelivered message for each recipient and error, and how many it stands for.

    Example:
        >>> to_ops = [Undelivered(f"m{number}", "ops", error="no such list") for number in range(3)]
        >>> [(message.message_id, count) for message, count in told_once([*to_ops, Undelivered("m4", "boss", error="no such list")])]
        [('m0', 3), ('m4', 1)]
    """
    alike: dict[tuple[str, str | None], list[Undelivered]] = {}
    for message in messages:
        alike.setdefault((message.to, message.error), []).append(message)
    return [(same[0], len(same)) for same in alike.values()]


def undelivered_text(message: Undelivered, at: Callable[[str | None], str] | None, count: int = 1) -> str:
    """Say that alerts do not reach somebody, why, and how many; `message` is the newest. `at` formats a time, None leaves times out.

    Example:
        >>> waits = Undelivered("3fa2", "mail_team", subject="claims failed", since_utc="10:02", tries=2, error="refused",
        ...     next_try_utc="10:14")
        >>> undelivered_text(waits, str)
        'Alerts do not reach mail_team: refused; 1 message, of 10:02 (tried 2 times, again at 10:14)'
        >>> undelivered_text(Undelivered("3fa2", "ops", since_utc="10:02", next_try_utc="10:02"), str, 3)
        'Alerts to ops wait to be sent: 3 messages, the newest of 10:02'
        >>> undelivered_text(waits, None)
        'Alerts do not reach mail_team: refused; 1 message'
    """
    messages = plural(count, "message")
    if at is not None:
        messages += f", {'of' if count == 1 else 'the newest of'} {at(message.since_utc)}"
    if message.error is None:
        return f"Alerts to {message.to} wait to be sent: {messages}"
    why = beginning(" ".join(message.error.split()), _MOST_OF_ERROR)
    words = f"Alerts do not reach {message.to}: {why}; {messages}"
    if at is None:
        return words
    tried = "tried once" if message.tries == 1 else f"tried {message.tries:,} times" if message.tries else "never tried"
    again = "given up" if message.next_try_utc is None else f"again at {at(message.next_try_utc)}"
    return f"{words} ({tried}, {again})"


def none_named_text(shown: Backfill) -> str | None:
    """Say that no file of the source has the requested name, and which are most like it; None where one has.

    Example:
        >>> none_named_text(Backfill("", "claims", "planned", where="clams-*.csv", nearest=("claims-01.csv",)))
        "Nothing to run: no file of the source of claims is named 'clams-*.csv'. There is claims-01.csv."
    """
    if not shown.nearest:
        return None
    nearest = f"{'is' if len(shown.nearest) == 1 else 'are'} {', '.join(shown.nearest)}"
    return f"Nothing to run: no file of the source of {shown.flow} is named {shown.where!r}. There {nearest}."


GONE = "its file is gone"


def is_source_gone(flow: FlowStatus, exists: Callable[[str], bool | None]) -> bool:
    """Whether the last run of a poll flow ended badly with a file that is gone from an existing folder, and no other file is
    bad. `exists` is asked for both; its None means not known.

    Example:
        >>> from data_engine.model import Run
        >>> failed = FlowStatus("claims", mode="poll", last_run=Run("3f", "claims", "C", "/in/a.csv", "failed", ""))
        >>> is_source_gone(failed, lambda path: path == "/in"), is_source_gone(failed, lambda path: False)
        (True, False)
    """
    last = flow.last_run
    if flow.mode != "poll" or last is None or last.source is None or not ended_badly(last):
        return False
    is_decided = not (flow.held or flow.retried or flow.state_kind == "unreachable")
    return is_decided and exists(last.source) is False and exists(dirname(last.source)) is True


def last_status_text(flow: FlowStatus, exists: Callable[[str], bool | None]) -> str:
    """How the flow's last run ended, and whether the file of its failure is gone; "" without a run.

    Example:
        >>> last_status_text(FlowStatus("claims"), lambda path: True)
        ''
    """
    if flow.last_run is None:
        return ""
    status = flow.last_run.status
    return f"{status} ({GONE})" if is_source_gone(flow, exists) else status


def in_the_way(why: Reason | None, *, held: int, last_run: Run | None, is_running: bool) -> str | None:
    """What keeps a flow from its expected success, in a line; None where nothing is known.

    `why` is why it does not run now.

    Example:
        >>> from data_engine.reasons.kinds import EngineOff
        >>> in_the_way(EngineOff(), held=0, last_run=None, is_running=False)
        'the engine is off'
        >>> in_the_way(None, held=2, last_run=None, is_running=False)
        '2 files are held'
    """
    if is_running:
        return "it is running"
    if why is not None and not isinstance(why, (NotYet, ByHand)):
        return why.text.partition("\n")[0]
    error = None
    if last_run is not None and last_run.status in ("failed", "killed", "abandoned", "stopped"):
        data = {} if last_run.why is None else last_run.why.data
        step = f" in {data['step']}" if data.get("step") else ""
        what = data.get("detail") or last_run.cause or (last_run.error or "").partition("\n")[0]
        error = f"its last run {_ENDED[last_run.status]}{step}" + (f": {what}" if what else "")
    held_files = plural(held, "file is held", "files are held") if held else None
    words = "; ".join(filter(None, (held_files, error)))
    return words or ("it runs by hand only" if isinstance(why, ByHand) else None)


_ENDED = {"failed": "failed", "killed": "was killed", "abandoned": "was abandoned", "stopped": "was stopped"}


def reason_of(flow: FlowStatus) -> str | None:
    """Why a flow does not run now, for its row in the status; of one that waits for its time why its last run failed, if it did.

    Example:
        >>> from data_engine.reasons.kinds import NotDeployed
        >>> reason_of(FlowStatus("claims", state_kind="not_deployed", why=NotDeployed("claims")))
        'data-engine deploy claims'
    """
    failed = in_the_way(flow.why, held=0, last_run=flow.last_run, is_running=False) if flow.is_failing else None
    words = failed if isinstance(flow.why, NotYet) and failed is not None else flow.reason
    return words and words.removeprefix(f"{flow.state}: ")


def nothing_text(shown: Backfill) -> str:
    """Say that a backfill has nothing to run in its range, and which option runs what of it.

    Example:
        >>> from data_engine.model import Backfill
        >>> nothing_text(Backfill("", "claims", "planned", known={"all": 1, "failed": 0, "missing": 1}))
        'Nothing to run: 1 in the range; none failed in its last run or is held. --reprocess missing runs those that never succeeded: 1.'
        >>> nothing_text(Backfill("", "claims", "planned", since="2026-10", known={"all": 0, "failed": 0, "missing": 0}))
        'Nothing to run: no file is in the range, by the day on which the files changed (by name: --where GLOB).'
    """
    counts, by = shown.known, range_text(shown)
    if not counts["all"]:
        what = "no file" if shown.kind == "files" else "nothing"
        return f"Nothing to run: {what} is in the range{f', {by}' if by else ''}."
    words = f"Nothing to run: {counts['all']:,} in the range{f', {by}' if by else ''};"
    words += _NONE.get(shown.reprocess, " none failed in its last run or is held.")
    return " ".join([words, *other_text(shown)])


_NONE = {"missing": " each has succeeded.", "outdated": " what its runs read has not changed since."}


def range_text(shown: Backfill) -> str:
    """Say what a range selects by, and how to select files by name; "" without a range.

    Example:
        >>> from data_engine.model import Backfill
        >>> range_text(Backfill("", "claims", "planned", kind="slots", since="2026-10"))
        'by the slots of the schedule until now'
        >>> range_text(Backfill("", "claims", "planned", since="2026-10", until="2026-10", where="a*"))
        'by the day on which the files changed'
    """
    if shown.since is None and shown.until is None:
        return ""
    if shown.kind != "files":
        return "by the slots of the schedule until now"
    by = "by the day on which the files changed"
    if shown.where is not None:
        return by
    is_one = shown.since is not None and shown.since == shown.until
    return f"{by} (by name: {shell_line(['--where', f'*{shown.since}*']) if is_one else '--where GLOB'})"


def other_text(shown: Backfill) -> Iterator[str]:
    """Say which option runs those in the range that were not selected."""
    every, missing, failed = (shown.known[name] for name in ("all", "missing", "failed"))
    if shown.reprocess == "failed" and missing > failed:
        yield f"--reprocess missing runs those that never succeeded: {missing:,}."
    if shown.reprocess != "all" and every > max(missing, failed):
        yield f"--reprocess all runs all of them: {every:,}."


def short_error(error: str | None, cause: Mapping[str, Any] | None) -> str:
    """The error of a run or a step in a line: its step and what was raised there, as far as its cause tells; else its first line.

    Example:
        >>> short_error("Flow \\"claims\\" failed in step ...", {"kind": "code_raised", "step": "Read", "detail": "KeyError: 3"})
        'Read: KeyError: 3'
        >>> short_error(None, {"detail": "KeyError: 3", "helper": "flow_helpers/rates.py, line 7",
        ...                    "places": [{"notebook": "claims.ipynb", "cell": 4, "line": 2}]})
        'KeyError: 3 (flow_helpers/rates.py, line 7, called in claims.ipynb, cell 4, line 2)'
        >>> short_error("the time limit was reached\\n  where: ...", {"kind": "time_limit"})
        'the time limit was reached'
    """
    detail, step = (cause or {}).get("detail"), (cause or {}).get("step")
    if detail:
        through = _through(cause or {})
        return f"{step}: {detail}{through}" if step else f"{detail}{through}"
    return first_line(error)


def _through(cause: Mapping[str, Any]) -> str:
    """The helper that raised, and the cell that called it, in brackets; "" without a helper."""
    spots = [cause["helper"]] if cause.get("helper") else []
    for place in places_of(cause):
        line = f", line {place['line']}" if place.get("line") else ""
        spots.append(f"{place.get('notebook')}, cell {place.get('cell')}{line}")
    if not cause.get("helper") and len(spots) < 2:
        return ""
    return f" ({', called in '.join(spots[:2])})"


def short_reason(why: Reason, cause: Mapping[str, Any] | None) -> str:
    """The reason in a line; `cause` is why the last run of a held source ended as it did."""
    if isinstance(why, (Held, RetryLater, LastRunFailed)) and cause is not None and cause.get("detail"):
        why = replace(why, error=short_error(why.error, cause))
    return first_line(why.text)


def places_of(
    error: Mapping[str, Any] | None, *, was: str | None = None, now: str | None = None
) -> tuple[Mapping[str, Any], ...]:
    """The notebook cells that an error, or the cause of a run, names: `{notebook, cell, line}`, each once.

    The notebook of a flow that `was` renamed gets its name of `now`.

    Example:
        >>> places_of({"places": [{"notebook": "claims.ipynb", "cell": 1, "line": 2}]}, was="claims", now="parts")
        ({'notebook': 'parts.ipynb', 'cell': 1, 'line': 2},)
    """
    places: list[Mapping[str, Any]] = []
    for place in (error or {}).get("places") or ():
        if was != now and place.get("notebook") == f"{was}.ipynb":
            place = {**place, "notebook": f"{now}.ipynb"}
        if place not in places:
            places.append(place)
    return tuple(places)


def first_line(words: object) -> str:
    """The first line that says something.

    Example:
        >>> first_line("\\n\\nKeyError: 3\\n  where: ..."), first_line(None)
        ('KeyError: 3', '')
    """
    return next((line for line in str(words or "").splitlines() if line.strip()), "").strip()


def ending_text(flow: FlowStatus, runs: Sequence[ActiveRun]) -> str | None:
    """Say when the runs of a stopping flow end, and what ends the first of them now; None for other flows."""
    run_id = next((run.run_id for run in runs if run.flow == flow.name and run.stopping), None)
    if flow.state_kind != "stopping" or run_id is None:
        return None
    return f"{Stopping(run_id).text}; to end it now: `{cli_line('kill', run_id[:SHORT_ID])}`"


def last_run_line(flow: FlowStatus, exists: Callable[[str], bool | None]) -> str:
    """How a flow's last run ended, how many warnings it has, and when it began; "" without one. `exists` is asked of its file."""
    warned = "" if flow.warned is None else warned_text(flow.warned.count)
    began = "" if flow.last_run is None else local_time(flow.last_run.started_at_utc)
    return ", ".join(filter(None, [last_status_text(flow, exists), warned, began]))
