"""Weights of members against scipy and scikit-learn."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import torch
from scipy.optimize import minimize
from sklearn.linear_model import LogisticRegression

from corecur.combine.blend import PENALTIES, mixture_weights, quantile_weights, stack_weights
from corecur.combine.soup import greedy_soup


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def _members(seed: int, count: int = 3, n: int = 120, classes: int = 4) -> tuple[list[torch.Tensor], torch.Tensor]:
    random = np.random.default_rng(seed)
    logits = random.normal(size=(n, classes)) * 2
    shares = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    labels = (random.random((n, 1)) > shares.cumsum(1)).sum(1).clip(max=classes - 1)
    noisy = [torch.tensor(logits + random.normal(size=(n, classes)) * (1 + k)).softmax(1) for k in range(count)]
    return noisy, torch.tensor(labels)


@pytest.mark.parametrize("seed", range(4))
def test_mixture_weights_are_the_optimum_of_scipy(seed: int) -> None:
    answers, labels = _members(seed)
    chosen = np.stack([a.gather(1, labels[:, None])[:, 0].numpy() for a in answers])
    wanted = minimize(
        lambda w: -np.log(w @ chosen).mean(), [1 / 3] * 3, method="SLSQP", bounds=[(0, 1)] * 3,
        constraints=[{"type": "eq", "fun": lambda w: w.sum() - 1}], options={"ftol": 1e-14},
    ).x  # fmt: skip
    found = mixture_weights(answers, labels)
    assert found.sum().item() == pytest.approx(1) and bool((found >= 0).all())
    assert found.numpy() == pytest.approx(wanted, abs=2e-3)


def test_quantile_weights_are_the_best_of_a_grid() -> None:
    random = np.random.default_rng(0)
    truth = torch.tensor(random.normal(size=200))
    members = torch.stack([truth + 0.5, truth - 1.5, truth + torch.tensor(random.normal(size=200)) * 3])

    def loss(w: torch.Tensor) -> torch.Tensor:
        return (w @ members - truth).abs().mean()

    found = quantile_weights(loss, 3)
    grid = [torch.tensor([a, b, 1 - a - b], dtype=torch.float64) for a in np.linspace(0, 1, 41)
            for b in np.linspace(0, 1 - a, 41)]  # fmt: skip
    assert found.sum().item() == pytest.approx(1) and float(loss(found)) <= min(float(loss(w)) for w in grid) + 1e-3


def test_a_stack_is_penalised_logistic_regression() -> None:
    """Between the free fit of scikit-learn and the plain average, and where the penalised objective is flat."""
    answers, labels = _members(5)
    stack = stack_weights(answers, labels)
    assert stack.penalty in PENALTIES
    logs = torch.cat([a.clamp_min(1e-7).log() for a in answers], 1)
    free = LogisticRegression(C=1e4, max_iter=500).fit(logs.numpy(), labels.numpy())
    said = (logs @ stack.weight.T + stack.bias).softmax(1)

    def loss(p: torch.Tensor) -> float:
        return float(-p.gather(1, labels[:, None]).log().mean())

    mean = torch.stack([a.log() for a in answers]).mean(0).softmax(1)
    assert loss(torch.tensor(free.predict_proba(logs.numpy()))) - 1e-4 <= loss(said) <= loss(mean) + 1e-9
    start = torch.eye(4, dtype=torch.float64).repeat(1, 3) / 3
    slope = torch.autograd.functional.jacobian(
        lambda w: torch.nn.functional.cross_entropy(logs @ w.T + stack.bias, labels), stack.weight
    )
    assert torch.allclose(slope, -stack.penalty * (stack.weight - start), atol=1e-5)  # where the objective is flat


def test_folds_keep_a_stack_of_few_samples_near_the_average() -> None:
    random = np.random.default_rng(0)
    answers = [torch.tensor(random.dirichlet([1.0] * 4, 15)) for _ in range(3)]
    stack = stack_weights(answers, torch.tensor(random.integers(0, 4, 15)))
    assert stack.penalty >= 1.0 and stack.unseen.shape == (15, 4)


def test_a_soup_keeps_what_helps() -> None:
    network = torch.nn.Linear(1, 1, bias=False)
    states = [{"weight": torch.tensor([[value]])} for value in (0.0, 2.0, 9.0)]

    def loss() -> float:
        return abs(network.weight.item() - 1.1)

    assert greedy_soup(network, states, loss=loss, count=lambda: None) == [1, 0]
    assert network.weight.item() == 1.0
