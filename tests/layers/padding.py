"""Sequences of several lengths as one padded batch, and what a layer makes of them together and alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from hypothesis import strategies as st
from torch import Tensor, nn

from corecur.layers.masks import mask_of

NAN = float("nan")


class Padded(NamedTuple):
    """The sequences (n_b, …), the batch (B, T, …) with NaN between them, and its mask."""

    sequences: list[Tensor]
    batch: Tensor
    mask: Tensor


def pad(sequences: list[Tensor], side: str, *, extra: int = 0, seed: int = 0) -> Padded:
    """The batch, padded on the right, on the left, or anywhere ("interior"), NaN wherever nothing is real."""
    length = max((len(x) for x in sequences), default=0) + extra
    mask = torch.zeros(len(sequences), length, dtype=torch.bool)
    generator = torch.Generator().manual_seed(seed)
    for row, x in zip(mask, sequences, strict=True):
        n = len(x)
        places = {
            "right": torch.arange(n),
            "left": torch.arange(length - n, length),
            "interior": torch.randperm(length, generator=generator)[:n],
        }[side]
        row[places] = True
    batch = torch.full((*mask.shape, *sequences[0].shape[1:]), NAN, dtype=sequences[0].dtype)
    for row, real, x in zip(batch, mask, sequences, strict=True):
        row[real] = x.detach()
    return Padded(sequences, batch.requires_grad_(), mask)


@st.composite
def batches(
    choose: st.DrawFn, *, channels: int = 3, sides: tuple[str, ...] = ("left", "right", "interior"), least: int = 0
) -> Padded:
    """Up to four sequences of normal numbers, of 0 (or ``least``) to 6 steps."""
    lengths = choose(st.lists(st.integers(least, 6), min_size=1, max_size=4))
    generator = torch.Generator().manual_seed(choose(st.integers(0, 1000)))
    sequences = [torch.randn(n, channels, generator=generator, dtype=torch.float64).requires_grad_() for n in lengths]
    extra = max(choose(st.integers(0, 2)), 2 - max(lengths))
    return pad(sequences, choose(st.sampled_from(sides)), extra=extra, seed=choose(st.integers(0, 100)))


def check_alone(
    layer: nn.Module,
    case: Padded,
    *,
    together: Callable[[Tensor, Tensor], Tensor] | None = None,
    alone: Callable[[Tensor], Tensor] | None = None,
    least: int = 1,
    tolerance: float = 1e-10,
) -> None:
    """The layer's outputs and gradients on the batch are those on each sequence alone; shorter ones have no output."""
    output = together(case.batch, case.mask) if together else layer(case.batch, mask=case.mask)
    real = mask_of(output)
    parts = list(output) if real is None else [row[steps] for row, steps in zip(output, real, strict=True)]
    expected = [(alone or layer)(x.unsqueeze(0))[0] if len(x) >= least else None for x in case.sequences]
    for part, wanted in zip(parts, expected, strict=True):
        wanted = torch.zeros_like(part) if wanted is None else wanted
        assert wanted.shape == part.shape
        torch.testing.assert_close(part, wanted, rtol=0, atol=tolerance)
    inputs, weights = [x for x in case.sequences if len(x)], list(layer.parameters())
    got = gradients(parts, [case.batch, *weights])
    wanted = gradients([x for x in expected if x is not None], [*inputs, *weights])
    assert not bool(got[0].masked_select(~case.mask.unsqueeze(-1)).any())  # neither NaN nor anything else
    rows = [row[steps] for row, steps in zip(got[0], case.mask, strict=True) if bool(steps.any())]
    for mine, theirs in zip([*rows, *got[1:]], wanted, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=0, atol=tolerance)


def gradients(outputs: list[Tensor], of: list[Tensor]) -> list[Tensor]:
    """Those of a sum that weighs every output value differently."""
    terms = [term for x in outputs if (term := (x * x.detach().cos() + x.sin()).sum()).requires_grad]
    if not terms:
        return [torch.zeros_like(x) for x in of]
    total = torch.stack(terms).sum()
    found = torch.autograd.grad(total, of, allow_unused=True)
    return [torch.zeros_like(x) if g is None else g for x, g in zip(of, found, strict=True)]
