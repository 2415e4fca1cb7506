from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from corecur.errors import ConfigError, ShapeError
from corecur.layers.conv import Conv2D
from corecur.layers.dense import Dense
from corecur.layers.layer import Layer, snake_case
from corecur.layers.regularizers import L2
from corecur.layers.symbolic import SymbolicTensor


class Scale(Layer):
    def __init__(self, start: float = 1.0, *, penalty_of: float = 0.0, **options: Any) -> None:
        super().__init__(**options)
        self.start, self.penalty_of = start, penalty_of

    def build(self, input_shape: Any) -> None:
        self.factor = self.add_weight((input_shape[-1],), initializer="ones", regularizer=L2(self.penalty_of))

    def call(self, x: Tensor) -> Tensor:
        return x * self.factor * self.start


class Pair(Layer):
    """Layers inside, none of them built, and no build of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.first = Dense(4)
        self.second = Dense(2)

    def forward(self, x: Tensor) -> Tensor:
        return self.second(self.first(x).relu())


def test_weights_are_made_at_the_first_call_and_stay() -> None:
    layer = Scale(2.0)
    assert not layer.built
    assert layer.state_dict() == {}
    assert layer(torch.ones(1, 3)).tolist() == [[2.0, 2.0, 2.0]]
    factor = layer.factor
    layer(torch.ones(1, 3))
    assert layer.built
    assert layer.factor is factor
    assert layer.input_shape == (None, 3)


def test_kerass_word_call_is_forward() -> None:
    assert Scale()(SymbolicTensor((None, 3))).shape == (None, 3)
    with pytest.raises(ConfigError, match="Empty has no forward"):
        type("Empty", (Layer,), {})()(torch.zeros(1, 2))


def test_the_config_is_the_constructors_arguments() -> None:
    layer = Scale(3.0, name="s")
    assert layer.get_config() == {"start": 3.0, "penalty_of": 0.0, "name": "s"}
    again = Scale.from_config(layer.get_config())
    assert (again.start, again.name, again.built) == (3.0, "s", False)


def test_arguments_too_many_or_missing() -> None:
    with pytest.raises(ConfigError, match=r"(?s)Dense: missing.*'units'.*units, activation"):
        Dense()
    with pytest.raises(ConfigError, match="Dense: too many positional arguments"):
        Dense(3, "relu", True)


def test_layers_inside_are_built_by_running_once() -> None:
    pair = Pair()
    out = pair(SymbolicTensor((None, 3)))
    assert out.shape == (None, 2)
    assert pair.built
    assert {k: tuple(v.shape) for k, v in pair.state_dict().items()} == {
        "first.weight": (4, 3), "first.bias": (4,), "second.weight": (2, 4), "second.bias": (2,)
    }  # fmt: skip
    assert [a.shape for a in pair.get_weights()] == [(3, 4), (4,), (4, 2), (2,)]
    assert pair.count_params() == 3 * 4 + 4 + 4 * 2 + 2


def test_a_failed_first_run_leaves_it_unbuilt() -> None:
    pair = Pair()
    pair.second(torch.zeros(1, 7))  # now it does not fit behind the first
    with pytest.raises(ShapeError, match="built for 7 channels"):
        pair(torch.zeros(2, 3))
    assert not pair.built


def test_freezing_before_and_after_building() -> None:
    early = Pair()
    early.trainable = False
    early(torch.zeros(2, 3))
    assert not any(p.requires_grad for p in early.parameters())
    assert not early.first.trainable
    early.trainable = True
    assert all(p.requires_grad for p in early.parameters())
    assert early.second.trainable


def test_the_penalty_follows_the_weights() -> None:
    layer = Scale(penalty_of=0.5)
    layer(torch.zeros(1, 3))
    torch.testing.assert_close(layer.penalty(), torch.tensor(1.5))
    with torch.no_grad():
        layer.double().factor.mul_(2)
    torch.testing.assert_close(layer.penalty(), torch.tensor(6.0, dtype=torch.float64))
    twin = copy.deepcopy(layer)
    with torch.no_grad():
        twin.factor.zero_()
    assert twin.penalty().item() == 0
    assert layer.penalty().item() == 6


def test_set_weights_says_which_one_does_not_fit() -> None:
    layer = Dense(4, name="d")
    layer(torch.zeros(1, 3))
    with pytest.raises(ShapeError, match=r"(?s)weight 'weight' of layer 'd' \(Dense\).*\(4, 3\).*\(3, 4\)"):
        layer.set_weights([np.zeros((4, 3)), np.zeros(4)])
    with pytest.raises(ShapeError, match="has 2 weights"):
        layer.set_weights([np.zeros((3, 4))])


def test_messages_about_axes() -> None:
    with pytest.raises(ShapeError, match=r"(?s)takes 4 axes.*unsqueeze"):
        Conv2D(2, 3)(torch.zeros(8, 8, 1))
    with pytest.raises(ShapeError, match=r"(?s)Flatten\(\)"):
        Conv2D(2, 3)(torch.zeros(1, 2, 8, 8, 1))
    with pytest.raises(ShapeError, match="needs to know the size of its last axis"):
        Dense(2)(SymbolicTensor((None, None)))


def test_hooks_and_torch_modules_work_as_ever() -> None:
    seen = []
    layer = Dense(2)
    layer.register_forward_hook(lambda module, args, output: seen.append(output.shape))
    nn.Sequential(nn.Linear(3, 4), layer)(torch.zeros(5, 3))
    assert seen == [(5, 2)]


@pytest.mark.parametrize(
    ("name", "snake"),
    [("Conv2DTranspose", "conv2d_transpose"), ("GlobalMaxPooling1D", "global_max_pooling1d"), ("Dense", "dense")],
)
def test_names_in_snake_case(name: str, snake: str) -> None:
    assert snake_case(name) == snake
