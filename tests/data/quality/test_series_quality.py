"""Series that stay at an end of their range, of sensors fine and coarse."""

from __future__ import annotations

import numpy as np
import pytest

from corecur.data.quality.series_quality import series_findings
from corecur.data.series.recordings import GatheredSeries, Recording, SeriesPart


def _told(kind: str, series: list[Recording]) -> list[str]:
    """The numbers of the series of which that is said; they are of two classes in turn."""
    names = [str(k) for k in range(len(series))]
    part = SeriesPart(series, np.array(["a", "b"] * (len(series) // 2)), names)
    findings, _ = series_findings(GatheredSeries("csv", {"train": part}))
    return [line.split(":")[0] for one in findings if one.kind == kind for line in one.evidence]


@pytest.mark.parametrize("rest", [1, 12])
def test_short_series_of_a_sensor_that_rests_are_not_clipped_and_cut_ones_are(rest: int) -> None:
    random = np.random.default_rng(0)
    series = [np.concatenate([np.zeros(rest), random.normal(0, 1, 60)])[:, None] for _ in range(40)]
    series[4] = np.minimum(series[4], 0.3)
    series[7] = np.concatenate([np.full(6, 2.0), random.uniform(0, 1.9, 22)])[:, None]
    assert _told("clipped", series) == (["4", "7"] if rest == 1 else ["4"])


def test_lengths_are_odd_by_class() -> None:
    random = np.random.default_rng(0)
    lengths = [int((40 if k % 2 else 300) * random.uniform(0.8, 1.25)) for k in range(60)]
    made = [random.normal(0, 1, (length, 1)) for length in lengths]
    assert _told("odd-length", made) == []
    made[6] = made[6][: lengths[6] // 8]
    assert _told("odd-length", made) == ["6"]
