"""What a system costs: `python -m benchmarks.platform`, on each; `python -m tests.windows --module benchmarks.platform` runs it under Wine.

A daemon's cold start, a request by hand until its step, and the end of a worker with what it started. The limits are those
of Wine, where each file that is opened costs a millisecond or more; a bare server that loads the same libraries tells how quick the machine
is. On Linux `benchmarks.daemon` has tighter ones.
"""

from __future__ import annotations

import asyncio
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

import psutil

from benchmarks.daemon import MANUAL, cold_starts_s, request_to_step_ms, until
from benchmarks.figures import finish, report
from data_engine import Workspace
from data_engine.engine.local_workspace import forget_workspaces
from data_engine.platforms.child import Child
from data_engine.platforms.processes import new_event_loop

GRANDCHILDREN = 3
_CODE = """
import subprocess, sys, time
from data_engine.platforms import parent
channel, answers = parent.join(sys.argv[-1])
started = [subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"]) for _ in range({count})]
channel.sendall(b"".join(b"%10d" % one.pid for one in started))
time.sleep(60)
"""


async def end_s(folder: Path) -> float:
    """Median seconds until a worker and its grandchildren are gone."""
    times = []
    for _ in range(7):
        loop = asyncio.get_running_loop()
        there, gone = loop.create_future(), loop.create_future()
        kept = os.open(os.devnull, os.O_RDONLY)
        child = Child(
            [sys.executable, "-c", _CODE.format(count=GRANDCHILDREN)],
            environment=os.environ | {"PYTHONPATH": str(Path(__file__).parent.parent)},
            folder=folder,
            loop=loop,
            on_channels=lambda channel, answers, there=there: there.set_result((channel, answers)),  # type: ignore[misc]
            on_text=lambda number: None,
            on_exit=lambda gone=gone: gone.set_result(None),  # type: ignore[misc]
            kept=kept,
        )
        os.close(kept)
        channel, answers = await there
        said = b""
        while len(said) < 10 * GRANDCHILDREN:
            said += await loop.sock_recv(channel, 1024)
        grandchildren = [psutil.Process(int(said[at : at + 10])) for at in range(0, len(said), 10)]
        begun_s = time.perf_counter()
        child.end()
        await gone
        child.wait()
        while any(_is_there(one) for one in grandchildren):
            await asyncio.sleep(0.001)
        times.append(time.perf_counter() - begun_s)
        child.close()
        channel.close()
        answers.close()
    return statistics.median(times)


def _is_there(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False


def main() -> None:
    """Print each figure beside its limit."""
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # whoever has installed it has its bytecode
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        os.environ["DATA_ENGINE_STATE_ROOT"] = str(Path(folder) / "state")
        root = Path(folder) / "ws"
        (root / "flow_modules").mkdir(parents=True)
        (root / "flow_modules" / "flow_00.py").write_text(MANUAL.format(number=0))
        workspace = Workspace(root)
        start_s, bare_s = cold_starts_s(workspace)
        report("daemon: cold start until it answers", start_s, 2.0, "s", f"a bare server: {bare_s:.3f} s")
        workspace.start()
        until(lambda: workspace.status()["engine"])
        workspace.run("flow_00")
        took_ms, ratio = request_to_step_ms(workspace)
        note = f"{ratio:.1f}x of a bare server's to a process"
        report("daemon: request by hand to its step", took_ms, 60.0, "ms", note)
        workspace.kill()
        forget_workspaces()  # a file that is open cannot be removed on Windows
        with asyncio.Runner(loop_factory=new_event_loop) as runner:
            seconds = runner.run(end_s(Path(folder)))
        report(f"a worker's end with its {GRANDCHILDREN} grandchildren", seconds, 0.2, "s")
    finish()


if __name__ == "__main__":
    main()
