"""Recurrent layers one upon the other that answer for one row, each on its own thread, some steps behind the one below.

T time, C features, P outputs of a step. Layers between them that do nothing outside training (dropout, noise) go along.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from corecur.kernels.choose import run_stacked
from corecur.kernels.library import second_cache
from corecur.kernels.native_step import worth_threads
from corecur.layers.dropout import Dropout, GaussianDropout, GaussianNoise, SpatialDropout1D
from corecur.layers.gated import GatedLayer
from corecur.layers.masks import mask_of
from corecur.layers.plain import hooked_everywhere, is_plain

# Steps with which no layer could be ahead of the next one for long.
_SHORTEST = 8
_ONLY_IN_TRAINING = (Dropout, SpatialDropout1D, GaussianDropout, GaussianNoise)


def run_stack(layers: Sequence[Any], x: Any) -> tuple[Any, int] | None:
    """What the first layers of a row that starts with a recurrent one make of ``x`` (1, T, C), and how many they are.

    None where fewer than two recurrent layers follow one another, or where the layers are to run one by one: for more
    rows, masked ones, gradients, and little work; and with more weights than a second cache holds, where threads do
    better to share the units of each layer (two of 256 units, 28 steps, two cores of Zen 5: LSTM 1.41 times as fast,
    GRU 1.17; of 512 units 1.1 to 1.26).

    >>> from corecur.layers.lstm import LSTM
    >>> run_stack([LSTM(4), LSTM(4)], torch.zeros(1, 9, 3)) is None  # the first one gives no steps
    True
    """
    if type(x) not in (Tensor, nn.Parameter) or x.ndim != 3 or len(x) != 1 or x.dtype != torch.float32:
        return None
    if layers[0].training:
        return None
    steps = x.shape[1]
    if steps < _SHORTEST or x.is_meta or mask_of(x) is not None or torch.compiler.is_compiling():
        return None
    recurrent = [layer.weights() for layer in layers if isinstance(layer, GatedLayer) and layer.built]
    if len(recurrent) < 2 or not worth_threads(steps, recurrent) or hooked_everywhere():
        return None
    if max(_bytes(weights) for weights in recurrent) > second_cache():
        return None
    stack, passed = _stack(layers)
    if len(stack) < 2:
        return None
    shape = x.shape
    for layer in stack:
        layer.check_input(shape)
        shape = torch.Size((*shape[:2], layer.state_sizes()[0]))
    readings = [layer.reading(x, None, None) for layer in stack]
    found = run_stacked([layer.asked(reading) for layer, reading in zip(stack, readings, strict=True)])
    if found is None:
        return None
    results = [
        layer.result_of(reading, y, last) for layer, reading, (y, last) in zip(stack, readings, found, strict=True)
    ]
    return results[-1], passed


def _bytes(weights: Mapping[str, Tensor]) -> int:
    return 4 * (weights["weight_ih"].numel() + weights["weight_hh"].numel())


def _stack(layers: Sequence[Any]) -> tuple[list[GatedLayer], int]:
    """The recurrent layers at the beginning of a row, and how many layers there are up to the last of them."""
    stack: list[GatedLayer] = []
    passed = 0
    for place, layer in enumerate(layers, 1):
        if layer.training or not is_plain(layer):
            break
        if isinstance(layer, GatedLayer) and layer.is_own() and not layer.go_backwards:
            stack.append(layer)
            passed = place
            if not layer.return_sequences or layer.return_state:
                break
        elif type(layer) not in _ONLY_IN_TRAINING:
            break
    return stack, passed
