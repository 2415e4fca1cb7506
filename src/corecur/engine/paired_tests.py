"""Whether two models differ: paired tests on the samples that both answered, intervals, and the verdict in words.

Shapes: N samples, U units that are independent of each other (samples, sentences, blocks of neighbours), K counts.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import NDArray

from corecur.engine.intervals import around
from corecur.errors import ConfigError, ShapeError

ALPHA, POWER = 0.05, 0.8
DRAWS, RESAMPLES = 9999, 2000
_FIRST = 999  # draws after which a p far from any verdict is left as it is
_CHUNK = 4_000_000  # numbers drawn at once
Array = NDArray[np.float64]
#: A figure from summed counts (…, K) -> (…): what a model's totals over its units come to.
Score = Callable[[Any], Any]


@dataclass(frozen=True)
class Measure:
    """How a figure is read: its name, which way is better, and whether people see it in percent.

    >>> Measure("accuracy").show(0.971), Measure("MSE", higher_is_better=False, percent=False).show(0.3217)
    ('97.1 %', '0.322')
    """

    name: str
    higher_is_better: bool = True
    percent: bool = True

    def show(self, value: float, decimals: int | None = None) -> str:
        """The figure for people."""
        if not math.isfinite(value):
            return "–"
        places = (1 if self.percent else 3) if decimals is None else decimals
        return f"{100 * value:.{places}f} %" if self.percent else f"{value:.{places}f}"

    @property
    def bounds(self) -> tuple[float, float]:
        """Between which numbers a figure lies, whatever the data: shares end at 1, losses and errors begin at 0."""
        return (0, 1) if self.percent else (0, math.inf)

    def decimals(self, width: float) -> int:
        """Decimals that show an interval of this width, with two digits of it."""
        seen = 100 * width if self.percent else width
        least = 1 if self.percent else 3
        return least if seen <= 0 else min(6, max(least, 1 - math.floor(math.log10(seen))))


@dataclass(frozen=True)
class Difference:
    """Two models on the same samples: their figures, ``a - b`` with its 95 % interval, and p of "there is none".

    ``error`` is the standard error of the difference. ``units`` are the independent pieces behind it, ``least`` how
    many of them the test needs before it can show anything at all. ``freedom`` is that of Student's t where the error
    is not of the test samples alone, so that more of them would not do.
    """

    a: float
    b: float
    low: float
    high: float
    p: float
    error: float
    samples: int
    units: int
    test: str
    least: int = 6
    freedom: int | None = None

    @property
    def difference(self) -> float:
        """The figure of the first less that of the second."""
        return self.a - self.b

    @property
    def is_shown(self) -> bool:
        """Whether a difference is shown, for one pair alone: p is at most 0.05."""
        return self.p <= ALPHA

    def more_samples(self, pairs: int = 1) -> int | None:
        """How many more samples would show a difference of this size four times of five; None where none is seen.

        From n (z' se / d)² samples, z' the sum of the normal quantiles of ``ALPHA / pairs`` and ``POWER``.
        """
        if self.difference == 0 or self.error == 0 or self.freedom is not None:
            return None
        times = (_reach(pairs) * self.error / abs(self.difference)) ** 2
        return max(1, math.ceil(self.samples * (times - 1)))

    def detectable(self, pairs: int = 1) -> float:
        """The difference that this many samples would show four times of five."""
        return _reach(pairs, self.freedom) * self.error

    def as_json(self) -> dict[str, Any]:
        """The parts as JSON values."""
        return {
            "a": self.a, "b": self.b, "difference": self.difference, "interval": [self.low, self.high],
            "level": 1 - ALPHA, "p": self.p, "test": self.test, "samples": self.samples, "units": self.units,
        }  # fmt: skip


def _reach(pairs: int, freedom: int | None = None) -> float:
    normal = NormalDist()
    if freedom is not None:
        return t_quantile(1 - ALPHA / max(1, pairs), freedom) + t_quantile(2 * POWER - 1, freedom)
    return normal.inv_cdf(1 - ALPHA / (2 * max(1, pairs))) + normal.inv_cdf(POWER)


def mcnemar(right_a: Sequence[bool] | NDArray[Any], right_b: Sequence[bool] | NDArray[Any]) -> Difference:
    """Two classifiers on the same samples (N,): whether each answered rightly. McNemar's exact test of accuracy.

    Of the samples that only one of them answers rightly, each is as likely the one's as the other's where they are
    equally good: p is the two-sided binomial one (McNemar 1947). The interval is that of Bonett & Price (2012) for the
    difference of paired shares, widened to the one that belongs to the test where that is wider.

    >>> found = mcnemar([True] * 95 + [False] * 5, [True] * 85 + [False] * 15)
    >>> found.a, found.b, round(found.p, 5), 0 < found.low < 0.1 < found.high
    (0.95, 0.85, 0.00195, True)
    """
    a, b = np.asarray(right_a, dtype=bool), np.asarray(right_b, dtype=bool)
    _check_pairs(a, b)
    if a.ndim != 1:
        raise ShapeError("McNemar's test takes one answer a sample", got=a.shape, expected="(N,)")
    n, only_a, only_b = len(a), int((a & ~b).sum()), int((b & ~a).sum())
    apart = only_a + only_b
    p = 1.0 if apart == 0 else min(1.0, 2 * _tail(min(only_a, only_b), apart, 0.5))
    low, high = _bonett_price(only_a, only_b, n)
    if apart:
        inner = _clopper_pearson(only_a, apart)
        low, high = (f(end, apart / n * (2 * q - 1)) for f, end, q in zip((min, max), (low, high), inner, strict=True))
    share = apart / n
    error = math.sqrt(max(0.0, share - ((only_a - only_b) / n) ** 2) / n)
    error = error or math.sqrt(share / n)  # all those apart go one way
    return Difference(float(a.mean()), float(b.mean()), max(-1.0, low), min(1.0, high), p, error, n, n, "McNemar")


def paired_difference(
    a: Sequence[float] | NDArray[Any],
    b: Sequence[float] | NDArray[Any],
    score: Score | None = None,
    *,
    block: int = 1,
    samples: int | None = None,
    seed: int = 0,
) -> Difference:
    """Two models by a figure of what each got on the same units: (U,) values, or (U, K) counts with a ``score``.

    The test swaps the models' results unit by unit, all ways alike where the models are equally good (approximate
    randomisation, Noreen 1989; every way where there are few units), the interval draws units with replacement
    (percentile bootstrap, widened for few units, Hesterberg 2015); p is the larger of the swaps' and that of a t test
    with the bootstrap's standard error, so that test and interval agree. ``score`` turns summed counts (…, K) into the
    figure; without one it is the mean. ``block`` joins so many neighbours, in the order of time, into one unit: values
    that err alike within a block are not taken for independent. ``samples`` is what people count, by default U.

    >>> values = np.random.default_rng(0).normal(size=(2, 200)) + [[0.5], [0.0]]
    >>> found = paired_difference(*values)
    >>> found.low < found.difference < found.high, found.p <= 0.05
    (True, True)
    """
    one, two = (np.asarray(values, dtype=np.float64) for values in (a, b))
    _check_pairs(one, two)
    count = len(one)
    if one.ndim == 1:
        one, two = (np.stack([values, np.ones(count)], axis=1) for values in (one, two))
        score = score or _mean
    if score is None:
        raise ConfigError("a table of counts needs a score", expected="score=, a function of summed counts")
    one, two = joined(one, block), joined(two, block)
    first, second, stretch = float(score(one.sum(0))), float(score(two.sum(0))), _stretch(block)
    low, high, error = _resampled(
        np.stack([one, two]), lambda total: score(total[0]) - score(total[1]), first - second, stretch, seed
    )
    p = max(_swapped(one, two, score, (first - second) / stretch, seed), _t_test(first - second, error, len(one)))
    if p > ALPHA:  # a test and an interval that say the same
        low, high = min(low, 0.0), max(high, 0.0)
    return Difference(first, second, low, high, p, error, samples or count, len(one), "paired randomisation")


def figure_interval(
    values: Sequence[float] | NDArray[Any],
    score: Score | None = None,
    *,
    block: int = 1,
    seed: int = 0,
    bounds: tuple[float, float] = (-math.inf, math.inf),
) -> tuple[float, float] | None:
    """The 95 % bootstrap interval of one model's figure, drawn as in ``paired_difference``; None below 5 units.

    It does not pass the ``bounds`` of the figure, and is widened to the t interval on a scale on which they are
    infinitely far away (`around`): of few values, most of them small, the percentiles alone end too low.

    >>> low, high = figure_interval([0.0, 1.0] * 50)
    >>> 0.35 < low < 0.5 < high < 0.65
    True
    """
    table = np.asarray(values, dtype=np.float64)
    if table.ndim == 1:
        table, score = np.stack([table, np.ones(len(table))], axis=1), score or _mean
    if score is None:
        raise ConfigError("a table of counts needs a score", expected="score=, a function of summed counts")
    table, figure = joined(table, block), score
    units = len(table)
    if units < 5:
        return None
    seen, stretch = float(figure(table.sum(0))), _stretch(block)
    low, high, error = _resampled(table[None], lambda total: figure(total[0]), seen, stretch, seed)
    if bounds == (-math.inf, math.inf):
        return low, high
    half = t_quantile(1 - ALPHA, units - 1) * error * math.sqrt(units / (units - 1))
    least, most = around(seen, half, bounds)
    return max(bounds[0], min(low, least)), min(bounds[1], max(high, most))


def holm(ps: Sequence[float]) -> list[float]:
    """p values of several tests, corrected so that all verdicts together err at most 1 time of 20 (Holm 1979).

    >>> [round(p, 3) for p in holm([0.01, 0.04, 0.03])]
    [0.03, 0.06, 0.06]
    """
    corrected, least = [1.0] * len(ps), 0.0
    for rank, place in enumerate(sorted(range(len(ps)), key=ps.__getitem__)):
        least = max(least, min(1.0, (len(ps) - rank) * ps[place]))
        corrected[place] = least
    return corrected


def verdict(
    found: Difference,
    names: tuple[str, str],
    measure: Measure,
    *,
    corrected: float | None = None,
    pairs: int = 1,
    noun: str = "samples",
) -> str:
    """What the difference comes to, in words; ``corrected`` is p after a correction for so many ``pairs``.

    >>> found = mcnemar([True] * 95 + [False] * 5, [True] * 85 + [False] * 15)
    >>> print(verdict(found, ("gru", "lstm"), Measure("accuracy")))
    gru is better: accuracy 95.0 % against 85.0 %, difference 10.0 points (3.4 to 16.2), p = 0.002
    >>> print(verdict(mcnemar([True] * 3, [True] * 3), ("gru", "lstm"), Measure("accuracy")))
    no difference shown: accuracy 100.0 % for both, on all 3 test samples alike
    """
    p = found.p if corrected is None else corrected
    is_better = (found.difference > 0) == measure.higher_is_better
    sign = 1 if p > ALPHA or found.difference > 0 else -1
    places = measure.decimals(found.high - found.low)
    low, high = sorted((sign * found.low, sign * found.high))
    gap, low_, high_ = (_gap(v, measure, places) for v in (sign * found.difference, low, high))
    unit = " points" if measure.percent else ""
    size = f"difference {gap}{unit} ({low_} to {high_})"
    chance = f"p {_p(found.p)}" + (f", {_p(p).removeprefix('= ')} corrected for {pairs:,} tests" if pairs > 1 else "")
    a, b = (measure.show(value, places) for value in (found.a, found.b))
    if p <= ALPHA:
        better, worse, name = (a, b, names[0]) if is_better else (b, a, names[1])
        return f"{name} is better: {measure.name} {better} against {worse}, {size}, {chance}"
    if found.error == 0:
        return f"no difference shown: {measure.name} {a} for both, on all {found.samples:,} test {noun} alike"
    said = f"no difference shown: {measure.name} {a} for {names[0]}, {b} for {names[1]}, {size}, {chance}"
    return f"{said}; {_what_it_takes(found, measure, places, pairs, noun)}"


def _what_it_takes(found: Difference, measure: Measure, places: int, pairs: int, noun: str) -> str:
    if found.units < found.least:
        pieces = "piece of the test is" if found.units == 1 else "pieces of the test are"
        return f"{found.units} independent {pieces} too few to show any difference"
    more = found.more_samples(pairs)
    if more is None or more > 100 * found.samples:
        least = found.detectable(pairs)
        if measure.percent and least > 1:
            return "so few trainings, so far apart, cannot show a difference of any size"
        seen = _gap(least, measure, places) + (" points" if measure.percent else "")
        return f"a difference of {seen} or more would likely have been seen"
    return f"about {_rounded(more):,} more test {noun} would be needed to show a difference of this size"


def joined(values: Array, block: int) -> Array:
    """Sums of so many neighbours (U, K) -> (⌊U / block⌋ or 1, K); what is left over at the end joins the last ones.

    >>> joined(np.ones((7, 1)), 3).ravel().tolist()
    [3.0, 4.0]
    """
    if block < 1:
        raise ConfigError("a block holds 1 value or more", got=block)
    starts = np.arange(max(1, len(values) // block)) * block
    return values if block == 1 else np.add.reduceat(values, starts, axis=0)


def _check_pairs(a: NDArray[Any], b: NDArray[Any]) -> None:
    if a.shape != b.shape or a.ndim not in (1, 2) or not len(a):
        raise ShapeError(
            "paired tests take the results of two models on the same samples", got=f"{a.shape} and {b.shape}"
        )
    if not (np.isfinite(a).all() and np.isfinite(b).all()):
        raise ConfigError("paired tests take finite numbers", got="NaN or infinity")


def _mean(total: Any) -> Any:
    return total[..., 0] / total[..., 1]


def _swapped(one: Array, two: Array, score: Score, seen: float, seed: int) -> float:
    """p: the share of swaps (U signs each) whose difference is as large as the one seen, which is one of them."""
    units = len(one)
    both, apart = (one + two).sum(0) / 2, (one - two) / 2  # (K,), (U, K)
    if not apart.any():
        return 1.0
    least = abs(seen) * (1 - 1e-9) - 1e-15

    def as_large(signs: NDArray[Any]) -> int:
        move = signs @ apart  # (draws, K)
        return int((np.abs(score(both + move) - score(both - move)) >= least).sum())

    if 2**units <= DRAWS:  # every way
        ways = (np.arange(2**units)[:, None] >> np.arange(units)) & 1
        return as_large(1.0 - 2.0 * ways) / float(2**units)
    generator, count, done = np.random.default_rng(seed), 0, 0
    for drawn in [*_pieces(_FIRST, units), *_pieces(DRAWS - _FIRST, units)]:
        count += as_large(1.0 - 2.0 * generator.integers(0, 2, (drawn, units), dtype=np.int8))
        done += drawn
        if count > _FIRST / 4:  # far from any verdict: more digits of p serve nobody
            break
    return (1 + count) / (1 + done)


def _resampled(tables: Array, figure: Score, seen: float, stretch: float, seed: int) -> tuple[float, float, float]:
    """Low, high and standard error of a figure of the totals of tables (M, U, K), whose units are drawn together."""
    units, found = tables.shape[1], []
    generator = np.random.default_rng(seed + 1)
    for drawn in _pieces(RESAMPLES, units):
        places = generator.integers(0, units, (drawn, units)) + np.arange(drawn)[:, None] * units
        weights = np.bincount(places.ravel(), minlength=drawn * units).reshape(drawn, units).astype(np.float64)
        found.append(figure(np.stack([weights @ table for table in tables])))  # of (M, drawn, K)
    figures = np.concatenate(found)
    figures = seen + (figures - seen) * stretch
    # For few units: quantiles further out, by what a t distribution and the missing n / (n - 1) ask for.
    freedom = max(1, units - 1)
    reach = t_quantile(1 - ALPHA, freedom) * math.sqrt(units / freedom)
    tail = 1 - NormalDist().cdf(reach)
    low, high = np.quantile(figures, [tail, 1 - tail])
    return float(low), float(high), float(figures.std())


def _pieces(total: int, width: int) -> list[int]:
    size = max(1, min(total, _CHUNK // max(1, width)))
    return [min(size, total - start) for start in range(0, total, size)]


def _stretch(block: int) -> float:
    """How much wider an interval is made than the bootstrap says.

    Neighbouring blocks touch: values alike up to half a block away, less so with the distance, leave up to a fifth of
    the variance to pairs of blocks. Single units get 4 %: the bootstrap errs a little on the bold side for few of them,
    and a verdict shall be false at most one time of 20 (``tests/soak/test_comparison.py`` counts).
    """
    return 1.04 if block == 1 else math.sqrt(1 / (1 - 1 / 5))


def _t_test(difference: float, error: float, units: int) -> float:
    """The two-sided p of a difference with a bootstrap's standard error, which lacks a factor of n / (n - 1)."""
    if error == 0 or units < 2:
        return 1.0 if difference == 0 or units < 2 else 0.0
    return 1 - within_t(abs(difference) / error * math.sqrt((units - 1) / units), units - 1)


