"""One broken rule of deployments and requests each; the schedules of decisions.py must catch every one."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

from data_engine.daemon.requests import RequestInbox, answer_row, taken_row
from data_engine.lease.deployment_files import BLOBS, SETS, DeploymentFiles
from data_engine.lease.folder import names_in, unlink
from data_engine.lease.requests import Move, RemoteRequest, Seen, judge
from data_engine.notebook.module_sets import hashes_of, set_id
from tests.lease import decisions
from tests.lease.decisions import Owner
from tests.lease.simulated_share import World


def pointer_before_set(world: World, owner: Owner, files: DeploymentFiles) -> None:
    """The pointer is published before its set is there."""
    contents = {"claims.py": f"v{world.rng.randrange(6)}".encode(), "flow_helpers/a.py": b"a"}
    decisions.point_to(owner, set_id(hashes_of(contents)), contents)
    files.put(contents)


def collects_by_listing(
    self: DeploymentFiles, kept: Collection[str], *, now_s: float, may_go_on: Callable[[], bool]
) -> None:
    """Collection goes by what the folder lists, not by what deployments name: all but the last names go."""
    for folder in (SETS, BLOBS):
        for name in sorted(names_in(self.folder, folder))[:-3]:
            unlink(self.folder, f"{folder}/{name}")


async def begun_before_taken(self: RequestInbox, request: RemoteRequest) -> None:
    """It is begun before it is published that it is taken."""
    self._running.add(request.request_id)
    self._spawn(self._carry_out(request, self._owner.token))
    await self._publish(taken_row(request))


def old_file_carried_out(seen: Seen, *, state: str | None, is_running: bool, lay_there: bool, now_s: float) -> Move:
    """An answered request whose file is there again is carried out again."""
    return (
        "take"
        if state == "answered"
        else judge(seen, state=state, is_running=is_running, lay_there=lay_there, now_s=now_s)
    )


def interrupted_begun_again(seen: Seen, *, state: str | None, is_running: bool, lay_there: bool, now_s: float) -> Move:
    """What an earlier owner has taken and not answered is begun again."""
    state = None if state == "taken" else state
    return judge(seen, state=state, is_running=is_running, lay_there=False, now_s=now_s)


def runs_what_lies_there(world: World, owner: Owner, files: DeploymentFiles) -> None:
    """What runs is what lies in the folder, not what a row points to."""
    files.put({"claims.py": b"experiment"})
    for name in sorted(names_in(files.folder, SETS)):
        if (found := name.removesuffix(".json")) not in owner.truth.pointed:
            raise decisions.Violation(f"{owner.machine.name} runs {found}, which no owner pointed to")


async def carried_when_fenced(self: RequestInbox, request: RemoteRequest, token: int | None) -> None:
    """It is begun although the lease has lapsed since it was taken, or is somebody else's."""
    outcome, answer = await self._handle(request)
    await self._publish(answer_row(request, outcome, answer))


MUTANTS: dict[str, tuple[Any, str, Any]] = {
    "pointer_before_set": (decisions, "deploy", pointer_before_set),
    "collects_by_listing": (DeploymentFiles, "collect", collects_by_listing),
    "begun_before_taken": (RequestInbox, "_take", begun_before_taken),
    "old_file_carried_out": ("data_engine.daemon.requests", "judge", old_file_carried_out),
    "interrupted_begun_again": ("data_engine.daemon.requests", "judge", interrupted_begun_again),
    "carried_when_fenced": (RequestInbox, "_carry_out", carried_when_fenced),
    "runs_what_lies_there": (decisions, "run", runs_what_lies_there),
}


@contextmanager
def broken(name: str) -> Iterator[None]:
    """The product with this rule broken."""
    target, attribute, replacement = MUTANTS[name]
    if isinstance(target, str):
        with patch(f"{target}.{attribute}", replacement):
            yield
    else:
        with patch.object(target, attribute, replacement):
            yield
