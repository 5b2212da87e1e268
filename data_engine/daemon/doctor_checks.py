"""The checks of `data-engine doctor` of this machine, a workspace's code and its cluster; nothing is changed."""

from __future__ import annotations

import ast
import json
import re
import sqlite3
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from importlib.metadata import version
from itertools import pairwise
from pathlib import Path
from typing import Any

from data_engine.cluster.connection import SchedulerAddress, connected
from data_engine.cluster.local import announced_cluster, named_scheduler
from data_engine.daemon.notifier import look_at
from data_engine.errors import FlowValidationError
from data_engine.flow.context import WorkspaceConfigContext
from data_engine.formatting import first_few
from data_engine.ledger.connection import connect_to_look
from data_engine.ledger.deployments import published_in
from data_engine.notebook.deployment_status import live_deployments
from data_engine.notebook.module_sets import read_contents
from data_engine.notebook.read import read_cells
from data_engine.platforms import host
from data_engine.platforms.processes import apart, detached
from data_engine.record import frozen
from data_engine.status.record import ServiceFacts
from data_engine.storage_version import too_new
from data_engine.workspace.layout import LocalLayout, WorkspaceLayout
from data_engine.workspace.secret_store import has_secret, keyring_trouble
from data_engine.workspace.settings import ExecutorSettings
from data_engine.workspace.two_packages import OLDER, ORDER

_NEVER = 0
_CLOCKS_AGREE_S = 5.0
_SLOW_S = 0.25
_TRIPS = 5


def check_system(takes_long_paths: bool | None, sleeps_after_s: int | None) -> Iterator[Finding]:
    """Findings about long paths and sleep, where they are known; that a machine sleeps is no fault.

    Example:
        >>> next(check_system(None, 1800)).measured
        'this machine sleeps after 30 min without input; no flow runs meanwhile, and another workstation may take over'
    """
    long_paths = "paths of more than 259 characters"
    if takes_long_paths:
        yield Finding("long paths", True, f"{long_paths} can be used")
    elif takes_long_paths is not None:
        refused = f"{long_paths} are refused on this machine, also of outputs deep in a mirror"
        yield Finding("long paths", None, refused, host.LONG_PATHS_FIX)
    if sleeps_after_s == _NEVER:
        yield Finding("sleep", True, "this machine does not sleep by itself on mains power")
    elif sleeps_after_s is not None:
        when = f"this machine sleeps after {sleeps_after_s // 60} min without input"
        meanwhile = f"{when}; no flow runs meanwhile, and another workstation may take over"
        yield Finding("sleep", None, meanwhile, f"to let flows run at night: {host.STAY_AWAKE}")


_SHOWN = 3


def check_config(layout: WorkspaceLayout) -> Finding:
    """A finding for all files of the workspace's config folder but its settings."""
    config = WorkspaceConfigContext(layout.root)
    wrong = []
    try:
        names = config.names()
    except FlowValidationError as error:
        return Finding("config", False, error.what, error.fix)
    for name in names:
        try:
            config.get(name)
        except FlowValidationError as error:
            wrong.append(error.what)
    good = (
        f"{first_few(names, _SHOWN)} can be read"
        if names
        else f"no files in {layout.config_dir} other than the settings"
    )
    measured = first_few(wrong, _SHOWN, "; ") or good
    return judged("config", not wrong, measured, "correct that line: runs that read it fail")


def check_secrets(local: LocalLayout) -> Finding:
    """Whether each secret that a deployed flow asks for is on this machine; the history is only looked at."""
    try:
        uses = _secrets_of_deployed(local)
        missing = {name: flows for name, flows in uses.items() if not has_secret(name)}
    except (FlowValidationError, OSError, sqlite3.Error) as error:
        return Finding("secrets", None, f"they cannot be checked: {error}")
    trouble = keyring_trouble()
    place = "in this system's keyring" if trouble is None else f"in a private file, as {trouble}"
    if missing:
        text = "; ".join(f"{name} ({', '.join(sorted(flows))})" for name, flows in sorted(missing.items()))
        return Finding(
            "secrets", False, f"missing on this machine: {text}", f"data-engine secret set {min(missing)}, and so on"
        )
    return Finding("secrets", True, f"{len(uses)} used by deployed flows, all on this machine; they are kept {place}")


def secrets_in(name: str, data: bytes) -> set[str]:
    """The secrets that a module's code asks for by name: `context.secret("dwh")`, and fields of type `Secret`.

    Example:
        >>> sorted(secrets_in("a.py", b"class S:\\n  dwh: Secret\\ndef f(c):\\n  c.secret('mail')"))
        ['dwh', 'mail']
    """
    names: set[str] = set()
    for text in _texts(name, data):
        try:
            tree = ast.parse(text)
        except (SyntaxError, ValueError):
            continue
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "secret":
                names |= {
                    arg.value for arg in node.args[:1] if isinstance(arg, ast.Constant) and isinstance(arg.value, str)
                }
            elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and _is_secret(node.annotation):
                names.add(node.target.id)
    return names


