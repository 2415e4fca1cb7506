from __future__ import annotations

import numpy as np
import torch
from sklearn.naive_bayes import MultinomialNB

from corecur.learners.naive_bayes import log_count_ratios


def bags_of(held: np.ndarray, size: int) -> np.ndarray:
    """Which of ``size`` tokens each text holds, (N, size) of 0 and 1."""
    bags = np.zeros((len(held), size))
    np.put_along_axis(bags, held, 1, 1)
    return bags


def ratios(held: np.ndarray, labels: np.ndarray, size: int) -> np.ndarray:
    rows = np.repeat(np.arange(len(held)), held.shape[1])
    arrays = (torch.from_numpy(array) for array in (held.ravel(), rows, labels))
    return log_count_ratios(*arrays, size=size, classes=2).numpy()


def test_for_equal_classes_it_is_scikit_learns_naive_bayes() -> None:
    one = np.random.default_rng(0).integers(1, 9, (20, 6))  # 20 texts of 6 tokens
    held = np.concatenate([one, one % 8 + 1])  # the second class holds as many different ones
    labels = np.repeat([0, 1], 20)
    fitted = MultinomialNB().fit(bags_of(held, 9)[:, 1:], labels).feature_log_prob_
    found = ratios(held, labels, 9)
    np.testing.assert_allclose(found[1:, 0], fitted[0] - fitted[1], atol=1e-5)
    np.testing.assert_allclose(found[1:, 1], fitted[1] - fitted[0], atol=1e-5)
    assert found[0].tolist() == [0.0, 0.0]


def test_a_token_that_was_never_seen_says_nothing() -> None:
    rows = torch.repeat_interleave(torch.arange(20), 3)
    tokens = torch.randint(2, 8, (60,), generator=torch.Generator().manual_seed(0))
    labels = (torch.arange(20) == 0).long()  # one text against nineteen
    found = log_count_ratios(tokens, rows, labels, size=12, classes=3)  # the third class has no text at all
    assert bool(found.isfinite().all())
    torch.testing.assert_close(found[8:], torch.zeros(4, 3), atol=1e-6, rtol=0)
    assert not bool(found[2:8, :2].eq(0).all())
