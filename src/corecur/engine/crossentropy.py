"""Cross-entropies, computed from logits wherever logits can be had.

A softmax or sigmoid leaves its input on its result as ``output.logits`` (and its own name as ``output.logits_of``):
log-softmax of those is exact where the probabilities have long been rounded to 0 or 1. Without them, probabilities
are clipped to [1e-7, 1 - 1e-7] as Keras does.

Shapes: B batch, T time (or any inner axes), K classes (always the last axis), P = B·T positions.
"""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from corecur.engine.loss import Loss, Reduction, aligned, first_index
from corecur.errors import ConfigError, DataError, ShapeError
from corecur.kernels import native_softmax
from corecur.kernels.native_softmax import NO_LABEL

EPSILON = 1e-7  # Keras' backend.epsilon()


def class_scores(output: Tensor, *, from_logits: bool) -> Tensor:
    """Numbers (…, K) whose softmax is the output: its logits, else the logarithms of its clipped probabilities."""
    logits = _logits(output, "softmax", from_logits)
    return logits if logits is not None else _wide(output).clamp(EPSILON, 1 - EPSILON).log()


def unit_scores(output: Tensor, *, from_logits: bool) -> Tensor:
    """Numbers whose sigmoid is the output: its logits, else those of its clipped probabilities."""
    logits = _logits(output, "sigmoid", from_logits)
    return logits if logits is not None else torch.logit(_wide(output), eps=EPSILON)


def _logits(output: Tensor, activation: Literal["softmax", "sigmoid"], from_logits: bool) -> Tensor | None:
    if from_logits:
        return _wide(output)
    logits: Tensor | None = getattr(output, "logits", None)
    # A sigmoid's logits under a log-softmax (or the reverse) would be another function.
    if logits is None or getattr(output, "logits_of", activation) != activation:
        return None
    return _wide(logits)


def _wide(values: Tensor) -> Tensor:
    return values.float() if values.dtype in (torch.bfloat16, torch.float16) else values


def class_losses(scores: Tensor, target: Tensor, *, smoothing: float, ignore: int, reduction: Reduction) -> Tensor:
    """-Σ_k q_k log softmax(scores)_k at each position; target is labels (…) or distributions (…, K)."""
    if reduction == "mean" and ignore == NO_LABEL and not target.is_floating_point() and native_softmax.serves(scores):
        try:
            return native_softmax.mean_loss(scores, target, smoothing)
        except IndexError as error:
            raise label_error(target, scores.shape[-1]) from error
    swapped = native_softmax.time_first(scores)
    if swapped:  # the mean is one of the same losses, read as they lie in memory
        scores, target = scores.transpose(0, 1), target.transpose(0, 1)
    inner, classes = scores.shape[:-1], scores.shape[-1]
    if scores.dim() != 2:
        scores = scores.reshape(-1, classes)  # (B, T, K) -> (P, K)
        target = target.reshape(-1, classes) if target.is_floating_point() else target.reshape(-1)
    try:
        losses = _row_losses(scores, target, smoothing, ignore, reduction)
    except IndexError as error:  # torch's word for a label out of range, on a CPU; CUDA stops with a device assertion
        raise label_error(target, classes, ignore) from error
    if reduction == "mean" or len(inner) == 1:
        return losses
    losses = losses.reshape(inner)
    return losses.transpose(0, 1) if swapped else losses


def _row_losses(scores: Tensor, target: Tensor, smoothing: float, ignore: int, reduction: Reduction) -> Tensor:
    if target.is_floating_point() or not native_softmax.serves(scores):
        return F.cross_entropy(scores, target, reduction=reduction, label_smoothing=smoothing, ignore_index=ignore)
    losses = native_softmax.class_losses(scores, target, smoothing, ignore)
    return losses if reduction == "none" else losses.sum() / (target != ignore).sum()


def label_error(target: Tensor, classes: int, ignore: int = NO_LABEL) -> DataError:
    """The error that names the first label which is no class."""
    wrong = ((target < 0) | (target >= classes)) & (target != ignore)
    return DataError(
        f"label {target[wrong].reshape(-1)[0].item()} is not a class",
        where=f"sample {first_index(wrong)}",
        expected=f"0 … {classes - 1}, the output has {classes} units",
        do="number the classes from 0, or give the last layer one unit per class; a number that stands for no label "
        "is the loss's ignore_class",
    )


