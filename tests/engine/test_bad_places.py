"""Disks that are full, folders that cannot be written, settings that mean nothing: an error with its fix, nothing half done."""

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

NATIVE = '__import__("polars").read_csv(context.source.path)'


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 256 kB."""
    folder = tmp_path / "small"
    folder.mkdir()
    yield from mounted(folder)


def mounted(folder: Path) -> Iterator[Path]:
    """The folder, on a file system of 256 kB until the test is over."""
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


def test_a_full_disk_under_the_ledger_refuses_the_run_with_the_fix(
    ws: WorkspaceFiles, small_disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ws.notebook("claims", FLOW.format(fn="lambda context: 1"))
    monkeypatch.setenv("DATA_ENGINE_STATE_ROOT", str(small_disk))
    (small_disk / "filler").write_bytes(b"x" * 250_000)

    with pytest.raises(FlowValidationError) as caught:
        load_flow("claims", data_root=ws.root).run_once()

    assert caught.value.fix


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
        assert caught.value.fix
    finally:
        subprocess.run(["umount", "-l", str(ws.root)], check=True)


@pytest.mark.parametrize("text", ["timezone = 5", "[limits]\nrun_timeout = 'soon'", "not toml"])
def test_wrong_settings_are_named_before_anything_runs(ws: WorkspaceFiles, text: str) -> None:
    ws.source("config/data_engine.toml", text)
    ws.notebook("claims", FLOW.format(fn="lambda context: 1"))

    with pytest.raises(FlowValidationError, match=r"data_engine\.toml") as caught:
        load_flow("claims", data_root=ws.root).run_once()

    assert caught.value.fix
    assert not (ws.root / "out").exists()


@pytest.mark.parametrize("path", ["", "  ", 5, None])
def test_a_workspace_that_is_no_path_is_refused(path: object) -> None:
    with pytest.raises(FlowValidationError):
        Workspace(path)  # type: ignore[arg-type]


def test_a_workspace_path_that_is_a_file_or_missing_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("x")

    for path, why in (
        (file, "not a workspace"),
        (tmp_path / "missing", "does not exist"),
        (tmp_path, "not a workspace"),
    ):
        with pytest.raises(FlowValidationError, match=why):
            Workspace(path)
    assert os.listdir(tmp_path / "here") == []


@pytest.mark.skipif(sys.platform != "linux", reason="the file system refuses such a name")
def test_a_file_name_that_is_no_utf8_costs_at_most_its_own_run(ws: WorkspaceFiles) -> None:
    """Python reads it; where a native library cannot, the run says what to do. Every way of asking for it finds it."""
    (ws.root / "in").mkdir()
    odd = ws.root / "in" / os.fsdecode(b"b\xff.csv")
    for path in (ws.root / "in/a.csv", odd, ws.root / "in/c.csv"):
        path.write_text("n\n1\n")
    ws.module(
        "plain",
        """
        from data_engine import Flow

        def read(context):
            return context.source.path.read_text()

        def build():
            return Flow(group="G").watch(mode="manual", source="../in").mirror(root="../out").step(read)
        """,
    )
    ws.module("native", (ws.modules / "plain.py").read_text().replace("context.source.path.read_text()", NATIVE))

    plain = load_flow("plain", data_root=ws.root)
    native = load_flow("native", data_root=ws.root).run_once(on_error="continue")

    assert [context.current for context in plain.run_once()] == ["n\n1\n"] * 3
    assert plain.preview(source=odd) == "n\n1\n"
    assert [type(context.error) for context in native] == [type(None), FlowExecutionError, type(None)]
    error = native[1].error
    assert isinstance(error, FlowExecutionError)
    assert "rename it" in str(error.fix)
    held = Workspace(ws.root).runs("native")[1]
    assert (held.source, held.status) == (str(odd), "failed")
