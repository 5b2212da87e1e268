"""The Jupyter server of `data-engine panel`: it serves the panel's page and its requests, and nothing else.

No kernels, terminals, files or other extensions: who operates flows needs none of them. Who may see the page, by token or
password, and over which certificate, is what this person's Jupyter settings say.

Run as `python -m jupyter_extension.panel_server`, with Jupyter's own options.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jupyter_server.serverapp import ServerApp

from data_engine.errors import WorkspaceError
from data_engine.formatting import visible, visible_lines

EXTENSION = "jupyter_extension.server"
PAGE = "/data-engine/panel"
_LOOPBACK = ("127.0.0.1", "localhost", "::1")


class PanelServer(ServerApp):
    """A server that has only this package's extension."""

    default_services = ("auth", "security")  # type: ignore[assignment]  # any number is allowed

    def find_server_extensions(self) -> None:
        """Look for none."""

    def init_server_extensions(self) -> None:
        """Use this package's only, whatever the settings name."""
        self.jpserver_extensions = {EXTENSION: True}
        super().init_server_extensions()

    def init_configurables(self) -> None:
        """Refuse to serve a page that starts runs to whoever reaches it.

        Raises:
            WorkspaceError: the settings turn Jupyter's token off, and there is no password.
        """
        super().init_configurables()
        self.contents_manager.get_extra_handlers = list  # type: ignore[method-assign]  # those that serve files
        if not self.identity_provider.auth_enabled:
            raise WorkspaceError(
                "your Jupyter settings turn its token off: anyone who reaches the page could run flows as you",
                where=", ".join(self.loaded_config_files) or "JUPYTER_TOKEN",
                fix="take the empty token out of them, or set a password: jupyter server password",
            )

    def start_app(self) -> None:
        """Serve, and say where; Jupyter's own message names kernels and files."""
        provider: Any = self.identity_provider
        url = self.local_url if self.ip in _LOOPBACK else self.connect_url
        is_generated = provider.token_generated
        provider.token_generated = False
        super().start_app()
        provider.token_generated = is_generated
        print(f"The panel of {visible(Path(self.root_dir).name)}: {url}")
        if self.ip not in _LOOPBACK:
            print("Other machines can reach it: anyone with its token or password can run flows as you.")
        print("Ctrl-C ends this page; the daemon and its runs go on.", flush=True)


def main(arguments: Sequence[str]) -> int:
    """Serve until Ctrl-C; the exit code."""
    try:
        PanelServer.launch_instance(list(arguments))
    except WorkspaceError as error:
        print(visible_lines(f"error: {error}"), file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