def check_labels(target: Tensor, classes: int, ignore: int = NO_LABEL) -> None:
    """Refuse labels that are not whole numbers in 0 … classes - 1 (DataError); reads the values."""
    if target.is_floating_point() and not bool((target == target.round()).all()):
        raise DataError(
            "class labels are to be whole numbers",
            where=f"sample {first_index(target != target.round())}",
            do="for one-hot or soft targets use 'categorical_crossentropy'; for real values 'mse'",
        )
    if bool((((target < 0) | (target >= classes)) & (target != ignore)).any()):
        raise label_error(target, classes, ignore)


def check_shares(target: Tensor) -> None:
    """Refuse targets outside [0, 1] (DataError); reads the values."""
    wrong = ~((target >= 0) & (target <= 1))
    if bool(wrong.any()):
        raise DataError(
            f"target {target[wrong].reshape(-1)[0].item()} is no probability",
            where=f"sample {first_index(wrong)}",
            expected="values between 0 and 1",
            do="encode the classes as 0 and 1 (or one-hot); for class numbers use 'sparse_categorical_crossentropy'",
        )


def labels_for(target: Tensor, output: Tensor) -> Tensor:
    """Class numbers in the shape of the output's positions; ShapeError where they are something else."""
    positions = output.shape[:-1]
    _refuse_one_unit(output)
    if target.shape == (*positions, 1):
        target = target.squeeze(-1)
    if target.shape != positions:
        one_hot = target.shape == output.shape
        raise ShapeError(
            "the targets are one-hot, this loss takes class numbers" if one_hot else "target does not fit the output",
            got=f"target {tuple(target.shape)}, output {tuple(output.shape)}",
            expected=f"class numbers of shape {tuple(positions)}",
            do="use 'categorical_crossentropy', or target.argmax(-1)" if one_hot else None,
        )
    return target.long()


def shares_for(target: Tensor, output: Tensor) -> Tensor:
    """One-hot or soft targets in the output's shape and a float dtype; ShapeError where they are something else."""
    _refuse_one_unit(output)
    if target.shape != output.shape:
        numbers = target.shape in (output.shape[:-1], (*output.shape[:-1], 1))
        raise ShapeError(
            "the targets are class numbers, this loss takes one-hot" if numbers else "target does not fit the output",
            got=f"target {tuple(target.shape)}, output {tuple(output.shape)}",
            expected=f"one-hot or soft targets of shape {tuple(output.shape)}",
            do="use 'sparse_categorical_crossentropy', or one-hot encode the targets" if numbers else None,
        )
    return _wide(target if target.is_floating_point() else target.to(output.dtype))


def _refuse_one_unit(output: Tensor) -> None:
    if output.dim() < 2 or output.shape[-1] == 1:
        raise ShapeError(
            "a cross-entropy over classes takes one output unit per class",
            got=f"output {tuple(output.shape)}",
            expected="(B, …, K), K at least 2",
            do="for one yes-or-no unit use 'binary_crossentropy' after a sigmoid",
        )


def check_smoothing(label_smoothing: float) -> None:
    """Refuse a label smoothing outside [0, 1] (ConfigError)."""
    if not 0.0 <= label_smoothing <= 1.0:
        raise ConfigError("label_smoothing out of range", got=label_smoothing, expected="0 … 1, often 0.1")


@dataclass(frozen=True)
class Crossentropy(Loss):
    """Cross-entropy of a network that ends in logits, or in a softmax that left its logits on the output.

    -Σ_k q_k log softmax(z)_k, with q the target smoothed to (1 - s) q + s / K (Szegedy et al. 2016, section 7).
    Targets are class numbers (B, …) or distributions (B, …, K), told apart by shape. The learners' loss.

    >>> logits = torch.tensor([[2.0, 0.0]])
    >>> loss = Crossentropy()
    >>> bool(torch.isclose(loss(torch.tensor([0]), logits), loss(torch.tensor([[1.0, 0.0]]), logits)))
    True
    """

    label_smoothing: float = 0.0

    def __post_init__(self) -> None:
        check_smoothing(self.label_smoothing)

    def elements(self, target: Tensor, output: Tensor, reduction: Reduction = "none") -> Tensor:
        scores = class_scores(output, from_logits=not hasattr(output, "logits"))
        fit = shares_for if target.shape == output.shape else labels_for
        return class_losses(
            scores, fit(target, output), smoothing=self.label_smoothing, ignore=NO_LABEL, reduction=reduction
        )

    def check(self, target: Tensor, classes: int) -> None:
        if target.is_floating_point() and target.shape[-1] == classes:
            check_shares(target)
        else:
            check_labels(target, classes)


