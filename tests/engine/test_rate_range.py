"""B batch, N samples; the quadratic's largest curvature is known, so the rate at which descent diverges is too."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from corecur.data.batches import TensorBatches
from corecur.engine.losses import MeanSquaredError
from corecur.engine.optimizers import SGD, Adam, Muon
from corecur.engine.rate_range import RateRange, find_rate, smoothed
from corecur.engine.trainer import Trainer
from corecur.errors import ConfigError, RunError
from corecur.layers.conv import Conv2D
from corecur.layers.dense import Dense
from corecur.layers.dropout import Dropout
from corecur.layers.norm import BatchNormalization
from corecur.layers.shape import Flatten
from corecur.models import Sequential


def bits(value: Any) -> Any:
    """Tensors as bytes, so that -0.0 is not 0.0 and NaN is NaN."""
    if isinstance(value, Tensor):
        return value.dtype, value.stride(), value.detach().contiguous().numpy().tobytes()
    if isinstance(value, dict):
        return {key: bits(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [bits(item) for item in value]
    return value


def everything(model: Any) -> Any:
    """All that decides how the training of a model goes on."""
    optimizer = model.trainer.optimizer
    return bits(
        {
            "network": model.state_dict(),
            "gradients": [p.grad for p in model.parameters() if p.grad is not None],
            "modes": [module.training for module in model.modules()],
            "optimizer": optimizer.state_dict(),
            "torch": torch.get_rng_state(),
            "numpy": str(np.random.get_state()),
            "python": random.getstate(),
        }
    )


def network(optimizer: Any) -> Any:
    layers = [
        Conv2D(4, 3, activation="relu", input_shape=(6, 6, 1)),
        BatchNormalization(),
        Dropout(0.3),
        Flatten(),
        Dense(3, "softmax"),
    ]
    model = Sequential(layers)
    model.compile(optimizer, "sparse_categorical_crossentropy")
    return model


@pytest.fixture
def pictures() -> tuple[Tensor, Tensor]:
    return torch.rand(40, 6, 6, 1), torch.randint(3, (40,))


OPTIMIZERS = [Adam(1e-3), SGD(0.1, momentum=0.9, weight_decay=1e-3, clipnorm=1.0), Muon(0.02)]


@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=lambda o: type(o).__name__)
@pytest.mark.parametrize("trained", [False, True], ids=["new", "trained"])
def test_state_is_restored_bit_for_bit(optimizer: Any, trained: bool, pictures: tuple[Tensor, Tensor]) -> None:
    model = network(optimizer)
    if trained:
        model.fit(*pictures, batch_size=8, verbose=0)
    before = everything(model)
    found = model.find_learning_rate(*pictures, batch_size=8, steps=30)
    assert len(found.rates) > 10
    assert everything(model) == before


def test_a_training_after_the_test_is_the_training_without_it(pictures: tuple[Tensor, Tensor]) -> None:
    losses = []
    for search in (False, True):
        torch.manual_seed(3)
        model = network(Adam(1e-3))
        if search:
            model.find_learning_rate(*pictures, batch_size=8, steps=20)
        losses.append(model.fit(*pictures, batch_size=8, epochs=3, verbose=0).history["loss"])
    assert losses[0] == losses[1]


def test_state_is_restored_after_an_error(pictures: tuple[Tensor, Tensor]) -> None:
    model = network(Adam(1e-3))
    before = everything(model)

    def fail(*_: object) -> None:
        if model.trainer.optimizer.param_groups[0]["lr"] > 1e-3:
            raise KeyboardInterrupt

    handle = model.layers[-1].register_forward_hook(fail)
    with pytest.raises(KeyboardInterrupt):
        model.find_learning_rate(*pictures, batch_size=8)
    handle.remove()
    assert everything(model) == before


def trainer_of(weight: nn.Module, optimizer: torch.optim.Optimizer) -> Trainer:
    return Trainer(weight, loss=MeanSquaredError(), optimizer=optimizer)


@pytest.mark.parametrize("curvature", [0.01, 1.0, 100.0])
def test_suggestion_lies_below_the_rate_of_divergence_on_a_quadratic(curvature: float) -> None:
    # mean (y - X w)² has the Hessian H = 2 X^T X / N, and plain descent diverges above 2 / λ_max(H)
    x = torch.randn(256, 5) * torch.tensor([1.0, 0.8, 0.6, 0.4, 0.2]) * curvature**0.5
    y = x @ torch.randn(5, 1) + 0.1 * torch.randn(256, 1)
    diverges = 2 / torch.linalg.eigvalsh(2 * x.T @ x / len(x)).max().item()
    linear = nn.Linear(5, 1, bias=False)
    trainer = trainer_of(linear, torch.optim.SGD(linear.parameters(), lr=1.0))
    batches = TensorBatches(x, y, batch_size=256)
    found = find_rate(trainer, batches, rates=(diverges * 1e-6, diverges * 1e3), steps=150)
    assert diverges / 1000 < found.suggestion < diverges
    assert found.rates[-1] < diverges * 1e3  # ended when the loss ran away
    assert found.measured[-1] > found.measured[0] > min(found.measured)


def test_rates_grow_by_one_factor_and_the_first_loss_is_that_of_the_network() -> None:
    x, linear = torch.randn(16, 2), nn.Linear(2, 1)
    first = nn.functional.mse_loss(linear(x), torch.zeros(16, 1)).item()
    trainer = trainer_of(linear, torch.optim.SGD(linear.parameters(), lr=1.0))
    found = find_rate(trainer, TensorBatches(x, torch.zeros(16, 1), batch_size=16), rates=(1e-6, 1e-2), steps=41)
    np.testing.assert_allclose(found.rates, np.geomspace(1e-6, 1e-2, 41), rtol=1e-9)
    assert found.measured[0] == pytest.approx(first, rel=1e-6)


def test_smoothing_is_a_centred_mean() -> None:
    values = np.random.default_rng(0).normal(size=20)
    inside = np.convolve(values, np.ones(7) / 7, mode="valid")
    np.testing.assert_allclose(list(smoothed(values.tolist(), reach=3))[3:-3], inside)


def test_steepest_fall_of_a_known_curve() -> None:
    rates = tuple(np.geomspace(1e-5, 1, 101).tolist())
    fall = -np.tanh(3 * (np.log10(rates) + 2))  # steepest at 0.01
    rise = np.maximum(0, np.log10(rates) + 1) * 20
    losses = tuple((fall + rise).tolist())
    assert RateRange(rates, losses, losses).suggestion == pytest.approx(0.01)


def test_no_falling_loss_is_said() -> None:
    flat = RateRange((1.0, 2.0, 3.0), (1.0, 1.0, 1.0), (1.0, 1.0, 1.0))
    with pytest.raises(RunError, match="fell at none"):
        _ = flat.suggestion


@pytest.mark.parametrize("wrong", [{"rates": (0.0, 1.0)}, {"rates": (1.0, 0.1)}, {"steps": 3}])
def test_a_range_that_is_none_is_refused(wrong: dict[str, Any]) -> None:
    linear = nn.Linear(1, 1)
    trainer = trainer_of(linear, torch.optim.SGD(linear.parameters(), lr=1.0))
    with pytest.raises(ConfigError, match="no range"):
        find_rate(trainer, TensorBatches(torch.ones(2, 1), torch.ones(2, 1)), **wrong)


def test_a_loss_that_is_not_finite_is_said() -> None:
    linear = nn.Linear(1, 1)
    nn.init.constant_(linear.weight, float("inf"))
    trainer = trainer_of(linear, torch.optim.SGD(linear.parameters(), lr=1.0))
    with pytest.raises(RunError, match="no finite loss"):
        find_rate(trainer, TensorBatches(torch.ones(2, 1), torch.ones(2, 1)))
