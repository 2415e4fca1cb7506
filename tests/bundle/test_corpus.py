"""The attack corpus through the entry points: the right rule named, little time and memory, and nothing else done.

Here through four of them; ``tests/soak`` runs all.
"""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import torch

from .corpus import CORPUS
from .marker import MARKER, Payload, payload

ROOT = Path(__file__).resolve().parents[2]
MOST_SECONDS, MOST_MB = 1.0, 50.0
SETTINGS = {"PYTHONPATH": os.pathsep.join([str(ROOT / "src"), str(ROOT)]), "OMP_NUM_THREADS": "1"}
FAST = ("Model.load", "info", "load_learner", "load_weights")


def attacked(*entries: str) -> list[dict[str, Any]]:
    """What became of every file at these entry points, told by a process of its own."""
    found = subprocess.run(
        [sys.executable, "-c", "from tests.bundle.attack_run import main; main()", *entries],
        cwd=ROOT, env=os.environ | SETTINGS, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert found.returncode == 0, found.stderr[-2000:]
    results: list[dict[str, Any]] = json.loads(found.stdout)
    return results


def failures(results: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The openings that did not go as they should."""
    return [
        result
        for result in results
        if result["code"] != CORPUS[result["attack"]].code
        or result["events"]
        or result["seconds"] > MOST_SECONDS
        or result["mb"] > MOST_MB
    ]


def test_every_file_is_refused_for_its_rule_in_a_second_in_50_mb_and_nothing_else_happens() -> None:
    results = attacked(*FAST)
    assert {result["attack"] for result in results} == set(CORPUS)
    assert {result["entry"] for result in results} == set(FAST)
    assert failures(results) == []


def test_the_payload_of_the_corpus_does_run_where_a_loader_lets_it(tmp_path: Path) -> None:
    pickle.loads(payload(tmp_path))
    assert (tmp_path / MARKER).is_dir()
    (tmp_path / MARKER).rmdir()
    torch.save({"w": Payload(tmp_path)}, tmp_path / "w.pt")
    assert not (tmp_path / MARKER).exists()
    torch.load(tmp_path / "w.pt", weights_only=False)
    assert (tmp_path / MARKER).is_dir()


def test_the_watch_sees_what_it_should(tmp_path: Path) -> None:
    program = """
import sys
from tests.bundle.attack_run import Watch
watch = Watch()
for code in sys.argv[1:]:
    watch.events, watch.folder = [], "."
    exec(code)
    watch.folder = None
    print(len(watch.events))
"""
    codes = ["x = 1", "import this", "open('made', 'w')", "__import__('socket').socket()", "import os; os.mkdir('m')"]
    found = subprocess.run(
        [sys.executable, "-c", program, *codes],
        cwd=tmp_path, env=os.environ | SETTINGS, capture_output=True, text=True, check=True,
    )  # fmt: skip
    counts = [int(line) for line in found.stdout.splitlines() if line.isdigit()]
    assert len(counts) == len(codes) and counts[0] == 2 and min(counts[1:]) > 2  # compiling and running is two
