"""The charts of a report, drawn by matplotlib as inline SVG figures.

Shapes: N samples, K classes.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from corecur.errors import ShapeError
from corecur.report.page import Figure
from corecur.report.svg import FIRST, FONT_SIZE, INK, LINE, PAPER, SECOND, SOFT, columns, draw, label, shorten

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Drawing

Array = NDArray[Any]
WIDTH = 440.0  # CSS pixels: two such drawings stand side by side on the page
LETTER = 6.4  # CSS pixels of one column of text at FONT_SIZE
MOST_WRITTEN = 20  # classes up to which a confusion matrix has room for its counts
MOST_BARS = 25


class ClassScore(NamedTuple):
    """How well one class is recognised: shares from 0 to 1; ``support`` is its number of true samples."""

    name: str
    precision: float
    recall: float
    f1: float
    support: int


class Curve(NamedTuple):
    """One line of a chart over epochs."""

    name: str
    values: Array
    colour: str


def percent(share: float, decimals: int = 1) -> str:
    """A share as people write it; no number gives a dash.

    >>> percent(0.98611), percent(float("nan"))
    ('98.6 %', '–')
    """
    return f"{100 * share:.{decimals}f} %" if math.isfinite(share) else "–"


def learning_curves(history: Sequence[Mapping[str, float]], *, best_epoch: float | None = None) -> tuple[Figure, ...]:
    """Loss, accuracy, learning rate and time by epoch, one figure each; what the history does not hold is left out.

    Keys read: epoch, loss, val_loss, accuracy, val_accuracy, learning_rate, seconds, waiting (share from 0 to 1).
    ``best_epoch`` is marked; by default the one ``find_best_epoch`` names.
    """
    epochs = _epochs(history)
    best = find_best_epoch(history) if best_epoch is None else best_epoch
    figures = []
    for title, key in (("Loss", "loss"), ("Accuracy", "accuracy"), ("Learning rate", "learning_rate")):
        training = Curve("training", _column(history, key), FIRST)
        validation = Curve("validation", _column(history, "val_" + key), SECOND)
        shown = [curve for curve in (training, validation) if np.isfinite(curve.values).any()]
        if shown:
            figures.append(_curve_figure(title, epochs, shown, best))
    seconds = _column(history, "seconds")
    if np.isfinite(seconds).any():
        figures.append(_time_figure(epochs, seconds, _column(history, "waiting")))
    return tuple(figures)


def find_best_epoch(history: Sequence[Mapping[str, float]]) -> float | None:
    """The epoch of the highest validation accuracy (among equals, of the lowest validation loss), or None.

    >>> find_best_epoch([{"epoch": 1, "val_accuracy": 0.9}, {"epoch": 2, "val_accuracy": 0.8}])
    1.0
    """
    accuracy, loss = _column(history, "val_accuracy"), _column(history, "val_loss")
    judged = np.isfinite(accuracy) if np.isfinite(accuracy).any() else np.isfinite(loss)
    if not judged.any():
        return None
    order = np.lexsort((np.nan_to_num(loss, nan=np.inf), -np.nan_to_num(accuracy), ~judged))
    return float(_epochs(history)[order[0]])


def confusion(matrix: Array, classes: Sequence[str]) -> Figure:
    """The confusion matrix (K, K), rows = truth: counts (up to 20 classes), coloured by their share of the row.

    Raises ShapeError where the matrix is not square or does not fit the classes.
    """
    matrix = np.asarray(matrix)
    number = len(classes)
    if matrix.shape != (number, number) or not number:
        raise ShapeError(
            "a confusion matrix has a row and a column per class", got=matrix.shape, expected=(number, number)
        )
    rows = matrix.sum(axis=1, keepdims=True)
    share = np.divide(matrix, rows, out=np.zeros(matrix.shape), where=rows > 0)  # (K, K)
    written = number <= MOST_WRITTEN
    names = [shorten(name, 14 if written else 12) for name in classes]
    cell = min(72.0, max(24.0, 340 / number)) if written else 380 / number
    longest = LETTER * max(columns(name) for name in names)
    flat = written and longest < cell - 2
    left, top, right = 34 + longest, (46.0 if flat else 38 + 0.75 * longest), (10 if flat else 16 + 0.6 * longest)
    side = cell * number

    def paint(figure: Drawing) -> None:
        axes = place(figure, left=left, top=top, right=right, bottom=6)
        (_paint_cells if written else _paint_image)(axes, matrix, share, cell)
        _name_classes(axes, number, flat=flat)

    words = f"{int(np.trace(matrix)):,} of {int(matrix.sum()):,} samples lie on the diagonal."
    scale = (
        "Blue is right, orange is wrong; the stronger, the larger the share of the row (errors on a square-root scale)."
    )
    return Figure(
        draw(paint, width=left + side + right, height=top + side + 6, labels=names),
        alt=f"Confusion matrix of {number} classes. {words}",
        caption=f"{scale} {words}",
    )


def class_bars(rows: Sequence[ClassScore]) -> Figure:
    """Recall of each class with its 95 % Wilson interval; of more than 25 classes, the 25 lowest."""
    scored = [row for row in rows if math.isfinite(row.recall) and row.support > 0]
    shown = sorted(scored, key=lambda row: row.recall)[:MOST_BARS] if len(scored) > MOST_BARS else scored
    names = [shorten(row.name, 18) for row in shown]
    recall = np.array([row.recall for row in shown])
    low, high = wilson(recall, np.array([row.support for row in shown], dtype=float))
    floor = max(0.0, math.floor(20 * float(low.min(initial=1.0)) - 0.5) / 20)
    left = 14 + LETTER * max((columns(name) for name in names), default=1)

    def paint(figure: Drawing) -> None:
        axes = place(figure, left=left, top=32, right=22, bottom=26)
        places = np.arange(len(shown))
        axes.hlines(places, low, high, colors=FIRST, linewidth=5, alpha=0.3)
        axes.plot(recall, places, "o", color=FIRST, markersize=5.5)
        headline(figure, "Recall by class")
        axes.set_yticks(places, [label(i) for i in range(len(shown))])
        axes.set(ylim=(len(shown) - 0.4, -0.6), xlim=(floor, 1 + 0.02 * (1 - floor)))
        axes.grid(axis="x")
        axes.xaxis.set_major_formatter(lambda value, _: f"{100 * value:g} %")
        axes.locator_params(axis="x", nbins=5)

    which = f"The {len(shown)} lowest of {len(scored)} classes. " if len(shown) < len(scored) else ""
    worst = min(shown, key=lambda row: row.recall, default=None)
    words = f"Lowest: {worst.name}, {percent(worst.recall)}." if worst else "No class has test samples."
    return Figure(
        draw(paint, width=WIDTH, height=58 + 24 * max(len(shown), 2), labels=names),
        alt=f"Recall by class. {words}",
        caption=f"{which}Dot: the share of the class that was recognised; band: its 95 % interval. {words}",
    )


def wilson(share: Array, count: Array) -> tuple[Array, Array]:
    """The 95 % interval of shares seen in ``count`` trials each (Wilson 1927, doi:10.1080/01621459.1927.10502953).

    >>> [round(float(end), 3) for end in wilson(np.array(0.9), np.array(100.0))]
    [0.826, 0.945]
    """
    z = 1.959964
    centre = share + z * z / (2 * count)
    spread = z * np.sqrt(share * (1 - share) / count + (z / (2 * count)) ** 2)
    scale = 1 + z * z / count
    return np.clip((centre - spread) / scale, 0, 1), np.clip((centre + spread) / scale, 0, 1)


def _column(history: Sequence[Mapping[str, float]], key: str) -> Array:
    """One value per epoch; what is missing or infinite is a gap."""
    values = np.array([float(row.get(key, math.nan)) for row in history])
    return np.where(np.isfinite(values), values, math.nan)


def _epochs(history: Sequence[Mapping[str, float]]) -> Array:
    epochs = _column(history, "epoch")
    return np.where(np.isfinite(epochs), epochs, np.arange(1, len(history) + 1))


def place(figure: Drawing, *, left: float, top: float, right: float, bottom: float) -> Axes:
    """Axes with the given margins in CSS pixels: fixed margins look the same whatever font the reader has."""
    width, height = figure.get_size_inches() * 72
    box = (left / width, bottom / height, (width - left - right) / width, (height - top - bottom) / height)
    return figure.add_axes(box)


def headline(figure: Drawing, words: str) -> None:
    """The title of a drawing, in its upper left corner."""
    figure.text(0, 0.995, words, va="top", fontweight="bold", fontsize=FONT_SIZE + 1)


def _legend(figure: Drawing, axes: Axes) -> None:
    corner: Any = {"loc": "upper right", "bbox_to_anchor": (1, 0.995), "bbox_transform": figure.transFigure}
    axes.legend(**corner, ncols=2, columnspacing=1.2, handlelength=1.6, borderaxespad=0, borderpad=0.15)


def _curve_figure(title: str, epochs: Array, curves: Sequence[Curve], best: float | None) -> Figure:
    is_rate, is_share = title == "Learning rate", title == "Accuracy"
    values = np.concatenate([curve.values[np.isfinite(curve.values)] for curve in curves])
    is_wide = bool(values.min() > 0 and values.max() / values.min() > 50 and not is_share and not is_rate)

    def paint(figure: Drawing) -> None:
        axes = place(figure, left=52, top=34, right=12, bottom=26)
        for curve in curves:
            axes.plot(
                epochs,
                curve.values,
                marker="o" if len(epochs) <= 12 else None,
                color=curve.colour,
                markersize=4.5,
                label=curve.name,
                linestyle="-" if curve.name == "training" else (0, (5, 1.5)),
            )
        headline(figure, title)
        if is_wide:
            axes.set_yscale("log")
        axes.yaxis.set_major_formatter(lambda value, _: f"{100 * value:.4g} %" if is_share else f"{value:.4g}")
        axes.yaxis.set_minor_formatter("")
        if not is_wide:
            axes.locator_params(axis="y", nbins=3 if is_rate else 6)
        if is_rate:
            axes.set_ylim(bottom=0)
        _epoch_axis(axes, epochs)
        if len(curves) > 1:
            _legend(figure, axes)
        if best is not None and not is_rate:
            _mark_best(axes, epochs, best, low=is_share)

    ends = "; ".join(f"{curve.name} {_ends(curve.values, is_share)}" for curve in curves)
    words = f"{title} by epoch: {ends}." + (f" Best epoch: {best:g}." if best is not None and not is_rate else "")
    return Figure(draw(paint, width=WIDTH, height=150 if is_rate else 250, salt=title), alt=words)


def _ends(values: Array, is_share: bool) -> str:
    finite = values[np.isfinite(values)]
    first, last = (percent(value) if is_share else f"{value:.4g}" for value in (finite[0], finite[-1]))
    return f"from {first} to {last}" if len(finite) > 1 else last


def _epoch_axis(axes: Axes, epochs: Array) -> None:
    from matplotlib.ticker import MaxNLocator

    axes.xaxis.set_major_locator(MaxNLocator(nbins=8, integer=True, min_n_ticks=1))
    if len(epochs) == 1:
        axes.set_xticks(epochs)
    spare = max(0.5 if len(epochs) > 1 else 1.5, 0.02 * float(np.ptp(epochs)))
    axes.set_xlim(float(epochs.min()) - spare, float(epochs.max()) + spare)


def _mark_best(axes: Axes, epochs: Array, best: float, *, low: bool) -> None:
    axes.axvline(best, color=SOFT, linewidth=1, linestyle=(0, (2, 3)))
    late = best > float(epochs.min() + epochs.max()) / 2
    axes.annotate(
        f"best: {best:g}",
        (best, 0 if low else 1),
        xycoords=("data", "axes fraction"),
        xytext=(-5 if late else 5, 4 if low else -3),
        textcoords="offset points",
        ha="right" if late else "left",
        va="bottom" if low else "top",
        color=SOFT,
    )


def _time_figure(epochs: Array, seconds: Array, waiting: Array) -> Figure:
    seconds = np.nan_to_num(seconds)
    waited = seconds * np.clip(np.nan_to_num(waiting), 0, 1)
    share = float(waited.sum() / seconds.sum()) if seconds.sum() > 0 else 0.0
    known = bool(np.isfinite(waiting).any())

    def paint(figure: Drawing) -> None:
        axes = place(figure, left=52, top=34, right=12, bottom=26)
        axes.bar(epochs, seconds - waited, width=0.8, color=FIRST, alpha=0.6, label="computing")
        if known:
            axes.bar(epochs, waited, width=0.8, bottom=seconds - waited, color=SECOND, label="waiting for data")
            _legend(figure, axes)
        headline(figure, "Seconds per epoch")
        axes.yaxis.set_major_formatter(lambda value, _: f"{value:.4g}")
        axes.locator_params(axis="y", nbins=3)
        _epoch_axis(axes, epochs)

    words = f"Waited for data {percent(share)} of {seconds.sum():.1f} s." if known else f"{seconds.sum():.1f} s in all."
    return Figure(draw(paint, width=WIDTH, height=150, salt="Seconds"), alt=f"Seconds by epoch. {words}")


def _paint_cells(axes: Axes, matrix: Array, share: Array, cell: float) -> None:
    from matplotlib.patches import Rectangle

    digits = len(str(int(matrix.max(initial=0))))
    size = min(13.0, 0.45 * cell, 1.5 * cell / max(digits, 1))
    for (row, column), count in np.ndenumerate(matrix):
        part = float(share[row, column])
        right = row == column
        depth = part if right else math.sqrt(part)
        corner, colour = (column - 0.47, row - 0.47), FIRST if right else SECOND
        axes.add_patch(
            Rectangle(
                corner,
                0.94,
                0.94,
                facecolor=colour if count else LINE,
                linewidth=0,
                alpha=0.12 + 0.88 * depth if count else 0.35,
            )
        )
        if count:
            axes.text(
                column,
                row,
                f"{int(count)}",
                ha="center",
                va="center_baseline",
                fontsize=size,
                color=PAPER if depth > 0.55 else INK,
            )
    axes.grid(visible=False)


def _paint_image(axes: Axes, matrix: Array, share: Array, cell: float) -> None:
    """Every cell one pixel, its strength in the alpha channel, so that it reads on light and dark paper."""
    image = np.zeros((*matrix.shape, 4), dtype=np.uint8)
    image[..., :3] = (224, 112, 32)
    image[..., 3] = np.where(matrix > 0, 255 * (0.3 + 0.7 * np.sqrt(share)), 0)
    diagonal = np.arange(len(matrix))
    image[diagonal, diagonal, :3] = (58, 124, 220)
    image[diagonal, diagonal, 3] = 255 * share[diagonal, diagonal]
    axes.imshow(image, interpolation="none", aspect="auto")
    axes.grid(visible=False)
    axes.spines[:].set_visible(True)


def _name_classes(axes: Axes, number: int, *, flat: bool) -> None:
    places = list(range(0, number, 1 if number <= 40 else math.ceil(number / 25)))
    words = [label(i) for i in places]
    axes.set(xlim=(-0.5, number - 0.5), ylim=(number - 0.5, -0.5))
    axes.xaxis.tick_top()
    axes.xaxis.set_label_position("top")
    turned: Any = {} if flat else {"rotation": 45, "rotation_mode": "anchor", "ha": "left", "va": "baseline"}
    axes.set_xticks(places, words, **turned)
    axes.set_yticks(places, words)
    axes.spines[["top", "bottom"]].set_visible(number > MOST_WRITTEN)
    axes.figure.text(0.012, 0.99, "truth ↓\u00a0\u00a0\u00a0answer →", color=SOFT, va="top")
