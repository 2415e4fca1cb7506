"""DotAttention: values weighted by how well their keys fit a query, by products (Luong).

B batch, Q queries, T keys and values, C channels of the query, D of the key, V of the value.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Unpack

import torch
from torch import Tensor, nn

from corecur.errors import ShapeError
from corecur.layers.attention_weights import allowed_pairs, attend, attention_weights, check_keys, split_inputs
from corecur.layers.dropout import check_rate
from corecur.layers.initializers import Initializer
from corecur.layers.layer import Layer, LayerOptions
from corecur.layers.masks import blank
from corecur.layers.symbolic import Shape
from corecur.names import Table, fold

#: The power of the number of channels that a product is multiplied by.
SCORES: Table[float] = Table("score", {"dot": 0.0, "general": 0.0, "scaled": -0.5})


class DotAttention(Layer):
    """``softmax(q · k) v`` for ``[query, value]`` or ``[query, value, key]`` (Luong et al. 2015): (B, Q, V).

    query (B, Q, C), value (B, T, V), key (B, T, D), the value unless given. ``score_mode`` is "dot", "scaled" (by
    ``1 / √C``, Vaswani et al. 2017) or "general": ``q W k`` with ``weight`` W (C, D). ``use_scale`` learns a factor.
    Keys that a mask leaves out weigh nothing; a query with no key left gets zeros; the mask of the query goes on.
    Masks are those the tensors carry, or ``mask=[of the query, of the value]``.

    Keras calls this layer ``Attention``, a name the layer table knows.

    >>> q, v = torch.zeros(1, 1, 4), torch.tensor([[[0.0] * 4, [2.0] * 4]])
    >>> DotAttention()([q, v])
    tensor([[[1., 1., 1., 1.]]])
    """

    def __init__(
        self,
        score_mode: str = "dot",
        *,
        use_scale: bool = False,
        dropout: float = 0.0,
        kernel_initializer: str | Initializer = "glorot_uniform",
        **options: Unpack[LayerOptions],
    ) -> None:
        super().__init__(**options)
        self.score_mode = score_mode
        self.use_scale = use_scale
        self.dropout = dropout
        self.kernel_initializer = kernel_initializer
        self._power = SCORES[score_mode]
        self._rate = check_rate(dropout, "DotAttention's dropout")
        self.scale: nn.Parameter | None
        self.weight: nn.Parameter | None
        self.register_parameter("scale", None)
        self.register_parameter("weight", None)

    def check_input(self, shape: Shape | torch.Size) -> None:
        raise ShapeError(
            f"{self.title} takes a list of tensors", got=f"one tensor {tuple(shape)}", do="pass [query, value]"
        )

    def build(self, input_shape: Sequence[Shape]) -> None:
        if self.use_scale:
            self.scale = self.add_weight((), initializer="ones")
        if fold(self.score_mode) == "general":
            query, key = int(input_shape[0][-1] or 0), int(input_shape[-1][-1] or 0)
            self.weight = self.add_weight((query, key), initializer=self.kernel_initializer)

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
        if self.weight is not None:
            query = query @ self.weight  # (B, Q, C) -> (B, Q, D)
        if query.shape[-1] != key.shape[-1]:
            raise ShapeError(
                f"{self.title} multiplies query and key",
                got=f"{query.shape[-1]} and {key.shape[-1]} channels",
                do='make them equal, or use score_mode="general"',
            )
        if self.scale is not None:
            query = query * self.scale
        allowed = allowed_pairs(query.shape[1], key, key_mask, causal=use_causal_mask)
        rate, factor = self._rate if self.training else 0.0, float(query.shape[-1]) ** self._power
        if return_attention_scores:
            weights = attention_weights(torch.bmm(query * factor, key.mT), allowed, rate)  # (B, Q, T)
            output = torch.bmm(weights, value)
        else:
            output = attend(query, key, value, allowed, factor, rate)
        output = output if query_mask is None else blank(output, query_mask)
        return (output, weights) if return_attention_scores else output

    def compute_mask(self, inputs: Any, mask: Any) -> Tensor | None:
        """The mask of the query."""
        return mask[0] if isinstance(mask, (list, tuple)) else None

    def window(self) -> None:
        return None
