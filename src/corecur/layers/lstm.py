"""LSTM and LSTMCell, with peepholes, a projected output or layer normalisation where asked for.

B batch, T time, C features, H units, P outputs (H, or ``projection``).
"""

from __future__ import annotations

from typing import Unpack

import torch

from corecur.errors import ConfigError
from corecur.layers.activation import Function
from corecur.layers.gated import Gated, GatedCell, GatedLayer, GatedOptions
from corecur.layers.symbolic import Shape


class LSTMEquations(Gated):
    """The constructor of ``LSTM`` and ``LSTMCell``."""

    keras_gates = (0, 1, 2, 3)

    def __init__(
        self,
        units: int,
        activation: str | Function | None = "tanh",
        recurrent_activation: str | Function | None = "sigmoid",
        *,
        unit_forget_bias: bool = True,
        peephole: bool = False,
        projection: int | None = None,
        layer_norm: bool = False,
        **options: Unpack[GatedOptions],
    ) -> None:
        if peephole and layer_norm:
            raise ConfigError("an LSTM has peepholes or layer normalisation, not both")
        super().__init__(
            units,
            kind=("" if projection is None else "projected_")
            + ("peephole_" if peephole else "layer_norm_" if layer_norm else "")
            + "lstm",
            activation=activation,
            recurrent_activation=recurrent_activation,
            outputs=projection,
            **options,
        )
        self.recurrent_activation = recurrent_activation
        self.unit_forget_bias = unit_forget_bias
        self.peephole = peephole
        self.projection = projection
        self.layer_norm = layer_norm

    def build(self, input_shape: Shape) -> None:
        super().build(input_shape)
        if self.use_bias and self.unit_forget_bias:
            with torch.no_grad():
                self.weights()["bias_ih"][self.units : 2 * self.units] = 1.0


class LSTM(LSTMEquations, GatedLayer):
    """Long short-term memory (Hochreiter & Schmidhuber 1997; forget gate: Gers et al. 2000): (B, T, C) -> (B, P).

    ::

        i_t = σ(W_ii x_t + b_ii + W_hi h_(t-1) + b_hi)        input gate
        f_t = σ(W_if x_t + b_if + W_hf h_(t-1) + b_hf)        forget gate
        g_t = φ(W_ig x_t + b_ig + W_hg h_(t-1) + b_hg)        candidate
        o_t = σ(W_io x_t + b_io + W_ho h_(t-1) + b_ho)        output gate
        c_t = f_t ⊙ c_(t-1) + i_t ⊙ g_t
        h_t = o_t ⊙ φ(c_t)

    φ is ``activation``, σ ``recurrent_activation``; the states are (h, c). Textbooks that write u_t for g_t, a single
    bias for b_i· + b_h· and tanh for φ, as the second article does, mean the same; where that article calls u_t an
    input gate too, it is the candidate.

    - ``unit_forget_bias``: the forget gate's bias starts at 1 (Jozefowicz et al. 2015).
    - ``peephole``: i and f also see ``w_c ⊙ c_(t-1)``, o sees ``w_co ⊙ c_t`` (Gers & Schmidhuber 2000).
    - ``projection``: ``h_t = W_hr (o_t ⊙ φ(c_t))`` has that many units (Sak et al. 2014); ``nn.LSTM``'s proj_size.
    - ``layer_norm``: ``LN(W_i x_t) + LN(W_h h_(t-1)) + b`` and ``h_t = o_t ⊙ φ(LN(c_t))`` (Ba et al. 2016).

    Weights are those of ``nn.LSTM``. Options that all recurrent layers share: ``Recurrent`` and ``Gated``.

    >>> import torch
    >>> output, h, c = LSTM(4, return_state=True)(torch.zeros(2, 5, 3))
    >>> output.shape, c.shape
    (torch.Size([2, 4]), torch.Size([2, 4]))
    """


class LSTMCell(LSTMEquations, GatedCell):
    """One step of ``LSTM``: (B, C), [h, c] -> h, [h, c]; weights are those of ``nn.LSTMCell``.

    >>> import torch
    >>> output, [h, c] = LSTMCell(4)(torch.zeros(2, 3))
    >>> output.shape, c.shape
    (torch.Size([2, 4]), torch.Size([2, 4]))
    """
