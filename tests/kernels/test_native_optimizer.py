"""The native step and the native clipping: equations in float64, torch's own, odd input, any number of threads."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch import Tensor, nn

from corecur.kernels.native_optimizer import (
    ADAM,
    RMSPROP,
    SGD,
    Kept,
    Rule,
    Step,
    can_clip,
    clip,
    is_dense,
    refusal,
)
from tests.kernels.needs_kernels import needs_kernels

pytestmark = needs_kernels

LIMIT = 2.0  # times the error of torch's own step in float32
SHAPES = st.lists(st.lists(st.integers(0, 40), min_size=0, max_size=3).map(tuple), min_size=1, max_size=5)
# More than the floats that are worth a second thread, in tensors that end anywhere.
MANY = [(1000,)] * 40 + [(70_001,), (1,), (), (0,), (33, 7)]

Array = NDArray[np.float64]


@pytest.fixture(params=[1, 2])
def threads(request: pytest.FixtureRequest) -> Iterator[int]:
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(before)


def sgd(w: Array, g: Array, kept: dict[str, Array], t: int, r: dict[str, Any]) -> Array:
    w = w * (1 - r["rate"] * r["decay"])
    if not r["beta_1"]:
        return w - r["rate"] * g
    kept["first"] = r["beta_1"] * kept["first"] + g
    return w - r["rate"] * (g + r["beta_1"] * kept["first"] if r["variant"] else kept["first"])


def adam(w: Array, g: Array, kept: dict[str, Array], t: int, r: dict[str, Any]) -> Array:
    """Kingma & Ba 2015, algorithm 1; Reddi et al. 2018, algorithm 2; Loshchilov & Hutter 2019, algorithm 2."""
    kept["first"] = r["beta_1"] * kept["first"] + (1 - r["beta_1"]) * g
    kept["second"] = r["beta_2"] * kept["second"] + (1 - r["beta_2"]) * g**2
    v = kept["second"]
    if r["variant"]:
        kept["third"] = v = np.maximum(v, kept["third"])
    m, v = kept["first"] / (1 - r["beta_1"] ** t), v / (1 - r["beta_2"] ** t)
    return w * (1 - r["rate"] * r["decay"]) - r["rate"] * m / (np.sqrt(v) + r["epsilon"])


def rmsprop(w: Array, g: Array, kept: dict[str, Array], t: int, r: dict[str, Any]) -> Array:
    w = w * (1 - r["rate"] * r["decay"])
    kept["second"] = v = r["beta_2"] * kept["second"] + (1 - r["beta_2"]) * g**2
    if r["variant"]:
        kept["first"] = r["beta_2"] * kept["first"] + (1 - r["beta_2"]) * g
        v = v - kept["first"] ** 2
    step = g / (np.sqrt(v) + r["epsilon"])
    if r["beta_1"]:
        kept["third"] = step = r["beta_1"] * kept["third"] + step
    return w - r["rate"] * step


EQUATIONS = {SGD: sgd, ADAM: adam, RMSPROP: rmsprop}


def keeps(kind: int, r: dict[str, Any]) -> set[str]:
    if kind == SGD:
        return {"first"} if r["beta_1"] else set()
    if kind == ADAM:
        return {"first", "second"} | ({"third"} if r["variant"] else set())
    return {"second"} | ({"first"} if r["variant"] else set()) | ({"third"} if r["beta_1"] else set())


def torch_s(kind: int, weights: list[nn.Parameter], r: dict[str, Any]) -> torch.optim.Optimizer:
    """torch's own step with its decay beside the gradient, where it has one."""
    rate, eps = r["rate"], r["epsilon"]
    on = {"fused": True}
    if kind == SGD:
        nesterov = bool(r["variant"] and r["beta_1"])
        return torch.optim.SGD(weights, lr=rate, momentum=r["beta_1"], nesterov=nesterov, **on)
    if kind == ADAM:
        betas, variant = (r["beta_1"], r["beta_2"]), bool(r["variant"])
        return torch.optim.AdamW(weights, lr=rate, betas=betas, eps=eps, weight_decay=r["decay"], amsgrad=variant, **on)
    return torch.optim.RMSprop(
        weights, lr=rate, alpha=r["beta_2"], eps=eps, momentum=r["beta_1"], centered=bool(r["variant"]), foreach=True
    )


