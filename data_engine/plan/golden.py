"""A golden: a result that was right, with its source and params, kept in the workspace's `goldens/` folder; and how its test ends.

goldens/<flow>/<name>.toml            the header, to read and review
goldens/<flow>/data/<name>/           the result, and source/ with what it was made from; Git leaves it out
goldens/<flow>/shared/<name>/         the same of a golden that is shared through Git

Data never changes in place: what replaces it lies in a folder `<name>-<id>` beside it, and counts once the header names it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import field
from datetime import datetime
from pathlib import Path, PurePosixPath
from typing import Any, ClassVar

from data_engine.compare.difference import Difference, Named
from data_engine.display_hook import Displayable
from data_engine.engine.local_workspace import LocalWorkspace
from data_engine.errors import FlowValidationError, SettingsError
from data_engine.files import rename_folder
from data_engine.formatting import cli_line, plural
from data_engine.record import Record, frozen
from data_engine.workspace.settings import parse_toml, read_toml_text

_UNSAFE = re.compile(r"[^\w.-]+", re.ASCII)
_RESULTS = {"table": "result.parquet", "value": "result.json"}


@frozen
class KeptFile(Record):
    """A source file as it was: its path inside the source folder, its size and SHA-256, and whether a copy is kept."""

    path: str
    size_bytes: int
    sha256: str
    is_copied: bool = True


@frozen
class GoldenSource(Record):
    """The source of a golden: the source folder as authored, the file in it ("" for a batch or a single file)."""

    root: str
    path: str = ""
    is_batch: bool = False
    files: tuple[KeptFile, ...] = field(default=(), metadata={"of": KeptFile.read})

    @property
    def name(self) -> str:
        """Its name for people."""
        if self.is_batch or not self.files:
            return PurePosixPath(self.root).name
        return self.path or self.files[0].path

    @property
    def is_copied(self) -> bool:
        """Whether all of it is kept."""
        return all(file.is_copied for file in self.files)


@frozen
class Golden(Displayable, Record):
    """A kept result of `flow`: the object `use` (None: the last result), for `source` with `params`.

    `kind` is "table", "value" or "file"; of a table `columns` are kept, those in `drop` are not, and `key` pairs its rows. Data
    that is to `share` is not left out of Git. `data` is the name of its folder, where that is not its own name.

    Example:
        >>> golden = Golden("sales", "clean_df-may", "clean_df", columns=("id: Int64",), rows=3)
        >>> golden.folder(Path("/ws/goldens")).as_posix()
        '/ws/goldens/sales/data/clean_df-may'
    """

    flow: str
    name: str
    use: str | None = None
    kind: str = "table"
    columns: tuple[str, ...] = ()
    rows: int | None = None
    key: tuple[str, ...] = ()
    drop: tuple[str, ...] = ()
    tolerance: float = 1e-9
    params: Mapping[str, Any] = field(default_factory=Named)
    share: bool = False
    data: str = ""
    source: GoldenSource | None = field(default=None, metadata={"of": GoldenSource.read})
    file: str = ""
    kept_at_utc: str = ""
    kept_by: str = ""

    def header(self, goldens: Path) -> Path:
        """Its header below the `goldens` folder."""
        return goldens / self.flow / f"{self.name}.toml"

    def folder(self, goldens: Path) -> Path:
        """The folder of its data."""
        return goldens / self.flow / ("shared" if self.share else "data") / (self.data or self.name)

    def result(self, goldens: Path) -> Path:
        """The file of its result."""
        return self.folder(goldens) / (self.file or _RESULTS[self.kind])

    @property
    def text(self) -> str:
        """The object, its source and its rows, in a few words."""
        of = f" of {self.source.name}" if self.source is not None else ""
        size = f", {plural(self.rows, 'row')}" if self.rows is not None else ""
        return f"{self.use or 'the last result'}{of}{size}"

    def __str__(self) -> str:
        columns = f"; columns {', '.join(self.columns)}" if self.columns else ""
        return f"golden {self.flow}/{self.name}: {self.text}{columns}"


def golden_name(use: str | None, source: str | None) -> str:
    """The default name of a golden, by its object and its source.

    Example:
        >>> golden_name("clean_df", "2013/may 1.csv"), golden_name(None, None)
        ('clean_df-may_1.csv', 'result')
    """
    of = "" if source is None else f"-{PurePosixPath(source).name}"
    return safe_name(f"{use or 'result'}{of}")


def safe_name(text: str) -> str:
    """The text as the name of a file on every system."""
    return _UNSAFE.sub("_", text).strip("._ ")[:100] or "result"


def goldens_folder(home: LocalWorkspace) -> Path:
    """The folder of all goldens of a workspace."""
    return home.layout.root / "goldens"


def require_goldens(goldens: Path, flow: str) -> None:
    """Refuse a flow without goldens.

    Raises:
        FlowValidationError: it has none.
    """
    if not goldens_of(goldens, flow):
        raise FlowValidationError(
            f"{flow} has no goldens",
            where=str(goldens / flow),
            fix='keep one in its notebook: build().golden(use="...", key="...")',
        )


def goldens_of(goldens: Path, flow: str) -> list[Path]:
    """The headers of a flow's goldens, in order."""
    folder = goldens / flow
    try:
        return sorted(path for path in folder.glob("*.toml") if path.is_file() and not path.name.startswith("."))
    except OSError:
        return []


def flows_with_goldens(goldens: Path) -> list[str]:
    """The flows that have any, in order."""
    try:
        return sorted(path.name for path in goldens.iterdir() if path.is_dir() and goldens_of(goldens, path.name))
    except OSError:
        return []


