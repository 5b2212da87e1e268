"""Which files a call, an SQL text or a shell line writes, by the texts in it, and whether two texts may mean one file.

A text holds "*" where nobody knows what stands there: `f"{folder}/claims.csv"` is "*/claims.csv".
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from fnmatch import fnmatchcase

_WRITES_FIRST = re.compile(
    r"to_(csv|parquet|excel|json|feather|pickle|hdf|html|stata|xml|latex|markdown|orc|file|netcdf|zarr|disk|image|yaml|toml)"
    r"|(write|sink)_(?!text$|bytes$)\w+|save(fig|z|z_compressed|txt)?|dump|urlretrieve|imsave|imwrite|ExcelWriter|(\w*Rotating)?FileHandler"
)
_OPENS = frozenset({"open", "ZipFile", "TarFile", "File", "memmap", "HDFStore"})
_CHANGES_FILES = re.compile(
    r"os\.(remove|unlink|renames?|replace|rmdir|removedirs|truncate|link|symlink)|shutil\.(copy\w*|move|make_archive|unpack_archive)"
)
_CHANGES_FOLDERS = re.compile(r"os\.(mkdir|makedirs)|shutil\.rmtree")
_CHANGES_ITSELF = frozenset({"unlink", "touch", "rename", "symlink_to", "hardlink_to", "write_text", "write_bytes"})
_PATHS = (
    "path",
    "path_or_buf",
    "excel_writer",
    "file",
    "buf",
    "fname",
    "filename",
    "filepath",
    "fp",
    "where",
    "dst",
    "name",
)
"""Keywords that name the file."""
_SAVED_AS = {"save": ".npy", "savez": ".npz", "savez_compressed": ".npz"}
"""What may be added to a name without a suffix."""
_COPY_TO = re.compile(r"\b(?:copy|export)\b.*?\bto\s+'([^']+)'", re.IGNORECASE | re.DOTALL)
_QUOTED = re.compile(r"'([^']+)'|\"([^\"]+)\"")
_IN_SHELL = re.compile(
    r"(?<![<>=&-])>>?\s*([^\s;&|<>]+)|\btee\s+(?:-a\s+)?(\S+)|\b(?:wget|curl)\b.*?\s-[oO]\s*([^\s-]\S*)|\b(?:cp|mv)\s+\S.*\s(\S+)"
    r"|\b(?:touch|mkdir|rm|unzip|gunzip)\s+(?:-\S+\s+)*(\S+)|\bwget\s+(?:-[a-z]+\s+)*(\S+)\s*$",
    re.MULTILINE,
)
_UNKNOWN_PART = re.compile(r"\{[^}]*\}|%\w")


def written_by_call(dotted: str, texts: Sequence[str], keywords: Mapping[str, str]) -> list[str]:
    """The files that a function or a method of something other than a path writes; `texts` are "" where nobody knows.

    Example:
        >>> written_by_call("frame.to_csv", ["a.csv"], {}), written_by_call("open", ["a.csv", "w"], {}), written_by_call("open", ["a.csv"], {})
        (['a.csv'], ['a.csv'], [])
        >>> written_by_call("os.rename", ["a.csv", "b.csv"], {}), written_by_call("frame.to_dict", ["records"], {})
        (['a.csv', 'b.csv'], [])
    """
    last = dotted.rpartition(".")[2]
    if dotted.endswith((".logger.add", "logging.basicConfig")):
        return [text for text in (keywords.get("filename", ""), *texts[:1]) if text]
    named = next((keywords[name] for name in _PATHS if keywords.get(name)), "")
    if _CHANGES_FILES.fullmatch(dotted):
        return [text for text in texts if text]
    if _CHANGES_FOLDERS.fullmatch(dotted):
        return [f"{text}/" for text in texts[:1] if text]
    if last in _OPENS:
        return _opened(texts[:1], keywords.get("mode") or "".join(texts[1:2]), named, is_shelf=dotted == "shelve.open")
    if not _WRITES_FIRST.fullmatch(last):
        return []
    found = next((text for text in texts if text), "") or named
    return _saved_as(found, last) if found else []


def _saved_as(file: str, function: str) -> list[str]:
    suffix = "" if "." in file else _SAVED_AS.get(function, "")
    return [file, file + suffix] if suffix else [file]


def written_by_path(method: str, path: str, texts: Sequence[str], mode: str) -> list[str]:
    """The files that a method of a path writes.

    Example:
        >>> written_by_path("write_text", "a.txt", ["hello"], ""), written_by_path("open", "a.txt", ["w"], "")
        (['a.txt'], ['a.txt'])
        >>> written_by_path("mkdir", "out", [], ""), written_by_path("replace", "a-b", ["-", "_"], "")
        (['out/'], [])
    """
    if method == "open":
        return _opened([path], mode or "".join(texts[:1]), "")
    if method in ("mkdir", "rmdir"):
        return [f"{path}/"]
    if method in ("write_text", "write_bytes"):
        return [path]
    is_moved = method == "rename" or (method == "replace" and len(texts) == 1)
    return [path, *texts] if is_moved else [path] if method in _CHANGES_ITSELF else []


def _opened(first: Sequence[str], mode: str, named: str, *, is_shelf: bool = False) -> list[str]:
    path = "".join(first) or named
    writes = mode != "r" if is_shelf else not set(mode).isdisjoint("wax+")
    return [path] if path and writes else []


def written_by_sql(text: str) -> list[str]:
    """The files that an SQL text copies to.

    Example:
        >>> written_by_sql("copy (select 1) to 'a.csv' (header)")
        ['a.csv']
    """
    return _COPY_TO.findall(text)


def written_by_shell(text: str) -> list[str]:
    """The files that shell lines write, move or fetch.

    Example:
        >>> written_by_shell("echo 1 > a.csv"), written_by_shell("head a.csv 2>/dev/null"), written_by_shell("cp a.csv data/b.csv")
        (['a.csv'], [], ['data/b.csv'])
    """
    found = (next(filter(None, match.groups())) for match in _IN_SHELL.finditer(text))
    return [name.strip("'\"") for name in found if not name.startswith("/dev/")]


def names_in(text: str) -> Iterator[str]:
    """A text, and the texts quoted in it: `select * from 'a.csv'` names a file."""
    yield text
    if " " in text:
        yield from (single or double for single, double in _QUOTED.findall(text))


def may_be_one_file(written: str, named: str) -> bool:
    """Whether a text in the code may name what was written: the same last part, or one that a pattern covers.

    Example:
        >>> may_be_one_file("out/a.csv", "a.csv"), may_be_one_file("a.csv", "data/*.csv"), may_be_one_file("*.csv", "b.csv")
        (True, True, True)
        >>> may_be_one_file("out/", "out/a.txt"), may_be_one_file("a.csv", "*"), may_be_one_file("a.csv", "b.csv")
        (True, False, False)
    """
    one, other = _UNKNOWN_PART.sub("*", written), _UNKNOWN_PART.sub("*", named)
    if one.endswith("/"):
        return one.rstrip("/").rpartition("/")[2] in other.split("/")
    one, other = _last(one), _last(other)
    return any(
        pattern == text or ("*" in pattern and len(pattern.strip("*")) > 1 and fnmatchcase(text, pattern))
        for pattern, text in ((one, other), (other, one))
        if text.strip("*.")
    )


def may_be_in_folder(written: str, named: str) -> bool:
    """Whether a text in code that lists folders may name what was written, or the folder it was written to.

    Example:
        >>> may_be_in_folder("out/a.csv", "data/out"), may_be_in_folder("out/a.csv", "in")
        (True, False)
    """
    folder = re.split(r"[/\\]", written.rstrip("/\\"))[:-1][-1:]
    return may_be_one_file(written, named) or (folder != ["*"] and folder == [_last(named)])


def _last(path: str) -> str:
    return re.split(r"[/\\]", path.rstrip("/\\"))[-1]
