"""`[daemon] keep_awake`: the machine does not go to sleep by itself while a run is active."""

from __future__ import annotations

import logging
from collections.abc import Callable

from data_engine.platforms.awake import Awake, stay_awake

log = logging.getLogger(__name__)


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
