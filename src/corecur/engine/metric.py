"""What a metric is: totals that batches are added to, and a result read from them at the end.

``update`` never waits for the device: totals stay tensors on it, in float64 where it has that. ``result`` reads them.

Shapes: B batch, T time (or any inner axes), K classes or units, P = B·T positions.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import KW_ONLY, dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from corecur.engine.loss import spread
from corecur.errors import ConfigError, ShapeError

Total = Tensor | float
Value = float | NDArray[np.float64]


@dataclass(eq=False)
class Metric(ABC):
    """A number about (target, output) over many batches.

    Leaves are dataclasses: their fields are their config, ``name`` is the key in a history. The totals are one dict
    beside the fields, so that every metric can stand in a checkpoint.

    >>> from corecur.engine.accuracy import Accuracy
    >>> metric = Accuracy()
    >>> metric.update(torch.tensor([0, 1]), torch.tensor([[0.9, 0.1], [0.8, 0.2]]))
    >>> metric.result(), sorted(metric.state())
    (0.5, ['count', 'total'])
    """

    _: KW_ONLY
    name: str = ""

    def __post_init__(self) -> None:
        self.reset()

    @abstractmethod
    def update(self, target: Tensor, output: Tensor, weights: Tensor | None = None) -> None:
        """Add a batch; ``weights`` (or a mask) is (B,), or (B, T, …) for one per position."""

    @abstractmethod
    def result(self) -> Value:
        """The value over everything since ``reset`` (an array for one value per class); NaN where nothing was added."""

    def reset(self) -> None:
        """Forget all batches."""
        self._totals: dict[str, Total] = {}

    def state(self) -> dict[str, Total]:
        """The totals, for a checkpoint."""
        return dict(self._totals)

    def load_state(self, state: Mapping[str, Total]) -> None:
        """Take over totals saved by ``state``."""
        self._totals = dict(state)

    def _add(self, **amounts: Total) -> None:
        totals = self._totals
        for key, amount in amounts.items():
            # Not in place: the first total may be an inference tensor, which cannot be changed outside inference mode.
            totals[key] = totals[key] + amount if key in totals else amount


@dataclass(eq=False)
class Average(Metric):
    """The weighted mean of a value per position; a leaf says which value."""

    @abstractmethod
    def values(self, target: Tensor, output: Tensor) -> Tensor:
        """The value (or True/False) at each position (B, …)."""

    def update(self, target: Tensor, output: Tensor, weights: Tensor | None = None) -> None:
        values = self.values(target, output.detach())
        dtype = wide(values.device)
        if weights is None:
            self._add(total=values.sum(dtype=dtype), count=values.numel())
            return
        weights = spread(weights, values).to(dtype).expand_as(values)
        self._add(total=(values * weights).sum(), count=weights.sum())

    def result(self) -> float:
        return share(self._totals.get("total", 0.0), self._totals.get("count", 0.0))


@dataclass(eq=False)
class Mean:
    """The running mean of numbers, such as the losses of batches.

    >>> mean = Mean()
    >>> mean.update(torch.tensor(1.0), 3)
    >>> mean.update(torch.tensor(5.0), 1)
    >>> mean.result()
    2.0
    """

    _: KW_ONLY
    name: str = "mean"

    def __post_init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Forget everything."""
        self._total: Total = 0.0
        self._count: Total = 0.0

    def update(self, values: Tensor, weights: Tensor | float = 1.0) -> None:
        """Add a scalar with its weight (the batch size), or values (B,) with weights (B,) or one weight for all."""
        values = values.detach()
        if values.dim() == 0:
            count = weights
        else:
            weights = torch.as_tensor(weights, device=values.device).expand_as(values)
            count = weights.sum()
        self._total = self._total + (values.to(wide(values.device)) * weights).sum()
        self._count = self._count + count

    def result(self) -> float:
        """The mean; not a number where nothing was added."""
        return share(self._total, self._count)

    def state(self) -> dict[str, Total]:
        """The totals, for a checkpoint."""
        return {"total": self._total, "count": self._count}

    def load_state(self, state: Mapping[str, Total]) -> None:
        """Take over totals saved by ``state``."""
        self._total, self._count = state["total"], state["count"]


def share(part: Total, whole: Total) -> float:
    """part / whole as a number; not a number for 0 / 0. This is where a metric waits for its device.

    >>> share(torch.tensor(1.0), 4), share(0.0, 0.0)
    (0.25, nan)
    """
    whole = float(whole)
    return float(part) / whole if whole else float("nan")


def wide(device: torch.device) -> torch.dtype:
    """The dtype in which totals are kept: a float32 sum stops growing at 1.7e7 ones."""
    return torch.float32 if device.type == "mps" else torch.float64  # MPS has no float64


def is_binary(target: Tensor, output: Tensor) -> bool:
    """Whether the output is one yes-or-no unit per position."""
    return output.shape[-1:] == (1,) or (output.dim() == 1 and target.shape == output.shape)


def is_sparse(target: Tensor, output: Tensor) -> bool:
    """Whether targets are class numbers (B, …) or (B, …, 1) for outputs (B, …, K)."""
    return target.dim() < output.dim() or (target.shape[-1] == 1 and output.shape[-1] > 1)


def labels(target: Tensor, output: Tensor) -> Tensor:
    """Class numbers (B, …) from sparse, one-hot or soft targets; ShapeError where they do not fit the output."""
    if target.shape == output.shape:
        return target.argmax(-1)
    positions = output.shape[:-1]
    if target.dim() == output.dim() and target.shape[-1] == 1:
        target = target.squeeze(-1)
    if target.shape != positions:
        raise misfit(target, output)
    return target


def misfit(target: Tensor, output: Tensor) -> ShapeError:
    """The error for a target and an output that do not go together in a metric."""
    return ShapeError(
        "target and output do not fit this metric",
        got=f"target {tuple(target.shape)}, output {tuple(output.shape)}",
        expected=f"class numbers {tuple(output.shape[:-1])} or values {tuple(output.shape)}",
    )


def require(condition: bool, what: str, got: object, expected: str) -> None:
    """ConfigError unless the condition holds; for the arguments of metrics."""
    if not condition:
        raise ConfigError(what, got=got, expected=expected)
