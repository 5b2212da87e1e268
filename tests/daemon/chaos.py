"""Real daemons on one workspace whose `.workspace_state` is damaged at random while owners are frozen and killed.

A round drops files, does one thing to the folder or to a daemon, and then does what people are told to do, until one
workstation owns, its engine is on, and everybody knows every file to be done. The seed decides what is done, not when the
daemons come to it, so that it repeats a campaign as far as the machine does the same.
"""

from __future__ import annotations

import json
import random
import re
import shutil
import sqlite3
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import closing, suppress
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

from data_engine import Workspace
from data_engine.daemon.control import read_endpoint
from data_engine.errors import FlowValidationError
from data_engine.ledger.rows import IS_PUBLISHED
from tests.daemon.damage import Saboteur
from tests.daemon.stations import Station
from tests.support import end_now, pause, resume, until

STALE_AFTER_S = 1.5
SETTINGS = f'[deploy]\nmode = "auto"\nquiet = "0s"\n[lease]\nheartbeat = "400ms"\nstale_after = "{STALE_AFTER_S * 1000:.0f}ms"\n'
FLOW = """
import os
import time
from pathlib import Path
from data_engine import Flow

def note(context):
    time.sleep(float(context.source.path.read_text()))
    line = f"{context.source.path.name} {os.environ['DATA_ENGINE_MACHINE_ID']} {context.control.run_id} {time.time()}\\n"
    with open(Path(__file__).parent.parent / "ran.txt", "a") as file:
        file.write(line)

def build():
    return Flow(group="Poll").watch(mode="poll", source="../in", interval="200ms", settle=0).step(note)
"""
ROUND_LIMIT_S = 90.0
_LONGEST_STEP_S = 3.0
"""What is noted of a step that was running when its owner lost the workspace comes later; the machine may be busy."""

_one_at_a_time = threading.Lock()


class ViolationError(AssertionError):
    """Something was lost, done twice, followed, or never repaired."""


class Execution(NamedTuple):
    """That a step ran for a file."""

    file: str
    station: str
    run_id: str
    at_s: float


class Happened(NamedTuple):
    """What may cost work that was not published: a kill, a freeze, damage to the history, a repair, a take-over.

    `unseen_by` are the stations that had never seen the newest of the generations that it took away.
    """

    at_s: float
    what: str
    is_loss: bool = False
    unseen_by: frozenset[str] = frozenset()


@dataclass
class Report:
    """What campaigns did."""

    rounds: int = 0
    files: int = 0
    executions: int = 0
    faults: Counter[str] = field(default_factory=Counter)
    repairs: Counter[str] = field(default_factory=Counter)
    again: Counter[str] = field(default_factory=Counter)
    seconds: float = 0.0
    longest_s: float = 0.0

    def add(self, other: Report) -> None:
        """Count another campaign in."""
        self.rounds += other.rounds
        self.files += other.files
        self.executions += other.executions
        self.seconds += other.seconds
        self.longest_s = max(self.longest_s, other.longest_s)
        for mine, theirs in ((self.faults, other.faults), (self.repairs, other.repairs), (self.again, other.again)):
            mine.update(theirs)

    def __str__(self) -> str:
        parts = [f"{self.rounds} rounds, {self.files} files, {self.executions} executions, {self.seconds:.0f} s"]
        for title, counts in (("faults", self.faults), ("repaired by", self.repairs), ("done again", self.again)):
            parts.append(f"{title}:")
            parts += [f"{count:7,}  {what}" for what, count in sorted(counts.items())]
        return "\n".join([*parts, f"longest round {self.longest_s:.1f} s"])


