"""What the layers are compared with: the formulas as loops over NumPy float64 arrays, channels last.

B batch, S… spatial axes, C channels in, F filters, k… kernel, G groups.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

Array = np.ndarray[Any, Any]
Numbers = tuple[int, ...]


def ends(size: int, reach: int, stride: int, padding: str) -> tuple[int, int]:
    """Zeros before and after an axis, as Keras documents its three paddings."""
    if padding == "valid":
        return 0, 0
    if padding == "causal":
        return reach - 1, 0
    outputs = size // stride + (size % stride > 0)
    total = max(0, (outputs - 1) * stride + reach - size)
    return total // 2, total - total // 2


def convolve(x: Array, w: Array, *, strides: Numbers, dilation: Numbers, padding: str, groups: int = 1) -> Array:
    """Cross-correlation of x (B, S…, C) with w (F, C/G, k…): one output value at a time."""
    kernel = w.shape[2:]
    reach = [(k - 1) * d + 1 for k, d in zip(kernel, dilation, strict=True)]
    sides = [ends(*a, padding) for a in zip(x.shape[1:-1], reach, strides, strict=True)]
    x = np.pad(x, [(0, 0), *sides, (0, 0)])
    sizes = [(n - r) // s + 1 for n, r, s in zip(x.shape[1:-1], reach, strides, strict=True)]
    filters, inside = w.shape[:2]
    y = np.zeros((len(x), *sizes, filters))
    for place in np.ndindex(*sizes):
        for f in range(filters):
            first = f // (filters // groups) * inside
            for tap in np.ndindex(*kernel):
                at = tuple(p * s + t * d for p, s, t, d in zip(place, strides, tap, dilation, strict=True))
                values = x[(slice(None), *at, slice(first, first + inside))]  # (B, C/G)
                y[(slice(None), *place, f)] += values @ w[(f, slice(None), *tap)]
    return y


def pool(x: Array, *, size: Numbers, strides: Numbers, padding: str, reduce: Callable[..., Array]) -> Array:
    """Windows of x (B, S…, C) reduced by ``reduce``; what lies outside x does not count."""
    sides = [ends(*a, padding) for a in zip(x.shape[1:-1], size, strides, strict=True)]
    sizes = [(n + sum(e) - k) // s + 1 for n, e, k, s in zip(x.shape[1:-1], sides, size, strides, strict=True)]
    y = np.zeros((len(x), *sizes, x.shape[-1]))
    for place in np.ndindex(*sizes):
        starts = [p * s - e[0] for p, s, e in zip(place, strides, sides, strict=True)]
        window = tuple(slice(max(a, 0), a + k) for a, k in zip(starts, size, strict=True))
        y[(slice(None), *place)] = reduce(x[(slice(None), *window)], axis=tuple(range(1, x.ndim - 1)))
    return y


def draw(*shape: int, seed: int = 0) -> Array:
    """Normal float64 numbers."""
    return np.random.default_rng(seed).normal(size=shape)


def tensor(values: Array) -> Tensor:
    """The same numbers as a float64 tensor."""
    return torch.from_numpy(np.ascontiguousarray(values))


def first(x: Tensor) -> Tensor:
    """(B, S…, C) as torch's layers want it, (B, C, S…)."""
    return x.movedim(-1, 1)


def last(x: Tensor) -> Tensor:
    """And back."""
    return x.movedim(1, -1)


def built(layer: Any, x: Tensor) -> Any:
    """The layer built for inputs like x, in x's dtype, with every weight drawn anew, so that none is 0 or 1."""
    layer(x.float()[:1] if x.ndim else x.float())
    layer.to(x.dtype)
    generator = torch.Generator().manual_seed(7)
    with torch.no_grad():
        for name, weight in [*layer.named_parameters(), *layer.named_buffers()]:
            if weight.is_floating_point():
                weight.copy_(torch.rand(weight.shape, generator=generator, dtype=weight.dtype) + 0.5)
                if "running" not in name:
                    weight -= 1.0
    return layer
