"""Labelled texts in memory.

Shapes: N samples.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from corecur.errors import DataError
from corecur.finding import Finding


@dataclass(frozen=True)
class TextSet:
    """Texts of one split, class numbers (N,) int64 or None, and where each text came from.

    >>> import torch
    >>> texts = TextSet(("good", "bad"), torch.tensor([1, 0]), ("a.csv:2", "a.csv:3"))
    >>> len(texts), texts.take(torch.tensor([1])).texts
    (2, ('bad',))
    """

    texts: tuple[str, ...]
    labels: Tensor | None
    names: tuple[str, ...]

    def __post_init__(self) -> None:
        counts = {len(self.texts), len(self.names), *(() if self.labels is None else (len(self.labels),))}
        if len(counts) > 1:
            raise DataError("texts, labels and names differ in number", got=sorted(counts))

    def __len__(self) -> int:
        return len(self.texts)

    def contents(self) -> list[str]:
        """Each text without the spaces at its ends."""
        return [text.strip() for text in self.texts]

    def take(self, index: Tensor) -> TextSet:
        """The samples at ``index`` (M,) int64, in that order."""
        rows = index.tolist()
        labels = None if self.labels is None else self.labels[index]
        return TextSet(tuple(self.texts[row] for row in rows), labels, tuple(self.names[row] for row in rows))


@dataclass(frozen=True)
class TextSource:
    """Everything a source of labelled texts holds, with what is odd about it in ``findings``.

    ``classes[k]`` is the name of class number k. A split the source does not have is None.

    >>> import torch
    >>> train = TextSet(("good", "bad"), torch.tensor([1, 0]), ("a", "b"))
    >>> TextSource("list", "python", ("no", "yes"), train, None, None, ()).classes[1]
    'yes'
    """

    origin: str
    kind: str
    classes: tuple[str, ...]
    train: TextSet
    validation: TextSet | None
    test: TextSet | None
    findings: tuple[Finding, ...]
