"""The loss of a network that ends in a CRF.

Shapes: B batch, T time, K tags.
"""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass

import torch
from torch import Tensor

from corecur.engine.crossentropy import check_labels
from corecur.engine.loss import Loss, Reduction, both
from corecur.errors import ConfigError, ShapeError
from corecur.layers.crf import Chain


@dataclass(frozen=True)
class CRFLoss(Loss):
    """``-log p(tags | x)`` of each sequence by the CRF that made the output, which finds it in ``output.chain``.

    Targets are tags (B, T). The mean is per real step, Σ_b -log p_b / number of real steps, as large as a
    cross-entropy; weights are (B,), one for each sequence. Steps whose tag is ``ignore_class`` are left out of their
    sequence.

    >>> from corecur.layers.crf import CRF
    >>> output = CRF(2, transition_initializer="zeros")(torch.zeros(1, 3, 2))
    >>> CRFLoss()(torch.tensor([[0, 1, 1]]), output)  # log 2
    tensor(0.6931, grad_fn=<DivBackward0>)
    """

    _: KW_ONLY
    ignore_class: int | None = None

    def real(self, target: Tensor) -> Tensor | None:
        return None if self.ignore_class is None else target != self.ignore_class

    def check(self, target: Tensor, classes: int) -> None:
        if self.ignore_class is None:
            check_labels(target, classes)
        else:
            check_labels(target, classes, self.ignore_class)

    def elements(self, target: Tensor, output: Tensor, reduction: Reduction = "none") -> Tensor:
        losses, steps = self._losses(target, output, None)
        return losses.sum() / steps.sum().clamp(min=1) if reduction == "mean" else losses

    def per_sample(self, target: Tensor, output: Tensor, *, mask: Tensor | None = None) -> Tensor:
        losses, steps = self._losses(target, output, mask)
        return losses / steps.clamp(min=1)

    def __call__(
        self, target: Tensor, output: Tensor, weights: Tensor | None = None, *, mask: Tensor | None = None
    ) -> Tensor:
        losses, steps = self._losses(target, output, mask)
        if weights is not None:
            if weights.numel() != len(losses):
                raise ShapeError(
                    "the CRF's loss takes one weight for each sequence", got=tuple(weights.shape), expected=losses.shape
                )
            losses = losses * weights.reshape(-1).to(losses.dtype)
        return losses.sum() / steps.sum().clamp(min=1)

    def _losses(self, target: Tensor, output: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor]:
        """The loss of each sequence and its number of real steps, both (B,)."""
        chain = getattr(output, "chain", None)
        if not isinstance(chain, Chain):
            raise ConfigError(
                "the loss 'crf' is for a network that ends in a CRF",
                do="put CRF(number of tags) last, or use 'sparse_categorical_crossentropy'",
            )
        if target.ndim == 3 and target.shape[-1] == 1:
            target = target.squeeze(-1)
        if target.shape != chain.emissions.shape[:2]:
            raise ShapeError(
                "the CRF's loss takes a tag for each step",
                got=f"target {tuple(target.shape)}, output {tuple(output.shape)}",
                expected=f"target {tuple(chain.emissions.shape[:2])}",
            )
        mask = both(both(chain.mask, mask), self.real(target))
        losses = -chain.crf.log_likelihood(chain.emissions, target, mask=mask)
        steps = torch.full_like(losses, target.shape[1]) if mask is None else mask.sum(1)
        return losses, steps
