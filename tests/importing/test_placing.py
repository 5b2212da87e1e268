"""Which part of an older absolute path lies inside a source: Windows takes names in any case, on drives as on shares."""

from __future__ import annotations

import pytest

from data_engine.importing import below


@pytest.mark.parametrize(
    ("root", "path", "inside"),
    [
        ("C:/Team/in", "c:/TEAM/In/2026/A.csv", "2026/A.csv"),
        ("C:/Team/in", "C:/team/in", ""),
        ("C:/Team/in", "C:/team/inside/a.csv", None),
        ("C:/Straße/in", "c:/STRAßE/in/a.csv", "a.csv"),
        ("Z:", "z:/a.csv", "a.csv"),
        ("//server/Team/in", "//SERVER/team/in/a.csv", "a.csv"),
        ("//server/Team/in", "//other/Team/in/a.csv", None),
        ("/team/in", "/team/in/a.csv", "a.csv"),
        ("/team/in", "/Team/in/a.csv", None),
    ],
)
def test_a_path_below_a_source_is_known_by_its_path_inside(root: str, path: str, inside: str | None) -> None:
    assert below(root, path) == inside
