from __future__ import annotations

import json
import math

import numpy as np
import pytest
import torch

from corecur.errors import DataError
from corecur.learners.language_score import score_losses


def test_figures_follow_from_the_losses() -> None:
    losses = torch.from_numpy(np.random.default_rng(0).gamma(2.0, 1.0, 20_000)).float()
    score = score_losses(losses, split="test", level="char", characters=20_000)
    mean = float(losses.double().mean())
    assert score.nats == pytest.approx(mean) and score.perplexity == pytest.approx(math.exp(mean))
    assert score.bits_per_character == pytest.approx(mean / math.log(2))
    assert score.interval is not None
    low, high = score.interval
    assert low < mean < high
    standard_error = math.sqrt(2.0 / 20_000)  # losses without neighbours that are alike
    assert high - low == pytest.approx(2 * 1.96 * standard_error, rel=0.3)
    assert json.loads(json.dumps(score.as_json()))["tokens"] == 20_000
    assert score.sentence().startswith("test: ") and score.listing() is None


def test_alike_neighbours_widen_the_interval() -> None:
    steps = torch.randn(100, generator=torch.Generator().manual_seed(0)).repeat_interleave(200) + 3
    mixed = steps[torch.randperm(len(steps), generator=torch.Generator().manual_seed(0))]
    widths = []
    for losses in (steps, mixed):
        low, high = score_losses(losses, split="test", level="char", characters=1).interval or (0.0, 0.0)
        widths.append(high - low)
    assert widths[0] > 5 * widths[1]


def test_words_have_no_bits_and_pieces_have_those_of_their_characters() -> None:
    losses = torch.full((100,), math.log(2.0))
    assert score_losses(losses, split="test", level="word", characters=500).bits_per_character is None
    assert score_losses(losses, split="test", level="bpe", characters=400).bits_per_character == pytest.approx(0.25)


def test_short_texts() -> None:
    score = score_losses(torch.ones(99), split="test", level="char", characters=99)
    assert score.interval is None and "interval" not in score.sentence()
    with pytest.raises(DataError, match="too short to be scored"):
        score_losses(torch.zeros(0), split="test", level="char", characters=0)