@dataclass(frozen=True)
class CategoricalCrossentropy(Loss):
    """-Σ_k q_k log p_k for one-hot or soft targets q (B, …, K) and probabilities p; smoothing as in ``Crossentropy``.

    Exact from logits: the probability of the target is 2e-22 here, and clipped it would cost 16.1.

    >>> from corecur.layers.activation import softmax
    >>> CategoricalCrossentropy()(torch.tensor([[0.0, 1.0]]), softmax(torch.tensor([[50.0, 0.0]])))
    tensor(50.)
    """

    from_logits: bool = False
    _: KW_ONLY
    label_smoothing: float = 0.0

    def __post_init__(self) -> None:
        check_smoothing(self.label_smoothing)

    def elements(self, target: Tensor, output: Tensor, reduction: Reduction = "none") -> Tensor:
        target = shares_for(target, output)
        scores = class_scores(output, from_logits=self.from_logits)
        return class_losses(scores, target, smoothing=self.label_smoothing, ignore=NO_LABEL, reduction=reduction)

    def check(self, target: Tensor, classes: int) -> None:
        check_shares(target)


@dataclass(frozen=True)
class SparseCategoricalCrossentropy(Loss):
    """-log p_y for class numbers y (B, …) or (B, …, 1) and probabilities p (B, …, K).

    Positions whose label is ``ignore_class`` count for nothing. ``label_smoothing`` is ours, Keras has none here.

    >>> loss = SparseCategoricalCrossentropy()
    >>> round(float(loss(torch.tensor([1, 2]), torch.tensor([[0.05, 0.95, 0], [0.1, 0.8, 0.1]]))), 3)
    1.177
    """

    from_logits: bool = False
    _: KW_ONLY
    ignore_class: int | None = None
    label_smoothing: float = 0.0

    def __post_init__(self) -> None:
        check_smoothing(self.label_smoothing)

    def elements(self, target: Tensor, output: Tensor, reduction: Reduction = "none") -> Tensor:
        target = labels_for(target, output)
        scores = class_scores(output, from_logits=self.from_logits)
        return class_losses(scores, target, smoothing=self.label_smoothing, ignore=self._ignored, reduction=reduction)

    def real(self, target: Tensor) -> Tensor | None:
        return None if self.ignore_class is None else target != self.ignore_class

    def check(self, target: Tensor, classes: int) -> None:
        check_labels(target, classes, self._ignored)

    @property
    def _ignored(self) -> int:
        return NO_LABEL if self.ignore_class is None else self.ignore_class


@dataclass(frozen=True)
class BinaryCrossentropy(Loss):
    """-(y log p + (1 - y) log(1 - p)) of each output unit, y in [0, 1] smoothed to (1 - s) y + s / 2.

    >>> from corecur.layers.activation import sigmoid
    >>> BinaryCrossentropy()(torch.tensor([1]), sigmoid(torch.tensor([[-80.0]])))
    tensor(80.)
    """

    from_logits: bool = False
    _: KW_ONLY
    label_smoothing: float = 0.0

    def __post_init__(self) -> None:
        check_smoothing(self.label_smoothing)

    def elements(self, target: Tensor, output: Tensor, reduction: Reduction = "none") -> Tensor:
        scores = unit_scores(output, from_logits=self.from_logits)
        target = smoothed(aligned(target, scores), self.label_smoothing)
        return F.binary_cross_entropy_with_logits(scores, target, reduction=reduction)

    def check(self, target: Tensor, classes: int) -> None:
        check_shares(target)


def smoothed(target: Tensor, smoothing: float, classes: int = 2) -> Tensor:
    """(1 - s) target + s / classes."""
    return target * (1 - smoothing) + smoothing / classes if smoothing else target
