from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from corecur.data.batches import Batch
from corecur.data.series.series_augment import SeriesTransform
from corecur.data.series.series_preparation import SeriesPreparation
from corecur.data.series.series_scaling import SeriesScaling
from corecur.errors import DataError
from corecur.layers.masks import mask_of
from corecur.learners.series_inputs import SeriesPreprocess, ShortenedTransform, read_inputs
from tests.learners.series_files import made_up, write_problem, write_ts


def preprocess(channels: tuple[str, ...] = ("value",), *, longest: int = 5) -> SeriesPreprocess:
    """How a model reads series of so many channels."""
    return SeriesPreprocess(
        task="series-classification",
        preparation=SeriesPreparation(channels=channels, means=(0.0,) * len(channels)),
        scaling=SeriesScaling(kind="none"),
        shortest=longest,
        longest=longest,
    )


def read(source: Any, **options: Any) -> tuple[list[str], list[list[list[float]]]]:
    """Names and series, each up to its end."""
    found = read_inputs(source, preprocess(**options))
    names = [name for series in found for name in series.names]
    rows = [series.values[row, : int(series.lengths[row])].tolist() for series in found for row in range(len(series))]
    return names, rows


def test_a_row_is_a_series(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("1, 2, 3\n4,,6,7\n")
    names, series = read(tmp_path / "a.csv")
    assert names == [f"{tmp_path}/a.csv[0]", f"{tmp_path}/a.csv[1]"]
    assert series == [[[1.0], [2.0], [3.0]], [[4.0], [5.0], [6.0], [7.0]]]  # the gap is filled


@pytest.mark.parametrize("text", ["up\t1\t2\t3\t4\t5\n", "2\t1\t2\t3\t4\t5\n", "1 2 3 4 5", "1;2;3;4;5\n"])
def test_a_label_before_the_values_is_left_out(tmp_path: Path, text: str) -> None:
    (tmp_path / "a.txt").write_text(text)
    assert read(tmp_path / "a.txt")[1] == [[[1.0], [2.0], [3.0], [4.0], [5.0]]]


def test_a_column_is_one_series(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("value\n1\n2\n3\n")
    (tmp_path / "b.csv").write_text("1\n2\n3\n")
    assert read([tmp_path / "a.csv", str(tmp_path / "b.csv")]) == (
        [f"{tmp_path}/a.csv", f"{tmp_path}/b.csv"], [[[1.0], [2.0], [3.0]]] * 2,
    )  # fmt: skip


def test_several_channels_are_rows_of_steps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.csv").write_text("time,y,x\n0,1,2\n1,3,4\n")
    _, series = read(tmp_path / "a.csv", channels=("x", "y"))
    assert series == [[[2.0, 1.0], [4.0, 3.0]]]
    monkeypatch.setattr("sys.stdin", io.StringIO("1,2\n3,4\n\n5,6\n"))
    names, series = read("-", channels=("x", "y"))
    assert names == ["-[0]", "-[1]"] and series == [[[1.0, 2.0], [3.0, 4.0]], [[5.0, 6.0]]]


@pytest.mark.parametrize("text", ["", "\n\n", "1,2,3\n", "a,b\nc,d\n"])
def test_other_text_on_standard_input_is_refused(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(text))
    with pytest.raises(DataError, match="there are no series here"):
        read("-", channels=("x", "y"))


def test_files_with_and_without_labels(tmp_path: Path) -> None:
    series, labels = made_up(1)
    for given in (labels, None):
        path = write_ts(tmp_path / "a.ts", series, given)
        (found,) = read_inputs(path, preprocess())
        assert found.labels is None and found.names == tuple(f"{path}[{n}]" for n in range(3))
        np.testing.assert_allclose(found.values[0].numpy(), series[0], atol=1e-4)
    (found,) = read_inputs(write_problem(tmp_path / "Made"), preprocess())
    assert len(found) == 18  # the test split


def test_labels_that_the_model_does_not_know_do_not_matter(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", x=np.zeros((2, 7)), y=["left", "right"])
    assert len(read_inputs(tmp_path / "a.npz", preprocess())[0]) == 2


def test_arrays() -> None:
    assert read(np.arange(3.0))[1] == [[[0.0], [1.0], [2.0]]]
    assert read(np.zeros((4, 1)))[0] == ["series"]
    assert read(np.zeros((2, 4)))[0] == ["series[0]", "series[1]"]
    assert read([1.0, 2.0])[1] == [[[1.0], [2.0]]]
    assert read(torch.zeros(3, 2), channels=("x", "y"))[0] == ["series"]


def test_infinite_values_and_missing_files_are_named(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("1,inf,3\n1,2,3\n")
    with pytest.raises(DataError, match="step 2 is infinite"):
        read(tmp_path / "a.csv")
    (found,) = read_inputs(tmp_path / "a.csv", preprocess(), skip_bad=True)
    assert len(found) == 1
    with pytest.raises(DataError, match="no such file"):
        read(tmp_path / "b.csv")


def test_batches_end_where_their_longest_series_does() -> None:
    transform = ShortenedTransform(SeriesTransform(SeriesScaling(kind="none")))
    mask = torch.arange(6) < torch.tensor([[2], [4]])
    inputs = transform(Batch((torch.ones(2, 6, 1), mask), index=torch.arange(2)), 0).inputs
    assert inputs.shape == (2, 4, 1)  # type: ignore[union-attr]
    kept = mask_of(inputs)
    assert kept is not None and kept.tolist() == [[True, True, False, False], [True] * 4]
    full = transform(Batch((torch.ones(2, 6, 1), torch.ones(2, 6, dtype=torch.bool)), index=torch.arange(2)), 0).inputs
    assert mask_of(full) is None
