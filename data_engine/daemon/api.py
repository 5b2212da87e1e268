"""What the daemon answers: each request checked, handed to the engine, and its answer as JSON."""

from __future__ import annotations

import asyncio
import os
import time
import uuid
from pathlib import Path
from typing import Any

from data_engine.daemon.backfiller import backfills_told, known_backfill
from data_engine.daemon.daemon import Daemon
from data_engine.daemon.deploying import Asked
from data_engine.daemon.ending_runs import kill_run, known_run, stop_run
from data_engine.daemon.endpoint import remember_stop
from data_engine.daemon.fields import ANY_TEXT, COUNT, FLAG, OBJECT, PATH, SECONDS, TEXT, TEXTS, Answer, asked
from data_engine.daemon.live import LiveFacts
from data_engine.errors import FlowValidationError, OwnedElsewhereError
from data_engine.lease.folder import drive_words
from data_engine.ledger.switch import Switch
from data_engine.scheduler.backfill import Wanted
from data_engine.status.build import StatusWriter
from data_engine.status.deployed_before import find_flow
from data_engine.status.explain import explain
from data_engine.status.record import DaemonFacts
from data_engine.status.refusals import engine_is_off, no_retry
from data_engine.status.source_files import FileLists
from data_engine.workspace.machine import person

LONGEST_WAIT_S = 30.0
_FIRST_LOOKS_S = 0.5


FILES = {"flow": TEXT, "search": ANY_TEXT.or_else(""), "group": ANY_TEXT.or_else(""), "limit": COUNT.or_else(300)}


