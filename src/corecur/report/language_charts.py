"""The charts of a language model's report: perplexity by epoch, and how much the past helps.

N positions.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from corecur.report.page import Figure
from corecur.report.svg import FIRST, FONT_SIZE, SECOND, draw

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Drawing

WIDTH, HEIGHT = 440.0, 250.0  # CSS pixels, as the learning curves beside them
# Beyond this, exp(loss) says nothing.
_MOST = 1e6


def perplexity_curve(history: Sequence[Mapping[str, float]]) -> Figure | None:
    """Perplexity, exp(loss), by epoch, from the keys loss and val_loss; None where there is none.

    >>> perplexity_curve([{"loss": 2.0, "val_loss": 2.1}, {"loss": 1.5, "val_loss": 1.7}]).alt
    'Perplexity by epoch: training from 7.39 to 4.48; validation from 8.17 to 5.47.'
    """
    epochs = np.arange(1, len(history) + 1)
    curves = []
    for name, key, colour in (("training", "loss", FIRST), ("validation", "val_loss", SECOND)):
        losses = np.array([float(row.get(key, math.nan)) for row in history])
        values = np.exp(np.clip(losses, None, math.log(_MOST)))
        if np.isfinite(values).any():
            curves.append((name, values, colour))
    if not curves:
        return None

    def paint(figure: Drawing) -> None:
        from matplotlib.ticker import MaxNLocator

        axes = _axes(figure, "Perplexity")
        for name, values, colour in curves:
            known = np.isfinite(values)
            axes.plot(
                epochs[known], values[known], color=colour, label=name, markersize=4.5,
                marker="o" if len(epochs) <= 12 else None, linestyle="-" if name == "training" else (0, (5, 1.5)),
            )  # fmt: skip
        if max(values[np.isfinite(values)].max() / values[np.isfinite(values)].min() for _, values, _ in curves) > 20:
            axes.set_yscale("log")
            axes.yaxis.set_minor_formatter("")
        axes.yaxis.set_major_formatter(lambda value, _: f"{value:,.4g}")
        axes.xaxis.set_major_locator(MaxNLocator(nbins=8, integer=True, min_n_ticks=1))
        axes.legend(loc="upper right", ncols=2, columnspacing=1.2, handlelength=1.6, bbox_to_anchor=(1, 1.16))

    said = "; ".join(f"{name} {_ends(values)}" for name, values, _ in curves)
    return Figure(draw(paint, width=WIDTH, height=HEIGHT, salt="perplexity"), alt=f"Perplexity by epoch: {said}.")


def context_curve(losses: NDArray[Any], *, noun: str) -> Figure:
    """The mean loss (N,) of the token after n others, n from 1, where the network began with no past.

    From 4 on a point is the mean of a range of places, each range half as long again.

    >>> context_curve(np.array([3.0, 2.0, 1.5]), noun="characters").alt
    'Loss by length of the past: 3.000 nats after 1 of the characters, 1.500 after 3.'
    """
    ends = [1]
    while ends[-1] < len(losses):
        ends.append(min(len(losses), max(ends[-1] + 1, ends[-1] * 3 // 2)))
    means = np.array([losses[first:last].mean() for first, last in zip([0, *ends], ends, strict=False)])

    def paint(figure: Drawing) -> None:
        axes = _axes(figure, f"Nats by {noun} read before")
        axes.plot(ends, means, "o-", color=FIRST, markersize=4)
        axes.set_xscale("log", base=2)
        axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
        axes.xaxis.set_minor_formatter("")
        axes.yaxis.set_major_formatter(lambda value, _: f"{value:.4g}")

    words = f"{means[0]:.3f} nats after 1 of the {noun}, {means[-1]:.3f} after {ends[-1]}"
    return Figure(
        draw(paint, width=WIDTH, height=HEIGHT, salt="context"),
        alt=f"Loss by length of the past: {words}.",
        caption="Each stretch of the text was begun with no past. Where the line is level, more past does not help.",
    )


def _axes(figure: Drawing, title: str) -> Axes:
    figure.text(0, 0.995, title, va="top", fontweight="bold", fontsize=FONT_SIZE + 1)
    left, top, right, bottom = 52, 34, 12, 26
    box = (left / WIDTH, bottom / HEIGHT, (WIDTH - left - right) / WIDTH, (HEIGHT - top - bottom) / HEIGHT)
    return figure.add_axes(box)


def _ends(values: NDArray[Any]) -> str:
    known = values[np.isfinite(values)]
    return f"from {known[0]:,.2f} to {known[-1]:,.2f}" if len(known) > 1 else f"{known[-1]:,.2f}"
