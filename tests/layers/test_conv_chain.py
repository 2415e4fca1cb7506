"""Chains of layers computed at once give what the layers give one by one, and nothing that can be seen changes."""

from __future__ import annotations

import contextlib
import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from corecur.kernels.choose import Choice, asking_for, last_path
from corecur.layers.activation import Activation, ReLU
from corecur.layers.conv import Conv2D
from corecur.layers.conv_chain import run_chain
from corecur.layers.dense import Dense
from corecur.layers.norm import BatchNormalization
from corecur.layers.pool import AveragePooling2D, MaxPooling2D
from corecur.layers.shape import Flatten
from corecur.models import Input, Model, Sequential
from tests.kernels.needs_kernels import needs_kernels

pytestmark = needs_kernels

# What follows a Conv2D(16, 3), and how many layers run at once with it.
ROWS: list[tuple[dict[str, Any], list[Any], int]] = [
    ({"activation": "relu"}, [MaxPooling2D(2)], 2),
    ({"activation": "relu", "padding": "same"}, [AveragePooling2D(2)], 2),
    ({"activation": "tanh"}, [MaxPooling2D((2, 2), 2)], 2),
    ({}, [BatchNormalization(), ReLU(), MaxPooling2D(2)], 4),
    ({"use_bias": False}, [BatchNormalization(scale=False), Activation("relu")], 3),
    ({"activation": "linear"}, [BatchNormalization(center=False)], 2),
    ({"flip_kernel": True, "kernel_size": 4}, [ReLU(), AveragePooling2D(2, padding="same")], 3),
    ({"padding": "same", "kernel_size": 4}, [Activation("tanh")], 2),
    ({"strides": 2, "padding": "same"}, [Activation("relu"), MaxPooling2D(2)], 1),  # torch is faster
    ({"activation": "relu"}, [BatchNormalization(), MaxPooling2D(2)], 1),
    ({"activation": "gelu"}, [MaxPooling2D(2)], 1),
    ({"activation": "relu"}, [MaxPooling2D(3)], 1),
    ({"activation": "relu"}, [MaxPooling2D(2, 1)], 1),
    ({}, [ReLU(6.0)], 1),
    ({"padding": "valid"}, [Activation("relu"), MaxPooling2D(2, padding="same")], 2),  # 13 rows: a window past the end
    ({"groups": 3, "filters": 18}, [ReLU()], 1),
]


def network(options: dict[str, Any], layers: list[Any]) -> Sequential:
    """A convolution with these layers behind it, statistics and biases away from their first values."""
    torch.manual_seed(0)
    conv = Conv2D(**({"filters": 16, "kernel_size": 3, "input_shape": (15, 15, 3)} | options))
    model = Sequential([conv, *(type(layer).from_config(layer.get_config()) for layer in layers)])
    with torch.no_grad():
        for name, tensor in model.state_dict().items():
            if tensor.is_floating_point() and tensor.ndim == 1:
                tensor.copy_(torch.rand(tensor.shape) + (0.5 if "var" in name else 0.0))
    return model


def both_ways(model: nn.Module, x: Tensor) -> list[list[Tensor]]:
    """Output and gradients of the input and the weights, as it runs now and by torch in float64."""
    found = []
    for one, dtype in ((model, torch.float32), (copy.deepcopy(model).double(), torch.float64)):
        one.zero_grad()
        given = x.detach().to(dtype, copy=True).requires_grad_()
        y = one(given)
        y.square().sum().backward()
        grads = [p.grad for p in one.parameters() if p.grad is not None]
        assert given.grad is not None
        found.append([y.detach().double(), given.grad.double(), *(g.double() for g in grads)])
    return found


@pytest.mark.parametrize(("options", "layers", "at_once"), ROWS)
def test_the_layers_one_by_one(options: dict[str, Any], layers: list[Any], at_once: int) -> None:
    model = network(options, layers).eval()
    x = torch.randn(8, 15, 15, 3)
    with torch.no_grad():
        found = run_chain(model.layers, x)
    assert (found[1] if found is not None else 1) == at_once
    for ours, expected in zip(*both_ways(model, x), strict=True):
        torch.testing.assert_close(ours, expected, rtol=1e-4, atol=1e-4 * float(expected.abs().max()))


def test_a_functional_model_runs_the_same_chains() -> None:
    x = Input((20, 20, 8))
    conv = Conv2D(16, 3, padding="same", activation="relu")(x)
    model = Model(x, Dense(3)(Flatten()(MaxPooling2D(2)(conv))))
    chains = model._graph._chains if model._graph is not None else []
    kinds = [Conv2D, MaxPooling2D, Flatten, Dense]
    assert [[type(node.layer) for node in chain] for chain in chains if chain] == [kinds]
    for ours, expected in zip(*both_ways(model, torch.randn(4, 20, 20, 8)), strict=True):
        torch.testing.assert_close(ours, expected, rtol=1e-4, atol=1e-4 * float(expected.abs().max()))
    again = copy.deepcopy(model)
    given = torch.randn(4, 20, 20, 8)
    assert torch.equal(again(given), model(given))


