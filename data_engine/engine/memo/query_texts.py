"""Texts that may be queries: SQL reads frames by name, and may ask for the time or for random numbers."""

from __future__ import annotations

import re

from data_engine.engine.memo.bytecode import identifiers

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
    """What the texts of some code would mean as queries."""

    def __init__(self) -> None:
        self.words: set[str] = set()  # names of frames, perhaps
        self.asked: set[str] = set()  # names asked for with `@name`, of any value
        self.volatile: set[str] = set()  # calls that give something else each time
        self.attaches = False  # a database is opened by SQL

    def add(self, text: str) -> None:
        """Add a text, which may be a query."""
        self.words |= identifiers(text)
        if "@" in text:
            self.asked |= set(_AT_NAME.findall(text))
        if (found := _VOLATILE.search(text)) is not None:
            self.volatile.add(found[0])
        if _ATTACH.search(text) is not None:
            self.attaches = True
