"""A row of the table of reasons: how its sentence is filled, and the remedies that depend on more than its fields."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import field
from functools import cache
from typing import Any, ClassVar, TypeAlias, TypeVar, dataclass_transform

from data_engine.formatting import cli_line, clock_text, plural, time_text, zoned_text
from data_engine.marks import IDLE, Look, Mark
from data_engine.record import Record, frozen

DAEMON_ENDING = "daemon_ending"
"""The kind of a block that is no reason of its own: the daemon only waits for its running work."""

FLOW_GONE = ("undeployed",)
"""The block of a flow that is neither in production nor a notebook any more."""

DEPEND = frozenset(
    (
        "held",
        "held_slot",
        "retry_later",
        "done",
        "disabled",
        "engine_off",
        "last_run_failed",
        "last_written",
        "outdated",
    )
)
"""The kinds of reasons whose remedy depends on what else keeps the flow from running."""

SILENT_FIX = f"wait until it answers, or end it: `{cli_line('kill')}`"
"""The remedy for a daemon that does not answer."""

STOPS_AT = "next step, map item, context.log or context.progress"
"""Where a run that was asked to stop ends, for people: each place that calls `may_work` of `data_engine/flow/control.py`."""

STOP_RUN = f"`{{on_run:stop}}` ends it at its {STOPS_AT}"
SEE_STATUS = "`{command:status}` shows what runs"
RUN_NOW = "`{on_flow:run}` runs it now"
CORRECT_SOURCE = (
    "create it, connect its drive, check its permissions, or correct source="
    " (relative paths start at the flow_modules folder)"
)


@frozen
class RemedyFacts:
    """The facts that a remedy is made of: the reason with its flow and source, the fix of the code (`mend`), and the kinds of what
    else keeps the flow from running (`blocked_by`)."""

    why: Any
    flow: str
    source: str | None = None
    mend: str | None = None
    blocked_by: Collection[str] = ()
    is_batch: bool = False

    def command(self, verb: str, *words: str) -> str:
        """The command."""
        return cli_line(*verb.split(), *words)

    def on_flow(self, verb: str, *words: str) -> str:
        """The command with the flow's name."""
        return cli_line(*verb.split(), self.flow, *words)

    def on_source(self, verb: str) -> str:
        """The command for the source, or for all without one."""
        return self.on_flow(verb, *(["--source", self.source] if self.source else []))

    def on_run(self, verb: str) -> str:
        """The command with the id of the reason's run."""
        return cli_line(verb, self.why.run_id[:SHORT_ID])

    @property
    def run_verb(self) -> str:
        """The command that runs the flow: one that is not deployed runs here, once."""
        return "run --once" if "not_deployed" in self.blocked_by else "run"

    @property
    def start(self) -> str:
        """The command that starts the engine."""
        ending = f", once the daemon has ended (it waits for its running work; `{cli_line('kill')}` ends it now),"
        return f"`{cli_line('start')}`" + (ending if DAEMON_ENDING in self.blocked_by else "")

    @property
    def fix(self) -> str:
        """The fix of the code, before the command that runs it again."""
        return f"; {self.mend}" if self.mend else ""


def remedy_of(
    why: Reason,
    flow: str,
    source: str | None = None,
    mend: str | None = None,
    blocked_by: Collection[str] = (),
    *,
    is_batch: bool = False,
) -> str | None:
    """The remedy for a reason, with the command; None where it changes by itself, or nothing is wrong.

    `mend` is the fix of the error of a held source. Without a `source` the words are about any of them. `blocked_by` are the kinds
    of what keeps the whole flow from running, so that a command that cannot work now is not named alone. A flow that `is_batch`
    runs for all of its files at once.

    Example:
        >>> from data_engine.reasons.kinds import Disabled, HeldSlot, Settling
        >>> remedy_of(Disabled(), "claims"), remedy_of(Settling(0.5), "claims")
        ('`data-engine enable claims` lets it run by itself', None)
        >>> remedy_of(HeldSlot("", None), "claims", blocked_by=["engine_off"])
        '`data-engine start` tries it again, with all that is held'
    """
    remedy = why.row.remedy
    if remedy is None:
        return None
    facts = RemedyFacts(why, flow, source, mend, blocked_by, is_batch)
    return filled(remedy, facts) if isinstance(remedy, str) else remedy(facts)


