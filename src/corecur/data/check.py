"""What is wrong or odd about labelled samples: errors before any work, findings to be told.

Shapes: N samples, K classes.
"""

from __future__ import annotations

import re
from collections.abc import Hashable, Mapping, Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from corecur.data.images import ImageSet
from corecur.errors import DataError
from corecur.finding import Finding

IMBALANCE, GRAVE_IMBALANCE = 3, 10
FEW, TINY = 20, 10
NAMED = 5
MISSING_WORDS = frozenset({"na", "n/a", "#n/a", "<na>", "nan", "nat", "null", "none", "missing"})


def refuse_classes(numbers: NDArray[np.int64], classes: Sequence[str], *, where: object, noun: str = "picture") -> None:
    """Raise DataError unless there are two classes or more with two samples each; ``numbers`` (N,) are class numbers.

    >>> refuse_classes(np.array([0, 0, 1, 1]), ("cat", "dog"), where="photos")
    """
    counts = np.bincount(numbers, minlength=len(classes))  # (K,)
    if len(numbers) == 0:
        raise DataError(f"there are no {noun}s to train on", where=where)
    if len(classes) < 2:
        raise DataError(
            "there is one class only: nothing can be told apart",
            where=where,
            got=f"{len(numbers):,} {noun}s of {classes[0]!r}",
            expected="two classes or more",
            do=f"add a class, for instance {noun}s of anything else",
        )
    lacking = [f"{classes[k]!r} ({counts[k]})" for k in np.flatnonzero(counts < 2).tolist()]
    if not lacking:
        return
    many = len(lacking) > len(classes) / 2 and len(classes) > 10
    shown = ", ".join(lacking[:NAMED]) + (" …" if len(lacking) > NAMED else "")
    raise DataError(
        f"{len(lacking):,} of {len(classes):,} classes have fewer than two samples",
        where=where,
        got=shown,
        expected="at least 2 samples of each class, better 20 or more: one to learn from, one to check",
        do=f"are these labels classes, not numbers of their own for each {noun}?"
        if many
        else "add samples or remove the class",
    )


def class_findings(numbers: NDArray[np.int64], classes: Sequence[str], *, noun: str = "picture") -> list[Finding]:
    """Sentences on classes with few samples and on imbalance.

    >>> print(*class_findings(np.repeat([0, 1], [100, 20]), ("cat", "dog")))
    Imbalance: 'cat' has 100 training pictures, 'dog' has 20.
    """
    counts = np.bincount(numbers, minlength=len(classes))  # (K,)
    findings = []
    few = [f"{classes[k]!r} ({counts[k]})" for k in np.argsort(counts, kind="stable").tolist() if counts[k] < FEW]
    if few:
        shown = ", ".join(few[:NAMED]) + (f" and {len(few) - NAMED:,} more" if len(few) > NAMED else "")
        verdict = f"Few training {noun}s, so results will be uncertain: {shown}."
        tiny = bool(counts.min() < TINY)
        remedy = "collect more of these classes, or merge them" if tiny else ""
        findings.append(Finding("few", verdict, remedy=remedy, level="warning" if tiny else "note"))
    most, least = int(counts.argmax()), int(counts.argmin())
    if counts[most] >= IMBALANCE * counts[least]:
        verdict = (
            f"Imbalance: {classes[most]!r} has {counts[most]:,} training {noun}s, "
            f"{classes[least]!r} has {counts[least]:,}."
        )
        grave = bool(counts[most] >= GRAVE_IMBALANCE * counts[least])
        remedy = "collect more of the rare classes; look at the recall of each class, not at accuracy alone"
        findings.append(Finding("imbalance", verdict, (), remedy if grave else "", "warning" if grave else "note"))
    return findings + label_findings(numbers, classes, noun=noun)


def label_findings(numbers: NDArray[np.int64], classes: Sequence[str], *, noun: str = "picture") -> list[Finding]:
    """Sentences on labels that tables write for a missing value, and on labels that are one word or number but for case
    or decimals: both are read as classes of their own.

    >>> label_findings(np.array([0, 1, 2]), ("1", "1.0", "NA"))[0].verdict
    "1 training picture is labelled 'NA', which may stand for a missing label: it is read as a class."
    """
    counts = np.bincount(numbers, minlength=len(classes))  # (K,)
    findings = []
    for number, name in enumerate(classes):
        if name.casefold() in MISSING_WORDS:
            verb = f"{noun} is" if counts[number] == 1 else f"{noun}s are"
            doubt = "which may stand for a missing label: it is read as a class"
            verdict = f"{counts[number]:,} training {verb} labelled {name!r}, {doubt}."
            findings.append(Finding("missing-label", verdict, remedy="fill these labels in, or remove the samples"))
    spellings: dict[str, list[str]] = {}
    for name in classes:
        spellings.setdefault(_plain_word(name), []).append(repr(name))
    alike = [names for names in spellings.values() if len(names) > 1]
    return findings + [
        Finding(
            "alike-classes",
            f"The classes {' and '.join(names)} differ in writing only: are they one?",
            remedy="write each class in one way",
        )
        for names in alike[:NAMED]
    ]


