"""Labels that are probably wrong, by folds that each are judged by a network that learned from the others."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from corecur.data.quality.wrong_labels import wrong_label_findings
from corecur.data.splits import split_in_folds
from corecur.errors import ConfigError, DataError
from corecur.finding import Finding
from corecur.learners.learner import Learner
from corecur.learners.outcome import Tell, silence
from corecur.learners.sequence_tagger import SequenceTagger
from corecur.learners.tag_doubts import TRUSTED, rightness, wrong_tag_findings
from corecur.learners.tasks import TASKS

_SHORTER = 3  # a fold is trained for a third of the usual epochs
_LABELLED = ("image-classification", "text-classification", "series-classification", "sequence-tagging")


def label_findings(
    source: Any,
    *,
    task: str,
    folds: int = 4,
    epochs: int | None = None,
    seed: int = 0,
    threads: int | None = None,
    tell: Tell = silence,
) -> list[Finding]:
    """Train a short while on all folds but one, ask about that one, and so on; and compare with the labels.

    Of the training data of a source; tags are judged word by word. ConfigError for tasks whose samples have no label
    of their own.
    """
    if task not in _LABELLED:
        raise ConfigError("samples of this task have no label of their own", got=task, expected=", ".join(_LABELLED))
    kind = TASKS[task].learner
    settings: dict[str, Any] = {"seed": seed, "threads": threads}
    data = kind(**settings).read(source, skip_bad=True, validation=0, test=0)
    whole = data.train
    settings["epochs"] = max(2, kind(**settings).choose(data).epochs // _SHORTER) if epochs is None else epochs
    if task == "sequence-tagging":
        return _wrong_tags(data, split_in_folds(torch.zeros(len(whole)), folds, seed=seed), settings, tell)
    parts = _folds(whole.labels, folds, seed)
    probabilities = torch.zeros(len(whole), len(data.classes))
    for held, _, test in _each_fold(kind, data, parts, settings, tell):
        probabilities[held] = test.probabilities
    found: list[Finding] = wrong_label_findings(
        probabilities.double().numpy(), whole.labels.numpy(), whole.names, data.classes, split="training"
    )
    return found


def _each_fold(
    kind: type[Learner[Any, Any, Any]], data: Any, parts: Sequence[Tensor], settings: Mapping[str, Any], tell: Tell
) -> Iterator[tuple[Tensor, Any, Any]]:
    """The rows of each fold, a learner that learned from all others, and its test on them."""
    for number, held in enumerate(parts, 1):
        rest = torch.cat([part for part in parts if part is not held]).sort().values
        fold = dataclasses.replace(data, train=data.train.take(rest), validation=None, test=data.train.take(held))
        learner = kind(**settings)
        test: Any = learner.fit(fold).test  # every fold has one
        tell(f"fold {number} of {len(parts)}: {test.sentence()}")
        yield held, learner, test


def _wrong_tags(data: Any, parts: Sequence[Tensor], settings: Mapping[str, Any], tell: Tell) -> list[Finding]:
    """The same for tags; of folds that are tagged poorly nothing is said but that."""
    findings, doubted = [], []
    found = [np.zeros((0, len(data.classes)), np.float32)] * len(data.train)
    for held, tagger, test in _each_fold(SequenceTagger, data, parts, settings, tell):
        if rightness(test) < TRUSTED:
            doubted.append(rightness(test))
            continue
        for row, likely in zip(held.tolist(), tagger.probabilities_of(data.train.take(held)), strict=True):
            found[row] = likely
    if doubted:
        verdict = f"The tags of {len(doubted)} of {len(parts)} folds were not doubted: too few are answered rightly."
        evidence = tuple(f"{score:.3f}, at least {TRUSTED:g} is needed" for score in doubted)
        findings.append(Finding("not-doubted", verdict, evidence, "train longer with --epochs", "note"))
    asked = torch.tensor([row for row, likely in enumerate(found) if len(likely)], dtype=torch.int64)
    likely = [found[row] for row in asked.tolist()]
    return [*findings, *wrong_tag_findings(likely, data.train.take(asked), data.classes, split="training")]


def _folds(labels: Tensor, folds: int, seed: int) -> list[Tensor]:
    """Rows of each fold, class by class in turn; DataError where a class has fewer samples than there are folds."""
    least = int(torch.bincount(labels).min())
    if least < folds:
        raise DataError("a class has fewer samples than there are folds", got=least, expected=f"{folds} or more",
                        do="ask for fewer folds, or leave out such classes")  # fmt: skip
    return split_in_folds(labels, folds, seed=seed)
