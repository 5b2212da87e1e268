"""What to type for a command of ours, as the shell of this system or a notebook's cell takes it."""

from __future__ import annotations

from data_engine.cut import visible
from data_engine.platforms.host import shell_line


def typed(*words: str) -> str:
    """`data-engine` and these words, each quoted where the shell needs it; `typed_magic` is the same for a cell.

    Example:
        >>> typed("deploy", "claims"), typed_magic("deploy", "claims")
        ('data-engine deploy claims', '%flow deploy claims')
        >>> typed_magic("rollback", "monthly claims")
        "%flow rollback 'monthly claims'"
    """
    return visible(shell_line(["data-engine", *words]))


def typed_magic(*words: str) -> str:
    """`%flow` and these words, as a cell takes them."""
    import shlex

    return visible(f"%flow {shlex.join(words)}")
