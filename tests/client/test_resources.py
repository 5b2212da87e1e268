"""Files beside helpers are reached by `importlib.resources`: in a preview, a run, and from the deployed copy."""

from __future__ import annotations

import importlib.resources
import subprocess
import sys

import pytest

from data_engine import Workspace, load_flow
from tests.support import WorkspaceFiles

READS = """
    from data_engine import Flow
    import importlib.resources
    import importlib.resources as as_name
    from importlib import resources
    from importlib.resources import as_file, files
    import flow_helpers
    from flow_helpers import inner

    def by_name(context):
        with as_file(files("flow_helpers") / "query.sql") as path:
            by_path = path.read_text()
        return [
            by_path,
            importlib.resources.files("flow_helpers").joinpath("query.sql").read_text(),
            as_name.files("flow_helpers").joinpath("query.sql").read_text(),
            (resources.files(flow_helpers) / "query.sql").read_text(),
            (files(__package__) / "flow_helpers" / "query.sql").read_text(),
            *inner.texts(),
        ]

    def foreign(context):
        return [*context.current, (files("data_engine") / "__init__.py").is_file(), files(importlib).name]

    def build():
        return Flow(group="G").step(by_name, save_as="texts").step(foreign)
"""
INNER = """
    from importlib.resources import files

    def texts():
        return [(files(__package__) / "query.sql").read_text(), (files("flow_helpers.more") / "deep.sql").read_text()]
"""


@pytest.fixture(autouse=True)
def modules(ws: WorkspaceFiles) -> None:
    ws.module("claims", READS)
    ws.helper("inner", INNER)
    ws.source("flow_modules/flow_helpers/query.sql", "one")
    ws.source("flow_modules/flow_helpers/more/deep.sql", "deep")


def expected(text: str) -> list[object]:
    return [*[text] * 6, "deep", True, "importlib"]


@pytest.mark.parametrize("init", [True, False], ids=["a package", "a folder"])
def test_files_of_helpers_are_found_by_package_name_and_module(ws: WorkspaceFiles, init: bool) -> None:
    """For the process around it `importlib.resources` stays as it is."""
    if init:
        ws.helper("__init__", "")

    flow = load_flow("claims", data_root=ws.root)

    assert flow.run_once()[0].current == expected("one")
    assert flow.preview() == expected("one")
    with pytest.raises(ModuleNotFoundError):
        importlib.resources.files("flow_helpers")


def test_a_preview_notices_that_such_a_file_has_changed(ws: WorkspaceFiles) -> None:
    flow = load_flow("claims", data_root=ws.root)
    flow.preview(use="texts")
    ws.source("flow_modules/flow_helpers/query.sql", "other")

    assert flow.preview(use="texts")[0] == "other"


def test_production_reads_the_deployed_copy(ws: WorkspaceFiles) -> None:
    workspace = Workspace(ws.root)
    ws.module("claims", READS.replace("return [*context.current,", "print(context.current[:7])\n        return ["))
    workspace.deploy("claims")
    ws.source("flow_modules/flow_helpers/query.sql", "edited")
    try:
        (run,) = workspace.run("claims")
        assert run.status == "success", run.error
        said = [line.message for line in workspace.log(run.run_id)]
    finally:
        workspace.kill()

    assert str(expected("one")[:7]) in said


def test_the_command_line_previews_it(ws: WorkspaceFiles) -> None:
    command = [sys.executable, "-m", "data_engine", "--workspace", str(ws.root), "preview", "claims", "--use", "texts"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)

    assert (done.returncode, "one" in done.stdout) == (0, True), done.stderr
