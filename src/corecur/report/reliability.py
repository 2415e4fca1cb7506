"""How far a classifier's probabilities can be believed: the reliability plot, and its section of a report.

N samples, M bins.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from corecur.engine.calibration import Bins
from corecur.report.charts import WIDTH, headline, percent, place, wilson
from corecur.report.page import Block, Columns, Figure, Rows, Section, Text
from corecur.report.svg import FIRST, SECOND, SOFT, draw

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Drawing

Array = NDArray[Any]
_BARS = 20


@dataclass(frozen=True)
class Reliability:
    """What the calibration section shows: the confidences (N,) of the test answers, which are right, and figures.

    ``figures`` is what ``Evaluation.calibration`` holds; ``before`` are the bins before a temperature was applied, and
    ``fitted`` says in words what was fitted on which samples. ``noun`` and ``answer`` are what people call a sample and
    the answer to one.
    """

    confidences: Array
    bins: Bins
    figures: dict[str, Any]
    before: Bins | None = None
    fitted: str = ""
    noun: str = "samples"
    answer: str = "label"


def trust(bins: Bins, before: Bins | None) -> str:
    """How far probabilities can be believed, in words; ``before`` is without their temperature.

    >>> from corecur.engine.calibration import calibration_bins
    >>> trust(calibration_bins(np.full(100, 0.9), np.arange(100) < 90), None)[:38]
    'probabilities: off by 0.0 % on average'
    """
    low, high = (percent(end, 1) for end in bins.interval)
    was = "" if before is None else f"; {percent(before.error)} before their temperature"
    return (
        f"probabilities: off by {percent(bins.error)} on average (expected calibration error, "
        f"95 % interval {low} to {high}{was})"
    )


def calibration_section(found: Reliability | None) -> Section:
    """The section of a report: the plot, and error, Brier score and likelihood before and after.

    >>> calibration_section(None).title
    'Calibration'
    """
    if found is None:
        return Section("Calibration", [Text("There is no test set to hold the probabilities against.")])
    now, before = found.figures, found.figures["before"]
    header = ["", "now"] + (["before"] if before else [])
    columns = [now] + ([before] if before else [])
    low_high = [" to ".join(percent(end, 2) for end in column["ece_interval"]) for column in columns]
    table = Rows(
        header,
        [
            ["expected calibration error", *(percent(column["ece"], 2) for column in columns)],
            ["its 95 % interval", *low_high],
            ["Brier score", *(f"{column['brier']:.4f}" for column in columns)],
            ["negative log-likelihood", *(f"{column['nll']:.4f}" for column in columns)],
        ],
    )
    fitted = found.fitted[:1].upper() + found.fitted[1:]
    blocks: list[Block] = [Text(f"{fitted}.")] if fitted else []
    note = (
        f"All figures are of the test {found.noun}, in bins of equally many answers. "
        f"No {found.answer} changes with a temperature."
    )
    return Section("Calibration", [*blocks, Columns([reliability(found), table])], note=note)


def reliability(found: Reliability) -> Figure:
    """Confidences set against the share of right answers, in bins of equally many, and how many there are of each."""
    bins, before = found.bins, found.before
    low, high = wilson(bins.right, bins.counts.astype(float))
    heights, _ = np.histogram(found.confidences, bins=_BARS, range=(0, 1))

    def paint(figure: Drawing) -> None:
        axes = place(figure, left=46, top=32, right=12, bottom=110)
        axes.plot([0, 1], [0, 1], color=SOFT, linewidth=1, linestyle=(0, (4, 4)))
        if before is not None:
            axes.plot(before.said, before.right, "o", color=SECOND, markersize=5.5, fillstyle="none", label="before")
        axes.vlines(bins.said, low, high, colors=FIRST, linewidth=5, alpha=0.3)
        axes.plot(bins.said, bins.right, "o", color=FIRST, markersize=5.5, label="given")
        axes.set(xlim=(0, 1.02), ylim=(0, 1.03), xticks=[])
        headline(figure, "Accuracy by confidence")
        axes.yaxis.set_major_formatter(lambda value, _: f"{100 * value:.0f} %")
        if before is not None:
            axes.legend(loc="lower right")
        below = place(figure, left=46, top=258, right=12, bottom=26)
        below.bar((np.arange(_BARS) + 0.5) / _BARS, heights, width=0.8 / _BARS, color=FIRST, alpha=0.6)
        below.set(xlim=(0, 1.02))
        below.locator_params(axis="y", nbins=2, integer=True)
        below.yaxis.set_major_formatter(lambda value, _: f"{value:.0f}" if value else "")
        below.margins(y=0.15)
        figure.text(0, 80 / 330, found.noun.capitalize(), color=SOFT, va="bottom")
        below.xaxis.set_major_formatter(lambda value, _: f"{100 * value:.0f} %")

    total = bins.counts.sum()
    sure, right = float(bins.said @ bins.counts / total), float(bins.right @ bins.counts / total)
    words = (
        f"Expected calibration error {percent(bins.error)}: the network is {percent(sure)} sure on average"
        f" and right {percent(right)} of the time."
    )
    return Figure(
        draw(paint, width=WIDTH, height=330),
        alt=f"Reliability plot. {words}",
        caption="On the dashed line the stated confidence can be taken at its word; each dot stands for "
        f"{int(bins.counts.min()):,} to {int(bins.counts.max()):,} answers. {words}",
    )
