"""Windows are plain slices, none crosses a split's targets, and an epoch can go on anywhere."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from corecur.data.series.time_splits import split_in_time
from corecur.data.series.time_table import TimeTable
from corecur.data.series.windows import WindowBatches, window_starts
from corecur.errors import ConfigError, DataError, ShapeError


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.integers(6, 30), min_size=1, max_size=3),
    st.integers(1, 4),
    st.integers(1, 2),
    st.integers(1, 3),
    st.booleans(),
    st.integers(1, 7),
    st.data(),
)
def test_every_window_is_a_slice(
    lengths: list[int], lookback: int, horizon: int, stride: int, shuffle: bool, batch_size: int, data: st.DataObject
) -> None:
    tables = [torch.randn(length, 3) for length in lengths]
    rows = [range(data.draw(st.integers(0, length - lookback - horizon)), length) for length in lengths]
    targets = data.draw(st.sampled_from([None, [1], [2, 0]]))
    batches = WindowBatches(
        tables, lookback=lookback, horizon=horizon, rows=rows, targets=targets, stride=stride, shuffle=shuffle,
        batch_size=batch_size, seed=3,
    )  # fmt: skip
    wanted = []
    for table, part in zip(tables, rows, strict=True):
        for first in range(max(part.start, lookback), part.stop - horizon + 1, stride):
            wanted.append((table[first - lookback : first], table[first : first + horizon][:, targets or [0, 1, 2]]))
    seen = []
    for batch in batches.epoch(1):
        assert isinstance(batch.inputs, torch.Tensor) and isinstance(batch.targets, torch.Tensor)
        assert batch.index is not None
        for inputs, target, number in zip(batch.inputs, batch.targets, batch.index.tolist(), strict=True):
            assert torch.equal(inputs, wanted[number][0]) and torch.equal(target, wanted[number][1])
            seen.append(number)
    assert sorted(seen) == list(range(len(wanted))) == list(range(batches.samples))
    assert len(list(batches)) == len(batches)
    assert shuffle or seen == sorted(seen)


@settings(max_examples=60, deadline=None)
@given(st.integers(40, 90), st.integers(1, 12), st.integers(1, 6), st.integers(7, 12), st.integers(7, 12))
def test_no_window_crosses_a_split(rows: int, lookback: int, horizon: int, validation: int, test: int) -> None:
    table = TimeTable(torch.arange(rows, dtype=torch.float64)[:, None], None, ("x",), ("x",))
    splits = split_in_time(table, validation=validation, test=test)
    assert splits.validation is not None and splits.test is not None
    targets: dict[str, set[float]] = {}
    if len(splits.train) < lookback + horizon:
        return
    for name, part in (("train", splits.train), ("validation", splits.validation), ("test", splits.test)):
        batches = WindowBatches(table.values, lookback=lookback, horizon=horizon, rows=part)
        targets[name] = {float(value) for batch in batches for value in torch.as_tensor(batch.targets).flatten()}
        assert targets[name] <= set(map(float, part))
        assert batches.samples == len(part) - horizon + 1 - (lookback if name == "train" else 0)
        inputs = {float(value) for batch in batches for value in torch.as_tensor(batch.inputs).flatten()}
        assert max(inputs) < max(targets[name])
    assert not targets["train"] & targets["validation"] and not targets["validation"] & targets["test"]
    assert targets["test"] == set(map(float, splits.test))  # every row of the test is forecast


def test_ett_has_the_windows_of_the_published_protocol() -> None:
    table = TimeTable(torch.zeros(17420, 7), None, tuple("abcdefg"), tuple("abcdefg"))
    splits = split_in_time(table, train=8640, validation=2880, test=2880)
    counts = [
        WindowBatches(table.values, lookback=96, horizon=96, rows=part).samples
        for part in (splits.train, splits.validation, splits.test)
        if part is not None
    ]
    assert counts == [8640 - 96 - 96 + 1, 2880 - 96 + 1, 2880 - 96 + 1]


def test_an_epoch_goes_on_where_it_stopped_and_differs_from_the_next() -> None:
    batches = WindowBatches(torch.randn(60, 2), lookback=5, horizon=2, batch_size=8, shuffle=True, seed=1)
    whole, rest = list(batches.epoch(2)), list(batches.epoch(2, start=3))
    assert len(rest) == len(whole) - 3
    assert all(torch.equal(a.inputs, b.inputs) for a, b in zip(whole[3:], rest, strict=True))  # type: ignore[arg-type]
    assert not torch.equal(batches.order(2), batches.order(3))
    again = WindowBatches(torch.randn(60, 2), lookback=5, horizon=2, batch_size=3, shuffle=True, seed=1)
    assert torch.equal(batches.order(2), again.order(2))


def test_the_data_is_not_copied_for_every_window() -> None:
    values = torch.randn(1000, 4)
    batches = WindowBatches(values, lookback=100, horizon=10)
    assert batches._base.data_ptr() == values.data_ptr()
    assert all(view.untyped_storage().data_ptr() == values.untyped_storage().data_ptr() for view in batches._views)


def test_calendar_reaches_over_the_horizon() -> None:
    calendar = torch.arange(20.0)[:, None]
    batch = next(iter(WindowBatches(torch.randn(20, 2), lookback=4, horizon=3, calendar=calendar, batch_size=2)))
    assert isinstance(batch.inputs, tuple)
    assert batch.inputs[0].shape == (2, 4, 2)
    assert batch.inputs[1][:, :, 0].tolist() == [[0, 1, 2, 3, 4, 5, 6], [1, 2, 3, 4, 5, 6, 7]]


def test_target_rows_say_when_a_forecast_is_for() -> None:
    batches = WindowBatches(torch.randn(10, 1), lookback=3, horizon=2, rows=range(6, 10))
    assert batches.target_rows(torch.tensor([0, 2])).tolist() == [[6, 7], [8, 9]]


def test_too_short_and_wrong_sizes() -> None:
    with pytest.raises(DataError, match="shorter than one window") as error:
        WindowBatches(torch.zeros(9, 1), lookback=8, horizon=2)
    assert "9 rows" in str(error.value) and "at least 10: lookback 8 + horizon 2" in str(error.value)
    with pytest.raises(DataError, match="shorter than one window") as error:
        window_starts(range(20, 23), lookback=8, horizon=4)
    assert "3 rows" in str(error.value) and "at least 4" in str(error.value)
    for wrong in (
        {"lookback": 0},
        {"horizon": 0},
        {"stride": 0},
        {"horizon": 1.5},
        {"batch_size": 0},
        {"targets": [5]},
    ):
        with pytest.raises(ConfigError):
            WindowBatches(torch.zeros(9, 1), **{"lookback": 2, "horizon": 1, **wrong})  # type: ignore[arg-type]
    with pytest.raises(ShapeError, match="same columns"):
        WindowBatches([torch.zeros(9, 1), torch.zeros(9, 2)], lookback=2, horizon=1)
    with pytest.raises(ConfigError, match="not in the table"):
        WindowBatches(torch.zeros(9, 1), lookback=2, horizon=1, rows=range(10))


def test_short_tables_of_a_panel_take_no_part() -> None:
    batches = WindowBatches([torch.zeros(3, 1), torch.ones(9, 1)], lookback=4, horizon=1)
    assert batches.samples == 5
    assert all(float(torch.as_tensor(batch.inputs).min()) == 1 for batch in batches)
