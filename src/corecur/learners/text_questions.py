"""Texts to explain the answers for, word by word.

N variants, T time (tokens), K classes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from corecur.data.batches import Batch
from corecur.explain.neighbours import Known
from corecur.explain.question import Question, Shown, log_odds, run_parts
from corecur.learners.explained_class import said, wanted_class
from corecur.learners.text_answers import texts_to_answer
from corecur.learners.text_inputs import OPENINGS, PAIRS, TERMS, InSteps
from corecur.learners.token_gates import BagItems, gated

if TYPE_CHECKING:
    from corecur.data.text.text_sets import TextSource
    from corecur.learners.text_classifier import TextClassifier
    from corecur.learners.text_inputs import TextPreprocess

# Parts of a text: words, or runs of words of a longer one.
MOST_PARTS = 96
# Tokens of all variants that are read at once.
_TOKENS_AT_ONCE = 16_384


def text_questions(learner: TextClassifier, source: Any, target: str | None, *, skip_bad: bool) -> Iterator[Question]:
    """A question for each text of a source as `predict` takes it: which words speak for the class."""
    reading = {"text_column": learner.reading.text_column, "encoding": learner.reading.encoding}
    names, texts = texts_to_answer(source, skip_bad=skip_bad, **reading)
    for name, text in zip(names, texts, strict=True):
        yield text_question(learner, name, text, target)


def text_question(
    learner: TextClassifier, name: str, text: str, target: str | None = None, *, answer: Tensor | None = None
) -> Question:
    """The question for one text; without a target, for the class it is taken for.

    ``answer`` are its class probabilities (K,), where they are known.
    """
    network, preprocess = learner.network, learner.preprocess
    words = preprocess.kept(preprocess.preparation.tokens([text])[0])
    probabilities = learner.read_texts([text]).probabilities[0] if answer is None else answer
    place = wanted_class(learner.classes, probabilities, target)
    arrays = tuple(array.padded()[0][:1].long() for array in preprocess.arrays([words]))  # (1, T) each
    made = InSteps(preprocess.step)(Batch(arrays if len(arrays) > 1 else arrays[0]), 0).inputs
    inputs = [made] if isinstance(made, Tensor) else list(made)
    inputs = [numbers.to(learner._device) for numbers in inputs]
    items = bag_items(preprocess, words)
    gates = torch.ones(len(words), device=learner._device)

    def score(variants: Tensor) -> Tensor:
        with gated(network, variants, items=items):
            answers = network(*(numbers.expand(len(variants), -1) for numbers in inputs))
        return log_odds(answers.float(), place)

    def attention() -> Tensor:
        return torch.tensor(learner.read_texts([text], weigh=True).weights[0])

    return Question(
        name=name,
        kind="text",
        network=network,
        score=score,
        inputs=gates,
        baseline=torch.zeros_like(gates),
        parts=run_parts(len(words), most=MOST_PARTS).to(gates.device),
        target=learner.classes[place],
        answer=said(learner.classes, probabilities),
        removed="an unknown word",
        shown=Shown(words=tuple(words), spaced=not preprocess.preparation.tokenizer.kind.startswith("chinese")),
        batch=max(1, min(256, _TOKENS_AT_ONCE // max(1, inputs[0].shape[1]))),
        attention=attention,
    )


def bag_items(preprocess: TextPreprocess, words: Sequence[str]) -> BagItems:
    """Every term, pair and opening that votes in a text, and the words it is made of; each as often as it stands there.

    >>> from corecur.data.text.text_preparation import fit_preparation
    >>> from corecur.learners.text_inputs import fit_text_inputs
    >>> texts = ["walked home", "walked home"]
    >>> found = bag_items(fit_text_inputs(fit_preparation(texts), texts, openings=False), ["walked", "home"])
    >>> found.tokens
    [[0], [1], [0, 1]]
    """
    names = list(preprocess.sizes)
    numbers: list[int] = []
    tokens: list[list[int]] = []

    def add(name: str, pieces: list[list[str]], places: list[list[int]]) -> None:
        """The items at the first place of texts made of these pieces alone."""
        if name in names and pieces:
            array = preprocess.arrays(pieces)[names.index(name)]
            for number, place in zip(array.flat[array.offsets[:-1].long()].tolist(), places, strict=True):
                if number:
                    numbers.append(number)
                    tokens.append(place)

    count = len(words)
    add(TERMS, [[word] for word in words], [[n] for n in range(count)])
    add(PAIRS, [[words[n], words[n + 1]] for n in range(count - 1)], [[n, n + 1] for n in range(count - 1)])
    if OPENINGS in names and count:
        opened = preprocess.arrays([words])[names.index(OPENINGS)].flat.tolist()
        for place, number in enumerate(opened):
            if number:
                numbers.append(number)
                tokens.append(list(range(place + 1)))
    return BagItems(numbers, tokens)


def known_texts(learner: TextClassifier, data: TextSource, most: int) -> list[Known]:
    """Training texts to look for neighbours in, at even distances through the source."""
    train = data.train
    rows = range(0, len(train), max(1, -(-len(train) // most)))
    answers = learner.read_texts([train.texts[row] for row in rows]).probabilities
    labels = [""] * len(train) if train.labels is None else [data.classes[k] for k in train.labels.tolist()]
    return [
        Known(text_question(learner, train.names[row], train.texts[row], answer=answer), labels[row])
        for row, answer in zip(rows, answers, strict=True)
    ]


def held_out_texts(learner: TextClassifier, data: TextSource) -> Iterator[Question]:
    """Test texts for the report."""
    held = data.test or data.train
    for name, text in zip(held.names, held.texts, strict=True):
        yield text_question(learner, name, text)
