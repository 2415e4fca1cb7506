"""What the machine can do at best: multiplications and additions in registers alone, by the instructions that run."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor

from corecur.kernels.library import Table, table


def peak_operations(threads: int = 1, *, seconds: float = 0.005, tries: int = 20) -> float:
    """Float32 operations a second of so many threads at once: the most that any code can reach with these instructions.

    A multiplication and an addition count as two, also where the processor has one instruction for both. It is the best
    of ``tries`` of about so many seconds, since others may use the cores too. ConfigError where there are no kernels.

    >>> from corecur.kernels.library import info
    >>> info().isa is None or peak_operations(seconds=0.001, tries=2) > 1e7
    True
    """
    kernels, rounds = table(), 1000
    while _seconds(kernels, rounds) < seconds / 2:
        rounds *= 2
    with ThreadPoolExecutor(threads) as pool:  # a foreign call lets other threads run
        return max(_operations_a_second(kernels, pool, threads, rounds) for _ in range(tries))


def _operations_a_second(kernels: Table, pool: ThreadPoolExecutor, threads: int, rounds: int) -> float:
    """From when the first of all threads begins to when the last one ends."""
    together = threading.Barrier(threads)

    def work(_: int) -> tuple[float, float, float]:
        together.wait()
        began = time.perf_counter()
        count = kernels.peak(rounds)
        return count, began, time.perf_counter()

    counts, begins, ends = zip(*pool.map(work, range(threads)), strict=True)
    return float(sum(counts) / (max(ends) - min(begins)))


def _seconds(kernels: Table, rounds: int) -> float:
    began = time.perf_counter()
    kernels.peak(rounds)
    return time.perf_counter() - began
