"""The mask of what a window sliding over time makes: of convolutions and poolings.

B batch, T time.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor


def window_mask(mask: Tensor, reach: int, stride: int, padding: str) -> Tensor:
    """Which outputs are real, (B, T) -> (B, T'), for windows over ``reach`` steps that start ``stride`` apart.

    With ``valid`` padding those of windows wholly real; with ``causal`` those whose last step is; with ``same`` those
    with a real step among the ``stride`` steps they stand for. A sequence padded on the right thus has as many real
    outputs as it has alone.

    >>> import torch
    >>> mask = torch.tensor([[True, True, True, False, False]])
    >>> window_mask(mask, 2, 1, "valid"), window_mask(mask, 2, 2, "same")
    (tensor([[ True,  True, False, False]]), tensor([[ True,  True, False]]))
    """
    if padding == "valid":
        return mask.unfold(1, reach, stride).all(-1)
    if stride == 1:
        return mask
    if padding == "causal":
        return mask[:, ::stride]
    return F.pad(mask, (0, -mask.shape[1] % stride)).unfold(1, stride, stride).any(-1)
