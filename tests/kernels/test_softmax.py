"""The native softmax and cross-entropy against torch's in float64, in every instruction set."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from corecur.engine.crossentropy import Crossentropy, SparseCategoricalCrossentropy
from corecur.errors import DataError
from corecur.kernels.native_softmax import class_losses, mean_loss, probabilities, serves
from corecur.layers.dense import Dense
from tests.kernels.instruction_sets import isa
from tests.kernels.needs_kernels import needs_kernels

__all__ = ["isa"]
IGNORED = -100


def drawn(positions: int, classes: int) -> tuple[Tensor, Tensor]:
    """Scores far and near, and labels, some of them to be ignored."""
    generator = torch.Generator().manual_seed(classes)
    scores = torch.randn(positions, classes, generator=generator) * 4
    scores[1] += 300
    scores[2, 0] = -1e4
    labels = torch.randint(classes, (positions,), generator=generator)
    labels[3::7] = IGNORED
    return scores, labels


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
@pytest.mark.parametrize("classes", [1, 2, 3, 10, 15, 16, 17, 31, 33, 64, 1000])
def test_losses_and_gradients_are_those_of_float64(isa: str, classes: int, smoothing: float) -> None:
    scores, labels = drawn(1030 if classes < 16 else 33_000 // classes + 5, classes)
    assert serves(scores)
    each = torch.rand(len(scores), generator=torch.Generator().manual_seed(1))

    def run(x: Tensor, native: bool) -> list[Tensor]:
        x = x.clone().requires_grad_()
        if native:
            losses = class_losses(x, labels, smoothing, IGNORED)
        else:
            losses = F.cross_entropy(x, labels, reduction="none", label_smoothing=smoothing, ignore_index=IGNORED)
        (gradient,) = torch.autograd.grad((losses * each.to(x.dtype)).sum(), x)
        return [losses.detach(), gradient, (probabilities if native else lambda s: s.softmax(-1))(x.detach())]

    ours, stock, exact = run(scores, True), run(scores, False), run(scores.double(), False)
    for found, other, truth in zip(ours, stock, exact, strict=True):
        size = truth.abs().clamp_min(1.0)
        mine, theirs = (((value - truth).abs() / size).max() for value in (found, other))
        assert mine <= 2 * theirs + 5e-7


@needs_kernels
def test_what_is_no_number_stays_so_and_what_is_impossible_has_no_share() -> None:
    scores = torch.randn(600, 8)
    scores[0, 3], scores[1, 2], scores[2, :] = float("nan"), -float("inf"), -float("inf")
    found, expected = probabilities(scores), scores.softmax(-1)
    assert found[0].isnan().all() and found[2].isnan().all()
    assert found[1, 2] == 0
    torch.testing.assert_close(found[3:], expected[3:])


@needs_kernels
@pytest.mark.parametrize("reduction", ["mean", "none"])
@pytest.mark.parametrize("ignore", [None, 4])
def test_sequences_in_either_order_of_memory(reduction: Any, ignore: int | None) -> None:
    generator = torch.Generator().manual_seed(0)
    memory = torch.randn(80, 40, 6, generator=generator)  # (T, B, C)
    labels = torch.randint(9, (40, 80), generator=generator)
    loss = SparseCategoricalCrossentropy(ignore_class=ignore)
    head = Dense(9, "softmax")
    found = []
    for x in (memory.transpose(0, 1), memory.transpose(0, 1).contiguous()):
        x = x.clone(memory_format=torch.preserve_format).requires_grad_()
        output = head(x)
        losses = loss.elements(labels, output, reduction)
        real = labels != (-1 if ignore is None else ignore)
        value = losses if reduction == "mean" else (losses * real).sum()
        found.append([output.detach(), losses.detach(), *torch.autograd.grad(value, [x, head.weight])])
    for one, other in zip(*found, strict=True):
        assert one.shape == other.shape
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-4 if reduction == "none" else 1e-6)
    truth = F.cross_entropy(
        output.logits.double().transpose(1, 2),
        labels,
        reduction=reduction,
        ignore_index=-1 if ignore is None else ignore,
    )
    torch.testing.assert_close(found[0][1].double(), truth, rtol=1e-5, atol=1e-6)


@needs_kernels
def test_second_derivatives_are_torchs() -> None:
    scores, labels = drawn(600, 3)
    found = []
    for native in (True, False):
        x = scores.clone().requires_grad_()
        losses = class_losses(x, labels, 0.1, IGNORED) if native else F.cross_entropy(
            x, labels, reduction="none", label_smoothing=0.1, ignore_index=IGNORED
        )  # fmt: skip
        (gradient,) = torch.autograd.grad(losses.sum(), x, create_graph=True)
        found.append(torch.autograd.grad(gradient.square().sum(), x)[0])
    torch.testing.assert_close(*found, rtol=1e-4, atol=1e-6)


@needs_kernels
@pytest.mark.parametrize("label", [-1, 5, 2**40])
def test_a_label_that_is_no_class_is_named(label: int) -> None:
    labels = torch.zeros(900, dtype=torch.long)
    labels[17] = label
    with pytest.raises(DataError, match=f"label {label} is not a class"):
        Crossentropy().elements(labels, torch.zeros(900, 5))


@needs_kernels
@pytest.mark.parametrize("time_first", [False, True])
@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_the_mean_is_that_of_torch_in_float64(time_first: bool, smoothing: float) -> None:
    torch.manual_seed(0)
    scores = torch.randn(30, 40, 9) * 3
    if time_first:
        scores = scores.transpose(0, 1).contiguous().transpose(0, 1)
    labels, found = torch.randint(9, (30, 40)), []
    for native in (True, False):
        x = scores.detach().clone(memory_format=torch.preserve_format) if native else scores.double()
        x.requires_grad_()
        loss = (
            mean_loss(x, labels, smoothing)
            if native
            else F.cross_entropy(x.flatten(0, 1), labels.flatten(), label_smoothing=smoothing)
        )
        (first,) = torch.autograd.grad(3 * loss, x, retain_graph=True)
        (again,) = torch.autograd.grad(3 * loss, x, create_graph=True)
        (second,) = torch.autograd.grad(again.square().sum(), x)
        found.append([loss.detach().double(), first.double(), again.detach().double(), second.double()])
        assert not native or first.stride() == x.stride()
    for mine, true in zip(*found, strict=True):
        torch.testing.assert_close(mine, true, rtol=1e-5, atol=1e-6 * float(true.abs().max()))
    labels[3, 7] = 9
    with pytest.raises(IndexError):
        mean_loss(scores, labels, smoothing)
