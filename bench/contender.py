"""What is measured: contenders that do the same work, gathered in a case."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

#: What a peak of the machine is called, and the work that shows it.
PEAKS = {"GEMM": "bench.peak:Products", "FMA": "bench.peak:MultiplyAdds"}


class Work(Protocol):
    """One contender at work, in a process of its own."""

    def prove(self) -> Sequence[float]:
        """Numbers that show the work is the same: they must agree with the first contender's."""

    def run(self) -> float:
        """One block, which is timed; the number of units (steps, imports) in it."""

    # Work may also have ``facts(self) -> Mapping[str, Any]``: what else its row says, asked after the times.


@dataclass(frozen=True)
class Contender:
    """A name and how to make its work: ``maker`` is ``module:callable``, called with ``settings`` in the process."""

    name: str
    maker: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)
    tolerance: float = 1e-4  # relative difference of the proof from that of the first contender
    process: str | None = None  # contenders of several cases that name the same process share it, one after the other


@dataclass(frozen=True)
class Floor:
    """What the first contender is to be ahead by: the least ratio that the best of some others may have to it."""

    what: str
    of: tuple[str, ...]  # names; those that do not take part are left out
    least: float


@dataclass(frozen=True)
class Case:
    """Contenders for one job; ratios are to the first, which also runs against itself as the control."""

    name: str
    title: str
    unit: str
    contenders: tuple[Contender, ...]
    judged: str  # the contender that has a target
    target: float | None  # the highest median ratio it may have; None for a baseline
    flops: float | None = None  # of one unit, where it has a meaning
    peak: str = "GEMM"  # a row of PEAKS, of which shares are told
    share: float | None = None  # the least share of it that the judged contender is to reach
    floors: tuple[Floor, ...] = ()
    rounds: int | None = None  # at most so many
    warm_ups: int = 3  # TorchScript compiles in its second and third step
    controlled: bool = True  # whether the first one runs against itself
