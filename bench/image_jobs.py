"""The image jobs of the README, measured: ``python -m bench.image_jobs [JOB …]``.

Each job is one or more whole commands in processes of their own, one after the other; the figures are what the commands
print with ``--json``. The data of all but digits lies in the folder that ``CORECUR_DATA`` names.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, NamedTuple

RESULTS = Path(__file__).parent / "results" / "image_jobs.json"


class Job(NamedTuple):
    """A source, the arguments of its commands, and the seeds they run with."""

    source: str
    arguments: tuple[str, ...] = ()
    seeds: tuple[int, ...] = (0,)


JOBS = {
    "digits": Job("digits", seeds=(0, 1, 2, 3, 4)),
    "mnist-1-epoch": Job("mnist", ("--epochs", "1"), seeds=(0, 1, 2)),
    "mnist-2-epochs": Job("mnist", ("--epochs", "2"), seeds=(0, 1, 2)),
    "mnist-12s": Job("mnist", ("--time", "12s"), seeds=(0, 1, 2)),
    "mnist": Job("mnist"),
    "sign-digits": Job("sign_digits"),
    "cifar10-2min": Job("cifar10", ("--time", "2m")),
    "cifar10-5min": Job("cifar10", ("--time", "5m")),
    "cifar10-10min": Job("cifar10", ("--time", "10m")),
    "cifar10-25min": Job("cifar10", ("--time", "25m")),
}


def run_job(name: str, threads: int | None) -> dict[str, Any]:
    """Run a job's commands and gather what they say."""
    job = JOBS[name]
    source = job.source if job.source == "digits" else str(Path(os.environ.get("CORECUR_DATA", ".")) / job.source)
    runs = []
    for seed in job.seeds:
        with tempfile.TemporaryDirectory() as out:
            command = [sys.executable, "-m", "corecur", "train", source, *job.arguments, "--seed", str(seed)]
            command += ["--json", "--out", out] + ([] if threads is None else ["--threads", str(threads)])
            began = time.perf_counter()
            done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
            found = json.loads(done.stdout)
            runs.append(
                {
                    "seed": seed,
                    "accuracy": found["test"]["accuracy"],
                    "interval": found["test"]["interval"],
                    "epochs": found["epochs"],
                    "train_seconds": found["train_seconds"],
                    "command_seconds": round(time.perf_counter() - began, 2),
                }
            )
    accuracies = [run["accuracy"] for run in runs]
    return {
        "command": " ".join(["corecur train", job.source, *job.arguments]),
        "mean_accuracy": statistics.mean(accuracies),
        "lowest_accuracy": min(accuracies),
        "load_before": os.getloadavg()[0],
        "threads": threads or os.cpu_count(),
        "runs": runs,
    }


def main() -> None:
    """Run the jobs named on the command line, all without names, and add them to the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("jobs", nargs="*", metavar="JOB", help=", ".join(JOBS))
    parser.add_argument("--threads", type=int, help="as corecur train --threads")
    parser.add_argument("--write", action="store_true", help=f"keep the figures in {RESULTS.name}")
    options = parser.parse_args()
    unknown = set(options.jobs) - set(JOBS)
    if unknown:
        parser.error(f"unknown jobs {', '.join(sorted(unknown))}; there are {', '.join(JOBS)}")
    for name in options.jobs or JOBS:
        found = run_job(name, options.threads)
        print(json.dumps({name: found}, indent=1), flush=True)
        if options.write:
            known = json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.exists() else {}
            machine = {"machine": platform.machine(), "system": platform.system(), "cores": os.cpu_count()}
            RESULTS.parent.mkdir(exist_ok=True)
            RESULTS.write_text(json.dumps({**known, **machine, name: found}, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