class Run:
    """The same steps natively, by torch and in float64."""

    def __init__(self, kind: int, shapes: list[tuple[int, ...]], r: dict[str, Any], seed: int) -> None:
        self.generator = torch.Generator().manual_seed(seed)
        self.kind, self.r, names = kind, r, keeps(kind, r)
        self.ours = [nn.Parameter(torch.randn(shape, generator=self.generator)) for shape in shapes]
        self.theirs = [nn.Parameter(w.detach().clone()) for w in self.ours]
        self.exact: list[Array] = [w.detach().double().numpy() for w in self.ours]
        self.optimizer = torch_s(kind, self.theirs, r)
        counted = {} if kind == SGD else {"steps"}
        kept = [
            Kept(**{n: torch.zeros(()) if n in counted else torch.zeros_like(w) for n in names | set(counted)})
            for w in self.ours
        ]
        self.step = Step(self.ours, kept, [0] * len(self.ours))
        self.kept: list[dict[str, Array]] = [dict.fromkeys(names, 0 * w) for w in self.exact]

    def run(self, steps: int) -> None:
        rules = (Rule * 1)(Rule(self.kind, **self.r))
        for t in range(1, steps + 1):
            for n, (p, q) in enumerate(zip(self.ours, self.theirs, strict=True)):
                g = torch.randn(p.shape, generator=self.generator)
                p.grad, q.grad = g.clone(), g.clone()
                if self.kind != ADAM and self.r["decay"]:
                    with torch.no_grad():
                        q.mul_(1 - self.r["rate"] * self.r["decay"])
                self.exact[n] = EQUATIONS[self.kind](self.exact[n], g.double().numpy(), self.kept[n], t, self.r)
            self.step.take(rules)
            self.optimizer.step()

    def check(self) -> None:
        for p, q, w in zip(self.ours, self.theirs, self.exact, strict=True):
            if not p.numel():
                continue
            ours, theirs = (np.abs(x.detach().double().numpy() - w).max() for x in (p, q))
            unit = np.finfo(np.float32).eps * max(1.0, float(np.abs(w).max()))
            # Of a few numbers torch's error can be next to none by chance; centred RMSprop takes near numbers apart.
            assert ours <= LIMIT * theirs + 8 * unit


RULES = st.fixed_dictionaries(
    {
        "variant": st.integers(0, 1),
        "rate": st.sampled_from([1e-3, 0.05]),
        "beta_1": st.sampled_from([0.0, 0.3, 0.9]),
        "beta_2": st.sampled_from([0.9, 0.999]),
        "epsilon": st.sampled_from([1e-7, 1e-3]),
        "decay": st.sampled_from([0.0, 0.1]),
    }
)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(kind=st.sampled_from([SGD, ADAM, RMSPROP]), shapes=SHAPES, r=RULES, seed=st.integers(0, 99))
def test_any_weights_and_settings(kind: int, shapes: list[tuple[int, ...]], r: dict[str, Any], seed: int) -> None:
    run = Run(kind, shapes, r, seed)
    run.run(4)
    run.check()


PLAIN = {"variant": 0, "rate": 0.01, "beta_1": 0.9, "beta_2": 0.999, "epsilon": 1e-7, "decay": 0.1}


@pytest.mark.parametrize("kind", [SGD, ADAM, RMSPROP])
def test_many_weights(kind: int, threads: int) -> None:
    run = Run(kind, MANY, PLAIN, 0)
    run.run(3)
    run.check()


