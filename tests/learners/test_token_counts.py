from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from corecur.learners.text_generator import TextGenerator
from corecur.learners.token_counts import counted_losses


def by_hand(train: list[int], before: tuple[int, ...], token: int, size: int) -> float:
    """P(token | before), by its definition: one length of context after the other."""
    share = 1 / size
    for length in range(len(before) + 1):
        context = before[len(before) - length :]
        after = Counter(
            train[k + length] for k in range(len(train) - length) if tuple(train[k : k + length]) == context
        )
        if after:
            share = (after[token] + len(after) * share) / (sum(after.values()) + len(after))
    return share


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    st.lists(st.integers(0, 3), min_size=1, max_size=40),
    st.lists(st.integers(0, 3), min_size=2, max_size=12),
    st.integers(1, 4),
)
def test_it_is_what_counting_by_hand_gives(train: list[int], test: list[int], order: int) -> None:
    found = counted_losses(np.array(train), np.array(test), order=order, size=4)
    expected = [
        -np.log(by_hand(train, tuple(test[max(0, place - order + 1) : place]), test[place], 4))
        for place in range(1, len(test))
    ]
    np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_probabilities_sum_to_one() -> None:
    train = np.random.default_rng(0).integers(0, 5, 300)
    for before in ([0, 1], [4, 4], [3, 2]):
        shares = [np.exp(-counted_losses(train, np.array([*before, token]), order=3, size=5)[-1]) for token in range(5)]
        assert sum(shares) == pytest.approx(1.0)


def test_a_generator_stands_beside_counts(tmp_path: Path) -> None:
    path = tmp_path / "text.txt"
    path.write_text("the cat sat on the mat and the dog sat on the log\n" * 120)
    learner = TextGenerator(units=8, epochs=1, threads=1)
    data = learner.read(path, test=0.2)
    result = learner.fit(data, baseline="all")
    names = [one.name for one in result.baselines]
    assert names == ["frequencies of characters", "counts of 5 characters in a row"]
    frequencies, rows = result.baselines
    assert rows.difference.b < frequencies.difference.b  # text that repeats itself is known by what stands in a row
    assert frequencies.difference.a == pytest.approx(result.test.nats)
    assert not rows.is_beaten and "no better" in rows.sentence() or "worse" in rows.sentence()
