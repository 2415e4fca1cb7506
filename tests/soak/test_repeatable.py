"""The samples, through the command: twice with the same threads, the same bytes."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.robustness.hostile_files import sentences

pytestmark = pytest.mark.soak

SOURCES = ("digits", "pydoc", "waves", "passengers", "demand", "words.conll", "pydoc --task text-generation")


@pytest.mark.parametrize("threads", [1, 2, 4])
@pytest.mark.parametrize("source", SOURCES)
def test_the_same_command_gives_the_same_bytes(tmp_path: Path, source: str, threads: int) -> None:
    found = set()
    sentences(tmp_path / "words.conll")
    for seed in ("1", "2"):
        words = [sys.executable, "-m", "corecur", "train", *source.split(), "--epochs", "2", "--threads", str(threads)]
        subprocess.run(
            [*words, "--out", seed], cwd=tmp_path, env=os.environ | {"PYTHONHASHSEED": seed}, check=True,
            stdout=subprocess.DEVNULL,
        )  # fmt: skip
        (weights,) = (tmp_path / seed).glob("*/bundle/weights.safetensors")
        found.add(hashlib.sha256(weights.read_bytes()).hexdigest())
    assert len(found) == 1
