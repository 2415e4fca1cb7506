"""Splits in time: shares, numbers of rows and dates."""

from __future__ import annotations

from datetime import date

import numpy as np
import pytest
import torch

from corecur.data.series.time_splits import Part, split_in_time
from corecur.data.series.time_table import TimeTable
from corecur.errors import ConfigError, DataError

DAYS = np.datetime64("2020-01-01", "us") + np.arange(100) * np.timedelta64(1, "D")
TABLE = TimeTable(torch.zeros(100, 1), DAYS, ("x",), ("x",))


@pytest.mark.parametrize(
    ("validation", "test", "wanted"),
    [
        (0.1, 0.2, (70, 80, 100)),
        (10, 20, (70, 80, 100)),
        (None, 0.25, (75, 75, 100)),
        (0, 0, (100, 100, 100)),
        ("2020-03-01", "2020-03-31", (60, 90, 100)),
        (date(2020, 3, 1), np.datetime64("2020-03-31"), (60, 90, 100)),
        (10, "2020-03-31", (80, 90, 100)),
    ],
)
def test_parts(validation: Part, test: Part, wanted: tuple[int, int, int]) -> None:
    splits = split_in_time(TABLE, validation=validation, test=test)
    first, second, end = wanted
    assert splits.train == range(first)
    assert splits.validation == (range(first, second) if second > first else None)
    assert splits.test == (range(second, end) if end > second else None)


def test_a_fixed_start_leaves_the_end_unused() -> None:
    splits = split_in_time(TABLE, train=50, validation=20, test=20)
    assert splits.test == range(70, 90)
    assert tuple(map(str, splits.notes)) == ("The last 10 rows, from 2020-03-31 on, are not used.",)


@pytest.mark.parametrize(
    ("settings", "error"),
    [
        ({"test": 100}, DataError),
        ({"validation": 0.5, "test": 0.6}, DataError),
        ({"train": 90, "validation": 10, "test": 10}, DataError),
        ({"test": "2030-01-01"}, ConfigError),
        ({"test": "2019-01-01"}, ConfigError),
        ({"test": "soon"}, ConfigError),
        ({"test": -1}, ConfigError),
        ({"test": 1.5}, ConfigError),
        ({"validation": True}, ConfigError),
    ],
)
def test_parts_that_make_no_sense(settings: dict[str, Part], error: type[Exception]) -> None:
    with pytest.raises(error):
        split_in_time(TABLE, **settings)  # type: ignore[arg-type]


def test_a_date_needs_dates() -> None:
    with pytest.raises(ConfigError, match="the table has none"):
        split_in_time(TimeTable(torch.zeros(9, 1), None, ("x",), ("x",)), test="2020-01-05")
