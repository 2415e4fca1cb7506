"""Frequencies and grids, against NumPy's calendar."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from corecur.data.series.frequency import Frequency, find_frequency, later_times, places_of, times_at
from corecur.errors import ConfigError

START = np.datetime64("2020-01-31", "us")


def regular(unit: str, count: int, rows: int = 30) -> np.ndarray:
    """Times made by NumPy's own calendar arithmetic."""
    if unit in ("month", "quarter", "year"):
        months = {"month": 1, "quarter": 3, "year": 12}[unit] * count
        return (np.datetime64("2020-01", "M") + np.arange(rows) * months).astype("datetime64[us]")
    letter = {"second": "s", "minute": "m", "hour": "h", "day": "D", "week": "W"}[unit]
    return np.datetime64("2020-01-06", "us") + np.arange(rows) * np.timedelta64(count, letter)


UNITS = [("second", 1), ("second", 30), ("minute", 1), ("minute", 15), ("hour", 1), ("hour", 6), ("day", 1),
         ("day", 2), ("week", 1), ("week", 2), ("month", 1), ("month", 2), ("quarter", 1), ("year", 1)]  # fmt: skip


@pytest.mark.parametrize(("unit", "count"), UNITS)
def test_regular_times_are_found_and_continued(unit: str, count: int) -> None:
    times = regular(unit, count)
    frequency = find_frequency(times[:20])
    assert frequency == Frequency(unit, count)
    np.testing.assert_array_equal(later_times(times[:20], frequency, 10), times[20:])


@given(st.sampled_from(UNITS), st.sets(st.integers(0, 29), min_size=22))
def test_gaps_keep_the_grid(unit: tuple[str, int], kept: set[int]) -> None:
    places = np.array(sorted(kept))
    times = regular(*unit)[places]
    frequency = find_frequency(times)
    assert frequency is not None
    found = places_of(times, frequency)
    assert found is not None
    np.testing.assert_array_equal(times_at(times, frequency, found), times)


def test_month_ends() -> None:
    ends = (np.arange("2019-01", "2021-07", dtype="datetime64[M]") + 1).astype("datetime64[D]") - np.timedelta64(1, "D")
    times = ends.astype("datetime64[us]")
    frequency = find_frequency(times[:20])
    assert frequency == Frequency("month")
    np.testing.assert_array_equal(later_times(times[:20], frequency, 10), times[20:])


def test_thirtieth_of_each_month() -> None:
    times = np.array(["2020-01-30", "2020-02-29", "2020-03-30", "2020-04-30"], dtype="datetime64[us]")
    frequency = find_frequency(times)
    assert frequency == Frequency("month")
    assert str(later_times(times, frequency, 1)[0])[:10] == "2020-05-30"


def test_business_days() -> None:
    days = np.arange("2020-01-01", "2020-03-01", dtype="datetime64[D]")
    times = days[np.is_busday(days)].astype("datetime64[us]")
    frequency = find_frequency(times)
    assert frequency == Frequency("business day")
    assert places_of(times, frequency) is not None
    following = later_times(times, frequency, 5)
    assert np.is_busday(following.astype("datetime64[D]")).all() and following[0] > times[-1]


def test_no_grid() -> None:
    random = np.random.default_rng(0)
    times = np.datetime64("2020-01-01", "us") + np.sort(random.integers(0, 10**12, 50)).astype("timedelta64[us]")
    assert find_frequency(times) is None
    assert find_frequency(times[:1]) is None
    assert find_frequency(np.array([0.0, 1.0, 2.5, 7.0])) is None


def test_numbers() -> None:
    frequency = find_frequency(np.arange(10) * 0.02 + 5)
    assert frequency is not None and frequency.unit == "step" and frequency.size == pytest.approx(0.02)
    np.testing.assert_allclose(later_times(np.array([5.0, 5.02]), frequency, 2), [5.04, 5.06])


def test_names() -> None:
    assert Frequency("H") == Frequency("hour") and str(Frequency("min", 30)) == "30 minutes"
    with pytest.raises(ConfigError, match="unknown unit of time"):
        Frequency("fortnight")
    with pytest.raises(ConfigError):
        Frequency("hour", 0)
