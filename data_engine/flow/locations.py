"""The path tables of `context.source` and `context.mirror`: where a run reads and writes.

For a source root R, mirror root M and the file R/a/b.xlsx:

    expression                 source           mirror (parent folders are created)
    .root                      R                M
    .path                      R/a/b.xlsx       -
    .relative_path             a/b.xlsx         -
    .dir                       R/a/b            M/a/b
    .folder                    R/a              M/a
    .with_suffix(".parquet")   R/a/b.parquet    M/a/b.parquet
    .file("n.json")            R/a/n.json       M/a/n.json
    .namespaced_file("n.json") R/a/b/n.json     M/a/b/n.json
    .root_file("l.csv")        R/l.csv          M/l.csv

Without a concrete file (a batch, or no source) `.dir` and `.folder` are the root; a single-file source has its parent
folder as R.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import field
from functools import lru_cache
from pathlib import Path
from typing import Protocol

from data_engine.argument_checks import checked
from data_engine.errors import FlowValidationError
from data_engine.flow.paths import inside, make_folder
from data_engine.flow.scan import is_candidate_name, parse_extensions
from data_engine.formatting import cli_line
from data_engine.record import frozen


class Places(Protocol):
    """The places where a run writes; a context asks them before it hands out a path, also from several threads at once."""

    def root(self, final: Path) -> Path:
        """The folder that stands for the mirror root `final` in this run."""

    def enter(self, place: Path, *, is_folder: bool) -> None:
        """Prepare a path below `root` that is about to be handed out: a file, or a folder with all its content."""

    def database(self, final: Path, *, read_only: bool) -> Path:
        """The path that stands for the workspace's database `final` in this run."""

    def final(self, path: Path) -> Path:
        """The path of the file `path` when the run has ended well; a foreign path is unchanged."""

    def publish(self) -> None:
        """Make everything written so far visible."""


class InPlace:
    """The places of a run that writes into the mirror itself, at once.

    Example:
        >>> IN_PLACE.root(Path("/out")), IN_PLACE.final(Path("/out/a.csv"))
        (PosixPath('/out'), PosixPath('/out/a.csv'))
    """

    def root(self, final: Path) -> Path:
        """The mirror root itself."""
        return final

    def enter(self, place: Path, *, is_folder: bool) -> None:
        """Prepare nothing."""

    def database(self, final: Path, *, read_only: bool) -> Path:
        """The database itself."""
        return final

    def final(self, path: Path) -> Path:
        """The path itself."""
        return path

    def publish(self) -> None:
        """Refuse: everything is visible already.

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
    """Other `places`, which call `note` with each path that is handed out and whether it is a folder.

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
        """Prepare the path as the other places do, and note it."""
        self._places.enter(place, is_folder=is_folder)
        self._note(place, is_folder)


@frozen
class SourceContext:
    """The active source: `root`, and for a concrete file its `path` and `relative_path` inside the root.

    Nothing is created. Names never leave the root.

    Example:
        >>> source = SourceContext(Path("/in"), Path("/in/a/b.xlsx"), Path("a/b.xlsx"))
        >>> source.with_suffix("json"), source.namespaced_file("n.json")
        (PosixPath('/in/a/b.json'), PosixPath('/in/a/b/n.json'))
    """

    root: Path
    path: Path | None = None
    relative_path: Path | None = None

    @property
    def dir(self) -> Path:
        """The folder named like the file without its last extension; the root without a file."""
        return self.root if self.relative_path is None else self.root / self.relative_path.with_suffix("")

    @property
    def folder(self) -> Path:
        """The folder the file is in; the root without a file."""
        return self.root if self.relative_path is None else (self.root / self.relative_path).parent

    def with_suffix(self, suffix: str) -> Path:
        """The file's path with another last extension.

        Raises:
            FlowValidationError: no concrete file, or a blank extension.

        Example:
            >>> source = SourceContext(Path("/in"), Path("/in/a/b.xlsx"), Path("a/b.xlsx"))
            >>> source.with_suffix(".parquet").as_posix()
            '/in/a/b.parquet'
        """
        return self.root / _swap_suffix(self.relative_path, suffix, "source.with_suffix")

    with_extension = with_suffix

    def file(self, name: str) -> Path:
        """`name` beside the file.

        Raises:
            FlowValidationError: a name that leaves the root.

        Example:
            >>> source = SourceContext(Path("/in"), Path("/in/a/b.xlsx"), Path("a/b.xlsx"))
            >>> source.file("n.json").as_posix()
            '/in/a/n.json'
        """
        return inside(self.root, name, start=self.folder, where="source.file")

    def namespaced_file(self, name: str) -> Path:
        """`name` in the folder named like the file.

        Raises:
            FlowValidationError: no concrete file, or a name that leaves the root.

        Example:
            >>> source = SourceContext(Path("/in"), Path("/in/a/b.xlsx"), Path("a/b.xlsx"))
            >>> source.namespaced_file("n.json").as_posix()
            '/in/a/b/n.json'
        """
        _need_file(self.relative_path, "source.namespaced_file")
        return inside(self.root, name, start=self.dir, where="source.namespaced_file")

    def root_file(self, name: str) -> Path:
        """`name` directly in the root.

        Raises:
            FlowValidationError: a name that leaves the root.

        Example:
            >>> source = SourceContext(Path("/in"), Path("/in/a/b.xlsx"), Path("a/b.xlsx"))
            >>> source.root_file("l.csv").as_posix()
            '/in/l.csv'
        """
        return inside(self.root, name, where="source.root_file")


