"""Links on Windows: a symbolic one needs a right there, a junction to a folder needs none. Wine makes neither."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest


def link_or_skip(symlink: Callable[..., None]) -> Callable[..., None]:
    """`os.symlink`, or a junction in its place; where there is neither the test is skipped."""

    def link(target: Any, name: Any, target_is_directory: bool = False, **options: Any) -> None:
        with suppress(OSError, NotImplementedError):
            symlink(target, name, target_is_directory or os.path.isdir(target), **options)
            if os.path.islink(name):
                return
        if sys.platform == "win32" and os.path.isdir(target) and not os.path.lexists(name):
            import _winapi

            with suppress(OSError):
                _winapi.CreateJunction(os.fspath(target), os.fspath(name))
                if os.path.isjunction(name):
                    return
        if not _asked_by_a_test():  # pytest makes links for people, and goes on without
            raise OSError("no links here")
        pytest.skip("this user may make no links here (on Windows they need a right, Wine has none)")

    return link


def _asked_by_a_test() -> bool:
    frame = sys._getframe(2)
    while frame.f_back is not None and "pathlib" in frame.f_code.co_filename:
        frame = frame.f_back
    return Path(frame.f_code.co_filename).is_relative_to(Path(__file__).parent)
