"""The charts of a forecast: what was, what was said and how sure, errors by step, and the table as a whole.

T time, L steps shown of the past, H horizon.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from corecur.report.charts import percent
from corecur.report.page import Figure
from corecur.report.svg import FIRST, FONT_SIZE, INK, LINE, SECOND, SOFT, draw, label, shorten

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Drawing

Array = NDArray[np.float64]
WIDTH, HEIGHT = 440.0, 220.0
WIDE = 900.0
_MOST_POINTS = 400


@dataclass(frozen=True)
class Window:
    """One forecast beside what came: the past (L,), the truth (H,), median, low and high (H,), and a baseline (H,).

    ``begins`` and ``ends`` say when the forecast begins and ends.
    """

    column: str
    past: Array
    truth: Array
    median: Array
    low: Array
    high: Array
    baseline: Array
    begins: str = ""
    ends: str = ""
    note: str = ""


def forecast_chart(window: Window, *, level: float, baseline: str) -> Figure:
    """The end of the past, the forecast with its interval, the truth and a baseline."""
    past, horizon = len(window.past), len(window.truth)
    ahead = np.arange(1, horizon + 1)

    def paint(figure: Drawing) -> None:
        axes = place(figure, left=52, top=48, right=12, bottom=26)
        axes.plot(np.arange(1 - past, 1), window.past, color=SOFT, linewidth=1.2)
        axes.fill_between(ahead, window.low, window.high, color=FIRST, alpha=0.2, linewidth=0)
        axes.plot(ahead, window.baseline, color=SECOND, linewidth=1.2, linestyle=(0, (4, 2)), label=label(2))
        axes.plot(ahead, window.truth, color=INK, linewidth=1.2, label="truth", marker=_marker(horizon), markersize=3)
        axes.plot(ahead, window.median, color=FIRST, label="forecast", marker=_marker(horizon), markersize=3)
        axes.axvline(0.5, color=LINE, linewidth=1)
        axes.set_xlim(1 - past, horizon + 0.5)
        axes.set_xticks([0.5, horizon], [label(0), label(1)])
        axes.locator_params(axis="y", nbins=5)
        for tick in axes.get_xticklabels():  # the past is longer than the forecast: both dates end at their line
            tick.set_horizontalalignment("right")
        title(figure, label(3))
        legend(figure, axes)

    held = float(((window.truth >= window.low) & (window.truth <= window.high)).mean())
    error = float(np.abs(window.truth - window.median).mean())
    words = (
        f"{window.column} from {window.begins}: mean absolute error {error:.4g}, {percent(held, 0)} of the values in"
        f" the {percent(level, 0)} interval{window.note and f' ({window.note})'}."
    )
    texts = [shorten(window.begins, 20), shorten(window.ends, 20), baseline, shorten(window.column, 40)]
    return Figure(draw(paint, width=WIDTH, height=HEIGHT, labels=texts, salt=words), alt=words, caption=words)


def step_errors(model: Array, baselines: Mapping[str, Array]) -> Figure:
    """The squared error at each step ahead (H,), beside those of the baselines."""
    steps = np.arange(1, len(model) + 1)

    def paint(figure: Drawing) -> None:
        axes = place(figure, left=52, top=48, right=12, bottom=26)
        dashes = ((0, (4, 2)), (0, (1, 1.5)), (0, (6, 1, 1, 1)))
        for (name, values), dash in zip(baselines.items(), dashes, strict=False):
            axes.plot(
                steps, values, color=SECOND, linewidth=1.4, linestyle=dash, label=name, marker=_marker(len(steps))
            )
        axes.plot(steps, model, color=FIRST, label="forecast", marker=_marker(len(steps)))
        axes.set_ylim(bottom=0)
        _whole_steps(axes)
        title(figure, "MSE by step ahead")
        legend(figure, axes)

    words = f"Squared error from {model[0]:.3f} at the first step to {model[-1]:.3f} at step {len(model)}."
    return Figure(draw(paint, width=WIDTH, height=HEIGHT, salt="steps"), alt=words, caption=words)


def step_coverage(covered: Array, level: float) -> Figure:
    """The share of the values inside their interval at each step ahead (H,), beside what it was to be."""
    steps = np.arange(1, len(covered) + 1)

    def paint(figure: Drawing) -> None:
        axes = place(figure, left=52, top=34, right=12, bottom=26)
        axes.axhline(level, color=SOFT, linewidth=1.2, linestyle=(0, (4, 4)))
        axes.plot(steps, covered, color=FIRST, marker=_marker(len(steps)))
        axes.set_ylim(0, 1.03)
        axes.yaxis.set_major_formatter(lambda value, _: f"{100 * value:.0f} %")
        _whole_steps(axes)
        title(figure, "Values in their interval, by step ahead")

    words = (
        f"{percent(float(covered.mean()))} of the values lay in their {percent(level, 0)} intervals (the dashed line)."
    )
    return Figure(draw(paint, width=WIDTH, height=HEIGHT, salt="coverage"), alt=words, caption=words)


def overview(column: str, values: Array, parts: Sequence[tuple[str, int]], times: Sequence[str]) -> Figure:
    """A whole column (T,) with the ends of its parts: pairs of a part's name and its last row; times of both ends."""
    shown, edges = _thinned(values)
    names = [name for name, _ in parts]

    def paint(figure: Drawing) -> None:
        axes = place(figure, left=52, top=34, right=12, bottom=26)
        axes.plot(edges, shown, color=FIRST, linewidth=1)
        top, before = axes.get_ylim()[1], 0
        for number, (_, stop) in enumerate(parts):
            if before:
                axes.axvline(before, color=SOFT, linewidth=1, linestyle=(0, (2, 3)))
            axes.annotate(
                label(number), ((before + stop) / 2, top), ha="center", va="bottom", color=SOFT, annotation_clip=False
            )
            before = stop
        axes.set_xlim(0, len(values))
        axes.set_xticks([0, len(values)], [label(len(names)), label(len(names) + 1)])
        axes.get_xticklabels()[0].set_horizontalalignment("left")
        axes.get_xticklabels()[-1].set_horizontalalignment("right")
        axes.locator_params(axis="y", nbins=4)
        title(figure, label(len(names) + 2))

    words = f"{column} over all rows: {', '.join(names)}."
    texts = [*names, *times, shorten(column, 40)]
    return Figure(draw(paint, width=WIDE, height=170, labels=texts, salt=words), alt=words)


