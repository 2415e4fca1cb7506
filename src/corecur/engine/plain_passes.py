"""The way there and back of a batch as one native call, where it is nothing but layers in a row and a cross-entropy.

K classes.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from corecur.data.batches import Batch
from corecur.engine.crossentropy import Crossentropy, SparseCategoricalCrossentropy, label_error
from corecur.kernels.native_softmax import NO_LABEL
from corecur.layers.activation import Function, softmax
from corecur.layers.plain_stretch import Learned, learn_plainly


@runtime_checkable
class _InARow(Protocol):
    """A network that may be nothing but layers in a row, as ``Sequential`` is."""

    def in_a_row(self) -> Sequence[nn.Module] | None:
        """Those layers; None where it is more."""


def differentiate_plainly(network: nn.Module, loss: Any, batch: Batch) -> Learned | None:
    """The mean loss of a batch without weights, its gradients and how the output is had; None where torch finds them.

    Raises DataError where a label is no class.

    >>> differentiate_plainly(nn.Linear(2, 2), Crossentropy(), Batch(torch.zeros(1, 2), torch.tensor([0]))) is None
    True
    """
    after, x, labels = _after(loss), batch.inputs, batch.targets
    if after is None or batch.weights is not None or not isinstance(labels, Tensor) or not isinstance(network, _InARow):
        return None
    layers = network.in_a_row()
    if not layers or labels.dtype != torch.int64 or not labels.is_cpu:
        return None
    try:
        return learn_plainly(layers, x, labels, smoothing=loss.label_smoothing, after=after)
    except IndexError as error:
        raise label_error(labels, layers[-1].output_shape[-1]) from error


def _after(loss: Any) -> Collection[Function | None] | None:
    """What may stand between the scores and the output for a loss to be a cross-entropy of the scores, or no such loss.

    A softmax alone leaves its scores on its output (``layers/activation.py``).
    """
    if type(loss) is Crossentropy:
        return (None, softmax)
    if type(loss) is SparseCategoricalCrossentropy and loss._ignored == NO_LABEL:
        return (None,) if loss.from_logits else (softmax,)
    return None
