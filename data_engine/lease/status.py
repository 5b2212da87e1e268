"""The ownership of a workspace as people see it: one word, who, how long, and what could be done next."""

from __future__ import annotations

import os
import time
from collections.abc import Collection, Mapping
from contextlib import suppress
from dataclasses import field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from data_engine.errors import OwnedElsewhereError
from data_engine.formatting import duration_text
from data_engine.lease.folder import GENERATIONS, OsFolder
from data_engine.record import Record, frozen
from data_engine.workspace.machine import machine_id

if TYPE_CHECKING:
    from data_engine.lease.protocol import Damage, Generation, HandoverRequest, Identity, View


_REPAIR = "data-engine lease repair"
NOT_ALL_HERE = "not all of what other workstations ran is known here"
FETCHED_BY = "`data-engine start --no-engine` fetches it"
Word = Literal["available", "mine", "owned", "control_requested", "takeover_available", "unreachable", "damaged"]


@frozen
class Machine(Record):
    """A workstation as the lease names it."""

    sparse: ClassVar = ("machine_id", "host_name", "daemon_id", "pid", "app_version", "client_kind", "requested_at_utc")

    machine_id: str | None = None
    host_name: str | None = None
    daemon_id: str | None = None
    pid: int | None = None
    app_version: str | None = None
    client_kind: str | None = None
    requested_at_utc: str | None = None


@frozen
class DamageStatus(Record):
    """The damage of the shared state, since when it is there, and what helps. `kind` is "history", "newer", "foreign" or "heartbeat"."""

    what: str = ""
    file: str = ""
    noticed_by: str = ""
    since_utc: str = ""
    fix: str = ""
    kind: str = "history"


@frozen
class NotReleased(Record):
    """Why giving the workspace up has no effect. `kind` is "not_owned", "owned_elsewhere" or "owner_gone"."""

    computed: ClassVar = ("text",)

    kind: str
    who: str

    @property
    def text(self) -> str:
        """The sentence for people."""
        if self.kind == "not_owned":
            return f"no owner of the workspace is seen, it is {self.who}: nothing was given up"
        if self.kind == "owned_elsewhere":
            return f"{self.who} owns the workspace, not this workstation: nothing was given up"
        return "the daemon of this workstation that owned the workspace is gone: `data-engine start` owns it again, then give it up"


