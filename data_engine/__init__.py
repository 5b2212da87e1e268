"""Data Engine: write a data flow in a JupyterLab notebook; run the same notebook in production.

The floors of the package; imports only point down:

    9  the names below, and the IPython extension
    8  cli/  demo/  docs/  jupyter_extension/    the command line; the demo's flows and data; the documentation; magics, displays and panel
    7  importing.py         bringing a workspace from the older system
    7  view/                what people see and type: verbs with their answers, nouns as cards; the view of the panel
    7  client.py  verbs.py  runs.py  discovery.py  kernel_imports.py   Workspace: the Python face; what a flow can do; runs in the caller's process
    7  replay.py             the failing step of a run, with what it was given
    6  daemon/                the background process: its control channel, its workers
    5  status/                the state of a workspace: one record, filled from facts once, and what explains it
    5  commands/              what is asked of a workspace's owner: a value for each verb
    5  deploy/                from a look at the modules to the rows that say what production runs
    5  plan/                  what a deploy would change, and goldens that keep what was right
    5  proof/                 whether a compiled notebook is as in its kernel
    4  scheduler/  engine/    when it runs, and where; candidates, runs, previews, groups
    4  planning/              what is due, and why: pure decisions
    4  reasons/              why something runs or does not: one table
    4  alerting/              what is expected of flows, and what people are told of them
    3  ledger/  lease/        what ran, on this machine and for all; who owns a workspace on a shared folder
    2  cluster/               jobs on a Dask cluster: nodes, attempts, what becomes of them
    2  notebook/              from notebooks to modules, and from errors to cells
    1  model.py flow/ workspace/   records and events; flows as values; the workspace's folder
    1  compare/               what differs between two values
    1  helpers/               a leaf for authors: DuckDB, Polars, schemas, workbooks; uses floor 0 only
    0  after_import.py errors.py secret.py files.py nofollow.py private.py locks.py unfinished.py clock.py duration.py display_hook.py
    0  platforms/             what differs between Linux, macOS and Windows
    0  user_files.py          files that are not ours alone: hashed, copied and looked at, and no lock of this process is lost
    0  database_copy.py       one consistent copy of a database, in a process of its own
    0  answering_process.py   processes of our own that are asked, and end with whoever asks
    0  version.py argument_checks.py suggestions.py storage_version.py record.py cause.py message.py formatting.py marks.py trial.py
    0  keeping.py            what a run gives the helpers that write tables

Importing this package imports none of the data libraries; names are looked up when they are first used.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from data_engine.client import Workspace
    from data_engine.discovery import discover_flows, load_flow
    from data_engine.engine.preview import clear_preview_cache
    from data_engine.errors import FlowExecutionError, FlowStoppedError, FlowValidationError
    from data_engine.flow.batch import Batch, FileRef, ItemError
    from data_engine.flow.context import FlowContext
    from data_engine.notebook.compile import compile_notebook
    from data_engine.runs import run
    from data_engine.secret import Secret
    from data_engine.verbs import Flow
    from data_engine.version import __version__ as __version__
    from jupyter_extension.panel import panel

__all__ = [
    "Batch",
    "FileRef",
    "Flow",
    "FlowContext",
    "FlowExecutionError",
    "FlowStoppedError",
    "FlowValidationError",
    "ItemError",
    "Secret",
    "Workspace",
    "clear_preview_cache",
    "compile_notebook",
    "discover_flows",
    "load_flow",
    "panel",
    "run",
]

_HOMES = {
    "Batch": "data_engine.flow.batch",
    "FileRef": "data_engine.flow.batch",
    "Flow": "data_engine.verbs",
    "FlowContext": "data_engine.flow.context",
    "FlowExecutionError": "data_engine.errors",
    "FlowStoppedError": "data_engine.errors",
    "FlowValidationError": "data_engine.errors",
    "ItemError": "data_engine.flow.batch",
    "Secret": "data_engine.secret",
    "Workspace": "data_engine.client",
    "__version__": "data_engine.version",
    "clear_preview_cache": "data_engine.engine.preview",
    "compile_notebook": "data_engine.notebook.compile",
    "discover_flows": "data_engine.discovery",
    "load_flow": "data_engine.discovery",
    "panel": "jupyter_extension.panel",
    "run": "data_engine.runs",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'data_engine' has no attribute {name!r}")
    from importlib import import_module

    if not _HOMES.keys() & globals().keys():  # the first name that is asked for
        _warn_of_two_packages()
    value = getattr(import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def _warn_of_two_packages() -> None:
    from data_engine.workspace.two_packages import two_packages_text

    if (words := two_packages_text()) is not None:
        from warnings import warn

        warn(words, stacklevel=3)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


def load_ipython_extension(ipython: Any) -> None:
    """`%load_ext data_engine`: the magic `%flow`."""
    from jupyter_extension.kernel_extension import load

    load(ipython)


def unload_ipython_extension(ipython: Any) -> None:
    """`%unload_ext data_engine`: `%flow` is gone again."""
    from jupyter_extension.kernel_extension import unload

    unload(ipython)
