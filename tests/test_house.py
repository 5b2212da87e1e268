"""Packages import each other in no circle, and the counters count what they are for."""

from __future__ import annotations

from tests.house import circles, read_sources, with_many_parameters


def test_there_is_no_circle() -> None:
    """`python -m tests.house` prints how large the house is; nothing fails for that."""
    assert circles(read_sources()) == []


def test_circles_and_parameters_are_found() -> None:
    many = ", ".join(f"a{number}" for number in range(9))

    assert with_many_parameters({"m.py": f"def f({many}): ...\ndef g(self, a): ...\n"}) == ["m.py:1 f takes 9"]
    assert circles(
        {
            "data_engine/a/x.py": "import data_engine.b.y\n",
            "data_engine/b/y.py": "def f():\n    import data_engine.c\n",
            "data_engine/c.py": "from data_engine.a import x\n",
            "data_engine/d.py": "from data_engine.a import x\n",
        }
    ) == [{"data_engine.a", "data_engine.b", "data_engine.c"}]
