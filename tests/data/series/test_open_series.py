"""Labelled series from every kind of source, and what is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from corecur.data.series.open_series import load_series, load_series_split
from corecur.errors import ConfigError, DataError
from corecur.learners.fill_splits import fill_splits

X = np.random.default_rng(0).normal(size=(8, 12, 2))
Y = np.array(["up", "down"] * 4)


def write_csv_classes(root: Path, *, names: str = "x,y", files: int = 3) -> Path:
    for label in ("walk", "run"):
        for number in range(files):
            path = root / label / f"{number}.csv"
            path.parent.mkdir(parents=True, exist_ok=True)
            rows = "".join(f"{row},{row + number}.5\n" for row in range(4 + number))
            path.write_text(names + "\n" + rows, "utf-8")
    return root


def write_signals(root: Path) -> Path:
    random = np.random.default_rng(0)
    for split, count in (("train", 6), ("test", 3)):
        folder = root / split / "Inertial Signals"
        folder.mkdir(parents=True)
        for name in ("body_acc_x", "body_acc_y"):
            np.savetxt(folder / f"{name}_{split}.txt", random.normal(size=(count, 16)))
        (root / split / f"y_{split}.txt").write_text("\n".join("12"[i % 2] for i in range(count)) + "\n", "utf-8")
        np.savetxt(root / split / f"X_{split}.txt", random.normal(size=(count, 5)))
    (root / "activity_labels.txt").write_text("1 WALKING\n2 SITTING\n", "utf-8")
    return root


def write_problem(root: Path, suffix: str) -> Path:
    root.mkdir(exist_ok=True)
    for split in ("TRAIN", "TEST"):
        rows = ["1\t0.5\t0.7\t0.9", "2\t0.1\t0.3\tNaN", "1\t0.4\t0.6\t0.9", "2\t0.2\t0.3\t0.5"]
        if split == "TEST":
            rows = [row.replace("0.3", "0.35").replace("0.5\t", "0.55\t").replace("0.6", "0.66") for row in rows]
        if suffix == ".ts":
            moved = [row.split("\t") for row in rows]
            rows = ["@univariate true", "@classLabel true 1 2", "@data"] + [",".join(r[1:]) + ":" + r[0] for r in moved]
        (root / f"Moves_{split}{suffix}").write_text("\n".join(rows) + "\n", "utf-8")
    return root


def test_arrays_pairs_and_lists() -> None:
    source = load_series(X, Y)
    assert source.train.values.shape == (8, 12, 2) and source.train.values.dtype == torch.float32
    assert source.train.mask is None and source.classes == ("down", "up") and source.test is None
    torch.testing.assert_close(source.train.values, torch.tensor(X, dtype=torch.float32))
    source = load_series(((X, Y), (X[:3] + 1, Y[:3])))
    assert source.test is not None and len(source.test) == 3
    ragged = [X[i, : 3 + i] for i in range(8)]
    source = load_series(ragged, Y)
    assert source.train.mask is not None and source.train.lengths.tolist() == list(range(3, 11))
    for row, one in enumerate(ragged):
        np.testing.assert_allclose(source.train.values[row, : len(one)], one.astype(np.float32))
        assert not source.train.values[row, len(one) :].any()


def test_trailing_nan_is_padding_and_inner_nan_is_filled() -> None:
    x = X.copy()
    x[0, 9:] = np.nan
    x[1, 3, 0] = np.nan
    source = load_series(torch.tensor(x), Y)
    assert source.train.lengths.tolist() == [9] + [12] * 7
    assert float(source.train.values[1, 3, 0]) == pytest.approx((x[1, 2, 0] + x[1, 4, 0]) / 2, rel=1e-6)
    assert any("1 values of 1 train series are missing" in str(finding) for finding in source.findings)


def test_npz_and_npy(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", x_train=X, y_train=Y, x_test=X[:4], y_test=Y[:4])
    source = load_series(tmp_path / "a.npz")
    assert source.kind == "npz" and source.test is not None and len(source.test) == 4
    assert any("exact copies of one in the train split" in str(finding) for finding in source.findings)
    np.save(tmp_path / "x.npy", X[..., 0])
    np.save(tmp_path / "y.npy", np.arange(8) % 2)
    assert load_series(tmp_path / "x.npy").classes == ("0", "1")
    assert load_series(tmp_path / "x.npy", Y).classes == ("down", "up")
    with pytest.raises(DataError, match="differ in number"):
        load_series(tmp_path / "x.npy", Y[:3])
    np.savez(tmp_path / "b.npz", x=np.array([{}, {}], dtype=object), y=[0, 1])
    with pytest.raises(DataError, match="Python objects"):
        load_series(tmp_path / "b.npz")


def test_a_folder_of_class_folders_of_csv_files(tmp_path: Path) -> None:
    source = load_series(write_csv_classes(tmp_path / "moves"))
    assert source.kind == "series-folder" and source.preparation.channels == ("x", "y")
    assert source.train.names[0] == "run/0.csv" and source.train.lengths.tolist() == [4, 5, 6] * 2
    for split in ("train", "test"):
        write_csv_classes(tmp_path / "split" / split, files=2 + (split == "train"))
    source = load_series(tmp_path / "split")
    assert source.test is not None and (len(source.train), len(source.test)) == (6, 4)


def test_a_csv_series_of_other_columns_is_bad(tmp_path: Path) -> None:
    write_csv_classes(tmp_path)
    (tmp_path / "walk" / "9.csv").write_text("x\n1\n2\n", "utf-8")
    (tmp_path / "walk" / "8.csv").write_text("x,y\n1,2\n3\n", "utf-8")
    with pytest.raises(DataError, match="2 of 8 series") as error:
        load_series(tmp_path)
    assert "columns x, not x, y" in str(error.value) and "another number of columns" in str(error.value)


def test_signals_of_human_activity(tmp_path: Path) -> None:
    source = load_series(write_signals(tmp_path))
    assert source.kind == "signals" and source.preparation.channels == ("body_acc_x", "body_acc_y")
    assert source.classes == ("WALKING", "SITTING") and source.train.values.shape == (6, 16, 2)
    wanted = np.loadtxt(tmp_path / "test" / "Inertial Signals" / "body_acc_y_test.txt")
    assert source.test is not None
    np.testing.assert_allclose(source.test.values[..., 1], wanted.astype(np.float32))


def test_signals_that_do_not_fit(tmp_path: Path) -> None:
    root = write_signals(tmp_path)
    (root / "train" / "y_train.txt").write_text("1\n2\n", "utf-8")
    with pytest.raises(DataError, match="series and labels differ in number"):
        load_series(root)
    (root / "train" / "y_train.txt").write_text("1\n2\n3\n1\n2\n1\n", "utf-8")
    with pytest.raises(DataError, match="not named by activity_labels"):
        load_series(root)


@pytest.mark.parametrize("suffix", [".ts", ".tsv", ".txt"])
def test_a_problem_of_two_files(tmp_path: Path, suffix: str) -> None:
    root = write_problem(tmp_path / "Moves", suffix)
    source = load_series(root)
    assert source.kind == "problem" and source.test is not None and source.classes == ("1", "2")
    wanted = [3, 3 if suffix == ".ts" else 2, 3, 3]  # in .ts a gap at the end is a gap
    assert source.train.lengths.tolist() == wanted
    alone = load_series(root / f"Moves_TRAIN{suffix}")
    assert alone.test is not None and any("beside it" in str(finding) for finding in alone.findings)


def test_a_folder_of_several_problems_asks_which(tmp_path: Path) -> None:
    write_problem(tmp_path / "sets", ".ts")
    for path in list((tmp_path / "sets").iterdir()):
        (tmp_path / "sets" / path.name.replace("Moves", "Other")).write_text(path.read_text("utf-8"), "utf-8")
    with pytest.raises(DataError, match="several problems"):
        load_series(tmp_path / "sets")
    (tmp_path / "sets").rename(tmp_path / "Other")
    assert any("Moves" in str(finding) for finding in load_series(tmp_path / "Other").findings)


def test_train_and_test_of_different_channels() -> None:
    with pytest.raises(DataError, match="training and test series have different channels") as error:
        load_series(((X, Y), (X[..., :1], Y)))
    assert "train 2 channels, test 1 channel" in str(error.value)


@pytest.mark.parametrize(
    ("series", "labels", "message"),
    [
        (X, Y[:3], "differ in number"),
        (X, None, "have no labels"),
        (X, ["up"] * 8, "one class only"),
        (X, np.linspace(0.1, 0.9, 8), "whole numbers or text"),
        (X, np.eye(8), "one per series"),
        (X, ["up", ""] * 4, "a label is missing"),
        (X[0, 0], Y, "does not hold series"),
        (X.astype(str), Y, "made of numbers"),
        (np.full_like(X, np.inf), Y, "infinite"),
        (np.full_like(X, 1e300), Y, "too large"),
        (X[:0], Y[:0], "does not hold series"),
    ],
)
def test_bad_arrays_are_refused(series: object, labels: object, message: str) -> None:
    with pytest.raises(DataError, match=message):
        load_series(series, labels)


def test_bad_paths_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes(bytes(range(256)) * 4)
    with pytest.raises(DataError, match="not text"):
        load_series(tmp_path / "a.csv")
    (tmp_path / "b.csv").write_text("", "utf-8")
    with pytest.raises(DataError, match="empty"):
        load_series(tmp_path / "b.csv")
    with pytest.raises(DataError, match=r"did you mean .*b\.csv"):
        load_series(tmp_path / "bb.csv")
    with pytest.raises(DataError, match="no series were found"):
        load_series(tmp_path)
    with pytest.raises(DataError, match="to forecast"):
        load_series("demand")
    with pytest.raises(ConfigError, match="labels go with arrays"):
        load_series(tmp_path / "b.csv", [1])


def test_a_split_for_a_model_that_exists(tmp_path: Path) -> None:
    source = load_series(X, Y)
    series, findings = load_series_split(X[:2], Y[:2], classes=source.classes, preparation=source.preparation)
    assert series.labels is not None and series.labels.tolist() == [1, 0] and series.names == ("test[0]", "test[1]")
    unlabelled, _ = load_series_split(X[:2], classes=source.classes, preparation=source.preparation)
    assert unlabelled.labels is None and torch.equal(unlabelled.values, series.values)
    with pytest.raises(DataError, match="not among the classes"):
        load_series_split(X[:2], ["up", "left"], classes=source.classes, preparation=source.preparation)
    with pytest.raises(DataError, match="1 channel, not 2"):
        load_series_split(X[..., :1], Y, classes=source.classes, preparation=source.preparation)
    root = write_csv_classes(tmp_path / "moves")
    moves = load_series(root)
    one, _ = load_series_split(root / "run" / "1.csv", classes=moves.classes, preparation=moves.preparation)
    assert one.labels is None and one.values.shape == (1, 5, 2) and one.names == ("1.csv",)
    folder, _ = load_series_split(root / "run", classes=moves.classes, preparation=moves.preparation)
    assert len(folder) == 3 and folder.lengths.tolist() == [4, 5, 6]


def test_a_channel_that_is_wholly_missing_takes_its_training_mean() -> None:
    x = X.copy()
    x[2, :, 1] = np.nan
    source = load_series(x, Y)
    mean = np.nanmean(x[..., 1])
    np.testing.assert_allclose(source.train.values[2, :, 1], mean, rtol=1e-6)


def test_splits_are_filled_as_for_pictures() -> None:
    filled = fill_splits(load_series("waves"), seed=0)
    assert filled.validation is not None and filled.test is not None
    assert len(filled.train) + len(filled.validation) + len(filled.test) == 300
    assert filled.test.values.shape[1:] == (128, 1) and filled.test.names[0].startswith("sample[")
