from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from corecur.errors import ConfigError, DataError
from corecur.learners.forecast_data import (
    ForecastData,
    ForecastReading,
    check_like,
    part_in,
    read_tables,
    split_tables,
    splits_of,
    without_constants,
)

from .forecast_tables import lines, waves, write


def reading(**settings: object) -> ForecastReading:
    return ForecastReading.model_validate(settings)


def of(source: object, horizon: int = 24, **asked: object) -> ForecastData:
    data = ForecastData("a", "csv", read_tables(source, reading()))
    return split_tables(data, horizon=horizon, reading=reading(), **asked)


def bounds(data: ForecastData) -> list[tuple[int, int]]:
    return [(part[0].rows.start, part[0].rows.stop) for _, part in splits_of(data) if part]


def test_parts_follow_each_other_in_time() -> None:
    table = {"x": np.arange(1000.0)}
    assert bounds(of(table)) == [(0, 700), (700, 800), (800, 1000)]
    assert bounds(of(table, validation="0.25", test=100)) == [(0, 650), (650, 900), (900, 1000)]
    assert bounds(of(table, validation=0, test=0)) == [(0, 1000)]
    assert bounds(of({"x": np.arange(100.0)}, horizon=24)) == [(0, 52), (52, 76), (76, 100)]  # a horizon at least


def test_dates_and_sources_of_their_own(tmp_path: Path) -> None:
    values = waves(240)
    first = write(tmp_path / "first.csv", lines(values[:120]))
    later = write(tmp_path / "later.csv", lines(values[120:], start="2024-01-06"))
    data = of(first, validation="2024-01-04", test=later)
    assert bounds(data) == [(0, 72), (72, 120), (0, 120)]
    np.testing.assert_allclose(data.test[0].values, values[120:], atol=1e-5)
    daily = write(tmp_path / "daily.csv", ["2024-01-01,1,2", "2024-01-02,2,3", "2024-01-03,3,5"])
    with pytest.raises(DataError, match="not as far apart"):
        of(first, test=daily)
    with pytest.raises(DataError, match="'wind'"):
        of(first, test=write(tmp_path / "narrow.csv", ["2024-01-01 00:00,1"], "time,load"))


def test_the_protocol_of_twelve_four_and_four_months() -> None:
    table = {"x": np.random.default_rng(0).normal(size=17_420)}
    data = ForecastData("a", "arrays", read_tables(table, reading(rows=14_400)))
    assert bounds(split_tables(data, horizon=96, reading=reading(), validation="2880", test="2880")) == [
        (0, 8640), (8640, 11_520), (11_520, 14_400),
    ]  # fmt: skip
    assert str(data.tables[0].findings[-1]) == "The first 14,400 of 17,420 rows are used."
    with pytest.raises(DataError, match="fewer rows"):
        read_tables({"x": np.arange(5.0)}, reading(rows=6))


def test_columns_that_never_change_while_learning() -> None:
    rows = np.arange(200.0)
    late = np.where(rows < 150, 7.0, rows)
    data = of({"x": rows, "c": late}, horizon=10)
    kept = without_constants(data, named=False)
    assert kept.columns == ("x",) and kept.test[0].table.names == ("x",)
    assert "'c'" in str(kept.findings[-1])
    assert without_constants(of({"x": rows}, horizon=10), named=True).columns == ("x",)
    with pytest.raises(DataError, match="'c' is 7 in every row"):
        without_constants(data, named=True)
    with pytest.raises(DataError, match="nothing to forecast"):
        without_constants(of({"c": np.ones(200)}, horizon=10), named=False)


def test_series_of_a_panel_that_are_too_short(tmp_path: Path) -> None:
    days = np.datetime64("2024-01-01") + np.arange(60)
    lengths = {"a": 60, "b": 8, "c": 50}
    rows = [f"{shop},{days[i]},{i % 7}" for shop, count in lengths.items() for i in range(count)]
    source = write(tmp_path / "panel.csv", rows, "shop,day,sales")
    tables = read_tables(source, reading(series_column="shop"))
    data = split_tables(ForecastData("a", "csv", tables), horizon=7, reading=reading())
    assert [stretch.table.name for stretch in data.train] == ["a", "c"]
    assert [len(stretch.rows) for stretch in data.test] == [12, 10]
    assert "'b'" in str(data.findings[-1])


def test_what_is_no_part() -> None:
    assert part_in("data.csv") is None and part_in(["a"]) is None and part_in(True) is None
    assert part_in("2880.0") == 2880 and isinstance(part_in("1"), int)
    for value in (-1, 3.5, "-0.1"):
        with pytest.raises(ConfigError, match="no part of a table"):
            part_in(value)


def test_like_tables() -> None:
    (hourly,) = read_tables("demand", reading(rows=48))
    check_like(hourly, hourly.frequency)
    check_like(hourly, None)
    (monthly,) = read_tables("passengers", reading())
    with pytest.raises(DataError, match="one row each month"):
        check_like(monthly, hourly.frequency)
