"""Members of one network, trained side by side, each on its own loss, and judged by their mean.

B batch, K classes, M members.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from corecur.engine.loss import Loss
from corecur.engine.metric import Metric
from corecur.engine.outputs import parts


class MembersLoss:
    """The mean of one loss over M outputs (B, K): no member's gradient depends on another member.

    >>> from corecur.engine.crossentropy import Crossentropy
    >>> logits = [torch.tensor([[0.0, 0.0]]), torch.tensor([[9.0, -9.0]])]
    >>> MembersLoss(Crossentropy())(torch.tensor([0]), logits)
    tensor(0.3466)
    """

    def __init__(self, loss: Loss) -> None:
        self.loss = loss

    def __call__(self, target: Any, output: Any, weights: Tensor | None = None) -> Tensor:
        return torch.stack([self.loss(target, one, weights) for one in parts(output)]).mean()


class OfTheMean(Metric):
    """A metric of the mean of M outputs (B, K), which is what the members answer together.

    >>> from corecur.engine.accuracy import Accuracy
    >>> metric = OfTheMean(Accuracy())
    >>> metric.update(torch.tensor([0]), [torch.tensor([[0.4, 0.6]]), torch.tensor([[1.0, 0.0]])])
    >>> metric.name, metric.result()
    ('accuracy', 1.0)
    """

    def __init__(self, metric: Metric) -> None:
        self.metric = metric
        self.name = metric.name

    def update(self, target: Any, output: Any, weights: Tensor | None = None) -> None:
        """Add a batch."""
        outputs = parts(output)
        self.metric.update(target, outputs[0] if len(outputs) == 1 else torch.stack(outputs).mean(0), weights)

    def result(self) -> Any:
        """The metric's value."""
        return self.metric.result()

    def state(self) -> dict[str, Any]:
        """What has been counted so far."""
        return self.metric.state()

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Go on from such a state."""
        self.metric.load_state(state)

    def reset(self) -> None:
        """Forget all batches."""
        self.metric.reset()
