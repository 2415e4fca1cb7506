from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from corecur.errors import ConfigError, ShapeError
from corecur.layers.conv_lstm import ConvLSTM2D
from corecur.layers.lstm import LSTM
from corecur.layers.masks import mask_of, with_mask


def alone(layer: ConvLSTM2D, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """The equations step by step on whole windows (B, T, H, W, C), in float64, "same" padding and stride 1."""
    weights = [w.detach().double() for w in (layer.weight_ih, layer.weight_hh, layer.bias)]
    x = x.detach().double().permute(0, 1, 4, 2, 3)  # (B, T, C, H, W)
    h = c = torch.zeros(len(x), layer.filters, *x.shape[-2:], dtype=torch.float64)
    outputs = []
    for t in range(x.shape[1]):
        gates = F.conv2d(x[:, t], weights[0], weights[2], padding="same") + F.conv2d(h, weights[1], padding=1)
        i, f, g, o = gates.chunk(4, 1)
        c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
        h = torch.sigmoid(o) * torch.tanh(c)
        outputs.append(h)
    return tuple(s.movedim(-3, -1) for s in (torch.stack(outputs, 1), h, c))  # type: ignore[return-value]


def test_it_is_the_equations() -> None:
    layer, x = ConvLSTM2D(3, 3, padding="same", return_sequences=True, return_state=True), torch.randn(2, 4, 5, 6, 2)
    for ours, wanted in zip(layer(x), alone(layer, x), strict=True):
        torch.testing.assert_close(ours.double(), wanted, atol=1e-5, rtol=1e-5)


def test_pictures_of_one_pixel_are_an_lstm() -> None:
    layer, lstm, x = ConvLSTM2D(3, 1), LSTM(3), torch.randn(2, 4, 1, 1, 2)
    layer(x)
    lstm(x[:, :, 0, 0])
    lstm.set_weights([w.reshape(w.shape[-2:]) if w.ndim == 4 else w for w in layer.get_weights()])
    torch.testing.assert_close(layer(x)[:, 0, 0], lstm(x[:, :, 0, 0]), atol=1e-6, rtol=1e-5)


SIZES = [(1, "valid", 1), (2, "same", 1), (2, "valid", 1), (1, "valid", 2)]


@pytest.mark.parametrize("strides, padding, dilation", SIZES)
def test_sizes_are_those_of_the_convolution(strides: int, padding: str, dilation: int) -> None:
    layer = ConvLSTM2D(2, 3, strides, padding, dilation_rate=dilation, return_sequences=True)  # type: ignore[arg-type]
    y = layer(torch.randn(1, 2, 9, 8, 1))
    reach = 0 if padding == "same" else 2 * dilation
    assert y.shape == (1, 2, -(-(9 - reach) // strides), -(-(8 - reach) // strides), 2)


def test_masked_steps_are_not_there() -> None:
    layer = ConvLSTM2D(2, 3, padding="same", return_sequences=True, return_state=True)
    mask = torch.tensor([[1, 1, 0, 1], [0, 0, 1, 1], [0, 0, 0, 0]]).bool()
    x = torch.randn(3, 4, 4, 5, 1)
    layer(x)
    padded = x.masked_fill(~mask[..., None, None, None], float("nan")).requires_grad_()
    y, h, c = layer(with_mask(padded, mask))
    assert torch.equal(mask_of(y), mask)  # type: ignore[arg-type]
    (y * mask[..., None, None, None]).square().sum().backward()
    together = [p.grad.clone() for p in layer.parameters()]  # type: ignore[union-attr]
    layer.zero_grad()
    for row in range(2):
        piece = x[row : row + 1, mask[row]].requires_grad_()
        y_alone, h_alone, c_alone = layer(piece)
        y_alone.square().sum().backward()
        torch.testing.assert_close(y[row, mask[row]], y_alone[0], atol=1e-6, rtol=1e-5)
        torch.testing.assert_close(torch.stack([h[row], c[row]]), torch.cat([h_alone, c_alone]), atol=1e-6, rtol=1e-5)
        torch.testing.assert_close(padded.grad[row, mask[row]], piece.grad[0], atol=1e-6, rtol=1e-5)  # type: ignore[index]
    assert not h[2].any() and not c[2].any()
    for ours, parameter in zip(together, layer.parameters(), strict=True):
        torch.testing.assert_close(ours, parameter.grad, atol=1e-5, rtol=1e-5)


def test_gradients() -> None:
    layer = ConvLSTM2D(2, 2, padding="same").double()
    x = torch.randn(1, 3, 3, 3, 1, dtype=torch.float64, requires_grad=True)
    layer(x)
    layer.double()
    assert torch.autograd.gradcheck(layer, (x,))


def test_states_go_on_and_in() -> None:
    layer, x = ConvLSTM2D(2, 3, padding="same", return_state=True), torch.randn(1, 6, 4, 4, 1)
    whole = layer(x)
    _, h, c = layer(x[:, :2])
    for ours, wanted in zip(layer(x[:, 2:], initial_state=[h, c]), whole, strict=True):
        torch.testing.assert_close(ours, wanted)
    with pytest.raises(ShapeError, match="initial state"):
        layer(x, initial_state=[h[..., :1], c])


def test_what_is_wrong_is_named() -> None:
    with pytest.raises(ConfigError, match="padding 'full'"):
        ConvLSTM2D(2, 3, padding="full")  # type: ignore[arg-type]
    with pytest.raises(ShapeError, match="5 axes"):
        ConvLSTM2D(2, 3)(torch.zeros(1, 4, 4, 1))


def test_weights_in_keras_order() -> None:
    layer = ConvLSTM2D(2, 3, input_shape=(None, 8, 8, 5))
    layer(torch.zeros(1, 1, 8, 8, 5))
    kernel, recurrent, bias = layer.get_weights()
    assert kernel.shape == (3, 3, 5, 8) and recurrent.shape == (3, 3, 2, 8)
    np.testing.assert_array_equal(bias, [0, 0, 1, 1, 0, 0, 0, 0])  # i, f, c, o: the forget gate starts open