def test_an_output_asked_for_between_is_there() -> None:
    x = Input((20, 20, 8))
    conv = Conv2D(16, 3, activation="relu")(x)
    pooled = MaxPooling2D(2)(conv)
    twice = Model(x, [conv, pooled])
    shared = Model(x, MaxPooling2D(2)(conv) + AveragePooling2D(2)(conv)) if hasattr(pooled, "__add__") else None
    first, second = twice(torch.randn(4, 20, 20, 8))
    assert first.shape == (4, 18, 18, 16)
    assert torch.equal(second, torch.max_pool2d(first.permute(0, 3, 1, 2), 2).permute(0, 2, 3, 1))
    assert shared is None or shared(torch.randn(1, 20, 20, 8)).shape == (1, 9, 9, 16)


@pytest.mark.parametrize("hook", ["register_forward_hook", "register_forward_pre_hook", "register_full_backward_hook"])
@pytest.mark.parametrize("at", [0, 1])
def test_hooks_see_their_layer(hook: str, at: int) -> None:
    model, seen = network({"activation": "relu"}, [MaxPooling2D(2)]), []
    x = torch.randn(4, 15, 15, 3, requires_grad=True)
    plain = model(x)
    handle = getattr(model.layers[at], hook)(lambda *args: seen.append(len(args)))
    y = model(x)
    y.sum().backward()
    assert len(seen) == 1
    torch.testing.assert_close(y, plain)
    handle.remove()
    model(x)
    assert len(seen) == 1
    handle = nn.modules.module.register_module_forward_hook(lambda *args: seen.append(len(args)))
    model(x)
    handle.remove()
    assert len(seen) == 1 + 3


def test_training_uses_the_statistics_of_the_batch() -> None:
    model = network({}, [BatchNormalization(), ReLU(), MaxPooling2D(2)]).train()
    before = model.layers[1].running_mean.clone()  # type: ignore[union-attr, operator]
    model(torch.randn(4, 15, 15, 3))
    assert not torch.equal(before, model.layers[1].running_mean)  # type: ignore[arg-type]
    model.layers[1].trainable = False  # type: ignore[assignment]
    with torch.no_grad():
        found = run_chain(model.layers, torch.randn(4, 15, 15, 3))
    assert found is not None and found[1] == 4


def test_a_network_learns_the_same_either_way() -> None:
    torch.manual_seed(0)
    layers = [Conv2D(16, 3, activation="relu", input_shape=(20, 20, 1)), MaxPooling2D(2), Conv2D(24, 3, padding="same")]
    layers += [BatchNormalization(), ReLU(), AveragePooling2D(2), Flatten(), Dense(4)]
    model = Sequential(layers)
    x, y = torch.randn(32, 20, 20, 1), torch.randint(4, (32,))
    losses = []
    for name in (None, "torch"):
        one = copy.deepcopy(model).train()
        optimizer = torch.optim.SGD(one.parameters(), lr=0.05)
        with asking_for(name) if name else contextlib.nullcontext():
            for _ in range(12):
                optimizer.zero_grad()
                loss = nn.functional.cross_entropy(one(x), y)
                loss.backward()
                optimizer.step()
            one.eval()
            losses.append([loss.item(), *one(x).detach().flatten().tolist()])
    assert losses[0][0] < 1.0
    torch.testing.assert_close(torch.tensor(losses[0]), torch.tensor(losses[1]), rtol=1e-3, atol=1e-4)


def test_what_ran_is_told() -> None:
    model = network({"activation": "relu", "padding": "same"}, [AveragePooling2D(2)])
    x = torch.randn(32, 15, 15, 3)
    model(x)
    assert last_path() == Choice("direct", last_path().reason)  # type: ignore[union-attr]
    with asking_for("torch"):
        y = model(x)
        assert last_path() == Choice("torch", "it was asked for")
    torch.testing.assert_close(model(x), y)
    with torch.autocast("cpu", torch.bfloat16):
        assert model(x).dtype == torch.bfloat16
    path = last_path()
    assert path is not None and path.kernel == "torch" and "autocast" in path.reason


@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")
def test_transforms_and_compilers_see_torchs_operations() -> None:
    model = network({"activation": "relu"}, [MaxPooling2D(2)])
    x = torch.randn(5, 15, 15, 3)
    expected = model(x)
    each = torch.func.vmap(lambda one: model(one.unsqueeze(0)).squeeze(0))(x)
    torch.testing.assert_close(each, expected)
    _, moved = torch.func.jvp(model, (x,), (torch.ones_like(x),))
    assert moved.shape == expected.shape
    torch.testing.assert_close(torch.compile(model, backend="eager")(x), expected)


def test_an_empty_batch_and_a_kernel_too_large() -> None:
    model = network({"activation": "relu"}, [MaxPooling2D(2)])
    assert model(torch.zeros(0, 15, 15, 3)).shape == (0, 6, 6, 16)
