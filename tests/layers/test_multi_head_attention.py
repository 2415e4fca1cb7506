from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from corecur.errors import ConfigError, ShapeError
from corecur.layers.masks import with_mask
from corecur.layers.multi_head_attention import MultiHeadAttention
from corecur.models import Input, Model, Sequential

MASK = torch.tensor([[True, True, False, True], [True, False, False, False]])


def pair(**sizes: int) -> tuple[MultiHeadAttention, nn.MultiheadAttention, list[Tensor]]:
    """Ours and torch's with the same weights, and (query, value, key) for them."""
    theirs = nn.MultiheadAttention(6, 2, batch_first=True, **sizes)
    nn.init.normal_(theirs.in_proj_bias)
    inputs = [torch.randn(2, 5, 6), torch.randn(2, 4, sizes.get("vdim", 6)), torch.randn(2, 4, sizes.get("kdim", 6))]
    ours = MultiHeadAttention(2, 3)
    ours(*inputs)
    assert {k: v.shape for k, v in ours.state_dict().items()} == {k: v.shape for k, v in theirs.state_dict().items()}
    ours.load_state_dict(theirs.state_dict())
    return ours, theirs, inputs


@pytest.mark.parametrize("sizes", [{}, {"kdim": 3, "vdim": 5}, {"vdim": 4}])
@pytest.mark.parametrize("scores", [False, True])
def test_weights_move_to_and_from_torch_as_they_are(sizes: dict[str, int], scores: bool) -> None:
    ours, theirs, (query, value, key) = pair(**sizes)
    expected, weights = theirs(query, key, value, key_padding_mask=~MASK, average_attn_weights=False)
    found = ours(query, value, key, value_mask=MASK, return_attention_scores=scores)
    torch.testing.assert_close(found[0] if scores else found, expected, rtol=1e-5, atol=1e-5)
    if scores:
        torch.testing.assert_close(found[1], weights, rtol=1e-5, atol=1e-5)
    theirs.load_state_dict(ours.state_dict())


def test_attention_to_itself_in_one_product() -> None:
    ours, theirs, (x, *_) = pair()
    expected = theirs(x, x, x)[0]
    torch.testing.assert_close(ours(x), expected, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(ours(x, x), expected, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(ours(x, x * 1, x * 1), expected, rtol=1e-5, atol=1e-5)


def test_causal_and_given_pairs_are_torchs_attn_mask() -> None:
    ours, theirs, (x, *_) = pair()
    allowed = torch.ones(5, 5).tril().bool()
    expected = theirs(x, x, x, attn_mask=~allowed)[0]
    torch.testing.assert_close(ours(x, use_causal_mask=True), expected, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(ours(x, attention_mask=allowed), expected, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(ours(x, attention_mask=allowed.expand(2, 5, 5)), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("scores", [False, True])
def test_a_query_with_no_key_left_gets_the_bias_alone(scores: bool) -> None:
    ours, _, (query, value, key) = pair()
    nn.init.normal_(ours.out_proj.bias)
    nothing = torch.zeros(2, 4, dtype=torch.bool)
    value = torch.full_like(value, float("nan")).requires_grad_()
    found = ours(query, with_mask(value * 1, nothing), key, return_attention_scores=scores)
    y = found[0] if scores else found
    torch.testing.assert_close(y, ours.out_proj.bias.expand_as(y))
    y.sum().backward()
    assert all(bool(p.grad.isfinite().all()) for p in ours.parameters() if p.grad is not None)
    assert not bool(value.grad.any())


def test_other_sizes_of_values_and_outputs() -> None:
    layer = MultiHeadAttention(3, 2, 5, output_shape=7, use_bias=False)
    y, scores = layer(torch.randn(2, 4, 6), return_attention_scores=True)
    assert (y.shape, scores.shape) == ((2, 4, 7), (2, 3, 4, 4))
    assert {k: tuple(v.shape) for k, v in layer.state_dict().items()} == {
        "in_proj_weight": (6 + 6 + 15, 6),
        "out_proj.weight": (7, 15),
    }


def test_arrays_are_keras_kernels() -> None:
    layer = MultiHeadAttention(2, 3, 4)
    x = torch.randn(2, 5, 6)
    layer(x)
    arrays = layer.get_weights()
    shapes = [(6, 2, 3), (2, 3), (6, 2, 3), (2, 3), (6, 2, 4), (2, 4), (2, 4, 6), (6,)]
    assert [a.shape for a in arrays] == shapes
    q, k, v = (
        np.einsum("btc,cnh->bnth", x.numpy(), arrays[i]) + arrays[i + 1][None, :, None] for i in (0, 2, 4)
    )  # Keras' equations
    products = np.exp(np.einsum("bnqh,bnth->bnqt", q, k) / np.sqrt(3))
    heads = np.einsum("bnqt,bntw->bqnw", products / products.sum(-1, keepdims=True), v)
    expected = np.einsum("bqnw,nwc->bqc", heads, arrays[6]) + arrays[7]
    np.testing.assert_allclose(layer(x).detach().numpy(), expected, rtol=1e-4, atol=1e-5)


def test_each_projection_is_filled_as_a_matrix_of_its_own() -> None:
    torch.manual_seed(0)
    layer = MultiHeadAttention(4, 16)
    layer(torch.zeros(1, 2, 64))
    bound = (6 / 128) ** 0.5  # Glorot's for 64 to 64
    assert 0.95 * bound < float(layer.in_proj_weight.detach().abs().max()) <= bound


def test_in_a_sequential_and_in_a_functional_model(tmp_path: Any) -> None:
    chain = Sequential([MultiHeadAttention(2, 3, input_shape=(None, 6))]).eval()
    q, v = Input((None, 6)), Input((None, 5))
    model = Model([q, v], MultiHeadAttention(2, 3)(q, v, use_causal_mask=True)).eval()
    x, y = torch.randn(2, 4, 6), torch.randn(2, 4, 5)
    for network, inputs in ((chain, (x,)), (model, (x, y))):
        expected = network(*inputs)
        network.save(tmp_path / "m")
        torch.testing.assert_close(Model.load(tmp_path / "m")(*inputs), expected, rtol=0, atol=0)


def test_what_does_not_fit_is_refused() -> None:
    layer, x = MultiHeadAttention(2, 3), torch.zeros(2, 4, 6)
    layer(x)
    with pytest.raises(ShapeError, match="attention_mask"):
        layer(x, attention_mask=torch.ones(4, 3))
    with pytest.raises(ShapeError, match="mask"):
        layer(x, x * 1, value_mask=torch.ones(2, 3))
    with pytest.raises(ShapeError, match="built for 6 channels"):
        layer(x, x[..., :5])
    with pytest.raises(ShapeError, match="cannot put these together"):
        layer(x, x[:, :3], x)
    with pytest.raises(ConfigError, match="num_heads"):
        MultiHeadAttention(0, 3)


def test_dropout_in_training_only() -> None:
    layer, x = MultiHeadAttention(2, 3, dropout=0.5), torch.randn(2, 20, 6)
    assert bool((layer(x, return_attention_scores=True)[1] == 0).any())
    assert not torch.equal(layer(x), layer(x))
    layer.eval()
    assert torch.equal(layer(x), layer(x))
