"""How faithful each explanation method is on real test samples, and its time: ``python -m bench.explanations``.

For each set a small model is trained, some of its test samples are explained by every method that fits, and a line a
method says: seconds an explanation, deletion and insertion beside those of random rankings, the share of samples on
which deletion is better than random, the share called faithful, and the correlation with shuffled weights.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from statistics import mean
from typing import Any

import torch

from corecur.explain.attribution import Attribution
from corecur.explain.methods import METHODS, Effort, Ranking, explain, fitting
from corecur.explain.question import Question
from corecur.learners.explanations import ASKING
from corecur.learners.image_classifier import ImageClassifier
from corecur.learners.series_classifier import SeriesClassifier
from corecur.learners.text_classifier import TextClassifier

DATA = Path(os.environ.get("CORECUR_DATA") or Path(__file__).resolve().parents[2] / "shared" / "data")


def digits() -> Iterator[Question]:
    """Held-out pictures of scikit-learn's digits."""
    return _held_out(ImageClassifier(epochs=6, threads=1), "digits")


def sentences() -> Iterator[Question]:
    """SST-2, a small network of the text recipe."""
    learner = TextClassifier(epochs=3, threads=1, units=32, embedding=48)
    return _held_out(learner, DATA / "sentences" / "stsa.binary.train")


def gun_point() -> Iterator[Question]:
    """UCR's GunPoint, one small network of the series recipe."""
    return _held_out(SeriesClassifier(threads=1, epochs=40, filters=16, members=1), DATA / "series" / "GunPoint")


SETS: dict[str, Callable[[], Iterator[Question]]] = {"digits": digits, "sst-2": sentences, "gun-point": gun_point}


def _held_out(learner: Any, source: Any) -> Iterator[Question]:
    """Every third test sample."""
    data = learner.read(source)
    learner.fit(data)
    return islice(ASKING[learner.task].held_out(learner, data), 0, None, 3)


def measured(questions: Sequence[Question], method: str) -> dict[str, float]:
    """The figures of a method on some questions, their means."""
    found = [explain(question, method) for question in questions]
    ranked = [one for one in found if isinstance(one, Attribution)]
    checks = [one.faithfulness for one in ranked if one.faithfulness is not None]
    return {
        "seconds": mean(one.seconds for one in ranked),
        "check seconds": mean(check.seconds for check in checks),
        "deletion": mean(check.deletion for check in checks),
        "random deletion": mean(check.random_deletion for check in checks),
        "insertion": mean(check.insertion for check in checks),
        "random insertion": mean(check.random_insertion for check in checks),
        "better by deletion": mean(check.deletion < check.random_deletion for check in checks),
        "faithful": mean(check.is_faithful for check in checks),
        "shuffled": mean(check.randomised or 0.0 for check in checks),
    }


def main() -> None:
    """Print a table for each set."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--samples", type=int, default=20)
    options.add_argument("--set", choices=SETS, action="append")
    given = options.parse_args()
    torch.set_num_threads(1)
    for name in given.set or SETS:
        questions = list(islice(SETS[name](), given.samples))
        methods = [m for m in fitting(questions[0], Effort()) if isinstance(METHODS[m], Ranking)]
        for method in methods:
            shown = "  ".join(f"{key} {value:.3f}" for key, value in measured(questions, method).items())
            print(f"{name}  {method:<21} n {len(questions)}  {shown}", flush=True)


if __name__ == "__main__":
    main()
