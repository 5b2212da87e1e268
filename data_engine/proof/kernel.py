"""The comparison from within the notebook's own kernel, and the cells that changed what differs; and in a fresh kernel that executes
the whole notebook as its author would, for servers, reviews and CI."""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

from data_engine.engine.local_workspace import LocalWorkspace, local_workspace
from data_engine.engine.memo.fingerprint import WATCHED
from data_engine.engine.memo.tracer import Tracer
from data_engine.engine.preview import compared_values
from data_engine.errors import FlowExecutionError, FlowValidationError, NotAsInKernelError, NotebookCompileError
from data_engine.formatting import cells_text, first_few
from data_engine.model import KernelComparison, utc_text
from data_engine.notebook.artifacts import load_artifact
from data_engine.notebook.read import REPLAY, read_cells
from data_engine.platforms.files import content_of
from data_engine.proof.cells import CHANGES, ran_otherwise
from data_engine.proof.compare import compare, names_of
from data_engine.proof.fingerprint import show
from data_engine.proof.verdict import ValueDifference, Verdict, cells_in
from data_engine.proof.verdict_store import compared, keep
from data_engine.record import frozen
from data_engine.trial import TRIAL_VARIABLE, refuse_in_trial
from data_engine.workspace.layout import NOTEBOOK_VARIABLE, current_notebook, kernel_shell

_WORD = re.compile(r"\w+")
_COLOURS = re.compile(r"\x1b\[[0-9;]*m")
_MOST_IN_A_CAPTION = 3
_MOST_S = 600
_MARK = "data-engine verdict: "
_COMPARE = "from data_engine.proof.kernel import compare_in_kernel as _compare\n_compare({!r}, {!r}, globals())"


def is_own_notebook(namespace: Mapping[str, Any], path: Path) -> bool:
    """Whether this process is the kernel of the notebook at `path`, and has run the cell with its `build`."""
    place = current_notebook()
    is_here = place is not None and place.problem is None and place.path == path
    return is_here and path.suffix == ".ipynb" and callable(namespace.get("build"))


def compare_kernel(home: LocalWorkspace, path: Path, namespace: Mapping[str, Any]) -> Verdict:
    """The verdict on the notebook at `path`, by what its kernel holds; kept from then on.

    Raises:
        NotebookCompileError: the notebook cannot become a module.
        FlowExecutionError: its slice cannot be executed.
        OSError: it cannot be read.
    """
    data = content_of(path)
    try:
        verdict = compare(namespace, path, data, cache_dir=home.modules().cache_dir)
    except FlowExecutionError as error:
        behind = LeftOutCells(path, data, namespace)
        read = {name for place in error.places for name in behind.read_by(place["cell"])}
        if cells := sorted({cell for name in read for cell in behind.behind(name)}):
            error.fix = f"put `#| keep` at the top of {cells_text(cells)}, which production leaves out"
        raise
    if not verdict.is_same:
        behind = LeftOutCells(path, data, namespace)
        texts = [cell.text.strip() for cell in read_cells(data, path=path)]
        ran, failed = _texts_run()
        named = []
        for diff in verdict.differences:
            name = re.split(r"[.(\[]", diff.name)[0]
            order = ran_otherwise(name, texts, ran, failed) if ran else ""
            named.append(replace(diff, order=order, cells=() if order else behind.behind(name)))
        verdict = replace(verdict, differences=tuple(named))
    compared_values[path.stem] = SliceValues.of(verdict, path, data, namespace)
    keep(home, path.stem, verdict)
    return verdict


def _texts_run() -> tuple[list[str], list[str]]:
    """The texts that this kernel has run to their end, as they were typed, and those that failed."""
    history = getattr(kernel_shell(), "history_manager", None)
    ran: list[str] = []
    failed: list[str] = []
    for count, text in enumerate(getattr(history, "input_hist_raw", ())):
        if text.strip():
            (failed if count in CHANGES.failed else ran).append(text.strip())
    return ran, failed


