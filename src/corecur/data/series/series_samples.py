"""Series known by a name, made here from a seed: they need no network and are the same on every day.

Shapes: N series, T time, C channels.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from corecur.data.series.columns import Column
from corecur.data.series.recordings import GatheredSeries, SeriesPart
from corecur.names import Table

SHAPES = ("cylinder", "bell", "funnel")
_STEPS, _EACH = 128, 100


@dataclass(frozen=True)
class SeriesSample:
    """A set of that name: what it is for (classification or forecast), what makes it, and what it is, in words."""

    task: str
    make: Callable[[], GatheredSeries] | Callable[[], tuple[Column, ...]]
    about: str


def waves() -> GatheredSeries:
    """300 noisy series of 128 steps: a plateau (cylinder), a rise and a fall (bell), a jump and a slope (funnel).

    The shapes begin and end at random steps (Saito, "Local feature extraction and its applications using a library of
    bases", 1994).

    >>> found = waves()
    >>> len(found.parts["train"]), found.classes
    (300, ('cylinder', 'bell', 'funnel'))
    """
    random = np.random.default_rng(1994)
    kinds = np.repeat(np.arange(len(SHAPES)), _EACH)  # (N,)
    random.shuffle(kinds)
    start = random.integers(_STEPS // 8, _STEPS // 4 + 1, len(kinds))[:, None]  # (N, 1)
    stop = start + random.integers(_STEPS // 4, 3 * _STEPS // 4 + 1, len(kinds))[:, None]
    steps = np.arange(1, _STEPS + 1)[None]  # (1, T)
    inside = (steps >= start) & (steps <= stop)  # (N, T)
    slope = (steps - start) / (stop - start)
    ramps = np.stack([np.ones_like(slope), slope, 1 - slope])[kinds, np.arange(len(kinds))]  # (N, T)
    height = 6 + random.standard_normal((len(kinds), 1))
    values = height * inside * ramps + random.standard_normal((len(kinds), _STEPS))
    series = [one[:, None] for one in values.round(4)]
    names = [f"train[{row}]" for row in range(len(series))]
    return GatheredSeries("sample", {"train": SeriesPart(series, np.array(SHAPES)[kinds], names)}, ("value",), SHAPES)


def passengers() -> tuple[Column, ...]:
    """180 months of a count that grows, with a yearly season that grows with it.

    >>> [column.name for column in passengers()]
    ['month', 'passengers']
    """
    random = np.random.default_rng(1949)
    months = np.arange(180)
    level = np.log(110) + 0.0105 * months
    season = 0.16 * np.sin(2 * np.pi * (months - 3.5) / 12) + 0.07 * np.sin(4 * np.pi * (months + 1) / 12)
    counts = np.rint(np.exp(level + season + _correlated(random, len(months), 0.7, 0.025)))
    return _columns("month", np.datetime64("2005-01", "M") + months, {"passengers": counts})


def demand() -> tuple[Column, ...]:
    """4,320 hours of the load of a small grid, with the temperature that drives it: days, weeks, a year, weather.

    >>> [column.name for column in demand()]
    ['time', 'load', 'temperature']
    """
    random = np.random.default_rng(2024)
    hours = np.arange(180 * 24)
    times = np.datetime64("2024-01-01T00", "h") + hours  # a Monday
    hour, weekend = hours % 24, (hours // 24) % 7 >= 5
    yearly = -np.cos(2 * np.pi * hours / (365.25 * 24))
    weather = _correlated(random, len(hours), 0.985, 0.6)
    temperature = 10 + 8 * yearly + 4 * np.sin(2 * np.pi * (hour - 9) / 24) + weather
    morning, evening = np.exp(-(((hour - 8) / 2.5) ** 2)), np.exp(-(((hour - 19) / 3.0) ** 2))
    daily = (18 * morning + 24 * evening) * np.where(weekend, 0.7, 1.0)
    load = 60 + daily - 6 * weekend + 0.9 * np.abs(temperature - 16) + _correlated(random, len(hours), 0.6, 1.2)
    return _columns("time", times, {"load": load.round(2), "temperature": temperature.round(2)})


def _correlated(random: np.random.Generator, count: int, memory: float, spread: float) -> NDArray[np.float64]:
    """Noise (T,) that remembers: x(t) = memory · x(t-1) + spread · e(t)."""
    noise = spread * random.standard_normal(count)
    for step in range(1, count):
        noise[step] += memory * noise[step - 1]
    return noise


def _columns(name: str, times: NDArray[np.datetime64], values: dict[str, NDArray[np.float64]]) -> tuple[Column, ...]:
    rows = range(1, len(times) + 1)
    columns = {name: times.astype("datetime64[us]"), **values}
    return tuple(Column(title, cells, rows) for title, cells in columns.items())


SERIES_SAMPLES: Table[SeriesSample] = Table(
    "series sample",
    {
        "waves": SeriesSample("classification", waves, "three shapes in noise: cylinder, bell and funnel"),
        "passengers": SeriesSample("forecast", passengers, "a monthly count with trend and season"),
        "demand": SeriesSample("forecast", demand, "hourly load of a grid, and the temperature"),
    },
)
