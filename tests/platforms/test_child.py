"""A worker process as its daemon holds it, on each system: channels, text streams, and the end of all that it started."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psutil
import pytest

from data_engine.platforms.child import Child
from data_engine.platforms.processes import new_event_loop

REPOSITORY = Path(__file__).parent.parent.parent
JOIN = "import sys, os, time; from data_engine.platforms import parent; channel, answers = parent.join(sys.argv[-1])\n"
GRANDCHILD = "import subprocess; child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])\n"


class Started:
    """A child that runs `code`, and what came of it."""

    def __init__(self, code: str, folder: Path) -> None:
        loop = asyncio.get_running_loop()
        self.channels: asyncio.Future[tuple[socket.socket, socket.socket]] = loop.create_future()
        self.gone: asyncio.Future[None] = loop.create_future()
        self.texts = [b"", b""]
        kept = os.open(os.devnull, os.O_RDONLY)
        self.child = Child(
            [sys.executable, "-c", JOIN + code],
            environment=os.environ | {"PYTHONPATH": str(REPOSITORY)},
            folder=folder,
            loop=loop,
            on_channels=lambda channel, answers: self.channels.set_result((channel, answers)),
            on_text=self._read,
            on_exit=lambda: self.gone.set_result(None),
            kept=kept,
        )
        os.close(kept)

    def _read(self, number: int) -> None:
        self.texts[number] += self.child.read_text(number, 65536)

    async def end(self) -> int:
        """End it and all it started; its exit status."""
        self.child.end()
        await asyncio.wait_for(self.gone, 30)
        status = self.child.wait()
        for number in range(2):
            while data := self.child.read_text(number, 65536):
                self.texts[number] += data
        self.child.close()
        if self.channels.done():
            for channel in self.channels.result():
                channel.close()
        return status


def play(scene: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Play it in a thread: in the main one the loop of a browser that another test drives may run."""

    def run() -> None:
        with asyncio.Runner(loop_factory=new_event_loop) as runner:
            runner.run(scene())

    with ThreadPoolExecutor(1) as thread:
        thread.submit(run).result()


async def received(channel: socket.socket, size: int) -> bytes:
    data = b""
    loop = asyncio.get_running_loop()
    while len(data) < size:
        data += await asyncio.wait_for(loop.sock_recv(channel, size - len(data)), 30)
    return data


async def until(holds: Callable[[], object]) -> None:
    deadline_s = time.monotonic() + 30
    while not holds():
        assert time.monotonic() < deadline_s
        await asyncio.sleep(0.01)


def test_both_channels_lead_there_and_back(tmp_path: Path) -> None:
    """Each to its own end, whatever was sent before the other side was there."""

    async def scene() -> None:
        started = Started(
            "channel.sendall(b'here' + channel.recv(4)); answers.recv(1); channel.sendall(b'!')", tmp_path
        )
        channel, answers = await asyncio.wait_for(started.channels, 30)
        loop = asyncio.get_running_loop()

        await loop.sock_sendall(channel, b"come")
        assert await received(channel, 8) == b"herecome"
        await loop.sock_sendall(answers, b"1")
        assert await received(channel, 1) == b"!"
        await asyncio.wait_for(started.gone, 30)
        assert await started.end() == 0

    play(scene)


def test_what_it_writes_comes_stream_by_stream_also_what_c_and_children_write(tmp_path: Path) -> None:
    """A stream that nobody reads for a while holds up nobody."""
    code = (
        "os.write(1, b'out'); os.write(2, b'err'); import subprocess\n"
        "subprocess.run([sys.executable, '-c', 'print(\"child\", end=\"\")'])\n"
        "os.write(2, b'x' * 60_000); channel.sendall(b'1'); answers.recv(1)"
    )

    async def scene() -> None:
        started = Started(code, tmp_path)
        channel, _ = await asyncio.wait_for(started.channels, 30)
        await received(channel, 1)
        await until(lambda: len(started.texts[1]) >= 60_003)

        await started.end()
        assert (started.texts[0], started.texts[1][:4]) == (b"outchild", b"errx")

    play(scene)


def test_its_end_takes_along_what_it_started(tmp_path: Path) -> None:
    """At once, and its channel is closed; a grandchild that hides is found too."""

    async def scene() -> None:
        started = Started(GRANDCHILD + "channel.sendall(b'%10d' % child.pid); time.sleep(60)", tmp_path)
        channel, _ = await asyncio.wait_for(started.channels, 30)
        grandchild = psutil.Process(int(await received(channel, 10)))

        begun_s = time.monotonic()
        await started.end()
        await until(lambda: not grandchild.is_running() or grandchild.status() == psutil.STATUS_ZOMBIE)
        assert time.monotonic() - begun_s < 2

    play(scene)


def test_what_it_started_can_be_ended_without_it(tmp_path: Path) -> None:
    """As after a run that left a process behind."""

    async def scene() -> None:
        code = GRANDCHILD + "channel.sendall(b'%10d' % child.pid); child.wait(); channel.sendall(b'!'); time.sleep(60)"
        started = Started(code, tmp_path)
        channel, _ = await asyncio.wait_for(started.channels, 30)
        await received(channel, 10)

        started.child.end_started()
        assert await received(channel, 1) == b"!"
        assert not started.gone.done()
        await started.end()

    play(scene)


def test_it_ends_with_the_process_that_holds_it(tmp_path: Path) -> None:
    """However that dies, and although it hangs: nothing of it is left."""
    code = f"""
import asyncio, os, sys, time
sys.path[:0] = [{str(REPOSITORY)!r}]
from pathlib import Path
from tests.platforms.test_child import GRANDCHILD, Started, play, received
async def scene():
    started = Started(GRANDCHILD + "channel.sendall(b'%10d%10d' % (os.getpid(), child.pid)); time.sleep(60)", Path({str(tmp_path)!r}))
    channel, _ = await asyncio.wait_for(started.channels, 30)
    print((await received(channel, 20)).decode(), os.getpid(), flush=True)
    time.sleep(60)
play(scene)
"""
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        worker, grandchild, true_holder = (psutil.Process(int(pid)) for pid in holder.stdout.readline().split())
        true_holder.kill()

        psutil.wait_procs([worker], timeout=10)
        assert not worker.is_running() or worker.status() == psutil.STATUS_ZOMBIE
        if sys.platform == "win32":  # elsewhere the daemon that comes next ends it
            psutil.wait_procs([grandchild], timeout=10)
            assert not grandchild.is_running()
        elif grandchild.is_running():
            grandchild.kill()


@pytest.mark.skipif(
    sys.platform != "win32", reason="only there a worker connects to a port; elsewhere it inherits sockets"
)
def test_who_does_not_know_the_secret_is_no_worker(tmp_path: Path) -> None:
    """Another program of the machine that is quicker, or says half a greeting, changes nothing."""

    async def scene() -> None:
        started = Started("channel.sendall(b'me'); answers.recv(1)", tmp_path)
        port = started.child._listener.getsockname()[1]  # type: ignore[union-attr]
        loop = asyncio.get_running_loop()
        strangers = []
        for said in (b"", b"half", b"x" * 37):
            stranger = socket.socket()
            stranger.setblocking(False)
            await loop.sock_connect(stranger, ("127.0.0.1", port))
            await loop.sock_sendall(stranger, said)
            strangers.append(stranger)

        channel, _ = await asyncio.wait_for(started.channels, 30)
        assert await received(channel, 2) == b"me"
        with pytest.raises(OSError, match=r".*"):
            socket.create_connection(("127.0.0.1", port), timeout=5)
        await started.end()
        for stranger in strangers:
            stranger.close()

    play(scene)
