"""Poll the folder of one flow: scan, compare, hand over what is due, and hear how its runs end.

It knows nothing of how runs are made. One thread calls `poll`; `note`, `give_back`, `hint`, `reload` and `free` may be
called from any, and take effect at the next poll.

What the flow's own runs write beside its sources is no source. A file may be seen long before the run that wrote it reports
so; therefore a file that is first seen while runs are under way is judged when they have ended and were heard.
"""

from __future__ import annotations

import math
import os
import time
import unicodedata
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Set
from dataclasses import replace
from datetime import datetime
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple

from data_engine.clock import boot_clock
from data_engine.engine.candidates import content_hash
from data_engine.flow.paths import portable_text
from data_engine.flow.trigger import Poll
from data_engine.ledger.outputs import writers_of_gone
from data_engine.ledger.rows import SourceStates
from data_engine.model import (
    Event,
    FeedCount,
    RunFinished,
    RunStarted,
    SeenSource,
    Signature,
    SourceKey,
    SourceState,
    StepFinished,
)
from data_engine.planning.due import (
    HELD_STATUSES,
    Due,
    NotDue,
    PlannedFlow,
    SeenFile,
    SourceRules,
    Verdict,
    holds,
    is_retryable,
    judge,
    judge_batch,
    matches,
    settling_s,
    state_after,
    why_not_there,
)
from data_engine.planning.feeds import Backlog
from data_engine.reasons.kinds import (
    Done,
    FeedShrunk,
    Held,
    Locked,
    Looks,
    MayBeOutput,
    NeedsHash,
    NotThere,
    OwnOutput,
    RetryLater,
    Running,
    Settling,
    Unreachable,
    UpstreamRunning,
    WaitsForSettling,
)
from data_engine.reasons.remedies import Reason
from data_engine.scheduler.feed_hold import FeedHold, FeedWaits
from data_engine.scheduler.scanner import FileEvents, FolderEvents, FolderScans, Scan, Scanner, ScanPace

if TYPE_CHECKING:
    from data_engine.ledger.ledger import Ledger

_WAITS = (Settling, Locked, RetryLater, NeedsHash, MayBeOutput)

_RARER = 1.5
"""By how much looks may be rarer than written before somebody is told."""


