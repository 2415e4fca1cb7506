"""Figures of several models with their intervals, one below the other."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from corecur.report.page import Figure
from corecur.report.svg import FIRST, FONT_SIZE, columns, draw, label, shorten

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Drawing

_WIDTH, _ROW, _LETTER = 560.0, 26.0, 6.4


def interval_chart(
    rows: Sequence[tuple[str, float, tuple[float, float] | None]], *, title: str, show: Callable[[float], str]
) -> Figure:
    """A dot for each name's figure, a band for its interval where there is one; ``show`` writes a figure.

    >>> chart = interval_chart([("a", 0.9, (0.8, 0.95)), ("b", 0.7, None)], title="accuracy", show=str)
    >>> chart.alt
    'accuracy: a 0.9, b 0.7'
    """
    names = [shorten(name, 34) for name, _, _ in rows]
    values = [value for _, value, _ in rows]
    bands = [
        (place, ends) for place, (_, _, ends) in enumerate(rows) if ends is not None and all(map(math.isfinite, ends))
    ]
    left = 14 + _LETTER * max(map(columns, names))

    def paint(figure: Drawing) -> None:
        width, height = figure.get_size_inches() * 72
        axes = figure.add_axes((left / width, 26 / height, (width - left - 24) / width, (height - 58) / height))
        for place, (low, high) in bands:
            axes.hlines(place, low, high, colors=FIRST, linewidth=5, alpha=0.3)
        axes.plot(values, np.arange(len(rows)), "o", color=FIRST, markersize=5.5)
        figure.text(0, 0.995, label(len(rows)), va="top", fontweight="bold", fontsize=FONT_SIZE + 1)
        axes.set_yticks(range(len(rows)), [label(place) for place in range(len(rows))])
        axes.set_ylim(len(rows) - 0.4, -0.6)
        axes.grid(axis="x")
        axes.locator_params(axis="x", nbins=5)
        axes.xaxis.set_major_formatter(lambda value, _: show(value))

    words = ", ".join(f"{name} {show(value)}" for name, value, _ in rows)
    return Figure(
        draw(paint, width=_WIDTH, height=58 + _ROW * max(len(rows), 2), labels=[*names, title]),
        alt=f"{title}: {words}",
        caption="Dot: the figure; band: its 95 % interval. Bands that overlap do not say that there is no difference: "
        "the paired test below does.",
    )
