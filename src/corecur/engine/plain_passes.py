"""The way there and back of a batch as one native call, where it is nothing but layers in a row and a cross-entropy.

K classes.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import torch
from torch import Tensor, nn

from corecur.data.batches import Batch
from corecur.engine.crossentropy import Crossentropy, SparseCategoricalCrossentropy
from corecur.kernels.native_softmax import NO_LABEL
from corecur.layers.activation import Function, softmax
from corecur.layers.plain_stretch import Learned, learn_plainly


def differentiate_plainly(network: nn.Module, loss: Any, batch: Batch) -> Learned | None:
    """The mean loss of a batch without weights, its gradients and how the output is had; None where torch finds them.

    >>> differentiate_plainly(nn.Linear(2, 2), Crossentropy(), Batch(torch.zeros(1, 2), torch.tensor([0]))) is None
    True
    """
    after, x, labels = _after(loss), batch.inputs, batch.targets
    if after is None or batch.weights is not None or not isinstance(x, Tensor) or not isinstance(labels, Tensor):
        return None
    in_a_row = getattr(network, "in_a_row", None)  # of a Sequential
    layers = None if in_a_row is None else in_a_row(x)
    if not layers or labels.dtype != torch.int64 or not labels.is_cpu:
        return None
    try:
        return learn_plainly(layers, x, labels, smoothing=loss.label_smoothing, after=after)
    except IndexError:  # a label is no class: the loss says which one
        return None


def _after(loss: Any) -> Collection[Function | None] | None:
    """What may stand between the scores and the output for a loss to be a cross-entropy of the scores, or no such loss.

    A softmax alone leaves its scores on its output (``layers/activation.py``).
    """
    if type(loss) is Crossentropy:
        return (None, softmax)
    if type(loss) is SparseCategoricalCrossentropy and loss._ignored == NO_LABEL:
        return (None,) if loss.from_logits else (softmax,)
    return None
