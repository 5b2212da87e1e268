"""Decide which machine tells people of a silent owner: by a claim on the share, won by one rename, and a record that they were told.

    alarms/<10 digits>/entry.json              the first claim; the number is that of the generation nobody has gone on from
    alarms/<10 digits>/again-<3 digits>/       the next claim, where the one before has told nobody for ten minutes
    alarms/<10 digits>/sent.json               people were told
    state/generations/<10 digits>/stage-<id>/  a first claim being prepared, inside of the generation it is about

An owner that comes back must append a generation, so a number names one silence. Every other claim is prepared inside of
the alarm. An alarm is removed after its generation, and with both go all stages: none can be won a second time. That a
silence is over is told by the machine that has told of it.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from dataclasses import asdict, replace
from typing import Literal, Protocol, TypeAlias

from data_engine.clock import boot_clock
from data_engine.lease.folder import FileSystem, clear_way, forget_gone, make, names_in, put, remove
from data_engine.lease.generations import path_of
from data_engine.lease.held_lease import HeldLease
from data_engine.lease.protocol import NEVER, Damaged, Identity, InDoubt, View, is_of_this_machine
from data_engine.lease.records import decode, encode, fields_of
from data_engine.nofollow import NotFollowedError
from data_engine.record import frozen

log = logging.getLogger(__name__)

ROOT = "alarms"
KEEP_ALARMS = 8
"""The newest are kept for people to look at, and so that whoever is slow finds what it is looking for."""

MOST_CLAIMS = 144
"""The most claims of one message: at one in ten minutes a day's, as long as a message is tried."""

RIGHT_S = 360.0
"""So long after it began to claim a machine may tell: over before the next may begin, on clocks that run at most 10 % apart."""

AGAIN_S = 600.0
"""A claim that has been seen for so long, and has told nobody, may be followed by another."""

LOOK_S = 60.0
"""How often a machine looks at what another one has claimed."""

LARGEST_ALARM_BYTES = 64_000
_TRIES = 3
_AGAIN = re.compile(r"again-(\d{3})", re.ASCII)
_NUMBER = re.compile(r"\d{10}", re.ASCII)

Move: TypeAlias = Literal["done", "record", "tell", "claim", "wait"]


@frozen
class Alarm:
    """The message about one silence: of the `owner` by generation `number`, whose nonce is `generation`; whether its engine was on, and
    since when nothing is heard. `has_ended`: it has given the workspace up with its engine on, as a daemon does whose machine is shut down.

    Example:
        >>> Alarm(42, "9f3c").path, Alarm(42, "9f3c").claimed_at(2)
        ('alarms/0000000042', 'alarms/0000000042/again-002')
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
        """The folder of the claim after `count` others."""
        return self.path if count == 0 else f"{self.path}/again-{count:03d}"

    def prepared_in(self, count: int) -> str:
        """The folder that such a claim is prepared in: it goes before its place can be free again."""
        return path_of(self.number) if count == 0 else self.path


@frozen
class AlarmClaim:
    """A machine's claim to tell people. `generation` is the nonce of the generation the alarm is about; `at_utc` is shown to people."""

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