@frozen
class LeaseStatus(Record):
    """The ownership as one machine sees it; ages and times to come are seconds of its own clock.

    `owner` and `requested_by` are `{machine_id, host_name, ...}`. `is_mine` tells on whose side a request is pending.
    `takeover_in_s` is how much more silence makes the lease free to take, 0 when it is; None where nobody can take it.
    `engine_on` is what travels with the workspace. `note` says what the state does not: why it cannot be reached, or, by its
    `note_kind`, for whom it is kept ("handed_over") or that its owner is gone ("owner_gone"). `damage` is what is damaged:
    `{what, file, noticed_by, since_utc, fix, kind}`. Before the first look it is `unreachable`.

    A daemon also tells whether it is `releasing` the workspace, whether its own ownership has `lapsed`, to whom it was
    `lost_to`, and what `trouble` the share gives, of these `trouble_kinds`: claim, heartbeat, history (what is published), refresh
    (what is taken in), request, release, check, clock, fix, collect, watch; and foreign (what does not belong there), left_out (rows). What came back from a release has `said`, and `why`, where it had no effect.
    A status tells whether the workspace `is_shared`: another workstation has ever been seen. `is_behind` where no daemon follows the workspace here and more was published than this machine has.

    Example:
        >>> LeaseStatus("owned", {"machine_id": "m2", "host_name": "ANNA-PC"}, token=7, heartbeat_age_s=50.0,
        ...             takeover_in_s=40.0, owned_for_s=720.0, is_overdue=True).words
        'owned by ANNA-PC for 12 min, takeover available in 40 s'
    """

    computed: ClassVar = ("words", "engine_there", "said", "is_worth_words")
    sparse: ClassVar = ("is_behind",)

    state: Word = "unreachable"
    owner: Mapping[str, Any] | None = field(default=None, metadata={"of": Machine.read})
    token: int = 0
    heartbeat_age_s: float | None = None
    requested_by: Mapping[str, Any] | None = field(default=None, metadata={"of": Machine.read})
    takeover_in_s: float | None = None
    owned_for_s: float = 0.0
    is_mine: bool = False
    is_overdue: bool = False
    engine_on: bool = False
    note: str = ""
    damage: DamageStatus | None = field(default=None, metadata={"of": DamageStatus.read})
    note_kind: str | None = None
    releasing: bool = False
    lapsed: bool = False
    lost_to: str | None = None
    trouble: str | None = None
    trouble_kinds: tuple[str, ...] = ()
    why: NotReleased | None = field(default=None, metadata={"of": NotReleased.read})
    is_shared: bool = True
    is_behind: bool = False

    @property
    def is_elsewhere(self) -> bool:
        """Whether another workstation owns the workspace.

        Example:
            >>> LeaseStatus("owned", {"machine_id": "m2"}).is_elsewhere, LeaseStatus("available").is_elsewhere
            (True, False)
        """
        return self.owner is not None and not self.is_mine

    @property
    def is_worth_words(self) -> bool:
        """Whether a person should read of the ownership: not who works alone, while all is well."""
        is_plain = self.state in ("available", "mine") and not (
            self.lapsed or self.releasing or self.trouble or self.note or self.is_behind
        )
        return self.is_shared or not is_plain

    @property
    def is_well_owned(self) -> bool:
        """Whether this workstation owns the workspace, nobody asks for it and nothing is in the way."""
        return self.state == "mine" and not (self.lapsed or self.releasing or self.note or self.is_overdue)

    @property
    def said(self) -> str | None:
        """Why what was asked for had no effect; None where it had one."""
        return None if self.why is None else self.why.text

    @property
    def fix(self) -> str:
        """The remedy for the damage."""
        return _REPAIR if self.damage is None else self.damage.fix

    @property
    def engine_there(self) -> bool | None:
        """Whether the engine is on at another workstation; None where none is known to be at work."""
        is_at_work = self.state in ("owned", "control_requested") and not (self.is_mine or self.is_overdue or self.note)
        return self.engine_on if is_at_work else None

    @property
    def unaged(self) -> LeaseStatus:
        """Equal while nothing happens: without the times that only pass, but with what is left until a takeover that is near.

        Example:
            >>> young, old = (LeaseStatus("owned", {}, 7, age_s, takeover_in_s=90 - age_s) for age_s in (10.0, 20.0))
            >>> young == old, young.unaged == old.unaged
            (False, True)
        """
        left_s = self.takeover_in_s if self.is_overdue or self.takeover_in_s == 0 else None
        return replace(self, heartbeat_age_s=None, owned_for_s=0.0, takeover_in_s=left_s)

    @property
    def words(self) -> str:
        """One line for people.

        Example:
            >>> LeaseStatus("available").words, LeaseStatus("unreachable", note="Host is down").words
            ('owned by nobody', 'unreachable: Host is down')
        """
        if self.state in ("unreachable", "damaged"):
            return f"{self.state}: {self.note}" if self.note else self.state
        if self.state == "available":
            return "owned by nobody"
        who = "this workstation" if self.is_mine else shown_machine(self.owner)
        text = f"owned by {who}{_for(self.owned_for_s)}"
        if self.note:
            text = self.note
        if self.requested_by is not None:
            text += f", control requested by {shown_machine(self.requested_by)}"
        if self.state == "takeover_available":
            return f"{text}, takeover available"
        if self.is_overdue and self.takeover_in_s is not None:
            text += f", takeover available in {duration_text(round(self.takeover_in_s))}"
        return text

    @property
    def lines(self) -> tuple[str, ...]:
        """The ownership as lines for people; the first says who owns.

        Example:
            >>> LeaseStatus("mine", {}, is_mine=True, lapsed=True, trouble="Host is down").lines
            ('owned by this workstation', 'nothing new starts until its heartbeat can be written', 'Host is down')
            >>> LeaseStatus("owned", {"host_name": "BEN-PC"}, lost_to="BEN-PC").lines
            ('owned by BEN-PC', 'its engine is off', 'BEN-PC has taken it over from this workstation')
        """
        is_on, damage = self.engine_there, self.damage
        noticed = f"noticed by {damage.noticed_by}, since {damage.since_utc}" if damage else ""
        engine = "" if is_on is None else f"its engine is {'on' if is_on else 'off'}"
        lost = f"{self.lost_to} has taken it over from this workstation" if self.lost_to else ""
        lines = (self.words, noticed, self._fix_line, engine, *self._limits, self.trouble, lost, self.behind_text)
        return tuple(filter(None, lines))

    @property
    def line(self) -> str:
        """The ownership in one line, without what a screen shows elsewhere: trouble, who took it over, and what is not here.

        Example:
            >>> LeaseStatus("owned", {"host_name": "BEN-PC"}, engine_on=True).line
            'owned by BEN-PC · its engine is on'
        """
        engine = "its engine is on" if self.engine_there else ""
        return " · ".join(filter(None, (self.words, self._fix_line, engine, *self._limits)))

    @property
    def _fix_line(self) -> str:
        return f"fix: {self.damage.fix}" if self.damage else ""

    @property
    def _limits(self) -> tuple[str, str]:
        return (
            "nothing new starts until its heartbeat can be written" if self.lapsed else "",
            "it is given up when the running work has ended: the engine is off then, and no flow runs by itself"
            if self.releasing
            else "",
        )

    @property
    def behind_text(self) -> str:
        """The sentence that not all is shown here because no daemon follows the workspace, and what brings it; "" where all is.

        Example:
            >>> LeaseStatus(is_behind=True).behind_text
            'not all of what other workstations ran is known here: `data-engine start --no-engine` fetches it'
        """
        return f"{NOT_ALL_HERE}: {FETCHED_BY}" if self.is_behind else ""


