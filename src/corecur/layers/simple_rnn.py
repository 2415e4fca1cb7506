"""SimpleRNN and SimpleRNNCell: the recurrence without gates, with any activation.

B batch, T time, C features, H units.
"""

from __future__ import annotations

from typing import Unpack

from corecur.layers.activation import Function
from corecur.layers.gated import Gated, GatedCell, GatedLayer, GatedOptions


class SimpleEquations(Gated):
    """``h_t = φ(W_ih x_t + b_ih + W_hh h_(t-1) + b_hh)``."""

    def __init__(self, units: int, activation: str | Function | None = "tanh", **options: Unpack[GatedOptions]) -> None:
        super().__init__(units, kind="simple_rnn", activation=activation, **options)


class SimpleRNN(SimpleEquations, GatedLayer):
    """The recurrence ``h_t = φ(W_ih x_t + b_ih + W_hh h_(t-1) + b_hh)`` (Elman 1990): (B, T, C) -> (B, H).

    φ is ``activation``: tanh as in the articles, or any other of the package's activations, or a function of one's own.
    An output ``y_t = W_hy h_t + b_y`` is a ``Dense`` layer after it. Weights are those of ``nn.RNN``. Options that all
    recurrent layers share: ``Recurrent`` and ``Gated``.

    >>> import torch
    >>> SimpleRNN(4, "relu", return_sequences=True)(torch.zeros(2, 5, 3)).shape
    torch.Size([2, 5, 4])
    """


class SimpleRNNCell(SimpleEquations, GatedCell):
    """One step of ``SimpleRNN``: (B, C), [(B, H)] -> (B, H), [(B, H)]; weights are those of ``nn.RNNCell``.

    >>> import torch
    >>> output, states = SimpleRNNCell(4)(torch.zeros(2, 3), [torch.zeros(2, 4)])
    >>> output.shape
    torch.Size([2, 4])
    """
