"""One array of Keras' ``get_weights()``: how it is read from a layer's tensors and written back."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class KerasWeight:
    """An array in Keras' layout; ``read`` makes it out of the layer's tensors, ``write`` fills them from it.

    >>> import torch
    >>> weight = torch.zeros(4, 3)
    >>> permuted("weight", weight, (1, 0)).read().shape
    torch.Size([3, 4])
    """

    name: str
    read: Callable[[], Tensor]
    write: Callable[[Tensor], object]


def permuted(name: str, tensor: Tensor, order: tuple[int, ...] | None) -> KerasWeight:
    """A tensor whose axes stand in another order in Keras; None: as it is."""
    view = tensor if order is None else tensor.permute(order)
    return KerasWeight(name, lambda: view, view.copy_)
