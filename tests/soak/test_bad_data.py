"""Bad data at full size: pictures of 100 million pixels, a million files, ten thousand classes."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.robustness.hostile_files import black_png
from tests.robustness.memory_of import cost_of

pytestmark = pytest.mark.soak

# name -> bits and PNG's number of the colour type
MODES = {"one-bit": (1, 0), "grey": (8, 0), "deep": (16, 0), "palette": (8, 3), "alpha": (8, 6), "grey-alpha": (8, 4)}
DECODE = """
from corecur.data.images import Preparation
def work(paths): Preparation(16, 16, 3).files(paths.split("|"))"""
LOAD = """
import torch
from corecur.data.open_images import load_images
def work(source): load_images(source)"""
TRAIN = """
from corecur.learners.image_classifier import ImageClassifier
def work(source): ImageClassifier(epochs=1, threads=1, batch_size=256).fit(source, out=source + ".runs")"""


@pytest.mark.parametrize("mode", MODES)
def test_the_largest_pictures_take_less_than_a_gigabyte(tmp_path: Path, mode: str) -> None:
    """Three at once, from the threads that decode: they wait for each other."""
    bits, colour = MODES[mode]
    data = black_png(9999, 9999, bits=bits, colour=colour)
    paths = [tmp_path / f"{number}.png" for number in range(3)]
    for path in paths:
        path.write_bytes(data)
    cost = cost_of(DECODE, ["|".join(map(str, paths))], limit=300)
    assert cost.refusals == [None] and cost.megabytes < 1000, cost


def test_a_million_files(tmp_path: Path) -> None:
    """Memory grows by what a sample is, its pixels, its name and its path, and by nothing else."""
    count, each = 1_000_000, 50_000
    random = np.random.default_rng(0)
    for folder in range(count // each):
        place = tmp_path / "set" / f"class{folder}"
        place.mkdir(parents=True)
        original = tmp_path / f"{folder}.png"
        Image.fromarray(random.integers(0, 255, (8, 8), dtype=np.uint8)).save(original)
        for number in range(each):
            os.link(original, place / f"{number}.png")
    cost = cost_of(LOAD, [str(tmp_path / "set")], limit=3000)
    print(f"{count / cost.seconds:,.0f} files a second, {cost.megabytes / count * 1e6:,.0f} bytes a file")
    assert cost.refusals == [None] and cost.megabytes * 1e6 / count < 1000, cost


def test_ten_thousand_classes(tmp_path: Path) -> None:
    images = np.random.default_rng(0).integers(0, 255, (30_000, 8, 8)).astype(np.uint8)
    np.savez(tmp_path / "x.npz", images=images, labels=np.arange(30_000) % 10_000)
    cost = cost_of(TRAIN, [str(tmp_path / "x.npz")], limit=1000)
    assert cost.refusals == [None] and cost.megabytes < 6000, cost
