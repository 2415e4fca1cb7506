"""Series that stay at an end of their range, of sensors fine and coarse."""

from __future__ import annotations

import numpy as np
import pytest

from corecur.data.quality.series_quality import series_findings
from corecur.data.series.recordings import GatheredSeries, Recording, SeriesPart


def _clipped(series: list[Recording]) -> list[str]:
    names = [str(k) for k in range(len(series))]
    part = SeriesPart(series, np.array(["a", "b"] * (len(series) // 2)), names)
    findings, _ = series_findings(GatheredSeries("csv", {"train": part}))
    return [line.split(":")[0] for one in findings if one.kind == "clipped" for line in one.evidence]


@pytest.mark.parametrize("rest", [1, 12])
def test_short_series_of_a_sensor_that_rests_are_not_clipped_and_cut_ones_are(rest: int) -> None:
    random = np.random.default_rng(0)
    series = [np.concatenate([np.zeros(rest), random.normal(0, 1, 60)])[:, None] for _ in range(40)]
    series[4] = np.minimum(series[4], 0.3)
    series[7] = np.concatenate([np.full(6, 2.0), random.uniform(0, 1.9, 22)])[:, None]
    assert _clipped(series) == (["4", "7"] if rest == 1 else ["4"])
