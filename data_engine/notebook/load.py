"""Loads a module file as a registered, importable module, and builds its flow.

Modules get names of their own for each workspace in `sys.modules` (`data_engine_flows.w<hash>.<name>`), so two workspaces
with equally named helpers never mix and step functions pickle. The author's text is never rewritten: each module has its
own `__builtins__` whose `__import__` looks in the workspace first, also for imports inside functions.
"""

from __future__ import annotations

import builtins
import hashlib
import importlib
import importlib.machinery
import importlib.util
import os
import re
import sys
import threading
import types
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import lru_cache, wraps
from pathlib import Path
from typing import Any

from data_engine.errors import FlowExecutionError, FlowValidationError, message_of
from data_engine.flow.flow import Flow, Shape
from data_engine.flow.paths import module_folder
from data_engine.flow.spec import title_text
from data_engine.notebook.module_sets import python_names, trouble_with_name
from data_engine.platforms.files import content_of
from data_engine.record import frozen

TYPE_CHECKING = False
if TYPE_CHECKING:
    from importlib.abc import InspectLoader as _LoaderBase
else:
    _LoaderBase = object  # importlib.abc takes six more modules into every process, and nobody needs them

ROOT_PACKAGE = "data_engine_flows"
_loading = threading.RLock()


@frozen
class LoadedModule:
    """A flow module, executed: its name, file, description and built flow, and the warnings of its compilation."""

    name: str
    path: Path
    description: str
    flow: Flow
    warnings: tuple[str, ...] = ()