class Teller(Protocol):
    """Tells people for one machine. No method waits for a channel; what is kept is kept over a crash."""

    def is_free(self, message_id: str) -> bool:
        """Whether a message may be sent without a claim: it is of no alarm, or somebody has it."""
        ...

    def kinds(self) -> Collection[str]:
        """The kinds this machine can tell now, and people want to hear; memory only."""
        ...

    def is_whole(self) -> bool:
        """Whether it reaches all who are to be told; memory only."""
        ...

    def id_of(self, alarm: Alarm) -> str:
        """The id of the message: the same on every machine."""
        ...

    def tell(self, alarm: Alarm) -> None:
        """Keep the message until it is sent, and the alarm until it has ended; a second call changes nothing."""
        ...

    def kept(self) -> Alarm | None:
        """The alarm that this machine has told last, or was about to, and has not ended."""
        ...

    def is_told(self, alarm: Alarm) -> bool:
        """Whether one recipient at least has the message from this machine."""
        ...

    def end(self, alarm: Alarm, over: str = "") -> None:
        """Forget the alarm. Whoever was not told of it yet never is; whoever was is told how it was `over`."""
        ...

    def tell_away(self, why: str) -> None:
        """Tell that the share cannot be used, as a trouble of this machine."""
        ...

    def tell_back(self) -> None:
        """Tell that the share can be used again; nothing where `tell_away` was not called before, by this process or an earlier one."""
        ...

    def is_away_told(self) -> bool:
        """Whether `tell_away` was called last."""
        ...


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
        claims = max((int(match[1]) + 1 for name in names if (match := _AGAIN.fullmatch(name))), default=0)
        claims = claims or int("entry.json" in names)
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
        """Record on the share that people were told; nothing where the alarm was removed: it was over long ago."""
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

    `nonce` is this process's own last claim of `tries`, by which it may tell until `until_s`; `look_s` is when the share is looked
    at next. `is_done`: people were told, and its end is waited for.
    """

    alarm: Alarm
    claims: int = 0
    claim_s: float = NEVER
    nonce: str = ""
    tries: int = 0
    until_s: float = NEVER
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
    """The move for a silence, after a look at the share.

    `is_told`: this machine has told somebody. `may_begin`: the first claim may be made now.

    Example:
        >>> silence = PursuedAlarm(Alarm(7, "9f3c", "EVE-PC", True))
        >>> judge(silence, AlarmState(), is_told=False, may_begin=True, now_s=0.0)
        'claim'
        >>> silence, state = replace(silence, claims=1, claim_s=10.0), AlarmState(1, "ab")
        >>> [judge(silence, state, is_told=False, may_begin=True, now_s=now_s) for now_s in (20.0, 610.0)]
        ['wait', 'claim']
        >>> judge(replace(silence, nonce="ab", until_s=370.0), state, is_told=False, may_begin=True, now_s=20.0)
        'tell'
    """
    if state.is_sent:
        return "done"
    if is_told:
        return "record"
    if state.claims == 0:
        return "claim" if may_begin else "wait"
    if state.claims > MOST_CLAIMS:
        return "wait"
    is_mine = state.nonce is not None and state.nonce == silence.nonce
    if is_mine and now_s < silence.until_s:
        return "tell"
    wait_s = AGAIN_S * (1 + silence.tries) if is_mine else AGAIN_S  # who could not tell lets others go first
    return "claim" if now_s - silence.claim_s >= wait_s else "wait"


# -- what a daemon does ----------------------------------------------------------------------------------------------------


class Watch:
    """Watches for silent owners in one daemon. `look` is called after every look at the share, by the thread that looks, with what it showed.

    `oldest` gives the number of the first generation there is; `wake` is called when there is a message to send.
    """

    def __init__(
        self,
        alarms: AlarmFiles,
        teller: Teller,
        me: Identity,
        *,
        oldest: Callable[[], int],
        new_id: Callable[[], str],
        utc: Callable[[], str],
        clock: Callable[[], float] = boot_clock,
    ) -> None:
        self.wake: Callable[[], None] = lambda: None
        self._alarms, self._teller, self._me = alarms, teller, me
        self._oldest, self._new_id, self._utc, self._clock = oldest, new_id, utc, clock
        alarm = teller.kept()
        self._silence = None if alarm is None else PursuedAlarm(alarm)
        self._right = ("", NEVER)
        self._collect_due_s = NEVER
        self._is_away_told = teller.is_away_told()
        self._turned_s: float | None = None
        self._why_unclaimed: str | None = None

    @property
    def left_alone(self) -> Mapping[str, str]:
        """The reason to leave alone what lies among the alarms on the share and is not Data Engine's, by its path."""
        return self._alarms.left_alone

    def may_send(self, message_id: str) -> bool:
        """Whether a message may be sent now; asked right before it is."""
        return self._teller.is_free(message_id) or self.may_tell(message_id)

    def may_tell(self, message_id: str) -> bool:
        """Whether this machine's claim lets it send this message of an alarm now."""
        own_id, until_s = self._right
        return message_id == own_id and self._clock() < until_s

    def is_known(self, view: View) -> bool:
        """Whether people are told of this already: nobody runs the engine, whoever has owned the workspace for a moment."""
        return self._silence is not None and self._silence.alarm.has_ended and is_unattended(view)

    def look(self, view: View, held: HeldLease | None) -> None:
        """Do what is due after a look that showed `view`; `held` where this machine owns the workspace.

        Raises:
            OSError, LeaseOutcome: the share is away, full or read-only: it is done at a later look.
            LedgerError: this machine's ledger cannot be used.
        """
        try:
            if view.state not in ("unreachable", "damaged"):
                self._look_at_the_share(view, held)
        finally:
            self._look_whether_it_can_be_used(view)

    def _look_at_the_share(self, view: View, held: HeldLease | None) -> None:
        self._why_unclaimed = None
        if held is not None and self._clock() >= self._collect_due_s:
            self._collect_due_s = self._clock() + LOOK_S
            self._alarms.collect(self._oldest())
        if kinds := self._teller.kinds():
            self._see_the_end(view)
            if "silent_owner" in kinds and is_alarming(view, self._me, is_whole=self._teller.is_whole()):
                self._see_a_silence(view)
            if self._silence is not None and not self._silence.is_done:
                self._go_on(self._silence, view)
        forget_gone(self._alarms.folder, self._alarms.left_alone)

    def _see_a_silence(self, view: View) -> None:
        top, silence = view.top, self._silence
        assert top is not None
        if silence is not None:
            if silence.alarm.number == top.number or self.is_known(view):
                return
            self._teller.end(silence.alarm)
        alarm = Alarm(top.number, top.nonce, top.by.shown, top.engine_on, self._utc(), not top.is_owned)
        self._silence = PursuedAlarm(alarm)

    def _see_the_end(self, view: View) -> None:
        silence = self._silence
        over = "" if silence is None else how_over(silence, view)
        if silence is None or not over:
            return
        if not silence.is_done and self._teller.is_told(silence.alarm):
            self._alarms.note_sent(silence.alarm, self._utc())
        self._teller.end(silence.alarm, over)
        self._silence = None
        self.wake()

    def _go_on(self, silence: PursuedAlarm, view: View) -> None:
        """Do what is due for the silence."""
        now_s, is_told = self._clock(), self._teller.is_told(silence.alarm)
        if not is_told and silence.until_s <= now_s < silence.look_s:
            return
        state = self._alarms.look(silence.alarm)
        if state.claims != silence.claims:
            silence = replace(silence, claims=state.claims, claim_s=now_s)
        self._silence = silence = replace(silence, look_s=now_s + LOOK_S)
        is_silent = view.state == "stale" or is_unattended(view)
        may_begin = is_silent and view.top is not None and view.top.nonce == silence.alarm.generation
        self._do(judge(silence, state, is_told=is_told, may_begin=may_begin, now_s=now_s), silence)

    def _do(self, move: Move, silence: PursuedAlarm) -> None:
        if move == "record":
            self._alarms.note_sent(silence.alarm, self._utc())
            self._silence = replace(silence, is_done=True)
        elif move == "done":
            if not self._teller.is_told(silence.alarm):
                self._teller.end(silence.alarm)
            self._silence = replace(silence, is_done=True)
        elif move == "tell":
            self._tell(silence)
        elif move == "claim":
            self._claim(silence)

    def _tell(self, silence: PursuedAlarm) -> None:
        self._right = self._teller.id_of(silence.alarm), silence.until_s
        self._teller.tell(silence.alarm)
        self.wake()

    def _claim(self, silence: PursuedAlarm) -> None:
        """Claim an alarm that nobody has claimed, or has told anybody of; the right to tell counts from before."""
        nonce, until_s = self._new_id(), self._clock() + RIGHT_S
        by = AlarmClaim(silence.alarm.generation, nonce, self._me.machine_id, self._me.host_name, self._utc())
        attempt = replace(silence, nonce=nonce, tries=silence.tries + 1, until_s=until_s)
        self._silence = replace(silence, look_s=NEVER)
        try:
            is_won = self._alarms.claim(silence.alarm, silence.claims, by)
        except InDoubt:
            self._silence = attempt
            raise
        except OSError as error:
            self._why_unclaimed = f"an owner is not heard of, and the alarm cannot be claimed: {error}"
            raise
        if not is_won:  # somebody else has, or what it is about is gone
            return
        log.info("this machine tells people that %s is not heard of", silence.alarm.owner)
        self._silence = won = replace(attempt, claims=silence.claims + 1, claim_s=self._clock())
        if silence.claims and self._alarms.look(silence.alarm).is_sent:  # by one that was frozen, a moment ago
            self._do("done", won)
        elif self._clock() < until_s:
            self._tell(won)

    def _look_whether_it_can_be_used(self, view: View) -> None:
        """A share that cannot be used is a trouble of this machine, told by it: each change once it has lasted for the threshold."""
        why = view.away if view.state == "unreachable" else self._why_unclaimed
        if (why is not None) == self._is_away_told:
            self._turned_s = None
            return
        self._turned_s = self._clock() if self._turned_s is None else self._turned_s
        if self._clock() - self._turned_s < view.limits.stale_after_s:
            return
        if why is None:
            self._teller.tell_back()
        elif "unreachable" in self._teller.kinds():
            self._teller.tell_away(why)
        else:
            return
        self._is_away_told, self._turned_s = why is not None, None
        self.wake()
