"""The networks an image classifier can use, by name.

B batch, H height, W width, C channels, U units, K classes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from corecur.errors import ConfigError
from corecur.layers.activation import Activation
from corecur.layers.conv import Conv2D
from corecur.layers.dense import Dense
from corecur.layers.initializers import Dirac
from corecur.layers.lstm import LSTM
from corecur.layers.merge import Add
from corecur.layers.norm import BatchNormalization
from corecur.layers.pool import GlobalMaxPooling2D, MaxPooling2D
from corecur.layers.rescaling import Rescaling
from corecur.layers.shape import Flatten, Reshape
from corecur.layers.symbolic import SymbolicTensor
from corecur.models import Input, Model, Sequential
from corecur.names import Table

_STEM_CHANNELS = 32
# Logits of a max over many features start large; the scale keeps the first steps from saturating the softmax.
_LOGIT_SCALE = 1 / 9
_UNITS = 128

Builder = Callable[..., Model]


def blocks(
    shape: tuple[int, int, int],
    classes: int,
    *,
    widths: tuple[int, ...] = (64, 128, 256),
    depth: int = 2,
    pools: int = 3,
) -> Model:
    """Blocks of 3×3 convolutions that start as copies of their input, the last ``pools`` of them halving the picture.

    After Jordan, "94% on CIFAR-10 in 3.29 seconds" (2024, arXiv 2404.00498): batch norm without scale, wide shallow
    blocks, a global maximum and a scaled linear head; here with SiLU, a learned stem, and a skip from depth 3 on.

    >>> blocks((28, 28, 1), 10, widths=(16, 32), pools=2).output_symbols[0].shape
    (None, 10)
    """
    x = inputs = Input(shape)
    x = _conv(x, _STEM_CHANNELS, starts_as_copy=False)
    x = Activation("silu")(_norm(x))
    for number, width in enumerate(widths):
        x = _block(x, width, depth, halve=number >= len(widths) - pools)
    x = GlobalMaxPooling2D()(x)  # (B, H', W', C) -> (B, C)
    x = Rescaling(_LOGIT_SCALE)(Dense(classes, use_bias=False, dtype="float32")(x))
    return Model(inputs, Activation("softmax")(x), name="blocks")


def _block(x: SymbolicTensor, width: int, depth: int, *, halve: bool) -> SymbolicTensor:
    x = _conv(x, width)
    if halve:
        x = MaxPooling2D(2)(x)
    x = skip = Activation("silu")(_norm(x))
    for number in range(1, depth):
        x = _norm(_conv(x, width))
        if number >= 2 and number == depth - 1:
            x = Add()([x, skip])
        x = Activation("silu")(x)
    return x


def _conv(x: SymbolicTensor, width: int, *, starts_as_copy: bool = True) -> Any:
    initializer = Dirac() if starts_as_copy else "he_uniform"
    return Conv2D(width, 3, padding="same", use_bias=False, kernel_initializer=initializer)(x)


def _norm(x: SymbolicTensor) -> Any:
    return BatchNormalization(momentum=0.6, epsilon=1e-5, scale=False)(x)


def textbook(shape: tuple[int, int, int], classes: int, *, widths: tuple[int, ...] = (32, 64), **_: object) -> Model:
    """The articles' CNN: convolution and pooling, twice, then a hidden layer of 128 and a softmax.

    >>> textbook((28, 28, 1), 10).count_params()
    225034
    """
    if min(shape[:2]) < 10:
        raise ConfigError(
            "the network 'textbook' needs pictures of at least 10 × 10", got=shape, do="use --model blocks"
        )
    model = Sequential([Input(shape)], name="textbook")
    for width in widths[-2:]:
        model.add(Conv2D(width, 3, activation="relu"))
        model.add(MaxPooling2D(2))
    for layer in (Flatten(), Dense(128, "relu"), Dense(classes, "softmax", dtype="float32")):
        model.add(layer)
    return model


def hybrid(
    shape: tuple[int, int, int], classes: int, *, widths: tuple[int, ...] = (32, 64, 128), pools: int = 3, **_: object
) -> Model:
    """The articles' hybrid: convolutions, their rows as a sequence from top to bottom, two LSTMs, a softmax.

    A convolution for each width, the first ``pools - 1`` of them halving the picture; each row of what they found, all
    its columns and channels side by side, is a step in time.

    >>> hybrid((28, 28, 1), 10, widths=(8, 16), pools=3).output_symbols[0].shape
    (None, 10)
    """
    x = inputs = Input(shape)
    for number, width in enumerate(widths):
        x = Activation("relu")(_norm(_conv(x, width, starts_as_copy=False)))
        if number < pools - 1 and min(x.shape[1], x.shape[2]) > 1:
            x = MaxPooling2D(2)(x)
    x = Reshape((x.shape[1] or 1, -1))(x)  # (B, H', W', C) -> (B, H', W'·C)
    x = LSTM(_UNITS, return_sequences=True)(x)
    x = LSTM(_UNITS)(x)  # (B, H', U) -> (B, U)
    return Model(inputs, Dense(classes, "softmax", dtype="float32")(x), name="hybrid")


NETWORKS: Table[Builder] = Table("model", {"blocks": blocks, "hybrid": hybrid, "textbook": textbook})
