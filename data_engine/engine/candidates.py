"""The sources a run is for: one file, the whole folder, or none."""

from __future__ import annotations

import hashlib
import os
import stat
import unicodedata
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from operator import itemgetter
from pathlib import Path

from data_engine.argument_checks import value_text
from data_engine.errors import FlowValidationError
from data_engine.flow.flow import Flow
from data_engine.flow.locations import MirrorContext, SourceContext
from data_engine.flow.paths import base_folder, portable_text
from data_engine.flow.scan import walk
from data_engine.flow.trigger import Trigger
from data_engine.formatting import cli_line, first_few
from data_engine.model import SeenSource, Signature, SourceKey, SourceState
from data_engine.platforms.names import as_listed, is_too_long, with_home
from data_engine.record import frozen
from data_engine.suggestions import nearest_files
from data_engine.user_files import head_of, sha256_of

_NAMED = 3
_A_FILE = "name one file of the source folder"


@frozen
class Source:
    """The source of one run. `path` is a concrete file, or None for a batch or a flow without source.

    `inside` is the file's path inside the root, where `path` is a copy of it that lies elsewhere.
    """

    root: Path | None = None
    path: Path | None = None
    key: SourceKey | None = None
    inside: Path | None = None

    @property
    def text(self) -> str | None:
        """The absolute path people see: the file, else the root, else None."""
        shown = self.path or self.root
        return None if shown is None else str(shown)

    @property
    def file_hash(self) -> str | None:
        """SHA-1 of the source as authored and the path inside it, equal on every workstation; None without a file."""
        if self.path is None or self.key is None:
            return None
        text = f"{self.key.root}/{self.key.path}" if self.key.path else self.key.root
        return hashlib.sha1(text.encode("utf-8", "surrogatepass"), usedforsecurity=False).hexdigest()

    def context(self) -> SourceContext | None:
        """The `context.source` of the run."""
        if self.root is None:
            return None
        return SourceContext(self.root, self.path, self._relative())

    def mirror(self, flow: Flow) -> MirrorContext | None:
        """The `context.mirror` of the run, when the flow has a mirror."""
        if flow.mirror_spec is None:
            return None
        return MirrorContext(
            flow.mirror_spec.root,
            self.path,
            self._relative(),
            None if flow.trigger is None else flow.trigger.extensions,
            has_siblings=self.key is not None and bool(self.key.path),
            workspace_root=flow._workspace_root,
            is_source_folder=flow.mirrors_into_source,
        )

    def _relative(self) -> Path | None:
        if self.path is None or self.root is None or self.inside is not None:
            return self.inside
        path, lead = str(self.path), str(self.root).rstrip(os.sep) + os.sep
        return Path(path[len(lead) :]) if path.startswith(lead) else self.path.relative_to(self.root)


def listed_source(trigger: Trigger, name: str) -> Source:
    """The source whose path inside the source folder is `name`; "" is a single file, or the folder as a batch."""
    assert trigger.source is not None
    root = trigger.source
    key = SourceKey(trigger.source_as_authored or "", _nfc(name))
    if name:
        return Source(root, root / name, key)
    return Source(root, None, key) if root.is_dir() else Source(root.parent, root, key)


def startup_sources(flow: Flow) -> tuple[Source, ...]:
    """Every source a run by hand takes, in sort order; empty for a folder without candidates.

    A source that does not exist gives one `Source` whose run fails and is recorded, so that it is seen.

    Raises:
        FlowValidationError: the folder cannot be read.
    """
    trigger = flow.trigger
    if trigger is None or trigger.source is None:
        return (Source(),)
    root = trigger.source
    try:
        mode = os.stat(root).st_mode
    except OSError:
        return (Source(root, None, SourceKey(trigger.source_as_authored or "", "")),)
    if trigger.run_as == "batch" or not stat.S_ISDIR(mode):
        return (listed_source(trigger, ""),)
    return tuple(listed_source(trigger, name) for name, _ in candidates(flow))


