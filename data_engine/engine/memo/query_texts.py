"""What the texts of some code say to Python, read as queries: names of frames, and calls that give something else each time."""

from __future__ import annotations

import re

from data_engine.engine.access.code import identifiers

_AT_NAME = re.compile(r"@([^\W\d]\w*)")
_VOLATILE = re.compile(
    r"\b(random|uuid|gen_random_uuid|uuidv4|uuidv7|now|today|get_current_time(stamp)?|getenv|getvariable)\s*\(\s*\)"
    r"|\brandomblob\s*\("
    r"|\b(current_(date|time|timestamp|localtime|localtimestamp)|localtimestamp)\b"
    r"|\b(date|datetime|time|julianday|unixepoch|strftime)\s*\([^)]*'now'",
    re.IGNORECASE,
)
_ATTACH = re.compile(r"\battach\s+(database\s+)?['\"?:@$]", re.IGNORECASE)


class QueryTexts:
    """The names and calls in the texts of some code, read as queries."""

    def __init__(self) -> None:
        self.words: set[str] = set()  # names of frames, perhaps
        self.variables: set[str] = set()  # names after `@`, of any value
        self.volatile: set[str] = set()  # calls that give something else each time
        self.attaches = False  # a database is opened by SQL

    def add_all(self, other: QueryTexts) -> None:
        """Add the texts of others."""
        self.words |= other.words
        self.variables |= other.variables
        self.volatile |= other.volatile
        self.attaches = self.attaches or other.attaches

    def add(self, text: str) -> None:
        """Add a text, which may be a query."""
        self.words |= identifiers(text)
        if "@" in text:
            self.variables |= set(_AT_NAME.findall(text))
        if (call := _VOLATILE.search(text)) is not None:
            self.volatile.add(call[0])
        if _ATTACH.search(text) is not None:
            self.attaches = True
