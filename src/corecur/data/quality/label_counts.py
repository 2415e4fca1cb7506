"""Classes that are missing, tiny, unknown or far more frequent than others, in any labelled source.

Shapes: N samples.
"""

from __future__ import annotations

import numpy as np

from corecur.data.check import class_findings, missing_findings, refuse_classes
from corecur.data.gathered import natural_key
from corecur.data.quality.repeats import Listed, class_counts, lines, refused
from corecur.errors import DataError
from corecur.finding import Finding


def label_count_findings(listed: Listed) -> list[Finding]:
    """What is said of the labels of some samples.

    >>> listed = Listed([*"abcd"], ["train"] * 3 + ["test"], ["x", "y", "y", "z"])
    >>> [found.kind for found in label_count_findings(listed)]
    ['too-few', 'few', 'unknown-class', 'missing-class']
    """
    if listed.labels is None:
        return []
    counts = class_counts(listed)
    train = counts.get("train", {})
    classes = sorted((label for label, count in train.items() if count), key=natural_key)
    if not classes:
        return []
    number = {label: place for place, label in enumerate(classes)}
    findings = []
    numbers = np.array([number[label] for label, split in zip(listed.labels, listed.splits, strict=True)
                        if split == "train"])  # fmt: skip
    noun = "sample" if listed.plural else listed.noun
    try:
        refuse_classes(numbers, classes, where=None, noun=noun)
    except DataError as error:
        findings.append(refused(error, "too-few"))
    findings += class_findings(numbers, classes, noun=noun)
    for split, found in counts.items():
        if split == "train":
            continue
        strange = {label: count for label, count in found.items() if count and label not in number}
        if strange:
            verdict = f"The {split} split has classes that the training data have not."
            evidence = lines(f"{label!r} ({count:,})" for label, count in strange.items())
            remedy = "correct these labels, or add such samples to the training data"
            findings.append(Finding("unknown-class", verdict, evidence, remedy, "problem"))
        held = [number[label] for label, where in zip(listed.labels, listed.splits, strict=True)
                if where == split and label in number]  # fmt: skip
        findings += missing_findings(np.array(held, dtype=np.int64), classes, split=split, noun=noun)
    return findings
