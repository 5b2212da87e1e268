"""The house does not grow beyond its figures, and the counters count what they are for."""

from __future__ import annotations

from tests.house import Figure, circles, figures, with_many_parameters


def test_the_figures_hold() -> None:
    """`python -m tests.house --which` names what is counted."""
    assert [str(figure) for figure in figures() if figure.is_over] == []


def test_what_is_over_is_told() -> None:
    """A limit that is not reached yet is no leave to grow."""
    assert [Figure("a", 5, 4).is_over, Figure("a", 5, 4, 5).is_over, Figure("a", 6, 4, 5).is_over] == [
        True,
        False,
        True,
    ]
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
