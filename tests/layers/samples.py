"""One small configuration and input shape for each layer of the table; the contract suite runs them all."""

from __future__ import annotations

import copy
from typing import Any, NamedTuple

import torch
from torch import Tensor

from corecur.layers import LAYERS


class Sample(NamedTuple):
    """A layer's arguments and the shapes of one sample of its inputs: several for layers that take a list.

    ``tokens`` is how many whole numbers the inputs hold, 0 where they are real numbers.
    """

    config: dict[str, Any]
    shapes: tuple[tuple[int, ...], ...]
    tokens: int = 0

    @property
    def takes_list(self) -> bool:
        return len(self.shapes) > 1


def one(*shape: int, **config: Any) -> Sample:
    return Sample(config, (shape,))


def two(shape: tuple[int, ...], other: tuple[int, ...] | None = None, **config: Any) -> Sample:
    return Sample(config, (shape, other or shape))


SAMPLES: dict[str, Sample] = {
    "Activation": one(3, 4, activation="gelu"),
    "Add": two((4, 3)),
    "AdditiveAttention": two((4, 3), (5, 3), units=6),
    "AttentionPooling": one(5, 3, units=4),
    "Average": two((4, 3)),
    "AveragePooling1D": one(6, 3, pool_size=2),
    "AveragePooling2D": one(5, 6, 3, pool_size=(2, 3), strides=2, padding="same"),
    "AveragePooling3D": one(4, 5, 4, 2, pool_size=2),
    "BatchNormalization": one(3, 4, 5, momentum=0.9),
    "Bidirectional": one(5, 3, layer=LAYERS["LSTM"](4, return_sequences=True), merge_mode="sum"),
    "CRF": one(5, 4, num_tags=4, bio=("O", "B-X", "I-X", "I-Y")),
    "CharacterEncoder": Sample({"input_dim": 9, "output_dim": 3, "filters": 4}, ((5, 4),), tokens=9),
    "Concatenate": two((4, 3), (4, 2)),
    "Conv1D": one(7, 3, filters=4, kernel_size=3, padding="causal", dilation_rate=2),
    "Conv1DTranspose": one(5, 3, filters=4, kernel_size=4, strides=3, padding="same"),
    "Conv2D": one(6, 5, 3, filters=4, kernel_size=3, activation="tanh"),
    "Conv2DTranspose": one(4, 3, 3, filters=4, kernel_size=(3, 2), strides=2),
    "Conv3D": one(4, 3, 4, 2, filters=3, kernel_size=(2, 3, 2), padding="same"),
    "Conv3DTranspose": one(2, 3, 2, 2, filters=3, kernel_size=2),
    "ConvLSTM2D": one(3, 4, 5, 2, filters=3, kernel_size=3, padding="same", return_sequences=True),
    "Cropping1D": one(6, 3, cropping=(1, 2)),
    "Cropping2D": one(5, 6, 3, cropping=((1, 0), (2, 1))),
    "Cropping3D": one(4, 4, 4, 2, cropping=1),
    "Dense": one(3, 4, units=5, activation="sigmoid"),
    "DepthwiseConv1D": one(6, 3, kernel_size=3, depth_multiplier=2),
    "DepthwiseConv2D": one(5, 6, 3, kernel_size=3, depth_multiplier=2, padding="same"),
    "Dot": two((4, 3), (5, 3), axes=2),
    "DotAttention": two((4, 3), (5, 2), score_mode="general", use_scale=True),
    "Dropout": one(4, 3, rate=0.5),
    "ELU": one(4, 3, alpha=0.7),
    "Embedding": Sample({"input_dim": 9, "output_dim": 4, "mask_zero": True}, ((5,),), tokens=9),
    "EmbeddingBag": Sample({"input_dim": 9, "output_dim": 4, "mode": "sqrtn", "use_bias": True}, ((5,),), tokens=9),
    "Flatten": one(3, 4, 2),
    "GRU": one(5, 3, units=4, return_sequences=True, reset_after=False),
    "GRUCell": one(3, units=4),
    "GaussianDropout": one(4, 3, rate=0.5),
    "GaussianNoise": one(4, 3, stddev=0.5),
    "GlobalAveragePooling1D": one(5, 3),
    "GlobalAveragePooling2D": one(4, 5, 3, keepdims=True),
    "GlobalAveragePooling3D": one(3, 4, 2, 3),
    "GlobalMaxPooling1D": one(5, 3, keepdims=True),
    "GlobalMaxPooling2D": one(4, 5, 3),
    "GlobalMaxPooling3D": one(3, 4, 2, 3),
    "GroupNormalization": one(3, 4, 6, groups=3),
    "LSTM": one(5, 3, units=4, return_sequences=True),
    "LSTMCell": one(3, units=4, peephole=True),
    "Logarithm": one(4, 3, floor=0.01),
    "LayerNormalization": one(3, 4, 6),
    "LeakyReLU": one(4, 3, negative_slope=0.1),
    "Masking": one(4, 3, mask_value=0.5),
    "MaxPooling1D": one(6, 3, pool_size=3, strides=2),
    "MaxPooling2D": one(5, 6, 3, pool_size=2, strides=1, padding="same"),
    "MaxPooling3D": one(4, 5, 4, 2, pool_size=2),
    "Maximum": two((4, 3)),
    "Minimum": two((4, 3), (1, 3)),
    "MultiHeadAttention": one(5, 6, num_heads=2, key_dim=3, value_dim=4),
    "Multiply": two((4, 3), (4, 1)),
    "OrderedQuantiles": one(3, 5, middle=1),
    "PReLU": one(3, 4, 5, shared_axes=(1, 2), alpha_initializer="random_uniform"),
    "Permute": one(3, 4, 5, dims=(3, 1, 2)),
    "PositionEmbedding": one(5, 3, max_length=150),
    "PositionalEncoding": one(5, 3, max_wavelength=100.0),
    "RNN": one(5, 3, cell=LAYERS["LSTMCell"](4, layer_norm=True), return_sequences=True),
    "ReLU": one(4, 3, max_value=2.0, negative_slope=0.1, threshold=0.2),
    "Rescaling": one(4, 3, scale=0.5, offset=(0.1, 0.2, 0.3)),
    "Reshape": one(4, 3, target_shape=(2, -1)),
    "ReversibleNormalization": two((4, 3), (2, 3), reverse=True),
    "SeparableConv1D": one(6, 3, filters=4, kernel_size=3),
    "SeparableConv2D": one(5, 6, 3, filters=4, kernel_size=3, strides=2, padding="same", depth_multiplier=2),
    "SimpleRNN": one(5, 3, units=4, activation="elu"),
    "SimpleRNNCell": one(3, units=4),
    "Softmax": one(4, 3),
    "SpatialDropout1D": one(5, 3, rate=0.5),
    "SpatialDropout2D": one(4, 5, 3, rate=0.5),
    "SpatialDropout3D": one(3, 4, 2, 3, rate=0.5),
    "StackedRNNCells": one(3, cells=(LAYERS["GRUCell"](4), LAYERS["LSTMCell"](5, projection=2))),
    "Subtract": two((4, 3)),
    "TimeDistributed": one(5, 4, 3, layer=LAYERS["Conv1D"](4, 2, activation="relu")),
    "UpSampling1D": one(4, 3, size=3),
    "UpSampling2D": one(3, 4, 2, size=(2, 3), interpolation="bilinear"),
    "UpSampling3D": one(2, 3, 2, 2, size=(1, 2, 3)),
    "WindowStatistics": one(5, 3, center="last", epsilon=0.1),
    "ZeroPadding1D": one(4, 3, padding=(2, 1)),
    "ZeroPadding2D": one(3, 4, 2, padding=((1, 0), (2, 3))),
    "ZeroPadding3D": one(2, 3, 2, 2, padding=(1, 0, 2)),
}


