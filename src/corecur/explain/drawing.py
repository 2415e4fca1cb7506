"""Explanations as PNG files: the sample and its scores, with the class, the method and the faithfulness in words.

H height, W width, T time, C channels.
"""

from __future__ import annotations

import io
import math
import os
import secrets
import textwrap
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from corecur.errors import RunError
from corecur.explain.attribution import Array, Attribution, Explanation, Look, Panel

# Blue speaks for the answer and orange against it, as in the reports.
_FOR, _AGAINST = (0.122, 0.373, 0.749), (0.761, 0.341, 0.047)
_FONTS = ("Noto Sans CJK SC", "Noto Sans CJK JP", "WenQuanYi Zen Hei", "Source Han Sans SC", "PingFang SC", "SimHei")
_DPI, _WIDTH, _WRAP = 120, 9.0, 118
_MOST_WORDS, _MOST_BARS, _MOST_CHANNELS, _MOST_PANELS, _LONGEST = 240, 15, 8, 12, 60


def write_picture(explanation: Explanation, path: Path) -> Path:
    """Draw an explanation into a PNG file, whole or not at all; RunError where it cannot be written."""
    content = picture_of(explanation)
    draft = path.with_name(f".{path.name[:100]}.{secrets.token_hex(4)}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        draft.write_bytes(content)
        os.replace(draft, path)
    except OSError as error:
        raise RunError(
            "the picture cannot be written", where=path, got=error.strerror or error,
            do="choose a place you may write to (--out)",
        ) from error  # fmt: skip
    finally:
        draft.unlink(missing_ok=True)
    return path


def picture_of(explanation: Explanation) -> bytes:
    """The explanation as the bytes of a PNG file."""
    from matplotlib import rc_context
    from matplotlib.font_manager import fontManager

    installed = {font.name for font in fontManager.ttflist}
    families = ["DejaVu Sans", *(name for name in _FONTS if name in installed)]
    with rc_context({"font.family": families, "font.size": 9, "text.parse_math": False}), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing")  # a box stands there
        figure = _look(explanation) if isinstance(explanation, Look) else DRAWN[explanation.kind](explanation)
        buffer = io.BytesIO()
        figure.savefig(buffer, format="png", dpi=_DPI, facecolor="white")
    return buffer.getvalue()


def _figure(explanation: Explanation, height: float) -> tuple[Any, float]:
    """An empty figure with its title above and its remarks below, and the share of its height that remarks take."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    remarks: list[str] = []
    if isinstance(explanation, Attribution):
        remarks.append(legend(explanation))
        if explanation.faithfulness is not None:
            remarks.append(explanation.faithfulness.sentence())
    remarks += explanation.notes
    lines = [line for remark in remarks for line in textwrap.wrap(_plain(remark), _WRAP)]
    below = 0.19 * len(lines) + 0.25
    whole = height + below + 0.6
    figure = Figure(figsize=(_WIDTH, whole))
    FigureCanvasAgg(figure)
    head = f"{_cut(_plain(explanation.name))}: {_plain(explanation.heading())}"
    figure.text(0.02, 1 - 0.12 / whole, "\n".join(textwrap.wrap(head, 105)[:2]), va="top", fontsize=10.5, weight="bold")
    figure.text(0.02, 0.1 / whole, "\n".join(lines), va="bottom", fontsize=8, color="#444444")
    figure.subplots_adjust(bottom=(below + 0.1) / whole, top=1 - 0.6 / whole, left=0.08, right=0.96)
    return figure, (below + 0.1) / whole


def legend(found: Attribution) -> str:
    """What the colours of an explanation mean.

    >>> from corecur.explain.question import Shown
    >>> scores = np.zeros(1)
    >>> one = Attribution("a", "text", "gradient", "+", "", scores, scores.astype(int), False, "", Shown(), 0.1)
    >>> legend(one)
    'the stronger the blue, the more it matters for +; 0.10 s'
    """
    time = f"{found.seconds:.2f} s"
    if not found.signed:
        return f"the stronger the blue, the more it matters for {found.target}; {time}"
    return f"blue raises the score of {found.target}, orange lowers it; taken away means {found.removed}; {time}"


def _image(found: Attribution) -> Any:
    """The picture, the scores, and the scores over the picture in grey."""
    pixels = found.shown.picture
    if pixels is None:
        pixels = np.zeros((*found.scores.shape, 1), np.uint8)
    height, width = pixels.shape[:2]
    tall = min(6.0, max(1.6, 2.7 * height / width))
    figure, _ = _figure(found, tall)
    axes = figure.subplots(1, 3, gridspec_kw={"width_ratios": (1, 1.17, 1)})
    grey = pixels.mean(2) / 255
    axes[0].imshow(pixels[..., 0] if pixels.shape[2] == 1 else pixels[..., :3], cmap="gray", vmin=0, vmax=255)
    axes[0].set_title("the picture", fontsize=9)
    most = float(np.abs(found.scores).max()) or 1.0
    shown = axes[1].imshow(found.scores, cmap=_colours(), vmin=-most, vmax=most)
    axes[1].set_title("scores" if found.signed else "how much it matters", fontsize=9)
    bar = figure.colorbar(shown, ax=axes[1], fraction=0.046, pad=0.03)
    bar.ax.tick_params(labelsize=7)
    if not found.signed:
        bar.ax.set_ylim(0, most)
    axes[2].imshow(over_picture(grey, found.scores / most))
    axes[2].set_title("both", fontsize=9)
    for axis in axes:
        axis.set_xticks([])
        axis.set_yticks([])
    return figure


def over_picture(grey: Array, scores: Array) -> Array:
    """Scores (H, W) of -1 to 1 as colour over a grey picture of 0 to 1, made lighter: (H, W, 3).

    >>> over_picture(np.zeros((2, 2)), np.zeros((2, 2)))[0, 0].tolist()
    [0.35, 0.35, 0.35]
    """
    paper = (0.35 + 0.65 * grey)[..., None].repeat(3, 2)
    colour = np.where((scores > 0)[..., None], np.array(_FOR), np.array(_AGAINST))
    share = 0.8 * np.abs(scores)[..., None]
    mixed: Array = (1 - share) * paper + share * colour
    return mixed


def _text(found: Attribution) -> Any:
    """The words, shaded, and bars of those that matter most."""
    words, scores = found.shown.words, found.scores
    first = 0
    if len(words) > _MOST_WORDS:
        middle = int(np.abs(scores).argmax())
        first = max(0, min(len(words) - _MOST_WORDS, middle - _MOST_WORDS // 2))
        words, scores = words[first : first + _MOST_WORDS], scores[first : first + _MOST_WORDS]
    lines = _lines([_plain(word) for word in words], 92 if found.shown.spaced else 110, found.shown.spaced)
    rows = sum(1 for _ in lines)
    top = [(name, value) for name, value in found.top(_MOST_BARS)]
    tall, bars = 0.26 * rows + 0.15, 0.2 * len(top) + 0.45
    figure, bottom = _figure(found, tall + bars)
    whole = figure.get_size_inches()[1]
    most = float(np.abs(found.scores).max()) or 1.0
    top_edge = 1 - 0.62 / whole
    renderer, place = figure.canvas.get_renderer(), 0
    for number, line in enumerate(lines):
        x = 0.02
        for word in line:
            share = float(scores[place]) / most
            red, green, blue = _FOR if share > 0 else _AGAINST
            box = {"facecolor": (red, green, blue, 0.6 * abs(share)), "edgecolor": "none", "pad": 1.5}
            drawn = figure.text(x, top_edge - (0.26 * number + 0.13) / whole, word, va="center", fontsize=10, bbox=box)
            wide = drawn.get_window_extent(renderer).width / figure.bbox.width
            x += wide + (0.008 if found.shown.spaced else 0.003)
            place += 1
    axis = figure.add_axes((0.24, bottom + 0.3 / whole, 0.7, max(0.02, (bars - 0.5) / whole)))
    values = [value for _, value in reversed(top)]
    axis.barh(range(len(top)), values, color=[_FOR if value > 0 else _AGAINST for value in values], height=0.7)
    axis.set_yticks(range(len(top)), [_cut(_plain(name), 26) for name, _ in reversed(top)], fontsize=8)
    axis.axvline(0, color="#888888", linewidth=0.6)
    axis.tick_params(axis="x", labelsize=7)
    for side in ("top", "right"):
        axis.spines[side].set_visible(False)
    return figure


def _lines(words: Sequence[str], wide: int, spaced: bool) -> list[list[str]]:
    """Words in lines of about so many letters; a wide character counts as two."""
    lines: list[list[str]] = [[]]
    used = 0
    for word in words:
        length = sum(2 if ord(letter) > 0x2E80 else 1 for letter in word) + spaced
        if used + length > wide and lines[-1]:
            lines.append([])
            used = 0
        lines[-1].append(word)
        used += length
    return lines


def _series(found: Attribution) -> Any:
    """A line a channel over its scores as a background, the channels with the largest scores first."""
    values, scores = found.shown.values, found.scores
    if values is None:
        values = np.zeros(scores.shape)
    order = np.argsort(-np.abs(scores).sum(0), kind="stable")[:_MOST_CHANNELS]
    tall = 1.9 if len(order) == 1 else 1.1
    figure, _ = _figure(found, tall * len(order) + 0.5)
    most = float(np.abs(scores).max()) or 1.0
    axes = figure.subplots(len(order), 1, sharex=True, squeeze=False)[:, 0]
    for axis, channel in zip(axes, order.tolist(), strict=True):
        line, low, high = values[:, channel], float(values[:, channel].min()), float(values[:, channel].max())
        edge = 0.08 * (high - low) or 0.5
        steps = len(line)
        box = (-0.5, steps - 0.5, low - edge, high + edge)
        axis.imshow(
            scores[None, :, channel], cmap=_colours(), vmin=-most, vmax=most, aspect="auto", extent=box,
            alpha=0.75, interpolation="nearest",
        )  # fmt: skip
        axis.plot(range(steps), line, color="black", linewidth=1.0, marker="." if steps < 4 else None)
        axis.set_xlim(-0.5, steps - 0.5)
        axis.set_ylim(low - edge, high + edge)
        axis.tick_params(labelsize=7)
        if found.shown.columns:
            axis.set_ylabel(_cut(_plain(found.shown.columns[channel]), 14), fontsize=8)
    if found.shown.rows:
        places = np.unique(np.linspace(0, len(values) - 1, min(6, len(values))).round().astype(int))
        ticks = axes[-1].set_xticks(places, [_plain(found.shown.rows[place]) for place in places], fontsize=7)
        for tick, side in zip((ticks[0], ticks[-1]), ("left", "right"), strict=True):
            tick.label1.set_horizontalalignment(side)
    else:
        axes[-1].set_xlabel("step", fontsize=8)
    return figure


def _look(found: Look) -> Any:
    """Panels one below the other, pictures side by side."""
    panels = found.panels[:_MOST_PANELS]
    side_by_side = all(panel.values is not None and not panel.across for panel in panels)
    across = min(3, len(panels)) if side_by_side else 1
    down = math.ceil(len(panels) / across)
    figure, _ = _figure(found, (2.9 if across > 1 else 4.5 if side_by_side else 1.6) * down)
    axes = figure.subplots(down, across, squeeze=False).ravel()
    for axis, panel in zip(axes, panels, strict=False):
        _panel(figure, axis, panel)
    for axis in axes[len(panels) :]:
        axis.set_visible(False)
    figure.subplots_adjust(hspace=0.75 if across == 1 else 0.3, wspace=0.25)
    return figure


def _panel(figure: Any, axis: Any, panel: Panel) -> None:
    axis.set_title("\n".join(textwrap.wrap(_plain(panel.title), 100 if panel.across else 34)[:2]), fontsize=8)
    values = panel.values
    if panel.words:
        axis.axis("off")
        axis.text(0, 0.9, "\n".join(textwrap.wrap(_plain(panel.words), 120)[:5]), va="top", fontsize=8)
    elif values is not None and panel.down == "line":
        axis.plot(values.T, linewidth=0.9)
        axis.tick_params(labelsize=7)
    elif values is not None and values.dtype == np.uint8:
        axis.imshow(values[..., 0] if values.shape[2] == 1 else values[..., :3], cmap="gray", vmin=0, vmax=255)
        axis.axis("off")
    elif values is not None:
        most = float(np.nanmax(np.abs(values))) if values.size else 1.0
        gate = panel.title.endswith("gate")
        low, high = (0.0, 1.0) if gate else (-(most or 1.0), most or 1.0)
        shown = axis.imshow(values, cmap="viridis" if gate else _colours(), vmin=low, vmax=high, aspect="auto")
        if panel.across:
            axis.set_xlabel(panel.across, fontsize=7)
            axis.set_ylabel(panel.down, fontsize=7)
            axis.tick_params(labelsize=7)
            figure.colorbar(shown, ax=axis, fraction=0.02, pad=0.01).ax.tick_params(labelsize=7)
        else:
            axis.axis("off")


def _colours() -> Any:
    """Orange, white, blue."""
    from matplotlib.colors import LinearSegmentedColormap

    return LinearSegmentedColormap.from_list("for and against", [_AGAINST, (1.0, 1.0, 1.0), _FOR])


def _plain(text: str) -> str:
    """The text on one line, without characters that a drawing cannot hold."""
    return "".join(letter if letter.isprintable() else " " for letter in text)


def _cut(text: str, longest: int = _LONGEST) -> str:
    return text if len(text) <= longest else text[: longest - 1] + "…"


DRAWN = {"image": _image, "series": _series, "text": _text}
