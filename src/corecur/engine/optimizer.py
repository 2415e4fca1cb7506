"""What an optimiser is here: a frozen description that makes a ``torch.optim.Optimizer``; what all of them share."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import KW_ONLY, dataclass, fields
from typing import Any

import torch
from torch import Tensor

from corecur.engine.schedules import Schedule
from corecur.errors import ConfigError

Group = dict[str, Any]


@dataclass(frozen=True)
class Optimizer(ABC):
    """How parameters are to be updated; leaves say which ``torch.optim`` class does it.

    ``learning_rate`` is a number or a schedule. At most one kind of clipping is set: each gradient's norm
    (``clipnorm``), each element (``clipvalue``), or the norm of all gradients (``global_clipnorm``); the trainer clips.
    ``make`` gives every parameter group its share of the rate as ``rate_share``, for whoever sets the rate of a step.

    >>> from corecur.engine.optimizers import SGD
    >>> weight = torch.nn.Parameter(torch.tensor([1.0]))
    >>> optimizer = SGD(0.1).make([weight])
    >>> weight.square().sum().backward()
    >>> optimizer.step()
    >>> weight.data
    tensor([0.8000])
    """

    learning_rate: float | Schedule
    _: KW_ONLY
    weight_decay: float | None = None
    clipnorm: float | None = None
    clipvalue: float | None = None
    global_clipnorm: float | None = None

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if field.name in _RANGES and isinstance(value, float | int):
                low, high = _RANGES[field.name]
                if not low <= value <= high:
                    raise ConfigError(
                        f"{field.name} of {type(self).__name__} out of range", got=value, expected=f"{low:g} … {high:g}"
                    )
        if sum(clip is not None for clip in (self.clipnorm, self.clipvalue, self.global_clipnorm)) > 1:
            raise ConfigError("only one of clipnorm, clipvalue and global_clipnorm can be set")

    @abstractmethod
    def make(self, parameters: Iterable[Tensor], names: Sequence[str] | None = None) -> torch.optim.Optimizer:
        """An optimiser of these parameters; ``names`` are theirs, in order."""

    @property
    def rate(self) -> float:
        """The rate to begin with."""
        rate = self.learning_rate
        return rate.rate_at(0, 0.0) if isinstance(rate, Schedule) else rate

    @property
    def peak(self) -> float:
        """The highest rate."""
        rate = self.learning_rate
        return rate.peak if isinstance(rate, Schedule) else rate

    @property
    def decay(self) -> float:
        """The weight decay as a number."""
        return self.weight_decay or 0.0


_SHARE = (0.0, 1.0)
_SHARE_BELOW_ONE = (0.0, math.nextafter(1.0, 0.0))
_NOT_NEGATIVE = (0.0, math.nextafter(math.inf, 0.0))
_POSITIVE = (math.nextafter(0.0, 1.0), math.nextafter(math.inf, 0.0))
_RANGES = {
    "learning_rate": _NOT_NEGATIVE,
    "other_learning_rate": _NOT_NEGATIVE,
    "momentum": _SHARE,
    "other_momentum": _SHARE,
    "rho": _SHARE,
    "beta_1": _SHARE_BELOW_ONE,
    "beta_2": _SHARE_BELOW_ONE,
    "adam_beta_1": _SHARE_BELOW_ONE,
    "adam_beta_2": _SHARE_BELOW_ONE,
    "epsilon": _NOT_NEGATIVE,
    "initial_accumulator_value": _NOT_NEGATIVE,
    "weight_decay": _NOT_NEGATIVE,
    "clipnorm": _POSITIVE,
    "clipvalue": _POSITIVE,
    "global_clipnorm": _POSITIVE,
    "ns_steps": (1, 20),
}


def listed(parameters: Iterable[Tensor]) -> list[Tensor]:
    """The parameters as a list; ConfigError where there are none."""
    found = list(parameters)
    if not found:
        raise ConfigError(
            "there is nothing to optimise", got="no parameters", do="give the network a layer with weights"
        )
    return found


def grouped(
    parameters: Iterable[Tensor], decay: float, only_matrices: bool = False, *, key: str = "weight_decay"
) -> list[Group]:
    """Parameter groups with their decay under ``key``: one, or two where only matrices and kernels decay.

    >>> [group["weight_decay"] for group in grouped([torch.zeros(2, 2), torch.zeros(2)], 0.1, only_matrices=True)]
    [0.1, 0.0]
    """
    parameters = list(parameters)
    if not parameters:
        raise ConfigError(
            "there is nothing to optimise", got="no parameters", do="give the network a layer with weights"
        )
    if not (only_matrices and decay):
        return [{"params": parameters, key: decay, "rate_share": 1.0}]
    parts = ([p for p in parameters if p.dim() >= 2], [p for p in parameters if p.dim() < 2])
    return [
        {"params": part, key: amount, "rate_share": 1.0}
        for part, amount in zip(parts, (decay, 0.0), strict=True)
        if part
    ]


def fastest(groups: Iterable[Group], fused_on: frozenset[str] = frozenset()) -> dict[str, bool]:
    """torch's fastest implementation for these parameters: one fused kernel where there is one, else ``foreach``."""
    parameters = [p for group in groups for p in group["params"]]
    if all(p.device.type in fused_on and p.is_floating_point() for p in parameters):
        return {"fused": True}
    return {"foreach": True}


def with_hooks(optimizer: torch.optim.Optimizer) -> torch.optim.Optimizer:
    """Before each step of an optimiser: keep layouts where it is fused, decay where its class has no such decay."""
    if any(group.get("fused") for group in optimizer.param_groups):
        optimizer.register_step_pre_hook(keep_layouts)
    if any(group.get("decay") for group in optimizer.param_groups):
        optimizer.register_step_pre_hook(shrink)
    return optimizer


@torch.no_grad()
def shrink(optimizer: torch.optim.Optimizer, *_: object) -> None:
    """Decay weights by the ``decay`` of their group."""
    for group in optimizer.param_groups:
        if group.get("decay"):
            parameters = [p for p in group["params"] if p.grad is not None]
            torch._foreach_mul_(parameters, 1 - group["lr"] * group["decay"])


def keep_layouts(optimizer: torch.optim.Optimizer, *_: object) -> None:
    """Give gradients and state the strides of their parameter.

    torch's fused kernels walk through memory, not through indices: on a CPU, a contiguous moment loaded beside a
    ``channels_last`` kernel is silently added to the wrong weights (torch 2.13).
    """
    for group in optimizer.param_groups:
        for p in group["params"]:
            if p.grad is None or p.dim() < 2:
                continue
            strides = p.stride()
            if p.grad.stride() != strides:
                p.grad = torch.empty_like(p).copy_(p.grad)
            state = optimizer.state.get(p, {})
            for key, value in state.items():
                if isinstance(value, Tensor) and value.dim() == p.dim() and value.stride() != strides:
                    state[key] = torch.empty_like(p, dtype=value.dtype).copy_(value)


def set_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Set the rate of the next step: each parameter group takes its ``rate_share`` of it.

    >>> from corecur.engine.optimizers import SGD
    >>> optimizer = SGD(0.1).make([torch.nn.Parameter(torch.zeros(1))])
    >>> set_rate(optimizer, 0.05)
    >>> optimizer.param_groups[0]["lr"]
    0.05
    """
    for group in optimizer.param_groups:
        group["lr"] = rate * group.get("rate_share", 1.0)