class FlowModules:
    """The modules of one authored `flow_modules` folder, imported under names of their own.

    `cache_dir` keeps compiled notebooks for other processes (None: only in memory). `content` is where the files are read
    from, when that is not the authored folder: a deployment keeps copies, but paths, names and errors stay the authored
    ones. Another process that knows them as `package` gives that name.
    """

    def __init__(
        self, folder: Path, *, cache_dir: Path | None = None, content: Path | None = None, package: str | None = None
    ) -> None:
        self.folder = Path(os.path.abspath(folder))
        self.content = self.folder if content is None else Path(os.path.abspath(content))
        self.cache_dir = cache_dir
        digest = hashlib.sha256(os.fsencode(self.folder) + b"\0" + os.fsencode(self.content)).hexdigest()
        self.package = package or f"{ROOT_PACKAGE}.w{digest[:12]}"

    def authored(self, path: Path) -> Path:
        """The authored file a file of `content` stands for."""
        return path if self.content == self.folder else self.folder / path.relative_to(self.content)

    def content_of(self, path: Path) -> Path:
        """The file of `content` that an authored file is read from."""
        return self.content / path.relative_to(self.folder) if path.is_relative_to(self.folder) else path

    def load(self, path: Path) -> LoadedModule:
        """Execute the module at `path` (in `content`) afresh and build its flow; helpers are imported again when any of them changed.

        Raises: as `load_content`.
        """
        with _loading:
            self.refresh()
            try:
                return self.load_content(path, content_of(path))
            except OSError as error:
                fix = "check that the file is there and readable"
                raise FlowValidationError(
                    f"{path} cannot be read: {error.strerror}", where=str(path), fix=fix
                ) from error

    def load_content(self, path: Path, data: bytes) -> LoadedModule:
        """Execute the module at `path`, whose content is `data`, and build its flow, with helpers as imported already.

        Raises:
            NotebookCompileError: the notebook cannot become a module.
            FlowExecutionError: the module or its `build()` raised.
            FlowValidationError: no `build()`, one with parameters, one that returns no flow, or a wrong authoring call.
        """
        with _loading:
            path = self.authored(path)
            try:
                return self._load(path, data)
            except KeyboardInterrupt as error:  # of many modules, the one that does not end
                raise KeyboardInterrupt(f"interrupted while {path} was loaded") from error

    def execute(self, path: Path, data: bytes) -> types.ModuleType:
        """Execute the module at `path`, whose content is `data`, without building its flow.

        Raises:
            NotebookCompileError: the notebook cannot become a module.
            BaseException: what its code raised.
        """
        with _loading, module_folder(self.folder):
            self.refresh()
            return self._execute(f"{self.package}.{path.stem}", self.authored(path), data)

    def _load(self, path: Path, data: bytes) -> LoadedModule:
        from data_engine.flow.object_names import object_warnings

        name = path.stem
        full_name = f"{self.package}.{name}"
        sys.modules.pop(full_name, None)
        try:
            with module_folder(self.folder):
                module = self._execute(full_name, path, data)
        except BaseException as error:
            if _ends_more(error):
                raise
            raise _placed(error, name, "import", path)  # noqa: B904 - it has its cause
        description = _description(module, name)
        flow = self._build(module, name)
        warnings = (*getattr(module, "__data_engine_warnings__", ()), *object_warnings(flow.steps))
        return LoadedModule(name, path, description, flow, warnings)

    def refresh(self) -> str:
        """Forget imported helpers and sibling modules when the content of any changed on disk; a digest of them all."""
        digest = self._helpers_digest()
        _register_package(self)
        package = sys.modules[self.package]
        if package.__dict__.get("__data_engine_digest__") != digest:
            for name in [name for name in sys.modules if name.startswith(self.package + ".")]:
                del sys.modules[name]
            for name in [name for name, value in vars(package).items() if isinstance(value, types.ModuleType)]:
                delattr(package, name)
            package.__dict__["__data_engine_digest__"] = digest
        return digest

    def _helpers_digest(self) -> str:
        digest = hashlib.sha256()
        for name in python_names(self.content):
            digest.update(name.encode("utf-8", "surrogatepass") + b"\0")
            with suppress(OSError):
                digest.update(hashlib.sha256(content_of(self.content / name)).digest())
        return digest.hexdigest()

    def find_file(self, dotted: str) -> tuple[Path, bool] | None:
        """The file of a module inside the folder and whether it is a package; folders without `__init__` count."""
        base = self.content.joinpath(*dotted.split("."))
        if (base / "__init__.py").is_file():
            return base / "__init__.py", True
        path = base.with_name(f"{base.name}.py")
        if path.is_file():
            return path, False
        return (base, True) if base.is_dir() and dotted.split(".")[0] == "flow_helpers" else None

    def _execute(self, full_name: str, path: Path, data: bytes) -> types.ModuleType:
        module = types.ModuleType(full_name)
        loader = _Loader(self, path, is_package=False)
        module.__spec__ = importlib.machinery.ModuleSpec(full_name, loader, origin=str(path))
        module.__file__ = str(path)
        module.__loader__ = loader
        module.__package__ = self.package
        sys.modules[full_name] = module
        try:
            self.run_code(module, path, data)
        except BaseException:
            sys.modules.pop(full_name, None)
            raise
        setattr(sys.modules[self.package], path.stem, module)
        return module

    def run_code(self, module: types.ModuleType, path: Path, data: bytes) -> None:
        """Execute a module's code in its namespace, with imports that look in the workspace first."""
        from data_engine.notebook.artifacts import load_artifact
        from data_engine.notebook.locate import show_cells, show_file

        namespace = module.__dict__
        namespace["__builtins__"] = _builtins_for(self)
        if path.suffix == ".ipynb":
            artifact = load_artifact(path, data, cache_dir=self.cache_dir)
            show_cells(artifact.compiled)
            module.__dict__["__data_engine_warnings__"] = tuple(str(warning) for warning in artifact.compiled.warnings)
            if not artifact.compiled.is_flow:
                return
            for _, code in artifact.codes:
                exec(code, namespace)
        else:
            if self.content != self.folder:
                show_file(path, data)
            exec(_code_of(data, str(path)), namespace)

    def _build(self, module: types.ModuleType, name: str) -> Flow:
        from data_engine.notebook.locate import place_of_function

        build = getattr(module, "build", None)
        if not callable(build):
            raise FlowValidationError(
                f"Flow module '{name}' does not export a callable build: it is {type(build).__name__}",
                where=str(module.__file__),
                fix="define build() and let it return a Flow; what it returned needs another name: flow = build()",
            )
        where = str(place_of_function(build) or module.__file__)
        if _required_parameters(build):
            raise FlowValidationError(
                f"Flow module '{name}': build must not accept any parameters",
                where=where,
                fix="write it as def build() -> Flow: ...; take values from context.config or context.params",
            )
        try:
            with module_folder(self.folder):
                flow = build()
        except BaseException as error:
            if _ends_more(error):
                raise
            raise _placed(error, name, "build", Path(str(module.__file__)))  # noqa: B904 - it has its cause
        if not isinstance(flow, Flow):
            raise FlowValidationError(
                f"Flow module '{name}': build did not return a Flow but {'None' if flow is None else type(flow).__name__}",
                where=where,
                fix="end build() with return Flow(group=...).step(...)",
            )
        if flow.name is not None and flow.name != name:
            raise FlowValidationError(
                f"Flow module '{name}' must not override the module-defined flow name with {flow.name!r}",
                where=where,
                fix=f"leave name= out of Flow(...), or rename the file to {flow.name}{Path(str(module.__file__)).suffix}",
            )
        return replace(
            flow,
            name=name,
            label=flow.label or title_text(name, "Flow"),
            _workspace_root=self.folder.parent,
            _set=None if self.content == self.folder else self.content,
            _built=Shape.of(flow),
        )


