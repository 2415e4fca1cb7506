"""Embedding: a vector for each kind of token, and the way back from vectors to tokens with the same weights.

B batch, T time, V kinds of tokens (vocabulary), C channels.
"""

from __future__ import annotations

from typing import Any, Unpack

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from corecur.errors import ConfigError, DataError, ShapeError
from corecur.kernels.products import linear
from corecur.layers.conv import each_axis
from corecur.layers.dropout import check_rate, drop
from corecur.layers.initializers import Initializer
from corecur.layers.layer import Layer, LayerOptions
from corecur.layers.masks import blank, with_mask
from corecur.layers.regularizers import Regularizer
from corecur.layers.symbolic import Shape, shape_of


class Embedding(Layer):
    """The row of ``weight`` (V, C) for each token: (B, T) whole numbers from 0 to V - 1 -> (B, T, C).

    ``mask_zero`` makes token 0 the padding: the output carries the mask ``tokens != 0`` (of characters (B, T, W), the
    words that have any). ``dropout`` is that of whole kinds of tokens (Gal & Ghahramani 2016): all places of a
    sequence with the same token share one decision. ``weights`` is a matrix (V, C) to start from.

    Called with ``reverse=True`` it goes the other way, (…, C) -> (…, V), ``x W^T`` (plus a bias with
    ``output_bias``): the tied output of a language model (Press & Wolf 2017). The layer is then called twice in a
    ``Model``, and a model file keeps its weights once.

    DataError for a token out of range or not a whole number. ``weight`` is that of ``nn.Embedding``.

    >>> embedding = Embedding(10, 4, mask_zero=True)
    >>> y = embedding(torch.tensor([[3, 5, 0]]))
    >>> y.shape, y.mask, embedding(y, reverse=True).shape
    (torch.Size([1, 3, 4]), tensor([[ True,  True, False]]), torch.Size([1, 3, 10]))
    """

    keras_weights = (("weight", None), ("bias", None))
    input_dtype = torch.int64

    def __init__(
        self,
        input_dim: int,
        output_dim: int,
        embeddings_initializer: str | Initializer = "uniform",
        *,
        embeddings_regularizer: str | Regularizer | None = None,
        mask_zero: bool = False,
        weights: Any = None,
        input_length: int | None = None,
        dropout: float = 0.0,
        output_bias: bool = False,
        **options: Unpack[LayerOptions],
    ) -> None:
        if input_length is not None and options.get("input_shape") is None:
            options["input_shape"] = each_axis(input_length, 1, what="Embedding's input_length")
        super().__init__(**options)
        each_axis(input_dim, 1, what="Embedding's input_dim")
        each_axis(output_dim, 1, what="Embedding's output_dim")
        self.input_dim = input_dim
        self.output_dim = output_dim
        self.embeddings_initializer = embeddings_initializer
        self.embeddings_regularizer = embeddings_regularizer
        self.mask_zero = mask_zero
        self.input_length = input_length
        self.dropout = dropout
        self.output_bias = output_bias
        self._rate = check_rate(dropout, "Embedding's dropout")
        self._start = None if weights is None else matrix_to_start_from(weights, (input_dim, output_dim))
        self.bias: nn.Parameter | None
        self.register_parameter("weight", None)
        self.register_parameter("bias", None)

    def build(self, input_shape: Shape) -> None:
        self.weight = self.add_weight(
            (self.input_dim, self.output_dim),
            initializer=self.embeddings_initializer,
            regularizer=self.embeddings_regularizer,
        )
        if self._start is not None:
            with torch.no_grad():
                self.weight.copy_(self._start)
            self._start = self._config["weights"] = None  # from here on they are state, not config
        if self.output_bias:
            self.bias = self.add_weight((self.input_dim,), initializer="zeros")

    def forward(self, x: Tensor, *, reverse: bool = False, mask: Tensor | None = None) -> Tensor:
        if reverse:
            return self._towards_tokens(x)
        tokens = whole_numbers(x, mask, self.title)
        if mask is not None:
            tokens = blank(tokens, mask)
        y = rows_of(self.weight, tokens, self.title)  # (B, T) -> (B, T, C)
        if self.training and self._rate and tokens.numel():
            y = y * _one_decision_each(tokens, self._rate).to(y.dtype).unsqueeze(-1)
        return with_mask(y, self.compute_mask(tokens, mask))

    def compute_mask(self, inputs: Any, mask: Any) -> Any:
        """Where a token is not 0, with ``mask_zero``; otherwise the mask of the input."""
        if not self.mask_zero or inputs.ndim < 2 or inputs.is_floating_point():
            return mask
        real = inputs != 0
        real = real.flatten(2).any(-1) if real.ndim > 2 else real
        return real if mask is None else real & mask

    def _towards_tokens(self, x: Tensor) -> Tensor:
        if x.shape[-1] != self.output_dim:
            raise ShapeError(
                f"{self.title}, called with reverse=True, takes vectors like its own",
                got=shape_of(x),
                expected=f"(…, {self.output_dim})",
                do=f"put Dense({self.output_dim}) before it",
            )
        return linear(x, self.weight, self.bias)  # (…, C) -> (…, V)