def retried(facts: RemedyFacts) -> str:
    """The command that retries what is held, by the flow's state."""
    it = "it" if facts.source or facts.why.kind == "held_slot" else "all of them"
    if "not_deployed" in facts.blocked_by:
        if facts.is_batch:
            return f"`{facts.on_flow('run --once')}` runs it for all of its files here, once"
        return f"`{facts.on_source('run --once')}` runs {it} here, once"
    first = f"`{facts.on_flow('enable')}`, then " if "disabled" in facts.blocked_by else ""
    if "engine_off" in facts.blocked_by:
        return f"{first}{facts.start} tries {it} again, with all that is held"
    when = "now" if facts.why.kind == "retry_later" else "again"
    change = ", or a change," if facts.why.kind == "held" else ""
    return f"{first}`{facts.on_source('retry')}`{change} tries {it} {when}"


def feed_shrunk(facts: RemedyFacts) -> str:
    """The command that accepts that the sources are gone, beside the other way on."""
    return f"put them back, or accept it: `{facts.on_flow('retry', '--accept')}` runs it with those that are there"


def upstream_running(facts: RemedyFacts) -> str:
    """The command that shows the run that it waits for, and the one that does not wait."""
    shows = "" if facts.why.run_id is None else f"`{facts.on_run('log')}` shows how far that is; "
    return f"{shows}{filled(RUN_NOW, facts)}, without what is still to come"


def held(facts: RemedyFacts) -> str:
    """The retry; after a failure first the command that shows the error."""
    if facts.why.status != "failed" or facts.why.run_id is None:
        return retried(facts)
    return f"`{facts.on_run('log')}` shows the whole error{facts.fix}; {retried(facts)}"


def last_run_failed(facts: RemedyFacts) -> str:
    """The commands that show its error, and run it again."""
    shows = "shows how far it got" if facts.why.status == "abandoned" else "shows the whole error"
    return f"`{facts.on_run('log')}` {shows}{facts.fix}; `{facts.on_flow(facts.run_verb)}` runs it again"


def slots_passed(facts: RemedyFacts) -> str:
    """The backfill that runs them."""
    since, until = facts.why.days
    words = ("--since", since, "--until", until, "--reprocess", "missing")
    return f"`{facts.on_flow('backfill', *words)}` runs them"


def outdated_text(why: Any) -> str:
    """How many outputs were made before a reference changed; of one run which it was.

    Example:
        >>> from data_engine.reasons.kinds import Outdated
        >>> Outdated("/ref/rates.csv", 9).text, Outdated("/ref/rates.csv", 1, "as_read").text
        ('rates.csv has changed since 9 outputs were made', '1 output was made with rates.csv as it is now')
    """
    name = why.path.replace("\\", "/").rpartition("/")[2]
    if why.run_id is not None:
        made = filled("was made by run {run_id:id} on {at_utc:time}", why)
        return f"{why.output or 'its result'} {made}, before {name} {'was gone' if why.state == 'gone' else 'changed'}"
    made = f"{plural(why.outputs, 'output')} {'was' if why.outputs == 1 else 'were'} made"
    if why.state == "as_read":
        return f"{made} with {name} as it is now"
    return f"{name} {'is gone' if why.state == 'gone' else 'has changed'} since {made}"


def outdated(facts: RemedyFacts) -> str | None:
    """The command that makes the outputs again."""
    why = facts.why
    if why.state == "as_read":
        return None
    back = "put it back, or correct the flow; then " if why.state == "gone" else ""
    again = facts.on_flow(facts.run_verb) if why.by_hand else facts.on_flow("backfill", "--reprocess", "outdated")
    return f"{back}`{again}` makes {'it' if why.outputs == 1 else 'them'} again"


