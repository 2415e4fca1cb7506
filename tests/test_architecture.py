"""A structure as JSON and back, and what is refused on the way."""

from __future__ import annotations

import json
from collections.abc import Callable
from copy import deepcopy
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from corecur.architecture import VALUES, build, describe
from corecur.errors import BundleError, ConfigError
from corecur.layers import LAYERS
from corecur.layers.activation import ACTIVATIONS, Activation
from corecur.layers.conv import Conv2D
from corecur.layers.dense import Dense
from corecur.layers.initializers import Constant, VarianceScaling
from corecur.layers.layer import Layer
from corecur.layers.merge import Add, Concatenate
from corecur.layers.pool import GlobalAveragePooling2D
from corecur.layers.regularizers import L2
from corecur.layers.shape import Flatten
from corecur.models import Input, Model, Sequential

from .layers.samples import SAMPLES, call, inputs, make


def through_json(model: Model) -> Any:
    return json.loads(json.dumps(describe(model), allow_nan=False))


def assert_same(model: Model, again: Model, *values: Tensor) -> None:
    """The same structure, and with the same weights the same answers."""
    assert describe(again) == through_json(model)
    assert again.state_dict().keys() == model.state_dict().keys()
    again.load_state_dict(model.state_dict())
    for mine, theirs in zip(_flat(model.eval()(*values)), _flat(again.eval()(*values)), strict=True):
        assert torch.equal(mine, theirs)


def _flat(outputs: Any) -> list[Tensor]:
    return [outputs] if isinstance(outputs, Tensor) else list(outputs)


# round trips


@pytest.mark.parametrize("name", sorted(LAYERS))
def test_every_layer_of_the_table(name: str) -> None:
    symbols = [Input(shape) for shape in SAMPLES[name].shapes]
    layer = make(name)
    model = Model(symbols, call(layer, symbols if SAMPLES[name].takes_list else symbols[0]))
    x = inputs(name)
    assert_same(model, build(through_json(model)), *(x if isinstance(x, list) else [x]))


def branched() -> Model:
    x = Input((8, 8, 2))
    conv = Conv2D(2, 3, padding="same", activation="tanh", kernel_regularizer=L2(0.1))  # called three times
    joined = Concatenate()([Add()([conv(x), x]), conv(conv(x))])
    return Model(x, Dense(3, "softmax", kernel_initializer=VarianceScaling(2.0, "fan_out"))(
        GlobalAveragePooling2D()(joined)), name="branched")  # fmt: skip


def several() -> Model:
    a, b = Input((8, 8, 2)), Input((3,))
    h = Concatenate()([Flatten()(a), b])
    return Model([a, b], [Dense(1)(h), Dense(2, name="second")(h)])


def nested() -> Model:
    x = Input((8, 8, 2))
    inner = Sequential([Conv2D(3, 3), Activation("relu"), Flatten()], name="inner")
    y = Input((6 * 6 * 3,))
    return Model(x, Model(y, Dense(2)(Dense(4, "relu")(y)))(inner(x)))


@pytest.mark.parametrize(
    ("make_model", "shapes"),
    [(branched, [(5, 8, 8, 2)]), (several, [(5, 8, 8, 2), (5, 3)]), (nested, [(5, 8, 8, 2)])],
)
def test_branches_shared_layers_and_models_inside(
    make_model: Callable[[], Model], shapes: list[tuple[int, ...]]
) -> None:
    model = make_model()
    assert_same(model, build(through_json(model)), *[torch.randn(shape) for shape in shapes])


def test_a_shared_layer_stays_shared() -> None:
    again = build(through_json(branched()))
    again(torch.randn(2, 8, 8, 2)).sum().backward()
    assert len([layer for layer in again.layers if isinstance(layer, Conv2D)]) == 1


@pytest.mark.parametrize("name", sorted(VALUES))
def test_settings_that_are_objects(name: str) -> None:
    value = VALUES[name]()
    argument = "kernel_regularizer" if name.startswith("L") else "kernel_initializer"
    again = build(through_json(Sequential([Conv2D(2, 3, input_shape=(4, 4, 2), **{argument: value})])))
    assert getattr(again.layers[0], argument) == value


@pytest.mark.parametrize("name", sorted(ACTIVATIONS))
def test_an_activation_given_as_its_function_keeps_its_name(name: str) -> None:
    model = Sequential([Dense(2, ACTIVATIONS[name], input_shape=(3,))])
    assert describe(model)["layers"][0]["config"]["activation"] == name


def test_numbers_of_numpy_and_tuples() -> None:
    model = Sequential([Conv2D(2, (3, 1), input_shape=(4, 4, 2), bias_initializer=Constant(np.float32(0.5)))])
    config = through_json(model)["layers"][0]["config"]
    assert config["kernel_size"] == [3, 1]
    assert config["bias_initializer"] == {"kind": "Constant", "value": 0.5}
    assert build(through_json(model)).layers[0].kernel_size == (3, 1)


