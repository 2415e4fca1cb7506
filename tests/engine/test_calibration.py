"""Calibration against NumPy, scipy and scikit-learn, and what must hold whatever the answers."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize_scalar
from sklearn.calibration import calibration_curve
from sklearn.metrics import brier_score_loss, log_loss

from corecur.engine.calibration import (
    COLDEST,
    HOTTEST,
    LEAST_SAMPLES,
    brier,
    calibrate,
    calibration_bins,
    fit_temperature,
    nll,
    tempered,
)
from corecur.errors import ShapeError


def _answers(n: int, classes: int, seed: int, *, sharpness: float = 3.0) -> tuple[torch.Tensor, torch.Tensor]:
    """Answers that are ``sharpness`` times as sure as they should be, and labels drawn from what they should be."""
    random = np.random.default_rng(seed)
    logits = random.normal(size=(n, classes))
    exact = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    labels = (random.random((n, 1)) > exact.cumsum(1)).sum(1).clip(max=classes - 1)
    return torch.tensor(sharpness * logits).softmax(1), torch.tensor(labels)


@settings(deadline=None, max_examples=12)
@given(st.integers(0, 10_000), st.integers(2, 6), st.floats(0.3, 5.0))
def test_the_temperature_is_the_minimum_of_the_likelihood(seed: int, classes: int, sharpness: float) -> None:
    shares, labels = _answers(60, classes, seed, sharpness=sharpness)
    logits, rows = np.log(shares.numpy()), np.arange(len(labels))

    def loss(log_temperature: float) -> float:
        scaled = logits / np.exp(log_temperature)
        scaled = scaled - scaled.max(1, keepdims=True)
        return float(np.mean(np.log(np.exp(scaled).sum(1)) - scaled[rows, labels.numpy()]))

    found = fit_temperature(shares, labels)
    wanted = minimize_scalar(loss, bounds=(np.log(COLDEST), np.log(HOTTEST)), method="bounded", options={"xatol": 1e-9})
    assert loss(np.log(found)) <= wanted.fun + 1e-9
    if COLDEST * 1.01 < found < HOTTEST * 0.99:
        assert found == pytest.approx(np.exp(wanted.x), rel=1e-3)


def test_it_finds_how_much_too_sure_the_answers_are() -> None:
    shares, labels = _answers(4_000, 5, 0, sharpness=2.5)
    assert fit_temperature(shares, labels) == pytest.approx(2.5, rel=0.06)
    after = tempered(shares, fit_temperature(shares, labels))
    before_bins, after_bins = (
        calibration_bins(p.max(1).values.numpy(), (p.argmax(1) == labels).numpy()) for p in (shares, after)
    )
    assert after_bins.error < 0.03 < 0.1 < before_bins.error
    assert after_bins.interval[0] == 0.0 < before_bins.interval[0]


@settings(deadline=None, max_examples=12)
@given(st.integers(0, 10_000), st.floats(COLDEST, HOTTEST))
def test_no_label_changes(seed: int, temperature: float) -> None:
    random = np.random.default_rng(seed)
    values = np.exp(random.choice([0.0, 1e-8, 1e-7, 3e-7, 5.0, 90.0], size=(20, 4)) * random.choice([-1, 1]))
    shares = torch.tensor(values / values.sum(1, keepdims=True), dtype=torch.float32)
    found = tempered(shares, temperature)
    assert torch.equal(found.argmax(1), shares.argmax(1))
    assert torch.allclose(found.sum(1), torch.ones(20), atol=1e-5) and bool((found >= 0).all())
    assert tempered(shares, 1.0) is shares


def test_answers_that_are_no_numbers_stay_none() -> None:
    found = tempered(torch.tensor([[float("nan"), 0.5], [0.8, 0.2]]), 2.0)
    assert bool(found[0, 0].isnan()) and found[1].tolist() == pytest.approx([2 / 3, 1 / 3])


def test_where_all_are_right_the_share_is_that_of_platt() -> None:
    """The likelihood alone would make answers certain."""
    shares, labels = torch.tensor([[0.7, 0.3]] * 60), torch.zeros(60, dtype=torch.int64)
    assert tempered(shares, fit_temperature(shares, labels))[0, 0].item() == pytest.approx(61 / 62, abs=1e-4)


def test_worse_than_chance_is_made_as_soft_as_may_be() -> None:
    assert fit_temperature(torch.tensor([[0.9, 0.1]] * 60), torch.ones(60, dtype=torch.int64)) == HOTTEST
    assert fit_temperature(torch.ones(60, 1), torch.zeros(60, dtype=torch.int64)) == 1.0


def test_few_samples_give_no_temperature_and_it_is_said() -> None:
    found = calibrate(torch.full((LEAST_SAMPLES - 1, 2), 0.5), torch.zeros(LEAST_SAMPLES - 1, dtype=torch.int64))
    assert found.temperature == 1.0 and "too few" in found.sentence()
    assert calibrate(torch.full((60, 2), float("nan")), torch.zeros(60, dtype=torch.int64)).temperature == 1.0


def test_it_is_never_worse_where_it_was_fitted() -> None:
    for seed in range(10):
        shares, labels = _answers(80, 3, seed, sharpness=0.5 + seed)
        found = calibrate(shares, labels)
        assert found.before is not None and found.after is not None and found.after <= found.before + 1e-9
        assert "negative log-likelihood" in found.sentence() and found.as_json()["temperature"] == found.temperature


def test_scores_are_those_of_scikit_learn() -> None:
    shares, labels = _answers(300, 2, 1)
    assert nll(shares, labels) == pytest.approx(log_loss(labels, shares))
    assert brier(shares, labels) == pytest.approx(2 * brier_score_loss(labels, shares[:, 1]))


@settings(deadline=None, max_examples=12)
@given(st.integers(0, 10_000), st.integers(1, 400))
def test_bins_are_those_of_scikit_learn(seed: int, n: int) -> None:
    random = np.random.default_rng(seed)
    said = random.random(n)
    right = random.random(n) < said**2
    bins = calibration_bins(said, right)
    number = max(1, min(15, n // 20))
    share, mean = calibration_curve(right, said, n_bins=number, strategy="quantile")
    assert bins.right == pytest.approx(share) and bins.said == pytest.approx(mean)
    assert bins.error == pytest.approx(np.abs(share - mean) @ bins.counts / n)
    assert 0 <= bins.interval[0] <= bins.interval[1] <= 1


def test_equal_confidences_stand_in_one_bin() -> None:
    bins = calibration_bins(np.ones(100), np.arange(100) < 90)
    assert bins.error == pytest.approx(0.1) and bins.counts.tolist() == [100]


def test_bins_need_pairs() -> None:
    for said, right in ((np.ones(3), np.ones(2)), (np.ones(0), np.ones(0))):
        with pytest.raises(ShapeError):
            calibration_bins(said, right)


def test_the_interval_holds_the_error_of_right_confidences() -> None:
    """Of answers that are exactly as sure as they are right, the interval begins at 0 in about 95 of 100 samples."""
    held = 0
    for seed in range(40):
        random = np.random.default_rng(seed)
        said = random.beta(5, 1.2, 200)
        held += calibration_bins(said, random.random(200) < said).interval[0] == 0.0
    assert held >= 34
