"""Whether the files that flows read by `context.config` can be read: else the first run that needs one fails."""

from __future__ import annotations

from data_engine.cut import first_few
from data_engine.daemon.finding import Finding
from data_engine.errors import FlowValidationError
from data_engine.flow.context import WorkspaceConfigContext
from data_engine.workspace.layout import WorkspaceLayout

_SHOWN = 3


def check_config(layout: WorkspaceLayout) -> Finding:
    """A finding for all files of the workspace's config folder but its settings."""
    config = WorkspaceConfigContext(layout.root)
    wrong = []
    try:
        names = config.names()
    except FlowValidationError as error:
        return Finding("config", False, error.what, error.fix)
    for name in names:
        try:
            config.get(name)
        except FlowValidationError as error:
            wrong.append(error.what)
    if wrong:
        return Finding("config", False, first_few(wrong, _SHOWN, "; "), "correct that line: runs that read it fail")
    if not names:
        return Finding("config", True, f"no files in {layout.config_dir} other than the settings")
    return Finding("config", True, f"{first_few(names, _SHOWN)} can be read")
