"""The report of a tagger's training, gathered from the run.

K tags.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from corecur.data.text.tagged_sets import TaggedSource
from corecur.engine.progress import clock
from corecur.learners.fit_result import FitResult
from corecur.learners.tagging_evaluation import TaggingEvaluation
from corecur.report.charts import class_bars, confusion, learning_curves
from corecur.report.classification import flat_config
from corecur.report.page import Block, Code, Columns, Finding, KeyValues, Rows, Section, Text
from corecur.report.reliability import Reliability, calibration_section
from corecur.summary import summarize

if TYPE_CHECKING:
    from corecur.learners.sequence_tagger import SequenceTagger

_MOST_CONFUSIONS = 12
_MOST_SENTENCES = 20
_MOST_TAGS_IN_MATRIX = 25
_MOST_TRANSITIONS = 12


def sections(
    learner: SequenceTagger, data: TaggedSource, result: FitResult, *, config: Mapping[str, Any]
) -> list[Section]:
    """The sections of the page: the answer first, the evidence after it, the settings last."""
    test: TaggingEvaluation | None = result.test
    history = [{"epoch": float(n + 1)} | {k: float(v) for k, v in row.items()} for n, row in enumerate(result.history)]
    return [
        Section("Result", _result(learner, data, result)),
        Section("Curves", [Columns(learning_curves(history)) if history else Text("No epoch was finished.")]),
        *([] if test is None else _evidence(test, data)),
        calibration_section(_reliability(test, result)),
        *_transitions(learner),
        Section("Network", [Code(summarize(learner.network))]),
        Section("Configuration", [KeyValues(flat_config({k: config[k] for k in ("source", "seed", "recipe")}))]),
        Section("Environment", [KeyValues(config["environment"])]),
        Section("Commands", [Code(command, command=True) for command in result.next_commands]),
    ]


def _result(learner: SequenceTagger, data: TaggedSource, result: FitResult) -> list[Block]:
    verdict = "There was no test data." if result.test is None else result.test.sentence()
    figures = {
        "Tags": f"{len(data.classes)}",
        "Training sentences": f"{len(data.train):,}",
        "Training words": f"{data.train.words:,}",
        "Known words": f"{len(learner.preprocess.words) - 2:,}",
        "Parameters": f"{learner.network.count_params():,}",
        "Epochs": f"{len(result.history)}" + (f" of {result.planned_epochs}" if result.stopped_early else ""),
        "Training time": clock(result.train_seconds),
        "Time in all": clock(result.seconds),
    }
    findings = [Finding.of(found) for found in result.findings]
    return [Text(f"{verdict[0].upper()}{verdict[1:]}.", lead=True), KeyValues(figures, tiles=True), *findings]


def _evidence(test: TaggingEvaluation, data: TaggedSource) -> list[Section]:
    """What the test shows: where tags are taken for each other, each tag, and sentences that went wrong."""
    mixed = test.confusions().most_common(_MOST_CONFUSIONS)
    found: list[Block] = [Rows(("truth", "answer", "times"), [(a, b, f"{n:,}") for (a, b), n in mixed])]
    names = sorted({tag for tags in (*test.truth, *test.answers) for tag in tags})
    if len(names) <= _MOST_TAGS_IN_MATRIX:
        found.insert(0, confusion(_matrix(test, names), names))
    what = "Entities" if test.entities else "Tags"
    return [
        Section("Confusion", found),
        Section(what, [class_bars(test.per_class)]),
        Section("Mistakes", _mistakes(test, data)),
    ]


def _reliability(test: TaggingEvaluation | None, result: FitResult) -> Reliability | None:
    return None if test is None or test.confidence is None else test.confidence.reliability(result.calibration)


def _matrix(test: TaggingEvaluation, names: Sequence[str]) -> np.ndarray[Any, Any]:
    """How often each tag was given each tag, (K, K), the truth in rows."""
    places = {name: place for place, name in enumerate(names)}
    matrix = np.zeros((len(names), len(names)), dtype=np.int64)
    for truth, answers in zip(test.truth, test.answers, strict=True):
        for tag, answer in zip(truth, answers, strict=True):
            matrix[places[tag], places[answer]] += 1
    return matrix


def _mistakes(test: TaggingEvaluation, data: TaggedSource) -> list[Block]:
    if data.test is None:
        return [Text("The tested sentences are not here.")]
    rows = []
    for words, truth, answers in zip(data.test.sentences, test.truth, test.answers, strict=True):
        wrong = [n for n, (tag, answer) in enumerate(zip(truth, answers, strict=True)) if tag != answer]
        if wrong:
            first = wrong[0]
            before, after = " ".join(words[max(0, first - 6) : first]), " ".join(words[first + 1 : first + 7])
            rows.append((f"{before} [{words[first]}] {after}".strip(), truth[first], answers[first]))
    if not rows:
        return [Text("There are none.")]
    step = max(1, len(rows) // _MOST_SENTENCES)
    shown = rows[::step][:_MOST_SENTENCES]
    said = f"{len(rows):,} of {len(test.truth):,} sentences have a mistake; the first one of some of them:"
    return [Text(said), Rows(("sentence", "truth", "answer"), shown)]


def _transitions(learner: SequenceTagger) -> list[Section]:
    """What the CRF has learnt of tags that follow each other."""
    crf = learner.crf
    if crf is None:
        return []
    scores = crf.transitions.detach().float().cpu()
    order, tags = scores.flatten().argsort(descending=True).tolist(), learner.classes
    pairs = [(tags[k // len(tags)], tags[k % len(tags)], f"{float(scores.flatten()[k]):+.2f}") for k in order]
    header = ("tag", "next tag", "score")
    return [
        Section(
            "Transitions",
            [
                Text("What the last layer adds to the score of a sentence for two tags in a row."),
                Rows(header, pairs[:_MOST_TRANSITIONS], caption="most liked"),
                Rows(header, pairs[: -_MOST_TRANSITIONS - 1 : -1], caption="most disliked"),
            ],
        )
    ]
