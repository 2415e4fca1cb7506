"""Pictures to learn from, and the command without a process of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

SHADES = {"dark": 20, "grey": 120, "light": 220}


def write_shades(root: Path, counts: dict[str, int], *, side: int = 12, seed: int = 0) -> Path:
    """``counts[shade]`` noisy grey pictures of each shade, in a folder a shade; easy to tell apart."""
    random = np.random.default_rng(seed)
    for shade, count in counts.items():
        (root / shade).mkdir(parents=True, exist_ok=True)
        for number in range(count):
            noise = random.integers(-20, 20, (side, side))
            Image.fromarray((SHADES[shade] + noise).astype(np.uint8)).save(root / shade / f"{number}.png")
    return root


@pytest.fixture(scope="session")
def shades(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of three classes with 24 pictures each."""
    return write_shades(tmp_path_factory.mktemp("shades") / "photos", dict.fromkeys(SHADES, 24))


@pytest.fixture(scope="session")
def split_shades(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same with train and test folders around the classes."""
    root = tmp_path_factory.mktemp("split")
    write_shades(root / "train", dict.fromkeys(SHADES, 24))
    write_shades(root / "test", {"dark": 5, "grey": 6, "light": 7}, seed=1)
    return root


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Callable[..., Any]]:
    """Runs the command in a folder of its own: ``command("train", path).exit_code``, ``.stdout``, ``.stderr``."""
    from corecur.cli import app

    monkeypatch.chdir(tmp_path)
    threads = torch.get_num_threads()
    yield lambda *words: CliRunner().invoke(app, [str(word) for word in words])
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def trained(split_shades: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bundle of a classifier of shades."""
    from corecur.learners.image_classifier import ImageClassifier

    learner = ImageClassifier(epochs=6, threads=1, widths=(8, 16))
    learner.fit(split_shades)
    return learner.save(tmp_path_factory.mktemp("model") / "bundle")
