from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from corecur.data.geometry import Moves, move, warp

ZERO, ONE = torch.zeros(1), torch.ones(1)


def pictures(n: int, h: int, w: int, c: int, seed: int = 0) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(seed).integers(0, 256, (n, h, w, c), dtype=np.uint8))


def moves(n: int, down: int = 0, right: int = 0, mirror_y: bool = False, mirror_x: bool = False) -> Moves:
    return Moves(*(torch.full((n,), value) for value in (down, right, mirror_y, mirror_x)))


@settings(max_examples=60, deadline=None)
@given(st.integers(2, 8), st.integers(2, 9), st.sampled_from([1, 3]), st.data())
def test_move_is_numpy_flip_pad_and_crop(h: int, w: int, c: int, data: st.DataObject) -> None:
    n, pad = 5, data.draw(st.integers(0, min(h, w) - 1))
    numbers = st.lists(st.integers(-pad, pad), min_size=n, max_size=n)
    coins = st.lists(st.booleans(), min_size=n, max_size=n)
    down, right, up, left = (data.draw(s) for s in (numbers, numbers, coins, coins))
    images = pictures(n, h, w, c)
    got = move(images, Moves(torch.tensor(down), torch.tensor(right), torch.tensor(up), torch.tensor(left)))
    for i in range(n):
        # Cropping the padded picture and flipping first, in NumPy: a flipped output reads the source backwards.
        padded = np.pad(images[i].numpy(), ((pad, pad), (pad, pad), (0, 0)), mode="reflect")
        rows = (np.arange(h)[::-1] if up[i] else np.arange(h)) + pad + down[i]
        columns = (np.arange(w)[::-1] if left[i] else np.arange(w)) + pad + right[i]
        np.testing.assert_array_equal(got[i].numpy(), padded[rows][:, columns])


def test_flips_are_torch_flips() -> None:
    images = pictures(3, 5, 4, 3)
    assert torch.equal(move(images, moves(3, mirror_x=True)), images.flip(2))
    assert torch.equal(move(images, moves(3, mirror_y=True)), images.flip(1))
    assert torch.equal(move(images, moves(3)), images)


def test_far_moves_reflect_again_and_again() -> None:
    row = torch.arange(4, dtype=torch.uint8).view(1, 1, 4, 1)
    wide = np.pad(np.arange(4), 20, mode="reflect")
    for right in range(-20, 17):
        assert move(row, moves(1, right=right)).flatten().tolist() == wide[20 + right : 24 + right].tolist()
    assert torch.equal(move(row, moves(1, down=3)), row)  # one pixel high: every reflection is itself


@pytest.mark.parametrize("quarters", [0, 1, 2, 3, -1])
@pytest.mark.parametrize("size", [4, 7, 32])
def test_quarter_turns_are_torch_rot90(quarters: int, size: int) -> None:
    images = pictures(2, size, size, 3)
    turned = warp(images, moves(2), turn=torch.full((2,), quarters * torch.pi / 2), zoom=torch.ones(2))
    assert torch.equal(turned, torch.rot90(images, quarters, dims=(1, 2)))


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 9), st.integers(1, 9), st.integers(-3, 3), st.integers(-3, 3), st.booleans(), st.booleans())
def test_a_warp_that_does_not_turn_is_a_move(h: int, w: int, down: int, right: int, up: bool, left: bool) -> None:
    images = pictures(2, h, w, 3)
    how = moves(2, down, right, up, left)
    assert torch.equal(warp(images, how, turn=torch.zeros(2), zoom=torch.ones(2)), move(images, how))


def bilinear(image: np.ndarray, turn: float, zoom: float, down: int, right: int) -> np.ndarray:
    """The same warp, pixel by pixel in float64, over a picture padded by reflection."""
    h, w = image.shape
    pad = 3 * max(h, w)
    padded = np.pad(image.astype(np.float64), pad, mode="reflect")
    out = np.empty((h, w))
    for i in range(h):
        for j in range(w):
            y, x = (i - (h - 1) / 2) / zoom, (j - (w - 1) / 2) / zoom
            sy = (h - 1) / 2 + np.sin(turn) * x + np.cos(turn) * y + down + pad
            sx = (w - 1) / 2 + np.cos(turn) * x - np.sin(turn) * y + right + pad
            a, b = int(np.floor(sy)), int(np.floor(sx))
            p, q = sy - a, sx - b
            top = (1 - q) * padded[a, b] + q * padded[a, b + 1]
            low = (1 - q) * padded[a + 1, b] + q * padded[a + 1, b + 1]
            out[i, j] = (1 - p) * top + p * low
    return out


@pytest.mark.parametrize(
    ("turn", "zoom", "down", "right"), [(0.3, 1.0, 0, 0), (0.0, 1.4, 0, 0), (-1.0, 0.6, 2, -1), (2.5, 1.1, -3, 3)]
)
@pytest.mark.parametrize("shape", [(8, 8), (6, 9)])
def test_warp_equals_float64_bilinear(turn: float, zoom: float, down: int, right: int, shape: tuple[int, int]) -> None:
    images = pictures(1, *shape, 1)
    got = warp(images, moves(1, down, right), turn=torch.tensor([turn]), zoom=torch.tensor([zoom]))
    expected = bilinear(images[0, :, :, 0].numpy(), turn, zoom, down, right)
    assert np.abs(got[0, :, :, 0].numpy() - expected).max() <= 0.5 + 1e-3  # half a level is the rounding


def test_a_warp_does_not_depend_on_the_batch() -> None:
    images = pictures(9, 11, 7, 3)
    turn, zoom = torch.linspace(-1, 1, 9), torch.linspace(0.7, 1.3, 9)
    offset, coin = torch.arange(9) - 4, torch.arange(9) % 2 == 0
    whole = warp(images, Moves(offset, -offset, coin, ~coin), turn=turn, zoom=zoom)
    for i in range(9):
        one = slice(i, i + 1)
        alone = warp(
            images[one], Moves(offset[one], -offset[one], coin[one], ~coin[one]), turn=turn[one], zoom=zoom[one]
        )
        assert torch.equal(alone, whole[one])
