"""A process that is asked: what it answers, how it is ended, and what it leaves when it hangs, dies or babbles."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import psutil
import pytest

from data_engine.answering_process import AnsweringProcess, NoAnswer, ParentProcess
from tests.support import end_now, until

HERE = "tests.platforms.test_answering_process"


def process(function: object, *arguments: str, **options: object) -> AnsweringProcess:
    """A process that calls a function of this module."""
    return AnsweringProcess(f"{HERE}:{function.__name__}", *arguments, **options)  # type: ignore[attr-defined, arg-type]


def is_gone(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


# -- what the processes do -------------------------------------------------------------------------------------------------


def answers(asker: ParentProcess, *arguments: str) -> None:
    """Print what nobody is to read, and answer with what is seen here."""
    while True:
        message = asker.receive()
        print("no answer", flush=True)
        os.system("echo neither")
        seen = {"message": message.decode(), "arguments": arguments, "folder": os.getcwd(), "input": sys.stdin.read()}
        asker.send(json.dumps(seen | {"variable": os.environ.get("OF_THE_TEST")}).encode())


def hangs(asker: ParentProcess) -> None:
    """Take one message, and answer nothing."""
    asker.receive()
    time.sleep(600)


def reads_nothing(asker: ParentProcess) -> None:
    time.sleep(600)


def exits(asker: ParentProcess) -> None:
    asker.send(b"the last")
    print("line 1\nwhy it ends", file=sys.stderr, flush=True)
    os._exit(3)


def raises(asker: ParentProcess) -> None:
    raise RuntimeError("half installed")


def starts_another(asker: ParentProcess) -> None:
    """Leave a process behind that keeps the pipes; answer with its number."""
    held = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], close_fds=False)
    asker.send(str(held.pid).encode())
    asker.receive()
    os._exit(0)


def asks_another(asker: ParentProcess) -> None:
    """Have a process of its own that hangs, and answer with its number."""
    inner = process(hangs)
    inner.send(b"")
    asker.send(str(inner.pid).encode())
    time.sleep(600)


def babbles(asker: ParentProcess) -> None:
    """Write into the channel what is no message."""
    os.write(asker._answers.fileno(), b"Traceback or whatever a library prints" * 100)
    time.sleep(600)


# -- what whoever asks sees --------------------------------------------------------------------------------------------------


def test_it_answers_one_message_after_the_other(tmp_path: Path) -> None:
    """In its folder and environment; what is printed is no answer, also by programs, and standard input is empty."""
    with process(answers, "a", "b", folder=tmp_path, environment=os.environ | {"OF_THE_TEST": "x"}) as one:
        seen = [json.loads(one.ask(text, 60)) for text in (b"first", b"second")]

        assert [answer["message"] for answer in seen] == ["first", "second"]
        assert Path(seen[0]["folder"]).samefile(tmp_path)
        assert (seen[0]["arguments"], seen[0]["input"], seen[0]["variable"]) == (["a", "b"], "", "x")
        assert one.is_there
    assert not one.is_there


def test_large_messages_come_through_both_ways() -> None:
    """Larger than any pipe, and with all bytes."""
    message = bytes(range(256)) * 100_000
    with AnsweringProcess("data_engine.answering_process:echo") as one:
        assert one.ask(message, 60) == message
        assert one.ask(b"", 60) == b""


@pytest.mark.parametrize("function", [hangs, reads_nothing])
def test_one_that_hangs_is_ended_at_the_limit(function: object) -> None:
    """Also while it does not read what is sent."""
    with process(function) as one:
        with pytest.raises(NoAnswer, match=r"no answer within 0\.5 s"):
            one.ask(b"x" * 10_000_000, 0.5)
        with pytest.raises(NoAnswer, match=r"no answer within 0\.5 s"):
            one.ask(b"again", 60)
        until(lambda: not one.is_there)


def test_another_thread_ends_it_and_says_why() -> None:
    with process(hangs) as one:
        threading.Timer(0.3, one.end, ["another look was asked for"]).start()
        with pytest.raises(NoAnswer, match="another look was asked for") as caught:
            one.ask(b"")

    assert caught.value.ended_for == "another look was asked for"


def test_one_that_ends_by_itself_tells_its_exit_code_and_last_words() -> None:
    """What it said before is not lost."""
    with process(exits, stderr=subprocess.PIPE) as one:
        assert one.receive(60) == b"the last"
        with pytest.raises(NoAnswer, match=r"its process ended \(exit code 3\)") as caught:
            one.receive(60)

    assert (caught.value.ended_for, caught.value.status) == ("", 3)
    assert caught.value.errors.splitlines() == ["line 1", "why it ends"]


def test_an_error_of_its_code_is_among_its_last_words() -> None:
    with process(raises, stderr=subprocess.PIPE) as one, pytest.raises(NoAnswer) as caught:
        one.ask(b"", 60)

    assert caught.value.errors.endswith("RuntimeError: half installed")


def test_one_that_somebody_kills_is_told() -> None:
    with process(hangs) as one:
        end_now(one.pid)
        with pytest.raises(NoAnswer, match="its process ended"):
            one.ask(b"", 60)


def test_what_is_no_message_is_no_answer() -> None:
    """Whatever comes through the channel: it is ended, and nothing of it is taken."""
    with process(babbles) as one, pytest.raises(NoAnswer, match="no answer that can be read"):
        one.receive(60)


def test_an_interpreter_that_is_not_there_is_an_error_at_once(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        process(answers, interpreter=str(tmp_path / "python"))


@pytest.mark.parametrize("is_hard", [False, True], ids=["closed", "ended"])
def test_what_it_started_ends_with_it(is_hard: bool) -> None:
    """With a session of its own, whether it can end by itself or not."""
    with process(starts_another, owns_session=True) as one:
        held = int(one.receive(60))
        if is_hard:
            one.end()

    until(lambda: is_gone(held))


@pytest.mark.skipif(sys.platform == "win32", reason="Windows gives a program only the handles that are named")
def test_what_it_leaves_behind_delays_nobody() -> None:
    """A process that keeps its pipes open holds up neither the limit nor the close."""
    one = process(starts_another)
    held = int(one.receive(60))
    end_now(one.pid)
    began_s = time.monotonic()
    with pytest.raises(NoAnswer):
        one.receive(0.5)
    one.close()

    assert time.monotonic() - began_s < 20
    end_now(held)


@pytest.mark.parametrize("is_killed", [False, True], ids=["closed", "killed"])
def test_it_ends_with_whoever_asks(is_killed: bool) -> None:
    """Also while it works, with one that is killed."""
    with process(asks_another) as outer:
        inner = int(outer.receive(60))
        assert not is_gone(inner)
        if is_killed:
            end_now(outer.pid)
        else:
            outer.end()

        until(lambda: is_gone(inner))
