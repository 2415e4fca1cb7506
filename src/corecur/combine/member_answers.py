"""What members answer: each as a part of one network, their answers to a split, and what a soup of them is judged by.

M members, N samples (words of sentences, tokens of a text), K classes (tags), B batch, T time, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from corecur.architecture import build, describe
from corecur.combine.members import Member
from corecur.engine.calibration import nll, tempered
from corecur.errors import ConfigError
from corecur.layers.activation import Activation
from corecur.layers.crf import bio_forbids
from corecur.layers.logarithm import Logarithm
from corecur.layers.rescaling import Rescaling
from corecur.learners.entities import are_entity_tags
from corecur.learners.forecaster import Forecaster
from corecur.learners.image_classifier import ImageClassifier
from corecur.learners.learner import Learner
from corecur.learners.sequence_tagger import SequenceTagger
from corecur.learners.text_classifier import TextClassifier
from corecur.learners.text_generator import TextGenerator
from corecur.models import Model

#: A softmax can round to 0, whose logarithm is no number.
FLOOR = 1e-30
# Training samples from which the statistics of averaged weights are counted.
_COUNTED = 2048
# Of a text or of sentences, so many tokens are enough to weigh members by; a stack has weights for pairs of tags.
_WEIGHED, _STACKED = 20_000, 4_000_000


class SplitAnswers(NamedTuple):
    """Answers of M members to a split, (N, K) each in one order of the classes, its labels (N,), and its groups.

    ``groups`` (N,) numbers samples that depend on each other, the words of a sentence; None where none do.
    """

    answers: list[Tensor]
    labels: Tensor
    groups: Tensor | None = None


def copy_of(network: Model, *, name: str, description: dict[str, Any] | None = None) -> Model:
    """The same network anew, under a name, in evaluation mode on the processor; ``description`` is it, if changed.

    >>> from corecur.layers.dense import Dense
    >>> from corecur.models import Input
    >>> model = Model(x := Input((2,)), Dense(1)(x), name="a")
    >>> other = copy_of(model, name="b")
    >>> other.name, torch.equal(other.predict(torch.ones(1, 2)), model.predict(torch.ones(1, 2)))
    ('b', True)
    """
    made: Model = build((describe(network) if description is None else description) | {"name": name})
    made.load_state_dict(network.state_dict())
    return made.eval()


def answer_in(member: Member, inputs: Sequence[Any], *, name: str) -> Any:
    """The symbolic answer of a member to these inputs: calibrated probabilities, or a forecaster's quantiles."""
    learner = member.learner
    temperature = getattr(learner.preprocess, "temperature", 1.0)
    if isinstance(learner, SequenceTagger):
        description = describe(learner.network)
        chained = [layer["config"] for layer in description["layers"] if layer["kind"] == "CRF"]
        for config in chained:
            kind = "emissions" if config["answer"] == "steps" else "marginals"
            config |= {"answer": kind, "temperature": temperature}
        answer = copy_of(learner.network, name=name, description=description)(*inputs)
        if learner.crf is not None:
            return answer
        scores = answer if temperature == 1.0 else Rescaling(1 / temperature)(answer)
        return Activation("softmax")(scores)
    answer = copy_of(learner.network, name=name)(*inputs)
    if temperature == 1.0:
        return answer
    return Activation("softmax")(Rescaling(1 / temperature)(Logarithm(FLOOR)(answer)))


