from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from corecur.engine import muon
from corecur.engine.muon import MuonOptimizer, compute_dtype, is_matrix, orthogonalise, rate_factor
from corecur.engine.optimizers import Muon

SHAPES = [(16, 16), (16, 48), (48, 16), (8, 100), (2, 300)]


def newton_schulz(x: np.ndarray, steps: int) -> np.ndarray:
    """The iteration by its definition, on singular values, in float64."""
    u, s, v = np.linalg.svd(x, full_matrices=False)
    s = s / np.linalg.norm(x)
    a, b, c = 3.4445, -4.7750, 2.0315
    for _ in range(steps):
        s = a * s + b * s**3 + c * s**5
    return np.asarray((u * s) @ v)


@pytest.mark.parametrize("shape", SHAPES)
def test_iteration_against_singular_values(shape: tuple[int, int]) -> None:
    x = torch.randn(3, *shape)
    want = np.stack([newton_schulz(m, 5) for m in x.double().numpy()])
    np.testing.assert_allclose(orthogonalise(x, 5), want, atol=2e-5)
    np.testing.assert_allclose(orthogonalise(x.double(), 5), want, atol=1e-10)
    low = orthogonalise(x.bfloat16(), 5).double()
    assert float((low - torch.tensor(want)).norm() / np.linalg.norm(want)) < 0.05


@pytest.mark.parametrize("shape", SHAPES)
def test_result_is_nearly_orthogonal_and_points_the_same_way(shape: tuple[int, int]) -> None:
    x = torch.randn(1, *shape)
    u = orthogonalise(x, 8)  # a square matrix has tiny singular values, which take more steps
    values = torch.linalg.svdvals(u)
    assert bool((values < 1.3).all()) and float(values.median()) > 0.65
    if shape != (16, 16):
        assert float(values.min()) > 0.6
    assert float((u * x).sum()) > 0


def test_both_ways_to_compute_agree_on_bad_condition() -> None:
    left, right = torch.linalg.qr(torch.randn(32, 32))[0], torch.linalg.qr(torch.randn(200, 32))[0]
    x = (left * torch.logspace(0, -6, 32)) @ right.T
    x = (x / x.norm())[None]
    torch.testing.assert_close(muon._by_gram(x, 5), muon._by_quintic(x, 5), atol=2e-4, rtol=0)


def test_zero_gradient_is_a_zero_step() -> None:
    assert not orthogonalise(torch.zeros(1, 4, 9)).any()


def network() -> tuple[list[nn.Parameter], list[str]]:
    shapes = {
        "conv.weight": (8, 3, 3, 3),
        "conv.bias": (8,),
        "inner.weight": (6, 8),
        "twin.weight": (6, 8),
        "embedding.weight": (5, 8),
        "head.weight": (3, 6),
    }
    generator = torch.Generator().manual_seed(1)
    return [nn.Parameter(torch.randn(s, generator=generator)) for s in shapes.values()], list(shapes)


