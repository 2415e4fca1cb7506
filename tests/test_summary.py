"""What the table says, against closed forms.

B batch, H height, W width, C channels, F filters, k kernel.
"""

from __future__ import annotations

import re
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import _get_current_dispatch_mode

from corecur.errors import ConfigError, ShapeError
from corecur.layers import LAYERS
from corecur.layers.activation import Activation
from corecur.layers.conv import Conv1D, Conv2D, Conv3D
from corecur.layers.conv_lstm import ConvLSTM2D
from corecur.layers.conv_transpose import Conv2DTranspose
from corecur.layers.dense import Dense
from corecur.layers.depthwise_conv import DepthwiseConv2D
from corecur.layers.layer import Layer
from corecur.layers.lstm import LSTM
from corecur.layers.merge import Add, Concatenate
from corecur.layers.norm import BatchNormalization
from corecur.layers.pool import AveragePooling2D, GlobalAveragePooling2D, MaxPooling2D
from corecur.layers.rnn import RNN
from corecur.layers.separable_conv import SeparableConv2D
from corecur.layers.shape import Flatten
from corecur.layers.up_sampling import UpSampling2D
from corecur.models import Input, Model, Sequential
from corecur.summary import LayerCost, as_bytes, layer_costs, summarize

from .layers.samples import SAMPLES, call, make


def cost_of(layer: Layer, *shape: int) -> LayerCost:
    (row,) = layer_costs(Sequential([Input(shape), layer]))
    return row


# one layer: shape, parameters, multiply-adds, memory

CLOSED_FORMS: dict[str, tuple[Layer, tuple[int, ...], tuple[int, ...], int, int]] = {
    # layer, input, output, parameters, multiply-adds
    "Conv2D": (Conv2D(16, 3), (10, 9, 4), (8, 7, 16), 16 * 4 * 9 + 16, 8 * 7 * 16 * 4 * 9),
    "strides": (Conv2D(16, (3, 5), 2, "same"), (10, 9, 4), (5, 5, 16), 16 * 4 * 15 + 16, 25 * 16 * 4 * 15),
    "groups": (Conv2D(16, 3, groups=4, use_bias=False), (10, 9, 4), (8, 7, 16), 16 * 9, 8 * 7 * 16 * 9),
    "dilation": (Conv2D(2, 3, dilation_rate=2), (10, 9, 4), (6, 5, 2), 2 * 4 * 9 + 2, 6 * 5 * 2 * 4 * 9),
    "Conv1D": (Conv1D(8, 5, padding="causal"), (20, 3), (20, 8), 8 * 3 * 5 + 8, 20 * 8 * 3 * 5),
    "Conv3D": (Conv3D(2, 2), (4, 5, 6, 3), (3, 4, 5, 2), 2 * 3 * 8 + 2, 60 * 2 * 3 * 8),
    "transposed": (Conv2DTranspose(5, 3, strides=2, padding="same"), (4, 4, 3), (8, 8, 5), 5 * 27 + 5, 16 * 27 * 5),
    "depthwise": (DepthwiseConv2D(3, padding="same"), (8, 8, 6), (8, 8, 6), 6 * 9 + 6, 64 * 6 * 9),
    "separable": (SeparableConv2D(5, 3, padding="same"), (8, 8, 6), (8, 8, 5), 54 + 30 + 5, 64 * 54 + 64 * 30),
    "Dense": (Dense(7), (11,), (7,), 11 * 7 + 7, 77),
    "Dense at each step": (Dense(7), (5, 11), (5, 7), 84, 5 * 77),
    "BatchNormalization": (BatchNormalization(), (4, 4, 6), (4, 4, 6), 12, 0),
    "MaxPooling2D": (MaxPooling2D(2), (9, 8, 3), (4, 4, 3), 0, 0),
    "Flatten": (Flatten(), (3, 4), (12,), 0, 0),
}


@pytest.mark.parametrize("case", CLOSED_FORMS)
def test_a_layer_against_its_closed_form(case: str) -> None:
    layer, given, made, parameters, multiply_adds = CLOSED_FORMS[case]
    row = cost_of(layer, *given)
    assert (row.shape, row.parameters, row.multiply_adds) == (made, parameters, multiply_adds)
    assert row.activation_bytes == 4 * torch.Size(made).numel()
    assert row.kind == type(layer).__name__


@pytest.mark.parametrize("row", sorted(LAYERS))
def test_every_layer_of_the_table_has_a_row(row: str) -> None:
    symbols = [Input(shape) for shape in SAMPLES[row].shapes]
    layer = make(row)
    model = Model(symbols, call(layer, symbols if SAMPLES[row].takes_list else symbols[0]))
    (found,) = layer_costs(model)
    assert (None, *found.shape) == model.output_symbols[0].shape
    assert found.parameters == sum(p.numel() for p in layer.parameters())
    assert found.receptive_field == "all" or int(found.receptive_field) >= 1


