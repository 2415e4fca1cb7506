"""The contenders of ``bench.torch_cells`` with another proof or another unit, for ``grid`` and ``lengths``."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from bench.sequences import Job
from bench.torch_cells import Ours, Packed, TorchLayers, TorchWork
from corecur import runtime

PROOF_STEPS = 28


class Sized:
    """Work whose proof is over fewer steps, or whose unit is a thousand real steps, otherwise the same."""

    def __init__(self, work: TorchWork, proof: TorchWork | None = None, *, units: float = 1.0) -> None:
        self.work, self.proof, self.units = work, proof or work, units

    def prove(self) -> Sequence[float]:
        return self.proof.prove()

    def run(self) -> float:
        return self.work.run() * self.units

    def facts(self) -> Mapping[str, Any]:
        """The work's own."""
        return self.work.facts()


class Cell(Sized):
    """One cell of ``grid``: proved over its first steps, and told by the kernel that ran alone.

    Both ways keep freed memory, as ``Model.fit`` does: what the system takes to hand out new pages, and when, would
    decide the large cells.
    """

    def __init__(self, kind: type[TorchWork], job: Job) -> None:
        runtime.keep_freed_memory()
        super().__init__(kind(job), kind(dataclasses.replace(job, steps=min(job.steps, PROOF_STEPS))))

    def facts(self) -> Mapping[str, Any]:
        return {"kernel": self.work.kernel("torch")}


def own_cell(job: Job) -> Cell:
    """This package's layer in ``grid``."""
    return Cell(Ours, job)


def torch_cell(job: Job) -> Cell:
    """torch's layer in ``grid``."""
    return Cell(TorchLayers, job)


def own_thousand(job: Job) -> Sized:
    """This package's layers in ``lengths``."""
    return _by_real_steps(Ours(job))


def torch_thousand(job: Job) -> Sized:
    """torch's layers over the padding too."""
    return _by_real_steps(TorchLayers(job))


def packed_thousand(job: Job) -> Sized:
    """torch's layers over packed rows."""
    return _by_real_steps(Packed(job))


def _by_real_steps(work: TorchWork) -> Sized:
    runtime.keep_freed_memory()  # as in Cell
    return Sized(work, units=work.count / 1000)
