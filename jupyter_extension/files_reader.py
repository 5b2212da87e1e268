"""Lists the files of flows while no daemon runs, in a process of its own: reading a flow may run its author's code.

Run as `python -m jupyter_extension.files_reader`; see `child_loop` for how it is asked.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from data_engine.client import Workspace
from data_engine.status.offline import OfflineFacts
from data_engine.status.source_files import FileLists
from jupyter_extension.child_loop import serve

_lists: dict[str, FileLists] = {}


def read_files(request: Mapping[str, Any]) -> dict[str, Any]:
    """The files of the flow `flow` of the workspace at `root`, as `SourceFiles` in JSON.

    Raises:
        FlowValidationError: no such flow; the workspace cannot be read.
    """
    root = str(request["root"])
    facts = OfflineFacts(Workspace(root).home)
    lists = _lists.setdefault(root, FileLists(facts))
    asked = {name: request[name] for name in ("search", "group", "limit")}
    return lists.page(facts.facts(), str(request["flow"]), **asked).as_dict()


if __name__ == "__main__":
    serve(read_files, failed="the files cannot be listed")
