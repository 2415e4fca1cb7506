"""GRU and GRUCell, with the reset gate after the recurrent product or before it.

B batch, T time, C features, H units.
"""

from __future__ import annotations

from typing import Unpack

from corecur.layers.activation import Function
from corecur.layers.gated import Gated, GatedCell, GatedLayer, GatedOptions


class GRUEquations(Gated):
    """The constructor of ``GRU`` and ``GRUCell``."""

    keras_gates = (1, 0, 2)  # z, r, n

    def __init__(
        self,
        units: int,
        activation: str | Function | None = "tanh",
        recurrent_activation: str | Function | None = "sigmoid",
        *,
        reset_after: bool = True,
        **options: Unpack[GatedOptions],
    ) -> None:
        super().__init__(
            units,
            kind="gru" if reset_after else "classic_gru",
            activation=activation,
            recurrent_activation=recurrent_activation,
            **options,
        )
        self.recurrent_activation = recurrent_activation
        self.reset_after = reset_after


class GRU(GRUEquations, GatedLayer):
    """Gated recurrent unit (Cho et al. 2014): (B, T, C) -> (B, H).

    ::

        r_t = σ(W_ir x_t + b_ir + W_hr h_(t-1) + b_hr)                  reset gate
        z_t = σ(W_iz x_t + b_iz + W_hz h_(t-1) + b_hz)                  update gate
        n_t = φ(W_in x_t + b_in + r_t ⊙ (W_hn h_(t-1) + b_hn))          candidate, reset_after=True
        n_t = φ(W_in x_t + b_in + W_hn (r_t ⊙ h_(t-1)) + b_hn)          candidate, reset_after=False
        h_t = (1 - z_t) ⊙ n_t + z_t ⊙ h_(t-1)

    ``reset_after=True`` is the form of cuDNN, ``nn.GRU`` and Keras, False that of the paper. φ is ``activation``, σ
    ``recurrent_activation``.

    The second article writes ``h_t = (1 - z_t) ⊙ r_t ⊙ h_(t-1) + z_t ⊙ h̃_t``, which differs twice: the reset gate also
    multiplies the state that is kept, which no published GRU does (with it nothing could be kept past a reset), so it
    is left out here; and z weighs the candidate, as in the paper's preprint, where torch and Keras let it weigh the
    old state: the same family of functions, with 1 - z for z. Its candidate is that of ``reset_after=False``.

    Weights are those of ``nn.GRU``. Options that all recurrent layers share: ``Recurrent`` and ``Gated``.

    >>> import torch
    >>> GRU(4, return_sequences=True)(torch.zeros(2, 5, 3)).shape
    torch.Size([2, 5, 4])
    """


class GRUCell(GRUEquations, GatedCell):
    """One step of ``GRU``: (B, C), [(B, H)] -> (B, H), [(B, H)]; weights are those of ``nn.GRUCell``.

    >>> import torch
    >>> output, states = GRUCell(4, reset_after=False)(torch.zeros(2, 3))
    >>> output.shape
    torch.Size([2, 4])
    """
