"""A module as it was deployed, put back into the authored folder; what lies there is never replaced."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from data_engine.errors import FlowValidationError
from data_engine.files import create_exclusive
from data_engine.notebook.module_sets import files_of, helpers_of
from data_engine.typed import typed


def restore(name: str, contents: Mapping[str, bytes], folder: Path) -> tuple[Path, ...]:
    """Put the module `name` of a set with these `contents` into the authored `folder`, and those of its helpers that are not
    there; what was written.

    Raises:
        FlowValidationError: a module of this name is there, or it cannot be written.
    """
    there = [folder / file for file in sorted(files_of(name)) if (folder / file).exists()]
    if there:
        raise FlowValidationError(
            f"{there[0].name} is there, and nothing is overwritten",
            where=str(there[0]),
            fix=f"rename it, and ask again; `{typed('rollback', name)}` lets production run what it ran before, and leaves it as it is",
        )
    wanted = {file: contents[file] for file in sorted(files_of(name) & contents.keys())}
    wanted |= {file: data for file, data in helpers_of(contents, name, folder).items() if not (folder / file).exists()}
    written = []
    for file, data in wanted.items():
        path = folder / file
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            if create_exclusive(path, data.decode("utf-8")):
                written.append(path)
        except (OSError, UnicodeDecodeError) as error:
            raise FlowValidationError(
                f"{file} cannot be written: {getattr(error, 'strerror', None) or error}",
                where=str(path),
                fix="check whether the folder is there, and whether you may write there",
            ) from error
    return tuple(written)