def rows_of(weight: Tensor, tokens: Tensor, title: str) -> Tensor:
    """The rows of ``weight`` (V, C) for tokens (B, …): (B, …, C); DataError for one that has no row.

    >>> rows_of(torch.eye(2), torch.tensor([1]), "the layer")
    tensor([[0., 1.]])
    """
    try:
        return F.embedding(tokens, weight)
    except IndexError as error:  # torch's word for it on a CPU; CUDA stops with a device assertion
        wrong = (tokens < 0) | (tokens >= len(weight))
        place = tuple(wrong.nonzero()[0].tolist())
        raise DataError(
            f"{title} has no row for token {int(tokens[place])}",
            where=f"position {place} of the batch",
            expected=f"0 … {len(weight) - 1}",
            do="number the tokens from 0, or give the layer a larger input_dim",
        ) from error


def whole_numbers(x: Tensor, mask: Tensor | None, title: str) -> Tensor:
    """Tokens in any dtype as int32 or int64; DataError for what is no whole number where ``mask`` says that it counts.

    >>> whole_numbers(torch.tensor([[2.0]]), None, "the layer")
    tensor([[2]])
    """
    if x.dtype in (torch.int64, torch.int32):
        return x
    if x.is_floating_point():
        x = x if mask is None else blank(x, mask)
        if not x.is_meta and not bool((x == x.round()).all()):
            wrong = x[x != x.round()].reshape(-1)[0].item()
            raise DataError(f"{title} takes whole numbers", got=wrong, do="look the tokens up in a vocabulary")
    return x.long()


def matrix_to_start_from(weights: Any, shape: tuple[int, int]) -> Tensor:
    """Checked weights for a layer to start from; Keras gives them as a list of one.

    >>> matrix_to_start_from([np.eye(2)], (2, 2)).shape
    torch.Size([2, 2])
    """
    if isinstance(weights, (list, tuple)) and len(weights) == 1:
        weights = weights[0]
    values = torch.as_tensor(weights if isinstance(weights, Tensor) else np.asarray(weights)).detach()
    if tuple(values.shape) != shape:
        raise ConfigError("the weights to start from are of another shape", got=tuple(values.shape), expected=shape)
    return values


def _one_decision_each(tokens: Tensor, rate: float) -> Tensor:
    """Factors (B, …), 0 or ``1 / (1 - rate)``: equal tokens of a row have the same one.

    Sorted, equal tokens stand together; each run takes the decision of its number, so that the cost does not depend on
    the size of the vocabulary.
    """
    rows = tokens.flatten(1)  # (B, …) -> (B, n)
    ordered, places = rows.sort(1)
    runs = F.pad((ordered[:, 1:] != ordered[:, :-1]).long(), (1, 0)).cumsum(1)
    factors = drop(torch.ones(rows.shape, device=rows.device), rate, rows.shape)
    return torch.empty_like(factors).scatter_(1, places, factors.gather(1, runs)).view(tokens.shape)
