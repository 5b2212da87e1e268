"""Guard a run's own sources and note its outputs; guard what a preview must not change.

A flow that overwrites what it reads loses it, and where a poll finds it changed runs without end. So such a write is refused before it
is done. Moving or removing a source that is done is the author's choice, and is logged.

A preview changes nothing that exists beside its scratch folder, and makes nothing where production reads. A new file elsewhere is
written and reported. What previews have made, previews may change: it is known by its path, size and time (`PreviewFiles`).
"""

from __future__ import annotations

import json
import logging
import os
import stat
import tempfile
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, fields
from functools import cached_property, lru_cache
from itertools import islice
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import parse_qs, unquote, urlsplit

from data_engine import private
from data_engine.engine.access.code import library_folders
from data_engine.engine.access.file_events import ChangeRefusedError, FileGuard
from data_engine.files import files_below, identity_of, write_text_atomic
from data_engine.flow.paths import portable_text
from data_engine.flow.scan import is_candidate_name
from data_engine.formatting import beginning
from data_engine.platforms.files import content_of
from data_engine.platforms.names import compared, lead_of, real_path, real_path_of_file


class OverwritesSourceError(ChangeRefusedError):
    """A step was about to overwrite a file that its run reads as a source; nothing was done."""


@dataclass(eq=False)
class OwnSources(FileGuard):
    """The guard of one run (`file_events.FileGuard`).

    Its sources are the `file`, or all candidates below `root` with one of the `extensions` (None: any) that do not lie in `skip`, the
    flow's mirror, and are none of `outputs`, which the flow has written there before; where `names` are known, those. `mirror` is the
    folder that stands for the mirror root in this run.

    Example:
        >>> own = OwnSources(Path("/in"), Path("/in/a.csv"))
        >>> own.about_to_write("/out/a.csv")
        >>> try:
        ...     own.about_to_write("/in/a.csv")
        ... except OverwritesSourceError as error:
        ...     print(error)
        the step would overwrite /in/a.csv, the flow's own source
          where: /in/a.csv
          fix:   nothing was written. Write to another folder: add .mirror(root=...) to the flow and write to context.mirror.file(name); then run it again
    """

    root: Path | None = None
    file: Path | None = None
    extensions: tuple[str, ...] | None = None
    skip: Path | None = None
    mirror: Path | None = None
    outputs: frozenset[str] = frozenset()
    names: frozenset[str] | None = None
    lead_of: Callable[[Path], str] = lead_of

    def __post_init__(self) -> None:
        super().__init__()
        self.fed: frozenset[str] = frozenset()  # what a batch takes
        self.taken: set[str] = set()  # sources that are removed or moved away
        self._written: dict[str, None] = {}
        self._kept: set[str] = set()
        self._handed_out: dict[str, tuple[int, int, int] | None] = {}

    # -- what is about to happen (file_events.py) -----------------------------------------------------------------------------

    def about_to_write(self, path: str) -> None:
        """Refuse to write a source; a file in the mirror or in the source folder is an output.

        Raises:
            OverwritesSourceError: it is a source.
        """
        facts = _lstat(path)
        real = real_path_of_file(path, facts)
        if self._is_source(path, real) or self._is_second_name(facts):
            self._kept.add(real)
            error = OverwritesSourceError(
                f"the step would overwrite {path}, the flow's own source",
                where=path,
                fix="nothing was written. Write to another folder: add .mirror(root=...) to the flow and write to "
                "context.mirror.file(name); then run it again",
            )
            self.refused.append(error)
            raise error
        self._note_output(path, real)

    def about_to_link(self, path: str, target: str) -> None:
        """Note the second name of a source."""
        self.about_to_write(target)
        if self._is_source(path, real_path(path)) and (facts := _lstat(path)) is not None:
            self._linked.add((facts.st_dev, facts.st_ino))

    def made(self, paths: Iterable[str]) -> None:
        """Note outputs."""
        for path in paths:
            self._note_output(path, real_path(path))

    def _note_output(self, path: str, real: str) -> None:
        if real not in self._written and (self._is_in(self._mirror, real) or self._is_candidate(real)):
            self._written[real] = None
            self._new[path] = None

    def about_to_write_unread(self, statement: str) -> None:
        """Refuse a statement that may write a source.

        Raises:
            OverwritesSourceError: the run has sources.
        """
        if self.root is None and self.file is None:
            return
        error = OverwritesSourceError(
            f"the step would write a file, perhaps the flow's own source: its path cannot be read from {_shortened(statement)}",
            where=_shortened(statement),
            fix="nothing was written. " + _READABLE,
        )
        self.refused.append(error)
        raise error

    def about_to_remove(self, path: str) -> None:
        """Note a source that is removed or moved away.

        Raises:
            OverwritesSourceError: it is a source that the step was about to overwrite.
        """
        real = os.path.join(real_path(os.path.dirname(path)), os.path.basename(path))
        if real in self._kept:  # some writers remove a file that they fail to write
            raise self.refused[0]
        if self.fed and (name := compared(real)) in self.fed:
            self.taken.add(name)
        elif self.fed and os.path.isdir(path):
            self.taken.update(file for file in self.fed if file.startswith(name + os.sep))
        elif self._is_source(path, real) and os.path.isfile(path):
            self.taken.add(path)

    def about_to_move(self, path: str, target: str) -> None:
        """A file goes away, and another one is written."""
        self.about_to_write(target)
        self.about_to_remove(path)

    # -- outputs ---------------------------------------------------------------------------------------------------------------

    def hand_out(self, path: Path, is_folder: bool) -> None:
        """A path of the mirror is handed out: a file is an output when it is there and changed after the step."""
        text = str(path)
        if not is_folder and text not in self._handed_out:
            self._handed_out[text] = identity_of(text)

    def new_outputs(self) -> tuple[str, ...]:
        """The files that were written since the last call, and are there."""
        paths = {path: None for path in self.written() if os.path.isfile(path)}
        for path, before in list(self._handed_out.items()):
            if path in paths:
                del self._handed_out[path]
            elif (now := identity_of(path)) is not None and now != before:
                paths[path] = None
                del self._handed_out[path]
        return tuple(paths)

    # -- which files are sources -----------------------------------------------------------------------------------------------

    @cached_property
    def _root(self) -> str | None:
        return None if self.root is None else self.lead_of(self.root)

    @cached_property
    def _skip(self) -> str | None:
        skip = None if self.skip is None else self.lead_of(self.skip)
        return skip if skip is not None and self._is_in(self._root, skip) else None

    @cached_property
    def _mirror(self) -> str | None:
        return None if self.mirror is None else self.lead_of(self.mirror)

    def _is_source(self, path: str, real: str) -> bool:
        if self.file is not None:
            return _is_same_file(str(self.file), path, real)
        if not self._is_candidate(real):
            return False
        if self.names is not None:
            return portable_text(real[len(self._root or "") :]) in self.names
        is_output = real in self._written or not self.outputs.isdisjoint((path, real))
        return not is_output and os.path.lexists(real)

    def _is_second_name(self, facts: os.stat_result | None) -> bool:
        """Whether a file with these facts is a hard link to a source."""
        return facts is not None and _has_names(facts) and (facts.st_dev, facts.st_ino) in self._linked

    @cached_property
    def _linked(self) -> set[tuple[int, int]]:
        """The sources that have a second name; looked for when the first file with several is about to be written."""
        files = files_below(self.root) if self.file is None and self.root is not None else (self.file,)
        found = ((str(path), facts) for path in files if path and (facts := _lstat(str(path))) and _has_names(facts))
        return {(facts.st_dev, facts.st_ino) for path, facts in found if self._is_source(path, real_path(path))}

    def _is_candidate(self, real: str) -> bool:
        """Whether a file at this path would be a source of the flow, by its name."""
        if not self._is_in(self._root, real) or self._is_in(self._skip, real):
            return False
        name, extensions = os.path.basename(real), self.extensions
        return is_candidate_name(name) and (extensions is None or name.lower().endswith(extensions))

    @staticmethod
    def _is_in(lead: str | None, real: str) -> bool:
        return lead is not None and compared(real).startswith(lead)

    def __reduce__(self) -> tuple[Any, ...]:
        return OwnSources, tuple(getattr(self, field.name) for field in fields(self)[:-1])


