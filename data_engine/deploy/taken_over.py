"""Deployments from before they travelled: a list of pointers on this machine, taken over once by whoever owns first."""

from __future__ import annotations

import json
import time
import uuid
from contextlib import suppress
from pathlib import Path

from data_engine.engine.local_workspace import LocalWorkspace
from data_engine.ledger import deployments
from data_engine.model import Deployment, utc_text
from data_engine.workspace.machine import person


def local_deployments(home: LocalWorkspace) -> list[Deployment]:
    """The rows for what this machine alone had deployed; of no flow that has a history already, nor without its set."""
    try:
        found = json.loads(_list_of(home).read_text(encoding="utf-8"))
        pointers = {str(name): (str(value["set"]), str(value["digest"])) for name, value in found.items()}
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return []
    known = {one.flow for one in deployments.published(home.ledger())}
    sets = home.deployments()
    there = {set_id for set_id in {set_id for set_id, _ in pointers.values()} if sets.contents_of(set_id) is not None}
    by, machine = person()
    return [
        Deployment(
            uuid.uuid4().hex,
            0,
            name,
            "deploy",
            set_id,
            digest,
            by,
            machine,
            utc_text(time.time()),
            "was deployed on this machine before deployments travelled",
        )
        for name, (set_id, digest) in sorted(pointers.items())
        if name not in known and set_id in there
    ]


def forget_local(home: LocalWorkspace) -> None:
    """Take nothing over again."""
    path = _list_of(home)
    with suppress(OSError):
        path.replace(path.with_suffix(".taken"))


def _list_of(home: LocalWorkspace) -> Path:
    return home.local.runtime_dir / "deployments" / "deployed.json"
