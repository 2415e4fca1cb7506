"""Building models: Sequential, functional, subclassed; training them is in test_training.py."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from corecur.errors import ConfigError, ShapeError
from corecur.layers.conv import Conv2D
from corecur.layers.dense import Dense
from corecur.layers.layer import Layer
from corecur.layers.merge import Add, Concatenate
from corecur.layers.pool import GlobalAveragePooling2D, MaxPooling2D
from corecur.layers.shape import Flatten
from corecur.layers.symbolic import SymbolicTensor
from corecur.models import Input, Model, Sequential


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


# Input


def test_input_shapes() -> None:
    assert Input((28, 28, 1)).shape == (None, 28, 28, 1)
    assert Input(batch_shape=(4, None, 3)).shape == (4, None, 3)
    assert Input((), dtype=torch.int64).shape == (None,)


@pytest.mark.parametrize("shape", [(0,), (-1, 2), (1.5,), ("3",)])
def test_input_refuses_sizes_that_are_none(shape: Any) -> None:
    with pytest.raises(ConfigError, match="whole numbers from 1"):
        Input(shape)


def test_input_takes_one_kind_of_shape() -> None:
    with pytest.raises(ConfigError, match="without the batch axis"):
        Input()
    with pytest.raises(ConfigError, match="without the batch axis"):
        Input((3,), batch_shape=(None, 3))


# Sequential

CHAINS = {
    "a list": lambda: Sequential([Conv2D(3, 3, input_shape=(8, 6, 2)), Flatten(), Dense(4)]),
    "an Input first": lambda: Sequential([Input((8, 6, 2)), Conv2D(3, 3), Flatten(), Dense(4)]),
    "a nested chain first": lambda: Sequential(
        [Sequential([Conv2D(3, 3, input_shape=(8, 6, 2)), Flatten()]), Dense(4)]
    ),
    "add": lambda: _added([Conv2D(3, 3, input_shape=(8, 6, 2)), Flatten(), Dense(4)]),
    "built later": lambda: _built([Conv2D(3, 3), Flatten(), Dense(4)]),
    "added after building": lambda: _built([Conv2D(3, 3)], Flatten(), Dense(4)),
}


def _added(layers: list[Layer]) -> Sequential:
    model = Sequential()
    for layer in layers:
        model.add(layer)
    return model


def _built(layers: list[Layer], *later: Layer) -> Sequential:
    model = Sequential(layers)
    assert not model.built
    assert model.output_shape is None
    model.build((None, 8, 6, 2))
    for layer in later:
        model.add(layer)
    return model


@pytest.mark.parametrize("way", CHAINS)
def test_a_chain_is_built_as_soon_as_its_shape_is_known(way: str) -> None:
    model = CHAINS[way]()
    assert model.built
    assert model.output_shape == (None, 4)
    assert model.input_symbols[0].shape == (None, 8, 6, 2)
    assert model.output_symbols[0].shape == (None, 4)
    assert model.count_params() == 3 * 2 * 9 + 3 + 6 * 4 * 3 * 4 + 4
    assert model(random(5, 8, 6, 2)).shape == (5, 4)


def test_a_chain_without_a_shape_is_built_by_its_first_call() -> None:
    model = Sequential([Dense(4, "relu"), Dense(2)])
    assert list(model.parameters()) == []
    assert model.input_symbols == model.output_symbols == []
    assert model(random(5, 3)).shape == (5, 2)
    assert {name: tuple(p.shape) for name, p in model.named_parameters()} == {
        "dense.weight": (4, 3), "dense.bias": (4,), "dense_1.weight": (2, 4), "dense_1.bias": (2,)
    }  # fmt: skip


def test_a_chain_computes_its_layers_one_after_the_other() -> None:
    model = Sequential([Conv2D(3, 3, activation="relu", input_shape=(8, 6, 2)), MaxPooling2D(), Flatten(), Dense(4)])
    x = random(5, 8, 6, 2)
    conv, dense = model.get_layer("conv2d"), model.get_layer("dense")
    y = nn.functional.conv2d(x.permute(0, 3, 1, 2), conv.weight, conv.bias).relu()
    y = nn.functional.max_pool2d(y, 2).permute(0, 2, 3, 1).flatten(1)
    torch.testing.assert_close(model(x), nn.functional.linear(y, dense.weight, dense.bias))


def test_names_number_the_layers_of_a_kind() -> None:
    model = Sequential([Dense(4), nn.ReLU(), Dense(4, name="middle"), nn.ReLU(), Dense(2)])
    assert [name for name, _ in model.named_children()] == ["dense", "re_lu", "middle", "re_lu_1", "dense_1"]
    assert model.get_layer("middle") is model.layers[2]
    with pytest.raises(ConfigError, match=r"(?s)no layer 'nose'.*dense, re_lu, middle"):
        model.get_layer("nose")


@pytest.mark.parametrize("name", ["layers", "forward", "built"])
def test_a_layer_cannot_hide_what_a_model_has(name: str) -> None:
    with pytest.raises(ConfigError, match=f"cannot be called '{name}'"):
        Sequential([Dense(2, name=name)])


def test_two_layers_of_one_given_name_are_refused() -> None:
    with pytest.raises(ConfigError, match="two layers are called 'twin'"):
        Sequential([Dense(2, name="twin"), Dense(2, name="twin")])
    with pytest.raises(ConfigError, match="two layers are called 'dense'"):
        Sequential([Dense(2), Dense(2, name="dense")])


def test_pop_takes_the_last_layer_off() -> None:
    last = Dense(2)
    model = Sequential([Flatten(input_shape=(3, 4)), Dense(5), last])
    assert model.pop() is last
    assert model.output_shape == (None, 5)
    model.add(Dense(7))
    assert model(random(2, 3, 4)).shape == (2, 7)
    for _ in range(3):
        model.pop()
    assert model.layers == []
    assert model.input_symbols[0].shape == (None, 3, 4)
    with pytest.raises(ConfigError, match="no layer to take off"):
        model.pop()
    with pytest.raises(ConfigError, match="empty Sequential"):
        Sequential()(random(2, 3))


def test_a_layer_that_does_not_fit_leaves_the_chain_as_it_was() -> None:
    model = Sequential([Conv2D(3, 3, input_shape=(8, 8, 1))])
    with pytest.raises(ShapeError, match=r"(?s)layer 'wide' \(Conv2D\).*reaches over 9 positions.*\(None, 6, 6, 3\)"):
        model.add(Conv2D(3, 9, name="wide"))
    with pytest.raises(ShapeError, match=r"(?s)layer 'linear' cannot take what comes before it.*\(None, 6, 6, 3\)"):
        model.add(nn.Linear(4, 2))
    assert len(model.layers) == 1
    model.add(Conv2D(3, 3))
    assert model.output_shape == (None, 4, 4, 3)


def test_what_cannot_stand_in_a_chain() -> None:
    with pytest.raises(ConfigError, match=r"(?s)holds layers, not function.*Activation"):
        Sequential([lambda x: x])  # type: ignore[list-item]
    with pytest.raises(ConfigError, match="holds layers, not str"):
        Sequential(["relu"])
    with pytest.raises(ConfigError, match="an Input comes first"):
        Sequential([Dense(2), Input((3,))])
    shared = Dense(3)
    with pytest.raises(ConfigError, match=r"(?s)stands once.*Model\(inputs, outputs\)"):
        Sequential([shared, shared])


class Halves(nn.Module):
    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return x[:, :1], x[:, 1:]


def test_a_layer_of_a_chain_returns_one_tensor() -> None:
    with pytest.raises(ConfigError, match="returns one tensor"):
        Sequential([Input((3,)), Halves()])


def test_any_torch_module_can_stand_in_a_chain() -> None:
    model = Sequential([Input((4,)), nn.Linear(4, 6), nn.BatchNorm1d(6), nn.GELU(), Dense(2)])
    x = random(5, 4)
    linear, norm, _, dense = model.eval().layers
    assert torch.equal(model(x), dense(nn.functional.gelu(norm(linear(x)))))
    assert Sequential([nn.Linear(4, 6), Dense(2)])(x).shape == (5, 2)


# functional models


def test_branches_and_a_shared_layer() -> None:
    x = Input((8, 8, 2))
    conv = Conv2D(2, 3, padding="same", activation="tanh")
    left, right = conv(x), conv(conv(x))
    model = Model(x, Dense(3)(GlobalAveragePooling2D()(Concatenate()([Add()([left, x]), right]))))
    assert [type(layer).__name__ for layer in model.layers] == [
        "Conv2D", "Add", "Concatenate", "GlobalAveragePooling2D", "Dense"
    ]  # fmt: skip
    value = random(4, 8, 8, 2)
    both = torch.cat([conv(value) + value, conv(conv(value))], -1).mean((1, 2))
    assert torch.equal(model(value), model.get_layer("dense")(both))
    model(value).square().sum().backward()
    assert conv.weight.grad is not None
    assert model.count_params() == 2 * 2 * 9 + 2 + 4 * 3 + 3


def test_several_inputs_and_outputs() -> None:
    a, b = Input((3,)), Input((5,))
    h = Dense(4)(Concatenate()([a, b]))
    model = Model([a, b], [Dense(1)(h), h])
    x, y = random(6, 3), random(6, 5)
    for outputs in (model(x, y), model([x, y])):
        assert [tuple(out.shape) for out in outputs] == [(6, 1), (6, 4)]
    with pytest.raises(ShapeError, match=r"(?s)takes 2 inputs.*got: +1"):
        model(x)
    named = Model([a, b], {"small": Dense(1)(h), "large": h})
    assert {name: tuple(out.shape) for name, out in named(x, y).items()} == {"small": (6, 1), "large": (6, 4)}


def test_a_list_of_one_output_is_that_output() -> None:
    x = Input((3,))
    model = Model([x], [Dense(2)(x)])
    assert model(random(4, 3)).shape == (4, 2)
    assert model([random(4, 3)]).shape == (4, 2)


def test_the_inputs_are_found_if_they_are_not_given() -> None:
    a, b = Input((3,)), Input((3,))
    model = Model(outputs=Dense(2)(Add()([b, a])))
    assert model.input_symbols == [b, a]
    with pytest.raises(ConfigError, match=r"(?s)not among the model's inputs.*shape=\(None, 3\)"):
        Model(a, Add()([a, b]))
    with pytest.raises(ConfigError, match="outputs are what layers return"):
        Model(a, torch.zeros(2))


def test_models_are_layers_of_other_models() -> None:
    inner_input = Input((4,))
    inner = Model(inner_input, Dense(3, "relu")(inner_input), name="inner")
    chain = Sequential([Dense(3), Dense(2)])
    x = Input((4,))
    outer = Model(x, chain(inner(x)))
    value = random(5, 4)
    assert torch.equal(outer(value), chain(inner(value)))
    assert [name for name, _ in outer.named_children()] == ["inner", "sequential"]
    assert outer.count_params() == inner.count_params() + chain.count_params() == 15 + 12 + 8


def test_part_of_a_model_is_a_model_of_the_same_layers() -> None:
    x = Input((4,))
    hidden = Dense(3, "relu", name="hidden")(x)
    whole, head = Model(x, Dense(2)(hidden)), Input((3,))
    encoder = Model(x, hidden)
    assert encoder.get_layer("hidden") is whole.get_layer("hidden")
    decoder = Model(hidden, whole.output_symbols[0])  # from the middle on
    value = random(5, 4)
    assert torch.equal(decoder(encoder(value)), whole(value))
    assert Model(head, whole.get_layer("dense")(head))(random(5, 3)).shape == (5, 2)


def test_layers_of_two_models_meet_in_a_third() -> None:
    x = Input((3,))
    first, second = Dense(2), Dense(2)
    Model(x, first(x)), Model(x, second(x))  # each calls its own 'dense'
    both = Model(x, Add()([first(x), second(x)]))
    assert [name for name, _ in both.named_children()] == ["dense", "dense_1", "add"]


def test_a_functional_model_takes_tensors_only() -> None:
    x = Input((3,))
    with pytest.raises(ConfigError, match=r"(?s)takes tensors only.*got: +training.*model.eval"):
        Model(x, Dense(2)(x))(random(2, 3), training=True)


def test_whole_numbers_become_the_input_s_dtype() -> None:
    pictures = torch.randint(0, 256, (4, 8, 8, 1), dtype=torch.uint8)
    x = Input((8, 8, 1))
    functional = Model(x, Conv2D(2, 3)(x))
    chain = Sequential([Conv2D(2, 3, input_shape=(8, 8, 1))])
    for model in (functional, chain):
        assert torch.equal(model(pictures), model(pictures.float()))


def test_a_very_deep_model_is_no_problem() -> None:
    h = x = Input((2,))
    for _ in range(1500):
        h = Add()([h, h])
    assert len(copy.deepcopy(Model(x, h)).layers) == 1500


# subclasses


class WithForward(Model):
    def __init__(self, width: int = 4) -> None:
        super().__init__()
        self.hidden = Dense(width, "relu")
        self.torchs = nn.Linear(width, width)
        self.out = Dense(2)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.torchs(self.hidden(x)).relu())


class WithCall(Model):
    def __init__(self) -> None:
        super(WithCall, self).__init__()  # noqa: UP008 - as Keras programs write it
        self.conv = Conv2D(4, 3, activation="relu", input_shape=(8, 8, 1))
        self.pool = MaxPooling2D()
        self.flatten = Flatten()
        self.dense = Dense(2, activation="softmax")

    def call(self, x: Tensor, training: bool = False) -> Tensor:
        return self.dense(self.flatten(self.pool(self.pool(self.conv(x)))))


@pytest.mark.parametrize(("model", "shape"), [(WithForward(3), (5, 7)), (WithCall(), (5, 8, 8, 1))])
def test_a_subclass_is_built_by_its_first_call(model: Model, shape: tuple[int, ...]) -> None:
    assert not model.built
    drawn = random(*shape)
    assert model(drawn).shape == (5, 2)
    assert model.built
    assert model.input_symbols[0].shape == (None, *shape[1:])
    weights = [p.clone() for p in model.parameters()]
    model(drawn)
    assert all(torch.equal(a, b) for a, b in zip(weights, model.parameters(), strict=True))


def test_a_subclass_records_its_own_arguments() -> None:
    assert WithForward(3).get_config() == {"width": 3}
    with pytest.raises(ConfigError, match=r"(?s)WithForward has no argument 'widht'.*'width'"):
        WithForward(widht=3)  # type: ignore[call-arg]


def test_a_subclass_is_a_layer_of_a_functional_model() -> None:
    x = Input((7,))
    part = WithForward(3)
    model = Model(x, Dense(1)(part(x)))
    value = random(5, 7)
    assert torch.equal(model(value), model.get_layer("dense")(part(value)))


def test_a_layer_under_two_names_keeps_its_weights() -> None:
    class Twins(Model):
        def __init__(self) -> None:
            super().__init__()
            self.first = self.second = Dense(3)

        def forward(self, x: Tensor) -> Tensor:
            return self.second(self.first(x))

    model = Twins()
    model(random(2, 3))
    weight = model.first.weight
    assert model(SymbolicTensor((None, 3))).shape == (None, 3)
    assert model.first.weight is model.second.weight is weight


def test_a_model_without_forward_says_so() -> None:
    with pytest.raises(ConfigError, match="Model has no forward"):
        Model()(random(2, 3))


def test_layers_in_a_plain_list_are_not_lost_in_silence() -> None:
    class Stack(Model):
        def __init__(self, kind: Any) -> None:
            super().__init__()
            self.first = Dense(3)
            self.blocks = kind([Dense(3), Dense(3)])

        def forward(self, x: Tensor) -> Tensor:
            x = self.first(x)
            for block in self.blocks:
                x = block(x)
            return x

    with pytest.raises(ConfigError, match=r"(?s)plain list.*self.blocks.*ModuleList"):
        Stack(list)(random(2, 3))
    good = Stack(nn.ModuleList)
    good(random(2, 3))
    assert good.count_params() == 3 * 12


# messages


@pytest.mark.parametrize(
    ("make", "parts"),
    [
        (lambda: Dense(3, activation="rellu"), ("unknown activation 'rellu'", "did you mean 'relu'?")),
        (lambda: Dense(3, activations="relu"), ("Dense has no argument 'activations'", "did you mean 'activation'?")),
        (lambda: Conv2D(3, kernal_size=3), ("Conv2D has no argument 'kernal_size'", "'kernel_size'")),
        (lambda: Dense(3, kernel_initializer="glorot"), ("unknown initializer 'glorot'", "'glorot_")),
        (lambda: Sequential(layer=[]), ("Sequential has no argument 'layer'", "'layers'")),
    ],
)
def test_mistyped_names_meet_the_nearest(make: Any, parts: tuple[str, ...]) -> None:
    with pytest.raises(ConfigError) as caught:
        made = make()
        made(SymbolicTensor((None, 3)))
    assert all(part in str(caught.value) for part in parts), caught.value


def test_a_wrong_shape_names_layer_got_expected_and_remedy() -> None:
    class Picture(Model):
        def __init__(self) -> None:
            super().__init__()
            self.conv = Conv2D(3, 3, name="first")

        def forward(self, x: Tensor) -> Tensor:
            return self.conv(x)

    model = Picture()
    model(random(2, 8, 8, 3))
    with pytest.raises(ShapeError) as caught:
        model(random(2, 3, 8, 8))
    for part in ("layer 'first' (Conv2D)", "got:      (2, 3, 8, 8)", "expected: (…, 3)", "x.permute(0, 2, 3, 1)"):
        assert part in str(caught.value)


def test_a_built_model_refuses_another_shape() -> None:
    x = Input((8, 8, 3))
    for model in (Model(x, Conv2D(2, 3)(x)), Sequential([Conv2D(2, 3, input_shape=(8, 8, 3))])):
        with pytest.raises(ShapeError, match=r"(?s)got: +\(2, 9, 8, 3\).*expected: +\(batch, 8, 8, 3\)"):
            model(random(2, 9, 8, 3))


def test_the_printed_form_lists_the_layers_once() -> None:
    assert repr(Sequential([Dense(2)])).count("Dense") == 1
    assert "width=3" in repr(WithForward(3))
