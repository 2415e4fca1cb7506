"""``grid``: a layer of GRU or LSTM beside ``torch.nn``'s over sizes: units, batch, time; as many features as units.

A training step without an optimiser: forward, mean square of the outputs, backward to every weight. Before the clock
runs, outputs and gradients over the first steps of the sequences must agree. The first contender is this package; 1 is
a cell where both take as long. Cells of many operations run fewer blocks and go without the control: the table says
which.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from typing import Any

from bench import record
from bench.contender import Case, Contender, Floor
from bench.harness import Result
from bench.sequences import Job, flops

UNITS, BATCHES, STEPS = (32, 64, 128, 256, 512), (1, 8, 32, 128), (28, 100, 512)
#: The least geometric mean of torch's ratios for each cell, and the least ratio of any one cell.
MEANS = {"gru": 3.0, "lstm": 1.7}
LEAST = 0.95
OURS, PEER = "corecur", "torch.nn"
#: Floating-point operations of a step from which a cell runs fewer blocks, and from which it has no control.
MANY, VERY_MANY = 2e9, 2e10


def cases() -> list[Case]:
    """Every cell of the grid."""
    sizes = itertools.product(MEANS, UNITS, BATCHES, STEPS)
    return [
        case(Job(cell, batch=batch, steps=steps, features=units, units=units)) for cell, units, batch, steps in sizes
    ]


def case(job: Job) -> Case:
    """One cell."""
    work = flops(job)
    return Case(
        f"{job.cell} {job.units} {job.batch} {job.steps}",
        f"{job.cell.upper()} {job.units}, batch {job.batch}, {job.steps} steps",
        "step",
        (
            Contender(OURS, "bench.sized_cells:own_cell", {"job": job}, process=OURS),
            Contender(PEER, "bench.sized_cells:torch_cell", {"job": job}, process=PEER),
        ),
        judged=OURS,
        target=None,
        flops=work,
        peak="FMA",
        floors=(Floor("torch.nn", (PEER,), LEAST),),
        rounds=1 if work > MANY else None,
        warm_ups=3,  # the system hands out a large cell's pages over the first steps, each time it is asked for more
        controlled=work <= VERY_MANY,
    )


def summary(results: Sequence[Result]) -> dict[str, list[Mapping[str, Any]]]:
    """Geometric means and the worst cell of each kind, then every cell."""
    return {
        "means": [row for threads in _threads(results) for row in _means(results, threads)],
        "cells": [*map(_row, results)],
    }


def _threads(results: Sequence[Result]) -> list[int]:
    return sorted({result.threads for result in results})


def _means(results: Sequence[Result], threads: int) -> list[dict[str, Any]]:
    rows = []
    for cell, least in MEANS.items():
        found = [r for r in results if r.case.split()[0] == cell and r.threads == threads]
        if not found:
            continue
        ratios = {result.title: result.standing(PEER).ratio.median for result in found}
        mean = math.exp(sum(map(math.log, ratios.values())) / len(ratios))
        worst = min(ratios, key=lambda title: ratios[title])
        rows.append(
            {
                "cell": cell.upper(),
                "threads": threads,
                "sizes": len(ratios),
                "geometric mean": round(mean, 3),
                "at least": least,
                "worst": worst,
                "its ratio": round(ratios[worst], 3),
                "each at least": LEAST,
                "below": sum(ratio < LEAST for ratio in ratios.values()),
                "rejected": sum(not result.accepted for result in found),
                "met": mean >= least and ratios[worst] >= LEAST,
            }
        )
    return rows


def _row(result: Result) -> dict[str, Any]:
    ours, peer = result.standing(OURS), result.standing(PEER)
    return {
        "size": result.title,
        "threads": result.threads,
        "ms": round(ours.milliseconds, 3),
        "torch ms": round(peer.milliseconds, 3),
        "ratio": peer.ratio,
        "% of FMA peak": record.percent(ours.share),
        "kernel": ours.facts.get("kernel"),
        "blocks": len(ours.raw),
        "control": None if result.control is None else round(result.control.median, 3),
    }
