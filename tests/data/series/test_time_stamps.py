"""Written times, against Python's datetime."""

from __future__ import annotations

from datetime import datetime

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from corecur.data.series.time_stamps import are_times, could_be_time, parse_times
from corecur.errors import DataError


def parse(*cells: str) -> list[object]:
    return parse_times(cells, range(2, 2 + len(cells)), name="t", where="a.csv").tolist()


@given(st.datetimes(min_value=datetime(1600, 1, 1), max_value=datetime(2200, 1, 1)), st.sampled_from("T "))
def test_iso_times_are_read_as_python_reads_them(point: datetime, separator: str) -> None:
    assert parse(point.isoformat(separator)) == [point]


@pytest.mark.parametrize(
    ("cell", "wanted"),
    [
        ("2016-07-01 00:00:00", datetime(2016, 7, 1)),
        ("2016/7/1 5:30", datetime(2016, 7, 1, 5, 30)),
        ("1949-02", datetime(1949, 2, 1)),
        ("1949M02", datetime(1949, 2, 1)),
        ("1990Q3", datetime(1990, 7, 1)),
        ("1990-Q3", datetime(1990, 7, 1)),
        ("31.12.2020 18:15", datetime(2020, 12, 31, 18, 15)),
        ("12/31/2020 06:15 PM", datetime(2020, 12, 31, 18, 15)),
        ("12/31/2020 12:15 AM", datetime(2020, 12, 31, 0, 15)),
        ("5 May 2020", datetime(2020, 5, 5)),
        ("31-Dec-99", datetime(1999, 12, 31)),
        ("January 5, 2020", datetime(2020, 1, 5)),
        ("Jan-49", datetime(2049, 1, 1)),
        ("1949 January", datetime(1949, 1, 1)),
        ("2020-01-01T02:00:00+02:00", datetime(2020, 1, 1)),
        ("2020-01-01T02:00:00Z", datetime(2020, 1, 1, 2)),
        ("2020年3月5日", datetime(2020, 3, 5)),
        ("1987", datetime(1987, 1, 1)),
        ("20200305", datetime(2020, 3, 5)),
        ("1500000000", datetime(2017, 7, 14, 2, 40)),
        ("1500000000000", datetime(2017, 7, 14, 2, 40)),
    ],
)
def test_other_ways_to_write_them(cell: str, wanted: datetime) -> None:
    assert parse(cell) == [wanted]


def test_plain_numbers_stay_numbers() -> None:
    assert parse("0", "0.02", "0.04") == [0.0, 0.02, 0.04]


def test_day_and_month_are_told_apart_by_the_whole_column() -> None:
    assert parse("01.02.2020", "02.02.2020") == [datetime(2020, 2, day) for day in (1, 2)]
    assert parse("30/01/2020", "31/01/2020", "01/02/2020")[2] == datetime(2020, 2, 1)
    assert parse("11/30/2020", "12/01/2020")[1] == datetime(2020, 12, 1)
    with pytest.raises(DataError, match="cannot be told apart"):
        parse("01/02/2020", "02/03/2020")


@pytest.mark.parametrize(
    ("cells", "row"),
    [(("2020-01-01", "soon"), 3), (("2020-01-01", "2020-13-01"), 3), (("2020-01-01", ""), 3), (("1", "nan"), 3)],
)
def test_a_cell_that_is_no_time_is_named(cells: tuple[str, ...], row: int) -> None:
    with pytest.raises(DataError, match=f"row {row}"):
        parse(*cells)


def test_what_could_be_a_time() -> None:
    assert not any(map(could_be_time, ["cat", "12", "1.5", "", "hello 2020", "10 apples 20", "3 dogs 1999"]))
    assert not are_times([])
    assert np.array(parse("1949-01", "1950-01")).dtype == object
