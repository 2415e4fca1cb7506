"""How far trainings drift apart that differ in threads or instruction set: ``python -m bench.determinism``.

Every sample source is trained in processes of its own: twice with the same settings (the bytes must be equal), with
other numbers of threads, and with torch held to other instruction sets (ATEN_CPU_CAPABILITY). Shown are the largest
difference of a weight and of the test's figures from the first run. docs/determinism.md tells what to make of them.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SOURCES = ("digits", "pydoc", "waves", "passengers", "demand", "pydoc:text-generation")
# Threads, and the instruction set that torch is held to; the first is what the others are compared with.
SETTINGS = ((1, ""), (1, ""), (2, ""), (2, ""), (1, "default"), (1, "avx2"), (1, "avx512"))


@dataclass(frozen=True)
class Run:
    """What one training ended with."""

    digest: str
    weights: dict[str, Any]
    figures: dict[str, float]


def main() -> int:
    """Train all sources with all settings and print a table; 1 where a repetition gave other bytes."""
    parser = argparse.ArgumentParser(prog="python -m bench.determinism", description=__doc__.splitlines()[0])
    parser.add_argument("sources", nargs="*", default=SOURCES, help=f"default: {', '.join(SOURCES)}")
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--train", nargs=3, metavar=("SOURCE", "THREADS", "FOLDER"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.train:
        source, threads, folder = options.train
        _train(source, int(threads), Path(folder), options.epochs)
        return 0
    print("| source | threads | instructions | same bytes | largest weight apart | figures of the test apart |")
    print("| --- | ---: | --- | --- | ---: | --- |")
    equal = True
    for source in options.sources:
        first: Run | None = None
        seen: dict[tuple[int, str], str] = {}
        for threads, instructions in SETTINGS:
            run = _run(source, threads, instructions, options.epochs)
            equal &= seen.setdefault((threads, instructions), run.digest) == run.digest
            first = first or run
            same = "yes" if run.digest == first.digest else "no"
            apart = f"{_apart(run.weights, first.weights):.1e}"
            figures = ", ".join(f"{name} {run.figures[name] - first.figures[name]:+.1e}" for name in first.figures)
            row = (source, str(threads), instructions or "all there are", same, apart, figures)
            print(f"| {' | '.join(row)} |", flush=True)
    print("\nThe same settings gave the same bytes." if equal else "\nFAILED: the same settings gave other bytes.")
    return 0 if equal else 1


def _run(source: str, threads: int, instructions: str, epochs: int) -> Run:
    from safetensors.numpy import load_file

    settings = {name: value for name, value in os.environ.items() if name != "ATEN_CPU_CAPABILITY"}
    if instructions:
        settings["ATEN_CPU_CAPABILITY"] = instructions
    with tempfile.TemporaryDirectory() as folder:
        words = [sys.executable, "-m", "bench.determinism", "--epochs", str(epochs)]
        subprocess.run([*words, "--train", source, str(threads), folder], env=settings, check=True)
        weights = Path(folder, "bundle", "weights.safetensors")
        figures = json.loads(Path(folder, "figures.json").read_text("utf-8"))
        return Run(hashlib.sha256(weights.read_bytes()).hexdigest(), load_file(weights), figures)


def _train(source: str, threads: int, folder: Path, epochs: int) -> None:
    """One training, in this process, into a folder."""
    from corecur.learners.tasks import TASKS, find_task

    name, _, task = source.partition(":")
    learner = TASKS[task or find_task(name)].learner(epochs=epochs, threads=threads, seed=0)
    result = learner.fit(name)
    learner.save(folder / "bundle")
    found = {} if result.test is None else result.test.as_json()
    figures = {key: value for key, value in found.items() if isinstance(value, float) and key != "level"}
    (folder / "figures.json").write_text(json.dumps(figures), encoding="utf-8")


def _apart(weights: dict[str, Any], others: dict[str, Any]) -> float:
    return max((float(abs(weights[name] - others[name]).max()) for name in weights if weights[name].size), default=0.0)


if __name__ == "__main__":
    sys.exit(main())
