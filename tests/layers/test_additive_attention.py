from __future__ import annotations

import numpy as np
import pytest
import torch

from corecur.errors import ConfigError, ShapeError
from corecur.layers.additive_attention import AdditiveAttention

from .reference import draw, tensor
from .test_dot_attention import softmax


@pytest.mark.parametrize("units", [None, 5])
@pytest.mark.parametrize("use_scale", [True, False])
def test_it_is_the_formula(units: int | None, use_scale: bool) -> None:
    q, v, k = draw(2, 4, 3), draw(2, 5, 6, seed=1), draw(2, 5, 3 if units is None else 2, seed=2)
    layer = AdditiveAttention(use_scale, units=units)
    layer([tensor(x).float() for x in (q, v, k)])
    layer.double()
    a, b = q, k
    if units is not None:
        a = q @ layer.query_weight.detach().numpy().T + layer.bias.detach().numpy()
        b = k @ layer.key_weight.detach().numpy().T
    fitting = np.tanh(a[:, :, None] + b[:, None])
    weights = softmax((fitting * (layer.scale.detach().numpy() if use_scale else 1.0)).sum(-1))
    output, found = layer([tensor(x) for x in (q, v, k)], return_attention_scores=True)
    np.testing.assert_allclose(found.detach().numpy(), weights, atol=1e-12)
    np.testing.assert_allclose(output.detach().numpy(), weights @ v, atol=1e-12)


def test_gradients_with_masks() -> None:
    q, v = tensor(draw(2, 3, 2)).requires_grad_(), tensor(draw(2, 4, 2)).requires_grad_()
    layer = AdditiveAttention(units=3)
    layer([q.float(), v.float()])
    layer.double()
    masks = [torch.tensor([[True, True, False]] * 2), torch.tensor([[True, False, True, True], [False] * 4])]
    assert torch.autograd.gradcheck(lambda a, b, *_: layer([a, b], mask=masks), (q, v, *layer.parameters()))


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(ShapeError, match="give units"):
        AdditiveAttention()([torch.zeros(2, 3, 4), torch.zeros(2, 3, 5)])
    with pytest.raises(ShapeError, match=r"\[query, value\]"):
        AdditiveAttention()(torch.zeros(2, 3, 4))
    with pytest.raises(ConfigError):
        AdditiveAttention(units=0)
