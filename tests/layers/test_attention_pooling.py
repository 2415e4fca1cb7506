from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from corecur.errors import ConfigError
from corecur.layers.attention_pooling import AttentionPooling

from .reference import built, draw, tensor


@pytest.mark.parametrize("units", [None, 5, 0])
def test_it_is_the_formula(units: int | None) -> None:
    x = draw(4, 6, 3)
    mask = np.random.default_rng(1).random((4, 6)) < 0.6
    mask[0], mask[1] = True, False
    layer = built(AttentionPooling(units), tensor(x))
    y, weights = layer(tensor(x), mask=torch.from_numpy(mask), return_attention_scores=True)
    for row in range(4):
        real = x[row][mask[row]]
        hidden = real
        if units != 0:
            hidden = np.tanh(real @ layer.weight.detach().numpy().T + layer.bias.detach().numpy())
        shares = np.exp(hidden @ layer.context.detach().numpy())
        shares = shares / shares.sum() if len(real) else shares
        np.testing.assert_allclose(weights[row].detach().numpy()[mask[row]], shares, atol=1e-12)
        np.testing.assert_allclose(y[row].detach().numpy(), shares @ real, atol=1e-12)
    assert not bool(weights[torch.from_numpy(~mask)].any())


def test_the_weights_of_the_last_call_stay_for_reports() -> None:
    layer, x = AttentionPooling(4), torch.randn(2, 5, 3)
    assert layer.last_attention is None
    y, weights = layer(x, return_attention_scores=True)
    assert torch.equal(layer.last_attention, weights) and not layer.last_attention.requires_grad
    torch.testing.assert_close(layer.attention(x).sum(1), torch.ones(2))
    torch.testing.assert_close(layer(x), y)


def test_gradients_with_a_mask() -> None:
    x = tensor(draw(3, 4, 3)).requires_grad_()
    layer = built(AttentionPooling(2), x)
    mask = torch.tensor([[True, True, False, True], [False] * 4, [True] + [False] * 3])
    parameters = list(layer.parameters())
    assert torch.autograd.gradcheck(lambda *_: layer(x, mask=mask), (x, *parameters))


def test_dropout_drops_weights_in_training_only() -> None:
    layer, x = AttentionPooling(dropout=0.5), torch.randn(8, 20, 3)
    assert bool((layer.attention(x) == 0).any())
    assert not bool((layer.eval().attention(x) == 0).any())


@pytest.mark.parametrize("wrong", [{"units": -1}, {"units": 1.5}, {"dropout": 2}])
def test_wrong_arguments_are_refused_at_once(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        AttentionPooling(**wrong)
