"""The native optimisers as torch's: their state, what makes them look again, what they leave to torch, and why."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from torch.optim.optimizer import register_optimizer_step_pre_hook

from corecur.engine.native_optimizers import NativeAdam, NativeAdamW, NativeRMSprop, NativeSGD, NativeStep
from corecur.engine.optimizer_state import check_optimizer_state, optimizer_state, restore_optimizer
from corecur.errors import BundleError
from tests.kernels.needs_kernels import needs_kernels

pytestmark = needs_kernels

Make = Callable[[Any], torch.optim.Optimizer]
#: The native one, and torch's own with the same settings.
PAIRS: dict[str, tuple[Make, Make]] = {
    "sgd": (lambda p: NativeSGD(p, lr=0.1, fused=True), lambda p: torch.optim.SGD(p, lr=0.1, fused=True)),
    "nesterov": (
        lambda p: NativeSGD(p, lr=0.1, momentum=0.9, nesterov=True, fused=True),
        lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9, nesterov=True, fused=True),
    ),
    "rmsprop": (
        lambda p: NativeRMSprop(p, lr=0.01, momentum=0.5, centered=True, foreach=True),
        lambda p: torch.optim.RMSprop(p, lr=0.01, momentum=0.5, centered=True, foreach=True),
    ),
    "adam": (lambda p: NativeAdam(p, lr=0.01, fused=True), lambda p: torch.optim.Adam(p, lr=0.01, fused=True)),
    "amsgrad": (
        lambda p: NativeAdam(p, lr=0.01, amsgrad=True, fused=True),
        lambda p: torch.optim.Adam(p, lr=0.01, amsgrad=True, fused=True),
    ),
    "adamw": (
        lambda p: NativeAdamW(p, lr=0.01, weight_decay=0.1, fused=True),
        lambda p: torch.optim.AdamW(p, lr=0.01, weight_decay=0.1, fused=True),
    ),
}


def network() -> list[nn.Parameter]:
    generator = torch.Generator().manual_seed(1)
    kernel = torch.randn(6, 3, 3, 3, generator=generator).to(memory_format=torch.channels_last)
    return [nn.Parameter(kernel), nn.Parameter(torch.randn(5, 6, generator=generator)), nn.Parameter(torch.ones(5))]


def feed(parameters: list[nn.Parameter], step: int, without: tuple[int, ...] = ()) -> None:
    generator = torch.Generator().manual_seed(step)
    for number, p in enumerate(parameters):
        gradient = torch.randn(p.shape, generator=generator)
        p.grad = None if number in without else torch.empty_like(p, requires_grad=False).copy_(gradient)


class Twins:
    """The same parameters under the native optimiser and under torch's."""

    def __init__(self, name: str) -> None:
        native, own = PAIRS[name]
        self.weights = (network(), network())
        self.ours, self.theirs = native(self.weights[0]), own(self.weights[1])
        self.time = 0

    def step(self, without: tuple[int, ...] = (), *, refused: bool = False) -> None:
        self.time += 1
        for weights, optimizer in zip(self.weights, (self.ours, self.theirs), strict=True):
            feed(weights, self.time, without)
            optimizer.step()
        assert isinstance(self.ours, NativeStep) and (self.ours.refused is not None) == refused
        self.compare()

    def compare(self) -> None:
        for p, q in zip(*self.weights, strict=True):
            torch.testing.assert_close(p, q, rtol=1e-5, atol=1e-6)
        ours, theirs = (optimizer.state_dict() for optimizer in (self.ours, self.theirs))
        assert ours["param_groups"] == theirs["param_groups"] and set(ours["state"]) == set(theirs["state"])
        for number, state in ours["state"].items():
            assert list(state) == list(theirs["state"][number])
            for key, value in state.items():
                torch.testing.assert_close(value, theirs["state"][number][key], rtol=1e-5, atol=1e-6)


@pytest.fixture(params=PAIRS)
def twins(request: pytest.FixtureRequest) -> Twins:
    return Twins(request.param)


