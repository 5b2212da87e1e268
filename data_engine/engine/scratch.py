"""The scratch folder of a preview: a folder of this machine that stands for the mirror and the databases of a flow.

Each preview finds there what production has: a file that is asked for is cloned or copied in first. What its steps leave
there is told apart by tokens, so that a step can be reused with what it wrote: its files lie there still as it left them,
or a copy of them was kept.
"""

from __future__ import annotations

import atexit
import os
import tempfile
import threading
import uuid
import weakref
from collections.abc import Callable, Iterable
from contextlib import suppress
from functools import partial
from pathlib import Path

from data_engine import nofollow, private
from data_engine.cause import Cause
from data_engine.database_copy import parts_of
from data_engine.engine.access.access_log import not_logged
from data_engine.engine.local_workspace import LocalWorkspace
from data_engine.engine.read_copies import copy_in_cell, read_copy
from data_engine.errors import FlowValidationError
from data_engine.files import files_below, identity_of, resolve, trouble_of
from data_engine.flow.control import RunInterrupted
from data_engine.flow.flow import Flow
from data_engine.formatting import size_text
from data_engine.locks import OsLock
from data_engine.platforms.access import user_name
from data_engine.platforms.files import is_locked
from data_engine.record import frozen
from data_engine.user_files import clone, copy, sha256_of, writer_of

KEPT_BYTES = 16 * 1024**2
"""A file of up to so many bytes is copied to be kept where the drive cannot clone."""

_PRISTINE = "as in production"
_GONE = "gone"
_Facts = tuple[int, ...]


class KeptCopy:
    """A copy of a file as a step left it; it is removed when nothing refers to it any more."""

    __slots__ = ("__weakref__", "path", "size_bytes")

    def __init__(self, path: Path, size_bytes: int) -> None:
        self.path, self.size_bytes = path, size_bytes
        weakref.finalize(self, _remove_kept, path).atexit = False  # then the whole folder goes


@frozen
class ScratchFile:
    """A file as a step left it: `token` stands for its content, `copy` is a copy of it, None where there is none."""

    token: str
    facts: _Facts | None
    copy: KeptCopy | None = None

    @property
    def is_written(self) -> bool:
        """Whether its content is the step's, and not production's."""
        return self.token != _PRISTINE