def place(figure: Drawing, *, left: float, top: float, right: float, bottom: float) -> Axes:
    """Axes with the given margins in CSS pixels."""
    width, height = figure.get_size_inches() * 72
    box = (left / width, bottom / height, (width - left - right) / width, (height - top - bottom) / height)
    return figure.add_axes(box)


def title(figure: Drawing, text: str) -> None:
    """A heading in the upper left corner."""
    figure.text(0, 0.995, text, va="top", fontweight="bold", fontsize=FONT_SIZE + 1)


def legend(figure: Drawing, axes: Axes) -> None:
    """The names of the lines, in a row under the heading."""
    height = figure.get_size_inches()[1] * 72
    corner: Any = {"loc": "upper left", "bbox_to_anchor": (0, 1 - 19 / height), "bbox_transform": figure.transFigure}
    handles, names = axes.get_legend_handles_labels()
    axes.legend(
        handles[::-1],
        names[::-1],
        **corner,
        ncols=4,
        columnspacing=1.2,
        handlelength=1.6,
        borderaxespad=0,
        borderpad=0.15,
    )


def _marker(points: int) -> str | None:
    return "o" if points <= 14 else None


def _whole_steps(axes: Axes) -> None:
    from matplotlib.ticker import MaxNLocator

    axes.xaxis.set_major_locator(MaxNLocator(nbins=8, integer=True, min_n_ticks=1))
    axes.locator_params(axis="y", nbins=5)


def _thinned(values: Array) -> tuple[Array, Array]:
    """A long column as the least and the largest value of each of so many stretches, and where they are."""
    if len(values) <= 2 * _MOST_POINTS:
        return values, np.arange(len(values), dtype=np.float64)
    edges = np.linspace(0, len(values), _MOST_POINTS + 1).astype(int)
    ends = [(float(part.min()), float(part.max())) for part in np.split(values, edges[1:-1])]
    return np.array(ends).ravel(), np.repeat((edges[:-1] + edges[1:]) / 2, 2)