def end_run(facts: RemedyFacts) -> str | None:
    """The way to end a run, by the process it is in."""
    if facts.why.pid is not None:
        return _end_it_there(facts.why.pid)
    return filled(STOP_RUN, facts) if facts.why.run_id else None


def waits_for_group(facts: RemedyFacts) -> str:
    """The way to end the run that it waits for."""
    runs = facts.why.runs
    if not runs:
        return filled(SEE_STATUS, facts)
    if not runs[0].in_daemon:
        return _end_it_there(runs[0].pid)
    return f"`{cli_line('stop', runs[0].run_id[:SHORT_ID])}` ends what it waits for, at its {STOPS_AT}"


def _end_it_there(pid: int) -> str:
    return f"end it where it runs, in process {pid}: with Ctrl-C, or by an interrupt of the kernel"


def disabled(facts: RemedyFacts) -> str:
    """The commands that enable it, and start an engine that is off."""
    enable = f"`{facts.on_flow('enable')}` lets it run by itself"
    return f"{enable}, and {facts.start} starts the engine" if "engine_off" in facts.blocked_by else enable


def done(facts: RemedyFacts) -> str:
    """The command that runs it again; of a batch that is held since its feed has shrunk, what is said there."""
    if "feed_shrunk" in facts.blocked_by:
        return feed_shrunk(facts)
    if facts.is_batch:
        return f"`{facts.on_flow(facts.run_verb)}` runs it again, for all of its files"
    if facts.why.by_earlier:
        return f"`{facts.on_flow('backfill', '--reprocess', 'all')}` runs all files again"
    if facts.source:
        return f"`{facts.on_source(facts.run_verb)}` runs it again"
    return f"`{facts.on_flow(facts.run_verb)} --source FILE` runs it again"


def not_deployed(facts: RemedyFacts) -> str:
    """The correction it needs first, and the deploy."""
    error, shared = facts.why.error, facts.why.shares_with
    deploy = f"`{facts.on_flow('deploy')}` lets production run it"
    if getattr(facts.why, "rolled_back_to", None) is not None and not error:  # who went back does not want it as it is
        return f"correct what made you go back, then {deploy}"
    if shared is not None:
        both = f"`{facts.on_flow('deploy', '--yes')}` lets both write there"
        return f"give it another mirror(root=...) than that of {shared}, then {deploy}; {both}"
    return f"correct what is wrong, then {deploy}" if error else deploy


def last_written(facts: RemedyFacts) -> str | None:
    """The log of the run that wrote it; for an output that is gone also the command that makes it again."""
    if facts.why.run_id is None:
        return None
    shown = f"`{facts.on_run('log')}` shows all of it"
    if facts.why.state == "set_aside":
        return f"`{facts.on_flow('tidy', '--back')}` moves back what was moved aside last; {shown}"
    if facts.why.state != "gone" or "undeployed" in facts.blocked_by:
        return shown
    again = "makes it again, where it is given those parameters" if facts.why.params else "makes it again"
    return f"`{facts.on_source(facts.run_verb)}` {again}; {shown}"


def rows_recorded(facts: RemedyFacts) -> str | None:
    """The log of the run that wrote the rows."""
    return None if facts.why.run_id is None else f"`{facts.on_run('log')}` shows all of it"


def name_filtered(facts: RemedyFacts) -> str:
    """Another name, except for files that Excel and Word make and remove themselves."""
    if facts.why.part.startswith("~$"):
        return "nothing: Excel or Word made it beside a file that is open there, and removes it when that is closed"
    return "give it another name"


def undeployed(facts: RemedyFacts) -> str:
    """The command that shows it under its new name, or brings it back."""
    if facts.why.renamed_to is not None:
        return f"`{cli_line('explain', facts.why.renamed_to)}` shows it"
    if not facts.why.is_kept:
        return f"`{facts.on_flow('runs')}` shows what it did"
    return f"`{facts.on_flow('restore')}` brings its notebook back, `{facts.on_flow('rollback')}` lets production run it again"


R = TypeVar("R", bound="Reason")
Words: TypeAlias = str | Callable[[Any], str | None]
"""A sentence with its fields in braces, or a function that makes one from the reason."""

