"""AdditiveAttention: values weighted by how well their keys fit a query, by a small network (Bahdanau).

B batch, Q queries, T keys and values, C channels of the query, D of the key, V of the value, U units.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Unpack

import torch
from torch import Tensor, nn

from corecur.errors import ShapeError
from corecur.kernels.products import linear
from corecur.layers.attention_weights import allowed_pairs, attention_weights, check_keys, split_inputs
from corecur.layers.conv import each_axis
from corecur.layers.dropout import check_rate
from corecur.layers.initializers import Initializer
from corecur.layers.layer import Layer, LayerOptions
from corecur.layers.masks import blank
from corecur.layers.symbolic import Shape


class AdditiveAttention(Layer):
    """``Σ_t a_t v_t``, ``a = softmax_t(s · tanh(q + k_t))``, for ``[query, value]`` or with a key: (B, Q, V).

    query (B, Q, C), value (B, T, V), key (B, T, D), the value unless given. As in Keras, ``scale`` s (C,) is learned
    with ``use_scale`` and q, k are taken as they are; with ``units`` they are projected first,
    ``s · tanh(W q + M k_t + b)``, as in Bahdanau et al. 2015: ``query_weight`` W (U, C), ``key_weight`` M (U, D),
    ``bias`` (U,), ``scale`` (U,). Keys that a mask leaves out weigh nothing; a query with no key left gets zeros; the
    mask of the query goes on. Masks are those the tensors carry, or ``mask=[of the query, of the value]``.

    >>> q, v = torch.zeros(1, 1, 4), torch.tensor([[[0.0] * 4, [2.0] * 4]])
    >>> AdditiveAttention(use_scale=False)([q, 0 * v]).shape, AdditiveAttention(units=8)([q, v]).shape
    (torch.Size([1, 1, 4]), torch.Size([1, 1, 4]))
    """

    def __init__(
        self,
        use_scale: bool = True,
        *,
        units: int | None = None,
        dropout: float = 0.0,
        kernel_initializer: str | Initializer = "glorot_uniform",
        **options: Unpack[LayerOptions],
    ) -> None:
        super().__init__(**options)
        if units is not None:
            each_axis(units, 1, what="AdditiveAttention's units")
        self.use_scale = use_scale
        self.units = units
        self.dropout = dropout
        self.kernel_initializer = kernel_initializer
        self._rate = check_rate(dropout, "AdditiveAttention's dropout")
        self.scale: nn.Parameter | None
        self.query_weight: nn.Parameter | None
        self.key_weight: nn.Parameter | None
        self.bias: nn.Parameter | None
        for name in ("scale", "query_weight", "key_weight", "bias"):
            self.register_parameter(name, None)

    def check_input(self, shape: Shape | torch.Size) -> None:
        raise ShapeError(
            f"{self.title} takes a list of tensors", got=f"one tensor {tuple(shape)}", do="pass [query, value]"
        )

    def build(self, input_shape: Sequence[Shape]) -> None:
        query, key = int(input_shape[0][-1] or 0), int(input_shape[-1][-1] or 0)
        if self.units is not None:
            self.query_weight = self.add_weight((self.units, query), initializer=self.kernel_initializer)
            self.key_weight = self.add_weight((self.units, key), initializer=self.kernel_initializer)
            self.bias = self.add_weight((self.units,), initializer="zeros")
        elif query != key:
            raise ShapeError(
                f"{self.title} adds query and key",
                got=f"{query} and {key} channels",
                do="make them equal, or give units",
            )
        if self.use_scale:
            self.scale = self.add_weight((self.units or query,))

    def forward(
        self,
        inputs: Sequence[Tensor],
        *,
        mask: Sequence[Tensor | None] | None = None,
        return_attention_scores: bool = False,
        use_causal_mask: bool = False,
    ) -> Tensor | tuple[Tensor, Tensor]:
        query, value, key, query_mask, key_mask = split_inputs(inputs, mask, self.title)
        check_keys(query, key, value, self.title)
        if self.query_weight is not None and self.key_weight is not None:
            query = linear(query, self.query_weight, self.bias)  # (B, Q, C) -> (B, Q, U)
            key = linear(key, self.key_weight)  # (B, T, D) -> (B, T, U)
        fitting = torch.tanh(query.unsqueeze(2) + key.unsqueeze(1))  # (B, Q, T, U)
        scores = fitting.sum(-1) if self.scale is None else fitting @ self.scale  # (B, Q, T)
        allowed = allowed_pairs(query.shape[1], key, key_mask, causal=use_causal_mask)
        weights = attention_weights(scores, allowed, self._rate if self.training else 0.0)
        output = torch.bmm(weights, value)  # (B, Q, V)
        output = output if query_mask is None else blank(output, query_mask)
        return (output, weights) if return_attention_scores else output

    def compute_mask(self, inputs: Any, mask: Any) -> Tensor | None:
        """The mask of the query."""
        return mask[0] if isinstance(mask, (list, tuple)) else None

    def window(self) -> None:
        return None
