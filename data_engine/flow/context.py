"""The context that a step receives: the source, where to write, the objects of earlier steps, and the workspace's files."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from data_engine.argument_checks import checked
from data_engine.clock import EPOCH
from data_engine.display_hook import Displayable
from data_engine.errors import FlowValidationError
from data_engine.flow.control import StepControl
from data_engine.flow.debug import FlowDebugContext
from data_engine.flow.locations import IN_PLACE, MirrorContext, Places, SourceContext
from data_engine.flow.paths import inside, make_folder
from data_engine.model import LogLine
from data_engine.platforms.files import open_to_read
from data_engine.record import frozen
from data_engine.secret import Secret

SETTINGS_STEM = "data_engine"
"""`config/data_engine.toml` holds the workspace's settings and is not listed with the author's config files."""


_OTHER_LEVELS = {"WARN": "WARNING", "CRITICAL": "ERROR", "FATAL": "ERROR"}
"""Other libraries' names of levels."""


@dataclass
class FlowContext(Displayable):
    """The active run, as each step sees it.

    `current` is the previous step's result (None before the first step), `objects` what `save_as` named, `source` and
    `mirror` the path tables (None where the flow has none), `metadata` the run's facts: `started_at_utc`, `run_id`, `step_outputs`
    and of a file its `file_hash`. What a step puts there under another key is kept with the run (`Run.metadata`, `log`), 64 KiB of JSON at
    most; frames and objects by type and shape. `params` is what the run was given (an instance of the class of `Flow.params`), `config` and
    `database()` are the workspace's files, `debug` is a place to keep frames to look at (None without a workspace). `scheduled_for`
    is the aware time of the slot that a scheduled run is for, also when it catches up or is a backfill's; else None. `error` is
    the failure of this source after `run_once(on_error="continue")`; `warnings` counts those of its log, once the run has ended.

    Example:
        >>> context = FlowContext(flow_name="claims", group="Claims")
        >>> context.current is None, context.objects, context.params
        (True, {}, {})
    """

    flow_name: str
    group: str
    source: SourceContext | None = None
    mirror: MirrorContext | None = None
    current: Any = None
    objects: dict[str, Any] = field(default_factory=dict)
    metadata: dict[str, Any] = field(default_factory=dict)
    config: WorkspaceConfigContext = field(default_factory=lambda: WorkspaceConfigContext(None))
    debug: FlowDebugContext | None = None
    params: Any = field(default_factory=dict)
    scheduled_for: datetime | None = None
    error: BaseException | None = None
    warnings: int = 0
    workspace_root: Path | None = field(default=None, repr=False)
    control: StepControl = field(default_factory=StepControl, repr=False, compare=False)
    places: Places = field(default=IN_PLACE, repr=False, compare=False)

    _repr_pretty_ = Displayable._repr_pretty_  # IPython takes a class's own `__repr__` for nearer than what it inherits

    @checked()
    def database(self, name: str, read_only: bool = False, live: bool = False) -> Path:
        """The path of `databases/<name>` in the workspace; its folder exists, the file may not.

        In a preview it is that of a copy on this machine, so that nothing production reads is changed. With `read_only` that is
        write-protected, and as the database was when nobody wrote it; with `live` too it is always the database itself, which no run
        can write while a preview has it open.

        Raises:
            FlowValidationError: the flow belongs to no workspace, the name is absolute or leaves the folder, or `live` without
                `read_only`.

        Example:
            >>> import tempfile
            >>> context = FlowContext(flow_name="claims", group="Claims", workspace_root=Path(tempfile.mkdtemp()))
            >>> path = context.database("marts/claims.duckdb")
            >>> path.name, path.parent.is_dir(), path.exists()
            ('claims.duckdb', True, False)
        """
        if self.workspace_root is None:
            raise FlowValidationError(
                f"database({name!r}) is only available for authored workspace flows",
                where="context.database",
                fix="keep the notebook in a workspace's flow_modules folder, or use a pathlib.Path",
            )
        if live and not read_only:
            raise FlowValidationError(
                "live=True is for databases that are only read", where="context.database", fix="add read_only=True"
            )
        path = inside(self.workspace_root / "databases", name, where="context.database")
        try:
            make_folder(path.parent, workspace=self.workspace_root)
        except OSError as error:
            raise FlowValidationError(
                f"the folder {path.parent} cannot be created: {error.strerror}",
                where="context.database",
                fix="check that the workspace can be written",
            ) from error
        if not live:
            return self.places.database(path, read_only=read_only)
        from data_engine.keeping import read_live

        return read_live(path)

    def secret(self, name: str) -> Secret:
        """The secret of this name, as the person who runs this has it on this machine; `.reveal()` gives its value.

        It is taken from the variable `DATA_ENGINE_SECRET_<NAME>`, else from the keyring of the system (`data-engine secret
        set`). Its value is replaced by `***` in everything that is stored or shown of the run.

        Raises:
            FlowValidationError: it is not on this machine, or shorter than 6 characters.

        Example:
            >>> import os
            >>> os.environ["DATA_ENGINE_SECRET_DWH"] = "correct horse"
            >>> print(FlowContext(flow_name="claims", group="Claims").secret("dwh"))
            ***
            >>> del os.environ["DATA_ENGINE_SECRET_DWH"]
        """
        from data_engine.workspace.secret_store import find_secret

        return find_secret(name)

    def source_metadata(self) -> SourceMetadata | None:
        """Size and modification time of the active file, None without one.

        Raises:
            FlowValidationError: the file is gone.

        Example:
            >>> import tempfile
            >>> path = Path(tempfile.mkdtemp(), "a.csv")
            >>> _ = path.write_text("12345")
            >>> source = SourceContext(path.parent, path, Path("a.csv"))
            >>> FlowContext(flow_name="claims", group="Claims", source=source).source_metadata().size_bytes
            5
        """
        if self.source is None or self.source.path is None:
            return None
        try:
            facts = self.source.path.stat()
        except OSError as error:
            raise FlowValidationError(
                f"Source file not found: {self.source.path}", where="context.source_metadata", fix="put the file back"
            ) from error
        return SourceMetadata(
            self.source.path, self.source.path.name, facts.st_size, EPOCH + timedelta(seconds=facts.st_mtime)
        )

    def log(self, message: object, *, level: str = "INFO") -> None:
        """Add a line to the run's log; a run that was asked to stop ends here.

        Raises:
            FlowValidationError: `level` is not a word.

        Example:
            >>> context = FlowContext(flow_name="claims", group="Claims")
            >>> context.log("3 rows have no day", level="WARNING")
        """
        if not isinstance(level, str) or not level.strip():
            raise FlowValidationError(
                f"level={level!r} is not a word", where="context.log", fix='use "INFO", "WARNING" or "ERROR"'
            )
        control = self.control
        control.may_work()
        text = message if isinstance(message, str) else str(message)
        word = level.strip().upper()
        word = _OTHER_LEVELS.get(word, word)
        control.emit(LogLine(control.run_id, self.flow_name, control.label, word, text, time.time()))

    def progress(self, done: int, total: int | None = None) -> None:
        """Say how far the step is (`done` of `total`); cheap to call often. A run that was asked to stop ends here.

        Raises:
            FlowValidationError: `done` or `total` is not a whole number of at least 0.

        Example:
            >>> context = FlowContext(flow_name="claims", group="Claims")
            >>> context.progress(done=3, total=10)
        """
        for name, value in (("done", done), ("total", total)):
            if value is None and name == "total":
                continue
            if not isinstance(value, int) or isinstance(value, bool) or value < 0:
                raise FlowValidationError(
                    f"{name}={value!r} must be a whole number of at least 0",
                    where="context.progress",
                    fix="context.progress(done=3, total=10)",
                )
        self.control.may_work()
        self.control.progress(done, total)


