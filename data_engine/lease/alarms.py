"""Who tells people that an owner has fallen silent, and later that this is over: claims on the share, each won by one rename.

    alarms/<10 digits>/entry.json              the first claim; the number is that of the generation nobody has gone on from
    alarms/<10 digits>/again-<3 digits>/       the next claim, where the one before has told nobody for a while
    alarms/<10 digits>/sent.json               people were told
    alarms/<10 digits>/recovered/              these three once more: that it is over
    state/generations/<10 digits>/stage-<id>/  a first claim being prepared, inside of the generation it is about

An owner that comes back must append a generation, so a number names one silence. Every other claim is prepared inside of
what it follows. An alarm is removed after its generation, and with both go all stages: none can be won a second time.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict
from typing import Any, Literal

from data_engine.lease.folder import FileSystem
from data_engine.lease.generations import path_of
from data_engine.lease.protocol import Damaged, InDoubt
from data_engine.lease.records import decode, encode, fields_of
from data_engine.lease.removal import clear_way, make, names_in, put, remove
from data_engine.nofollow import NotFollowedError
from data_engine.record import frozen

ROOT = "alarms"
KEEP_ALARMS = 8
"""The newest are kept for people to look at, and so that whoever is slow finds what it is looking for."""

MOST_CLAIMS = 144
"""Of one message: at one claim in ten minutes a day, as long as a message is tried."""

LARGEST_ALARM_BYTES = 64_000
_TRIES = 3
_AGAIN = re.compile(r"again-(\d{3})", re.ASCII)
_NUMBER = re.compile(r"\d{10}", re.ASCII)

Kind = Literal["silent_owner", "recovered"]


@frozen
class Alarm:
    """One message about one silence: of the owner by generation `number`, whose nonce is `generation`.

    Example:
        >>> Alarm(42, "9f3c", "silent_owner").path, Alarm(42, "9f3c", "recovered").path
        ('alarms/0000000042', 'alarms/0000000042/recovered')
    """

    number: int
    generation: str
    kind: Kind

    @property
    def path(self) -> str:
        """The folder of its first claim."""
        return _home(self.number) if self.kind == "silent_owner" else f"{_home(self.number)}/recovered"

    def claimed_at(self, count: int) -> str:
        """The folder of the claim after `count` others."""
        return self.path if count == 0 else f"{self.path}/again-{count:03d}"

    def prepared_in(self, count: int) -> str:
        """The folder that such a claim is prepared in: it goes before its place can be free again."""
        if count > 0:
            return self.path
        return path_of(self.number) if self.kind == "silent_owner" else _home(self.number)


@frozen
class AlarmClaim:
    """Who has taken it upon itself to tell, and what of: the owner as people know it, and what it did.

    `at_utc` and `since_utc` are shown to people. `generation` is the nonce of the generation the alarm is about;
    `has_ended`: it is the one by which the owner gave the workspace up.
    """

    generation: str
    nonce: str
    machine_id: str
    host_name: str
    lock_id: str
    host_id: str
    owner: str
    engine_on: bool
    since_utc: str
    at_utc: str
    has_ended: bool = False


@frozen
class Shown:
    """What the share shows of one message: how many claims, the newest where it can be read, and whether it was sent."""

    claims: int = 0
    newest: AlarmClaim | None = None
    is_sent: bool = False


class AlarmFiles:
    """The alarms of one workspace on the share; `new_id` names what is being written, the newest `keep` stay.

    `left_alone` holds, by its path, what lies among them and is not Data Engine's, with the reason.

    Example:
        >>> import tempfile
        >>> from pathlib import Path
        >>> from data_engine.lease.folder import OsFolder
        >>> folder = OsFolder(Path(tempfile.mkdtemp()))
        >>> for path in ("state", "state/generations", path_of(7)): folder.mkdir(path)
        >>> files, alarm = AlarmFiles(folder, iter("abcdef").__next__), Alarm(7, "9f3c", "silent_owner")
        >>> ann, ben = (AlarmClaim("9f3c", name, name, name, "", "", "EVE-PC", True, "", "") for name in ("ann", "ben"))
        >>> files.claim(alarm, 0, ann), files.claim(alarm, 0, ben), files.look(alarm).newest.machine_id
        (True, False, 'ann')
        >>> files.note_sent(alarm, ""), files.look(alarm).is_sent, files.listed()
        (None, True, [7])
    """

    def __init__(self, folder: FileSystem, new_id: Callable[[], str], *, keep: int = KEEP_ALARMS) -> None:
        self.folder = folder
        self.keep = keep
        self.left_alone: dict[str, str] = {}
        self._new_id = new_id

    def look(self, alarm: Alarm) -> Shown:
        """What is there of it. What lies in its place and is not ours is put aside, untouched.

        Raises:
            OSError: the share is away, or what is in the way cannot be moved.
        """
        try:
            names = set(names_in(self.folder, alarm.path))
        except (NotFollowedError, NotADirectoryError):
            self.left_alone |= clear_way(self.folder, alarm.path, self._new_id(), to="folder")
            return Shown()
        claims = max((int(found[1]) + 1 for name in names if (found := _AGAIN.fullmatch(name))), default=0)
        claims = claims or int("entry.json" in names)
        newest = self._entry(alarm.claimed_at(claims - 1)) if claims else None
        return Shown(claims, newest, "sent.json" in names and self._is_sent(alarm))

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
                there = self._entry_at(place)
                return there is not None and there.nonce == by.nonce
            if is_moved:
                return True
        raise InDoubt(f"the claim of {place}")

    def note_sent(self, alarm: Alarm, at_utc: str) -> None:
        """Let all machines know that people were told; nothing where the alarm was removed, which is over long ago.

        Raises:
            OSError: the share is away, full or read-only.
        """
        path, record = f"{alarm.path}/sent.json", encode({"generation": alarm.generation, "at_utc": at_utc})
        with suppress(FileNotFoundError):  # the folder of an alarm appears by a claim alone
            try:
                put(self.folder, path, record, self._new_id(), makes_folders=False)
            except NotFollowedError:
                self.left_alone |= clear_way(self.folder, path, self._new_id(), to="file")
                put(self.folder, path, record, self._new_id(), makes_folders=False)

    def listed(self) -> list[int]:
        """The numbers of the alarms there are, ascending.

        Raises:
            OSError: the share is away.
        """
        try:
            names = names_in(self.folder, ROOT)
        except (NotFollowedError, NotADirectoryError) as error:
            self.left_alone[ROOT] = error.strerror or str(error)
            return []
        self.left_alone.pop(ROOT, None)
        return sorted(int(name) for name in names if _NUMBER.fullmatch(name))

    def first(self, number: int) -> AlarmClaim | None:
        """The first claim of this alarm; None where there is none that can be read.

        Raises:
            OSError: the share is away.
        """
        return self._entry(_home(number))

    def collect(self, oldest: int) -> None:
        """As the owner: remove all but the newest alarms, and none whose generation is there; `oldest` is the first that is.

        Raises:
            OSError: the share is away, or something is in use; call again some time.
        """
        for number in self.listed()[: -self.keep or None]:
            if number < oldest:
                self.left_alone |= remove(self.folder, _home(number))

    def _is_sent(self, alarm: Alarm) -> bool:
        record = self._record(f"{alarm.path}/sent.json")
        return record is not None and record.get("generation") == alarm.generation

    def _entry(self, place: str) -> AlarmClaim | None:
        try:
            return self._entry_at(place)
        except FileNotFoundError:
            return None

    def _entry_at(self, place: str) -> AlarmClaim | None:
        """The claim there; None where it cannot be read.

        Raises:
            OSError: the share is away; FileNotFoundError where there is none.
        """
        try:
            return claim_of(self.folder.read(f"{place}/entry.json", LARGEST_ALARM_BYTES))
        except (NotFollowedError, NotADirectoryError, IsADirectoryError, Damaged):
            return None

    def _record(self, path: str) -> Mapping[str, Any] | None:
        try:
            return decode(self.folder.read(path, LARGEST_ALARM_BYTES), LARGEST_ALARM_BYTES)
        except (FileNotFoundError, NotFollowedError, NotADirectoryError, IsADirectoryError, Damaged):
            return None


def claim_of(data: bytes) -> AlarmClaim:
    """The claim stored as `data`.

    Raises:
        Damaged: it is none.
    """
    return AlarmClaim(**fields_of(AlarmClaim, data, "claim of an alarm", LARGEST_ALARM_BYTES))


def _home(number: int) -> str:
    return f"{ROOT}/{number:010d}"
