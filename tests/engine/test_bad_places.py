"""Disks that are full, folders that cannot be written, settings that mean nothing: an error with its mend, nothing half done."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from data_engine import FlowExecutionError, FlowValidationError, Workspace, load_flow
from tests.support import WorkspaceFiles

FLOW = """
    from data_engine import Flow

    def build():
        return Flow(group="G").mirror(root="../out").step({fn})
"""


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 256 kB."""
    folder = tmp_path / "small"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(folder)]
    if sys.platform != "linux" or subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("no small file system can be mounted here")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def test_a_full_disk_under_the_mirror_is_a_failed_run_that_says_so(ws: WorkspaceFiles, small_disk: Path) -> None:
    ws.notebook(
        "claims",
        f"""
        from data_engine import Flow

        def write(context):
            context.mirror.root_file("big.bin").write_bytes(b"x" * 1_000_000)

        def build():
            return Flow(group="G").mirror(root={str(small_disk)!r}).step(write)
        """,
    )

    with pytest.raises(FlowExecutionError, match="No space left on device"):
        load_flow("claims", data_root=ws.root).run_once()

    assert Workspace(ws.root).runs()[0].status == "failed"


def test_a_full_disk_under_the_ledger_refuses_the_run_with_the_mend(
    ws: WorkspaceFiles, small_disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ws.notebook("claims", FLOW.format(fn="lambda context: 1"))
    monkeypatch.setenv("DATA_ENGINE_STATE_ROOT", str(small_disk))
    (small_disk / "filler").write_bytes(b"x" * 250_000)

    with pytest.raises(FlowValidationError) as caught:
        load_flow("claims", data_root=ws.root).run_once()

    assert caught.value.mend


@pytest.mark.skipif(sys.platform != "linux", reason="needs a read-only mount")
def test_a_read_only_workspace_still_lists_previews_and_runs(ws: WorkspaceFiles) -> None:
    """The history is kept on this machine, so only what writes into the workspace fails."""
    ws.notebook("reads", FLOW.format(fn="lambda context: 1"))
    ws.notebook("writes", FLOW.format(fn="lambda context: context.mirror.root_file('a.txt').write_text('x')"))
    if subprocess.run(["mount", "--bind", str(ws.root), str(ws.root)], capture_output=True, check=False).returncode:
        pytest.skip("no mount can be made here")
    try:
        subprocess.run(["mount", "-o", "remount,bind,ro", str(ws.root)], check=True)

        assert [flow.name for flow in Workspace(ws.root).flows()] == ["reads", "writes"]
        assert load_flow("reads", data_root=ws.root).run_once()[0].current == 1
        with pytest.raises(FlowValidationError, match="Read-only file system") as caught:
            load_flow("writes", data_root=ws.root).run_once()
        assert caught.value.mend
    finally:
        subprocess.run(["umount", "-l", str(ws.root)], check=True)


@pytest.mark.parametrize("text", ["timezone = 5", "[limits]\nrun_timeout = 'soon'", "not toml"])
def test_wrong_settings_are_named_before_anything_runs(ws: WorkspaceFiles, text: str) -> None:
    ws.source("config/data_engine.toml", text)
    ws.notebook("claims", FLOW.format(fn="lambda context: 1"))

    with pytest.raises(FlowValidationError, match=r"data_engine\.toml") as caught:
        load_flow("claims", data_root=ws.root).run_once()

    assert caught.value.mend
    assert not (ws.root / "out").exists()


@pytest.mark.parametrize("path", ["", "  ", 5, None])
def test_a_workspace_that_is_no_path_is_refused(path: object) -> None:
    with pytest.raises(FlowValidationError):
        Workspace(path)  # type: ignore[arg-type]


def test_a_workspace_path_that_is_a_file_or_missing_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("x")

    for path in (file, tmp_path / "missing", tmp_path):
        with pytest.raises(FlowValidationError, match="is no workspace"):
            Workspace(path)
    assert os.listdir(tmp_path / "here") == []
