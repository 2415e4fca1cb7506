"""Labels that are probably wrong, by folds that each are judged by a network that learned from the others."""

from __future__ import annotations

import dataclasses
from typing import Any

import torch
from torch import Tensor

from corecur.data.quality.wrong_labels import wrong_label_findings
from corecur.data.splits import split_in_folds
from corecur.errors import ConfigError, DataError
from corecur.finding import Finding
from corecur.learners.outcome import Tell, silence
from corecur.learners.tasks import TASKS

_SHORTER = 3  # a fold is trained for a third of the usual epochs
_LABELLED = ("image-classification", "text-classification", "series-classification")


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

    Of the training data of a source; ConfigError for tasks whose samples have no label of their own.
    """
    if task not in _LABELLED:
        raise ConfigError("samples of this task have no label of their own", got=task, expected=", ".join(_LABELLED))
    kind = TASKS[task].learner
    settings: dict[str, Any] = {"seed": seed, "threads": threads}
    data = kind(**settings).read(source, skip_bad=True, validation=0, test=0)
    whole = data.train
    parts = _folds(whole.labels, folds, seed)
    if epochs is None:
        epochs = max(2, kind(**settings).choose(data).epochs // _SHORTER)
    probabilities = torch.zeros(len(whole), len(data.classes))
    for number, held in enumerate(parts, 1):
        rest = torch.cat([part for part in parts if part is not held]).sort().values
        fold = dataclasses.replace(data, train=whole.take(rest), validation=None, test=whole.take(held))
        result = kind(**settings, epochs=epochs).fit(fold)
        tell(f"fold {number} of {folds}: {result.test.sentence()}")
        probabilities[held] = result.test.probabilities
    found: list[Finding] = wrong_label_findings(
        probabilities.double().numpy(), whole.labels.numpy(), whole.names, data.classes, split="training"
    )
    return found


def _folds(labels: Tensor, folds: int, seed: int) -> list[Tensor]:
    """Rows of each fold, class by class in turn; DataError where a class has fewer samples than there are folds."""
    least = int(torch.bincount(labels).min())
    if least < folds:
        raise DataError("a class has fewer samples than there are folds", got=least, expected=f"{folds} or more",
                        do="ask for fewer folds, or leave out such classes")  # fmt: skip
    return split_in_folds(labels, folds, seed=seed)
