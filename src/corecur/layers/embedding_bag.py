"""EmbeddingBag: the vectors of a text's tokens as one vector, whatever their order.

B batch, T time, V kinds of tokens (vocabulary), C channels.
"""

from __future__ import annotations

from typing import Any, Unpack

import torch
from torch import Tensor, nn

from corecur.layers.conv import each_axis
from corecur.layers.dropout import check_rate, drop
from corecur.layers.embedding import matrix_to_start_from, rows_of, whole_numbers
from corecur.layers.initializers import Initializer
from corecur.layers.layer import Layer, LayerOptions
from corecur.layers.masks import blank
from corecur.layers.symbolic import Shape
from corecur.names import Table

# The power of n that a sum of n rows is divided by.
_MODES = Table("mode", {"mean": 1.0, "sqrtn": 0.5, "sum": 0.0})


class EmbeddingBag(Layer):
    """``b + Σ_t W[x_t] / n^e`` over the n tokens that are real: (B, T) whole numbers -> (B, C).

    e is 1 with ``mode`` "mean", 0 with "sum" and ½ with "sqrtn", which makes texts of any length about equally large.
    Token 0 is padding with ``mask_zero``. ``dropout`` is the share of tokens left out in training. A text without a
    token gives b. ``weight`` W (V, C) is that of ``nn.EmbeddingBag``, ``bias`` b (C,) is there with ``use_bias``;
    ``weights`` is a matrix to start from. With C classes this is a linear classifier of bags of words (Joulin et al.
    2017, "Bag of Tricks for Efficient Text Classification"). DataError for a token out of range.

    >>> EmbeddingBag(10, 2, "ones", mode="sum", mask_zero=True)(torch.tensor([[3, 5, 0], [0, 0, 0]]))
    tensor([[2., 2.],
            [0., 0.]], grad_fn=<SqueezeBackward1>)
    """

    keras_weights = (("weight", None), ("bias", None))
    input_dtype = torch.int64
    rank = 2

    def __init__(
        self,
        input_dim: int,
        output_dim: int,
        embeddings_initializer: str | Initializer = "uniform",
        *,
        mode: str = "mean",
        mask_zero: bool = False,
        use_bias: bool = False,
        dropout: float = 0.0,
        weights: Any = None,
        **options: Unpack[LayerOptions],
    ) -> None:
        super().__init__(**options)
        each_axis(input_dim, 1, what="EmbeddingBag's input_dim")
        each_axis(output_dim, 1, what="EmbeddingBag's output_dim")
        self.input_dim = input_dim
        self.output_dim = output_dim
        self.embeddings_initializer = embeddings_initializer
        self.mode = mode
        self.mask_zero = mask_zero
        self.use_bias = use_bias
        self.dropout = dropout
        self._power = _MODES[mode]
        self._rate = check_rate(dropout, "EmbeddingBag's dropout")
        self._start = None if weights is None else matrix_to_start_from(weights, (input_dim, output_dim))
        self.bias: nn.Parameter | None
        self.register_parameter("weight", None)
        self.register_parameter("bias", None)

    def build(self, input_shape: Shape) -> None:
        self.weight = self.add_weight((self.input_dim, self.output_dim), initializer=self.embeddings_initializer)
        if self._start is not None:
            with torch.no_grad():
                self.weight.copy_(self._start)
            self._start = self._config["weights"] = None  # from here on they are state, not config
        if self.use_bias:
            self.bias = self.add_weight((self.output_dim,), initializer="zeros")

    def forward(self, x: Tensor, *, mask: Tensor | None = None) -> Tensor:
        tokens = whole_numbers(x, mask, self.title)
        if mask is not None:
            tokens = blank(tokens, mask)
        real = torch.ones_like(tokens, dtype=torch.bool) if mask is None else mask  # (B, T)
        if self.mask_zero:
            real = real & (tokens != 0)
        share = real.to(self.weight.dtype)  # (B, T)
        if self._power:
            share = share / share.sum(1, keepdim=True).clamp(min=1) ** self._power
        if self.training and self._rate and share.numel():
            share = drop(share, self._rate, share.shape)
        rows = rows_of(self.weight, tokens, self.title)  # (B, T) -> (B, T, C)
        y = torch.bmm(share.unsqueeze(1), rows).squeeze(1)  # (B, 1, T) · (B, T, C) -> (B, C)
        return y if self.bias is None else y + self.bias

    def window(self) -> None:
        return None
