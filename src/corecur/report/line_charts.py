"""Small drawings of series: a line a channel, and behind it, in colour, what each step says.

Shapes: T time, C channels.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from corecur.report.page import escape
from corecur.report.svg import shorten

Array = NDArray[Any]
#: Channels that one drawing has room for.
MOST_CHANNELS = 6
_EDGE = 3.0
_NAMES = 74.0  # room for the names of channels
_BANDS = 120  # pieces that a coloured background is made of


def line_chart(
    series: Array,
    *,
    longest: int | None = None,
    limits: Array | None = None,
    speaks: Array | None = None,
    channels: Sequence[str] = (),
    size: tuple[float, float] = (200.0, 72.0),
) -> str:
    """A series (T, C) as an ``<svg …>`` element: each of its first channels on a scale of its own, one below the other.

    ``size`` is the width and the height of one channel in CSS pixels; several channels share twice the height.
    ``limits`` (C, 2) are the least and the greatest value of each scale, by default the series' own.

    ``longest`` is the length that would fill the width, so that drawings side by side share their scale of time.
    ``speaks`` (T,) colours the background: blue where it is above 0, orange below. ``channels`` are written at the
    left where they are given and several.

    >>> line_chart(np.zeros((5, 1)))[:5], line_chart(np.zeros((5, 9))).count("<polyline")
    ('<svg ', 6)
    """
    shown = series[:, :MOST_CHANNELS]
    steps, count = shown.shape
    full, tall = size
    named = count > 1 and len(channels) >= count
    left = _NAMES if named else 0.0
    width = (full - left) * min(1.0, max(steps, 2) / max(longest or steps, 2))
    row = tall if count == 1 else 2 * tall / count
    height = row * count
    ends = np.stack([shown.min(0), shown.max(0)], axis=1) if limits is None else limits  # (C, 2)
    parts = [] if speaks is None else [_background(speaks, left, width, height)]
    for place in range(count):
        low, high = ends[place].tolist()
        points = _points(shown[:, place], low, high, (left, width, place * row + _EDGE, row - 2 * _EDGE))
        parts.append(f'<polyline points="{points}" fill="none" stroke-width="1.2" style="stroke: var(--ink)"/>')
        if named:
            middle, style = place * row + row / 2 + 3, "fill: var(--soft); font-size: 9px"
            parts.append(f'<text x="0" y="{middle:.1f}" style="{style}">{escape(shorten(channels[place], 12))}</text>')
    box = f'width="{full:.0f}" height="{height:.0f}" viewBox="0 0 {full:.0f} {height:.0f}"'
    return f"<svg {box}>{''.join(parts)}</svg>"


def forecasts_chart(
    past: Array, truth: Array, forecasts: Sequence[Array], *, size: tuple[float, float] = (420.0, 130.0)
) -> str:
    """The end of a past (L,), the values that came (H,), and what one or two models said of them (H,), as an ``<svg>``.

    >>> forecasts_chart(np.zeros(8), np.ones(4), [np.ones(4), np.zeros(4)]).count("<polyline")
    4
    """
    full, height = size
    low, high = (float(end) for end in (min(map(np.min, (past, truth, *forecasts))), max(map(np.max, (past, truth,
                 *forecasts)))))  # fmt: skip
    step = full / (len(past) + len(truth) - 1)
    start = step * (len(past) - 1)
    ahead = (start, full - start, _EDGE, height - 2 * _EDGE)
    lines = [(past, (0.0, start, _EDGE, height - 2 * _EDGE), "var(--soft)", "")]
    lines.append((np.concatenate([past[-1:], truth]), ahead, "var(--ink)", ""))
    for said, colour, dashes in zip(forecasts, ("var(--first)", "var(--second)"), ("", "5 3"), strict=False):
        lines.append((said, (start + step, full - start - step, _EDGE, height - 2 * _EDGE), colour, dashes))
    parts = [f'<line x1="{start:.1f}" x2="{start:.1f}" y1="0" y2="{height:.0f}" style="stroke: var(--line)"/>']
    for values, box, colour, dashes in lines:
        dashed = f' stroke-dasharray="{dashes}"' if dashes else ""
        points = _points(values, low, high, box)
        parts.append(f'<polyline points="{points}" fill="none" stroke-width="1.5"{dashed} style="stroke: {colour}"/>')
    return f'<svg width="{full:.0f}" height="{height:.0f}" viewBox="0 0 {full:.0f} {height:.0f}">{"".join(parts)}</svg>'


def _points(values: Array, low: float, high: float, box: tuple[float, float, float, float]) -> str:
    """The corners of a line in a box (left, width, top, height).

    Of a long series, the least and the greatest value of each column of pixels.
    """
    left, width, top, height = box
    place = np.linspace(0, width, len(values)) if len(values) > 1 else np.array([0.0])
    if len(values) > 2 * width >= 2:
        pieces = np.array_split(np.arange(len(values)), max(1, int(width)))
        kept = np.array([sorted((piece[values[piece].argmin()], piece[values[piece].argmax()])) for piece in pieces])
        place, values = place[kept.ravel()], values[kept.ravel()]
    if len(values) == 1:  # one step is a short level line
        place, values = np.array([0.0, 4.0]), np.repeat(values, 2)
    share = ((values - low) / (high - low)).clip(0, 1) if high > low else np.full(len(values), 0.5)
    heights = top + (1 - share) * height
    return " ".join(f"{left + x:.1f},{y:.1f}" for x, y in zip(place, heights, strict=True))


def _background(speaks: Array, left: float, width: float, height: float) -> str:
    """Bands behind the line, the stronger, the more a step says."""
    pieces = np.array_split(np.asarray(speaks, dtype=float), min(_BANDS, len(speaks)))
    means = np.array([piece.mean() for piece in pieces])
    most = float(np.abs(means).max())
    strength = means / most if most > 0 else means
    wide = width / len(means)
    bands = []
    for number, value in enumerate(strength.tolist()):
        if abs(value) > 0.04:
            colour = "--first" if value > 0 else "--second"
            bands.append(
                f'<rect x="{left + number * wide:.2f}" y="0" width="{wide:.2f}" height="{height:.0f}" '
                f'style="fill: var({colour}); fill-opacity: {0.55 * abs(value):.2f}"/>'
            )
    return f'<g shape-rendering="crispEdges">{"".join(bands)}</g>'  # no seams between neighbours
