"""MultiHeadAttention: several attentions beside each other, each in a projection of its own.

B batch, Q queries, T keys and values, N heads, H channels of a head's key, W of its value, C channels of the query.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Unpack

import torch
from torch import Tensor, nn

from corecur.errors import ShapeError
from corecur.kernels.products import linear
from corecur.layers.attention_weights import allowed_pairs, attend, attention_weights, check_keys
from corecur.layers.conv import each_axis
from corecur.layers.dense import Dense
from corecur.layers.dropout import check_rate
from corecur.layers.initializers import Initializer, find_initializer
from corecur.layers.keras_weight import KerasWeight, permuted
from corecur.layers.layer import Layer, LayerOptions
from corecur.layers.masks import blank, checked_mask, mask_of
from corecur.layers.regularizers import Regularizer
from corecur.layers.symbolic import Shape


class MultiHeadAttention(Layer):
    """``concat_n(softmax(Q_n K_n^T / √H) V_n) W^O`` (Vaswani et al. 2017): (B, Q, C) and (B, T, …) -> (B, Q, C).

    Called with query, value and key as in Keras; the key is the value and the value the query unless given. Weights
    are stacked as in ``nn.MultiheadAttention``: ``in_proj_weight`` holds the projections of query, key and value below
    each other, (2·N·H + N·W, C), or, where the three differ in channels, ``q_proj_weight``, ``k_proj_weight`` and
    ``v_proj_weight``; ``in_proj_bias``; ``out_proj.weight`` (C, N·W); ``out_proj.bias``. With N·H = N·W = C they are
    those of ``nn.MultiheadAttention(C, N)``. ``output_shape`` is another number of channels than C.

    Keys that a mask leaves out weigh nothing: the value's mask, which it carries or is given as ``value_mask``. A
    query with no key left gets the bias alone. ``attention_mask`` (B, Q, T) or (Q, T) is True where a query may look.
    The scores that ``return_attention_scores`` adds are (B, N, Q, T).

    >>> attention = MultiHeadAttention(2, 8)
    >>> y, scores = attention(torch.randn(1, 5, 16), torch.randn(1, 7, 16), return_attention_scores=True)
    >>> y.shape, scores.shape
    (torch.Size([1, 5, 16]), torch.Size([1, 2, 5, 7]))
    """

    rank = 3
    fixes_channels = True
    supports_masking = True

    def __init__(
        self,
        num_heads: int,
        key_dim: int,
        value_dim: int | None = None,
        *,
        dropout: float = 0.0,
        use_bias: bool = True,
        output_shape: int | None = None,
        kernel_initializer: str | Initializer = "glorot_uniform",
        bias_initializer: str | Initializer = "zeros",
        kernel_regularizer: str | Regularizer | None = None,
        bias_regularizer: str | Regularizer | None = None,
        **options: Unpack[LayerOptions],
    ) -> None:
        super().__init__(**options)
        for what, value in (("num_heads", num_heads), ("key_dim", key_dim), ("value_dim", value_dim or key_dim)):
            each_axis(value, 1, what=f"MultiHeadAttention's {what}")
        self.num_heads = num_heads
        self.key_dim = key_dim
        self.value_dim = value_dim
        self.dropout = dropout
        self.use_bias = use_bias
        self.output_shape = output_shape
        self.kernel_initializer = kernel_initializer
        self.bias_initializer = bias_initializer
        self.kernel_regularizer = kernel_regularizer
        self.bias_regularizer = bias_regularizer
        self._rate = check_rate(dropout, "MultiHeadAttention's dropout")
        #: How many rows of the stacked projections are the query's, the key's and the value's.
        self._rows = [num_heads * key_dim, num_heads * key_dim, num_heads * (value_dim or key_dim)]
        self._key_value: tuple[int | None, int | None] | None = None
        for name in ("in_proj_weight", "q_proj_weight", "k_proj_weight", "v_proj_weight", "in_proj_bias"):
            self.register_parameter(name, None)

    def _build_from(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        query, value, key = (*args, None, None)[:3]
        value = kwargs.get("value", value)
        value = query if value is None else value
        key = kwargs.get("key", key)
        if hasattr(value, "shape"):
            self._key_value = ((value if key is None else key).shape[-1], value.shape[-1])
        super()._build_from(args, kwargs)

    def build(self, input_shape: Shape) -> None:
        channels = int(input_shape[-1] or 0)
        key, value = self._key_value or (channels, channels)
        sizes = (channels, int(key or 0), int(value or 0))
        if len(set(sizes)) == 1:
            self.in_proj_weight = self._stacked(self._rows, channels)
        else:
            self.q_proj_weight, self.k_proj_weight, self.v_proj_weight = (
                self._stacked([rows], size) for rows, size in zip(self._rows, sizes, strict=True)
            )
        if self.use_bias:
            self.in_proj_bias = self.add_weight(
                (sum(self._rows),), initializer=self.bias_initializer, regularizer=self.bias_regularizer
            )
        self.out_proj = Dense(
            self.output_shape or channels,
            use_bias=self.use_bias,
            kernel_initializer=self.kernel_initializer,
            bias_initializer=self.bias_initializer,
            kernel_regularizer=self.kernel_regularizer,
            bias_regularizer=self.bias_regularizer,
        )
        self.out_proj.build_for((None, None, self._rows[2]))

    def _stacked(self, rows: list[int], channels: int) -> nn.Parameter:
        """Projections (rows, channels) below each other, each filled as a matrix of its own."""
        weight = self.add_weight((sum(rows), channels), initializer="zeros", regularizer=self.kernel_regularizer)
        fill = find_initializer(self.kernel_initializer)
        with torch.no_grad():
            for part in torch.split(weight, rows):
                fill(part)
        return weight

    def forward(
        self,
        query: Tensor,
        value: Tensor | None = None,
        key: Tensor | None = None,
        *,
        mask: Tensor | None = None,
        value_mask: Tensor | None = None,
        attention_mask: Tensor | None = None,
        return_attention_scores: bool = False,
        use_causal_mask: bool = False,
    ) -> Tensor | tuple[Tensor, Tensor]:
        value = query if value is None else value
        key = value if key is None else key
        seen = self._key_mask(query, value, key, mask, value_mask)
        check_keys(query, key, value, self.title)
        pairs = self._pairs(attention_mask, query, key)
        allowed = allowed_pairs(query.shape[1], key, seen, causal=use_causal_mask, pairs=pairs)
        allowed = None if allowed is None else allowed.unsqueeze(1)  # (B, Q, T) -> (B, 1, Q, T), for all heads
        q, k, v = (self._heads(x) for x in self._project(*_blanked(query, key, value, mask, seen)))
        rate, scale = self._rate if self.training else 0.0, self.key_dim**-0.5
        if return_attention_scores:
            scores = attention_weights(q @ k.mT * scale, allowed, rate)  # (B, N, Q, T)
            output = scores @ v
        else:
            output = attend(q, k, v, allowed, scale, rate)
        output = self.out_proj(output.transpose(1, 2).flatten(2))  # (B, N, Q, W) -> (B, Q, N·W) -> (B, Q, C)
        return (output, scores) if return_attention_scores else output

    def _key_mask(
        self, query: Tensor, value: Tensor, key: Tensor, mask: Tensor | None, value_mask: Tensor | None
    ) -> Tensor | None:
        """The mask given for the value or carried by it (or by the query, where that is the value), and the key's."""
        found = value_mask if value_mask is not None else mask if value is query else mask_of(value)
        found = None if found is None else checked_mask(found, value, self.title)
        other = mask_of(key) if key is not value else None
        return other if found is None else found if other is None else found & other

    def _pairs(self, attention_mask: Tensor | None, query: Tensor, key: Tensor) -> Tensor | None:
        if attention_mask is None:
            return None
        pairs = attention_mask if attention_mask.ndim == 3 else attention_mask.unsqueeze(0)
        wanted = (len(query), query.shape[1], key.shape[1])
        if pairs.ndim != 3 or pairs.shape[1:] != wanted[1:] or len(pairs) not in (1, wanted[0]):
            raise ShapeError(
                f"{self.title} got an attention_mask that does not fit",
                got=tuple(attention_mask.shape),
                expected=f"{wanted} or {wanted[1:]}, (batch, queries, time)",
            )
        return pairs

    def _project(self, query: Tensor, key: Tensor, value: Tensor) -> tuple[Tensor, ...]:
        """Queries, keys and values of all heads beside each other."""
        if query is key is value and self.in_proj_weight is not None:
            return torch.split(linear(query, self.in_proj_weight, self.in_proj_bias), self._rows, -1)
        biases = (None,) * 3 if self.in_proj_bias is None else torch.split(self.in_proj_bias, self._rows)
        found = []
        for x, weight, bias in zip((query, key, value), self._matrices(), biases, strict=True):
            if x.shape[-1] != weight.shape[1]:
                raise ShapeError(f"{self.title} was built for {weight.shape[1]} channels", got=tuple(x.shape))
            found.append(linear(x, weight, bias))
        return tuple(found)

    def _matrices(self) -> tuple[Tensor, ...]:
        """The projections of query, key and value: (N·H, C), (N·H, …), (N·W, …)."""
        if self.in_proj_weight is not None:
            return torch.split(self.in_proj_weight, self._rows)
        return self.q_proj_weight, self.k_proj_weight, self.v_proj_weight

    def _heads(self, x: Tensor) -> Tensor:
        return torch.unflatten(x, -1, (self.num_heads, -1)).transpose(1, 2)  # (B, T, N·H) -> (B, N, T, H)

    def keras_state(self) -> Iterator[KerasWeight]:
        """Kernels (C, N, H) and biases (N, H) of query, key and value, then those of the output, (N, W, C) and (C,)."""
        start = 0
        for name, rows, matrix in zip(("query", "key", "value"), self._rows, self._matrices(), strict=True):
            if self.in_proj_weight is not None:
                matrix = self.in_proj_weight.narrow(0, start, rows)
            yield permuted(f"{name}.kernel", torch.unflatten(matrix, 0, (self.num_heads, -1)), (2, 0, 1))
            if self.in_proj_bias is not None:
                bias = self.in_proj_bias.narrow(0, start, rows)
                yield permuted(f"{name}.bias", torch.unflatten(bias, 0, (self.num_heads, -1)), None)
            start += rows
        kernel = torch.unflatten(self.out_proj.weight, 1, (self.num_heads, -1))  # (C, N·W) -> (C, N, W)
        yield permuted("output.kernel", kernel, (1, 2, 0))
        if self.out_proj.bias is not None:
            yield permuted("output.bias", self.out_proj.bias, None)

    def window(self) -> None:
        return None


def _blanked(
    query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, seen: Tensor | None
) -> tuple[Tensor, Tensor, Tensor]:
    """The three without what is not real; those that were one tensor stay one."""
    if query is value and mask is seen:
        seen_value = seen_query = query if seen is None else blank(query, seen)
    else:
        seen_query = query if mask is None else blank(query, mask)
        seen_value = value if seen is None else blank(value, seen)
    if key is value:
        return seen_query, seen_value, seen_value
    return seen_query, key if seen is None else blank(key, seen), seen_value
