"""Arrays in Keras' layout are views that write through."""

from __future__ import annotations

import torch

from corecur.layers.keras_weight import permuted


def test_writing_fills_the_tensor_behind() -> None:
    tensor = torch.zeros(2, 3)
    weight = permuted("kernel", tensor, (1, 0))
    values = torch.arange(6.0).view(3, 2)
    weight.write(values)
    assert torch.equal(tensor, values.t())
    assert torch.equal(weight.read(), values)
