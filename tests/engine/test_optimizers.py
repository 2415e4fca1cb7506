"""Every row of the table of optimisers: torch's own steps, the equations in float64, convergence, exact resuming."""

from __future__ import annotations

import copy
import dataclasses
import io
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from corecur.engine.native_optimizers import NativeStep
from corecur.engine.optimizer import Optimizer, grouped, set_rate
from corecur.engine.optimizers import (
    OPTIMIZERS,
    SGD,
    Adagrad,
    Adam,
    AdamW,
    Muon,
    Nadam,
    OptimizerFactory,
    RMSprop,
    find_optimizer,
)
from corecur.engine.schedules import CosineDecay, Trapezoid
from corecur.errors import ConfigError

LAST = torch.channels_last


def network(
    layout: torch.memory_format = torch.contiguous_format, dtype: torch.dtype = torch.float32
) -> list[nn.Parameter]:
    generator = torch.Generator().manual_seed(1)
    kernel = torch.randn(6, 3, 3, 3, generator=generator).contiguous(memory_format=layout)
    tensors = (kernel, torch.randn(5, 6, generator=generator), torch.ones(5))
    return [nn.Parameter(tensor.to(dtype)) for tensor in tensors]


def run(parameters: list[nn.Parameter], optimizer: torch.optim.Optimizer, steps: range) -> None:
    for step in steps:
        generator = torch.Generator().manual_seed(step)
        for p in parameters:
            p.grad = torch.randn(p.shape, generator=generator).to(p.dtype)
        optimizer.step()


def same(first: list[nn.Parameter], second: list[nn.Parameter]) -> bool:
    return all(torch.equal(p, q) for p, q in zip(first, second, strict=True))


MakeOptimizer = Callable[[list[nn.Parameter]], torch.optim.Optimizer]
TWINS: list[tuple[Optimizer, MakeOptimizer]] = [
    (SGD(0.1), lambda p: torch.optim.SGD(p, lr=0.1, fused=True)),
    (
        SGD(0.1, momentum=0.9, nesterov=True),
        lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9, nesterov=True, fused=True),
    ),
    (
        RMSprop(0.01, momentum=0.5, centered=True),
        lambda p: torch.optim.RMSprop(p, lr=0.01, alpha=0.9, momentum=0.5, eps=1e-7, centered=True, foreach=True),
    ),
    (Adam(), lambda p: torch.optim.Adam(p, lr=0.001, eps=1e-7, fused=True)),
    (Adam(amsgrad=True), lambda p: torch.optim.Adam(p, lr=0.001, eps=1e-7, amsgrad=True, fused=True)),
    (Adam(weight_decay=0.1), lambda p: torch.optim.AdamW(p, lr=0.001, eps=1e-7, weight_decay=0.1, fused=True)),
    (AdamW(), lambda p: torch.optim.AdamW(p, lr=0.001, eps=1e-7, weight_decay=0.004, fused=True)),
    (
        Adagrad(),
        lambda p: torch.optim.Adagrad(p, lr=0.001, initial_accumulator_value=0.1, eps=1e-7, fused=True),
    ),
    (Nadam(), lambda p: torch.optim.NAdam(p, lr=0.001, eps=1e-7, momentum_decay=1.0, foreach=True)),
]


@pytest.mark.parametrize(("spec", "reference"), TWINS, ids=lambda x: repr(x) if isinstance(x, Optimizer) else "")
class TestTwins:
    def test_the_step_is_torch_s(self, spec: Optimizer, reference: MakeOptimizer) -> None:
        """Natively up to rounding (``tests/kernels/test_native_optimizer.py`` says how far), else to the bit."""
        ours, theirs = network(), network()
        made = spec.make(ours)
        run(ours, made, range(5))
        run(theirs, reference(theirs), range(5))
        for p, q in zip(ours, theirs, strict=True):
            torch.testing.assert_close(p, q, atol=1e-6, rtol=1e-6)
        if not isinstance(made, NativeStep) or made.refused is not None:
            assert same(ours, theirs)

    def test_what_the_native_step_does_not_take_is_torch_s_to_the_bit(
        self, spec: Optimizer, reference: MakeOptimizer
    ) -> None:
        ours, theirs = network(dtype=torch.float64), network(dtype=torch.float64)
        run(ours, spec.make(ours), range(5))
        run(theirs, reference(theirs), range(5))
        assert same(ours, theirs)


