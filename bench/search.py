"""Search beside the default recipe in the same time, and random search beside a grid.

``python -m bench.search DATA``, where ``DATA`` is the folder of data sets. For each of three sets, with one thread: the
default recipe once as it is, the default recipe with all the time (``corecur train --time``), and a search with as much
(``corecur tune --time``). The validation split chooses; each model is tested once. Then, over several seeds, the best
validation after n trials of a random search and of a grid over the learning rate and the smoothing of labels, which
matters little here: a grid of n points tries √n learning rates, random search n (Bergstra & Bengio 2012, "Random search
for hyper-parameter optimization"). Figures go to standard output as JSON; ``--figure`` draws the second.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from bench.machine import describe
from corecur.learners.tasks import TASKS
from corecur.tuning.tune import tune

_TEXTS = 600
_SIDE = 4  # learning rates in a grid of 16 points


@dataclass(frozen=True)
class Job:
    """One set: where it is, how it is split, and settings of both contenders, which keep a training short."""

    name: str
    task: str
    source: str
    settings: dict[str, Any]
    epochs: int
    given: dict[str, Any] = field(default_factory=dict)


def jobs(data: Path, folder: Path) -> Iterator[Job]:
    """Three modest sets: handwritten digits, questions, spoken vowels."""
    yield Job("digits", "image-classification", "digits", {"widths": (16, 32)}, 10)
    lines = (data / "sentences" / "TREC.train.all").read_bytes().splitlines()
    random.Random(0).shuffle(lines)
    (folder / "questions.txt").write_bytes(b"\n".join(lines[:_TEXTS]) + b"\n")
    test = {"test": data / "sentences" / "TREC.test.all"}
    yield Job(
        f"TREC, {_TEXTS:,} of its questions",
        "text-classification",
        str(folder / "questions.txt"),
        {"units": 32},
        6,
        test,
    )
    vowels = data / "series" / "JapaneseVowels"
    yield Job("JapaneseVowels", "series-classification", str(vowels), {"members": 1}, 20, {"validation": 0.2})


def side_by_side(job: Job, folder: Path, seconds: float) -> dict[str, Any]:
    """The default recipe with all the time, and a search with as much."""
    learner = TASKS[job.task].learner(threads=1, **job.settings)
    whole = learner.fit(job.source, **job.given, seconds=seconds)
    shared = {**job.settings, **job.given, "epochs": job.epochs}
    found = tune(job.source, task=job.task, out=folder, threads=1, seconds=seconds, **shared)
    default = found.default
    return {
        "set": job.name,
        "seconds": seconds,
        "default, all the time": {"validation": whole.validation, "test": whole.test.sentence()},
        "default, once": None
        if default is None
        else {"validation": default.value, "seconds": default.seconds, "test": found.tests[0]["sentence"]},
        "tuned": {
            "validation": found.best.value,
            "trial": found.best.number,
            "settings": found.best.settings,
            "trials": {end: sum(row.end == end for row in found.rows) for end in {str(row.end) for row in found.rows}},
            "seconds": round(found.seconds, 1),
            "test": found.tests[found.best.number]["sentence"],
        },
    }


def best_after(sampler: Any, folder: Path, seed: int) -> list[float]:
    """The best validation after 1, 2, … trials; the default recipe, which both begin with, does not count."""
    space = {"learning_rate": "1e-4..10", "label_smoothing": "0..0.2"}
    found = tune(
        "digits", out=folder, study=f"{sampler}-{seed}", search=space, sampler=sampler, per_range=_SIDE,
        trials=_SIDE**2 + 1, pruner="none", seed=seed, epochs=3, widths=(8, 16), threads=1,
    )  # fmt: skip
    values = [row.value or 0.0 for row in found.rows[1:]]
    return [round(float(value), 4) for value in np.maximum.accumulate(values)]


def draw(curves: dict[str, list[list[float]]], path: Path) -> None:
    """Mean and range over seeds of the best validation, by trials."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.4, 3.6), dpi=130)
    axes = figure.add_subplot()
    for name, colour in (("random", "#1f5fbf"), ("grid", "#c2570c")):
        values = 100 * np.array(curves[name])  # (seeds, trials)
        numbers = np.arange(1, values.shape[1] + 1)
        axes.plot(numbers, values.mean(0), color=colour, label=f"{name}, mean of {len(values)} seeds")
        axes.fill_between(numbers, values.min(0), values.max(0), color=colour, alpha=0.15, linewidth=0)
    axes.set(xlabel="trials", ylabel="best validation accuracy, %")
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, loc="lower right")
    figure.tight_layout()
    figure.savefig(path)


def main() -> None:
    """Run both comparisons and print what came of them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--seconds", type=float, default=120.0, help="time of each contender on each set")
    parser.add_argument("--seeds", type=int, default=5, help="random search and grid, so often each; 0: not at all")
    parser.add_argument("--figure", type=Path, help="draw random search against the grid")
    asked = parser.parse_args()
    found: dict[str, Any] = {"machine": describe(), "sets": []}
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        for job in jobs(asked.data, place) if asked.seconds else ():
            found["sets"].append(side_by_side(job, place / "runs", asked.seconds))
            print(json.dumps(found["sets"][-1], indent=1), file=sys.stderr, flush=True)
        if asked.seeds:
            curves = {kind: [best_after(kind, place, seed) for seed in range(asked.seeds)]
                      for kind in ("random", "grid")}  # fmt: skip
            found["best validation after n trials"] = curves
            if asked.figure is not None:
                draw(curves, asked.figure)
    json.dump(found, sys.stdout, indent=1)


if __name__ == "__main__":
    main()