def _is_same_file(source: str, path: str, real: str) -> bool:
    """Whether both are one file, by whichever drive, link or spelling; a source that is gone counts too."""
    if _folded(os.path.basename(source)) not in (_folded(os.path.basename(path)), _folded(os.path.basename(real))):
        return False
    if os.path.normcase(source) == os.path.normcase(path):
        return True
    try:
        return os.path.samefile(source, path)
    except (OSError, ValueError):
        return False


def _folded(name: str) -> str:
    return unicodedata.normalize("NFC", name).casefold()


Facts = tuple[int, int]
"""The size and time of a file."""

_MOST_KEPT = 10_000
_MOST_LOOKED_AT = 1_000
_MOST_SHOWN = 80
_READABLE = "Write the path into the statement as a text, or give it as a parameter: COPY ... TO ?"


class ChangedError(ChangeRefusedError):
    """A step of a preview has changed what a preview must not, in a way that no hook stops."""


class WriteRefusedError(ChangeRefusedError):
    """A step of a preview was about to change what a preview must not; nothing was done."""


@dataclass(eq=False)
class PreviewGuard(FileGuard):
    """The guard of one preview (`file_events.FileGuard`). It may change all below `free` folders, below those of `tools` what production
    does not read, and `files` that are as earlier previews left them.

    `read` has the folders and files that deployed flows watch or write, each with the words for it. Paths have no links in them.
    `use` is an object of an earlier step, which may be previewed instead.

    Example:
        >>> guard = PreviewGuard(free=("/scratch/",), read={"/in": "the deployed flow claims watches"})
        >>> guard.reader("/in/b.csv"), guard.reader("/out/b.csv"), guard.is_free("/scratch/a.csv")
        ('the deployed flow claims watches', None, True)
        >>> try:
        ...     guard.about_to_remove(os.path.realpath(__file__))
        ... except WriteRefusedError as error:
        ...     error.what.partition("/")[0]
        'the preview would remove '
    """

    free: tuple[str, ...] = ()
    tools: tuple[str, ...] = ()
    read: Mapping[str, str] = field(default_factory=dict)
    files: Mapping[str, Facts] = field(default_factory=dict)
    use: str | None = None
    keeps_databases: ClassVar = True

    def __post_init__(self) -> None:
        super().__init__()
        self._touched: dict[str, None] = {}
        self._folders: set[str] = set()
        self._linked: dict[tuple[int, int], str] = {}

    def is_free(self, path: str) -> bool:
        """Whether anything may be done with this path."""
        spelled = compared(path)
        if spelled.startswith(self.free) or f"{os.sep}__pycache__{os.sep}" in path:
            return True
        return spelled.startswith(self.tools) and self.reader(path) is None

    def reader(self, path: str) -> str | None:
        """The words for what production does with the folder of a path; None where it does nothing."""
        folder = compared(path)
        while folder not in self.read:
            above = os.path.dirname(folder)
            if above == folder:
                return None
            folder = above
        return self.read[folder]

    def about_to_write(self, path: str) -> None:
        """Refuse to change a file that exists, or to make one where production reads."""
        real = real_path(path)
        if self._linked and (facts := _lstat(real)) and (other := self._linked.get((facts.st_dev, facts.st_ino))):
            self._refuse(f"change {other}, by its other name {path}", other)
        if self.is_free(real):
            return
        facts = _lstat(real)
        if facts is None:
            if self.reader(real) is not None:
                self._refuse(f"make the new file {path}", path)
        elif stat.S_ISDIR(facts.st_mode):
            if (other := next((file for file in _first_files(real) if not self._is_ours(file)), None)) is not None:
                self._refuse(f"write into {path}, which holds {os.path.basename(other)}", path)
        elif not stat.S_ISREG(facts.st_mode):
            return  # a device or a pipe
        elif not self._is_ours(real) and not _is_log(real):
            self._refuse(f"change {path}, which exists", path)
        if real not in self._touched:
            self._touched[real] = self._new[real] = None

    def about_to_remove(self, path: str) -> None:
        """Refuse to remove what no preview has made."""
        if (place := self._protected_path(path)) is not None:
            self._refuse(f"remove {place}", path)

    def about_to_move(self, path: str, target: str) -> None:
        """Refuse to move what no preview has made, or to put it where something is."""
        if (place := self._protected_path(path)) is not None:
            self._refuse(f"move {place}", path)
        self.about_to_write(target)
        if os.path.isdir(path):
            self._folders.add(real_path(target))

    def about_to_link(self, path: str, target: str) -> None:
        """Note the second name of a file that no preview has made."""
        self.about_to_write(target)
        if self.protects(path) and (facts := _lstat(real_path(path))) is not None:
            self._linked[facts.st_dev, facts.st_ino] = path

    def made(self, paths: Iterable[str]) -> None:
        """Note files as this preview's."""
        new = {real: None for path in paths if not self.is_free(real := real_path(path))}
        self._touched |= new
        self._new |= new

    def about_to_make_folder(self, path: str) -> None:
        """Note a new folder: it is the preview's, with all that comes into it."""
        real = real_path(path)
        if not os.path.lexists(real):
            self._folders.add(real)

    def about_to_write_unread(self, statement: str) -> None:
        """Refuse a statement whose file cannot be read."""
        error = WriteRefusedError(
            f"the preview would write a file: its path cannot be read from {_shortened(statement)}",
            where=_shortened(statement),
            fix=f"nothing was written. {_READABLE}; or preview(write=True), which does it for real",
        )
        self.refused.append(error)
        raise error

    def about_to_open_database(self, path: str) -> None:
        """Refuse to open a database to write that no preview has made."""
        if self.protects(path):
            self._refuse(f"open the database {path} to write", path, "open it with read_only=True")
        self.about_to_write(path)

    def protects(self, path: str) -> bool:
        """Whether the file exists and no preview has made it."""
        real = real_path(path)
        facts = None if self.is_free(real) else _lstat(real)
        return facts is not None and stat.S_ISREG(facts.st_mode) and not self._is_ours(real)

    def about_to_connect(self, path: str) -> None:
        """Refuse to open a SQLite database that no preview has made in a way in which it could be changed."""
        if (file := database_file(path, is_uri=True)) is None:
            return
        if self.protects(file):
            self._refuse(
                f"open the database {file} by a class of its own",
                file,
                "open it with sqlite3.connect(path, factory=...)",
            )
        self.about_to_write(file)

    def refuse_database(self, path: str) -> None:
        """Note that a statement would change this database."""
        self.refused.append(self._refusal(f"change the database {path}", path))

    def found_changed(self, path: str) -> None:
        """A file is found changed after a step.

        Raises:
            ChangedError: always.
        """
        error = ChangedError(
            f"{path} changed while the step ran, in a way that a preview cannot stop: by a file or a connection that was opened before,"
            " a program, or C code",
            where=path,
            fix="look at the file, and put it back where it must not change; where another program has changed it, preview again; for"
            " what the step is to change, write to context.mirror, or preview(write=True), which does it for real",
        )
        self.refused.append(error)
        raise error

    @property
    def touched(self) -> tuple[str, ...]:
        """The files beside scratch that it has written and that are there."""
        places = dict.fromkeys((*self._touched, *self._folders))
        files = (
            str(file) for place in places for file in (files_below(Path(place)) if os.path.isdir(place) else (place,))
        )
        there = (file for file in files if os.path.isfile(file) and not self.is_free(file))
        return tuple(dict.fromkeys(islice(there, _MOST_KEPT)))

    def note_written(self, paths: Iterable[str]) -> None:
        """Note what an item in another process has written: it is this preview's."""
        self._touched.update(dict.fromkeys(paths))

    def _protected_path(self, path: str) -> str | None:
        """The file or folder at a path that no preview has made, and that would go away."""
        real = os.path.join(real_path(os.path.dirname(path)), os.path.basename(path))
        facts = None if self.is_free(real) else _lstat(real)
        if (
            facts is None
            or self._is_ours(real)
            or stat.S_IFMT(facts.st_mode) not in (stat.S_IFREG, stat.S_IFDIR, stat.S_IFLNK)
        ):
            return None
        if not stat.S_ISDIR(facts.st_mode):
            return path
        files = list(_first_files(real))
        return next((file for file in files if not self._is_ours(file)), None if files else path)

    def _is_ours(self, real: str) -> bool:
        """Whether a preview has made the file or the folder."""
        if real in self._touched or any(real == folder or real.startswith(folder + os.sep) for folder in self._folders):
            return True
        return (facts := self.files.get(real)) is not None and facts == facts_of(real)

    def _refuse(self, would: str, path: str, instead: str = "") -> None:
        error = self._refusal(would, path, instead)
        self.refused.append(error)
        raise error

    def _refusal(self, would: str, path: str, instead: str = "") -> WriteRefusedError:
        reader = self.reader(real_path(path))
        would = would if reader is None else f"{would}, in a folder that {reader}"
        use = "use=..." if self.use is None else f"use={self.use!r}"
        return WriteRefusedError(
            f"the preview would {would}: beside its scratch folder a preview changes nothing that is there",
            where=path,
            fix=f"nothing was changed{instead and '; '}{instead}; preview an object of an earlier step: preview({use}); or"
            " preview(write=True), which does it for real",
        )

    def __reduce__(self) -> tuple[Any, ...]:
        return PreviewGuard, tuple(getattr(self, field.name) for field in fields(self))


