"""Penalties on weights and outputs: L1, L2 and both, with Keras' factors (L2 without the half)."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

from torch import Tensor

from corecur.names import Table


class Regularizer(ABC):
    """A penalty: a scalar tensor that is added to the loss."""

    @abstractmethod
    def __call__(self, tensor: Tensor) -> Tensor:
        """The penalty of ``tensor``, a scalar."""


@dataclass(frozen=True)
class L1(Regularizer):
    """``l1 · Σ|w|``.

    >>> import torch
    >>> L1(0.5)(torch.tensor([1.0, -3.0]))
    tensor(2.)
    """

    l1: float = 0.01

    def __call__(self, tensor: Tensor) -> Tensor:
        return self.l1 * tensor.abs().sum()


@dataclass(frozen=True)
class L2(Regularizer):
    """``l2 · Σw²``.

    >>> import torch
    >>> L2(0.5)(torch.tensor([1.0, -3.0]))
    tensor(5.)
    """

    l2: float = 0.01

    def __call__(self, tensor: Tensor) -> Tensor:
        return self.l2 * tensor.square().sum()


@dataclass(frozen=True)
class L1L2(Regularizer):
    """``l1 · Σ|w| + l2 · Σw²``."""

    l1: float = 0.0
    l2: float = 0.0

    def __call__(self, tensor: Tensor) -> Tensor:
        return self.l1 * tensor.abs().sum() + self.l2 * tensor.square().sum()


REGULARIZERS: Table[Regularizer] = Table("regularizer", {"l1": L1(), "l2": L2(), "l1_l2": L1L2(0.01, 0.01)})


def find_regularizer(spec: str | Regularizer | None) -> Regularizer | None:
    """The regulariser of that name, the one given, or None.

    >>> find_regularizer("l2")
    L2(l2=0.01)
    """
    return spec if spec is None or isinstance(spec, Regularizer) else REGULARIZERS[spec]
