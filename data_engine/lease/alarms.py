"""The alarms of silent owners: which machine notifies people, by a claim on the share that one rename wins, and a record that they were.

    alarms/<10 digits>/entry.json              the first claim; the number is that of the generation nobody has gone on from
    alarms/<10 digits>/again/entry.json        the second, where the first has notified nobody within ten minutes
    alarms/<10 digits>/sent.json               people were notified
    state/generations/<10 digits>/stage-<id>/  a first claim being prepared, inside of the generation it is about

An owner that comes back must append a generation, so a number names one silence. The second claim is prepared inside of the
alarm. An alarm is removed after its generation, and with both go all stages: none can be won a second time. There is no third
claim: people get one message, and at most one more under the same id. That a silence is over is told by the machine that has told of it.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict
from typing import Literal, TypeAlias

from data_engine.lease.folder import FileSystem, clear_way, make, names_in, put, remove
from data_engine.lease.generations import path_of
from data_engine.lease.protocol import NEVER, Damaged, Identity, InDoubt, View, is_of_this_machine
from data_engine.lease.records import decode, encode, fields_of
from data_engine.nofollow import NotFollowedError
from data_engine.record import frozen

ROOT = "alarms"
KEEP_ALARMS = 8
"""The newest are kept for people to look at, and so that whoever is slow finds what it is looking for."""

AGAIN_S = 600.0
"""A first claim that has been seen for so long, and has notified nobody, may be followed by a second."""

LARGEST_ALARM_BYTES = 64_000
_TRIES = 3
_NUMBER = re.compile(r"\d{10}", re.ASCII)

Move: TypeAlias = Literal["done", "record", "notify", "claim", "wait"]


@frozen
class Alarm:
    """The message about one silence: of the `owner` by generation `number`, whose nonce is `generation`; whether its engine was on, and
    since when nothing is heard. `has_ended`: it has given the workspace up with its engine on, as a daemon does whose machine is shut down.

    Example:
        >>> Alarm(42, "9f3c").path, Alarm(42, "9f3c").claimed_at(1)
        ('alarms/0000000042', 'alarms/0000000042/again')
    """

    number: int
    generation: str
    owner: str = ""
    engine_on: bool = False
    since_utc: str = ""
    has_ended: bool = False

    @property
    def path(self) -> str:
        """The folder of its first claim."""
        return f"{ROOT}/{self.number:010d}"

    def claimed_at(self, count: int) -> str:
        """The folder of the claim after `count` others, 0 or 1."""
        return self.path if count == 0 else f"{self.path}/again"

    def prepared_in(self, count: int) -> str:
        """The folder that such a claim is prepared in: it goes before its place can be free again."""
        return path_of(self.number) if count == 0 else self.path


@frozen
class AlarmClaim:
    """A machine's claim to notify people. `generation` is the nonce of the generation the alarm is about; `at_utc` is shown to people."""

    generation: str
    nonce: str
    machine_id: str
    host_name: str
    at_utc: str


@frozen
class AlarmState:
    """The state of an alarm on the share: how many claims, the nonce of the newest where it can be read, and whether it was sent."""

    claims: int = 0
    nonce: str | None = None
    is_sent: bool = False


# -- on the share ----------------------------------------------------------------------------------------------------------


