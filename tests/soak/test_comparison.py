"""The verdict of a comparison, counted: 1,000 draws of two equally good models for each kind of test, and its power."""

from __future__ import annotations

import pytest

from tests.comparison.equal_models import Draw, accuracy, entities, log_loss, seeds, share_shown, tokens, windows

pytestmark = pytest.mark.soak

DRAWS = 1000
EQUAL: dict[str, Draw] = {
    **{
        f"accuracy, {n} samples, {share}, alike on {likeness}": accuracy(n, share, likeness)
        for n in (30, 100, 1000)
        for share in (0.6, 0.95)
        for likeness in (0.0, 0.8)
    },
    "F1, 20 sentences": entities(20),
    "F1, 100 sentences": entities(100),
    "F1, 400 sentences": entities(400),
    "windows, 300 of 12 steps": windows(300, 12),
    "windows, 2,000 of 24 steps": windows(2000, 24),
    "text, 100 pieces": tokens(100, 5),
    "text, 1,000 pieces": tokens(1000, 20),
    "log loss, 50 samples": log_loss(50),
    "log loss, 500 samples": log_loss(500),
    "3 seeds each, 300 samples": seeds(3, 300),
    "5 seeds each, 1,000 samples": seeds(5, 1000),
}
# name -> draw of a better and a worse model, and how often that is seen at least
APART: dict[str, tuple[Draw, float]] = {
    "accuracy, 1,000 samples, 93 and 90 %": (accuracy(1000, 0.90, 0.8, gap=0.03), 0.8),
    "F1, 400 sentences": (entities(400, gap=0.1), 0.8),
    "windows, 2,000 of 24 steps, a fifth larger": (windows(2000, 24, factor=1.25), 0.6),
    "text, 1,000 pieces, 0.02 bits": (tokens(1000, 20, more=0.02), 0.8),
    "log loss, 500 samples, a fifth more": (log_loss(500, more=0.2), 0.8),
    "5 seeds each, 1,000 samples, 5 points": (seeds(5, 1000, gap=0.05), 0.6),
}


@pytest.mark.parametrize("name", EQUAL)
def test_equal_models_are_called_different_at_most_one_time_of_twenty(name: str) -> None:
    share = share_shown(EQUAL[name], DRAWS, seed=1)
    print(f"\n{name}: {100 * share:.1f} % of {DRAWS:,} draws")
    assert share <= 0.05


@pytest.mark.parametrize("name", APART)
def test_what_is_there_is_seen(name: str) -> None:
    draw, least = APART[name]
    share = share_shown(draw, 200, seed=2)
    print(f"\n{name}: seen in {100 * share:.0f} % of 200 draws")
    assert share >= least
