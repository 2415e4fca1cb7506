"""Several answers to one question: each learns from a loss of its own, and the average of them is what counts.

B batch, K classes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from corecur.engine.accuracy import Accuracy
from corecur.engine.crossentropy import Crossentropy
from corecur.engine.metric import Metric
from corecur.engine.outputs import parts


class EachHead:
    """The mean of the cross-entropies of several heads, each (B, K) logits or a softmax, for targets (B,).

    A loss of the averaged probabilities would stop teaching a head as soon as another knows the answer.

    >>> sure, unsure = torch.tensor([[99.0, 0.0]]), torch.tensor([[0.0, 0.0]])
    >>> EachHead()(torch.tensor([0]), [sure, unsure])
    tensor(0.3466)
    """

    def __init__(self, *, label_smoothing: float = 0.0) -> None:
        self.loss = Crossentropy(label_smoothing=label_smoothing)

    def __call__(self, target: Any, output: Any, weights: Tensor | None = None) -> Tensor:
        return torch.stack([self.loss(target, head, weights) for head in parts(output)]).mean()


class AverageAccuracy(Metric):
    """The accuracy of the average of several heads, each (B, K).

    >>> metric = AverageAccuracy()
    >>> metric.update(torch.tensor([0]), [torch.tensor([[0.9, 0.1]]), torch.tensor([[0.4, 0.6]])])
    >>> metric.result()
    1.0
    """

    def __init__(self) -> None:
        self.accuracy = Accuracy()
        self.name = self.accuracy.name

    def update(self, target: Any, output: Any, weights: Tensor | None = None) -> None:
        self.accuracy.update(target, torch.stack([head.detach() for head in parts(output)]).mean(0), weights)

    def result(self) -> float:
        return self.accuracy.result()

    def reset(self) -> None:
        self.accuracy.reset()

    def state(self) -> dict[str, Any]:
        return self.accuracy.state()

    def load_state(self, state: Mapping[str, Any]) -> None:
        self.accuracy.load_state(state)
