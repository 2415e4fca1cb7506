"""How far back in time a recurrent layer's last output still depends on what it read, and what its gates do.

B batch, T time, C features, P outputs of a step.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, field

import torch
from torch import Tensor

from corecur.engine.evaluating import evaluating
from corecur.kernels.cell import input_part
from corecur.layers.gated import GatedLayer
from corecur.layers.recurrent import Recurrent

#: Rows of a batch that are looked at, and points that a profile keeps.
MOST_ROWS, MOST_POINTS = 8, 33
#: A gate this near to 0 or 1, and a tanh this near to -1 or 1, passes less than a twelfth of its steepest slope.
NEAR = 0.02
# Gates that are logistic functions of a sum which inputs, outputs and weights give: by kind, with their place.
_GATES = {"lstm": "ifgo", "projected_lstm": "ifgo", "gru": "rzn", "classic_gru": "rzn"}
_CANDIDATES = "gn"


@dataclass(frozen=True)
class TimeProfile:
    """Of one recurrent layer: norms of the gradient, by how many steps before the end; shares of saturated values.

    ``gradients[k]`` belongs to the input ``distances[k]`` steps before the last one. ``gates`` holds, by letter, the
    share of values near their ends; ``h`` is the state of a layer without gates.

    >>> TimeProfile(2, [0, 1], [1.0, 0.5]).gates
    {}
    """

    steps: int
    distances: list[int]
    gradients: list[float]
    gates: dict[str, float] = field(default_factory=dict)


def profile_of(layer: Recurrent, x: Tensor, mask: Tensor | None = None) -> TimeProfile | None:
    """The profile of a layer over some rows of its input (B, T, C); None where there is no time to look along.

    What is differentiated is the layer's output after each row's last real step, along one fixed direction, with
    respect to the input of every step: ``W_ihᵀ δ_t``, whatever kernel computes the layer. The layer is in evaluation
    mode meanwhile and as it was afterwards; no gradient reaches a weight.

    >>> from corecur.layers.simple_rnn import SimpleRNN
    >>> layer = SimpleRNN(4, recurrent_initializer="zeros")
    >>> _ = layer(torch.ones(2, 5, 3))
    >>> found = profile_of(layer, torch.ones(2, 5, 3))
    >>> found.distances, [value > 0 for value in found.gradients]
    ([0, 1, 2, 3, 4], [True, False, False, False, False])
    """
    if x.dim() < 3 or x.shape[1] < 2 or not x.is_floating_point():
        return None
    x = x[:MOST_ROWS].detach().float().clone().requires_grad_()
    real = torch.ones(x.shape[:2], dtype=torch.bool, device=x.device) if mask is None else mask[:MOST_ROWS].bool()
    with torch.enable_grad(), _as_sequence(layer):
        y = layer.forward(x, mask=None if mask is None else mask[:MOST_ROWS])  # (B, T, P), steps as they were read
        if not y.requires_grad:
            return None
        direction = torch.ones_like(y[:, -1])
        direction.reshape(-1)[1::2] = -1.0
        (gradient,) = torch.autograd.grad((y[:, -1] * direction).sum(), x, allow_unused=True)
    if gradient is None:
        return None
    norms = gradient.flatten(2).norm(dim=2)  # (B, T)
    if layer.go_backwards:
        norms, real = norms.flip(1), real.flip(1)
    by_distance = _by_distance(norms, real)
    kept = _places(len(by_distance))
    return TimeProfile(
        int(real.sum(1).max()),
        kept,
        [float(by_distance[k]) for k in kept],
        _gates(layer, x.detach(), y.detach(), real),
    )


@contextlib.contextmanager
def _as_sequence(layer: Recurrent) -> Iterator[None]:
    """The layer as one that gives every step, begins from no state and keeps none."""
    names = ("return_sequences", "return_state", "zero_output_for_mask", "_carries", "_carried")
    before = {name: getattr(layer, name) for name in names}
    vars(layer).update(dict(zip(names, (True, False, False, False, None), strict=True)))
    try:
        with evaluating(layer):
            yield
    finally:
        vars(layer).update(before)


def _by_distance(norms: Tensor, real: Tensor) -> Tensor:
    """The root of the mean square over rows, by distance from each row's last real step, (T,)."""
    longest = max(1, int(real.sum(1).max()))
    total, count = norms.new_zeros(longest), norms.new_zeros(longest)
    for row, steps in zip(norms, real, strict=True):
        found = row[steps].flip(0)
        total[: len(found)] += found.square()
        count[: len(found)] += 1
    return (total / count.clamp(min=1)).sqrt()


def _places(steps: int) -> list[int]:
    """Evenly spaced distances, the first and the last among them."""
    if steps <= MOST_POINTS:
        return list(range(steps))
    return sorted({round(k * (steps - 1) / (MOST_POINTS - 1)) for k in range(MOST_POINTS)})


def _gates(layer: Recurrent, x: Tensor, y: Tensor, real: Tensor) -> dict[str, float]:
    """The share of values near their ends, for every gate that weights and outputs tell of."""
    if not isinstance(layer, GatedLayer) or layer._zoneout or not bool(real.any()):
        return {}
    if layer._kind == "simple_rnn":
        return {"h": _share(y[real].abs() > 1 - NEAR)} if layer._phi is torch.tanh else {}
    letters = _GATES.get(layer._kind)
    if letters is None or layer._sigma_name != "sigmoid":
        return {}
    x = x.flip(1) if layer.go_backwards else x
    before = torch.cat([torch.zeros_like(y[:, :1]), y[:, :-1]], 1)  # (B, T, P)
    weights = layer.weights()
    sums = input_part(x.to(y.dtype), weights) + torch.nn.functional.linear(
        before, weights["weight_hh"], weights.get("bias_hh")
    )
    parts = zip(letters, sums.detach().chunk(len(letters), -1), strict=True)
    found = {letter: torch.sigmoid(part[real]) for letter, part in parts if letter not in _CANDIDATES}
    return {letter: _share((gate - 0.5).abs() > 0.5 - NEAR) for letter, gate in found.items()}


def _share(found: Tensor) -> float:
    return float(found.float().mean())
