"""How fast gradients vanish over time: simple RNN, LSTM and GRU, with and without the cures, measured by the doctor.

    python examples/vanishing_gradients.py docs/vanishing-gradients.svg

The task: noise of 100 steps whose first step alone tells the class. Drawn is the norm of the gradient of the last
output by steps back in time, the last step being 1: before the training, and at the doctor's last look.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from corecur.engine.doctor.doctor import Doctor
from corecur.engine.optimizers import Adam
from corecur.layers.dense import Dense
from corecur.layers.gru import GRU
from corecur.layers.lstm import LSTM
from corecur.layers.simple_rnn import SimpleRNN
from corecur.models import Sequential

STEPS, FEATURES, UNITS = 100, 3, 32
SHAPE = (None, FEATURES)


class Curve(NamedTuple):
    """What was measured of one network: shares of the gradient by distance, before and after; its accuracy."""

    distances: list[int]
    before: list[float]
    after: list[float]
    accuracy: float
    findings: list[str]


def task(samples: int) -> tuple[Tensor, Tensor]:
    """Noise (N, T, 3), and which of two classes its first step says."""
    generator = torch.Generator().manual_seed(0)
    x = 0.5 * torch.randn(samples, STEPS, FEATURES, generator=generator)
    y = torch.randint(0, 2, (samples,), generator=generator)
    x[:, 0, 0] = 2.0 * y - 1
    return x, y


def begun_with(layer: Any, name: str, part: slice, value: Any) -> Any:
    """The layer with a part of a weight set to a value."""
    layer.build_for(SHAPE_WITH_BATCH)
    with torch.no_grad():
        layer.weights()[name][part] = value
    return layer


SHAPE_WITH_BATCH = (None, *SHAPE)
NETWORKS: dict[str, Callable[[], Any]] = {
    "simple RNN, weights of norm 0.7": lambda: begun_with(
        SimpleRNN(UNITS, input_shape=SHAPE), "weight_hh", slice(None), 0.7 * torch.eye(UNITS)
    ),
    "simple RNN, orthogonal": lambda: SimpleRNN(UNITS, input_shape=SHAPE),
    "simple RNN, ReLU, identity": lambda: begun_with(
        SimpleRNN(UNITS, "relu", input_shape=SHAPE), "weight_hh", slice(None), torch.eye(UNITS)
    ),
    "LSTM, forget bias 0": lambda: LSTM(UNITS, unit_forget_bias=False, input_shape=SHAPE),
    "LSTM, forget bias 1": lambda: LSTM(UNITS, input_shape=SHAPE),
    "LSTM, forget bias 4": lambda: begun_with(
        LSTM(UNITS, unit_forget_bias=False, input_shape=SHAPE), "bias_ih", slice(UNITS, 2 * UNITS), 4.0
    ),
    "LSTM, layer norm": lambda: LSTM(UNITS, layer_norm=True, input_shape=SHAPE),
    "GRU": lambda: GRU(UNITS, input_shape=SHAPE),
    "GRU, update bias 4": lambda: begun_with(
        GRU(UNITS, input_shape=SHAPE), "bias_ih", slice(UNITS, 2 * UNITS), 4.0
    ),
}  # fmt: skip


def measure(make: Callable[[], Any], *, samples: int, epochs: int) -> Curve:
    """Train a network with a bound on the gradient, and read the doctor's looks."""
    torch.manual_seed(1)
    model, doctor = Sequential([make(), Dense(2, "softmax")]), Doctor(tell=lambda line: None)
    model.compile(Adam(0.003, global_clipnorm=1.0), "sparse_categorical_crossentropy", metrics=["accuracy"])
    x, y = task(samples)
    model.fit(x, y, epochs=epochs, batch_size=32, verbose=0, callbacks=[doctor])
    looks = [row["time"][0] for row in doctor.rows if row["row"] == "look"]
    accuracy = doctor.rows[-2]["results"]["accuracy"]
    first, last = ([value / look["gradients"][0] for value in look["gradients"]] for look in (looks[0], looks[-1]))
    return Curve(looks[0]["distances"], first, last, accuracy, [finding.kind for finding in doctor.findings])


def draw(curves: dict[str, Curve], path: str) -> None:
    """Two drawings side by side, as one SVG file."""
    import matplotlib

    matplotlib.use("svg")
    matplotlib.rcParams.update({"svg.hashsalt": "vanishing", "font.size": 9})
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, 2, figsize=(9.5, 4.2), sharey=True)
    colours = {"simple RNN": "#d55e00", "LSTM": "#0072b2", "GRU": "#009e73"}
    styles = ["-", "--", ":", "-."]
    for place, title in enumerate(("before the training", "after it")):
        seen: dict[str, int] = {}
        for name, curve in curves.items():
            family = name.split(",")[0]
            style = styles[seen.setdefault(family, 0) % len(styles)]
            seen[family] += 1
            values = [max(value, 1e-16) for value in (curve.before, curve.after)[place]]
            shown = f"{name} ({100 * curve.accuracy:.0f} %)"
            axes[place].semilogy(curve.distances, values, style, color=colours[family], linewidth=1.4, label=shown)
        axes[place].set_title(title, fontsize=10)
        axes[place].set_xlabel("steps back in time")
        axes[place].grid(alpha=0.25, linewidth=0.6)
    axes[0].set_ylabel("norm of the gradient, the last step = 1")
    axes[1].legend(fontsize=7.5, loc="center left", bbox_to_anchor=(1.02, 0.5), frameon=False, title="(accuracy)")
    figure.tight_layout()
    figure.savefig(path, metadata={"Date": None, "Creator": None})
    pyplot.close(figure)


def main(arguments: Sequence[str]) -> None:
    """Measure, print a line a network, and draw if a path is given; ``--short`` trains hardly at all."""
    short = "--short" in arguments
    paths = [argument for argument in arguments if argument != "--short"]
    curves = {}
    for name, make in NETWORKS.items():
        curves[name] = curve = measure(make, samples=64 if short else 640, epochs=1 if short else 15)
        found = f", doctor: {', '.join(curve.findings)}" if curve.findings else ""
        print(f"{name}: {STEPS - 1} steps back {curve.before[-1]:.1e} before, {curve.after[-1]:.1e} after training, "
              f"accuracy {100 * curve.accuracy:.1f} %{found}")  # fmt: skip
    if paths:
        draw(curves, paths[0])


if __name__ == "__main__":
    main(sys.argv[1:])