G, W, RATE = np.array([0.5, -2.0, 1e-3]), np.array([1.0, 1.0, 1.0]), 0.01
M1, M2 = 0.9 * (1 - 0.5 * 0.96), 0.9 * (1 - 0.5 * 0.96**2)
FIRST_STEPS: dict[Optimizer, np.ndarray] = {
    SGD(RATE): RATE * G,
    SGD(RATE, momentum=0.9): RATE * G,
    SGD(RATE, momentum=0.9, nesterov=True): RATE * 1.9 * G,
    SGD(RATE, nesterov=True): RATE * G,
    SGD(RATE, weight_decay=0.1): W * RATE * 0.1 + RATE * G,
    RMSprop(RATE): RATE * G / (np.sqrt(0.1) * np.abs(G) + 1e-7),
    RMSprop(RATE, weight_decay=0.1): W * RATE * 0.1 + RATE * G / (np.sqrt(0.1) * np.abs(G) + 1e-7),
    Adam(RATE): RATE * G / (np.abs(G) + 1e-7),
    Adam(RATE, weight_decay=0.1): W * RATE * 0.1 + RATE * G / (np.abs(G) + 1e-7),
    AdamW(RATE): W * RATE * 0.004 + RATE * G / (np.abs(G) + 1e-7),
    Adagrad(RATE): RATE * G / (np.sqrt(0.1 + G**2) + 1e-7),
    Adagrad(RATE, weight_decay=0.1): W * RATE * 0.1 + RATE * G / (np.sqrt(0.1 + G**2) + 1e-7),
    Nadam(RATE): RATE * (M2 * 0.1 * G / (1 - M1 * M2) + G) / (np.abs(G) + 1e-7),
    Muon(0.02, other_learning_rate=RATE): RATE * G / (np.abs(G) + 1e-7),
}


@pytest.mark.parametrize("spec", FIRST_STEPS, ids=repr)
def test_first_step_by_its_equation(spec: Optimizer) -> None:
    weight = nn.Parameter(torch.tensor(W, dtype=torch.float64))
    weight.grad = torch.tensor(G)
    spec.make([weight]).step()
    np.testing.assert_allclose(weight.detach(), W - FIRST_STEPS[spec], rtol=1e-9)  # torch's NAdam counts in float32


def test_nadam_is_dozat_s_with_keras_momentum() -> None:
    weight = nn.Parameter(torch.tensor(W, dtype=torch.float64))
    made, w, m, v, product = Nadam(0.01).make([weight]), W.copy(), 0.0 * W, 0.0 * W, 1.0
    for t in range(1, 9):
        g = np.cos(t * G)
        mu, after = (0.9 * (1 - 0.5 * 0.96**k) for k in (t, t + 1))
        product *= mu
        m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g**2
        step = after * m / (1 - product * after) + (1 - mu) * g / (1 - product)
        w = w - 0.01 * step / (np.sqrt(v / (1 - 0.999**t)) + 1e-7)
        weight.grad = torch.tensor(g)
        made.step()
    np.testing.assert_allclose(weight.detach(), w, rtol=1e-9)


QUICK: dict[str, Optimizer] = {
    "adagrad": Adagrad(0.5),
    "adam": Adam(0.1),
    "adamw": AdamW(0.1),
    "muon": Muon(CosineDecay(0.3), other_learning_rate=0.1),
    "nadam": Nadam(0.1),
    "rmsprop": RMSprop(CosineDecay(0.1)),
    "sgd": SGD(0.1, momentum=0.9),
}


@pytest.mark.parametrize("name", OPTIMIZERS)
class TestEveryRow:
    def test_solves_least_squares(self, name: str) -> None:
        spec = QUICK[name]
        x, truth = torch.randn(64, 6), torch.randn(6, 3)
        y = x @ truth + 0.5
        weight, bias = nn.Parameter(torch.zeros(6, 3)), nn.Parameter(torch.zeros(3))
        made, steps = spec.make([weight, bias]), 200
        for step in range(steps):
            rate = spec.learning_rate
            set_rate(made, rate if isinstance(rate, float) else rate.rate_at(step, step / steps))
            made.zero_grad()
            (x @ weight + bias - y).square().mean().backward()
            made.step()
        left = float((x @ weight + bias - y).detach().square().mean() / y.square().mean())
        assert left < 1e-3

    @pytest.mark.parametrize("layout", [torch.contiguous_format, LAST])
    @pytest.mark.parametrize("decay", [None, 0.1])
    def test_resumes_exactly(self, name: str, layout: torch.memory_format, decay: float | None) -> None:
        spec = dataclasses.replace(QUICK[name], weight_decay=decay)
        whole = network(layout)
        run(whole, spec.make(whole), range(6))
        first = network(layout)
        made = spec.make(first)
        run(first, made, range(3))
        saved = io.BytesIO()
        torch.save(contiguous((made.state_dict(), [p.detach() for p in first])), saved)
        saved.seek(0)
        state, weights = torch.load(saved)
        second = network(layout)
        with torch.no_grad():
            for p, w in zip(second, weights, strict=True):
                p.copy_(w)
        resumed = spec.make(second)
        resumed.load_state_dict(state)
        run(second, resumed, range(3, 6))
        assert same(whole, second)

    def test_layout_changes_nothing(self, name: str) -> None:
        plain, last = network(), network(LAST)
        run(plain, QUICK[name].make(plain), range(4))
        run(last, QUICK[name].make(last), range(4))
        for p, q in zip(plain, last, strict=True):
            torch.testing.assert_close(p, q, atol=1e-5, rtol=1e-5)

    def test_config_round_trip_and_defaults(self, name: str) -> None:
        spec = OPTIMIZERS[name]()
        assert type(spec)(**dataclasses.asdict(spec)) == spec == find_optimizer(name)
        assert isinstance(spec.make(network()), torch.optim.Optimizer)

    def test_parameters_without_gradient_stay(self, name: str) -> None:
        parameters = network()
        made = dataclasses.replace(QUICK[name], weight_decay=0.1).make(parameters)
        for p in parameters[1:]:
            p.grad = torch.ones_like(p)
        made.step()
        assert torch.equal(parameters[0], network()[0]) and not torch.equal(parameters[1], network()[1])

    def test_nothing_to_optimise(self, name: str) -> None:
        with pytest.raises(ConfigError, match="nothing to optimise"):
            QUICK[name].make([])


