"""The one thread of a daemon that talks to the share: it looks, claims, beats, publishes, refreshes and hands over.

Everybody else reads `Keeper.standing`, a value in memory, or leaves a wish and gets a future. A share that hangs holds up
this thread only: whether work may start is decided by a deadline in memory.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import TypeVar

from data_engine.clock import boot_clock
from data_engine.errors import FlowValidationError, LedgerError, OwnedElsewhereError, RefusedSegmentError
from data_engine.lease.lease import HeldLease, Observer
from data_engine.lease.protocol import (
    NEVER,
    Damage,
    Damaged,
    Entry,
    Fenced,
    Fold,
    Identity,
    InDoubt,
    LeaseOutcome,
    Limits,
    Lost,
    StaleView,
    View,
    is_of_this_machine,
)
from data_engine.lease.repair import Repaired
from data_engine.lease.status import LeaseStatus, shown_machine, status_of
from data_engine.ledger.belief import Believed, Doubted, Verdict
from data_engine.ledger.exchange import Batch
from data_engine.ledger.share import Share
from data_engine.model import utc_text

log = logging.getLogger(__name__)

_COLLECT_EVERY = 8
_DROP_EVERY_S = 3600.0
_CHECK_EVERY_S = 3600.0
_JUDGE_EVERY_S = 600.0
_SOON_S = 0.05
_LONGEST_SLEEP_S = 30.0
_NEVER_DUE = float("inf")
_TRIES = 3
_LEFT = "left alone"
_HEALTHY = "nothing of the shared history is damaged: nothing was changed"
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Standing:
    """What is known of the ownership without asking anybody.

    `token` is the fencing token while this daemon owns the workspace (it may have lapsed), else None. Work may start until
    `work_until_s` on `boot_clock()`. `engine_on` is what the newest generation says of the engine, `is_again` whether the owner
    before was a daemon of this machine. `lost_to` names who took
    the workspace from this daemon. `trouble` is what keeps the share from being written. `seen_s` is when `lease` was seen.
    `clock` says whether this machine's wall clock is believed, None before it was judged.
    """

    token: int | None = None
    work_until_s: float = NEVER
    engine_on: bool = False
    is_again: bool = False
    lease: LeaseStatus = field(default_factory=LeaseStatus)
    lost_to: str | None = None
    trouble: str | None = None
    seen_s: float = NEVER
    clock: Verdict | None = None


class Keeper:
    """Keeps one workspace for one daemon. `on_change` is called from the keeper's thread whenever `standing` changed.

    `limits` are read again before each claim, so that an edit of the settings holds from the next one. `unfit` says, once,
    before anything is claimed, why nobody can own a workspace in this place. `judge_clock` is asked on the keeper's thread, once
    what others have published is here: by that it may judge.
    """

    def __init__(
        self,
        observer: Observer,
        share: Share,
        me: Identity,
        limits: Callable[[], Limits],
        *,
        unfit: Callable[[], str | None] = lambda: None,
        takes_over_by_itself: Callable[[], bool] = lambda: False,
        retention_days: Callable[[], float] = lambda: 30.0,
        judge_clock: Callable[[], Verdict] = lambda: Believed(time.time(), time.time()),
        clock: Callable[[], float] = boot_clock,
    ) -> None:
        self.me = me
        self.limits = observer.limits
        self.standing = Standing()
        self._observer = observer
        self._share = share
        self._read_limits = limits
        self._find_unfit = unfit
        self._unfit: str | None = None
        self._is_probed = False
        self._takes_over = takes_over_by_itself
        self._retention_days = retention_days
        self._judge_clock = judge_clock
        self._believed: Verdict | None = None
        self._clock_due_s = NEVER
        self.on_change: Callable[[], None] = lambda: None
        self._clock = clock
        self._held: HeldLease | None = None
        self._view: View | None = None
        self._wishes: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._engine_on: bool | None = None
        self._is_again = False
        self._brought_home: str | None = None
        self._damage: Damage | None = None
        self._troubles: dict[str, str] = {}
        self._commits = 0
        self._dropped_s = NEVER
        self._wants_control = False
        self._beat_due_s = self._commit_due_s = self._look_due_s = self._repeat_due_s = self._check_due_s = NEVER
        self._thread = threading.Thread(target=self._run, name="share", daemon=True)

    def start(self) -> None:
        """Begin to look."""
        self._thread.start()

    # -- memory only -----------------------------------------------------------------------------------------------

    def can_work(self) -> bool:
        """Whether new work may start now."""
        return self.standing.token is not None and self._clock() < self.standing.work_until_s

    @property
    def is_waiting(self) -> bool:
        """Whether it has asked for the workspace, or would take it over by itself once its owner has died."""
        lease = self.standing.lease
        is_watching = lease.state in ("owned", "takeover_available") and lease.engine_on and self._takes_over()
        return self._wants_control or (self.standing.token is None and is_watching)

    def age_s(self) -> float:
        """How long ago the share was last looked at."""
        return max(0.0, self._clock() - self.standing.seen_s)

    # -- wishes; each is done on the keeper's thread ------------------------------------------------------------------

    def own(self) -> Future[None]:
        """Own the workspace, unless somebody else does.

        Raises (the future):
            OwnedElsewhereError: another workstation owns it, or the share cannot be used; the message has the mend.
        """
        return self._wish(self._own)

    def take_over(self) -> Future[None]:
        """Own the workspace of an owner that has been silent for long enough.

        Raises (the future):
            OwnedElsewhereError: its owner has not been silent for long enough.
        """
        return self._wish(lambda: self._own(is_asked=True))

    def request(self, kind: str) -> Future[None]:
        """Ask the owner for the workspace, again and again until it is given or `withdraw` is called.

        Raises (the future):
            OwnedElsewhereError: the share cannot be written.
        """
        return self._wish(lambda: self._request(kind))

    def withdraw(self) -> Future[None]:
        """Ask no longer."""
        return self._wish(self._withdraw)

    def release(self, *, to_requester: bool = False) -> Future[None]:
        """Publish what there is and give the workspace up; the caller has stopped all work."""
        return self._wish(lambda: self._release(to_requester))

    def set_engine(self, is_on: bool) -> None:
        """Let the next generation say whether the engine is on; it comes soon."""

        def note() -> None:
            self._engine_on = is_on
            self._commit_due_s = self._clock() + _SOON_S

        self._wishes.put(note)

    def look(self) -> Future[None]:
        """Look at the share now."""
        return self._wish(self._look)

    def repair(self) -> Future[str]:
        """Append to a damaged list from its newest readable generation; what was lost, in words."""
        return self._wish(self._repair)

    def close(self, *, release: bool, timeout_s: float = 10.0) -> None:
        """End the thread, after giving the workspace up if wanted; what hangs on the share is left behind."""
        if release:
            self._wishes.put(self._leave)
        self._wishes.put(None)
        if self._thread.ident is not None:
            self._thread.join(timeout_s)

    def _wish(self, deed: Callable[[], _T]) -> Future[_T]:
        future: Future[_T] = Future()

        def do() -> None:
            if not future.set_running_or_notify_cancel():
                return
            try:
                result = deed()
            except BaseException as error:
                future.set_exception(error)
            else:
                future.set_result(result)

        self._wishes.put(do)
        return future

    # -- the thread -------------------------------------------------------------------------------------------------

    def _run(self) -> None:
        while True:
            try:
                wish = self._wishes.get(timeout=max(0.0, min(self._next_due_s() - self._clock(), _LONGEST_SLEEP_S)))
            except queue.Empty:
                self._in_peace(self._tick)
                continue
            if wish is None:
                return
            self._in_peace(wish)

    def _in_peace(self, deed: Callable[[], None]) -> None:
        try:
            deed()
        except Exception:
            log.exception("the share's thread")
            later_s = self._clock() + self.limits.retry_s
            self._look_due_s = max(self._look_due_s, later_s)
            self._beat_due_s, self._commit_due_s = max(self._beat_due_s, later_s), max(self._commit_due_s, later_s)

    def _next_due_s(self) -> float:
        if self._held is None:
            return min(self._look_due_s, self._repeat_due_s if self._wants_control else _NEVER_DUE)
        return min(self._beat_due_s, self._commit_due_s, self._look_due_s, self._check_due_s)

    def _tick(self) -> None:
        now_s = self._clock()
        if self._held is not None and now_s >= self._beat_due_s:
            self._beat()
        if self._held is not None and now_s >= self._commit_due_s:
            self._commit_when_due()
        if self._held is not None and now_s >= self._check_due_s:
            self._check_due_s = now_s + _CHECK_EVERY_S
            self._on_the_share("check", self._check_segments)
        if now_s >= self._look_due_s:
            self._look()
        if self._held is None and self._wants_control and now_s >= self._repeat_due_s:
            self._repeat_due_s = now_s + self.limits.request_repeat_s
            self._on_the_share("request", self._observer.repeat_request)

    # -- looking ------------------------------------------------------------------------------------------------------

    def _look(self) -> None:
        view = self._view = self._observer.poll()
        self._look_due_s = self._clock() + min(view.limits.poll_s, self.limits.poll_s)
        self._remember()
        if self._held is not None:
            if view.state not in ("mine", "unreachable", "damaged"):
                self._beat()  # says whether it is over
        else:
            self._refresh(view)
            self._claim_by_itself(view)
        self._look_at_the_clock(view)
        self._tell()

    def _look_at_the_clock(self, view: View) -> None:
        is_home = view.top is None or self._held is not None or view.top.nonce == self._brought_home
        is_due = self._clock() >= self._clock_due_s or isinstance(self._believed, Doubted)
        if is_home and is_due and view.state not in ("unreachable", "damaged"):
            self._clock_due_s = self._clock() + _JUDGE_EVERY_S
            self._on_the_share("clock", self._judge)

    def _judge(self) -> None:
        self._believed = self._judge_clock()

    def _refresh(self, view: View) -> None:
        """Bring home what the newest generation holds, for people to see."""
        if view.top is not None and (view.top.nonce != self._brought_home or self._damage is not None):
            self._on_the_share("refresh", self._bring_home)

    def _bring_home(self, *, mine: bool = False) -> None:
        """Take in all that the newest generation lists.

        Raises:
            Damaged: some of it is missing or cannot be read; it is told until it can.
            StaleView: it changes faster than it can be read.
            OSError, LedgerError: the share is away, or this machine's ledger cannot be used.
        """
        for _ in range(_TRIES):
            top = self._view.top if self._view is not None else None
            if top is None:
                return
            names = {table: [segment.name for segment in segments] for table, segments in top.files.items()}
            owner = top.token if top.is_owned else None
            repairs = {one.nonce: (one.base, one.tables) for one in top.repairs}
            try:
                for run_id in self._share.hydrate(
                    top.number,
                    names,
                    self._observer.fetch,
                    owner=owner,
                    mine=mine,
                    repairs=repairs,
                    token=top.token,
                ):
                    log.warning("run %s was abandoned: its workstation lost the workspace", run_id)
                if self._damage is not None:  # what a claim has missed may be there again
                    self._observer.check_whole(top, self._share.seen)
            except Damaged as error:
                self._note_damage(error)
                raise
            except RefusedSegmentError as error:
                damaged = Damaged(error.why, file=f"state/{error.table}/{error.name}")
                self._note_damage(damaged)
                raise damaged from error
            except FileNotFoundError:  # collected while it was read: there is a newer one
                self._view = self._observer.poll()
                continue
            self._brought_home = top.nonce
            self._note_damage(None)
            return
        raise StaleView("the shared history changes faster than it can be read")

    def _note_damage(self, error: Damaged | None) -> None:
        if error is None:
            self._damage = None
        elif self._damage is None or self._damage.what != str(error):
            self._damage = Damage.of(error, utc_text(time.time()))
            log.warning("the shared history is damaged: %s", error)

    def _remember(self) -> None:
        self._share.note_list(*self._observer.known_list)

    def _claim_by_itself(self, view: View) -> None:
        """Take what was given to this machine, what it asked for, or what nobody runs any more where the settings say so."""
        top = view.top
        if top is None or not view.is_claimable:
            return
        is_given = view.state == "available" and (top.handoff_to == self.me.machine_id or self._wants_control)
        is_silent = view.state == "stale" and (self._wants_control or (self._takes_over() and top.engine_on))
        if is_given or is_silent or view.state == "mine":
            self._on_the_share("claim", lambda: self._claim(view))

    # -- owning -------------------------------------------------------------------------------------------------------

    def _own(self, *, is_asked: bool = False) -> None:
        if self._held is not None:
            return
        self._require_fit()
        for _ in range(_TRIES):
            view = self._view = self._observer.poll()
            top = view.top
            is_dead_here = view.state == "stale" and top is not None and is_of_this_machine(top, self.me)
            if not view.is_claimable or (view.state == "stale" and not (is_asked or is_dead_here)):
                break
            try:
                self._claim(view)
            except Damaged as error:
                self._note_damage(error)
                self._tell()
                raise self._not_here() from error
            except LeaseOutcome as lost:  # somebody was quicker, or it is not known: the next look tells
                log.info("the claim did not succeed: %s", lost)
            except LedgerError as error:
                raise self._not_here(str(error)) from error
            except OSError as error:
                self._note("claim", f"the shared folder cannot be written: {error}")
                raise self._not_here(str(error)) from error
            else:
                return
        self._tell()
        raise self._not_here()

    def _require_fit(self) -> None:
        if not self._is_probed:
            self._unfit, self._is_probed = self._find_unfit(), True
        if self._unfit is not None:
            raise OwnedElsewhereError(
                f"this machine can only observe the workspace: {self._unfit}",
                where="the workspace's folder",
                mend="see `data-engine doctor`",
            )

    def _claim(self, view: View) -> None:
        self._require_fit()
        with suppress(FlowValidationError):  # settings that cannot be read are told elsewhere; the last ones hold on
            self.limits = self._observer.limits = self._read_limits()
        self._bring_home()  # all of it, before anything is claimed
        held = self._observer.claim(view, self._share.seen)
        before = view.top
        self._is_again = before is not None and before.is_owned and before.by.machine_id == self.me.machine_id
        self._remember()
        asked = view.request
        is_own = asked is not None and asked.requester_daemon_id == self.me.daemon_id  # the claim has answered it
        self._view = replace(view, state="mine", top=held.head, request=None if is_own else asked)
        try:
            self._bring_home(mine=True)
        except BaseException:
            with suppress(LeaseOutcome, OSError):
                held.release()  # nobody may own what it could not take in
            self._view = self._observer.poll()
            raise
        self._held = held
        self._wants_control = False
        now_s = self._clock()
        self._beat_due_s = now_s + self.limits.heartbeat_s
        self._commit_due_s = now_s + _SOON_S
        self._look_due_s = now_s + self.limits.poll_s
        self._check_due_s = now_s + _CHECK_EVERY_S
        self._engine_on = None
        log.info("this machine owns the workspace: token %s", held.token)
        self._troubles.clear()
        self._tell()

    def _not_here(self, why: str = "") -> OwnedElsewhereError:
        status = self._lease_status()
        mend = {
            "owned": "ask for it: `data-engine lease request`, or Workspace.request_control()",
            "control_requested": "wait until its owner agrees, or until its lease is free",
            "takeover_available": "take it over: `data-engine lease take-over`, or Workspace.take_over()",
            "damaged": status.fix,
        }.get(status.state, "check whether the drive is connected and writable; `data-engine doctor` measures it")
        what = f"this machine does not own the workspace: {status.words}"
        return OwnedElsewhereError(f"{what} ({why})" if why else what, where="the workspace's lease", mend=mend)

    def _beat(self) -> None:
        held = self._held
        assert held is not None
        try:
            held.heartbeat("running" if self._engine_on else "idle")
        except Fenced as fenced:
            self._lose(fenced)
            return
        except (InDoubt, Damaged, OSError) as error:
            self._beat_due_s = self._clock() + self.limits.retry_s
            self._note("heartbeat", f"the heartbeat cannot be written: {error}")
            return
        self._beat_due_s = self._clock() + self.limits.heartbeat_s
        self._note("heartbeat", None)
        self._tell_what_is_left()

    def _tell_what_is_left(self) -> None:
        """What lies among our files on the share and is none of them is told as long as it is there."""
        left = self._observer.left_alone
        told = "; ".join(f"{path} in .workspace_state was left alone: {why}" for path, why in sorted(left.items())[:3])
        self._note(_LEFT, told + (f" (and {len(left) - 3} more)" if len(left) > 3 else "") if left else None)

    def _lose(self, fenced: Fenced) -> None:
        self._held = None
        entry = fenced.entry
        log.warning("this machine does not own the workspace any more: %s", fenced)
        self._look_due_s = self._clock()
        self._troubles.clear()
        is_given_up = entry is not None and entry.kind == "release" and entry.by.daemon_id == self.me.daemon_id
        by = "somebody else" if entry is None else entry.by.shown
        if entry is not None and entry.kind == "repair":
            by = f"{by}, which repaired the shared history,"
        self._tell(lost_to=None if is_given_up else by)  # a release whose answer was lost took nothing from us

    # -- publishing -----------------------------------------------------------------------------------------------------

    def _commit_when_due(self) -> None:
        self._commit_due_s = self._clock() + self.limits.commit_spacing_s
        held = self._held
        assert held is not None
        is_engine_news = self._engine_on is not None and self._engine_on != held.head.engine_on
        if not held.can_work():
            return
        try:
            self._commit(held, is_worth_it=is_engine_news)
        except Fenced as fenced:
            self._lose(fenced)
        except (Lost, InDoubt, Damaged, OSError, LedgerError) as error:
            self._note("history", f"the history cannot be published: {error}")
            if isinstance(error, Damaged) and error.file:
                self._on_the_share("mend", self._mend)
        else:
            self._note("history", None)

    def _check_segments(self) -> None:
        """Notice as the owner that a segment is gone, before somebody needs it."""
        held = self._held
        assert held is not None
        try:
            self._observer.check_whole(held.head, self._share.seen)
        except Damaged as error:
            self._note_damage(error)
            self._mend()

    def _mend(self) -> list[str]:
        """As the owner: publish again, from this machine's ledger, what segments that are missing or damaged held; their names.

        The owner has taken in all that the list holds, so nothing is lost by leaving them out.
        """
        held = self._held
        assert held is not None
        broken = self._observer.broken_segments(held.head, self._share.refused)
        if broken:
            self._share.publish_again(broken)
            batch = self._share.unpublished(held.token)
            folds = {table: Fold(tuple(names), None) for table, names in broken.items()}
            entry = held.commit({} if batch is None else batch.tables, fold=folds)
            self._published(held, batch, entry, {})
            log.warning("published again, because segments were missing or damaged: %s", ", ".join(broken))
        self._note_damage(None)
        return [f"{table}/{name}" for table, names in broken.items() for name in names]

    def _commit(self, held: HeldLease, *, is_worth_it: bool) -> None:
        """Publish what is new, if anything is; more than a segment takes follows at once."""
        batch = self._share.unpublished(held.token)
        if batch is None and not is_worth_it:
            return
        before = held.head
        folds = self._folds(before)
        tables = {} if batch is None else batch.tables
        entry = held.commit(tables, fold=folds, engine_on=self._engine_on)
        names = _names_of(batch, entry)
        folded = {
            table: (fold.names, made)
            for table, fold in folds.items()
            for made in _new_names(before, entry, table) - {names.get(table)}
        }
        self._published(held, batch, entry, folded)

    def _published(
        self, held: HeldLease, batch: Batch | None, entry: Entry, folded: Mapping[str, tuple[Sequence[str], str]]
    ) -> None:
        self._share.mark_published(batch, entry.number, _names_of(batch, entry), folded)
        self._remember()
        self._brought_home = entry.nonce
        self._commits += 1
        if self._commits % _COLLECT_EVERY == 0:
            self._on_the_share("collect", held.collect)
            self._tell_what_is_left()

    def _folds(self, head: Entry) -> dict[str, Fold]:
        sizes = {table: [(one.name, one.size_bytes) for one in rows] for table, rows in head.files.items()}
        folds = {
            table: Fold(tuple(names), made) for table, (names, made) in self._share.folds(sizes, self._fetch).items()
        }
        at = self._believed
        if isinstance(at, Believed) and self._clock() - self._dropped_s > _DROP_EVERY_S:
            self._dropped_s = self._clock()
            names = {table: [name for name, _ in rows] for table, rows in sizes.items()}
            old = self._share.expired(names, retention_days=self._retention_days(), at=at)
            folds |= {table: Fold(tuple(gone), None) for table, gone in old.items()}
        return folds

    def _fetch(self, table: str, name: str) -> bytes:
        return self._observer.fetch(table, name)

    def _release(self, to_requester: bool) -> None:
        held = self._held
        if held is None:
            return
        view = self._view = self._observer.poll()
        try:
            self._commit(held, is_worth_it=self._engine_on not in (None, held.head.engine_on))
            self.standing = replace(self.standing, work_until_s=NEVER)
            held.release(handoff_to=view.request if to_requester else None)
        except Fenced as fenced:
            self._lose(fenced)
            return
        except (LeaseOutcome, OSError, LedgerError) as error:
            self._note("release", f"the workspace cannot be given up just now: {error}")
            raise self._not_here(str(error)) from error
        self._held = None
        self._troubles.clear()
        self._look()

    def _leave(self) -> None:
        if self._wants_control:
            self._on_the_share("request", self._withdraw)
        if self._held is not None:
            self._on_the_share("release", lambda: self._release(False))

    # -- asking -------------------------------------------------------------------------------------------------------

    def _request(self, kind: str) -> None:
        if self._held is not None:
            return
        self._view = self._observer.poll()
        if self._view.state == "available":  # nobody has to be asked
            self._own()
            return
        try:
            self._observer.request_control(kind)
        except OSError as error:
            raise self._not_here(str(error)) from error
        self._wants_control = True
        self._repeat_due_s = self._clock() + self.limits.request_repeat_s
        self._look()

    def _withdraw(self) -> None:
        self._wants_control = False
        self._observer.withdraw_request()
        self._look()

    def _repair(self) -> str:
        """Mend what is damaged. An owner goes on owning, from its own ledger; whoever else repairs owns nothing afterwards."""
        view = self._view = self._observer.poll()
        held = self._held
        if held is not None and view.state == "mine":
            lost = self._mend()
            self._tell()
            return f"mended; published again from this machine: {', '.join(lost)}" if lost else _HEALTHY
        repaired = self._observer.repair(view, self._share.refused)
        self._remember()
        if repaired is None:
            self._look()
            return _HEALTHY
        self._held = None
        self._view = self._observer.poll()
        said = _words_of(repaired)
        if held is None:
            self._look()
            return said
        try:  # it owned before: it owns again
            self._own()
        except OwnedElsewhereError as error:
            self._tell(lost_to=shown_machine(self._lease_status().owner or {"host_name": "somebody else"}))
            return f"{said}; {error.what}"
        return said

    # -- telling ------------------------------------------------------------------------------------------------------

    def _on_the_share(self, about: str, deed: Callable[[], object]) -> None:
        """Do what another time will do as well: an error is told until it has been done, and nothing else."""
        try:
            deed()
        except Fenced as fenced:
            self._lose(fenced)
        except (LeaseOutcome, OSError, FlowValidationError) as error:
            if self._troubles.get(about) != str(error):
                log.warning("on the share: %s: %s", type(error).__name__, error)
            self._note(about, str(error))
        else:
            if about in self._troubles:
                self._note(about, None)

    def _note(self, about: str, trouble: str | None) -> None:
        """What keeps the share from being used, told until the same goes well; None when it does."""
        if trouble is None:
            self._troubles.pop(about, None)
        else:
            self._troubles[about] = trouble
        self._tell()

    def _lease_status(self) -> LeaseStatus:
        return LeaseStatus() if self._view is None else status_of(self._view, self.me, self._damage)

    def _tell(self, *, lost_to: str | None = "") -> None:
        """Renew `standing`; "" leaves what is there."""
        held, before = self._held, self.standing
        top = None if self._view is None else self._view.top
        if held is not None:
            lost_to = None
        self.standing = Standing(
            None if held is None else held.token,
            NEVER if held is None else held.work_until,
            (held.head.engine_on if held is not None else top is not None and top.engine_on),
            held is not None and self._is_again,
            self._lease_status(),
            before.lost_to if lost_to == "" else lost_to,
            "; ".join(self._troubles[about] for about in sorted(self._troubles, key=_LEFT.__eq__))
            or self._share.left_out,
            self._clock(),
            self._believed,
        )
        if self.standing != before:
            self.on_change()


def _words_of(repaired: Repaired) -> str:
    generations = repaired.lost_generations
    lost = [f"generation {number}" for number in generations[:1]]
    if len(generations) > 1:
        lost = [f"generations {generations[0]} to {generations[-1]}"]
    lost += repaired.lost_segments
    if not lost:
        return "mended; nothing was lost"
    return f"mended; lost on the share: {', '.join(lost)}; whoever still holds these rows publishes them again when it owns"


def _names_of(batch: Batch | None, entry: Entry) -> dict[str, str]:
    """What the segments of the batch are called in the generation that has just published them."""
    return {} if batch is None else {table: entry.files[table][-1].name for table in batch.tables}


def _new_names(before: Entry, after: Entry, table: str) -> set[str]:
    known = {segment.name for segment in before.files.get(table, ())}
    return {segment.name for segment in after.files.get(table, ())} - known
