"""One flow of five steps over the same files in Data Engine and its peers: `python -m benchmarks.peers [FILES]`.

Each peer is installed in an environment of its own (kept in the folder for temporary files) and runs its script below as its
documentation shows it, warmed up by one file. The steps are the same functions. The table is printed and written to `peers.md`.
"""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
import tempfile
import time
import venv
from datetime import date
from pathlib import Path
from typing import NamedTuple

FILES = 20
ROUNDS = 2
STEPS = """
def read(path: str) -> str:
    with open(path) as file:
        return file.read()

def parse(text: str) -> list[int]:
    return [int(line) for line in text.splitlines()]

def keep(numbers: list[int]) -> list[int]:
    return [number for number in numbers if number % 2]

def total(kept: list[int]) -> int:
    return sum(kept)

def write(total_of: int, target: str) -> str:
    with open(target, "w") as file:
        file.write(str(total_of))
    return target
"""
FRAME = """
import glob, json, os, sys, time
import peer_steps as steps
out, warm, files = sys.argv[1], glob.glob("warm/*.txt"), sorted(glob.glob("in/*.txt"))
os.makedirs(out)
target_of = lambda path: os.path.abspath(os.path.join(out, os.path.basename(path)))
{script}
go(warm)
began_s = time.process_time()
go(files)
took_s = time.process_time() - began_s
assert len([name for name in os.listdir(out) if name.endswith(".txt")]) == len(warm + files), os.listdir(out)
print(json.dumps(1e6 * took_s / len(files)))
"""
PLAIN = """
def go(paths):
    for path in paths:
        steps.write(steps.total(steps.keep(steps.parse(steps.read(path)))), target_of(path))
"""
OURS = """
from data_engine import Flow, Workspace
CODE = f'''
import os, sys
sys.path.insert(0, {os.getcwd()!r})
import peer_steps as steps
from data_engine import Flow

def read(context): return steps.read(context.source.path)
def parse(context): return steps.parse(context.current)
def keep(context): return steps.keep(context.current)
def total(context): return steps.total(context.current)
def write(context): return steps.write(context.current, os.path.join({os.path.abspath(out)!r}, context.source.path.name))

def build():
    flow = Flow("Peers").watch(mode="poll", source="SOURCE", interval="10s")
    return flow.step(read).step(parse).step(keep).step(total).step(write)
'''

def go(paths):
    flows[os.path.dirname(paths[0])].run_once()
"""
UNRECORDED = (
    OURS
    + """
def flow_of(folder):
    names = {}
    exec(CODE.replace("SOURCE", os.path.abspath(folder)), names)
    return names["build"]()

flows = {folder: flow_of(folder) for folder in ("warm", "in")}
"""
)
RECORDED = (
    OURS
    + """
workspace = Workspace.create(os.path.abspath(out + "-workspace"))
for folder in ("warm", "in"):
    (workspace.root / "flow_modules" / f"{folder}_sums.py").write_text(CODE.replace("SOURCE", os.path.abspath(folder)))
flows = {folder: workspace.load_flow(f"{folder}_sums") for folder in ("warm", "in")}
"""
)
HAMILTON = """
from hamilton import ad_hoc_utils, driver

def text(path: str) -> str: return steps.read(path)
def numbers(text: str) -> list: return steps.parse(text)
def kept(numbers: list) -> list: return steps.keep(numbers)
def total_of(kept: list) -> int: return steps.total(kept)
def written(total_of: int, target: str) -> str: return steps.write(total_of, target)

module = ad_hoc_utils.create_temporary_module(text, numbers, kept, total_of, written)
built = driver.Builder().with_modules(module).build()

def go(paths):
    for path in paths:
        built.execute(["written"], inputs={"path": path, "target": target_of(path)})
"""
LUIGI = """
import luigi, logging
logging.disable(logging.CRITICAL)

class Step(luigi.Task):
    path = luigi.Parameter()
    def output(self): return luigi.LocalTarget(f"{target_of(self.path)}.{type(self).__name__}")
    def put(self, value):
        with self.output().open("w") as file: json.dump(value, file)
    def given(self):
        with self.input().open() as file: return json.load(file)

class Read(Step):
    def run(self): self.put(steps.read(self.path))
class Parse(Step):
    def requires(self): return Read(self.path)
    def run(self): self.put(steps.parse(self.given()))
class Keep(Step):
    def requires(self): return Parse(self.path)
    def run(self): self.put(steps.keep(self.given()))
class Total(Step):
    def requires(self): return Keep(self.path)
    def run(self): self.put(steps.total(self.given()))
class Write(Step):
    def requires(self): return Total(self.path)
    def output(self): return luigi.LocalTarget(target_of(self.path))
    def run(self): steps.write(self.given(), target_of(self.path))

def go(paths):
    assert luigi.build([Write(path) for path in paths], local_scheduler=True, log_level="CRITICAL")
"""
PREFECT = """
os.environ |= {"PREFECT_HOME": os.path.abspath(out + "-home"), "PREFECT_LOGGING_LEVEL": "CRITICAL", "DO_NOT_TRACK": "1"}
os.environ |= {"PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "300", "PREFECT_SERVER_ANALYTICS_ENABLED": "false"}
from prefect import flow, task
read, parse, keep, total, write = (task(getattr(steps, name)) for name in ("read", "parse", "keep", "total", "write"))

@flow
def sums(path: str) -> str:
    return write(total(keep(parse(read(path)))), target_of(path))

def go(paths):
    for path in paths:
        sums(path)
"""