def _is_secret(annotation: ast.expr) -> bool:
    if isinstance(annotation, ast.Constant):
        return annotation.value == "Secret"
    return getattr(annotation, "id", getattr(annotation, "attr", "")) == "Secret"


def _texts(name: str, data: bytes) -> Iterator[str]:
    if not name.endswith(".ipynb"):
        yield data.decode("utf-8", "replace")
        return
    try:
        yield from (cell.text for cell in read_cells(data, path=Path(name)))
    except FlowValidationError:
        return


def _secrets_of_deployed(local: LocalLayout) -> dict[str, set[str]]:
    if not local.ledger_path.exists():
        return {}
    with closing(connect_to_look(local.ledger_path)) as connection:
        deployed = live_deployments(published_in(connection))
    secrets: dict[str, set[str]] = {}
    for flow, deployment in deployed.items():
        folder = local.runtime_dir / "deployments" / deployment.set_id
        contents = read_contents(folder)[0] if folder.is_dir() else {}
        for name, data in contents.items():
            if Path(name).stem == flow or "/" in name:
                for secret in secrets_in(name, data):
                    secrets.setdefault(secret, set()).add(flow)
    return secrets


_RECIPIENTS_AT_ONCE = 4


def check_alerts(names: Sequence[str]) -> Iterator[Finding]:
    """A finding for each recipient; one where there is none."""
    if not names:
        yield Finding("alerts", True, "nobody is told of troubles: neither [alerts] to nor Flow.alert names a secret")
        return
    with ThreadPoolExecutor(_RECIPIENTS_AT_ONCE) as pool:
        yield from pool.map(_check_recipient, dict.fromkeys(names))


def _check_recipient(name: str) -> Finding:
    try:
        service = look_at(name)
    except FlowValidationError as error:
        return Finding(f"alerts to {name}", False, error.what, error.fix)
    return Finding(f"alerts to {name}", True, f"its secret is here and leads to: {service}")


def check_service(facts: ServiceFacts) -> Finding:
    """Whether the service, where one is installed, can do what it is for. None installed is no fault.

    Example:
        >>> check_service(ServiceFacts()).measured
        'not installed: after a reboot nothing starts by itself'
    """
    if facts.trouble is not None:
        return Finding("service", False, facts.trouble, facts.fix)
    if not facts.installed:
        return Finding("service", True, facts.text)
    return Finding("service", True, f"{facts.kind}, {'with the machine' if facts.boot else 'at logon'}: {facts.place}")


_NEWEST = """
    SELECT run_by, distributions, max(started_at_utc) FROM runs JOIN environments ON digest = environment
    WHERE run_by IS NOT NULL GROUP BY run_by
"""


def check_duckdb(local: LocalLayout, databases: Path, storage_version: str) -> Finding:
    """Whether the DuckDB here opens the databases that are there, and that of each workstation that ran flows what the others make."""
    if newer := too_new(databases):
        return Finding("duckdb versions", False, "; ".join(newer), "pip install -U duckdb")
    versions: dict[str, str] = {"here": version("duckdb")}
    with suppress(sqlite3.Error, ValueError), closing(connect_to_look(local.ledger_path)) as connection:
        for run_by, distributions, _ in connection.execute(_NEWEST):
            for name, _, number in (str(text).partition(" ") for text in json.loads(distributions)):
                if name.lower() == "duckdb":
                    versions[run_by] = number
    return judge_duckdb(versions, storage_version)


def judge_duckdb(versions: dict[str, str], storage_version: str) -> Finding:
    """The finding about the versions of DuckDB, by who ran with them.

    Example:
        >>> judge_duckdb({"here": "2.0.1", "ann@ws2": "1.5.6"}, "v1.5.0").ok
        True
        >>> judge_duckdb({"here": "2.0.1", "ann@ws2": "1.5.6"}, "v2.0.0").fix
        '[databases] storage_version = "v1.5.0" in config/data_engine.toml, or install a newer DuckDB for ann@ws2'
    """
    by_version: dict[str, list[str]] = {}
    for who, number in versions.items():
        by_version.setdefault(number, []).append(who)
    text = "; ".join(f"{number} ({', '.join(who)})" for number, who in sorted(by_version.items()))
    measured = f"{text}; databases that runs make have the format of {storage_version}"
    old = [number for number in by_version if _release(number) < _release(storage_version)]
    if not old:
        return Finding("duckdb versions", True, measured)
    oldest = ".".join(map(str, min(map(_release, old))))
    who = ", ".join(name for number in old for name in by_version[number])
    fix = f'[databases] storage_version = "v{oldest}.0" in config/data_engine.toml, or install a newer DuckDB for {who}'
    return Finding("duckdb versions", False, measured, fix)


