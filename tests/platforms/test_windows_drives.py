"""Folders that have a second name on Windows (`subst`, junctions, mapped drives), and names in another case."""

from __future__ import annotations

import os
import string
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from data_engine import Flow
from data_engine.engine.candidates import pick_source
from data_engine.flow.paths import author_path
from data_engine.flow.scan import walk
from data_engine.platforms.drives import lasting, network_drive
from data_engine.platforms.names import real_path
from data_engine.scheduler.scanner import Scanner

pytestmark = pytest.mark.skipif(
    sys.platform != "win32", reason="drive letters and junctions; links of POSIX are in test_scanner.py"
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A source with one file."""
    made = Path(real_path(tmp_path)) / "In"
    made.mkdir()
    (made / "A.csv").write_text("x")
    return made


def free_letter() -> str:
    """A drive that is not there yet."""
    return next(f"{one}:" for one in reversed(string.ascii_uppercase) if not os.path.exists(f"{one}:\\"))


def asked(*command: str) -> None:
    """Run a command of the system; where it is refused or not known, the test is skipped."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=60, check=False)
    except OSError as error:
        pytest.skip(f"{command[0]}: {error}")
    if done.returncode:
        pytest.skip(f"{' '.join(command)}: {(done.stderr or done.stdout).strip()[:200]}")


@pytest.fixture
def letter(folder: Path) -> Iterator[str]:
    """The folder by a letter of its own."""
    drive = free_letter()
    asked("subst", drive, str(folder))
    if not os.path.exists(f"{drive}\\A.csv"):
        pytest.skip("subst gives no drive here (Wine)")
    yield drive
    subprocess.run(["subst", drive, "/D"], check=False)


def test_a_letter_that_subst_gave_means_the_folder(folder: Path, letter: str) -> None:
    """Of a flow as of a file that is named: what is known of the source stays when the letter is another one."""
    assert author_path(f"{letter}\\", where="here").path == folder
    assert network_drive(Path(f"{letter}\\")) is None

    flow = Flow(group="G", name="f").watch(mode="poll", source=f"{letter}\\", interval="1s")
    assert pick_source(flow, f"{letter}\\A.csv").key == pick_source(flow, folder / "a.csv").key
    assert pick_source(flow, "A.csv").path == folder / "A.csv"


def test_a_junction_as_a_source_means_what_it_leads_to(folder: Path, tmp_path: Path) -> None:
    asked("cmd", "/c", "mklink", "/J", str(tmp_path / "link"), str(folder))

    assert author_path(tmp_path / "link", where="here").path == folder
    assert list(Scanner(author_path(tmp_path / "link", where="here").path, None).scan().seen) == ["A.csv"]


def test_a_junction_in_a_source_is_not_followed(folder: Path) -> None:
    """Else one that leads to a folder above it would be looked through for ever."""
    asked("cmd", "/c", "mklink", "/J", str(folder / "round"), str(folder))
    scanner = Scanner(folder, None)

    assert list(scanner.scan().seen) == ["A.csv"]
    scanner.look_at([str(folder / "round")])
    assert [name for name, _ in scanner.files()] == ["A.csv"]
    assert [name for name, _ in walk(folder, None)] == ["A.csv"]


def test_a_file_that_is_renamed_in_case_only_is_there_once(folder: Path) -> None:
    """Under its new name: people see that, and on a workstation with Linux it is another file."""
    scanner = Scanner(folder, None)
    scanner.scan()
    (folder / "A.csv").rename(folder / "a.csv")
    if "A.csv" in os.listdir(folder):
        pytest.skip("a rename in case only changes no letter here (Wine)")
    found = scanner.scan()

    assert (list(found.seen), found.gone) == (["a.csv"], ["A.csv"])
    assert [name for name, _ in scanner.files()] == ["a.csv"]


def test_a_file_that_is_named_in_another_case_is_the_one_that_a_scan_knows(folder: Path) -> None:
    """What was run by hand as `a.CSV` is done for the poll too."""
    flow = Flow(group="G", name="f").watch(mode="poll", source=folder, interval="1s")
    root = str(folder).swapcase()

    assert {pick_source(flow, one).key.path for one in ("A.csv", "a.CSV", folder / "a.csv", rf"{root}\A.CSV")} == {
        "A.csv"
    }


def test_a_mapped_drive_is_a_network_drive(folder: Path) -> None:
    """Its letter is for people; a service, which starts without it, has the server's name."""
    drive = free_letter()
    share = rf"\\localhost\{folder.drive[0]}$"
    asked("net", "use", drive, share, "/persistent:no")
    try:
        if not os.path.exists(f"{drive}\\"):
            pytest.skip("the drive is not there (Wine)")
        below = Path(f"{drive}\\", *folder.parts[1:])
        assert network_drive(below) == "network drive"
        assert str(lasting(below)).lower().startswith(share.lower())
        assert author_path(below, where="here").path.samefile(folder)
        assert list(Scanner(below, None).scan().seen) == ["A.csv"]
    finally:
        subprocess.run(["net", "use", drive, "/delete", "/y"], check=False, capture_output=True)
