"""`python -m data_engine` is the command line."""

from __future__ import annotations

from data_engine.cli.app import main

if __name__ == "__main__":
    main()
