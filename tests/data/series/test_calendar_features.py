"""Calendar features, against Python's datetime."""

from __future__ import annotations

import math
from datetime import datetime

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from corecur.data.series.calendar_features import CYCLES, calendar_features, usual_cycles
from corecur.data.series.frequency import Frequency
from corecur.errors import ConfigError


@given(st.datetimes(min_value=datetime(1930, 1, 1), max_value=datetime(2100, 1, 1)))
def test_places_in_cycles(point: datetime) -> None:
    times = np.array([point], dtype="datetime64[us]")
    wanted = {
        "minute": (point.minute + (point.second + point.microsecond / 1e6) / 60) / 60,
        "hour": (point.hour + (point.minute + (point.second + point.microsecond / 1e6) / 60) / 60) / 24,
        "weekday": point.weekday() / 7,
        "month": (point.month - 1) / 12,
        "day_of_year": (point.timetuple().tm_yday - 1) / 365.25,
    }
    found = calendar_features(times, tuple(CYCLES))
    expected = [f(2 * math.pi * wanted[name]) for name in CYCLES for f in (math.sin, math.cos)]
    np.testing.assert_allclose(found[0], expected, atol=1e-5)


def test_which_and_what_is_refused() -> None:
    assert usual_cycles(Frequency("minute", 15)) == ("minute", "hour", "weekday", "day_of_year")
    assert usual_cycles(None) == () == usual_cycles(Frequency("year"))
    days = np.array(["2020-01-01"], dtype="datetime64[us]")
    assert calendar_features(days, ()).shape == (1, 0)
    with pytest.raises(ConfigError, match="did you mean 'hour'"):
        calendar_features(days, ("hours",))
    with pytest.raises(ConfigError, match="need dates"):
        calendar_features(np.array([1.0]), ("hour",))
