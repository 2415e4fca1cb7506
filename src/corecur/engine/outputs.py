"""Losses and metrics of networks with several outputs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from corecur.engine.metric import Metric
from corecur.errors import ShapeError


class JointLoss:
    """The weighted sum of one loss per output.

    >>> from corecur.engine.losses import MeanSquaredError
    >>> zero, one = torch.zeros(2, 1), torch.ones(2, 1)
    >>> JointLoss([MeanSquaredError(), MeanSquaredError()], [1.0, 0.5])((one, one), (zero, zero))
    tensor(1.5000)
    """

    def __init__(self, losses: Sequence[Any], weights: Sequence[float]) -> None:
        self.losses = tuple(losses)
        self.weights = tuple(weights)

    def __call__(self, target: Any, output: Any, weights: Tensor | None = None) -> Tensor:
        if len(target) != len(self.losses) or len(output) != len(self.losses):
            raise ShapeError(
                f"there are {len(self.losses)} losses", got=f"{len(target)} targets, {len(output)} outputs"
            )
        terms = [
            share * loss(t, o, weights)
            for loss, share, t, o in zip(self.losses, self.weights, target, output, strict=True)
        ]
        return torch.stack(terms).sum()


class OutputMetric(Metric):
    """A metric of one of several outputs, named after it."""

    def __init__(self, metric: Metric, output: int, output_name: str) -> None:
        self.metric = metric
        self.output = output
        self.name = f"{output_name}_{metric.name}"

    def update(self, target: Any, output: Any, weights: Tensor | None = None) -> None:
        """Add a batch: ``target`` and ``output`` are those of the whole network."""
        self.metric.update(target[self.output], output[self.output], weights)

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