class Scratch:
    """The places of a flow's previews in this process. `begin` starts one, in which nothing was written yet.

    `folder` is its own, `mirror_root` and `databases` are what production has. `limit_bytes` is how much one preview may
    copy in, `read_copy` gives the read copy of a database. `read` gets each path of production whose state a step depends on.

    Example:
        >>> import tempfile
        >>> folder = Path(tempfile.mkdtemp())
        >>> (folder / "out").mkdir()
        >>> _ = (folder / "out" / "a.txt").write_text("production")
        >>> scratch = Scratch(folder / "scratch", mirror_root=folder / "out", databases=None, limit_bytes=1000)
        >>> scratch.begin()
        >>> target = scratch.root(folder / "out") / "a.txt"
        >>> scratch.enter(target, is_folder=False)
        >>> target.read_text(), target.write_text("preview") > 0, (folder / "out" / "a.txt").read_text()
        ('production', True, 'production')
    """

    def __init__(
        self,
        folder: Path,
        *,
        mirror_root: Path | None,
        databases: Path | None,
        limit_bytes: int,
        read_copy: Callable[[Path], Path] = lambda database: database,
    ) -> None:
        self.folder = folder
        self._mirror, self._databases, self._store = folder / "mirror", folder / "databases", folder / "kept"
        self._mirror_root, self._database_root = mirror_root, databases
        self._prefixes = tuple(f"{place}{os.sep}" for place in (self._mirror, self._databases))
        self._limit_bytes, self._read_copy = limit_bytes, read_copy
        self._copied_bytes = 0
        self._lock = threading.RLock()
        self._versions: dict[Path, str] = {}
        self._entered: dict[Path, _Facts | None] = {}
        self._left: dict[Path, tuple[str, _Facts | None]] = {}
        self._origins: dict[Path, _Facts | None] = {}
        self._asked: dict[Path, bool] = {}  # by the step, and whether for a folder with all in it
        self._copies: weakref.WeakValueDictionary[str, KeptCopy] = weakref.WeakValueDictionary()
        self._held: weakref.WeakValueDictionary[Path, KeptCopy] = weakref.WeakValueDictionary()
        self._start: dict[Path, ScratchFile] = {}
        self._start_entered: dict[Path, _Facts | None] = {}
        self.was_asked = False
        self.read: Callable[[Path], None] = lambda path: None
        self.read_database: Callable[[Path], None] = lambda path: None

    def serves(self, mirror_root: Path | None, databases: Path | None, limit_bytes: int) -> bool:
        """Whether it stands for these; the limit is taken over."""
        self._limit_bytes = limit_bytes
        return (self._mirror_root, self._database_root) == (mirror_root, databases) and self.folder.parent.is_dir()

    # -- what a context asks (flow/locations.py) ----------------------------------------------------------------------------

    def root(self, final: Path) -> Path:
        """The folder that stands for the mirror root."""
        self.was_asked = True
        return self._mirror

    def enter(self, place: Path, *, is_folder: bool) -> None:
        """Bring what production has at `place`.

        Raises:
            RunInterrupted: it is too much to copy, or cannot be; its `error` says what would help.
        """
        with self._lock:
            self._asked[place] = is_folder or self._asked.get(place, False)
            self._bring(partial(self._fill if is_folder else self._bring_file, place))

    def database(self, final: Path, *, read_only: bool) -> Path:
        """A copy of the read copy of the database, to write; with `read_only`, and where no step of this preview has asked for one to
        write, that itself.

        Raises:
            RunInterrupted: it is too large, or there is no read copy yet and somebody writes it.
        """
        if self._database_root is None:
            return final
        place = self._databases / final.relative_to(self._database_root)
        with self._lock:
            if read_only and place not in self._entered:
                return self._read_copy_of(final)
            self.was_asked = True
            place.parent.mkdir(parents=True, exist_ok=True)
            files = [Path(f"{place}{beside}") for beside in ("", *BESIDE)]
            self._asked |= dict.fromkeys(files, False)
            self._bring(lambda: self._bring_new(files, partial(self._copy_database, final, place)))
        return place

    def file_to_read(self, database: Path) -> Path:
        """The file that a helper reads for a database: for one of the workspace what this preview has, for another's a read copy."""
        if self.holds(database):
            return database
        path = resolve(database)
        if self._database_root is None or not path.is_relative_to(self._database_root):
            return copy_in_cell(database)
        return self.database(path, read_only=True)

    def _copy_database(self, final: Path, place: Path) -> None:
        """Make `place` as the read copy of the database is."""
        copied = self._read_copy(final)
        for part in parts_of(copied):
            target = place.with_name(place.name + part.name.removeprefix(copied.name))
            clone_or_copy(part, target, lambda size: self._allow(final, size))
            target.chmod(0o600)

    def _read_copy_of(self, final: Path) -> Path:
        paths: list[Path] = []

        def bring() -> None:
            self.read_database(final)
            paths.append(self._read_copy(final) if final.is_file() else final)

        self._bring(bring)
        return paths[0]

    def final(self, path: Path) -> Path:
        """The file of production; a path outside of scratch as it is."""
        return self._final(path) if self.holds(path) else path

    def publish(self) -> None:
        """Do nothing: a preview publishes nothing, and goes on."""

    # -- one preview ------------------------------------------------------------------------------------------------------

    def begin(self) -> None:
        """Begin a preview: all is as in production, or as `go_on` found it."""
        with self._lock:
            self._versions, self._asked = {path: file.token for path, file in self._start.items()}, {}
            self._held.clear()
            for path, file in self._start.items():
                self._hold(path, file.copy)
            self._entered = {
                path: facts
                for path, facts in self._start_entered.items()
                if path in self._start or identity_of(path) == facts
            }
            self._copied_bytes = 0
            self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            for path, file in self._start.items():
                if self._left.get(path) != (file.token, identity_of(path)):
                    self._put_back(path, file)
                    self._left[path] = file.token, identity_of(path)
                self._entered[path] = identity_of(path)

    def begin_anew(self) -> None:
        """Let the next preview begin as production is."""
        self._start, self._start_entered = {}, {}

    def go_on(self) -> bool:
        """Let the next preview begin with the files of this one; whether it can begin so again and again."""
        with self._lock:
            self._start = {
                path: ScratchFile(token, identity_of(path), self._held.get(path))
                for path, token in self._versions.items()
            }
            self._start_entered = dict(self._entered)
            return all(file.copy is not None or file.token == _GONE for file in self._start.values())

    @property
    def start(self) -> str:
        """The token for how a preview begins: "" where that is as production is."""
        return " ".join(sorted(f"{path} {file.token}" for path, file in self._start.items()))

    @property
    def written(self) -> dict[Path, Path]:
        """The files that steps have written since it began as production is, as production calls them."""
        with self._lock:
            tokens = {path: token for path, token in self._versions.items() if not str(path).endswith(BESIDE)}
            return {self._final(path): path for path, token in tokens.items() if token != _GONE}

    @property
    def removed(self) -> list[Path]:
        """The files that steps have removed, as production calls them."""
        return [self._final(path) for path, token in self._versions.items() if token == _GONE]

    def end(self) -> None:
        """End the preview: remove what earlier ones left, and this one did not write or ask for."""
        with self._lock:
            for path in [path for path in self._left if path not in self._versions and path not in self._entered]:
                _remove(path)
                del self._left[path]

    def begin_step(self) -> None:
        """Begin a step; what it asks for from now on counts as its own."""
        with self._lock:
            self._asked, self.was_asked = {}, False

    def end_step(self) -> dict[Path, ScratchFile]:
        """The files that the step asked for or made, as it left them; those it wrote are copied where that is cheap."""
        with self._lock:
            files: dict[Path, ScratchFile] = {}
            for path in self._asked_files():
                facts = identity_of(path)
                if facts == self._entered.get(path):
                    if facts is not None and path not in self._versions:
                        files[path] = ScratchFile(_PRISTINE, facts)
                    continue
                self._entered[path] = facts
                token, copy = _GONE, None
                if facts is not None:
                    token, copy = self._keep(path)
                self._versions[path] = token
                self._hold(path, copy)
                self._left[path] = token, facts
                files[path] = ScratchFile(token, facts, copy)
            return files

    def restore(self, files: dict[Path, ScratchFile]) -> bool:
        """Put back the files of a step that is not run again, as it left them; whether that is possible."""
        with self._lock:
            for path, file in files.items():
                if file.token == _PRISTINE:
                    if path not in self._entered and self._is_still_pristine(path):
                        self._note_pristine(path)  # a step that is not run again was given it; its result may name it
                    continue
                is_there = self._left.get(path) == (file.token, identity_of(path)) and self._versions.get(path) is None
                if not is_there and file.copy is None and file.token != _GONE:
                    return False
                if not is_there and not self._put_back(path, file):
                    return False
                facts = identity_of(path)
                self._versions[path], self._left[path], self._entered[path] = file.token, (file.token, facts), facts
                self._hold(path, file.copy)
            return True

    def _hold(self, path: Path, copy: KeptCopy | None) -> None:
        """Note the copy of the file's content, as long as its owner keeps it."""
        self._held.pop(path, None)
        if copy is not None:
            self._held[path] = copy

    def _put_back(self, path: Path, file: ScratchFile) -> bool:
        """Put the file back as it was kept; whether that was possible."""
        _remove(path)
        if file.copy is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
            try:
                clone_or_copy(file.copy.path, path)
            except OSError:
                return False
        return file.copy is not None or file.token == _GONE

    # -- what was read ----------------------------------------------------------------------------------------------------

    def holds(self, path: str | Path) -> bool:
        """Whether the path is one of this scratch folder."""
        return str(path).startswith(self._prefixes)

    def version(self, path: str) -> str | None:
        """The token for the content of a file, or of all files of a folder, as steps of this preview left it.

        None where it is as in production.
        """
        with self._lock:
            lead = path + os.sep
            texts = [
                f"{place} {token}"
                for place, token in self._versions.items()
                if str(place) == path or str(place).startswith(lead)
            ]
            return " ".join(sorted(texts)) or None

    # -- bringing ---------------------------------------------------------------------------------------------------------

    def _bring(self, bring: Callable[[], None]) -> None:
        """Call `bring` unlogged; an author's `except Exception` catches none of its errors, and so does not go on without a file."""
        try:
            with not_logged():
                bring()
                return
        except FlowValidationError as error:
            refused = error
        except OSError as error:
            refused = FlowValidationError(
                f"the preview cannot copy what production has: {trouble_of(error)}",
                where=str(error.filename or self.folder),
                fix="make room on this machine, or preview an object of an earlier step with use=",
            )
        raise RunInterrupted("stopped", Cause("preview_refused", {"what": refused.what}), refused)

    def _bring_file(self, place: Path) -> None:
        final = self._final(place)
        self._bring_new([place], lambda: clone_or_copy(final, place, lambda size: self._allow(final, size)))

    def _bring_new(self, places: list[Path], make: Callable[[], None]) -> None:
        """Bring the first of these files, with what lies beside it, unless it has been brought; `make` makes what production has."""
        if places[0] in self._entered:
            return
        final = self._final(places[0])
        self.read(final)
        if not all(map(self._is_still_pristine, places)):
            if len(places) > 1:
                self._require_closed(places[0])
            for place in places:
                _remove(place)
                self._origins[place] = _origin(self._final(place))
            places[0].parent.mkdir(parents=True, exist_ok=True)
            if final.is_file():
                make()
        for place in places:
            self._note_pristine(place)

    def _is_still_pristine(self, place: Path) -> bool:
        """Whether an earlier preview has brought just what production has now, and nobody has changed it."""
        now, origin = identity_of(place), _origin(self._final(place))
        if now is None and origin is None:
            return True
        is_ours = self._left.get(place) == (_PRISTINE, now)
        return is_ours and place in self._origins and self._origins[place] == origin

    def _note_pristine(self, place: Path) -> None:
        self._entered[place] = facts = identity_of(place)
        self._left[place] = _PRISTINE, facts

    def _require_closed(self, database: Path) -> None:
        if database.exists() and (writer_of(database) is not None or is_locked(str(database), to_write=True)):
            raise FlowValidationError(
                f"the copy of {database.name} that an earlier preview made is still open in this kernel",
                where="context.database",
                fix="close its connection (with duckdb.connect(...) as con: does so), or restart the kernel",
            )

    def _fill(self, place: Path) -> None:
        final = self._final(place)
        self.read(final)
        place.mkdir(parents=True, exist_ok=True)
        there = {place / path.relative_to(final): None for path in files_below(final)}
        for path in [*files_below(place)]:
            if path not in self._entered and path not in there:
                _remove(path)
        for path in there:
            self._bring_file(path)

    def _allow(self, final: Path, size: int) -> None:
        if self._copied_bytes + size > self._limit_bytes:
            raise FlowValidationError(
                f"the preview would have to copy {final.name} ({size_text(size)}), and may copy "
                f"{size_text(self._limit_bytes)} in all",
                where=str(final),
                fix="preview an object of an earlier step with use=; read a database with"
                " context.database(name, read_only=True); or raise [preview] copy_limit in config/data_engine.toml",
            )
        self._copied_bytes += size

    def _final(self, place: Path) -> Path:
        if place.is_relative_to(self._databases) and self._database_root is not None:
            return self._database_root / place.relative_to(self._databases)
        assert self._mirror_root is not None
        return self._mirror_root / place.relative_to(self._mirror)

    # -- keeping ----------------------------------------------------------------------------------------------------------

    def _asked_files(self) -> Iterable[Path]:
        files = {path: None for path, is_folder in self._asked.items() if not is_folder}
        for folder in [path for path, is_folder in self._asked.items() if is_folder]:
            files.update(dict.fromkeys(files_below(folder)))
            files.update(dict.fromkeys(path for path in self._entered if path.is_relative_to(folder)))
        return files

    def _keep(self, path: Path) -> tuple[str, KeptCopy | None]:
        """The token for the file's content, and a copy of it: equal contents are kept once."""
        with suppress(OSError):
            size = os.stat(path).st_size
            if size > KEPT_BYTES:
                return os.urandom(16).hex(), self._kept_copy(size, lambda place: clone(path, place))
            token = sha256_of(path)
            kept = self._copies.get(token)
            if kept is None or not kept.path.is_file():
                kept = self._kept_copy(size, lambda place: copy(path, place) == size)
                if kept is not None:
                    self._copies[token] = kept
            return token, kept
        return os.urandom(16).hex(), None

    def _kept_copy(self, size_bytes: int, make: Callable[[Path], bool]) -> KeptCopy | None:
        """A copy that `make` makes, None where there is no room for it or it cannot be cloned."""
        place = self._store / os.urandom(16).hex()
        with suppress(OSError):
            self._store.mkdir(exist_ok=True)
            if make(place):
                return KeptCopy(place, size_bytes)
        _remove_kept(place)
        return None


