"""Several answers to one question: each learns from a loss of its own, and the average of them is what counts.

B batch, K classes, P heads: networks, or parts of one, that answer.
"""

from __future__ import annotations

import torch
from torch import Tensor

from corecur.engine.crossentropy import Crossentropy


class EachHead:
    """The mean of the cross-entropies of the heads, whose logits stand side by side, (B, P K); targets are (B,).

    A loss of the averaged probabilities would stop teaching a head as soon as another knows the answer.

    >>> sure, unsure = [99.0, 0.0], [0.0, 0.0]
    >>> EachHead(2)(torch.tensor([0]), torch.tensor([sure + unsure]))
    tensor(0.3466)
    """

    def __init__(self, classes: int, *, label_smoothing: float = 0.0) -> None:
        self.classes = classes
        self.loss = Crossentropy(label_smoothing=label_smoothing)

    def __call__(self, target: Tensor, output: Tensor, weights: Tensor | None = None) -> Tensor:
        heads = output.shape[1] // self.classes
        logits = output.view(-1, self.classes)  # (B, P K) -> (B P, K)
        shares = None if weights is None else weights.repeat_interleave(heads)
        return self.loss(target.repeat_interleave(heads), logits, shares)


def average_is_right(target: Tensor, output: Tensor, *, classes: int) -> Tensor:
    """Whether the average of the heads' probabilities is largest for the target: logits (B, P K) -> (B,) of 0 and 1.

    >>> average_is_right(torch.tensor([1]), torch.tensor([[0.0, 1.0, 3.0, 0.0]]), classes=2)
    tensor([0.])
    """
    probabilities = output.view(len(output), -1, classes).softmax(-1).mean(1)  # (B, P K) -> (B, K)
    return (probabilities.argmax(-1) == target).float()
