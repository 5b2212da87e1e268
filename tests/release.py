"""`python -m tests.release`: install the project the plain way, as a person would, and run the demo from there, away from the checkout.

pip makes the wheel in an isolated build of its own, which sees nothing of this environment, and installs it with its dependencies in a
fresh environment, `.venv-plain`. `--prepare` does that and runs nothing; what it made is taken once. The wheel is for every system:
`python -m tests.windows --plain` installs it too. As a program in an environment with the project, `python tests/release.py --check`
runs the demo from that one, in the working directory.
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
_PROGRAMS = "Scripts" if os.name == "nt" else "bin"


PLAIN = ROOT / ".venv-plain"
WHEELS = PLAIN / "wheels"
_READY = PLAIN / "ready"


def build(folder: Path) -> tuple[Path, Path]:
    """The sdist of this checkout, and the wheel that is made of it with the packages of this environment."""
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


def install(wheel: Path, folder: Path) -> Path:
    """A fresh environment in `folder` with the wheel in it and the dependencies of this one, without a network; its programs' folder."""
    venv.create(folder)
    programs = folder / _PROGRAMS
    pip = [sys.executable, "-m", "pip", "--python", programs / ("python.exe" if os.name == "nt" else "python")]
    _run([*pip, "install", "--quiet", "--no-index", "--no-deps", wheel], cwd=folder)
    # a line of a .pth file is a folder to import from, whose own .pth files (such as an editable install's) are not read
    here = _said([programs / "python", "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"], cwd=folder)
    (Path(here.strip()) / "borrowed.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return programs


def install_plainly() -> None:
    """`.venv-plain` with the project and its dependencies, by pip as a person calls it, and the wheel that pip made."""
    shutil.rmtree(PLAIN, ignore_errors=True)
    venv.create(PLAIN, with_pip=True)
    pip = [PLAIN / _PROGRAMS / "python", "-m", "pip"]
    _run([*pip, "wheel", "--quiet", "--no-deps", "--wheel-dir", WHEELS, ROOT], cwd=PLAIN)
    _run([*pip, "install", "--quiet", "--no-compile", *WHEELS.glob("*.whl")], cwd=PLAIN)
    _READY.touch()


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
    """Of the checkout, of which nothing is imported."""
    (line,) = (ROOT / "data_engine" / "version.py").read_text(encoding="utf-8").split("__version__ = ")[1:]
    return line.split('"')[1]


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
    """Check a plain install of this checkout; 0 when it is good."""
    if "--check" in sys.argv:
        check(Path(sys.executable).parent, Path.cwd())
        return 0
    if "--prepare" in sys.argv or not _READY.exists():
        install_plainly()
        print(f"installed {next(WHEELS.iterdir()).name} in a fresh environment", flush=True)
    if "--prepare" not in sys.argv:
        _READY.unlink()
        with tempfile.TemporaryDirectory(prefix="data-engine-release-") as folder:
            check(PLAIN / _PROGRAMS, Path(folder))
        print("ran the demo from a plain install")
    return 0


if __name__ == "__main__":
    sys.exit(main())