def _plain_word(name: str) -> str:
    """A label without what may be chance: case, and the decimals of a whole number."""
    return re.sub(r"(?<=\d)\.0+$", "", name.casefold())


def missing_findings(
    numbers: NDArray[np.int64], classes: Sequence[str], *, split: str, noun: str = "picture"
) -> list[Finding]:
    """A sentence on classes that a split has no sample of.

    >>> print(*missing_findings(np.array([0, 0]), ("cat", "dog"), split="test"))
    The test split has no picture of 'dog'.
    """
    empty = np.flatnonzero(np.bincount(numbers, minlength=len(classes)) == 0).tolist()
    missing = [repr(classes[k]) for k in empty]
    if not missing:
        return []
    shown = ", ".join(missing[:NAMED]) + (f" and {len(missing) - NAMED:,} more classes" if len(missing) > NAMED else "")
    return [Finding("missing-class", f"The {split} split has no {noun} of {shown}.")]


class Contents(Protocol):
    """Samples that can be told apart: pictures, texts, tagged sentences, series."""

    @property
    def names(self) -> tuple[str, ...]:
        """What messages call each sample."""

    def contents(self) -> Sequence[Hashable]:
        """What each sample is, without its label; equal where two samples are."""


def drawn_findings(train: Contents, held: Contents, *, split: str) -> list[Finding]:
    """A sentence on samples of a split, drawn from the training data, that have copies of themselves left in it.

    >>> import torch
    >>> pictures = ImageSet(torch.zeros(2, 4, 4, 1, dtype=torch.uint8), None, ("a", "b"))
    >>> print(*drawn_findings(pictures.take(torch.tensor([0])), pictures.take(torch.tensor([1])), split="test"))
    1 of 1 test samples is a copy of a training sample (b of a): the test result will be too good by such samples.
    """
    known = dict(zip(train.contents(), train.names, strict=True))
    pairs = [(name, known[key]) for name, key in zip(held.names, held.contents(), strict=True) if key in known]
    if not pairs:
        return []
    verb = "is a copy of a training sample (" if len(pairs) == 1 else "are copies of training samples (the first: "
    verdict = (
        f"{len(pairs):,} of {len(held.names):,} {split} samples {verb}{pairs[0][0]} of {pairs[0][1]}): the {split} "
        "result will be too good by such samples."
    )
    return [Finding("leak", verdict)]


def duplicate_findings(splits: Mapping[str, ImageSet]) -> list[Finding]:
    """Sentences on pictures that are equal pixel for pixel, within a split, across splits, and under different labels.

    >>> import torch
    >>> twice = ImageSet(torch.zeros(2, 4, 4, 1, dtype=torch.uint8), torch.tensor([0, 1]), ("a", "b"))
    >>> print(*duplicate_findings({"train": twice}), sep="\\n")
    1 train picture is an exact copy of another (b of a).
    1 train picture has a copy with another label (b of a).
    """
    findings: list[Finding] = []
    first: dict[str, dict[bytes, int]] = {}
    for split, images in splits.items():
        seen: dict[bytes, int] = {}
        copies, disputed = [], []
        leaks: dict[str, list[tuple[int, int]]] = {earlier: [] for earlier in first}
        for row, digest in enumerate(images.contents()):
            for earlier, known in first.items():
                if digest in known:
                    leaks[earlier].append((row, known[digest]))
            original = seen.setdefault(digest, row)
            if original != row:
                copies.append((row, original))
                if images.labels is not None and images.labels[row] != images.labels[original]:
                    disputed.append((row, original))
        findings += _sentence(
            copies,
            images,
            images,
            f"{split} picture",
            "an exact copy of another",
            "exact copies of others",
            kind="copies",
        )
        findings += _sentence(
            disputed,
            images,
            images,
            f"{split} picture",
            *["a copy with another label"] * 2,
            verb=("has", "have"),
            kind="disputed",
        )
        for earlier, pairs in leaks.items():
            findings += _sentence(
                pairs,
                images,
                splits[earlier],
                f"{split} picture",
                f"in the {earlier} split too",
                f"in the {earlier} split too",
                kind="leak",
            )
        first[split] = seen
    return findings


def _sentence(
    pairs: list[tuple[int, int]],
    images: ImageSet,
    others: ImageSet,
    noun: str,
    one: str,
    many: str,
    *,
    kind: str,
    verb: tuple[str, str] = ("is", "are"),
) -> list[Finding]:
    if not pairs:
        return []
    row, original = pairs[0]
    example = f"{images.names[row]} of {others.names[original]}"
    if len(pairs) == 1:
        return [Finding(kind, f"1 {noun} {verb[0]} {one} ({example}).")]
    return [Finding(kind, f"{len(pairs):,} {noun}s {verb[1]} {many} (the first: {example}).")]
