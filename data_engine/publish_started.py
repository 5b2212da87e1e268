"""The event by which a run tells what it is about to publish of its stage (engine/stage.py)."""

from __future__ import annotations

from typing import NamedTuple


class StagedFile(NamedTuple):
    """A file of a stage: its path inside the mirror, its size and time, and its SHA-256 where it was taken.

    `replaces` is the size and time of what lay in its place, None where nothing did.
    """

    name: str
    size_bytes: int
    mtime_ns: int
    sha256: str | None = None
    replaces: tuple[int, int] | None = None


class PublishStarted(NamedTuple):
    """These files of the run's stage are about to take their place in the folder called `mirror`; told before the first does.

    `made_of` is the size and time of the source; `code` stands for the flow's code where nothing but the publishing failed:
    its steps need not run again then. Without files all that was told before has taken its place.
    """

    run_id: str
    mirror: str
    files: tuple[StagedFile, ...] = ()
    made_of: tuple[int, int] | None = None
    code: str | None = None