def _release(number: str) -> tuple[int, ...]:
    return tuple(map(int, re.findall(r"\d+", number)[:2]))


def check_packages(version: str | None) -> Finding:
    """Whether the older system's distribution is in this environment; `version` is its version there.

    Example:
        >>> check_packages(None).ok, check_packages("0.3.9").measured
        (True, 'py-data-engine 0.3.9 is installed in this environment too, and both have a package called data_engine')
    """
    if version is None:
        return Finding("packages", True, "one distribution has the package data_engine")
    measured = f"{OLDER} {version} is installed in this environment too, and both have a package called data_engine"
    return Finding("packages", False, measured, ORDER)


@frozen
class Finding:
    """One check: `ok` is None where it could not be judged; `measured` is what was seen, `fix` what to do or set."""

    name: str
    ok: bool | None
    measured: str
    fix: str | None = None


def judged(name: str, ok: bool, measured: str, fix: str) -> Finding:
    """The finding of what was measured; the fix counts where it is not ok."""
    return Finding(name, ok, measured, None if ok else fix)


# -- the cluster -------------------------------------------------------------------------------------------------------


def check_cluster(layout: WorkspaceLayout, local: LocalLayout | None, settings: ExecutorSettings) -> Iterator[Finding]:
    """Findings about the Dask cluster that `[executor]` names: reached, versions, what its workers see and may write, clocks."""
    if "dask" not in (settings.kind, settings.runs):
        return
    scheduler: SchedulerAddress | None = named_scheduler(settings, layout.root)
    if settings.scheduler == "local":
        scheduler = None if local is None else announced_cluster(local.runtime_dir)
        if scheduler is None:
            yield Finding(
                "cluster", None, "the cluster of this machine does not run: a daemon starts it when it is needed"
            )
            return
    assert scheduler is not None
    try:
        connection = connected(scheduler)
    except FlowValidationError as error:
        yield Finding("cluster", False, error.what, error.fix)
        return
    workers = connection.workers()
    if not workers:
        fix = f"start one: dask worker {scheduler.address or '...'}"
        yield Finding("cluster", False, f"{scheduler.name} has no worker", fix)
        return
    threads = sum(worker["nthreads"] for worker in workers.values())
    reached = f"{scheduler.name}: {len(workers)} workers with {threads} threads, and matching versions"
    yield Finding("cluster", True, reached)
    yield judge_round_trip([_round_trip_s(connection.client) for _ in range(_TRIPS)])
    asked_s = time.time()
    replies = connection.client.run(_look_by_value(), str(layout.root), on_error="ignore")
    yield judge_sight(replies, layout.root)
    yield judge_clocks(replies, asked_s, time.time())
    if scheduler.address is not None and not scheduler.address.startswith("tls"):
        yield Finding(
            "cluster security",
            None,
            "the way to the cluster is not encrypted, and whoever reaches the scheduler can run code on every worker",
            "keep it on a trusted network, or set up TLS for Dask; secrets are read from the workers' own environment",
        )


def judge_round_trip(times_s: list[float]) -> Finding:
    """Whether a task is there and back soon.

    Example:
        >>> judge_round_trip([0.01, 0.02, 0.03]).measured
        'a task and its answer take 20 ms'
    """
    middle_s = statistics.median(times_s)
    measured = f"a task and its answer take {middle_s * 1000:.0f} ms"
    fix = "put the scheduler on the workers' network; give each item more work"
    return judged("cluster round trip", middle_s <= _SLOW_S, measured, fix)


def judge_sight(replies: Mapping[str, Mapping[str, Any]], root: Path) -> Finding:
    """Whether all workers see the workspace and may write where it is."""
    blind = sorted(address for address, reply in replies.items() if not reply["sees"])
    readers = sorted(address for address, reply in replies.items() if not reply["writes"])
    measured, fix = (
        f"all {len(replies)} workers see it and may write there",
        "let the workers run as a user who may write there",
    )
    if blind:
        measured = f"{', '.join(blind[:5])} do not see the workspace at {replies[blind[0]]['root']}"
        fix = "mount it there under the same path, or set DATA_ENGINE_WORKSPACE_ROOT in the workers' environment"
    elif readers:
        measured = f"{', '.join(readers[:5])} may not write to {root}"
    return judged("cluster workspace", not (blind or readers), measured, fix)


