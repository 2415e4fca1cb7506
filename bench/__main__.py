"""Measurements against peers, side by side: ``python -m bench [CASE …]``.

checkpoints  training with a checkpoint every 50 steps beside the same without, and the guard against NaN (target: at
           most 1.01 times the time of a step)
fit        Model.fit beside a training loop written by hand in torch, small CNN, batch 32 and 256 (target: at most 1.05
           times its time); with --peers, Keras and Lightning too, where installed (pip install corecur[bench])
generation characters written by recurrent networks, and one step of an LSTM, beside loops over torch's cells (target:
           an eighth of the time of the loop)
import     import corecur beside import torch, in fresh interpreters (target: at most 1.5 times its time)
grid       a layer of GRU and of LSTM beside torch.nn over sizes of units, batch and time (targets: a geometric mean of
           3 and of 1.7 times our time, no cell below 0.95; under 5 minutes on two cores)
lengths    padded rows beside as many real steps without padding (target: at most 1.15 times their time) and beside
           packed rows in torch (target for GRU: 4 times our time)
load       a model file of 100 MB read with every check, beside safetensors' load_file with a copy of every tensor
           (target: at most 1.1 times its time)
long       sequences of 10,000 steps beside torch.nn: time and memory
networks   the five networks of the articles, whole: training, predict and one sample beside torch (eager,
           channels_last, compiled) and, where installed, Keras on JAX, TensorFlow and torch; errors against float64,
           memory (targets in bench/networks.py; under 10 minutes on two cores)
recurrent  every recurrent cell, masked and not, beside torch.nn, loops by hand and, where installed, Keras on torch and
           on JAX: time and memory of a step (a baseline without a target; under 4 minutes on one thread)
text       an epoch of a language network over as many characters as tiny Shakespeare has, beside a loop written by
           hand in torch (target: half its time)

Each contender runs in a process of its own. First they must prove that they do the same work; then short blocks run in
turn, A B B A, with A once more against itself: where that control is off by more than 3 %, the run is rejected. Ratios
are medians over rounds with bootstrap intervals. Use a quiet machine; --write keeps the figures, raw times included.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

NAMES = (
    "checkpoints",
    "fit",
    "generation",
    "grid",
    "import",
    "lengths",
    "load",
    "long",
    "networks",
    "recurrent",
    "text",
)


@dataclass(frozen=True)
class Habits:
    """How a job is measured unless told otherwise."""

    rounds: int = 4
    sittings: int = 3
    all_cores: bool = False  # with one thread, and with all cores
    one_core: bool = True


HABITS = {
    "checkpoints": Habits(all_cores=True),
    "fit": Habits(all_cores=True),
    "generation": Habits(sittings=1),
    "grid": Habits(rounds=2, sittings=1, all_cores=True, one_core=False),
    "import": Habits(),
    "lengths": Habits(sittings=1, all_cores=True, one_core=False),
    "load": Habits(all_cores=True),
    "long": Habits(sittings=1, all_cores=True, one_core=False),
    "networks": Habits(rounds=6, sittings=1, all_cores=True, one_core=False),
    "recurrent": Habits(sittings=1),
    "text": Habits(sittings=1, all_cores=True, one_core=False),
}


def main() -> int:
    """Run the cases named on the command line, all without names; 1 where a gate or a contender failed."""
    parser = argparse.ArgumentParser(
        prog="python -m bench", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("cases", nargs="*", metavar="CASE", help=f"{', '.join(NAMES)} (default: all)")
    parser.add_argument(
        "--threads", type=int, nargs="+", default=None, help="default: 1, or all cores, or both in turn"
    )
    parser.add_argument(
        "--rounds", type=int, default=None, help="rounds of two blocks in a sitting (default: 4, grid 2, networks 6)"
    )
    parser.add_argument(
        "--sittings", type=int, default=None, help="times all processes start anew (default: 3, fewer in long jobs)"
    )
    parser.add_argument("--peers", action="store_true", help="let Keras and Lightning join fit")
    parser.add_argument("--only", metavar="TEXT", help="only those of a job's cases that have this in their name")
    parser.add_argument("--write", action="store_true", help="keep the results in bench/results")
    options = parser.parse_args()
    unknown = set(options.cases) - set(NAMES)
    if unknown:
        parser.error(f"no case {', '.join(sorted(unknown))}; there are {', '.join(NAMES)}")
    if min(n for n in (options.rounds, options.sittings, *(options.threads or ()), 1) if n is not None) < 1:
        parser.error("--rounds, --sittings and --threads are to be 1 or more")
    for name in options.cases or NAMES:
        if not run(name, options):
            return 1
    return 0


def run(name: str, options: argparse.Namespace) -> bool:
    """Measure and show one job; False where it failed."""
    # Loaded here: every contender's process loads this file, and is to load nothing it does not measure.
    from bench import machine, record
    from bench.harness import measure_all

    habits, described, results = HABITS[name], machine.describe(), []
    print(f"## {name}\n\n{described['processor']}, load {described['load']}, torch {described['versions']['torch']}\n")
    job = jobs(options)[name]
    for library in job.missing():
        print(f"Keras' contenders left out: {library} is not installed")
    cases = [case for case in job.cases() if options.only is None or options.only in case.name]
    failures: list[str] = []
    for threads in options.threads or usual_threads(habits):
        found = measure_all(
            cases,
            rounds=options.rounds or habits.rounds,
            threads=threads,
            sittings=options.sittings or habits.sittings,
            tell=lambda title: print(f"{title} …", file=sys.stderr, flush=True),
            fail=lambda case, error: failures.append(f"FAILED: {case.title}: {error}"),
        )
        results += found
        for result in found:
            print(record.markdown(result) + "\n", flush=True)
    summary = job.summary(results) if results else {}
    for title, rows in summary.items():
        print(f"### {title}\n\n{record.rows_table(rows)}\n")
    if len(results) > 4 and not summary:
        print(record.overview(results) + "\n")
    if options.write:
        print(f"written: {record.write(name, results, described, summary=summary, failures=failures)}")
    for line in failures:
        print(line, file=sys.stderr)
    return not failures


@dataclass(frozen=True)
class Job:
    """Its cases, the libraries that peers lack here, and what its results come to, as rows under titles."""

    cases: Callable[[], Sequence[Any]]
    missing: Callable[[], Sequence[str]] = tuple
    summary: Callable[[Sequence[Any]], dict[str, Any]] = lambda results: {}


def jobs(options: argparse.Namespace) -> dict[str, Job]:
    """Every job by its name."""
    from bench import (
        checkpoints,
        fit,
        generation,
        grid,
        importing,
        keras_cells,
        lengths,
        loading,
        networks,
        peers,
        recurrent,
        text,
    )

    return {
        "checkpoints": Job(checkpoints.cases),
        "fit": Job(lambda: fit.cases(peers.installed() if options.peers else ())),
        "generation": Job(generation.cases),
        "grid": Job(grid.cases, summary=grid.summary),
        "import": Job(importing.cases),
        "lengths": Job(lengths.cases, summary=lengths.summary),
        "load": Job(loading.cases),
        "long": Job(lengths.long_cases, summary=lengths.summary),
        "networks": Job(lambda: networks.cases(options.only), networks.missing, networks.summary),
        "recurrent": Job(recurrent.cases, lambda: keras_cells.engines()[1]),
        "text": Job(text.cases, summary=text.summary),
    }


def usual_threads(habits: Habits) -> list[int]:
    """One thread, all cores, or both."""
    cores = os.cpu_count() or 1
    return sorted({*([1] if habits.one_core else []), *([cores] if habits.all_cores else [])})


if __name__ == "__main__":
    sys.exit(main())
