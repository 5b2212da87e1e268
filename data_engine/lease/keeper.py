"""The one thread of a daemon that keeps its lease: it looks, claims, beats, publishes, refreshes and hands over.

Everybody else reads `Keeper.state`, a value in memory, or asks for something and gets a future. A share that hangs holds up
this thread only: whether work may start is decided by a deadline in memory.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import field, replace
from typing import TypeVar

from data_engine.clock import boot_clock
from data_engine.errors import FlowValidationError, LedgerError, OwnedElsewhereError, WorkspaceError
from data_engine.formatting import first_few
from data_engine.lease.held_lease import HeldLease
from data_engine.lease.history import HEALTHY, HistoryKeeper, Publisher, repair_text
from data_engine.lease.observer import Observer
from data_engine.lease.protocol import (
    NEVER,
    Damaged,
    Fenced,
    Identity,
    InDoubt,
    LeaseOutcome,
    Limits,
    Lost,
    View,
    is_of_this_machine,
)
from data_engine.lease.status import LeaseStatus, shown_machine, status_of
from data_engine.ledger.share import SharedHistory
from data_engine.ledger.wall_clock import Believed, Doubted, Verdict, clock_warnings
from data_engine.record import frozen

log = logging.getLogger(__name__)

_LONGEST_SLEEP_S = 30.0
_T = TypeVar("_T")


def require_fit(unfit: str | None) -> None:
    """Return when nothing makes this machine `unfit` to own the workspace.

    Raises:
        OwnedElsewhereError: something does; it says what.
    """
    if unfit is not None:
        raise OwnedElsewhereError(
            f"this machine can only observe the workspace: {unfit}",
            where="the workspace's folder",
            fix="see `data-engine doctor`",
        )


class ShareThread:
    """Does what any thread asks for, one thing at a time; `tick` is called when `due_in_s` has passed and nothing is asked for.

    `failed` is called after what was asked for without a future, or a tick, has raised.

    Example:
        >>> thread = ShareThread(tick=lambda: None, due_in_s=lambda: 30.0, failed=lambda: None)
        >>> thread.start()
        >>> thread.ask(lambda: 6 * 7).result(10)
        42
        >>> thread.close(10.0)
    """

    def __init__(self, *, tick: Callable[[], None], due_in_s: Callable[[], float], failed: Callable[[], None]) -> None:
        self._tick = tick
        self._due_in_s = due_in_s
        self._failed = failed
        self._actions: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="share", daemon=True)

    def start(self) -> None:
        """Begin; what was asked for before is done then."""
        self._thread.start()

    def ask(self, action: Callable[[], _T]) -> Future[_T]:
        """Do `action` on the thread; the future has its result, or what it raised."""
        future: Future[_T] = Future()

        def answer() -> None:
            if not future.set_running_or_notify_cancel():
                return
            try:
                result = action()
            except BaseException as error:
                future.set_exception(error)
            else:
                future.set_result(result)

        self._actions.put(answer)
        return future

    def put(self, action: Callable[[], None]) -> None:
        """Do `action` on the thread; nobody waits for it."""
        self._actions.put(action)

    def close(self, timeout_s: float) -> None:
        """End it once all that was asked for is done; what takes longer is left behind."""
        self._actions.put(None)
        if self._thread.ident is not None:
            self._thread.join(timeout_s)

    def _run(self) -> None:
        while True:
            try:
                action = self._actions.get(timeout=max(0.0, min(self._due_in_s(), _LONGEST_SLEEP_S)))
            except queue.Empty:
                action = self._tick
            if action is None:
                return
            try:
                action()
            except Exception:
                log.exception("the share's thread")
                self._failed()


_CHECK_EVERY_S = 3600.0
_JUDGE_EVERY_S = 600.0
SOON_S = 0.05
NEVER_DUE = float("inf")
_TRIES = 3
_LEASE = "the workspace's lease"
_FOREIGN = "foreign"
"""The trouble that files on the share are not Data Engine's."""


