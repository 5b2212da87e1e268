"""The verbs that people type, by group: where each lives, its line of help, and the plain Python that does the same.

A home `view.runs:runs` is a verb of `data_engine.view.verb`, which a terminal and a cell share; one of `cli` is for a terminal only.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import Any

from data_engine.record import frozen


@frozen
class Verb:
    """A verb: its home (`module:function`), one line of help, and the same in plain Python. One without such a `twin` is for a
    terminal only."""

    home: str
    summary: str
    twin: str = ""

    def load(self) -> Any:
        """The function of its home."""
        module, function = self.home.split(":")
        return getattr(import_module(f"data_engine.{module}"), function)


GROUPS: Mapping[str, Mapping[str, Verb]] = {
    "Every day": {
        "demo": Verb("cli.browser:demo", "Make a small workspace with flows to try."),
        "lab": Verb("cli.browser:lab_app", "Open JupyterLab on the workspace."),
        "list": Verb(
            "view.flows:flows", "List the flows, and what is wrong with broken ones.", "Workspace.current().flows()"
        ),
        "show": Verb(
            "view.flows:show",
            "Show a flow: its trigger, paths, steps and last run.",
            'Workspace.current().load_flow("claims")',
        ),
        "preview": Verb(
            "view.previews:preview",
            "Run a flow without writing to production.",
            'build().preview(use="clean_df"), load_flow("claims").preview()',
        ),
        "deploy": Verb(
            "view.deployments:deploy", "Put a flow, or all, into production.", 'Workspace.current().deploy("claims")'
        ),
        "rollback": Verb(
            "view.deployments:rollback",
            "Go back to an earlier deployment of a flow.",
            'Workspace.current().rollback("claims")',
        ),
        "start": Verb(
            "view.daemon:start",
            "Start the daemon and its engine.",
            "Workspace.current().start_engine(); with --no-engine: .start()",
        ),
        "stop": Verb(
            "view.daemon:stop",
            "Stop a flow or a run, or the engine and the daemon.",
            "Workspace.current().stop_engine(); Workspace.current().shutdown()",
        ),
        "status": Verb("view.status:status", "Show what runs, what waits, and why.", "Workspace.current().status()"),
        "run": Verb(
            "view.running:run",
            "Run a flow now.",
            'Workspace.current().run("claims"); with --once: build().run_once(on_error="continue")',
        ),
        "runs": Verb("view.runs:runs", "List what ran on this machine.", 'Workspace.current().runs("claims")'),
        "log": Verb("view.runs:log", "Show what a run printed and logged.", 'Workspace.current().log("1a2b3c4d")'),
        "explain": Verb(
            "view.flows:explain",
            "Say why a flow or a file does or does not run.",
            'Workspace.current().explain("claims")',
        ),
    },
    "Notebooks and deployments": {
        "compile": Verb(
            "view.notebooks:compile",
            "Compile notebooks into modules, or check them.",
            'compile_notebook("claims.ipynb")',
        ),
        "plan": Verb(
            "view.notebooks:plan", "Show what a deploy would change in the data.", 'Workspace.current().plan("claims")'
        ),
        "profile": Verb(
            "view.profile:profile",
            "Show what each column of a frame holds.",
            'build().profile("clean_df")',
        ),
        "golden": Verb(
            "view.previews:golden", "Keep an object of a flow as a golden.", 'build().golden(use="clean_df", key="id")'
        ),
        "test": Verb("view.notebooks:check", "Compare flows with their goldens.", 'Workspace.current().test("claims")'),
        "deployments": Verb(
            "view.deployments:deployments",
            "List what was deployed, and when.",
            'Workspace.current().deployments("claims")',
        ),
        "undeploy": Verb(
            "view.deployments:undeploy", "Take a flow out of production.", 'Workspace.current().undeploy("claims")'
        ),
        "restore": Verb(
            "view.deployments:restore",
            "Write a deployed notebook back to flow_modules.",
            'Workspace.current().restore("claims")',
        ),
    },
    "Runs": {
        "retry": Verb("view.switches:retry", "Try failed sources again.", 'Workspace.current().retry("claims")'),
        "backfill": Verb(
            "view.backfills:backfill",
            "Run a flow for files or slots of the past.",
            'Workspace.current().backfill("claims", since="2013-03-01", until="2013-03-31", dry_run=True)',
        ),
        "compare": Verb(
            "view.runs:compare",
            "Show what differs between two runs.",
        ),
        "replay": Verb(
            "view.replays:replay",
            "Open the failing step of a run with what it was given.",
            'Workspace.current().replay("1a2b3c4d")',
        ),
        "lineage": Verb("view.lineage:lineage", "Show what feeds what.", 'Workspace.current().lineage("claims")'),
        "rejected": Verb(
            "view.outputs:rejected",
            "List the rows that checks reject, or write a workbook of them.",
            'Workspace.current().rejected("claims")',
        ),
        "enable": Verb(
            "view.switches:enable", "Let flows run by themselves again.", 'Workspace.current().enable("claims")'
        ),
        "disable": Verb(
            "view.switches:disable", "Keep flows from running by themselves.", 'Workspace.current().disable("claims")'
        ),
        "kill": Verb(
            "view.daemon:kill", "End a run's process now, or the daemon and all it runs.", "Workspace.current().kill()"
        ),
        "reset": Verb(
            "view.runs:reset", "Forget what was done, so that it is done again.", 'Workspace.current().reset("claims")'
        ),
        "tidy": Verb(
            "view.outputs:tidy",
            "Move outputs away whose sources are gone.",
            'Workspace.current().left_behind("claims"); Workspace.current().set_aside("claims")',
        ),
    },
    "Workspace and machine": {
        "workspace": Verb("view.workspaces:WORKSPACE", "Create, list, choose and copy workspaces."),
        "lease": Verb("view.workspaces:LEASE", "See who owns the workspace, and change it."),
        "panel": Verb("cli.browser:panel", "Open the control panel in a browser."),
        "secret": Verb("view.machine:SECRET", "Keep secrets for flows."),
        "alert": Verb("view.machine:ALERT", "Try who is told of failures, and see what was told."),
        "service": Verb("view.machine:SERVICE", "Start the daemon at logon."),
        "doctor": Verb("view.machine:doctor", "Measure whether this machine and its drives will do."),
        "import": Verb("view.workspaces:import_workspace", "Bring a workspace from the older system."),
        "docs": Verb("cli.browser:docs", "Open the documentation."),
    },
}
"""The verbs in the order of `--help`."""

VERBS: Mapping[str, Verb] = {name: verb for group in GROUPS.values() for name, verb in group.items()}