@pytest.mark.parametrize("kind", [SGD, ADAM, RMSPROP])
def test_threads_and_neighbours_change_nothing(kind: int) -> None:
    results, before = [], torch.get_num_threads()
    for count in (1, 2, 2, 3):
        torch.set_num_threads(count)
        run = Run(kind, MANY, PLAIN, 0)
        run.run(2)
        results.append(run.ours)
    torch.set_num_threads(before)
    for other in results[1:]:
        assert all(torch.equal(p, q) for p, q in zip(results[0], other, strict=True))
    # An element's result is the same wherever it stands: here in a tensor that begins three floats later.
    weight, gradient = results[0][40].detach(), torch.linspace(-1, 1, 70_001)
    whole, part = nn.Parameter(weight.clone()), nn.Parameter(weight[3:].clone())
    for p, g in ((whole, gradient), (part, gradient[3:].clone())):
        p.grad = g
        kept = Kept(*(torch.zeros_like(p) for _ in range(3 if kind == RMSPROP else 2)), steps=torch.zeros(()))
        Step([p], [kept], [0]).take((Rule * 1)(Rule(kind, **PLAIN)))
    assert torch.equal(whole[3:], part)


def test_sgd_is_torch_s_fused_step_to_the_bit() -> None:
    from corecur.kernels.library import info

    if info().isa not in ("avx512", "avx2") or not torch.backends.cpu.get_cpu_capability().startswith("AVX"):
        pytest.skip("only where both multiply and add in one rounding")
    for variant in (0, 1):
        run = Run(SGD, [(64, 32), (16,)], PLAIN | {"variant": variant, "decay": 0.0}, 0)
        run.run(5)
        assert all(torch.equal(p, q) for p, q in zip(run.ours, run.theirs, strict=True))


class TestOddInput:
    def taken(self, gradient: Tensor, kind: int = ADAM, weight: Tensor | None = None) -> tuple[Tensor, Tensor, Tensor]:
        p = nn.Parameter(torch.ones(gradient.shape) if weight is None else weight)
        p.grad = gradient
        kept = Kept(torch.zeros_like(p), torch.zeros_like(p), steps=torch.zeros(()))
        Step([p], [kept], [0]).take((Rule * 1)(Rule(kind, **PLAIN | {"decay": 0.0})))
        assert kept.first is not None and kept.second is not None
        return p.detach(), kept.first, kept.second

    @pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
    def test_what_is_no_number_stays_where_it_is(self, value: float) -> None:
        gradient = torch.ones(37)
        gradient[5] = gradient[36] = value
        weight, first, _ = self.taken(gradient)
        bad = ~torch.isfinite(first)
        assert bad.nonzero()[:, 0].tolist() == [5, 36] and bool(torch.isfinite(weight[~bad]).all())

    @pytest.mark.parametrize("value", [1e-42, 1e-30, 1e-20, 1e18])
    def test_tiny_and_huge_gradients_are_torch_s(self, value: float) -> None:
        gradient = torch.full((37,), value)
        q = nn.Parameter(torch.ones(37))
        q.grad = gradient.clone()
        torch.optim.Adam([q], lr=0.01, eps=1e-7, fused=True).step()
        torch.testing.assert_close(self.taken(gradient)[0], q.detach())

    def test_moments_too_small_for_normal_numbers_become_zeros(self) -> None:
        """0.9 times the least number is rounded to itself: it would stay, and cost a hundred times as much."""
        least = float(torch.finfo(torch.float32).tiny) / 2**20
        kept = Kept(torch.full((37,), least), torch.full((37,), least), steps=torch.ones(()))
        weight = nn.Parameter(torch.ones(37))
        weight.grad = torch.zeros(37)
        step = Step([weight], [kept], [0])
        step.take((Rule * 1)(Rule(ADAM, rate=0.1, beta_1=0.9, beta_2=0.999, epsilon=1e-7)))
        assert not kept.first.any() and not kept.second.any()
        assert torch.equal(weight.detach(), torch.ones(37))

    def test_without_an_epsilon_small_moments_decide_and_stay(self) -> None:
        least = float(torch.finfo(torch.float32).tiny) / 2**4
        kept = Kept(torch.full((37,), least), torch.full((37,), least), steps=torch.ones(()))
        weight = nn.Parameter(torch.ones(37))
        weight.grad = torch.zeros(37)
        Step([weight], [kept], [0]).take((Rule * 1)(Rule(ADAM, rate=0.1, beta_1=0.9, beta_2=0.999, epsilon=0.0)))
        assert bool((kept.second > 0).all())

    def test_a_gradient_in_another_order_of_memory(self) -> None:
        weight = torch.randn(6, 4, 3, 3).to(memory_format=torch.channels_last)
        gradient = torch.randn(6, 4, 3, 3)
        crooked = torch.randn(12, 8, 3, 3)[::2, ::2]
        for g in (gradient, crooked):
            ours = self.taken(g, weight=weight.clone(memory_format=torch.preserve_format))[0]
            same = self.taken(g.contiguous(), weight=weight.contiguous())[0]
            assert torch.equal(ours, same) and ours.is_contiguous(memory_format=torch.channels_last)

    def test_versions_are_raised_where_something_was_written(self) -> None:
        moved, still = nn.Parameter(torch.ones(3)), nn.Parameter(torch.ones(3))
        states = [Kept(torch.zeros(3), torch.zeros(3), steps=torch.zeros(())) for _ in range(2)]
        step = Step([moved, still], states, [0, 0])
        moved.grad = torch.ones(3)
        y = (moved * moved).sum()
        before = [t._version for t in step.tensors]
        step.take((Rule * 1)(Rule(ADAM, **PLAIN)))
        assert [t._version - old for t, old in zip(step.tensors, before, strict=True)] == [1] * 4 + [0] * 4
        with pytest.raises(RuntimeError, match="modified by an inplace operation"):
            y.backward()


