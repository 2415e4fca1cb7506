"""Works for the native recurrent kernels, and what two ways of doing one differ by.

B batch, T time, C features, H units.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from corecur.kernels.cell import RECURRENCES, Work
from corecur.kernels.native import KINDS
from corecur.kernels.time_loop import run_plain

Run = Callable[[Work], tuple[Tensor, list[Tensor]]]
PHI = {"tanh": torch.tanh, "relu": torch.relu}
#: Every kind with its activation, as the keys of ``KINDS``.
EVERY = sorted(KINDS)


def drawn(
    kind: tuple[str, str],
    *,
    batch: int = 5,
    steps: int = 4,
    features: int = 3,
    units: int = 6,
    bias: bool = True,
    lengths: list[int] | None = None,
    dropout: bool = False,
    zoneout: str = "",
    seed: int = 0,
) -> Work:
    """A float32 work, its weights about as large as trained ones; ``zoneout`` is drawn, mean or empty."""
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape: int, most: float = 1.0) -> Tensor:
        return ((torch.rand(shape, generator=generator) * 2 - 1) * most).requires_grad_()

    name, activation = kind
    row = RECURRENCES[name]
    shapes = row.shapes(features=features, units=units, outputs=units)
    weights = {n: draw(*s, most=2 * s[-1] ** -0.5) for n, s in shapes.items() if bias or not n.startswith("bias")}
    size = (steps, batch, units) if zoneout == "drawn" else (1, 1, 1)
    kept = [torch.rand(size, generator=generator) for _ in range(row.states)]
    return Work(
        name, PHI[activation], torch.sigmoid, draw(batch, steps, features), [draw(batch, units) for _ in kept], weights,
        lengths=None if lengths is None else torch.tensor(lengths, dtype=torch.long),
        recurrent_dropout=(torch.rand(batch, units, generator=generator) < 0.7) / 0.7 if dropout else None,
        zoneout=tuple(k.round() if zoneout == "drawn" else k for k in kept) if zoneout else (),
    )  # fmt: skip


class Calls(TorchDispatchMode):
    """Inside the block: the package's own operations and what they are given."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[tuple[Any, tuple[Any, ...]]] = []

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if function.namespace == "corecur":
            self.seen.append((function, args))
        return function(*args, **(kwargs or {}))


def leaves(work: Work) -> list[Tensor]:
    """What gradients flow to."""
    return [work.x, *work.state, *work.weights.values()]


def changed(work: Work, change: Callable[[Tensor], Tensor]) -> Work:
    """The work with every tensor that computes put through ``change``."""

    def of(tensor: Tensor) -> Tensor:
        return change(tensor.detach()).requires_grad_(tensor.requires_grad)

    more: dict[str, Any] = {"zoneout": tuple(map(of, work.zoneout))}
    if work.recurrent_dropout is not None:
        more["recurrent_dropout"] = of(work.recurrent_dropout)
    weights = {name: of(weight) for name, weight in work.weights.items()}
    return dataclasses.replace(work, x=of(work.x), state=[of(s) for s in work.state], weights=weights, **more)


def objective(work: Work, outputs: Tensor, state: list[Tensor]) -> Tensor:
    """A scalar of all real outputs and, where they count, of the last states."""
    if work.lengths is not None:
        real = torch.arange(work.x.shape[1]) < work.lengths[:, None]
        outputs = outputs.where(real[..., None], torch.zeros((), dtype=outputs.dtype))
    return outputs.sin().sum() + sum((s.sin() * (n + 2)).sum() for n, s in enumerate(state) if work.need_state)


def results(run: Run, work: Work) -> list[Tensor]:
    """Outputs at real steps, last states, and the gradients to input, first states and weights."""
    outputs, state = run(work)
    gradients = torch.autograd.grad(objective(work, outputs, state), leaves(work))
    if work.lengths is not None:
        outputs = outputs.where((torch.arange(work.x.shape[1]) < work.lengths[:, None])[..., None], torch.zeros(()))
    return [t.detach() for t in (outputs, *(state if work.need_state else []), *gradients)]


def assert_as_exact_as_torch(run: Run, work: Work) -> None:
    """Every result at most twice as far from float64, by root mean square, as torch's own float32 operations leave it.

    Four units in the last place of the largest value are free. Over fewer than 64 numbers torch's error may be small by
    chance alone: there they are units of 1, which is about what flows in from the objective.
    """
    truth = results(run_plain, changed(work, torch.Tensor.double))
    for number, (ours, stock, true) in enumerate(zip(results(run, work), results(run_plain, work), truth, strict=True)):
        assert ours.shape == true.shape
        if true.numel() == 0:
            continue
        largest = true.abs().max().item()
        free = 4 * torch.finfo(torch.float32).eps * (largest if true.numel() >= 64 else max(1.0, largest))
        error, theirs = ((found.double() - true).square().mean().sqrt().item() for found in (ours, stock))
        assert error <= 2 * theirs + free, f"result {number} of {work.kind}: {error:.3g}, torch {theirs:.3g}"
