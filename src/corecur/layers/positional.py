"""PositionalEncoding and PositionEmbedding: where a step stands, for layers that do not know.

B batch, T time, C channels, L positions. Positions count the real steps of a sequence from 0, so that padding, on
whichever side, does not move them.
"""

from __future__ import annotations

from typing import Unpack

import torch
from torch import Tensor

from corecur.errors import ConfigError, ShapeError
from corecur.layers.conv import each_axis
from corecur.layers.initializers import Initializer
from corecur.layers.layer import Layer, LayerOptions
from corecur.layers.regularizers import Regularizer
from corecur.layers.symbolic import Shape, shape_of


def positions_of(mask: Tensor) -> Tensor:
    """How many real steps stand before each step, (B, T) int64.

    >>> positions_of(torch.tensor([[False, True, False, True]]))
    tensor([[0, 0, 1, 1]])
    """
    counted = mask.long()
    return counted.cumsum(1) - counted


class PositionalEncoding(Layer):
    """Adds ``sin(p / w^(2i/C))`` to channel 2i at position p, and the cosine to channel 2i + 1 (Vaswani et al. 2017).

    w is ``max_wavelength``. It has no weights and takes any length: (B, T, C) -> (B, T, C).

    >>> PositionalEncoding()(torch.zeros(1, 2, 2))
    tensor([[[0.0000, 1.0000],
             [0.8415, 0.5403]]])
    """

    rank = 3
    supports_masking = True

    def __init__(self, max_wavelength: float = 10000.0, **options: Unpack[LayerOptions]) -> None:
        super().__init__(**options)
        if isinstance(max_wavelength, bool) or not isinstance(max_wavelength, (int, float)) or max_wavelength <= 0:
            raise ConfigError("PositionalEncoding needs a max_wavelength above 0", got=repr(max_wavelength))
        self.max_wavelength = max_wavelength

    def forward(self, x: Tensor, *, mask: Tensor | None = None) -> Tensor:
        length, channels = x.shape[1:]
        dtype = torch.promote_types(x.dtype, torch.float32)
        places = torch.arange(length, device=x.device, dtype=dtype).unsqueeze(1)  # (T, 1)
        numbers = torch.arange(channels, device=x.device)
        angles = places * float(self.max_wavelength) ** (-(numbers // 2 * 2).to(dtype) / channels)  # (T, C)
        waves = torch.where(numbers % 2 == 0, angles.sin(), angles.cos()).to(x.dtype)
        return x + (waves if mask is None else waves[positions_of(mask)])


class PositionEmbedding(Layer):
    """Adds a learned vector for each position: ``weight`` (L, C), L = ``max_length``; (B, T, C) -> (B, T, C).

    ShapeError where a sequence has more than L real steps.

    >>> PositionEmbedding(8)(torch.zeros(1, 5, 4)).shape
    torch.Size([1, 5, 4])
    """

    rank = 3
    fixes_channels = True
    supports_masking = True

    def __init__(
        self,
        max_length: int,
        *,
        embeddings_initializer: str | Initializer = "uniform",
        embeddings_regularizer: str | Regularizer | None = None,
        **options: Unpack[LayerOptions],
    ) -> None:
        super().__init__(**options)
        each_axis(max_length, 1, what="PositionEmbedding's max_length")
        self.max_length = max_length
        self.embeddings_initializer = embeddings_initializer
        self.embeddings_regularizer = embeddings_regularizer

    def build(self, input_shape: Shape) -> None:
        self.weight = self.add_weight(
            (self.max_length, int(input_shape[-1] or 0)),
            initializer=self.embeddings_initializer,
            regularizer=self.embeddings_regularizer,
        )

    def forward(self, x: Tensor, *, mask: Tensor | None = None) -> Tensor:
        longest = x.shape[1]
        if mask is not None and longest > self.max_length and not mask.is_meta:
            longest = int(mask.sum(1).max()) if mask.numel() else 0
        if longest > self.max_length and not x.is_meta:
            raise ShapeError(
                f"{self.title} knows {self.max_length} positions",
                got=f"{longest} steps in {shape_of(x)}",
                do=f"cut the sequences, or use max_length={longest}, or PositionalEncoding()",
            )
        if mask is None:
            places = torch.arange(x.shape[1], device=x.device).clamp(max=self.max_length - 1)
        else:  # a step that is not real may stand after the last position
            places = positions_of(mask).clamp(max=self.max_length - 1)
        return x + self.weight[places]
