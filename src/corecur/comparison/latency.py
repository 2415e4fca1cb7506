"""How long the models take to answer for one sample: measured now, in turns."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

# At least so many answers of each, and more while there is time left.
_LEAST, _MOST, _WARM = 20, 200, 3


@dataclass(frozen=True)
class Latency:
    """Seconds to answer for one sample: the middle, and what 95 of 100 answers stay below."""

    p50: float
    p95: float
    calls: int


def measure_latency(answers: Sequence[Callable[[], object]], *, seconds: float = 2.0) -> list[Latency]:
    """The latency of each, called in turns so that a busy moment of the machine hits all of them alike.

    About ``seconds`` are spent on each, but 20 calls at least.

    >>> found = measure_latency([lambda: None, lambda: time.sleep(0.002)], seconds=0.05)
    >>> found[0].p50 < found[1].p50, found[1].p50 >= 0.002
    (True, True)
    """
    for answer in answers:
        for _ in range(_WARM):
            answer()
    taken: list[list[float]] = [[] for _ in answers]
    end = time.perf_counter() + seconds * len(answers)
    for turn in range(_MOST):
        if turn >= _LEAST and time.perf_counter() > end:
            break
        for answer, times in zip(answers, taken, strict=True):
            began = time.perf_counter()
            answer()
            times.append(time.perf_counter() - began)
    return [Latency(float(np.median(times)), float(np.quantile(times, 0.95)), len(times)) for times in taken]
