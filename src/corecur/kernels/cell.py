"""What a recurrence is: for each kind one pure function from one step's state to the next, and its weights.

B batch, C features in, H units, G gates · H, P outputs (H, or fewer where the output is projected).

A step gets ``a`` (B, G), the input's part ``W_ih x_t + b_ih``, which is computed for all steps at once; ``u`` (B, P),
the output of the step before as the recurrent weights see it, that is after recurrent dropout; ``state``, a list that
begins with the output ``h`` (B, P); and ``w``, the weights after ``weight_ih`` and ``bias_ih`` in the order of the
table below. It returns the new state. φ (``phi``) is the activation, tanh unless another is chosen; σ (``sigma``) the
gates' activation, the logistic function.

Gates stand one below the other in the rows of ``weight_ih`` (G, C), ``weight_hh`` (G, P), ``bias_ih`` and ``bias_hh``
(G,), in the order of ``torch.nn``: LSTM i, f, g, o (input, forget, candidate, output); GRU r, z, n (reset, update,
candidate). Time, masks, direction, dropout, zoneout and stacking are written once, elsewhere.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor

from corecur.kernels.packed_rows import Packing, ragged, whole
from corecur.names import Table

Function = Callable[[Tensor], Tensor]
Step = Callable[[Tensor, Tensor, list[Tensor], list[Tensor]], list[Tensor]]
Weights = Mapping[str, Tensor]


def simple_rnn(phi: Function, sigma: Function) -> Step:
    """``h' = φ(W_ih x + b_ih + W_hh h + b_hh)`` (Elman 1990); it has no gates, so σ is not used.

    >>> import torch
    >>> step = simple_rnn(torch.tanh, torch.sigmoid)
    >>> step(torch.zeros(1, 2), torch.zeros(1, 2), [torch.zeros(1, 2)], [torch.eye(2), torch.zeros(2)])
    [tensor([[0., 0.]])]
    """

    def step(a: Tensor, u: Tensor, state: list[Tensor], w: list[Tensor]) -> list[Tensor]:
        return [phi(a + F.linear(u, w[0], w[1]))]

    return step


def lstm(phi: Function, sigma: Function) -> Step:
    """``c' = σ(f) c + σ(i) φ(g)``, ``h' = σ(o) φ(c')`` (Hochreiter & Schmidhuber 1997; Gers et al. 2000)."""

    def step(a: Tensor, u: Tensor, state: list[Tensor], w: list[Tensor]) -> list[Tensor]:
        i, f, g, o = (a + F.linear(u, w[0], w[1])).chunk(4, 1)  # (B, 4H) -> 4 · (B, H)
        c = sigma(f) * state[1] + sigma(i) * phi(g)
        return [sigma(o) * phi(c), c]

    return step


def peephole_lstm(phi: Function, sigma: Function) -> Step:
    """An LSTM whose gates see the cell: i and f the old one, o the new one (Gers & Schmidhuber 2000)."""

    def step(a: Tensor, u: Tensor, state: list[Tensor], w: list[Tensor]) -> list[Tensor]:
        i, f, g, o = (a + F.linear(u, w[0], w[1])).chunk(4, 1)  # (B, 4H) -> 4 · (B, H)
        c = sigma(f + w[3] * state[1]) * state[1] + sigma(i + w[2] * state[1]) * phi(g)
        return [sigma(o + w[4] * c) * phi(c), c]

    return step


def layer_norm_lstm(phi: Function, sigma: Function) -> Step:
    """An LSTM with ``LN(W_ih x) + LN(W_hh h) + b`` and ``h' = σ(o) φ(LN(c'))`` (Ba et al. 2016)."""

    def step(a: Tensor, u: Tensor, state: list[Tensor], w: list[Tensor]) -> list[Tensor]:
        recurrent = F.layer_norm(F.linear(u, w[0]), w[2].shape, w[2]) + w[1]
        i, f, g, o = (a + recurrent).chunk(4, 1)  # (B, 4H) -> 4 · (B, H)
        c = sigma(f) * state[1] + sigma(i) * phi(g)
        return [sigma(o) * phi(F.layer_norm(c, w[3].shape, w[3], w[4])), c]

    return step


def gru(phi: Function, sigma: Function) -> Step:
    """``n = φ(a_n + σ(r) (W_hn h + b_hn))``, ``h' = (1 - σ(z)) n + σ(z) h``: reset after the product, as in cuDNN."""

    def step(a: Tensor, u: Tensor, state: list[Tensor], w: list[Tensor]) -> list[Tensor]:
        a_r, a_z, a_n = a.chunk(3, 1)  # (B, 3H) -> 3 · (B, H)
        r, z, n = F.linear(u, w[0], w[1]).chunk(3, 1)
        n, z = phi(a_n + sigma(a_r + r) * n), sigma(a_z + z)
        return [(1 - z) * n + z * state[0]]

    return step


def classic_gru(phi: Function, sigma: Function) -> Step:
    """``n = φ(a_n + W_hn (σ(r) h) + b_hn)``, ``h' = (1 - σ(z)) n + σ(z) h``: reset before it (Cho et al. 2014)."""

    def step(a: Tensor, u: Tensor, state: list[Tensor], w: list[Tensor]) -> list[Tensor]:
        units = u.size(1)
        a_r, a_z, a_n = (a + w[1]).chunk(3, 1)  # (B, 3H) -> 3 · (B, H)
        r, z = F.linear(u, w[0][: 2 * units]).chunk(2, 1)
        n = phi(a_n + F.linear(sigma(a_r + r) * u, w[0][2 * units :]))
        z = sigma(a_z + z)
        return [(1 - z) * n + z * state[0]]

    return step


def conv_lstm(phi: Function, sigma: Function) -> Step:
    """An LSTM over pictures, products replaced by convolutions that keep the size (Shi et al. 2015).

    ``a`` is (B, G, h, w), states are (B, H, h, w); ``w`` holds the recurrent kernel (G, H, k, l) alone, since the bias
    is in ``a``.
    """

    def step(a: Tensor, u: Tensor, state: list[Tensor], w: list[Tensor]) -> list[Tensor]:
        k, l = w[0].size(2) - 1, w[0].size(3) - 1  # noqa: E741 - as above
        if k % 2 + l % 2 > 0:  # an even kernel looks one step further ahead than back
            u = F.pad(u, [0, l % 2, 0, k % 2])
        gates = a + F.conv2d(u, w[0], padding=[k // 2, l // 2])
        i, f, g, o = gates.chunk(4, 1)  # (B, 4H, h, w) -> 4 · (B, H, h, w)
        c = sigma(f) * state[1] + sigma(i) * phi(g)
        return [sigma(o) * phi(c), c]

    return step


def projected(make: Callable[[Function, Function], Step]) -> Callable[[Function, Function], Step]:
    """The recurrence with a smaller output, ``h' = W_hr h`` (Sak et al. 2014); ``W_hr`` (P, H) is its last weight."""

    def make_projected(phi: Function, sigma: Function) -> Step:
        inner = make(phi, sigma)

        def step(a: Tensor, u: Tensor, state: list[Tensor], w: list[Tensor]) -> list[Tensor]:
            state = inner(a, u, state, w)
            return [F.linear(state[0], w[-1]), state[1]]

        return step

    return make_projected


@dataclass(frozen=True)
class Recurrence:
    """One kind: its step, its gates' letters in order, how many states it has, and its weights with their axes."""

    step: Callable[[Function, Function], Step]
    gates: str
    states: int
    extra_weights: Mapping[str, str]

    @property
    def weights(self) -> dict[str, str]:
        """Every weight under its name in ``torch.nn``, with its axes as letters of the legend."""
        return {"weight_ih": "GC", "weight_hh": "GP", "bias_ih": "G", "bias_hh": "G", **self.extra_weights}

    def shapes(self, *, features: int, units: int, outputs: int) -> dict[str, tuple[int, ...]]:
        """The shape of every weight.

        >>> RECURRENCES["gru"].shapes(features=5, units=2, outputs=2)["weight_ih"]
        (6, 5)
        """
        sizes = {"C": features, "H": units, "G": len(self.gates) * units, "P": outputs}
        return {name: tuple(sizes[axis] for axis in axes) for name, axes in self.weights.items()}


_PEEPHOLES = {"weight_ci": "H", "weight_cf": "H", "weight_co": "H"}
_NORMS = {"weight_norm_hh": "G", "weight_norm_c": "H", "bias_norm_c": "H", "weight_norm_ih": "G"}
_PROJECTION = {"weight_hr": "PH"}

RECURRENCES: Table[Recurrence] = Table(
    "recurrence",
    {
        "simple_rnn": Recurrence(simple_rnn, "h", 1, {}),
        "lstm": Recurrence(lstm, "ifgo", 2, {}),
        "gru": Recurrence(gru, "rzn", 1, {}),
        "classic_gru": Recurrence(classic_gru, "rzn", 1, {}),
        "peephole_lstm": Recurrence(peephole_lstm, "ifgo", 2, _PEEPHOLES),
        "layer_norm_lstm": Recurrence(layer_norm_lstm, "ifgo", 2, _NORMS),
        "projected_lstm": Recurrence(projected(lstm), "ifgo", 2, _PROJECTION),
        "projected_peephole_lstm": Recurrence(projected(peephole_lstm), "ifgo", 2, _PEEPHOLES | _PROJECTION),
        "projected_layer_norm_lstm": Recurrence(projected(layer_norm_lstm), "ifgo", 2, _NORMS | _PROJECTION),
    },
)


def input_part(x: Tensor, weights: Weights) -> Tensor:
    """``W_ih x + b_ih`` (…, G) for any number of steps at once, normalised where the recurrence does that.

    >>> import torch
    >>> input_part(torch.ones(2, 3), {"weight_ih": torch.ones(4, 3)}).shape
    torch.Size([2, 4])
    """
    gain, bias = weights.get("weight_norm_ih"), weights.get("bias_ih")
    if gain is None:
        return F.linear(x, weights["weight_ih"], bias)
    a = F.layer_norm(F.linear(x, weights["weight_ih"]), gain.shape, gain)
    return a if bias is None else a + bias


def step_weights(recurrence: Recurrence, weights: Weights) -> list[Tensor]:
    """What a step finds in ``w``: every weight but the input's, zeros in place of a bias that is not there."""
    kernel = weights["weight_hh"]
    names = (name for name in recurrence.weights if name not in ("weight_ih", "bias_ih", "weight_norm_ih"))
    return [weights[name] if name in weights else kernel.new_zeros(kernel.shape[0]) for name in names]


#: What a kernel makes of a work: the outputs and the last state.
Result = tuple[Tensor, list[Tensor]]


@dataclass(frozen=True)
class Work:
    """One recurrence over a batch whose real steps all stand in front: what every kernel is given.

    A kernel returns the outputs (B, T, P), right at the first ``lengths`` steps of each row and of any finite value
    after them, and the state after each row's last real step, which may be wrong where ``need_state`` is False.

    A native kernel takes a ``packing`` instead of ``lengths``: real steps anywhere in their rows, outputs as it shows
    them, none (B, 0, P) without ``need_outputs``.
    """

    #: The name of a row of ``RECURRENCES``.
    kind: str
    phi: Function
    sigma: Function
    #: (B, T, C).
    x: Tensor
    state: list[Tensor]
    #: Under their names in ``torch.nn``; biases may be missing.
    weights: Weights
    #: (B,), or None where every step is real.
    lengths: Tensor | None = None
    need_state: bool = True
    packing: Packing | None = None
    need_outputs: bool = True
    #: What the recurrent weights see is ``h`` times this (B, P): one pattern for all steps.
    recurrent_dropout: Tensor | None = None
    #: For each state how much of the old one stays, (T or 1, B or 1, width or 1); empty without zoneout.
    zoneout: tuple[Tensor, ...] = ()
    #: Whether to keep little for the way back and compute the rest again there.
    recompute: bool = False

    @property
    def recurrence(self) -> Recurrence:
        """The equations."""
        return RECURRENCES[self.kind]

    def packed_rows(self) -> Packing:
        """The order in which a native kernel takes the steps."""
        if self.packing is not None:
            return self.packing
        batch, steps = self.x.shape[:2]
        return whole(batch, steps) if self.lengths is None else ragged(self.lengths, steps)
