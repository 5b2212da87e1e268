"""Where a relative path points, how it is remembered, and that a name never leaves its root."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import data_engine
from data_engine import Flow, FlowValidationError
from data_engine.flow.paths import author_path, inside, loading_module_folder, module_folder, portable_text
from data_engine.platforms.names import why_foreign
from tests.flow.running import failing

PACKAGE_PARENT = Path(data_engine.__file__).parent.parent

not_on_windows = pytest.mark.skipif(sys.platform == "win32", reason="Windows takes such names")


def resolved(text: Any) -> Path:
    return author_path(text, where="test").path


def test_relative_means_the_working_directory_outside_of_flow_modules(tmp_path: Path) -> None:
    """A bare script or notebook: as everywhere in Python. The tests' working directory is `here`."""
    assert resolved("in/a.csv") == Path.cwd() / "in/a.csv"


def test_relative_means_the_module_folder_while_a_module_loads(tmp_path: Path) -> None:
    """Whatever the working directory; for source, mirror and collect alike."""
    with module_folder(tmp_path / "ws/flow_modules"):
        flow = Flow("G").watch(mode="manual", source="../in").mirror(root="../../out").collect(".csv", root="here")

    assert flow.trigger is not None
    assert flow.trigger.source == tmp_path / "ws/in"
    assert flow.mirror_spec is not None
    assert flow.mirror_spec.root == tmp_path / "out"
    assert flow.steps[0].fn.root.path == tmp_path / "ws/flow_modules/here"  # type: ignore[attr-defined]


def test_the_module_folder_ends_with_its_block_also_on_an_error(tmp_path: Path) -> None:
    """Nested loads give the outer folder back."""

    def load_and_fail() -> None:
        with module_folder(tmp_path / "b"):
            assert loading_module_folder() == tmp_path / "b"
            raise ZeroDivisionError

    with module_folder(tmp_path / "a"):
        with pytest.raises(ZeroDivisionError):
            load_and_fail()
        assert loading_module_folder() == tmp_path / "a"
    assert loading_module_folder() is None


def test_a_script_in_flow_modules_is_relative_to_that_folder(tmp_path: Path) -> None:
    """Run from anywhere: `python ws/flow_modules/claims.py` means what the daemon means."""
    script = tmp_path / "ws/flow_modules/claims.py"
    script.parent.mkdir(parents=True)
    script.write_text(
        "from data_engine import Flow\nprint(Flow('G').watch(mode='manual', source='../in').trigger.source)\n",
        encoding="utf-8",
    )

    done = subprocess.run(
        [sys.executable, str(script)],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(PACKAGE_PARENT)},
        capture_output=True,
        text=True,
        check=True,
    )

    assert done.stdout.strip() == str(tmp_path / "ws/in")


def test_absolute_paths_stay_and_home_is_expanded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`~` means this person's home here, and stays `~` in what is remembered."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))

    authored = author_path("~/in", where="test")

    assert authored.path == tmp_path / "in"
    assert authored.text == "~/in"
    assert resolved(tmp_path / "x") == tmp_path / "x"


def test_links_are_followed(tmp_path: Path) -> None:
    """Two spellings of one folder are one folder."""
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")

    assert resolved(tmp_path / "link/a.csv") == tmp_path / "real/a.csv"


@pytest.mark.parametrize(
    ("written", "remembered"),
    [
        ("../in", "../in"),
        ("../in/", "../in"),
        ("..\\in\\", "../in"),
        ("in//x/./y", "in/x/y"),
        ("./in", "in"),
        (".", "."),
        ("/", "/"),
        ("\\\\server\\share\\in", "//server/share/in"),
        ("C:\\data\\in", "C:/data/in"),
        ("cafe\u0301", "caf\u00e9"),
        (Path("a/b"), "a/b"),
    ],
)
def test_all_workstations_remember_one_text(written: Any, remembered: str) -> None:
    """Forward slashes, NFC, nothing doubled or trailing."""
    assert portable_text(written) == remembered
    if why_foreign(str(written)) is None:
        assert author_path(written, where="test").text == remembered


@pytest.mark.skipif(sys.platform == "win32", reason="these are paths there")
@pytest.mark.parametrize("written", ["C:\\data\\in", "c:/data/in", "\\\\server\\share\\in"])
def test_a_path_of_windows_is_none_elsewhere(written: str) -> None:
    """Not a folder of that name below flow_modules, which nobody would ever fill."""
    with pytest.raises(FlowValidationError, match="is a path of Windows, and cannot exist on this machine"):
        Flow("G").watch(mode="manual", source=written)
    with pytest.raises(FlowValidationError, match="is a path of Windows"):
        Flow("G").mirror(root=written)