class PreviewFiles:
    """The files that previews of a workspace have made on this machine, kept in `file`; without it, in this process.

    Example:
        >>> files = PreviewFiles(None)
        >>> files.add([__file__])
        >>> files.read()[__file__] == facts_of(__file__)
        True
    """

    def __init__(self, file: Path | None) -> None:
        self._file = file

    def read(self) -> dict[str, Facts]:
        """Each file with its size and time as the preview left it."""
        if self._file is None:
            return dict(_made_here)
        with suppress(OSError, ValueError, TypeError):
            return {
                str(path): (int(size), int(time_ns))
                for path, (size, time_ns) in json.loads(content_of(self._file)).items()
            }
        return {}

    def add(self, paths: Iterable[str]) -> None:
        """Keep these as they are now; those that are gone are forgotten."""
        new = {path: facts for path in paths if (facts := facts_of(path)) is not None}
        if not new:
            return
        files = {path: facts for path, facts in self.read().items() if path not in new and os.path.exists(path)} | new
        files = dict(list(files.items())[-_MOST_KEPT:])
        if self._file is None:
            _made_here.clear()
            _made_here.update(files)
            return
        with suppress(OSError):  # then the next preview asks for preview(write=True)
            private.make_folder(self._file.parent)
            write_text_atomic(self._file, json.dumps(files), durable=False, mode=private.FILE)


