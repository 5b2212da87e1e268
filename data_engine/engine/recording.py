"""Record the facts of a run besides its events: who began it and why, with which code, on which files, and what it took."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import re
import sys
import threading
import time
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import cached_property
from inspect import unwrap
from pathlib import Path
from typing import Any, NamedTuple

from data_engine.engine.access.access_log import (
    MOST_FILES,
    RunFiles,
    cell_of_code,
    current_files,
    not_logged,
    noting,
)
from data_engine.engine.access.interceptors import Interceptors, headings_twice
from data_engine.engine.candidates import Source
from data_engine.engine.local_workspace import LocalWorkspace
from data_engine.engine.params import params_text
from data_engine.engine.references import reference_of
from data_engine.flow.batch import parquet_rows
from data_engine.flow.flow import Flow
from data_engine.flow.rules import CheckResult
from data_engine.flow.spec import Collect
from data_engine.formatting import first_few, path_in
from data_engine.ledger.outputs import Writer, other_writers
from data_engine.model import FileFacts, Reference, RunAbout, RunSpent, SeenSource, StepFinished
from data_engine.notebook.module_sets import file_facts
from data_engine.platforms.processes import Usage, forget_peak, memory_bytes, usage
from data_engine.storage_version import new_databases
from data_engine.workspace.git import GitState, git_state
from data_engine.workspace.layout import FLOW_MODULES
from data_engine.workspace.machine import person

_GIT_S = 10.0
_LOOK_S = 0.1


class RecordedPass:
    """The common facts of the recorded runs of one pass: their code and their environment."""

    def __init__(self, flow: Flow, params: Mapping[str, Any], *, home: LocalWorkspace) -> None:
        self.flow, self.home = flow, home
        self.ours = home.own_folders
        self.databases = home.settings().databases.storage_version, home.database_lead
        self._params = params_text(params)

    def about(self, request: RunAbout | None) -> RunAbout:
        """The facts of a run that begins; `request` holds those of the one who asked for it."""
        outer = current_files()  # of a run of which a step has begun this one
        about = request or (self._here if outer is None else RunAbout("flow", outer.whose, "@".join(person())))
        root, env = self.home.layout.root, environment()
        git = GitState(about.git_commit, about.git_dirty) if about.deployment_id is not None else self._git
        is_listed = (root, env.digest) in _listed
        return about._replace(
            params=self._params,
            edited=self.flow._edited,
            git_commit=git.commit,
            git_dirty=git.is_dirty,
            python=env.python,
            environment=env.digest,
            distributions=None if is_listed else json.dumps(env.distributions, separators=(",", ":")),
        )

    def is_begun(self) -> None:
        """Note that a start is recorded, and with it the list of distributions."""
        _listed.add((self.home.layout.root, environment().digest))

    @cached_property
    def _here(self) -> RunAbout:
        return RunAbout("hand", None, "@".join(person()))

    @cached_property
    def _git(self) -> GitState:
        return _git(self.home.layout.root)


class Recording:
    """The record of one run of a workspace's flow."""

    def __init__(self, of: RecordedPass, source: Source, seen: tuple[SeenSource, ...], run_id: str) -> None:
        self._flow, self._source, self._seen, self._home = of.flow, source, seen, of.home
        self.files = RunFiles(of.ours, f"{of.flow.name} {run_id[:8]}", self._is_source)
        self._databases, self._run_id = of.databases, run_id
        self._outputs: dict[str, int | None] = {}
        self._headings: tuple[str, ...] = ()
        self._before: Usage | None = None
        self._is_reset = False

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Inside, the files that the run opens are noted, and what it uses is measured."""
        with noting(self.files), new_databases(*self._databases):
            self._is_reset = forget_peak()
            self._before = usage()
            yield

    def take(self, event: StepFinished, current: object) -> None:
        """Take the outputs of a step that has ended, and the headings of its result `current`."""
        if event.status == "success":
            if event.outputs:
                fn = unwrap(self._flow.steps[event.step_index].fn)
                self._outputs.update(dict.fromkeys(event.outputs, cell_of_code(getattr(fn, "__code__", None))))
            with suppress(Exception):  # what is doubtful of a run is not worth its end
                if (headings := headings_twice(current)) is not None:
                    self._headings = headings

    def doubts(self) -> tuple[str, ...]:
        """The doubts about the files that were read and the last frame that a step gave."""
        return (*self.files.doubts, *self._headings)

    def warnings(self) -> Iterator[str]:
        """The warnings of a run that went well: files that it settles and does not collect, and outputs that it replaced."""
        if left := self._not_collected:
            yield not_collected_text(left, len(self._seen), self._flow)
        read = {*self.files.read, *self.files.appended, *self.files.databases}
        text = replaced_text(self._flow, self._source, self._home, list(self._outputs), read=read, run_id=self._run_id)
        if text is not None:
            yield text

    def spent(
        self, checked: Sequence[CheckResult], wrote: Mapping[str, tuple[str, ...]], *, puts_apart: bool, is_good: bool
    ) -> RunSpent:
        """The use, the files and the check results of a run that is over, which `wrote` these tables of databases; `puts_apart` where
        rejected rows are kept. A run that `is_good` has its references, too."""
        inputs, more_inputs = self._inputs(wrote)
        outputs = list(self._outputs)
        facts = (self._output(path) for path in outputs[:MOST_FILES])
        peak = cpu_s = None
        if self._before is not None:
            after = usage()
            cpu_s = max(0.0, after.cpu_s - self._before.cpu_s)
            is_of_run = self._is_reset or after.peak_bytes > self._before.peak_bytes
            peak = after.peak_bytes if is_of_run else memory_bytes()
        counts = tuple(count for check in checked for count in check.rules)
        rejected = sum(check.rejected or 0 for check in checked) if puts_apart else None
        more_outputs, references = max(0, len(outputs) - MOST_FILES), self._references() if is_good else ()
        return RunSpent(
            inputs, more_inputs, tuple(facts), more_outputs, peak, cpu_s, counts, rejected, references=references
        )

    def _is_source(self, path: str) -> bool:
        """Whether the run takes the file as a source: its own one, those of its batch, and what a `collect` takes; or it is config."""
        source, config = self._source, self._home.layout.config_dir
        if path == str(source.path) or path.startswith(f"{config}{os.sep}"):
            return True
        root = source.root
        if source.path is None and root is not None and path.startswith(lead := os.path.join(root, "")):
            return path[len(lead) :].replace(os.sep, "/") in self._names
        return any(_takes(step, _folder(step, root or Path()), Path(path).as_posix()) for step in self._collects)

    @cached_property
    def _names(self) -> frozenset[str]:
        return frozenset(source.key.path for source in self._seen)

    @cached_property
    def _collects(self) -> list[Collect]:
        return [step.fn for step in self._flow.steps if isinstance(step.fn, Collect)]

    def _references(self) -> tuple[Reference, ...]:
        if not self.files.references:
            return ()
        outputs = set(self._outputs)
        with not_logged():
            found = [
                reference_of(path, size_bytes, mtime_ns)
                for path, (size_bytes, mtime_ns) in list(self.files.references.items())
                if path not in outputs
            ]
        return tuple(reference for reference in found if reference is not None)

    def _inputs(self, wrote: Mapping[str, tuple[str, ...]]) -> tuple[tuple[FileFacts, ...], int]:
        """The sources, what else was read, and the databases that the run changed; and how many of them are left out."""
        sources, more_sources = self._sources()
        read, more_read = self._read(sources, wrote)
        written, more_written = self._written(wrote)
        return (*read, *written), more_sources + more_read + more_written

    def _output(self, path: str) -> FileFacts:
        facts = _facts(path)
        rows = parquet_rows(path)
        return facts._replace(rows=self.files.rows.get(path) if rows is None else rows, cell=self._outputs[path])

    def _sources(self) -> tuple[dict[str, FileFacts], int]:
        left_out, given = set(self._not_collected), self._source.path
        sources = [source for source in self._seen if source.key.path not in left_out]
        inputs: dict[str, FileFacts] = {}
        for source in sources[:MOST_FILES]:
            path = str(given or (self._source.root or Path()) / source.key.path)
            inputs[path] = FileFacts(path, source.signature.size_bytes, source.signature.mtime_ns)
        if given is not None and not self._seen:
            inputs[str(given)] = _facts(str(given))
        if given is not None and (path := str(given)) in inputs:
            inputs[path] = inputs[path]._replace(rows=parquet_rows(path))
        return inputs, max(0, len(sources) - MOST_FILES)

    def _read(
        self, sources: Mapping[str, FileFacts], wrote: Mapping[str, tuple[str, ...]]
    ) -> tuple[list[FileFacts], int]:
        opened = self.files.read | {path: cell for path, cell in self.files.databases.items() if path not in wrote}
        names = [path for path in opened if path not in sources and path not in self._outputs]
        left = max(0, MOST_FILES - len(sources))
        facts = [file for file in map(_facts, names[:left]) if file.size_bytes is not None]
        files = [*sources.values(), *facts]
        return [file._replace(cell=opened.get(file.path)) for file in files], max(0, len(names) - left)

    def _written(self, wrote: Mapping[str, tuple[str, ...]]) -> tuple[list[FileFacts], int]:
        changed = [path for path in wrote if path not in self._outputs]
        cells = self.files.databases | self.files.read
        facts = [_facts(path)._replace(cell=cells.get(path), tables=wrote[path]) for path in changed[:MOST_FILES]]
        return [file for file in facts if file.size_bytes is not None], max(0, len(changed) - MOST_FILES)

    @cached_property
    def _not_collected(self) -> list[str]:
        """The files that a batch settles, and neither collects nor opens; known when the steps have run."""
        root = self._source.root
        if self._source.path is not None or root is None or not self._seen:
            return []
        left = not_collected(self._flow, root, [source.key.path for source in self._seen])
        return [name for name in left if str(root / name) not in self.files.read]


@contextmanager
def readers_watched(captured: Iterable[tuple[dict[str, Any], str]] = ()) -> Iterator[None]:
    """Inside, the readers whose files runs name are replaced, and what writes; around many runs it spares each of them that."""
    global _watchers
    with _lock:
        _watchers += 1
        _readers.open(captured)
    try:
        yield
    finally:
        with _lock:
            _watchers -= 1
            if not _watchers:
                _readers.close()


class _GitSeen(NamedTuple):
    """The state of a repository, when it was asked for, its files, and when these were looked at last."""

    state: GitState
    asked_s: float
    files: object = None
    looked_s: float = 0.0


def _git(root: Path) -> GitState:
    """The state of the repository that the workspace's modules are in: asked when one of their files has changed, and else at most
    every ten seconds."""
    folder, now_s, entry = root / FLOW_MODULES, time.monotonic(), _git_known.get(root)
    if entry is not None and now_s - entry.asked_s <= _GIT_S:
        if entry.state.commit is None or now_s - entry.looked_s <= _LOOK_S:
            return entry.state
        if file_facts(folder) == entry.files:
            _git_known[root] = entry._replace(looked_s=now_s)
            return entry.state
    files = file_facts(folder)  # of before: what changes meanwhile is asked for again
    _git_known[root] = entry = _GitSeen(git_state(folder), now_s, files, now_s)
    return entry.state


def _facts(path: str) -> FileFacts:
    try:
        facts = os.stat(path)
    except OSError:
        return FileFacts(path)
    return FileFacts(path, facts.st_size, facts.st_mtime_ns)


_lock = threading.Lock()
_readers = Interceptors(of_runs=True)
_watchers = 0
_listed: set[tuple[Path, str]] = set()
_git_known: dict[Path, _GitSeen] = {}


_MOST_NAMED = 3


def not_collected(flow: Flow, root: Path, names: Sequence[str]) -> list[str]:
    """Those of the `names` inside the source root that no collect step takes; none where no step collects from there.

    Example:
        >>> flow = Flow("Sales", "all").collect(".csv")
        >>> not_collected(flow, Path("/in"), ["a.csv", "sub/b.csv", "c.xlsx"])
        ['sub/b.csv', 'c.xlsx']
        >>> not_collected(Flow("Sales", "all").collect(".csv", root="/other"), Path("/in"), ["a.csv", "c.xlsx"])
        []
    """
    steps = [step.fn for step in flow.steps if isinstance(step.fn, Collect)]
    places = [(_folder(step, root), step) for step in steps]
    lead = f"{root.as_posix().rstrip('/')}/"
    there = [(place, step) for place, step in places if place.startswith(lead) or lead.startswith(place)]
    if not there:
        return []
    return [name for name in names if not any(_takes(step, place, lead + name) for place, step in there)]


def not_collected_text(left: Sequence[str], count: int, flow: Flow) -> str:
    """The warning for a run that settles `count` files and collects all but those that are `left`.

    Example:
        >>> not_collected_text(["sub/b.csv"], 2, Flow("Sales", "all").collect(".csv")).partition(";")[0]
        '1 of 2 watched files was not collected, and counts as done all the same: sub/b.csv'
    """
    named = first_few(left, _MOST_NAMED)
    was = "was not collected, and counts" if len(left) == 1 else "were not collected, and count"
    steps = [step.fn for step in flow.steps if isinstance(step.fn, Collect)]
    taken = tuple(extension for step in steps for extension in step.extensions)
    ways = []
    if any("/" in name and name.lower().endswith(taken) for name in left):
        ways.append("collect(..., recursive=True) takes subfolders")
    if any(not name.lower().endswith(taken) for name in left):
        ways.append("name their extensions in collect(...), or only those that it takes in watch(extensions=...)")
    fix = f"; {', '.join(ways)}" if ways else ""
    return f"{len(left):,} of {count:,} watched files {was} as done all the same: {named}{fix}"


def _folder(step: Collect, root: Path) -> str:
    folder = root if step.root is None else step.root.path
    return f"{folder.as_posix().rstrip('/')}/"


def _takes(step: Collect, place: str, path: str) -> bool:
    if not path.startswith(place) or not path.lower().endswith(step.extensions):
        return False
    return step.recursive or "/" not in path[len(place) :]


_FOLDER = re.compile(
    r"(?P<name>[A-Za-z0-9][\w.]*)-(?P<version>[^-]+)(?:\.dist-info|(?:-py[\d.]+)?\.egg-info)", re.ASCII
)


class Environment(NamedTuple):
    """A Python with its distributions, "name version" each, sorted; `digest` tells one from another."""

    digest: str
    python: str
    distributions: tuple[str, ...]


_LOOK_EVERY_S = 2.0

_newest: tuple[tuple[tuple[str, int], ...], Environment] | None = None
_looked_s = float("-inf")


def environment() -> Environment:
    """The environment of this process, looked at again, every two seconds at most, when something was installed or removed.

    The names of installed distributions are those of their folders in `sys.path`; none is opened.

    Reference: the specification "Recording installed projects" of packaging.python.org.

    Example:
        >>> env = environment()
        >>> env.python == platform.python_version(), len(env.digest), any(d.startswith("polars ") for d in env.distributions)
        (True, 16, True)
    """
    global _newest, _looked_s
    now_s = time.monotonic()
    if _newest is not None and now_s - _looked_s < _LOOK_EVERY_S:
        return _newest[1]
    _looked_s = now_s
    places = tuple((path, changed) for path in dict.fromkeys(sys.path) if (changed := _changed_ns(path)))
    if _newest is None or _newest[0] != places:
        _newest = places, _read([path for path, _ in places])
    return _newest[1]


def _changed_ns(path: str) -> int:
    try:
        return os.stat(path or ".").st_mtime_ns if path.endswith(("site-packages", "dist-packages")) else 0
    except OSError:
        return 0


def _read(folders: list[str]) -> Environment:
    versions: dict[str, str] = {}
    for folder in folders:  # the first of a name is the one that is imported
        try:
            names = sorted(os.listdir(folder))
        except OSError:
            continue
        for name in names:
            if match := _FOLDER.fullmatch(name):
                versions.setdefault(re.sub(r"[-_.]+", "-", match["name"]).lower(), match["version"])
    python = platform.python_version()
    distributions = tuple(f"{name} {version}" for name, version in sorted(versions.items()))
    text = "\n".join([python, *distributions])
    return Environment(hashlib.sha256(text.encode()).hexdigest()[:16], python, distributions)


_MOST_OUTPUTS = 20
_MOST_OTHERS = 5
_MOST_REMEMBERED = 10_000
_DATABASES = (".duckdb", ".db", ".ddb", ".sqlite", ".sqlite3")


def replaced_text(
    flow: Flow, source: Source, home: LocalWorkspace, outputs: Iterable[str], *, read: Collection[str], run_id: str
) -> str | None:
    """The warning for a run that has written `outputs` and `read` these files; None where it replaced nothing of another file.

    An output that the run read or appended to, and a database, keep what they held. Another file that is gone has no claim, and a
    file that came after that run replaces on purpose: the newest counts.
    """
    path, mirror = source.path, flow.mirror_spec
    if path is None or mirror is None or source.key is None or not source.key.path:
        return None
    own = [
        output
        for output in outputs
        if output not in read and not output.lower().endswith(_DATABASES) and Path(output).is_relative_to(mirror.root)
    ][:_MOST_OUTPUTS]
    name, text = flow.name or "", str(path)
    came_s = _came_s(path)
    others = _writers_here(home.local.ledger_path, name, own, text) if own else {}
    if own and not others:
        others = other_writers(home.local.ledger_path, name, own, source=text, run_id=run_id)
    for output, sources in others.items():
        waited = list(dict.fromkeys(other for other, written_s in sources if came_s <= written_s))
        there = next((other for other in waited[:_MOST_OTHERS] if os.path.exists(other)), None)
        if there is not None:
            return words(
                str(Path(output).relative_to(mirror.root)),
                there if source.root is None else path_in(source.root, there),
                source.key.path,
            )
    return None


def words(output: str, other: str, own: str) -> str:
    """The sentence for an output that held the result of another file.

    Example:
        >>> words("all.parquet", "may.csv", "june.csv").partition(":")[0]
        'all.parquet now holds june.csv alone, and no longer what an earlier run made of may.csv'
    """
    return (
        f"{output} now holds {own} alone, and no longer what an earlier run made of {other}: for one file from all sources, "
        'watch(run_as="batch") with collect(...); for one file per source, context.mirror.with_extension(...)'
    )


def _came_s(path: Path) -> float:
    """When a file came to its folder: the later of its times, since a copy may keep the time of its content; 0 where it is gone."""
    with suppress(OSError):
        facts = os.stat(path)
        return max(facts.st_mtime, facts.st_ctime)
    return 0.0


def _writers_here(ledger: Path, flow: str, outputs: list[str], source: str) -> dict[str, list[Writer]]:
    """For each output the other source for which a run of this process wrote it last; it may not be in the history yet."""
    writers = {}
    with _written_lock:
        for output in outputs:
            key = (ledger, flow, output)
            last = _written.pop(key, None)
            _written[key] = source, time.time()
            if last is not None and last[0] != source:
                writers[output] = [last]
        while len(_written) > _MOST_REMEMBERED:
            del _written[next(iter(_written))]
    return writers


_written_lock = threading.Lock()
_written: dict[tuple[Path, str, str], Writer] = {}
