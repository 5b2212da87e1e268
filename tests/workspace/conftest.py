"""Every test has a machine of its own: a settings folder, a state root, and none of our variables."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from data_engine.workspace.layout import WorkspaceLayout


@pytest.fixture(autouse=True)
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder this test's machine keeps its things in."""
    for name in [name for name in os.environ if name.startswith(("DATA_ENGINE_", "XDG_", "JPY_"))]:
        monkeypatch.delenv(name)
    home = tmp_path / "machine"
    monkeypatch.setenv("XDG_CONFIG_HOME", str(home / "config"))
    monkeypatch.setenv("WIN_PD_OVERRIDE_LOCAL_APPDATA", str(home / "config"))
    monkeypatch.setenv("XDG_DATA_HOME", str(home / "data"))
    monkeypatch.setenv("DATA_ENGINE_STATE_ROOT", str(home / "state"))
    elsewhere = home / "elsewhere"
    elsewhere.mkdir(parents=True)
    monkeypatch.chdir(elsewhere)
    return home


@pytest.fixture
def workspace_at(tmp_path: Path) -> Callable[[str], WorkspaceLayout]:
    """Makes the smallest workspace at a path below the test's folder."""

    def make(name: str) -> WorkspaceLayout:
        layout = WorkspaceLayout(tmp_path / name)
        layout.flow_modules_dir.mkdir(parents=True)
        return layout

    return make


@pytest.fixture
def mount(tmp_path: Path) -> Iterator[Callable[..., None]]:
    """Runs `mount` with the given arguments; the last is the mount point. Skips where mounting is not allowed."""
    import subprocess

    mounted: list[str] = []

    def run(*arguments: str | Path) -> None:
        try:
            subprocess.run(["mount", *map(str, arguments)], check=True, capture_output=True)
        except (OSError, subprocess.CalledProcessError) as error:
            pytest.skip(f"mounting is not allowed here: {error}")
        mounted.append(str(arguments[-1]))

    yield run
    for point in reversed(dict.fromkeys(mounted)):
        while subprocess.run(["umount", point], check=False, capture_output=True).returncode == 0:
            pass
