"""What `from data_engine import Flow`, and what a script takes, cost over bare Python: time, memory, and what they pull in."""

from __future__ import annotations

import statistics
import subprocess
import sys
import time

from benchmarks.figures import finish, report

RUNS = 31
MEMORY = "import resource; print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)"
FLOW = "from data_engine import Flow"
SCRIPT = "from data_engine import Workspace, load_flow, discover_flows"
HEAVY = ("polars", "duckdb", "pyarrow", "IPython", "nbformat")
HEAVY_LOADED = f"{SCRIPT}; import sys; print(sum(name in sys.modules for name in {HEAVY!r}))"


def run(code: str) -> tuple[float, int]:
    """Wall seconds of a fresh interpreter running `code`, and the number it prints."""
    started = time.perf_counter()
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return time.perf_counter() - started, int(done.stdout)


def standard_library_of(code: str) -> list[str]:
    """The modules of Python's own that `code` imports, as far as one can import them by name."""
    text = (
        f"import sys; before = set(sys.modules); {code}; names = set(sys.modules) - before; "
        "print(*sorted(name for name in names if name.partition('.')[0] in sys.stdlib_module_names))"
    )
    done = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, check=True)
    return done.stdout.split() or ["sys"]


def main() -> None:
    """Bare and importing interpreters in turn, so that both meet the same weather."""
    run(f"{FLOW}; {MEMORY}")
    floor = f"import {', '.join(standard_library_of(FLOW))}; {MEMORY}"
    pairs = [(run(floor), run(f"{FLOW}; {MEMORY}")) for _ in range(RUNS)]
    ratio = statistics.median(ours[0] for _, ours in pairs) / statistics.median(bare[0] for bare, _ in pairs)
    extra_mb = statistics.median((ours[1] - bare[1]) / 1024 for bare, ours in pairs)
    report(f"{FLOW}, by importing only its standard library", ratio, 1.5, "x")
    report(f"{FLOW}, over the same, RSS", extra_mb, 8, "MB")
    pairs = [(run(f"{FLOW}; {MEMORY}"), run(f"{SCRIPT}; {MEMORY}")) for _ in range(RUNS)]
    ratio = statistics.median(ours[0] for _, ours in pairs) / statistics.median(flow[0] for flow, _ in pairs)
    report(f"{SCRIPT}, by `{FLOW}`", ratio, 2.0, "x")
    report(f"of {', '.join(HEAVY)} loaded", run(HEAVY_LOADED)[1], 0, "modules")
    finish()


if __name__ == "__main__":
    main()
