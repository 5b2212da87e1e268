"""What is known of a flow's sources, and how they are judged by it: earlier runs, failures to retry, what a person freed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple

from data_engine.ledger.rows import SourceStates
from data_engine.model import RunFinished, SeenSource, Signature, SourceKey, SourceState
from data_engine.planning.due import (
    HELD_STATUSES,
    Candidate,
    Rules,
    Verdict,
    is_retryable,
    judge,
    matches,
    state_after,
)


class KnownSources(NamedTuple):
    """What is known of a flow's sources, and the files its steps returned, as absolute paths.

    `others` is how often runs of other processes had been noticed when it was read.
    """

    states: SourceStates
    outputs: frozenset[str] | set[str] = frozenset()
    others: int = 0


class SourceMemory:
    """What `read` gives of a flow's sources, with what has happened since; and the `rules` of its workspace."""

    def __init__(self, flow: str, *, read: Callable[[], KnownSources], rules: Rules) -> None:
        self._flow = flow
        self._read = read
        self._rules = rules
        self._states = SourceStates(flow)
        self.others = 0
        self._failures: dict[SourceKey, int] = {}
        self._freed: set[str] = set()

    def get(self, key: SourceKey) -> SourceState | None:
        """What is known of one source."""
        return self._states.get(key)

    def under(self, root: str) -> list[SourceKey]:
        """The sources that are known under this root, as authored; another thread may make some known meanwhile."""
        return [key for key in self._states if key.root == root]

    def is_good(self, key: SourceKey, signature: Signature) -> bool:
        """Whether the source's last run ended well and size and time are to the bit what they were then."""
        return self._states.is_good(key, signature)

    def read(self) -> frozenset[str] | set[str]:
        """Know what others have written; the files that steps of the flow have returned."""
        known = self._read()
        self._states, self.others = known.states, known.others
        return known.outputs

    def use_rules(self, rules: Rules) -> None:
        """Judge by these from now on; what was freed and has failed stays so."""
        self._rules = replace(rules, freed=self._rules.freed, failures=self._failures)

    def free(self, keys: frozenset[SourceKey] | None) -> None:
        """Hold these sources (all without) no longer for how their last run ended."""
        self._freed |= {
            state.last_run_id
            for state in self._states.not_good()
            if state.status in _FREED and state.last_run_id is not None and (keys is None or state.key in keys)
        }
        self._rules = replace(self._rules, freed=frozenset(self._freed))

    def record(self, seen: SeenSource, end: RunFinished) -> SourceState:
        """A run of the source has ended; what is known of it now."""
        before = self._states.get(seen.key)
        state = state_after(before, self._flow, seen, end)
        self._states.put(state)
        if is_retryable(end):
            is_again = before is not None and before.last[:2] == seen.signature[:2]
            self._failures[seen.key] = self._failures.get(seen.key, 0) + 1 if is_again else 1
            self._rules = replace(self._rules, failures=self._failures)
        else:
            self._failures.pop(seen.key, None)
        return state

    def judge(self, candidate: Candidate, *, settle_s: float, now_s: float) -> Verdict:
        """Whether one source file is due."""
        return judge(candidate, self._states.get(candidate.key), self._rules, settle_s=settle_s, now_s=now_s)

    def hashed(self, key: SourceKey, signature: Signature, looked_at: Signature | None) -> Signature:
        """The signature with the content's hash, where the content counts and its hash is known.

        `looked_at` is the signature of a file that is being judged.
        """
        if not self._rules.by_content:
            return signature
        if looked_at is not None:
            return looked_at
        state = self._states.get(key)
        if state is not None and state.success and matches(signature, state.success, by_content=False):
            return signature._replace(content_hash=state.success.content_hash)
        return signature


_FREED = (*HELD_STATUSES, "abandoned")
