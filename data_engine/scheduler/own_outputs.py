"""Which files beside a flow's sources the flow has written itself, and which it may be writing now."""

from __future__ import annotations

from collections.abc import Iterable, Set


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
        """A step has returned this path: of a file that its run wrote, or of one that it read."""
        (self._written if is_written else self._only_read).add(path)

    def run_went_well(self) -> None:
        """Where the flow writes has been seen."""
        self._is_known = True

    def expect_new_code(self) -> None:
        """The flow was edited: where it writes has to be seen again."""
        self._is_known = False

    def may_be_written_by(self, suspects: Set[str], live: Set[str], *, is_parallel: bool) -> bool:
        """Whether one of the `suspects` (runs under way when a file was first seen) that are still `live` may have written it.

        Where several sources run at once new ones need not wait for a slow run of a flow that has shown to write elsewhere.
        """
        if suspects.isdisjoint(live):
            return False
        return not is_parallel or bool(self._written) or not self._is_known
