"""Keras' initialisers: each fills a fresh tensor from torch's generator.

``fan_in`` and ``fan_out`` are counted on PyTorch's weight layout, (out, in, *kernel).
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor

from corecur.errors import ConfigError
from corecur.names import Table


def fans(shape: tuple[int, ...]) -> tuple[float, float]:
    """Connections into and out of one unit of a weight of shape (out, in, *kernel).

    >>> fans((64, 32, 3, 3))
    (288.0, 576.0)
    """
    if len(shape) < 2:
        size = float(shape[0]) if shape else 1.0
        return size, size
    field = math.prod(shape[2:])
    return float(shape[1] * field), float(shape[0] * field)


class Initializer(ABC):
    """Fills a tensor in place and returns it."""

    @abstractmethod
    def __call__(self, tensor: Tensor) -> Tensor:
        """Fill ``tensor``, a weight in PyTorch's layout."""


@dataclass(frozen=True)
class Zeros(Initializer):
    """All zero."""

    def __call__(self, tensor: Tensor) -> Tensor:
        return tensor.zero_()


@dataclass(frozen=True)
class Ones(Initializer):
    """All one."""

    def __call__(self, tensor: Tensor) -> Tensor:
        return tensor.fill_(1.0)


@dataclass(frozen=True)
class Constant(Initializer):
    """All ``value``."""

    value: float = 0.0

    def __call__(self, tensor: Tensor) -> Tensor:
        return tensor.fill_(self.value)


@dataclass(frozen=True)
class RandomNormal(Initializer):
    """Normal with the given mean and standard deviation."""

    mean: float = 0.0
    stddev: float = 0.05

    def __call__(self, tensor: Tensor) -> Tensor:
        return tensor.normal_(self.mean, self.stddev)


@dataclass(frozen=True)
class RandomUniform(Initializer):
    """Uniform in [minval, maxval)."""

    minval: float = -0.05
    maxval: float = 0.05

    def __call__(self, tensor: Tensor) -> Tensor:
        return tensor.uniform_(self.minval, self.maxval)


@dataclass(frozen=True)
class TruncatedNormal(Initializer):
    """Normal, redrawn beyond two standard deviations."""

    mean: float = 0.0
    stddev: float = 0.05

    def __call__(self, tensor: Tensor) -> Tensor:
        low, high = self.mean - 2 * self.stddev, self.mean + 2 * self.stddev
        return torch.nn.init.trunc_normal_(tensor, self.mean, self.stddev, low, high)


# The standard deviation of a unit normal cut at ±2, by which Keras divides to keep the variance asked for.
_TRUNCATED_STDDEV = 0.87962566103423978


@dataclass(frozen=True)
class VarianceScaling(Initializer):
    """Variance ``scale / n`` with n the fan in, the fan out or their mean.

    The Glorot (Glorot & Bengio 2010), He (He et al. 2015) and LeCun (1998) initialisers are rows of this one.

    >>> VarianceScaling(scale=2.0, mode="fan_out")
    VarianceScaling(scale=2.0, mode='fan_out', distribution='truncated_normal')
    """

    scale: float = 1.0
    mode: str = "fan_in"
    distribution: str = "truncated_normal"

    def __post_init__(self) -> None:
        if self.mode not in ("fan_in", "fan_out", "fan_avg"):
            raise ConfigError("unknown fan mode", got=self.mode, expected="fan_in, fan_out or fan_avg")
        if self.distribution not in ("truncated_normal", "untruncated_normal", "uniform"):
            expected = "truncated_normal, untruncated_normal or uniform"
            raise ConfigError("unknown distribution", got=self.distribution, expected=expected)

    def __call__(self, tensor: Tensor) -> Tensor:
        fan_in, fan_out = fans(tuple(tensor.shape))
        size = {"fan_in": fan_in, "fan_out": fan_out, "fan_avg": (fan_in + fan_out) / 2}[self.mode]
        variance = self.scale / max(1.0, size)
        if self.distribution == "uniform":
            limit = math.sqrt(3 * variance)
            return tensor.uniform_(-limit, limit)
        if self.distribution == "untruncated_normal":
            return tensor.normal_(0.0, math.sqrt(variance))
        return TruncatedNormal(0.0, math.sqrt(variance) / _TRUNCATED_STDDEV)(tensor)


@dataclass(frozen=True)
class Orthogonal(Initializer):
    """A (semi-)orthogonal matrix times ``gain`` (Saxe et al. 2014)."""

    gain: float = 1.0

    def __call__(self, tensor: Tensor) -> Tensor:
        return torch.nn.init.orthogonal_(tensor, self.gain)


@dataclass(frozen=True)
class Dirac(Initializer):
    """Each output channel starts as a copy of an input channel; channels beyond the input's start as Glorot's."""

    def __call__(self, tensor: Tensor) -> Tensor:
        VarianceScaling(1.0, "fan_avg", "uniform")(tensor)
        copies = min(tensor.shape[0], tensor.shape[1])
        torch.nn.init.dirac_(tensor[:copies])
        return tensor


INITIALIZERS: Table[Initializer] = Table(
    "initializer",
    {
        "zeros": Zeros(),
        "ones": Ones(),
        "constant": Constant(),
        "random_normal": RandomNormal(),
        "random_uniform": RandomUniform(),
        "truncated_normal": TruncatedNormal(),
        "variance_scaling": VarianceScaling(),
        "glorot_uniform": VarianceScaling(1.0, "fan_avg", "uniform"),
        "glorot_normal": VarianceScaling(1.0, "fan_avg", "truncated_normal"),
        "he_uniform": VarianceScaling(2.0, "fan_in", "uniform"),
        "he_normal": VarianceScaling(2.0, "fan_in", "truncated_normal"),
        "lecun_uniform": VarianceScaling(1.0, "fan_in", "uniform"),
        "lecun_normal": VarianceScaling(1.0, "fan_in", "truncated_normal"),
        "orthogonal": Orthogonal(),
        "dirac": Dirac(),
    },
    aliases={"zero": "zeros", "one": "ones", "normal": "random_normal", "uniform": "random_uniform"},
)


def find_initializer(spec: str | Initializer) -> Initializer:
    """The initialiser of that name, or the one given.

    >>> find_initializer("he_normal").scale
    2.0
    """
    return spec if isinstance(spec, Initializer) else INITIALIZERS[spec]