class FolderPoller:
    """Finds the due files of a poll flow's source.

    `read` gives what earlier runs left, and is asked again after `reload()`; `rules` the workspace's settings. `events` wakes it
    between scans; `wake` is called when there is something to look at. `under_way` are the ids of the flow's runs that were
    handed to an executor and have not ended; they stay there until their report was given to `note`. `waits` are those of batches for
    flows that feed them.
    """

    def __init__(
        self,
        planned: PlannedFlow,
        *,
        read: Callable[[], KnownSources],
        rules: SourceRules | None = None,
        events: FileEvents | None = None,
        wake: Callable[[], None] = lambda: None,
        under_way: set[str] | None = None,
        waits: FeedWaits | None = None,
        clock: Callable[[], float] = boot_clock,
        wall: Callable[[], float] = time.time,
    ) -> None:
        trigger = planned.trigger
        assert isinstance(trigger, Poll)
        assert trigger.source is not None
        self.planned = planned
        self.root: Path = trigger.source
        self.next_look_s = clock()
        self._trigger = trigger
        self._scanner = Scanner(trigger.source, trigger.extensions, skip=planned.mirror)
        self._root_as_authored = planned.key("").root
        self._clock, self._wall, self.wake = clock, wall, wake
        self._under_way: set[str] = set() if under_way is None else under_way
        self._live: frozenset[str] = frozenset()
        self._inbox: deque[Callable[[], None]] = deque()
        self._pace = ScanPace(interval_s=trigger.interval_seconds, now_s=clock())
        self._open: dict[str, SeenFile] = {}
        self._handed: dict[SourceKey, Due] = {}
        self._handed_names: dict[SourceKey, str] = {}
        self._held: set[SourceKey] = set()
        self._paused: dict[SourceKey, RetryLater] = {}
        self._hold = FeedHold(planned, waits)
        self._events = FolderEvents(events, self.root, self.hint)
        self._scans = FolderScans(
            self._scanner,
            self._pace,
            self._events,
            in_parts=not self._is_batch,
            take=self._take,
            clock=clock,
            wall=wall,
        )
        self._memory = SourceMemory(planned.flow, read=read, rules=rules or SourceRules())
        self._outputs = OwnOutputs()
        self._remember()

    # -- any thread ------------------------------------------------------------------------------------------------

    def note(self, *events: Event) -> None:
        """Take events of this flow's runs; when a run has ended there is something to look at."""
        noted = [event for event in events if isinstance(event, (RunStarted, StepFinished, RunFinished))]
        self._under_way.update(event.run_id for event in noted if isinstance(event, RunStarted))
        if noted:
            self._inbox.extend([partial(self._note, event) for event in noted])
        ended = [event.run_id for event in noted if isinstance(event, RunFinished)]
        if ended:
            self._under_way.difference_update(ended)
            self.wake()

    def give_back(self, due: Due) -> None:
        """Take back what was due and is not run: it will be judged again."""
        self._post(partial(self._reopen, due))

    def hint(self, path: str) -> None:
        """Look at this path at the next poll."""
        self._scans.hint(path)
        self.wake()

    def reload(self) -> None:
        """Read again, and judge everything anew: others have written."""
        self._post(self._remember, self._judge_all_again)

    def expect_new_code(self) -> None:
        """Forget where the flow's code writes: it was edited."""
        self._outputs.expect_new_code()

    def use_rules(self, rules: SourceRules) -> None:
        """Judge everything by these settings of the workspace from now on."""
        self._post(partial(self._memory.use_rules, rules), self._judge_all_again)

    def free(self, keys: frozenset[SourceKey] | None = None) -> None:
        """Hold these sources (all without, as when a person starts the engine) no longer."""
        self._post(partial(self._memory.free, keys), self._judge_all_again)

    def accept(self) -> FeedShrunk | None:
        """Let the batch run with the sources that are there; the reason that held it, None where there was none."""
        held = self._hold.why
        if held is not None:
            self._post(self._accept, self._judge_all_again)
        return held

    @property
    def feed_shrunk(self) -> FeedShrunk | None:
        """The reason that holds the batch, whose files are gone; None where there is none."""
        return self._hold.why

    @property
    def waits_for(self) -> UpstreamRunning | None:
        """The reason why the batch, which is due, waits for flows that feed it."""
        return self._hold.waits_for

    @property
    def others(self) -> int:
        """How often runs of other processes had been noticed when what is known was read; asked in the thread that polls."""
        return self._memory.others

    @property
    def held(self) -> int:
        """How many files were held when they were last judged."""
        return len(self._held)

    @property
    def retries_to_come(self) -> list[tuple[str, RetryLater]]:
        """The files that `[retry]` tries again later, each with when and why, as they were last judged; the soonest first."""
        retries = [(str(self._scanner.path(key.path)), why) for key, why in list(self._paused.items())]
        return sorted(retries, key=lambda retry: retry[1].at_utc)

    # -- the one thread --------------------------------------------------------------------------------------------

    def poll(self, fresh_s: float = -math.inf) -> list[Due]:
        """Look where it is time to, and hand over what is due now, by path; each only once until its run has ended.

        Where the last look through the folder began before `fresh_s`, another one begins soon.
        """
        self._take_inbox()
        if self._scans.whole_s < fresh_s:
            self._pace.scan_soon()
        now_s = self._clock()
        self._scans.look()
        # In this order: a run that could have written what was seen just now is either under way still, or its report is in.
        self._live = frozenset(self._under_way)
        self._take_inbox()
        due = [] if self.unreachable is not None else self._judge_open()
        if not due:  # what the first scan found need not wait
            self._scans.listen()
        next_s = look_for_all_s(self._deadlines())
        next_s = self._pace.next_s if next_s is None else min(self._pace.next_s, next_s)
        self.next_look_s = next_s if self._scans.has_listened else now_s
        return due

    def backlog(self) -> Backlog:
        """What is due, settles or runs, as the last whole look has seen it; not what is held, out of reach, or tried again later."""
        open_ = {(seen.key, *seen.signature[:2]) for due in self._handed.values() for seen in due.seen}
        for key, name in self._handed_names.items():  # what has changed since it was handed over runs once more
            open_.add((key, *(self._scanner.signature(name) or ())[:2]))
        is_stuck = self._hold.why is not None or self.unreachable is not None
        if self._is_batch:
            is_stuck = is_stuck or any(file.locked_by is not None for file in self._open.values())
        for name, file in () if is_stuck else self._open.items():
            key = self._key(name)
            if file.locked_by is None and key not in self._paused:
                open_.add((key, *file.signature[:2]))
        return Backlog(self._scans.whole_s, frozenset(open_))

    def _take_inbox(self) -> None:
        while self._inbox:
            self._inbox.popleft()()

    def name_of(self, due: Due) -> str:
        """The path inside the source root of what was handed over, as the drive spells it; "" is a batch or a single file."""
        return "" if due.key is None else self._handed_names.get(due.key, due.key.path)

    @property
    def unreachable(self) -> Unreachable | None:
        """Since when the folder is away; None where it is there."""
        return self._scans.unreachable

    @property
    def troubles(self) -> dict[str, str]:
        """The subfolders that could not be read, and why."""
        return self._scans.troubles

    @property
    def next_scan_s(self) -> float:
        """When the folder is looked through next, on the clock it was given."""
        return self._pace.next_s

    @property
    def is_scanning(self) -> bool:
        """Whether a look through the folder has begun and not ended: a first one is made in parts."""
        return self._scans.is_under_way

    @property
    def looks(self) -> Looks:
        """How often the folder is looked through."""
        return Looks(self._pace.cadence_s, self._pace.took_s, self._events.come)

    @property
    def slow_looks(self) -> Looks | None:
        """The looks where they are much rarer than every `interval`: looks take so long, or file events make them needless."""
        return self.looks if self._pace.cadence_s > max(_RARER * self._trigger.interval_seconds, 1.0) else None

    def verdicts(self, path: str | None = None) -> Iterator[Verdict]:
        """Why each candidate is due or not, and for a batch its folder; as planned, from the last look.

        With the `path` of one inside the root only that one's; nothing when no such file was seen.
        """
        if self.unreachable is not None:
            yield NotDue(self.planned.key(path or ""), self.unreachable)
            return
        now_s = self._clock()
        if path:
            signature, key = self._scanner.signature(path), self._key(path)
            files = self._scanner.files() if signature is None else [(path, signature)]
            yield from (self._verdict(*file, now_s) for file in files if self._key(file[0]) == key)
            return
        verdicts = [self._verdict(name, signature, now_s) for name, signature in self._scanner.files()]
        yield from verdicts
        if self._is_batch and self._scanner.signature("") is None:
            key = self.planned.key("")
            yield (
                NotDue(key, Running())
                if key in self._handed
                else judge_batch(
                    key, verdicts, self._seen_of_all(), lambda count: self.waits_for or self._why_shrunk(count)
                )
            )

    def listing(self) -> Iterator[tuple[str, Verdict | None]]:
        """Each candidate by its path inside the root, in no order, with its verdict: None where the last good run saw it as it
        is. Then each file that is known from earlier runs and not there any more."""
        if self.unreachable is not None:
            for key in self._memory.under(self._root_as_authored):
                yield key.path, NotDue(key, self.unreachable)
            return
        now_s = self._clock()
        keys = set()
        for name, signature in self._scanner.files():
            key = self._key(name)
            keys.add(key)
            is_good = self._memory.states.is_good(key, signature) and key not in self._handed and name not in self._open
            yield name, None if is_good else self._verdict(name, signature, now_s)
        for key in self._memory.under(self._root_as_authored):
            if key not in keys:
                yield key.path, NotDue(key, self.why_not_there(key.path))

    def state(self, name: str) -> SourceState | None:
        """The state that earlier runs left of the file at this path inside the root."""
        return self._memory.states.get(self._key(name))

    def why_not_there(self, path: str) -> NotThere:
        """The reason why the file at `path` inside the root has no verdict."""
        return why_not_there(self.state(path), path, (name for name, _ in self._scanner.files()))

    def close(self) -> None:
        """Listen to events no longer."""
        self._events.forget()

    # -- looking ---------------------------------------------------------------------------------------------------

    def _take(self, scan: Scan) -> None:
        now_s = self._clock()
        for name in scan.gone:
            self._open.pop(name, None)
            self._note_why(self._key(name), None)
        for name, signature in scan.seen.items():
            key = self._key(name)
            if self._memory.states.is_good(key, signature):
                self._open.pop(name, None)
                self._note_why(key, None)
                continue
            file = self._open.get(name)
            if (file is None or file.signature[:2] != signature[:2]) and not self._is_handed(name):
                self._open[name] = SeenFile(signature, now_s, now_s)

    def _is_handed(self, name: str) -> bool:
        # A batch that runs has its own list; what changes meanwhile is judged when it has ended.
        return bool(self._handed) and not self._is_batch and self._key(name) in self._handed

    # -- judging ---------------------------------------------------------------------------------------------------

    def _judge_open(self) -> list[Due]:
        if self._is_batch and self._handed:
            return []
        verdicts = [(name, verdict) for name in list(self._open) if (verdict := self._judge_file(name)) is not None]
        if self._is_batch:
            return self._hand_batch([verdict for _, verdict in verdicts])
        handed = []
        for name, verdict in verdicts:
            if isinstance(verdict, Due) and verdict.key is not None:
                del self._open[name]
                self._handed[verdict.key] = verdict
                self._handed_names[verdict.key] = name
                handed.append(verdict)
        return sorted(handed, key=lambda due: due.key or ())

    def _judge_file(self, name: str) -> Verdict | None:
        """Look again where it is time to, and judge; None where the file cannot be read."""
        self._see_again(name, self._clock())
        seen_file = self._open.get(name)
        if seen_file is None:
            return None
        if seen_file.suspects is None:
            self._open[name] = seen_file = seen_file._replace(suspects=self._live)
        verdict = self._judge(name, seen_file)
        if isinstance(verdict, Due) or isinstance(verdict.why, NeedsHash):
            locked_by = self._scanner.who_locks(name)
            if locked_by is not None:
                now_s = self._clock()
                verdict = self._judge_as(name, seen_file._replace(since_s=now_s, last_s=now_s, locked_by=locked_by))
        if isinstance(verdict.why, NeedsHash) and self._scanner.is_elsewhere(name):
            verdict = self._judge_as(name, self._open[name]._replace(is_elsewhere=True))
        if isinstance(verdict.why, NeedsHash):
            digest = content_hash(self._scanner.path(name))
            if digest is None:
                self._lose(name)
                return None
            signature = self._open[name].signature._replace(content_hash=digest)
            verdict = self._judge_as(name, self._open[name]._replace(signature=signature))
        if isinstance(verdict, NotDue) and not isinstance(verdict.why, _WAITS):
            del self._open[name]
        self._note_why(self._key(name), verdict.why)
        return verdict

    def _note_why(self, key: SourceKey, why: Reason | None) -> None:
        (self._held.add if isinstance(why, Held) else self._held.discard)(key)
        if isinstance(why, RetryLater):
            self._paused[key] = why
        else:
            self._paused.pop(key, None)

    def _judge_as(self, name: str, seen_file: SeenFile) -> Verdict:
        self._open[name] = seen_file
        return self._judge(name, seen_file)

    def _hand_batch(self, verdicts: list[Verdict]) -> list[Due]:
        due = judge_batch(self.planned.key(""), verdicts, self._seen_of_all(), self._why_held)
        self._hold.why = due.why if isinstance(due.why, FeedShrunk) else None
        if not isinstance(due, Due) or due.key is None:
            if not isinstance(due.why, (*_WAITS, WaitsForSettling, UpstreamRunning, FeedShrunk)):
                self._hold.end_wait(is_begun=False)
            return []
        self._hold.end_wait(is_begun=True)
        self._open.clear()
        self._handed[due.key] = due
        return [due]

    def _why_held(self, count: int) -> Reason | None:
        return self._hold.upstream(self._scans.whole_s) or self._why_shrunk(count)

    def _why_shrunk(self, count: int) -> FeedShrunk | None:
        return self._hold.judge(
            self._memory.feeds.get(self._root_as_authored),
            self._memory.writers_of_gone,
            local_s=self._clock(),
            now_s=self._wall(),
            sources=count,
        )

    def _accept(self) -> None:
        self._hold.is_accepted = True

    def _seen_of_all(self) -> Iterator[SeenSource]:
        for name, signature in self._scanner.files():
            key = self._key(name)
            state = self._memory.states.get(key)
            if state is None and self._is_output(name):
                continue
            looked_at = self._open.get(name)
            signature = self._memory.hashed(key, signature, None if looked_at is None else looked_at.signature)
            yield SeenSource(key, signature)

    def _judge(self, name: str, seen_file: SeenFile) -> Verdict:
        key = self._key(name)
        state = self._memory.states.get(key)
        output = None if state is not None else self._why_output(name, seen_file.suspects or frozenset())
        rules, settle_s, now_s = self._memory.rules, self._trigger.settle, self._wall()
        return judge(key, seen_file, state, rules, settle_s=settle_s, now_s=now_s, output=output)

    def _why_output(self, name: str, suspects: Set[str]) -> OwnOutput | MayBeOutput | None:
        if self._is_output(name):
            return OwnOutput()
        is_parallel = self._trigger.max_parallel != 1
        return MayBeOutput() if self._outputs.may_be_written_by(suspects, self._live, is_parallel=is_parallel) else None

    def _verdict(self, name: str, signature: Signature, now_s: float) -> Verdict:
        key = self._key(name)
        if key in self._handed:
            return NotDue(key, Running())
        seen_file = self._open.get(name) or SeenFile(signature, now_s - self._trigger.settle, now_s, frozenset())
        verdict = self._judge(name, seen_file)
        if isinstance(verdict.why, Settling):
            return NotDue(key, Settling(settling_s(seen_file.since_s, now_s, self._trigger.settle)))
        if isinstance(verdict.why, NeedsHash) and name not in self._open and (state := self._memory.states.get(key)):
            # Judged before, and closed: its hash was that of the good run.
            return NotDue(key, Done(state.success_run_id, state.success_at_utc))
        return verdict

    def _see_again(self, name: str, now_s: float) -> None:
        """Look a second time at a file that has been quiet for long enough."""
        signature, since_s, _, suspects, *_ = self._open[name]
        second_look_s = self._open[name].second_look_s(self._trigger.settle)
        if second_look_s is None or now_s < second_look_s:
            return
        now = self._scanner.see_again(name)
        if now is None:
            self._lose(name)
        elif now[:2] == signature[:2]:
            self._open[name] = SeenFile(signature, since_s, now_s, suspects)
        else:
            self._open[name] = SeenFile(now, self._clock(), self._clock())

    def _lose(self, name: str) -> None:
        """Forget a file that cannot be read: the next scan that sees it takes it for new, and may come soon."""
        self._open.pop(name, None)
        self._note_why(self._key(name), None)
        self._scanner.forget(name)
        self._pace.scan_soon(self._clock() + self._trigger.interval_seconds)

    def _deadlines(self) -> Iterator[float]:
        if self.unreachable is not None or (self._is_batch and self._handed):
            return
        now_s, wall_s = self._clock(), self._wall()
        for name, seen_file in self._open.items():
            second_look_s = seen_file.second_look_s(self._trigger.settle)
            if second_look_s is not None:
                yield second_look_s
            elif (state := self._memory.states.get(self._key(name))) is not None and state.last_at_utc is not None:
                verdict = self._judge(name, seen_file)
                if isinstance(verdict.why, RetryLater):
                    yield now_s + max(0.0, datetime.fromisoformat(verdict.why.at_utc).timestamp() - wall_s)

    # -- what happens in runs --------------------------------------------------------------------------------------

    def _note(self, event: RunStarted | StepFinished | RunFinished) -> None:
        if isinstance(event, StepFinished):
            for path in event.outputs:
                self._outputs.returned(path, is_written=self._is_written(path, event.run_id))
        elif isinstance(event, RunFinished):
            if event.status == "success":
                self._outputs.run_went_well()
                if event.spent is not None and event.spent.feed is not None and self._is_batch:
                    self._memory.feeds[self._root_as_authored] = event.spent.feed._replace(run_id=event.run_id)
                    self._hold.is_accepted = False
            for source in event.seen:
                self._record_end(source, event)
            for key in {source.key for source in event.seen} & self._handed.keys():
                self._reopen(self._handed[key])
            batch = self._handed.get(self.planned.key(""))
            if batch is not None and self._is_batch:
                self._reopen(batch)

    def _record_end(self, source: SeenSource, end: RunFinished) -> None:
        state, key = self._memory.record(source, end), source.key
        # What was handed over is judged anew; what somebody ran by hand is not.
        is_here = key == self._key(key.path) and self._scanner.signature(key.path) is not None
        (self._held.add if is_here and holds(state) else self._held.discard)(key)
        self._paused.pop(key, None)

    def _is_written(self, path: str, run_id: str) -> bool:
        """Whether the run wrote the file it returned: steps also return the very source they were given."""
        name = self._inside(path)
        if name is None or path in self._outputs:
            return name is not None
        seen_file = self._open.get(name)
        if seen_file is not None:
            return seen_file.suspects is None or run_id in seen_file.suspects
        return self._scanner.signature(name) is None

    def _reopen(self, due: Due) -> None:
        if due.key is None or self._handed.get(due.key) is not due:
            return
        del self._handed[due.key]
        name = self._handed_names.pop(due.key, None)
        now_s = self._clock()
        if self._is_batch and name is None:
            for other, signature in self._scanner.files():
                self._open.setdefault(other, SeenFile(signature, now_s, now_s, frozenset()))
        elif name is not None:
            for spelling in spellings(name):
                self._open_again(spelling, now_s)

    def _open_again(self, name: str, now_s: float) -> None:
        if self._scanner.signature(name) is None:
            return
        signature = self._scanner.see_again(name)
        if signature is None:
            self._lose(name)
        elif not self._memory.states.is_good(self._key(name), signature):
            self._open[name] = SeenFile(signature, now_s, now_s, frozenset())

    def _remember(self) -> None:
        outputs = self._memory.read()
        self._outputs.remember(path for path in outputs if self._inside(path) is not None)

    def _judge_all_again(self) -> None:
        now_s = self._clock()
        for name, signature in self._scanner.files():
            if self._memory.states.is_good(self._key(name), signature):
                self._note_why(self._key(name), None)
            elif name not in self._open and not self._is_handed(name):
                self._open[name] = SeenFile(signature, now_s, now_s, frozenset())

    # -- names -----------------------------------------------------------------------------------------------------

    def _key(self, name: str) -> SourceKey:
        """The key on every workstation, however its drive spells the name; of two files that only differ in that, its own."""
        portable = name if name.isascii() else portable_text(name)
        is_taken = portable != name and self._scanner.signature(portable) is not None
        return SourceKey(self._root_as_authored, name if is_taken else portable)

    def _inside(self, path: str) -> str | None:
        """The name of a candidate at this absolute path; None when it lies elsewhere."""
        root = self._scanner.root
        if path == root:
            return ""
        lead = root.rstrip(os.sep) + os.sep
        return path[len(lead) :].replace(os.sep, "/") if path.startswith(lead) else None

    @property
    def _is_batch(self) -> bool:
        return self._trigger.run_as == "batch"

    def _is_output(self, name: str) -> bool:
        return bool(self._outputs) and self._scanner.path(name).replace("/", os.sep) in self._outputs

    def _post(self, *acts: Callable[[], None]) -> None:
        self._inbox.extend(acts)
        self.wake()


