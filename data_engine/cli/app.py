"""The command `data-engine`: its commands, its exit codes, and how errors are told.

0 done; 1 it ran and failed; 2 the request was wrong; 3 another workstation holds the lease; 130 interrupted. A Python
traceback is shown only with `--debug` or DATA_ENGINE_DEBUG=1.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn

from data_engine.cli.failure import tell
from data_engine.cli.looks import look
from data_engine.cli.output import complain, lenient_streams, only_json, print_version
from data_engine.cut import visible_lines
from data_engine.errors import FlowValidationError

if TYPE_CHECKING:
    import typer


def main() -> NoReturn:
    """Run the command line with this process's arguments, and end the process with its exit code."""
    sys.exit(run(sys.argv[1:]))


def run(arguments: Sequence[str]) -> int:
    """Do what `arguments` ask, print what there is to say, and return the exit code."""
    own = list(arguments[: list(arguments).index("--")] if "--" in arguments else arguments)
    with lenient_streams() as lost:
        if own == ["--version"]:  # asked by scripts and installers: not worth the import of typer
            print_version()
            code = 0
        elif "--json" in own:
            with only_json(lost):
                code = _run(arguments, own)
        else:
            code = _run(arguments, own)
        sys.stdout.flush()
        if lost and code == 0:
            complain(f"error: the output could not be written: {lost[0].strerror}")
            code = 1
    return code


def _run(arguments: Sequence[str], own: Sequence[str]) -> int:
    try:
        try:
            return _invoke(list(arguments) or ["--help"])
        finally:
            home = sys.modules.get("data_engine.engine.local_workspace")
            if home is not None:
                home.forget_workspaces()
    except (Exception, KeyboardInterrupt) as error:
        if _wants_trace(own):
            import traceback

            from data_engine.secret import masked

            sys.stderr.write(visible_lines(masked("".join(traceback.format_exception(error)))))
        return tell(error, "--json" in own, lambda is_unknown: _instead(arguments, is_unknown))


def _instead(arguments: Sequence[str], is_unknown: bool) -> str | None:
    """What to type instead of a line that was refused, where it has loose words or too many; `is_unknown` as `fix_of_line` says."""
    if sum(not word.startswith("-") for word in arguments) < 3 and is_unknown:
        return None
    from typer.main import get_command

    from data_engine.cli.loose_words import fix_of_line

    return fix_of_line(get_command(make_app()), arguments, is_unknown=is_unknown)


_RENAMED = {
    ("create", "workspace"): "data-engine workspace create PATH",
    ("doctor", "daemons"): "data-engine status shows the daemon and the owner; data-engine doctor checks both",
    ("start", "gui"): "data-engine panel, or in JupyterLab: data-engine lab",
    ("start", "egui"): "data-engine panel, or in JupyterLab: data-engine lab",
    ("start", "tui"): "data-engine status --watch",
}
"""What the system before this one called otherwise."""


def _invoke(arguments: list[str]) -> int:
    if (code := look(arguments)) is not None:
        return code
    import typer
    from typer.main import get_command

    from data_engine.workspace.two_packages import two_packages_words

    if (words := two_packages_words()) is not None:
        complain(f"warning: {words}", style="yellow")
    for pair in pairwise(arguments):
        if pair in _RENAMED:
            what = f"there is no command {' '.join(pair)!r} any more"
            raise FlowValidationError(what, where="data-engine", fix=_RENAMED[pair])
    command = get_command(make_app())
    try:
        with command.make_context("data-engine", arguments) as ctx:
            result = command.invoke(ctx)
    except typer.Exit as leaving:
        return leaving.exit_code
    except typer.Abort as leaving:
        raise KeyboardInterrupt from leaving
    return result if isinstance(result, int) else 0


def make_app() -> typer.Typer:
    """The application with all its commands."""
    from data_engine.cli import (
        alerts,
        backfilling,
        compiling,
        daemon,
        demo,
        deployed,
        deploying,
        doctor,
        documentation,
        flows,
        history,
        lab,
        lease,
        moving,
        options,
        panel,
        planning,
        previewing,
        running,
        secrets,
        service,
        switching,
        tidying,
        workspaces,
    )
    from data_engine.cli.command_group import command_group

    app = command_group("Write a data flow in a JupyterLab notebook; run the same notebook in production.")
    app.callback()(options.global_options)
    app.command("demo")(demo.demo)
    app.command("lab", context_settings=lab.PASS_ON)(lab.lab)
    app.command("panel")(panel.panel)
    app.add_typer(workspaces.make_app(), name="workspace")
    app.command("list")(flows.list_flows)
    app.command("show")(flows.show)
    app.command("compile")(compiling.compile_flows)
    app.command("deploy")(deploying.deploy)
    app.command("deployments")(deployed.deployments)
    app.command("rollback")(deployed.rollback)
    app.command("undeploy")(deploying.undeploy)
    app.command("restore")(deployed.restore)
    app.command("plan")(planning.plan)
    app.command("test")(planning.check)
    app.command("preview")(previewing.preview)
    app.command("run")(running.run)
    app.command("backfill")(backfilling.backfill)
    app.command("start")(daemon.start)
    app.command("stop")(daemon.stop)
    app.command("status")(daemon.status)
    app.command("doctor")(doctor.doctor)
    app.command("docs")(documentation.docs)
    app.command("explain")(daemon.explain)
    app.command("runs")(history.runs)
    app.command("log")(history.log)
    app.command("compare")(history.compare)
    app.command("retry")(daemon.retry)
    app.command("enable")(switching.enable)
    app.command("disable")(switching.disable)
    app.command("stop-run")(daemon.stop_run)
    app.command("kill-run")(daemon.kill_run)
    app.add_typer(secrets.make_app(), name="secret")
    app.add_typer(alerts.make_app(), name="alert")
    app.add_typer(lease.make_app(), name="lease")
    app.add_typer(service.make_app(), name="service")
    app.command("import")(moving.import_workspace)
    app.command("kill")(daemon.kill)
    app.command("reset")(history.reset)
    app.command("tidy")(tidying.tidy)
    return app


class Known(NamedTuple):
    """The options of a command, as they are typed, and what stands in its help for what has to be named."""

    options: frozenset[str]
    needed: tuple[str, ...]


def known_of(name: str) -> Known:
    """What a command takes; nothing of what is no command.

    Example:
        >>> known = known_of("undeploy")
        >>> sorted(known.options), known.needed
        (['--json', '--no-wait', '--note', '--wait'], ('NAME',))
        >>> known_of("frob").needed
        ()
    """
    from typer.main import get_command

    commands: Any = get_command(make_app())
    found = commands.commands.get(name)
    params = [] if found is None else found.params
    options = [one for one in params if one.param_type_name == "option"]
    needed = [one.metavar for one in params if one.param_type_name == "argument" and one.required]
    return Known(frozenset(word for one in options for word in (*one.opts, *one.secondary_opts)), tuple(needed))


def _wants_trace(own: Sequence[str]) -> bool:
    return "--debug" in own or os.environ.get("DATA_ENGINE_DEBUG", "").strip() not in ("", "0")
