"""The jobs of ``recurrent``: which cell over which sequences; data and first weights, the same for every contender.

B batch, T time, C features, H units, G gates · H, P outputs, D what a step's output is wide (P, or 2P both ways),
R real steps of all rows together.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]

GATES = {
    "simple_rnn": 1, "lstm": 4, "gru": 3, "classic_gru": 3,
    "layer_norm_lstm": 4, "peephole_lstm": 4, "projected_lstm": 4,
}  # fmt: skip
#: Weights beside the input's, the recurrent one and the biases, with their axes as letters of the legend.
EXTRA = {
    "layer_norm_lstm": {"weight_norm_ih": "G", "weight_norm_hh": "G", "weight_norm_c": "H", "bias_norm_c": "H"},
    "peephole_lstm": {"weight_ci": "H", "weight_cf": "H", "weight_co": "H"},
    "projected_lstm": {"weight_hr": "PH"},
}


@dataclass(frozen=True)
class Job:
    """A cell, how it is used, and over what. The last output of a stack is returned at every step."""

    cell: str
    layers: int = 1
    padding: str | None = None  # on the right or on the left; lengths are uniform from ``shortest`` to ``steps``
    both_ways: bool = False
    training: bool = True  # forward and backward, to every weight; forward alone otherwise
    recurrent_dropout: float = 0.0
    batch: int = 64
    steps: int = 40
    shortest: int = 10
    features: int = 64
    units: int = 128

    @property
    def outputs(self) -> int:
        """The width of one direction's output."""
        return self.units // 2 if self.cell == "projected_lstm" else self.units

    @property
    def directions(self) -> int:
        """How many ways it is read."""
        return 2 if self.both_ways else 1

    def inputs_of(self, layer: int) -> int:
        """How many features a layer of the stack sees."""
        return self.features if layer == 0 else self.outputs * self.directions


def lengths(job: Job) -> NDArray[np.int64]:
    """How many steps of each row are real, (B,); the longest row is full, as in any batch of padded rows."""
    if job.padding is None:
        return np.full(job.batch, job.steps)
    drawn = np.random.default_rng(2).integers(job.shortest, job.steps, job.batch, endpoint=True)
    drawn[drawn.argmax()] = job.steps
    return drawn


def real_steps(job: Job) -> NDArray[np.bool_]:
    """Which steps are real, (B, T)."""
    places = np.arange(job.steps)[None]
    if job.padding == "left":
        places = places[:, ::-1]
    return places < lengths(job)[:, None]


def inputs(job: Job) -> Array:
    """Noise (B, T, C), zeros in the padding."""
    draw = np.random.default_rng(0)
    x = draw.standard_normal((job.batch, job.steps, job.features), dtype=np.float32)
    return x * real_steps(job)[..., None]


def weights(job: Job) -> list[list[dict[str, Array]]]:
    """For each layer and each direction the weights under ``torch.nn``'s names, in its shapes and order of gates."""
    draw = np.random.default_rng(1)
    bound = 1 / math.sqrt(job.units)
    stack = []
    for layer in range(job.layers):
        gates = GATES[job.cell] * job.units
        sizes = {"C": job.inputs_of(layer), "H": job.units, "G": gates, "P": job.outputs}
        axes = {"weight_ih": "GC", "weight_hh": "GP", "bias_ih": "G", "bias_hh": "G", **EXTRA.get(job.cell, {})}
        stack.append(
            [
                {
                    name: draw.uniform(-bound, bound, [sizes[axis] for axis in letters]).astype(np.float32)
                    + np.float32(name.startswith("weight_norm"))  # gains are near 1
                    for name, letters in axes.items()
                }
                for _ in range(job.directions)
            ]
        )
    return stack


def flops(job: Job) -> float:
    """Floating-point operations in the products of one step of the job, those of padding left out.

    Backward they are twice as many, for the gradients of weights and of inputs; the first layer needs no latter ones.
    """
    total = 0
    for layer in range(job.layers):
        for_input = GATES[job.cell] * job.units * job.inputs_of(layer)
        for_state = GATES[job.cell] * job.units * job.outputs
        if job.cell == "projected_lstm":
            for_state += job.outputs * job.units
        passes = 3 if job.training else 1
        without = for_input if job.training and layer == 0 else 0
        total += job.directions * (passes * (for_input + for_state) - without)
    return 2.0 * total * int(lengths(job).sum())


def proof(job: Job, outputs: Array, gradients: list[float]) -> list[float]:
    """What must agree: how long each real step's output (D,) is once a random vector is added; norms of gradients.

    The added vector lets two outputs that differ in the order of their values differ in length too.
    """
    real = outputs[real_steps(job)].astype(np.float64)  # (B, T, D) -> (R, D)
    added = np.random.default_rng(3).normal(0.0, 0.1, real.shape[1])
    return [*np.linalg.norm(real + added, axis=1).tolist(), *gradients]