@frozen
class KeeperRules:
    """The functions that a keeper asks each time: the limits of the lease before each claim, so that an edit of the settings holds from the next one;
    why nobody can own a workspace in this place; whether this machine's clock is believed, once what others have published is here.

    An owner looks after the files of the deployments on the share: `check_sets` writes anew what is damaged and says what cannot be,
    `collect_sets` removes what no deployment that is kept names, as long as it may go on.
    """

    limits: Callable[[], Limits]
    unfit: Callable[[], str | None] = lambda: None
    takes_over_by_itself: Callable[[], bool] = lambda: False
    retention_days: Callable[[], float] = lambda: 30.0
    judge_clock: Callable[[], Verdict] = lambda: Believed(time.time(), time.time())
    check_sets: Callable[[], str | None] = lambda: None
    collect_sets: Callable[[Callable[[], bool]], None] = lambda may_go_on: None


class Keeper:
    """Keeps one workspace for one daemon. `on_change` is called from the keeper's thread when `state.unaged` or its deadline changed.

    `after_look` is called after each look at the share, with what it showed and what is held; it returns what it left alone there, and
    why, by its path. `is_brief` says that it owns for one commit only.
    """

    def __init__(
        self,
        observer: Observer,
        share: SharedHistory,
        rules: KeeperRules,
        *,
        is_brief: bool = False,
        clock: Callable[[], float] = boot_clock,
    ) -> None:
        self.me = observer.me
        self.limits = observer.limits
        self.state = OwnershipState()
        self._observer = observer
        self._share = share
        self._rules = rules
        self._history = HistoryKeeper(observer, share)
        self._publisher = Publisher(observer, share, rules.retention_days, clock)
        self.after_look: Callable[[View, HeldLease | None], Mapping[str, str]] = lambda view, held: {}
        self._left_alone: Mapping[str, str] = {}
        self._is_brief = is_brief
        self._believed: Verdict | None = None
        self._clock_due_s = NEVER
        self.on_change: Callable[[], None] = lambda: None
        self._clock = clock
        self._held: HeldLease | None = None
        self._view: View | None = None
        self._engine_on: bool | None = None
        self._is_again = False
        self._troubles: dict[str, str] = {}
        self._wants_control = False
        self._beat_due_s = self._commit_due_s = self._look_due_s = self._repeat_due_s = self._check_due_s = NEVER
        self._thread = ShareThread(tick=self._tick, due_in_s=self._due_in_s, failed=self._put_off)

    def start(self) -> None:
        """Begin to look; a brief keeper only does what it is asked for."""
        if self._is_brief:
            self._look_due_s = NEVER_DUE
        self._thread.start()

    def can_work(self) -> bool:
        """Whether new work may start now."""
        return self.state.token is not None and self._clock() < self.state.work_until_s

    @property
    def is_waiting(self) -> bool:
        """Whether it has asked for the workspace, or would take it over by itself once its owner has died."""
        lease = self.state.lease
        is_watching = (
            lease.state in ("owned", "takeover_available") and lease.engine_on and self._rules.takes_over_by_itself()
        )
        return self._wants_control or (self.state.token is None and is_watching)

    def oldest(self) -> int:
        """The number of the first generation on the share; asked on the keeper's thread.

        Raises:
            OSError, Damaged: the share is away, or the list cannot be read.
        """
        return self._observer.oldest()

    def age_s(self) -> float:
        """The seconds since the last look at the share."""
        return max(0.0, self._clock() - self.state.seen_s)

    # -- what is asked for; each is done on the keeper's thread ------------------------------------------------------------------

    def own(self) -> Future[None]:
        """Own the workspace, unless somebody else does.

        Raises (the future):
            OwnedElsewhereError: another workstation owns it, or the share cannot be used; the message has the fix.
        """
        return self._thread.ask(self._own)

    def take_over(self) -> Future[None]:
        """Own the workspace of an owner that has been silent for long enough.

        Raises (the future):
            OwnedElsewhereError: its owner has not been silent for long enough.
        """
        return self._thread.ask(lambda: self._own(is_takeover=True))

    def request(self, kind: str) -> Future[None]:
        """Ask the owner for the workspace, again and again until it is given or `withdraw` is called.

        Raises (the future):
            OwnedElsewhereError: the share cannot be written.
        """
        return self._thread.ask(lambda: self._request(kind))

    def withdraw(self) -> Future[None]:
        """Withdraw the request."""
        return self._thread.ask(self._withdraw)

    def release(self, *, to_requester: bool = False) -> Future[None]:
        """Publish what there is and give the workspace up; the caller has stopped all work."""
        return self._thread.ask(lambda: self._release(to_requester))

    def publish(self, write: Callable[[], None]) -> Future[None]:
        """Do `write` on this thread while the workspace is ours, and publish what it has written before the future is done.

        Raises (the future):
            OwnedElsewhereError: the workspace is not ours, or is not any more; nothing was published.
            WorkspaceError: it is not known to be published; it is as soon as the share answers, if the workspace is ours then.
            whatever `write` raises: nothing is published.
        """
        return self._thread.ask(lambda: self._publish(write))

    def set_engine(self, is_on: bool) -> None:
        """Let the next generation say whether the engine is on; it comes soon."""

        def note() -> None:
            self._engine_on = is_on
            self._commit_due_s = self._clock() + SOON_S

        self._thread.put(note)

    def look(self) -> Future[None]:
        """Look at the share now."""
        return self._thread.ask(self._look)

    def repair(self) -> Future[str]:
        """Append to a damaged list from its newest readable generation; the future says what was lost, in words."""
        return self._thread.ask(self._repair)

    def close(self, *, release: bool, timeout_s: float = 10.0) -> None:
        """End the thread, after giving the workspace up if wanted; what hangs on the share is left behind."""
        if release:
            self._thread.put(self._leave)
        self._thread.close(timeout_s)

    # -- the thread -------------------------------------------------------------------------------------------------

    def _due_in_s(self) -> float:
        if self._held is None:
            due_s = min(self._look_due_s, self._repeat_due_s if self._wants_control else NEVER_DUE)
        else:
            due_s = min(self._beat_due_s, self._commit_due_s, self._look_due_s, self._check_due_s)
        return due_s - self._clock()

    def _put_off(self) -> None:
        """Do all that is due a little later, after an unexpected error."""
        later_s = self._clock() + self.limits.retry_s
        self._look_due_s = max(self._look_due_s, later_s)
        self._beat_due_s, self._commit_due_s = max(self._beat_due_s, later_s), max(self._commit_due_s, later_s)

    def _tick(self) -> None:
        now_s = self._clock()
        if self._held is not None and now_s >= self._beat_due_s:
            self._beat()
        if self._held is not None and now_s >= self._commit_due_s:
            self._commit_when_due()
        if self._held is not None and now_s >= self._check_due_s:
            self._check_due_s = now_s + _CHECK_EVERY_S
            self._on_the_share("check", self._check)
        if now_s >= self._look_due_s:
            self._look()
        if self._held is None and self._wants_control and now_s >= self._repeat_due_s:
            self._repeat_due_s = now_s + self.limits.request_repeat_s
            self._on_the_share("request", self._observer.repeat_request)

    # -- looking ------------------------------------------------------------------------------------------------------

    def _look(self) -> None:
        view = self._view = self._observer.poll()
        self._look_due_s = self._clock() + min(view.limits.poll_s, self.limits.poll_s)
        self._history.remember()
        if self._held is not None:
            if view.state not in ("mine", "unreachable", "damaged"):
                self._beat()  # says whether it is over
        else:
            if self._history.is_due(view):
                self._on_the_share("refresh", self._take_in)
            if claims_by_itself(
                view, self.me, wants_control=self._wants_control, takes_over=self._rules.takes_over_by_itself
            ):
                self._on_the_share("claim", lambda: self._claim(view))
        self._on_the_share("watch", lambda: self._after_look(view))
        self._tell_what_is_left()
        self._look_at_the_clock(view)
        self._tell()

    def _after_look(self, view: View) -> None:
        self._left_alone = self.after_look(view, self._held)

    def _look_at_the_clock(self, view: View) -> None:
        is_here = view.top is None or self._held is not None or view.top.nonce == self._history.nonce
        is_due = self._clock() >= self._clock_due_s or isinstance(self._believed, Doubted)
        if is_here and is_due and view.state not in ("unreachable", "damaged"):
            self._clock_due_s = self._clock() + _JUDGE_EVERY_S
            self._on_the_share("clock", self._judge)

    def _judge(self) -> None:
        self._believed = self._rules.judge_clock()

    def _take_in(self, *, mine: bool = False) -> None:
        """Take in all that the newest generation lists; raises as `HistoryKeeper.take_in`."""
        if self._view is not None:
            self._view = self._history.take_in(self._view, mine=mine)

    # -- owning -------------------------------------------------------------------------------------------------------

    def _own(self, *, is_takeover: bool = False) -> None:
        if self._held is not None:
            return
        self._require_fit()
        for _ in range(_TRIES):
            view = self._view = self._observer.poll()
            if not may_claim(view, self.me, is_takeover=is_takeover):
                break
            try:
                self._claim(view)
            except Damaged as error:
                self._history.note(error)
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
        require_fit(self._rules.unfit())

    def _claim(self, view: View) -> None:
        self._require_fit()
        with suppress(FlowValidationError):  # settings that cannot be read are told elsewhere; the last ones hold on
            self.limits = self._observer.limits = self._rules.limits()
        self._take_in()  # all of it, before anything is claimed
        held = self._observer.claim(view)
        before = view.top
        self._is_again = before is not None and before.is_owned and before.by.machine_id == self.me.machine_id
        self._history.remember()
        request = view.request
        is_own = request is not None and request.requester_daemon_id == self.me.daemon_id  # the claim has answered it
        self._view = replace(view, state="mine", top=held.head, request=None if is_own else request)
        try:
            self._take_in(mine=True)
        except BaseException:
            with suppress(LeaseOutcome, OSError):
                held.release()  # nobody may own what it could not take in
            self._view = self._observer.poll()
            raise
        self._held = held
        self._wants_control = False
        now_s = self._clock()
        self._beat_due_s = now_s + self.limits.heartbeat_s
        self._commit_due_s = now_s + SOON_S
        self._look_due_s = now_s + self.limits.poll_s
        self._check_due_s = now_s + _CHECK_EVERY_S
        self._engine_on = None
        log.info("this machine owns the workspace: token %s", held.token)
        self._troubles.clear()
        self._tell()

    def _not_here(self, why: str = "") -> OwnedElsewhereError:
        """The error that says who owns instead, or what is in the way, and what helps."""
        status = self._lease_status()
        fix = {
            "owned": "ask for it: `data-engine lease request`, or Workspace.request_control()",
            "control_requested": "wait until its owner agrees, or until its lease is free",
            "takeover_available": "take it over: `data-engine lease take-over`, or Workspace.take_over()",
            "damaged": status.fix,
        }.get(status.state, "check whether the drive is connected and writable; `data-engine doctor` measures it")
        what = f"this machine does not own the workspace: {status.words}"
        return OwnedElsewhereError(f"{what} ({why})" if why else what, where=_LEASE, fix=fix)

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
        """Note what lies among our files on the share and is none of them, as long as it is there."""
        own = {} if self._held is None else self._observer.left_alone
        left = {**own, **self._left_alone}
        lines = [f"{path} in .workspace_state was left alone: {why}" for path, why in sorted(left.items())]
        self._note(_FOREIGN, first_few(lines, 3, "; ") or None)

    def _lose(self, fenced: Fenced) -> None:
        self._held = None
        log.warning("this machine does not own the workspace any more: %s", fenced)
        self._look_due_s = self._clock()
        self._troubles.clear()
        self._tell(lost_to=lost_to(fenced, self.me))

    # -- publishing -----------------------------------------------------------------------------------------------------

    def _commit_when_due(self) -> None:
        self._commit_due_s = self._clock() + self.limits.commit_spacing_s
        held = self._held
        assert held is not None
        if not held.can_work():
            return
        try:
            self._commit(held)
        except Fenced as fenced:
            self._lose(fenced)
        except (Lost, InDoubt, Damaged, OSError, LedgerError) as error:
            self._note("history", f"the history cannot be published: {error}")
            if isinstance(error, Damaged) and error.file:
                self._on_the_share("fix", self._fix)
        else:
            self._note("history", None)

    def _commit(self, held: HeldLease) -> None:
        """Publish what is new, if anything is, and whether the engine is on, if that is new."""
        is_engine_news = self._engine_on not in (None, held.head.engine_on)
        published = self._publisher.commit(
            held, engine_on=self._engine_on, at=self._believed, is_worth_it=is_engine_news
        )
        if published is not None:
            self._history.published(published)
            self._collect_when_due(held)

    def _publish(self, write: Callable[[], None]) -> None:
        if self._held is not None and not self._held.can_work():
            self._beat()  # it may only have been late
        held = self._held
        if held is None:
            raise self._not_here()
        if not held.can_work():
            trouble_text = self._troubles.get("heartbeat")
            why = f": {trouble_text}" if trouble_text else ""
            raise OwnedElsewhereError(
                f"this machine owns the workspace, but its heartbeat could not be written in time{why}",
                where=_LEASE,
                fix="nothing was changed; try again once the drive answers (`data-engine doctor` measures it)",
            )
        trouble: Exception | None = None
        try:
            write()
            rev = self._share.rev  # of what is written meanwhile, by runs that go on, somebody else waits for the end
            for _ in range(_TRIES):
                try:
                    while not self._share.is_published_until(rev):
                        self._commit(held)
                except (Lost, InDoubt, Damaged, OSError, LedgerError) as error:
                    trouble = error
                else:
                    return
        except Fenced as fenced:
            self._lose(fenced)
            raise self._not_here() from fenced
        except OSError as error:  # of `write`: what it puts on the share before it says so
            trouble = error
        raise WorkspaceError(
            f"it may not have been published: {trouble}",
            where="the shared folder",
            fix="once the drive answers, check whether it was published (`data-engine deployments`); if not, ask again",
        ) from trouble

    def _check(self) -> None:
        held = self._held
        assert held is not None
        self._history.check(held, self._publisher)
        self._note("deployments", self._rules.check_sets())

    def _fix(self) -> list[str]:
        held = self._held
        assert held is not None
        repaired = self._history.fix(held, self._publisher)
        if repaired:
            self._collect_when_due(held)
        return repaired

    def _collect_when_due(self, held: HeldLease) -> None:
        if self._publisher.is_collection_due:
            self._on_the_share("collect", held.collect)
            self._on_the_share("sets", lambda: self._rules.collect_sets(held.can_work))
            self._tell_what_is_left()

    def _release(self, to_requester: bool) -> None:
        held = self._held
        if held is None:
            return
        request = None
        if to_requester:
            self._view = self._observer.poll()
            request = self._view.request
        try:
            self._commit(held)
            self.state = replace(self.state, work_until_s=NEVER)
            held.release(handoff_to=request)
        except Fenced as fenced:
            self._lose(fenced)
            return
        except (LeaseOutcome, OSError, LedgerError) as error:
            self._note("release", f"the workspace cannot be given up just now: {error}")
            raise self._not_here(str(error)) from error
        self._held = None
        self._troubles.clear()
        if not self._is_brief:
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
        try:
            return self._repair_now()
        except (LeaseOutcome, Damaged, OSError) as error:
            self._look()
            raise WorkspaceError(
                f"the shared history cannot be repaired just now: {error}",
                where=_LEASE,
                fix="look again with `data-engine lease status`; where it is still damaged, repair it again",
            ) from error

    def _repair_now(self) -> str:
        """Fix what is damaged. An owner goes on owning, from its own ledger; whoever else repairs owns nothing afterwards."""
        view = self._view = self._observer.poll()
        held = self._held
        if held is not None and view.state == "mine":
            lost = self._fix()
            self._tell()
            return f"repaired; published again from this machine: {', '.join(lost)}" if lost else HEALTHY
        repaired = self._history.repair(view)
        if repaired is None:
            self._look()
            return HEALTHY
        self._held = None
        self._view = self._observer.poll()
        words = repair_text(repaired)
        if held is None:
            self._look()
            return words
        try:  # it owned before: it owns again, and what is deployed may be gone as well
            self._own()
            self._check_due_s = self._clock()
        except OwnedElsewhereError as error:
            self._tell(lost_to=shown_machine(self._lease_status().owner or {"host_name": "somebody else"}))
            return f"{words}; {error.what}"
        return words

    # -- telling ------------------------------------------------------------------------------------------------------

    def _on_the_share(self, kind: str, deed: Callable[[], object]) -> None:
        """Do a deed that can be done another time as well: an error is only noted, until the deed succeeds."""
        try:
            deed()
        except Fenced as fenced:
            self._lose(fenced)
        except (LeaseOutcome, OSError, FlowValidationError) as error:
            if self._troubles.get(kind) != str(error):
                log.warning("on the share: %s: %s", type(error).__name__, error)
            self._note(kind, str(error))
        else:
            if kind in self._troubles:
                self._note(kind, None)

    def _note(self, kind: str, trouble: str | None) -> None:
        """Keep the trouble of this kind until the same deed goes well: then it is None."""
        if trouble is None:
            self._troubles.pop(kind, None)
        else:
            self._troubles[kind] = trouble
        self._tell()

    def _trouble(self) -> tuple[str | None, tuple[str, ...]]:
        """The troubles with the share in words, and their kinds; what harms nothing comes last."""
        if not self._troubles:
            return self._share.left_out, () if self._share.left_out is None else ("left_out",)
        kinds = tuple(sorted(self._troubles, key=_FOREIGN.__eq__))
        return "; ".join(map(self._troubles.__getitem__, kinds)), kinds

    def _lease_status(self) -> LeaseStatus:
        if self._view is None:
            return LeaseStatus()
        return status_of(self._view, self.me, self._history.damage)

    def _tell(self, *, lost_to: str | None = "") -> None:
        """Renew `state`; "" leaves what is there."""
        held, before = self._held, self.state
        top = None if self._view is None else self._view.top
        if held is not None:
            lost_to = None
        self.state = OwnershipState(
            None if held is None else held.token,
            NEVER if held is None else held.work_until,
            (held.head.engine_on if held is not None else top is not None and top.engine_on),
            held is not None and self._is_again,
            self._lease_status(),
            before.lost_to if lost_to == "" else lost_to,
            *self._trouble(),
            self._clock(),
            self._believed,
            held is not None and not held.can_work(),
            self._history.taken_in,
        )
        if self.state.unaged != before.unaged or self.state.work_until_s != before.work_until_s:
            self.on_change()


