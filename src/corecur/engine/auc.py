"""The area under the receiver-operating or the precision-recall curve.

Shapes: B batch, T time (or any inner axes), K classes or units (the last axis), P = B·T positions, N all positions.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import KW_ONLY, dataclass
from typing import Literal

import torch
from torch import Tensor

from corecur.engine.metric import Metric, Total, require, wide
from corecur.engine.precision_recall import by_position, position_weights


@dataclass(eq=False)
class AUC(Metric):
    """The exact area under a curve, from all scores (Keras approximates it with 200 thresholds).

    ``curve="ROC"``: the chance that a true one scores higher than a false one, ties counting half (Fawcett 2006).
    ``curve="PR"``: the average precision, Σ (R_i - R_{i-1}) P_i over distinct scores. Any increasing score will do,
    logits too. With K > 1 classes or units it is the mean over those that have both kinds; not a number where none has.
    Memory: 4 to 8 bytes per score until ``reset``.

    >>> metric = AUC()
    >>> metric.update(torch.tensor([0, 0, 1, 1]), torch.tensor([0.1, 0.4, 0.35, 0.8]))
    >>> metric.result()
    0.75
    """

    curve: Literal["ROC", "PR"] = "ROC"
    _: KW_ONLY
    name: str = "auc"

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.curve in ("ROC", "PR"), "unknown curve", self.curve, "ROC or PR")

    def update(self, target: Tensor, output: Tensor, weights: Tensor | None = None) -> None:
        truth, scores = by_position(target, output.detach())  # (P, K), (P, K)
        ones = torch.ones((), device=output.device).expand(len(truth), 1)
        self._batches.append((truth, scores, ones if weights is None else position_weights(weights, output)))

    def result(self) -> float:
        if not self._batches:
            return float("nan")
        truth, scores, weights = self._joined()
        if not len(truth):
            return float("nan")
        area = roc_area if self.curve == "ROC" else average_precision
        amounts = weights.squeeze(-1).to(wide(scores.device))  # (N,)
        areas = torch.stack([area(t, s, amounts) for t, s in zip(truth.unbind(-1), scores.unbind(-1), strict=True)])
        return float(areas[~areas.isnan()].mean())

    def reset(self) -> None:
        self._batches: list[tuple[Tensor, Tensor, Tensor]] = []

    def state(self) -> dict[str, Total]:
        return dict(zip(_KEYS, self._joined(), strict=True)) if self._batches else {}

    def load_state(self, state: Mapping[str, Total]) -> None:
        truth, scores, weights = (torch.as_tensor(state[key]) if state else torch.empty(0) for key in _KEYS)
        self._batches = [(truth, scores, weights)] if state else []

    def _joined(self) -> tuple[Tensor, Tensor, Tensor]:
        truth, scores, weights = (torch.cat(parts) for parts in zip(*self._batches, strict=True))
        return truth, scores, weights  # (N, K), (N, K), (N, 1)


_KEYS = ("truth", "scores", "weights")


def roc_area(truth: Tensor, scores: Tensor, weights: Tensor) -> Tensor:
    """∫ TPR d FPR by trapezoids over distinct scores; all (N,), the result a scalar."""
    true, false = _counts_above(truth, scores, weights)
    area = torch.trapezoid(true, false)
    return area / (true[-1] * false[-1])  # 0 / 0 is not a number


def average_precision(truth: Tensor, scores: Tensor, weights: Tensor) -> Tensor:
    """Σ (R_i - R_{i-1}) P_i over distinct scores, falling; all (N,), the result a scalar."""
    true, false = _counts_above(truth, scores, weights)
    precision = true[1:] / (true[1:] + false[1:]).clamp(min=torch.finfo(true.dtype).tiny)
    return (true.diff() * precision).sum() / true[-1]


def _counts_above(truth: Tensor, scores: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
    """Weight of true and of false ones at or above each distinct score, from the highest down, after a first 0."""
    order = scores.argsort(descending=True)
    scores, truth, weights = scores[order], truth[order], weights[order]
    last_of_tie = torch.cat([scores.diff() != 0, scores.new_ones(1, dtype=torch.bool)])
    zero = weights.new_zeros(1)
    true = torch.cat([zero, (weights * truth).cumsum(0)[last_of_tie]])
    false = torch.cat([zero, (weights * ~truth).cumsum(0)[last_of_tie]])
    return true, false