def test_weights_and_state_are_torch_s(twins: Twins) -> None:
    for without in ((), (), (1,), (), (0, 2), (0, 1, 2), ()):
        twins.step(without)


def test_a_weight_that_gets_its_first_gradient_late(twins: Twins) -> None:
    if isinstance(twins.theirs, torch.optim.SGD):  # torch's fused step cannot do this (2.13)
        for optimizer in (twins.ours, twins.theirs):
            optimizer.param_groups[0]["fused"] = False
    twins.step(without=(1,))
    twins.step(without=(1, 2))
    twins.step()


def test_a_group_added_later_with_settings_of_its_own(twins: Twins) -> None:
    twins.step()
    for weights, optimizer in zip(twins.weights, (twins.ours, twins.theirs), strict=True):
        weights.append(nn.Parameter(torch.ones(7)))
        optimizer.add_param_group({"params": [weights[-1]], "lr": 0.5})
    twins.step()


def test_settings_changed_between_steps(twins: Twins) -> None:
    for rate in (0.1, 0.2, 0.0, 0.05):
        for optimizer in (twins.ours, twins.theirs):
            optimizer.param_groups[0]["lr"] = rate
        twins.step()


def test_state_dicts_pass_from_one_to_the_other(twins: Twins) -> None:
    twins.step()
    ours, theirs = (copy.deepcopy(optimizer.state_dict()) for optimizer in (twins.ours, twins.theirs))
    twins.step()
    twins.ours.load_state_dict(theirs)
    twins.theirs.load_state_dict(ours)
    twins.step()


def test_checkpoints_pass_from_one_to_the_other(twins: Twins) -> None:
    twins.step()
    ours, theirs = (copy.deepcopy(optimizer_state(optimizer)) for optimizer in (twins.ours, twins.theirs))
    twins.step()
    for optimizer, state in ((twins.ours, theirs), (twins.theirs, ours)):
        check_optimizer_state(optimizer, state)
        restore_optimizer(optimizer, state)
    twins.step()
    with pytest.raises(BundleError, match="another one"):
        check_optimizer_state(twins.ours, theirs | {"kind": "NativeSGD"})


def test_weights_and_state_that_move(twins: Twins) -> None:
    def replace(weights: list[nn.Parameter], optimizer: torch.optim.Optimizer) -> None:
        weights[0].data = weights[0].data.clone()

    def replace_state(weights: list[nn.Parameter], optimizer: torch.optim.Optimizer) -> None:
        for state in optimizer.state.values():
            for key, value in state.items():
                state[key] = value.clone()

    def move_state(weights: list[nn.Parameter], optimizer: torch.optim.Optimizer) -> None:
        for state in optimizer.state.values():
            for key, value in state.items():
                if key != "step":
                    value.data = torch.ones_like(value)

    def forget(weights: list[nn.Parameter], optimizer: torch.optim.Optimizer) -> None:
        optimizer.state.clear()

    twins.step()
    for change in (replace, replace_state, move_state, forget):
        change(twins.weights[0], twins.ours)
        change(twins.weights[1], twins.theirs)
        twins.step()


def test_a_layout_changed_between_steps(twins: Twins) -> None:
    """torch's fused steps add moments in the old order to other weights, so the layout that stays is the judge."""
    other = Twins(next(name for name, (native, _) in PAIRS.items() if repr(native(network())) == repr(twins.ours)))
    for step, layout in enumerate((torch.channels_last, torch.contiguous_format, torch.channels_last)):
        kernel = twins.weights[0][0]
        kernel.data = kernel.data.contiguous(memory_format=layout)
        for weights, made in ((twins.weights[0], twins.ours), (other.weights[0], other.ours)):
            feed(weights, step)
            made.step()
        assert isinstance(twins.ours, NativeStep) and twins.ours.refused is None
    assert all(torch.equal(p, q) for p, q in zip(twins.weights[0], other.weights[0], strict=True))


def test_copies_go_on_by_themselves(twins: Twins) -> None:
    twins.step()
    copied = copy.deepcopy((twins.weights[0], twins.ours))
    twins.step()
    feed(copied[0], twins.time)
    copied[1].step()
    assert all(torch.equal(p, q) for p, q in zip(copied[0], twins.weights[0], strict=True))


