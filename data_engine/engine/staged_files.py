"""The files of a stage as the record of a publication lists them, so that only these are ever published from it."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Mapping
from itertools import groupby

from data_engine import user_files
from data_engine.model import StagedFile
from data_engine.nofollow import FoundFile, OpenFolder, inside, opened_file
from data_engine.platforms.files import has_locks_to_lose
from data_engine.user_files import digest_of

HASHED_BYTES = 32 * 1024**2
"""The largest publication that is hashed. A larger one is finished by the machine that began it, and by no other."""


def listed(
    stage: OpenFolder, files: Iterable[FoundFile], replaced: Mapping[str, tuple[int, int] | None]
) -> tuple[StagedFile, ...]:
    """The files of a stage as they are recorded before the first takes its place; `replaced` is what lies there, by name."""
    entries = list(files)
    is_hashed = sum(file.facts.st_size for file in entries) <= HASHED_BYTES
    rows = []
    for folder, group in groupby(entries, lambda file: file.folder):
        with inside(stage, folder) as here:
            for file in group:
                digest = sha256_of(here, file.name, file.facts.st_size) if is_hashed else None
                name = "/".join((*folder, file.name))
                rows.append(StagedFile(name, file.facts.st_size, file.facts.st_mtime_ns, digest, replaced.get(name)))
    return tuple(rows)


def is_as_listed(here: OpenFolder, name: str, facts: os.stat_result, file: StagedFile, *, is_own: bool) -> bool:
    """Whether the file is the one that was listed; the size and time of one without a hash count where it `is_own`, of this machine."""
    if not stat.S_ISREG(facts.st_mode) or facts.st_size != file.size_bytes:
        return False
    if file.sha256 is None:
        return is_own and facts.st_mtime_ns == file.mtime_ns
    return sha256_of(here, name, file.size_bytes) == file.sha256


def sha256_of(place: OpenFolder, name: str, size_bytes: int) -> str:
    """The hash of the plain file's first `size_bytes`: it may grow meanwhile."""
    if has_locks_to_lose(name) and (facts := place.facts(name)) is not None:
        return user_files.sha256_of(place.path / name, size_bytes, (facts.st_dev, facts.st_ino))
    with opened_file(place, name) as descriptor:
        return digest_of(descriptor, size_bytes)
