"""Deletion, insertion and shuffled weights."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from corecur.explain.faithfulness import curves, measure, rank_correlation, shuffled_correlation, shuffled_weights
from corecur.explain.gradients import input_gradient
from corecur.explain.question import plain_question
from tests.explain.plain_questions import linear, picture_question, small_cnn

WEIGHTS = torch.linspace(-2, 2, 12)
QUESTION = plain_question(linear(WEIGHTS), torch.ones(12))


def test_the_true_order_is_best_and_its_reverse_worst() -> None:
    scores = WEIGHTS.double()
    right, wrong = (measure(QUESTION, s, signed=True) for s in (scores, -scores))
    assert right.is_faithful and right.deletion < right.deletion_interval[0]
    assert right.insertion > right.insertion_interval[1]
    assert not wrong.is_faithful and "no faster than" in wrong.sentence()


def test_the_areas_are_those_of_the_curves() -> None:
    order = WEIGHTS.argsort(descending=True)
    deletion, insertion = curves(QUESTION, order[None], steps=12)
    sums = np.concatenate([[0.0], WEIGHTS[order].double().numpy().cumsum()])
    left = [1 / (1 + np.exp(-values)) for values in (sums[-1] - sums, sums)]
    assert float(deletion[0]) == pytest.approx(np.trapezoid(left[0], dx=1 / 12), abs=1e-6)
    assert float(insertion[0]) == pytest.approx(np.trapezoid(left[1], dx=1 / 12), abs=1e-6)


def test_random_scores_are_rarely_called_faithful() -> None:
    generator = torch.Generator().manual_seed(0)
    draws = [torch.rand(12, generator=generator).double() for _ in range(60)]
    called = sum(measure(QUESTION, scores, signed=True, seed=n).is_faithful for n, scores in enumerate(draws))
    assert called <= 9  # 5 % of 60 is 3; nine or more happen once in 300 times


def test_equal_scores_rank_nothing() -> None:
    found = measure(QUESTION, torch.zeros(12).double(), signed=True)
    assert not found.is_faithful and "ranks nothing" in found.sentence()


def test_a_value_is_measured_by_how_near_it_stays() -> None:
    weights = torch.arange(12.0)
    question = plain_question(linear(weights), torch.ones(12), unit=10.0)
    assert float(question.left(question.scores(torch.ones(1, 12)))) == 1.0
    assert measure(question, weights.double(), signed=True).is_faithful
    assert not measure(question, -weights.double() + 20, signed=True).is_faithful


def test_shuffled_weights_are_other_values_and_come_back() -> None:
    network = small_cnn()
    before = [weight.clone() for weight in network.parameters()]
    names = list(network.state_dict())
    with shuffled_weights(network, seed=1):
        assert any(not torch.equal(a, b) for a, b in zip(before, network.parameters(), strict=True))
        for one, other in zip(before, network.parameters(), strict=True):
            assert torch.equal(one.flatten().sort().values, other.detach().flatten().sort().values)
    assert all(torch.equal(a, b) for a, b in zip(before, network.parameters(), strict=True))
    assert list(network.state_dict()) == names


def test_a_shared_weight_stays_shared() -> None:
    first, second = nn.Linear(3, 3), nn.Linear(3, 3)
    second.weight = first.weight
    with shuffled_weights(nn.Sequential(first, second)):
        assert first.weight is second.weight


def test_an_explanation_that_ignores_the_weights_is_found_out() -> None:
    question = picture_question(small_cnn(), torch.rand(6, 6, 1))
    scores = question.inputs[..., 0].double()
    found = measure(question, scores, lambda other: other.inputs[..., 0].double(), signed=True)
    assert found.randomised == pytest.approx(1.0) and "shuffled" in found.sentence()


def test_one_that_uses_them_changes() -> None:
    question = picture_question(small_cnn(), torch.rand(6, 6, 1, generator=torch.Generator().manual_seed(1)))
    parts = question.by_part(input_gradient(question))
    assert abs(shuffled_correlation(question, parts, input_gradient, signed=True)) < 0.7


def test_rank_correlation_is_that_of_scipy() -> None:
    stats = pytest.importorskip("scipy.stats")
    generator = torch.Generator().manual_seed(0)
    one, other = torch.randint(0, 5, (30,), generator=generator), torch.randint(0, 5, (30,), generator=generator)
    expected = stats.spearmanr(one.numpy(), other.numpy()).statistic
    assert rank_correlation(one.double(), other.double()) == pytest.approx(expected)