def status_of(view: View, me: Identity, damage: Damage | None = None) -> LeaseStatus:
    """The status of `view` for people at this machine; `damage` is that of the history beside the list."""
    damage = damage or view.damage
    if damage is None:
        return _undamaged(view, me)
    status = LeaseStatus("damaged") if view.top is None else _undamaged(view, me)
    shown = DamageStatus(damage.what, damage.file, me.shown, damage.since_utc, _fix_of(damage, view), damage.kind)
    return replace(status, state="damaged", note=damage.what, damage=shown)


def _fix_of(damage: Damage, view: View) -> str:
    if damage.kind == "newer":
        return "update Data Engine on this machine"
    if damage.kind == "foreign":
        return f"remove {damage.file} from .workspace_state, then {_REPAIR}"
    owner = "" if view.top is None or not view.top.is_owned else view.top.by.shown
    if damage.kind == "heartbeat":
        return f"{owner} writes it again within a heartbeat; if it does not, look on that machine for the reason"
    return f"on {owner}: {_REPAIR}" if owner and view.state in ("owned", "reserved") else _REPAIR


def _undamaged(view: View, me: Identity) -> LeaseStatus:
    top = view.top
    if top is None:
        word: Word = "unreachable" if view.state == "unreachable" else "damaged"
        return LeaseStatus("available") if view.state == "available" else LeaseStatus(word, note=view.why)
    requested_by = None if view.request is None else _requester(view.request)
    if view.state == "reserved":
        left_s = max(0.0, view.limits.handoff_grace_s - view.silent_s)
        name = top.handoff_name or top.handoff_to
        return LeaseStatus(
            "owned",
            Machine(top.handoff_to, name),
            top.token,
            takeover_in_s=left_s,
            engine_on=top.engine_on,
            note=f"handed over to {name}, which has not taken it yet; free for others in {duration_text(round(left_s))}",
            note_kind="handed_over",
        )
    is_mine = view.state == "mine"
    is_gone = view.state == "stale" and _left_s(view) > 0
    return LeaseStatus(
        _word(view),
        _owner(top) if top.is_owned else None,
        top.token,
        None if is_mine else view.heartbeat_age_s,
        requested_by if top.is_owned else None,
        None if is_mine or not top.is_owned else 0.0 if view.state == "stale" else _left_s(view),
        view.owned_for_s,
        is_mine,
        not is_mine and view.silent_s > view.limits.renew_after_s,
        top.engine_on,
        "the daemon of this workstation that owned it is gone" if is_gone else "",
        note_kind="owner_gone" if is_gone else None,
    )