class DaemonApi:
    """The requests of one daemon; `shut_down(kill)` ends its process."""

    def __init__(self, daemon: Daemon, *, daemon_id: str, version: str, shut_down: Any) -> None:
        self.daemon = daemon
        self.last_request_s = time.monotonic()
        self.watchers = 0
        self._daemon_id, self._version = daemon_id, version
        self._shut_down = shut_down
        self._source = LiveFacts(daemon, self._facts)
        self._files = FileLists(self._source)
        self._writer = StatusWriter()
        self._is_ending = False
        self.questions: dict[str, Answer] = {
            "ping": asked(self.ping, "ping"),
            "status": asked(self.status, "status"),
            "runs": asked(self.runs, "runs", flow=TEXT.optional, limit=COUNT.or_else(100)),
            "log": asked(self.log, "log", run_id=TEXT),
            "explain": asked(self.explain, "explain", subject=PATH, file=PATH.optional),
            "files": asked(self.files, "files", **FILES),
            "flow": asked(self.flow, "flow", name=TEXT),
            "backfills": asked(self.backfills, "backfills", flow=TEXT.optional, id=TEXT.optional),
        }
        self.commands: dict[str, Answer] = {
            "engine": asked(self.engine, "engine", on=FLAG),
            "run": asked(
                self.run, "run", flow=TEXT, source=PATH.optional, params=OBJECT.or_else({}), wait=FLAG.or_else(True)
            ),
            "wait": asked(self.wait, "wait", run_ids=TEXTS, timeout_s=SECONDS.or_else(LONGEST_WAIT_S)),
            "stop-flow": asked(self.stop_flow, "stop-flow", flow=TEXT),
            "stop-run": asked(self.stop_run, "stop-run", run_id=TEXT),
            "kill-run": asked(self.kill_run, "kill-run", run_id=TEXT),
            "retry": asked(self.retry, "retry", flow=TEXT.optional, source=PATH.optional, wait=FLAG.or_else(True)),
            "enable": asked(
                self.enable,
                "enable",
                flow=TEXT,
                enabled=FLAG,
                note=ANY_TEXT.or_else(""),
                wait=FLAG.or_else(True),
            ),
            "deploy": asked(
                self.deploy,
                "deploy",
                flow=TEXT.optional,
                note=ANY_TEXT.or_else(""),
                force=FLAG.or_else(False),
                approve=FLAG.or_else(False),
                replaces=TEXT.optional,
                withdraw=FLAG.or_else(False),
                id=TEXT.optional,
                wait=FLAG.or_else(True),
            ),
            "rollback": asked(
                self.rollback,
                "rollback",
                flow=TEXT,
                to=TEXT.optional,
                id=TEXT.optional,
                note=ANY_TEXT.or_else(""),
                wait=FLAG.or_else(True),
            ),
            "backfill": asked(
                self.backfill,
                "backfill",
                flow=TEXT,
                since=TEXT.optional,
                until=TEXT.optional,
                where=PATH.optional,
                reprocess=TEXT.or_else("failed"),
                params=OBJECT.or_else({}),
                dry_run=FLAG.or_else(False),
                digest=TEXT.optional,
                wait=FLAG.or_else(True),
            ),
            "backfill-do": asked(self.backfill_do, "backfill", do=TEXT, id=TEXT, wait=FLAG.or_else(True)),
            "answer": asked(self.answer, "answer", request_id=TEXT, timeout_s=SECONDS.or_else(LONGEST_WAIT_S)),
            "look": asked(self.look, "look"),
            "reset": asked(self.reset, "reset", flow=TEXT.optional),
            "interpreter": asked(self.interpreter, "interpreter", path=PATH),
            "lease": asked(self.lease, "lease", do=TEXT, now=FLAG.or_else(False), client=ANY_TEXT.or_else("ui")),
            "shutdown": asked(self.shutdown, "shutdown", kill=FLAG.or_else(False)),
        }

    # -- questions -------------------------------------------------------------------------------------------------

    async def ping(self, given: dict[str, Any]) -> dict[str, Any]:
        """Who answers; it does not count as somebody being there."""
        return self._facts().as_dict() | {"workspace_root": str(self.daemon.home.layout.root)}

    async def status(self, given: dict[str, Any]) -> dict[str, Any]:
        """The whole state: daemon, engine, flows and active runs."""
        self._noticed()
        return self._status()

    async def runs(self, given: dict[str, Any]) -> dict[str, Any]:
        """The newest runs, of one `flow` when given."""
        self._noticed()
        return {"runs": [run.as_dict() for run in self.daemon.ledger.runs(given["flow"], given["limit"])]}

    async def log(self, given: dict[str, Any]) -> dict[str, Any]:
        """A run with its steps and lines."""
        self._noticed()
        run = known_run(self.daemon.ledger, given["run_id"])
        ledger = self.daemon.ledger
        ledger.flush()
        return {
            "run": run.as_dict(),
            "steps": [step.as_dict() for step in ledger.steps(run.run_id)],
            "lines": [line.as_dict() for line in ledger.log(run.run_id)],
        }

    async def flow(self, given: dict[str, Any]) -> dict[str, Any]:
        """One flow as it is deployed: its module, steps, source and mirror."""
        self._noticed()
        await self.daemon.ready.wait()
        name = given["name"]
        return (await self.daemon.commands.named(name)).entry.as_dict()

    async def explain(self, given: dict[str, Any]) -> dict[str, Any]:
        """Why a flow, or each flow that could take a file, does or does not run."""
        self._noticed()
        await self.daemon.ready.wait()
        subject = given["subject"]
        if os.sep not in subject:
            await self.daemon.commands.notice(subject)
        file = given["file"] or subject
        rows = await asyncio.to_thread(explain, self._source, self._source.facts(), subject, file)
        return {"reasons": [row.as_dict() for row in rows]}

    async def files(self, given: dict[str, Any]) -> dict[str, Any]:
        """The files of a flow's source: how many of which kind, and those a search finds."""
        self._noticed()
        await self.daemon.ready.wait()
        await self.daemon.commands.notice(given["flow"])
        known = self._source.facts()
        page = await asyncio.to_thread(self._files.page, known, given.pop("flow"), **given)
        return page.as_dict()

    async def backfills(self, given: dict[str, Any]) -> dict[str, Any]:
        """The newest backfills, of one `flow` when given; or the one with this `id`, with its runs."""
        self._noticed()
        found = backfills_told(self.daemon.ledger, self.daemon.backfiller.told(), given["flow"], given["id"])
        return {"backfills": [one.as_dict() for one in found]}

    # -- commands --------------------------------------------------------------------------------------------------

    async def engine(self, given: dict[str, Any]) -> dict[str, Any]:
        """Turn the engine on or off."""
        self._noticed()
        await self.daemon.ready.wait()
        if given["on"]:
            self._require_future()
            await self.daemon.start_engine()
            await self._until_next_runs_are_known()
        else:
            await self.daemon.stop_engine()
        return self._status()

    async def run(self, given: dict[str, Any]) -> dict[str, Any]:
        """Run a flow by hand; the ids of its runs, which may still wait for their turn."""
        self._noticed()
        await self.daemon.ready.wait()
        self._require_future()
        given = given | {"params": self.daemon.commands.checked_params(given["flow"], given["params"])}
        if (left := await self._leave("run", given, "source", "params")) is not None:
            return left
        return {"run_ids": await self.daemon.commands.run(given["flow"], given["source"], given["params"])}

    async def backfill(self, given: dict[str, Any]) -> dict[str, Any]:
        """Run a flow again for a range, after all that is due; with `dry_run` what would run."""
        self._noticed()
        await self.daemon.ready.wait()
        self._require_future()
        given = given | {"params": self.daemon.commands.checked_params(given["flow"], given["params"])}
        wanted = Wanted(given["since"], given["until"], given["where"], given["reprocess"])
        names = ("since", "until", "where", "reprocess", "params", "digest")
        if not given["dry_run"] and (left := await self._leave("backfill", given, *names)) is not None:
            return left
        found = await self.daemon.commands.backfill(
            given["flow"], wanted, given["params"], is_dry=given["dry_run"], digest=given["digest"]
        )
        return {"backfill": found.as_dict()}

    async def backfill_do(self, given: dict[str, Any]) -> dict[str, Any]:
        """Stop a backfill, or run again what failed of it."""
        self._noticed()
        await self.daemon.ready.wait()
        row, commands = known_backfill(self.daemon.ledger, given["id"]), self.daemon.commands
        if given["do"] not in ("stop", "retry"):
            raise FlowValidationError(
                f"a backfill has no action {given['do']!r}", where="backfill", fix='{"do": "stop" | "retry"}'
            )
        asked_for = given | {"flow": row.flow, "id": row.backfill_id}
        if (left := await self._leave("backfill", asked_for, "do", "id")) is not None:
            return left
        do = commands.stop_backfill if given["do"] == "stop" else commands.retry_backfill
        return {"backfill": (await do(row.backfill_id)).as_dict()}

    async def wait(self, given: dict[str, Any]) -> dict[str, Any]:
        """Those of `run_ids` that have ended, at the latest after `timeout_s` (30 s at most); `why` none of the others runs."""
        self._noticed()
        run_ids = given["run_ids"]
        until_s = time.monotonic() + min(given["timeout_s"], LONGEST_WAIT_S)
        while True:
            pending = [
                one for one in run_ids if self.daemon.dispatcher.is_to_come(one) or one in self.daemon.dispatcher.active
            ]
            left_s = until_s - time.monotonic()
            if not pending or left_s <= 0:
                ended = [run for one in run_ids if one not in pending and (run := self.daemon.ledger.run(one))]
                why = self.daemon.dispatcher.why_none_began(pending)
                return {
                    "ended": [run.as_dict() for run in ended],
                    "pending": pending,
                    "why": None if why is None else {"text": why.text} | why.as_dict(),
                }
            await self.daemon.wait_for_change(left_s)

    async def stop_flow(self, given: dict[str, Any]) -> dict[str, Any]:
        """Ask all runs of a flow to end at their next step or item, and begin none that waits."""
        self._noticed()
        await self.daemon.ready.wait()
        return await self.daemon.commands.stop_flow(given["flow"])

    async def stop_run(self, given: dict[str, Any]) -> dict[str, Any]:
        """Ask a run to end at its next step or item, or let one that waits not begin."""
        self._noticed()
        return stop_run(self.daemon, given["run_id"])

    async def kill_run(self, given: dict[str, Any]) -> dict[str, Any]:
        """End a run's process now."""
        self._noticed()
        return kill_run(self.daemon, given["run_id"])

    async def retry(self, given: dict[str, Any]) -> dict[str, Any]:
        """Hold failed sources no longer; how many were held."""
        self._noticed()
        await self.daemon.ready.wait()
        flow, source = given["flow"], given["source"]
        if flow is not None:
            await self.daemon.commands.named(flow)
        if (left := await self._leave("retry", given, "source")) is not None:
            return left
        self._require_retry_means_something(flow, source)
        return {"freed": await self.daemon.commands.retry(flow, source)}

    async def enable(self, given: dict[str, Any]) -> dict[str, Any]:
        """Let a flow run by itself, or not."""
        self._noticed()
        await self.daemon.ready.wait()
        name, is_enabled = given["flow"], given["enabled"]
        await self.daemon.commands.named(name)
        if (left := await self._leave("enable" if is_enabled else "disable", given, "note")) is not None:
            return left
        switch = Switch.now(is_enabled, *person(), note=given["note"])
        await self.daemon.commands.switch(name, switch)
        return self._status()

    async def deploy(self, given: dict[str, Any]) -> dict[str, Any]:
        """Deploy a module, or all, as they are now, or undeploy a flow; what came of each."""
        self._noticed()
        await self.daemon.ready.wait()
        by, machine = person()
        if self.daemon.ownership.asks is not None:
            if given["withdraw"]:
                return await self._leave("deploy", given, "withdraw", "note") or {}
            if given["flow"] is not None:
                await asyncio.to_thread(find_flow, self.daemon.home, given["flow"])
            set_id = await asyncio.to_thread(self._put_set)
            names = ("set_id", "note", "force", "approve", "replaces")
            return await self._leave("deploy", given | {"set_id": set_id}, *names) or {}
        is_approved, is_withdrawal, replaces = given["approve"], given["withdraw"], given["replaces"]
        asked_for = Asked(
            *(given["flow"], given["note"], given["force"], by, machine, None),
            is_approved=is_approved,
            is_withdrawal=is_withdrawal,
            replaces=replaces,
            id=given["id"] or uuid.uuid4().hex,
        )
        return (await self.daemon.commands.deploy(asked_for)).as_dict()

    async def rollback(self, given: dict[str, Any]) -> dict[str, Any]:
        """Let a flow run what it ran before; the deployment that says so."""
        self._noticed()
        await self.daemon.ready.wait()
        if (left := await self._leave("rollback", given, "to", "note")) is not None:
            return left
        by, machine = person()
        asked_for = Asked(given["flow"], given["note"], by=by, machine=machine, id=given["id"] or uuid.uuid4().hex)
        return (await self.daemon.commands.roll_back(given["flow"], given["to"], asked_for)).as_dict()

    async def answer(self, given: dict[str, Any]) -> dict[str, Any]:
        """What came of a request that was left with another workstation, at the latest after `timeout_s` (30 s at most)."""
        self._noticed()
        return await self.daemon.sender.answer(given["request_id"], min(given["timeout_s"], LONGEST_WAIT_S))

    async def look(self, given: dict[str, Any]) -> dict[str, Any]:
        """Look at once at the modules and at what is deployed, which somebody has changed."""
        self._noticed()
        await self.daemon.ready.wait()
        await self.daemon.commands.look()
        return {}

    async def reset(self, given: dict[str, Any]) -> dict[str, Any]:
        """Forget a flow's (or every flow's) history and freshness; how many runs went."""
        self._noticed()
        await self.daemon.ready.wait()
        flow = given["flow"]
        if flow is not None and not self.daemon.ledger.runs(flow, 1):
            await self.daemon.commands.named(flow)
        return {"count": self.daemon.commands.reset(flow)}

    async def interpreter(self, given: dict[str, Any]) -> dict[str, Any]:
        """Let workers run with another Python, which the caller has tried."""
        self._noticed()
        self.daemon.use_interpreter(given["path"])
        return self._status()

    async def lease(self, given: dict[str, Any]) -> dict[str, Any]:
        """Ask for the workspace, give it up, take it over, or fix its list; the lease as it is then."""
        self._noticed()
        await self.daemon.ready.wait()
        ownership, said = self.daemon.ownership, None
        match given["do"]:
            case "request":
                await ownership.request(given["client"])
            case "withdraw":
                await ownership.withdraw()
            case "release":
                self.daemon.give_up(now=given["now"])
            case "take-over":
                await ownership.take_over()
            case "repair":
                said = await ownership.repair()
            case other:
                raise FlowValidationError(
                    f"a lease has no action {other!r}",
                    where="lease",
                    fix='{"do": "request" | "withdraw" | "release" | "take-over" | "repair"}',
                )
        return {"lease": ownership.lease().as_dict(), "said": said}

    async def shutdown(self, given: dict[str, Any]) -> dict[str, Any]:
        """End the daemon: when its work is done, or now with `kill`."""
        self._is_ending = True
        remember_stop(self.daemon.home.local)
        self._shut_down(given["kill"])
        return {}

    # -- the stream ------------------------------------------------------------------------------------------------

    async def next_status(self, after: int) -> tuple[int, dict[str, Any]]:
        """The status once its number is past `after`."""
        while self.daemon.number <= after:
            await self.daemon.wait_for_change(LONGEST_WAIT_S)
        return self.daemon.number, self._status()

    def watcher(self, change: int) -> None:
        """One more or one less client listens."""
        self.watchers += change
        self._noticed()

    # -- parts -----------------------------------------------------------------------------------------------------

    async def _leave(self, verb: str, given: dict[str, Any], *names: str) -> dict[str, Any] | None:
        """Where another workstation owns the workspace, leave a request with it: its id and the owner; else None."""
        owner = self.daemon.ownership.asks
        if owner is None:
            return None
        arguments = {name: given[name] for name in names if given.get(name) is not None}
        if "source" in arguments:
            arguments["source"] = self._inside(given["flow"], arguments["source"])
        sent = await self.daemon.sender.send(verb, given["flow"], arguments, waits=given.get("wait", True))
        return {"request_id": sent.request.request_id, "owner": owner}

    def _put_set(self) -> str:
        """The authored modules as they are now, put where the owner finds them; the id of their set."""
        deployments = self.daemon.home.deployments()
        stored = deployments.store()
        try:
            return self.daemon.home.deployment_files().put(deployments.contents_of(stored.id) or {})
        except OSError as error:
            raise OwnedElsewhereError(
                f"the modules cannot be put on the share: {drive_words(error)}",
                where=str(self.daemon.home.layout.workspace_state_dir / "deployments"),
                fix="check whether the drive is connected and writable",
            ) from error

    def _inside(self, flow: str, source: str) -> str:
        """A source file by its path inside the flow's source, which is the same on every machine."""
        planned = self.daemon.planned_flow(flow)
        root = None if planned is None else planned.trigger.source
        if root is not None and os.path.isabs(source) and Path(source).is_relative_to(root):
            return Path(source).relative_to(root).as_posix()
        return source

    def _noticed(self) -> None:
        self.last_request_s = time.monotonic()

    def _status(self) -> dict[str, Any]:
        return self._writer.write(self._source.facts())

    def _facts(self) -> DaemonFacts:
        daemon = self.daemon
        return DaemonFacts(
            running=True,
            pid=os.getpid(),
            version=self._version,
            daemon_id=self._daemon_id,
            interpreter=daemon.interpreter,
            idle=daemon.is_idle,
            ending=self._is_ending or daemon.is_stopping,
            cluster=daemon.workers.cluster_facts(),
        )

    def _require_future(self) -> None:
        if self._facts().ending:
            raise FlowValidationError(
                "the daemon is ending: it only waits for its running work",
                where=f"pid {os.getpid()}",
                fix="wait until it has ended and start it again, or end it now with `data-engine kill`",
            )

    async def _until_next_runs_are_known(self) -> None:
        """So that whoever starts the engine is told when each schedule comes; a slow share is not waited for."""
        until_s = time.monotonic() + _FIRST_LOOKS_S
        while time.monotonic() < until_s and any(
            self.daemon.triggers.is_new_to(flow) for flow in self.daemon.deployer.flows
        ):
            await asyncio.sleep(0.01)

    def _require_retry_means_something(self, flow: str | None, source: str | None) -> None:
        daemon = self.daemon
        if source is not None and flow is None:
            raise FlowValidationError(
                "the source says which file, but not of which flow", where="retry", fix="name the flow too"
            )
        daemon.ownership.require_not_elsewhere()
        if flow is not None:
            mode = daemon.commands.good_flow(daemon.commands.deployed(flow)).mode
            is_enabled = daemon.ledger.switch(flow).is_enabled
            refused = no_retry(flow, mode=mode, is_enabled=is_enabled, is_engine_on=daemon.is_engine_on)
        else:
            refused = None if daemon.is_engine_on else engine_is_off()
        if refused is not None:
            raise refused
