"""The notebook a new flow starts from."""

from __future__ import annotations

from pathlib import Path

from data_engine.errors import FlowValidationError, WorkspaceError
from data_engine.files import create_exclusive
from data_engine.notebook.flow_files import module_files
from data_engine.workspace.notebook_text import notebook_text

_CELLS: tuple[tuple[str, str, str], ...] = (
    (
        "markdown",
        "about",
        "# A new flow\n"
        "\n"
        "Rename this notebook: its name is the flow's. `build()` says what runs; what `build()` needs goes to\n"
        "production; use all other cells to explore.",
    ),
    (
        "code",
        "steps",
        "import polars as pl\n"
        "\n"
        "from data_engine import Flow\n"
        "\n"
        "\n"
        "def read(context):\n"
        '    return pl.DataFrame({"item": ["a", "b", "a"], "amount": [1.0, 2.0, 3.0]})\n'
        "\n"
        "\n"
        "def total(context):\n"
        '    return context.current.group_by("item").agg(pl.col("amount").sum()).sort("item")',
    ),
    (
        "code",
        "build",
        "def build():\n"
        "    return (\n"
        '        Flow(group="New")\n'
        '        .watch(mode="manual")\n'
        '        .step(read, save_as="raw_df")\n'
        '        .step(total, use="raw_df", save_as="total_df")\n'
        "    )",
    ),
    ("code", "preview", 'build().preview(use="total_df")'),
    (
        "markdown",
        "deploy",
        "A preview changes nothing in production, and neither does saving. When it looks right, `%flow deploy` lets\n"
        "production run this notebook as it is saved; `%flow rollback` undoes that. `%flow start` lets deployed flows run by\n"
        "themselves. (`%load_ext data_engine` gives `%flow`; the panel in the right side bar has the same.)",
    ),
)


def new_flow_notebook(folder: Path, name: str = "new_flow") -> Path:
    """A runnable notebook in `folder`, called `name` or, where that is taken, `name_2`, `name_3`, ...; its path.

    Raises:
        FlowValidationError: the name cannot be a flow's, or the folder cannot be written.
    """
    if not name.replace("_", "a").replace("-", "a").isalnum() or name.startswith("_"):
        raise FlowValidationError(
            f"{name!r} cannot be a flow's name",
            where="new flow",
            fix="use letters, digits and '_', beginning with a letter",
        )
    taken = module_files(folder)
    stem, number = name, 2
    while stem in taken:
        stem, number = f"{name}_{number}", number + 1
    path = folder / f"{stem}.ipynb"
    try:
        create_exclusive(path, notebook_text(_CELLS))
    except OSError as error:
        raise WorkspaceError(
            f"{path} cannot be written: {error.strerror}", where=str(folder), fix="make the folder writable"
        ) from error
    return path