@frozen
class OwnershipState:
    """The ownership as this process knows it, in memory.

    `token` is the fencing token while this daemon owns the workspace (it may have lapsed), else None. Work may start until
    `work_until_s` on `boot_clock()`. `engine_on` is what the newest generation says of the engine, `is_again` whether the owner
    before was a daemon of this machine. `lost_to` names who took the workspace from this daemon. `trouble` is what keeps the
    share from being used, `trouble_kinds` for which deeds. `seen_s` is when `lease` was seen. `clock` says whether this
    machine's wall clock is believed, None before it was judged. `is_lapsed`: no new work may start although the workspace is
    ours. `history` is the generation whose rows were last taken in from others, by its nonce.
    """

    token: int | None = None
    work_until_s: float = NEVER
    engine_on: bool = False
    is_again: bool = False
    lease: LeaseStatus = field(default_factory=LeaseStatus)
    lost_to: str | None = None
    trouble: str | None = None
    trouble_kinds: tuple[str, ...] = ()
    seen_s: float = NEVER
    clock: Verdict | None = None
    is_lapsed: bool = False
    history: str | None = None

    @property
    def unaged(self) -> tuple[object, ...]:
        """Facts that stay equal while nothing happens that anybody must know: heartbeats and time that passes do not count."""
        facts = (self.token, self.engine_on, self.is_again, self.lost_to, self.trouble, self.is_lapsed, self.history)
        return (*facts, self.lease.unaged, clock_warnings(self.clock))


def may_claim(view: View, me: Identity, *, is_takeover: bool) -> bool:
    """Whether somebody who wants to own may claim what `view` saw; from a silent owner only in a takeover, or when it died here."""
    if view.state != "stale":
        return view.is_claimable
    return is_takeover or (view.top is not None and is_of_this_machine(view.top, me))


def claims_by_itself(view: View, me: Identity, *, wants_control: bool, takes_over: Callable[[], bool]) -> bool:
    """Whether to take what was given to this machine, what it asked for, or what nobody runs any more, where that is set."""
    top = view.top
    if top is None or not view.is_claimable:
        return False
    is_given = view.state == "available" and (top.handoff_to == me.machine_id or wants_control)
    is_silent = view.state == "stale" and (wants_control or (takes_over() and top.engine_on))
    return is_given or is_silent or view.state == "mine"


def lost_to(fenced: Fenced, me: Identity) -> str | None:
    """The name of the machine that took the workspace from `me`; None where it was given up, by a release whose answer was lost."""
    newest = fenced.generation
    if newest is None:
        return "somebody else"
    if newest.kind == "release" and newest.by.daemon_id == me.daemon_id:
        return None
    return f"{newest.by.shown}, which repaired the shared history," if newest.kind == "repair" else newest.by.shown
