"""Compiled notebooks kept by content: in this process, and as files other processes read."""

from __future__ import annotations

import hashlib
import marshal
import os
import pickle
import sys
import threading
import types
from collections import OrderedDict
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from data_engine import nofollow, private
from data_engine.errors import FlowExecutionError
from data_engine.files import write_bytes_atomic
from data_engine.notebook.compiled import FORMAT, CompiledNotebook
from data_engine.record import frozen

_MOST_IN_MEMORY = 64
_PYTHON = f"{sys.implementation.cache_tag}-{sys.hexversion:x}"
_DIGEST_BYTES = 32

_memory: OrderedDict[str, Artifact] = OrderedDict()
_memory_lock = threading.Lock()


@frozen
class Artifact:
    """A compiled notebook with its code objects, ready to execute in order; `content_hash` names its content."""

    compiled: CompiledNotebook
    codes: tuple[tuple[int, types.CodeType], ...]
    content_hash: str


def load_artifact(path: Path, data: bytes, *, cache_dir: Path | None) -> Artifact:
    """The artifact of the notebook at `path` with the content `data`; compiled only when no process did so before.

    `cache_dir` keeps one artifact file per notebook for other processes (None: only in memory). A damaged or unwritable
    cache is no error.

    Raises:
        NotebookCompileError: the notebook cannot become a module.

    Example:
        >>> data = b'{"nbformat": 4, "cells": [{"cell_type": "code", "source": "def build(): return 1"}]}'
        >>> artifact = load_artifact(Path("claims.ipynb"), data, cache_dir=None)
        >>> [number for number, _ in artifact.codes], artifact.compiled.is_flow
        ([1], True)
    """
    digest = hashlib.sha256(f"{FORMAT}\0{_PYTHON}\0".encode())
    digest.update(os.fsencode(path) + b"\0" + data)
    content_hash = digest.hexdigest()
    file = None if cache_dir is None else cache_dir / f"{_prefix(path)}{content_hash[:32]}.artifact"
    with _memory_lock:
        artifact = _memory.get(content_hash)
        if artifact is not None:
            _memory.move_to_end(content_hash)
    is_on_file = artifact is not None and file is not None and file.exists()
    if artifact is None and file is not None:
        artifact = _read(file, path, content_hash)
        is_on_file = artifact is not None
    if artifact is None:
        artifact = _compiled(path, data, content_hash)
    with _memory_lock:
        _memory[content_hash] = artifact
        while len(_memory) > _MOST_IN_MEMORY:
            _memory.popitem(last=False)
    if file is not None and not is_on_file:
        with suppress(OSError):
            _write(artifact, file)
    return artifact


def is_flow(path: Path, data: bytes, cache_dir: Path | None) -> bool:
    """Whether the module at `path` with the content `data` defines `build`.

    Raises:
        FlowExecutionError: the notebook cannot become a module, or the Python module does not parse.
    """
    from data_engine.notebook.mistakes import defines_build

    if path.suffix == ".ipynb":
        return load_artifact(path, data, cache_dir=cache_dir).compiled.is_flow
    try:
        return b"build" in data and defines_build(data)
    except (SyntaxError, ValueError) as error:
        raise unparsed(path, error) from error


def unparsed(path: Path, error: SyntaxError | ValueError) -> FlowExecutionError:
    """The error of a Python module that does not parse; names the line."""
    line = f", line {error.lineno}" if isinstance(error, SyntaxError) else ""
    detail = f"{type(error).__name__}: {error.msg if isinstance(error, SyntaxError) else error}"
    wrong = FlowExecutionError(flow_name=path.stem, phase="import", detail=detail)
    wrong.set_place(f"{path.name}{line}", error.text if isinstance(error, SyntaxError) else None)
    return wrong


def _compiled(path: Path, data: bytes, content_hash: str) -> Artifact:
    # the compiler is imported where something is compiled: a daemon or a worker that finds all done starts sooner
    from data_engine.notebook.compile import compile_content

    compiled, codes = compile_content(data, path)
    return Artifact(compiled, codes, content_hash)


def _prefix(path: Path) -> str:
    return f"{path.stem[:80]}-{hashlib.sha256(os.fsencode(path)).hexdigest()[:8]}-"


def _read(file: Path, path: Path, content_hash: str) -> Artifact | None:
    try:
        data = file.read_bytes()
    except OSError:
        return None
    payload = data[_DIGEST_BYTES:]
    # marshal and pickle trust what they read, so nothing damaged may reach them
    if _digest(payload, content_hash) != data[:_DIGEST_BYTES]:
        return None
    compiled, codes = marshal.loads(payload)
    return Artifact(replace(pickle.loads(compiled), path=path), codes, content_hash)


def _write(artifact: Artifact, file: Path) -> None:
    payload = marshal.dumps((pickle.dumps(artifact.compiled), artifact.codes))
    private.make_folder(file.parent)
    write_bytes_atomic(file, _digest(payload, artifact.content_hash) + payload, durable=False, mode=private.FILE)
    prefix = _prefix(artifact.compiled.path)
    with nofollow.opened(file.parent.parent, file.parent) as place:
        for name in place.names():
            is_old = name != file.name and name.startswith(prefix) and name.endswith(".artifact")
            if is_old and place.kind(name) == "file":
                os.unlink(place.at(name), dir_fd=place.descriptor)


def _digest(payload: bytes, content_hash: str) -> bytes:
    return hashlib.sha256(payload + content_hash.encode()).digest()
