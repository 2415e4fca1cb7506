"""Two models that are equally good, drawn anew each time, for each kind of test: how often is a difference "shown"?"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

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


def seeds(runs: int, n: int, gap: float = 0.0) -> Draw:
    """Several runs each of two ways to train, whose accuracy differs from seed to seed by two points."""

    def draw(random: np.random.Generator) -> Difference:
        hard = random.random(n)

        def way(better: float) -> list[Array]:
            found = []
            for _ in range(runs):
                own = 0.85 + better + 0.02 * random.normal()
                right = np.where(random.random(n) < 0.7, hard, random.random(n)) < own
                found.append(np.stack([right, np.ones(n)], axis=1).astype(float))
            return found

        return repeated_difference(way(gap), way(0.0), SHARE)

    return draw


def share_shown(draw: Draw, times: int, seed: int = 0) -> float:
    """How often a difference is shown."""
    random = np.random.default_rng(seed)
    return sum(draw(random).is_shown for _ in range(times)) / times
