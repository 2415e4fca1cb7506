"""Side-by-side measurement: same work first, then short blocks in turn, A B B A; A against itself is the control."""

from __future__ import annotations

import contextlib
import dataclasses
import math
import random
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from bench.contender import Case, Contender
from bench.ratio import Ratio, in_pairs
from bench.worker import Worker

CONTROL = "the same again (control)"
# A control further from 1 than this says more about the machine than about the contenders.
CONTROL_LIMIT = 0.03
_WARM_UPS = 2


class GateError(RuntimeError):
    """A contender does other work than the first one."""


@dataclass(frozen=True)
class Standing:
    """One contender's times; ``ratio`` is to the first contender, ``share`` of the products' peak."""

    name: str
    milliseconds: float  # the median of one unit
    ratio: Ratio
    difference: float  # largest relative difference of its proof
    share: float | None
    raw: tuple[float, ...]  # milliseconds of a unit in each block, in the order they ran


@dataclass(frozen=True)
class Result:
    """What one case gave."""

    case: str
    title: str
    unit: str
    threads: int
    standings: tuple[Standing, ...]  # the control is the last
    peak_gflops: float | None
    judged: str
    target: float

    @property
    def control(self) -> Ratio:
        """The first contender against itself."""
        return self.standings[-1].ratio

    @property
    def accepted(self) -> bool:
        """Whether the machine was quiet enough to tell."""
        return abs(self.control.median - 1) <= CONTROL_LIMIT

    @property
    def met(self) -> bool:
        """Whether the judged contender is within its target."""
        return next(s for s in self.standings if s.name == self.judged).ratio.median <= self.target


def measure(case: Case, *, rounds: int, threads: int) -> Result:
    """Run a case: a round is every contender once in a random order, and once more in the reverse order.

    GateError where contenders do different work; WorkerError where one fails.
    """
    order = random.Random(0)
    with contextlib.ExitStack() as stack:

        def started(contender: Contender) -> Worker:
            worker = Worker(contender, threads=threads)
            stack.callback(worker.close)
            return worker

        control = dataclasses.replace(case.contenders[0], name=CONTROL)
        workers = [started(contender) for contender in (*case.contenders, control)]
        differences = passed_gate(workers)
        peak = None if case.flops is None else started(Contender("GEMM", "bench.peak:Products"))
        for worker in workers * _WARM_UPS:
            worker.warm_up()
        for _ in range(rounds):
            turn = order.sample(workers, len(workers))
            for worker in (*turn, *reversed(turn)):
                worker.block()
            if peak is not None:
                peak.block()
        gflops = None if peak is None else 1e-9 / min(peak.seconds_per_unit)
        standings = [
            _standing(worker, workers[0], difference, case.flops, gflops)
            for worker, difference in zip(workers, differences, strict=True)
        ]
    return Result(case.name, case.title, case.unit, threads, tuple(standings), gflops, case.judged, case.target)


def passed_gate(workers: Sequence[Worker]) -> list[float]:
    """How far each contender's proof is from the first one's; GateError where one is beyond its tolerance."""
    proofs = [worker.prove() for worker in workers]
    differences = [largest_difference(proof, proofs[0]) for proof in proofs]
    for worker, proof, difference in zip(workers, proofs, differences, strict=True):
        if not difference <= worker.contender.tolerance:
            raise GateError(
                f"{worker.contender.name!r} does other work than {workers[0].contender.name!r}: "
                f"{proof} against {proofs[0]}, a difference of {difference:.2g}"
            )
    return differences


def largest_difference(numbers: Sequence[float], reference: Sequence[float]) -> float:
    """The largest relative difference, infinite where lengths differ or a number is not finite.

    >>> largest_difference([1.0, 2.2], [1.0, 2.0])
    0.1
    """
    if len(numbers) != len(reference) or not all(map(math.isfinite, numbers)):
        return math.inf
    pairs = zip(numbers, reference, strict=True)
    return max((round(abs(a - b) / max(abs(b), 1e-12), 12) for a, b in pairs), default=0.0)


def _standing(worker: Worker, first: Worker, difference: float, flops: float | None, gflops: float | None) -> Standing:
    times = worker.seconds_per_unit
    typical = statistics.median(times)
    return Standing(
        name=worker.contender.name,
        milliseconds=typical * 1e3,
        ratio=Ratio.of(in_pairs(times), in_pairs(first.seconds_per_unit)),
        difference=difference,
        share=None if flops is None or gflops is None else flops / typical / (gflops * 1e9),
        raw=tuple(round(seconds * 1e3, 4) for seconds in times),
    )