def within_t(t: float, freedom: int) -> float:
    """P(|T| <= t) of Student's t, by its finite sum (Abramowitz & Stegun 26.7.3 and 26.7.4).

    >>> round(within_t(2.0, 10), 4)
    0.9266
    """
    if freedom > 1000:
        return 2 * NormalDist().cdf(t) - 1
    angle = math.atan(t / math.sqrt(freedom))
    odd, cosine = freedom % 2, math.cos(angle)
    term, total = (cosine, 0.0) if odd else (1.0, 0.0)
    for power in range(1 if odd else 0, freedom - 1, 2):
        total += term
        term *= cosine**2 * (power + 1) / (power + 2)
    total *= math.sin(angle)
    return 2 / math.pi * (angle + total) if odd else total


def t_quantile(level: float, freedom: int) -> float:
    """The t of ``within_t(t, freedom) == level``, up to 100.

    >>> round(t_quantile(0.95, 10), 3)
    2.228
    """
    return halved(lambda t: within_t(t, freedom) < level, 100.0)


def _tail(k: int, n: int, q: float) -> float:
    """P(X <= k) for a binomial X of n draws with probability q, from sums of logarithms."""
    if q <= 0 or q >= 1:
        return 1.0 if q <= 0 or k >= n else 0.0
    steps = np.arange(1, k + 1, dtype=np.float64)
    logs = np.concatenate([[0.0], np.cumsum(np.log(n - steps + 1) - np.log(steps) + math.log(q) - math.log1p(-q))])
    logs += n * math.log1p(-q)
    top = float(logs.max())
    return float(math.exp(top) * np.exp(logs - top).sum())


