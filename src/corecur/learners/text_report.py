"""The report of a text classifier's training, gathered from the run.

N texts, T tokens of a text, K classes.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from statistics import median
from typing import TYPE_CHECKING, Any

import torch

from corecur.data.text.text_sets import TextSet, TextSource
from corecur.engine.progress import clock
from corecur.layers.embedding_bag import EmbeddingBag
from corecur.learners.evaluation import Evaluation
from corecur.learners.fit_result import FitResult
from corecur.learners.learner import name_of
from corecur.learners.text_answers import TextAnswer
from corecur.learners.text_inputs import VOTING
from corecur.report.charts import percent
from corecur.report.classification import ClassificationReport, classification_sections
from corecur.report.page import Block, Finding, Rows, Section, Text
from corecur.report.shaded_text import ShadedText
from corecur.report.svg import shorten
from corecur.summary import summarize

if TYPE_CHECKING:
    from corecur.learners.text_classifier import TextClassifier

_MOST_MISTAKES, _MOST_RIGHT = 24, 8
_MOST_CLASSES = 20
_WORDS_A_CLASS = 12
_LONGEST_NAME = 28


def sections(
    learner: TextClassifier, data: TextSource, result: FitResult, *, config: Mapping[str, Any]
) -> list[Section]:
    """The sections of the report."""
    test: Evaluation | None = result.test
    summary = {
        "Classes": f"{len(data.classes)}",
        "Training texts": f"{len(data.train):,}",
        "Vocabulary": f"{len(learner.preprocess.preparation.vocabulary):,}",
        "Parameters": f"{learner.network.count_params():,}",
        "Epochs": f"{len(result.history)}" + (f" of {result.planned_epochs}" if result.stopped_early else ""),
        "Training time": clock(result.train_seconds),
        "Time in all": clock(result.seconds),
    }
    report = ClassificationReport(
        title=f"{name_of(data.origin)}: text classification",
        command=config["command"],
        when=time.strftime("%Y-%m-%d %H:%M"),
        verdict="" if test is None else test.sentence()[0].upper() + test.sentence()[1:] + ".",
        summary=summary,
        next_commands=result.next_commands,
        history=[{"epoch": n + 1.0} | {k: float(v) for k, v in row.items()} for n, row in enumerate(result.history)],
        test=None if test is None else _figures(test),
        per_class=() if test is None else test.per_class,
        classes=data.classes,
        confusion=None if test is None else test.confusion,
        reliability=None if test is None else test.reliability(result.calibration),
        class_counts=class_counts(data),
        network_summary=summarize(learner.network),
        config={name: config[name] for name in ("source", "seed", "recipe", "reading")},
        environment=config["environment"],
        findings=[Finding.of(found) for found in result.findings],
        evidence=[*_readings(learner, data, test), *_votes(learner, data), _data(learner, data)],
    )
    return classification_sections(report)


def class_counts(data: TextSource) -> dict[str, dict[str, int]]:
    """How many texts of each class each split has."""
    splits = {"training": data.train, "validation": data.validation, "test": data.test}
    return {
        name: dict(zip(data.classes, torch.bincount(split.labels, minlength=len(data.classes)).tolist(), strict=True))
        for name, split in splits.items()
        if split is not None and split.labels is not None
    }


def _figures(test: Evaluation) -> dict[str, float]:
    low, high = test.interval
    return {"accuracy": test.accuracy, "low": low, "high": high, "samples": float(test.samples)}


def _readings(learner: TextClassifier, data: TextSource, test: Evaluation | None) -> list[Section]:
    """Wrong and right answers with the words they were read from."""
    if test is None or data.test is None:
        return [Section("Worst mistakes", [Text("There is no test set to make mistakes on.")])]
    sure, answers = test.probabilities.max(1)
    order = sure.argsort(descending=True)
    wrong = [row for row in order.tolist() if answers[row] != test.labels[row]][:_MOST_MISTAKES]
    right = _spread([row for row in order.tolist() if answers[row] == test.labels[row]], test)
    shading = (
        "The stronger the colour, the more the word weighed in the reading (attention, or the filters of a convolution)"
        "; unknown words are underlined. The votes of single words and pairs are not in it."
    )
    mistakes: list[Block] = list(_shaded(learner, data.test, wrong, test)) or [Text("No mistakes on the test set.")]
    return [
        Section("Worst mistakes", mistakes, note=f"Truth → answer, the surest wrong answers first. {shading}"),
        Section("Right answers", list(_shaded(learner, data.test, right, test)), note="A few of them, of every class."),
    ]


def _spread(right: Sequence[int], test: Evaluation) -> list[int]:
    """A few right answers, of as many classes as there are: the median ones by confidence, class after class."""
    by_class: dict[int, list[int]] = {}
    for row in right:
        by_class.setdefault(int(test.labels[row]), []).append(row)
    shares = max(1, _MOST_RIGHT // max(1, len(by_class)))
    chosen = []
    for _, rows in sorted(by_class.items()):
        middle = len(rows) // 2
        chosen += rows[max(0, middle - shares // 2) :][:shares]
    return chosen[:_MOST_RIGHT]


def _shaded(learner: TextClassifier, texts: TextSet, rows: Sequence[int], test: Evaluation) -> list[ShadedText]:
    """The answers to the texts at ``rows``, ready to be shown."""
    if not rows:
        return []
    answers = learner.answers([texts.names[row] for row in rows], [texts.texts[row] for row in rows])
    vocabulary = learner.preprocess.preparation.vocabulary
    spaced = not learner.preprocess.preparation.tokenizer.kind.startswith("chinese")
    return [
        ShadedText(
            heading=_heading(test.classes[int(test.labels[row])], answer),
            words=answer.tokens,
            weights=answer.weights,
            detail=f"{percent(answer.probability)} sure · {answer.name}",
            unknown=[token not in vocabulary for token in answer.tokens],
            spaced=spaced,
        )
        for row, answer in zip(rows, answers, strict=True)
    ]


def _heading(truth: str, answer: TextAnswer) -> str:
    said = shorten(answer.label, _LONGEST_NAME)
    return said if answer.label == truth else f"{shorten(truth, _LONGEST_NAME)} → {said}"


def _votes(learner: TextClassifier, data: TextSource) -> list[Section]:
    """The words, pairs and openings whose votes weigh most for each class: weight times the root of their texts."""
    bag = next((layer for layer in learner.network.modules() if isinstance(layer, EmbeddingBag)), None)
    if bag is None:
        return []
    arrays = learner.preprocess.arrays(learner.preprocess.preparation.tokens(data.train.texts))
    held = torch.cat([a.flat for name, a in zip(learner.preprocess.sizes, arrays, strict=True) if name in VOTING])
    weights = bag.weight.detach().float().cpu()  # (V, K)
    counts = torch.bincount(held, minlength=len(weights)).index_fill(0, torch.tensor([0]), 0)
    scores = (weights - weights.mean(1, keepdim=True)) * counts.sqrt().unsqueeze(1)
    rows = [
        (name, ", ".join(map(learner.preprocess.term, scores[:, k].argsort(descending=True)[:_WORDS_A_CLASS].tolist())))
        for k, name in enumerate(data.classes[:_MOST_CLASSES])
    ]
    note = "Words and pairs of words by what their votes add for a class in all the training texts that hold them."
    return [Section("Words that vote", [Rows(("class", "words and pairs"), rows)], note=note)]


def _data(learner: TextClassifier, data: TextSource) -> Section:
    """Samples a class, lengths, and what share of the tokens the vocabulary knows."""
    counts = class_counts(data)
    splits = {"training": data.train, "validation": data.validation, "test": data.test}
    facts = [_lengths(learner, name, split) for name, split in splits.items() if split is not None]
    longest = learner.preprocess.preparation.longest
    totals = ["all", *(sum(of_class.values()) for of_class in counts.values())]
    by_class = [[name, *(of_class[name] for of_class in counts.values())] for name in data.classes]
    blocks: list[Block] = [
        Rows(["class", *counts], [totals, *by_class], caption="Texts per class and split"),
        Rows(
            ["split", "texts", "median length", "longest", "cut", "tokens not in the vocabulary"],
            facts,
            caption=f"Lengths in tokens; texts beyond {longest:,} are cut in the middle" if longest else "Lengths",
        ),
    ]
    return Section("Data", blocks)


def _lengths(learner: TextClassifier, name: str, texts: TextSet) -> list[object]:
    preparation = learner.preprocess.preparation
    tokens = preparation.tokens(texts.texts)
    lengths = [len(words) for words in tokens]
    cut = 0 if preparation.longest is None else sum(length > preparation.longest for length in lengths)
    unknown = learner.preprocess.arrays(tokens)[0].unknown_share
    return [name, len(texts), f"{median(lengths):g}", max(lengths), cut, percent(unknown, 2)]
