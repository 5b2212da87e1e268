"""What is for one user alone on Windows: an access list on the root, which all inside takes. `tests/files/test_private.py` is its twin."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from data_engine import private
from data_engine.platforms import access

pytestmark = pytest.mark.skipif(
    sys.platform != "win32", reason="access lists of Windows; modes are tested in tests/files"
)


def lists_are_kept(folder: Path) -> bool:
    """Whether the drive keeps the list that it is given. Wine makes a mode of it, and a list of that."""
    folder.mkdir()
    access.close(folder, os.stat(folder))
    everyone = subprocess.run(["icacls", str(folder), "/grant", "*S-1-1-0:R"], capture_output=True, check=False)
    return not everyone.returncode and access.is_open(folder, os.stat(folder))


def test_a_root_that_others_can_enter_is_closed_and_what_is_made_in_it_too(tmp_path: Path) -> None:
    if not lists_are_kept(tmp_path / "probe"):
        pytest.skip("this drive keeps no access lists (Wine)")
    root = tmp_path / "root"
    root.mkdir()
    subprocess.run(["icacls", str(root), "/grant", "*S-1-1-0:(OI)(CI)R"], check=True, capture_output=True)
    assert private.told(root)

    private.settle(root)
    (root / "file").touch()

    assert private.told(root) == []
    assert not access.is_open(root / "file", os.stat(root / "file"))


def test_it_is_this_users(tmp_path: Path) -> None:
    """And stays usable: a list that shut its owner out would be worse than none."""
    root = tmp_path / "root"
    private.settle(root)
    (root / "file").write_text("mine")

    assert access.owner(root, os.stat(root)) is None
    assert (root / "file").read_text() == "mine"
    assert private.fix(root) == []
