from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.metrics import mean_pinball_loss

from corecur.engine.losses import find_loss
from corecur.engine.quantile_loss import PinballLoss
from corecur.errors import ConfigError, DataError, ShapeError


def test_is_scikit_learns() -> None:
    torch.manual_seed(0)
    target, output = torch.randn(7, 5, 2), torch.randn(7, 5, 2, 3)
    quantiles = (0.05, 0.5, 0.8)
    want = [
        mean_pinball_loss(target.flatten().numpy(), output[..., k].flatten().numpy(), alpha=q)
        for k, q in enumerate(quantiles)
    ]
    np.testing.assert_allclose(PinballLoss(quantiles)(target, output), np.mean(want), rtol=1e-6)


def test_the_best_constant_is_the_quantile() -> None:
    values = torch.from_numpy(np.random.default_rng(0).gamma(2.0, size=4001)).float()
    loss, candidates = PinballLoss((0.9,)), torch.linspace(0, 8, 801)
    found = [float(loss(values, candidate.expand(len(values), 1))) for candidate in candidates]
    best = float(candidates[int(np.argmin(found))])
    np.testing.assert_allclose(best, np.quantile(values.numpy(), 0.9), atol=0.02)


def test_the_median_alone_is_half_the_absolute_error() -> None:
    target, output = torch.randn(6, 3), torch.randn(6, 3, 1)
    np.testing.assert_allclose(
        PinballLoss((0.5,))(target, output), 0.5 * find_loss("mae")(target, output.squeeze(-1)), rtol=1e-6
    )


def test_it_has_a_name() -> None:
    assert find_loss("quantile") == find_loss("pinball") == PinballLoss((0.1, 0.5, 0.9))


@pytest.mark.parametrize("quantiles", [(), (0.5, 0.1), (0.0, 0.5), (0.5, 1.0), (0.1, 0.1), ("a",), (True,)])
def test_wrong_quantiles(quantiles: tuple[float, ...]) -> None:
    with pytest.raises(ConfigError, match="rise from above 0 to below 1"):
        PinballLoss(quantiles)


def test_wrong_shapes_and_targets() -> None:
    with pytest.raises(ShapeError, match="a value for each quantile"):
        PinballLoss()(torch.zeros(2, 3), torch.zeros(2, 3))
    with pytest.raises(ShapeError, match="a value for each quantile"):
        PinballLoss()(torch.zeros(2, 1), torch.zeros(2, 3, 3))
    with pytest.raises(DataError, match="not finite"):
        PinballLoss().check(torch.tensor([0.0, float("nan")]), 3)