def aged(status: LeaseStatus, aged_s: float) -> LeaseStatus:
    """The status `aged_s` after it was seen.

    Example:
        >>> later = aged(LeaseStatus("owned", {"host_name": "ANNA-PC"}, 7, 10.0, takeover_in_s=80.0), 5.0)
        >>> later.state, later.heartbeat_age_s, later.takeover_in_s, later.words
        ('owned', 15.0, 75.0, 'owned by ANNA-PC')
    """
    return replace(
        status,
        heartbeat_age_s=None if status.heartbeat_age_s is None else status.heartbeat_age_s + aged_s,
        takeover_in_s=None if status.takeover_in_s is None else max(0.0, status.takeover_in_s - aged_s),
        owned_for_s=status.owned_for_s + aged_s if status.owned_for_s else 0.0,
    )


def why_no_release(status: LeaseStatus, machine_id: str, *, has_daemon: bool) -> NotReleased | None:
    """Why giving the workspace up has no effect at this workstation; None when it has one.

    Example:
        >>> why_no_release(LeaseStatus("owned", {"machine_id": "m2", "host_name": "BEN-PC"}), "m1", has_daemon=True).text
        'BEN-PC owns the workspace, not this workstation: nothing was given up'
        >>> why_no_release(LeaseStatus("mine", {"machine_id": "m1"}, is_mine=True), "m1", has_daemon=True)
    """
    owner = status.owner
    if owner is None:
        return NotReleased("not_owned", status.state)
    if owner.get("machine_id") != machine_id:
        return NotReleased("owned_elsewhere", shown_machine(owner))
    if not (status.is_mine and has_daemon):
        return NotReleased("owner_gone", shown_machine(owner))
    return None


def _word(view: View) -> Word:
    if view.state == "stale":
        return "takeover_available"
    if view.state in ("owned", "mine") and view.request is not None:
        return "control_requested"
    return {"available": "available", "mine": "mine", "owned": "owned", "damaged": "damaged"}[view.state]  # type: ignore[return-value]


def _left_s(view: View) -> float:
    return max(0.0, view.limits.stale_after_s - view.silent_s)


def _owner(top: Generation) -> Machine:
    by = top.by
    return Machine(by.machine_id, by.host_name, by.daemon_id, by.pid, by.app_version)


def _requester(request: HandoverRequest) -> Machine:
    return Machine(
        request.requester_machine_id,
        request.requester_host_name,
        pid=request.requester_pid,
        client_kind=request.requester_client_kind,
        requested_at_utc=request.requested_at_utc,
    )


def shown_machine(who: Mapping[str, Any] | None) -> str:
    """The name for people of a workstation that the lease names."""
    machine = who or {}
    return str(machine.get("host_name") or machine.get("machine_id") or "another workstation")


def _for(seconds: float) -> str:
    return f" for {duration_text(seconds // 60 * 60)}" if seconds >= 60 else ""