def split_answers(
    members: Sequence[Member], classes: tuple[str, ...], held: Any, *, stacked: bool = False
) -> SplitAnswers:
    """The members' calibrated answers to the samples of a split; of sentences, as many as what is fitted on them needs.

    Weights need few, ``stacked`` answers, with a weight for each pair of tags, more.
    """
    if isinstance(members[0].learner, SequenceTagger):
        most = _WEIGHED if not stacked else max(_WEIGHED // 10, _STACKED // len(classes) ** 2)
        if held.words > most:
            held = _some(held, max(1, len(held) * most // held.words))
        taggers: list[Any] = [member.learner for member in members]
        shares = [np.concatenate(tagger.probabilities_of(held)) for tagger in taggers]
        groups = torch.arange(len(held)).repeat_interleave(torch.tensor([len(words) for words in held.sentences]))
        answers = _ordered([torch.from_numpy(one).double() for one in shares], members, classes)
        return SplitAnswers(answers, _tag_numbers(held, classes), groups)
    given = [tempered(uncalibrated(member.learner, held), member.learner.preprocess.temperature) for member in members]
    return SplitAnswers(_ordered(given, members, classes), held.labels)


def _tag_numbers(held: Any, classes: Sequence[str]) -> Tensor:
    """The class number of every word, sentence after sentence, (N,)."""
    number = {tag: place for place, tag in enumerate(classes)}
    return torch.tensor([number[tag] for tags in held.tags for tag in tags], dtype=torch.int64)


def _ordered(answers: Sequence[Tensor], members: Sequence[Member], classes: tuple[str, ...]) -> list[Tensor]:
    """Answers (N, K) with the columns in the order of ``classes``."""
    orders = [[member.learner.classes.index(name) for name in classes] for member in members]
    return [found[:, order] for found, order in zip(answers, orders, strict=True)]


def _some(held: Any, count: int) -> Any:
    """So many samples of a split, evenly from all of it."""
    return held.take(torch.linspace(0, len(held) - 1, min(len(held), count)).long())


def chosen_shares(members: Sequence[Member], held: Any) -> Tensor:
    """What members gave each token of a text, as evenly many as weights need: probabilities (M, N) float64."""
    found = []
    writers: list[Any] = [member.learner for member in members]
    for writer in writers:
        losses = writer.losses(writer.preprocess.numbers(held.text)).double()
        kept = torch.linspace(0, len(losses) - 1, min(len(losses), _WEIGHED)).long()
        found.append(losses[kept].neg().exp())
    return torch.stack(found)


def uncalibrated(learner: Any, held: Any) -> Tensor:
    """What a classifier's network answers to the samples of a split, (N, K)."""
    samples = held
    if isinstance(learner, ImageClassifier):
        samples = held.images
    elif isinstance(learner, TextClassifier):
        samples = held.texts
    found: Tensor = learner.uncalibrated(samples)
    return found


def quantiles_of(learner: Any) -> Callable[[Tensor], Tensor]:
    """The quantiles of a forecaster as its network gives them, before intervals are widened."""

    @torch.no_grad()
    def answer(inputs: Tensor) -> Tensor:
        learner.network.eval()
        found: Tensor = learner.network(inputs.to(learner._device)).float()
        return found

    return answer


def soup_judge(learner: Learner[Any, Any, Any], data: Any) -> tuple[Callable[[], float], Callable[[], object]]:
    """The loss of a learner on the validation split, and what lets it see a part of the training split again."""
    held: Any = data.validation
    any_learner: Any = learner
    if isinstance(learner, Forecaster):
        windows: Any = learner.windows(data.train)
        rows: Any = learner.windows(held)
        some: Any = windows.windows(torch.linspace(0, windows.samples - 1, min(windows.samples, _COUNTED)).long())
        answer, middle = quantiles_of(learner), len(learner.preprocess.quantiles) // 2

        def square() -> float:
            errors = [(answer(b.inputs)[..., middle].cpu() - b.targets.cpu())
                      .square().mean() for b in rows]  # fmt: skip
            return float(torch.stack(errors).mean())

        return square, lambda: answer(some.inputs)
    if isinstance(learner, TextGenerator):
        numbers, seen = learner.preprocess.numbers(held.text), learner.preprocess.numbers(data.train.text[:_COUNTED])
        return lambda: float(learner.losses(numbers).mean()), lambda: learner.losses(seen)
    few = _some(data.train, _COUNTED)
    if isinstance(learner, SequenceTagger):
        labels = _tag_numbers(held, learner.classes)

        def of_words() -> float:
            return nll(torch.from_numpy(np.concatenate(learner.probabilities_of(held))), labels)

        return of_words, lambda: learner.tags_of(few)
    return lambda: nll(uncalibrated(any_learner, held), held.labels), lambda: uncalibrated(any_learner, few)


def bio_of(learner: Learner[Any, Any, Any], data: Any) -> tuple[str, ...] | None:
    """The tags of a tagger where they mark entities and the training split keeps to the BIO scheme; else None.

    >>> bio_of(TextGenerator(), None) is None
    True
    """
    if not isinstance(learner, SequenceTagger) or not are_entity_tags(learner.classes):
        return None
    for tags in data.train.tags:
        if any(bio_forbids(before, tag) for before, tag in zip((None, *tags), tags, strict=False)):
            return None
    return learner.classes


def check_stackable(learner: Learner[Any, Any, Any]) -> None:
    """Refuse what no linear layer can stand over (ConfigError).

    >>> check_stackable(TextGenerator())
    Traceback (most recent call last):
    ...
    corecur.errors.ConfigError: text generators cannot be stacked
      ...
    """
    if isinstance(learner, TextGenerator):
        raise ConfigError(
            "text generators cannot be stacked",
            got="a weight for every pair of tokens of every member",
            do="take --method weighted: one weight for each member",
        )
