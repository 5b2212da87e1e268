"""The comparison of this kernel with its notebook's slice, as `%flow compile --compare` and `%flow deploy` tell it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from data_engine.engine.local_workspace import LocalWorkspace
from data_engine.errors import FlowValidationError
from data_engine.formatting import cli_line, magic_line
from data_engine.proof.kept import compared, kept
from data_engine.proof.kernel import compare_here, compare_kernel, is_own_notebook
from data_engine.proof.verdict import Verdict
from jupyter_extension.own_flow import UserNames


def comparison_lines(home: LocalWorkspace, path: Path, names: UserNames) -> list[str]:
    """What a comparison made now says.

    Raises:
        FlowValidationError: this is not the notebook's kernel, or its slice cannot be executed.
    """
    if not is_own_notebook(names, path):
        raise FlowValidationError(
            f"{path.name} cannot be compared here: this is not its kernel, or the cell with build() has not run in it",
            where=magic_line("compile", path.stem, "--compare"),
            fix=f"run the cells of {path.name} and ask there; or, in a terminal, `{cli_line('compile', path.stem, '--run')}`",
        )
    before = kept(home, path.stem)
    return lines_of(compare_kernel(home, path, names), path, before)


def lines_of(verdict: Verdict, path: Path, before: Verdict | None) -> list[str]:
    """A verdict made now, in lines; notes that were told of the one `before` are left out."""
    if verdict.is_same:
        return [f"{path.name}: the same in this kernel and in production", *verdict.notes(before)]
    return [
        f"{path.name}: not the same in this kernel and in production",
        *(f"  {one}" for one in verdict.sentences()),
        *verdict.notes(before),
    ]


@contextmanager
def told_comparison(home: LocalWorkspace, path: Path) -> Iterator[None]:
    """What a comparison in the block finds is printed; of what is the same only its notes."""
    before = kept(home, path.stem)
    try:
        yield
    finally:
        verdict = kept(home, path.stem)
        if verdict is not None and verdict != before:
            for line in verdict.notes(before) if verdict.is_same else lines_of(verdict, path, before):
                print(line)


def plan_lines(home: LocalWorkspace, path: Path) -> list[str]:
    """How the notebook compares where this is its kernel, else how it did last; nothing of a module."""
    before = kept(home, path.stem)
    if (verdict := compare_here(home, path)) is not None:
        return lines_of(verdict, path, before)
    last = compared(home, path)
    return [] if last is None else [f"{path.name}: {last.words}"]
