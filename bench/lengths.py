"""``lengths``: rows of different lengths beside as many real steps without padding, and beside packed rows in torch.

A training step, 64 rows of 10 to 40 real steps, padding on the right or on the left. The unit is a thousand real steps,
so that the contender without padding, which has other sequences, does as much work; its proof is its own.

``long``: the same step over one sequence of 10,000 steps in each of four rows: time and memory beside ``torch.nn``'s.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from bench import record
from bench.contender import Case, Contender, Floor
from bench.harness import Result
from bench.sequences import Job, flops, lengths

OURS, WHOLE = "corecur", "corecur, nothing padded"
PACKED, OVER = "torch.nn, packed", "torch.nn over the padding"
PLAIN = "torch.nn"
CELLS = {"simple_rnn": 1, "lstm": 2, "gru": 2}
#: The most that padding may cost, and the least ratio of torch's packed rows.
PADDED_MOST, PACKED_LEAST = 1.15, {"gru": 4.0}


def cases() -> list[Case]:
    """Every cell, padded on the right and on the left."""
    return [case(Job(cell, layers, side)) for cell, layers in CELLS.items() for side in ("right", "left")]


def case(job: Job) -> Case:
    """One cell over padded rows."""
    whole = dataclasses.replace(job, padding=None, steps=round(float(lengths(job).mean())))
    ways = [(OURS, "own_thousand", job), (WHOLE, "own_thousand", whole), (PACKED, "packed_thousand", job)]
    if job.padding == "right":
        ways.append((OVER, "torch_thousand", job))
    least = PACKED_LEAST.get(job.cell)
    return Case(
        f"{job.cell} {job.padding}",
        f"{job.cell} × {job.layers}, padded {job.padding}, training",
        "1,000 real steps",
        tuple(
            Contender(
                name,
                f"bench.sized_cells:{maker}",
                {"job": of},
                tolerance=float("inf") if name == WHOLE else 1e-4,
                process=name,
            )
            for name, maker, of in ways
        ),
        judged=OURS,
        target=None,
        flops=flops(job) / int(lengths(job).sum()) * 1000,
        peak="FMA",
        floors=(
            Floor(f"Nothing padded (padding may cost {PADDED_MOST:g} times)", (WHOLE,), 1 / PADDED_MOST),
            *([Floor("Packed", (PACKED,), least)] if least else []),
        ),
    )


def long_cases() -> list[Case]:
    """Sequences of 10,000 steps."""
    return [long_case(Job(cell, batch=4, steps=10_000)) for cell in CELLS]


def long_case(job: Job) -> Case:
    """One cell over long sequences."""
    return Case(
        f"{job.cell} long",
        f"{job.cell}, {job.steps:,} steps, batch {job.batch}, training",
        "step",
        (
            Contender(OURS, "bench.torch_cells:Ours", {"job": job}, process=OURS),
            Contender(PLAIN, "bench.torch_cells:TorchLayers", {"job": job}, process=PLAIN),
        ),
        judged=OURS,
        target=None,
        flops=flops(job),
        peak="FMA",
        rounds=2,
        warm_ups=1,
    )


def summary(results: Sequence[Result]) -> dict[str, list[Mapping[str, Any]]]:
    """One row a case."""
    return {"lengths": [_row(result) for result in results]}


def _row(result: Result) -> dict[str, Any]:
    ours, others = result.standing(OURS), {s.name: s for s in result.standings}
    whole = others.get(WHOLE)
    torch_ = others.get(PACKED) or others[PLAIN]
    return {
        "case": result.title,
        "threads": result.threads,
        f"ms per {result.unit}": round(ours.milliseconds, 3),
        "padding costs": None if whole is None else round(1 / whole.ratio.median, 3),
        "at most": None if whole is None else PADDED_MOST,
        "beside": torch_.name,
        "its ratio": torch_.ratio,
        "at least": next((floor.least for floor in result.floors if torch_.name in floor.of), None),
        "% of FMA peak": record.percent(ours.share),
        "peak MiB": ours.facts.get("peak MiB"),
        "its peak MiB": torch_.facts.get("peak MiB"),
        "kernel": ours.facts.get("kernel"),
        "met": result.met if result.accepted else "rejected",
    }