@lru_cache(maxsize=64)
def _code_of(data: bytes, path: str) -> types.CodeType:
    code: types.CodeType = compile(data, path, "exec", dont_inherit=True)
    return code


class _Finder:
    """Finds `data_engine_flows.<workspace>.<module>`; everything else is left to Python."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: types.ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if not fullname.startswith(ROOT_PACKAGE + "."):
            return None
        package, _, dotted = fullname.removeprefix(ROOT_PACKAGE + ".").partition(".")
        modules = _folders.get(f"{ROOT_PACKAGE}.{package}")
        if modules is None or not dotted:
            return None
        location = modules.find_file(dotted)
        if location is None:
            return None
        file, is_package = location
        loader = _Loader(modules, file, is_package=is_package)
        spec = importlib.machinery.ModuleSpec(fullname, loader, origin=str(file), is_package=is_package)
        if is_package:
            spec.submodule_search_locations = []
        return spec


class _Loader(_LoaderBase):
    def __init__(self, modules: FlowModules, path: Path, *, is_package: bool) -> None:
        self._modules = modules
        self._path = path
        self._is_package = is_package

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> types.ModuleType | None:
        return None

    def exec_module(self, module: types.ModuleType) -> None:
        path = self._modules.authored(self._path)
        module.__file__ = str(path)
        if self._path.is_dir():
            return  # a folder of helpers without __init__.py
        with module_folder(self._modules.folder):
            self._modules.run_code(module, path, content_of(self._path))

    def is_package(self, fullname: str) -> bool:
        return self._is_package

    def get_resource_reader(self, fullname: str) -> FolderReader:
        return FolderReader(self._path if self._path.is_dir() else self._modules.content_of(self._path).parent)

    def get_code(self, fullname: str) -> types.CodeType | None:
        source = self.get_source(fullname)
        return None if source is None else _code_of(source.encode(), str(self._modules.authored(self._path)))

    def get_source(self, fullname: str) -> str | None:
        """The text that tracebacks and `inspect.getsource` show; a notebook's cells have entries of their own."""
        if self._path.suffix != ".py":
            return None
        return importlib.util.decode_source(content_of(self._path))


_finder = _Finder()
_folders: dict[str, FlowModules] = {}


def _register_package(modules: FlowModules) -> None:
    _folders[modules.package] = modules
    if modules.package in sys.modules:
        return
    if not any(finder is _finder for finder in sys.meta_path):
        sys.meta_path.insert(0, _finder)
    for name in (ROOT_PACKAGE, modules.package):
        if name not in sys.modules:
            package = types.ModuleType(name)
            package.__path__ = []
            sys.modules[name] = package
    loader = _Loader(modules, modules.content, is_package=True)
    package.__spec__ = importlib.machinery.ModuleSpec(modules.package, loader, is_package=True)


