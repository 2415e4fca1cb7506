"""CharacterEncoder: a vector for each word from the characters it is spelled with.

B batch, T time (words), W characters of a word, C channels of a character, F filters.
"""

from __future__ import annotations

from typing import Unpack

import torch
import torch.nn.functional as F
from torch import Tensor

from corecur.layers.conv import each_axis
from corecur.layers.embedding import rows_of, whole_numbers
from corecur.layers.initializers import Initializer
from corecur.layers.layer import Layer, LayerOptions
from corecur.layers.masks import with_mask
from corecur.layers.symbolic import Shape


class CharacterEncoder(Layer):
    """(B, T, W) character numbers, 0 = none -> (B, T, F): a convolution over each word and the maximum over its places.

    Ma & Hovy 2016, "End-to-end Sequence Labeling via Bi-directional LSTM-CNNs-CRF". Only places with a character
    count, so the length of the other words changes nothing; a word without characters is zero and masked. The numbers
    of a word stand first, zeros after them.

    >>> encoder = CharacterEncoder(100, 8, filters=16)
    >>> y = encoder(torch.tensor([[[7, 3, 0], [0, 0, 0]]]))
    >>> y.shape, y.mask, y[0, 1].any().item()
    (torch.Size([1, 2, 16]), tensor([[ True, False]]), False)
    """

    rank = 3
    input_dtype = torch.int64

    def __init__(
        self,
        input_dim: int,
        output_dim: int = 30,
        *,
        filters: int = 50,
        kernel_size: int = 3,
        embeddings_initializer: str | Initializer = "uniform",
        kernel_initializer: str | Initializer = "glorot_uniform",
        **options: Unpack[LayerOptions],
    ) -> None:
        super().__init__(**options)
        for what, size in (("input_dim", input_dim), ("output_dim", output_dim), ("filters", filters)):
            each_axis(size, 1, what=f"CharacterEncoder's {what}")
        each_axis(kernel_size, 1, what="CharacterEncoder's kernel_size")
        self.input_dim = input_dim
        self.output_dim = output_dim
        self.filters = filters
        self.kernel_size = kernel_size
        self.embeddings_initializer = embeddings_initializer
        self.kernel_initializer = kernel_initializer
        for name in ("embedding", "weight", "bias"):
            self.register_parameter(name, None)

    def build(self, input_shape: Shape) -> None:
        self.embedding = self.add_weight((self.input_dim, self.output_dim), initializer=self.embeddings_initializer)
        self.weight = self.add_weight(
            (self.filters, self.output_dim, self.kernel_size), initializer=self.kernel_initializer
        )
        self.bias = self.add_weight((self.filters,), initializer="zeros")

    def forward(self, x: Tensor) -> Tensor:
        x = whole_numbers(x, None, self.title)
        mask = (x != 0).any(2)  # (B, T)
        if x.is_meta:
            return with_mask(self.bias.new_empty(*x.shape[:2], self.filters), mask)
        words = x[mask]  # (M, W): the padding between sentences costs nothing
        width = int((words != 0).sum(1).max()) if len(words) else 0
        encoded = self._encode(words[:, : max(1, width)])  # (M, F)
        y = encoded.new_zeros(*x.shape[:2], self.filters)
        y[mask] = encoded
        return with_mask(y, mask)

    def _encode(self, words: Tensor) -> Tensor:
        """(M, W) -> (M, F)."""
        real = words != 0
        vectors = rows_of(self.embedding, words, self.title) * real[..., None]  # (M, W, C)
        before = (self.kernel_size - 1) // 2
        padded = F.pad(vectors, (0, 0, before, self.kernel_size - 1 - before))  # (M, W + k - 1, C)
        windows = padded.unfold(1, self.kernel_size, 1).flatten(2)  # (M, W, C k)
        y = windows @ self.weight.flatten(1).T + self.bias  # (M, W, F)
        return y.masked_fill(~real[..., None], float("-inf")).amax(1).relu()
