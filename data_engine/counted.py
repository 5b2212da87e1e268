"""How many there are, in words."""

from __future__ import annotations


def counted(number: int, one: str, several: str | None = None) -> str:
    """The number with its noun; `several` is what stands for all but one where that is not `one` with an "s".

    Example:
        >>> counted(1, "run"), counted(1200, "run"), counted(0, "failure")
        ('1 run', '1,200 runs', '0 failures')
        >>> counted(1, "file is", "files are"), counted(2, "file is", "files are")
        ('1 file is', '2 files are')
    """
    return f"{number:,} {one if number == 1 else several or f'{one}s'}"
