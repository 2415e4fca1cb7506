"""The measure of the machine's peak: what is counted; how long it takes is never tested."""

from __future__ import annotations

import pytest

from corecur.errors import ConfigError
from corecur.kernels import library, peak
from corecur.kernels.library import info, table
from tests.kernels.needs_kernels import needs_kernels


@needs_kernels
@pytest.mark.parametrize("rounds", [-1, 0, 1, 1000])
def test_every_round_counts_two_operations_for_each_lane_of_twelve_chains(rounds: int) -> None:
    assert table().peak(rounds) == 2 * 12 * info().lanes * max(rounds, 0)


@needs_kernels
@pytest.mark.parametrize("threads", [1, 3])
def test_all_threads_work_at_once_and_are_counted(threads: int, monkeypatch: pytest.MonkeyPatch) -> None:
    kernels = Counter()
    monkeypatch.setattr(peak, "table", lambda: kernels)
    monkeypatch.setattr(peak.time, "perf_counter", kernels.clock)
    assert peak.peak_operations(threads, seconds=1.0, tries=2) > 0
    assert kernels.calls == 1 + 2 * threads


class Counter:
    """A table whose peak does nothing, and a clock that goes on by a second at every look."""

    def __init__(self) -> None:
        self.calls, self.seconds = 0, 0.0

    def peak(self, rounds: int) -> float:
        self.calls += 1
        return 2.0 * rounds

    def clock(self) -> float:
        self.seconds += 1.0
        return self.seconds


def test_without_kernels_there_is_no_peak(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(library, "_library", lambda: library._absent("switched off"))
    monkeypatch.setattr(library, "_give_notice", lambda: None)
    with pytest.raises(ConfigError, match="switched off"):
        peak.peak_operations()
