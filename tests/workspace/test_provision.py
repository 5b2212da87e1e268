from __future__ import annotations

import ast
import json
import os
import shutil
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from data_engine.errors import InvalidWorkspaceIdError, WorkspaceError
from data_engine.workspace.layout import WorkspaceLayout
from data_engine.workspace.provision import example_notebook, provision_workspace
from data_engine.workspace.settings import DEFAULT_SETTINGS_TEXT
from tests.support import examples

WHOLE = {
    ".vscode",
    ".vscode/settings.json",
    "claims",
    "claims/.gitignore",
    "claims/.vscode",
    "claims/.vscode/settings.json",
    "claims/config",
    "claims/config/data_engine.toml",
    "claims/databases",
    "claims/flow_modules",
    "claims/flow_modules/example.ipynb",
    "claims/flow_modules/flow_helpers",
    "claims/flow_modules/flow_helpers/__init__.py",
}


def tree(root: Path) -> dict[str, tuple[int, bytes]]:
    """Every entry below `root` with its mode and its bytes (of a link, its target)."""
    found = {}
    for path in root.rglob("*"):
        content = os.readlink(path).encode() if path.is_symlink() else path.read_bytes() if path.is_file() else b""
        found[path.relative_to(root).as_posix()] = (path.lstat().st_mode, content)
    return found


