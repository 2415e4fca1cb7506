"""Side-by-side measurement: same work first, then short blocks in turn, A B B A; A against itself is the control."""

from __future__ import annotations

import contextlib
import dataclasses
import math
import random
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from bench.contender import PEAKS, Case, Contender, Floor
from bench.ratio import Ratio, in_pairs
from bench.worker import Worker, WorkerError

CONTROL = "the same again (control)"
# A control further from 1 than this says more about the machine than about the contenders.
CONTROL_LIMIT = 0.03


class GateError(RuntimeError):
    """A contender does other work than the first one."""


@dataclass(frozen=True)
class Standing:
    """One contender's times; ``ratio`` is to the first contender."""

    name: str
    milliseconds: float  # the median of one unit
    ratio: Ratio
    difference: float  # largest relative difference of its proof
    share: float | None  # of the peak that the case names
    raw: tuple[float, ...]  # milliseconds of a unit in each block, in the order they ran
    facts: Mapping[str, Any] = field(default_factory=dict)  # what the work tells of itself


@dataclass(frozen=True)
class Result:
    """What one case gave."""

    case: str
    title: str
    unit: str
    threads: int
    standings: tuple[Standing, ...]  # the control is the last, where there is one
    peak_gflops: float | None
    judged: str
    target: float | None
    peak: str = "GEMM"
    least_share: float | None = None
    floors: tuple[Floor, ...] = ()

    @property
    def control(self) -> Ratio | None:
        """The first contender against itself."""
        return self.standings[-1].ratio if self.standings[-1].name == CONTROL else None

    @property
    def accepted(self) -> bool:
        """Whether the machine was quiet enough to tell; without a control nobody knows."""
        return self.control is None or abs(self.control.median - 1) <= CONTROL_LIMIT

    @property
    def judgement(self) -> Standing:
        """The standing of the judged contender."""
        return self.standing(self.judged)

    def standing(self, name: str) -> Standing:
        """That of any contender."""
        return next(s for s in self.standings if s.name == name)

    def best_of(self, names: Sequence[str]) -> Standing | None:
        """The fastest of some contenders; None where none of them took part."""
        return min((s for s in self.standings if s.name in names), key=lambda s: s.ratio.median, default=None)

    @property
    def met(self) -> bool:
        """Whether the judged contender is within its target and above its floors, where it has some."""
        within = self.target is None or self.judgement.ratio.median <= self.target
        fills = self.least_share is None or (self.judgement.share or 0.0) >= self.least_share
        return within and fills and all(map(self.above, self.floors))

    def above(self, floor: Floor) -> bool:
        """Whether one floor is reached; so it is where nobody took part."""
        best = self.best_of(floor.of)
        return best is None or best.ratio.median >= floor.least


@dataclass(frozen=True)
class Sitting:
    """What one set of processes gave: each contender's times of a unit, and how far its proof is from the first."""

    seconds: tuple[list[float], ...]
    differences: list[float]
    peak: list[float]  # seconds of one floating-point operation at best
    facts: list[dict[str, Any]]


def measure(case: Case, *, rounds: int, threads: int, sittings: int = 1) -> Result:
    """Run a case in several sittings, each with new processes: how memory falls out differs from process to process.

    GateError where contenders do different work; WorkerError where one fails.
    """
    return measure_all([case], rounds=rounds, threads=threads, sittings=sittings)[0]


def measure_all(
    cases: Sequence[Case],
    *,
    rounds: int,
    threads: int,
    sittings: int = 1,
    tell: Callable[[str], None] | None = None,
    fail: Callable[[Case, Exception], None] | None = None,
) -> list[Result]:
    """The same for several cases, each sitting going through all of them; contenders may share processes over cases.

    ``tell`` hears the title of each case as it begins. With ``fail``, which hears why, a case that fails is left out,
    and the others go on.
    """
    order = random.Random(0)
    held: dict[str, list[Sitting]] = {case.name: [] for case in cases}
    for _ in range(sittings):
        with contextlib.ExitStack() as stack:
            shared: dict[str, Worker] = {}
            for case in [case for case in cases if case.name in held]:
                if tell is not None:
                    tell(case.title)
                try:
                    held[case.name].append(sit(case, Crew(threads, shared, stack), rounds=rounds, order=order))
                except (GateError, WorkerError) as error:
                    if fail is None:
                        raise
                    fail(case, error)
                    del held[case.name]
    return [result_of(case, held[case.name], threads=threads) for case in cases if case.name in held]


