"""Model files for a long time: the corpus at every entry point, flips, cuts, swaps, and random changes.

CORECUR_SOAK_SECONDS is how long the random changes go on, 600 by default.
"""

from __future__ import annotations

import os
import random
import threading
import time
from pathlib import Path

import pytest

from corecur.bundle.open import open_untrusted
from corecur.errors import BundleError
from tests.bundle.corpus import CORPUS
from tests.bundle.fuzz import fuzz
from tests.bundle.good_bundles import as_folder, pictures
from tests.bundle.raw_zip import Raw, plain, raw_zip
from tests.bundle.test_corpus import attacked, failures

SECONDS = float(os.environ.get("CORECUR_SOAK_SECONDS", "600"))


def code_of(path: Path) -> str | None:
    """The rule that is broken; None where all is read."""
    try:
        open_untrusted(path).tensor_file.verify()
    except BundleError as error:
        return error.code
    return None


def test_the_corpus_at_every_entry_point() -> None:
    results = attacked()
    print(f"{len(CORPUS)} files, {len(results)} openings, slowest {max(r['seconds'] for r in results):.2f} s,"
          f" most memory {max(r['mb'] for r in results):.1f} MB")  # fmt: skip
    assert failures(results) == []


def test_a_million_members(tmp_path: Path) -> None:
    path = raw_zip(tmp_path / "m.corecur", [*plain(pictures()), *(Raw(b"%d" % n) for n in range(1_000_000))])
    began = time.process_time()
    assert code_of(path) == "odd-archive"
    assert time.process_time() - began < 1


@pytest.mark.parametrize("form", ["folder", "file"])
def test_a_thousand_flipped_bits(tmp_path: Path, form: str) -> None:
    path = as_folder(tmp_path / "m", pictures())
    path = path if form == "folder" else raw_zip(tmp_path / "m.corecur", plain(pictures()))
    files, rng = [path] if path.is_file() else sorted(path.iterdir()), random.Random(1)
    for _ in range(1_000):
        file = rng.choice(files)
        content = bytearray(file.read_bytes())
        content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
        good = file.read_bytes()
        file.write_bytes(content)
        assert code_of(path) is not None
        file.write_bytes(good)
    assert code_of(path) is None


def test_two_hundred_cuts(tmp_path: Path) -> None:
    whole = raw_zip(tmp_path / "whole", plain(pictures())).read_bytes()
    for number in range(200):
        (tmp_path / "m.corecur").write_bytes(whole[: number * len(whole) // 200])
        assert code_of(tmp_path / "m.corecur") == "not-a-bundle"


@pytest.mark.parametrize("member", ["card.md", "model.json", "weights.safetensors", "manifest.json"])
def test_ten_thousand_openings_of_a_bundle_that_changes(tmp_path: Path, member: str) -> None:
    path, good = as_folder(tmp_path / "m", pictures()), pictures()[member]
    evil = good[:-3] + bytes([good[-3] ^ 1]) + good[-2:]
    stop = threading.Event()

    def swap() -> None:
        for number in range(1 << 40):
            if stop.is_set():
                return
            (tmp_path / "new").write_bytes(evil if number % 2 else good)
            os.replace(tmp_path / "new", path / member)

    thread = threading.Thread(target=swap)
    thread.start()
    seen = set()
    try:
        for _ in range(10_000):
            try:
                found = open_untrusted(path)
                found.tensor_file.verify()
            except BundleError as error:
                seen.add(error.code)
            else:
                seen.add("good")
                assert found.card == "# Pictures\n" and found.manifest == pictures()["manifest.json"]
    finally:
        stop.set()
        thread.join()
    assert "good" in seen and len(seen) > 1


def test_random_changes_for_a_long_time(tmp_path: Path) -> None:
    found = fuzz(tmp_path, seed=int(time.time()), seconds=SECONDS)
    print(f"{found.total():,} inputs, no crash: {dict(found.most_common())}")
