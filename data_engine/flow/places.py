"""Where the writing of a run goes: in place, or somewhere else that whoever runs the flow decides."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from data_engine.errors import FlowValidationError


class Places(Protocol):
    """What a context asks before it hands out a path to write to. May be asked by several threads at once."""

    def root(self, final: Path) -> Path:
        """The folder that stands for the mirror root `final` in this run."""

    def enter(self, place: Path, *, is_folder: bool) -> None:
        """A path below `root` is about to be handed out: a file's, or a folder's with all that is in it."""

    def database(self, final: Path, *, read_only: bool) -> Path:
        """The path that stands for the workspace's database `final` in this run."""

    def final(self, path: Path) -> Path:
        """Where a file at `path` will be when the run has ended well; a path that is none of ours as it is."""

    def publish(self) -> None:
        """Let everybody see what was written so far."""


class InPlace:
    """Writing goes where it belongs, at once.

    Example:
        >>> IN_PLACE.root(Path("/out")), IN_PLACE.final(Path("/out/a.csv"))
        (PosixPath('/out'), PosixPath('/out/a.csv'))
    """

    def root(self, final: Path) -> Path:
        """The mirror root itself."""
        return final

    def enter(self, place: Path, *, is_folder: bool) -> None:
        """Nothing is to be prepared."""

    def database(self, final: Path, *, read_only: bool) -> Path:
        """The database itself."""
        return final

    def final(self, path: Path) -> Path:
        """The path itself."""
        return path

    def publish(self) -> None:
        """Everything is seen already.

        Raises:
            FlowValidationError: always, since the flow's mirror is not staged.
        """
        raise FlowValidationError(
            "there is nothing to publish: the mirror is not staged, so what a step writes is seen at once",
            where="context.mirror.publish",
            fix="leave the call out, or write .mirror(root=..., staged=True)",
        )


IN_PLACE = InPlace()


class NotedPlaces:
    """Other `places`, with each path that is handed out told to `note`, and whether it is a folder.

    Example:
        >>> noted = []
        >>> NotedPlaces(IN_PLACE, lambda path, is_folder: noted.append(path)).enter(Path("/out/a.csv"), is_folder=False)
        >>> noted
        [PosixPath('/out/a.csv')]
    """

    def __init__(self, places: Places, note: Callable[[Path, bool], None]) -> None:
        self._places, self._note = places, note
        self.root, self.database, self.final = places.root, places.database, places.final
        self.publish = places.publish

    def enter(self, place: Path, *, is_folder: bool) -> None:
        """As the other places."""
        self._places.enter(place, is_folder=is_folder)
        self._note(place, is_folder)
