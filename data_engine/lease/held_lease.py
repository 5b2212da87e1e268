"""The lease of an owner: the actions that only it may do, under the fencing token that its claim has won.

Not thread-safe: one thread does all of it. A hung share then blocks no deadline, because `can_work` asks only memory.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass

from data_engine.lease.generations import GenerationList
from data_engine.lease.heartbeat_files import HeartbeatFiles
from data_engine.lease.protocol import (
    NEVER,
    Fenced,
    Fold,
    Generation,
    HandoverRequest,
    Identity,
    InDoubt,
    Kind,
    LeaseRecord,
    Limits,
    Lost,
    Segment,
    folded,
    next_generation,
)
from data_engine.ledger.segments import TABLES

_APPEND_TRIES = 4


@dataclass(frozen=True)
class Participant:
    """The parts of an `Observer` and its `HeldLease`: the list, the heartbeat files, who they are, and their clocks."""

    generations: GenerationList
    heartbeat_files: HeartbeatFiles
    me: Identity
    clock: Callable[[], float]
    utc: Callable[[], str]
    new_id: Callable[[], str]


class HeldLease:
    """The ownership under `token`: the only value that can write the shared state. `Observer.claim` returns it.

    Once it is over (fenced or released) every call raises `Fenced`. `head` is the newest generation of this token that
    this machine knows of.
    """

    def __init__(self, participant: Participant, generation: Generation, proved_s: float) -> None:
        self.head = generation
        self.token = generation.token
        self.limits = generation.limits or Limits()
        self.is_over = False
        self._participant = participant
        self._proved_s = proved_s
        self._beat = 0
        self._started_utc = participant.utc()

    @property
    def work_until(self) -> float:
        """The time until which new work may start, on this machine's clock; it only asks memory. -inf: not now."""
        return NEVER if self.is_over else self._proved_s + self.limits.work_deadline_s

    def can_work(self) -> bool:
        """Whether new work may start now; asked before every run and every step, it only asks memory."""
        return self._participant.clock() < self.work_until

    def heartbeat(self, status: str = "idle") -> None:
        """Prove the ownership and show it; `status` is shown to people. A proof counts from when it began.

        Raises:
            Fenced: somebody else owns now.
            InDoubt, Damaged, OSError: not proved; the deadline keeps running, try again in `limits.retry_s`.
        """
        clock = self._participant.clock
        if clock() - self._proved_s >= self.limits.renew_after_s:
            self._append("renew", lambda head: {})  # a late proof has to win
        start_s = clock()
        self._resync()
        self._show(status)
        if clock() - self._proved_s < self.limits.renew_after_s:  # it ended in time, too
            self._proved_s = max(self._proved_s, start_s)
        self._participant.heartbeat_files.mark_leased(self.token, self._participant.me.machine_id)

    def commit(
        self,
        add: Mapping[str, bytes] | None = None,
        *,
        fold: Mapping[str, Fold] | None = None,
        engine_on: bool | None = None,
    ) -> Generation:
        """Publish new segments (`add`: table -> content), folds and the engine's state as one generation.

        After `InDoubt` it may have landed: call again with the same, readers put rows in place by their key. A fold
        whose segments are all gone was done by then and is left out.

        Raises:
            Fenced: somebody else owns now; nothing was published.
            Lost: a late generation of ours has folded some of these segments; plan the fold anew.
            InDoubt, Damaged, OSError: not known to be published; call again.
            ValueError: an unknown table, or a fold of segments that are not all there or no neighbours.
        """
        for table in (*(add or ()), *(fold or ())):
            if table not in TABLES:
                raise ValueError(f"no table {table!r}")

        planned_on = self.head

        def changes(head: Generation) -> dict[str, object]:
            files = {table: tuple(rows) for table, rows in head.files.items()}
            for table, part in (fold or {}).items():
                segments = files.get(table, ())
                try:
                    is_to_do = folded(table, segments, part, None) != segments
                except ValueError as error:
                    if head.nonce == planned_on.nonce:
                        raise
                    raise Lost(str(error)) from None
                if is_to_do:
                    new = None if part.content is None else self._upload(table, head, part.content)
                    files[table] = folded(table, segments, part, new)
            for table, content in (add or {}).items():
                files[table] = (*files.get(table, ()), self._upload(table, head, content))
            return {"files": files, "engine_on": head.engine_on if engine_on is None else engine_on}

        return self._append("commit", changes)

    def release(self, handoff_to: HandoverRequest | None = None) -> None:
        """Give the workspace up, to the requester if one is named. Work has stopped and was committed before.

        From the call on nothing may work, also when it raises. After `InDoubt` call again, or `heartbeat` to keep it.

        Raises:
            Fenced: somebody else owns now.
            InDoubt, Damaged, OSError: not known to be released; call again.
        """
        self._proved_s = NEVER
        target, name = (handoff_to.requester_machine_id, handoff_to.shown) if handoff_to else ("", "")
        try:
            self._append("release", lambda head: {"handoff_to": target, "handoff_name": name})
        except Fenced as fenced:
            newest = fenced.generation
            is_own = newest is not None and newest.by.daemon_id == self._participant.me.daemon_id
            if newest is None or not is_own or newest.kind != "release" or newest.token != self.token:
                raise
        self.is_over = True
        with suppress(OSError):
            self._participant.heartbeat_files.remove_lease()
            self._participant.heartbeat_files.mark_available()

    def collect(self) -> None:
        """Remove what nobody reads any more: old generations, segments no kept one lists, leftovers of crashes.

        Raises:
            Fenced: somebody else owns now.
            Damaged, OSError: it stopped where something could not be removed; call again some time.
        """
        self._resync()
        self._participant.generations.collect(self.head)
        self._participant.heartbeat_files.collect()

    def announce(self, status: str) -> None:
        """Show the heartbeat and the markers; it proves nothing.

        Raises:
            OSError: the share is away or full.
        """
        self._show(status)
        self._participant.heartbeat_files.mark_leased(self.token, self._participant.me.machine_id)

    def _append(self, kind: Kind, changes: Callable[[Generation], dict[str, object]]) -> Generation:
        participant, start_s = self._participant, self._participant.clock()
        for _ in range(_APPEND_TRIES):
            self._resync()
            generation = next_generation(
                self.head, kind, participant.me, participant.new_id(), participant.utc(), **changes(self.head)
            )
            try:
                participant.generations.publish(generation, self.head)
            except Lost:
                continue  # _resync says whether it was a late one of ours, or somebody else
            self.head = generation
            if kind != "release":
                self._proved_s = max(self._proved_s, start_s)
            return generation
        raise InDoubt(kind)

    def _resync(self) -> None:
        if self.is_over:
            raise Fenced("this lease is over", self.head)
        top = self._participant.generations.top()
        daemon_id = self._participant.me.daemon_id
        if top is None or not (top.is_owned and top.token == self.token and top.by.daemon_id == daemon_id):
            self.is_over = True
            owner = "nobody" if top is None or not top.is_owned else top.by.shown
            raise Fenced(f"the workspace belongs to {owner} now", top)
        self.head = top

    def _show(self, status: str) -> None:
        self._beat += 1
        me = self._participant.me
        self._participant.heartbeat_files.put_lease(
            LeaseRecord(
                workspace=self._participant.heartbeat_files.workspace,
                token=self.token,
                beat=self._beat,
                machine_id=me.machine_id,
                host_name=me.host_name,
                daemon_id=me.daemon_id,
                pid=me.pid,
                status=status,
                app_version=me.app_version,
                started_at_utc=self._started_utc,
                last_checkpoint_at_utc=self._participant.utc(),
                snapshot_generation_id=self.head.number,
                stale_after_s=self.limits.stale_after_s,
            )
        )

    def _upload(self, table: str, head: Generation, content: bytes) -> Segment:
        return self._participant.generations.upload(table, head.number + 1, self._participant.new_id(), content)
