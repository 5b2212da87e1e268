"""The rules of a check and their results, as values."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any, NamedTuple

from data_engine.errors import FlowValidationError
from data_engine.formatting import beginning, plural
from data_engine.model import RuleCount
from data_engine.record import frozen

_EXAMPLE = '.check({"positive": "amount > 0", "unique_id": pl.col("id").is_unique()})'
MOST_RULES = 5
ALL_GOOD = ", all good"
"""The end of the words of a check that found nothing."""


@frozen
class Rule:
    """One rule: its name, and a Polars expression or the text of one in SQL that says which rows are good."""

    name: str
    says: Any

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Rule) and self._key() == other._key()

    def __hash__(self) -> int:
        return hash(self._key())

    def _key(self) -> tuple[str, str]:
        return self.name, self.says if isinstance(self.says, str) else self.says.meta.serialize(format="json")


@frozen
class CheckRules:
    """The rules of the check called `label`: one by one, or as a Schema of dataframely."""

    label: str
    each: tuple[Rule, ...] = ()
    schema: Any = None

    @property
    def names(self) -> list[str]:
        """The names of the rules, for people."""
        return [rule.name for rule in self.each] or ([] if self.schema is None else [self.schema.__name__])


class CheckResult(NamedTuple):
    """The result of a check: its rules with their counts, and the rejected rows as a Polars frame with `_row` and `_rules`, if any."""

    label: str
    rules: tuple[RuleCount, ...]
    rows: int
    rejected: int | None = None
    frame: Any = None

    @property
    def words(self) -> str:
        """The check and its result, in one line."""
        return f"{self.label}: {self.finding}"

    @property
    def finding(self) -> str:
        """The result in words."""
        broken = [rule for rule in self.rules if rule.failed or rule.unknown]
        if not broken:
            return f"{plural(self.rows, 'row')}{ALL_GOOD}"
        words = ", ".join(f"{rule.rule} {rule.failed + rule.unknown:,}" for rule in broken[:MOST_RULES])
        more = f" and {len(broken) - MOST_RULES} more rules" if len(broken) > MOST_RULES else ""
        head = f"{self.rejected:,} of {plural(self.rows, 'row')} rejected" if self.rejected else "broken"
        return f"{head} ({words}{more})"


def rules_of(rules: object, label: str) -> CheckRules:
    """The rules of `Flow.check`.

    Raises:
        FlowValidationError: there are none, or a value is no rule.
    """
    dataframely, polars = sys.modules.get("dataframely"), sys.modules.get("polars")
    if dataframely is not None and isinstance(rules, type) and issubclass(rules, dataframely.Schema):
        return CheckRules(label, (), rules)
    if not isinstance(rules, Mapping) or not rules:
        what = "no rules were given" if isinstance(rules, Mapping) else f"the rules cannot be {_kind_of(rules)}"
        raise wrong_option(what, "rules", f"name each rule: {_EXAMPLE}; or give a dataframely Schema")
    each = []
    for name, says in rules.items():
        if not isinstance(name, str) or not name.strip():
            raise wrong_option(f"a rule is called {name!r}", "rules", f"name it by a text: {_EXAMPLE}")
        is_expression = polars is not None and isinstance(says, polars.Expr)
        if not is_expression and not (isinstance(says, str) and says.strip()):
            raise wrong_option(
                f"rule {name!r} is neither a Polars expression nor a text of SQL, but {_kind_of(says)}",
                "rules",
                f'write pl.col("amount") > 0 or "amount > 0": {_EXAMPLE}',
            )
        each.append(Rule(name, says.strip() if isinstance(says, str) else says))
    return CheckRules(label, tuple(each))


def _kind_of(value: object) -> str:
    return beginning(f"{type(value).__name__} {value!r}", 100)


def wrong_option(what: str, option: str, fix: str) -> FlowValidationError:
    """The error of an option of `Flow.check`."""
    return FlowValidationError(what, where=f"Flow.check({option}=...)", fix=fix)