@given(st.text(min_size=1))
def test_the_remembered_text_is_stable(text: str) -> None:
    """Remembering what is remembered changes nothing."""
    assert portable_text(portable_text(text)) == portable_text(text)


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("", "blank"),
        ("  ", "blank"),
        ("a\0b", "impossible"),
        (5, "a path cannot be int"),
        (None, "a path cannot be NoneType"),
        (b"/in", "a path cannot be bytes"),
        (["/in"], "a path cannot be list"),
        pytest.param("~nobody-has-this-name/x", "cannot be resolved", marks=not_on_windows),
        pytest.param("\ud800", "cannot be resolved", marks=not_on_windows),
    ],
)
def test_what_is_no_path_is_refused(value: Any, words: str) -> None:
    """The error names the option, also in `mirror` and `collect`."""
    assert words in failing(lambda: author_path(value, where="test")).what
    error = failing(lambda: Flow("G").mirror(root=value))
    assert words in error.what
    assert error.where == "Flow.mirror(root=...)"
    if value is not None:
        assert failing(lambda: Flow("G").collect(".csv", root=value)).where == "Flow.collect(root=...)"


def test_a_link_that_leads_to_itself_is_refused(tmp_path: Path) -> None:
    """No raw RuntimeError."""
    (tmp_path / "loop").symlink_to(tmp_path / "loop")

    assert "cannot be resolved" in failing(lambda: author_path(tmp_path / "loop", where="test")).what


# -- names inside a root -----------------------------------------------------------------------------------------------


def test_names_inside_the_root_are_allowed(tmp_path: Path) -> None:
    """Sub-folders, `..` that stays inside, path objects, dots in names."""
    start = tmp_path / "a"
    for name, path in [
        ("n.json", "a/n.json"),
        ("sub/n.json", "a/sub/n.json"),
        ("../n.json", "n.json"),
        ("sub/../../n.json", "n.json"),
        ("..n.json", "a/..n.json"),
        ("./n.json", "a/n.json"),
        (Path("x/y"), "a/x/y"),
    ]:
        assert inside(tmp_path, name, start=start, where="test") == tmp_path / path


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("", "must be non-empty"),
        (" ", "must be non-empty"),
        ("a\0b", "must be non-empty"),
        (".", "does not name a file"),
        ("a/..", "does not name a file"),
        ("..", "does not name a file"),
        ("../..", "does not name a file"),
        ("../../x", "does not name a file"),
        ("x/../../../y", "does not name a file"),
        ("/etc/passwd", "name must be relative"),
        ("\\etc", "name must be relative"),
        ("//server/share/x", "name must be relative"),
        (5, "cannot be int"),
        (None, "cannot be NoneType"),
        (b"x", "cannot be bytes"),
        pytest.param("\ud800", "does not name a file", marks=not_on_windows),
    ],
)
def test_names_that_leave_the_root_or_are_none_are_refused(tmp_path: Path, name: Any, words: str) -> None:
    """The error names the place that asked and the root to stay in."""
    error = failing(lambda: inside(tmp_path, name, start=tmp_path / "a", where="mirror.file"))

    assert words in error.what
    assert error.where == "mirror.file"


def test_a_root_whose_name_begins_like_anothers_is_another(tmp_path: Path) -> None:
    """`/in-secret` is not inside `/in`."""
    assert "does not name a file" in failing(lambda: inside(tmp_path / "in", "../in-secret/x", where="test")).what


def test_a_link_out_of_the_root_is_refused_and_one_within_is_not(tmp_path: Path) -> None:
    """Also in the middle of a name; the root itself may be a link."""
    root = tmp_path / "root"
    (root / "real").mkdir(parents=True)
    (tmp_path / "secret").mkdir()
    (root / "out").symlink_to(tmp_path / "secret")
    (root / "in").symlink_to(root / "real")
    (tmp_path / "alias").symlink_to(root)

    assert "does not name a file" in failing(lambda: inside(root, "out/x", where="test")).what
    assert inside(root, "in/x", where="test") == root / "in/x"
    assert inside(tmp_path / "alias", "x", where="test") == tmp_path / "alias/x"


PARTS = st.lists(st.sampled_from(["a", "b.csv", "..", ".", "", "link", "~", "..."]), min_size=1, max_size=8)


@given(PARTS, st.sampled_from(["", "a", "a/b"]))
def test_no_name_ever_leaves_the_root(tmp_path_factory: pytest.TempPathFactory, parts: list[str], start: str) -> None:
    """Either a path strictly inside, or a refusal."""
    root = tmp_path_factory.getbasetemp() / "leave" / "root"
    (root / "a/b").mkdir(parents=True, exist_ok=True)
    if not (root / "link").is_symlink():
        (root / "link").symlink_to(root.parent)
    name = "/".join(parts)
    try:
        found = inside(root, name, start=root / start, where="test")
    except ValueError:
        return
    assert os.path.realpath(found).startswith(str(root.resolve()) + os.sep)
    assert ".." not in found.parts