@frozen
class MirrorContext:
    """Write-ready paths under the mirror root: parent folders exist when a path is handed out.

    A target derived from the source's name is refused when an earlier candidate of the same folder has the same stem
    (`a.csv` before `a.xlsx`), so that two sources never overwrite each other; any target that is the source file itself is
    refused, and where the mirror `is_source_folder`, whatever a source may be called. `has_siblings` says that other files of the folder are sources too.

    `final_root` is the mirror root; `places` says where writing goes in this run: in a preview to a scratch folder of this
    machine, in a run of a staged mirror to a stage, else to the mirror itself. `root` and all paths but those of
    `published()` and `final()` lie there.
    """

    final_root: Path
    source_path: Path | None = None
    relative_path: Path | None = None
    extensions: tuple[str, ...] | None = None
    has_siblings: bool = True
    places: Places = field(default=IN_PLACE, repr=False, compare=False)
    workspace_root: Path | None = field(default=None, repr=False, compare=False)
    is_source_folder: bool = field(default=False, repr=False, compare=False)

    @property
    def root(self) -> Path:
        """The mirror root, as it is in this run."""
        self.places.enter(self._root, is_folder=True)
        return self._root

    @property
    def dir(self) -> Path:
        """The folder named like the source file without its last extension, created; the root without a file."""
        return self._folder(self._dir)

    @property
    def folder(self) -> Path:
        """The source file's folder mirrored, created; the root without a file."""
        return self._folder(self._beside)

    def with_suffix(self, suffix: str) -> Path:
        """The source file's place in the mirror with another last extension.

        Raises:
            FlowValidationError: no concrete file, a blank extension, or an earlier source with the same stem.

        Example:
            >>> import tempfile
            >>> mirror = MirrorContext(Path(tempfile.mkdtemp()), Path("/in/a/b.xlsx"), Path("a/b.xlsx"))
            >>> mirror.with_suffix(".parquet").relative_to(mirror.root).as_posix()
            'a/b.parquet'
        """
        target = self._root / _swap_suffix(self.relative_path, suffix, "mirror.with_suffix")
        self._refuse_shared_stem(target)
        return self._file(target)

    with_extension = with_suffix

    def file(self, name: str) -> Path:
        """`name` in the mirrored folder; a name the author chose may be shared between sources.

        Raises:
            FlowValidationError: a name that leaves the root, or a target that is a source.

        Example:
            >>> import tempfile
            >>> mirror = MirrorContext(Path(tempfile.mkdtemp()), Path("/in/a/b.xlsx"), Path("a/b.xlsx"))
            >>> mirror.file("n.json").relative_to(mirror.root).as_posix()
            'a/n.json'
        """
        return self._file(inside(self._root, name, start=self._beside, where="mirror.file"))

    def namespaced_file(self, name: str) -> Path:
        """`name` in the folder named like the source file; in the root without a file.

        Raises:
            FlowValidationError: a name that leaves the root, or an earlier source with the same stem.

        Example:
            >>> import tempfile
            >>> mirror = MirrorContext(Path(tempfile.mkdtemp()), Path("/in/a/b.xlsx"), Path("a/b.xlsx"))
            >>> mirror.namespaced_file("n.json").relative_to(mirror.root).as_posix()
            'a/b/n.json'
        """
        target = inside(self._root, name, start=self._dir, where="mirror.namespaced_file")
        if self.relative_path is not None:
            self._refuse_shared_stem(target)
        return self._file(target)

    def root_file(self, name: str) -> Path:
        """`name` directly in the mirror root.

        Raises:
            FlowValidationError: a name that leaves the root, or a target that is a source.

        Example:
            >>> import tempfile
            >>> mirror = MirrorContext(Path(tempfile.mkdtemp()), Path("/in/a/b.xlsx"), Path("a/b.xlsx"))
            >>> mirror.root_file("l.csv").relative_to(mirror.root).as_posix()
            'l.csv'
        """
        return self._file(inside(self._root, name, where="mirror.root_file"))

    def published(self, name: str) -> Path:
        """The file `name` of the mirror root as everybody sees it, to read; nothing is created.

        Raises:
            FlowValidationError: a name that leaves the root.

        Example:
            >>> import tempfile
            >>> mirror = MirrorContext(Path(tempfile.mkdtemp()), Path("/in/a/b.xlsx"), Path("a/b.xlsx"))
            >>> mirror.published("l.csv").exists()
            False
        """
        return inside(self.final_root, name, where="mirror.published")

    @checked()
    def final(self, path: str | os.PathLike[str]) -> Path:
        """The place of a path of this run when the run has ended well; of a mirror that is not staged, the path itself.

        Example:
            >>> import tempfile
            >>> mirror = MirrorContext(Path(tempfile.mkdtemp()), Path("/in/a/b.xlsx"), Path("a/b.xlsx"))
            >>> mirror.final(mirror.root / "l.csv") == mirror.root / "l.csv"
            True
        """
        return self.places.final(Path(path))

    def publish(self) -> None:
        """Publish what a staged mirror holds so far, before the run has ended; for long batches.

        Raises:
            FlowValidationError: the mirror is not staged, or a target cannot be replaced.

        Example:
            >>> import tempfile
            >>> mirror = MirrorContext(Path(tempfile.mkdtemp()), Path("/in/a/b.xlsx"), Path("a/b.xlsx"))
            >>> try:
            ...     mirror.publish()
            ... except FlowValidationError as error:
            ...     print(error.what)
            there is nothing to publish: the mirror is not staged, so what a step writes is seen at once
        """
        self.places.publish()

    @property
    def _root(self) -> Path:
        return self.places.root(self.final_root)

    @property
    def _dir(self) -> Path:
        return self._root if self.relative_path is None else self._root / self.relative_path.with_suffix("")

    @property
    def _beside(self) -> Path:
        return self._root if self.relative_path is None else (self._root / self.relative_path).parent

    def _file(self, target: Path) -> Path:
        if (final := self.places.final(target)) == self.source_path:
            raise FlowValidationError(
                f"the mirror path {final} is the source file itself",
                where="context.mirror",
                fix="choose another name, or mirror into another folder",
            )
        if self.is_source_folder and self._is_named_as_source(target.name):
            raise FlowValidationError(
                f"{target.name} would become one more source: the mirror is the source folder",
                where="context.mirror",
                fix="choose an extension that the flow does not watch, or mirror into another folder",
            )
        self._create(target, is_folder=False)
        return target

    def _folder(self, folder: Path) -> Path:
        self._create(folder, is_folder=True)
        return folder

    def _create(self, place: Path, *, is_folder: bool) -> None:
        self.places.enter(place, is_folder=is_folder)
        folder = place if is_folder else place.parent
        try:
            make_folder(folder, workspace=self.workspace_root)
        except OSError as error:
            raise FlowValidationError(
                f"the mirror folder {folder} cannot be created: {error.strerror}",
                where="context.mirror",
                fix="check the mirror root's permissions and that no file is in the way",
            ) from error

    def _refuse_shared_stem(self, target: Path) -> None:
        if self.source_path is None or not self.has_siblings:
            return
        folder, name = os.path.split(self.source_path)
        earlier = next(
            (other for other in _same_stem(folder, name) if other < name and self._is_candidate(other)), None
        )
        if earlier is not None:
            raise FlowValidationError(
                f"{earlier} and {name} in {folder} would both write {self.places.final(target)}",
                where="context.mirror",
                fix=f"rename or remove one of the two, restrict extensions=, or choose a name: mirror.file({name + target.suffix!r});"
                f" then try the held files again: `{cli_line('retry')}`",
            )

    def _is_candidate(self, name: str) -> bool:
        if not self._is_named_as_source(name):
            return False
        return self.source_path is not None and self.source_path.with_name(name).is_file()

    def _is_named_as_source(self, name: str) -> bool:
        return is_candidate_name(name) and (self.extensions is None or name.lower().endswith(self.extensions))


