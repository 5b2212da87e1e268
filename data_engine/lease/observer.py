"""Look at the ownership, ask for it and claim it, for one daemon: only the `HeldLease` that `Observer.claim` returns may write.

Not thread-safe: one thread does all of it. A hung share then blocks no deadline, because `can_work` asks only memory.
"""

from __future__ import annotations

import errno
import secrets
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from typing import NamedTuple

from data_engine.clock import boot_clock
from data_engine.errors import OwnedElsewhereError, WorkspaceError
from data_engine.formatting import duration_text
from data_engine.lease.folder import FileSystem, drive_text
from data_engine.lease.generations import GenerationList
from data_engine.lease.heartbeat_files import HeartbeatFiles
from data_engine.lease.held_lease import HeldLease, Participant
from data_engine.lease.protocol import (
    NEVER,
    Damage,
    Damaged,
    Generation,
    HandoverRequest,
    Identity,
    Limits,
    Lost,
    NewerFormat,
    Observed,
    Replaced,
    ShorterList,
    View,
    is_of_this_machine,
    next_generation,
    observe,
    view_of,
)
from data_engine.lease.repair import Repaired, repair
from data_engine.nofollow import NotFollowedError
from data_engine.record import frozen

_LATE_CACHE = 2.0
"""A list that stays shorter than known for this many thresholds is no late cache any more, but lost."""


def _utc_now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def _new_id() -> str:
    return secrets.token_hex(8)


@frozen
class _Damaged:
    """The same damage since `since_s`: nobody can have appended since then, or it would be another one.

    `heartbeat` is as it was last seen to change, at `heard_s`: an owner that knows another list may be at work.
    """

    damage: Damage
    since_s: float
    heartbeat: tuple[int, int] | None
    heard_s: float
    is_shorter: bool
    is_replaced: bool


class Ambient(NamedTuple):
    """A machine's clock, its time in words for people, and the ids for what it writes."""

    clock: Callable[[], float] = boot_clock
    utc: Callable[[], str] = _utc_now
    new_id: Callable[[], str] = _new_id


