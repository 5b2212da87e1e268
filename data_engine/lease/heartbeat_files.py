"""The heartbeat, request and markers beside the list: they inform people and other machines, and never decide.

    leases/<ws>.json             the owner's heartbeat
    control_requests/<ws>.json   the pending request; the last requester wins
    available/<ws>/              marker: nobody owns
    leased/<ws>/token-<token>    marker: one machine owns
    stale/<ws>__<token>__<id>/   marker and heartbeat of an owner that fell silent

Markers follow the list and are repaired by the owner's heartbeat. A missing or damaged record is no news.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict
from typing import Any

from data_engine.lease.folder import FileSystem, forget_gone, make, names_in, put, put_aside, remove, unlink
from data_engine.lease.protocol import Damage, Damaged, Generation, HandoverRequest, LeaseRecord
from data_engine.lease.records import LARGEST_HEARTBEAT_BYTES, encode, lease_of, request_of
from data_engine.nofollow import NotFollowedError

KEEP_STALE = 8
"""Bundles of silent owners kept for people to look at."""

_TRIES = 3
_MARK = re.compile(r"token-\d{10}")


class HeartbeatFiles:
    """The heartbeat, request and markers of one workspace; `workspace` is the same on every machine, so it is not the name of a mount.

    They inform, so what lies in their place and is not ours is left alone and never an error: `left_alone` names it, with
    the reason. `broken` says what was wrong with the heartbeat when it was last looked at; None where it is missing.
    """

    def __init__(self, folder: FileSystem, workspace: str, new_id: Callable[[], str], utc: Callable[[], str]) -> None:
        self.folder = folder
        self.workspace = workspace
        self.broken: Damage | None = None
        self.left_alone: dict[str, str] = {}
        self._new_id = new_id
        self._utc = utc
        self._lease_path = f"leases/{workspace}.json"
        self._request_path = f"control_requests/{workspace}.json"

    def lease(self) -> LeaseRecord | None:
        """The heartbeat; None when there is none, or none that can be read."""
        try:
            record = lease_of(self.folder.read(self._lease_path, LARGEST_HEARTBEAT_BYTES))
        except FileNotFoundError:
            self.broken = None
            return None
        except (Damaged, NotFollowedError, IsADirectoryError) as error:
            why = error.strerror if isinstance(error, OSError) else str(error)
            if self.broken is None:
                what = f"{self._lease_path} is no heartbeat: {why}"
                self.broken = Damage(what, self._lease_path, self._utc(), "heartbeat")
            return None
        self.broken = None
        return record

    def request(self) -> HandoverRequest | None:
        """The request; None when there is none, or none that can be read."""
        try:
            return request_of(self.folder.read(self._request_path, LARGEST_HEARTBEAT_BYTES))
        except (FileNotFoundError, Damaged, NotFollowedError, IsADirectoryError):
            return None

    def put_lease(self, record: LeaseRecord) -> None:
        """Replace the heartbeat."""
        self._put(self._lease_path, asdict(record))

    def put_request(self, request: HandoverRequest) -> None:
        """Replace the request."""
        self._put(self._request_path, asdict(request))

    def remove_lease(self) -> None:
        """Take the heartbeat away."""
        self._leave(self._lease_path, lambda: unlink(self.folder, self._lease_path))

    def remove_request(self) -> None:
        """Take the request away."""
        self._leave(self._request_path, lambda: unlink(self.folder, self._request_path))

    def mark_leased(self, token: int, machine_id: str) -> None:
        """Make the markers say that `token` owns; only reads when they do already."""
        leased, mark = f"leased/{self.workspace}", f"token-{token:010d}"

        def write() -> None:
            names = names_in(self.folder, leased)
            if mark not in names:
                self._make_marker(leased)
                self.folder.write(f"{leased}/{mark}", machine_id.encode())
            for name in names:
                if name != mark and _MARK.fullmatch(name):
                    unlink(self.folder, f"{leased}/{name}")

        self._leave(leased, write)
        self._leave("available", self._unmark_available)

    def mark_available(self) -> None:
        """Make the markers say that nobody owns."""
        leased, available = f"leased/{self.workspace}", f"available/{self.workspace}"
        self._leave(leased, lambda: remove(self.folder, leased))
        self._leave(available, lambda: self._make_marker(available))

    def quarantine(self, silent: Generation) -> None:
        """Set the markers and the heartbeat of an owner that fell silent aside."""
        bundle = f"stale/{self.workspace}__{silent.token:010d}__{self._new_id()}"

        def move() -> None:
            with suppress(FileNotFoundError):
                self.folder.rename_dir(f"leased/{self.workspace}", bundle)
                self.folder.replace(self._lease_path, f"{bundle}/lease.json")

        self._leave("stale", move)

    def collect(self) -> None:
        """Remove what crashes left beside the records, and all but the newest bundles of silent owners."""
        forget_gone(self.folder, self.left_alone)
        for folder in ("leases", "control_requests"):
            self._leave(folder, lambda folder=folder: self._collect_drafts(folder))  # type: ignore[misc]
        self._leave("stale", self._collect_bundles)

    def _collect_drafts(self, folder: str) -> Mapping[str, str]:
        left: dict[str, str] = {}
        for name in names_in(self.folder, folder):
            if name.startswith(f"{self.workspace}.json.") and name.endswith(".tmp"):
                left |= remove(self.folder, f"{folder}/{name}")
        return left

    def _collect_bundles(self) -> Mapping[str, str]:
        left: dict[str, str] = {}
        bundles = [name for name in names_in(self.folder, "stale") if name.startswith(f"{self.workspace}__")]
        for name in sorted(bundles)[:-KEEP_STALE]:
            left |= remove(self.folder, f"stale/{name}")
        return left

    def _unmark_available(self) -> Mapping[str, str]:
        if self.workspace not in names_in(self.folder, "available"):
            return {}
        return remove(self.folder, f"available/{self.workspace}")

    def _make_marker(self, path: str) -> None:
        make(self.folder, path.partition("/")[0])  # somebody may have cleaned that away as well
        make(self.folder, path)

    def _leave(self, path: str, deed: Callable[[], Mapping[str, str] | None]) -> None:
        """Do `deed`; what lies in its way and is not ours stays, and is in `left_alone` until it is gone."""
        for left in [left for left in self.left_alone if left == path or left.startswith(f"{path}/")]:
            del self.left_alone[left]
        try:
            self.left_alone |= deed() or {}
        except (NotFollowedError, NotADirectoryError, IsADirectoryError) as error:
            self.left_alone[path] = error.strerror or str(error)

    def _put(self, path: str, record: Mapping[str, Any]) -> None:
        for tries_left in reversed(range(_TRIES)):
            try:
                put(self.folder, path, encode(record), self._new_id())
            except FileNotFoundError:  # a collecting owner took what was being written for what a crash left
                if not tries_left:
                    raise
            except NotFollowedError:  # a link or a folder in its place, which is kept elsewhere
                if not tries_left:
                    raise
                self.left_alone |= put_aside(self.folder, path, self._new_id())
            else:
                return
