from __future__ import annotations

import numpy as np
import pytest
import torch

from corecur.data.images import ImageSource
from corecur.data.open_images import load_images
from corecur.errors import ConfigError, DataError
from corecur.learners.fill_splits import fill_splits, share_in


def source(counts: list[int], *, test: bool = False) -> ImageSource:
    """Pictures that hold their own number, so many of each class."""
    labels = np.repeat(np.arange(len(counts)), counts)
    images = np.arange(len(labels), dtype=np.uint8)[:, None, None] * np.ones((1, 4, 4), np.uint8)
    return load_images(((images, labels), (images[:, ::-1], labels)) if test else (images, labels))


def numbers(images: torch.Tensor) -> list[int]:
    return images[:, 0, 0, 0].tolist()


def test_every_sample_goes_to_one_split_and_classes_keep_their_shares() -> None:
    filled = fill_splits(source([100, 50, 50]), seed=0)
    splits = (filled.train, filled.validation, filled.test)
    assert all(split is not None for split in splits)
    assert sorted(n for split in splits if split for n in numbers(split.images)) == list(range(200))
    for split, share in zip(splits, (0.7, 0.1, 0.2), strict=True):
        assert split is not None and split.labels is not None
        assert split.labels.bincount().tolist() == [100 * share, 50 * share, 50 * share]


def test_the_seed_decides_and_the_test_does_not_depend_on_the_validation() -> None:
    data = source([40, 40])
    once, again, other = (fill_splits(data, seed=seed) for seed in (1, 1, 2))
    longer = fill_splits(data, seed=1, validation=0.4)
    assert once.test and again.test and other.test and longer.test
    assert numbers(once.test.images) == numbers(again.test.images) == numbers(longer.test.images)
    assert numbers(once.test.images) != numbers(other.test.images)


def test_a_split_that_is_there_stays() -> None:
    data = source([40, 40], test=True)
    filled = fill_splits(data, seed=0, test=0.5)
    assert filled.test is data.test
    assert filled.validation is not None and len(filled.train) + len(filled.validation) == 80
    assert fill_splits(filled, seed=0).train is filled.train


def test_a_share_of_nothing_leaves_the_split_away() -> None:
    filled = fill_splits(source([40, 40]), seed=0, validation=0, test=0)
    assert filled.validation is None and filled.test is None and len(filled.train) == 80


def test_rows_taken_from_the_training_data_are_no_longer_called_so() -> None:
    filled = fill_splits(source([10, 10]), seed=0)
    assert filled.test and all(name.startswith("sample[") for name in filled.test.names)
    assert all(name.startswith("train[") for name in filled.train.names)


def test_what_cannot_be_done_is_refused() -> None:
    with pytest.raises(ConfigError, match="nothing to train on"):
        fill_splits(source([40, 40]), seed=0, validation=0.5, test=0.5)
    with pytest.raises(DataError, match="too few samples"):
        fill_splits(source([2, 2]), seed=0)


@pytest.mark.parametrize("value", ["0.2", 0.2, " .2 "])
def test_shares(value: object) -> None:
    assert share_in(value) == 0.2


@pytest.mark.parametrize("value", ["photos", None, True, ([1], [0]), np.zeros(3)])
def test_sources_are_no_shares(value: object) -> None:
    assert share_in(value) is None


@pytest.mark.parametrize("value", [1, "1.0", -0.1, "nan", "inf"])
def test_shares_lie_below_one(value: object) -> None:
    with pytest.raises(ConfigError, match="share of the data"):
        share_in(value)
