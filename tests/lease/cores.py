"""The same on every core of this machine, in processes of their own: schedules and scenarios know nothing of each other."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable, Iterable
from concurrent.futures import ProcessPoolExecutor
from typing import TypeVar

_Job = TypeVar("_Job")
_Found = TypeVar("_Found")


def on_all_cores(play: Callable[[_Job], _Found], jobs: Iterable[_Job]) -> list[_Found]:
    """What `play` finds in each of the jobs, in their order; both must pickle."""
    with ProcessPoolExecutor(os.cpu_count(), mp_context=multiprocessing.get_context("spawn")) as pool:
        return list(pool.map(play, jobs))