class AlarmFiles:
    """The alarms of one workspace on the share; `new_id` names what is being written, the newest `keep` stay.

    `left_alone` holds, by its path, what lies among them and is not Data Engine's, with the reason.

    Every method raises `OSError` where the share is away, full or read-only.

    Example:
        >>> import tempfile
        >>> from pathlib import Path
        >>> from data_engine.lease.folder import OsFolder
        >>> folder = OsFolder(Path(tempfile.mkdtemp()))
        >>> for path in ("state", "state/generations", path_of(7)): folder.mkdir(path)
        >>> files, alarm = AlarmFiles(folder, iter("abcdef").__next__), Alarm(7, "9f3c")
        >>> ann, ben = (AlarmClaim("9f3c", name, name, name, "") for name in ("ann", "ben"))
        >>> files.claim(alarm, 0, ann), files.claim(alarm, 0, ben), files.look(alarm).nonce
        (True, False, 'ann')
        >>> files.note_sent(alarm, ""), files.look(alarm).is_sent, files.listed()
        (None, True, [7])
    """

    def __init__(self, folder: FileSystem, new_id: Callable[[], str], *, keep: int = KEEP_ALARMS) -> None:
        self.folder = folder
        self.keep = keep
        self.left_alone: dict[str, str] = {}
        self._new_id = new_id

    def look(self, alarm: Alarm) -> AlarmState:
        """The state of the alarm on the share. What lies in its place and is not ours is put aside, untouched.

        Raises:
            OSError: the share is away, or what is in the way cannot be moved.
        """
        try:
            names = set(names_in(self.folder, alarm.path))
        except (NotFollowedError, NotADirectoryError):
            self.left_alone |= clear_way(self.folder, alarm.path, self._new_id(), to="folder")
            return AlarmState()
        claims = 2 if "again" in names else int("entry.json" in names)
        nonce = None
        with suppress(FileNotFoundError):
            nonce = self._nonce(alarm.claimed_at(claims - 1)) if claims else None
        return AlarmState(claims, nonce, "sent.json" in names and self._is_sent(alarm))

    def claim(self, alarm: Alarm, count: int, by: AlarmClaim) -> bool:
        """Whether the claim after `count` others is `by`'s; not where somebody else has it, or the alarm is over and removed.

        Raises:
            InDoubt: the share did not say; it may have been won, or may be yet.
            OSError: it could not be prepared.
        """
        stage, place = f"{alarm.prepared_in(count)}/stage-{by.nonce}", alarm.claimed_at(count)
        try:
            self.folder.mkdir(stage)
            self.folder.write(f"{stage}/entry.json", encode(asdict(by)))
        except FileNotFoundError:
            return False
        make(self.folder, ROOT)
        for _ in range(_TRIES):
            is_moved = False
            try:
                self.folder.rename_dir(stage, place)
                is_moved = True
            except OSError:
                pass  # taken, refused, or done and the answer was lost: whose nonce is there decides
            with suppress(OSError):
                return self._nonce(place) == by.nonce
            if is_moved:
                return True
        raise InDoubt(f"the claim of {place}")

    def note_sent(self, alarm: Alarm, at_utc: str) -> None:
        """Record on the share that people were notified; nothing where the alarm was removed: it was over long ago."""
        path, record = f"{alarm.path}/sent.json", encode({"generation": alarm.generation, "at_utc": at_utc})
        with suppress(FileNotFoundError):  # the folder of an alarm appears by a claim alone
            try:
                put(self.folder, path, record, self._new_id(), makes_folders=False)
            except NotFollowedError:
                self.left_alone |= clear_way(self.folder, path, self._new_id(), to="file")
                put(self.folder, path, record, self._new_id(), makes_folders=False)

    def listed(self) -> list[int]:
        """The numbers of the alarms there are, ascending."""
        try:
            names = names_in(self.folder, ROOT)
        except (NotFollowedError, NotADirectoryError) as error:
            self.left_alone[ROOT] = error.strerror or str(error)
            return []
        self.left_alone.pop(ROOT, None)
        return sorted(int(name) for name in names if _NUMBER.fullmatch(name))

    def collect(self, oldest: int) -> None:
        """As the owner: remove all but the newest alarms, and none whose generation is there; `oldest` is the first that is.

        Raises:
            OSError: the share is away, or something is in use; call again some time.
        """
        for number in self.listed()[: -self.keep or None]:
            if number < oldest:
                self.left_alone |= remove(self.folder, f"{ROOT}/{number:010d}")

    def _is_sent(self, alarm: Alarm) -> bool:
        try:
            record = decode(self.folder.read(f"{alarm.path}/sent.json", LARGEST_ALARM_BYTES), LARGEST_ALARM_BYTES)
        except (FileNotFoundError, NotFollowedError, NotADirectoryError, IsADirectoryError, Damaged):
            return False
        return record.get("generation") == alarm.generation

    def _nonce(self, place: str) -> str | None:
        """The nonce of the claim there; None where it cannot be read.

        Raises:
            OSError: the share is away; FileNotFoundError where there is none.
        """
        try:
            return claim_of(self.folder.read(f"{place}/entry.json", LARGEST_ALARM_BYTES)).nonce
        except (NotFollowedError, NotADirectoryError, IsADirectoryError, Damaged):
            return None