def test_refusals() -> None:
    shared = torch.zeros(8)
    for weights, why in {
        (torch.zeros(2).bfloat16(),): "bfloat16",
        (torch.zeros(2, device="meta"),): "meta",
        (torch.zeros(4, 4)[:, 1:],): "fill their memory",
        (torch.zeros(1).expand(3),): "fill their memory",
        (shared[:5], shared[4:]): "share no memory",
        (torch.eye(2).to_sparse(),): "float32 on a CPU",
        (nn.Buffer(torch.zeros(2)),): "",
    }.items():
        found = refusal(weights)
        assert (found is None) == (not why) and why in (found or "")
    assert refusal([shared[:4], shared[4:], torch.zeros(0), torch.zeros(3, 2).t()]) is None


@given(st.lists(st.integers(0, 3), min_size=0, max_size=4), st.randoms())
def test_dense_is_what_fills_its_memory(shape: list[int], random: Any) -> None:
    axes = list(range(len(shape)))
    random.shuffle(axes)
    tensor = torch.zeros([shape[axis] for axis in axes]).permute([axes.index(axis) for axis in range(len(shape))])
    assert is_dense(tensor.shape, tensor.stride())
    if tensor.numel() > 1:
        apart = torch.zeros(*shape, 2)[..., 0]
        assert not is_dense(apart.shape, apart.stride())


CLIPS: dict[str, Callable[[list[nn.Parameter], float], object]] = {
    "norm": nn.utils.clip_grad_norm_,
    "value": nn.utils.clip_grad_value_,
    "norm_each": lambda weights, bound: [nn.utils.clip_grad_norm_(w, bound) for w in weights],
}


