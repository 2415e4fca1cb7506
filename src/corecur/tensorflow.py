"""TensorFlow's names for what is here, so that a program written for it runs after its import line is changed.

``import corecur.tensorflow as tf`` gives ``tf.keras`` (Keras' names), ``tf.layers`` (TensorFlow 1's functions that make
a layer and call it at once) and ``tf.nn`` (its cells, ``dynamic_rnn``, activations). Tensors are torch's.

B batch, T time, P outputs of a step.
"""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor

import corecur.layers
import corecur.models
from corecur.engine import callbacks, losses, metrics, optimizers
from corecur.errors import ConfigError
from corecur.layers import initializers, regularizers
from corecur.layers.activation import ACTIVATIONS, Activation, Function
from corecur.layers.conv import Conv1D, Conv2D, Conv3D
from corecur.layers.dense import Dense
from corecur.layers.dot_attention import DotAttention
from corecur.layers.dropout import Dropout
from corecur.layers.gru import GRUCell
from corecur.layers.lstm import LSTMCell
from corecur.layers.norm import BatchNormalization
from corecur.layers.pool import AveragePooling2D, MaxPooling2D
from corecur.layers.rnn import RNN
from corecur.layers.shape import Flatten
from corecur.layers.simple_rnn import SimpleRNNCell
from corecur.layers.stacked_cells import StackedRNNCells
from corecur.models import Input, Model, Sequential


def _calling(layer: Callable[..., Any]) -> Callable[..., Any]:
    """A function of an input and a layer's arguments that makes the layer and calls it."""

    def call(inputs: Any, *args: Any, **kwargs: Any) -> Any:
        return layer(*args, **kwargs)(inputs)

    call.__doc__ = f"Make a {layer.__name__} and call it on ``inputs``."
    return call


keras = SimpleNamespace(
    Input=Input,
    Model=Model,
    Sequential=Sequential,
    callbacks=callbacks,
    initializers=initializers,
    layers=SimpleNamespace(
        Input=Input,
        Attention=DotAttention,
        **{name: getattr(corecur.layers, name) for name in corecur.layers.__all__},
    ),
    losses=losses,
    metrics=metrics,
    models=corecur.models,
    optimizers=optimizers,
    regularizers=regularizers,
)

layers = SimpleNamespace(
    activation=_calling(Activation),
    average_pooling2d=_calling(AveragePooling2D),
    batch_normalization=_calling(BatchNormalization),
    conv1d=_calling(Conv1D),
    conv2d=_calling(Conv2D),
    conv3d=_calling(Conv3D),
    dense=_calling(Dense),
    dropout=_calling(Dropout),
    flatten=_calling(Flatten),
    max_pooling2d=_calling(MaxPooling2D),
)


def basic_rnn_cell(num_units: int, activation: Function | None = None) -> SimpleRNNCell:
    """TensorFlow 1's ``BasicRNNCell``: tanh unless another activation is given.

    >>> basic_rnn_cell(3, activation=nn.relu).units
    3
    """
    return SimpleRNNCell(num_units, "tanh" if activation is None else activation)


def basic_lstm_cell(num_units: int, forget_bias: float = 1.0, activation: Function | None = None) -> LSTMCell:
    """TensorFlow 1's ``BasicLSTMCell`` and ``LSTMCell``; ``forget_bias``, 0 or 1, is where that bias starts."""
    if forget_bias not in (0, 1):
        raise ConfigError("the forget gate's bias starts at 0 or 1", got=forget_bias)
    return LSTMCell(num_units, "tanh" if activation is None else activation, unit_forget_bias=forget_bias == 1)


def gru_cell(num_units: int, activation: Function | None = None) -> GRUCell:
    """TensorFlow 1's ``GRUCell``, which resets before the product (``reset_after=False``)."""
    return GRUCell(num_units, "tanh" if activation is None else activation, reset_after=False)


def dynamic_rnn(
    cell: Any, inputs: Any, sequence_length: Any = None, initial_state: Any = None, dtype: Any = None
) -> tuple[Any, Any]:
    """A cell over time: outputs (B, T, P) and the last state, a tuple where a cell has several.

    Steps from ``sequence_length`` (B,) on are left out: outputs there are zero, as in TensorFlow. ``dtype`` is taken
    for TensorFlow's sake.

    >>> outputs, state = dynamic_rnn(basic_rnn_cell(4), torch.zeros(2, 5, 3), sequence_length=[5, 2])
    >>> outputs.shape, state.shape
    (torch.Size([2, 5, 4]), torch.Size([2, 4]))
    """
    rnn = RNN(cell, return_sequences=True, return_state=True, zero_output_for_mask=True)
    given: dict[str, Any] = {} if initial_state is None else {"initial_state": initial_state}
    if sequence_length is not None:
        if not isinstance(inputs, Tensor):
            raise ConfigError("sequence_length goes with a tensor of data", do="give an Input a mask: Masking()(x)")
        lengths = torch.as_tensor(sequence_length, device=inputs.device)
        given["mask"] = torch.arange(inputs.shape[1], device=inputs.device) < lengths[:, None]  # (B, T)
    outputs, *state = rnn(inputs, **given)
    return outputs, state[0] if len(state) == 1 else tuple(state)


nn = SimpleNamespace(
    dynamic_rnn=dynamic_rnn,
    relu=ACTIVATIONS["relu"],
    rnn_cell=SimpleNamespace(
        BasicLSTMCell=basic_lstm_cell,
        BasicRNNCell=basic_rnn_cell,
        GRUCell=gru_cell,
        LSTMCell=basic_lstm_cell,
        MultiRNNCell=StackedRNNCells,
    ),
    sigmoid=ACTIVATIONS["sigmoid"],
    softmax=ACTIVATIONS["softmax"],
    tanh=ACTIVATIONS["tanh"],
)

float32, float64, int32, int64 = torch.float32, torch.float64, torch.int32, torch.int64
