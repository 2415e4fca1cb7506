"""Near copies, told from natural neighbours by the usual distances of a set."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from corecur.data.quality import near_copies
from corecur.data.quality.near_copies import neighbours


def unit(rows: NDArray[np.floating]) -> NDArray[np.float32]:
    found: NDArray[np.float32] = (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)
    return found


@pytest.mark.parametrize("dimensions", [2, 3, 8, 40])
@pytest.mark.parametrize("count", [30, 400, 1500])
def test_chance_neighbours_are_no_copies(dimensions: int, count: int) -> None:
    """Random points, in few dimensions too, where a nearest neighbour is often ten times nearer than the tenth."""
    random = np.random.default_rng(dimensions * count)
    points = random.standard_normal((count, dimensions))
    lifted = np.hstack([np.ones((count, 1)) * 5, points])
    assert len(neighbours(unit(lifted)).copies()) <= 1


def test_nearest_are_those_of_all_pairs() -> None:
    points = unit(np.random.default_rng(0).standard_normal((200, 9)))
    distances = 1 - points.astype(np.float64) @ points.T.astype(np.float64)
    np.fill_diagonal(distances, np.inf)
    found = neighbours(points, most=3)
    assert np.allclose(np.sort(distances, 1)[:, :3], found.distances, atol=1e-5)
    assert np.array_equal(distances.argmin(1), found.rows[:, 0])


@pytest.mark.parametrize(("rows", "across"), [(7, 3), (64, 100), (30, 201)])
def test_blocks_of_any_size_find_the_same(rows: int, across: int, monkeypatch: pytest.MonkeyPatch) -> None:
    points = unit(np.random.default_rng(4).standard_normal((200, 9)))
    points[[5, 150]] = 0
    distances = 1 - points.astype(np.float64) @ points.T.astype(np.float64)
    np.fill_diagonal(distances, np.inf)
    monkeypatch.setattr(near_copies, "_BLOCK", rows)
    monkeypatch.setattr(near_copies, "_ACROSS", across)
    found = neighbours(points, most=3)
    shown = [row for row in range(200) if row not in (5, 150)]
    others = distances[np.ix_(shown, shown)]
    assert np.allclose(np.sort(others, 1)[:, :3], found.distances[shown], atol=1e-5)
    assert np.array_equal(np.array(shown)[others.argmin(1)], found.rows[shown, 0])
    assert np.isinf(found.distances[[5, 150]]).all()


def test_copies_among_crowds_and_blanks() -> None:
    random = np.random.default_rng(1)
    points = random.standard_normal((300, 60))
    points[40:52] = points[3] + 0.02 * random.standard_normal((12, 60))  # more copies than neighbours that count
    rows = unit(points)
    rows[100:110] = 0
    found = neighbours(rows, crowded=True)
    named = {place for pair in found.copies() for place in pair}
    assert named == {3, *range(40, 52)}


def test_one_and_two_samples() -> None:
    assert neighbours(np.ones((1, 4), np.float32) / 2).copies() == []
    assert neighbours(np.ones((2, 4), np.float32) / 2).copies() == [(0, 1)]
