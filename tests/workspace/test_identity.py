from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from data_engine.errors import WorkspaceError
from data_engine.platforms import drives
from data_engine.workspace import machine
from data_engine.workspace.identity import (
    fork_identity,
    known_local_layout,
    layout_of,
    local_layout,
    workspace_identity,
)
from data_engine.workspace.layout import LocalLayout, WorkspaceLayout
from data_engine.workspace.machine import state_root

MakeWorkspace = Callable[[str], WorkspaceLayout]
Mount = Callable[..., None]


def state_names(layout: WorkspaceLayout) -> list[str]:
    return sorted(path.name for path in layout.workspace_state_dir.iterdir())


def tree(root: Path) -> dict[str, bytes | None]:
    return {str(p.relative_to(root)): p.read_bytes() if p.is_file() else None for p in sorted(root.rglob("*"))}


def keep_history(layout: WorkspaceLayout, identity: str, *, newer_s: float) -> None:
    """A run history of the workspace that was written last so much later than now."""
    ledger = layout_of(layout.root, identity).ledger_path
    ledger.parent.mkdir(parents=True, exist_ok=True)
    ledger.touch()
    os.utime(ledger, (time.time() + newer_s,) * 2)


class TestOneWorkspace:
    def test_the_identity_is_made_once_and_shared(
        self, workspace_at: MakeWorkspace, machine: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Another machine reads the same one."""
        layout = workspace_at("claims")
        identity = workspace_identity(layout)

        assert workspace_identity(layout) == identity
        monkeypatch.setenv("DATA_ENGINE_STATE_ROOT", str(machine / "another"))
        assert workspace_identity(layout) == identity
        assert state_names(layout) == ["identity.json"]

    def test_two_workspaces_differ(self, workspace_at: MakeWorkspace) -> None:
        """Equal names in different places are different workspaces."""
        assert workspace_identity(workspace_at("a/claims")) != workspace_identity(workspace_at("b/claims"))

    def test_many_processes_asking_first_at_once_agree(self, workspace_at: MakeWorkspace) -> None:
        """Exclusive creation decides; nobody keeps a losing identity."""
        layout = workspace_at("claims")
        code = (
            "import sys; from pathlib import Path; from data_engine.workspace.layout import WorkspaceLayout;"
            "from data_engine.workspace.identity import workspace_identity; sys.stdin.readline();"
            f"print(workspace_identity(WorkspaceLayout(Path({str(layout.root)!r}))))"
        )
        environ = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
        asking = [
            subprocess.Popen(
                [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environ
            )
            for _ in range(4)
        ]
        answers = {process.communicate("go\n")[0].strip() for process in asking}

        assert answers == {workspace_identity(layout)}

    def test_a_move_keeps_it(self, workspace_at: MakeWorkspace, tmp_path: Path) -> None:
        """Also a rename, and a move back."""
        layout = workspace_at("claims")
        identity = workspace_identity(layout)
        moved = WorkspaceLayout(layout.root.rename(tmp_path / "elsewhere"))

        assert workspace_identity(moved) == identity
        assert workspace_identity(WorkspaceLayout(moved.root.rename(layout.root))) == identity

    def test_a_folder_whose_state_was_cleaned_away_keeps_it(self, workspace_at: MakeWorkspace) -> None:
        """This machine knows it there, and the folder has files that are older than the newest of its history."""
        layout = workspace_at("claims")
        (layout.flow_modules_dir / "claims.py").write_text("")
        identity = workspace_identity(layout)
        keep_history(layout, identity, newer_s=60)
        shutil.rmtree(layout.workspace_state_dir)

        known = known_local_layout(layout)
        assert known is not None
        assert known.identity == identity
        assert not layout.workspace_state_dir.exists()
        assert workspace_identity(layout) == identity
        assert state_names(layout) == ["identity.json"]

    def test_a_workspace_made_in_the_place_of_another_is_a_new_one(self, workspace_at: MakeWorkspace) -> None:
        """All of its files are newer than what was kept of that one, and nothing of its history holds for it."""
        layout = workspace_at("claims")
        identity = workspace_identity(layout)
        keep_history(layout, identity, newer_s=-60)
        shutil.rmtree(layout.root)
        layout = workspace_at("claims")
        (layout.flow_modules_dir / "claims.py").write_text("")

        assert workspace_identity(layout) != identity

    def test_a_move_to_another_drive_keeps_it(self, workspace_at: MakeWorkspace, tmp_path: Path) -> None:
        """There the folder gets another inode; the original is gone all the same."""
        layout = workspace_at("claims")
        identity = workspace_identity(layout)
        moved = WorkspaceLayout(tmp_path / "moved")
        shutil.copytree(layout.root, moved.root)
        shutil.rmtree(layout.root)

        assert workspace_identity(moved) == identity

    @pytest.mark.parametrize("content", ["{", "[]", "{}", '{"identity": 3}', '{"identity": "../../etc"}', '"x"', ""])
    def test_a_damaged_file_is_named_and_kept(self, content: str, workspace_at: MakeWorkspace) -> None:
        """Guessing a new identity would silently drop the team's history; forking is the way out by hand."""
        layout = workspace_at("claims")
        layout.workspace_state_dir.mkdir()
        layout.identity_path.write_text(content)

        with pytest.raises(WorkspaceError, match="identity cannot be read") as caught:
            workspace_identity(layout)
        assert caught.value.where == str(layout.identity_path)
        assert "workspace fork" in str(caught.value.fix)
        assert layout.identity_path.read_text() == content
        assert fork_identity(layout) == workspace_identity(layout)

    def test_a_folder_that_is_no_workspace_gets_nothing(self, tmp_path: Path) -> None:
        """An unmounted share is an empty folder."""
        (tmp_path / "share").mkdir()

        for call in (workspace_identity, fork_identity, local_layout):
            with pytest.raises(WorkspaceError, match="is not a workspace"):
                call(WorkspaceLayout(tmp_path / "share"))
        assert tree(tmp_path / "share") == {}

    def test_a_file_where_the_state_folder_belongs_is_an_error(self, workspace_at: MakeWorkspace) -> None:
        """No raw OSError, and the file stays."""
        layout = workspace_at("claims")
        layout.workspace_state_dir.write_text("mine")

        with pytest.raises(WorkspaceError, match="identity cannot be written"):
            workspace_identity(layout)
        assert layout.workspace_state_dir.read_text() == "mine"


class TestCopies:
    def test_a_copy_gets_its_own_and_the_original_keeps_it(
        self, workspace_at: MakeWorkspace, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        """The copy starts without what the workstations shared; that is set aside, not lost."""
        layout = workspace_at("claims")
        identity = workspace_identity(layout)
        (layout.workspace_state_dir / "state" / "runs").mkdir(parents=True)
        (layout.workspace_state_dir / "state" / "runs" / "1.parquet").write_bytes(b"history")
        before = tree(layout.root)
        copy = WorkspaceLayout(tmp_path / "copy")
        shutil.copytree(layout.root, copy.root)

        own = workspace_identity(copy)
        assert own != identity
        assert workspace_identity(copy) == own
        assert workspace_identity(layout) == identity
        assert tree(layout.root) == before
        assert state_names(copy) == [f"before_{own}", "identity.json"]
        aside = copy.workspace_state_dir / f"before_{own}"
        assert (aside / "state" / "runs" / "1.parquet").read_bytes() == b"history"
        assert json.loads(copy.identity_path.read_text())["forked_from"] == identity
        assert f"{copy.root} is a copy of {layout.root}" in caplog.text

    def test_the_original_keeps_it_although_the_copy_was_seen_first(
        self, workspace_at: MakeWorkspace, tmp_path: Path, machine: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A colleague who opens a private copy first must not take the team's identity away."""
        layout = workspace_at("team")
        identity = workspace_identity(layout)
        copy = WorkspaceLayout(tmp_path / "private")
        shutil.copytree(layout.root, copy.root)
        monkeypatch.setenv("DATA_ENGINE_STATE_ROOT", str(machine / "colleague"))

        workspace_identity(copy)
        assert workspace_identity(layout) == identity
        assert workspace_identity(copy) != identity
        assert workspace_identity(layout) == identity

    def test_a_backup_put_where_the_original_was_is_the_copy(self, workspace_at: MakeWorkspace, tmp_path: Path) -> None:
        """The original moved; its old path proves nothing."""
        layout = workspace_at("claims")
        identity = workspace_identity(layout)
        moved = WorkspaceLayout(layout.root.rename(tmp_path / "moved"))
        shutil.copytree(moved.root, layout.root)

        assert workspace_identity(moved) == identity
        assert workspace_identity(layout) != identity

    def test_a_copy_whose_original_is_gone_goes_on_as_the_original(
        self, workspace_at: MakeWorkspace, tmp_path: Path
    ) -> None:
        """That is how a workspace is restored from a backup."""
        layout = workspace_at("claims")
        identity = workspace_identity(layout)
        backup = WorkspaceLayout(tmp_path / "backup")
        shutil.copytree(layout.root, backup.root)
        shutil.rmtree(layout.root)

        assert workspace_identity(backup) == identity

    def test_forking_by_hand_changes_this_one_only(self, workspace_at: MakeWorkspace) -> None:
        """And lasts; a second fork is another one."""
        layout = workspace_at("claims")
        identity = workspace_identity(layout)
        forked = fork_identity(layout)

        assert forked != identity
        assert workspace_identity(layout) == forked
        assert fork_identity(layout) not in (identity, forked)


class TestOneFolderSeenTwice:
    def test_a_link_is_the_same_workspace(self, workspace_at: MakeWorkspace, tmp_path: Path) -> None:
        """Nothing is forked, whichever is asked first."""
        layout = workspace_at("claims")
        link = tmp_path / "link"
        link.symlink_to(layout.root)

        assert workspace_identity(WorkspaceLayout(link)) == workspace_identity(layout)

    def test_a_bind_mount_is_the_same_workspace(
        self, workspace_at: MakeWorkspace, tmp_path: Path, mount: Mount
    ) -> None:
        """A share mounted at a second place."""
        layout = workspace_at("claims")
        identity = workspace_identity(layout)
        second = tmp_path / "second"
        second.mkdir()
        mount("--bind", layout.root, second)

        assert workspace_identity(WorkspaceLayout(second)) == identity
        assert workspace_identity(layout) == identity

    def test_two_mounts_that_number_their_files_differently_are_told_by_a_probe(
        self, workspace_at: MakeWorkspace, tmp_path: Path, mount: Mount
    ) -> None:
        """An overlay without changes shows the lower folder under another device, as two network mounts do.

        It is looked at from the writable side, and the probe is gone afterwards.
        """
        layout = workspace_at("claims")
        identity = workspace_identity(layout)
        second, empty = tmp_path / "second", tmp_path / "empty"
        second.mkdir()
        empty.mkdir()
        mount("-t", "overlay", "-o", f"lowerdir={layout.root}:{empty}", "overlay", second)
        if os.path.samefile(second / ".workspace_state", layout.workspace_state_dir):
            pytest.skip("this overlay keeps device and inode")

        assert workspace_identity(WorkspaceLayout(second)) == identity
        assert state_names(layout) == ["identity.json"]


class TestReadOnly:
    def test_without_an_identity_the_path_stands_in_and_nothing_is_written(
        self, workspace_at: MakeWorkspace, mount: Mount
    ) -> None:
        """The same path gives the same identity, another path another."""
        one, two = workspace_at("one"), workspace_at("two")
        for layout in (one, two):
            mount("--bind", layout.root, layout.root)
            mount("-o", "remount,ro,bind", layout.root)

        assert workspace_identity(one) == workspace_identity(one)
        assert workspace_identity(one).startswith("path-")
        assert workspace_identity(one) != workspace_identity(two)
        assert tree(one.root) == {"flow_modules": None}

    def test_an_identity_that_is_there_is_used(self, workspace_at: MakeWorkspace, mount: Mount) -> None:
        """A colleague who may only read sees the team's history."""
        layout = workspace_at("claims")
        identity = workspace_identity(layout)
        shutil.rmtree(state_root())
        mount("--bind", layout.root, layout.root)
        mount("-o", "remount,ro,bind", layout.root)

        assert workspace_identity(layout) == identity
        with pytest.raises(WorkspaceError, match="cannot be written"):
            fork_identity(layout)

    def test_a_read_only_copy_is_not_the_original(
        self, workspace_at: MakeWorkspace, tmp_path: Path, mount: Mount
    ) -> None:
        """A snapshot of the drive cannot be given an identity; it must not write into the original's history."""
        layout = workspace_at("claims")
        identity = workspace_identity(layout)
        snapshot = WorkspaceLayout(tmp_path / "snapshot")
        shutil.copytree(layout.root, snapshot.root)
        mount("--bind", snapshot.root, snapshot.root)
        mount("-o", "remount,ro,bind", snapshot.root)

        assert workspace_identity(snapshot).startswith("path-")
        assert workspace_identity(layout) == identity

    def test_two_read_only_mounts_of_one_folder_are_one_workspace(
        self, workspace_at: MakeWorkspace, tmp_path: Path, mount: Mount
    ) -> None:
        """No probe can be written there; device and inode tell."""
        layout = workspace_at("claims")
        identity = workspace_identity(layout)
        second = tmp_path / "second"
        second.mkdir()
        for point in (layout.root, second):
            mount("--bind", layout.root, point)
            mount("-o", "remount,ro,bind", point)

        assert workspace_identity(WorkspaceLayout(second)) == identity


class TestLocalLayout:
    def test_it_is_below_the_state_root_by_identity(self, workspace_at: MakeWorkspace) -> None:
        """The name people see is only told along."""
        layout = workspace_at("claims")

        assert local_layout(layout) == LocalLayout(state_root(), workspace_identity(layout), "claims")

    def test_the_two_variables_move_artifacts_and_ledger(
        self, workspace_at: MakeWorkspace, machine: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """As the older product's did; the ledger's goes before the artifacts'."""
        layout = workspace_at("claims")
        monkeypatch.setenv("DATA_ENGINE_RUNTIME_ROOT", str(machine / "runtime"))
        local = local_layout(layout)
        identity = workspace_identity(layout)

        assert local.artifacts_dir == machine / "runtime"
        assert local.ledger_path == machine / "runtime" / "runtime_state" / identity / "runtime_ledger.sqlite"
        monkeypatch.setenv("DATA_ENGINE_RUNTIME_DB_PATH", str(machine / "one.sqlite"))
        assert local_layout(layout).ledger_path == machine / "one.sqlite"
        assert local_layout(layout).locks_dir == machine / "runtime" / "runtime_state" / identity / "locks"

    @pytest.mark.parametrize("variable", ["DATA_ENGINE_RUNTIME_ROOT", "DATA_ENGINE_RUNTIME_DB_PATH"])
    def test_a_relative_override_is_refused(
        self, variable: str, workspace_at: MakeWorkspace, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """It names the variable."""
        monkeypatch.setenv(variable, "here")

        with pytest.raises(WorkspaceError, match="not an absolute path") as caught:
            local_layout(workspace_at("claims"))
        assert caught.value.where == variable

    @pytest.mark.parametrize(
        "variable", ["DATA_ENGINE_STATE_ROOT", "DATA_ENGINE_RUNTIME_ROOT", "DATA_ENGINE_RUNTIME_DB_PATH"]
    )
    def test_a_network_drive_is_refused(
        self, variable: str, workspace_at: MakeWorkspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """SQLite on a share loses data; the error names the variable and the way out. The mount table is made up."""
        if sys.platform != "win32":
            monkeypatch.setattr(drives, "_mounts", lambda: [(str(tmp_path / "share"), "nfs4")])
        else:  # where the system itself is asked
            monkeypatch.setattr(machine, "network_drive", lambda path: "nfs4" if "share" in path.parts else None)
        monkeypatch.setenv(variable, str(tmp_path / "share" / "state"))

        with pytest.raises(WorkspaceError, match=r"on a network drive \(nfs4\)") as caught:
            local_layout(workspace_at("claims"))
        assert caught.value.where == variable
        assert "local drive" in str(caught.value.fix)

    def test_an_unusable_state_root_is_an_error_with_its_fix(self, workspace_at: MakeWorkspace, machine: Path) -> None:
        """A file is in the way of it."""
        (machine / "state").write_text("")

        with pytest.raises(WorkspaceError, match="cannot remember its workspaces") as caught:
            local_layout(workspace_at("claims"))
        assert "DATA_ENGINE_STATE_ROOT" in str(caught.value.fix)
