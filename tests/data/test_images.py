from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
import torch

from corecur.data import memory
from corecur.data.images import ImageSet, Preparation
from corecur.errors import ConfigError, DataError

from .picture_files import pixels, save


def test_a_set_takes_samples_in_the_order_asked() -> None:
    images = ImageSet(torch.arange(4, dtype=torch.uint8).reshape(4, 1, 1, 1), torch.arange(4) * 10, tuple("abcd"))
    taken = images.take(torch.tensor([3, 3, 0]))
    assert (len(taken), taken.images.flatten().tolist(), taken.names) == (3, [3, 3, 0], ("d", "d", "a"))
    assert taken.labels is not None
    assert taken.labels.tolist() == [30, 30, 0]
    assert ImageSet(images.images, None, images.names).take(torch.tensor([1])).labels is None


def test_a_set_larger_than_memory_is_taken_from_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    images = ImageSet(torch.randint(0, 256, (9, 4, 4, 3), dtype=torch.uint8), None, tuple("abcdefghi"))
    wanted = images.take(torch.tensor([8, 1])).images
    monkeypatch.setattr(memory, "available_memory", lambda: 1)
    assert torch.equal(images.take(torch.tensor([8, 1])).images, wanted)


def test_a_set_of_unequal_lengths_is_refused() -> None:
    with pytest.raises(DataError, match="differ in number"):
        ImageSet(torch.zeros(3, 1, 1, 1), torch.zeros(2), ("a", "b", "c"))


def test_a_preparation_goes_through_json() -> None:
    preparation = Preparation(24, 32, 3, 255.0)
    assert Preparation(**json.loads(json.dumps(asdict(preparation)))) == preparation


@pytest.mark.parametrize("fields", [(0, 8, 3), (8, 10**9, 3), (8, 8, 2), (8, 8, 3, 7.0)])
def test_a_preparation_out_of_range_is_refused(fields: tuple[int, ...]) -> None:
    with pytest.raises(ConfigError):
        Preparation(*fields)


def test_file_files_array_and_arrays_agree(tmp_path: Path) -> None:
    stack = pixels(0, 5, 20, 30, 3)
    paths = [save(tmp_path / f"{n}.png", array) for n, array in enumerate(stack)]
    preparation = Preparation(16, 16, 3)
    together, bad = preparation.files(paths)
    assert bad == []
    assert together.dtype == torch.uint8
    assert torch.equal(together, torch.stack([preparation.from_file(path) for path in paths]))
    assert torch.equal(together, torch.stack([preparation.from_array(array) for array in stack]))
    assert torch.equal(together, preparation.arrays(torch.from_numpy(stack)))


@pytest.mark.parametrize("shape", [(6, 5), (6, 5, 1), (6, 5, 3), (6, 5, 4)])
@pytest.mark.parametrize("channels", [1, 3])
def test_any_picture_shape_becomes_a_sample(shape: tuple[int, ...], channels: int) -> None:
    sample = Preparation(8, 8, channels).from_array(np.random.default_rng(0).random(shape))
    assert sample.shape == (8, 8, channels)


@pytest.mark.parametrize(
    "array", [np.full((4, 4), np.nan), np.zeros(4), np.zeros((4, 4, 2)), np.zeros((2, 4, 4, 3)), None]
)
def test_other_arrays_are_no_picture(array: object) -> None:
    with pytest.raises(DataError):
        Preparation(8, 8, 1).from_array(array)


def test_files_refuses_or_sets_aside(tmp_path: Path) -> None:
    paths = [save(tmp_path / "a.png", pixels(0, 8, 8)), tmp_path / "b.png"]
    with pytest.raises(DataError, match="1 of 2 pictures"):
        Preparation(8, 8, 1).files(paths)
    together, bad = Preparation(8, 8, 1).files(paths, skip_bad=True)
    assert len(together) == 1
    assert bad == [(tmp_path / "b.png", "no such file")]
    with pytest.raises(DataError, match="no such file"):
        Preparation(8, 8, 1).from_file(paths[1])