def test_frozen_layers_stay_frozen() -> None:
    model = Sequential([Dense(2, input_shape=(3,)), Dense(2), Dense(2, trainable=False)])
    model.layers[0].trainable = False
    again = build(through_json(model))
    assert [layer.trainable for layer in again.layers] == [False, True, False]
    assert [p.requires_grad for p in again.parameters()] == [False, False, True, True, False, False]


def test_layers_that_two_models_name_differently() -> None:
    x = Input((3,))
    first, second = Dense(2), Dense(2)
    own = Model(x, second(x))
    both = Model(x, Add()([first(x), second(x)]))
    for model in (own, both):
        assert_same(model, build(through_json(model)), torch.randn(4, 3))


def test_the_size_of_an_input_may_be_open() -> None:
    model = Sequential([Input((None, None, 3)), Conv2D(2, 3), GlobalAveragePooling2D()])
    again = build(through_json(model))
    assert again.input_symbols[0].shape == (None, None, None, 3)


# classes of one's own


class Scale(Layer):
    def __init__(self, start: float = 1.0) -> None:
        super().__init__()
        self.start = start

    def build(self, input_shape: Any) -> None:
        self.factor = self.add_weight((input_shape[-1],), initializer=Constant(self.start))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.factor


class Block(Layer):
    """Layers inside, built by running."""

    def __init__(self, width: int, inner: Layer | None = None) -> None:
        super().__init__()
        self.width = width
        self.first, self.second = Dense(width, "relu"), inner or Scale()

    def forward(self, x: Tensor) -> Tensor:
        return self.second(self.first(x))


class Net(Model):
    def __init__(self, width: int = 4) -> None:
        super().__init__()
        self.block, self.out = Block(width), Dense(2)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return self.out(self.block(x)) + y


CUSTOM = [Scale, Block, Net]


def net() -> Model:
    model = Net(3)
    model(torch.randn(2, 5), torch.randn(2, 2))
    return model


def holding() -> Model:
    return Sequential([Input((5,)), Block(3, Scale(2.0)), Scale()])


@pytest.mark.parametrize(("make_model", "shapes"), [(net, [(4, 5), (4, 2)]), (holding, [(4, 5)])])
def test_classes_of_one_s_own_are_built_only_when_passed(
    make_model: Callable[[], Model], shapes: list[tuple[int, ...]]
) -> None:
    model = make_model()
    assert_same(model, build(through_json(model), custom=CUSTOM), *[torch.randn(shape) for shape in shapes])
    with pytest.raises(BundleError, match=r"(?s)which is not one of corecur's.*load\(path, custom=\[") as caught:
        build(through_json(model))
    assert caught.value.code == "unknown-layer"


def test_a_class_of_one_s_own_never_stands_in_for_a_row() -> None:
    impostor = type("Dense", (Scale,), {})
    model = Sequential([Dense(2, input_shape=(3,))])
    assert type(build(through_json(model), custom=[impostor]).layers[0]) is Dense


def test_values_are_known_by_their_class_not_by_its_name() -> None:
    impostor = type("L2", (L2,), {})
    with pytest.raises(ConfigError, match="not code"):
        describe(Sequential([Dense(2, kernel_regularizer=impostor(), input_shape=(3,))]))


# what cannot be written


