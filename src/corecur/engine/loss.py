"""What a loss is: a value for each position, averaged over the batch, with weights and masks by one rule.

Shapes: B batch, T time (or any inner axes), K classes or units.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Literal

import torch
from torch import Tensor

from corecur.errors import DataError, ShapeError

Reduction = Literal["none", "mean"]


class Loss(ABC):
    """A function of (target, output) to be made small.

    Leaves are frozen dataclasses (``dataclasses.asdict`` is their config) and define ``elements`` alone.

    >>> from corecur.engine.losses import MeanAbsoluteError
    >>> loss = MeanAbsoluteError()
    >>> target, output = torch.zeros(2, 1), torch.tensor([[1.0], [3.0]])
    >>> loss(target, output), loss.per_sample(target, output)
    (tensor(2.), tensor([1., 3.]))
    >>> loss(target, output, torch.tensor([1.0, 0.0]))  # sum(w * loss) / B
    tensor(0.5000)
    """

    @abstractmethod
    def elements(self, target: Tensor, output: Tensor, reduction: Reduction = "none") -> Tensor:
        """The loss of each position (B, …), or their mean when ``reduction`` is ``mean``."""

    def real(self, target: Tensor) -> Tensor | None:
        """Which positions of ``target`` count (True), or None where all do."""
        return None

    def check(self, target: Tensor, classes: int) -> None:
        """Refuse target values that cannot be learned from (DataError).

        ``classes`` is the size of the output's last axis. It reads the values, which waits for the device: meant to be
        called once before training, on all targets.
        """
        if not bool(torch.isfinite(target).all()):
            raise DataError(
                "the targets hold values that are not finite",
                where=f"sample {first_index(~torch.isfinite(target))}",
                do="remove or fill the missing targets",
            )

    def per_sample(self, target: Tensor, output: Tensor, *, mask: Tensor | None = None) -> Tensor:
        """The loss of each sample (B,), averaged over its own inner positions that are real."""
        losses = self.elements(target, output)  # (B, …)
        mask = both(self.real(target), mask)
        if mask is None:
            return losses if losses.dim() == 1 else losses.flatten(1).mean(1)  # (B,)
        mask = spread(mask, losses).expand_as(losses)
        losses = losses.masked_fill(~mask, 0.0)
        return losses.reshape(len(losses), -1).sum(1) / mask.reshape(len(mask), -1).sum(1).clamp(min=1)

    def __call__(
        self, target: Tensor, output: Tensor, weights: Tensor | None = None, *, mask: Tensor | None = None
    ) -> Tensor:
        """The mean loss, a scalar.

        ``weights`` is (B,), or (B, T, …) for one weight per position; by Keras' rule the result is
        ``sum(w * loss) / n``, n the number of positions, so weights of zero make a batch count for less.
        ``mask`` (True = real) is of the same shapes; n is then the number of real positions.

        Raises ShapeError where the shapes do not go together and DataError for a label out of range.
        """
        mask = both(self.real(target), mask)
        if weights is None and mask is None:
            return self.elements(target, output, "mean")
        return weighted_mean(self.elements(target, output), weights, mask)


def both(first: Tensor | None, second: Tensor | None) -> Tensor | None:
    """True where both masks are; a mask that is None is True everywhere."""
    if first is None or second is None:
        return second if first is None else first
    return first & spread(second, first)


def weighted_mean(losses: Tensor, weights: Tensor | None, mask: Tensor | None) -> Tensor:
    """``sum(mask * weights * losses) / number of real positions``, all spread over the shape of ``losses``.

    >>> weighted_mean(torch.tensor([[1.0, 3.0], [5.0, 7.0]]), torch.tensor([1.0, 0.5]), None)
    tensor(2.5000)
    """
    count: int | Tensor = losses.numel()
    if mask is not None:
        mask = spread(mask, losses)
        losses = losses.masked_fill(~mask, 0.0)
        count = mask.expand_as(losses).sum().clamp(min=1)
    if weights is not None:
        losses = losses * spread(weights, losses).to(losses.dtype)
    return losses.sum() / count


def spread(weights: Tensor, values: Tensor) -> Tensor:
    """Weights (B,) or (B, T) with axes of one added, so that they multiply values (B, T, …)."""
    if weights.dim() > values.dim() and weights.shape[-1] == 1:
        weights = weights.squeeze(-1)
    if weights.shape != values.shape[: weights.dim()]:
        raise ShapeError(
            "sample weights (or a mask) do not fit the loss",
            got=tuple(weights.shape),
            expected=f"{(len(values),)}, or the leading axes of {tuple(values.shape)}",
        )
    return weights.reshape(weights.shape + (1,) * (values.dim() - weights.dim()))


def aligned(target: Tensor, output: Tensor) -> Tensor:
    """The target in the output's shape and dtype; only a trailing axis of one is added or removed.

    Never broadcast: (B,) against (B, 1) would silently compare every sample with every other one.

    >>> aligned(torch.tensor([1, 0]), torch.zeros(2, 1)).shape
    torch.Size([2, 1])
    """
    if target.shape != output.shape:
        if output.shape[-1:] == (1,) and target.shape == output.shape[:-1]:
            target = target.unsqueeze(-1)
        elif target.shape[-1:] == (1,) and target.shape[:-1] == output.shape:
            target = target.squeeze(-1)
        else:
            raise ShapeError(
                "target and output differ in shape",
                got=f"target {tuple(target.shape)}, output {tuple(output.shape)}",
                expected=f"a target of {tuple(output.shape)}",
                do=_advice(target, output),
            )
    return target if target.dtype == output.dtype else target.to(output.dtype)


def _advice(target: Tensor, output: Tensor) -> str:
    if not target.is_floating_point() and target.dim() < output.dim():
        return "for class numbers use the loss 'sparse_categorical_crossentropy', or one-hot encode them"
    return "give the last layer as many units as the target has values"


def first_index(wrong: Tensor) -> int:
    """The row of the first True of a mask (B, …) that has one."""
    return int(wrong.reshape(len(wrong), -1).any(1).nonzero()[0])
