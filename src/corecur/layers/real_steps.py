"""The real steps of a masked batch, moved to the front of their rows and back, without a loop.

B batch, T time, L places: as many as the longest row has real steps (at least 1); C features.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from corecur.layers.masks import lengths_of


@dataclass(frozen=True)
class RealSteps:
    """Where the real steps of each row are.

    >>> steps = find_real_steps(torch.tensor([[False, True, True], [False, False, False]]))
    >>> steps.to_front(torch.tensor([[7.0, 1.0, 2.0], [7.0, 7.0, 7.0]])[..., None])[..., 0]
    tensor([[1., 2.],
            [0., 0.]])
    """

    mask: Tensor
    #: (B,)
    lengths: Tensor
    #: L.
    width: int
    #: (B, L): the step that comes to each place; None where the real steps stand in front already.
    order: Tensor | None

    def to_front(self, x: Tensor) -> Tensor:
        """(B, T, …) -> (B, L, …): each row's real steps in order, then zeros, whatever the padding held."""
        if self.order is None:
            front = x[:, : self.width]
        else:
            rows = torch.arange(len(x), device=x.device)[:, None] * x.shape[1]  # (B, 1)
            front = x.flatten(0, 1).index_select(0, (rows + self.order).flatten()).view(len(x), -1, *x.shape[2:])
        padding = torch.arange(self.width, device=x.device) >= self.lengths[:, None]  # (B, L)
        return front.masked_fill(padding.view(*padding.shape, *[1] * (x.ndim - 2)), 0)

    def to_places(self, y: Tensor, *, zeros: bool = False) -> Tensor:
        """(B, L, …) -> (B, T, …): at masked steps the last real one again, zeros before the first (or everywhere)."""
        count = self.mask.cumsum(1)  # (B, T): real steps so far
        empty = ~self.mask if zeros else count == 0
        places = (count - 1).clamp(min=0)
        rows = torch.arange(len(y), device=y.device)[:, None] * y.shape[1]
        spread = y.flatten(0, 1).index_select(0, (rows + places).flatten()).view(*self.mask.shape, *y.shape[2:])
        return spread.masked_fill(empty.view(*empty.shape, *[1] * (y.ndim - 2)), 0) if bool(empty.any()) else spread


def find_real_steps(mask: Tensor | None) -> RealSteps | None:
    """The real steps of a mask (B, T); None where every step is real.

    >>> find_real_steps(torch.ones(2, 3, dtype=torch.bool)) is None
    True
    """
    if mask is None or bool(mask.all()):
        return None
    lengths = lengths_of(mask)  # (B,)
    width = max(1, int(lengths.max()))
    in_front = torch.arange(mask.shape[1], device=mask.device) < lengths[:, None]  # (B, T)
    if torch.equal(in_front, mask):
        return RealSteps(mask, lengths, width, None)
    order = torch.argsort(mask, dim=1, descending=True, stable=True)[:, :width]  # (B, L)
    return RealSteps(mask, lengths, width, order)
