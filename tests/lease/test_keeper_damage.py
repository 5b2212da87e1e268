"""The keeper on a share that was damaged: nothing is owned by half, an owner repairs from its ledger, and rows come back."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from data_engine.errors import OwnedElsewhereError, WorkspaceError
from data_engine.lease.observer import Observer
from data_engine.lease.protocol import Lost
from tests.lease.test_keeper import LIMITS, Machine
from tests.support import PATIENCE, until


@pytest.fixture
def share(tmp_path: Path) -> Path:
    folder = tmp_path / "share"
    folder.mkdir()
    return folder


@pytest.fixture
def machine(tmp_path: Path, share: Path) -> Iterator[Callable[..., Machine]]:
    made: list[Machine] = []

    def make(name: str, **more: object) -> Machine:
        made.append(Machine(name, share, tmp_path / "state", **more))  # type: ignore[arg-type]
        return made[-1]

    yield make
    for one in made:
        one.close(release=False)


def segments(share: Path, table: str) -> list[Path]:
    return sorted((share / "state" / table).glob("*.parquet"))


def published(one: Machine, *run_ids: str) -> None:
    """A commit for each of these runs, so that each has a segment of its own."""
    for run_id in run_ids:
        one.run(run_id)
        until(lambda: one.share.unpublished(one.keeper.state.token or 0) is None)


@pytest.mark.parametrize("harm", ["missing", "torn"])
def test_a_take_over_of_a_history_that_cannot_be_read_whole_takes_nothing(
    machine: Callable[..., Machine], share: Path, harm: str
) -> None:
    """It is told with the file at all who look, nobody owns, no engine may start; after a repair all goes on."""
    anna = machine("anna")
    anna.keeper.own().result(10 * PATIENCE)
    published(anna, "r1", "r2")
    anna.close(release=False)
    (one, _) = segments(share, "runs")
    one.unlink() if harm == "missing" else one.write_bytes(b"?" * one.stat().st_size)
    ben, carl = machine("ben"), machine("carl")
    until(lambda: ben.keeper.state.lease.damage is not None)
    before = sorted(path.name for path in (share / "state" / "generations").iterdir())

    for _ in range(20):
        with pytest.raises(OwnedElsewhereError) as refused:
            ben.keeper.take_over().result(10 * PATIENCE)
    assert one.name in refused.value.what
    assert "data-engine lease repair" in str(refused.value.fix)
    assert sorted(path.name for path in (share / "state" / "generations").iterdir()) == before
    for observer in (ben, carl):
        until(lambda observer=observer: observer.keeper.state.lease.state == "damaged")
        damage = observer.keeper.state.lease.damage
        assert damage is not None
        assert (damage["file"], damage["noticed_by"]) == (
            f"state/runs/{one.name}",
            f"{observer.keeper.me.machine_id.upper()}-PC",
        )
        assert not observer.keeper.can_work()

    def repair() -> str:
        return str(ben.keeper.repair().result(10 * PATIENCE))

    until(lambda: _quietly(repair))
    ben.keeper.own().result(10 * PATIENCE)
    assert ben.runs() == {"r2"}
    until(lambda: carl.keeper.state.lease.state == "owned")


@pytest.mark.parametrize("harm", ["missing", "torn", "other bytes"])
def test_who_has_the_rows_of_a_damaged_segment_takes_over_no_more_than_who_has_not(
    machine: Callable[..., Machine], share: Path, harm: str
) -> None:
    """All see the same damage, and go on seeing it, until it has gone."""
    anna, ben = machine("anna"), machine("ben")
    anna.keeper.own().result(10 * PATIENCE)
    published(anna, "r1", "r2")
    until(lambda: ben.runs() == {"r1", "r2"})
    anna.close(release=False)
    until(lambda: ben.keeper.state.lease.state == "takeover_available")
    (one, _) = segments(share, "runs")
    content = one.read_bytes()
    one.unlink()
    if harm != "missing":
        one.write_bytes(content[:-4] if harm == "torn" else content[:-1] + b"?")
    carl = machine("carl")

    def is_refused_for_it() -> bool:
        with pytest.raises(OwnedElsewhereError) as refused:
            ben.keeper.take_over().result(10 * PATIENCE)
        return one.name in refused.value.what

    for _ in range(2):
        until(is_refused_for_it)
        ben.keeper.look().result(10 * PATIENCE)
        assert ben.keeper.state.lease.state == "damaged"
    until(lambda: carl.keeper.state.lease.state == "damaged")
    assert not ben.keeper.can_work()
    one.write_bytes(content)
    until(lambda: ben.keeper.state.lease.damage is None)
    until(lambda: _quietly(lambda: str(ben.keeper.take_over().result(10 * PATIENCE))))


def _quietly(deed: Callable[[], str]) -> str | None:
    try:
        return deed()
    except OwnedElsewhereError:
        return None


def test_rows_of_a_lost_segment_are_published_again_by_the_machine_that_holds_them(
    machine: Callable[..., Machine], share: Path
) -> None:
    anna, ben = machine("anna"), machine("ben")
    anna.keeper.own().result(10 * PATIENCE)
    published(anna, "r1", "r2")
    until(lambda: ben.runs() == {"r1", "r2"})
    anna.keeper.release().result(10 * PATIENCE)
    segments(share, "runs")[0].unlink()
    carl = machine("carl")
    until(lambda: carl.keeper.state.lease.state == "damaged")
    said = carl.keeper.repair().result(10 * PATIENCE)
    until(lambda: carl.runs() == {"r2"})

    ben.keeper.own().result(10 * PATIENCE)
    until(lambda: carl.runs() == {"r1", "r2"})
    assert "lost on the share" in said


def test_an_owner_whose_segment_is_gone_repairs_it_from_its_own_ledger(
    machine: Callable[..., Machine], share: Path
) -> None:
    """It goes on owning, and says what it published again."""
    anna = machine("anna")
    anna.keeper.own().result(10 * PATIENCE)
    published(anna, "r1", "r2")
    gone = segments(share, "runs")[0]
    gone.unlink()

    said = anna.keeper.repair().result(10 * PATIENCE)

    assert said == f"repaired; published again from this machine: runs/{gone.name}"
    assert anna.keeper.can_work()
    assert anna.keeper.state.lost_to is None
    ben = machine("ben")
    until(lambda: ben.runs() == {"r1", "r2"})


def test_an_owner_makes_the_folder_of_a_table_anew(machine: Callable[..., Machine], share: Path) -> None:
    """It goes on publishing; what lay in the folder is told as missing, and comes back by a repair at the owner."""
    anna = machine("anna")
    anna.keeper.own().result(10 * PATIENCE)
    published(anna, "r1")
    shutil.rmtree(share / "state" / "runs")
    published(anna, "r2")
    assert anna.keeper.state.trouble is None
    ben = machine("ben")
    until(lambda: ben.keeper.state.lease.damage is not None)
    assert (ben.keeper.state.lease.damage or {})["fix"] == "on ANNA-PC: data-engine lease repair"

    anna.keeper.repair().result(10 * PATIENCE)
    until(lambda: ben.runs() == {"r1", "r2"})
    until(lambda: ben.keeper.state.lease.damage is None)


def test_what_was_left_alone_hides_no_trouble(machine: Callable[..., Machine], share: Path) -> None:
    """It costs nothing, so that it is told last."""
    anna = machine("anna")
    anna.keeper.own().result(10 * PATIENCE)
    published(anna, "r1")
    shutil.rmtree(share / "leased" / "w")
    (share / "leased" / "w").symlink_to(share)
    until(lambda: "leased/w" in (anna.keeper.state.trouble or ""))
    shutil.rmtree(share / "state" / "runs")
    (share / "state" / "runs").write_text("a file")
    anna.run("r2")

    until(lambda: (anna.keeper.state.trouble or "").startswith("the history cannot be published"))
    assert "leased/w in .workspace_state was left alone" in (anna.keeper.state.trouble or "")
    assert anna.keeper.state.trouble_kinds == ("history", "foreign")
    (share / "state" / "runs").unlink()
    until(lambda: (anna.keeper.state.trouble or "").startswith("leased/w"))


@pytest.mark.parametrize("folder", ["leases", "control_requests", "leased", "available", "stale"])
def test_a_folder_of_notices_that_is_gone_is_made_anew(
    machine: Callable[..., Machine], share: Path, folder: str
) -> None:
    """Heartbeats and requests go on."""
    anna, ben = machine("anna"), machine("ben")
    anna.keeper.own().result(10 * PATIENCE)
    until(lambda: ben.keeper.state.lease.state == "owned")
    shutil.rmtree(share / folder)

    ben.keeper.request("cli").result(10 * PATIENCE)
    until(lambda: anna.keeper.state.lease.state == "control_requested")
    until(lambda: len(list((share / "leases").glob("w.json"))) == 1)
    until(lambda: len(list((share / "leased").glob("w/token-*"))) == 1)
    assert anna.keeper.state.trouble is None
    anna.keeper.release(to_requester=True).result(10 * PATIENCE)
    until(ben.keeper.can_work)
    ben.keeper.release().result(10 * PATIENCE)
    until(lambda: (share / "available" / "w").is_dir())


@pytest.mark.parametrize("place", ["state", "state/generations", "state/generations/{newest}"])
def test_a_file_in_place_of_a_folder_is_named(machine: Callable[..., Machine], share: Path, place: str) -> None:
    """With the very path that has to be taken away before a repair, also in a list that is all there beside it."""
    anna, ben = machine("anna"), machine("ben")
    anna.keeper.own().result(10 * PATIENCE)
    published(anna, "r1")
    until(lambda: ben.runs() == {"r1"})
    anna.close(release=False)
    there = share / place.format(newest=max(path.name for path in (share / "state" / "generations").iterdir()))
    there.rename(share / "elsewhere")
    there.write_text("a file")

    until(lambda: ben.keeper.state.lease.state == "damaged")
    damage = ben.keeper.state.lease.damage
    assert damage is not None
    assert damage["file"] == there.relative_to(share).as_posix()
    assert damage["fix"] == f"remove {damage['file']} from .workspace_state, then data-engine lease repair"


def test_a_repair_of_a_healthy_workspace_changes_nothing(machine: Callable[..., Machine], share: Path) -> None:
    """At its owner, and where nobody owns; while another one works it is refused."""
    anna, ben = machine("anna"), machine("ben")
    nothing = "nothing of the shared history is damaged: nothing was changed"
    assert anna.keeper.repair().result(10 * PATIENCE) == nothing
    anna.keeper.own().result(10 * PATIENCE)
    token = anna.keeper.state.token

    assert anna.keeper.repair().result(10 * PATIENCE) == nothing
    assert (anna.keeper.state.token, anna.keeper.can_work(), anna.keeper.state.lost_to) == (token, True, None)
    with pytest.raises(OwnedElsewhereError, match="ANNA-PC owns"):
        ben.keeper.repair().result(10 * PATIENCE)
    anna.keeper.release().result(10 * PATIENCE)
    assert anna.keeper.repair().result(10 * PATIENCE) == nothing


def test_a_repair_that_somebody_is_quicker_than_is_refused_in_words(
    machine: Callable[..., Machine], share: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It says so, and that it can be tried again; it is no traceback."""
    anna = machine("anna")

    def late(*given: object) -> None:
        raise Lost("generation 56 is taken")

    monkeypatch.setattr(Observer, "repair", late)

    with pytest.raises(WorkspaceError, match="cannot be repaired just now: generation 56 is taken") as refused:
        anna.keeper.repair().result(10 * PATIENCE)

    assert "repair it again" in (refused.value.fix or "")


