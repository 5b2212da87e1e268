"""The TypeScript interfaces of the records that Python sends to the panel's page, made of their classes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from data_engine.cause import Cause
from data_engine.engine.quarantine import RejectedRows
from data_engine.marks import Mark, Shape, Tone
from data_engine.model import (
    ActiveRun,
    Backfill,
    FrameChange,
    PlannedRun,
    Run,
    RunCheck,
    RunFile,
    RunReport,
    RunTrigger,
)
from data_engine.notebook.deployment_status import DeploymentStatus
from data_engine.reasons.remedies import Reason
from data_engine.record import Record
from data_engine.status.record import ClusterFacts, Problem
from data_engine.status.troubles import TroubleLine
from data_engine.view.panel import Group, PanelFlow, PanelNotice, PanelView
from data_engine.view.trends import RejectedView, TrendRow, TrendsView
from jupyter_extension.actions import OutputsView, OutputView
from jupyter_extension.details import DeploymentView, FlowView, RunView, StepView
from jupyter_extension.files import AlikeView, FilesView, FileView

RECORDS: tuple[type, ...] = (
    *(
        Mark,
        Run,
        FrameChange,
        RunTrigger,
        RunFile,
        RunCheck,
        RunReport,
        DeploymentStatus,
        Problem,
        PanelFlow,
        TroubleLine,
        Backfill,
        PlannedRun,
        Group,
        ActiveRun,
    ),
    *(
        PanelNotice,
        ClusterFacts,
        PanelView,
        StepView,
        RunView,
        FileView,
        AlikeView,
        FilesView,
        DeploymentView,
        FlowView,
    ),
    *(TrendRow, TrendsView, RejectedRows, RejectedView, OutputView, OutputsView),
)
_PLAIN = {str: "string", int: "number", float: "number", bool: "boolean", NoneType: "null", Any: "any"}
_MAPPINGS = {
    **dict.fromkeys(("cells", "error_cells", "places"), "CellPlace[]"),
    "parameters": "ParameterView[] | null",
    "why": "Why | null",
    "error": "Problem | null",
}
"""Fields that are open mappings in Python, and whose keys the page knows."""

_HEAD = """// What Python sends to the page, made of its classes by `tests/panel/records.py`; do not edit. Only the type check reads this file.

import type { CellPlace, ParameterView } from "./types";

"""


def typescript() -> str:
    """The whole file."""
    unions = [f"export type {name} = {_union(kind)};\n" for name, kind in (("Tone", Tone), ("Shape", Shape))]
    why = "/** Why something is so, for programs: its kind, and what goes with it. */\nexport interface Why {\n  kind: string;\n  [name: string]: any;\n}\n"
    return _HEAD + "".join(unions) + "\n" + why + "".join(f"\n{_interface(kind)}" for kind in RECORDS)


def _interface(kind: Any) -> str:
    hints, sparse = get_type_hints(kind), getattr(kind, "sparse", ())
    lines = []
    for name in getattr(kind, "computed", ()):
        given = get_type_hints(getattr(kind, name).fget)["return"]
        lines.append(f"  {name}: {_shown(given)};\n")
    for one in fields(kind):
        shown = _shown(hints[one.name])
        shown = _MAPPINGS.get(one.name, shown) if "Record<string, any>" in shown else shown
        lines.append(f"  {one.name}{'?' if one.name in sparse else ''}: {shown};\n")
    return f"export interface {kind.__name__} {{\n{''.join(lines)}}}\n"


def _shown(of: Any) -> str:
    origin, args = get_origin(of), get_args(of)
    if of in _PLAIN:
        return _PLAIN[of]
    if origin is Literal:
        return _union(of)
    if origin in (Union, UnionType):
        return " | ".join(dict.fromkeys(_shown(one) for one in args))
    if origin is tuple:
        items = [_shown(one) for one in args if one is not Ellipsis]
        return f"{items[0]}[]" if Ellipsis in args else f"[{', '.join(items)}]"
    if origin is Mapping or (isinstance(origin, type) and issubclass(origin, Mapping)):
        return f"Record<string, {_shown(args[1])}>"
    if isinstance(of, type) and issubclass(of, (Reason, Cause)):
        return "Why"
    if of in RECORDS or (isinstance(of, type) and issubclass(of, Record)):
        return str(of.__name__)
    raise TypeError(f"{of!r} has no TypeScript type here")


def _union(of: Any) -> str:
    return " | ".join(f'"{one}"' for one in get_args(of))
