"""Series read along another path through time: stretched, warped, cut into pieces; each along a path of its own.

Shapes: B batch, T time, C channels, S segments. Lengths are those of the real steps, which come first.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

#: Terms of a smooth random curve: as many turns as a curve through four knots has.
TERMS = 4


def smooth_curve(draws: Tensor, places: Tensor) -> Tensor:
    """Random curves ``Σ g(k) cos(π k u) · sqrt(2 / 4)``, k = 1 … 4: draws (B, 4) standard normal, places u (B, T).

    Gives (B, T); over all draws the mean is 0 and, averaged over u, the variance 1.

    >>> smooth_curve(torch.zeros(1, 4), torch.tensor([[0.0, 1.0]])).tolist()
    [[0.0, 0.0]]
    """
    terms = torch.arange(1, TERMS + 1, device=places.device, dtype=places.dtype)  # (4,)
    waves = (places[..., None] * (math.pi * terms)).cos()  # (B, T, 4)
    return (waves * draws[:, None]).sum(-1) * math.sqrt(2 / TERMS)


def steps_in(lengths: Tensor, steps: int) -> Tensor:
    """How far along its series each step is, 0 at the first and 1 at the last real one: lengths (B,) -> (B, T).

    >>> steps_in(torch.tensor([3, 1]), 3).tolist()
    [[0.0, 0.5, 1.0], [0.0, 1.0, 1.0]]
    """
    last = (lengths - 1).clamp(min=1)[:, None]
    return (torch.arange(steps, device=lengths.device, dtype=torch.float32) / last).clamp(max=1)


def warped(places: Tensor, curve: Tensor, lengths: Tensor) -> Tensor:
    """Places (B, T) in 0 … 1 after time ran at the speeds ``exp(curve)`` (B, T); the ends stay where they are.

    >>> warped(torch.tensor([[0.0, 0.5, 1.0]]), torch.zeros(1, 3), torch.tensor([3])).tolist()
    [[0.0, 0.5, 1.0]]
    """
    steps = places.shape[1]
    real = torch.arange(1, steps, device=places.device) < lengths[:, None]  # (B, T - 1) steps between real values
    speed = curve[:, 1:].exp() * real
    run = torch.cat([torch.zeros_like(places[:, :1]), speed.cumsum(1)], dim=1)  # (B, T)
    return run / run[:, -1:].clamp(min=torch.finfo(places.dtype).tiny)


def read_at(values: Tensor, places: Tensor, lengths: Tensor) -> Tensor:
    """Values (B, T, C) at places (B, T) in 0 … 1 of their real steps, on the line between neighbours.

    >>> read_at(torch.tensor([[[0.0], [2.0], [9.0]]]), torch.tensor([[0.0, 0.5, 1.0]]), torch.tensor([2])).flatten()
    tensor([0., 1., 2.])
    """
    exact = places * (lengths - 1).clamp(min=0)[:, None]  # (B, T) in steps
    low = exact.floor()
    share = (exact - low)[..., None]
    first, second = low.long(), torch.minimum(low.long() + 1, (lengths - 1).clamp(min=0)[:, None])
    return _at(values, first) * (1 - share) + _at(values, second) * share


def permuted(values: Tensor, order: Tensor, lengths: Tensor) -> Tensor:
    """Values (B, T, C) whose real steps are cut into S segments, put together again in ``order`` (B, S).

    >>> permuted(torch.arange(4.0).view(1, 4, 1), torch.tensor([[1, 0]]), torch.tensor([4])).flatten().tolist()
    [2.0, 3.0, 0.0, 1.0]
    """
    segments = order.shape[1]
    cuts = torch.arange(segments + 1, device=values.device) * lengths[:, None] // segments  # (B, S + 1)
    sizes = cuts.diff(dim=1).gather(1, order)  # (B, S) in the new order
    ends = sizes.cumsum(1)
    steps = torch.arange(values.shape[1], device=values.device).expand(len(values), -1)  # (B, T)
    segment = (steps[..., None] >= ends[:, None]).sum(-1)  # (B, T): S where the step is padding
    inside = segment < segments
    segment = segment.clamp(max=segments - 1)
    before = (ends - sizes).gather(1, segment)
    source = cuts.gather(1, order.gather(1, segment)) + steps - before
    return _at(values, torch.where(inside, source, steps))


def _at(values: Tensor, steps: Tensor) -> Tensor:
    """Values (B, T, C) at whole steps (B, T)."""
    return values.gather(1, steps[..., None].expand(-1, -1, values.shape[2]))
