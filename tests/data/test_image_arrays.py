from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from corecur.data.image_arrays import array_part, as_labels, prepare_arrays, white_of, with_channels
from corecur.errors import DataError

from .picture_files import pixels


def prepare(array: Any, **options: Any) -> torch.Tensor:
    shape = np.shape(array)
    channels = 1 if len(shape) == 3 or shape[3] == 1 else 3
    return prepare_arrays(array, **{"height": shape[1], "width": shape[2], "channels": channels, **options})


@given(
    hnp.arrays(np.uint8, st.tuples(st.integers(1, 5), st.integers(1, 9), st.integers(1, 9), st.sampled_from([1, 3])))
)
def test_bytes_of_the_right_size_are_taken_as_they_are(array: np.ndarray) -> None:
    assert np.array_equal(prepare(array).numpy(), array)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_floats_to_one_are_scaled_and_floats_to_255_are_rounded(dtype: type) -> None:
    bytes_ = pixels(0, 3, 16, 16)
    bytes_[0, 0, 0] = 255
    assert np.abs(prepare((bytes_ / 255).astype(dtype)).numpy()[..., 0].astype(int) - bytes_).max() == 0
    assert np.array_equal(prepare(bytes_.astype(dtype)).numpy()[..., 0], bytes_)


def test_white_of_the_training_set_rules_later_arrays() -> None:
    dark = np.full((1, 2, 2), 1.0)
    assert prepare(dark).max() == 255
    assert prepare(dark, white=255.0).max() == 1
    assert (white_of(dark), white_of(dark * 200), white_of(pixels(0, 2, 2))) == (1.0, 255.0, None)
    with pytest.raises(DataError, match="range"):
        prepare(dark * 200, white=1.0)


@pytest.mark.parametrize("dtype", [np.int64, np.uint16, np.int8])
def test_other_integers_count_to_255(dtype: type) -> None:
    array = np.array([[[0, 1, 100]]], dtype=dtype)
    assert prepare(array).flatten().tolist() == [0, 1, 100]


def test_booleans_are_black_and_white() -> None:
    assert prepare(np.array([[[True, False]]])).flatten().tolist() == [255, 0]


def test_tensors_of_any_kind_are_taken() -> None:
    array = torch.rand(2, 4, 4, 3, requires_grad=True)
    assert torch.equal(prepare(array), prepare(array.detach().numpy()))
    assert prepare(torch.ones(1, 2, 2, dtype=torch.bfloat16)).min() == 255


def test_many_pictures_are_prepared_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    array = np.random.default_rng(0).random((50, 5, 5))
    whole = prepare(array)
    monkeypatch.setattr("corecur.data.image_arrays.CHUNK", 7)
    assert torch.equal(prepare(array, on_disk=True), whole)


def test_size_and_colour_change_by_the_rules_for_files() -> None:
    grey = pixels(1, 2, 8, 8)
    colour = prepare_arrays(grey, height=8, width=8, channels=3).numpy()
    assert np.array_equal(colour, np.stack([grey] * 3, axis=-1))
    red = np.zeros((1, 8, 8, 3), dtype=np.uint8) + np.array([255, 0, 0], dtype=np.uint8)
    assert prepare_arrays(red, height=4, width=4, channels=1).unique().tolist() == [76]  # 0.299 · 255
    clear = np.zeros((1, 8, 8, 4), dtype=np.uint8)
    assert prepare_arrays(clear, height=8, width=8, channels=3).unique().tolist() == [255]


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros((5, 64)), "reshape\\(-1, 8, 8\\)"),
        (np.zeros((5, 63)), "reshape\\(-1, height, width\\)"),
        (np.zeros((5, 3, 8, 8)), "channels come last"),
        (np.zeros((5, 8, 8, 2)), "does not hold pictures"),
        (np.zeros((5,)), "does not hold pictures"),
        (np.zeros((0, 8, 8)), "no picture in it"),
        (np.zeros((1, 1, 8, 8, 3)), "does not hold pictures"),
        ([[[1, 2]], [[1, 2, 3]]], "differ in shape"),
        (np.array([[["a"]]]), "made of numbers"),
        (np.array([[[1 + 1j]]]), "made of numbers"),
        (np.array([[[None]]], dtype=object), "Python objects"),
        (np.array([[[0.5, np.nan]]]), "NaN or infinity"),
        (np.array([[[0.5, -np.inf]]]), "NaN or infinity"),
        (np.array([[[-1.0, 1.0]]]), "before any normalisation"),
        (np.array([[[0.0, 256.0]]]), "range of pictures"),
        (np.array([[[0, 256]]]), "range of pictures"),
        (np.array([[[-1, 5]]]), "range of pictures"),
    ],
)
def test_wrong_arrays_are_refused_with_a_remedy(array: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        prepare_arrays(array, height=8, width=8, channels=3)


def test_nan_is_found_in_the_picture_that_has_it() -> None:
    array = np.zeros((3000, 2, 2))
    array[2500, 1, 1] = np.nan
    with pytest.raises(DataError, match=r"train images\[2500\]"):
        prepare_arrays(array, height=2, width=2, channels=1, name="train images")


@pytest.mark.parametrize(
    "labels",
    [[1, 0, 2], np.array([[1], [0], [2]]), torch.tensor([1, 0, 2]), np.array([1, 0, 2], dtype=np.uint8)],
)
def test_whole_numbers_are_labels(labels: Any) -> None:
    found = as_labels(labels, count=3)
    assert found.dtype == np.int64
    assert found.tolist() == [1, 0, 2]


@pytest.mark.parametrize("labels", [["b", "a"], np.array(["b", "a"], dtype=object), np.array([b"b", b"a"])])
def test_text_is_labels(labels: Any) -> None:
    assert as_labels(labels, count=2).tolist() == ["b", "a"]


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ([0, 1], "differ in number"),
        ([0.0, 1.0, 0.5], "whole numbers or text"),
        ([0, -1, 2], "negative"),
        (np.eye(3), "argmax"),
        (np.zeros((3, 1, 1)), "one per picture"),
        (["a", "", "b"], "row 1"),
        (np.array(["a", None, "b"], dtype=object), "row 1"),
        (np.array(["a", 3, "b"], dtype=object), "row 1"),
    ],
)
def test_wrong_labels_are_refused(labels: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        as_labels(labels, count=3)


def test_a_part_has_a_name_for_each_sample() -> None:
    part = array_part(pixels(0, 3, 4, 4), [0, 1, 1], split="test", where="arrays")
    assert list(part.names) == ["test[0]", "test[1]", "test[2]"]
    assert with_channels(pixels(0, 3, 4, 4)).shape == (3, 4, 4, 1)
