"""What only the owner of a workspace may do, asked for from any workstation: deploy, roll back, run, retry, switch."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from data_engine.errors import (
    OwnedElsewhereError,
    RequestExpiredError,
    RequestFailedError,
    ShortInterrupt,
)
from data_engine.given import given_params, given_text, is_json
from data_engine.shown import Listing
from data_engine.workspace_base import WorkspaceBase

TYPE_CHECKING = False
if TYPE_CHECKING:
    from data_engine.flow.parameters import Parameters
    from data_engine.model import Deployment, Run
    from data_engine.notebook.catalog import CatalogEntry
    from data_engine.notebook.standing import Standing

_T = TypeVar("_T")
_OWNING_S = 660.0
"""A deploy whose goldens are its gate may take as long as these may; a daemon that dies is heard of at once."""
_COMING_S = 10.0
_ANSWER_S = 25.0


class OwnersVerbs(WorkspaceBase):
    """The verbs of a workspace at `root` that its owner carries out: this machine, or the one that is asked to."""

    def deploy(
        self,
        name: str | None = None,
        note: str = "",
        force: bool = False,
        wait: bool = True,
        approve: bool = False,
        replaces: str | None = None,
    ) -> tuple[CatalogEntry, ...]:
        """Let production run the modules as they are now: the flow `name` alone, or every flow that nobody has undeployed; their entries.

        Only what compiles, builds and has steps is deployed; the entry of a module that was not has its `error`, and its flow
        stays on the last deployment. A source or mirror that cannot be used now, or whom it tells of troubles though this machine
        has no such secret, is among its `warnings`. A flow that writes the mirror of a deployed flow of another name is deployed only with
        `force=True`, and with `[deploy] gate = "golden"` one whose goldens do not hold only with `approve=True`, which is recorded.
        A rename is followed where the notebook shows it; `replaces` names a flow whose notebook is gone and that `name` is now, so that
        it ends in the same moment and no file that it did runs again.
        The `note` is in the history (`deployments()`), and `rollback` undoes the deployment.

        Where another workstation owns the workspace, its owner is asked to deploy exactly this content, and the answer is
        waited for; with `wait=False` it is not, and nothing comes back.

        Raises:
            FlowValidationError: no such module, the deployment cannot be stored or published, or it cannot replace that flow.
            RequestFailedError, RequestExpiredError: the owner refused it, or did not take it.

        Example:
            >>> import tempfile
            >>> from data_engine import Workspace
            >>> ws = Workspace.create(tempfile.mkdtemp())
            >>> [entry.name for entry in ws.deploy("example", note="first")], ws.deployments("example")[0].note
            (['example'], 'first')
        """
        from data_engine.daemon.deploying import Asked, Outcome
        from data_engine.daemon.one_commit import deploy_here
        from data_engine.engine.deployed_before import find_flow
        from data_engine.engine.source_trouble import with_source_warnings
        from data_engine.engine.unknown_recipients import with_recipient_warnings
        from data_engine.notebook.catalog import check_flow_name
        from data_engine.workspace.machine import person

        if name is not None:
            find_flow(self.home, check_flow_name(name))
        body = {
            "flow": name,
            "note": given_text(note, "deploy(note=...)"),
            "force": force,
            "approve": approve,
        }
        if replaces is not None:
            body["replaces"] = check_flow_name(replaces)
        by, machine = person()
        asked = Asked(name, note, force, by, machine, is_approved=approve, replaces=replaces)
        outcome = self._owning(
            "/deploy", body, wait, read=Outcome.read, otherwise=lambda: deploy_here(self.home, asked)
        )
        if outcome is None:
            return ()
        return with_recipient_warnings(with_source_warnings(outcome.entries), self.home.settings().alerts.to)

    def undeploy(self, name: str, note: str = "", wait: bool = True) -> Deployment | None:
        """Stop running the flow `name` in production, whether its notebook is there or gone; what was deployed is kept.

        It is in the history like a deployment, and `rollback(name)` undoes it. What runs now ends as it would. Where
        another workstation owns the workspace its owner is asked; with `wait=False` the answer, None, is not waited for.

        Raises:
            FlowValidationError: the flow is not deployed; or with `[deploy] mode = "auto"` its module is still there.
            RequestFailedError, RequestExpiredError: the owner refused it, or did not take it.

        Example:
            >>> import tempfile
            >>> from data_engine import Workspace
            >>> ws = Workspace.create(tempfile.mkdtemp())
            >>> _ = ws.deploy("example")
            >>> ws.undeploy("example").kind, ws.deployment("example")
            ('withdraw', 'not deployed')
            >>> ws.rollback("example").kind, ws.deployment("example")
            ('rollback', 'as deployed')
        """
        from data_engine.daemon.deploying import Asked, Outcome
        from data_engine.daemon.one_commit import deploy_here
        from data_engine.notebook.catalog import check_flow_name
        from data_engine.workspace.machine import person

        by, machine = person()
        note = given_text(note, "undeploy(note=...)")
        asked = Asked(check_flow_name(name), note, by=by, machine=machine, is_withdrawal=True)
        body = {"flow": name, "note": note, "withdraw": True, "id": asked.id}
        outcome = self._owning(
            "/deploy", body, wait, read=Outcome.read, otherwise=lambda: deploy_here(self.home, asked)
        )
        return None if outcome is None else outcome.deployments[0]

    def deployments(self, name: str | None = None) -> list[Deployment]:
        """The history of deployments, of one flow when named (also under the names that it had before), the newest first: who, where,
        when, and what differed.

        `is_live` says which one a flow runs, `is_kept` which can be rolled back to.

        Raises:
            LedgerError: the history cannot be read.

        Example:
            >>> import tempfile
            >>> from data_engine import Workspace
            >>> ws = Workspace.create(tempfile.mkdtemp())
            >>> _ = ws.deploy("example", note="first")
            >>> [(one.note, one.is_live) for one in ws.deployments("example")]
            [('first', True)]
        """
        from data_engine.engine.deployed_before import history_of
        from data_engine.notebook.catalog import check_flow_name

        return Listing(history_of(self.home, None if name is None else check_flow_name(name)))

    def rollback(self, name: str, to: str | None = None, note: str = "", wait: bool = True) -> Deployment | None:
        """Let production run the flow as it was deployed before, or as the deployment `to` (its id, or the beginning of it).

        That is a deployment itself: it is in the history, and can be undone. The notebook stays as it is. Where
        another workstation owns the workspace its owner is asked; with `wait=False` the answer, None, is not waited for.

        Raises:
            FlowValidationError: there is nothing to go back to, it is not kept any more, or it is damaged.
            RequestFailedError, RequestExpiredError: the owner refused it, or did not take it.

        Example:
            >>> import tempfile
            >>> from data_engine import FlowValidationError, Workspace
            >>> ws = Workspace.create(tempfile.mkdtemp())
            >>> _ = ws.deploy("example")
            >>> try:
            ...     ws.rollback("example")
            ... except FlowValidationError as error:
            ...     print(error.what)
            there is no earlier deployment of example
        """
        from data_engine.daemon.deploying import Asked
        from data_engine.daemon.one_commit import roll_back_here
        from data_engine.model import Deployment
        from data_engine.notebook.catalog import check_flow_name
        from data_engine.workspace.machine import person

        by, machine = person()
        asked = Asked(check_flow_name(name), given_text(note, "rollback(note=...)"), by=by, machine=machine)
        to = None if to is None else given_text(to, "rollback(to=...)")
        body = {"flow": name, "to": to, "note": asked.note, "id": asked.id}
        return self._owning(
            "/rollback", body, wait, read=Deployment.read, otherwise=lambda: roll_back_here(self.home, name, to, asked)
        )

    def standing(self, name: str) -> Standing:
        """How the flow's module stands to what production runs: its `kind`, the `cells` that differ, and in words.

        Raises:
            FlowValidationError: no such module, and none is deployed.

        Example:
            >>> import tempfile
            >>> from data_engine import Workspace
            >>> ws = Workspace.create(tempfile.mkdtemp())
            >>> ws.standing("example").kind
            'not_deployed'
        """
        from data_engine.engine.deployed_before import find_flow
        from data_engine.notebook.catalog import check_flow_name

        deployments = self.home.deployments()
        standing = deployments.standing([check_flow_name(name)])[name]
        if name not in deployments.deployed():
            find_flow(self.home, name)
        return standing

    def run(
        self,
        name: str,
        wait: bool = True,
        source: str | os.PathLike[str] | None = None,
        params: Mapping[str, Any] | None = None,
    ) -> list[Run] | list[str]:
        """Let the daemon (started if need be) run the deployed flow `name`, once for each source: the ended runs in order.

        A failed run is returned with its status and error, not raised. With `wait=False` the ids of the runs to come, for
        `wait()`. An interrupt ends only the waiting; the runs go on in the daemon. Where another workstation owns the
        workspace its owner is asked to run it; with `wait=False` the ids are not known then.

        Raises:
            FlowValidationError: no such flow or source, the module is broken, a parameter is unknown, wrong or missing, or
                `params` of a flow that declares none are not JSON.

        Example:
            >>> import tempfile
            >>> from data_engine import Workspace
            >>> ws = Workspace.create(tempfile.mkdtemp())
            >>> _ = ws.deploy("example")
            >>> [(run.flow, run.status) for run in ws.run("example")]
            [('example', 'success')]
            >>> ws.kill()
            True
        """
        from data_engine.engine.params import check_params
        from data_engine.notebook.catalog import check_flow_name

        body: dict[str, Any] = {"flow": check_flow_name(name), "params": self._sendable(name, check_params(params))}
        if source is not None:
            body["source"] = os.fspath(source)
        told = self.link.start().post("/run", body | {"wait": wait})
        if "request_id" in told:
            answer = self._answer(told, wait)
            return self._records([] if answer is None else answer["run_ids"])
        run_ids: list[str] = told["run_ids"]
        return self.wait(run_ids) if wait else run_ids

    def parameters(self, name: str) -> Parameters | None:
        """What the deployed flow declares with `Flow.params`; None for one that takes any. Its daemon is asked (started if need be).

        Raises:
            FlowValidationError: no such flow.
            WorkspaceError: the daemon, which is asked, cannot be started.

        Example:
            >>> import tempfile
            >>> from data_engine import Workspace
            >>> ws = Workspace.create(tempfile.mkdtemp())
            >>> _ = ws.deploy("example")
            >>> ws.parameters("example") is None, ws.kill()
            (True, True)
        """
        from data_engine.flow.parameters import Parameters
        from data_engine.notebook.catalog import check_flow_name

        told = self.link.start().get("/flow", name=check_flow_name(name))
        return None if told.get("parameters") is None else Parameters.of_json(told["parameters"], name)

    def wait(self, run_ids: Sequence[str]) -> list[Run]:
        """The runs that `run(..., wait=False)` asked for, when all have ended, in the order of their ids.

        What they wait for is said on standard error.

        Raises:
            WorkspaceError: the daemon ended before one of them began, or it is there and does not answer.
            KeyboardInterrupt: the waiting was interrupted; the runs go on in the daemon.

        Example:
            >>> import tempfile
            >>> from data_engine import Workspace
            >>> ws = Workspace.create(tempfile.mkdtemp())
            >>> _ = ws.deploy("example")
            >>> run_ids = ws.run("example", wait=False)
            >>> [run.status for run in ws.wait(run_ids)], ws.kill()
            (['success'], True)
        """
        wanted = list(run_ids)
        try:
            self.link.wait_for_runs(wanted, lambda why: print(why, file=sys.stderr))
        except KeyboardInterrupt:
            what = f"run {wanted[0][:8]} goes" if len(wanted) == 1 else f"{len(wanted)} runs go"
            raise ShortInterrupt(
                f"interrupted here only: {what} on in the daemon; `data-engine status` shows what runs, `data-engine stop-run RUN` ends it"
            ) from None
        return self._records(wanted)

    def _records(self, run_ids: Sequence[str]) -> list[Run]:
        """These runs, with the number of their warnings."""
        from data_engine.ledger.warned import with_warnings

        return Listing(with_warnings(self.home.ledger(), map(self.run_record, run_ids)))

    def retry(self, flow: str | None = None, source: str | os.PathLike[str] | None = None, wait: bool = True) -> int:
        """Do not hold failed sources any more: those of `flow`, or only its `source`, or all; how many those were.

        Raises:
            FlowValidationError: the engine is off, no such flow or source, or the flow runs by hand only.
            RequestFailedError, RequestExpiredError: the owner refused it, or did not take it.

        Example:
            >>> import tempfile
            >>> from data_engine import Workspace
            >>> ws = Workspace.create(tempfile.mkdtemp())
            >>> ws.start_engine()
            >>> ws.retry(), ws.kill()
            (0, True)
        """
        from data_engine.notebook.catalog import check_flow_name

        body = {
            "flow": flow if flow is None else check_flow_name(flow),
            "source": None if source is None else os.fspath(source),
        }
        daemon = self.link.find_heard()
        if daemon is None:
            from data_engine.engine.refusals import no_retry_here

            raise no_retry_here(self.home, flow)
        told = daemon.post("/retry", body | {"wait": wait})
        answer = self._answer(told, wait)
        return 0 if answer is None else int(answer["freed"])

    def enable(self, name: str, wait: bool = True) -> None:
        """Let the flow run by itself again.

        Raises:
            FlowValidationError: no such flow.
            RequestFailedError, RequestExpiredError: the owner refused it, or did not take it.

        Example:
            >>> import tempfile
            >>> from data_engine import Workspace
            >>> ws = Workspace.create(tempfile.mkdtemp())
            >>> _ = ws.deploy("example")
            >>> ws.enable("example")
            >>> ws.status().flows[0].enabled
            True
        """
        self._switch(name, True, wait, "")

    def disable(self, name: str, wait: bool = True, note: str = "") -> None:
        """Let the flow run by hand only. Who disabled it, and when, is kept and shown with the `note`, which says why.

        Raises:
            FlowValidationError: no such flow.
            RequestFailedError, RequestExpiredError: the owner refused it, or did not take it.

        Example:
            >>> import tempfile
            >>> from data_engine import Workspace
            >>> ws = Workspace.create(tempfile.mkdtemp())
            >>> _ = ws.deploy("example")
            >>> ws.disable("example", note="stock-taking until Monday")
            >>> ws.status().flows[0].enabled, ws.status().flows[0].disabled.note
            (False, 'stock-taking until Monday')
        """
        self._switch(name, False, wait, note)

    def run_record(self, run_id: str) -> Run:
        """The run with this id, or with the only id that begins so.

        Raises:
            FlowValidationError: there is none; says where this machine has not fetched all that others ran.

        Example:
            >>> import tempfile
            >>> from data_engine import Workspace
            >>> ws = Workspace.create(tempfile.mkdtemp())
            >>> _ = ws.load_flow("example").run_once()
            >>> run = ws.runs()[0]
            >>> ws.run_record(run.run_id[:8]) == run
            True
        """
        run = self.home.ledger().run(run_id) if isinstance(run_id, str) else None
        if run is None:
            from data_engine.engine.refusals import no_run

            what = f"there is no run {run_id!r} in the history of {self.root.name}"
            known = "take an id from `data-engine runs`"
            behind = self.link.behind_words()
            raise no_run(self.home.ledger(), run_id, what, f"{behind}; else {known}" if behind else known)
        return run

    def _sendable(self, name: str, params: Mapping[str, Any]) -> dict[str, Any]:
        """What a daemon can be sent; what is declared is asked for where that decides how a text or a date is taken."""
        from data_engine.engine.params import taken
        from data_engine.flow.parameter_values import Given

        is_typed = any(isinstance(value, Given) for value in params.values())
        if not is_typed and is_json(params):
            return dict(params)
        declared = self.parameters(name)
        given = taken(params, declared)
        return given_params(given if declared is None else declared.check(given))

    def _switch(self, name: str, is_enabled: bool, wait: bool, note: str) -> None:
        from data_engine.daemon.one_commit import switch_here
        from data_engine.ledger.switch import Switch
        from data_engine.notebook.catalog import check_flow_name
        from data_engine.workspace.machine import person

        body = {"flow": check_flow_name(name), "enabled": is_enabled} | ({"note": note} if note else {})
        switch = Switch.now(is_enabled, *person(), note=note)
        self._owning(
            "/enable", body, wait, read=lambda told: None, otherwise=lambda: switch_here(self.home, name, switch)
        )

    def _owning(
        self,
        path: str,
        body: dict[str, Any],
        wait: bool,
        *,
        read: Callable[[dict[str, Any]], _T],
        otherwise: Callable[[], _T],
    ) -> _T | None:
        """What the daemon, or the owner that it asks, answers; or what is done here where neither a daemon nor an owner is.

        A daemon that is coming or going is waited for, and one is started to ask the owner. None: it is not waited for.
        """
        from data_engine.daemon.control import DaemonGoneError
        from data_engine.trial import refuse_in_trial

        refuse_in_trial(path.strip("/"))
        body, until_s, is_to_ask = body | {"wait": wait}, time.monotonic() + _COMING_S, False
        while True:
            daemon = self.link.start() if is_to_ask else self.link.find()
            try:
                if daemon is None:
                    return otherwise()
                told = daemon.post(path, body, timeout_s=_OWNING_S)
            except DaemonGoneError:
                if time.monotonic() > until_s:
                    self.link.refuse_silent()
                    raise
                time.sleep(0.05)
            except OwnedElsewhereError:
                if daemon is not None or is_to_ask:
                    raise
                is_to_ask = True
            else:
                answer = self._answer(told, wait)
                return None if answer is None else read(answer)

    def _answer(self, left: dict[str, Any], wait: bool) -> dict[str, Any] | None:
        """What came of a request: the answer itself, or what its owner made of one left there; None where that is not waited for."""
        if "request_id" not in left:
            return left
        owner = left["owner"]
        if not wait:
            return None
        from data_engine.platforms.host import LONGEST_CALL_S

        print(f"{owner} owns the workspace: it was asked, waiting for its answer", file=sys.stderr)
        while True:
            body = {"request_id": left["request_id"], "timeout_s": min(_ANSWER_S, LONGEST_CALL_S)}
            told = self.link.require().post("/answer", body)
            if told["state"] == "answered":
                break
        answer: dict[str, Any] = told["answer"]
        what = str(answer.get("what", "it failed there"))
        if told["outcome"] == "expired" or answer.get("is_off"):
            fix = "ask again, or ask for the workspace: `data-engine lease request`"
            raise RequestExpiredError(f"{owner} did not do it: {what}", where=owner, fix=fix)
        if told["outcome"] == "done" or "run_ids" in answer:
            return answer
        fix = answer.get("fix") or "`data-engine status` shows what was done"
        raise RequestFailedError(f"{owner} did not do it: {what}", where=answer.get("where") or owner, fix=fix)
