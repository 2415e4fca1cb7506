"""The same command gives the same bytes: twice, in another folder, locale, time zone and order of files."""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import write_shades
from tests.robustness.hostile_files import days, motions, sentences, texts

PROGRAM = Path(__file__).with_name("train_all.py")


def sources(root: Path) -> list[Path]:
    """A source of each task, small, with every form of folder in it."""
    root.mkdir()
    novel = root / "novel"
    novel.mkdir()
    for number in range(4):
        lines = (
            f"{'abcdefghij'[line % 10] * 3}{line} was a dark and stormy night of {number}.\n" for line in range(40)
        )
        (novel / f"{number}.txt").write_text("".join(lines), "utf-8")
    return [
        write_shades(root / "photos", {"dark": 12, "grey": 12, "light": 12}),
        texts(root / "reviews", each=12),
        novel,
        sentences(root / "words.conll"),
        motions(root / "motions", each=12),
        days(root / "days.csv"),
    ]


def shuffled_copy(root: Path, copy: Path, *, seed: int) -> Path:
    """A copy whose files and folders were made in another order, so that the system lists them in another."""
    paths = sorted(root.rglob("*"))
    random.Random(seed).shuffle(paths)
    for path in paths:
        target = copy / path.relative_to(root)
        if path.is_file():
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, target)
    return copy


def trained(paths: list[Path], *, threads: str, cwd: Path, epochs: int = 1, **settings: str) -> dict[str, str]:
    """The digests that a process of its own finds."""
    source = str(Path(__file__).parents[2] / "src")
    words = [sys.executable, str(PROGRAM), str(epochs), threads, *map(str, paths)]
    environment = os.environ | {"PYTHONPATH": source} | settings
    done = subprocess.run(words, env=environment, cwd=cwd, capture_output=True, text=True, timeout=500)
    assert done.returncode == 0, done.stderr
    found: dict[str, str] = json.loads(done.stdout.splitlines()[-1])
    return found


def test_every_learner_gives_the_same_bytes_again(tmp_path: Path) -> None:
    first = sources(tmp_path / "first")
    copy = shuffled_copy(tmp_path / "first", tmp_path / "elsewhere" / "first", seed=1)
    second = [Path(os.path.relpath(copy / path.name, tmp_path / "elsewhere")) for path in first]
    once = trained(first, threads="1,2", cwd=tmp_path, PYTHONHASHSEED="1", TZ="UTC", LC_ALL="C")
    again = trained(
        second, threads="1,2", cwd=tmp_path / "elsewhere", PYTHONHASHSEED="2", TZ="Pacific/Apia", LC_ALL="C.UTF-8"
    )
    assert len([name for name in once if "weights" in name]) == 2 * len(first)
    assert {name for name in once if once[name] != again[name]} == set()


def test_the_order_of_files_does_differ_there(tmp_path: Path) -> None:
    """The control of the test above: without sorting, the copy is another source."""
    write_shades(tmp_path / "a", {"dark": 40})
    shuffled_copy(tmp_path / "a", tmp_path / "b", seed=1)
    orders = [[entry.name for entry in os.scandir(tmp_path / name / "dark")] for name in "ab"]
    if orders[0] == orders[1]:
        pytest.skip("this file system lists files in an order of its own")
    assert sorted(orders[0]) == sorted(orders[1])
