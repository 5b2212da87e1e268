"""The whole notebook, executed in a fresh kernel as its author would, and compared: for servers, reviews and CI."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from data_engine.engine.local_workspace import LocalWorkspace, local_workspace
from data_engine.errors import FlowExecutionError, FlowValidationError
from data_engine.platforms.files import content_of
from data_engine.proof.kept import kept
from data_engine.proof.kernel import compare_kernel
from data_engine.proof.verdict import Verdict
from data_engine.trial import TRIAL_VARIABLE
from data_engine.workspace.layout import NOTEBOOK_VARIABLE

LIMIT_S = 600
_MARK = "data-engine verdict: "
_COMPARE = "from data_engine.proof.whole_run import compare_in_kernel as _compare\n_compare({!r}, {!r}, globals())"


def run_and_compare(home: LocalWorkspace, path: Path) -> Verdict:
    """The verdict on the notebook at `path`, after all its cells ran once in a kernel of this interpreter; it is kept.

    The cells do what they do: files, servers, databases. Production's verbs are refused there.

    Raises:
        FlowExecutionError: a cell failed, or the slice cannot be executed.
        FlowValidationError: it is no notebook.
    """
    import nbclient
    import nbformat

    if path.suffix != ".ipynb":
        raise FlowValidationError(
            f"{path.name} is a Python module: production runs the whole of it",
            where=str(path),
            fix="there is nothing to compare",
        )
    notebook: Any = nbformat.reads(content_of(path).decode("utf-8"), as_version=4)  # type: ignore[no-untyped-call]
    notebook.cells.insert(0, nbformat.v4.new_code_cell("%load_ext data_engine"))  # type: ignore[no-untyped-call]
    notebook.cells.append(nbformat.v4.new_code_cell(_COMPARE.format(str(home.layout.root), str(path))))  # type: ignore[no-untyped-call]
    client = nbclient.NotebookClient(
        notebook, timeout=LIMIT_S, kernel_name="python3", resources={"metadata": {"path": str(path.parent)}}
    )
    environment = os.environ | {TRIAL_VARIABLE: "1", NOTEBOOK_VARIABLE: str(path)}
    try:
        client.execute(env=environment)
    except nbclient.exceptions.CellExecutionError as error:
        raise _failed(path, f"{error.ename}: {error.evalue}") from error
    except (nbclient.exceptions.CellTimeoutError, nbclient.exceptions.DeadKernelError) as error:
        raise _failed(path, str(error)) from error
    told = "".join(output.get("text", "") for output in notebook.cells[-1].outputs)
    return Verdict.read(json.loads(told.partition(_MARK)[2].partition("\n")[0]))


def compare_in_kernel(root: str, path: str, namespace: dict[str, Any]) -> None:
    """The kernel's part: compare, keep, and print the verdict."""
    home = local_workspace(Path(root))
    compare_kernel(home, Path(path), namespace)
    verdict = kept(home, Path(path).stem)
    assert verdict is not None
    print(_MARK + json.dumps(verdict.as_dict()))


def _failed(path: Path, detail: str) -> FlowExecutionError:
    return FlowExecutionError(
        flow_name=path.stem,
        phase="import",
        detail=f"the notebook does not run from top to bottom: {detail}",
        source_path=path,
        fix="run all its cells in JupyterLab and mend the one that fails",
    )
