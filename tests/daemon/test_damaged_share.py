"""Real daemons on a shared folder that was damaged, turned back or filled with links: what they say, and what is not lost."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from data_engine.errors import FlowValidationError, OwnedElsewhereError
from tests.daemon.stations import POLL, Make, Station, begun, drop, shared_workspace
from tests.support import PATIENCE, end_now, pause, resume, until

LOGS = """def finish(context):
    context.log("all is well")"""


@pytest.fixture
def team(tmp_path: Path) -> Path:
    """A shared workspace with a poll flow."""
    return shared_workspace(tmp_path / "team", poll=POLL.replace("def finish(context):", LOGS))


@pytest.fixture
def docs(tmp_path: Path) -> Path:
    """A folder of somebody else, with names like ours in it."""
    folder = tmp_path / "docs"
    (folder / "stage-y").mkdir(parents=True)
    for name in ("contract.docx", "entry.json", "token-0000000001", "stage-y/entry.json"):
        (folder / name).write_text(name)
    return folder


def contents(folder: Path) -> dict[str, str]:
    """Every file below the folder."""
    return {str(path.relative_to(folder)): path.read_text() for path in folder.rglob("*") if path.is_file()}


def done(station: Station) -> set[str]:
    """The files that it knows to be done."""
    return {name for name, statuses in station.runs().items() if "success" in statuses}


def do(team: Path, name: str, *stations: Station) -> None:
    """Drop a file; all these stations know that it is done when this returns."""
    drop(team, name)
    for one in stations:
        until(lambda one=one: name in done(one), 40)


def own(station: Station) -> None:
    """Start its engine as soon as it may."""

    def is_on() -> bool:
        with suppress(FlowValidationError):
            station.daemon.post("/start-engine", {}, timeout_s=30 * PATIENCE)
            return True
        return False

    until(is_on, 40)


def generations(team: Path) -> list[Path]:
    return sorted((team / ".workspace_state" / "state" / "generations").iterdir())


def newest_segment(team: Path, table: str) -> str:
    """The newest segment of the table that the newest generation lists, relative to the state folder."""
    entry = json.loads((generations(team)[-1] / "entry.json").read_bytes().partition(b"\n")[2])
    return f"state/{table}/{entry['files'][table][-1][0]}"


def beat(team: Path, station: Station) -> int:
    """Of the owner's heartbeat."""
    path = team / ".workspace_state" / "leases" / f"{station.local.identity}.json"
    return int(json.loads(path.read_bytes().partition(b"\n")[2])["beat"])


def findings(station: Station) -> dict[str, dict[str, Any]]:
    """What its doctor finds."""
    _, found = station.command("doctor")
    return {one["name"]: one for one in found["findings"]}


def test_a_link_among_the_stages_of_a_working_owner_costs_nothing_behind_it(
    team: Path, station: Make, docs: Path
) -> None:
    """The generation is collected all the same; where the link is now stands in the status and in `doctor`."""
    anna, ben = station("anna").start(), station("ben").start(engine=False)
    do(team, "0.txt", anna, ben)
    before = contents(docs)
    newest = generations(team)[-1]
    (newest / "stage-x").symlink_to(docs)

    for number in range(1, 30):
        do(team, f"{number}.txt", anna, ben)  # published
        if not newest.exists():
            break
    assert not newest.exists()
    kept = f"not_ours/{newest.name}-stage-x"
    assert (team / ".workspace_state" / kept).is_symlink()
    assert contents(docs) == before
    until(lambda: kept in (anna.lease["trouble"] or ""))
    assert kept in findings(anna)["links"]["measured"]
    assert len(begun(team)) == 2 * len(done(anna))


def test_heartbeats_go_on_with_a_link_in_place_of_the_marker(team: Path, station: Make, docs: Path) -> None:
    """Nothing is written or removed behind it, also when the workspace is given up; it is told as long as it is there."""
    anna, ben = station("anna").start(), station("ben").start(engine=False)
    do(team, "a.txt", anna, ben)
    before = contents(docs)
    name = f"leased/{anna.local.identity}"
    marker = team / ".workspace_state" / name
    marker.rename(team / "moved_marker")  # at once, whatever a heartbeat writes there
    marker.symlink_to(docs)

    until(lambda: name in (anna.lease["trouble"] or ""))
    first = beat(team, anna)
    until(lambda: beat(team, anna) > first + 5)
    assert findings(anna)["links"]["ok"] is False
    assert name in findings(anna)["links"]["measured"]
    do(team, "b.txt", anna, ben)
    assert (anna.lease["lapsed"], ben.lease["state"]) == (False, "owned")
    anna.lease_do("release-control")
    until(lambda: ben.lease["state"] == "available")

    assert marker.is_symlink()
    assert contents(docs) == before


