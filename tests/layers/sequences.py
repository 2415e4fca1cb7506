"""Recurrent layers of every kind, and what each row of a padded batch gives when it runs alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from corecur.layers import GRU, LSTM, RNN, Bidirectional, GRUCell, Layer, LSTMCell, SimpleRNN, SimpleRNNCell


class OwnCell(Layer):
    """A user's cell with two states, one of them a count of its steps."""

    def __init__(self, units: int, **options: Any) -> None:
        super().__init__(**options)
        self.units = units
        self.state_size = [units, 1]

    def build(self, input_shape: Any) -> None:
        self.kernel = self.add_weight((self.units, input_shape[-1]))
        self.recurrent = self.add_weight((self.units, self.units), initializer="orthogonal")

    def forward(self, x: Tensor, states: list[Tensor]) -> tuple[Tensor, list[Tensor]]:
        h = torch.tanh(x @ self.kernel.T + states[0] @ self.recurrent.T + 0.1 * states[1])
        return h, [h, states[1] + 1]


MAKERS: dict[str, Callable[..., Any]] = {
    "simple tanh": lambda **o: SimpleRNN(4, **o),
    "simple relu": lambda **o: SimpleRNN(4, "relu", **o),
    "simple softsign": lambda **o: SimpleRNN(4, "softsign", **o),
    "lstm": lambda **o: LSTM(4, **o),
    "lstm without bias": lambda **o: LSTM(4, use_bias=False, **o),
    "lstm peephole": lambda **o: LSTM(4, peephole=True, **o),
    "lstm projection": lambda **o: LSTM(4, projection=3, **o),
    "lstm layer norm": lambda **o: LSTM(4, layer_norm=True, **o),
    "lstm zoneout": lambda **o: LSTM(4, zoneout=(0.1, 0.4), **o),
    "lstm own function": lambda **o: LSTM(4, activation=torch.sin, **o),
    "gru": lambda **o: GRU(4, **o),
    "gru classic": lambda **o: GRU(4, reset_after=False, **o),
    "gru hard": lambda **o: GRU(4, recurrent_activation="hard_sigmoid", **o),
    "stack": lambda **o: RNN([LSTMCell(4), GRUCell(3), SimpleRNNCell(2)], **o),
    "own cell": lambda **o: RNN(OwnCell(4), **o),
    "mixed stack": lambda **o: RNN([LSTMCell(3), OwnCell(4)], **o),
}

#: Left, right and interior padding, lengths 0 and 1, and a full row.
MASK = torch.tensor(
    [[0, 0, 1, 1, 1], [1, 1, 1, 0, 0], [1, 0, 1, 0, 1], [0, 0, 0, 0, 0], [0, 0, 1, 0, 0], [1, 1, 1, 1, 1]],
    dtype=torch.bool,
)


def made(kind: str, *, features: int = 3, both: bool = False, seed: int = 0, **options: Any) -> Any:
    """A built float64 layer in eval mode, every weight of it random."""
    torch.manual_seed(seed)
    layer = MAKERS[kind](**options)
    if both:
        layer = Bidirectional(layer)
    layer(torch.zeros(1, 2, features))
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.uniform_(-0.9, 0.9)
    return layer.double().eval()


def poisoned(mask: Tensor, features: int = 3, *, seed: int = 0) -> Tensor:
    """A float64 batch with NaN wherever the mask is False."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn((*mask.shape, features), generator=generator, dtype=torch.float64)
    return x.masked_fill(~mask[..., None], float("nan"))


def listed(result: Any) -> list[Tensor]:
    """Outputs and states in one list."""
    return list(result) if isinstance(result, (tuple, list)) else [result]


def total(outputs: Tensor, states: list[Tensor], real: Tensor | None = None) -> Tensor:
    """A scalar of everything, of the real steps where there are steps."""
    kept = outputs if real is None else outputs.masked_fill(~real[..., None], 0)
    return kept.sin().sum() + sum((s.sin() * (k + 1)).sum() for k, s in enumerate(states))


def assert_exact(layer: nn.Module, x: Tensor, mask: Tensor, *, tolerance: float = 1e-7) -> None:
    """Outputs, states and gradients of the batch are those of each row alone; the layer returns all of them.

    The tolerance is for float64, in which torch still takes the hard sigmoid's slope from a float32 constant.
    """
    x = x.clone().requires_grad_()
    outputs, *states = listed(layer(x, mask=mask))
    parameters = list(layer.parameters())
    dx, *dw = torch.autograd.grad(total(outputs, states, mask), [x, *parameters])
    expected = [torch.zeros_like(p) for p in parameters]
    close: dict[str, Any] = {"rtol": tolerance, "atol": tolerance}
    for row, real in enumerate(mask):
        alone = x[row : row + 1, real].detach().requires_grad_()
        y, *last = listed(layer(alone))
        torch.testing.assert_close(outputs[row : row + 1, real], y, **close)
        for batched, single in zip(states, last, strict=True):
            torch.testing.assert_close(batched[row : row + 1], single, **close)
        found = torch.autograd.grad(total(y, last), [alone, *parameters], allow_unused=True, materialize_grads=True)
        torch.testing.assert_close(dx[row : row + 1, real], found[0], **close)
        expected = [a + b for a, b in zip(expected, found[1:], strict=True)]
    assert not dx[~mask].any()
    for ours, theirs in zip(dw, expected, strict=True):
        torch.testing.assert_close(ours, theirs, **close)
