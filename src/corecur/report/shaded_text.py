"""Texts whose words are shaded by how much each of them counted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from corecur.errors import ShapeError
from corecur.report.page import escape

MOST_WORDS = 90


@dataclass(frozen=True)
class ShadedText:
    """One text as words with a weight each; the more a word weighs, the stronger its colour.

    ``heading`` stands above it and ``detail`` beside the heading, in small letters. Of a long text the stretch of 90
    words that weighs most is shown. ``unknown`` says of each word whether the network did not know it; such words are
    underlined. A word of negative weight speaks against, in the other colour. ``spaced`` is False for scripts without
    spaces. Raises ShapeError where words and weights differ in number.

    >>> '<span style="--w:100%">good</span>' in ShadedText("+ → +", ["so", "good"], [0.1, 0.9]).html()
    True
    """

    heading: str
    words: Sequence[str]
    weights: Sequence[float]
    detail: str = ""
    unknown: Sequence[bool] = ()
    spaced: bool = True

    def __post_init__(self) -> None:
        if len(self.words) != len(self.weights):
            raise ShapeError("a weight for every word is needed", got=f"{len(self.words)}, {len(self.weights)}")

    def html(self) -> str:
        """The words as HTML, each with its weight as a style."""
        sizes = [abs(weight) for weight in self.weights]
        first = heaviest_stretch(sizes, MOST_WORDS)
        last = min(len(self.words), first + MOST_WORDS)
        most = max(sizes[first:last], default=0.0)
        shown = [self._word(place, most) for place in range(first, last)]
        before, after = "… " * (first > 0), " …" * (last < len(self.words))
        detail = f'<span class="detail">{escape(self.detail)}</span>' if self.detail else ""
        text = (" " if self.spaced else "").join(shown) or "(no word)"
        return (
            f'<div class="block shaded"><p class="heading">{escape(self.heading)}{detail}</p>'
            f"<p>{before}{text}{after}</p></div>"
        )

    def _word(self, place: int, most: float) -> str:
        weight = self.weights[place]
        share = round(100 * abs(weight) / most) if most > 0 else 0
        unknown = place < len(self.unknown) and self.unknown[place]
        kinds = ["unknown"] * unknown + ["against"] * (weight < 0)
        kind = f' class="{" ".join(kinds)}"' if kinds else ""
        return f'<span{kind} style="--w:{share}%">{escape(self.words[place])}</span>'


def heaviest_stretch(weights: Sequence[float], most: int) -> int:
    """Where the ``most`` neighbouring weights begin that have the largest sum, the first of equals.

    >>> heaviest_stretch([0.0, 0.1, 0.5, 0.4], 2), heaviest_stretch([0.5, 0.5], 9)
    (2, 0)
    """
    best, best_sum, running = 0, float("-inf"), 0.0
    for place, weight in enumerate(weights):
        running += weight - (weights[place - most] if place >= most else 0.0)
        first = max(0, place + 1 - most)
        if place + 1 >= min(most, len(weights)) and running > best_sum + 1e-12:
            best, best_sum = first, running
    return best
