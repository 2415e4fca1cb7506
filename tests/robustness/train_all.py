"""Trains a learner on each source that is named on the command line, and prints what its model file is made of.

``python train_all.py EPOCHS THREADS,… SOURCE…`` prints one JSON object: source, threads and member -> SHA-256. A
program of its own, so that hash seeds, locales and working folders can differ.
"""

from __future__ import annotations

import hashlib
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

from corecur.learners.tasks import TASKS, find_task

MEMBERS = ("weights.safetensors", "model.json", "preprocess.json", "labels.json")
# Everything that draws random numbers is on.
SETTINGS: dict[str, dict[str, Any]] = {
    "image-classification": {"mixup": 0.2, "cutout": 2, "brightness": 0.2, "rotate": 5.0},
    "forecasting": {"hidden": 8},
}


def digests(source: str, epochs: int, threads: int) -> dict[str, str]:
    """The SHA-256 of each member of the model file."""
    task = find_task(source)
    learner = TASKS[task].learner(epochs=epochs, threads=threads, seed=3, **SETTINGS.get(task, {}))
    learner.fit(source)
    with tempfile.TemporaryDirectory() as folder:
        bundle = learner.save(Path(folder, "bundle"))
        return {
            name: hashlib.sha256((bundle / name).read_bytes()).hexdigest()
            for name in MEMBERS
            if (bundle / name).exists()
        }


if __name__ == "__main__":
    epochs, threads, *sources = sys.argv[1:]
    found = {
        f"{Path(source).name}, threads {count}, {name}": digest
        for count in threads.split(",")
        for source in sources
        for name, digest in digests(source, int(epochs), int(count)).items()
    }
    print(json.dumps(found))
