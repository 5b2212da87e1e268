"""`importlib` as the flow modules of one folder see it: names of the workspace's modules mean those, in `import_module` and in
`importlib.resources`, whose files are those of the deployed copy where that is what runs."""

from __future__ import annotations

import importlib
import types
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any

_RESOURCES = "importlib.resources"


def importlib_for(find: Callable[[str], types.ModuleType | None]) -> types.ModuleType:
    """Another `importlib`; `find` gives the workspace's module of a name, None for a name that is no such module's."""
    seen, resources = types.ModuleType("importlib"), list[types.ModuleType]()

    @wraps(importlib.import_module)
    def import_module(name: str, package: str | None = None) -> types.ModuleType:
        ours = None if name.startswith(".") else find(name)
        return importlib.import_module(name, package) if ours is None else ours

    def later(name: str) -> Any:
        """What of it is imported after this."""
        found = getattr(importlib, name)
        if name != "resources":
            return found
        if not resources:
            resources.append(_resources_for(find, found))
        return resources[0]

    seen.__dict__.update(vars(importlib))
    seen.__dict__.pop("resources", None)
    seen.__dict__.update(import_module=import_module, __getattr__=later)
    return seen


def as_seen(found: types.ModuleType, seen: types.ModuleType) -> types.ModuleType:
    """What an `import` that found this gives to modules that are to see `seen` as `importlib`."""
    if found is importlib:
        return seen
    resources: types.ModuleType = seen.resources if found.__name__ == _RESOURCES else found
    return resources


class FolderReader:
    """The files beside a module, as `importlib.resources` asks a loader for them."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def files(self) -> Path:
        """The folder itself."""
        return self._folder


def _resources_for(find: Callable[[str], types.ModuleType | None], plain: types.ModuleType) -> types.ModuleType:
    seen = types.ModuleType(_RESOURCES)
    seen.__dict__.update(vars(plain))
    for name, value in vars(plain).items():
        if isinstance(value, types.FunctionType) and name not in ("as_file", "__getattr__"):
            seen.__dict__[name] = _anchored(value, find)
    return seen


def _anchored(function: Callable[..., Any], find: Callable[[str], types.ModuleType | None]) -> Callable[..., Any]:
    @wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> Any:  # a name that Python leaves out where it looks for who called
        if args and isinstance(args[0], str) and (ours := find(args[0])) is not None:
            args = (ours, *args[1:])
        return function(*args, **kwargs)

    return wrapper
