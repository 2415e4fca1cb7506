"""Explanations of a learner's answers: a question for each sample, whatever the task, and its explanation."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

from corecur.errors import ConfigError, unknown_name
from corecur.explain.attribution import Explanation
from corecur.explain.methods import AUTO, Effort, explain
from corecur.explain.neighbours import Known
from corecur.explain.question import Question
from corecur.learners.forecast_questions import forecast_questions, held_out_forecasts
from corecur.learners.generator_questions import generator_questions, held_out_prompts
from corecur.learners.image_questions import held_out_pictures, image_questions, known_pictures
from corecur.learners.series_questions import held_out_series, known_series, series_questions
from corecur.learners.tagger_questions import held_out_sentences, tagger_questions
from corecur.learners.text_questions import held_out_texts, known_texts, text_questions
from corecur.names import Table

#: Training samples that neighbours are looked for in, at most.
MOST_KNOWN = 1000


@dataclass(frozen=True)
class Asking:
    """How a task's answers are asked about: questions for a source, for the test samples of a training's data, and
    training samples with labels where it has them.

    >>> ASKING["text-generation"].known is None
    True
    """

    questions: Callable[..., Iterator[Question]]
    held_out: Callable[[Any, Any], Iterator[Question]]
    known: Callable[[Any, Any, int], list[Known]] | None = None


ASKING: Table[Asking] = Table(
    "task",
    {
        "forecasting": Asking(forecast_questions, held_out_forecasts),
        "image-classification": Asking(image_questions, held_out_pictures, known_pictures),
        "sequence-tagging": Asking(tagger_questions, held_out_sentences),
        "series-classification": Asking(series_questions, held_out_series, known_series),
        "text-classification": Asking(text_questions, held_out_texts, known_texts),
        "text-generation": Asking(generator_questions, held_out_prompts),
    },
)


def questions_of(learner: Any, source: Any, target: str | None = None, *, skip_bad: bool = False) -> Iterator[Question]:
    """The questions for a source as ``predict`` takes it, one by one as they are asked for."""
    return ASKING[learner.task].questions(learner, source, target, skip_bad=skip_bad)


def explain_answers(
    learner: Any,
    source: Any,
    *,
    method: str = AUTO,
    target: str | None = None,
    limit: int | None = None,
    known: Any = None,
    skip_bad: bool = False,
    **effort: Any,
) -> list[Explanation]:
    """What each answer of a learner to a source, as ``predict`` takes it, rests on; see ``docs/explanations.md``.

    ``method`` is a name of ``METHODS`` (`corecur.explain.methods`) or ``"auto"``. ``target`` is the class to explain in
    place of the answer (a tagger's word, or ``word=tag``; a forecaster's column; a generator's next token). ``known``
    is the training source, for ``"neighbours"``. ``effort`` are fields of `Effort`: ``samples``, ``steps``, ``layer``,
    ``seed``, ``check``, ``rankings``. Weights, their gradients, modes and random numbers are afterwards as they were.
    Raises ConfigError for a method or a target that is unknown or does not fit.
    """
    for name in effort:
        if name not in Effort.__dataclass_fields__:
            raise unknown_name("setting of an explanation", name, Effort.__dataclass_fields__)
    asked = islice(questions_of(learner, source, target, skip_bad=skip_bad), limit)
    spent = Effort(**effort) if known is None else Effort(**{**effort, "known": known_samples(learner, known)})
    return [explain(question, method, spent) for question in asked]


def known_samples(learner: Any, known: Any) -> Sequence[Known]:
    """Samples of a training source to look for neighbours in; ConfigError for a task whose samples have no label."""
    asking = ASKING[learner.task]
    if asking.known is None:
        raise ConfigError(
            f"training samples are of no use to explain a {learner.title}", do="leave the training source out"
        )
    data = known if isinstance(known, learner.source_type) else learner.read(known)
    return asking.known(learner, data, MOST_KNOWN)
