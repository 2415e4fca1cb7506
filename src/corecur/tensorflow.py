"""TensorFlow's names for what is here, so that a program written for it runs after its import line is changed.

``import corecur.tensorflow as tf`` gives ``tf.keras`` (Keras' names) and ``tf.layers`` (TensorFlow 1's functions that
make a layer and call it at once). Tensors are torch's.
"""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import corecur.layers
import corecur.models
from corecur.engine import callbacks, losses, metrics, optimizers
from corecur.layers import initializers, regularizers
from corecur.layers.activation import Activation
from corecur.layers.conv import Conv1D, Conv2D, Conv3D
from corecur.layers.dense import Dense
from corecur.layers.dropout import Dropout
from corecur.layers.norm import BatchNormalization
from corecur.layers.pool import AveragePooling2D, MaxPooling2D
from corecur.layers.shape import Flatten
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
    layers=SimpleNamespace(Input=Input, **{name: getattr(corecur.layers, name) for name in corecur.layers.__all__}),
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