def make(row: str, /, **more: Any) -> Any:
    """The layer of that row, unbuilt."""
    torch.manual_seed(3)
    return LAYERS[row](**{**copy.deepcopy(SAMPLES[row].config), **more})  # layers in it are not shared


def inputs(name: str, *, batch: int = 3, dtype: torch.dtype = torch.float32, seed: int = 0) -> Any:
    """A batch for the sample: one tensor, or the list of them."""
    generator = torch.Generator().manual_seed(seed)
    if tokens := SAMPLES[name].tokens:
        return torch.randint(tokens, (batch, *SAMPLES[name].shapes[0]), generator=generator)
    tensors = [torch.randn((batch, *s), generator=generator, dtype=dtype) for s in SAMPLES[name].shapes]
    return tensors if SAMPLES[name].takes_list else tensors[0]


def apply(change: Any, x: Any) -> Any:
    """``change`` for each tensor of an input."""
    return [change(t) for t in x] if isinstance(x, list) else change(x)


def tensors_of(x: Any) -> tuple[Tensor, ...]:
    """The tensors of an input."""
    return tuple(x) if isinstance(x, list) else (x,)


def call(layer: Any, x: Any) -> Any:
    """The layer's output, which for a cell is the first of what it returns."""
    result = layer(x)
    return result[0] if isinstance(result, tuple) else result