def own_function(x: Tensor) -> Tensor:
    return x.relu()


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        (lambda: Dense(2, own_function), r"(?s)not code.*activation.*own_function.*named activation"),
        (lambda: Dense(2, torch.sigmoid), "not code"),
        (lambda: Dense(2, bias_initializer=Constant(float("inf"))), "finite numbers"),
        (lambda: nn.Linear(3, 2), r"(?s)Linear inside cannot be described.*save_weights"),
    ],
)
def test_what_a_file_cannot_hold_is_refused_before_anything_is_written(layer: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        describe(Sequential([Input((3,)), layer()]))


@pytest.mark.parametrize("model", [Sequential([Dense(2)]), Net(), Model()])
def test_a_model_is_described_once_it_is_built(model: Model) -> None:
    with pytest.raises(ConfigError, match="saved once it is built"):
        describe(model)


# what strangers write


def good() -> Any:
    return through_json(branched())


def changed(place: tuple[Any, ...], value: Any) -> Any:
    description = good()
    inside = description
    for step in place[:-1]:
        inside = inside[step]
    inside[place[-1]] = value
    return description


REFUSED = {
    "unknown kind": (("layers", 0, "kind"), "os.system", "unknown-layer"),
    "another spelling": (("layers", 0, "kind"), "conv2d", "unknown-layer"),
    "a model as a layer kind": (("layers", 0, "kind"), "Layer", "unknown-layer"),
    "no kind": (("layers", 0, "kind"), None, "bad-architecture"),
    "a list as kind": (("kind",), ["Model"], "bad-architecture"),
    "unknown field": (("extra",), 1, "unknown-field"),
    "unknown field of a layer": (("layers", 0, "module"), "os", "unknown-field"),
    "unknown field of a call": (("calls", 0, "eval"), "1", "unknown-field"),
    "unknown argument": (("layers", 0, "config", "__class__"), "os", "unknown-field"),
    "unknown value": (("layers", 0, "config", "kernel_regularizer"), {"kind": "Popen"}, "unknown-value"),
    "a value that is a call": (("layers", 0, "config", "filters"), {"kind": "L2", "l2": 1, "x": 2}, "bad-architecture"),
    "code for a name": (("layers", 0, "config", "activation"), "lambda x: x", "bad-architecture"),
    "a name with a dot": (("layers", 0, "name"), "a.b", "bad-architecture"),
    "a name that is none": (("name",), {"a": 1}, "bad-architecture"),
    "a name that models have": (("layers", 0, "name"), "forward", "bad-architecture"),
    "no filters": (("layers", 0, "config", "filters"), 0, "bad-architecture"),
    "half a filter": (("layers", 0, "config", "filters"), 1.5, "bad-architecture"),
    "filters beyond counting": (("layers", 0, "config", "filters"), 2**63, "too-much"),
    "a picture beyond memory": (("inputs", 0, "shape"), [None, 40_000, 40_000, 2], "too-much"),
    "a batch beyond memory": (("inputs", 0, "shape"), [2_000_000_000, 8, 8, 2], "too-much"),
    "a name that turns writing round": (("name",), "a\u202eb", "bad-architecture"),
    "a name without end": (("layers", 0, "name"), "a" * 5000, "bad-architecture"),
    "a path as a name": (("layers", 0, "name"), "../x", "bad-architecture"),
    "no text at all": (("layers", 0, "name"), "", "bad-architecture"),
    "an input of no size": (("inputs", 0, "shape"), [None, 0, 8, 2], "bad-architecture"),
    "an unknown dtype": (("inputs", 0, "dtype"), "object", "bad-architecture"),
    "a call of a later tensor": (("calls", 0, "args"), [{"tensor": [4, 0]}], "bad-architecture"),
    "a call of itself": (("calls", 0, "args"), [{"tensor": [0, 0]}], "bad-architecture"),
    "a tensor out of range": (("calls", 0, "args"), [{"tensor": [-1, 7]}], "bad-architecture"),
    "a tensor from the end": (("calls", 0, "args"), [{"tensor": [-1, -1]}], "bad-architecture"),
    "an unknown layer called": (("calls", 0, "layer"), "nobody", "bad-architecture"),
    "a number called": (("calls", 0, "args"), [7], "bad-architecture"),
    "an unknown argument of a call": (("calls", 0, "kwargs"), {"mode": 1}, "bad-architecture"),
    "outputs out of nowhere": (("outputs",), {"tensor": [99, 0]}, "bad-architecture"),
    "no outputs": (("outputs",), [], "bad-architecture"),
}  # fmt: skip


@pytest.mark.parametrize("attack", REFUSED)
def test_a_description_that_no_model_writes_is_refused(attack: str) -> None:
    place, value, code = REFUSED[attack]
    with pytest.raises(BundleError) as caught:
        build(changed(place, value))
    assert caught.value.code == code


@pytest.mark.parametrize("description", [None, 3, "Model", [], {}, {"kind": "Model"}, {"kind": "Sequential"}])
def test_what_is_no_description_at_all(description: Any) -> None:
    with pytest.raises(BundleError):
        build(description)


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.sampled_from(["", "Dense", "../x"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["kind", "layer", "tensor"]), inner),
    max_leaves=4,
)  # fmt: skip


@given(st.data())
@settings(max_examples=150, deadline=None)
def test_whatever_stands_at_any_place_it_is_a_model_or_refused(data: Any) -> None:
    description, inside = deepcopy(GOOD), None
    inside, step = {"root": description}, "root"
    while isinstance(inside[step], (dict, list)) and inside[step] and data.draw(st.booleans()):
        inside = inside[step]
        step = data.draw(st.sampled_from(sorted(inside) if isinstance(inside, dict) else range(len(inside))))
    inside[step] = data.draw(JSON_VALUES)
    with torch.device("meta"):
        try:
            build(description)
        except BundleError as error:
            assert error.code in {"bad-architecture", "unknown-layer", "unknown-field", "unknown-value", "too-much"}


GOOD = good()
