"""A real network drive on one machine: a server and its clients, each in a network namespace of its own.

`smb` is a Samba export, mounted by the kernel's `cifs` where it has that, else by FUSE (smbnetfs); `sftp` an export of
OpenSSH's server, mounted by sshfs, whose times are whole seconds. Needs root on Linux, and the Debian packages samba and
smbnetfs (or cifs-utils), or openssh-sftp-server, sshfs and socat.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Literal, TypeAlias

Kind: TypeAlias = Literal["smb", "sftp"]

SERVER = """
[global]
server role = standalone server
map to guest = bad user
guest account = root
{places}
log file = {folder}/log
disable spoolss = yes
load printers = no
[team]
path = {folder}/export
guest ok = yes
read only = no
force user = root
"""
PORT = 2022
SFTP_SERVER = "/usr/lib/openssh/sftp-server"
SSHFS_OPTIONS = f"directport={PORT},dir_cache=no,attr_timeout=0,entry_timeout=0"
"""Without caches: they would show a file up to 20 s late, which is what 90 s of `stale_after` bear and a test's do not."""
MARK = "exported"
PLACES = ("private dir", "lock directory", "state directory", "cache directory", "pid directory", "ncalrpc dir")


def why_not(kind: Kind) -> str | None:
    """What this machine lacks; None when it can do all of it."""
    if sys.platform != "linux" or os.geteuid() != 0:
        return "namespaces and mounts need root on Linux"
    tools = {"sftp": ("sshfs", "socat", SFTP_SERVER), "smb": ("smbd", *(() if has_cifs() else ("smbnetfs",)))}[kind]
    missing = [tool for tool in ("ip", "nsenter", *tools) if shutil.which(tool) is None]
    return f"not installed: {', '.join(missing)}" if missing else None


def has_cifs() -> bool:
    """Whether the kernel itself can mount an SMB export."""
    return "cifs" in Path("/proc/filesystems").read_text().split() and shutil.which("mount.cifs") is not None


def within(seconds: float, question: Callable[[], bool]) -> None:
    """Return when it is so; what cannot be asked yet is not."""
    end_s = time.monotonic() + seconds
    while True:
        with suppress(OSError):
            if question():
                return
        if time.monotonic() > end_s:
            raise TimeoutError
        time.sleep(0.05)


def do(*command: str | Path) -> None:
    subprocess.run([str(part) for part in command], check=True, capture_output=True, timeout=30)


class Network:
    """A server that exports `export`, and `mount(n)`: its export as client number n sees it.

    `fill` puts into the export what is there before anybody looks.
    """

    def __init__(
        self, kind: Kind, folder: Path, *, fill: Callable[[Path], object] = lambda export: None, clients: int = 2
    ) -> None:
        self.kind = kind
        self.folder = folder
        self.export = folder / "export"
        self.export.mkdir(parents=True)
        (self.export / MARK).touch()
        fill(self.export)
        self._name = f"de{os.getpid() % 100000}"
        self._processes: list[subprocess.Popen[bytes]] = []
        self._mounts: list[Path] = []
        self._clients = clients
        try:
            self._connect()
            self._serve()
            for number in range(clients):
                self._mount(number)
        except BaseException:
            self.close()
            raise

    def mount(self, number: int) -> Path:
        """Where client `number` sees the export."""
        is_direct = self.kind == "sftp" or has_cifs()
        return self._at(number) if is_direct else self._at(number) / self._address(number, 1) / "team"

    def plug(self, number: int, *, is_in: bool) -> None:
        """Put the cable of client `number` in, or pull it."""
        do("ip", "-n", self._space("s"), "link", "set", f"{self._name}s{number}", "up" if is_in else "down")

    def close(self) -> None:
        for path in self._mounts:
            with suppress(subprocess.SubprocessError):
                do("umount", "-l", path)
        for process in reversed(self._processes):
            process.terminate()
        for process in self._processes:
            with suppress(subprocess.TimeoutExpired):
                process.wait(5)
            process.kill()
            process.wait()
        for side in ("s", *map(str, range(self._clients))):
            with suppress(subprocess.SubprocessError):
                do("ip", "netns", "del", self._space(side))

    def _connect(self) -> None:
        server = self._space("s")
        do("ip", "netns", "add", server)
        do("ip", "-n", server, "link", "set", "lo", "up")
        for number in range(self._clients):
            space, ends = self._space(str(number)), (f"{self._name}s{number}", f"{self._name}c{number}")
            do("ip", "netns", "add", space)
            do("ip", "-n", server, "link", "add", ends[0], "type", "veth", "peer", "name", ends[1], "netns", space)
            for name, end, host in ((server, ends[0], 1), (space, ends[1], 2)):
                do("ip", "-n", name, "addr", "add", f"{self._address(number, host)}/24", "dev", end)
                do("ip", "-n", name, "link", "set", end, "up")

    def _serve(self) -> None:
        if self.kind == "sftp":
            listen = f"TCP-LISTEN:{PORT},reuseaddr,fork"
            self._start("s", "socat", listen, f"EXEC:{SFTP_SERVER}")
            knock = [*self._inside("s"), "socat", "-u", "OPEN:/dev/null", f"TCP:127.0.0.1:{PORT}"]
            within(
                20, lambda: subprocess.run(knock, check=False, capture_output=True).returncode == 0
            )  # sshfs tries once
            return
        state = self.folder / "samba"
        for place in PLACES:
            (state / place.replace(" ", "-")).mkdir(parents=True)
        places = "\n".join(f"{place} = {state}/{place.replace(' ', '-')}" for place in PLACES)
        (self.folder / "smb.conf").write_text(SERVER.format(folder=self.folder, places=places))
        self._start("s", "smbd", "-F", "--no-process-group", "-s", str(self.folder / "smb.conf"))

    def _mount(self, number: int) -> None:
        at = self._at(number)
        at.mkdir()
        host = self._address(number, 1)
        if self.kind == "sftp":
            self._start(str(number), "sshfs", "-f", "-o", SSHFS_OPTIONS, f"{host}:{self.export}", str(at))
        elif has_cifs():
            command = ("mount", "-t", "cifs", "-o", "guest,vers=3.0", f"//{host}/team", str(at))
            within(20, lambda: subprocess.run([*self._inside(str(number)), *command], check=False).returncode == 0)
        else:
            home = self.folder / f"home{number}"
            (home / ".smb").mkdir(parents=True)
            (home / ".smb" / "smbnetfs.conf").touch(mode=0o600)
            self._start(str(number), "smbnetfs", "-f", str(at), home=home)
        self._mounts.append(at)
        within(20, lambda: os.path.ismount(at) and (self.mount(number) / MARK).exists())

    def _start(self, side: str, *command: str, home: Path | None = None) -> None:
        environment = os.environ | ({} if home is None else {"HOME": str(home)})
        self._processes.append(
            subprocess.Popen(
                [*self._inside(side), *command],
                env=environment,
                start_new_session=True,  # smbd ends with all of its group
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
        )

    def _inside(self, side: str) -> list[str]:
        # Not `ip netns exec`, whose mounts nobody else would see.
        return ["nsenter", f"--net=/var/run/netns/{self._space(side)}"]

    def _space(self, side: str) -> str:
        return f"{self._name}-{side}"

    def _at(self, number: int) -> Path:
        return self.folder / f"client{number}"

    def _address(self, number: int, host: int) -> str:
        return f"10.177.{number}.{host}"