def contiguous(value: Any) -> Any:
    """What a file format that knows no strides makes of a checkpoint."""
    if isinstance(value, torch.Tensor):
        return value.contiguous()
    if isinstance(value, dict):
        return {key: contiguous(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(contiguous(item) for item in value)
    return copy.copy(value)


@pytest.mark.parametrize("spec", [SGD(0.1), AdamW(0.1), Muon(0.1, other="sgd"), Muon(0.1)], ids=repr)
def test_decay_of_matrices_only(spec: Any) -> None:
    spared = dataclasses.replace(spec, weight_decay=0.5, decay_only_matrices=True)
    decayed = dataclasses.replace(spec, weight_decay=0.5)
    plain = dataclasses.replace(spec, weight_decay=0.0)
    results = []
    for one in (spared, decayed, plain):
        parameters = network()
        run(parameters, one.make(parameters), range(3))
        results.append(parameters)
    for index, (by_spared, by_decayed, by_plain) in enumerate(zip(*results, strict=True)):
        assert torch.equal(by_spared, by_decayed if index < 2 else by_plain)
        assert not torch.equal(by_decayed, by_plain)


def test_rates_of_groups_keep_their_shares() -> None:
    schedule = Trapezoid(0.2, warmup=0.5, cooldown=0.5)  # begins at 0, where a ratio could not be read from the rates
    parameters = network()
    made = Muon(schedule, other_learning_rate=0.01).make(parameters)
    assert [group["lr"] for group in made.param_groups] == [0.0, 0.0]
    set_rate(made, schedule.at(0.25))
    assert [group["lr"] for group in made.param_groups] == pytest.approx([0.1, 0.005])


def test_fused_where_torch_can() -> None:
    for spec in (SGD(), Adam(), AdamW(), Adagrad()):
        assert all(group["fused"] for group in spec.make(network()).param_groups)
    assert all(group["foreach"] for group in Nadam().make(network()).param_groups)


@pytest.mark.parametrize(
    ("kind", "arguments"),
    [
        (SGD, {"learning_rate": -0.1}),
        (Adam, {"learning_rate": math.nan}),
        (Adam, {"learning_rate": math.inf}),
        (SGD, {"momentum": 1.5}),
        (Adam, {"beta_1": 1.0}),
        (RMSprop, {"rho": -0.1}),
        (Adagrad, {"initial_accumulator_value": -1.0}),
        (AdamW, {"weight_decay": -0.1}),
        (Adam, {"epsilon": -1e-7}),
        (Adam, {"clipnorm": 0.0}),
        (Adam, {"clipnorm": 1.0, "clipvalue": 1.0}),
        (Muon, {"other": "adam"}),
        (Muon, {"scale": "none"}),
        (Muon, {"ns_steps": 0}),
    ],
)
def test_refusals(kind: Callable[..., Optimizer], arguments: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        kind(**arguments)


def test_muon_needs_names_to_exclude() -> None:
    with pytest.raises(ConfigError, match="names"):
        Muon(exclude="head").make(network())


def test_find_optimizer() -> None:
    assert find_optimizer("AdamW") == find_optimizer(AdamW) == AdamW()
    spec = SGD(0.3)
    assert find_optimizer(spec) is spec
    made = torch.optim.SGD(network(), lr=0.1)
    assert find_optimizer(made) is made
    factory = find_optimizer(torch.optim.Rprop)
    assert isinstance(factory, OptimizerFactory) and isinstance(factory.make(network()), torch.optim.Rprop)
    with pytest.raises(ConfigError, match="gave no torch"):
        OptimizerFactory(lambda parameters: 3).make(network())  # type: ignore[arg-type, return-value]
    with pytest.raises(ConfigError, match="did you mean 'adam'"):
        find_optimizer("adaam")
    with pytest.raises(ConfigError, match="not an optimizer"):
        find_optimizer(3)  # type: ignore[arg-type]


def test_groups() -> None:
    groups = grouped([torch.zeros(2)], 0.1, only_matrices=True)
    assert [group["weight_decay"] for group in groups] == [0.0]
