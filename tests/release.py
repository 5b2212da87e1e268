"""`python -m tests.release`: build sdist and wheel, install the wheel in a fresh environment, run the demo from it.

The wheel is built from the sdist, so what the sdist lacks is missed. With `--borrow` the environment takes the dependencies from
the one that runs this, which needs no network; without it they are installed anew, as a person would.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import tempfile
import venv
import zipfile
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).parent.parent


def build(folder: Path) -> tuple[Path, Path]:
    """The sdist of this checkout, and the wheel that is made of it."""
    _run([sys.executable, "-m", "build", "--no-isolation", "--outdir", folder, ROOT], cwd=folder)
    (sdist,), (wheel,) = folder.glob("*.tar.gz"), folder.glob("*.whl")
    return sdist, wheel


def left_out(sdist: Path) -> set[str]:
    """The files of this checkout that the sdist lacks; none can be named where this is no checkout, or nothing knows Git."""
    if not (ROOT / ".git").exists() or shutil.which("git") is None:
        return set()
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    tracked = {name for name in listed.split("\0") if name and (ROOT / name).exists()}
    with tarfile.open(sdist) as archive:
        held = {name.partition("/")[2] for name in archive.getnames()}
    return tracked - held


def files_of(wheel: Path) -> set[str]:
    """The names in a wheel."""
    with zipfile.ZipFile(wheel) as archive:
        return set(archive.namelist())


def install(wheel: Path, folder: Path, *, borrow: bool) -> Path:
    """A fresh environment in `folder` with the wheel in it; the folder of its programs."""
    venv.create(folder, with_pip=not borrow)
    programs = folder / ("Scripts" if os.name == "nt" else "bin")
    if not borrow:
        _run([programs / "python", "-m", "pip", "install", "--quiet", wheel], cwd=folder)
        return programs
    pip = [sys.executable, "-m", "pip", "--python", programs / ("python.exe" if os.name == "nt" else "python")]
    _run([*pip, "install", "--quiet", "--no-index", "--no-deps", wheel], cwd=folder)
    # a line of a .pth file is a folder to import from, whose own .pth files (such as an editable install's) are not read
    here = _said([programs / "python", "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"], cwd=folder)
    (Path(here.strip()) / "borrowed.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return programs


def check(programs: Path, folder: Path) -> None:
    """Run the demo as it was installed, and look for what JupyterLab needs."""
    environment = programs.parent
    where = _said([programs / "python", "-c", "import data_engine; print(data_engine.__file__)"], cwd=folder)
    assert Path(where.strip()).is_relative_to(environment), f"data_engine is imported from {where}"
    version = _said([programs / "data-engine", "--version"], cwd=folder)
    assert _version() in version, f"the program says {version}"
    found = json.loads(_said([programs / "data-engine", "demo", "here", "--json"], cwd=folder))
    assert [flow["flow"] for flow in found["flows"]] == ["daily_flights", "carrier_summary", "delay_report"], found
    labextension = environment / "share" / "jupyter" / "labextensions" / "data-engine"
    entry = json.loads((labextension / "package.json").read_text())["jupyterlab"]["_build"]["load"]
    assert (labextension / entry).is_file(), f"{entry} is not installed"
    assert (environment / "etc" / "jupyter" / "jupyter_server_config.d" / "data-engine.json").is_file()
    shown = json.loads(_said([programs / "data-engine", "docs", "--json"], cwd=folder))
    assert Path(shown["page"]).is_file(), f"{shown} has no documentation"
    _said([programs / "python", "-c", "from jupyter_extension.assets import panel_js; assert panel_js()"], cwd=folder)


def _version() -> str:
    from data_engine import __version__

    return __version__


def _said(command: Sequence[str | Path], *, cwd: Path) -> str:
    return _run(command, cwd=cwd).stdout


def _run(command: Sequence[str | Path], *, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run a program in a folder that is not the checkout, and with no setting of it in the environment."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("DATA_ENGINE_", "PYTHON"))}
    environment["DATA_ENGINE_STATE_ROOT"] = str(cwd / "state")
    found = subprocess.run(
        [str(part) for part in command], cwd=cwd, env=environment, capture_output=True, text=True, check=False
    )
    if found.returncode:
        raise RuntimeError(f"{' '.join(map(str, command))}\n{found.stdout}\n{found.stderr}")
    return found


def main() -> int:
    """Check a release of this checkout; 0 when it is good."""
    with tempfile.TemporaryDirectory(prefix="data-engine-release-") as made:
        folder = Path(made)
        sdist, wheel = build(folder)
        print(f"built {sdist.name} and {wheel.name}, {wheel.stat().st_size / 1e6:.1f} MB", flush=True)
        missing = left_out(sdist)
        if missing:
            print(f"the sdist lacks {', '.join(sorted(missing))}")
            return 1
        programs = install(wheel, folder / "environment", borrow="--borrow" in sys.argv)
        print("installed in a fresh environment", flush=True)
        check(programs, folder)
        print("ran the demo from it")
    return 0


if __name__ == "__main__":
    sys.exit(main())
