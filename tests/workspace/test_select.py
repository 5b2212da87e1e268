from __future__ import annotations

import sys
import types
from collections.abc import Callable
from pathlib import Path

import pytest

from data_engine.errors import InvalidWorkspaceIdError, WorkspaceError
from data_engine.workspace.layout import WorkspaceLayout
from data_engine.workspace.machine import MachineSettings, load_machine_settings, save_machine_settings
from data_engine.workspace.select import check_workspace_id, discover_workspaces, select_workspace, use_workspace

MakeWorkspace = Callable[[str], WorkspaceLayout]


@pytest.fixture
def team(workspace_at: MakeWorkspace, tmp_path: Path) -> Path:
    """A collection of three workspaces and other things."""
    for name in ("claims", "sales", "alpha", ".hidden"):
        workspace_at(f"team/{name}")
    (tmp_path / "team" / "notes").mkdir()
    (tmp_path / "team" / "readme.txt").touch()
    return tmp_path / "team"


class TestDiscovery:
    def test_children_with_flow_modules_are_found_by_name(self, team: Path) -> None:
        """Hidden folders, other folders and files are none."""
        assert [layout.root for layout in discover_workspaces(team)] == [
            team / name for name in ("alpha", "claims", "sales")
        ]

    def test_a_workspace_is_its_own_only_one(self, team: Path) -> None:
        """A collection root that is a workspace means that workspace."""
        assert discover_workspaces(team / "claims") == (WorkspaceLayout(team / "claims"),)

    @pytest.mark.parametrize("name", ["missing", "readme.txt", "notes"])
    def test_nothing_is_found_in(self, name: str, team: Path) -> None:
        """Neither is an error."""
        assert discover_workspaces(team / name) == ()


