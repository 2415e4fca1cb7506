"""Class activation maps: which steps of a series speak for which class.

B batch, T time, T' steps that the network takes of it, C channels, F features, K classes.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from corecur.engine.evaluating import evaluating
from corecur.layers.conv import Conv1D
from corecur.layers.dense import Dense
from corecur.layers.masks import mask_of
from corecur.layers.pool import GlobalAveragePooling1D
from corecur.models import Model


@torch.no_grad()
def class_activation(network: Model, inputs: Tensor) -> Tensor | None:
    """What each step adds to each class, against the mean of the classes: (B, T, C) -> (B, T, K).

    Where a linear layer reads the mean over time of the features f_t (F), the logit of class k is the mean over time
    of w_k · f_t + b_k: exactly what each step adds (Zhou et al. 2016, "Learning deep features for discriminative
    localization"). Of several members the mean is taken. Steps beyond a mask are 0. None for a network whose answer
    does not rest on such means alone, as one with a recurrent branch.

    >>> from corecur.learners.series_networks import SeriesSizes, build_members
    >>> network, _ = build_members(["fcn"], channels=1, classes=3, sizes=SeriesSizes(filters=4))
    >>> class_activation(network, torch.zeros(2, 10, 1)).shape
    torch.Size([2, 10, 3])
    """
    pools = [module for module in network.modules() if isinstance(module, GlobalAveragePooling1D)]
    heads = [module for module in network.modules() if isinstance(module, Dense)]
    seen: dict[nn.Module, Tensor] = {}

    def keep(module: nn.Module, args: tuple[Tensor, ...], output: Tensor) -> None:
        seen[module] = args[0].float()  # (B, T', F)

    hooks = [pool.register_forward_hook(keep) for pool in pools]
    try:
        with evaluating(network):
            network(inputs)
    finally:
        for hook in hooks:
            hook.remove()
    if not pools or [seen[pool].shape[-1] for pool in pools] != [head.weight.shape[1] for head in heads]:
        return None
    maps = [_map(seen[pool], head) for pool, head in zip(pools, heads, strict=True)]
    mean = torch.stack(maps).mean(0)  # (B, T', K)
    skipped = max((m._strides[0] for m in network.modules() if isinstance(m, Conv1D)), default=1)
    mean = mean.repeat_interleave(skipped, dim=1)[:, : inputs.shape[1]]  # (B, T, K)
    mask = mask_of(inputs)
    return mean if mask is None else mean.masked_fill(~mask[..., None], 0.0)


def _map(features: Tensor, head: Dense) -> Tensor:
    """(B, T', F) -> (B, T', K), its mean over the classes taken off."""
    scores = nn.functional.linear(features, head.weight.float(), None if head.bias is None else head.bias.float())
    return scores - scores.mean(-1, keepdim=True)
