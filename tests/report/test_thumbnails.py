"""Pictures: decoded again by Pillow, they hold the pixels that went in."""

from __future__ import annotations

import base64
import io
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from corecur.errors import ShapeError
from corecur.report.thumbnails import GAP, data_uri, filter_grid, map_grid


def _decode(uri: str) -> NDArray[Any]:
    kind, data = uri.split(";base64,")
    assert kind in ("data:image/png", "data:image/jpeg")
    image = Image.open(io.BytesIO(base64.b64decode(data)))
    return np.asarray(image.convert("RGBA") if image.mode == "P" else image)


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_tiny_images_grow_pixel_by_pixel(channels: int) -> None:
    image = np.random.default_rng(0).integers(0, 256, (8, 6, channels), dtype=np.uint8)
    seen = _decode(data_uri(image, smallest=64))
    assert seen.shape[:2] == (64, 48)
    wanted = image.repeat(8, axis=0).repeat(8, axis=1)
    if channels == 1:
        np.testing.assert_array_equal(seen, wanted[..., 0])
    else:
        np.testing.assert_array_equal(seen[..., :channels], wanted)


def test_photographs_shrink_and_stay_small() -> None:
    y, x = np.mgrid[0:600, 0:900]
    photo = np.stack([128 + 100 * np.sin(x / 40), 128 + 100 * np.cos(y / 30), (x + y) / 8], axis=-1)
    photo = np.clip(photo + np.random.default_rng(0).normal(0, 10, photo.shape), 0, 255).astype(np.uint8)
    uri = data_uri(photo)
    assert uri.startswith("data:image/jpeg") and len(uri) < 20_000
    assert _decode(uri).shape == (106, 160, 3)
    assert _decode(data_uri(photo[:, :2])).shape[:2] == (160, 1)


def test_odd_channels_show_their_mean() -> None:
    image = np.stack([np.full((70, 70), 10), np.full((70, 70), 30)], axis=-1).astype(np.uint8)
    assert (_decode(data_uri(image)) == 20).all()


@pytest.mark.parametrize(
    "image", [np.zeros((8, 8, 1), np.float32), np.zeros((8,), np.uint8), np.zeros((0, 8, 1), np.uint8)]
)
def test_what_is_no_picture_is_refused(image: NDArray[Any]) -> None:
    with pytest.raises(ShapeError):
        data_uri(image)


def test_filters_keep_their_sign() -> None:
    weights = np.zeros((3, 2, 1, 1))
    weights[0, :, 0, 0] = 2, -2
    weights[1, :, 0, 0] = 0.01, 0
    seen = _decode(filter_grid(weights)).astype(int)
    tile = (seen.shape[0], (seen.shape[1] - 2 * GAP) // 3)
    top, bottom = seen[2, 2], seen[tile[0] - 3, 2]
    assert top[0] > top[2] + 50 and bottom[2] > bottom[0] + 50  # red above zero, blue below
    second = tile[1] + GAP + 2
    np.testing.assert_array_equal(seen[2, second], top)  # each tile has its own scale
    assert np.ptp(seen[-3, second, :3]) < 12  # zero is nearly white
    assert seen[0, tile[1] + 1, 3] == 0  # the gap is clear


def test_colour_filters_are_stretched_per_tile() -> None:
    weights = np.random.default_rng(0).normal(size=(5, 3, 3, 3))
    seen = _decode(filter_grid(weights))
    side = (seen.shape[1] - 4 * GAP) // 5
    for i in range(5):
        tile = seen[:, i * (side + GAP) : i * (side + GAP) + side, :3]
        assert tile.min() == 0 and tile.max() == 255


def test_maps_run_from_dark_to_yellow_in_every_tile() -> None:
    maps = np.stack([np.arange(16.0).reshape(4, 4), 1e-6 * np.arange(16.0).reshape(4, 4)])
    seen = _decode(map_grid(maps))
    side = (seen.shape[1] - GAP) // 2
    np.testing.assert_array_equal(seen[:, :side], seen[:, side + GAP :])
    np.testing.assert_array_equal(seen[0, 0, :3], (68, 1, 84))
    np.testing.assert_array_equal(seen[-1, -1, :3], (253, 231, 37))


def test_grids_of_any_kind() -> None:
    for maps in (np.zeros((1, 1, 1)), np.ones((100, 7, 13)), np.full((9, 5, 5), np.nan), np.ones((64, 224, 224))):
        assert len(map_grid(maps)) < 400_000
    assert filter_grid(np.zeros((4, 3, 3, 24)))
    assert _decode(map_grid(np.ones((1, 100, 10)))).shape == (64, 6, 4)
    with pytest.raises(ShapeError):
        map_grid(np.zeros((2, 3, 3, 1)))
    with pytest.raises(ShapeError):
        filter_grid(np.zeros((0, 3, 3, 1)))