def candidates(flow: Flow) -> list[tuple[str, os.DirEntry[str]]]:
    """The candidate files of the flow's source folder: path inside it and entry, in sort order.

    Raises:
        FlowValidationError: the folder cannot be read.
    """
    trigger = flow.trigger
    assert trigger is not None
    assert trigger.source is not None
    mirror = None if flow.mirror_spec is None else flow.mirror_spec.root
    try:
        return sorted(walk(trigger.source, trigger.extensions, skip=mirror), key=itemgetter(0))
    except OSError as error:
        raise FlowValidationError(
            f"the source folder cannot be read: {error.filename or trigger.source} ({error.strerror})",
            where="Flow.watch(source=...)",
            fix="check the permissions of the folder and whether its drive is connected",
        ) from error


def names_there(flow: Flow) -> list[str]:
    """The paths of the candidates, to be shown; none where the folder cannot be read, or there is none."""
    if flow.trigger is None or flow.trigger.source is None:
        return []
    try:
        return [path for path, _ in candidates(flow)]
    except FlowValidationError:
        return []


def _nearest_there(flow: Flow, root: Path, name: str) -> str:
    """The fix for a name that no file of the source has: the most similar file, else the first ones."""
    there = names_there(flow)
    near = nearest_files(name, there)
    if near:
        return f"did you mean {near[0]}? Else name a file under {root}"
    listed = f": {first_few(there, _NAMED)}" if there else ", which has none for this flow now"
    return f"name a file under {root}{listed}"


def _readable(places: Sequence[Path], where: str) -> Path | None:
    """The first of these places that is a file; None where none is.

    Raises:
        FlowValidationError: this user may not read it.
    """
    try:
        file = next((path for path in places if path.is_file()), None)
        if file is not None:
            head_of(file, 1)
    except PermissionError as error:
        raise FlowValidationError(
            f"the source file cannot be read: {error.filename or places[0]} ({error.strerror})",
            where=where,
            fix="ask its owner for the right to read it, or close the program that has it open",
        ) from error
    return file


def pick_source(flow: Flow, choice: str | os.PathLike[str]) -> Source:
    """The one source `choice` names: a path, or a path inside the source root.

    Raises:
        FlowValidationError: the flow has no source, the file does not exist, cannot be read, or lies outside the source root.
    """
    where = "source=..."
    trigger = flow.trigger
    if trigger is None or trigger.source is None:
        raise FlowValidationError(
            f"source={str(choice)!r} was given, but the flow has no source",
            where=where,
            fix="add source= to watch(...), or leave source= out here",
        )
    if not isinstance(choice, (str, os.PathLike)) or not str(choice).strip():
        raise FlowValidationError(f"source={value_text(choice)} is not a path", where=where, fix=_A_FILE)
    root = trigger.source
    authored = trigger.source_as_authored or ""
    path = Path(with_home(choice))
    places = [path] if path.is_absolute() else [root / path, base_folder() / path]
    if any(is_too_long(str(place)) for place in places):
        raise FlowValidationError(f"source={value_text(str(choice))} is not a path", where=where, fix=_A_FILE)
    file = _readable(places, where)
    if file is None:
        raise FlowValidationError(_not_there(places), where=where, fix=_nearest_there(flow, root, path.name))
    if file.name.startswith(("~$", ".~lock.")):
        raise FlowValidationError(
            f"{file} is not data: it is the lock file of a program that has the document open",
            where=where,
            fix="name the document itself",
        )
    file = Path(as_listed(os.path.abspath(file)))
    if file == root or (root.is_file() and file.resolve() == root):
        return Source(root.parent, root, SourceKey(authored, ""))
    for inside in (file, file.resolve()):
        if inside.is_relative_to(root):
            name = portable_text(inside.relative_to(root))
            return Source(root, inside, SourceKey(authored, name))
    raise FlowValidationError(
        f"{file} is not under the flow's source {root}", where=where, fix=f"name a file under {root}"
    )


def _not_there(places: Sequence[Path]) -> str:
    if (folder := next((place for place in places if place.is_dir()), None)) is not None:
        return f"{folder} is a folder, not a file"
    return f"Source file not found: {next((place for place in places if place.parent.is_dir()), places[0])}"


