"""Two models that are equally good, drawn anew each time, for each kind of test: how often is a difference "shown"?"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from corecur.engine.fold_tests import fold_difference
from corecur.engine.paired_tests import Difference, mcnemar, paired_difference
from corecur.engine.repeated_runs import repeated_difference
from corecur.learners.answer_record import FIGURES

Array = NDArray[Any]
Draw = Callable[[np.random.Generator], Difference]
F1 = FIGURES["entities"][0].score
SHARE = FIGURES["classes"][0].score


def accuracy(n: int, share: float, likeness: float, gap: float = 0.0) -> Draw:
    """Right or wrong: of ``n`` samples a share each, alike on a part of them; the first is better by ``gap``."""

    def draw(random: np.random.Generator) -> Difference:
        base = random.random(n)
        alike = random.random(n) < likeness
        one, two = (np.where(alike, base, random.random(n)) < chance for chance in (share + gap, share))
        return mcnemar(one, two)

    return draw


def entities(sentences: int, gap: float = 0.0) -> Draw:
    """Entities found, there and answered in sentences, some of which are hard for both."""

    def draw(random: np.random.Generator) -> Difference:
        there, easy = random.poisson(2, sentences), random.beta(6, 1.5, sentences)

        def model(better: float) -> Array:
            found = random.binomial(there, np.minimum(1, easy + better))
            return np.stack([found, there, found + random.poisson(0.3, sentences)], axis=1).astype(float)

        return paired_difference(model(gap), model(0.0), F1)

    return draw


def windows(count: int, horizon: int, factor: float = 1.0) -> Draw:
    """Squared errors of windows that overlap: a part of them is the series' own and the same for both."""

    def draw(random: np.random.Generator) -> Difference:
        def smooth() -> Array:
            noise = random.normal(size=count + horizon)
            return np.convolve(noise, np.ones(horizon), "valid")[:count] / np.sqrt(horizon)

        base = smooth()
        return paired_difference(
            (base + 0.5 * smooth()) ** 2, (factor * (base + 0.5 * smooth())) ** 2, block=2 * horizon
        )

    return draw


def tokens(pieces: int, block: int, more: float = 0.0) -> Draw:
    """Bits of pieces of a text, each like its neighbours."""

    def draw(random: np.random.Generator) -> Difference:
        base = random.gamma(4, 0.5, pieces)
        own = [np.convolve(random.normal(size=pieces + 2), (0.5, 0.3, 0.2), "valid") * 0.1 for _ in range(2)]
        return paired_difference(base + own[0], base + own[1] + more, block=block)

    return draw


def log_loss(n: int, more: float = 0.0) -> Draw:
    """What the truth cost, sample by sample: skewed, alike on hard samples."""

    def draw(random: np.random.Generator) -> Difference:
        hard = random.exponential(0.3, n)
        return paired_difference(hard * random.lognormal(0, 0.5, n), hard * random.lognormal(0, 0.5, n) * (1 + more))

    return draw


def seeds(runs: int, n: int, gap: float = 0.0, spreads: tuple[float, float] = (0.02, 0.02)) -> Draw:
    """Several runs each of two ways to train, whose accuracy differs from seed to seed, by two points each."""

    def draw(random: np.random.Generator) -> Difference:
        hard = random.random(n)

        def way(better: float, spread: float) -> list[Array]:
            found = []
            for _ in range(runs):
                own = 0.85 + better + spread * random.normal()
                right = np.where(random.random(n) < 0.7, hard, random.random(n)) < own
                found.append(np.stack([right, np.ones(n)], axis=1).astype(float))
            return found

        return repeated_difference(way(gap, spreads[0]), way(0.0, spreads[1]), SHARE)

    return draw