class Observer:
    """Looks at a shared workspace for one daemon, and claims it when it may.

    `workspace` names the heartbeat files and must be the same on every machine: the workspace's identity. `limits` are this
    machine's settings; they travel with its claims. `holds_lock` says whether this process holds the local lock of the
    workspace; without it nothing is claimed. `known_list` is what was persisted of `Observer.known_list`. `generations` is the list as it
    sees it.

    Example:
        >>> import tempfile
        >>> from pathlib import Path
        >>> from data_engine.lease.folder import OsFolder
        >>> folder = OsFolder(Path(tempfile.mkdtemp()))
        >>> observer = Observer(folder, Identity("m1", "d1"), workspace="w", limits=Limits(), holds_lock=lambda: True)
        >>> held = observer.claim(observer.poll())
        >>> held.commit({"runs": b"PAR1"}).number, held.can_work(), observer.poll().state
        (2, True, 'mine')
        >>> held.release()
        >>> observer.poll().state, observer.known_list[0], held.is_over
        ('available', 3, True)
    """

    def __init__(
        self,
        folder: FileSystem,
        me: Identity,
        *,
        workspace: str,
        limits: Limits,
        holds_lock: Callable[[], bool],
        known_list: tuple[int, str, Collection[str]] = (0, "", ()),
        ambient: Ambient | None = None,
    ) -> None:
        self.me = me
        self.limits = limits
        self._holds_lock = holds_lock
        number, nonce, repairs = known_list
        clock, utc, new_id = ambient or Ambient()
        self.generations = GenerationList(folder, max(0, number), nonce=nonce, repairs=repairs)
        self._heartbeat_files = HeartbeatFiles(folder, workspace, new_id, utc)
        self._participant = Participant(self.generations, self._heartbeat_files, me, clock, utc, new_id)
        self._seen = Observed()
        self._damage: _Damaged | None = None
        self._deaf_since_s: float | None = None
        self._held: HeldLease | None = None
        self._request: HandoverRequest | None = None

    @property
    def known_list(self) -> tuple[int, str, frozenset[str]]:
        """The highest generation ever seen here, its nonce, and the nonces of all repairs seen. Persist them together, and hand them to the next
        Observer; the number goes back only with a list that a repair has made shorter."""
        return self.generations.known, self.generations.nonce, self.generations.repairs

    @property
    def left_alone(self) -> Mapping[str, str]:
        """The reason to leave alone what lies among our files on the share and is none of them, by its path."""
        return {**self.generations.left_alone, **self._heartbeat_files.left_alone}

    def oldest(self) -> int:
        """The number of the first generation there is; 0 where there is none.

        Raises:
            OSError, Damaged: the share is away, or the list cannot be read.
        """
        return min(self.generations.numbers() or [0])

    def poll(self) -> View:
        """Look once. Silence is counted only while this machine is really looking; never raises."""
        before_s = self._participant.clock()
        try:
            top = self.generations.top()
            if top is None:
                return View("available", self.limits)
            is_mine = top.is_owned and top.by.daemon_id == self.me.daemon_id
            lease = None if is_mine else self._heartbeat_files.lease()
            request = self._heartbeat_files.request()
        except (Damaged, ShorterList) as error:
            return self._damaged(error, before_s)
        except OSError as error:
            return View("unreachable", self.limits, away=drive_text(error))
        self._damage = None
        limits = top.limits or self.limits
        self._seen = observe(
            self._seen, top, lease, request, before_s=before_s, after_s=self._participant.clock(), limits=limits
        )
        is_dead_here = top.is_owned and is_of_this_machine(top, self.me) and self._holds_lock()
        view = view_of(
            self._seen, top, lease, request, before_s=before_s, limits=limits, me=self.me, is_dead_here=is_dead_here
        )
        return self._with_heartbeat(view, before_s)

    def _with_heartbeat(self, view: View, before_s: float) -> View:
        """`view`, damaged where for long something lies in place of the owner's heartbeat that is none."""
        broken = self._heartbeat_files.broken if view.state == "owned" else None
        if broken is None:
            self._deaf_since_s = None
        elif self._deaf_since_s is None:
            self._deaf_since_s = before_s
        elif before_s - self._deaf_since_s >= view.limits.max_gap_s:
            return replace(view, state="damaged", damage=broken)
        return view

    def claim(self, view: View) -> HeldLease:
        """Become the owner of exactly what `view` saw, when all of its history is there.

        Every segment is read and checked, whoever has its rows: the next machine may not have them. A view that says `mine` gives back the lease that is held, or one whose claim landed although its answer was lost: it may
        work after its first heartbeat.

        Raises:
            Lost: the view may not be claimed or is out of date, the owner has spoken, or the local lock is not held.
            InDoubt: it may have been won; the next poll says `mine` if so.
            Damaged: the newest generation, or a segment of it, is missing or cannot be read; nothing was claimed.
            OSError: the share is away, full or read-only.
        """
        if not view.is_claimable or not self._holds_lock():
            raise Lost(f"the workspace is {view.state}" if not view.is_claimable else "the local lock is not held")
        participant = self._participant
        if view.state == "mine" and view.top is not None:
            return self._hold(view.top, NEVER)
        prev = view.top or self._first()
        try:
            self.generations.check_whole(prev, ())
        except FileNotFoundError:
            raise Lost("the view is out of date") from None
        start_s = participant.clock()
        if prev.is_owned:  # last look: has the silent owner spoken?
            lease = self._heartbeat_files.lease()
            if lease is not None and lease.token == prev.token and (prev.number, lease.beat) > self._seen.mark:
                raise Lost("the owner is alive")
        generation = next_generation(
            prev, "claim", self.me, participant.new_id(), participant.utc(), limits=self.limits
        )
        self.generations.publish(generation, prev)
        held = self._hold(generation, start_s)
        with suppress(OSError):  # all of this is repaired by the heartbeat
            if prev.is_owned:
                self._heartbeat_files.quarantine(prev)
            held.announce("idle")
            self.withdraw_request()
        return held

    def fetch(self, table: str, name: str) -> bytes:
        """The content of one segment of the newest generation looked at, to fold it.

        Raises:
            FileNotFoundError: that generation does not list it, or it was collected.
            Damaged: it is missing, or not what was written.
            OSError: the share is away.
        """
        newest = self.generations.newest
        for segment in newest.files.get(table, ()) if newest is not None else ():
            if newest is not None and segment.name == name:
                return self.generations.fetch_listed(table, segment, newest.nonce)
        raise FileNotFoundError(errno.ENOENT, f"no segment of {table} in the newest generation", name)

    def request_control(self, client_kind: str = "ui") -> HandoverRequest:
        """Ask the owner for the workspace, in place of whoever asked before; repeat it every `request_repeat_s`.

        Raises:
            OSError: the share is away, full or read-only.
        """
        participant, me = self._participant, self.me
        request = HandoverRequest(
            workspace=self._heartbeat_files.workspace,
            request_id=participant.new_id(),
            beat=1,
            requester_machine_id=me.machine_id,
            requester_host_name=me.host_name,
            requester_daemon_id=me.daemon_id,
            requester_pid=me.pid,
            requester_client_kind=client_kind,
            requested_at_utc=participant.utc(),
        )
        self._heartbeat_files.put_request(request)
        self._request = request
        return request

    def repeat_request(self) -> bool:
        """Say that this daemon still waits; False when it does not, or when somebody else has asked since.

        Raises:
            OSError: the share is away, full or read-only.
        """
        pending = self._heartbeat_files.request()
        if self._request is None or (pending is not None and pending.request_id != self._request.request_id):
            self._request = None
            return False
        self._request = replace(self._request, beat=self._request.beat + 1)
        self._heartbeat_files.put_request(self._request)
        return True

    def withdraw_request(self) -> None:
        """Take this machine's request back, if it is still the pending one.

        Raises:
            OSError: the share is away or read-only; it then expires by itself.
        """
        self._request = None
        pending = self._heartbeat_files.request()
        if pending is not None and pending.requester_machine_id == self.me.machine_id:
            self._heartbeat_files.remove_request()

    def repair(self, view: View, refused: Collection[str] = ()) -> Repaired | None:
        """Go on from the newest readable generation, without segments that are gone or damaged; says what is lost.

        `refused` are names of segments that are whole, but none that a Data Engine writes; they are left out as well.
        None when nothing is damaged; nothing has changed then. Only on a person's word. Afterwards nobody owns the workspace,
        this machine neither. A list that is shorter than what this machine has seen (a restored backup), or another one, is
        taken for what is left. The damage must have been there, and no owner heard, for the stale threshold: an owner that
        cannot read the list either works on until its deadline.

        Raises:
            OwnedElsewhereError: another machine owns, or is heard to be at work.
            WorkspaceError: nothing can be read or reached, something that is not Data Engine's is in the way, it needs a
                newer Data Engine, or it is too early.
            Lost, InDoubt: somebody else appended meanwhile, or the share did not say: look again.
            OSError: the share is away, full or read-only.
        """
        participant, where = self._participant, self._heartbeat_files.workspace
        is_of_list = view.state == "damaged" and view.top is None
        if view.state in ("owned", "reserved") or (view.state == "damaged" and not is_of_list):
            owner = "" if view.top is None else view.top.by.shown
            raise OwnedElsewhereError(
                f"{owner} owns the workspace",
                where=where,
                fix="repair it there, ask for control, or wait until it can be taken over",
            )
        if view.state == "unreachable":
            fix = "check whether its drive is connected, and try again later"
            raise WorkspaceError(f"the workspace cannot be reached: {view.why}", where=where, fix=fix)

        if view.state == "available" and view.top is None and self.generations.known <= 0:
            return None

        def check(base: Generation | None) -> None:
            view_nonce, base_nonce = (None if entry is None else entry.nonce for entry in (view.top, base))
            if not is_of_list and view_nonce != base_nonce:
                raise Lost("the view is out of date")
            lease = self._heartbeat_files.lease()  # a damaged claim does not tell its limits, but its heartbeat does
            lease_s = 0.0 if lease is None else lease.stale_after_s
            limits = (base.limits if base is not None else None) or self.limits
            wait_s = max(lease_s, limits.stale_after_s, self.limits.stale_after_s)
            if not is_of_list or view.silent_s >= wait_s:
                return
            owner = lease.shown if lease is not None else "its owner" if base is None else base.by.shown
            if self._damage is not None and self._damage.heard_s > self._damage.since_s:
                raise OwnedElsewhereError(  # on a list that is whole to it, so that a repair there finds nothing
                    f"{owner} is at work on the workspace",
                    where=where,
                    fix="let it give the workspace up there (`data-engine lease release`), then repair it here",
                )
            raise WorkspaceError(
                f"{owner} may still be at work", where=where, fix=f"try again in {wait_s - view.silent_s:.0f} s"
            )

        def begin() -> None:
            if self._held is not None:
                self._held.is_over = True

        try:
            repaired = repair(
                participant,
                check=check,
                begin=begin,
                accepts_shorter=self._damage is not None and self._damage.is_shorter,
                is_replaced=self._damage is not None and self._damage.is_replaced,
                refused=refused,
            )
        except Damaged as error:
            is_newer = isinstance(error, NewerFormat)
            raise WorkspaceError(
                f"the shared history cannot be repaired: {error}",
                where=where,
                fix="update Data Engine on this machine"
                if is_newer
                else "repair it on a machine that has owned the workspace, or restore .workspace_state from a backup",
            ) from error
        except NotFollowedError as error:
            raise WorkspaceError(
                f"the shared history cannot be repaired: {error.filename} is not Data Engine's: {error.strerror}",
                where=where,
                fix="take it away, then repair again",
            ) from error
        if repaired is not None:
            self._damage = None
        return repaired

    def _first(self) -> Generation:
        participant = self._participant
        genesis = Generation(0, "genesis", 0, participant.new_id(), Identity("", ""), at_utc=participant.utc())
        self.generations.create(genesis)
        top = self.generations.top()
        if top is None or top.number != 0:
            raise Lost("somebody else was first")
        return top

    def _hold(self, generation: Generation, proved_s: float) -> HeldLease:
        if self._held is None or self._held.is_over or self._held.token != generation.token:
            self._held = HeldLease(self._participant, generation, proved_s)
        return self._held

    def _damaged(self, error: Damaged | ShorterList, before_s: float) -> View:
        newest = self.generations.newest
        limits = (newest.limits if newest is not None else None) or self.limits
        is_shorter, damage = isinstance(error, ShorterList), Damage.of(error, self._participant.utc())
        heartbeat, now_s = self._other_heartbeat(), self._participant.clock()  # the look may have taken long
        record = self._damage
        if record is None or record.damage.what != damage.what:
            record = _Damaged(damage, now_s, heartbeat, now_s, is_shorter, isinstance(error, Replaced))
        elif heartbeat != record.heartbeat:
            record = replace(record, heartbeat=heartbeat, heard_s=now_s)
        self._damage = record
        if is_shorter and before_s - record.since_s < _LATE_CACHE * limits.stale_after_s:
            lost_after = duration_text(_LATE_CACHE * limits.stale_after_s)
            words = f"{damage.what}; if it does not come back within {lost_after}, `data-engine lease repair` goes on from what this machine has"
            return View("unreachable", limits, away=words)
        silent_s = max(0.0, before_s - max(record.since_s, record.heard_s))
        return View("damaged", limits, silent_s=silent_s, damage=record.damage)

    def _other_heartbeat(self) -> tuple[int, int] | None:
        """The heartbeat of somebody else, whatever the list says; None when there is none to be read."""
        try:
            lease = self._heartbeat_files.lease()
        except OSError:
            return None
        return None if lease is None or lease.daemon_id == self.me.daemon_id else (lease.token, lease.beat)
