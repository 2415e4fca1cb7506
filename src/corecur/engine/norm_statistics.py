"""The running statistics of batch normalisations, counted anew: what averaged weights need, whose inputs are others."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from corecur.layers.norm import BatchNormalization


@contextlib.contextmanager
def counting_statistics(network: nn.Module) -> Iterator[None]:
    """Whatever the network answers inside is counted: means and variances become the averages over those batches.

    Batch normalisations normalise by the batch, as in training; all other layers stay as they are, so that in
    evaluation mode nothing is random. Izmailov et al. 2018, "Averaging Weights Leads to Wider Optima", section 3.2.

    >>> layer = BatchNormalization()
    >>> _ = layer(torch.zeros(2, 1))
    >>> with counting_statistics(layer.eval()):
    ...     _ = layer(torch.tensor([[1.0], [3.0]])), layer(torch.tensor([[5.0], [7.0]]))
    >>> layer.running_mean.item(), layer.running_var.item()
    (4.0, 2.0)
    """
    layers = [module for module in network.modules() if isinstance(module, BatchNormalization) and module.trainable]
    counted: dict[int, int] = {}
    means: dict[int, tuple[Tensor, Tensor]] = {}

    def before(layer: Any, _: Any) -> None:
        layer.training = True
        layer._share = 1.0  # the running statistics become the batch's own

    def after(layer: Any, _: Any, __: Any) -> None:
        layer.training = modes[id(layer)]
        layer._share = shares[id(layer)]
        number = counted[id(layer)] = counted.get(id(layer), 0) + 1
        now = (layer.running_mean.double(), layer.running_var.double())
        old = means.get(id(layer), now)
        means[id(layer)] = (old[0].lerp(now[0], 1 / number), old[1].lerp(now[1], 1 / number))

    modes = {id(layer): layer.training for layer in layers}
    shares = {id(layer): layer._share for layer in layers}
    hooks = [layer.register_forward_pre_hook(before) for layer in layers]
    hooks += [layer.register_forward_hook(after) for layer in layers]
    try:
        with torch.no_grad():
            yield
    finally:
        for hook in hooks:
            hook.remove()
        for layer in layers:
            layer.training, layer._share = modes[id(layer)], shares[id(layer)]
            if id(layer) in means:
                layer.running_mean.copy_(means[id(layer)][0])
                layer.running_var.copy_(means[id(layer)][1])