class Peer(NamedTuple):
    """A system, the distribution that it is installed from (None: this environment), its script, and what it keeps of a run."""

    name: str
    distribution: str | None
    script: str
    keeps: str


PEERS = (
    Peer("five calls in a loop", None, PLAIN, "nothing"),
    Peer("Data Engine, a flow of no workspace", None, UNRECORDED, "nothing"),
    Peer("Data Engine, a flow of a workspace", None, RECORDED, "runs, steps, inputs, outputs, code, environment, log"),
    Peer("Hamilton", "sf-hamilton", HAMILTON, "nothing"),
    Peer("luigi", "luigi", LUIGI, "an output file for each step"),
    Peer("Prefect", "prefect", PREFECT, "runs and tasks with their states"),
)


def environment_of(distribution: str | None) -> Path:
    """The Python of an environment with the distribution; made when it is first asked for."""
    if distribution is None:
        return Path(sys.executable)
    folder = Path(tempfile.gettempdir()) / f"data-engine-peer-{distribution}"
    python = folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    if not (folder / ".ready").exists():
        venv.create(folder, with_pip=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", distribution], check=True)
        (folder / ".ready").touch()
    return python


def version_of(python: Path, distribution: str | None) -> str:
    """The installed version of the distribution, "" of none."""
    if distribution is None:
        return ""
    ask = f"from importlib.metadata import version; print(version({distribution!r}))"
    return f" {subprocess.check_output([python, '-c', ask], text=True).strip()}"


def each_us(peer: Peer, python: Path, folder: Path, number: int) -> float:
    """Microseconds of a file, CPU time of the process."""
    script = folder / f"peer{number}.py"
    script.write_text(FRAME.replace("{script}", peer.script))
    text = subprocess.check_output([python, script, f"out{number}-{time.monotonic_ns()}"], cwd=folder, text=True)
    return float(json.loads(text.splitlines()[-1]))


def main() -> None:
    """Print the table and write it."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else FILES
    pythons = {peer: environment_of(peer.distribution) for peer in PEERS}
    best: dict[Peer, float] = {}
    with tempfile.TemporaryDirectory(prefix="peers-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        os.environ["DATA_ENGINE_STATE_ROOT"] = str(folder / "state")
        (folder / "peer_steps.py").write_text(STEPS)
        for place, numbers in (("warm", [count]), ("in", range(count))):
            (folder / place).mkdir()
            for number in numbers:
                (folder / place / f"{number:05}.txt").write_text("".join(f"{one}\n" for one in range(20)))
        for _ in range(ROUNDS):
            for number, (peer, python) in enumerate(pythons.items()):
                took_us = each_us(peer, python, folder, number)
                best[peer] = min(took_us, best.get(peer, took_us))
    lines = [
        "# A flow of five steps over small files, here and in its peers",
        "",
        f"`python -m benchmarks.peers`, {date.today()}, Python {platform.python_version()}, {os.cpu_count()} cores: {count} files of 20 lines, one after",
        f"another in one process, by the processor's time, the best of {ROUNDS} rounds. Each peer runs as its documentation shows it, in an",
        "environment of its own; what the server that Prefect starts beside it takes is not counted. Less where nothing else runs: the five calls",
        "in a loop say how busy the machine was.",
        "",
        "| system | a file | it keeps of a run |",
        "|---|---|---|",
    ]
    for peer, took_us in best.items():
        shown = f"{took_us / 1000:,.1f} ms" if took_us >= 1000 else f"{took_us:.0f} us"
        lines.append(f"| {peer.name}{version_of(pythons[peer], peer.distribution)} | {shown} | {peer.keeps} |")
    text = "\n".join(lines) + "\n"
    print(text)
    Path(__file__).with_suffix(".md").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