def _import_of_workspace(modules: FlowModules, name: str) -> types.ModuleType:
    """The workspace's module `name`; the error for a missing one has the author's name of it."""
    try:
        return importlib.import_module(f"{modules.package}.{name}")
    except ModuleNotFoundError as error:
        if not (error.name or "").startswith(modules.package):
            raise
        missing = (error.name or "").removeprefix(f"{modules.package}.")
        text = f"No module named {missing!r}: there is no {missing.replace('.', '/')}.py in {modules.folder}"
        raise ModuleNotFoundError(text, name=missing) from None


def _require_names(module: types.ModuleType, name: str, names: Sequence[str]) -> None:
    """Refuse a name that the workspace's module `name` does not have, in the words of its author; Python would name our package."""
    missing = (part for part in names if part != "*" and not hasattr(module, part))
    for part in missing:
        if f"{module.__name__}.{part}" in sys.modules:
            continue
        place = f"{name!r} ({module.__file__})" if module.__file__ else repr(name)
        if getattr(module.__spec__, "_initializing", False):
            place = f"partially initialized module {name!r} (most likely due to a circular import)"
        raise ImportError(f"cannot import name {part!r} from {place}", name=module.__name__, path=module.__file__)


Importer = Callable[..., types.ModuleType]
"""The function that `import` calls: `builtins.__import__` or a replacement."""


def registered_modules() -> list[tuple[str, Path, Path]]:
    """The packages of this process: their names, authored folders, and where their files are read from."""
    return [(modules.package, modules.folder, modules.content) for modules in _folders.values()]


def register_modules(registered: Iterable[tuple[str, Path, Path]]) -> dict[str, Importer]:
    """Make another process's packages importable here by their names; for each the function that `import` calls in its modules."""
    plain, imports = builtins.__import__, {}
    for package, folder, content in registered:
        modules = FlowModules(folder, content=content, package=package)
        _register_package(modules)
        imports[package] = _builtins_for(modules, plain)["__import__"]
    vars(builtins).setdefault("display", _display)
    return imports


@wraps(builtins.open)
def _open(*args: Any, **kwargs: Any) -> Any:
    return builtins.open(*args, **kwargs)  # looked up now: while a run is watched it is another function


_open._records_reads = True  # type: ignore[attr-defined] # what it calls is replaced, and so it need not be


def _builtins_for(modules: FlowModules, plain: Importer | None = None) -> dict[str, Any]:
    namespace = dict(vars(builtins)) | {"open": _open}
    own_importlib = importlib_for(lambda name: _import_of_workspace(modules, name) if _is_ours(modules, name) else None)

    def import_here(
        name: str,
        globals: Mapping[str, object] | None = None,
        locals: Mapping[str, object] | None = None,
        fromlist: Sequence[str] | None = (),
        level: int = 0,
    ) -> types.ModuleType:
        if level == 0 and _is_ours(modules, name):
            module = _import_of_workspace(modules, name)
            if not fromlist:
                return sys.modules[f"{modules.package}.{name.partition('.')[0]}"]
            for part in fromlist:
                if part != "*" and hasattr(module, "__path__") and not hasattr(module, part):
                    full_name = f"{module.__name__}.{part}"
                    if importlib.util.find_spec(full_name) is not None:
                        importlib.import_module(full_name)
            _require_names(module, name, fromlist)
            return module
        plain_module = (plain or builtins.__import__)(name, globals, locals, fromlist or (), level)
        return with_importlib(plain_module, own_importlib)

    namespace["__import__"] = import_here
    namespace.setdefault("display", _display)
    return namespace


def _is_ours(modules: FlowModules, name: str) -> bool:
    top = name.partition(".")[0]
    return f"{modules.package}.{top}" in sys.modules or modules.find_file(top) is not None


def _display(*objects: object, **_: object) -> None:
    """Print the objects, as `display` does in production: on standard output, and so in the run's log."""
    for item in objects:
        print(item)


def _ends_more(error: BaseException) -> bool:
    """Whether an error ends more than the loading of a module: a person's interrupt, or the end of a run."""
    from data_engine.flow.control import RunInterrupted

    return isinstance(error, (KeyboardInterrupt, RunInterrupted))


