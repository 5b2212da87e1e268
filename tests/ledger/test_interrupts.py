"""Ctrl-C at any instant of what the main thread asks or tells the ledger: nobody is locked out, nothing is stored twice."""

from __future__ import annotations

import random
import signal
import sys
import threading
import time
from pathlib import Path

import pytest

from data_engine.ledger.ledger import Ledger
from tests.ledger.events import finish, line, start


@pytest.mark.skipif(sys.platform == "win32", reason="no signals to a thread")
def test_whoever_keeps_the_traceback_keeps_no_lock(tmp_path: Path) -> None:
    """As IPython keeps the last one."""
    tracebacks: list[BaseException] = []
    chance, number = random.Random(5), 0
    main = threading.main_thread().ident or 0

    def press(after_s: float) -> None:
        time.sleep(after_s)
        signal.pthread_kill(main, signal.SIGINT)

    with Ledger.open(tmp_path / "ledger.sqlite") as ledger:
        for _ in range(200):
            person = threading.Thread(target=press, args=(chance.random() * 0.002,))
            try:
                person.start()
                while True:
                    number += 1
                    ledger.data_version()
                    ledger.record(start(f"r{number}"), line(f"r{number}", str(number)), finish(f"r{number}"))
            except KeyboardInterrupt as error:
                tracebacks.append(error)
            person.join()
        other = threading.Thread(target=ledger.flush, daemon=True)
        other.start()
        other.join(10)

        assert not other.is_alive()
        assert len(tracebacks) == 200
        told = [one.message for run in ledger.runs(limit=100_000) for one in ledger.log(run.run_id)]
    assert len(told) == len(set(told))