class OwnOutputs:
    """The files that steps of one flow returned, as absolute paths.

    Example:
        >>> own = OwnOutputs()
        >>> own.may_be_written_by(frozenset({"r1"}), frozenset({"r1"}), is_parallel=True)
        True
        >>> own.run_went_well()
        >>> own.may_be_written_by(frozenset({"r1"}), frozenset({"r1"}), is_parallel=True)
        False
    """

    def __init__(self) -> None:
        self._written: set[str] = set()
        self._only_read: set[str] = set()
        self._is_known = False

    def __contains__(self, path: str) -> bool:
        return path in self._written

    def __bool__(self) -> bool:
        return bool(self._written)

    def remember(self, paths: Iterable[str]) -> None:
        """Take these for written, but for those that a step was seen to return as it got them."""
        self._written |= set(paths) - self._only_read

    def returned(self, path: str, *, is_written: bool) -> None:
        """Note the path that a step returned: of a file that its run wrote, or of one that it read."""
        (self._written if is_written else self._only_read).add(path)

    def run_went_well(self) -> None:
        """Note that where the flow writes was seen."""
        self._is_known = True

    def expect_new_code(self) -> None:
        """Forget where the flow writes: it was edited."""
        self._is_known = False

    def may_be_written_by(self, suspects: Set[str], live: Set[str], *, is_parallel: bool) -> bool:
        """Whether one of the `suspects` (runs under way when a file was first seen) that are still `live` may have written it.

        Where several sources run at once new ones need not wait for a slow run of a flow that has shown to write elsewhere.
        """
        if suspects.isdisjoint(live):
            return False
        return not is_parallel or bool(self._written) or not self._is_known