def test_hooks_of_all_optimisers_and_the_profiler_see_the_step() -> None:
    weights: list[nn.Parameter] = network()
    called: list[str] = []
    made = NativeSGD(weights, lr=0.1)
    feed(weights, 0)
    handle = register_optimizer_step_pre_hook(lambda *_: called.append("before"))
    made.step()
    handle.remove()
    made.step()
    assert called == ["before"]
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profile:
        made.step()
    assert any("NativeSGD.step" in event.key for event in profile.key_averages())


def test_hooks_and_closures_are_called_once(twins: Twins) -> None:
    called: list[str] = []
    twins.ours.register_step_pre_hook(lambda *_: called.append("before"))
    twins.ours.register_step_post_hook(lambda *_: called.append("after"))
    twins.step()
    twins.weights[0][0].data = twins.weights[0][0].data.double()
    twins.weights[0][0].grad = None
    feed(twins.weights[0][1:], 1)

    def closure() -> float:
        called.append(str(torch.is_grad_enabled()))
        return 3.0

    with torch.no_grad():
        assert twins.ours.step(closure) == 3.0
    assert called == ["before", "after", "before", "True", "after"]
    assert isinstance(twins.ours, NativeStep) and "float64" in str(twins.ours.refused)


REFUSED: dict[str, Callable[[], NativeStep]] = {
    "maximize": lambda: NativeAdam(network(), maximize=True),
    "dampening": lambda: NativeSGD(network(), momentum=0.9, dampening=0.1),
    "beside the gradient": lambda: NativeAdam(network(), weight_decay=0.1),
    "float64": lambda: NativeSGD([nn.Parameter(torch.ones(3, dtype=torch.float64))]),
    "share no memory": lambda: NativeSGD([w := nn.Parameter(torch.ones(3)), nn.Parameter(w.data[1:])]),
    "plain numbers": lambda: NativeAdam(network(), lr=torch.tensor(0.1)),
}


@pytest.mark.parametrize("why", REFUSED)
def test_what_is_left_to_torch(why: str) -> None:
    made = REFUSED[why]()
    own = made.torch_class
    weights = [p for group in made.param_groups for p in group["params"]]
    twins = [nn.Parameter(p.detach().clone()) for p in weights]
    settings = {k: v for k, v in made.param_groups[0].items() if k not in ("params", "decoupled_weight_decay")}
    theirs = own(twins, **settings)
    for step in range(2):
        for p, q in zip(weights, twins, strict=True):
            p.grad = torch.full_like(p, 0.5 + step)
            q.grad = p.grad.clone()
        made.step()
        assert why in str(made.refused)
        if why != "share no memory":
            theirs.step()
            assert all(torch.equal(p, q) for p, q in zip(weights, twins, strict=True))


def test_it_is_taken_again_once_nothing_is_in_the_way() -> None:
    weights = network()
    made = NativeSGD(weights, lr=0.1, maximize=True)
    feed(weights, 0)
    made.step()
    assert made.refused is not None
    made.param_groups[0]["maximize"] = False
    made.step()
    assert made.refused is None


def test_scaled_gradients_are_unscaled_by_torch() -> None:
    (weight,) = (nn.Parameter(torch.ones(3)),)
    made = NativeSGD([weight], lr=1.0, fused=True)
    weight.grad = torch.full((3,), 4.0)
    made.grad_scale, made.found_inf = torch.tensor(4.0), torch.tensor(0.0)  # as torch.amp.GradScaler does
    made.step()
    assert made.refused is not None and weight.tolist() == [0.0, 0.0, 0.0]


def test_odd_state_is_left_to_torch() -> None:
    weight = nn.Parameter(torch.ones(3))
    made = NativeAdam([weight], lr=0.1)
    weight.grad = torch.ones(3)
    made.step()
    made.state[weight]["step"] = made.state[weight]["step"].double()
    made.step()
    assert "step" in str(made.refused)