class TestPrecedence:
    def test_each_level_decides_once_those_before_it_are_silent(
        self, workspace_at: MakeWorkspace, team: Path, monkeypatch: pytest.MonkeyPatch, machine: Path
    ) -> None:
        """Explicit, notebook, root variable, working directory, collection with id, with default."""
        explicit, notebook, variable, cwd = (workspace_at(name) for name in ("explicit", "notebook", "variable", "cwd"))
        (notebook.flow_modules_dir / "a.ipynb").touch()
        shell = types.SimpleNamespace(kernel=1, user_ns={}, starting_dir=str(notebook.flow_modules_dir))
        ipython = types.ModuleType("IPython")
        ipython.get_ipython = lambda: shell  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, "IPython", ipython)
        monkeypatch.setenv("JPY_SESSION_NAME", "a.ipynb")
        monkeypatch.setenv("DATA_ENGINE_WORKSPACE_ROOT", str(variable.root))
        monkeypatch.chdir(cwd.flow_modules_dir)
        monkeypatch.setenv("DATA_ENGINE_WORKSPACE_COLLECTION_ROOT", str(team))
        monkeypatch.setenv("DATA_ENGINE_WORKSPACE_ID", "sales")
        save_machine_settings(collection_root=workspace_at("stored/claims").root.parent, default_workspace="claims")

        assert select_workspace(explicit.root) == explicit
        assert select_workspace() == notebook
        monkeypatch.delitem(sys.modules, "IPython")
        assert select_workspace() == variable
        monkeypatch.delenv("DATA_ENGINE_WORKSPACE_ROOT")
        assert select_workspace() == cwd
        monkeypatch.chdir(machine)
        assert select_workspace().root == team / "sales"
        monkeypatch.delenv("DATA_ENGINE_WORKSPACE_ID")
        assert select_workspace().root == team / "claims"
        monkeypatch.delenv("DATA_ENGINE_WORKSPACE_COLLECTION_ROOT")
        assert select_workspace().root == team.parent / "stored" / "claims"

    def test_the_only_workspace_of_a_collection_needs_no_name(
        self, workspace_at: MakeWorkspace, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Most people have one."""
        only = workspace_at("mine/claims")
        monkeypatch.setenv("DATA_ENGINE_WORKSPACE_COLLECTION_ROOT", str(only.root.parent))

        assert select_workspace() == only

    def test_relative_and_home_paths_are_understood(
        self, workspace_at: MakeWorkspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The layout's root is absolute."""
        layout = workspace_at("claims")
        monkeypatch.chdir(tmp_path)
        monkeypatch.setenv("USERPROFILE" if sys.platform == "win32" else "HOME", str(tmp_path))

        assert select_workspace("claims") == layout
        assert select_workspace("~/claims") == layout
        assert select_workspace(str(layout.root / "config" / "..")) == layout


class TestNothingSilent:
    def test_when_nothing_names_one_the_error_tells_the_ways(self) -> None:
        """Every way a person can go is in the fix."""
        with pytest.raises(WorkspaceError, match="no workspace is named") as caught:
            select_workspace()
        for way in ("--workspace PATH", "workspace use PATH", "workspace create PATH"):
            assert way in str(caught.value.fix)

    @pytest.mark.parametrize("variable", [True, False])
    def test_a_missing_id_names_those_that_exist(
        self, variable: bool, team: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The older product took the first one silently."""
        save_machine_settings(collection_root=team, default_workspace=None if variable else "clams")
        if variable:
            monkeypatch.setenv("DATA_ENGINE_WORKSPACE_ID", "clams")

        with pytest.raises(WorkspaceError, match='has no workspace "clams"') as caught:
            select_workspace()
        assert "alpha, claims, sales" in str(caught.value.fix)
        assert ("DATA_ENGINE_WORKSPACE_ID" if variable else "default_workspace") in str(caught.value.where)

    def test_several_without_a_choice_are_named(self, team: Path) -> None:
        """None is taken at random."""
        save_machine_settings(collection_root=team)

        with pytest.raises(WorkspaceError, match="3 workspaces and none is chosen") as caught:
            select_workspace()
        assert "alpha, claims, sales" in str(caught.value.fix)

    def test_a_wrong_variable_is_an_error_not_a_reason_to_look_elsewhere(
        self, workspace_at: MakeWorkspace, team: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Else a typing mistake runs another workspace's flows."""
        monkeypatch.chdir(workspace_at("cwd").root)
        monkeypatch.setenv("DATA_ENGINE_WORKSPACE_ROOT", str(team / "clams"))

        with pytest.raises(WorkspaceError, match="clams does not exist") as caught:
            select_workspace()
        assert caught.value.where == "DATA_ENGINE_WORKSPACE_ROOT"

    def test_an_empty_collection_is_an_error(self, tmp_path: Path) -> None:
        """A share that is away looks empty."""
        save_machine_settings(collection_root=tmp_path / "away")

        with pytest.raises(WorkspaceError, match="holds no workspace or cannot be reached"):
            select_workspace()

    @pytest.mark.parametrize(
        ("path", "said", "fix"),
        [
            ("claims/flow_modules", "inside a workspace", "team/claims"),
            (".", "a folder of workspaces", "alpha, claims, sales"),
            ("notes", "has no flow_modules folder", "workspace create"),
            ("readme.txt", "is a file", "folder"),
            ("nowhere", "does not exist", "correct the path"),
        ],
    )
    def test_an_explicit_path_that_is_none_tells_what_it_is(self, path: str, said: str, fix: str, team: Path) -> None:
        """And the nearest right thing to give."""
        with pytest.raises(WorkspaceError, match=said) as caught:
            select_workspace(team / path)
        assert fix in str(caught.value.fix).replace("\\", "/")

    @pytest.mark.parametrize("path", ["", "  ", "a\0b"])
    def test_what_is_no_path_at_all_is_an_error(self, path: str) -> None:
        """Neither the working directory nor a ValueError of the system."""
        for call in (select_workspace, discover_workspaces):
            with pytest.raises(WorkspaceError, match="is not a path"):
                call(path)

    @pytest.mark.skipif(sys.platform == "win32", reason="no working directory can be removed there")
    def test_a_working_directory_that_is_gone_is_an_error_with_its_fix(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """No raw FileNotFoundError."""
        gone = tmp_path / "gone"
        gone.mkdir()
        monkeypatch.chdir(gone)
        gone.rmdir()

        with pytest.raises(WorkspaceError, match="working directory no longer exists"):
            select_workspace()


class TestUse:
    def test_a_path_is_kept_as_collection_and_default(self, team: Path) -> None:
        """From then on it is selected where nothing nearer names one."""
        use_workspace(team / "claims")

        assert load_machine_settings() == MachineSettings(collection_root=team, default_workspace="claims")
        assert select_workspace().root == team / "claims"

    def test_an_id_changes_the_default_of_the_collection(self, team: Path) -> None:
        """Also when the working directory has a folder of that name."""
        use_workspace(team / "claims")
        Path("sales/flow_modules").mkdir(parents=True)
        use_workspace("sales")

        assert select_workspace().root == team / "sales"

    def test_a_plain_name_may_be_a_folder_here(self, workspace_at: MakeWorkspace, team: Path, tmp_path: Path) -> None:
        """When the collection has none of that name."""
        use_workspace(team / "claims")
        Path("mine/flow_modules").mkdir(parents=True)

        assert use_workspace("mine").root == Path("mine").absolute()

    def test_a_wrong_one_changes_nothing(self, team: Path, tmp_path: Path) -> None:
        """And names those that exist."""
        use_workspace(team / "claims")
        before = load_machine_settings()

        with pytest.raises(WorkspaceError, match="neither a workspace") as caught:
            use_workspace("clams")
        assert "alpha, claims, sales" in str(caught.value.fix)
        with pytest.raises(WorkspaceError, match="does not exist"):
            use_workspace(tmp_path / "nowhere")
        assert load_machine_settings() == before


@pytest.mark.parametrize("text", ["", "  ", ".", "..", "a/b", "a\\b", "a\0", None, 3])
def test_an_id_that_is_no_folder_name_is_refused(text: object) -> None:
    """A wrong type too, never a raw TypeError."""
    with pytest.raises(InvalidWorkspaceIdError, match="cannot be a workspace id"):
        check_workspace_id(text)
