"""The comparison of this kernel with its notebook's slice, as `%flow compile --compare` and `%flow deploy` tell it."""

from __future__ import annotations

from pathlib import Path

from data_engine.engine.local_workspace import LocalWorkspace
from data_engine.errors import FlowValidationError
from data_engine.proof.kernel import compare_kernel, is_own_notebook
from data_engine.proof.verdict import Verdict
from data_engine.typed import typed, typed_magic
from jupyter_extension.own_flow import UserNames


def comparison_lines(home: LocalWorkspace, path: Path, names: UserNames) -> list[str]:
    """What a comparison made now says.

    Raises:
        FlowValidationError: this is not the notebook's kernel, or its slice cannot be executed.
    """
    if not is_own_notebook(names, path):
        raise FlowValidationError(
            f"{path.name} cannot be compared here: this is not its kernel, or the cell with build() has not run in it",
            where=typed_magic("compile", path.stem, "--compare"),
            fix=f"run the cells of {path.name} and ask there; or, in a terminal, `{typed('compile', path.stem, '--run')}`",
        )
    return lines_of(compare_kernel(home, path, names), path)


def lines_of(verdict: Verdict, path: Path) -> list[str]:
    """A verdict made now, in lines."""
    if verdict.is_same:
        return [f"{path.name}: the same in this kernel and in production", *verdict.notes()]
    return [
        f"{path.name}: not the same in this kernel and in production",
        *(f"  {one}" for one in verdict.told()),
        *verdict.notes(),
    ]


def is_deploy_wanted(home: LocalWorkspace, name: str, names: UserNames, *, is_sure: bool) -> bool:
    """Whether the notebook may be deployed: nothing differs between its kernel and its slice, or that was answered (`is_sure`).

    What differs is printed. Elsewhere than in its kernel, and where the slice fails, the deploy itself says what there is to say.
    """
    path = home.layout.flow_modules_dir / f"{name}.ipynb"
    try:
        if not is_own_notebook(names, path):
            return True
        verdict = compare_kernel(home, path, names)
    except (FlowValidationError, OSError):
        return True
    if verdict.is_same:
        for note in verdict.notes():
            print(note)
        return True
    print(*lines_of(verdict, path), sep="\n")
    if not is_sure:
        print(
            f"Nothing was deployed. Keep the cells that are named (`#| keep`), or {typed_magic('deploy', name, '--yes')}"
        )
    return is_sure
