"""Pictures to explain the answers for.

N variants, H height, W width, C channels, K classes.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from torch import Tensor

from corecur.explain.neighbours import Known
from corecur.explain.question import Question, Shown, grid_parts, log_odds
from corecur.learners.explained_class import said, wanted_class
from corecur.learners.picture_inputs import read_pictures
from corecur.learners.views import average_over_views

if TYPE_CHECKING:
    from corecur.data.images import ImageSource
    from corecur.learners.image_classifier import ImageClassifier

_VIEWS_NOTE = (
    "The answer is the average over test-time views, and so are its gradients; maps are those of the first view."
)


def image_questions(learner: ImageClassifier, source: Any, target: str | None, *, skip_bad: bool) -> Iterator[Question]:
    """A question for each picture of a source as `predict` takes it: what speaks for the class."""
    names, images = read_pictures(source, learner.preprocess.preparation, skip_bad=skip_bad)
    for name, image in zip(names, images, strict=True):
        yield image_question(learner, name, image, target)


def image_question(
    learner: ImageClassifier, name: str, image: Tensor, target: str | None = None, *, answer: Tensor | None = None
) -> Question:
    """The question for one prepared picture (H, W, C) uint8; without a target, for the class it is taken for.

    ``answer`` are its class probabilities (K,), where they are known.
    """
    network, preprocess = learner.network, learner.preprocess
    probabilities = learner.probabilities(image[None])[0] if answer is None else answer
    place = wanted_class(learner.classes, probabilities, target)
    inputs = preprocess.normalisation(image[None].to(learner._device))[0].float()  # (H, W, C)

    def score(variants: Tensor) -> Tensor:
        return log_odds(average_over_views(network, variants, preprocess.views), place)

    return Question(
        name=name,
        kind="image",
        network=network,
        score=score,
        inputs=inputs,
        baseline=inputs.new_zeros(inputs.shape),
        parts=grid_parts(*image.shape[:2]).to(inputs.device),
        target=learner.classes[place],
        answer=said(learner.classes, probabilities),
        removed="the mean of the training pictures",
        shown=Shown(picture=image.cpu().numpy()),
        notes=() if preprocess.views == "one" else (_VIEWS_NOTE,),
    )


def known_pictures(learner: ImageClassifier, data: ImageSource, most: int) -> list[Known]:
    """Training pictures to look for neighbours in, at even distances through the source."""
    train = data.train
    rows = list(range(0, len(train), max(1, -(-len(train) // most))))
    answers = learner.probabilities(train.images[rows])
    labels = [""] * len(train) if train.labels is None else [data.classes[k] for k in train.labels.tolist()]
    return [
        Known(image_question(learner, train.names[row], train.images[row], answer=answer), labels[row])
        for row, answer in zip(rows, answers, strict=True)
    ]


def held_out_pictures(learner: ImageClassifier, data: ImageSource) -> Iterator[Question]:
    """Test pictures for the report."""
    held = data.test or data.train
    for name, image in zip(held.names, held.images, strict=True):
        yield image_question(learner, name, image)
