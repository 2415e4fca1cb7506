"""Phrases that people say are no copies of each other; copies of anything else are."""

from __future__ import annotations

import numpy as np

from corecur.data.quality.idioms import by_chance
from corecur.data.quality.text_check import text_findings
from corecur.data.text.text_parts import TextPart

IDIOM = "worth the price of admission"


def _reviews(count: int = 400) -> list[str]:
    """Sentences of made-up words; every eighth ends with the same idiom."""
    random = np.random.default_rng(3)
    words = [f"{a}{b}{c}" for a in ("ka", "mo", "ri", "ste", "lu", "ba") for b in ("ren", "dal", "vik", "mus", "tor")
             for c in ("a", "o", "us", "el")]  # fmt: skip
    return [" ".join([*random.choice(words, 5), *(IDIOM.split() if k % 8 == 0 else random.choice(words, 5))])
            for k in range(count)]  # fmt: skip


def test_an_idiom_is_chance_and_a_copy_is_not() -> None:
    texts = [one.split() for one in _reviews()]
    copied = [*texts[3][:4], "nearly", *texts[3][4:]]
    alike = [["acting", *IDIOM.split()], ["music", *IDIOM.split()]]
    rows = [*texts, copied, *alike]
    assert by_chance(rows, [(3, 400), (401, 402)]) == {(401, 402)}


def test_many_copies_of_one_text_do_not_make_it_a_phrase() -> None:
    texts = [one.split() for one in _reviews()]
    rows = [*texts, *([texts[5]] * 9)]
    assert by_chance(rows, [(5, 400 + k) for k in range(9)]) == frozenset()


def test_idioms_are_a_note_and_copies_a_warning() -> None:
    texts = _reviews()
    train = TextPart([*texts[:300], "thank you", f"acting {IDIOM}"], [*"ab"] * 151, [f"train{k}" for k in range(302)])
    held = [*texts[300:], "Thank you!", f"music {IDIOM}", texts[7].upper()]
    test = TextPart(held, ["b", *"ab" * 51], [f"test{k}" for k in range(103)])
    told = {(one.kind, one.level): one for one in text_findings({"train": train, "test": test})[0]}
    assert told["leak", "warning"].evidence == ("test102 = train7",)
    assert told["leak", "note"].evidence == ("test100 = train300",)
    assert not any(kind == "near-leak" for kind, _ in told)
