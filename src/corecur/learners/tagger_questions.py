"""Tags to explain: which words of the sentence make the tag of a word what it is.

N variants, T time (words), W characters of a word, K tags.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from corecur.data.text.tagged_sets import TaggedSet
from corecur.errors import ConfigError, nearest
from corecur.explain.question import Question, Shown, differentiable, log_odds, run_parts
from corecur.learners.explained_class import wanted_class
from corecur.learners.tag_confidence import tag_probabilities
from corecur.learners.token_gates import gated
from corecur.report.charts import percent

if TYPE_CHECKING:
    from corecur.data.text.tagged_sets import TaggedSource
    from corecur.learners.sequence_tagger import SequenceTagger
    from corecur.learners.tagging_evaluation import TaggedSentence

_OUTSIDE = "O"
_MOST_PARTS = 96
_MOST_TESTED = 50  # sentences that are looked through for the report


def tagger_questions(learner: SequenceTagger, source: Any, target: str | None, *, skip_bad: bool) -> Iterator[Question]:
    """A question for each sentence of a source as `predict` takes it.

    ``target`` is a word, or a word and the tag to explain, ``Paris=B-LOC``; by default the first word with a tag that
    is not O, and the tag it was given.
    """
    for sentence in learner.predict(source, skip_bad=skip_bad):
        if sentence.tokens:
            yield tagger_question(learner, sentence, target)


def tagger_question(learner: SequenceTagger, sentence: TaggedSentence, target: str | None = None) -> Question:
    """The question for one tag of one sentence that has been tagged."""
    network, words = learner.network, sentence.tokens
    position, tag = _wanted(sentence, target)
    (batch,) = learner._batches(TaggedSet((words,), None, (sentence.name,)), tagged=False)
    temperature = learner.preprocess.temperature
    fields: tuple[Tensor, ...] = tuple(batch.inputs)

    def probabilities(variants: Tensor) -> Tensor:
        with gated(network, variants):
            made = network(*(one.expand(len(variants), *one.shape[1:]) for one in fields))  # (N, T, K)
        return tag_probabilities(made, temperature)[:, position]

    with torch.no_grad(), differentiable(network):
        found = probabilities(torch.ones(1, len(words), device=learner._device))[0].cpu()
    place = wanted_class(learner.classes, found, tag or sentence.tags[position], what="tag")
    gates = torch.ones(len(words), device=learner._device)
    return Question(
        name=sentence.name,
        kind="text",
        network=network,
        score=lambda variants: log_odds(probabilities(variants), place),
        inputs=gates,
        baseline=torch.zeros_like(gates),
        parts=run_parts(len(words), most=_MOST_PARTS).to(gates.device),
        target=f"{words[position]} = {learner.classes[place]}",
        answer=f"{words[position]} tagged {sentence.tags[position]} ({percent(float(found[place]))} for "
        f"{learner.classes[place]})",
        removed="an unknown word without a spelling",
        shown=Shown(words=tuple(words)),
        batch=64,
    )


def _wanted(sentence: TaggedSentence, target: str | None) -> tuple[int, str | None]:
    """The place of the word asked for, and the tag if one is."""
    words = sentence.tokens
    if target is None:
        tagged = (place for place, tag in enumerate(sentence.tags) if tag != _OUTSIDE)
        return next(tagged, 0), None
    if target in words:
        return words.index(target), None
    word, _, tag = target.rpartition("=")
    if word in words:
        return words.index(word), tag
    raise _unknown_word(word or target, words, sentence.name)


def _unknown_word(word: str, words: Sequence[str], where: str) -> ConfigError:
    guess = nearest(word, words)
    return ConfigError(
        f"the sentence has no word {word!r}",
        where=where,
        expected="one of " + ", ".join(dict.fromkeys(words)) + "; or WORD=TAG",
        do=f"did you mean {guess!r}?" if guess else "name one of its words",
    )


def held_out_sentences(learner: SequenceTagger, data: TaggedSource) -> Iterator[Question]:
    """Test sentences for the report, those with a tag other than O first to be told."""
    held = data.test or data.train
    for sentence in learner.predict([list(words) for words in held.sentences[:_MOST_TESTED] if words]):
        if set(sentence.tags) != {_OUTSIDE}:
            yield tagger_question(learner, sentence)
