"""Which config files a flow may read, as far as its code tells without being run, and which of them changed since it was deployed."""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path

from data_engine.model import Deployment
from data_engine.notebook.deployments import Deployments
from data_engine.notebook.module_sets import files_of, helpers_of, own_code
from data_engine.workspace.layout import WorkspaceLayout

_READERS = ("get", "require")


def config_of(layout: WorkspaceLayout) -> tuple[tuple[str, str], ...]:
    """The SHA-256 of each of the workspace's config files, which code reads as they are when it runs."""
    found = []
    for path in sorted(layout.config_dir.glob("*.toml")):
        if path != layout.settings_path:
            try:
                found.append((path.name, hashlib.sha256(path.read_bytes()).hexdigest()))
            except OSError:
                continue
    return tuple(found)


def changed_config(
    layout: WorkspaceLayout, deployments: Deployments, since: Deployment, edit: Mapping[str, bytes] | None = None
) -> tuple[str, ...]:
    """The config files that are not as they were at a deployment, and that what was deployed may read, or the `edit`, if any."""
    then, now = dict(since.config), dict(config_of(layout))
    changed = sorted(name for name in then.keys() | now.keys() if then.get(name) != now.get(name))
    if not changed:
        return ()
    folder, was = layout.flow_modules_dir, deployments.contents_of(since.set_id)
    read = set(changed) if was is None else configs_read(was, since.flow, folder, changed)
    if edit is not None:
        read |= configs_read(edit, since.flow, folder, changed)
    return tuple(name for name in changed if name in read)


def configs_read(contents: Mapping[str, bytes], name: str, folder: Path, files: Collection[str]) -> set[str]:
    """Those of the config `files` that the module `name` of a set may read, with the helpers that it runs with.

    All of them where the code does not say which: it asks for a name that is worked out, or for all.
    """
    own = files_of(name) & contents.keys()
    code = [own_code(folder / file, contents[file], None) for file in own]
    return named_configs([*code, *helpers_of(contents, name, folder).values()], files) if own else set(files)


def named_configs(code: Iterable[bytes], files: Collection[str]) -> set[str]:
    """Those of the config `files` that these modules may read.

    Example:
        >>> files = ("rates.toml", "years.toml")
        >>> named_configs([b'rate = context.config.require("rates")', b"import years"], files)
        {'rates.toml'}
        >>> named_configs([b"return 1"], files), sorted(named_configs([b"context.config.all()"], files))
        (set(), ['rates.toml', 'years.toml'])
    """
    found: set[str] = set()
    for one in code:
        try:
            parts = list(ast.walk(ast.parse(one)))
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            return set(files)
        texts = [part.value for part in parts if isinstance(part, ast.Constant) and isinstance(part.value, str)]
        found |= {file for file in files for text in texts if text == file.removesuffix(".toml") or file in text}
        named = {id(call.func.value) for call in parts if isinstance(call, ast.Call) and _is_named(call)}  # type: ignore[attr-defined]  # of an attribute
        asked = [part for part in parts if isinstance(part, ast.Attribute) and part.attr in ("config", "config_dir")]
        if any(id(part) not in named for part in asked) or any(map(_is_the_folder, texts)):
            return set(files)
    return found


def _is_the_folder(text: str) -> bool:
    """Whether a text is the folder of the config files, or leads into it without saying to which of them."""
    return "config" in text.replace("\\", "/").split("/") and not text.endswith(".toml")


def _is_named(call: ast.Call) -> bool:
    """Whether it is `....get("rates")`: which file is asked for stands there."""
    function = call.func
    return (
        isinstance(function, ast.Attribute)
        and function.attr in _READERS
        and len(call.args) == 1
        and isinstance(call.args[0], ast.Constant)
    )
