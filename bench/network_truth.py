"""Outputs and gradients of a first training step in float64, kept in a file that every contender's process can read.

The processes of Keras on JAX and on TensorFlow load no torch for it.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from bench.network_jobs import Array, NetworkJob


def write_truth(job: NetworkJob, folder: Path) -> str:
    """Compute them by ``torch.nn`` in float64; the file's path."""
    from bench.torch_networks import first_step_in_double

    outputs, gradients = first_step_in_double(job)
    path = folder / f"{job.name}.npz"
    np.savez(path, outputs, *gradients)
    return str(path)


def errors(job: NetworkJob, outputs: Array, gradients: Sequence[Array] = ()) -> dict[str, float]:
    """The largest errors against float64, each array's in parts of its largest number; outputs may be the first few."""
    if job.truth is None:
        return {}
    with np.load(job.truth) as held:
        right, *more = (held[name] for name in held.files)
    found = {"output error": relative_error(outputs, right[: len(outputs)])}
    if gradients:
        found["gradient error"] = max(relative_error(g, r) for g, r in zip(gradients, more, strict=True))
    return found


def relative_error(found: Array, right: Array) -> float:
    """The largest difference in parts of the largest number that is right.

    >>> relative_error(np.array([1.0, 2.0]), np.array([1.0, 2.5]))
    0.2
    """
    return float(np.abs(np.asarray(found, np.float64) - right).max() / max(np.abs(right).max(), 1e-300))