_TOGETHER_S = 0.25
"""Files that come within so long are taken in one look, and so in the order of their paths."""


def look_for_all_s(deadlines: Iterable[float]) -> float | None:
    """When to look, so that what comes at about the same time is taken together; None where nothing is to come.

    Example:
        >>> look_for_all_s([11.0, 10.9, 10.75, 12.0]), look_for_all_s([])
        (11.0, None)
    """
    times = list(deadlines)
    latest = min(times, default=0.0) + _TOGETHER_S
    return max((at_s for at_s in times if at_s <= latest), default=None)


def spellings(name: str) -> set[str]:
    """The name in each Unicode form: a drive may take them for different files, though people read the same.

    Example:
        >>> spellings("a.csv"), len(spellings("caf\u00e9.csv"))
        ({'a.csv'}, 2)
    """
    return {name} if name.isascii() else {name, *(unicodedata.normalize(form, name) for form in ("NFC", "NFD"))}


class KnownSources(NamedTuple):
    """The known states of a flow's sources, and the files its steps returned, as absolute paths.

    `others` is how often runs of other processes had been noticed when it was read. `feeds` are what the last good batches took, by
    root; `writers_of_gone` finds the flows that wrote files of a folder which are gone.
    """

    states: SourceStates
    outputs: frozenset[str] | set[str] = frozenset()
    others: int = 0
    feeds: Mapping[str, FeedCount] = MappingProxyType({})
    writers_of_gone: Callable[[str], tuple[str, ...]] = lambda root: ()


