"""Probabilities that can be taken at their word: a temperature fitted on held-out answers, and how far they are off.

N samples, K classes, R resamples, M bins.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from corecur.errors import ShapeError

Array = NDArray[Any]

#: Between which temperatures the best one is looked for, and from how many answers on.
COLDEST, HOTTEST = 0.05, 20.0
LEAST_SAMPLES = 50
# Answers a bin of the calibration error has at least, and how many bins there are at most.
_LEAST_IN_BIN, _MOST_BINS = 20, 15
_RESAMPLES, _MOST_DRAWN = 1000, 20_000_000
_GRID = 6
# A softmax in float32 can round to 0, whose logarithm is no number.
_SMALLEST = 1e-38


@dataclass(frozen=True)
class Calibration:
    """What was done to a classifier's probabilities after its training, by ``samples`` of the validation split.

    ``before`` and ``after`` are its negative log-likelihoods there; ``obstacle`` says why no temperature was fitted.
    ``noun`` is what the samples are called.
    """

    temperature: float = 1.0
    samples: int = 0
    before: float | None = None
    after: float | None = None
    obstacle: str | None = None
    noun: str = "samples"

    def sentence(self) -> str:
        """What was done, in words.

        >>> Calibration(obstacle="there is no validation split").sentence()
        'probabilities are as the network gives them: there is no validation split'
        """
        if self.obstacle is not None or self.before is None or self.after is None:
            return f"probabilities are as the network gives them: {self.obstacle}"
        changed = "softer" if self.temperature > 1 else "sharper"
        changed = f"made {changed}" if abs(math.log(self.temperature)) > 0.01 else "nearly left as they are"
        return (
            f"probabilities {changed} (temperature {self.temperature:.3f}, fitted on {self.samples:,} validation "
            f"{self.noun}: negative log-likelihood {self.before:.4f} to {self.after:.4f})"
        )

    def as_json(self) -> dict[str, Any]:
        """The parts as JSON values."""
        return {
            "temperature": self.temperature,
            "samples": self.samples,
            "validation_nll_before": self.before,
            "validation_nll_after": self.after,
            "obstacle": self.obstacle,
        }


def calibrate(probabilities: Tensor, labels: Tensor) -> Calibration:
    """The temperature for answers (N, K) to held-out samples with labels (N,), or why there is none.

    >>> sure, right = torch.tensor([[0.99, 0.01]] * 100), torch.tensor([0] * 80 + [1] * 20)
    >>> found = calibrate(sure, right)
    >>> round(float(tempered(sure, found.temperature)[0, 0]), 4)
    0.8
    """
    count = len(labels)
    if count < LEAST_SAMPLES:
        return too_few(count)
    if not bool(probabilities.isfinite().all()):
        return Calibration(samples=count, obstacle="some answers to the validation samples are no numbers")
    temperature = fit_temperature(probabilities, labels)
    after = tempered(probabilities, temperature)
    return Calibration(temperature, count, nll(probabilities, labels), nll(after, labels))


def too_few(count: int, noun: str = "samples") -> Calibration:
    """What is said where the validation split is too small.

    >>> too_few(3, "words").sentence()
    'probabilities are as the network gives them: 3 validation words are too few to fit them on (50 are needed)'
    """
    why = f"{count:,} validation {noun} are too few to fit them on ({LEAST_SAMPLES} are needed)"
    return Calibration(samples=count, obstacle=why, noun=noun)


def least_temperature(loss: Callable[[float], float]) -> float:
    """The temperature with the least ``loss``, where that need not be convex: the best of a grid, then closer.

    >>> least_temperature(lambda t: (math.log(t) - 1) ** 2)
    2.7183
    """
    from scipy.optimize import minimize_scalar

    low, high = math.log(COLDEST), math.log(HOTTEST)
    grid = [low + (high - low) * place / _GRID for place in range(_GRID + 1)]
    losses = [loss(math.exp(place)) for place in grid]
    best = min(range(len(grid)), key=lambda place: (losses[place], abs(grid[place])))
    around = (grid[max(0, best - 1)], grid[min(_GRID, best + 1)])
    found = minimize_scalar(lambda x: loss(math.exp(x)), bounds=around, method="bounded", options={"xatol": 1e-4})
    nearest = float(found.x) if found.fun < losses[best] else grid[best]
    return min(HOTTEST, max(COLDEST, round(math.exp(nearest), 4)))


def fit_temperature(probabilities: Tensor, labels: Tensor) -> float:
    """The T of softmax(log p / T) with the least negative log-likelihood of labels (N,), for answers p (N, K).

    Guo et al. 2017, "On Calibration of Modern Neural Networks". The likelihood is convex in 1 / T, so that its slope
    has one root, found by bisection. Where every answer is right it has none: the surer, the better;
    the targets are then Platt's (1999), (N + 1) / (N + 2) for the label and the rest for the other classes.

    >>> round(fit_temperature(torch.tensor([[0.9, 0.1]] * 10), torch.tensor([0] * 9 + [1])), 4)
    1.0
    """
    logits = probabilities.double().clamp_min(_SMALLEST).log()  # (N, K)
    count, classes = logits.shape
    if classes == 1:
        return 1.0
    of_truth = logits.gather(1, labels[:, None].long())[:, 0]
    if bool((of_truth >= logits.max(1).values).all()):
        other = (logits.sum(1) - of_truth) / (classes - 1)
        of_truth = (of_truth * (count + 1) + other) / (count + 2)

    def slope(sharpness: float) -> float:
        """The derivative of the mean negative log-likelihood by 1 / T."""
        shares = (logits * sharpness).softmax(1)
        return float(((shares * logits).sum(1) - of_truth).mean())

    low, high = 1 / HOTTEST, 1 / COLDEST
    if slope(low) >= 0:
        return HOTTEST
    if slope(high) <= 0:
        return COLDEST
    while True:
        middle = (low + high) / 2
        if middle in (low, high) or high - low < 1e-10 * high:
            return round(1 / middle, 9)
        low, high = (middle, high) if slope(middle) < 0 else (low, middle)


def tempered(probabilities: Tensor, temperature: float) -> Tensor:
    """Answers (N, K) with softmax(log p / T) in place of p; each label stays what it was.

    >>> tempered(torch.tensor([[0.8, 0.2]]), 2.0)
    tensor([[0.6667, 0.3333]])
    """
    if temperature == 1.0 or not len(probabilities):
        return probabilities
    scaled = (probabilities.double().clamp_min(_SMALLEST).log() / temperature).softmax(1)
    found = torch.where(probabilities.isfinite().all(1, keepdim=True), scaled, probabilities.double())
    found = found.to(probabilities.dtype)
    # Rounding may make two classes equal, of which another would come first.
    answers = probabilities.argmax(1)
    lost = (found.argmax(1) != answers).nonzero()[:, 0]
    if len(lost):
        above = torch.nextafter(found[lost].max(1).values, torch.tensor(math.inf, dtype=found.dtype))
        found[lost, answers[lost]] = above
    return found


def nll(probabilities: Tensor, labels: Tensor) -> float:
    """The mean negative log-likelihood of labels (N,) under answers (N, K).

    >>> round(nll(torch.tensor([[0.5, 0.5]]), torch.tensor([1])), 4)
    0.6931
    """
    of_truth = probabilities.gather(1, labels[:, None].long()).double().clamp_min(1e-12)
    return float(-of_truth.log().mean())


def brier(probabilities: Tensor, labels: Tensor) -> float:
    """The mean over samples of Σ (p - y)² for answers (N, K), from 0 to 2 (Brier 1950).

    >>> brier(torch.tensor([[1.0, 0.0], [0.5, 0.5]]), torch.tensor([0, 0]))
    0.25
    """
    right = torch.nn.functional.one_hot(labels.long(), probabilities.shape[1])
    return float((probabilities.double() - right).square().sum(1).mean())


@dataclass(frozen=True)
class Bins:
    """Answers in bins of equally many by their confidence: counts, mean confidence and share of right ones, (M,) each.

    ``error`` is the expected calibration error, the mean distance of the two weighted by counts (Naeini et al. 2015,
    doi:10.1609/aaai.v29i1.9602, with equal mass in place of equal width), ``interval`` its 95 % interval.
    """

    counts: Array
    said: Array
    right: Array
    error: float
    interval: tuple[float, float]


def calibration_bins(confidences: Array, correct: Array, *, groups: Array | None = None, seed: int = 0) -> Bins:
    """How far confidences (N,), from 0 to 1, can be believed: set against whether the answers were correct (N,).

    The edges are quantiles of the confidences, so that no bin is nearly empty; equal confidences stand in one bin. The
    interval is a bootstrap over samples with these edges. Noise only adds to the error: that of the sample to its own,
    that of a resample once more, which shows how much it is; both are taken off. It begins at 0 where confidences that
    are exactly right would show as large an error in one sample of twenty or more (Bröcker & Smith 2007). Samples that
    depend on each other, as the words of a sentence, have one number in ``groups`` (N,), from 0: whole groups are drawn
    then. Raises ShapeError where the lengths differ or are 0.

    >>> bins = calibration_bins(np.array([0.9] * 10), np.array([1] * 8 + [0] * 2))
    >>> round(bins.error, 3), bins.counts.tolist()
    (0.1, [10])
    """
    said, right = np.asarray(confidences, dtype=float).ravel(), np.asarray(correct, dtype=float).ravel()
    if said.shape != right.shape or not said.size:
        raise ShapeError("one confidence per answer is needed", got=f"{said.size} confidences, {right.size} answers")
    number = max(1, min(_MOST_BINS, said.size // _LEAST_IN_BIN))
    edges = np.percentile(said, 100 * np.linspace(0, 1, number + 1))
    place = np.searchsorted(edges[1:-1], said)
    counts = np.bincount(place, minlength=number)
    full = counts > 0
    gaps = np.bincount(place, right - said, number)
    error = float(np.abs(gaps).sum() / said.size)
    group = None if groups is None else np.asarray(groups).ravel()
    if group is not None and group.shape != said.shape:
        raise ShapeError("one group per answer is needed", got=f"{group.size} groups, {said.size} answers")
    resampled, unbiased = _resampled_errors(place, said, right, number, seed, group)
    low, high = np.quantile(resampled, (0.025, 0.975)) - 2 * max(0.0, float(resampled.mean()) - error)
    return Bins(
        counts[full],
        np.bincount(place, said, number)[full] / counts[full],
        np.bincount(place, right, number)[full] / counts[full],
        error,
        (0.0 if error <= np.quantile(unbiased, 0.95) else max(0.0, float(low)), min(1.0, max(0.0, float(high)))),
    )


def _resampled_errors(
    place: Array, said: Array, right: Array, bins: int, seed: int, groups: Array | None
) -> tuple[Array, Array]:
    """Calibration errors of samples drawn from the sample, and of ones that confidences are right for, (R,) each."""
    count, gaps = len(place), right - said
    draws = max(100, min(_RESAMPLES, _MOST_DRAWN // count))
    random = np.random.default_rng(seed)
    found = np.empty((2, draws))
    if groups is not None:
        many = int(groups.max()) + 1
        sums = np.bincount(groups * bins + place, gaps, many * bins).reshape(many, bins)  # (groups, M)
        sizes = np.bincount(groups, minlength=many)
        drawn_groups = random.multinomial(many, np.full(many, 1 / many), size=draws)  # (R, groups)
        found[0] = np.abs(drawn_groups @ sums).sum(1) / np.maximum(drawn_groups @ sizes, 1)
    for number in range(draws):
        if groups is None:
            drawn = random.integers(0, count, count)
            found[0, number] = np.abs(np.bincount(place[drawn], gaps[drawn], bins)).sum() / count
        exact: Array = (random.random(count) < said) - said
        found[1, number] = np.abs(np.bincount(place, exact, bins)).sum() / count
    return found[0], found[1]