def trained_seeds(runs: int, train: int, test: int, units: int = 15, gap: int = 0) -> Draw:
    """One way to train, trained twice with several seeds: random features of its own for each seed, then least squares.

    The second has ``gap`` features less: then it is another way.
    """

    def draw(random: np.random.Generator) -> Difference:
        weights = random.normal(size=8)

        def samples(count: int) -> tuple[Array, Array]:
            inputs = random.normal(size=(count, 8))
            return inputs, np.sign(inputs @ weights + np.sin(3 * inputs[:, 0]) + random.normal(size=count))

        (seen, truth), (held, wanted) = samples(train), samples(test)

        def run(width: int) -> Array:
            hidden = random.normal(size=(8, width))
            answers = np.tanh(held @ hidden) @ _fitted(np.tanh(seen @ hidden), truth)
            return np.stack([np.sign(answers) == wanted, np.ones(test)], axis=1).astype(float)

        one, two = ([run(width) for _ in range(runs)] for width in (units, units - gap))
        return repeated_difference(one, two, SHARE)

    return draw


def folds(count: int, n: int, gap: float = 0.0) -> Draw:
    """The test over folds of ``fold_answers``."""
    answers = fold_answers(count, n, gap)

    def draw(random: np.random.Generator) -> Difference:
        right, figures = answers(random)
        return fold_difference(mcnemar(*right), *figures, ratio=1 / (count - 1))

    return draw


def fold_answers(
    count: int, n: int, gap: float = 0.0
) -> Callable[[np.random.Generator], tuple[Array, list[list[float]]]]:
    """Two least-squares classifiers trained and tested on folds of ``n`` samples, on features of their own.

    The features of both say as much of the class; those of the first say more by ``gap``. What each answers rightly
    (2, n), and the accuracy of each on each fold.
    """

    def draw(random: np.random.Generator) -> tuple[Array, list[list[float]]]:
        truth = random.choice([-1.0, 1.0], n)
        inputs = [random.normal(size=(n, 5)) + (0.4 + more) * truth[:, None] for more in (gap, 0.0)]
        held = np.array_split(random.permutation(n), count)
        right = np.zeros((2, n), bool)
        for rows in held:
            rest = np.setdiff1d(np.arange(n), rows)
            for way, values in enumerate(inputs):
                right[way, rows] = np.sign(values[rows] @ _fitted(values[rest], truth[rest])) == truth[rows]
        figures = [[float(of[rows].mean()) for rows in held] for of in right]
        return right, figures

    return draw


def later_folds(count: int, n: int, gap: float = 0.0) -> Draw:
    """Two forecasts from regressions on lags, each trained on all before a fold; their inputs hold noise of their own.

    The noise of the second is larger by ``gap``.
    """

    def draw(random: np.random.Generator) -> Difference:
        noise = random.normal(size=n + 50)
        series = np.zeros(n + 50)
        for at in range(2, n + 50):
            series[at] = 0.6 * series[at - 1] - 0.3 * series[at - 2] + noise[at]
        lags, wanted = np.stack([series[48:-2], series[49:-1]], axis=1), series[50:]
        first, rest = n // 2, np.array_split(np.arange(n // 2, n), count)
        inputs = [lags + (0.5 + more) * random.normal(size=lags.shape) for more in (0.0, gap)]
        errors = np.zeros((2, n))
        for rows in rest:
            for way, values in enumerate(inputs):
                weights = _fitted(values[: rows[0]], wanted[: rows[0]])
                errors[way, rows] = (values[rows] @ weights - wanted[rows]) ** 2
        figures = [[float(of[rows].mean()) for rows in rest] for of in errors]
        units = paired_difference(errors[0, first:], errors[1, first:], block=4)
        return fold_difference(units, *figures, ratio=float(np.mean([len(rows) / rows[0] for rows in rest])))

    return draw


def _fitted(inputs: Array, wanted: Array) -> Array:
    """The weights of ridge regression."""
    found: Array = np.linalg.solve(inputs.T @ inputs + 0.1 * np.eye(inputs.shape[1]), inputs.T @ wanted)
    return found


def share_shown(draw: Draw, times: int, seed: int = 0) -> float:
    """How often a difference is shown."""
    random = np.random.default_rng(seed)
    return sum(draw(random).is_shown for _ in range(times)) / times