def _origin(path: Path) -> _Facts | None:
    """The facts by which a file of production is as it was when it was copied."""
    try:
        facts = os.stat(path)
    except OSError:
        return None
    return facts.st_size, facts.st_mtime_ns, facts.st_ctime_ns, facts.st_ino


def _remove(path: Path) -> None:
    with suppress(FileNotFoundError, NotADirectoryError):
        os.unlink(path)


def _remove_kept(path: Path) -> None:
    with suppress(OSError):
        os.unlink(path)


_lock = threading.Lock()
_folders: dict[Path, tuple[Path, OsLock]] = {}
_scratches: dict[tuple[Path, str], Scratch] = {}


def scratch_of(flow: Flow, home: LocalWorkspace | None, *, limit_bytes: int, of: str = "") -> Scratch:
    """The scratch folder of the flow's previews in this process; those `of` something else have their own.

    Raises:
        LedgerError: no folder can be made on this machine.
    """
    base = Path(tempfile.gettempdir()) / f"data-engine-{user_name()}" if home is None else home.local.runtime_dir
    name = f"{flow.name or 'flow'}{of}"
    mirror = None if flow.mirror_spec is None else flow.mirror_spec.root
    databases = None if home is None else home.layout.root / "databases"
    with _lock:
        folder = _folder_in(base / "scratch")
        scratch = _scratches.get((folder, name))
        if scratch is None or not scratch.serves(mirror, databases, limit_bytes):
            if scratch is not None:
                nofollow.remove_tree(folder, scratch.folder)
            options = {} if home is None else {"read_copy": partial(read_copy, home)}
            scratch = Scratch(
                folder / name, mirror_root=mirror, databases=databases, limit_bytes=limit_bytes, **options
            )
            _scratches[folder, name] = scratch
        return scratch