class TestClip:
    def both(
        self, shapes: list[tuple[int, ...]], seed: int = 0, dtype: torch.dtype = torch.float64
    ) -> tuple[list[Tensor], list[nn.Parameter]]:
        """Gradients for ours, and the same for torch's, exact unless another dtype is asked for."""
        generator = torch.Generator().manual_seed(seed)
        gradients = [torch.randn(shape, generator=generator) for shape in shapes]
        theirs = [nn.Parameter(torch.zeros(shape, dtype=dtype)) for shape in shapes]
        for p, g in zip(theirs, gradients, strict=True):
            p.grad = g.to(dtype)
        return gradients, theirs

    @settings(max_examples=40, deadline=None, derandomize=True)
    @given(st.sampled_from(list(CLIPS)), SHAPES, st.sampled_from([1e-3, 0.5, 1e9]), st.integers(0, 99))
    def test_it_is_torch_s(self, kind: str, shapes: list[tuple[int, ...]], bound: float, seed: int) -> None:
        gradients, theirs = self.both(shapes, seed)
        exact = math.sqrt(sum(float(g.double().square().sum()) for g in gradients))
        found = clip(gradients, **{kind: bound})
        CLIPS[kind](theirs, bound)
        for g, p in zip(gradients, theirs, strict=True):
            torch.testing.assert_close(g.double(), p.grad, rtol=1e-6, atol=1e-12)
        if kind != "norm_each":
            assert found == pytest.approx(exact, rel=1e-6)

    @pytest.mark.parametrize("kind", CLIPS)
    def test_many_gradients_on_any_number_of_threads(self, kind: str) -> None:
        results, before = [], torch.get_num_threads()
        for count in (1, 2, 3):
            torch.set_num_threads(count)
            gradients, theirs = self.both(MANY)
            results.append((clip(gradients, **{kind: 0.5}), gradients))
        torch.set_num_threads(before)
        CLIPS[kind](theirs, 0.5)
        for found, gradients in results:
            assert found == results[0][0]
            for g, first, p in zip(gradients, results[0][1], theirs, strict=True):
                assert torch.equal(g, first)
                torch.testing.assert_close(g.double(), p.grad, rtol=1e-6, atol=1e-12)

    @pytest.mark.parametrize("kind", [None, *CLIPS])
    @pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, 1e20])
    def test_a_norm_that_is_no_number_is_told(self, kind: str | None, value: float) -> None:
        """1e20 has a square that float32 does not hold, and torch's norm is infinite too."""
        gradients, theirs = self.both([(40,), (5000,)], dtype=torch.float32)
        for g in (gradients[1], theirs[1].grad):
            assert g is not None
            g[4500] = value
        norm = nn.utils.get_total_norm([p.grad for p in theirs if p.grad is not None])
        assert not math.isfinite(norm)
        found = clip(gradients, **({} if kind is None else {kind: 1.0}))
        if kind == "norm_each":  # it divides by the infinite norm: infinity becomes NaN, what is finite 0
            assert math.isfinite(found) == (value == 1e20)
        else:
            assert not math.isfinite(found)
        if kind is not None:
            CLIPS[kind](theirs, 1.0)
            for g, p in zip(gradients, theirs, strict=True):
                torch.testing.assert_close(g, p.grad, equal_nan=True)

    def test_small_numbers_add_up_beside_large_ones(self) -> None:
        gradient = torch.full((1_000_000,), 1e-4)
        gradient[0] = 1.0
        exact = math.sqrt(1 + 999_999e-8)
        ours, theirs = clip([gradient]), float(gradient.norm())
        assert abs(ours - exact) <= LIMIT * abs(theirs - exact) + 1e-7

    def test_what_it_takes(self) -> None:
        assert can_clip([torch.zeros(3, 2).t(), torch.zeros(2, 3, 4, 4).to(memory_format=torch.channels_last)])
        assert not can_clip([torch.zeros(4, 4)[:, 1:]])
        assert not can_clip([torch.eye(2).to_sparse()])
        assert not can_clip([torch.zeros(2, device="meta")])
        assert clip([]) == 0.0 and clip([torch.zeros(0)]) == 0.0

    def test_versions(self) -> None:
        gradient = torch.ones(3)
        clip([gradient])
        assert gradient._version == 0
        clip([gradient], norm=1.0)
        assert gradient._version == 1
