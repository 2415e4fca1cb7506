"""Wrongly decoded text, told from right text in many languages; near copies of texts."""

from __future__ import annotations

import numpy as np
import pytest

from corecur.data.quality.text_marks import garbled, near_texts, plain

RIGHT = ("Ça a été très bien, à Noël, où l’on rit – « oui » …", "NÃO É POSSÍVEL, São João", "Größe, Übermut, 20 °C, €",
         "很好吃，下次还来", "привет, как дела", "العربية", "Ångström & Åsa", "£5 or ¥300 ©® ±2")  # fmt: skip


@pytest.mark.parametrize("text", RIGHT)
def test_right_text_is_let_alone_and_wrong_text_is_not(text: str) -> None:
    assert garbled(text) is None
    wrong = text.encode().decode("latin-1")
    assert garbled(wrong) is not None
    assert garbled(text + " \ufffd") == "\ufffd"


def test_spelling_does_not_make_two_texts() -> None:
    assert plain("ＦＵＬＬ “Width”, Straße!") == plain("full width\nstrasse") and plain("a b") != plain("ab")


def test_patterns_are_no_copies() -> None:
    places = ("japan", "mexico", "kenya", "norway", "chile", "nepal", "ghana", "latvia")
    asked = [plain(f"what is the population of the largest city in {place} now") for place in places]
    assert near_texts(asked) == []


def test_signs_make_two_texts_and_punctuation_does_not() -> None:
    assert plain("true if a < b") != plain("true if a <= b") and plain("C++") != plain("C")
    assert plain("so – fine.") == plain("so... fine!")


def test_long_texts_of_the_same_words_in_another_order_are_no_copies() -> None:
    random = np.random.default_rng(0)
    words = [f"{a}{b}" for a in ("ka", "mo", "ri", "ste", "lu") for b in ("ren", "dal", "vik", "mus", "tor", "sel")]
    told = [" ".join(random.choice(words, 2000)) for _ in range(20)]
    changed = told[3].split()
    changed[::40] = random.choice(words, 50)
    assert near_texts(told) == []
    assert near_texts([*told, " ".join(changed)]) == [(3, 20)]
