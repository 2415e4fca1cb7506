"""What a kind of source hands over before pictures become samples, and how labels become class numbers.

Shapes: N samples, H height, W width, C channels.
"""

from __future__ import annotations

import os
import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from corecur.errors import DataError, nearest
from corecur.finding import Finding

SPLITS = ("train", "validation", "test")
SPLIT_WORDS = {
    "train": "train",
    "training": "train",
    "dev": "validation",
    "val": "validation",
    "valid": "validation",
    "validation": "validation",
    "test": "test",
    "testing": "test",
}


@dataclass(frozen=True)
class Part:
    """One split as the source holds it: files not yet decoded or an array, labels as written there, a name for each.

    An array of pictures is (N, H, W, C); ``labels`` is (N,) of int64 or text.
    """

    pictures: Sequence[Path] | NDArray[Any]
    labels: NDArray[Any]
    names: Sequence[str]

    def __len__(self) -> int:
        return len(self.names)


@dataclass(frozen=True)
class Gathered:
    """A source, looked through: its splits, the order of its classes where the source fixes one, and oddities."""

    kind: str
    parts: dict[str, Part]
    classes: tuple[str, ...] | None = None
    findings: tuple[Finding, ...] = ()
    bad: tuple[tuple[Path, str], ...] = ()

    def with_part(self, split: str, part: Part) -> Gathered:
        """The same with another split."""
        return replace(self, parts={**self.parts, split: part})


def natural_key(name: str) -> tuple[tuple[int, int, str], ...]:
    """Sort key of names as people count: ``img2`` before ``img10``.

    >>> sorted(["10", "9", "b", "A"], key=natural_key)
    ['9', '10', 'A', 'b']
    """
    pieces = re.findall(r"[0-9]+|[^0-9]+", name)
    folded = ((0, int(p), "") if p[0] in "0123456789" else (1, 0, p.casefold()) for p in pieces)
    return (*folded, (2, 0, name))


def one_spelling(name: str) -> str:
    """A name in Unicode's composed form (some systems write é in two characters), undecodable bytes replaced.

    >>> one_spelling("e\\u0301") == "\\u00e9"
    True
    """
    return unicodedata.normalize("NFC", os.fsencode(name).decode("utf-8", errors="replace"))


def classes_of(gathered: Gathered) -> tuple[str, ...]:
    """Class names: the source's own order, or those of the training labels in natural order.

    >>> classes_of(Gathered("arrays", {"train": Part([], np.array([10, 9, 10]), ["a", "b", "c"])}))
    ('9', '10')
    """
    if gathered.classes is not None:
        return gathered.classes
    return tuple(sorted({str(label) for label in np.unique(gathered.parts["train"].labels)}, key=natural_key))


def class_numbers(labels: NDArray[Any], classes: Sequence[str], *, where: str) -> NDArray[np.int64]:
    """The number of each label (N,) in ``classes``; raises DataError for a label that is no class.

    >>> class_numbers(np.array(["dog", "cat", "dog"]), ("cat", "dog"), where="test").tolist()
    [1, 0, 1]
    """
    number_of = {name: number for number, name in enumerate(classes)}
    distinct, positions = np.unique(labels, return_inverse=True)
    unknown = [str(label) for label in distinct if str(label) not in number_of]
    if unknown:
        guess = nearest(unknown[0], classes)
        raise DataError(
            "a label is not among the classes of the training split",
            where=where,
            got=", ".join(unknown[:5]) + (" …" if len(unknown) > 5 else ""),
            expected="one of " + ", ".join(classes[:20]) + (" …" if len(classes) > 20 else ""),
            do=f"did you mean {guess!r}?" if guess else "remove these samples, or add the class to the training split",
        )
    numbers = np.array([number_of[str(label)] for label in distinct], dtype=np.int64)  # (distinct,)
    return numbers[positions] if len(labels) else np.zeros(0, dtype=np.int64)
