"""``networks``: the five networks of the articles, whole: a training step, ``predict`` in batches of 256, one sample.

The first contender is this package, so that a peer's ratio says how many times as long it takes. All start from the
same weights, see the same batches in the same order, and take Adam's steps; before the clock runs, their losses must
agree over every batch, and outputs and gradients of the first step are compared with float64 (``network_truth``). torch
runs eager (what people run by default), in ``channels_last`` and compiled; Keras on every engine that is installed.

"first call" is the time until the first step or answer is there: what a compiler takes, and no part of the times.
Contenders of one kind share a process over all cases, one case after the other.
"""

from __future__ import annotations

import atexit
import dataclasses
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bench import keras_networks, record
from bench.contender import Case, Contender, Floor
from bench.harness import CONTROL, Result
from bench.network_jobs import NETWORKS, NetworkJob
from bench.network_truth import write_truth

OURS, EAGER = "corecur", "torch eager"
MODES = {
    "training": ("training step", "step"),
    "predict": ("predict, batches of 256", "batch"),
    "single": ("one sample", "call"),
}
#: The least ratio of the best peer in training and in predict, and the least share of the peak in training.
TARGETS = {
    "cnn": (2.5, 1.2, 0.35),
    "six_conv": (1.8, 1.5, 0.45),
    "lstm": (1.5, 1.25, 0.5),
    "gru": (3.5, 2.2, 0.5),
    "simple_rnn": (3.0, 2.0, 0.4),
}
KERAS_LEAST = 3.0
#: A compiler that finds yesterday's work on disk would say that it takes no time.
_COLD = {"TORCHINDUCTOR_FORCE_DISABLE_CACHES": "1"}

#: Of the losses of some steps: other sums round otherwise, and Adam divides a gradient by its size, however small.
TOLERANCE = 1e-2


def cases(only: str | None = None) -> list[Case]:
    """Every network in training, in predict and on one sample; ``only`` those that have this in their name."""
    folder = Path(tempfile.mkdtemp(prefix="corecur-bench-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    keras, _ = keras_networks.installed()
    jobs = [NetworkJob(name, mode) for name in NETWORKS for mode in MODES if (only or "") in f"{name} {mode}"]
    truths = {name: write_truth(NetworkJob(name), folder) for name in dict.fromkeys(job.name for job in jobs)}
    return [case(dataclasses.replace(job, truth=truths[job.name]), keras) for job in jobs]


def missing() -> list[str]:
    """The libraries whose contenders are left out."""
    return keras_networks.installed()[1]


def case(job: NetworkJob, keras: Sequence[str]) -> Case:
    """One network in one mode with all its contenders."""
    peers = [*torch_contenders(job), *keras_contenders(job, keras)]
    best = Floor("Best peer", tuple(peer.name for peer in peers), 0.0)
    training, predict, share = TARGETS[job.name]
    floors: tuple[Floor, ...] = ()
    if job.mode == "training":
        floors = (dataclasses.replace(best, least=training), Floor("Best Keras", tuple(keras), KERAS_LEAST))
    elif job.mode == "predict":
        floors = (dataclasses.replace(best, least=predict),)
    what, unit = MODES[job.mode]
    return Case(
        f"{job.name} {job.mode}",
        f"{what}, {job.network.title}",
        unit,
        (Contender(OURS, "bench.own_networks:OwnNetwork", {"job": job}, process=OURS), *peers),
        judged=OURS,
        target=None,
        flops=job.flops,
        peak="FMA",
        share=share if job.mode == "training" else None,
        floors=floors,
        warm_ups=1,
    )


def torch_contenders(job: NetworkJob) -> list[Contender]:
    """torch as one writes it, and its two ways to be faster; recurrent layers have no ``channels_last``."""
    ways: dict[str, dict[str, Any]] = {EAGER: {}, "torch channels_last": {"channels_last": True}}
    if job.network.kind != "Conv2D":
        ways = {EAGER: {}}
    ways["torch.compile"] = {**list(ways.values())[-1], "compiled": True}
    return [
        Contender(name, "bench.torch_networks:TorchNetwork", {"job": job, **more}, _COLD, TOLERANCE, process=name)
        for name, more in ways.items()
    ]


def keras_contenders(job: NetworkJob, names: Sequence[str]) -> list[Contender]:
    """Keras on its engines."""
    found = []
    for name in names:
        engine, maker, more = keras_networks.CONTENDERS[name]
        environment = {"KERAS_BACKEND": engine, "TF_CPP_MIN_LOG_LEVEL": "3"}
        found.append(
            Contender(
                name,
                f"bench.keras_networks:{maker}",
                {"job": job, **more},
                environment,
                keras_networks.TOLERANCE,
                process=name,
            )
        )
    return found


def summary(results: Sequence[Result]) -> dict[str, list[Mapping[str, Any]]]:
    """One row a case: this package, the best peer, torch as people run it, Keras; errors and memory beside torch's."""
    return {"networks": [_row(result) for result in results]}


def _row(result: Result) -> dict[str, Any]:
    ours, default = result.standing(OURS), result.standing(EAGER)
    peers = [s.name for s in result.standings if s.name not in (OURS, CONTROL)]
    best = result.best_of(peers) or default
    keras = result.best_of([name for name in peers if name.startswith("Keras")])
    least = [floor.least for floor in result.floors]
    return {
        "case": result.title,
        "threads": result.threads,
        "ms": round(ours.milliseconds, 3),
        "best peer": best.name,
        "its ms": round(best.milliseconds, 3),
        "its ratio": best.ratio,
        "at least": least[0] if least else None,
        "torch eager's ratio": default.ratio,
        "best Keras": None if keras is None else keras.name,
        "Keras' ratio": None if keras is None else keras.ratio,
        "Keras at least": least[1] if len(least) > 1 else None,
        "% of FMA peak": record.percent(ours.share),
        "% at least": record.percent(result.least_share),
        "met": result.met if result.accepted else "rejected",
        **{f"{fact}{whose}": s.facts.get(fact) for fact in _FACTS for whose, s in (("", ours), (", eager", default))},
    }


_FACTS = ("output error", "gradient error", "peak MiB", "first call s")
