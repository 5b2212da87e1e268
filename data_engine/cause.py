"""Why a run ended as it did: one of a closed set of kinds, its data, and the sentence made of them."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import field
from types import MappingProxyType
from typing import Any

from data_engine.record import Record, frozen

SENTENCES: Mapping[str, str] = MappingProxyType(
    {
        # failed
        "code_raised": "its code raised an error",
        "input_wrong": "the input was wrong",
        "feed_changed": "the columns of its feed are not as before",
        "secret_missing": "a secret is not on its machine",
        "target_changed": "something else changed an output during the run",
        "overwrites_source": "a step would have overwritten its own source",
        "target_held": "an output is open in another program",
        "module_broken": "its module is broken",
        "no_worker": "no worker could be started",
        "process_exited": "its process died: exit code {exit_code}",
        "process_crashed": "its process died: {what} (exit code {exit_code:#x})",
        "process_signalled": "its process died: killed by signal {signal}{named}",
        "process_killed": "its process died: killed by signal 9 (SIGKILL), by a person, a program, or the operating "
        "system when memory ran out",
        "process_ended": "its process died: it was ended from outside (exit code {exit_code}), by the Task Manager or "
        "another program",
        "worker_lost": "the cluster's worker {worker} was lost",
        "out_of_memory": "its process died: the operating system killed it for lack of memory",
        # stopped
        "stop_requested": "stopped by request",
        "stopped_by_flow": "stopped by the flow itself",
        "interrupted": "interrupted",
        "handed_over": "the workspace is handed over",
        "taken_over": "{by} took the workspace over",
        "owned_meanwhile": "another workstation owned the workspace in between",
        "no_longer_owner": "this machine does not own the workspace any more",
        "preview_refused": "{what}",
        # killed
        "kill_requested": "killed by request",
        "time_limit": "the time limit of {limit_s:g} s ([limits] run_timeout) was reached",
        "never_loaded": "did not answer: the module never returned from import (waited {limit_s:g} s)",
        "left_behind": "ended at once by a second Ctrl-C",
        # abandoned
        "process_gone": "its process died (pid {pid})",
        "session_ended": "the person logged off, or the machine was shut down",
        "daemon_killed": "the daemon was killed, and its runs with it",
        "ended_with_another": "its process was ended because an earlier run in it had to end",
        "owner_lost": "its workstation lost the workspace",
        # told by another version, or recorded before causes had kinds
        "other": "{text}",
    }
)
"""Every kind a cause can be of, and its sentence."""

_BY_A_PERSON = frozenset({"stop_requested", "interrupted", "kill_requested", "left_behind"})


@frozen
class Cause(Record):
    """Why a run ended as it did. `data` holds what its sentence names and, of code that raised, where:
    `step`, `detail` ("KeyError: 'amount'"), `helper` (its line, where it raised there), `places`, each `{notebook, cell, line}`, and
    `fix` where the error has one.

    Example:
        >>> cause = Cause("time_limit", {"limit_s": 90.0})
        >>> cause.text, cause["limit_s"], cause.as_dict()
        ('the time limit of 90 s ([limits] run_timeout) was reached', 90.0, {'kind': 'time_limit', 'limit_s': 90.0})
    """

    kind: str
    data: Mapping[str, Any] = field(default_factory=dict)

    def __getitem__(self, key: str) -> Any:
        return self.kind if key == "kind" else self.data[key]

    def __iter__(self) -> Iterator[str]:
        yield "kind"
        yield from self.data

    def __len__(self) -> int:
        return 1 + len(self.data)

    def __hash__(self) -> int:
        return hash(self.kind)

    @property
    def text(self) -> str:
        """The sentence."""
        try:
            return SENTENCES[self.kind].format_map(self.data)
        except (KeyError, ValueError, TypeError):  # of another version, or damaged
            return str(self.data.get("text") or self.kind.replace("_", " "))

    @property
    def is_by_a_person(self) -> bool:
        """Whether somebody ended the run on purpose: nothing is wrong then.

        Example:
            >>> Cause("kill_requested").is_by_a_person, Cause("out_of_memory").is_by_a_person
            (True, False)
        """
        return self.kind in _BY_A_PERSON

    def as_dict(self) -> dict[str, Any]:
        """The kind and its data as one JSON object."""
        return {"kind": self.kind, **self.data}

    def where(self, **data: Any) -> Cause:
        """The cause with its place: `step`, `detail`, `helper`, `places`; None adds nothing."""
        return Cause(self.kind, {**self.data, **{name: value for name, value in data.items() if value}})


def signalled(number: int, name: str | None) -> Cause:
    """The end of a process by a signal.

    Example:
        >>> signalled(11, "SIGSEGV").text, signalled(64, None).text
        ('its process died: killed by signal 11 (SIGSEGV)', 'its process died: killed by signal 64')
    """
    return Cause("process_signalled", {"signal": number, "name": name, "named": f" ({name})" if name else ""})


def other(text: str) -> Cause:
    """A cause of which only the sentence is known."""
    return Cause("other", {"text": text})


def read_cause(data: Mapping[str, Any]) -> Cause:
    """The cause in a JSON object."""
    return Cause(str(data.get("kind")), {key: value for key, value in data.items() if key != "kind"})


def data_text(cause: Cause | None) -> str | None:
    """The data of a cause as the ledger keeps it."""
    return None if cause is None or not cause.data else json.dumps(dict(cause.data), separators=(",", ":"))


def cause_from(kind: str | None, data: str | None, text: str | None) -> Cause | None:
    """The cause from the ledger's three columns; rows older than the kinds have only the text.

    Example:
        >>> cause_from("time_limit", '{"limit_s":90.0}', None).text, cause_from(None, None, "stopped"), cause_from(None, None, None)
        ('the time limit of 90 s ([limits] run_timeout) was reached', Cause(kind='other', data={'text': 'stopped'}), None)
    """
    if kind is None:
        return None if text is None else other(text)
    try:
        values = json.loads(data) if data else {}
    except (ValueError, RecursionError):  # what another machine wrote
        values = {}
    return Cause(kind, values if isinstance(values, dict) else {})


def cause_of_death(status: int, *, lacked_memory: bool) -> Cause:
    """Why a process died, by its exit status; `lacked_memory`: the system has killed for lack of memory in the meantime.

    Example:
        >>> cause_of_death(-11, lacked_memory=False).text, cause_of_death(3, lacked_memory=False).text
        ('its process died: killed by signal 11 (SIGSEGV)', 'its process died: exit code 3')
    """
    from data_engine.platforms.processes import crash_name, was_killed

    if was_killed(status) and status > 0:
        return Cause("process_ended", {"exit_code": status})
    if was_killed(status):
        return Cause("out_of_memory" if lacked_memory else "process_killed")
    if crash := crash_name(status):
        return Cause("process_crashed", {"what": crash, "exit_code": status})
    if status >= 0:
        return Cause("process_exited", {"exit_code": status})
    name = None
    with suppress(ValueError):
        name = signal.Signals(-status).name
    return signalled(-status, name)


def how_it_ended(status: str) -> str:
    """How a run with this status ended, for a sentence about its flow.

    Example:
        >>> how_it_ended("killed"), how_it_ended("failed")
        ('was killed', 'failed')
    """
    return "was killed" if status == "killed" else "failed"