@frozen
class SliceValues:
    """The values of the slice of these texts that `namespace` held, too, when they were compared: digests as in the keys of
    previews, and in short."""

    slice_texts: tuple[str, ...]
    namespace: Mapping[str, Any]
    digests: Mapping[str, bytes]
    shown: Mapping[str, str]

    @classmethod
    def of(cls, verdict: Verdict, path: Path, data: bytes, namespace: Mapping[str, Any]) -> Self:
        """The values that were the same, but for those named by code, for whose digests more counts than their content."""
        artifact = load_artifact(path, data, cache_dir=None)
        text = " ".join((*(difference.name for difference in verdict.differences), *verdict.varying, *verdict.doubts))
        names = (names_of(artifact) & namespace.keys()) - set(_WORD.findall(text))
        digests = {name: digest for name in names if (digest := _plain_digest(namespace[name], name)) is not None}
        shown = {name: show(namespace[name]) for name in digests}
        return cls(tuple(chunk.text for chunk in artifact.compiled.chunks), namespace, digests, shown)

    def what_differs(self, slice_texts: tuple[str, ...], parts: Mapping[str, bytes]) -> str:
        """As `ComparedValues`."""
        if slice_texts != self.slice_texts:
            return ""
        moved = [name for name, digest in self.digests.items() if parts.get(f"constant {name}", digest) != digest]
        values = {name: self.namespace[name] for name in sorted(moved) if name in self.namespace}
        sentences = [
            str(ValueDifference(name, show(value), self.shown[name]))
            for name, value in values.items()
            if _plain_digest(value, name) == parts[f"constant {name}"]  # else it is a helper's of the same name
        ]
        return first_few(sentences, _MOST_IN_A_CAPTION, "; ")


def _plain_digest(value: Any, name: str) -> bytes | None:
    """The digest of a value in the keys of previews; None of one that refers to code."""
    tracer = Tracer(WATCHED)
    reference = tracer.reference(value, name)
    digest = b"" if reference else tracer.value(value, name)
    return None if reference or tracer.unseen or tracer.parts else digest


def compare_here(home: LocalWorkspace, path: Path) -> Verdict | None:
    """As `compare_kernel`, where this process is the notebook's kernel; None elsewhere, and where its notebook is none. That its slice
    cannot be executed is a verdict, too."""
    shell = kernel_shell()
    try:
        if shell is None or not is_own_notebook(shell.user_ns, path):
            return None
        try:
            return compare_kernel(home, path, shell.user_ns)
        except NotebookCompileError:  # which a deploy says itself
            return None
        except FlowExecutionError as error:
            why = f"could not be compared: {error.detail}"
            verdict = Verdict(utc_text(time.time()), cells_in(path, content_of(path)), failure=why)
            keep(home, path.stem, verdict)
            return verdict
    except (FlowValidationError, OSError, RuntimeError):  # the last where a cell changes what is looked at
        return None


def compared_now(home: LocalWorkspace, path: Path) -> KernelComparison | None:
    """How the notebook at `path` compares where this process is its kernel, else how it compared last; None of what is no notebook.

    Raises:
        LedgerError: the ledger cannot be read.
    """
    compare_here(home, path)
    return compared(home, path)


def compare_own(root: str, path: str) -> None:
    """As `compare_here`, for JupyterLab, which lets the kernel of an open notebook execute it."""
    compare_here(local_workspace(Path(root)), Path(path))


def require_as_in_kernel(home: LocalWorkspace, path: Path, *, may_differ: bool) -> None:
    """Compare where this process is the notebook's kernel, and refuse what differs unless it may.

    Raises:
        NotAsInKernelError: it does.
        FlowValidationError: `compile --run` executes the notebook.
    """
    refuse_in_trial("deploy")
    verdict = compare_here(home, path)
    if verdict is not None and not verdict.is_same and not may_differ:
        kept = "put `#| keep` at the top of the cells that are named, or " if verdict.names_cells else ""
        what = verdict.failure or f"is not the same in this kernel and in production: {'; '.join(verdict.sentences())}"
        if any(difference.order for difference in verdict.differences):
            kept = "save the notebook, restart the kernel and run all cells, or "
        fix = f"{kept}deploy it all the same: %flow deploy --yes, or force=True"
        raise NotAsInKernelError(f"{path.name} {what}", where=str(path), fix=fix)


