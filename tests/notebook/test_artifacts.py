"""Compiled notebooks are kept by content, in memory and as files, and a bad cache is never an error."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from data_engine.errors import NotebookCompileError
from data_engine.notebook import artifacts
from data_engine.notebook.artifacts import Artifact, load_artifact
from data_engine.notebook.compile import compile_content
from data_engine.notebook.compiled import FORMAT
from tests.support import notebook_bytes

PATH = Path("/ws/flow_modules/claims.ipynb")
DATA = notebook_bytes("from __future__ import annotations\nrate = 2", "x = (", "def build():\n    return rate * 21")


@pytest.fixture(autouse=True)
def _fresh_process() -> Iterator[None]:
    """Each test begins as a process that has compiled nothing."""
    artifacts._memory.clear()
    yield
    artifacts._memory.clear()


@pytest.fixture
def compilations(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The notebooks that were really compiled."""
    seen: list[Path] = []

    def counted(data: bytes, path: Path) -> Any:
        seen.append(path)
        return compile_content(data, path)

    monkeypatch.setattr("data_engine.notebook.compile.compile_content", counted)
    return seen


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    """An empty cache folder."""
    folder = tmp_path / "cache"
    folder.mkdir()
    return folder


def other_process(path: Path, data: bytes, cache_dir: Path | None) -> Artifact:
    artifacts._memory.clear()
    return load_artifact(path, data, cache_dir=cache_dir)


def result(artifact: Artifact) -> Any:
    namespace: dict[str, Any] = {}
    for _, code in artifact.codes:
        exec(code, namespace)
    return namespace["build"]()


def test_one_content_is_compiled_once_in_a_process(compilations: list[Path]) -> None:
    """The same bytes give the same object."""
    first = load_artifact(PATH, DATA, cache_dir=None)

    assert load_artifact(PATH, DATA, cache_dir=None) is first
    assert len(compilations) == 1


def test_another_process_reads_the_file(cache: Path, compilations: list[Path]) -> None:
    """What comes from the file equals what was compiled, warnings, reasons and code included."""
    first = load_artifact(PATH, DATA, cache_dir=cache)

    second = other_process(PATH, DATA, cache)

    assert second == first
    assert second is not first
    assert second.compiled.warnings
    assert result(second) == 42
    assert len(compilations) == 1


def test_code_names_path_and_cell(cache: Path) -> None:
    """Tracebacks of cached code lead to the cell as well."""
    load_artifact(PATH, DATA, cache_dir=cache)

    codes = other_process(PATH, DATA, cache).codes

    assert [(cell, code.co_filename) for cell, code in codes] == [(1, f"{PATH}, cell 1"), (3, f"{PATH}, cell 3")]


def test_content_path_and_compiler_tell_artifacts_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    """Equal hashes mean equal code: of equal bytes at one path, by one compiler under one Python."""
    hashes = [load_artifact(PATH, DATA, cache_dir=None).content_hash]
    hashes.append(load_artifact(PATH, DATA + b"\n", cache_dir=None).content_hash)
    hashes.append(load_artifact(PATH.with_name("other.ipynb"), DATA, cache_dir=None).content_hash)
    monkeypatch.setattr(artifacts, "FORMAT", FORMAT + 1)
    hashes.append(load_artifact(PATH, DATA, cache_dir=None).content_hash)
    monkeypatch.setattr(artifacts, "_PYTHON", "cpython-399")
    hashes.append(load_artifact(PATH, DATA, cache_dir=None).content_hash)

    assert len(set(hashes)) == len(hashes)


def test_only_the_newest_artifact_of_a_notebook_stays(cache: Path) -> None:
    """An edited notebook does not fill the disk; others, also of like names, keep theirs."""
    neighbours = [PATH.with_name("claims-old.ipynb"), Path("/elsewhere/claims.ipynb")]
    for path in neighbours:
        load_artifact(path, DATA, cache_dir=cache)
    kept = set(cache.iterdir())
    load_artifact(PATH, DATA, cache_dir=cache)

    load_artifact(PATH, DATA + b"\n", cache_dir=cache)

    assert kept < set(cache.iterdir())
    assert len(list(cache.iterdir())) == 3


@pytest.mark.parametrize("damage", [b"", b"short", lambda data: data[:-1], lambda data: data[:40] + b"x" + data[41:]])
def test_a_damaged_file_is_compiled_anew(cache: Path, damage: Any, compilations: list[Path]) -> None:
    """A cut or flipped file never reaches the unmarshaller, and is replaced."""
    load_artifact(PATH, DATA, cache_dir=cache)
    (file,) = cache.iterdir()
    file.write_bytes(damage(file.read_bytes()) if callable(damage) else damage)

    assert result(other_process(PATH, DATA, cache)) == 42
    assert len(compilations) == 2
    assert result(other_process(PATH, DATA, cache)) == 42
    assert len(compilations) == 2


def test_another_notebooks_file_is_not_taken(cache: Path, compilations: list[Path]) -> None:
    """A whole artifact under a wrong name is as bad as a damaged one."""
    load_artifact(PATH, DATA, cache_dir=cache)
    (mine,) = cache.iterdir()
    load_artifact(PATH.with_name("b.ipynb"), notebook_bytes("def build(): return 1"), cache_dir=cache)
    (other,) = set(cache.iterdir()) - {mine}
    os.replace(other, mine)

    assert result(other_process(PATH, DATA, cache)) == 42
    assert len(compilations) == 3


def test_a_cache_that_cannot_be_written_is_skipped(cache: Path) -> None:
    """A full disk or a file in the way costs time, not the flow."""
    in_the_way = cache / "file"
    in_the_way.write_text("a file")

    assert result(load_artifact(PATH, DATA, cache_dir=in_the_way)) == 42
    assert in_the_way.read_text() == "a file"


def test_a_name_too_long_for_a_file_is_cut(cache: Path) -> None:
    """Stems may be as long as the file system allows; the hash tells them apart."""
    path = PATH.with_name("x" * 240 + ".ipynb")
    load_artifact(path, DATA, cache_dir=cache)

    assert len(list(cache.iterdir())) == 1


def test_what_memory_holds_is_written_for_others(cache: Path) -> None:
    """A preview compiled without a cache folder; the daemon's worker asks with one."""
    load_artifact(PATH, DATA, cache_dir=None)

    load_artifact(PATH, DATA, cache_dir=cache / "deep" / "cache")

    assert len(list((cache / "deep" / "cache").iterdir())) == 1


def test_memory_is_bounded() -> None:
    """A long-lived process that sees many edits keeps only the latest."""
    for number in range(artifacts._MOST_IN_MEMORY + 5):
        load_artifact(PATH, notebook_bytes(f"def build(): return {number}"), cache_dir=None)

    assert len(artifacts._memory) == artifacts._MOST_IN_MEMORY


def test_a_notebook_that_does_not_compile_leaves_nothing(cache: Path) -> None:
    """Errors are not cached, and the last good artifact stays."""
    load_artifact(PATH, DATA, cache_dir=cache)
    before = list(cache.iterdir())

    with pytest.raises(NotebookCompileError):
        load_artifact(PATH, notebook_bytes("def build(): return rate"), cache_dir=cache)

    assert list(cache.iterdir()) == before


def test_scratch_has_no_code(cache: Path) -> None:
    """Scratch notebooks are cached like the others: discovery asks for them each time."""
    load_artifact(PATH, notebook_bytes("x = 1"), cache_dir=cache)

    again = other_process(PATH, notebook_bytes("x = 1"), cache)

    assert (again.codes, again.compiled.is_flow) == ((), False)