def test_after_a_restored_backup_one_repair_is_enough_and_nothing_of_it_is_lost(
    machine: Callable[..., Machine], share: Path, tmp_path: Path
) -> None:
    """Observers follow; the owner that repairs owns again; what the backup lacks comes back from its ledger."""
    anna, ben = machine("anna"), machine("ben")
    anna.keeper.own().result(10 * PATIENCE)
    published(anna, "r1")
    shutil.copytree(share / "state", tmp_path / "backup")
    published(anna, "r2", "r3")
    until(lambda: ben.runs() == {"r1", "r2", "r3"})
    known = anna.share.known_list[0]
    shutil.rmtree(share / "state")
    shutil.copytree(tmp_path / "backup", share / "state")
    until(lambda: anna.keeper.state.lease.state == "damaged")
    until(lambda: ben.keeper.state.lease.state == "damaged")

    said = until_said(lambda: str(anna.keeper.repair().result(10 * PATIENCE)))

    assert "lost on the share" in said
    until(anna.keeper.can_work)
    assert anna.share.known_list[0] > known
    assert anna.keeper.state.lost_to is None
    until(lambda: ben.keeper.state.lease.state == "owned")
    carl = machine("carl")
    until(lambda: carl.runs() == {"r1", "r2", "r3"})
    anna.close()
    again = Machine("anna", share, tmp_path / "state", daemon="again")
    try:
        again.keeper.own().result(10 * PATIENCE)
    finally:
        again.close()