_made_here: dict[str, Facts] = {}
"""The files that previews of flows without a workspace have made."""


def free_folders(home: Path, *own: Path | None) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The folders below which a preview may do anything: `own` ones and what Python names as temporary; and those where libraries and
    tools keep things for this user, the temporary folder among them, except one that holds `home`, where the flow's files are.

    Example:
        >>> any(lead.startswith(real_path(tempfile.gettempdir())) for lead in free_folders(Path("/nowhere"))[1])
        True
    """
    place, temporary = lead_of(home), lead_of(tempfile.gettempdir())
    free = [lead_of(path) for path in own if path is not None]
    tools = [
        lead for lead in (temporary, *map(compared, library_folders()), *_user_folders()) if not place.startswith(lead)
    ]
    return (*free, os.path.join(temporary, tempfile.gettempprefix()), "/dev/", "/proc/"), tuple(tools)


def facts_of(path: str) -> Facts | None:
    """The size and time of a file, None of anything else."""
    facts = _lstat(path)
    return (facts.st_size, facts.st_mtime_ns) if facts is not None and stat.S_ISREG(facts.st_mode) else None


def _user_folders() -> tuple[str, ...]:
    """The folders where libraries and tools keep caches and settings for this user."""
    import platformdirs

    named = (
        platformdirs.user_cache_dir(),
        platformdirs.user_config_dir(),
        platformdirs.user_data_dir(),
        platformdirs.user_state_dir(),
    )
    return _leads(os.path.expanduser("~"), *named)


@lru_cache(maxsize=8)  # each preview asks; a folder that a tool makes later in one is the preview's own
def _leads(home: str, *named: str) -> tuple[str, ...]:
    leads = [lead_of(path) for path in named]
    with suppress(OSError), os.scandir(home) as entries:
        leads += [lead_of(entry.path) for entry in entries if entry.name.startswith(".")]
    return tuple(leads)


def database_file(place: object, *, is_uri: bool = False) -> str | None:
    """The file of a database; None where there is none, or it is opened to read.

    Example:
        >>> database_file("/in/a.db"), database_file("file:/in/a.db?mode=rw", is_uri=True)
        ('/in/a.db', '/in/a.db')
        >>> database_file(":memory:"), database_file("file:/in/a.db?mode=ro", is_uri=True)
        (None, None)
    """
    if not isinstance(place, (str, bytes, os.PathLike)):
        return None
    text = os.fsdecode(place)
    if is_uri and text.startswith("file:"):
        parts = urlsplit(text)
        options = parse_qs(parts.query)
        if options.get("mode") in (["ro"], ["memory"]) or options.get("immutable") == ["1"]:
            return None
        text = unquote(parts.path)
    return None if not text or text.startswith((":", "md:", "motherduck:")) else os.path.abspath(text)


def _shortened(statement: str) -> str:
    return beginning(" ".join(statement.split()), _MOST_SHOWN)


def _first_files(folder: str) -> Iterator[str]:
    for number, file in enumerate(files_below(Path(folder))):
        if number == _MOST_LOOKED_AT:
            return
        yield str(file)


def _has_names(facts: os.stat_result) -> bool:
    return stat.S_ISREG(facts.st_mode) and facts.st_nlink > 1


def _lstat(path: str) -> os.stat_result | None:
    try:
        return os.lstat(path)
    except (OSError, ValueError):
        return None


def _is_log(path: str) -> bool:
    """Whether a handler of `logging` writes the file, or has turned it over."""
    loggers = [logging.root, *logging.root.manager.loggerDict.values()]
    handlers = (handler for logger in loggers for handler in getattr(logger, "handlers", ()))
    names = (getattr(handler, "baseFilename", None) for handler in handlers)
    return any(isinstance(name, str) and path.startswith(real_path(name)) for name in names)
