"""The section of a report on how sound a training was: findings, and gradients by layer and by time.

T time steps.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from corecur.engine.doctor.record import number
from corecur.finding import Finding
from corecur.report.forecast_charts import legend, place, title
from corecur.report.page import Block, Columns, Figure, Section, Text
from corecur.report.page import Finding as FindingBlock
from corecur.report.svg import FIRST, SECOND, draw, label, shorten

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Drawing

WIDTH, HEIGHT = 440.0, 220.0
# Lines that one drawing over time has room for, and the smallest share that is drawn.
_MOST_LINES, _LEAST = 4, 1e-12
_STYLES = ("-", (0, (4, 2)), (0, (1, 1.5)), (0, (6, 1, 1, 1)))

Rows = Sequence[Mapping[str, Any]]


def doctor_section(findings: Sequence[Finding], rows: Rows) -> Section:
    """Findings, the gravest first, or that there are none; and the drawings that they are read from.

    >>> "Nothing to complain about" in doctor_section((), []).html("part-1")
    True
    """
    blocks: list[Block] = [
        FindingBlock(found.verdict, "; ".join(found.evidence), found.remedy, found.level) for found in findings
    ]
    if all(found.level == "note" for found in findings):
        blocks.insert(0, FindingBlock("Nothing to complain about.", _looked_at(rows), level="good"))
    looks = [row for row in rows if row.get("row") == "look"]
    charts = [chart for chart in (_by_layer(looks), _by_time(looks)) if chart is not None]
    if charts:
        blocks.append(Columns(charts))
    if not looks:
        blocks.append(Text("No step was looked at."))
    return Section("Doctor", blocks, note="Whether the training was sound: gradients, activations, steps, losses.")


def _looked_at(rows: Rows) -> str:
    looks = [row for row in rows if row.get("row") == "look"]
    steps = max((int(row.get("step") or 0) for row in rows), default=0)
    return f"Looked into the network at {len(looks)} of {steps:,} steps." if looks else ""


def _by_layer(looks: Rows) -> Figure | None:
    """Norm of the gradient against that of the weights, by layer from input on, at the first and the last look."""
    found = [look for look in looks if len(look["layers"]) > 1]
    if not found:
        return None
    first, last = found[0], found[-1]
    names = [str(row["name"]) for row in last["layers"]]

    def values(look: Mapping[str, Any]) -> Any:
        ratios = [number(row["g"]) / max(number(row["w"]), 1e-30) for row in look["layers"]]
        return np.clip(np.nan_to_num(ratios, posinf=1e12), _LEAST, 1e12)

    def paint(figure: Drawing) -> None:
        axes = place(figure, left=52, top=48, right=12, bottom=26)
        for look, colour, text in ((first, SECOND, "first step"), (last, FIRST, f"step {last['step']}")):
            axes.semilogy(
                range(len(look["layers"])), values(look), marker="o", markersize=3.5, color=colour, label=text
            )
        title(figure, "Gradient by layer")
        legend(figure, axes)
        axes.set_xticks([0, len(names) - 1], [label(0), label(1)])
        first_name, last_name = axes.get_xticklabels()
        first_name.set_horizontalalignment("left")
        last_name.set_horizontalalignment("right")
        axes.set_ylim(*_limits(np.concatenate([values(first), values(last)])))

    ratios = values(last)
    words = (f"Norm of the gradient divided by that of the weights, from {names[0]} to {names[-1]}: "
             f"{ratios[0]:.2g} and {ratios[-1]:.2g} at step {last['step']}.")  # fmt: skip
    ends = [shorten(names[0], 24), shorten(names[-1], 24)]
    picture = draw(paint, width=WIDTH, height=HEIGHT, labels=ends, salt="by layer")
    return Figure(picture, alt=words, caption="Norm of the gradient over that of the weights, from input to output.")


def _by_time(looks: Rows) -> Figure | None:
    """Norm of the gradient by how many steps before the last one, of each recurrent layer, at the last look."""
    found = [look for look in looks if look["time"]]
    if not found:
        return None
    layers = found[-1]["time"][:_MOST_LINES]
    names = [shorten(str(row["name"]), 18) for row in layers]

    def shares(row: Mapping[str, Any]) -> Any:
        values = np.nan_to_num([number(value) for value in row["gradients"]], posinf=1e12)
        return np.clip(values / max(values[0], 1e-30), _LEAST, 1e12)

    def paint(figure: Drawing) -> None:
        axes = place(figure, left=52, top=48, right=12, bottom=26)
        for place_, row in enumerate(layers):
            axes.semilogy(row["distances"], shares(row), color=FIRST if place_ % 2 == 0 else SECOND,
                          linestyle=_STYLES[place_ % len(_STYLES)], label=label(place_))  # fmt: skip
        title(figure, "Gradient by time")
        legend(figure, axes)
        axes.set_ylim(*_limits(np.concatenate([shares(row) for row in layers])))

    ends = "; ".join(f"{row['name']}: {shares(row)[-1]:.2g} over {row['steps']} steps" for row in layers)
    picture = draw(paint, width=WIDTH, height=HEIGHT, labels=names, salt="by time")
    return Figure(picture, alt=f"Gradient by steps back in time. {ends}.",
                  caption="Norm of the gradient by steps back in time, the last being 1, at step "
                          f"{found[-1]['step']} of the training.")  # fmt: skip


def _limits(values: Any) -> tuple[float, float]:
    low, high = float(np.min(values)), float(np.max(values))
    return low / 3, max(high * 3, low * 30)
