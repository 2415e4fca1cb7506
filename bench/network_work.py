"""What all contenders of ``networks`` do alike: the proof, the blocks, and what is told of them."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

from bench.network_jobs import Array, NetworkJob, answers_proof
from bench.network_truth import errors
from bench.step_blocks import run_block

#: Float32's own errors are a hundredth of it; another gate order, epsilon or bias is far beyond it.
GRADIENT_LIMIT = 1e-4


class NetworkWork:
    """One contender at a network. The first call of a step or of an answer is timed apart: a compiler works in it."""

    def __init__(self, job: NetworkJob) -> None:
        self.job = job
        self.told: dict[str, Any] = {}

    def train_first(self) -> tuple[float, list[Array]]:
        """A step on the first batch: its loss, and its gradients in Keras' layout."""
        raise NotImplementedError

    def train(self) -> Sequence[float]:
        """One step on each batch, in order; their losses, as whatever gives them without waiting."""
        raise NotImplementedError

    def answer(self) -> Array:
        """The answers to all samples that ``predict`` is asked for, or to the first one."""
        raise NotImplementedError

    def outputs(self) -> Array:
        """The answers to the first batch of the training."""
        raise NotImplementedError

    def prove(self) -> Sequence[float]:
        if self.job.mode != "training":
            y = self._timed(self.answer)
            self.told |= errors(self.job, y[: self.job.size])
            return answers_proof(y)
        outputs = self.outputs()
        loss, gradients = self._timed(self.train_first)
        self.told |= errors(self.job, outputs, gradients)
        if self.told.get("gradient error", 0.0) > GRADIENT_LIMIT:
            raise ValueError(
                f"the gradients of the first step are off by {self.told['gradient error']:.2g} of the largest"
            )
        return [loss, *(float(found) for found in self.train())]

    def _timed(self, call: Any) -> Any:
        began = time.perf_counter()
        found = call()
        self.told["first call s"] = time.perf_counter() - began
        return found

    def run(self) -> int:
        if self.job.mode == "training":
            return run_block(self.train) * self.job.batches
        calls = run_block(self.answer)
        return calls * (self.job.predicted // self.job.predict_batch) if self.job.mode == "predict" else calls

    def facts(self) -> Mapping[str, Any]:
        """Errors, the time of the first call, and more where a contender knows it."""
        return self.told
