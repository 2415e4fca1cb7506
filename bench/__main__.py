"""Measurements against peers, side by side: ``python -m bench [CASE …]``.

checkpoints  training with a checkpoint every 50 steps beside the same without, and the guard against NaN (target: at
           most 1.01 times the time of a step)
fit        Model.fit beside a training loop written by hand in torch, small CNN, batch 32 and 256 (target: at most 1.05
           times its time); with --peers, Keras and Lightning too, where installed (pip install corecur[bench])
generation characters written by recurrent networks, and one step of an LSTM, beside loops over torch's cells (target:
           an eighth of the time of the loop)
import     import corecur beside import torch, in fresh interpreters (target: at most 1.5 times its time)
load       a model file of 100 MB read with every check, beside safetensors' load_file with a copy of every tensor
           (target: at most 1.1 times its time)
recurrent  every recurrent cell, masked and not, beside torch.nn, loops by hand and, where installed, Keras on torch and
           on JAX: time and memory of a step (a baseline without a target; under 4 minutes on one thread)

Each contender runs in a process of its own. First they must prove that they do the same work; then short blocks run in
turn, A B B A, with A once more against itself: where that control is off by more than 3 %, the run is rejected. Ratios
are medians over rounds with bootstrap intervals. Use a quiet machine; --write keeps the figures, raw times included.
"""

from __future__ import annotations

import argparse
import os
import sys
from dataclasses import dataclass

NAMES = ("checkpoints", "fit", "generation", "import", "load", "recurrent")


@dataclass(frozen=True)
class Habits:
    """How a job is measured unless told otherwise."""

    rounds: int = 4
    sittings: int = 3
    all_cores: bool = False  # with one thread, and with all cores


HABITS = {
    "checkpoints": Habits(all_cores=True),
    "fit": Habits(all_cores=True),
    "generation": Habits(sittings=1),
    "import": Habits(),
    "load": Habits(all_cores=True),
    "recurrent": Habits(sittings=1),
}


def main() -> int:
    """Run the cases named on the command line, all without names; 1 where a gate or a contender failed."""
    parser = argparse.ArgumentParser(
        prog="python -m bench", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("cases", nargs="*", metavar="CASE", help=f"{', '.join(NAMES)} (default: all)")
    parser.add_argument("--threads", type=int, nargs="+", default=None, help="default: 1, for fit also all cores")
    parser.add_argument("--rounds", type=int, default=None, help="rounds of two blocks in a sitting (default: 4)")
    parser.add_argument(
        "--sittings", type=int, default=None, help="times all processes start anew (default: 3, recurrent 1)"
    )
    parser.add_argument("--peers", action="store_true", help="let Keras and Lightning join fit")
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
    from bench import checkpoints, fit, generation, importing, keras_cells, loading, machine, peers, record, recurrent
    from bench.harness import GateError, measure_all
    from bench.worker import WorkerError

    jobs = {
        "checkpoints": checkpoints.cases,
        "fit": lambda: fit.cases(peers.installed() if options.peers else ()),
        "generation": generation.cases,
        "import": importing.cases,
        "load": loading.cases,
        "recurrent": recurrent.cases,
    }
    habits, described, results = HABITS[name], machine.describe(), []
    print(f"## {name}\n\n{described['processor']}, load {described['load']}, torch {described['versions']['torch']}\n")
    if name == "recurrent":
        print(
            "".join(f"Keras' contenders left out: {missing} is not installed\n" for missing in keras_cells.engines()[1])
        )
    for threads in options.threads or sorted({1, os.cpu_count() or 1} if habits.all_cores else {1}):
        try:
            found = measure_all(
                jobs[name](),
                rounds=options.rounds or habits.rounds,
                threads=threads,
                sittings=options.sittings or habits.sittings,
                tell=lambda title: print(f"{title} …", file=sys.stderr, flush=True),
            )
        except (GateError, WorkerError) as error:
            print(f"FAILED: {error}", file=sys.stderr)
            return False
        results += found
        for result in found:
            print(record.markdown(result) + "\n", flush=True)
    if len(results) > 4:
        print(record.overview(results) + "\n")
    if options.write:
        print(f"written: {record.write(name, results, described)}")
    return True


if __name__ == "__main__":
    sys.exit(main())