def forget_scratch(scratch: Scratch) -> None:
    """Remove this scratch folder with all that is in it."""
    with _lock:
        for key, entry in list(_scratches.items()):
            if entry is scratch:
                del _scratches[key]
                with suppress(OSError):
                    nofollow.remove_tree(key[0], scratch.folder)


def _folder_in(base: Path) -> Path:
    """This process's own folder in `base`, made once; those of processes that are gone are removed."""
    entry = _folders.get(base)
    if entry is not None and entry[0].is_dir() and entry[1].is_held:
        return entry[0]
    private.make_folder(base)
    name = f"{os.getpid()}-{uuid.uuid4().hex[:8]}"
    lock = OsLock(base / f"{name}.lock")
    lock.try_acquire()
    _remove_abandoned(base)
    folder = base / name
    private.make_folder(folder)
    if not _folders:
        atexit.register(remove_scratch)
    _folders[base] = folder, lock
    return folder


def _remove_abandoned(base: Path) -> None:
    for path in base.glob("*.lock"):
        lock = OsLock(path)
        if lock.try_acquire():
            nofollow.remove_tree(base, path.with_suffix(""))
            path.unlink(missing_ok=True)
            lock.release()


def remove_scratch() -> None:
    """Remove what previews of this process wrote to scratch."""
    for base, (folder, lock) in list(_folders.items()):
        if lock.is_held:  # not in a forked child
            with suppress(OSError):
                nofollow.remove_tree(base, folder)
                lock.path.unlink(missing_ok=True)
            lock.release()
    _folders.clear()
    _scratches.clear()


BESIDE = (".wal", "-wal", "-shm", "-journal")
"""The endings of the files that databases keep beside theirs."""


def clone_or_copy(source: Path, target: Path, allow: Callable[[int], None] = lambda size_bytes: None) -> None:
    """Make `target` as the file `source` is, with its time; `allow` gets the size before a copy, not a clone.

    Raises:
        OSError: `source` cannot be read, or `target` not be written whole.
    """
    if not clone(source, target):
        allow(os.stat(source).st_size)
        copy(source, target)