def until_said(deed: Callable[[], str]) -> str:
    """What a repair says when it is no longer too early."""
    from data_engine.errors import WorkspaceError

    said: list[str] = []

    def is_said() -> bool:
        try:
            said.append(deed())
        except (WorkspaceError, OwnedElsewhereError):
            return False
        return True

    until(is_said)
    return said[0]


def test_what_lies_among_our_files_and_is_not_ours_is_told(machine: Callable[..., Machine], share: Path) -> None:
    anna = machine("anna")
    anna.keeper.own().result(10 * PATIENCE)
    documents = share.parent / "docs"
    documents.mkdir()
    (documents / "thesis.docx").write_text("years")
    shutil.rmtree(share / "leased" / "w")
    (share / "leased" / "w").symlink_to(documents)

    until(lambda: "leased/w" in (anna.keeper.state.trouble or ""), 5 * LIMITS.stale_after_s + 5)

    assert anna.keeper.can_work()
    assert (documents / "thesis.docx").read_text() == "years"
    (share / "leased" / "w").unlink()
    until(lambda: anna.keeper.state.trouble is None)


def test_damage_that_goes_away_is_told_no_longer(machine: Callable[..., Machine], share: Path) -> None:
    """Also where only a claim has noticed it: what this machine has taken in is looked for again until it is there."""
    anna = machine("anna")
    anna.keeper.own().result(10 * PATIENCE)
    published(anna, "r1")
    anna.keeper.release().result(10 * PATIENCE)
    (segment,) = segments(share, "runs")
    segment.rename(share / "elsewhere")
    with pytest.raises(OwnedElsewhereError, match="is missing"):
        anna.keeper.own().result(10 * PATIENCE)
    assert anna.keeper.state.lease.state == "damaged"
    anna.keeper.look().result(10 * PATIENCE)
    assert anna.keeper.state.lease.state == "damaged"

    (share / "elsewhere").rename(segment)

    until(lambda: anna.keeper.state.lease.state == "available")
    anna.keeper.own().result(10 * PATIENCE)