def _swap_suffix(relative_path: Path | None, suffix: str, where: str) -> Path:
    extensions = parse_extensions([suffix], where=where)
    assert extensions is not None
    return _need_file(relative_path, where).with_suffix(extensions[0])


def _need_file(relative_path: Path | None, where: str) -> Path:
    if relative_path is None:
        raise FlowValidationError(
            "this run has no concrete source file",
            where=where,
            fix=f'choose a name: context.{where.partition(".")[0]}.file("NAME"); or let the flow run for each file: run_as="individual"',
        )
    return relative_path


def _same_stem(folder: str, name: str) -> tuple[str, ...]:
    try:
        shared = _by_stem(folder, os.stat(folder).st_mtime_ns)
    except OSError:
        return ()
    return tuple(other for other in shared.get(_stem(name), ()) if other != name)


@lru_cache(maxsize=4)
def _by_stem(folder: str, changed_ns: int) -> dict[str, tuple[str, ...]]:
    """The names in `folder` by stem, only for stems shared by several; remembered while the folder does not change."""
    groups: dict[str, list[str]] = {}
    for other in os.listdir(folder):
        groups.setdefault(_stem(other), []).append(other)
    return {stem: tuple(sorted(names)) for stem, names in groups.items() if len(names) > 1}


def _stem(name: str) -> str:
    return os.path.normcase(os.path.splitext(name)[0])  # on Windows A.csv and a.xlsx write one file
