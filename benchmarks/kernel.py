"""What a kernel waits for: `%load_ext data_engine` with the first picture of a flow, and a workspace opened with its first runs.

CPU milliseconds in a process that has imported what a kernel has, the best of a few.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.figures import finish, report
from data_engine import Workspace

TIMES = 9
KERNEL = """
import json, sys, time
import ipykernel.ipkernel, ipykernel.kernelapp
from IPython.core.interactiveshell import InteractiveShell

shell = InteractiveShell.instance()
began_s = time.process_time()
{code}
took_s = time.process_time() - began_s
heavy = [name for name in ("polars", "duckdb", "sphinx", "pandas", "pyarrow") if name in sys.modules]
print(json.dumps([1000 * took_s, heavy]))
"""
PICTURE = """
shell.run_line_magic("load_ext", "data_engine")
from data_engine import Flow
flow = Flow(group="Sales", name="daily").watch(mode="poll", source="in", interval="30s").step(len, save_as="rows").step(str)
found, _ = shell.display_formatter.format(flow)
assert "svg" in found["text/html"]
"""
OPENING = """
from data_engine import Workspace
assert len(Workspace.current().runs()) == 3
"""
FLOW = """
from data_engine import Flow

def count(context):
    return 1

def build():
    return Flow(group="Benchmark").step(count)
"""


def cpu_ms(code: str, folder: Path) -> tuple[float, list[str]]:
    """CPU milliseconds of the code in a kernel's process, and which large libraries it has imported; the best of a few."""
    found = []
    for _ in range(TIMES):
        text = KERNEL.format(code=code)
        answer = subprocess.check_output([sys.executable, "-P", "-W", "ignore", "-c", text], cwd=folder, text=True)
        found.append(tuple(json.loads(answer.splitlines()[-1])))
    return min(found)


def main() -> None:
    """Print each figure beside its limit."""
    with tempfile.TemporaryDirectory(prefix="kernel-benchmark-") as name:
        os.environ["DATA_ENGINE_STATE_ROOT"] = str(Path(name) / "state")
        workspace = Workspace.create(Path(name) / "kernel")
        modules = workspace.root / "flow_modules"
        (modules / "bench.py").write_text(FLOW)
        for _ in range(3):
            workspace.load_flow("bench").run_once()
        picture_ms, heavy = cpu_ms(PICTURE, modules)
        note = f"imports {', '.join(heavy)}" if heavy else "no data library"
        report("%load_ext data_engine and the first picture of a Flow, CPU", picture_ms, 50, "ms", note)
        opening_ms, heavy = cpu_ms(OPENING, modules)
        note = f"imports {', '.join(heavy)}" if heavy else "no data library"
        report("Workspace.current() and its first runs(), CPU", opening_ms, 20, "ms", note)
    finish()


if __name__ == "__main__":
    main()
