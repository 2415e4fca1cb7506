"""Layers in a row that one native call computes: Conv2D, BatchNormalization as it is in inference, activation, pooling.

B batch, H × W positions, C channels, F filters, P × Q positions left after pooling.

Nothing that can be seen changes: a chain ends before a layer that has hooks or penalises its output, and where no
native kernel takes it, its layers run one by one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from corecur.layers.activation import Activation, ReLU
from corecur.layers.conv_block import native_activation
from corecur.layers.masks import mask_of
from corecur.layers.norm import BatchNormalization
from corecur.layers.plain import hooked_everywhere, is_plain
from corecur.layers.pool import AveragePooling2D, MaxPooling2D

#: The longest chain: convolution, normalisation, activation, pooling.
LONGEST = 4
_POOLS: dict[type[nn.Module], str] = {MaxPooling2D: "max", AveragePooling2D: "average"}


@dataclass
class Chain:
    """A convolution and what was found behind it."""

    activation: str | None
    norm: BatchNormalization | None = None
    pool: str = ""
    same: bool = False
    layers: int = 1

    def takes(self, layer: Any) -> bool:
        """Whether one more layer goes with it, which it then holds."""
        kind, linear = type(layer), self.activation == "linear"
        if kind in _POOLS and layer._size == layer._strides == (2, 2):
            self.pool, self.same = _POOLS[kind], not layer._valid
        elif not linear:
            return False
        elif kind is BatchNormalization and self.norm is None and not (layer.training and layer.trainable):
            self.norm = layer
        elif kind is Activation and native_activation(layer._activate) is not None:
            self.activation = native_activation(layer._activate)
        elif kind is ReLU and layer._plain and layer.max_value is None:
            self.activation = "relu"
        else:
            return False
        self.layers += 1
        return True

    def weights(self, conv: Any) -> tuple[Tensor, Tensor | None]:
        """Those of the convolution, with the normalisation in them."""
        return (conv.weight, conv.bias) if self.norm is None else _folded(self.norm, conv.weight, conv.bias)


def run_chain(layers: Sequence[Any], x: Any) -> tuple[Tensor, int] | None:
    """The output (B, P, Q, F) of the first layers of a row that starts with a Conv2D, and how many they are.

    None where it is no more than one layer, or where torch runs them.

    >>> from corecur.layers.conv import Conv2D
    >>> layers = [Conv2D(16, 3, activation="relu", input_shape=(9, 9, 1)), MaxPooling2D(2)]
    >>> run_chain(layers, torch.zeros(2, 9, 9, 1)) is None  # not built yet
    True
    """
    if torch.compiler.is_compiling():
        return None
    conv = layers[0]
    if type(x) not in (Tensor, nn.Parameter) or mask_of(x) is not None or not is_plain(conv) or hooked_everywhere():
        return None
    conv.check_input(x.shape)
    chain = chain_of(layers, x.shape)
    if chain.layers == 1:
        return None
    y = conv.run_native(x, *chain.weights(conv), activation=chain.activation or "linear", pool=chain.pool)
    return None if y is None else (y, chain.layers)


def chain_of(layers: Sequence[Any], shape: Sequence[int]) -> Chain:
    """A convolution that reads this shape, and what follows it and can be computed with it."""
    chain = _following(layers)
    if chain.same and any(size % 2 for size in _sizes(layers[0], shape)):
        chain.pool, chain.layers = "", chain.layers - 1  # windows that look past the end
    return chain


def _following(layers: Sequence[Any]) -> Chain:
    chain = Chain(layers[0]._native_activation)
    if chain.activation is None:  # an activation that the kernels do not know
        return chain
    for layer in layers[1:LONGEST]:
        if not is_plain(layer) or not chain.takes(layer) or chain.pool:
            break
    return chain


def _sizes(conv: Any, shape: Sequence[int]) -> tuple[int, int]:
    """Rows and columns of the convolution's output."""
    kernel, strides, (top, bottom, left, right), dilation = conv.geometry(shape)
    rows, columns = shape[1] + top + bottom, shape[2] + left + right
    found = [
        (size - (k - 1) * d - 1) // s + 1
        for size, k, d, s in zip((rows, columns), kernel, dilation, strides, strict=True)
    ]
    return found[0], found[1]


def _folded(norm: BatchNormalization, weight: Tensor, bias: Tensor | None) -> tuple[Tensor, Tensor]:
    """Weights that give what normalising by the running statistics makes of the convolution's output."""
    scale = torch.rsqrt(norm.running_var + norm.epsilon)  # (F,)
    if norm.weight is not None:
        scale = scale * norm.weight
    shift = -norm.running_mean if bias is None else bias - norm.running_mean
    shift = shift * scale
    return weight * scale.view(-1, 1, 1, 1), shift if norm.bias is None else shift + norm.bias
