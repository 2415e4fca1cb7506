"""A sequence in pieces gives what it gives whole, and keeps less for the way back."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from corecur.kernels.choose import asking_for
from corecur.layers import GRU, LSTM, SimpleRNN

LAYERS: dict[str, Any] = {
    "simple": lambda **o: SimpleRNN(6, **o),
    "lstm": lambda **o: LSTM(6, **o),
    "projected": lambda **o: LSTM(6, projection=3, **o),
    "gru": lambda **o: GRU(6, **o),
    "classic": lambda **o: GRU(6, reset_after=False, **o),
}
STEPS = 50


def passed(layer: Any, x: Tensor, mask: Tensor | None) -> list[Tensor]:
    """Outputs, last states, gradients of the input and of all weights."""
    x = x.clone().requires_grad_()
    torch.manual_seed(3)
    y, *states = layer(x, mask=mask)
    gradients = torch.autograd.grad((y.sin().sum() + sum(s.cos().sum() for s in states)), [x, *layer.parameters()])
    return [y, *states, *gradients]


@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.parametrize("options", [{}, {"recurrent_dropout": 0.3}, {"zoneout": 0.2}], ids=str)
@pytest.mark.parametrize("masked", [False, True])
def test_pieces_are_the_whole(name: str, options: dict[str, Any], masked: bool) -> None:
    torch.manual_seed(1)
    x = torch.randn(4, STEPS, 3)
    mask = torch.arange(STEPS) < torch.tensor([50, 33, 16, 0])[:, None] if masked else None
    whole = LAYERS[name](return_sequences=True, return_state=True, **options)
    whole(x)
    pieces = LAYERS[name](return_sequences=True, return_state=True, recompute=True, **options)
    pieces(x)
    pieces.load_state_dict(whole.state_dict())
    for found, expected in zip(passed(pieces.train(), x, mask), passed(whole.train(), x, mask), strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("kernel", [None, "scripted loop"])
def test_little_is_kept(kernel: str | None) -> None:
    def kept(layer: Any) -> int:
        found: dict[int, int] = {}

        def keep(tensor: Tensor) -> Tensor:
            storage = tensor.untyped_storage()
            found[storage.data_ptr()] = storage.nbytes()
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            layer(x)
        return sum(found.values())

    x = torch.randn(2, 900, 4)
    whole, pieces = LSTM(16, return_sequences=True), LSTM(16, return_sequences=True, recompute=True)
    for layer in (whole, pieces):
        layer(x[:, :1])
    if kernel is None:
        assert kept(pieces) < kept(whole) / 2
        return
    with asking_for(kernel):
        assert kept(pieces) < kept(whole) / 2


def test_without_gradients_nothing_is_done_twice() -> None:
    layer = GRU(5, recompute=True)
    x = torch.randn(3, 40, 2)
    with torch.no_grad():
        torch.testing.assert_close(layer(x), layer(x))
    assert layer.get_config()["recompute"] is True