def follow_rename(home: LocalWorkspace, old: str, new: str) -> None:
    """Move the goldens of a flow to the name that its notebook has now; where that has goldens of its own, both stay."""
    goldens = goldens_folder(home)
    if goldens_of(goldens, old) and not goldens_of(goldens, new):
        with suppress(OSError):  # they are compared where they are, and told to belong to no flow
            rename_folder(goldens / old, goldens / new)


def read_golden(path: Path) -> Golden:
    """The golden whose header is `path`.

    Raises:
        FlowValidationError: it cannot be read, or is no header.
    """
    try:
        text = read_toml_text(path)
        if text is None:
            raise SettingsError("the file is not there", where=str(path))
        content = parse_toml(text, where=str(path))
        golden = Golden.read(
            {**content, "params": Named(content.get("params")), "flow": path.parent.name, "name": path.stem}
        )
        _check(golden)
    except SettingsError as error:
        raise _no_header(path, error.what) from error
    except (TypeError, ValueError, KeyError, AttributeError) as error:
        raise _no_header(path, str(error)) from error
    return golden


def header_text(golden: Golden) -> str:
    """The header as a person reads it.

    Example:
        >>> print(header_text(Golden("sales", "clean_df", "clean_df", rows=3)).splitlines()[0])
        # What clean_df must be; `data-engine test` compares it.
    """
    import tomlkit

    values = golden.as_dict()
    names = ("use", "kind", "rows", "columns", "drop", "key", "tolerance", "share", "data", "file")
    shown = {name: values[name] for name in names if values[name] not in (None, [], "")}
    if golden.columns:
        shown["columns"] = tomlkit.item(values["columns"]).multiline(True)
    shown |= {"kept_at_utc": golden.kept_at_utc, "kept_by": golden.kept_by}
    shown |= {name: values[name] for name in ("params", "source") if values[name]}
    head = f"# What {golden.use or 'the last result'} must be; `data-engine test` compares it.\n"
    return head + tomlkit.dumps(shown)


def _check(golden: Golden) -> None:
    """Refuse a header that leads elsewhere, or holds what it cannot mean."""
    paths = [
        golden.file,
        golden.data,
        *(file.path for file in (golden.source.files if golden.source is not None else ())),
    ]
    for path in paths:
        if (
            not isinstance(path, str)
            or ".." in PurePosixPath(path).parts
            or PurePosixPath(path).is_absolute()
            or ":" in path
        ):
            raise ValueError(f"the path {path!r} leads out of its folder")
    if len(PurePosixPath(golden.data or "one").parts) != 1 or "\\" in golden.data:
        raise ValueError(f"data = {golden.data!r} is not the name of a folder")
    if golden.kind not in ("table", "value", "file"):
        raise ValueError(f"kind = {golden.kind!r} is none of table, value, file")
    texts = [*golden.columns, *golden.key, *golden.drop]
    if not all(isinstance(text, str) for text in texts) or not isinstance(golden.tolerance, (int, float)):
        raise ValueError("columns, key and drop are lists of texts, tolerance is a number")
    if golden.kept_at_utc:
        datetime.fromisoformat(golden.kept_at_utc)


def _no_header(path: Path, why: str) -> FlowValidationError:
    return FlowValidationError(
        f"{path.name} is not a golden's header: {why}",
        where=str(path),
        fix="restore it from Git, or remove it and keep the golden again with flow.golden()",
    )


STATUSES = ("holds", "differs", "failed", "not compared", "updated")
"""Every word a golden's status can be."""


@frozen
class GoldenResult(Record):
    """The result of testing one golden. `status` is one of `STATUSES`: `difference` says what differs, `why` what failed, or what kept it
    from being compared, at `where`.

    Example:
        >>> result = GoldenResult("sales", "clean_df", "not compared", why="its source may.csv has changed since")
        >>> result.is_bad, result.text
        (False, 'its source may.csv has changed since')
    """

    computed: ClassVar = ("text",)

    flow: str
    name: str
    status: str
    golden: Golden | None = field(default=None, metadata={"of": Golden.read})
    difference: Difference | None = field(default=None, metadata={"of": Difference.read})
    why: str | None = None
    where: str | None = None
    elapsed_s: float = 0.0

    @property
    def is_bad(self) -> bool:
        """Whether it differs, or could not be made."""
        return self.status in ("differs", "failed")

    @property
    def text(self) -> str:
        """The reason for the status."""
        if self.difference is not None and not self.difference.equal:
            return self.difference.text
        return f"{self.why} ({self.where})" if self.why and self.where else self.why or ""


def worst(results: Iterable[GoldenResult]) -> dict[str, list[GoldenResult]]:
    """The goldens that do not hold, by flow."""
    failures: dict[str, list[GoldenResult]] = {}
    for result in results:
        if result.is_bad:
            failures.setdefault(result.flow, []).append(result)
    return failures


def not_held(flow: str, results: list[GoldenResult]) -> FlowValidationError:
    """The error of a deploy whose goldens do not hold."""
    text = "; ".join(f"{result.name} {result.status}: {result.text}" for result in results)
    return FlowValidationError(
        f"{flow} is not deployed: {len(results)} of its goldens {'does' if len(results) == 1 else 'do'} not hold: {text}",
        where=f'flow "{flow}", [deploy] gate = "golden"',
        fix=f"see `{cli_line('test', flow)}`; when the new result is right, `{cli_line('test', flow, '--update')}`, or deploy with --approve",
    )
