"""Gaps, against plain loops."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from corecur.data.series.gaps import fill_forward, fill_linear, missing_runs, without_tail

CELLS = st.lists(st.one_of(st.just(float("nan")), st.floats(-5, 5)), min_size=1, max_size=20)


@given(CELLS)
def test_runs_cover_exactly_what_is_missing(cells: list[float]) -> None:
    missing = np.isnan(cells)
    covered = np.zeros(len(cells), dtype=bool)
    for start, stop in missing_runs(missing):
        assert start < stop and not covered[start:stop].any()
        covered[start:stop] = True
    np.testing.assert_array_equal(covered, missing)


@given(CELLS)
def test_forward_fill_knows_only_the_past(cells: list[float]) -> None:
    values = np.array(cells)[:, None]
    filled = fill_forward(values)
    for step in range(len(cells)):
        past = [cell for cell in cells[: step + 1] if not np.isnan(cell)]
        np.testing.assert_equal(filled[step, 0], past[-1] if past else np.nan)


@given(CELLS)
def test_linear_fill_is_numpys_interpolation(cells: list[float]) -> None:
    values = np.array(cells)[:, None]
    filled = fill_linear(values, np.array([7.0]))
    real = ~np.isnan(values[:, 0])
    steps = np.arange(len(cells))
    wanted = np.interp(steps, steps[real], values[real, 0]) if real.any() else np.full(len(cells), 7.0)
    np.testing.assert_allclose(filled[:, 0], wanted)


def test_tail() -> None:
    table = np.array([[1.0, np.nan], [np.nan, np.nan], [2.0, np.nan], [np.nan, np.nan]])
    np.testing.assert_array_equal(without_tail(table), table[:3])
    assert without_tail(table[1:2]).shape == (0, 2)