class LeftOutCells:
    """The cells of the notebook at `path`, whose content is `data`, that its slice leaves out, in whole or in part."""

    def __init__(self, path: Path, data: bytes, namespace: Mapping[str, Any]) -> None:
        self._artifact = load_artifact(path, data, cache_dir=None)
        self._namespace = namespace
        cells = self._artifact.compiled.cells
        parts_left = {cell.number for cell in cells if not all(statement.taken for statement in cell.statements)}
        self._left: dict[str, list[int]] = {}
        for cell in read_cells(data, path=path):
            if cell.number in parts_left:
                self._left.setdefault(cell.text.strip(), []).append(cell.number)

    def behind(self, name: str) -> tuple[int, ...]:
        """The left-out cells that made the value of the name in this kernel."""
        texts = CHANGES.cells_behind(name, self._namespace, names_of(self._artifact), self._left)
        return tuple(sorted({number for text in texts for number in self._left[text]}))

    def read_by(self, cell: int) -> set[str]:
        """The names that the slice's part of a cell uses at its top level."""
        return {name for number, code in self._artifact.codes if number == cell for name in code.co_names}


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
    notebook.cells = [cell for cell in notebook.cells if REPLAY not in cell.metadata.get("tags", ())]
    notebook.cells.insert(0, nbformat.v4.new_code_cell("%load_ext data_engine"))  # type: ignore[no-untyped-call]
    notebook.cells.append(nbformat.v4.new_code_cell(_COMPARE.format(str(home.layout.root), str(path))))  # type: ignore[no-untyped-call]
    client = nbclient.NotebookClient(
        notebook,
        timeout=_MOST_S,
        kernel_name="python3",
        resources={"metadata": {"path": str(path.parent)}},
        extra_arguments=["--log-level=ERROR"],
    )
    environment = os.environ | {TRIAL_VARIABLE: "1", NOTEBOOK_VARIABLE: str(path)}
    try:
        client.execute(env=environment)
    except nbclient.exceptions.CellExecutionError as error:
        failed = _does_not_run(path, f"{error.ename}: {error.evalue}")
        failed.set_place(_place_of_failure(path, notebook.cells))
        raise failed from error
    except (nbclient.exceptions.CellTimeoutError, nbclient.exceptions.DeadKernelError) as error:
        raise _does_not_run(path, str(error)) from error
    text = "".join(output.get("text", "") for output in notebook.cells[-1].outputs)
    return Verdict.read(json.loads(text.partition(_MARK)[2].partition("\n")[0]))


def compare_in_kernel(root: str, path: str, namespace: dict[str, Any]) -> None:
    """The kernel's part: compare, keep, and print the verdict."""
    home = local_workspace(Path(root))
    verdict = compare_kernel(home, Path(path), namespace)
    print(_MARK + json.dumps(verdict.as_dict()))


def _place_of_failure(path: Path, cells: Sequence[Any]) -> str | None:
    """The cell that has an error among its outputs, counted without the one put before all, and its line as IPython says it."""
    codes = [cell for cell in cells if cell.cell_type == "code"]
    for number, cell in enumerate(codes):
        for output in cell.outputs:
            if output.output_type == "error":
                lines = re.findall(r"Cell In\[\d+\], line (\d+)", _COLOURS.sub("", "\n".join(output.traceback)))
                return f"{path.name}, cell {number}" + (f", line {lines[0]}" if lines else "")
    return None


def _does_not_run(path: Path, detail: str) -> FlowExecutionError:
    return FlowExecutionError(
        flow_name=path.stem,
        phase="run",
        detail=detail,
        source_path=path,
        fix="run all its cells in JupyterLab and mend the one that fails",
    )