def result_of(case: Case, held: Sequence[Sitting], *, threads: int) -> Result:
    """All sittings of a case as one result."""
    contenders = with_control(case)
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
            facts=held[0].facts[k],
        )
        for k, (contender, times) in enumerate(zip(contenders, seconds, strict=True))
    )
    return Result(
        case.name, case.title, case.unit, threads, standings, gflops, case.judged, case.target,
        peak=case.peak, least_share=case.share, floors=case.floors,
    )  # fmt: skip


def with_control(case: Case) -> tuple[Contender, ...]:
    """The contenders of a case, and the first one once more in a process of its own, unless it goes without."""
    if not case.controlled:
        return case.contenders
    first = case.contenders[0]
    process = None if first.process is None else f"{first.process}, {CONTROL}"
    return (*case.contenders, dataclasses.replace(first, name=CONTROL, process=process))


@dataclass(frozen=True)
class Crew:
    """The processes of a sitting: those that cases share, and one that ends with the case for every other contender."""

    threads: int
    shared: dict[str, Worker]
    sitting: contextlib.ExitStack

    def worker(self, contender: Contender, case: contextlib.ExitStack) -> Worker:
        """A process that does this contender's work."""
        if contender.process is None:
            return self._started(contender, case)
        if contender.process not in self.shared or not self.shared[contender.process].alive:
            self.shared[contender.process] = self._started(contender, self.sitting)
        worker = self.shared[contender.process]
        worker.take(contender)
        return worker

    def _started(self, contender: Contender, until: contextlib.ExitStack) -> Worker:
        worker = Worker(contender, threads=self.threads)
        until.callback(worker.close)
        return worker


def sit(case: Case, crew: Crew, *, rounds: int, order: random.Random) -> Sitting:
    """The gate, then rounds: every contender once in a random order, and once more in the reverse order."""
    with contextlib.ExitStack() as stack:
        workers = [crew.worker(contender, stack) for contender in with_control(case)]
        differences = passed_gate(workers)
        peak = Contender(case.peak, PEAKS[case.peak], process=case.peak)
        best = [crew.worker(peak, stack)] if case.flops is not None else []
        for worker in (workers + best) * case.warm_ups:
            worker.warm_up()
        for _ in range(min(rounds, case.rounds or rounds)):
            turn = order.sample(workers, len(workers))
            for worker in (*turn, *reversed(turn), *best):
                worker.block()
        return Sitting(
            tuple(worker.seconds_per_unit for worker in workers),
            differences,
            [time for worker in best for time in worker.seconds_per_unit],
            [worker.facts() for worker in workers],
        )


def passed_gate(workers: Sequence[Worker]) -> list[float]:
    """How far each contender's proof is from the first one's; GateError where one is beyond its tolerance."""
    proofs = [worker.prove() for worker in workers]
    differences = [largest_difference(proof, proofs[0]) for proof in proofs]
    for worker, proof, difference in zip(workers, proofs, differences, strict=True):
        if not difference <= worker.contender.tolerance:
            raise GateError(
                f"{worker.contender.name!r} does other work than {workers[0].contender.name!r}: "
                f"{_few(proof)} against {_few(proofs[0])}, a difference of {difference:.2g}"
            )
    return differences


def _few(numbers: Sequence[float]) -> str:
    shown = ", ".join(f"{number:.6g}" for number in numbers[:4])
    return f"[{shown}{f', … {len(numbers)} numbers' if len(numbers) > 4 else ''}]"


def largest_difference(numbers: Sequence[float], reference: Sequence[float]) -> float:
    """The largest relative difference, infinite where lengths differ or a number is not finite.

    >>> largest_difference([1.0, 2.2], [1.0, 2.0])
    0.1
    """
    if len(numbers) != len(reference) or not all(map(math.isfinite, numbers)):
        return math.inf
    pairs = zip(numbers, reference, strict=True)
    return max((round(abs(a - b) / max(abs(b), 1e-12), 12) for a, b in pairs), default=0.0)
