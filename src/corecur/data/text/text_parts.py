"""What a kind of source hands over before texts become samples."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class TextPart:
    """One split as the source holds it: texts, labels as written there (None where there are none), a name for each.

    >>> len(TextPart(["good"], ["1"], ["a.csv:2"]))
    1
    """

    texts: list[str]
    labels: list[str] | None
    names: list[str]

    def __len__(self) -> int:
        return len(self.texts)


@dataclass(frozen=True)
class GatheredTexts:
    """A source, looked through: its kind, its splits, and the order of its classes where the source fixes one.

    >>> GatheredTexts("lines", {"train": TextPart([], [], [])}).kind
    'lines'
    """

    kind: str
    parts: dict[str, TextPart] = field(default_factory=dict)
    classes: tuple[str, ...] | None = None