def judge_clocks(replies: Mapping[str, Mapping[str, Any]], before_s: float, after_s: float) -> Finding:
    """Whether the clocks of all workers agree with this machine's; each was read between these two times.

    Example:
        >>> judge_clocks({"tcp://a:1": {"now_s": 100.2}}, 100.0, 100.5).ok
        True
    """
    off = {address: max(before_s - reply["now_s"], reply["now_s"] - after_s, 0.0) for address, reply in replies.items()}
    address = max(off, key=lambda worker: off[worker], default="")
    do_agree = not off or off[address] <= _CLOCKS_AGREE_S
    measured = "all agree with this machine's clock" if do_agree else f"{address} is {off[address]:.1f} s off"
    return judged("cluster clocks", do_agree, measured, "let all take the time from the network (NTP)")


def _round_trip_s(client: Any) -> float:
    began_s = time.perf_counter()
    client.submit(abs, 1, pure=False).result(timeout=30)
    return time.perf_counter() - began_s


def _look_by_value() -> Callable[[str], dict[str, Any]]:
    """A function that imports nothing of ours, for a worker: what it sees of the workspace, and its clock."""

    def look(root: str) -> dict[str, Any]:
        import os
        import tempfile
        import time

        facts: dict[str, Any] = {
            "now_s": time.time(),
            "root": os.environ.get("DATA_ENGINE_WORKSPACE_ROOT", "").strip() or root,
        }
        sees = os.path.isdir(os.path.join(facts["root"], "flow_modules"))
        writes = False
        if sees:
            try:
                with tempfile.TemporaryFile(dir=facts["root"], prefix=".data-engine-probe-"):
                    writes = True
            except OSError:
                pass
        return {**facts, "sees": sees, "writes": writes}

    return look


# -- what a drive and this machine really do: each tries one thing; with an OSError nothing was learnt --------------------


_BARE_PYTHON = (sys.executable, "-I", "-S", "-c")

_LOOK = """
import os, sys, time
folder, name, limit_s = sys.argv[1], sys.argv[2], float(sys.argv[3])
os.listdir(folder)
print("looking", flush=True)
until_s = time.monotonic() + limit_s
while time.monotonic() < until_s:
    if name in os.listdir(folder):
        print(time.monotonic(), flush=True)
        break
    time.sleep(0.0005)
"""

_LEAVE_A_CHILD = """
import json, subprocess, sys
none = subprocess.DEVNULL
child = [sys.executable, "-I", "-S", "-c", "import time; time.sleep(20)"]
print(subprocess.Popen(child, stdin=none, stdout=none, stderr=none, **json.loads(sys.argv[1])).pid)
"""


def stamp_step_s(folder: Path, *, limit_s: float = 2.2) -> float | None:
    """The smallest step between modification times of one file that is written again and again; None: no step seen."""
    path = folder / "written"
    until_s = time.monotonic() + limit_s
    stamps: set[int] = set()
    while len(stamps) < 6 and time.monotonic() < until_s:
        path.write_bytes(b"x")
        stamps.add(path.stat().st_mtime_ns)
    ordered = sorted(stamps)
    return min((later - earlier for earlier, later in pairwise(ordered)), default=0) / 1e9 or None


def visibility_delay_s(folder: Path, *, limit_s: float = 5.0) -> float | None:
    """How long after it was written another process of this machine lists a new file; None: not within `limit_s`."""
    name = "new"
    with subprocess.Popen(
        [*_BARE_PYTHON, _LOOK, str(folder), name, str(limit_s)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        **apart(),
    ) as looker:
        assert looker.stdout is not None
        try:
            if looker.stdout.readline().strip() != b"looking":
                raise OSError("another process cannot list the folder")
            (folder / name).write_bytes(b"x")
            written_s = time.monotonic()  # one clock for all processes of a machine, on every platform we know
            line = looker.stdout.readline().strip()
        finally:
            looker.kill()
    return max(0.0, float(line) - written_s) if line else None


def ends_with_its_parent(*, watch_s: float = 0.1) -> str | None:
    """Why a process that is started as the daemon is does not outlive its parent; None when it does."""
    import psutil

    parent = subprocess.run(
        [*_BARE_PYTHON, _LEAVE_A_CHILD, json.dumps(detached()[-1])],
        capture_output=True,
        text=True,
        timeout=10,
        check=False,
        **apart(),
    )
    if parent.returncode != 0:
        return f"it could not be started: {parent.stderr.strip().splitlines()[-1:] or parent.returncode}"
    try:
        child = psutil.Process(int(parent.stdout))
        child.wait(timeout=watch_s)
    except psutil.TimeoutExpired:
        with suppress(psutil.Error):
            child.kill()
        return None
    except psutil.NoSuchProcess:
        pass
    return "it ended with its parent"
