"""Focal losses: cross-entropies that turn down what the network already knows.

Lin et al. 2017, "Focal Loss for Dense Object Detection", equation 5: FL = -α (1 - p_t)^γ log p_t.

Shapes: B batch, T time (or any inner axes), K classes (the last axis).
"""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from corecur.engine.crossentropy import (
    check_shares,
    check_smoothing,
    class_scores,
    shares_for,
    smoothed,
    unit_scores,
)
from corecur.engine.loss import Loss, Reduction, aligned
from corecur.errors import ConfigError


@dataclass(frozen=True)
class CategoricalFocalCrossentropy(Loss):
    """Σ_k -α q_k (1 - p_k)^γ log p_k for one-hot or soft targets q (B, …, K); ``alpha`` is one number or one per class.

    >>> target, output = torch.tensor([[1.0, 0.0]]), torch.tensor([[0.5, 0.5]])
    >>> bool(torch.isclose(CategoricalFocalCrossentropy(1.0, gamma=1.0)(target, output), torch.tensor(2.0).log() / 2))
    True
    """

    alpha: float | tuple[float, ...] = 0.25
    _: KW_ONLY
    gamma: float = 2.0
    from_logits: bool = False
    label_smoothing: float = 0.0

    def __post_init__(self) -> None:
        check_smoothing(self.label_smoothing)
        _check_gamma(self.gamma)

    def elements(self, target: Tensor, output: Tensor, reduction: Reduction = "none") -> Tensor:
        target = smoothed(shares_for(target, output), self.label_smoothing, output.shape[-1])
        log_p = F.log_softmax(class_scores(output, from_logits=self.from_logits), dim=-1)  # (B, …, K)
        alpha = self.alpha if isinstance(self.alpha, float | int) else log_p.new_tensor(self.alpha)  # (K,)
        unknown = -torch.expm1(log_p)  # 1 - p without cancellation
        losses = -(alpha * target * unknown**self.gamma * log_p).sum(-1)  # (B, …)
        return losses.mean() if reduction == "mean" else losses

    def check(self, target: Tensor, classes: int) -> None:
        check_shares(target)


@dataclass(frozen=True)
class BinaryFocalCrossentropy(Loss):
    """-(1 - p_t)^γ log p_t of each unit, p_t = p where y is 1 and 1 - p where it is 0.

    With ``apply_class_balancing``, times α where y is 1 and 1 - α where it is 0.

    >>> bool(torch.isclose(BinaryFocalCrossentropy(gamma=1.0)(torch.ones(1, 1), torch.tensor([[0.5]])),
    ...                    torch.tensor(2.0).log() / 2))
    True
    """

    apply_class_balancing: bool = False
    _: KW_ONLY
    alpha: float = 0.25
    gamma: float = 2.0
    from_logits: bool = False
    label_smoothing: float = 0.0

    def __post_init__(self) -> None:
        check_smoothing(self.label_smoothing)
        _check_gamma(self.gamma)

    def elements(self, target: Tensor, output: Tensor, reduction: Reduction = "none") -> Tensor:
        scores = unit_scores(output, from_logits=self.from_logits)
        y = smoothed(aligned(target, scores), self.label_smoothing)
        unknown = y * torch.sigmoid(-scores) + (1 - y) * torch.sigmoid(scores)  # 1 - p_t without cancellation
        losses = unknown**self.gamma * F.binary_cross_entropy_with_logits(scores, y, reduction="none")
        if self.apply_class_balancing:
            losses = losses * (y * self.alpha + (1 - y) * (1 - self.alpha))
        return losses.mean() if reduction == "mean" else losses

    def check(self, target: Tensor, classes: int) -> None:
        check_shares(target)


def _check_gamma(gamma: float) -> None:
    if not gamma >= 0:
        raise ConfigError("gamma out of range", got=gamma, expected="0 or more, often 2")
