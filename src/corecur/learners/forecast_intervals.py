"""Prediction intervals brought to their level: widened or narrowed by what a validation part shows.

B batch, H horizon, C columns, Q quantiles in pairs around the median, P pairs, the widest first.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

# Targets of a column from which a share can be measured, and how far a factor may go.
_LEAST_VALUES = 30
_BOUNDS = (0.2, 5.0)
_TINY = 1e-9


def fit_widening(answers: Tensor, targets: Tensor, quantiles: Sequence[float]) -> Tensor:
    """The factor for each column's intervals, (C, P): 1 where there are too few values to tell.

    Answers (B, H, C, Q) and targets (B, H, C). A target's distance from the median, in parts of the quantile's, is how
    much wider the interval had to be to hold it; the factor is the quantile of these distances at the interval's
    level. This is conformalised quantile regression (Romano et al. 2019) with a factor in place of a summand, so that
    intervals that differ in width keep doing so. Its guarantee holds where the future is as the validation part was.

    >>> targets = torch.linspace(-1, 1, 101).view(-1, 1, 1)
    >>> answers = torch.tensor([-0.4, 0.0, 0.4]).expand(101, 1, 1, 3)
    >>> fit_widening(answers, targets, (0.1, 0.5, 0.9))
    tensor([[2.0500]])
    """
    count, columns = answers.shape[0] * answers.shape[1], answers.shape[2]
    pairs = len(quantiles) // 2
    if count < _LEAST_VALUES:
        return torch.ones(columns, pairs)
    middle = answers[..., pairs : pairs + 1]
    below = (middle - targets.unsqueeze(-1)) / (middle - answers[..., :pairs]).clamp_min(_TINY)  # (B, H, C, P)
    above = (targets.unsqueeze(-1) - middle) / (answers[..., pairs + 1 :].flip(-1) - middle).clamp_min(_TINY)
    apart = torch.maximum(below, above).flatten(0, 1).sort(dim=0).values  # (B·H, C, P)
    factors = []
    for pair in range(pairs):
        level = quantiles[-1 - pair] - quantiles[pair]
        place = min(count - 1, -int(-level * (count + 1) // 1) - 1)  # the ⌈level · (n + 1)⌉-th smallest
        factors.append(apart[place, :, pair])
    return torch.stack(factors, 1).clamp(*_BOUNDS)  # (C, P)


def widen(answers: Tensor, factors: Tensor) -> Tensor:
    """Answers (B, H, C, Q) with each pair's distance from the median times its factor (C, P); pairs stay nested.

    >>> widen(torch.tensor([-1.0, 0.0, 2.0]).view(1, 1, 1, 3), torch.tensor([[2.0]])).flatten()
    tensor([-2.,  0.,  4.])
    """
    pairs = factors.shape[1]
    middle = answers[..., pairs : pairs + 1]
    inner_first = factors.flip(1)  # (C, P)
    up = (answers[..., pairs + 1 :] - middle) * inner_first
    down = (middle - answers[..., :pairs]).flip(-1) * inner_first
    up, down = (part.cummax(-1).values if pairs > 1 else part for part in (up, down))
    return torch.cat([middle - down.flip(-1), middle, middle + up], -1)
