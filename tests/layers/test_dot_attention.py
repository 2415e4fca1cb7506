from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from corecur import layers
from corecur.errors import ConfigError, ShapeError
from corecur.layers import LAYERS
from corecur.layers.dot_attention import DotAttention
from corecur.layers.masks import with_mask
from corecur.models import Input, Model

from .reference import Array, draw, tensor


def softmax(scores: Array) -> Array:
    shares = np.exp(scores - scores.max(-1, keepdims=True))
    return shares / shares.sum(-1, keepdims=True)


@pytest.mark.parametrize("scores", [False, True])
@pytest.mark.parametrize("mode", ["dot", "scaled", "general"])
def test_it_is_the_formula(mode: str, scores: bool) -> None:
    q, v, k = draw(2, 4, 3), draw(2, 5, 6, seed=1), draw(2, 5, 2 if mode == "general" else 3, seed=2)
    layer = DotAttention(mode, use_scale=True)
    layer([tensor(x).float() for x in (q, v, k)])
    layer.double()
    with torch.no_grad():
        layer.scale.fill_(0.7)
    products = q @ (layer.weight.detach().numpy() if mode == "general" else np.eye(3)) @ k.transpose(0, 2, 1)
    weights = softmax(0.7 * products * (3**-0.5 if mode == "scaled" else 1.0))
    found = layer([tensor(x) for x in (q, v, k)], return_attention_scores=scores)
    if scores:
        np.testing.assert_allclose(found[1].detach().numpy(), weights, atol=1e-12)
    np.testing.assert_allclose((found[0] if scores else found).detach().numpy(), weights @ v, atol=1e-12)


def test_carried_masks_of_query_and_value() -> None:
    q, v = torch.randn(2, 4, 3), torch.randn(2, 5, 3)
    q_mask, v_mask = torch.rand(2, 4) < 0.5, torch.rand(2, 5) < 0.5
    q_mask[:, 0], v_mask[0], v_mask[1, 2] = True, False, True
    poisoned = with_mask(v.masked_fill(~v_mask.unsqueeze(-1), float("nan")), v_mask)
    y = DotAttention()([with_mask(q * 1, q_mask), poisoned])
    assert torch.equal(y.mask, q_mask)
    assert not bool(y[0].any())  # nothing to look at
    alone = DotAttention()([q[1:], v[1:, v_mask[1]]])
    torch.testing.assert_close(y[1][q_mask[1]], alone[0][q_mask[1]])
    assert not bool(y[~q_mask].any())


def test_causal_queries_see_only_the_past() -> None:
    x = torch.randn(1, 4, 3)
    y = DotAttention()([x, x], use_causal_mask=True)
    for t in range(4):
        torch.testing.assert_close(y[:, t], DotAttention()([x[:, t : t + 1], x[:, : t + 1]])[:, 0])


def test_keras_name_finds_it_and_a_model_file_keeps_it(tmp_path: Any) -> None:
    assert LAYERS["Attention"] is DotAttention
    x = Input((None, 4))
    model = Model(x, DotAttention("general")([layers.Dense(3)(x), x], use_causal_mask=True)).eval()
    values = torch.randn(2, 5, 4)
    expected = model(values)
    model.save(tmp_path / "m")
    torch.testing.assert_close(Model.load(tmp_path / "m")(values), expected, rtol=0, atol=0)


def test_what_does_not_fit_is_refused() -> None:
    x = torch.zeros(2, 3, 4)
    with pytest.raises(ShapeError, match="general"):
        DotAttention()([x, x[..., :2]])
    with pytest.raises(ShapeError, match=r"\[query, value\]"):
        DotAttention()(x)
    with pytest.raises(ConfigError, match="unknown score 'concat'"):
        DotAttention("concat")
    with pytest.raises(ShapeError, match="mask"):
        DotAttention()([x, x], mask=[None, torch.ones(2, 4)])