@frozen
class SourceMetadata:
    """Facts of one source file; `modified_at_utc` is an aware UTC datetime."""

    path: Path
    name: str
    size_bytes: int
    modified_at_utc: datetime


class WorkspaceConfigContext:
    """The TOML files of `config/`, read when asked for and remembered for one run.

    Example:
        >>> WorkspaceConfigContext(None).names()
        ()
    """

    def __init__(self, workspace_root: Path | None, *, on_read: Callable[[Path], None] | None = None) -> None:
        self._root = workspace_root
        self._read: dict[str, dict[str, Any] | None] = {}
        self._on_read = on_read

    @property
    def config_dir(self) -> Path | None:
        """The workspace's `config` folder; None for a flow that belongs to no workspace."""
        return None if self._root is None else self._root / "config"

    def names(self) -> tuple[str, ...]:
        """The stems of the config files, sorted; the workspace's own settings file is not one of them.

        Raises:
            FlowValidationError: the folder cannot be read.

        Example:
            >>> import tempfile
            >>> root = Path(tempfile.mkdtemp())
            >>> (root / "config").mkdir()
            >>> _ = (root / "config" / "rates.toml").write_text("rate = 2")
            >>> WorkspaceConfigContext(root).names()
            ('rates',)
        """
        folder = self.config_dir
        if folder is None:
            return ()
        if self._on_read is not None:
            self._on_read(folder)
        try:
            paths = [path for path in folder.iterdir() if path.suffix == ".toml" and path.is_file()]
        except FileNotFoundError:
            return ()
        except OSError as error:
            raise FlowValidationError(
                f"the folder {folder} cannot be read: {error.strerror}",
                where="context.config",
                fix="check that config is a readable folder",
            ) from error
        return tuple(sorted(p.stem for p in paths if not p.name.startswith(".") and p.stem != SETTINGS_STEM))

    def get(self, name: str) -> dict[str, Any] | None:
        """The content of `config/<name>.toml` as a fresh dict, or None when there is no such file.

        Raises:
            FlowValidationError: a blank or escaping name, or a file that is not TOML; names the file and the line.

        Example:
            >>> import tempfile
            >>> root = Path(tempfile.mkdtemp())
            >>> (root / "config").mkdir()
            >>> _ = (root / "config" / "rates.toml").write_text("rate = 2")
            >>> config = WorkspaceConfigContext(root)
            >>> config.get("rates"), config.get("other")
            ({'rate': 2}, None)
        """
        folder = self.config_dir
        if not isinstance(name, str) or not name.strip():
            raise FlowValidationError(
                f"a config name cannot be {name!r}", where="context.config", fix='config.get("airlines")'
            )
        if folder is None:
            return None
        if name not in self._read:
            self._read[name] = self._load(inside(folder, f"{name}.toml", where="context.config"))
        return copy.deepcopy(self._read[name])

    def require(self, name: str) -> dict[str, Any]:
        """Like `get`, but a missing file is an error.

        Raises:
            FlowValidationError: no such file (lists those there are), or the flow belongs to no workspace.

        Example:
            >>> import tempfile
            >>> root = Path(tempfile.mkdtemp())
            >>> (root / "config").mkdir()
            >>> _ = (root / "config" / "rates.toml").write_text("rate = 2")
            >>> WorkspaceConfigContext(root).require("rates")["rate"]
            2
        """
        value = self.get(name)
        if value is not None:
            return value
        folder = self.config_dir
        if folder is None:
            raise FlowValidationError(
                f"config {name!r} is only available for authored workspace flows",
                where="context.config",
                fix="keep the notebook in a workspace's flow_modules folder",
            )
        names = ", ".join(self.names()) or "none"
        raise FlowValidationError(
            f"Required config file was not found: {folder / name}.toml",
            where="context.config",
            fix=f"create it; config files there are: {names}",
        )

    def all(self) -> dict[str, dict[str, Any]]:
        """Every config file's content by name.

        Raises:
            FlowValidationError: one of them is not TOML; names the file and the line.

        Example:
            >>> import tempfile
            >>> root = Path(tempfile.mkdtemp())
            >>> (root / "config").mkdir()
            >>> _ = (root / "config" / "rates.toml").write_text("rate = 2")
            >>> WorkspaceConfigContext(root).all()
            {'rates': {'rate': 2}}
        """
        return {name: self.require(name) for name in self.names()}

    def _load(self, path: Path) -> dict[str, Any] | None:
        import tomllib

        if self._on_read is not None:
            self._on_read(path)
        try:
            with open_to_read(path) as file:
                return tomllib.load(file)
        except FileNotFoundError:
            if path.parent.is_file():  # Windows words both alike
                raise FlowValidationError(
                    f"{path.parent} is a file", where="context.config", fix="check that config is a readable folder"
                ) from None
            return None
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise FlowValidationError(
                f"{path} is not TOML: {error}", where=str(path), fix="correct that line"
            ) from error
        except OSError as error:
            raise FlowValidationError(
                f"{path} cannot be read: {error.strerror}",
                where="context.config",
                fix="check that it is a readable file",
            ) from error
