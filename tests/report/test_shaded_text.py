from __future__ import annotations

import re

import pytest

from corecur.errors import ShapeError
from corecur.report.shaded_text import MOST_WORDS, ShadedText, heaviest_stretch


def test_the_heaviest_word_is_the_strongest() -> None:
    page = ShadedText("no → yes", ["so", "good"], [0.2, 0.8], detail="80 % sure").html()
    assert re.findall(r'--w:(\d+)%">(\w+)<', page) == [("25", "so"), ("100", "good")]
    assert "no → yes" in page and "80 % sure" in page and "unknown" not in page


def test_hostile_words_are_inert() -> None:
    page = ShadedText("<b>", ["<script>x</script>", '"><img>'], [0.5, 0.5], detail="<i>").html()
    assert "<script>" not in page and "<img>" not in page and "<b>" not in page and "<i>" not in page


def test_unknown_words_and_scripts_without_spaces() -> None:
    page = ShadedText("a", ["很", "好"], [0.5, 0.5], unknown=[True, False], spaced=False).html()
    assert page.count('class="unknown"') == 1 and "</span><span" in page


def test_of_a_long_text_the_stretch_that_weighs_most_is_shown() -> None:
    weights = [0.0] * 500
    weights[300] = 1.0
    page = ShadedText("a", [f"w{n}" for n in range(500)], weights).html()
    assert page.count("<span style") == MOST_WORDS and ">w300<" in page
    assert "… " in page and " …" in page
    assert "…" not in ShadedText("a", ["x"] * MOST_WORDS, [1.0] * MOST_WORDS).html()


@pytest.mark.parametrize("most", [1, 3, 10])
def test_the_stretch_has_the_largest_sum(most: int) -> None:
    weights = [0.1, 0.5, 0.2, 0.9, 0.0, 0.3, 0.3, 0.25]
    sums = [sum(weights[first : first + most]) for first in range(max(1, len(weights) - most + 1))]
    assert heaviest_stretch(weights, most) == sums.index(max(sums))
    assert heaviest_stretch([], most) == 0


def test_no_words_and_wrong_numbers_of_weights() -> None:
    assert "(no word)" in ShadedText("a", [], []).html()
    assert "--w:0%" in ShadedText("a", ["x"], [0.0]).html()
    with pytest.raises(ShapeError):
        ShadedText("a", ["x"], [])
