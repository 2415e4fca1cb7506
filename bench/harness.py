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
    """One contender's times; ``ratio`` is to the first contender."""

    name: str
    milliseconds: float  # the median of one unit
    ratio: Ratio
    difference: float  # largest relative difference of its proof
    share: float | None  # of the peak of large products
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


@dataclass(frozen=True)
class Sitting:
    """What one set of processes gave: each contender's times of a unit, and how far its proof is from the first."""

    seconds: tuple[list[float], ...]
    differences: list[float]
    peak: list[float]  # seconds of one floating-point operation in large products


def measure(case: Case, *, rounds: int, threads: int, sittings: int = 1) -> Result:
    """Run a case in several sittings, each with new processes: how memory falls out differs from process to process.

    GateError where contenders do different work; WorkerError where one fails.
    """
    order = random.Random(0)
    control = dataclasses.replace(case.contenders[0], name=CONTROL)
    contenders = (*case.contenders, control)
    held = [sit(case, contenders, rounds=rounds, threads=threads, order=order) for _ in range(sittings)]
    seconds = [[time for sitting in held for time in sitting.seconds[k]] for k in range(len(contenders))]
    peak = [time for sitting in held for time in sitting.peak]
    gflops = 1e-9 / min(peak) if peak else None
    standings = tuple(
        Standing(
            name=contender.name,
            milliseconds=statistics.median(times) * 1e3,
            ratio=Ratio.of(in_pairs(times), in_pairs(seconds[0])),
            difference=max(sitting.differences[k] for sitting in held),
            share=case.flops * min(peak) / statistics.median(times) if case.flops is not None and peak else None,
            raw=tuple(round(time * 1e3, 4) for time in times),
        )
        for k, (contender, times) in enumerate(zip(contenders, seconds, strict=True))
    )
    return Result(case.name, case.title, case.unit, threads, standings, gflops, case.judged, case.target)


def sit(case: Case, contenders: Sequence[Contender], *, rounds: int, threads: int, order: random.Random) -> Sitting:
    """The gate, then rounds: every contender once in a random order, and once more in the reverse order."""
    with contextlib.ExitStack() as stack:

        def started(contender: Contender) -> Worker:
            worker = Worker(contender, threads=threads)
            stack.callback(worker.close)
            return worker

        workers = [started(contender) for contender in contenders]
        differences = passed_gate(workers)
        products = [started(Contender("GEMM", "bench.peak:Products"))] if case.flops is not None else []
        for worker in (workers + products) * _WARM_UPS:
            worker.warm_up()
        for _ in range(rounds):
            turn = order.sample(workers, len(workers))
            for worker in (*turn, *reversed(turn), *products):
                worker.block()
        peak = [time for worker in products for time in worker.seconds_per_unit]
        return Sitting(tuple(worker.seconds_per_unit for worker in workers), differences, peak)


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
