"""What an optimiser remembers, as plain values; checked in full before any of it is put back."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from corecur.engine.misfit import misfit
from corecur.engine.native_optimizers import NativeStep


def optimizer_state(optimizer: torch.optim.Optimizer) -> dict[str, Any]:
    """Settings of each group, and what is kept beside each parameter; the tensors are the optimiser's own.

    >>> weight = torch.nn.Parameter(torch.zeros(1))
    >>> optimizer_state(torch.optim.SGD([weight], lr=0.5))["groups"][0]["lr"]
    0.5
    """
    return {
        "kind": _kind(optimizer),
        "groups": [{k: v for k, v in group.items() if k != "params"} for group in optimizer.param_groups],
        "states": [dict(optimizer.state[p]) if p in optimizer.state else None for p in _parameters(optimizer)],
    }


def check_optimizer_state(optimizer: torch.optim.Optimizer, found: Any) -> None:
    """BundleError where this is no state of such an optimiser of such parameters."""
    parameters, groups = _parameters(optimizer), optimizer.param_groups
    fits = (
        isinstance(found, dict)
        and set(found) == {"kind", "groups", "states"}
        and found["kind"] == _kind(optimizer)
        and _is_list_of(found["states"], (dict, type(None)), len(parameters))
        and _is_list_of(found["groups"], (dict,), len(groups))
    )
    if not fits:
        raise misfit("its optimizer is another one")
    for group, saved in zip(groups, found["groups"], strict=True):
        if set(saved) != set(group) - {"params"}:
            raise misfit("its optimizer has other settings")
        for name, value in saved.items():
            if not _is_like(value, group[name]):
                raise misfit(f"its optimizer's {name} is {str(value)[:40]}")
    fused = [bool(group.get("fused")) for group in groups for _ in group["params"]]
    for parameter, state, trusting in zip(parameters, found["states"], fused, strict=True):
        for name, value in (state or {}).items():
            if not _is_beside(parameter, name, value, exactly=trusting):
                raise misfit(f"the optimizer's {name!r} has a form that fits no weight")


def restore_optimizer(optimizer: torch.optim.Optimizer, found: dict[str, Any]) -> None:
    """Put back a state that was checked."""
    for group, saved in zip(optimizer.param_groups, found["groups"], strict=True):
        group.update(saved)
    optimizer.state.clear()
    for parameter, state in zip(_parameters(optimizer), found["states"], strict=True):
        if state is not None:
            optimizer.state[parameter] = {key: _at_home(value, parameter) for key, value in state.items()}


def _kind(optimizer: torch.optim.Optimizer) -> str:
    """The class of torch that it is in all but its step: a state passes from one to the other."""
    return (optimizer.torch_class if isinstance(optimizer, NativeStep) else type(optimizer)).__name__


def _parameters(optimizer: torch.optim.Optimizer) -> list[Tensor]:
    return [parameter for group in optimizer.param_groups for parameter in group["params"]]


def _is_list_of(value: Any, kinds: tuple[type, ...], length: int) -> bool:
    return isinstance(value, list) and len(value) == length and all(isinstance(item, kinds) for item in value)


def _is_like(value: Any, own: Any) -> bool:
    """Whether a setting can stand for another: numbers for numbers, the same for what chooses the code that runs."""
    if isinstance(own, (int, float)) and not isinstance(own, bool):
        return type(value) in (int, float) and math.isfinite(value)
    if isinstance(own, (list, tuple)):
        return type(value) is type(own) and len(value) == len(own) and all(map(_is_like, value, own))
    if isinstance(own, Tensor):
        return isinstance(value, Tensor) and value.shape == own.shape and value.dtype == own.dtype
    return type(value) is type(own) and bool(value == own)


def _is_beside(parameter: Tensor, name: str, value: Any, *, exactly: bool) -> bool:
    """Whether an optimiser can keep this: a number, or values along a parameter's axes.

    ``exactly``: fused kernels walk through memory and trust that every tensor but the count of steps is as large as
    the parameter.
    """
    if not isinstance(value, Tensor):
        return value is None or isinstance(value, (bool, int, float))
    if exactly:
        shape, dtype = ((), torch.float32) if name == "step" else (parameter.shape, parameter.dtype)
        return value.shape == shape and value.dtype == dtype
    if value.numel() == 1:
        return True
    return value.dim() == parameter.dim() and all(
        size in (1, own) for size, own in zip(value.shape, parameter.shape, strict=True)
    )


def _at_home(value: Any, parameter: Tensor) -> Any:
    """A value of the optimiser where its parameter is; counts of steps stay on the CPU, where torch makes them."""
    if not isinstance(value, Tensor):
        return value
    return value.clone() if value.dim() == 0 else value.to(parameter.device, copy=True)