def _placed(error: BaseException, name: str, phase: str, path: Path) -> FlowValidationError:
    """The error for callers when importing or building a module raised, with its cell."""
    from data_engine.flow.hints import StepFailure, fix_for
    from data_engine.notebook.locate import annotate

    if isinstance(error, FlowValidationError):
        return annotate(error)
    raised = FlowExecutionError(
        flow_name=name,
        phase=phase,
        detail=f"{type(error).__name__}: {message_of(error)}",
        function_name="build" if phase == "build" else None,
        source_path=path,
        fix=_called_step(error) or fix_for(StepFailure(error)),
    )
    raised.__cause__ = error
    return annotate(raised)


def _called_step(error: BaseException) -> str | None:
    """A hint when a step was called where its name is meant, as in `.step(read())`."""
    import traceback

    missing = re.match(r"(?:.*\.)?(\w+)\(\) missing \d+ required positional argument", str(error))
    if not isinstance(error, TypeError) or missing is None:
        return None
    line = traceback.extract_tb(error.__traceback__)[-1].line or ""
    verb = re.search(rf"\.(step|map|step_each)\(\s*(?:\w+\.)*{missing[1]}\(\)", line)
    return None if verb is None else f"a step is given by its name, without brackets: .{verb[1]}({missing[1]})"


def _required_parameters(build: object) -> bool:
    import inspect

    try:
        return bool(inspect.signature(build).parameters)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return False


def _description(module: types.ModuleType, name: str) -> str:
    description = getattr(module, "DESCRIPTION", "")
    if not isinstance(description, str):
        raise FlowValidationError(
            f"Flow module '{name}': DESCRIPTION must be a string, not {type(description).__name__}",
            where=str(module.__file__),
            fix='write DESCRIPTION = "What this flow is for"',
        )
    return description


def badly_named(path: Path) -> FlowValidationError | None:
    """The error for a module's name that some machine of the workspace cannot have; None for a good one."""
    trouble = trouble_with_name(path.name)
    return None if trouble is None else FlowValidationError(trouble[0], where=str(path), fix=trouble[1])


_RESOURCES = "importlib.resources"


def importlib_for(find: Callable[[str], types.ModuleType | None]) -> types.ModuleType:
    """A replacement of `importlib`; `find` gives the workspace's module of a name, else None."""
    replacement, resources = types.ModuleType("importlib"), list[types.ModuleType]()

    @wraps(importlib.import_module)
    def import_module(name: str, package: str | None = None) -> types.ModuleType:
        ours = None if name.startswith(".") else find(name)
        return importlib.import_module(name, package) if ours is None else ours

    def load_attribute(name: str) -> Any:
        """An attribute that `importlib` loads only when it is asked for."""
        value = getattr(importlib, name)
        if name != "resources":
            return value
        if not resources:
            resources.append(_resources_for(find, value))
        return resources[0]

    replacement.__dict__.update(vars(importlib))
    replacement.__dict__.pop("resources", None)
    replacement.__dict__.update(import_module=import_module, __getattr__=load_attribute)
    return replacement


def with_importlib(module: types.ModuleType, replacement: types.ModuleType) -> types.ModuleType:
    """The module that an `import` gives where `replacement` takes the place of `importlib`."""
    if module is importlib:
        return replacement
    resources: types.ModuleType = replacement.resources if module.__name__ == _RESOURCES else module
    return resources


class FolderReader:
    """The reader of the files beside a module, for `importlib.resources`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def files(self) -> Path:
        """The folder itself."""
        return self._folder


def _resources_for(find: Callable[[str], types.ModuleType | None], plain: types.ModuleType) -> types.ModuleType:
    replacement = types.ModuleType(_RESOURCES)
    replacement.__dict__.update(vars(plain))
    for name, value in vars(plain).items():
        if isinstance(value, types.FunctionType) and name not in ("as_file", "__getattr__"):
            replacement.__dict__[name] = _anchored(value, find)
    return replacement


def _anchored(function: Callable[..., Any], find: Callable[[str], types.ModuleType | None]) -> Callable[..., Any]:
    @wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> Any:  # a name that Python leaves out where it looks for who called
        if args and isinstance(args[0], str) and (ours := find(args[0])) is not None:
            args = (ours, *args[1:])
        return function(*args, **kwargs)

    return wrapper
