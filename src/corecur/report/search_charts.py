"""The charts of a search: what each trial came to, what it cost, and which settings mattered.

N trials.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from corecur.report.page import Figure
from corecur.report.svg import FIRST, FONT_SIZE, INK, LINE, SECOND, SOFT, columns, draw, label, shorten

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Drawing

Array = NDArray[Any]
WIDTH, HEIGHT = 440.0, 250.0  # CSS pixels, as the learning curves of a run
_LETTER = 6.4


def history_chart(
    numbers: Sequence[int], values: Sequence[float], best: Sequence[float], *, of: str, write: Callable[[float], str]
) -> Figure:
    """The values (N,) of trials by their numbers, and the best so far, a line.

    >>> history_chart([0, 1], [0.5, 0.7], [0.5, 0.7], of="accuracy", write=str).alt
    'Accuracy by trial: the best went from 0.5 to 0.7 in 2 trials.'
    """
    first, last = write(best[0]), write(best[-1])

    def paint(figure: Drawing) -> None:
        axes = _axes(figure, f"{of.capitalize()} by trial", left=58)
        axes.plot(numbers, values, "o", color=FIRST, markersize=4.5, alpha=0.65, label="a trial")
        axes.step(numbers, best, where="post", color=SECOND, label="best so far")
        axes.yaxis.set_major_formatter(lambda value, _: write(value))
        axes.locator_params(axis="y", nbins=6)
        axes.locator_params(axis="x", nbins=8, integer=True)
        _frame(axes, np.asarray(values))
        axes.legend(loc="upper right", ncols=2, columnspacing=1.2, handlelength=1.6, bbox_to_anchor=(1, 1.2))

    return Figure(
        draw(paint, width=WIDTH, height=HEIGHT, salt="history"),
        alt=f"{of.capitalize()} by trial: the best went from {first} to {last} in {len(numbers)} trials.",
        caption="A dot is a trial that ran to its end. Trial 0 is the default recipe.",
    )


def front_chart(
    costs: Sequence[float], values: Sequence[float], front: Sequence[tuple[float, float]], *, of: str, cost: str,
    write: Callable[[float], str], unit: Callable[[float], str],
) -> Figure:  # fmt: skip
    """Trials by what they cost (N,) and what they came to (N,); the Pareto front is joined by a line.

    >>> front_chart([1], [0.3], [(1, 0.3)], of="accuracy", cost="latency", write=str, unit=str).alt
    'Pareto front of accuracy and latency: 0.3 at 1.'
    """

    def paint(figure: Drawing) -> None:
        axes = _axes(figure, f"{of.capitalize()} by {cost}", left=58)
        axes.plot(costs, values, "o", color=FIRST, markersize=4.5, alpha=0.5)
        axes.step([x for x, _ in front], [y for _, y in front], "o-", where="post", color=SECOND, markersize=6)
        axes.yaxis.set_major_formatter(lambda value, _: write(value))
        axes.xaxis.set_major_formatter(lambda value, _: unit(value))
        axes.locator_params(axis="both", nbins=5)
        _frame(axes, np.asarray(values))

    points = "; ".join(f"{write(y)} at {unit(x)}" for x, y in front)
    return Figure(
        draw(paint, width=WIDTH, height=HEIGHT, salt=cost),
        alt=f"Pareto front of {of} and {cost}: {points}.",
        caption="Orange: no other trial is better at the same or a lower cost.",
    )


def importance_chart(names: Sequence[str], shares: Sequence[float]) -> Figure:
    """How much of the differences between trials each setting explains, from 0 to 1.

    >>> importance_chart(["rate"], [1.0]).alt
    'Importance of the settings: rate 100 %.'
    """
    shown = [shorten(name.replace("_", " "), 24) for name in names]
    left = 14 + _LETTER * max(map(columns, shown))

    def paint(figure: Drawing) -> None:
        axes = _axes(figure, "Importance of settings", left=left, top=32)
        places = list(range(len(shown)))
        axes.barh(places, shares, height=0.62, color=FIRST, alpha=0.75)
        for place, share in zip(places, shares, strict=True):
            axes.text(share + 0.012, place, f"{100 * share:.0f} %", va="center", color=INK)
        axes.set_yticks(places, [label(i) for i in range(len(shown))])
        axes.set(ylim=(len(shown) - 0.4, -0.6), xlim=(0, 1.12), xticks=[])
        axes.grid(visible=False)
        axes.spines["bottom"].set_visible(False)

    words = ", ".join(f"{name} {100 * share:.0f} %" for name, share in zip(names, shares, strict=True))
    return Figure(
        draw(paint, width=WIDTH, height=52 + 26 * max(2, len(shown)), labels=shown, salt="importance"),
        alt=f"Importance of the settings: {words}.",
        caption="Share of the differences between trials that a setting explains (fANOVA, Hutter et al. 2014).",
    )


def slice_chart(
    name: str, settings: Sequence[Any], values: Sequence[float], *, log: bool, write: Callable[[float], str]
) -> Figure:
    """What trials (N,) came to by one setting of theirs; settings that are no numbers stand side by side in order.

    >>> slice_chart("units", [8, 16], [0.5, 0.7], log=False, write=str).alt
    'Trials by units: the highest value, 0.7, at 16.'
    """
    written = [str(value) for value in settings]
    numeric = all(isinstance(value, (int, float)) and not isinstance(value, bool) for value in settings)
    kinds = list(dict.fromkeys(written))
    places = [float(value) for value in settings] if numeric else [float(kinds.index(word)) for word in written]
    top = int(np.argmax(values)) if values else 0

    def paint(figure: Drawing) -> None:
        axes = _axes(figure, name.replace("_", " ").capitalize(), left=58)
        axes.plot(places, values, "o", color=FIRST, markersize=4.5, alpha=0.65)
        if numeric and log:
            axes.set_xscale("log")
            _log_ticks(axes, places)
        if numeric:
            axes.xaxis.set_major_formatter(lambda value, _: f"{value:.3g}")
        else:
            axes.set_xticks(range(len(kinds)), [label(i) for i in range(len(kinds))])
            axes.set_xlim(-0.5, len(kinds) - 0.5)
        axes.yaxis.set_major_formatter(lambda value, _: write(value))
        axes.locator_params(axis="y", nbins=5)
        _frame(axes, np.asarray(values))

    shown = [shorten(word, 16) for word in kinds]
    return Figure(
        draw(paint, width=WIDTH, height=200, labels=shown, salt=name),
        alt=f"Trials by {name}: the highest value, {write(values[top])}, at {written[top]}.",
    )


def _axes(figure: Drawing, title: str, *, left: float, top: float = 40) -> Axes:
    width, height = figure.get_size_inches() * 72
    axes = figure.add_axes((left / width, 26 / height, (width - left - 14) / width, (height - top - 26) / height))
    figure.text(0, 0.995, title, va="top", fontweight="bold", fontsize=FONT_SIZE + 1)
    return axes


def _log_ticks(axes: Axes, places: Sequence[float]) -> None:
    """Ticks at 1, 2 and 5 times the powers of ten where there are few powers, else at the powers alone."""
    from matplotlib.ticker import LogLocator

    narrow = max(places) / min(places) < 1000
    axes.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0) if narrow else (1.0,)))
    axes.xaxis.set_minor_formatter("")


def _frame(axes: Axes, values: Array) -> None:
    """Room around equal values, and no room for what failed: far outliers are cut off, and marked at the edge."""
    low, high = float(values.min()), float(values.max())
    if high == low:
        axes.set_ylim(low - max(1e-3, abs(low) * 0.05), high + max(1e-3, abs(high) * 0.05))
        return
    quarter, three = np.quantile(values, [0.25, 0.75]).tolist()
    floor, roof = quarter - 4 * (three - quarter), three + 4 * (three - quarter)
    inside = values[(values >= floor) & (values <= roof)]
    if 2 <= len(inside) < len(values) and inside.min() < inside.max():
        spare = 0.08 * float(inside.max() - inside.min())
        axes.set_ylim(float(inside.min()) - spare, float(inside.max()) + spare)
        axes.figure.text(
            0.995, 0.9, f"{len(values) - len(inside)} further away", ha="right", va="top", color=SOFT, fontsize=9
        )
    axes.grid(color=LINE)
