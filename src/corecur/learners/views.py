"""Test-time views: the answer to a picture, averaged over copies moved by a pixel and, where that is learnt, mirrored.

B batch, H height, W width, C channels, K classes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
import torch.nn.functional as F
from torch import Tensor

# How much an answer counts: the picture itself as much as its two shifted copies together.
_SHIFTED_WEIGHT = 0.5


def average_over_views(network: Callable[[Tensor], Tensor], inputs: Tensor, views: str) -> Tensor:
    """Probabilities (B, K) in float32 for inputs (B, H, W, C); ``views`` is one, shifted or shifted-mirrored.

    >>> average_over_views(lambda x: x.mean((1, 2)), torch.ones(2, 4, 4, 3), "shifted-mirrored")
    tensor([[1., 1., 1.],
            [1., 1., 1.]])
    """
    weighted = [(weight, network(view).float()) for weight, view in _views(inputs, views)]
    answers = torch.stack([weight * answer for weight, answer in weighted])  # (views, B, K)
    return answers.sum(0) / sum(weight for weight, _ in weighted)


def _views(x: Tensor, views: str) -> Iterator[tuple[float, Tensor]]:
    kinds = [(1.0, x)]
    if views != "one":
        _, height, width, _ = x.shape
        mode = "reflect" if min(height, width) > 1 else "replicate"
        wide = F.pad(x.permute(0, 3, 1, 2), (1, 1, 1, 1), mode=mode).permute(0, 2, 3, 1)  # (B, H+2, W+2, C)
        kinds.append((_SHIFTED_WEIGHT, wide[:, :height, :width]))
        kinds.append((_SHIFTED_WEIGHT, wide[:, 2:, 2:]))
    for weight, view in kinds:
        yield weight, view.contiguous()
        if views == "shifted-mirrored":
            yield weight, view.flip(2)