SHORT_ID = 8
"""Letters of a run's id that are shown."""

_FORMS: Mapping[str, Callable[[Any, Any], str]] = {
    "": lambda value, of: str(value),
    "if": lambda value, of: "",
    "id": lambda value, of: (value or "?")[:SHORT_ID],
    "list": lambda value, of: ", ".join(value),
    "or": lambda value, of: " or ".join(value),
    "quoted": lambda value, of: repr(value),
    "time": lambda value, of: time_text(value),
    "zoned": lambda value, of: zoned_text(value, getattr(of, "tz", None)),
    "clock": lambda value, of: clock_text(value, getattr(of, "tz", None)),
}
_OPTIONAL = re.compile(r"\[([^\[\]{}]*\{[^\[\]]*)\]")
_FIELD = re.compile(r"\{(\w+)(?::([^{}]*))?\}")


def filled(sentence: str, of: object) -> str:
    """A sentence filled with the fields of a value. A part in brackets with fields stays only where none of them is empty.

    `{at_utc:time}` is a form of `_FORMS`, else a format of Python's; a method gets the form as its argument.

    Example:
        >>> from types import SimpleNamespace
        >>> [filled("failed[: {error}] [retry]", SimpleNamespace(error=error)) for error in ("oh", None)]
        ['failed: oh [retry]', 'failed [retry]']
    """

    if "{" not in sentence:
        return sentence
    pieces: list[str] = []
    for needed, part in _parts(sentence):
        if not needed or all(getattr(of, name) for name in needed):
            pieces += [text if name is None else _shown(of, name, text) for name, text in part]
    return "".join(pieces)


@cache
def _parts(sentence: str) -> tuple[tuple[tuple[str, ...], tuple[tuple[str | None, str], ...]], ...]:
    """The parts of a sentence, each with the fields that it needs, as texts (no name) and fields with their forms."""
    parts = []
    for number, text in enumerate(_OPTIONAL.split(sentence)):
        pieces = _FIELD.split(text)  # text, name, form, text, ...
        part: list[tuple[str | None, str]] = []
        for at in range(0, len(pieces), 3):
            part.append((None, pieces[at]))
            part += [(pieces[at + 1], pieces[at + 2] or "")] if at + 1 < len(pieces) else []
        needs = tuple(name for name, _ in part if name is not None) if number % 2 else ()
        parts.append((needs, tuple(part)))
    return tuple(parts)


def _shown(of: object, name: str, form: str) -> str:
    value = getattr(of, name)
    if callable(value):
        return str(value(form))
    return _FORMS[form](value, of) if form in _FORMS else format(value, form)


@frozen
class Row:
    """The table's row for one kind of reason: its `sentence`, the `remedy` (None where it changes by itself) and its `look`."""

    sentence: Words
    remedy: Words | None = None
    look: Look = IDLE


class Reason(Record):
    """Why something runs or does not. As JSON it is its `kind` and its fields."""

    __slots__ = ()
    computed: ClassVar = ("kind",)
    kind: ClassVar[str]
    row: ClassVar[Row]

    @property
    def text(self) -> str:
        """The sentence for people."""
        sentence = self.row.sentence
        return filled(sentence, self) if isinstance(sentence, str) else sentence(self) or ""

    def mark(self, word: str | None = None) -> Mark:
        """Its mark; `word` stands for its sentence."""
        return Mark(self.text if word is None else word, *self.row.look, self.kind)


KINDS: dict[str, type[Reason]] = {}
"""Every kind a reason can be of."""


@dataclass_transform(frozen_default=True, eq_default=False, field_specifiers=(field,))
def reason(kind: str, sentence: Words, remedy: Words | None = None, look: Look = IDLE) -> Callable[[type[R]], type[R]]:
    """Make a class of fields a row of the table."""

    def listed(fields: type[R]) -> type[R]:
        cls = frozen(fields)
        cls.kind, cls.row = kind, Row(sentence, remedy, look)
        KINDS[kind] = cls
        return cls

    return listed
