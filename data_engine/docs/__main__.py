"""`python -m data_engine.docs [FOLDER]`: build the site, in FOLDER or where this machine keeps it, and print its first page."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from data_engine.docs import site
from data_engine.errors import FlowValidationError


def main() -> int:
    """The exit code: 0 when the site is there; 1 when it cannot be made, which is printed."""
    parser = argparse.ArgumentParser(prog="python -m data_engine.docs", description="Make the documentation as a site.")
    parser.add_argument("folder", nargs="?", type=Path, help="where; without it, where this machine keeps it")
    folder = parser.parse_args().folder
    try:
        if folder is not None:
            site.build(folder.absolute())
        else:
            folder = site.make()
    except FlowValidationError as error:
        print(error, file=sys.stderr)
        return 1
    print(folder.absolute() / site.FIRST)
    return 0


if __name__ == "__main__":
    sys.exit(main())
