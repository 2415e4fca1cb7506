"""The losses by name, and those for real values.

Shapes: B batch, T time (or any inner axes), K units.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor, nn

from corecur.engine.crf_loss import CRFLoss
from corecur.engine.crossentropy import (
    BinaryCrossentropy,
    CategoricalCrossentropy,
    Crossentropy,
    SparseCategoricalCrossentropy,
)
from corecur.engine.focal import BinaryFocalCrossentropy, CategoricalFocalCrossentropy
from corecur.engine.loss import Loss, Reduction, aligned
from corecur.engine.quantile_loss import PinballLoss
from corecur.errors import ConfigError, ShapeError
from corecur.names import Table

__all__ = [
    "LOSSES",
    "BinaryCrossentropy",
    "BinaryFocalCrossentropy",
    "CRFLoss",
    "CategoricalCrossentropy",
    "CategoricalFocalCrossentropy",
    "Crossentropy",
    "FunctionLoss",
    "Huber",
    "Loss",
    "MeanAbsoluteError",
    "MeanSquaredError",
    "PinballLoss",
    "SparseCategoricalCrossentropy",
    "find_loss",
]

LossFunction = Callable[[Tensor, Tensor], Tensor]
LossSpec = str | Loss | type[Loss] | LossFunction


@dataclass(frozen=True)
class MeanSquaredError(Loss):
    """(y - ŷ)², averaged over all units.

    >>> import torch
    >>> MeanSquaredError()(torch.tensor([1.0, 2.0]), torch.tensor([[1.0], [4.0]]))
    tensor(2.)
    """

    def elements(self, target: Tensor, output: Tensor, reduction: Reduction = "none") -> Tensor:
        return F.mse_loss(output, aligned(target, output), reduction=reduction)


@dataclass(frozen=True)
class MeanAbsoluteError(Loss):
    """|y - ŷ|, averaged over all units.

    >>> import torch
    >>> MeanAbsoluteError()(torch.tensor([1.0, 2.0]), torch.tensor([[1.0], [4.0]]))
    tensor(1.)
    """

    def elements(self, target: Tensor, output: Tensor, reduction: Reduction = "none") -> Tensor:
        return F.l1_loss(output, aligned(target, output), reduction=reduction)


@dataclass(frozen=True)
class Huber(Loss):
    """With e = |y - ŷ|: e² / 2 up to ``delta``, δ (e - δ / 2) beyond (Huber 1964).

    >>> import torch
    >>> Huber(1.0)(torch.zeros(2, 1), torch.tensor([[1.0], [3.0]]))
    tensor(1.5000)
    """

    delta: float = 1.0

    def __post_init__(self) -> None:
        if not self.delta > 0:
            raise ConfigError("Huber's delta out of range", got=self.delta, expected="more than 0")

    def elements(self, target: Tensor, output: Tensor, reduction: Reduction = "none") -> Tensor:
        return F.huber_loss(output, aligned(target, output), delta=self.delta, reduction=reduction)


@dataclass(frozen=True)
class FunctionLoss(Loss):
    """A user's function of (target, output), returning a scalar or one loss per position (B, …).

    >>> import torch
    >>> loss = FunctionLoss(lambda target, output: (target - output).abs().amax(-1))
    >>> loss(torch.zeros(2, 3), torch.tensor([[1.0, 2.0, 3.0], [0.0, 0.0, -5.0]]))
    tensor(4.)
    """

    function: LossFunction

    def elements(self, target: Tensor, output: Tensor, reduction: Reduction = "none") -> Tensor:
        losses = self.function(target, output)
        if reduction == "mean":
            return losses.mean()
        if losses.dim() == 0 or len(losses) != len(output):
            raise ShapeError(
                "this loss gives no value per sample, so it cannot be weighted or masked",
                where=getattr(self.function, "__name__", repr(self.function)),
                got=tuple(losses.shape),
                expected=(len(output),),
                do="let the function return one loss per sample",
            )
        return losses


LOSSES: Table[type[Loss]] = Table(
    "loss",
    {
        "binary_crossentropy": BinaryCrossentropy,
        "binary_focal_crossentropy": BinaryFocalCrossentropy,
        "categorical_crossentropy": CategoricalCrossentropy,
        "categorical_focal_crossentropy": CategoricalFocalCrossentropy,
        "crf": CRFLoss,
        "crossentropy": Crossentropy,
        "huber": Huber,
        "mean_absolute_error": MeanAbsoluteError,
        "mean_squared_error": MeanSquaredError,
        "pinball": PinballLoss,
        "sparse_categorical_crossentropy": SparseCategoricalCrossentropy,
    },
    aliases={
        "bce": "binary_crossentropy",
        "cce": "categorical_crossentropy",
        "huber_loss": "huber",
        "mae": "mean_absolute_error",
        "mse": "mean_squared_error",
        "quantile": "pinball",
        "scce": "sparse_categorical_crossentropy",
    },
)


def find_loss(spec: LossSpec) -> Loss:
    """The loss meant by a name, a loss, its class, a function of (target, output), or a loss of ``torch.nn``.

    >>> find_loss("mse"), find_loss(Huber(2.0))
    (MeanSquaredError(), Huber(delta=2.0))
    """
    if isinstance(spec, str):
        return LOSSES[spec]()
    if isinstance(spec, Loss):
        return spec
    if isinstance(spec, type):
        return _made(spec)
    if isinstance(spec, nn.Module) and type(spec).__module__ == "torch.nn.modules.loss":
        return FunctionLoss(lambda target, output: spec(output, target))  # torch's losses take the output first
    if callable(spec):
        return FunctionLoss(spec)
    raise _no_loss(spec)


def _made(kind: type) -> Loss:
    if not issubclass(kind, Loss):
        raise _no_loss(kind)
    return kind()


def _no_loss(spec: object) -> ConfigError:
    return ConfigError("not a loss", got=repr(spec), expected="a name, a Loss, or a function of (target, output)")