# how far a network sees


def reaches(model: Model, **more: Any) -> list[str]:
    return [row.receptive_field for row in layer_costs(model, **more)]


def pixels_seen(model: Model, size: int) -> int:
    """The width of the input that the middle output depends on, by gradients through positive weights."""
    x = torch.rand(1, size, size, 1, requires_grad=True)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.fill_(0.1)
    y = model.eval()(x)
    y[0, y.shape[1] // 2, y.shape[2] // 2].sum().backward()
    assert x.grad is not None
    return int((x.grad[0, :, :, 0].abs().sum(0) > 0).sum())


NETWORKS: dict[str, tuple[list[Layer], str]] = {
    "two of 3": ([Conv2D(1, 3), Conv2D(1, 3)], "5"),
    "conv, pool, conv": ([Conv2D(1, 3), AveragePooling2D(2), Conv2D(1, 3)], "8"),
    "strides": ([Conv2D(1, 3, 2), Conv2D(1, 3, 2), Conv2D(1, 3)], "15"),
    "dilation": ([Conv2D(1, 3, dilation_rate=d) for d in (1, 2, 4)], "15"),
    "pointwise": ([Conv2D(1, 5), Conv2D(1, 1), Activation("relu"), Dense(1)], "5"),
    "separable": ([SeparableConv2D(1, 3), SeparableConv2D(1, 5)], "7"),
}


@pytest.mark.parametrize("case", NETWORKS)
def test_the_receptive_field_is_what_gradients_reach(case: str) -> None:
    layers, expected = NETWORKS[case]
    model = Sequential([Input((33, 33, 1)), *layers])
    assert reaches(model)[-1] == expected
    assert pixels_seen(model, 33) == int(expected)


def test_known_networks() -> None:
    vgg = Sequential([Input((224, 224, 3))])  # Simonyan & Zisserman 2015, configuration D: 212 pixels at pool 5
    for depth, width in ((2, 2), (2, 2), (3, 2), (3, 2), (3, 2)):
        for _ in range(depth):
            vgg.add(Conv2D(width, 3, padding="same"))
        vgg.add(MaxPooling2D(2))
    assert reaches(vgg)[-1] == "212"
    assert reaches(vgg)[:3] == ["3", "5", "6"]
    head = Sequential([Input((8, 8, 3)), Conv2D(2, 3), GlobalAveragePooling2D(), Dense(2)])
    assert reaches(head) == ["3", "all", "all"]
    flat = Sequential([Input((8, 8, 3)), Conv2D(2, 3), Flatten(), Dense(2)])
    assert reaches(flat) == ["3", "3", "all"]


def test_branches_see_as_far_as_the_widest() -> None:
    x = Input((16, 16, 2))
    narrow, wide = Conv2D(2, 3, padding="same")(x), Conv2D(2, 7, padding="same")(x)
    model = Model(x, Conv2D(2, 3)(Concatenate()([Add()([narrow, x]), wide])))
    assert reaches(model) == ["3", "3", "7", "7", "9"]


def test_enlarging_makes_strides_smaller() -> None:
    model = Sequential([Input((8, 8, 1)), Conv2D(1, 3, 2), UpSampling2D(2), Conv2D(1, 3, padding="same")])
    assert reaches(model) == ["3", "3", "5"]


def test_models_inside_are_looked_into() -> None:
    inner = Sequential([Conv2D(2, 3), Conv2D(2, 3)])
    assert reaches(Sequential([Input((16, 16, 2)), inner, nn.ReLU(), Conv2D(2, 3)])) == ["5", "5", "7"]


def test_what_is_not_known_is_not_guessed() -> None:
    class Skip(Model):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second = Conv2D(2, 3, padding="same"), Conv2D(2, 3)

        def forward(self, x: Tensor) -> Tensor:
            return self.second(self.first(x) + x)

    assert reaches(Skip(), input_shape=(8, 8, 2)) == ["3", "?"]
    assert reaches(Sequential([Input((2, 8)), nn.MaxPool1d(2), nn.ReLU()])) == ["?", "?"]
    torchs = Sequential([Input((2, 8, 8)), nn.Conv2d(2, 3, 3, dilation=2), nn.ReLU(), nn.Flatten(), nn.Linear(48, 2)])
    assert reaches(torchs) == ["5", "5", "5", "all"]


# the whole table


def articles_cnn() -> Sequential:
    return Sequential([
        Conv2D(32, (3, 3), activation="relu", input_shape=(28, 28, 1)), MaxPooling2D((2, 2)),
        Conv2D(64, (3, 3), activation="relu"), MaxPooling2D((2, 2)),
        Flatten(), Dense(128, activation="relu"), Dense(10, activation="softmax"),
    ], name="cnn")  # fmt: skip


def test_the_articles_cnn() -> None:
    model = articles_cnn()
    rows = layer_costs(model)
    assert [row.name for row in rows] == [name for name, _ in model.named_children()]
    assert [row.parameters for row in rows] == [320, 0, 18_496, 0, 0, 204_928, 1_290]
    assert [row.multiply_adds for row in rows] == [194_688, 0, 2_230_272, 0, 0, 204_800, 1_280]
    assert [row.receptive_field for row in rows] == ["3", "4", "8", "10", "10", "all", "all"]
    printed: list[str] = []
    model.summary(print_fn=printed.append)
    lines = printed[0].splitlines()
    assert lines[0] == "model cnn"
    assert re.match(r"conv2d +Conv2D +\(26, 26, 32\) +320 +194,688 +84.5 KiB +3$", lines[2])
    assert lines[-2] == "parameters: 225,034 (225,034 trainable), 879.0 KiB"
    assert lines[-1].startswith("for one sample: 2,631,040 multiply-adds, ")


def test_frozen_parameters_do_not_count_as_trainable() -> None:
    model = Sequential([Dense(4, input_shape=(3,)), Dense(2)])
    model.layers[0].trainable = False
    assert "parameters: 26 (10 trainable), 104 B" in summarize(model)


def test_a_shared_layer_has_a_row_for_each_call() -> None:
    x, dense = Input((3,)), Dense(3)
    rows = layer_costs(Model(x, dense(dense(x))))
    assert [row.name for row in rows] == ["dense", "dense"]
    assert "parameters: 12 (" in summarize(Model(x, dense(dense(x))))


def test_unknown_sizes_are_tried() -> None:
    model = Sequential([Input((None, None, 3)), Conv2D(4, 3, padding="same"), GlobalAveragePooling2D()])
    assert layer_costs(model, unknown=10)[0].multiply_adds == 100 * 4 * 3 * 9
    assert layer_costs(model, input_shape=(7, 6, 3))[0].shape == (7, 6, 4)


def test_unknown_sizes_are_shown_as_such() -> None:
    lines = summarize(Sequential([Input((None, 5)), LSTM(4, return_sequences=True), LSTM(3)])).splitlines()
    assert "(None, 4)" in lines[2]
    assert "(3,)" in lines[3]
    assert lines[-1].startswith("for one sample, unknown sizes taken as 96: ")


class Mixing(Layer):
    """A cell of one's own: one product (B, C) · (C, C) a step."""

    state_size = 3

    def build(self, input_shape: Any) -> None:
        self.weight = self.add_weight((3, 3))

    def forward(self, x: Tensor, states: list[Tensor]) -> tuple[Tensor, list[Tensor]]:
        h = x @ self.weight + states[0]
        return h, [h]


def test_loops_over_time_are_counted() -> None:
    pictures = ConvLSTM2D(2, 3, padding="same", return_sequences=True)
    assert cost_of(pictures, 5, 6, 7, 3).multiply_adds == 5 * (6 * 7 * 8) * 9 * (3 + 2)
    assert cost_of(RNN(Mixing()), 5, 3).multiply_adds == 5 * 9


@pytest.mark.parametrize("kind", ["chain", "subclass"])
def test_a_model_that_is_not_built(kind: str) -> None:
    class Own(Model):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.flatten, self.dense = Conv2D(2, 3), Flatten(), Dense(2)

        def call(self, x: Tensor) -> Tensor:
            return self.dense(self.flatten(self.conv(x)))

    def fresh() -> Model:
        return Own() if kind == "subclass" else Sequential([Conv2D(2, 3), Flatten(), Dense(2)])

    with pytest.raises(ConfigError, match=r"(?s)not built yet.*summary\(input_shape"):
        fresh().summary()
    given, called = fresh(), fresh()
    called(torch.zeros(1, 8, 8, 1))
    assert layer_costs(given, input_shape=(8, 8, 1)) == layer_costs(called)
    assert [row.multiply_adds for row in layer_costs(given)] == [36 * 2 * 9, 0, 144]


def test_a_summary_leaves_no_trace() -> None:
    model = articles_cnn()
    model.train()
    model.layers[2].eval()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    drawn, x = torch.get_rng_state(), torch.zeros(2, 28, 28, 1)
    model.summary(print_fn=str)
    assert model.training
    assert not model.layers[2].training
    assert torch.equal(torch.get_rng_state(), drawn)
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())
    assert model(x).shape == (2, 10)


def test_a_summary_that_fails_leaves_no_trace_either() -> None:
    model = Sequential([Conv2D(2, 3), Conv2D(2, 3)])
    model.build((None, None, None, 1))
    with pytest.raises(ShapeError, match="reaches over 3 positions"):
        model.summary(input_shape=(4, 4, 1))
    assert _get_current_dispatch_mode() is None
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0 B"), (1023, "1023 B"), (1024, "1.0 KiB"), (5 * 2**20, "5.0 MiB"), (3 * 2**40, "3072.0 GiB")],
)
def test_bytes_as_a_person_reads_them(count: int, text: str) -> None:
    assert as_bytes(count) == text