def pick_to_run(flow: Flow, choice: str | os.PathLike[str]) -> Source:
    """The one source `choice` names, for a run of it alone.

    Raises:
        FlowValidationError: as `pick_source`; its extension is none of the flow's; or the flow runs for all of its files at once, and
            `choice` is one of them.
    """
    source, name = pick_source(flow, choice), flow.name or "the flow"
    if flow.trigger is None or source.key is None or not source.key.path:
        return source
    extensions = flow.trigger.extensions
    if extensions is not None and not source.key.path.lower().endswith(extensions):
        raise FlowValidationError(
            f"{name} does not run for {source.key.path}: it takes {', '.join(extensions)}",
            where="source=...",
            fix="name a file of these, or add the extension to watch(extensions=...)",
        )
    if flow.trigger.run_as != "batch":
        return source
    way = f"; `{cli_line('run', flow.name)}` runs it for all of them" if flow.name else ""
    raise FlowValidationError(
        f'{name} runs for all files of its source at once (run_as="batch"), so it cannot run for {source.key.path} alone',
        where="source=...",
        fix=f"leave the file (--source, source=) out{way}",
    )


def seen_now(
    flow: Flow,
    source: Source,
    *,
    states: Mapping[SourceKey, SourceState] | None = None,
    is_output: Callable[[SourceKey, str], bool] = lambda key, path: False,
) -> tuple[SeenSource, ...]:
    """The signatures a run for `source` settles when it ends: its file, or every candidate of a batch's folder.

    With `states`, those of the flow's sources, each has the hash of its content, which is taken only where size or
    time differ from the last good run's. A file that `is_output` (by its key and path) is no source.
    """
    if source.key is None or source.root is None:
        return ()
    if source.path is not None:
        signature = signature_of(source.path)
        pairs = [] if signature is None else [(source.key, source.path, signature)]
    elif source.root.is_dir():
        pairs = [
            (SourceKey(source.key.root, _nfc(name)), Path(entry.path), Signature(facts.st_size, facts.st_mtime_ns))
            for name, entry in candidates(flow)
            if not is_output(SourceKey(source.key.root, _nfc(name)), entry.path) and (facts := _stat(entry)) is not None
        ]
    else:
        pairs = []
    if states is None:
        return tuple(SeenSource(key, signature) for key, _, signature in pairs)
    return tuple(SeenSource(key, _hashed(path, signature, states.get(key))) for key, path, signature in pairs)


def same_name(root: Path, names: Iterable[str]) -> str | None:
    """The first of these names, inside the root, that two files have there: one with its accents as letters of their own (NFD), one
    without (NFC). All workstations take them for one source.

    Example:
        >>> import tempfile
        >>> same_name(Path(tempfile.mkdtemp()), ["a.csv", "\u00e9.csv"]) is None
        True
    """
    for name in names:
        if not name.isascii():
            composed, apart = (root / unicodedata.normalize(form, name) for form in ("NFC", "NFD"))
            with suppress(OSError):  # one of them is not there
                if not os.path.samefile(composed, apart):
                    return name
    return None


def same_name_error(name: str, root: Path) -> FlowValidationError:
    """The error of two files that have one name."""
    return FlowValidationError(
        f"two files are called {name!r}, with accents that are encoded in two ways (NFC and NFD): both count as one source",
        where=str(root),
        fix="rename one of them, or remove it",
    )


def signature_of(path: Path) -> Signature | None:
    """Size and modification time of the file, None when it is gone."""
    try:
        facts = os.stat(path)
    except OSError:
        return None
    return Signature(facts.st_size, facts.st_mtime_ns)


def is_unchanged(path: Path, signature: Signature) -> bool:
    """Whether the file has the size and time of this signature."""
    now = signature_of(path)
    return now is not None and now[:2] == signature[:2]


def content_hash(path: str | Path) -> str | None:
    """The SHA-256 of the file's bytes; None when it cannot be read."""
    try:
        return sha256_of(Path(path))
    except OSError:
        return None


def _hashed(path: Path, signature: Signature, state: SourceState | None) -> Signature:
    success = None if state is None else state.success
    if success is not None and success[:2] == signature[:2] and success.content_hash is not None:
        return success
    return signature._replace(content_hash=content_hash(path))


def _stat(entry: os.DirEntry[str]) -> os.stat_result | None:
    try:
        return entry.stat()
    except OSError:
        return None


def _nfc(name: str) -> str:
    return name if name.isascii() else portable_text(name)
