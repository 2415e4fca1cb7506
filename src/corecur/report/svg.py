"""Matplotlib drawings as inline SVG that follows the page: its fonts, its light and dark colours, no ids in conflict.

Drawings use the colour names below; each is a marker that becomes a CSS variable in the SVG. Outside text never passes
through matplotlib, which would measure it with fonts that lack its characters and read ``$`` as mathematics: a drawing
says ``label(i)`` and the text is put in its place at the end.
"""

from __future__ import annotations

import hashlib
import io
import re
import unicodedata
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from corecur.report.page import escape

if TYPE_CHECKING:
    from matplotlib.figure import Figure

INK, SOFT, LINE, FIRST, SECOND, PAPER = (f"#01010{digit}" for digit in range(1, 7))
VARIABLES = {INK: "--ink", SOFT: "--soft", LINE: "--line", FIRST: "--first", SECOND: "--second", PAPER: "--paper"}
FONT_SIZE = 11.5
SETTINGS: Any = {
    "svg.fonttype": "none",
    "svg.hashsalt": "corecur",
    "font.size": FONT_SIZE,
    "axes.titlelocation": "left",
    "axes.titlecolor": INK,
    "text.color": INK,
    "axes.labelcolor": SOFT,
    "xtick.labelcolor": SOFT,
    "ytick.labelcolor": SOFT,
    "axes.edgecolor": LINE,
    "axes.linewidth": 1.0,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.spines.left": False,
    "axes.grid": True,
    "axes.grid.axis": "y",
    "axes.axisbelow": True,
    "grid.color": LINE,
    "grid.linewidth": 0.8,
    "xtick.major.size": 0,
    "ytick.major.size": 0,
    "xtick.minor.size": 0,
    "ytick.minor.size": 0,
    "lines.linewidth": 1.8,
    "legend.frameon": False,
    "legend.fontsize": FONT_SIZE - 0.5,
    "legend.labelcolor": INK,
}


def label(index: int) -> str:
    """The stand-in for the text number ``index`` of ``draw``'s ``labels``."""
    return f"label-{index}-"


def columns(text: str) -> int:
    """How many columns a text takes in a fixed-width face: two for a Chinese character, none for a combining mark.

    >>> columns("cat"), columns("猫猫")
    (3, 4)
    """
    marks = sum(unicodedata.combining(character) > 0 for character in text)
    return len(text) - marks + sum(unicodedata.east_asian_width(character) in "WF" for character in text)


def shorten(text: str, limit: int) -> str:
    """The text cut to ``limit`` columns, with an ellipsis where something is missing.

    >>> shorten("chrysanthemum", 6), shorten("cat", 6)
    ('chrys…', 'cat')
    """
    text = " ".join(text.split())
    if columns(text) <= limit:
        return text
    while text and columns(text) > limit - 1:
        text = text[:-1]
    return text + "…"


def draw(
    paint: Callable[[Figure], None], *, width: float, height: float, labels: Sequence[str] = (), salt: str = ""
) -> str:
    """Let ``paint`` draw on a figure of ``width`` × ``height`` CSS pixels and return an ``<svg …>`` element.

    The same drawing gives the same bytes; a user's matplotlib settings change nothing; no global figure is made.
    ``salt`` keeps the ids of two equal drawings on one page apart.
    """
    import matplotlib
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    buffer = io.StringIO()
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(SETTINGS)
        figure = Figure(figsize=(width / 72, height / 72), dpi=72)
        FigureCanvasSVG(figure)
        paint(figure)
        figure.savefig(
            buffer, format="svg", transparent=True, metadata=dict.fromkeys(("Date", "Creator", "Format", "Type"))
        )
    return _inline(buffer.getvalue(), width, height, labels, salt)


def _inline(source: str, width: float, height: float, labels: Sequence[str], salt: str) -> str:
    body = source[source.index(">", source.index("<svg")) + 1 :].replace("xlink:href", "href")
    body = re.sub(r"<!--.*?-->|<metadata>.*?</metadata>|<style.*?</style>", "", body, flags=re.DOTALL)
    body = re.sub(r" font-family: [^;\"]*;?", "", body)
    for marker, variable in VARIABLES.items():
        body = body.replace(marker, f"var({variable})")
    body = re.sub(r"<[^>]*>", lambda tag: _compact(tag[0]), body)
    body = _own_ids(body, salt)
    body = re.sub(r"label-(\d+)-", lambda found: escape(labels[int(found[1])]), body)
    # A drawing may shrink by a quarter on a phone; below that it scrolls, so that its words stay readable.
    style = f"min-width: {0.75 * width:.0f}px"
    size = f'width="{width:.0f}" height="{height:.0f}" viewBox="0 0 {width:g} {height:g}"'
    return f'<svg {size} style="{style}">{body.strip()}'


def _compact(tag: str) -> str:
    """A tag without line breaks and with coordinates to a hundredth of a pixel (scales keep more)."""
    if "base64" in tag:
        return tag.replace("\n", "")
    tag = re.sub(r"\s+", " ", tag)
    return re.sub(r"(\.\d\d)\d+", r"\1", tag)


def _own_ids(body: str, salt: str) -> str:
    """Drop the ids nothing refers to and make the others unique on a page of many drawings."""
    used = set(re.findall(r'url\(#([^)]+)\)|href="#([^"]+)"', body))
    names = {name for pair in used for name in pair if name}
    prefix = "d" + hashlib.sha256((salt + body).encode()).hexdigest()[:8]
    body = re.sub(r' id="([^"]+)"', lambda found: f' id="{prefix}-{found[1]}"' if found[1] in names else "", body)
    return re.sub(r'(url\(#|href="#)', rf"\g<1>{prefix}-", body)
