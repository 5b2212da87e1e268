"""`data-engine` and `python -m data_engine` are the command line."""

from __future__ import annotations

import gc
from typing import NoReturn


def main() -> NoReturn:
    """Run the command line with this process's arguments, and end the process with its exit code.

    A look makes little garbage and ends soon, and nearly all that is imported stays: collecting it would take a sixth of its time.
    """
    gc.disable()
    from data_engine.cli.app import main as run_command_line

    run_command_line()


if __name__ == "__main__":
    main()
