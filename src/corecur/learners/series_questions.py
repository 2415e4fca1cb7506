"""Series to explain the answers for, by time and channel.

N variants, T time, C channels, K classes.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from corecur.data.series.series_set import SeriesSet
from corecur.explain.neighbours import Known
from corecur.explain.question import Question, Shown, log_odds, run_parts
from corecur.learners.explained_class import said, wanted_class
from corecur.learners.series_inputs import read_inputs

if TYPE_CHECKING:
    from corecur.data.series.series_set import SeriesSource
    from corecur.learners.series_classifier import SeriesClassifier

_STEPS_AT_ONCE = 16_384


def series_questions(
    learner: SeriesClassifier, source: Any, target: str | None, *, skip_bad: bool
) -> Iterator[Question]:
    """A question for each series of a source as `predict` takes it: which steps and channels speak for the class."""
    for found in read_inputs(source, learner.preprocess, skip_bad=skip_bad):
        for row in range(len(found)):
            yield series_question(learner, found, row, target)


def series_question(
    learner: SeriesClassifier, series: SeriesSet, row: int, target: str | None = None, *, answer: Tensor | None = None
) -> Question:
    """The question for one series of a set; without a target, for the class it is taken for.

    ``answer`` are its class probabilities (K,), where they are known.
    """
    network, preparation = learner.network, learner.preprocess.preparation
    one = series.take(torch.tensor([row]))
    steps = max(1, int(one.lengths[0]))
    values = one.values[:, :steps]
    probabilities = learner.probabilities(one)[0] if answer is None else answer
    place = wanted_class(learner.classes, probabilities, target)
    inputs = learner.preprocess.scaling(values)[0].float().to(learner._device)  # (T, C)

    def score(variants: Tensor) -> Tensor:
        return log_odds(network(variants).float(), place)

    own = learner.preprocess.scaling.kind == "series"
    return Question(
        name=series.names[row] if series.names else f"series {row}",
        kind="series",
        network=network,
        score=score,
        inputs=inputs,
        baseline=torch.zeros_like(inputs),
        parts=run_parts(*inputs.shape).to(inputs.device),
        target=learner.classes[place],
        answer=said(learner.classes, probabilities),
        removed="the mean of the channel in this series" if own else "the mean of the channel in the training series",
        shown=Shown(values=values[0].numpy(), columns=tuple(preparation.channels)),
        batch=max(1, min(64, _STEPS_AT_ONCE // steps)),
    )


def known_series(learner: SeriesClassifier, data: SeriesSource, most: int) -> list[Known]:
    """Training series to look for neighbours in, at even distances through the source."""
    train = data.train
    rows = list(range(0, len(train), max(1, -(-len(train) // most))))
    answers = learner.probabilities(train.take(torch.tensor(rows)))
    labels = [""] * len(train) if train.labels is None else [data.classes[k] for k in train.labels.tolist()]
    return [
        Known(series_question(learner, train, row, answer=answer), labels[row])
        for row, answer in zip(rows, answers, strict=True)
    ]


def held_out_series(learner: SeriesClassifier, data: SeriesSource) -> Iterator[Question]:
    """Test series for the report."""
    held = data.test or data.train
    for row in range(len(held)):
        yield series_question(learner, held, row)
