"""The one thread of a daemon that talks to the share, as everybody else sees it.

They read `Keeper.state`, a value in memory, or ask for something and get a future.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future

from data_engine.lease.keeper_work import NEVER_DUE, SOON_S, KeeperWork


class Keeper(KeeperWork):
    """Keeps one workspace for one daemon. `on_change` is called from the keeper's thread when `state.unaged` or its deadline changed.

    `limits` are read again before each claim, so that an edit of the settings holds from the next one. `unfit` says
    before each claim why nobody can own a workspace in this place. `judge_clock` is asked on the keeper's thread, once
    what others have published is here: by that it may judge. `sets` are the deployments' files, which an owner looks after. `watch` tells
    people of a silent owner.
    `is_brief` says that it owns for one commit only.
    """

    def start(self) -> None:
        """Begin to look; one that is brief only does what it is asked for."""
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
        is_watching = lease.state in ("owned", "takeover_available") and lease.engine_on and self._takes_over()
        return self._wants_control or (self.state.token is None and is_watching)

    def age_s(self) -> float:
        """How long ago the share was last looked at."""
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
        """Append to a damaged list from its newest readable generation; what was lost, in words."""
        return self._thread.ask(self._repair)

    def close(self, *, release: bool, timeout_s: float = 10.0) -> None:
        """End the thread, after giving the workspace up if wanted; what hangs on the share is left behind."""
        if release:
            self._thread.put(self._leave)
        self._thread.close(timeout_s)