def known_sources(ledger: Ledger, flow: str) -> KnownSources:
    """What the ledger knows of the flow's sources, without the files it has returned.

    Raises:
        LedgerError: it cannot be read.
    """
    return KnownSources(
        ledger.source_states(flow), feeds=ledger.feeds(flow), writers_of_gone=partial(writers_of_gone, ledger)
    )


class SourceMemory:
    """The states of a flow's sources, from `read` and from runs since; and the `rules` of its workspace."""

    def __init__(self, flow: str, *, read: Callable[[], KnownSources], rules: SourceRules) -> None:
        self._flow = flow
        self._read = read
        self.states = SourceStates(flow)
        self.others = 0
        self.feeds: dict[str, FeedCount] = {}
        self.writers_of_gone: Callable[[str], tuple[str, ...]] = lambda root: ()
        self._failures: dict[SourceKey, int] = {}
        self._freed: set[str] = set()
        self.use_rules(rules)

    def under(self, root: str) -> list[SourceKey]:
        """The sources that are known under this root, as authored; another thread may make some known meanwhile."""
        return [key for key in self.states if key.root == root]

    def read(self) -> frozenset[str] | set[str]:
        """Read what others have written; the files that steps of the flow have returned."""
        sources = self._read()
        self.states, self.others = sources.states, sources.others
        self.feeds, self.writers_of_gone = dict(sources.feeds), sources.writers_of_gone
        return sources.outputs

    def use_rules(self, rules: SourceRules) -> None:
        """Judge by these from now on; what was freed and has failed stays so."""
        self.rules = replace(rules, freed=self._freed, failures=self._failures)

    def free(self, keys: frozenset[SourceKey] | None) -> None:
        """Hold these sources (all without) no longer for how their last run ended."""
        self._freed |= {
            state.last_run_id
            for state in self.states.not_good()
            if state.status in _FREED and state.last_run_id is not None and (keys is None or state.key in keys)
        }

    def record(self, source: SeenSource, end: RunFinished) -> SourceState:
        """Record the end of a run of the source; its state now."""
        before = self.states.get(source.key)
        state = state_after(before, self._flow, source, end)
        self.states.put(state)
        if is_retryable(end):
            is_again = before is not None and before.last[:2] == source.signature[:2]
            self._failures[source.key] = self._failures.get(source.key, 0) + 1 if is_again else 1
        else:
            self._failures.pop(source.key, None)
        return state

    def hashed(self, key: SourceKey, signature: Signature, looked_at: Signature | None) -> Signature:
        """The signature with the content's hash, where the content counts and its hash is known.

        `looked_at` is the signature of a file that is being judged.
        """
        if not self.rules.by_content:
            return signature
        if looked_at is not None:
            return looked_at
        state = self.states.get(key)
        if state is not None and state.success and matches(signature, state.success, by_content=False):
            return signature._replace(content_hash=state.success.content_hash)
        return signature


_FREED = (*HELD_STATUSES, "abandoned")
