"""AttentionPooling: a sequence as the mean of its steps, weighted by how much each matters.

B batch, T time, C channels, U units.
"""

from __future__ import annotations

from typing import Unpack

import torch
from torch import Tensor, nn

from corecur.kernels.products import linear
from corecur.layers.attention_weights import attention_weights
from corecur.layers.conv import each_axis
from corecur.layers.dropout import check_rate
from corecur.layers.initializers import Initializer
from corecur.layers.layer import Layer, LayerOptions
from corecur.layers.masks import blank
from corecur.layers.symbolic import Shape


class AttentionPooling(Layer):
    """``Σ_t a_t x_t`` with ``a = softmax_t(u · tanh(W x_t + b))`` over the real steps (Yang et al. 2016): (B, C).

    ``weight`` W is (U, C), ``bias`` b (U,), ``context`` u (U,); ``units`` is C unless told, and 0 leaves out W, b and
    tanh. A sequence without a real step gives zeros. The weights (B, T) of the last call stay in ``last_attention``
    for reports; ``return_attention_scores=True`` returns them beside the result, ``attention`` alone.

    >>> pooling = AttentionPooling(8)
    >>> y, a = pooling(torch.randn(2, 5, 4), return_attention_scores=True)
    >>> y.shape, a.shape, torch.equal(a, pooling.last_attention)
    (torch.Size([2, 4]), torch.Size([2, 5]), True)
    """

    rank = 3
    fixes_channels = True

    def __init__(
        self,
        units: int | None = None,
        *,
        dropout: float = 0.0,
        kernel_initializer: str | Initializer = "glorot_uniform",
        **options: Unpack[LayerOptions],
    ) -> None:
        super().__init__(**options)
        if units is not None:
            each_axis(units, 1, what="AttentionPooling's units", least=0)
        self.units = units
        self.dropout = dropout
        self.kernel_initializer = kernel_initializer
        self._rate = check_rate(dropout, "AttentionPooling's dropout")
        self.last_attention: Tensor | None = None
        self.weight: nn.Parameter | None
        self.bias: nn.Parameter | None
        self.register_parameter("weight", None)
        self.register_parameter("bias", None)

    def build(self, input_shape: Shape) -> None:
        channels = int(input_shape[-1] or 0)
        units = channels if self.units is None else self.units
        if units:
            self.weight = self.add_weight((units, channels), initializer=self.kernel_initializer)
            self.bias = self.add_weight((units,), initializer="zeros")
        row = self.add_weight((1, units or channels), initializer=self.kernel_initializer)  # fans of a matrix
        self.context = nn.Parameter(row.detach()[0], requires_grad=row.requires_grad)

    def forward(
        self, x: Tensor, *, mask: Tensor | None = None, return_attention_scores: bool = False
    ) -> Tensor | tuple[Tensor, Tensor]:
        if mask is not None:
            x = blank(x, mask)
        weights = self._weigh(x, mask)  # (B, T)
        if not x.is_meta:
            self.last_attention = weights.detach()
        pooled = torch.bmm(weights.unsqueeze(1), x).squeeze(1)  # (B, 1, T) · (B, T, C) -> (B, C)
        return (pooled, weights) if return_attention_scores else pooled

    def attention(self, x: Tensor, *, mask: Tensor | None = None) -> Tensor:
        """The weight of each step, (B, T): 0 where the step is not real, otherwise of sum 1."""
        return self(x, mask=mask, return_attention_scores=True)[1]  # type: ignore[no-any-return]

    def _weigh(self, x: Tensor, mask: Tensor | None) -> Tensor:
        hidden = x if self.weight is None else torch.tanh(linear(x, self.weight, self.bias))  # (B, T, U)
        scores = hidden @ self.context  # (B, T)
        return attention_weights(scores, mask, self._rate if self.training else 0.0)

    def window(self) -> None:
        return None