def _clopper_pearson(k: int, n: int) -> tuple[float, float]:
    """The exact 95 % interval of a share (Clopper & Pearson 1934), by halving."""
    high = 1.0 if k == n else halved(lambda q: _tail(k, n, q) > ALPHA / 2, 1.0)
    low = 0.0 if k == 0 else 1 - halved(lambda q: _tail(n - k, n, q) > ALPHA / 2, 1.0)
    return low, high


def halved(is_below: Callable[[float], bool], high: float) -> float:
    """Where a condition that holds from 0 on ends, at ``high`` or before.

    >>> round(halved(lambda value: value**2 < 2, 10.0), 6)
    1.414214
    """
    low = 0.0
    for _ in range(40):
        middle = (low + high) / 2
        low, high = (middle, high) if is_below(middle) else (low, middle)
    return (low + high) / 2


def _bonett_price(only_a: int, only_b: int, n: int) -> tuple[float, float]:
    one, two = (only_a + 1) / (n + 2), (only_b + 1) / (n + 2)
    half = NormalDist().inv_cdf(1 - ALPHA / 2) * math.sqrt(max(0.0, one + two - (one - two) ** 2) / (n + 2))
    return one - two - half, one - two + half


def _gap(value: float, measure: Measure, places: int) -> str:
    shown = f"{100 * value if measure.percent else value:.{places}f}"
    return shown.removeprefix("-") if float(shown) == 0 else shown.replace("-", "−")


def _p(p: float) -> str:
    if p < 0.001:
        return "< 0.001"
    return f"= {p:.3f}" if p < 0.1 else f"= {p:.2f}"


def _rounded(count: int) -> int:
    """A count to two digits: it is an estimate."""
    size: int = 10 ** max(0, len(str(count)) - 2)
    return math.ceil(count / size) * size
