"""LSTM: against the reference with masks, its variants against torch, its options."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from corecur.kernels.reference import backward, forward
from corecur.layers import LSTM, RNN, LSTMCell

from .sequences import MASK, listed, made, poisoned


def test_it_is_the_reference() -> None:
    layer = made("lstm", return_sequences=True, return_state=True)
    x = poisoned(MASK)
    weights = {name.removesuffix("_l0"): p.detach().numpy() for name, p in layer.named_parameters()}
    done = forward("lstm", x.numpy(), weights, mask=MASK.numpy())
    leaf = x.clone().requires_grad_()
    outputs, h, c = listed(layer(leaf, mask=MASK))
    for ours, expected in ((outputs, done.outputs), (h, done.state[0]), (c, done.state[1])):
        np.testing.assert_allclose(ours.detach(), expected, atol=1e-12)
    (outputs.sin().sum() + h.sum() + c.square().sum()).backward()
    dx, _, dw = backward(done, np.cos(done.outputs), [np.ones_like(done.state[0]), 2 * done.state[1]])
    np.testing.assert_allclose(leaf.grad, dx, atol=1e-11)
    for name, gradient in dw.items():
        np.testing.assert_allclose(getattr(layer, f"{name}_l0").grad, gradient, atol=1e-11)


def test_a_projection_is_that_of_torch() -> None:
    x = torch.randn(3, 6, 5, dtype=torch.float64)  # float64, in which torch does not warn that oneDNN has none
    layer, other = LSTM(7, projection=4, return_sequences=True, return_state=True), nn.LSTM(5, 7, proj_size=4)
    layer(x.float())
    assert {n: v.shape for n, v in layer.state_dict().items()} == {n: v.shape for n, v in other.state_dict().items()}
    layer.load_state_dict(other.state_dict())
    y, h, c = layer.double()(x)
    expected, (h2, c2) = other.double()(x.transpose(0, 1))
    torch.testing.assert_close((y, h, c), (expected.transpose(0, 1), h2[0], c2[0]))


def test_peepholes_of_zero_are_none_and_a_plain_lstms_weights_load() -> None:
    x = torch.randn(2, 5, 3)
    layer, plain = LSTM(4, peephole=True), LSTM(4)
    layer(x)
    plain(x)
    found = layer.load_state_dict(plain.state_dict(), strict=False)
    assert sorted(found.missing_keys) == ["weight_cf_l0", "weight_ci_l0", "weight_co_l0"]
    torch.testing.assert_close(layer(x), plain(x))
    with torch.no_grad():
        layer.weight_ci_l0.fill_(1.0)
    assert not torch.allclose(layer(x), plain(x))


@pytest.mark.parametrize(
    "options", [{"peephole": True}, {"layer_norm": True}, {"projection": 2}, {"peephole": True, "projection": 2}, {}]
)
def test_a_layer_is_its_cell_over_time(options: dict[str, object]) -> None:
    x = torch.randn(2, 5, 3)
    layer, cell = LSTM(4, return_sequences=True, **options), LSTMCell(4, **options)  # type: ignore[arg-type]
    layer(x)
    cell(x[:, 0])
    cell.load_state_dict({name.removesuffix("_l0"): value for name, value in layer.state_dict().items()})
    states, outputs = None, []
    for t in range(5):
        output, states = cell(x[:, t], states)
        outputs.append(output)
    torch.testing.assert_close(torch.stack(outputs, 1), layer(x))
    torch.testing.assert_close(RNN(cell, return_sequences=True)(x), layer(x))


def test_layer_normalisation_holds_back_large_inputs() -> None:
    torch.manual_seed(0)
    layer, x = LSTM(8, layer_norm=True, return_sequences=True), torch.randn(2, 6, 3)
    torch.testing.assert_close(layer(1000 * x), layer(100 * x), rtol=1e-3, atol=1e-4)


def test_long_sequences_keep_their_cell_through_padding() -> None:
    layer = made("lstm", return_state=True).float()
    x = torch.randn(2, 500, 3)
    mask = torch.zeros(2, 500, dtype=torch.bool)
    mask[0, :3] = True
    mask[1] = True
    _, h, c = layer(x, mask=mask)
    _, h3, c3 = layer(x[:1, :3])
    torch.testing.assert_close((h[:1], c[:1]), (h3, c3), rtol=0, atol=1e-6)