def test_nobody_takes_over_a_history_of_which_a_segment_is_gone_before_it_is_repaired(
    team: Path, station: Make
) -> None:
    """It is told with the file and the fix, also at a third workstation; after the repair nothing is done again."""
    anna, ben = station("anna").start(), station("ben").start(engine=False)
    do(team, "a.txt", anna, ben)
    do(team, "b.txt", anna, ben)
    end_now(anna.pid)
    anna.end()
    gone = newest_segment(team, "file_state")  # what decides whether a file is done again
    (team / ".workspace_state" / gone).unlink()
    carl = station("carl").start(engine=False)
    until(lambda: carl.lease["damage"])
    until(lambda: ben.lease["state"] == "takeover_available")
    before = generations(team)

    with pytest.raises(OwnedElsewhereError, match="is missing"):
        ben.lease_do("take-over")
    for one in (ben, carl):
        until(lambda one=one: one.lease["damage"] and one.lease["damage"]["fix"] == "data-engine lease repair")
        assert (one.lease["state"], one.lease["damage"]["file"]) == ("damaged", gone)
        assert one.lease["damage"]["noticed_by"] == one.name
    assert ben.command("start")[0] == 3
    assert generations(team) == before

    code, repaired = ben.command("lease", "repair")
    assert (code, gone.removeprefix("state/") in repaired["repaired"]) == (0, True)
    own(ben)
    do(team, "c.txt", ben, carl)
    until(lambda: done(carl) == {"a.txt", "b.txt", "c.txt"})
    until(lambda: (ben.lease["damage"], carl.lease["damage"]) == (None, None))
    assert sorted(begun(team)) == sorted(
        f"{name} {step}" for name in ("a.txt", "b.txt", "c.txt") for step in ("begin", "finish")
    )


def test_after_a_restored_backup_one_repair_is_enough_for_all_and_nothing_is_done_again(
    team: Path, station: Make
) -> None:
    """Whoever owns next, and after a restart; what the backup lacked is published again by those who hold it."""
    anna, ben, carl = (station(name).start(engine=name == "anna") for name in ("anna", "ben", "carl"))
    three = (anna, ben, carl)
    do(team, "a.txt", *three)
    deployed = anna.command("deployments")[1][-1]["id"]
    state = team / ".workspace_state" / "state"
    shutil.copytree(state, team / "backup")
    do(team, "b.txt", *three)
    do(team, "c.txt", *three)
    state.rename(team / "gone")
    shutil.copytree(team / "backup", state)

    for one in three:
        until(lambda one=one: one.lease["state"] == "damaged", 40)
        assert "was seen before" in one.lease["damage"]["what"]
        assert one.lease["damage"]["fix"] == "data-engine lease repair"

    def repaired() -> str | None:
        code, said = ben.command("lease", "repair")
        return said["repaired"] if code == 0 else None

    assert "lost on the share: generation" in until(repaired, 40)
    for one in three:
        until(lambda one=one: one.lease["state"] == "available" and not one.lease["damage"])
    names = {"a.txt", "b.txt", "c.txt"}
    for number, one in enumerate((carl, anna, ben)):
        own(one)
        do(team, f"{number}.txt", *three)
        names.add(f"{number}.txt")
        one.lease_do("release-control")
        until(lambda one=one: one.lease["state"] == "available")
    dora = station("dora").start(engine=False)
    until(lambda: done(dora) == names)

    for one in three:
        one.end()
        one.start(engine=False)
        until(lambda one=one: one.lease["state"] == "available")
    own(anna)
    do(team, "d.txt", *three, dora)
    told = [[found["id"] for found in one.command("deployments")[1]] for one in (*three, dora)]
    assert told == [told[0]] * 4
    assert deployed in told[0]
    assert sorted(begun(team)) == sorted(f"{name} {step}" for name in (*names, "d.txt") for step in ("begin", "finish"))