class Campaign:
    """One workspace, its stations, and what is done to them."""

    def __init__(self, folder: Path, *, rounds: int, seed: int) -> None:
        self.report = Report()
        self._seed, self._rounds = seed, rounds
        self._rng = random.Random(seed)
        folder.mkdir(parents=True, exist_ok=True)
        self._root = _workspace(folder / "team")
        names = ("anna", "ben", "carl")[: self._rng.choice((2, 3))]
        self._stations = [Station(name, self._root, folder / "stations") for name in names]
        with _one_at_a_time:  # it goes through the environment
            self._ledgers = {one: one.local.ledger_path for one in self._stations}
        self._saboteur = Saboteur(self._root, folder / "aside", self._rng)
        self._files: list[str] = []
        self._happened: list[Happened] = []
        self._knows: list[tuple[float, dict[Station, dict[str, str]]]] = []
        self._deployed: set[tuple[str, str]] = set()
        self._judged: set[Execution] = set()
        self._down: dict[Station, float] = {}
        self._frozen: dict[Station, float] = {}
        self._asked_s: dict[Station, float] = {}
        self._lost_to: dict[Station, str | None] = {}
        self._not_before: dict[str, float] = {}
        self._refused_with = ""
        self._story: list[str] = []

    def run(self) -> Report:
        """Do all of it.

        Raises:
            ViolationError: something is not as promised; it tells all there is to know.
        """
        begun_s = time.monotonic()
        try:
            for station in self._stations:
                station.start(engine=station is self._stations[0])
            self._heal()
            for number in range(self._rounds):
                round_s = time.monotonic()
                self._tell(f"-- round {number}")
                self._round()
                self.report.rounds += 1
                self.report.longest_s = max(self.report.longest_s, time.monotonic() - round_s)
            self._everybody_in_turn()
            self._judge_histories()
        except (AssertionError, FlowValidationError) as error:
            raise ViolationError(f"seed {self._seed}: {error}\n{self._all_there_is_to_know()}") from error
        finally:
            for station in self._frozen:
                with suppress(ProcessLookupError):
                    resume(station.pid)
            for station in self._stations:
                station.end()
        self.report.files, self.report.seconds = len(self._files), time.monotonic() - begun_s
        self.report.executions = len(self._executions())
        return self.report

    # -- a round ---------------------------------------------------------------------------------------------------------

    def _round(self) -> None:
        rng = self._rng
        if rng.random() < 0.3:
            self._saboteur.back_up()
        if rng.random() < 0.9:
            self._drop()
        if rng.random() < 0.3:
            self._heal()  # nothing is under way
        else:
            time.sleep(rng.uniform(0, 0.7))
        self._fault()
        if rng.random() < 0.5:
            time.sleep(rng.uniform(0, 0.3))
            self._drop()
        self._heal()
        self._judge()

    def _drop(self) -> None:
        name = f"{len(self._files):05d}.txt"
        self._files.append(name)
        half = self._root / f"{name}.half"
        half.write_text(f"{self._rng.choice((0, 0, 0.2, 0.6))}")
        half.replace(self._root / "in" / name)

    def _fault(self) -> None:
        self._note_knowledge()
        kind = self._rng.choices(
            ("strike", "strike and kill", "strike and freeze", "kill", "freeze", "leave", "ask", "none"),
            (10, 4, 2, 2, 2, 1, 1, 1),
        )[0]
        if kind.startswith("strike"):
            strike = self._saboteur.strike()
            unseen_by = frozenset(one.name for one in self._stations if self._known_generation(one) < strike.took)
            self._happens(
                str(strike),
                counted=f"{strike.deed}: {strike.target}",
                is_loss=strike.is_of_history,
                unseen_by=unseen_by,
            )
            time.sleep(self._rng.choice((0, 0, 0.3)))
        if kind.endswith("kill"):
            self._kill(self._rng.choice([*self._awake(), *self._owners() * 3]), self._rng.choice((0, 0, 1, 4)))
        elif kind.endswith("freeze"):
            self._freeze(self._rng.choice([*self._awake(), *self._owners() * 3]))
        elif kind == "leave":
            self._kill(self._rng.choice(self._awake()), self._rng.uniform(2, 10) * STALE_AFTER_S)
        elif kind == "ask":
            self._hand_over()
        elif kind == "none":
            self._tell("nothing")
            self.report.faults["none"] += 1

    def _kill(self, station: Station, away_s: float) -> None:
        """kill -9 the daemon, with its workers or without, and start it again later."""
        is_owner = station in self._owners()
        counted = f"kill {'the owner' if is_owner else 'an observer'}"
        self._happens(f"kill {station.name} for {away_s:.1f} s", counted=counted, is_loss=is_owner)
        if self._rng.random() < 0.5:
            end_now(station.pid)
        station.end()
        self._down[station] = time.monotonic() + away_s

    def _freeze(self, station: Station) -> None:
        is_owner = station in self._owners()
        counted = f"freeze {'the owner' if is_owner else 'an observer'}"
        self._happens(f"freeze {station.name}", counted=counted, is_loss=is_owner)
        pause(station.pid)
        self._frozen[station] = time.monotonic() + self._rng.uniform(0.2, 2.5) * STALE_AFTER_S

    def _hand_over(self) -> None:
        """By consent: somebody asks, the owner agrees."""
        owners = self._owners()
        others = [one for one in self._awake() if one not in owners]
        if not owners or not others:
            return
        self.report.faults["hand over"] += 1
        self._hand_to(self._rng.choice(others), owners[0])

    # -- what people do ---------------------------------------------------------------------------------------------------

    def _heal(self, owner: Station | None = None) -> None:
        """Do what the daemons say that helps, until all is well; with `owner` until it is the one that owns."""
        end_s = time.monotonic() + ROUND_LIMIT_S
        while True:
            self._bring_back()
            leases = {one: self._ask(one) for one in self._awake()}
            if self._is_well(leases, owner):
                return
            assert time.monotonic() < end_s, f"it is not repaired within {ROUND_LIMIT_S:g} s"
            self._help(leases, owner)
            time.sleep(0.05)

    def _bring_back(self) -> None:
        for station, at_s in list(self._frozen.items()):
            if time.monotonic() >= at_s:
                resume(station.pid)
                del self._frozen[station]
                self._tell(f"{station.name} wakes up")
        for station, at_s in list(self._down.items()):
            if time.monotonic() >= at_s:
                station.start(engine=False)
                del self._down[station]
                self._tell(f"{station.name} is back")

    def _ask(self, station: Station) -> dict[str, Any]:
        endpoint = read_endpoint(station.local)
        assert endpoint is not None, f"the daemon of {station.name} is gone, and nobody killed it"
        assert endpoint.is_alive(), f"the daemon of {station.name} is gone, and nobody killed it"
        before_s, self._asked_s[station] = self._asked_s.get(station, time.time()), time.time()
        status = station.daemon.get("/status", timeout_s=30)
        lost_to, self._lost_to[station] = self._lost_to.get(station), status["lease"]["lost_to"]
        if self._lost_to[station] not in (None, lost_to):
            since_s = before_s - STALE_AFTER_S  # it notices that it was taken over when it next writes
            self._happened.append(Happened(since_s, f"lost by {station.name}", is_loss=True))
        return status["lease"] | {"engine": status["engine"]["on"]}

    def _is_well(self, leases: dict[Station, dict[str, Any]], wanted: Station | None) -> bool:
        if self._frozen or not leases:
            return False
        owners = [one for one, lease in leases.items() if _owns(lease)]
        if len(owners) != 1 or not leases[owners[0]]["engine"] or wanted not in (None, owners[0]):
            return False
        others = [lease for one, lease in leases.items() if one is not owners[0]]
        if any(lease["damage"] for lease in leases.values()) or any(lease["state"] != "owned" for lease in others):
            return False
        return all(self._known(one) >= set(self._files) for one in leases)

    def _help(self, leases: dict[Station, dict[str, Any]], wanted: Station | None) -> None:
        told = " ".join([*(_told_in(lease) for lease in leases.values()), self._refused_with])
        for name in filter(self._saboteur.is_there, sorted(self._saboteur.obstacles)):
            if re.search(rf"(?<![\w.-]){re.escape(name)}(?![\w/.-])", told):
                self._saboteur.take_away(name)
                self._repaired(f"taken away {name}", "taking a foreign thing away")
                return
        damaged = [one for one, lease in leases.items() if lease["damage"]]
        if damaged:
            self._repair(self._rng.choice(damaged), leases)
            return
        owners = [one for one, lease in leases.items() if _owns(lease)]
        if owners:
            if wanted is not None and owners == [one for one in owners if one is not wanted]:
                self._hand_to(wanted, owners[0])
            elif not leases[owners[0]]["engine"]:
                self._try("the engine, started", lambda: owners[0].daemon.post("/start-engine", {}, timeout_s=30))
            elif self._held(owners[0]):
                self._try("retry", lambda: owners[0].daemon.post("/retry", {"flow": "poll"}))
            return
        if not leases:
            return
        chosen = wanted if wanted in leases else self._rng.choice([*leases])
        if leases[chosen]["state"] == "takeover_available":
            self._try("take-over", lambda: chosen.lease_do("take-over"), is_loss=True)
        elif leases[chosen]["state"] == "available":
            self._try("the engine, started", lambda: chosen.daemon.post("/start-engine", {}, timeout_s=30))

    def _repair(self, station: Station, leases: dict[Station, dict[str, Any]]) -> None:
        """`lease repair` where the damage's `fix` asks for it."""
        fix = leases[station]["damage"]["fix"]
        away, where = re.match(r"take (\S+) in \.workspace_state away", fix), re.match(r"on (\S+): ", fix)
        if "lease repair" not in fix or (away and self._saboteur.is_there(away[1])):
            return
        if where:
            name = where[1]
            station = next(one for one in self._stations if one.name == name)
            if station not in leases:
                return

        def repair() -> None:
            said = station.daemon.post("/repair-lease", {}, timeout_s=30)["said"]
            self._happens(
                f"repaired at {station.name}: {said}", is_loss="lost" in said and "nothing was lost" not in said
            )

        self._try("repair", repair)

    def _hand_to(self, wanted: Station, owner: Station) -> None:
        def hand_over() -> None:
            wanted.lease_do(
                "request-control"
            )  # whoever asks takes over as well, where the owner is too busy to be heard
            until(lambda: owner.lease["requested_by"] or wanted.lease["state"] == "mine", 30)
            owner.lease_do("release-control")
            until(lambda: wanted.lease["state"] != "owned", 30)

        self._try("hand over", hand_over)

    def _try(self, what: str, deed: Callable[[], Any], *, is_loss: bool = False) -> None:
        """People try again a little later what was refused."""
        if time.monotonic() < self._not_before.get(what, 0):
            return
        self._not_before[what] = time.monotonic() + 0.3
        try:
            deed()
        except FlowValidationError as error:
            self._refused_with = f"{error.what} | {error.fix}"
            self._repaired(f"{what}: {self._refused_with}", f"{what}, refused")
            if "`data-engine lease release`" in (error.fix or ""):
                self._release(error.what.partition(" ")[0])
        else:
            self._repaired(what, what)
            if is_loss:
                self._happens(what, is_loss=True)

    def _release(self, name: str) -> None:
        """Somebody goes to the workstation of this name, and gives the workspace up there."""
        for station in self._awake():
            if station.name == name:
                self._try(f"release at {name}", lambda station=station: station.lease_do("release-control"))  # type: ignore[misc]

    def _everybody_in_turn(self) -> None:
        """Whoever holds rows that others lack publishes them when it owns."""
        while self._down:
            self._bring_back()
            time.sleep(0.1)
        for station in (*self._stations, self._stations[0]):
            self._tell(f"-- {station.name} shall own")
            self._heal(station)
            self._judge()

    # -- judging ----------------------------------------------------------------------------------------------------------

    def _judge(self) -> None:
        """All that must hold after each round."""
        self._saboteur.check()
        for station in self._stations:
            text = station.local.daemon_log_path.read_text(errors="replace")
            assert "Traceback" not in text, f"a traceback in the log of {station.name}"
        self._judge_executions()
        self._note_knowledge()

    def _judge_executions(self) -> None:
        """Every file ran, and once; again only where what is known of it may have been lost."""
        by_file: dict[str, list[Execution]] = {name: [] for name in self._files}
        for one in self._executions():
            by_file[one.file].append(one)
        for name, found in by_file.items():
            assert found, f"{name} is done without having run"
            for before, again in pairwise(found):
                if again not in self._judged:
                    self._judged.add(again)
                    why = self._excuse(before, again)
                    self._tell(f"{name} again at {again.station}: {why}")
                    self.report.again[why] += 1

    def _excuse(self, before: Execution, again: Execution) -> str:
        """Why a file may have run again.

        Raises:
            AssertionError: nothing says why.
        """
        between = [one for one in self._happened if before.at_s - _LONGEST_STEP_S < one.at_s < again.at_s]
        what = f"{again.file} ran at {before.station} and again at {again.station}"
        knew = {
            one.name
            for at_s, knows in self._knows
            if at_s < again.at_s
            for one, runs in knows.items()
            if runs.get(again.file) == before.run_id
        }
        if not knew:
            losses = [one for one in between if one.is_loss]
            assert losses, f"{what}, and nothing was lost in between"
            return "it was not published when the owner was killed, frozen or lost its folder"
        assert again.station not in knew, f"{what}, which knew that it is done"
        if any(again.station in one.unseen_by for one in between):
            return "the drive forgot the generation before the next owner had ever seen it"
        lost = [one for one in between if one.what.startswith("repaired") and one.is_loss]
        assert lost, f"{what}, although it was published, and no repair said that something is lost"
        return "a repair said that it is lost, and the next owner had never known it"

    def _judge_histories(self) -> None:
        """All know the same, once whoever knows of something that others lack has owned for long enough: the runs that went
        well, and every deployment that anybody ever knew.
        """
        end_s = time.monotonic() + 60
        while lacking := {one.name: sorted(runs) for one in self._stations if (runs := self._lacks(one))}:
            assert time.monotonic() < end_s, f"histories differ; lacking: {lacking}"
            holders = [
                one for one in self._stations if any(self._history(one) & set(runs) for runs in lacking.values())
            ]
            assert holders, f"nobody knows any more: {lacking}"
            self._heal(self._rng.choice(holders))
            time.sleep(1)

    def _lacks(self, station: Station) -> set[tuple[str, str]]:
        """What of the history anybody else knows, or knew, and it does not."""
        return set(self._deployed).union(*map(self._history, self._stations)) - self._history(station)

    # -- facts ------------------------------------------------------------------------------------------------------------

    def _awake(self) -> list[Station]:
        return [one for one in self._stations if one not in self._frozen and one not in self._down]

    def _owners(self) -> list[Station]:
        return [one for one in self._awake() if _owns(self._ask(one))]

    def _note_knowledge(self) -> None:
        self._knows.append((time.time(), {one: self._published(one) for one in self._stations}))
        self._deployed |= set().union(*map(self._deployments, self._stations))

    def _known(self, station: Station) -> set[str]:
        """The files it knows to be done."""
        return {
            name for (name,) in self._rows(station, "SELECT source_key FROM file_state WHERE last_status = 'success'")
        }

    def _published(self, station: Station) -> dict[str, str]:
        """The files that it knows to be done for everybody: published from here or taken in; and the runs that did it."""
        question = (
            "SELECT source_key, last_run_id FROM file_state WHERE last_status = 'success'"
            " AND rev <= (SELECT value FROM meta WHERE key = 'published_rev')"
        )
        return dict(self._rows(station, question))

    def _known_generation(self, station: Station) -> int:
        """The newest generation that it has seen, -1 for none."""
        found = self._rows(station, "SELECT value FROM meta WHERE key = 'known_generation'")
        return max((int(number) for (number,) in found), default=-1)

    def _held(self, station: Station) -> bool:
        """Whether a file waits for a person: its worker was killed twice, or a moment before its daemon, which saw it."""
        held = "SELECT source_key FROM file_state WHERE last_status = ? OR last_status = ? AND abandoned_in_a_row > 1"
        return bool(self._rows(station, held, "failed", "abandoned"))

    def _history(self, station: Station) -> set[tuple[str, str]]:
        """Its runs that went well, and its deployments."""
        rows = self._rows(station, "SELECT run_id, source_path FROM runs WHERE status = 'success'")
        return {(run_id, Path(source).name) for run_id, source in rows} | self._deployments(station)

    def _deployments(self, station: Station) -> set[tuple[str, str]]:
        """Those that hold for it."""
        return set(self._rows(station, f"SELECT deployment_id, 'deployed' FROM deployments WHERE {IS_PUBLISHED}"))

    def _rows(self, station: Station, question: str, *values: str) -> list[Any]:
        if not self._ledgers[station].exists():
            return []
        with closing(sqlite3.connect(f"file:{self._ledgers[station]}?mode=ro", uri=True, timeout=30)) as connection:
            return connection.execute(question, values).fetchall()

    def _executions(self) -> list[Execution]:
        path = self._root / "ran.txt"
        lines = path.read_text().splitlines() if path.exists() else []
        return [Execution(name, station, run_id, float(at_s)) for name, station, run_id, at_s in map(str.split, lines)]

    # -- telling ----------------------------------------------------------------------------------------------------------

    def _happens(
        self, what: str, *, counted: str = "", is_loss: bool = False, unseen_by: frozenset[str] = frozenset()
    ) -> None:
        self._happened.append(Happened(time.time(), what, is_loss, unseen_by))
        self._tell(f"{what}, unseen by {', '.join(sorted(unseen_by))}" if unseen_by else what)
        if counted:
            self.report.faults[counted] += 1

    def _repaired(self, what: str, counted: str) -> None:
        self._tell(what)
        self.report.repairs[counted] += 1

    def _tell(self, what: str) -> None:
        self._story.append(f"{time.time():.2f} {what}")

    def _all_there_is_to_know(self) -> str:
        parts = [f"{self._story[0].split()[0]} is the beginning", *self._story[-60:]]
        for station in self._stations:
            parts.append(f"== {station.name}, knows {len(self._known(station))} of {len(self._files)} files")
            runs = "SELECT run_id, source_path, status, started_at_utc, cause, runner_id, rev FROM runs ORDER BY started_at_utc"
            states = "SELECT source_key, last_status, last_run_id, seen_token, seen_rev, rev FROM file_state"
            parts += [repr(tuple(row)) for question in (runs, states) for row in self._rows(station, question)]
            if station not in self._frozen and station not in self._down:
                with suppress(FlowValidationError, AssertionError):
                    parts.append(json.dumps(self._ask(station), indent=1))
            with suppress(OSError):
                parts.append(station.local.daemon_log_path.read_text(errors="replace")[-5000:])
        tree = sorted(path.relative_to(self._root).as_posix() for path in (self._root / ".workspace_state").rglob("*"))
        parts += ["== .workspace_state", *tree[-200:], "== obstacles", *sorted(self._saboteur.obstacles)]
        return "\n".join(parts)


