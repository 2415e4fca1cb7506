from __future__ import annotations

from typing import Any

import pytest
import torch

import corecur.tensorflow as tf
from corecur.layers import LAYERS
from corecur.layers.activation import Activation
from corecur.layers.conv import Conv1D, Conv2D
from corecur.layers.dense import Dense
from corecur.layers.pool import MaxPooling2D
from corecur.models import Input, Model


def test_every_layer_under_keras_name() -> None:
    assert all(getattr(tf.keras.layers, name) is row for name, row in LAYERS.items())
    assert tf.keras.layers.Input is tf.keras.Input is Input
    assert issubclass(tf.keras.Sequential, tf.keras.Model)


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("models", "Sequential"), ("optimizers", "Adam"), ("losses", "CategoricalCrossentropy"), ("metrics", "AUC"),
        ("callbacks", "EarlyStopping"), ("regularizers", "L2"), ("initializers", "Orthogonal"),
    ],
)  # fmt: skip
def test_the_rest_of_keras(path: str, name: str) -> None:
    assert callable(getattr(getattr(tf.keras, path), name))


@pytest.mark.parametrize(
    ("function", "arguments", "layer", "shape"),
    [
        ("conv2d", {"filters": 4, "kernel_size": 3, "strides": 2, "padding": "same"}, Conv2D, (8, 8, 3)),
        ("conv1d", {"filters": 4, "kernel_size": 3}, Conv1D, (8, 3)),
        ("max_pooling2d", {"pool_size": 2, "strides": 2}, MaxPooling2D, (8, 8, 3)),
        ("dense", {"units": 4, "activation": "softmax"}, Dense, (3,)),
        ("activation", {"activation": "relu"}, Activation, (3,)),
    ],
)
def test_functions_make_a_layer_and_call_it(
    function: str, arguments: dict[str, Any], layer: type, shape: tuple[int, ...]
) -> None:
    x = Input(shape)
    torch.manual_seed(0)
    model = Model(x, getattr(tf.layers, function)(x, **arguments))
    torch.manual_seed(0)
    expected = layer(**arguments)
    value = torch.randn(2, *shape)
    expected.build_for((None, *shape))
    expected.load_state_dict(model.layers[0].state_dict())
    assert type(model.layers[0]) is layer
    assert torch.equal(model(value), expected(value))


def test_the_remaining_functions() -> None:
    x = Input((8, 8, 3))
    h = tf.layers.dropout(tf.layers.average_pooling2d(tf.layers.batch_normalization(x), 2), 0.5)
    assert tf.layers.flatten(h).shape == (None, 48)
    assert tf.layers.conv3d(Input((4, 4, 4, 1)), 2, 3).shape == (None, 2, 2, 2, 2)