def claim_of(data: bytes) -> AlarmClaim:
    """The claim stored as `data`.

    Raises:
        Damaged: it is none.
    """
    return AlarmClaim(**fields_of(AlarmClaim, data, "claim of an alarm", LARGEST_ALARM_BYTES))


# -- decided from plain values ---------------------------------------------------------------------------------------------


@frozen
class PursuedAlarm:
    """One silence as one machine pursues it: `claims` were seen, the last of them first at `claim_s`.

    `nonce` is this process's own last claim, whose outcome may be in doubt; `is_kept`: its message is in this machine's outbox.
    `look_s` is when the share is read next. `is_done`: people were notified, and its end is waited for.
    """

    alarm: Alarm
    claims: int = 0
    claim_s: float = NEVER
    nonce: str = ""
    is_kept: bool = False
    look_s: float = NEVER
    is_done: bool = False


def is_unattended(view: View) -> bool:
    """Whether nobody owns the workspace since an owner ended with its engine on. Who stops the engine leaves it off."""
    top = view.top
    return view.state == "available" and top is not None and top.kind == "release" and top.engine_on


def is_alarming(view: View, me: Identity, *, is_whole: bool) -> bool:
    """Whether the owner has been silent, or nobody has run its engine, for so long that people are to be told.

    Who reaches only some of them leaves it to others for a threshold more. A daemon of this machine that died is no silent
    machine; others see to that.
    """
    top = view.top
    if top is None or is_of_this_machine(top, me):
        return False
    is_silent = view.state == "stale" and top.is_owned
    return (is_silent or is_unattended(view)) and view.silent_s >= view.limits.stale_after_s * (1 if is_whole else 2)


def how_over(silence: PursuedAlarm, view: View) -> str:
    """How the silence has ended, in words; "" where it goes on, or nobody can tell.

    Only a new generation ends it. An owner that was frozen in the middle of a heartbeat shows one beat more when it wakes, and
    may freeze again before it renews: that is the same silence, under the same number. A workspace whose engine nobody runs is
    looked after again when somebody has owned it for the threshold: a deployment from elsewhere owns it for a moment.
    """
    top, alarm = view.top, silence.alarm
    if top is None or top.number <= alarm.number:
        return ""
    if top.kind == "repair":
        return f"{top.by.shown} has repaired the workspace's history"
    if alarm.has_ended and (is_unattended(view) or (top.is_owned and view.owned_for_s < view.limits.stale_after_s)):
        return ""
    if not top.is_owned:
        return f"{top.by.shown} has given the workspace up"
    by, owner = top.by.shown, alarm.owner
    return f"{owner} gives signs of life again" if by == owner else f"{by} owns the workspace now"


def judge(silence: PursuedAlarm, state: AlarmState, *, is_told: bool, may_begin: bool, now_s: float) -> Move:
    """The move for a silence, after the share was read.

    `is_told`: this machine has notified somebody. `may_begin`: the first claim may be made now.

    Example:
        >>> silence = PursuedAlarm(Alarm(7, "9f3c", "EVE-PC", True))
        >>> judge(silence, AlarmState(), is_told=False, may_begin=True, now_s=0.0)
        'claim'
        >>> silence, state = PursuedAlarm(silence.alarm, claims=1, claim_s=10.0), AlarmState(1, "ab")
        >>> [judge(silence, state, is_told=False, may_begin=True, now_s=now_s) for now_s in (20.0, 610.0)]
        ['wait', 'claim']
        >>> judge(PursuedAlarm(silence.alarm, claims=1, nonce="ab"), state, is_told=False, may_begin=True, now_s=20.0)
        'notify'
    """
    if state.is_sent:
        return "done"
    if is_told:
        return "record"
    if silence.is_kept:
        return "wait"
    if state.claims == 0:
        return "claim" if may_begin else "wait"
    if state.nonce is not None and state.nonce == silence.nonce:  # the claim's answer was lost
        return "notify"
    return "claim" if state.claims == 1 and now_s - silence.claim_s >= AGAIN_S else "wait"
