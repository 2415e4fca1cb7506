"""Measurements against peers, side by side: ``python -m bench [CASE …]``.

fit     Model.fit beside a training loop written by hand in torch, small CNN, batch 32 and 256 (target: at most 1.05
        times its time); with --peers, Keras and Lightning too, where installed (pip install corecur[bench])
import  import corecur beside import torch, in fresh interpreters (target: at most 1.5 times its time)

Each contender runs in a process of its own. First they must prove that they do the same work; then short blocks run in
turn, A B B A, with A once more against itself: where that control is off by more than 3 %, the run is rejected. Ratios
are medians over rounds with bootstrap intervals. Use a quiet machine; --write keeps the figures, raw times included.
"""

from __future__ import annotations

import argparse
import os
import sys


def main() -> int:
    """Run the cases named on the command line, all without names; 1 where a gate or a contender failed."""
    parser = argparse.ArgumentParser(
        prog="python -m bench", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("cases", nargs="*", metavar="CASE", help="fit, import (default: both)")
    parser.add_argument("--threads", type=int, nargs="+", default=None, help="default: 1 and all cores")
    parser.add_argument("--rounds", type=int, default=4, help="rounds of two blocks in a sitting (default: 4)")
    parser.add_argument("--sittings", type=int, default=3, help="times all processes start anew (default: 3)")
    parser.add_argument("--peers", action="store_true", help="let Keras and Lightning join fit")
    parser.add_argument("--write", action="store_true", help="keep the results in bench/results")
    options = parser.parse_args()
    unknown = set(options.cases) - {"fit", "import"}
    if unknown:
        parser.error(f"no case {', '.join(sorted(unknown))}; there are fit and import")
    if min(options.rounds, options.sittings, *(options.threads or ())) < 1:
        parser.error("--rounds, --sittings and --threads are to be 1 or more")
    for name in options.cases or ("fit", "import"):
        if not run(name, options):
            return 1
    return 0


def run(name: str, options: argparse.Namespace) -> bool:
    """Measure and show one job; False where it failed."""
    # Loaded here: every contender's process loads this file, and is to load nothing it does not measure.
    from bench import fit, importing, machine, peers, record
    from bench.harness import GateError, measure
    from bench.worker import WorkerError

    jobs = {"fit": lambda: fit.cases(peers.installed() if options.peers else ()), "import": importing.cases}
    described, results = machine.describe(), []
    print(f"## {name}\n\n{described['processor']}, load {described['load']}, torch {described['versions']['torch']}\n")
    every = sorted({1, os.cpu_count() or 1}) if name == "fit" else [1]
    for threads in options.threads or every:
        for case in jobs[name]():
            try:
                found = measure(case, rounds=options.rounds, threads=threads, sittings=options.sittings)
            except (GateError, WorkerError) as error:
                print(f"FAILED: {case.title}: {error}", file=sys.stderr)
                return False
            results.append(found)
            print(record.markdown(found) + "\n", flush=True)
    if options.write:
        print(f"written: {record.write(name, results, described)}")
    return True


if __name__ == "__main__":
    sys.exit(main())