@pytest.fixture(autouse=True)
def collection(machine: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """This machine's workspaces lie in `team`, and one is there already."""
    monkeypatch.setenv("DATA_ENGINE_WORKSPACE_COLLECTION_ROOT", str(tmp_path / "team"))
    monkeypatch.setattr("data_engine.workspace.select.discover_workspaces", lambda folder: (WorkspaceLayout(tmp_path),))


class TestANewWorkspace:
    def test_it_is_whole(self, tmp_path: Path) -> None:
        """Folders, settings, ignore file, editor settings at both roots, one example."""
        made = provision_workspace(tmp_path / "team" / "claims")

        assert set(tree(tmp_path / "team")) == WHOLE
        assert {path.relative_to(tmp_path / "team").as_posix() for path in made.created} == WHOLE | {"."}
        assert (made.root, made.preserved, made.skipped) == (tmp_path / "team" / "claims", (), ())
        assert ".workspace_state/" in (made.root / ".gitignore").read_text().splitlines()
        assert (made.root / "config" / "data_engine.toml").read_text() == DEFAULT_SETTINGS_TEXT

    def test_beside_it_nothing_is_written_where_the_folder_is_not_known_for_workspaces(self, tmp_path: Path) -> None:
        """A home folder, or a project of somebody else's."""
        made = provision_workspace(tmp_path / "home" / "claims")

        assert set(tree(tmp_path / "home")) == WHOLE - {".vscode", ".vscode/settings.json"}
        assert all(path.is_relative_to(made.root) for path in made.created if path != tmp_path / "home")

    def test_again_makes_nothing(self, tmp_path: Path) -> None:
        """And counts what is there."""
        first = provision_workspace(tmp_path / "claims")
        before = tree(tmp_path)
        second = provision_workspace(tmp_path / "claims")

        assert second.created == ()
        assert set(second.preserved) == set(first.created) - {second.root / "flow_modules" / "example.ipynb"}
        assert tree(tmp_path) == before

    @pytest.mark.skipif(
        sys.platform == "win32", reason="modes of POSIX; on Windows a file takes its folder's access list"
    )
    def test_a_colleague_can_read_and_change_it(self, tmp_path: Path) -> None:
        """Files get the mode the umask gives, not a private one."""
        umask = os.umask(0o002)
        try:
            made = provision_workspace(tmp_path / "claims")
        finally:
            os.umask(umask)

        assert {stat.S_IMODE(path.stat().st_mode) for path in made.created if path.is_file()} == {0o664}

    def test_a_relative_path_is_from_the_working_directory(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """As for every command."""
        monkeypatch.chdir(tmp_path)

        assert provision_workspace("claims").root == tmp_path / "claims"

    def test_the_editor_is_told_of_both_roots(self, tmp_path: Path) -> None:
        """In terms of the opened folder, because a colleague has the share mounted elsewhere."""
        provision_workspace(tmp_path / "team" / "claims")
        own = json.loads((tmp_path / "team" / "claims" / ".vscode" / "settings.json").read_text())
        beside = json.loads((tmp_path / "team" / ".vscode" / "settings.json").read_text())

        for system in ("linux", "osx", "windows"):
            assert own[f"terminal.integrated.env.{system}"] == {
                "DATA_ENGINE_WORKSPACE_ROOT": "${workspaceFolder}",
                "DATA_ENGINE_WORKSPACE_ID": "claims",
            }
            assert beside[f"terminal.integrated.env.{system}"] == {
                "DATA_ENGINE_WORKSPACE_COLLECTION_ROOT": "${workspaceFolder}"
            }
        assert own["files.exclude"] == own["search.exclude"] == {".workspace_state": True}
        assert beside["files.exclude"] == beside["search.exclude"] == {"**/.workspace_state": True}
        assert own["python.analysis.extraPaths"] == ["${workspaceFolder}/flow_modules"]

    @pytest.mark.parametrize(
        ("python", "own", "beside"),
        [
            ("claims/.venv/bin/python", ".venv/bin/python", "claims/.venv/bin/python"),
            ("claims/.venv/Scripts/pythonw.exe", ".venv/Scripts/python.exe", "claims/.venv/Scripts/python.exe"),
            ("env/bin/python", None, "env/bin/python"),
            ("../elsewhere/bin/python", None, None),
        ],
    )
    def test_it_is_told_of_a_python_inside_the_folder_alone(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, python: str, own: str | None, beside: str | None
    ) -> None:
        """Any other is this machine's own, which the others that open the folder do not have."""
        monkeypatch.setattr(sys, "executable", os.path.abspath(tmp_path / "team" / python))
        provision_workspace(tmp_path / "team" / "claims")

        for folder, expected in ((tmp_path / "team" / "claims", own), (tmp_path / "team", beside)):
            text = (folder / ".vscode" / "settings.json").read_text()
            told = json.loads(text).get("python.defaultInterpreterPath")
            assert told == (expected and f"${{workspaceFolder}}/{expected}")
            assert str(tmp_path) not in text


class TestTheExample:
    def test_it_is_a_valid_notebook(self) -> None:
        """By the format's own schema, without a missing cell id."""
        import nbformat

        nbformat.validate(json.loads(example_notebook()))

    def test_it_says_of_python_what_the_kernel_says(self) -> None:
        """So JupyterLab changes nothing when it opens it, and it does not count as unsaved."""
        from ipykernel.ipkernel import IPythonKernel

        assert json.loads(example_notebook())["metadata"]["language_info"] == IPythonKernel.language_info

    def test_its_steps_make_and_add_up_a_frame(self) -> None:
        """The code a person first sees does what it says; `build` exists and the last cell looks at its result."""
        cells = ["".join(c["source"]) for c in json.loads(example_notebook())["cells"] if c["cell_type"] == "code"]
        code = "\n".join(cells[:-1])
        definitions = [node for node in ast.parse(code).body if not isinstance(node, ast.ImportFrom)]
        names: dict[str, Any] = {}
        exec(compile(ast.Module(definitions, []), "example", "exec"), names)

        sales = names["make_sales"](SimpleNamespace())
        totals = names["add_up"](SimpleNamespace(current=sales))
        assert totals.to_dicts() == [{"product": "coffee", "amount": 4.5}, {"product": "tea", "amount": 5.5}]
        assert "build" in names
        assert cells[-1] == 'build().preview(use="totals")'

    @pytest.mark.parametrize("module", ["mine.ipynb", "mine.py"])
    def test_it_is_not_added_beside_a_module(self, module: str, tmp_path: Path) -> None:
        """Whoever has a flow needs none."""
        (tmp_path / "claims" / "flow_modules").mkdir(parents=True)
        (tmp_path / "claims" / "flow_modules" / module).touch()
        provision_workspace(tmp_path / "claims")

        assert not (tmp_path / "claims" / "flow_modules" / "example.ipynb").exists()

    def test_it_can_be_left_out(self, tmp_path: Path) -> None:
        """For scripts."""
        made = provision_workspace(tmp_path / "claims", example=False)

        assert list((made.root / "flow_modules").iterdir()) == [made.root / "flow_modules" / "flow_helpers"]


class TestNothingIsOverwritten:
    @settings(deadline=None, max_examples=examples(15), suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(
        there=st.dictionaries(
            st.sampled_from(sorted(WHOLE | {"claims/notes.txt", "claims/flow_modules/mine.py", ".hidden"})),
            st.binary(max_size=20),
        )
    )
    def test_whatever_was_there(self, there: dict[str, bytes], tmp_path: Path) -> None:
        """Any part of a workspace may exist with any content; the rest is added, or everything stays as it was."""
        shutil.rmtree(tmp_path / "team", ignore_errors=True)
        (tmp_path / "team").mkdir()
        for name, content in sorted(there.items(), reverse=True):
            path = tmp_path / "team" / name
            if not path.exists():
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(content)
        before = tree(tmp_path / "team")

        try:
            provision_workspace(tmp_path / "team" / "claims")
        except WorkspaceError:
            assert tree(tmp_path / "team") == before
        else:
            after = tree(tmp_path / "team")
            assert {name: after[name] for name in before} == before
            assert set(after) >= WHOLE - {"claims/flow_modules/example.ipynb"}

    def test_links_are_followed_and_kept(self, tmp_path: Path) -> None:
        """A team may keep its editor settings or its databases elsewhere."""
        (tmp_path / "big").mkdir()
        (tmp_path / "shared.json").write_text("{}")
        (tmp_path / "claims" / ".vscode").mkdir(parents=True)
        (tmp_path / "claims" / "databases").symlink_to(tmp_path / "big")
        (tmp_path / "claims" / ".vscode" / "settings.json").symlink_to(tmp_path / "shared.json")
        before = tree(tmp_path)
        provision_workspace(tmp_path / "claims")

        after = tree(tmp_path)
        assert {name: after[name] for name in before} == before


class TestInTheWay:
    @pytest.mark.parametrize(
        ("place", "kind"),
        [
            ("team", "file"),
            ("team/claims", "file"),
            ("team/claims/flow_modules", "file"),
            ("team/claims/flow_modules/flow_helpers", "file"),
            ("team/claims/config", "file"),
            ("team/claims/databases", "file"),
            ("team/claims/.vscode", "file"),
            ("team/.vscode", "file"),
            ("team/claims/config/data_engine.toml", "folder"),
            ("team/claims/.gitignore", "folder"),
            ("team/.vscode/settings.json", "folder"),
            ("team/claims", "link"),
            ("team/claims/.gitignore", "link"),
        ],
    )
    def test_it_is_named_and_nothing_is_made(self, place: str, kind: str, tmp_path: Path) -> None:
        """Found before the first folder is made."""
        path = tmp_path / place
        path.parent.mkdir(parents=True, exist_ok=True)
        if kind == "file":
            path.write_text("mine")
        elif kind == "folder":
            path.mkdir()
        else:
            path.symlink_to("nowhere")
        before = tree(tmp_path)

        with pytest.raises(WorkspaceError, match=f"{kind}.*, where a") as caught:
            provision_workspace(tmp_path / "team" / "claims")
        assert caught.value.where == str(path)
        assert tree(tmp_path) == before

    @pytest.mark.parametrize("path", ["", " ", "a\0b"])
    def test_what_is_no_path_is_refused(self, path: str) -> None:
        """Neither the working directory nor a raw ValueError."""
        with pytest.raises(WorkspaceError, match="is not a path"):
            provision_workspace(path)

    def test_the_root_of_a_drive_has_no_id(self) -> None:
        """A workspace's folder name is its id."""
        with pytest.raises(InvalidWorkspaceIdError):
            provision_workspace("/")

    def test_a_name_the_drive_refuses_is_an_error_with_its_fix(self, tmp_path: Path) -> None:
        """Too long; nothing half made."""
        before = tree(tmp_path)

        with pytest.raises(WorkspaceError, match="is not a path"):
            provision_workspace(tmp_path / "team" / ("x" * 300))
        assert tree(tmp_path) == before


class TestReadOnly:
    def read_only(self, folder: Path, mount: Callable[..., None]) -> None:
        mount("--bind", folder, folder)
        mount("-o", "remount,ro,bind", folder)

    def test_a_read_only_parent_is_an_error(self, tmp_path: Path, mount: Callable[..., None]) -> None:
        """Nothing can be made there."""
        (tmp_path / "team").mkdir()
        self.read_only(tmp_path / "team", mount)

        with pytest.raises(WorkspaceError, match="cannot be made") as caught:
            provision_workspace(tmp_path / "team" / "claims")
        assert "may write to" in str(caught.value.fix)

    def test_what_was_made_before_the_failure_is_taken_away(self, tmp_path: Path, mount: Callable[..., None]) -> None:
        """The `config` folder is read-only, so the settings file fails after folders and files were made."""
        layout = WorkspaceLayout(tmp_path / "team" / "claims")
        layout.config_dir.mkdir(parents=True)
        (layout.config_dir / "rates.toml").write_text("a = 1")
        self.read_only(layout.config_dir, mount)
        before = tree(tmp_path)

        with pytest.raises(WorkspaceError, match="cannot be made"):
            provision_workspace(layout.root)
        assert tree(tmp_path) == before

    def test_a_full_drive_leaves_nothing_half_made(self, tmp_path: Path, mount: Callable[..., None]) -> None:
        """The drive has room for some of the files only."""
        (tmp_path / "small").mkdir()
        mount("-t", "tmpfs", "-o", "nr_inodes=10", "none", tmp_path / "small")

        with pytest.raises(WorkspaceError, match="cannot be made"):
            provision_workspace(tmp_path / "small" / "claims")
        assert tree(tmp_path / "small") == {}

    def test_a_whole_workspace_on_a_read_only_drive_is_fine(self, tmp_path: Path, mount: Callable[..., None]) -> None:
        """There is nothing to add."""
        (tmp_path / "team").mkdir()
        provision_workspace(tmp_path / "team" / "claims")
        self.read_only(tmp_path / "team", mount)

        assert provision_workspace(tmp_path / "team" / "claims").created == ()

    def test_a_read_only_collection_only_misses_its_editor_settings(
        self, tmp_path: Path, mount: Callable[..., None]
    ) -> None:
        """A folder of one's own in an administrator's folder can become a workspace; what is missing is told."""
        team = tmp_path / "team"
        (team / "claims").mkdir(parents=True)
        self.read_only(team, mount)
        mount("-t", "tmpfs", "none", team / "claims")
        made = provision_workspace(team / "claims")

        assert made.skipped == (team / ".vscode", team / ".vscode" / "settings.json")
        assert set(tree(team)) == WHOLE - {".vscode", ".vscode/settings.json"}


@pytest.mark.skipif(shutil.which("mount") is None, reason="nothing is mounted here")
def test_nothing_of_the_tests_stays_mounted(tmp_path: Path) -> None:
    """The fixture's own promise."""
    mounted = subprocess.run(["mount"], capture_output=True, text=True, check=False).stdout

    assert str(tmp_path.parent) not in mounted
