"""Random flows that feed one another, played tick by tick against an oracle that knows what followed from what.

The oracle knows each file as it truly is, looked at or not. What it owes a batch that has become due is what was to be run in the flows
that feed it at that moment, and what follows from that; the batch may not begin before all of it is done or held.
"""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import dataclass, field
from functools import cache
from typing import Any
from zlib import crc32

from data_engine import Flow
from data_engine.planning.due import PlannedFlow
from data_engine.planning.feeds import Backlog
from data_engine.scheduler.feed_hold import FeedWaits

TICKS = 60
LONGEST_WAIT = 90
KINDS = ("each", "each", "batch", "batch", "slot", "manual")


@dataclass
class Player:
    """A flow as its planner and its runs leave it; files by path, their content a number."""

    name: str
    kind: str
    reads: str
    mirror: str
    every: int
    settle: int
    is_watched: bool = True
    looked: float = -1.0
    next_look: int = 0
    fresh: float = -1.0
    good: dict[str, int] = field(default_factory=dict)
    bad: dict[str, int] = field(default_factory=dict)
    open: dict[str, tuple[int, int]] = field(default_factory=dict)
    queue: list[dict[str, int]] = field(default_factory=list)
    slot: int | None = None

    @property
    def polls(self) -> bool:
        return self.kind in ("each", "batch")

    def takes(self, path: str) -> bool:
        return path.startswith(f"{self.reads}/") and not path.startswith(f"{self.mirror}/")

    def lacks(self, path: str, content: int) -> bool:
        return content not in (self.good.get(path), self.bad.get(path))


@dataclass
class Running:
    number: str
    flow: str
    files: dict[str, int]
    read: dict[str, int]
    write_at: int
    end_at: int
    is_good: bool
    slot: int | None = None
    has_written: bool = False


@cache
def planned(name: str, kind: str, reads: str, mirror: str) -> PlannedFlow:
    flow = Flow("G", name)
    if kind in ("each", "batch"):
        more: dict[str, Any] = {"run_as": "batch"} if kind == "batch" else {}
        flow = flow.watch(mode="poll", source=reads, interval="30s", extensions=".csv", **more)
    elif kind == "slot":
        flow = flow.watch(mode="schedule", source=reads, time="06:00", run_as="batch", extensions=".csv")
    return PlannedFlow.of(flow.mirror(root=mirror))


def number_of(value: object) -> int:
    return crc32(repr(value).encode())


