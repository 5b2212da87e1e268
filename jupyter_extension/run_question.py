"""What a run by hand of a polled flow takes, and what is asked before several files, or one that is done, run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from data_engine.counted import counted
from data_engine.record import frozen

TO_RUN = ("held", "running", "waiting", "done")
"""The groups of files that a run by hand takes: all that are there, whatever is known of them."""

_DUE = ("held", "waiting")
MOST_DUE = 200
"""So many files at most are asked for one by one."""


@frozen
class RunQuestion:
    """What a person is asked: `answers` are a label and what `run` is then given as `take`."""

    text: str
    answers: tuple[tuple[str, str], ...]


def run_question(title: str, counts: Mapping[str, int], *, may_choose: bool = True) -> RunQuestion | None:
    """What is asked before a polled flow with so many files of each group runs; None where one file runs that is not done.

    Where one `may_choose`, those that are due can be run alone.

    Example:
        >>> print(run_question("Sales", {"waiting": 3, "done": 4}))
        RunQuestion(text='Run Sales: 3 files are due, 4 are done.', answers=(('Run the 3 due', 'due'), ('Run all 7', 'all')))
        >>> run_question("Sales", {"done": 2}).answers
        (('Run both again', 'all'),)
        >>> run_question("Sales", {"waiting": 1})
    """
    done = counts.get("done", 0) + counts.get("running", 0)
    due, total = sum(counts.get(group, 0) for group in _DUE), sum(counts.get(group, 0) for group in TO_RUN)
    if total == 0 or (total == 1 and not done):
        return None
    held, running = counts.get("held", 0), counts.get("running", 0)
    parts = [(due - held, "due"), (held, "held"), (running, "running"), (done - running, "done")]
    (first, group), *rest = [(count, word) for count, word in parts if count]
    told = [f"{counted(first, 'file is', 'files are')} {group}"]
    text = ", ".join([*told, *(f"{counted(count, 'is', 'are')} {word}" for count, word in rest)])
    some = "due" if not held else "held" if held == due else "due or held"
    again = " again" if due == 0 else ""
    everything = f"Run {'it' if total == 1 else 'both' if total == 2 else f'all {total:,}'}{again}"
    answers = [(everything, "all")]
    if done and due and due <= MOST_DUE and may_choose:
        answers.insert(0, (f"Run the {due:,} {some}" if due > 1 else f"Run the one {some}", "due"))
    return RunQuestion(f"Run {title}: {text}.", tuple(answers))


def with_unsaved(question: RunQuestion | None, files: Sequence[str]) -> RunQuestion:
    """What is asked where these files of the flow have edits that are not saved, and the flow runs without them.

    Example:
        >>> with_unsaved(None, ["sales.ipynb"])
        RunQuestion(text='sales.ipynb has unsaved edits: the flow runs as it is deployed, without them.', answers=(('Run it', 'all'),))
        >>> with_unsaved(run_question("Sales", {"done": 2}), ["sales.ipynb"]).text
        'sales.ipynb has unsaved edits: the flow runs as it is deployed, without them. Run Sales: 2 files are done.'
    """
    told = f"{', '.join(files)} {'has' if len(files) == 1 else 'have'} unsaved edits: the flow runs as it is deployed, without them."
    if question is None:
        return RunQuestion(told, (("Run it", "all"),))
    return RunQuestion(f"{told} {question.text}", question.answers)
