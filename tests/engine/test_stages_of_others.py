"""What a former owner had begun to publish is finished by the next one, by the list that its run has in the shared history."""

from __future__ import annotations

import os
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from data_engine import Flow
from data_engine.engine import publication, staged_files
from data_engine.engine.publication import STAGING, tidy
from data_engine.engine.stage import Maker, Stage
from data_engine.ledger.checks import refused_rows
from data_engine.ledger.journal import event_line, events_in
from data_engine.ledger.outputs import runs_of_stages
from data_engine.ledger.rows import publication_as_text
from data_engine.ledger.segments import TABLES
from data_engine.model import PublishStarted, RunFinished, RunStarted, StagedFile
from tests.ledger.sharing import Machine, machines


@pytest.fixture
def two(tmp_path: Path) -> Iterator[list[Machine]]:
    with machines(tmp_path, "/mnt/a", "/mnt/b") as made:
        yield made


def die_while_publishing(machine: Machine, out: Path, monkeypatch: pytest.MonkeyPatch, *, is_published: bool) -> Path:
    """A run of the owner that goes no further than its first rename; where its stage is."""
    machine.claim()
    machine.ledger.record(RunStarted("r1", "f", "G", None, 1.0))
    machine.commit()
    stage = Stage(Flow("G").mirror(root=out, staged=True), Maker("former", "r1"), record=machine.ledger.record)
    for name in ("a.txt", "b.txt"):
        stage.enter(stage.folder / name, is_folder=False)
        (stage.folder / name).write_text("new")

    def die(here: object, name: str, there: object) -> None:
        if name == "b.txt":
            raise KeyboardInterrupt
        moved(here, name, there)  # type: ignore[arg-type]

    moved = publication.move
    with monkeypatch.context() as dying:
        dying.setattr(publication, "move", die)
        with pytest.raises(KeyboardInterrupt):
            stage.succeed(lambda: "")
    if is_published:
        machine.commit()
    return stage.folder


def take_over(machine: Machine, out: Path, later_s: float = 120.0) -> dict[str, str]:
    """The next owner claims and sweeps; what lies in the mirror then."""
    machine.claim()
    now_s = max(path.stat().st_mtime for path in (out.parent / STAGING).rglob("*")) + later_s
    tidy(out, machine="next", runs=partial(runs_of_stages, machine.ledger.path), is_owner=True, now_s=now_s)
    return {path.name: path.read_text() for path in out.iterdir()}


def test_the_next_owner_finishes_what_the_shared_history_lists(
    two: list[Machine], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    stage = die_while_publishing(two[0], out, monkeypatch, is_published=True)

    assert take_over(two[1], out) == {"a.txt": "new", "b.txt": "new"}
    assert not stage.exists()


@pytest.mark.parametrize("why", ["not published", "other bytes", "a link", "not hashed", "target changed"])
def test_the_next_owner_publishes_nothing_else(
    two: list[Machine], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, why: str
) -> None:
    """Its run counts as abandoned, so that the source is due again."""
    out = tmp_path / "out"
    (tmp_path / "key").write_text("new")
    if why == "not hashed":
        monkeypatch.setattr(staged_files, "HASHED_BYTES", 1)
    stage = die_while_publishing(two[0], out, monkeypatch, is_published=why != "not published")
    path = stage / "b.txt"
    facts = path.stat()
    if why == "other bytes":
        path.write_text("NEW")
        os.utime(path, ns=(facts.st_atime_ns, facts.st_mtime_ns))
    elif why == "a link":
        path.unlink()
        path.symlink_to(tmp_path / "key")
    elif why == "target changed":
        (out / "b.txt").write_text("theirs")

    left = {"b.txt": "theirs"} if why == "target changed" else {}
    assert take_over(two[1], out) == {"a.txt": "new", **left}
    assert (tmp_path / "key").read_text() == "new"
    run = two[1].ledger.run("r1")
    assert run is not None
    assert run.status == "abandoned"


def test_a_run_that_goes_on_or_that_has_just_ended_elsewhere_keeps_its_stage(
    two: list[Machine], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    stage = die_while_publishing(two[0], out, monkeypatch, is_published=True)

    assert take_over(two[1], out, later_s=30.0) == {"a.txt": "new"}
    assert stage.exists()


def test_a_run_that_succeeds_keeps_no_list(two: list[Machine], tmp_path: Path) -> None:
    ledger = two[0].ledger
    ledger.record(RunStarted("r1", "f", "G", None, 1.0), PublishStarted("r1", "out", (StagedFile("a", 1, 1),)))
    assert runs_of_stages(ledger.path, ["r1"])["r1"].publication is not None

    ledger.record(RunFinished("r1", "success", 2.0, 1.0))

    assert runs_of_stages(ledger.path, ["r1"])["r1"].publication is None


LISTED = PublishStarted("r1", "out", (StagedFile("sub/ü.csv", 5, 7, "0" * 64, (1, 2)),), (3, 4), "code")


@pytest.mark.parametrize(
    ("made", "is_taken"),
    [
        (LISTED, True),
        (LISTED._replace(made_of=None, code=None), True),
        (LISTED._replace(mirror="../out"), False),
        (LISTED._replace(mirror=".."), False),
        (LISTED._replace(mirror=""), False),
        *(
            (LISTED._replace(files=(StagedFile(name, 5, 7),)), False)
            for name in ("../a", "/etc/a", "C:/a", "..\\a", "")
        ),
        (LISTED._replace(files=(StagedFile("a", -1, 7),)), False),
        (LISTED._replace(files=(StagedFile("a", 1, 7, "no hash"),)), False),
    ],
)
def test_a_list_that_leads_out_of_its_mirror_is_not_taken_in(made: PublishStarted, is_taken: bool) -> None:
    names = list(TABLES["runs"].columns)
    row = dict.fromkeys(names) | {"run_id": "r1", "flow_name": "f", "group_name": "G", "status": "failed"}
    row |= {"started_at_utc": "2026-01-01T00:00:00+00:00", "fencing_token": 1, "rev": 1}
    row["publication"] = publication_as_text(made)

    refused = refused_rows("runs", [[row[name]] for name in names], token=1)

    assert (refused == {}) == is_taken, refused


@pytest.mark.parametrize("made", [LISTED, LISTED._replace(made_of=None, code=None), PublishStarted("r1", "out")])
def test_a_worker_keeps_the_list_in_its_journal(made: PublishStarted) -> None:
    """From where the daemon takes it, whoever is killed then."""
    assert events_in(event_line(made)) == [made]
