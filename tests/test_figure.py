"""Figures of names that other people gave."""

from __future__ import annotations

import warnings

from tritoncnn.figure import new_figure, plain, to_png


def test_any_name_is_drawn_as_it_is_and_without_a_warning() -> None:
    names = ("a\tb", "x\ny", "\x1b[31mred", "a\u202eb", "\udcff", "$x", "a" * 30)
    assert [plain(name) for name in names] == [
        r"a\tb", r"x\ny", r"\x1b[31mred", r"a\u202eb", r"\udcff", r"\$x", "a" * 15 + "…",
    ]  # fmt: skip
    figure = new_figure(2, 2)
    axes = figure.add_subplot()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for name in names:
            axes.set_title(plain(name))
            assert to_png(figure).startswith(b"\x89PNG")
