"""How many there are, and how large something is, in words."""

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


def size_words(size_bytes: float) -> str:
    """A size for people, in the largest unit that leaves no zero.

    Example:
        >>> [size_words(size) for size in (0, 999, 1_000, 250_000, 5_000_000, 3_200_000_000)]
        ['0 bytes', '999 bytes', '1 KB', '250 KB', '5 MB', '3.2 GB']
    """
    for unit, factor in (("GB", 1e9), ("MB", 1e6), ("KB", 1e3)):
        if size_bytes >= factor:
            return f"{size_bytes / factor:,.3g} {unit}"
    return f"{size_bytes:,.0f} bytes"
