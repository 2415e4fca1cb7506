from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from corecur.engine.focal import BinaryFocalCrossentropy, CategoricalFocalCrossentropy
from corecur.errors import ConfigError, ShapeError


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("alpha", [0.25, (0.1, 0.2, 0.7)])
def test_categorical_against_float64(alpha: float | tuple[float, ...], smoothing: float) -> None:
    z, labels = torch.randn(5, 4, 3) * 2, torch.randint(0, 3, (5, 4))
    target = F.one_hot(labels, 3)
    p = torch.softmax(z.double(), -1).numpy()
    q = target.numpy() * (1 - smoothing) + smoothing / 3
    want = -(np.asarray(alpha) * q * (1 - p) ** 1.5 * np.log(p)).sum(-1)
    loss = CategoricalFocalCrossentropy(alpha, gamma=1.5, label_smoothing=smoothing)
    np.testing.assert_allclose(loss(target, torch.softmax(z, -1)), want.mean(), rtol=1e-5)
    np.testing.assert_allclose(loss.per_sample(target, torch.softmax(z, -1)), want.mean(1), rtol=1e-4)


@pytest.mark.parametrize("balanced", [False, True])
def test_binary_against_float64(balanced: bool) -> None:
    z, y = torch.randn(6, 4) * 2, torch.randint(0, 2, (6, 4))
    p, t = torch.sigmoid(z.double()).numpy(), y.numpy()
    p_t = np.where(t == 1, p, 1 - p)
    want = -((1 - p_t) ** 2) * np.log(p_t)
    if balanced:
        want = want * np.where(t == 1, 0.3, 0.7)
    loss = BinaryFocalCrossentropy(balanced, alpha=0.3)
    np.testing.assert_allclose(loss(y, torch.sigmoid(z)), want.mean(), rtol=1e-5)
    np.testing.assert_allclose(loss.per_sample(y, torch.sigmoid(z)), want.mean(1), rtol=1e-4)
    torch.testing.assert_close(
        BinaryFocalCrossentropy(balanced, alpha=0.3, from_logits=True)(y, z), loss(y, torch.sigmoid(z))
    )


def test_without_focus_they_are_cross_entropies_and_torchvision_s_rule_holds_for_sure_answers() -> None:
    z, labels = torch.randn(8, 3), torch.randint(0, 3, (8,))
    target = F.one_hot(labels, 3).float()
    torch.testing.assert_close(
        CategoricalFocalCrossentropy(1.0, gamma=0.0, from_logits=True)(target, z), F.cross_entropy(z, labels)
    )
    sure = CategoricalFocalCrossentropy(1.0, from_logits=True)(target, 40 * target)
    assert 0 <= float(sure) < 1e-12


def test_refusals() -> None:
    with pytest.raises(ConfigError):
        CategoricalFocalCrossentropy(gamma=-1.0)
    with pytest.raises(ShapeError, match="one-hot"):
        CategoricalFocalCrossentropy()(torch.zeros(4, dtype=torch.long), torch.rand(4, 3))