def run_together(
    folder: Path, seeds: Iterable[int], *, rounds: int, at_a_time: int
) -> Iterator[Report | ViolationError]:
    """A campaign for each seed, several at a time, since daemons mostly wait; what each came to, as they end."""

    def run(seed: int) -> Report | ViolationError:
        try:
            return Campaign(folder / str(seed), rounds=rounds, seed=seed).run()
        except ViolationError as violation:
            return violation
        finally:
            shutil.rmtree(folder / str(seed), ignore_errors=True)

    with ThreadPoolExecutor(at_a_time) as pool:
        for done in as_completed([pool.submit(run, seed) for seed in seeds]):
            yield done.result()


def _workspace(root: Path) -> Path:
    with _one_at_a_time:
        ws = Workspace.create(root)
    (ws.root / "config" / "data_engine.toml").write_text(SETTINGS)
    (ws.root / "flow_modules" / "example.ipynb").unlink()
    (ws.root / "flow_modules" / "poll.py").write_text(FLOW)
    (ws.root / "in").mkdir()
    return ws.root


def _told_in(lease: dict[str, Any]) -> str:
    """What people read of the lease, beside who owns."""
    damage = lease["damage"] or {}
    return " ".join([*(damage.get(key, "") for key in ("what", "file", "fix")), lease["trouble"] or "", lease["note"]])


def _owns(lease: dict[str, Any]) -> bool:
    return lease["state"] in ("mine", "control_requested") and bool(lease["is_mine"])
