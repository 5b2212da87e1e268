"""Which files of flow_modules are flows: by their names, and by what they define."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path

from data_engine.errors import FlowExecutionError, FlowValidationError
from data_engine.platforms.files import content_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from data_engine.notebook.load import FlowModules

SCRATCH_NAME = re.compile(r"_.*|Untitled.*|.*-Copy\d+", re.DOTALL)


def module_files(folder: Path) -> dict[str, list[Path]]:
    """The files that may be flow modules, by stem, sorted; two files of one stem are both there.

    Raises:
        FlowValidationError: the folder does not exist or cannot be read.
    """
    found: dict[str, list[Path]] = {}
    try:
        names = sorted(os.listdir(folder))
    except OSError as error:
        raise FlowValidationError(
            f"the flow_modules folder cannot be read: {folder} ({error.strerror})",
            where=str(folder),
            fix="create a workspace with `data-engine workspace create PATH`, or choose another one",
        ) from error
    for name in names:
        stem, suffix = os.path.splitext(name)
        if suffix in (".py", ".ipynb") and not name.startswith(".") and not SCRATCH_NAME.fullmatch(stem):
            found.setdefault(stem, []).append(folder / name)
    return found


def as_filed(folder: Path, name: str) -> str:
    """A name of a module as its file in the folder has it: a Mac may write an "ä" as two letters, which look like one.

    Example:
        >>> as_filed(Path("/nowhere"), "claims")
        'claims'
    """
    import unicodedata

    if name.isascii():
        return name
    try:
        stems = {os.path.splitext(file)[0] for file in os.listdir(folder) if file.endswith((".py", ".ipynb"))}
    except OSError:
        return name
    alike = [stem for stem in stems if unicodedata.normalize("NFC", stem) == unicodedata.normalize("NFC", name)]
    return alike[0] if name not in stems and len(alike) == 1 else name


def is_flow_file(modules: FlowModules, path: Path) -> bool:
    """Whether the file is a flow, or is meant to be one and is broken."""
    try:
        return is_flow_content(modules, path, content_of(path))
    except FlowValidationError:
        return True  # a broken module is still the one meant
    except OSError:
        return False


def is_flow_content(modules: FlowModules, path: Path, data: bytes) -> bool:
    """Whether a file with this content is a flow: it defines `build`.

    Raises:
        FlowValidationError: it cannot be read as what it is.
    """
    from data_engine.notebook.artifacts import load_artifact
    from data_engine.notebook.build_function import defines_build

    if path.suffix == ".ipynb":
        return load_artifact(modules.authored(path), data, cache_dir=modules.cache_dir).compiled.is_flow
    if b"build" not in data:
        return False
    try:
        return defines_build(data)
    except (SyntaxError, ValueError) as error:
        raise _unparsed(path, error) from error


def require_parsed(path: Path) -> None:
    """Return when the Python module parses; nothing of it is run.

    Raises:
        FlowExecutionError: it does not; names the line.
    """
    import ast

    try:
        ast.parse(content_of(path))
    except (SyntaxError, ValueError) as error:
        raise _unparsed(path, error) from error


def _unparsed(path: Path, error: SyntaxError | ValueError) -> FlowExecutionError:
    line = f", line {error.lineno}" if isinstance(error, SyntaxError) else ""
    return FlowExecutionError(
        flow_name=path.stem,
        phase="import",
        detail=f"{type(error).__name__}: {error.msg if isinstance(error, SyntaxError) else error}",
        cell=f"{path.name}{line}",
        source_line=error.text if isinstance(error, SyntaxError) else None,
    )


def case_warnings(names: Iterable[str]) -> dict[str, str]:
    """What is warned of modules whose names differ only in upper and lower case, by name.

    Example:
        >>> case_warnings(["claims", "Claims", "parts"])["claims"]
        'claims and Claims differ only in upper and lower case, and are one file on Windows and macOS: rename one of them'
    """
    alike: dict[str, list[str]] = {}
    for name in names:
        alike.setdefault(name.casefold(), []).append(name)
    return {
        name: f"{' and '.join([name, *(one for one in same if one != name)])} differ only in upper and lower case,"
        " and are one file on Windows and macOS: rename one of them"
        for same in alike.values()
        if len(same) > 1
        for name in same
    }


def twin_warning(files: Iterable[Path], flow: Path) -> str | None:
    """What is warned of a flow beside which a file of the same name, but another kind, is no flow; None without one.

    Example:
        >>> twin_warning([Path("claims.ipynb"), Path("claims.py")], Path("claims.ipynb"))
        'claims.py is beside claims.ipynb but is not part of it: the flow is claims.ipynb alone; rename or delete claims.py'
    """
    other = next((path.name for path in files if path.name != flow.name), None)
    if other is None:
        return None
    return (
        f"{other} is beside {flow.name} but is not part of it: the flow is {flow.name} alone; rename or delete {other}"
    )


def name_warnings(flow: Path, cases: Mapping[str, str], beside: Iterable[Path]) -> list[str]:
    """What is warned of the name of a flow: by its case, of those of `case_warnings`, and by the files `beside` it, as `twin_warning`.

    Example:
        >>> name_warnings(Path("claims.ipynb"), case_warnings(["claims", "parts"]), [Path("claims.ipynb")])
        []
    """
    return [one for one in (cases.get(flow.stem), twin_warning(beside, flow)) if one is not None]
