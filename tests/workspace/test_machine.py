from __future__ import annotations

import socket
import sys
from collections.abc import Callable
from pathlib import Path, PurePosixPath

import pytest

from data_engine.errors import SettingsError, WorkspaceError
from data_engine.platforms.drives import network_file_system
from data_engine.workspace.layout import LocalLayout, WorkspaceLayout, is_workspace
from data_engine.workspace.machine import (
    MachineSettings,
    host_folder_name,
    load_machine_settings,
    machine_id,
    machine_settings_path,
    save_machine_settings,
    state_root,
)

HOST = host_folder_name(socket.gethostname())


def write_settings(text: str) -> Path:
    path = machine_settings_path()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


class TestStateRoot:
    def test_the_variable_goes_before_the_file_and_the_file_before_the_platform(
        self, machine: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Each has a folder per host in it, so that two hosts with one home folder never share a ledger."""
        write_settings(f"state_root = '{machine / 'stored'}'")

        assert state_root() == machine / "state" / HOST
        monkeypatch.delenv("DATA_ENGINE_STATE_ROOT")
        assert state_root() == machine / "stored" / HOST
        machine_settings_path().unlink()
        if sys.platform == "win32":
            assert (
                state_root() == machine / "config" / "data_engine" / HOST
            )  # beside the settings, in the local AppData
        else:
            assert state_root() == machine / "data" / "data_engine" / HOST
            monkeypatch.setenv("XDG_STATE_HOME", str(machine / "xdg"))
            assert state_root() == machine / "xdg" / "data_engine" / HOST

    def test_asking_makes_nothing(self, machine: Path) -> None:
        """Only what is kept makes the folder."""
        assert not state_root().exists()
        assert not machine_settings_path().parent.exists()

    def test_a_relative_path_is_refused(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """It would be another folder to the daemon than to the kernel."""
        monkeypatch.setenv("DATA_ENGINE_STATE_ROOT", "state")

        with pytest.raises(WorkspaceError, match="not an absolute path") as caught:
            state_root()
        assert caught.value.where == "DATA_ENGINE_STATE_ROOT"

    @pytest.mark.parametrize(
        ("path", "kind"),
        [
            ("/home/ann/state", "nfs4"),
            ("/home", "nfs4"),
            ("/homes/ann", None),
            ("/home/ann/local/state", None),
            ("/mnt/share/x", "cifs"),
            ("/auto/x", "fuse.sshfs"),
            ("/var/lib", None),
        ],
    )
    def test_a_network_drive_is_known_by_the_deepest_and_latest_mount(self, path: str, kind: str | None) -> None:
        """A local drive below a network home is local; what is mounted over an automount point counts."""
        mounts = [
            ("/", "ext4"),
            ("/home/ann/local", "xfs"),
            ("/home", "nfs4"),
            ("/mnt/share", "CIFS"),
            ("/auto", "autofs"),
            ("/auto", "fuse.sshfs"),
        ]

        assert network_file_system(PurePosixPath(path), mounts) == kind


class TestMachineId:
    def test_it_is_made_once_per_state_root(self, machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """A new state root is a new machine; the same one keeps its name."""
        first = machine_id()

        assert machine_id() == first
        assert first.startswith(HOST)
        monkeypatch.setenv("DATA_ENGINE_STATE_ROOT", str(machine / "other"))
        assert machine_id() != first

    def test_the_variable_overrides_and_writes_nothing(self, machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Containers give themselves a lasting name this way."""
        monkeypatch.setenv("DATA_ENGINE_MACHINE_ID", " desk 7 ")

        assert machine_id() == "desk 7"
        assert not state_root().exists()

    @pytest.mark.parametrize("name", ["a/b", "a\\b", "..", "x" * 101, "a\tb", "what?"])
    def test_a_name_no_file_can_have_is_refused(self, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
        """The name goes into files other workstations read."""
        monkeypatch.setenv("DATA_ENGINE_MACHINE_ID", name)

        with pytest.raises(WorkspaceError, match="cannot be a machine's name"):
            machine_id()

    def test_a_damaged_file_is_named(self) -> None:
        """An emptied file must not become the name of a machine."""
        machine_id()
        (state_root() / "machine_id").write_text("")

        with pytest.raises(WorkspaceError, match="cannot be a machine's name") as caught:
            machine_id()
        assert "delete that file" in str(caught.value.fix)

    def test_a_file_where_the_state_root_belongs_is_an_error_with_its_fix(self, machine: Path) -> None:
        """No raw OSError reaches the caller."""
        (machine / "state").write_text("")

        with pytest.raises(WorkspaceError, match="cannot be kept"):
            machine_id()


class TestMachineSettings:
    def test_without_the_file_nothing_is_set(self) -> None:
        """A fresh machine works without any settings."""
        assert load_machine_settings() == MachineSettings()

    def test_changes_keep_comments_and_order(self, machine: Path) -> None:
        """The file belongs to a person."""
        team = f"{machine / 'team'}".replace("\\", "\\\\")
        stored = f"{machine / 's'}".replace("\\", "\\\\")
        path = write_settings(f'# mine\ndefault_workspace = "a"  # for now\n\n# where\ncollection_root = "{team}"\n')

        save_machine_settings(default_workspace="b", state_root=machine / "s")
        assert path.read_text() == (
            f'# mine\ndefault_workspace = "b"  # for now\n\n# where\ncollection_root = "{team}"\nstate_root = "{stored}"\n'
        )
        save_machine_settings(default_workspace=None)
        assert load_machine_settings() == MachineSettings(collection_root=machine / "team", state_root=machine / "s")

    def test_the_first_change_makes_the_file(self, machine: Path) -> None:
        """Nobody has to know where it lies."""
        assert save_machine_settings(collection_root=machine) == MachineSettings(collection_root=machine)
        assert load_machine_settings().collection_root == machine

    @pytest.mark.parametrize(
        ("text", "said"),
        [
            ("default_workspace = 3", "default_workspace is 3"),
            ('collection_root = "team"', "not an absolute path"),
            ("default_workspace = ", "not a TOML file"),
            ("\xff", "not a TOML file"),
        ],
    )
    def test_a_wrong_value_is_named_with_its_file(self, text: str, said: str) -> None:
        """Read, it is an error; changed, the file stays as it was."""
        path = write_settings(text)

        with pytest.raises(SettingsError, match=said) as caught:
            load_machine_settings()
        assert str(path) in str(caught.value.where)
        assert caught.value.fix
        with pytest.raises(SettingsError):
            save_machine_settings(state_root="/x")
        assert path.read_text(encoding="utf-8") == text

    def test_a_misspelt_key_is_a_warning_when_read_and_an_error_when_set(self) -> None:
        """Both name the key that was probably meant."""
        path = write_settings('colection_root = "/team"')

        assert load_machine_settings().warnings == (
            f'{path}, line 1: unknown setting "colection_root", which is ignored: did you mean "collection_root"? '
            "Above the sections are collection_root, default_workspace, state_root",
        )
        with pytest.raises(SettingsError, match='"default_workspace"'):
            save_machine_settings(default_work="x")

    def test_a_misspelt_key_of_the_daemon_is_told_too(self) -> None:
        """Else nobody would know that requests are still taken."""
        path = write_settings('[daemon]\nrequest = "off"\n')

        (warning,) = load_machine_settings().warnings

        assert warning.startswith(
            f'{path}, line 2: unknown setting "daemon.request", which is ignored: did you mean "daemon.requests"?'
        )

    def test_a_folder_instead_of_the_file_is_an_error_with_its_fix(self) -> None:
        """No raw IsADirectoryError."""
        machine_settings_path().mkdir(parents=True)

        with pytest.raises(SettingsError, match="cannot be read"):
            load_machine_settings()


def test_every_path_of_a_workspace_follows_from_its_root() -> None:
    """One value names them all, without looking at the drive."""
    layout = WorkspaceLayout(Path("/team/claims"))

    assert {name: getattr(layout, name) for name in dir(layout) if name.endswith(("_dir", "_path"))} == {
        "config_dir": Path("/team/claims/config"),
        "databases_dir": Path("/team/claims/databases"),
        "flow_helpers_dir": Path("/team/claims/flow_modules/flow_helpers"),
        "flow_modules_dir": Path("/team/claims/flow_modules"),
        "gitignore_path": Path("/team/claims/.gitignore"),
        "identity_path": Path("/team/claims/.workspace_state/identity.json"),
        "settings_path": Path("/team/claims/config/data_engine.toml"),
        "vscode_settings_path": Path("/team/claims/.vscode/settings.json"),
        "workspace_state_dir": Path("/team/claims/.workspace_state"),
    }


def test_two_workspaces_of_one_machine_share_no_path() -> None:
    """Everything machine-local is below the identity; only the artifacts root is common."""
    one, two = (LocalLayout(Path("/s"), identity=identity, workspace_id="claims") for identity in ("aa", "bb"))
    names = [name for name in dir(one) if name.endswith(("_dir", "_path")) and name != "artifacts_dir"]

    assert len(names) >= 9
    for name in names:
        assert "aa" in getattr(one, name).parts, name
        assert "bb" in getattr(two, name).parts, name


def test_a_workspace_is_a_folder_with_flow_modules(
    workspace_at: Callable[[str], WorkspaceLayout], tmp_path: Path
) -> None:
    """A file of that name does not make one."""
    (tmp_path / "odd").mkdir()
    (tmp_path / "odd" / "flow_modules").touch()

    assert is_workspace(workspace_at("claims").root)
    assert not is_workspace(tmp_path / "odd")
    assert not is_workspace(tmp_path / "missing")