def is_removed_behind(owner: Station, team: Path, seen: Sequence[Path]) -> bool:
    """Whether all but the generations `seen` could be taken away while it is paused; on Windows not what it has open."""
    pause(owner.pid)
    aside = team / "aside"
    aside.mkdir(exist_ok=True)
    taken: list[Path] = []
    try:
        for one in set(generations(team)) - set(seen):
            one.rename(aside / one.name)
            taken.append(one)
    except OSError:
        for one in taken:
            (aside / one.name).rename(one)
        resume(owner.pid)
        return False
    return True


def test_who_owns_again_by_a_repair_does_nothing_that_was_done_meanwhile(team: Path, station: Make) -> None:
    """What was found due before is judged anew: another one owned in between, and the list told it to nobody."""
    anna, ben = station("anna").start(), station("ben").start(engine=False)
    do(team, "a.txt", anna, ben)
    pause(ben.pid)  # it never sees what anna publishes next
    seen = generations(team)
    names = [
        f"{number}.txt" for number in range(3)
    ]  # by few runs ben publishes so little that the number anna knows is still there
    for name in names:
        drop(team, name, seconds=0.8)
    # Of two new ones it knows the first to be published, whenever it is paused.
    until(lambda: len(set(generations(team)) - set(seen)) > 1 and any("finish" in line for line in begun(team)[2:]))
    until(lambda: is_removed_behind(anna, team, seen))
    resume(ben.pid)
    ben.take_over()
    own(ben)
    until(lambda: done(ben) >= set(names), 60)
    resume(anna.pid)
    until(lambda: anna.lease["damage"], 40)
    at_first = len(begun(team))
    ben.lease_do("release-control")
    until(lambda: ben.lease["state"] == "available")

    until(lambda: anna.command("lease", "repair")[0] == 0, 40)
    own(anna)
    do(team, "b.txt", anna)

    assert [line for line in begun(team)[at_first:] if line.endswith("begin")] == ["b.txt begin"]


def test_after_a_colleague_has_tidied_away_the_shared_state_one_repair_brings_all_of_it_back(
    team: Path, station: Make
) -> None:
    """From the owner's own ledger and copies: what is deployed, what was done, and who may own."""
    anna, ben = station("anna").start(), station("ben").start(engine=False)
    do(team, "a.txt", anna, ben)
    deployed = [one["id"] for one in anna.command("deployments")[1]]
    state = team / ".workspace_state"
    shutil.rmtree(state, ignore_errors=True)

    until(lambda: anna.lease["damage"], 40)
    assert "was seen before" in anna.lease["damage"]["what"]
    assert anna.lease["damage"]["fix"] == findings(anna)["shared history"]["fix"] == "data-engine lease repair"
    until(lambda: anna.command("lease", "repair")[0] == 0, 40)
    own(anna)

    until(lambda: any((state / "deployments" / "blobs").glob("*")))
    do(team, "b.txt", anna, ben)
    assert findings(anna)["deployed"]["ok"]
    assert [one["id"] for one in anna.command("deployments")[1]] == deployed
    assert sorted(begun(team)) == ["a.txt begin", "a.txt finish", "b.txt begin", "b.txt finish"]


def test_a_repair_where_nothing_is_damaged_changes_nothing(team: Path, station: Make) -> None:
    """At its owner the engine stays on; at an observer it is refused while an owner works."""
    anna, ben = station("anna").start(), station("ben").start(engine=False)
    do(team, "a.txt", anna, ben)
    token = anna.lease["token"]

    code, said = anna.command("lease", "repair")
    assert (code, said["repaired"]) == (0, "nothing of the shared history is damaged: nothing was changed")
    code, refused = ben.command("lease", "repair")
    assert (code, refused["error"]["what"]) == (3, "anna owns the workspace")

    assert (anna.lease["token"], anna.lease["state"], anna.lease["lost_to"]) == (token, "mine", None)
    assert anna.daemon.get("/status")["engine"]["on"]
    do(team, "b.txt", anna, ben)
    assert len(begun(team)) == 4
