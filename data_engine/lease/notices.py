"""What people and other machines are told beside the list: heartbeat, request, markers. It informs and never decides.

    leases/<ws>.json             the owner's heartbeat
    control_requests/<ws>.json   the pending request; the last requester wins
    available/<ws>/              marker: nobody owns
    leased/<ws>/token-<token>    marker: one machine owns
    stale/<ws>__<token>__<id>/   marker and heartbeat of an owner that fell silent

Markers follow the list and are mended by the owner's heartbeat. A missing or damaged record is no news.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict
from typing import Any, TypeVar

from data_engine.lease.folder import FileSystem
from data_engine.lease.generations import make, names_in, remove, unlink
from data_engine.lease.protocol import Damaged, Entry, LeaseRecord, Request, encode, lease_of, request_of

_T = TypeVar("_T")

KEEP_STALE = 8
"""Bundles of silent owners kept for people to look at."""

_TRIES = 3


class Notices:
    """The notices of one workspace; `workspace` is the same on every machine, so it is not the name of a mount."""

    def __init__(self, folder: FileSystem, workspace: str, new_id: Callable[[], str]) -> None:
        self.folder = folder
        self.workspace = workspace
        self._new_id = new_id
        self._lease_path = f"leases/{workspace}.json"
        self._request_path = f"control_requests/{workspace}.json"

    def lease(self) -> LeaseRecord | None:
        """The heartbeat; None when there is none, or none that can be read."""
        return self._read(self._lease_path, lease_of)

    def request(self) -> Request | None:
        """The request; None when there is none, or none that can be read."""
        return self._read(self._request_path, request_of)

    def put_lease(self, record: LeaseRecord) -> None:
        """Replace the heartbeat."""
        self._put(self._lease_path, asdict(record))

    def put_request(self, request: Request) -> None:
        """Replace the request."""
        self._put(self._request_path, asdict(request))

    def remove_lease(self) -> None:
        """Take the heartbeat away."""
        unlink(self.folder, self._lease_path)

    def remove_request(self) -> None:
        """Take the request away."""
        unlink(self.folder, self._request_path)

    def mark_leased(self, token: int, machine_id: str) -> None:
        """Make the markers say that `token` owns; only reads when they do already."""
        leased, mark = f"leased/{self.workspace}", f"token-{token:010d}"
        names = names_in(self.folder, leased)
        if mark not in names:
            make(self.folder, leased)
            self.folder.write(f"{leased}/{mark}", machine_id.encode())
        for name in names:
            if name != mark:
                unlink(self.folder, f"{leased}/{name}")
        if self.workspace in names_in(self.folder, "available"):
            remove(self.folder, f"available/{self.workspace}")

    def mark_available(self) -> None:
        """Make the markers say that nobody owns."""
        remove(self.folder, f"leased/{self.workspace}")
        make(self.folder, f"available/{self.workspace}")

    def quarantine(self, silent: Entry) -> None:
        """Set the markers and the heartbeat of an owner that fell silent aside."""
        bundle = f"stale/{self.workspace}__{silent.token:010d}__{self._new_id()}"
        with suppress(FileNotFoundError):
            self.folder.rename_dir(f"leased/{self.workspace}", bundle)
            self.folder.replace(self._lease_path, f"{bundle}/lease.json")

    def collect(self) -> None:
        """Remove what crashes left beside the records, and all but the newest bundles of silent owners."""
        for folder in ("leases", "control_requests"):
            for name in names_in(self.folder, folder):
                if name.startswith(f"{self.workspace}.json.") and name.endswith(".tmp"):
                    unlink(self.folder, f"{folder}/{name}")
        bundles = [name for name in names_in(self.folder, "stale") if name.startswith(f"{self.workspace}__")]
        for name in sorted(bundles)[:-KEEP_STALE]:
            remove(self.folder, f"stale/{name}")

    def _read(self, path: str, record_of: Callable[[bytes], _T]) -> _T | None:
        try:
            return record_of(self.folder.read(path))
        except (FileNotFoundError, Damaged):
            return None

    def _put(self, path: str, record: Mapping[str, Any]) -> None:
        for tries_left in reversed(range(_TRIES)):
            temp = f"{path}.{self._new_id()}.tmp"
            self.folder.write(temp, encode(record))
            try:
                self.folder.replace(temp, path)
            except FileNotFoundError:  # a collecting owner took it for what a crash left
                if not tries_left:
                    raise
            except OSError:
                with suppress(OSError):
                    self.folder.unlink(temp)
                raise
            else:
                return