class World:
    """Some flows over a few folders; `counts` says what happened, `broken` the first thing that must not."""

    def __init__(self, seed: int) -> None:
        self.random = pick = random.Random(seed)
        self.now, self.moment = 0, 0.0
        self.files: dict[str, int] = {}
        self.runs: dict[str, Running] = {}
        self.owed: dict[str, set[tuple[str, str, int]]] = {}
        self.due_since: dict[str, int] = {}
        self.scope: dict[str, set[str]] = {}
        self.above: dict[str, set[str]] = {}
        self.circles: dict[str, set[tuple[str, str]]] = {}
        self.counts: Counter[str] = Counter()
        self.broken: str | None = None
        self.players: dict[str, Player] = {}
        places = ["/w/a", "/w/b", "/w/c", "/w/d"]
        for number in range(pick.randint(2, 6)):
            reads = pick.randrange(len(places))
            # most feed what comes after them; a few go back, so that there are circles
            mirror = pick.randrange(len(places)) if pick.random() < 0.15 else min(reads + 1, len(places) - 1)
            name = f"f{number}"
            kind = pick.choice(KINDS)
            self.players[name] = Player(
                name, kind, places[reads], f"{places[mirror]}/{name}", pick.choice((1, 2, 5, 9)), pick.choice((0, 0, 2))
            )
            self.players[name].is_watched = kind != "manual" and pick.random() > 0.1
        self.flows = {one.name: planned(one.name, one.kind, one.reads, one.mirror) for one in self.players.values()}
        self.watched = {one.name: one for one in self.players.values() if one.is_watched}
        self.waits = self._new_waits()
        self.arrives_until = 10**9 if pick.random() < 0.5 else 20  # what comes later must prolong no wait

    def _new_waits(self) -> FeedWaits:
        return FeedWaits(self.flows, self.watched, self._runs_of, self._look, clock=lambda: self.moment)

    def _runs_of(self, name: str, is_exact: bool = False) -> tuple[str, ...]:
        return tuple(run.number for run in self.runs.values() if run.flow == name)

    def _look(self, name: str, begin: float) -> None:
        if name in self.watched:
            self.players[name].fresh = max(self.players[name].fresh, begin)

    # -- what happens ----------------------------------------------------------------------------------------------

    def play(self) -> None:
        while self.broken is None and (self.now < TICKS or self.due_since):
            self.now += 1
            turns = [self._arrive, self._trouble, self._end_runs, self._begin_runs]
            turns += [lambda player=player: self._plan(player) for player in self.players.values()]  # type: ignore[misc]
            self.random.shuffle(turns)
            for number, turn in enumerate(turns):
                self.moment = self.now + number / 100
                turn()
            late = [name for name, since in self.due_since.items() if self.now - since > LONGEST_WAIT]
            if late:
                self.broken = f"{late[0]} waits since {self.due_since[late[0]]}"

    def _arrive(self) -> None:
        if self.now < self.arrives_until and self.random.random() < 0.2:
            place = self.random.choice(["/w/a", "/w/a", "/w/b", "/w/c"])
            self._write(f"{place}/in{self.random.randrange(4)}.csv", self.random.randrange(10**6), ())

    def _trouble(self) -> None:
        player = self.random.choice(list(self.players.values()))
        chance = self.random.random()
        if chance < 0.01 and player.kind != "manual":
            self.counts["disabled or enabled"] += 1
            player.is_watched = not player.is_watched
            self.above.clear()
            player.open.clear()
            player.queue.clear()
            player.slot, player.looked, player.next_look = None, -1.0, self.now
            if player.is_watched:
                self.watched[player.name] = player
            else:
                del self.watched[player.name]
                self._stop_owing(player.name)
            self.waits.forget(player.name)
            self._not_due(player.name)
            self.waits.note(player.name)
        elif chance < 0.013:
            self.counts["new owner"] += 1
            self.runs.clear()
            self.owed.clear()
            self.due_since.clear()
            for other in self.players.values():
                other.open.clear()
                other.queue.clear()
                other.slot, other.looked, other.next_look, other.fresh = None, -1.0, self.now + 3, -1.0
            self.waits = self._new_waits()
        elif chance < 0.05 and not self._runs_of(player.name):
            self.counts["run by hand"] += 1
            self._begin(player, {}, None)

    def _end_runs(self) -> None:
        for run in list(self.runs.values()):
            player = self.players[run.flow]
            if run.is_good and not run.has_written and self.now >= run.write_at:
                run.has_written = True
                self._write_outputs(player, run)
            if self.now < run.end_at:
                continue
            del self.runs[run.number]
            (player.good if run.is_good else player.bad).update(run.files)
            for path, content in run.files.items():
                if player.open.get(path, (None,))[0] == content:
                    del player.open[path]
            if run.slot is not None:
                player.slot = None
            done = {(run.flow, path, content) for path, content in run.files.items()}
            done |= {(run.flow, run.number, 0), (run.flow, "slot", run.slot or -1)}
            for owed in self.owed.values():
                owed -= done
            self.waits.note(run.flow)

    def _write_outputs(self, player: Player, run: Running) -> None:
        causes = {(run.flow, path, content) for path, content in run.files.items()}
        causes |= {(run.flow, run.number, 0), (run.flow, "slot", run.slot or -1)}
        inputs = run.files if player.kind == "each" else {"all.csv": number_of(sorted(run.read.items()))}
        for path, content in inputs.items():
            # half of the flows make the same of many contents: what is the same starts nothing
            made = number_of((player.name, path, content if player.every % 2 else content % 7))
            self._write(f"{player.mirror}/{path.rpartition('/')[2]}", made, causes)

    def _write(self, path: str, content: int, causes: Any) -> None:
        if self.files.get(path) == content:
            self.counts["same content"] += 1
            return
        before = self.files.get(path)
        self.files[path] = content
        for batch, owed in self.owed.items():
            follows = bool(owed & set(causes))
            writer = next(iter(causes), ("",))[0]
            for player in self.players.values():
                if not player.polls or not player.takes(path):
                    continue
                is_handed = any(run.files.get(path) == before for run in self.runs.values() if run.flow == player.name)
                if not is_handed:
                    owed.discard((player.name, path, before or 0))
                if follows and player.name in self.scope[batch] and player.lacks(path, content):
                    is_circle = (player.name, writer) in self.circles[batch]  # as it was when the batch became due
                    owed |= set() if is_circle else {(player.name, path, content)}

    # -- what is planned -------------------------------------------------------------------------------------------

    def _plan(self, player: Player) -> None:
        if player.kind == "slot" and player.is_watched:
            if player.slot is None and self.now % 17 == 0 and self.now < TICKS:
                player.slot = self.now
            if player.slot is not None and not player.queue and not self._runs_of(player.name):
                self._judge(player, {}, float("inf"))
            self._tell(player, self.moment, [] if player.slot is None else [("slot", player.slot)])
        if not player.polls or not player.is_watched:
            return
        if self.now >= player.next_look or player.fresh > player.looked:
            player.looked, player.next_look = self.moment, self.now + player.every
            for path in [path for path in player.open if path not in self.files]:
                del player.open[path]
            for path, content in self.files.items():
                if not player.takes(path):
                    continue
                if not player.lacks(path, content):
                    player.open.pop(path, None)
                elif player.open.get(path, (None,))[0] != content:
                    player.open[path] = content, self.now
        under_way = self._handed(player)
        ready = {
            path: content
            for path, (content, since) in player.open.items()
            if self.now - since >= player.settle and under_way.get(path) != content
        }
        if player.kind == "each":
            player.queue += [{path: content} for path, content in ready.items() if path not in under_way]
        elif not under_way and not self._runs_of(player.name):
            if ready and len(ready) == len(player.open):
                self._judge(player, ready, player.looked)
            elif not player.open:
                self._not_due(player.name)
        items: list[Any] = [(path, content) for path, (content, _) in player.open.items()]
        self._tell(player, player.looked, [*items, *self._handed(player).items()])

    def _handed(self, player: Player) -> dict[str, int]:
        runs = [run.files for run in self.runs.values() if run.flow == player.name]
        return {path: content for files in (*runs, *player.queue) for path, content in files.items()}

    def _tell(self, player: Player, looked: float, items: list[Any]) -> None:
        if looked >= 0 and self.waits.concern(player.name):
            self.waits.note(player.name, Backlog(looked, frozenset(items)))

    def _judge(self, player: Player, ready: dict[str, int], looked: float) -> None:
        name = player.name
        if name not in self.due_since:
            above = self._above(name) - {name}
            self.scope[name] = {other for other in above if other in self.watched and not self._circle(other, name)}
            self.circles[name] = {(one, other) for one in self.players for other in above if self._circle(one, other)}
            self.due_since[name], self.owed[name] = self.now, self._owed_now(name)
        if self.waits.judge(name, looked) is not None:
            self.counts["waits"] += 1
            return
        if self.owed[name]:
            self.broken = (
                f"{name} begins at {self.now}, due since {self.due_since[name]}, before {sorted(self.owed[name])}"
            )
        if ready and ready.items() <= player.good.items():
            self.broken = f"{name} runs again for the same"
        self.counts["batches"] += 1
        self.counts["batches that waited"] += self.now > self.due_since[name]
        self._not_due(name, is_begun=True)
        player.queue.append(dict(ready))

    def _not_due(self, name: str, *, is_begun: bool = False) -> None:
        self.waits.end(name, is_begun=is_begun)
        self.due_since.pop(name, None)
        self.owed.pop(name, None)

    def _begin_runs(self) -> None:
        for player in self.random.sample(list(self.players.values()), len(self.players)):
            if player.queue and not self._runs_of(player.name) and len(self.runs) < 5:
                self._begin(player, player.queue.pop(0), player.slot)

    def _begin(self, player: Player, files: dict[str, int], slot: int | None) -> None:
        takes = 30 if self.random.random() < 0.01 else self.random.randint(1, 5)
        read = {path: content for path, content in self.files.items() if path.startswith(f"{player.reads}/")}
        number = f"r{self.random.randrange(10**9)}"
        write_at = self.now + self.random.randint(0, takes)
        is_good = self.random.random() > 0.1 and takes < 30  # what hangs is killed
        self.runs[number] = Running(number, player.name, files, read, write_at, self.now + takes, is_good, slot)

    # -- what is true ----------------------------------------------------------------------------------------------

    def _feeds(self, name: str) -> set[str]:
        reader = self.players[name]
        if not reader.is_watched:
            return set()
        return {
            one.name
            for one in self.players.values()
            if one.name != name and f"{one.mirror}/".startswith(f"{reader.reads}/")
        }

    def _above(self, name: str) -> set[str]:
        if name not in self.above:
            self.above[name], left = set(), [name]
            while left:
                new = self._feeds(left.pop()) - self.above[name]
                self.above[name] |= new
                left += new
        return self.above[name]

    def _circle(self, name: str, other: str) -> bool:
        return name in self._above(other) and other in self._above(name)

    def _owed_now(self, batch: str) -> set[tuple[str, str, int]]:
        owed = set()
        for name in self._above(batch):
            if self._circle(name, batch) or name == batch:
                continue
            player = self.players[name]
            for run in self.runs.values():
                if run.flow == name:
                    owed |= {(name, run.number, 0), *((name, path, content) for path, content in run.files.items())}
            if not player.is_watched:
                continue
            if player.slot is not None:
                owed.add((name, "slot", player.slot))
            for path, content in self.files.items() if player.polls else ():
                if player.takes(path) and player.lacks(path, content):
                    owed.add((name, path, content))
        return owed

    def _stop_owing(self, name: str) -> None:
        for batch, owed in self.owed.items():
            self.scope[batch] &= self._above(batch) - {name}  # through what is disabled nothing comes any more
            owed -= {entry for entry in owed if entry[0] not in self.scope[batch] and entry[1] not in self.runs}


def violations(seeds: range) -> tuple[list[tuple[int, str]], Counter[str]]:
    """What broke, by seed, and how often things happened."""
    broken, counts = [], Counter[str]()
    for seed in seeds:
        world = World(seed)
        world.play()
        counts += world.counts
        if world.broken is not None:
            broken.append((seed, world.broken))
    return broken, counts
