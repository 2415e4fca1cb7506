"""The pinball loss: what a quantile makes small.

Shapes: B batch, … inner axes such as horizon and channels, Q quantiles.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from corecur.engine.loss import Loss, Reduction
from corecur.errors import ConfigError, ShapeError


@dataclass(frozen=True)
class PinballLoss(Loss):
    """``max(q (y - ŷ_q), (q - 1) (y - ŷ_q))``, averaged over the quantiles q (Koenker & Bassett 1978).

    The targets are (B, …), the output (B, …, Q) holds one value for each quantile; the loss of q is least where a share
    q of the targets lies below ŷ_q. For q = 0.5 alone it is half the absolute error.

    >>> PinballLoss((0.1, 0.9))(torch.zeros(1), torch.tensor([[-1.0, 1.0]]))
    tensor(0.1000)
    """

    quantiles: tuple[float, ...] = (0.1, 0.5, 0.9)

    def __post_init__(self) -> None:
        check_quantiles(self.quantiles)

    def elements(self, target: Tensor, output: Tensor, reduction: Reduction = "none") -> Tensor:
        if output.shape[-1:] != (len(self.quantiles),) or target.shape != output.shape[:-1]:
            raise ShapeError(
                "target and output do not fit the pinball loss",
                got=f"target {tuple(target.shape)}, output {tuple(output.shape)}",
                expected=f"an output of {(*target.shape, len(self.quantiles))}: a value for each quantile",
            )
        error = target.unsqueeze(-1).to(output.dtype) - output  # (B, …, Q)
        quantiles = torch.tensor(self.quantiles, dtype=output.dtype, device=output.device)
        losses = torch.maximum(quantiles * error, (quantiles - 1) * error)
        return losses.mean() if reduction == "mean" else losses.mean(-1)


def check_quantiles(quantiles: Sequence[float]) -> None:
    """Refuse quantiles that do not rise from above 0 to below 1 (ConfigError).

    >>> check_quantiles((0.1, 0.5, 0.9))
    """
    numbers = all(isinstance(q, (int, float)) and not isinstance(q, bool) for q in quantiles)
    ends = (0.0, *quantiles, 1.0) if numbers else ()
    if not quantiles or not numbers or any(not low < high for low, high in zip(ends, ends[1:], strict=False)):
        raise ConfigError("quantiles rise from above 0 to below 1", got=quantiles, expected="such as (0.1, 0.5, 0.9)")