def feed(parameters: list[nn.Parameter], seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    for p in parameters:
        p.grad = torch.randn(p.shape, generator=generator)


@pytest.mark.parametrize("nesterov", [True, False])
@pytest.mark.parametrize("scale", ["original", "match_rms_adamw"])
def test_against_torch_muon(monkeypatch: pytest.MonkeyPatch, nesterov: bool, scale: Any) -> None:
    monkeypatch.setattr(muon, "compute_dtype", lambda stack: torch.bfloat16)  # torch's computes in nothing else
    ours = [nn.Parameter(torch.randn(16, 40)), nn.Parameter(torch.randn(40, 16)), nn.Parameter(torch.randn(16, 40))]
    theirs = copy.deepcopy(ours)
    made = Muon(0.02, nesterov=nesterov, weight_decay=0.1, scale=scale).make(ours)
    reference = torch.optim.Muon(
        theirs, lr=0.02, momentum=0.95, nesterov=nesterov, weight_decay=0.1, adjust_lr_fn=scale
    )
    for step in range(4):
        feed(ours, step)
        feed(theirs, step)
        made.step()
        reference.step()
    for p, q in zip(ours, theirs, strict=True):
        torch.testing.assert_close(p, q, atol=3e-3 * rate_factor(16, 40, scale), rtol=0)


def test_kernels_are_flattened_and_layout_does_not_matter() -> None:
    kernel = nn.Parameter(torch.randn(8, 3, 3, 3))
    flat = nn.Parameter(kernel.detach().reshape(8, 27).clone())
    last = nn.Parameter(kernel.detach().clone(memory_format=torch.channels_last))
    feed([kernel], 0)
    assert kernel.grad is not None
    flat.grad, last.grad = kernel.grad.reshape(8, 27), kernel.grad.clone(memory_format=torch.channels_last)
    for p in (kernel, flat, last):
        Muon(0.1).make([p]).step()
    torch.testing.assert_close(kernel.reshape(8, 27), flat)
    torch.testing.assert_close(kernel, last)


def test_stacks_of_a_gpu_give_the_same_as_one_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    stacked, _ = network()
    single, _ = network()
    feed(stacked, 3)
    feed(single, 3)
    Muon(0.1).make(single).step()
    monkeypatch.setattr(muon, "together", lambda matrices: [[0], [1, 2], [3], [4]])  # the two of one shape
    Muon(0.1).make(stacked).step()
    for p, q in zip(stacked, single, strict=True):
        torch.testing.assert_close(p, q, atol=1e-5, rtol=0)


def test_matrices_do_not_touch_each_other() -> None:
    in_one, _ = network()
    alone, _ = network()
    feed(in_one, 3)
    feed(alone, 3)
    Muon(0.1).make(in_one).step()
    for p in alone:
        Muon(0.1).make([p]).step()
    for p, q in zip(in_one, alone, strict=True):
        torch.testing.assert_close(p, q, atol=1e-5, rtol=0)


@pytest.mark.parametrize("other", ["adamw", "sgd"])
def test_the_others_follow_their_own_optimiser(other: Any) -> None:
    parameters, names = network()
    twins, _ = network()
    made = Muon(0.02, other=other, other_learning_rate=0.01, exclude="head", epsilon=1e-8).make(parameters, names)
    chosen = [
        t for t, name in zip(twins, names, strict=True) if name.split(".")[0] in ("embedding", "head") or t.dim() < 2
    ]
    reference: torch.optim.Optimizer = (
        torch.optim.AdamW(chosen, lr=0.01, weight_decay=0.0, fused=True)
        if other == "adamw"
        else torch.optim.SGD(chosen, lr=0.01, momentum=0.9, nesterov=True, fused=True)
    )
    for step in range(3):
        feed(parameters, step)
        feed(twins, step)
        made.step()
        reference.step()
    for p, t in zip(parameters, twins, strict=True):
        assert torch.allclose(p, t, atol=1e-6) == any(t is one for one in chosen)  # natively up to rounding


@pytest.mark.parametrize("other", ["adamw", "sgd"])
def test_a_copy_goes_on_as_the_original(other: Any) -> None:
    parameters, names = network()
    made = Muon(0.02, other=other).make(parameters, names)
    feed(parameters, 0)
    made.step()
    copied_parameters, copied = copy.deepcopy((parameters, made))
    assert isinstance(copied, MuonOptimizer)
    for group, optimizer in ((parameters, made), (copied_parameters, copied)):
        feed(group, 1)
        optimizer.step()
    assert all(torch.equal(p, q) for p, q in zip(parameters, copied_parameters, strict=True))


def test_closure() -> None:
    weight = nn.Parameter(torch.randn(4, 4))
    made = Muon(0.02).make([weight])

    def closure() -> Tensor:
        made.zero_grad()
        loss = weight.square().sum()
        loss.backward()
        return loss

    before = float(weight.detach().square().sum())
    loss = made.step(closure)  # type: ignore[call-overload]
    assert float(loss.detach()) == pytest.approx(before)


def test_what_is_a_matrix_and_how_it_is_computed() -> None:
    shapes = {
        (4, 3): True,
        (4, 3, 3, 3): True,
        (4, 1, 3, 3): True,
        (4,): False,
        (1, 9): False,
        (9, 1): False,
        (): False,
    }
    for shape, want in shapes.items():
        assert is_matrix(torch.zeros(shape)) == want
    assert compute_dtype(torch.zeros(1, 8, 8)) == torch.float32
    assert compute_dtype(torch.zeros(1, 8, 8, dtype=torch.float64)) == torch.float64


def test_unit_rows_bring_each_matrix_to_its_norm_first() -> None:
    weight = nn.Parameter(7 * torch.randn(6, 4, 3, 3))
    made = MuonOptimizer([{"params": [weight], "orthogonal": True}], torch.optim.AdamW, lr=0.0, unit_rows=True)
    before = weight.detach().clone()
    feed([weight], 0)
    made.step()
    torch.testing.assert_close(weight.detach(), before * 6**0.5 / before.norm())