def peek(
    workspace_state_dir: Path,
    identity: str,
    *,
    state_root: Path | None = None,
    known: tuple[int, str, frozenset[str]] = (-1, "", frozenset()),
    taken: Collection[str] | None = None,
) -> LeaseStatus:
    """The ownership as one look shows it: how long the owner has been silent takes longer to see, and is None.

    `identity` is the workspace's, `state_root` this machine's for who knows it already. A daemon of this machine that owns it
    shows as `mine`. `known` is what this machine has kept of the list of generations: a list that shows less is reported; `taken` are the segments whose rows its ledger has, where `is_behind` is wanted.

    Raises:
        WorkspaceError: this machine's name cannot be kept.
    """
    folder = OsFolder(workspace_state_dir)
    if known[0] <= 0 and _has_no_list(folder):
        # Without asking who this machine is, and without what claims and writes: runs of a workspace nobody shares wait for it.
        return LeaseStatus("available")
    from data_engine.lease.observer import Observer
    from data_engine.lease.protocol import Identity, Limits

    observer = Observer(
        *(folder, Identity("", daemon_id="")),
        workspace=identity,
        limits=Limits(),
        holds_lock=lambda: False,
        known_list=known,
    )
    view = observer.poll()
    if view.state == "available" and view.top is None:
        return LeaseStatus("available")
    me = Identity(machine_id(state_root), daemon_id="")
    if view.state == "reserved" and view.top is not None and view.top.handoff_to == me.machine_id:
        view = replace(view, state="available")
    is_behind = taken is not None and _lists_more(view, taken)
    status = replace(
        status_of(view, me), heartbeat_age_s=None, takeover_in_s=None, owned_for_s=0.0, is_behind=is_behind
    )
    if status.owner is not None and status.owner["machine_id"] == me.machine_id:
        return replace(status, state="mine" if status.state == "owned" else status.state, is_mine=True, is_behind=False)
    return status


def _has_no_list(folder: OsFolder) -> bool:
    """Whether nobody has ever owned the workspace; not where its folder cannot be looked at."""
    try:
        folder.listdir(GENERATIONS)
    except FileNotFoundError:
        with suppress(OSError):
            folder.listdir("")  # an unmounted share is no new workspace
            return True
    except OSError:
        return False
    return False


def _lists_more(view: View, taken: Collection[str]) -> bool:
    """Whether segments are published whose rows are not here; False for a damaged list."""
    if view.top is None or view.damage is not None:
        return False
    return any(segment.name not in taken for segments in view.top.files.values() for segment in segments)


def refuse_owned_elsewhere(
    workspace_state_dir: Path,
    identity: str,
    *,
    what: str,
    or_else: str = "",
    state_root: Path | None = None,
    older_id: str | None = None,
) -> None:
    """Raise if another workstation owns the workspace; an answer is used again for a second, while nothing changes in its shared folder.

    `what` is what must not be done then, such as "run_once()"; `or_else` is one more fix, such as "give force=True"; the
    rest is as for `peek`. With an `older_id`, the name of its folder, a daemon of the older system is an owner, too.

    Raises:
        OwnedElsewhereError: another workstation owns it.
    """
    place = workspace_state_dir, older_id
    marks, now_s = _marks(workspace_state_dir), time.monotonic()
    known_marks, looked_s = _nobody_else.get(place, (None, 0.0))
    if marks is not None and marks == known_marks and now_s - looked_s < _LOOK_S:
        return
    status = peek(workspace_state_dir, identity, state_root=state_root)
    if not status.is_elsewhere:
        if older_id is not None:
            from data_engine.lease.older_owner import look_at_leases, refuse_live, why_not_ours

            if why_not_ours(OsFolder(workspace_state_dir), older_id) is not None:
                refuse_live(look_at_leases(workspace_state_dir, older_id))
        _nobody_else[place] = marks, now_s
        return
    raise OwnedElsewhereError(
        f"{what} is not done here: the workspace is {status.words}",
        where=str(workspace_state_dir.parent),
        fix="do it there, or ask for the workspace: `data-engine lease request`" + (or_else and f"; or {or_else}"),
    )


_LOOK_S = 1.0
_nobody_else: dict[tuple[Path, str | None], tuple[object, float]] = {}


def _marks(workspace_state_dir: Path) -> tuple[int, ...] | None:
    """The times when names in the folders that show owners last changed; None where the workspace's state cannot be read."""
    try:
        mark = os.stat(workspace_state_dir).st_mtime_ns
        with suppress(OSError):
            return mark, os.stat(workspace_state_dir / GENERATIONS).st_mtime_ns
    except OSError:
        return None
    return (mark,)
