"""What a daemon does now and then beside its work: it removes old history, finishes or removes stages that killed runs have left,
and keeps the machine awake while a run is active (`[daemon] keep_awake`)."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from functools import partial

from data_engine.engine.local_workspace import LocalWorkspace
from data_engine.engine.publication import tidy
from data_engine.errors import LedgerError
from data_engine.flow.flow import Flow
from data_engine.ledger.belief import Believed, Verdict
from data_engine.ledger.ledger import Ledger
from data_engine.ledger.publications import runs_of_stages
from data_engine.platforms.awake import Awake, stay_awake

log = logging.getLogger(__name__)

_EVERY_S = 3600.0


class Pruner:
    """Removes what is older than `[history] retention_days`."""

    def __init__(self, home: LocalWorkspace) -> None:
        self._home = home
        self._pruned_s = 0.0

    def look(self, clock: Verdict | None) -> None:
        """Remove it when an hour has passed; `clock` is what was found of this machine's.

        Raises:
            LedgerError: the history cannot be written.
        """
        is_due = time.monotonic() - self._pruned_s > _EVERY_S or not self._pruned_s
        if is_due and isinstance(clock, Believed) and self._home.settings_error() is None:
            self._pruned_s = time.monotonic()
            self._home.ledger().prune(retention_days=self._home.settings().history.retention_days, at=clock)


class StageSweeper:
    """Sweeps the stages of a workspace's flows; `machine` is this machine's identity."""

    def __init__(self, ledger: Ledger, machine: str) -> None:
        self._ledger, self._machine = ledger, machine
        self._swept_s = float("-inf")
        self._was_owner = False

    def is_due(self, *, is_owner: bool) -> bool:
        """Whether an hour has passed, or the workspace has become ours; asked at each beat."""
        has_become_ours, self._was_owner = is_owner and not self._was_owner, is_owner
        return has_become_ours or time.monotonic() - self._swept_s > _EVERY_S

    def sweep(self, flows: Iterable[Flow | None], *, is_owner: bool) -> None:
        """Sweep beside every staged mirror. Takes a drive's time."""
        self._swept_s = time.monotonic()
        with suppress(LedgerError):
            self._ledger.flush()
            runs = partial(runs_of_stages, self._ledger.path)
            roots = {flow.mirror_spec.root for flow in flows if flow and flow.is_staged and flow.mirror_spec}
            for root in roots:
                count = tidy(root, machine=self._machine, runs=runs, is_owner=is_owner, now_s=time.time())
                if count:
                    log.info("%d stages beside %s, of runs that are over, are finished or removed", count, root)


class KeepsAwake:
    """Keeps the machine awake while that is wanted; `trouble` says why it cannot, and it is tried once.

    Everything is called on one thread.

    Example:
        >>> from types import SimpleNamespace
        >>> said = []
        >>> system = SimpleNamespace(trouble=lambda: None, let_go=lambda: said.append("sleeps"))
        >>> keeps = KeepsAwake("claims", lambda why: said.append(why) or system)
        >>> keeps.look(is_active=True, is_set=True)
        >>> keeps.look(is_active=False, is_set=True)
        >>> said
        ['runs of claims', 'sleeps']
    """

    def __init__(self, workspace: str, start: Callable[[str], Awake] = stay_awake) -> None:
        self._why = f"runs of {workspace}"
        self._start = start
        self._held: Awake | None = None
        self.trouble: str | None = None

    def look(self, *, is_active: bool, is_set: bool) -> None:
        """Go on as `is_set` says, now that runs are active or are not."""
        if not is_set:
            self.trouble = None
        is_wanted = is_active and is_set and self.trouble is None
        if self._held is None and is_wanted:
            try:
                self._held = self._start(self._why)
            except OSError as error:
                self._give_up(f"{error.filename or ''} {error.strerror or error}".strip())
        elif self._held is not None and (why := self._held.trouble()) is not None:
            self._give_up(why)
        elif self._held is not None and not is_wanted:
            self.close()

    def close(self) -> None:
        """Let the machine sleep again."""
        if self._held is not None:
            self._held.let_go()
            self._held = None

    def _give_up(self, why: str) -> None:
        self.close()
        self.trouble = f"keep_awake: this machine cannot be kept awake ({why})"
        log.warning("%s", self.trouble)
